//! What checkers refer to: tracked files and BFD sessions, which must stand before them.

use std::collections::HashMap;

use crate::config::FileWeight;
use crate::lexer::Word;
use crate::lower::value::integer;
use crate::schema::nearest;
use crate::source::{Span, Spanned};
use crate::tree::Statement;

/// The names that were declared so far.
#[derive(Debug, Default)]
pub(in crate::lower) struct Declared {
    track_files: HashMap<String, TrackFile>,
    /// Each with whether the checkers hear of it.
    bfd_instances: HashMap<String, Spanned<bool>>,
}

/// A tracked file, as far as checkers take over from it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TrackFile {
    /// Its `weight`.
    pub(super) weight: FileWeight,
    /// Where that is written.
    pub(super) place: Option<Span>,
}

impl Declared {
    /// Takes note of a block of the top level; of several with one name the first counts.
    pub(in crate::lower) fn add(&mut self, statement: &Statement) {
        let Some(name) = statement.arguments.first() else { return };
        match statement.keyword.text.as_str() {
            "track_file" | "vrrp_track_file" => {
                self.track_files.entry(name.text.clone()).or_insert_with(|| track_file(statement));
            }
            "bfd_instance" => {
                let has = |word| statement.body.iter().any(|line| line.keyword.text == word);
                let session = Spanned::new(has("checker") || !has("vrrp"), name.span);
                self.bfd_instances.entry(name.text.clone()).or_insert(session);
            }
            _ => {}
        }
    }

    pub(super) fn track_file(&self, name: &str) -> Option<TrackFile> {
        self.track_files.get(name).copied()
    }

    /// The tracked file whose name is most like `name`.
    pub(super) fn nearest_file(&self, name: &str) -> Option<&str> {
        nearest(name, self.track_files.keys().map(String::as_str))
    }

    pub(super) fn bfd_instance(&self, name: &str) -> Option<Spanned<bool>> {
        self.bfd_instances.get(name).cloned()
    }

    /// The session whose name is most like `name`.
    pub(super) fn nearest_session(&self, name: &str) -> Option<&str> {
        nearest(name, self.bfd_instances.keys().map(String::as_str))
    }
}

fn track_file(statement: &Statement) -> TrackFile {
    let weights = statement.body.iter().filter(|line| line.keyword.text == "weight");
    let read = |line: &Statement| {
        let multiplier = integer(&line.arguments.first()?.text, &(-254..=254)).ok()?;
        let reverse = line.arguments.get(1).is_some_and(|word: &Word| word.text == "reverse");
        Some(TrackFile { weight: FileWeight { multiplier, reverse }, place: Some(line.span()) })
    };
    weights.filter_map(|line| read(&line)).next().unwrap_or_default()
}
