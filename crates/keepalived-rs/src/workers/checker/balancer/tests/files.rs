use super::*;

/// Two servers of weight 10 that follow files: `first` and `second` are put into their checks.
fn file(more: &str, [first, second]: [&str; 2]) -> String {
    format!(
        "track_file out {{ file /run/out\n weight 0 }}
        track_file adds {{ file /run/adds\n weight 2 }}
        virtual_server 192.0.2.1 80 {{
            protocol TCP
            lb_algo rr
            lb_kind NAT
            {more}
            real_server 10.0.0.1 80 {{\n weight 10\n FILE_CHECK {{\n {first}\n }}\n }}
            real_server 10.0.0.2 80 {{\n weight 10\n FILE_CHECK {{\n {second}\n }}\n }}
        }}"
    )
}

const BOTH: [&str; 2] = ["track_file out", "track_file adds"];

/// The last octets of the wanted destinations, with their weights.
fn weights(balancer: &Balancer) -> Vec<(u8, u32)> {
    let pools = balancer.pools();
    let octet = |address| match address {
        IpAddr::V4(address) => address.octets()[3],
        IpAddr::V6(_) => 0,
    };
    pools.iter().flat_map(|pool| &pool.destinations).map(|there| (octet(there.address), there.weight.0)).collect()
}

fn says(balancer: &mut Balancer, file: &str, number: i64) -> Vec<String> {
    balancer.handle_number(file.to_owned(), number);
    lines(&drain(balancer)).into_iter().map(str::to_owned).collect()
}

/// As Debian's keepalived 2.2.7 says it.
#[test]
fn a_file_takes_a_server_out_and_changes_a_weight() {
    let (mut balancer, none) = balancer(&file("", BOTH));
    assert!(none.is_empty(), "nothing is tried");
    assert_eq!(weights(&balancer), [(1, 10), (2, 10)]);
    assert_eq!(says(&mut balancer, "out", 0), [""; 0]);
    let state = balancer.entries[0].logic.checker(RealServerId(0), CheckerId(0)).unwrap();
    assert!(state.reported, "it is not taken for granted any more");
    let expected =
        [format!("({}): tracked file out now FAULT state", RS[0]), format!("Removing service {} from VS {VS}", RS[0])];
    assert!(changes(&mut balancer, |balancer| assert_eq!(says(balancer, "out", 1), expected)));
    assert!(!changes(&mut balancer, |balancer| assert_eq!(says(balancer, "out", 7), [""; 0])));
    let expected = [format!("Changing weight from 10 to 16 for active service {} of VS {VS}", RS[1])];
    assert_eq!(says(&mut balancer, "adds", 3), expected);
    assert_eq!(weights(&balancer), [(2, 16)]);
    let expected =
        [format!("({}): tracked file out leaving FAULT state", RS[0]), format!("Adding service {} to VS {VS}", RS[0])];
    assert_eq!(says(&mut balancer, "out", 0), expected);
    says(&mut balancer, "adds", -6);
    assert_eq!(weights(&balancer), [(1, 10), (2, 0)]);
    says(&mut balancer, "adds", -(1 << 30));
    assert_eq!(weights(&balancer), [(1, 10)]);
    assert_eq!(says(&mut balancer, "other", 1), [""; 0]);
}

/// Nobody is told that a server went down that never was up, and `alpha` has nothing to wait for.
#[test]
fn what_a_file_says_at_the_start_counts_from_the_first() {
    let mut balancer = Balancer::new(1);
    balancer.handle_number("out".to_owned(), 1);
    balancer.handle_number("adds".to_owned(), 2);
    configure(&mut balancer, &file("alpha\n quorum_down /q", BOTH));
    assert_eq!(weights(&balancer), [(2, 14)]);
    let effects = drain(&mut balancer);
    let told: Vec<_> = effects.iter().filter(|effect| matches!(effect, Effect::Notify(_))).collect();
    assert_eq!(lines(&effects), [format!("Gained quorum 1+0=1 <= 14 for VS {VS}")]);
    assert_eq!(told.len(), 1, "{told:?}");
    let (unknown, _) = self::balancer(&file("alpha", BOTH));
    assert_eq!(weights(&unknown), [(1, 10), (2, 10)]);
}

/// A server does not come and go with a reload, as it does with keepalived.
#[test]
fn a_reload_and_a_successor_leave_a_server_as_its_file_wants_it() {
    let (mut first, _) = balancer(&file("", BOTH));
    says(&mut first, "out", 1);
    says(&mut first, "adds", 3);
    configure(&mut first, &file("quorum 2", BOTH));
    assert_eq!(weights(&first), [(2, 16)]);
    drain(&mut first);
    configure(&mut first, &file("", ["track_file out", "track_file adds\n weight 1 reverse"]));
    assert_eq!(weights(&first), [(2, 7)]);
    let changing = format!("Changing weight from 16 to 7 for active service {} of VS {VS}", RS[1]);
    assert_eq!(lines(&drain(&mut first)), [changing]);
    let other = file("", ["track_file out\n weight 5", "track_file out"]);
    configure(&mut first, &other);
    assert_eq!(weights(&first), [(1, 15)]);

    let facts = first.facts.iter().map(|(key, value)| Fact { key: key.clone(), value: value.clone() });
    let mut second = Balancer::new(2);
    second.resume(facts.collect());
    configure(&mut second, &other);
    assert_eq!(weights(&second), [(1, 15)], "before the runner has said anything");
    drain(&mut second);
    assert_eq!(says(&mut second, "out", 1), [""; 0]);
    says(&mut second, "out", 0);
    assert_eq!(weights(&second), [(1, 10), (2, 10)]);
}

/// A file that no check followed for a while is not known until it was read anew.
#[test]
fn what_a_file_held_is_forgotten_with_its_last_check() {
    let (mut balancer, _) = balancer(&file("", BOTH));
    says(&mut balancer, "adds", 3);
    configure(&mut balancer, &super::file("", ["", ""]));
    configure(&mut balancer, &file("", BOTH));
    assert_eq!(weights(&balancer), [(1, 10), (2, 10)]);
}

#[test]
fn a_check_of_another_kind_and_a_file_decide_together() {
    let both = file("", BOTH).replace("track_file out\n }", "track_file out\n }\n TCP_CHECK { }");
    let (mut balancer, ids) = balancer(&both);
    let [tcp] = ids[..] else { panic!("{ids:?}") };
    balancer.handle_event(&fail(tcp, 1));
    says(&mut balancer, "out", 1);
    balancer.handle_event(&succeed(tcp));
    assert_eq!(weights(&balancer), [(2, 10)]);
    says(&mut balancer, "out", 0);
    assert_eq!(weights(&balancer), [(1, 10), (2, 10)]);
}
