//! The typed configuration: what the daemon acts on.
//!
//! Values are resolved: a setting of `global_defs` that an instance or a server does not override is
//! already in the instance or the server. Everything can be compared (places in the files do not
//! count) and, with the feature `serde`, shipped to another process.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU8;
use std::time::Duration;

use crate::schema::Row;
use crate::setting::{
    Block, Places, Scalar, Setting, Show, ShowWord, Slot, settings, show_block, show_blocks, show_list, show_word,
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

mod global;
mod lvs;
mod tracking;
mod vrrp;

pub use global::*;
pub use lvs::*;
pub use tracking::*;
pub use vrrp::*;

config_type! {
/// A whole configuration.
#[derive(Default)]
pub struct Config {
    /// The top level and `global_defs`.
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
    /// The `vrrp_instance` blocks, in the order of the file.
    pub vrrp_instances: Vec<VrrpInstance>,
    /// The `virtual_server` blocks, in the order of the file.
    pub virtual_servers: Vec<VirtualServer>,
    /// Where the keywords of the top level were written.
    pub places: Places,
}}

impl Config {
    /// What holds for every keyword, as lines of the language.
    pub fn settings(&self) -> Vec<Setting> {
        let slot = |keyword| Slot::new("", keyword, &self.places);
        let mut out = Vec::new();
        self.global.child_wait_time.show(slot("child_wait_time"), &mut out);
        show_block(&self.global, slot("global_defs"), &mut out);
        show_addresses(&self.static_addresses, slot("static_ipaddress"), &mut out);
        show_blocks(&self.vrrp_scripts, slot("vrrp_script"), &mut out);
        show_blocks(&self.track_files, slot("track_file"), &mut out);
        show_blocks(&self.track_processes, slot("vrrp_track_process"), &mut out);
        show_blocks(&self.sync_groups, slot("vrrp_sync_group"), &mut out);
        show_blocks(&self.vrrp_instances, slot("vrrp_instance"), &mut out);
        show_blocks(&self.virtual_servers, slot("virtual_server"), &mut out);
        out
    }
}

config_type! {
/// Whom a script runs as.
pub struct ScriptUser {
    /// User name or number.
    pub user: String,
    /// Group name or number; the user's own where absent.
    pub group: Option<String>,
}}

config_type! {
/// A command with its parameters.
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
        let user = self.user.iter().flat_map(ScriptUser::words);
        out.push(slot.line(std::iter::once(Scalar::Script(self.command.clone())).chain(user).collect()));
    }
}

impl ScriptUser {
    fn words(&self) -> impl Iterator<Item = Scalar> {
        std::iter::once(&self.user).chain(&self.group).cloned().map(Scalar::Text)
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
        let groups = self.sync_groups.iter().flat_map(|group| group.tracking.interfaces(&group.name));
        fixed.chain(groups).chain(self.vrrp_instances.iter().flat_map(VrrpInstance::interfaces))
    }

    /// Every interface that is named where keepalived does not mind that it is missing, with what becomes of it.
    pub fn optional_interfaces(&self) -> impl Iterator<Item = (&str, Span, String)> {
        let sync = self.vrrp_instances.iter().filter_map(|instance| instance.lvs_sync_daemon_interface.as_ref());
        sync.map(|name| {
            let message = format!("the IPVS synchronisation daemon cannot start: interface {} doesn't exist", **name);
            (name.value.as_str(), name.span, message)
        })
    }
}

impl Config {
    /// Every script that may be run.
    pub fn scripts(&self) -> impl Iterator<Item = &Spanned<Script>> {
        let tracked = self.vrrp_scripts.iter().map(|script| &script.script);
        let groups = self.sync_groups.iter().flat_map(|group| group.notify.scripts());
        let instances = self.vrrp_instances.iter().flat_map(VrrpInstance::scripts);
        let quorum = self.virtual_servers.iter().flat_map(|server| [&server.quorum_up, &server.quorum_down]);
        let servers = self.virtual_servers.iter().flat_map(|server| &server.real_servers);
        let changes = servers.flat_map(|server| [&server.notify_up, &server.notify_down]);
        tracked.chain(groups).chain(instances).chain(quorum.chain(changes).flatten())
    }
}
