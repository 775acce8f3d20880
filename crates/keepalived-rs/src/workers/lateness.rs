//! How late a worker's timers fire: counted in fixed buckets, without allocation, and what follows from it. Pure.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::process::LatenessPart;

/// Up to and including these; one bucket more holds what is later than all of them.
const BOUNDS: [Duration; 11] = [
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_millis(2),
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(1),
];

/// How many timers fired how late since the process began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Histogram {
    /// One for each bound, and one for what is later.
    buckets: [u64; 12],
    latest: Duration,
    /// All of it together.
    total: Duration,
}

impl Histogram {
    /// Counts one.
    pub(crate) fn note(&mut self, late: Duration) {
        let bucket = BOUNDS.iter().position(|bound| late <= *bound).unwrap_or(BOUNDS.len());
        if let Some(count) = self.buckets.get_mut(bucket) {
            *count += 1;
        }
        self.latest = self.latest.max(late);
        self.total = self.total.saturating_add(late);
    }

    /// How many were counted.
    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// As a histogram of this name in the text format of Prometheus, in seconds.
    pub(crate) fn prometheus(&self, name: &str) -> String {
        let mut text = format!("# HELP {name} How late timers fired.\n# TYPE {name} histogram\n");
        let mut seen = 0;
        for (number, count) in self.buckets.iter().enumerate() {
            seen += count;
            let bound = BOUNDS.get(number).map_or_else(|| "+Inf".into(), |bound| bound.as_secs_f64().to_string());
            text += &format!("{name}_bucket{{le=\"{bound}\"}} {seen}\n");
        }
        text + &format!("{name}_sum {}\n{name}_count {seen}\n", self.total.as_secs_f64())
    }

    /// The bound that `percent` of them, 1 to 100, were not later than; the latest of all where no bound is that low.
    fn percentile(&self, percent: u64) -> Duration {
        let needed = (self.count() * percent).div_ceil(100);
        let mut seen = 0;
        for (bound, count) in BOUNDS.iter().zip(self.buckets) {
            seen += count;
            if seen >= needed {
                return (*bound).min(self.latest);
            }
        }
        self.latest
    }
}

/// `1200 timers fired, 50 % at most 0.05 ms late, 99 % at most 0.25 ms, the latest 1.73 ms; up to 0.05 ms: 900, …`
impl fmt::Display for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |duration: Duration| duration.as_secs_f64() * 1000.0;
        let count = self.count();
        if count == 0 {
            return f.write_str("no timer has fired");
        }
        write!(
            f,
            "{count} timers fired, 50 % at most {:.2} ms late, 99 % at most {:.2} ms, the latest {:.2} ms",
            millis(self.percentile(50)),
            millis(self.percentile(99)),
            millis(self.latest),
        )?;
        let mut separator = ';';
        for (number, count) in self.buckets.iter().enumerate().filter(|(_, count)| **count > 0) {
            match BOUNDS.get(number) {
                Some(bound) => write!(f, "{separator} up to {} ms: {count}", millis(*bound))?,
                None => write!(f, "{separator} later: {count}")?,
            }
            separator = ',';
        }
        Ok(())
    }
}

/// What follows from one late timer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// It is worth a line in the log.
    pub(crate) warn: bool,
    /// The real-time priority that the process gives itself.
    pub(crate) raise: Option<u8>,
}

/// The lateness of a process, and its real-time priority.
#[derive(Debug, Default)]
pub(crate) struct Lateness {
    /// All timers so far.
    pub(crate) histogram: Histogram,
    rules: LatenessPart,
    /// The real-time priority that it has now; 0 for none.
    priority: u8,
}

impl Lateness {
    /// Goes on with other rules, and with the real-time priority that the process is configured to have.
    pub(crate) fn configure(&mut self, rules: LatenessPart, priority: Option<u8>) {
        self.rules = rules;
        self.priority = priority.unwrap_or(0);
    }

    /// A timer has fired.
    pub(crate) fn note(&mut self, late: Duration) -> Verdict {
        self.histogram.note(late);
        if late < self.rules.from {
            return Verdict::default();
        }
        let raise = (self.priority < self.rules.highest).then_some(self.priority + 1);
        self.priority = raise.unwrap_or(self.priority);
        Verdict { warn: self.rules.warns, raise }
    }

    /// The process was refused a higher priority: it does not ask again.
    pub(crate) fn give_up_raising(&mut self) {
        self.rules.highest = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATE: Duration = Duration::from_secs(2);

    #[test]
    fn every_timer_is_in_one_bucket() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.to_string(), "no timer has fired");
        for micros in [0, 50, 51, 250, 251, 1_000_000, 1_000_001] {
            histogram.note(Duration::from_micros(micros));
        }
        assert_eq!(histogram.buckets, [2, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(
            histogram.to_string(),
            "7 timers fired, 50 % at most 0.25 ms late, 99 % at most 1000.00 ms, the latest 1000.00 ms; \
             up to 0.05 ms: 2, up to 0.1 ms: 1, up to 0.25 ms: 1, up to 0.5 ms: 1, up to 1000 ms: 1, later: 1"
        );
    }

    #[test]
    fn a_scraper_reads_it() {
        let mut histogram = Histogram::default();
        for micros in [40, 60, 1_500_000] {
            histogram.note(Duration::from_micros(micros));
        }
        let text = histogram.prometheus("late");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[..2], ["# HELP late How late timers fired.", "# TYPE late histogram"]);
        assert_eq!(
            lines[2..5],
            ["late_bucket{le=\"0.00005\"} 1", "late_bucket{le=\"0.0001\"} 2", "late_bucket{le=\"0.00025\"} 2"]
        );
        assert_eq!(
            lines[12..],
            ["late_bucket{le=\"1\"} 2", "late_bucket{le=\"+Inf\"} 3", "late_sum 1.5001", "late_count 3"]
        );
    }

    #[test]
    fn no_percentile_is_later_than_the_latest() {
        let mut histogram = Histogram::default();
        histogram.note(Duration::from_micros(7));
        assert_eq!(histogram.percentile(50), Duration::from_micros(7));
        assert_eq!(histogram.percentile(99), Duration::from_micros(7));
    }

    #[test]
    fn the_priority_rises_by_one_up_to_the_highest() {
        let mut lateness = Lateness::default();
        let rules = LatenessPart { from: Duration::from_secs(1), warns: true, highest: 3 };
        lateness.configure(rules, Some(1));
        assert_eq!(lateness.note(Duration::from_millis(999)), Verdict::default());
        assert_eq!(lateness.note(LATE), Verdict { warn: true, raise: Some(2) });
        assert_eq!(lateness.note(LATE), Verdict { warn: true, raise: Some(3) });
        assert_eq!(lateness.note(LATE), Verdict { warn: true, raise: None });
        // A reload begins anew.
        lateness.configure(rules, None);
        assert_eq!(lateness.note(LATE).raise, Some(1));
        lateness.give_up_raising();
        assert_eq!(lateness.note(LATE), Verdict { warn: true, raise: None });
        assert_eq!(lateness.histogram.count(), 6);
    }

    #[test]
    fn a_process_that_is_told_to_says_nothing() {
        let mut lateness = Lateness::default();
        lateness.configure(LatenessPart { warns: false, ..LatenessPart::default() }, None);
        assert_eq!(lateness.note(LATE), Verdict::default());
    }
}
