//! Any octets as a keepalived.conf, up to its values: read to their end, every finding with a place that exists; and
//! where nothing is wrong, the effective configuration as text means the same.
//!
//! A NUL ends the main file; what follows can be included as `other.conf`.

#![no_main]

use std::path::Path;

use conf_parser::{Limits, MemoryLoader, Options, Parsed, Severity, config_test_exit_code, parse, setting};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| {
    let (main, other) = match octets.iter().position(|&octet| octet == 0) {
        Some(end) => (&octets[..end], &octets[end + 1..]),
        None => (octets, &b""[..]),
    };
    let parsed = read(&[("main.conf", main), ("other.conf", other)]);
    assert!(parsed.main_file_read());
    for finding in &parsed.diagnostics {
        assert!(!finding.message.is_empty());
        let spans = finding.span.into_iter().chain(finding.related.iter().map(|related| related.span));
        for span in spans {
            let place = parsed.sources.location(span).expect("a place in a file that was read");
            assert!(place.line > 0 && place.column > 0);
        }
    }
    for usage in &parsed.unsupported {
        assert!(parsed.sources.location(usage.span).is_some());
    }
    let status = config_test_exit_code(&parsed.diagnostics);
    assert!(matches!(status, 0 | 4 | 5 | 6));
    let settings = parsed.config.settings();
    if setting::is_writable(&settings) && parsed.diagnostics.iter().all(no_error) {
        let text = setting::text(&settings, &|_| None, true);
        let again = read(&[("main.conf", text.as_bytes())]);
        assert_eq!(parsed.config, again.config, "{text}");
    }
});

fn no_error(finding: &conf_parser::Diagnostic) -> bool {
    finding.severity != Severity::Error
}

fn read(files: &[(&str, &[u8])]) -> Parsed {
    let options = Options {
        // A few lines can ask for millions.
        limits: Limits { files: 16, lines: 2_000, expanded_bytes: 256 << 10, ..Limits::default() },
        ..Options::default()
    };
    parse(&MemoryLoader::new(files.iter().copied()), Path::new("main.conf"), &options)
}
