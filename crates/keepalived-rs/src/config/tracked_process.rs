//! What a `vrrp_track_process` counts, and how many are enough. Pure.

use std::time::Duration;

use conf_parser::config::{ParamMatch, TrackProcess};
use serde::{Deserialize, Serialize};

/// So long is the kernel's name for a process at most (`TASK_COMM_LEN` without its end).
const LONGEST_NAME: usize = 15;

/// One `vrrp_track_process`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TrackedProcess {
    /// Which processes count.
    pattern: Pattern,
    /// `quorum`: so many are enough.
    quorum: usize,
    /// `quorum_max`: more are too many.
    quorum_max: usize,
    /// `fork_delay`: how long new processes must have made a difference before it counts.
    pub(crate) fork_delay: Duration,
    /// `terminate_delay`: the same for processes that ended.
    pub(crate) terminate_delay: Duration,
}

/// Which processes count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Pattern {
    /// Those that the kernel calls so.
    Name(Vec<u8>),
    /// Those whose command line is this, each word with a zero at its end.
    CommandLine(Vec<u8>),
    /// Those whose command line begins so.
    Beginning(Vec<u8>),
}

/// A process that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The kernel's name for it: at most 15 octets.
    pub(crate) name: Vec<u8>,
    /// The beginning of its command line; empty where nobody asks for it.
    pub(crate) command_line: Vec<u8>,
}

impl TrackedProcess {
    pub(crate) fn from_config(process: &TrackProcess) -> Self {
        Self {
            pattern: Pattern::from_config(process),
            quorum: process.quorum.into(),
            quorum_max: process.quorum_max.map_or(usize::MAX, usize::from),
            fork_delay: process.fork_delay,
            terminate_delay: process.terminate_delay,
        }
    }

    /// Whether a process counts.
    pub(crate) fn counts(&self, seen: &Seen) -> bool {
        match &self.pattern {
            Pattern::Name(name) => seen.name == *name,
            Pattern::CommandLine(line) => seen.command_line == *line,
            Pattern::Beginning(line) => seen.command_line.starts_with(line),
        }
    }

    /// Whether so many are enough and not too many.
    pub(crate) fn is_satisfied_by(&self, count: usize) -> bool {
        (self.quorum..=self.quorum_max).contains(&count)
    }

    /// So many octets of a command line tell whether a process counts.
    pub(crate) fn command_line_octets(&self) -> usize {
        match &self.pattern {
            Pattern::Name(_) => 0,
            Pattern::CommandLine(line) => line.len() + 1,
            Pattern::Beginning(line) => line.len(),
        }
    }
}

impl Pattern {
    fn from_config(process: &TrackProcess) -> Self {
        let mut line: Vec<u8> = process.process.iter().flat_map(|word| word.bytes().chain([0])).collect();
        match process.param_match {
            None if process.full_command => Self::Beginning(line),
            None => {
                line.retain(|octet| *octet != 0);
                line.truncate(LONGEST_NAME);
                Self::Name(line)
            }
            Some(ParamMatch::Exact) => Self::CommandLine(line),
            Some(ParamMatch::Partial) => Self::Beginning(line),
            // The last parameter may go on, but not the command: without parameters this is `partial`.
            Some(ParamMatch::Initial) => {
                if process.process.len() > 1 {
                    line.pop();
                }
                Self::Beginning(line)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracked(lines: &str) -> TrackedProcess {
        let text = format!("vrrp_track_process p {{\n{lines}\n}}\n");
        TrackedProcess::from_config(&crate::config::checker::tests::config(&text).track_processes[0])
    }

    fn seen(name: &str, words: &[&str]) -> Seen {
        let line = words.iter().flat_map(|word| word.bytes().chain([0])).collect();
        Seen { name: name.into(), command_line: line }
    }

    #[test]
    fn a_name_is_compared_as_the_kernel_cuts_it() {
        let nginx = tracked("process nginx");
        assert!(nginx.counts(&seen("nginx", &["/usr/sbin/nginx", "-g"])));
        assert!(!nginx.counts(&seen("nginx2", &["nginx"])));
        assert_eq!(nginx.command_line_octets(), 0);
        assert!(tracked("process a-name-of-more-than-15").counts(&seen("a-name-of-more-", &[])));
    }

    #[test]
    fn parameters_are_compared_exactly_unless_the_file_says_otherwise() {
        let lines = [["d", "-a", "b"].as_slice(), &["d", "-a", "bc"], &["d", "-a", "b", "c"], &["d"], &["/bin/d"]];
        let counted = |config: &str| lines.map(|words| tracked(config).counts(&seen("d", words)));
        assert_eq!(counted("process d -a b"), [true, false, false, false, false]);
        assert_eq!(counted("process d -a b\nparam_match"), [true, false, false, false, false]);
        assert_eq!(counted("process d -a b\nparam_match partial"), [true, false, true, false, false]);
        assert_eq!(counted("process d -a b\nparam_match initial"), [true, true, true, false, false]);
        assert_eq!(counted("process d\nfull_command"), [true, true, true, true, false]);
        assert_eq!(counted("process d\nparam_match"), [false, false, false, true, false]);
        assert_eq!(counted("process d\nparam_match partial"), [true, true, true, true, false]);
        assert_eq!(counted("process d\nparam_match initial"), [true, true, true, true, false]);
    }

    #[test]
    fn as_much_of_a_command_line_is_read_as_tells() {
        for config in ["process d -a b", "process d -a b\nparam_match partial", "process d -a b\nparam_match initial"] {
            let tracked = tracked(config);
            for words in [["d", "-a", "b"].as_slice(), &["d", "-a", "b", "c"], &["d", "-a", "bc"], &["d", "-a"]] {
                let whole = seen("d", words);
                let mut cut = whole.clone();
                cut.command_line.truncate(tracked.command_line_octets());
                assert_eq!(tracked.counts(&whole), tracked.counts(&cut), "{config}: {words:?}");
            }
        }
    }

    #[test]
    fn enough_lies_between_the_quorums() {
        let enough = |config: &str| [0, 1, 2, 3].map(|count| tracked(config).is_satisfied_by(count));
        assert_eq!(enough("process d"), [false, true, true, true]);
        assert_eq!(enough("process d\nquorum 2"), [false, false, true, true]);
        assert_eq!(enough("process d\nquorum 1\nquorum_max 2"), [false, true, true, false]);
        assert_eq!(enough("process d\nquorum_max 0"), [true, false, false, false]);
    }
}
