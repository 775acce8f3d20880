//! Who was reported for what: every stranger once per reason, with a limit on strangers.

use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use super::discard::Discard;

/// How many senders are told apart until the reports are forgotten.
const SENDERS: usize = 16;

/// Something for the log: who sent what was dropped, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Report {
    /// The sender, as the packet has it.
    pub source: IpAddr,
    /// Why its packet was dropped.
    pub discard: Discard,
    /// Too many senders were reported already: further ones with this reason are only counted.
    pub last: bool,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "from {}: {}", self.source, self.discard)?;
        if self.last { f.write_str(" (further senders are only counted)") } else { Ok(()) }
    }
}

/// What is told of accepted advertisements: bits above those of [`Discard::bit`].
#[derive(Debug, Clone, Copy)]
pub(super) enum Difference {
    Interval,
    Addresses,
    ClockSkew,
}

impl Difference {
    const fn bit(self) -> u32 {
        1 << match self {
            Self::Interval => 29,
            Self::Addresses => 30,
            Self::ClockSkew => 31,
        }
    }
}

/// A bit per reason of each sender, and of all senders for whom there was no place.
#[derive(Debug, Clone, Default)]
pub(super) struct Reports {
    senders: Vec<(IpAddr, u32)>,
    others: u32,
}

impl Reports {
    /// The report, unless it was made before.
    pub(super) fn once(&mut self, source: IpAddr, discard: Discard) -> Option<Report> {
        self.first(source, discard.bit()).map(|last| Report { source, discard, last })
    }

    /// `difference` if it was not told of this sender before.
    pub(super) fn difference<T>(&mut self, source: IpAddr, kind: Difference, difference: Option<T>) -> Option<T> {
        difference.filter(|_| self.first(source, kind.bit()).is_some())
    }

    /// Whether there was no place for this sender; `None` if the `bit` is set already.
    fn first(&mut self, source: IpAddr, bit: u32) -> Option<bool> {
        let known = self.senders.iter().position(|&(address, _)| address == source);
        let last = known.is_none() && self.senders.len() >= SENDERS;
        if known.is_none() && !last {
            self.senders.push((source, 0));
        }
        let said = match known {
            _ if last => &mut self.others,
            Some(place) => self.senders.get_mut(place).map(|(_, said)| said)?,
            None => self.senders.last_mut().map(|(_, said)| said)?,
        };
        let before = *said;
        *said |= bit;
        (before != *said).then_some(last)
    }

    pub(super) fn forget(&mut self) {
        self.senders.clear();
        self.others = 0;
    }
}
