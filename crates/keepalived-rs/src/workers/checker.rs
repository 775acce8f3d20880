//! The checker worker: health checks, virtual servers and the kernel's IPVS table.

mod balancer;
mod kernel;
mod notices;

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::time::Duration;

use health_checkers::driver::{Driver, Event};
use ipvs_control::socket::{ExchangeError, Socket};
use ipvs_control::{Change, Pool};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout};
use tracing::{debug, error, info, warn};

use self::balancer::{Balancer, CheckId, Effect, Plan};
use self::kernel::{Applied, Kernel, Table, Wanted};
use self::notices::Notices;
use super::lateness::Lateness;
use super::port::Port;
use super::scheduling::{self, Scheduling};
use super::signals;
use crate::config::checker::CheckerPart;
use crate::config::process::ProcessPart;
use crate::ipc::{self, Channel, Common, Fact, NotifyAck, Order, Outbox, Report, Role, RunnerSays};

/// How often the supervisor hears from this worker.
const BEAT: Duration = Duration::from_millis(250);

/// How long it may hear nothing: a check that is judged late costs less than all of them judged anew.
const BEAT_LIMIT: Duration = Duration::from_secs(10);

/// How long a stop waits for its last messages to be taken.
const FAREWELL: Duration = Duration::from_secs(1);

/// How long the kernel may take for one list of changes before the list is looked at again.
const APPLY_LIMIT: Duration = Duration::from_secs(1);

/// Descriptors that the tries of checks leave for everything else.
const RESERVED_DESCRIPTORS: u64 = 64;

/// The exit status of a start without IPVS (`behaviour.md` §1.2).
const EXIT_FATAL: u8 = 1;

/// The exit status of a refused configuration.
const EXIT_CONFIG: u8 = 2;

/// The exit status of an internal error.
const EXIT_INTERNAL: u8 = 70;

/// Runs until the supervisor says stop or is gone; returns the exit status.
pub(crate) fn run(channel: Channel, common: &Common) -> anyhow::Result<u8> {
    let in_flight = in_flight(raise_descriptor_limit());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        signals::leave_to_supervisor()?;
        serve(channel, common.dont_release_ipvs, in_flight, || {
            let socket = Socket::open().map_err(|error| error.to_string())?;
            Ok(Box::new(socket) as Box<dyn Table>)
        })
        .await
    })
}

/// Makes the hard limit the soft one, which systemd sets for programs that use `select`. Returns how many descriptors
/// this process may have; `None` for any number.
fn raise_descriptor_limit() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(error) => {
            warn!("cannot raise the limit of open files: {error}");
            current
        }
    }
}

/// How many tries may be under way at once, each with a descriptor, so that none fails for want of one.
fn in_flight(descriptors: Option<u64>) -> NonZeroUsize {
    let free = descriptors.map_or(u64::MAX, |descriptors| descriptors.saturating_sub(RESERVED_DESCRIPTORS));
    let free = NonZeroUsize::new(usize::try_from(free).unwrap_or(usize::MAX));
    free.unwrap_or(NonZeroUsize::MIN).min(Driver::<CheckId>::DEFAULT_IN_FLIGHT)
}

impl Table for Socket {
    fn dump(&mut self) -> io::Result<Vec<Pool>> {
        Self::dump(self).map(|table| table.pools()).map_err(io::Error::other)
    }

    fn apply(&mut self, changes: &[Change]) -> io::Result<Vec<String>> {
        let mut rest = changes;
        let mut failures = Vec::new();
        while !rest.is_empty() {
            let report =
                Self::apply(self, rest, APPLY_LIMIT).map_err(|error: ExchangeError| io::Error::other(error))?;
            failures.extend(report.failures.iter().map(ToString::to_string));
            rest = rest.get(report.sent.max(1)..).unwrap_or_default();
        }
        Ok(failures)
    }
}

/// Everything but the process's signals and the kernel. `open` is called for the first configuration.
async fn serve<O>(channel: Channel, keep_at_stop: bool, in_flight: NonZeroUsize, open: O) -> anyhow::Result<u8>
where
    O: FnMut() -> Result<Box<dyn Table>, String>,
{
    let mut worker = Worker::new(Port::new(channel)?, in_flight, open);
    worker.work().await?;
    worker.stop(keep_at_stop).await;
    Ok(0)
}

struct Worker<O> {
    supervisor: Port,
    outbox: Outbox,
    /// All that was said to the supervisor is on its way.
    flushed: bool,
    runner: Option<Port>,
    notices: Notices,
    /// All that was said to the runner is on its way.
    noticed: bool,
    open: O,
    kernel: Option<Kernel>,
    /// The wish that the kernel works at.
    wish: u64,
    in_flight: bool,
    /// The wanted table is another than the one last wished for.
    dirty: bool,
    prepared: Option<(u64, Plan, ProcessPart)>,
    /// The configuration that is in force once the kernel has it.
    committing: Option<Committing>,
    /// The supervisor does not know yet which services become ours.
    unannounced: bool,
    balancer: Balancer,
    driver: Driver<CheckId>,
    beat: Interval,
    scheduling: Scheduling,
    /// Of the beat, which stands for all timers.
    lateness: Lateness,
}

/// A configuration on its way into the kernel.
struct Committing {
    generation: u64,
    /// The wish that it is part of, once there is one.
    wish: Option<u64>,
}

/// What the worker waits for.
enum Wake {
    Order(io::Result<Option<(Order, Vec<OwnedFd>)>>),
    Runner(io::Result<Option<(RunnerSays, Vec<OwnedFd>)>>),
    Applied(Option<Applied>),
    Checked(Event<CheckId>),
    /// With the time at which it was due.
    Beat(Instant),
    Room,
}

impl<O: FnMut() -> Result<Box<dyn Table>, String>> Worker<O> {
    fn new(supervisor: Port, in_flight: NonZeroUsize, open: O) -> Self {
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            supervisor,
            outbox: Outbox::default(),
            flushed: true,
            runner: None,
            notices: Notices::default(),
            noticed: true,
            open,
            kernel: None,
            wish: 0,
            in_flight: false,
            dirty: false,
            prepared: None,
            committing: None,
            unannounced: false,
            balancer: Balancer::new(RandomState::new().hash_one("warmup")),
            driver: Driver::new(in_flight),
            beat,
            scheduling: Scheduling::default(),
            lateness: Lateness::default(),
        }
    }

    /// Until the stop is ordered or the supervisor is gone.
    async fn work(&mut self) -> anyhow::Result<()> {
        loop {
            self.carry_out();
            self.speak();
            self.wish();
            match self.wake().await {
                Wake::Order(Ok(None | Some((Order::Stop, _)))) => return Ok(()),
                Wake::Order(Ok(Some((order, fds)))) => self.obey(order, fds)?,
                Wake::Order(Err(error)) => return Err(error.into()),
                Wake::Runner(Ok(Some((RunnerSays::Taken(NotifyAck { number }), _)))) => {
                    self.notices.acknowledged(number)
                }
                // No check depends on one.
                Wake::Runner(Ok(Some((RunnerSays::Tracker(_), _)))) => {}
                // The supervisor starts another one and connects it.
                Wake::Runner(Ok(None) | Err(_)) => self.runner = None,
                Wake::Applied(Some(applied)) => self.applied(&applied),
                Wake::Applied(None) => anyhow::bail!("the thread that talks to IPVS is gone"),
                Wake::Checked(event) => {
                    self.balancer.handle_event(&event);
                    self.dirty |= event.report.changed || event.report.first;
                }
                Wake::Beat(due) => self.take_beat(due),
                Wake::Room => {}
            }
        }
    }

    async fn wake(&mut self) -> Wake {
        tokio::select! {
            order = self.supervisor.receive() => Wake::Order(order),
            _ = self.supervisor.writable(), if !self.flushed => Wake::Room,
            wake = listen(self.runner.as_ref(), !self.noticed) => wake,
            applied = next_applied(self.kernel.as_mut()) => Wake::Applied(applied),
            event = self.driver.next_event() => Wake::Checked(event),
            due = self.beat.tick() => Wake::Beat(due),
        }
    }

    fn take_beat(&mut self, due: Instant) {
        scheduling::note_lateness(&mut self.lateness, due.elapsed());
        if self.flushed {
            self.outbox.push(Report::Lateness(self.lateness.histogram));
            self.outbox.push(Report::Beat);
        }
    }

    fn obey(&mut self, order: Order, mut fds: Vec<OwnedFd>) -> anyhow::Result<()> {
        match order {
            Order::Resume => {
                let fd = fds.pop().ok_or_else(|| anyhow::anyhow!("facts without a memfd"))?;
                self.balancer.resume(ipc::unseal::<Vec<Fact>>(&fd)?);
            }
            Order::Prepare { generation, .. } => {
                let report = match self.prepare(generation, fds.pop()) {
                    Ok(()) => Report::Prepared { generation, beat_limit: Some(BEAT_LIMIT) },
                    Err((exit, why)) => Report::Rejected { generation, exit, why },
                };
                self.outbox.push(report);
            }
            Order::Commit { generation } => {
                if let Some((_, plan, process)) = self.prepared.take_if(|(prepared, ..)| *prepared == generation) {
                    self.follow_process(&process);
                    self.commit(generation, plan);
                }
            }
            Order::Abandon { generation } => {
                self.prepared.take_if(|(prepared, ..)| *prepared == generation);
            }
            Order::Connect { peer: Role::Runner } => {
                let fd = fds.pop().ok_or_else(|| anyhow::anyhow!("a connection without a socket"))?;
                self.runner = Some(Port::new(fd.into())?);
                self.notices.connected();
            }
            Order::Hello(..) | Order::Read(_) | Order::Connect { .. } | Order::Listen | Order::Noted | Order::Stop => {}
        }
        Ok(())
    }

    /// Finds out whether the configuration can run here. Changes nothing in the kernel.
    fn prepare(&mut self, generation: u64, fd: Option<OwnedFd>) -> Result<(), (u8, String)> {
        let part = fd.ok_or_else(|| io::ErrorKind::InvalidData.into()).and_then(|fd| ipc::unseal::<CheckerPart>(&fd));
        let part = part.map_err(|error| {
            (EXIT_INTERNAL, format!("the checker cannot read its part of the configuration: {error}"))
        })?;
        let process = part.process.clone();
        let plan = Plan::new(part).map_err(|error| (EXIT_CONFIG, error.to_string()))?;
        if self.kernel.is_none() {
            let table = (self.open)().map_err(|why| (EXIT_FATAL, why))?;
            let kernel = Kernel::start(table).map_err(|error| (EXIT_FATAL, format!("starting a thread: {error}")))?;
            self.kernel = Some(kernel);
        }
        self.prepared = Some((generation, plan, process));
        Ok(())
    }

    fn follow_process(&mut self, process: &ProcessPart) {
        scheduling::set_name(process.name.as_deref());
        self.lateness.configure(process.lateness, process.real_time);
        self.scheduling.apply(process, || {});
    }

    fn commit(&mut self, generation: u64, plan: Plan) {
        let checks = self.balancer.configure(plan);
        for id in checks.removed {
            self.driver.remove(&id);
        }
        for (id, schedule, probe) in checks.added {
            self.driver.add(id, schedule, probe);
            self.driver.activate(&id);
        }
        self.dirty = true;
        self.unannounced = true;
        self.committing = Some(Committing { generation, wish: None });
    }

    fn applied(&mut self, applied: &Applied) {
        for failure in &applied.failures {
            error!("IPVS: {failure}");
        }
        if applied.number != self.wish {
            return;
        }
        self.in_flight = false;
        if applied.complete && !self.dirty {
            self.balancer.handle_applied();
        }
        let done = self.committing.take_if(|committing| committing.wish.is_some_and(|wish| wish <= applied.number));
        if let Some(Committing { generation, .. }) = done {
            self.outbox.push(Report::Committed { generation });
        }
    }

    /// Asks the kernel for what is wanted, unless it is busy: what comes meanwhile is asked for at once. Ownership is
    /// announced before.
    fn wish(&mut self) {
        let Some(kernel) = &self.kernel else { return };
        if !self.dirty || self.in_flight || self.unannounced {
            return;
        }
        self.wish += 1;
        if let Some(Committing { wish: wish @ None, .. }) = &mut self.committing {
            *wish = Some(self.wish);
        }
        self.in_flight = true;
        self.dirty = false;
        kernel.want(Wanted { pools: self.balancer.wanted(), ours: self.balancer.ours(), number: self.wish });
    }

    fn carry_out(&mut self) {
        while let Some(effect) = self.balancer.poll_effect() {
            match effect {
                Effect::Info(line) => info!("{line}"),
                Effect::Error(line) => error!("{line}"),
                Effect::Debug(line) => debug!("{line}"),
                Effect::Notify(event) => {
                    if !self.notices.push(event) {
                        error!("The runner does not answer: a notification is lost");
                    }
                }
                Effect::Remember(fact) => self.outbox.push(Report::Fact(fact)),
            }
        }
    }

    /// Sends what can be sent.
    fn speak(&mut self) {
        // A supervisor that is gone shows as the end of its orders.
        self.flushed = self.supervisor.flush(&mut self.outbox).unwrap_or(true);
        self.unannounced &= !self.flushed;
        self.noticed = true;
        if let Some(runner) = &self.runner {
            while let Some(notification) = self.notices.poll_send() {
                match runner.try_send(notification) {
                    Ok(true) => self.notices.sent(),
                    Ok(false) => return self.noticed = false,
                    // A runner that is gone shows as the end of its acknowledgements.
                    Err(_) => return,
                }
            }
        }
    }

    /// Withdraws everything and says so.
    async fn stop(&mut self, keep: bool) {
        self.balancer.stop();
        self.carry_out();
        if !keep {
            self.withdraw().await;
        }
        info!("Timers of the checker: {}", self.lateness.histogram);
        self.outbox.push(Report::Stopped);
        // Who does not listen learns it from the exit.
        let _ = timeout(FAREWELL, self.farewell()).await;
    }

    /// Removes our services from the kernel.
    async fn withdraw(&mut self) {
        let Some(kernel) = &mut self.kernel else { return };
        self.wish += 1;
        kernel.want(Wanted { pools: Vec::new(), ours: self.balancer.ours(), number: self.wish });
        while let Some(applied) = kernel.applied().await {
            if applied.number == self.wish {
                for failure in applied.failures {
                    error!("IPVS: left behind: {failure}");
                }
                return;
            }
        }
    }

    async fn farewell(&mut self) {
        loop {
            self.speak();
            let runner = self.runner.as_ref().filter(|_| !self.noticed);
            match (self.flushed, runner) {
                (true, None) => return,
                (false, _) => drop(self.supervisor.writable().await),
                (true, Some(runner)) => drop(runner.writable().await),
            }
        }
    }
}

/// The next sign from the runner; never, without one.
async fn listen(runner: Option<&Port>, full: bool) -> Wake {
    let Some(runner) = runner else { return std::future::pending().await };
    tokio::select! {
        ack = runner.receive() => Wake::Runner(ack),
        _ = runner.writable(), if full => Wake::Room,
    }
}

/// What came of the next wish; never, without a kernel.
async fn next_applied(kernel: Option<&mut Kernel>) -> Option<Applied> {
    match kernel {
        Some(kernel) => kernel.applied().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
