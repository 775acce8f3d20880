//! `include` and its checks.

use std::path::{Component, Path, PathBuf};

use super::Reader;
use crate::config::IncludeCheck;
use crate::diagnostic::{Class, Code, Diagnostic};
use crate::lexer::{Line, Word, is_blank, words};
use crate::loader::LoadError;
use crate::source::{Span, Spanned};

/// Longest pattern of one include, as long as a path may be.
const MAX_PATTERN: usize = 4096;

/// Most steps in taking the braces of one pattern apart.
const MAX_STEPS: usize = 4096;

impl IncludeCheck {
    /// The checks that an include directive asks for; nothing if the word is none.
    pub(super) fn of_directive(self, keyword: &str) -> Option<Self> {
        let read = Self { read: true, ..self };
        Some(match keyword {
            "include" => self,
            "includer" => read,
            "includem" => Self { matching: true, ..read },
            "includew" => Self { matching: true, wildcard: true, ..read },
            "includeb" => Self { brace: true, ..read },
            "includea" => Self::ALL,
            _ => return None,
        })
    }

    /// Applies the words of an `include_check` line.
    pub(super) fn change(&mut self, words: &[Word]) -> Vec<Diagnostic> {
        let mut findings = Vec::new();
        if words.is_empty() {
            *self = Self::ALL;
        }
        for (at, word) in words.iter().enumerate() {
            let (sign, name) = match word.text.split_at_checked(1) {
                Some((sign @ ("+" | "-"), name)) => (Some(sign), name),
                _ => (None, word.text.as_str()),
            };
            if at > 0 && sign.is_none() {
                let message = format!("Duplicate include_check '{name}' specified - ignoring");
                let finding = Diagnostic::error(Code::ExtraParameter, Class::General, word.span, message);
                findings.push(finding.help(format!("write +{name}: only the first word may lack a sign")));
                continue;
            }
            let mut next = if sign.is_some() { *self } else { Self::default() };
            let flag = match name {
                // The manual says `readable`.
                "read" | "readable" => &mut next.read,
                "match" => &mut next.matching,
                "wildcard_match" => &mut next.wildcard,
                "brace_match" => &mut next.brace,
                _ => {
                    findings.push(
                        Diagnostic::error(
                            Code::BadWord,
                            Class::General,
                            word.span,
                            format!("Unknown include_check type '{name}' - ignoring"),
                        )
                        .help("one of read, match, wildcard_match, brace_match"),
                    );
                    continue;
                }
            };
            *flag = sign != Some("-");
            next.read |= sign.is_none();
            *self = next;
        }
        findings
    }
}

impl Reader<'_> {
    /// Acts on an `include…` line; whether it is one.
    pub(super) fn directive(&mut self, line: &Line<'_>) -> bool {
        let end = line.text().iter().position(|byte| is_blank(*byte)).unwrap_or(line.text().len());
        let keyword = String::from_utf8_lossy(line.part(0..end)).into_owned();
        let all = line.text().len();
        if keyword == "include_check" {
            let arguments: Vec<_> = words(line, end..all).map(|cut| Word::new(line, cut)).collect();
            let findings = self.checks.change(&arguments);
            if self.stack.len() == 1 && findings.is_empty() {
                self.include_check = Some(Spanned::new(self.checks, line.whole()));
            }
            self.diagnostics.extend(findings);
            return true;
        }
        let Some(checks) = self.checks.of_directive(&keyword) else { return false };
        // The pattern is the whole rest of the line, blanks and quotes included.
        let start = end + line.part(end..all).iter().take_while(|byte| is_blank(**byte)).count();
        if start < all {
            let pattern = String::from_utf8_lossy(line.part(start..all)).into_owned();
            self.include(&pattern, line.span(start..all), checks);
        } else {
            let message = format!("Unknown keyword '{keyword}'");
            let finding = Diagnostic::error(Code::MissingParameter, Class::UnknownKeyword, line.whole(), message);
            self.diagnostics.push(finding.label("the name of a file is missing").help(format!("{keyword} <pattern>")));
        }
        true
    }

    /// Reads the files that match `pattern`.
    fn include(&mut self, pattern: &str, span: Span, checks: IncludeCheck) {
        if self.stack.len() > self.limits().include_depth {
            self.stop(Some(span), "includes too deep inside each other");
            return;
        }
        let Some(patterns) = Some(pattern).filter(|text| text.len() <= MAX_PATTERN).and_then(alternatives) else {
            self.diagnostics.push(Diagnostic::error(
                Code::LimitReached,
                Class::General,
                span,
                "the pattern is too long or has too many alternatives in braces - ignoring",
            ));
            return;
        };
        let several = patterns.len() > 1;
        let mut found = false;
        for alternative in &patterns {
            let matched = self.include_pattern(alternative, span, checks);
            found |= matched;
            if !matched && several && checks.brace {
                self.missing(alternative, span, true);
            }
        }
        let told = several && checks.brace;
        if !found && !told {
            self.missing(pattern, span, if has_wildcard(pattern) { checks.wildcard } else { checks.matching });
        }
    }

    /// Reads what one pattern matches; whether it matches anything.
    fn include_pattern(&mut self, pattern: &str, span: Span, checks: IncludeCheck) -> bool {
        let base = self.stack.last().and_then(|file| file.parent()).unwrap_or(Path::new(""));
        let full = base.join(pattern);
        let paths = if has_wildcard(pattern) {
            self.loader.glob(&full.to_string_lossy()).unwrap_or_default()
        } else {
            vec![full]
        };
        let mut found = false;
        for path in paths {
            if self.stopped {
                return true;
            }
            found |= self.include_file(&path, span, checks);
        }
        found
    }

    fn include_file(&mut self, path: &Path, span: Span, checks: IncludeCheck) -> bool {
        if let Some(outer) = self.stack.iter().position(|outer| normal(outer) == normal(path)) {
            let through = if outer + 1 == self.stack.len() { "itself" } else { "itself through others" };
            let message = format!("'{}' includes {through} - ignoring", path.display());
            let finding = Diagnostic::error(Code::IncludeLoop, Class::General, span, message);
            self.diagnostics.push(finding.help("remove this line: what it includes is read already"));
            return true;
        }
        match self.loader.load(path) {
            Ok(bytes) => {
                self.file(path, bytes, Some(span));
                true
            }
            Err(LoadError::NotFound) => false,
            Err(error) => {
                let message = format!("Configuration file '{}' open problem ({error}) - skipping", path.display());
                let class = if checks.read { Class::FileNotFound } else { Class::Notice };
                let finding = Diagnostic::error(Code::FileUnreadable, class, span, message);
                self.diagnostics.push(if checks.read { finding.refusing() } else { finding });
                true
            }
        }
    }

    fn missing(&mut self, pattern: &str, span: Span, required: bool) {
        let message = if has_wildcard(pattern) {
            format!("No config files matched '{pattern}'.")
        } else {
            format!("Config files missing '{pattern}'.")
        };
        let finding = if required {
            Diagnostic::error(Code::IncludeMissing, Class::FileNotFound, span, message).refusing()
        } else if has_wildcard(pattern) {
            // An empty directory of parts is usual.
            let finding = Diagnostic::note(Code::IncludeMissing, span, message);
            return self.diagnostics.push(finding);
        } else {
            Diagnostic::warning(Code::IncludeMissing, Class::Notice, span, message)
        };
        self.diagnostics.push(finding.help(if pattern.starts_with('"') {
            "remove the quotes: they count as part of the name"
        } else {
            "create the file or correct its name, which starts at the directory of this file unless it starts with '/'"
        }));
    }
}

fn has_wildcard(pattern: &str) -> bool {
    pattern.contains(['*', '?', '['])
}

pub(crate) fn missing_parameter(keyword: &str) -> String {
    format!(
        "*** Configuration line starting `{keyword}` is missing a parameter after keyword `{keyword}` at word position 2"
    )
}

/// The path without `.` and `..`, as far as that can be told without looking.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(normal.components().next_back(), Some(Component::Normal(_))) => {
                normal.pop();
            }
            part => normal.push(part),
        }
    }
    normal
}

/// `a{b,c}d` as `abd` and `acd`; nothing if there are too many.
fn alternatives(pattern: &str) -> Option<Vec<String>> {
    let mut done = Vec::new();
    let mut waiting = vec![pattern.to_owned()];
    for _ in 0..MAX_STEPS {
        let Some(pattern) = waiting.pop() else {
            return Some(done);
        };
        match first_braces(&pattern) {
            Some((before, choices, after)) => {
                waiting.extend(choices.iter().rev().map(|choice| format!("{before}{choice}{after}")));
            }
            None => done.push(pattern),
        }
    }
    None
}

/// What stands before the first braces, the choices inside them, and what follows.
fn first_braces(pattern: &str) -> Option<(&str, Vec<&str>, &str)> {
    let open = pattern.find('{')?;
    let (mut depth, mut start, mut choices) = (0, open + 1, Vec::new());
    for (at, byte) in pattern.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 || depth == 1 && byte == b',' {
            choices.push(pattern.get(start..at)?);
            start = at + 1;
        }
        if depth == 0 {
            return Some((pattern.get(..open)?, choices, pattern.get(at + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_give_alternatives() {
        assert_eq!(alternatives("a").unwrap(), ["a"]);
        assert_eq!(alternatives("a{b,c}d").unwrap(), ["abd", "acd"]);
        assert_eq!(alternatives("{a,b{c,d}}").unwrap(), ["a", "bc", "bd"]);
        assert_eq!(alternatives("a}{b").unwrap(), ["a}{b"]);
        assert_eq!(alternatives(&"{a,b}".repeat(40)), None);
    }

    #[test]
    fn paths_are_compared_without_detours() {
        assert_eq!(normal(Path::new("a/./b/../c")), Path::new("a/c"));
        assert_eq!(normal(Path::new("../a")), Path::new("../a"));
    }
}
