//! `lvs_method` with its tunnels.

use std::num::NonZeroU16;

use crate::config::{ForwardingMethod, Tunnel, TunnelChecksum};
use crate::diagnostic::{Class, Code, Diagnostic};
use crate::lexer::Word;
use crate::lower::Context;
use crate::lower::value::integer;
use crate::tree::Statement;

const TUNNELS: &[(&str, Kind)] = &[("ipip", Kind::Ipip), ("gue", Kind::Gue), ("gre", Kind::Gre)];
const CHECKSUMS: &[(&str, TunnelChecksum)] =
    &[("nocsum", TunnelChecksum::None), ("csum", TunnelChecksum::Checksum), ("remcsum", TunnelChecksum::Remote)];
const OPTIONS: &[(&str, ())] = &[("type", ()), ("port", ()), ("nocsum", ()), ("csum", ()), ("remcsum", ())];

/// Every word of a line.
#[cfg(test)]
pub(in crate::lower) fn words() -> impl Iterator<Item = &'static str> {
    let methods = ForwardingMethod::WORDS.iter().map(|(word, _)| *word);
    methods.chain(TUNNELS.iter().map(|(word, _)| *word)).chain(OPTIONS.iter().map(|(word, _)| *word))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Kind {
    #[default]
    Ipip,
    Gue,
    Gre,
}

/// The options of a tunnel as written.
#[derive(Debug, Default)]
struct Options {
    kind: Kind,
    port: Option<NonZeroU16>,
    checksum: TunnelChecksum,
}

/// Whose method it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Server {
    Virtual,
    Real,
    Sorry,
}

impl Server {
    fn name(self) -> &'static str {
        match self {
            Self::Virtual => "virtual",
            Self::Real => "real",
            Self::Sorry => "sorry",
        }
    }
}

/// `NAT|DR|TUN [type ipip|gre|gue port N] [nocsum|csum|remcsum]`. A tunnel whose options cannot be used is IP in IP.
pub(super) fn read(context: &mut Context<'_>, statement: &Statement, server: Server) -> Option<ForwardingMethod> {
    let (word, rest) = statement.arguments.split_first()?;
    let Some(method) = super::find(ForwardingMethod::WORDS, &word.text) else {
        let message = format!("PARSER : unknown [{}] routing method for {} server.", word.text, server.name());
        super::bad_word(context, word, message, ForwardingMethod::WORDS);
        return None;
    };
    // After a mistake in the options keepalived keeps the method.
    let Some(options) = options(context, rest, server) else { return Some(method) };
    if method != ForwardingMethod::Tunnel(Tunnel::Ipip) {
        if let Some(option) = rest.first() {
            let message = format!("the options of a tunnel change nothing for {}", word.text);
            context.push(Diagnostic::note(Code::ExtraParameter, option.span, message));
        }
        return Some(method);
    }
    match tunnel(&options) {
        Ok(tunnel) => Some(ForwardingMethod::Tunnel(tunnel)),
        Err((message, help)) => {
            let first = rest.first().map_or(word.span, |option| option.span);
            let span = rest.last().map_or(first, |last| first.to(last.span));
            context.push(Diagnostic::error(Code::BadWord, Class::General, span, message).help(help));
            Some(method)
        }
    }
}

fn options(context: &mut Context<'_>, words: &[Word], server: Server) -> Option<Options> {
    let mut options = Options::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let wrong = match word.text.as_str() {
            "type" => kind(context, &mut options, word, words.next(), server),
            "port" => port(context, &mut options, word, words.next(), server),
            text => match super::find(CHECKSUMS, text) {
                Some(checksum) => {
                    options.checksum = checksum;
                    Some(())
                }
                None => {
                    let message = format!("Invalid tunnel option {text} for {} server.", server.name());
                    super::bad_word(context, word, message, OPTIONS);
                    None
                }
            },
        };
        wrong?;
    }
    Some(options)
}

fn kind(
    context: &mut Context<'_>,
    options: &mut Options,
    keyword: &Word,
    word: Option<&Word>,
    server: Server,
) -> Option<()> {
    let Some(word) = word else {
        let message = format!("Missing tunnel type for {} server.", server.name());
        let finding = Diagnostic::error(Code::MissingParameter, Class::General, keyword.span, message);
        context.push(finding.help("one of ipip, gue, gre"));
        return None;
    };
    match super::find(TUNNELS, &word.text) {
        Some(kind) => options.kind = kind,
        None => {
            let message = format!("Unknown tunnel type {} for {} server.", word.text, server.name());
            super::bad_word(context, word, message, TUNNELS);
            return None;
        }
    }
    Some(())
}

fn port(
    context: &mut Context<'_>,
    options: &mut Options,
    keyword: &Word,
    word: Option<&Word>,
    server: Server,
) -> Option<()> {
    let Some(word) = word else {
        let message = format!("Missing port for {} server gue tunnel.", server.name());
        context.error(Code::MissingParameter, keyword.span, message);
        return None;
    };
    match integer(&word.text, &(1..=u16::MAX)) {
        Ok(port) => options.port = NonZeroU16::new(port),
        Err(wrong) => {
            let message = format!("Invalid gue tunnel port {} for {} server.", word.text, server.name());
            context.bad_number(word, wrong, message);
            return None;
        }
    }
    Some(())
}

/// The tunnel, or why there is none like it and what to write.
fn tunnel(options: &Options) -> Result<Tunnel, (&'static str, &'static str)> {
    let Options { kind, port, checksum } = *options;
    if (kind == Kind::Gue) != port.is_some() {
        let help = if port.is_none() { "add 'port <n>'" } else { "a port goes with 'type gue' only" };
        return Err(("gue tunnels require port, otherwise cannot have port.", help));
    }
    match (kind, port, checksum) {
        (Kind::Gue, Some(port), checksum) => Ok(Tunnel::Gue { port, checksum }),
        (Kind::Gre, _, TunnelChecksum::Remote) => {
            Err(("gre tunnels do not support remote checksum option.", "write 'csum' or 'nocsum'"))
        }
        (Kind::Gre, _, checksum) => Ok(Tunnel::Gre { checksum: checksum == TunnelChecksum::Checksum }),
        (Kind::Ipip | Kind::Gue, _, TunnelChecksum::None) => Ok(Tunnel::Ipip),
        (Kind::Ipip | Kind::Gue, ..) => {
            Err(("ipip tunnels do not support checksum option.", "checksums go with 'type gue' and 'type gre'"))
        }
    }
}
