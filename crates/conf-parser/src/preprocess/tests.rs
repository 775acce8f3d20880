use std::path::Path;

use crate::{Class, Code, Limits, Loader, MemoryLoader, Options, Parsed, Severity, parse};

/// Parses files of which the first is the main one, and gives the mails of `global_defs`: a list of any words.
fn run(files: &[(&str, &str)], options: &Options) -> Parsed {
    let loader = MemoryLoader::new(files.iter().copied());
    parse(&loader, Path::new(files[0].0), options)
}

fn words(text: &str) -> Vec<String> {
    let options = Options { config_id: "node1".to_owned(), random_seed: 7, ..Options::default() };
    let parsed = run(&[("/etc/k.conf", &format!("global_defs {{\nnotification_email {{\n{text}\n}}\n}}\n"))], &options);
    parsed.config.global.notification_email.into_iter().map(|one| one.value).collect()
}

fn findings(files: &[(&str, &str)]) -> Vec<String> {
    run(files, &Options::default()).diagnostics.into_iter().map(|finding| finding.message).collect()
}

#[test]
fn conditions_compare_the_identity() {
    assert_eq!(words("@node1 a\n@node2 b\n@^node2 c\n@^node1 d\n@node1x e\n@node1\nf"), ["a", "c", "f"]);
    assert_eq!(words("@ a\n@^ b\n@node1 @node1 c\n@node1 $Q=d\n$Q"), ["b", "@node1", "c", "d"]);
    assert_eq!(words("$A=@node2 a\n$B=@node1 b\n$A\n$B\nx$A"), ["b", "x@node2", "a"]);
}

#[test]
fn definitions_are_resolved_when_used() {
    assert_eq!(words("$A=one\n$B=${A}two\n$B\n$A=three\n$B"), ["onetwo", "threetwo"]);
    assert_eq!(words("$A=x\n$A.y $A ($A) $A,z"), ["$A.y", "x", "(x)", "x,z"]);
    assert_eq!(words("$Z = x"), ["$Z", "=", "x"]);
    assert_eq!(words("$A=\na${A}b"), ["ab"]);
    assert_eq!(words("$A=@node2 x\n$A\ny"), ["y"]);
    assert_eq!(words(" $A=x\n$1=2\n$a-b=3\n$_B9=y\n$_B9"), ["$1=2", "$a-b=3", "y"]);
    assert_eq!(words("$_INSTANCE=q\n${_INSTANCE}"), ["q"]);
}

#[test]
fn definitions_of_several_lines_keep_their_lines() {
    assert_eq!(words("$A=one \\\n two\\\n\\\n three\nx $A"), ["x", "one", "two", "three"]);
    assert_eq!(words("$I=i1\\\ni2\n$A=$I\\\nlast\n$A"), ["i1", "i2", "last"]);
    assert_eq!(words("$A=one\\\n# two\\\n@node2 x\\\nthree\n$A"), ["one", "three"]);
    assert_eq!(words("$A=one\\\ntwo\n$A x"), ["$A", "x"]);
}

#[test]
fn built_in_names() {
    assert_eq!(words("${_PWD} ${_INSTANCE} a${_HASH}b\n\"${_BANG}\" ${_ENV HOME}x"), ["/etc", "node1", "a", "!", "x"]);
    let numbers = words("${_RANDOM} ${_RANDOM 5 6} ${_RANDOM 9 9} ${_RANDOM 9 3}");
    assert!(numbers[0].parse::<u32>().unwrap() <= 32767);
    assert!(["5", "6"].contains(&numbers[1].as_str()));
    assert_eq!(numbers[2..], ["9", "9"]);
}

#[test]
fn comments_are_stripped_after_each_substitution() {
    assert_eq!(words("a ${_HASH} b\n$_BANG c\n\"d${_HASH}e\""), ["a", "d#e"]);
    assert_eq!(words("\\# \\! x # y"), ["#", "!", "x"]);
}

#[test]
fn wrong_parameters_leave_the_reference() {
    for (reference, expected) in [
        ("${_RANDOM 1 2 3}", "'_RANDOM' takes at most two whole numbers up to 4294967295, the text stays as it is"),
        ("${_RANDOM -1}", "'_RANDOM' takes at most two whole numbers up to 4294967295, the text stays as it is"),
        ("${_RANDOM +1}", "'_RANDOM' takes at most two whole numbers up to 4294967295, the text stays as it is"),
        ("${_ENV}", "'_ENV' takes the name of one variable, the text stays as it is"),
        ("${_PWD x}", "the definition '_PWD' takes no parameters, the text stays as it is"),
        ("${_RANDOM 9 3}", "_RANDOM has a least number of 9 above its most, 3: 9 is used"),
    ] {
        assert_eq!(findings(&[("k", &format!("global_defs {{\nrouter_id {reference}\n}}"))])[0], expected);
    }
}

#[test]
fn an_undefined_name_inside_a_definition_is_reported_there() {
    let parsed = run(&[("k", "$A=x${B}\n$C=a${A}\nglobal_defs {\nrouter_id \"${C}\"\n}")], &Options::default());
    let finding = parsed.diagnostics.iter().find(|finding| finding.code == crate::Code::BadReference).unwrap();
    let trace = parsed.sources.trace(finding.span.unwrap()).unwrap();
    assert_eq!(trace.to_string(), "k:1:5, from $A, from $C");
    let used: Vec<_> =
        trace.expansions.iter().map(|one| parsed.sources.location(one.used).unwrap().to_string()).collect();
    assert_eq!(used, ["k:2:5", "k:4:12"]);
    let defined: Vec<_> = trace.expansions.iter().map(|one| parsed.sources.location(one.defined.unwrap())).collect();
    assert_eq!(defined.iter().flatten().map(|place| place.line).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn values_know_the_way_they_came() {
    let files = [("k", "$I=\\\nrouter_id a\ninclude b\n"), ("b", "global_defs {\n~SEQ(N, 2) @^x $I\n}\n")];
    let parsed = run(&files, &Options::default());
    let place = parsed.config.global.places.of("global_defs", "router_id").unwrap();
    let trace = parsed.sources.trace(place).unwrap();
    assert_eq!(trace.to_string(), "k:2:1, from $I, round 2 of ~SEQ, included at k:3:9");
}

#[test]
fn environment_comes_from_the_loader() {
    struct WithHome(MemoryLoader);
    impl Loader for WithHome {
        fn load(&self, path: &Path) -> Result<Vec<u8>, crate::LoadError> {
            self.0.load(path)
        }
        fn glob(&self, pattern: &str) -> Result<Vec<std::path::PathBuf>, crate::LoadError> {
            self.0.glob(pattern)
        }
        fn environment(&self, name: &str) -> Option<String> {
            (name == "HOME").then(|| "/root".to_owned())
        }
    }
    let loader = WithHome(MemoryLoader::new([("k", "global_defs {\nrouter_id ${_ENV HOME}\n}")]));
    assert_eq!(parse(&loader, Path::new("k"), &Options::default()).config.global.router_id.as_deref(), Some("/root"));
}

#[test]
fn sequences_repeat_a_line() {
    assert_eq!(words("~SEQ(N, 3) a$N"), ["a1", "a2", "a3"]);
    assert_eq!(words("~SEQ(N, 3) a${N}b"), ["a1b", "a2b", "a3b"]);
    assert_eq!(words("~SEQ(N,-2) ${N}"), ["-1", "-2"]);
    assert_eq!(words("~SEQ(N,4,2) ${N}"), ["4", "3", "2"]);
    assert_eq!(words("~SEQ(N,1,3,8) ${N}"), ["1", "4", "7"]);
    assert_eq!(words("~SEQ(N,5,5) ${N}\n$N"), ["5", "5"]);
    assert_eq!(words("~SEQx(N, 9, 0x0b) ${N}"), ["9", "a", "b"]);
    assert_eq!(words("$E=2\n~SEQ(A, $E) ~SEQ(B, 2) ${A}${B}"), ["11", "12", "21", "22"]);
    assert_eq!(words("$L=x${N}\\\ny${N}\n~SEQ(N, 2) $L"), ["x1", "y1", "x2", "y2"]);
}

#[test]
fn lists_repeat_a_line() {
    assert_eq!(words("~LST(A, x, y) ${A}"), ["x", "y"]);
    assert_eq!(words("~LST({A,B}, {x,1}, {y}) ${A}-${B}"), ["x-1", "y-"]);
    assert_eq!(words("~LST({A, B},1 , { 2,3 }) ${A}${B}"), ["1", "23"]);
    assert_eq!(words("~LST(A,x,) ${A}z"), ["xz", "z"]);
    // The values are looked at again where they are used.
    assert_eq!(words("$L=x, y\n~LST(A, $L) z${A}"), ["zx,", "y"]);
    assert_eq!(words("~LST(A, 1, 2) ~SEQ(B, $A) ${A}${B}"), ["11", "21", "22"]);
}

#[test]
fn malformed_repetitions_are_reported() {
    for (line, expected) in [
        ("~SEQ(N, 1, 0, 5) x", "~SEQ from 1 never reaches 5 in steps of 0"),
        ("~SEQ(N, 1, -1, 5) x", "~SEQ from 1 never reaches 5 in steps of -1"),
        ("~SEQ(N, 2000000000) x", "~SEQ gives 2000000000 rounds, more than the 1000000 lines that may still come"),
        ("~SEQx(N, -3) x", "~SEQx is only valid for positive numbers"),
        ("~SEQ(1, 3) x", "'1' is not a name"),
        ("~SEQ(N, q) x", "invalid number 'q'"),
        ("~SEQ(N, 3 x", "the ')' is missing"),
        ("~LST(A, {x,y}) z", "~LST has 2 values for 1 names"),
        ("~LST(A, x y) z", "the value 'x y' of ~LST holds a blank"),
        ("~LST(A) z", "~LST has no values"),
        ("~LST() z", "'' is not a name"),
        ("~SEQX(A, 2) z", "'~SEQX' is neither ~SEQ, ~SEQx nor ~LST"),
        ("~SEQ(A, 1, 2, 3, 4) z", "~SEQ takes a name and one to three numbers"),
    ] {
        let found = run(&[("k", line)], &Options::default()).diagnostics;
        assert_eq!(found.len(), 1, "{line}");
        let message = format!("Invalid {} specification '{line}'", line.get(..4).unwrap());
        let unclosed = message.replace(" x'", "'").replace(" z'", "'");
        assert!(found[0].message == message || found[0].message == unclosed, "{}", found[0].message);
        assert_eq!(found[0].label.as_deref(), Some(expected), "{line}");
    }
}

#[test]
fn expansions_that_never_end_are_stopped() {
    for text in [
        "$A=$A\nx $A",
        "$A=x$B\n$B=y$A\n${A}",
        "$A=${A}${A}\n${A}",
        "$A=a\\\n$A\n$A",
        "~SEQ(A,1000) ~SEQ(B,1000) ~SEQ(C,1000) @nobody x",
        "~SEQ(A,90000) ~SEQ(B,90000)",
    ] {
        let found = run(&[("k", text)], &Options::default()).diagnostics;
        assert!(found.iter().any(|finding| finding.code == crate::Code::LimitReached), "{text}: {found:?}");
    }
}

#[test]
fn an_undefined_name_stays() {
    assert_eq!(words("$X"), ["$X"]);
    let text = "vrrp_script s {\nscript \"/bin/true ${X}\"\n}";
    let found = run(&[("k", text)], &Options::default()).diagnostics;
    assert_eq!((found.len(), found[0].severity, found[0].class), (1, Severity::Warning, Class::Notice));
}

/// The one finding about what is written in an instance `V` with number 5, in front of an instance `W` with number 6.
fn undefined(lines: &str) -> Parsed {
    let instance = |name: &str, lines: &str| {
        format!("vrrp_instance {name} {{\ninterface eth0\n{lines}\nvirtual_ipaddress {{\n192.0.2.1\n}}\n}}\n")
    };
    let before = "virtual_router_id 5\nvirtual_ipaddress {\n192.0.2.1\n}\n";
    let text = instance("V", &format!("{before}{lines}\nadvert_int 3")) + &instance("W", "virtual_router_id 6");
    let parsed = run(&[("k", &text)], &Options::default());
    let found: Vec<_> = parsed.diagnostics.iter().map(|finding| finding.message.as_str()).collect();
    assert_eq!(found, ["the definition 'X' is not known, the text stays as it is"], "{lines}");
    assert_eq!(parsed.diagnostics[0].severity, Severity::Error);
    assert_eq!(parsed.config.vrrp_instances[1].virtual_router_id.0.get(), 6);
    parsed
}

#[test]
fn an_undefined_name_in_braces_is_one_finding() {
    let parsed = undefined("priority ${X}");
    let instance = &parsed.config.vrrp_instances[0];
    assert_eq!((instance.priority.0.get(), instance.advertisement_interval.as_secs()), (100, 1));
    assert_eq!(parsed.diagnostics[0].help.as_deref(), Some("define it above this line: $X=VALUE"));
    // The first `}` is the end of the list, the next one that of the instance.
    let parsed = undefined("virtual_ipaddress_excluded {\n192.0.2.2\n${X}\n192.0.2.3\n}\npriority 7");
    assert_eq!(parsed.config.vrrp_instances[0].excluded_addresses.len(), 1);
    assert_eq!(parsed.config.vrrp_instances[0].priority.0.get(), 100);
    undefined("${X}\npriority 7");
    undefined("${X} {\npriority 7\n}\npriority 8");
}

#[test]
fn what_an_undefined_name_costs_is_still_refused() {
    let text = "vrrp_instance V {\ninterface eth0\nnative_ipv6 ${X}\nvirtual_router_id 5\n}\nbad\n";
    let parsed = run(&[("k", text)], &Options::default());
    let found: Vec<_> = parsed.diagnostics.iter().map(|finding| finding.code).collect();
    assert!(parsed.refuses_start() && found.contains(&Code::NoVrid), "{found:?}");
    // Behind the block all is as before.
    assert_eq!(parsed.diagnostics.last().unwrap().message, "Unknown keyword 'bad'");
}

#[test]
fn includes_are_relative_to_the_file_that_names_them() {
    let files = [
        ("/etc/k.conf", "include conf.d/*.conf\n"),
        ("/etc/conf.d/a.conf", "global_defs {\ninclude sub/b.inc\n}\n"),
        ("/etc/conf.d/sub/b.inc", "router_id ${_PWD}\n"),
        ("/etc/conf.d/z.conf", "global_defs { smtp_server ${_PWD} }\n"),
    ];
    let parsed = run(&files, &Options::default());
    assert_eq!(parsed.diagnostics, []);
    assert_eq!(parsed.config.global.router_id.as_deref(), Some("/etc/conf.d/sub"));
    assert_eq!(parsed.config.global.smtp.server.map(|server| server.host).as_deref(), Some("/etc/conf.d"));
    assert_eq!(parsed.sources.files().len(), 4);
}

#[test]
fn include_loops_are_cut() {
    assert_eq!(findings(&[("k", "include ./k\n")]), ["'./k' includes itself - ignoring"]);
    assert_eq!(
        findings(&[("k", "include a\n"), ("a", "include b\n"), ("b", "include a\n")]),
        ["'a' includes itself through others - ignoring"]
    );
}

#[test]
fn a_missing_include_refuses_the_start_only_when_checked() {
    let refuses = |text: &str| run(&[("k", text)], &Options::default()).refuses_start();
    assert!(!refuses("include none"));
    assert!(!refuses("includer none"));
    assert!(refuses("includem none"));
    assert!(!refuses("includem none*"));
    assert!(refuses("includew none*"));
    assert!(!refuses("includem {k2,none}*"));
    assert!(refuses("includea {k2,none}"));
    assert!(refuses("include_check match\ninclude none"));
    assert!(!refuses("include_check +match -match\ninclude none"));
    assert!(refuses("global_defs {\ninclude_check\n}\ninclude none"));
    assert_eq!(findings(&[("k", "include_check foo")]), ["Unknown include_check type 'foo' - ignoring"]);
    assert_eq!(findings(&[("k", "include")]), ["Unknown keyword 'include'"]);
    let all = Options { check_includes: true, ..Options::default() };
    assert!(run(&[("k", "include none")], &all).refuses_start());
}

#[test]
fn only_the_first_word_of_include_check_may_lack_a_sign() {
    let text = "global_defs {\ninclude_check read match\n}\ninclude none";
    let parsed = run(&[("k", text)], &Options::default());
    assert_eq!(parsed.diagnostics[0].message, "Duplicate include_check 'match' specified - ignoring");
    assert!(!parsed.refuses_start());
    for word in ["read", "readable"] {
        assert_eq!(findings(&[("k", &format!("include_check {word} +match -match +brace_match"))]), [""; 0]);
    }
}

#[test]
fn the_rest_of_an_include_line_is_its_pattern() {
    let files = [("k", "include a b # c\n"), ("a b", "global_defs { router_id x }")];
    assert_eq!(run(&files, &Options::default()).config.global.router_id.as_deref(), Some("x"));
    let parsed = run(&[("k", "include \"a b\"")], &Options::default());
    assert_eq!(parsed.diagnostics[0].message, "Config files missing '\"a b\"'.");
    assert_eq!(parsed.diagnostics[0].help.as_deref(), Some("remove the quotes: they count as part of the name"));
    assert_eq!(findings(&[("k", "include/a"), ("/a", "")]), ["Unknown keyword 'include/a'"]);
    assert_eq!(findings(&[("k", "includex a"), ("a", "")])[0], "Unknown keyword 'includex'");
}

#[test]
fn a_file_that_cannot_be_read_refuses_the_start_only_when_checked() {
    struct Directory;
    impl Loader for Directory {
        fn load(&self, path: &Path) -> Result<Vec<u8>, crate::LoadError> {
            match path.to_str() {
                Some("plain") => Ok(b"include d".to_vec()),
                Some("checked") => Ok(b"includer d".to_vec()),
                _ => Err(crate::LoadError::NotRegular),
            }
        }
        fn glob(&self, _: &str) -> Result<Vec<std::path::PathBuf>, crate::LoadError> {
            Ok(Vec::new())
        }
    }
    let status = |main: &str| {
        let parsed = parse(&Directory, Path::new(main), &Options::default());
        (parsed.diagnostics.len(), crate::config_test_exit_code(&parsed.diagnostics))
    };
    assert_eq!(status("plain"), (1, 0));
    assert_eq!(status("checked"), (1, 4));
}

#[test]
fn include_checks_end_with_their_file() {
    let files = [("k", "include a\ninclude none\n"), ("a", "include_check\n")];
    assert!(!run(&files, &Options::default()).refuses_start());
}

#[test]
fn braces_in_includes() {
    let files = [
        ("k", "include {a,b}.inc\n"),
        ("a.inc", "global_defs { router_id a }"),
        ("b.inc", "global_defs { smtp_server b }"),
    ];
    let parsed = run(&files, &Options::default());
    assert_eq!(parsed.config.global.router_id.as_deref(), Some("a"));
    assert_eq!(parsed.config.global.smtp.server.map(|server| server.host).as_deref(), Some("b"));
}

#[test]
fn a_missing_main_file_is_the_one_finding() {
    let parsed = parse(&MemoryLoader::default(), Path::new("/etc/k.conf"), &Options::default());
    assert!(!parsed.main_file_read());
    assert!(parsed.refuses_start());
    assert_eq!(parsed.diagnostics[0].message, "Config files missing '/etc/k.conf'.");
    assert_eq!(crate::config_test_exit_code(&parsed.diagnostics), 4);
}

#[test]
fn limits_on_files_hold() {
    let limits = Limits { files: 3, ..Limits::default() };
    let options = Options { limits, ..Options::default() };
    let found = run(&[("k", "include a\ninclude a\ninclude a\n"), ("a", "\n")], &options).diagnostics;
    assert_eq!(found[0].message, "too many or too large files: the reading stops here");
    let limits = Limits { include_depth: 2, ..Limits::default() };
    let options = Options { limits, ..Options::default() };
    let files = [("k", "include a"), ("a", "include b"), ("b", "include c"), ("c", "x")];
    assert_eq!(
        run(&files, &options).diagnostics[0].message,
        "includes too deep inside each other: the reading stops here"
    );
}

/// What is found in `text` with such limits, with the line of each finding, and what is kept.
fn limited(text: &str, limits: Limits) -> (Vec<(String, usize)>, Parsed) {
    let parsed = run(&[("k", text)], &Options { limits, ..Options::default() });
    let line = |span| parsed.sources.location(span).unwrap().line;
    let found = parsed.diagnostics.iter().map(|finding| (finding.message.clone(), line(finding.span.unwrap())));
    (found.collect(), parsed)
}

#[test]
fn limits_on_blocks_hold() {
    let block = |name: &str| format!("vrrp_script {name} {{\n script /bin/true\n}}\n");
    let text = format!("{}vrrp_script c\n{{\n script {{\n}}\nfoo\n}}\n{}", block("a") + &block("b"), block("d"));
    let limits = |blocks| Limits { blocks, ..Limits::default() };
    let (found, parsed) = limited(&text, limits(2));
    assert_eq!(found, [("the configuration has more than 2 blocks: what follows is not kept".to_owned(), 7)]);
    assert!(parsed.refuses_start());
    assert_eq!(crate::config_test_exit_code(&parsed.diagnostics), 4);
    assert_eq!(parsed.config.vrrp_scripts.iter().map(|script| script.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let (found, parsed) = limited(&(block("a") + &block("b")), limits(2));
    assert_eq!((found.len(), parsed.config.vrrp_scripts.len()), (0, 2));
}

#[test]
fn limits_on_entries_hold() {
    let server = "real_server 192.0.2.1 80 {\n TCP_CHECK {\n }\n}\n";
    let text = |servers: usize| {
        let servers: String = (0..servers).map(|number| server.replace(".1 ", &format!(".{number} "))).collect();
        format!("virtual_server 192.0.2.1 80 {{\nprotocol TCP\nlb_algo rr\nlb_kind NAT\n{servers}weight 3\n}}\n")
    };
    let limits = |entries| Limits { entries, ..Limits::default() };
    let count = |parsed: &Parsed| parsed.config.virtual_servers.iter().map(|server| server.real_servers.len()).sum();
    let too_many = |entries| {
        format!("the lists and blocks of the configuration have more than {entries} lines: what follows is not kept")
    };
    let (found, parsed) = limited(&text(10), limits(20));
    assert_eq!((found, count(&parsed)), (vec![], 10usize));
    // What does not count is read still: the weight.
    let (found, parsed) = limited(&(text(10) + "static_ipaddress {\n192.0.2.1\n}\n"), limits(18));
    assert_eq!(found, [(too_many(18), 41)]);
    assert_eq!(
        (count(&parsed), parsed.config.virtual_servers[0].weight, parsed.config.static_addresses.len()),
        (9, 3, 0)
    );
    // A list, long lines and scripts.
    for (text, line) in [
        ("static_ipaddress {\n192.0.2.1/24 dev eth0\n192.0.2.2/24 dev eth0\n192.0.2.3/24 dev eth0\n}\n", 4),
        ("static_ipaddress {\n192.0.2.1/24 dev eth0 scope link\n192.0.2.3/24 dev eth0\n}\n", 3),
        ("vrrp_script a {\n script \"/bin/true 345678 0123456 890123456\"\n}\n", 2),
    ] {
        let (found, _) = limited(text, limits(2));
        assert!(found.contains(&(too_many(2), line)), "{text}: {found:?}");
    }
}

#[test]
fn a_product_of_many_servers_is_within_the_limits() {
    // Virtual servers of ten real servers, each with a checker, as many as a file of 100 MB holds.
    const SERVERS: usize = 70_000;
    let limits = Limits::default();
    assert!(SERVERS <= limits.blocks && SERVERS * 10 * 2 <= limits.entries, "{limits:?}");
}

#[test]
fn limits_on_definitions_hold() {
    let limits = |definitions| Limits { definitions, ..Limits::default() };
    let text = "$A=1\n$B=2\n$C=a\\\nb\\\nc\n";
    assert_eq!(limited(text, limits(5)).0, []);
    let (found, parsed) = limited(text, limits(2));
    assert_eq!(found, [("too many definitions: the reading stops here".to_owned(), 3)]);
    assert!(parsed.refuses_start());
}

#[test]
fn odd_characters() {
    let parsed = parse(
        &MemoryLoader::new([("k", b"\xef\xbb\xbfglobal_defs {\r\nrouter_id a\0b\r\nrouter_id caf\xe9\r\n}\r\n")]),
        Path::new("k"),
        &Options::default(),
    );
    let found: Vec<_> = parsed.diagnostics.iter().map(|finding| finding.message.as_str()).collect();
    assert_eq!(
        found,
        [
            "the file starts with a UTF-8 byte order mark, which is passed over",
            "the line holds a NUL byte - ignoring",
            "the file is not UTF-8: byte 0xe9"
        ]
    );
    assert_eq!(parsed.config.global.router_id.as_deref(), Some("caf\u{fffd}"));
}

#[test]
fn a_finding_in_an_expanded_line_points_at_its_definition() {
    let parsed = run(&[("k", "$A=foo 1\\\nbar 2\n\n$A\n$B=qux\nx$B y ${B}\n")], &Options::default());
    let places: Vec<_> = parsed
        .diagnostics
        .iter()
        .map(|finding| (finding.message.as_str(), parsed.sources.location(finding.span.unwrap()).unwrap().to_string()))
        .collect();
    assert_eq!(
        places,
        [
            ("Unknown keyword 'foo'", "k:1:4".to_owned()),
            ("Unknown keyword 'bar'", "k:2:1".to_owned()),
            ("Unknown keyword 'xqux'", "k:6:1".to_owned())
        ]
    );
}

#[test]
fn what_keepalived_drops_silently_is_told() {
    let long = format!("global_defs {{\nrouter_id a{}\n}}", "b".repeat(1100));
    let parsed = run(&[("k", &long)], &Options::default());
    assert_eq!(parsed.diagnostics.iter().map(|finding| finding.code).collect::<Vec<_>>(), [crate::Code::LongLine]);
    assert_eq!(parsed.config.global.router_id.map(|name| name.len()), Some(1101));
    assert_eq!(crate::config_test_exit_code(&parsed.diagnostics), 0);
    let old = run(&[("k", "global_defs {\r router_id a\r}\r")], &Options::default());
    assert_eq!(old.diagnostics.iter().map(|finding| finding.code).collect::<Vec<_>>(), [crate::Code::LoneReturn]);
    assert_eq!(old.config.global.router_id.as_deref(), Some("a"));
    for text in ["global_defs {\r\n\trouter_id\ta\r\n}\r\n", "global_defs {\n\x0brouter_id\x0ca\n}"] {
        let parsed = run(&[("k", text)], &Options::default());
        assert_eq!((parsed.diagnostics.len(), parsed.config.global.router_id.as_deref()), (0, Some("a")));
    }
}

#[test]
fn a_quotation_mark_alone_is_one_finding() {
    assert_eq!(findings(&[("k", "global_defs {\n\"\nrouter_id a\n}")]), ["Unterminated quote '\"'"]);
    assert_eq!(findings(&[("k", "global_defs {\n \" \n}")]), ["Unterminated quote '\"'"]);
}

#[test]
fn findings_beyond_the_limit_are_one() {
    let limits = Limits { findings: 10, ..Limits::default() };
    let options = Options { limits, ..Options::default() };
    let parsed = run(&[("k", &format!("{}includem none\n", "foo\n".repeat(100)))], &options);
    assert_eq!(parsed.diagnostics.len(), 11);
    let told = parsed.diagnostics.iter().find(|finding| finding.refuses_start).unwrap();
    assert_eq!(told.message, "91 more findings are not listed; the worst: Config files missing 'none'.");
}

/// What a file asks for must not take long, whatever it asks for: as long as a large plain file at most.
#[test]
#[expect(clippy::disallowed_types, reason = "a time bound is what is tested")]
fn expansions_cost_no_more_than_a_large_file() {
    let time = |text: &str| {
        let started = std::time::Instant::now();
        assert!(run(&[("k", text)], &Options::default()).main_file_read());
        started.elapsed()
    };
    let plain = "global_defs {\nnotification_email {\n a@example.org\n}\n}\n".repeat(60_000);
    let control = time(&plain);
    let doubling: String = (0..60).map(|number| format!("$A{}=${{A{number}}}${{A{number}}}\n", number + 1)).collect();
    let lines: String = (0..60).map(|number| format!("$A{}=$A{number}\\\n$A{number}\n", number + 1)).collect();
    for text in [
        "include ./k\n".to_owned(),
        "$A=$A\nfoo $A\n".to_owned(),
        "$A=x$B\n$B=y$A\nfoo $A\n".to_owned(),
        "~SEQ(N, 1000000000) x$N\n".to_owned(),
        "~SEQ(A, 4294967295) ~SEQ(B, 4294967295) x\n".to_owned(),
        "~SEQ(A,1000) ~SEQ(B,1000) ~SEQ(C,1000) @nobody x".to_owned(),
        format!("$A0=x\n{doubling}foo ${{A60}}\n"),
        format!("$A0=x\\\ny\n{lines}$A60\n"),
    ] {
        let taken = time(&text);
        assert!(taken < control * 20 + std::time::Duration::from_secs(2), "{text:.40}: {taken:?}, control {control:?}");
    }
}

#[test]
#[expect(clippy::disallowed_types, reason = "a time bound is what is tested")]
fn long_lines_stay_cheap() {
    // Anything that looks at the rest of the line for each word of it takes many minutes.
    let bound = std::time::Duration::from_secs(30);
    let names: String = (0..50_000).map(|number| format!("a{number},")).collect();
    for text in [
        r"\#".repeat(300_000),
        "${A ".repeat(250_000),
        "$A ${B} ".repeat(100_000),
        format!("~LST({{{names}b}}{}) x", ",{}".repeat(300_000)),
        format!("include {}", "{a}".repeat(300_000)),
        format!("include {}", "{a,b}".repeat(800)),
        "{".repeat(500_000),
        "foo {".repeat(200_000),
        "\"a\"".repeat(300_000),
    ] {
        let started = std::time::Instant::now();
        assert!(run(&[("k", &text)], &Options::default()).main_file_read());
        assert!(started.elapsed() < bound, "{:.20}: {:?}", text, started.elapsed());
    }
}
