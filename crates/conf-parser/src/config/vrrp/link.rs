//! `use_vmac` and `use_ipvlan`.

use super::*;

config_type! {
/// `use_vmac`.
#[derive(Default)]
pub struct Vmac {
    /// `name`: the interface; up to 15 bytes. Where absent it is made of `vmac_prefix` and the virtual router's number.
    pub name: Option<Spanned<String>>,
    /// MAC address; that of the virtual router (RFC 9568 §7.3) where absent.
    pub address: Option<MacAddress>,
    /// `netlink_notify_msg`: the kernel is made to tell of the interface below when the macvlan is made.
    pub netlink_notify: bool,
    /// `group`; that of the interface below where absent.
    pub group: Option<LinkGroup>,
}}

config_type! {
/// `use_ipvlan`.
#[derive(Default)]
pub struct Ipvlan {
    /// `name`: the interface; up to 15 bytes. Where absent it is made of `vmac_prefix` and the virtual router's number.
    pub name: Option<Spanned<String>>,
    /// Its address, which is also where adverts come from; for IPv6 the link-local one where absent.
    pub address: Option<Spanned<IpAddr>>,
    /// Length of the network prefix of `address`, where one is given.
    pub prefix_len: Option<u8>,
    /// How it shares the interface below.
    pub mode: IpvlanMode,
    /// `group`; that of the interface below where absent.
    pub group: Option<LinkGroup>,
}}

config_type! {
/// How ipvlans on one interface reach each other.
#[derive(Copy, Default, Hash)]
pub enum IpvlanMode {
    /// `bridge`: directly.
    #[default]
    Bridge,
    /// `private`: not at all.
    Private,
    /// `vepa`: through the next switch.
    Vepa,
}}

impl IpvlanMode {
    /// Every mode with its word.
    pub const WORDS: &'static [(&'static str, Self)] =
        &[("bridge", Self::Bridge), ("private", Self::Private), ("vepa", Self::Vepa)];
}

/// A MAC address of an Ethernet link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct MacAddress(pub [u8; 6]);

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, last] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{last:02x}")
    }
}

config_type! {
/// The group of a link.
pub enum LinkGroup {
    /// Its number, 0 to 2147483647.
    Number(u32),
    /// Its name in the host's list of groups.
    Name(String),
}}

impl LinkGroup {
    fn words(&self) -> [Scalar; 2] {
        let group = match self {
            Self::Number(number) => Scalar::Integer((*number).into()),
            Self::Name(name) => Scalar::Text(name.clone()),
        };
        [Scalar::Text("group".to_owned()), group]
    }
}

/// `name NAME`: the word before it keeps the name from being taken for something else.
fn name_words(name: &Option<Spanned<String>>) -> impl Iterator<Item = Scalar> {
    name.iter().flat_map(|name| ["name".to_owned(), name.value.clone()]).map(Scalar::Text)
}

impl Show for Vmac {
    fn show(&self, slot: Slot, out: &mut Vec<Setting>) {
        let address = self.address.map(|address| Scalar::Text(address.to_string()));
        let notify = self.netlink_notify.then(|| Scalar::Text("netlink_notify_msg".to_owned()));
        let group = self.group.iter().flat_map(LinkGroup::words);
        out.push(slot.line(name_words(&self.name).chain(address).chain(notify).chain(group).collect()));
    }
}

impl Show for Ipvlan {
    fn show(&self, slot: Slot, out: &mut Vec<Setting>) {
        let address = self.address.iter().map(|address| match self.prefix_len {
            Some(length) => Scalar::Text(format!("{}/{length}", **address)),
            None => Scalar::Text(address.to_string()),
        });
        let mode = IpvlanMode::WORDS.iter().filter(|(_, mode)| *mode == self.mode);
        let mode = mode.map(|(word, _)| Scalar::Text((*word).to_owned()));
        let group = self.group.iter().flat_map(LinkGroup::words);
        out.push(slot.line(name_words(&self.name).chain(address).chain(mode).chain(group).collect()));
    }
}
