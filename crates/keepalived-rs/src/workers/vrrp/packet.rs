//! Adverts as they go into a raw socket: with their IP header. Pure.

use std::net::{IpAddr, Ipv6Addr};

use vrrp_proto::{OutgoingAdvert, PROTOCOL, TransmitError, Transmitter};

/// Octets of an IPv6 header.
pub(crate) const IPV6_HEADER: usize = 40;

/// Traffic class 0xC0, "internetwork control", as in IPv4 (`behaviour.md` §3.1); flow label 0.
const VERSION_CLASS_FLOW: [u8; 4] = [0x6c, 0, 0, 0];

/// Appends one copy of an advert with its IP header to `out`. After an error there may be a part of it.
///
/// # Errors
/// When the addresses are not of the router's family.
pub(crate) fn emit(
    transmitter: &mut Transmitter,
    advert: &OutgoingAdvert,
    source: IpAddr,
    destination: IpAddr,
    out: &mut Vec<u8>,
) -> Result<(), TransmitError> {
    let (IpAddr::V6(from), IpAddr::V6(to)) = (source, destination) else {
        return transmitter.emit(advert, source, destination, out);
    };
    let start = out.len();
    out.resize(start + IPV6_HEADER, 0);
    transmitter.emit(advert, source, destination, out)?;
    let header = ipv6_header(from, to, out.len() - start - IPV6_HEADER, transmitter.config().hop_limit);
    if let Some(place) = out.get_mut(start..).and_then(<[u8]>::first_chunk_mut) {
        *place = header;
    }
    Ok(())
}

fn ipv6_header(source: Ipv6Addr, destination: Ipv6Addr, payload: usize, hop_limit: u8) -> [u8; IPV6_HEADER] {
    let mut header = [0; IPV6_HEADER];
    // The largest advert has 255 addresses of 16 octets.
    let payload = u16::try_from(payload).unwrap_or(u16::MAX);
    let fields = VERSION_CLASS_FLOW
        .into_iter()
        .chain(payload.to_be_bytes())
        .chain([PROTOCOL, hop_limit])
        .chain(source.octets())
        .chain(destination.octets());
    for (octet, field) in header.iter_mut().zip(fields) {
        *octet = field;
    }
    header
}
