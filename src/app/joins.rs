//! Issues join tokens and records them.

use std::sync::Arc;
use std::time::Duration;

use super::changes::Decision;
use super::clock::Clock;
use crate::auth::token::{Bearer, JoinToken, Tokens};
use crate::domain::actor::Actor;
use crate::domain::error::Error;
use crate::domain::id::{SessionId, UserId};
use crate::domain::locale::Locale;
use crate::domain::role::Role;
use crate::domain::session::{JoinWindow, Session};
use crate::domain::time::Timestamp;
use crate::sfu::NodeTicket;

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
    /// The language of their page; `None`: the browser's.
    pub locale: Option<Locale>,
    /// Whether to issue a ticket of the session's node, for a client that connects to the node directly.
    pub with_node_ticket: bool,
}

/// An issued join token.
pub struct IssuedJoin {
    /// The session.
    pub session: Session,
    /// The token for the participant.
    pub token: JoinToken,
    /// How long the token is valid from now.
    pub expires_in: Duration,
    /// The ticket of the session's node, if one was asked for and the participant may use it.
    pub node_ticket: Option<NodeTicket>,
}

/// Issues join tokens.
pub(super) struct Joins {
    pub(super) tokens: Arc<Tokens>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) window: JoinWindow,
    pub(super) token_ttl_secs: u64,
}

impl Joins {
    /// Checks that the user may join from `valid_from` on, and returns until when, if that is limited.
    ///
    /// # Errors
    /// Those of [`Session::join_deadline`]
    pub(super) fn permit(
        &self,
        request: &JoinRequest,
        session: &Session,
        valid_from: Timestamp,
    ) -> Result<Option<Timestamp>, Error> {
        session.join_deadline(request.role, &request.user_id, &self.window, valid_from)
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
    ) -> Result<Decision<IssuedJoin>, Error> {
        let JoinRequest {
            session_id: _,
            role,
            user_id,
            display_name,
            locale,
            with_node_ticket: _,
        } = request;
        let now = self.clock.now();
        let closes = self.permit(request, session, valid_from)?;
        let ttl_ends = valid_from.plus_secs(self.token_ttl_secs);
        let expire_time = closes.map_or(ttl_ends, |closes| closes.min(ttl_ends));
        let bearer = Bearer {
            role: *role,
            user_id,
            display_name,
            locale: locale.as_ref(),
        };
        let token = self
            .tokens
            .issue(session, &bearer, now, expire_time)
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
            // Counted from the token's `iat`, so that it is the configured number of whole seconds.
            expires_in: token.expire_time.since(now.floor_to_secs()),
            token,
            node_ticket: None,
        };
        Ok(Decision::Commit(Box::new(change), issued))
    }
}
