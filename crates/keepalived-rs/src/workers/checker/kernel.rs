//! The thread that talks to IPVS, so that a slow kernel delays no check.
//!
//! What was read or written last is taken for what is there: only what has to change is written, and what an
//! administrator changed by hand stays until keepalived's own state of it changes, as in keepalived. After anything
//! unexpected the table is read anew.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use ipvs_control::socket::Setting;
use ipvs_control::types::{DestinationEntry, SyncDaemon, SyncRole, Timeouts};
use ipvs_control::{Change, Pool, ServiceAddress, plan};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// IPVS, or something like it.
pub(crate) trait Table: Send {
    /// Every service with its destinations.
    fn dump(&mut self) -> io::Result<Vec<Pool>>;
    /// Makes the changes in order; each that was refused.
    fn apply(&mut self, changes: &[Change]) -> io::Result<Vec<Refused>>;
    /// Removes everything, whoever made it.
    fn flush(&mut self) -> io::Result<()>;
    /// Sets how long idle connections are kept.
    fn set_timeouts(&mut self, timeouts: Timeouts) -> io::Result<()>;
    /// Starts this sync daemon in place of whichever of its role runs.
    fn start_sync_daemon(&mut self, daemon: &SyncDaemon) -> io::Result<()>;
    /// Stops the sync daemon of this role, if one runs.
    fn stop_sync_daemon(&mut self, role: SyncRole) -> io::Result<()>;
    /// The destinations of a service with their connections; `None` if there is no such service.
    fn destinations(&mut self, service: ServiceAddress) -> io::Result<Option<Vec<DestinationEntry>>>;
}

/// A change that the kernel did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The change.
    pub(crate) change: Change,
    /// What most likely is the matter.
    pub(crate) setting: Option<Setting>,
    /// What was tried and why it failed.
    pub(crate) text: String,
}

/// Something that failed and will be tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// A change of the table.
    Change(Refused),
    /// A sync daemon.
    SyncDaemon(String),
    /// All of it, or none of the virtual servers in particular.
    Table(String),
}

impl Failure {
    fn table(what: &str, error: &io::Error) -> Self {
        Self::Table(format!("{what}: {error}"))
    }
}

/// What the table should hold, and the rest of IPVS.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Wanted {
    /// The services with their destinations.
    pub(crate) pools: Vec<Pool>,
    /// The services that belong to us; those of them that are not in `pools` are removed.
    pub(crate) ours: BTreeSet<ServiceAddress>,
    /// Everything goes before, once, whoever made it.
    pub(crate) flush: bool,
    /// How long idle connections are kept; a time of 0 stays as it is.
    pub(crate) timeouts: Timeouts,
    /// The sync daemons that run.
    pub(crate) sync_daemons: Vec<SyncDaemon>,
    /// The roles whose sync daemon belongs to us: it stops where it is not wanted.
    pub(crate) sync_ours: BTreeSet<SyncRole>,
    /// Services whose connections are counted.
    pub(crate) count: Vec<ServiceAddress>,
    /// Counts the wishes.
    pub(crate) number: u64,
}

/// What came of a wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Applied {
    /// The number of the wish.
    pub(crate) number: u64,
    /// What failed and did not fail the time before; it will be tried again.
    pub(crate) failures: Vec<Failure>,
    /// Everything is as wished.
    pub(crate) complete: bool,
    /// The destinations of the services that were to be counted; without those that could not be.
    pub(crate) counts: BTreeMap<ServiceAddress, Vec<DestinationEntry>>,
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
    /// The number of the wish that everything went for.
    flushed: Option<u64>,
    /// What was last set.
    timeouts: Timeouts,
    /// What runs, once it does.
    sync_daemons: Option<Vec<SyncDaemon>>,
    /// What failed last.
    failures: Vec<Failure>,
}

impl Writer {
    fn new(table: Box<dyn Table>, outbox: UnboundedSender<Applied>) -> Self {
        Self {
            table,
            outbox,
            present: None,
            flushed: None,
            timeouts: Timeouts::default(),
            sync_daemons: None,
            failures: Vec::new(),
        }
    }

    fn run(mut self, inbox: &Receiver<Wanted>) {
        let Ok(mut wanted) = inbox.recv() else { return };
        loop {
            while let Ok(newer) = inbox.try_recv() {
                wanted = newer;
            }
            let failures = self.carry_out(&wanted);
            let complete = failures.is_empty();
            let new = failures.iter().filter(|failure| !self.failures.contains(failure)).cloned().collect();
            self.failures = failures;
            let counts = self.count(&wanted.count);
            if self.outbox.send(Applied { number: wanted.number, failures: new, complete, counts }).is_err() {
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

    /// In keepalived's order: time-outs and sync daemons come before the services. Returns what failed.
    fn carry_out(&mut self, wanted: &Wanted) -> Vec<Failure> {
        if wanted.flush
            && self.flushed != Some(wanted.number)
            && let Err(error) = self.flush(wanted.number)
        {
            return vec![Failure::table("removing all services", &error)];
        }
        let mut failures = Vec::from_iter(self.set_timeouts(wanted.timeouts));
        failures.extend(self.run_sync_daemons(wanted));
        failures.extend(self.reconcile(wanted));
        failures
    }

    fn flush(&mut self, number: u64) -> io::Result<()> {
        self.present = None;
        self.table.flush()?;
        self.flushed = Some(number);
        Ok(())
    }

    fn set_timeouts(&mut self, wanted: Timeouts) -> Option<Failure> {
        if self.timeouts == wanted || wanted == Timeouts::default() {
            return None;
        }
        let failure = self.table.set_timeouts(wanted).err().map(|error| Failure::table("setting time-outs", &error));
        self.timeouts = if failure.is_none() { wanted } else { Timeouts::default() };
        failure
    }

    fn run_sync_daemons(&mut self, wanted: &Wanted) -> Vec<Failure> {
        if self.sync_daemons.as_ref() == Some(&wanted.sync_daemons) {
            return Vec::new();
        }
        let runs = |role: &SyncRole| wanted.sync_daemons.iter().any(|daemon| daemon.role == *role);
        let mut failures = Vec::new();
        for role in wanted.sync_ours.iter().filter(|role| !runs(role)) {
            failures.extend(self.table.stop_sync_daemon(*role).err());
        }
        for daemon in &wanted.sync_daemons {
            failures.extend(self.table.start_sync_daemon(daemon).err());
        }
        self.sync_daemons = failures.is_empty().then(|| wanted.sync_daemons.clone());
        failures.into_iter().map(|error| Failure::SyncDaemon(error.to_string())).collect()
    }

    /// Makes the table as wanted; after a failure once more from what is really there. Returns what still failed.
    fn reconcile(&mut self, wanted: &Wanted) -> Vec<Failure> {
        let first = self.attempt(wanted);
        if first.is_empty() { first } else { self.attempt(wanted) }
    }

    fn attempt(&mut self, wanted: &Wanted) -> Vec<Failure> {
        let present = match self.present.take().map_or_else(|| self.table.dump(), Ok) {
            Ok(present) => present,
            Err(error) => return vec![Failure::table("reading the table", &error)],
        };
        let changes = plan(&wanted.pools, &present, &wanted.ours);
        if changes.is_empty() {
            self.present = Some(present);
            return Vec::new();
        }
        match self.table.apply(&changes) {
            Ok(failures) if failures.is_empty() => {
                self.present = Some(after(present, wanted));
                Vec::new()
            }
            Ok(failures) => failures.into_iter().map(Failure::Change).collect(),
            Err(error) => vec![Failure::table("changing the table", &error)],
        }
    }

    /// A service that cannot be read now is read the next time; one that is not there has nothing.
    fn count(&mut self, services: &[ServiceAddress]) -> BTreeMap<ServiceAddress, Vec<DestinationEntry>> {
        let mut counts = BTreeMap::new();
        for service in services {
            if let Ok(destinations) = self.table.destinations(*service) {
                counts.insert(*service, destinations.unwrap_or_default());
            }
        }
        counts
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
