//! Reads keepalived.conf into typed values and diagnostics that name the place and the likely fix.
//!
//! [`parse`] takes a [`Loader`] (the crate opens no file itself), reads the main file and everything it
//! includes, and returns a [`Parsed`]: the typed [`Config`], every finding, and every use of a keyword
//! that the keepalived-rs of this release does not act on. A mistake never ends the reading: like keepalived, it drops
//! the value, says so, and goes on; unlike keepalived it says so once, with the place.
//!
//! What depends on the host (do interfaces, users and scripts exist?) is asked of a [`host::Host`];
//! [`check`] turns such answers into findings, and looks across blocks.
//!
//! ```
//! use conf_parser::{parse, MemoryLoader, Options};
//! use std::path::Path;
//!
//! let text = "vrrp_instance VI_1 {\n state BACKP\n interface eth0\n virtual_router_id 51\n virtual_ipaddress { 192.0.2.1/24 }\n}\n";
//! let loader = MemoryLoader::new([("k.conf", text)]);
//! let parsed = parse(&loader, Path::new("k.conf"), &Options::default());
//! assert_eq!(parsed.config.vrrp_instances[0].virtual_router_id.0.get(), 51);
//! let finding = &parsed.diagnostics[0];
//! assert_eq!(finding.message, "(VI_1) unknown state 'BACKP', defaulting to BACKUP");
//! assert_eq!(parsed.sources.location(finding.span.unwrap()).unwrap().line, 2);
//! ```
//!
//! From text to values: `preprocess` (includes, `$DEFINITIONS`, `@id` lines, `~SEQ`) gives lines, `lexer`
//! cuts them into words and braces, `tree` into blocks with the help of the [`schema`], and `lower` types them.
//!
//! Features: `render` (default) prints findings with source excerpts; `serde` (default) ships the configuration.

mod check;
pub mod config;
mod diagnostic;
pub mod diff;
pub mod explain;
pub mod format;
pub mod host;
mod lexer;
mod loader;
mod lower;
mod preprocess;
#[cfg(feature = "render")]
pub mod render;
pub mod schema;
pub mod setting;
mod source;
mod tree;

use std::path::Path;

pub use check::check;
pub use config::Config;
use diagnostic::Findings;
pub use diagnostic::{Class, Code, Diagnostic, Related, Severity, config_test_exit_code};
use host::Host;
pub use lexer::{Token, TokenKind, tokens};
pub use loader::{LoadError, Loader, MemoryLoader};
pub use source::{Expanded, FileId, Location, SourceFile, Sources, Span, Spanned, Trace, Via};
pub use tree::{Node, Tree, read_tree};

/// What a reading depends on beside the files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// The identity that `@id` lines are compared with and `${_INSTANCE}` gives: the node name up to its first dot unless set.
    pub config_id: String,
    /// Every check of included files is on (`--all-config`).
    pub check_includes: bool,
    /// Where the numbers of `${_RANDOM}` start.
    pub random_seed: u64,
    /// Bounds on what a file may make of itself.
    pub limits: Limits,
}

/// Bounds on what a configuration may grow to. Reaching one is an error that refuses the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Files read, includes repeated; default 4,096.
    pub files: usize,
    /// Files inside each other; default 32.
    pub include_depth: usize,
    /// Bytes of all files together; default 256 MiB.
    pub bytes: usize,
    /// Lines that repetitions and definitions of several lines make; default 1,000,000.
    pub lines: usize,
    /// Bytes that repetitions and definitions make, and 32 for each use of a definition; default 256 MiB.
    pub expanded_bytes: usize,
    /// Bytes of one line after expansion; default 64 KiB. Lines as written may be longer.
    pub line_bytes: usize,
    /// Includes, definitions and repetitions inside each other; default 64.
    pub expansion_depth: usize,
    /// Definitions, and lines of those of several lines; default 1,000,000.
    pub definitions: usize,
    /// Blocks of the top level; default 150,000. What follows the last of them is not kept.
    pub blocks: usize,
    /// Blocks inside of others, lines of lists, and scripts; default 1,500,000. Every four words behind the first of a line
    /// count as one more, and so do every 16 bytes of a script. What follows the last of them is not kept.
    pub entries: usize,
    /// Findings; of those beyond it only the worst and their number are told. As many uses of keywords that are not acted
    /// on are listed. Default 100,000.
    pub findings: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            files: 4096,
            include_depth: 32,
            bytes: 256 << 20,
            lines: 1_000_000,
            expanded_bytes: 256 << 20,
            line_bytes: 64 << 10,
            expansion_depth: 64,
            definitions: 1_000_000,
            blocks: 150_000,
            entries: 1_500_000,
            findings: 100_000,
        }
    }
}

/// What leaving a keyword out can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Nothing that traffic would notice: identity, mail, monitoring, dump files.
    None,
    /// Who is active, how and where adverts travel, addresses, tables, tracking, what counts as up.
    Traffic,
}

/// A use of a keyword that keepalived-rs does not act on yet; [`Config`] carries it all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsupported {
    /// The keyword.
    pub keyword: String,
    /// The block that it stands in, as a path: `vrrp_instance/virtual_ipaddress`, empty for the top level.
    pub block: String,
    /// Where.
    pub span: Span,
    /// What leaving it out can do.
    pub effect: Effect,
}

/// The outcome of a reading.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// What was understood.
    pub config: Config,
    /// Every finding, in the order of the files where it has a place.
    pub diagnostics: Vec<Diagnostic>,
    /// Every use of a known keyword that is not acted on. Of those beyond [`Limits::findings`] a finding tells the number;
    /// one of [`Effect::Traffic`] is always listed if there is any.
    pub unsupported: Vec<Unsupported>,
    /// The files that were read.
    pub sources: Sources,
}

impl Parsed {
    /// Whether keepalived would refuse to start with these files: because of one finding, or, with
    /// `reload_check_config`, because there is one that it reports at all.
    pub fn refuses_start(&self) -> bool {
        let refuses: fn(&Diagnostic) -> bool = match self.config.global.reload.check_config {
            Some(_) => Diagnostic::is_reported,
            None => |finding| finding.refuses_start,
        };
        self.diagnostics.iter().any(refuses)
    }

    /// Whether the main file could be read at all. Without it the daemon exits with 6, not 2.
    pub fn main_file_read(&self) -> bool {
        !self.sources.files().is_empty()
    }
}

/// Reads `main` and what it includes.
pub fn parse(loader: &dyn Loader, main: &Path, options: &Options) -> Parsed {
    let mut findings = Findings::new(options.limits.findings);
    let mut lowering = lower::Lowering::new(options);
    let (sources, include_check) = preprocess::read(loader, main, options, &mut findings, &mut lowering);
    let (config, unsupported) = lowering.finish(include_check, &mut findings);
    let mut unsupported = unsupported.listed(&mut findings);
    unsupported.sort_by_key(|usage| usage.span);
    // A definition that is used many times is one place.
    unsupported.dedup_by(|one, other| {
        one.span.same_text(other.span) && (&one.block, &one.keyword) == (&other.block, &other.keyword)
    });
    Parsed { config, diagnostics: findings.sorted(), unsupported, sources }
}

/// The blocks of a file before they are typed: what it takes to type them can be measured.
#[doc(hidden)]
#[derive(Debug)]
pub struct Blocks {
    options: Options,
    read: Vec<tree::Statement>,
}

impl tree::Sink for Vec<tree::Statement> {
    fn statement(&mut self, statement: &tree::Statement, _: &mut Findings) {
        self.push(statement.clone());
    }
}

impl Blocks {
    /// Reads `main` and what it includes.
    pub fn read(loader: &dyn Loader, main: &Path, options: &Options) -> Self {
        let mut read = Vec::new();
        preprocess::read(loader, main, options, &mut Findings::new(options.limits.findings), &mut read);
        Self { options: options.clone(), read }
    }

    /// Types them.
    pub fn lower(&self) -> Config {
        use tree::Sink as _;
        let mut findings = Findings::new(self.options.limits.findings);
        let mut lowering = lower::Lowering::new(&self.options);
        self.read.iter().for_each(|block| lowering.statement(block, &mut findings));
        lowering.finish(None, &mut findings).0
    }
}

/// Findings for every interface in `config` that `host` is known not to have. Each refuses the start, except with
/// `dynamic_interfaces`, where keepalived's `--config-test` is content.
pub(crate) fn check_interfaces(config: &Config, host: &dyn Host) -> Vec<Diagnostic> {
    // To some calls of the system the label of an address, `eth0:1`, is an interface.
    let label = |name: &str| name.split_once(':').map(|(interface, _)| interface.to_owned());
    let absent = |name: &str| label(name).is_some() || host.interface(name).is_absent();
    let missing = config.interfaces().filter(|(name, _, _)| absent(name));
    let dynamic = config.global.dynamic_interfaces;
    let passed_over = config.optional_interfaces().filter(|(name, _, _)| !dynamic && host.interface(name).is_absent());
    let passed_over = passed_over.map(|(_, span, message)| {
        Diagnostic::error(Code::MissingInterface, Class::BadInterface, span, message).label("this line is passed over")
    });
    let late = config.late_interfaces().filter(|(name, _, _)| absent(name));
    let late = late.map(|(_, span, message)| Diagnostic::note(Code::MissingInterface, span, message));
    missing
        .map(|(name, span, message)| {
            if dynamic {
                return Diagnostic::note(Code::MissingInterface, span, message)
                    .label("with dynamic_interfaces it may come later");
            }
            let finding = Diagnostic::error(Code::MissingInterface, Class::BadInterface, span, message)
                .refusing()
                .label("Non-existent interface specified in configuration");
            match label(name) {
                Some(interface) => finding.help(format!("'{name}' labels an address: write {interface}")),
                None => finding.help(
                    "correct the name, or create the interface; with 'dynamic_interfaces' in global_defs it may come later",
                ),
            }
        })
        .chain(passed_over)
        .chain(late)
        .collect()
}

/// The example of the README is run with the tests.
#[cfg(all(doctest, feature = "render"))]
#[doc = include_str!("../README.md")]
mod readme {}
