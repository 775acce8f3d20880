//! Lines of `static_rules` and `virtual_rules`.

use std::num::NonZeroU64;

use super::words::{Net, Words, named, number_of_any_base};
use super::{Context, value};
use crate::config::{
    Family, Fwmark, GROUPS, IP_PROTOCOLS, KEEPALIVED, Named, Prefix, RouteType, Rule, RuleAction, TABLES,
};
use crate::diagnostic::{Class, Code, Diagnostic};
use crate::lexer::Word;
use crate::source::{Span, Spanned};
use crate::tree::Statement;

/// The preferences that the next rules without one get: they count down.
#[derive(Debug)]
pub(super) struct Preferences {
    ipv4: u32,
    ipv6: u32,
}

impl Default for Preferences {
    fn default() -> Self {
        Self { ipv4: 16384, ipv6: 16384 }
    }
}

impl Preferences {
    fn take(&mut self, family: Family) -> u32 {
        let next = match family {
            Family::Ipv4 => &mut self.ipv4,
            Family::Ipv6 => &mut self.ipv6,
        };
        std::mem::replace(next, next.saturating_sub(1))
    }
}

/// Reads the lines of a `static_rules` block.
pub(super) fn read_static(rules: &mut Vec<Spanned<Rule>>, context: &mut Context<'_>, statement: &Statement) {
    rules.extend(statement.body.iter().filter_map(|line| read(context, &line, "static_rules")));
}

/// Reads the lines of a `virtual_rules` block.
pub(super) fn read_virtual(rules: &mut Vec<Spanned<Rule>>, context: &mut Context<'_>, statement: &Statement) {
    rules.extend(statement.body.iter().filter_map(|line| read(context, &line, "vrrp_instance/virtual_rules")));
}

/// A rule as far as it is read.
#[derive(Debug, Default)]
struct Draft {
    rule: Rule,
    from: Option<Net>,
    to: Option<Net>,
    preference: Option<u32>,
    action: Option<Spanned<RuleAction>>,
    /// The first word that only goes with the look-up of a table.
    suppressor: Option<Span>,
    /// Where `protocol` is written.
    protocol: Option<Span>,
}

fn read(context: &mut Context<'_>, line: &Statement, block: &'static str) -> Option<Spanned<Rule>> {
    let mut words = Words::new(context, line, "rule", Code::BadRule, block);
    let mut draft = Draft::default();
    while let Some(word) = words.next() {
        option(&mut draft, &mut words, word)?;
    }
    let rule = draft.finish(&mut words)?;
    Some(Spanned::new(rule, line.span()))
}

fn option(draft: &mut Draft, words: &mut Words<'_, '_, '_>, word: &Word) -> Option<()> {
    let known = words.known(word);
    let rule = &mut draft.rule;
    match word.text.as_str() {
        "inet" => words.inet(word, Family::Ipv4)?,
        "inet6" => words.inet(word, Family::Ipv6)?,
        "not" => rule.invert = true,
        "from" => draft.from = Some(net(words, word)?),
        "to" => draft.to = Some(net(words, word)?),
        "table" | "lookup" => {
            let table = table(words, word)?;
            draft.act(words, word, RuleAction::Table(table))?;
        }
        "preference" | "order" | "priority" => draft.preference = Some(preference(words, word)?),
        "tos" | "dsfield" => rule.tos = Some(words.tos(word)?),
        "fwmark" => rule.fwmark = Some(fwmark(words, word)?),
        "realms" => {
            if !words.fits(Family::Ipv4) {
                return words.refuse(word, "realms is only valid for IPv4");
            }
            let value = words.value(word)?;
            rule.realms = Some(words.realms(value, format!("invalid realms {} for rule", value.text))?);
            draft.suppressor.get_or_insert(word.span);
        }
        "suppress_prefixlength" | "sup_pl" => {
            rule.suppress_prefix_length = Some(number(words, word, "suppress_prefixlength")?);
            draft.suppressor.get_or_insert(word.span);
        }
        "suppress_ifgroup" | "sup_group" => {
            rule.suppress_interface_group = Some(group(words, word)?);
            draft.suppressor.get_or_insert(word.span);
        }
        "dev" | "iif" => rule.iif = Some(words.interface(word)?),
        "oif" => rule.oif = Some(words.interface(word)?),
        "tunnel-id" => rule.tunnel_id = NonZeroU64::new(number(words, word, "tunnel-id")?),
        "uidrange" => {
            let value = words.value(word)?;
            match range(words, value) {
                Some(uids) => rule.uid_range = Some(uids),
                None => return words.refuse(value, format!("Invalid uidrange {} specified", value.text)),
            }
        }
        "ipproto" => rule.ip_protocol = ip_protocol(words, word)?.or(rule.ip_protocol.take()),
        "sport" => rule.source_ports = ports(words, word)?.or(rule.source_ports),
        "dport" => rule.destination_ports = ports(words, word)?.or(rule.destination_ports),
        "protocol" => draft.protocol(words, word)?,
        "l3mdev" => draft.act(words, word, RuleAction::L3mdev)?,
        "goto" => {
            let target = number(words, word, "target")?;
            draft.act(words, word, RuleAction::Goto(target))?;
        }
        "nop" => draft.act(words, word, RuleAction::Nop)?,
        "type" => {
            let action = words.value(word)?;
            match action.text.as_str() {
                "goto" | "nop" => return option(draft, words, action),
                _ => {
                    words.known(action);
                    draft.reject(words, action)?;
                }
            }
        }
        "no_track" => rule.track = false,
        "track_group" if known => {
            let group = words.track_group(word)?;
            if rule.track_group.is_some() {
                let message = format!("track_group {} is a duplicate", group.value);
                let finding = Diagnostic::error(Code::BadRule, Class::General, group.span, message);
                words.context.push(finding.label("the first one is used"));
                return Some(());
            }
            rule.track_group = Some(group);
        }
        _ => draft.reject(words, word)?,
    }
    Some(())
}

const MIXED: &str = "rule specification has mixed IPv4 and IPv6";

fn net(words: &mut Words<'_, '_, '_>, keyword: &Word) -> Option<Net> {
    let word = words.value(keyword)?;
    let Some(net) = words.net(word) else {
        return words.refuse(word, format!("Invalid rule {} address {}", keyword.text, word.text));
    };
    if words.family.is_none() {
        words.family = net.family();
    }
    match net {
        net if words.family == net.family() => Some(net),
        Net::Prefix(_) => words.refuse(word, MIXED),
        // `default` takes its family from what comes after it only.
        Net::Any => {
            let finding = Diagnostic::error(Code::BadRule, Class::General, word.span, MIXED).label(words.cost);
            words.context.push(finding.help(format!("leave '{} {}' out", keyword.text, word.text)));
            None
        }
    }
}

fn table(words: &mut Words<'_, '_, '_>, keyword: &Word) -> Option<Named<u32>> {
    let word = words.value(keyword)?;
    match named(word, TABLES, u32::MAX) {
        None => words.refuse(word, format!("Routing table {} not found for rule", word.text)),
        Some(Named::Number(0)) => words.refuse(word, "Table 0 is not valid"),
        Some(table) => Some(table),
    }
}

fn preference(words: &mut Words<'_, '_, '_>, keyword: &Word) -> Option<u32> {
    let word = words.value(keyword)?;
    let message = format!("Invalid rule preference {} specified", word.text);
    match number_of_any_base(&word.text) {
        Some(preference) => Some(preference),
        // For what is wrong with it.
        None => words.number_in(keyword, word, message),
    }
}

/// A number of base 10 within the bounds of the row of `keyword`.
fn number<T: TryFrom<i128>>(words: &mut Words<'_, '_, '_>, keyword: &Word, what: &str) -> Option<T> {
    let word = words.value(keyword)?;
    words.number_in(keyword, word, format!("Invalid {what} {} specified", word.text))
}

/// `MARK[/MASK]`; nothing on one side of the `/` is 0.
fn fwmark(words: &mut Words<'_, '_, '_>, keyword: &Word) -> Option<Fwmark> {
    let word = words.value(keyword)?;
    let number = |text: &str| if text.is_empty() { Some(0) } else { number_of_any_base(text) };
    let (mark, mask) = word.text.split_once('/').unwrap_or((&word.text, "0xffffffff"));
    match (number(mark), number(mask)) {
        (Some(mark), Some(mask)) => Some(Fwmark { mark, mask }),
        _ => words.refuse(word, format!("Invalid rule fwmark {} specified", word.text)),
    }
}

fn group(words: &mut Words<'_, '_, '_>, keyword: &Word) -> Option<Named<u32>> {
    let word = words.value(keyword)?;
    match named(word, GROUPS, i32::MAX.unsigned_abs()) {
        Some(group) => Some(group),
        None => words.refuse(word, format!("suppress_group {} is invalid", word.text)),
    }
}

/// The highest protocol that a rule takes as a number.
const MAX_IP_PROTOCOL: u32 = 127;

/// A protocol by name or number; without one the rule is used, though it matches more.
fn ip_protocol(words: &mut Words<'_, '_, '_>, keyword: &Word) -> Option<Option<Named<u8>>> {
    let word = words.value(keyword)?;
    let lower = word.text.to_ascii_lowercase();
    let known = IP_PROTOCOLS.iter().find(|(name, _)| *name == lower).and_then(|(_, number)| u8::try_from(*number).ok());
    let protocol = known.map(Named::Number).or_else(|| named(word, &[], MAX_IP_PROTOCOL));
    if protocol.is_none() {
        passed_over(words, word, format!("Invalid ipproto {}", word.text));
    }
    Some(protocol)
}

fn passed_over(words: &mut Words<'_, '_, '_>, word: &Word, message: String) {
    let finding = Diagnostic::error(Code::BadRule, Class::General, word.span, message);
    words.context.push(finding.label("the rule is used without it, and so matches more"));
}

/// `PORT-PORT`.
fn ports(words: &mut Words<'_, '_, '_>, keyword: &Word) -> Option<Option<(u16, u16)>> {
    let word = words.value(keyword)?;
    let ports = range(words, word);
    if ports.is_none() && range::<u64>(words, word).is_some() {
        // No kernel takes such a port, so the rule is not there.
        return words.refuse(word, format!("invalid {} range {}", keyword.text, word.text));
    }
    if ports.is_none() {
        let message = format!("invalid {} range {}", keyword.text, word.text);
        match value::integer(&word.text, &(0..=u16::MAX)) {
            Ok(port) => {
                let finding = Diagnostic::error(Code::BadRule, Class::General, word.span, message)
                    .label("the rule is used without it, and so matches more");
                words.context.push(finding.help("write a range").replacement(format!("{port}-{port}")));
            }
            Err(_) => passed_over(words, word, message),
        }
    }
    Some(ports)
}

/// `FIRST-LAST`; what follows the digits of the last number is passed over.
fn range<T: TryFrom<u64> + PartialOrd>(words: &mut Words<'_, '_, '_>, word: &Word) -> Option<(T, T)> {
    let (first, rest) = word.text.split_once('-')?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (last, rest) = rest.split_at(digits);
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u64>().ok().filter(|_| digits).and_then(|number| T::try_from(number).ok())
    };
    let (first, last) = (number(first)?, number(last)?);
    if !rest.is_empty() {
        let message = format!("'{rest}' at the end of {} is passed over", word.text);
        words.context.push(Diagnostic::note(Code::BadRule, word.span, message));
    }
    if last < first {
        let message = format!("the range {} ends before it starts: the kernel refuses the rule", word.text);
        words.context.push(Diagnostic::note(Code::BadRule, word.span, message));
    }
    Some((first, last))
}

impl Draft {
    fn protocol(&mut self, words: &mut Words<'_, '_, '_>, keyword: &Word) -> Option<()> {
        let word = words.value(keyword)?;
        match value::integer(&word.text, &(0..=u8::MAX)) {
            Ok(protocol) => {
                self.rule.protocol = protocol;
                self.protocol = Some(keyword.span.to(word.span));
            }
            Err(wrong) => {
                let message = format!("Invalid protocol {}", word.text);
                words.context.bad_number(word, wrong.then("the rule is used without it"), message);
            }
        }
        Some(())
    }

    /// Takes the action of the rule, of which there is one.
    fn act(&mut self, words: &mut Words<'_, '_, '_>, word: &Word, action: RuleAction) -> Option<()> {
        let Some(first) = &self.action else {
            self.action = Some(Spanned::new(action, word.span));
            return Some(());
        };
        let message = match action {
            RuleAction::L3mdev => "Cannot specify l3mdev with other action",
            RuleAction::Table(_) => {
                "Cannot specify more than one of table/nop/goto/blackhole/prohibit/unreachable for rule"
            }
            _ => "Cannot specify more than one of table/nop/goto/blackhole/prohibit/unreachable/l3mdev for rule",
        };
        let finding = Diagnostic::error(Code::BadRule, Class::General, word.span, message).label(words.cost);
        words.context.push(finding.related(first.span, "the first action"));
        None
    }

    /// An action that rejects packets; the last guess for a word.
    fn reject(&mut self, words: &mut Words<'_, '_, '_>, word: &Word) -> Option<()> {
        let number = || number_of_any_base(&word.text).and_then(|number| u8::try_from(number).ok());
        let kind = RouteType::named(&word.text).or_else(|| number().map(RouteType::from_number));
        let action = match kind {
            Some(RouteType::Blackhole) => RuleAction::Blackhole,
            Some(RouteType::Unreachable) => RuleAction::Unreachable,
            Some(RouteType::Prohibit) => RuleAction::Prohibit,
            Some(_) => return words.refuse(word, format!("Invalid rule action {}", word.text)),
            None => return words.unknown(word, format!("Unknown rule option {}", word.text)),
        };
        self.act(words, word, action)
    }

    /// What holds once the line is read, and what cannot be.
    fn finish(mut self, words: &mut Words<'_, '_, '_>) -> Option<Rule> {
        let Some(action) = self.action.take() else {
            return words.refuse(words.first(), "No action specified for rule - ignoring");
        };
        let looks_up = matches!(action.value, RuleAction::Table(_) | RuleAction::L3mdev);
        if let Some(span) = self.suppressor.filter(|_| !looks_up) {
            let message = "suppressor/realm specified for non table action - skipping";
            let finding = Diagnostic::error(Code::BadRule, Class::General, span, message).label(words.cost);
            words.context.push(finding.related(action.span, "the action"));
            return None;
        }
        self.check_target(words, &action)?;
        let family = words.family.unwrap_or(Family::Ipv4);
        self.check_tracking(words);
        let prefix = |net: Option<Net>| net.map(|net| -> Prefix { net.prefix(family) });
        Some(Rule {
            family,
            from: prefix(self.from),
            to: prefix(self.to),
            preference: self.preference.unwrap_or_else(|| default_preference(words, family)),
            action: action.value,
            ..self.rule
        })
    }

    fn check_target(&self, words: &mut Words<'_, '_, '_>, action: &Spanned<RuleAction>) -> Option<()> {
        let RuleAction::Goto(target) = action.value else { return Some(()) };
        let message = match self.preference {
            None => format!("Invalid rule - goto target {target} specified without preference"),
            Some(preference) if preference >= target => {
                format!("Invalid rule - preference {preference} >= goto target {target}")
            }
            Some(_) => return Some(()),
        };
        words.context.push(
            Diagnostic::error(Code::BadRule, Class::General, action.span, message)
                .label(words.cost)
                .help("a rule needs a preference that is below its target"),
        );
        None
    }

    fn check_tracking(&mut self, words: &mut Words<'_, '_, '_>) {
        let rule = &mut self.rule;
        if let Some(span) = self.protocol.filter(|_| rule.track && rule.protocol != KEEPALIVED) {
            let message = "Rule cannot be tracked if protocol is not RTPROT_KEEPALIVED(18), resetting protocol";
            let finding = Diagnostic::warning(Code::NotTracked, Class::General, span, message);
            words.context.push(finding.help("add 'no_track' to keep the protocol"));
            rule.protocol = KEEPALIVED;
        }
        if rule.iif.is_some() {
            return;
        }
        if let Some(group) = rule.track_group.take() {
            let message = "Static rule cannot have track_group if dev/iif not specified";
            let finding = Diagnostic::error(Code::NotTracked, Class::General, group.span, message);
            words.context.push(finding.label("the group is ignored").help("add 'iif' with the interface"));
        }
    }
}

fn default_preference(words: &mut Words<'_, '_, '_>, family: Family) -> u32 {
    let preference = words.context.carried.preferences.take(family);
    let message =
        format!("Rule has no preference specified - setting to {preference}. This is probably not what you want.");
    let finding = Diagnostic::warning(Code::NoPreference, Class::General, words.first().span, message);
    words.context.push(finding.help("add 'preference' with the place of the rule among all others"));
    preference
}

#[cfg(test)]
mod tests;
