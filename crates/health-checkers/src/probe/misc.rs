//! keepalived's `MISC_CHECK`: a server is usable if a program says so.

use async_trait::async_trait;

use super::{Context, Probe};
use crate::outcome::{Failure, Outcome, Reason};

/// Runs the program of a check. Dropping the future ends the run.
pub trait Program: Send + Sync {
    /// Runs it once. Bounds its time.
    fn run(&self) -> impl Future<Output = Ended> + Send;
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With this exit status, 0 to 255.
    Exited(u8),
    /// By this signal.
    Signalled(i32),
    /// It was told to end, for it took too long.
    TimedOut,
    /// The program could not be started. keepalived takes that for a success.
    NotStarted,
    /// The program may not run on this host. keepalived drops the check, whose server keeps what it began with.
    Refused,
}

/// Runs a program: exit status 0 is a success, anything else a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misc<P> {
    program: P,
    dynamic: bool,
}

/// What messages call a check by a program.
pub const KIND: &str = "MISC_CHECK";

impl<P: Program> Misc<P> {
    /// A check by `program`.
    pub const fn new(program: P) -> Self {
        Self { program, dynamic: false }
    }

    /// A check that gives weights (`misc_dynamic`): an exit status of 2 to 255 is a success, and gives the status less 2.
    #[must_use]
    pub fn dynamic(self, dynamic: bool) -> Self {
        Self { dynamic, ..self }
    }

    fn judge(&self, ended: Ended) -> Outcome {
        match ended {
            Ended::Exited(0) | Ended::NotStarted => Outcome::success(Vec::new()),
            Ended::Exited(status @ 2..) if self.dynamic => {
                Outcome::success_with_weight(Vec::new(), u32::from(status) - 2)
            }
            Ended::Exited(status) => {
                Failure::with_detail(Reason::ProgramFailed, format_args!("exited with status {status}")).into()
            }
            Ended::Signalled(signal) => {
                Failure::with_detail(Reason::ProgramFailed, format_args!("due to signal {signal}")).into()
            }
            Ended::TimedOut => Failure::new(Reason::ProgramTimeout).into(),
            Ended::Refused => Outcome::progress(Vec::new()),
        }
    }
}

#[async_trait]
impl<P: Program> Probe for Misc<P> {
    fn kind(&self) -> &'static str {
        KIND
    }

    async fn run(&self, _: &Context) -> Outcome {
        self.judge(self.program.run().await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;

    impl Program for Nothing {
        async fn run(&self) -> Ended {
            std::future::pending().await
        }
    }

    #[test]
    fn the_status_is_a_verdict_or_a_weight() {
        let judged = |dynamic, ended| Misc::new(Nothing).dynamic(dynamic).judge(ended);
        let success = || Outcome::success(Vec::new());
        let weight = |weight| Outcome::success_with_weight(Vec::new(), weight);
        let failure = |why: &str| Outcome::from(Failure::with_detail(Reason::ProgramFailed, why));
        for dynamic in [false, true] {
            assert_eq!(judged(dynamic, Ended::Exited(0)), success());
            assert_eq!(judged(dynamic, Ended::Exited(1)), failure("exited with status 1"));
            assert_eq!(judged(dynamic, Ended::Signalled(9)), failure("due to signal 9"));
            assert_eq!(judged(dynamic, Ended::TimedOut), Failure::new(Reason::ProgramTimeout).into());
            assert_eq!(judged(dynamic, Ended::NotStarted), success());
            assert_eq!(judged(dynamic, Ended::Refused), Outcome::progress(Vec::new()));
        }
        assert_eq!([2, 3, 255].map(|status| judged(true, Ended::Exited(status))), [0, 1, 253].map(weight));
        assert_eq!(judged(false, Ended::Exited(2)), failure("exited with status 2"));
    }
}
