//! Firewall marks of groups.

use super::*;

/// Virtual servers of these groups.
fn groups(globals: &str, names: &[&str]) -> String {
    let group = |(number, name): (usize, &&str)| {
        format!(
            "virtual_server_group {name} {{\n 192.0.2.{number} 80\n}}\nvirtual_server group {name} {{\n protocol TCP\n \
             lb_algo rr\n lb_kind NAT\n real_server 10.0.0.1 80 {{\n }}\n}}\n"
        )
    };
    let groups: String = names.iter().enumerate().map(group).collect();
    format!("global_defs {{\n {globals}\n}}\n{groups}")
}

/// Takes a configuration as a worker does.
fn take(balancer: &mut Balancer, file: &str) -> Result<Vec<Effect>, String> {
    let mut part = part(file);
    balancer.adopt_marks(&mut part)?;
    let plan = balancer.plan(part).unwrap();
    balancer.configure(plan, Instant::default());
    Ok(drain(balancer))
}

/// The marks of the wanted services, and of the packets.
fn marks(balancer: &Balancer) -> (Vec<String>, Vec<u32>) {
    let Wanted { pools, marking, .. } = balancer.wanted();
    let targets = marking.map_or_else(Vec::new, |marking| marking.targets.clone());
    (
        pools.iter().map(|pool| pool.service.address.to_string()).collect(),
        targets.iter().map(|target| target.mark.get()).collect(),
    )
}

fn facts(balancer: &Balancer) -> Vec<Fact> {
    balancer.facts.iter().map(|(key, value)| Fact { key: key.clone(), value: value.clone() }).collect()
}

#[test]
fn a_successor_goes_on_with_the_marks() {
    let mut first = Balancer::new(1);
    take(&mut first, &groups("nftables_ipvs", &["B"])).unwrap();
    let told = take(&mut first, &groups("nftables_ipvs", &["A", "B"])).unwrap();
    assert!(told.iter().any(|effect| matches!(effect, Effect::Remember(fact) if fact.key.starts_with(MARKS))));
    let now = marks(&first);
    assert_eq!(now.1, [1001, 1000]);
    assert_eq!(first.wanted().tables, BTreeSet::from(["keepalived_ipvs".to_owned()]));
    let mut second = Balancer::new(1);
    second.resume(facts(&first));
    take(&mut second, &groups("nftables_ipvs", &["A", "B"])).unwrap();
    assert_eq!(marks(&second), now);
    take(&mut second, &groups("nftables_ipvs", &["A", "C"])).unwrap();
    assert_eq!(marks(&second).1, [1001, 1002]);
}

#[test]
fn a_table_is_told_until_it_is_gone() {
    let mut balancer = Balancer::new(1);
    take(&mut balancer, &groups("nftables_ipvs t", &["A"])).unwrap();
    let tables =
        |balancer: &Balancer| leftovers::remains(&facts(balancer)).into_iter().filter(|it| it.contains("table"));
    let tables = |balancer: &Balancer| tables(balancer).collect::<Vec<_>>();
    assert_eq!(tables(&balancer), ["nftables table t"]);
    take(&mut balancer, &groups("nftables_ipvs t", &[])).unwrap();
    assert_eq!(balancer.wanted().marking, None);
    assert_eq!(tables(&balancer), ["nftables table t"], "the kernel was not told yet");
    balancer.handle_applied();
    assert_eq!(tables(&balancer), [""; 0]);
    take(&mut balancer, &groups("nftables_ipvs t", &["A"])).unwrap();
    balancer.handle_withdrawn();
    assert_eq!(tables(&balancer), [""; 0]);
}

#[test]
fn the_namespace_is_told_before_anything_in_it() {
    let vips = IpvsNamespace::Named("vips".to_owned());
    let mut balancer = Balancer::new(1);
    balancer.work_in(Some(vips.clone()));
    let told = take(&mut balancer, &format!("net_namespace_ipvs vips\n{}", groups("nftables_ipvs", &["A"]))).unwrap();
    let keys = told.iter().filter_map(|effect| match effect {
        Effect::Remember(fact) if is_of_kernel(&fact.key) => Some(fact.key.as_str()),
        _ => None,
    });
    assert_eq!(keys.collect::<Vec<_>>(), [NAMESPACE, "marks 000000", TABLES, "services 000000"]);
    assert_eq!(leftovers::namespace(&facts(&balancer)), Some(vips));
    balancer.handle_withdrawn();
    assert_eq!(leftovers::namespace(&facts(&balancer)), None);
}

#[test]
fn some_things_take_a_restart() {
    let mut balancer = Balancer::new(1);
    take(&mut balancer, &groups("nftables_ipvs t", &["A"])).unwrap();
    for globals in ["nftables_ipvs u", ""] {
        let refused = take(&mut balancer, &groups(globals, &["A"])).unwrap_err();
        assert_eq!(refused, "Cannot change IPVS nftables table name at a reload - please restart keepalived");
    }
    let elsewhere = format!("net_namespace_ipvs vips\n{}", groups("nftables_ipvs t", &["A"]));
    let refused = take(&mut balancer, &elsewhere).unwrap_err();
    assert_eq!(refused, "Cannot change IPVS network namespace at a reload - please restart keepalived");
}
