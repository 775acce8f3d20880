//! Tree to typed configuration, one file for each top block.
//!
//! Every block has a table of [`Handler`]s: the words in it are those that are typed. A word without
//! a handler, or whose row says that nothing acts on it yet, is listed as [`Unsupported`].

mod bfd;
mod checker;
mod defaults;
mod duplicates;
mod global;
mod instance;
mod interface;
mod route;
mod rule;
mod script;
mod ssl;
mod sync_group;
mod track;
mod value;
mod virtual_server;
mod words;

use std::collections::HashMap;

use crate::config::{
    Config, IncludeCheck, Route, Rule, TlsClient, TrackFile, TrackProcess, VirtualAddress, VrrpScript,
};
use crate::diagnostic::{Class, Code, Diagnostic, Findings, Severity};
use crate::lexer::Word;
use crate::preprocess::missing_parameter;
use crate::schema::{Kind, Row, Support, schema};
use crate::setting::Places;
use crate::source::{Span, Spanned};
use crate::tree::{Body, Sink, Statement};
use crate::{Effect, Options, Unsupported};
use global::Globals;

/// Types a tree, one block of the top level after the other.
#[derive(Debug, Default)]
pub(crate) struct Lowering {
    draft: Draft,
    unsupported: Uses,
    carried: Carried,
}

/// Uses of known words that nothing acts on.
#[derive(Debug, Default)]
pub(crate) struct Uses {
    listed: Vec<Unsupported>,
    /// Most that are listed.
    limit: usize,
    /// One of those that are listed can change traffic.
    traffic: bool,
    /// The first that is not listed, and how many there are.
    left_out: Option<(Span, usize)>,
}

impl Uses {
    /// Beyond the limit only the first that can change traffic is listed, if none is yet.
    fn add(&mut self, block: &str, keyword: &str, span: Span, effect: Effect) {
        let first = effect == Effect::Traffic && !self.traffic;
        if self.listed.len() >= self.limit && !first {
            self.left_out.get_or_insert((span, 0)).1 += 1;
            return;
        }
        self.traffic |= first;
        self.listed.push(Unsupported { keyword: keyword.to_owned(), block: block.to_owned(), span, effect });
    }

    /// Those that are listed; a finding says how many are not.
    pub(crate) fn listed(self, findings: &mut Findings) -> Vec<Unsupported> {
        if let Some((span, count)) = self.left_out {
            let message = format!("{count} more uses of keywords that are not acted on are not listed");
            findings.push(Diagnostic::note(Code::LimitReached, span, message).label("the first of them"));
        }
        self.listed
    }
}

/// What blocks hand on to those after them.
#[derive(Debug, Default)]
struct Carried {
    /// For rules without a preference.
    preferences: rule::Preferences,
    /// What was declared so far for checkers to refer to.
    declared: checker::Declared,
    /// For what is not written.
    defaults: defaults::Defaults,
}

impl Sink for Lowering {
    fn statement(&mut self, statement: &Statement, diagnostics: &mut Findings) {
        let (draft, mut context) = self.split(diagnostics);
        context.carried.declared.add(statement);
        context.line(draft, statement, &[ROOT, interface::TOP]);
    }
}

impl Lowering {
    pub(crate) fn new(options: &Options) -> Self {
        Self { unsupported: Uses { limit: options.limits.findings, ..Uses::default() }, ..Self::default() }
    }

    fn split<'a>(&'a mut self, diagnostics: &'a mut Findings) -> (&'a mut Draft, Context<'a>) {
        let Self { draft, unsupported, carried } = self;
        (draft, Context { diagnostics, unsupported, errors: 0, carried })
    }

    /// The typed configuration after the last block, and the known words that nothing acts on.
    /// `include_check` is what the main file says of it, which takes effect while the files are read.
    pub(crate) fn finish(
        mut self,
        include_check: Option<Spanned<IncludeCheck>>,
        diagnostics: &mut Findings,
    ) -> (Config, Uses) {
        let draft = std::mem::take(&mut self.draft);
        let (_, mut context) = self.split(diagnostics);
        let config = draft.finish(include_check, &mut context);
        (config, self.unsupported)
    }
}

impl Draft {
    fn finish(self, include_check: Option<Spanned<IncludeCheck>>, context: &mut Context<'_>) -> Config {
        let Self { mut globals, instances, mut static_addresses, mut static_routes, mut static_rules, .. } = self;
        let (top, track_groups) = self.top.finish(context, &self.names, &self.trackables.suggestions);
        globals.resolve(context, include_check, &self.names);
        let routes = static_routes.iter_mut().map(|route| &mut route.value.track_group);
        let rules = static_rules.iter_mut().map(|rule| &mut rule.value.track_group);
        route::check_track_groups(context, &track_groups, &self.trackables.suggestions, routes.chain(rules));
        let groups = sync_group::finish(context, self.groups, &instances, &globals);
        let vrrp_instances = instance::finish(context, instances, &globals, &groups);
        instance::use_default_interface(&mut static_addresses, &globals);
        let virtual_servers = virtual_server::finish(context, self.servers, &self.server_groups, &globals);
        Config {
            top,
            global: globals.defs,
            static_addresses,
            static_routes,
            static_rules,
            vrrp_scripts: self.scripts,
            track_files: self.files,
            track_processes: self.processes,
            sync_groups: groups.groups,
            vrrp_instances,
            ssl: self.ssl,
            virtual_server_groups: self.server_groups.list,
            virtual_servers,
            bfd_instances: self.bfd.list,
            places: self.places,
        }
    }
}

/// The blocks of the top level before settings of `global_defs` are applied to them.
#[derive(Debug, Default)]
struct Draft {
    top: interface::Top,
    globals: Globals,
    static_addresses: Vec<VirtualAddress>,
    trackables: track::Trackables,
    scripts: Vec<VrrpScript>,
    files: Vec<TrackFile>,
    processes: Vec<TrackProcess>,
    groups: Vec<sync_group::Draft>,
    /// The names of the groups, with where they are given.
    group_names: HashMap<String, Span>,
    static_routes: Vec<Spanned<Route>>,
    static_rules: Vec<Spanned<Rule>>,
    instances: Vec<instance::Draft>,
    /// The names of the instances, with where they are given.
    names: HashMap<String, Span>,
    servers: Vec<virtual_server::Draft>,
    server_groups: virtual_server::Groups,
    ssl: Option<TlsClient>,
    bfd: bfd::Instances,
    places: Places,
}

impl Placed for Draft {
    fn places(&mut self) -> &mut Places {
        &mut self.places
    }
}

const ROOT: &[Handler<Draft>] = &[
    Handler("child_wait_time", |draft, context, statement| {
        context.set(&mut draft.globals.defs.child_wait_time, statement);
    }),
    Handler("global_defs", |draft, context, statement| {
        context.visit(&mut draft.globals, &statement.body, global::GLOBAL_DEFS)
    }),
    Handler("static_routes", |draft, context, statement| {
        route::read_static(&mut draft.static_routes, context, statement);
    }),
    Handler("static_rules", |draft, context, statement| {
        rule::read_static(&mut draft.static_rules, context, statement);
    }),
    Handler("static_ipaddress", |draft, context, statement| {
        let suggestions = &draft.trackables.suggestions;
        instance::static_addresses(
            context,
            statement,
            &mut draft.static_addresses,
            draft.top.track_groups(),
            suggestions,
        );
    }),
    Handler("vrrp_script", |draft, context, statement| {
        draft.scripts.extend(track::script(context, statement, &mut draft.trackables));
    }),
    Handler("track_file", |draft, context, statement| {
        draft.files.extend(track::file(context, statement, &mut draft.trackables));
    }),
    Handler("vrrp_track_file", |draft, context, statement| {
        draft.files.extend(track::file(context, statement, &mut draft.trackables));
    }),
    Handler("vrrp_track_process", |draft, context, statement| {
        draft.processes.extend(track::process(context, statement, &mut draft.trackables));
    }),
    Handler("vrrp_sync_group", |draft, context, statement| {
        draft.groups.extend(sync_group::read(context, statement, &mut draft.group_names, &draft.trackables));
    }),
    Handler("vrrp_instance", |draft, context, statement| {
        draft.instances.extend(instance::read(context, statement, &mut draft.names, &draft.trackables));
    }),
    Handler("virtual_server", |draft, context, statement| {
        draft.servers.extend(virtual_server::read(context, statement))
    }),
    Handler("virtual_server_group", |draft, context, statement| draft.server_groups.read(context, statement)),
    Handler("SSL", |draft, context, statement| ssl::read(context, statement, &mut draft.ssl)),
    Handler("bfd_instance", |draft, context, statement| {
        track::bfd(statement, &mut draft.trackables, context.carried.defaults.bfd_instance.weight);
        draft.bfd.read(context, statement);
    }),
];

/// A block that notes where its keywords were written.
trait Placed {
    fn places(&mut self) -> &mut Places;
}

macro_rules! placed {
    ($type:ty $(, $($field:ident).+)?) => {
        impl crate::lower::Placed for $type {
            fn places(&mut self) -> &mut crate::setting::Places {
                &mut self.$($($field).+.)?places
            }
        }
    };
}
use placed;

/// What one keyword does to the block that it stands in.
struct Handler<T>(&'static str, fn(&mut T, &mut Context<'_>, &Statement));

/// Where findings go.
struct Context<'a> {
    diagnostics: &'a mut Findings,
    unsupported: &'a mut Uses,
    /// Findings so far that something is not used as written.
    errors: usize,
    carried: &'a mut Carried,
}

impl Context<'_> {
    fn push(&mut self, finding: Diagnostic) {
        self.errors += usize::from(finding.severity == Severity::Error);
        self.diagnostics.push(finding);
    }

    fn error(&mut self, code: Code, span: Span, message: impl Into<String>) {
        self.push(Diagnostic::error(code, Class::General, span, message));
    }

    fn warning(&mut self, code: Code, span: Span, message: impl Into<String>) {
        self.push(Diagnostic::warning(code, Class::Warning, span, message));
    }

    /// Hands every line of a block of keywords to its handler.
    fn visit<T: Placed>(&mut self, target: &mut T, body: &Body, tables: &[&[Handler<T>]]) {
        for statement in body.iter() {
            self.line(target, &statement, tables);
        }
    }

    /// Hands one line to its handler.
    fn line<T: Placed>(&mut self, target: &mut T, statement: &Statement, tables: &[&[Handler<T>]]) {
        let Some(row) = statement.row else { return };
        if statement.arguments.len() < row.words {
            let message = missing_parameter(&statement.keyword.text);
            let finding =
                Diagnostic::error(Code::MissingParameter, Class::MissingParameter, statement.keyword.span, message);
            let finding = finding.refusing().help(format!("write '{} {}'", row.keyword, row.arguments));
            let block = row.kind == Kind::Block;
            self.push(if block { finding.label("the whole block is passed over") } else { finding });
            return;
        }
        self.extra_words(statement, row);
        if row.support != Support::Acted && !switched_off(statement, row) {
            self.unsupported(row, &statement.keyword.text, statement.keyword.span);
        }
        if let Some(Handler(_, read)) =
            tables.iter().flat_map(|table| table.iter()).find(|handler| handler.0 == row.keyword)
        {
            let before = self.errors;
            read(target, self, statement);
            // After an error what was written is not what holds.
            if self.errors == before && row.kind == Kind::Keyword {
                target.places().add(row, statement.place());
                self.ignored_words(statement, row);
            }
        }
    }

    /// The one word after a keyword that names its block. keepalived goes on without a block that has another number of
    /// words there, and says `message`.
    fn block_name<'a>(&mut self, statement: &'a Statement, message: &str) -> Option<&'a Word> {
        let keyword = &statement.keyword;
        let (code, span, label) = match statement.arguments.as_slice() {
            [name] => return Some(name),
            [] => (Code::MissingParameter, keyword.span, "the whole block is passed over"),
            [_, extra, ..] => {
                (Code::ExtraParameter, extra.span, "the name is one word: the whole block is passed over")
            }
        };
        let finding = Diagnostic::error(code, Class::General, span, message).label(label);
        self.push(if code == Code::MissingParameter {
            finding.help(format!("{} NAME {{", keyword.text))
        } else {
            finding
        });
        None
    }

    /// Words after a block's name.
    fn extra_words(&mut self, statement: &Statement, row: &Row) {
        let expected = if row.arguments.starts_with('{') { 0 } else { 1 };
        if row.kind != Kind::Block || expected == 1 && !row.arguments.starts_with("<name>") {
            return;
        }
        // These are passed over with another finding.
        if ["vrrp_instance", "vrrp_sync_group"].contains(&row.keyword) {
            return;
        }
        if let Some(extra) = statement.arguments.get(expected) {
            let words: Vec<_> = statement.arguments.iter().skip(expected).map(|word| word.text.as_str()).collect();
            let message = format!("Block {} has extra parameters {}", statement.keyword.text, words.join(" "));
            self.push(Diagnostic::warning(Code::ExtraParameter, Class::General, extra.span, message));
        }
    }

    /// Words after the value of a keyword, which keepalived passes over without a word.
    fn ignored_words(&mut self, statement: &Statement, row: &Row) {
        let Some(most) = row.most.map(usize::from).filter(|most| statement.arguments.len() > *most) else { return };
        let Some((extra, last)) = statement.arguments.get(most).zip(statement.arguments.last()) else { return };
        let keyword = &statement.keyword.text;
        let takes = if most == 0 { "no value" } else { "one value" };
        // The words may be those of a password.
        let message = format!("'{keyword}' takes {takes}: the rest of the line is passed over");
        let finding = Diagnostic::note(Code::ExtraParameter, extra.span.to(last.span), message);
        let comment = ["//", "/*", "--", ";"].iter().any(|sign| extra.text.starts_with(sign));
        let text = ["<string>", "<name>", "<path>", "<dir>"].contains(&row.arguments);
        self.push(match comment {
            true => {
                let words: Vec<_> = statement.arguments.iter().skip(most).map(|word| word.text.as_str()).collect();
                let words = words.join(" ");
                let words = words.trim_start_matches(['/', '*', '-', ';', ' ']);
                finding.help("a comment starts with '#'").replacement(format!("# {words}"))
            }
            false if most == 0 && value::boolean(&extra.text) == Some(false) => finding
                .label(format!("'{keyword}' is in force all the same"))
                .help("remove the whole line to switch it off"),
            false if text => finding.help("put a value with blanks into double quotes, or remove the rest"),
            false => finding.help("remove it, or write '#' before it if it is a comment"),
        });
    }

    /// Lists one use of a known word that is not acted on; a word inside of what is listed says nothing more.
    fn unsupported(&mut self, row: &Row, keyword: &str, span: Span) {
        let (outer, name) = row.block.rsplit_once('/').unwrap_or(("", row.block));
        if schema().lookup(outer, name).is_some_and(|outer| outer.support != Support::Acted) {
            return;
        }
        let effect = if row.support == Support::None { Effect::None } else { Effect::Traffic };
        self.unsupported.add(row.block, keyword, span, effect);
    }

    /// Lists `word` where its row says that it is not acted on; whether the language knows it at all.
    fn known_option(&mut self, block: &str, word: &str, span: Span) -> bool {
        let Some(row) = schema().lookup(block, word) else {
            return false;
        };
        if row.support != Support::Acted {
            self.unsupported(row, word, span);
        }
        true
    }
}

/// The name of a block whose name is one word and counts once; nothing comes back where the block is passed over.
fn own_name(
    context: &mut Context<'_>,
    statement: &Statement,
    names: &mut HashMap<String, Span>,
    [nameless, kind]: [&str; 2],
    code: Code,
) -> Option<Spanned<String>> {
    let name = context.block_name(statement, nameless)?;
    if let Some(first) = names.get(&name.text) {
        let message = format!("{kind} {} already defined", name.text);
        let finding = Diagnostic::error(code, Class::General, name.span, message).label("this block is ignored");
        let finding = finding.help("give it another name, or remove it");
        context.push(finding.related(*first, "the one that is used"));
        return None;
    }
    names.insert(name.text.clone(), name.span);
    Some(Spanned::new(name.text.clone(), name.span))
}

/// Whether a switch that is off by default is written as off, which is as good as absent.
fn switched_off(statement: &Statement, row: &Row) -> bool {
    let off = statement.arguments.first().is_some_and(|word| value::boolean(&word.text) == Some(false));
    row.arguments == "[<bool>]" && row.default == "off" && off
}

#[cfg(test)]
mod tests;
