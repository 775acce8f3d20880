//! Named pipes that get events.

use super::*;

config_type! {
/// The three pipes and the programs that read them.
#[derive(Default)]
pub struct NotifyFifos {
    /// `notify_fifo`: all events.
    pub all: NotifyFifo,
    /// `vrrp_notify_fifo`: events of VRRP.
    pub vrrp: NotifyFifo,
    /// `lvs_notify_fifo`: events of virtual and real servers.
    pub lvs: NotifyFifo,
    /// `fifo_write_vrrp_states_on_reload`: a reload writes every state.
    pub states_on_reload: bool,
}}

config_type! {
/// A pipe.
#[derive(Default)]
pub struct NotifyFifo {
    /// `notify_fifo`.
    pub pipe: Option<Spanned<Pipe>>,
    /// `notify_fifo_script`: what reads it; the path of the pipe is its last parameter.
    pub script: Option<Spanned<Script>>,
}}

config_type! {
/// The pipe itself.
pub struct Pipe {
    /// Its path.
    pub path: String,
    /// Whom it belongs to; the user of the daemon where absent.
    pub owner: Option<ScriptUser>,
}}

impl Show for Pipe {
    fn show(&self, slot: Slot, out: &mut Vec<Setting>) {
        let owner = self.owner.iter().flat_map(ScriptUser::words);
        out.push(slot.line(std::iter::once(Scalar::Text(self.path.clone())).chain(owner).collect()));
    }
}

impl NotifyFifos {
    /// Each pipe with its keyword.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &NotifyFifo)> {
        [("notify_fifo", &self.all), ("vrrp_notify_fifo", &self.vrrp), ("lvs_notify_fifo", &self.lvs)].into_iter()
    }

    pub(super) fn lines(&self, block: &str, places: &Places, out: &mut Vec<Setting>) {
        for (keyword, fifo) in self.iter() {
            fifo.pipe.show(Slot::new(block, keyword, places), out);
            fifo.script.show(Slot::new(block, &format!("{keyword}_script"), places), out);
        }
        self.states_on_reload.show(Slot::new(block, "fifo_write_vrrp_states_on_reload", places), out);
    }
}
