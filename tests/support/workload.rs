//! Clients that create, join and end at full speed whatever breaks, remember every answer that said OK, and afterwards
//! compare what is stored with it.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::task::JoinSet;
use tonic::{Code, Status};
use video_session::proto::v1::session_event::Detail;
use video_session::proto::v1::{
    CreateSessionRequest, EndSessionRequest, JoinSessionRequest, ListSessionEventsRequest,
    ListSessionsRequest, Role, Session, SessionEvent, SessionState,
};

use crate::service::{Client, connect};

/// No call may take longer, whatever breaks: far above every limit of the service.
const HANG: Duration = Duration::from_secs(20);
/// Appointments that all clients fight for; each client has others of its own besides.
const SHARED: usize = 12;

/// Where the instances are now; one that is down has no address.
pub(crate) struct Targets(pub(crate) Vec<Mutex<Option<SocketAddr>>>);

impl Targets {
    pub(crate) fn new(addrs: &[SocketAddr]) -> Arc<Self> {
        let targets = addrs.iter().map(|addr| Mutex::new(Some(*addr)));
        Arc::new(Self(targets.collect()))
    }

    fn get(&self, n: usize) -> Option<SocketAddr> {
        *self.0[n % self.0.len()].lock().unwrap()
    }
}

/// What was answered.
#[derive(Default)]
pub(crate) struct Record {
    /// Every session of an OK create or end, as first seen, and how often it was answered as created.
    sessions: Mutex<HashMap<String, (Session, u32)>>,
    /// The jti of every OK join, by session.
    joined: Mutex<HashMap<String, HashSet<String>>>,
    /// How often a join was sent, by session.
    tried: Mutex<HashMap<String, usize>>,
    /// The sessions of an OK end.
    ended: Mutex<HashSet<String>>,
    /// How many answers said OK.
    pub(crate) oks: AtomicU64,
    /// How many did not, by code and target.
    pub(crate) errors: Mutex<HashMap<(usize, Code), u64>>,
    /// The longest wait for any answer.
    pub(crate) longest: Mutex<Duration>,
}

/// Clients at work.
pub(crate) struct Workload {
    pub(crate) record: Arc<Record>,
    stop: Arc<AtomicBool>,
    clients: JoinSet<()>,
}

impl Workload {
    pub(crate) fn start(count: usize, targets: &Arc<Targets>) -> Self {
        let (record, stop) = (
            Arc::new(Record::default()),
            Arc::new(AtomicBool::new(false)),
        );
        let mut clients = JoinSet::new();
        for n in 0..count {
            let worker = Worker {
                n,
                target: AtomicUsize::new(n),
                targets: Arc::clone(targets),
                record: Arc::clone(&record),
                stop: Arc::clone(&stop),
            };
            clients.spawn(worker.run());
        }
        Self {
            record,
            stop,
            clients,
        }
    }

    /// Waits for that many more OK answers.
    pub(crate) async fn progress(&mut self, more: u64) {
        let goal = self.record.oks.load(Ordering::Relaxed) + more;
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.record.oks.load(Ordering::Relaxed) < goal {
            assert!(Instant::now() < deadline, "the clients make no progress");
            if let Some(over) = self.clients.try_join_next() {
                over.expect("a client failed");
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Lets every client finish what it is doing.
    pub(crate) async fn stop(mut self) -> Arc<Record> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(over) = self.clients.join_next().await {
            over.expect("a client failed");
        }
        self.record
    }
}

struct Worker {
    n: usize,
    target: AtomicUsize,
    targets: Arc<Targets>,
    record: Arc<Record>,
    stop: Arc<AtomicBool>,
}

impl Worker {
    async fn run(self) {
        let mut round = 0_u64;
        while !self.stop.load(Ordering::Relaxed) {
            let Some(mut client) = self.connect().await else {
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            };
            // Until something breaks; then again, elsewhere.
            while !self.stop.load(Ordering::Relaxed) {
                round += 1;
                // Everybody works with every instance, also with one that has just come back.
                let enough = self.targets.0.len() > 1 && round.is_multiple_of(4);
                if self.round(&mut client, round).await.is_err() || enough {
                    self.target.fetch_add(1, Ordering::Relaxed);
                    break;
                }
            }
        }
    }

    async fn connect(&self) -> Option<Client> {
        let addr = self.targets.get(self.target.load(Ordering::Relaxed));
        let client = match addr {
            Some(addr) => connect(addr).await.ok(),
            None => None,
        };
        if client.is_none() {
            self.target.fetch_add(1, Ordering::Relaxed);
        }
        client
    }

    /// One appointment: create, join as both, perhaps end. `Err` when the connection or the store failed.
    async fn round(&self, client: &mut Client, round: u64) -> Result<(), ()> {
        let appointment_id = if round.is_multiple_of(2) {
            format!("own-{}-{round}", self.n)
        } else {
            format!("shared-{}", fastrand::usize(..SHARED))
        };
        let create = CreateSessionRequest {
            doctor_id: format!("doctor-of-{appointment_id}"),
            patient_id: format!("patient-of-{appointment_id}"),
            appointment_id,
            ..CreateSessionRequest::default()
        };
        let Some(made) = self.ask(client.create_session(create)).await? else {
            return Ok(());
        };
        let session = made.session.expect("an OK create has a session");
        self.record.created(&session, made.created);
        for role in [Role::Doctor, Role::Patient] {
            let user_id = match role {
                Role::Doctor => session.doctor_id.clone(),
                _ => session.patient_id.clone(),
            };
            let join = JoinSessionRequest {
                session_id: session.session_id.clone(),
                role: role.into(),
                user_id,
                ..JoinSessionRequest::default()
            };
            self.record.tries(&session.session_id);
            if let Some(grant) = self.ask(client.join_session(join)).await? {
                self.record.joins(&session.session_id, jti(&grant.token));
            }
        }
        if fastrand::u8(..) < 64 {
            let end = EndSessionRequest {
                session_id: session.session_id.clone(),
                reason: format!("by client {}", self.n),
            };
            if let Some(ended) = self.ask(client.end_session(end)).await? {
                let ended = ended.session.expect("an OK end has a session");
                assert_eq!(ended.state(), SessionState::Ended);
                self.record.ends(&session.session_id);
            }
        }
        Ok(())
    }

    /// The answer; `None` when the session has ended meanwhile or others kept changing it; `Err` when something broke.
    async fn ask<T>(
        &self,
        call: impl Future<Output = Result<tonic::Response<T>, Status>>,
    ) -> Result<Option<T>, ()> {
        let started = Instant::now();
        let answer = tokio::time::timeout(HANG, call).await;
        let took = started.elapsed();
        let answer = answer.expect("a call hangs");
        let mut longest = self.record.longest.lock().unwrap();
        *longest = took.max(*longest);
        drop(longest);
        match answer {
            Ok(answer) => {
                self.record.oks.fetch_add(1, Ordering::Relaxed);
                Ok(Some(answer.into_inner()))
            }
            Err(status) => {
                let target = self.target.load(Ordering::Relaxed) % self.targets.0.len();
                let mut errors = self.record.errors.lock().unwrap();
                *errors.entry((target, status.code())).or_default() += 1;
                match status.code() {
                    Code::FailedPrecondition | Code::Aborted => Ok(None),
                    Code::Unavailable => Err(()),
                    // What tonic makes of a connection that broke; the service's own answers have details.
                    Code::Unknown | Code::Cancelled | Code::Internal
                        if status.details().is_empty() =>
                    {
                        Err(())
                    }
                    _ => panic!("{status:?}"),
                }
            }
        }
    }
}

fn jti(token: &str) -> String {
    let claims = token.split('.').nth(1).expect("a JWT has three parts");
    let claims = URL_SAFE_NO_PAD.decode(claims).expect("base64url");
    let claims: serde_json::Value = serde_json::from_slice(&claims).expect("JSON");
    claims["jti"].as_str().expect("a jti").to_owned()
}

impl Record {
    fn created(&self, session: &Session, created: bool) {
        let mut sessions = self.sessions.lock().unwrap();
        let entry = sessions
            .entry(session.session_id.clone())
            .or_insert_with(|| (session.clone(), 0));
        entry.1 += u32::from(created);
    }

    fn tries(&self, session_id: &str) {
        let mut tried = self.tried.lock().unwrap();
        *tried.entry(session_id.to_owned()).or_default() += 1;
    }

    fn joins(&self, session_id: &str, jti: String) {
        let mut joined = self.joined.lock().unwrap();
        assert!(joined.entry(session_id.to_owned()).or_default().insert(jti));
    }

    fn ends(&self, session_id: &str) {
        self.ended.lock().unwrap().insert(session_id.to_owned());
    }
}

/// What verification counted.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) sessions: usize,
    pub(crate) joins: usize,
    /// Sessions on each node.
    pub(crate) nodes: HashMap<String, usize>,
}

impl Found {
    /// How far the nodes' counts are apart.
    pub(crate) fn spread(&self) -> usize {
        let nodes = ["sfu-1", "sfu-2", "sfu-3"];
        let counts = nodes.map(|node| self.nodes.get(node).copied().unwrap_or(0));
        counts.iter().max().unwrap() - counts.iter().min().unwrap()
    }
}

/// Every session there is, newest first.
pub(crate) async fn all_sessions(client: &mut Client) -> Vec<Session> {
    let mut all = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListSessionsRequest {
            page_size: 500,
            page_token,
            ..ListSessionsRequest::default()
        };
        let page = client.list_sessions(request).await.unwrap().into_inner();
        all.extend(page.sessions);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return all;
        }
    }
}

pub(crate) async fn all_events(client: &mut Client, session_id: &str) -> Vec<SessionEvent> {
    let mut all: Vec<SessionEvent> = Vec::new();
    loop {
        let request = ListSessionEventsRequest {
            session_id: session_id.to_owned(),
            after_sequence: all.last().map_or(0, |event| event.sequence),
            page_size: 500,
        };
        let page = client.list_session_events(request).await.unwrap();
        let events = page.into_inner().events;
        if events.is_empty() {
            return all;
        }
        all.extend(events);
    }
}

/// Compares what is stored with what was answered.
pub(crate) async fn verify(client: &mut Client, record: &Record) -> Found {
    let stored: HashMap<String, Session> = all_sessions(client)
        .await
        .into_iter()
        .map(|session| (session.session_id.clone(), session))
        .collect();
    let mut found = Found {
        sessions: stored.len(),
        joins: 0,
        nodes: HashMap::new(),
    };
    let mut live = HashSet::new();
    for session in stored.values() {
        *found.nodes.entry(session.sfu_node_id.clone()).or_default() += 1;
        if session.state() != SessionState::Ended {
            let appointment = &session.appointment_id;
            assert!(
                live.insert(appointment),
                "{appointment} has two live sessions"
            );
        }
    }
    for (session_id, (answered, created)) in record.sessions.lock().unwrap().iter() {
        let session = stored
            .get(session_id)
            .unwrap_or_else(|| panic!("an OK create is lost: {answered:?}"));
        assert_eq!(kept(session), kept(answered));
        assert!(
            *created <= 1,
            "{session_id} was answered as created {created} times"
        );
    }
    for session_id in record.ended.lock().unwrap().iter() {
        assert_eq!(
            stored[session_id].state(),
            SessionState::Ended,
            "an OK end is lost"
        );
    }
    let mut jtis = HashSet::new();
    for session in stored.values() {
        let events = all_events(client, &session.session_id).await;
        let own = check_events(session, &events);
        found.joins += own.len();
        for jti in &own {
            assert!(jtis.insert(jti.clone()), "a join was recorded twice");
        }
        let tried = record.tried.lock().unwrap();
        let tried = tried.get(&session.session_id).copied().unwrap_or(0);
        assert!(own.len() <= tried, "{} joins of {tried}", own.len());
        if let Some(answered) = record.joined.lock().unwrap().get(&session.session_id) {
            for jti in answered {
                assert!(own.contains(jti), "an OK join is lost");
            }
        }
    }
    let joined = record.joined.lock().unwrap();
    assert!(
        joined
            .keys()
            .all(|session_id| stored.contains_key(session_id))
    );
    found
}

/// What never changes about a session.
fn kept(session: &Session) -> Session {
    Session {
        state: 0,
        update_time: None,
        end_time: None,
        end_reason: String::new(),
        end_cause: 0,
        version: 0,
        ..session.clone()
    }
}

/// Gapless, created first, ended last and once; returns the joins' jtis.
fn check_events(session: &Session, events: &[SessionEvent]) -> HashSet<String> {
    let sequences: Vec<_> = events.iter().map(|event| event.sequence).collect();
    let expected: Vec<_> = (1..=session.version).collect();
    assert_eq!(sequences, expected, "{session:?}");
    let mut jtis = HashSet::new();
    let last = events.len() - 1;
    for (n, event) in events.iter().enumerate() {
        assert_eq!(event.session_id, session.session_id);
        match event.detail.as_ref().expect("an event has a detail") {
            Detail::Created(_) => assert_eq!(n, 0),
            Detail::Joined(joined) => assert!(jtis.insert(joined.jti.clone())),
            Detail::Ended(_) => assert_eq!(n, last, "nothing follows the end"),
            other => panic!("nobody does this: {other:?}"),
        }
    }
    let ended = matches!(events[last].detail, Some(Detail::Ended(_)));
    assert_eq!(ended, session.state() == SessionState::Ended);
    jtis
}
