//! How often a call goes to MongoDB and back, counted from what the driver sends.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio_util::sync::CancellationToken;
use video_session::app::clock::SystemClock;
use video_session::app::media::{IceConfig, IcePolicy, PageMediaSource};
use video_session::app::{
    App, Config, ContentionConfig, DoctorsConfig, EndingConfig, JoinRequest, MoveConfig, Nodes,
    Parts, ProbeConfig, ReconcileConfig, SessionKey, SignallingTimes, StoreWaitConfig,
    UnreadableConfig, UpkeepConfig, WatchConfig,
};
use video_session::auth::token::{self, KeySource, Tokens};
use video_session::bus::local::LocalBus;
use video_session::domain::actor::Actor;
use video_session::domain::health::HealthTimes;
use video_session::domain::role::Role;
use video_session::domain::session::{JoinWindow, SessionUpdate};
use video_session::readiness::ReadinessState;
use video_session::store::observed::ObservedStore;
use video_session::store::{StoreHealth as _, Stores};
use video_session::telemetry::metrics::Metrics;

use crate::mongo::servers;
use crate::sample::{nodes, request, user};

const BACKEND: Actor = Actor::Backend;

#[expect(clippy::too_many_lines, reason = "a list of settings")]
fn app(stores: Stores) -> App {
    let key = KeySource::Secret(SecretString::from("k".repeat(32)));
    let tokens = Tokens::new(&token::Config {
        current: key,
        previous: Vec::new(),
        issuer: "issuer".into(),
        audience: "audience".into(),
    });
    let metrics = Arc::new(Metrics::default());
    let long = Duration::from_secs(30);
    let config = Config {
        token_ttl_secs: 60,
        store: StoreWaitConfig {
            timeout: long,
            retry_after: long,
        },
        contention: ContentionConfig {
            attempts_max: 8,
            wait: Duration::from_secs(4),
        },
        watch: WatchConfig {
            poll: long,
            poll_with_bus: long,
            streams_max: 8,
        },
        signalling: SignallingTimes {
            page_ttl: Duration::from_secs(60),
            reconnect_grace: long,
        },
        ending: EndingConfig {
            window: JoinWindow {
                early_secs: 0,
                late_secs: 0,
            },
            empty_timeout: None,
        },
        unreadable: UnreadableConfig {
            retry: long,
            max: 8,
        },
        allows_stills: false,
        doctors: DoctorsConfig {
            sessions_max: 8,
            list_interval: long,
            streams_max: 8,
            streams_per_doctor_max: 8,
        },
        node_ticket_ttl: Duration::from_secs(600),
        probes: ProbeConfig {
            interval: long,
            timeout: long,
            load_interval: long,
        },
        moves: MoveConfig {
            retry: long,
            concurrent_max: 4,
            overlap_secs: 30,
        },
        reconcile: ReconcileConfig {
            waiting_max: 100,
            concurrent_max: 4,
        },
        upkeep: UpkeepConfig {
            rooms_interval: Duration::from_secs(60),
            probe_interval: long,
            probe_timeout: long,
            count_interval: long,
            overdue_interval: long,
            heartbeat_interval: long,
            lease_secs: 60,
            grace: long,
            clock_skew_warn: long,
            node_poll_interval: long,
        },
    };
    let clock = Arc::new(SystemClock);
    let ice = IceConfig {
        stun_urls: Vec::new(),
        turn_urls: Vec::new(),
        turn_secret: None,
        turn_ttl_secs: 60,
        policy: IcePolicy::All,
    };
    let times = HealthTimes {
        down_after: long,
        refused_after: long,
        up_after: long,
        flap_window: long,
        up_after_max: long,
    };
    let nodes = Arc::new(Nodes::new(nodes(3), times));
    let parts = Parts {
        instance_id: "here".to_owned(),
        stores: Stores::of(Arc::new(ObservedStore::new(stores, Arc::clone(&metrics)))),
        bus: Arc::new(LocalBus::default()),
        tokens: Arc::new(tokens.unwrap()),
        page_media: Arc::new(PageMediaSource::new(ice, clock.clone())),
        nodes,
        drivers: Arc::default(),
        clock,
        readiness: ReadinessState::default(),
        metrics,
    };
    App::new(parts, &config, CancellationToken::new())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the MongoDB peer; .ci/run installs it"]
async fn every_call_costs_its_expected_round_trips() {
    for server in servers() {
        let (store, commands) = server.recorded_store().await;
        store.ping().await.unwrap();
        let app = app(Stores::of(store));
        commands.take();

        let made = app
            .sessions
            .create(&BACKEND, request("trips"))
            .await
            .ok()
            .unwrap();
        assert!(made.created);
        let new = ["find sessions", "findAndModify counters", "update sessions"];
        assert_eq!(commands.take(), new);

        let replayed = app
            .sessions
            .create(&BACKEND, request("trips"))
            .await
            .ok()
            .unwrap();
        assert!(!replayed.created);
        assert_eq!(commands.take(), ["find sessions"]);

        let session_id = made.session.session_id;
        for key in [
            SessionKey::Session(session_id.clone()),
            SessionKey::Appointment(made.session.appointment_id),
        ] {
            app.sessions.get(&BACKEND, &key).await.unwrap();
            assert_eq!(commands.take(), ["find sessions"]);
        }

        // Up to the first archiving of the tail, which no caller waits for.
        for _ in 0..10 {
            let join = JoinRequest {
                session_id: session_id.clone(),
                role: Role::Doctor,
                user_id: user("doctor-1"),
                display_name: String::new(),
                before_window: false,
                locale: None,
                with_node_ticket: false,
            };
            app.sessions.join(&BACKEND, &join).await.ok().unwrap();
            assert_eq!(commands.take(), ["find sessions", "update sessions"]);
        }

        let update = SessionUpdate {
            doctor_id: Some(user("doctor-2")),
            ..SessionUpdate::default()
        };
        app.sessions
            .update(&BACKEND, &session_id, &update, None)
            .await
            .unwrap();
        assert_eq!(commands.take(), ["find sessions", "update sessions"]);

        app.events
            .list(&BACKEND, &session_id, 0, 500)
            .await
            .unwrap();
        assert_eq!(
            commands.take(),
            ["find sessions"],
            "the archive is not asked"
        );

        app.sessions.end(&BACKEND, &session_id, None).await.unwrap();
        assert_eq!(commands.take(), ["find sessions", "update sessions"]);
        app.sessions.end(&BACKEND, &session_id, None).await.unwrap();
        assert_eq!(commands.take(), ["find sessions"]);

        // The next session of an appointment costs what its first did.
        let next = app
            .sessions
            .create(&BACKEND, request("trips"))
            .await
            .ok()
            .unwrap();
        assert!(next.created);
        assert_eq!(commands.take(), new);
        server.drop_database().await;
    }
}
