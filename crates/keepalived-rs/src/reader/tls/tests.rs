use conf_parser::{MemoryLoader, Options, parse};

use super::*;

const CHECKS: &str = "virtual_server 192.0.2.1 443 {\n protocol TCP\n lvs_sched rr\n lvs_method NAT\n \
    real_server 192.0.2.11 443 {\n SSL_GET {\n url {\n path /\n }\n }\n }\n}\n";

const CERTIFICATE: &str = include_str!("tests/certificate.pem");
/// Its key, in the clear and encrypted with `sesame`.
const KEY: &str = include_str!("tests/key.pem");
const ENCRYPTED: &str = include_str!("tests/encrypted.pem");
/// Another key.
const OTHER: &str = include_str!("tests/other.pem");

/// Of the same key and X.509 version 1, as `openssl x509 -req` makes it.
const VERSION_1: &str = include_str!("tests/version1.pem");
/// DER, and no certificate.
const RUBBISH: &str = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n";

/// What a file with this block and checks makes of these files; with the findings.
fn read_block(lines: &str, checks: &str) -> (Option<TlsPart>, Vec<String>) {
    let text = format!("SSL {{\n{lines}\n}}\n{checks}");
    let certificates = [("c.pem", CERTIFICATE), ("v1.pem", VERSION_1), ("r.pem", RUBBISH)];
    let keys = [("k.pem", KEY), ("e.pem", ENCRYPTED), ("o.pem", OTHER)];
    let loader = MemoryLoader::new(certificates.into_iter().chain(keys).chain([("k.conf", text.as_str())]));
    let config = parse(&loader, Path::new("k.conf"), &Options::default()).config;
    let mut findings = Vec::new();
    let part = read(&loader, &config, &mut findings);
    let told = |finding: &Diagnostic| {
        let line = text
            .get(..usize::try_from(finding.span.unwrap().start).unwrap())
            .map_or(0, |before| before.lines().count());
        format!("{line}{} {}", if finding.refuses_start { "!" } else { "" }, finding.message)
    };
    (part, findings.iter().map(told).collect())
}

#[test]
fn what_the_files_hold_is_handed_over() {
    for lines in ["certificate c.pem\nkey k.pem", "certificate c.pem\nkey e.pem\npassword sesame\nca c.pem"] {
        let (part, findings) = read_block(lines, CHECKS);
        assert_eq!(findings, [""; 0]);
        let part = part.unwrap();
        let shown = part.identity.as_ref().unwrap();
        assert_eq!(shown.certificates, certificates(CERTIFICATE.as_bytes()).unwrap());
        assert_eq!(shown.key, Key::from_pem(KEY.as_bytes(), None).unwrap().der());
        assert!(part.client().is_ok());
    }
    assert_eq!(read_block("", CHECKS), (Some(TlsPart::default()), vec![]));
}

#[test]
fn a_certificate_of_version_1_is_shown_as_any() {
    let (part, findings) = read_block("certificate v1.pem\nkey k.pem", CHECKS);
    assert_eq!(findings, [""; 0]);
    assert!(part.unwrap().client().is_ok());
}

#[test]
fn without_a_check_over_tls_no_file_is_read() {
    assert_eq!(read_block("certificate nowhere.pem\nkey nowhere.pem", ""), (None, vec![]));
}

#[test]
fn a_file_that_is_of_no_use_refuses_the_configuration() {
    for (lines, expected) in [
        ("certificate nowhere.pem\nkey k.pem", "2! SSL certificate nowhere.pem cannot be used: no such file"),
        ("certificate k.pem\nkey k.pem", "2! SSL certificate k.pem cannot be used: it has no certificate in PEM"),
        ("ca k.pem", "2! SSL ca k.pem cannot be used: it has no certificate in PEM"),
        ("certificate c.pem\nkey c.pem", "3! SSL key c.pem cannot be used: it has no private key in PEM"),
        (
            "certificate c.pem\nkey e.pem",
            "3! SSL key e.pem cannot be used: the key is encrypted, and there is no password",
        ),
        (
            "certificate c.pem\nkey e.pem\npassword other",
            "3! SSL key e.pem cannot be used: the key cannot be decrypted with this password",
        ),
        ("certificate c.pem\nkey o.pem", "3! SSL key o.pem cannot be used: certificate and key do not belong together"),
        (
            "certificate v1.pem\nkey o.pem",
            "3! SSL key o.pem cannot be used: certificate and key do not belong together",
        ),
        (
            "certificate r.pem\nkey k.pem",
            "2! SSL certificate r.pem cannot be used: its first certificate cannot be read",
        ),
    ] {
        let (_, findings) = read_block(lines, CHECKS);
        assert!(matches!(&*findings, [found] if found.starts_with(expected)), "{lines}: {findings:?}");
    }
}

#[test]
fn half_of_what_a_server_is_shown_is_noted() {
    let (part, findings) = read_block("certificate c.pem", CHECKS);
    assert_eq!(part, Some(TlsPart::default()));
    assert_eq!(findings, ["2 SSL has no key: servers that ask for a certificate are shown none"]);
}

#[test]
fn neither_key_nor_password_is_told() {
    let (part, _) = read_block("certificate c.pem\nkey k.pem", CHECKS);
    assert_eq!(format!("{part:?}"), "Some(TlsPart { identity: Some(Shown { certificates: 1, .. }) })");
    for lines in ["key c.pem\npassword sesame", "certificate c.pem\nkey o.pem\npassword sesame"] {
        let (_, findings) = read_block(lines, CHECKS);
        assert!(!findings.is_empty() && !findings.join(" ").contains("sesame"), "{findings:?}");
    }
}
