//! Where announcements leave: a packet socket for each link, so that one whose queue is full holds up no other.

use std::collections::BTreeMap;

use nix::libc;
use vip_netlink::{AnnounceSocket, Announced, Announcement, Error, LinkIndex};
use vrrp_proto::Instant;

use super::Kernel;
use crate::workers::vrrp::announcer::Frame;

/// The sockets, by link.
#[derive(Debug)]
pub(super) struct Outlets {
    used: BTreeMap<LinkIndex, AnnounceSocket>,
    /// Those of links that are gone: closing one takes the kernel many milliseconds.
    spare: Vec<AnnounceSocket>,
}

impl Outlets {
    /// Opens the first.
    pub(super) fn open() -> Result<Self, Error> {
        Ok(Self { used: BTreeMap::new(), spare: vec![AnnounceSocket::open()?] })
    }

    /// Sends without waiting; see [`AnnounceSocket::send`].
    fn send(&mut self, link: LinkIndex, announcements: &[Announcement]) -> Result<Announced, Error> {
        if !self.used.contains_key(&link) {
            let socket = self.spare.pop().map_or_else(AnnounceSocket::open, Ok)?;
            self.used.insert(link, socket);
        }
        Ok(self.used.get(&link).map_or_else(Announced::default, |socket| socket.send(announcements)))
    }

    /// Lets links that are gone go.
    pub(super) fn keep(&mut self, is_there: impl Fn(LinkIndex) -> bool) {
        let gone = self.used.extract_if(.., |link, _| !is_there(*link));
        self.spare.extend(gone.map(|(_, socket)| socket));
    }
}

impl Kernel {
    /// Sends what is due. What a link does not take waits for it.
    pub(super) fn announce_due(&mut self, now: Instant) {
        for (outlet, frames) in self.announcer.due(now) {
            let announcements: Vec<_> = frames.iter().map(|frame| frame.announcement).collect();
            let announced = self.outlets.send(outlet, &announcements).unwrap_or_else(|error| {
                self.complain(format!("{error}; announcements wait"));
                self.retry_soon();
                Announced { left: frames.len(), ..Announced::default() }
            });
            let (tried, left) = frames.split_at(frames.len().saturating_sub(announced.left));
            self.announcer.take_back(now, outlet, left);
            let mut refused = announced.refused.into_iter().peekable();
            for (number, frame) in tried.iter().enumerate() {
                match refused.next_if(|refusal| refusal.index == number) {
                    None => self.log_sent(&frame.announcement),
                    Some(refusal) => self.take_refusal(now, outlet, frame, &refusal.error),
                }
            }
        }
    }

    fn log_sent(&self, announcement: &Announcement) {
        let what = if announcement.ip.is_ipv4() { "gratuitous ARP" } else { "unsolicited Neighbour Advert" };
        tracing::debug!("Sending {what} on {} for {}", self.link_name(announcement.link), announcement.ip);
    }

    fn take_refusal(&mut self, now: Instant, outlet: LinkIndex, frame: &Frame, error: &Error) {
        let reason = error.io().raw_os_error();
        if matches!(reason, Some(libc::ENXIO | libc::ENODEV)) {
            // It is gone, and the news of that is on its way.
            return self.announcer.keep_links(|link| link != frame.announcement.link);
        }
        let is_dropped = reason == Some(libc::ENOBUFS);
        if is_dropped && self.announcer.try_again(now, outlet, frame) {
            return;
        }
        // One line for the link, however many addresses it has.
        let link = self.link_name(frame.announcement.link);
        let why = if is_dropped { "; its queue is full or a packet filter drops it" } else { "" };
        self.complain(format!("announcing addresses on {link}: {}{why}", error.io()));
        self.retry_soon();
    }
}
