//! The runner worker's part of a configuration.

use serde::{Deserialize, Serialize};

/// Everything the runner worker is told by a configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RunnerPart {}
