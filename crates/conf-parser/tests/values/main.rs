//! Every value that Debian's keepalived took from the corpus, compared with the one that is read here.
//!
//! What keepalived said is in `tests/recorded/`, made by `cargo run -p netlab --example record-keepalived`. The files
//! themselves are looked for in `$KEEPALIVED_CORPUS`, else in `shared/corpus` beside the workspace. `fields.rs` says
//! which keyword stands behind each field, `differences.rs` where the values are meant to differ.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail loudly")]
#![allow(clippy::disallowed_methods, reason = "the recordings and the corpus are on disk")]

mod canonical;
mod differences;
mod fields;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use conf_parser::setting::Setting;
use conf_parser::{LoadError, Loader, Options, parse};
use netlab::Skip;
use netlab::harness::{self, CaseResult, Stop, case};

use canonical::{Place, words};
use differences::{DIFFERENCES, Difference};
use fields::{FIELDS, Field, LEFT_OUT};

const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recorded");

struct Disk;

impl Loader for Disk {
    fn load(&self, path: &Path) -> Result<Vec<u8>, LoadError> {
        std::fs::read(path).map_err(|_| LoadError::NotFound)
    }

    fn glob(&self, _: &str) -> Result<Vec<PathBuf>, LoadError> {
        Ok(Vec::new())
    }
}

fn corpus() -> Result<PathBuf, Skip> {
    let given = std::env::var("KEEPALIVED_CORPUS").map(PathBuf::from);
    let path = given.unwrap_or_else(|_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus"));
    let open = path.join("open");
    if open.is_dir() { Ok(open) } else { Err(Skip(format!("corpus not found at {}", path.display()))) }
}

/// What keepalived said about one object: its fields with their values, in its order.
struct Recorded {
    section: String,
    object: String,
    fields: Vec<(String, Vec<String>)>,
}

/// A table of `tests/recorded/`; section and object stand only where they change.
fn recorded(text: &str) -> Vec<Recorded> {
    let mut objects: Vec<Recorded> = Vec::new();
    for line in text.lines() {
        let [section, object, field, value] = line.split('\t').collect::<Vec<_>>().try_into().unwrap();
        let last = objects.last().map(|last| (last.section.clone(), last.object.clone()));
        let (old_section, old_object) = last.clone().unwrap_or_default();
        let new_section = if section.is_empty() { old_section } else { section.to_owned() };
        // Each object begins with its name alone; another one may have the same.
        let begins = field.is_empty() && value.is_empty();
        if last.is_none() || !section.is_empty() || !object.is_empty() || begins {
            let same = object.is_empty() && section.is_empty();
            let object = if same { old_object } else { object.to_owned() };
            objects.push(Recorded { section: new_section, object, fields: Vec::new() });
        }
        let fields = &mut objects.last_mut().unwrap().fields;
        match fields.iter_mut().find(|(name, _)| name == field) {
            Some((_, values)) => values.push(value.to_owned()),
            None => fields.push((field.to_owned(), vec![value.to_owned()])),
        }
    }
    objects
}

/// The blocks of the typed configuration, each taken once.
struct Blocks<'a> {
    top: &'a [Setting],
    taken: BTreeSet<(&'static str, String, usize)>,
}

impl<'a> Blocks<'a> {
    /// The lines that stand behind an object of keepalived's; `None` where there is no such block.
    fn find(&mut self, recorded: &Recorded) -> Option<&'a [Setting]> {
        let object = recorded.object.as_str();
        let keyword = match recorded.section.as_str() {
            "Global definitions" => return body(self.top.iter().find(|setting| setting.keyword() == "global_defs")?),
            "Static Addresses" | "Static Routes" | "Static Rules" | "SSL definitions" => return Some(self.top),
            "VRRP Topology" => "vrrp_instance",
            "VRRP Sync groups" => "vrrp_sync_group",
            "VRRP Scripts" => "vrrp_script",
            "VRRP Track files" | "Checker track files" => {
                // Both processes show them.
                let own = |setting: &&Setting| setting.keyword() == "track_file" && words(setting) == object;
                return body(self.top.iter().find(own)?);
            }
            "VRRP Track processes" => "vrrp_track_process",
            "Virtual server group" => "virtual_server_group",
            "Virtual server" => "virtual_server",
            "Real server" => {
                let (server, real) = object.split_once(" -> ")?;
                return self.below(
                    "real_server",
                    |service| words(service) == server,
                    |found| words(found) == real,
                    object,
                );
            }
            "Health checkers" => {
                let (server, real) = object.split_once(" -> ")?;
                let (service, real) = (canonical::endpoint(server), canonical::endpoint(real));
                return self.checker(&service, &real, recorded);
            }
            _ => return None,
        };
        let own = |setting: &&Setting| setting.keyword() == keyword && words(setting) == object;
        let candidates: Vec<_> = self.top.iter().filter(own).collect();
        self.first_free(keyword, object, candidates)
    }

    fn first_free(&mut self, kind: &'static str, object: &str, candidates: Vec<&'a Setting>) -> Option<&'a [Setting]> {
        let mut numbered = candidates.into_iter().enumerate();
        let (_, found) = numbered.find(|(number, _)| self.taken.insert((kind, object.to_owned(), *number)))?;
        body(found)
    }

    fn servers(&self) -> impl Iterator<Item = &'a Setting> {
        self.top.iter().filter(|setting| setting.keyword() == "virtual_server")
    }

    fn below(
        &mut self,
        kind: &'static str,
        service: impl Fn(&Setting) -> bool,
        real: impl Fn(&Setting) -> bool,
        object: &str,
    ) -> Option<&'a [Setting]> {
        let inside = self.servers().filter(|setting| service(setting)).filter_map(body).flatten();
        let candidates = inside.filter(|setting| setting.keyword() == kind && real(setting)).collect();
        self.first_free(kind, object, candidates)
    }

    /// A checker: the next one of its kind of the real servers of that place.
    fn checker(&mut self, service: &str, real: &str, recorded: &Recorded) -> Option<&'a [Setting]> {
        let (_, method) = recorded.fields.iter().find(|(field, _)| field == "Keepalive method")?;
        let kind = method[0].split(',').next().unwrap_or_default();
        let services = self.servers().filter(|found| canonical::service(found) == service);
        let reals = services.filter_map(body).flatten();
        let reals = reals.filter(|found| found.keyword() == "real_server" && words(found) == real);
        let checkers = reals.filter_map(body).flatten().filter(|found| found.set && found.body.is_some());
        let candidates = checkers.filter(|found| found.keyword() == kind).collect();
        self.first_free("checker", &format!("{} {kind}", recorded.object), candidates)
    }
}

fn body(setting: &Setting) -> Option<&[Setting]> {
    setting.body.as_deref()
}

/// What came of the comparison.
#[derive(Default)]
struct Outcome {
    equal: usize,
    intended: BTreeMap<&'static str, usize>,
    left_out: usize,
    not_typed: BTreeMap<&'static str, usize>,
    wrong: Vec<String>,
}

impl Outcome {
    fn compare(&mut self, file: &str, object: &Recorded, blocks: &mut Blocks<'_>) {
        if object.section.is_empty() || object.fields.iter().any(|(field, _)| field == "objects") {
            return;
        }
        let at = format!("{file} {} {}", object.section, object.object);
        let Some(body) = blocks.find(object) else {
            let keyword = fields::block(&object.section);
            if self.intended(file, &object.section, "", "there", "") {
                // Listed.
            } else if blocks.top.iter().any(|setting| setting.keyword() == keyword) {
                self.wrong.push(format!("{at}: keepalived has it, it is not here"));
            } else {
                *self.not_typed.entry(keyword).or_default() += 1;
            }
            return;
        };
        let outer = object.object.split_once(" -> ").map(|(server, _)| server);
        let outer = outer.and_then(|server| blocks.servers().find(|found| words(found) == server)).and_then(self::body);
        let place = Place { top: blocks.top, outer: outer.unwrap_or_default(), body, object: &object.object };
        for (name, values) in object.fields.iter().filter(|(name, _)| !name.is_empty()) {
            if LEFT_OUT.iter().any(|left| left.section == object.section && left.field == name) {
                self.left_out += values.len();
                continue;
            }
            let Some(field) = FIELDS.iter().find(|field| field.section == object.section && field.field == name) else {
                self.wrong.push(format!("{at}: '{name}' stands in no table (its value is {values:?})"));
                continue;
            };
            self.compare_field(file, &at, field, values, &place);
        }
    }

    fn compare_field(&mut self, file: &str, at: &str, field: &Field, values: &[String], place: &Place<'_>) {
        let theirs: Vec<_> = values.iter().map(|value| field.compare.theirs(value)).collect();
        let ours: Vec<_> = match place.lines(field.keyword).as_slice() {
            [] => vec![field.compare.absent().to_owned()],
            lines => lines.iter().flat_map(|line| field.compare.ours(place, line)).collect(),
        };
        let (theirs, ours) = (theirs.join("\n"), ours.join("\n"));
        if theirs == ours {
            self.equal += values.len();
        } else if !self.intended(file, field.section, field.field, &theirs, &ours) {
            self.wrong.push(format!("{at} {}: keepalived says {theirs:?}, {} is {ours:?}", field.field, field.keyword));
        }
    }

    /// What keepalived dropped must not be here either.
    fn count(&mut self, file: &str, objects: &[Recorded], settings: &[Setting]) {
        let sections = ["VRRP Topology", "VRRP Sync groups", "VRRP Scripts", "VRRP Track processes", "Virtual server"];
        for section in sections {
            let theirs: Vec<_> = objects.iter().filter(|object| object.section == section).collect();
            let kept = theirs.iter().flat_map(|object| &object.fields).find(|(field, _)| field == "objects");
            let count = kept.map_or(theirs.len(), |(_, count)| count[0].parse().unwrap());
            let keyword = fields::block(section);
            let ours = settings.iter().filter(|setting| setting.keyword() == keyword && setting.set).count();
            let (theirs, ours) = (count.to_string(), ours.to_string());
            // What is not typed is reported elsewhere.
            if ours != "0" && theirs != ours && !self.intended(file, section, "objects", &theirs, &ours) {
                self.wrong.push(format!("{file} {section}: keepalived has {theirs}, here are {ours} {keyword}"));
            }
        }
    }

    fn intended(&mut self, file: &str, section: &str, field: &str, theirs: &str, ours: &str) -> bool {
        let matches = |difference: &&Difference| difference.covers(file, section, field, theirs, ours);
        let found = DIFFERENCES.iter().find(matches);
        if let Some(difference) = found {
            *self.intended.entry(difference.keyword).or_default() += 1;
        }
        found.is_some()
    }

    fn print(&self, files: usize) {
        let intended: usize = self.intended.values().sum();
        let not_typed: usize = self.not_typed.values().sum();
        let compared = self.equal + intended + self.wrong.len();
        println!(
            "{files} files, {compared} values compared: {} equal, {intended} different for a reason, {} different; \
             {} left out, {not_typed} not typed",
            self.equal,
            self.wrong.len(),
            self.left_out
        );
        for (keyword, count) in &self.intended {
            println!("    different: {keyword} {count}");
        }
        for (keyword, count) in &self.not_typed {
            println!("    not typed: {keyword} {count}");
        }
    }
}

fn values_are_those_of_keepalived() -> CaseResult {
    let corpus = corpus()?;
    let mut outcome = Outcome::default();
    let mut files = 0;
    for (name, text) in recordings() {
        let objects = recorded(&text);
        if !text.contains("\t\trun\truns\n") {
            continue;
        }
        let file = corpus.join(format!("{name}.conf"));
        let parsed = parse(&Disk, &file, &Options { config_id: "testhost".to_owned(), ..Options::default() });
        let settings = parsed.config.settings();
        let mut blocks = Blocks { top: &settings, taken: BTreeSet::new() };
        for object in &objects {
            outcome.compare(&name, object, &mut blocks);
        }
        outcome.count(&name, &objects, &settings);
        files += 1;
    }
    outcome.print(files);
    let open: Vec<_> = outcome.not_typed.keys().map(|keyword| format!("{keyword} is not typed")).collect();
    let failures = [outcome.wrong, open].concat();
    if !failures.is_empty() {
        return Err(Stop::failed(failures.join("\n    ")));
    }
    if files < 150 {
        return Err(Stop::failed(format!("only {files} files were compared")));
    }
    Ok(())
}

/// Name and table of each file that was recorded.
fn recordings() -> Vec<(String, String)> {
    let mut found: Vec<_> = std::fs::read_dir(RECORDED).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    let read = |path: PathBuf| {
        (path.file_stem().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(&path).unwrap())
    };
    found.into_iter().map(read).collect()
}

/// Each reason stands in the document that users read.
fn the_differences_are_documented() -> CaseResult {
    let document = include_str!("../../../../docs/compatibility.md");
    for Difference { keyword, reason, .. } in DIFFERENCES {
        let row = format!("| `{keyword}` | {reason} |");
        if !document.contains(&row) {
            return Err(Stop::failed(format!("docs/compatibility.md lacks the line {row}")));
        }
    }
    Ok(())
}

/// No line of the tables of fields is superfluous: each occurs in the recordings.
fn the_tables_fit_the_recordings() -> CaseResult {
    let mut seen = BTreeSet::new();
    for (_, text) in recordings() {
        for object in recorded(&text) {
            seen.extend(object.fields.into_iter().map(|(field, _)| (object.section.clone(), field)));
        }
    }
    let tables = FIELDS.iter().map(|field| (field.section, field.field));
    let tables = tables.chain(LEFT_OUT.iter().map(|left| (left.section, left.field)));
    for (section, field) in tables {
        if !seen.contains(&(section.to_owned(), field.to_owned())) {
            return Err(Stop::failed(format!("{section} / {field} is in no recording")));
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    harness::main_in_place(&[
        case("values_are_those_of_keepalived", values_are_those_of_keepalived),
        case("the_differences_are_documented", the_differences_are_documented),
        case("the_tables_fit_the_recordings", the_tables_fit_the_recordings),
    ])
}
