//! Bugs on purpose, each of which the simulator must find (`tests/planted_bugs.rs`).
//!
//! They exist with the feature `planted-bugs` only, which that test alone turns on. Without it [`planted`] is `false` at
//! compile time, and nothing is left of what it guards.

/// What can be wrong.
#[doc(hidden)]
#[cfg_attr(not(feature = "planted-bugs"), expect(unreachable_pub, reason = "only the test names them"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Bug {
    /// An Active Router lets a lower priority talk.
    SilentToLowerPriority = 1,
    /// A lower priority that does not count holds a Backup back all the same.
    DiscardRestartsTimer,
    /// The addresses stay when another router takes over.
    KeepsAddressesAsBackup,
    /// Nobody is told where the addresses are now.
    GainsSilently,
    /// Of two equal priorities the lower address wins.
    LowerAddressWins,
    /// The interval of the last Active Router outlives it.
    KeepsLearnedInterval,
    /// A process goes on as Active however late it comes.
    ResumesTooLate,
    /// Skew_Time is long for high priorities.
    SkewUpsideDown,
    /// A member of a sync group does not wait for the others.
    MemberGoesAlone,
    /// A fault never ends.
    FaultStays,
    /// The supervisor hears of a take-over after the network.
    AdvertisesUntold,
    /// The best router waits for ever.
    NeverPreempts,
    /// Packets from behind a router are accepted.
    HopLimitUnchecked,
    /// What the kernel refused is not tried again.
    RefusalForgotten,
    /// Priority 0 means nothing.
    ResignationIgnored,
    /// A driver does not learn that it had better listen before a take-over.
    TakeOverUnforeseen,
}

#[cfg(not(feature = "planted-bugs"))]
pub(crate) const fn planted(_: Bug) -> bool {
    false
}

#[cfg(feature = "planted-bugs")]
mod switch {
    use core::sync::atomic::{AtomicU8, Ordering};

    use super::Bug;

    static PLANTED: AtomicU8 = AtomicU8::new(0);

    impl Bug {
        /// Every one.
        pub const ALL: [Self; 16] = [
            Self::SilentToLowerPriority,
            Self::DiscardRestartsTimer,
            Self::KeepsAddressesAsBackup,
            Self::GainsSilently,
            Self::LowerAddressWins,
            Self::KeepsLearnedInterval,
            Self::ResumesTooLate,
            Self::SkewUpsideDown,
            Self::MemberGoesAlone,
            Self::FaultStays,
            Self::AdvertisesUntold,
            Self::NeverPreempts,
            Self::HopLimitUnchecked,
            Self::RefusalForgotten,
            Self::ResignationIgnored,
            Self::TakeOverUnforeseen,
        ];
    }

    /// Plants a bug in every state machine of this process, in place of the one before; `None` takes it out.
    pub fn plant(bug: Option<Bug>) {
        PLANTED.store(bug.map_or(0, |bug| bug as u8), Ordering::Relaxed);
    }

    pub(crate) fn planted(bug: Bug) -> bool {
        PLANTED.load(Ordering::Relaxed) == bug as u8
    }
}

#[cfg(feature = "planted-bugs")]
pub use switch::plant;
#[cfg(feature = "planted-bugs")]
pub(crate) use switch::planted;
