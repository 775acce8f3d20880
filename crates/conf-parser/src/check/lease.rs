//! A lease that ends before a peer would take over.

use std::time::Duration;

use crate::config::{Config, VrrpInstance, VrrpVersion};
use crate::diagnostic::{Class, Code, Diagnostic};

/// What a lease has to last longer than Active_Down_Interval.
const MARGIN: Duration = Duration::from_secs(1);

pub(super) fn check(config: &Config, findings: &mut Vec<Diagnostic>) {
    let Some(lease) = config.global.vrrp.vip_lease else { return };
    let longest = config.vrrp_instances.iter().max_by_key(|instance| active_down_interval(instance));
    let Some(instance) = longest.filter(|instance| lease < active_down_interval(instance) + MARGIN) else { return };
    let needed = active_down_interval(instance) + MARGIN;
    let whole = needed.as_secs() + u64::from(needed.subsec_nanos() > 0);
    let message = format!(
        "vrrp_vip_lease of {} s is too short for instance {}: its peers take over after {} s",
        lease.as_secs(),
        *instance.name,
        active_down_interval(instance).as_secs_f64()
    );
    let place = config.global.places.of("global_defs", "vrrp_vip_lease").unwrap_or(instance.name.span);
    findings.push(
        Diagnostic::error(Code::ShortLease, Class::Fatal, place, message)
            .help(format!("a router that is being restarted would lose its addresses: write {whole} or more"))
            .related(instance.name.span, "this instance")
            .refusing(),
    );
}

/// Active_Down_Interval of an instance (RFC 9568 §6.1; RFC 3768 §6.1 has a Skew_Time in parts of a second).
fn active_down_interval(instance: &VrrpInstance) -> Duration {
    let interval = instance.advertisement_interval;
    let skew = match instance.version {
        VrrpVersion::V2 => Duration::from_secs(1),
        VrrpVersion::V3 => interval,
    };
    let share = 256 - u32::from(instance.priority.0.get());
    interval * u32::from(instance.down_timer_adverts) + skew * share / 256
}
