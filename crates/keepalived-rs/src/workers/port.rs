//! A [`Channel`] inside a tokio runtime.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use serde::{Serialize, de::DeserializeOwned};
use tokio::io::Interest;
use tokio::net::UnixDatagram;

use crate::ipc::Channel;

/// One end of a pair of sockets, awaited.
#[derive(Debug)]
pub(crate) struct Port {
    channel: Channel,
    /// The same socket; tokio's only safe way to watch one of a type that it does not know itself.
    watch: UnixDatagram,
}

impl Port {
    /// Watches `channel`. Call inside a runtime.
    ///
    /// # Errors
    /// The kernel's, when descriptors are short.
    pub(crate) fn new(channel: Channel) -> io::Result<Self> {
        let watched = std::os::unix::net::UnixDatagram::from(channel.as_fd().try_clone_to_owned()?);
        watched.set_nonblocking(true)?;
        Ok(Self { channel, watch: UnixDatagram::from_std(watched)? })
    }

    /// The next message and its descriptors; `None` once the other end is gone. May be dropped without losing one.
    ///
    /// # Errors
    /// `InvalidData` when the message is not an `M`.
    pub(crate) async fn receive<M: DeserializeOwned>(&self) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
        match self.watch.async_io(Interest::READABLE, || self.channel.receive()).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
            other => other,
        }
    }

    /// The next message, if there is one already.
    ///
    /// # Errors
    /// `WouldBlock` when there is none; `InvalidData` when it is not an `M`.
    pub(crate) fn try_receive<M: DeserializeOwned>(&self) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
        self.channel.receive()
    }

    /// Sends `message` without waiting; `false` when the other end does not keep up.
    ///
    /// # Errors
    /// When the other end is gone.
    pub(crate) fn try_send<M: Serialize>(&self, message: &M) -> io::Result<bool> {
        self.attempt(|channel| match channel.send(message, &[]) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        })
    }

    /// Sends what fits of `outbox`; `true` when nothing is left.
    ///
    /// # Errors
    /// When the other end is gone.
    pub(crate) fn flush(&self, outbox: &mut crate::ipc::Outbox) -> io::Result<bool> {
        self.attempt(|channel| outbox.flush(channel))
    }

    /// Runs `send`; when it reports a full socket, [`writable`](Self::writable) waits for room from then on.
    fn attempt(&self, send: impl FnOnce(&Channel) -> io::Result<bool>) -> io::Result<bool> {
        let mut result = Ok(false);
        let watched = self.watch.try_io(Interest::WRITABLE, || {
            result = send(&self.channel);
            match result {
                Ok(false) => Err(io::ErrorKind::WouldBlock.into()),
                _ => Ok(()),
            }
        });
        drop(watched);
        result
    }

    /// Waits until there may be room for a message.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        self.watch.writable().await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ipc::NotifyAck;

    #[tokio::test]
    async fn a_full_socket_is_waited_for() {
        let (a, b) = Channel::pair().unwrap();
        let (a, b) = (Port::new(a).unwrap(), Port::new(b).unwrap());
        let mut sent = 0;
        a.writable().await.unwrap();
        while a.try_send(&NotifyAck { number: sent }).unwrap() {
            sent += 1;
        }
        assert!(sent > 1);
        let full = tokio::time::timeout(Duration::from_millis(20), a.writable()).await;
        assert!(full.is_err(), "a full socket is not writable");
        for number in 0..sent {
            let (ack, _) = b.receive::<NotifyAck>().await.unwrap().unwrap();
            assert_eq!(ack, NotifyAck { number });
        }
        tokio::time::timeout(Duration::from_secs(5), a.writable()).await.unwrap().unwrap();
        assert!(a.try_send(&NotifyAck { number: sent }).unwrap());
        drop(a);
        assert!(b.receive::<NotifyAck>().await.unwrap().is_some());
        assert!(b.receive::<NotifyAck>().await.unwrap().is_none());
    }
}
