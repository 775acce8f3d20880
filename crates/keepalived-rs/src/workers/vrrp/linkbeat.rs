//! Links whose state is asked for each second instead of being told (`linkbeat_use_polling`, `linkbeat_interfaces`):
//! what is asked, and what the answers mean. Pure: whoever drives it puts the questions.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use nix::libc;
use vrrp_proto::Instant;

use crate::config::vrrp::LinkbeatMethod::{self, Ethtool, Flags, Mii};

/// Between two questions.
const PERIOD: Duration = Duration::from_secs(1);

/// What is asked, in this order, where the one that is wanted is not supported.
const METHODS: [LinkbeatMethod; 3] = [Mii, Ethtool, Flags];

/// The links that are polled.
#[derive(Debug, Default)]
pub(crate) struct Linkbeat {
    links: BTreeMap<String, Polled>,
    next: Option<Instant>,
}

#[derive(Debug)]
struct Polled {
    wanted: LinkbeatMethod,
    /// The one that answered last.
    works: LinkbeatMethod,
    /// `None` while there is no such link.
    carrier: Option<bool>,
}

impl Linkbeat {
    /// These links are polled from now on, each first by the method beside it.
    pub(crate) fn configure(&mut self, now: Instant, wanted: &BTreeMap<String, LinkbeatMethod>) {
        self.links.retain(|name, polled| wanted.get(name) == Some(&polled.wanted));
        for (name, &wanted) in wanted {
            self.links.entry(name.clone()).or_insert(Polled { wanted, works: wanted, carrier: None });
        }
        self.next = (!self.links.is_empty()).then_some(now);
    }

    /// When to ask next; `None` if nothing is polled.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Asks for every link if it is time to; whether any answer is another than before.
    pub(crate) fn poll(&mut self, now: Instant, ask: impl Fn(&str, LinkbeatMethod) -> io::Result<bool>) -> bool {
        if self.next.is_none_or(|next| now < next) {
            return false;
        }
        self.next = Some(now + PERIOD);
        let mut changed = false;
        for (name, polled) in &mut self.links {
            let before = polled.carrier;
            polled.ask(|method| ask(name, method));
            changed |= polled.carrier != before;
        }
        changed
    }

    /// What counts instead of the kernel's reports: for each link that is polled and there, whether it has carrier.
    pub(crate) fn carriers(&self) -> impl Iterator<Item = (&str, bool)> {
        self.links.iter().filter_map(|(name, polled)| Some((name.as_str(), polled.carrier?)))
    }

    /// Whether a link is polled.
    pub(crate) fn polls(&self, name: &str) -> bool {
        self.links.contains_key(name)
    }
}

impl Polled {
    /// First what worked the last time, then everything else; a link that nothing can be learned of is left to the
    /// kernel's reports.
    fn ask(&mut self, ask: impl Fn(LinkbeatMethod) -> io::Result<bool>) {
        let others = METHODS.into_iter().filter(|method| *method != self.works);
        for method in [self.works].into_iter().chain(others) {
            match ask(method) {
                Ok(carrier) => {
                    (self.works, self.carrier) = (method, Some(carrier));
                    return;
                }
                Err(error) if error.raw_os_error() == Some(libc::ENODEV) => break,
                Err(_) => {}
            }
        }
        // The next link of that name may be of another kind.
        (self.works, self.carrier) = (self.wanted, None);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    fn linkbeat(method: LinkbeatMethod) -> Linkbeat {
        let mut linkbeat = Linkbeat::default();
        linkbeat.configure(at(1), &[("eth0".to_owned(), method)].into());
        linkbeat
    }

    fn carrier(linkbeat: &Linkbeat) -> Option<bool> {
        linkbeat.carriers().find(|(name, _)| *name == "eth0").map(|(_, carrier)| carrier)
    }

    fn refused(number: i32) -> io::Result<bool> {
        Err(io::Error::from_raw_os_error(number))
    }

    /// Polls a link with these answers; what was asked.
    fn poll(
        linkbeat: &mut Linkbeat,
        second: u64,
        answer: impl Fn(LinkbeatMethod) -> io::Result<bool>,
    ) -> Vec<LinkbeatMethod> {
        let asked = RefCell::new(Vec::new());
        linkbeat.poll(at(second), |name, method| {
            assert_eq!(name, "eth0");
            asked.borrow_mut().push(method);
            answer(method)
        });
        asked.into_inner()
    }

    #[test]
    fn each_second_once() {
        let mut linkbeat = linkbeat(Mii);
        assert_eq!(linkbeat.next(), Some(at(1)));
        assert_eq!(poll(&mut linkbeat, 1, |_| Ok(true)), [Mii]);
        assert_eq!(poll(&mut linkbeat, 1, |_| Ok(true)), []);
        assert_eq!(linkbeat.next(), Some(at(2)));
        assert!(!linkbeat.poll(at(2), |_, _| Ok(true)));
        assert!(linkbeat.poll(at(3), |_, _| Ok(false)));
        assert_eq!(carrier(&linkbeat), Some(false));
    }

    #[test]
    fn what_is_not_supported_is_not_asked_again() {
        let mut linkbeat = linkbeat(Mii);
        let flags_only = |method| if method == Flags { Ok(false) } else { refused(libc::EOPNOTSUPP) };
        assert_eq!(poll(&mut linkbeat, 1, flags_only), [Mii, Ethtool, Flags]);
        assert_eq!(poll(&mut linkbeat, 2, flags_only), [Flags]);
        assert_eq!(carrier(&linkbeat), Some(false));
    }

    #[test]
    fn what_is_wanted_is_asked_first() {
        let only_mii = |method| if method == Mii { Ok(true) } else { refused(libc::EOPNOTSUPP) };
        assert_eq!(poll(&mut linkbeat(Flags), 1, only_mii), [Flags, Mii]);
        assert_eq!(poll(&mut linkbeat(Ethtool), 1, only_mii), [Ethtool, Mii]);
    }

    #[test]
    fn a_link_that_comes_back_may_be_of_another_kind() {
        let mut linkbeat = linkbeat(Mii);
        poll(&mut linkbeat, 1, |method| if method == Flags { Ok(true) } else { refused(libc::EOPNOTSUPP) });
        assert_eq!(poll(&mut linkbeat, 2, |_| refused(libc::ENODEV)), [Flags]);
        assert_eq!(carrier(&linkbeat), None);
        assert_eq!(poll(&mut linkbeat, 3, |_| Ok(true)), [Mii]);
        assert_eq!(poll(&mut linkbeat, 4, |_| refused(libc::EPERM)), METHODS);
        assert_eq!(carrier(&linkbeat), None, "the kernel's reports count");
    }

    #[test]
    fn nothing_is_asked_of_what_is_no_longer_polled() {
        let mut linkbeat = linkbeat(Mii);
        linkbeat.configure(at(5), &BTreeMap::new());
        assert_eq!((linkbeat.next(), linkbeat.polls("eth0")), (None, false));
        assert!(!linkbeat.poll(at(9), |_, _| unreachable!("nothing is polled")));
    }
}
