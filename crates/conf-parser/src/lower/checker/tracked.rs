//! Checkers that follow something else: a tracked file, a BFD session.

use super::{Draft, Server, nothing_follows, unusable};
use crate::config::{BfdCheck, Checker, CheckerKind, CheckerType, FileCheck, FileWeight};
use crate::diagnostic::{Class, Code, Diagnostic};
use crate::lower::value::integer;
use crate::lower::{Context, Handler};
use crate::schema::nearest;
use crate::source::Spanned;
use crate::tree::Statement;

/// A `FILE_CHECK` block as written.
#[derive(Debug, Default)]
pub(in crate::lower) struct FileWords {
    track_file: Option<Spanned<String>>,
    weight: Option<FileWeight>,
    /// A file was named that does not exist: that was reported.
    unknown: bool,
}

/// `FILE_CHECK`.
pub(super) fn read_file(context: &mut Context<'_>, statement: &Statement, checker: Checker, server: Server) -> Checker {
    let mut draft = Draft::<FileWords>::read(context, statement, checker, server, &[FileWords::HANDLERS]);
    let Some(track_file) = draft.kind.track_file.take() else {
        if !draft.kind.unknown {
            let message = "FILE_CHECK has no track_file specified - ignoring";
            unusable(context, statement.keyword.span, message, "write 'track_file NAME' in it");
        }
        return draft.checker;
    };
    let file = context.carried.declared.track_file(&track_file).unwrap_or_default();
    if draft.kind.weight.is_none() {
        draft.checker.places.inherit(CheckerType::File.block(), "weight", file.place);
    }
    let weight = draft.kind.weight.unwrap_or(file.weight);
    draft.make(|_| CheckerKind::File(Box::new(FileCheck { track_file, weight })))
}

impl FileWords {
    pub(in crate::lower) const HANDLERS: &'static [Handler<Draft<Self>>] = &[
        Handler("track_file", |draft, context, statement| {
            let Some(word) = statement.arguments.first() else { return };
            if context.carried.declared.track_file(&word.text).is_some() {
                draft.kind.track_file = Some(Spanned::new(word.text.clone(), word.span));
                return;
            }
            draft.kind.unknown = true;
            let message = format!("track_file {} not found", word.text);
            let finding = Diagnostic::error(Code::BadChecker, Class::General, word.span, message);
            let finding = match &draft.kind.track_file {
                Some(_) => finding,
                None => finding.label("its server counts as down"),
            };
            let near = context.carried.declared.nearest_file(&word.text).map(str::to_owned);
            context.push(match near {
                Some(near) => finding.help(format!("did you mean '{near}'?")).replacement(near),
                None => finding.help("a track_file block of that name must stand before this one"),
            });
        }),
        Handler("weight", |draft, context, statement| {
            let Some((word, options)) = statement.arguments.split_first() else {
                nothing_follows(context, statement, "track file weight missing");
                return;
            };
            let multiplier = match integer(&word.text, &(-i32::MAX..=i32::MAX)) {
                Ok(multiplier) => multiplier,
                Err(wrong) => {
                    let message = "weight for track file must be in [-2147483647..2147483647] inclusive. Ignoring...";
                    context.bad_number(word, wrong, message);
                    return;
                }
            };
            let mut reverse = None;
            for option in options {
                context.known_option("virtual_server/real_server/FILE_CHECK/weight", &option.text, option.span);
                match option.text.as_str() {
                    "reverse" => reverse = Some(true),
                    "noreverse" => reverse = Some(false),
                    text => {
                        let message = format!("unknown track file weight option {text} - ignoring");
                        let finding = Diagnostic::warning(Code::BadWord, Class::General, option.span, message);
                        context.push(match nearest(text, ["reverse", "noreverse"].into_iter()) {
                            Some(near) => finding.help(format!("did you mean '{near}'?")).replacement(near),
                            None => finding.help("reverse or noreverse"),
                        });
                    }
                }
            }
            draft.kind.weight = Some(FileWeight { multiplier, reverse: reverse.unwrap_or(false) });
        }),
    ];
}

/// A `BFD_CHECK` block as written.
#[derive(Debug, Default)]
pub(in crate::lower) struct BfdWords {
    name: Option<Spanned<String>>,
    /// What was written as a name cannot be used: that was reported.
    wrong: bool,
}

/// `BFD_CHECK`; nothing comes back for the second of one session.
pub(super) fn read_bfd(
    context: &mut Context<'_>,
    statement: &Statement,
    checker: Checker,
    server: Server,
    others: &[Checker],
) -> Option<Checker> {
    let tables: &[&[Handler<_>]] = &[BfdWords::HANDLERS, &[Draft::ALPHA]];
    let mut draft = Draft::<BfdWords>::read(context, statement, checker, server, tables);
    let Some(name) = draft.kind.name.take() else {
        if !draft.kind.wrong {
            let message = format!("({}) No name has been specified for BFD_CHECKER - skipping", server.name());
            unusable(context, statement.keyword.span, message, "write 'name BFD_INSTANCE' in it");
        }
        return Some(draft.checker);
    };
    let first = others.iter().find_map(|other| match &other.kind {
        CheckerKind::Bfd(check) if check.name == name => Some(check.name.span),
        _ => None,
    });
    if let Some(first) = first {
        let message = format!("({}) BFD_CHECK - RS already monitoring {}", server.name(), name.value);
        let finding = Diagnostic::error(Code::BadChecker, Class::General, name.span, message);
        context.push(finding.related(first, "first followed here"));
        return None;
    }
    Some(draft.make(|_| CheckerKind::Bfd(Box::new(BfdCheck { name }))))
}

impl BfdWords {
    pub(in crate::lower) const HANDLERS: &'static [Handler<Draft<Self>>] =
        &[Handler("name", |draft, context, statement| {
            let server = draft.server.name();
            let [word] = statement.arguments.as_slice() else {
                draft.kind.wrong = true;
                let message = format!("({server}) BFD_CHECK - No or too many names specified - skipping checker");
                unusable(context, statement.span(), message, "write 'name BFD_INSTANCE'");
                return;
            };
            if let Some(first) = &draft.kind.name {
                let message = format!("({server}) BFD_CHECK - BFD {} already specified as {}", word.text, first.value);
                let finding = Diagnostic::error(Code::BadChecker, Class::General, word.span, message);
                context.push(finding.related(first.span, "first given here"));
                return;
            }
            let message = format!("({server}) BFD_CHECK - BFD {} not configured", word.text);
            let finding = Diagnostic::error(Code::BadChecker, Class::General, word.span, message);
            let finding = finding.label("its server counts as down");
            let finding = match context.carried.declared.bfd_instance(&word.text) {
                Some(session) if session.value => {
                    draft.kind.name = Some(Spanned::new(word.text.clone(), word.span));
                    return;
                }
                Some(session) => finding.related(session.span, "it is for vrrp only: add 'checker' to it"),
                None => match context.carried.declared.nearest_session(&word.text).map(str::to_owned) {
                    Some(near) => finding.help(format!("did you mean '{near}'?")).replacement(near),
                    None => finding.help("a bfd_instance block of that name must stand before this one"),
                },
            };
            draft.kind.wrong = true;
            context.push(finding);
        })];
}
