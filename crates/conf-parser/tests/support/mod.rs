//! What several tests generate files from.

use conf_parser::schema::schema;
use proptest::prelude::*;

/// Words of the language, values and punctuation.
pub(crate) fn token() -> impl Strategy<Value = String> {
    let words: Vec<String> = schema().rows().map(|row| row.keyword.to_owned()).collect();
    let odd = [
        "{",
        "}",
        "\n",
        "\n",
        "\n",
        "\"",
        "'",
        "\\",
        "#",
        "!",
        "$A=",
        "$A=x\\\n",
        "${A}",
        "$A",
        "${_RANDOM 1 2}",
        "${_PWD}",
        "@n ",
        "@^n ",
        "~SEQ(A, 3) ",
        "~SEQ(A,B,",
        "~LST({A,B},{1,2}) ",
        "include a.conf\n",
        "include *.conf\n",
        "include_check ",
        "192.0.2.1/24",
        "2001:db8::1",
        "51",
        "-1",
        "0",
        "70000",
        "0.5",
        "4294967296",
        "on",
        "off",
        "TCP",
        "\u{a0}",
        "é",
        "\0",
        "\r\n",
        "255.255.0.0",
        "+",
        "-",
        "200-300",
        "eth0",
        "vrrp_instance V {\n",
        "virtual_server 192.0.2.1 80 {\n",
        "real_server 192.0.2.2 80 {\n",
        "virtual_ipaddress {\n",
    ];
    prop_oneof![
        2 => proptest::sample::select(words),
        3 => proptest::sample::select(odd.map(str::to_owned).to_vec()),
    ]
}
