//! The statistics of all instances in keepalived's words, for the supervisor to write to a file (SIGUSR2).

use std::collections::BTreeMap;

use vrrp_proto::RouterId;

use super::{Kernel, Outcome};
use crate::ipc;
use crate::workers::vrrp::counters::Counters;

impl Kernel {
    /// Puts what was counted into words, in the order of the file.
    pub(super) fn write_statistics(&self, counted: &[(RouterId, Counters)]) {
        let counted: BTreeMap<_, _> = counted.iter().copied().collect();
        let of = |id: RouterId| Some(counted.get(&id)?.text(self.roster.name(id)));
        let text: String = self.roster.routers().filter_map(of).collect();
        match ipc::seal(&text) {
            Ok(text) => self.outcomes.send(Outcome::Statistics(text)),
            Err(error) => tracing::error!("no memory for the statistics: {error}"),
        }
    }
}
