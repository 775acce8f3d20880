//! `$NAME=VALUE` and the references to it.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use crate::Options;
use crate::diagnostic::{Class, Code, Diagnostic};
use crate::lexer::{Line, is_blank};
use crate::loader::Loader;

/// Longest reference with its parameters.
const MAX_REFERENCE: usize = 1024;

/// What a name stands for; references inside it are resolved when it is used.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// Text inside a line.
    Text(Vec<u8>),
    /// Several lines.
    Lines(Vec<Line>),
}

/// What a reference comes to.
#[derive(Debug)]
pub(super) enum Reference {
    /// Text to put in its place.
    Text(Vec<u8>),
    /// Lines to put in its place.
    Lines(Vec<Line>),
    /// It stays as it is.
    Unresolved(Box<Diagnostic>),
}

/// The names that are known.
#[derive(Debug)]
pub(super) struct Definitions {
    values: HashMap<String, Value>,
    random: u64,
}

impl Definitions {
    pub(super) fn new(options: &Options) -> Self {
        let built_in = [("_INSTANCE", options.config_id.as_str()), ("_HASH", "#"), ("_BANG", "!")];
        let values = built_in.into_iter().map(|(name, value)| (name.to_owned(), Value::Text(value.into()))).collect();
        Self { values, random: options.random_seed }
    }

    pub(super) fn set(&mut self, name: String, value: Value) {
        self.values.insert(name, value);
    }

    /// Sets `_PWD` and gives its old value for [`leave_file`](Self::leave_file).
    pub(super) fn enter_file(&mut self, path: &Path) -> Option<Value> {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        self.values.insert("_PWD".to_owned(), Value::Text(directory.as_os_str().as_encoded_bytes().to_vec()))
    }

    pub(super) fn leave_file(&mut self, directory: Option<Value>) {
        if let Some(directory) = directory {
            self.values.insert("_PWD".to_owned(), directory);
        }
    }

    /// The first reference at or after `from`, with what it comes to.
    pub(super) fn next_reference(
        &mut self,
        line: &Line,
        from: usize,
        loader: &dyn Loader,
    ) -> Option<(Range<usize>, Reference)> {
        let mut at = from;
        loop {
            at += line.part(at..line.text().len()).iter().position(|byte| *byte == b'$')?;
            let Some((name, parameters, range)) = reference_at(line, at) else {
                at += 1;
                continue;
            };
            let last = line.part(range.end..line.text().len()).iter().all(|byte| is_blank(*byte));
            let braced = line.text().get(at + 1) == Some(&b'{');
            return Some(match self.resolve(&name, &parameters, loader) {
                Some(Value::Text(text)) => (range, Reference::Text(text)),
                Some(Value::Lines(lines)) if last => (range, Reference::Lines(lines)),
                None if !braced => {
                    at = range.end;
                    continue;
                }
                Some(Value::Lines(_)) => unresolved(
                    line,
                    range,
                    format!("the definition '{name}' has several lines and is used only at the end of a line"),
                ),
                None => unresolved(
                    line,
                    range,
                    format!("the definition '{name}' is not known or has wrong parameters, the text stays as it is"),
                ),
            });
        }
    }

    fn resolve(&mut self, name: &str, parameters: &[String], loader: &dyn Loader) -> Option<Value> {
        match (self.values.get(name), name, parameters) {
            (Some(value), _, []) => Some(value.clone()),
            (None, "_RANDOM", parameters) => {
                self.random(parameters).map(|number| Value::Text(number.to_string().into_bytes()))
            }
            (None, "_ENV", [variable]) => {
                Some(Value::Text(loader.environment(variable).unwrap_or_default().into_bytes()))
            }
            _ => None,
        }
    }

    /// A number of `_RANDOM [min [max]]`, both ends included.
    fn random(&mut self, parameters: &[String]) -> Option<u64> {
        let number = |at: usize, default: u64| {
            parameters.get(at).map_or(Some(default), |text| text.parse::<u32>().ok().map(u64::from))
        };
        let (min, max) = (number(0, 0)?, number(1, 32767)?);
        if parameters.len() > 2 {
            return None;
        }
        // SplitMix64 (Steele, Lea, Flood 2014).
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        Some(if min > max { min } else { min + mixed % (max - min + 1) })
    }
}

fn unresolved(line: &Line, range: Range<usize>, message: String) -> (Range<usize>, Reference) {
    let finding = Diagnostic::warning(Code::BadReference, Class::Notice, line.span(range.clone()), message);
    (range, Reference::Unresolved(Box::new(finding)))
}

/// Length of a name at the start of `text`: `[A-Za-z_][A-Za-z0-9_]*`.
pub(super) fn name_len(text: &[u8]) -> usize {
    if text.first().is_none_or(u8::is_ascii_digit) {
        return 0;
    }
    text.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Name and value if the line is a definition.
pub(super) fn definition(line: &Line) -> Option<(String, Line)> {
    let rest = line.text().strip_prefix(b"$")?;
    let length = name_len(rest);
    if length == 0 || rest.get(length) != Some(&b'=') {
        return None;
    }
    Some((text(rest.get(..length)?), line.slice(length + 2..line.text().len()).trimmed()))
}

/// The line without its final `\`, and whether there was one.
pub(super) fn continued(line: &Line) -> (Line, bool) {
    match line.text().strip_suffix(b"\\") {
        Some(before) => (line.slice(0..before.len()).trimmed(), true),
        None => (line.clone(), false),
    }
}

/// Name, parameters and extent of the reference whose `$` is at `at`.
fn reference_at(line: &Line, at: usize) -> Option<(String, Vec<String>, Range<usize>)> {
    let rest = line.part(at + 1..line.text().len());
    if let Some(inner) = rest.strip_prefix(b"{") {
        let length = inner.iter().take(MAX_REFERENCE).position(|byte| *byte == b'}')?;
        let inner = inner.get(..length)?;
        let name = name_len(inner);
        let parameters = inner.get(name..)?;
        if name == 0 || !parameters.first().is_none_or(|byte| is_blank(*byte)) {
            return None;
        }
        let parameters = parameters.split(|byte| is_blank(*byte)).filter(|word| !word.is_empty()).map(text).collect();
        return Some((text(inner.get(..name)?), parameters, at..at + length + 3));
    }
    let length = name_len(rest);
    let ends = rest.get(length).is_none_or(|byte| is_blank(*byte) || matches!(byte, b',' | b')'));
    (length > 0 && ends).then(|| (text(rest.get(..length).unwrap_or_default()), Vec::new(), at..at + 1 + length))
}
