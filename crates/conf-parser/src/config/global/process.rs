//! The processes of the daemon: names, priorities, limits, buffers.

use super::*;

config_type! {
/// The processes of the daemon.
pub struct Processes {
    /// `process_names`: the children are called `keepalived_vrrp`, `keepalived_lvs` and `keepalived_bfd`; their `name` says so.
    pub default_names: bool,
    /// `process_name`: name of the parent, up to 15 characters.
    pub parent_name: Option<String>,
    /// The VRRP process.
    pub vrrp: Process,
    /// The checker process.
    pub checker: Process,
    /// The BFD process.
    pub bfd: Process,
    /// `min_auto_priority_delay`: lateness from which a process raises its priority, 1 µs to 10 s; default 1 s.
    pub min_auto_priority_delay: Duration,
    /// `umask`: permissions that new files do not get; default 0177.
    pub umask: Umask,
    /// The `*_rcv_bufs` settings.
    pub buffers: ReceiveBuffers,
}}

impl Default for Processes {
    fn default() -> Self {
        Self {
            default_names: default(GLOBAL_DEFS, "process_names"),
            parent_name: None,
            vrrp: Process::default_of("vrrp"),
            checker: Process::default_of("checker"),
            bfd: Process::default_of("bfd"),
            min_auto_priority_delay: default(GLOBAL_DEFS, "min_auto_priority_delay"),
            umask: Umask::default(),
            buffers: ReceiveBuffers::default(),
        }
    }
}

impl Processes {
    pub(super) fn lines(&self, block: &str, places: &Places, out: &mut Vec<Setting>) {
        let slot = |keyword: &str| Slot::new(block, keyword, places);
        self.default_names.show(slot("process_names"), out);
        self.parent_name.show(slot("process_name"), out);
        for (prefix, process) in [("vrrp", &self.vrrp), ("checker", &self.checker), ("bfd", &self.bfd)] {
            process.lines(prefix, block, places, out);
        }
        self.min_auto_priority_delay.show(slot("min_auto_priority_delay"), out);
        self.umask.show(slot("umask"), out);
        for (keyword, buffer) in self.buffers.iter() {
            buffer.size.show(slot(keyword), out);
            buffer.force.show(slot(&format!("{keyword}_force")), out);
        }
    }
}

config_type! {
/// The settings of one process, which start with `vrrp_`, `checker_` or `bfd_`.
pub struct Process {
    /// `*_process_name`: up to 15 characters.
    pub name: Option<String>,
    /// `*_priority`: nice value, -20 to 19; as the daemon chooses where absent (keepalived: 0).
    pub priority: Option<i8>,
    /// `*_no_swap`: it stays in memory.
    pub no_swap: bool,
    /// `*_rt_priority`: it is scheduled as a real-time process of this priority, 1 to 99.
    pub rt_priority: Option<u8>,
    /// `*_cpu_affinity`: the CPUs that it may use, in ascending order; empty = any.
    pub cpu_affinity: Vec<u32>,
    /// `*_rlimit_rttime`: CPU time between two blocking calls of a real-time process, 2 µs and more; default 10 ms.
    pub rlimit_rttime: Duration,
}}

/// That of the VRRP process: all start alike.
impl Default for Process {
    fn default() -> Self {
        Self::default_of("vrrp")
    }
}

impl Process {
    fn default_of(prefix: &str) -> Self {
        Self {
            name: None,
            priority: None,
            no_swap: default(GLOBAL_DEFS, &format!("{prefix}_no_swap")),
            rt_priority: None,
            cpu_affinity: Vec::new(),
            rlimit_rttime: default(GLOBAL_DEFS, &format!("{prefix}_rlimit_rttime")),
        }
    }

    fn lines(&self, prefix: &str, block: &str, places: &Places, out: &mut Vec<Setting>) {
        let slot = |word: &str| Slot::new(block, &format!("{prefix}_{word}"), places);
        self.name.show(slot("process_name"), out);
        self.priority.show(slot("priority"), out);
        self.no_swap.show(slot("no_swap"), out);
        self.rt_priority.show(slot("rt_priority"), out);
        let affinity = slot("cpu_affinity");
        out.push(match self.cpu_affinity.as_slice() {
            [] => affinity.absent(),
            numbers => affinity.line(numbers.iter().map(|number| Scalar::Integer((*number).into())).collect()),
        });
        self.rlimit_rttime.show(slot("rlimit_rttime"), out);
    }
}

config_type! {
/// Permissions that new files do not get: 0 to 0777.
#[derive(Copy)]
pub struct Umask(pub u16);
}

impl Umask {
    /// The words for its bits.
    pub const BITS: &'static [(&'static str, u16)] = &[
        ("IRUSR", 0o400),
        ("IWUSR", 0o200),
        ("IXUSR", 0o100),
        ("IRWXU", 0o700),
        ("IRGRP", 0o040),
        ("IWGRP", 0o020),
        ("IXGRP", 0o010),
        ("IRWXG", 0o070),
        ("IROTH", 0o004),
        ("IWOTH", 0o002),
        ("IXOTH", 0o001),
        ("IRWXO", 0o007),
    ];
}

impl Default for Umask {
    fn default() -> Self {
        default(GLOBAL_DEFS, "umask")
    }
}

table_default! {
    Umask => |row| u16::from_str_radix(row.default_text(), 8).ok().map(Self), else Self(0o777);
}

show_word! {
    Umask => |umask, _row| Scalar::Text(format!("{:#05o}", umask.0).replace("0o", "0"));
}

config_type! {
/// The receive buffers of netlink and process event sockets.
pub struct ReceiveBuffers {
    /// `vrrp_netlink_cmd_rcv_bufs`.
    pub vrrp_command: ReceiveBuffer,
    /// `vrrp_netlink_monitor_rcv_bufs`.
    pub vrrp_monitor: ReceiveBuffer,
    /// `process_monitor_rcv_bufs`.
    pub process_monitor: ReceiveBuffer,
    /// `lvs_netlink_cmd_rcv_bufs`.
    pub lvs_command: ReceiveBuffer,
    /// `lvs_netlink_monitor_rcv_bufs`.
    pub lvs_monitor: ReceiveBuffer,
}}

config_type! {
/// A receive buffer.
#[derive(Copy, Default)]
pub struct ReceiveBuffer {
    /// Its size in bytes, not 0; the kernel's choice where absent.
    pub size: Option<u32>,
    /// `*_force`: it may be larger than the system allows.
    pub force: bool,
}}

impl Default for ReceiveBuffers {
    fn default() -> Self {
        let buffer = |keyword: &str| ReceiveBuffer { size: None, force: default(GLOBAL_DEFS, keyword) };
        Self {
            vrrp_command: buffer("vrrp_netlink_cmd_rcv_bufs_force"),
            vrrp_monitor: buffer("vrrp_netlink_monitor_rcv_bufs_force"),
            process_monitor: buffer("process_monitor_rcv_bufs_force"),
            lvs_command: buffer("lvs_netlink_cmd_rcv_bufs_force"),
            lvs_monitor: buffer("lvs_netlink_monitor_rcv_bufs_force"),
        }
    }
}

impl ReceiveBuffers {
    /// Each buffer with its keyword.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &ReceiveBuffer)> {
        [
            ("vrrp_netlink_cmd_rcv_bufs", &self.vrrp_command),
            ("vrrp_netlink_monitor_rcv_bufs", &self.vrrp_monitor),
            ("process_monitor_rcv_bufs", &self.process_monitor),
            ("lvs_netlink_cmd_rcv_bufs", &self.lvs_command),
            ("lvs_netlink_monitor_rcv_bufs", &self.lvs_monitor),
        ]
        .into_iter()
    }
}
