//! Large files stay cheap, findings included.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use conf_parser::render::{self, Color};
use conf_parser::{MemoryLoader, Options, parse};

/// What a file of 200,000 lines may take, in a build without optimisation on a busy machine; scanning the file anew for
/// each finding takes minutes.
const BOUND: Duration = Duration::from_secs(60);

#[test]
#[expect(clippy::disallowed_types, reason = "a time bound is what is tested")]
fn two_hundred_thousand_lines_with_findings_all_over() {
    let mut text = String::new();
    for number in 0..25_000 {
        let _ = write!(
            text,
            "virtual_server 10.{}.{}.{} 80 {{\n lb_algo rr\n lb_kind DR\n protocol TCP\n real_server 192.0.2.1 80 {{\n  wieght 5\n }}\n}}\n",
            number / 62_500,
            number / 250 % 250,
            number % 250
        );
    }
    assert_eq!(text.lines().count(), 200_000);
    let started = std::time::Instant::now();
    let parsed = parse(&MemoryLoader::new([("k.conf", text)]), Path::new("k.conf"), &Options::default());
    assert_eq!(parsed.config.virtual_servers.len(), 25_000);
    assert_eq!(parsed.diagnostics.len(), 25_000);
    for finding in &parsed.diagnostics {
        let text = render::excerpt(finding, &parsed.sources, Color::None);
        assert!(
            text.contains("Unknown keyword 'wieght'") && render::line(finding, &parsed.sources).starts_with("k.conf:")
        );
    }
    assert!(started.elapsed() < BOUND, "{:?}", started.elapsed());
    println!("{:?}", started.elapsed());
}
