//! Creates, joins, finds, changes and ends sessions.

use std::sync::Arc;
use std::time::Duration;

use super::App;
use super::changes::{Decision, back_off};
use crate::auth::token::JoinToken;
use crate::domain::access::{Action, Role, permit_by};
use crate::domain::change::Change;
use crate::domain::error::Error;
use crate::domain::id::{AppointmentId, SessionId, UserId};
use crate::domain::page::SessionQuery;
use crate::domain::rules::create::UnplacedSession;
use crate::domain::session::{EndCause, Session, SessionRequest, SessionState, SessionUpdate};
use crate::domain::time::Timestamp;
use crate::store::Inserted;

/// How a session is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionKey {
    /// By its id.
    Session(SessionId),
    /// As the latest of an appointment.
    Appointment(AppointmentId),
}

/// The outcome of a create.
pub struct Created {
    /// The appointment's session.
    pub session: Session,
    /// False when it existed.
    pub created: bool,
}

/// Who wants to join what.
pub struct JoinRequest {
    /// The session.
    pub session_id: SessionId,
    /// The role asked for.
    pub role: Role,
    /// The user.
    pub user_id: UserId,
    /// The name to show; may be empty.
    pub display_name: String,
}

/// A join that was granted.
pub struct JoinGrant {
    /// The session.
    pub session: Session,
    /// The token to hand to the participant.
    pub token: JoinToken,
    /// How long the token is good from now on.
    pub expires_in: Duration,
}

impl App {
    /// The appointment's live session: the one that exists, or a new one on the node whose turn it is.
    ///
    /// # Errors
    /// [`Error::AppointmentConflict`]; [`Error::StoreUnavailable`]
    pub async fn create_session(&self, request: SessionRequest) -> Result<Created, Error> {
        self.within_budget(self.create_within_budget(request)).await
    }

    async fn create_within_budget(&self, request: SessionRequest) -> Result<Created, Error> {
        for attempt in 0..self.config.commit_attempts_max {
            let latest = self
                .stores
                .sessions
                .latest(&request.appointment_id)
                .await
                .map_err(|error| self.store_error(&error))?;
            if let Some(session) = &latest
                && session.state != SessionState::Ended
            {
                let is_over = session.is_past_window(&self.config.window, Timestamp::now());
                match session.matches(&request) {
                    Ok(()) => {}
                    // What the worker is about to do must not stand in the way of a new session.
                    Err(_) if is_over => {
                        self.end_if_over(&session.session_id).await?;
                        continue;
                    }
                    Err(conflict) => return Err(conflict),
                }
                return Ok(Created {
                    session: session.clone(),
                    created: false,
                });
            }
            let unplaced = UnplacedSession::new(request.clone(), latest.as_ref(), Timestamp::now());
            let inserted = self.insert(unplaced).await?;
            if let Inserted::Stored(change) = inserted {
                let Change { session, events: _ } = *change;
                self.metrics.assignment(session.place.node_id.as_str());
                return Ok(Created {
                    session,
                    created: true,
                });
            }
            tokio::time::sleep(back_off(attempt)).await;
        }
        Err(self.contention())
    }

    /// Lets a participant in: issues a token and records that it was issued.
    ///
    /// # Errors
    /// In this order: [`Error::SessionNotFound`], and those of [`Session::may_join`]; [`Error::StoreUnavailable`]
    pub async fn join_session(&self, request: &JoinRequest) -> Result<JoinGrant, Error> {
        let grant = self
            .change(&request.session_id, |session| {
                self.grant(request, session, Timestamp::now())
            })
            .await?;
        self.metrics.token_issued(request.role.name());
        Ok(grant)
    }

    /// Issues a token for who may join at `good_from`: it lives from then on as long as any.
    pub(super) fn grant(
        &self,
        request: &JoinRequest,
        session: &Session,
        good_from: Timestamp,
    ) -> Result<Decision<JoinGrant>, Error> {
        let JoinRequest {
            session_id: _,
            role,
            user_id,
            display_name,
        } = request;
        let now = Timestamp::now();
        let closes = session.may_join(*role, user_id, &self.config.window, good_from)?;
        let lived = good_from.plus_secs(self.config.token_ttl_secs);
        let expire_time = closes.map_or(lived, |closes| closes.min(lived));
        let token = self
            .tokens
            .issue(session, *role, user_id, display_name, now, expire_time)
            .map_err(|_| Error::Internal)?;
        let change = session.token_issued(
            user_id.clone(),
            *role,
            token.jti.clone(),
            token.expire_time,
            now,
        );
        let grant = JoinGrant {
            session: change.session.clone(),
            // From the token's own `iat`, so that it is the whole number of seconds that was configured.
            expires_in: token.expire_time.since(now.floor_to_secs()),
            token,
        };
        Ok(Decision::Commit(Box::new(change), grant))
    }

    /// One session.
    ///
    /// # Errors
    /// [`Error::SessionNotFound`]; [`Error::StoreUnavailable`]
    pub async fn get_session(&self, key: &SessionKey) -> Result<Session, Error> {
        self.within_budget(async {
            let found = match key {
                SessionKey::Session(session_id) => self.stores.sessions.get(session_id).await,
                SessionKey::Appointment(appointment_id) => {
                    self.stores.sessions.latest(appointment_id).await
                }
            };
            found
                .map_err(|error| self.store_error(&error))?
                .ok_or(Error::SessionNotFound)
        })
        .await
    }

    /// Sessions, newest first; in the place of one that cannot be read, its id.
    ///
    /// # Errors
    /// [`Error::StoreUnavailable`]
    pub async fn list_sessions(
        &self,
        query: &SessionQuery,
    ) -> Result<Vec<Result<Session, SessionId>>, Error> {
        self.within_budget(async {
            let listed = self.stores.sessions.list(query).await;
            let listed = listed.map_err(|error| self.store_error(&error))?;
            let rows = listed.into_iter().map(|row| {
                row.map_err(|unreadable| {
                    self.store_error(&unreadable.error);
                    unreadable.session_id
                })
            });
            Ok(rows.collect())
        })
        .await
    }

    /// Moves an appointment, or replaces its doctor or labels.
    ///
    /// # Errors
    /// [`Error::SessionNotFound`], and those of [`Session::updated`]; [`Error::StoreUnavailable`]
    pub async fn update_session(
        &self,
        session_id: &SessionId,
        update: &SessionUpdate,
        expected_version: Option<i64>,
    ) -> Result<Session, Error> {
        self.change(session_id, |session| {
            let change = session.updated(update.clone(), expected_version, Timestamp::now())?;
            Ok(Decision::of(change, session))
        })
        .await
    }

    /// Ends a session for good; one that has ended stays as it is.
    ///
    /// # Errors
    /// [`Error::SessionNotFound`]; [`Error::StoreUnavailable`]
    pub async fn end_session(
        &self,
        session_id: &SessionId,
        reason: &str,
    ) -> Result<Session, Error> {
        self.change(session_id, |session| {
            let cause = EndCause::Backend;
            let change = session.ended(cause, reason.to_owned(), Timestamp::now());
            Ok(Decision::of(change, session))
        })
        .await
    }

    /// Ends a session for everybody, as its host.
    ///
    /// # Errors
    /// [`Error::NotAllowed`]; [`Error::SessionNotFound`]; [`Error::StoreUnavailable`]
    pub async fn end_by_host(&self, session_id: &SessionId, by: &UserId) -> Result<Session, Error> {
        self.change(session_id, |session| {
            let cause = EndCause::Host;
            let change = session.ended(cause, cause.reason().to_owned(), Timestamp::now());
            if change.is_some() {
                permit_by(session, Some(by), Action::EndSession)?;
            }
            Ok(Decision::of(change, session))
        })
        .await
    }

    /// Stores a new session, also when the caller goes away meanwhile.
    async fn insert(&self, unplaced: UnplacedSession) -> Result<Inserted, Error> {
        let sessions = Arc::clone(&self.stores.sessions);
        let new = self.place_session(unplaced);
        let inserting = tokio::spawn(async move { sessions.insert(new).await });
        let inserted = inserting.await.map_err(|_| Error::Internal)?;
        inserted.map_err(|error| self.store_error(&error))
    }
}
