//! Hosts with virtual routers on virtual links under a virtual clock, with faults drawn from seeds:
//! `cargo run -p vrrp-proto --profile simulation --example simulate -- --count 5000 --seconds 60`
//!
//! | option | meaning |
//! |---|---|
//! | `--seed N` | the first seed; without `--count` the only one. Default 0 |
//! | `--count N` | that many seeds at least, one after the other |
//! | `--seconds N` | go on with further seeds for so long. Default 0 |
//! | `--trace` | print all that happens in the first seed |
//!
//! It prints how often each fault and each transition happened, and fails if a rule is broken; with `--count` also if
//! something never happened.

use std::process::ExitCode;
use std::time::Duration;

use simulator::census::Census;

#[path = "../tests/simulator/mod.rs"]
mod simulator;

struct Options {
    seed: u64,
    count: Option<u64>,
    running: Duration,
    trace: bool,
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(mistake) => {
            eprintln!("{mistake}\nusage: simulate [--seed N] [--count N] [--seconds N] [--trace]");
            return ExitCode::from(2);
        }
    };
    if options.trace {
        simulator::trace(options.seed).iter().for_each(|line| println!("{line}"));
    }
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    let mut census = Census::default();
    let started = now();
    let least = options.seed + options.count.unwrap_or(1);
    let mut seed = options.seed;
    while seed < least || started.elapsed() < options.running {
        simulator::simulate(seed, &mut census).map_err(|failure| failure.to_string())?;
        seed += 1;
    }
    println!("{census}");
    println!("{} seeds in {:.1} s, all rules kept", seed - options.seed, started.elapsed().as_secs_f64());
    let missing = census.missing(&simulator::kinds());
    match options.count {
        Some(_) if !missing.is_empty() => Err(format!("never happened: {}", missing.join(", "))),
        _ => Ok(()),
    }
}

fn options() -> Result<Options, String> {
    let mut options = Options { seed: 0, count: None, running: Duration::ZERO, trace: false };
    let mut words = arguments();
    while let Some(word) = words.next() {
        let mut number = || {
            let value = words.next().ok_or_else(|| format!("{word} needs a number"))?;
            value.parse().map_err(|_| format!("{word} {value}: not a number"))
        };
        match word.as_str() {
            "--seed" => options.seed = number()?,
            "--count" => options.count = Some(number()?),
            "--seconds" => options.running = Duration::from_secs(number()?),
            "--trace" => options.trace = true,
            other => return Err(format!("{other} is no option")),
        }
    }
    Ok(options)
}

#[expect(clippy::disallowed_methods, reason = "a program, not the library")]
fn arguments() -> impl Iterator<Item = String> {
    std::env::args().skip(1)
}

#[expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "how long to go on, not what happens")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}
