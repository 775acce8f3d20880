//! `bfd_instance`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use super::value::host;
use super::{Context, Handler};
use crate::config::{BfdInstance, Family, Weight};
use crate::diagnostic::{Class, Code, Diagnostic, Severity};
use crate::schema::nearest;
use crate::setting::Places;
use crate::source::{Span, Spanned};
use crate::tree::Statement;

/// Longest name in bytes.
const MAX_NAME: usize = 31;

/// Interval above which there is a warning.
const MAX_SENSIBLE: Duration = Duration::from_secs(10);

/// The instances of a configuration.
#[derive(Debug, Default)]
pub(super) struct Instances {
    pub(super) list: Vec<BfdInstance>,
    names: HashMap<String, Span>,
    /// The first instance of each neighbour, and of each pair of neighbour and source.
    neighbors: HashMap<IpAddr, Span>,
    pairs: HashMap<(IpAddr, Option<IpAddr>), Span>,
}

/// An instance as written.
#[derive(Debug)]
struct Draft {
    name: Spanned<String>,
    neighbor: Neighbor,
    source: Option<Spanned<IpAddr>>,
    min_rx: Duration,
    min_tx: Duration,
    idle_tx: Duration,
    multiplier: u8,
    passive: bool,
    ttl: Option<u8>,
    max_hops: Spanned<u8>,
    multihop: bool,
    weight: Weight,
    vrrp: bool,
    checker: bool,
    places: Places,
}

super::placed!(Draft);

#[derive(Debug)]
enum Neighbor {
    Missing,
    /// One that could not be read ends the instance.
    Malformed,
    Given(Spanned<IpAddr>),
}

impl Instances {
    /// Reads one block; one that cannot be used is left out.
    pub(super) fn read(&mut self, context: &mut Context<'_>, statement: &Statement) {
        let Some(name) = statement.arguments.first() else { return };
        if name.text.len() > MAX_NAME {
            let message = format!(
                "Configuration error: BFD instance {} name too long (maximum length is {MAX_NAME} characters) - ignoring",
                name.text
            );
            context.error(Code::BadBfd, name.span, message);
            return;
        }
        if let Some(first) = self.names.get(&name.text) {
            let message = format!("Configuration error: BFD instance {} already configured - ignoring", name.text);
            let finding = Diagnostic::error(Code::DuplicateBfd, Class::General, name.span, message);
            context.push(finding.related(*first, "first given here"));
            return;
        }
        let defaults = &context.carried.defaults.bfd_instance;
        let mut draft = Draft {
            name: Spanned::new(name.text.clone(), name.span),
            neighbor: Neighbor::Missing,
            source: None,
            min_rx: defaults.min_rx,
            min_tx: defaults.min_tx,
            idle_tx: defaults.idle_tx,
            multiplier: defaults.multiplier,
            passive: false,
            ttl: None,
            max_hops: Spanned::new(defaults.max_hops, name.span),
            multihop: defaults.multihop,
            weight: defaults.weight,
            vrrp: false,
            checker: false,
            places: Places::default(),
        };
        context.visit(&mut draft, &statement.body, &[BFD_INSTANCE]);
        if let Some(instance) = draft.finish(context).filter(|instance| self.is_new(context, instance)) {
            self.names.insert(instance.name.value.clone(), instance.name.span);
            self.list.push(instance);
        }
    }

    /// Whether no other instance has the same session: one without a source has those of every source.
    fn is_new(&mut self, context: &mut Context<'_>, instance: &BfdInstance) -> bool {
        let (name, span) = (&*instance.name, instance.neighbor.span);
        let neighbor = *instance.neighbor;
        let source = instance.source.as_ref().map(|source| source.value);
        let first = match source {
            None => self.neighbors.get(&neighbor),
            Some(_) => self.pairs.get(&(neighbor, source)).or_else(|| self.pairs.get(&(neighbor, None))),
        };
        if let Some(first) = first {
            let what = match source {
                None => format!("neighbor address {neighbor}"),
                Some(source) => format!("source/neighbor address {source}/{neighbor}"),
            };
            let message = format!("Configuration error: BFD instance {name} has duplicate {what}, ignoring instance");
            let finding = Diagnostic::error(Code::DuplicateBfd, Class::General, span, message);
            context.push(finding.related(*first, "first given here"));
            return false;
        }
        self.neighbors.entry(neighbor).or_insert(span);
        self.pairs.insert((neighbor, source), span);
        true
    }
}

impl Draft {
    /// Applies defaults; nothing comes back without a neighbour that can be reached.
    fn finish(self, context: &mut Context<'_>) -> Option<BfdInstance> {
        let name = &self.name;
        let neighbor = match self.neighbor {
            Neighbor::Given(neighbor) => neighbor,
            Neighbor::Malformed => return None,
            Neighbor::Missing => {
                let message = format!(
                    "Configuration error: BFD instance {} has no neighbor address set, disabling instance",
                    **name
                );
                let finding = Diagnostic::error(Code::BadBfd, Class::General, name.span, message);
                context.push(finding.help("add 'neighbor_ip <ip>'"));
                return None;
            }
        };
        let family = Family::of(*neighbor);
        if let Some(source) = self.source.as_ref().filter(|source| Family::of(***source) != family) {
            let message = format!(
                "Configuration error: BFD instance {} source address {} and neighbor address {} are not of the same \
                 family, disabling instance",
                **name, **source, *neighbor
            );
            let finding = Diagnostic::error(Code::BadBfd, Class::General, source.span, message);
            context.push(finding.related(neighbor.span, format!("the neighbor is {family}")));
            return None;
        }
        let ttl = self.ttl.unwrap_or(if family == Family::Ipv4 { 255 } else { 64 });
        let mut max_hops = self.max_hops.value;
        if max_hops > ttl {
            let message = format!("BFD instance {}: max_hops exceeds ttl/hoplimit - setting to ttl/hoplimit", **name);
            let finding = Diagnostic::warning(Code::AdjustedValue, Class::General, self.max_hops.span, message);
            context.push(finding.label(format!("the ttl is {ttl}")));
            max_hops = ttl;
        }
        let both = self.vrrp == self.checker;
        Some(BfdInstance {
            name: self.name,
            neighbor,
            source: self.source,
            min_rx: self.min_rx,
            min_tx: self.min_tx,
            idle_tx: self.idle_tx,
            multiplier: self.multiplier,
            passive: self.passive,
            ttl,
            max_hops,
            multihop: self.multihop,
            weight: self.weight,
            vrrp: self.vrrp || both,
            checker: self.checker || both,
            places: self.places,
        })
    }
}

/// An address of the session; `what` is how findings call it, `then` what becomes of it when it cannot be read.
fn address(
    draft: &Draft,
    context: &mut Context<'_>,
    statement: &Statement,
    what: &str,
    then: &str,
) -> Option<Spanned<IpAddr>> {
    let word = statement.arguments.first()?;
    let Some((address, rest)) = host(&word.text) else {
        let message = format!(
            "Configuration error: BFD instance {} has malformed {what} address {}, {then}",
            *draft.name, word.text
        );
        context.error(Code::BadAddress, word.span, message);
        return None;
    };
    if !rest.is_empty() {
        let note =
            Diagnostic::note(Code::BadAddress, word.span, format!("'{rest}' is not looked at: this is one address"));
        context.push(note.help("write the address alone").replacement(address.to_string()));
    }
    Some(Spanned::new(address, word.span))
}

fn neighbor(draft: &mut Draft, context: &mut Context<'_>, statement: &Statement) {
    if !matches!(draft.neighbor, Neighbor::Malformed) {
        let address = address(draft, context, statement, "neighbor", "ignoring instance");
        draft.neighbor = address.map_or(Neighbor::Malformed, Neighbor::Given);
    }
}

fn interval(draft: &Draft, context: &mut Context<'_>, statement: &Statement) -> Option<Duration> {
    let (least, most) = range(statement);
    let keyword = &statement.keyword.text;
    let name = &*draft.name;
    let time = context.time_with(statement, |text| {
        format!(
            "Configuration error: BFD instance {name} {keyword} value {text} is not valid (must be in range \
             [{least}-{most}]), ignoring"
        )
    })?;
    if let Some(word) = statement.arguments.first().filter(|_| time > MAX_SENSIBLE) {
        let message = format!(
            "Configuration warning: BFD instance {name} {keyword} value {} is larger than max sensible ({})",
            word.text,
            MAX_SENSIBLE.as_millis()
        );
        let finding = Diagnostic::new(Severity::Warning, Code::BadBfd, Class::Notice, Some(word.span), message);
        context.push(finding.help("the unit is milliseconds"));
    }
    Some(time)
}

fn number<T: TryFrom<i128>>(draft: &Draft, context: &mut Context<'_>, statement: &Statement, what: &str) -> Option<T> {
    let (least, most) = range(statement);
    let name = &*draft.name;
    context.number_with(statement, |text| {
        format!(
            "Configuration error: BFD instance {name} {what} value {text} not valid (must be in range \
             [{least}-{most}]), ignoring"
        )
    })
}

/// The bounds of a keyword, in its own unit.
fn range(statement: &Statement) -> (i128, i128) {
    let (least, most) = statement.row.and_then(|row| row.bounds).unwrap_or_default();
    (least / 1_000_000, most / 1_000_000)
}

fn max_hops(draft: &mut Draft, context: &mut Context<'_>, statement: &Statement) {
    if let Some(hops) = number::<i16>(draft, context, statement, "max_hops") {
        // -1 is another way to say that hops do not count.
        draft.max_hops = Spanned::new(u8::try_from(hops).unwrap_or(u8::MAX), statement.span());
    }
}

/// `N [reverse]`.
fn weight(draft: &mut Draft, context: &mut Context<'_>, statement: &Statement) {
    let Some(value) = number(draft, context, statement, "weight") else { return };
    let option = statement.arguments.get(1);
    let reverse = option.is_some_and(|word| word.text == "reverse");
    draft.weight = Weight { value, reverse };
    match option {
        Some(word) if reverse => {
            context.known_option("bfd_instance/weight", "reverse", word.span);
        }
        Some(word) => {
            let message =
                format!("Configuration error: BFD instance {} unknown weight option {}", *draft.name, word.text);
            let finding = Diagnostic::error(Code::BadWord, Class::General, word.span, message);
            context.push(match nearest(&word.text, ["reverse"].into_iter()) {
                Some(near) => finding.help("did you mean 'reverse'?").replacement(near),
                None => finding,
            });
        }
        None => {}
    }
}

fn ttl(draft: &mut Draft, context: &mut Context<'_>, statement: &Statement) {
    draft.ttl = number(draft, context, statement, "ttl/hoplimit").or(draft.ttl);
}

const BFD_INSTANCE: &[Handler<Draft>] = &[
    Handler("neighbor_ip", neighbor),
    Handler("neighbour_ip", neighbor),
    Handler("source_ip", |draft, context, statement| {
        let address = address(draft, context, statement, "source", "ignoring");
        draft.source = address.or(draft.source.take());
    }),
    Handler("min_rx", |draft, context, statement| {
        draft.min_rx = interval(draft, context, statement).unwrap_or(draft.min_rx);
    }),
    Handler("min_tx", |draft, context, statement| {
        draft.min_tx = interval(draft, context, statement).unwrap_or(draft.min_tx);
    }),
    Handler("idle_tx", |draft, context, statement| {
        draft.idle_tx = interval(draft, context, statement).unwrap_or(draft.idle_tx);
    }),
    Handler("multiplier", |draft, context, statement| {
        draft.multiplier = number(draft, context, statement, "multiplier").unwrap_or(draft.multiplier);
    }),
    Handler("passive", |draft, _, _| draft.passive = true),
    Handler("ttl", ttl),
    Handler("hoplimit", ttl),
    Handler("max_hops", max_hops),
    Handler("multihop", |draft, context, statement| context.set(&mut draft.multihop, statement)),
    Handler("weight", weight),
    Handler("vrrp", |draft, _, _| draft.vrrp = true),
    Handler("checker", |draft, _, _| draft.checker = true),
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{MemoryLoader, Options, Parsed, config_test_exit_code, parse};

    fn read(text: &str) -> Parsed {
        parse(&MemoryLoader::new([("k.conf", text)]), Path::new("k.conf"), &Options::default())
    }

    fn messages(parsed: &Parsed) -> Vec<&str> {
        parsed.diagnostics.iter().map(|finding| finding.message.as_str()).collect()
    }

    fn instance(lines: &str) -> Parsed {
        read(&format!("bfd_instance b {{\nneighbor_ip 192.0.2.3\n{lines}\n}}\n"))
    }

    #[test]
    fn defaults_depend_on_the_family() {
        let four = instance("").config.bfd_instances.remove(0);
        assert_eq!((four.min_rx, four.idle_tx), (Duration::from_millis(10), Duration::from_secs(1)));
        assert_eq!((four.ttl, four.max_hops, four.multiplier, four.vrrp, four.checker), (255, 0, 5, true, true));
        let six = read("bfd_instance b {\nneighbor_ip 2001:db8::3\n}\n").config.bfd_instances.remove(0);
        assert_eq!(six.ttl, 64);
    }

    #[test]
    fn values_and_their_units() {
        let parsed = instance("min_rx 3.312\nmin_tx 50\nmax_hops 255\nweight 0 reverse\nchecker\nsource_ip 198.18.0.1");
        assert_eq!(messages(&parsed), [""; 0]);
        let instance = &parsed.config.bfd_instances[0];
        assert_eq!((instance.min_rx, instance.min_tx), (Duration::from_micros(3312), Duration::from_millis(50)));
        assert_eq!((instance.max_hops, instance.vrrp, instance.checker), (255, false, true));
        assert_eq!(instance.weight, Weight { value: 0, reverse: true });
    }

    #[test]
    fn mistakes_in_keepalived_s_words() {
        let wrong = "Configuration error: BFD instance b";
        for (line, message) in [
            ("min_rx 0.5", "min_rx value 0.5 is not valid (must be in range [1-4294967]), ignoring"),
            ("idle_tx 999", "idle_tx value 999 is not valid (must be in range [1000-4294967]), ignoring"),
            ("multiplier 256", "multiplier value 256 not valid (must be in range [1-255]), ignoring"),
            ("hoplimit 0", "ttl/hoplimit value 0 not valid (must be in range [1-255]), ignoring"),
            ("max_hops -2", "max_hops value -2 not valid (must be in range [-1-255]), ignoring"),
            ("weight 254", "weight value 254 not valid (must be in range [-253-253]), ignoring"),
            ("weight 5 foo", "unknown weight option foo"),
            ("source_ip x", "has malformed source address x, ignoring"),
            ("neighbor_ip x\nmin_rx x", "has malformed neighbor address x, ignoring instance"),
            (
                "source_ip 2001:db8::1",
                "source address 2001:db8::1 and neighbor address 192.0.2.3 are not of the same family, disabling instance",
            ),
        ] {
            let parsed = instance(line);
            assert_eq!(messages(&parsed)[0], format!("{wrong} {message}"));
            assert_eq!(config_test_exit_code(&parsed.diagnostics), 5);
        }
        let parsed = instance("ttl 5\nmax_hops -1");
        assert_eq!(messages(&parsed), ["BFD instance b: max_hops exceeds ttl/hoplimit - setting to ttl/hoplimit"]);
        assert_eq!(parsed.config.bfd_instances[0].max_hops, 5);
        let parsed = instance("min_rx 10001");
        assert_eq!(
            messages(&parsed),
            ["Configuration warning: BFD instance b min_rx value 10001 is larger than max sensible (10000)"]
        );
        assert_eq!(config_test_exit_code(&parsed.diagnostics), 0);
    }

    #[test]
    fn sessions_are_unique() {
        let pair = |first: &str, second: &str| {
            let block =
                |name: &str, lines: &str| format!("bfd_instance {name} {{\nneighbor_ip 192.0.2.3\n{lines}\n}}\n");
            let parsed = read(&format!("{}{}", block("b", first), block("c", second)));
            (parsed.config.bfd_instances.len(), messages(&parsed).first().map(|message| (*message).to_owned()))
        };
        let duplicate = |what: &str| {
            (1, Some(format!("Configuration error: BFD instance c has duplicate {what}, ignoring instance")))
        };
        let one = "source_ip 198.18.0.1";
        assert_eq!(pair("", ""), duplicate("neighbor address 192.0.2.3"));
        assert_eq!(pair(one, ""), duplicate("neighbor address 192.0.2.3"));
        assert_eq!(pair("", one), duplicate("source/neighbor address 198.18.0.1/192.0.2.3"));
        assert_eq!(pair(one, one), duplicate("source/neighbor address 198.18.0.1/192.0.2.3"));
        assert_eq!(pair(one, "source_ip 198.18.0.2"), (2, None));
    }

    #[test]
    fn names() {
        let parsed = read("bfd_instance b {\nneighbor_ip 192.0.2.3\n}\nbfd_instance b {\nneighbor_ip 192.0.2.4\n}\n");
        assert_eq!(messages(&parsed), ["Configuration error: BFD instance b already configured - ignoring"]);
        let name = "a2345678901234567890123456789012";
        let parsed = read(&format!("bfd_instance {name} {{\nneighbor_ip 192.0.2.3\n}}\n"));
        assert_eq!(
            messages(&parsed),
            [format!(
                "Configuration error: BFD instance {name} name too long (maximum length is 31 characters) - ignoring"
            )]
        );
        assert_eq!(
            messages(&read("bfd_instance b {\n}\n")),
            ["Configuration error: BFD instance b has no neighbor address set, disabling instance"]
        );
    }
}
