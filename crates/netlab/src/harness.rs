//! A runner for test binaries with `harness = false`: enters namespaces of its own, then runs the cases one after the other.
//!
//! ```no_run
//! use netlab::Lab;
//! use netlab::harness::{self, CaseResult, case};
//!
//! fn two_hosts_exist() -> CaseResult {
//!     let lab = Lab::new()?;
//!     lab.host("r1")?;
//!     lab.host("r2")?;
//!     Ok(())
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     harness::main(&[case("two_hosts_exist", two_hosts_exist)])
//! }
//! ```
//!
//! Understood of libtest's arguments: names to run (parts of names, or whole ones with `--exact`), `--skip NAME`, `--list`, `--ignored`
//! (nothing is); others are accepted and change nothing. The last line is `N passed, N failed, N skipped`.

use std::any::Any;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;
use std::{env, thread};

use crate::error::Skip;
use crate::isolation::enter;
use crate::vm;
use crate::vm::Vm;

/// With the value `required`, a skipped case counts as a failure.
pub const REQUIRED: &str = "KEEPALIVED_RS_LABS";
/// How long one case may take unless it says otherwise.
const DEADLINE: Duration = Duration::from_secs(120);

/// Why a case did not pass. Made by `?` from any error; [`Skip`] and [`vm::Skip`] are those that skip.
#[derive(Debug)]
pub enum Stop {
    /// Something is wrong.
    Failed(String),
    /// This machine lacks what is needed to know.
    Skipped(String),
}

impl Stop {
    /// A failure with a reason of one's own.
    pub fn failed(reason: impl Into<String>) -> Self {
        Self::Failed(reason.into())
    }
}

impl<E: Error + 'static> From<E> for Stop {
    fn from(error: E) -> Self {
        let any: &dyn Error = &error;
        if any.is::<Skip>() || any.is::<vm::Skip>() {
            Self::Skipped(error.to_string())
        } else {
            Self::Failed(error.to_string())
        }
    }
}

/// What a case returns; a panic is a failure too.
pub type CaseResult = Result<(), Stop>;

/// A named test.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    name: &'static str,
    run: fn() -> CaseResult,
    deadline: Duration,
}

/// A test that may take two minutes.
pub const fn case(name: &'static str, run: fn() -> CaseResult) -> Case {
    Case { name, run, deadline: DEADLINE }
}

impl Case {
    /// The same test with another deadline.
    #[must_use]
    pub const fn within(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }
}

/// Runs the `cases` that the program's arguments select, each inside the program's own namespaces; the whole `main` of a test binary. Where
/// namespaces are refused, every case is skipped with that reason.
pub fn main(cases: &[Case]) -> ExitCode {
    main_parallel(cases, 1)
}

/// Like [`main`], with as many as `at_once` cases at a time: for cases that wait more than they work, and that compare the times
/// which they measure with those of a control in the same case.
pub fn main_parallel(cases: &[Case], at_once: usize) -> ExitCode {
    let selection = Selection::new(env::args().skip(1));
    let chosen: Vec<_> = cases.iter().filter(|case| selection.chooses(case.name)).collect();
    if selection.list {
        for case in chosen {
            println!("{}: test", case.name);
        }
        return ExitCode::SUCCESS;
    }
    let refused = enter().err();
    let summary = run_all(&chosen, at_once, |case| match &refused {
        None => run(case),
        Some(refused) => Err(Stop::Skipped(format!("{refused}; {}", refused.hint()))),
    });
    summary.finish(env::var(REQUIRED).is_ok_and(|value| value == "required"))
}

fn run_all(cases: &[&Case], at_once: usize, run: impl Fn(&Case) -> CaseResult + Sync) -> Summary {
    let (next, summary) = (AtomicUsize::new(0), Mutex::new(Summary::default()));
    let work = || {
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let result = run(case);
            summary.lock().unwrap_or_else(PoisonError::into_inner).count(case.name, &result);
        }
    };
    thread::scope(|scope| {
        for _ in 0..at_once.clamp(1, cases.len().max(1)) {
            scope.spawn(work);
        }
    });
    summary.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Like [`main`], but where the program stands, for cases that need data rather than a laboratory: since nothing that could be
/// installed provides them, a skip is never a failure.
pub fn main_in_place(cases: &[Case]) -> ExitCode {
    let selection = Selection::new(env::args().skip(1));
    let chosen = cases.iter().filter(|case| selection.chooses(case.name));
    let mut summary = Summary::default();
    for case in chosen {
        if selection.list {
            println!("{}: test", case.name);
        } else {
            summary.count(case.name, &run(case));
        }
    }
    if selection.list { ExitCode::SUCCESS } else { summary.finish(false) }
}

/// Set where the cases of [`main_in_vm`] run.
const INSIDE_VM: &str = "KEEPALIVED_RS_INSIDE_VM";

/// How long a machine may run beyond what its cases may take.
const BOOT: Duration = Duration::from_secs(60);

/// Like [`main`], but as root on a kernel of its own: boots one virtual machine, which `prepare` fills with what the cases need
/// beside this program, and runs it in there. Where there can be no machine, every case is skipped with that reason.
pub fn main_in_vm(prepare: impl FnOnce(Vm) -> Result<Vm, Stop>, cases: &[Case]) -> ExitCode {
    let selection = Selection::new(env::args().skip(1));
    let chosen: Vec<_> = cases.iter().filter(|case| selection.chooses(case.name)).collect();
    let mut summary = Summary::default();
    if selection.list {
        for case in chosen {
            println!("{}: test", case.name);
        }
        return ExitCode::SUCCESS;
    } else if env::var_os(INSIDE_VM).is_some() {
        for case in chosen {
            summary.count(case.name, &run(case));
        }
    } else if !chosen.is_empty() {
        let result = Vm::new().map_err(Stop::from).and_then(|vm| run_in(vm, prepare, &chosen));
        match result {
            Ok(status) => return status,
            Err(Stop::Skipped(reason)) => {
                for case in chosen {
                    summary.count(case.name, &Err(Stop::Skipped(reason.clone())));
                }
            }
            Err(failed) => summary.count("the virtual machine", &Err(failed)),
        }
    }
    summary.finish(env::var(REQUIRED).is_ok_and(|value| value == "required"))
}

/// Boots the machine and shows what this program says in it.
fn run_in(vm: Vm, prepare: impl FnOnce(Vm) -> Result<Vm, Stop>, cases: &[&Case]) -> Result<ExitCode, Stop> {
    let program = env::current_exe()?;
    let vm = prepare(vm)?.program(&program)?;
    let variables = ["HOME", "KEEPALIVED_RS_CACHE", "XDG_CACHE_HOME", crate::peers::FOLDER, REQUIRED];
    let variables = variables.iter().filter_map(|name| Some(format!("{name}='{}'", env::var(name).ok()?)));
    let names: Vec<_> = cases.iter().map(|case| case.name).collect();
    let command = format!(
        "env {INSIDE_VM}=1 {} '{}' --exact {}",
        variables.collect::<Vec<_>>().join(" "),
        program.display(),
        names.join(" ")
    );
    let deadline = cases.iter().map(|case| case.deadline).sum::<Duration>() + BOOT;
    let output = vm.run(&command, deadline)?;
    print!("{}", output.output);
    Ok(if output.status == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// On a thread of its own, so that a case that hangs can be given up. What it leaves behind ends with the program.
fn run(case: &Case) -> CaseResult {
    let (sender, receiver) = mpsc::channel();
    let function = case.run;
    thread::spawn(move || {
        let result = catch_unwind(AssertUnwindSafe(function));
        sender.send(result.unwrap_or_else(|panic| Err(Stop::failed(message(&*panic)))))
    });
    let late = |_| Err(Stop::failed(format!("not finished after {:?}", case.deadline)));
    receiver.recv_timeout(case.deadline).unwrap_or_else(late)
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", text.unwrap_or("with a value that is no text"))
}

#[derive(Debug, Default)]
struct Summary {
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Summary {
    fn count(&mut self, name: &str, result: &CaseResult) {
        match result {
            Ok(()) => {
                self.passed += 1;
                println!("test {name} ... ok");
            }
            Err(Stop::Failed(reason)) => {
                self.failed += 1;
                println!("test {name} ... FAILED\n    {reason}");
            }
            Err(Stop::Skipped(reason)) => {
                self.skipped += 1;
                println!("test {name} ... skipped: {reason}");
            }
        }
    }

    fn finish(&self, all_required: bool) -> ExitCode {
        let Self { passed, failed, skipped } = *self;
        println!("{passed} passed, {failed} failed, {skipped} skipped");
        if failed > 0 || (all_required && skipped > 0) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

/// Which cases the arguments ask for.
#[derive(Debug, Default)]
struct Selection {
    names: Vec<String>,
    skipped: Vec<String>,
    exact: bool,
    list: bool,
    ignored: bool,
}

impl Selection {
    fn new(mut arguments: impl Iterator<Item = String>) -> Self {
        let mut selection = Self::default();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--exact" => selection.exact = true,
                "--list" => selection.list = true,
                "--ignored" => selection.ignored = true,
                "--skip" => selection.skipped.extend(arguments.next()),
                "--format" | "--test-threads" | "--color" | "--logfile" | "-Z" => drop(arguments.next()),
                option if option.starts_with('-') => {}
                _ => selection.names.push(argument),
            }
        }
        selection
    }

    fn chooses(&self, name: &str) -> bool {
        let matches = |pattern: &String| {
            if self.exact { name == pattern } else { name.contains(pattern.as_str()) }
        };
        !self.ignored && (self.names.is_empty() || self.names.iter().any(matches)) && !self.skipped.iter().any(matches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(arguments: &[&str]) -> Selection {
        Selection::new(arguments.iter().map(|&argument| argument.to_owned()))
    }

    #[test]
    fn parts_of_names_choose_and_exact_names_choose_exactly() {
        assert!(selection(&[]).chooses("failover_v4"));
        assert!(selection(&["failover"]).chooses("failover_v4"));
        assert!(!selection(&["failover", "--exact", "--nocapture"]).chooses("failover_v4"));
        assert!(selection(&["failover_v4", "--exact"]).chooses("failover_v4"));
        assert!(!selection(&["--skip", "v4"]).chooses("failover_v4"));
    }

    #[test]
    fn nothing_is_ignored_when_a_runner_lists() {
        let list = selection(&["--list", "--format", "terse", "--ignored"]);
        assert!(list.list && !list.chooses("failover_v4"));
        assert!(selection(&["--list", "--format", "terse"]).chooses("failover_v4"));
    }

    #[test]
    fn a_skip_fails_only_where_the_labs_are_required() {
        let mut summary = Summary::default();
        summary.count("a", &Ok(()));
        summary.count("b", &Err(Skip("no reason".to_owned()).into()));
        assert_eq!(summary.finish(false), ExitCode::SUCCESS);
        assert_eq!(summary.finish(true), ExitCode::FAILURE);
    }

    #[test]
    fn every_case_runs_once_and_as_many_at_once_as_said() {
        let names = ["a", "b", "c", "d", "e"];
        let cases = names.map(|name| case(name, || Ok(())));
        let all: Vec<_> = cases.iter().collect();
        let (running, most, ran) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(Vec::new()));
        let summary = run_all(&all, 2, |case| {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            thread::yield_now();
            ran.lock().unwrap().push(case.name);
            running.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        });
        let mut ran = ran.into_inner().unwrap();
        ran.sort_unstable();
        assert_eq!(ran, names);
        assert_eq!(summary.passed, 5);
        assert!(most.into_inner() <= 2);
    }

    #[test]
    fn a_panic_and_a_hang_are_failures() {
        let failed = |case: &Case| matches!(run(case), Err(Stop::Failed(_)));
        assert!(failed(&case("panics", || panic!("on purpose"))));
        let hangs = case("hangs", || {
            thread::park();
            Ok(())
        });
        assert!(failed(&hangs.within(Duration::from_millis(10))));
    }
}
