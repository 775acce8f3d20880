//! What a person asks for: `keepalived-rs real-server drain`, `undrain` and `status`.
//!
//! A thread lets in who asks, and hands over what they ask; nobody who asks makes a check wait.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use ipvs_control::ServiceAddress;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, sleep_until};
use tracing::error;

use super::balancer::Asked;
use super::kernel::{Counts, Table};
use super::{Wake, Worker, now};
use crate::control::{Answer, Guest, Host, Request, TOO_MANY, refuse, send_away};
use crate::ipc::Report;

/// So many questions may wait to be looked at, and so many for their answer; who asks more is sent away.
const MOST_QUESTIONS: usize = 32;

/// For so long the kernel may count connections; then the answer goes without them. Who asks waits longer.
pub(super) const COUNTING_LIMIT: Duration = Duration::from_secs(2);

/// Several times what the thread needs: with `checker_no_swap` all of it is in memory.
const STACK: usize = 256 << 10;

/// Who asks, and whom an answer is owed.
#[derive(Debug, Default)]
pub(super) struct Desk {
    questions: Option<Receiver<(Guest, Request)>>,
    /// The thread ends when it is closed.
    _line: Option<OwnedFd>,
    /// Told once the supervisor knows what they say.
    answers: Vec<(Guest, Answer)>,
    /// Told once the connections are counted, oldest first.
    surveys: Vec<Survey>,
    /// Told one by one: of a hundred thousand servers there is much to say, and checks go on in between.
    ready: VecDeque<(Guest, Asked, Arc<Counts>)>,
}

/// Somebody asks how servers are.
#[derive(Debug)]
struct Survey {
    guest: Guest,
    asked: Asked,
    /// The question to the kernel that counts their connections, once it is put.
    number: Option<u64>,
    /// When to answer without connections.
    due: Instant,
}

impl Desk {
    /// Lets in who asks at this socket from now on.
    ///
    /// # Errors
    /// When descriptors or threads are short.
    pub(super) fn open(&mut self, door: OwnedFd) -> io::Result<()> {
        let (far_end, line) = pipe_with(PipeFlags::CLOEXEC)?;
        let (outbox, questions) = channel(MOST_QUESTIONS);
        let mut host = Host::default();
        host.listen(door);
        let thread = std::thread::Builder::new().name("requests".into()).stack_size(STACK);
        thread.spawn(move || receive(host, &far_end, &outbox))?;
        (self.questions, self._line) = (Some(questions), Some(line));
        Ok(())
    }

    /// The thread that lets in is gone: nobody can ask any more.
    pub(super) fn close(&mut self) {
        error!(
            "Commands cannot ask this process any more: the thread that lets them in has ended; health checks go on. \
             A reload does not mend it, a restart does"
        );
        self.questions = None;
    }

    /// Whether nobody else may wait for an answer.
    fn is_full(&self) -> bool {
        self.answers.len() + self.surveys.len() + self.ready.len() >= MOST_QUESTIONS
    }

    /// Who waited for these counts has them.
    pub(super) fn counted(&mut self, number: u64, counts: Counts) {
        self.end(counts, |survey| survey.number == Some(number));
    }

    /// Who has waited for long enough does without connections.
    pub(super) fn give_up(&mut self) {
        let now = Instant::now();
        self.end(Counts::new(), |survey| survey.due <= now);
    }

    fn end(&mut self, counts: Counts, is_over: impl Fn(&Survey) -> bool) {
        let counts = Arc::new(counts);
        let over = self.surveys.extract_if(.., |survey| is_over(survey));
        self.ready.extend(over.map(|Survey { guest, asked, .. }| (guest, asked, Arc::clone(&counts))));
    }

    /// Whether somebody waits whose connections nobody was asked to count.
    pub(super) fn has_news(&self) -> bool {
        self.surveys.iter().any(|survey| survey.number.is_none())
    }

    /// The next question, while they are heard, or somebody who has waited for connections to be counted for long enough.
    /// May be dropped without losing one.
    pub(super) async fn next(&mut self, hears: bool) -> Wake {
        let Self { questions, surveys, ready, .. } = self;
        tokio::select! {
            asked = question(questions.as_mut()), if hears => Wake::Asked(asked),
            () = overdue(surveys.first()) => Wake::Overdue,
            () = std::future::ready(()), if !ready.is_empty() => Wake::Answer,
        }
    }

    /// The supervisor knows what was changed: whoever dies, it holds.
    pub(super) fn settle(&mut self) {
        for (guest, answer) in self.answers.drain(..) {
            guest.answer(answer);
        }
    }
}

/// The next one; never, while nobody can ask.
async fn question(questions: Option<&mut Receiver<(Guest, Request)>>) -> Option<(Guest, Request)> {
    match questions {
        Some(questions) => questions.recv().await,
        None => std::future::pending().await,
    }
}

/// Until it is time to answer; never, without anybody who waits.
async fn overdue(survey: Option<&Survey>) {
    match survey {
        Some(survey) => sleep_until(survey.due).await,
        None => std::future::pending().await,
    }
}

/// Until the other end of the line is closed.
fn receive(mut host: Host, line: &OwnedFd, outbox: &Sender<(Guest, Request)>) {
    loop {
        for question in host.questions() {
            match outbox.try_send(question) {
                Ok(()) => {}
                Err(TrySendError::Full((guest, _))) => guest.answer(send_away(TOO_MANY)),
                Err(TrySendError::Closed((guest, _))) => {
                    guest.answer(send_away("the process that balances servers is about to end: try again"));
                    return;
                }
            }
        }
        let mut fds: Vec<_> =
            std::iter::once(PollFd::new(line, PollFlags::empty())).chain(host.descriptors().map(wait_for)).collect();
        let patience = host.patience().and_then(|patience| Timespec::try_from(patience).ok());
        match poll(&mut fds, patience.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return error!("waiting for commands: {error}"),
        }
        if fds.first().is_none_or(|line| !line.revents().is_empty()) {
            return;
        }
    }
}

fn wait_for(descriptor: BorrowedFd<'_>) -> PollFd<'_> {
    PollFd::from_borrowed_fd(descriptor, PollFlags::IN)
}

impl<O: FnMut() -> Result<Box<dyn Table>, String>> Worker<O> {
    /// Does what is asked for, or lets it be counted.
    pub(super) fn hear_request(&mut self, guest: Guest, request: Request) {
        if self.desk.is_full() {
            return guest.answer(send_away(TOO_MANY));
        }
        let result = match request {
            Request::Drain { virtual_server, real_server, timeout, force } => {
                self.balancer.drain_server(&virtual_server, &real_server, now(), timeout, force)
            }
            Request::Undrain { virtual_server, real_server } => {
                self.balancer.undrain_server(&virtual_server, &real_server)
            }
            Request::Servers { virtual_server, real_server } => {
                return self.hear_survey(guest, Asked { virtual_server, real_server });
            }
            Request::Announce { .. } | Request::Lateness => Err("this process runs no VRRP".to_owned()),
        };
        if result.is_ok() {
            // As with services: the word is announced before the kernel hears of it.
            self.unannounced += 1;
            self.outbox.push(Report::Note);
        }
        self.desk.answers.push((guest, result.unwrap_or_else(refuse)));
    }

    fn hear_survey(&mut self, guest: Guest, asked: Asked) {
        match self.balancer.services_of(&asked) {
            Ok(_) => {
                let due = Instant::now() + COUNTING_LIMIT;
                self.desk.surveys.push(Survey { guest, asked, number: None, due });
            }
            Err(why) => guest.answer(refuse(why)),
        }
    }

    /// The services that are counted for whoever waits, with the question `number`.
    pub(super) fn survey(&mut self, number: u64) -> HashSet<ServiceAddress> {
        let mut services = HashSet::new();
        for survey in self.desk.surveys.iter_mut().filter(|survey| survey.number.is_none()) {
            // A name that names nothing any more is told with the answer.
            services.extend(self.balancer.services_of(&survey.asked).unwrap_or_default());
            survey.number = Some(number);
        }
        services
    }

    /// Answers the first who waits no longer.
    pub(super) fn tell_states(&mut self) {
        if let Some((guest, asked, counts)) = self.desk.ready.pop_front() {
            let states = self.balancer.states(&asked, &counts, now());
            guest.answer(states.map_or_else(refuse, Answer::Servers));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::Channel;

    #[test]
    fn when_many_wait_nobody_else_may() {
        let survey = || {
            let guest = Guest::at(Channel::pair().unwrap().0);
            let asked = Asked { virtual_server: None, real_server: None };
            Survey { guest, asked, number: None, due: Instant::now() }
        };
        let mut desk = Desk::default();
        for _ in 0..MOST_QUESTIONS {
            assert!(!desk.is_full());
            desk.surveys.push(survey());
        }
        assert!(desk.is_full());
        desk.give_up();
        assert!(desk.surveys.is_empty() && desk.is_full(), "they have no answer yet");
        desk.ready.pop_front();
        assert!(!desk.is_full());
    }
}
