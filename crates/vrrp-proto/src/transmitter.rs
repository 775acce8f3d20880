//! From a priority to the octets of an advertisement.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};
use core::num::NonZeroU16;

use crate::advertisement::{Addresses, Pdu, VersionFields};
use crate::checksum::{PROTOCOL, PseudoHeader, checksum};
use crate::types::{Family, Priority, Version};
use crate::wire::WireConfig;

const IPV4_HEADER_LENGTH: usize = 20;
/// Precedence "internetwork control".
const TYPE_OF_SERVICE: u8 = 0xc0;

/// Builds the packets of one virtual router. Holds the secret of its authentication.
#[derive(Debug, Clone)]
pub struct Transmitter {
    config: WireConfig,
    fields: VersionFields,
    addresses: Octets,
    identification: NonZeroU16,
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
}

impl Transmitter {
    /// A transmitter whose first IPv4 identification is 1.
    ///
    /// # Errors
    /// If the configuration cannot be put into a packet.
    pub fn new(config: WireConfig) -> Result<Self, TransmitError> {
        if config.addresses.len() > 255 {
            return Err(TransmitError::TooManyAddresses(config.addresses.len()));
        }
        let fields = fields(&config)?;
        let addresses = octets(config.family, &config.addresses)?;
        Ok(Self { config, fields, addresses, identification: NonZeroU16::MIN })
    }

    /// Another configuration; the IPv4 identification goes on.
    ///
    /// # Errors
    /// As [`new`](Self::new); the old configuration then stays.
    pub fn reconfigure(&mut self, config: WireConfig) -> Result<(), TransmitError> {
        let identification = self.identification;
        *self = Self { identification, ..Self::new(config)? };
        Ok(())
    }

    /// Appends one advertisement to `out`: for IPv4 a whole datagram with its header (TOS 0xC0, protocol 112, DF clear,
    /// an identification that counts up and is never 0), for IPv6 the VRRP packet only, since there the kernel makes the
    /// header. Checksums are filled in.
    ///
    /// # Errors
    /// [`TransmitError::Family`] if `source` or `destination` is of another family; `out` is then unchanged.
    pub fn emit(
        &mut self,
        priority: Priority,
        source: IpAddr,
        destination: IpAddr,
        out: &mut Vec<u8>,
    ) -> Result<(), TransmitError> {
        let foreign = |address| Family::of(&address) != self.config.family;
        if let Some(address) = [source, destination].into_iter().find(|&address| foreign(address)) {
            return Err(TransmitError::Family(address));
        }
        let pseudo = self.config.pseudo_header(source, destination).ok_or(TransmitError::Family(destination))?;
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => self.emit_ipv4(priority, source, destination, pseudo, out),
            _ => self.pdu(priority).emit(pseudo, out),
        }
        Ok(())
    }

    /// The configuration that packets are built from.
    #[must_use]
    pub const fn config(&self) -> &WireConfig {
        &self.config
    }

    fn pdu(&self, priority: Priority) -> Pdu<'_> {
        let addresses = match &self.addresses {
            Octets::Ipv4(list) => Addresses::ipv4(list),
            Octets::Ipv6(list) => Addresses::ipv6(list),
        };
        let addresses = addresses.expect("`new` refuses more than 255 addresses");
        Pdu { vrid: self.config.vrid, priority, fields: self.fields, addresses }
    }

    fn emit_ipv4(
        &mut self,
        priority: Priority,
        source: Ipv4Addr,
        destination: Ipv4Addr,
        pseudo: PseudoHeader,
        out: &mut Vec<u8>,
    ) {
        let start = out.len();
        let pdu = self.pdu(priority);
        let length = u16::try_from(IPV4_HEADER_LENGTH + pdu.wire_length()).unwrap_or(u16::MAX);
        out.extend_from_slice(&[0x45, TYPE_OF_SERVICE]);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&self.identification.get().to_be_bytes());
        out.extend_from_slice(&[0, 0, self.config.hop_limit, PROTOCOL, 0, 0]);
        out.extend_from_slice(&source.octets());
        out.extend_from_slice(&destination.octets());
        let sum = checksum(PseudoHeader::None, out.get(start..).unwrap_or_default());
        if let Some(field) = out.get_mut(start + 10..start + 12) {
            field.copy_from_slice(&sum.to_be_bytes());
        }
        pdu.emit(pseudo, out);
        self.identification = self.identification.checked_add(1).unwrap_or(NonZeroU16::MIN);
    }
}

fn fields(config: &WireConfig) -> Result<VersionFields, TransmitError> {
    let interval = config.advertisement_interval;
    match config.version {
        Version::V2 => interval.seconds().map(|advertisement_interval| VersionFields::V2 {
            auth_type: config.authentication.auth_type(),
            advertisement_interval,
            auth_data: config.authentication.auth_data(),
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
