//! `use_vmac` and `use_ipvlan`.

use std::net::IpAddr;

use super::Draft;
use crate::config::{Family, Ipvlan, IpvlanMode, LinkGroup, MacAddress, Vmac, Vrid};
use crate::diagnostic::{Class, Code, Diagnostic};
use crate::lexer::Word;
use crate::lower::Context;
use crate::lower::value::{integer, row_bounds};
use crate::schema::schema;
use crate::source::{Span, Spanned};
use crate::tree::Statement;

/// The links of an instance as written.
#[derive(Debug, Default)]
pub(super) struct Links {
    vmac: Option<Vmac>,
    /// Where `use_vmac` stands.
    vmac_span: Span,
    mac: Option<(Mac, Span)>,
    ipvlan: Option<Ipvlan>,
    /// Where `use_ipvlan` stands.
    ipvlan_span: Span,
    pub(super) use_vmac_addr: bool,
    pub(super) xmit_base: Option<Span>,
}

/// A MAC address as written; of five bytes, the number of the virtual router is the sixth.
#[derive(Debug, Clone, Copy)]
enum Mac {
    Whole([u8; 6]),
    Prefix([u8; 5]),
}

impl Mac {
    fn read(text: &str) -> Option<Self> {
        let byte = |part: &str| {
            let digits = (1..=2).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_hexdigit());
            u8::from_str_radix(part, 16).ok().filter(|_| digits)
        };
        let bytes: Option<Vec<u8>> = text.split(':').take(7).map(byte).collect();
        let bytes = bytes?;
        let whole = bytes.as_slice().try_into().map(Self::Whole);
        whole.or_else(|_| bytes.as_slice().try_into().map(Self::Prefix)).ok()
    }

    fn with(self, vrid: Vrid) -> MacAddress {
        MacAddress(match self {
            Self::Whole(bytes) => bytes,
            Self::Prefix([a, b, c, d, e]) => [a, b, c, d, e, vrid.0.get()],
        })
    }

    /// Why it cannot be the address of a macvlan.
    fn problem(self, text: &str) -> Option<String> {
        match self {
            Self::Whole([first, ..]) | Self::Prefix([first, ..]) if first & 1 == 1 => {
                Some(format!("VMAC MAC address is multicast {text} - ignoring"))
            }
            Self::Whole([0, 0, 0x5e, 0, 1 | 2, _]) | Self::Prefix([0, 0, 0x5e, 0, 1 | 2]) => {
                Some(format!("VMAC MAC address not allowed to be RFC5798 address ({text}) - ignoring"))
            }
            _ => None,
        }
    }
}

const VMAC: &str = "vrrp_instance/use_vmac";
const IPVLAN: &str = "vrrp_instance/use_ipvlan";

fn report(context: &mut Context<'_>, span: Span, message: impl Into<String>) {
    context.error(Code::VirtualLink, span, message);
}

/// An interface name: up to 15 bytes without `/` and `:`.
fn name(context: &mut Context<'_>, slot: &mut Option<Spanned<String>>, word: &Word, what: &str) {
    if word.text.is_empty() || word.text.len() > 15 || word.text.contains(['/', ':', ' ']) {
        let message = format!("{what} interface name '{}' too long or invalid characters - ignoring", word.text);
        report(context, word.span, message);
    } else if slot.is_some() {
        report(context, word.span, format!("{what} interface name already specified"));
    } else {
        *slot = Some(Spanned::new(word.text.clone(), word.span));
    }
}

/// The word behind `group`: a number, or a name.
fn group(context: &mut Context<'_>, block: &str, option: &Word, value: Option<&Word>) -> Option<LinkGroup> {
    let Some(word) = value else {
        let finding = Diagnostic::error(Code::MissingParameter, Class::General, option.span, "group has no value");
        context.push(finding);
        return None;
    };
    if !word.text.starts_with(|first: char| first.is_ascii_digit() || first == '-') {
        return Some(LinkGroup::Name(word.text.clone()));
    }
    match integer(&word.text, &row_bounds(schema().lookup(block, "group"))) {
        Ok(number) => u32::try_from(number).ok().map(LinkGroup::Number),
        Err(wrong) => {
            context.bad_number(word, wrong, format!("invalid link group '{}' - ignoring", word.text));
            None
        }
    }
}

/// The word behind `name`, which is a name whatever it is.
fn after_name<'a>(
    context: &mut Context<'_>,
    option: &Word,
    words: &mut impl Iterator<Item = &'a Word>,
) -> Option<&'a Word> {
    let word = words.next();
    if word.is_none() {
        context.error(Code::MissingParameter, option.span, "name has no value");
    }
    word
}

/// `use_vmac`: of several lines each adds what the ones before did not say.
pub(super) fn vmac(draft: &mut Draft, context: &mut Context<'_>, statement: &Statement) {
    let links = &mut draft.links;
    links.vmac_span = statement.keyword.span;
    let vmac = links.vmac.get_or_insert_default();
    let mut words = statement.arguments.iter();
    while let Some(word) = words.next() {
        if context.known_option(VMAC, &word.text, word.span) {
            match word.text.as_str() {
                "name" => {
                    if let Some(word) = after_name(context, word, &mut words) {
                        name(context, &mut vmac.name, word, "VMAC");
                    }
                }
                "group" => vmac.group = group(context, VMAC, word, words.next()),
                _ => vmac.netlink_notify = true,
            }
        } else if !word.text.contains(':') {
            name(context, &mut vmac.name, word, "VMAC");
        } else if links.mac.is_some() {
            report(context, word.span, "VMAC interface address already specified");
        } else {
            match Mac::read(&word.text) {
                None => report(context, word.span, format!("VMAC invalid MAC address {} - ignored", word.text)),
                Some(mac) => match mac.problem(&word.text) {
                    Some(problem) => report(context, word.span, problem),
                    None => links.mac = Some((mac, word.span)),
                },
            }
        }
    }
}

/// `use_ipvlan`.
pub(super) fn ipvlan(draft: &mut Draft, context: &mut Context<'_>, statement: &Statement) {
    let tag = draft.tag();
    if draft.links.ipvlan.is_some() {
        return report(context, statement.keyword.span, format!("{tag} use_ipvlan already specified"));
    }
    let mut ipvlan = Ipvlan::default();
    let mut mode = None;
    let mut words = statement.arguments.iter();
    while let Some(word) = words.next() {
        if context.known_option(IPVLAN, &word.text, word.span) {
            match word.text.as_str() {
                "name" => {
                    if let Some(word) = after_name(context, word, &mut words) {
                        name(context, &mut ipvlan.name, word, "ipvlan");
                    }
                }
                "group" => ipvlan.group = group(context, IPVLAN, word, words.next()),
                text if mode.is_some() => {
                    report(context, word.span, format!("{tag} ipvlan type already specified - ignoring '{text}'"));
                }
                text => mode = IpvlanMode::WORDS.iter().find(|(name, _)| *name == text).map(|(_, mode)| *mode),
            }
        } else {
            ipvlan_word(draft, context, &mut ipvlan, word);
        }
    }
    ipvlan.mode = mode.unwrap_or_default();
    draft.links.ipvlan = Some(ipvlan);
    draft.links.ipvlan_span = statement.keyword.span;
}

/// An address, else a name.
fn ipvlan_word(draft: &mut Draft, context: &mut Context<'_>, ipvlan: &mut Ipvlan, word: &Word) {
    let (address, length) = word.text.split_once('/').map_or((word.text.as_str(), None), |(ip, len)| (ip, Some(len)));
    let Ok(address) = address.parse::<IpAddr>() else {
        return name(context, &mut ipvlan.name, word, "ipvlan");
    };
    let family = Family::of(address);
    let prefix_len = match length.map(|length| integer(length, &(0..=family.bits()))).transpose() {
        Ok(length) => length,
        Err(wrong) => return context.bad_number(word, wrong, format!("invalid ipvlan address {}", word.text)),
    };
    if !draft.fits_family(family) {
        let tag = draft.tag();
        let message = format!("{tag} ipvlan address[{}] MUST match vrrp instance family !!! Skipping...", word.text);
        return context.error(Code::AddressFamily, word.span, message);
    }
    ipvlan.address = Some(Spanned::new(address, word.span));
    ipvlan.prefix_len = prefix_len;
}

/// What is left of the links once the rest of the instance is known.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    pub(super) vmac: Option<Vmac>,
    pub(super) ipvlan: Option<Ipvlan>,
    pub(super) use_vmac_addr: bool,
    pub(super) xmit_base: bool,
}

/// What of the rest counts for links.
#[derive(Debug, Clone, Copy)]
pub(super) struct Circumstances {
    /// There are peers.
    pub(super) unicast: bool,
    /// A keyword for unicast is there, with or without peers.
    pub(super) unicast_word: bool,
    pub(super) has_interface: bool,
    pub(super) strict: bool,
    pub(super) family: Family,
    pub(super) vrid: Option<Vrid>,
}

impl Links {
    pub(super) fn resolve(mut self, context: &mut Context<'_>, tag: &str, around: Circumstances) -> Resolved {
        if around.unicast && !around.has_interface && (self.vmac.is_some() || self.ipvlan.is_some()) {
            let span = if self.vmac.is_some() { self.vmac_span } else { self.ipvlan_span };
            let message = format!("{tag}: Cannot use VMAC/ipvlan with unicast and no interface - clearing use_vmac");
            report(context, span, message);
            (self.vmac, self.ipvlan) = (None, None);
        }
        if self.vmac.is_some() && self.ipvlan.is_some() {
            let message = format!("{tag} use_vmac and use_ipvlan contradict each other");
            context.push(
                Diagnostic::note(Code::VirtualLink, self.ipvlan_span, message).related(self.vmac_span, "use_vmac"),
            );
        }
        let xmit_base = self.xmit_base(context, tag, around);
        self.mac(context, tag, around);
        let addressless = self.ipvlan.as_ref().is_some_and(|ipvlan| ipvlan.address.is_none());
        if addressless && around.family == Family::Ipv4 {
            let message = format!(
                "{tag} IPv4 ipvlan requires a source ip address to be configured. setting instance to fault state"
            );
            let finding = Diagnostic::error(Code::VirtualLink, Class::General, self.ipvlan_span, message);
            context.push(finding.help("use_ipvlan [name] <ip>[/<len>]"));
        }
        Resolved { vmac: self.vmac, ipvlan: self.ipvlan, use_vmac_addr: self.use_vmac_addr, xmit_base }
    }

    fn xmit_base(&self, context: &mut Context<'_>, tag: &str, around: Circumstances) -> bool {
        let forced = around.unicast_word && self.vmac.is_some() && self.xmit_base.is_none();
        if forced {
            let message = format!("{tag} unicast with use_vmac requires vmac_xmit_base - setting");
            context.warning(Code::VirtualLink, self.vmac_span, message);
        }
        let Some(span) = self.xmit_base.or(forced.then_some(self.vmac_span)) else {
            return false;
        };
        let (code, problem) = match () {
            () if self.vmac.is_none() => (Code::VirtualLink, "vmac_xmit_base is only valid with a vmac"),
            () if around.strict && !around.unicast => {
                (Code::StrictMode, "xmit_base is incompatible with strict mode - resetting")
            }
            () => return true,
        };
        context.error(code, span, format!("{tag} {problem}"));
        false
    }

    fn mac(&mut self, context: &mut Context<'_>, tag: &str, around: Circumstances) {
        let (Some(vmac), Some((mac, span))) = (&mut self.vmac, self.mac) else {
            return;
        };
        if around.strict {
            let message = format!("{tag}: cannot specify MAC address with strict mode - clearing");
            return context.error(Code::StrictMode, span, message);
        }
        vmac.address = around.vrid.map(|vrid| mac.with(vrid));
    }
}
