use std::path::{Path, PathBuf};

use super::*;
use crate::config::NameTable;
use crate::host::{Facts, FileFact, FileKind, Interface};
use crate::{MemoryLoader, Options, check, parse};

/// The text of the section with this title.
fn section<'a>(page: &'a str, title: &str) -> &'a str {
    let mut sections = page.split("\n## ").skip(1);
    let section = sections.find_map(|section| section.strip_prefix(title)).unwrap_or_default();
    section.trim()
}

/// The kind and the bytes of the example of a page.
fn example(page: &str) -> (&str, Vec<u8>) {
    let fenced = section(page, "Example").strip_prefix("```").unwrap();
    let (kind, rest) = fenced.split_once('\n').unwrap();
    let text = rest.strip_suffix("```").unwrap();
    if kind == "keepalived-escaped" { (kind, unescaped(text)) } else { (kind, text.as_bytes().to_vec()) }
}

/// `\xNN` as the byte that it stands for.
fn unescaped(text: &str) -> Vec<u8> {
    let mut parts = text.split("\\x");
    let mut bytes = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    bytes
}

#[test]
fn every_code_has_a_page_and_every_page_a_code() {
    let codes: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
    let pages: Vec<_> = PAGES.iter().map(|(code, _)| *code).collect();
    let missing: Vec<_> = codes.iter().filter(|code| !pages.contains(code)).collect();
    assert!(missing.is_empty(), "codes without a page in docs/diagnostics and in pages!: {missing:?}");
    assert_eq!(pages, codes, "pages of codes that are not there, or out of order");
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/diagnostics");
    let mut files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let names: Vec<_> = files.iter().filter_map(|file: &PathBuf| file.file_stem()?.to_str()).collect();
    assert_eq!(names, codes);
}

#[test]
fn every_page_explains_its_code() {
    for code in Code::ALL {
        let page = page(*code).unwrap();
        assert!(page.starts_with(&format!("# {code}: ")), "{code}");
        for title in ["What it means", "Example", "How to fix"] {
            assert!(section(page, title).len() > 20, "{code} has no '## {title}'");
        }
    }
}

#[test]
fn every_example_gives_its_code() {
    let eth0 = Interface { addresses: vec!["192.0.2.2/24".parse().unwrap()], ..Interface::default() };
    let interfaces = [("eth0".to_owned(), eth0)].into();
    let file = |mode, uid| FileFact { kind: FileKind::File, mode, uid, gid: 0 };
    let files = [("/k.conf", file(0o644, 0)), ("/bin/true", file(0o755, 0)), ("/opt/owned.sh", file(0o755, 1000))];
    let files = files.map(|(path, fact)| (PathBuf::from(path), fact)).into();
    let users = Some([].into());
    let names = [(NameTable::RoutingTables, [].into())].into();
    let host = Facts { interfaces: Some(interfaces), files: Some(files), users, names, ..Facts::default() };
    for code in Code::ALL {
        let (kind, bytes) = example(page(*code).unwrap());
        let file = if kind == "sh" { "a command, not a file" } else { "/k.conf" };
        let loader = MemoryLoader::new([(file, bytes)]);
        let options = Options { config_id: "n".to_owned(), ..Options::default() };
        let parsed = parse(&loader, Path::new("/k.conf"), &options);
        let mut findings = parsed.diagnostics;
        findings.extend(check(&parsed.config, &parsed.sources, &host));
        let found: Vec<_> = findings.iter().map(|finding| finding.code.as_str()).collect();
        assert!(found.contains(&code.as_str()), "the example of {code} gives {found:?}");
    }
}

#[test]
fn a_word_is_explained_for_each_block() {
    let text = explain("weight").unwrap();
    assert!(text.contains("in       virtual_server/real_server\n"), "{text}");
    assert!(text.contains("vrrp_script"), "{text}");
    let one = explain("vrrp_script/weight").unwrap();
    assert!(one.contains("-253..253") && one.len() < text.len(), "{one}");
}

#[test]
fn a_block_names_its_keywords() {
    let text = explain("vrrp_instance").unwrap();
    assert!(text.starts_with("vrrp_instance <name> { ... }\n") && text.contains("virtual_router_id"), "{text}");
}

#[test]
fn every_word_of_the_table_is_explained() {
    for row in schema().rows() {
        let text = explain(row.keyword).unwrap();
        assert!(text.contains(row.doc.trim_end_matches('.')), "{}", row.keyword);
    }
}

#[test]
fn codes_are_found_in_any_case() {
    assert_eq!(explain("k0101"), explain("K0101"));
    assert_eq!(explain("K9999").unwrap_err().to_string(), "'K9999' is neither a keyword nor the code of a finding");
    assert!(explain("vrrp_instanse").unwrap_err().near.contains(&"vrrp_instance"));
}
