//! SNMP, D-Bus, dumps.

use super::{Globals, flag, quiet_old_name, repeated, switch};
use crate::diagnostic::{Class, Code, Diagnostic};
use crate::lower::{Context, Handler};
use crate::tree::Statement;

pub(in crate::lower) const MONITORING: &[Handler<Globals>] = &[
    Handler("snmp_socket", |globals, context, statement| {
        let Some(word) = context.word(statement, "SNMP error : snmp socket name missing") else { return };
        let first = globals.defs.monitoring.snmp_socket.as_deref().unwrap_or_default();
        let message = format!("SNMP socket already set to {first} - ignoring");
        if !repeated(globals, context, statement, message) {
            globals.defs.monitoring.snmp_socket = Some(word.text.clone());
        }
    }),
    Handler("enable_traps", |globals, context, statement| {
        flag(&mut globals.defs.monitoring.snmp_traps, context, statement);
    }),
    Handler("enable_snmp_vrrp", |globals, context, statement| {
        flag(&mut globals.defs.monitoring.snmp_vrrp, context, statement);
    }),
    Handler("enable_snmp_keepalived", |globals, context, statement| {
        context.push(quiet_old_name(statement));
        flag(&mut globals.defs.monitoring.snmp_vrrp, context, statement);
    }),
    Handler("enable_snmp_rfc", |globals, context, statement| {
        flag(&mut globals.defs.monitoring.snmp_rfcv2, context, statement);
        globals.defs.monitoring.snmp_rfcv3 = true;
    }),
    Handler("enable_snmp_rfcv2", |globals, context, statement| {
        flag(&mut globals.defs.monitoring.snmp_rfcv2, context, statement);
    }),
    Handler("enable_snmp_rfcv3", |globals, context, statement| {
        flag(&mut globals.defs.monitoring.snmp_rfcv3, context, statement);
    }),
    Handler("enable_snmp_checker", |globals, context, statement| {
        flag(&mut globals.defs.monitoring.snmp_checker, context, statement);
    }),
    Handler("snmp_vs_stats_update_interval", |globals, context, statement| {
        context.set(&mut globals.defs.monitoring.snmp_vs_stats_interval, statement);
    }),
    Handler("snmp_rs_stats_update_interval", |globals, context, statement| {
        context.set(&mut globals.rs_stats_interval, statement);
    }),
    Handler("enable_dbus", |globals, context, statement| flag(&mut globals.defs.monitoring.dbus, context, statement)),
    Handler("dbus_service_name", |globals, context, statement| {
        if let Some(word) = context.word(statement, "dbus_service_name missing - ignoring") {
            globals.defs.monitoring.dbus_service_name = word.text.clone();
        }
    }),
    Handler("dbus_no_interface_name", |globals, context, statement| {
        context.set(&mut globals.defs.monitoring.dbus_no_interface_name, statement);
    }),
    Handler("json_version", json_version),
    Handler("state_dump_file", |globals, context, statement| {
        context.set(&mut globals.defs.monitoring.state_dump_file, statement);
    }),
    Handler("stats_dump_file", |globals, context, statement| {
        context.set(&mut globals.defs.monitoring.stats_dump_file, statement);
    }),
    Handler("json_dump_file", |globals, context, statement| {
        context.set(&mut globals.defs.monitoring.json_dump_file, statement);
    }),
    Handler("data_use_instance", |globals, context, statement| {
        switch(&mut globals.defs.monitoring.data_use_instance, context, statement);
    }),
];

fn json_version(globals: &mut Globals, context: &mut Context<'_>, statement: &Statement) {
    let Some(word) = statement.arguments.first() else { return };
    globals.defs.monitoring.json_version = match word.text.as_str() {
        "1" => 1,
        "2" => 2,
        text => {
            let message = format!("json_version '{text}' must be 1 or 2 - ignoring");
            context.push(Diagnostic::error(Code::BadNumber, Class::InvalidNumber, word.span, message));
            return;
        }
    };
}
