//! The kernel thread: everything that may wait inside the kernel, so that the advert thread never does
//! (`design.md` §2). It watches links and addresses, opens sockets, carries address plans out in batches, and sends
//! announcements. Jobs come in through a mailbox, outcomes go back through another.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::Context as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use vip_netlink::{
    AddressKey, AnnounceSocket, Announcement, Change, Event, LinkIndex, Monitor, RouteSocket, Wanted, plan,
};
use vrrp_proto::{Instant, LinkFacts, LinkId, Ownership, RouterId, Snapshot, Ticket};

use super::announcer::{Announcer, Gaps};
use super::clock;
use super::facts;
use super::holdings::Holdings;
use super::mailbox::{Receiver, Sender};
use super::roster::{self, Roster, Setup};
use super::sockets::{Place, SocketPair};
use super::view::View;
use super::vmac::{self, Needs, Vmacs};
use crate::config::vrrp::VrrpPart;
use crate::ipc::{self, Fact};

/// When something that the kernel refused is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How often an address is announced that was put in place late.
const REPEAT: u8 = 5;

/// How often a plan whose answers were lost is made anew.
const ATTEMPTS: usize = 5;

/// Room for so many octets of adverts while the advert thread is kept waiting: the kernel counts some 800 for each.
const RECEIVE_BUFFER: usize = 1 << 20;

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
    Close(Vec<SocketPair>),
    /// Put a router's addresses in place or take them away; answered by `Applied` or `Refused`.
    Apply {
        /// Whose.
        router: RouterId,
        /// Which of the two.
        ownership: Ownership,
        /// To be given back.
        ticket: Ticket,
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
    /// The supervisor has been told of one [`Outcome::Host`].
    Told,
    /// Take everything off the host that is not an address; answered by `Withdrawn`.
    Withdraw,
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
        opened: Vec<SocketPair>,
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
    /// Someone removed an address that a router holds.
    AddressLost {
        /// Which router.
        router: RouterId,
    },
}

/// The thread's state.
#[derive(Debug)]
pub(crate) struct Kernel {
    route: RouteSocket,
    monitor: Monitor,
    announce: AnnounceSocket,
    jobs: Receiver<Job>,
    outcomes: Sender<Outcome>,
    view: View,
    roster: Roster,
    inherited: Snapshot,
    vmacs: Vmacs,
    /// Waits until the supervisor knows what it needs: generation, whether it ran before, the configuration.
    preparing: Option<(u64, bool, Box<VrrpPart>)>,
    /// The addresses of the process before this one have not been compared with a configuration yet.
    inherits: bool,
    /// As the advert thread was told.
    told_links: BTreeMap<LinkId, LinkFacts>,
    told_routes: BTreeMap<RouterId, Place>,
    open: BTreeSet<Place>,
    holdings: Holdings,
    announcer: Announcer,
    /// Newest `Apply` of each router that waits to be carried out.
    pending: BTreeMap<RouterId, Ticket>,
    /// Routers some of whose addresses the kernel refused.
    unsettled: BTreeSet<RouterId>,
    retry_at: Option<Instant>,
    /// Events were lost, and the kernel could not be asked for everything since.
    out_of_step: bool,
    /// Refusals that were logged.
    complaints: BTreeSet<String>,
}

impl Kernel {
    /// Opens the netlink and packet sockets and looks around. Call before privileges or the namespace change.
    ///
    /// # Errors
    /// What the kernel refused.
    pub(crate) fn new(jobs: Receiver<Job>, outcomes: Sender<Outcome>) -> anyhow::Result<Self> {
        // The monitor first: nothing may fall between it and the dump.
        let monitor = Monitor::open()?;
        let mut route = RouteSocket::open()?;
        let view = View::new(route.links()?, route.addresses()?);
        Ok(Self {
            route,
            monitor,
            announce: AnnounceSocket::open()?,
            jobs,
            outcomes,
            view,
            roster: Roster::default(),
            inherited: Snapshot::default(),
            vmacs: Vmacs::default(),
            preparing: None,
            inherits: false,
            told_links: BTreeMap::new(),
            told_routes: BTreeMap::new(),
            open: BTreeSet::new(),
            holdings: Holdings::default(),
            announcer: Announcer::default(),
            pending: BTreeMap::new(),
            unsettled: BTreeSet::new(),
            retry_at: None,
            out_of_step: false,
            complaints: BTreeSet::new(),
        })
    }

    /// Works until the advert thread is gone.
    ///
    /// # Errors
    /// When it cannot hear the kernel any more.
    pub(crate) fn run(mut self) -> anyhow::Result<()> {
        loop {
            let taken = self.jobs.take();
            for job in taken.values {
                self.take_job(job);
            }
            self.carry_out_pending();
            if taken.closed {
                return Ok(());
            }
            self.hear_monitor()?;
            let now = clock::now();
            self.retry(now);
            self.announce_due(now);
            self.wait()?;
        }
    }

    fn wait(&self) -> anyhow::Result<()> {
        let due = [self.announcer.next(), self.retry_at].into_iter().flatten().min();
        let left = due.map(|due| due.saturating_duration_since(clock::now()));
        let timeout = left.map(|left| Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        });
        let mut fds = [PollFd::new(&self.jobs, PollFlags::IN), PollFd::new(&self.monitor, PollFlags::IN)];
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
                self.holdings.set(router, ownership);
                if ownership == Ownership::Released {
                    self.announcer.forget(router);
                }
                self.pending.insert(router, ticket);
            }
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
        }
    }

    fn resume(&mut self, facts: &[Fact]) {
        let (ids, snapshot) = facts::routers(facts);
        self.roster.inherit(ids);
        self.roster.inherit_trackers(facts::trackers(facts).into_iter().map(|(name, (id, _))| (name, id)));
        self.inherited = snapshot;
        self.vmacs.inherit(facts);
        // As if its configuration had been ours: the first one says what of it has to go.
        let told = facts::told_addresses(facts);
        self.inherits = !told.is_empty();
        self.holdings.configure(told.into_iter().map(|(id, (_, addresses))| (id, addresses)));
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

    fn check(&self, again: bool, part: &OwnedFd) -> Result<VrrpPart, (u8, anyhow::Error)> {
        let part: VrrpPart = ipc::unseal(part)
            .context("reading this process's part of the configuration")
            .map_err(|error| (EXIT_FATAL, error))?;
        match roster::check_interfaces(&part, &self.view) {
            Err(error) if again => tracing::error!("{error:#}"),
            checked => checked.map_err(|error| (EXIT_CONFIG, error))?,
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
        if again {
            self.tell_paths();
        } else {
            self.open_paths().map_err(|error| (EXIT_FATAL, error))?;
        }
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

    fn carry_out_vmacs(&mut self) {
        let done = self.vmacs.carry_out(&mut self.route, &mut self.view);
        if !done.refused.is_empty() {
            self.retry_soon();
        }
        done.refused.into_iter().for_each(|reason| self.complain(reason));
        self.tell_host(done.forgotten);
        if !done.made.is_empty() {
            let new: BTreeSet<_> = done.made.iter().filter_map(|name| Some(self.view.link(name)?.index)).collect();
            let holders = self.holders();
            let lost = holders.keys().filter(|key| new.contains(&key.link) && !self.view.has(key)).copied().collect();
            self.tell_lost(&lost, &holders);
        }
    }

    fn tell_host(&mut self, facts: Vec<Fact>) {
        if !facts.is_empty() {
            self.vmacs.tell();
            self.outcomes.send(Outcome::Host(facts));
        }
    }

    fn withdraw(&mut self) {
        self.vmacs.withdraw();
        if !self.vmacs.is_idle() {
            if let Err(error) = vmac::look_at_links(&mut self.route, &mut self.view) {
                self.complain(error.to_string());
            }
            self.carry_out_vmacs();
        }
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
        self.announcer.set_gaps(Gaps { garp: part.garp_interval, gna: part.gna_interval });
        for (router, gone) in self.holdings.configure(self.roster.belongings()) {
            let (ip, prefix_len, device) = (gone.ip, gone.prefix_len, gone.device);
            let name = self.roster.name(router);
            tracing::info!("({name}) ip address {ip}/{prefix_len} dev {device}, no longer exist");
        }
        if std::mem::take(&mut self.inherits) {
            // No `Apply` follows for a router that is not configured any more.
            self.unsettled.extend(self.holdings.left_over());
            self.retry_at = Some(clock::now());
        }
        self.vmacs.commit(generation);
        self.settle_vmacs_anew();
        self.tell_links();
        self.tell_paths();
    }

    /// Tells the advert thread what became of links since the last time.
    fn tell_links(&mut self) {
        let mut changes = Vec::new();
        for (id, name, facts) in self.roster.links(&self.view) {
            let before = self.told_links.get(&id).copied();
            if facts == before {
                continue;
            }
            log_link(name, before, facts);
            match facts {
                Some(facts) => self.told_links.insert(id, facts),
                None => self.told_links.remove(&id),
            };
            changes.push((id, facts));
        }
        if !changes.is_empty() {
            self.outcomes.send(Outcome::Links(changes));
        }
    }

    /// As [`open_paths`](Self::open_paths); what fails is logged and tried again.
    fn tell_paths(&mut self) {
        if let Err(error) = self.open_paths() {
            self.complain(format!("{error:#}"));
            self.retry_soon();
        }
    }

    /// Opens what is missing, forgets what is no longer needed, and tells the advert thread.
    fn open_paths(&mut self) -> anyhow::Result<()> {
        let mut routes = self.roster.routes(&self.view);
        let mut opened = Vec::new();
        let mut failure = None;
        for place in routes.values().copied().collect::<BTreeSet<_>>() {
            if self.open.contains(&place) {
                continue;
            }
            let name = LinkIndex::new(place.link).map(|index| self.link_name(index)).unwrap_or_default();
            match SocketPair::open(place, &name, RECEIVE_BUFFER) {
                Ok(pair) => {
                    tracing::debug!("{}", pair.describe());
                    opened.push(pair);
                }
                Err(error) => {
                    routes.retain(|_, wanted| *wanted != place);
                    failure = Some(error);
                }
            }
        }
        if routes != self.told_routes || !opened.is_empty() {
            self.open = routes.values().copied().collect();
            self.told_routes.clone_from(&routes);
            self.outcomes.send(Outcome::Paths { routes, opened });
        }
        failure.map_or(Ok(()), Err)
    }

    /// Carries out the newest `Apply` of every router in one plan.
    fn carry_out_pending(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        if pending.is_empty() {
            return;
        }
        let routers: BTreeSet<_> = pending.keys().copied().collect();
        let refused = self.carry_out(&routers);
        for (router, ticket) in pending {
            let outcome = if self.judge(router, &refused) {
                Outcome::Applied { router, ticket }
            } else {
                Outcome::Refused { router, ticket }
            };
            self.outcomes.send(outcome);
        }
    }

    /// Makes the kernel's addresses those that `routers` want. What it refuses, with the reason.
    fn carry_out(&mut self, routers: &BTreeSet<RouterId>) -> Refused {
        let view = &self.view;
        let wanted = self.holdings.wanted(routers, |name| view.link(name).map(|link| link.index));
        let refused = apply(&mut self.route, &wanted);
        for reason in refused.reasons() {
            self.complain(reason);
        }
        refused
    }

    /// Whether a router got at least a part of what it wanted; if not all, the rest is tried again.
    fn judge(&mut self, router: RouterId, refused: &Refused) -> bool {
        let view = &self.view;
        let link = |name: &str| view.link(name).map(|link| link.index);
        let homeless: Vec<_> = self
            .holdings
            .homeless(router, link)
            .map(|address| format!("adding {} to {}: there is no such interface", address.ip, address.device))
            .chain(self.holdings.homeless_routes(router, link))
            .collect();
        let (missing, all) = if refused.is_empty() {
            (0, None)
        } else {
            let wanted = self.holdings.wanted(&BTreeSet::from([router]), link);
            let keys: BTreeSet<_> =
                wanted.addresses.iter().map(vip_netlink::Address::key).chain(wanted.release).collect();
            (keys.iter().filter(|key| refused.has(key)).count(), Some(keys.len()))
        };
        let settled = missing == 0 && homeless.is_empty() && refused.everything.is_none() && refused.others.is_empty();
        let nothing = self.holdings.has_no_home(router, link) || missing > 0 && all == Some(missing);
        for reason in homeless {
            self.complain(reason);
        }
        if settled {
            self.unsettled.remove(&router);
            self.holdings.settled(router);
        } else {
            self.unsettled.insert(router);
            self.retry_soon();
        }
        !nothing
    }

    fn retry_soon(&mut self) {
        self.retry_at.get_or_insert(clock::now() + RETRY);
    }

    /// Tries once more what was refused.
    fn retry(&mut self, now: Instant) {
        if self.retry_at.is_none_or(|at| now < at) {
            return;
        }
        self.retry_at = None;
        self.settle_vmacs();
        self.tell_paths();
        let routers = self.unsettled.clone();
        if !routers.is_empty() {
            let refused = self.carry_out(&routers);
            for router in routers {
                self.judge(router, &refused);
                if !self.unsettled.contains(&router) {
                    let announcements = self.announcements(router);
                    self.announcer.queue(router, &announcements, REPEAT);
                }
            }
        }
        if self.retry_at.is_none() {
            self.complaints.clear();
        }
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
        // As it was before anything went: an interface that is gone has no number any more.
        let mut holders = None;
        let mut heard = false;
        while let Some(event) = self.monitor.poll_event()? {
            heard = true;
            match &event {
                Event::Overflow => self.out_of_step = true,
                Event::AddressRemoved(address) => {
                    holders.get_or_insert_with(|| self.holders());
                    removed.insert(address.key());
                }
                Event::LinkRemoved(link) => {
                    holders.get_or_insert_with(|| self.holders());
                    removed.extend(self.view.addresses().filter(|key| key.link == link.index));
                }
                _ => {}
            }
            self.view.update(event);
        }
        if self.out_of_step {
            heard = true;
            holders.get_or_insert_with(|| self.holders());
            removed.extend(self.view.addresses());
            self.look_around();
        }
        if heard {
            self.settle_vmacs();
            self.tell_links();
            self.tell_paths();
            removed.retain(|key| !self.view.has(key));
            self.tell_lost(&removed, &holders.unwrap_or_default());
        }
        Ok(())
    }

    /// Asks the kernel for everything, as events were lost; tried again while it is too busy to answer.
    fn look_around(&mut self) {
        match self.route.links().and_then(|links| Ok((links, self.route.addresses()?))) {
            Ok((links, addresses)) => {
                self.view = View::new(links, addresses);
                self.out_of_step = false;
            }
            Err(error) => {
                self.complain(error.to_string());
                self.retry_soon();
            }
        }
    }

    fn holders(&self) -> BTreeMap<AddressKey, Vec<RouterId>> {
        self.holdings.holders(|name| self.view.link(name).map(|link| link.index))
    }

    fn tell_lost(&self, removed: &BTreeSet<AddressKey>, holders: &BTreeMap<AddressKey, Vec<RouterId>>) {
        let mut losers = BTreeSet::new();
        for key in removed {
            let Some(holders) = holders.get(key) else { continue };
            tracing::info!("Netlink reflector reports IP {} removed from {}", key.ip, self.link_name(key.link));
            losers.extend(holders.iter().copied());
        }
        for router in losers {
            self.outcomes.send(Outcome::AddressLost { router });
        }
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
            let Some(link) = self.view.link(&address.device).filter(|link| !link.is_noarp()) else { continue };
            let Some(mac) = link.mac else { continue };
            let what = if address.ip.is_ipv4() { "gratuitous ARPs" } else { "Unsolicited Neighbour Adverts" };
            tracing::debug!("({name}) Sending/queueing {what} on {} for {}", link.name, address.ip);
            let is_router = address.ip.is_ipv6() && forwards(&address.device);
            announcements.push(Announcement { link: link.index, mac, ip: address.ip, router: is_router });
        }
        announcements
    }

    fn announce_due(&mut self, now: Instant) {
        let due = self.announcer.due(now);
        if due.is_empty() {
            return;
        }
        for announcement in &due {
            let what = if announcement.ip.is_ipv4() { "gratuitous ARP" } else { "unsolicited Neighbour Advert" };
            tracing::debug!("Sending {what} on {} for {}", self.link_name(announcement.link), announcement.ip);
        }
        for refusal in self.announce.send(&due) {
            self.complain(refusal.error.to_string());
            self.retry_soon();
        }
    }
}

/// What the kernel refused.
#[derive(Debug, Default)]
struct Refused {
    /// The kernel could not even be asked.
    everything: Option<String>,
    addresses: BTreeMap<AddressKey, String>,
    /// Why routes and rules were refused.
    others: Vec<String>,
}

impl Refused {
    fn is_empty(&self) -> bool {
        self.everything.is_none() && self.addresses.is_empty() && self.others.is_empty()
    }

    fn has(&self, key: &AddressKey) -> bool {
        self.everything.is_some() || self.addresses.contains_key(key)
    }

    fn reasons(&self) -> Vec<String> {
        self.everything.iter().chain(self.addresses.values()).chain(&self.others).cloned().collect()
    }
}

/// Reconciles the kernel with `wanted`; begins again when answers are lost.
fn apply(route: &mut RouteSocket, wanted: &Wanted) -> Refused {
    let mut refused = Refused::default();
    for _ in 0..ATTEMPTS {
        let present = match route.present(wanted) {
            Ok(present) => present,
            Err(error) => {
                refused.everything = Some(error.to_string());
                return refused;
            }
        };
        let changes = plan(wanted, &present);
        let applied = route.apply(&changes);
        refused.others = applied
            .refused
            .iter()
            .filter(|refusal| changes.get(refusal.index).and_then(key).is_none())
            .map(|refusal| refusal.error.to_string())
            .collect();
        refused.addresses = applied
            .refused
            .iter()
            .filter_map(|refusal| Some((key(changes.get(refusal.index)?)?, refusal.error.to_string())))
            .collect();
        if !applied.lost {
            break;
        }
    }
    refused
}

fn key(change: &Change) -> Option<AddressKey> {
    match change {
        Change::AddAddress(address) | Change::EditAddress(address) | Change::RemoveAddress(address) => {
            Some(address.key())
        }
        _ => None,
    }
}

/// Whether this host forwards IPv6 packets that come from a link (RFC 4861 §4.4, Router flag).
fn forwards(device: &str) -> bool {
    let path = format!("/proc/sys/net/ipv6/conf/{device}/forwarding");
    std::fs::read_to_string(path).is_ok_and(|value| value.trim() != "0")
}

fn log_link(name: &str, before: Option<LinkFacts>, now: Option<LinkFacts>) {
    match (before, now) {
        (Some(before), Some(now)) if before.up != now.up => {
            tracing::info!("Netlink reports {name} {}", if now.up { "up" } else { "down" });
        }
        (Some(before), None) => {
            if before.up {
                tracing::info!("Netlink reports {name} down");
            }
            tracing::info!("Interface {name} deleted");
        }
        _ => {}
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
