//! The thread that talks to IPVS, so that a slow kernel delays no check.
//!
//! What was read or written last is taken for what is there: only what has to change is written, and what an
//! administrator changed by hand stays until keepalived's own state of it changes, as in keepalived. After anything
//! unexpected the table is read anew.
//!
//! A verdict or a drain changes few services: it is planned with those alone, whatever else there is, and connections are
//! counted without any plan.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use ipvs_control::socket::Setting;
use ipvs_control::types::{DestinationEntry, SyncDaemon, SyncRole, Timeouts};
use ipvs_control::{Change, Pool, ServiceAddress, plan};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use vip_netlink::nft::Marking;

use super::timeouts::ChangedTimeouts;

/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// So many services are counted before it is looked whether something else is wanted.
const COUNTED_AT_ONCE: usize = 32;

/// Several times what the thread needs: with `checker_no_swap` all of it is in memory.
const STACK: usize = 512 << 10;

/// IPVS, or something like it.
pub(crate) trait Table: Send {
    /// Every service with its destinations.
    fn dump(&mut self) -> io::Result<Vec<Pool>>;
    /// Makes the changes in order; each that was refused.
    fn apply(&mut self, changes: &[Change]) -> io::Result<Vec<Refused>>;
    /// Removes everything, whoever made it.
    fn flush(&mut self) -> io::Result<()>;
    /// How long idle connections are kept.
    fn timeouts(&mut self) -> io::Result<Timeouts>;
    /// Sets how long idle connections are kept; a time of 0 stays as it is.
    fn set_timeouts(&mut self, timeouts: Timeouts) -> io::Result<()>;
    /// Starts this sync daemon in place of whichever of its role runs.
    fn start_sync_daemon(&mut self, daemon: &SyncDaemon) -> io::Result<()>;
    /// Stops the sync daemon of this role, if one runs.
    fn stop_sync_daemon(&mut self, role: SyncRole) -> io::Result<()>;
    /// The destinations of a service with their connections; `None` if there is no such service.
    fn destinations(&mut self, service: ServiceAddress) -> io::Result<Option<Vec<DestinationEntry>>>;
    /// Marks packets as `wanted`, with tables of nftables; those of the other names in `ours` go.
    fn mark(&mut self, wanted: Option<&Marking>, ours: &BTreeSet<String>) -> Result<(), String>;
}

/// A change that the kernel did not take.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Refused {
    /// The change.
    pub(crate) change: Change,
    /// What most likely is the matter.
    pub(crate) setting: Option<Setting>,
    /// What was tried and why it failed.
    pub(crate) text: String,
}

/// Something that failed and will be tried again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Failure {
    /// A change of the table.
    Change(Refused),
    /// A sync daemon.
    SyncDaemon(String),
    /// The tables that mark packets.
    Marking(String),
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
    /// Everything goes before, once, whoever made it; also for later wishes until it has gone.
    pub(crate) flush: bool,
    /// How long idle connections are kept; a time of 0 stays as it is.
    pub(crate) timeouts: Timeouts,
    /// Those that go back to what they were, where nobody else has changed them.
    pub(crate) restore: Option<ChangedTimeouts>,
    /// The packets that are marked for these services.
    pub(crate) marking: Option<Arc<Marking>>,
    /// The names of the tables for it that belong to us.
    pub(crate) tables: BTreeSet<String>,
    /// The sync daemons that run.
    pub(crate) sync_daemons: Vec<SyncDaemon>,
    /// The roles whose sync daemon belongs to us: it stops where it is not wanted.
    pub(crate) sync_ours: BTreeSet<SyncRole>,
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
    /// What failed because the table was not as it was known, and was mended from what is there.
    pub(crate) mended: Vec<Failure>,
    /// Everything is as wished.
    pub(crate) complete: bool,
}

/// The destinations of services with their connections.
pub(crate) type Counts = BTreeMap<ServiceAddress, Vec<DestinationEntry>>;

/// What the thread is asked for.
#[derive(Debug)]
enum Task {
    Wish(Wish),
    Count(Question),
}

#[derive(Debug)]
enum Wish {
    /// All of this.
    All(Box<Wanted>),
    /// These services like this, and everything else as it was wished for last.
    Some { pools: Vec<Pool>, number: u64 },
}

/// The connections of services.
#[derive(Debug)]
struct Question {
    /// Those that were not counted yet.
    services: std::vec::IntoIter<ServiceAddress>,
    number: u64,
    counts: Counts,
}

/// What is to be done: wishes first, so that no long count keeps a server in use that has failed.
#[derive(Debug, Default)]
struct Waiting {
    wishes: VecDeque<Wish>,
    questions: VecDeque<Question>,
}

impl Waiting {
    fn push(&mut self, task: Task) {
        match task {
            Task::Wish(wish) => self.wishes.push_back(wish),
            Task::Count(question) => self.questions.push_back(question),
        }
    }

    /// Wishes before one for everything are for nothing; only that they wanted everything to go counts still.
    fn forget_replaced(&mut self) {
        let Some(last) = self.wishes.iter().rposition(|wish| matches!(wish, Wish::All(_))) else { return };
        let replaced = self.wishes.drain(..last);
        let flush = replaced.filter(|wish| matches!(wish, Wish::All(wanted) if wanted.flush)).count() > 0;
        if let Some(Wish::All(wanted)) = self.wishes.front_mut() {
            wanted.flush |= flush;
        }
    }
}

/// What the thread says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// What came of a wish.
    Applied(Applied),
    /// The connections of the services that were to be counted, without those that could not be.
    Counted {
        /// The number of the question.
        number: u64,
        /// What there is.
        counts: Counts,
    },
}

/// The thread, seen from the worker. Ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Kernel {
    tasks: mpsc::Sender<Task>,
    said: UnboundedReceiver<Said>,
}

impl Kernel {
    /// Starts the thread.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub(crate) fn start(table: Box<dyn Table>) -> io::Result<Self> {
        let (tasks, inbox) = mpsc::channel();
        let (outbox, said) = unbounded_channel();
        let thread = std::thread::Builder::new().name("ipvs".into()).stack_size(STACK);
        thread.spawn(move || Writer::new(table, outbox).run(&inbox))?;
        Ok(Self { tasks, said })
    }

    /// Asks for this table; wishes that have not been begun are replaced.
    pub(crate) fn want(&self, wanted: Wanted) {
        self.ask(Task::Wish(Wish::All(Box::new(wanted))));
    }

    /// Asks for these services in a table that stays as it is otherwise. One [`want`](Self::want) comes before.
    pub(crate) fn adjust(&self, pools: Vec<Pool>, number: u64) {
        self.ask(Task::Wish(Wish::Some { pools, number }));
    }

    /// Asks for the connections of these services; `number` counts such questions.
    pub(crate) fn count(&self, services: Vec<ServiceAddress>, number: u64) {
        let question = Question { services: services.into_iter(), number, counts: Counts::new() };
        self.ask(Task::Count(question));
    }

    fn ask(&self, task: Task) {
        // A thread that is gone shows as the end of what it says.
        let _ = self.tasks.send(task);
    }

    /// What it says next, `None` when the thread is gone. May be dropped without losing anything.
    pub(crate) async fn next(&mut self) -> Option<Said> {
        self.said.recv().await
    }
}

/// Makes IPVS as wanted, once and in this thread. What failed.
pub(crate) fn carry_out(table: Box<dyn Table>, wanted: &Wanted) -> Vec<Failure> {
    let (outbox, _) = unbounded_channel();
    let mut writer = Writer::new(table, outbox);
    writer.flush = wanted.flush;
    writer.carry_out(wanted)
}

struct Writer {
    table: Box<dyn Table>,
    outbox: UnboundedSender<Said>,
    /// What was wished for last.
    wanted: Wanted,
    /// The table as far as it is known.
    present: Option<Vec<Pool>>,
    /// Everything has to go first.
    flush: bool,
    /// When to try once more what failed.
    retry_at: Option<Instant>,
    /// What was last set.
    timeouts: Timeouts,
    /// What is marked, once it is, and whose tables are gone.
    marked: Option<(Option<Arc<Marking>>, BTreeSet<String>)>,
    /// What runs, once it does.
    sync_daemons: Option<Vec<SyncDaemon>>,
    /// What failed last.
    failures: Vec<Failure>,
    /// What failed at the first attempt only.
    mended: Vec<Failure>,
}

impl Writer {
    fn new(table: Box<dyn Table>, outbox: UnboundedSender<Said>) -> Self {
        Self {
            table,
            outbox,
            wanted: Wanted::default(),
            present: None,
            flush: false,
            retry_at: None,
            timeouts: Timeouts::default(),
            marked: None,
            sync_daemons: None,
            failures: Vec::new(),
            mended: Vec::new(),
        }
    }

    fn run(mut self, inbox: &Receiver<Task>) {
        let mut waiting = Waiting::default();
        loop {
            if waiting.wishes.is_empty() && waiting.questions.is_empty() {
                match self.wait(inbox) {
                    Ok(task) => waiting.push(task),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
            inbox.try_iter().for_each(|task| waiting.push(task));
            waiting.forget_replaced();
            let said = match waiting.wishes.pop_front() {
                Some(wish) => Some(self.fulfil(wish)),
                None if self.retry_at.is_some_and(|at| at <= Instant::now()) => Some(self.work()),
                None => None,
            };
            if said.is_some_and(|said| self.outbox.send(said).is_err()) {
                return;
            }
            let counted = waiting.questions.pop_front().and_then(|mut question| {
                let done = self.count(&mut question);
                if done.is_none() {
                    waiting.questions.push_front(question);
                }
                done
            });
            if counted.is_some_and(|counted| self.outbox.send(counted).is_err()) {
                return;
            }
        }
    }

    fn fulfil(&mut self, wish: Wish) -> Said {
        match wish {
            Wish::All(wanted) => {
                self.flush |= wanted.flush;
                self.wanted = *wanted;
                self.work()
            }
            Wish::Some { pools, number } => self.adjust(pools, number),
        }
    }

    /// The next task, or the time to try something once more.
    fn wait(&self, inbox: &Receiver<Task>) -> Result<Task, RecvTimeoutError> {
        match self.retry_at {
            Some(at) => inbox.recv_timeout(at.saturating_duration_since(Instant::now())),
            None => inbox.recv().map_err(RecvTimeoutError::from),
        }
    }

    /// Makes everything as it was wished for last.
    fn work(&mut self) -> Said {
        let wanted = std::mem::take(&mut self.wanted);
        let failures = self.carry_out(&wanted);
        self.wanted = wanted;
        self.report(failures)
    }

    /// These services are all that there is to do in the table. What failed before, elsewhere in it or beside it, is tried
    /// again when it is time.
    fn adjust(&mut self, pools: Vec<Pool>, number: u64) -> Said {
        self.wanted.number = number;
        replace(&mut self.wanted.pools, &pools);
        let present = self.present.take();
        if !present.is_some_and(|present| self.write_some(&pools, present)) {
            return self.work();
        }
        let retry_at = self.retry_at;
        let said = self.report(self.failures.clone());
        self.retry_at = retry_at;
        said
    }

    /// Makes these services as wanted, where this table is there. Otherwise it is not known any more.
    fn write_some(&mut self, pools: &[Pool], mut present: Vec<Pool>) -> bool {
        let changed: HashSet<_> = pools.iter().map(|pool| pool.service.address).collect();
        let there: Vec<_> = present.iter().filter(|pool| changed.contains(&pool.service.address)).cloned().collect();
        let changes = plan(pools, &there, &BTreeSet::new());
        let done = match self.table.apply(&changes) {
            _ if changes.is_empty() => true,
            Ok(failures) => {
                self.mended = failures.into_iter().map(Failure::Change).collect();
                self.mended.is_empty()
            }
            Err(error) => {
                self.mended = vec![Failure::table("changing the table", &error)];
                false
            }
        };
        if done {
            replace(&mut present, pools);
            self.present = Some(present);
        }
        done
    }

    fn report(&mut self, failures: Vec<Failure>) -> Said {
        let complete = failures.is_empty();
        self.retry_at = (!complete).then(|| Instant::now() + RETRY);
        let known: HashSet<_> = std::mem::replace(&mut self.failures, failures).into_iter().collect();
        let failures = self.failures.iter().filter(|failure| !known.contains(*failure)).cloned().collect();
        let mut still: HashSet<_> = self.failures.iter().collect();
        let mended = std::mem::take(&mut self.mended);
        let mended = mended.iter().filter(|failure| still.insert(failure)).cloned().collect();
        Said::Applied(Applied { number: self.wanted.number, failures, mended, complete })
    }

    /// In keepalived's order: time-outs and sync daemons come before the services, marks behind them. Returns what failed.
    fn carry_out(&mut self, wanted: &Wanted) -> Vec<Failure> {
        if self.flush
            && let Err(error) = self.flush()
        {
            return vec![Failure::table("removing all services", &error)];
        }
        let mut failures = Vec::from_iter(self.set_timeouts(wanted.timeouts));
        failures.extend(wanted.restore.as_ref().and_then(|changed| self.restore_timeouts(changed)));
        failures.extend(self.run_sync_daemons(wanted));
        failures.extend(self.reconcile(wanted));
        // A packet that is marked finds its service.
        failures.extend(self.mark(wanted));
        failures
    }

    fn mark(&mut self, wanted: &Wanted) -> Option<Failure> {
        let is_done = |(marking, tables): &(_, _)| *marking == wanted.marking && *tables == wanted.tables;
        if self.marked.as_ref().is_some_and(is_done) {
            return None;
        }
        let failure = self.table.mark(wanted.marking.as_deref(), &wanted.tables).err().map(Failure::Marking);
        self.marked = failure.is_none().then(|| (wanted.marking.clone(), wanted.tables.clone()));
        failure
    }

    fn flush(&mut self) -> io::Result<()> {
        self.present = None;
        self.table.flush()?;
        self.flush = false;
        Ok(())
    }

    fn set_timeouts(&mut self, wanted: Timeouts) -> Option<Failure> {
        if self.timeouts == wanted {
            return None;
        }
        // Whoever sets none any more has them put back: the same ones are set anew when they are wanted again.
        if wanted == Timeouts::default() {
            self.timeouts = wanted;
            return None;
        }
        let failure = self.table.set_timeouts(wanted).err().map(|error| Failure::table("setting time-outs", &error));
        self.timeouts = if failure.is_none() { wanted } else { Timeouts::default() };
        failure
    }

    fn restore_timeouts(&mut self, changed: &ChangedTimeouts) -> Option<Failure> {
        let before = self.table.timeouts().map(|now| changed.to_restore(now));
        let restored = before.and_then(|before| match before == Timeouts::default() {
            true => Ok(()),
            false => self.table.set_timeouts(before),
        });
        restored.err().map(|error| Failure::table("setting time-outs as they were", &error))
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
        if first.is_empty() {
            return first;
        }
        self.mended.extend(first);
        let failures = self.attempt(wanted);
        // What is refused now may be for good: verdicts of other servers are planned alone all the same.
        if !failures.is_empty() {
            self.present = self.table.dump().ok();
        }
        failures
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

    /// Some more of them; the answer once there are no more. A service that cannot be read now is read the next time; one
    /// that is not there has nothing.
    fn count(&mut self, Question { services, number, counts }: &mut Question) -> Option<Said> {
        for service in services.by_ref().take(COUNTED_AT_ONCE) {
            if let Ok(destinations) = self.table.destinations(service) {
                counts.insert(service, destinations.unwrap_or_default());
            }
        }
        (services.len() == 0).then(|| Said::Counted { number: *number, counts: std::mem::take(counts) })
    }
}

/// Puts `newer` in the place of those of the same services.
fn replace(pools: &mut Vec<Pool>, newer: &[Pool]) {
    let mut newer: BTreeMap<_, _> = newer.iter().map(|pool| (pool.service.address, pool)).collect();
    for pool in pools.iter_mut() {
        if let Some(newer) = newer.remove(&pool.service.address) {
            pool.clone_from(newer);
        }
    }
    pools.extend(newer.into_values().cloned());
}

/// The table after the plan for `wanted` was carried out.
fn after(present: Vec<Pool>, wanted: &Wanted) -> Vec<Pool> {
    let mut replaced = HashSet::new();
    // As in a plan, of two for one service the first counts.
    let first: Vec<_> = wanted.pools.iter().filter(|pool| replaced.insert(pool.service.address)).cloned().collect();
    let gone = |service: &ServiceAddress| wanted.ours.contains(service) || replaced.contains(service);
    let others = present.into_iter().filter(|pool| !gone(&pool.service.address));
    others.chain(first).collect()
}

#[cfg(test)]
pub(super) mod tests;
