use proptest::prelude::*;

use super::*;

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn timing(rise: u32, fall: u32) -> Timing {
    Timing { interval: millis(1000), timeout: millis(1000), rise, fall }
}

fn drain(schedule: &mut Schedule) -> Vec<Action> {
    std::iter::from_fn(|| schedule.poll_action()).collect()
}

/// One run that ends like this; what came of it.
fn run(schedule: &mut Schedule, outcome: Outcome) -> Vec<Action> {
    schedule.handle_timeout(schedule.poll_timeout());
    assert_eq!(drain(schedule), [Action::Start]);
    schedule.handle_end(outcome);
    drain(schedule)
}

fn log(text: &str) -> Action {
    Action::Log(text.to_owned())
}

#[test]
fn one_result_decides_at_the_start_and_later_so_many_in_a_row() {
    let mut schedule = Schedule::new("s", timing(3, 2), Instant::now(), None);
    assert_eq!(run(&mut schedule, Outcome::Exited(0)), [log("VRRP_Script(s) succeeded"), Action::Say(Verdict::Up)]);
    assert_eq!(run(&mut schedule, Outcome::Exited(1)), [log("Script `s` now returning 1")]);
    assert_eq!(run(&mut schedule, Outcome::Exited(0)), [log("Script `s` now returning 0")]);
    assert_eq!(run(&mut schedule, Outcome::Exited(1)), [log("Script `s` now returning 1")]);
    let failed = [
        log("Script `s` now returning 2"),
        log("VRRP_Script(s) failed (exited with status 2)"),
        Action::Say(Verdict::Down),
    ];
    assert_eq!(run(&mut schedule, Outcome::Exited(2)), failed);
    assert_eq!(run(&mut schedule, Outcome::Signalled(9)), []);
    assert_eq!(run(&mut schedule, Outcome::Exited(0)), [log("Script `s` now returning 0")]);
    assert_eq!(run(&mut schedule, Outcome::Exited(0)), []);
    assert_eq!(run(&mut schedule, Outcome::Exited(0)), [log("VRRP_Script(s) succeeded"), Action::Say(Verdict::Up)]);
}

#[test]
fn a_signal_is_a_failure() {
    let mut schedule = Schedule::new("s", timing(1, 1), Instant::now(), None);
    let failed = [log("VRRP_Script(s) failed (due to signal 15)"), Action::Say(Verdict::Down)];
    assert_eq!(run(&mut schedule, Outcome::Signalled(15)), failed);
}

#[test]
fn a_run_that_takes_too_long_is_told_to_end_and_then_killed() {
    let now = Instant::now();
    let mut schedule = Schedule::new("s", timing(1, 1), now, None);
    schedule.handle_timeout(now);
    assert_eq!(drain(&mut schedule), [Action::Start]);
    schedule.handle_timeout(now + millis(999));
    assert_eq!(drain(&mut schedule), []);
    schedule.handle_timeout(now + millis(1000));
    let late = [
        log("Track script s is already running, expect idle - skipping run"),
        Action::Terminate,
        log("VRRP_Script(s) timed_out"),
        Action::Say(Verdict::Down),
    ];
    assert_eq!(drain(&mut schedule), late);
    schedule.handle_timeout(now + millis(2000));
    assert_eq!(drain(&mut schedule), [], "said once");
    schedule.handle_timeout(now + millis(3000));
    assert_eq!(drain(&mut schedule), [Action::Kill]);
    // What it returns at last is no result.
    schedule.handle_end(Outcome::Signalled(9));
    assert_eq!(drain(&mut schedule), []);
    schedule.handle_timeout(now + millis(4000));
    assert_eq!(drain(&mut schedule), [Action::Start]);
}

#[test]
fn a_reload_keeps_the_verdict_and_says_so() {
    let now = Instant::now();
    let mut schedule = Schedule::new("s", timing(1, 1), now, None);
    schedule.handle_reload(now, timing(2, 2));
    assert_eq!(drain(&mut schedule), [], "there is none yet");
    run(&mut schedule, Outcome::Exited(0));
    schedule.handle_reload(now, timing(2, 2));
    assert_eq!(drain(&mut schedule), [log("VRRP_Script(s) considered successful on reload")]);
    run(&mut schedule, Outcome::Exited(1));
    run(&mut schedule, Outcome::Exited(1));
    schedule.handle_reload(now, timing(2, 2));
    assert_eq!(drain(&mut schedule), [log("VRRP_Script(s) considered unsuccessful on reload")]);
}

#[test]
fn a_shorter_interval_holds_at_once() {
    let now = Instant::now();
    let mut schedule = Schedule::new("s", Timing { interval: millis(60_000), ..timing(1, 1) }, now, None);
    run(&mut schedule, Outcome::Exited(0));
    schedule.handle_reload(now, timing(1, 1));
    assert_eq!(schedule.poll_timeout(), now + millis(1000));
}

#[test]
fn an_inherited_verdict_takes_as_many_results_as_any() {
    let mut schedule = Schedule::new("s", timing(1, 2), Instant::now(), Some(Verdict::Up));
    assert_eq!(run(&mut schedule, Outcome::Exited(1)), [log("Script `s` now returning 1")]);
    assert_eq!(run(&mut schedule, Outcome::Exited(1)).last(), Some(&Action::Say(Verdict::Down)));
}

/// The verdict after these results, the long way round: the newest streak that was long enough.
fn verdict_of(results: &[Verdict], timing: Timing) -> Option<Verdict> {
    let mut verdict = *results.first()?;
    for end in 1..=results.len() {
        let newest = results[end - 1];
        let streak = results[..end].iter().rev().take_while(|it| **it == newest).count();
        let needed = if newest == Verdict::Up { timing.rise } else { timing.fall };
        if streak >= usize::try_from(needed).unwrap() {
            verdict = newest;
        }
    }
    Some(verdict)
}

proptest! {
    #[test]
    fn the_verdict_follows_the_results(rise in 1..4u32, fall in 1..4u32, results in prop::collection::vec(any::<bool>(), 0..40)) {
        let mut schedule = Schedule::new("s", timing(rise, fall), Instant::now(), None);
        let mut said = None;
        let mut heard = Vec::new();
        for success in results {
            heard.push(if success { Verdict::Up } else { Verdict::Down });
            for action in run(&mut schedule, Outcome::Exited(i32::from(!success))) {
                if let Action::Say(verdict) = action {
                    prop_assert_ne!(said, Some(verdict), "said only when it changes");
                    said = Some(verdict);
                }
            }
            prop_assert_eq!(schedule.verdict(), verdict_of(&heard, timing(rise, fall)));
            prop_assert_eq!(schedule.verdict(), said);
        }
    }

    /// However long each run takes and however late the clock is looked at.
    #[test]
    fn runs_never_overlap_and_keep_their_distance(
        interval in 1..3000u64,
        timeout in 1..6000u64,
        steps in prop::collection::vec((0..1500u64, any::<bool>()), 1..200),
    ) {
        let mut now = Instant::now();
        let timing = Timing { interval: millis(interval), timeout: millis(timeout), rise: 1, fall: 1 };
        let mut schedule = Schedule::new("s", timing, now, None);
        let (mut started, mut told, mut running) = (None::<Instant>, None::<Instant>, false);
        for (wait, ends) in steps {
            now += millis(wait);
            if ends && running {
                schedule.handle_end(Outcome::Exited(0));
                running = false;
            }
            schedule.handle_timeout(now);
            prop_assert!(schedule.poll_timeout() > now, "nothing is due twice");
            for action in drain(&mut schedule) {
                match action {
                    Action::Start => {
                        prop_assert!(!running);
                        prop_assert!(started.is_none_or(|before| now >= before + timing.interval));
                        (started, told, running) = (Some(now), None, true);
                    }
                    Action::Terminate => {
                        prop_assert!(running && told.is_none());
                        prop_assert!(now >= started.unwrap() + timing.timeout);
                        told = Some(now);
                    }
                    Action::Kill => {
                        prop_assert!(running);
                        prop_assert!(now >= told.unwrap() + GRACE);
                    }
                    Action::Say(_) | Action::Log(_) => {}
                }
            }
            if running && told.is_none() {
                prop_assert!(now < started.unwrap() + timing.timeout, "nothing runs for longer than it may");
            }
        }
    }
}
