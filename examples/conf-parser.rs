//! Checks a keepalived.conf and says all that is wrong with it, without root and without touching the host.
//!
//! `cargo run -p keepalived-rs-examples --example conf-parser -- examples/keepalived-a.conf`
//!
//! Exit status: that of `keepalived --config-test`.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use conf_parser::{LoadError, Loader, Options, config_test_exit_code, parse};

/// The library opens no file: this does. Wildcards of `include` are left out here.
struct Disk;

impl Loader for Disk {
    fn load(&self, path: &Path) -> Result<Vec<u8>, LoadError> {
        fs::read(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => LoadError::NotFound,
            io::ErrorKind::IsADirectory => LoadError::NotRegular,
            io::ErrorKind::PermissionDenied => LoadError::PermissionDenied,
            _ => LoadError::Other(error.to_string()),
        })
    }

    fn glob(&self, pattern: &str) -> Result<Vec<PathBuf>, LoadError> {
        Ok(vec![PathBuf::from(pattern)])
    }
}

fn main() -> Result<ExitCode> {
    let path = std::env::args_os().nth(1).context("usage: conf-parser FILE")?;
    let parsed = parse(&Disk, Path::new(&path), &Options::default());
    for finding in &parsed.diagnostics {
        let place = finding.span.and_then(|span| parsed.sources.location(span));
        let place = place.map_or_else(|| path.display().to_string(), |place| place.to_string());
        println!("{place}: {:?}: {}", finding.severity, finding.message);
        if let Some(help) = &finding.help {
            println!("    {help}");
        }
    }
    for usage in &parsed.unsupported {
        if let Some(place) = parsed.sources.location(usage.span) {
            println!("{place}: {} is known but not acted on", usage.keyword);
        }
    }
    let config = &parsed.config;
    println!("{} VRRP instances, {} virtual servers", config.vrrp_instances.len(), config.virtual_servers.len());
    Ok(ExitCode::from(config_test_exit_code(&parsed.diagnostics)))
}
