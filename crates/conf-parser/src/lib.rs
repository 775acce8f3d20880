//! Reads keepalived.conf into typed values and diagnostics that name the place and the likely fix.
