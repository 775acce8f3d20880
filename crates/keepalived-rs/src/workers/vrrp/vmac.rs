//! The macvlans and ipvlans of the instances, and the settings of interfaces that go with them (`behaviour.md` §3.11).
//!
//! What is put on the host is [announced](Vmacs::announce) first, with the original values of settings, and
//! [carried out](Vmacs::carry_out) once the supervisor has been told: whoever follows can take it away again.

use std::collections::{BTreeMap, BTreeSet};

use conf_parser::config::NameTable;
use conf_parser::host::{Fact as HostFact, Host as _};
use vip_netlink::{
    Address, AddressFlags, AddressGeneration, AddressKey, Change, Error, Event, Ipv4Conf, Ipv4Setting, IpvlanFlags,
    IpvlanMode, Lifetime, Link, LinkFlags, LinkIndex, LinkName, MacAddr, MacvlanMode, Present, RouteSocket,
    VirtualKind, Wanted, plan,
};
use vrrp_proto::Family;

use super::sysctl::{self, Kept, Purpose, Sysctl};
use super::view::View;
use crate::config::virtual_link::{self, Group, Kind, VirtualLink};
use crate::config::vrrp::VrrpPart;
use crate::host::ThisHost;
use crate::ipc::Fact;

/// How often a plan is made anew: a link is made, then given its settings, then nothing is left.
const ROUNDS: usize = 4;

/// No such device.
const ENODEV: i32 = nix::libc::ENODEV;

const LINK: &str = "host link ";
const SYSCTL: &str = "host sysctl ";

/// What a configuration needs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Needs {
    /// By name.
    links: BTreeMap<String, VirtualLink>,
    /// Interfaces on which the next address of a network takes the place of the first.
    promote: BTreeSet<String>,
    /// `disable_local_igmp`
    no_local_reports: bool,
}

impl Needs {
    /// What `part` needs.
    pub(crate) fn of(part: &VrrpPart) -> Self {
        let instances = part.instances.iter().filter(|instance| instance.promote_secondaries);
        let mut links = part.virtual_links.clone();
        for link in links.values_mut() {
            if let Some(Group::Name(name)) = &link.group {
                link.group = group_number(link, name).map(Group::Number);
            }
        }
        let promote = instances.filter_map(|instance| instance.link()).map(str::to_owned).collect();
        Self { links, promote, no_local_reports: part.disable_local_igmp }
    }

    fn is_empty(&self) -> bool {
        self.links.is_empty() && self.promote.is_empty() && !self.no_local_reports
    }
}

fn group_number(link: &VirtualLink, name: &str) -> Option<u32> {
    let HostFact::Present(number) = ThisHost::look().number(NameTable::InterfaceGroups, name) else {
        tracing::warn!(
            "({}) there is no group of links {name}: {} joins that of {}",
            link.instance,
            link.name,
            link.parent
        );
        return None;
    };
    Some(number)
}

/// What is needed, and what is or may be on this host for it.
#[derive(Debug, Default)]
pub(crate) struct Vmacs {
    running: Needs,
    /// With its generation.
    prepared: Option<(u64, Needs)>,
    /// Links that may be there, with the instance they were made for.
    made: BTreeMap<String, String>,
    /// Settings that may have been changed.
    kept: BTreeMap<Sysctl, Kept>,
    /// The numbers of the interfaces that they are of, by the name that they have there.
    devices: BTreeMap<String, LinkIndex>,
    /// Addresses that were put on links so that adverts can leave.
    placed: BTreeSet<AddressKey>,
    /// Links that were seen to do without IPv6.
    quiet: BTreeSet<LinkIndex>,
    /// Announcements that the supervisor may not have heard.
    untold: usize,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// What was refused, with the reason.
    pub(crate) refused: Vec<String>,
    /// What is no longer on this host.
    pub(crate) forgotten: Vec<Fact>,
    /// Links that are new: what an earlier one of the name held is gone.
    pub(crate) made: Vec<String>,
}

impl Vmacs {
    /// What the process before this one announced.
    pub(crate) fn inherit(&mut self, facts: &[Fact]) {
        for fact in facts {
            let Ok(value) = std::str::from_utf8(&fact.value) else { continue };
            if let Some(name) = fact.key.strip_prefix(LINK) {
                self.made.insert(name.to_owned(), value.to_owned());
            }
            let sysctl = fact.key.strip_prefix(SYSCTL).and_then(Sysctl::from_text);
            if let Some((sysctl, kept)) = sysctl.zip(Kept::from_text(value)) {
                self.kept.insert(sysctl, kept);
            }
        }
    }

    /// The links of a configuration that are there, whoever made them: not those of others that have such a name.
    pub(crate) fn inherit_links(&mut self, part: &VrrpPart, view: &View) {
        let is_there = |link: &&VirtualLink| view.link(&link.name).is_some_and(|there| is_own(link, there, view));
        let links = part.virtual_links.values().filter(is_there);
        self.made.extend(links.map(|link| (link.name.clone(), link.instance.clone())));
    }

    /// A configuration may become the running one; what that has comes first while they differ.
    pub(crate) fn prepare(&mut self, generation: u64, needs: Needs) {
        self.prepared = Some((generation, needs));
    }

    /// The configuration that was prepared as `generation` is the running one.
    pub(crate) fn commit(&mut self, generation: u64) {
        if let Some((_, needs)) = self.prepared.take_if(|(prepared, _)| *prepared == generation) {
            self.running = needs;
        }
    }

    /// The configuration that was prepared as `generation` is not wanted.
    pub(crate) fn abandon(&mut self, generation: u64) {
        self.prepared.take_if(|(prepared, _)| *prepared == generation);
    }

    /// Nothing is needed any more.
    pub(crate) fn withdraw(&mut self) {
        (self.running, self.prepared) = (Needs::default(), None);
    }

    /// Nothing is needed and nothing is there.
    pub(crate) fn is_idle(&self) -> bool {
        self.running.is_empty()
            && self.prepared.as_ref().is_none_or(|(_, prepared)| prepared.is_empty())
            && self.made.is_empty()
            && self.kept.is_empty()
    }

    /// Whether facts are on their way to the supervisor.
    pub(crate) fn is_untold(&self) -> bool {
        self.untold > 0
    }

    /// A set of facts was sent.
    pub(crate) fn tell(&mut self) {
        self.untold += 1;
    }

    /// The supervisor was told one of them.
    pub(crate) fn told(&mut self) {
        self.untold = self.untold.saturating_sub(1);
    }

    /// Whether `name` is a link of the running configuration.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.running.links.contains_key(name)
    }

    /// What is about to be put on this host and was not said yet.
    pub(crate) fn announce(&mut self, view: &View) -> Vec<Fact> {
        let mut facts = self.follow_renames(view);
        let new = self.links().filter(|link| !self.made.contains_key(&link.name));
        // One that is there is ours only if it is just as we would make it.
        let new = new.filter(|link| view.link(&link.name).is_none_or(|there| is_own(link, there, view)));
        let new: Vec<_> = new.map(|link| (link.name.clone(), link.instance.clone())).collect();
        facts.extend(new.iter().map(|(name, instance)| fact(LINK, name, instance)));
        self.made.extend(new);
        for (sysctl, ours) in self.sysctls(view) {
            let Some(present) = sysctl.value(view) else { continue };
            let kept = match self.kept.get(&sysctl) {
                None if present != ours => Kept { original: present, ours },
                // Changed meanwhile by somebody else, who is to find it so in the end.
                Some(kept) if present != kept.ours && present != kept.original => Kept { original: present, ..*kept },
                _ => continue,
            };
            facts.push(fact(SYSCTL, &sysctl, &kept.to_text()));
            self.kept.insert(sysctl, kept);
        }
        facts
    }

    /// Settings go with their interface, whatever it is called now.
    fn follow_renames(&mut self, view: &View) -> Vec<Fact> {
        let renamed = |(name, index): (&String, &LinkIndex)| {
            let now = view.link_by_index(*index)?.name.to_string();
            (now != *name).then(|| (name.clone(), now))
        };
        let renamed: BTreeMap<_, _> = self.devices.iter().filter_map(renamed).collect();
        let moved = |sysctl: &Sysctl| sysctl.renamed(&renamed);
        let moved: Vec<_> =
            self.kept.iter().filter_map(|(sysctl, kept)| Some((sysctl.clone(), moved(sysctl)?, *kept))).collect();
        let mut facts = Vec::new();
        for (before, ..) in &moved {
            self.kept.remove(before);
            facts.push(fact(SYSCTL, before, ""));
        }
        for (_, now, kept) in moved {
            facts.push(fact(SYSCTL, &now, &kept.to_text()));
            self.kept.insert(now, kept);
        }
        let devices = self.kept.keys().filter_map(|sysctl| view.link(sysctl.device()?));
        self.devices = devices.map(|link| (link.name.to_string(), link.index)).collect();
        facts
    }

    /// Makes the host what it is to be, as far as that was announced.
    pub(crate) fn carry_out(&mut self, route: &mut RouteSocket, view: &mut View) -> Done {
        let mut done = Done::default();
        self.change_sysctls(route, view, &mut done);
        self.change_links(route, view, &mut done);
        self.place_addresses(route, view, &mut done);
        self.disable_ipv6(view, &mut done);
        done
    }

    /// Those of the running configuration, then those that only the prepared one has.
    fn links(&self) -> impl Iterator<Item = &VirtualLink> {
        let prepared = self.prepared.iter().flat_map(|(_, needs)| needs.links.values());
        let added = prepared.filter(|link| !self.running.links.contains_key(&link.name));
        self.running.links.values().chain(added)
    }

    // ---- Settings of interfaces ----

    /// What the settings are to be.
    fn sysctls(&self, view: &View) -> BTreeMap<Sysctl, u32> {
        let mut needed = BTreeMap::new();
        let prepared = self.prepared.iter().flat_map(|(_, needs)| &needs.promote);
        for device in self.running.promote.iter().chain(prepared).filter(|device| !self.made.contains_key(*device)) {
            needed.insert(Sysctl::new(device, Ipv4Setting::PromoteSecondaries), 1);
        }
        let prepared = self.prepared.as_ref().is_some_and(|(_, needs)| needs.no_local_reports);
        if prepared || self.running.no_local_reports {
            needed.insert(Sysctl::LinkLocalReports, 0);
        }
        let mut parents = self.links().filter(|link| needs_settings(link)).map(|link| link.parent.as_str()).peekable();
        if parents.peek().is_some() {
            self.move_rp_filter(view, &mut needed);
        }
        for parent in parents {
            for setting in [Ipv4Setting::ArpIgnore, Ipv4Setting::ArpFilter] {
                needed.insert(Sysctl::new(parent, setting), 1);
            }
        }
        needed
    }

    /// A macvlan takes packets from anywhere, which `all` would forbid: it counts for every interface. What it asks for
    /// is asked of each other interface instead.
    fn move_rp_filter(&self, view: &View, needed: &mut BTreeMap<Sysctl, u32>) {
        let before = |sysctl: &Sysctl| self.kept.get(sysctl).map(|kept| kept.original).or_else(|| sysctl.value(view));
        let all = Sysctl::new("all", Ipv4Setting::RpFilter);
        let Some(level) = before(&all).filter(|level| *level > 0) else { return };
        needed.insert(all, 0);
        let links = view.links().filter(|link| !link.flags.contains(LinkFlags::LOOPBACK));
        let links = links.map(|link| link.name.to_string()).filter(|name| !self.made.contains_key(name));
        for device in links.chain(["default".to_owned()]) {
            let sysctl = Sysctl::new(&device, Ipv4Setting::RpFilter);
            if let Some(own) = before(&sysctl) {
                needed.insert(sysctl, own.max(level));
            }
        }
    }

    /// `all` counts for every interface: it is loosened last and tightened first.
    fn change_sysctls(&mut self, route: &mut RouteSocket, view: &mut View, done: &mut Done) {
        let needed = self.sysctls(view);
        let (ours, rest): (Vec<_>, Vec<_>) = self.kept.iter().partition(|(sysctl, _)| needed.contains_key(*sysctl));
        let mut ours: Vec<_> = ours.into_iter().map(|(sysctl, kept)| (sysctl, kept.ours)).collect();
        ours.sort_by_key(|(sysctl, _)| sysctl.is_of_all());
        // What somebody else has changed meanwhile is theirs.
        let still_ours = |(sysctl, kept): &(&Sysctl, &Kept)| sysctl.value(view) == Some(kept.ours);
        let back = rest.iter().copied().filter(still_ours);
        let mut back: Vec<_> = back.map(|(sysctl, kept)| (sysctl, kept.original)).collect();
        back.sort_by_key(|(sysctl, _)| !sysctl.is_of_all());
        let gone: Vec<_> = rest.into_iter().map(|(sysctl, _)| sysctl.clone()).collect();

        let (changed, refused) = sysctl::write(&ours, Purpose::Change, route, view);
        done.refused.extend(refused);
        let (restored, refused) = sysctl::write(&back, Purpose::Restore, route, view);
        if refused.is_empty() {
            for sysctl in gone {
                done.forgotten.push(fact(SYSCTL, &sysctl, ""));
                self.kept.remove(&sysctl);
            }
        }
        done.refused.extend(refused);
        if changed + restored > 0 {
            // The kernel tells of it only where an interface is up.
            done.refused.extend(look_at_links(route, view).err().map(|error| error.to_string()));
        }
    }

    // ---- Links ----

    fn change_links(&mut self, route: &mut RouteSocket, view: &mut View, done: &mut Done) {
        let strange = self.links().filter(|link| !self.made.contains_key(&link.name));
        done.refused.extend(strange.map(|link| {
            let VirtualLink { instance, name, .. } = link;
            format!(
                "({instance}): Unable to create interface {name}: another one has this name; give it one of its own"
            )
        }));
        for _ in 0..ROUNDS {
            let wanted = self.wanted_links(view);
            let named = |link: &&Link| wanted.release_links.binary_search(&link.name).is_ok();
            let present = Present { links: view.links().filter(named).cloned().collect(), ..Present::default() };
            let changes = plan(&wanted, &present);
            if changes.is_empty() {
                break;
            }
            let gone: Vec<_> = changes.iter().map(|change| removed_link(change, view)).collect();
            let refused = route.apply(&changes).refused.into_iter().map(|it| (it.index, it.error));
            // A link that goes while it is changed is made anew.
            let gone_meanwhile = |index: usize, error: &Error| {
                error.io().raw_os_error() == Some(ENODEV)
                    && !matches!(changes.get(index), Some(Change::AddVirtualLink(_)))
            };
            let refused: BTreeMap<_, _> = refused.filter(|(index, error)| !gone_meanwhile(*index, error)).collect();
            for (index, (change, removed)) in changes.iter().zip(gone).enumerate() {
                match refused.get(&index) {
                    None => {
                        done.made.extend(made_link(change));
                        self.tell_success(change, removed.as_ref(), view, route);
                    }
                    Some(error) => done.refused.push(self.complaint(change, &error.to_string())),
                }
            }
            if let Err(error) = look_at_links(route, view) {
                done.refused.push(error.to_string());
                break;
            }
            if !refused.is_empty() {
                break;
            }
        }
        self.forget_links(view, done);
    }

    /// What is wanted, and what of ours may be removed for it.
    fn wanted_links(&self, view: &View) -> Wanted {
        let ours = self.links().filter(|link| self.made.contains_key(&link.name));
        let mut names: Vec<_> = self.made.keys().filter_map(|name| LinkName::try_from(name.as_str()).ok()).collect();
        names.sort_unstable();
        Wanted {
            links: ours.filter_map(|link| as_link(link, view)).collect(),
            release_links: names,
            ..Wanted::default()
        }
    }

    fn tell_success(&self, change: &Change, removed: Option<&Link>, view: &View, route: &mut RouteSocket) {
        match (change, removed) {
            (Change::AddVirtualLink(made), _) => {
                let name = made.name.to_string();
                let Some(link) = self.links().find(|link| link.name == name) else { return };
                tracing::info!("({}): Success creating {} interface {name}", link.instance, sort(made.kind));
                let group = view.link_by_index(made.parent).map(|parent| parent.group).filter(|_| link.notify);
                if let Some(group) = group {
                    // In which it is already: the kernel tells everyone of it. Whoever does not hear it misses nothing else.
                    route.apply(&[Change::SetGroup { link: made.parent, group }]);
                }
            }
            (_, Some(Link { name, virtual_kind: Some(kind), .. })) => {
                let instance = self.made.get(&name.to_string()).map_or("", String::as_str);
                tracing::info!("({instance}) Success removing {} interface {name}", sort(*kind));
            }
            _ => {}
        }
    }

    fn complaint(&self, change: &Change, error: &str) -> String {
        let Change::AddVirtualLink(made) = change else { return error.to_owned() };
        let name = made.name.to_string();
        let instance = self.made.get(&name).map_or("", String::as_str);
        format!("({instance}): Unable to create {} interface {name}: {error}", sort(made.kind))
    }

    /// What is neither wanted nor there.
    fn forget_links(&mut self, view: &View, done: &mut Done) {
        let wanted: BTreeSet<_> = self.links().map(|link| link.name.clone()).collect();
        let gone =
            |name: &String| !wanted.contains(name) && view.link(name).is_none_or(|link| link.virtual_kind.is_none());
        let gone: Vec<_> = self.made.keys().filter(|name| gone(name)).cloned().collect();
        for name in gone {
            done.forgotten.push(fact(LINK, &name, ""));
            self.made.remove(&name);
        }
    }

    // ---- What is on the links ----

    /// IPv6 adverts leave a macvlan from the link-local address of the interface below, an ipvlan has an address of its
    /// own.
    fn place_addresses(&mut self, route: &mut RouteSocket, view: &View, done: &mut Done) {
        let addresses: Vec<_> = self.links().filter_map(|link| address_on(link, view)).collect();
        let keys: BTreeSet<_> = addresses.iter().map(Address::key).collect();
        let missing = addresses.iter().filter(|address| !view.has(&address.key())).map(|it| Change::AddAddress(*it));
        let surplus = self.placed.difference(&keys).filter(|key| view.has(key));
        let surplus = surplus.map(|key| Change::RemoveAddress(Address::new(key.link, key.ip, key.prefix_len)));
        let changes: Vec<_> = surplus.chain(missing).collect();
        self.placed = keys;
        if !changes.is_empty() {
            let refused = route.apply(&changes).refused;
            self.placed.extend(refused.iter().filter_map(|refusal| not_removed(changes.get(refusal.index)?)));
            done.refused.extend(refused.into_iter().map(|refusal| refusal.error.to_string()));
        }
    }

    /// A macvlan for IPv4 alone has no business with IPv6.
    fn disable_ipv6(&mut self, view: &View, done: &mut Done) {
        let without = self.links().filter(|link| !link.ipv6 && !link.keeps_ipv6);
        let new: Vec<_> = without.filter_map(|link| Some((view.link(&link.name)?.index, link.name.clone()))).collect();
        for (index, name) in new {
            if self.quiet.contains(&index) {
                continue;
            }
            match sysctl::disable_ipv6(&name) {
                Ok(()) => {
                    self.quiet.insert(index);
                }
                Err(reason) => done.refused.push(reason),
            }
        }
        self.quiet.retain(|index| view.link_by_index(*index).is_some());
    }
}

/// Brings the links of `view` up to date.
///
/// # Errors
/// What the kernel refused.
pub(crate) fn look_at_links(route: &mut RouteSocket, view: &mut View) -> Result<(), vip_netlink::Error> {
    let links = route.links()?;
    let there: BTreeSet<_> = links.iter().map(|link| link.index).collect();
    // Of any other link that is gone the kernel tells, and with it what was lost.
    let gone = view.links().filter(|link| link.virtual_kind.is_some() && !there.contains(&link.index));
    let gone: Vec<_> = gone.cloned().collect();
    let events = gone.into_iter().map(Event::LinkRemoved).chain(links.into_iter().map(Event::Link));
    events.for_each(|event| view.update(event));
    Ok(())
}

/// Removes what was announced and put on the host by processes that are gone; the facts that are over.
///
/// # Errors
/// When the kernel cannot be asked; what it refuses is logged.
pub(crate) fn restore(vmacs: &mut Vmacs) -> anyhow::Result<Vec<Fact>> {
    let mut route = RouteSocket::open()?;
    let mut view = View::new(route.links()?, Vec::new());
    vmacs.withdraw();
    let done = vmacs.carry_out(&mut route, &mut view);
    for reason in &done.refused {
        tracing::error!("{reason}");
    }
    Ok(done.forgotten)
}

fn fact(prefix: &str, name: impl std::fmt::Display, value: &str) -> Fact {
    Fact { key: format!("{prefix}{name}"), value: value.as_bytes().to_vec() }
}

fn needs_settings(link: &VirtualLink) -> bool {
    link.ipv4 && matches!(link.kind, Kind::Macvlan { .. })
}

fn sort(kind: VirtualKind) -> &'static str {
    match kind {
        VirtualKind::Macvlan { .. } => "VMAC",
        VirtualKind::Ipvlan { .. } => "ipvlan",
    }
}

fn made_link(change: &Change) -> Option<String> {
    let Change::AddVirtualLink(made) = change else { return None };
    Some(made.name.to_string())
}

fn removed_link(change: &Change, view: &View) -> Option<Link> {
    let Change::DelLink(vip_netlink::LinkRef::Index(index)) = change else { return None };
    view.link_by_index(*index).cloned()
}

/// The address that is still there after this was refused.
fn not_removed(change: &Change) -> Option<AddressKey> {
    let Change::RemoveAddress(address) = change else { return None };
    Some(address.key())
}

/// Whether a link that has the name of `link` is that one, and not one that somebody else gave the same name.
pub(crate) fn is_own(link: &VirtualLink, there: &Link, view: &View) -> bool {
    let kind = match (&link.kind, there.virtual_kind) {
        (Kind::Macvlan { mac }, Some(VirtualKind::Macvlan { .. })) => there.mac == Some(MacAddr(*mac)),
        (Kind::Ipvlan { .. }, Some(VirtualKind::Ipvlan { .. })) => true,
        _ => false,
    };
    kind && there.parent.is_some() && there.parent == view.link(&link.parent).map(|parent| parent.index)
}

/// As the kernel is to have it; `None` without the interface below.
fn as_link(link: &VirtualLink, view: &View) -> Option<vip_netlink::VirtualLink> {
    let parent = view.link(&link.parent)?;
    let master = parent.master.and_then(|master| view.link_by_index(master));
    let (kind, mac) = match &link.kind {
        Kind::Macvlan { mac } => (VirtualKind::Macvlan { mode: MacvlanMode::PRIVATE }, Some(MacAddr(*mac))),
        Kind::Ipvlan { mode, .. } => (VirtualKind::Ipvlan { mode: IpvlanMode::L2, flags: ipvlan_flags(*mode) }, None),
    };
    let ipv4 = Ipv4Conf::default()
        .with(Ipv4Setting::AcceptLocal, 1)
        .with(Ipv4Setting::ArpIgnore, 1)
        .with(Ipv4Setting::PromoteSecondaries, 1)
        .with(Ipv4Setting::RpFilter, 0);
    Some(vip_netlink::VirtualLink {
        name: LinkName::try_from(link.name.as_str()).ok()?,
        parent: parent.index,
        kind,
        mac,
        group: match link.group {
            Some(Group::Number(number)) => number,
            _ => parent.group,
        },
        // A bridge or a bond takes the interface itself; a VRF takes what is on it too.
        master: master.filter(|master| master.kind.as_deref() == Some("vrf")).map(|master| master.index),
        // An ipvlan for IPv6 sends from the link-local address that the kernel gives it.
        address_generation: (mac.is_some() || !link.ipv6).then_some(AddressGeneration::NONE),
        ipv4: if needs_settings(link) { ipv4 } else { Ipv4Conf::default() },
    })
}

fn ipvlan_flags(mode: virtual_link::IpvlanMode) -> IpvlanFlags {
    match mode {
        virtual_link::IpvlanMode::Bridge => IpvlanFlags::BRIDGE,
        virtual_link::IpvlanMode::Private => IpvlanFlags::PRIVATE,
        virtual_link::IpvlanMode::Vepa => IpvlanFlags::VEPA,
    }
}

/// The address that belongs on a link while no instance is Active.
fn address_on(link: &VirtualLink, view: &View) -> Option<Address> {
    let index = view.link(&link.name)?.index;
    match &link.kind {
        Kind::Ipvlan { address, .. } => {
            let (ip, prefix_len) = (*address)?;
            Some(Address::virtual_address(index, ip, prefix_len))
        }
        Kind::Macvlan { .. } if link.ipv6 => {
            let parent = view.link(&link.parent)?.index;
            let source = view.sources(parent, Family::Ipv6, &BTreeSet::new());
            let mut address = Address::virtual_address(index, *source.first()?, 64);
            // Nothing else is to choose it.
            address.flags |= AddressFlags::NODAD;
            address.preferred = Lifetime::ZERO;
            Some(address)
        }
        Kind::Macvlan { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::vrrp::tests::part;
    use crate::workers::vrrp::view::tests::link;

    fn index(number: u32) -> LinkIndex {
        LinkIndex::new(number).unwrap()
    }

    /// eth0, which answers ARP for everything.
    fn view() -> View {
        let ipv4 = Ipv4Setting::ALL.into_iter().fold(Ipv4Conf::default(), |conf, setting| conf.with(setting, 0));
        View::new(vec![Link { ipv4, ..link(index(2), "eth0") }], vec![])
    }

    fn needs(body: &str) -> Needs {
        let text = format!("vrrp_instance A {{\ninterface eth0\nvirtual_router_id 51\n{body}\n}}\n");
        Needs::of(&part(&text))
    }

    /// Those of eth0 and of links: what all interfaces have is this host's.
    fn in_words(facts: &[Fact]) -> Vec<String> {
        let own = facts.iter().filter(|fact| fact.key.starts_with(LINK) || fact.key.contains("/eth0/arp_"));
        own.map(|fact| format!("{} = {}", fact.key, String::from_utf8_lossy(&fact.value))).collect()
    }

    const MACVLAN: &str = "use_vmac\nvirtual_ipaddress { 192.0.2.1 }";

    #[test]
    fn what_is_about_to_happen_is_said_once() {
        let mut vmacs = Vmacs::default();
        assert!(vmacs.is_idle());
        vmacs.prepare(1, needs(MACVLAN));
        let facts = vmacs.announce(&view());
        assert_eq!(
            in_words(&facts),
            [
                "host link vrrp.51 = A",
                "host sysctl net/ipv4/conf/eth0/arp_filter = 0 1",
                "host sysctl net/ipv4/conf/eth0/arp_ignore = 0 1",
            ]
        );
        assert_eq!(vmacs.announce(&view()), []);
        let mut successor = Vmacs::default();
        successor.inherit(&facts);
        successor.prepare(1, needs(MACVLAN));
        assert_eq!(successor.announce(&view()), []);
    }

    #[test]
    fn settings_go_with_an_interface_that_gets_another_name() {
        let mut view = view();
        let mut vmacs = Vmacs::default();
        vmacs.prepare(1, needs(MACVLAN));
        vmacs.announce(&view);
        assert_eq!(vmacs.announce(&view), []);
        let eth0 = view.link("eth0").unwrap().clone();
        let ipv4 = eth0.ipv4.with(Ipv4Setting::ArpIgnore, 1).with(Ipv4Setting::ArpFilter, 1);
        view.update(Event::Link(Link { name: "lan0".parse().unwrap(), ipv4, ..eth0 }));
        let words = |fact: &Fact| format!("{} = {}", fact.key, String::from_utf8_lossy(&fact.value));
        let facts: Vec<_> = vmacs.announce(&view).iter().map(words).filter(|words| words.contains("/arp_")).collect();
        assert_eq!(
            facts,
            [
                "host sysctl net/ipv4/conf/eth0/arp_filter = ",
                "host sysctl net/ipv4/conf/eth0/arp_ignore = ",
                "host sysctl net/ipv4/conf/lan0/arp_filter = 0 1",
                "host sysctl net/ipv4/conf/lan0/arp_ignore = 0 1",
            ]
        );
    }

    #[test]
    fn what_is_as_it_is_to_be_is_nobody_s_to_restore() {
        let mut view = view();
        let eth0 = view.link("eth0").unwrap().clone();
        let ipv4 = eth0.ipv4.with(Ipv4Setting::ArpIgnore, 1);
        view.update(Event::Link(Link { ipv4, ..eth0 }));
        let mut vmacs = Vmacs::default();
        vmacs.prepare(1, needs(MACVLAN));
        let expected = ["host link vrrp.51 = A", "host sysctl net/ipv4/conf/eth0/arp_filter = 0 1"];
        assert_eq!(in_words(&vmacs.announce(&view)), expected);
    }

    #[test]
    fn what_somebody_sets_meanwhile_is_what_to_go_back_to() {
        let mut view = view();
        let mut vmacs = Vmacs::default();
        vmacs.prepare(1, needs(MACVLAN));
        vmacs.announce(&view);
        let mut set = |vmacs: &mut Vmacs, value| {
            let eth0 = view.link("eth0").unwrap().clone();
            let ipv4 = eth0.ipv4.with(Ipv4Setting::ArpIgnore, value);
            view.update(Event::Link(Link { ipv4, ..eth0 }));
            in_words(&vmacs.announce(&view))
        };
        let none: [&str; 0] = [];
        assert_eq!(set(&mut vmacs, 1), none, "as we made it");
        assert_eq!(set(&mut vmacs, 2), ["host sysctl net/ipv4/conf/eth0/arp_ignore = 2 1"]);
        assert_eq!(set(&mut vmacs, 1), none);
        assert_eq!(set(&mut vmacs, 0), ["host sysctl net/ipv4/conf/eth0/arp_ignore = 0 1"]);
    }

    #[test]
    fn until_it_is_committed_the_running_configuration_prevails() {
        let mut vmacs = Vmacs::default();
        let mac = |vmacs: &Vmacs| vmacs.wanted_links(&view()).links.first().and_then(|link| link.mac).unwrap().0[5];
        vmacs.prepare(1, needs(MACVLAN));
        vmacs.announce(&view());
        vmacs.commit(1);
        vmacs.prepare(2, needs(&MACVLAN.replace("use_vmac", "use_vmac 02:00:00:00:00:07")));
        vmacs.commit(1);
        assert_eq!(mac(&vmacs), 51);
        vmacs.commit(2);
        assert_eq!(mac(&vmacs), 7);
        vmacs.prepare(3, needs(MACVLAN));
        vmacs.abandon(3);
        vmacs.commit(3);
        assert_eq!(mac(&vmacs), 7);
    }

    #[test]
    fn another_link_of_that_name_is_left_alone() {
        let there = |mac: u8| Link {
            parent: Some(index(2)),
            mac: Some(MacAddr([0, 0, 0x5e, 0, 1, mac])),
            virtual_kind: Some(VirtualKind::Macvlan { mode: MacvlanMode::PRIVATE }),
            ..link(index(7), "vrrp.51")
        };
        let announced = |there: Link| {
            let mut view = view();
            view.update(Event::Link(there));
            let mut vmacs = Vmacs::default();
            vmacs.prepare(1, needs(MACVLAN));
            let announced = vmacs.announce(&view).iter().any(|fact| fact.key == "host link vrrp.51");
            (announced, vmacs.wanted_links(&view).links.len())
        };
        assert_eq!(announced(there(51)), (true, 1));
        assert_eq!(announced(there(52)), (false, 0));
        assert_eq!(announced(Link { parent: Some(index(3)), ..there(51) }), (false, 0));
        assert_eq!(announced(Link { virtual_kind: None, ..there(51) }), (false, 0));
    }

    #[test]
    fn cleanup_takes_what_the_file_names_and_nothing_else_of_that_name() {
        let part = part(&format!("vrrp_instance A {{\ninterface eth0\nvirtual_router_id 51\n{MACVLAN}\n}}\n"));
        let released = |mac: u8, facts: &[Fact]| {
            let mut view = view();
            view.update(Event::Link(Link {
                parent: Some(index(2)),
                mac: Some(MacAddr([0, 0, 0x5e, 0, 1, mac])),
                virtual_kind: Some(VirtualKind::Macvlan { mode: MacvlanMode::PRIVATE }),
                ..link(index(7), "vrrp.51")
            }));
            let mut vmacs = Vmacs::default();
            vmacs.inherit_links(&part, &view);
            vmacs.inherit(facts);
            vmacs.withdraw();
            vmacs.wanted_links(&view).release_links.len()
        };
        assert_eq!(released(51, &[]), 1);
        assert_eq!(released(52, &[]), 0);
        // It was ours, whatever somebody has made of it since.
        assert_eq!(released(52, &[fact(LINK, "vrrp.51", "A")]), 1);
    }

    #[test]
    fn an_address_whose_removal_was_refused_is_not_forgotten() {
        let address = Address::new(index(7), "fe80::2".parse().unwrap(), 64);
        assert_eq!(not_removed(&Change::RemoveAddress(address)), Some(address.key()));
        assert_eq!(not_removed(&Change::AddAddress(address)), None);
    }

    #[test]
    fn only_a_vrf_takes_the_macvlan_too() {
        let master = |kind: &str| {
            let eth0 = Link { master: Some(index(9)), ..link(index(2), "eth0") };
            let master = Link { kind: Some(kind.into()), ..link(index(9), "m") };
            let mut vmacs = Vmacs::default();
            vmacs.prepare(1, needs(MACVLAN));
            let view = View::new(vec![eth0, master], vec![]);
            vmacs.announce(&view);
            vmacs.wanted_links(&view).links[0].master
        };
        assert_eq!(master("vrf"), Some(index(9)));
        assert_eq!(master("bridge"), None);
    }

    #[test]
    fn adverts_of_ipv6_need_the_address_of_the_interface_below() {
        let mut view = view();
        view.update(Event::Link(Link { parent: Some(index(2)), ..link(index(7), "vrrp.51") }));
        view.update(Event::Address(Address::new(index(2), "fe80::2".parse().unwrap(), 64)));
        let on = |body: &str| {
            let mut vmacs = Vmacs::default();
            vmacs.prepare(1, needs(body));
            vmacs
                .links()
                .find_map(|link| address_on(link, &view))
                .map(|address| (address.ip.to_string(), address.preferred))
        };
        assert_eq!(on("use_vmac\nvirtual_ipaddress { fe80::1 }"), Some(("fe80::2".into(), Lifetime::ZERO)));
        assert_eq!(on(MACVLAN), None);
    }
}
