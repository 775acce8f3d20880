//! What commands ask of a running daemon: a question and an answer over a socket beside the pid file.
//!
//! The supervisor makes the socket, as the worker may not make files, and hands it to the worker that answers; it never
//! reads from it. Whoever asks has to be root or the user of the daemon. Nobody who asks can make the daemon wait, and
//! what is not understood is answered and forgotten. Each worker that answers has a socket of its own.

pub(crate) mod servers;

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::Uid;
use serde::{Deserialize, Serialize};

use self::servers::{RealServerName, VirtualServerName, VirtualServerState};
use crate::ipc::{self, Channel, Role};
use crate::workers::lateness::Histogram;

/// So many may wait for an answer; of more, who came first is sent away.
const MOST_GUESTS: usize = 8;

/// So many may wait to be let in.
const BACKLOG: i32 = 8;

/// What is said to whoever is one too many.
pub(crate) const TOO_MANY: &str = "too many ask at once: try again";

/// How long nobody is let in after descriptors or memory were short.
const PAUSE: Duration = Duration::from_millis(500);

/// A daemon answers sooner, unless something is wrong with it.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a command asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Announce the addresses of these instances that are held, or of all.
    Announce {
        /// Names in the file; none stands for all.
        instances: Vec<String>,
    },
    /// How late the timers of adverts were.
    Lateness,
    /// Take a real server out of use without cutting its connections.
    Drain {
        /// Which virtual server.
        virtual_server: VirtualServerName,
        /// Which of its real servers.
        real_server: RealServerName,
        /// How long connections are waited for; none: as long as it takes.
        timeout: Option<Duration>,
        /// Even if the quorum is lost by that.
        force: bool,
    },
    /// Take it back into use.
    Undrain {
        /// Which virtual server.
        virtual_server: VirtualServerName,
        /// Which of its real servers.
        real_server: RealServerName,
    },
    /// How servers are.
    Servers {
        /// Which virtual servers; all, if none is named.
        virtual_server: Option<VirtualServerName>,
        /// Which of their real servers; all, if none is named.
        real_server: Option<RealServerName>,
    },
}

/// The workers that answer.
pub(crate) const ANSWERING: [Role; 2] = [Role::Vrrp, Role::Checker];

impl Request {
    /// Who answers it.
    const fn role(&self) -> Role {
        match self {
            Self::Announce { .. } | Self::Lateness => Role::Vrrp,
            Self::Drain { .. } | Self::Undrain { .. } | Self::Servers { .. } => Role::Checker,
        }
    }
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// Addresses are being announced.
    Announced {
        /// How many on which link.
        links: Vec<(String, usize)>,
        /// What is not announced, and why.
        left_out: Vec<String>,
    },
    /// How late they were since the process began, as of a second ago.
    Lateness(Histogram),
    /// A real server is drained, or in use again.
    Changed {
        /// The virtual server, as messages name it.
        virtual_server: String,
        /// The real server, as messages name it.
        real_server: String,
        /// What there is to say about it.
        remarks: Vec<String>,
    },
    /// How servers are.
    Servers(Vec<VirtualServerState>),
    /// Nothing was done, for this reason.
    Refused(String),
    /// Nothing was done, and a moment later it may be.
    Busy(String),
}

/// A request, and the build of who sends it: another one may mean something else.
#[derive(Debug, Serialize, Deserialize)]
struct Question {
    build: String,
    request: Request,
}

/// The socket of the worker of this role, of a daemon with this pid file.
pub(crate) fn path_of(pid_file: &Path, role: Role) -> PathBuf {
    let mut path = pid_file.as_os_str().to_owned();
    // Added, not put in place of an ending: `a.blue` and `a.green` are the pid files of two daemons.
    path.push(format!(".{}.sock", role.word()));
    path.into()
}

/// A socket that listens, for as long as this value lives.
#[derive(Debug)]
pub(crate) struct Door {
    path: PathBuf,
    socket: OwnedFd,
}

impl Door {
    /// Listens at `path`, in place of what a daemon that was killed left there. Nobody else may use the path.
    ///
    /// # Errors
    /// When the socket cannot be made there.
    pub(crate) fn open(path: PathBuf) -> io::Result<Self> {
        remove(&path)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        // Before it has a name, so that it never has another mode.
        rustix::fs::fchmod(&socket, rustix::fs::Mode::from_raw_mode(0o600))?;
        rustix::net::bind(&socket, &SocketAddrUnix::new(&path)?)?;
        rustix::net::listen(&socket, BACKLOG)?;
        Ok(Self { path, socket })
    }

    /// The socket, for the worker that answers.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub(crate) fn socket(&self) -> io::Result<OwnedFd> {
        self.socket.try_clone()
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // Somebody may have removed it.
        let _ = remove(&self.path);
    }
}

/// Removes the socket that a daemon left at `path`, if there is one.
///
/// # Errors
/// The file system's.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The end that answers. It never waits.
#[derive(Debug, Default)]
pub(crate) struct Host {
    door: Option<OwnedFd>,
    /// Who was let in and has not asked yet.
    guests: VecDeque<Guest>,
    /// Who waits at the door cannot be let in now.
    is_stuck: bool,
}

/// Who asks.
#[derive(Debug)]
pub(crate) struct Guest(Channel);

impl Guest {
    /// The one at the other end.
    #[cfg(test)]
    pub(crate) fn at(channel: Channel) -> Self {
        Self(channel)
    }

    /// Tells the answer. Who does not wait for it does without.
    pub(crate) fn answer(self, answer: Answer) {
        let _ = self.0.send(&answer, &[]);
    }
}

impl Host {
    /// Lets guests in at this socket from now on.
    pub(crate) fn listen(&mut self, door: OwnedFd) {
        self.door = Some(door);
    }

    /// What becomes readable when somebody comes or asks. A door at which somebody waits who cannot be let in is left
    /// out: it would be readable all the time.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let door = self.door.iter().filter(|_| !self.is_stuck).map(AsFd::as_fd);
        door.chain(self.guests.iter().map(|guest| guest.0.as_fd()))
    }

    /// How long to wait for the [descriptors](Self::descriptors) at most before the questions are looked for again.
    pub(crate) fn patience(&self) -> Option<Duration> {
        self.is_stuck.then_some(PAUSE)
    }

    /// Answers each question that has come, by `answer`.
    pub(crate) fn serve(&mut self, mut answer: impl FnMut(Request) -> Answer) {
        for (guest, request) in self.questions() {
            guest.answer(answer(request));
        }
    }

    /// The questions that have come, and who is to be answered.
    pub(crate) fn questions(&mut self) -> Vec<(Guest, Request)> {
        self.let_in();
        let mut questions = Vec::new();
        for guest in std::mem::take(&mut self.guests) {
            match guest.0.receive_small::<Question>() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.guests.push_back(guest),
                Ok(None) => {}
                Ok(Some(question)) if question.build == ipc::BUILD_ID => questions.push((guest, question.request)),
                Ok(Some(question)) => guest.answer(refuse(format!(
                    "the daemon is of version {}, the command of {}: restart the daemon",
                    ipc::BUILD_ID,
                    question.build
                ))),
                Err(_) => guest.answer(refuse("the request was not understood")),
            }
        }
        questions
    }

    fn let_in(&mut self) {
        let Some(door) = &self.door else { return };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        self.is_stuck = false;
        for _ in 0..MOST_GUESTS {
            let guest = match rustix::net::accept_with(door, flags) {
                Ok(guest) => Guest(Channel::from(guest)),
                Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => return,
                Err(_) => {
                    self.is_stuck = true;
                    return;
                }
            };
            if !may_ask(&guest.0) {
                guest.answer(refuse("only root and the user of the daemon may ask"));
                continue;
            }
            if self.guests.len() == MOST_GUESTS
                && let Some(first) = self.guests.pop_front()
            {
                first.answer(send_away(TOO_MANY));
            }
            self.guests.push_back(guest);
        }
    }
}

fn may_ask(guest: &Channel) -> bool {
    let Ok(peer) = rustix::net::sockopt::socket_peercred(guest) else { return false };
    is_trusted(peer.uid, rustix::process::geteuid())
}

/// Root, and who could send the daemon a signal.
fn is_trusted(peer: Uid, daemon: Uid) -> bool {
    peer.is_root() || peer == daemon
}

/// An answer to who may ask again.
pub(crate) fn send_away(why: impl Into<String>) -> Answer {
    Answer::Busy(why.into())
}

/// An answer to who gets none.
pub(crate) fn refuse(why: impl Into<String>) -> Answer {
    Answer::Refused(why.into())
}

/// Asks the daemon with this pid file.
///
/// # Errors
/// When there is none, it may not be asked, it is busy, or it does not answer.
pub(crate) fn ask(pid_file: &Path, request: Request) -> anyhow::Result<Answer> {
    let path = path_of(pid_file, request.role());
    let work = if request.role() == Role::Checker { "balances servers" } else { "runs VRRP" };
    let daemon = connect(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => anyhow::anyhow!(
            "no daemon with the pid file {} {work} ({}: {error}); name the pid file of the one that is meant with --pid",
            pid_file.display(),
            path.display()
        ),
        _ => anyhow::anyhow!("{}: {error}", path.display()),
    })?;
    let question = Question { build: ipc::BUILD_ID.to_owned(), request };
    // One that refuses at the door has hung up by now, with its reason.
    let asked = daemon.send(&question, &[]);
    let answer = receive(&daemon, Instant::now() + PATIENCE)?;
    match (answer, asked) {
        (Some(Answer::Busy(why)), _) => anyhow::bail!(why),
        (Some(answer), _) => Ok(answer),
        (None, Err(error)) => Err(error.into()),
        (None, Ok(())) => anyhow::bail!("the daemon hung up without an answer"),
    }
}

fn connect(path: &Path) -> io::Result<Channel> {
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(Channel::from(socket))
}

fn receive(daemon: &Channel, deadline: Instant) -> anyhow::Result<Option<Answer>> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        anyhow::ensure!(
            !left.is_zero(),
            "the daemon did not answer within {} s: it may be busy or starting, so try again; its log says whether \
             commands cannot ask it any more",
            PATIENCE.as_secs()
        );
        let timeout = Timespec { tv_sec: i64::try_from(left.as_secs())?, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(daemon, PollFlags::IN)], Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        match daemon.receive() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => return Ok(other?.map(|(answer, _)| answer)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};

    use super::*;

    fn request() -> Request {
        Request::Announce { instances: vec!["VI_1".into()] }
    }

    #[test]
    fn daemons_whose_pid_files_differ_in_the_ending_have_a_socket_each() {
        let paths = ["/run/a.blue", "/run/a.green", "/run/a"].map(|pid_file| path_of(Path::new(pid_file), Role::Vrrp));
        assert_eq!(paths, ["/run/a.blue.vrrp.sock", "/run/a.green.vrrp.sock", "/run/a.vrrp.sock"].map(PathBuf::from));
        assert_eq!(path_of(Path::new("/run/a"), Role::Checker), Path::new("/run/a.checker.sock"));
    }

    /// A door in a folder, and who answers there.
    fn open() -> (tempfile::TempDir, PathBuf, Door, Host) {
        let folder = tempfile::tempdir().unwrap();
        let pid_file = folder.path().join("keepalived.pid");
        let door = Door::open(path_of(&pid_file, Role::Vrrp)).unwrap();
        let mut host = Host::default();
        host.listen(door.socket().unwrap());
        (folder, pid_file, door, host)
    }

    fn answer(request: Request) -> Answer {
        let Request::Announce { instances } = request else { return refuse("no timer is here") };
        Answer::Announced { links: vec![("eth0".into(), instances.len())], left_out: Vec::new() }
    }

    #[test]
    fn a_question_is_answered() {
        let (_folder, pid_file, _door, mut host) = open();
        let asking = std::thread::spawn(move || ask(&pid_file, request()));
        while !asking.is_finished() {
            host.serve(answer);
        }
        let expected = Answer::Announced { links: vec![("eth0".into(), 1)], left_out: Vec::new() };
        assert_eq!(asking.join().unwrap().unwrap(), expected);
        assert_eq!(host.descriptors().count(), 1);
    }

    #[test]
    fn an_answer_that_fits_no_message_arrives() {
        let (_folder, pid_file, _door, mut host) = open();
        let long = || Answer::Announced { links: vec![("eth0".into(), 1); 100_000], left_out: Vec::new() };
        let asking = std::thread::spawn(move || ask(&pid_file, request()));
        while !asking.is_finished() {
            host.questions().into_iter().for_each(|(guest, _)| guest.answer(long()));
        }
        assert_eq!(asking.join().unwrap().unwrap(), long());
    }

    #[test]
    fn the_socket_is_for_its_owner_and_goes_with_the_daemon() {
        let (_folder, pid_file, door, host) = open();
        let metadata = fs::metadata(path_of(&pid_file, Role::Vrrp)).unwrap();
        assert!(metadata.file_type().is_socket());
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        drop((door, host));
        assert!(!path_of(&pid_file, Role::Vrrp).exists());
        let error = ask(&pid_file, request()).unwrap_err().to_string();
        assert!(error.contains("no daemon") && error.contains("--pid"), "{error}");
    }

    #[test]
    fn root_and_the_user_of_the_daemon_may_ask() {
        let [root, own, other] = [0, 700, 701].map(Uid::from_raw);
        assert!(is_trusted(root, own) && is_trusted(own, own));
        assert!(!is_trusted(other, own) && !is_trusted(own, root));
    }

    #[test]
    fn what_a_killed_daemon_left_is_no_daemon_and_in_nobodys_way() {
        let (_folder, pid_file, door, host) = open();
        let path = path_of(&pid_file, Role::Vrrp);
        let kept = path.with_extension("kept");
        fs::rename(&path, &kept).unwrap();
        drop((door, host));
        fs::rename(&kept, &path).unwrap();
        assert!(ask(&pid_file, request()).unwrap_err().to_string().contains("no daemon"));
        assert!(Door::open(path).is_ok());
    }

    /// As where descriptors are short: the door would be readable all the time.
    #[test]
    fn a_door_that_lets_nobody_in_is_left_for_a_moment() {
        let (_folder, pid_file, door, mut host) = open();
        host.questions();
        assert_eq!((host.descriptors().count(), host.patience()), (1, None));
        let (no_door, _) = Channel::pair().unwrap();
        host.listen(no_door.into());
        host.questions();
        assert_eq!((host.descriptors().count(), host.patience()), (0, Some(PAUSE)));
        host.listen(door.socket().unwrap());
        let asking = std::thread::spawn(move || ask(&pid_file, request()));
        while !asking.is_finished() {
            host.serve(answer);
        }
        assert!(asking.join().unwrap().is_ok());
        assert_eq!((host.descriptors().count(), host.patience()), (1, None));
    }

    #[test]
    fn who_may_ask_again_is_told_so() {
        let (_folder, pid_file, _door, mut host) = open();
        let asking = std::thread::spawn(move || ask(&pid_file, request()));
        while !asking.is_finished() {
            host.serve(|_| send_away("too many ask at once: try again"));
        }
        assert!(asking.join().unwrap().unwrap_err().to_string().contains("try again"));
    }

    #[test]
    fn hostile_octets_and_silent_guests_cost_nothing() {
        let (_folder, pid_file, _door, mut host) = open();
        let path = path_of(&pid_file, Role::Vrrp);
        let answered = |octets: &[u8], host: &mut Host| -> Answer {
            let guest = connect(&path).unwrap();
            rustix::net::send(&guest, octets, rustix::net::SendFlags::empty()).unwrap();
            host.serve(answer);
            guest.receive().unwrap().unwrap().0
        };
        let framed = |question: &Question| [vec![0], ipc::encode(question)].concat();
        for octets in [&[0xff; 9][..], &[0, 0xff], &[1], &[0; 60_000]] {
            let said = answered(octets, &mut host);
            assert!(matches!(&said, Answer::Refused(_)), "{said:?}");
        }
        let other = Question { build: "0.0.1/7".into(), request: request() };
        let said = answered(&framed(&other), &mut host);
        assert!(matches!(&said, Answer::Refused(why) if why.contains("0.0.1/7")), "{said:?}");
        let silent: Vec<_> = (0..MOST_GUESTS * 3)
            .map(|_| {
                let guest = connect(&path).unwrap();
                host.serve(answer);
                guest
            })
            .collect();
        assert_eq!(host.descriptors().count(), 1 + MOST_GUESTS);
        let question = Question { build: ipc::BUILD_ID.into(), request: request() };
        assert!(matches!(answered(&framed(&question), &mut host), Answer::Announced { .. }));
        drop(silent);
        host.serve(answer);
        assert_eq!(host.descriptors().count(), 1);
    }
}
