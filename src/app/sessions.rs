//! Creates, joins, reads, updates and ends sessions.

use std::sync::Arc;
use std::time::Duration;

use super::access::StoreAccess;
use super::changes::{Changes, Decision, back_off};
use super::clock::Clock;
use super::joins::{IssuedJoin, JoinRequest, Joins};
use super::node_tickets::NodeTickets;
use super::nodes::Nodes;
use crate::domain::access::{permit_service, permit_token, ticket_admits};
use crate::domain::actor::Actor;
use crate::domain::change::Change;
use crate::domain::error::Error;
use crate::domain::id::{AppointmentId, SessionId};
use crate::domain::page::SessionQuery;
use crate::domain::placement::Wanted;
use crate::domain::rules::create::UnplacedSession;
use crate::domain::session::{JoinWindow, Session, SessionRequest, SessionState, SessionUpdate};
use crate::store::{Insert, Inserted, NewSession};
use crate::telemetry::metrics::Metrics;

/// When the service ends sessions.
#[derive(Debug, Clone, Copy)]
pub struct EndingConfig {
    /// How long before and after its schedule a session may be joined.
    pub window: JoinWindow,
    /// How long a session may be empty before it ends; `None`: without limit.
    pub empty_timeout: Option<Duration>,
}

/// Identifies a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionKey {
    /// By its id.
    Session(SessionId),
    /// By its appointment, whose latest session it is.
    Appointment(AppointmentId),
}

/// The outcome of a create.
pub struct Created {
    /// The appointment's session.
    pub session: Session,
    /// Whether it is new.
    pub created: bool,
}

/// Creates, joins, reads, updates and ends sessions.
pub struct Sessions {
    pub(super) access: Arc<StoreAccess>,
    pub(super) changes: Arc<Changes>,
    pub(super) joins: Arc<Joins>,
    pub(super) nodes: Arc<Nodes>,
    pub(super) node_tickets: NodeTickets,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) config: EndingConfig,
    pub(super) attempts_max: u32,
}

impl Sessions {
    /// Returns the appointment's live session, or creates one on the next node.
    ///
    /// # Errors
    /// [`Error::AppointmentConflict`]; [`Error::NoNodeAvailable`]; [`Error::StoreUnavailable`]
    pub async fn create(&self, actor: &Actor, request: SessionRequest) -> Result<Created, Error> {
        permit_service(actor)?;
        let created = self.create_within_budget(actor, request);
        self.access.within_budget(created).await
    }

    async fn create_within_budget(
        &self,
        actor: &Actor,
        request: SessionRequest,
    ) -> Result<Created, Error> {
        for attempt in 0..self.attempts_max {
            match self.insert(actor, &request).await? {
                Inserted::Stored(change) => {
                    let Change { session, events: _ } = *change;
                    self.metrics
                        .count_assignment(session.place.node_id.as_str());
                    return Ok(Created {
                        session,
                        created: true,
                    });
                }
                Inserted::Kept(session) => {
                    let window_closed =
                        session.is_join_window_closed(&self.config.window, self.clock.now());
                    match session.matches(&request) {
                        Ok(()) => {
                            return Ok(Created {
                                session: *session,
                                created: false,
                            });
                        }
                        // The session is overdue; end it now instead of waiting for upkeep.
                        Err(_) if window_closed => {
                            self.end_if_overdue(&session.session_id).await?;
                        }
                        Err(conflict) => return Err(conflict),
                    }
                }
                Inserted::Refused(error) => return Err(error),
                Inserted::Taken => tokio::time::sleep(back_off(attempt)).await,
            }
        }
        Err(self.access.contention_error())
    }

    /// Issues a join token and records it.
    ///
    /// # Errors
    /// [`Error::NotAllowed`]; then, in this order: [`Error::SessionNotFound`], and those of [`Session::join_deadline`]; [`Error::StoreUnavailable`];
    /// [`Error::SfuNodeUnavailable`]
    pub async fn join(&self, actor: &Actor, request: &JoinRequest) -> Result<IssuedJoin, Error> {
        permit_token(actor, request.role, &request.user_id)?;
        let issued = if request.with_node_ticket {
            self.join_with_node_ticket(actor, request).await?
        } else {
            let joining = self.changes.change(&request.session_id, |session| {
                let valid_from = self.joins.valid_from(request, session);
                self.joins.decide_join(request, session, actor, valid_from)
            });
            joining.await?
        };
        self.metrics.count_token(request.role.name());
        Ok(issued)
    }

    /// Asks the node for the ticket before the commit, so that nothing changes if it does not answer. A change of the session that
    /// came first and invalidates the ticket means to ask again.
    async fn join_with_node_ticket(
        &self,
        actor: &Actor,
        request: &JoinRequest,
    ) -> Result<IssuedJoin, Error> {
        for attempt in 0..self.attempts_max {
            let asked = self.access.session(&request.session_id).await?;
            self.joins.permit(request, &asked, self.clock.now())?;
            let ticket = self.node_tickets.issue(&asked, request).await?;
            let joining = self.changes.change(&request.session_id, |session| {
                let now = self.clock.now();
                let decided = self.joins.decide_join(request, session, actor, now)?;
                let JoinRequest { role, user_id, .. } = request;
                let is_of_use =
                    ticket.is_none() || ticket_admits(&asked, session, *role, user_id, now);
                Ok(if is_of_use {
                    decided.map(Some)
                } else {
                    Decision::Keep(None)
                })
            });
            if let Some(issued) = joining.await? {
                return Ok(IssuedJoin {
                    node_ticket: ticket,
                    ..issued
                });
            }
            tokio::time::sleep(back_off(attempt)).await;
        }
        Err(self.access.contention_error())
    }

    /// Reads a session.
    ///
    /// # Errors
    /// [`Error::SessionNotFound`]; [`Error::StoreUnavailable`]
    pub async fn get(&self, actor: &Actor, key: &SessionKey) -> Result<Session, Error> {
        permit_service(actor)?;
        match key {
            SessionKey::Session(session_id) => self.access.session(session_id).await,
            SessionKey::Appointment(appointment_id) => {
                self.access
                    .within_budget(async {
                        let found = self.access.sessions.latest_session(appointment_id).await;
                        found
                            .map_err(|error| self.access.error(&error))?
                            .ok_or(Error::SessionNotFound)
                    })
                    .await
            }
        }
    }

    /// Lists sessions, newest first; the id in place of a session that cannot be read.
    ///
    /// # Errors
    /// [`Error::StoreUnavailable`]
    pub async fn list(
        &self,
        actor: &Actor,
        query: &SessionQuery,
    ) -> Result<Vec<Result<Session, SessionId>>, Error> {
        permit_service(actor)?;
        self.access
            .within_budget(async {
                let listed = self.access.sessions.list(query).await;
                let listed = listed.map_err(|error| self.access.error(&error))?;
                let rows = listed.into_iter().map(|row| {
                    row.map_err(|unreadable| {
                        self.access.error(&unreadable.error);
                        unreadable.session_id
                    })
                });
                Ok(rows.collect())
            })
            .await
    }

    /// Reschedules a session, or replaces its doctor or labels.
    ///
    /// # Errors
    /// [`Error::SessionNotFound`], and those of [`Session::update`]; [`Error::StoreUnavailable`]
    pub async fn update(
        &self,
        actor: &Actor,
        session_id: &SessionId,
        update: &SessionUpdate,
        expected_version: Option<i64>,
    ) -> Result<Session, Error> {
        self.changes
            .change(session_id, |session| {
                let change =
                    session.update(update.clone(), expected_version, actor, self.clock.now())?;
                Ok(Decision::commit_or_keep(change, session))
            })
            .await
    }

    /// Ends a session for good; an ended session stays unchanged. Without a `reason`, the cause's text is stored.
    ///
    /// # Errors
    /// [`Error::NotAllowed`]; [`Error::SessionNotFound`]; [`Error::StoreUnavailable`]
    pub async fn end(
        &self,
        actor: &Actor,
        session_id: &SessionId,
        reason: Option<&str>,
    ) -> Result<Session, Error> {
        self.changes
            .change(session_id, |session| {
                let reason = reason.map(ToOwned::to_owned);
                let change = session.end(reason, actor, self.clock.now())?;
                Ok(Decision::commit_or_keep(change, session))
            })
            .await
    }

    /// Ends a session if it is overdue, and returns whether it did.
    ///
    /// # Errors
    /// [`Error::SessionNotFound`]; [`Error::StoreUnavailable`]
    pub(super) async fn end_if_overdue(&self, session_id: &SessionId) -> Result<bool, Error> {
        self.changes
            .change(session_id, |session| {
                // Checked again: the session may have been rescheduled or joined since it was found.
                let EndingConfig {
                    window,
                    empty_timeout,
                } = &self.config;
                let now = self.clock.now();
                let Some(cause) = session.due_end_cause(window, *empty_timeout, now) else {
                    return Ok(Decision::Keep(false));
                };
                let change = session.end(None, &Actor::System(cause), now)?;
                Ok(match change {
                    Some(change) => Decision::Commit(Box::new(change), true),
                    None => Decision::Keep(false),
                })
            })
            .await
    }

    /// Stores a new session unless the appointment has a live one, even if the caller is cancelled meanwhile.
    async fn insert(&self, actor: &Actor, request: &SessionRequest) -> Result<Inserted, Error> {
        let sessions = Arc::clone(&self.access.sessions);
        let nodes = Arc::clone(&self.nodes);
        let (actor, now) = (actor.clone(), self.clock.now());
        let (appointment_id, request) = (request.appointment_id.clone(), request.clone());
        let new = NewSession::new(appointment_id, move |latest| match latest {
            Some(live) if live.state != SessionState::Ended => Insert::Keep(Box::new(live)),
            previous => {
                let (wanted, actor) = (wanted_of(&request), actor.clone());
                let unplaced = UnplacedSession::new(request.clone(), previous.as_ref(), actor, now);
                nodes.place_session(unplaced, &wanted)
            }
        });
        let inserting = tokio::spawn(async move { sessions.insert(new).await });
        let inserted = inserting.await.map_err(|_| Error::Internal)?;
        inserted.map_err(|error| self.access.error(&error))
    }
}

/// What a session needs of its node.
fn wanted_of(request: &SessionRequest) -> Wanted {
    let region = request.region.clone();
    Wanted::new(region, request.media.value, request.end_to_end_encrypted)
}
