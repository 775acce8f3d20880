//! Other people's programs to test against: Debian packages, unpacked and never installed.
//!
//! `crates/netlab/peers.sh` fetches them (`apt-get download`) into `$KEEPALIVED_RS_PEERS`, or else `peers` in the cache folder
//! that [`vm`](crate::vm) uses too, one tree per package.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Skip;
use crate::process::Program;
use crate::vm::{Vm, VmError};

/// The folder with one unpacked tree per package.
pub const FOLDER: &str = "KEEPALIVED_RS_PEERS";

/// A program and where its libraries are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The program.
    pub path: PathBuf,
    /// Folders of its own libraries; none for a program that is installed.
    pub libraries: Vec<PathBuf>,
}

impl Peer {
    /// To be started in a [`Host`](crate::Host).
    pub fn program(&self) -> Program {
        self.program_as(&self.path)
    }

    /// Another program with the libraries of this one: a copy of it, or a shell that executes it.
    pub fn program_as(&self, copy: &Path) -> Program {
        let program = Program::new(copy);
        match env::join_paths(&self.libraries) {
            Ok(path) if !path.is_empty() => program.env("LD_LIBRARY_PATH", path),
            _ => program,
        }
    }

    /// To be started by other means.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        if let (false, Ok(path)) = (self.libraries.is_empty(), env::join_paths(&self.libraries)) {
            command.env("LD_LIBRARY_PATH", path);
        }
        command
    }

    /// Adds it, with its libraries, to a virtual machine, where this value then stands for it too.
    ///
    /// # Errors
    /// The files cannot be copied.
    pub fn add_to(&self, vm: Vm) -> Result<Vm, VmError> {
        let vm = vm.program(&self.path)?;
        // Its libraries need libraries of the machine in turn.
        let libraries = self.libraries.iter().filter_map(|folder| folder.read_dir().ok()).flatten().flatten();
        let libraries = libraries.map(|entry| entry.path()).filter(|path| path.to_string_lossy().contains(".so"));
        let vm = libraries.filter(|path| path.is_file()).try_fold(vm, |vm, path| vm.program(path))?;
        self.libraries.iter().try_fold(vm, |vm, folder| vm.file(folder, folder))
    }
}

/// C keepalived, as Debian builds it. Only the unpacked one counts: an installed program of that name may be another version, or ours.
///
/// # Errors
/// [`Skip`] if it was not fetched.
pub fn keepalived() -> Result<Peer, Skip> {
    unpacked("keepalived", "usr/sbin/keepalived")
}

/// A daemon of FRR as Debian builds it: `zebra`, `vrrpd`.
///
/// # Errors
/// [`Skip`] if it was not fetched.
pub fn frr(daemon: &str) -> Result<Peer, Skip> {
    let mut peer = unpacked("frr", &format!("usr/lib/frr/{daemon}"))?;
    // Its own libraries lie one folder below the others.
    let own: Vec<_> = peer.libraries.iter().map(|folder| folder.join("frr")).filter(|folder| folder.is_dir()).collect();
    peer.libraries.extend(own);
    Ok(peer)
}

/// tshark, installed or unpacked.
///
/// # Errors
/// [`Skip`] if there is none.
pub fn tshark() -> Result<Peer, Skip> {
    installed("tshark").map_or_else(|| unpacked("tshark", "usr/bin/tshark"), Ok)
}

/// ipvsadm, installed or unpacked.
///
/// # Errors
/// [`Skip`] if there is none.
pub fn ipvsadm() -> Result<Peer, Skip> {
    installed("ipvsadm").map_or_else(|| unpacked("ipvsadm", "sbin/ipvsadm"), Ok)
}

/// nft, installed or unpacked.
///
/// # Errors
/// [`Skip`] if there is none.
pub fn nft() -> Result<Peer, Skip> {
    installed("nft").map_or_else(|| unpacked("nftables", "usr/sbin/nft"), Ok)
}

/// systemd-networkd, installed or unpacked.
///
/// # Errors
/// [`Skip`] if there is none.
pub fn networkd() -> Result<Peer, Skip> {
    const PATH: &str = "lib/systemd/systemd-networkd";
    let installed = Path::new("/").join(PATH);
    if installed.is_file() {
        return Ok(Peer { path: installed, libraries: Vec::new() });
    }
    let mut peer = unpacked("systemd", PATH)?;
    let own: Vec<_> = peer.libraries.iter().map(|folder| folder.join("systemd")).filter(|it| it.is_dir()).collect();
    peer.libraries.extend(own);
    Ok(peer)
}

/// A program of a package that was fetched by `peers.sh`: `path` is relative to the root.
///
/// # Errors
/// [`Skip`] if it was not.
pub fn unpacked(package: &str, path: &str) -> Result<Peer, Skip> {
    let tree = folder().map(|folder| folder.join(package)).unwrap_or_default();
    let path = tree.join(path);
    if !path.is_file() {
        return Err(Skip(format!("no {package} to test against; crates/netlab/peers.sh {package} fetches it")));
    }
    Ok(Peer { path, libraries: ["usr/lib", "lib"].iter().flat_map(|folder| libraries(&tree.join(folder))).collect() })
}

/// As in `peers.sh`.
fn folder() -> Option<PathBuf> {
    let folder = |variable, below| {
        let value = env::var_os(variable).filter(|value| !value.is_empty())?;
        Some(Path::new(&value).join(below))
    };
    folder(FOLDER, "")
        .or_else(|| folder("KEEPALIVED_RS_CACHE", "peers"))
        .or_else(|| folder("XDG_CACHE_HOME", "keepalived-rs/peers"))
        .or_else(|| folder("HOME", ".cache/keepalived-rs/peers"))
}

/// Debian keeps libraries in a folder per architecture, for instance x86_64-linux-gnu.
fn libraries(folder: &Path) -> Vec<PathBuf> {
    let entries = folder.read_dir().into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().contains("-linux-gnu") && path.is_dir())
        .collect()
}

fn installed(program: &str) -> Option<Peer> {
    let path =
        env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(program)).find(|path| path.is_file())?;
    Some(Peer { path, libraries: Vec::new() })
}
