//! keepalived in Rust.
fn main() {}
