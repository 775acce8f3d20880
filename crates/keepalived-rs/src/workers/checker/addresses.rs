//! Which addresses this host has: what `ha_suspend` goes by.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;

use tokio::io::Interest;
use tokio::net::UnixDatagram;
use vip_netlink::{Event, Monitor, RouteSocket};

/// The host's addresses and the news of them.
#[derive(Debug)]
pub(super) struct Addresses {
    monitor: Monitor,
    socket: RouteSocket,
    /// The same socket as `monitor`; tokio's only safe way to watch one of a type that it does not know itself.
    watch: UnixDatagram,
}

impl Addresses {
    /// Begins to listen. Call inside a runtime.
    ///
    /// # Errors
    /// When descriptors or memory are short.
    pub(super) fn open() -> io::Result<Self> {
        let monitor = Monitor::open().map_err(io::Error::other)?;
        let watched = std::os::unix::net::UnixDatagram::from(monitor.as_fd().try_clone_to_owned()?);
        watched.set_nonblocking(true)?;
        let watch = UnixDatagram::from_std(watched)?;
        Ok(Self { monitor, socket: RouteSocket::open().map_err(io::Error::other)?, watch })
    }

    /// Every address of the host, in whatever state it is.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn look(&mut self) -> io::Result<BTreeSet<IpAddr>> {
        let addresses = self.socket.addresses().map_err(io::Error::other)?;
        Ok(addresses.into_iter().map(|address| address.ip).collect())
    }

    /// Waits until they may have changed. May be dropped without losing that.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) async fn changed(&mut self) -> io::Result<()> {
        let Self { monitor, watch, .. } = self;
        let news = || {
            let mut news = false;
            while let Some(event) = monitor.poll_event().map_err(io::Error::other)? {
                news |= matches!(event, Event::Address(_) | Event::AddressRemoved(_) | Event::Overflow);
            }
            if news { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
        };
        watch.async_io(Interest::READABLE, news).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_host_has_the_loopback_address() {
        let mut addresses = Addresses::open().unwrap();
        assert!(addresses.look().unwrap().contains(&IpAddr::from([127, 0, 0, 1])));
    }
}
