//! Every option of an address, route or rule line, as `ip` shows it after Debian's keepalived and after ours put the same
//! lines in place; and that ours leaves nothing behind.

#[expect(dead_code, reason = "the other tests use the rest")]
mod support;

use std::collections::BTreeSet;
use std::process::{Command, ExitCode};

use netlab::harness::{self, CaseResult, Stop, case};
use netlab::{Bridge, Host, Lab, Process, Skip};
use nix::sys::signal::Signal;
use support::{Daemon, PATIENCE, wait_until};

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
";

fn config() -> String {
    format!(
        "global_defs {{\n router_id test\n}}\nvrrp_instance VI_1 {{\n state MASTER\n interface eth0\n \
         virtual_router_id 51\n priority 200\n version 3\n advert_int 0.1\n virtual_ipaddress {{\n 198.18.0.100/24\n }}\n \
         virtual_ipaddress_excluded {{{ADDRESSES}}}\n virtual_routes {{{ROUTES}}}\n virtual_rules {{{RULES}}}\n}}\n"
    )
}

/// A host with two interfaces and a daemon; each has a network of its own.
struct Router {
    host: Host,
    process: Process,
    _lans: [Bridge; 2],
}

impl Router {
    fn new(lab: &Lab, name: &str, daemon: Daemon) -> Result<Self, Stop> {
        let host = lab.host(name)?;
        let lans = [lab.bridge(&format!("{name}0"))?, lab.bridge(&format!("{name}1"))?];
        for (number, lan) in lans.iter().enumerate() {
            let interface = format!("eth{number}");
            lab.connect(&host, &interface, lan)?;
            host.address(&interface, &format!("198.18.{number}.1/24"))?;
        }
        host.address("eth0", "2001:db8::1/64")?;
        let program = daemon.program(&config())?;
        let program = if daemon == Daemon::Ours { program.arg("--allow-unsupported") } else { program };
        let process = host.spawn(program)?;
        Ok(Self { host, process, _lans: lans })
    }

    /// What `ip` shows of the objects that a keepalived makes, one entry each.
    fn shown(&self) -> Result<BTreeSet<String>, Stop> {
        let mut shown = BTreeSet::new();
        for link in ["eth0", "eth1"] {
            let addresses = self.ip(&["-d", "addr", "show", "dev", link])?;
            let addresses = addresses.lines().skip_while(|line| !line.trim_start().starts_with("inet"));
            shown.extend(
                entries(&addresses.collect::<Vec<_>>().join("\n"), "    inet")
                    .into_iter()
                    .filter(|it| !it.contains("fe80")),
            );
        }
        for family in ["-4", "-6"] {
            for protocol in ["18", "99"] {
                let routes = self.ip(&["-d", family, "route", "show", "table", "all", "proto", protocol])?;
                shown.extend(entries(&routes, "").into_iter().map(|entry| format!("proto {protocol} {entry}")));
            }
            shown.extend(
                entries(&self.ip(&["-d", family, "rule"])?, "").into_iter().map(|entry| format!("{family} {entry}")),
            );
        }
        Ok(shown)
    }

    fn ip(&self, arguments: &[&str]) -> Result<String, Stop> {
        let output = self.host.run(|| Command::new("ip").args(arguments).output());
        let output = output.map_err(|error| Skip(format!("ip (iproute2): {error}")))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn log(&self) -> String {
        self.process.lines().into_iter().map(|line| format!("{}\n", line.text)).collect()
    }
}

/// Entries begin with `start` and not with a tab; what is below belongs to them. Seconds run down and say nothing.
fn entries(text: &str, start: &str) -> Vec<String> {
    let mut entries: Vec<String> = Vec::new();
    for line in text.lines() {
        let words = line.split_whitespace().map(|word| if is_time_left(word) { "SECONDS" } else { word });
        let words = words.collect::<Vec<_>>().join(" ");
        match entries.last_mut() {
            Some(entry) if line.starts_with('\t') || !line.starts_with(start) => *entry += &format!(" {words}"),
            _ => entries.push(words),
        }
    }
    entries
}

fn is_time_left(word: &str) -> bool {
    let digits = word.strip_suffix("sec").unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit())
}

fn difference(theirs: &BTreeSet<String>, ours: &BTreeSet<String>) -> String {
    let only =
        |these: &BTreeSet<String>, those| these.difference(those).map(|it| format!("  {it}\n")).collect::<String>();
    format!("only after keepalived:\n{}only after ours:\n{}", only(theirs, ours), only(ours, theirs))
}

fn what_ip_shows_is_the_same() -> CaseResult {
    let lab = Lab::new()?;
    let theirs = Router::new(&lab, "c", Daemon::C)?;
    let ours = Router::new(&lab, "rs", Daemon::Ours)?;
    let before = ours.shown()?;
    let lines = |text: &str| text.lines().filter(|line| !line.trim().is_empty()).count();
    let all = before.len() + 1 + lines(ADDRESSES) + lines(ROUTES) + lines(RULES);
    let mut shown = [BTreeSet::new(), BTreeSet::new()];
    let same = wait_until("both to have put the same in place", || {
        shown = [theirs.shown()?, ours.shown()?];
        Ok(shown[0] == shown[1] && shown[0].len() == all)
    });
    if same.is_err() {
        let [there, here] = &shown;
        let (difference, logs) = (difference(there, here), [theirs.log(), ours.log()]);
        return Err(Stop::failed(format!("{} of {all}\n{difference}\n{}\n{}", there.len(), logs[0], logs[1])));
    }
    // Theirs is not asked: it leaves the address with a peer behind.
    ours.process.signal(Signal::SIGTERM)?;
    ours.process.wait_for_exit(PATIENCE)?;
    let after = ours.shown()?;
    if after != before {
        return Err(Stop::failed(format!("before:\n{before:#?}\nafter:\n{after:#?}")));
    }
    Ok(())
}

fn main() -> ExitCode {
    harness::main(&[case("what_ip_shows_is_the_same", what_ip_shows_is_the_same)])
}
