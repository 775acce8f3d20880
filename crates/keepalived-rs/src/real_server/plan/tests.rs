use super::*;

const VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 18, 0, 100));
const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 18, 0, 101));

fn vip6() -> IpAddr {
    "2001:db8::100".parse().unwrap()
}

fn link(name: &str, up: bool, quiet: bool) -> Link {
    Link { name: name.to_owned(), up, quiet, addresses: Vec::new() }
}

fn host() -> Facts {
    let links = vec![link("lo", true, true), link("eth0", true, false), link("tunl0", false, true)];
    let zeros = [ARP_IGNORE, ARP_ANNOUNCE, RP_FILTER].map(|path| (path.to_owned(), 0));
    Facts { links, settings: zeros.into_iter().chain([(rp_filter_of("tunl0"), 0)]).collect() }
}

fn wish(vips: &[IpAddr], method: Method) -> Wish {
    Wish { vips: vips.iter().copied().collect(), method }
}

/// The host after the acts.
fn carry_out(facts: &mut Facts, acts: &[Act]) {
    for act in acts {
        let link = |name: &str| facts.links.iter().position(|link| link.name == name).unwrap();
        match act {
            Act::Set { path, from, to } => assert_eq!(facts.settings.insert(path.clone(), *to), Some(*from)),
            Act::LinkUp(name) => {
                let place = link(name);
                facts.links[place].up = true;
            }
            Act::LinkDown(name) => {
                let place = link(name);
                facts.links[place].up = false;
            }
            Act::Add(vip, name) => {
                let place = link(name);
                facts.links[place].addresses.push(*vip);
            }
            Act::Remove(vip, name) => {
                let place = link(name);
                facts.links[place].addresses.retain(|address| address != vip);
            }
        }
    }
}

fn set(path: &str, from: i64, to: i64) -> Act {
    Act::Set { path: path.to_owned(), from, to }
}

#[test]
fn the_host_is_quiet_before_it_has_the_address() {
    let mut record = Record::default();
    let acts = setup(&wish(&[VIP], Method::DirectRoute), &host(), &mut record).unwrap();
    assert_eq!(acts, [set(ARP_IGNORE, 0, 1), set(ARP_ANNOUNCE, 0, 2), Act::Add(VIP, "lo".to_owned())]);
}

#[test]
fn a_second_setup_changes_nothing_and_teardown_restores_all() {
    for (method, link) in [(Method::DirectRoute, "lo"), (Method::Tunnel(Outer::Same), "tunl0")] {
        let (mut facts, mut record) = (host(), Record::default());
        facts.settings.insert(RP_FILTER.to_owned(), 1);
        let before = facts.clone();
        let acts = setup(&wish(&[VIP, OTHER], method), &facts, &mut record).unwrap();
        carry_out(&mut facts, &acts);
        let known = record.clone();
        assert_eq!(setup(&wish(&[VIP], method), &facts, &mut record), Ok(Vec::new()));
        assert_eq!(record, known);

        let (acts, left) = teardown(&BTreeSet::from([OTHER]), &facts, &record);
        assert_eq!(acts, [Act::Remove(OTHER, link.to_owned())]);
        carry_out(&mut facts, &acts);
        let (acts, left) = teardown(&BTreeSet::from([VIP]), &facts, &left);
        carry_out(&mut facts, &acts);
        assert_eq!(facts, before);
        assert!(left.is_empty());
        assert_eq!(teardown(&BTreeSet::new(), &facts, &record).0, [], "what was undone is not undone again");
    }
}

#[test]
fn what_was_there_before_stays() {
    let (mut facts, mut record) = (host(), Record::default());
    facts.links[2].addresses.push(VIP);
    facts.links[2].up = true;
    facts.settings.extend([(ARP_IGNORE.to_owned(), 8), (ARP_ANNOUNCE.to_owned(), 2)]);
    assert_eq!(setup(&wish(&[VIP], Method::Tunnel(Outer::Same)), &facts, &mut record), Ok(Vec::new()));
    assert_eq!(teardown(&BTreeSet::new(), &facts, &record), (Vec::new(), Record::default()));
}

#[test]
fn what_others_changed_since_stays() {
    let (mut facts, mut record) = (host(), Record::default());
    let acts = setup(&wish(&[VIP], Method::DirectRoute), &facts, &mut record).unwrap();
    carry_out(&mut facts, &acts);
    facts.settings.insert(ARP_IGNORE.to_owned(), 2);
    facts.links[0].addresses.clear();
    assert_eq!(teardown(&BTreeSet::new(), &facts, &record).0, [set(ARP_ANNOUNCE, 2, 0)]);
}

/// Setup repairs what others undid, and still knows what was there first.
#[test]
fn a_repair_keeps_the_first_value() {
    let (mut facts, mut record) = (host(), Record::default());
    facts.settings.insert(ARP_ANNOUNCE.to_owned(), 1);
    let acts = setup(&wish(&[VIP], Method::DirectRoute), &facts, &mut record).unwrap();
    carry_out(&mut facts, &acts);
    facts.settings.insert(ARP_ANNOUNCE.to_owned(), 0);
    let acts = setup(&wish(&[VIP], Method::DirectRoute), &facts, &mut record).unwrap();
    assert_eq!(acts, [set(ARP_ANNOUNCE, 0, 2)]);
    carry_out(&mut facts, &acts);
    assert!(teardown(&BTreeSet::new(), &facts, &record).0.contains(&set(ARP_ANNOUNCE, 2, 1)));
}

#[test]
fn each_kind_of_tunnel_has_its_device() {
    let devices = |vips: &[IpAddr], outer| wish(vips, Method::Tunnel(outer)).tunnels().into_iter().collect::<Vec<_>>();
    assert_eq!(devices(&[VIP], Outer::Same), ["tunl0"]);
    assert_eq!(devices(&[VIP, vip6()], Outer::Same), ["ip6tnl0", "tunl0"]);
    assert_eq!(devices(&[VIP, vip6()], Outer::V4), ["sit0", "tunl0"]);
    let missing = setup(&wish(&[vip6()], Method::Tunnel(Outer::Same)), &host(), &mut Record::default()).unwrap_err();
    assert_eq!(missing.to_string(), "there is no ip6tnl0 - load the module of its tunnels, by 'modprobe ip6_tunnel'");
}

#[test]
fn an_ipv6_address_needs_no_settings() {
    let acts = setup(&wish(&[vip6()], Method::DirectRoute), &host(), &mut Record::default()).unwrap();
    assert_eq!(acts, [Act::Add(vip6(), "lo".to_owned())]);
}

/// Only a strict filter is in the way, and a loose one stays as it is.
#[test]
fn the_filter_of_the_tunnel_is_loosened_only_where_it_is_strict() {
    let filter = rp_filter_of("tunl0");
    for (all, own, changed) in [(0, 0, None), (1, 0, Some(0)), (0, 1, Some(1)), (2, 1, None), (1, 2, None)] {
        let mut facts = host();
        facts.settings.extend([(RP_FILTER.to_owned(), all), (filter.clone(), own)]);
        let acts = setup(&wish(&[VIP], Method::Tunnel(Outer::Same)), &facts, &mut Record::default()).unwrap();
        let found = acts.iter().find_map(|act| match act {
            Act::Set { path, from, to: 2 } if *path == filter => Some(*from),
            _ => None,
        });
        assert_eq!(found, changed, "all {all}, tunl0 {own}");
    }
}

#[test]
fn an_address_that_would_be_answered_for_is_refused() {
    let mut facts = host();
    facts.links[1].addresses.push(VIP);
    let refused = setup(&wish(&[VIP], Method::DirectRoute), &facts, &mut Record::default()).unwrap_err();
    assert_eq!(refused, Conflict::Elsewhere { vip: VIP, link: "eth0".to_owned() });
}
