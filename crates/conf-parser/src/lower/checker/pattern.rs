//! Mistakes in patterns that show without compiling them: brackets, classes, repeats of nothing.
//!
//! PCRE2 has the last word. What is reported here it refuses too; what passes here may still be wrong.

use crate::config::{RegexOption, RegexOptions};

/// What is wrong with a pattern, in PCRE2's words.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Where, in bytes.
    pub(super) at: usize,
    pub(super) what: &'static str,
}

/// Looks `pattern` through.
pub(super) fn check(pattern: &str, options: RegexOptions) -> Result<(), Fault> {
    // With comments and free white space only a full reader of the syntax could tell.
    if options.contains(RegexOption::Extended) || pattern.contains("(?x") || pattern.contains("(?-") {
        return Ok(());
    }
    let mut reader = Reader { text: pattern, at: 0, open: 0, nothing: true, options };
    while let Some(character) = reader.next() {
        reader.read(character)?;
    }
    match reader.open {
        0 => Ok(()),
        _ => Err(reader.fault(pattern.len(), "missing closing parenthesis")),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// Parentheses that wait to be closed.
    open: usize,
    /// Nothing that could be repeated came before.
    nothing: bool,
    options: RegexOptions,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn next(&mut self) -> Option<char> {
        let character = self.rest().chars().next()?;
        self.at += character.len_utf8();
        Some(character)
    }

    /// Moves behind `end`, or to the end of the text where there is none.
    fn skip_past(&mut self, end: &str) -> bool {
        let found = self.rest().find(end);
        self.at = found.map_or(self.text.len(), |found| self.at + found + end.len());
        found.is_some()
    }

    fn fault(&self, at: usize, what: &'static str) -> Fault {
        Fault { at, what }
    }

    fn read(&mut self, character: char) -> Result<(), Fault> {
        let nothing = std::mem::replace(&mut self.nothing, false);
        match character {
            '\\' => self.escape()?,
            '[' => self.class()?,
            '(' => self.group()?,
            ')' => {
                let at = self.at - 1;
                self.open = self.open.checked_sub(1).ok_or(Fault { at, what: "unmatched closing parenthesis" })?;
            }
            '|' => self.nothing = true,
            '*' | '+' | '?' if nothing => {
                return Err(self.fault(self.at - 1, "quantifier does not follow a repeatable item"));
            }
            _ => {}
        }
        Ok(())
    }

    fn escape(&mut self) -> Result<(), Fault> {
        match self.next() {
            Some('Q') => {
                self.skip_past("\\E");
            }
            // Nothing that could be repeated, though it may have something before it.
            Some(_) => {}
            None => return Err(self.fault(self.text.len(), "\\ at end of pattern")),
        }
        Ok(())
    }

    fn class(&mut self) -> Result<(), Fault> {
        if self.rest().starts_with('^') {
            self.at += 1;
        }
        if self.rest().starts_with(']') {
            self.at += 1;
            if self.options.contains(RegexOption::AllowEmptyClass) {
                return Ok(());
            }
        }
        while let Some(character) = self.next() {
            match character {
                ']' => return Ok(()),
                '\\' => self.escape()?,
                '[' if self.rest().starts_with([':', '.', '=']) => self.skip_name(),
                _ => {}
            }
        }
        Err(self.fault(self.text.len(), "missing terminating ] for character class"))
    }

    /// `[:alpha:]` in a class.
    fn skip_name(&mut self) {
        let Some(mark) = self.next() else { return };
        let name = self.rest().find(|character: char| !character.is_ascii_alphabetic() && character != '^');
        let end = name.and_then(|length| self.rest().get(length..)).unwrap_or_default();
        if end.starts_with(&format!("{mark}]")) {
            self.at = self.text.len() - end.len() + 2;
        }
    }

    fn group(&mut self) -> Result<(), Fault> {
        if self.rest().starts_with("?#") {
            return match self.skip_past(")") {
                true => Ok(()),
                false => Err(self.fault(self.text.len(), "missing ) after (?# comment")),
            };
        }
        self.open += 1;
        if self.rest().starts_with(['?', '*']) {
            // What the sign means is said by what follows it.
            self.at += 1;
        } else {
            self.nothing = true;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(pattern: &str) -> Option<(usize, &'static str)> {
        check(pattern, RegexOptions::default()).err().map(|fault| (fault.at, fault.what))
    }

    #[test]
    fn mistakes_are_named_as_pcre2_does() {
        let repeat = "quantifier does not follow a repeatable item";
        let class = "missing terminating ] for character class";
        for (pattern, expected) in [
            ("(a", (2, "missing closing parenthesis")),
            ("a)", (1, "unmatched closing parenthesis")),
            ("[a", (2, class)),
            ("[]", (2, class)),
            ("[[:alpha:]", (10, class)),
            ("*a", (0, repeat)),
            ("a|+", (2, repeat)),
            ("(+a)", (1, repeat)),
            ("(?#x", (4, "missing ) after (?# comment")),
            ("\\\\Q(\\\\E", (7, "missing closing parenthesis")),
            ("a\\", (2, "\\ at end of pattern")),
        ] {
            assert_eq!(fault(pattern), Some(expected), "{pattern}");
        }
    }

    #[test]
    fn what_may_be_right_passes() {
        for pattern in [
            "",
            "a.*b",
            "()",
            "[]a]",
            "[^]a]",
            "(?<n>a)(?=b)(?:c)?",
            "\\Q(\\E",
            "[\\]]",
            "[[:alpha:]()]",
            "a|b*",
            "(*UTF)a",
            "\\(",
            "[a[b]",
            "(?x)a # (",
            "(?i)*",
            "ä+",
        ] {
            assert_eq!(fault(pattern), None, "{pattern}");
        }
        let mut empty = RegexOptions::default();
        empty.insert(RegexOption::AllowEmptyClass);
        assert_eq!(check("[]", empty), Ok(()));
    }
}
