//! What OpenVidu answers and reports, as far as it is read.

use serde::{Deserialize, Serialize};

use crate::domain::id::UserId;
use crate::sfu::ParticipantOnNode;

/// Longer tokens are none of OpenVidu's.
const TOKEN_BYTES_MAX: usize = 4096;

#[derive(Deserialize)]
pub(super) struct ListOf<T> {
    pub(super) content: Vec<T>,
}

#[derive(Deserialize)]
pub(super) struct Session {
    pub(super) id: String,
    pub(super) connections: ListOf<Connection>,
}

impl Session {
    pub(super) fn participants(&self) -> u32 {
        let present = self.connections.content.iter();
        let count = present.filter(|connection| connection.is_active()).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }
}

/// A connection: pending until its token is used, active while its user is connected.
#[derive(Deserialize)]
pub(super) struct Connection {
    pub(super) id: String,
    status: String,
    #[serde(rename = "serverData")]
    server_data: Option<String>,
}

/// A new connection. Its token is a credential.
#[derive(Deserialize)]
pub(super) struct NewConnection {
    pub(super) token: String,
}

impl NewConnection {
    /// Whether the token is what clients take: an address of the node's signalling.
    pub(super) fn has_address(&self) -> bool {
        let is_address = ["ws://", "wss://"]
            .iter()
            .any(|scheme| self.token.starts_with(scheme));
        is_address && self.token.len() <= TOKEN_BYTES_MAX
    }
}

/// What the driver attaches to a connection. A connection has no identity of its own.
#[derive(Serialize, Deserialize)]
pub(super) struct ServerData {
    pub(super) user_id: String,
    pub(super) sequence: i64,
}

impl ServerData {
    pub(super) fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

impl Connection {
    pub(super) fn is_active(&self) -> bool {
        self.status == "active"
    }

    fn server_data(&self) -> Option<ServerData> {
        ServerData::read(self.server_data.as_deref()?)
    }

    /// The user's identity. For a connection that the service did not make, its connection id.
    fn identity(&self) -> String {
        let data = self.server_data();
        data.map_or_else(|| self.id.clone(), |data| data.user_id)
    }

    pub(super) fn sequence(&self) -> Option<i64> {
        self.server_data().map(|data| data.sequence)
    }

    pub(super) fn is_of(&self, user_id: &UserId) -> bool {
        self.identity() == user_id.as_str()
    }

    pub(super) fn into_plain(self) -> ParticipantOnNode {
        ParticipantOnNode {
            user_id: UserId::from_stored(self.identity()),
            sequence: self.sequence(),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct WebhookBody {
    pub(super) event: String,
    #[serde(rename = "sessionId", default)]
    pub(super) session_id: String,
    #[serde(rename = "serverData")]
    pub(super) server_data: Option<String>,
    #[serde(rename = "connectionId", default)]
    pub(super) connection_id: String,
}
