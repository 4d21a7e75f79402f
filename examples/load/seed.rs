//! Fills a store before the service is started on it.

use std::path::Path;
use std::time::Duration;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use mongodb::bson::{Document, doc};
use secrecy::SecretString;
use video_session::app::clock::{Clock as _, SystemClock};
use video_session::domain::actor::Actor;
use video_session::domain::id::{AppointmentId, NodeId, SessionId, UserId};
use video_session::domain::medium::MediaMode;
use video_session::domain::participant::Admission;
use video_session::domain::place::Driver;
use video_session::domain::rules::create::UnplacedSession;
use video_session::domain::session::{Requested, Schedule, SessionRequest};
use video_session::domain::time::Timestamp;
use video_session::store::mongo::{self, MongoStore};
use video_session::store::sqlite::{self, SqliteStore};
use video_session::store::{AtTurn, Insert, Inserted, NewSession, SessionStore, StoreHealth as _};

use crate::Outcome;
use crate::calls::{Draft, Known, doctor_id, labels};
use crate::process::SFU_NODES;

/// Inserts in flight at once, which then share a sync.
const CONCURRENT: usize = 4096;
/// Documents in one insert, and inserts at once.
const DOCUMENTS: usize = 1000;
const CONCURRENT_INSERTS: usize = 2;
/// Of so many sessions callers know. They are spread over all that are stored.
const KNOWN_MAX: usize = 1_000_000;

/// Stores that many sessions in a directory, through the store that the service uses.
pub(crate) async fn sqlite(data_dir: &Path, count: usize) -> Outcome<Vec<Known>> {
    let store = SqliteStore::open(&sqlite::Config {
        data_dir: data_dir.to_owned(),
        readers: 1,
        queue_max: CONCURRENT,
        batch_max: CONCURRENT,
    })?;
    let one_in = count.div_ceil(KNOWN_MAX).max(1);
    let known = stream::iter(0..count)
        .map(|n| {
            let inserting = insert(&store);
            async move {
                let known = inserting.await?;
                Outcome::Ok((n % one_in == 0).then_some(known))
            }
        })
        .buffer_unordered(CONCURRENT)
        .try_filter_map(|known| std::future::ready(Ok(known)))
        .try_collect()
        .await?;
    store.close().await;
    Ok(known)
}

/// Stores that many sessions in a database. The first goes through the store that the service uses; the others are copies
/// of its document with ids of their own, which the driver inserts many at a time.
pub(crate) async fn mongo(uri: &str, count: usize) -> Outcome<Vec<Known>> {
    let timeout = Duration::from_secs(60);
    let config = mongo::Config {
        uri: SecretString::from(uri),
        timeout,
        index_timeout: timeout,
        pool_max: 8,
        pool_min: 1,
        connecting_max: 8,
        feed_overlap: timeout,
    };
    let options = mongo::client_options(&config).await?;
    let store = MongoStore::new(options.clone(), &config)?;
    let first = insert(&store).await?;
    let client = mongodb::Client::with_options(options)?;
    let database = client
        .default_database()
        .ok_or("the URI names no database")?;
    let sessions = database.collection::<Document>("sessions");
    let template = sessions
        .find_one(doc! {"_id": &first.session_id})
        .await?
        .ok_or("the first session is not there")?;
    let batches = (1..count).step_by(DOCUMENTS).map(|begin| {
        let (sessions, template) = (sessions.clone(), &template);
        async move {
            let end = count.min(begin + DOCUMENTS);
            let (documents, known): (Vec<_>, Vec<_>) = (begin..end).map(|_| copy(template)).unzip();
            sessions.insert_many(documents).await?;
            Outcome::Ok(known)
        }
    });
    let mut known: Vec<Known> = stream::iter(batches)
        .buffer_unordered(CONCURRENT_INSERTS)
        .try_concat()
        .await?;
    known.push(first);
    store.close().await;
    client.shutdown().await;
    Ok(known)
}

/// A document as the template, of another session.
fn copy(template: &Document) -> (Document, Known) {
    let draft = Draft::new();
    let session_id = SessionId::generate(SystemClock.now()).to_string();
    let mut document = template.clone();
    document.insert("_id", session_id.as_str());
    document.insert("appointment_id", draft.appointment_id);
    document.insert("doctor_id", doctor_id(draft.doctor));
    document.insert("patient_id", draft.patient_id);
    let known = Known {
        session_id,
        doctor: draft.doctor,
    };
    (document, known)
}

/// The node whose turn it is.
fn node_at(turn: u64) -> NodeId {
    let count = SFU_NODES.len() as u64;
    let index = usize::try_from(turn % count).unwrap_or(0);
    NodeId::from_stored(SFU_NODES[index].to_owned())
}

async fn insert(store: &impl SessionStore) -> Outcome<Known> {
    let draft = Draft::new();
    let time = |secs: i64| Some(Timestamp::from_millis(secs * 1000));
    let request = SessionRequest {
        appointment_id: AppointmentId::from_stored(draft.appointment_id),
        doctor_id: UserId::from_stored(doctor_id(draft.doctor)),
        patient_id: UserId::from_stored(draft.patient_id),
        schedule: Schedule {
            start: time(draft.start_secs),
            end: time(draft.end_secs),
        },
        labels: labels().into_iter().collect(),
        admission: Requested::default_of(Admission::default()),
        max_participants: Requested::default_of(8),
        media: Requested::default_of(MediaMode::default()),
        region: None,
        end_to_end_encrypted: false,
        empty_timeout_secs: None,
        open_to_guests: false,
        doctor_name: String::new(),
    };
    let new = NewSession::new(request.appointment_id.clone(), move |latest| {
        let request = request.clone();
        let now = SystemClock.now();
        let unplaced = UnplacedSession::new(request, latest.as_ref(), Actor::Backend, now);
        Insert::New(AtTurn::of_every_turn(move |turn| {
            unplaced.place(node_at(turn), Driver::Builtin)
        }))
    });
    match store.insert(new).await? {
        Inserted::Stored(change) => Ok(Known {
            session_id: change.session.session_id.to_string(),
            doctor: draft.doctor,
        }),
        _ => Err("a random id came twice".into()),
    }
}
