//! Mail.

use super::*;

settings! {
/// The `smtp_*` settings of `global_defs`.
pub struct Smtp in "global_defs" {
    /// `smtp_server`: where mail goes; none is sent without it.
    server: Option<SmtpServer> as "smtp_server",
    /// `smtp_helo_name`; the host name where absent.
    helo_name: Option<String> as "smtp_helo_name",
    /// `smtp_connect_timeout`: 1 to 4294 s; default 30 s.
    connect_timeout: Duration as "smtp_connect_timeout",
    /// `smtp_alert`: for every object that says nothing itself.
    alert: Option<bool> as "smtp_alert",
    /// `smtp_alert_vrrp`: as `smtp_alert`, for instances and sync groups only.
    alert_vrrp: Option<bool> as "smtp_alert_vrrp",
    /// `smtp_alert_checker`: as `smtp_alert`, for virtual and real servers only.
    alert_checker: Option<bool> as "smtp_alert_checker",
    /// `no_email_faults`: none for a change to FAULT.
    no_email_faults: bool as "no_email_faults",
    /// `no_checker_emails`: only when a real server is added or removed, not for each change of a checker.
    no_checker_emails: bool as "no_checker_emails",
}}

config_type! {
/// `smtp_server`.
pub struct SmtpServer {
    /// Host name or address.
    pub host: String,
    /// Port; default 25.
    pub port: u16,
}}

impl Show for SmtpServer {
    fn show(&self, slot: Slot, out: &mut Vec<Setting>) {
        out.push(slot.line(vec![Scalar::Text(self.host.clone()), Scalar::Integer(self.port.into())]));
    }
}

pub(super) fn show_recipients(recipients: &[Spanned<String>], slot: Slot, out: &mut Vec<Setting>) {
    show_list(recipients, slot, out, |one| Setting::entry(vec![Scalar::Text(one.value.clone())], one.span));
}
