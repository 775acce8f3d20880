//! From what keepalived wrote to a table of values.
//!
//! A table has one line per value: section, object, field and value, separated by tabs. Section and object are left out
//! where they are those of the line before. The first lines, in a section without name, say what became of the file.

use std::fmt::Write as _;

/// How many objects of a kind are kept of one file; the others are counted.
const OBJECTS: usize = 20;
/// How many real servers.
const REAL_SERVERS: usize = 60;

/// Sections that say nothing about the configuration: sockets, and what IPVS is compiled with.
const SECTIONS_LEFT_OUT: [&str; 3] = ["VRRP Sockpool", "Interfaces", "BFD Data"];

/// Fields that change while keepalived runs, with times, descriptors, and states.
const RUN_TIME: &[&str] = &[
    "State",
    "Wantstate",
    "Master router",
    "Master priority",
    "Number of config faults",
    "Number of interface and track script faults",
    "Number of track scripts init",
    "Last transition",
    "Read timeout",
    "Master down timer",
    "Master advert interval",
    "Master advert int",
    "is_up",
    "Effective priority",
    "Total priority",
    "Result",
    "Status",
    "Init state",
    "VRRP instances",
    "Tracking instances",
    "Tracking VRRP instances",
    "Current processes",
    "Have quorum",
    "Fork delay timer not running",
    "Terminate delay timer not running",
    "Bfd",
    "alive",
    "quorum_state_up",
    "reloaded",
    "Reloaded",
    "effective weight",
    "previous effective_weight",
    "EFF WEIGHT",
    "num failed checkers",
    "RS set",
    "Enabled",
    "Up",
    "Has run",
    "Current weight",
    "Last ran",
    "Last status",
    "Alive",
    "libnftnl version",
    "System",
    "No reload scheduled",
    "Regex ref count",
    "Tracking RS",
];

/// How lines begin that hold several such fields.
const RUN_TIME_LINES: [&str; 3] = ["fd_in ", "Num member", "GARP next time"];

/// What a BFD session was given; the rest is its state.
const BFD_CONFIGURED: [&str; 10] = [
    "Neighbor IP",
    "Source IP",
    "Desired min TX interval",
    "Desired idle TX interval",
    "Required min RX interval",
    "Detection multiplier",
    "TTL",
    "max_hops",
    "passive",
    "Weight",
];

/// What keepalived says once it has decided to end.
const ENDS: [&str; 2] = ["permanent error", "CPU usage"];
/// What it says whether it ends or not.
const NOISE: [&str; 6] = ["Printing", "Stopped", "Script user", "Shutting down", "Registering", "NOTICE"];

/// The name of the file and its table.
pub(crate) fn table(report: &str) -> Option<(&str, String)> {
    let name = report.lines().find_map(|line| line.strip_prefix("@file "))?;
    let mut out = Table::default();
    outcome(report, &mut out);
    // Each process shows the settings that it shares with the others; those of the VRRP process are all resolved.
    let mut dumps: Vec<_> = report.split("\n@dump ").skip(1).collect();
    dumps.sort_by_key(|dump| {
        ["keepalived.data", "keepalived_check", "keepalived_bfd"]
            .iter()
            .position(|name| dump.starts_with(name))
            .unwrap_or(3)
    });
    for (at, dump) in dumps.into_iter().enumerate() {
        let lines = dump.lines().skip(1).take_while(|line| !line.starts_with('@'));
        Reader { shared: at > 0, ..Reader::default() }.read(lines, &mut out);
    }
    Some((name, out.text))
}

/// What became of the file: the status of the test, whether it ran, and why it did not.
fn outcome(report: &str, out: &mut Table) {
    let said = |word: &str| report.lines().find_map(|line| line.strip_prefix(word));
    out.add("", "", "test", said("@test ").unwrap_or_default());
    match (said("@ran"), said("@ended ")) {
        (Some(_), _) => out.add("", "", "run", "runs"),
        (None, Some(status)) => {
            out.add("", "", "run", &format!("ends {status}"));
            // What was said last before the end, without its time.
            let log =
                report.lines().filter_map(|line| line.strip_prefix("@log ")?.split_once(": ").map(|(_, text)| text));
            let log = log.take_while(|line| !ENDS.iter().any(|end| line.contains(end)));
            let log: Vec<_> = log.filter(|line| !NOISE.iter().any(|noise| line.starts_with(noise))).collect();
            if let Some(reason) = log.last() {
                out.add("", "", "reason", reason);
            }
        }
        (None, None) => out.add("", "", "run", said("@failed ").unwrap_or("does not answer")),
    }
}

/// Lines of which section and object are written once.
#[derive(Default)]
struct Table {
    text: String,
    section: String,
    object: String,
}

impl Table {
    fn add(&mut self, section: &str, object: &str, field: &str, value: &str) {
        let (mut shown_section, mut shown_object) = ("", "");
        if self.section != section {
            section.clone_into(&mut self.section);
            self.object.clear();
            shown_section = section;
        }
        if self.object != object {
            object.clone_into(&mut self.object);
            shown_object = object;
        }
        let clean = |text: &str| text.replace(['\t', '\r'], " ");
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{shown_section}\t{}\t{}\t{}", clean(shown_object), clean(field), clean(value));
    }
}

/// Where the reading of a dump is.
#[derive(Default)]
struct Reader {
    /// The settings that every process has were seen already.
    shared: bool,
    section: String,
    /// The virtual server that real servers belong to.
    server: String,
    object: String,
    /// How many objects of this section there were.
    objects: usize,
    /// How many real servers in all.
    real_servers: usize,
    /// The last field, for the lines of a list below it.
    field: String,
    /// The heading inside that list.
    list: String,
}

impl Reader {
    fn read<'a>(mut self, lines: impl Iterator<Item = &'a str>, out: &mut Table) {
        for line in lines {
            let text = line.trim();
            let indent = line.len() - line.trim_start().len();
            if let Some(name) = text.strip_prefix("------< ").and_then(|rest| rest.strip_suffix(" >------")) {
                self.enter(name, out);
            } else if text.is_empty() || RUN_TIME_LINES.iter().any(|start| text.starts_with(start)) || self.left_out() {
                // Nothing.
            } else if matches!(self.section.as_str(), "Static Addresses" | "Static Routes" | "Static Rules") {
                out.add(&self.section, "", "entry", text);
            } else if !self.fields_only() && (indent == 1 || self.object.is_empty()) {
                self.begin(text, out);
            } else if self.too_many() {
                // Counted only.
            } else {
                self.value(indent, text, out);
            }
        }
        self.count(out);
    }

    fn too_many(&self) -> bool {
        self.objects > OBJECTS || (self.section == "Real server" && self.real_servers > REAL_SERVERS)
    }

    /// Whether the section is itself the object.
    fn fields_only(&self) -> bool {
        matches!(self.section.as_str(), "Global definitions" | "GARP delay group")
    }

    fn left_out(&self) -> bool {
        (self.shared && self.section == "Global definitions") || SECTIONS_LEFT_OUT.contains(&self.section.as_str())
    }

    fn enter(&mut self, name: &str, out: &mut Table) {
        if !matches!(name, "Virtual server" | "Real server") {
            self.count(out);
            self.objects = 0;
        }
        if name == "Real server" && self.section == "Virtual server" {
            self.server = std::mem::take(&mut self.object);
        }
        self.object.clear();
        self.field.clear();
        match name.strip_prefix("GARP delay group ") {
            Some(number) => {
                "GARP delay group".clone_into(&mut self.section);
                number.clone_into(&mut self.object);
            }
            None => name.clone_into(&mut self.section),
        }
    }

    /// The line that names an object.
    fn begin(&mut self, text: &str, out: &mut Table) {
        let parts = parts(text);
        let (key, name) = parts.first().copied().unwrap_or((text, ""));
        if RUN_TIME.contains(&key) {
            return;
        }
        *(if self.section == "Real server" { &mut self.real_servers } else { &mut self.objects }) += 1;
        self.object = match self.section.as_str() {
            "Virtual server" if key == "VS VIP" => parts.iter().map(|(_, value)| *value).collect::<Vec<_>>().join(" "),
            // A group is followed by the port that it does not have.
            "Virtual server" if key == "VS GROUP" => {
                format!("group {}", name.trim_start_matches('[').rsplit_once(']').map_or(name, |(group, _)| group))
            }
            "Virtual server" => format!("{} {name}", key.trim_start_matches("VS ").to_lowercase()),
            "Real server" => {
                let words: Vec<_> = parts.iter().take(2).map(|(_, value)| *value).collect();
                format!("{} -> {}", self.server, words.join(" "))
            }
            "Health checkers" => text.to_owned(),
            // Its state follows.
            "VRRP Sync groups" => name.split(", ").next().unwrap_or(name).to_owned(),
            _ if name.is_empty() => text.to_owned(),
            _ => name.to_owned(),
        };
        if self.too_many() {
            return;
        }
        out.add(&self.section, &self.object, "", "");
        let own = if self.section == "Real server" || key == "VS VIP" { 2 } else { 1 };
        for (field, value) in parts.into_iter().skip(own).filter(|(field, _)| !RUN_TIME.contains(field)) {
            out.add(&self.section, &self.object, field, value);
        }
    }

    fn value(&mut self, indent: usize, text: &str, out: &mut Table) {
        if self.section == "BFD Topology" && !BFD_CONFIGURED.contains(&field(text).0) {
            return;
        }
        // The scripts of a real server stand deeper than its other fields.
        let nested = (indent >= 5 && !text.starts_with("RS "))
            || (self.section == "Global definitions" && indent >= 3)
            || (self.section == "GARP delay group" && indent >= 2);
        if nested && !self.field.is_empty() {
            self.nested(indent, text, out);
            return;
        }
        for (field, value) in parts(text) {
            field.clone_into(&mut self.field);
            if RUN_TIME.contains(&field) {
                continue;
            }
            let value = if is_private(field) { "********" } else { value };
            out.add(&self.section, &self.object, field, value);
        }
    }

    /// A line below a field.
    fn nested(&mut self, indent: usize, text: &str, out: &mut Table) {
        let (inner, value) = field(text);
        if RUN_TIME.contains(&self.field.as_str()) || RUN_TIME.contains(&inner) {
            return;
        }
        let named = text.contains(" = ") || text.starts_with("Inhibit on failure");
        if self.field == "Checked url" && !named && indent == 5 {
            // The heading of another list.
            inner.clone_into(&mut self.list);
            return;
        }
        let (name, value) = match (named, indent) {
            (true, _) => (inner, value),
            (false, 7..) => (self.list.as_str(), text),
            (false, _) => ("", text),
        };
        let value = if is_private(&self.field) { "********" } else { value };
        out.add(&self.section, &self.object, &format!("{}/{name}", self.field), value);
    }

    /// How many objects there were, where not all are kept.
    fn count(&mut self, out: &mut Table) {
        if self.objects > OBJECTS {
            let section = if self.section == "Real server" { "Virtual server" } else { &self.section };
            out.add(section, "", "objects", &self.objects.to_string());
        }
    }
}

/// Whether the values of a field are masked: secrets, and addresses of persons.
fn is_private(field: &str) -> bool {
    field == "Password" || field.starts_with("Email notification")
}

/// The values of a line: some hold more than one.
fn parts(text: &str) -> Vec<(&str, &str)> {
    let several = ["VS VIP", "RIP", "quorum", "Use VMAC", "Virtual Server Group", "VIP"];
    if several.iter().any(|start| text.starts_with(start)) && text.contains(", ") {
        return text
            .split(", ")
            .flat_map(|part| match part.split_once(" EFF WEIGHT") {
                Some((weight, _)) => vec![field(weight)],
                None => vec![field(part)],
            })
            .collect();
    }
    vec![field(text)]
}

/// Name and value of a field, however they are set apart.
fn field(text: &str) -> (&str, &str) {
    for name in ["Multicast address", "i/f name"] {
        if let Some(value) = text.strip_prefix(name).and_then(|value| value.strip_prefix(' ')) {
            return (name, value.split(',').next().unwrap_or(value));
        }
    }
    for separator in [" = ", " : ", ": ", " is "] {
        if let Some((name, value)) = text.split_once(separator) {
            return (name.trim(), value.trim());
        }
    }
    let name = text.trim_end_matches([':', '=', ' ']);
    match name.rsplit_once(' ') {
        Some((name, value))
            if value.contains(|c: char| c.is_ascii_digit()) && value.starts_with(|c: char| c.is_ascii_hexdigit()) =>
        {
            (name, value)
        }
        Some((name, count)) if count.starts_with('(') => (name, ""),
        _ => (name, ""),
    }
}
