//! A virtual machine for what the host's kernel does not have: IPVS, VLANs, VRFs.
//!
//! The machine is `qemu-system-x86_64` without KVM and boots Debian's cloud kernel, unpacked and not installed,
//! with an initramfs of busybox, kernel modules and the programs under test. It is made of tools of the host
//! (`apt-get`, `dpkg-deb`, `depmod`, `cpio`, `ldd`, busybox), needs no root, and reaches a shell in about eight
//! seconds. Kernel and modules are unpacked once and kept in a cache folder.
//!
//! ```no_run
//! use std::time::Duration;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let vm = match netlab::vm::Vm::new() {
//!     Ok(vm) => vm,
//!     Err(skip) => {
//!         println!("skipped: {skip}");
//!         return Ok(());
//!     }
//! };
//! let run = vm.program("ipvsadm")?.module("ip_vs").run("/usr/sbin/ipvsadm -Ln", Duration::from_secs(60))?;
//! assert_eq!(run.status, 0, "{}", run.output);
//! # Ok(())
//! # }
//! ```
//!
//! Traps of the machine: busybox's shell prefers its own applets, so call iproute2 and the like by their path;
//! nothing is mounted but `/proc`, `/sys`, `/dev`, `/run` and `/tmp`; there is no network card, only `lo` (up).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Why there can be no virtual machine on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip(String);

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}

/// What went wrong while a machine was made or run.
#[derive(Debug)]
#[non_exhaustive]
pub enum VmError {
    /// A program given to [`Vm::program`] is neither a path nor in `PATH` or the `sbin` folders.
    NoProgram(String),
    /// A step on the host failed.
    Host {
        /// What was tried, with its object.
        operation: String,
        /// What the host answered.
        source: io::Error,
    },
    /// The command was still running at the deadline. The machine is gone.
    Deadline {
        /// How long it was given, booting included.
        after: Duration,
        /// What the command had written.
        output: String,
        /// What the kernel had written.
        console: String,
    },
    /// The machine ended without the command's exit status: a kernel panic, or an initramfs that does not fit.
    Ended {
        /// What the command had written.
        output: String,
        /// What the kernel had written.
        console: String,
    },
}

impl fmt::Display for VmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProgram(name) => write!(f, "no program {name} on this host"),
            Self::Host { operation, source } => write!(f, "{operation}: {source}"),
            Self::Deadline { after, output, console } => {
                write!(f, "the machine was still running after {after:?}\n{console}\n{output}")
            }
            Self::Ended { output, console } => {
                write!(f, "the machine ended without an exit status\n{console}\n{output}")
            }
        }
    }
}

impl std::error::Error for VmError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Host { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// What a command run in the machine left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmOutput {
    /// Exit status of the command, as a shell tells it (128 + N after signal N).
    pub status: i32,
    /// Standard output and standard error of the command, in the order of writing.
    pub output: String,
    /// What the kernel wrote while it ran.
    pub console: String,
}

/// A machine that is being put together; [`run`](Self::run) boots it.
#[derive(Debug)]
pub struct Vm {
    kernel: PathBuf,
    base: PathBuf,
    work: WorkFolder,
    modules: Vec<String>,
    memory: u32,
    processors: u32,
}

impl Vm {
    /// A machine with kernel, modules and busybox, and nothing else.
    ///
    /// The first call on a host fetches the kernel package with `apt-get download`; later ones take it from the
    /// cache folder: `$KEEPALIVED_RS_CACHE`, else `$XDG_CACHE_HOME/keepalived-rs`, else `~/.cache/keepalived-rs`.
    /// Calls of several processes at a time wait for each other.
    ///
    /// # Errors
    /// [`Skip`] names what this host lacks.
    pub fn new() -> Result<Self, Skip> {
        for tool in ["qemu-system-x86_64", "busybox", "depmod", "cpio", "dpkg-deb", "ldd"] {
            find_program(tool).ok_or_else(|| Skip(format!("{tool} is not installed")))?;
        }
        let failed = |error: VmError| Skip(format!("the virtual machine cannot be prepared: {error}"));
        let cache = cache_folder().ok_or_else(|| Skip("no cache folder: HOME is not set".into()))?;
        let lock = lock_folder(&cache).map_err(failed)?;
        let unpacked = kernel_folder(&cache)?;
        let kernel = find_kernel(&unpacked).ok_or_else(|| Skip("the kernel package has no kernel".into()))?;
        let base = base_archive(&cache, &unpacked).map_err(failed)?;
        drop(lock);
        let work = WorkFolder::new().map_err(failed)?;
        Ok(Self { kernel, base, work, modules: Vec::new(), memory: 512, processors: 1 })
    }

    /// Adds a program of the host, a name looked up in `PATH` or a path, at its own path, with its libraries.
    ///
    /// # Errors
    /// The program does not exist or cannot be copied.
    pub fn program(self, program: impl AsRef<Path>) -> Result<Self, VmError> {
        let program = program.as_ref();
        let found =
            if program.components().count() > 1 { fs::canonicalize(program).ok() } else { find_program(program) };
        let path = found.ok_or_else(|| VmError::NoProgram(program.display().to_string()))?;
        self.work.add_program(&path, &path)?;
        Ok(self)
    }

    /// Adds a program like [`program`](Self::program), but at the path `to`.
    ///
    /// # Errors
    /// The program cannot be copied.
    pub fn program_at(self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<Self, VmError> {
        self.work.add_program(from.as_ref(), to.as_ref())?;
        Ok(self)
    }

    /// Adds a file of the host at the path `to`, with its permissions. A folder is copied with all below it.
    ///
    /// # Errors
    /// The file cannot be copied.
    pub fn file(self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<Self, VmError> {
        self.work.add_tree(from.as_ref(), to.as_ref())?;
        Ok(self)
    }

    /// Adds a file of this content at the path `to`, readable for all.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn text(self, to: impl AsRef<Path>, content: &str) -> Result<Self, VmError> {
        self.work.add_text(to.as_ref(), content)?;
        Ok(self)
    }

    /// Loads a kernel module before the command runs. Any module of the kernel's `net` and `lib` folders and the
    /// simple devices (`dummy`, `vrf`, `veth`, `macvlan`, `bonding`, …) can be loaded later by the command itself, too.
    #[must_use]
    pub fn module(mut self, name: &str) -> Self {
        self.modules.push(name.to_owned());
        self
    }

    /// Memory in MiB; 512 unless set.
    #[must_use]
    pub fn memory(mut self, mebibytes: u32) -> Self {
        self.memory = mebibytes;
        self
    }

    /// Number of processors; 1 unless set.
    #[must_use]
    pub fn processors(mut self, count: u32) -> Self {
        self.processors = count;
        self
    }

    /// Boots the machine, runs `command` in its shell and waits for its end, at most `deadline` from now.
    /// Whatever happens, the machine is gone afterwards.
    ///
    /// # Errors
    /// The machine could not be started, ended early, or was still running at the deadline.
    pub fn run(self, command: &str, deadline: Duration) -> Result<VmOutput, VmError> {
        let started = Instant::now();
        self.work.add_text(Path::new("/vm/command"), &format!("{command}\n"))?;
        self.work.add_text(Path::new("/vm/modules"), &self.modules.join("\n"))?;
        self.work.add_text(Path::new("/vm/seconds"), &format!("{}\n", deadline.as_secs() + 5))?;
        let initramfs = self.work.initramfs(&self.base)?;
        let console = self.work.path.join("console");
        let mut machine = Machine::boot(&self, &initramfs, &console)?;
        let ended = machine.wait(started + deadline);
        let console = fs::read(&console).map(|c| String::from_utf8_lossy(&c).into_owned()).unwrap_or_default();
        let text = String::from_utf8_lossy(&machine.output).into_owned();
        match text.rsplit_once(STATUS_MARK) {
            Some((output, status)) if let Ok(status) = status.trim().parse() => {
                Ok(VmOutput { status, output: output.to_owned(), console })
            }
            _ if ended => Err(VmError::Ended { output: text, console }),
            _ => Err(VmError::Deadline { after: deadline, output: text, console }),
        }
    }
}

/// Precedes the exit status in what the machine writes; the record separator does not occur in text.
const STATUS_MARK: &str = "\u{1e}status ";

/// First process of the machine. The command writes to the second serial port, the kernel to the first. A machine
/// whose test was killed ends by itself.
const INIT: &str = r#"#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
mkdir -p /dev/pts /dev/shm
mount -t tmpfs run /run
stty -F /dev/ttyS1 raw -echo
(sleep "$(cat /vm/seconds)"; poweroff -f) &
ip link set lo up
while read -r module || [ -n "$module" ]; do
    [ -z "$module" ] || /sbin/modprobe "$module" || echo "cannot load module $module" >/dev/ttyS1
done </vm/modules
cd /root
setsid sh /vm/command </dev/null >/dev/ttyS1 2>&1
printf '\036status %d\n' "$?" >/dev/ttyS1
poweroff -f
"#;

/// A running qemu; killed when dropped.
struct Machine {
    qemu: Child,
    output: Vec<u8>,
    chunks: mpsc::Receiver<Vec<u8>>,
}

impl Machine {
    fn boot(vm: &Vm, initramfs: &Path, console: &Path) -> Result<Self, VmError> {
        let console = format!("file:{}", console.display());
        let mut qemu = Command::new("qemu-system-x86_64")
            .args(["-accel", "tcg", "-nodefaults", "-nographic", "-no-reboot"])
            .args(["-m", &vm.memory.to_string(), "-smp", &vm.processors.to_string()])
            .args(["-serial", &console, "-serial", "stdio"])
            .arg("-kernel")
            .arg(&vm.kernel)
            .arg("-initrd")
            .arg(initramfs)
            // On a busy host the emulated timer is too slow for the kernel's test of it, which ends in a panic.
            .args(["-append", "console=ttyS0 panic=-1 quiet random.trust_cpu=on no_timer_check"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|source| host("starting qemu-system-x86_64", source))?;
        let (send, chunks) = mpsc::channel();
        if let Some(mut stdout) = qemu.stdout.take() {
            std::thread::spawn(move || {
                let mut buffer = [0; 8192];
                while let Ok(n @ 1..) = stdout.read(&mut buffer) {
                    if send.send(buffer.get(..n).unwrap_or_default().to_vec()).is_err() {
                        break;
                    }
                }
            });
        }
        Ok(Self { qemu, output: Vec::new(), chunks })
    }

    /// Collects output until the machine ends (true) or the deadline has passed (false).
    fn wait(&mut self, deadline: Instant) -> bool {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.chunks.recv_timeout(left) {
                Ok(chunk) => self.output.extend(chunk),
                Err(mpsc::RecvTimeoutError::Disconnected) => return true,
                Err(mpsc::RecvTimeoutError::Timeout) => return false,
            }
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Fails only for a process that has already ended, which is what is wanted.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

/// A temporary folder: `tree` becomes the initramfs. Removed when dropped.
#[derive(Debug)]
struct WorkFolder {
    path: PathBuf,
}

impl WorkFolder {
    fn new() -> Result<Self, VmError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("keepalived-rs-vm-{}-{number}", std::process::id()));
        fs::create_dir_all(path.join("tree")).map_err(|e| host(format!("creating {}", path.display()), e))?;
        Ok(Self { path })
    }

    /// Where the file that the machine sees as `path` is put. `/bin`, `/lib` and the like are links into `/usr`.
    fn inside(&self, path: &Path) -> Result<PathBuf, VmError> {
        let relative = path.strip_prefix("/").unwrap_or(path);
        let merged = ["bin", "sbin", "lib", "lib64"].iter().any(|top| relative.starts_with(top));
        let tree = self.path.join("tree");
        let inside = if merged { tree.join("usr").join(relative) } else { tree.join(relative) };
        if let Some(parent) = inside.parent() {
            fs::create_dir_all(parent).map_err(|e| host(format!("creating {}", parent.display()), e))?;
        }
        Ok(inside)
    }

    fn add_text(&self, to: &Path, content: &str) -> Result<(), VmError> {
        let inside = self.inside(to)?;
        fs::write(&inside, content).map_err(|e| host(format!("writing {}", inside.display()), e))
    }

    fn add_tree(&self, from: &Path, to: &Path) -> Result<(), VmError> {
        let reading = |e| host(format!("reading {}", from.display()), e);
        if from.is_dir() {
            fs::create_dir_all(self.inside(&to.join("."))?).map_err(reading)?;
            for entry in fs::read_dir(from).map_err(reading)? {
                let entry = entry.map_err(reading)?;
                self.add_tree(&entry.path(), &to.join(entry.file_name()))?;
            }
            return Ok(());
        }
        let inside = self.inside(to)?;
        fs::copy(from, &inside).map_err(|e| host(format!("copying {}", from.display()), e)).map(drop)
    }

    fn add_program(&self, from: &Path, to: &Path) -> Result<(), VmError> {
        self.add_tree(from, to)?;
        for library in libraries(from)? {
            self.add_tree(&library, &library)?;
        }
        Ok(())
    }

    /// The base archive and the tree's own, one after the other, as the kernel accepts them.
    fn initramfs(&self, base: &Path) -> Result<PathBuf, VmError> {
        let path = self.path.join("initramfs");
        fs::copy(base, &path).map_err(|e| host(format!("copying {}", base.display()), e))?;
        let archive = File::options().append(true).open(&path).map_err(|e| host("opening the initramfs", e))?;
        pack(&self.path.join("tree"), archive)?;
        Ok(path)
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        // A folder that cannot be removed is left to the host's own clean-up.
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn host(operation: impl Into<String>, source: io::Error) -> VmError {
    VmError::Host { operation: operation.into(), source }
}

/// Where an executable of this name is; the `sbin` folders count even if `PATH` leaves them out.
fn find_program(name: impl AsRef<Path>) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let sbin = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(sbin)
        .map(|folder| folder.join(&name))
        .find(|file| fs::metadata(file).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0))
}

/// Runs a tool of the host to its end and gives its standard output.
fn tool(command: &mut Command) -> Result<Vec<u8>, VmError> {
    let operation = format!("running {}", command.get_program().display());
    let run = command.stdin(Stdio::null()).output().map_err(|e| host(&operation, e))?;
    if run.status.success() {
        Ok(run.stdout)
    } else {
        let reason = String::from_utf8_lossy(&run.stderr).trim().to_owned();
        Err(host(operation, io::Error::other(format!("{}: {reason}", run.status))))
    }
}

/// The shared libraries of a program and its loader; none for a static one.
fn libraries(program: &Path) -> Result<Vec<PathBuf>, VmError> {
    let run = Command::new("ldd").arg(program).env("LC_ALL", "C").output().map_err(|e| host("running ldd", e))?;
    let text = String::from_utf8_lossy(&run.stdout);
    let path = |line: &str| line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from);
    Ok(text.lines().filter_map(path).collect())
}

/// Appends the folder `tree` to `archive` as cpio in the kernel's format, all owned by root.
fn pack(tree: &Path, archive: File) -> Result<(), VmError> {
    let operation = "packing the initramfs";
    let mut names = Vec::new();
    list(tree, Path::new(""), &mut names).map_err(|e| host(operation, e))?;
    let mut cpio = Command::new("cpio")
        .args(["--null", "--create", "--format=newc", "--owner=0:0", "--quiet"])
        .current_dir(tree)
        .stdin(Stdio::piped())
        .stdout(archive)
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| host(operation, e))?;
    if let Some(mut stdin) = cpio.stdin.take() {
        io::Write::write_all(&mut stdin, &names).map_err(|e| host(operation, e))?;
    }
    let run = cpio.wait_with_output().map_err(|e| host(operation, e))?;
    if run.status.success() {
        return Ok(());
    }
    Err(host(operation, io::Error::other(String::from_utf8_lossy(&run.stderr).into_owned())))
}

/// Adds the relative names of all that is below `top/folder` to `names`, each ended by NUL, folders first.
fn list(top: &Path, folder: &Path, names: &mut Vec<u8>) -> io::Result<()> {
    let mut entries = fs::read_dir(top.join(folder))?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = folder.join(entry.file_name());
        names.extend_from_slice(name.as_os_str().as_encoded_bytes());
        names.push(0);
        if entry.file_type()?.is_dir() {
            list(top, &name, names)?;
        }
    }
    Ok(())
}

fn cache_folder() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let top = variable("KEEPALIVED_RS_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|c| c.join("keepalived-rs")))
        .or_else(|| variable("HOME").map(|h| h.join(".cache/keepalived-rs")))?;
    Some(top.join("vm"))
}

/// Holds the cache folder for one process until dropped.
fn lock_folder(cache: &Path) -> Result<File, VmError> {
    let operation = format!("locking {}", cache.display());
    fs::create_dir_all(cache).map_err(|e| host(&operation, e))?;
    let file = File::create(cache.join("lock")).map_err(|e| host(&operation, e))?;
    file.lock().map_err(|e| host(&operation, e))?;
    Ok(file)
}

/// The folder with the unpacked kernel package, fetched if the cache has none.
fn kernel_folder(cache: &Path) -> Result<PathBuf, Skip> {
    let unpacked = cache.join("kernel");
    if unpacked.is_dir() {
        return Ok(unpacked);
    }
    fetch_kernel(cache, &unpacked)
        .map_err(|error| Skip(format!("the kernel is not in {} and cannot be fetched: {error}", cache.display())))?;
    Ok(unpacked)
}

fn fetch_kernel(cache: &Path, unpacked: &Path) -> Result<(), VmError> {
    let fresh = cache.join("fetch");
    // What an interrupted fetch left.
    let _ = fs::remove_dir_all(&fresh);
    fs::create_dir_all(fresh.join("tree")).map_err(|e| host("creating the download folder", e))?;
    let package = kernel_package()?;
    tool(Command::new("apt-get").args(["--quiet", "download", &package]).current_dir(&fresh))?;
    let archive = fs::read_dir(&fresh)
        .map_err(|e| host("reading the download folder", e))?
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .find(|path| path.extension() == Some(OsStr::new("deb")))
        .ok_or_else(|| host(format!("downloading {package}"), io::ErrorKind::NotFound.into()))?;
    tool(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(fresh.join("tree")))?;
    let release = fs::read_dir(fresh.join("tree/lib/modules"))
        .ok()
        .and_then(|mut folders| folders.next()?.ok())
        .ok_or_else(|| host("looking for the kernel's modules", io::ErrorKind::NotFound.into()))?;
    tool(Command::new("/sbin/depmod").arg("-b").arg(fresh.join("tree")).arg(release.file_name()))?;
    fs::rename(fresh.join("tree"), unpacked).map_err(|e| host("moving the kernel into the cache", e))?;
    let _ = fs::remove_dir_all(&fresh);
    Ok(())
}

/// `linux-image-cloud-amd64` is empty and depends on the package of the current release.
fn kernel_package() -> Result<String, VmError> {
    let meta = "linux-image-cloud-amd64";
    let text = tool(Command::new("apt-cache").args(["depends", meta]).env("LC_ALL", "C"))?;
    String::from_utf8_lossy(&text)
        .lines()
        .find_map(|line| line.trim().strip_prefix("Depends: ").map(str::to_owned))
        .ok_or_else(|| host(format!("looking for the kernel behind {meta}"), io::ErrorKind::NotFound.into()))
}

fn find_kernel(unpacked: &Path) -> Option<PathBuf> {
    let boot = fs::read_dir(unpacked.join("boot")).ok()?;
    boot.filter_map(|entry| entry.ok().map(|e| e.path()))
        .find(|path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"vmlinuz")))
}

/// The archive that every machine has: busybox, kmod, modules and the first process. Made anew when the first process,
/// busybox or the kernel is another.
fn base_archive(cache: &Path, unpacked: &Path) -> Result<PathBuf, VmError> {
    let busybox = find_program("busybox").ok_or_else(|| VmError::NoProgram("busybox".into()))?;
    let stamp = format!(
        "{:016x}",
        fingerprint(&[
            INIT.as_bytes(),
            DEVICE_FOLDERS.concat().as_bytes(),
            DISKS.concat().as_bytes(),
            &modified(&busybox),
            &modified(unpacked),
        ])
    );
    let path = cache.join(format!("base-{stamp}.cpio"));
    if path.is_file() {
        return Ok(path);
    }
    let folder = WorkFolder::new()?;
    let tree = folder.path.join("tree");
    let creating = |e| host("creating the initramfs", e);
    for top in ["bin", "sbin", "lib", "lib64"] {
        fs::create_dir_all(tree.join("usr").join(top)).map_err(creating)?;
        symlink(format!("usr/{top}"), tree.join(top)).map_err(creating)?;
    }
    for mount_point in ["proc", "sys", "dev", "run", "tmp", "root", "etc", "var"] {
        fs::create_dir_all(tree.join(mount_point)).map_err(creating)?;
    }
    symlink("../run", tree.join("var/run")).map_err(creating)?;
    folder.add_text(Path::new("/etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
    folder.add_text(Path::new("/etc/group"), "root:x:0:\n")?;
    folder.add_text(Path::new("/init"), INIT)?;
    fs::set_permissions(tree.join("init"), fs::Permissions::from_mode(0o755)).map_err(creating)?;
    add_busybox(&folder, &busybox)?;
    add_modules(&folder, unpacked)?;
    let fresh = cache.join("base.new");
    pack(&tree, File::create(&fresh).map_err(creating)?)?;
    fs::rename(&fresh, &path).map_err(creating)?;
    Ok(path)
}

/// Busybox under all its names, and kmod as the program that the kernel itself calls to load a module.
fn add_busybox(folder: &WorkFolder, busybox: &Path) -> Result<(), VmError> {
    let inside = Path::new("/usr/bin/busybox");
    folder.add_program(busybox, inside)?;
    let names = tool(Command::new(busybox).arg("--list"))?;
    for name in String::from_utf8_lossy(&names).lines().filter(|name| *name != "busybox" && *name != "modprobe") {
        let link = folder.inside(&Path::new("/usr/bin").join(name))?;
        symlink(inside, &link).map_err(|e| host(format!("linking {name}"), e))?;
    }
    let kmod = find_program("kmod").ok_or_else(|| VmError::NoProgram("kmod".into()))?;
    folder.add_program(&kmod, Path::new("/usr/bin/kmod"))?;
    symlink("/usr/bin/kmod", folder.inside(Path::new("/usr/sbin/modprobe"))?).map_err(|e| host("linking modprobe", e))
}

/// The modules of the network stack and the simple network devices, with all they depend on.
fn add_modules(folder: &WorkFolder, unpacked: &Path) -> Result<(), VmError> {
    let modules = unpacked.join("lib/modules");
    let release = fs::read_dir(&modules)
        .ok()
        .and_then(|mut folders| folders.next()?.ok())
        .ok_or_else(|| host("looking for the kernel's modules", io::ErrorKind::NotFound.into()))?
        .file_name();
    let from = modules.join(&release);
    let to = Path::new("/lib/modules").join(&release);
    let dependencies =
        fs::read_to_string(from.join("modules.dep")).map_err(|e| host("reading modules.dep of the kernel", e))?;
    for module in needed_modules(&dependencies) {
        folder.add_tree(&from.join(module), &to.join(module))?;
    }
    for index in ["modules.builtin", "modules.builtin.modinfo", "modules.order"] {
        folder.add_tree(&from.join(index), &to.join(index))?;
    }
    let tree = folder.path.join("tree/usr");
    tool(Command::new("/sbin/depmod").arg("-b").arg(tree).arg(&release)).map(drop)
}

/// Names from a `modules.dep`, whose lines are `MODULE: WHAT IT NEEDS`, already closed over dependencies.
fn needed_modules(dependencies: &str) -> BTreeSet<&str> {
    let table: BTreeMap<&str, &str> = dependencies.lines().filter_map(|line| line.split_once(':')).collect();
    table
        .iter()
        .filter(|(module, _)| is_root_module(module))
        .flat_map(|(module, needs)| std::iter::once(*module).chain(needs.split_whitespace()))
        .collect()
}

/// Below the kernel's `drivers/net`: links that are made of others.
const DEVICE_FOLDERS: [&str; 3] = ["bonding/", "ipvlan/", "macvlan"];

/// Disks that can be stopped.
const DISKS: [&str; 2] = ["kernel/drivers/block/loop.ko", "kernel/drivers/md/dm-mod.ko"];

fn is_root_module(module: &str) -> bool {
    let is_device = |rest: &str| !rest.contains('/') || DEVICE_FOLDERS.iter().any(|folder| rest.starts_with(folder));
    module.starts_with("kernel/net/")
        || module.starts_with("kernel/lib/")
        || DISKS.contains(&module)
        || module.strip_prefix("kernel/drivers/net/").is_some_and(is_device)
}

/// When a file was last changed, as bytes; nothing for a file that is not there.
fn modified(path: &Path) -> Vec<u8> {
    let time = fs::metadata(path).and_then(|m| m.modified()).ok();
    time.map(|t| format!("{t:?}").into_bytes()).unwrap_or_default()
}

/// FNV-1a: names a cached file after what it was made from.
fn fingerprint(parts: &[&[u8]]) -> u64 {
    let octets = parts.iter().flat_map(|part| part.iter().chain(std::iter::once(&0xff)));
    octets.fold(0xcbf2_9ce4_8422_2325, |hash, octet| (hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_come_with_what_they_need() {
        let table = "kernel/net/netfilter/ipvs/ip_vs.ko: kernel/lib/libcrc32c.ko kernel/crypto/crc32c.ko\n\
                     kernel/fs/ext4/ext4.ko: kernel/fs/jbd2/jbd2.ko\n\
                     kernel/drivers/net/dummy.ko:\n\
                     kernel/drivers/net/ethernet/intel/e1000.ko:\n\
                     kernel/lib/libcrc32c.ko:\n";
        let expected = [
            "kernel/crypto/crc32c.ko",
            "kernel/drivers/net/dummy.ko",
            "kernel/lib/libcrc32c.ko",
            "kernel/net/netfilter/ipvs/ip_vs.ko",
        ];
        assert_eq!(needed_modules(table), BTreeSet::from(expected));
    }

    #[test]
    fn a_program_that_does_not_exist_is_named() {
        let work = WorkFolder::new().unwrap();
        let vm =
            Vm { kernel: PathBuf::new(), base: PathBuf::new(), work, modules: Vec::new(), memory: 0, processors: 1 };
        let error = vm.program("no-such-program-here").unwrap_err();
        assert_eq!(error.to_string(), "no program no-such-program-here on this host");
    }

    #[test]
    fn fingerprints_tell_parts_apart() {
        assert_ne!(fingerprint(&[b"ab", b"c"]), fingerprint(&[b"a", b"bc"]));
    }
}
