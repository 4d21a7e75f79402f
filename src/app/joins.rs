//! Issues join tokens and records them.

use std::sync::Arc;
use std::time::Duration;

use super::changes::{Changes, Decision};
use super::clock::Clock;
use super::tickets::{Ticket, Tickets};
use crate::auth::token::{JoinToken, Tokens};
use crate::domain::actor::Actor;
use crate::domain::error::Error;
use crate::domain::id::{SessionId, UserId};
use crate::domain::place::Place;
use crate::domain::role::Role;
use crate::domain::session::{JoinWindow, Session};
use crate::domain::time::Timestamp;

/// A request to join a session.
pub struct JoinRequest {
    /// The session.
    pub session_id: SessionId,
    /// The requested role.
    pub role: Role,
    /// The user.
    pub user_id: UserId,
    /// The name to show; may be empty.
    pub display_name: String,
}

/// An issued join token.
pub struct IssuedJoin {
    /// The session.
    pub session: Session,
    /// The token for the participant.
    pub token: JoinToken,
    /// How long the token is valid from now.
    pub expires_in: Duration,
    /// What the participant needs to exchange media.
    pub ticket: Ticket,
}

/// Issues join tokens.
pub(super) struct Joins {
    pub(super) changes: Arc<Changes>,
    pub(super) tokens: Arc<Tokens>,
    pub(super) tickets: Arc<Tickets>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) window: JoinWindow,
    pub(super) token_ttl_secs: u64,
}

/// How many tickets are requested if the session keeps moving to other places.
const TICKET_REQUESTS_MAX: u32 = 3;

/// A join token that was issued.
pub(super) struct IssuedToken {
    session: Session,
    token: JoinToken,
    expires_in: Duration,
}

/// The outcome of a decision.
enum Outcome {
    Issued(Box<IssuedToken>, Ticket),
    /// The node must issue a ticket first.
    NeedsTicket(Box<Session>),
}

impl Joins {
    /// Decides over a session and commits the decision, with the joining participant's ticket. A driver that must ask its node does
    /// so once the decision permits the join, before the commit, and outside the session's turn. If the node fails, no token is
    /// recorded without a ticket.
    ///
    /// # Errors
    /// Those of `decide` and of the driver; those of [`Changes::change`]
    pub(super) async fn change_with_ticket(
        &self,
        request: &JoinRequest,
        decide: impl Fn(&Session) -> Result<Decision<IssuedToken>, Error>,
    ) -> Result<IssuedJoin, Error> {
        let mut asked: Option<(Place, Ticket)> = None;
        for _ in 0..=TICKET_REQUESTS_MAX {
            let changing = self.changes.change(&request.session_id, |session| {
                let decision = decide(session)?;
                let asked = asked.as_ref().filter(|(place, _)| *place == session.place);
                let ticket = match asked {
                    Some((_, ticket)) => Some(ticket.clone()),
                    None => self.tickets.ticket_at_once(session),
                };
                let Some(ticket) = ticket else {
                    return Ok(Decision::Keep(Outcome::NeedsTicket(Box::new(
                        session.clone(),
                    ))));
                };
                Ok(match decision {
                    Decision::Commit(change, issued) => {
                        Decision::Commit(change, Outcome::Issued(Box::new(issued), ticket))
                    }
                    Decision::Keep(issued) => {
                        Decision::Keep(Outcome::Issued(Box::new(issued), ticket))
                    }
                })
            });
            match changing.await? {
                Outcome::Issued(issued, ticket) => {
                    let IssuedToken {
                        session,
                        token,
                        expires_in,
                    } = *issued;
                    return Ok(IssuedJoin {
                        session,
                        token,
                        expires_in,
                        ticket,
                    });
                }
                Outcome::NeedsTicket(session) => {
                    let (user_id, role) = (&request.user_id, request.role);
                    let ticket = self.tickets.issue_ticket(&session, user_id, role).await?;
                    asked = Some((session.place, ticket));
                }
            }
        }
        Err(self.changes.contention_error())
    }

    /// Issues a token that is valid from `valid_from` for the usual time, if the user may join then.
    ///
    /// # Errors
    /// Those of [`Session::join_deadline`]
    pub(super) fn decide_join(
        &self,
        request: &JoinRequest,
        session: &Session,
        actor: &Actor,
        valid_from: Timestamp,
    ) -> Result<Decision<IssuedToken>, Error> {
        let JoinRequest {
            session_id: _,
            role,
            user_id,
            display_name,
        } = request;
        let now = self.clock.now();
        let closes = session.join_deadline(*role, user_id, &self.window, valid_from)?;
        let ttl_ends = valid_from.plus_secs(self.token_ttl_secs);
        let expire_time = closes.map_or(ttl_ends, |closes| closes.min(ttl_ends));
        let token = self
            .tokens
            .issue(session, *role, user_id, display_name, now, expire_time)
            .map_err(|_| Error::Internal)?;
        let change = session.record_token(
            user_id.clone(),
            *role,
            token.jti.clone(),
            token.expire_time,
            actor,
            now,
        );
        let issued = IssuedToken {
            session: change.session.clone(),
            // Counted from the token's `iat`, so that it is the configured number of whole seconds.
            expires_in: token.expire_time.since(now.floor_to_secs()),
            token,
        };
        Ok(Decision::Commit(Box::new(change), issued))
    }
}
