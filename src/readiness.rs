//! Whether the instance takes calls: said by background work and by the drain, asked by every edge.

use tokio::sync::watch;

/// Whether the instance takes calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// It does.
    Ready,
    /// It does not, because the store is out of reach.
    NotReady,
    /// It does not, and will not again.
    Draining,
}

/// The instance's readiness, shared by those who set it and those who watch it.
#[derive(Clone)]
pub struct ReadinessState(watch::Sender<Readiness>);

impl Default for ReadinessState {
    /// Not ready until set.
    fn default() -> Self {
        Self(watch::Sender::new(Readiness::NotReady))
    }
}

impl ReadinessState {
    /// Sets whether the instance takes calls; watchers hear of it when it changes. A draining instance stays so to its end,
    /// whatever a last probe of the store finds.
    pub fn set(&self, readiness: Readiness) {
        self.0.send_if_modified(|current| {
            let changes = *current != readiness && *current != Readiness::Draining;
            if changes {
                *current = readiness;
            }
            changes
        });
    }

    /// What it was last set to.
    pub fn get(&self) -> Readiness {
        *self.0.borrow()
    }

    /// Hears of every change.
    pub fn watch(&self) -> watch::Receiver<Readiness> {
        self.0.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draining_instance_is_never_ready_again() {
        let state = ReadinessState::default();
        assert_eq!(state.get(), Readiness::NotReady);
        for (set, then) in [
            (Readiness::Ready, Readiness::Ready),
            (Readiness::NotReady, Readiness::NotReady),
            (Readiness::Draining, Readiness::Draining),
            (Readiness::Ready, Readiness::Draining),
        ] {
            state.set(set);
            assert_eq!(state.get(), then);
        }
    }
}
