//! Sockets of nftables.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind},
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

use neli::consts::socket::NlFamily;
use nix::{
    libc,
    sys::socket::{NetlinkAddr, getsockname},
};

use super::{Applied, Error, Failure, KernelSocket, Refusal, RouteSocket, now};
use crate::{
    message::reply::{self, Reply},
    nft::{
        Change, Set, Table, TableName,
        message::{self, Answer, Question},
        plan,
    },
};

const NFNLGRP_NFTABLES: u32 = 7;

/// A send buffer that nobody changed has room for more; what is longer goes in several batches.
const LONGEST_BATCH: usize = 100_000;

/// Sends requests to the kernel's nftables and takes its answers.
#[derive(Debug)]
pub struct NftSocket {
    requests: RouteSocket,
    port: u32,
}

impl NftSocket {
    /// How often a listing or a plan is made that others foil.
    const ATTEMPTS: usize = 5;

    /// Opens a socket in the network namespace of the calling thread.
    ///
    /// # Errors
    /// If the kernel has no netfilter, or the host no descriptor or memory left.
    pub fn open() -> Result<Self, Error> {
        const OPERATION: &str = "opening a socket of nftables";
        let kernel = KernelSocket::open_family(NlFamily::Netfilter, &[], OPERATION)?;
        let address = getsockname::<NetlinkAddr>(kernel.as_fd().as_raw_fd());
        let port = address.map_err(|error| Error::new(OPERATION, error))?.pid();
        Ok(Self { requests: RouteSocket::over(kernel), port })
    }

    /// The number of this socket, which notifications of its own changes carry: see [`NftMonitor::open`].
    pub const fn port(&self) -> u32 {
        self.port
    }

    /// Those of the tables that are there, with all that is in them.
    ///
    /// # Errors
    /// If the kernel refuses, does not answer in time, or answers with what cannot be read.
    pub fn present(&mut self, names: &[TableName]) -> Result<Vec<Table>, Error> {
        let mut tables = Vec::new();
        for name in names {
            tables.extend(self.table(name)?);
        }
        Ok(tables)
    }

    /// Carries `changes` out, all of them or none, unless they are too many for one batch: then as many batches follow as
    /// it takes, and the first that is refused is the last. The refused changes are those that the kernel found wrong; when
    /// there is one, none of its batch took effect.
    pub fn apply(&mut self, changes: &[Change]) -> Applied<Change> {
        let mut applied = Applied::default();
        let mut first = 0;
        while let Some(rest) = changes.get(first..).filter(|rest| !rest.is_empty()) {
            let batch = batch(rest);
            applied.sends += 1;
            if let Err(refused) = self.apply_batch(batch) {
                let refusal = |(index, error): (usize, Error)| {
                    let what = batch.get(index)?.clone();
                    Some(Refusal { index: first + index, what, error })
                };
                applied.refused.extend(refused.into_iter().filter_map(refusal));
                break;
            }
            first += batch.len();
        }
        applied
    }

    /// [Lists](Self::present) what is there, [plans](plan()) and applies. Begins again if others changed it meanwhile.
    ///
    /// # Errors
    /// If what is there cannot be listed. What is refused is in [`Applied`].
    pub fn reconcile(&mut self, wanted: &[Table], release: &[TableName]) -> Result<Applied<Change>, Error> {
        let names: Vec<_> = wanted.iter().map(|table| &table.name).chain(release).cloned().collect();
        let mut attempt = 0;
        loop {
            attempt += 1;
            let present = self.present(&names)?;
            let applied = self.apply(&plan(wanted, &present, release));
            let foiled = |refusal: &Refusal<Change>| {
                matches!(refusal.error.io().raw_os_error(), Some(libc::ENOENT | libc::EEXIST | libc::EBUSY))
            };
            if attempt == Self::ATTEMPTS || !applied.refused.iter().any(foiled) {
                return Ok(applied);
            }
        }
    }

    /// What others remove while it is listed is listed anew, as far as it is still there.
    fn table(&mut self, name: &TableName) -> Result<Option<Table>, Error> {
        let mut attempt = 1;
        loop {
            match self.listed(name) {
                Err(error) if is_absent(&error) && attempt < Self::ATTEMPTS => attempt += 1,
                listed => return listed,
            }
        }
    }

    fn listed(&mut self, name: &TableName) -> Result<Option<Table>, Error> {
        let Some(flags) = self.flags(name)? else { return Ok(None) };
        let mut table = Table { name: name.clone(), flags, sets: Vec::new(), chains: Vec::new() };
        for answer in self.ask(name, Question::Chains)? {
            if let Answer::Chain(chain) = answer {
                table.chains.push(chain);
            }
        }
        for answer in self.ask(name, Question::Rules)? {
            if let Answer::Rule(chain, rule) = answer
                && let Some(chain) = table.chains.iter_mut().find(|it| it.name == chain)
            {
                chain.rules.push(rule);
            }
        }
        for answer in self.ask(name, Question::Sets)? {
            if let Answer::Set(set) = answer {
                table.sets.push(self.filled(name, set)?);
            }
        }
        Ok(Some(table))
    }

    fn filled(&mut self, name: &TableName, mut set: Set) -> Result<Set, Error> {
        for answer in self.ask(name, Question::Elements(&set.name))? {
            if let Answer::Elements(elements) = answer {
                set.elements.extend(elements);
            }
        }
        Ok(set)
    }

    /// The flags of a table; `None` if it is not there.
    fn flags(&mut self, name: &TableName) -> Result<Option<u32>, Error> {
        match self.ask(name, Question::Table) {
            Ok(answers) => Ok(answers.into_iter().find_map(|answer| match answer {
                Answer::Table(flags) => Some(flags),
                _ => None,
            })),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn ask(&mut self, name: &TableName, question: Question<'_>) -> Result<Vec<Answer>, Error> {
        let emit = |sequence, out: &mut Vec<u8>| message::emit_question(name, question, sequence, out);
        self.requests.dump(&format!("listing the table {name}"), emit, |message| message::parse(message, name))
    }

    /// What of a batch was refused, with its place.
    fn apply_batch(&mut self, batch: &[Change]) -> Result<(), Vec<(usize, Error)>> {
        let first = self.requests.sequence.wrapping_add(1);
        let count = u32::try_from(batch.len()).unwrap_or(u32::MAX);
        self.requests.sequence = first.wrapping_add(count).wrapping_add(1);
        let whole = |error: io::Error| {
            let operation = batch.first().map(Change::describe).unwrap_or_default();
            vec![(0, Error::new(operation, error))]
        };
        self.requests.kernel.send(&message::emit_batch(batch, first)).map_err(whole)?;
        let failures = self.collect(first, batch.len()).map_err(whole)?;
        let explain = |(index, failure): (usize, Failure)| {
            let operation = batch.get(index).map(Change::describe).unwrap_or_default();
            let source = io::Error::from_raw_os_error(failure.errno);
            (index, Error { operation, source, explanation: failure.text })
        };
        if failures.is_empty() { Ok(()) } else { Err(failures.into_iter().map(explain).collect()) }
    }

    /// Takes answers until that of the last request of `count`, or one that concerns the whole batch.
    fn collect(&mut self, first: u32, count: usize) -> io::Result<Vec<(usize, Failure)>> {
        let deadline = now() + self.requests.timeout;
        let mut failures = Vec::new();
        loop {
            for message in crate::message::messages(self.requests.kernel.receive(deadline)?) {
                let Ok(message) = message else { break };
                let Ok(place) = usize::try_from(message.sequence.wrapping_sub(first)) else { continue };
                let Ok(Some(reply)) = reply::parse(&message) else { continue };
                if place > count {
                    continue;
                }
                if let Reply::Refused { errno, text } = reply {
                    failures.push((place.saturating_sub(1), Failure { errno, text }));
                }
                // The batch itself only answers when there will be no other answer.
                if place == count || place == 0 {
                    return Ok(failures);
                }
            }
        }
    }
}

/// Whether what was asked for is not there.
fn is_absent(error: &Error) -> bool {
    error.io().raw_os_error() == Some(libc::ENOENT)
}

/// As many changes as fit a batch, at least one.
fn batch(changes: &[Change]) -> &[Change] {
    let mut len = 0;
    let fits = |change: &&Change| {
        len += message::emit_batch(std::slice::from_ref(change), 0).len();
        len <= LONGEST_BATCH
    };
    let count = changes.iter().take_while(fits).count().max(1);
    changes.get(..count).unwrap_or(changes)
}

/// Somebody changed something.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NftEvent {
    /// In this table, or the table itself came or went.
    Changed(TableName),
    /// Nobody knows where: events were lost.
    Overflow,
}

/// Hears of every change to the ruleset of the namespace that others make. It never waits.
#[derive(Debug)]
pub struct NftMonitor {
    kernel: KernelSocket,
    waiting: VecDeque<NftEvent>,
    own: u32,
}

impl NftMonitor {
    /// Opens a monitor in the network namespace of the calling thread that says nothing of changes by `own`, the
    /// [number](NftSocket::port) of the caller's socket.
    ///
    /// # Errors
    /// As [`NftSocket::open`].
    pub fn open(own: u32) -> Result<Self, Error> {
        let kernel = KernelSocket::open_family(NlFamily::Netfilter, &[NFNLGRP_NFTABLES], "listening to nftables")?;
        Ok(Self { kernel, waiting: VecDeque::new(), own })
    }

    /// The next event; `None` if there is none at present.
    ///
    /// # Errors
    /// If the descriptor cannot be read.
    pub fn poll_event(&mut self) -> Result<Option<NftEvent>, Error> {
        while self.waiting.is_empty() {
            let datagram = match self.kernel.try_receive() {
                Ok(Some(datagram)) => datagram,
                Ok(None) => return Ok(None),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => return Ok(Some(NftEvent::Overflow)),
                Err(error) if error.kind() == ErrorKind::FileTooLarge => return Ok(Some(NftEvent::Overflow)),
                Err(error) => return Err(Error::new("listening for changes of nftables", error)),
            };
            for message in crate::message::messages(datagram) {
                let table = match message {
                    Ok(message) if message.port == self.own => continue,
                    Ok(message) => message::table_of(&message),
                    Err(error) => Err(error),
                };
                match table {
                    Ok(None) => {}
                    Ok(Some(table)) => self.waiting.push_back(NftEvent::Changed(table)),
                    // What cannot be read may have been news.
                    Err(_) => self.waiting.push_back(NftEvent::Overflow),
                }
            }
        }
        Ok(self.waiting.pop_front())
    }
}

impl AsFd for NftMonitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.kernel.as_fd()
    }
}
