//! `include` and its checks.

use std::path::{Component, Path, PathBuf};

use super::Reader;
use crate::config::IncludeCheck;
use crate::diagnostic::{Class, Code, Diagnostic};
use crate::lexer::Word;
use crate::loader::LoadError;
use crate::source::Span;

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
        for word in words {
            let (sign, name) = match word.text.split_at_checked(1) {
                Some((sign @ ("+" | "-"), name)) => (Some(sign), name),
                _ => (None, word.text.as_str()),
            };
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
                            format!("Unknown include_check type {name}"),
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
    /// Reads the files that an include line names.
    pub(super) fn include(&mut self, keyword: &Word, arguments: &[Word], checks: IncludeCheck) {
        let Some(pattern) = arguments.first() else {
            let finding = Diagnostic::error(
                Code::MissingParameter,
                Class::MissingParameter,
                keyword.span,
                missing_parameter(&keyword.text),
            );
            self.diagnostics.push(finding);
            return;
        };
        if self.stack.len() > self.limits().include_depth {
            self.stop(Some(pattern.span), "includes too deep inside each other");
            return;
        }
        let short = Some(&pattern.text).filter(|text| text.len() <= MAX_PATTERN);
        let Some(patterns) = short.and_then(|text| alternatives(text)) else {
            self.diagnostics.push(Diagnostic::error(
                Code::LimitReached,
                Class::General,
                pattern.span,
                "the pattern is too long or has too many alternatives in braces - ignoring",
            ));
            return;
        };
        let several = patterns.len() > 1;
        let mut found = false;
        for alternative in &patterns {
            let matched = self.include_pattern(alternative, pattern.span, checks);
            found |= matched;
            if !matched && several && checks.brace {
                self.missing(alternative, pattern.span, true);
            }
        }
        if !found {
            let wildcard = pattern.text.contains(['*', '?', '[']);
            self.missing(&pattern.text, pattern.span, if wildcard { checks.wildcard } else { checks.matching });
        }
    }

    /// Reads what one pattern matches; whether it matches anything.
    fn include_pattern(&mut self, pattern: &str, span: Span, checks: IncludeCheck) -> bool {
        let base = self.stack.last().and_then(|file| file.parent()).unwrap_or(Path::new(""));
        let full = base.join(pattern);
        let paths = if pattern.contains(['*', '?', '[']) {
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
            self.diagnostics.push(Diagnostic::error(Code::IncludeLoop, Class::General, span, message));
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
                let class = if checks.read { Class::FileNotFound } else { Class::General };
                let finding = Diagnostic::error(Code::FileUnreadable, class, span, message);
                self.diagnostics.push(if checks.read { finding.refusing() } else { finding });
                true
            }
        }
    }

    fn missing(&mut self, pattern: &str, span: Span, required: bool) {
        let message = format!("Config files missing '{pattern}'.");
        self.diagnostics.push(if required {
            Diagnostic::error(Code::IncludeMissing, Class::FileNotFound, span, message).refusing()
        } else if pattern.contains(['*', '?', '[']) {
            // An empty directory of parts is usual.
            Diagnostic::note(Code::IncludeMissing, span, message)
        } else {
            Diagnostic::warning(Code::IncludeMissing, Class::Notice, span, message)
        });
    }
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
