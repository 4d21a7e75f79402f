//! The application: one file per noun, between the edges and the stores. Every operation takes the
//! [`Actor`](crate::domain::actor::Actor) that performs it.

mod access;
mod changes;
pub mod clock;
mod doctors;
mod drivers;
mod events;
mod feed;
mod joins;
pub mod media;
mod moving;
mod node_operations;
mod node_tickets;
mod nodes;
mod participants;
mod probing;
mod qualities;
mod reconcile;
mod sessions;
pub mod signalling;
#[cfg(test)]
mod testing;
mod turns;
mod unreadable;
mod upkeep;

pub use access::StoreWaitConfig;
pub use changes::ContentionConfig;
pub use doctors::{
    DayStream, DayView, DoctorIdentity, DoctorLinkRequest, Doctors, DoctorsConfig, IssuedDoctorLink,
};
pub use drivers::{Drivers, DriversByNode};
pub use events::{EventStream, Events, WatchConfig};
pub use joins::{IssuedJoin, JoinRequest};
pub use moving::{MoveConfig, Mover};
pub use node_operations::{NodeOperations, NodeStatus};
pub use nodes::{NodeAnswers, NodeBook, NodeView, Nodes};
pub use participants::Participants;
pub use probing::ProbeConfig;
pub use reconcile::{ReconcileConfig, Reconciled, Reconciler, WebhookRefused};
pub use sessions::{Created, EndingConfig, SessionKey, Sessions};
pub use signalling::{Signalling, SignallingTimes};
pub use unreadable::UnreadableConfig;
pub use upkeep::{Upkeep, UpkeepConfig};

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::token::Tokens;
use crate::bus::Bus;
use crate::readiness::ReadinessState;
use crate::store::Stores;
use crate::telemetry::metrics::Metrics;
use access::StoreAccess;
use changes::Changes;
use clock::Clock;
use feed::{FeedReader, Followed};
use joins::Joins;
use media::PageMediaSource;
use node_tickets::NodeTickets;
use probing::Prober;
use unreadable::Unreadable;

/// The application's limits and times.
#[derive(Debug, Clone)]
pub struct Config {
    /// How long a join token is valid.
    pub token_ttl_secs: u64,
    /// How long calls wait for the store.
    pub store: StoreWaitConfig,
    /// How changes that lose races are tried again.
    pub contention: ContentionConfig,
    /// How sessions are watched.
    pub watch: WatchConfig,
    /// Whether hosts may take still pictures of the others.
    pub allows_stills: bool,
    /// The pages of doctors' days.
    pub doctors: DoctorsConfig,
    /// How long participants may return without a new join link, and after a lost connection.
    pub signalling: SignallingTimes,
    /// When the service ends sessions.
    pub ending: EndingConfig,
    /// How sessions that cannot be read are set aside.
    pub unreadable: UnreadableConfig,
    /// How long a ticket of an SFU node is valid for a client that connects to the node directly.
    pub node_ticket_ttl: Duration,
    /// How SFU nodes are made to agree with the sessions.
    pub reconcile: ReconcileConfig,
    /// How SFU nodes are probed.
    pub probes: ProbeConfig,
    /// How sessions move.
    pub moves: MoveConfig,
    /// Background work.
    pub upkeep: UpkeepConfig,
}

/// The application, by its nouns.
pub struct App {
    /// Sessions as a whole.
    pub sessions: Arc<Sessions>,
    /// Participant operations of the backend and the host.
    pub participants: Arc<Participants>,
    /// The events of sessions.
    pub events: Arc<Events>,
    /// The pages of doctors' days.
    pub doctors: Arc<Doctors>,
    /// Participants' connections.
    pub signalling: Arc<Signalling>,
    /// Background upkeep.
    pub upkeep: Arc<Upkeep>,
    /// The SFU nodes.
    pub nodes: Arc<Nodes>,
    /// Their drivers.
    pub drivers: Arc<Drivers>,
    /// Makes SFU nodes agree with the sessions.
    pub reconciler: Arc<Reconciler>,
    /// What operators do with the SFU nodes.
    pub node_operations: Arc<NodeOperations>,
    /// Moves sessions between them.
    pub mover: Arc<Mover>,
    /// Background tasks.
    tasks: TaskTracker,
}

/// The application's ports.
pub struct Parts {
    /// The stores.
    pub stores: Stores,
    /// Carries hints of changes, and messages between participants.
    pub bus: Arc<dyn Bus>,
    /// Issues and verifies credentials.
    pub tokens: Arc<Tokens>,
    /// The SFU nodes.
    pub nodes: Arc<Nodes>,
    /// Says what pages need to exchange media.
    pub page_media: Arc<PageMediaSource>,
    /// The drivers of the SFU nodes.
    pub drivers: Arc<Drivers>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Whether the instance takes calls.
    pub readiness: ReadinessState,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Identifies this process, to the other instances, too.
    pub instance_id: String,
}

impl App {
    /// An application over these ports. Cancelling `closing` ends its streams.
    #[expect(clippy::too_many_lines, reason = "a list of parts")]
    pub fn new(parts: Parts, config: &Config, closing: CancellationToken) -> Self {
        let Parts {
            stores,
            bus,
            tokens,
            nodes,
            page_media,
            drivers,
            clock,
            readiness,
            metrics,
            instance_id,
        } = parts;
        let tasks = TaskTracker::new();
        let access = Arc::new(StoreAccess {
            sessions: Arc::clone(&stores.sessions),
            unreadable: Unreadable::new(config.unreadable, Arc::clone(&metrics)),
            wait: config.store,
        });
        let reconciler = Arc::new(Reconciler::new(
            Arc::clone(&access),
            Arc::clone(&drivers),
            Arc::clone(&clock),
            Arc::clone(&metrics),
            config.reconcile,
            config.moves.overlap_secs,
        ));
        let changes = Arc::new(Changes::new(
            Arc::clone(&access),
            Arc::clone(&bus),
            Arc::clone(&reconciler),
            Arc::clone(&metrics),
            config.contention,
            tasks.clone(),
        ));
        let joins = Arc::new(Joins {
            tokens: Arc::clone(&tokens),
            clock: Arc::clone(&clock),
            window: config.ending.window,
            token_ttl_secs: config.token_ttl_secs,
        });
        let sessions = Arc::new(Sessions {
            access: Arc::clone(&access),
            changes: Arc::clone(&changes),
            joins: Arc::clone(&joins),
            nodes: Arc::clone(&nodes),
            node_tickets: NodeTickets {
                drivers: Arc::clone(&drivers),
                nodes: Arc::clone(&nodes),
                ttl: config.node_ticket_ttl,
                retry_after: config.store.retry_after,
            },
            clock: Arc::clone(&clock),
            metrics: Arc::clone(&metrics),
            config: config.ending,
            attempts_max: config.contention.attempts_max,
        });
        let participants = Arc::new(Participants {
            changes: Arc::clone(&changes),
            joins,
            clock: Arc::clone(&clock),
            metrics: Arc::clone(&metrics),
        });
        let node_operations = Arc::new(NodeOperations {
            nodes: Arc::clone(&nodes),
            store: stores.nodes,
            access: Arc::clone(&access),
            clock: Arc::clone(&clock),
            window: config.ending.window,
            attempts_max: config.contention.attempts_max,
            instance_id: instance_id.clone(),
        });
        let mover = Arc::new(Mover::new(
            Arc::clone(&access),
            Arc::clone(&changes),
            Arc::clone(&node_operations),
            Arc::clone(&clock),
            Arc::clone(&metrics),
            config.moves,
        ));
        let prober = Arc::new(Prober {
            drivers: Arc::clone(&drivers),
            nodes: Arc::clone(&nodes),
            operations: Arc::clone(&node_operations),
            reconciler: Arc::clone(&reconciler),
            mover: Arc::clone(&mover),
            config: config.probes,
        });
        let is_shared = stores.health.is_shared();
        let followed = Arc::<Followed>::default();
        let feed = FeedReader {
            feed: stores.feed,
            bus: Arc::clone(&bus),
            followed: Arc::clone(&followed),
            is_shared,
            poll: config.watch.poll,
            poll_with_bus: config.watch.poll_with_bus,
            living: Mutex::default(),
            hears_all: watch::Sender::new(false),
            metrics: Arc::clone(&metrics),
        };
        let events = Arc::new(Events::new(
            Arc::clone(&access),
            Arc::clone(&bus),
            Arc::clone(&metrics),
            Arc::clone(&followed),
            is_shared,
            config.watch.streams_max,
            closing.clone(),
        ));
        let doctors = Arc::new(Doctors {
            access: Arc::clone(&access),
            sessions: Arc::clone(&sessions),
            bus: Arc::clone(&bus),
            followed,
            tokens: Arc::clone(&tokens),
            clock: Arc::clone(&clock),
            window: config.ending.window,
            config: config.doctors,
            streams: Arc::new(doctors::Streams::new(config.doctors, Arc::clone(&metrics))),
            closing: closing.clone(),
        });
        let signalling = Arc::new(Signalling {
            access: Arc::clone(&access),
            changes: Arc::clone(&changes),
            events: Arc::clone(&events),
            sessions: Arc::clone(&sessions),
            participants: Arc::clone(&participants),
            rooms: signalling::Rooms::default(),
            bus,
            tokens,
            page_media,
            nodes: Arc::clone(&nodes),
            drivers: Arc::clone(&drivers),
            clock: Arc::clone(&clock),
            metrics: Arc::clone(&metrics),
            window: config.ending.window,
            move_overlap_secs: config.moves.overlap_secs,
            allows_stills: config.allows_stills,
            times: config.signalling,
            instance_id: instance_id.clone(),
            tasks: tasks.clone(),
            closing: closing.clone(),
        });
        let upkeep = Arc::new(Upkeep {
            access: Arc::clone(&access),
            instances: stores.instances,
            store: stores.health,
            changes,
            sessions: Arc::clone(&sessions),
            feed,
            drivers: Arc::clone(&drivers),
            reconciler: Arc::clone(&reconciler),
            nodes: Arc::clone(&node_operations),
            prober,
            mover: Arc::clone(&mover),
            clock,
            metrics,
            readiness,
            config: config.upkeep.clone(),
            ending: config.ending,
            instance_id,
            memory: upkeep::Memory::default(),
        });
        Self {
            sessions,
            participants,
            events,
            doctors,
            signalling,
            upkeep,
            nodes,
            drivers,
            reconciler,
            node_operations,
            mover,
            tasks,
        }
    }

    /// Waits for the background tasks; `closing` must have been cancelled.
    pub async fn finish(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}
