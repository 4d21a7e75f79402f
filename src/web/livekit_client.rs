//! livekit-client: the library that pages load if their session is on a LiveKit node. It is not part of the binary, and a
//! service without such nodes needs none.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use axum::body::Bytes;
use tokio::sync::OnceCell;

/// The only version that the page was tried with. `deploy/fetch-livekit-client` fetches it.
const VERSION: &str = "2.23.0";
/// A file of the library.
pub(super) struct LibraryFile {
    /// Its name in the directory, and among the page's files.
    pub(super) name: &'static str,
    /// Its SHA-256. Pages run it, so no other content is served. It is part of the address of the page's files.
    pub(super) digest: &'static str,
}
/// The library, and the worker in which it encrypts from end to end.
pub(super) const FILES: [LibraryFile; 2] = [
    LibraryFile {
        name: "livekit-client.js",
        digest: "fb646f2260d84f91238d0a2dc10726c456631d6a26c7cafc43cfee5959b4d31d",
    },
    LibraryFile {
        name: "livekit-e2ee-worker.js",
        digest: "1f24fcb70cac98f0dd75b5b076f5f2acdd05b0cd81b1f6d62401817bb161d8a5",
    },
];
/// More than a file has.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Why a directory cannot serve the library. The texts say how to get it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LivekitClientError {
    /// A file is missing, or cannot be read.
    #[error(
        "does not hold livekit-client, which LiveKit nodes need; run deploy/fetch-livekit-client <that directory>"
    )]
    Missing,
    /// Another version, or a changed file.
    #[error(
        "does not hold livekit-client {}, which LiveKit nodes need, but another file; run deploy/fetch-livekit-client \
         <that directory>",
        VERSION
    )]
    Different,
}

/// Checks that a directory holds the library. It reads less than a megabyte.
///
/// # Errors
/// A file is missing, cannot be read, or is not the expected one.
pub fn check_livekit_client(dir: &Path) -> Result<(), LivekitClientError> {
    FILES.iter().try_for_each(|file| read(dir, file).map(drop))
}

fn read(dir: &Path, library: &LibraryFile) -> Result<Bytes, LivekitClientError> {
    let mut content = Vec::new();
    File::open(dir.join(library.name))
        .and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut content))
        .map_err(|_| LivekitClientError::Missing)?;
    let actual = digest(&SHA256, &content);
    let is_expected = hex(actual.as_ref()).eq(library.digest.chars());
    if is_expected {
        Ok(content.into())
    } else {
        Err(LivekitClientError::Different)
    }
}

fn hex(bytes: &[u8]) -> impl Iterator<Item = char> {
    let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    nibbles.filter_map(|nibble| char::from_digit(nibble.into(), 16))
}

/// The library as it is served: each file is read when the first page asks for it, and kept.
pub(super) struct LivekitClient {
    dir: PathBuf,
    contents: [OnceCell<Bytes>; FILES.len()],
}

impl LivekitClient {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            contents: Default::default(),
        }
    }

    /// A file's content. `None` if it is none of the library's, or the directory does not hold it.
    pub(super) async fn content(&self, name: &str) -> Option<Bytes> {
        let known = FILES.iter().zip(&self.contents);
        let (file, content) = known.into_iter().find(|(file, _)| file.name == name)?;
        let load = || async {
            let dir = self.dir.clone();
            let read = tokio::task::spawn_blocking(move || read(&dir, file)).await;
            read.unwrap_or(Err(LivekitClientError::Missing))
        };
        let content = content.get_or_try_init(load).await;
        if let Err(error) = content {
            tracing::error!(%error, "a page asked for livekit-client");
        }
        content.ok().cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_fetches_the_same_version() {
        let script = include_str!("../../deploy/fetch-livekit-client");
        assert!(script.contains(&format!("\nVERSION={VERSION}\n")));
    }

    #[test]
    fn a_directory_without_the_library_or_with_another_file_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let missing = check_livekit_client(dir.path());
        assert_eq!(missing, Err(LivekitClientError::Missing));
        std::fs::write(dir.path().join(FILES[0].name), "alert(1)").expect("a file");
        let different = check_livekit_client(dir.path());
        assert_eq!(different, Err(LivekitClientError::Different));
        for error in [LivekitClientError::Missing, LivekitClientError::Different] {
            let text = error.to_string();
            assert!(text.contains("deploy/fetch-livekit-client"), "{text}");
        }
    }
}
