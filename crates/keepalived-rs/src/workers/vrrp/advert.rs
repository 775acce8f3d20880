//! The advert thread: receives and sends adverts, keeps the timers, runs the engine, and does nothing else
//! (`design.md` §2). No netlink, sysctl, group join, disk, script or lock: what may wait goes to the kernel thread, the
//! runner or the log's writer.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::thread::sched_getcpu;
use vrrp_proto::{
    Action, AnnounceScope, Engine, EngineConfig, Event, GroupId, Instant, Notification, Ownership, Packet, Receiver,
    ReplayMemory, Reserved, Role, RouterConfig, RouterId, RouterSnapshot, Ticket, Transmitter,
};

use super::bursts::Bursts;
use super::clock::{self, Clocks, Timer};
use super::counters::Counters;
use super::facts;
use super::filter::Vrids;
use super::holdings::HOST;
use super::kernel::{Job, Outcome};
use super::mailbox;
use super::notifier::Notifier;
use super::packet;
use super::processors::Processors;
use super::roster::{RouterSetup, Setup};
use super::sockets::{Departures, LARGEST_PACKET, Losses, Place, ReceiveSocket};
use super::trackers::{News, Trackers};
use super::vigil::{self, Vigil};
use crate::compat;
use crate::config::network::Footprint;
use crate::config::process::ProcessPart;
use crate::crash;
use crate::ipc::{self, Channel, Common, Fact, NotifyEvent, NotifyState, Order, Outbox, Report};
use crate::os::{Arrived, Inbound};
use crate::workers::lateness::Lateness;
use crate::workers::scheduling;

/// So many packets of one socket are taken in one call, before due timers are looked at again: a flood cannot starve
/// them.
const PACKETS_PER_TURN: usize = 32;

/// Adverts that are due so soon leave with those that are due now.
const AHEAD: Duration = Duration::from_millis(1);

/// So many routers are looked at before what they want is done: the kernel thread begins with the first of a thousand that
/// take over while this thread goes on with the others.
const TOGETHER: usize = 256;

/// A worker tells the supervisor of its lateness, and of some of its counters, at most so often.
const SAMPLE: Duration = Duration::from_secs(1);

/// A worker beats at least this often.
const LONGEST_BEAT: Duration = Duration::from_millis(250);

/// So long the supervisor is given to take the last facts of a worker that stops.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A worker that is told to stop waits for scripts to be started, and for the kernel, at most so long.
const NOTIFY_WAIT: Duration = Duration::from_secs(1);
const STOP_WAIT: Duration = Duration::from_secs(4);

/// A timer that fires so late may be contradicted by packets that came in meanwhile: they are heard first, all that a
/// socket's receive buffer has room for.
const STALLED: Duration = Duration::from_millis(2);
const PACKETS_AFTER_STALL: usize = 4096;

/// Before any take-over so many of each socket are heard: one that waits there may contradict it, and a flood must not
/// put it off for long.
const PACKETS_BEFORE_TAKE_OVER: usize = 256;

/// So long the log waits at most for the kernel thread to do what it has just been told.
const SILENCE: Duration = Duration::from_millis(1);

/// The key of what is static.
const FIXED: &str = "static";

const SUPERVISOR: u64 = 0;
const KERNEL: u64 = 1;
const TIMER: u64 = 2;
const RUNNER: u64 = 3;
const FIRST_SOCKET: u64 = 16;

/// The thread's state.
#[derive(Debug)]
pub(crate) struct Advert {
    supervisor: Channel,
    common: Common,
    outbox: Outbox,
    /// The supervisor's socket is full: there will be an event once there is room.
    waits_for_room: bool,
    jobs: mailbox::Sender<Job>,
    /// Jobs that follow adverts which have not left yet.
    following: Vec<Job>,
    /// What the log says once adverts and jobs have left: a line wakes a thread, and is worth no delay of theirs.
    unsaid: Vec<Unsaid>,
    /// Since this thread last slept, the kernel thread was told to do something.
    has_told: bool,
    outcomes: mailbox::Receiver<Outcome>,
    notifier: Notifier,
    /// Nobody hears notifications without one.
    has_runner: bool,
    epoll: OwnedFd,
    timer: Timer,
    vigil: Vigil,
    processors: Processors,
    bursts: Bursts,
    engine: Engine,
    trackers: Trackers,
    /// In boxes, as a map leaves much of its room empty.
    routers: BTreeMap<RouterId, Box<Router>>,
    /// Removed by a reload, but their addresses may still be there.
    leaving: BTreeMap<RouterId, Box<Router>>,
    link_names: Vec<String>,
    group_names: BTreeMap<GroupId, String>,
    prepared: Option<(u64, Box<Setup>)>,
    /// The routers whose socket could not be opened.
    without_path: BTreeSet<RouterId>,
    /// The newest generation that is not wanted any more.
    abandoned: u64,
    paths: Paths,
    /// The newest `Apply` of each router that the kernel thread has not answered.
    applying: BTreeMap<RouterId, Ticket>,
    /// The router whose addresses the kernel thread has just put in place and announced.
    announced: Option<RouterId>,
    /// What each router may have put on this host, as the supervisor was told, with its key.
    told_footprints: BTreeMap<RouterId, (String, Arc<Footprint>)>,
    /// Whose footprint the process before this one told, and that no configuration names since: what is left of it is being
    /// removed.
    left_over: BTreeSet<RouterId>,
    /// The sequences of authenticated adverts that are spoken for, by the key of the router; of routers that are gone too.
    reserved: BTreeMap<String, Reserved>,
    /// What the process before this one heard, by the key of the router, until that is set up.
    heard: BTreeMap<String, ReplayMemory>,
    /// What the process before this one counted, until the router is set up.
    counted: BTreeMap<RouterId, Counters>,
    /// The row of counters that the supervisor hears of next.
    next_row: u32,
    /// Somebody waits for the statistics.
    statistics: Option<OwnedFd>,
    /// What is on this host for as long as the daemon runs.
    fixed: Arc<Footprint>,
    beat: Beat,
    lateness: Lateness,
    /// When the supervisor hears of lateness and counters again.
    next_sample: Instant,
    log_unknown_vrids: bool,
    /// The tables of nftables that may be on this host, as the supervisor was told.
    firewall: Option<String>,
    /// They are being removed.
    removing_firewall: bool,
    stopping: Option<Instant>,
    /// Where commands ask the kernel thread, until that knows what this process holds.
    door: Option<OwnedFd>,
    host: HostState,
    /// The process before this one held addresses, and no configuration was committed yet.
    inherits: bool,
    /// It never will be, as the first one was refused: the clean-up that follows takes away what is left.
    forsaken: bool,
    incoming: Inbound,
}

/// What the log does not say yet.
#[derive(Debug)]
enum Unsaid {
    Record(RouterId, Event),
    Apply(RouterId, Ownership),
}

/// What is on this host beside addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HostState {
    /// It may be there.
    Held,
    /// The kernel thread takes it away.
    Leaving,
    /// It is gone, or stays on purpose.
    Settled,
}

/// One virtual router: all that the engine does not know.
#[derive(Debug)]
struct Router {
    name: String,
    key: String,
    receiver: Receiver,
    transmitter: Transmitter,
    footprint: Arc<Footprint>,
    destinations: Vec<std::net::IpAddr>,
    /// Packets to its addresses are not taken.
    drops: bool,
    /// Where its last advert came from.
    source: Option<std::net::IpAddr>,
    /// As the supervisor was told.
    told: Option<RouterSnapshot>,
    told_heard: ReplayMemory,
    /// What its process did not count itself, or is not to tell any more.
    counted_before: Option<Box<Counters>>,
    /// The last send failed like this, which was logged.
    send_error: Option<i32>,
    /// And the one before it.
    send_error_before: Option<i32>,
}

/// The sockets, and who uses them.
#[derive(Debug, Default)]
struct Paths {
    routes: BTreeMap<RouterId, Place>,
    sockets: BTreeMap<u64, Ear>,
    departures: Vec<Departures>,
    tokens: BTreeMap<Place, u64>,
    next: u64,
    /// Which router a packet is for: by place and VRID.
    by_vrid: HashMap<Place, Arc<ByVrid>>,
}

/// The routers of one place by their VRID, in its order.
type ByVrid = [(u8, RouterId)];

/// A receive socket, and what is remembered of it.
#[derive(Debug)]
struct Ear {
    socket: Arc<ReceiveSocket>,
    losses: Losses,
    /// VRIDs of others that were logged.
    unknown: Vrids,
}

#[derive(Debug)]
struct Beat {
    /// While there is something that gets old.
    every: Duration,
    /// While there is nothing to say but that this thread is alive.
    idle: Duration,
    next: Instant,
}

impl Advert {
    /// A worker that waits for its first order.
    ///
    /// # Errors
    /// When the kernel has no descriptor left.
    pub(crate) fn new(
        supervisor: Channel,
        common: Common,
        jobs: mailbox::Sender<Job>,
        outcomes: mailbox::Receiver<Outcome>,
    ) -> anyhow::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).context("opening an epoll descriptor")?;
        let timer = Timer::new().context("opening a timer")?;
        watch(&epoll, &supervisor, SUPERVISOR)?;
        watch(&epoll, &outcomes, KERNEL)?;
        watch(&epoll, &timer, TIMER)?;
        Ok(Self {
            supervisor,
            common,
            outbox: Outbox::default(),
            waits_for_room: false,
            jobs,
            following: Vec::new(),
            unsaid: Vec::new(),
            has_told: false,
            outcomes,
            notifier: Notifier::default(),
            has_runner: false,
            epoll,
            timer,
            vigil: Vigil::default(),
            processors: Processors::open(),
            bursts: Bursts::default(),
            engine: ahead(Engine::new()),
            trackers: Trackers::default(),
            routers: BTreeMap::new(),
            leaving: BTreeMap::new(),
            link_names: Vec::new(),
            group_names: BTreeMap::new(),
            prepared: None,
            without_path: BTreeSet::new(),
            abandoned: 0,
            paths: Paths { next: FIRST_SOCKET, ..Paths::default() },
            applying: BTreeMap::new(),
            announced: None,
            told_footprints: BTreeMap::new(),
            left_over: BTreeSet::new(),
            reserved: BTreeMap::new(),
            heard: BTreeMap::new(),
            counted: BTreeMap::new(),
            next_row: 0,
            statistics: None,
            fixed: Arc::default(),
            beat: Beat { every: LONGEST_BEAT, idle: LONGEST_BEAT, next: Instant::ZERO },
            lateness: Lateness::default(),
            next_sample: Instant::ZERO,
            log_unknown_vrids: false,
            firewall: None,
            removing_firewall: false,
            stopping: None,
            door: None,
            host: HostState::Held,
            inherits: false,
            forsaken: false,
            incoming: Inbound::new(PACKETS_PER_TURN, LARGEST_PACKET),
        })
    }

    /// Runs until everything is withdrawn after an order to stop, or after the supervisor is gone; whether it is, as the
    /// time for that is limited.
    ///
    /// # Errors
    /// When the kernel thread ended or the event loop cannot go on.
    pub(crate) fn run(mut self) -> anyhow::Result<bool> {
        let mut events = [MaybeUninit::uninit(); 64];
        loop {
            let now = clock::now();
            self.fire(now);
            self.beat(now);
            self.leave_host();
            if self.is_done(now) {
                self.say();
                self.log_remains();
                self.forget_withdrawn();
                self.outbox.push(Report::Stopped);
                self.flush_last()?;
                tracing::info!("Timers of adverts: {}", self.lateness.histogram);
                return Ok(self.keeps_addresses() || self.is_withdrawn());
            }
            let due = self.next_due(now);
            self.timer.set(due).context("setting the timer")?;
            if let Some(rest) = self.rest(clock::now(), due) {
                std::thread::sleep(rest);
            }
            let ready = match epoll::wait(&self.epoll, &mut events, self.patience(now).as_ref()) {
                Ok((ready, _)) => &*ready,
                Err(rustix::io::Errno::INTR) => &[],
                Err(error) => return Err(error).context("waiting for events"),
            };
            self.has_told = false;
            self.say();
            for event in ready {
                match event.data.u64() {
                    SUPERVISOR => {
                        self.hear_supervisor()?;
                        self.flush();
                    }
                    KERNEL => self.hear_kernel()?,
                    TIMER => self.timer.clear(),
                    RUNNER => self.hear_runner(),
                    token => self.hear_socket(token, PACKETS_PER_TURN),
                }
                self.fire(clock::now());
            }
        }
    }

    /// How long the next adverts of a burst gather, as long as there can be nothing else to do.
    fn rest(&mut self, now: Instant, due: Option<Instant>) -> Option<Duration> {
        let is_busy = !self.applying.is_empty() || !self.unsaid.is_empty() || self.stopping.is_some();
        if is_busy { None } else { self.bursts.rest(now, due) }
    }

    /// How long it sleeps at most. During a vigil it only looks, or dozes: everything but the sleep goes on as ever.
    fn patience(&self, now: Instant) -> Option<Timespec> {
        let silence = (!self.unsaid.is_empty()).then_some(SILENCE);
        let most = self.vigil.nap(now).into_iter().chain(silence).min()?;
        Some(Timespec { tv_sec: 0, tv_nsec: i64::from(most.subsec_nanos()) })
    }

    fn next_due(&self, now: Instant) -> Option<Instant> {
        let limits = self.stopping.map(|since| [since + NOTIFY_WAIT, since + STOP_WAIT]);
        let limits = limits.into_iter().flatten().filter(|limit| *limit > now);
        self.engine.poll_timeout().into_iter().chain([self.beat.next]).chain(limits).min()
    }

    /// Runs the timers that are due.
    fn fire(&mut self, now: Instant) {
        let Some(due) = self.engine.poll_timeout().filter(|due| *due <= now) else { return };
        let late = now.saturating_duration_since(due);
        scheduling::note_lateness(&mut self.lateness, late);
        if late >= STALLED {
            self.hear_sockets(PACKETS_AFTER_STALL);
        } else if self.engine.is_take_over_due(now) {
            self.hear_sockets(PACKETS_BEFORE_TAKE_OVER);
        }
        // Each router once, however short its interval.
        let now = clock::now();
        for _ in 0..self.routers.len() / TOGETHER {
            if !self.engine.handle_first_timeouts(now, TOGETHER) {
                break;
            }
            self.act();
        }
        self.engine.handle_timeout_ahead(clock::now(), AHEAD);
        self.perform();
    }

    /// Tells the supervisor that this thread is alive, and when its routers last advertised.
    fn beat(&mut self, now: Instant) {
        if now < self.beat.next {
            return;
        }
        let active = self.engine.routers().filter(|router| router.role() == Role::Active);
        let times: Vec<_> =
            active.filter_map(|router| Some((router.id(), router.snapshot().last_advertisement?))).collect();
        let mut is_idle = times.is_empty();
        self.outbox.push(Report::Facts(facts::last_adverts(&times).collect()));
        for router in self.routers.values_mut().filter(|router| *router.receiver.memory() != router.told_heard) {
            is_idle = false;
            router.told_heard.clone_from(router.receiver.memory());
            self.outbox.push(Report::Facts(vec![facts::heard(&router.key, &router.told_heard)]));
        }
        self.beat.next = now + if is_idle { self.beat.idle } else { self.beat.every };
        if now >= self.next_sample {
            self.next_sample = now + SAMPLE;
            self.tell_counters();
            if self.lateness.histogram.count() > 0 {
                self.outbox.push(Report::Lateness(self.lateness.histogram));
                self.jobs.send(Job::Lateness(Box::new(self.lateness.histogram)));
            }
        }
        self.outbox.push(Report::Beat);
        self.flush();
        self.send_statistics();
    }

    /// Tells the supervisor of one row of routers what was counted, for the process after this one; the next time, of the
    /// next one.
    fn tell_counters(&mut self) {
        let first = RouterId(self.next_row * facts::COUNTERS_PER_FACT);
        let next = self.routers.range(first..).next().or_else(|| self.routers.iter().next());
        let Some(row) = next.map(|(id, _)| row_of(*id)) else { return };
        self.tell_row(row);
        self.next_row = row + 1;
    }

    /// A row without routers is forgotten.
    fn tell_row(&mut self, row: u32) {
        let first = row * facts::COUNTERS_PER_FACT;
        let members = self.routers.range(RouterId(first)..RouterId(first.saturating_add(facts::COUNTERS_PER_FACT)));
        let all: Vec<_> = members.map(|(id, router)| (*id, self.counters(*id, router))).collect();
        self.outbox.push(Report::Facts(vec![facts::counters(row, &all)]));
    }

    /// What this process and those before it counted.
    fn counters(&self, id: RouterId, router: &Router) -> Counters {
        let since = self.engine.router(id).map(|it| Counters::of(it.stats(), router.receiver.stats()));
        let before = router.counted_before.as_deref().copied().unwrap_or_default();
        since.unwrap_or_default().plus(before)
    }

    /// Who writes the text has time: the kernel thread.
    fn write_statistics(&mut self, clear: bool) {
        tracing::info!(
            "Printing {}VRRP stats for process({}) on signal",
            if clear { "and clearing " } else { "" },
            std::process::id()
        );
        let all: Vec<_> = self.routers.iter().map(|(id, router)| (*id, self.counters(*id, router))).collect();
        if clear {
            for ((_, told), router) in all.iter().zip(self.routers.values_mut()) {
                let before = router.counted_before.get_or_insert_default();
                **before = before.plus(told.negated());
            }
            // All at once: the counts of before are not to come back with another process.
            for row in all.iter().map(|(id, _)| row_of(*id)).collect::<BTreeSet<_>>() {
                self.tell_row(row);
            }
        }
        self.jobs.send(Job::Statistics(all));
    }

    /// A supervisor that is busy hears of them with a later beat.
    fn send_statistics(&mut self) {
        if let Some(text) = self.statistics.take()
            && self.supervisor.send(&Report::Statistics, &[text.as_fd()]).is_err()
        {
            self.statistics = Some(text);
        }
    }

    /// Sends what fits to supervisor and runner, and the rest when there is room. The supervisor first: a successor that does
    /// not know of a notification would give its number to another one.
    fn flush(&mut self) {
        // A supervisor that is gone shows as the end of its orders, and there will be no successor.
        let (is_done, is_full) = match self.outbox.flush(&self.supervisor) {
            Ok(is_done) => (is_done, !is_done),
            // Short of memory: the next beat tries again.
            Err(error) => (ipc::is_gone(&error), false),
        };
        if is_done {
            self.notifier.flush();
        }
        if std::mem::replace(&mut self.waits_for_room, is_full) != is_full {
            let room = if is_full { epoll::EventFlags::OUT } else { epoll::EventFlags::empty() };
            let token = epoll::EventData::new_u64(SUPERVISOR);
            // Refused only once the supervisor is gone.
            let _ = epoll::modify(&self.epoll, &self.supervisor, token, epoll::EventFlags::IN | room);
        }
    }

    /// Sends all that is left to say: thousands of routers say more than the supervisor's socket holds.
    fn flush_last(&mut self) -> anyhow::Result<()> {
        let end = clock::now() + LAST_WORDS;
        while !self.outbox.flush(&self.supervisor).unwrap_or(true) {
            let left = end.saturating_duration_since(clock::now());
            if left.is_zero() {
                break;
            }
            let timeout = Timespec::try_from(left).context("waiting for the supervisor")?;
            match poll(&mut [PollFd::new(&self.supervisor, PollFlags::OUT)], Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).context("waiting for the supervisor"),
            }
        }
        self.flush();
        Ok(())
    }

    fn is_done(&self, now: Instant) -> bool {
        let Some(since) = self.stopping else { return false };
        let notified = self.notifier.is_idle() || now >= since + NOTIFY_WAIT;
        ((self.is_withdrawn() || self.forsaken) && notified) || now >= since + STOP_WAIT
    }

    /// Whether nothing is left on this host that has to go.
    fn is_withdrawn(&self) -> bool {
        let kept = self.keeps_addresses() || self.left_over.is_empty();
        let foreign = self.inherits || self.forsaken;
        self.applying.is_empty() && kept && !foreign && !self.removing_firewall && self.host == HostState::Settled
    }

    /// What was withdrawn is not on this host any more.
    fn forget_withdrawn(&mut self) {
        if self.keeps_addresses() || self.inherits || self.forsaken {
            return;
        }
        for (id, (key, told)) in std::mem::take(&mut self.told_footprints) {
            if !self.applying.contains_key(&id) && !self.left_over.contains(&id) {
                self.outbox.push(Report::Facts(facts::footprint(&key, id, &Footprint::default(), &told)));
            }
        }
        if self.firewall.take_if(|_| !self.removing_firewall).is_some() {
            self.outbox.push(Report::Facts(vec![facts::forget_firewall()]));
        }
    }

    /// After the last advert and the last address: macvlans go, settings are as they were.
    fn leave_host(&mut self) {
        let ready = self.stopping.is_some() && self.applying.is_empty() && !self.inherits && !self.forsaken;
        if !ready || self.host != HostState::Held {
            return;
        }
        if self.keeps_addresses() {
            self.host = HostState::Settled;
        } else {
            self.host = HostState::Leaving;
            self.jobs.send(Job::Withdraw);
        }
    }

    /// What could not be withdrawn in time.
    fn log_remains(&self) {
        if self.forsaken {
            return tracing::info!("what the process before this one held is left to the cleanup process");
        }
        for id in self.applying.keys().chain(&self.left_over) {
            let footprint = self.told_footprints.get(id).map(|(_, footprint)| footprint.words(facts::MOST_WORDS));
            let what = footprint.filter(|words| !words.is_empty()).unwrap_or_else(|| "its addresses".into());
            tracing::error!("({}) not removed in time: {what}", self.name(*id));
        }
        if self.inherits {
            tracing::error!("what the process before this one held could not be removed");
        }
        if self.removing_firewall {
            tracing::error!("the tables of nftables could not be removed");
        }
        if self.host == HostState::Leaving {
            tracing::error!("macvlans and settings of interfaces could not be taken back");
        }
    }

    // ---- Orders ----

    fn hear_supervisor(&mut self) -> anyhow::Result<()> {
        loop {
            match self.supervisor.receive::<Order>() {
                Ok(Some((order, fds))) => self.obey(order, fds)?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Ok(None) => return self.supervisor_is_gone(),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return self.supervisor_is_gone(),
                Err(error) => return Err(error).context("reading the supervisor's orders"),
            }
        }
    }

    fn supervisor_is_gone(&mut self) -> anyhow::Result<()> {
        epoll::delete(&self.epoll, &self.supervisor)?;
        self.stop();
        Ok(())
    }

    fn obey(&mut self, order: Order, fds: Vec<OwnedFd>) -> anyhow::Result<()> {
        let mut fds = fds.into_iter();
        match order {
            Order::Hello(..) | Order::Read(_) | Order::Hear(_) => {}
            Order::Resume => {
                let facts = fds.next().context("no facts were attached")?;
                self.resume(&facts);
            }
            Order::Prepare { generation, again } => {
                let part = fds.next().context("no configuration was attached")?;
                if !self.routers.is_empty() {
                    tracing::info!("Reloading");
                }
                self.jobs.send(Job::Prepare { generation, again, part });
            }
            Order::Commit { generation } => self.commit(generation),
            Order::Abandon { generation } => {
                // The kernel thread may still be preparing it.
                self.abandoned = generation;
                self.prepared.take_if(|(prepared, _)| *prepared == generation);
                self.jobs.send(Job::Abandon { generation });
            }
            Order::Connect { peer } => {
                let runner = Channel::from(fds.next().context("no socket was attached")?);
                if peer == ipc::Role::Runner {
                    watch(&self.epoll, &runner, RUNNER)?;
                    self.notifier.connect(runner);
                    self.flush();
                }
            }
            Order::Noted => self.jobs.send(Job::Told),
            Order::Statistics { clear } => self.write_statistics(clear),
            Order::Listen => self.door = Some(fds.next().context("no socket was attached")?),
            Order::Stop => {
                crash::stop();
                self.stop();
            }
        }
        Ok(())
    }

    fn resume(&mut self, facts: &OwnedFd) {
        match ipc::unseal::<Vec<Fact>>(facts) {
            Ok(facts) => {
                self.notifier.inherit(&facts);
                let told = facts::told_footprints(&facts).into_iter();
                self.told_footprints = told.map(|(id, (key, footprint))| (id, (key, footprint.into()))).collect();
                self.left_over = self.told_footprints.keys().copied().collect();
                self.reserved = facts::told_sequences(&facts);
                self.heard = facts::told_heard(&facts);
                self.counted = facts::told_counters(&facts);
                self.firewall = facts::told_firewall(&facts);
                let (_, snapshot) = facts::routers(&facts);
                self.inherits = !self.told_footprints.is_empty()
                    || snapshot.routers.values().any(|router| router.ownership() == Ownership::Held);
                self.jobs.send(Job::Resume(facts));
            }
            Err(error) => tracing::error!("cannot read what the process before this one left: {error}"),
        }
    }

    fn commit(&mut self, generation: u64) {
        let Some((_, setup)) = self.prepared.take_if(|(prepared, _)| *prepared == generation) else { return };
        // Under the names that count until now.
        self.say();
        // The runner commits first: what it has said counts from the beginning.
        self.hear_runner();
        self.beat.every = beat_interval(setup.beat_limit, &setup.configs);
        self.beat.idle = beat_interval(setup.beat_limit, &BTreeMap::new());
        let mut wanted = EngineConfig { routers: setup.configs, ..EngineConfig::default() };
        let start = start_not_before(self.common.started, setup.delays);
        for router in wanted.routers.values_mut() {
            router.start_not_before = start;
        }
        wanted.groups = setup.groups.iter().map(|group| (group.id, group.config.clone())).collect();
        self.link_names = setup.link_names;
        self.beat.next = Instant::ZERO;
        self.set_process(&setup.process, setup.log_unknown_vrids);
        self.fixed = setup.fixed;
        self.tell_firewall(setup.firewall);
        self.tell_both_footprints(&setup.routers);
        self.jobs.send(Job::Commit { generation });
        self.hold_fixed(Ownership::Held);
        let plan = self.engine.plan(&wanted);
        self.remove_routers(plan.stopped.iter().chain(&plan.restarted).copied().collect());
        self.set_runner(setup.has_runner);
        self.trackers.configure(setup.trackers);
        wanted.trackers = self.trackers.wanted();
        for router in setup.routers {
            self.set_up(router);
        }
        self.paths.index(&self.routers);
        self.group_names = setup.groups.into_iter().map(|group| (group.id, group.name)).collect();
        self.engine.reconfigure(clock::now(), &wanted);
        for (tracker, verdict) in self.trackers.verdicts() {
            self.engine.handle_tracker(clock::now(), tracker, verdict);
        }
        self.inherits = false;
        self.left_over.retain(|id| *id != HOST && !self.routers.contains_key(id));
        self.perform();
        if let Some(door) = self.door.take() {
            self.jobs.send(Job::Listen(door));
        }
        for id in self.told_footprints.keys().copied().collect::<Vec<_>>() {
            self.settle_footprint(id);
        }
        // The runner hears first of what was left out: one that nothing is left for is ended next.
        self.flush();
        if self.stopping.is_none() {
            self.outbox.push(Report::Committed { generation });
        }
        self.flush();
    }

    /// Before there are any. They are told until the end: a reload may drop them, but never renames them.
    fn tell_firewall(&mut self, table: Option<String>) {
        let Some(table) = table.filter(|table| self.firewall.as_ref() != Some(table)) else { return };
        self.outbox.push(Report::Facts(vec![facts::firewall(&table)]));
        self.firewall = Some(table);
    }

    /// Before the kernel is asked for anything: until it has answered, what was and what will be may be on this host.
    fn tell_both_footprints(&mut self, routers: &[RouterSetup]) {
        let fixed = Arc::clone(&self.fixed);
        let all = routers.iter().map(|router| (router.id, router.key.as_str(), &router.footprint));
        for (id, key, footprint) in all.chain([(HOST, FIXED, &fixed)]) {
            let both = match self.told_footprints.get(&id) {
                Some((_, told)) if told != footprint => Arc::new(Footprint::clone(footprint).and(told)),
                _ => Arc::clone(footprint),
            };
            self.tell_footprint(id, key, both);
        }
        self.flush();
    }

    /// Once nothing is being changed, a router has no more than it is configured to have.
    fn settle_footprint(&mut self, id: RouterId) {
        if self.applying.contains_key(&id) || self.left_over.contains(&id) {
            return;
        }
        let Some((key, _)) = self.told_footprints.get(&id) else { return };
        let key = key.clone();
        let footprint = if id == HOST { Some(&self.fixed) } else { self.routers.get(&id).map(|it| &it.footprint) };
        let footprint = footprint.cloned().unwrap_or_default();
        self.tell_footprint(id, &key, footprint);
    }

    fn tell_footprint(&mut self, id: RouterId, key: &str, footprint: Arc<Footprint>) {
        let told = self.told_footprints.get(&id).map(|(_, told)| Arc::clone(told)).unwrap_or_default();
        if told == footprint {
            return;
        }
        self.outbox.push(Report::Facts(facts::footprint(key, id, &footprint, &told)));
        if footprint.is_empty() {
            self.told_footprints.remove(&id);
        } else {
            self.told_footprints.insert(id, (key.to_owned(), footprint));
        }
    }

    /// What this thread does of it itself; the kernel thread does the rest.
    fn set_process(&mut self, process: &ProcessPart, log_unknown_vrids: bool) {
        scheduling::set_name(process.name.as_deref());
        self.lateness.configure(process.lateness, process.real_time);
        self.log_unknown_vrids = log_unknown_vrids;
        for ear in self.paths.sockets.values_mut() {
            ear.unknown = Vrids::default();
        }
    }

    /// Without a runner nothing is kept: scripts that a later configuration brings must not hear of old events. The
    /// runner of the configuration before still hears of what that change removed.
    fn set_runner(&mut self, has_runner: bool) {
        self.has_runner = has_runner;
        if !has_runner {
            self.flush();
            self.outbox.push(Report::Facts(self.notifier.clear()));
        }
    }

    /// Stops routers while their packets still look as before.
    fn remove_routers(&mut self, gone: BTreeSet<RouterId>) {
        if gone.is_empty() {
            return;
        }
        // The members that stay are still together: the new configuration alone parts them.
        let mut staying = self.engine.config();
        staying.routers.retain(|id, _| !gone.contains(id));
        self.engine.reconfigure(clock::now(), &staying);
        self.perform();
        // Under the names that count until now.
        self.say();
        let rows: BTreeSet<_> = gone.iter().map(|id| row_of(*id)).collect();
        for id in gone {
            let Some(router) = self.routers.remove(&id) else { continue };
            if self.applying.contains_key(&id) {
                self.leaving.insert(id, router);
            } else {
                self.forget_router(&router.key);
            }
        }
        rows.into_iter().for_each(|row| self.tell_row(row));
    }

    fn forget_router(&mut self, key: &str) {
        self.outbox.push(Report::Facts(facts::forget_router(key).into()));
    }

    fn set_up(&mut self, setup: RouterSetup) {
        self.leaving.remove(&setup.id);
        let mut transmitter = match Transmitter::new(Arc::clone(&setup.wire)) {
            Ok(transmitter) => transmitter,
            // The kernel thread made the same one when it checked the configuration.
            Err(error) => return tracing::error!("({}) {error}", setup.name),
        };
        if let Some(reserved) = self.reserved.get(&setup.key) {
            transmitter.resume(*reserved);
        }
        let router = self.routers.entry(setup.id).or_insert_with(|| {
            Box::new(Router {
                name: String::new(),
                key: setup.key,
                receiver: Receiver::new(Arc::clone(&setup.wire)),
                transmitter,
                footprint: Arc::default(),
                destinations: Vec::new(),
                drops: false,
                source: None,
                told: None,
                told_heard: ReplayMemory::default(),
                counted_before: None,
                send_error: None,
                send_error_before: None,
            })
        });
        router.name = setup.name;
        router.footprint = setup.footprint;
        router.destinations = setup.destinations;
        router.drops = setup.drops;
        if *router.receiver.config() != *setup.wire {
            router.receiver.reconfigure(Arc::clone(&setup.wire));
            // Checked above.
            let _ = router.transmitter.reconfigure(setup.wire);
        }
        if let Some(counted) = self.counted.remove(&setup.id) {
            router.counted_before = Some(Box::new(counted));
        }
        if let Some(memory) = self.heard.remove(&router.key) {
            router.transmitter.resume_behind(&memory);
            router.receiver.resume(memory);
        }
    }

    /// Resigns and withdraws, as far as the command line does not forbid it.
    fn stop(&mut self) {
        if self.stopping.is_some() {
            return;
        }
        self.stopping = Some(clock::now());
        if !self.forsaken {
            self.withdraw();
        }
    }

    fn withdraw(&mut self) {
        if self.inherits {
            // Only a configuration says what there is to withdraw. It follows soon.
            let Some(generation) = self.prepared.as_ref().map(|(generation, _)| *generation) else { return };
            self.commit(generation);
        }
        self.engine.shutdown(clock::now());
        self.perform();
        self.hold_fixed(Ownership::Released);
        if self.firewall.is_some() && !self.keeps_addresses() {
            self.removing_firewall = true;
            self.jobs.send(Job::RemoveFirewall);
        }
    }

    /// What is there for as long as the daemon runs is put in place or taken away. It goes even where virtual addresses are
    /// to stay (`--dont-release-vrrp`), as keepalived does.
    fn hold_fixed(&mut self, ownership: Ownership) {
        if self.told_footprints.contains_key(&HOST) {
            // Only the newest order counts, and it is the only one that is answered.
            let ticket = Ticket(self.applying.get(&HOST).map_or(0, |ticket| ticket.0 + 1));
            self.applying.insert(HOST, ticket);
            self.jobs.send(Job::Apply { router: HOST, ownership, ticket });
        }
    }

    // ---- The kernel thread ----

    fn hear_kernel(&mut self) -> anyhow::Result<()> {
        let taken = self.outcomes.take();
        for outcome in taken.values {
            self.take_outcome(outcome)?;
        }
        anyhow::ensure!(!taken.closed, "the thread that talks to the kernel ended");
        Ok(())
    }

    fn take_outcome(&mut self, outcome: Outcome) -> anyhow::Result<()> {
        let now = clock::now();
        match outcome {
            Outcome::Prepared { generation, setup } => self.prepared(generation, setup),
            Outcome::Rejected { generation, exit, why } => {
                // There will be no configuration to withdraw by; the supervisor has another process do it.
                self.forsaken |= std::mem::take(&mut self.inherits);
                self.outbox.push(Report::Rejected { generation, exit, why });
                self.flush();
            }
            // Macvlans go after the last advert: to a router that has stopped that is no fault.
            Outcome::Links(_) if self.stopping.is_some() && !self.inherits => {}
            Outcome::Links(links) => {
                for (link, facts) in links {
                    match facts {
                        Some(facts) => self.engine.handle_link(now, link, facts),
                        None => self.engine.handle_link_removed(now, link),
                    }
                }
            }
            Outcome::Paths { routes, opened, senders, refused } => {
                for socket in opened {
                    self.paths.open(&self.epoll, socket)?;
                }
                self.paths.departures.extend(senders.into_iter().map(Departures::new));
                let unused = self.paths.reroute(&self.epoll, routes)?;
                if !unused.is_empty() {
                    self.jobs.send(Job::Close(unused));
                }
                self.paths.index(&self.routers);
                // Nor is that.
                if self.stopping.is_none() || self.inherits {
                    self.tell_paths(now, refused);
                }
            }
            Outcome::Applied { router, ticket } => {
                self.answered(router, ticket);
                self.settle_footprint(router);
                self.engine.handle_applied(now, router, ticket);
                self.announced = Some(router);
            }
            Outcome::Refused { router, ticket } => {
                // What has to go before the end is tried again, so its answer is still to come.
                if self.stopping.is_none() {
                    self.answered(router, ticket);
                }
                self.engine.handle_refused(now, router, ticket);
            }
            Outcome::Host(facts) => {
                self.outbox.push(Report::Facts(facts));
                self.outbox.push(Report::Note);
                self.flush();
            }
            Outcome::Withdrawn => self.host = HostState::Settled,
            Outcome::Gone { router } => {
                self.left_over.remove(&router);
                self.settle_footprint(router);
            }
            Outcome::AddressLost { router } => self.engine.handle_address_lost(now, router),
            Outcome::FirewallRemoved => self.removing_firewall = false,
            Outcome::Statistics(text) => {
                self.statistics = Some(text);
                self.send_statistics();
            }
        }
        self.perform();
        self.announced = None;
        Ok(())
    }

    /// Who hears nothing and is not heard is in fault, until a socket is there.
    fn tell_paths(&mut self, now: Instant, refused: BTreeSet<RouterId>) {
        for router in refused.difference(&self.without_path) {
            self.engine.handle_path_lost(now, *router);
        }
        for router in self.without_path.difference(&refused) {
            self.engine.handle_path_restored(now, *router);
        }
        self.without_path = refused;
    }

    fn prepared(&mut self, generation: u64, mut setup: Box<Setup>) {
        let inherited = std::mem::take(&mut setup.inherited);
        if !inherited.routers.is_empty() && self.routers.is_empty() {
            let told = std::mem::replace(&mut self.engine, ahead(Engine::resume(inherited)));
            for number in 0..setup.link_names.len() {
                let link = vrrp_proto::LinkId(u32::try_from(number).unwrap_or(u32::MAX));
                if let Some(facts) = told.link(link) {
                    self.engine.handle_link(clock::now(), link, *facts);
                }
            }
            for router in &self.without_path {
                self.engine.handle_path_lost(clock::now(), *router);
            }
        }
        if generation <= self.abandoned {
            return;
        }
        self.outbox.push(Report::Prepared { generation, beat_limit: Some(setup.beat_limit) });
        self.prepared = Some((generation, setup));
        self.flush();
        if self.stopping.is_some() {
            self.withdraw();
        }
    }

    fn answered(&mut self, id: RouterId, ticket: Ticket) {
        if self.applying.get(&id) == Some(&ticket) {
            self.applying.remove(&id);
            if let Some(router) = self.leaving.remove(&id) {
                self.forget_router(&router.key);
            }
        }
    }

    // ---- Packets ----

    /// A silence that was ours alone is no reason to take over.
    fn hear_sockets(&mut self, most: usize) {
        for token in self.paths.sockets.keys().copied().collect::<Vec<_>>() {
            self.hear_socket(token, most);
        }
    }

    fn hear_socket(&mut self, token: u64, most: usize) {
        let mut heard = 0;
        while heard < most {
            let Some(ear) = self.paths.sockets.get(&token) else { return };
            let place = ear.socket.place();
            match self.incoming.receive(ear.socket.as_fd()) {
                Ok(count) => {
                    self.take_packets(token, place, count);
                    heard += count;
                    if count < self.incoming.places() {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // A link that is down or gone says so here too; the kernel thread reports it.
                Err(error) => return tracing::debug!("receiving adverts for {}: {error}", place.address),
            }
        }
    }

    /// What has just come to a socket.
    fn take_packets(&mut self, token: u64, place: Place, count: usize) {
        // After the last of them has come.
        let clocks = Clocks::now();
        self.bursts.note(clocks.now, count);
        // Every place with a socket has routers, as `reroute` closes the others.
        let Some(routers) = self.paths.by_vrid.get(&place).map(Arc::clone) else { return };
        // Lent out: the packets stay in it while the routers act.
        let incoming = std::mem::take(&mut self.incoming);
        for arrived in (0..count).filter_map(|index| incoming.arrived(index)) {
            if let Some(lost) = arrived.lost {
                self.note_losses(token, lost);
            }
            self.take_packet(token, &routers, &arrived, clocks);
        }
        self.incoming = incoming;
    }

    fn note_losses(&mut self, token: u64, total: u32) {
        let Some(ear) = self.paths.sockets.get_mut(&token) else { return };
        if let Some(lost) = ear.losses.note(clock::now(), total) {
            let address = ear.socket.place().address;
            tracing::warn!(
                "{lost} adverts for {address} were lost, {total} in all: the receive buffer was full; larger values of \
                 vrrp_rx_bufs_policy or kernel_rx_buf_size, or less load, may help"
            );
        }
    }

    fn take_packet(&mut self, token: u64, routers: &ByVrid, arrived: &Arrived<'_>, clocks: Clocks) {
        let packet = match arrived.source {
            Some(source) => {
                Packet::from_ipv6(source, arrived.destination, arrived.hop_limit.unwrap_or(0), arrived.octets)
            }
            None => match Packet::from_ipv4(arrived.octets) {
                Ok(packet) => packet,
                // The kernel itself checks IP headers: nobody can send us such a packet.
                Err(_) => return,
            },
        };
        crash::packet(packet.payload);
        let Some(vrid) = packet.vrid() else { return };
        let Ok(place) = routers.binary_search_by_key(&vrid, |(vrid, _)| *vrid) else {
            return self.note_unknown(token, vrid);
        };
        let Some((_, id)) = routers.get(place).copied() else { return };
        let Some(router) = self.routers.get_mut(&id) else { return };
        match router.receiver.receive(&packet, clocks.wall) {
            Ok(verified) => {
                router.transmitter.follow(&verified);
                for line in compat::mismatch_lines(&router.name, packet.source, &verified) {
                    line.write();
                }
                let came = clocks.when(arrived.time);
                self.engine.handle_advertisement(came, id, packet.source, &verified.advertisement);
                if self.engine.has_actions() {
                    self.perform();
                }
            }
            Err(discard) => {
                if router.receiver.report_once(packet.source, &discard).is_some() {
                    compat::discard_line(&router.name, packet.source, &discard).write();
                }
            }
        }
    }

    /// `log_unknown_vrids`: each once per socket and configuration, as any host could fill the log otherwise.
    fn note_unknown(&mut self, token: u64, vrid: u8) {
        if !self.log_unknown_vrids {
            return;
        }
        let Some(ear) = self.paths.sockets.get_mut(&token) else { return };
        if ear.unknown.insert(vrid) {
            tracing::info!("Unknown VRID({vrid}) received on interface({}). ignoring...", ear.socket.name());
        }
    }

    /// Adds an advert to those that leave together at the end of [`perform`](Self::perform).
    fn advertise(&mut self, id: RouterId, priority: vrrp_proto::Priority) {
        if self.keeps_addresses() {
            return;
        }
        let Some(router) = self.routers.get_mut(&id) else { return };
        router.source = self.engine.router(id).and_then(|it| it.source()).or(router.source);
        let (Some(source), Some((place, departures))) = (router.source, self.paths.way_of(id)) else { return };
        router.send_error_before = router.send_error.take();
        let wall = clock::wall();
        if let Some(reserved) = router.transmitter.reserve(wall) {
            self.reserved.insert(router.key.clone(), reserved);
            self.outbox.push(Report::Facts(vec![facts::sequences(&router.key, &reserved)]));
        }
        let advert = router.transmitter.begin(priority, wall);
        router.receiver.follow(source, &advert);
        for destination in &router.destinations {
            let transmitter = &mut router.transmitter;
            let emit = |out: &mut Vec<u8>| packet::emit(transmitter, &advert, source, *destination, out);
            if let Err(error) = departures.add(id, &place, [source, *destination], emit) {
                compat::send_error_line(&router.name, &io::Error::other(error)).write();
            }
        }
    }

    /// Sends the adverts that wait, those of each family together. One that is refused does not stop the others.
    fn send_adverts(&mut self) {
        let routers = &mut self.routers;
        for departures in &mut self.paths.departures {
            departures.send(|id, error| {
                if let Some(router) = routers.get_mut(&id) {
                    router.note_send_error(&error);
                }
            });
        }
    }

    // ---- Actions ----

    /// Carries out what the engine decided, and logs it.
    fn perform(&mut self) {
        self.act();
        // The kernel thread may have nothing but this processor: what is said meanwhile would delay the addresses.
        if !self.has_told {
            self.say();
        }
    }

    /// Carries out what the engine decided, in its order, but each kind of thing together: the supervisor learns the
    /// facts, then the adverts leave, then the kernel thread hears what follows them.
    fn act(&mut self) {
        while let Some(action) = self.engine.poll_action() {
            crash::step();
            match action {
                Action::Fact { router, snapshot } => self.tell(router, &snapshot),
                Action::Advertise { router, priority } => self.advertise(router, priority),
                Action::Apply { router, ownership, ticket } => self.apply(router, ownership, ticket),
                Action::Prepare { due, .. } => self.keep_awake(due),
                Action::Announce { router, scope: AnnounceScope::Addresses, .. } if self.announced == Some(router) => {}
                Action::Announce { router, scope: AnnounceScope::Addresses, repeat } => {
                    self.following.push(Job::Announce { router, repeat });
                }
                Action::Announce { router, scope, .. } => {
                    let only_vmacs = scope == AnnounceScope::VirtualMacLinks;
                    self.following.push(Job::AnnounceLinks { router, only_vmacs });
                }
                Action::Notify { router, notification, priority } => {
                    self.notify(router, notification, priority.0);
                }
                Action::NotifyGroup { group, notification } => self.notify_group(group, notification),
                Action::Record { router, event } => self.note(router, event),
                Action::TrackerFact { tracker, verdict } => {
                    if let Some(name) = self.trackers.name(tracker) {
                        self.outbox.push(Report::Facts(vec![facts::tracker(name, tracker, verdict)]));
                    }
                }
                _ => {}
            }
        }
        // A full or closed socket must not keep an advert waiting.
        let _ = self.outbox.flush(&self.supervisor);
        crash::step();
        self.send_adverts();
        crash::step();
        self.has_told |= !self.following.is_empty();
        self.jobs.send_all(self.following.drain(..));
        self.flush();
    }

    /// A router is about to take over: until then nobody sleeps soundly who is needed for it.
    fn keep_awake(&mut self, due: Instant) {
        if let Some(until) = self.vigil.begin(clock::now(), due, || self.processors.are_crowded()) {
            self.jobs.send(Job::StayAwake { until, beside: sched_getcpu() });
        }
    }

    /// Logs what the engine did, in the order in which it did. Adverts that the kernel refused are in the log before it.
    fn say(&mut self) {
        for unsaid in std::mem::take(&mut self.unsaid) {
            match unsaid {
                Unsaid::Record(router, event) => self.record(router, &event),
                Unsaid::Apply(router, ownership) => self.say_apply(router, ownership),
            }
        }
    }

    /// `--dont-release-vrrp`: at stop nothing is withdrawn.
    fn keeps_addresses(&self) -> bool {
        self.stopping.is_some() && self.common.dont_release_vrrp
    }

    /// Before anything that depends on it: the supervisor learns who owns the addresses. When it last advertised alone
    /// can wait for the next beat.
    fn tell(&mut self, id: RouterId, snapshot: &RouterSnapshot) {
        let Some(router) = self.routers.get_mut(&id) else { return };
        let news = |told: RouterSnapshot| {
            RouterSnapshot { last_advertisement: snapshot.last_advertisement, ..told } != *snapshot
        };
        if router.told.is_none_or(news) {
            router.told = Some(*snapshot);
            self.outbox.push(Report::Facts(vec![facts::router(&router.key, id, snapshot)]));
            if snapshot.role == Role::Active {
                self.beat.next = self.beat.next.min(clock::now() + self.beat.every);
            }
        }
    }

    fn apply(&mut self, id: RouterId, ownership: Ownership, ticket: Ticket) {
        if self.keeps_addresses() {
            return;
        }
        self.unsaid.push(Unsaid::Apply(id, ownership));
        self.applying.insert(id, ticket);
        self.following.push(Job::Apply { router: id, ownership, ticket });
    }

    fn say_apply(&self, id: RouterId, ownership: Ownership) {
        let name = self.name(id);
        let drops = self.routers.get(&id).is_some_and(|router| router.drops);
        match ownership {
            Ownership::Held => {
                if drops {
                    tracing::debug!("({name}) setting firewall drop rule");
                }
                tracing::debug!("({name}) setting VIPs.");
            }
            Ownership::Released => {
                tracing::debug!("({name}) removing VIPs.");
                if drops {
                    tracing::debug!("({name}) removing firewall drop rule");
                }
            }
        }
    }

    fn notify(&mut self, id: RouterId, notification: Notification, priority: u8) {
        if let Some(state) = notify_state(notification) {
            self.push_notification(NotifyEvent::Instance { name: self.name(id).to_owned(), state, priority });
        }
    }

    fn notify_group(&mut self, id: GroupId, notification: Notification) {
        if let (Some(state), Some(name)) = (notify_state(notification), self.group_names.get(&id)) {
            self.push_notification(NotifyEvent::Group { name: name.clone(), state });
        }
    }

    fn push_notification(&mut self, event: NotifyEvent) {
        if !self.has_runner {
            return;
        }
        self.outbox.push(Report::Facts(self.notifier.push(event)));
    }

    fn record(&self, id: RouterId, event: &Event) {
        let links = |link: vrrp_proto::LinkId| {
            let name = usize::try_from(link.0).ok().and_then(|number| self.link_names.get(number));
            name.cloned().unwrap_or_default()
        };
        let groups = |group: GroupId| self.group_names.get(&group).cloned().unwrap_or_default();
        let Some(router) = self.routers.get(&id) else { return };
        let family = router.receiver.config().family;
        let trackers = |tracker| self.trackers.name(tracker).cloned();
        compat::Instance { name: &router.name, family, links: &links, groups: &groups, trackers: &trackers }
            .line(event)
            .write();
    }

    /// To be logged. A router that changes its role reports everything anew.
    fn note(&mut self, id: RouterId, event: Event) {
        if matches!(event, Event::EnteringActive | Event::EnteringBackup { .. } | Event::EnteringFault { .. })
            && let Some(router) = self.routers.get_mut(&id)
        {
            router.receiver.forget_reports();
        }
        self.unsaid.push(Unsaid::Record(id, event));
    }

    fn name(&self, id: RouterId) -> &str {
        if id == HOST {
            return FIXED;
        }
        self.routers.get(&id).or_else(|| self.leaving.get(&id)).map_or("", |router| router.name.as_str())
    }

    fn hear_runner(&mut self) {
        self.outbox.push(Report::Facts(self.notifier.hear()));
        for fact in self.notifier.take_trackers() {
            match self.trackers.hear(fact) {
                News::Says(tracker, verdict) => self.engine.handle_tracker(clock::now(), tracker, verdict),
                News::Wanted if self.stopping.is_none() => {
                    let wanted = EngineConfig { trackers: self.trackers.wanted(), ..self.engine.config() };
                    self.engine.reconfigure(clock::now(), &wanted);
                    for (tracker, verdict) in self.trackers.verdicts() {
                        self.engine.handle_tracker(clock::now(), tracker, verdict);
                    }
                }
                News::Wanted | News::None => {}
            }
        }
        self.perform();
    }
}

impl Router {
    /// Logs it, unless the last advert failed alike.
    fn note_send_error(&mut self, error: &io::Error) {
        let number = error.raw_os_error();
        if number.is_none() || self.send_error_before != number && self.send_error != number {
            compat::send_error_line(&self.name, error).write();
        }
        self.send_error = number;
    }
}

impl Paths {
    fn open(&mut self, epoll: &OwnedFd, socket: Arc<ReceiveSocket>) -> anyhow::Result<()> {
        let token = self.next;
        self.next += 1;
        watch(epoll, &*socket, token)?;
        self.tokens.insert(socket.place(), token);
        self.sockets.insert(token, Ear { socket, losses: Losses::default(), unknown: Vrids::default() });
        Ok(())
    }

    /// Takes out what no router uses any more. To close it may wait inside the kernel: leaving a group does.
    fn reroute(
        &mut self,
        epoll: &OwnedFd,
        routes: BTreeMap<RouterId, Place>,
    ) -> anyhow::Result<Vec<Arc<ReceiveSocket>>> {
        let used: BTreeSet<_> = routes.values().filter_map(|place| self.tokens.get(place)).copied().collect();
        let unused: Vec<_> =
            self.sockets.extract_if(.., |token, _| !used.contains(token)).map(|(_, ear)| ear.socket).collect();
        for socket in &unused {
            epoll::delete(epoll, &**socket).context("forgetting a descriptor")?;
        }
        self.tokens.retain(|_, token| used.contains(token));
        self.routes = routes;
        Ok(unused)
    }

    fn index(&mut self, routers: &BTreeMap<RouterId, Box<Router>>) {
        let vrid = |id: &RouterId| routers.get(id).map(|router| router.receiver.config().vrid.get());
        let mut places: HashMap<Place, BTreeMap<u8, RouterId>> = HashMap::new();
        for (id, place) in &self.routes {
            let routers = places.entry(*place).or_default();
            routers.extend(vrid(id).map(|vrid| (vrid, *id)));
        }
        self.by_vrid = places.into_iter().map(|(place, routers)| (place, routers.into_iter().collect())).collect();
    }

    /// Where the adverts of a router go, and those that leave with them.
    fn way_of(&mut self, router: RouterId) -> Option<(Place, &mut Departures)> {
        let place = *self.routes.get(&router)?;
        let departures = self.departures.iter_mut().find(|departures| departures.family() == place.family())?;
        Some((place, departures))
    }
}

/// Which foretells take-overs.
fn ahead(mut engine: Engine) -> Engine {
    engine.prepare_ahead(vigil::LEAD);
    engine
}

/// The longer of the two delays counts; a worker that follows another one starts no later than that one.
fn start_not_before(started: Duration, [after_start, after_boot]: [Duration; 2]) -> Instant {
    let after_start = if after_start.is_zero() { Duration::ZERO } else { started + after_start };
    Instant::ZERO + after_start.max(after_boot)
}

/// What scripts hear of it.
fn notify_state(notification: Notification) -> Option<NotifyState> {
    Some(match notification {
        Notification::Active => NotifyState::Active,
        Notification::Backup { .. } => NotifyState::Backup,
        Notification::Fault { .. } => NotifyState::Fault,
        Notification::Deleted => NotifyState::Deleted,
        Notification::Stop => NotifyState::Stop,
        Notification::ReceivedLowerPriority => NotifyState::ActiveReceivedLowerPriority,
        _ => return None,
    })
}

fn watch(epoll: &OwnedFd, source: &impl AsFd, token: u64) -> anyhow::Result<()> {
    epoll::add(epoll, source, epoll::EventData::new_u64(token), epoll::EventFlags::IN).context("watching a descriptor")
}

/// Often enough for the supervisor, and for a successor: what it learns must be younger than its peers' patience.
fn beat_interval(limit: Duration, routers: &BTreeMap<RouterId, RouterConfig>) -> Duration {
    let intervals = routers.values().map(|router| router.advertisement_interval.duration() / 2);
    intervals.chain([limit / 4, LONGEST_BEAT]).min().unwrap_or(LONGEST_BEAT)
}

/// The row in which a router's counters are told.
const fn row_of(id: RouterId) -> u32 {
    id.0 / facts::COUNTERS_PER_FACT
}

#[cfg(test)]
mod tests {
    use socket2::{Domain, Socket, Type};
    use vrrp_proto::{LinkFacts, State};

    use super::*;
    use crate::log;
    use crate::workers::vrrp::roster::Roster;
    use crate::workers::vrrp::sockets::Carrier;

    /// The thread and the far ends of its sockets.
    struct Bench {
        advert: Advert,
        supervisor: Channel,
        runner: Channel,
        jobs: mailbox::Receiver<Job>,
        _outcomes: mailbox::Sender<Outcome>,
    }

    impl Bench {
        fn new() -> Self {
            let (ours, supervisor) = Channel::pair().unwrap();
            let (jobs, todo) = mailbox::channel().unwrap();
            let (results, outcomes) = mailbox::channel().unwrap();
            let common = Common {
                build: ipc::BUILD_ID.into(),
                started: Duration::ZERO,
                log: log::Options::default(),
                dont_release_vrrp: false,
                dont_release_ipvs: false,
                ipvs_namespace: None,
            };
            let mut advert = Advert::new(ours, common, jobs, outcomes).unwrap();
            let (ours, runner) = Channel::pair().unwrap();
            advert.obey(Order::Connect { peer: ipc::Role::Runner }, vec![ours.into()]).unwrap();
            Self { advert, supervisor, runner, jobs: todo, _outcomes: results }
        }

        /// Facts one by one.
        fn reports(&self) -> Vec<Report> {
            let receive = || self.supervisor.receive().ok().flatten();
            let reports = std::iter::from_fn(receive).map(|(report, _)| report);
            let one_by_one = |report| match report {
                Report::Facts(facts) => facts.into_iter().map(|fact| Report::Facts(vec![fact])).collect(),
                other => vec![other],
            };
            reports.flat_map(one_by_one).collect()
        }

        /// The kernel thread is told to take everything else off the host, and does.
        fn leaves_the_host(&mut self) {
            self.advert.leave_host();
            assert!(!self.advert.is_done(clock::now()));
            let jobs = self.jobs.take().values;
            assert!(matches!(jobs.last(), Some(Job::Withdraw)), "{jobs:?}");
            self.advert.take_outcome(Outcome::Withdrawn).unwrap();
        }

        fn notifications(&self) -> Vec<u64> {
            let receive = || match self.runner.receive().ok()??.0 {
                ipc::ToRunner::Notify(notification) => Some(notification.number),
                other => panic!("{other:?}"),
            };
            std::iter::from_fn(receive).collect()
        }
    }

    /// Of a router that is Active and has just advertised.
    fn active(now: Instant) -> RouterSnapshot {
        RouterSnapshot {
            role: Role::Active,
            last_advertisement: Some(now),
            active_down_interval: Duration::from_secs(3),
            active_adver_interval: vrrp_proto::AdvertisementInterval::one_second(vrrp_proto::Version::V2),
            last_transition: None,
            notified: true,
            control: vrrp_proto::Control::default(),
        }
    }

    #[test]
    fn the_longer_start_up_delay_counts() {
        let started = Duration::from_secs(100);
        let start =
            |delays: [u64; 2]| start_not_before(started, delays.map(Duration::from_secs)).as_nanos() / 1_000_000_000;
        assert_eq!(start([0, 0]), 0);
        assert_eq!(start([5, 60]), 105);
        assert_eq!(start([5, 160]), 160);
        assert_eq!(start([0, 60]), 60);
    }

    #[test]
    fn before_a_take_over_the_kernel_thread_is_woken_once_and_this_thread_does_not_sleep() {
        let mut bench = Bench::new();
        bench.advert.processors = Processors::plenty();
        let now = clock::now();
        assert_eq!(bench.advert.patience(now), None);
        let due = now + vigil::LEAD;
        bench.advert.keep_awake(due);
        bench.advert.keep_awake(due);
        let jobs = bench.jobs.take().values;
        assert!(matches!(jobs[..], [Job::StayAwake { until, .. }] if until > due), "{jobs:?}");
        assert_eq!(bench.advert.patience(now), Some(Timespec { tv_sec: 0, tv_nsec: 0 }));
        assert_eq!(bench.advert.patience(due), None);
    }

    #[test]
    fn what_is_said_waits_for_the_kernel_thread_to_be_told_and_for_a_moment_more() {
        let mut bench = Bench::new();
        bench.advert.apply(RouterId(1), Ownership::Held, Ticket(1));
        bench.advert.perform();
        assert!(matches!(bench.jobs.take().values[..], [Job::Apply { .. }]));
        assert_eq!(bench.advert.unsaid.len(), 1);
        let most = bench.advert.patience(clock::now()).unwrap();
        assert!(most.tv_sec == 0 && most.tv_nsec > 0, "{most:?}");
        // As after each sleep.
        bench.advert.has_told = false;
        bench.advert.perform();
        assert_eq!(bench.advert.unsaid.len(), 0);
    }

    #[test]
    fn a_sequence_that_was_reserved_is_told_before_the_advert_and_not_used_again() {
        let part = crate::config::vrrp::tests::part(
            "vrrp_instance VI_1 {\ninterface eth0\nvirtual_router_id 51\nauthentication {\nauth_type AH\nauth_pass x\n}\n\
             virtual_ipaddress { 192.0.2.9 }\n}\n",
        );
        let setup = || Roster::default().prepare(1, part.clone()).unwrap().routers.remove(0);
        let sequence = |bench: &mut Bench| {
            let router = bench.advert.routers.values_mut().next().unwrap();
            let reserved = router.transmitter.reserve(clock::wall());
            let advert = router.transmitter.begin(vrrp_proto::Priority(100), clock::wall());
            (router.key.clone(), reserved, advert.ah_sequence().unwrap())
        };
        let mut first = Bench::new();
        first.advert.set_up(setup());
        let (key, reserved, before) = sequence(&mut first);
        let mut second = Bench::new();
        second.advert.resume(&ipc::seal(&vec![facts::sequences(&key, &reserved.unwrap())]).unwrap());
        second.advert.set_up(setup());
        let (_, again, after) = sequence(&mut second);
        assert!(again.is_some() && after > before + 1000, "{before} and {after}");
    }

    #[test]
    fn what_was_heard_before_the_last_beat_is_not_believed_again() {
        let part = crate::config::vrrp::tests::part(
            "vrrp_instance VI_1 {\ninterface eth0\nvirtual_router_id 51\nauthentication {\nauth_type AH\nauth_pass x\n}\n\
             virtual_ipaddress { 192.0.2.9 }\n}\n",
        );
        let setup = || Roster::default().prepare(1, part.clone()).unwrap().routers.remove(0);
        let mut first = Bench::new();
        first.advert.set_up(setup());
        let router = first.advert.routers.values_mut().next().unwrap();
        router.transmitter.reserve(clock::wall());
        let advert = router.transmitter.begin(vrrp_proto::Priority(100), clock::wall());
        router.receiver.follow(std::net::IpAddr::from([192, 0, 2, 1]), &advert);
        let memory = router.receiver.memory().clone();
        assert_ne!(memory, ReplayMemory::default());
        first.reports();
        first.advert.beat(clock::now());
        let facts: Vec<_> = first
            .reports()
            .into_iter()
            .filter_map(|report| if let Report::Facts(facts) = report { Some(facts) } else { None })
            .flatten()
            .collect();
        let mut second = Bench::new();
        second.advert.resume(&ipc::seal(&facts).unwrap());
        second.advert.set_up(setup());
        assert_eq!(*second.advert.routers.values().next().unwrap().receiver.memory(), memory);
    }

    #[test]
    fn who_is_active_beats_as_often_as_it_advertises_and_others_seldom() {
        let mut bench = Bench::new();
        let now = clock::now();
        let every = Duration::from_millis(20);
        bench.advert.beat.every = every;
        bench.advert.beat(now);
        assert_eq!(bench.advert.beat.next, now + LONGEST_BEAT);
        bench.advert.set_up(numbered(RouterId(1)));
        bench.advert.tell(RouterId(1), &active(now));
        assert!(bench.advert.beat.next <= clock::now() + every);
    }

    /// A worker with one Backup Router, whose Active_Down_Timer has just ended, and the far end of its socket.
    fn about_to_take_over() -> (Bench, Socket, RouterSetup, Instant) {
        let mut bench = Bench::new();
        let part = crate::config::vrrp::tests::part(
            "vrrp_instance VI_1 {\ninterface eth0\nvirtual_router_id 51\nvirtual_ipaddress { 192.0.2.9 }\n}\n",
        );
        let mut setup = Roster::default().prepare(1, part.clone()).unwrap();
        let peer = Roster::default().prepare(1, part).unwrap().routers.remove(0);
        let (id, config) = setup.configs.pop_first().unwrap();
        bench.advert.set_up(setup.routers.remove(0));
        let (near, far) = Socket::pair(Domain::UNIX, Type::DGRAM.nonblocking(), None).unwrap();
        let place = Place { link: 1, vrf: 0, address: peer.destinations[0], carrier: Carrier::Vrrp };
        let (paths, epoll) = (&mut bench.advert.paths, &bench.advert.epoll);
        paths.open(epoll, Arc::new(ReceiveSocket::of(place, near))).unwrap();
        paths.reroute(epoll, BTreeMap::from([(id, place)])).unwrap();
        paths.index(&bench.advert.routers);
        let engine = &mut bench.advert.engine;
        let begin = clock::now().saturating_sub(Duration::from_secs(4));
        let facts =
            LinkFacts { up: true, multicast: true, ipv4_source: Some([192, 0, 2, 1].into()), ..LinkFacts::default() };
        engine.handle_link(begin, config.link.unwrap(), facts);
        engine.reconfigure(begin, &EngineConfig { routers: [(id, config)].into(), ..EngineConfig::default() });
        let State::Backup(backup) = engine.router(id).unwrap().state() else { unreachable!("it has just started") };
        let due = backup.active_down_timer;
        // What is done ahead of the take-over is over.
        engine.handle_timeout(due.saturating_sub(Duration::from_nanos(1)));
        while engine.poll_action().is_some() {}
        assert!(due < clock::now());
        (bench, far, peer, due)
    }

    #[test]
    fn an_advert_that_waits_is_heard_before_a_take_over_however_late_the_timer_is() {
        for late in [Duration::ZERO, STALLED - Duration::from_nanos(1), STALLED, Duration::from_millis(300)] {
            for waits in [true, false] {
                let (mut bench, far, peer, due) = about_to_take_over();
                let mut transmitter = Transmitter::new(peer.wire).unwrap();
                let advert = transmitter.begin(vrrp_proto::Priority(200), clock::wall());
                let (source, mut octets) = ([192, 0, 2, 2].into(), Vec::new());
                packet::emit(&mut transmitter, &advert, source, peer.destinations[0], &mut octets).unwrap();
                if waits {
                    far.send(&octets).unwrap();
                }
                bench.advert.fire(due + late);
                let role = bench.advert.engine.router(peer.id).unwrap().role();
                assert_eq!(role, if waits { Role::Backup } else { Role::Active }, "{late:?} late");
            }
        }
    }

    #[test]
    fn in_a_burst_adverts_gather_unless_there_is_something_else_to_do() {
        let mut bench = Bench::new();
        let now = clock::now();
        let rest = |bench: &mut Bench| {
            bench.advert.bursts.note(now, PACKETS_PER_TURN);
            bench.advert.rest(now, None)
        };
        assert!(rest(&mut bench).is_some());
        bench.advert.applying.insert(RouterId(1), Ticket(1));
        assert_eq!(rest(&mut bench), None);
        bench.advert.applying.clear();
        bench.advert.stopping = Some(now);
        assert_eq!(rest(&mut bench), None);
    }

    /// A router, with a number of its own.
    fn numbered(id: RouterId) -> RouterSetup {
        let part = crate::config::vrrp::tests::part(
            "vrrp_instance VI_1 {\ninterface eth0\nvirtual_router_id 51\nvirtual_ipaddress { 192.0.2.9 }\n}\n",
        );
        let setup = Roster::default().prepare(1, part).unwrap().routers.remove(0);
        RouterSetup { id, ..setup }
    }

    #[test]
    fn counters_that_were_cleared_or_whose_routers_went_are_told_at_once() {
        let ids = [RouterId(1), RouterId(3 * facts::COUNTERS_PER_FACT)];
        let told = |id: RouterId, all: &[_]| Report::Facts(vec![facts::counters(row_of(id), all)]);
        let mut bench = Bench::new();
        for id in ids {
            bench.advert.set_up(numbered(id));
        }
        bench.reports();
        bench.advert.write_statistics(true);
        bench.advert.flush();
        let reports = bench.reports();
        for id in ids {
            assert!(reports.contains(&told(id, &[(id, Counters::default())])), "{reports:?}");
        }
        bench.advert.remove_routers(ids[1..].iter().copied().collect());
        bench.advert.flush();
        let reports = bench.reports();
        assert!(reports.contains(&told(ids[1], &[])), "{reports:?}");
        assert!(!reports.contains(&told(ids[0], &[])), "{reports:?}");
    }

    #[test]
    fn a_socket_that_is_refused_while_routers_stop_is_no_fault_of_theirs() {
        let refused = || Outcome::Paths {
            routes: BTreeMap::default(),
            opened: Vec::new(),
            senders: Vec::new(),
            refused: BTreeSet::from([RouterId(1)]),
        };
        let mut bench = Bench::new();
        bench.advert.take_outcome(refused()).unwrap();
        assert!(bench.advert.without_path.contains(&RouterId(1)));
        let mut bench = Bench::new();
        bench.advert.stop();
        bench.advert.take_outcome(refused()).unwrap();
        assert!(bench.advert.without_path.is_empty());
    }

    #[test]
    fn a_notification_leaves_only_after_the_supervisor_knows_its_number() {
        let mut bench = Bench::new();
        // A supervisor that does not read.
        while bench.advert.supervisor.send(&Report::Beat, &[]).is_ok() {}
        bench.advert.set_runner(true);
        bench.advert.notify(RouterId(1), Notification::Stop, 100);
        bench.advert.perform();
        assert!(bench.notifications().is_empty());
        bench.reports();
        bench.advert.perform();
        let facts = bench.reports();
        assert!(facts.contains(&Report::Facts(vec![facts::next_notification(2)])), "{facts:?}");
        assert_eq!(bench.notifications(), [1]);
    }

    #[test]
    fn without_scripts_nothing_is_kept_for_later_ones() {
        let mut bench = Bench::new();
        bench.advert.notify(RouterId(1), Notification::Stop, 100);
        bench.advert.set_runner(true);
        bench.advert.notify(RouterId(2), Notification::Stop, 100);
        bench.advert.perform();
        assert_eq!(bench.notifications(), [1]);
        bench.reports();
        bench.advert.set_runner(false);
        bench.advert.perform();
        assert_eq!(bench.reports(), [Report::Facts(vec![facts::forget_notification(1)])]);
    }

    #[test]
    fn a_reload_that_removes_the_last_scripts_still_runs_those_of_the_instance_that_goes() {
        let instance = |vrid: u8, script: &str| {
            format!(
                "vrrp_instance V{vrid} {{\ninterface eth0\nvirtual_router_id {vrid}\n{script}\nvirtual_ipaddress {{ 192.0.2.{vrid} }}\n}}\n"
            )
        };
        let part = |text: &str| crate::config::vrrp::tests::part(text);
        let mut roster = Roster::default();
        let mut bench = Bench::new();
        let mut commit = |bench: &mut Bench, generation, part| {
            let setup = roster.prepare(generation, part).unwrap();
            bench.advert.take_outcome(Outcome::Prepared { generation, setup: Box::new(setup) }).unwrap();
            bench.advert.commit(generation);
            let _ = roster.commit(generation);
        };
        let (kept, gone) = (instance(1, ""), instance(2, "notify_fault /n"));
        commit(&mut bench, 1, part(&format!("{kept}{gone}")));
        bench.reports();
        bench.notifications();
        commit(&mut bench, 2, part(&kept));
        assert!(!bench.advert.has_runner);
        assert_eq!(bench.notifications().len(), 1, "the removed instance reports");
    }

    #[test]
    fn a_stop_waits_for_a_release_that_was_refused_and_is_tried_again() {
        let mut bench = Bench::new();
        bench.advert.applying.insert(RouterId(1), Ticket(3));
        bench.advert.stop();
        bench.advert.take_outcome(Outcome::Refused { router: RouterId(1), ticket: Ticket(3) }).unwrap();
        let since = bench.advert.stopping.unwrap();
        assert!(!bench.advert.is_done(since));
        assert!(bench.advert.is_done(since + STOP_WAIT));
        bench.advert.leave_host();
        assert!(!matches!(bench.jobs.take().values.last(), Some(Job::Withdraw)), "the macvlan may still be needed");
        bench.advert.take_outcome(Outcome::Applied { router: RouterId(1), ticket: Ticket(3) }).unwrap();
        bench.leaves_the_host();
        assert!(bench.advert.is_done(since));
    }

    #[test]
    fn a_successor_told_to_stop_first_waits_for_the_configuration_to_withdraw() {
        let mut bench = Bench::new();
        let part = crate::config::vrrp::tests::part(
            "vrrp_instance VI_1 {\ninterface eth0\nvirtual_router_id 51\nvirtual_ipaddress { 192.0.2.9 }\n}\n",
        );
        let mut roster = Roster::default();
        let mut setup = roster.prepare(1, part).unwrap();
        let id = setup.routers.first().unwrap().id;
        let now = clock::now();
        let held = active(now);
        bench.advert.resume(&ipc::seal(&vec![facts::router("k", id, &held)]).unwrap());
        bench.advert.stop();
        assert!(!bench.advert.is_done(now));
        setup.inherited.routers.insert(id, held);
        bench.advert.take_outcome(Outcome::Prepared { generation: 1, setup: Box::new(setup) }).unwrap();
        let jobs = bench.jobs.take().values;
        assert!(matches!(jobs.last(), Some(Job::Apply { ownership: Ownership::Released, .. })), "{jobs:?}");
        let Some(Job::Apply { router, ticket, .. }) = jobs.last() else { unreachable!("as was seen") };
        bench.advert.take_outcome(Outcome::Applied { router: *router, ticket: *ticket }).unwrap();
        bench.leaves_the_host();
        assert!(bench.advert.is_done(now));
    }

    #[test]
    fn until_a_reload_is_carried_out_a_successor_knows_old_and_new_addresses() {
        let mut bench = Bench::new();
        let text = "vrrp_instance VI_1 {\ninterface eth0\nvirtual_router_id 51\nvirtual_ipaddress { 192.0.2.8 }\n}\n";
        let mut roster = Roster::default();
        let mut setups = ["192.0.2.8", "192.0.2.9"].map(|address| {
            let part = crate::config::vrrp::tests::part(&text.replace("192.0.2.8", address));
            roster.prepare(1, part).unwrap()
        });
        let id = setups[0].routers[0].id;
        let told = |bench: &Bench| {
            bench.advert.told_footprints[&id].1.addresses.iter().map(|it| it.ip.to_string()).collect::<Vec<_>>()
        };
        let [first, second] = setups.each_mut().map(|setup| setup.routers.remove(0));
        bench.advert.tell_both_footprints(std::slice::from_ref(&first));
        bench.advert.set_up(first);
        bench.reports();
        bench.advert.applying.insert(id, Ticket(1));
        bench.advert.tell_both_footprints(std::slice::from_ref(&second));
        let facts: Vec<_> = bench
            .reports()
            .into_iter()
            .filter_map(|report| if let Report::Facts(facts) = report { Some(facts) } else { None })
            .flatten()
            .collect();
        assert_eq!(facts::told_footprints(&facts)[&id].1.addresses.len(), 2);
        bench.advert.set_up(second);
        bench.advert.settle_footprint(id);
        assert_eq!(told(&bench), ["192.0.2.9", "192.0.2.8"]);
        bench.advert.take_outcome(Outcome::Applied { router: id, ticket: Ticket(1) }).unwrap();
        assert_eq!(told(&bench), ["192.0.2.9"]);
    }

    #[test]
    fn what_no_configuration_names_any_more_is_known_until_it_is_gone() {
        let text = "vrrp_instance VI_1 {\ninterface eth0\nvirtual_router_id 51\nvirtual_ipaddress { 192.0.2.8 }\n}\n";
        let part = crate::config::vrrp::tests::part(text);
        let left = Roster::default().prepare(1, part).unwrap().routers.remove(0).footprint;
        let gone = RouterId(77);
        let facts = facts::footprint("k", gone, &left, &Footprint::default());
        let mut bench = Bench::new();
        bench.advert.resume(&ipc::seal(&facts).unwrap());
        bench.advert.stop();
        let other = crate::config::vrrp::tests::part(&text.replace("51", "52"));
        let setup = Roster::default().prepare(1, other).unwrap();
        bench.advert.take_outcome(Outcome::Prepared { generation: 1, setup: Box::new(setup) }).unwrap();
        bench.advert.applying.clear();
        bench.advert.host = HostState::Settled;
        let since = bench.advert.stopping.unwrap();
        assert!(!bench.advert.inherits && !bench.advert.is_done(since));
        assert!(bench.advert.told_footprints.contains_key(&gone));
        bench.advert.take_outcome(Outcome::Gone { router: gone }).unwrap();
        assert!(!bench.advert.told_footprints.contains_key(&gone));
        assert!(bench.advert.is_done(since));
    }
}
