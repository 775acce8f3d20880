//! `vrrp_sync_group`.

use super::*;

settings! {
/// A `vrrp_sync_group` block: instances that change state together.
pub struct SyncGroup {
    /// The name after `vrrp_sync_group`.
    name: Spanned<String>,
    /// `group`: names of instances, each in no other group; never empty.
    members: Vec<Spanned<String>> as "group" via show_members,
    /// The `track_*` lists, which count for every member.
    <flatten> tracking: Tracking,
    /// `sync_group_tracking_weight`: members may have weighted trackers of their own.
    sync_group_tracking_weight: bool as "sync_group_tracking_weight",
    /// The `notify*` scripts.
    <flatten> notify: Notify,
    /// `notify_priority_changes`, else `vrrp_notify_priority_changes`.
    notify_priority_changes: bool as "notify_priority_changes",
    /// `smtp_alert`, else `smtp_alert_vrrp`, else the `smtp_alert` of all.
    smtp_alert: bool as "smtp_alert",
    /// Where the keywords were written.
    places: Places,
}}

fn show_members(members: &[Spanned<String>], slot: Slot, out: &mut Vec<Setting>) {
    show_list(members, slot, out, |name| Setting::entry(vec![Scalar::Text(name.value.clone())], name.span));
}
