//! A queue from one thread to another, with a descriptor that is readable while something waits.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc;

use rustix::event::{EventfdFlags, eventfd};

/// The end that puts values in.
#[derive(Debug)]
pub(crate) struct Sender<T> {
    /// `None` only while the end is dropped.
    queue: Option<mpsc::Sender<T>>,
    wake: Arc<OwnedFd>,
}

/// The end that takes values out. Readable while something waits or the sender is gone.
#[derive(Debug)]
pub(crate) struct Receiver<T> {
    queue: mpsc::Receiver<T>,
    wake: Arc<OwnedFd>,
}

/// What was taken out at once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Taken<T> {
    /// In the order in which it was put in.
    pub(crate) values: Vec<T>,
    /// The sender is gone: nothing will follow.
    pub(crate) closed: bool,
}

/// Both ends of a new queue.
///
/// # Errors
/// When the kernel has no descriptor left.
pub(crate) fn channel<T>() -> io::Result<(Sender<T>, Receiver<T>)> {
    let wake = Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?);
    let (sender, receiver) = mpsc::channel();
    Ok((Sender { queue: Some(sender), wake: Arc::clone(&wake) }, Receiver { queue: receiver, wake }))
}

impl<T> Default for Taken<T> {
    fn default() -> Self {
        Self { values: Vec::new(), closed: false }
    }
}

impl<T> Sender<T> {
    /// Puts `value` in and wakes the other thread; never waits. A value for a thread that has ended is dropped.
    pub(crate) fn send(&self, value: T) {
        if self.queue.as_ref().is_some_and(|queue| queue.send(value).is_ok()) {
            self.wake();
        }
    }

    /// Puts all of `values` in, in their order, and wakes the other thread once.
    pub(crate) fn send_all(&self, values: impl IntoIterator<Item = T>) {
        let mut sent = false;
        for value in values {
            sent |= self.queue.as_ref().is_some_and(|queue| queue.send(value).is_ok());
        }
        if sent {
            self.wake();
        }
    }

    fn wake(&self) {
        // Full means 2⁶⁴ − 2 wake-ups that nobody has read: the other end is awake all the same.
        let _ = rustix::io::write(&*self.wake, &1u64.to_ne_bytes());
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        // Closed first, so that who wakes up sees it.
        self.queue = None;
        self.wake();
    }
}

impl<T> Receiver<T> {
    /// Everything that waits.
    pub(crate) fn take(&self) -> Taken<T> {
        let mut count = [0; 8];
        // Nothing to read means that an earlier call took the values already.
        let _ = rustix::io::read(&*self.wake, &mut count);
        let mut taken = Taken::default();
        loop {
            match self.queue.try_recv() {
                Ok(value) => taken.values.push(value),
                Err(error) => {
                    taken.closed = error == mpsc::TryRecvError::Disconnected;
                    return taken;
                }
            }
        }
    }
}

impl<T> AsFd for Receiver<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    fn readable<T>(receiver: &Receiver<T>) -> bool {
        let mut fds = [PollFd::new(receiver, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
    }

    #[test]
    fn values_come_in_order_and_wake() {
        let (sender, receiver) = channel().unwrap();
        assert!(!readable(&receiver));
        sender.send(1);
        sender.send(2);
        assert!(readable(&receiver));
        assert_eq!(receiver.take(), Taken { values: vec![1, 2], closed: false });
        assert!(!readable(&receiver));
    }

    #[test]
    fn many_values_come_in_order_and_none_wakes_nobody() {
        let (sender, receiver) = channel().unwrap();
        sender.send_all([]);
        assert!(!readable(&receiver));
        sender.send_all([1, 2]);
        assert!(readable(&receiver));
        assert_eq!(receiver.take(), Taken { values: vec![1, 2], closed: false });
    }

    #[test]
    fn a_dropped_sender_is_seen_after_its_last_value() {
        let (sender, receiver) = channel().unwrap();
        sender.send(1);
        drop(sender);
        assert!(readable(&receiver));
        assert_eq!(receiver.take(), Taken { values: vec![1], closed: true });
    }
}
