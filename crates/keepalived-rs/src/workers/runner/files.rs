//! Tracked files: what number they hold, learned whenever their directory reports that one was written, renamed or
//! deleted (`behaviour.md` §3.9). Nothing is polled. A directory that is not there is waited for in the nearest one above it.
//! One above it that is renamed while it is there goes unnoticed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use conf_parser::config::InitFile;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tokio::task::JoinSet;
use tracing::{error, warn};

use crate::config::runner::TrackedFile;
use crate::ipc::Role;

/// So much of a file is looked at: more than a number and the space before it need.
const LONGEST: u64 = 128;

/// What a number may be: with Debian's keepalived, also 2147483648.
const NUMBERS: RangeInclusive<i64> = -(1 << 31)..=1 << 31;

/// Room for a few dozen events.
const EVENTS: usize = 8192;

/// Files, and a descriptor that reports on their directories.
#[derive(Debug)]
pub(super) struct Watch {
    inotify: OwnedFd,
    places: Places,
}

/// How often a directory may come or go while the one to watch for it is looked for.
const ATTEMPTS: usize = 16;

/// What is watched by the number of the watch: directories of files, or those above them that are there. One that has
/// several paths has one number.
type Directories = BTreeMap<i32, BTreeSet<PathBuf>>;

/// Files by name, and what is watched for them.
#[derive(Debug, Default)]
struct Places {
    directories: Directories,
    files: BTreeMap<String, TrackedFile>,
}

impl Watch {
    /// Watches the directory of every file. May block. What cannot be watched is said, and read once all the same.
    ///
    /// # Errors
    /// When the kernel has no descriptor left.
    pub(super) fn open(files: BTreeMap<String, TrackedFile>) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let directories = watch(&inotify, &directories(&files), &BTreeMap::new());
        Ok(Self { inotify, places: Places { directories, files } })
    }
}

fn directories(files: &BTreeMap<String, TrackedFile>) -> BTreeSet<PathBuf> {
    files.values().map(|file| directory(&file.path).to_owned()).collect()
}

/// Watches each directory, or the nearest one above it that is there, and nothing else that was watched `before`. May
/// block.
fn watch(inotify: &OwnedFd, directories: &BTreeSet<PathBuf>, before: &Directories) -> Directories {
    let mut watched = Directories::new();
    let mut passed = BTreeSet::new();
    for directory in directories {
        match watch_nearest(inotify, directory, &mut passed) {
            Ok((number, nearest)) => {
                if nearest != *directory {
                    warn!(
                        "The directory {} of a track_file is not there, {} is watched for it",
                        directory.display(),
                        nearest.display()
                    );
                }
                watched.entry(number).or_default().insert(nearest);
            }
            Err(error) => error!(
                "The directory {} of a track_file cannot be watched, changes go unnoticed until a reload - {error}",
                directory.display()
            ),
        }
    }
    passed.extend(before.keys());
    for number in passed.iter().filter(|number| !watched.contains_key(number)) {
        // The kernel has forgotten those whose directory is gone.
        let _ = inotify::remove_watch(inotify, *number);
    }
    watched
}

/// Watches `directory` or the nearest one above it that is there; those that were not the nearest any more once they were
/// watched go to `passed`.
fn watch_nearest(inotify: &OwnedFd, directory: &Path, passed: &mut BTreeSet<i32>) -> io::Result<(i32, PathBuf)> {
    // Whether it is here or above, and for whom else it is watched.
    let for_all = WatchFlags::CREATE
        | WatchFlags::MOVED_TO
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF
        | WatchFlags::ONLYDIR
        | WatchFlags::MASK_ADD;
    let for_files = WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_FROM | WatchFlags::DELETE;
    let mut last = io::ErrorKind::NotFound.into();
    for _ in 0..ATTEMPTS {
        let nearest = nearest(directory);
        let flags = if nearest == directory { for_all | for_files } else { for_all };
        match inotify::add_watch(inotify, nearest, flags) {
            // What has come meanwhile was not watched.
            Ok(number) if self::nearest(directory) == nearest => return Ok((number, nearest.to_owned())),
            Ok(number) => _ = passed.insert(number),
            Err(Errno::NOENT | Errno::NOTDIR) => last = Errno::NOENT.into(),
            Err(error) => return Err(error.into()),
        }
    }
    Err(last)
}

/// The directory itself or the nearest one above it that is there.
fn nearest(directory: &Path) -> &Path {
    directory.ancestors().find(|above| above.is_dir()).unwrap_or(Path::new(if directory.is_absolute() {
        "/"
    } else {
        "."
    }))
}

impl Places {
    /// The names of the files that what happened in a directory may have changed. An event without a name is about the
    /// directory itself.
    fn affected<'a>(&'a self, number: i32, name: Option<&'a OsStr>) -> impl Iterator<Item = &'a str> {
        let places = self.directories.get(&number);
        let is_meant = move |file: &TrackedFile| {
            places.is_some_and(|places| places.contains(directory(&file.path)))
                && name.is_none_or(|name| file.path.file_name() == Some(name))
        };
        self.files.iter().filter(move |(_, file)| is_meant(file)).map(|(name, _)| name.as_str())
    }

    /// The names of the files whose directory was not watched all the time since it was `before`.
    fn unsteady(&self, before: &Directories) -> Vec<String> {
        let is_steady = |directory: &Path| {
            let mut same = self.directories.iter().filter_map(|(number, now)| Some((now, before.get(number)?)));
            same.any(|(now, before)| now.contains(directory) && before.contains(directory))
        };
        let files = self.files.iter().filter(|(_, file)| !is_steady(directory(&file.path)));
        files.map(|(name, _)| name.clone()).collect()
    }

    /// Whether the directories to watch are others after what happened in one.
    fn moves(&self, number: i32, events: ReadFlags, name: Option<&OsStr>) -> bool {
        let Some(places) = self.directories.get(&number) else { return false };
        if events.intersects(ReadFlags::IGNORED | ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF) {
            return true;
        }
        let Some(name) = name.filter(|_| events.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO)) else {
            return false;
        };
        let is_above = |path: &Path| self.files.values().any(|file| directory(&file.path).starts_with(path));
        places.iter().any(|place| is_above(&place.join(name)))
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
    /// The last number of each that was one.
    numbers: BTreeMap<String, i64>,
    /// Which are being read, and whether that has to be repeated.
    reading: BTreeMap<String, bool>,
    /// The directories to watch are being looked for, and whether that has to be repeated.
    moving: Option<bool>,
    jobs: JoinSet<Event>,
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
    Noticed(Noticed),
    /// These are watched now.
    Watched(Directories),
    /// A file was read and holds this number, or one that nobody could want.
    Read(String, Option<i64>),
}

/// What happened in the directories.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Noticed {
    /// The files that may have changed.
    names: BTreeSet<String>,
    /// The directories to watch may be others.
    moves: bool,
    /// Something that is not known yet.
    unknown: bool,
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
                Event::Read(name, number)
            });
        }
        Ok(())
    }

    /// The names of the files that are watched.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.places.files.keys().map(String::as_str)
    }

    /// Whether this worker follows the file of this name.
    pub(super) fn is_followed_by(&self, name: &str, role: Role) -> bool {
        self.places.files.get(name).is_some_and(|file| file.followers.contains(&role))
    }

    /// The next event; never, without files. May be dropped without losing one.
    pub(super) async fn next(&mut self) -> Event {
        let Self { events, places, jobs, .. } = self;
        tokio::select! {
            noticed = noticed(events.as_ref(), places) => Event::Noticed(noticed),
            Some(Ok(event)) = jobs.join_next() => event,
        }
    }

    /// Takes an event; the file whose number is known now.
    pub(super) fn take(&mut self, event: Event) -> Option<(String, i64)> {
        match event {
            Event::Noticed(Noticed { names, moves, unknown }) => {
                for name in names {
                    self.look(name);
                }
                match &mut self.moving {
                    Some(again) => *again |= moves || unknown,
                    None if moves => self.find_directories(),
                    None => {}
                }
                None
            }
            Event::Watched(directories) => {
                // What happened in those that are new went unnoticed before now, and so did the last of what happened in
                // those that are not watched any more. A file whose directory is not there may have been read meanwhile.
                let before = std::mem::replace(&mut self.places.directories, directories);
                let names = self.places.unsteady(&before);
                for name in names {
                    self.look(name);
                }
                if self.moving.take() == Some(true) {
                    self.find_directories();
                }
                None
            }
            Event::Read(name, number) => {
                if self.reading.remove(&name) == Some(true) {
                    self.look(name.clone());
                }
                let before = self.numbers.get(&name).copied().unwrap_or_default();
                let number = number.unwrap_or(before);
                self.numbers.insert(name.clone(), number);
                Some((name, number))
            }
        }
    }

    /// Watches the directories anew, as far as they are there.
    fn find_directories(&mut self) {
        let inotify = self.events.as_ref().map(|events| events.inotify.try_clone());
        let inotify = match inotify {
            Some(Ok(inotify)) => inotify,
            Some(Err(error)) => return error!("Changes of track_files are not noticed until a reload - {error}"),
            None => return,
        };
        let (wanted, before) = (directories(&self.places.files), self.places.directories.clone());
        self.moving = Some(false);
        self.jobs.spawn_blocking(move || Event::Watched(watch(&inotify, &wanted, &before)));
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
            Event::Read(name, number)
        });
    }
}

/// What happened, once something has.
async fn noticed(events: Option<&Events>, places: &Places) -> Noticed {
    let Some(events) = events else { return std::future::pending().await };
    loop {
        let mut noticed = Noticed::default();
        let drained = events.watch.readable().await.and_then(|()| {
            events.watch.try_io(Interest::READABLE, || Err::<(), _>(collect(&events.inotify, places, &mut noticed)))
        });
        match drained {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                error!("Changes of track_files are not noticed until a reload - {error}");
                return std::future::pending().await;
            }
            _ if noticed == Noticed::default() => {}
            _ => return noticed,
        }
    }
}

/// Takes every event that waits; the error that ended it: `WouldBlock` once there is none.
fn collect(inotify: &OwnedFd, places: &Places, noticed: &mut Noticed) -> io::Error {
    let mut buffer = [MaybeUninit::uninit(); EVENTS];
    let mut reader = inotify::Reader::new(inotify, &mut buffer);
    loop {
        match reader.next() {
            Ok(event) if event.events().contains(ReadFlags::QUEUE_OVERFLOW) => {
                noticed.names.extend(places.files.keys().cloned());
                noticed.moves = true;
            }
            Ok(event) => {
                let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
                noticed.moves |= places.moves(event.wd(), event.events(), name);
                noticed.unknown |= !places.directories.contains_key(&event.wd());
                // One that was only made has yet to be written.
                if !event.events().contains(ReadFlags::CREATE) {
                    noticed.names.extend(places.affected(event.wd(), name).map(str::to_owned));
                }
            }
            Err(error) => return error.into(),
        }
    }
}

/// The number in a file; 0 if it is not there or cannot be read, nothing if it is too large. May block.
fn read(path: &Path) -> Option<i64> {
    let mut bytes = Vec::new();
    // A pipe that nobody writes into is empty.
    let opened = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path);
    match opened.and_then(|file| file.take(LONGEST).read_to_end(&mut bytes)) {
        Ok(_) => {
            let number = Some(number(&bytes)).filter(|number| NUMBERS.contains(number));
            if number.is_none() {
                warn!("Invalid number read from {} - ignoring", path.display());
            }
            number
        }
        Err(_) => Some(0),
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
        TrackedFile { path: path.into(), init: None, followers: BTreeSet::new() }
    }

    #[test]
    fn an_event_is_about_the_files_of_that_name_in_its_directory() {
        let files = [("a", "/d/a"), ("again", "/d/a"), ("b", "/d/b"), ("linked", "/link/a"), ("other", "/e/a")];
        let places = Places {
            directories: [(1, ["/d".into()].into()), (2, ["/e".into(), "/link".into()].into())].into(),
            files: files.map(|(name, path)| (name.to_owned(), tracked(path))).into(),
        };
        let affected =
            |number, name: Option<&'static str>| places.affected(number, name.map(OsStr::new)).collect::<Vec<_>>();
        assert_eq!(affected(1, Some("a")), ["a", "again"]);
        assert_eq!(affected(2, Some("a")), ["linked", "other"]);
        assert_eq!(affected(2, Some("b")), [""; 0]);
        assert_eq!(affected(1, None), ["a", "again", "b"], "the directory itself");
        assert_eq!(affected(3, None), [""; 0]);
    }

    #[test]
    fn what_comes_above_a_directory_or_goes_with_it_moves_the_watch() {
        let places = Places {
            directories: [(1, ["/d".into()].into()), (2, ["/e".into()].into())].into(),
            files: [("a".to_owned(), tracked("/d/sub/deep/a")), ("b".to_owned(), tracked("/e/b"))].into(),
        };
        let moves = |number, events, name: &'static str| {
            places.moves(number, events, Some(OsStr::new(name)).filter(|name| !name.is_empty()))
        };
        assert!(moves(1, ReadFlags::CREATE | ReadFlags::ISDIR, "sub"));
        assert!(moves(1, ReadFlags::MOVED_TO | ReadFlags::ISDIR, "sub"));
        assert!(!moves(1, ReadFlags::DELETE | ReadFlags::ISDIR, "sub"));
        assert!(!moves(1, ReadFlags::CREATE | ReadFlags::ISDIR, "other"));
        assert!(!moves(2, ReadFlags::CREATE, "b"), "a file");
        assert!(moves(2, ReadFlags::IGNORED, "") && moves(2, ReadFlags::MOVE_SELF, ""));
        assert!(!moves(3, ReadFlags::IGNORED, ""), "one that is not watched any more");
    }

    #[test]
    fn a_directory_that_was_not_watched_all_the_time_is_unsteady() {
        let watched = |number: i32, paths: &[&str]| -> Directories {
            [(number, paths.iter().map(PathBuf::from).collect::<BTreeSet<_>>())].into()
        };
        let files: BTreeMap<_, _> =
            [("a", "/d/a"), ("b", "/link/b")].map(|(name, path)| (name.to_owned(), tracked(path))).into();
        let unsteady = |before: Directories, now: Directories| {
            Places { directories: now, files: files.clone() }.unsteady(&before).join(" ")
        };
        assert_eq!(unsteady(watched(1, &["/d", "/link"]), watched(1, &["/d", "/link"])), "");
        assert_eq!(unsteady(watched(1, &["/d", "/link"]), watched(1, &["/d"])), "b");
        assert_eq!(unsteady(watched(1, &["/d"]), watched(2, &["/d"])), "a b");
        assert_eq!(unsteady(watched(1, &["/"]), watched(1, &["/"])), "a b", "it is not there");
    }

    #[test]
    fn a_start_value_replaces_only_what_it_may() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        let init = |value, overwrite| initialise("f", &path, InitFile { value, overwrite });
        init(5, false);
        assert_eq!(read(&path), Some(5));
        init(-6, false);
        assert_eq!(read(&path), Some(5));
        init(-6, true);
        assert_eq!(read(&path), Some(-6));
        std::fs::write(&path, "a longer text than the value").unwrap();
        init(1, true);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1\n");
        assert_eq!(read(&directory.path().join("none")), Some(0));
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
        let tracked = TrackedFile {
            path: path.clone(),
            init: Some(InitFile { value: 4, overwrite: false }),
            followers: BTreeSet::new(),
        };
        let mut files = Files::default();
        files.configure(Some(Watch::open([("f".to_owned(), tracked)].into()).unwrap()), true).unwrap();
        while next_number(&mut files).await != 4 {}
        std::fs::write(&path, "-20").unwrap();
        while next_number(&mut files).await != -20 {}
        let aside = directory.path().join("aside");
        std::fs::write(&aside, "7").unwrap();
        std::fs::rename(&aside, &path).unwrap();
        while next_number(&mut files).await != 7 {}
        std::fs::write(&aside, "99999999999").unwrap();
        std::fs::rename(&aside, &path).unwrap();
        assert_eq!(next_number(&mut files).await, 7, "that is no number");
        std::fs::write(&aside, "2147483648").unwrap();
        std::fs::rename(&aside, &path).unwrap();
        while next_number(&mut files).await != 1 << 31 {}
        std::fs::remove_file(&path).unwrap();
        while next_number(&mut files).await != 0 {}
    }

    #[tokio::test]
    async fn a_directory_with_two_paths_is_watched_for_both() {
        let root = tempfile::tempdir().unwrap();
        let (folder, link) = (root.path().join("folder"), root.path().join("link"));
        std::fs::create_dir(&folder).unwrap();
        std::os::unix::fs::symlink(&folder, &link).unwrap();
        let mut files = Files::default();
        let tracked = [("a", folder.join("f")), ("b", link.join("f"))];
        let tracked =
            tracked.map(|(name, path)| (name.to_owned(), TrackedFile { path, init: None, followers: BTreeSet::new() }));
        files.configure(Some(Watch::open(tracked.into()).unwrap()), false).unwrap();
        std::fs::write(folder.join("f"), "6").unwrap();
        let mut numbers = BTreeMap::new();
        while numbers != [("a".to_owned(), 6), ("b".to_owned(), 6)].into() {
            let event = tokio::time::timeout(std::time::Duration::from_secs(10), files.next()).await.unwrap();
            numbers.extend(files.take(event));
        }
    }

    /// Its last events may still wait when the directory to watch is another one.
    #[tokio::test]
    async fn a_file_of_a_directory_that_is_not_watched_any_more_is_looked_at() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("sub/f");
        std::fs::create_dir(root.path().join("sub")).unwrap();
        std::fs::write(&path, "1").unwrap();
        let mut files = Files::default();
        let tracked = TrackedFile { path: path.clone(), init: None, followers: BTreeSet::new() };
        files.configure(Some(Watch::open([("f".to_owned(), tracked)].into()).unwrap()), false).unwrap();
        assert_eq!(next_number(&mut files).await, 1);
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
        files.events = None;
        files.take(Event::Watched([(99, [root.path().to_owned()].into())].into()));
        assert_eq!(next_number(&mut files).await, 0);
    }

    /// Directories above go and come too, by any name.
    #[tokio::test]
    async fn a_directory_that_goes_and_comes_back_is_watched_again() {
        let root = tempfile::tempdir().unwrap();
        let above = root.path().join("above");
        let path = above.join("sub/f");
        let write = |value: &str| {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, value).unwrap();
        };
        let mut files = Files::default();
        let tracked = TrackedFile { path: path.clone(), init: None, followers: BTreeSet::new() };
        files.configure(Some(Watch::open([("f".to_owned(), tracked)].into()).unwrap()), false).unwrap();
        assert_eq!(next_number(&mut files).await, 0, "nothing is there");
        write("1");
        while next_number(&mut files).await != 1 {}
        std::fs::remove_dir_all(&above).unwrap();
        while next_number(&mut files).await != 0 {}
        write("2");
        while next_number(&mut files).await != 2 {}
        let aside = root.path().join("aside");
        std::fs::rename(path.parent().unwrap(), &aside).unwrap();
        while next_number(&mut files).await != 0 {}
        std::fs::write(aside.join("f"), "9").unwrap();
        std::fs::rename(&aside, path.parent().unwrap()).unwrap();
        while next_number(&mut files).await != 9 {}
        std::fs::write(&path, "3").unwrap();
        while next_number(&mut files).await != 3 {}
    }
}
