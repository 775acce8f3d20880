//! The checker worker: health checks, virtual servers and the kernel's IPVS table.

mod addresses;
mod balancer;
mod errands;
mod held;
mod kernel;
pub(crate) mod leftovers;
mod marker;
mod namespace;
mod notices;
mod refusals;
mod requests;
mod timeouts;
mod unheard;

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::time::Duration;

use conf_parser::config::IpvsNamespace;
use health_checkers::driver::{Driver, Event};
use ipvs_control::socket::Socket;
use ipvs_control::types::{DestinationEntry, SyncDaemon, SyncRole, Timeouts};
use ipvs_control::{Change, Pool, ServiceAddress};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout};
use tracing::{debug, error, info, warn};
use vip_netlink::nft::Marking;
use vrrp_proto::Verdict;

pub(crate) use self::namespace::Namespaced;

use self::addresses::Addresses;
pub(crate) use self::balancer::is_of_departure as is_departure;
use self::balancer::{Balancer, CheckId, Effect, Plan, Wish};
use self::errands::{Ask, Errands};
use self::held::{Busy, Held, Later};
use self::kernel::{Applied, Counts, Kernel, Refused, Said, Table, Wanted};
use self::marker::Marker;
use self::notices::Notices;
use self::requests::Desk;
use super::lateness::Lateness;
use super::port::Port;
use super::scheduling::{self, Scheduling};
use super::signals;
use super::vrrp::clock;
use super::vrrp::facts::MOST_WORDS;
use crate::config::checker::CheckerPart;
use crate::config::process::ProcessPart;
use crate::control::{Guest, Request};
use crate::ipc::{
    self, Channel, Common, Fact, Notification, NotifyAck, Order, Outbox, Report, Role, RunnerSays, ToRunner,
    TrackerFact, TrackerName, TrackerState,
};
use crate::log;

/// How often the supervisor hears from this worker.
const BEAT: Duration = Duration::from_millis(250);

/// How long it may hear nothing: a check that is judged late costs less than all of them judged anew.
const BEAT_LIMIT: Duration = Duration::from_secs(10);

/// How often the connections of servers that are taken out of use are counted.
const COUNT: Duration = Duration::from_secs(1);

/// How long a stop waits for its last messages to be taken.
const FAREWELL: Duration = Duration::from_secs(1);

/// How long the runner may take to hear what a configuration led to.
const HEARING: Duration = Duration::from_secs(1);

/// How long the kernel may take for one list of changes before the list is looked at again.
const APPLY_LIMIT: Duration = Duration::from_secs(1);

/// How soon it is looked whether the log has written what it has.
const LOOK: Duration = Duration::from_millis(10);

/// Descriptors that the tries of checks leave for everything else.
const RESERVED_DESCRIPTORS: u64 = 64;

/// The exit status of a start without IPVS (`behaviour.md` §1.2).
const EXIT_FATAL: u8 = 1;

/// The exit status of a refused configuration.
const EXIT_CONFIG: u8 = 2;

/// The exit status of a stop that left services behind: the supervisor starts a clean-up.
const EXIT_INCOMPLETE: u8 = 3;

/// The exit status of an internal error.
const EXIT_INTERNAL: u8 = 70;

/// Runs until the supervisor says stop or is gone; returns the exit status.
///
/// `namespaced` is what was opened in the namespace of `net_namespace_ipvs`, if that is not the one of this process.
pub(crate) fn run(channel: Channel, common: &Common, mut namespaced: Option<Namespaced>) -> anyhow::Result<u8> {
    let in_flight = in_flight(raise_descriptor_limit());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        signals::leave_to_supervisor()?;
        let place = (common.dont_release_ipvs, common.ipvs_namespace.clone());
        serve(channel, place, in_flight, || Ok(Box::new(Balancing::open(namespaced.take())?) as Box<dyn Table>)).await
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

/// The kernel's part of balancing.
struct Balancing {
    ipvs: Socket,
    marker: Marker,
}

impl Balancing {
    /// In the network namespace of this process, or the one that was entered before.
    fn open(namespaced: Option<Namespaced>) -> Result<Self, String> {
        let (ipvs, marker) = match namespaced {
            Some(Namespaced { ipvs, marker, .. }) => (ipvs?, marker),
            None => (Socket::open().map_err(|error| error.to_string())?, Marker::default()),
        };
        Ok(Self { ipvs, marker })
    }
}

impl Table for Balancing {
    fn dump(&mut self) -> io::Result<Vec<Pool>> {
        self.ipvs.dump().map(|table| table.pools()).map_err(io::Error::other)
    }

    fn apply(&mut self, changes: &[Change]) -> io::Result<Vec<Refused>> {
        let mut rest = changes;
        let mut failures = Vec::new();
        while !rest.is_empty() {
            let report = self.ipvs.apply(rest, APPLY_LIMIT).map_err(io::Error::other)?;
            let refused = |failure: &ipvs_control::socket::Failure| Refused {
                change: failure.change,
                setting: failure.setting(),
                text: failure.to_string(),
            };
            failures.extend(report.failures.iter().map(refused));
            rest = rest.get(report.sent.max(1)..).unwrap_or_default();
        }
        Ok(failures)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.ipvs.flush().map_err(io::Error::other)
    }

    fn timeouts(&mut self) -> io::Result<Timeouts> {
        self.ipvs.timeouts().map_err(io::Error::other)
    }

    fn set_timeouts(&mut self, timeouts: Timeouts) -> io::Result<()> {
        self.ipvs.set_timeouts(timeouts).map_err(io::Error::other)
    }

    fn start_sync_daemon(&mut self, daemon: &SyncDaemon) -> io::Result<()> {
        self.ipvs.start_sync_daemon(daemon).map_err(io::Error::other)
    }

    fn stop_sync_daemon(&mut self, role: SyncRole) -> io::Result<()> {
        self.ipvs.stop_sync_daemon(role).map_err(io::Error::other)
    }

    fn destinations(&mut self, service: ServiceAddress) -> io::Result<Option<Vec<DestinationEntry>>> {
        self.ipvs.destinations(service).map_err(io::Error::other)
    }

    fn mark(&mut self, wanted: Option<&Marking>, ours: &BTreeSet<String>) -> Result<(), String> {
        self.marker.mark(wanted, ours)
    }
}

/// Everything but the process's signals and the kernel. `open` is called for the first configuration.
async fn serve<O>(
    channel: Channel,
    (keep_at_stop, namespace): (bool, Option<IpvsNamespace>),
    in_flight: NonZeroUsize,
    open: O,
) -> anyhow::Result<u8>
where
    O: FnMut() -> Result<Box<dyn Table>, String>,
{
    let mut worker = Worker::new(Port::new(channel)?, in_flight, open);
    worker.balancer.work_in(namespace);
    worker.work().await?;
    let clean = worker.stop(keep_at_stop).await;
    Ok(if clean { 0 } else { EXIT_INCOMPLETE })
}

struct Worker<O> {
    supervisor: Port,
    outbox: Outbox,
    /// All that was said to the supervisor is on its way.
    flushed: bool,
    /// Its socket is full.
    crowded: bool,
    /// Why something could not be said to it, which is not said again each time.
    unsaid: Option<String>,
    runner: Option<Port>,
    notices: Notices,
    /// What the runner runs for checks.
    errands: Errands,
    /// All that was said to the runner is on its way.
    noticed: bool,
    open: O,
    kernel: Option<Kernel>,
    /// The wish that the kernel works at.
    wish: u64,
    in_flight: bool,
    /// Once the kernel holds what was wished for, it holds nothing else of ours.
    cleaning: bool,
    prepared: Option<(u64, Plan, ProcessPart)>,
    /// The configuration that is in force once the kernel has it.
    committing: Option<Committing>,
    /// The configuration that is in force once the runner has heard what it led to.
    committed: Option<Committed>,
    /// What waits for the kernel to have it, and for the log.
    held: Held,
    /// So often the state file has to hear of services or words before the kernel does.
    unannounced: usize,
    balancer: Balancer,
    /// A configuration runs in this process, or is about to.
    configured: bool,
    /// A configuration runs already, in this process or in one before it of the same daemon.
    resumed: bool,
    /// The table is emptied with the next wish.
    flush: bool,
    /// Those of the host, while checks depend on them.
    addresses: Option<Addresses>,
    driver: Driver<CheckId>,
    beat: Interval,
    /// While connections are waited for.
    count: Interval,
    counting: Counting,
    /// Who asks, and whom an answer is owed.
    desk: Desk,
    scheduling: Scheduling,
    /// Of the beat, which stands for all timers.
    lateness: Lateness,
}

/// The connections that the kernel counts.
#[derive(Debug, Default)]
struct Counting {
    /// Those of servers that are taken out of use are to be counted.
    due: bool,
    /// Counts the questions.
    number: u64,
    /// The kernel has not answered the last one.
    in_flight: bool,
}

/// A configuration on its way into the kernel.
struct Committing {
    generation: u64,
    /// The wish that it is part of, once there is one.
    wish: Option<u64>,
}

/// A configuration that the kernel has.
struct Committed {
    generation: u64,
    /// The runner is waited for until then.
    until: Instant,
}

/// What the worker waits for.
enum Wake {
    Order(io::Result<Option<(Order, Vec<OwnedFd>)>>),
    Runner(io::Result<Option<(RunnerSays, Vec<OwnedFd>)>>),
    Kernel(Option<Said>),
    Checked(Event<CheckId>),
    Errand(Ask),
    Addresses(io::Result<()>),
    Count,
    Asked(Option<(Guest, Request)>),
    Overdue,
    Answer,
    /// With the time at which it was due.
    Beat(Instant),
    Room,
}

impl<O: FnMut() -> Result<Box<dyn Table>, String>> Worker<O> {
    fn new(supervisor: Port, in_flight: NonZeroUsize, open: O) -> Self {
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut count = interval(COUNT);
        count.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut balancer = Balancer::new(RandomState::new().hash_one("warmup"));
        // Higher than any of a predecessor: nobody tells a million a second.
        let first = clock::now().as_nanos() / 1000;
        balancer.count_from(first);
        Self {
            supervisor,
            outbox: Outbox::default(),
            flushed: true,
            crowded: false,
            unsaid: None,
            runner: None,
            notices: Notices::default(),
            errands: Errands::counting_from(first),
            noticed: true,
            open,
            kernel: None,
            wish: 0,
            in_flight: false,
            cleaning: false,
            prepared: None,
            committing: None,
            committed: None,
            held: Held::default(),
            unannounced: 0,
            balancer,
            configured: false,
            resumed: false,
            flush: false,
            addresses: None,
            driver: Driver::new(in_flight),
            beat,
            count,
            counting: Counting::default(),
            desk: Desk::default(),
            scheduling: Scheduling::default(),
            lateness: Lateness::default(),
        }
    }

    /// Until the stop is ordered or the supervisor is gone.
    async fn work(&mut self) -> anyhow::Result<()> {
        loop {
            self.carry_out();
            self.speak();
            self.report_commit();
            self.wish();
            self.ask_for_counts();
            match self.wake().await {
                Wake::Order(Ok(None | Some((Order::Stop, _)))) => return Ok(()),
                Wake::Order(Ok(Some((order, fds)))) => self.obey(order, fds)?,
                Wake::Order(Err(error)) => return Err(error.into()),
                Wake::Runner(Ok(Some((said, _)))) => self.hear_runner(said),
                // The supervisor starts another one and connects it, if there are scripts.
                Wake::Runner(Ok(None) | Err(_)) => {
                    self.runner = None;
                    if self.configured && self.balancer.handle_runner_gone() {
                        self.notices = Notices::default();
                        self.held.forget_notifications();
                    }
                }
                Wake::Kernel(Some(Said::Applied(applied))) => self.applied(&applied),
                Wake::Kernel(Some(Said::Counted { number, counts })) => self.counted(number, counts),
                Wake::Kernel(None) => anyhow::bail!("the thread that talks to IPVS is gone"),
                Wake::Checked(event) => self.balancer.handle_event(&event),
                Wake::Errand(ask) => self.errands.take(ask),
                Wake::Addresses(news) => {
                    news?;
                    self.look_at_addresses()?;
                }
                Wake::Count => {
                    self.balancer.handle_time(now());
                    self.counting.due = true;
                }
                Wake::Asked(Some((guest, request))) => self.hear_request(guest, request),
                Wake::Asked(None) => self.desk.close(),
                Wake::Overdue => self.desk.give_up(),
                Wake::Answer => self.tell_states(),
                Wake::Beat(due) => self.take_beat(due),
                Wake::Room => {}
            }
        }
    }

    async fn wake(&mut self) -> Wake {
        tokio::select! {
            order = self.supervisor.receive() => Wake::Order(order),
            _ = self.supervisor.writable(), if self.crowded => Wake::Room,
            wake = listen(self.runner.as_ref(), !self.noticed) => wake,
            said = next_said(self.kernel.as_mut()) => Wake::Kernel(said),
            event = self.driver.next_event() => Wake::Checked(event),
            ask = self.errands.next() => Wake::Errand(ask),
            news = changed(self.addresses.as_mut()) => Wake::Addresses(news),
            _ = self.count.tick(), if self.balancer.is_draining() => Wake::Count,
            () = tokio::time::sleep(LOOK), if self.held.is_waiting() && self.committing.is_none() => Wake::Room,
            // Before there is a configuration it is not known what is there.
            wake = self.desk.next(self.configured) => wake,
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

    fn hear_runner(&mut self, said: RunnerSays) {
        match said {
            RunnerSays::Taken(NotifyAck { number }) => {
                self.notices.acknowledged(number);
                self.balancer.handle_acknowledged(number);
            }
            RunnerSays::Ended(end) => self.errands.handle_end(end),
            RunnerSays::Tracker(TrackerFact {
                tracker: TrackerName::File(name),
                state: TrackerState::Says(Verdict::Value(number)),
            }) => self.balancer.handle_number(name, number),
            // No check depends on another one.
            RunnerSays::Tracker(_) => {}
        }
    }

    fn obey(&mut self, order: Order, mut fds: Vec<OwnedFd>) -> anyhow::Result<()> {
        match order {
            Order::Resume => {
                let fd = fds.pop().ok_or_else(|| anyhow::anyhow!("facts without a memfd"))?;
                self.resumed = self.balancer.resume(ipc::unseal::<Vec<Fact>>(&fd)?);
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
                    self.commit(generation, plan)?;
                }
            }
            Order::Abandon { generation } => {
                self.prepared.take_if(|(prepared, ..)| *prepared == generation);
            }
            Order::Connect { peer: Role::Runner } => {
                let fd = fds.pop().ok_or_else(|| anyhow::anyhow!("a connection without a socket"))?;
                self.runner = Some(Port::new(fd.into())?);
                self.notices.connected();
                self.errands.connected();
            }
            Order::Hear(fact) => self.balancer.handle_router(fact),
            Order::Noted => self.unannounced = self.unannounced.saturating_sub(1),
            Order::Listen => {
                let fd = fds.pop().ok_or_else(|| anyhow::anyhow!("a place to listen without a socket"))?;
                // Health is checked all the same.
                self.desk.open(fd).unwrap_or_else(|error| warn!("Commands cannot ask this process: {error}"));
            }
            Order::Hello(..) | Order::Read(_) | Order::Connect { .. } | Order::Statistics { .. } | Order::Stop => {}
        }
        Ok(())
    }

    /// Finds out whether the configuration can run here. Changes nothing in the kernel.
    fn prepare(&mut self, generation: u64, fd: Option<OwnedFd>) -> Result<(), (u8, String)> {
        let part = fd.ok_or_else(|| io::ErrorKind::InvalidData.into()).and_then(|fd| ipc::unseal::<CheckerPart>(&fd));
        let mut part = part.map_err(|error| {
            (EXIT_INTERNAL, format!("the checker cannot read its part of the configuration: {error}"))
        })?;
        let process = part.process.clone();
        let place = part.namespace_span.map(|span| part.lines.prefix(span)).unwrap_or_default();
        self.balancer.adopt_marks(&mut part).map_err(|why| (EXIT_CONFIG, why))?;
        let plan = self.balancer.plan(part).map_err(|error| (EXIT_CONFIG, error.to_string()))?;
        if plan.needs_addresses() && self.addresses.is_none() {
            let open = Addresses::open();
            self.addresses = Some(open.map_err(|error| (EXIT_FATAL, format!("listening for addresses: {error}")))?);
        }
        if self.kernel.is_none() {
            let mut table = (self.open)().map_err(|why| (EXIT_FATAL, format!("{place}{why}")))?;
            match table.timeouts() {
                Ok(timeouts) => self.balancer.find_timeouts(timeouts),
                Err(error) => warn!("IPVS: {error}: a stop leaves time-outs as lvs_timeouts sets them"),
            }
            if !self.resumed && self.balancer.owns_services() {
                let present =
                    table.dump().map_err(|error| (EXIT_FATAL, format!("IPVS: reading the table: {error}")))?;
                self.balancer.adopt(present);
            }
            let kernel = Kernel::start(table).map_err(|error| (EXIT_FATAL, format!("starting a thread: {error}")))?;
            self.kernel = Some(kernel);
        }
        self.prepared = Some((generation, plan, process));
        Ok(())
    }

    fn follow_process(&mut self, process: &ProcessPart) {
        scheduling::set_name(process.name.as_deref());
        self.lateness.configure(process.lateness, process.real_time);
        self.scheduling.apply(process);
    }

    fn commit(&mut self, generation: u64, plan: Plan) -> io::Result<()> {
        if !plan.needs_addresses() {
            self.addresses = None;
        }
        self.look_at_addresses()?;
        // What its files hold was said before.
        while let Some(Ok(Some((said, _)))) = self.runner.as_ref().map(Port::try_receive) {
            self.hear_runner(said);
        }
        // A start, not a reload: what is in the table then is not ours.
        let starting = !std::mem::replace(&mut self.resumed, true);
        self.configured = true;
        self.flush |= starting && plan.flushes();
        let checks = self.balancer.configure(plan, now());
        for id in checks.removed {
            self.driver.remove(&id);
        }
        self.held.hold(Instant::now());
        checks.added.into_iter().for_each(|(id, verdict)| self.held.push(Later::Check(id, verdict)));
        self.unannounced += 1;
        self.outbox.push(Report::Note);
        self.committing = Some(Committing { generation, wish: None });
        Ok(())
    }

    /// Does nothing unless checks depend on them.
    fn look_at_addresses(&mut self) -> io::Result<()> {
        if let Some(addresses) = &mut self.addresses {
            self.balancer.handle_addresses(addresses.look()?);
        }
        Ok(())
    }

    fn applied(&mut self, applied: &Applied) {
        for line in self.balancer.refusals(&applied.failures) {
            error!("IPVS: {line}");
        }
        let mended = applied.mended.get(..MOST_WORDS).unwrap_or(&applied.mended);
        for line in self.balancer.refusals(mended) {
            warn!("IPVS: {line}; it is put right from what is there");
        }
        if applied.number != self.wish {
            return;
        }
        self.in_flight = false;
        if applied.complete && self.cleaning && !self.balancer.is_all_stale() {
            self.cleaning = false;
            self.balancer.handle_applied();
        }
        let done = self.committing.take_if(|committing| committing.wish.is_some_and(|wish| wish <= applied.number));
        if let Some(Committing { generation, .. }) = done {
            self.committed = Some(Committed { generation, until: Instant::now() + HEARING });
        }
    }

    /// Says that a configuration is in force, after its notifications: a runner that it has no scripts for is ended next,
    /// and has to run those of what was left out before.
    fn report_commit(&mut self) {
        let is_heard = self.runner.is_none() || self.notices.poll_send().is_none();
        let now = Instant::now();
        if let Some(Committed { generation, .. }) = self.committed.take_if(|it| is_heard || now >= it.until) {
            self.outbox.push(Report::Committed { generation });
            self.flush();
        }
    }

    /// Asks the kernel for what is wanted, unless it is busy: what comes meanwhile is asked for at once. Ownership is
    /// announced before.
    fn wish(&mut self) {
        let Some(kernel) = self.kernel.as_ref().filter(|_| !self.in_flight && self.unannounced == 0) else { return };
        let Some(wish) = self.balancer.poll_wish() else { return };
        self.wish += 1;
        if let Some(Committing { wish: wish @ None, .. }) = &mut self.committing {
            *wish = Some(self.wish);
        }
        self.in_flight = true;
        match wish {
            Wish::All(wanted) => {
                self.cleaning = true;
                let flush = std::mem::take(&mut self.flush);
                kernel.want(Wanted { flush, number: self.wish, ..*wanted });
            }
            Wish::Some(pools) => kernel.adjust(pools, self.wish),
        }
    }

    /// Asks the kernel for connections, where somebody waits for their end or their number. What was wished for comes
    /// before: the kernel knows whom they belong to.
    fn ask_for_counts(&mut self) {
        let wanted = self.counting.due || self.desk.has_news();
        if !wanted || self.counting.in_flight || self.unannounced > 0 || self.balancer.is_all_stale() {
            return;
        }
        let number = self.counting.number + 1;
        let mut services = self.survey(number);
        if self.counting.due {
            services.extend(self.balancer.draining_services());
        }
        if let Some(kernel) = &self.kernel {
            kernel.count(services.into_iter().collect(), number);
            self.counting = Counting { due: false, number, in_flight: true };
        }
    }

    fn counted(&mut self, number: u64, counts: Counts) {
        self.counting.in_flight = false;
        self.balancer.handle_counts(&counts);
        self.desk.counted(number, counts);
    }

    /// Tells the supervisor at once. Everything else can wait while a configuration is taken, and is done in its order.
    fn carry_out(&mut self) {
        self.take_effects();
        let now = Instant::now();
        while let Some(later) = self.held.poll(now, Busy { kernel: self.committing.is_some(), log: !log::has_room() }) {
            match later {
                Later::Check(id, verdict) => {
                    if let Some((schedule, probe)) = self.balancer.begin(id, verdict, &self.errands) {
                        self.driver.add(id, schedule, probe);
                    }
                }
                Later::Effect(effect) => self.follow(effect),
            }
            self.take_effects();
        }
    }

    fn take_effects(&mut self) {
        while let Some(effect) = self.balancer.poll_effect() {
            match effect {
                fact @ Effect::Remember(_) => self.follow(fact),
                other => self.held.push(Later::Effect(other)),
            }
        }
    }

    fn follow(&mut self, effect: Effect) {
        match effect {
            Effect::Info(line) => info!("{line}"),
            Effect::Begins(line) => info!("{line}"),
            Effect::Error(line) => error!("{line}"),
            Effect::Debug(line) => debug!("{line}"),
            Effect::Notify(notification) => {
                if let Some(Notification { number, event }) = self.notices.push(*notification) {
                    error!("{}", notices::lost(&event));
                    self.balancer.handle_acknowledged(number);
                }
            }
            Effect::Remember(fact) => self.outbox.push(Report::Facts(vec![fact])),
            Effect::Activate(id) => self.driver.activate(&id),
            Effect::Suspend(id) => self.driver.suspend(&id),
        }
    }

    /// Sends what can be sent.
    fn speak(&mut self) {
        self.flush();
        if self.flushed {
            self.desk.settle();
        }
        self.noticed = true;
        let Some(runner) = &self.runner else { return };
        // What the runner is told a successor must know of: it would tell it again, or never.
        while let Some(notification) = self.notices.poll_send().filter(|_| self.flushed) {
            match runner.try_send(&ToRunner::Notify(notification.clone())) {
                Ok(true) => self.notices.sent(),
                Ok(false) => return self.noticed = false,
                // A runner that is gone shows as the end of its acknowledgements.
                Err(_) => return,
            }
        }
        while let Some(errand) = self.errands.poll_send() {
            match runner.try_send(&errand) {
                Ok(true) => self.errands.sent(),
                Ok(false) => return self.noticed = false,
                Err(_) => return,
            }
        }
    }

    fn flush(&mut self) {
        let flushed = self.supervisor.flush(&mut self.outbox);
        // One that is gone shows as the end of its orders.
        self.flushed = flushed.as_ref().map_or_else(ipc::is_gone, |flushed| *flushed);
        self.crowded = matches!(flushed, Ok(false));
        // What is short of memory is tried again with the next beat at the latest.
        let why = flushed.err().filter(|error| !ipc::is_gone(error)).map(|error| error.to_string());
        if let Some(why) = why.as_ref().filter(|why| self.unsaid.as_ref() != Some(*why)) {
            error!("The supervisor does not hear what it would need after a crash of this process: {why}");
        }
        self.unsaid = why;
    }

    /// Withdraws everything and says so. Whether nothing is left that should have gone.
    async fn stop(&mut self, keep: bool) -> bool {
        self.held.release();
        self.balancer.stop();
        self.carry_out();
        let clean = keep || self.withdraw().await;
        if clean && !keep {
            self.balancer.handle_withdrawn();
            self.carry_out();
        }
        info!("Timers of the checker: {}", self.lateness.histogram);
        self.outbox.push(Report::Stopped);
        // Who does not listen learns it from the exit.
        let _ = timeout(FAREWELL, self.farewell()).await;
        clean
    }

    /// Removes our services from the kernel. Whether all of them are gone.
    async fn withdraw(&mut self) -> bool {
        let Some(kernel) = &mut self.kernel else { return !self.balancer.owns_services() };
        self.wish += 1;
        kernel.want(Wanted { number: self.wish, ..self.balancer.withdrawn() });
        while let Some(said) = kernel.next().await {
            if let Said::Applied(applied) = said
                && applied.number == self.wish
            {
                for line in self.balancer.refusals(&applied.failures) {
                    error!("IPVS: left behind: {line}");
                }
                return applied.complete;
            }
        }
        false
    }

    async fn farewell(&mut self) {
        loop {
            self.speak();
            let runner = self.runner.as_ref().filter(|_| !self.noticed);
            match (self.flushed, runner) {
                (true, None) => return,
                (false, _) if !self.crowded => drop(self.beat.tick().await),
                (false, _) => drop(self.supervisor.writable().await),
                (true, Some(runner)) => drop(runner.writable().await),
            }
        }
    }
}

/// The time that every process of this boot shares.
fn now() -> ipvs_control::types::Instant {
    ipvs_control::types::Instant::from_nanos(clock::now().as_nanos())
}

/// The next sign from the runner; never, without one.
async fn listen(runner: Option<&Port>, full: bool) -> Wake {
    let Some(runner) = runner else { return std::future::pending().await };
    tokio::select! {
        ack = runner.receive() => Wake::Runner(ack),
        _ = runner.writable(), if full => Wake::Room,
    }
}

/// The next news of addresses; never, while nobody listens.
async fn changed(addresses: Option<&mut Addresses>) -> io::Result<()> {
    match addresses {
        Some(addresses) => addresses.changed().await,
        None => std::future::pending().await,
    }
}

/// What the kernel's thread says next; never, without one.
async fn next_said(kernel: Option<&mut Kernel>) -> Option<Said> {
    match kernel {
        Some(kernel) => kernel.next().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
