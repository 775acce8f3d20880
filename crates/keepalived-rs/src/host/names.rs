//! The files of iproute2 and `/etc/protocols`, which give numbers names.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use conf_parser::config::NameTable;

/// Where tables are looked for: those of this machine win over the vendor's.
const DIRECTORIES: [&str; 3] = ["etc/iproute2", "usr/share/iproute2", "usr/lib/iproute2"];

/// The tables of iproute2, by the names of their files.
const TABLES: [(NameTable, &str); 6] = [
    (NameTable::RoutingTables, "rt_tables"),
    (NameTable::RouteProtocols, "rt_protos"),
    (NameTable::Scopes, "rt_scopes"),
    (NameTable::Realms, "rt_realms"),
    (NameTable::DsFields, "rt_dsfield"),
    (NameTable::InterfaceGroups, "group"),
];

/// Bytes of one file beyond which nothing is read.
const MAX_FILE: u64 = 1 << 20;

/// Files of one `*.d` directory beyond which nothing is read.
const MAX_FILES: usize = 256;

/// What one file gives names to.
type Names = BTreeMap<String, u32>;

/// The tables of the host whose files lie below `root`. One that cannot be read is left out: it is not known.
pub(super) fn of_host(root: &Path) -> BTreeMap<NameTable, Names> {
    let iproute = TABLES.into_iter().map(|(table, file)| (table, iproute(root, file)));
    let protocols = read(&root.join("etc/protocols")).map(|text| text.as_deref().map(protocols).unwrap_or_default());
    let all = iproute.chain([(NameTable::IpProtocols, protocols)]);
    all.filter_map(|(table, names)| Some((table, names.ok()?))).collect()
}

/// The table in the first directory that has `file`, and what the files of every `file.d` add to it.
fn iproute(root: &Path, file: &str) -> std::io::Result<Names> {
    let mut names = Names::new();
    for directory in DIRECTORIES {
        if let Some(text) = read(&root.join(directory).join(file))? {
            names = numbers(&text);
            break;
        }
    }
    for directory in DIRECTORIES {
        for path in additions(&root.join(directory).join(format!("{file}.d")))? {
            for (name, number) in read(&path)?.as_deref().map(numbers).unwrap_or_default() {
                names.entry(name).or_insert(number);
            }
        }
    }
    Ok(names)
}

/// The `*.conf` files of a directory, in the order of their names; none where there is no directory.
fn additions(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let paths: std::io::Result<Vec<_>> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths = paths?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
    paths.sort();
    paths.truncate(MAX_FILES);
    Ok(paths)
}

/// The text of a file, if there is one.
fn read(path: &Path) -> std::io::Result<Option<String>> {
    let file = match fs::File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Lines without comments, as words.
fn lines(text: &str) -> impl Iterator<Item = std::str::SplitWhitespace<'_>> {
    text.lines().map(|line| line.split('#').next().unwrap_or_default().split_whitespace())
}

/// Lines of `NUMBER NAME`, the number decimal or with `0x`; others are passed over. The first line of a name counts.
fn numbers(text: &str) -> Names {
    let mut names = Names::new();
    for mut line in lines(text) {
        let (Some(number), Some(name), None) = (line.next(), line.next(), line.next()) else { continue };
        let number = match number.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16),
            None => number.parse(),
        };
        if let Ok(number) = number {
            names.entry(name.to_owned()).or_insert(number);
        }
    }
    names
}

/// Lines of `NAME NUMBER [ALIAS...]` (protocols(5)).
fn protocols(text: &str) -> Names {
    let mut names = Names::new();
    for mut line in lines(text) {
        let (Some(name), Some(Ok(number))) = (line.next(), line.next().map(str::parse)) else { continue };
        for name in std::iter::once(name).chain(line) {
            names.entry(name.to_owned()).or_insert(number);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(files: &[(&str, &str)]) -> BTreeMap<NameTable, Names> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        of_host(root.path())
    }

    fn table(names: &BTreeMap<NameTable, Names>, table: NameTable) -> Vec<(&str, u32)> {
        names[&table].iter().map(|(name, number)| (name.as_str(), *number)).collect()
    }

    #[test]
    fn lines_hold_a_number_and_a_name() {
        let text =
            "#\n# reserved\n100\tsmall\n 0x1f4 hex # used twice\n200 small\n5000000000 big\nx y\n7 a b\n8\n-1 less\n";
        assert_eq!(numbers(text), [("small".to_owned(), 100), ("hex".to_owned(), 500)].into());
    }

    #[test]
    fn protocols_have_aliases() {
        let text = "# Internet protocols\nospf\t89\tOSPFIGP\t# Open Shortest Path First\nbad\nworse x\n";
        assert_eq!(protocols(text), [("ospf".to_owned(), 89), ("OSPFIGP".to_owned(), 89)].into());
    }

    #[test]
    fn files_of_this_machine_win_over_those_of_the_vendor() {
        let names = host(&[
            ("etc/iproute2/rt_tables", "100 small\n"),
            ("etc/iproute2/rt_tables.d/one.conf", "101 dropped\n102 small\n"),
            ("etc/iproute2/rt_tables.d/README", "103 readme\n"),
            ("usr/share/iproute2/rt_tables", "104 vendor\n"),
            ("usr/lib/iproute2/rt_tables.d/two.conf", "105 dropped\n106 second\n"),
            ("usr/share/iproute2/rt_protos", "77 mine\n"),
            ("etc/protocols", "udp 17 UDP\n"),
        ]);
        assert_eq!(table(&names, NameTable::RoutingTables), [("dropped", 101), ("second", 106), ("small", 100)]);
        assert_eq!(table(&names, NameTable::RouteProtocols), [("mine", 77)]);
        assert_eq!(table(&names, NameTable::IpProtocols), [("UDP", 17), ("udp", 17)]);
    }

    #[test]
    fn a_file_that_is_not_there_names_nothing_and_one_that_cannot_be_read_is_not_known() {
        let names = host(&[("etc/iproute2/rt_realms/is_a_directory", "")]);
        assert_eq!(table(&names, NameTable::RoutingTables), []);
        assert_eq!(names.get(&NameTable::Realms), None);
        assert_eq!(names.get(&NameTable::VrfDevices), None);
    }
}
