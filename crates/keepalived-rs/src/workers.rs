//! The long-lived children. Each owns its descriptors and its clock; none of them shares a thread with another's work.

pub(crate) mod checker;
pub(crate) mod lateness;
pub(crate) mod port;
pub(crate) mod runner;
pub(crate) mod scheduling;
pub(crate) mod signals;
pub(crate) mod vrrp;

/// Waits for `value`, ten seconds at most.
#[cfg(test)]
fn until<T>(what: &str, mut value: impl FnMut() -> Option<T>) -> T {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        if let Some(value) = value() {
            return value;
        }
        assert!(std::time::Instant::now() < deadline, "no {what} within ten seconds");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}
