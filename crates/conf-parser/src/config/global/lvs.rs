//! IPVS as a whole.

use super::*;

settings! {
/// Settings of IPVS, and defaults of virtual servers.
pub struct LvsDefaults in "global_defs" {
    /// `lvs_timeouts`: time-outs of connections.
    timeouts: LvsTimeouts as "lvs_timeouts",
    /// `lvs_flush`: the tables are emptied at the start.
    flush: bool as "lvs_flush",
    /// `lvs_flush_on_stop`: how the tables are cleared at the end.
    flush_on_stop: FlushOnStop as "lvs_flush_on_stop",
    /// `lvs_sync_daemon`: connections are shared with another director.
    sync_daemon: Option<LvsSyncDaemon> as "lvs_sync_daemon",
    /// `checker_log_all_failures`: each failed check is logged.
    log_all_failures: bool as "checker_log_all_failures",
    /// `rs_init_notifies`: real servers that come up at the start are told of.
    init_notifies: bool as "rs_init_notifies",
}}

config_type! {
/// Time-outs of connections, 0 to 2678400 s; those of the kernel where absent.
#[derive(Copy, Default)]
pub struct LvsTimeouts {
    /// `tcp`: established TCP sessions.
    pub tcp: Option<Duration>,
    /// `tcpfin`: TCP sessions after a FIN.
    pub tcpfin: Option<Duration>,
    /// `udp`: UDP flows.
    pub udp: Option<Duration>,
}}

table_default! {
    LvsTimeouts => |_row| Some(Self::default()), else Self::default();
    FlushOnStop => |_row| Some(Self::default()), else Self::default();
}

impl Show for LvsTimeouts {
    fn show(&self, slot: Slot, out: &mut Vec<Setting>) {
        let mut words = Words::default();
        words.option("tcp", self.tcp.map(seconds));
        words.option("tcpfin", self.tcpfin.map(seconds));
        words.option("udp", self.udp.map(seconds));
        out.push(if words.0.is_empty() { slot.absent() } else { slot.line(words.0) });
    }
}

fn seconds(time: Duration) -> Scalar {
    Scalar::Integer(i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
}

config_type! {
/// How IPVS is cleared at the end.
#[derive(Copy, Default)]
pub enum FlushOnStop {
    /// Each real server and each virtual server is removed.
    #[default]
    Off,
    /// `VS`: each virtual server is removed, its real servers go with it.
    VirtualServers,
    /// Everything is removed at once.
    All,
}}

impl Show for FlushOnStop {
    fn show(&self, slot: Slot, out: &mut Vec<Setting>) {
        out.push(match self {
            Self::Off => slot.absent(),
            Self::VirtualServers => slot.line(vec![Scalar::Text("VS".to_owned())]),
            Self::All => slot.line(Vec::new()),
        });
    }
}

config_type! {
/// `lvs_sync_daemon`.
pub struct LvsSyncDaemon {
    /// The interface that it uses, up to 15 characters.
    pub interface: Spanned<String>,
    /// `inst`: it follows the state of this instance; without one both the master and the backup daemon run.
    pub instance: Option<Spanned<String>>,
    /// `id`: 0 to 255; the VRID of the instance where absent, else 0.
    pub id: Option<u8>,
    /// `maxlen`: largest packet, 1 to 65507 bytes; the kernel's choice where absent.
    pub max_len: Option<u16>,
    /// `port`: not 0; 8848 where absent.
    pub port: Option<u16>,
    /// `ttl`: not 0; the kernel's choice where absent.
    pub ttl: Option<u8>,
    /// `group`: 224.0.0.81 where absent.
    pub group: Option<IpAddr>,
}}

impl Show for LvsSyncDaemon {
    fn show(&self, slot: Slot, out: &mut Vec<Setting>) {
        let mut words = Words(vec![Scalar::Text(self.interface.value.clone())]);
        words.option("inst", self.instance.as_ref().map(|name| Scalar::Text(name.value.clone())));
        words.option("id", self.id.map(|id| Scalar::Integer(id.into())));
        words.option("maxlen", self.max_len.map(|len| Scalar::Integer(len.into())));
        words.option("port", self.port.map(|port| Scalar::Integer(port.into())));
        words.option("ttl", self.ttl.map(|ttl| Scalar::Integer(ttl.into())));
        words.option("group", self.group.map(|group| Scalar::Text(group.to_string())));
        let slot = Slot { written: slot.written.or(Some(self.interface.span)), ..slot };
        out.push(slot.line(words.0));
    }
}

/// The words of a line.
#[derive(Default)]
struct Words(Vec<Scalar>);

impl Words {
    /// Adds `name` and its value, where there is one.
    fn option(&mut self, name: &str, value: Option<Scalar>) {
        if let Some(value) = value {
            self.0.extend([Scalar::Text(name.to_owned()), value]);
        }
    }
}
