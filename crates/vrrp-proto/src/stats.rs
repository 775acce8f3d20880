//! Counters. Each wraps after 2^64.

use crate::receiver::Discard;

/// What one [`VirtualRouter`](crate::VirtualRouter) did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RouterStats {
    /// Advertisements that the driver was told to send, those of priority 0 included.
    pub advertisements_sent: u64,
    /// Advertisements of priority 0 among them.
    pub priority_zero_sent: u64,
    /// How often it became Active; going on as such from another process does not count.
    pub became_active: u64,
    /// How often it stopped being Active.
    pub released_active: u64,
    /// How often it heard another Active Router while it was one itself; each conflict counts once.
    pub conflicts: u64,
}

/// What one [`Receiver`](crate::Receiver) saw: one counter per reason of [`Discard`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct ReceiverStats {
    /// Advertisements that passed every check up to the address list (`advert_rcvd`).
    pub advertisements: u64,
    /// Accepted advertisements of priority 0 (`pri_zero_rcvd`).
    pub priority_zero: u64,
    /// Accepted advertisements whose address list differs from ours (part of `addr_list_err`).
    pub address_list: u64,
    /// Accepted VRRPv3 advertisements whose interval differs from ours.
    pub interval_differs: u64,
    /// Accepted advertisements without the HMAC trailer that ours will have (part of `auth_ext_missing`).
    pub hmac_unsigned: u64,
    /// Accepted advertisements whose clock is more than half the window away from ours.
    pub clock_skew: u64,
    /// [`Discard::UnexpectedAuthenticationHeader`] (part of `authtype_mismatch`).
    pub unexpected_authentication_header: u64,
    /// [`Discard::MissingAuthenticationHeader`] (part of `authtype_mismatch`).
    pub missing_authentication_header: u64,
    /// [`Discard::Length`] (part of `packet_len_err`).
    pub length: u64,
    /// [`Discard::HopLimit`] (`ip_ttl_err`).
    pub hop_limit: u64,
    /// [`Discard::Version`] (`vers_err`).
    pub version: u64,
    /// [`Discard::Vrid`].
    pub vrid: u64,
    /// [`Discard::HmacMissing`] (with `hmac_unsigned` `auth_ext_missing`).
    pub hmac_missing: u64,
    /// [`Discard::HmacMalformed`] (`auth_ext_malformed`).
    pub hmac_malformed: u64,
    /// [`Discard::HmacStale`] (`auth_ext_stale`).
    pub hmac_stale: u64,
    /// [`Discard::HmacUnknownKey`] (`auth_ext_unknown_key`).
    pub hmac_unknown_key: u64,
    /// [`Discard::HmacInvalid`] (`auth_ext_invalid_hmac`).
    pub hmac_invalid: u64,
    /// [`Discard::HmacReplay`] (`auth_ext_replay`).
    pub hmac_replay: u64,
    /// [`Discard::InvalidAuthenticationType`] (`invalid_authtype`).
    pub invalid_authentication_type: u64,
    /// [`Discard::AuthenticationType`] (part of `authtype_mismatch`).
    pub authentication_type: u64,
    /// [`Discard::AuthenticationFailed`] (part of `auth_failure`).
    pub authentication_failed: u64,
    /// [`Discard::AhNextHeader`].
    pub ah_next_header: u64,
    /// [`Discard::AhIntegrity`] (part of `auth_failure`).
    pub ah_integrity: u64,
    /// [`Discard::AhSequence`] (part of `auth_failure`).
    pub ah_sequence: u64,
    /// [`Discard::AdvertisementInterval`] (`advert_interval_err`).
    pub advertisement_interval: u64,
    /// [`Discard::PacketType`] (`invalid_type_rcvd`).
    pub packet_type: u64,
    /// [`Discard::TotalLength`] (part of `packet_len_err`).
    pub total_length: u64,
    /// [`Discard::Checksum`] (`chk_err`).
    pub checksum: u64,
    /// [`Discard::NoAddresses`] (part of `addr_list_err`).
    pub no_addresses: u64,
    /// [`Discard::Destination`] (part of `addr_list_err`).
    pub destination: u64,
    /// [`Discard::AddressOwner`].
    pub address_owner: u64,
    /// [`Discard::UnknownPeer`].
    pub unknown_peer: u64,
    /// [`Discard::PeerHopLimit`] (part of `ip_ttl_err`).
    pub peer_hop_limit: u64,
}

impl ReceiverStats {
    /// Counts one discarded packet.
    pub(crate) fn count(&mut self, discard: &Discard) {
        let counter = match discard {
            Discard::UnexpectedAuthenticationHeader => &mut self.unexpected_authentication_header,
            Discard::MissingAuthenticationHeader => &mut self.missing_authentication_header,
            Discard::Length { .. } => &mut self.length,
            Discard::HopLimit { .. } => &mut self.hop_limit,
            Discard::Version { .. } => &mut self.version,
            Discard::Vrid { .. } => &mut self.vrid,
            Discard::HmacMissing => &mut self.hmac_missing,
            Discard::HmacMalformed => &mut self.hmac_malformed,
            Discard::HmacStale { .. } => &mut self.hmac_stale,
            Discard::HmacUnknownKey { .. } => &mut self.hmac_unknown_key,
            Discard::HmacInvalid { .. } => &mut self.hmac_invalid,
            Discard::HmacReplay => &mut self.hmac_replay,
            Discard::InvalidAuthenticationType { .. } => &mut self.invalid_authentication_type,
            Discard::AuthenticationType { .. } => &mut self.authentication_type,
            Discard::AuthenticationFailed => &mut self.authentication_failed,
            Discard::AhNextHeader { .. } => &mut self.ah_next_header,
            Discard::AhIntegrity => &mut self.ah_integrity,
            Discard::AhSequence { .. } => &mut self.ah_sequence,
            Discard::AdvertisementInterval { .. } => &mut self.advertisement_interval,
            Discard::PacketType { .. } => &mut self.packet_type,
            Discard::TotalLength { .. } => &mut self.total_length,
            Discard::Checksum => &mut self.checksum,
            Discard::NoAddresses => &mut self.no_addresses,
            Discard::Destination { .. } => &mut self.destination,
            Discard::AddressOwner => &mut self.address_owner,
            Discard::UnknownPeer { .. } => &mut self.unknown_peer,
            Discard::PeerHopLimit { .. } => &mut self.peer_hop_limit,
        };
        *counter = counter.wrapping_add(1);
    }

    /// All discarded packets.
    #[must_use]
    pub fn discarded(&self) -> u64 {
        [
            self.unexpected_authentication_header,
            self.missing_authentication_header,
            self.length,
            self.hop_limit,
            self.version,
            self.vrid,
            self.hmac_missing,
            self.hmac_malformed,
            self.hmac_stale,
            self.hmac_unknown_key,
            self.hmac_invalid,
            self.hmac_replay,
            self.invalid_authentication_type,
            self.authentication_type,
            self.authentication_failed,
            self.ah_next_header,
            self.ah_integrity,
            self.ah_sequence,
            self.advertisement_interval,
            self.packet_type,
            self.total_length,
            self.checksum,
            self.no_addresses,
            self.destination,
            self.address_owner,
            self.unknown_peer,
            self.peer_hop_limit,
        ]
        .into_iter()
        .fold(0, u64::wrapping_add)
    }
}
