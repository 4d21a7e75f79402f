//! Issues join tokens and records them.

use std::sync::Arc;
use std::time::Duration;

use super::changes::Decision;
use super::clock::Clock;
use crate::auth::short_code::ShortCode;
use crate::auth::token::{Bearer, JoinToken, Tokens};
use crate::domain::actor::Actor;
use crate::domain::error::Error;
use crate::domain::id::{SessionId, UserId};
use crate::domain::locale::Locale;
use crate::domain::role::Role;
use crate::domain::session::{JoinWindow, Session};
use crate::domain::short_link::ShortLink;
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
    /// Whether to issue the link before the join window opens.
    pub before_window: bool,
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
    /// The code of the participant's short link.
    pub short_code: ShortCode,
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
    /// From when on a token for this request is valid: from now on, or from the opening of the join window if the link is issued before
    /// it.
    pub(super) fn valid_from(&self, request: &JoinRequest, session: &Session) -> Timestamp {
        let now = self.clock.now();
        let opens = self.window.opens_at(&session.schedule);
        let opens = opens.filter(|_| request.before_window);
        opens.map_or(now, |opens| opens.max(now))
    }

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
            before_window: _,
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
        let (short_code, link) = self.short_link(request, session, &token.jti);
        let jti = token.jti.clone();
        let change = session.record_token(jti, token.expire_time, link, actor, now);
        let issued = IssuedJoin {
            session: change.session.clone(),
            // Counted from the token's `iat`, so that it is the configured number of whole seconds.
            expires_in: token.expire_time.since(now.floor_to_secs()),
            token,
            short_code,
            node_ticket: None,
        };
        Ok(Decision::Commit(Box::new(change), issued))
    }

    /// The participant's short link: the one that they have, as long as it admits them, or a new one.
    fn short_link(
        &self,
        request: &JoinRequest,
        session: &Session,
        jti: &str,
    ) -> (ShortCode, ShortLink) {
        let JoinRequest {
            role,
            user_id,
            display_name,
            locale,
            ..
        } = request;
        let kept = session
            .valid_short_link(user_id, *role, self.clock.now())
            .and_then(|link| Some((self.tokens.short_code_of(&session.session_id, link)?, link)));
        if let Some((code, link)) = kept {
            // Who enters from a doctor's list has no name there, and keeps that of the link.
            let named = if display_name.is_empty() {
                &link.display_name
            } else {
                display_name
            };
            let link = ShortLink {
                display_name: named.clone(),
                locale: locale.clone().or_else(|| link.locale.clone()),
                ..link.clone()
            };
            return (code, link);
        }
        let code = self.tokens.new_short_code(&session.session_id, jti);
        let link = ShortLink {
            user_id: user_id.clone(),
            role: *role,
            display_name: display_name.clone(),
            locale: locale.clone(),
            digest: code.digest(),
            jti: jti.to_owned(),
            since: session.version + 1,
        };
        (code, link)
    }
}
