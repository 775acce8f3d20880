//! Is the simulator worth anything? Bugs are planted in the engine, one after the other, and each must break a rule.
//! `cargo test -p vrrp-proto --profile simulation --features planted-bugs --test planted_bugs`

use std::panic;

use simulator::census::Census;
use vrrp_proto::{Bug, plant};

#[expect(dead_code, reason = "some of it is for the program")]
mod simulator;

/// A bug that so many seeds do not show is not found.
const SEEDS: u64 = 1_000;

/// One test alone: a planted bug is in the whole process.
#[test]
fn every_planted_bug_is_found() {
    // A bug may show as a panic, which the simulator catches.
    panic::set_hook(Box::new(|_| {}));
    let found: Vec<_> = Bug::ALL.into_iter().map(|bug| (bug, seed_that_shows(bug))).collect();
    let _ = panic::take_hook();
    plant(None);
    for (bug, shown) in &found {
        match shown {
            Some((seed, rule)) => println!("{bug:?}: seed {seed}: {rule}"),
            None => println!("{bug:?}: not found in {SEEDS} seeds"),
        }
    }
    assert!(found.iter().all(|(_, shown)| shown.is_some()), "some bug was not found");
    assert!(simulator::simulate(0, &mut Census::default()).is_ok(), "without a bug the first seed is sound");
}

fn seed_that_shows(bug: Bug) -> Option<(u64, String)> {
    plant(Some(bug));
    let failure = (0..SEEDS).find_map(|seed| simulator::simulate(seed, &mut Census::default()).err())?;
    Some((failure.seed, failure.rule))
}
