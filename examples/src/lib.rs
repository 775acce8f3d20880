//! Placeholder-free library target so that the package builds alone.
