//! Reading a generated configuration of 20,000 lines: files, lines, blocks, types.

use std::{fmt::Write as _, path::Path};

use conf_parser::{Blocks, MemoryLoader, Options, Parsed, parse, read_tree, tokens};

const LINES: usize = 20_000;

fn main() {
    divan::main();
}

/// Words and braces of the lines.
#[divan::bench]
fn lex(bencher: divan::Bencher<'_, '_>) {
    let text = configuration();
    bencher.counter(divan::counter::BytesCount::of_str(text.as_str())).bench(|| tokens(text.as_bytes()).count());
}

/// Blocks and keywords, with preprocessing.
#[divan::bench]
fn tree(bencher: divan::Bencher<'_, '_>) {
    let text = configuration();
    let loader = MemoryLoader::new([("keepalived.conf", text.as_str())]);
    bencher
        .counter(divan::counter::BytesCount::of_str(text.as_str()))
        .bench(|| read_tree(&loader, Path::new("keepalived.conf"), &Options::default()));
}

/// Typed values from blocks and keywords that are read already.
#[divan::bench]
fn lower(bencher: divan::Bencher<'_, '_>) {
    let text = configuration();
    let loader = MemoryLoader::new([("keepalived.conf", text.as_str())]);
    let blocks = Blocks::read(&loader, Path::new("keepalived.conf"), &Options::default());
    assert_eq!(blocks.lower(), read(&loader).config);
    bencher.counter(divan::counter::BytesCount::of_str(text.as_str())).bench(|| blocks.lower());
}

/// Everything, down to typed values.
#[divan::bench]
fn parse_20_000_lines(bencher: divan::Bencher<'_, '_>) {
    let text = configuration();
    assert!(text.lines().count() >= LINES);
    let loader = MemoryLoader::new([("keepalived.conf", text.as_str())]);
    assert_eq!(read(&loader).config.virtual_servers.len(), text.matches("virtual_server").count());
    bencher.counter(divan::counter::BytesCount::of_str(text.as_str())).bench(|| read(&loader));
}

fn read(loader: &MemoryLoader) -> Parsed {
    parse(loader, Path::new("keepalived.conf"), &Options::default())
}

/// Alternating VRRP instances and virtual servers, each with its own addresses and a comment.
fn configuration() -> String {
    let mut text = String::from("global_defs {\n    router_id BENCH\n}\n");
    let mut lines = text.lines().count();
    for number in 0.. {
        if lines >= LINES {
            break;
        }
        let start = text.len();
        if number < 255 {
            instance(&mut text, number);
        }
        virtual_server(&mut text, number);
        lines += text.get(start..).unwrap_or_default().lines().count();
    }
    text
}

fn instance(text: &mut String, number: u32) {
    let _infallible = writeln!(
        text,
        "# instance {number}\n\
         vrrp_instance VI_{number} {{\n    state BACKUP\n    interface eth{}\n    virtual_router_id {}\n    priority 100\n    \
         advert_int 1\n    authentication {{\n        auth_type PASS\n        auth_pass secret\n    }}\n    \
         virtual_ipaddress {{\n        198.18.{number}.100/24\n        198.18.{number}.101/24\n    }}\n}}\n",
        number / 50,
        number + 1,
    );
}

fn virtual_server(text: &mut String, number: u32) {
    let address = format!("198.19.{}.{}", number / 250, number % 250 + 1);
    let _infallible = write!(
        text,
        "virtual_server {address} 80 {{\n    delay_loop 6\n    lb_algo wlc\n    lb_kind NAT\n    protocol TCP\n"
    );
    for server in 1..=3 {
        let _infallible = write!(
            text,
            "    real_server 10.{}.{}.{server} 8080 {{\n        weight {server}\n        TCP_CHECK {{\n            \
             connect_timeout 3\n            retry 2\n            delay_before_retry 1\n        }}\n    }}\n",
            number / 250,
            number % 250,
        );
    }
    text.push_str("}\n\n");
}
