//! The long-lived children. Each owns its descriptors and its clock; none of them shares a thread with another's work.

pub(crate) mod checker;
pub(crate) mod port;
pub(crate) mod runner;
pub(crate) mod signals;
pub(crate) mod vrrp;
