//! Tracked files: what number they hold, learned whenever their directory reports that one was written, renamed or
//! deleted (`behaviour.md` §3.9). Nothing is polled.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use conf_parser::config::InitFile;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tokio::task::JoinSet;
use tracing::{error, warn};

use crate::config::runner::TrackedFile;

/// So much of a file is looked at: more than a number and the space before it need.
const LONGEST: u64 = 128;

/// Room for a few dozen events.
const EVENTS: usize = 8192;

/// Files, and a descriptor that reports on their directories.
#[derive(Debug)]
pub(super) struct Watch {
    inotify: OwnedFd,
    places: Places,
}

/// Files by name, and their directories by the number of the watch.
#[derive(Debug, Default)]
struct Places {
    directories: BTreeMap<i32, PathBuf>,
    files: BTreeMap<String, TrackedFile>,
}

impl Watch {
    /// Watches the directory of every file. May block. What cannot be watched is said, and read once all the same.
    ///
    /// # Errors
    /// When the kernel has no descriptor left.
    pub(super) fn open(files: BTreeMap<String, TrackedFile>) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let mut places = Places { directories: BTreeMap::new(), files };
        let flags = WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        let directories: BTreeSet<_> = places.files.values().map(|file| directory(&file.path).to_owned()).collect();
        for directory in directories {
            match inotify::add_watch(&inotify, &directory, flags) {
                Ok(number) => {
                    places.directories.insert(number, directory);
                }
                Err(error) => error!(
                    "The directory {} of a track_file cannot be watched, changes go unnoticed until a reload - {error}",
                    directory.display()
                ),
            }
        }
        Ok(Self { inotify, places })
    }
}

impl Places {
    /// The names of the files that what happened in a directory may have changed. An event without a name is about the
    /// directory itself.
    fn affected<'a>(&'a self, number: i32, name: Option<&'a OsStr>) -> impl Iterator<Item = &'a str> {
        let place = self.directories.get(&number);
        let is_meant = move |file: &TrackedFile| {
            place.is_some_and(|place| directory(&file.path) == place)
                && name.is_none_or(|name| file.path.file_name() == Some(name))
        };
        self.files.iter().filter(move |(_, file)| is_meant(file)).map(|(name, _)| name.as_str())
    }
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The files of the running configuration.
#[derive(Debug, Default)]
pub(super) struct Files {
    events: Option<Events>,
    places: Places,
    /// Which are being read, and whether that has to be repeated.
    reading: BTreeMap<String, bool>,
    jobs: JoinSet<(String, i64)>,
}

/// The descriptor that reports on directories, awaited.
#[derive(Debug)]
struct Events {
    inotify: OwnedFd,
    /// The same; tokio's only safe way to watch a descriptor of a type that it does not know itself.
    watch: UnixDatagram,
}

/// What happened.
#[derive(Debug)]
pub(super) enum Event {
    /// Something in the directories.
    Noticed(BTreeSet<String>),
    /// A file was read and holds this number.
    Read(String, i64),
}

impl Files {
    /// Watches these files from now on, and reads them all. With `init`, those with an `init_file` are written first.
    ///
    /// # Errors
    /// The kernel's, when the descriptor cannot be waited for.
    pub(super) fn configure(&mut self, watch: Option<Watch>, init: bool) -> io::Result<()> {
        // What is still being read belongs to the files of before.
        *self = Self::default();
        let Some(Watch { inotify, places }) = watch else { return Ok(()) };
        let watch = UnixDatagram::from_std(inotify.try_clone()?.into())?;
        self.events = Some(Events { inotify, watch });
        self.places = places;
        for (name, file) in &self.places.files {
            self.reading.insert(name.clone(), false);
            let (name, file) = (name.clone(), file.clone());
            self.jobs.spawn_blocking(move || {
                if let Some(init_file) = file.init.filter(|_| init) {
                    initialise(&name, &file.path, init_file);
                }
                let number = read(&file.path);
                (name, number)
            });
        }
        Ok(())
    }

    /// Whether a file of this name is watched.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.places.files.contains_key(name)
    }

    /// The next event; never, without files. May be dropped without losing one.
    pub(super) async fn next(&mut self) -> Event {
        let Self { events, places, jobs, .. } = self;
        tokio::select! {
            noticed = noticed(events.as_ref(), places) => Event::Noticed(noticed),
            Some(Ok((name, number))) = jobs.join_next() => Event::Read(name, number),
        }
    }

    /// Takes an event; the file whose number is known now.
    pub(super) fn take(&mut self, event: Event) -> Option<(String, i64)> {
        match event {
            Event::Noticed(names) => {
                for name in names {
                    self.look(name);
                }
                None
            }
            Event::Read(name, number) => {
                if self.reading.remove(&name) == Some(true) {
                    self.look(name.clone());
                }
                Some((name, number))
            }
        }
    }

    /// Reads a file, now or once it has been read.
    fn look(&mut self, name: String) {
        if let Some(again) = self.reading.get_mut(&name) {
            *again = true;
            return;
        }
        let Some(file) = self.places.files.get(&name) else { return };
        let path = file.path.clone();
        self.reading.insert(name.clone(), false);
        self.jobs.spawn_blocking(move || {
            let number = read(&path);
            (name, number)
        });
    }
}

/// The files that may have changed, once there are any.
async fn noticed(events: Option<&Events>, places: &Places) -> BTreeSet<String> {
    let Some(events) = events else { return std::future::pending().await };
    loop {
        let mut names = BTreeSet::new();
        let drained = events.watch.readable().await.and_then(|()| {
            events.watch.try_io(Interest::READABLE, || Err::<(), _>(collect(&events.inotify, places, &mut names)))
        });
        match drained {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                error!("Changes of track_files are not noticed until a reload - {error}");
                return std::future::pending().await;
            }
            _ if names.is_empty() => {}
            _ => return names,
        }
    }
}

/// Takes every event that waits; the error that ended it: `WouldBlock` once there is none.
fn collect(inotify: &OwnedFd, places: &Places, names: &mut BTreeSet<String>) -> io::Error {
    let mut buffer = [MaybeUninit::uninit(); EVENTS];
    let mut reader = inotify::Reader::new(inotify, &mut buffer);
    loop {
        match reader.next() {
            Ok(event) if event.events().contains(ReadFlags::QUEUE_OVERFLOW) => {
                names.extend(places.files.keys().cloned());
            }
            Ok(event) => {
                if event.events().contains(ReadFlags::IGNORED)
                    && let Some(directory) = places.directories.get(&event.wd())
                {
                    warn!("The directory {} of a track_file is gone until a reload", directory.display());
                }
                let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
                names.extend(places.affected(event.wd(), name).map(str::to_owned));
            }
            Err(error) => return error.into(),
        }
    }
}

/// The number in a file; 0 if it is not there or cannot be read. May block.
fn read(path: &Path) -> i64 {
    let mut bytes = Vec::new();
    // A pipe that nobody writes into is empty.
    let opened = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path);
    match opened.and_then(|file| file.take(LONGEST).read_to_end(&mut bytes)) {
        Ok(_) => number(&bytes),
        Err(_) => 0,
    }
}

/// The number that `text` begins with, as C reads one: decimal, octal after `0`, hexadecimal after `0x`. Without one, 0.
fn number(text: &[u8]) -> i64 {
    let text = text.trim_ascii_start();
    let (negative, text) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, text),
    };
    let (radix, digits) = match text {
        [b'0', b'x' | b'X', digits @ ..] => (16, digits),
        [b'0', ..] => (8, text),
        _ => (10, text),
    };
    let digits = digits.iter().map_while(|digit| char::from(*digit).to_digit(radix));
    let sign = if negative { -1 } else { 1 };
    digits.fold(0i64, |number, digit| number.saturating_mul(radix.into()).saturating_add(sign * i64::from(digit)))
}

/// Writes the start value into a file that is not there, or into any regular file with `overwrite`. May block.
fn initialise(name: &str, path: &Path, InitFile { value, overwrite }: InitFile) {
    let written = match OpenOptions::new().write(true).create_new(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && overwrite => truncated(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return,
        opened => opened,
    };
    if let Err(error) = written.and_then(|mut file| writeln!(file, "{value}")) {
        error!("Unable to write init_file of track_file {name}, {} - {error}", path.display());
    }
}

fn truncated(path: &Path) -> io::Result<File> {
    let flags = nix::libc::O_NONBLOCK;
    let file = OpenOptions::new().write(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    file.set_len(0)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_c_reads_them() {
        let read: [(&str, i64); 13] = [
            ("12\n", 12),
            ("  -7 and more", -7),
            ("+3", 3),
            ("0x1F", 31),
            ("-0x10", -16),
            ("010", 8),
            ("08", 0),
            ("0", 0),
            ("", 0),
            ("twelve", 0),
            ("-", 0),
            ("99999999999999999999", i64::MAX),
            ("-99999999999999999999", i64::MIN),
        ];
        for (text, expected) in read {
            assert_eq!(number(text.as_bytes()), expected, "{text}");
        }
    }

    fn tracked(path: &str) -> TrackedFile {
        TrackedFile { path: path.into(), init: None }
    }

    #[test]
    fn an_event_is_about_the_files_of_that_name_in_its_directory() {
        let files = [("a", "/d/a"), ("again", "/d/a"), ("b", "/d/b"), ("other", "/e/a")];
        let places = Places {
            directories: [(1, "/d".into()), (2, "/e".into())].into(),
            files: files.map(|(name, path)| (name.to_owned(), tracked(path))).into(),
        };
        let affected =
            |number, name: Option<&'static str>| places.affected(number, name.map(OsStr::new)).collect::<Vec<_>>();
        assert_eq!(affected(1, Some("a")), ["a", "again"]);
        assert_eq!(affected(2, Some("a")), ["other"]);
        assert_eq!(affected(2, Some("b")), [""; 0]);
        assert_eq!(affected(1, None), ["a", "again", "b"], "the directory itself");
        assert_eq!(affected(3, None), [""; 0]);
    }

    #[test]
    fn a_start_value_replaces_only_what_it_may() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        let init = |value, overwrite| initialise("f", &path, InitFile { value, overwrite });
        init(5, false);
        assert_eq!(read(&path), 5);
        init(-6, false);
        assert_eq!(read(&path), 5);
        init(-6, true);
        assert_eq!(read(&path), -6);
        std::fs::write(&path, "a longer text than the value").unwrap();
        init(1, true);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1\n");
        assert_eq!(read(&directory.path().join("none")), 0);
    }

    /// The number of the only file, once it is known.
    async fn next_number(files: &mut Files) -> i64 {
        loop {
            let event = tokio::time::timeout(std::time::Duration::from_secs(10), files.next()).await.unwrap();
            if let Some((_, number)) = files.take(event) {
                return number;
            }
        }
    }

    #[tokio::test]
    async fn what_is_written_renamed_and_deleted_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        let tracked = TrackedFile { path: path.clone(), init: Some(InitFile { value: 4, overwrite: false }) };
        let mut files = Files::default();
        files.configure(Some(Watch::open([("f".to_owned(), tracked)].into()).unwrap()), true).unwrap();
        while next_number(&mut files).await != 4 {}
        std::fs::write(&path, "-20").unwrap();
        while next_number(&mut files).await != -20 {}
        let aside = directory.path().join("aside");
        std::fs::write(&aside, "7").unwrap();
        std::fs::rename(&aside, &path).unwrap();
        while next_number(&mut files).await != 7 {}
        std::fs::remove_file(&path).unwrap();
        while next_number(&mut files).await != 0 {}
    }
}
