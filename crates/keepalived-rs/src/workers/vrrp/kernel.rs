//! The kernel thread: everything that may wait inside the kernel, so that the advert thread never does
//! (`design.md` §2). It watches links and addresses, opens sockets, carries address plans out in batches, and sends
//! announcements. Jobs come in through a mailbox, outcomes go back through another.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::thread::sched_getcpu;
use vip_netlink::{
    AddressKey, Announcement, CarrierSocket, Event, Link, LinkIndex, LinkName, Monitor, RECEIVE_BUFFER, RouteSocket,
    Wanted,
};
use vrrp_proto::{Family, Instant, LinkFacts, LinkId, Ownership, RouterId, Snapshot, Ticket};

use super::announcer::Announcer;
use super::clock;
use super::counters::Counters;
use super::debounce::{self, Debounce};
use super::facts;
use super::firewall::Firewall;
use super::holdings::{HOST, Holder, Holdings};
use super::linkbeat::Linkbeat;
use super::losses::{Held, Losses};
use super::mailbox::{Receiver, Sender, Taken};
use super::roster::{self, Roster, Setup};
use super::sockets::{Listening, Place, ReceiveSocket, SendSocket};
use super::view::View;
use super::vmac::{self, Needs, Vmacs};
use crate::compat;
use crate::config::vrrp::{BufferSize, LinkbeatMethod, VrrpPart};
use crate::control;
use crate::crash;
use crate::ipc::{self, Fact};
use crate::workers::lateness::Histogram;
use crate::workers::scheduling::Scheduling;

mod announce;
mod lease;
mod outlets;
mod refused;
mod repair;
mod statistics;

use outlets::Outlets;
use refused::{Refused, add, apply, things};

/// When something that the kernel refused is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Between two lines of the log about lost events.
const OVERRUN_PAUSE: Duration = Duration::from_secs(60);

/// Exit status of a start that the configuration makes impossible (`behaviour.md` §1.2).
const EXIT_CONFIG: u8 = 2;

/// Exit status of a start that the host makes impossible.
const EXIT_FATAL: u8 = 1;

/// What the advert thread wants done.
#[derive(Debug)]
pub(crate) enum Job {
    /// Facts of the process before this one.
    Resume(Vec<Fact>),
    /// Read, check and open what a configuration needs; answered by `Prepared` or `Rejected`.
    Prepare {
        /// To be given back.
        generation: u64,
        /// It ran before: what is missing on the host now does not stop it.
        again: bool,
        /// A sealed memfd with a `VrrpPart`.
        part: OwnedFd,
    },
    /// The configuration that was prepared as `generation` is the running one.
    Commit {
        /// As prepared.
        generation: u64,
    },
    /// The configuration that was prepared as `generation` is no longer wanted.
    Abandon {
        /// As prepared.
        generation: u64,
    },
    /// Close these sockets.
    Close(Vec<Arc<ReceiveSocket>>),
    /// Put a router's addresses in place or take them away; answered by `Applied` or `Refused`. What is in place is
    /// announced before the answer.
    Apply {
        /// Whose.
        router: RouterId,
        /// Which of the two.
        ownership: Ownership,
        /// To be given back.
        ticket: Ticket,
    },
    /// An `Apply` will follow soon: do not sleep.
    StayAwake {
        /// Unless it has come by then.
        until: Instant,
        /// The processor of the advert thread, which must have it for itself.
        beside: usize,
    },
    /// Announce a router's addresses.
    Announce {
        /// Whose.
        router: RouterId,
        /// Sends per address.
        repeat: u8,
    },
    /// Announce one of a router's addresses on each link that holds any.
    AnnounceLinks {
        /// Whose.
        router: RouterId,
        /// Only on macvlans that are not the router's own.
        only_vmacs: bool,
    },
    /// Remove the packet filter once no router holds an address; answered by `FirewallRemoved`.
    RemoveFirewall,
    /// One [`Outcome::Host`] is in the state file.
    Told,
    /// How late the advert thread's timers were, for those who ask.
    Lateness(Box<Histogram>),
    /// Put what was counted into words; answered by `Statistics`.
    Statistics(Vec<(RouterId, Counters)>),
    /// Take everything off the host that is not an address; answered by `Withdrawn`.
    Withdraw,
    /// Answer the commands that ask something at this socket.
    Listen(OwnedFd),
}

impl Job {
    /// The router whose addresses it puts in place or takes away.
    const fn applies(&self) -> Option<RouterId> {
        match self {
            Self::Apply { router, .. } => Some(*router),
            _ => None,
        }
    }
}

/// What became of it, and what the kernel reported.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The configuration can run.
    Prepared {
        /// As in the job.
        generation: u64,
        /// What to run.
        setup: Box<Setup>,
    },
    /// It cannot.
    Rejected {
        /// As in the job.
        generation: u64,
        /// Exit status for a refused start.
        exit: u8,
        /// Why.
        why: String,
    },
    /// Links that are new, different or gone.
    Links(Vec<(LinkId, Option<LinkFacts>)>),
    /// Where each router's adverts come and go, all of them; sockets for other places are no longer needed.
    Paths {
        /// By router; one that is missing has no way at present.
        routes: BTreeMap<RouterId, Place>,
        /// Sockets that were not open before.
        opened: Vec<Arc<ReceiveSocket>>,
        /// Sockets to send from, for families that had none before.
        senders: Vec<SendSocket>,
        /// The routers whose socket could not be opened, which is tried again.
        refused: BTreeSet<RouterId>,
    },
    /// An `Apply` was carried out, if not in every part.
    Applied {
        /// Whose.
        router: RouterId,
        /// As in the job.
        ticket: Ticket,
    },
    /// An `Apply` was refused as a whole.
    Refused {
        /// Whose.
        router: RouterId,
        /// As in the job.
        ticket: Ticket,
    },
    /// What is about to be put on this host, or is no longer there; answered by [`Job::Told`].
    Host(Vec<Fact>),
    /// Nothing is left on this host but addresses.
    Withdrawn,
    /// Nothing is left on this host of a router that is no longer configured.
    Gone {
        /// Which router.
        router: RouterId,
    },
    /// Someone removed an address, a route or a rule that a router holds.
    AddressLost {
        /// Which router.
        router: RouterId,
    },
    /// There is no packet filter of ours any more.
    FirewallRemoved,
    /// The text of the statistics, in a memfd.
    Statistics(OwnedFd),
}

/// A socket that the advert thread reads, and what it was told last.
#[derive(Debug)]
struct Open {
    socket: Arc<ReceiveSocket>,
    listening: Listening,
}

/// The thread's state.
#[derive(Debug)]
pub(crate) struct Kernel {
    route: RouteSocket,
    monitor: Monitor,
    outlets: Outlets,
    jobs: Receiver<Job>,
    /// Taken from there already.
    jobs_ahead: Taken<Job>,
    /// Until when, and beside which processor, jobs are waited for without sleep.
    stays_awake: Option<(Instant, usize)>,
    outcomes: Sender<Outcome>,
    view: View,
    roster: Roster,
    inherited: Snapshot,
    vmacs: Vmacs,
    /// Waits until the supervisor knows what it needs: generation, whether it ran before, the configuration.
    preparing: Option<(u64, bool, Box<VrrpPart>)>,
    /// The addresses of the process before this one have not been compared with a configuration yet.
    inherits: bool,
    /// As the advert thread was told; `None` for a link that is missing.
    told_links: BTreeMap<LinkId, Option<LinkFacts>>,
    told_routes: BTreeMap<RouterId, Place>,
    /// Those of them whose socket could not be opened.
    told_refused: BTreeSet<RouterId>,
    open: BTreeMap<Place, Open>,
    /// The families that adverts can be sent over, with the number of the descriptor.
    sends: BTreeMap<Family, RawFd>,
    debounce: Debounce,
    linkbeat: Linkbeat,
    carrier: CarrierSocket,
    holdings: Holdings,
    announcer: Announcer,
    firewall: Firewall,
    /// The packet filter has to go, as soon as all addresses are gone.
    remove_firewall: bool,
    /// What others do to the packet filter is not undone before.
    repair_at: Instant,
    /// Newest `Apply` of each router that waits to be carried out.
    pending: BTreeMap<RouterId, Ticket>,
    /// Routers some of whose addresses the kernel refused.
    unsettled: BTreeSet<RouterId>,
    retry_at: Option<Instant>,
    /// The newest `Apply` of [`HOST`] if the kernel refused it: that of a router is made anew by the engine.
    refused_host: Option<Ticket>,
    /// Macvlans and settings have to go, and the kernel refused some of it.
    withdrawing: bool,
    /// Addresses of ours on links that have another name now: they have to go.
    stranded: BTreeSet<AddressKey>,
    /// Events were lost, and the kernel could not be asked for everything since.
    out_of_step: bool,
    /// Losses are not logged again so soon.
    overrun_is_known_until: Option<Instant>,
    /// Refusals that were logged.
    complaints: BTreeSet<String>,
    /// When something that others took away was put back last.
    repaired_at: Option<Instant>,
    /// The addresses that the kernel refused: they are not announced.
    refused: BTreeSet<AddressKey>,
    scheduling: Scheduling,
    /// That of the advert thread, as it said last.
    lateness: Histogram,
    /// When the leases of virtual addresses are renewed.
    renewals: lease::Renewals,
    /// Who asks something.
    control: control::Host,
}

impl Kernel {
    /// Opens the netlink and packet sockets and looks around. Call before privileges or the namespace change.
    ///
    /// # Errors
    /// What the kernel refused.
    pub(crate) fn new(jobs: Receiver<Job>, outcomes: Sender<Outcome>, scheduling: Scheduling) -> anyhow::Result<Self> {
        // The monitor first: nothing may fall between it and the dump.
        let monitor = Monitor::open()?;
        let mut route = RouteSocket::open()?;
        let view = View::new(route.links()?, route.addresses()?);
        Ok(Self {
            route,
            monitor,
            outlets: Outlets::open()?,
            jobs,
            jobs_ahead: Taken::default(),
            stays_awake: None,
            outcomes,
            view,
            roster: Roster::default(),
            inherited: Snapshot::default(),
            vmacs: Vmacs::default(),
            preparing: None,
            inherits: false,
            told_links: BTreeMap::new(),
            told_routes: BTreeMap::new(),
            told_refused: BTreeSet::new(),
            open: BTreeMap::new(),
            sends: BTreeMap::new(),
            debounce: Debounce::default(),
            linkbeat: Linkbeat::default(),
            carrier: CarrierSocket::open()?,
            holdings: Holdings::default(),
            announcer: Announcer::default(),
            firewall: Firewall::default(),
            remove_firewall: false,
            repair_at: Instant::ZERO,
            pending: BTreeMap::new(),
            unsettled: BTreeSet::new(),
            retry_at: None,
            refused_host: None,
            withdrawing: false,
            stranded: BTreeSet::new(),
            out_of_step: false,
            overrun_is_known_until: None,
            complaints: BTreeSet::new(),
            repaired_at: None,
            refused: BTreeSet::new(),
            scheduling,
            lateness: Histogram::default(),
            renewals: lease::Renewals::default(),
            control: control::Host::default(),
        })
    }

    /// Works until the advert thread is gone.
    ///
    /// # Errors
    /// When it cannot hear the kernel any more.
    pub(crate) fn run(mut self) -> anyhow::Result<()> {
        loop {
            // First: whatever is refused during this turn is to have a turn of its own.
            let is_due = self.retry_at.take_if(|at| *at <= clock::now()).is_some();
            self.look_for_jobs();
            let jobs = std::mem::take(&mut self.jobs_ahead);
            for job in jobs.values {
                self.take_job(job);
                crash::step();
            }
            self.carry_out_pending();
            if jobs.closed {
                return Ok(());
            }
            self.hear_monitor()?;
            self.tend_firewall();
            self.answer_requests();
            if is_due {
                self.retry();
            }
            let now = clock::now();
            self.renew_leases(now);
            self.poll_links(now);
            if self.debounce.next().is_some_and(|at| at <= now) {
                self.tell_links();
            }
            self.announce_due(now);
            self.stay_awake();
            self.wait()?;
        }
    }

    /// Takes what the advert thread wants from the mailbox. It is done in the next turn.
    fn look_for_jobs(&mut self) {
        let taken = self.jobs.take();
        self.jobs_ahead.values.extend(taken.values);
        self.jobs_ahead.closed |= taken.closed;
    }

    /// Waits for a job that is about to come, without giving the processor away: to whoever else wants it, it would be
    /// lost for milliseconds.
    fn stay_awake(&mut self) {
        let Some((until, beside)) = self.stays_awake else { return };
        while self.jobs_ahead.values.is_empty()
            && !self.jobs_ahead.closed
            && clock::now() < until
            && sched_getcpu() != beside
        {
            std::hint::spin_loop();
            self.look_for_jobs();
        }
    }

    fn wait(&self) -> anyhow::Result<()> {
        if !self.jobs_ahead.values.is_empty() || self.jobs_ahead.closed {
            return Ok(());
        }
        let due =
            [self.announcer.next(), self.retry_at, self.debounce.next(), self.linkbeat.next(), self.renewals.next()]
                .into_iter()
                .flatten()
                .min();
        let left = due.map(|due| due.saturating_duration_since(clock::now()));
        let left = left.into_iter().chain(self.control.patience()).min();
        let timeout = left.map(|left| Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        });
        let mut fds = vec![PollFd::new(&self.jobs, PollFlags::IN), PollFd::new(&self.monitor, PollFlags::IN)];
        let guests: Vec<_> = self.control.descriptors().collect();
        fds.extend(guests.iter().map(|guest| PollFd::new(guest, PollFlags::IN)));
        let firewall = self.firewall.descriptor();
        fds.extend(firewall.iter().map(|firewall| PollFd::new(firewall, PollFlags::IN)));
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error).context("waiting for the kernel's events"),
        }
    }

    fn take_job(&mut self, job: Job) {
        match job {
            Job::Resume(facts) => self.resume(&facts),
            Job::Prepare { generation, again, part } => self.prepare(generation, again, &part),
            Job::Commit { generation } => self.commit(generation),
            Job::Abandon { generation } => self.abandon(generation),
            Job::Close(sockets) => drop(sockets),
            Job::Apply { router, ownership, ticket } => {
                self.stays_awake = None;
                self.holdings.set(router, ownership);
                if ownership == Ownership::Released {
                    self.announcer.forget(router);
                }
                self.pending.insert(router, ticket);
            }
            Job::StayAwake { until, beside } => self.stays_awake = Some((until, beside)),
            Job::Announce { router, repeat } => {
                let announcements = self.announcements(router);
                self.announcer.queue(router, &announcements, repeat);
            }
            Job::Told => {
                self.vmacs.told();
                self.settle_vmacs();
                self.go_on_preparing();
            }
            Job::Withdraw => self.withdraw(),
            Job::AnnounceLinks { router, only_vmacs } => {
                let mut announcements = self.announcements(router);
                let mut links = BTreeSet::new();
                let own = self.roster.link_of(router);
                announcements.retain(|announcement| {
                    let name = self.link_name(announcement.link);
                    !only_vmacs || self.vmacs.has(&name) && own != Some(name.as_str())
                });
                announcements.retain(|announcement| links.insert(announcement.link));
                self.announcer.add(router, &announcements, 1);
            }
            Job::Lateness(histogram) => self.lateness = *histogram,
            Job::Statistics(all) => self.write_statistics(&all),
            Job::RemoveFirewall => self.remove_firewall = true,
            Job::Listen(door) => self.control.listen(door),
        }
    }

    fn resume(&mut self, facts: &[Fact]) {
        let (ids, snapshot) = facts::routers(facts);
        let told = facts::told_footprints(facts);
        self.roster.inherit(ids.into_iter().chain(told.iter().map(|(id, (key, _))| (key.clone(), *id))).collect());
        self.roster.inherit_trackers(facts::trackers(facts).into_iter().map(|(name, (id, _))| (name, id)));
        self.inherited = snapshot;
        if let Some(table) = facts::told_firewall(facts) {
            self.firewall.inherit(table);
        }
        self.vmacs.inherit(facts);
        // As if its configuration had been ours: the first one says what of it has to go.
        self.inherits = !told.is_empty();
        for (id, (_, footprint)) in told {
            self.holdings.inherit(id, footprint);
        }
    }

    fn prepare(&mut self, generation: u64, again: bool, part: &OwnedFd) {
        match self.check(again, part) {
            Ok(part) => {
                self.vmacs.prepare(generation, Needs::of(&part));
                self.preparing = Some((generation, again, Box::new(part)));
                self.settle_vmacs_anew();
                self.go_on_preparing();
            }
            Err(refusal) => self.reject(generation, refusal),
        }
    }

    fn check(&mut self, again: bool, part: &OwnedFd) -> Result<VrrpPart, (u8, anyhow::Error)> {
        let part: VrrpPart = ipc::unseal(part)
            .context("reading this process's part of the configuration")
            .map_err(|error| (EXIT_FATAL, error))?;
        for (name, interface) in roster::missing_interfaces(&part, &self.view) {
            if part.dynamic_interfaces {
                tracing::info!(
                    "Configuration specifies interface {interface} which doesn't currently exist - will use if created"
                );
            } else if again {
                tracing::error!("({name}) interface {interface} doesn't exist");
            } else {
                return Err((EXIT_CONFIG, anyhow::anyhow!("({name}) interface {interface} doesn't exist")));
            }
        }
        match lease::check(&part, &self.view) {
            Err(error) if again => tracing::error!("{error}"),
            Err(error) => return Err((EXIT_CONFIG, error)),
            Ok(()) => {}
        }
        if let Some(firewall) = &part.firewall {
            self.firewall.warm_up(firewall);
        }
        Ok(part)
    }

    /// The rest, once the links that it needs are there.
    fn go_on_preparing(&mut self) {
        if self.vmacs.is_untold() {
            return;
        }
        let Some((generation, again, part)) = self.preparing.take() else { return };
        match self.number(generation, again, *part) {
            Ok(setup) => self.outcomes.send(Outcome::Prepared { generation, setup: Box::new(setup) }),
            Err(refusal) => self.reject(generation, refusal),
        }
    }

    fn reject(&mut self, generation: u64, (exit, why): (u8, anyhow::Error)) {
        self.abandon(generation);
        self.outcomes.send(Outcome::Rejected { generation, exit, why: format!("{why:#}") });
    }

    fn number(&mut self, generation: u64, again: bool, part: VrrpPart) -> Result<Setup, (u8, anyhow::Error)> {
        let setup = self.roster.prepare(generation, part).map_err(|error| (EXIT_CONFIG, error))?;
        self.tell_links();
        let failures = self.open_paths();
        let refuses = |(why, places): (&String, &Vec<Place>)| self.refuses_start(places).then(|| why.clone());
        let fatal: Vec<_> = failures.iter().filter(|_| !again).filter_map(refuses).collect();
        if !fatal.is_empty() {
            return Err((EXIT_FATAL, anyhow::anyhow!(fatal.join("; "))));
        }
        self.complain_of_paths(failures);
        Ok(Setup { inherited: std::mem::take(&mut self.inherited), ..setup })
    }

    // ---- Macvlans, ipvlans and settings of interfaces ----

    /// Announces what is needed, or carries out what was announced.
    fn settle_vmacs(&mut self) {
        if self.vmacs.is_idle() {
            return;
        }
        let news = self.vmacs.announce(&self.view);
        self.tell_host(news);
        if !self.vmacs.is_untold() {
            self.carry_out_vmacs();
        }
    }

    /// As [`settle_vmacs`](Self::settle_vmacs), after another look: the kernel does not tell of every setting.
    fn settle_vmacs_anew(&mut self) {
        if self.vmacs.is_idle() {
            return;
        }
        if let Err(error) = vmac::look_at_links(&mut self.route, &mut self.view) {
            self.complain(error.to_string());
        }
        self.settle_vmacs();
    }

    /// Whether nothing was refused.
    fn carry_out_vmacs(&mut self) -> bool {
        let done = self.vmacs.carry_out(&mut self.route, &mut self.view);
        let is_done = done.refused.is_empty();
        if !is_done {
            self.retry_soon();
        }
        done.refused.into_iter().for_each(|reason| self.complain(reason));
        self.tell_host(done.forgotten);
        if !done.made.is_empty() {
            let new: BTreeSet<_> = done.made.iter().filter_map(|name| Some(self.view.link(name)?.index)).collect();
            let holders = self.holders();
            let lost = holders.keys().filter(|key| new.contains(&key.link) && !self.view.has(key)).copied().collect();
            let mut losers = BTreeSet::new();
            self.take_lost_addresses(&lost, &holders, &mut losers);
            self.tell_losers(losers);
        }
        is_done
    }

    fn tell_host(&mut self, facts: Vec<Fact>) {
        if !facts.is_empty() {
            self.vmacs.tell();
            self.outcomes.send(Outcome::Host(facts));
        }
    }

    fn withdraw(&mut self) {
        self.vmacs.withdraw();
        self.withdrawing = true;
        self.go_on_withdrawing();
    }

    fn go_on_withdrawing(&mut self) {
        if !self.vmacs.is_idle() {
            if let Err(error) = vmac::look_at_links(&mut self.route, &mut self.view) {
                self.complain(error.to_string());
            }
            if !self.carry_out_vmacs() {
                return;
            }
        }
        self.withdrawing = false;
        self.outcomes.send(Outcome::Withdrawn);
    }

    fn abandon(&mut self, generation: u64) {
        self.roster.abandon(generation);
        self.vmacs.abandon(generation);
        self.preparing.take_if(|(preparing, ..)| *preparing == generation);
        self.settle_vmacs_anew();
        self.tell_paths();
    }

    fn commit(&mut self, generation: u64) {
        let Some(part) = self.roster.commit(generation) else { return };
        self.scheduling.apply(&part.process);
        let firewall = part.firewall.clone();
        let lease = part.vip_lease;
        let [command, monitor] = [part.command_buffer, part.monitor_buffer]
            .map(|size| size.unwrap_or(BufferSize { octets: RECEIVE_BUFFER, force: true }));
        let command = self.route.set_receive_buffer(command.octets, command.force);
        let monitor = self.monitor.set_receive_buffer(monitor.octets, monitor.force);
        for error in [command, monitor].into_iter().filter_map(Result::err) {
            tracing::error!("{error}");
        }
        let (delays, warnings) = debounce::delays(part);
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        self.debounce.configure(delays);
        if !part.polled.is_empty() {
            tracing::info!("Using MII-BMSR/ETHTOOL NIC polling thread(s)...");
        }
        let now = clock::now();
        self.linkbeat.configure(now, &part.polled);
        self.poll_links(now);
        self.view.set_carriers(self.linkbeat.carriers());
        for (router, gone) in self.holdings.configure(self.roster.belongings()) {
            let (ip, prefix_len, device) = (gone.ip, gone.prefix_len, &gone.device);
            let name = if router == HOST { "static" } else { self.roster.name(router) };
            tracing::info!("({name}) ip address {ip}/{prefix_len} dev {device}, no longer exist");
        }
        self.set_lease(lease);
        self.firewall.configure(firewall, self.roster.closed());
        self.reconcile_firewall();
        if std::mem::take(&mut self.inherits) {
            // No `Apply` follows for a router that is not configured any more.
            self.unsettled.extend(self.holdings.left_over());
            self.retry_at = Some(clock::now());
        }
        self.vmacs.commit(generation);
        self.settle_vmacs_anew();
        self.watch_what_is_held();
        self.pace();
        self.tell_links();
        self.tell_paths();
    }

    /// How fast announcements may go out on the links as they are now.
    fn pace(&mut self) {
        let (gaps, groups) = self.roster.gaps(&self.view);
        self.announcer.set_gaps(gaps, groups);
        self.announcer.set_below(self.view.stacked());
        let view = &self.view;
        self.announcer.keep_links(|link| view.link_by_index(link).is_some());
        self.outlets.keep(|link| view.link_by_index(link).is_some());
    }

    /// Asks for the carrier of the links that are polled, when it is time to.
    fn poll_links(&mut self, now: Instant) {
        let carrier = &self.carrier;
        let changed = self.linkbeat.poll(now, |name, method| {
            let name = LinkName::try_from(name).map_err(std::io::Error::other)?;
            match method {
                LinkbeatMethod::Mii => carrier.by_mii(name),
                LinkbeatMethod::Ethtool => carrier.by_ethtool(name),
                LinkbeatMethod::Flags => carrier.by_flags(name),
            }
        });
        if changed {
            self.view.set_carriers(self.linkbeat.carriers());
            self.tell_links();
        }
    }

    /// Tells the advert thread what became of links since the last time.
    fn tell_links(&mut self) {
        let now = clock::now();
        let mut changes = Vec::new();
        let mut logged = BTreeSet::new();
        let mut returned = Vec::new();
        let mut known = BTreeSet::new();
        for (id, name, facts) in self.roster.links(&self.view) {
            known.insert(id);
            let below = self.view.below(name);
            let waited = self.debounce.turns(id);
            let facts = self.debounce.settle(now, id, [Some(name), below.as_deref()], facts);
            if let (None, Some(turns), Some(facts)) = (waited, self.debounce.turns(id), facts) {
                let state = if facts.up { "down" } else { "up" };
                let delay = turns.saturating_duration_since(now);
                tracing::debug!("{name} is {state}, which counts if it lasts {} seconds", compat::seconds(delay));
            }
            let before = self.told_links.insert(id, facts);
            if before == Some(facts) {
                continue;
            }
            // More than one number may stand for the same link.
            if logged.insert(name) {
                let reporter = if self.linkbeat.polls(name) { "Linkbeat" } else { "Netlink" };
                log_link(name, reporter, before, facts);
            }
            if before.is_some() || facts.is_some() {
                changes.push((id, facts));
            }
            if let (Some(before), Some(facts)) = (before, facts) {
                returned.extend(self.roster.unicast_sources(id, before, facts));
            }
        }
        self.debounce.keep(&known);
        if !changes.is_empty() {
            self.outcomes.send(Outcome::Links(changes));
        }
        for (router, interface, source) in returned {
            self.announce_source(router, &interface, source);
        }
    }

    /// Nothing else tells switches and peers where a unicast router is after its link was away.
    fn announce_source(&mut self, router: RouterId, interface: &str, source: IpAddr) {
        let Some(announcement) = announcement(&self.view, interface, source) else { return };
        let what = if source.is_ipv4() { "gratuitous ARP" } else { "unsolicited Neighbour Advert" };
        tracing::info!("{}: sending {what} for {source}", self.roster.name(router));
        self.announcer.add(router, &[announcement], 1);
    }

    /// As [`open_paths`](Self::open_paths); what fails is logged and tried again.
    fn tell_paths(&mut self) {
        let failures = self.open_paths();
        self.complain_of_paths(failures);
    }

    fn complain_of_paths(&mut self, failures: BTreeMap<String, Vec<Place>>) {
        for failure in failures.into_keys() {
            self.complain(failure);
            self.retry_soon();
        }
    }

    /// Whether nobody may start as these places cannot be opened. A router whose adverts do not leave must not become Active:
    /// it does not on an interface that is gone or without IPv6, and the others need not wait for it.
    fn refuses_start(&self, places: &[Place]) -> bool {
        let is_dead = |place: &Place| {
            LinkIndex::new(place.link).is_some_and(|index| {
                let name = self.link_name(index);
                !is_there(&name) || place.family() == Family::Ipv6 && !does_ipv6(&name)
            })
        };
        self.told_routes.is_empty() || !places.iter().all(is_dead)
    }

    /// Opens what is missing, tells sockets what they are for now, forgets what is no longer needed, and tells the
    /// advert thread. What failed, and where.
    fn open_paths(&mut self) -> BTreeMap<String, Vec<Place>> {
        let mut routes = self.roster.routes(&self.view);
        let listening = self.roster.listening(&self.view);
        let mut opened = Vec::new();
        let mut senders = Vec::new();
        let mut refused = BTreeSet::new();
        let mut failures = BTreeMap::<_, Vec<_>>::new();
        for place in routes.values().copied().collect::<BTreeSet<_>>() {
            let Some(listening) = listening.get(&place) else { continue };
            let ready =
                self.open_sender(place.family(), &mut senders).and_then(|send| self.listen(place, listening, send));
            match ready {
                Ok(new) => opened.extend(new),
                Err(error) => {
                    // Who uses it already does so as before.
                    let told = &self.told_routes;
                    let lost = |id: &RouterId, wanted: &mut Place| *wanted == place && told.get(id) != Some(&place);
                    refused.extend(routes.extract_if(.., lost).map(|(router, _)| router));
                    failures.entry(format!("{error:#}")).or_default().push(place);
                }
            }
        }
        let is_news = routes != self.told_routes || refused != self.told_refused;
        if is_news || !opened.is_empty() || !senders.is_empty() {
            let used: BTreeSet<_> = routes.values().copied().collect();
            self.open.retain(|place, _| used.contains(place));
            self.told_routes.clone_from(&routes);
            self.told_refused.clone_from(&refused);
            self.outcomes.send(Outcome::Paths { routes, opened, senders, refused });
        }
        failures
    }

    /// The descriptor that sends over `family`; its socket goes to `senders` if it is new.
    fn open_sender(&mut self, family: Family, senders: &mut Vec<SendSocket>) -> anyhow::Result<RawFd> {
        if let Some(number) = self.sends.get(&family) {
            return Ok(*number);
        }
        let sender = SendSocket::open(family)?;
        let number = sender.number();
        self.sends.insert(family, number);
        senders.push(sender);
        Ok(number)
    }

    /// Makes the socket of a place hear what it should; returns it if it is new.
    fn listen(
        &mut self,
        place: Place,
        listening: &Listening,
        send: RawFd,
    ) -> anyhow::Result<Option<Arc<ReceiveSocket>>> {
        if let Some(open) = self.open.get_mut(&place) {
            if open.listening != *listening {
                open.socket.listen(listening)?;
                open.listening = *listening;
            }
            return Ok(None);
        }
        let [name, device] = [place.link, place.device()]
            .map(|index| LinkIndex::new(index).map(|index| self.link_name(index)).unwrap_or_default());
        let socket = Arc::new(ReceiveSocket::open(place, &name, &device, listening)?);
        tracing::debug!("{}", socket.describe(send));
        self.open.insert(place, Open { socket: Arc::clone(&socket), listening: *listening });
        Ok(Some(socket))
    }

    /// Carries out the newest `Apply` of every router in one plan. Clients hear of what has come before anybody else does.
    fn carry_out_pending(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        if pending.is_empty() {
            return;
        }
        let routers: BTreeSet<_> = pending.keys().copied().collect();
        let refused = self.carry_out(&routers);
        crash::step();
        // Where nothing was refused nobody asks what each of them wanted.
        let parts = if refused.is_empty() { BTreeMap::new() } else { self.parts(&routers) };
        // It may have taken long: whoever has lost an election meanwhile must not draw clients to itself.
        self.look_for_jobs();
        let changed: BTreeSet<_> = self.jobs_ahead.values.iter().filter_map(Job::applies).collect();
        let mut outcomes = Vec::new();
        for (router, ticket) in pending {
            let is_done = self.judge(router, parts.get(&router), &refused);
            if router == HOST {
                self.refused_host = (!is_done).then_some(ticket);
            } else if is_done && !changed.contains(&router) {
                let announcements = self.announcements(router);
                self.announcer.queue(router, &announcements, self.roster.announcements_per_address(router));
            }
            outcomes.push(if is_done {
                Outcome::Applied { router, ticket }
            } else {
                Outcome::Refused { router, ticket }
            });
        }
        self.announce_due(clock::now());
        self.outcomes.send_all(outcomes);
    }

    /// Makes the kernel's addresses those that `routers` want. What it refuses, with the reason.
    fn carry_out(&mut self, routers: &BTreeSet<RouterId>) -> Refused {
        // Before anybody can send to the addresses.
        self.reconcile_firewall();
        let view = &self.view;
        let wanted = self.holdings.wanted(routers, |name| view.link(name).map(|link| link.index));
        crash::step();
        let known = wanted.addresses.iter().any(|address| self.view.has(&address.key()));
        let refused = if known { apply(&mut self.route, &wanted) } else { add(&mut self.route, &wanted) };
        refused.lines().into_iter().for_each(|line| self.complain(line));
        let tried: BTreeSet<_> = wanted.addresses.iter().map(vip_netlink::Address::key).collect();
        self.refused.retain(|key| !tried.contains(key));
        self.refused.extend(tried.into_iter().filter(|key| refused.has(key)));
        self.renewals.renew_now();
        refused
    }

    /// What each of these routers wants.
    fn parts(&self, routers: &BTreeSet<RouterId>) -> BTreeMap<RouterId, Wanted> {
        self.holdings.parts(routers, |name| self.view.link(name).map(|link| link.index))
    }

    /// Whether a router got at least a part of what it wanted, or gave up all that it had; the rest is tried again.
    fn judge(&mut self, router: RouterId, wanted: Option<&Wanted>, refused: &Refused) -> bool {
        let view = &self.view;
        let link = |name: &str| view.link(name).map(|link| link.index);
        let homeless: Vec<_> = self
            .holdings
            .homeless(router, link)
            .map(|address| format!("adding {} to {}: there is no such interface", address.ip, address.device))
            .chain(self.holdings.homeless_routes(router, link))
            .collect();
        let missing = wanted.map_or(0, |wanted| refused.of(wanted));
        let settled = missing == 0 && homeless.is_empty();
        let done = if self.holdings.holds(router) {
            !self.holdings.has_no_home(router, link) && (missing == 0 || missing < wanted.map_or(0, things))
        } else {
            settled
        };
        for reason in homeless {
            self.complain(reason);
        }
        if settled {
            self.unsettled.remove(&router);
            if self.holdings.settled(router) {
                self.outcomes.send(Outcome::Gone { router });
            }
        } else {
            self.unsettled.insert(router);
            self.retry_soon();
        }
        done
    }

    fn retry_soon(&mut self) {
        self.retry_at.get_or_insert(clock::now() + RETRY);
    }

    /// Tries once more what was refused.
    fn retry(&mut self) {
        self.release_stranded();
        if self.withdrawing {
            self.go_on_withdrawing();
        }
        self.settle_vmacs();
        self.tell_paths();
        let routers = self.unsettled.clone();
        if !routers.is_empty() {
            let parts = self.parts(&routers);
            let missing = self.missing(&parts);
            let refused = self.carry_out(&routers);
            for router in routers {
                let is_done = self.judge(router, parts.get(&router), &refused);
                if let Some(ticket) = self.refused_host.take_if(|_| is_done && router == HOST) {
                    self.outcomes.send(Outcome::Applied { router, ticket });
                }
                let mut late = self.announcements(router);
                late.retain(|it| missing.contains(&(it.link, it.ip)));
                if !late.is_empty() {
                    self.announcer.add(router, &late, self.roster.announcements_per_address(router));
                }
            }
        }
        if self.retry_at.is_none() {
            self.complaints.clear();
        }
    }

    /// The addresses of `parts` that are not there.
    fn missing(&self, parts: &BTreeMap<RouterId, Wanted>) -> BTreeSet<(LinkIndex, IpAddr)> {
        let wanted = parts.iter().filter(|(id, _)| **id != HOST).flat_map(|(_, wanted)| &wanted.addresses);
        wanted.filter(|address| !self.view.has(&address.key())).map(|address| (address.link, address.ip)).collect()
    }

    /// Logs a failure once, however often it is met before things are well again.
    fn complain(&mut self, reason: String) {
        if !self.complaints.contains(&reason) {
            tracing::error!("{reason}");
            self.complaints.insert(reason);
        }
    }

    /// Takes what the kernel reports: first all of it, so that an address that was removed and put back is not lost.
    fn hear_monitor(&mut self) -> anyhow::Result<()> {
        let mut removed = BTreeSet::new();
        let mut losses = Losses::default();
        let mut heard = self.out_of_step;
        // As it was before anything went: an interface that is gone has no number any more.
        let mut before: Option<(BTreeMap<AddressKey, Vec<Holder>>, Held)> = None;
        while let Some(event) = self.monitor.poll_event()? {
            if let Event::Address(address) = &event {
                // Thousands of ours may come at once, and nothing is lost with an address that comes. One that is known
                // is a lease that was renewed.
                heard |= !self.view.knows(address);
                self.view.update(event);
                continue;
            }
            heard = true;
            let (holders, held) = before.get_or_insert_with(|| (self.holders(), self.held()));
            losses.hear(&event, held);
            match &event {
                Event::Overflow => self.out_of_step = true,
                Event::Link(link) => {
                    if self.view.renames(link) {
                        self.stranded.extend(holders.keys().filter(|key| key.link == link.index));
                    }
                    losses.silent |= link.is_up() && !self.view.link_by_index(link.index).is_some_and(Link::is_up);
                }
                Event::AddressRemoved(address) => _ = removed.insert(address.key()),
                Event::LinkRemoved(link) => {
                    removed.extend(self.view.addresses().filter(|key| key.link == link.index));
                }
                _ => {}
            }
            self.view.update(event);
        }
        if self.out_of_step {
            self.log_overrun();
            let (holders, _) = before.get_or_insert_with(|| (self.holders(), Held::default()));
            let names: Vec<_> = holders.keys().map(|key| (*key, self.link_name(key.link))).collect();
            removed.extend(self.view.addresses());
            if self.look_around() {
                self.fear_losses(&mut losses);
            }
            let renamed: Vec<_> = names.into_iter().filter(|(key, name)| self.link_name(key.link) != *name).collect();
            self.stranded.extend(renamed.into_iter().map(|(key, _)| key));
        }
        if heard {
            self.settle_vmacs();
            self.pace();
            self.tell_links();
            self.tell_paths();
        }
        if let Some((holders, _)) = before {
            removed.retain(|key| !self.view.has(key));
            let mut losers = BTreeSet::new();
            self.take_lost_addresses(&removed, &holders, &mut losers);
            self.take_losses(&losses, &mut losers);
            self.tell_losers(losers);
            self.release_stranded();
        }
        Ok(())
    }

    /// Follows addresses and links with the packet filter, and puts back what others changed: not at once every time, as
    /// two that both insist would keep each other busy.
    fn tend_firewall(&mut self) {
        self.firewall.hear();
        if self.firewall.is_disturbed() {
            let now = clock::now();
            if now < self.repair_at {
                return self.retry_soon();
            }
            self.repair_at = now + RETRY;
        }
        let removing = self.remove_firewall && self.unsettled.is_empty();
        if removing {
            self.firewall.withdraw();
        }
        if self.reconcile_firewall() && removing {
            self.remove_firewall = false;
            self.outcomes.send(Outcome::FirewallRemoved);
        }
    }

    /// Makes the packet filter what it has to be; whether it is.
    fn reconcile_firewall(&mut self) -> bool {
        let done = self.firewall.reconcile(&self.holdings, &self.view);
        let is_done = done.is_ok();
        for reason in done.err().into_iter().flatten() {
            self.complain(reason);
            self.retry_soon();
        }
        is_done
    }

    /// Takes away what is on links that have another name now, unless a router holds it there.
    fn release_stranded(&mut self) {
        if !self.stranded.is_empty() {
            let holders = self.holders();
            self.stranded.retain(|key| !holders.contains_key(key));
        }
        if self.stranded.is_empty() {
            return;
        }
        let wanted = Wanted { release: self.stranded.iter().copied().collect(), ..Wanted::default() };
        let refused = apply(&mut self.route, &wanted);
        self.stranded.retain(|key| refused.has(key));
        if !self.stranded.is_empty() {
            self.retry_soon();
        }
        refused.lines().into_iter().for_each(|line| self.complain(line));
    }

    fn log_overrun(&mut self) {
        let now = clock::now();
        if self.overrun_is_known_until.is_some_and(|until| now < until) {
            return;
        }
        self.overrun_is_known_until = Some(now + OVERRUN_PAUSE);
        tracing::warn!(
            "Netlink: Receive buffer overrun on monitor socket - asking for everything; if this is seen often, increase \
             vrrp_netlink_monitor_rcv_bufs and/or set vrrp_netlink_monitor_rcv_bufs_force"
        );
    }

    /// While addresses are removed beside it the kernel may pass over one that is there, without a word of it (seen with Linux
    /// 6.18): what seems to be missing is looked for once more.
    fn addresses_now(&mut self) -> Result<Vec<vip_netlink::Address>, vip_netlink::Error> {
        let found = self.route.addresses()?;
        let keys: BTreeSet<_> = found.iter().map(vip_netlink::Address::key).collect();
        if self.view.addresses().all(|key| keys.contains(&key)) { Ok(found) } else { self.route.addresses() }
    }

    /// Asks the kernel for everything, as events were lost; tried again while it is too busy to answer. Whether it was not.
    fn look_around(&mut self) -> bool {
        match self.route.links().and_then(|links| Ok((links, self.addresses_now()?))) {
            Ok((links, addresses)) => {
                self.view = View::new(links, addresses);
                self.view.set_carriers(self.linkbeat.carriers());
                self.out_of_step = false;
            }
            Err(error) => {
                self.complain(error.to_string());
                self.retry_soon();
            }
        }
        !self.out_of_step
    }

    fn holders(&self) -> BTreeMap<AddressKey, Vec<Holder>> {
        self.holdings.holders(|name| self.view.link(name).map(|link| link.index))
    }

    fn link_name(&self, index: LinkIndex) -> String {
        self.view.link_by_index(index).map_or_else(|| index.to_string(), |link| link.name.to_string())
    }

    /// One for each address that a router holds.
    fn announcements(&self, router: RouterId) -> Vec<Announcement> {
        if !self.holdings.holds(router) {
            return Vec::new();
        }
        let mut announcements = Vec::new();
        let name = self.roster.name(router);
        for address in self.holdings.addresses(router) {
            let Some(announcement) = announcement(&self.view, &address.device, address.ip) else { continue };
            let key = AddressKey { link: announcement.link, ip: address.ip, prefix_len: address.prefix_len };
            if self.refused.contains(&key) {
                continue;
            }
            let what = if address.ip.is_ipv4() { "gratuitous ARPs" } else { "Unsolicited Neighbour Adverts" };
            tracing::debug!("({name}) Sending/queueing {what} on {} for {}", address.device, address.ip);
            announcements.push(announcement);
        }
        announcements
    }
}

/// That of `ip` on the link with that name, unless nobody there listens.
fn announcement(view: &View, interface: &str, ip: IpAddr) -> Option<Announcement> {
    let link = view.link(interface).filter(|link| !link.is_noarp())?;
    let router = ip.is_ipv6() && forwards(interface);
    Some(Announcement { link: link.index, mac: link.mac?, ip, router })
}

/// Whether there is such an interface now.
fn is_there(device: &str) -> bool {
    std::fs::exists(format!("/proc/sys/net/ipv4/conf/{device}")).is_ok_and(|there| there)
}

/// Whether an interface does IPv6: with an MTU below 1280 it cannot.
fn does_ipv6(device: &str) -> bool {
    std::fs::exists(format!("/proc/sys/net/ipv6/conf/{device}")).is_ok_and(|there| there)
}

/// Whether this host forwards IPv6 packets that come from a link (RFC 4861 §4.4, Router flag).
fn forwards(device: &str) -> bool {
    let path = format!("/proc/sys/net/ipv6/conf/{device}/forwarding");
    std::fs::read_to_string(path).is_ok_and(|value| value.trim() != "0")
}

/// What became of a link; `before` is `None` if nothing was said of it yet.
fn log_link(name: &str, reporter: &str, before: Option<Option<LinkFacts>>, now: Option<LinkFacts>) {
    let up = |facts: Option<LinkFacts>| facts.is_some_and(|facts| facts.up);
    let appears = before == Some(None);
    if appears {
        tracing::info!("Interface {name} added");
    }
    let before = before.flatten();
    if up(before) != up(now) && (before.is_some() || appears) {
        tracing::info!("{reporter} reports {name} {}", if up(now) { "up" } else { "down" });
    }
    if before.is_some() && now.is_none() {
        tracing::info!("Interface {name} deleted");
    }
    let addresses = |facts: Option<LinkFacts>| {
        let facts = facts.unwrap_or_default();
        let v4 = facts.ipv4_source.map(std::net::IpAddr::V4);
        [v4, facts.ipv6_source.map(std::net::IpAddr::V6)]
    };
    for (before, now) in addresses(before).into_iter().zip(addresses(now)) {
        if before != now {
            if let Some(address) = before {
                tracing::debug!("Deassigned address {address} from interface {name}");
            }
            if let Some(address) = now {
                tracing::debug!("Assigned address {address} for interface {name}");
            }
        }
    }
}
