//! Which participants are connected to other instances.

use std::collections::HashMap;

use crate::domain::id::UserId;
use crate::domain::participant::{Participant, ParticipantStatus};

/// The participants in the call whose connection another instance holds, by the newest session that was read here.
#[derive(Default)]
pub(super) struct Elsewhere {
    instances: HashMap<UserId, String>,
    version: i64,
}

impl Elsewhere {
    /// Takes the participants of a session in a version, unless a newer one is known.
    pub(super) fn note(&mut self, version: i64, participants: &[Participant], own_instance: &str) {
        if version < self.version {
            return;
        }
        self.version = version;
        let is_elsewhere = |participant: &&Participant| {
            participant.status == ParticipantStatus::Admitted
                && participant.instance_id != own_instance
        };
        self.instances = participants
            .iter()
            .filter(is_elsewhere)
            .map(|participant| {
                let instance_id = participant.instance_id.clone();
                (participant.user_id.clone(), instance_id)
            })
            .collect();
    }

    /// A participant left by the event of that sequence.
    pub(super) fn forget(&mut self, user_id: &UserId, sequence: i64) {
        if sequence > self.version {
            self.instances.remove(user_id);
        }
    }

    pub(super) fn has(&self, user_id: &UserId) -> bool {
        self.instances.contains_key(user_id)
    }

    /// The instance that holds a participant, or all other instances that hold one; each once.
    pub(super) fn instances(&self, to: Option<&UserId>) -> Vec<String> {
        if let Some(to) = to {
            return self.instances.get(to).cloned().into_iter().collect();
        }
        let mut instances: Vec<_> = self.instances.values().cloned().collect();
        instances.sort_unstable();
        instances.dedup();
        instances
    }
}
