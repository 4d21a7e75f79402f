//! Two instances on one store, with the bus between them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tonic_health::pb::health_check_response::ServingStatus;
use video_session::proto::v1;
use video_session::proto::v1::{Admission, Role};

use crate::harness::{Service, Setup, create, end, patiently, readiness};
use crate::peers::MongoPeer;
use crate::redis::RedisServer;
use crate::toxiproxy::{Fault, Toxiproxy};
use crate::world::{Page, World, fetch, setup, socket, submit};

/// As long as a change takes that is found by polling, on a machine that does much else.
const SOON: Duration = Duration::from_secs(3);

fn on(peer: &MongoPeer, redis: &str) -> Setup {
    setup()
        .set("MONGO_URI", format!("mongodb://{}/bus", peer.addr))
        .set("INSTANCE_BEAT_MS", 200)
        .set("INSTANCE_LEASE_SECS", 2)
        .set("RECONNECT_GRACE_SECS", 4)
        .set("REDIS_URL", redis)
        .set("REDIS_PING_MS", 200)
        .set("REDIS_TIMEOUT_MS", 1000)
        // Longer than any test: what arrives earlier does so by the bus, or because it is known to be broken.
        .set("WATCH_POLL_WITH_BUS_MS", 60_000)
        // The peer speaks the protocol, not MongoDB's speed.
        .set("STORE_TIMEOUT_MS", 20_000)
}

/// A session that admits nobody but the host by itself.
fn by_hand() -> v1::CreateSessionRequest {
    v1::CreateSessionRequest {
        admission: Admission::Manual.into(),
        ..create("appointment-1")
    }
}

async fn metric(service: &Service, name: &str) -> Option<f64> {
    let text = service.admin("/metrics").await;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.map(|value| value.trim().parse().unwrap())
}

async fn becomes(service: &Service, up: f64) {
    patiently(async {
        while metric(service, "video_session_bus_up{} ").await != Some(up) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// Waits until each of two instances knows the other one and hears it: from then on, they do not poll.
async fn connected(services: [&Service; 2]) {
    for service in services {
        until_metric(service, "video_session_bus_instances_heard ", 1.0).await;
    }
}

/// Waits until a metric has at least a value.
async fn until_metric(service: &Service, name: &str, value: f64) {
    patiently(async {
        while metric(service, name).await.unwrap_or(0.0) < value {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

struct Two {
    here: World,
    there: Service,
    doctor: Page,
    patient: Page,
}

/// The doctor on one instance, the patient on another, in a call.
async fn two(here: &Setup, there: &Setup) -> Two {
    let mut here = World::with(here, by_hand()).await;
    let there = there.start().await;
    connected([&here.service, &there]).await;
    let doctor = here.admitted(Role::Doctor).await;
    let ticket = here.ticket(Role::Patient).await;
    let mut patient = ticket.connect(there.http).await.unwrap();
    patient.until("waiting").await;
    doctor.about("admit", "patient-1");
    patient.expect("admitted").await;
    let others = patient.expect("existing-participants").await;
    assert_eq!(others["participants"][0]["user_id"], "doctor-1");
    let mut doctor = doctor;
    doctor.until("user-joined").await;
    Two {
        here,
        there,
        doctor,
        patient,
    }
}

/// What one says arrives at the other, who hears nothing else.
async fn says(from: &Page, to: &mut Page, message: Value) {
    from.send(&message);
    let kind = message["type"].as_str().unwrap();
    let heard = to.expect(kind).await;
    assert_eq!(heard["data"], message["data"]);
}

/// Everything that pages say arrives, in order, and reaches no participant who waits.
async fn talk(from: &Page, to: &mut Page, target: &str) {
    let sdp = json!({"sdp": "v=0\r\n\u{0}"});
    for message in [
        json!({"type": "offer", "target_id": target, "data": sdp}),
        json!({"type": "answer", "target_id": target, "data": sdp}),
        json!({"type": "mute-status", "data": {"muted": true}}),
        json!({"type": "emoji", "data": {"emoji": "x"}}),
    ] {
        says(from, to, message).await;
    }
    for n in 0..200 {
        let candidate = json!({"type": "ice-candidate", "target_id": target, "data": {"n": n}});
        from.send(&candidate);
    }
    for n in 0..200 {
        assert_eq!(to.expect("ice-candidate").await["data"]["n"], n);
    }
    from.send(&json!({"type": "offer", "target_id": "guest-1", "data": sdp}));
}

/// They say to each other what they like, until it arrives.
async fn hear_each_other_again(doctor: &mut Page, patient: &mut Page) {
    for n in 0.. {
        let candidate = json!({"type": "ice-candidate", "data": {"n": n}});
        doctor.send(&candidate);
        patient.send(&candidate);
        doctor.ask("ping");
        patient.ask("ping");
        let mut arrived = 0;
        for page in [&mut *doctor, &mut *patient] {
            loop {
                let message = page.message().await;
                arrived += usize::from(message["type"] == "ice-candidate");
                if message["type"] == "pong" {
                    break;
                }
            }
        }
        if arrived >= 2 {
            return;
        }
        assert!(n < 600, "they do not hear each other again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the MongoDB peer and Redis; .ci/run installs them"]
async fn participants_on_two_instances_are_in_one_call() {
    let (peer, redis) = (MongoPeer::start(0), RedisServer::start());
    let setup = on(&peer, &redis.url());
    let Two {
        mut here,
        there,
        mut doctor,
        mut patient,
    } = two(&setup, &setup).await;
    // A third, whom nobody admits.
    let invitation = v1::InviteParticipantRequest {
        role: Role::Guest.into(),
        user_id: "guest-1".to_owned(),
        ..Default::default()
    };
    let token = here.invite(invitation).await.unwrap().join.unwrap().token;
    let mut guest = here
        .exchange(&token)
        .await
        .connect(there.http)
        .await
        .unwrap();
    guest.until("waiting").await;
    doctor.expect("waiting").await;

    talk(&doctor, &mut patient, "patient-1").await;
    talk(&patient, &mut doctor, "doctor-1").await;
    doctor.nothing_more().await;
    patient.nothing_more().await;

    // One who comes back, and one who comes later, are told what is muted.
    doctor.about("admit", "guest-1");
    guest.expect("admitted").await;
    let existing = guest.expect("existing-participants").await;
    let muted = |user_id: &str| {
        let all = existing["participants"].as_array().unwrap().iter();
        let mut all = all.filter(|other| other["user_id"] == user_id);
        all.next().unwrap()["muted"].clone()
    };
    assert_eq!(
        (muted("doctor-1"), muted("patient-1")),
        (json!(true), json!(true))
    );
    let told = guest.expect("mute-status").await;
    assert_eq!(
        (&told["sender_id"], &told["data"]["muted"]),
        (&json!("doctor-1"), &json!(true))
    );
    guest.nothing_more().await;
    guest.ask("leave");
    doctor.until("user-left").await;
    patient.until("user-left").await;

    let started = Instant::now();
    doctor.about("mute-request", "patient-1");
    patient.expect("mute-request").await;
    doctor.about("remove", "patient-1");
    patient.expect("removed").await;
    assert_eq!(patient.closed().await, Some(4003));
    assert_eq!(doctor.expect("user-left").await["cause"], "removed");
    end(&mut there.client(), &here.session_id, "over").await;
    assert_eq!(doctor.expect("session-ended").await["reason"], "over");
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
}

/// Whoever learns of an admission may speak at once: the message must not be lost because its receiver's instance learns of the
/// admission later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the MongoDB peer and Redis; .ci/run installs them"]
async fn an_offer_does_not_overtake_the_admission() {
    let (peer, redis) = (MongoPeer::start(0), RedisServer::start());
    let setup = on(&peer, &redis.url());
    let mut here = World::with(&setup, by_hand()).await;
    let there = setup.start().await;
    connected([&here.service, &there]).await;
    let mut doctor = here.admitted(Role::Doctor).await;
    for _ in 0..20 {
        let ticket = here.ticket(Role::Patient).await;
        let mut patient = ticket.connect(there.http).await.unwrap();
        patient.until("waiting").await;
        doctor.until("waiting").await;
        doctor.about("admit", "patient-1");
        doctor.until("user-joined").await;
        let offer = json!({"type": "offer", "target_id": "patient-1", "data": {"sdp": "x"}});
        doctor.send(&offer);
        patient.expect("admitted").await;
        patient.expect("existing-participants").await;
        patient.expect("offer").await;
        here.remove("patient-1", false).await;
        patient.until("removed").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis; .ci/run installs it"]
async fn the_password_of_redis_is_never_logged() {
    let redis = RedisServer::start();
    let password = "s3cret-of-redis";
    let refused = format!("redis://calls:{password}@{}", redis.addr());
    let nowhere = format!("redis://calls:{password}@no-such-host.invalid:6379");
    for url in [refused, nowhere] {
        let setup = setup().set("REDIS_URL", url).set("LOG_FILTER", "trace");
        let service = setup.start().await;
        let is_down = |line: &str| line.contains("bus between instances is down");
        service.line(is_down).await;
        // Tried again, and not logged again.
        until_metric(&service, "video_session_bus_failures_total ", 4.0).await;
        let output = service.output();
        assert_eq!(output.matches("bus between instances is down").count(), 1);
        assert!(!output.contains(password) && !output.contains("no-such-host"));
    }
}

/// Mutes a participant by the backend at one instance. Returns how long it took until the participant's page knew.
async fn mute(service: &Service, session_id: &str, user_id: &str, page: &mut Page) -> Duration {
    let started = Instant::now();
    let request = v1::MuteParticipantRequest {
        session_id: session_id.to_owned(),
        user_id: user_id.to_owned(),
    };
    service.client().mute_participant(request).await.unwrap();
    page.until("mute-request").await;
    started.elapsed()
}

/// How often an instance has done something with the store.
async fn store_operations(service: &Service, operation: &str) -> f64 {
    let name = format!(
        "video_session_store_operations_total{{operation=\"{operation}\",outcome=\"ok\"}} "
    );
    metric(service, &name).await.unwrap_or(0.0)
}

/// How often an instance read the feed of changes while it wrote ten times that it lives, which the bus does not change.
async fn reads_in_ten_beats(service: &Service) -> f64 {
    let beats = store_operations(service, "beat").await;
    let reads = store_operations(service, "feed_read").await;
    patiently(async {
        while store_operations(service, "beat").await < beats + 10.0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    store_operations(service, "feed_read").await - reads
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the MongoDB peer and Redis; .ci/run installs them"]
async fn the_store_is_polled_far_less_while_the_bus_is_up() {
    let (peer, mut redis) = (MongoPeer::start(0), RedisServer::start());
    // Eight reads for each beat, or none.
    let setup = on(&peer, &redis.url()).set("WATCH_POLL_MS", 25);
    let Two {
        here,
        there,
        doctor,
        mut patient,
    } = two(&setup, &setup).await;
    let both = [&here.service, &there];
    for with_bus in [true, false, true] {
        if with_bus {
            redis.restart();
            for service in both {
                becomes(service, 1.0).await;
            }
            connected(both).await;
        } else {
            redis.kill();
            for service in both {
                becomes(service, 0.0).await;
            }
        }
        // A bus that is just back, or missed an answer on a busy machine, lets the feed be read at once.
        let settled = async |service: &Service| {
            let is_as_wanted = |reads: f64| {
                if with_bus {
                    reads <= 1.0
                } else {
                    reads >= 10.0
                }
            };
            while !is_as_wanted(reads_in_ten_beats(service).await) {}
        };
        patiently(async { tokio::join!(settled(&here.service), settled(&there)) }).await;
    }
    let emoji = json!({"type": "emoji", "data": {"emoji": "x"}});
    doctor.send(&emoji);
    patient.until("emoji").await;
}

/// One instance loses Redis, in any way; the other has it.
async fn without_redis(fault: Fault) {
    let (peer, redis) = (MongoPeer::start(0), RedisServer::start());
    let way = Toxiproxy::start(&redis.addr()).await;
    let setup = on(&peer, &redis.url());
    let away = on(&peer, &format!("redis://{}", way.addr));
    let Two {
        mut here,
        there,
        mut doctor,
        mut patient,
    } = two(&setup, &away).await;
    says(
        &doctor,
        &mut patient,
        json!({"type": "emoji", "data": {"emoji": "x"}}),
    )
    .await;

    let started = Instant::now();
    way.inject(fault).await;
    becomes(&there, 0.0).await;
    assert!(
        started.elapsed() < 2 * SOON,
        "{fault:?}: {:?}",
        started.elapsed()
    );
    assert_eq!(
        metric(&here.service, "video_session_bus_up{} ").await,
        Some(1.0)
    );
    // The call goes on, and what the store knows arrives: both ways.
    doctor.send(&json!({"type": "emoji", "data": {"emoji": "lost"}}));
    let session_id = &here.session_id;
    let took = mute(&here.service, session_id, "patient-1", &mut patient).await;
    assert!(took < SOON, "{fault:?}: {took:?}");
    // The other instance finds out that it does not hear this one any more.
    let took = mute(&there, session_id, "doctor-1", &mut doctor).await;
    assert!(took < 2 * SOON, "{fault:?}: {took:?}");
    assert_eq!(
        readiness(&mut there.health_client()).await,
        ServingStatus::Serving
    );

    way.heal(fault).await;
    becomes(&there, 1.0).await;
    hear_each_other_again(&mut doctor, &mut patient).await;
    let said = |what: &str| there.output().matches(what).count();
    patiently(async {
        while said("bus between instances is up") < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(said("bus between instances is up"), 2, "{fault:?}");
    assert_eq!(said("bus between instances is down"), 1, "{fault:?}");
    here.remove("patient-1", false).await;
    patient.until("removed").await;
    doctor.until("user-left").await;
}

/// The other instance hears nothing of a change, and does not notice that the first one was away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the MongoDB peer, Redis and toxiproxy; .ci/run installs them"]
async fn a_removal_while_redis_is_away_for_a_moment_arrives_when_it_is_back() {
    let (peer, redis) = (MongoPeer::start(0), RedisServer::start());
    let way = Toxiproxy::start(&redis.addr()).await;
    // No cut of this test is long enough for an instance to count as not heard.
    let on = |redis: &str| {
        on(&peer, redis)
            .set("REDIS_PING_MS", 3000)
            .set("REDIS_TIMEOUT_MS", 20_000)
    };
    let away = on(&format!("redis://{}", way.addr));
    let Two {
        mut here,
        there,
        doctor: _doctor,
        mut patient,
    } = two(&away, &on(&redis.url())).await;
    way.inject(Fault::Cut).await;
    becomes(&here.service, 0.0).await;
    here.remove("patient-1", false).await;
    way.heal(Fault::Cut).await;
    let healed = Instant::now();
    patient.until("removed").await;
    let took = healed.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    let heard = metric(&there, "video_session_bus_instances_heard ").await;
    assert_eq!(heard, Some(1.0), "the cut was too long for this test");
}

/// Redis closes each connection soon after it was opened.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis; .ci/run installs it"]
async fn connections_that_do_not_last_are_tried_less_and_less_often_and_logged_once() {
    let redis = RedisServer::start();
    let setup = setup()
        .set("REDIS_URL", redis.url())
        .set("REDIS_PING_MS", 60_000);
    let service = setup.start().await;
    becomes(&service, 1.0).await;
    let client = ::redis::Client::open(redis.url()).unwrap();
    let mut closing = client.get_multiplexed_async_connection().await.unwrap();
    let failures = "video_session_bus_failures_total ";
    let started = Instant::now();
    patiently(async {
        while metric(&service, failures).await.unwrap() < 7.0 {
            let mut kill = ::redis::cmd("CLIENT");
            kill.arg(&["KILL", "TYPE", "pubsub"]);
            let _: u64 = kill.query_async(&mut closing).await.unwrap();
        }
    })
    .await;
    // Six pauses: half of 50 ms at least, and twice as long each time.
    let took = started.elapsed();
    assert!(took > Duration::from_millis(1500), "{took:?}");
    let output = service.output();
    assert_eq!(output.matches("bus between instances is down").count(), 1);
    assert_eq!(output.matches("bus between instances is up").count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the MongoDB peer, Redis and toxiproxy; .ci/run installs them"]
async fn an_instance_that_is_cut_off_from_redis_reads_the_store() {
    without_redis(Fault::Cut).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the MongoDB peer, Redis and toxiproxy; .ci/run installs them"]
async fn an_instance_whose_redis_is_slow_reads_the_store() {
    without_redis(Fault::Slow).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the MongoDB peer, Redis and toxiproxy; .ci/run installs them"]
async fn an_instance_that_says_nothing_to_redis_reads_the_store() {
    without_redis(Fault::RequestsVanish).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the MongoDB peer, Redis and toxiproxy; .ci/run installs them"]
async fn an_instance_that_hears_nothing_from_redis_reads_the_store() {
    without_redis(Fault::AnswersVanish).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the MongoDB peer and Redis; .ci/run installs them"]
async fn calls_outlive_redis() {
    let (peer, mut redis) = (MongoPeer::start(0), RedisServer::start());
    let setup = on(&peer, &redis.url());
    let Two {
        mut here,
        there,
        mut doctor,
        mut patient,
    } = two(&setup, &setup).await;
    redis.kill();
    for service in [&here.service, &there] {
        becomes(service, 0.0).await;
    }
    // One that starts meanwhile is ready, and comes to the others later.
    let mut third = setup.start().await;
    assert_eq!(
        readiness(&mut third.health_client()).await,
        ServingStatus::Serving
    );
    third
        .line(|line| line.contains("bus between instances is down"))
        .await;
    doctor.nothing_more().await;
    let started = Instant::now();
    doctor.about("mute-request", "patient-1");
    patient.expect("mute-request").await;
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());

    redis.restart();
    for service in [&here.service, &there, &third] {
        becomes(service, 1.0).await;
    }
    hear_each_other_again(&mut doctor, &mut patient).await;
    redis.kill();
    for service in [&here.service, &there] {
        becomes(service, 0.0).await;
    }
    let started = Instant::now();
    here.remove("patient-1", false).await;
    patient.until("removed").await;
    end(&mut third.client(), &here.session_id, "over").await;
    doctor.until("session-ended").await;
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    // Neither instance waits for Redis when it stops.
    let output = third.process.terminate().await;
    assert!(output.contains("stopped"), "{output}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the MongoDB peer and Redis; .ci/run installs them"]
async fn the_participants_of_an_instance_that_dies_in_a_call_are_lost() {
    let (peer, redis) = (MongoPeer::start(0), RedisServer::start());
    let setup = on(&peer, &redis.url());
    let Two {
        mut here,
        there,
        mut doctor,
        patient: _patient,
    } = two(&setup, &setup).await;
    there.process.kill().await;
    let left = doctor.until("user-left").await;
    assert_eq!(left["cause"], "lost");
    // The patient comes to the instance that is left.
    let mut patient = here.enter(Role::Patient).await;
    patient.until("existing-participants").await;
    doctor.until("user-joined").await;
    says(
        &doctor,
        &mut patient,
        json!({"type": "emoji", "data": {"emoji": "x"}}),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the MongoDB peer and redis-server; .ci/run installs them"]
async fn a_room_of_the_older_service_is_one_room_on_two_instances() {
    let peer = MongoPeer::start(0);
    let redis = RedisServer::start();
    let rooms = on(&peer, &redis.url())
        .set("LEGACY_APIS", "rooms")
        .set("LEGACY_ADDR", "127.0.0.1:0")
        .set("LEGACY_ROOMS_OPEN", true);
    let (here, there) = (rooms.start().await, rooms.start().await);
    connected([&here, &there]).await;
    let made = submit(here.legacy.unwrap(), "/create-room", &[], "").await;
    let made: Value = serde_json::from_str(&made.body).unwrap();
    let path = format!("/ws/{}", made["room_id"].as_str().unwrap());
    let enter = async |service: &Service| {
        Page::over(socket(service.legacy.unwrap(), &path, &[]).await.unwrap())
    };
    let mut one = enter(&here).await;
    let one_id = one.until("connected").await["user_id"].clone();
    let mut other = enter(&there).await;
    let others = other.until("existing-participants").await["participants"].clone();
    assert_eq!(others, json!([one_id]));
    let other_id = other.until("connected").await["user_id"].clone();
    assert_eq!(one.until("user-joined").await["user_id"], other_id);
    one.send(&json!({"type": "offer", "data": {"sdp": "v=0"}}));
    assert_eq!(other.until("offer").await["sender_id"], one_id);
    other.send(&json!({"type": "answer", "target_id": one_id, "data": {"sdp": "v=1"}}));
    assert_eq!(one.until("answer").await["sender_id"], other_id);
    other.close();
    assert_eq!(one.until("user-left").await["user_id"], other_id);
    one.close();
    let path = format!("/rooms/{}", made["room_id"].as_str().unwrap());
    for service in [&here, &there] {
        patiently(async {
            while fetch(service.legacy.unwrap(), &path, &[]).await.status != 404 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
}
