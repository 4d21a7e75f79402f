//! Sessions, and connections to them. Each is a session of today's API that any user may join; an admin is its doctor, if no other
//! admin is, and so its moderator on the node. Who may do what is decided there.

use axum::extract::{Request, State};
use axum::http::{Extensions, StatusCode};
use serde_json::{Value, json};

use super::bearer::{authenticate, now};
use super::body::Object;
use super::fault::Fault;
use super::users::UserRole;
use super::{Config, OpenVidu};
use crate::domain::error::Reason;
use crate::domain::id::{AppointmentId, ID_LENGTH_MAX};
use crate::legacy::{Answer, answer};
use crate::proto::v1;
use crate::rpc::EncodedStatus;

const GET: &str = "/videosession.v1.VideoSessionService/GetSession";
const CREATE: &str = "/videosession.v1.VideoSessionService/CreateSession";
const UPDATE: &str = "/videosession.v1.VideoSessionService/UpdateSession";
const JOIN: &str = "/videosession.v1.VideoSessionService/JoinSession";

/// What distinguishes the appointments of this API from those of others.
const PREFIX: &str = "openvidu:";
/// The doctor of a session to which no admin has come, and the patient of every session. No user has such a name.
const NO_DOCTOR: &str = "openvidu:no-doctor";
const NO_PATIENT: &str = "openvidu:no-patient";
/// Who asks the node for a connection when it is tried out.
const TRIAL_USER: &str = "openvidu:trial";
const TRIAL_SESSION: &str = "poc-test-session";

/// How often a call begins anew because others changed the session first.
const ATTEMPTS_MAX: usize = 8;

/// A user who joins.
struct User<'a> {
    id: &'a str,
    role: UserRole,
}

/// A connection to a session.
struct Connection {
    session: v1::Session,
    /// Whether the session was made for it.
    is_first: bool,
    token: String,
    public_url: String,
}

pub(super) async fn connect(
    State(openvidu): State<OpenVidu>,
    request: Request,
) -> Result<Answer, Fault> {
    openvidu.count("POST /api/video/session");
    let caller = authenticate(&openvidu.config, request.headers())?;
    let extensions = request.extensions().clone();
    let body = Object::receive(request, &openvidu.config).await?;
    let session_id = body.text(&["session_id", "sessionId"])?;
    let user = User {
        id: &caller.claims.sub,
        role: caller.role,
    };
    let connection = openvidu.join(&extensions, session_id, &user).await?;
    let body = json!({
        "sessionId": session_id,
        "token": connection.token,
        "openviduUrl": connection.public_url,
    });
    Ok(answer(StatusCode::OK, body))
}

/// Shows that the node works: it has to make a connection, which nobody gets.
pub(super) async fn try_node(
    State(openvidu): State<OpenVidu>,
    request: Request,
) -> Result<Answer, Fault> {
    openvidu.count("GET /test-openvidu");
    openvidu.limit(&openvidu.trials, &request)?;
    let user = User {
        id: TRIAL_USER,
        role: UserRole::User,
    };
    let extensions = request.extensions();
    let connection = openvidu.join(extensions, TRIAL_SESSION, &user).await?;
    let body = if connection.is_first {
        description(&connection.session)
    } else {
        json!({"id": TRIAL_SESSION})
    };
    Ok(answer(StatusCode::OK, body))
}

/// The trial's session in OpenVidu's words, as far as the service knows it: it makes sessions of this kind only.
fn description(session: &v1::Session) -> Value {
    let created = session.create_time.unwrap_or_default();
    json!({
        "id": TRIAL_SESSION,
        "object": "session",
        "sessionId": TRIAL_SESSION,
        "customSessionId": TRIAL_SESSION,
        "createdAt": created.seconds * 1000 + i64::from(created.nanos / 1_000_000),
        "mediaMode": "ROUTED",
        "recordingMode": "MANUAL",
        "recording": false,
    })
}

impl OpenVidu {
    /// A connection of a user to the session of this id, which is made if there is none.
    async fn join(
        &self,
        extensions: &Extensions,
        session_id: &str,
        user: &User<'_>,
    ) -> Result<Connection, Fault> {
        let appointment_id = appointment_id(session_id)?;
        let joining = Joining {
            openvidu: self,
            extensions,
            appointment_id,
            user,
        };
        let mut is_over = false;
        for _ in 0..ATTEMPTS_MAX {
            match joining.attempt(is_over).await {
                Ok(connection) => return Ok(connection),
                Err(Failure::Over) => is_over = true,
                Err(Failure::Changed) => is_over = false,
                Err(Failure::Final(fault)) => return Err(fault),
            }
        }
        let (status, wait) = (StatusCode::SERVICE_UNAVAILABLE, self.config.retry_after);
        Err(Fault::for_now(
            status,
            "Others change the session at the moment",
            wait,
        ))
    }
}

/// The appointment of a session id of this API.
fn appointment_id(session_id: &str) -> Result<String, Fault> {
    let id = AppointmentId::parse(format!("{PREFIX}{session_id}"));
    match id {
        Ok(id) if !session_id.is_empty() => Ok(id.as_str().to_owned()),
        Ok(_) | Err(_) => {
            let length_max = ID_LENGTH_MAX - PREFIX.len();
            let rule =
                format!("must be 1 to {length_max} characters: letters, digits and . _ : @ -");
            Err(Fault::invalid(
                Some("session_id"),
                &rule,
                "value_error.session_id",
            ))
        }
    }
}

/// Why an attempt to join failed.
enum Failure {
    /// The session has ended, or is about to: another one is needed.
    Over,
    /// Another caller changed it first: look at it again.
    Changed,
    Final(Fault),
}

/// A user on the way into a session.
struct Joining<'a> {
    openvidu: &'a OpenVidu,
    extensions: &'a Extensions,
    appointment_id: String,
    user: &'a User<'a>,
}

impl Joining<'_> {
    /// `is_over`: the session that is there cannot be joined any more.
    async fn attempt(&self, is_over: bool) -> Result<Connection, Failure> {
        let live = if is_over { None } else { self.find().await? };
        let (session, is_first) = match live {
            Some(session) => (session, false),
            None => self.create().await?,
        };
        if session.patient_id != NO_PATIENT {
            let detail = "The session was made by another API";
            return Err(Failure::Final(Fault::new(StatusCode::CONFLICT, detail)));
        }
        let session = self.settle_doctor(session).await?;
        let is_doctor = session.doctor_id == self.user.id;
        let role = if is_doctor {
            v1::Role::Doctor
        } else {
            v1::Role::Guest
        };
        let request = v1::JoinSessionRequest {
            session_id: session.session_id.clone(),
            role: role.into(),
            user_id: self.user.id.to_owned(),
            display_name: String::new(),
            with_sfu_ticket: true,
            locale: String::new(),
        };
        let joined: v1::JoinSessionResponse = self.call(JOIN, &request).await?;
        let node = joined.sfu.unwrap_or_default();
        if node.driver() != v1::SfuDriver::Openvidu || node.ticket.is_empty() {
            return Err(Failure::Final(no_ticket(&session)));
        }
        Ok(Connection {
            session,
            is_first,
            token: node.ticket,
            public_url: node.url,
        })
    }

    /// The live session.
    async fn find(&self) -> Result<Option<v1::Session>, Failure> {
        let key = v1::get_session_request::Key::AppointmentId(self.appointment_id.clone());
        let request = v1::GetSessionRequest { key: Some(key) };
        let found: Result<v1::GetSessionResponse, _> = self.call_raw(GET, &request).await;
        match found {
            Ok(found) => Ok(found
                .session
                .filter(|session| session.state() != v1::SessionState::Ended)),
            Err(error) if error.reason() == Reason::SessionNotFound.as_str() => Ok(None),
            Err(error) => Err(self.failure(&error)),
        }
    }

    /// The session, and whether no other call created it meanwhile.
    async fn create(&self) -> Result<(v1::Session, bool), Failure> {
        let doctor_id = match self.user.role {
            UserRole::Admin => self.user.id,
            UserRole::User => NO_DOCTOR,
        };
        let request = v1::CreateSessionRequest {
            appointment_id: self.appointment_id.clone(),
            doctor_id: doctor_id.to_owned(),
            patient_id: NO_PATIENT.to_owned(),
            scheduled_end_time: Some(end_time(&self.openvidu.config)),
            admission: v1::Admission::Open.into(),
            media: v1::Media::Sfu.into(),
            open_to_guests: true,
            ..Default::default()
        };
        let created: v1::CreateSessionResponse = self.call(CREATE, &request).await?;
        Ok((created.session.unwrap_or_default(), created.created))
    }

    /// Makes an admin the doctor if there is none. A doctor who is no admin any more is none.
    async fn settle_doctor(&self, session: v1::Session) -> Result<v1::Session, Failure> {
        let User { id, role } = *self.user;
        let users = &self.openvidu.config.users;
        let has_doctor = users.role_of(&session.doctor_id) == Some(UserRole::Admin);
        let doctor_id = match role {
            UserRole::Admin if !has_doctor => id,
            UserRole::User if session.doctor_id == id => NO_DOCTOR,
            UserRole::Admin | UserRole::User => return Ok(session),
        };
        let mut version = session.version;
        if role == UserRole::Admin {
            self.check_admission(&session.session_id).await?;
            // The event of that join.
            version += 1;
        }
        let request = v1::UpdateSessionRequest {
            session_id: session.session_id,
            doctor_id: doctor_id.to_owned(),
            // Two admins may come at once.
            expected_version: Some(version),
            ..Default::default()
        };
        let updated: v1::UpdateSessionResponse = self.call(UPDATE, &request).await?;
        Ok(updated.session.unwrap_or_default())
    }

    /// Fails if the user may not join as others do. To make somebody the doctor would undo their removal.
    async fn check_admission(&self, session_id: &str) -> Result<(), Failure> {
        let request = v1::JoinSessionRequest {
            session_id: session_id.to_owned(),
            role: v1::Role::Guest.into(),
            user_id: self.user.id.to_owned(),
            ..Default::default()
        };
        let joined: Result<v1::JoinSessionResponse, _> = self.call_raw(JOIN, &request).await;
        joined.map(drop).map_err(|error| self.failure(&error))
    }

    async fn call<T: prost::Message + Default>(
        &self,
        path: &'static str,
        message: &impl prost::Message,
    ) -> Result<T, Failure> {
        let answer = self.call_raw(path, message).await;
        answer.map_err(|error| self.failure(&error))
    }

    async fn call_raw<T: prost::Message + Default>(
        &self,
        path: &'static str,
        message: &impl prost::Message,
    ) -> Result<T, EncodedStatus> {
        let edge = &self.openvidu.edge;
        edge.make_admitted(path, self.extensions.clone(), message)
            .await
    }

    fn failure(&self, error: &EncodedStatus) -> Failure {
        let is = |reason: Reason| error.reason() == reason.as_str();
        if is(Reason::SessionEnded) || is(Reason::JoinTooLate) {
            return Failure::Over;
        }
        // Another call created the session, or changed it, since it was looked for.
        if is(Reason::AppointmentConflict) || is(Reason::VersionMismatch) {
            return Failure::Changed;
        }
        Failure::Final(Fault::of(error, self.openvidu.config.retry_after))
    }
}

/// JoinSession gave no connection of OpenVidu's.
fn no_ticket(session: &v1::Session) -> Fault {
    if session.medium() == v1::Medium::Sfu {
        let detail = "The session's node gives no OpenVidu connection";
        Fault::new(StatusCode::BAD_GATEWAY, detail)
    } else {
        // Today's API made it, for another purpose.
        let detail = "This session does not go through an OpenVidu node";
        Fault::new(StatusCode::CONFLICT, detail)
    }
}

fn end_time(config: &Config) -> prost_types::Timestamp {
    let age = i64::try_from(config.session_age_max.as_secs()).unwrap_or(i64::MAX);
    prost_types::Timestamp {
        seconds: now().as_secs().saturating_add(age),
        nanos: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_id_is_that_of_an_appointment() {
        let longest = "x".repeat(ID_LENGTH_MAX - PREFIX.len());
        for good in ["1", "room-1_a", "A.b:c@d", &longest] {
            assert_eq!(
                appointment_id(good).expect("good"),
                format!("openvidu:{good}")
            );
        }
        for bad in [
            "",
            " ",
            "a b",
            "a/b",
            "ä",
            "a\n",
            "\0",
            &(longest.clone() + "x"),
        ] {
            let fault = appointment_id(bad).expect_err("bad");
            assert_eq!(fault.status, StatusCode::UNPROCESSABLE_ENTITY, "{bad:?}");
        }
    }
}
