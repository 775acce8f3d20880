//! What trackers say, and what that means for the priority of a virtual router and its faults.

use crate::types::TrackerId;

/// What a tracker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum TrackerConfig {
    /// A script that succeeds or fails.
    Script {
        /// Counts as failing until it has succeeded.
        init_fail: bool,
    },
    /// A file that holds a number; 0 until it has been read.
    File,
    /// A number of processes that is enough or not.
    Process,
    /// A BFD session; down until it has come up.
    Bfd,
}

/// What a tracker says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Verdict {
    /// The script succeeds, the processes are enough, the session is up.
    Up,
    /// The opposite.
    Down,
    /// The number in the file.
    Value(i64),
}

/// A tracker that moves the priority of a router, or puts it in fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TrackerUse {
    /// The tracker.
    pub tracker: TrackerId,
    /// Added to the priority while the tracker is up if positive; its absolute value is subtracted while the tracker is
    /// down if negative. For a file: multiplied by the number. −253..=253, for files and processes −254..=254. 0 makes
    /// a tracker that is down, or a file that holds another number than 0, a fault.
    pub weight: i16,
    /// Turns the movement, or the fault, into its opposite.
    pub reverse: bool,
}
