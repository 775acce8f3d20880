//! The typed configuration: what the daemon acts on.
//!
//! Values are resolved: a setting of `global_defs` that an instance or a server does not override is
//! already in the instance or the server. Everything can be compared (places in the files do not
//! count) and, with the feature `serde`, shipped to another process.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::{NonZeroU8, NonZeroU16};
use std::sync::OnceLock;
use std::time::Duration;

use crate::host::Host;
use crate::schema::default::{default, once, table_default};
use crate::schema::{Row, Unit};
use crate::setting::{
    Block, Places, Scalar, Setting, Show, ShowWord, Slot, duration, named_blocks, settings, show_block, show_blocks,
    show_list, show_word,
};
use crate::source::{Span, Spanned};

macro_rules! config_type {
    ($(#[$meta:meta])* pub struct $($rest:tt)*) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        pub struct $($rest)*
    };
    ($(#[$meta:meta])* pub enum $($rest:tt)*) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        pub enum $($rest)*
    };
}

mod bfd;
mod checker;
mod global;
mod interface;
mod lvs;
mod route;
mod rule;
mod ssl;
mod tracking;
mod vrrp;

pub use bfd::*;
pub use checker::*;
pub use global::*;
pub use interface::*;
pub use lvs::*;
pub use route::*;
pub use rule::*;
pub use ssl::*;
pub use tracking::*;
pub use vrrp::*;

config_type! {
/// A whole configuration.
#[derive(Default)]
pub struct Config {
    /// The keywords of the top level.
    pub top: TopLevel,
    /// `global_defs`, and `child_wait_time`.
    pub global: GlobalDefs,
    /// The lines of `static_ipaddress`: addresses for as long as the daemon runs.
    pub static_addresses: Vec<VirtualAddress>,
    /// The `vrrp_script` blocks, in the order of the file.
    pub vrrp_scripts: Vec<VrrpScript>,
    /// The `track_file` blocks, in the order of the file.
    pub track_files: Vec<TrackFile>,
    /// The `vrrp_track_process` blocks, in the order of the file.
    pub track_processes: Vec<TrackProcess>,
    /// The `vrrp_sync_group` blocks, in the order of the file.
    pub sync_groups: Vec<SyncGroup>,
    /// `static_routes`: held for as long as the daemon runs.
    pub static_routes: Vec<Spanned<Route>>,
    /// `static_rules`: held for as long as the daemon runs.
    pub static_rules: Vec<Spanned<Rule>>,
    /// The `vrrp_instance` blocks, in the order of the file.
    pub vrrp_instances: Vec<VrrpInstance>,
    /// The `SSL` block; of several the last.
    pub ssl: Option<TlsClient>,
    /// The `virtual_server_group` blocks, in the order of the file; no name occurs twice.
    pub virtual_server_groups: Vec<VirtualServerGroup>,
    /// The `virtual_server` blocks, in the order of the file.
    pub virtual_servers: Vec<VirtualServer>,
    /// The `bfd_instance` blocks, in the order of the file; neither a name nor a pair of addresses occurs twice.
    pub bfd_instances: Vec<BfdInstance>,
    /// Where the keywords of the top level were written.
    pub places: Places,
}}

named_blocks! {
    BfdInstance => "bfd_instance";
    SyncGroup => "vrrp_sync_group";
    TrackFile => "track_file";
    TrackProcess => "vrrp_track_process";
    VrrpInstance => "vrrp_instance";
}

impl Config {
    /// What holds for every keyword, as lines of the language.
    pub fn settings(&self) -> Vec<Setting> {
        let slot = |keyword| Slot::new("", keyword, &self.places);
        let mut out = Vec::new();
        self.global.child_wait_time.show(slot("child_wait_time"), &mut out);
        self.top.lines("", &self.places, &mut out);
        show_block(&self.global, slot("global_defs"), &mut out);
        show_addresses(&self.static_addresses, slot("static_ipaddress"), &mut out);
        show_blocks(&self.bfd_instances, slot("bfd_instance"), &mut out);
        show_blocks(&self.vrrp_scripts, slot("vrrp_script"), &mut out);
        show_blocks(&self.track_files, slot("track_file"), &mut out);
        show_blocks(&self.track_processes, slot("vrrp_track_process"), &mut out);
        show_blocks(&self.sync_groups, slot("vrrp_sync_group"), &mut out);
        route::show_routes(&self.static_routes, slot("static_routes"), &mut out);
        rule::show_rules(&self.static_rules, slot("static_rules"), &mut out);
        show_blocks(&self.vrrp_instances, slot("vrrp_instance"), &mut out);
        if let Some(ssl) = &self.ssl {
            show_block(ssl, slot("SSL"), &mut out);
        }
        show_blocks(&self.virtual_server_groups, slot("virtual_server_group"), &mut out);
        show_blocks(&self.virtual_servers, slot("virtual_server"), &mut out);
        out
    }
}

config_type! {
/// Whom a script runs as.
#[derive(PartialOrd, Ord)]
pub struct ScriptUser {
    /// User name or number.
    pub user: String,
    /// Group name or number; the user's own where absent.
    pub group: Option<String>,
    /// A colon before the group: the script gets the user's supplementary groups too.
    pub supplementary_groups: bool,
}}

config_type! {
/// A command with its parameters.
#[derive(PartialOrd, Ord)]
pub struct Script {
    /// The command and its parameters; never empty.
    pub command: Vec<String>,
    /// Whom it runs as; `script_user` where absent.
    pub user: Option<ScriptUser>,
}}

impl Show for ScriptUser {
    fn show(&self, slot: Slot, out: &mut Vec<Setting>) {
        out.push(slot.line(self.words().collect()));
    }
}

impl Show for Script {
    fn show(&self, slot: Slot, out: &mut Vec<Setting>) {
        let user = self.user.iter().flat_map(ScriptUser::words).map(|word| match word {
            Scalar::Text(text) if text.contains(|char: char| !char.is_alphanumeric() && !"_-.:".contains(char)) => {
                Scalar::Pattern(text)
            }
            plain => plain,
        });
        out.push(slot.line(std::iter::once(Scalar::Script(self.command.clone())).chain(user).collect()));
    }
}

impl ScriptUser {
    fn words(&self) -> impl Iterator<Item = Scalar> {
        let colon = if self.supplementary_groups { ":" } else { "" };
        let group = self.group.as_deref().unwrap_or_default();
        let group = Some(format!("{colon}{group}")).filter(|group| !group.is_empty());
        std::iter::once(self.user.clone()).chain(group).map(Scalar::Text)
    }
}

config_type! {
/// Address family.
#[derive(Copy, Hash)]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}}

impl Family {
    /// The family of `address`.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::Ipv4 } else { Self::Ipv6 }
    }

    /// Length of an address in bits.
    pub fn bits(self) -> u8 {
        match self {
            Self::Ipv4 => 32,
            Self::Ipv6 => 128,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        })
    }
}

impl Config {
    /// Every interface that is named, with the place and what keepalived says where it does not exist.
    pub fn interfaces(&self) -> impl Iterator<Item = (&str, Span, String)> {
        let fixed = self.static_addresses.iter().filter_map(VirtualAddress::interface);
        let routes = self.static_routes.iter().flat_map(|route| route.interfaces());
        let rules = self.static_rules.iter().flat_map(|rule| rule.interfaces());
        let groups = self.sync_groups.iter().flat_map(|group| group.tracking.interfaces(&group.name));
        let instances = self.vrrp_instances.iter().flat_map(VrrpInstance::interfaces);
        self.top.interfaces().chain(fixed).chain(routes).chain(rules).chain(groups).chain(instances)
    }

    /// Every interface whose settings are passed over where it does not exist, as [`interfaces`](Self::interfaces).
    pub fn optional_interfaces(&self) -> impl Iterator<Item = (&str, Span, String)> {
        self.top.optional_interfaces()
    }

    /// Every interface that keepalived does not look for, with what becomes of it where it does not exist.
    pub fn late_interfaces(&self) -> impl Iterator<Item = (&str, Span, String)> {
        let sync = self.vrrp_instances.iter().filter_map(|instance| instance.lvs_sync_daemon_interface.as_ref());
        sync.map(|name| {
            let message = format!("the IPVS synchronisation daemon cannot start: interface {} doesn't exist", **name);
            (name.value.as_str(), name.span, message)
        })
    }

    /// Every name in an address, route or rule that only the host can resolve.
    pub fn host_names(&self) -> Vec<HostName<'_>> {
        let instances = &self.vrrp_instances;
        let mut out = Vec::new();
        let held =
            instances.iter().flat_map(|instance| instance.virtual_addresses.iter().chain(&instance.excluded_addresses));
        self.static_addresses.iter().chain(held).for_each(|address| address.host_names(&mut out));
        let routes = self.static_routes.iter().chain(instances.iter().flat_map(|instance| &instance.virtual_routes));
        routes.for_each(|route| route.host_names(&mut out));
        let rules = self.static_rules.iter().chain(instances.iter().flat_map(|instance| &instance.virtual_rules));
        rules.for_each(|rule| rule.host_names(&mut out));
        out
    }

    /// Puts the numbers of `host` in the place of names, and leaves out what [`check`](crate::check) says is not used
    /// because the host is known not to have a name. A name of which nothing is known stays.
    pub fn resolve_names(&mut self, host: &dyn Host) {
        let addresses =
            |addresses: &mut [VirtualAddress]| addresses.iter_mut().for_each(|address| address.resolve(host));
        let routes = |routes: &mut Vec<Spanned<Route>>| routes.retain_mut(|route| route.value.resolve(host));
        let rules = |rules: &mut Vec<Spanned<Rule>>| rules.retain_mut(|rule| rule.value.resolve(host));
        addresses(&mut self.static_addresses);
        routes(&mut self.static_routes);
        rules(&mut self.static_rules);
        for instance in &mut self.vrrp_instances {
            addresses(&mut instance.virtual_addresses);
            addresses(&mut instance.excluded_addresses);
            routes(&mut instance.virtual_routes);
            rules(&mut instance.virtual_rules);
        }
    }
}

/// What keepalived says where `interface` does not exist.
fn missing(interface: &str, user: &str) -> String {
    format!("WARNING - interface {interface} for {user} doesn't exist")
}

impl Config {
    /// Every script that may be run.
    pub fn scripts(&self) -> impl Iterator<Item = &Spanned<Script>> {
        let tracked = self.vrrp_scripts.iter().map(|script| &script.script);
        let servers = self.virtual_servers.iter().flat_map(|server| &server.real_servers);
        let checkers = servers.flat_map(|server| &server.checkers).filter_map(Checker::script);
        tracked.chain(checkers).chain(self.event_scripts())
    }

    /// Every script that is run because something happened: not those of trackers and checkers.
    pub fn event_scripts(&self) -> impl Iterator<Item = &Spanned<Script>> {
        let groups = self.sync_groups.iter().flat_map(|group| group.notify.scripts());
        let instances = self.vrrp_instances.iter().flat_map(VrrpInstance::scripts);
        let quorum = self.virtual_servers.iter().flat_map(|server| [&server.quorum_up, &server.quorum_down]);
        let servers = self.virtual_servers.iter().flat_map(|server| &server.real_servers);
        let changes = servers.flat_map(|server| [&server.notify_up, &server.notify_down]);
        let servers = quorum.chain(changes).filter_map(Option::as_deref);
        self.global.own_scripts().chain(groups).chain(instances).chain(servers)
    }

    /// Where passwords and keys are written, not those that are kept in files of their own.
    pub fn secrets(&self) -> impl Iterator<Item = Span> {
        let password = |instance: &VrrpInstance| {
            instance.authentication?;
            instance.places.of("vrrp_instance/authentication", "auth_pass")
        };
        let hmacs = self.vrrp_instances.iter().filter_map(|instance| instance.auth_hmac.as_ref());
        let keys = hmacs.flat_map(|hmac| &hmac.keys);
        let written = keys.filter(|key| matches!(key.secret, HmacSecret::Bytes(_))).map(|key| key.id.span);
        let ssl = self.ssl.iter().filter_map(|ssl| ssl.places.of("SSL", "password"));
        self.vrrp_instances.iter().filter_map(password).chain(written).chain(ssl)
    }
}
