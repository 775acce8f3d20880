//! What happened, in words. Off while seeds pass: a failing seed is run once more with it on.

use super::scenario::MILLI;

/// So many lines before a failure are shown.
const SHOWN: usize = 400;

#[derive(Debug, Default)]
pub(crate) struct Trace {
    lines: Option<Vec<String>>,
}

impl Trace {
    pub(crate) fn new(on: bool) -> Self {
        Self { lines: on.then(Vec::new) }
    }

    /// Adds a line, which is only made if somebody reads it.
    pub(crate) fn line(&mut self, now: u64, line: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>7}.{:06} s  {}", now / 1_000 / MILLI, now / 1_000 % MILLI, line()));
        }
    }

    /// The head, which says what the network is, and the end.
    pub(crate) fn lines(self, whole: bool) -> Vec<String> {
        let lines = self.lines.unwrap_or_default();
        if whole || lines.len() <= SHOWN {
            return lines;
        }
        let skipped = format!("        … {} lines …", lines.len() - SHOWN);
        [skipped].into_iter().chain(lines[lines.len() - SHOWN..].iter().cloned()).collect()
    }
}
