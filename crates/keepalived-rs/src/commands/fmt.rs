//! `config fmt`: a file in its usual form.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use conf_parser::{Loader, MemoryLoader, Options, format, parse};

use super::{Arguments, DEFAULT_FILE, print, write};
use crate::reader::FileLoader;

/// Exit status when `--check` found a file that is not formatted.
const EXIT_NOT_FORMATTED: u8 = 1;

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let default = [PathBuf::from(DEFAULT_FILE)];
    let files = if arguments.operands.is_empty() { &default[..] } else { &arguments.operands };
    if arguments.check && arguments.write {
        bail!("--check and --write exclude each other");
    }
    if files.len() > 1 && !arguments.check && !arguments.write {
        bail!("more than one file needs --check or --write");
    }
    let mut status = 0;
    for file in files {
        let before = read(file)?;
        let after = format::format(&before);
        if !arguments.check && !arguments.write {
            write(&after)?;
        } else if before != after {
            if arguments.write {
                ensure!(file != Path::new("-"), "standard input cannot be written back");
                ensure!(
                    meaning(&before) == meaning(&after),
                    "{} would mean something else: it is left alone",
                    file.display()
                );
                replace(file, &after).with_context(|| format!("writing {}", file.display()))?;
            } else {
                status = EXIT_NOT_FORMATTED;
            }
            print(&format!("{}\n", file.display()))?;
        }
    }
    Ok(status)
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    if file == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).context("reading standard input")?;
        return Ok(bytes);
    }
    FileLoader.load(file).with_context(|| format!("reading {}", file.display()))
}

/// What a file means by itself, whatever it includes.
fn meaning(bytes: &[u8]) -> (conf_parser::Config, Vec<String>) {
    let file = Path::new("keepalived.conf");
    let parsed = parse(&MemoryLoader::new([(file, bytes)]), file, &Options::default());
    (parsed.config, parsed.diagnostics.into_iter().map(|finding| finding.message).collect())
}

/// Puts a new file in the place of an old one, which is there at every moment. Mode and owner stay, and so does a link
/// that leads to it.
fn replace(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let file = fs::canonicalize(file)?;
    let old = fs::metadata(&file)?;
    let (Some(directory), Some(name)) = (file.parent(), file.file_name()) else { bail!("it is no file") };
    let new = directory.join(format!(".{}.{}.new", name.to_string_lossy(), std::process::id()));
    let written = (|| {
        let mut output = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        output.write_all(bytes)?;
        let made = output.metadata()?;
        if (made.uid(), made.gid()) != (old.uid(), old.gid()) {
            fchown(&output, Some(old.uid()), Some(old.gid())).context("keeping its owner")?;
        }
        output.set_permissions(Permissions::from_mode(old.mode() & 0o7777))?;
        output.sync_all()?;
        fs::rename(&new, &file)?;
        File::open(directory)?.sync_all()?;
        anyhow::Ok(())
    })();
    if written.is_err() {
        // Where it is already gone, or cannot be removed either, the first error is the one to tell.
        let _ = fs::remove_file(&new);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_keeps_its_mode_and_its_link() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("k.conf");
        let link = directory.path().join("link.conf");
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("k.conf", &link).unwrap();
        replace(&link, b"new").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }
}
