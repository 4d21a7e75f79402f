//! Tickets for clients that connect to an SFU node directly, without the service's door: native applications.

use std::sync::Arc;
use std::time::Duration;

use super::drivers::Drivers;
use super::joins::JoinRequest;
use super::nodes::Nodes;
use crate::domain::access::ticket_sequence;
use crate::domain::error::Error;
use crate::domain::health::ProbeFailure;
use crate::domain::medium::Medium;
use crate::domain::session::Session;
use crate::sfu::{Admit, NodeTicket, SfuError};

/// Issues tickets of the nodes.
pub(super) struct NodeTickets {
    pub(super) drivers: Arc<Drivers>,
    pub(super) nodes: Arc<Nodes>,
    pub(super) ttl: Duration,
    pub(super) retry_after: Duration,
}

impl NodeTickets {
    /// The ticket for a participant whose token the session's next event is to record. `None` if a ticket would be of no use: the call
    /// does not go through the node, the node is not configured or has no address for participants, the participant would have to
    /// wait, or only pages can encrypt what they send.
    ///
    /// # Errors
    /// [`Error::SfuNodeUnavailable`]
    pub(super) async fn issue(
        &self,
        session: &Session,
        request: &JoinRequest,
    ) -> Result<Option<NodeTicket>, Error> {
        let JoinRequest { role, user_id, .. } = request;
        let is_of_use = session.medium == Medium::Sfu
            && session.enters_at_once(user_id, *role)
            && !session.end_to_end_encrypted;
        if !is_of_use {
            return Ok(None);
        }
        let place = &session.place;
        let Some(driver) = self.drivers.of(&place.node_id) else {
            return Ok(None);
        };
        if self.nodes.is_refused(&place.node_id) {
            return Err(self.unavailable_error(session, ProbeFailure::Misconfigured));
        }
        let admit = Admit {
            user_id: user_id.clone(),
            role: *role,
            sequence: ticket_sequence(session),
            ttl: self.ttl,
        };
        let ticket = driver.issue_ticket(&place.room_name, &admit).await;
        let ticket = ticket.map_err(|error| self.node_error(session, error))?;
        Ok(ticket.filter(|ticket| !ticket.url.is_empty()))
    }

    fn node_error(&self, session: &Session, error: SfuError) -> Error {
        let node_id = session.place.node_id.as_str();
        tracing::warn!(node_id, %error, "an SFU node issued no ticket");
        self.unavailable_error(session, error.failure())
    }

    fn unavailable_error(&self, session: &Session, failure: ProbeFailure) -> Error {
        Error::SfuNodeUnavailable {
            node_id: session.place.node_id.clone(),
            failure,
            retry_after: self.retry_after,
        }
    }
}
