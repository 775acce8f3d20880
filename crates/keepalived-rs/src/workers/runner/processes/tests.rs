use std::time::Duration;

use proptest::prelude::*;

use super::*;

const S: Duration = Duration::from_secs(1);

fn processes(lines: &str) -> Processes {
    let text = format!("vrrp_track_process p {{\nprocess d\n{lines}\n}}\n");
    let config = crate::config::checker::tests::config(&text);
    let tracked = config.track_processes.iter().map(|it| (it.name.value.clone(), TrackedProcess::from_config(it)));
    Processes::new(tracked.collect())
}

fn seen(name: &str) -> Seen {
    Seen { name: name.into(), command_line: Vec::new() }
}

fn drained(processes: &mut Processes) -> Vec<(bool, usize)> {
    std::iter::from_fn(|| processes.poll_change()).map(|change| (change.up, change.count)).collect()
}

/// Surveyed with these pids running.
fn surveyed(lines: &str, now: Instant, pids: &[i32]) -> Processes {
    let mut processes = processes(lines);
    processes.survey(now, pids.iter().map(|pid| (*pid, seen("d"))));
    processes
}

#[test]
fn the_first_survey_decides_at_once() {
    let now = Instant::now();
    assert_eq!(drained(&mut surveyed("delay 5", now, &[])), [(false, 0)]);
    assert_eq!(drained(&mut surveyed("delay 5", now, &[1, 2])), [(true, 2)]);
    assert_eq!(drained(&mut surveyed("quorum_max 0", now, &[])), [(true, 0)]);
}

#[test]
fn without_delays_every_change_is_said() {
    let now = Instant::now();
    let mut processes = surveyed("quorum 2", now, &[1]);
    processes.saw(now, 2, Some(&seen("d")));
    processes.saw(now, 3, Some(&seen("other")));
    processes.saw(now, 2, Some(&seen("other")));
    processes.saw(now, 2, Some(&seen("d")));
    processes.saw(now, 1, None);
    processes.saw(now, 1, None);
    assert_eq!(drained(&mut processes), [(false, 1), (true, 2), (false, 1), (true, 2), (false, 1)]);
    assert_eq!([1, 2, 3].map(|pid| processes.is_counted(pid)), [false, true, false]);
}

#[test]
fn a_restart_within_the_delay_is_not_said() {
    let now = Instant::now();
    let mut processes = surveyed("terminate_delay 2", now, &[1]);
    drained(&mut processes);
    processes.saw(now, 1, None);
    assert_eq!(processes.poll_timeout(), Some(now + S * 2));
    processes.saw(now + S, 7, Some(&seen("d")));
    assert_eq!(processes.poll_timeout(), None);
    processes.fire(now + S * 9);
    assert_eq!(drained(&mut processes), []);
}

#[test]
fn what_lasts_is_said_once_and_counts_from_its_beginning() {
    let now = Instant::now();
    let mut processes = surveyed("quorum 2\nterminate_delay 2\nfork_delay 3", now, &[1, 2]);
    drained(&mut processes);
    processes.saw(now, 1, None);
    processes.saw(now + S, 2, None);
    processes.fire(now + S);
    assert_eq!(drained(&mut processes), []);
    processes.fire(now + S * 2);
    assert_eq!((drained(&mut processes), processes.poll_timeout()), (vec![(false, 0)], None));
    processes.saw(now + S * 2, 3, Some(&seen("d")));
    processes.saw(now + S * 3, 4, Some(&seen("d")));
    assert_eq!(processes.poll_timeout(), Some(now + S * 6));
    processes.fire(now + S * 6);
    assert_eq!(drained(&mut processes), [(true, 2)]);
}

/// A fork that lives on for a moment is no failure of `quorum_max`.
#[test]
fn too_many_for_a_moment_is_not_said() {
    let now = Instant::now();
    let mut processes = surveyed("quorum_max 1\nfork_delay 1", now, &[1]);
    drained(&mut processes);
    processes.saw(now, 2, Some(&seen("d")));
    processes.saw(now, 2, Some(&seen("other")));
    processes.fire(now + S);
    assert_eq!(drained(&mut processes), []);
    processes.saw(now, 2, Some(&seen("d")));
    processes.fire(now + S);
    processes.saw(now + S, 1, None);
    assert_eq!(drained(&mut processes), [(false, 2), (true, 1)]);
}

#[test]
fn a_survey_after_lost_events_keeps_to_the_delays() {
    let now = Instant::now();
    let mut processes = surveyed("terminate_delay 1", now, &[1, 2]);
    drained(&mut processes);
    processes.survey(now, []);
    assert_eq!(processes.poll_timeout(), Some(now + S));
    processes.survey(now, [(9, seen("d"))]);
    assert_eq!((processes.poll_timeout(), drained(&mut processes)), (None, vec![]));
}

proptest! {
    /// Whatever happens, what is said alternates, and once every delay is over it is what the number says.
    #[test]
    fn in_the_end_the_number_is_said(
        events in prop::collection::vec((0i32..6, any::<bool>(), 0u64..3), 0..40),
        quorum in 1usize..4,
        most in 3usize..6,
        delays in prop::array::uniform2(0u64..4),
    ) {
        let config = format!("quorum {quorum}\nquorum_max {most}");
        let delays = delays.map(|delay| if delay == 0 { String::new() } else { format!("{delay}") });
        let lines = ["fork_delay", "terminate_delay"].iter().zip(&delays).filter(|(_, delay)| !delay.is_empty());
        let config = lines.fold(config, |text, (word, delay)| format!("{text}\n{word} {delay}"));
        let mut now = Instant::now();
        let mut processes = surveyed(&config, now, &[]);
        let mut pids = HashSet::new();
        let mut said = Vec::new();
        for (pid, runs, pause) in events {
            now += S * u32::try_from(pause).unwrap();
            processes.fire(now);
            processes.saw(now, pid, runs.then(|| seen("d")).as_ref());
            if runs { pids.insert(pid) } else { pids.remove(&pid) };
            said.extend(drained(&mut processes));
        }
        processes.fire(now + S * 9);
        said.extend(drained(&mut processes));
        prop_assert_eq!(processes.poll_timeout(), None);
        prop_assert!(said.windows(2).all(|pair| pair[0].0 != pair[1].0));
        prop_assert_eq!(said.last().unwrap().0, (quorum..=most).contains(&pids.len()));
    }
}
