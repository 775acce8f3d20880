//! From what `conf-parser` read to what each worker needs: values of the libraries, no look-ups, no I/O.

pub(crate) mod checker;
pub(crate) mod firewall;
pub(crate) mod network;
pub(crate) mod process;
pub(crate) mod runner;
pub(crate) mod shared;
pub(crate) mod tracked_process;
pub(crate) mod virtual_link;
pub(crate) mod vrrp;

#[cfg(test)]
mod tests;
