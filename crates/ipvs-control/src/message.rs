//! Requests and answers of the generic netlink family `IPVS` as octets.
//!
//! [`Request::emit`] and [`Answer::emit`] write messages, [`frames`] cuts received octets into messages, and
//! [`Frame::request`] and [`Frame::reply`] read them; what was written reads back equal. They
//! are read by length-checked code, since octets that did not come from a kernel must not panic either. neli's builders
//! allocate for each attribute and level, twenty times for a change; here nothing is, as a table may take a hundred
//! thousand.

use std::net::{IpAddr, Ipv4Addr};
use std::num::{NonZeroU8, NonZeroU16, NonZeroU32};

use crate::types::{
    Change, Destination, DestinationEntry, DestinationKey, Family, ForwardingMethod, Granularity, Info, InterfaceName,
    Persistence, PersistenceEngine, Protocol, Scheduler, Seconds, Service, ServiceAddress, ServiceEntry, ServiceFlags,
    Stats, SyncDaemon, SyncRole, Timeouts, Tunnel, TunnelChecksum, Weight, address_from,
};

/// Name of the generic netlink family.
pub const IPVS_GENL_NAME: &str = "IPVS";
const IPVS_GENL_VERSION: u8 = 1;

/// Message type of the generic netlink controller, which knows the number of each family.
pub const GENL_ID_CTRL: u16 = 0x10;
const CTRL_CMD_NEWFAMILY: u8 = 1;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const CTRL_VERSION: u8 = 1;

const NLMSG_NOOP: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

const IPVS_CMD_NEW_SERVICE: u8 = 1;
const IPVS_CMD_SET_SERVICE: u8 = 2;
const IPVS_CMD_DEL_SERVICE: u8 = 3;
const IPVS_CMD_GET_SERVICE: u8 = 4;
const IPVS_CMD_NEW_DEST: u8 = 5;
const IPVS_CMD_SET_DEST: u8 = 6;
const IPVS_CMD_DEL_DEST: u8 = 7;
const IPVS_CMD_GET_DEST: u8 = 8;
const IPVS_CMD_NEW_DAEMON: u8 = 9;
const IPVS_CMD_DEL_DAEMON: u8 = 10;
const IPVS_CMD_GET_DAEMON: u8 = 11;
const IPVS_CMD_SET_CONFIG: u8 = 12;
const IPVS_CMD_GET_CONFIG: u8 = 13;
const IPVS_CMD_SET_INFO: u8 = 14;
const IPVS_CMD_GET_INFO: u8 = 15;
const IPVS_CMD_ZERO: u8 = 16;
const IPVS_CMD_FLUSH: u8 = 17;

const IPVS_CMD_ATTR_SERVICE: u16 = 1;
const IPVS_CMD_ATTR_DEST: u16 = 2;
const IPVS_CMD_ATTR_DAEMON: u16 = 3;
const IPVS_CMD_ATTR_TIMEOUT_TCP: u16 = 4;
const IPVS_CMD_ATTR_TIMEOUT_TCP_FIN: u16 = 5;
const IPVS_CMD_ATTR_TIMEOUT_UDP: u16 = 6;

const IPVS_INFO_ATTR_VERSION: u16 = 1;
const IPVS_INFO_ATTR_CONN_TAB_SIZE: u16 = 2;

const IPVS_SVC_ATTR_AF: u16 = 1;
const IPVS_SVC_ATTR_PROTOCOL: u16 = 2;
const IPVS_SVC_ATTR_ADDR: u16 = 3;
const IPVS_SVC_ATTR_PORT: u16 = 4;
const IPVS_SVC_ATTR_FWMARK: u16 = 5;
const IPVS_SVC_ATTR_SCHED_NAME: u16 = 6;
const IPVS_SVC_ATTR_FLAGS: u16 = 7;
const IPVS_SVC_ATTR_TIMEOUT: u16 = 8;
const IPVS_SVC_ATTR_NETMASK: u16 = 9;
const IPVS_SVC_ATTR_STATS: u16 = 10;
const IPVS_SVC_ATTR_PE_NAME: u16 = 11;
const IPVS_SVC_ATTR_STATS64: u16 = 12;

const IPVS_DEST_ATTR_ADDR: u16 = 1;
const IPVS_DEST_ATTR_PORT: u16 = 2;
const IPVS_DEST_ATTR_FWD_METHOD: u16 = 3;
const IPVS_DEST_ATTR_WEIGHT: u16 = 4;
const IPVS_DEST_ATTR_U_THRESH: u16 = 5;
const IPVS_DEST_ATTR_L_THRESH: u16 = 6;
const IPVS_DEST_ATTR_ACTIVE_CONNS: u16 = 7;
const IPVS_DEST_ATTR_INACT_CONNS: u16 = 8;
const IPVS_DEST_ATTR_PERSIST_CONNS: u16 = 9;
const IPVS_DEST_ATTR_STATS: u16 = 10;
const IPVS_DEST_ATTR_ADDR_FAMILY: u16 = 11;
const IPVS_DEST_ATTR_STATS64: u16 = 12;
const IPVS_DEST_ATTR_TUN_TYPE: u16 = 13;
const IPVS_DEST_ATTR_TUN_PORT: u16 = 14;
const IPVS_DEST_ATTR_TUN_FLAGS: u16 = 15;

const IPVS_DAEMON_ATTR_STATE: u16 = 1;
const IPVS_DAEMON_ATTR_MCAST_IFN: u16 = 2;
const IPVS_DAEMON_ATTR_SYNC_ID: u16 = 3;
const IPVS_DAEMON_ATTR_SYNC_MAXLEN: u16 = 4;
const IPVS_DAEMON_ATTR_MCAST_GROUP: u16 = 5;
const IPVS_DAEMON_ATTR_MCAST_GROUP6: u16 = 6;
const IPVS_DAEMON_ATTR_MCAST_PORT: u16 = 7;
const IPVS_DAEMON_ATTR_MCAST_TTL: u16 = 8;

const IPVS_STATS_ATTR_CONNS: u16 = 1;
const IPVS_STATS_ATTR_INPKTS: u16 = 2;
const IPVS_STATS_ATTR_OUTPKTS: u16 = 3;
const IPVS_STATS_ATTR_INBYTES: u16 = 4;
const IPVS_STATS_ATTR_OUTBYTES: u16 = 5;
const IPVS_STATS_ATTR_CPS: u16 = 6;
const IPVS_STATS_ATTR_INPPS: u16 = 7;
const IPVS_STATS_ATTR_OUTPPS: u16 = 8;
const IPVS_STATS_ATTR_INBPS: u16 = 9;
const IPVS_STATS_ATTR_OUTBPS: u16 = 10;

const IP_VS_SVC_F_PERSISTENT: u32 = 0x0001;
const IP_VS_SVC_F_HASHED: u32 = 0x0002;

const IP_VS_CONN_F_FWD_MASK: u32 = 0x0007;
const IP_VS_CONN_F_MASQ: u32 = 0;
const IP_VS_CONN_F_LOCALNODE: u32 = 1;
const IP_VS_CONN_F_TUNNEL: u32 = 2;
const IP_VS_CONN_F_DROUTE: u32 = 3;
const IP_VS_CONN_F_BYPASS: u32 = 4;

const IP_VS_CONN_F_TUNNEL_TYPE_IPIP: u8 = 0;
const IP_VS_CONN_F_TUNNEL_TYPE_GUE: u8 = 1;
const IP_VS_CONN_F_TUNNEL_TYPE_GRE: u8 = 2;
const IP_VS_TUNNEL_ENCAP_FLAG_CSUM: u16 = 1;
const IP_VS_TUNNEL_ENCAP_FLAG_REMCSUM: u16 = 2;

const IP_VS_STATE_MASTER: u32 = 1;
const IP_VS_STATE_BACKUP: u32 = 2;

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const IPPROTO_TCP: u16 = 6;
const IPPROTO_UDP: u16 = 17;
const IPPROTO_SCTP: u16 = 132;

/// Octets that are not the message they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// A length goes past the end, or is smaller than the header it counts.
    #[error("length {length} in {available} octets")]
    Length {
        /// What the header says.
        length: usize,
        /// What there is.
        available: usize,
    },
    /// An attribute that must be there is not.
    #[error("attribute {0} is missing")]
    Missing(u16),
    /// An attribute has not the size of its type.
    #[error("attribute {attribute} of {length} octets")]
    Size {
        /// The attribute.
        attribute: u16,
        /// Its size.
        length: usize,
    },
    /// An attribute has a value that it cannot have.
    #[error("attribute {attribute} with value {value}")]
    Value {
        /// The attribute.
        attribute: u16,
        /// Its value; 0 for names.
        value: u32,
    },
    /// A command that is not read here.
    #[error("command {0}")]
    Command(u8),
}

/// What is asked of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request {
    /// The number of the family `IPVS`; loads the module `ip_vs` where the kernel may do so.
    ResolveFamily,
    /// Changes the table.
    Change(Change),
    /// All services.
    DumpServices,
    /// All destinations of a service.
    DumpDestinations(ServiceAddress),
    /// Starts a sync daemon.
    StartSyncDaemon(SyncDaemon),
    /// Stops the sync daemon of this role.
    StopSyncDaemon(SyncRole),
    /// The sync daemons that run.
    DumpSyncDaemons,
    /// Removes all services with their destinations, whoever made them.
    Flush,
    /// Sets the counters of a service and its destinations to 0, or of all.
    Zero(Option<ServiceAddress>),
    /// Sets how long idle connections are kept.
    SetTimeouts(Timeouts),
    /// How long idle connections are kept.
    QueryTimeouts,
    /// Version and limits.
    QueryInfo,
}

/// Whether the kernel says that it has done a request; it always says that it refused one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledge {
    /// Only if it was refused.
    Refusal,
    /// In any case.
    Always,
}

impl Request {
    /// Appends the message to `out`. `family` is the number that [`ResolveFamily`](Self::ResolveFamily) gave;
    /// replies carry `sequence`.
    pub fn emit(&self, family: u16, sequence: u32, acknowledge: Acknowledge, out: &mut Vec<u8>) {
        let (kind, version) = match self {
            Self::ResolveFamily => (GENL_ID_CTRL, CTRL_VERSION),
            _ => (family, IPVS_GENL_VERSION),
        };
        let mut flags = NLM_F_REQUEST;
        if matches!(self, Self::DumpServices | Self::DumpDestinations(_) | Self::DumpSyncDaemons) {
            flags |= NLM_F_DUMP;
        }
        if acknowledge == Acknowledge::Always {
            flags |= NLM_F_ACK;
        }
        let head = Head { kind, flags, sequence, command: self.command(), version };
        emit(&head, |out| self.attributes(out), out);
    }

    const fn command(&self) -> u8 {
        match self {
            Self::ResolveFamily => CTRL_CMD_GETFAMILY,
            Self::Change(change) => change_command(change),
            Self::DumpServices => IPVS_CMD_GET_SERVICE,
            Self::DumpDestinations(_) => IPVS_CMD_GET_DEST,
            Self::StartSyncDaemon(_) => IPVS_CMD_NEW_DAEMON,
            Self::StopSyncDaemon(_) => IPVS_CMD_DEL_DAEMON,
            Self::DumpSyncDaemons => IPVS_CMD_GET_DAEMON,
            Self::Flush => IPVS_CMD_FLUSH,
            Self::Zero(_) => IPVS_CMD_ZERO,
            Self::SetTimeouts(_) => IPVS_CMD_SET_CONFIG,
            Self::QueryTimeouts => IPVS_CMD_GET_CONFIG,
            Self::QueryInfo => IPVS_CMD_GET_INFO,
        }
    }

    fn attributes(&self, out: &mut Writer<'_>) {
        match self {
            Self::ResolveFamily => out.name(CTRL_ATTR_FAMILY_NAME, IPVS_GENL_NAME),
            Self::Change(change) => change_attributes(change, out),
            Self::DumpDestinations(service) | Self::Zero(Some(service)) => service_key(*service, out),
            Self::StartSyncDaemon(daemon) => sync_daemon_full(daemon, out),
            Self::StopSyncDaemon(role) => out.nested(IPVS_CMD_ATTR_DAEMON, |out| sync_role_attribute(*role, out)),
            Self::SetTimeouts(timeouts) => timeout_attributes(timeouts, out),
            Self::DumpServices
            | Self::DumpSyncDaemons
            | Self::Flush
            | Self::Zero(None)
            | Self::QueryTimeouts
            | Self::QueryInfo => {}
        }
    }
}

const fn change_command(change: &Change) -> u8 {
    match change {
        Change::AddService(_) => IPVS_CMD_NEW_SERVICE,
        Change::EditService(_) => IPVS_CMD_SET_SERVICE,
        Change::RemoveService(_) => IPVS_CMD_DEL_SERVICE,
        Change::AddDestination { .. } => IPVS_CMD_NEW_DEST,
        Change::EditDestination { .. } => IPVS_CMD_SET_DEST,
        Change::RemoveDestination { .. } => IPVS_CMD_DEL_DEST,
    }
}

fn change_attributes(change: &Change, out: &mut Writer<'_>) {
    match change {
        Change::AddService(service) | Change::EditService(service) => service_full(service, None, out),
        Change::RemoveService(address) => service_key(*address, out),
        Change::AddDestination { service, destination } | Change::EditDestination { service, destination } => {
            service_key(*service, out);
            destination_full(destination, None, out);
        }
        Change::RemoveDestination { service, destination } => {
            service_key(*service, out);
            out.nested(IPVS_CMD_ATTR_DEST, |out| destination_key(*destination, out));
        }
    }
}

/// What the kernel answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// The number of the family `IPVS`.
    Family(u16),
    /// A service of a dump.
    Service(ServiceEntry),
    /// A destination of a dump.
    Destination(DestinationEntry),
    /// A sync daemon that runs.
    SyncDaemon(SyncDaemon),
    /// How long idle connections are kept.
    Timeouts(Timeouts),
    /// Version and limits.
    Info(Info),
}

impl Answer {
    /// Appends the message to `out` as the kernel writes it: what a stand-in for the kernel needs.
    pub fn emit(&self, family: u16, sequence: u32, out: &mut Vec<u8>) {
        let command = match self {
            Self::Family(_) => CTRL_CMD_NEWFAMILY,
            Self::Service(_) => IPVS_CMD_NEW_SERVICE,
            Self::Destination(_) => IPVS_CMD_NEW_DEST,
            Self::SyncDaemon(_) => IPVS_CMD_NEW_DAEMON,
            Self::Timeouts(_) => IPVS_CMD_SET_CONFIG,
            Self::Info(_) => IPVS_CMD_SET_INFO,
        };
        let (kind, flags) = match self {
            Self::Family(_) => (GENL_ID_CTRL, 0),
            Self::Service(_) | Self::Destination(_) | Self::SyncDaemon(_) => (family, NLM_F_MULTI),
            Self::Timeouts(_) | Self::Info(_) => (family, 0),
        };
        let head = Head { kind, flags, sequence, command, version: IPVS_GENL_VERSION };
        emit(&head, |out| self.attributes(out), out);
    }

    fn attributes(&self, out: &mut Writer<'_>) {
        match self {
            Self::Family(number) => out.u16(CTRL_ATTR_FAMILY_ID, *number),
            Self::Service(entry) => service_full(&entry.service, Some(&entry.stats), out),
            Self::Destination(entry) => destination_full(&entry.destination, Some(entry), out),
            Self::SyncDaemon(daemon) => sync_daemon_full(daemon, out),
            Self::Timeouts(timeouts) => timeout_attributes(timeouts, out),
            Self::Info(info) => info_attributes(info, out),
        }
    }
}

/// Headers of a message: netlink's and generic netlink's.
struct Head {
    kind: u16,
    flags: u16,
    sequence: u32,
    command: u8,
    version: u8,
}

/// Appends a message whose attributes `write` writes.
fn emit(head: &Head, write: impl FnOnce(&mut Writer<'_>), out: &mut Vec<u8>) {
    let start = out.len();
    out.extend([0; 4]);
    out.extend(head.kind.to_ne_bytes());
    out.extend(head.flags.to_ne_bytes());
    out.extend(head.sequence.to_ne_bytes());
    // To or from whichever socket it is sent through.
    out.extend(0_u32.to_ne_bytes());
    out.extend([head.command, head.version, 0, 0]);
    write(&mut Writer(out));
    let length = u32::try_from(out.len() - start).expect("a message is far from 4 GiB");
    fill(out, start, length.to_ne_bytes());
}

/// Writes over what was left open at `start`.
fn fill<const N: usize>(out: &mut [u8], start: usize, octets: [u8; N]) {
    let open = out.get_mut(start..).and_then(|rest| rest.first_chunk_mut());
    *open.expect("as many octets were left open") = octets;
}

/// Appends attributes. Nothing is put together elsewhere first: a hundred thousand changes are millions of them.
struct Writer<'a>(&'a mut Vec<u8>);

impl Writer<'_> {
    /// One whose payload `write` appends.
    fn attribute(&mut self, kind: u16, write: impl FnOnce(&mut Self)) {
        let start = self.0.len();
        self.0.extend([0; 2]);
        self.0.extend(kind.to_ne_bytes());
        write(self);
        let length = self.0.len() - start;
        fill(self.0, start, u16::try_from(length).expect("names and numbers are short").to_ne_bytes());
        self.0.resize(start + length.next_multiple_of(4), 0);
    }

    fn nested(&mut self, kind: u16, write: impl FnOnce(&mut Self)) {
        self.attribute(kind | NLA_F_NESTED, write);
    }

    fn octets(&mut self, kind: u16, octets: &[u8]) {
        self.attribute(kind, |out| out.0.extend_from_slice(octets));
    }

    fn u8(&mut self, kind: u16, value: u8) {
        self.octets(kind, &[value]);
    }

    fn u16(&mut self, kind: u16, value: u16) {
        self.octets(kind, &value.to_ne_bytes());
    }

    fn u32(&mut self, kind: u16, value: u32) {
        self.octets(kind, &value.to_ne_bytes());
    }

    fn u64(&mut self, kind: u16, value: u64) {
        self.octets(kind, &value.to_ne_bytes());
    }

    fn port(&mut self, kind: u16, port: u16) {
        self.octets(kind, &port.to_be_bytes());
    }

    fn name(&mut self, kind: u16, name: &str) {
        self.attribute(kind, |out| {
            out.0.extend_from_slice(name.as_bytes());
            out.0.push(0);
        });
    }

    /// An address as the kernel's union of both families.
    fn address(&mut self, kind: u16, address: IpAddr) {
        self.octets(
            kind,
            &match address {
                IpAddr::V4(address) => {
                    let [a, b, c, d] = address.octets();
                    [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
                }
                IpAddr::V6(address) => address.octets(),
            },
        );
    }
}

const NLA_F_NESTED: u16 = 1 << 15;

fn family_number(family: Family) -> u16 {
    match family {
        Family::Inet => AF_INET,
        Family::Inet6 => AF_INET6,
    }
}

fn address_attributes(address: ServiceAddress, out: &mut Writer<'_>) {
    out.u16(IPVS_SVC_ATTR_AF, family_number(address.family()));
    match address {
        ServiceAddress::Socket { protocol, address, port } => {
            out.u16(
                IPVS_SVC_ATTR_PROTOCOL,
                match protocol {
                    Protocol::Tcp => IPPROTO_TCP,
                    Protocol::Udp => IPPROTO_UDP,
                    Protocol::Sctp => IPPROTO_SCTP,
                },
            );
            out.address(IPVS_SVC_ATTR_ADDR, address);
            out.port(IPVS_SVC_ATTR_PORT, port);
        }
        ServiceAddress::Fwmark { mark, .. } => out.u32(IPVS_SVC_ATTR_FWMARK, mark.get()),
    }
}

fn service_key(address: ServiceAddress, out: &mut Writer<'_>) {
    out.nested(IPVS_CMD_ATTR_SERVICE, |out| address_attributes(address, out));
}

fn service_full(service: &Service, stats: Option<&Stats>, out: &mut Writer<'_>) {
    out.nested(IPVS_CMD_ATTR_SERVICE, |out| {
        address_attributes(service.address, out);
        service_settings(service, out);
        if let Some(stats) = stats {
            stats_attribute(IPVS_SVC_ATTR_STATS64, stats, out);
        }
    });
}

fn service_settings(service: &Service, out: &mut Writer<'_>) {
    let persistent = if service.persistence.is_some() { IP_VS_SVC_F_PERSISTENT } else { 0 };
    let flags = service.flags.bits() | persistent;
    let persistence = service
        .persistence
        .unwrap_or(Persistence { timeout: Seconds(0), granularity: Granularity::host(service.address.family()) });
    out.name(IPVS_SVC_ATTR_SCHED_NAME, service.scheduler.as_str());
    out.attribute(IPVS_SVC_ATTR_FLAGS, |out| {
        let mask = u32::MAX;
        out.0.extend(flags.to_ne_bytes().into_iter().chain(mask.to_ne_bytes()));
    });
    out.u32(IPVS_SVC_ATTR_TIMEOUT, persistence.timeout.0);
    match persistence.granularity {
        Granularity::Netmask(mask) => out.octets(IPVS_SVC_ATTR_NETMASK, &mask.octets()),
        Granularity::Prefix(length) => out.u32(IPVS_SVC_ATTR_NETMASK, u32::from(length)),
    }
    if let Some(engine) = &service.persistence_engine {
        out.name(IPVS_SVC_ATTR_PE_NAME, engine.as_str());
    }
}

fn destination_key(key: DestinationKey, out: &mut Writer<'_>) {
    out.u16(IPVS_DEST_ATTR_ADDR_FAMILY, family_number(Family::of(key.address)));
    out.address(IPVS_DEST_ATTR_ADDR, key.address);
    out.port(IPVS_DEST_ATTR_PORT, key.port);
}

fn destination_full(destination: &Destination, entry: Option<&DestinationEntry>, out: &mut Writer<'_>) {
    out.nested(IPVS_CMD_ATTR_DEST, |out| {
        destination_key(destination.key(), out);
        out.u32(IPVS_DEST_ATTR_FWD_METHOD, method_number(destination.forwarding));
        out.u32(IPVS_DEST_ATTR_WEIGHT, destination.weight.0);
        out.u32(IPVS_DEST_ATTR_U_THRESH, destination.upper_threshold);
        out.u32(IPVS_DEST_ATTR_L_THRESH, destination.lower_threshold);
        if let ForwardingMethod::Tunnel(tunnel) = destination.forwarding {
            tunnel_attributes(tunnel, out);
        }
        if let Some(entry) = entry {
            out.u32(IPVS_DEST_ATTR_ACTIVE_CONNS, entry.active_connections);
            out.u32(IPVS_DEST_ATTR_INACT_CONNS, entry.inactive_connections);
            out.u32(IPVS_DEST_ATTR_PERSIST_CONNS, entry.persistent_connections);
            stats_attribute(IPVS_DEST_ATTR_STATS64, &entry.stats, out);
        }
    });
}

fn tunnel_attributes(tunnel: Tunnel, out: &mut Writer<'_>) {
    let (kind, port, flags) = match tunnel {
        Tunnel::Ipip => (IP_VS_CONN_F_TUNNEL_TYPE_IPIP, 0, 0),
        Tunnel::Gue { port, checksum } => (IP_VS_CONN_F_TUNNEL_TYPE_GUE, port.get(), checksum_flags(checksum)),
        Tunnel::Gre { checksum } => (IP_VS_CONN_F_TUNNEL_TYPE_GRE, 0, checksum_flags(checksum)),
    };
    out.u8(IPVS_DEST_ATTR_TUN_TYPE, kind);
    out.port(IPVS_DEST_ATTR_TUN_PORT, port);
    out.u16(IPVS_DEST_ATTR_TUN_FLAGS, flags);
}

fn method_number(method: ForwardingMethod) -> u32 {
    match method {
        ForwardingMethod::Masquerade => IP_VS_CONN_F_MASQ,
        ForwardingMethod::LocalNode => IP_VS_CONN_F_LOCALNODE,
        ForwardingMethod::Tunnel(_) => IP_VS_CONN_F_TUNNEL,
        ForwardingMethod::DirectRoute => IP_VS_CONN_F_DROUTE,
        ForwardingMethod::Bypass => IP_VS_CONN_F_BYPASS,
        ForwardingMethod::Unknown(number) => u32::from(number) & IP_VS_CONN_F_FWD_MASK,
    }
}

fn checksum_flags(checksum: TunnelChecksum) -> u16 {
    match checksum {
        TunnelChecksum::None => 0,
        TunnelChecksum::Checksum => IP_VS_TUNNEL_ENCAP_FLAG_CSUM,
        TunnelChecksum::Remote => IP_VS_TUNNEL_ENCAP_FLAG_REMCSUM,
        TunnelChecksum::Unknown(flags) => flags,
    }
}

fn stats_attribute(kind: u16, stats: &Stats, out: &mut Writer<'_>) {
    out.nested(kind, |out| {
        out.u64(IPVS_STATS_ATTR_CONNS, stats.connections);
        out.u64(IPVS_STATS_ATTR_INPKTS, stats.incoming_packets);
        out.u64(IPVS_STATS_ATTR_OUTPKTS, stats.outgoing_packets);
        out.u64(IPVS_STATS_ATTR_INBYTES, stats.incoming_octets);
        out.u64(IPVS_STATS_ATTR_OUTBYTES, stats.outgoing_octets);
        out.u64(IPVS_STATS_ATTR_CPS, stats.connection_rate);
        out.u64(IPVS_STATS_ATTR_INPPS, stats.incoming_packet_rate);
        out.u64(IPVS_STATS_ATTR_OUTPPS, stats.outgoing_packet_rate);
        out.u64(IPVS_STATS_ATTR_INBPS, stats.incoming_octet_rate);
        out.u64(IPVS_STATS_ATTR_OUTBPS, stats.outgoing_octet_rate);
    });
}

fn sync_role_attribute(role: SyncRole, out: &mut Writer<'_>) {
    out.u32(
        IPVS_DAEMON_ATTR_STATE,
        match role {
            SyncRole::Master => IP_VS_STATE_MASTER,
            SyncRole::Backup => IP_VS_STATE_BACKUP,
        },
    );
}

fn sync_daemon_full(daemon: &SyncDaemon, out: &mut Writer<'_>) {
    out.nested(IPVS_CMD_ATTR_DAEMON, |out| {
        sync_role_attribute(daemon.role, out);
        out.name(IPVS_DAEMON_ATTR_MCAST_IFN, daemon.interface.as_str());
        out.u32(IPVS_DAEMON_ATTR_SYNC_ID, u32::from(daemon.sync_id));
        if let Some(length) = daemon.max_length {
            out.u16(IPVS_DAEMON_ATTR_SYNC_MAXLEN, length.get());
        }
        match daemon.group {
            IpAddr::V4(group) => out.octets(IPVS_DAEMON_ATTR_MCAST_GROUP, &group.octets()),
            IpAddr::V6(group) => out.octets(IPVS_DAEMON_ATTR_MCAST_GROUP6, &group.octets()),
        }
        // In the host's order, unlike all other ports of this family.
        out.u16(IPVS_DAEMON_ATTR_MCAST_PORT, daemon.port.get());
        out.u8(IPVS_DAEMON_ATTR_MCAST_TTL, daemon.ttl.get());
    });
}

fn timeout_attributes(timeouts: &Timeouts, out: &mut Writer<'_>) {
    let Timeouts { tcp, tcp_fin, udp } = timeouts;
    out.u32(IPVS_CMD_ATTR_TIMEOUT_TCP, tcp.0);
    out.u32(IPVS_CMD_ATTR_TIMEOUT_TCP_FIN, tcp_fin.0);
    out.u32(IPVS_CMD_ATTR_TIMEOUT_UDP, udp.0);
}

fn info_attributes(info: &Info, out: &mut Writer<'_>) {
    let [major, minor, patch] = info.version;
    out.u32(IPVS_INFO_ATTR_VERSION, u32::from_be_bytes([0, major, minor, patch]));
    out.u32(IPVS_INFO_ATTR_CONN_TAB_SIZE, info.connection_table_size);
}

/// One netlink message of what was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Message type: a family's number, or a control message.
    pub kind: u16,
    /// Netlink flags.
    pub flags: u16,
    /// Sequence number of the request.
    pub sequence: u32,
    /// What follows the netlink header.
    pub payload: &'a [u8],
}

/// The messages in one datagram. After an error there are no more.
pub fn frames(octets: &[u8]) -> impl Iterator<Item = Result<Frame<'_>, ParseError>> {
    let mut rest = octets;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let frame = split_frame(rest);
        rest = frame.map_or(&[], |(_, after)| after);
        Some(frame.map(|(frame, _)| frame))
    })
}

fn split_frame(octets: &[u8]) -> Result<(Frame<'_>, &[u8]), ParseError> {
    let short = |length| ParseError::Length { length, available: octets.len() };
    let &[l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, _, _, _, _] =
        octets.first_chunk::<HEADER>().ok_or(short(HEADER))?;
    let length = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
    let payload = octets.get(HEADER..length).ok_or(short(length))?;
    let frame = Frame {
        kind: u16::from_ne_bytes([k0, k1]),
        flags: u16::from_ne_bytes([f0, f1]),
        sequence: u32::from_ne_bytes([s0, s1, s2, s3]),
        payload,
    };
    Ok((frame, octets.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// Size of a netlink header.
const HEADER: usize = 16;

/// The kernel will not do a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Error number, positive: 2 is ENOENT.
    pub errno: i32,
    /// What the kernel says about it, where it says more than a number.
    pub text: Option<String>,
}

/// What a received message is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// An answer, or a part of a dump.
    Answer(Answer),
    /// A dump is complete.
    Done,
    /// The request is done.
    Acknowledged,
    /// The request was refused.
    Refused(Refusal),
    /// Nothing.
    Noop,
}

impl Frame<'_> {
    /// Reads the message as one from the kernel.
    ///
    /// # Errors
    /// [`ParseError`] names the first thing that is wrong.
    pub fn reply(&self) -> Result<Reply, ParseError> {
        match self.kind {
            NLMSG_NOOP => Ok(Reply::Noop),
            NLMSG_ERROR => self.error(Reply::Acknowledged),
            NLMSG_DONE if self.payload.is_empty() => Ok(Reply::Done),
            NLMSG_DONE => self.error(Reply::Done),
            GENL_ID_CTRL => family_answer(self.payload).map(Reply::Answer),
            _ => answer(self.payload).map(Reply::Answer),
        }
    }

    /// Reads the message as one to the kernel: what a stand-in for the kernel needs.
    ///
    /// # Errors
    /// [`ParseError`] names the first thing that is wrong.
    pub fn request(&self) -> Result<Request, ParseError> {
        let (command, attributes) = split_genl(self.payload)?;
        match (self.kind, command) {
            (GENL_ID_CTRL, CTRL_CMD_GETFAMILY) => Ok(Request::ResolveFamily),
            (GENL_ID_CTRL, other) => Err(ParseError::Command(other)),
            _ => request(command, &attributes),
        }
    }

    /// Whether the sender of this request wants to know that it is done.
    pub const fn acknowledge(&self) -> Acknowledge {
        if self.flags & NLM_F_ACK == 0 { Acknowledge::Refusal } else { Acknowledge::Always }
    }

    /// An error message; `fine` is what the error number 0 means.
    fn error(&self, fine: Reply) -> Result<Reply, ParseError> {
        let short = ParseError::Length { length: 4, available: self.payload.len() };
        let (number, rest) = self.payload.split_first_chunk::<4>().ok_or(short)?;
        match i32::from_ne_bytes(*number) {
            0 => Ok(fine),
            number => Ok(Reply::Refused(Refusal { errno: number.saturating_neg(), text: self.error_text(rest) })),
        }
    }

    /// The extended acknowledgement behind an error number. In an error message it follows the refused request, of
    /// which there may be the header only; at the end of a dump it follows at once.
    fn error_text(&self, rest: &[u8]) -> Option<String> {
        if self.flags & NLM_F_ACK_TLVS == 0 {
            return None;
        }
        let attributes = match self.kind {
            NLMSG_ERROR if self.flags & NLM_F_CAPPED != 0 => rest.get(HEADER..)?,
            NLMSG_ERROR => split_frame(rest).ok()?.1,
            _ => rest,
        };
        let text = Attributes::parse(attributes).ok()?.find(NLMSGERR_ATTR_MSG)?;
        let text = text.split(|octet| *octet == 0).next()?;
        Some(String::from_utf8_lossy(text).into_owned())
    }
}

const NLM_F_REQUEST: u16 = 0x01;
const NLM_F_MULTI: u16 = 0x02;
const NLM_F_ACK: u16 = 0x04;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;

/// The attributes of one level, by number. Numbers from 32 on, which do not exist in IPVS, are left out.
#[derive(Default)]
struct Attributes<'a>([Option<&'a [u8]>; 32]);

impl<'a> Attributes<'a> {
    fn parse(octets: &'a [u8]) -> Result<Self, ParseError> {
        let mut slots = Self::default();
        let mut rest = octets;
        while !rest.is_empty() {
            let short = |length| ParseError::Length { length, available: rest.len() };
            let &[l0, l1, k0, k1] = rest.first_chunk::<4>().ok_or(short(4))?;
            let length = usize::from(u16::from_ne_bytes([l0, l1]));
            let payload = rest.get(4..length).ok_or(short(length))?;
            // The two highest bits say how the payload is written, not what it is.
            let kind = u16::from_ne_bytes([k0, k1]) & 0x3fff;
            if let Some(slot) = slots.0.get_mut(usize::from(kind)) {
                *slot = Some(payload);
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(slots)
    }

    fn find(&self, kind: u16) -> Option<&'a [u8]> {
        self.0.get(usize::from(kind)).copied().flatten()
    }

    fn bytes(&self, kind: u16) -> Result<&'a [u8], ParseError> {
        self.find(kind).ok_or(ParseError::Missing(kind))
    }

    fn nested(&self, kind: u16) -> Result<Self, ParseError> {
        Attributes::parse(self.bytes(kind)?)
    }

    fn array<const N: usize>(&self, kind: u16) -> Result<[u8; N], ParseError> {
        let bytes = self.bytes(kind)?;
        bytes.try_into().map_err(|_| ParseError::Size { attribute: kind, length: bytes.len() })
    }

    fn u16(&self, kind: u16) -> Result<u16, ParseError> {
        self.array(kind).map(u16::from_ne_bytes)
    }

    fn u32(&self, kind: u16) -> Result<u32, ParseError> {
        self.array(kind).map(u32::from_ne_bytes)
    }

    fn port(&self, kind: u16) -> Result<u16, ParseError> {
        self.array(kind).map(u16::from_be_bytes)
    }

    /// A counter of 32 or 64 bits; 0 if there is none.
    fn counter(&self, kind: u16) -> u64 {
        let Some(bytes) = self.find(kind) else { return 0 };
        let narrow = || bytes.try_into().map(u32::from_ne_bytes).map(u64::from);
        bytes.try_into().map(u64::from_ne_bytes).or_else(|_| narrow()).unwrap_or(0)
    }

    fn name(&self, kind: u16) -> Result<&'a str, ParseError> {
        let bytes = self.bytes(kind)?.split(|octet| *octet == 0).next().unwrap_or_default();
        std::str::from_utf8(bytes).map_err(|_| ParseError::Value { attribute: kind, value: 0 })
    }

    fn family(&self, kind: u16) -> Result<Family, ParseError> {
        match self.u16(kind)? {
            AF_INET => Ok(Family::Inet),
            AF_INET6 => Ok(Family::Inet6),
            other => Err(ParseError::Value { attribute: kind, value: other.into() }),
        }
    }
}

/// Command and attributes of a generic netlink message.
fn split_genl(payload: &[u8]) -> Result<(u8, Attributes<'_>), ParseError> {
    let short = ParseError::Length { length: 4, available: payload.len() };
    let (&[command, _, _, _], attributes) = payload.split_first_chunk::<4>().ok_or(short)?;
    Ok((command, Attributes::parse(attributes)?))
}

fn family_answer(payload: &[u8]) -> Result<Answer, ParseError> {
    match split_genl(payload)? {
        (CTRL_CMD_NEWFAMILY, attributes) => attributes.u16(CTRL_ATTR_FAMILY_ID).map(Answer::Family),
        (other, _) => Err(ParseError::Command(other)),
    }
}

fn answer(payload: &[u8]) -> Result<Answer, ParseError> {
    let (command, attributes) = split_genl(payload)?;
    match command {
        IPVS_CMD_NEW_SERVICE => service_entry(&attributes.nested(IPVS_CMD_ATTR_SERVICE)?).map(Answer::Service),
        IPVS_CMD_NEW_DEST => destination_entry(&attributes.nested(IPVS_CMD_ATTR_DEST)?).map(Answer::Destination),
        IPVS_CMD_NEW_DAEMON => sync_daemon(&attributes.nested(IPVS_CMD_ATTR_DAEMON)?).map(Answer::SyncDaemon),
        IPVS_CMD_SET_CONFIG => timeouts(&attributes).map(Answer::Timeouts),
        IPVS_CMD_SET_INFO => info(&attributes).map(Answer::Info),
        other => Err(ParseError::Command(other)),
    }
}

fn request(command: u8, attributes: &Attributes<'_>) -> Result<Request, ParseError> {
    let service = || attributes.nested(IPVS_CMD_ATTR_SERVICE);
    let address = || service_address(&service()?);
    let destination = || destination(&attributes.nested(IPVS_CMD_ATTR_DEST)?);
    let daemon = || attributes.nested(IPVS_CMD_ATTR_DAEMON);
    let change = match command {
        IPVS_CMD_NEW_SERVICE => Change::AddService(self::service(&service()?)?),
        IPVS_CMD_SET_SERVICE => Change::EditService(self::service(&service()?)?),
        IPVS_CMD_DEL_SERVICE => Change::RemoveService(address()?),
        IPVS_CMD_NEW_DEST => Change::AddDestination { service: address()?, destination: destination()? },
        IPVS_CMD_SET_DEST => Change::EditDestination { service: address()?, destination: destination()? },
        IPVS_CMD_DEL_DEST => {
            let destination = read_destination_key(&attributes.nested(IPVS_CMD_ATTR_DEST)?)?;
            Change::RemoveDestination { service: address()?, destination }
        }
        IPVS_CMD_GET_SERVICE => return Ok(Request::DumpServices),
        IPVS_CMD_GET_DEST => return address().map(Request::DumpDestinations),
        IPVS_CMD_NEW_DAEMON => return sync_daemon(&daemon()?).map(Request::StartSyncDaemon),
        IPVS_CMD_DEL_DAEMON => return sync_role(&daemon()?).map(Request::StopSyncDaemon),
        IPVS_CMD_GET_DAEMON => return Ok(Request::DumpSyncDaemons),
        IPVS_CMD_FLUSH => return Ok(Request::Flush),
        IPVS_CMD_ZERO if attributes.find(IPVS_CMD_ATTR_SERVICE).is_none() => return Ok(Request::Zero(None)),
        IPVS_CMD_ZERO => return address().map(Some).map(Request::Zero),
        IPVS_CMD_SET_CONFIG => return timeouts(attributes).map(Request::SetTimeouts),
        IPVS_CMD_GET_CONFIG => return Ok(Request::QueryTimeouts),
        IPVS_CMD_GET_INFO => return Ok(Request::QueryInfo),
        other => return Err(ParseError::Command(other)),
    };
    Ok(Request::Change(change))
}

fn service_address(attributes: &Attributes<'_>) -> Result<ServiceAddress, ParseError> {
    let family = attributes.family(IPVS_SVC_ATTR_AF)?;
    if attributes.find(IPVS_SVC_ATTR_FWMARK).is_some() {
        let zero = ParseError::Value { attribute: IPVS_SVC_ATTR_FWMARK, value: 0 };
        let mark = NonZeroU32::new(attributes.u32(IPVS_SVC_ATTR_FWMARK)?).ok_or(zero)?;
        return Ok(ServiceAddress::Fwmark { mark, family });
    }
    let protocol = match attributes.u16(IPVS_SVC_ATTR_PROTOCOL)? {
        IPPROTO_TCP => Protocol::Tcp,
        IPPROTO_UDP => Protocol::Udp,
        IPPROTO_SCTP => Protocol::Sctp,
        other => return Err(ParseError::Value { attribute: IPVS_SVC_ATTR_PROTOCOL, value: other.into() }),
    };
    let address = address_from(family, &attributes.array(IPVS_SVC_ATTR_ADDR)?);
    Ok(ServiceAddress::Socket { protocol, address, port: attributes.port(IPVS_SVC_ATTR_PORT)? })
}

fn service(attributes: &Attributes<'_>) -> Result<Service, ParseError> {
    let address = service_address(attributes)?;
    let [f0, f1, f2, f3, _, _, _, _] = attributes.array::<8>(IPVS_SVC_ATTR_FLAGS)?;
    let flags = u32::from_ne_bytes([f0, f1, f2, f3]);
    let persistence = if flags & IP_VS_SVC_F_PERSISTENT == 0 {
        None
    } else {
        let timeout = Seconds(attributes.u32(IPVS_SVC_ATTR_TIMEOUT)?);
        Some(Persistence { timeout, granularity: granularity(address.family(), attributes)? })
    };
    let wrong_name = |attribute| move |_| ParseError::Value { attribute, value: 0 };
    let scheduler = attributes.name(IPVS_SVC_ATTR_SCHED_NAME)?;
    let engine = attributes.find(IPVS_SVC_ATTR_PE_NAME).map(|_| attributes.name(IPVS_SVC_ATTR_PE_NAME)).transpose()?;
    Ok(Service {
        address,
        scheduler: Scheduler::new(scheduler).map_err(wrong_name(IPVS_SVC_ATTR_SCHED_NAME))?,
        flags: ServiceFlags::from_bits_retain(flags & !(IP_VS_SVC_F_PERSISTENT | IP_VS_SVC_F_HASHED)),
        persistence,
        persistence_engine: engine
            .map(PersistenceEngine::new)
            .transpose()
            .map_err(wrong_name(IPVS_SVC_ATTR_PE_NAME))?,
    })
}

fn granularity(family: Family, attributes: &Attributes<'_>) -> Result<Granularity, ParseError> {
    match family {
        Family::Inet => Ok(Granularity::Netmask(Ipv4Addr::from(attributes.array::<4>(IPVS_SVC_ATTR_NETMASK)?))),
        Family::Inet6 => {
            let value = attributes.u32(IPVS_SVC_ATTR_NETMASK)?;
            let wrong = ParseError::Value { attribute: IPVS_SVC_ATTR_NETMASK, value };
            u8::try_from(value).map(Granularity::Prefix).map_err(|_| wrong)
        }
    }
}

fn read_destination_key(attributes: &Attributes<'_>) -> Result<DestinationKey, ParseError> {
    let family = attributes.family(IPVS_DEST_ATTR_ADDR_FAMILY)?;
    let address = address_from(family, &attributes.array(IPVS_DEST_ATTR_ADDR)?);
    Ok(DestinationKey { address, port: attributes.port(IPVS_DEST_ATTR_PORT)? })
}

fn destination(attributes: &Attributes<'_>) -> Result<Destination, ParseError> {
    let DestinationKey { address, port } = read_destination_key(attributes)?;
    Ok(Destination {
        address,
        port,
        weight: Weight::saturating_from(attributes.u32(IPVS_DEST_ATTR_WEIGHT)?.into()),
        forwarding: forwarding(attributes)?,
        upper_threshold: attributes.u32(IPVS_DEST_ATTR_U_THRESH)?,
        lower_threshold: attributes.u32(IPVS_DEST_ATTR_L_THRESH)?,
    })
}

fn forwarding(attributes: &Attributes<'_>) -> Result<ForwardingMethod, ParseError> {
    let [number, _, _, _] = (attributes.u32(IPVS_DEST_ATTR_FWD_METHOD)? & IP_VS_CONN_F_FWD_MASK).to_le_bytes();
    Ok(match u32::from(number) {
        IP_VS_CONN_F_MASQ => ForwardingMethod::Masquerade,
        IP_VS_CONN_F_LOCALNODE => ForwardingMethod::LocalNode,
        IP_VS_CONN_F_TUNNEL => ForwardingMethod::Tunnel(tunnel(attributes)?),
        IP_VS_CONN_F_DROUTE => ForwardingMethod::DirectRoute,
        IP_VS_CONN_F_BYPASS => ForwardingMethod::Bypass,
        _ => ForwardingMethod::Unknown(number),
    })
}

/// Kernels before 5.3 know IP in IP only and say nothing of it.
fn tunnel(attributes: &Attributes<'_>) -> Result<Tunnel, ParseError> {
    if attributes.find(IPVS_DEST_ATTR_TUN_TYPE).is_none() {
        return Ok(Tunnel::Ipip);
    }
    let [kind] = attributes.array(IPVS_DEST_ATTR_TUN_TYPE)?;
    let checksum = || {
        Ok(match attributes.u16(IPVS_DEST_ATTR_TUN_FLAGS)? {
            0 => TunnelChecksum::None,
            IP_VS_TUNNEL_ENCAP_FLAG_CSUM => TunnelChecksum::Checksum,
            IP_VS_TUNNEL_ENCAP_FLAG_REMCSUM => TunnelChecksum::Remote,
            other => TunnelChecksum::Unknown(other),
        })
    };
    match kind {
        IP_VS_CONN_F_TUNNEL_TYPE_IPIP => Ok(Tunnel::Ipip),
        IP_VS_CONN_F_TUNNEL_TYPE_GUE => {
            let zero = ParseError::Value { attribute: IPVS_DEST_ATTR_TUN_PORT, value: 0 };
            let port = NonZeroU16::new(attributes.port(IPVS_DEST_ATTR_TUN_PORT)?).ok_or(zero)?;
            Ok(Tunnel::Gue { port, checksum: checksum()? })
        }
        IP_VS_CONN_F_TUNNEL_TYPE_GRE => Ok(Tunnel::Gre { checksum: checksum()? }),
        other => Err(ParseError::Value { attribute: IPVS_DEST_ATTR_TUN_TYPE, value: other.into() }),
    }
}

fn service_entry(attributes: &Attributes<'_>) -> Result<ServiceEntry, ParseError> {
    let stats = stats(attributes, IPVS_SVC_ATTR_STATS64, IPVS_SVC_ATTR_STATS)?;
    Ok(ServiceEntry { service: service(attributes)?, stats })
}

fn destination_entry(attributes: &Attributes<'_>) -> Result<DestinationEntry, ParseError> {
    Ok(DestinationEntry {
        destination: destination(attributes)?,
        active_connections: attributes.u32(IPVS_DEST_ATTR_ACTIVE_CONNS)?,
        inactive_connections: attributes.u32(IPVS_DEST_ATTR_INACT_CONNS)?,
        persistent_connections: attributes.u32(IPVS_DEST_ATTR_PERSIST_CONNS)?,
        stats: stats(attributes, IPVS_DEST_ATTR_STATS64, IPVS_DEST_ATTR_STATS)?,
    })
}

/// Counters of 64 bits, or of 32 where the kernel (before 4.1) has no others.
fn stats(attributes: &Attributes<'_>, wide: u16, narrow: u16) -> Result<Stats, ParseError> {
    let found = attributes.find(wide).or_else(|| attributes.find(narrow)).unwrap_or_default();
    let counters = Attributes::parse(found)?;
    Ok(Stats {
        connections: counters.counter(IPVS_STATS_ATTR_CONNS),
        incoming_packets: counters.counter(IPVS_STATS_ATTR_INPKTS),
        outgoing_packets: counters.counter(IPVS_STATS_ATTR_OUTPKTS),
        incoming_octets: counters.counter(IPVS_STATS_ATTR_INBYTES),
        outgoing_octets: counters.counter(IPVS_STATS_ATTR_OUTBYTES),
        connection_rate: counters.counter(IPVS_STATS_ATTR_CPS),
        incoming_packet_rate: counters.counter(IPVS_STATS_ATTR_INPPS),
        outgoing_packet_rate: counters.counter(IPVS_STATS_ATTR_OUTPPS),
        incoming_octet_rate: counters.counter(IPVS_STATS_ATTR_INBPS),
        outgoing_octet_rate: counters.counter(IPVS_STATS_ATTR_OUTBPS),
    })
}

fn sync_role(attributes: &Attributes<'_>) -> Result<SyncRole, ParseError> {
    match attributes.u32(IPVS_DAEMON_ATTR_STATE)? {
        IP_VS_STATE_MASTER => Ok(SyncRole::Master),
        IP_VS_STATE_BACKUP => Ok(SyncRole::Backup),
        value => Err(ParseError::Value { attribute: IPVS_DAEMON_ATTR_STATE, value }),
    }
}

/// Kernels before 4.3 know role, interface and id only; their other settings are the ones that are filled in here.
fn sync_daemon(attributes: &Attributes<'_>) -> Result<SyncDaemon, ParseError> {
    let name = attributes.name(IPVS_DAEMON_ATTR_MCAST_IFN)?;
    let wrong_name = |_| ParseError::Value { attribute: IPVS_DAEMON_ATTR_MCAST_IFN, value: 0 };
    let id = attributes.u32(IPVS_DAEMON_ATTR_SYNC_ID)?;
    let wrong_id = |_| ParseError::Value { attribute: IPVS_DAEMON_ATTR_SYNC_ID, value: id };
    let number = |kind| attributes.find(kind).map_or(Ok(0), |_| attributes.u16(kind)).map(NonZeroU16::new);
    let [ttl] = attributes
        .find(IPVS_DAEMON_ATTR_MCAST_TTL)
        .map_or(Ok([0]), |_| attributes.array(IPVS_DAEMON_ATTR_MCAST_TTL))?;
    Ok(SyncDaemon {
        role: sync_role(attributes)?,
        interface: InterfaceName::new(name).map_err(wrong_name)?,
        sync_id: u8::try_from(id).map_err(wrong_id)?,
        max_length: number(IPVS_DAEMON_ATTR_SYNC_MAXLEN)?,
        group: sync_group(attributes)?,
        port: number(IPVS_DAEMON_ATTR_MCAST_PORT)?.unwrap_or(SyncDaemon::PORT),
        ttl: NonZeroU8::new(ttl).unwrap_or(SyncDaemon::TTL),
    })
}

fn sync_group(attributes: &Attributes<'_>) -> Result<IpAddr, ParseError> {
    if attributes.find(IPVS_DAEMON_ATTR_MCAST_GROUP6).is_some() {
        return attributes.array::<16>(IPVS_DAEMON_ATTR_MCAST_GROUP6).map(IpAddr::from);
    }
    if attributes.find(IPVS_DAEMON_ATTR_MCAST_GROUP).is_some() {
        return attributes.array::<4>(IPVS_DAEMON_ATTR_MCAST_GROUP).map(IpAddr::from);
    }
    Ok(SyncDaemon::GROUP)
}

fn timeouts(attributes: &Attributes<'_>) -> Result<Timeouts, ParseError> {
    let seconds = |kind| attributes.find(kind).map_or(Ok(0), |_| attributes.u32(kind)).map(Seconds);
    Ok(Timeouts {
        tcp: seconds(IPVS_CMD_ATTR_TIMEOUT_TCP)?,
        tcp_fin: seconds(IPVS_CMD_ATTR_TIMEOUT_TCP_FIN)?,
        udp: seconds(IPVS_CMD_ATTR_TIMEOUT_UDP)?,
    })
}

fn info(attributes: &Attributes<'_>) -> Result<Info, ParseError> {
    let [_, major, minor, patch] = attributes.u32(IPVS_INFO_ATTR_VERSION)?.to_be_bytes();
    let connection_table_size = attributes.u32(IPVS_INFO_ATTR_CONN_TAB_SIZE)?;
    Ok(Info { version: [major, minor, patch], connection_table_size })
}

#[cfg(test)]
mod tests;
