use super::*;

fn formatted(text: &str) -> String {
    let once = format(text.as_bytes());
    assert_eq!(format(&once), once, "formatting again changes {text:?}");
    String::from_utf8(once).unwrap()
}

#[test]
fn blocks_are_indented_one_keyword_to_a_line() {
    let text = "\n\nvrrp_instance V\n{\nstate\t BACKUP\n\n\n  virtual_ipaddress { 192.0.2.1/24   dev eth0 }\n\n}}\n\n";
    let expected = "\
vrrp_instance V {
    state BACKUP

    virtual_ipaddress {
        192.0.2.1/24 dev eth0
    }
}
}
";
    assert_eq!(formatted(text), expected);
}

#[test]
fn comments_stay_with_their_lines() {
    let text = "# top\nglobal_defs { # of all\n! old\n  router_id   a!b\n      smtp_alert#c\n}   # end\nvrrp_instance V # mine\n{\n}\n";
    let expected = "\
# top
global_defs { # of all
    ! old
    router_id a !b
    smtp_alert #c
} # end
vrrp_instance V # mine
{
}
";
    assert_eq!(formatted(text), expected);
}

#[test]
fn what_means_something_before_it_is_cut_keeps_its_text() {
    let text = "\
  $A  =  x
$LIST=\\
192.0.2.1   dev  eth0 \\
  192.0.2.2
global_defs {
@one   router_id   a
~SEQ(N,   1, 2)   notification_email
include   x.conf
router_id   ${A}
}
";
    let expected = "\
$A  =  x
$LIST=\\
192.0.2.1   dev  eth0 \\
192.0.2.2
global_defs {
    @one   router_id   a
    ~SEQ(N,   1, 2)   notification_email
    include   x.conf
    router_id   ${A}
}
";
    assert_eq!(formatted(text), expected);
}

#[test]
fn commands_and_quoted_texts_stay() {
    let text = "vrrp_instance \"V  1\" {\nnotify   \"/x  'a   b'\"  user\nnotify_master /x '{'  'c'\n}\n";
    let expected =
        "vrrp_instance \"V  1\" {\n    notify   \"/x  'a   b'\"  user\n    notify_master /x '{'  'c'\n    }\n";
    assert_eq!(formatted(text), expected);
}

#[test]
fn one_of_several_conditions_opens_the_block() {
    let text = "\
@a vrrp_instance A {
@^a vrrp_instance B {
state BACKUP
@a virtual_ipaddress {
@a 192.0.2.1
@a }
}
";
    let expected = "\
@a vrrp_instance A {
@^a vrrp_instance B {
    state BACKUP
    @a virtual_ipaddress {
        @a 192.0.2.1
    @a }
}
";
    assert_eq!(formatted(text), expected);
}

#[test]
fn unknown_words_are_left_alone() {
    let text = "foo   bar {  baz   1 }\nvrrp_instance V { priorty   5 }\n";
    assert_eq!(formatted(text), text);
}

#[test]
fn odd_bytes_are_kept() {
    assert_eq!(format(b""), b"");
    assert_eq!(format(b"\n \n"), b"");
    assert_eq!(format(b"\xef\xbb\xbf\nglobal_defs {\r\n}"), b"\xef\xbb\xbfglobal_defs {\n}\n");
    assert_eq!(
        format(b"global_defs {\n a\0  {\n router_id \xff \n}\n"),
        b"global_defs {\n a\0  {\n    router_id \xff\n}\n"
    );
    let long = format!("global_defs {{\n  router_id  {}\n}}\n", "x".repeat(1500));
    assert_eq!(formatted(&long), long);
}

#[test]
fn a_blank_line_that_ends_a_definition_stays() {
    assert_eq!(formatted("$A=x\\\n\n\n\nglobal_defs {\n\n}\n"), "$A=x\\\n\n\nglobal_defs {\n}\n");
}
