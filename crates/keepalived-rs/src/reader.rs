//! The reader: a short-lived process that reads the files, checks them against this host and hands each worker its
//! part. Whatever a file does to it, the running daemon is untouched.

mod keys;
mod tls;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use conf_parser::config::{HmacSecret, IpvsNamespace};
use conf_parser::host::Host;
use conf_parser::render::{self, Color};
use conf_parser::{Class, Code, Diagnostic, Effect, LoadError, Loader, Parsed, Severity};
use serde::{Deserialize, Serialize};

use crate::config::checker::{CheckerPart, TlsPart};
use crate::config::process::ProcessPart;
use crate::config::runner::RunnerPart;
use crate::config::vrrp::VrrpPart;
use crate::host::{Target, ThisHost};
use crate::ipc::{self, Channel, Order, Report, Role};
use crate::privileges::Extras;

/// The largest configuration file that is read.
const MAX_FILE: u64 = 256 << 20;

/// The address space of a reader; a file that needs more is refused.
const MAX_MEMORY: u64 = 4 << 30;

/// Exit status when the main file cannot be read (`behaviour.md` §1.2).
const EXIT_NO_CONFIG: u8 = 6;

/// Exit status of a test of a file that would refuse the start (`behaviour.md` §1.3).
const EXIT_WOULD_NOT_START: u8 = 4;

/// Exit status of a test that found something (`behaviour.md` §1.3).
const EXIT_FINDINGS: u8 = 5;

/// Whether notes count for the exit status of a test: `--strict`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Strict {
    /// They do.
    Yes,
    /// They do not, as with keepalived, which has none.
    #[default]
    No,
}

/// Exit status when the configuration is refused.
const EXIT_CONFIG: u8 = 2;

/// What to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Source {
    /// The main file, absolute.
    pub(crate) file: PathBuf,
    /// Identity for `@id` lines.
    pub(crate) config_id: String,
    /// `-e`: every include is checked.
    pub(crate) check_includes: bool,
    /// Which workers may run at all: both, or one with `-P` or `-C`.
    pub(crate) workers: BTreeSet<Role>,
    /// `--allow-unsupported`: start although a keyword that can change traffic is not acted on yet.
    pub(crate) allow_unsupported: bool,
    /// `--all`: start every worker even without configuration for it.
    pub(crate) all: bool,
    /// At a reload: the running configuration has `reload_check_config`.
    pub(crate) check_config: bool,
    /// At a reload: the checker goes on without virtual servers, for connections that may end.
    pub(crate) keep_checker: bool,
}

/// What came of it. The findings travel beside it as a sealed memfd, before the parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reading {
    /// The exit status of a refused start; `None` when the configuration can run.
    pub(crate) refused: Option<u8>,
    /// The workers that this configuration needs; their parts are attached in this order.
    pub(crate) parts: Vec<Role>,
    /// `child_wait_time`.
    pub(crate) child_wait: Duration,
    /// `process_name`: that of the supervisor.
    pub(crate) process_name: Option<String>,
    /// `reload_check_config`: where a reload leaves its findings.
    pub(crate) check_log: Option<PathBuf>,
    /// What the processes of workers are asked to be able to do, besides their work.
    pub(crate) extras: BTreeMap<Role, Extras>,
    /// The key of the fact of the router that a sync daemon follows.
    pub(crate) followed: Option<String>,
    /// Some virtual server has `drain_timeout`.
    pub(crate) drains: bool,
    /// The checker has a part only for connections that may end.
    pub(crate) kept_checker: bool,
    /// `net_namespace_ipvs`.
    pub(crate) ipvs_namespace: Option<IpvsNamespace>,
}

impl Reading {
    /// What a VRRP process is asked to be able to do; `None` if none is to run.
    pub(crate) fn vrrp_extras(&self) -> Option<Extras> {
        let runs = self.refused.is_none() && self.parts.contains(&Role::Vrrp);
        self.extras.get(&Role::Vrrp).copied().filter(|_| runs)
    }
}

/// One line for the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finding {
    /// It alone refuses the configuration.
    pub(crate) refuses: bool,
    /// Worth `ERROR` rather than `INFO`.
    pub(crate) error: bool,
    /// `FILE:LINE:COLUMN: text`, as far as there is a place.
    pub(crate) text: String,
}

/// A file that was read and checked against this host.
#[derive(Debug)]
pub(crate) struct Checked {
    parsed: Parsed,
    /// Known keywords that are not acted on yet and can change traffic refuse the start.
    allow_unsupported: bool,
    /// `reload_check_config`, here or in the running configuration: what keepalived reports refuses.
    check_config: bool,
    /// What checks over TLS show, if there are any.
    tls: Option<TlsPart>,
}

/// How findings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Format {
    /// With the lines that they are about.
    #[default]
    Text,
    /// One JSON document.
    Json,
    /// `FILE:LINE:COLUMN: SEVERITY: TEXT`, one to a line.
    Line,
}

impl Format {
    /// What `--format` takes.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        match word {
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            "line" => Some(Self::Line),
            _ => None,
        }
    }
}

/// Reads and checks `source` for `host`.
pub(crate) fn check(source: &Source, host: &dyn Host) -> Checked {
    let options = conf_parser::Options {
        config_id: source.config_id.clone(),
        check_includes: source.check_includes,
        random_seed: u64::from(std::process::id()),
        ..conf_parser::Options::default()
    };
    let mut parsed = conf_parser::parse(&FileLoader, &source.file, &options);
    parsed.diagnostics.extend(conf_parser::check(&parsed.config, &parsed.sources, host));
    parsed.diagnostics.sort_by_key(|finding| finding.span);
    let check_config = source.check_config || parsed.config.global.reload.check_config.is_some();
    Checked { parsed, allow_unsupported: source.allow_unsupported, check_config, tls: None }
}

/// Reads and checks `source` for `target`. Keys in files of their own are read where it is this host.
///
/// # Errors
/// When the facts of another host cannot be read.
pub(crate) fn check_for(source: &Source, target: &Target) -> anyhow::Result<Checked> {
    let host = target.host()?;
    let checked = check(source, &*host);
    Ok(if *target == Target::ThisHost { checked.with_keys(&FileLoader).with_tls(&FileLoader, source) } else { checked })
}

/// The vrrp worker's part of `source`, whatever is wrong with the rest; `None` when there is no file.
pub(crate) fn vrrp_part(source: &Source) -> Option<VrrpPart> {
    let host = ThisHost::look();
    let checked = check(source, &host).resolved(&host).with_keys(&FileLoader);
    checked.readable().then(|| checked.vrrp_part())
}

impl Checked {
    /// The exit status of a refused start.
    fn refused(&self) -> Option<u8> {
        if !self.parsed.main_file_read() || self.parsed.diagnostics.iter().any(missing_file) {
            Some(EXIT_NO_CONFIG)
        } else if self.file_is_refused() || self.traffic_unsupported().next().is_some() {
            Some(EXIT_CONFIG)
        } else {
            None
        }
    }

    /// Whether keepalived would refuse the file.
    fn file_is_refused(&self) -> bool {
        self.parsed.diagnostics.iter().any(|finding| self.refuses(finding))
    }

    fn refuses(&self, finding: &Diagnostic) -> bool {
        finding.refuses_start || (self.check_config && finding.is_reported())
    }

    /// Whether there is a configuration at all.
    pub(crate) fn readable(&self) -> bool {
        self.parsed.main_file_read()
    }

    /// What the vrrp worker would be told.
    fn vrrp_part(&self) -> VrrpPart {
        VrrpPart::from_config(&self.parsed.config)
    }

    fn traffic_unsupported(&self) -> impl Iterator<Item = &conf_parser::Unsupported> {
        let refuses = !self.allow_unsupported;
        self.parsed.unsupported.iter().filter(move |usage| refuses && usage.effect == Effect::Traffic)
    }

    /// Every finding as a line, in the order of the file.
    fn findings(&self) -> Vec<Finding> {
        let parsed = &self.parsed;
        let mut lines: Vec<_> = parsed
            .diagnostics
            .iter()
            .map(|finding| (finding.span, self.line_of(finding)))
            .chain(parsed.unsupported.iter().map(|usage| (Some(usage.span), self.unsupported_line(usage))))
            .collect();
        lines.sort_by_key(|(span, _)| *span);
        lines.into_iter().map(|(_, line)| line).collect()
    }

    fn unsupported_line(&self, usage: &conf_parser::Unsupported) -> Finding {
        let place = self.parsed.sources.location(usage.span).map(|place| format!("{place}: ")).unwrap_or_default();
        let traffic = usage.effect == Effect::Traffic;
        let text = format!("{place}{}", self.unsupported_text(usage));
        Finding { refuses: traffic && !self.allow_unsupported, error: traffic, text }
    }

    fn unsupported_text(&self, usage: &conf_parser::Unsupported) -> String {
        let block = if usage.block.is_empty() { "the top level" } else { &usage.block };
        let keyword = &usage.keyword;
        match (usage.effect, self.allow_unsupported) {
            (Effect::None, _) => format!("'{keyword}' in {block} is known, not acted on yet"),
            (Effect::Traffic, allowed) => {
                let end =
                    if allowed { "running without it" } else { "start with --allow-unsupported to run without it" };
                format!("'{keyword}' in {block} is not acted on yet and can change traffic; {end}")
            }
        }
    }

    /// Puts the numbers of `host` in the place of names, and leaves out what it has no name for.
    fn resolved(mut self, host: &dyn Host) -> Self {
        self.parsed.config.resolve_names(host);
        self
    }

    /// Puts the bytes of keys in the place of the files that hold them; a key that cannot be read refuses the
    /// configuration: without it adverts would not be signed, or not be believed.
    fn with_keys(mut self, loader: &dyn Loader) -> Self {
        let config = &mut self.parsed.config;
        let keys = config.vrrp_instances.iter_mut().filter_map(|it| Some((&it.name.value, it.auth_hmac.as_mut()?)));
        for (name, key) in keys.flat_map(|(name, hmac)| hmac.keys.iter_mut().map(move |key| (name, key))) {
            let HmacSecret::File(path) = &key.secret else { continue };
            match keys::read(loader, Path::new(path)) {
                Ok(bytes) => key.secret = HmacSecret::Bytes(bytes),
                Err(why) => {
                    let message =
                        format!("({name}) auth_hmac key {} cannot be read from {path}: {why}", key.id.value.0);
                    let finding = Diagnostic::error(Code::Authentication, Class::General, key.id.span, message);
                    self.parsed.diagnostics.push(finding.refusing());
                }
            }
        }
        self.parsed.diagnostics.sort_by_key(|finding| finding.span);
        self
    }

    /// Reads the files of the block `SSL`, if checks over TLS will be made.
    fn with_tls(mut self, loader: &dyn Loader, source: &Source) -> Self {
        if source.workers.contains(&Role::Checker) {
            self.tls = tls::read(loader, &self.parsed.config, &mut self.parsed.diagnostics);
            self.parsed.diagnostics.sort_by_key(|finding| finding.span);
        }
        self
    }

    /// Leaves out what a running daemon's runner says of scripts itself.
    fn without_scripts(mut self) -> Self {
        if self.is_refused() {
            return self;
        }
        let scripts = [Code::ScriptSecurity, Code::ScriptUser, Code::ScriptMissing, Code::UnsafeScript];
        self.parsed.diagnostics.retain(|finding| !scripts.contains(&finding.code));
        self
    }

    /// The exit status of `--config-test`: whatever would refuse the start of this daemon is 4.
    pub(crate) fn config_test_status(&self, strict: Strict) -> u8 {
        if self.is_refused() { EXIT_WOULD_NOT_START } else { self.file_status(strict) }
    }

    /// The exit status for the file alone, whatever this release acts on. With `strict`, notes count like warnings.
    pub(crate) fn file_status(&self, strict: Strict) -> u8 {
        let quiet = self.parsed.diagnostics.is_empty() && self.parsed.unsupported.is_empty();
        match conf_parser::config_test_exit_code(&self.parsed.diagnostics) {
            _ if self.file_is_refused() => EXIT_WOULD_NOT_START,
            0 if strict == Strict::Yes && !quiet => EXIT_FINDINGS,
            status => status,
        }
    }

    /// What was read.
    pub(crate) fn parsed(&self) -> &Parsed {
        &self.parsed
    }

    /// Whether the daemon would refuse to start, or to reload.
    pub(crate) fn is_refused(&self) -> bool {
        self.refused().is_some()
    }

    /// Every finding, in the order of the file.
    pub(crate) fn render(&self, format: Format, color: Color, status: u8) -> String {
        match format {
            Format::Text => self.render_text(color),
            Format::Line => self.render_lines(),
            Format::Json => self.render_json(status),
        }
    }

    fn render_lines(&self) -> String {
        let sources = &self.parsed.sources;
        let findings = self.parsed.diagnostics.iter().map(|finding| (finding.span, render::line(finding, sources)));
        let unsupported = self.parsed.unsupported.iter().map(|usage| {
            let place = sources.location(usage.span).map(|place| format!("{place}: ")).unwrap_or_default();
            (Some(usage.span), format!("{place}note: {}", self.unsupported_text(usage)))
        });
        let mut lines: Vec<_> = findings.chain(unsupported).collect();
        lines.sort_by_key(|(span, _)| *span);
        lines.into_iter().map(|(_, line)| line + "\n").collect()
    }

    fn render_json(&self, status: u8) -> String {
        let sources = &self.parsed.sources;
        let findings: Vec<_> = self.parsed.diagnostics.iter().map(|finding| render::json(finding, sources)).collect();
        let unsupported = self.parsed.unsupported.iter().map(|usage| {
            serde_json::json!({
                "keyword": usage.keyword,
                "block": usage.block,
                "effect": if usage.effect == Effect::Traffic { "traffic" } else { "none" },
                "span": render::Place::new(sources, usage.span),
            })
        });
        let document = serde_json::json!({
            "findings": findings,
            "unsupported": unsupported.collect::<Vec<_>>(),
            "refuses_start": self.is_refused(),
            "status": status,
        });
        format!("{document:#}\n")
    }

    /// Every finding with its source, for a person.
    fn render_text(&self, color: Color) -> String {
        let excerpt = |finding: &Diagnostic| render::excerpt(finding, &self.parsed.sources, color);
        let findings = self.parsed.diagnostics.iter().map(|finding| (finding.span, excerpt(finding)));
        let note = |usage| format!("note: {}\n", self.unsupported_line(usage).text);
        let unsupported = self.parsed.unsupported.iter().map(|usage| (Some(usage.span), note(usage)));
        let mut all: Vec<_> = findings.chain(unsupported).collect();
        all.sort_by_key(|(span, _)| *span);
        let mut text: String = all.into_iter().map(|(_, text)| text).collect();
        if self.file_is_refused() && !self.parsed.diagnostics.iter().any(|finding| finding.refuses_start) {
            text += "note: with 'reload_check_config' in global_defs any error or warning refuses the start\n";
        }
        text
    }

    fn line_of(&self, finding: &Diagnostic) -> Finding {
        let place = finding.span.and_then(|span| self.parsed.sources.location(span));
        let mut text = place.map(|place| format!("{place}: ")).unwrap_or_default();
        text.push_str(&finding.message);
        for more in [&finding.label, &finding.help].into_iter().flatten() {
            text.push_str("; ");
            text.push_str(more);
        }
        let refuses = self.refuses(finding);
        if refuses && !finding.refuses_start {
            text.push_str("; refused because of reload_check_config");
        }
        Finding { refuses, error: finding.severity == Severity::Error, text }
    }
}

/// A required file that is not there ends the start with its own status.
fn missing_file(finding: &Diagnostic) -> bool {
    finding.refuses_start && finding.class == Class::FileNotFound
}

/// The reader process: one order in, one report out.
pub(crate) fn run(channel: &Channel) -> anyhow::Result<u8> {
    limit_memory()?;
    let Some((Order::Read(source), running)) = channel.wait::<Order>()? else {
        anyhow::bail!("the supervisor did not say what to read");
    };
    let host = ThisHost::look();
    let checked =
        check(&source, &host).without_scripts().resolved(&host).with_keys(&FileLoader).with_tls(&FileLoader, &source);
    // Thousands of virtual servers are not taken apart: their memory goes with this process.
    let mut checked = ManuallyDrop::new(checked);
    let running = running.first().map(ipc::unseal::<VrrpPart>).transpose().context("reading what is running")?;
    let (reading, parts) = split(&mut checked, &source, running.as_ref())?;
    let findings = ipc::seal(&checked.findings())?;
    let fds: Vec<_> = std::iter::once(findings.as_fd()).chain(parts.iter().map(AsFd::as_fd)).collect();
    channel.send(&Report::Reading(reading), &fds)?;
    Ok(0)
}

/// Each worker's part, and who is needed; `running` is the VRRP worker's part as it runs now. Of the configuration the
/// virtual servers are gone afterwards.
fn split(
    checked: &mut Checked,
    source: &Source,
    running: Option<&VrrpPart>,
) -> anyhow::Result<(Reading, Vec<OwnedFd>)> {
    let scripts = RunnerPart::from_config(&checked.parsed.config);
    let scripts = scripts.located(&checked.parsed.config, &checked.parsed.sources);
    let balanced = CheckerPart::take_from(&mut checked.parsed.config).located(&checked.parsed.sources);
    let balanced = ManuallyDrop::new(CheckerPart { tls: checked.tls.take(), ..balanced });
    let config = &checked.parsed.config;
    let mut reading = Reading {
        refused: checked.refused(),
        parts: Vec::new(),
        child_wait: config.global.child_wait_time,
        process_name: config.global.processes.parent_name.clone(),
        check_log: config.global.reload.check_config.as_ref().map(PathBuf::from),
        extras: BTreeMap::from([
            (Role::Vrrp, ProcessPart::vrrp(&config.global).extras()),
            (Role::Checker, ProcessPart::checker(&config.global).extras()),
        ]),
        followed: balanced.table.sync_daemon.as_ref().and_then(|sync| sync.router.clone()),
        drains: balanced.virtual_servers.iter().any(|server| server.drain_timeout.is_some()),
        kept_checker: false,
        ipvs_namespace: balanced.namespace.clone(),
    };
    let mut parts = Vec::new();
    if reading.refused.is_some() {
        return Ok((reading, parts));
    }
    let mut add = |role, part: std::io::Result<OwnedFd>| -> anyhow::Result<()> {
        parts.push(part.context("handing over a configuration")?);
        reading.parts.push(role);
        Ok(())
    };
    let runs = |role, has_work| source.workers.contains(&role) && (has_work || source.all);
    let is_fixed = |config: &conf_parser::Config| {
        !config.static_addresses.is_empty() || !config.static_routes.is_empty() || !config.static_rules.is_empty()
    };
    let vrrp = runs(Role::Vrrp, !config.vrrp_instances.is_empty() || is_fixed(config));
    let balancing = runs(Role::Checker, balanced.has_work() || source.keep_checker);
    reading.kept_checker = balancing && !source.all && !balanced.has_work();
    if (vrrp || balancing) && scripts.has_work() {
        add(Role::Runner, ipc::seal(&scripts))?;
    }
    if balancing {
        add(Role::Checker, ipc::seal(&*balanced))?;
    }
    if vrrp {
        let part = match running {
            Some(running) => VrrpPart::following(config, running),
            None => VrrpPart::from_config(config),
        };
        add(Role::Vrrp, ipc::seal(&part))?;
    }
    Ok((reading, parts))
}

fn limit_memory() -> anyhow::Result<()> {
    let limit = rustix::process::Rlimit { current: Some(MAX_MEMORY), maximum: Some(MAX_MEMORY) };
    rustix::process::setrlimit(rustix::process::Resource::As, limit).context("limiting the reader's memory")
}

/// Reads from the file system.
#[derive(Debug)]
pub(crate) struct FileLoader;

impl Loader for FileLoader {
    fn load(&self, path: &Path) -> Result<Vec<u8>, LoadError> {
        let metadata = std::fs::metadata(path).map_err(|error| load_error(&error))?;
        if !metadata.is_file() {
            return Err(LoadError::NotRegular);
        }
        if metadata.size() > MAX_FILE {
            return Err(LoadError::TooLarge);
        }
        // One byte more than there is: the end shows without growing.
        let mut bytes = Vec::with_capacity(usize::try_from(metadata.size()).unwrap_or(0) + 1);
        File::open(path)
            .and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes))
            .map_err(|error| load_error(&error))?;
        Ok(bytes)
    }

    fn glob(&self, pattern: &str) -> Result<Vec<PathBuf>, LoadError> {
        let paths = glob::glob(pattern).map_err(|error| LoadError::Other(error.to_string()))?;
        paths.map(|path| path.map_err(|error| load_error(error.error()))).collect()
    }

    fn environment(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

fn load_error(error: &std::io::Error) -> LoadError {
    match error.kind() {
        std::io::ErrorKind::NotFound => LoadError::NotFound,
        std::io::ErrorKind::PermissionDenied => LoadError::PermissionDenied,
        std::io::ErrorKind::IsADirectory => LoadError::NotRegular,
        _ => LoadError::Other(error.to_string()),
    }
}
