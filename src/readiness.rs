//! Whether the instance takes calls. Background work and the drain set it; every edge reads it.

use tokio::sync::watch;

/// Whether the instance takes calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// It takes calls.
    Ready,
    /// It does not, because the store is unavailable.
    NotReady,
    /// It does not, because it is shutting down.
    Draining,
}

/// The instance's readiness, shared by writers and watchers.
#[derive(Clone)]
pub struct ReadinessState(watch::Sender<Readiness>);

impl Default for ReadinessState {
    /// Not ready until set.
    fn default() -> Self {
        Self(watch::Sender::new(Readiness::NotReady))
    }
}

impl ReadinessState {
    /// Sets the readiness and notifies watchers if it changes. Draining is final, whatever a late probe of the store finds.
    pub fn set(&self, readiness: Readiness) {
        self.0.send_if_modified(|current| {
            let changes = *current != readiness && *current != Readiness::Draining;
            if changes {
                *current = readiness;
            }
            changes
        });
    }

    /// The current readiness.
    pub fn get(&self) -> Readiness {
        *self.0.borrow()
    }

    /// Watches for changes.
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
