//! Hosts on virtual links under a virtual clock, a short run of it; `.ci/run` has the long one.
//!
//! A failure prints its seed and what led to it. `cargo run -p vrrp-proto --example simulate -- --seed N --trace` shows
//! all of that seed; `--count` and `--seconds` make a longer run.

use simulator::census::Census;

#[expect(dead_code, reason = "some of it is for the program")]
mod simulator;

const SEEDS: u64 = 300;

#[test]
fn hosts_survive_their_faults() {
    let mut census = Census::default();
    for seed in 0..SEEDS {
        if let Err(failure) = simulator::simulate(seed, &mut census) {
            panic!("{failure}");
        }
    }
    println!("{census}");
    assert_eq!(census.missing(&simulator::kinds()), Vec::<&str>::new(), "did not happen in any seed");
}
