//! Defaults of the blocks that there can be thousands of, taken from the table once for each configuration.

use std::sync::OnceLock;
use std::time::Duration;

use super::checker::StatusCodes;
use crate::config::{CheckerType, ForwardingMethod, Scheduler, Weight};
use crate::schema::default::{default, once};

/// Declares types whose fields are the defaults of the keywords of their names in one block.
macro_rules! defaults {
    ($($name:ident in $block:literal { $($keyword:ident: $type:ty),+ $(,)? })+) => { $(
        #[doc = concat!("`", $block, "`.")]
        #[derive(Debug, Clone)]
        pub(super) struct $name { $(pub(super) $keyword: $type,)+ }

        impl Default for $name {
            fn default() -> Self {
                Self { $($keyword: default($block, stringify!($keyword)),)+ }
            }
        }
    )+ };
}

defaults! {
    VirtualServer in "virtual_server" {
        lvs_sched: Scheduler,
        lvs_method: ForwardingMethod,
        weight: u32,
        quorum: u32,
        hysteresis: u32,
        smtp_alert: bool,
        delay_loop: Duration,
        connect_timeout: Duration,
    }
    RealServer in "virtual_server/real_server" {
        uthreshold: u32,
        lthreshold: u32,
        smtp_alert: bool,
    }
    BfdInstance in "bfd_instance" {
        min_rx: Duration,
        min_tx: Duration,
        idle_tx: Duration,
        multiplier: u8,
        max_hops: u8,
        multihop: bool,
        weight: Weight,
    }
    VrrpScript in "vrrp_script" {
        interval: Duration,
        weight: Weight,
        rise: u32,
        fall: u32,
    }
    TrackFile in "track_file" {
        weight: Weight,
    }
    TrackProcess in "vrrp_track_process" {
        weight: Weight,
        quorum: u16,
        terminate_delay: Duration,
        fork_delay: Duration,
    }
    VrrpInstance in "vrrp_instance" {
        advert_int: Duration,
        preempt_delay: Duration,
        debug: u8,
        smtp_alert: bool,
    }
    SyncGroup in "vrrp_sync_group" {
        smtp_alert: bool,
    }
    Url in "virtual_server/real_server/HTTP_GET/url" {
        status_code: StatusCodes,
        regex_min_offset: u64,
    }
    SslGet in "virtual_server/real_server/SSL_GET" {
        tls_compliant: bool,
    }
}

/// How often and when a checker tries again where neither it nor its servers say.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Retries {
    pub(super) retry: u32,
    /// None waits for its `delay_loop`.
    pub(super) delay_before_retry: Option<Duration>,
}

impl Retries {
    fn of(kind: CheckerType) -> Self {
        let delay = (kind != CheckerType::Dns).then(|| default(kind.block(), "delay_before_retry"));
        Self { retry: default(kind.block(), "retry"), delay_before_retry: delay }
    }
}

/// The defaults of those blocks.
#[derive(Debug, Clone)]
pub(super) struct Defaults {
    pub(super) virtual_server: VirtualServer,
    pub(super) real_server: RealServer,
    pub(super) ssl_get: SslGet,
    pub(super) url: Url,
    pub(super) bfd_instance: BfdInstance,
    pub(super) vrrp_script: VrrpScript,
    pub(super) track_file: TrackFile,
    pub(super) track_process: TrackProcess,
    pub(super) vrrp_instance: VrrpInstance,
    pub(super) sync_group: SyncGroup,
    retries: Vec<(CheckerType, Retries)>,
}

impl Default for Defaults {
    fn default() -> Self {
        static DEFAULT: OnceLock<Defaults> = OnceLock::new();
        once(&DEFAULT, Self::read)
    }
}

impl Defaults {
    fn read() -> Self {
        let repeating = CheckerType::ALL.iter().filter(|kind| kind.repeats());
        Self {
            virtual_server: VirtualServer::default(),
            real_server: RealServer::default(),
            ssl_get: SslGet::default(),
            url: Url::default(),
            bfd_instance: BfdInstance::default(),
            vrrp_script: VrrpScript::default(),
            track_file: TrackFile::default(),
            track_process: TrackProcess::default(),
            vrrp_instance: VrrpInstance::default(),
            sync_group: SyncGroup::default(),
            retries: repeating.map(|kind| (*kind, Retries::of(*kind))).collect(),
        }
    }

    /// Those of the checkers of `kind`; of no meaning for one that does not repeat.
    pub(super) fn retries(&self, kind: CheckerType) -> Retries {
        self.retries.iter().find(|(known, _)| *known == kind).map(|(_, retries)| *retries).unwrap_or_default()
    }
}
