//! The disk under the embedded store is full, or cannot be written to.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tonic::Code;
use video_session::proto::v1::get_session_request::Key;
use video_session::proto::v1::{
    CreateSessionRequest, EndSessionRequest, GetSessionRequest, JoinSessionRequest, Role, Session,
};

use crate::probes::{Probes, assert_store_unavailable, until};
use crate::service::{Client, Service, configure, program};
use crate::workload::{Targets, Workload, all_events, all_sessions, verify};

const PROGRAM: &str = env!("CARGO_BIN_EXE_video-session");
const CLIENTS: usize = 8;

fn create(n: usize) -> CreateSessionRequest {
    CreateSessionRequest {
        appointment_id: format!("disk-{n}"),
        doctor_id: "doctor-1".into(),
        patient_id: "patient-1".into(),
        labels: [("ballast".to_owned(), "x".repeat(250))].into(),
        ..CreateSessionRequest::default()
    }
}

fn join(session: &Session) -> JoinSessionRequest {
    JoinSessionRequest {
        session_id: session.session_id.clone(),
        role: Role::Doctor.into(),
        user_id: "doctor-1".into(),
        ..JoinSessionRequest::default()
    }
}

/// Sets how large a file of the process may become.
fn limit_files(service: &Service, bytes: &str) {
    let status = Command::new("prlimit")
        .arg(format!("--pid={}", service.child.id()))
        .arg(format!("--fsize={bytes}:unlimited"))
        .status()
        .expect("prlimit, of util-linux");
    assert!(status.success());
}

/// Creates until the disk is full, then joins the first session until it is, as that takes less room; the sessions.
async fn fill(client: &mut Client) -> Vec<Session> {
    let mut sessions = Vec::new();
    let refused = loop {
        match client.create_session(create(sessions.len())).await {
            Ok(made) => sessions.push(made.into_inner().session.unwrap()),
            Err(status) => break status,
        }
        assert!(sessions.len() < 100_000, "the disk does not get full");
    };
    assert_store_unavailable("the create that fills the disk", &refused);
    let mut joins = 0;
    let refused = loop {
        match client.join_session(join(&sessions[0])).await {
            Ok(_) => joins += 1,
            Err(status) => break status,
        }
        assert!(joins < 100_000, "the disk does not get full");
    };
    assert_store_unavailable("the join that fills the disk", &refused);
    let first = client.create_session(create(0)).await.unwrap();
    sessions[0] = first.into_inner().session.unwrap();
    assert_eq!(sessions[0].version, 1 + joins);
    sessions
}

/// Writes fail and say so; reads answer; nothing of what failed can be seen.
async fn reads_go_on(client: &mut Client, probes: &Probes, sessions: &[Session]) {
    let first = &sessions[0];
    for n in 0..20 {
        let made = client.create_session(create(1_000_000 + n)).await;
        assert_store_unavailable("create", &made.unwrap_err());
        let joined = client.join_session(join(first)).await;
        assert_store_unavailable("join", &joined.unwrap_err());
        let end = EndSessionRequest {
            session_id: first.session_id.clone(),
            reason: String::new(),
        };
        assert_store_unavailable("end", &client.end_session(end).await.unwrap_err());
        let replayed = client.create_session(create(0)).await.unwrap().into_inner();
        assert_eq!(replayed.session.as_ref(), Some(first));
    }
    assert_eq!(all_sessions(client).await.len(), sessions.len());
    let events = all_events(client, &first.session_id).await;
    let sequences: Vec<_> = events.iter().map(|event| event.sequence).collect();
    assert_eq!(sequences, (1..=first.version).collect::<Vec<_>>());
    let failed = GetSessionRequest {
        key: Some(Key::AppointmentId("disk-1000000".into())),
    };
    let failed = client.get_session(failed).await.unwrap_err();
    assert_eq!(failed.code(), Code::NotFound);
    assert!(probes.is_live().await);
}

/// What was stored before is as it was, and everything works.
async fn all_is_well(client: &mut Client, sessions: &[Session]) {
    let stored = all_sessions(client).await;
    for session in sessions {
        assert!(stored.contains(session));
    }
    let made = client.create_session(create(1_000_000)).await.unwrap();
    assert!(made.into_inner().created);
    client.join_session(join(&sessions[0])).await.unwrap();
}

fn assert_sound(data_dir: &Path) {
    let file = data_dir.join("video-session.db");
    let db = rusqlite::Connection::open(file).unwrap();
    let check: String = db
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(check, "ok");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_may_not_grow_stops_writes_until_it_may() {
    let dir = tempfile::tempdir().unwrap();
    let start = || {
        let mut command = program();
        command.env("DATA_DIR", dir.path());
        Service::start(command)
    };
    let service = start();
    let probes = Probes::of(&service).await;
    let mut client = service.client().await;
    limit_files(&service, "1500000");
    let sessions = fill(&mut client).await;
    reads_go_on(&mut client, &probes, &sessions).await;
    limit_files(&service, "unlimited");
    all_is_well(&mut client, &sessions).await;
    drop(service);
    assert_sound(dir.path());
    let service = start();
    all_is_well_again(&mut service.client().await, &sessions).await;
}

/// After a restart: with what the disk was filled with, and what came after.
async fn all_is_well_again(client: &mut Client, sessions: &[Session]) {
    let stored = all_sessions(client).await;
    assert_eq!(stored.len(), sessions.len() + 1);
    assert!(sessions[1..].iter().all(|session| stored.contains(session)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_lose_nothing_when_the_disk_gets_full_again_and_again() {
    let dir = tempfile::tempdir().unwrap();
    let start = || {
        let mut command = program();
        command
            .env("DATA_DIR", dir.path())
            .env("STORE_TIMEOUT_MS", "20000");
        Service::start(command)
    };
    let service = start();
    let mut workload = Workload::start(CLIENTS, &Targets::new(&[service.grpc]));
    for _ in 0..5 {
        workload.progress(50).await;
        // Less than it has already: wherever the next write goes, it fails, whole transactions or parts of one.
        let wal = dir.path().join("video-session.db-wal");
        let now = std::fs::metadata(wal).unwrap().len();
        limit_files(&service, &(now + fastrand::u64(..20_000)).to_string());
        let refused = || {
            let errors = workload.record.errors.lock().unwrap();
            errors.get(&(0, Code::Unavailable)).copied().unwrap_or(0)
        };
        let before = refused();
        let limit = Duration::from_secs(30);
        until("writes fail", limit, async || refused() >= before + 20).await;
        limit_files(&service, "unlimited");
    }
    workload.progress(50).await;
    let record = workload.stop().await;
    let found = verify(&mut service.client().await, &record).await;
    println!("{found:?}, {:?}", record.errors.lock().unwrap());
    assert!(found.spread() <= 1, "{found:?}");
    drop(service);
    assert_sound(dir.path());
    let service = start();
    verify(&mut service.client().await, &record).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the right to mount; .ci/run has it"]
async fn a_full_file_system_stops_writes_until_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = configure(Command::new("/usr/bin/unshare"));
    // A file system of its own that nobody else sees, and that is gone with the service.
    let script = "mount -t tmpfs -o size=2m tmpfs \"$DATA_DIR\" && \
                  head -c 1000000 /dev/zero > \"$DATA_DIR/ballast\" && exec \"$0\"";
    command
        .args(["--mount", "/bin/sh", "-c", script, PROGRAM])
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("STORE_TIMEOUT_MS", "20000")
        .env("STORE_PROBE_INTERVAL_MS", "5")
        .env("DATA_DIR", dir.path());
    let service = Service::start(command);
    let probes = Probes::of(&service).await;
    let mut client = service.client().await;
    let sessions = fill(&mut client).await;
    reads_go_on(&mut client, &probes, &sessions).await;
    readiness_stays_while_writes_fail(&client, &probes, &sessions).await;
    let root = format!("/proc/{}/root", service.child.id());
    let inside = Path::new(&root).join(dir.path().strip_prefix("/").unwrap());
    std::fs::remove_file(inside.join("ballast")).unwrap();
    all_is_well(&mut client, &sessions).await;
    assert_sound(&inside);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_on_a_full_disk_do_not_take_readiness_away() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = program();
    command
        .env("DATA_DIR", dir.path())
        .env("STORE_TIMEOUT_MS", "20000")
        .env("STORE_PROBE_INTERVAL_MS", "5");
    let service = Service::start(command);
    let probes = Probes::of(&service).await;
    let mut client = service.client().await;
    limit_files(&service, "1500000");
    let sessions = fill(&mut client).await;
    readiness_stays_while_writes_fail(&client, &probes, &sessions).await;
}

/// Many clients write as fast as they are refused; readiness is asked all the while.
async fn readiness_stays_while_writes_fail(client: &Client, probes: &Probes, sessions: &[Session]) {
    const REFUSED: u64 = 3000;
    let refused = Arc::new(AtomicU64::new(0));
    let writers = (0..CLIENTS).map(|_| {
        let (join, refused) = (join(&sessions[0]), Arc::clone(&refused));
        let mut client = client.clone();
        tokio::spawn(async move {
            while refused.load(Ordering::Relaxed) < REFUSED {
                let status = client.join_session(join.clone()).await.unwrap_err();
                assert_store_unavailable("join", &status);
                refused.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let probed = "video_session_store_operations_total{operation=\"ping\",outcome=\"ok\"} ";
    let before = probes.gauge(probed).await;
    let mut polls = 0;
    while refused.load(Ordering::Relaxed) < REFUSED || polls < 50 {
        assert!(probes.is_ready().await, "poll {polls}");
        polls += 1;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    // The probes that count are those that were made among the writes.
    let during = probes.gauge(probed).await - before;
    assert!(during >= 10, "{during} probes");
    let failed =
        "video_session_store_operations_total{operation=\"ping\",outcome=\"unavailable\"} ";
    assert_eq!(probes.find_gauge(failed).await, None);
}

/// Runs the program until it gives up.
fn refused(mut command: Command) -> String {
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("it was not refused");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{said}");
    said
}

#[test]
fn a_directory_that_cannot_be_written_to_is_named_at_start() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    std::fs::create_dir(&data_dir).unwrap();
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(dir.path(), 0o755);
    mode(&data_dir, 0o555);
    // Permissions do not stop root: then somebody else runs a copy that they can reach.
    let is_root = std::fs::write(data_dir.join("probe"), "").is_ok();
    let mut path = PathBuf::from(PROGRAM);
    if is_root {
        path = dir.path().join("video-session");
        std::fs::copy(PROGRAM, &path).unwrap();
    }
    let command_at = |data_dir: &Path| {
        let mut command = configure(Command::new(&path));
        if is_root {
            command.uid(65_534).gid(65_534);
        }
        command.env("DATA_DIR", data_dir);
        command
    };
    let said = refused(command_at(&data_dir));
    assert!(said.contains("DATA_DIR cannot be used"), "{said}");
    assert!(said.contains("Permission denied"), "{said}");
    // One that does not exist and cannot be made.
    let said = refused(command_at(&data_dir.join("below")));
    assert!(said.contains("DATA_DIR cannot be used"), "{said}");
    // One that is no directory.
    let said = refused(command_at(Path::new("/dev/null")));
    assert!(said.contains("DATA_DIR cannot be used"), "{said}");
}

#[test]
fn a_second_process_is_refused_also_when_the_lock_file_was_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let command = || {
        let mut command = configure(Command::new(PROGRAM));
        command.env("DATA_DIR", dir.path());
        command
    };
    let in_use = "another video-session process is using DATA_DIR";
    let service = Service::start(command());
    assert!(refused(command()).contains(in_use));
    let lock_file = dir.path().join("video-session.lock");
    std::fs::remove_file(&lock_file).unwrap();
    assert!(refused(command()).contains(in_use));
    // A former version holds the lock file's lock and no other.
    drop(service);
    let former = std::fs::File::create(&lock_file).unwrap();
    former.lock().unwrap();
    assert!(refused(command()).contains(in_use));
    drop(former);
    drop(Service::start(command()));
}

#[test]
fn a_disk_that_is_full_at_start_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = configure(Command::new("/bin/sh"));
    command
        .args(["-c", "ulimit -f 0; exec \"$0\"", PROGRAM])
        .env("DATA_DIR", dir.path());
    let said = refused(command);
    assert!(
        said.contains("the embedded store cannot be opened"),
        "{said}"
    );
}
