//! `authentication` and `auth_hmac`.

use super::*;

config_type! {
/// How adverts are authenticated.
#[derive(Copy)]
pub enum Authentication {
    /// `auth_type PASS`: simple text password (RFC 2338 §5.3.6).
    Pass(AuthPass),
    /// `auth_type AH`: IPsec authentication header (RFC 2338 §5.3.6).
    Ah(AuthPass),
}}

/// The eight bytes of a password, padded with zero. Never printed.
#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AuthPass(pub [u8; 8]);

impl fmt::Debug for AuthPass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthPass(…)")
    }
}

config_type! {
/// `auth_hmac`: HMAC-SHA256 behind the advert, an extension of keepalived 2.4.
pub struct AuthHmac {
    /// `key`; their numbers differ.
    pub keys: Vec<HmacKey>,
    /// `active_key`: the key that signs.
    pub active_key: HmacKeyId,
    /// `anti_replay`.
    pub anti_replay: AntiReplay,
    /// `mode`.
    pub mode: HmacMode,
    /// Where the keywords were written.
    pub places: Places,
}}

/// Number of a shared key, 1 to 255.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct HmacKeyId(pub NonZeroU8);

config_type! {
/// One `key`.
pub struct HmacKey {
    /// Its number, and where the line stands.
    pub id: Spanned<HmacKeyId>,
    /// The key.
    pub secret: HmacSecret,
}}

/// The bytes of a shared key, or where they are. The bytes are never printed.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum HmacSecret {
    /// 32 to 64 bytes.
    Bytes(Vec<u8>),
    /// `file:`: path of a file with the key as text, or with digits behind `hex:`.
    File(String),
}

impl fmt::Debug for HmacSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(_) => f.write_str("Bytes(…)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

config_type! {
/// `anti_replay`: how an advert that was recorded earlier is told.
#[derive(Copy, Hash)]
pub enum AntiReplay {
    /// `time`: sequence numbers are times.
    Time {
        /// `time_window`: how old an advert may be, 1 to 300 s; default three `advert_int`, at least 5 s.
        window: Duration,
    },
    /// `monotonic`: sequence numbers only grow.
    Monotonic,
}}

config_type! {
/// `mode` of `auth_hmac`.
#[derive(Copy, Default, Hash)]
pub enum HmacMode {
    /// Adverts are signed, and only signed ones count.
    #[default]
    Enforce,
    /// Adverts are signed, and unsigned ones count too.
    Permissive,
    /// Adverts are not signed yet, and both count.
    ReceiveOnly,
}}

impl HmacMode {
    /// Every mode with its word.
    pub const WORDS: &'static [(&'static str, Self)] =
        &[("enforce", Self::Enforce), ("permissive", Self::Permissive), ("receive-only", Self::ReceiveOnly)];
}

const HMAC: &str = "vrrp_instance/auth_hmac";

pub(super) fn show_authentication(authentication: &Option<Authentication>, slot: Slot, out: &mut Vec<Setting>) {
    let block = "vrrp_instance/authentication";
    let line = |keyword, word| Slot::new(block, keyword, &Places::default()).line(vec![word]);
    let (kind, password) = match authentication {
        Some(Authentication::Pass(password)) => ("PASS", password),
        Some(Authentication::Ah(password)) => ("AH", password),
        None => return out.push(slot.absent()),
    };
    let password = password.0.iter().copied().take_while(|byte| *byte != 0).collect();
    let body = vec![line("auth_type", Scalar::Text(kind.to_owned())), line("auth_pass", Scalar::Secret(password))];
    out.push(slot.block(Vec::new(), body));
}

pub(super) fn show_auth_hmac(hmac: &Option<Box<AuthHmac>>, slot: Slot, out: &mut Vec<Setting>) {
    match hmac {
        Some(hmac) => show_block(hmac.as_ref(), slot, out),
        None => out.push(slot.absent()),
    }
}

impl Block for AuthHmac {
    fn body(&self) -> Vec<Setting> {
        let slot = |keyword| Slot::new(HMAC, keyword, &self.places);
        let mut out = Vec::new();
        for key in &self.keys {
            let line = slot("key").line(vec![Scalar::Integer(key.id.0.get().into()), key.secret.word()]);
            out.push(Setting { written: Some(key.id.span), ..line });
        }
        out.push(slot("active_key").line(vec![Scalar::Integer(self.active_key.0.get().into())]));
        let (word, window) = match self.anti_replay {
            AntiReplay::Time { window } => ("time", Some(window)),
            AntiReplay::Monotonic => ("monotonic", None),
        };
        out.push(slot("anti_replay").line(vec![Scalar::Text(word.to_owned())]));
        window.show(slot("time_window"), &mut out);
        let mode = HmacMode::WORDS.iter().find(|(_, mode)| *mode == self.mode).map_or("", |(word, _)| word);
        out.push(slot("mode").line(vec![Scalar::Text(mode.to_owned())]));
        out
    }
}

impl HmacSecret {
    /// As text where the bytes are such, else as digits.
    fn word(&self) -> Scalar {
        let bytes = match self {
            Self::File(path) => return Scalar::Text(format!("file:{path}")),
            Self::Bytes(bytes) => bytes,
        };
        let plain = bytes.iter().all(|byte| byte.is_ascii_graphic() && !b"\"#!{}$\\~@".contains(byte));
        let prefixed = bytes.starts_with(b"hex:") || bytes.starts_with(b"file:");
        if plain && !prefixed {
            return Scalar::Secret(bytes.clone());
        }
        let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
        Scalar::Secret(format!("hex:{}", digits.collect::<String>()).into_bytes())
    }
}
