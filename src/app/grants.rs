//! Join tokens: who gets one, until when, and the event that tells of it.

use std::sync::Arc;
use std::time::Duration;

use super::changes::Decision;
use super::clock::Clock;
use crate::auth::token::{JoinToken, Tokens};
use crate::domain::actor::Actor;
use crate::domain::error::Error;
use crate::domain::id::{SessionId, UserId};
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
pub struct JoinGrant {
    /// The session.
    pub session: Session,
    /// The token to hand to the participant.
    pub token: JoinToken,
    /// How long the token is good from now on.
    pub expires_in: Duration,
}

/// Issues join tokens.
pub(super) struct Grants {
    pub(super) tokens: Arc<Tokens>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) window: JoinWindow,
    pub(super) token_ttl_secs: u64,
}

impl Grants {
    /// Issues a token to a user who may join at `good_from`. It lives from then on as long as any.
    ///
    /// # Errors
    /// Those of [`Session::may_join`]
    pub(super) fn grant(
        &self,
        request: &JoinRequest,
        session: &Session,
        actor: &Actor,
        good_from: Timestamp,
    ) -> Result<Decision<JoinGrant>, Error> {
        let JoinRequest {
            session_id: _,
            role,
            user_id,
            display_name,
        } = request;
        let now = self.clock.now();
        let closes = session.may_join(*role, user_id, &self.window, good_from)?;
        let lived = good_from.plus_secs(self.token_ttl_secs);
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
            actor,
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
}
