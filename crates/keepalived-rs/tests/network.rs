//! Every option of an address, route or rule line, as `ip` shows it after Debian's keepalived and after ours put the same
//! lines in place; and that ours leaves nothing behind.

#[path = "support/beside.rs"]
mod beside;
#[expect(dead_code, reason = "the other tests use the rest")]
mod support;

use std::process::ExitCode;

use beside::Router;
use netlab::Lab;
use netlab::harness::{self, CaseResult, Stop, case};
use support::{Daemon, wait_until};

const ADDRESSES: &str = "
    198.51.100.1/24 dev eth0 brd + scope link label eth0:s
    198.51.101.1/24 dev eth0 broadcast 198.51.101.7 scope site noprefixroute
    198.51.102.1 peer 198.51.102.2 dev eth0
    198.51.103.1/25 brd - dev eth1 label eth1:x
    224.1.1.10/32 dev eth0 autojoin
    2001:db8:1::1/64 dev eth0 home -nodad mngtmpaddr noprefixroute preferred_lft 300
    2001:db8:2::1 dev eth0
    2001:db8:3::1/64 dev eth1 preferred_lft 0
    2001:db8:4::1/128 dev eth0 preferred_lft forever
    2001:db8:5::1 peer 2001:db8:5::2 dev eth0
";

const ROUTES: &str = "
    10.1.0.0/16 dev eth0
    10.2.0.0/16 via 198.18.0.2 dev eth0
    10.3.0.0/16 via 198.18.0.2 dev eth0 metric 5 table 77 realms 3/4 tos 0x10 src 198.18.0.1
    10.4.0.0/16 via 198.18.0.2 dev eth0 mtu lock 1400 advmss lock 1200 hoplimit 60 rtt lock 300ms rttvar 400ms rto_min lock 250ms
    10.5.0.0/16 via 198.18.0.2 dev eth0 reordering lock 7 window 20000 cwnd lock 9 ssthresh lock 11 initcwnd 12 initrwnd 13
    10.6.0.0/16 dev eth0 features ecn quickack 1 congctl lock reno fastopen_no_cookie 1 scope link protocol 99 no_track
    10.7.0.0/16 via 203.0.113.9 dev eth1 onlink
    10.8.0.0/16 nexthop via 198.18.0.2 dev eth0 weight 3 nexthop via 203.0.113.9 dev eth1 onlink realms 5
    10.9.0.0/16 via 198.18.0.2 or 198.18.1.2
    10.10.0.0/16 encap ip id 3 dst 192.0.2.1 src 192.0.2.2 tos 8 ttl 3 dev eth0
    10.11.0.0/16 encap ip6 id 4 dst 2001:db8::9 src 2001:db8::8 tc 7 hoplimit 5 dev eth0
    10.12.0.0/16 via 198.18.0.2 dev eth0 append
    blackhole 10.21.0.0/16
    unreachable 10.22.0.0/16 metric 9
    prohibit 10.23.0.0/16 add
    throw 10.24.0.0/16 table 77
    local 10.25.0.1 dev eth0 table 77 scope host
    broadcast 10.26.255.255 dev eth0 table 77 scope link
    brd 10.27.255.255 dev eth0 table 77 scope link
    anycast 10.28.0.1 dev eth0 table 77 scope link
    multicast 239.1.0.0/16 dev eth0 table 77
    unicast 10.29.0.0/16 dev eth0
    10.30.0.0/16 dev eth0 inet
    to 10.31.0.0/16 gw 198.18.0.2 oif eth0 dsfield 0x10
    unreachable 10.32.0.0/16 priority 8
    10.33.0.0/16 dev eth0 preference 9
    10.34.0.0/16 dev eth0 prepend
    default via 198.18.0.2 dev eth0 table 80
    any via 198.18.0.2 dev eth0 table 81
    all via 198.18.0.2 dev eth0 table 82
    default6 via fe80::7 dev eth0 table 83
    default via fe80::7 dev eth0 table 84 inet6
    2001:db8:16::/48 dev eth0 pref medium
    2001:db8:11::/48 via fe80::7 dev eth0 pref high expires 400
    2001:db8:12::/48 dev eth1 metric 7 pref low
    2001:db8:13::/48 via 2001:db8::9 dev eth0 from 2001:db8:77::/48 table 700
    2001:db8:14::/48 via 2001:db8::9 dev eth0 src 2001:db8::1 mtu 1400 hoplimit 9 advmss 1300 features ecn
    2001:db8:15::/48 nexthop via fe80::7 dev eth0 weight 2 nexthop via fe80::8 dev eth1
    unreachable 2001:db8:21::/48
    blackhole 2001:db8:22::/48
";

const RULES: &str = "
    from 10.0.0.0/8 table 77 preference 3
    to 10.3.0.0/16 from 10.4.0.0/16 tos 0x10 table 7000 preference 4
    iif eth0 oif eth1 fwmark 3/7 tunnel-id 6 table 8 realms 3/5 preference 5
    iif eth0 ipproto tcp sport 3-7 uidrange 0-0 suppress_prefixlength 3 suppress_ifgroup 7 table 8 preference 6
    ipproto udp dport 9-9 table 9 protocol 99 preference 7 no_track
    not to 10.5.0.0/16 goto 40000 preference 30
    from 10.6.0.0/16 blackhole preference 31
    from 10.7.0.0/16 unreachable preference 32
    from 10.8.0.0/16 prohibit preference 33
    from 10.9.0.0/16 nop preference 34
    l3mdev preference 35 inet
    from 2001:db8::/32 to 2001:db8:1::/48 table 700 preference 36
    iif eth0 suppress_prefixlength 0 table 7 preference 37 inet6
    l3mdev preference 38 inet6
    from 10.40.0.0/16 lookup 7 order 40
    from 10.41.0.0/16 dsfield 0x10 table 7 priority 41
    dev eth0 sup_pl 3 sup_group 7 lookup 8 preference 42
    from 10.43.0.0/16 type blackhole preference 43
    from default to 10.44.0.0/16 table 7 preference 44
";

fn config(part: Part) -> String {
    let (fixed, lists) = match part {
        Part::Static => (
            format!("static_ipaddress {{{ADDRESSES}}}\nstatic_routes {{{ROUTES}}}\nstatic_rules {{{RULES}}}\n"),
            String::new(),
        ),
        Part::Virtual => (
            String::new(),
            format!(
                "virtual_ipaddress_excluded {{{ADDRESSES}}}\n virtual_routes {{{ROUTES}}}\n virtual_rules {{{RULES}}}\n"
            ),
        ),
    };
    format!(
        "global_defs {{\n router_id test\n}}\n{fixed}vrrp_instance VI_1 {{\n state MASTER\n interface eth0\n \
         virtual_router_id 51\n priority 200\n version 3\n advert_int 0.1\n virtual_ipaddress {{\n 198.18.0.100/24\n }}\n \
         {lists}}}\n"
    )
}

/// Where the lines stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Virtual,
    Static,
}

fn what_ip_shows_is_the_same() -> CaseResult {
    same_is_shown(Part::Virtual)
}

fn what_ip_shows_of_static_ones_is_the_same() -> CaseResult {
    same_is_shown(Part::Static)
}

fn same_is_shown(part: Part) -> CaseResult {
    let lines = |text: &str| text.lines().filter(|line| !line.trim().is_empty()).count();
    beside::same_is_shown(&config(part), 1 + lines(ADDRESSES) + lines(ROUTES) + lines(RULES))
}

/// Debian's keepalived 2.2.7 passes over the encapsulation of one of several next hops, and over flags.
fn what_keepalived_leaves_out_of_an_encapsulation_is_there() -> CaseResult {
    let routes = "10.35.0.0/16 nexthop encap ip id 5 dst 192.0.2.1 via 198.18.0.2 dev eth0 nexthop via 198.18.1.2 dev eth1\n\
        10.36.0.0/16 encap ip6 id 4 dst 2001:db8::9 flags 4 dev eth0";
    let (fixed, held) = (format!("static_routes {{\n{routes}\n}}\n"), format!("virtual_routes {{\n{routes}\n}}\n"));
    for (before, within) in [(fixed, String::new()), (String::new(), held)] {
        let lab = Lab::new()?;
        let config = format!(
            "{before}vrrp_instance VI_1 {{\n state MASTER\n interface eth0\n virtual_router_id 51\n advert_int 0.1\n \
             version 3\n virtual_ipaddress {{\n 198.18.0.100/24\n }}\n{within}}}\n"
        );
        let router = Router::new(&lab, "rs", Daemon::Ours, &config)?;
        let wanted = [
            "nexthop encap ip id 5 src 0.0.0.0 dst 192.0.2.1 ttl 0 tos 0 via 198.18.0.2 dev eth0 weight 1 nexthop via",
            "10.36.0.0/16 encap ip6 id 4 src :: dst 2001:db8::9 hoplimit 0 tc 0 key dev eth0",
        ];
        let mut shown = Default::default();
        let waited = wait_until("the route", || {
            shown = router.shown()?;
            Ok(wanted.iter().all(|wanted| shown.iter().any(|entry| entry.contains(wanted))))
        });
        waited.map_err(|_| Stop::failed(format!("{shown:#?}\n{}", router.log())))?;
    }
    Ok(())
}

fn main() -> ExitCode {
    harness::main(&[
        case("what_ip_shows_is_the_same", what_ip_shows_is_the_same),
        case("what_ip_shows_of_static_ones_is_the_same", what_ip_shows_of_static_ones_is_the_same),
        case(
            "what_keepalived_leaves_out_of_an_encapsulation_is_there",
            what_keepalived_leaves_out_of_an_encapsulation_is_there,
        ),
    ])
}
