//! Who the machine is, and mail.

use std::time::Duration;

use super::{Globals, flag, integer, must_be_in, switch, text};
use crate::config::SmtpServer;
use crate::diagnostic::{Code, Diagnostic};
use crate::lower::{Context, Handler};
use crate::tree::Statement;

pub(in crate::lower) const MAIL: &[Handler<Globals>] = &[
    Handler("router_id", |globals, context, statement| {
        text(&mut globals.defs.router_id, context, statement, "routerid name missing - ignoring");
    }),
    Handler("notification_email", |globals, context, statement| {
        if statement.body.is_empty() {
            context.warning(Code::BadGlobal, statement.keyword.span, "Warning - empty notification_email block");
        }
        globals.defs.notification_email.extend(statement.names());
    }),
    Handler("notification_email_from", |globals, context, statement| {
        text(&mut globals.defs.notification_email_from, context, statement, "emailfrom missing - ignoring");
    }),
    Handler("smtp_server", smtp_server),
    Handler("smtp_helo_name", |globals, context, statement| match statement.arguments.first() {
        Some(name) => globals.defs.smtp.helo_name = Some(name.text.clone()),
        None => {
            let message = "smtp_helo_name without a name is the local host name";
            context.push(Diagnostic::note(Code::MissingParameter, statement.keyword.span, message));
        }
    }),
    Handler("smtp_connect_timeout", |globals, context, statement| {
        if let Some(timeout) = context.time_with(statement, must_be_in(statement)) {
            if timeout.is_zero() {
                let message = "smtp_connect_timeout must be greater than 0, setting to 1";
                context.warning(Code::AdjustedValue, statement.span(), message);
            }
            globals.defs.smtp.connect_timeout = timeout.max(Duration::from_secs(1));
        }
    }),
    Handler("smtp_alert", |globals, context, statement| switch(&mut globals.defs.smtp.alert, context, statement)),
    Handler("smtp_alert_vrrp", |globals, context, statement| {
        switch(&mut globals.defs.smtp.alert_vrrp, context, statement);
    }),
    Handler("smtp_alert_checker", |globals, context, statement| {
        switch(&mut globals.defs.smtp.alert_checker, context, statement);
    }),
    Handler("no_email_faults", |globals, context, statement| {
        flag(&mut globals.defs.smtp.no_email_faults, context, statement);
    }),
    Handler("no_checker_emails", |globals, context, statement| {
        switch(&mut globals.defs.smtp.no_checker_emails, context, statement);
    }),
];

/// `HOST [PORT]`; without a usable port there is no server.
fn smtp_server(globals: &mut Globals, context: &mut Context<'_>, statement: &Statement) {
    let Some(host) = context.text(statement) else { return };
    let port = match statement.arguments.get(1) {
        None => 25,
        Some(word) => match integer(&word.text, &(1..=u16::MAX)) {
            Ok(port) => port,
            Err(wrong) => {
                context.bad_number(word, wrong, format!("Invalid smtp server {host} {}", word.text));
                return;
            }
        },
    };
    globals.defs.smtp.server = Some(SmtpServer { host, port });
}
