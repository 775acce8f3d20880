//! This machine, as the checks of a configuration ask about it.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use conf_parser::config::NameTable;
use conf_parser::host::{Account, Fact, Facts, File, FileKind, Host, Interface, NoHost, Prefix};
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::SockaddrStorage;
use nix::unistd::{Gid, Group, Uid, User};

mod names;

/// Where commands are looked for when the environment does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The directories in which commands without `/` are looked for.
pub(crate) fn search_path() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    std::env::split_paths(&path).filter(|directory| directory.is_absolute()).collect()
}

/// The host that a file is checked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Target {
    /// This machine.
    #[default]
    ThisHost,
    /// None: nothing is looked up (`--offline`).
    Offline,
    /// The host that this JSON file describes (`--host-facts`).
    Facts(PathBuf),
}

impl Target {
    /// What answers the questions of the checks.
    pub(crate) fn host(&self) -> anyhow::Result<Box<dyn Host>> {
        Ok(match self {
            Self::ThisHost => Box::new(ThisHost::look()),
            Self::Offline => Box::new(NoHost),
            Self::Facts(path) => {
                let file = fs::File::open(path).with_context(|| format!("reading {}", path.display()))?;
                let facts: Facts = serde_json::from_reader(std::io::BufReader::new(file))
                    .with_context(|| format!("reading {}", path.display()))?;
                Box::new(facts)
            }
        })
    }
}

/// Answers from the kernel, the files and the accounts of this machine; its interfaces and the files that name numbers
/// are read once.
#[derive(Debug)]
pub(crate) struct ThisHost {
    /// Without those that have no address.
    interfaces: BTreeMap<String, Interface>,
    names: OnceCell<BTreeMap<NameTable, BTreeMap<String, u32>>>,
}

impl ThisHost {
    /// The machine as it is now.
    pub(crate) fn look() -> Self {
        let mut interfaces = BTreeMap::<String, Interface>::new();
        for found in nix::ifaddrs::getifaddrs().into_iter().flatten() {
            let interface = interfaces.entry(found.interface_name).or_default();
            interface.loopback = found.flags.contains(InterfaceFlags::IFF_LOOPBACK);
            interface.multicast = found.flags.contains(InterfaceFlags::IFF_MULTICAST);
            interface
                .addresses
                .extend(found.address.zip(found.netmask).and_then(|(address, mask)| prefix(&address, &mask)));
        }
        Self { interfaces, names: OnceCell::new() }
    }
}

fn prefix(address: &SockaddrStorage, mask: &SockaddrStorage) -> Option<Prefix> {
    let v4 = || {
        let (address, mask) = (address.as_sockaddr_in()?, mask.as_sockaddr_in()?);
        Some((address.ip().into(), mask.ip().to_bits().count_ones()))
    };
    let v6 = || {
        let (address, mask) = (address.as_sockaddr_in6()?, mask.as_sockaddr_in6()?);
        Some((address.ip().into(), mask.ip().to_bits().count_ones()))
    };
    let (address, len) = v4().or_else(v6)?;
    Some(Prefix { address, len: u8::try_from(len).ok()? })
}

impl Host for ThisHost {
    fn interface(&self, name: &str) -> Fact<Interface> {
        match self.interfaces.get(name) {
            Some(interface) => Fact::Present(interface.clone()),
            // Another name of an interface is not in the list.
            None if nix::net::if_::if_nametoindex(name).is_ok() => Fact::Present(Interface::default()),
            None => Fact::Absent,
        }
    }

    fn user(&self, name: &str) -> Fact<Account> {
        let number = name.parse().ok().map(Uid::from_raw);
        let found = match (User::from_name(name), number) {
            (Ok(None), Some(uid)) => User::from_uid(uid),
            (found, _) => found,
        };
        fact(found).map(|user| Account { uid: user.uid.as_raw(), gid: user.gid.as_raw() })
    }

    fn group(&self, name: &str) -> Fact<u32> {
        match (fact(Group::from_name(name)), name.parse()) {
            (Fact::Absent, Ok(number)) => Fact::Present(number),
            (found, _) => found.map(|group| group.gid.as_raw()),
        }
    }

    fn number(&self, table: NameTable, name: &str) -> Fact<u32> {
        let names = self.names.get_or_init(names);
        match names.get(&table) {
            Some(names) => names.get(name).map_or(Fact::Absent, |number| Fact::Present(*number)),
            None => Fact::Unknown,
        }
    }

    fn names(&self, table: NameTable) -> Vec<String> {
        let names = self.names.get_or_init(names);
        names.get(&table).into_iter().flat_map(BTreeMap::keys).cloned().collect()
    }

    fn file(&self, path: &Path) -> Fact<File> {
        let found = fs::canonicalize(path).and_then(|path| fs::metadata(&path).map(|metadata| (path, metadata)));
        match found {
            Ok((path, metadata)) => Fact::Present(File {
                path,
                kind: match metadata.is_file() {
                    true => FileKind::File,
                    false if metadata.is_dir() => FileKind::Directory,
                    false => FileKind::Other,
                },
                mode: metadata.mode() & 0o7777,
                uid: metadata.uid(),
                gid: metadata.gid(),
            }),
            Err(error) => match error.kind() {
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => Fact::Absent,
                _ => Fact::Unknown,
            },
        }
    }

    fn user_name(&self, uid: u32) -> Option<String> {
        User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name)
    }

    fn group_name(&self, gid: u32) -> Option<String> {
        Group::from_gid(Gid::from_raw(gid)).ok().flatten().map(|group| group.name)
    }

    fn search_path(&self) -> Vec<PathBuf> {
        search_path()
    }
}

/// Numbers by name: those of the tables in files, and of the VRF devices that are there.
fn names() -> BTreeMap<NameTable, BTreeMap<String, u32>> {
    let mut names = names::of_host(Path::new("/"));
    if let Ok(links) = vip_netlink::RouteSocket::open().and_then(|mut route| route.links()) {
        let tables = links.into_iter().filter_map(|link| Some((link.name.to_string(), link.vrf_table?)));
        names.insert(NameTable::VrfDevices, tables.collect());
    }
    names
}

/// What could not be found out is not known.
fn fact<T>(found: nix::Result<Option<T>>) -> Fact<T> {
    match found {
        Ok(Some(found)) => Fact::Present(found),
        Ok(None) => Fact::Absent,
        Err(_) => Fact::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_loopback_a_root_and_a_file_system() {
        let host = ThisHost::look();
        let lo = host.interface("lo").present().expect("every network namespace has lo");
        assert!(lo.loopback);
        assert_eq!(host.interface("no-such-link"), Fact::Absent);
        assert_eq!(host.number(NameTable::VrfDevices, "lo"), Fact::Absent);
        assert_eq!(host.user("0"), Fact::Present(Account { uid: 0, gid: 0 }));
        assert_eq!((host.user("no-such-user"), host.group("12345")), (Fact::Absent, Fact::Present(12345)));
        let directory = tempfile::tempdir().unwrap();
        let script = directory.path().join("x.sh");
        fs::write(&script, "").unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&script, &link).unwrap();
        let file = host.file(&link).present().unwrap();
        assert_eq!((file.path.file_name(), file.kind), (script.file_name(), FileKind::File));
        assert_eq!(host.chain(&link).last().unwrap().0, Path::new("/"));
        assert_eq!(host.file(&directory.path().join("none")), Fact::Absent);
    }
}
