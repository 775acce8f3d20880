use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use conf_parser::{MemoryLoader, Options, parse};

use super::*;

/// What a checker worker is told by this file. Every word of it must be understood.
pub(crate) fn part(text: &str) -> CheckerPart {
    CheckerPart::take_from(&mut config(text))
}

/// A file that is understood without a finding.
pub(crate) fn config(text: &str) -> Config {
    let loader = MemoryLoader::new([("k.conf", text)]);
    let parsed = parse(&loader, Path::new("k.conf"), &Options::default());
    let findings: Vec<_> = parsed.diagnostics.iter().map(|finding| &finding.message).collect();
    assert!(findings.is_empty(), "{findings:?}");
    parsed.config
}

fn only(text: &str) -> VirtualServer {
    let mut servers = part(text).virtual_servers;
    assert_eq!(servers.len(), 1);
    servers.remove(0)
}

/// What is said of IPVS as a whole, wherever it stands.
pub(crate) fn without_places(mut table: TablePart) -> TablePart {
    if let Some(sync) = &mut table.sync_daemon {
        sync.span = conf_parser::Span::default();
    }
    table
}

/// A virtual server that is no group, as the library is told of it.
fn virtual_server(server: &VirtualServer) -> virtual_server::Config {
    CheckerPart::default().virtual_server(server).unwrap()
}

/// All that the libraries are told of the virtual servers of `part`.
pub(crate) fn carried_out(part: &CheckerPart) -> Vec<String> {
    let told = part.virtual_servers.iter().flat_map(|server| told(part, server));
    told.collect()
}

fn told(part: &CheckerPart, server: &VirtualServer) -> Vec<String> {
    let checks = server.real_servers.iter().flat_map(|real| {
        real.checkers.iter().map(move |checker| {
            let connect = connect(real, &checker.target);
            let probe = match runnable(&checker.kind) {
                Ok(Runnable::Tcp | Runnable::Ping) => format!("{connect:?}"),
                Ok(Runnable::Http(get)) => format!("{:?}", http_config(real, connect, get)),
                Ok(Runnable::Ssl(get)) => {
                    format!("{:?} {:?}", http_config(real, connect, get), sessions(server, get))
                }
                Ok(Runnable::Dns(check)) => format!("{:?}", dns_config(connect, check)),
                Ok(Runnable::Smtp(check)) => format!("{:?}", smtp_config(connect, check)),
                Ok(Runnable::Udp(check)) => format!("{:?}", udp_config(connect, check)),
                Ok(Runnable::Misc(check)) => format!("{:?} {}", misc_timeout(checker, check), check.dynamic),
                Ok(Runnable::File) => return format!("{:?}", followed(checker)),
                Err(_) => return "counts as down".to_owned(),
            };
            format!("{:?} {} {probe}", timing(server, real, checker, 0), checker.log_all_failures)
        })
    });
    std::iter::once(format!("{:?} {:?}", part.virtual_server(server), server.drain_timeout)).chain(checks).collect()
}

#[test]
fn a_virtual_server_becomes_its_kernel_service() {
    let server = only(
        "virtual_server 192.0.2.1 80 {
            protocol TCP
            lb_algo sh
            sh-port
            lb_kind DR
            persistence_timeout 50
            persistence_granularity 255.255.255.0
            quorum 2
            hysteresis 1
            omega
            sorry_server 10.0.0.9 80
            real_server 10.0.0.1 80 {
                weight 3
                inhibit_on_failure
                uthreshold 100
                lthreshold 50
                TCP_CHECK { connect_timeout 3 }
            }
            real_server 10.0.0.2 80 { lvs_method NAT }
        }",
    );
    let config = virtual_server(&server);
    assert_eq!(&*config.name, "[192.0.2.1]:tcp:80");
    let service = config.services[0];
    assert_eq!(service.address, ServiceAddress::tcp("192.0.2.1:80".parse().unwrap()));
    assert_eq!(service.scheduler.as_str(), "sh");
    assert_eq!(service.flags, ServiceFlags::SCHEDULER_2);
    let granularity = Granularity::Netmask(Ipv4Addr::new(255, 255, 255, 0));
    assert_eq!(service.persistence, Some(Persistence { timeout: Seconds(50), granularity }));
    assert_eq!((config.quorum, config.hysteresis, config.omega), (2, 1, true));
    let first = &config.real_servers[0];
    assert_eq!(&*first.name, "[10.0.0.1]:tcp:80");
    assert_eq!((first.weight, first.upper_threshold, first.lower_threshold), (Weight(3), 100, 50));
    assert!(first.inhibit_on_failure);
    assert_eq!(first.forwarding, ForwardingMethod::DirectRoute);
    assert_eq!(first.checkers, [virtual_server::Checker::UP]);
    assert_eq!(config.real_servers[1].forwarding, ForwardingMethod::Masquerade);
    assert_eq!(config.real_servers[1].checkers, []);
    assert_eq!(config.sorry_server.unwrap().address, "10.0.0.9".parse::<std::net::IpAddr>().unwrap());
}

#[test]
fn a_mark_and_a_tunnel_are_expressed() {
    let server = only(
        "virtual_server fwmark 7 {
            ip_family inet6
            lb_algo rr
            lb_kind TUN
            real_server 2001:db8::1 0 { weight 1 }
        }",
    );
    let config = virtual_server(&server);
    let mark = NonZeroU32::new(7).unwrap();
    assert_eq!(config.services[0].address, ServiceAddress::fwmark(mark, Family::Inet6));
    assert_eq!(&*config.name, "FWM 7");
    assert_eq!(config.real_servers[0].forwarding, ForwardingMethod::Tunnel(Tunnel::Ipip));
}

#[test]
fn mark_zero_is_refused() {
    let mut server = only("virtual_server fwmark 7 { lb_algo rr\n lb_kind NAT\n real_server 10.0.0.1 0 { weight 1 } }");
    server.service.value = ServiceKey::Fwmark { mark: 0, family: config::Family::Ipv4 };
    assert_eq!(
        CheckerPart::default().virtual_server(&server).unwrap_err().to_string(),
        "FWM 0: a firewall mark must be at least 1"
    );
}

#[test]
fn granularity_is_taken_over() {
    let mask = Ipv4Addr::new(255, 128, 0, 0);
    assert_eq!(granularity(config::Granularity::Netmask(mask), Family::Inet), Granularity::Netmask(mask));
    assert_eq!(granularity(config::Granularity::Prefix(64), Family::Inet6), Granularity::Prefix(64));
    // A group behind tunnels may have both families.
    assert_eq!(granularity(config::Granularity::Netmask(mask), Family::Inet6), Granularity::Prefix(128));
}

#[test]
fn tunnels_are_taken_over() {
    let port = std::num::NonZeroU16::new(6080).unwrap();
    for (ours, kernel) in [
        (config::TunnelChecksum::Checksum, TunnelChecksum::Checksum),
        (config::TunnelChecksum::Remote, TunnelChecksum::Remote),
    ] {
        assert_eq!(tunnel(config::Tunnel::Gue { port, checksum: ours }), Tunnel::Gue { port, checksum: kernel });
    }
    assert_eq!(tunnel(config::Tunnel::Gre { checksum: true }), Tunnel::Gre { checksum: TunnelChecksum::Checksum });
}

#[test]
fn a_sorry_server_has_its_own_forwarding() {
    let server = only(
        "virtual_server 192.0.2.1 80 {
            protocol TCP
            lb_algo rr
            lb_kind NAT
            sorry_server 10.0.0.9 80
            sorry_server_lvs_method TUN type gre csum
            real_server 10.0.0.1 80 { weight 1 }
        }",
    );
    let sorry = virtual_server(&server).sorry_server.unwrap();
    assert_eq!(sorry.forwarding, ForwardingMethod::Tunnel(Tunnel::Gre { checksum: TunnelChecksum::Checksum }));
}

#[test]
fn a_group_is_one_virtual_server_of_many_services() {
    let part = part(
        "virtual_server_group G {
            192.0.2.1-2 80
            fwmark 7
        }
        virtual_server group G {
            protocol TCP
            lb_algo rr
            lb_kind NAT
            persistence_engine sip
            persistence_granularity 255.255.255.0
            sorry_server 10.0.0.9 81
            sorry_server_inhibit
            real_server 10.0.0.1 8080 { weight 1 }
        }",
    );
    let config = part.virtual_server(&part.virtual_servers[0]).unwrap();
    assert_eq!(&*config.name, "[G]:0");
    let addresses: Vec<_> = config.services.iter().map(|service| service.address.to_string()).collect();
    assert_eq!(addresses, ["[192.0.2.1]:tcp:80", "[192.0.2.2]:tcp:80", "FWM 7"]);
    for service in &config.services {
        assert_eq!(service.persistence_engine.unwrap().as_str(), "sip");
        let granularity = Granularity::Netmask(Ipv4Addr::new(255, 255, 255, 0));
        assert_eq!(service.persistence.unwrap().granularity, granularity);
    }
    assert_eq!(&*config.real_servers[0].name, "[10.0.0.1]:tcp:8080");
    let sorry = config.sorry_server.unwrap();
    assert_eq!((&*sorry.name, sorry.port, sorry.inhibit), ("[10.0.0.9]:tcp:81", Some(81), true));
}

#[test]
fn an_engine_without_persistence_is_not_set() {
    let server = |more: &str| {
        only(&format!(
            "virtual_server 192.0.2.1 80 {{
                protocol TCP
                lb_algo rr
                lb_kind NAT
                persistence_engine sip
                {more}
                real_server 10.0.0.1 80 {{ weight 1 }}
            }}"
        ))
    };
    assert_eq!(virtual_server(&server("")).services[0].persistence_engine, None);
    assert!(virtual_server(&server("persistence_timeout 50")).services[0].persistence_engine.is_some());
}

#[test]
fn a_name_of_sixteen_octets_is_cut_to_what_the_kernel_can_hold() {
    assert_eq!(persistence_engine("abcdefghijklmnop").unwrap().as_str(), "abcdefghijklmno");
    assert_eq!(persistence_engine(""), None);
}

#[test]
fn under_alpha_a_checker_begins_as_down() {
    let server = only(
        "virtual_server 192.0.2.1 80 {
            protocol TCP
            lb_algo rr
            lb_kind NAT
            alpha
            delay_loop 7
            real_server 10.0.0.1 80 { TCP_CHECK { retry 4\n delay_before_retry 2\n warmup 0 } }
        }",
    );
    let config = virtual_server(&server);
    assert_eq!(config.real_servers[0].checkers, [virtual_server::Checker::DOWN]);
    let (real, checker) = (&server.real_servers[0], &server.real_servers[0].checkers[0]);
    let timing = timing(&server, real, checker, 9);
    let expected = schedule::Config {
        delay_loop: Duration::from_secs(7),
        retry: 4,
        delay_before_retry: Duration::from_secs(2),
        warmup: Some(Duration::ZERO),
        alpha: true,
        fast_recovery: false,
        seed: 9,
    };
    assert_eq!(timing, expected);
}

#[test]
fn a_check_connects_where_it_is_told() {
    let server = only(
        "virtual_server 192.0.2.1 80 {
            protocol TCP
            lb_algo rr
            lb_kind NAT
            real_server 10.0.0.1 8080 {
                TCP_CHECK { connect_port 99\n bindto 10.0.0.7\n bind_port 1234\n connect_timeout 2 }
                TCP_CHECK { connect_ip 10.0.0.8 }
            }
        }",
    );
    let real = &server.real_servers[0];
    let first = connect(real, &real.checkers[0].target);
    assert_eq!(first.target, "10.0.0.1:99".parse().unwrap());
    assert_eq!((first.bindto, first.bind_port), (Some("10.0.0.7".parse().unwrap()), Some(1234)));
    assert_eq!(first.connect_timeout, Duration::from_secs(2));
    assert_eq!(connect(real, &real.checkers[1].target).target, "10.0.0.8:8080".parse().unwrap());
}

#[test]
fn a_misc_check_has_its_own_times() {
    let times = |lines: &str| {
        let server = only(&format!(
            "virtual_server 192.0.2.1 80 {{
                protocol TCP
                lb_algo rr
                lb_kind NAT
                delay_loop 11
                real_server 10.0.0.1 80 {{ MISC_CHECK {{\n misc_path /x\n {lines}\n }} }}
            }}"
        ));
        let real = &server.real_servers[0];
        let checker = &real.checkers[0];
        let CheckerKind::Misc(check) = &checker.kind else { panic!("{checker:?}") };
        let config = timing(&server, real, checker, 0);
        let seconds = |time: Duration| time.as_secs();
        let warmup = config.warmup.map(seconds).unwrap();
        let times = [seconds(config.delay_loop), warmup, seconds(config.delay_before_retry)];
        (times, config.retry, seconds(misc_timeout(checker, check)), config.alpha)
    };
    assert_eq!(times(""), ([11, 11, 1], 0, 11, false));
    let own = "delay_loop 9\n warmup 3\n delay_before_retry 2\n retry 4\n misc_timeout 5\n alpha";
    assert_eq!(times(own), ([9, 3, 2], 4, 5, true));
    assert_eq!(times("delay_loop 9").2, 9);
}

/// The only checker of a file, which is of that `expected` kind, and its real server.
fn with_checker<T>(checker: &str, expected: &str, look: impl FnOnce(&RealServer, &Checker) -> T) -> T {
    let server = only(&format!(
        "virtual_server 192.0.2.1 80 {{
            protocol TCP
            lb_algo rr
            lb_kind NAT
            delay_loop 11
            real_server 10.0.0.1 80 {{ {checker} }}
        }}"
    ));
    let real = &server.real_servers[0];
    let timing = timing(&server, real, &real.checkers[0], 0);
    assert_eq!((timing.delay_loop, timing.warmup), (Duration::from_secs(9), Some(Duration::from_secs(3))));
    assert_eq!((timing.retry, timing.delay_before_retry), (4, Duration::from_secs(2)));
    assert!(timing.alpha);
    assert_eq!(kind(&server, real, &real.checkers[0]), Ok(expected));
    look(real, &real.checkers[0])
}

/// What all checkers that connect have.
const COMMON: &str = "connect_ip 10.0.0.8\n connect_port 99\n bindto 10.0.0.7\n bind_port 1234\n bind_if eth0\n fwmark 7\n \
    connect_timeout 2\n delay_loop 9\n warmup 3\n retry 4\n delay_before_retry 2\n alpha";

fn common() -> Connect {
    Connect {
        bindto: Some("10.0.0.7".parse().unwrap()),
        bind_port: Some(1234),
        bind_if: Some("eth0".to_owned()),
        fwmark: 7,
        connect_timeout: Duration::from_secs(2),
        ..Connect::to("10.0.0.8:99".parse().unwrap())
    }
}

#[test]
fn a_udp_check_is_what_the_file_says() {
    let config = |lines: &str| {
        with_checker(&format!("UDP_CHECK {{\n {COMMON}\n {lines}\n }}"), "UDP_CHECK", |real, checker| {
            let CheckerKind::Udp(check) = &checker.kind else { panic!("{checker:?}") };
            udp_config(connect(real, &checker.target), check)
        })
    };
    assert_eq!(config(""), udp::Config::new(common()));
    assert_eq!(config("min_reply_length 4"), udp::Config::new(common()), "a reply is not required");
    assert_eq!(config("require_reply").require_reply, Some(udp::Reply::default()));
    let own = "payload 0102 a3\n require_reply 0x\n min_reply_length 4\n max_reply_length 512";
    let pattern = vec![udp::ReplyByte { value: 0, mask: 0xf0 }];
    let require_reply = Some(udp::Reply { pattern, min_length: 4, max_length: 512 });
    assert_eq!(config(own), udp::Config { connect: common(), payload: vec![1, 2, 0xa3], require_reply });
}

#[test]
fn a_ping_check_is_what_the_file_says() {
    with_checker(&format!("PING_CHECK {{\n {COMMON}\n }}"), "ICMP CHECK", |real, checker| {
        assert_eq!(connect(real, &checker.target), common());
    });
}

#[test]
fn a_dns_check_is_what_the_file_says() {
    let config = |lines: &str| {
        with_checker(&format!("DNS_CHECK {{\n {COMMON}\n {lines}\n }}"), "DNS_CHECK", |real, checker| {
            let CheckerKind::Dns(check) = &checker.kind else { panic!("{checker:?}") };
            dns_config(connect(real, &checker.target), check).unwrap()
        })
    };
    assert_eq!(config(""), dns::Config::new(common()));
    assert_eq!(config("name www.example.org").name, Name::parse("www.example.org.").unwrap());
    // As the IANA has numbered them.
    let numbers = [1, 2, 5, 6, 15, 16, 28, 46, 48];
    for ((word, _), number) in DnsType::WORDS.iter().zip(numbers) {
        assert_eq!(config(&format!("type {word}")).record, RecordType(number), "{word}");
    }
    assert_eq!(DnsType::WORDS.len(), numbers.len());
}

#[test]
fn a_dns_check_has_three_retries_as_far_apart_as_its_tries() {
    let server = only(
        "virtual_server 192.0.2.1 53 {
            protocol UDP
            lb_algo rr
            lb_kind NAT
            delay_loop 7
            real_server 10.0.0.1 53 { DNS_CHECK { } }
        }",
    );
    let real = &server.real_servers[0];
    let timing = timing(&server, real, &real.checkers[0], 0);
    assert_eq!((timing.retry, timing.delay_before_retry), (3, Duration::from_secs(7)));
}

#[test]
fn a_name_that_cannot_be_sent_keeps_its_server_out() {
    let mut server = only(
        "virtual_server 192.0.2.1 53 {
            protocol UDP
            lb_algo rr
            lb_kind NAT
            real_server 10.0.0.1 53 { DNS_CHECK { name example.org } }
        }",
    );
    let CheckerKind::Dns(check) = &mut server.real_servers[0].checkers[0].kind else { panic!("DNS_CHECK") };
    check.name = "a".repeat(64);
    assert_eq!(virtual_server(&server).real_servers[0].checkers, [virtual_server::Checker::DOWN]);
    let real = &server.real_servers[0];
    assert_eq!(kind(&server, real, &real.checkers[0]).unwrap_err(), "a label of the name has more than 63 octets");
}

#[test]
fn an_smtp_check_is_what_the_file_says() {
    let config = |lines: &str| {
        with_checker(&format!("SMTP_CHECK {{\n {COMMON}\n {lines}\n }}"), "SMTP_CHECK", |real, checker| {
            let CheckerKind::Smtp(check) = &checker.kind else { panic!("{checker:?}") };
            smtp_config(connect(real, &checker.target), check).unwrap()
        })
    };
    assert_eq!(config(""), smtp::Config::new(common()));
    let helo_name = smtp::HeloName::new("lb1.example.com").unwrap();
    assert_eq!(config("helo_name lb1.example.com"), smtp::Config { helo_name, ..smtp::Config::new(common()) });
}

#[test]
fn every_host_of_an_smtp_check_is_asked() {
    let loader = MemoryLoader::new([(
        "k.conf",
        "virtual_server 192.0.2.1 25 {
            protocol TCP
            lb_algo rr
            lb_kind NAT
            real_server 10.0.0.1 25 {
                SMTP_CHECK {
                    host { connect_ip 10.0.0.8\n connect_timeout 2 }
                    host { connect_port 26\n bindto 10.0.0.7\n bind_port 1234\n bind_if eth0\n fwmark 7\n retry 4 }
                    helo_name last
                }
            }
        }",
    )]);
    let server = parse(&loader, Path::new("k.conf"), &Options::default()).config.virtual_servers.remove(0);
    let real = &server.real_servers[0];
    assert_eq!(virtual_server(&server).real_servers[0].checkers.len(), 3);
    let connects: Vec<_> = real.checkers.iter().map(|checker| connect(real, &checker.target)).collect();
    let own = Connect::to("10.0.0.1:25".parse().unwrap());
    let first =
        Connect { target: "10.0.0.8:25".parse().unwrap(), connect_timeout: Duration::from_secs(2), ..own.clone() };
    let second = Connect { target: "10.0.0.1:26".parse().unwrap(), connect_timeout: own.connect_timeout, ..common() };
    assert_eq!(connects, [own, first, second]);
    for checker in &real.checkers {
        assert_eq!(kind(&server, real, checker), Ok("SMTP_CHECK"));
        assert_eq!(timing(&server, real, checker, 0).retry, 4);
    }
}

#[test]
fn a_checker_that_cannot_run_counts_as_down() {
    for (checker, expected) in [
        ("SSL_GET { url { path /\n regex x } }", "this release cannot run SSL_GET with regex"),
        ("HTTP_GET { url { path /\n regex x } }", "this release cannot run HTTP_GET with regex"),
    ] {
        let server = only(&format!(
            "virtual_server 192.0.2.1 80 {{
                protocol TCP
                lb_algo rr
                lb_kind NAT
                real_server 10.0.0.1 80 {{ {checker} }}
            }}"
        ));
        assert_eq!(virtual_server(&server).real_servers[0].checkers, [virtual_server::Checker::DOWN]);
        let real = &server.real_servers[0];
        assert_eq!(kind(&server, real, &real.checkers[0]).unwrap_err(), expected);
    }
}

#[test]
fn a_checker_without_what_it_needs_counts_as_down() {
    let mut server = only(
        "virtual_server 192.0.2.1 80 {
            protocol TCP
            lb_algo rr
            lb_kind NAT
            real_server 10.0.0.1 80 { HTTP_GET { url { path / } } }
        }",
    );
    server.real_servers[0].checkers[0].kind = CheckerKind::Unusable(config::CheckerType::Http);
    assert_eq!(virtual_server(&server).real_servers[0].checkers, [virtual_server::Checker::DOWN]);
    let real = &server.real_servers[0];
    assert_eq!(kind(&server, real, &real.checkers[0]).unwrap_err(), "its HTTP_GET is incomplete");
}

#[test]
fn a_server_is_told_the_name_that_is_closest_but_for_that_of_the_real_server() {
    let server = |checker: &str, virtualhost: &str| {
        only(&format!(
            "virtual_server 192.0.2.1 443 {{
                protocol TCP
                lb_algo rr
                lb_kind NAT
                {virtualhost}
                real_server 10.0.0.1 443 {{
                    virtualhost real.example.org
                    SSL_GET {{ {checker}\n url {{ path / }} \n url {{ path /2\n virtualhost url.example.org:8443 }} }}
                }}
            }}"
        ))
    };
    let names = |checker: &str, virtualhost: &str| {
        let server = server(checker, virtualhost);
        let CheckerKind::Ssl(get) = &server.real_servers[0].checkers[0].kind else { panic!("{server:?}") };
        sessions(&server, get).unwrap().into_iter().map(|session| session.server_name).collect::<Vec<_>>()
    };
    let why_not = |checker: &str| {
        let server = server(checker, "");
        let real = &server.real_servers[0];
        kind(&server, real, &real.checkers[0]).unwrap_err()
    };
    let name = |host: &str| ServerName::of_host(host).unwrap();
    let of_server = "virtualhost server.example.org";
    assert_eq!(names("", of_server), [None, None]);
    assert_eq!(names("enable_sni", of_server), [name("server.example.org"), name("url.example.org")]);
    let own = "enable_sni\n virtualhost own.example.org";
    assert_eq!(names(own, of_server), [name("own.example.org"), name("url.example.org")]);
    let told = "virtualhost own.example.org\n sni_name told.example.org";
    assert_eq!(names(told, of_server), [name("told.example.org"), name("told.example.org")]);
    let wrong = "\"two words\" is no name that a TLS server can be told";
    assert_eq!(why_not("enable_sni\n virtualhost \"two words\""), wrong);
    // An address is no name.
    assert_eq!(names("enable_sni\n virtualhost 192.0.2.7:443", ""), [None, name("url.example.org")]);
}

#[test]
fn a_session_ends_with_a_notification_where_that_is_asked_for() {
    let server = only(
        "virtual_server 192.0.2.1 443 {
            protocol TCP
            lb_algo rr
            lb_kind NAT
            real_server 10.0.0.1 443 {
                SSL_GET { tls_compliant\n url { path / }\n url { path /2\n tls_compliant off } }
            }
        }",
    );
    let CheckerKind::Ssl(get) = &server.real_servers[0].checkers[0].kind else { panic!("{server:?}") };
    let ends: Vec<_> = sessions(&server, get).unwrap().iter().map(|session| session.close_notify).collect();
    assert_eq!(ends, [true, false]);
}

#[test]
fn a_check_over_tls_runs_with_a_client_only() {
    let server = only(
        "virtual_server 192.0.2.1 443 {
            protocol TCP
            lb_algo rr
            lb_kind NAT
            real_server 10.0.0.1 443 { SSL_GET { fast_recovery\n url { path / } } }
        }",
    );
    let real = &server.real_servers[0];
    let checker = &real.checkers[0];
    assert_eq!(kind(&server, real, checker), Ok("HTTP_CHECK"));
    assert!(timing(&server, real, checker, 0).fast_recovery);
    let probe = |client: Option<&Client>| {
        let program = |_, _| -> NoProgram { unreachable!("it runs no program") };
        super::probe((&server, real, checker), client, program).map(|probe| probe.map(|probe| probe.kind()))
    };
    assert_eq!(probe(TlsPart::default().client().ok().as_ref()), Ok(Some("HTTP_CHECK")));
    assert_eq!(probe(None).unwrap_err(), "there is no TLS for it");
}

/// A program that nobody runs.
struct NoProgram;

impl misc::Program for NoProgram {
    async fn run(&self) -> misc::Ended {
        misc::Ended::Refused
    }
}
