//! Scripts of the daemon itself, and how scripts are run.

use super::*;

settings! {
/// Scripts of the daemon itself, and how scripts are run.
pub struct ScriptSettings in "global_defs" {
    /// `use_symlink_paths`: symbolic links in paths of scripts stay as they are.
    use_symlink_paths: bool as "use_symlink_paths",
    /// `set_supplementary_groups`: every script gets the supplementary groups of its user.
    set_supplementary_groups: bool as "set_supplementary_groups",
    /// `startup_script`: run before any child starts.
    startup: Option<Spanned<Script>> as "startup_script",
    /// `startup_script_timeout`: how long it may run, 1 to 1000 s; default 10 s.
    startup_timeout: Duration as "startup_script_timeout",
    /// `shutdown_script`: run after all children have ended.
    shutdown: Option<Spanned<Script>> as "shutdown_script",
    /// `shutdown_script_timeout`: how long it may run, 1 to 1000 s; default 10 s.
    shutdown_timeout: Duration as "shutdown_script_timeout",
}}
