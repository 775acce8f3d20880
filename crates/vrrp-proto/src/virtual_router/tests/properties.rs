//! What holds after any sequence of inputs.

use proptest::prelude::*;

use super::*;

fn steps() -> impl Strategy<Value = Vec<(u64, usize)>> {
    // Short waits keep conflicts and contests alive, long ones let every timer fire.
    let wait = prop_oneof![4 => 0u64..300_000_000, 2 => 0u64..4_000_000_000, 1 => 0u64..90_000_000_000];
    prop::collection::vec((wait, 0..table::INPUTS.len()), 1..60)
}

fn configs() -> impl Strategy<Value = RouterConfig> {
    let options = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let priority = prop_oneof![2 => 1u8..=255, 1 => Just(255u8), 1 => Just(100u8)];
    (options, priority, 0u64..5, 0u64..10, prop::option::of(1u8..=254), any::<bool>()).prop_map(
        |((preempt, strict, silent, polite, renotify), priority, delay, start, stalled, all)| {
            let mut config = config();
            config.preempt_mode = preempt;
            config.strict = strict;
            config.lower_prio_no_advert = silent;
            config.higher_prio_send_advert = polite;
            config.renotify_on_conflict = renotify;
            config.priority = Priority(priority);
            config.preempt_delay = Duration::from_secs(delay);
            config.start_not_before = T0 + Duration::from_secs(start);
            config.timer_expired_backup = stalled.map(Priority);
            config.announcements.refresh = millis(700);
            config.announcements.extra_period = millis(1300);
            config.announcements.extra_links =
                if all { crate::config::ExtraLinks::All } else { crate::config::ExtraLinks::VirtualMac };
            config
        },
    )
}

/// What an observer of the actions alone knows.
#[derive(Default)]
struct Observer {
    held: bool,
    conflict: bool,
    fact: Option<RouterSnapshot>,
}

impl Observer {
    fn see(&mut self, action: &Action) -> Result<(), TestCaseError> {
        match action {
            Action::Fact { snapshot, .. } => self.fact = Some(*snapshot),
            Action::Apply { ownership, .. } => self.held = *ownership == Ownership::Held,
            Action::Announce { repeat, .. } => prop_assert!(self.held && *repeat > 0, "announced what is not held"),
            Action::Record { event: Event::ConflictStarted { .. }, .. } => {
                prop_assert!(!self.conflict, "a second start");
                self.conflict = true;
            }
            Action::Record { event: Event::ConflictEnded { .. }, .. } => {
                prop_assert!(self.conflict, "an end without a start");
                self.conflict = false;
            }
            _ => {}
        }
        Ok(())
    }
}

/// Each role goes with its own timers and facts.
fn check(router: &VirtualRouter, observer: &Observer) -> Result<(), TestCaseError> {
    let faults = !router.faults().is_empty();
    match router.state() {
        State::Initialize => {}
        State::Fault(_) => prop_assert!(faults),
        State::Backup(_) | State::Active(_) => prop_assert!(!faults),
    }
    prop_assert_eq!(observer.held, router.role() == Role::Active, "holds, and only then, as Active");
    let conflict = matches!(router.state(), State::Active(active) if active.conflict.is_some());
    prop_assert_eq!(observer.conflict, conflict);
    let owner = router.config().is_owner();
    let least = if owner { Priority(254) } else { Priority(1) };
    prop_assert!(router.effective_priority() >= least);
    prop_assert!(owner || router.effective_priority() < Priority::OWNER);
    if router.role() != Role::Stopped {
        prop_assert_eq!(observer.fact, Some(router.snapshot()), "the next process would know");
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_inputs_leave_it_consistent(steps in steps(), config in configs()) {
        let mut router = VirtualRouter::new(RouterId(1), config);
        let (mut now, mut observer) = (T0, Observer::default());
        for (wait, input) in steps {
            now = now + Duration::from_nanos(wait);
            table::INPUTS[input].1(&mut router, now);
            // The inputs that wait for a timer end later.
            now = now.max(router.last_advertisement.unwrap_or(now)).max(router.last_transition().unwrap_or(now));
            router.handle_timeout(now);
            for action in core::iter::from_fn(|| router.poll_action()) {
                observer.see(&action)?;
            }
            check(&router, &observer)?;
            prop_assert!(router.poll_timeout().is_none_or(|due| due > now), "nothing due is left");
        }
    }

    #[test]
    fn a_timeout_called_twice_is_called_once(steps in steps(), config in configs()) {
        let mut router = VirtualRouter::new(RouterId(1), config);
        let mut now = T0;
        for (wait, input) in steps {
            now = now + Duration::from_nanos(wait);
            table::INPUTS[input].1(&mut router, now);
            now = now.max(router.last_advertisement.unwrap_or(now)).max(router.last_transition().unwrap_or(now));
            router.handle_timeout(now);
            drain(&mut router);
            let before = format!("{router:?}");
            router.handle_timeout(now);
            prop_assert!(drain(&mut router).is_empty());
            prop_assert_eq!(before, format!("{router:?}"));
        }
    }
}
