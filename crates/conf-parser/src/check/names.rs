//! Names that the host has to have: routing tables, protocols of routes, scopes, realms, VRF devices.

use std::collections::HashMap;

use crate::config::{Config, HostName, NameTable};
use crate::diagnostic::{Class, Code, Diagnostic};
use crate::host::Host;
use crate::schema::nearest;

/// What is not found is not used, as [`Config::resolve_names`] has it.
pub(super) fn check(config: &Config, host: &dyn Host, findings: &mut Vec<Diagnostic>) {
    let known = Known { host, tables: HashMap::new(), left: MOST_COMPARISONS };
    let missing = config.host_names().into_iter().filter(|name| name.table.look_up(name.name, host).is_absent());
    findings.extend(missing.scan(known, |known, name| Some(unknown(name, known))));
}

/// How often a name is compared with another one before no more suggestions are made.
const MOST_COMPARISONS: usize = 200_000;

/// The names of the host, for suggestions.
struct Known<'a> {
    host: &'a dyn Host,
    tables: HashMap<NameTable, Vec<String>>,
    /// Comparisons that are left.
    left: usize,
}

impl Known<'_> {
    fn nearest(&mut self, table: NameTable, name: &str) -> Option<&str> {
        let host = self.host;
        let names = self.tables.entry(table).or_insert_with(|| {
            let own = table.known().iter().map(|(name, _)| (*name).to_owned());
            host.names(table).into_iter().chain(own).collect()
        });
        self.left = self.left.checked_sub(names.len())?;
        nearest(name, names.iter().map(String::as_str))
    }
}

fn unknown(name: HostName<'_>, known: &mut Known<'_>) -> Diagnostic {
    let HostName { table, name, span, message, cost } = name;
    let device = table == NameTable::VrfDevices && known.host.interface(name).is_present();
    let message = if device { format!("Route specified VRF {name} is not a VRF") } else { message };
    let finding = Diagnostic::error(Code::UnknownName, Class::General, span, message).label(cost);
    let written = usize::try_from(span.end - span.start).is_ok_and(|len| len == name.len());
    match (known.nearest(table, name), table.file()) {
        (Some(near), _) if written => finding.help(format!("did you mean '{near}'?")).replacement(near),
        (Some(near), _) => finding.help(format!("did you mean '{near}'?")),
        (None, Some(file)) => finding.help(format!("name '{name}' in {file}, or write its number")),
        (None, None) => finding.help(format!("create a device of type vrf with the name {name}, or write 'table'")),
    }
}
