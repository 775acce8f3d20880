//! How a worker's process is named and scheduled.

use std::time::Duration;

use conf_parser::config::{GlobalDefs, Process};
use serde::{Deserialize, Serialize};

use crate::privileges::Extras;

/// How a process is named, scheduled and kept in memory.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct ProcessPart {
    /// `process_names`, `*_process_name`: its name; as started where absent.
    pub(crate) name: Option<String>,
    /// `*_priority`: nice value, -20 to 19; the usual one of the process where absent.
    pub(crate) nice: Option<i8>,
    /// `*_no_swap`: it stays in memory.
    pub(crate) no_swap: bool,
    /// `*_rt_priority`: real-time priority, 1 to 99.
    pub(crate) real_time: Option<u8>,
    /// `*_rlimit_rttime`: CPU time in real time without a blocking call.
    pub(crate) real_time_limit: Duration,
    /// `*_cpu_affinity`: the CPUs that it may use; any where empty.
    pub(crate) cpus: Vec<u32>,
    /// What it does about late timers.
    pub(crate) lateness: LatenessPart,
}

/// What a process does about its late timers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LatenessPart {
    /// `min_auto_priority_delay`: from this lateness on.
    pub(crate) from: Duration,
    /// `max_auto_priority` is not -1: it says so.
    pub(crate) warns: bool,
    /// `max_auto_priority`: the highest real-time priority that it gives itself, each time one more; 0 for none.
    pub(crate) highest: u8,
}

impl Default for LatenessPart {
    /// As keepalived without any of these lines.
    fn default() -> Self {
        Self { from: Duration::from_secs(1), warns: true, highest: 0 }
    }
}

impl ProcessPart {
    /// The vrrp worker's.
    pub(crate) fn vrrp(global: &GlobalDefs) -> Self {
        Self::new(global, &global.processes.vrrp, "keepalived_vrrp")
    }

    /// The checker's.
    pub(crate) fn checker(global: &GlobalDefs) -> Self {
        Self::new(global, &global.processes.checker, "keepalived_lvs")
    }

    fn new(global: &GlobalDefs, process: &Process, default_name: &str) -> Self {
        let default_name = global.processes.default_names.then(|| default_name.to_owned());
        let highest = global.max_auto_priority;
        Self {
            name: process.name.clone().or(default_name),
            nice: process.priority,
            no_swap: process.no_swap,
            real_time: process.rt_priority,
            real_time_limit: process.rlimit_rttime,
            cpus: process.cpu_affinity.clone(),
            lateness: LatenessPart {
                from: global.processes.min_auto_priority_delay,
                warns: highest.is_none_or(|highest| highest >= 0),
                highest: highest.and_then(|highest| u8::try_from(highest).ok()).unwrap_or(0),
            },
        }
    }

    /// Whether it may ever be scheduled in real time.
    pub(crate) fn may_be_real_time(&self) -> bool {
        self.real_time.is_some() || self.lateness.highest > 0
    }

    /// The rights that this takes. A nice value that was raised once is not lowered without one either.
    pub(crate) fn extras(&self) -> Extras {
        Extras { scheduling: self.nice.is_some() || self.may_be_real_time(), locking: self.no_swap }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::vrrp::tests::part;

    fn process(lines: &str) -> ProcessPart {
        part(&format!("global_defs {{\n{lines}\n}}\n")).process
    }

    #[test]
    fn words_become_values() {
        let all = process(
            "vrrp_process_name edge\nvrrp_priority -5\nvrrp_no_swap\nvrrp_rt_priority 50\nvrrp_rlimit_rttime 20000\n\
             vrrp_cpu_affinity 0",
        );
        assert_eq!(all.name.as_deref(), Some("edge"));
        assert_eq!((all.nice, all.no_swap, all.real_time), (Some(-5), true, Some(50)));
        assert_eq!(all.real_time_limit, Duration::from_millis(20));
        assert_eq!(all.cpus, [0]);
        assert!(all.may_be_real_time());
    }

    #[test]
    fn names_come_from_one_word_or_from_their_own() {
        assert_eq!(process("").name, None);
        assert_eq!(process("process_names").name.as_deref(), Some("keepalived_vrrp"));
        assert_eq!(process("process_names\nvrrp_process_name x").name.as_deref(), Some("x"));
    }

    #[test]
    fn what_is_done_about_lateness() {
        let plain = process("");
        assert_eq!(plain.lateness, LatenessPart::default());
        assert!(!plain.may_be_real_time());
        let raising = process("max_auto_priority 20\nmin_auto_priority_delay 300000");
        let expected = LatenessPart { from: Duration::from_millis(300), warns: true, highest: 20 };
        assert_eq!(raising.lateness, expected);
        assert!(raising.may_be_real_time());
        assert!(!process("max_auto_priority -1").lateness.warns);
    }

    #[test]
    fn rights_are_for_what_is_asked() {
        let extras = |lines| process(lines).extras();
        assert_eq!(extras("vrrp_cpu_affinity 0\nmax_auto_priority -1"), Extras::default());
        for lines in ["vrrp_priority 5", "vrrp_rt_priority 1", "max_auto_priority 1"] {
            assert_eq!(extras(lines), Extras { scheduling: true, locking: false }, "{lines}");
        }
        assert_eq!(extras("vrrp_no_swap"), Extras { scheduling: false, locking: true });
    }
}
