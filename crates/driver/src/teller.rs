//! The way from a task beside a Tor's connection to its service.

use onionweave_publish::Event;
use tokio::sync::mpsc;

/// The receiver is gone: nobody wants to hear more.
pub(super) struct Unheard;

/// Number of a task. The words of one that ended are passed over.
pub(super) type Run = u64;

/// The means by which a task tells of its instance.
#[derive(Clone, Debug)]
pub(super) struct Teller {
    run: Run,
    to: mpsc::Sender<(Run, Event)>,
}

impl Teller {
    pub(super) fn new(run: Run, to: mpsc::Sender<(Run, Event)>) -> Self {
        Self { run, to }
    }

    #[cfg(test)]
    pub(super) fn new_for_tests() -> (Self, mpsc::Receiver<(Run, Event)>) {
        let (to, from) = mpsc::channel(64);
        (Self::new(1, to), from)
    }

    pub(super) async fn tell(&self, event: Event) -> Result<(), Unheard> {
        self.to.send((self.run, event)).await.map_err(|_| Unheard)
    }
}
