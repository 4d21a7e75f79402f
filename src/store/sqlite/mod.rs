//! The embedded store: one SQLite file, one writing thread that groups callers' writes into one sync, one syncing thread beside
//! it, and a few reading threads, so that the runtime's threads never wait for the disk.

mod checkpoints;
mod durability;
mod feed;
mod health;
mod instance;
mod json;
mod list;
mod node;
mod queries;
mod reader;
mod schema;
mod session;
mod short_link;
mod writer;

use std::fs::{DirBuilder, File, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::StoreError;
use crate::domain::id::SessionId;
use tokio_util::sync::CancellationToken;

use checkpoints::Checkpoints;
use durability::{SyncLog, Syncer};
use reader::Readers;
use writer::Writer;

const DATABASE_FILE: &str = "video-session.db";
/// SQLite's name for the write-ahead log of that file.
const LOG_FILE: &str = "video-session.db-wal";
const LOCK_FILE: &str = "video-session.lock";

/// Settings of the embedded store.
#[derive(Debug, Clone)]
pub struct Config {
    /// The directory that holds the file.
    pub data_dir: PathBuf,
    /// How many threads read.
    pub readers: usize,
    /// How many reads, and how many writes, may wait; further ones are refused as overload.
    pub queue_max: usize,
    /// The most writes that share one sync.
    pub batch_max: usize,
}

/// Why the embedded store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be created or written to.
    #[error("DATA_DIR cannot be used")]
    Directory(#[source] std::io::Error),
    /// Another process uses the directory.
    #[error("another video-session process is using DATA_DIR")]
    InUse,
    /// SQLite cannot open the file.
    #[error("the database in DATA_DIR cannot be opened")]
    Database(#[source] rusqlite::Error),
    /// The file was written by a newer version.
    #[error(
        "the database in DATA_DIR was written by a newer version of video-session (schema {found}, this one knows {known})"
    )]
    Newer {
        /// The file's schema.
        found: i64,
        /// The newest schema that this version knows.
        known: i64,
    },
    /// What the last run left in the write-ahead log cannot be made durable, as on a full disk.
    #[error(
        "the write-ahead log of the last run cannot be copied into the database in DATA_DIR; the disk may be full"
    )]
    Log(#[source] StoreError),
    /// A thread could not be started.
    #[error("no thread could be started for the store")]
    Thread(#[source] std::io::Error),
}

/// Sessions in one SQLite file, used by one process.
pub struct SqliteStore {
    writer: Writer,
    readers: Readers,
    /// Separate, so that a long list does not delay other reads.
    lister: Readers,
    /// Cancelled when a sync has failed.
    lost: CancellationToken,
    /// Dropped last, when SQLite has closed its files: a process that closes any descriptor of a file loses every lock
    /// that SQLite has on it.
    _files: Files,
}

/// Parameters that tests change.
struct Tuning {
    /// See [`writer::Limits`].
    overlap_min: usize,
    /// The write-ahead log's size, in pages, at which it is copied into the database.
    checkpoint_pages: i64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            overlap_min: writer::OVERLAP_MIN,
            checkpoint_pages: checkpoints::BEGIN_PAGES,
        }
    }
}

/// The files whose locks keep other processes out.
struct Files {
    _lock: File,
    database: Arc<File>,
}

impl SqliteStore {
    /// Opens or creates the store in `config.data_dir`.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(config: &Config) -> Result<Self, OpenError> {
        Self::open_tuned(config, &Tuning::default(), |log| {
            Box::new(move || log.sync_data())
        })
    }

    /// `sync` makes the function that syncs the write-ahead log from its file.
    fn open_tuned(
        config: &Config,
        tuning: &Tuning,
        sync: impl FnOnce(File) -> SyncLog,
    ) -> Result<Self, OpenError> {
        create_private_dir(&config.data_dir).map_err(OpenError::Directory)?;
        let file = config.data_dir.join(DATABASE_FILE);
        let files = lock_files(&config.data_dir, &file)?;
        let connection = schema::open_writer(&file)?;
        let log = open_log(&config.data_dir).map_err(OpenError::Directory)?;
        let syncer = Syncer::start(sync(log), config.queue_max).map_err(OpenError::Thread)?;
        let durability = syncer.durability().clone();
        // Writes of a killed process may not be on the disk yet, and after a failed sync may only be in memory. Copying
        // the log makes them durable before anything reads them.
        checkpoints::empty_log(&connection, &durability).map_err(OpenError::Log)?;
        let checkpoints = Checkpoints::start(
            &file,
            Arc::clone(&files.database),
            durability.clone(),
            tuning.checkpoint_pages,
        )?;
        let writer = Writer::start(
            connection,
            syncer,
            checkpoints,
            &writer::Limits {
                queue_max: config.queue_max,
                batch_max: config.batch_max,
                overlap_min: tuning.overlap_min,
            },
        )?;
        let readers = Readers::start(&file, config.readers, config.queue_max, &durability)?;
        let lister = Readers::start(&file, 1, config.queue_max, &durability)?;
        Ok(Self {
            writer,
            readers,
            lister,
            lost: durability.lost().clone(),
            _files: files,
        })
    }
}

/// The data shows who meets whom, so only the service's user may read it. Existing files keep their mode.
fn create_private_dir(dir: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

fn private_file(path: &Path) -> std::io::Result<File> {
    File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(path)
}

/// Keeps other processes out by a lock on a lock file and, because that file can be deleted, by one on the database itself. A
/// former version takes only the first lock, so both are needed.
fn lock_files(data_dir: &Path, database: &Path) -> Result<Files, OpenError> {
    let of_dir = lock(&data_dir.join(LOCK_FILE))?;
    // SQLite gives its other files the mode of this one. Linux keeps this kind of lock (flock) apart from SQLite's own (fcntl);
    // on other systems they exclude each other.
    let database = if cfg!(target_os = "linux") {
        lock(database)?
    } else {
        private_file(database).map_err(OpenError::Directory)?
    };
    Ok(Files {
        _lock: of_dir,
        database: Arc::new(database),
    })
}

/// Opens and syncs the write-ahead log, which exists while a connection is open. Also syncs the directory, so that the file's
/// name is durable.
fn open_log(data_dir: &Path) -> std::io::Result<File> {
    let log = File::options()
        .read(true)
        .write(true)
        .open(data_dir.join(LOG_FILE))?;
    log.sync_data()?;
    File::open(data_dir)?.sync_all()?;
    Ok(log)
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let file = private_file(path).map_err(OpenError::Directory)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse),
        Err(TryLockError::Error(error)) => Err(OpenError::Directory(error)),
    }
}

/// Adds the session to an error, unless the whole file is damaged.
fn about(error: StoreError, session_id: &SessionId) -> StoreError {
    let of_the_file = match &error {
        StoreError::Corrupt { source, .. } => source
            .downcast_ref::<rusqlite::Error>()
            .and_then(rusqlite::Error::sqlite_error_code)
            .is_some_and(|code| {
                matches!(
                    code,
                    rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase
                )
            }),
        _ => false,
    };
    if of_the_file {
        error
    } else {
        error.about(session_id)
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(
                rusqlite::ErrorCode::DatabaseCorrupt
                | rusqlite::ErrorCode::NotADatabase
                | rusqlite::ErrorCode::ConstraintViolation,
            ) => Self::corrupt(error),
            // Not an SQLite error: a value has an unexpected type.
            None => Self::corrupt(error),
            _ => Self::unavailable(error),
        }
    }
}
