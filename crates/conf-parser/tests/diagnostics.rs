//! Every small file with a mistake in `tests/diagnostics`, with what is said about it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail loudly")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use conf_parser::render::{self, Color};
use conf_parser::{LoadError, Loader, Options, config_test_exit_code, parse};

/// The files of one directory.
struct Directory(PathBuf);

impl Loader for Directory {
    #[expect(clippy::disallowed_methods, reason = "a test reads its own data")]
    fn load(&self, path: &Path) -> Result<Vec<u8>, LoadError> {
        std::fs::read(self.0.join(path)).map_err(|_| LoadError::NotFound)
    }

    fn glob(&self, _: &str) -> Result<Vec<PathBuf>, LoadError> {
        Ok(Vec::new())
    }
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/diagnostics")
}

fn report(file: &str) -> String {
    let parsed = parse(
        &Directory(directory()),
        Path::new(file),
        &Options { config_id: "node1".to_owned(), ..Options::default() },
    );
    let mut text = String::new();
    for finding in &parsed.diagnostics {
        text.push_str(&render::excerpt(finding, &parsed.sources, Color::None));
        text.push('\n');
    }
    for finding in &parsed.diagnostics {
        let _ = writeln!(text, "{}", render::line(finding, &parsed.sources));
    }
    let refuses = if parsed.refuses_start() { "refuses to start" } else { "starts" };
    let _ = writeln!(text, "\n{refuses}, --config-test gives {}", config_test_exit_code(&parsed.diagnostics));
    text
}

#[test]
fn every_mistake_is_explained() {
    let mut files: Vec<_> = std::fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.retain(|file| file.ends_with(".conf"));
    files.sort();
    assert!(files.len() >= 25, "{files:?}");
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("diagnostics");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        for file in files {
            insta::assert_snapshot!(file.trim_end_matches(".conf"), report(&file));
        }
    });
}
