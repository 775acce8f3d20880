//! A deterministic simulator: hosts with virtual routers on links, under one virtual clock, with faults drawn from a
//! seed. Real octets travel from `Transmitter` to `Receiver`; every step is checked.
//!
//! Used by the tests of this crate, by `examples/simulate.rs` and by the simulation of the daemon's supervisor.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation)]

pub(crate) mod census;
pub(crate) mod checks;
pub(crate) mod faults;
pub(crate) mod junk;
pub(crate) mod kernel;
pub(crate) mod network;
pub(crate) mod node;
pub(crate) mod random;
pub(crate) mod scenario;
pub(crate) mod trace;
pub(crate) mod world;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use census::Census;
use faults::Step;
use random::Random;
use scenario::{MILLI, Scenario};
use trace::Trace;
use world::World;

/// What must have happened at least once in a run of many seeds.
pub(crate) fn kinds() -> Vec<&'static str> {
    let actions = [
        "action: announcement",
        "action: conflict begins",
        "action: conflict ends",
        "action: notification",
        "action: process started",
        "action: address cleaned up",
        "packet: discarded",
        "packet: lost",
        "packet: duplicated",
        "packet: corrupted",
        "packet: stopped by a partition",
    ];
    faults::KINDS.into_iter().chain(junk::KINDS).chain(checks::TRANSITIONS).chain(actions).collect()
}

/// A rule that a seed broke, and how it came to that.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) seed: u64,
    pub(crate) rule: String,
    trace: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.trace.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        writeln!(f, "seed {}: {}", self.seed, self.rule)?;
        write!(f, "to see all of it: cargo run -p vrrp-proto --example simulate -- --seed {} --trace", self.seed)
    }
}

/// Runs one seed; what happened is added to the census.
pub(crate) fn simulate(seed: u64, census: &mut Census) -> Result<(), Box<Failure>> {
    let world = run(seed, false);
    census.merge(&world.census);
    let Some(rule) = world.failure else { return Ok(()) };
    let trace = run(seed, true).trace.lines(false);
    Err(Box::new(Failure { seed, rule, trace }))
}

/// The whole trace of a seed.
pub(crate) fn trace(seed: u64) -> Vec<String> {
    run(seed, true).trace.lines(true)
}

fn run(seed: u64, traced: bool) -> World {
    let mut random = Random::new(seed);
    let scenario = Scenario::new(&mut random);
    let mut world = World::new(scenario, random, Trace::new(traced));
    let panicked = catch_unwind(AssertUnwindSafe(|| play(&mut world))).is_err();
    if panicked {
        world.fail(|| "something panicked".into());
    }
    world.close();
    world
}

/// Everybody starts, things go wrong, and in the end all is well.
fn play(world: &mut World) {
    world.describe();
    for node in 0..world.nodes.len() {
        let after = world.random.below(1_000) * MILLI;
        world.disturb_node(node, after);
        world.plan(after, Step::Boot { node, life: 0 });
    }
    let last = world.plan_faults();
    let longest = world.longest_active_down_interval();
    let rest = last + 4 * longest + 2 * world.settling();
    world.live_until(rest.max(20 * longest));
    world.census.add("simulated: Active_Down_Intervals", world.now / longest);
}
