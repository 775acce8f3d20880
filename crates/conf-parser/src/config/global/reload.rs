//! Reading the configuration, once and again.

use super::*;

settings! {
/// How the configuration is read, kept and read again.
#[derive(Default)]
pub struct ReloadSettings {
    /// `reload_check_config`: a reload that would fail is not tried; what it says goes to this file, default `/dev/null`.
    check_config: Option<String> as "reload_check_config",
    /// `reload_time_file`: file with the time of the next reload.
    time_file: Option<String> as "reload_time_file",
    /// `reload_repeat`: that file stays.
    repeat: bool as "reload_repeat",
    /// `reload_file`: exists while the configuration is read.
    file: Option<ReloadFile> as "reload_file",
    /// `include_check`: which problems with an include of the main file refuse the start.
    include_check: Option<Spanned<IncludeCheck>> as "include_check",
    /// `config_save_dir`: each configuration that was read is copied into this directory.
    config_save_dir: Option<String> as "config_save_dir",
    /// `tmp_config_directory`: where the merged configuration is kept; in memory where absent.
    tmp_config_directory: Option<String> as "tmp_config_directory",
    /// `random_seed`: read, though keepalived does not use it.
    random_seed: Option<u32> as "random_seed",
}}

config_type! {
/// `reload_file`.
pub enum ReloadFile {
    /// `keepalived.reload` in the directory of the pid files.
    Default,
    /// This file.
    Path(String),
}}

impl Show for ReloadFile {
    fn show(&self, slot: Slot, out: &mut Vec<Setting>) {
        out.push(slot.line(match self {
            Self::Default => Vec::new(),
            Self::Path(path) => vec![Scalar::Text(path.clone())],
        }));
    }
}

config_type! {
/// Which problems with an include refuse the start.
#[derive(Copy, Default)]
pub struct IncludeCheck {
    /// `read`: a file that matches cannot be read.
    pub read: bool,
    /// `match`: a name without wildcards matches nothing.
    pub matching: bool,
    /// `wildcard_match`: a pattern with wildcards matches nothing.
    pub wildcard: bool,
    /// `brace_match`: one of several alternatives in braces matches nothing.
    pub brace: bool,
}}

impl IncludeCheck {
    /// Every check.
    pub const ALL: Self = Self { read: true, matching: true, wildcard: true, brace: true };
}

/// The first word has no sign and sets `read`; the others change one check each.
impl Show for IncludeCheck {
    fn show(&self, slot: Slot, out: &mut Vec<Setting>) {
        let checks = [
            (!self.read, "-read"),
            (self.matching, "+match"),
            (self.wildcard, "+wildcard_match"),
            (self.brace, "+brace_match"),
        ];
        let changes = checks.iter().filter(|(written, _)| *written).map(|(_, word)| *word);
        out.push(slot.line(std::iter::once("read").chain(changes).map(|word| Scalar::Text(word.to_owned())).collect()));
    }
}
