//! What shows the daemon to others: SNMP, D-Bus, dumps.

use super::*;

settings! {
/// SNMP, D-Bus and dump files.
pub struct Monitoring in "global_defs" {
    /// `snmp_socket`: the AgentX master; `unix:/var/agentx/master` where absent.
    snmp_socket: Option<String> as "snmp_socket",
    /// `enable_traps`.
    snmp_traps: bool as "enable_traps",
    /// `enable_snmp_vrrp`: the VRRP part of the MIB of keepalived.
    snmp_vrrp: bool as "enable_snmp_vrrp",
    /// `enable_snmp_checker`: the LVS part of the MIB of keepalived.
    snmp_checker: bool as "enable_snmp_checker",
    /// `enable_snmp_rfcv2` or `enable_snmp_rfc`: the MIB of RFC 2787.
    snmp_rfcv2: bool as "enable_snmp_rfcv2",
    /// `enable_snmp_rfcv3` or `enable_snmp_rfc`: the MIB of RFC 6527.
    snmp_rfcv3: bool as "enable_snmp_rfcv3",
    /// `snmp_vs_stats_update_interval`: age from which counters of virtual servers are read again, 1 ms to 30 s; default 5 s.
    snmp_vs_stats_interval: Duration as "snmp_vs_stats_update_interval",
    /// `snmp_rs_stats_update_interval`: the same for real servers; default the interval of virtual servers.
    snmp_rs_stats_interval: Duration as "snmp_rs_stats_update_interval",
    /// `enable_dbus`.
    dbus: bool as "enable_dbus",
    /// `dbus_service_name`: default `org.keepalived.Vrrp1`.
    dbus_service_name: String as "dbus_service_name",
    /// `dbus_no_interface_name`: path element of instances without an interface; default `none`.
    dbus_no_interface_name: String as "dbus_no_interface_name",
    /// `json_version`: layout of the JSON dump, 1 or 2; default 1.
    json_version: u8 as "json_version",
    /// `state_dump_file`: `keepalived.data` in the temporary directory where absent.
    state_dump_file: Option<String> as "state_dump_file",
    /// `stats_dump_file`: read, though keepalived does not use it.
    stats_dump_file: Option<String> as "stats_dump_file",
    /// `json_dump_file`: read, though keepalived does not use it.
    json_dump_file: Option<String> as "json_dump_file",
    /// `data_use_instance`: names of dump files hold those of the running copy and of the namespace.
    data_use_instance: bool as "data_use_instance",
}}
