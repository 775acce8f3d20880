//! IPVS in another network namespace than the checks (`net_namespace_ipvs`).

use std::fs::File;
use std::io;
use std::path::PathBuf;

use conf_parser::config::IpvsNamespace;
use ipvs_control::socket::Socket;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::marker::Marker;

/// What is done in that namespace goes over sockets that were opened in it: IPVS, its sync daemons, and the tables of
/// nftables that mark its packets. Checks, and the addresses that `ha_suspend` looks at, are those of the process.
#[derive(Debug)]
pub(crate) struct Namespaced {
    pub(super) ipvs: Result<Socket, String>,
    pub(super) marker: Marker,
    /// There is no such namespace, and nothing in it.
    pub(super) is_missing: bool,
}

impl Namespaced {
    /// Opens them. To be called before the process gives its capabilities up, and before it has threads: for a moment it
    /// is in the other namespace.
    ///
    /// # Errors
    /// When it cannot come back.
    pub(crate) fn open(namespace: &IpvsNamespace) -> anyhow::Result<Self> {
        let opened = inside(namespace, || {
            let ipvs = Socket::open().map_err(|error| error.to_string());
            Self { ipvs, marker: Marker::open_here(), is_missing: false }
        })?;
        Ok(opened.unwrap_or_else(|error| Self {
            ipvs: Err(format!("IPVS: Can't initialize ipvs: {}", explain(namespace, &error))),
            marker: Marker::default(),
            is_missing: error.kind() == io::ErrorKind::NotFound,
        }))
    }
}

/// Does something in a namespace. The inner error says why it cannot be entered.
///
/// # Errors
/// When the process cannot come back.
fn inside<T>(namespace: &IpvsNamespace, work: impl FnOnce() -> T) -> anyhow::Result<io::Result<T>> {
    let own = File::open("/proc/self/ns/net")?;
    if let Err(error) = File::open(path(namespace)).and_then(|there| enter(&there)) {
        return Ok(Err(error));
    }
    let done = work();
    enter(&own)?;
    Ok(Ok(done))
}

fn explain(namespace: &IpvsNamespace, error: &io::Error) -> String {
    let hint = match error.kind() {
        io::ErrorKind::NotFound => "; `ip netns add` makes it",
        io::ErrorKind::PermissionDenied => "; it takes CAP_SYS_ADMIN",
        _ => "",
    };
    format!("net_namespace_ipvs: entering {}: {error}{hint}", path(namespace).display())
}

fn enter(namespace: &File) -> io::Result<()> {
    use std::os::fd::AsFd as _;
    Ok(move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?)
}

/// Named as `ip netns` names them; else that of the first process.
fn path(namespace: &IpvsNamespace) -> PathBuf {
    match namespace {
        IpvsNamespace::Default => PathBuf::from("/proc/1/ns/net"),
        IpvsNamespace::Named(name) => PathBuf::from(format!("/run/netns/{name}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_namespace_is_named() {
        let opened = Namespaced::open(&IpvsNamespace::Named("nowhere at all".to_owned())).unwrap();
        assert!(opened.is_missing);
        let why = opened.ipvs.unwrap_err();
        assert!(why.contains("net_namespace_ipvs: entering /run/netns/nowhere at all: No such file"), "{why}");
        assert!(why.ends_with("`ip netns add` makes it"), "{why}");
    }
}
