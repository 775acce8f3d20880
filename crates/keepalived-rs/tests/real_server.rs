//! `keepalived-rs real-server` on a host of its own, whose neighbour must not learn of the address.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use netlab::harness::{self, CaseResult, Stop, case};
use netlab::{Bridge, Host, Lab, Program};

const PATIENCE: Duration = Duration::from_secs(20);

const VIP: &str = "198.18.0.100";
const VIP6: &str = "2001:db8::100";

const SETTINGS: [&str; 3] =
    ["net/ipv4/conf/all/arp_ignore", "net/ipv4/conf/all/arp_announce", "net/ipv4/conf/all/rp_filter"];

/// A real server and a neighbour on one network.
struct Pair {
    lab: Lab,
    _lan: Bridge,
    real: Host,
    neighbour: Host,
    folder: tempfile::TempDir,
}

impl Pair {
    fn new() -> Result<Self, Stop> {
        let lab = Lab::new()?;
        let lan = lab.bridge("br0")?;
        let host = |name: &str, number: u8| -> Result<Host, Stop> {
            let host = lab.host(name)?;
            lab.connect(&host, "eth0", &lan)?;
            host.address("eth0", &format!("198.18.0.{number}/24"))?;
            host.address("eth0", &format!("2001:db8::{number}/64"))?;
            Ok(host)
        };
        let (real, neighbour) = (host("real", 11)?, host("neighbour", 9)?);
        Ok(Self { lab, _lan: lan, real, neighbour, folder: tempfile::tempdir()? })
    }

    fn record(&self) -> PathBuf {
        self.folder.path().join("record.json")
    }

    /// The exit status of a command and what it said.
    fn command(&self, line: &str) -> Result<(i32, String), Stop> {
        let program = Program::new(env!("CARGO_BIN_EXE_keepalived-rs")).arg("real-server").args(line.split(' '));
        let process = self.real.spawn(program.arg("--record").arg(self.record()))?;
        let status = process.wait_for_exit(PATIENCE)?.code().unwrap_or(-1);
        // What was written is read by a thread.
        let said = || process.lines().into_iter().map(|line| line.text).collect::<Vec<_>>().join("\n");
        let deadline = std::time::Instant::now() + Duration::from_secs(1);
        while said().is_empty() && std::time::Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok((status, said()))
    }

    fn succeeds(&self, line: &str) -> Result<String, Stop> {
        match self.command(line)? {
            (0, said) => Ok(said),
            (status, said) => Err(Stop::failed(format!("{line}: status {status}: {said}"))),
        }
    }

    fn fails(&self, line: &str, expected: &str) -> CaseResult {
        match self.command(line)? {
            (1, said) if said.contains(expected) => Ok(()),
            (status, said) => Err(Stop::failed(format!("{line}: status {status}, no {expected:?} in {said}"))),
        }
    }

    fn settings(&self) -> [String; 3] {
        SETTINGS.map(|path| self.real.run(|| fs::read_to_string(format!("/proc/sys/{path}")).unwrap_or_default()))
    }

    /// All that setup could touch.
    fn state(&self) -> Result<(Vec<String>, [String; 3]), Stop> {
        let mut addresses: Vec<_> = self.real.addresses()?.iter().map(|address| format!("{address:?}")).collect();
        addresses.sort();
        Ok((addresses, self.settings()))
    }

    /// Whether the neighbour is answered by the virtual address, by the time it was answered by the real one twenty times.
    fn is_answered(&self, vip: &str, real: &str) -> Result<bool, Stop> {
        let period = Duration::from_millis(20);
        let (vip, real) = (self.neighbour.ping(vip.parse()?, period)?, self.neighbour.ping(real.parse()?, period)?);
        real.wait_for_answer(PATIENCE)?;
        let enough = real.counts().received + 20;
        let deadline = std::time::Instant::now() + PATIENCE;
        while real.counts().received < enough {
            if std::time::Instant::now() > deadline {
                return Err(Stop::failed("the real server does not answer to its own address"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(vip.counts().received > 0)
    }
}

fn equal<T: PartialEq + std::fmt::Debug>(found: T, expected: T, what: &str) -> CaseResult {
    if found == expected { Ok(()) } else { Err(Stop::failed(format!("{what}: {found:#?}, not {expected:#?}"))) }
}

fn setup_is_idempotent_and_teardown_leaves_what_was_there() -> CaseResult {
    let pair = Pair::new()?;
    let before = pair.state()?;
    pair.succeeds(&format!("setup {VIP} {VIP6}"))?;
    let after = pair.state()?;
    equal(&pair.settings()[..2], &["1\n".to_owned(), "2\n".to_owned()][..], "settings")?;
    for vip in [VIP, VIP6] {
        equal(pair.real.holds(vip.parse()?)?, true, vip)?;
    }
    equal(pair.succeeds(&format!("setup {VIP6} {VIP}"))?, "all is as asked already".to_owned(), "a second setup")?;
    equal(pair.state()?, after, "after a second setup")?;

    pair.succeeds(&format!("teardown {VIP6}"))?;
    equal(pair.real.holds(VIP6.parse()?)?, false, "the address that was taken back")?;
    equal(pair.settings()[0].as_str(), "1\n", "arp_ignore with an address left")?;
    pair.succeeds("teardown")?;
    equal(pair.state()?, before, "after teardown")?;
    equal(pair.record().exists(), false, "a record of nothing")?;
    pair.succeeds("teardown")?;
    equal(pair.lab.holders(VIP.parse()?)?.is_empty(), true, "nobody has the address")
}

/// Without setup the host answers, which shows that the neighbour would notice.
fn nobody_learns_of_the_address() -> CaseResult {
    let pair = Pair::new()?;
    pair.real.address("lo", &format!("{VIP}/32"))?;
    equal(pair.is_answered(VIP, "198.18.0.11")?, true, "answered without setup")?;

    let pair = Pair::new()?;
    pair.succeeds(&format!("setup {VIP} {VIP6}"))?;
    equal(pair.is_answered(VIP, "198.18.0.11")?, false, "answered after setup")?;
    equal(pair.is_answered(VIP6, "2001:db8::11")?, false, "answered over IPv6")
}

/// An administrator's value wins.
fn what_others_changed_since_stays() -> CaseResult {
    let pair = Pair::new()?;
    pair.succeeds(&format!("setup {VIP}"))?;
    pair.real.set_sysctl(SETTINGS[0], "8")?;
    pair.succeeds("teardown")?;
    equal(&pair.settings()[..2], &["8\n".to_owned(), "0\n".to_owned()][..], "settings")
}

fn what_was_there_before_stays() -> CaseResult {
    let pair = Pair::new()?;
    pair.real.address("lo", &format!("{VIP}/32"))?;
    pair.real.set_sysctl(SETTINGS[0], "2")?;
    pair.real.set_sysctl(SETTINGS[1], "2")?;
    let before = pair.state()?;
    equal(pair.succeeds(&format!("setup {VIP}"))?, "all is as asked already".to_owned(), "setup")?;
    pair.succeeds("teardown")?;
    equal(pair.state()?, before, "after teardown")
}

/// Such a host would answer in place of the balancer.
fn an_address_on_the_network_is_refused() -> CaseResult {
    let pair = Pair::new()?;
    pair.real.address("eth0", &format!("{VIP}/24"))?;
    let before = pair.state()?;
    pair.fails(&format!("setup {VIP}"), "198.18.0.100 is on eth0")?;
    equal(pair.state()?, before, "after a refusal")?;
    equal(pair.record().exists(), false, "a record of nothing")
}

/// The record of another network namespace would undo what is not here.
fn a_record_of_another_namespace_is_refused() -> CaseResult {
    let pair = Pair::new()?;
    pair.succeeds(&format!("setup {VIP}"))?;
    let other = Pair { folder: pair.folder, ..Pair::new()? };
    let vip: IpAddr = VIP.parse()?;
    other.fails("teardown", "is of another network namespace")?;
    other.fails(&format!("setup {VIP}"), "--record")?;
    equal(other.real.holds(vip)?, false, "the address on the other host")
}

fn main() -> ExitCode {
    harness::main(&[
        case(
            "setup_is_idempotent_and_teardown_leaves_what_was_there",
            setup_is_idempotent_and_teardown_leaves_what_was_there,
        ),
        case("nobody_learns_of_the_address", nobody_learns_of_the_address),
        case("what_others_changed_since_stays", what_others_changed_since_stays),
        case("what_was_there_before_stays", what_was_there_before_stays),
        case("an_address_on_the_network_is_refused", an_address_on_the_network_is_refused),
        case("a_record_of_another_namespace_is_refused", a_record_of_another_namespace_is_refused),
    ])
}
