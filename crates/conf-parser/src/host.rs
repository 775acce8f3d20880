//! The host that a configuration is for, as far as a check asks about it.
//!
//! A check asks a [`Host`] and makes a finding only of what is known: [`Fact::Unknown`] never becomes one. [`NoHost`]
//! knows nothing (`--offline`), [`Facts`] knows what was written down about another host (`--host-facts FILE.json`).
//! The crate itself looks at no machine; who runs on one implements the trait.
//!
//! ```
//! use conf_parser::host::{Fact, Facts, Host, Interface, NoHost};
//!
//! let mut facts = Facts::default();
//! assert_eq!(facts.interface("eth0"), Fact::Unknown);
//! facts.interfaces = Some([("eth0".to_owned(), Interface::default())].into());
//! assert!(facts.interface("eth0").is_present());
//! assert_eq!(facts.interface("eth1"), Fact::Absent);
//! assert_eq!(NoHost.interface("eth0"), Fact::Unknown);
//! ```

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::config::NameTable;

/// What is known about one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact<T> {
    /// Whether it exists is not known: no finding can be made of it.
    Unknown,
    /// It does not exist.
    Absent,
    /// It exists.
    Present(T),
}

impl<T> Fact<T> {
    /// Whether it is known to exist.
    pub fn is_present(&self) -> bool {
        matches!(self, Self::Present(_))
    }

    /// Whether it is known not to exist.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// The thing, where it is known to exist.
    pub fn present(self) -> Option<T> {
        match self {
            Self::Present(thing) => Some(thing),
            Self::Unknown | Self::Absent => None,
        }
    }

    /// `change` applied to the thing.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Fact<U> {
        match self {
            Self::Unknown => Fact::Unknown,
            Self::Absent => Fact::Absent,
            Self::Present(thing) => Fact::Present(change(thing)),
        }
    }
}

/// Answers questions about one host.
pub trait Host {
    /// The interface of this name, without the `:LABEL` of an address.
    fn interface(&self, name: &str) -> Fact<Interface>;

    /// The account that a name, or a number in digits, means.
    fn user(&self, name: &str) -> Fact<Account>;

    /// The number of the group that a name, or a number in digits, means.
    fn group(&self, name: &str) -> Fact<u32>;

    /// The number that `name` stands for in a table of the host; for a VRF device, its routing table. Asked only about
    /// names that are not the same everywhere.
    fn number(&self, table: NameTable, name: &str) -> Fact<u32> {
        let _ = (table, name);
        Fact::Unknown
    }

    /// The names in a table of the host, for suggestions.
    fn names(&self, table: NameTable) -> Vec<String> {
        let _ = table;
        Vec::new()
    }

    /// The file or directory at a path, links followed. Paths are absolute but for the configuration files themselves,
    /// which are asked for under the names that they were opened with.
    fn file(&self, path: &Path) -> Fact<File>;

    /// The name of a user, for messages.
    fn user_name(&self, uid: u32) -> Option<String> {
        let _ = uid;
        None
    }

    /// The name of a group, for messages.
    fn group_name(&self, gid: u32) -> Option<String> {
        let _ = gid;
        None
    }

    /// Absolute directories in which a command without `/` is looked for, in this order; none where that is not known.
    fn search_path(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// The file at `path`, then every directory that leads to it, up to `/`, without links: whoever may write one of
    /// them decides what the file holds. Nothing where there is no such file or nothing is known of it; a directory of
    /// which nothing is known is [`Fact::Unknown`].
    fn chain(&self, path: &Path) -> Vec<(PathBuf, Fact<File>)> {
        let Some(file) = self.file(path).present() else {
            return Vec::new();
        };
        let parents: Vec<_> = file.path.ancestors().skip(1).map(Path::to_path_buf).collect();
        let directories = parents.into_iter().map(|directory| {
            let fact = self.file(&directory);
            (directory, fact)
        });
        std::iter::once((file.path.clone(), Fact::Present(file.clone())))
            .chain(directories.collect::<Vec<_>>())
            .collect()
    }

    /// The file that the first word of a command means: itself if it holds a `/`, else the first executable file in
    /// [`search_path`](Self::search_path). Unknown where the path is not known, or a file in it is not.
    fn command(&self, name: &str) -> Fact<File> {
        if name.contains('/') {
            return self.file(Path::new(name));
        }
        let directories = self.search_path();
        if directories.is_empty() {
            return Fact::Unknown;
        }
        for directory in directories {
            match self.file(&directory.join(name)) {
                Fact::Present(file) if file.kind == FileKind::File && file.mode & 0o111 != 0 => {
                    return Fact::Present(file);
                }
                Fact::Unknown => return Fact::Unknown,
                Fact::Present(_) | Fact::Absent => {}
            }
        }
        Fact::Absent
    }
}

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Interface {
    /// Its addresses, without those that keepalived itself would add.
    pub addresses: Vec<Prefix>,
    /// It is a loopback interface.
    pub loopback: bool,
    /// It can send multicast; default true.
    pub multicast: bool,
}

impl Default for Interface {
    fn default() -> Self {
        Self { addresses: Vec::new(), loopback: false, multicast: true }
    }
}

/// An address with the length of its network prefix, written `192.0.2.1/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "String", into = "String"))]
pub struct Prefix {
    /// The address.
    pub address: IpAddr,
    /// Bits of the network: 0 to 32, or 0 to 128.
    pub len: u8,
}

impl Prefix {
    /// Whether `address` lies in the same network.
    pub fn contains(self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let shift = 32u32.saturating_sub(self.len.into());
                (own.to_bits() ^ other.to_bits()).checked_shr(shift).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let shift = 128u32.saturating_sub(self.len.into());
                (own.to_bits() ^ other.to_bits()).checked_shr(shift).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl std::fmt::Display for Prefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.len)
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> Self {
        prefix.to_string()
    }
}

/// A text is not an address with the length of a prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not an address with a prefix length, such as 192.0.2.1/24")]
pub struct PrefixError(String);

impl TryFrom<String> for Prefix {
    type Error = PrefixError;

    fn try_from(text: String) -> Result<Self, PrefixError> {
        text.parse()
    }
}

impl std::str::FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let read = || {
            let (address, len) = text.split_once('/')?;
            let (address, len): (IpAddr, u8) = (address.parse().ok()?, len.parse().ok()?);
            (len <= if address.is_ipv4() { 32 } else { 128 }).then_some(Self { address, len })
        };
        read().ok_or_else(|| PrefixError(text.to_owned()))
    }
}

/// An account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Account {
    /// The number of the user.
    pub uid: u32,
    /// The number of the user's own group.
    pub gid: u32,
}

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum FileKind {
    /// A regular file.
    #[default]
    File,
    /// A directory.
    Directory,
    /// A device, a socket, a FIFO.
    Other,
}

/// Who may do what with a file or directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Where it is, without links.
    pub path: PathBuf,
    /// What it is.
    pub kind: FileKind,
    /// The lower twelve bits of its mode.
    pub mode: u32,
    /// The number of its owner.
    pub uid: u32,
    /// The number of its group.
    pub gid: u32,
}

impl File {
    /// Whether `account` may execute it, by its mode alone.
    pub fn may_execute(&self, account: Account) -> bool {
        let bits = match account {
            Account { uid: 0, .. } => 0o111,
            Account { uid, .. } if uid == self.uid => 0o100,
            Account { gid, .. } if gid == self.gid => 0o010,
            Account { .. } => 0o001,
        };
        self.mode & bits != 0
    }

    /// Who beside root may change it, or what is in it; the first of owner, everybody, group. What a sticky directory
    /// of root holds is protected.
    pub fn writable_by(&self) -> Option<Writer> {
        let sticky_directory = self.kind == FileKind::Directory && self.mode & 0o1000 != 0;
        if self.uid != 0 {
            Some(Writer::Owner(self.uid))
        } else if sticky_directory {
            None
        } else if self.mode & 0o002 != 0 {
            Some(Writer::Everybody)
        } else {
            (self.mode & 0o020 != 0 && self.gid != 0).then_some(Writer::Group(self.gid))
        }
    }
}

/// Somebody who may change a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// Its owner, the user of this number.
    Owner(u32),
    /// Its group, of this number.
    Group(u32),
    /// Every user.
    Everybody,
}

/// A host of which nothing is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NoHost;

impl Host for NoHost {
    fn interface(&self, _: &str) -> Fact<Interface> {
        Fact::Unknown
    }

    fn user(&self, _: &str) -> Fact<Account> {
        Fact::Unknown
    }

    fn group(&self, _: &str) -> Fact<u32> {
        Fact::Unknown
    }

    fn file(&self, _: &Path) -> Fact<File> {
        Fact::Unknown
    }
}

/// What was written down about a host: `--host-facts FILE.json`.
///
/// A part that is left out is unknown. Of a part that is there, what it does not list does not exist; directories that
/// only lead to a listed file are unknown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Facts {
    /// Interfaces by name.
    pub interfaces: Option<BTreeMap<String, Interface>>,
    /// Accounts by name.
    pub users: Option<BTreeMap<String, Account>>,
    /// Numbers of groups by name.
    pub groups: Option<BTreeMap<String, u32>>,
    /// Files and directories by absolute path.
    pub files: Option<BTreeMap<PathBuf, FileFact>>,
    /// Numbers by name, for each table that is known; of VRF devices their routing tables.
    pub names: BTreeMap<NameTable, BTreeMap<String, u32>>,
    /// Directories in which commands without `/` are looked for.
    pub search_path: Vec<PathBuf>,
}

/// One file of [`Facts`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct FileFact {
    /// What it is; a regular file unless said otherwise.
    #[cfg_attr(feature = "serde", serde(default))]
    pub kind: FileKind,
    /// Its mode; in JSON as octal digits in a text, `"0755"`.
    #[cfg_attr(feature = "serde", serde(with = "octal"))]
    pub mode: u32,
    /// The number of its owner; root unless said otherwise.
    #[cfg_attr(feature = "serde", serde(default))]
    pub uid: u32,
    /// The number of its group; root's unless said otherwise.
    #[cfg_attr(feature = "serde", serde(default))]
    pub gid: u32,
}

#[cfg(feature = "serde")]
mod octal {
    use serde::de::{Deserialize, Deserializer, Error, Unexpected};
    use serde::ser::Serializer;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
    pub(super) fn serialize<S: Serializer>(mode: &u32, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{mode:04o}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mode = u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o7777);
        mode.ok_or_else(|| D::Error::invalid_value(Unexpected::Str(&text), &"a mode in octal digits, such as \"0755\""))
    }
}

impl Host for Facts {
    fn interface(&self, name: &str) -> Fact<Interface> {
        find(self.interfaces.as_ref(), name).map(Clone::clone)
    }

    fn user(&self, name: &str) -> Fact<Account> {
        let number = name.parse().ok();
        let by_number =
            |users: &BTreeMap<_, Account>| users.values().copied().find(|account| Some(account.uid) == number);
        match (find(self.users.as_ref(), name), self.users.as_ref().and_then(by_number)) {
            (Fact::Absent, Some(account)) => Fact::Present(account),
            (fact, _) => fact.map(|account| *account),
        }
    }

    fn group(&self, name: &str) -> Fact<u32> {
        match (find(self.groups.as_ref(), name), name.parse()) {
            (Fact::Absent | Fact::Unknown, Ok(number)) => Fact::Present(number),
            (fact, _) => fact.map(|gid| *gid),
        }
    }

    fn number(&self, table: NameTable, name: &str) -> Fact<u32> {
        find(self.names.get(&table), name).map(|number| *number)
    }

    fn names(&self, table: NameTable) -> Vec<String> {
        self.names.get(&table).into_iter().flat_map(BTreeMap::keys).cloned().collect()
    }

    fn file(&self, path: &Path) -> Fact<File> {
        let Some(files) = &self.files else { return Fact::Unknown };
        match files.get(path) {
            Some(FileFact { kind, mode, uid, gid }) => {
                Fact::Present(File { path: path.to_path_buf(), kind: *kind, mode: *mode, uid: *uid, gid: *gid })
            }
            None if files.keys().any(|listed| listed.starts_with(path)) => Fact::Unknown,
            None => Fact::Absent,
        }
    }

    fn user_name(&self, uid: u32) -> Option<String> {
        let mut users = self.users.iter().flatten();
        users.find(|(_, account)| account.uid == uid).map(|(name, _)| name.clone())
    }

    fn group_name(&self, gid: u32) -> Option<String> {
        let mut groups = self.groups.iter().flatten();
        groups.find(|(_, number)| **number == gid).map(|(name, _)| name.clone())
    }

    fn search_path(&self) -> Vec<PathBuf> {
        self.search_path.clone()
    }
}

fn find<'a, T>(known: Option<&'a BTreeMap<String, T>>, name: &str) -> Fact<&'a T> {
    match known {
        None => Fact::Unknown,
        Some(known) => known.get(name).map_or(Fact::Absent, Fact::Present),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(kind: FileKind, mode: u32, uid: u32, gid: u32) -> File {
        File { path: "/x".into(), kind, mode, uid, gid }
    }

    #[test]
    fn who_may_change_a_file() {
        let writer = |kind, mode, uid, gid| file(kind, mode, uid, gid).writable_by();
        assert_eq!(writer(FileKind::File, 0o755, 0, 0), None);
        assert_eq!(writer(FileKind::File, 0o775, 0, 0), None);
        assert_eq!(writer(FileKind::File, 0o775, 0, 5), Some(Writer::Group(5)));
        assert_eq!(writer(FileKind::File, 0o757, 0, 5), Some(Writer::Everybody));
        assert_eq!(writer(FileKind::File, 0o700, 7, 0), Some(Writer::Owner(7)));
        assert_eq!(writer(FileKind::Directory, 0o1777, 0, 0), None);
        assert_eq!(writer(FileKind::File, 0o1777, 0, 0), Some(Writer::Everybody));
    }

    #[test]
    fn who_may_execute_a_file() {
        let script = file(FileKind::File, 0o650, 7, 8);
        let may = |uid, gid| script.may_execute(Account { uid, gid });
        assert!(may(0, 0) && may(9, 8));
        assert!(!may(7, 8) && !may(9, 9));
    }

    #[test]
    fn networks_hold_their_addresses() {
        let prefix: Prefix = "192.0.2.1/24".parse().unwrap();
        assert!(prefix.contains("192.0.2.200".parse().unwrap()));
        assert!(!prefix.contains("192.0.3.1".parse().unwrap()));
        assert!(!prefix.contains("2001:db8::1".parse().unwrap()));
        assert!("0.0.0.0/0".parse::<Prefix>().unwrap().contains("10.0.0.1".parse().unwrap()));
        assert!("::/0".parse::<Prefix>().unwrap().contains("2001:db8::1".parse().unwrap()));
        for wrong in ["192.0.2.1", "192.0.2.1/33", "x/8", "::1/129"] {
            assert!(wrong.parse::<Prefix>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_way_to_a_file_is_known_as_far_as_it_was_written_down() {
        let fact = |kind, mode| FileFact { kind, mode, uid: 0, gid: 0 };
        let files = [
            (PathBuf::from("/opt/a/x.sh"), fact(FileKind::File, 0o755)),
            (PathBuf::from("/opt"), fact(FileKind::Directory, 0o777)),
        ];
        let facts =
            Facts { files: Some(files.into()), search_path: vec!["/bin".into(), "/opt/a".into()], ..Facts::default() };
        let chain = facts.chain(Path::new("/opt/a/x.sh"));
        let known: Vec<_> = chain.iter().map(|(path, fact)| (path.to_str().unwrap(), fact.is_present())).collect();
        assert_eq!(known, [("/opt/a/x.sh", true), ("/opt/a", false), ("/opt", true), ("/", false)]);
        assert!(facts.chain(Path::new("/opt/b")).is_empty());
        assert!(facts.command("x.sh").is_present() && facts.command("y.sh").is_absent());
        assert_eq!(Facts::default().command("x.sh"), Fact::Unknown);
    }

    #[test]
    fn accounts_go_by_name_or_number() {
        let account = Account { uid: 7, gid: 8 };
        let facts = Facts { users: Some([("ann".to_owned(), account)].into()), ..Facts::default() };
        assert_eq!(
            [facts.user("ann"), facts.user("7"), facts.user("bob")],
            [Fact::Present(account), Fact::Present(account), Fact::Absent]
        );
        assert_eq!((facts.group("9"), facts.group("staff")), (Fact::Present(9), Fact::Unknown));
        assert_eq!(facts.user_name(7).as_deref(), Some("ann"));
    }

    #[cfg(feature = "serde")]
    #[test]
    fn the_example_of_the_documentation_is_read() {
        let page = include_str!("../../../docs/host-facts.md");
        let (_, fenced) = page.split_once("```json\n").unwrap();
        let facts: Facts = serde_json::from_str(fenced.split_once("```").unwrap().0).unwrap();
        assert_eq!(facts.interface("eth0").present().unwrap().addresses.len(), 2);
        assert_eq!(facts.user("keepalived_script").present(), Some(Account { uid: 990, gid: 990 }));
        let number = |table, name| facts.number(table, name);
        assert_eq!(number(NameTable::RoutingTables, "uplink"), Fact::Present(100));
        assert_eq!(number(NameTable::RoutingTables, "downlink"), Fact::Absent);
        assert_eq!(number(NameTable::Realms, "uplink"), Fact::Unknown);
        assert_eq!(facts.names(NameTable::VrfDevices), ["blue"]);
        let chain = facts.chain(Path::new("/etc/keepalived/check.sh"));
        assert_eq!(chain.len(), 4);
        assert!(chain.into_iter().all(|(_, fact)| fact.present().is_some_and(|file| file.writable_by().is_none())));
    }

    #[cfg(feature = "serde")]
    #[test]
    fn facts_are_written_as_people_write_them() {
        let text = r#"{"interfaces": {"eth0": {"addresses": ["192.0.2.1/24"]}}, "files": {"/x": {"mode": "0755"}}}"#;
        let facts: Facts = serde_json::from_str(text).unwrap();
        assert_eq!(facts.interface("eth0").present().unwrap().addresses[0].to_string(), "192.0.2.1/24");
        assert_eq!(facts.file(Path::new("/x")).present().unwrap().mode, 0o755);
        let again = serde_json::to_string(&facts).unwrap();
        assert_eq!(serde_json::from_str::<Facts>(&again).unwrap(), facts);
        for wrong in [
            r#"{"hosts": {}}"#,
            r#"{"names": {"rt_table": {}}}"#,
            r#"{"files": {"/x": {"mode": "rwx"}}}"#,
            r#"{"interfaces": {"a": {"addresses": ["b"]}}}"#,
        ] {
            assert!(serde_json::from_str::<Facts>(wrong).is_err(), "{wrong}");
        }
    }
}
