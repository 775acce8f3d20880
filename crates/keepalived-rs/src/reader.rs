//! The reader: a short-lived process that reads the files, checks them against this host and hands each worker its
//! part. Whatever a file does to it, the running daemon is untouched.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::ipc::Role;

/// What to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Source {
    /// The main file, absolute.
    pub(crate) file: PathBuf,
    /// Identity for `@id` lines.
    pub(crate) config_id: String,
    /// `-P`, `-C`: which workers are wanted at all.
    pub(crate) only: Vec<Role>,
    /// `--allow-unsupported`: start although a keyword that can change traffic is not acted on yet.
    pub(crate) allow_unsupported: bool,
    /// `--all`: start every worker even without configuration for it.
    pub(crate) all: bool,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reading {
    /// Rendered findings, in the order of the file.
    pub(crate) findings: Vec<Finding>,
    /// The exit status of a refused start; `None` when the configuration can run.
    pub(crate) refused: Option<u8>,
    /// The workers that this configuration needs; their parts are attached in this order.
    pub(crate) parts: Vec<Role>,
    /// `child_wait_time`, seconds.
    pub(crate) child_wait_seconds: u32,
}

/// One line for the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finding {
    /// Worth `ERROR` rather than `INFO`.
    pub(crate) error: bool,
    /// The text.
    pub(crate) text: String,
}
