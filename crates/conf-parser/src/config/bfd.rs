//! `bfd_instance`.

use super::*;

settings! {
/// A `bfd_instance` block: one session with a neighbour.
pub struct BfdInstance {
    /// The name after `bfd_instance`, at most 31 bytes.
    name: Spanned<String>,
    /// `neighbor_ip`.
    neighbor: Spanned<IpAddr> as "neighbor_ip",
    /// `source_ip`, of the family of `neighbor`; the kernel's choice where absent.
    source: Option<Spanned<IpAddr>> as "source_ip",
    /// `min_rx`: required minimum interval between received packets, 1 ms to 4294.967 s in steps of 1 us; default 10 ms.
    min_rx: Duration as "min_rx",
    /// `min_tx`: desired minimum interval between sent packets, in the same range; default 10 ms.
    min_tx: Duration as "min_tx",
    /// `idle_tx`: interval between sent packets while the session is not up, at least 1 s; default 1 s.
    idle_tx: Duration as "idle_tx",
    /// `multiplier`: missed packets until the session is down, 1 to 255; default 5.
    multiplier: u8 as "multiplier",
    /// `passive`: says nothing until the neighbour speaks.
    passive: bool as "passive",
    /// `ttl` or `hoplimit` of sent packets, 1 to 255; default 255 for IPv4 and 64 for IPv6.
    ttl: u8 as "ttl",
    /// `max_hops`: how far below `ttl` that of a received packet may be, at most `ttl`; default 0.
    max_hops: u8 as "max_hops",
    /// `multihop`: UDP port 4784 instead of 3784.
    multihop: bool as "multihop",
    /// `weight`, for trackers that name none.
    weight: Weight as "weight",
    /// `vrrp`: instances hear of changes; on where neither `vrrp` nor `checker` is given.
    vrrp: bool as "vrrp",
    /// `checker`: checkers hear of changes; on where neither `vrrp` nor `checker` is given.
    checker: bool as "checker",
    /// Where the keywords were written.
    places: Places,
}}
