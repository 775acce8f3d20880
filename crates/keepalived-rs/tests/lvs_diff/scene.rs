//! A daemon in a network namespace of its own, whose real servers are addresses of its loopback.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{fs, thread};

use netlab::harness::Stop;
use netlab::{Host, Lab, Process, Program, peers};
use nix::sys::signal::Signal;
use vip_netlink::{Change, RouteSocket};

use crate::rows::{CHECKED_PORT, Row, Step, TLS_PORT, VIP};
use crate::{ruleset, tls};

/// Whose daemon runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Daemon {
    Ours,
    C,
}

/// How long a step may take before it has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A table that stays the same for so long is what a recording keeps.
const SETTLED: Duration = Duration::from_secs(2);

const POLL: Duration = Duration::from_millis(100);

/// Start, steps, stop.
pub(crate) fn phases(row: &Row) -> usize {
    row.steps.len() + 2
}

pub(crate) struct Scene {
    row: Row,
    host: Host,
    listeners: BTreeMap<u8, Vec<TcpListener>>,
    folder: PathBuf,
    daemon: Process,
    /// The kernel's list of services and destinations.
    kernel: File,
    /// How many notifications there were before this phase.
    known: usize,
    saved: Saved,
}

/// What ipvsadm said last: asking it takes longer than all the rest.
#[derive(Default)]
struct Saved {
    /// The kernel's list at that time.
    kernel: String,
    text: String,
}

impl Scene {
    /// The daemon is started, and nothing is waited for.
    pub(crate) fn start(daemon: Daemon, row: &Row, lab: &Lab) -> Result<Self, Stop> {
        let host = lab.host("lb")?;
        let mut listeners = BTreeMap::new();
        for number in 1..=3 {
            for address in addresses(number) {
                host.address("lo", &format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 }))?;
            }
            if row.config.contains(&format!("connect_port {TLS_PORT}")) {
                let place = SocketAddr::new(IpAddr::from([192, 0, 2, 10 + number]), TLS_PORT);
                tls::serve(host.run(|| TcpListener::bind(place))?)?;
            }
            if !row.closed.contains(&number) {
                listeners.insert(number, listen(&host, number)?);
            }
        }
        let folder = PathBuf::from("/tmp/lvs").join(row.name);
        fs::create_dir_all(&folder)?;
        let here = folder.display();
        script(&folder.join("check"), &format!("exit $(cat {here}/server-$1)"))?;
        script(&folder.join("note"), &format!("echo \"$*\" >>{here}/notes"))?;
        script(&folder.join("note-slowly"), &format!("sleep 1\necho \"$*\" >>{here}/notes"))?;
        let program = match daemon {
            Daemon::Ours => Program::new(env!("CARGO_BIN_EXE_keepalived-rs")).arg("--allow-unsupported"),
            Daemon::C => peers::keepalived()?.program(),
        };
        let file = folder.join("keepalived.conf");
        let program = program.args(["-nlDG", "-f"]).arg(&file).args(row.arguments);
        write_config(&folder, &row.config)?;
        for number in 1..=3 {
            fs::write(folder.join(format!("server-{number}")), "0\n")?;
        }
        let daemon = host.spawn(program)?;
        // Of the thread: the process's own is another namespace's.
        let kernel = host.run(|| File::open("/proc/thread-self/net/ip_vs"))?;
        Ok(Self { row: row.clone(), host, listeners, folder, daemon, kernel, known: 0, saved: Saved::default() })
    }

    pub(crate) fn phase_name(&self, phase: usize) -> String {
        match phase.checked_sub(1).map(|step| self.row.steps.get(step)) {
            None => "0: start".to_owned(),
            Some(Some(step)) => format!("{phase}: {step:?}"),
            Some(None) => format!("{phase}: stop"),
        }
    }

    /// Does what a phase is about, and waits until the daemon has noticed.
    pub(crate) fn proceed(&mut self, phase: usize) -> Result<(), Stop> {
        self.known = self.notes().len();
        let Some(step) = phase.checked_sub(1) else {
            return self.wait_for_line(0, &[self.row.starts_with]);
        };
        let Some(step) = self.row.steps.get(step).cloned() else {
            self.daemon.signal(Signal::SIGTERM)?;
            self.daemon.wait_for_exit(PATIENCE)?;
            return Ok(());
        };
        let mark = self.daemon.lines().len();
        match step {
            Step::Down(number) => {
                self.listeners.remove(&number);
                self.wait_for_line(mark, &[&format!("1{number}]"), "failed after"])
            }
            Step::Up(number) => {
                self.listeners.insert(number, listen(&self.host, number)?);
                self.wait_for_line(mark, &[&format!("1{number}]"), "success"])
            }
            Step::File(number, value) => self.write(number, &format!("{value}\n")),
            Step::Text(number, text) => self.write(number, text),
            Step::Gone(number) => Ok(fs::remove_file(self.folder.join(format!("server-{number}")))?),
            Step::AddressComes => Ok(self.host.address("lo", &format!("{VIP}/32"))?),
            Step::AddressGoes => self.remove_address(),
            Step::Reload(config) => {
                write_config(&self.folder, &config)?;
                // Not all that it changes shows in the kernel's list.
                self.saved = Saved::default();
                self.daemon.signal(Signal::SIGHUP)?;
                self.wait_for_line(mark, &["Reload complete"])
            }
        }
    }

    /// In one piece: a script that reads meanwhile finds one or the other.
    fn write(&self, number: u8, text: &str) -> Result<(), Stop> {
        let (file, new) = (self.folder.join(format!("server-{number}")), self.folder.join("new"));
        fs::write(&new, text)?;
        Ok(fs::rename(new, file)?)
    }

    fn remove_address(&self) -> Result<(), Stop> {
        let ip: IpAddr = VIP.parse()?;
        let address = self.host.addresses()?.into_iter().find(|address| address.ip == ip);
        let change = Change::RemoveAddress(address.ok_or_else(|| Stop::failed("there is no such address"))?);
        let mut refused = self.host.run(|| RouteSocket::open().map(|mut route| route.apply(&[change])))?.refused;
        refused.pop().map_or(Ok(()), |refusal| Err(refusal.error.into()))
    }

    /// Waits for a line, from `mark` on, that has all these `words`.
    fn wait_for_line(&self, mark: usize, words: &[&str]) -> Result<(), Stop> {
        let deadline = Instant::now() + PATIENCE;
        let said = |line: &netlab::Line| words.iter().all(|word| line.text.contains(word));
        while !words.iter().all(|word| word.is_empty()) && !self.daemon.lines().iter().skip(mark).any(said) {
            if Instant::now() > deadline {
                return Err(Stop::failed(format!("no line with {words:?} after {PATIENCE:?}")));
            }
            self.pause();
        }
        Ok(())
    }

    /// Takes the connections of checks meanwhile, so that no queue fills.
    fn pause(&self) {
        for listener in self.listeners.values().flatten() {
            while listener.accept().is_ok() {}
        }
        thread::sleep(POLL);
    }

    /// The table as soon as it is `expected`, or as it is when that took too long.
    pub(crate) fn wait_for(&mut self, expected: &str) -> Result<String, Stop> {
        let quick = sorted(expected.lines().filter(|line| !line.starts_with('-')));
        let deadline = Instant::now() + PATIENCE;
        while self.quick_table()? != quick && Instant::now() < deadline {
            self.pause();
        }
        loop {
            let table = self.table()?;
            // Packets are marked last.
            if table == expected || !self.has_marks() || Instant::now() > deadline {
                return Ok(table);
            }
            self.pause();
        }
    }

    /// The table once it does not change any more.
    pub(crate) fn settled(&mut self) -> Result<String, Stop> {
        let (mut table, mut since) = (self.quick_table()?, Instant::now());
        while since.elapsed() < SETTLED {
            self.pause();
            let newer = self.quick_table()?;
            if newer != table {
                (table, since) = (newer, Instant::now());
            }
        }
        self.table()
    }

    /// What `ipvsadm -Sn` says, `/proc/net/ip_vs` without its heading, the notifications of this phase, and what marks
    /// packets.
    fn table(&mut self) -> Result<String, Stop> {
        let kernel = self.kernel_table()?;
        if kernel != self.saved.kernel {
            self.saved = Saved { text: self.ipvsadm(kernel.lines().count())?, kernel };
        }
        let ruleset = if self.has_marks() { ruleset::flat(&self.ruleset()?) } else { Vec::new() };
        let (quick, ruleset) = (self.quick_table()?, ruleset.iter().map(String::as_str));
        Ok(sorted(quick.lines().chain(self.saved.text.lines()).chain(ruleset)))
    }

    /// Whether nftables has a part in it.
    fn has_marks(&self) -> bool {
        self.row.config.contains("nftables_ipvs")
    }

    /// What `nft list ruleset` says.
    fn ruleset(&self) -> Result<String, Stop> {
        const END: &str = "that was all";
        let nft = peers::nft()?;
        let command = format!("'{}' list ruleset; echo {END}", nft.path.display());
        let libraries = std::env::join_paths(&nft.libraries).unwrap_or_default();
        let nft = self.host.spawn(Program::new("sh").args(["-c", &command]).env("LD_LIBRARY_PATH", libraries))?;
        nft.wait_for_line(END, PATIENCE)?;
        Ok(nft.lines().into_iter().map(|line| line.text + "\n").filter(|line| line.trim() != END).collect())
    }

    /// Its lines for so many entries.
    fn ipvsadm(&self, entries: usize) -> Result<String, Stop> {
        let ipvsadm = self.host.spawn(peers::ipvsadm()?.program().arg("-Sn"))?;
        ipvsadm.wait_for_exit(PATIENCE)?;
        let mut text = String::new();
        // The last lines arrive after the end of the program.
        let deadline = Instant::now() + PATIENCE;
        while text.lines().count() < entries && Instant::now() < deadline {
            thread::sleep(POLL);
            text = ipvsadm.lines().into_iter().map(|line| line.text + "\n").collect();
        }
        Ok(text)
    }

    fn quick_table(&self) -> Result<String, Stop> {
        let notes = self.notes().into_iter().skip(self.known).map(|note| format!("note: {note}")).collect::<Vec<_>>();
        Ok(sorted(self.kernel_table()?.lines().chain(notes.iter().map(String::as_str))))
    }

    fn kernel_table(&self) -> Result<String, Stop> {
        // Between two reads the kernel loses its place in the list, and one holds a page.
        let mut octets = vec![0; 65536];
        let mut file = &self.kernel;
        file.rewind()?;
        let length = file.read(&mut octets)?;
        let text = String::from_utf8_lossy(octets.get(..length).unwrap_or_default());
        // The first three lines are a heading.
        Ok(flat(text.splitn(4, '\n').nth(3).unwrap_or_default()))
    }

    /// What notification scripts wrote, in their order.
    pub(crate) fn notes(&self) -> Vec<String> {
        let text = fs::read_to_string(self.folder.join("notes")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// What the daemon said last.
    pub(crate) fn log(&self) -> String {
        let lines = self.daemon.lines();
        let mut text = String::new();
        for line in lines.iter().skip(lines.len().saturating_sub(25)) {
            writeln!(text, "    {}", line.text).expect("a String takes all");
        }
        text
    }
}

/// In an order of its own: the kernel lists a hash table.
pub(crate) fn sorted<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    let mut lines: Vec<_> = lines.map(str::trim_end).collect();
    lines.sort_unstable();
    lines.into_iter().map(|line| format!("{line}\n")).collect()
}

/// The kernel's list, with every destination behind the name of its service.
fn flat(list: &str) -> String {
    let mut service = String::new();
    let mut lines = Vec::new();
    for line in list.lines() {
        if let Some(destination) = line.strip_prefix("  -> ") {
            lines.push(format!("{service} -> {destination}"));
        } else {
            service = line.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
            lines.push(line.to_owned());
        }
    }
    sorted(lines.iter().map(String::as_str))
}

fn addresses(number: u8) -> [IpAddr; 2] {
    [IpAddr::from([192, 0, 2, 10 + number]), IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10 + u16::from(number)])]
}

fn listen(host: &Host, number: u8) -> Result<Vec<TcpListener>, Stop> {
    let mut listeners = Vec::new();
    for address in addresses(number) {
        let listener = host.run(|| TcpListener::bind(SocketAddr::new(address, CHECKED_PORT)))?;
        listener.set_nonblocking(true)?;
        listeners.push(listener);
    }
    Ok(listeners)
}

fn script(path: &std::path::Path, lines: &str) -> Result<(), Stop> {
    fs::write(path, format!("#!/bin/sh\n{lines}\n"))?;
    Ok(fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755))?)
}

/// In one piece.
fn write_config(folder: &std::path::Path, config: &str) -> Result<(), Stop> {
    let (file, new) = (folder.join("keepalived.conf"), folder.join("keepalived.conf.new"));
    fs::write(&new, config.replace("{dir}", &folder.display().to_string()))?;
    Ok(fs::rename(new, file)?)
}
