//! Runs many checks on one task.
//!
//! A [`Driver`] is a [`Stream`] of [`Event`]s, one for each finished try; poll it in the caller's loop and change its
//! checks between two events. Nothing is spawned: dropping the driver ends every try.
//!
//! Load is spread: first tries come at random times within each check's `warmup`, later ones follow the end of the
//! one before, and at most a given number of tries is under way, so that neither a start with thousands of servers nor
//! a host that wakes from a long sleep opens thousands of connections at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::{Future as _, poll_fn},
    num::NonZeroUsize,
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use futures::{
    future::{AbortHandle, Abortable, Aborted, BoxFuture},
    stream::{FuturesUnordered, Stream},
};
use tokio::time::{self, Sleep};

use crate::{
    outcome::Outcome,
    probe::{Context, Probe},
    schedule::{Attempt, Instant, Report, Schedule, Verdict},
};

/// One finished try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event<Id> {
    /// The check.
    pub id: Id,
    /// Which step was tried, and how often before.
    pub attempt: Attempt,
    /// What the probe found.
    pub outcome: Outcome,
    /// What it led to; [`Report::changed`] marks a new verdict.
    pub report: Report,
    /// How long the try took.
    pub took: Duration,
}

/// Many checks, each with an id of the caller's.
///
/// Its time is tokio's, counted from when the driver was made, so it needs a tokio runtime with time and network
/// enabled.
pub struct Driver<Id> {
    checks: BTreeMap<Id, Check>,
    /// When each waiting check is due: in step with the schedules of `checks`.
    due: BTreeSet<(Instant, Id)>,
    running: FuturesUnordered<Abortable<BoxFuture<'static, Finished<Id>>>>,
    in_flight: NonZeroUsize,
    origin: time::Instant,
    sleep: Pin<Box<Sleep>>,
}

struct Check {
    schedule: Schedule,
    probe: Arc<dyn Probe>,
    /// Ends the try under way.
    running: Option<AbortHandle>,
}

struct Finished<Id> {
    id: Id,
    attempt: Attempt,
    outcome: Outcome,
    took: Duration,
}

impl<Id: Ord + Clone + Send + 'static> Driver<Id> {
    /// Tries under way at once that suit most hosts. Each may hold a descriptor, so the process needs a limit above.
    pub const DEFAULT_IN_FLIGHT: NonZeroUsize = NonZeroUsize::new(4096).expect("is not zero");

    /// A driver without checks that has at most `in_flight` tries under way.
    ///
    /// # Panics
    /// Outside a tokio runtime with time enabled.
    #[must_use]
    pub fn new(in_flight: NonZeroUsize) -> Self {
        Self {
            checks: BTreeMap::new(),
            due: BTreeSet::new(),
            running: FuturesUnordered::new(),
            in_flight,
            origin: time::Instant::now(),
            sleep: Box::pin(time::sleep(Duration::ZERO)),
        }
    }

    /// Adds a check, suspended; an earlier one of this id is removed.
    ///
    /// A schedule that is active already belongs to another time: pass [`Schedule::new`] or [`Schedule::resume`].
    pub fn add(&mut self, id: Id, mut schedule: Schedule, probe: Box<dyn Probe>) {
        self.remove(&id);
        schedule.suspend();
        self.checks.insert(id, Check { schedule, probe: Arc::from(probe), running: None });
    }

    /// Removes a check, ends its try under way, and returns its last verdict. No event of it follows.
    pub fn remove(&mut self, id: &Id) -> Option<Verdict> {
        self.suspend(id);
        self.checks.remove(id).map(|check| check.schedule.verdict())
    }

    /// Starts a check, or starts it again: its first try comes after a random part of its `warmup`. Changes nothing on
    /// a check that is active already or not there.
    pub fn activate(&mut self, id: &Id) {
        let now = self.now();
        let Some(check) = self.checks.get_mut(id) else {
            return;
        };
        check.schedule.activate(now);
        if let Some(due) = check.schedule.poll_timeout() {
            self.due.insert((due, id.clone()));
        }
    }

    /// Stops a check (`ha_suspend`) and ends its try under way. Its verdict stays; no event of it follows until
    /// [`activate`](Self::activate).
    pub fn suspend(&mut self, id: &Id) {
        let Some(check) = self.checks.get_mut(id) else {
            return;
        };
        if let Some(due) = check.schedule.poll_timeout() {
            self.due.remove(&(due, id.clone()));
        }
        if let Some(running) = check.running.take() {
            running.abort();
        }
        check.schedule.suspend();
    }

    /// The last verdict of a check.
    #[must_use]
    pub fn verdict(&self, id: &Id) -> Option<Verdict> {
        self.checks.get(id).map(|check| check.schedule.verdict())
    }

    /// The checks by id, with their last verdicts.
    pub fn verdicts(&self) -> impl Iterator<Item = (&Id, Verdict)> {
        self.checks.iter().map(|(id, check)| (id, check.schedule.verdict()))
    }

    /// Number of tries under way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.running.len()
    }

    /// Waits for the next finished try; for ever if no check is active. Cancel safe.
    pub async fn next_event(&mut self) -> Event<Id> {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    fn poll_event(&mut self, cx: &mut TaskContext<'_>) -> Poll<Event<Id>> {
        loop {
            self.start_due();
            match Pin::new(&mut self.running).poll_next(cx) {
                Poll::Ready(Some(Ok(finished))) => {
                    if let Some(event) = self.conclude(finished) {
                        return Poll::Ready(event);
                    }
                }
                Poll::Ready(Some(Err(Aborted))) => {}
                Poll::Ready(None) | Poll::Pending => {
                    if self.poll_sleep(cx).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    /// Starts what is due, the longest overdue first, as far as tries may be under way.
    fn start_due(&mut self) {
        let now = self.now();
        while self.running.len() < self.in_flight.get()
            && self.due.first().is_some_and(|(due, _)| *due <= now)
            && let Some((_, id)) = self.due.pop_first()
        {
            let Some(check) = self.checks.get_mut(&id) else {
                continue;
            };
            let Some(attempt) = check.schedule.poll_attempt(now) else {
                continue;
            };
            let cx = Context::new(attempt, check.schedule.verdict());
            let future = attempt_once(id, Arc::clone(&check.probe), cx);
            let (handle, registration) = AbortHandle::new_pair();
            check.running = Some(handle);
            self.running.push(Abortable::new(Box::pin(future), registration));
        }
    }

    fn conclude(&mut self, finished: Finished<Id>) -> Option<Event<Id>> {
        let now = self.now();
        let Finished { id, attempt, outcome, took } = finished;
        let check = self.checks.get_mut(&id)?;
        check.running = None;
        let report = check.schedule.handle_outcome(now, &outcome)?;
        if let Some(due) = check.schedule.poll_timeout() {
            self.due.insert((due, id.clone()));
        }
        Some(Event { id, attempt, outcome, report, took })
    }

    /// Pending until the earliest check is due; when no more may start, until a try ends.
    fn poll_sleep(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        let Some((due, _)) = self.due.first() else {
            return Poll::Pending;
        };
        if self.running.len() >= self.in_flight.get() {
            return Poll::Pending;
        }
        let deadline = self.origin + due.saturating_duration_since(Instant::default()).min(FAR_FUTURE);
        if self.sleep.deadline() != deadline {
            self.sleep.as_mut().reset(deadline);
        }
        self.sleep.as_mut().poll(cx)
    }

    fn now(&self) -> Instant {
        Instant::default() + self.origin.elapsed()
    }
}

/// About a hundred years: what tokio can add to any of its instants.
const FAR_FUTURE: Duration = Duration::from_secs(100 * 365 * 86_400);

async fn attempt_once<Id>(id: Id, probe: Arc<dyn Probe>, cx: Context) -> Finished<Id> {
    let start = time::Instant::now();
    let outcome = probe.run(&cx).await;
    Finished { id, attempt: cx.attempt, outcome, took: start.elapsed() }
}

/// Never ends.
impl<Id: Ord + Clone + Send + Unpin + 'static> Stream for Driver<Id> {
    type Item = Event<Id>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        self.poll_event(cx).map(Some)
    }
}

impl<Id: std::fmt::Debug> std::fmt::Debug for Driver<Id> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver")
            .field("checks", &self.checks.keys())
            .field("running", &self.running.len())
            .finish_non_exhaustive()
    }
}
