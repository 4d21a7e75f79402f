//! The page of a doctor's day: its links, what it shows, and the way from it into a session.

mod streams;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch::Receiver;
use tokio_util::sync::CancellationToken;

use super::access::StoreAccess;
use super::clock::Clock;
use super::feed::Followed;
use super::joins::{IssuedJoin, JoinRequest};
use super::sessions::Sessions;
use crate::auth::doctor_token::{DoctorClaims, DoctorPurpose};
use crate::auth::token::{InvalidToken, Tokens};
use crate::bus::Bus;
use crate::domain::access::{permit_day, permit_service};
use crate::domain::actor::Actor;
use crate::domain::day::Day;
use crate::domain::error::Error;
use crate::domain::id::{SessionId, UserId};
use crate::domain::role::Role;
use crate::domain::session::JoinWindow;
use crate::domain::time::Timestamp;

pub(super) use streams::Streams;

pub use watch::{DayStream, DayView};

/// Limits of the pages of doctors' days.
#[derive(Debug, Clone, Copy)]
pub struct DoctorsConfig {
    /// How many sessions a page shows.
    pub sessions_max: usize,
    /// How often a page's sessions are listed again: a new session appears no later.
    pub list_interval: Duration,
    /// How many pages may be open at once.
    pub streams_max: usize,
    /// How many of them may be one doctor's.
    pub streams_per_doctor_max: usize,
}

/// A request for a doctor's link.
pub struct DoctorLinkRequest {
    /// The doctor.
    pub user_id: UserId,
    /// The name to show in calls; may be empty.
    pub display_name: String,
    /// How long it is valid.
    pub ttl_secs: u64,
}

/// An issued link.
pub struct IssuedDoctorLink {
    /// The token in it. A credential: never log or store it.
    pub token: String,
    /// How long it is valid from now.
    pub expires_in: Duration,
    /// When it expires.
    pub expire_time: Timestamp,
}

/// A doctor who showed a credential.
#[derive(Debug, Clone)]
pub struct DoctorIdentity {
    /// The claims of their credential.
    claims: DoctorClaims,
    /// The doctor.
    pub user_id: UserId,
    /// Their name; may be empty.
    pub name: String,
    /// When their credential expires.
    pub expire_time: Timestamp,
}

/// The pages of doctors' days.
pub struct Doctors {
    pub(super) access: Arc<StoreAccess>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) bus: Arc<dyn Bus>,
    pub(super) followed: Arc<Followed>,
    pub(super) tokens: Arc<Tokens>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) window: JoinWindow,
    pub(super) config: DoctorsConfig,
    pub(super) streams: Arc<Streams>,
    pub(super) closing: CancellationToken,
}

impl Doctors {
    /// Issues a link to a doctor's day.
    ///
    /// # Errors
    /// [`Error::NotAllowed`]
    pub fn create_link(
        &self,
        actor: &Actor,
        request: &DoctorLinkRequest,
    ) -> Result<IssuedDoctorLink, Error> {
        permit_service(actor)?;
        let DoctorLinkRequest {
            user_id,
            display_name,
            ttl_secs,
        } = request;
        // Whole seconds, as in the token.
        let now = self.clock.now().floor_to_secs();
        let expire_time = now.plus_secs(*ttl_secs);
        let token = self
            .tokens
            .issue_doctor_link(user_id, display_name, now, expire_time)
            .map_err(|_| Error::Internal)?;
        Ok(IssuedDoctorLink {
            token,
            expires_in: expire_time.since(now),
            expire_time,
        })
    }

    /// Verifies a doctor's credential.
    ///
    /// # Errors
    /// [`InvalidToken`]
    pub fn authorize(
        &self,
        jwt: &str,
        purpose: DoctorPurpose,
    ) -> Result<DoctorIdentity, InvalidToken> {
        let claims = self.tokens.verify_doctor(jwt, purpose)?;
        let user_id = UserId::parse(claims.sub.as_str()).map_err(|_| InvalidToken::Forged)?;
        Ok(DoctorIdentity {
            user_id,
            name: claims.name.clone(),
            expire_time: Timestamp::from_millis(claims.exp.saturating_mul(1000)),
            claims,
        })
    }

    /// Issues the credential that the page keeps instead of its link's token. Returns it with its lifetime: it expires with the link.
    ///
    /// # Errors
    /// [`Error::Internal`]
    pub fn issue_page_credential(
        &self,
        doctor: &DoctorIdentity,
    ) -> Result<(String, Duration), Error> {
        let jwt = self.tokens.issue_doctor_page(&doctor.claims);
        let lifetime = doctor.expire_time.since(self.clock.now());
        Ok((jwt.map_err(|_| Error::Internal)?, lifetime))
    }

    /// Issues the doctor's join token for one of their sessions, as JoinSession does.
    ///
    /// # Errors
    /// [`Error::NotAParticipant`] for another doctor's session; those of [`Sessions::join`]
    pub async fn join(
        &self,
        doctor: &DoctorIdentity,
        session_id: SessionId,
    ) -> Result<IssuedJoin, Error> {
        let DoctorIdentity { user_id, name, .. } = doctor;
        // Before anything else, so that they learn nothing of another doctor's session.
        permit_day(&self.access.session(&session_id).await?, user_id)?;
        let actor = Actor::Participant {
            role: Role::Doctor,
            user_id: user_id.clone(),
        };
        let request = JoinRequest {
            session_id,
            role: Role::Doctor,
            user_id: user_id.clone(),
            display_name: name.clone(),
            before_window: false,
            locale: None,
            with_node_ticket: false,
        };
        self.sessions.join(&actor, &request).await
    }

    /// The time of the service, in whose terms a day's times are.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Streams what a doctor sees of a day: the whole day at once, and again, at most once a second, when it has changed.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when too many pages are open; [`Error::StoreUnavailable`]. The stream ends with
    /// [`Error::StoreUnavailable`] when the store is lost and with [`Error::ShuttingDown`] when the instance drains.
    pub async fn watch(
        self: &Arc<Self>,
        doctor: &DoctorIdentity,
        day: Day,
    ) -> Result<DayStream, Error> {
        let place = self.streams.take(&doctor.user_id);
        let place = place.ok_or_else(|| self.access.overloaded_error())?;
        watch::stream(Arc::clone(self), doctor.user_id.clone(), day, place).await
    }

    /// Changes when sessions must be read again, because hints of their changes may have been lost.
    fn rechecks(&self) -> Receiver<()> {
        self.followed.rechecks()
    }
}
