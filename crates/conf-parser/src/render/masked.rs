//! Lines of a file as they may be shown: without passwords and keys.

use std::borrow::Cow;
use std::ops::Range;

/// The rest of the line is a secret behind one of these.
const PASSWORDS: [&str; 2] = ["auth_pass", "password"];

/// In a block `auth_hmac` it has a number and a key behind it, in a block `SSL` a path.
const KEY: &str = "key";

/// As far before what is shown is looked for such a word: lines may be of any length.
const MAX_BEFORE: usize = 4096;

/// Which lines hold a secret although no such word stands there.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Suspects<'a> {
    /// The text of definitions is a secret.
    pub(super) definitions: bool,
    /// How one of the words was written.
    pub(super) misspelt: Option<&'a str>,
}

/// Whether a secret stands behind `word`.
pub(super) fn announces_secret(word: &str) -> bool {
    PASSWORDS.contains(&word) || word == KEY
}

/// Whether a part of `text[shown]` is a secret.
pub(super) fn holds_secret(text: &str, shown: Range<usize>) -> bool {
    let visible = text.get(shown.clone()).unwrap_or_default();
    masked(text, shown, Suspects::default()) != visible
}

/// `text[shown]` with stars in place of what is secret, one for each octet: places in it stay where they are.
pub(super) fn masked<'a>(text: &'a str, shown: Range<usize>, suspects: Suspects<'_>) -> Cow<'a, str> {
    let visible = text.get(shown.clone()).unwrap_or_default();
    let from = beginning(text, shown.start);
    let mut secrets = Vec::new();
    let mut at = from;
    for line in lines(text.get(from..shown.end).unwrap_or_default()) {
        secrets.extend(secrets_in(line, suspects).into_iter().map(|it| at + it.start..at + it.end));
        at += line.len();
    }
    if secrets.iter().all(|secret| secret.end <= shown.start) {
        return visible.into();
    }
    let mut masked = String::with_capacity(visible.len());
    for (offset, character) in visible.char_indices() {
        let at = shown.start + offset;
        if !character.is_whitespace() && secrets.iter().any(|secret| secret.contains(&at)) {
            masked.extend(std::iter::repeat_n('*', character.len_utf8()));
        } else {
            masked.push(character);
        }
    }
    masked.into()
}

/// Where the line begins that has `at` in it, and those that it continues.
fn beginning(text: &str, at: usize) -> usize {
    let first = super::boundary(text, at.saturating_sub(MAX_BEFORE));
    let before = text.get(first..at).unwrap_or_default();
    let mut from = first + before.rfind('\n').map_or(0, |end| end + 1);
    while let Some(previous) = text.get(first..from).and_then(|before| before.strip_suffix("\\\n")) {
        from = first + previous.rfind('\n').map_or(0, |end| end + 1);
    }
    from
}

/// The lines with their ends; one that ends in a backslash goes on in the next.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let goes_on = |end: usize| rest.get(..end).is_some_and(|line| line.ends_with('\\'));
        let end = rest.match_indices('\n').map(|(end, _)| end).find(|end| !goes_on(*end));
        let (line, others) = rest.split_at_checked(end.map_or(rest.len(), |end| end + 1))?;
        rest = others;
        Some(line).filter(|line| !line.is_empty())
    })
}

fn secrets_in(line: &str, suspects: Suspects<'_>) -> Vec<Range<usize>> {
    let mut secrets = Vec::new();
    let definition = line.find('=').filter(|_| suspects.definitions && line.trim_start().starts_with('$'));
    secrets.extend(definition.map(|sign| sign..line.len()));
    let mut words = words(line);
    while let Some((at, word)) = words.next() {
        let before = line.get(..at).unwrap_or_default().trim_end();
        if !(before.is_empty() || before.ends_with(AROUND_STATEMENTS)) {
            continue;
        }
        if PASSWORDS.contains(&word) || suspects.misspelt == Some(word) {
            secrets.push(at + word.len()..line.len());
        } else if word == KEY {
            let is_shown = |value: &str| value.parse::<u8>().is_ok() || value.contains('/');
            let first = words.next().filter(|(_, value)| !is_shown(value));
            let others = words.by_ref().filter(|(_, value)| !value.starts_with("file:"));
            secrets.extend(first.into_iter().chain(others).map(|(at, value)| at..at + value.len()));
        }
    }
    secrets
}

/// Blocks, and definitions of lines.
const AROUND_STATEMENTS: [char; 3] = ['{', '}', '='];

/// What stands between blanks, braces and the sign of a definition, and where.
fn words(line: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_between = |character: char| character.is_whitespace() || AROUND_STATEMENTS.contains(&character);
    let mut at = 0;
    line.split_inclusive(is_between).filter_map(move |part| {
        let (start, word) = (at, part.trim_end_matches(is_between));
        at += part.len();
        (!word.is_empty()).then_some((start, word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        masked(text, 0..text.len(), Suspects::default()).into_owned()
    }

    #[test]
    fn stars_stand_for_what_is_behind_a_word_for_a_secret() {
        let text = "auth_pass sesame é\n auth_type PASS # auth\nauth_pass \\\n more\nSSL { password öffne dich }\n";
        let stars = "auth_pass ****** **\n auth_type PASS # auth\nauth_pass *\n ****\nSSL { password ****** **** *\n";
        assert_eq!(shown(text), stars);
        assert_eq!(text.len(), stars.len());
    }

    #[test]
    fn keys_are_hidden_and_their_numbers_and_files_are_not() {
        for (text, stars) in [
            ("key 12 hex:00ff", "key 12 ********"),
            ("key 12 an open secret", "key 12 ** **** ******"),
            ("key secret", "key ******"),
            ("key 31337", "key *****"),
            ("key 1 file:/etc/key", "key 1 file:/etc/key"),
            ("key /etc/key.pem", "key /etc/key.pem"),
            ("script /bin/true key 1 word", "script /bin/true key 1 word"),
        ] {
            assert_eq!(shown(text), stars);
        }
    }

    #[test]
    fn what_is_not_shown_tells_what_is() {
        let text = "auth_pass \\\n sesame\nstate BACKUP\n";
        let at = text.find("same").unwrap();
        assert_eq!(masked(text, at..at + 4, Suspects::default()), "****");
        assert!(holds_secret(text, at..at + 4));
        let at = text.find("BACKUP").unwrap();
        assert_eq!(masked(text, at..at + 6, Suspects::default()), "BACKUP");
    }

    #[test]
    fn a_definition_and_a_misspelt_word_can_be_of_a_secret() {
        let text = "$WORD=sesame\nauth_pas sesame\n";
        assert_eq!(shown(text), text);
        let suspects = Suspects { definitions: true, misspelt: Some("auth_pas") };
        assert_eq!(masked(text, 0..text.len(), suspects), "$WORD*******\nauth_pas ******\n");
        assert_eq!(shown("$LINE=auth_pass sesame"), "$LINE=auth_pass ******");
    }
}
