//! Lines of `virtual_ipaddress`, `virtual_ipaddress_excluded` and `static_ipaddress`.

use super::*;

config_type! {
/// One address that is added to an interface.
pub struct VirtualAddress {
    /// The address.
    pub address: Spanned<IpAddr>,
    /// Length of the network prefix: 0 to 32, or 0 to 128; all bits where absent, or with a `peer`.
    pub prefix_len: u8,
    /// `dev`; where absent the instance's interface, or the macvlan on it.
    pub dev: Option<Box<Spanned<String>>>,
    /// What else is said; boxed, for there may be a million addresses without.
    options: Option<Box<AddressOptions>>,
}}

config_type! {
/// What may stand behind an address and its `dev`.
#[derive(Default)]
pub struct AddressOptions {
    /// `brd` or `broadcast`; IPv4 only.
    pub broadcast: Option<Ipv4Addr>,
    /// `scope`: the kernel's RT_SCOPE number, or a name of it; 0 = global.
    pub scope: Named<u8>,
    /// `label`; IPv4 only, up to 15 bytes.
    pub label: Option<Box<str>>,
    /// `peer`: the far end of a point-to-point link, of the same family.
    pub peer: Option<IpAddr>,
    /// `home`: a home address of mobile IPv6.
    pub home: bool,
    /// `-nodad`: duplicate address detection is made.
    pub detect_duplicates: bool,
    /// `mngtmpaddr`: temporary addresses are made from it.
    pub mngtmpaddr: bool,
    /// `noprefixroute`: no route for its prefix.
    pub noprefixroute: bool,
    /// `autojoin`: its multicast group is joined.
    pub autojoin: bool,
    /// `no_track`: nothing happens when others delete it.
    pub no_track: bool,
    /// `use_vmac`: on a macvlan on its interface; not for static addresses.
    pub use_vmac: bool,
    /// `preferred_lft`; [`Lifetime::default_of`] the address where absent.
    pub preferred_lifetime: Option<Lifetime>,
    /// `track_group`: instances that fault when the address is lost; for static addresses only.
    pub track_group: Option<Spanned<String>>,
}}

config_type! {
/// How long an address is preferred.
#[derive(Copy, Hash)]
pub enum Lifetime {
    /// Always.
    Forever,
    /// So many seconds; with 0 it is deprecated from the start.
    Seconds(u32),
}}

impl Lifetime {
    /// What holds for `address` without `preferred_lft`.
    pub fn default_of(address: IpAddr, prefix_len: u8) -> Self {
        if address.is_ipv6() && prefix_len == 128 { Self::Seconds(0) } else { Self::Forever }
    }
}

impl VirtualAddress {
    /// `address` on the network of so many bits, with nothing said about it.
    pub fn new(address: Spanned<IpAddr>, prefix_len: u8) -> Self {
        Self { address, prefix_len, dev: None, options: None }
    }

    /// What else is said about it.
    pub fn options(&self) -> &AddressOptions {
        static NONE: OnceLock<AddressOptions> = OnceLock::new();
        self.options.as_deref().unwrap_or_else(|| NONE.get_or_init(AddressOptions::default))
    }

    /// Puts `options` in the place of what is said about it beside its `dev`.
    pub fn set_options(&mut self, options: AddressOptions) {
        self.options = (options != AddressOptions::default()).then(|| Box::new(options));
    }

    /// Takes out what is said about it beside its `dev`.
    pub(crate) fn take_options(&mut self) -> AddressOptions {
        self.options.take().map(|options| *options).unwrap_or_default()
    }

    /// How long it is preferred: by default forever, but for an IPv6 address without network no time.
    pub fn preferred_lifetime(&self) -> Lifetime {
        self.options().preferred_lifetime.unwrap_or_else(|| Lifetime::default_of(*self.address, self.prefix_len))
    }

    /// Its interface, as a finding about one that does not exist names it.
    pub(in crate::config) fn interface(&self) -> Option<(&str, Span, String)> {
        let dev = self.dev.as_ref()?;
        let (address, length) = (*self.address, self.prefix_len);
        let message = format!("WARNING - interface {} for ip address {address}/{length} doesn't exist", dev.value);
        Some((dev.value.as_str(), dev.span, message))
    }

    pub(in crate::config) fn host_names<'a>(&'a self, out: &mut Vec<HostName<'a>>) {
        let mut names = HostNames { out, cost: "the address is used with scope global" };
        let invalid = |name: &str| format!("Invalid scope '{name}' specified for {} - ignoring", self.network());
        names.add(NameTable::Scopes, &self.options().scope, invalid);
    }

    /// Puts the number in the place of the name of a scope; one that `host` is known not to have means global.
    pub(in crate::config) fn resolve(&mut self, host: &dyn Host) {
        if self.options.is_none() {
            return;
        }
        let mut options = self.take_options();
        if !options.scope.resolve(NameTable::Scopes, host) {
            options.scope = Named::default();
        }
        self.set_options(options);
    }

    /// `192.0.2.1/24`, without the length where it is that of the address.
    fn network(&self) -> String {
        let address = *self.address;
        if self.prefix_len == Family::of(address).bits() {
            return address.to_string();
        }
        format!("{address}/{}", self.prefix_len)
    }

    fn words(&self, row: &Row) -> Vec<Scalar> {
        let text = |word: &str| Scalar::Text(word.to_owned());
        let options = self.options();
        let address = match options.peer {
            Some(_) => self.address.to_string(),
            None => format!("{}/{}", *self.address, self.prefix_len),
        };
        let lifetime = self.address.is_ipv6().then_some(match self.preferred_lifetime() {
            Lifetime::Forever => text("forever"),
            Lifetime::Seconds(seconds) => Scalar::Integer(seconds.into()),
        });
        let with_value = [
            ("dev", self.dev.as_ref().map(|dev| dev.word(row))),
            ("peer", options.peer.as_ref().map(|peer| peer.word(row))),
            ("broadcast", options.broadcast.map(|broadcast| broadcast.word(row))),
            ("scope", options.scope_word(row)),
            ("label", options.label.as_deref().map(text)),
            ("preferred_lft", lifetime),
            ("track_group", options.track_group.as_ref().map(|group| group.word(row))),
        ];
        let flags = [
            ("use_vmac", options.use_vmac),
            ("home", options.home),
            ("-nodad", options.detect_duplicates),
            ("mngtmpaddr", options.mngtmpaddr),
            ("noprefixroute", options.noprefixroute),
            ("autojoin", options.autojoin),
            ("no_track", options.no_track),
        ];
        let with_value = with_value.into_iter().filter_map(|(word, value)| Some([text(word), value?])).flatten();
        let flags = flags.into_iter().filter(|(_, set)| *set).map(|(word, _)| text(word));
        std::iter::once(Scalar::Text(address)).chain(with_value).chain(flags).collect()
    }
}

impl AddressOptions {
    fn scope_word(&self, row: &Row) -> Option<Scalar> {
        match &self.scope {
            Named::Number(0) => None,
            Named::Number(number) => Some(number.word(row)),
            Named::Name(name) => Some(name.word(row)),
        }
    }
}

pub(in crate::config) fn show_addresses(addresses: &[VirtualAddress], slot: Slot, out: &mut Vec<Setting>) {
    show_list(addresses, slot, out, |address| Setting::entry(address.words(slot.row), address.address.span));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_stays_small() {
        let size = size_of::<VirtualAddress>();
        assert!(size <= 56, "{size}");
    }

    #[test]
    fn options_that_say_nothing_are_none() {
        let mut address = VirtualAddress::new(Spanned::new("192.0.2.1".parse().unwrap(), Span::default()), 24);
        let plain = address.clone();
        address.set_options(AddressOptions { no_track: true, ..AddressOptions::default() });
        assert_ne!(address, plain);
        let options = address.take_options();
        assert!(options.no_track);
        address.set_options(AddressOptions { no_track: false, ..options });
        assert_eq!(address, plain);
    }
}
