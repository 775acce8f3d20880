//! Hosts, bridges and the cables between them.

use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{fmt, fs, thread};

use nix::errno::Errno;
use vip_netlink::{Address, AddressFlags, Change, Link, LinkName, RouteSocket};

use crate::capture::Capture;
use crate::error::LabError;
use crate::netns::NetNs;
use crate::pinger::Pinger;
use crate::process::{Process, Program};

/// Sysctls of every host: addresses of IPv6 can be used at once, those of the link included.
const SYSCTLS: [(&str, &str); 2] = [("net/ipv6/conf/all/accept_dad", "0"), ("net/ipv6/conf/default/accept_dad", "0")];

/// A network on a table: hosts around bridges. All of it is gone once the last value that belongs to it is dropped.
#[derive(Debug)]
pub struct Lab {
    switch: Arc<Namespace>,
    hosts: Mutex<Vec<Host>>,
}

impl Lab {
    /// An empty network.
    ///
    /// # Errors
    /// If the kernel refuses: was [`enter`](crate::enter) called first?
    pub fn new() -> Result<Self, LabError> {
        Ok(Self { switch: Arc::new(Namespace::new("switch")?), hosts: Mutex::default() })
    }

    /// A host without cables; its loopback is up. The name is part of the names of its ports: together with that of
    /// an interface, at most 14 characters.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn host(&self, name: &str) -> Result<Host, LabError> {
        let namespace = Namespace::new(name)?;
        namespace.apply(&[Change::SetLinkUp(link_name("lo")?.into())])?;
        let host = Host { name: name.into(), namespace: Arc::new(namespace), switch: Arc::clone(&self.switch) };
        for (path, value) in SYSCTLS {
            match host.set_sysctl(path, value) {
                // Without IPv6, or with the read-only /proc/sys of a container: then hosts keep the kernel's ways.
                Err(error)
                    if matches!(
                        error.source.raw_os_error().map(Errno::from_raw),
                        Some(Errno::ENOENT | Errno::EROFS)
                    ) => {}
                other => other?,
            }
        }
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner).push(host.clone());
        Ok(host)
    }

    /// A bridge that forwards at once.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn bridge(&self, name: &str) -> Result<Bridge, LabError> {
        let link = link_name(name)?;
        self.switch.apply(&[Change::AddBridge { name: link }, Change::SetLinkUp(link.into())])?;
        Ok(Bridge { link, switch: Arc::clone(&self.switch) })
    }

    /// Lays a cable: the host gets `interface`, and `bridge` a port for it. Returns when both ends can carry packets.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn connect(&self, host: &Host, interface: &str, bridge: &Bridge) -> Result<(), LabError> {
        let (port, end) = (link_name(&host.port(interface))?, link_name(interface)?);
        self.switch.apply(&[Change::AddVeth { name: port, peer: end }])?;
        let namespace = host.namespace.netns.as_fd().as_raw_fd();
        self.switch.apply(&[
            Change::MoveToNamespace { link: end.into(), namespace },
            Change::SetMaster { link: port.into(), master: Some(self.switch.link(bridge.link)?.index) },
            Change::SetLinkUp(port.into()),
        ])?;
        host.namespace.apply(&[Change::SetLinkUp(end.into())])?;
        self.switch.wait_for_carrier(port)?;
        host.namespace.wait_for_carrier(end)
    }

    /// A host with two interfaces, each alone on a bridge: eth0 has 198.18.0.1/24, eth1 has 198.18.1.1/24.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn host_of_two_networks(&self, name: &str) -> Result<(Host, [Bridge; 2]), LabError> {
        let host = self.host(name)?;
        let lans = [self.bridge(&format!("{name}0"))?, self.bridge(&format!("{name}1"))?];
        for (number, lan) in lans.iter().enumerate() {
            let interface = format!("eth{number}");
            self.connect(&host, &interface, lan)?;
            host.address(&interface, &format!("198.18.{number}.1/24"))?;
        }
        Ok((host, lans))
    }

    /// The names of the hosts that have `ip`, in the order in which the hosts were made.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn holders(&self, ip: IpAddr) -> Result<Vec<String>, LabError> {
        let mut holders = Vec::new();
        for host in self.hosts.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if host.holds(ip)? {
                holders.push(host.name().to_owned());
            }
        }
        Ok(holders)
    }

    /// Waits until exactly the hosts `names` have `ip`, in the order in which they were made.
    ///
    /// # Errors
    /// After `timeout`, with the names of those that have it.
    pub fn wait_for_holders(&self, ip: IpAddr, names: &[&str], timeout: Duration) -> Result<(), LabError> {
        let deadline = Instant::now() + timeout;
        loop {
            let holders = self.holders(ip)?;
            if holders == names {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(LabError::of(format!("waiting until {names:?} hold {ip}, not {holders:?}"))(
                    Errno::ETIMEDOUT,
                ));
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// A switch; its ports are made by [`Lab::connect`].
#[derive(Debug)]
pub struct Bridge {
    link: LinkName,
    switch: Arc<Namespace>,
}

impl Bridge {
    /// Runs `work` on a thread where the switch stands and waits for its result.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.switch.netns.run(work)
    }

    /// Records what is broadcast or multicast here.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn capture(&self) -> Result<Capture, LabError> {
        Capture::start(&self.switch.netns, &self.link.to_string())
    }

    /// Forwards nothing from or to `interface` of `host`, though the cable carries: what spanning tree does for a while.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn block(&self, host: &Host, interface: &str) -> Result<(), LabError> {
        let port = link_name(&host.port(interface))?.into();
        self.switch.apply(&[Change::SetMaster { link: port, master: None }])
    }

    /// Ends what [`block`](Self::block) began.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn unblock(&self, host: &Host, interface: &str) -> Result<(), LabError> {
        let port = link_name(&host.port(interface))?.into();
        let master = Some(self.switch.link(self.link)?.index);
        self.switch.apply(&[Change::SetMaster { link: port, master }])
    }
}

/// A computer with a network of its own. Copies stand for the same one.
#[derive(Debug, Clone)]
pub struct Host {
    name: Arc<str>,
    namespace: Arc<Namespace>,
    switch: Arc<Namespace>,
}

impl Host {
    /// Its name in the laboratory.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its network namespace.
    pub fn netns(&self) -> &NetNs {
        &self.namespace.netns
    }

    /// Adds an address, `192.0.2.1/24` or `2001:db8::1/64`, that can be used at once.
    ///
    /// # Errors
    /// If it is none, and what the kernel refuses.
    pub fn address(&self, interface: &str, address: &str) -> Result<(), LabError> {
        let invalid = || LabError::of(format!("reading the address {address:?}"))(Errno::EINVAL);
        let (ip, prefix_len) = address.split_once('/').ok_or_else(invalid)?;
        let ip: IpAddr = ip.parse().map_err(|_| invalid())?;
        let link = self.namespace.link(link_name(interface)?)?.index;
        let mut address = Address::new(link, ip, prefix_len.parse().map_err(|_| invalid())?);
        if ip.is_ipv6() {
            address.flags = AddressFlags::NODAD;
        }
        self.namespace.apply(&[Change::AddAddress(address)])
    }

    /// Changes its links, addresses, routes and rules.
    ///
    /// # Errors
    /// The first change that the kernel refuses; the others are made all the same.
    pub fn change(&self, changes: &[Change]) -> Result<(), LabError> {
        self.namespace.apply(changes)
    }

    /// Its addresses on all interfaces.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn addresses(&self) -> Result<Vec<Address>, LabError> {
        Ok(self.namespace.route().addresses()?)
    }

    /// Whether it has this address.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn holds(&self, ip: IpAddr) -> Result<bool, LabError> {
        Ok(self.addresses()?.iter().any(|address| address.ip == ip))
    }

    /// Cuts the cable of `interface`: no carrier on either side.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn cut(&self, interface: &str) -> Result<(), LabError> {
        self.switch.apply(&[Change::SetLinkDown(link_name(&self.port(interface))?.into())])
    }

    /// Mends a cable that was cut.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn mend(&self, interface: &str) -> Result<(), LabError> {
        self.switch.apply(&[Change::SetLinkUp(link_name(&self.port(interface))?.into())])
    }

    /// Runs `work` on a thread inside the host and waits for its result.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.namespace.netns.run(work)
    }

    /// Writes a sysctl of the host's network, for instance `net/ipv4/ip_forward`.
    ///
    /// # Errors
    /// What writing below /proc/sys gives.
    pub fn set_sysctl(&self, path: &str, value: &str) -> Result<(), LabError> {
        self.run(|| fs::write(Path::new("/proc/sys").join(path), value))
            .map_err(LabError::of(format!("setting {path} of {}", self.name)))
    }

    /// Starts a program in the host, with a /run and a /dev/log of its own.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn spawn(&self, program: impl Into<Program>) -> Result<Process, LabError> {
        program.into().spawn(&self.namespace.netns)
    }

    /// Sends echo requests to `target` every `period`; 2 ms is a good one.
    ///
    /// # Errors
    /// If there can be no such socket.
    pub fn ping(&self, target: IpAddr, period: Duration) -> Result<Pinger, LabError> {
        Pinger::start(&self.namespace.netns, target, period)
    }

    /// Records what passes one of its interfaces.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn capture(&self, interface: &str) -> Result<Capture, LabError> {
        Capture::start(&self.namespace.netns, interface)
    }

    /// The name of the bridge's end of the cable.
    fn port(&self, interface: &str) -> String {
        format!("{}.{interface}", self.name)
    }
}

/// A network namespace with a netlink socket in it.
struct Namespace {
    netns: NetNs,
    route: Mutex<RouteSocket>,
}

impl Namespace {
    fn new(name: &str) -> Result<Self, LabError> {
        let netns = NetNs::new().map_err(LabError::of(format!("making the network namespace of {name}")))?;
        let route = netns.run(RouteSocket::open)?;
        Ok(Self { netns, route: Mutex::new(route) })
    }

    fn route(&self) -> MutexGuard<'_, RouteSocket> {
        self.route.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply(&self, changes: &[Change]) -> Result<(), LabError> {
        match self.route().apply(changes).refused.into_iter().next() {
            None => Ok(()),
            Some(refusal) => Err(refusal.error.into()),
        }
    }

    fn link(&self, name: LinkName) -> Result<Link, LabError> {
        let found = self.route().link(name)?;
        found.ok_or_else(|| LabError::of(format!("looking for {name}"))(Errno::ENODEV))
    }

    /// The kernel lets up to a second pass between two changes of a link's state.
    fn wait_for_carrier(&self, name: LinkName) -> Result<(), LabError> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !self.link(name)?.is_up() {
            if Instant::now() > deadline {
                return Err(LabError::of(format!("waiting for {name} to come up"))(Errno::ETIMEDOUT));
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.netns.fmt(f)
    }
}

fn link_name(name: &str) -> Result<LinkName, LabError> {
    name.parse().map_err(|_| LabError::of(format!("naming a link {name:?}"))(Errno::EINVAL))
}
