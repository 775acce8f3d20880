//! Whether a link has carrier, asked of its driver: for drivers that do not tell the kernel when that changes.

use std::{io, mem::size_of, os::fd::AsRawFd};

use nix::libc;
use socket2::{Domain, Socket, Type};

use super::Error;
use crate::types::LinkName;

const SIOCETHTOOL: libc::Ioctl = 0x8946;
const SIOCGMIIPHY: libc::Ioctl = 0x8947;
const SIOCGMIIREG: libc::Ioctl = 0x8948;

/// Basic mode status register (IEEE 802.3 §22.2.4.2), and its link status bit.
const BMSR: u16 = 1;
const BMSR_LINK: u16 = 1 << 2;

const ETHTOOL_GLINK: u32 = 0x0a;

/// Asks for the carrier of links of one network namespace. Each question may wait for locks of the kernel and for the
/// hardware behind it.
#[derive(Debug)]
pub struct CarrierSocket {
    socket: Socket,
}

/// `struct ifreq` with what the questions below put into it.
#[repr(C)]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    value: Value,
}

#[repr(C)]
union Value {
    mii: Mii,
    ethtool: *mut EthtoolValue,
    flags: libc::c_short,
    /// All of the kernel's union.
    room: [u64; 3],
}

/// `struct mii_ioctl_data`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Mii {
    phy: u16,
    register: u16,
    _in: u16,
    out: u16,
}

/// `struct ethtool_value`.
#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

const _: () = assert!(size_of::<Request>() == size_of::<libc::ifreq>());

impl Request {
    fn new(link: LinkName) -> Self {
        let mut name = [0; libc::IFNAMSIZ];
        for (octet, given) in name.iter_mut().zip(link.as_bytes()) {
            *octet = *given;
        }
        Self { name, value: Value { room: [0; 3] } }
    }
}

#[expect(unsafe_code, reason = "no crate that is used here has these ioctls")]
impl CarrierSocket {
    /// Opens a socket in the network namespace of the calling thread.
    ///
    /// # Errors
    /// If the host has no descriptor or memory left.
    pub fn open() -> Result<Self, Error> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)
            .map_err(|error| Error::new("opening a socket to ask for carrier", error))?;
        Ok(Self { socket })
    }

    /// Asks the link's transceiver: the link bit of the MII status register. It stays 0 after a failure until it is
    /// read, so it is read twice.
    ///
    /// # Errors
    /// `EOPNOTSUPP` from links without an MII, `ENODEV` without such a link, `EPERM` without `CAP_NET_ADMIN`.
    pub fn by_mii(&self, link: LinkName) -> io::Result<bool> {
        let mut request = Request::new(link);
        self.ask(SIOCGMIIPHY, &mut request)?;
        let mut up = false;
        for _ in 0..2 {
            // SAFETY: all octets of `value` were initialised, and every pattern of them is an `Mii`.
            let phy = unsafe { request.value.mii.phy };
            request.value.mii = Mii { phy, register: BMSR, _in: 0, out: 0 };
            self.ask(SIOCGMIIREG, &mut request)?;
            // SAFETY: as above; the kernel writes `out`.
            up = unsafe { request.value.mii.out } & BMSR_LINK != 0;
        }
        Ok(up)
    }

    /// Asks the link's driver (`ETHTOOL_GLINK`).
    ///
    /// # Errors
    /// `EOPNOTSUPP` from drivers that cannot tell, `ENODEV` without such a link.
    pub fn by_ethtool(&self, link: LinkName) -> io::Result<bool> {
        let mut answer = EthtoolValue { command: ETHTOOL_GLINK, data: 0 };
        let mut request = Request::new(link);
        request.value.ethtool = &raw mut answer;
        self.ask(SIOCETHTOOL, &mut request)?;
        Ok(answer.data != 0)
    }

    /// What the flags of the link say, `IFF_UP` and `IFF_RUNNING`.
    ///
    /// # Errors
    /// `ENODEV` without such a link.
    pub fn by_flags(&self, link: LinkName) -> io::Result<bool> {
        let mut request = Request::new(link);
        self.ask(libc::SIOCGIFFLAGS, &mut request)?;
        // SAFETY: all octets of `value` were initialised, and the kernel writes the flags.
        let flags = i32::from(unsafe { request.value.flags });
        Ok(flags & (libc::IFF_UP | libc::IFF_RUNNING) == libc::IFF_UP | libc::IFF_RUNNING)
    }

    fn ask(&self, question: libc::Ioctl, request: &mut Request) -> io::Result<()> {
        // SAFETY: these questions read and write one `struct ifreq`, as large as a `Request`, whose name ends in NUL;
        // the one that follows the pointer in it finds a whole `EthtoolValue` that outlives the call.
        let done = unsafe { libc::ioctl(self.socket.as_raw_fd(), question, std::ptr::from_mut(request)) };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_link_has_flags_and_no_other_has() {
        let socket = CarrierSocket::open().unwrap();
        assert!(socket.by_flags("lo".parse().unwrap()).is_ok());
        for ask in [CarrierSocket::by_mii, CarrierSocket::by_ethtool, CarrierSocket::by_flags] {
            let error = ask(&socket, "no-such-link".parse().unwrap()).unwrap_err();
            assert!(matches!(error.raw_os_error(), Some(libc::ENODEV | libc::EPERM)), "{error}");
        }
    }

    #[test]
    fn loopback_has_no_transceiver_but_carrier() {
        let socket = CarrierSocket::open().unwrap();
        let lo = "lo".parse().unwrap();
        assert!(socket.by_mii(lo).is_err());
        assert!(socket.by_ethtool(lo).unwrap());
    }
}
