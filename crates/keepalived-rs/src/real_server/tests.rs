use super::*;

fn command(line: &str) -> anyhow::Result<Command> {
    parse(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
}

fn refusal(line: &str) -> String {
    format!("{:#}", command(line).unwrap_err())
}

#[test]
fn a_setup_is_read() {
    let read = command("setup --method tun --over inet 198.18.0.100 2001:db8::1/128 --record /run/a").unwrap();
    let vips = ["198.18.0.100", "2001:db8::1"].map(|vip| vip.parse().unwrap()).into();
    let wish = Wish { vips, method: Method::Tunnel(Outer::V4) };
    assert_eq!(read, Command::Setup { wish, record: "/run/a".into() });
    assert!(matches!(
        command("setup 198.18.0.100/32"),
        Ok(Command::Setup { wish: Wish { method: Method::DirectRoute, .. }, .. })
    ));
    assert_eq!(
        command("teardown").unwrap(),
        Command::Teardown { vips: BTreeSet::new(), record: DEFAULT_RECORD.into() }
    );
    assert_eq!(command("setup --help").unwrap(), Command::Help);
}

#[test]
fn what_cannot_be_meant_is_refused_with_the_way_out() {
    assert_eq!(refusal("setup"), "setup needs a virtual address");
    assert!(refusal("setup 198.18.0.100/24").contains("198.18.0.100/32, not 198.18.0.100/24"));
    assert!(refusal("setup 198.18.0").contains("'198.18.0' is no address"));
    assert!(refusal("setup 127.0.0.1").contains("127.0.0.1 is no address that a balancer can have"));
    assert!(refusal("setup --method nat 198.18.0.100").contains("a route back through the balancer"));
    assert!(refusal("setup --over inet 198.18.0.100").contains("--method tun"));
    assert!(refusal("teardown --method dr").contains("by itself"));
    assert!(refusal("repair").contains("none of setup, teardown, drain"));
    assert!(refusal("setup --nonsense").contains("--nonsense"));
}

fn place(boot: &str, namespace: &str) -> Place {
    Place { boot: boot.to_owned(), namespace: namespace.to_owned() }
}

#[test]
fn a_record_counts_for_its_boot_and_its_network_namespace() {
    let vips = [("198.18.0.100".parse().unwrap(), ["lo".to_owned()].into())].into();
    let record = Record { vips, ..Record::default() };
    let text = serde_json::to_string(&Page { place: place("b", "n"), record: record.clone() }).unwrap();
    assert_eq!(Book::understand(&text, &place("b", "n")).unwrap(), record);
    assert_eq!(Book::understand(&text, &place("c", "n")).unwrap(), Record::default());
    assert!(Book::understand(&text, &place("b", "m")).unwrap_err().to_string().contains("--record"));
    assert!(Book::understand("{", &place("b", "n")).unwrap_err().to_string().contains("undo it by hand"));
    assert_eq!(Book::understand("", &place("b", "n")).unwrap(), Record::default());
}

#[test]
fn a_record_is_kept_until_there_is_nothing_to_undo() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("below/record.json");
    let record = Record { links: ["tunl0".to_owned()].into(), ..Record::default() };
    Book::open(&path).unwrap().write(record.clone()).unwrap();
    let mut book = Book::open(&path).unwrap();
    assert_eq!(book.record, record);
    book.write(Record::default()).unwrap();
    assert!(!path.exists());
}
