//! `real_server`.

use std::net::IpAddr;

use super::checks::{self, Checked};
use super::{Service, forwarding};
use crate::config::{CheckDefaults, Checker, ForwardingMethod, GroupEntry, Protocol, RealServer, Script};
use crate::diagnostic::{Class, Code, Diagnostic};
use crate::lower::checker;
use crate::lower::global::Globals;
use crate::lower::{Context, Handler};
use crate::setting::Places;
use crate::source::{Span, Spanned};
use crate::tree::Statement;

/// Path of the block.
const PATH: &str = "virtual_server/real_server";

/// The greatest weight that the kernel takes.
const KERNEL_WEIGHT: u32 = 65_535;

/// A real server as written. There can be tens of thousands.
#[derive(Debug)]
pub(in crate::lower) struct Draft {
    pub(super) address: Spanned<IpAddr>,
    pub(super) port: Option<u16>,
    pub(super) forwarding: Option<ForwardingMethod>,
    inhibit: Option<bool>,
    alpha: Option<bool>,
    smtp_alert: Option<bool>,
    weight: Option<u32>,
    upper_threshold: u32,
    lower_threshold: u32,
    notify_up: Option<Box<Spanned<Script>>>,
    notify_down: Option<Box<Spanned<Script>>>,
    virtualhost: Option<Box<str>>,
    snmp_name: Option<Box<str>>,
    checks: Option<Box<CheckDefaults>>,
    /// The protocol of the service, as far as it is known here.
    protocol: Option<Protocol>,
    checkers: Vec<Checker>,
    places: Places,
}

crate::lower::placed!(Draft);

/// Reads one block; nothing comes back when its address cannot be used.
pub(super) fn read(context: &mut Context<'_>, statement: &Statement, protocol: Option<Protocol>) -> Option<Draft> {
    let (first, rest) = statement.arguments.split_first()?;
    let message = || match rest.first() {
        Some(port) => format!("Invalid real server ip address/port {}/{} - skipping", first.text, port.text),
        None => format!("Invalid real server ip address/port {} - skipping", first.text),
    };
    let (address, port) = super::endpoint(context, first, rest.first(), message)?;
    let defaults = &context.carried.defaults.real_server;
    let mut draft = Draft {
        address,
        port,
        forwarding: None,
        inhibit: None,
        alpha: None,
        smtp_alert: None,
        weight: None,
        upper_threshold: defaults.uthreshold,
        lower_threshold: defaults.lthreshold,
        notify_up: None,
        notify_down: None,
        virtualhost: None,
        snmp_name: None,
        checks: None,
        protocol,
        checkers: Vec::new(),
        places: Places::default(),
    };
    context.visit(&mut draft, &statement.body, &[REAL_SERVER]);
    Some(draft)
}

impl Checked for Draft {
    fn checks(&mut self) -> &mut CheckDefaults {
        self.checks.get_or_insert_default()
    }
}

/// What a virtual server knows when its real servers are finished.
#[derive(Debug)]
pub(super) struct Outer<'a> {
    pub(super) service: &'a Service<'a>,
    pub(super) forwarding: ForwardingMethod,
    pub(super) weight: u32,
    pub(super) inhibit: bool,
    pub(super) alpha: bool,
    pub(super) virtualhost: Option<&'a str>,
    pub(super) checks: CheckDefaults,
    /// Where its keywords were written.
    pub(super) places: &'a Places,
    pub(super) globals: &'a Globals,
    /// Where `global_defs` switches the mails of servers that say nothing themselves.
    pub(super) smtp_alert: Option<Span>,
}

impl Draft {
    /// As messages name it.
    pub(super) fn name(&self, service: &Service<'_>) -> String {
        format!("[{}]:{}:{}", *self.address, service.protocol_name(), self.port.unwrap_or(0))
    }

    /// Applies defaults.
    pub(super) fn finish(mut self, context: &mut Context<'_>, outer: &Outer<'_>) -> RealServer {
        let forwarding = self.forwarding.unwrap_or(outer.forwarding);
        let port = self.port(context, outer.service, forwarding);
        let weight = self.weight.unwrap_or(outer.weight);
        self.check_limits(context, weight);
        let alpha = self.alpha.unwrap_or(outer.alpha);
        let virtualhost = self.virtualhost.take().or_else(|| outer.virtualhost.map(Box::from));
        let checkers = self.finish_checkers(context, outer, alpha);
        let (smtp, alert) = (&outer.globals.defs.smtp, context.carried.defaults.real_server.smtp_alert);
        if outer.smtp_alert.is_some() {
            self.places.inherit(PATH, "smtp_alert", outer.smtp_alert);
        }
        self.places.shrink();
        RealServer {
            address: self.address,
            port,
            weight,
            forwarding,
            upper_threshold: self.upper_threshold,
            lower_threshold: self.lower_threshold,
            inhibit_on_failure: self.inhibit.unwrap_or(outer.inhibit),
            alpha,
            notify_up: self.notify_up,
            notify_down: self.notify_down,
            virtualhost,
            snmp_name: self.snmp_name,
            smtp_alert: self.smtp_alert.or(smtp.alert_checker).or(smtp.alert).unwrap_or(alert),
            checks: self.checks,
            checkers,
            places: self.places,
        }
    }

    fn finish_checkers(&mut self, context: &mut Context<'_>, outer: &Outer<'_>, alpha: bool) -> Vec<Checker> {
        let drafts = std::mem::take(&mut self.checkers);
        if drafts.is_empty() {
            return Vec::new();
        }
        let own = self.checks.as_deref().copied().unwrap_or_default();
        let place =
            |keyword: &str| self.places.of(PATH, keyword).or_else(|| outer.places.of("virtual_server", keyword));
        let outer = checker::Outer {
            checks: checks::or(own, outer.checks),
            alpha,
            place: &place,
            virtualhost: outer.virtualhost.is_some(),
            globals: outer.globals,
        };
        drafts.into_iter().map(|checker| checker::finish(checker, context, &outer)).collect()
    }

    /// Only where addresses are rewritten the port may be another one than that of the service.
    fn port(&self, context: &mut Context<'_>, service: &Service<'_>, forwarding: ForwardingMethod) -> u16 {
        let Some(own) = self.port else {
            let port = service.port();
            if port != 0 {
                let message =
                    format!("the real server {} has no port: {port} of the virtual server is used", *self.address);
                let finding = Diagnostic::note(Code::BadRealServer, self.address.span, message);
                context.push(finding.help(format!("write 'real_server {} {port}'", *self.address)));
            }
            return port;
        };
        if forwarding == ForwardingMethod::Masquerade {
            return own;
        }
        let name = self.name(service);
        let mut warn = |message: String| {
            let finding = Diagnostic::warning(Code::BadRealServer, Class::General, self.address.span, message);
            context.push(finding.help("only NAT can change the port"));
        };
        match service {
            Service::Address { port, .. } if *port == own => own,
            Service::Address { port, .. } => {
                warn(format!(
                    "WARNING - virtual server {service} and real server {name} ports don't match - resetting"
                ));
                *port
            }
            Service::Fwmark { .. } => {
                warn(format!(
                    "WARNING - fwmark virtual server {service}, real server {name} has port specified - clearing"
                ));
                0
            }
            Service::Group { group, .. } => {
                for entry in &group.entries {
                    match entry.value {
                        GroupEntry::Fwmark { .. } => {
                            warn(format!(
                                "WARNING - fwmark virtual server {service}, real server {name} has port specified - port \
                                 will be ignored"
                            ));
                            break;
                        }
                        GroupEntry::Addresses { port, .. } if port == own => {}
                        GroupEntry::Addresses { first, port, .. } => {
                            let message = format!(
                                "virtual server {service}:[{first},{port}] and real server {name} ports don't match"
                            );
                            let finding =
                                Diagnostic::warning(Code::BadRealServer, Class::General, self.address.span, message);
                            context
                                .push(finding.related(entry.span, "this entry").help("only NAT can change the port"));
                            break;
                        }
                    }
                }
                own
            }
        }
    }

    /// What the kernel will not take as it is.
    fn check_limits(&self, context: &mut Context<'_>, weight: u32) {
        let place = |keyword| self.places.of(PATH, keyword);
        if weight > KERNEL_WEIGHT
            && let Some(span) = place("weight")
        {
            note(context, span, format!("the kernel takes weights up to {KERNEL_WEIGHT}: this one counts as that"));
        }
        let (lower, upper) = (self.lower_threshold, self.upper_threshold);
        if lower > upper
            && let Some(span) = place("lthreshold")
        {
            let message = format!("lthreshold {lower} is above uthreshold {upper}: the kernel refuses such a server");
            note(context, span, message);
        }
    }
}

fn note(context: &mut Context<'_>, span: Span, message: String) {
    context.push(Diagnostic::note(Code::BadRealServer, span, message));
}

fn switch(context: &mut Context<'_>, slot: &mut Option<bool>, statement: &Statement, name: &str) {
    *slot = context.switch_with(statement, |text| format!("Invalid {name} parameter {text}")).or(*slot);
}

pub(in crate::lower) const REAL_SERVER: &[Handler<Draft>] = &[
    Handler("weight", |server, context, statement| {
        server.weight = super::weight(context, statement, "Real").or(server.weight);
    }),
    Handler("lvs_method", |server, context, statement| {
        server.forwarding = forwarding::read(context, statement, forwarding::Server::Real).or(server.forwarding);
    }),
    Handler("uthreshold", |server, context, statement| {
        let message = |text: &str| format!("Invalid real_server uthreshold '{text}' - ignoring");
        server.upper_threshold = context.number_with(statement, message).unwrap_or(server.upper_threshold);
    }),
    Handler("lthreshold", |server, context, statement| {
        let message = |text: &str| format!("Invalid real_server lthreshold '{text}' - ignoring");
        server.lower_threshold = context.number_with(statement, message).unwrap_or(server.lower_threshold);
    }),
    Handler("inhibit_on_failure", |server, context, statement| {
        switch(context, &mut server.inhibit, statement, "inhibit_on_failure");
    }),
    Handler("alpha", |server, context, statement| switch(context, &mut server.alpha, statement, "alpha")),
    Handler("virtualhost", |server, context, statement| {
        let text = super::text(context, statement, "real server virtualhost missing");
        server.virtualhost = text.map(String::into_boxed_str).or(server.virtualhost.take());
    }),
    Handler("snmp_name", |server, context, statement| {
        let text = super::one_text(context, statement, "real server snmp_name missing or extra parameters");
        server.snmp_name = text.map(String::into_boxed_str).or(server.snmp_name.take());
    }),
    Handler("notify_up", |server, context, statement| context.script("", &mut server.notify_up, statement)),
    Handler("notify_down", |server, context, statement| context.script("", &mut server.notify_down, statement)),
    Handler("smtp_alert", |server, context, statement| {
        switch(context, &mut server.smtp_alert, statement, "real_server smtp_alert");
    }),
    Handler("delay_loop", |server, context, statement| {
        checks::delay_loop(server, context, statement, "real server delay_loop");
    }),
    Handler("warmup", |server, context, statement| checks::warmup(server, context, statement, "real server warmup")),
    Handler("retry", checks::retry),
    Handler("delay_before_retry", |server, context, statement| {
        checks::delay_before_retry(server, context, statement, "real server delay_before_retry");
    }),
    Handler("connect_timeout", |server, context, statement| {
        checks::connect_timeout(server, context, statement, "real server");
    }),
    Handler("TCP_CHECK", checker),
    Handler("HTTP_GET", checker),
    Handler("SSL_GET", checker),
    Handler("SMTP_CHECK", checker),
    Handler("DNS_CHECK", checker),
    Handler("MISC_CHECK", checker),
    Handler("UDP_CHECK", checker),
    Handler("PING_CHECK", checker),
    Handler("FILE_CHECK", checker),
    Handler("BFD_CHECK", checker),
];

fn checker(server: &mut Draft, context: &mut Context<'_>, statement: &Statement) {
    let own = checker::Server { address: *server.address, port: server.port, protocol: server.protocol };
    checker::read(context, statement, own, &mut server.checkers);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_real_server_stays_small() {
        let (draft, server) = (size_of::<Draft>(), size_of::<RealServer>());
        println!("RealServer: {server} bytes, its draft: {draft}");
        assert!(server <= 176, "{server}");
        assert!(draft <= server + 8, "{draft}");
    }
}
