//! Octets to a verified advertisement, or a reason to drop them.

mod discard;
mod packet;
mod reports;

use alloc::sync::Arc;
use core::net::IpAddr;
use core::time::Duration;

use crate::advertisement::{ADVERTISEMENT, Addresses, Advertisement, HEADER_LENGTH, Header, Pdu, VersionFields};
use crate::auth::{
    AH_LENGTH, AhHeader, AhKey, AuthData, Authentication, Hmac, HmacMode, Reach, ReplayMemory, Sender, Sequence,
    Signed, TRAILER_LENGTH, Trailer, UnixTime,
};
use crate::checksum::{PseudoHeader, checksum};
use crate::planted::{Bug, planted};
use crate::stats::ReceiverStats;
use crate::transmitter::OutgoingAdvert;
use crate::types::{AdvertisementInterval, Centis, Family, Priority, Seconds, Version};
use crate::wire::{Cast, OldUnicastChecksum, WireConfig};

pub use discard::Discard;
pub use packet::Packet;
pub use reports::Report;

use reports::{Difference, Reports};

/// The smallest payload of an Ethernet frame: shorter datagrams arrive padded to it.
const ETHERNET_PAYLOAD: usize = 46;

/// An advertisement that passed every check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Verified {
    /// What it says.
    pub advertisement: Advertisement,
    /// A VRRPv3 interval that differs from ours: accepted, said once per sender (RFC 9568 §7.1).
    pub interval: Option<IntervalMismatch>,
    /// An address list that differs from ours: accepted, said once per sender (RFC 9568 §7.1).
    pub addresses: Option<AddressMismatch>,
    /// Its clock is more than half the window away from ours (HMAC trailer): accepted, said once per sender.
    pub clock_skew: Option<ClockSkew>,
    /// Its checksum is that of keepalived before 1.3.7 ([`OldUnicastChecksum`]).
    pub old_checksum: bool,
    /// From now on we use that checksum too: said once. keepalived writes `Setting unicast VRRPv3 checksum to old
    /// version`.
    pub checksum_switched: bool,
    /// The sequence of its authentication header (AH); [`Transmitter::follow`](crate::Transmitter::follow) wants it.
    pub ah_sequence: Option<u32>,
}

/// Another clock than ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ClockSkew {
    /// Whether it is ahead of ours.
    pub ahead: bool,
    /// How far.
    pub by: Duration,
}

/// The sender's interval differs from ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct IntervalMismatch {
    /// The one configured here.
    pub ours: AdvertisementInterval,
    /// The one received, zero included.
    pub theirs: Centis,
}

/// The sender's address list differs from ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum AddressMismatch {
    /// Another number of addresses.
    Count {
        /// The number received.
        got: u8,
        /// The number configured here.
        expected: usize,
    },
    /// One of our addresses is not in it.
    Missing(IpAddr),
}

/// The checks on packets for one virtual router, and its secret.
///
/// # Replay
///
/// AH: a sequence must exceed every one that was accepted and every one that we sent ([`follow`](Self::follow)). All
/// routers of a VRID count on together, as in keepalived: [`Transmitter::follow`](crate::Transmitter::follow) sets our
/// counter past what we hear. A peer that starts anew at 1 hears the Active Router before it speaks, and goes on from
/// there; if it speaks first, its packets are dropped ([`Discard::AhSequence`]) until it has heard one of ours. It is
/// the price of refusing what an attacker recorded.
///
/// keepalived 2.2.7, watched from outside, does the same. It has one counter per instance, for all senders and itself:
/// a sequence that does not exceed it is dropped (`sequence number 1 already processed. Packet dropped. Local(1002)`),
/// any other moves it, also in a Backup that discards the packet for its lower priority, and the next own
/// advertisement comes after it, after a lower priority two after it (`Syncing seq_num - Increment seq`). At 2^32 - 1
/// it stays, drops everything and sends that sequence for ever; so do we. It keeps nothing over a restart: it counts
/// from 1, as Backup even with `state MASTER`, from where it hears the Active Router. If it hears nobody, because the
/// others are silent too, they drop what it says until one of them times out and speaks; it goes on from there, and
/// there is one Active Router again. Unlike it we accept a sequence that is as high as our own last one:
/// [`follow`](Self::follow) says why.
///
/// HMAC: a sequence must exceed the last accepted one of the same sender.
///
/// What comes from the address that we send from must exceed what we sent: nobody plays our own advertisements back to
/// us, after which a Backup Router would wait for itself.
///
/// A packet enters this memory only when it passes every check, so that a copy that was changed on the way cannot make
/// the true one a replay. [`memory`](Self::memory) and [`resume`](Self::resume) carry it over a restart.
#[derive(Debug, Clone)]
pub struct Receiver {
    config: Arc<WireConfig>,
    stats: ReceiverStats,
    memory: ReplayMemory,
    last_source: Option<IpAddr>,
    /// Where we send from, and the last sequence that we sent from there (AH).
    sent: Option<(IpAddr, u32)>,
    /// An advertisement with the old unicast checksum was accepted.
    old_checksum: bool,
    reports: Reports,
}

/// A packet that passed every check.
struct Checked<'a> {
    pdu: Pdu<'a>,
    proof: Proof,
    old_checksum: bool,
}

/// What its authentication says.
#[derive(Clone, Copy)]
enum Proof {
    /// Nothing that must be remembered.
    Plain,
    /// The HMAC trailer may be missing and was.
    Unsigned,
    Ah(u32),
    Hmac {
        sequence: Sequence,
        skew: Option<ClockSkew>,
    },
}

impl Receiver {
    /// A receiver with all counters at zero.
    #[must_use]
    pub fn new(config: impl Into<Arc<WireConfig>>) -> Self {
        Self {
            config: config.into(),
            stats: ReceiverStats::default(),
            memory: ReplayMemory::default(),
            last_source: None,
            sent: None,
            old_checksum: false,
            reports: Reports::default(),
        }
    }

    /// Another configuration; counters and replay memory go on.
    pub fn reconfigure(&mut self, config: impl Into<Arc<WireConfig>>) {
        let config = config.into();
        self.old_checksum &= config.old_unicast_checksum != OldUnicastChecksum::Never;
        self.config = config;
        self.forget_reports();
    }

    /// Checks a packet that came at `now`, in keepalived's order. What is not accepted is counted and must not reach the
    /// state machine. Only the HMAC trailer looks at `now`.
    ///
    /// # Errors
    /// The first check that fails, which also counts it.
    pub fn receive(&mut self, packet: &Packet<'_>, now: UnixTime) -> Result<Verified, Discard> {
        match self.check(packet, now) {
            Ok(checked) => Ok(self.accept(packet, &checked)),
            Err(discard) => {
                self.stats.count(&discard);
                Err(discard)
            }
        }
    }

    /// We are about to send `advert` from `source`. What says to come from there too and is not newer is refused from
    /// now on (AH, HMAC), and what is older, wherever it comes from (AH). What is as old is not: two Active Routers that
    /// count in step would refuse each other.
    pub fn follow(&mut self, source: IpAddr, advert: &OutgoingAdvert) {
        if let Some(sequence) = advert.ah_sequence() {
            self.memory.remember_ah(sequence.saturating_sub(1));
            self.sent = Some((source, sequence));
        }
        if let Some(sequence) = advert.hmac_sequence() {
            let cast = &self.config.cast;
            self.memory.remember(Sender { address: source, sequence }, |address| cast.peer(address).is_some());
        }
    }

    /// A report for the log, if this sender was not reported for this kind of discard since
    /// [`forget_reports`](Self::forget_reports). The number of senders is bounded: logs stay readable under a storm.
    pub fn report_once(&mut self, source: IpAddr, discard: &Discard) -> Option<Report> {
        self.reports.once(source, *discard)
    }

    /// Lets everything be said once more; to be called when the router changes its state.
    pub fn forget_reports(&mut self) {
        self.reports.forget();
    }

    /// The counters.
    #[must_use]
    pub const fn stats(&self) -> &ReceiverStats {
        &self.stats
    }

    /// Sets all counters to zero.
    pub fn clear_stats(&mut self) {
        self.stats = ReceiverStats::default();
    }

    /// The configuration that packets are held against.
    #[must_use]
    pub fn config(&self) -> &WireConfig {
        &self.config
    }

    /// What the next process needs to refuse what this one would have refused.
    #[must_use]
    pub const fn memory(&self) -> &ReplayMemory {
        &self.memory
    }

    /// Takes over the memory of the process before.
    pub fn resume(&mut self, memory: ReplayMemory) {
        let cast = &self.config.cast;
        self.memory.merge(memory, |address| cast.peer(address).is_some());
    }

    /// The checks of keepalived, in its order; `receiver/tests/order.rs` holds it.
    fn check<'a>(&self, packet: &Packet<'a>, now: UnixTime) -> Result<Checked<'a>, Discard> {
        let got = packet.payload.len();
        let too_short = |_| Discard::Length { got, expected: HEADER_LENGTH };
        let (header, _) = Header::split(packet.payload).map_err(too_short)?;
        self.check_vrid(&header)?;
        self.check_authentication_header(packet)?;
        let (pdu, trailer) = self.split_trailer(packet, &header)?;
        self.check_hop_limit(packet)?;
        self.check_version(&header)?;
        let mut proof = self.check_hmac(packet, pdu, trailer, now)?;
        if self.config.version == Version::V2 {
            if let Some(sequence) = self.check_authentication(packet, pdu, &header)? {
                proof = Proof::Ah(sequence);
            }
            self.check_interval(&header)?;
        }
        if header.packet_type != ADVERTISEMENT {
            return Err(Discard::PacketType { got: header.packet_type });
        }
        Self::check_total_length(packet, pdu, trailer)?;
        let old_checksum = self.check_checksum(packet, pdu)?;
        self.check_destination(packet)?;
        if self.config.owner_ignore_adverts {
            return Err(Discard::AddressOwner);
        }
        if header.count == 0 && !self.config.addresses.is_empty() {
            return Err(Discard::NoAddresses);
        }
        self.check_peer(packet)?;
        let wrong = |_| Discard::Length { got, expected: pdu.len() };
        let pdu = Pdu::parse_unverified(pdu, self.config.family).map_err(wrong)?;
        Ok(Checked { pdu, proof, old_checksum })
    }

    fn check_vrid(&self, header: &Header) -> Result<(), Discard> {
        let expected = self.config.vrid.get();
        if header.vrid == expected { Ok(()) } else { Err(Discard::Vrid { got: header.vrid, expected }) }
    }

    fn check_authentication_header(&self, packet: &Packet<'_>) -> Result<(), Discard> {
        match (packet.authentication_header, &self.config.authentication) {
            (Some(_), _) if self.config.ah_key().is_none() => Err(Discard::UnexpectedAuthenticationHeader),
            (None, Authentication::Ah(_)) => Err(Discard::MissingAuthenticationHeader),
            // There is no room for it in other packets, and to let them in without would be a surprise.
            (_, Authentication::Pass(_)) if !self.config.has_auth_data() => {
                Err(Discard::AuthenticationType { got: 0, expected: 1 })
            }
            _ => Ok(()),
        }
    }

    /// The VRRP packet and the HMAC trailer behind it, by the packet's own version, so that another version is reported
    /// as what it is.
    fn split_trailer<'a>(
        &self,
        packet: &Packet<'a>,
        header: &Header,
    ) -> Result<(&'a [u8], Option<&'a [u8; TRAILER_LENGTH]>), Discard> {
        let Some(version) = Version::from_number(header.version) else {
            return Ok((packet.payload, None));
        };
        let expected = header.pdu_length(version, self.config.family);
        let got = packet.payload.len();
        let wrong = Discard::Length { got, expected };
        let (pdu, rest) = packet.payload.split_at_checked(expected).ok_or(wrong)?;
        match <&[u8; TRAILER_LENGTH]>::try_from(rest) {
            Ok(trailer) if self.config.hmac().is_some() => Ok((pdu, Some(trailer))),
            _ if same_length(expected, got, packet.headers()) => Ok((pdu, None)),
            _ => Err(wrong),
        }
    }

    /// The IP header declares exactly what is used; Ethernet padding lies behind that.
    fn check_total_length(
        packet: &Packet<'_>,
        pdu: &[u8],
        trailer: Option<&[u8; TRAILER_LENGTH]>,
    ) -> Result<(), Discard> {
        let (declared, got) = (packet.declared_length, pdu.len() + trailer.map_or(0, |trailer| trailer.len()));
        if declared == got { Ok(()) } else { Err(Discard::TotalLength { declared, got }) }
    }

    fn check_hop_limit(&self, packet: &Packet<'_>) -> Result<(), Discard> {
        match self.config.cast {
            Cast::Multicast { .. } if packet.hop_limit != 255 && !planted(Bug::HopLimitUnchecked) => {
                Err(Discard::HopLimit { got: packet.hop_limit })
            }
            _ => Ok(()),
        }
    }

    fn check_version(&self, header: &Header) -> Result<(), Discard> {
        let expected = self.config.version.number();
        if header.version == expected { Ok(()) } else { Err(Discard::Version { got: header.version, expected }) }
    }

    fn check_hmac(
        &self,
        packet: &Packet<'_>,
        pdu: &[u8],
        trailer: Option<&[u8; TRAILER_LENGTH]>,
        now: UnixTime,
    ) -> Result<Proof, Discard> {
        let Some(hmac) = self.config.hmac() else { return Ok(Proof::Plain) };
        let Some(trailer) = trailer else {
            return match hmac.mode {
                HmacMode::Enforce => Err(Discard::HmacMissing),
                HmacMode::Permissive | HmacMode::ReceiveOnly => Ok(Proof::Unsigned),
            };
        };
        let trailer = Trailer::split(trailer);
        let key = trailer.key().ok_or(Discard::HmacMalformed)?;
        let (sequence, clock) = (trailer.sequence(), Sequence::at(now));
        let skew = check_window(hmac, sequence, clock)?;
        let secret = hmac.key(key).ok_or(Discard::HmacUnknownKey { key })?;
        let signed = Signed { source: packet.source, version: self.config.version, vrid: self.config.vrid, pdu };
        if !secret.verifies(&signed, &trailer) {
            return Err(Discard::HmacInvalid { key });
        }
        let sender = Sender { address: packet.source, sequence };
        if self.memory.is_replay(sender, clock, hmac.anti_replay.window()) {
            return Err(Discard::HmacReplay);
        }
        Ok(Proof::Hmac { sequence, skew })
    }

    /// The authentication of VRRPv2; the sequence of the authentication header if there is one.
    fn check_authentication(&self, packet: &Packet<'_>, pdu: &[u8], header: &Header) -> Result<Option<u32>, Discard> {
        let [got, _] = header.parameters;
        if got > 2 {
            return Err(Discard::InvalidAuthenticationType { got });
        }
        let expected = self.config.auth_type();
        if got != expected {
            return Err(Discard::AuthenticationType { got, expected });
        }
        if let Some(password) = self.config.password()
            && pdu.last_chunk().copied().map(AuthData) != Some(password)
        {
            return Err(Discard::AuthenticationFailed);
        }
        match (packet.authentication_header, self.config.ah_key()) {
            (Some(octets), Some(key)) => self.check_ah(packet, pdu, octets, key).map(Some),
            _ => Ok(None),
        }
    }

    fn check_ah(
        &self,
        packet: &Packet<'_>,
        pdu: &[u8],
        octets: &[u8; AH_LENGTH],
        key: AhKey<'_>,
    ) -> Result<u32, Discard> {
        let header = AhHeader::parse(octets);
        if header.next_header != crate::PROTOCOL {
            return Err(Discard::AhNextHeader { got: header.next_header });
        }
        let reach = packet.destination.map_or(Reach::Multicast, Reach::of);
        if !key.verifies(packet.ip_header, &header, pdu, reach) {
            return Err(Discard::AhIntegrity);
        }
        let ours = self.sent.filter(|(source, _)| *source == packet.source).map(|(_, sequence)| sequence);
        match self.memory.ah().max(ours) {
            Some(last) if header.sequence <= last => Err(Discard::AhSequence { got: header.sequence, last }),
            _ => Ok(header.sequence),
        }
    }

    fn check_interval(&self, header: &Header) -> Result<(), Discard> {
        let [_, got] = header.parameters;
        match self.config.advertisement_interval.seconds() {
            Some(Seconds(expected)) if expected != got => Err(Discard::AdvertisementInterval { got, expected }),
            _ => Ok(()),
        }
    }

    /// Whether the checksum, which must be right, is the old unicast one.
    fn check_checksum(&self, packet: &Packet<'_>, pdu: &[u8]) -> Result<bool, Discard> {
        if packet.checksum_verified {
            return Ok(false);
        }
        let destination = match (packet.destination, &self.config.cast) {
            (Some(destination), _) => destination,
            (None, Cast::Multicast { group }) => *group,
            (None, Cast::Unicast { .. }) => return Err(Discard::Checksum),
        };
        // A kernel that fills in the checksum over IPv6 knows of no trailer.
        let covered = match self.config.family {
            Family::Ipv4 => pdu,
            Family::Ipv6 => packet.payload,
        };
        let right = |pseudo: Option<PseudoHeader>| pseudo.is_some_and(|pseudo| checksum(pseudo, covered) == 0);
        let config = &self.config;
        if right(config.pseudo_header(packet.source, destination)) {
            return Ok(false);
        }
        if config.v3_checksum_as_v2 && right(PseudoHeader::between(packet.source, destination)) {
            return Ok(false);
        }
        let old = config.old_unicast_checksum != OldUnicastChecksum::Never;
        if old && right(config.old_pseudo_header(packet.source)) { Ok(true) } else { Err(Discard::Checksum) }
    }

    fn check_destination(&self, packet: &Packet<'_>) -> Result<(), Discard> {
        let multicast = matches!(self.config.cast, Cast::Multicast { .. });
        match packet.destination {
            Some(destination) if destination.is_multicast() != multicast => Err(Discard::Destination { destination }),
            _ => Ok(()),
        }
    }

    fn check_peer(&self, packet: &Packet<'_>) -> Result<(), Discard> {
        let Cast::Unicast { check_source, .. } = &self.config.cast else {
            return Ok(());
        };
        match self.config.cast.peer(packet.source) {
            None if *check_source => Err(Discard::UnknownPeer { peer: packet.source }),
            Some(peer) if !(peer.min_hop_limit..=peer.max_hop_limit).contains(&packet.hop_limit) => {
                Err(Discard::PeerHopLimit { peer: packet.source, got: packet.hop_limit })
            }
            _ => Ok(()),
        }
    }

    fn accept(&mut self, packet: &Packet<'_>, checked: &Checked<'_>) -> Verified {
        let pdu = &checked.pdu;
        let same_source = self.last_source.replace(packet.source) == Some(packet.source);
        count_if(&mut self.stats.advertisements, true);
        count_if(&mut self.stats.priority_zero, pdu.priority == Priority::RESIGN);
        let ours = self.config.advertisement_interval;
        let (interval, mismatch) = match pdu.fields {
            VersionFields::V2 { .. } => (ours, None),
            VersionFields::V3 { max_advertise_interval: theirs } => (
                AdvertisementInterval::from_centis(theirs).unwrap_or(ours),
                (ours.centis() != Some(theirs)).then_some(IntervalMismatch { ours, theirs }),
            ),
        };
        let addresses = match same_source && self.config.skip_check_adv_addr {
            true => None,
            false => address_mismatch(&self.config, pdu.addresses),
        };
        count_if(&mut self.stats.interval_differs, mismatch.is_some());
        count_if(&mut self.stats.address_list, addresses.is_some());
        let (ah_sequence, skew) = self.remember(packet.source, checked.proof);
        let uses_old = self.old_checksum || self.config.old_unicast_checksum == OldUnicastChecksum::Use;
        self.old_checksum |= checked.old_checksum;
        Verified {
            advertisement: Advertisement { vrid: pdu.vrid, priority: pdu.priority, interval },
            interval: self.reports.difference(packet.source, Difference::Interval, mismatch),
            addresses: self.reports.difference(packet.source, Difference::Addresses, addresses),
            clock_skew: self.reports.difference(packet.source, Difference::ClockSkew, skew),
            old_checksum: checked.old_checksum,
            checksum_switched: checked.old_checksum && !uses_old,
            ah_sequence,
        }
    }

    /// Keeps the proof of an accepted packet from being used again.
    fn remember(&mut self, source: IpAddr, proof: Proof) -> (Option<u32>, Option<ClockSkew>) {
        match proof {
            Proof::Plain => (None, None),
            Proof::Unsigned => {
                count_if(&mut self.stats.hmac_unsigned, true);
                (None, None)
            }
            Proof::Ah(sequence) => {
                self.memory.remember_ah(sequence);
                (Some(sequence), None)
            }
            Proof::Hmac { sequence, skew } => {
                count_if(&mut self.stats.clock_skew, skew.is_some());
                let cast = &self.config.cast;
                self.memory.remember(Sender { address: source, sequence }, |address| cast.peer(address).is_some());
                (None, skew)
            }
        }
    }
}

/// The clock of the sender, if it is within the window but not close.
fn check_window(hmac: &Hmac, sequence: Sequence, clock: Sequence) -> Result<Option<ClockSkew>, Discard> {
    let Some(window) = hmac.anti_replay.window() else { return Ok(None) };
    let (ahead, by) = (sequence.is_after(clock), sequence.distance(clock));
    if by > window {
        return Err(Discard::HmacStale { ahead, by });
    }
    Ok((by > window / 2).then_some(ClockSkew { ahead, by }))
}

/// Whether `got` octets are the `expected` ones, Ethernet padding allowed: then a datagram shorter than a frame comes
/// with a surplus that, addresses being multiples of four octets, leaves two.
fn same_length(expected: usize, got: usize, headers: usize) -> bool {
    let padded = headers > 0 && expected + headers < ETHERNET_PAYLOAD;
    got == expected || (padded && got > expected && (got - expected) % 4 == 2)
}

fn address_mismatch(config: &WireConfig, addresses: Addresses<'_>) -> Option<AddressMismatch> {
    let (got, expected) = (addresses.count(), config.addresses.len());
    if usize::from(got) != expected {
        return Some(AddressMismatch::Count { got, expected });
    }
    let in_order = addresses.iter().eq(config.addresses.iter().copied());
    let missing = config.addresses.iter().find(|address| !in_order && !addresses.contains(address));
    missing.copied().map(AddressMismatch::Missing)
}

fn count_if(counter: &mut u64, happened: bool) {
    *counter = counter.wrapping_add(u64::from(happened));
}

#[cfg(test)]
mod tests;
