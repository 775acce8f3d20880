//! Every state and every input, as a table that a person can read.

use crate::control::Control;
use core::fmt::Write;

use super::*;

/// One input of the table.
pub(super) type Input = (&'static str, fn(&mut VirtualRouter, Instant));

/// When every input happens.
const NOW: Instant = Instant::from_nanos(1_003_700_000_000);

/// Since when the Backup Routers of the table wait.
const SINCE: Instant = Instant::from_nanos(1_003_000_000_000);

pub(super) const INPUTS: [Input; 34] = [
    ("startup", |it, now| it.startup(now)),
    ("resume, was Active", |it, now| it.resume(now, &snapshot_of(Role::Active, now))),
    ("resume, was Backup", |it, now| it.resume(now, &snapshot_of(Role::Backup, now))),
    ("shutdown", |it, now| it.shutdown(now)),
    ("delete", |it, now| it.delete(now)),
    ("timeout, none due", |it, now| it.handle_timeout(now)),
    ("timeout due", |it, _| {
        if let Some(due) = it.poll_timeout() {
            it.handle_timeout(due);
        }
    }),
    ("timeout, a minute late", |it, now| it.handle_timeout(now + millis(60_000))),
    ("advert 0", |it, now| it.handle_advertisement(now, HIGH, &advert(0))),
    ("advert lower", |it, now| it.handle_advertisement(now, HIGH, &advert(50))),
    ("advert equal, lower address", |it, now| it.handle_advertisement(now, LOW, &advert(100))),
    ("advert equal, own address", |it, now| it.handle_advertisement(now, OWN, &advert(100))),
    ("advert equal, higher address", |it, now| it.handle_advertisement(now, HIGH, &advert(100))),
    ("advert higher", |it, now| it.handle_advertisement(now, LOW, &advert(200))),
    ("advert higher, slower", |it, now| {
        it.handle_advertisement(now, LOW, &Advertisement { interval: centis(400), ..advert(200) });
    }),
    ("advert owner, lower address", |it, now| it.handle_advertisement(now, LOW, &advert(255))),
    ("advert owner, own address", |it, now| it.handle_advertisement(now, OWN, &advert(255))),
    ("advert owner, higher address", |it, now| it.handle_advertisement(now, HIGH, &advert(255))),
    ("applied", |it, now| {
        let ticket = it.apply.map_or(Ticket(u64::MAX), |pending| pending.ticket);
        it.handle_applied(now, ticket);
    }),
    ("applied, an older ticket", |it, now| it.handle_applied(now, Ticket(u64::MAX))),
    ("refused", |it, now| {
        let ticket = it.apply.map_or(Ticket(u64::MAX), |pending| pending.ticket);
        it.handle_refused(now, ticket);
    }),
    ("refused, an older ticket", |it, now| it.handle_refused(now, Ticket(u64::MAX))),
    ("address lost", |it, now| it.handle_address_lost(now)),
    ("address lost, four times", |it, now| (0..4).for_each(|_| it.handle_address_lost(now))),
    ("fault", |it, now| it.handle_fault(now, FaultReason::NoSourceAddress)),
    ("fault, the same again", |it, now| it.handle_fault(now, DOWN)),
    ("fault cleared", |it, now| it.handle_fault_cleared(now, DOWN)),
    ("fault cleared, another", |it, now| it.handle_fault_cleared(now, FaultReason::NoSourceAddress)),
    ("weight", |it, _| it.handle_weight(-10)),
    ("link address", |it, _| it.handle_link_address(Some(LOW))),
    ("reconfigure, resources", |it, now| change(it, now, |config| config.resources_revision += 1)),
    ("reconfigure, priority", |it, now| change(it, now, |config| config.priority = Priority(150))),
    ("reconfigure, interval", |it, now| change(it, now, |config| config.advertisement_interval = centis(10))),
    ("reconfigure, strict", |it, now| change(it, now, |config| config.strict = true)),
];

fn change(router: &mut VirtualRouter, now: Instant, set: fn(&mut RouterConfig)) {
    let mut config = router.config().clone();
    set(&mut config);
    router.reconfigure(now, config);
}

fn snapshot_of(role: Role, now: Instant) -> RouterSnapshot {
    RouterSnapshot {
        role,
        last_advertisement: Some(now.saturating_sub(millis(500))),
        active_down_interval: millis(3003),
        active_adver_interval: centis(300),
        last_transition: Some(T0),
        notified: true,
        control: Control::default(),
    }
}

/// Backup since [`SINCE`].
fn waiting(config: RouterConfig) -> VirtualRouter {
    let mut router = VirtualRouter::new(RouterId(1), config);
    router.startup(SINCE);
    acknowledge(&mut router, SINCE);
    router
}

fn states() -> [(&'static str, VirtualRouter); 20] {
    let with = |set: fn(&mut RouterConfig)| {
        let mut config = config();
        set(&mut config);
        config
    };
    let then = |mut router: VirtualRouter, input: fn(&mut VirtualRouter)| {
        input(&mut router);
        router
    };
    let owner = || active(with(|config| config.priority = Priority::OWNER));
    let new = |config| VirtualRouter::new(RouterId(1), config);
    [
        ("Initialize", new(config())),
        ("Initialize, owner", new(with(|config| config.priority = Priority::OWNER))),
        ("Initialize, link down", then(new(config()), |it| it.handle_fault(T0, DOWN))),
        ("Fault, link down", then(active(config()), |it| it.handle_fault(T0 + millis(3650), DOWN))),
        (
            "Fault, link down and no source address",
            then(active(config()), |it| {
                it.handle_fault(T0 + millis(3650), DOWN);
                it.handle_fault(T0 + millis(3650), FaultReason::NoSourceAddress);
            }),
        ),
        (
            "Fault, addresses not in place",
            then(backup(with(|config| config.advertisement_interval = centis(10))), |it| {
                it.handle_timeout(due(it));
                let deadline = it.last_transition().unwrap() + micros(360_937);
                it.handle_timeout(deadline);
                acknowledge(it, deadline);
            }),
        ),
        ("Backup, nobody heard", waiting(config())),
        ("Backup, follows 10.9.0.1", then(waiting(config()), |it| it.handle_advertisement(SINCE, LOW, &advert(200)))),
        (
            "Backup, ready in a sync group",
            then(new(config()), |it| {
                it.set_grouped(Grouped::Member);
                it.startup(T0);
                acknowledge(it, T0);
                it.handle_timeout(due(it));
            }),
        ),
        ("Backup, no preemption", waiting(with(|config| config.preempt_mode = false))),
        (
            "Backup, preempt delay runs",
            then(waiting(with(|config| config.preempt_delay = millis(10_000))), |it| {
                it.handle_advertisement(SINCE, HIGH, &advert(50));
            }),
        ),
        ("Backup, start-up delay", waiting(with(|config| config.start_not_before = SINCE + millis(20_000)))),
        ("Active, addresses not yet in place", then(backup(config()), |it| it.handle_timeout(due(it)))),
        ("Active", active(config())),
        (
            "Active, in conflict with 10.9.0.3",
            then(active(config()), |it| it.handle_advertisement(T0 + millis(3620), HIGH, &advert(50))),
        ),
        (
            "Active, gives up when stalled",
            active(with(|config| {
                config.preempt_mode = false;
                config.timer_expired_backup = Some(Priority(254));
            })),
        ),
        ("Active, owner", then(owner(), |it| it.handle_timeout(T0 + millis(3000)))),
        (
            "Active, owner, tells 10.9.0.1 to yield",
            then(owner(), |it| it.handle_advertisement(T0 + millis(3500), LOW, &advert(255))),
        ),
        (
            "Active, owner, watches 10.9.0.1",
            then(owner(), |it| {
                it.handle_advertisement(T0 + millis(2600), LOW, &advert(255));
                it.handle_timeout(T0 + millis(3600));
            }),
        ),
        (
            "Active, owner at 254 because of 10.9.0.1",
            then(owners::contested(), |it| {
                assert_eq!(it.effective_priority(), Priority(254));
            }),
        ),
    ]
    .map(|(name, mut router)| {
        drain(&mut router);
        assert!(router.poll_timeout().is_none_or(|due| due > NOW), "{name}: nothing is overdue");
        (name, router)
    })
}

/// The action without the words that every line would repeat.
fn terse(action: &str) -> String {
    let text = action.replace(" { initial: false }", "").replace(" { initial: true }", ", the first state");
    let text = bare(&text, "AdvertisementInterval(Centis(Centis(", ")))");
    bare(&text, "Priority(", ")")
}

/// `text` with what stands between `open` and `close` alone.
fn bare(text: &str, open: &str, close: &str) -> String {
    let mut parts = text.split(open);
    let mut bare = String::from(parts.next().unwrap_or_default());
    for part in parts {
        let (value, rest) = part.split_once(close).unwrap();
        bare += value;
        bare += rest;
    }
    bare
}

#[test]
fn every_state_and_every_input() {
    let mut table = String::new();
    for (name, state) in states() {
        writeln!(table, "\n{name}").unwrap();
        for (input, apply) in INPUTS {
            let mut router = state.clone();
            apply(&mut router, NOW);
            let timer = router.poll_timeout().map(|due| due.saturating_duration_since(NOW));
            let next = timer.map_or(String::from("no timer"), |wait| format!("next in {wait:?}"));
            let unchanged = router.state() == state.state() && router.poll_timeout() == state.poll_timeout();
            let mark = if unchanged { "=" } else { " " };
            writeln!(table, "  {input:<30} {mark} {:?}, {next}", router.role()).unwrap();
            for action in drain(&mut router) {
                writeln!(table, "      {}", terse(&action)).unwrap();
            }
        }
    }
    insta::assert_snapshot!(table);
}
