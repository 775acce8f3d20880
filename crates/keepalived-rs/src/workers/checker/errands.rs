//! Programs that the runner runs for checks: this process may start none.
//!
//! A check waits for the end of its program for as long as there is no runner, and the next one is asked anew: that we
//! cannot run a program says nothing of a server, and what is known of it stays. The supervisor replaces a runner that is
//! gone, or that hangs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use conf_parser::config::Script;
use health_checkers::probe::misc::{Ended, Program};
use tokio::sync::{mpsc, oneshot};

use super::balancer::CheckId;
use crate::ipc::{CheckEnd, CheckRun, RunEnd, ToRunner};

/// What a check asks for.
#[derive(Debug)]
pub(super) enum Ask {
    Run(CheckRun, oneshot::Sender<Ended>),
    Drop(u64),
}

/// The runs that checks wait for.
#[derive(Debug)]
pub(super) struct Errands {
    ask: mpsc::UnboundedSender<Ask>,
    /// As many as tries are under way, and as many that were given up.
    asks: mpsc::UnboundedReceiver<Ask>,
    numbers: Arc<AtomicU64>,
    under_way: BTreeMap<u64, (CheckRun, oneshot::Sender<Ended>)>,
    /// Those of them that this runner has not been told of.
    unsent: BTreeSet<u64>,
    /// Those that it was told of and need not go on with.
    dropped: BTreeSet<u64>,
}

impl Errands {
    /// Runs are numbered from `first`: the runner may not be done yet with those of a checker before this one.
    pub(super) fn counting_from(first: u64) -> Self {
        let (ask, asks) = mpsc::unbounded_channel();
        let numbers = Arc::new(AtomicU64::new(first));
        let (under_way, unsent, dropped) = Default::default();
        Self { ask, asks, numbers, under_way, unsent, dropped }
    }

    /// The program of `check`, which may take so long.
    pub(super) fn program(&self, check: CheckId, script: Script, timeout: Duration) -> Errand {
        Errand { ask: self.ask.clone(), numbers: Arc::clone(&self.numbers), check, script, timeout }
    }

    /// What a check asks for next; never, while none does.
    pub(super) async fn next(&mut self) -> Ask {
        match self.asks.recv().await {
            Some(ask) => ask,
            // This one can always ask.
            None => std::future::pending().await,
        }
    }

    /// A check asks.
    pub(super) fn take(&mut self, ask: Ask) {
        match ask {
            Ask::Run(run, end) => {
                self.unsent.insert(run.number);
                self.under_way.insert(run.number, (run, end));
            }
            Ask::Drop(number) => {
                let was_sent = self.under_way.remove(&number).is_some() && !self.unsent.remove(&number);
                if was_sent {
                    self.dropped.insert(number);
                }
            }
        }
    }

    /// The runner is a new one.
    pub(super) fn connected(&mut self) {
        self.unsent = self.under_way.keys().copied().collect();
        self.dropped.clear();
    }

    /// What to send next: first what makes room.
    pub(super) fn poll_send(&self) -> Option<ToRunner> {
        let dropped = self.dropped.first().map(|number| ToRunner::Drop(*number));
        dropped.or_else(|| Some(ToRunner::Run(self.under_way.get(self.unsent.first()?)?.0.clone())))
    }

    /// What [`poll_send`](Self::poll_send) gave was sent.
    pub(super) fn sent(&mut self) {
        if self.dropped.pop_first().is_none() {
            self.unsent.pop_first();
        }
    }

    /// A run ended.
    pub(super) fn handle_end(&mut self, CheckEnd { number, how }: CheckEnd) {
        let ended = match how {
            RunEnd::Exited(status) => Ended::Exited(status),
            RunEnd::Signalled(signal) => Ended::Signalled(signal),
            RunEnd::TimedOut => Ended::TimedOut,
            RunEnd::NotStarted => Ended::NotStarted,
            RunEnd::Refused => Ended::Refused,
        };
        if let Some((_, end)) = self.under_way.remove(&number) {
            // Whose check has just been given up does not hear it.
            let _ = end.send(ended);
        }
    }
}

/// The program of a check.
#[derive(Debug)]
pub(super) struct Errand {
    ask: mpsc::UnboundedSender<Ask>,
    numbers: Arc<AtomicU64>,
    check: CheckId,
    script: Script,
    timeout: Duration,
}

/// A run that is waited for.
struct Call<'a> {
    ask: &'a mpsc::UnboundedSender<Ask>,
    number: u64,
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        // Of one that has ended nobody knows any more. Without a worker there is no runner to tell either.
        let _ = self.ask.send(Ask::Drop(self.number));
    }
}

impl Program for Errand {
    async fn run(&self) -> Ended {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let (end, ended) = oneshot::channel();
        let Self { check, timeout, .. } = *self;
        let run = CheckRun { number, check, script: self.script.clone(), timeout };
        let _ = self.ask.send(Ask::Run(run, end));
        let _call = Call { ask: &self.ask, number };
        match ended.await {
            Ok(ended) => ended,
            // The worker is gone, and this with it.
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A check whose first try is under way.
    fn asked(errands: &mut Errands) -> tokio::task::JoinHandle<Ended> {
        let script = Script { command: vec!["/check".into()], user: None };
        let errand = errands.program(7, script, Duration::from_secs(1));
        tokio::spawn(async move { errand.run().await })
    }

    async fn hear(errands: &mut Errands) {
        let ask = errands.next().await;
        errands.take(ask);
    }

    fn send(errands: &mut Errands) -> Vec<ToRunner> {
        let mut sent = Vec::new();
        while let Some(ask) = errands.poll_send() {
            sent.push(ask);
            errands.sent();
        }
        sent
    }

    fn number(sent: &[ToRunner]) -> u64 {
        let [ToRunner::Run(CheckRun { number, check: 7, .. })] = sent else { panic!("{sent:?}") };
        *number
    }

    #[tokio::test]
    async fn a_new_runner_is_asked_for_what_the_last_one_has_not_answered() {
        let mut errands = Errands::counting_from(1);
        let first = asked(&mut errands);
        hear(&mut errands).await;
        let run = number(&send(&mut errands));
        assert_eq!(send(&mut errands), []);
        errands.connected();
        assert_eq!(number(&send(&mut errands)), run);
        errands.handle_end(CheckEnd { number: run, how: RunEnd::Exited(3) });
        assert_eq!(first.await.unwrap(), Ended::Exited(3));
        hear(&mut errands).await;
        errands.connected();
        assert_eq!(send(&mut errands), [], "it has been answered");
    }

    #[tokio::test]
    async fn the_runner_hears_of_what_is_given_up() {
        let mut errands = Errands::counting_from(1);
        let (first, second) = (asked(&mut errands), asked(&mut errands));
        hear(&mut errands).await;
        let run = number(&send(&mut errands));
        hear(&mut errands).await;
        for given_up in [first, second] {
            given_up.abort();
            assert!(given_up.await.unwrap_err().is_cancelled());
            hear(&mut errands).await;
        }
        assert_eq!(send(&mut errands), [ToRunner::Drop(run)], "of the other one it has not heard");
        errands.handle_end(CheckEnd { number: run, how: RunEnd::Exited(0) });
        let third = asked(&mut errands);
        hear(&mut errands).await;
        assert!(number(&send(&mut errands)) > run);
        third.abort();
    }
}
