//! Where packets that come at a pace come from.

use std::net::Ipv4Addr;

use netlab::harness::Stop;
use netlab::{Claim, Host, Junk, Ticker};

use super::stage::{Kind, Stage};

pub(crate) fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 18, 0, number)
}

/// A host more on the first link.
pub(crate) fn host(stage: &Stage, name: &str, number: u8) -> Result<Host, Stop> {
    let host = stage.lab.host(name)?;
    stage.lab.connect(&host, "eth0", &stage.lans[0])?;
    host.address("eth0", &format!("{}/24", address(number)))?;
    Ok(host)
}

/// The number of the host with the junk.
pub(crate) const JUNK: u8 = 66;

/// Sends the kinds in turn, `rate` packets a second.
pub(crate) fn flood(host: &Host, kind: Kind, junk: &'static [Junk], rate: u32) -> Result<Ticker, Stop> {
    let claim = Claim { version: kind.version, source: address(JUNK), vrid: 51, vip: address(100) };
    Ok(Ticker::flood(host, claim, junk, rate)?)
}
