//! The page of a doctor's day: its credentials, what it shows, and the way into a session.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use video_session::domain::error::Reason;
use video_session::proto::v1;
use video_session::proto::v1::Role;

use crate::harness::{Client, Setup, create, created, end, fields, in_secs, patiently, refused};
use crate::peers::MongoPeer;
use crate::world::{BASE, Ticket, World, fetch, setup, submit};

const HOUR_SECS: i64 = 3600;

fn often() -> Setup {
    setup().set("DOCTOR_LIST_INTERVAL_SECS", 1)
}

fn request(user_id: &str) -> v1::CreateDoctorLinkRequest {
    v1::CreateDoctorLinkRequest {
        user_id: user_id.to_owned(),
        ttl: None,
        display_name: "Dr. Lee".to_owned(),
    }
}

async fn link_token(client: &mut Client, request: v1::CreateDoctorLinkRequest) -> String {
    let answer = client.create_doctor_link(request).await.unwrap();
    let url = answer.into_inner().doctor_url;
    let token = url.strip_prefix(&format!("{BASE}/doctor?token="));
    token.expect("a link to the page").to_owned()
}

/// A doctor's browser.
struct Doctor {
    http: SocketAddr,
    slot: String,
    /// `name=value`
    cookie: String,
}

impl Doctor {
    async fn of(world: &mut World, user_id: &str) -> Self {
        let token = link_token(&mut world.client, request(user_id)).await;
        Self::open(world.service.http, &token).await
    }

    async fn open(http: SocketAddr, token: &str) -> Self {
        let answer = fetch(http, &format!("/doctor?token={token}"), &[]).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        let slot = answer.header("location").strip_prefix("/doctor?p=");
        let set_cookie = answer.header("set-cookie");
        for attribute in ["; Path=/doctor;", "; HttpOnly", "; SameSite=Lax"] {
            assert!(set_cookie.contains(attribute), "{set_cookie}");
        }
        Self {
            http,
            slot: slot.expect("the page without the token").to_owned(),
            cookie: set_cookie.split(';').next().unwrap().to_owned(),
        }
    }

    fn value(&self) -> &str {
        self.cookie.split_once('=').unwrap().1
    }

    async fn page(&self) -> (u16, String) {
        let path = format!("/doctor?p={}", self.slot);
        let answer = fetch(self.http, &path, &[("cookie", &self.cookie)]).await;
        (answer.status, answer.body)
    }

    /// Presses Enter on a page at that origin.
    async fn enter_from(&self, origin: &str, session_id: &str) -> (u16, Value, String) {
        let path = format!("/doctor/enter/{session_id}?p={}", self.slot);
        let headers = [("cookie", self.cookie.as_str()), ("origin", origin)];
        let answer = submit(self.http, &path, &headers, "").await;
        let body = serde_json::from_str(&answer.body).unwrap();
        let cookie = answer.header("set-cookie").split(';').next();
        (answer.status, body, cookie.unwrap_or_default().to_owned())
    }

    async fn enter(&self, session_id: &str) -> (u16, Value, String) {
        self.enter_from(BASE, session_id).await
    }

    async fn watch(&self) -> Result<Day, u16> {
        let now = i64::try_from(
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap()
                .as_millis(),
        );
        let (from, to) = (
            now.unwrap() - 6 * HOUR_SECS * 1000,
            now.unwrap() + 6 * HOUR_SECS * 1000,
        );
        self.watch_between(from, to, &[]).await
    }

    async fn watch_between(
        &self,
        from: i64,
        to: i64,
        headers: &[(&str, &str)],
    ) -> Result<Day, u16> {
        let url = format!(
            "http://{}/doctor/events?p={}&from={from}&to={to}",
            self.http, self.slot
        );
        let mut request = reqwest::Client::new()
            .get(url)
            .header("cookie", &self.cookie);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = patiently(request.send()).await.unwrap();
        match answer.status().as_u16() {
            200 => Ok(Day {
                answer,
                unread: String::new(),
            }),
            refused => Err(refused),
        }
    }
}

/// A doctor's stream.
struct Day {
    answer: reqwest::Response,
    unread: String,
}

impl Day {
    /// The next event: its type and its data. `None` at the end.
    async fn event(&mut self) -> Option<(String, String)> {
        loop {
            if let Some((event, rest)) = self.unread.split_once("\n\n") {
                let field = |name: &str| {
                    let line = event.lines().find_map(|line| line.strip_prefix(name));
                    line.unwrap_or_default().trim().to_owned()
                };
                let found = (field("event:"), field("data:"));
                self.unread = rest.to_owned();
                return Some(found);
            }
            let chunk = patiently(self.answer.chunk()).await.ok()??;
            self.unread += std::str::from_utf8(&chunk).unwrap();
        }
    }

    /// The next view of the day that is as it should be.
    async fn until(&mut self, wanted: impl Fn(&[Value]) -> bool) -> Value {
        patiently(async {
            loop {
                let (kind, data) = self.event().await.expect("the stream goes on");
                if kind != "day" {
                    continue;
                }
                for id in ["doctor-1", "patient-1"] {
                    assert!(!data.contains(id), "{data}");
                }
                let view: Value = serde_json::from_str(&data).unwrap();
                if wanted(view["sessions"].as_array().unwrap()) {
                    return view;
                }
            }
        })
        .await
    }

    /// The types of the events until its end.
    async fn rest(mut self) -> Vec<String> {
        let mut kinds = Vec::new();
        while let Some((kind, _)) = self.event().await {
            kinds.push(kind);
        }
        kinds
    }
}

fn ids(sessions: &[Value]) -> Vec<&str> {
    let ids = sessions.iter().map(|session| session["id"].as_str());
    ids.map(Option::unwrap).collect()
}

#[tokio::test]
async fn a_link_may_be_opened_again_and_leads_to_a_page_without_the_token() {
    let mut world = World::new().await;
    let token = link_token(&mut world.client, request("doctor-1")).await;
    let preview = Doctor::open(world.service.http, &token).await;
    let doctor = Doctor::open(world.service.http, &token).await;
    assert_eq!(preview.slot, doctor.slot);
    let (status, page) = doctor.page().await;
    assert_eq!(status, 200);
    assert!(page.contains("data-name=\"Dr. Lee\""), "{page}");
    assert!(!page.contains("doctor-1") && !page.contains(&token));
    let incomplete = fetch(world.service.http, "/doctor", &[]).await;
    assert_eq!(
        (incomplete.status, incomplete.code()),
        (401, "missing-token")
    );
    assert!(
        incomplete.body.contains("from your system"),
        "no practice to call"
    );
    let log = world.service.output();
    assert!(!log.contains(&token) && !log.contains(doctor.value()));
}

#[tokio::test]
async fn a_link_is_valid_as_long_as_the_backend_and_the_setting_say() {
    let setup = setup().set("DOCTOR_LINK_TTL_SECS_MAX", 7200);
    let mut world = World::with(&setup, create("appointment-1")).await;
    let secs = |seconds| {
        let ttl = prost_types::Duration { seconds, nanos: 0 };
        v1::CreateDoctorLinkRequest {
            ttl: Some(ttl),
            ..request("doctor-1")
        }
    };
    for (asked, given) in [(request("doctor-1"), 7200), (secs(60), 60)] {
        let answer = world.client.create_doctor_link(asked).await.unwrap();
        assert_eq!(answer.into_inner().expires_in.unwrap().seconds, given);
    }
    for faulty in [secs(7201), secs(0), secs(-1)] {
        let outcome = world.client.create_doctor_link(faulty).await;
        assert_eq!(fields(&refused(outcome, Reason::Validation)), ["ttl"]);
    }
    let token = link_token(&mut world.client, secs(2)).await;
    let day = Doctor::open(world.service.http, &token).await.watch().await;
    let kinds = day.expect("a stream").rest().await;
    assert_eq!(kinds.last().unwrap(), "over", "{kinds:?}");
    // Also while a token that has just expired is still valid, because clocks differ.
    let path = format!("/doctor?token={token}");
    let opened = fetch(world.service.http, &path, &[]).await;
    assert_eq!((opened.status, opened.code()), (401, "expired"));
}

#[tokio::test]
async fn credentials_are_of_no_use_for_another_purpose() {
    let mut world = World::new().await;
    let http = world.service.http;
    let doctor_token = link_token(&mut world.client, request("doctor-1")).await;
    let doctor = Doctor::open(http, &doctor_token).await;
    let join_path = format!("/join/{}", world.session_id);
    for role in [Role::Patient, Role::Doctor] {
        let join_token = world.token(role).await;
        let ticket = world.exchange(&join_token).await;
        let (_, join_value) = ticket.cookie.split_once('=').unwrap();
        for token in [join_token.as_str(), join_value, doctor.value()] {
            let answer = fetch(http, &format!("/doctor?token={token}"), &[]).await;
            assert_eq!((answer.status, answer.code()), (401, "forged"));
        }
        for value in [&join_token, join_value, &doctor_token] {
            let other = Doctor {
                http,
                slot: doctor.slot.clone(),
                cookie: format!("vs_{}={value}", doctor.slot),
            };
            assert_eq!(other.page().await.0, 401);
            assert_eq!(other.watch().await.err(), Some(401));
            assert_eq!(other.enter(&world.session_id).await.0, 401);
        }
        for token in [doctor_token.as_str(), doctor.value()] {
            let answer = fetch(http, &format!("{join_path}?token={token}"), &[]).await;
            assert_eq!((answer.status, answer.code()), (401, "forged"));
            let other = Ticket {
                cookie: format!("vs_{}={token}", ticket.slot),
                ..ticket.clone()
            };
            assert_eq!(other.connect(http).await.err(), Some(401));
        }
    }
}

#[tokio::test]
async fn the_day_has_the_doctors_own_sessions_and_who_waits_in_them() {
    let mut world = World::with(&often(), create("appointment-1")).await;
    let own = world.session_id.clone();
    let others = v1::CreateSessionRequest {
        doctor_id: "doctor-2".to_owned(),
        ..create("appointment-2")
    };
    let others = created(&mut world.client, others).await.session_id;
    let doctor = Doctor::of(&mut world, "doctor-1").await;
    let mut day = doctor.watch().await.expect("a stream");
    let view = day.until(|_| true).await;
    assert_eq!(ids(view["sessions"].as_array().unwrap()), [&own]);
    assert_eq!(view["complete"], true);
    assert_eq!(view["sessions"][0]["patient"], "");

    // As soon as there is a link with the patient's name.
    world.ticket(Role::Patient).await;
    let named = |sessions: &[Value]| sessions[0]["patient"] == "Pat";
    day.until(named).await;
    let patient = world.enter(Role::Patient).await;
    let view = day
        .until(|sessions| sessions[0]["waiting"] != Value::Array(vec![]))
        .await;
    let waiting = &view["sessions"][0]["waiting"][0];
    assert_eq!(
        (&waiting["name"], &waiting["role"]),
        (&"Pat".into(), &"patient".into())
    );
    let waited = view["now"].as_i64().unwrap() - waiting["since"].as_i64().unwrap();
    assert!((0..60_000).contains(&waited), "{waited}");
    patient.vanish();

    // The other doctor takes over, and hands over theirs.
    for (session_id, doctor_id) in [(&others, "doctor-1"), (&own, "doctor-2")] {
        let update = v1::UpdateSessionRequest {
            session_id: session_id.clone(),
            doctor_id: doctor_id.to_owned(),
            ..Default::default()
        };
        world.client.update_session(update).await.unwrap();
    }
    day.until(|sessions| ids(sessions) == [&others]).await;
    end(&mut world.client, &others, "over").await;
    day.until(|sessions| sessions[0]["state"] == "ended").await;
    let again = doctor
        .watch()
        .await
        .expect("a stream")
        .until(|_| true)
        .await;
    assert_eq!(
        again["sessions"][0]["state"], "ended",
        "also for who comes later"
    );
}

#[tokio::test]
async fn a_doctor_enters_their_own_sessions_within_their_window() {
    let mut world = World::new().await;
    let doctor = Doctor::of(&mut world, "doctor-1").await;
    let own = world.session_id.clone();
    for origin in ["https://elsewhere.test", "null"] {
        let (status, body, _) = doctor.enter_from(origin, &own).await;
        assert_eq!((status, &body["code"]), (403, &"origin".into()));
    }
    let stranger = Doctor::of(&mut world, "doctor-2").await;
    let (status, body, _) = stranger.enter(&own).await;
    assert_eq!((status, &body["code"]), (403, &"not-invited".into()));
    let patient = Doctor::of(&mut world, "patient-1").await;
    assert_eq!(patient.enter(&own).await.0, 403, "nobody's doctor");

    let later = v1::CreateSessionRequest {
        scheduled_start_time: Some(in_secs(HOUR_SECS)),
        ..create("appointment-2")
    };
    let later = created(&mut world.client, later).await.session_id;
    let (status, body, _) = doctor.enter(&later).await;
    assert_eq!((status, &body["code"]), (425, &"too-early".into()));
    assert!(body["opens"].is_i64());
    assert_eq!(
        stranger.enter(&later).await.0,
        403,
        "not even when it opens"
    );

    let (status, body, cookie) = doctor.enter(&own).await;
    assert_eq!(status, 200, "{body}");
    let location = body["location"].as_str().unwrap();
    assert!(!location.contains("token"));
    let ticket = Ticket {
        session_id: own.clone(),
        slot: location.split_once("?p=").unwrap().1.to_owned(),
        cookie,
    };
    let mut page = world.connect(&ticket).await;
    assert_eq!(page.expect("connected").await["status"], "admitted");
    let session = world.session().await;
    assert_eq!(session.participants[0].display_name, "Dr. Lee");
    end(&mut world.client, &own, "over").await;
    let (status, body, _) = doctor.enter(&own).await;
    assert_eq!((status, &body["code"]), (410, &"ended".into()));
}

#[tokio::test]
async fn streams_are_limited_and_end_with_the_instance() {
    let setup = often()
        .set("DOCTOR_STREAMS_PER_DOCTOR", 1)
        .set("DOCTOR_STREAMS_MAX", 2)
        .set("DOCTOR_SESSIONS_MAX", 1);
    let mut world = World::with(&setup, create("appointment-1")).await;
    created(&mut world.client, create("appointment-2")).await;
    let doctor = Doctor::of(&mut world, "doctor-1").await;
    let mut first = doctor.watch().await.expect("a stream");
    let view = first.until(|sessions| sessions.len() == 1).await;
    assert_eq!(view["complete"], false, "one of two");
    assert_eq!(doctor.watch().await.err(), Some(503));
    let second = Doctor::of(&mut world, "doctor-2").await.watch().await;
    let third = Doctor::of(&mut world, "doctor-3").await;
    assert_eq!(third.watch().await.err(), Some(503));
    drop(second);
    let third = patiently(async {
        loop {
            if let Ok(day) = third.watch().await {
                return day;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(
        doctor.watch_between(0, HOUR_SECS, &[]).await.err(),
        Some(404)
    );
    for elsewhere in [
        &[("origin", "https://elsewhere.test")][..],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
    ] {
        let refused = doctor.watch_between(0, 1, elsewhere).await;
        assert_eq!(refused.err(), Some(403), "{elsewhere:?}");
    }
    let own = [("sec-fetch-site", "same-origin")];
    assert_eq!(doctor.watch_between(0, 1, &own).await.err(), Some(404));
    let (_, kinds) = tokio::join!(world.service.process.terminate(), third.rest());
    assert!(!kinds.contains(&"over".to_owned()), "{kinds:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the MongoDB peer; .ci/run installs it"]
async fn a_patient_who_waits_at_another_instance_is_seen_at_once() {
    let peer = MongoPeer::start(0);
    let on = |setup: Setup| {
        setup
            .set("MONGO_URI", format!("mongodb://{}/doctor", peer.addr))
            // The peer speaks the protocol, not MongoDB's speed.
            .set("STORE_TIMEOUT_MS", 20_000)
            // Longer than the test: what is seen earlier is seen by hints.
            .set("DOCTOR_LIST_INTERVAL_SECS", 3600)
    };
    let mut here = World::with(&on(setup()), create("appointment-1")).await;
    let there = on(setup()).start().await;
    let mut day = Doctor::of(&mut here, "doctor-1")
        .await
        .watch()
        .await
        .ok()
        .unwrap();
    day.until(|sessions| sessions.len() == 1).await;
    let ticket = here.ticket(Role::Patient).await;
    let _patient = ticket.connect(there.http).await.unwrap();
    day.until(|sessions| sessions[0]["waiting"][0]["name"] == "Pat")
        .await;
}
