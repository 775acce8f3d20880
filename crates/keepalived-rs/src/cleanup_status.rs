//! What the exit status of the clean-up process says: whose leavings are still on the host.

use crate::ipc::Role;

/// What a worker of the role left could not all be removed.
const KEPT: [(Role, u8); 2] = [(Role::Vrrp, 8), (Role::Checker, 16)];

/// The status where something is left of the workers of these roles.
pub(crate) fn of(kept: &[Role]) -> u8 {
    KEPT.iter().filter(|(role, _)| kept.contains(role)).map(|(_, bit)| bit).sum()
}

/// Whether a clean-up that ended so removed all that a worker of `role` left; one that was killed, or that could not
/// work at all, removed nothing.
pub(crate) fn is_over(role: Role, status: Option<i32>) -> bool {
    let Some(status) = status.and_then(|status| u8::try_from(status).ok()) else { return false };
    let all: u8 = KEPT.iter().map(|(_, bit)| bit).sum();
    status & !all == 0 && KEPT.iter().any(|(of, bit)| *of == role && status & bit == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::privileges;

    #[test]
    fn each_role_is_over_by_itself() {
        for kept in [&[][..], &[Role::Vrrp], &[Role::Checker], &[Role::Vrrp, Role::Checker]] {
            let status = Some(i32::from(of(kept)));
            for role in [Role::Vrrp, Role::Checker] {
                assert_eq!(is_over(role, status), !kept.contains(&role), "{role:?} {kept:?}");
            }
        }
        assert_eq!(of(&[]), 0);
    }

    #[test]
    fn other_ends_removed_nothing() {
        let others = [crate::EXIT_FATAL, crate::EXIT_INTERNAL, privileges::EXIT_NO_PERMISSION, 101];
        for status in others.map(|status| Some(i32::from(status))).into_iter().chain([None]) {
            assert!(!is_over(Role::Vrrp, status) && !is_over(Role::Checker, status), "{status:?}");
        }
    }
}
