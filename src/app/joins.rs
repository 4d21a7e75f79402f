//! Join tokens: who gets one, until when, and the event that tells of it.

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
pub struct IssuedJoin {
    /// The session.
    pub session: Session,
    /// The token to hand to the participant.
    pub token: JoinToken,
    /// How long the token is good from now on.
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

/// How often a ticket is asked for when the session moves to another place meanwhile.
const TICKETS_ASKED_MAX: u32 = 3;

/// What came of a look at a session.
enum Outcome<T> {
    Decided(T),
    /// Its node must be asked for a ticket first.
    NeedsTicket(Session),
}

impl Joins {
    /// Decides over a session and the ticket of who joins it, and commits what was decided. A driver that has to ask its node does
    /// so before the commit and outside the session's turn: when the node fails, the session tells of no token without a ticket.
    ///
    /// # Errors
    /// Those of `decide` and of the driver; those of [`Changes::change`]
    pub(super) async fn change_with_ticket<T>(
        &self,
        request: &JoinRequest,
        decide: impl Fn(&Session, Ticket) -> Result<Decision<T>, Error>,
    ) -> Result<T, Error> {
        let mut asked: Option<(Place, Ticket)> = None;
        for _ in 0..=TICKETS_ASKED_MAX {
            let changing = self.changes.change(&request.session_id, |session| {
                let asked = asked.as_ref().filter(|(place, _)| *place == session.place);
                let ticket = match asked {
                    Some((_, ticket)) => Some(ticket.clone()),
                    None => self.tickets.ticket_at_once(session),
                };
                Ok(match ticket {
                    Some(ticket) => match decide(session, ticket)? {
                        Decision::Commit(change, answer) => {
                            Decision::Commit(change, Outcome::Decided(answer))
                        }
                        Decision::Keep(answer) => Decision::Keep(Outcome::Decided(answer)),
                    },
                    None => Decision::Keep(Outcome::NeedsTicket(session.clone())),
                })
            });
            match changing.await? {
                Outcome::Decided(answer) => return Ok(answer),
                Outcome::NeedsTicket(session) => {
                    let (user_id, role) = (&request.user_id, request.role);
                    let ticket = self.tickets.issue_ticket(&session, user_id, role).await?;
                    asked = Some((session.place, ticket));
                }
            }
        }
        Err(self.changes.contention_error())
    }

    /// Issues a token to a user who may join at `good_from`. It lives from then on as long as any.
    ///
    /// # Errors
    /// Those of [`Session::join_deadline`]
    pub(super) fn decide_join(
        &self,
        request: &JoinRequest,
        session: &Session,
        ticket: Ticket,
        actor: &Actor,
        good_from: Timestamp,
    ) -> Result<Decision<IssuedJoin>, Error> {
        let JoinRequest {
            session_id: _,
            role,
            user_id,
            display_name,
        } = request;
        let now = self.clock.now();
        let closes = session.join_deadline(*role, user_id, &self.window, good_from)?;
        let lived = good_from.plus_secs(self.token_ttl_secs);
        let expire_time = closes.map_or(lived, |closes| closes.min(lived));
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
        let issued = IssuedJoin {
            session: change.session.clone(),
            // From the token's own `iat`, so that it is the whole number of seconds that was configured.
            expires_in: token.expire_time.since(now.floor_to_secs()),
            token,
            ticket,
        };
        Ok(Decision::Commit(Box::new(change), issued))
    }
}
