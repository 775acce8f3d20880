//! keepalived-rs beside Debian's keepalived, in one run on this machine: what `--config-test` of a large file takes.
//!
//! `cargo bench -p keepalived-rs-benches --bench config_test` prints the table of the README: 2,000 virtual servers with
//! 10 real servers each, and half of that for the growth. C keepalived comes from `crates/netlab/peers.sh keepalived`;
//! without it only our column is measured.

#[expect(dead_code, reason = "the other benchmarks use the rest")]
mod daemons;

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use daemons::Result;
use netlab::peers;
use nix::sys::resource::{UsageWho, getrusage};

/// Runs of each program for each file, taking turns.
const ROUNDS: usize = 11;

const VIRTUAL_SERVERS: u32 = 2000;
const REAL_SERVERS: u32 = 10;

/// The first argument of the copy that runs one program and prints what it took.
const MEASURE: &str = "--measure";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match words.split_first() {
        Some((first, command)) if first == MEASURE => measure(command),
        _ if words.iter().any(|word| word == "--test" || word == "--list") => Ok(()),
        _ => compare(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// What one run took.
#[derive(Debug, Clone, Copy)]
struct Cost {
    /// Milliseconds on the clock.
    elapsed: f64,
    /// Milliseconds of processor time.
    cpu: f64,
    /// Most memory that was resident, in MiB.
    memory: f64,
}

fn compare() -> Result<()> {
    daemons::enter()?;
    let mut programs = vec![Command::new(daemons::binary()?)];
    match peers::keepalived() {
        Ok(keepalived) => programs.push(keepalived.command()),
        Err(skip) => println!("without C keepalived: {skip}"),
    }
    println!("| `--config-test`, median of {ROUNDS} | keepalived-rs | C keepalived 2.2.7 | ratio |\n|---|---|---|---|");
    for servers in [VIRTUAL_SERVERS / 2, VIRTUAL_SERVERS] {
        let text = configuration(servers);
        let file = Path::new("/run/keepalived.conf");
        std::fs::write(file, &text)?;
        let mut costs = vec![Vec::new(); programs.len()];
        for _ in 0..ROUNDS {
            for (program, costs) in programs.iter().zip(&mut costs) {
                costs.push(run(program, file)?);
            }
        }
        let what = format!("{} lines, {} real servers", text.lines().count(), servers * REAL_SERVERS);
        row(&what, "ms", &costs, |cost| cost.elapsed);
        row(&format!("{what}: processor"), "ms", &costs, |cost| cost.cpu);
        row(&format!("{what}: memory"), "MiB", &costs, |cost| cost.memory);
    }
    Ok(())
}

fn row(what: &str, unit: &str, costs: &[Vec<Cost>], of: impl Fn(&Cost) -> f64) {
    let medians: Vec<f64> = costs.iter().map(|costs| median(costs.iter().map(&of).collect())).collect();
    let cell = |index: usize| medians.get(index).map_or_else(|| "–".to_owned(), |value| format!("{value:.1} {unit}"));
    let ratio = match medians.as_slice() {
        [ours, c] if *c != 0.0 => format!("{:.2}", ours / c),
        _ => "–".to_owned(),
    };
    println!("| {what} | {} | {} | {ratio} |", cell(0), cell(1));
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Tests `file` with `program`, by way of a copy of this program that has no other child.
fn run(program: &Command, file: &Path) -> Result<Cost> {
    let mut copy = Command::new(std::env::current_exe()?);
    copy.arg(MEASURE).arg(program.get_program()).args(["--config-test", "-l", "-f"]).arg(file);
    for (name, value) in program.get_envs() {
        value.map(|value| copy.env(name, value));
    }
    let output = copy.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8(output.stdout)?;
    let numbers = text.split_whitespace().map(str::parse).collect::<std::result::Result<Vec<f64>, _>>()?;
    match numbers.as_slice() {
        [elapsed, cpu, memory] => Ok(Cost { elapsed: *elapsed, cpu: *cpu, memory: *memory }),
        _ => Err(format!("the measured run said '{text}'").into()),
    }
}

/// Runs one command and prints what it took.
fn measure(command: &[String]) -> Result<()> {
    let (program, arguments) = command.split_first().ok_or("nothing to measure")?;
    let started = Instant::now();
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    let elapsed = started.elapsed().as_secs_f64() * 1000.0;
    if !status.success() {
        return Err(format!("{program} does not accept the file: {status}").into());
    }
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let milliseconds = |time: nix::sys::time::TimeVal| {
        std::time::Duration::new(u64::try_from(time.tv_sec()).unwrap_or(0), 0).as_secs_f64() * 1000.0
            + f64::from(u32::try_from(time.tv_usec()).unwrap_or(0)) / 1000.0
    };
    let cpu = milliseconds(usage.user_time()) + milliseconds(usage.system_time());
    let memory = f64::from(u32::try_from(usage.max_rss())?) / 1024.0;
    println!("{elapsed} {cpu} {memory}");
    Ok(())
}

fn configuration(servers: u32) -> String {
    let mut text = String::from("global_defs {\n    router_id big\n}\n\n");
    for server in 0..servers {
        let (high, low) = (server / 250, server % 250);
        let _infallible = writeln!(
            text,
            "virtual_server 10.{high}.{low}.1 80 {{\n    delay_loop 10\n    lb_algo wlc\n    lb_kind NAT\n    protocol TCP"
        );
        for real in 1..=REAL_SERVERS {
            let _infallible = writeln!(
                text,
                "    real_server 172.{}.{low}.{real} 80 {{\n        weight 1\n        TCP_CHECK {{\n            \
                 connect_port 80\n            connect_timeout 3\n            retry 2\n        }}\n    }}",
                16 + high
            );
        }
        text.push_str("}\n\n");
    }
    text
}
