//! The top level: namespaces, interfaces, groups of interfaces and of instances.

use super::*;

settings! {
/// The keywords of the top level that are not of one block.
#[derive(Default)]
pub struct TopLevel {
    /// `net_namespace`: everything runs in this network namespace.
    net_namespace: Option<String> as "net_namespace",
    /// `net_namespace_ipvs`: whose IPVS tables are managed; those of the daemon's own namespace where absent.
    net_namespace_ipvs: Option<IpvsNamespace> as "net_namespace_ipvs",
    /// `namespace_with_ipsets`: sets of addresses are used though there is a namespace; for kernels before 3.13.
    namespace_with_ipsets: bool as "namespace_with_ipsets",
    /// `instance`: name of this running copy; it implies `use_pid_dir`.
    instance: Option<String> as "instance",
    /// `use_pid_dir`: pid files have a directory of their own.
    use_pid_dir: bool as "use_pid_dir",
    /// `linkbeat_use_polling`: the links of all VRRP interfaces are polled.
    linkbeat_use_polling: bool as "linkbeat_use_polling",
    /// `linkbeat_interfaces`: interfaces whose link is polled.
    linkbeat_interfaces: Vec<LinkbeatInterface> as "linkbeat_interfaces" via show_linkbeat,
    /// `interface_up_down_delays`: how long a change of a link must last before it counts.
    interface_delays: Vec<InterfaceDelays> as "interface_up_down_delays" via show_delays,
    /// The `garp_group` blocks, in the order of the file.
    garp_groups: Vec<GarpGroup> as "garp_group" via |groups: &[_], slot, out: &mut _| show_blocks(groups, slot, out),
    /// The `track_group` blocks, in the order of the file.
    track_groups: Vec<TrackGroup> as "track_group" via |groups: &[_], slot, out: &mut _| show_blocks(groups, slot, out),
}}

config_type! {
/// `net_namespace_ipvs`.
pub enum IpvsNamespace {
    /// The namespace that a machine starts with.
    Default,
    /// This one.
    Named(String),
}}

impl Show for IpvsNamespace {
    fn show(&self, slot: Slot, out: &mut Vec<Setting>) {
        out.push(slot.line(match self {
            Self::Default => Vec::new(),
            Self::Named(name) => vec![Scalar::Text(name.clone())],
        }));
    }
}

config_type! {
/// A line of `linkbeat_interfaces`.
pub struct LinkbeatInterface {
    /// Its name.
    pub interface: Spanned<String>,
    /// What is asked first; the others follow where it is not supported. MII where absent.
    pub method: Option<LinkbeatMethod>,
}}

config_type! {
/// How the state of a link is asked for.
#[derive(Copy)]
pub enum LinkbeatMethod {
    /// The registers of the MII.
    Mii,
    /// The link query of ethtool.
    Ethtool,
    /// The flags of the interface.
    Ioctl,
}}

impl LinkbeatMethod {
    /// Every method with its word.
    pub const WORDS: &'static [(&'static str, Self)] =
        &[("MII", Self::Mii), ("ETHTOOL", Self::Ethtool), ("IOCTL", Self::Ioctl)];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mii => "MII",
            Self::Ethtool => "ETHTOOL",
            Self::Ioctl => "IOCTL",
        }
    }
}

fn show_linkbeat(interfaces: &[LinkbeatInterface], slot: Slot, out: &mut Vec<Setting>) {
    show_list(interfaces, slot, out, |one| {
        let method = one.method.map(|method| Scalar::Text(method.as_str().to_owned()));
        Setting::entry(std::iter::once(one.interface.word(slot.row)).chain(method).collect(), one.interface.span)
    });
}

config_type! {
/// A line of `interface_up_down_delays`.
pub struct InterfaceDelays {
    /// Its name.
    pub interface: Spanned<String>,
    /// How long the link must be down, 0 to 255 s.
    pub down: Duration,
    /// How long the link must be up, 0 to 255 s; default 0.
    pub up: Duration,
}}

fn show_delays(delays: &[InterfaceDelays], slot: Slot, out: &mut Vec<Setting>) {
    show_list(delays, slot, out, |one| {
        let time = |time| duration(time, Unit::Seconds);
        Setting::entry(vec![one.interface.word(slot.row), time(one.down), time(one.up)], one.interface.span)
    });
}

settings! {
/// A `garp_group` block: the pace of gratuitous ARP and unsolicited NA.
pub struct GarpGroup {
    /// `garp_interval`: gap between two gratuitous ARPs, 0 to 4294.967295 s.
    garp_interval: Option<Duration> as "garp_interval",
    /// `gna_interval`: gap between two unsolicited neighbour adverts, 0 to 4294.967295 s.
    gna_interval: Option<Duration> as "gna_interval",
    /// `interface`: interfaces that keep the gaps, each for itself.
    separate: Vec<Spanned<String>> as "interface" via show_each,
    /// `interfaces`: interfaces that keep the gaps together.
    shared: Vec<Spanned<String>> as "interfaces" via show_names,
    /// Where the block starts.
    span: Spanned<()>,
    /// Where the keywords were written.
    places: Places,
}}

impl Block for GarpGroup {
    fn written(&self) -> Option<Span> {
        Some(self.span.span)
    }

    fn body(&self) -> Vec<Setting> {
        let mut out = Vec::new();
        self.lines("garp_group", &self.places, &mut out);
        out
    }
}

/// One line for each name.
fn show_each(names: &[Spanned<String>], slot: Slot, out: &mut Vec<Setting>) {
    if names.is_empty() {
        out.push(slot.absent());
    }
    for name in names {
        name.show(Slot { written: Some(name.span), ..slot }, out);
    }
}

/// A block with one name on each line.
fn show_names(names: &[Spanned<String>], slot: Slot, out: &mut Vec<Setting>) {
    show_list(names, slot, out, |name| Setting::entry(vec![name.word(slot.row)], name.span));
}

config_type! {
/// A `track_group` block: instances that depend on static addresses, routes or rules.
pub struct TrackGroup {
    /// The name after `track_group`.
    pub name: Spanned<String>,
    /// `group`: names of instances.
    pub members: Vec<Spanned<String>>,
}}

impl Block for TrackGroup {
    fn head(&self) -> Vec<Scalar> {
        vec![Scalar::Text(self.name.value.clone())]
    }

    fn written(&self) -> Option<Span> {
        Some(self.name.span)
    }

    fn body(&self) -> Vec<Setting> {
        let mut out = Vec::new();
        show_names(&self.members, Slot::new("track_group", "group", &Places::default()), &mut out);
        out
    }
}

impl TopLevel {
    /// Every interface that stops the start where it does not exist, with the place and what keepalived says.
    pub(super) fn interfaces(&self) -> impl Iterator<Item = (&str, Span, String)> {
        let paced = self.garp_groups.iter().flat_map(|group| group.separate.iter().chain(&group.shared));
        paced.map(|name| {
            let message = format!("WARNING - interface {} specified for garp_group doesn't exist", **name);
            (name.value.as_str(), name.span, message)
        })
    }

    /// Every interface that is passed over where it does not exist, with the place and what keepalived says.
    pub(super) fn optional_interfaces(&self) -> impl Iterator<Item = (&str, Span, String)> {
        let polled = self.linkbeat_interfaces.iter().map(|one| (&one.interface, "linkbeat interface"));
        let delayed = self.interface_delays.iter().map(|one| (&one.interface, "up/down delay"));
        polled.chain(delayed).map(|(name, user)| {
            (name.value.as_str(), name.span, format!("unknown interface {} specified for {user}", **name))
        })
    }
}
