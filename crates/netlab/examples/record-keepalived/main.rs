//! Runs Debian's keepalived on every file of a folder and records which values it took from it.
//!
//! ```text
//! cargo run -p netlab --example record-keepalived -- CORPUS OUT [DUMPS]
//! ```
//!
//! `CORPUS` is a folder of configuration files (`*.conf`). Each is run in a virtual machine with IPVS, in a network with
//! the interfaces for which the corpus was labelled and those that keepalived misses; scripts exist as stubs that do
//! nothing, users and groups as entries of their own. On SIGUSR1 keepalived writes its data, of which `OUT/NAME.tsv` keeps
//! what follows from the configuration. With `DUMPS`, all that the machine printed is kept in that file; if it exists
//! already, it is read instead of booting a machine.

mod machine;
mod values;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use std::{env, fs};

use netlab::peers;
use netlab::vm::Vm;

/// Where the files are in the machine.
const CORPUS_INSIDE: &str = "/corpus/open";
/// Said to the program where it is to be the inner part.
const INSIDE: &str = "--inside";
/// What the machine may take to boot, and for one file.
const DEADLINE: Duration = Duration::from_secs(60);
const DEADLINE_PER_FILE: Duration = Duration::from_secs(6);

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let result = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [INSIDE] => machine::run(),
        [corpus, out] => boot(Path::new(corpus)).and_then(|dumps| keep(&dumps, Path::new(out))),
        [corpus, out, dumps] => {
            kept(Path::new(corpus), Path::new(dumps)).and_then(|dumps| keep(&dumps, Path::new(out)))
        }
        _ => Err("record-keepalived CORPUS OUT [DUMPS]".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("record-keepalived: {error}");
            ExitCode::FAILURE
        }
    }
}

fn kept(corpus: &Path, dumps: &Path) -> Result<String> {
    if !dumps.exists() {
        fs::write(dumps, boot(corpus)?)?;
    }
    Ok(fs::read_to_string(dumps)?)
}

/// What keepalived did with each file of `corpus`.
fn boot(corpus: &Path) -> Result<String> {
    let program = env::current_exe()?;
    let modules = ["ip_vs", "veth", "nf_tables", "macvlan", "vrf"];
    let vm = modules.into_iter().fold(Vm::new()?.memory(1024).processors(2), Vm::module);
    let vm = peers::keepalived()?.add_to(vm)?.program(&program)?.file(corpus, CORPUS_INSIDE)?;
    let vm = vm.text("/etc/hosts", "127.0.0.1 localhost\n127.0.1.1 testhost\n")?;
    let variables = ["HOME", "KEEPALIVED_RS_CACHE", "XDG_CACHE_HOME", peers::FOLDER];
    let variables = variables.iter().filter_map(|name| Some(format!("{name}='{}'", env::var(name).ok()?)));
    let variables = variables.collect::<Vec<_>>().join(" ");
    let command = format!("hostname testhost; env {variables} '{}' {INSIDE}", program.display());
    let files = u32::try_from(fs::read_dir(corpus)?.count())?;
    let output = vm.run(&command, DEADLINE + DEADLINE_PER_FILE * files)?;
    if output.status != 0 {
        return Err(format!("the machine ended with {}:\n{}", output.status, output.output).into());
    }
    Ok(output.output)
}

/// Writes a table for each file.
fn keep(dumps: &str, out: &Path) -> Result<()> {
    fs::create_dir_all(out)?;
    let mut files = 0;
    for report in dumps.split("\n@end\n").filter(|report| report.contains("@file ")) {
        let (name, table) = values::table(report).ok_or("a report without a name")?;
        fs::write(out.join(Path::new(name).with_extension("tsv")), table)?;
        files += 1;
    }
    println!("{files} files recorded in {}", out.display());
    Ok(())
}
