//! Going: by one's own wish, or by a connection that was lost and did not come back.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Connection, Signalling};
use crate::app::changes::Decision;
use crate::domain::actor::{Actor, SystemCause};
use crate::domain::id::{SessionId, UserId};

impl Signalling {
    /// A connection is over. One who left is gone at once; one whose connection was lost has until the grace is over,
    /// counted from when they were last heard.
    pub fn disconnect(self: &Arc<Self>, connection: Connection, left: bool, heard: Instant) {
        if !self
            .connections
            .detach(&connection.session_id, &connection.user_id, connection.id)
        {
            // Replaced by a newer one, to which the participant belongs.
            return;
        }
        let app = Arc::clone(self);
        self.tasks.spawn(async move {
            let actor = if left {
                connection.actor()
            } else {
                let until = heard + app.stay.reconnect_grace;
                tokio::select! {
                    () = tokio::time::sleep_until(until) => {}
                    // Whoever is away when the instance goes is missed by the next one.
                    () = app.closing.cancelled() => return,
                }
                Actor::System(SystemCause::ConnectionLost)
            };
            // One who came back meanwhile has another connection, or is missed anew since that was lost.
            let Connection {
                session_id,
                user_id,
                id,
                ..
            } = &connection;
            if app.connections.stop_missing(session_id, user_id, *id) {
                app.depart(session_id, user_id, &actor).await;
            }
        });
    }

    async fn depart(&self, session_id: &SessionId, user_id: &UserId, actor: &Actor) {
        loop {
            let departed = self
                .changes
                .change(session_id, |session| {
                    let now = self.clock.now();
                    let change = session.departed(user_id, &self.instance_id, actor, now)?;
                    Ok(Decision::of(change, session))
                })
                .await;
            let Some(retry_after) = departed.err().and_then(|error| error.retry_after()) else {
                return;
            };
            tokio::select! {
                () = tokio::time::sleep(retry_after) => {}
                () = self.closing.cancelled() => return,
            }
        }
    }
}
