//! The thread that talks to IPVS, so that a slow kernel delays no check.
//!
//! What was read or written last is taken for what is there: only what has to change is written, and what an
//! administrator changed by hand stays until keepalived's own state of it changes, as in keepalived. After anything
//! unexpected the table is read anew.

use std::collections::BTreeSet;
use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use ipvs_control::{Change, Pool, ServiceAddress, plan};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// IPVS, or something like it.
pub(crate) trait Table: Send {
    /// Every service with its destinations.
    fn dump(&mut self) -> io::Result<Vec<Pool>>;
    /// Makes the changes in order; one sentence for each that failed.
    fn apply(&mut self, changes: &[Change]) -> io::Result<Vec<String>>;
}

/// What the table should hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Wanted {
    /// The services with their destinations.
    pub(crate) pools: Vec<Pool>,
    /// The services that belong to us; those of them that are not in `pools` are removed.
    pub(crate) ours: BTreeSet<ServiceAddress>,
    /// Counts the wishes.
    pub(crate) number: u64,
}

/// What came of a wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Applied {
    /// The number of the wish.
    pub(crate) number: u64,
    /// What failed and did not fail the time before; it will be tried again.
    pub(crate) failures: Vec<String>,
    /// Everything is as wished.
    pub(crate) complete: bool,
}

/// The thread, seen from the worker. Ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Kernel {
    wishes: mpsc::Sender<Wanted>,
    applied: UnboundedReceiver<Applied>,
}

impl Kernel {
    /// Starts the thread.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub(crate) fn start(table: Box<dyn Table>) -> io::Result<Self> {
        let (wishes, inbox) = mpsc::channel();
        let (outbox, applied) = unbounded_channel();
        std::thread::Builder::new().name("ipvs".into()).spawn(move || Writer::new(table, outbox).run(&inbox))?;
        Ok(Self { wishes, applied })
    }

    /// Asks for this table; a wish that has not been begun is replaced.
    pub(crate) fn want(&self, wanted: Wanted) {
        // A thread that is gone shows as the end of what came of the wishes.
        let _ = self.wishes.send(wanted);
    }

    /// What came of the next wish, `None` when the thread is gone. May be dropped without losing one.
    pub(crate) async fn applied(&mut self) -> Option<Applied> {
        self.applied.recv().await
    }
}

struct Writer {
    table: Box<dyn Table>,
    outbox: UnboundedSender<Applied>,
    /// The table as far as it is known.
    present: Option<Vec<Pool>>,
    /// What failed last.
    failures: Vec<String>,
}

impl Writer {
    fn new(table: Box<dyn Table>, outbox: UnboundedSender<Applied>) -> Self {
        Self { table, outbox, present: None, failures: Vec::new() }
    }

    fn run(mut self, inbox: &Receiver<Wanted>) {
        let Ok(mut wanted) = inbox.recv() else { return };
        loop {
            while let Ok(newer) = inbox.try_recv() {
                wanted = newer;
            }
            let failures = self.reconcile(&wanted);
            let complete = failures.is_empty();
            let new = failures.iter().filter(|failure| !self.failures.contains(failure)).cloned().collect();
            self.failures = failures;
            if self.outbox.send(Applied { number: wanted.number, failures: new, complete }).is_err() {
                return;
            }
            let next = if complete { inbox.recv().map_err(RecvTimeoutError::from) } else { inbox.recv_timeout(RETRY) };
            match next {
                Ok(newer) => wanted = newer,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Makes the table as wanted; after a failure once more from what is really there. Returns what still failed.
    fn reconcile(&mut self, wanted: &Wanted) -> Vec<String> {
        let first = self.attempt(wanted);
        if first.is_empty() { first } else { self.attempt(wanted) }
    }

    fn attempt(&mut self, wanted: &Wanted) -> Vec<String> {
        let present = match self.present.take().map_or_else(|| self.table.dump(), Ok) {
            Ok(present) => present,
            Err(error) => return vec![format!("reading the table: {error}")],
        };
        let changes = plan(&wanted.pools, &present, &wanted.ours);
        if changes.is_empty() {
            self.present = Some(present);
            return Vec::new();
        }
        match self.table.apply(&changes) {
            Ok(failures) if failures.is_empty() => {
                self.present = Some(after(present, wanted));
                failures
            }
            Ok(failures) => failures,
            Err(error) => vec![format!("changing the table: {error}")],
        }
    }
}

/// The table after the plan for `wanted` was carried out.
fn after(present: Vec<Pool>, wanted: &Wanted) -> Vec<Pool> {
    let gone = |pool: &Pool| {
        let address = pool.service.address;
        wanted.ours.contains(&address) || wanted.pools.iter().any(|wanted| wanted.service.address == address)
    };
    let others = present.into_iter().filter(|pool| !gone(pool));
    others.chain(wanted.pools.iter().cloned()).collect()
}

#[cfg(test)]
pub(super) mod tests;
