//! Chooses the SFU node of a session.

use std::sync::Arc;

use super::App;
use crate::domain::place::Driver;
use crate::domain::rules::create::UnplacedSession;
use crate::store::NewSession;

impl App {
    /// A new session, whose node is the one whose turn it is when the store takes the turn.
    pub(super) fn place_session(&self, unplaced: UnplacedSession) -> NewSession {
        let rotation = Arc::clone(&self.rotation);
        NewSession::new(move |turn| {
            let node_id = rotation.select(turn).clone();
            unplaced.clone().place(node_id, Driver::Builtin)
        })
    }
}
