//! Participants' connections: who may connect, what they may say, and what becomes of the session when they come and go.

mod close;
mod describe;
mod door;
mod entrance;
mod follow;
mod hearing;
mod ice;
mod leaving;
pub mod message;
mod sdp;

pub use close::CloseCode;
pub use door::{NotLetIn, Pass};
pub use hearing::Heard;
pub use ice::{Config as IceConfig, IcePolicy};

use std::sync::Arc;

use super::App;
use crate::domain::access::Role;
use crate::domain::id::{SessionId, UserId};
use crate::telemetry::metrics::Metrics;

/// A connection that was taken in.
#[derive(Debug, Clone)]
pub struct Connection {
    id: u64,
    session_id: SessionId,
    user_id: UserId,
    role: Role,
}

impl App {
    /// Counts the end of a signalling connection, with the code that it was closed with, if it was.
    pub fn count_ending(&self, code: Option<u16>) {
        self.metrics.signalling_ended(code);
    }

    /// Counts a signalling connection as open until the answer is dropped.
    pub fn count_connection(&self) -> impl Drop + use<> {
        CountedConnection::new(Arc::clone(&self.metrics))
    }
}

struct CountedConnection(Arc<Metrics>);

impl CountedConnection {
    fn new(metrics: Arc<Metrics>) -> Self {
        metrics.signalling_connections.inc();
        Self(metrics)
    }
}

impl Drop for CountedConnection {
    fn drop(&mut self) {
        self.0.signalling_connections.dec();
    }
}
