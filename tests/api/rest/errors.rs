//! Requests that are refused, and what their callers are told.

use serde_json::json;
use video_session::api::error::CallFault;
use video_session::domain::error::Reason;

use super::{Backend, create, setup};

fn field_names(faults: &[(String, String)]) -> Vec<&str> {
    faults.iter().map(|(field, _)| field.as_str()).collect()
}

/// A body, the field whose fault it has, and what is said of it.
const ONE_FAULT: [(&str, &str, &str); 15] = [
    (
        r#"{"appointmentID": "a"}"#,
        "appointmentID",
        "is not a field of this message",
    ),
    (
        r#"{"appointmentId": 5}"#,
        "appointment_id",
        "must be a string",
    ),
    (r#"{"doctorId": {"a": 1}}"#, "doctor_id", "must be a string"),
    (
        r#"{"labels": {"secret-of-a-patient": 1}}"#,
        "labels",
        "must be an object whose values are strings",
    ),
    (
        r#"{"labels": []}"#,
        "labels",
        "must be an object whose values are strings",
    ),
    (
        r#"{"scheduledStartTime": "tomorrow"}"#,
        "scheduled_start_time",
        "must be a time as in 2026-11-30T09:00:00Z",
    ),
    (
        r#"{"scheduledStartTime": {"seconds": 1}}"#,
        "scheduled_start_time",
        "must be a time as in 2026-11-30T09:00:00Z",
    ),
    (
        r#"{"maxParticipants": 9007199254740993}"#,
        "max_participants",
        "must be a whole number (32 bits)",
    ),
    (
        r#"{"maxParticipants": 1.5}"#,
        "max_participants",
        "must be a whole number (32 bits)",
    ),
    (
        r#"{"endToEndEncrypted": "yes"}"#,
        "end_to_end_encrypted",
        "must be true or false",
    ),
    (
        r#"{"appointmentId": "a", "appointment_id": "b"}"#,
        "appointment_id",
        "is given under both of its names",
    ),
    ("[]", "body", "must be a JSON object"),
    ("null", "body", "must be a JSON object"),
    ("{", "body", "is not valid JSON, at line 1, column 1"),
    (
        r#"{"doctorId": "a", "doctorId": "b"}"#,
        "body",
        "gives a name twice, at line 1, column 28",
    ),
];

#[tokio::test]
async fn every_fault_names_its_field() {
    let service = setup().start().await;
    let backend = Backend::of(&service);
    let post = async |body: &str| {
        let got = backend.send("POST", "/v1/sessions", body.to_owned()).await;
        got.refused(400, Reason::Validation)
    };
    // What gRPC's callers are told, too.
    let faults = post("{}").await;
    assert_eq!(
        field_names(&faults),
        ["appointment_id", "doctor_id", "patient_id"]
    );
    let faults = post("").await;
    assert_eq!(
        field_names(&faults),
        ["appointment_id", "doctor_id", "patient_id"]
    );

    for (body, field, rule) in ONE_FAULT {
        let faults = post(body).await;
        assert_eq!(faults, [(field.to_owned(), rule.to_owned())], "{body}");
    }
    let faults = post(r#"{"media": "MEDIA_RADIO"}"#).await;
    assert_eq!(faults[0].0, "media");
    assert!(
        faults[0].1.starts_with("must be one of MEDIA_AUTO"),
        "{faults:?}"
    );
    let long = "x".repeat(5000);
    let faults = post(&format!(r#"{{"{long}\u0007": 1}}"#)).await;
    assert_eq!(faults[0].0, "x".repeat(64));
}

#[tokio::test]
async fn parameters_are_checked_like_fields() {
    let service = setup().start().await;
    let backend = Backend::of(&service);
    for (query, field, rule) in [
        ("state=SESSION_STATE_LOST", "state", "must be one of"),
        (
            "pageSize=many",
            "page_size",
            "must be a whole number (32 bits)",
        ),
        (
            "pageSize=1&page_size=2",
            "page_size",
            "is given more than once",
        ),
        ("createdBefore=now", "created_before", "must be a time"),
        ("page=2", "page", "is not a parameter of this method"),
    ] {
        let got = backend.get(&format!("/v1/sessions?{query}")).await;
        let faults = got.refused(400, Reason::Validation);
        assert_eq!(faults[0].0, field);
        assert!(faults[0].1.starts_with(rule), "{faults:?}");
    }
    let many = backend
        .get(&format!("/v1/sessions?{}", "x&".repeat(1000)))
        .await;
    assert_eq!(many.refused(400, Reason::Validation).len(), 20);
    let id = backend.create("appointment-1").await;
    let path = format!("/v1/sessions/{id}");
    let got = backend
        .get(&format!("{path}?appointmentId=appointment-2"))
        .await;
    let faults = got.refused(400, Reason::Validation);
    assert_eq!(field_names(&faults), ["appointmentId"]);
    let got = backend
        .send("POST", &format!("{path}:end?reason=x"), "")
        .await;
    assert_eq!(
        field_names(&got.refused(400, Reason::Validation)),
        ["reason"]
    );
    let got = backend.send("GET", &path, "{}").await;
    assert_eq!(field_names(&got.refused(400, Reason::Validation)), ["body"]);
    let other = json!({"sessionId": "sess_other", "reason": "x"});
    let got = backend.post(&format!("{path}:end"), &other).await;
    assert_eq!(
        field_names(&got.refused(400, Reason::Validation)),
        ["session_id"]
    );
    let same = json!({"session_id": id, "reason": "x"});
    backend.post(&format!("{path}:end"), &same).await.ok();
}

#[tokio::test]
async fn unknown_fields_are_ignored_if_the_operator_says_so() {
    let service = setup()
        .set("REST_IGNORE_UNKNOWN_FIELDS", "true")
        .start()
        .await;
    let backend = Backend::of(&service);
    let mut body = create("appointment-1");
    body["colour"] = "blue".into();
    backend.post("/v1/sessions", &body).await.ok();
    backend.get("/v1/sessions?colour=blue").await.ok();
}

#[tokio::test]
async fn what_does_not_exist_is_told_from_what_is_asked_wrongly() {
    let service = setup().start().await;
    let backend = Backend::of(&service);
    for path in [
        "/",
        "/v1",
        "/v1/session",
        "/v1/sessions/",
        "/v2/sessions",
        "//v1/sessions",
        "/metrics",
    ] {
        backend
            .get(path)
            .await
            .refused(404, CallFault::MethodUnknown);
    }
    let got = backend.send("DELETE", "/v1/sessions", "").await;
    let mut allowed: Vec<_> = got.headers["allow"].to_str().unwrap().split(", ").collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "POST"]);
    got.refused(405, CallFault::MethodUnknown);
    for (verb, path) in [
        ("GET", "/v1/sessions/sess_1:join"),
        ("PATCH", "/v1/sessions/sess_1:join"),
    ] {
        let got = backend.send(verb, path, "").await;
        assert_eq!(got.headers["allow"], "POST");
        got.refused(405, CallFault::MethodUnknown);
    }
    let got = backend.send("POST", "/v1/sessions/sess_1:vanish", "").await;
    got.refused(404, CallFault::MethodUnknown);
    for file in ["/openapi.json", "/docs"] {
        let got = backend.send("POST", file, "").await;
        got.refused(405, CallFault::MethodUnknown);
    }
    let unknown = backend.get("/v1/sessions/sess_unknown").await;
    unknown.refused(404, Reason::SessionNotFound);
    let compressed = backend.with("content-encoding", "gzip");
    let got = compressed.send("POST", "/v1/sessions", "\x1f\u{8b}").await;
    got.refused(415, CallFault::EncodingUnsupported);
    let got = backend
        .send("POST", "/v1/sessions", " ".repeat(70_000))
        .await;
    got.refused(413, CallFault::MessageTooLarge);
    let conflict =
        json!({"appointmentId": "appointment-1", "doctorId": "doctor-2", "patientId": "patient-1"});
    backend.create("appointment-1").await;
    let got = backend.post("/v1/sessions", &conflict).await;
    got.refused(409, Reason::AppointmentConflict);
}

#[tokio::test]
async fn the_secret_is_checked_before_the_body_is_read() {
    let service = setup().start().await;
    let nobody = Backend::without_secret(&service);
    for body in ["{", "{\"colour\": 1}"] {
        let got = nobody.send("POST", "/v1/sessions", body).await;
        got.refused(401, CallFault::SecretMissing);
        let got = nobody
            .with("x-internal-secret", "wrong")
            .send("POST", "/v1/sessions", body)
            .await;
        got.refused(401, CallFault::SecretInvalid);
    }
}

#[tokio::test]
async fn a_passed_deadline_is_an_error_like_others() {
    let service = setup().start().await;
    let backend = Backend::of(&service);
    let mut passed = 0;
    for _ in 0..100 {
        let hurried = backend.with("grpc-timeout", "1n");
        let got = hurried.post("/v1/sessions", &create("appointment-1")).await;
        // The answer may be there at once.
        if got.status != 200 {
            got.refused(504, CallFault::DeadlineExceeded);
            passed += 1;
        }
    }
    assert!(passed > 0);
    let patient = backend.with("grpc-timeout", "60S");
    patient.get("/v1/nodes").await.ok();
    for unclear in ["5", "5s", "", "-1S", "100000000S"] {
        let got = backend.with("grpc-timeout", unclear).get("/v1/nodes").await;
        let faults = got.refused(400, Reason::Validation);
        assert_eq!(field_names(&faults), ["grpc-timeout"], "{unclear}");
    }
}
