//! A configuration that leaves virtual servers as they are.

use proptest::prelude::*;

use super::*;
use crate::config::checker::{Shown, TlsPart};

/// One virtual server of a drawn file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Drawn {
    /// The last number of its address: two may be the same.
    pub(super) address: u8,
    /// Lines of its own.
    pub(super) lines: &'static str,
    /// Its real servers by number: weight and whether it is checked.
    pub(super) real_servers: BTreeMap<u8, (u8, bool)>,
}

impl Drawn {
    pub(super) fn text(&self) -> String {
        let real = |(number, (weight, checked)): (&u8, &(u8, bool))| {
            let check = if *checked { "TCP_CHECK {\n connect_timeout 1\n }\n" } else { "" };
            format!("real_server 10.0.0.{number} 80 {{\n weight {weight}\n {check} }}\n")
        };
        let real_servers: String = self.real_servers.iter().map(real).collect();
        let Self { address, lines, .. } = self;
        let head = format!("virtual_server 192.0.2.{address} 80 {{\n protocol TCP\n lb_algo rr\n lb_kind NAT\n");
        format!("{head} {lines}\n {real_servers}}}\n")
    }
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let lines = prop_oneof![
        4 => Just(""),
        1 => Just("alpha"),
        1 => Just("quorum 2"),
        1 => Just("ha_suspend"),
        1 => Just("sorry_server 10.9.9.9 80"),
        1 => Just("drain_timeout 60"),
        1 => Just("quorum_up /u\n quorum_down /d"),
    ];
    let real_servers = prop::collection::btree_map(1..4u8, (2..4u8, any::<bool>()), 1..3);
    (1..5u8, lines, real_servers).prop_map(|(address, lines, real_servers)| Drawn { address, lines, real_servers })
}

/// What happens between two configurations.
#[derive(Debug, Clone)]
enum Step {
    Configure(Vec<Drawn>),
    /// The check of this place among those that run found its server up or down.
    Verdict(usize, bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        prop::collection::vec(drawn(), 0..5).prop_map(Step::Configure),
        (0..8usize, any::<bool>()).prop_map(|(place, up)| Step::Verdict(place, up)),
    ]
}

/// What can be seen of a balancer from outside, without the numbers of checks.
fn seen(balancer: &mut Balancer, checks: &BTreeMap<CheckId, usize>) -> String {
    let numbered = |id: &CheckId| checks.get(id).copied();
    let effects = drain(balancer).into_iter().map(|effect| match effect {
        Effect::Activate(id) => format!("activate {:?}", numbered(&id)),
        Effect::Suspend(id) => format!("suspend {:?}", numbered(&id)),
        other => format!("{other:?}"),
    });
    // What is told with other positions in the file says the same.
    let others: Vec<_> = effects.filter(|effect| !effect.starts_with("Remember")).collect();
    let facts: Vec<_> = balancer.facts.iter().map(|(key, value)| (key, meaning(value))).collect();
    let wanted = balancer.wanted();
    let running: Vec<_> = balancer.running.iter().map(numbered).collect();
    let places: Vec<_> =
        balancer.places.iter().map(|(id, place)| (numbered(id), place.entry, place.real, place.kind)).collect();
    format!("{others:#?} {facts:#?} {wanted:#?} {running:?} {places:?}")
}

/// What a fact says, wherever that is written in the file.
pub(super) fn meaning(value: &[u8]) -> String {
    match ipc::decode(value).unwrap() {
        Remembered::Checkers { verdicts, unheard, .. } => {
            let verdicts: Vec<_> =
                verdicts.iter().map(|(_, up, reported, contribution)| (up, reported, contribution)).collect();
            format!("{verdicts:?} {unheard:?}")
        }
        Remembered::Departing { services, .. } => format!("{services:?}"),
        other => format!("{other:?}"),
    }
}

/// As [`part`], but two virtual servers for one service are allowed.
pub(super) fn read(text: &str) -> CheckerPart {
    let loader = conf_parser::MemoryLoader::new([("k.conf", text)]);
    let parsed = conf_parser::parse(&loader, std::path::Path::new("k.conf"), &conf_parser::Options::default());
    CheckerPart::take_from(&mut { parsed.config })
}

/// A balancer with the places of its checks among all that it ever had.
struct Side {
    balancer: Balancer,
    checks: BTreeMap<CheckId, usize>,
    is_full: bool,
}

impl Side {
    fn new(is_full: bool) -> Self {
        Self { balancer: Balancer::new(1), checks: BTreeMap::new(), is_full }
    }

    /// Takes the step; what is seen of it.
    fn take(&mut self, step: &Step) -> String {
        let mut changes = String::new();
        match step {
            Step::Configure(servers) => {
                let text: String = servers.iter().map(Drawn::text).collect();
                let part = read(&text);
                let plan = if self.is_full { Plan::new(part) } else { self.balancer.plan(part) };
                let checks = self.balancer.configure(plan.unwrap(), Instant::default());
                for (id, ..) in &checks.added {
                    self.checks.insert(*id, self.checks.len());
                }
                let removed: Vec<_> = checks.removed.iter().map(|id| self.checks.get(id)).collect();
                changes = format!("{} {removed:?}", checks.added.len());
            }
            Step::Verdict(place, up) => {
                if let Some((id, _)) = self.balancer.places.iter().nth(*place) {
                    let event = if *up { succeed(*id) } else { fail(*id, 1) };
                    self.balancer.handle_event(&event);
                }
            }
        }
        changes + &seen(&mut self.balancer, &self.checks)
    }
}

proptest! {
    /// To pass over what did not change gives the same table, checks, lines, notifications and facts as to take it anew.
    #[test]
    fn passing_over_what_did_not_change_changes_nothing(steps in prop::collection::vec(step(), 2..8)) {
        let (mut quick, mut full) = (Side::new(false), Side::new(true));
        for step in &steps {
            prop_assert_eq!(quick.take(step), full.take(step));
        }
    }
}

#[test]
fn only_what_changed_is_worked_out() {
    let servers = |weight: u8| -> String {
        let weight = |address| if address == 2 { weight } else { 1 };
        let drawn = |address| Drawn { address, lines: "", real_servers: [(1, (weight(address), true))].into() };
        (1..4).map(|address| drawn(address).text()).collect()
    };
    let (balancer, _) = balancer(&servers(1));
    let changed = |text: &str| {
        let plan = balancer.plan(part(text)).unwrap();
        let changed = plan.servers.iter().map(|(_, next)| matches!(next, Next::Changed(_)));
        changed.collect::<Vec<_>>()
    };
    // It stands on other lines.
    assert_eq!(changed(&format!("\n\n{}", servers(1))), [false; 3]);
    assert_eq!(changed(&servers(2)), [false, true, false]);
    assert_eq!(changed(&format!("global_defs {{\n rs_init_notifies\n}}\n{}", servers(1))), [true; 3]);
}

#[test]
fn what_went_since_it_was_planned_begins_anew() {
    let servers = |numbers: std::ops::Range<u8>| -> String {
        let drawn = |address| Drawn { address, lines: "", real_servers: [(1, (1, true))].into() };
        numbers.map(|address| drawn(address).text()).collect()
    };
    let (mut balancer, _) = balancer(&servers(1..3));
    let before = balancer.pools();
    let plan = balancer.plan(part(&servers(1..3))).unwrap();
    configure(&mut balancer, &servers(2..3));
    assert_ne!(balancer.pools(), before);
    let checks = balancer.configure(plan, Instant::default());
    assert_eq!((balancer.pools(), checks.added.len()), (before, 1));
}

#[test]
fn the_place_of_a_word_of_all_changes_no_virtual_server() {
    let server = Drawn { address: 1, lines: "", real_servers: [(1, (1, true))].into() }.text();
    let text = format!("global_defs {{\n nftables_ipvs\n}}\n{server}");
    let (balancer, _) = balancer(&text);
    let plan = balancer.plan(part(&format!("\n\n{text}"))).unwrap();
    assert!(plan.servers.iter().all(|(_, next)| matches!(next, Next::Same(0))), "{plan:?}");
}

/// With ten thousand servers a start would otherwise tell the supervisor ten thousand times what the configuration says.
#[test]
fn nothing_is_remembered_of_a_server_before_its_first_verdict() {
    let known = |balancer: &Balancer| balancer.facts.keys().filter(|key| key.starts_with("checkers ")).count();
    let (mut first, ids) = balancer(&file("", ["", ""]));
    assert_eq!(known(&first), 0);
    first.handle_event(&succeed(ids[0]));
    assert_eq!(known(&first), 1);
    // Its check begins anew.
    configure(&mut first, &file("", ["connect_port 81", ""]));
    assert_eq!(known(&first), 0);
    // Not what a successor would begin with, or somebody hears of it.
    assert_eq!(known(&balancer(&file("", ["alpha", ""])).0), 1);
    assert_eq!(known(&balancer(&file("quorum_up /u", ["", ""])).0), 2);
}

/// Its facts are those of the other to whoever looks at how their keys begin.
#[test]
fn a_group_whose_name_begins_like_a_key_of_another_keeps_its_facts() {
    let group = |name: &str, weight: u8, last: u8| {
        format!(
            "virtual_server_group \"{name}\" {{\n 192.0.2.{last} 80\n}}\nvirtual_server group \"{name}\" {{\n protocol TCP\n \
             lb_algo rr\n lb_kind NAT\n alpha\n real_server 10.0.0.1 80 {{\n weight {weight}\n TCP_CHECK {{\n \
             connect_timeout 1\n }}\n }}\n}}\n"
        )
    };
    let (mut balancer, _) = balancer(&group("a", 1, 1));
    let key = balancer.facts.keys().find(|key| key.starts_with("checkers ")).unwrap().clone();
    let (tag, _) = key.strip_prefix("checkers [").unwrap().rsplit_once(' ').unwrap();
    let other = group(&format!("{tag} b"), 1, 2);
    configure(&mut balancer, &format!("{}{other}", group("a", 1, 1)));
    let facts = |balancer: &Balancer| balancer.facts.keys().filter(|key| key.starts_with("checkers ")).count();
    assert_eq!(facts(&balancer), 2);
    configure(&mut balancer, &format!("{}{other}", group("a", 2, 1)));
    assert_eq!(facts(&balancer), 2);
    configure(&mut balancer, &other);
    assert_eq!(facts(&balancer), 1);
}

#[test]
fn a_check_that_goes_on_shows_the_certificate_of_the_new_configuration() {
    let with = |identity: Option<Shown>| {
        let text = "virtual_server 192.0.2.1 443 {\n protocol TCP\n lb_algo rr\n lb_kind NAT\n \
            real_server 10.0.0.1 443 {\n SSL_GET {\n url {\n path /\n }\n }\n }\n}\n";
        CheckerPart { tls: Some(TlsPart { identity }), ..part(text) }
    };
    let mut balancer = Balancer::new(1);
    let plan = balancer.plan(with(None)).unwrap();
    let id = ids(&balancer.configure(plan, Instant::default()))[0];
    assert!(balancer.begin(id, None, &Errands::counting_from(1)).is_some());
    // As the probe of the check has it.
    let client = balancer.client.clone().unwrap();
    let before = format!("{client:?}");
    let certified = rcgen::generate_simple_self_signed(Vec::new()).unwrap();
    let (certificates, key) = (vec![certified.cert.der().to_vec()], certified.signing_key.serialize_der());
    let plan = balancer.plan(with(Some(Shown { certificates, key: key.clone() }))).unwrap();
    let checks = balancer.configure(plan, Instant::default());
    assert!(checks.added.is_empty() && checks.removed.is_empty());
    assert!(before.contains("has_certificate: false"), "{before}");
    assert!(format!("{client:?}").contains("has_certificate: true"), "{client:?}");
    let refused = balancer.plan(with(Some(Shown { certificates: vec![b"none".to_vec()], key }))).unwrap_err();
    assert!(refused.to_string().starts_with("SSL: "), "{refused}");
}
