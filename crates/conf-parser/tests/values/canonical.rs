//! Both sides in one form: numbers without units, times in microseconds, switches as `on` and `off`.

use conf_parser::schema::Unit;
use conf_parser::setting::{Scalar, Setting};

/// A block of the typed configuration, and the whole around it.
pub(crate) struct Place<'a> {
    pub(crate) top: &'a [Setting],
    /// For a real server or a checker its virtual server.
    pub(crate) outer: &'a [Setting],
    pub(crate) body: &'a [Setting],
    /// How keepalived calls it.
    pub(crate) object: &'a str,
}

impl<'a> Place<'a> {
    /// The lines of a keyword, `block/keyword` for one inside a block of this one, `/keyword` for one of the top level,
    /// `*` for all lines.
    pub(crate) fn lines(&self, keyword: &str) -> Vec<&'a Setting> {
        if keyword == "*" {
            return self.body.iter().collect();
        }
        let (lines, keyword) = match keyword.strip_prefix('/') {
            Some(keyword) => (self.top, keyword),
            None => (self.body, keyword),
        };
        let Some((block, inner)) = keyword.split_once('/') else {
            return lines.iter().filter(|line| line.keyword() == keyword).collect();
        };
        let mut found = Vec::new();
        for outer in lines.iter().filter(|line| line.keyword() == block) {
            match outer.body.as_deref() {
                Some(body) => found.extend(body.iter().filter(|line| line.keyword() == inner)),
                // Without the block there is nothing inside it.
                None => found.push(outer),
            }
        }
        found
    }

    /// The line that holds: this one, or where it says nothing that of the virtual server.
    pub(crate) fn effective(&self, line: &'a Setting) -> Option<&'a Setting> {
        let outer = || self.outer.iter().find(|outer| outer.keyword() == line.keyword() && outer.set);
        if line.set { Some(line) } else { outer() }
    }

    pub(crate) fn word(&self, keyword: &str) -> Option<String> {
        self.body.iter().find(|line| line.keyword() == keyword && line.set).map(words)
    }
}

/// How both sides become comparable.
#[derive(Clone, Copy)]
pub(crate) enum Compare {
    /// The words as they are.
    Text,
    /// The first word of the line.
    First,
    /// A number.
    Number,
    /// A number that keepalived writes with a leading 0 in base eight.
    Octal,
    /// A switch or flag.
    Switch,
    /// A flag that turns off what keepalived shows as on.
    Not,
    /// That keepalived shows the field at all means that the flag is set.
    On,
    /// That keepalived shows the field at all means that the flag is not set.
    Off,
    /// A time, shown by keepalived with its unit or in seconds.
    Time,
    /// A command, after which keepalived writes the user's number.
    Script,
    /// A word that says as much as this for keepalived's default.
    Default(&'static str),
    /// The lines of a list.
    Entries,
    /// The lines of a list of what is tracked: name and weight.
    Tracked,
    /// Virtual addresses.
    Addresses,
    /// Routes and rules.
    Routes,
    /// Anything else.
    Special(fn(&str) -> String, for<'a> fn(&Place<'a>, &'a Setting) -> Vec<String>),
}

impl Compare {
    pub(crate) fn theirs(self, value: &str) -> String {
        match self {
            Self::Text | Self::First | Self::Entries => value.to_owned(),
            Self::Number => number(value),
            Self::Octal => i64::from_str_radix(value, 8).map_or_else(|_| value.to_owned(), |mode| mode.to_string()),
            Self::Switch | Self::Not => switch(value),
            Self::On => "on".to_owned(),
            Self::Off => "off".to_owned(),
            Self::Time => microseconds(value),
            Self::Script => command(value.split(", uid:gid").next().unwrap_or(value)),
            Self::Default(default) => {
                if value == default {
                    String::new()
                } else {
                    value.to_owned()
                }
            }
            Self::Tracked => tracked(&value.replace([',', ':'], "")),
            Self::Addresses => address(value, None),
            Self::Routes => route(value),
            Self::Special(theirs, _) => theirs(value),
        }
    }

    /// What it means that there is no such line.
    pub(crate) fn absent(self) -> &'static str {
        match self {
            Self::Switch | Self::On | Self::Off => "off",
            Self::Not => "on",
            Self::Number | Self::Time => "0",
            _ => "",
        }
    }

    pub(crate) fn ours<'a>(self, place: &Place<'a>, line: &'a Setting) -> Vec<String> {
        let first = || line.words.first().map(Scalar::to_string).unwrap_or_default();
        vec![match self {
            Self::Text | Self::Default(_) => words(line),
            Self::First => line.words.first().map(plain).unwrap_or_default(),
            Self::Number => number(&first()),
            Self::Octal => octal(&first()),
            Self::Switch | Self::On | Self::Off => own_switch(line, false),
            Self::Not => own_switch(line, true),
            Self::Time => own_time(line),
            Self::Script => script(line),
            Self::Entries => return entries(line).map(words).collect(),
            Self::Routes => return entries(line).map(|entry| route(&words(entry))).collect(),
            Self::Tracked => return entries(line).map(|entry| tracked(&words(entry))).collect(),
            Self::Addresses => {
                let interface = place.word("interface");
                return entries(line).map(|entry| address(&words(entry), interface.as_deref())).collect();
            }
            Self::Special(_, ours) => return ours(place, line),
        }]
    }
}

/// A word without its quotes.
pub(crate) fn plain(word: &Scalar) -> String {
    match word {
        Scalar::Text(text) => text.clone(),
        word => word.to_string(),
    }
}

/// The words of a line.
pub(crate) fn words(line: &Setting) -> String {
    line.words.iter().map(plain).collect::<Vec<_>>().join(" ")
}

pub(crate) fn entries(line: &Setting) -> impl Iterator<Item = &Setting> {
    line.body.iter().flatten().filter(|entry| entry.set)
}

pub(crate) fn number(text: &str) -> String {
    text.trim().parse::<f64>().map_or_else(|_| text.to_owned(), |number| number.to_string())
}

fn octal(text: &str) -> String {
    let digits = text.trim_start_matches("0o");
    i64::from_str_radix(digits, 8).map_or_else(|_| text.to_owned(), |mode| mode.to_string())
}

pub(crate) fn switch(text: &str) -> String {
    let text = text.to_lowercase();
    match text.as_str() {
        "yes" | "on" | "true" | "enabled" | "1" => "on".to_owned(),
        "no" | "off" | "false" | "disabled" | "0" => "off".to_owned(),
        _ => text,
    }
}

fn own_switch(line: &Setting, inverted: bool) -> String {
    let on = match line.words.first() {
        _ if !line.set => false,
        Some(Scalar::Bool(on)) => *on,
        _ => true,
    };
    if on == inverted { "off" } else { "on" }.to_owned()
}

/// `1 sec`, `1000 milli-sec`, `1000000 us`, `0s`, `5.000000`.
pub(crate) fn microseconds(text: &str) -> String {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (value, unit) = text.split_at(digits);
    let factor = match unit.trim() {
        "us" | "usecs" => 1.0,
        "milli-sec" | "ms" => 1000.0,
        "" | "s" | "sec" | "secs" => 1_000_000.0,
        _ => return text.to_owned(),
    };
    value.parse::<f64>().map_or_else(|_| text.to_owned(), |value| (value * factor).round().to_string())
}

pub(crate) fn own_time(line: &Setting) -> String {
    if !line.set {
        return "0".to_owned();
    }
    let text = line.words.first().map(Scalar::to_string).unwrap_or_default();
    let factor = match line.row.map(|row| row.unit) {
        Some(Unit::Microseconds) => 1.0,
        Some(Unit::Milliseconds) => 1000.0,
        _ => 1_000_000.0,
    };
    text.parse::<f64>().map_or(text, |value| (value * factor).round().to_string())
}

/// `'COMMAND' 'PARAMETER'`.
pub(crate) fn script(line: &Setting) -> String {
    let Some(Scalar::Script(arguments)) = line.words.first() else { return words(line) };
    let words: Vec<_> = arguments.iter().map(|word| format!("'{word}'")).collect();
    command(&words.join(" "))
}

/// Without the folders that are searched for programs: keepalived shows where it found one.
fn command(text: &str) -> String {
    let folders = ["'/usr/local/bin/", "'/usr/sbin/", "'/usr/bin/", "'/sbin/", "'/bin/"];
    let program = folders.iter().find_map(|folder| text.strip_prefix(folder));
    program.map_or(text.to_owned(), |program| format!("'{program}"))
}

/// A route or rule: its words, without those that say what holds anyway, in any order.
pub(crate) fn route(text: &str) -> String {
    let text = text.split(" [installed").next().unwrap_or(text);
    let mut words = Vec::new();
    let mut tokens = text.split_whitespace();
    while let Some(token) = tokens.next() {
        let name = match token {
            "prepend" | "inet" | "inet6" => continue,
            "protocol" | "proto" => "proto",
            "table" | "lookup" => "table",
            "preference" | "priority" => "priority",
            "tos" | "dsfield" => "tos",
            "scope" => "scope",
            "fastopen_no_cookie" => "fastopen_no_cookie",
            token => {
                words.push(token.trim_end_matches(if token.contains(':') { "/128" } else { "/32" }).to_owned());
                continue;
            }
        };
        let value = match tokens.next().unwrap_or_default() {
            "default" if name == "table" => "253".to_owned(),
            hex if hex.starts_with("0x") => {
                i64::from_str_radix(&hex[2..], 16).map_or(hex.to_owned(), |n| n.to_string())
            }
            value => value.to_owned(),
        };
        if !matches!(
            (name, value.as_str()),
            ("proto", "18" | "keepalived")
                | ("table", "main" | "254" | "0")
                | ("tos" | "fastopen_no_cookie", "0")
                | ("scope", _)
        ) {
            words.push(format!("{name} {value}"));
        }
    }
    words.sort();
    words.join(" ")
}

/// Name and weight, and whether that is reversed.
fn tracked(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    let name = words.first().copied().unwrap_or_default();
    let weight =
        words.iter().position(|word| *word == "weight").and_then(|at| words.get(at + 1)).copied().unwrap_or("0");
    let reverse = if words.contains(&"reverse") || words.contains(&"reversed") { " reverse" } else { "" };
    format!("{name} {} {reverse}", number(weight))
}

/// `ADDRESS/LENGTH dev INTERFACE`, then what was set beside it.
fn address(text: &str, interface: Option<&str>) -> String {
    let mut tokens = text.split_whitespace();
    let full = tokens.next().unwrap_or_default();
    let full = full.trim_end_matches(if full.contains(':') { "/128" } else { "/32" });
    let (mut device, mut more) = (interface.unwrap_or_default(), Vec::new());
    while let Some(token) = tokens.next() {
        match token {
            "dev" => {
                // A virtual interface stands before the one that it lies on.
                let named = tokens.next().unwrap_or_default();
                device = named.split_once('@').map_or(named, |(_, below)| below);
            }
            "scope" => match tokens.next().unwrap_or_default() {
                "global" | "0" => {}
                "link" | "253" => more.push("scope link".to_owned()),
                "host" | "254" => more.push("scope host".to_owned()),
                "site" | "200" => more.push("scope site".to_owned()),
                scope => more.push(format!("scope {scope}")),
            },
            "brd" | "broadcast" => more.push(format!("broadcast {}", tokens.next().unwrap_or_default())),
            // Whether the kernel has it, and that an address of IPv6 is not to be a source.
            "set" | "deprecated" => {}
            "preferred_lft" => match tokens.next().unwrap_or_default() {
                "forever" | "0" => {}
                time => more.push(format!("preferred_lft {time}")),
            },
            token => more.push(token.to_owned()),
        }
    }
    more.sort();
    format!("{full} dev {device} {}", more.join(" ")).trim_end().to_owned()
}

/// `[ADDRESS]:PROTOCOL:PORT` or `FWM N` or `[GROUP]:PORT`, as the words of its block.
pub(crate) fn endpoint(text: &str) -> String {
    if let Some(mark) = text.strip_prefix("FWM ") {
        return format!("fwmark {mark}");
    }
    let Some((name, rest)) = text.trim_start_matches('[').split_once(']') else { return text.to_owned() };
    // A group has no port: what follows counts its servers.
    let port = if rest.matches(':').count() > 1 { rest.rsplit(':').next().unwrap_or_default() } else { "0" };
    format!("{name} {port}")
}

/// The words of a virtual server in the form of [`endpoint`].
pub(crate) fn service(line: &Setting) -> String {
    let words = words(line);
    words.strip_prefix("group ").map_or(words.clone(), |group| format!("{group} 0"))
}
