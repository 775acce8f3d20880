//! The effective configuration as JSON; `docs/config-json.md` describes its shape.

use std::collections::HashMap;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{Scalar, Setting};
use crate::source::{Expanded, Location, Sources, Span};

/// `settings` for a serialiser: an object of the keywords of the top level, each with its value and where it comes from.
///
/// With `secrets`, passwords are in it as they are.
///
/// ```
/// use conf_parser::{MemoryLoader, Options, parse, setting};
/// use std::path::Path;
///
/// let loader = MemoryLoader::new([("k.conf", "global_defs {\n router_id lb1\n}\n")]);
/// let parsed = parse(&loader, Path::new("k.conf"), &Options::default());
/// let settings = parsed.config.settings();
/// let json = serde_json::to_value(setting::json(&settings, &parsed.sources, false)).unwrap();
/// assert_eq!(json["global_defs"]["router_id"]["value"], "lb1");
/// assert_eq!(json["global_defs"]["router_id"]["from"]["line"], 2);
/// assert_eq!(json["global_defs"]["vrrp_version"]["from"], "default");
/// ```
pub fn json<'a>(settings: &'a [Setting], sources: &'a Sources, secrets: bool) -> Json<'a> {
    Json { settings, style: Style { sources, secrets } }
}

/// See [`json`].
#[derive(Debug, Clone, Copy)]
pub struct Json<'a> {
    settings: &'a [Setting],
    style: Style<'a>,
}

#[derive(Debug, Clone, Copy)]
struct Style<'a> {
    sources: &'a Sources,
    secrets: bool,
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.style.keywords(self.settings, &mut map)?;
        map.end()
    }
}

impl Style<'_> {
    /// One member for each keyword, in the order in which they first stand.
    fn keywords<M: SerializeMap>(self, settings: &[Setting], map: &mut M) -> Result<(), M::Error> {
        let mut groups: Vec<(&'static str, Vec<&Setting>)> = Vec::new();
        let mut index = HashMap::new();
        for setting in settings {
            let at = *index.entry(setting.keyword()).or_insert_with(|| {
                groups.push((setting.keyword(), Vec::new()));
                groups.len() - 1
            });
            if let Some((_, group)) = groups.get_mut(at) {
                group.push(setting);
            }
        }
        for (keyword, group) in groups {
            let lines: Vec<_> = group.iter().map(|setting| Line { setting, style: self }).collect();
            match lines.as_slice() {
                [line] if !line.setting.row.is_some_and(|row| row.repeats()) => map.serialize_entry(keyword, line)?,
                // A block or line that may be repeated and is not there at all.
                [line] if !line.setting.set => map.serialize_entry::<_, [Line<'_>]>(keyword, &[])?,
                lines => map.serialize_entry(keyword, lines)?,
            }
        }
        Ok(())
    }
}

/// One line of the configuration, with its block.
struct Line<'a> {
    setting: &'a Setting,
    style: Style<'a>,
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { setting, style } = self;
        let mut map = serializer.serialize_map(None)?;
        let words: Vec<_> = setting.words.iter().map(|word| Word(word, style.secrets)).collect();
        match &setting.body {
            None => {
                match words.as_slice() {
                    [] if setting.row.is_some_and(|row| row.is_flag()) => map.serialize_entry("value", &setting.set)?,
                    [] => map.serialize_entry("value", &setting.set.then_some(true))?,
                    [word] => map.serialize_entry("value", word)?,
                    words => map.serialize_entry("value", words)?,
                }
                map.serialize_entry("from", &From(setting.written, style.sources))?;
            }
            Some(body) => {
                if !words.is_empty() {
                    let name: Vec<_> = setting.words.iter().map(|word| word.shown(style.secrets)).collect();
                    map.serialize_entry("name", &name.join(" "))?;
                    map.serialize_entry("words", &words)?;
                }
                map.serialize_entry("from", &From(setting.written, style.sources))?;
                if body.iter().any(|line| line.row.is_none()) {
                    let entries: Vec<_> = body.iter().map(|setting| Line { setting, style: *style }).collect();
                    map.serialize_entry("entries", &entries)?;
                } else {
                    style.keywords(body, &mut map)?;
                }
            }
        }
        map.end()
    }
}

/// One word, as a number where it is one, and whether a password is shown.
struct Word<'a>(&'a Scalar, bool);

impl Serialize for Word<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Scalar::Bool(on) => serializer.serialize_bool(*on),
            Scalar::Integer(number) => serializer.serialize_i64(*number),
            Scalar::Millionths(number) if number % 1_000_000 == 0 => serializer.serialize_u64(number / 1_000_000),
            #[expect(clippy::cast_precision_loss, reason = "51 bits of it are far beyond any time in a configuration")]
            Scalar::Millionths(number) => serializer.serialize_f64(*number as f64 / 1e6),
            Scalar::Text(text) | Scalar::Pattern(text) => serializer.serialize_str(text),
            Scalar::Script(words) => words.serialize(serializer),
            Scalar::Secret(bytes) if self.1 => serializer.serialize_str(&String::from_utf8_lossy(bytes)),
            Scalar::Secret(_) => serializer.serialize_none(),
        }
    }
}

/// Where a line comes from.
struct From<'a>(Option<Span>, &'a Sources);

impl Serialize for From<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(span, sources) = *self;
        let Some(trace) = span.and_then(|span| sources.trace(span)) else {
            return serializer.serialize_str("default");
        };
        let mut map = serializer.serialize_map(None)?;
        serialize_place(&mut map, &trace.location)?;
        if !trace.expansions.is_empty() {
            let definitions: Vec<_> = trace.expansions.iter().map(|expanded| Definition(expanded, sources)).collect();
            map.serialize_entry("definitions", &definitions)?;
        }
        if !trace.includes.is_empty() {
            let includes: Vec<_> = trace.includes.iter().map(Place).collect();
            map.serialize_entry("includes", &includes)?;
        }
        map.end()
    }
}

fn serialize_place<M: SerializeMap>(map: &mut M, place: &Location<'_>) -> Result<(), M::Error> {
    map.serialize_entry("file", &place.path.display().to_string())?;
    map.serialize_entry("line", &place.line)?;
    map.serialize_entry("column", &place.column)
}

/// A place alone.
struct Place<'a>(&'a Location<'a>);

impl Serialize for Place<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        serialize_place(&mut map, self.0)?;
        map.end()
    }
}

/// A definition, or one round of a repetition, with where it was defined.
struct Definition<'a>(&'a Expanded<'a>, &'a Sources);

impl Serialize for Definition<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(expanded, sources) = *self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", expanded.name)?;
        if let Some(round) = expanded.round {
            map.serialize_entry("round", &round)?;
        }
        if let Some(place) = expanded.defined.and_then(|span| sources.location(span)) {
            serialize_place(&mut map, &place)?;
        }
        map.end()
    }
}
