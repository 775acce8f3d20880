//! The checker worker's part of a configuration.

use serde::{Deserialize, Serialize};

/// Everything the checker worker is told by a configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CheckerPart {}
