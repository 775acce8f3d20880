//! `keepalived-rs real-server`: makes this host a real server of a balancer that forwards by direct routing or through a tunnel, and undoes
//! it; on a balancer takes real servers out of use and tells how they are (`docs/real-server.md`).

mod balanced;
mod plan;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use lexopt::prelude::*;
use nix::libc;
use serde::{Deserialize, Serialize};
use vip_netlink::{Address, AddressFlags, Change, LinkFlags, LinkName, RouteSocket, Scope};

use self::plan::{Act, Facts, Link, Method, Outer, Record, Wish, prefix_len};

/// Exit status when not all could be done.
const EXIT_FAILED: u8 = 1;

/// Exit status of a command line that cannot be understood.
const EXIT_TROUBLE: u8 = 2;

/// Where it is written down what setup did; gone after a reboot, like what it did.
const DEFAULT_RECORD: &str = "/run/keepalived-rs/real-server.json";

/// No record is longer.
const MAX_RECORD: u64 = 1 << 20;

const HELP: &str = "\
Usage: keepalived-rs real-server setup [OPTION...] VIP...
       keepalived-rs real-server teardown [--record FILE] [VIP...]
       keepalived-rs real-server drain [OPTION...] VS RS
       keepalived-rs real-server undrain [--pid FILE] VS RS
       keepalived-rs real-server status [--pid FILE] [--format text|json] [VS [RS]]

On a real server: setup makes this host a real server for the virtual addresses VIP: packets to them are taken as this host's own, and nobody on the
network learns that it has them. It may be repeated, with more addresses too. teardown undoes what setup changed, if nobody changed it
since; without VIP it undoes everything.

      --method dr|tun     How the balancer forwards (lvs_method of its configuration): DR, which is assumed, or TUN
      --over inet         The tunnel's packets are IPv4, whatever the virtual address is; otherwise they are of its family
      --record FILE       Where it is written down what was changed, instead of /run/keepalived-rs/real-server.json: one for each
                          network namespace

On a balancer: drain takes the real server RS of the virtual server VS out of use: it gets no new connections, and the command waits
until those it has have ended. It stays so, whatever checks and reloads say, until undrain. status tells how servers are. VS and RS are
written as in the configuration: '192.0.2.1 80', 'fwmark 3' or 'group web', and '10.0.0.1 80'.

      --timeout SECONDS   Wait for no longer; without it, for as long as it takes
      --no-wait           Do not wait at all
      --force             Even if the virtual server loses its quorum by it, and the sorry server takes the new connections
      --format text|json  How to write: for people, or as one JSON document
  -p, --pid FILE          Pid file of the daemon, if it is not /run/keepalived.pid

  -h, --help              This text

Exit status: 0: all is as asked; 1: something could not be done, and standard error says what; 2: trouble with the command line;
3: connections were left at the end of the time
";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Command {
    Help,
    Setup { wish: Wish, record: PathBuf },
    Teardown { vips: BTreeSet<IpAddr>, record: PathBuf },
    Balanced { pid_file: PathBuf, ask: balanced::Ask },
}

/// Runs the command that the arguments behind `real-server` name; returns the exit status.
pub(crate) fn run(arguments: &[OsString]) -> u8 {
    let (result, failed) = match parse(arguments) {
        Err(error) => (Err(error.context("'keepalived-rs real-server --help' tells more")), EXIT_TROUBLE),
        Ok(Command::Help) => (say(HELP).map(|()| 0), EXIT_FAILED),
        Ok(Command::Setup { wish, record }) => (setup(&wish, &record).map(|()| 0), EXIT_FAILED),
        Ok(Command::Teardown { vips, record }) => (teardown(&vips, &record).map(|()| 0), EXIT_FAILED),
        Ok(Command::Balanced { pid_file, ask }) => (balanced::run(&pid_file, ask), EXIT_FAILED),
    };
    match result {
        Ok(status) => status,
        Err(error) => {
            let causes: Vec<_> = error.chain().map(ToString::to_string).collect();
            let text = if failed == EXIT_TROUBLE {
                causes.into_iter().rev().collect::<Vec<_>>().join(" - ")
            } else {
                causes.join(": ")
            };
            eprintln!("keepalived-rs real-server: {text}");
            failed
        }
    }
}

fn parse(arguments: &[OsString]) -> anyhow::Result<Command> {
    let mut parser = lexopt::Parser::from_args(arguments);
    let (mut verb, mut vips) = (None, BTreeSet::new());
    let (mut method, mut over, mut record) = (None, None, PathBuf::from(DEFAULT_RECORD));
    while let Some(argument) = parser.next()? {
        match argument {
            Long("help") | Short('h') => return Ok(Command::Help),
            Long("method") => method = Some(parser.value()?.string()?),
            Long("over") => over = Some(parser.value()?.string()?),
            Long("record") => record = parser.value()?.into(),
            Value(word) if verb.is_none() => {
                let word = word.string()?;
                if ["drain", "undrain", "status"].contains(&word.as_str()) {
                    let asked = balanced::parse(&word, &mut parser)?;
                    return Ok(asked.map_or(Command::Help, |(pid_file, ask)| Command::Balanced { pid_file, ask }));
                }
                verb = Some(word);
            }
            Value(word) => drop(vips.insert(virtual_address(&word.string()?)?)),
            other => return Err(other.unexpected().into()),
        }
    }
    match verb.as_deref() {
        Some("setup") if vips.is_empty() => bail!("setup needs a virtual address"),
        Some("setup") => {
            let method = forwarding(method.as_deref(), over.as_deref())?;
            Ok(Command::Setup { wish: Wish { vips, method }, record })
        }
        Some("teardown") if method.or(over).is_some() => bail!("teardown knows by itself what setup was asked for"),
        Some("teardown") => Ok(Command::Teardown { vips, record }),
        Some(other) => bail!("'{other}' is none of setup, teardown, drain, undrain and status"),
        None => bail!("setup, teardown, drain, undrain or status?"),
    }
}

/// `--method` and `--over`.
fn forwarding(method: Option<&str>, over: Option<&str>) -> anyhow::Result<Method> {
    match (method.unwrap_or("dr").to_ascii_lowercase().as_str(), over) {
        ("dr", None) => Ok(Method::DirectRoute),
        ("dr", Some(_)) => bail!("--over is about tunnels: --method tun"),
        ("tun", None) => Ok(Method::Tunnel(Outer::Same)),
        ("tun", Some("inet")) => Ok(Method::Tunnel(Outer::V4)),
        ("tun", Some(other)) => bail!("--over takes inet, not '{other}'"),
        ("nat", _) => bail!("with NAT a real server needs no virtual address, only a route back through the balancer"),
        (other, _) => bail!("--method takes dr or tun, not '{other}'"),
    }
}

/// An address of its own, with or without the length of its prefix.
fn virtual_address(word: &str) -> anyhow::Result<IpAddr> {
    let (address, length) = word.split_once('/').map_or((word, None), |(address, length)| (address, Some(length)));
    let vip: IpAddr = address.parse().with_context(|| format!("'{word}' is no address"))?;
    let whole = prefix_len(&vip);
    if length.is_some_and(|length| length.parse() != Ok(whole)) {
        bail!("a real server has a virtual address alone, without its network: {vip}/{whole}, not {word}");
    }
    let broadcast = IpAddr::from([255; 4]);
    if vip.is_unspecified() || vip.is_loopback() || vip.is_multicast() || vip == broadcast {
        bail!("{vip} is no address that a balancer can have");
    }
    Ok(vip)
}

fn setup(wish: &Wish, path: &Path) -> anyhow::Result<()> {
    let mut book = Book::open(path)?;
    let mut route = RouteSocket::open()?;
    for name in wish.tunnels() {
        // To ask for a device that the kernel makes with a module loads that.
        let _ = nix::net::if_::if_nametoindex(name);
    }
    let facts = look(&mut route, &book.record, &wish.tunnels())?;
    let mut record = book.record.clone();
    let acts = plan::setup(wish, &facts, &mut record)?;
    // First, so that whatever happens teardown knows of it.
    book.write(record)?;
    carry_out(&mut route, &acts)
        .context("what was done until here is undone by 'keepalived-rs real-server teardown'")?;
    if acts.is_empty() { say("all is as asked already\n") } else { Ok(()) }
}

fn teardown(vips: &BTreeSet<IpAddr>, path: &Path) -> anyhow::Result<()> {
    let mut book = Book::open(path)?;
    let mut route = RouteSocket::open()?;
    let facts = look(&mut route, &book.record, &BTreeSet::new())?;
    for vip in vips.iter().filter(|vip| !book.record.vips.contains_key(vip)) {
        say(&format!("{vip}: no setup was asked for it, or it was undone already\n"))?;
    }
    let (acts, left) = plan::teardown(vips, &facts, &book.record);
    carry_out(&mut route, &acts).context("the rest is tried again by another teardown")?;
    book.write(left)
}

/// What is there: links, their addresses, and the settings that count.
fn look(route: &mut RouteSocket, record: &Record, tunnels: &BTreeSet<&str>) -> anyhow::Result<Facts> {
    let addresses = route.addresses()?;
    let quiet = LinkFlags::LOOPBACK | LinkFlags::NOARP;
    let links = route.links()?.into_iter().map(|link| Link {
        name: link.name.to_string(),
        up: link.flags.contains(LinkFlags::UP),
        quiet: link.flags.intersects(quiet),
        addresses: addresses.iter().filter(|address| address.link == link.index).map(|address| address.ip).collect(),
    });
    let all = [plan::ARP_IGNORE, plan::ARP_ANNOUNCE, plan::RP_FILTER].map(str::to_owned);
    let paths = all.into_iter().chain(tunnels.iter().map(|name| plan::rp_filter_of(name)));
    let paths = paths.chain(record.settings.keys().cloned());
    let settings = paths.filter_map(|path| {
        let value = fs::read_to_string(Path::new("/proc/sys").join(&path)).ok()?.trim().parse().ok()?;
        Some((path, value))
    });
    Ok(Facts { links: links.collect(), settings: settings.collect() })
}

fn carry_out(route: &mut RouteSocket, acts: &[Act]) -> anyhow::Result<()> {
    for act in acts {
        match act {
            Act::Set { path, to, .. } => set(path, *to)?,
            Act::LinkUp(name) => apply(route, Change::SetLinkUp(name.parse::<LinkName>()?.into()))?,
            Act::LinkDown(name) => apply(route, Change::SetLinkDown(name.parse::<LinkName>()?.into()))?,
            Act::Add(vip, link) => {
                let address = address(route, *vip, link)?;
                apply(route, Change::AddAddress(address))?;
            }
            Act::Remove(vip, link) => {
                let address = address(route, *vip, link)?;
                apply(route, Change::RemoveAddress(address))?;
            }
        }
        say(&format!("{act}\n"))?;
    }
    Ok(())
}

/// Never chosen as a source for what this host begins by itself.
fn address(route: &mut RouteSocket, vip: IpAddr, link: &str) -> anyhow::Result<Address> {
    let link = route.link(link.parse()?)?.with_context(|| format!("this host has no {link}"))?;
    let address = Address::virtual_address(link.index, vip, prefix_len(&vip));
    let flags = if vip.is_ipv6() { AddressFlags::NODAD } else { AddressFlags::empty() };
    Ok(Address { scope: Scope::HOST, flags, protocol: None, ..address })
}

fn apply(route: &mut RouteSocket, change: Change) -> anyhow::Result<()> {
    match route.apply(&[change]).refused.pop() {
        None => Ok(()),
        Some(refusal) => {
            let hint = hint(refusal.error.io());
            Err(refusal.error).context(hint)
        }
    }
}

fn set(path: &str, value: i64) -> anyhow::Result<()> {
    fs::write(Path::new("/proc/sys").join(path), format!("{value}\n")).map_err(|error| {
        let name = path.replace('/', ".");
        let hint = match error.kind() {
            io::ErrorKind::ReadOnlyFilesystem => {
                format!("/proc/sys cannot be written here; start the container with --sysctl {name}={value}")
            }
            _ => hint(&error).to_owned(),
        };
        anyhow::anyhow!("setting {name} to {value}: {error} - {hint}")
    })
}

/// What probably helps.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "this needs root, or CAP_NET_ADMIN (for IPv6: and net.ipv6.conf.lo.disable_ipv6 must be 0)"
        }
        _ => "the kernel refuses",
    }
}

fn say(text: &str) -> anyhow::Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// The file with the record, locked.
struct Book {
    path: PathBuf,
    place: Place,
    record: Record,
    _lock: File,
}

/// Where a record is true: after the next boot, or in another network namespace, nothing of it is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    boot: String,
    namespace: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Page {
    place: Place,
    record: Record,
}

impl Book {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let place = Place {
            boot: fs::read_to_string("/proc/sys/kernel/random/boot_id").context("reading the boot's id")?.trim().into(),
            namespace: fs::read_link("/proc/self/ns/net")
                .context("reading the network namespace")?
                .display()
                .to_string(),
        };
        let here = || format!("the record {}", path.display());
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(here)?;
        }
        let options = || {
            let mut options = File::options();
            options.mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).clone()
        };
        let lock = options().write(true).create(true).truncate(false).open(beside(path, "lock")).with_context(here)?;
        // Two at a time would each undo what the other does.
        lock.lock().with_context(here)?;
        let mut text = String::new();
        match options().read(true).open(path) {
            Ok(file) => drop(file.take(MAX_RECORD).read_to_string(&mut text).with_context(here)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(here),
        }
        let record = Self::understand(&text, &place).with_context(here)?;
        Ok(Self { path: path.to_owned(), place, record, _lock: lock })
    }

    fn understand(text: &str, place: &Place) -> anyhow::Result<Record> {
        if text.is_empty() {
            return Ok(Record::default());
        }
        let page: Page = serde_json::from_str(text)
            .context("cannot be understood - look what it says, undo it by hand, and remove it")?;
        if page.place.boot != place.boot {
            return Ok(Record::default());
        }
        if page.place.namespace != place.namespace {
            bail!("is of another network namespace, {} - give each its own with --record", page.place.namespace);
        }
        Ok(page.record)
    }

    /// Replaces the file, as a whole or not at all; removes it once there is nothing to undo.
    fn write(&mut self, record: Record) -> anyhow::Result<()> {
        let failed = || format!("writing {}", self.path.display());
        if record.is_empty() {
            match fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).with_context(failed),
                _ => {}
            }
        } else {
            let new = beside(&self.path, "new");
            let page = serde_json::to_string_pretty(&Page { place: self.place.clone(), record: record.clone() })?;
            let mut options = File::options();
            options.write(true).create(true).truncate(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
            options.open(&new).and_then(|mut file| file.write_all(page.as_bytes())).with_context(failed)?;
            fs::rename(&new, &self.path).with_context(failed)?;
        }
        self.record = record;
        Ok(())
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{ending}"));
    name.into()
}

#[cfg(test)]
mod tests;
