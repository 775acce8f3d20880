//! The matrix of `docs/interoperability.md`: two routers, keepalived-rs and another daemon, in either role. The better
//! one fails and returns; in between and after it one of them speaks alone, and neither has a complaint about what the
//! other says. `UPDATE_DOCS=1` writes the table anew.

#[expect(dead_code, reason = "the other tests use the rest")]
mod support;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use netlab::harness::{self, Case, CaseResult, Stop, case};
use netlab::{Bridge, Capture, Host, Lab, Process, Program, Skip, peers};
use support::{Daemon, PATIENCE, Protocol, wait_until};

const V2: Protocol = Protocol { version: 2, interval: Duration::from_secs(1), ipv6: false };
const V3: Protocol = Protocol { version: 3, interval: Duration::from_millis(200), ipv6: false };
const V3_IPV6: Protocol = Protocol { ipv6: true, ..V3 };
const FAST: Protocol = Protocol { interval: Duration::from_millis(100), ..V3 };

/// What runs beside keepalived-rs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Peer {
    Keepalived,
    Frr,
}

impl Peer {
    /// As the document names it.
    fn name(self) -> &'static str {
        match self {
            Self::Keepalived => "keepalived 2.2.7 (Debian)",
            Self::Frr => "FRR vrrpd 8.4 (Debian)",
        }
    }
}

/// What happens to the better router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Story {
    /// Its cable is cut and mended: it is Active again.
    Link,
    /// The same, with a second instance on another link that moves along; the cable is the other link's.
    Group,
    /// A script that it tracks with a weight fails and succeeds again.
    Script,
    /// It does not become Active again until the other one fails.
    NoPreempt,
    /// It becomes Active again after so long in Backup.
    PreemptDelay(Duration),
}

/// A row of the matrix.
#[derive(Debug, Clone, Copy)]
struct Row {
    /// As the document says it.
    what: &'static str,
    peer: Peer,
    protocol: Protocol,
    story: Story,
    /// Lines of both instances; `{own}` and `{other}` are addresses.
    lines: &'static str,
}

impl Row {
    const fn keepalived(what: &'static str, protocol: Protocol, story: Story, lines: &'static str) -> Self {
        Self { what, peer: Peer::Keepalived, protocol, story, lines }
    }

    const fn frr(what: &'static str, protocol: Protocol) -> Self {
        Self { what, peer: Peer::Frr, protocol, story: Story::Link, lines: "" }
    }
}

/// Who is the better router, and so Active at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    Ours,
    Theirs,
}

/// Gives each row its two cases and its lines of the document.
macro_rules! rows {
    ($($ours:ident, $theirs:ident: $row:expr;)*) => {
        const ROWS: &[(&str, &str, Row)] = &[$((stringify!($ours), stringify!($theirs), $row)),*];

        fn cases() -> Vec<Case> {
            vec![$(
                case(stringify!($ours), || play($row, First::Ours)),
                case(stringify!($theirs), || play($row, First::Theirs)),
            )*]
        }
    };
}

const PASS: &str = "authentication {\n auth_type PASS\n auth_pass secret\n }";
const AH: &str = "authentication {\n auth_type AH\n auth_pass secret\n }";
const UNICAST: &str = "unicast_src_ip {own}\n unicast_peer {\n {other}\n }";
const DELAY: Duration = Duration::from_secs(2);

rows! {
    keepalived_v2_to, keepalived_v2_from: Row::keepalived("VRRPv2", V2, Story::Link, "");
    keepalived_pass_to, keepalived_pass_from: Row::keepalived("VRRPv2 with PASS", V2, Story::Link, PASS);
    keepalived_ah_to, keepalived_ah_from: Row::keepalived("VRRPv2 with AH", V2, Story::Link, AH);
    keepalived_v3_ipv4_to, keepalived_v3_ipv4_from: Row::keepalived("VRRPv3, IPv4", V3, Story::Link, "");
    keepalived_v3_ipv6_to, keepalived_v3_ipv6_from: Row::keepalived("VRRPv3, IPv6", V3_IPV6, Story::Link, "");
    keepalived_fast_to, keepalived_fast_from: Row::keepalived("Adverts every 0.1 s", FAST, Story::Link, "");
    keepalived_unicast_v2_to, keepalived_unicast_v2_from:
        Row::keepalived("Unicast, VRRPv2", V2, Story::Link, UNICAST);
    keepalived_unicast_ipv4_to, keepalived_unicast_ipv4_from:
        Row::keepalived("Unicast, VRRPv3, IPv4", V3, Story::Link, UNICAST);
    keepalived_unicast_ipv6_to, keepalived_unicast_ipv6_from:
        Row::keepalived("Unicast, VRRPv3, IPv6", V3_IPV6, Story::Link, UNICAST);
    keepalived_group_to, keepalived_group_from: Row::keepalived("Sync group", V3, Story::Group, "");
    keepalived_script_to, keepalived_script_from: Row::keepalived("`track_script` with weight", V3, Story::Script, "");
    keepalived_delay_to, keepalived_delay_from:
        Row::keepalived("`preempt_delay`", V3, Story::PreemptDelay(DELAY), "preempt_delay 2");
    keepalived_nopreempt_to, keepalived_nopreempt_from:
        Row::keepalived("`nopreempt`", V3, Story::NoPreempt, "nopreempt");
    keepalived_vmac_to, keepalived_vmac_from: Row::keepalived("VMAC", V3, Story::Link, "use_vmac");
    frr_v2_to, frr_v2_from: Row::frr("VRRPv2", V2);
    frr_v3_ipv4_to, frr_v3_ipv4_from: Row::frr("VRRPv3, IPv4", V3);
    frr_v3_ipv6_to, frr_v3_ipv6_from: Row::frr("VRRPv3, IPv6", V3_IPV6);
}

/// What a router runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Runs {
    Daemon(Daemon),
    Frr,
}

/// One router of the two.
struct Router {
    host: Host,
    runs: Runs,
    number: u8,
    priority: u8,
    folder: tempfile::TempDir,
    process: Option<Process>,
    /// What passes its interface.
    wire: Capture,
}

impl Router {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("the daemon was started")
    }

    fn start(&mut self, row: &Row) -> CaseResult {
        let program = match self.runs {
            Runs::Daemon(daemon) => daemon.program(&self.keepalived_conf(row)?)?,
            Runs::Frr => self.frr(row.protocol)?,
        };
        self.process = Some(self.host.spawn(program)?);
        Ok(())
    }

    /// Instance VI_1, and what the story needs beside it.
    fn keepalived_conf(&self, row: &Row) -> Result<String, Stop> {
        let mut text = "global_defs {\n router_id test\n script_user root\n}\n".to_owned();
        let mut lines = self.fill(row.protocol, row.lines);
        if row.story == Story::Script {
            let script = self.path("chk.sh");
            std::fs::write(&script, format!("#!/bin/sh\ntest ! -e {}\n", self.path("bad").display()))?;
            std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755))?;
            std::fs::set_permissions(self.folder.path(), PermissionsExt::from_mode(0o755))?;
            writeln!(text, "vrrp_script chk {{\n script {}\n interval 1\n}}", script.display())?;
            lines += "\n track_script {\n chk weight -80\n }";
        }
        let vip = row.protocol.vip();
        let vips = if row.protocol.ipv6 { format!("{LINK_LOCAL_VIP}/64\n {vip}/64") } else { format!("{vip}/24") };
        text += &self.instance("VI_1", "eth0", 51, row.protocol, &lines, &vips);
        if row.story == Story::Group {
            let vip = second_vip();
            text += &self.instance("VI_2", "eth1", 52, row.protocol, &lines, &format!("{vip}/24"));
            text += "vrrp_sync_group G {\n group {\n VI_1\n VI_2\n }\n}\n";
        }
        Ok(text)
    }

    fn instance(&self, name: &str, link: &str, vrid: u8, protocol: Protocol, lines: &str, vips: &str) -> String {
        format!(
            "vrrp_instance {name} {{\n state BACKUP\n interface {link}\n virtual_router_id {vrid}\n priority {}\n \
             version {}\n advert_int {}\n {lines}\n virtual_ipaddress {{\n {vips}\n }}\n}}\n",
            self.priority,
            protocol.version,
            protocol.interval.as_secs_f64(),
        )
    }

    fn fill(&self, protocol: Protocol, lines: &str) -> String {
        let address = |number| protocol.address(number).split('/').next().unwrap_or_default().to_owned();
        lines.replace("{own}", &address(self.number)).replace("{other}", &address(3 - self.number))
    }

    /// zebra and vrrpd on the macvlan device that FRR's manual asks for: it has the virtual MAC and the virtual address
    /// from the beginning, and FRR takes it down as long as it is not Active.
    fn frr(&self, protocol: Protocol) -> Result<Program, Stop> {
        let (zebra, vrrpd) = (peers::frr("zebra")?, peers::frr("vrrpd")?);
        let (family, mac) = if protocol.ipv6 { ("ipv6", "02:33") } else { ("ip", "01:33") };
        self.ip(&format!("link add vrrp51 link eth0 address 00:00:5e:00:{mac} type macvlan mode bridge"))?;
        let mut text = format!(
            "interface eth0\n vrrp 51 version {}\n vrrp 51 priority {}\n vrrp 51 advertisement-interval {}\n",
            protocol.version,
            self.priority,
            protocol.interval.as_millis(),
        );
        let vip = protocol.vip().to_string();
        for vip in if protocol.ipv6 { vec![LINK_LOCAL_VIP, &vip] } else { vec![&*vip] } {
            let prefix = if protocol.ipv6 { "64 dev vrrp51 nodad" } else { "24 dev vrrp51" };
            self.ip(&format!("addr add {vip}/{prefix}"))?;
            writeln!(text, " vrrp 51 {family} {vip}")?;
        }
        self.ip("link set vrrp51 up")?;
        let options = "-u root -g root -P 0 -z /run/frr/zserv.api --vty_socket /run/frr --log stdout --log-level info";
        let start = format!(
            "mkdir -p /run/frr\n{} {options} -f /run/zebra.conf -i /run/zebra.pid &\n\
             until test -S /run/frr/zserv.api; do sleep 0.05; done\n\
             exec {} {options} -f /run/vrrpd.conf -i /run/vrrpd.pid\n",
            zebra.path.display(),
            vrrpd.path.display(),
        );
        // Debian's FRR insists on a group for its terminals.
        let groups = std::fs::read_to_string("/etc/group")? + "frrvty:x:0:\n";
        let program = Program::new("/bin/sh").args(["-c", &start]);
        let libraries = std::env::join_paths(&vrrpd.libraries)?;
        let program = program.env("LD_LIBRARY_PATH", libraries).file("/run/vrrpd.conf", text);
        Ok(program.file("/run/zebra.conf", "").file("/etc/group", groups))
    }

    fn ip(&self, arguments: &str) -> CaseResult {
        let output = self.host.run(|| Command::new("ip").args(arguments.split(' ')).output());
        let output = output.map_err(|error| Skip(format!("ip (iproute2): {error}")))?;
        match output.status.success() {
            true => Ok(()),
            false => Err(Stop::failed(format!("ip {arguments}: {}", String::from_utf8_lossy(&output.stderr)))),
        }
    }

    /// Who sent each advert that passed its interface.
    fn adverts(&self) -> Vec<IpAddr> {
        const PROTOCOL_AH: u8 = 51;
        const PROTOCOL_VRRP: u8 = 112;
        let is_advert = |protocol| protocol == PROTOCOL_VRRP || protocol == PROTOCOL_AH;
        let frames = self.wire.frames();
        frames.iter().filter_map(|frame| frame.ip().filter(|ip| is_advert(ip.protocol)).map(|ip| ip.source)).collect()
    }
}

/// The first address of an IPv6 instance (RFC 9568 §5.2.9).
const LINK_LOCAL_VIP: &str = "fe80::100";

/// The address of the group's second instance.
fn second_vip() -> IpAddr {
    [198, 18, 1, 100].into()
}

/// Two routers on two links; the first is the better one.
struct Net {
    lab: Lab,
    _lans: [Bridge; 2],
    r1: Router,
    r2: Router,
    row: Row,
}

impl Net {
    /// Both run, and the better one is Active.
    fn new(row: Row, first: First) -> Result<Self, Stop> {
        let lab = Lab::new()?;
        let lans = [lab.bridge("br0")?, lab.bridge("br1")?];
        let ours = Runs::Daemon(Daemon::Ours);
        let theirs = match row.peer {
            Peer::Keepalived => Runs::Daemon(Daemon::C),
            Peer::Frr => Runs::Frr,
        };
        let router = |number: u8, runs, priority| -> Result<Router, Stop> {
            let host = lab.host(&format!("r{number}"))?;
            for (link, lan) in ["eth0", "eth1"].into_iter().zip(&lans) {
                lab.connect(&host, link, lan)?;
            }
            host.address("eth0", &row.protocol.address(number))?;
            host.address("eth1", &format!("198.18.1.{number}/24"))?;
            let wire = host.capture("eth0")?;
            Ok(Router { host, runs, number, priority, folder: tempfile::tempdir()?, process: None, wire })
        };
        let (better, other) = if first == First::Ours { (ours, theirs) } else { (theirs, ours) };
        let (r1, r2) = (router(1, better, 150)?, router(2, other, 90)?);
        let mut net = Self { lab, _lans: lans, r1, r2, row };
        net.r1.start(&row)?;
        net.active(&net.r1, &net.r2)?;
        net.r2.start(&row)?;
        Ok(net)
    }

    /// Waits until one router is Active: it alone has the virtual addresses, and five adverts in a row are its own, of
    /// which two Active Routers would not leave it as many. `ear` is the router whose interface is listened to.
    fn active(&self, router: &Router, ear: &Router) -> CaseResult {
        let vips = [self.row.protocol.vip(), LINK_LOCAL_VIP.parse()?];
        let from = ear.adverts().len();
        let mut said = Vec::new();
        let waited = wait_until(&format!("{} to be the Active Router", router.host.name()), || {
            let own: BTreeSet<IpAddr> =
                router.host.addresses()?.into_iter().map(|it| it.ip).filter(|ip| !vips.contains(ip)).collect();
            said = ear.adverts().split_off(from);
            Ok(said.iter().rev().take_while(|source| own.contains(source)).count() >= 5)
        });
        waited.map_err(|stop| self.explain(stop, &format!("adverts of {said:?}")))?;
        self.holds(router)
    }

    /// Waits until nobody but one router has the virtual addresses; that of FRR are always there.
    fn holds(&self, router: &Router) -> CaseResult {
        if self.row.peer == Peer::Frr {
            return Ok(());
        }
        let second = (self.row.story == Story::Group).then(second_vip);
        for vip in [self.row.protocol.vip()].into_iter().chain(second) {
            let waited = self.lab.wait_for_holders(vip, &[router.host.name()], PATIENCE);
            waited.map_err(|error| self.explain(error.into(), ""))?;
        }
        Ok(())
    }

    fn explain(&self, stop: Stop, what: &str) -> Stop {
        match stop {
            Stop::Failed(reason) => Stop::Failed(format!("{reason}\n{what}\n{}", self.logs())),
            skipped => skipped,
        }
    }

    fn logs(&self) -> String {
        let mut text = String::new();
        for router in [&self.r1, &self.r2] {
            text += &format!("--- {} ({:?})\n", router.host.name(), router.runs);
            for line in router.process.iter().flat_map(Process::lines) {
                text += &format!("{}\n", line.text);
            }
        }
        text
    }

    /// Neither router has refused, or frowned at, what the other one says.
    fn no_complaints(&self) -> CaseResult {
        const WORDS: [&str; 12] = [
            "invalid",
            "bogus",
            "mismatch",
            "incorrect",
            "wrong",
            "discard",
            "unexpected",
            "expected",
            "ignor",
            "malformed",
            "checksum",
            "drop",
        ];
        let lines = [&self.r1, &self.r2].into_iter().flat_map(|router| router.process().lines());
        // What is said of an advert that is right and does not count (RFC 9568 §6.4.2).
        let rule = |text: &str| text.contains("received lower priority") && text.ends_with("discarding");
        let complaint = |text: &str| !rule(text) && WORDS.iter().any(|word| text.to_lowercase().contains(word));
        match lines.into_iter().find(|line| complaint(&line.text)) {
            Some(line) => Err(Stop::failed(format!("a complaint: {}\n{}", line.text, self.logs()))),
            None => Ok(()),
        }
    }
}

/// One story of one row.
fn play(row: Row, first: First) -> CaseResult {
    let net = Net::new(row, first)?;
    net.active(&net.r1, &net.r2)?;
    let r1 = &net.r1;
    match row.story {
        Story::Link => {
            r1.host.cut("eth0")?;
            net.active(&net.r2, &net.r2)?;
            r1.host.mend("eth0")?;
        }
        Story::Group => {
            r1.host.cut("eth1")?;
            net.active(&net.r2, &net.r2)?;
            r1.host.mend("eth1")?;
        }
        Story::Script => {
            std::fs::write(r1.path("bad"), "")?;
            net.active(&net.r2, &net.r2)?;
            std::fs::remove_file(r1.path("bad"))?;
        }
        Story::NoPreempt => {
            r1.host.cut("eth0")?;
            net.active(&net.r2, &net.r2)?;
            returns(&net)?;
            net.active(&net.r2, &net.r2)?;
            net.r2.host.cut("eth0")?;
            net.active(&net.r1, &net.r1)?;
            return net.no_complaints();
        }
        Story::PreemptDelay(delay) => {
            r1.host.cut("eth0")?;
            net.active(&net.r2, &net.r2)?;
            let since = Instant::now();
            returns(&net)?;
            net.active(&net.r1, &net.r2)?;
            if since.elapsed() < delay {
                return Err(Stop::failed(format!("Active after {:?}\n{}", since.elapsed(), net.logs())));
            }
        }
    }
    net.active(&net.r1, &net.r2)?;
    net.no_complaints()
}

/// The better router's cable is mended, and it is in Backup.
fn returns(net: &Net) -> CaseResult {
    let r1 = &net.r1;
    let mark = r1.process().mark();
    r1.host.mend("eth0")?;
    r1.process().wait_for_line_after(mark, "Entering BACKUP STATE", PATIENCE)?;
    Ok(())
}

const BEGIN: &str = "<!-- begin -->\n";
const END: &str = "<!-- end -->\n";

/// The table of the document is this file's.
fn the_document_has_every_row() -> CaseResult {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/interoperability.md");
    let text = std::fs::read_to_string(&path)?;
    let (before, rest) = text.split_once(BEGIN).ok_or_else(|| Stop::failed("the table does not begin"))?;
    let (stored, after) = rest.split_once(END).ok_or_else(|| Stop::failed("the table does not end"))?;
    let mut table =
        "\n| what | with | keepalived-rs fails, the other takes over | the other fails, keepalived-rs takes over |\n\
                     |---|---|---|---|\n"
            .to_owned();
    for (ours, theirs, row) in ROWS {
        writeln!(table, "| {} | {} | `{ours}` | `{theirs}` |", row.what, row.peer.name())?;
    }
    table += "\n";
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}"))?;
    } else if stored != table {
        let how = "UPDATE_DOCS=1 cargo test -p keepalived-rs --test interop the_document";
        return Err(Stop::failed(format!("the table differs, {how} writes it anew:\n{table}")));
    }
    Ok(())
}

/// The rows wait for timers most of the time.
const AT_ONCE: usize = 8;

fn main() -> ExitCode {
    let mut all = cases();
    all.push(case("the_document_has_every_row", the_document_has_every_row));
    harness::main_parallel(&all, AT_ONCE)
}
