//! Namespaces whose end takes the kernel a while.

use netlab::NetNs;
use netlab::harness::Stop;
use vip_netlink::{Change, LinkName, RouteSocket};

/// A namespace of its own with so many cables, both ends in it.
pub(crate) fn crowded(cables: u16) -> Result<NetNs, Stop> {
    let namespace = NetNs::new()?;
    let name = |end: char, number: u16| -> LinkName { format!("{end}{number}").parse().expect("a name") };
    let changes: Vec<_> =
        (0..cables).map(|number| Change::AddVeth { name: name('a', number), peer: name('b', number) }).collect();
    let refused = namespace.run(|| RouteSocket::open().map(|mut route| route.apply(&changes).refused))?;
    if refused.is_empty() { Ok(namespace) } else { Err(Stop::failed(format!("{:?}", refused.first()))) }
}
