//! Tree to typed configuration, one file for each top block.
//!
//! Every block has a table of [`Handler`]s: the words in it are those that are typed. A word without
//! a handler, or whose row says that nothing acts on it yet, is listed as [`Unsupported`].

mod checker;
mod global;
mod instance;
mod script;
mod sync_group;
mod track;
mod value;
mod virtual_server;

use std::collections::HashMap;

use crate::config::{Config, TrackFile, TrackProcess, VirtualAddress, VrrpScript};
use crate::diagnostic::{Class, Code, Diagnostic, Severity};
use crate::preprocess::missing_parameter;
use crate::schema::{Kind, Row, Support, schema};
use crate::setting::Places;
use crate::source::Span;
use crate::tree::Statement;
use crate::{Effect, Unsupported};
use global::Globals;

/// Types a tree.
pub(crate) fn lower(
    root: &[Statement],
    diagnostics: &mut Vec<Diagnostic>,
    unsupported: &mut Vec<Unsupported>,
) -> Config {
    let mut context = Context { diagnostics, unsupported, errors: 0 };
    let mut draft = Draft::default();
    context.visit(&mut draft, root, &[ROOT]);
    let Draft { mut globals, instances, servers, places, mut static_addresses, .. } = draft;
    globals.resolve();
    let groups = sync_group::finish(&mut context, draft.groups, &instances, &globals);
    let vrrp_instances = instance::finish(&mut context, instances, &globals, &groups);
    instance::use_default_interface(&mut static_addresses, &globals);
    let virtual_servers = servers.into_iter().filter_map(|server| server.finish(&mut context, &globals)).collect();
    Config {
        global: globals.defs,
        static_addresses,
        vrrp_scripts: draft.scripts,
        track_files: draft.files,
        track_processes: draft.processes,
        sync_groups: groups.groups,
        vrrp_instances,
        virtual_servers,
        places,
    }
}

/// The blocks of the top level before settings of `global_defs` are applied to them.
#[derive(Debug, Default)]
struct Draft {
    globals: Globals,
    static_addresses: Vec<VirtualAddress>,
    trackables: track::Trackables,
    scripts: Vec<VrrpScript>,
    files: Vec<TrackFile>,
    processes: Vec<TrackProcess>,
    groups: Vec<sync_group::Draft>,
    /// The names of the groups, with where they are given.
    group_names: HashMap<String, Span>,
    instances: Vec<instance::Draft>,
    /// The names of the instances, with where they are given.
    names: HashMap<String, Span>,
    servers: Vec<virtual_server::Draft>,
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
        context.visit(&mut draft.globals, &statement.body, &[global::GLOBAL_DEFS])
    }),
    Handler("static_ipaddress", |draft, context, statement| {
        instance::static_addresses(context, statement, &mut draft.static_addresses, &draft.trackables);
    }),
    Handler("track_group", |draft, _, statement| {
        draft.trackables.groups.extend(statement.arguments.first().map(|word| word.text.clone()));
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
    Handler("bfd_instance", |draft, _, statement| track::bfd(statement, &mut draft.trackables)),
    Handler("vrrp_sync_group", |draft, context, statement| {
        draft.groups.extend(sync_group::read(context, statement, &mut draft.group_names, &draft.trackables));
    }),
    Handler("vrrp_instance", |draft, context, statement| {
        draft.instances.extend(instance::read(context, statement, &mut draft.names, &draft.trackables));
    }),
    Handler("virtual_server", |draft, context, statement| {
        draft.servers.extend(virtual_server::read(context, statement))
    }),
];

/// A block that notes where its keywords were written.
trait Placed {
    fn places(&mut self) -> &mut Places;
}

macro_rules! placed {
    ($type:ty $(, $($field:ident).+)?) => {
        impl super::Placed for $type {
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
    diagnostics: &'a mut Vec<Diagnostic>,
    unsupported: &'a mut Vec<Unsupported>,
    /// Findings so far that something is not used as written.
    errors: usize,
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
    fn visit<T: Placed>(&mut self, target: &mut T, body: &[Statement], tables: &[&[Handler<T>]]) {
        for statement in body {
            let Some(row) = statement.row else { continue };
            if statement.arguments.len() < row.words {
                let message = missing_parameter(&statement.keyword.text);
                let finding =
                    Diagnostic::error(Code::MissingParameter, Class::MissingParameter, statement.keyword.span, message);
                let finding = finding.help(format!("{} {}", row.keyword, row.arguments));
                let block = row.kind == Kind::Block;
                self.push(if block { finding.label("the whole block is passed over") } else { finding });
                continue;
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
                    target.places().add(row, statement.span());
                }
            }
        }
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

    /// Lists one use of a known word that is not acted on; a word inside of what is listed says nothing more.
    fn unsupported(&mut self, row: &Row, keyword: &str, span: Span) {
        let (outer, name) = row.block.rsplit_once('/').unwrap_or(("", row.block));
        if schema().lookup(outer, name).is_some_and(|outer| outer.support != Support::Acted) {
            return;
        }
        let effect = if row.support == Support::None { Effect::None } else { Effect::Traffic };
        self.unsupported.push(Unsupported { keyword: keyword.to_owned(), block: row.block.to_owned(), span, effect });
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

/// Whether a switch that is off by default is written as off, which is as good as absent.
fn switched_off(statement: &Statement, row: &Row) -> bool {
    let off = statement.arguments.first().is_some_and(|word| value::boolean(&word.text) == Some(false));
    row.arguments == "[<bool>]" && row.default == "off" && off
}

#[cfg(test)]
mod tests;
