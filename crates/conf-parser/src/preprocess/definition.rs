//! `$NAME=VALUE` and the references to it.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;

use crate::Options;
use crate::diagnostic::{Class, Code, Diagnostic};
use crate::lexer::{Line, is_blank};
use crate::loader::Loader;
use crate::source::{DefinitionId, Sources, Span};

/// Longest reference with its parameters.
const MAX_REFERENCE: usize = 1024;

/// What a name stands for; references inside it are resolved when it is used.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// Text inside a line.
    Text(Rc<Line<'static>>),
    /// Several lines.
    Lines(Rc<[Line<'static>]>),
}

impl Value {
    pub(super) fn text(line: Line<'_>) -> Self {
        Self::Text(Rc::new(line.into_owned()))
    }
}

/// What a reference comes to.
#[derive(Debug)]
pub(super) enum Reference {
    /// Text to put in its place.
    Text(Text),
    /// Lines to put in its place.
    Lines(DefinitionId, Rc<[Line<'static>]>),
    /// It stays as it is.
    Unresolved(Box<Diagnostic>),
}

/// Text that stands for a reference.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) id: DefinitionId,
    pub(super) value: Rc<Line<'static>>,
    /// What is wrong with the reference nevertheless.
    pub(super) complaint: Option<Box<Diagnostic>>,
}

/// The names that are known.
#[derive(Debug)]
pub(super) struct Definitions {
    values: HashMap<String, (DefinitionId, Value)>,
    directory: DefinitionId,
    random_number: DefinitionId,
    environment: DefinitionId,
    random: u64,
}

impl Definitions {
    pub(super) fn new(options: &Options, sources: &mut Sources) -> Self {
        let built_in = [("_INSTANCE", options.config_id.as_str()), ("_HASH", "#"), ("_BANG", "!")];
        let values = built_in.map(|(name, value)| {
            let value = Value::text(Line::new(value.as_bytes(), Span::default()));
            (name.to_owned(), (sources.define(name, None), value))
        });
        Self {
            values: values.into(),
            directory: sources.define("_PWD", None),
            random_number: sources.define("_RANDOM", None),
            environment: sources.define("_ENV", None),
            random: options.random_seed,
        }
    }

    pub(super) fn set(&mut self, name: String, id: DefinitionId, value: Value) {
        self.values.insert(name, (id, value));
    }

    /// Sets `_PWD` and gives its old value for [`leave_file`](Self::leave_file).
    pub(super) fn enter_file(&mut self, path: &Path) -> Option<(DefinitionId, Value)> {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let value = Value::text(Line::new(directory.as_os_str().as_encoded_bytes(), Span::default()));
        self.values.insert("_PWD".to_owned(), (self.directory, value))
    }

    pub(super) fn leave_file(&mut self, directory: Option<(DefinitionId, Value)>) {
        if let Some(directory) = directory {
            self.values.insert("_PWD".to_owned(), directory);
        }
    }

    /// The first reference at or after `from`, with what it comes to.
    pub(super) fn next_reference(
        &mut self,
        line: &Line<'_>,
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
            let braced = line.text().get(at + 1) == Some(&b'{');
            let last = || line.part(range.end..line.text().len()).iter().all(|byte| is_blank(*byte));
            let reason = match self.values.get(&name) {
                Some((id, Value::Text(value))) if parameters.is_empty() => {
                    let text = Text { id: *id, value: Rc::clone(value), complaint: None };
                    return Some((range, Reference::Text(text)));
                }
                Some((id, Value::Lines(lines))) if parameters.is_empty() && last() => {
                    return Some((range, Reference::Lines(*id, Rc::clone(lines))));
                }
                Some((_, Value::Lines(_))) if parameters.is_empty() => {
                    format!("the definition '{name}' has several lines and is used only at the end of a line")
                }
                Some(_) => format!("the definition '{name}' takes no parameters, the text stays as it is"),
                None => match self.computed(&name, &parameters, line.own_span(range.clone()), loader) {
                    Some(Ok(text)) => return Some((range, Reference::Text(text))),
                    Some(Err(wrong)) => format!("'{name}' {wrong}, the text stays as it is"),
                    None if !braced => {
                        at = range.end;
                        continue;
                    }
                    None => format!("the definition '{name}' is not known, the text stays as it is"),
                },
            };
            let span = line.own_span(range.clone());
            let finding = Diagnostic::warning(Code::BadReference, Class::Notice, span, reason);
            let finding = match self.values.contains_key(&name) || name.starts_with('_') {
                true => finding,
                false => finding.help(format!("define it above this line: ${name}=VALUE")),
            };
            return Some((range, Reference::Unresolved(Box::new(finding))));
        }
    }

    /// The value of a name that takes parameters; what is wrong with them.
    fn computed(
        &mut self,
        name: &str,
        parameters: &[String],
        span: Span,
        loader: &dyn Loader,
    ) -> Option<Result<Text, &'static str>> {
        let text = |id, value: String, complaint| {
            let value = Rc::new(Line::new(value.as_bytes(), span).into_owned());
            Some(Ok(Text { id, value, complaint }))
        };
        match (name, parameters) {
            ("_ENV", [variable]) => text(self.environment, loader.environment(variable).unwrap_or_default(), None),
            ("_ENV", _) => Some(Err("takes the name of one variable")),
            ("_RANDOM", parameters) => {
                let Some((min, max)) = bounds(parameters) else {
                    return Some(Err("takes at most two whole numbers up to 4294967295"));
                };
                let complaint = (min > max).then(|| {
                    let message = format!("_RANDOM has a least number of {min} above its most, {max}: {min} is used");
                    Box::new(Diagnostic::error(Code::BadReference, Class::General, span, message))
                });
                text(self.random_number, self.random(min, max).to_string(), complaint)
            }
            _ => None,
        }
    }

    /// A number of `min..=max`.
    fn random(&mut self, min: u64, max: u64) -> u64 {
        // SplitMix64 (Steele, Lea, Flood 2014).
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        if min > max { min } else { min + mixed % (max - min + 1) }
    }
}

/// The bounds of `_RANDOM [min [max]]`, both ends included.
fn bounds(parameters: &[String]) -> Option<(u64, u64)> {
    let number = |at: usize, default: u64| {
        let digits = |text: &String| text.parse::<u32>().ok().filter(|_| !text.starts_with('+'));
        parameters.get(at).map_or(Some(default), |text| digits(text).map(u64::from))
    };
    Some((number(0, 0)?, number(1, 32767)?)).filter(|_| parameters.len() <= 2)
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
pub(super) fn definition<'l>(line: &Line<'l>) -> Option<(String, Line<'l>)> {
    let rest = line.text().strip_prefix(b"$")?;
    let length = name_len(rest);
    if length == 0 || rest.get(length) != Some(&b'=') {
        return None;
    }
    Some((text(rest.get(..length)?), line.slice(length + 2..line.text().len()).trimmed()))
}

/// The line without its final `\`, and whether there was one.
pub(super) fn continued(line: Line<'_>) -> (Line<'_>, bool) {
    match line.text().strip_suffix(b"\\") {
        Some(before) => (line.slice(0..before.len()).trimmed(), true),
        None => (line, false),
    }
}

/// Name, parameters and extent of the reference whose `$` is at `at`.
fn reference_at(line: &Line<'_>, at: usize) -> Option<(String, Vec<String>, Range<usize>)> {
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
