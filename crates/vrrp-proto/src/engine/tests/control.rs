//! What a person tells routers to do.

use super::*;
use crate::control::{Control, StepDown};

fn active() -> Engine {
    let mut engine = engine(&two());
    run_until(&mut engine, T0 + Duration::from_secs(10));
    assert_eq!(role(&engine, 1), Role::Active);
    engine
}

fn at(seconds: u64) -> Instant {
    T0 + Duration::from_secs(seconds)
}

#[test]
fn stepping_down_resigns_at_once_and_stays_away_until_asked() {
    let mut engine = active();
    engine.handle_command(at(10), RouterId(1), Command::StepDown { until: None });
    let actions = settle(&mut engine, at(10));
    assert!(actions.contains(&Action::Advertise { router: RouterId(1), priority: Priority::RESIGN }));
    assert_eq!((role(&engine, 1), role(&engine, 2)), (Role::Backup, Role::Active));
    run_until(&mut engine, at(1000));
    assert_eq!(role(&engine, 1), Role::Backup);
    engine.handle_command(at(1000), RouterId(1), Command::EndStepDown);
    run_until(&mut engine, at(1004));
    assert_eq!(role(&engine, 1), Role::Active);
}

#[test]
fn stepping_down_may_end_by_itself() {
    let mut engine = active();
    engine.handle_command(at(10), RouterId(1), Command::StepDown { until: Some(at(60)) });
    run_until(&mut engine, at(59));
    assert_eq!(role(&engine, 1), Role::Backup);
    run_until(&mut engine, at(64));
    assert_eq!(role(&engine, 1), Role::Active);
}

#[test]
fn an_owner_can_step_down_too() {
    let mut owner = config(1);
    owner.priority = Priority::OWNER;
    let mut engine = engine(&[(RouterId(1), owner)]);
    settle(&mut engine, T0);
    engine.handle_command(at(1), RouterId(1), Command::StepDown { until: None });
    engine.handle_link(at(2), LINK, DOWN);
    engine.handle_link(at(3), LINK, UP);
    run_until(&mut engine, at(60));
    assert_eq!(role(&engine, 1), Role::Backup, "not even after a fault");
    engine.handle_command(at(60), RouterId(1), Command::EndStepDown);
    run_until(&mut engine, at(64));
    assert_eq!(role(&engine, 1), Role::Active);
}

#[test]
fn maintenance_is_a_fault_that_ends_by_command() {
    let mut engine = active();
    engine.handle_command(at(10), RouterId(1), Command::HoldInMaintenance);
    let actions = settle(&mut engine, at(10));
    assert!(actions.contains(&Action::Advertise { router: RouterId(1), priority: Priority::RESIGN }));
    let faults = engine.router(RouterId(1)).unwrap().faults();
    assert_eq!(faults.iter().collect::<Vec<_>>(), [&FaultReason::Maintenance]);
    engine.handle_link(at(11), LINK, DOWN);
    engine.handle_link(at(12), LINK, UP);
    let actions = run_until(&mut engine, at(100));
    let sent =
        |action: &&Action| matches!(action, Action::Advertise { router: RouterId(1), priority } if priority.0 > 0);
    assert_eq!((role(&engine, 1), actions.iter().find(sent)), (Role::Fault, None));
    engine.handle_command(at(100), RouterId(1), Command::EndMaintenance);
    assert_eq!(role(&engine, 1), Role::Backup);
}

#[test]
fn a_temporary_priority_stands_in_for_the_configured_one() {
    let mut engine = active();
    engine.handle_command(at(10), RouterId(1), Command::SetPriority(Priority(7)));
    let moved = Event::PriorityChanged { from: Priority(100), to: Priority(7) };
    assert!(drain(&mut engine).contains(&Action::Record { router: RouterId(1), event: moved }));
    assert_eq!(engine.router(RouterId(1)).unwrap().effective_priority(), Priority(7));
    for refused in [Priority(0), Priority(255)] {
        engine.handle_command(at(10), RouterId(1), Command::SetPriority(refused));
        assert!(drain(&mut engine).is_empty());
    }
    engine.handle_command(at(10), RouterId(1), Command::EndPriority);
    assert_eq!(engine.router(RouterId(1)).unwrap().effective_priority(), Priority(100));
}

#[test]
fn a_command_given_twice_counts_once() {
    let mut engine = active();
    for command in [Command::StepDown { until: None }, Command::HoldInMaintenance, Command::SetPriority(Priority(9))] {
        engine.handle_command(at(10), RouterId(1), command);
        settle(&mut engine, at(10));
        engine.handle_command(at(10), RouterId(1), command);
        assert!(drain(&mut engine).is_empty(), "{command:?}");
    }
}

#[test]
fn commands_hold_over_a_restart_of_the_process() {
    let mut before = active();
    before.handle_command(at(10), RouterId(1), Command::StepDown { until: Some(at(60)) });
    before.handle_command(at(10), RouterId(2), Command::HoldInMaintenance);
    before.handle_command(at(10), RouterId(2), Command::SetPriority(Priority(9)));
    settle(&mut before, at(10));
    let mut after = Engine::resume(before.snapshot());
    after.handle_link(at(11), LINK, UP);
    after.reconfigure(at(11), &wanted(&two()));
    assert_eq!((role(&after, 1), role(&after, 2)), (Role::Backup, Role::Fault));
    let control = |id| after.router(RouterId(id)).unwrap().control();
    assert_eq!(control(1).step_down, Some(StepDown::Until(at(60))));
    assert_eq!((control(2).maintenance, control(2).priority), (true, Some(Priority(9))));
    run_until(&mut after, at(59));
    assert_eq!(role(&after, 1), Role::Backup);
    run_until(&mut after, at(64));
    assert_eq!(role(&after, 1), Role::Active);
    after.handle_command(at(64), RouterId(2), Command::EndMaintenance);
    assert_eq!(role(&after, 2), Role::Backup);
}

#[test]
fn commands_hold_over_a_reload_that_restarts_the_router() {
    let mut engine = active();
    engine.handle_command(at(10), RouterId(1), Command::HoldInMaintenance);
    let plan = engine.reconfigure(at(11), &wanted(&[(RouterId(1), config(9))]));
    assert_eq!((plan.restarted, role(&engine, 1)), (vec![RouterId(1)], Role::Fault));
    engine.handle_command(at(12), RouterId(1), Command::EndMaintenance);
    assert_eq!(role(&engine, 1), Role::Backup);
    assert_eq!(engine.router(RouterId(1)).unwrap().control(), Control::default());
}

#[test]
fn a_router_that_was_told_to_stay_away_does_not_resume_as_active() {
    let mut before = active();
    let mut snapshot = before.snapshot();
    drain(&mut before);
    snapshot.routers.get_mut(&RouterId(1)).unwrap().control.step_down = Some(StepDown::UntilEnded);
    let mut after = Engine::resume(snapshot);
    after.handle_link(at(10), LINK, UP);
    after.reconfigure(at(10), &wanted(&two()));
    assert_eq!((role(&after, 1), role(&after, 2)), (Role::Backup, Role::Active));
}
