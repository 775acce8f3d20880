//! From a priority to the octets of an advertisement.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};
use core::num::NonZeroU16;
use core::time::Duration;

use crate::advertisement::{Addresses, Pdu, VersionFields, seal};
use crate::auth::{
    AH_LENGTH, AhHeader, AuthData, Authentication, PROTOCOL_AH, Reach, ReplayMemory, Sequence, Signed, UnixTime,
};
use crate::checksum::{PROTOCOL, PseudoHeader, checksum};
use crate::receiver::Verified;
use crate::types::{Family, Priority, Version};
use crate::wire::{OldUnicastChecksum, WireConfig};

const IPV4_HEADER_LENGTH: usize = 20;
/// Precedence "internetwork control".
const TYPE_OF_SERVICE: u8 = 0xc0;

/// How many sequences of the authentication header are reserved at a time.
const AH_RANGE: u32 = 4096;
/// How far ahead sequences of the HMAC trailer are reserved where no window limits it.
const HMAC_RANGE: Duration = Duration::from_secs(60);

/// Builds the packets of one virtual router. Holds the secret of its authentication.
///
/// [`begin`](Self::begin) once per advertisement, then [`emit`](Self::emit) once per destination: all peers get the same
/// sequence. With AH or HMAC a sequence must never be used again, also not by the next process; such a driver says
///
/// ```text
/// if let Some(reserved) = transmitter.reserve(now) { /* keep it where the next process calls resume(reserved) */ }
/// let advert = transmitter.begin(priority, now);
/// receiver.follow(source, &advert);               // AH, HMAC
/// for peer in peers { transmitter.emit(&advert, source, peer, &mut packet)?; /* send */ }
///
/// let verified = receiver.receive(&packet, now)?;
/// transmitter.follow(&verified);                  // AH, and the old unicast checksum
/// ```
#[derive(Debug, Clone)]
pub struct Transmitter {
    config: Arc<WireConfig>,
    fields: VersionFields,
    addresses: Octets,
    identification: NonZeroU16,
    ah_next: u32,
    hmac_last: Option<Sequence>,
    reserved: Reserved,
    /// A peer uses the old unicast checksum.
    old_checksum: bool,
}

/// One advertisement on its way, to be addressed by [`Transmitter::emit`]. Its sequence is that of every copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutgoingAdvert {
    priority: Priority,
    ah_sequence: Option<u32>,
    hmac_sequence: Option<Sequence>,
}

impl OutgoingAdvert {
    /// The priority that it will say.
    #[must_use]
    pub const fn priority(&self) -> Priority {
        self.priority
    }

    /// The sequence of its authentication header (AH).
    #[must_use]
    pub const fn ah_sequence(&self) -> Option<u32> {
        self.ah_sequence
    }

    pub(crate) const fn hmac_sequence(&self) -> Option<Sequence> {
        self.hmac_sequence
    }
}

/// The sequences that a [`Transmitter`] may use up before it reserves more. Whoever comes after it begins behind them.
/// Holds no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Reserved {
    /// The last one of the authentication header.
    ah: u32,
    /// The last one of the HMAC trailer.
    hmac: Option<Sequence>,
}

#[derive(Debug, Clone)]
enum Octets {
    Ipv4(Vec<[u8; 4]>),
    Ipv6(Vec<[u8; 16]>),
}

/// Why no packet can be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransmitError {
    /// An address is not of the router's family.
    #[error("{0} is not of the virtual router's address family")]
    Family(IpAddr),
    /// An advertisement holds 255 addresses at most.
    #[error("{0} addresses do not fit into one advertisement")]
    TooManyAddresses(usize),
    /// The interval is one of the other version.
    #[error("the advertisement interval is not one of this VRRP version")]
    Interval,
    /// A password or AH where there is no room for it.
    #[error("authentication PASS and AH exist in VRRPv2 over IPv4 only")]
    Authentication,
}

impl Transmitter {
    /// A transmitter whose first IPv4 identification and first sequence are 1.
    ///
    /// # Errors
    /// If the configuration cannot be put into a packet.
    pub fn new(config: impl Into<Arc<WireConfig>>) -> Result<Self, TransmitError> {
        let config = config.into();
        if config.addresses.len() > 255 {
            return Err(TransmitError::TooManyAddresses(config.addresses.len()));
        }
        if matches!(config.authentication, Authentication::Pass(_) | Authentication::Ah(_)) && !config.has_auth_data() {
            return Err(TransmitError::Authentication);
        }
        let fields = fields(&config)?;
        let addresses = octets(config.family, &config.addresses)?;
        Ok(Self {
            config,
            fields,
            addresses,
            identification: NonZeroU16::MIN,
            ah_next: 1,
            hmac_last: None,
            reserved: Reserved::default(),
            old_checksum: false,
        })
    }

    /// Another configuration; identification, sequences and what was learned of the peers' checksum go on.
    ///
    /// # Errors
    /// As [`new`](Self::new); the old configuration then stays.
    pub fn reconfigure(&mut self, config: impl Into<Arc<WireConfig>>) -> Result<(), TransmitError> {
        let Self { config, fields, addresses, .. } = Self::new(config)?;
        self.old_checksum &= config.old_unicast_checksum != OldUnicastChecksum::Never;
        (self.config, self.fields, self.addresses) = (config, fields, addresses);
        Ok(())
    }

    /// Begins an advertisement at `now`, at which only the HMAC trailer looks. 0 resigns.
    ///
    /// A sequence of the authentication header is one more than the one before; the last one, 2^32 - 1, is said for
    /// ever. One of the HMAC trailer is the time if that moved on, else one more than the one before; if that lies more
    /// than a window ahead of the clock, it begins again at the clock.
    pub fn begin(&mut self, priority: Priority, now: UnixTime) -> OutgoingAdvert {
        let ah_sequence = self.config.ah_key().is_some().then_some(self.ah_next);
        if ah_sequence.is_some() {
            self.ah_next = self.ah_next.saturating_add(1);
        }
        let hmac_sequence = self.next_hmac_sequence(now);
        self.hmac_last = hmac_sequence.or(self.hmac_last);
        OutgoingAdvert { priority, ah_sequence, hmac_sequence }
    }

    /// Appends one copy of `advert` to `out`: for IPv4 a whole datagram with its header (TOS 0xC0, protocol 112, or 51
    /// with AH, DF clear, an identification that counts up and is never 0), for IPv6 the VRRP packet only, since there
    /// the kernel makes the header. Checksums and authentication are filled in. Allocates only if `out` must grow.
    ///
    /// # Errors
    /// [`TransmitError::Family`] if `source` or `destination` is of another family; `out` is then unchanged.
    pub fn emit(
        &mut self,
        advert: &OutgoingAdvert,
        source: IpAddr,
        destination: IpAddr,
        out: &mut Vec<u8>,
    ) -> Result<(), TransmitError> {
        let foreign = |address| Family::of(&address) != self.config.family;
        if let Some(address) = [source, destination].into_iter().find(|&address| foreign(address)) {
            return Err(TransmitError::Family(address));
        }
        let pseudo = self.pseudo_header(source, destination).ok_or(TransmitError::Family(destination))?;
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => self.emit_ipv4(advert, source, destination, pseudo, out),
            _ => self.emit_pdu(advert, source, pseudo, out),
        }
        Ok(())
    }

    /// Learns from what our [`Receiver`](crate::Receiver) accepted: which checksum the peers use, and how far their
    /// authentication headers have counted. Ours go on from there, as keepalived's do (`Syncing seq_num`), so that
    /// whoever takes over is believed at once.
    pub fn follow(&mut self, verified: &Verified) {
        self.old_checksum |= verified.old_checksum;
        if let Some(theirs) = verified.ah_sequence {
            self.ah_next = self.ah_next.max(theirs.saturating_add(1));
        }
    }

    /// Reserves sequences for what [`begin`](Self::begin) does at `now` and for some time to come, if that is not done
    /// already: the value is to be kept before the next advertisement is sent. `None` without AH and HMAC, and while
    /// the last reservation holds: 4096 advertisements with AH, a quarter of the window with HMAC (60 s without).
    pub fn reserve(&mut self, now: UnixTime) -> Option<Reserved> {
        let before = self.reserved;
        if self.config.ah_key().is_some() && self.ah_next > before.ah {
            self.reserved.ah = self.ah_next.saturating_add(AH_RANGE - 1);
        }
        if let Some(next) = self.next_hmac_sequence(now) {
            let range = self.hmac_window().map_or(HMAC_RANGE, |window| window / 4);
            let holds = |end: Sequence| !next.is_after(end) && end.distance(next) <= range * 2;
            if !before.hmac.is_some_and(holds) {
                // Where sequences run ahead of the clock they count one by one: processes that die fast do not add up.
                let (by_clock, by_count) = (Sequence::at(now).end_of(range), next.end_of(Duration::ZERO));
                self.reserved.hmac = Some(if by_clock.is_after(by_count) { by_clock } else { by_count });
            }
        }
        (self.reserved != before).then_some(self.reserved)
    }

    /// Goes on behind what the process before had reserved.
    pub fn resume(&mut self, reserved: Reserved) {
        self.ah_next = self.ah_next.max(reserved.ah.saturating_add(1));
        let newer = |end: &Sequence| self.hmac_last.is_none_or(|last| end.is_after(last));
        self.hmac_last = reserved.hmac.filter(newer).or(self.hmac_last);
        self.reserved = reserved;
    }

    /// Goes on behind the AH sequence number that the process before had heard last (RFC 2402 §3.3.2), as after
    /// [`follow`](Self::follow).
    pub fn resume_behind(&mut self, memory: &ReplayMemory) {
        let next = memory.ah().map_or(0, |last| last.saturating_add(1));
        self.ah_next = self.ah_next.max(next);
    }

    /// The configuration that packets are built from.
    #[must_use]
    pub fn config(&self) -> &WireConfig {
        &self.config
    }

    fn hmac_window(&self) -> Option<Duration> {
        self.config.hmac().and_then(|hmac| hmac.anti_replay.window())
    }

    /// `None` if packets are not signed.
    fn next_hmac_sequence(&self, now: UnixTime) -> Option<Sequence> {
        self.config.hmac().filter(|hmac| hmac.signs())?;
        let clock = Sequence::at(now);
        let too_far = |last: Sequence| self.hmac_window().is_some_and(|window| last.distance(clock) > window);
        Some(match self.hmac_last {
            Some(last) if !clock.is_after(last) && !too_far(last) => last.next(),
            _ => clock,
        })
    }

    fn pseudo_header(&self, source: IpAddr, destination: IpAddr) -> Option<PseudoHeader> {
        let old = self.old_checksum || self.config.old_unicast_checksum == OldUnicastChecksum::Use;
        let old = if old { self.config.old_pseudo_header(source) } else { None };
        old.or_else(|| self.config.pseudo_header(source, destination))
    }

    fn pdu(&self, priority: Priority) -> Pdu<'_> {
        let addresses = match &self.addresses {
            Octets::Ipv4(list) => Addresses::ipv4(list),
            Octets::Ipv6(list) => Addresses::ipv6(list),
        };
        let addresses = addresses.expect("`new` refuses more than 255 addresses");
        let mut fields = self.fields;
        if let (VersionFields::V2 { auth_data, .. }, Some(password)) = (&mut fields, self.config.password()) {
            *auth_data = password;
        }
        Pdu { vrid: self.config.vrid, priority, fields, addresses }
    }

    /// The VRRP packet with its trailer.
    fn emit_pdu(&self, advert: &OutgoingAdvert, source: IpAddr, pseudo: PseudoHeader, out: &mut Vec<u8>) {
        let start = out.len();
        self.pdu(advert.priority).emit(pseudo, out);
        let Some((hmac, sequence)) = self.config.hmac().zip(advert.hmac_sequence) else { return };
        let pdu = out.get(start..).unwrap_or_default();
        let signed = Signed { source, version: self.config.version, vrid: self.config.vrid, pdu };
        let Some(trailer) = hmac.sign(&signed, sequence) else { return };
        out.extend_from_slice(&trailer);
        // The checksum over IPv6 is a kernel's, which knows of no trailer.
        if self.config.family == Family::Ipv6 {
            seal(pseudo, out.get_mut(start..).unwrap_or_default());
        }
    }

    fn emit_ipv4(
        &mut self,
        advert: &OutgoingAdvert,
        source: Ipv4Addr,
        destination: Ipv4Addr,
        pseudo: PseudoHeader,
        out: &mut Vec<u8>,
    ) {
        let start = out.len();
        let ah = advert.ah_sequence.map(|sequence| AhHeader::new(source, sequence));
        let headers = IPV4_HEADER_LENGTH + ah.map_or(0, |_| AH_LENGTH);
        out.resize(start + headers, 0);
        self.emit_pdu(advert, source.into(), pseudo, out);
        let ip_header = self.ipv4_header(source, destination, out.len() - start, ah.is_some());
        let Some((head, pdu)) = out.get_mut(start..).and_then(|datagram| datagram.split_at_mut_checked(headers)) else {
            unreachable!("the headers were appended above");
        };
        let (place, ah_place) = head.split_at_mut(IPV4_HEADER_LENGTH);
        place.copy_from_slice(&ip_header);
        if let Some((mut ah, key)) = ah.zip(self.config.ah_key()) {
            key.sign(&ip_header, &mut ah, pdu, Reach::of(destination.into()));
            ah_place.copy_from_slice(&ah.octets());
        }
        self.identification = self.identification.checked_add(1).unwrap_or(NonZeroU16::MIN);
    }

    fn ipv4_header(
        &self,
        source: Ipv4Addr,
        destination: Ipv4Addr,
        length: usize,
        ah: bool,
    ) -> [u8; IPV4_HEADER_LENGTH] {
        let [l0, l1] = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
        let [i0, i1] = self.identification.get().to_be_bytes();
        let protocol = if ah { PROTOCOL_AH } else { PROTOCOL };
        let ([s0, s1, s2, s3], [d0, d1, d2, d3]) = (source.octets(), destination.octets());
        let ttl = self.config.hop_limit;
        let mut header =
            [0x45, TYPE_OF_SERVICE, l0, l1, i0, i1, 0, 0, ttl, protocol, 0, 0, s0, s1, s2, s3, d0, d1, d2, d3];
        [header[10], header[11]] = checksum(PseudoHeader::None, &header).to_be_bytes();
        header
    }
}

/// Without the password, which stays in the configuration: these octets are not wiped when they are dropped.
fn fields(config: &WireConfig) -> Result<VersionFields, TransmitError> {
    let interval = config.advertisement_interval;
    match config.version {
        Version::V2 => interval.seconds().map(|advertisement_interval| VersionFields::V2 {
            auth_type: config.auth_type(),
            advertisement_interval,
            auth_data: AuthData::default(),
        }),
        Version::V3 => interval.centis().map(|max_advertise_interval| VersionFields::V3 { max_advertise_interval }),
    }
    .ok_or(TransmitError::Interval)
}

fn octets(family: Family, addresses: &[IpAddr]) -> Result<Octets, TransmitError> {
    Ok(match family {
        Family::Ipv4 => Octets::Ipv4(collect(addresses, |address| match address {
            IpAddr::V4(address) => Some(address.octets()),
            IpAddr::V6(_) => None,
        })?),
        Family::Ipv6 => Octets::Ipv6(collect(addresses, |address| match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => Some(address.octets()),
        })?),
    })
}

fn collect<T>(addresses: &[IpAddr], octets: impl Fn(&IpAddr) -> Option<T>) -> Result<Vec<T>, TransmitError> {
    addresses.iter().map(|address| octets(address).ok_or(TransmitError::Family(*address))).collect()
}

#[cfg(test)]
mod tests;
