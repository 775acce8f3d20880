//! The laboratory itself: what it promises to the tests that are built on it.

use std::process::ExitCode;

use netlab::harness::{self, CaseResult, case};

fn a_panic() -> CaseResult {
    for f in ["/proc/self/uid_map", "/proc/mounts"] {
        println!("{}", std::fs::read_to_string(f)?);
    }
    println!(
        "{:?}",
        std::fs::read_dir("/proc")?
            .flatten()
            .map(|e| e.file_name())
            .filter(|n| n.to_string_lossy().starts_with(char::is_numeric))
            .collect::<Vec<_>>()
    );
    println!(
        "{:?}",
        std::process::Command::new("ls")
            .arg("-lR")
            .arg("/dev")
            .arg("/run")
            .status()
    );
    Ok(())
}

fn main() -> ExitCode {
    harness::main(&[case("a_panic", a_panic)])
}
