//! Virtual and real servers as a person names them to a running daemon, and how they are, as it answers.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, bail, ensure};
use conf_parser::config::{Protocol, RealServer, ServiceKey};
use serde::{Deserialize, Serialize};

/// A virtual server. Several may fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum VirtualServerName {
    /// `ADDRESS [PORT]`
    Address {
        /// Its address.
        address: IpAddr,
        /// Its port; any, if none is named.
        port: Option<u16>,
        /// Its protocol; any, if none is named.
        protocol: Option<Protocol>,
    },
    /// `fwmark N`
    Fwmark(u32),
    /// `group NAME`
    Group {
        /// The group's name.
        name: String,
        /// How many virtual servers of the group stand before it; any, if not named.
        number: Option<u16>,
    },
}

/// A real server of a virtual server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RealServerName {
    /// Its address.
    pub(crate) address: IpAddr,
    /// Its port; any, if none is named.
    pub(crate) port: Option<u16>,
}

impl VirtualServerName {
    /// Whether this names `key`.
    pub(crate) fn fits(&self, key: &ServiceKey) -> bool {
        fn agrees<T: PartialEq>(named: Option<T>, there: T) -> bool {
            named.is_none_or(|named| named == there)
        }
        match (self, key) {
            (
                Self::Address { address, port, protocol },
                ServiceKey::Address { address: own, port: own_port, protocol: own_protocol },
            ) => address == own && agrees(*port, *own_port) && agrees(*protocol, *own_protocol),
            (Self::Fwmark(mark), ServiceKey::Fwmark { mark: own, .. }) => mark == own,
            (Self::Group { name, number }, ServiceKey::Group { name: own, number: own_number, .. }) => {
                name == own && agrees(*number, *own_number)
            }
            _ => false,
        }
    }

    /// Whether `key` may be meant: the same address with another port or protocol, or the same kind with a name that
    /// is nearly the same.
    pub(crate) fn resembles(&self, key: &ServiceKey) -> bool {
        match (self, key) {
            (Self::Address { address, .. }, ServiceKey::Address { address: own, .. }) => address == own,
            (Self::Fwmark(_), ServiceKey::Fwmark { .. }) => true,
            (Self::Group { name, .. }, ServiceKey::Group { name: own, .. }) => {
                name.eq_ignore_ascii_case(own) || own.starts_with(name.as_str()) || name.starts_with(own.as_str())
            }
            _ => false,
        }
    }
}

/// As the configuration writes it.
impl fmt::Display for VirtualServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { address, port, protocol } => {
                write!(f, "{address}")?;
                port.map_or(Ok(()), |port| write!(f, " {port}"))?;
                protocol.map_or(Ok(()), |protocol| write!(f, " ({protocol})"))
            }
            Self::Fwmark(mark) => write!(f, "fwmark {mark}"),
            Self::Group { name, number: None } => write!(f, "group {name:.100}"),
            Self::Group { name, number: Some(number) } => write!(f, "[{name:.100}]:{number}"),
        }
    }
}

impl RealServerName {
    /// Whether this names `real`, which messages call `name`.
    pub(crate) fn fits(&self, real: &RealServer, name: &str) -> bool {
        let named = |port: u16| port == real.port || name.ends_with(&format!(":{port}"));
        self.address == real.address.value && self.port.is_none_or(named)
    }
}

/// As the configuration writes it.
impl fmt::Display for RealServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        self.port.map_or(Ok(()), |port| write!(f, " {port}"))
    }
}

/// Reads `[VS [RS]]` as the configuration writes them (`192.0.2.1 80`, `fwmark 3`, `group web`), as the log does
/// (`[192.0.2.1]:tcp:80`, `FWM 3`), or as sockets are written (`192.0.2.1:80`). A group whose name has blanks is one word
/// (`group 'my web'`, `'[my web]:0'`).
///
/// # Errors
/// Which word is neither.
pub(crate) fn read(words: &[String]) -> anyhow::Result<(Option<VirtualServerName>, Option<RealServerName>)> {
    let mut names = false;
    let words = words.iter().flat_map(|word| {
        let whole = std::mem::replace(&mut names, word == "group") || group_of_log(word).is_some();
        if whole { vec![word.as_str()] } else { word.split_whitespace().collect() }
    });
    let words: Vec<&str> = words.collect();
    let mut rest = words.as_slice();
    let virtual_server = if rest.is_empty() { None } else { Some(virtual_server(&mut rest)?) };
    let real_server = if rest.is_empty() { None } else { Some(real_server(&mut rest)?) };
    ensure!(rest.is_empty(), "'{}' is left over behind a virtual and a real server", rest.join(" "));
    Ok((virtual_server, real_server))
}

fn virtual_server(words: &mut &[&str]) -> anyhow::Result<VirtualServerName> {
    match *words {
        [word, mark, ..] if ["fwmark", "fwm"].contains(&word.to_ascii_lowercase().as_str()) => {
            *words = words.get(2..).unwrap_or_default();
            Ok(VirtualServerName::Fwmark(mark.parse().with_context(|| format!("'{mark}' is no firewall mark"))?))
        }
        ["group", name, ..] => {
            *words = words.get(2..).unwrap_or_default();
            Ok(VirtualServerName::Group { name: (*name).to_owned(), number: None })
        }
        ["fwmark" | "group"] => bail!("'{}' needs a value", words.concat()),
        _ => {
            if let Some(name) = words.first().and_then(|word| group_of_log(word)) {
                *words = words.get(1..).unwrap_or_default();
                return Ok(name);
            }
            let (address, port, protocol) = address(words).context(
                "a virtual server is written ADDRESS PORT, 'fwmark N' or 'group NAME', as in the configuration",
            )?;
            Ok(VirtualServerName::Address { address, port, protocol })
        }
    }
}

fn real_server(words: &mut &[&str]) -> anyhow::Result<RealServerName> {
    let (address, port, _) =
        address(words).context("a real server is written ADDRESS PORT, as in the configuration")?;
    Ok(RealServerName { address, port })
}

/// `[NAME]:NUMBER`
fn group_of_log(word: &str) -> Option<VirtualServerName> {
    let (name, number) = word.strip_prefix('[')?.rsplit_once("]:")?;
    if name.parse::<IpAddr>().is_ok() {
        return None;
    }
    Some(VirtualServerName::Group { name: name.to_owned(), number: Some(number.parse().ok()?) })
}

/// `ADDRESS`, `ADDRESS PORT`, `ADDRESS:PORT`, `[ADDRESS]:PORT` or `[ADDRESS]:PROTOCOL:PORT`.
fn address(words: &mut &[&str]) -> anyhow::Result<(IpAddr, Option<u16>, Option<Protocol>)> {
    let Some((word, rest)) = words.split_first() else { bail!("there is none") };
    *words = rest;
    if let Ok(address) = word.parse() {
        let port = rest.first().and_then(|port| port.parse().ok());
        if port.is_some() {
            *words = rest.get(1..).unwrap_or_default();
        }
        return Ok((address, port, None));
    }
    if let Ok(socket) = word.parse::<SocketAddr>() {
        return Ok((socket.ip(), Some(socket.port()), None));
    }
    let unknown = || format!("'{word}' is no address");
    let (address, rest) = word.strip_prefix('[').and_then(|word| word.split_once("]:")).with_context(unknown)?;
    let (protocol, port) = rest.split_once(':').map_or((None, rest), |(protocol, port)| (Some(protocol), port));
    let protocol = match protocol {
        None | Some("none") => None,
        Some("tcp") => Some(Protocol::Tcp),
        Some("udp") => Some(Protocol::Udp),
        Some("sctp") => Some(Protocol::Sctp),
        Some(other) => bail!("'{other}' is none of tcp, udp and sctp"),
    };
    Ok((address.parse().with_context(unknown)?, Some(port.parse().with_context(unknown)?), protocol))
}

/// How a virtual server is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VirtualServerState {
    /// As messages name it.
    pub(crate) name: String,
    /// Not configured any more; its connections may end.
    pub(crate) leaving: bool,
    /// Whether enough weight is alive.
    pub(crate) quorum_up: bool,
    /// Sum of the weights of real servers that are up and not drained.
    pub(crate) live_weight: u64,
    /// Live weight that is needed.
    pub(crate) quorum: u64,
    /// How much more is needed to gain the quorum, and how much less is tolerated before it is lost.
    pub(crate) hysteresis: u64,
    /// Who takes the connections while the quorum is down.
    pub(crate) sorry_server: Option<SorryServerState>,
    /// In the order of the file; those that are not configured any more come last.
    pub(crate) real_servers: Vec<RealServerState>,
}

/// How a sorry server is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SorryServerState {
    /// As messages name it.
    pub(crate) name: String,
    /// Whether it takes the connections now.
    pub(crate) in_use: bool,
}

/// How a real server is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RealServerState {
    /// As messages name it.
    pub(crate) name: String,
    /// Not configured any more; its connections may end.
    pub(crate) leaving: bool,
    /// Whether every checker finds it up.
    pub(crate) up: bool,
    /// What its checkers say.
    pub(crate) checkers: Vec<CheckerState>,
    /// With which weight the kernel shall know it; none where it shall not.
    pub(crate) weight: Option<u32>,
    /// The weight of the configuration; none for one that is not configured any more.
    pub(crate) configured_weight: Option<u32>,
    /// How far it is drained; none while it is in use.
    pub(crate) drain: Option<DrainState>,
    /// What it has of clients, when the kernel could be asked.
    pub(crate) connections: Option<ConnectionCounts>,
}

/// How a checker is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CheckerState {
    /// Its keyword.
    pub(crate) kind: String,
    /// What it found, or what counts until it has.
    pub(crate) up: bool,
    /// Whether it has found something.
    pub(crate) reported: bool,
}

/// How far a real server is drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DrainState {
    /// Whether it still has connections.
    pub(crate) progress: DrainProgress,
    /// Seconds since it began.
    pub(crate) seconds: u64,
    /// Seconds for which connections are waited for still; none: as long as it takes.
    pub(crate) seconds_left: Option<u64>,
}

/// Whether a drained real server still has connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DrainProgress {
    /// They are waited for.
    Draining,
    /// They have ended.
    Drained,
    /// The deadline passed before.
    TimedOut,
}

/// Connections of a real server over all services of the virtual server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct ConnectionCounts {
    /// Established ones.
    pub(crate) active: u64,
    /// In any other state.
    pub(crate) inactive: u64,
    /// Clients that persistence would bring back.
    pub(crate) persistent: u64,
}

impl ConnectionCounts {
    /// Whether nothing keeps the server in use.
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(line: &str) -> anyhow::Result<(Option<VirtualServerName>, Option<RealServerName>)> {
        read(&line.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect::<Vec<_>>())
    }

    fn refusal(line: &str) -> String {
        format!("{:#}", named(line).unwrap_err())
    }

    fn tcp(port: Option<u16>, protocol: Option<Protocol>) -> VirtualServerName {
        VirtualServerName::Address { address: "192.0.2.1".parse().unwrap(), port, protocol }
    }

    #[test]
    fn servers_are_named_as_in_the_configuration_and_as_in_the_log() {
        let real = RealServerName { address: "10.0.0.1".parse().unwrap(), port: Some(8080) };
        for line in ["192.0.2.1 80 10.0.0.1 8080", "192.0.2.1:80 10.0.0.1:8080", "192.0.2.1 80 [10.0.0.1]:tcp:8080"] {
            assert_eq!(named(line).unwrap(), (Some(tcp(Some(80), None)), Some(real.clone())), "{line}");
        }
        let quoted = ["192.0.2.1 80".to_owned(), "10.0.0.1 8080".to_owned()];
        assert_eq!(read(&quoted).unwrap(), (Some(tcp(Some(80), None)), Some(real)));
        assert_eq!(named("[192.0.2.1]:udp:53").unwrap().0, Some(tcp(Some(53), Some(Protocol::Udp))));
        assert_eq!(named("192.0.2.1").unwrap().0, Some(tcp(None, None)));
        let (virtual_server, real) = named("192.0.2.1 2001:db8::1").unwrap();
        assert_eq!((virtual_server, real.unwrap().port), (Some(tcp(None, None)), None));
        for line in ["fwmark 3", "FWM 3"] {
            assert_eq!(named(line).unwrap(), (Some(VirtualServerName::Fwmark(3)), None));
        }
        let group = |number| VirtualServerName::Group { name: "web".into(), number };
        assert_eq!(named("group web 10.0.0.1 80").unwrap().0, Some(group(None)));
        assert_eq!(named("[web]:1 10.0.0.1 80").unwrap().0, Some(group(Some(1))));
        assert_eq!(named("").unwrap(), (None, None));
        let blank = |number| Some(VirtualServerName::Group { name: "my web".into(), number });
        for (words, number) in
            [(vec!["group", "my web", "10.0.0.1 80"], None), (vec!["[my web]:1", "10.0.0.1:80"], Some(1))]
        {
            let words: Vec<_> = words.into_iter().map(str::to_owned).collect();
            let (virtual_server, real_server) = read(&words).unwrap();
            assert_eq!((virtual_server, real_server.unwrap().address), (blank(number), "10.0.0.1".parse().unwrap()));
        }
    }

    #[test]
    fn what_names_nothing_is_refused_with_its_word() {
        assert!(refusal("web 10.0.0.1").contains("'web' is no address"));
        assert!(refusal("192.0.2.1 80 10.0.0").contains("'10.0.0' is no address"));
        assert!(refusal("192.0.2.1 80 10.0.0.1 80 x").contains("'x' is left over"));
        assert!(refusal("fwmark x").contains("no firewall mark"));
        assert!(refusal("group").contains("'group' needs a value"));
        assert!(refusal("[192.0.2.1]:icmp:80").contains("'icmp' is none of"));
        assert!(refusal("[192.0.2.1]:tcp:99999").contains("is no address"));
    }

    #[test]
    fn a_name_fits_what_it_names_and_resembles_its_neighbours() {
        let key = |port, protocol| ServiceKey::Address { address: "192.0.2.1".parse().unwrap(), port, protocol };
        let http = key(80, Protocol::Tcp);
        assert!(tcp(Some(80), None).fits(&http) && tcp(None, Some(Protocol::Tcp)).fits(&http));
        assert!(!tcp(Some(81), None).fits(&http) && !tcp(None, Some(Protocol::Udp)).fits(&http));
        assert!(tcp(Some(81), None).resembles(&http) && !VirtualServerName::Fwmark(80).resembles(&http));
        let group = ServiceKey::Group { name: "web".into(), number: 0, protocol: None, family: None };
        let name = |name: &str, number| VirtualServerName::Group { name: name.into(), number };
        assert!(name("web", None).fits(&group) && name("web", Some(0)).fits(&group));
        assert!(!name("web", Some(1)).fits(&group) && !name("Web", None).fits(&group));
        assert!(name("Web", None).resembles(&group) && name("website", None).resembles(&group));
        assert!(!name("mail", None).resembles(&group));
    }
}
