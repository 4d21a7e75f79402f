//! The calls that are measured, as a backend would make them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::ValueEnum;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use video_session::domain::id::random_id;
use video_session::proto::v1;
use video_session::proto::v1::video_session_service_client::VideoSessionServiceClient;

use crate::Outcome;
use crate::process::INTERNAL_SECRET;

/// The same for every row; a call takes the next one in turn.
const CONNECTIONS: usize = 4;
/// How many users sessions are spread over.
const DOCTORS: u32 = 5_000;
const PATIENTS: u32 = 500_000;
const CONSULTATION_SECS: i64 = 1800;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Call {
    #[value(skip)]
    Echo,
    Get,
    Create,
    Join,
    /// Every caller joins the same session.
    JoinOne,
    /// With JSON, over HTTP/1.1.
    JsonCreate,
    /// With JSON, over HTTP/1.1.
    JsonJoin,
}

impl Call {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Echo => "bare echo",
            Self::Get => "GetSession",
            Self::Create => "CreateSession",
            Self::Join => "JoinSession",
            Self::JoinOne => "JoinSession, all of one session",
            Self::JsonCreate => "CreateSession, JSON",
            Self::JsonJoin => "JoinSession, JSON",
        }
    }
}

/// A session that is stored, as far as a caller has to know it.
pub(crate) struct Known {
    pub(crate) session_id: String,
    pub(crate) doctor: u32,
}

/// What a new session is made of. Ids are spread as a backend's are: appointments are random, users come back.
pub(crate) struct Draft {
    pub(crate) appointment_id: String,
    pub(crate) doctor: u32,
    pub(crate) patient_id: String,
    pub(crate) start_secs: i64,
    pub(crate) end_secs: i64,
}

impl Draft {
    pub(crate) fn new() -> Self {
        let start_secs = now_secs();
        Self {
            appointment_id: format!("appt-{}", random_id()),
            doctor: fastrand::u32(..DOCTORS),
            patient_id: format!("patient-{}", fastrand::u32(..PATIENTS)),
            start_secs,
            end_secs: start_secs + CONSULTATION_SECS,
        }
    }
}

pub(crate) fn doctor_id(doctor: u32) -> String {
    format!("doctor-{doctor}")
}

pub(crate) fn labels() -> HashMap<String, String> {
    [("clinic", "north-4"), ("language", "de")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

fn now_secs() -> i64 {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX)
}

/// Adds the secret to every call, the echo's too: it is bytes on the wire.
#[derive(Clone)]
pub(crate) struct WithSecret(MetadataValue<Ascii>);

impl Interceptor for WithSecret {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request
            .metadata_mut()
            .insert("x-internal-secret", self.0.clone());
        Ok(request)
    }
}

pub(crate) type Api = VideoSessionServiceClient<InterceptedService<Channel, WithSecret>>;

/// Connections to one server.
pub(crate) struct Clients {
    apis: Vec<Api>,
    /// The JSON edge's address, and its clients' shared connections.
    json: Option<(String, reqwest::Client)>,
}

/// What one caller calls with.
pub(crate) struct Caller {
    api: Api,
    json: Option<(String, reqwest::Client)>,
}

impl Clients {
    pub(crate) async fn connect(addr: &str, json_addr: Option<&str>) -> Outcome<Self> {
        let secret = WithSecret(MetadataValue::from_static(INTERNAL_SECRET));
        let mut apis = Vec::new();
        for _ in 0..CONNECTIONS {
            let channel = Endpoint::from_shared(format!("http://{addr}"))?
                .tcp_nodelay(true)
                .connect()
                .await?;
            apis.push(VideoSessionServiceClient::with_interceptor(
                channel,
                secret.clone(),
            ));
        }
        let client = reqwest::Client::builder().tcp_nodelay(true).build()?;
        Ok(Self {
            apis,
            json: json_addr.map(|addr| (format!("http://{addr}/v1/sessions"), client)),
        })
    }

    /// The connections of a caller.
    pub(crate) fn of(&self, caller: usize) -> Caller {
        Caller {
            api: self.apis[caller % self.apis.len()].clone(),
            json: self.json.clone(),
        }
    }
}

impl Caller {
    async fn post(&self, path: &str, body: &Value) -> Result<Value, Status> {
        let (base, client) = self
            .json
            .as_ref()
            .ok_or_else(|| Status::internal("no JSON here"))?;
        let failed = |error: reqwest::Error| Status::internal(error.to_string());
        let request = client
            .post(format!("{base}{path}"))
            .header("x-internal-secret", INTERNAL_SECRET)
            .json(body);
        let answer = request.send().await.map_err(failed)?;
        let answer = answer.error_for_status().map_err(failed)?;
        answer.json().await.map_err(failed)
    }
}

/// Makes a call of a kind, to a session picked at random where it needs one.
pub(crate) async fn make(
    caller: &mut Caller,
    call: Call,
    known: &Arc<Vec<Known>>,
) -> Result<(), Status> {
    let api = &mut caller.api;
    let pick =
        || fastrand::choice(known.iter()).ok_or_else(|| Status::internal("no session known"));
    match call {
        Call::Echo | Call::Get => {
            let key = v1::get_session_request::Key::SessionId(pick()?.session_id.clone());
            let request = v1::GetSessionRequest { key: Some(key) };
            let answer = api.get_session(request).await?;
            check(answer.get_ref().session.is_some())
        }
        Call::Create => {
            let answer = api.create_session(create_request()).await?;
            check(answer.get_ref().created)
        }
        Call::Join | Call::JoinOne => {
            let session = if call == Call::Join {
                pick()?
            } else {
                let first = known.first();
                first.ok_or_else(|| Status::internal("no session known"))?
            };
            let request = v1::JoinSessionRequest {
                session_id: session.session_id.clone(),
                role: v1::Role::Doctor.into(),
                user_id: doctor_id(session.doctor),
                display_name: "Dr. Ada Example".to_owned(),
                ..Default::default()
            };
            let answer = api.join_session(request).await?;
            check(!answer.get_ref().token.is_empty())
        }
        Call::JsonCreate => {
            let answer = caller.post("", &json_create_request()).await?;
            check(answer["created"] == true)
        }
        Call::JsonJoin => {
            let session = pick()?;
            let request = json!({
                "role": "ROLE_DOCTOR",
                "userId": doctor_id(session.doctor),
                "displayName": "Dr. Ada Example",
            });
            let path = format!("/{}:join", session.session_id);
            let answer = caller.post(&path, &request).await?;
            check(answer["token"].is_string())
        }
    }
}

/// What [`create_request`] asks for.
fn json_create_request() -> Value {
    let draft = Draft::new();
    let time = |secs: i64| {
        let time = OffsetDateTime::from_unix_timestamp(secs).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        time.format(&Rfc3339).unwrap_or_default()
    };
    json!({
        "appointmentId": draft.appointment_id,
        "doctorId": doctor_id(draft.doctor),
        "patientId": draft.patient_id,
        "scheduledStartTime": time(draft.start_secs),
        "scheduledEndTime": time(draft.end_secs),
        "labels": labels(),
    })
}

fn create_request() -> v1::CreateSessionRequest {
    let draft = Draft::new();
    let time = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    v1::CreateSessionRequest {
        appointment_id: draft.appointment_id,
        doctor_id: doctor_id(draft.doctor),
        patient_id: draft.patient_id,
        scheduled_start_time: time(draft.start_secs),
        scheduled_end_time: time(draft.end_secs),
        labels: labels(),
        admission: 0,
        max_participants: 0,
        media: 0,
        region: String::new(),
        end_to_end_encrypted: false,
        empty_timeout: None,
        open_to_guests: false,
        doctor_name: String::new(),
    }
}

fn check(as_expected: bool) -> Result<(), Status> {
    if as_expected {
        Ok(())
    } else {
        Err(Status::internal("an answer that makes no sense"))
    }
}
