//! The checkers of a `real_server`.

use super::*;

macro_rules! checker_types {
    ($($name:ident $word:literal $meaning:literal;)+) => {
        config_type! {
        /// The kinds of checkers.
        #[derive(Copy, Hash)]
        pub enum CheckerType {
            $(#[doc = $meaning] $name,)+
        }}

        impl CheckerType {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// Its keyword.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)+ }
            }

            /// Path of its block.
            pub(crate) fn block(self) -> &'static str {
                match self { $(Self::$name => concat!("virtual_server/real_server/", $word),)+ }
            }
        }
    };
}

checker_types! {
    Tcp "TCP_CHECK" "`TCP_CHECK`: a connection can be made.";
    Ping "PING_CHECK" "`PING_CHECK`: an ICMP echo comes back.";
    Udp "UDP_CHECK" "`UDP_CHECK`: a datagram is not refused, or is answered.";
    Dns "DNS_CHECK" "`DNS_CHECK`: a query is answered.";
    Smtp "SMTP_CHECK" "`SMTP_CHECK`: a mail server greets.";
    Http "HTTP_GET" "`HTTP_GET`: pages are as expected.";
    Ssl "SSL_GET" "`SSL_GET`: pages are as expected, over TLS.";
    Misc "MISC_CHECK" "`MISC_CHECK`: a program succeeds.";
    File "FILE_CHECK" "`FILE_CHECK`: the number in a tracked file is as wanted.";
    Bfd "BFD_CHECK" "`BFD_CHECK`: a BFD session is up.";
}

impl CheckerType {
    /// Whether it has the options of [`CheckTarget`].
    pub fn connects(self) -> bool {
        self.repeats() && self != Self::Misc
    }

    /// Whether it has the options of [`CheckTiming`]: the others wait for events.
    pub fn repeats(self) -> bool {
        !matches!(self, Self::File | Self::Bfd)
    }
}

impl fmt::Display for CheckerType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

config_type! {
/// One checker of a real server. There can be tens of thousands of them: what is rare in it stands apart.
pub struct Checker {
    /// What it does.
    pub kind: CheckerKind,
    /// Whom it asks; of no meaning unless it [connects](CheckerType::connects).
    pub target: CheckTarget,
    /// When; of no meaning unless it [repeats](CheckerType::repeats).
    pub timing: CheckTiming,
    /// `alpha`: starts as failed; default that of the real server.
    pub alpha: bool,
    /// `log_all_failures`: each failed try is logged; default `checker_log_all_failures`.
    pub log_all_failures: bool,
    /// Where it is written.
    pub place: Spanned<()>,
    /// Where its keywords were written.
    pub places: Places,
}}

config_type! {
/// What a checker does.
pub enum CheckerKind {
    /// `TCP_CHECK`: a connection can be made.
    Tcp,
    /// `PING_CHECK`: an ICMP echo comes back.
    Ping,
    /// `UDP_CHECK`: a datagram is not refused, or is answered.
    Udp(Box<UdpCheck>),
    /// `DNS_CHECK`: a query is answered.
    Dns(Box<DnsCheck>),
    /// `SMTP_CHECK`: a mail server greets.
    Smtp(Box<SmtpCheck>),
    /// `HTTP_GET`: pages are as expected.
    Http(Box<HttpGet>),
    /// `SSL_GET`: pages are as expected, over TLS.
    Ssl(Box<HttpGet>),
    /// `MISC_CHECK`: a program succeeds.
    Misc(Box<MiscCheck>),
    /// `FILE_CHECK`: the number in a tracked file is as wanted.
    File(Box<FileCheck>),
    /// `BFD_CHECK`: a BFD session is up.
    Bfd(Box<BfdCheck>),
    /// A checker without what it cannot do without, such as a `url`. Its server counts as down: never as unchecked.
    Unusable(CheckerType),
}}

impl CheckerKind {
    /// Which of the kinds it is.
    pub fn checker_type(&self) -> CheckerType {
        match self {
            Self::Tcp => CheckerType::Tcp,
            Self::Ping => CheckerType::Ping,
            Self::Udp(_) => CheckerType::Udp,
            Self::Dns(_) => CheckerType::Dns,
            Self::Smtp(_) => CheckerType::Smtp,
            Self::Http(_) => CheckerType::Http,
            Self::Ssl(_) => CheckerType::Ssl,
            Self::Misc(_) => CheckerType::Misc,
            Self::File(_) => CheckerType::File,
            Self::Bfd(_) => CheckerType::Bfd,
            Self::Unusable(kind) => *kind,
        }
    }
}

settings! {
/// Where a checker connects to, and from where.
#[derive(Default)]
pub struct CheckTarget {
    /// `connect_port`; the real server's where absent.
    port: Option<u16> as "connect_port",
    /// `connect_timeout`; 1 µs to 4294.967295 s, default that of the real server, else 5 s.
    connect_timeout: Duration as "connect_timeout",
    /// What is rarely given; see [`socket`](Self::socket).
    rare: Option<Box<CheckSocket>>,
}}

impl CheckTarget {
    /// Addresses, local port, interface and mark.
    pub fn socket(&self) -> &CheckSocket {
        static NONE: CheckSocket =
            CheckSocket { address: None, bind_address: None, bind_port: None, bind_interface: None, fwmark: 0 };
        self.rare.as_deref().unwrap_or(&NONE)
    }

    /// The same, to be changed.
    pub(crate) fn socket_mut(&mut self) -> &mut CheckSocket {
        self.rare.get_or_insert_default()
    }
}

settings! {
/// The addresses of a checker's connection, and what else marks it.
#[derive(Default)]
pub struct CheckSocket {
    /// `connect_ip`; the real server's address where absent.
    address: Option<IpAddr> as "connect_ip",
    /// `bindto`: the local address, of the family of the other end; the kernel chooses where absent.
    bind_address: Option<IpAddr> as "bindto",
    /// `bind_port`: the local port, 1 to 65535; the kernel chooses where absent.
    bind_port: Option<u16> as "bind_port",
    /// `bind_if`: the local interface.
    bind_interface: Option<Spanned<String>> as "bind_if",
    /// `fwmark` of the packets; 0 = none.
    fwmark: u32 as "fwmark",
}}

settings! {
/// When a checker runs.
#[derive(Copy)]
pub struct CheckTiming {
    /// `delay_loop`: between checks; 1 µs and up, default that of the real server, else 60 s.
    delay_loop: Duration as "delay_loop",
    /// `warmup`: the first check comes after a random part of this; default `delay_loop`.
    warmup: Duration as "warmup",
    /// `retry`: further tries before a live server counts as down; default 1, `DNS_CHECK` 3, `MISC_CHECK` 0.
    retry: u32 as "retry",
    /// `delay_before_retry`: between tries; default 1 s, `HTTP_GET` and `SSL_GET` 3 s, `DNS_CHECK` `delay_loop`.
    delay_before_retry: Duration as "delay_before_retry",
}}

settings! {
/// A `UDP_CHECK` block.
pub struct UdpCheck in "virtual_server/real_server/UDP_CHECK" {
    /// `payload`: the bytes to send; random ones where absent.
    payload: Option<Payload> as "payload",
    /// `require_reply`: the start of an answer that must come; nothing but that one comes where it is empty.
    require_reply: Option<ReplyPattern> as "require_reply",
    /// `min_reply_length`: bytes; default 0.
    min_reply_length: u16 as "min_reply_length",
    /// `max_reply_length`: bytes; default 255.
    max_reply_length: u16 as "max_reply_length",
}}

config_type! {
/// Bytes to send; never none.
pub struct Payload(pub Vec<u8>);
}

config_type! {
/// The first bytes of an answer.
#[derive(Default)]
pub struct ReplyPattern(pub Vec<ReplyByte>);
}

config_type! {
/// One byte of an answer.
#[derive(Copy)]
pub struct ReplyByte {
    /// What it must be, where `mask` has ones.
    pub value: u8,
    /// The bits that count: of either half all or none.
    pub mask: u8,
}}

settings! {
/// A `DNS_CHECK` block.
pub struct DnsCheck in "virtual_server/real_server/DNS_CHECK" {
    /// `type` of the record; default `SOA`.
    record: DnsType as "type",
    /// `name` asked for; default `.`, the root.
    name: String as "name",
}}

macro_rules! dns_types {
    ($($name:ident $word:literal $meaning:literal;)+) => {
        config_type! {
        /// Types of DNS records.
        #[derive(Copy, Hash)]
        pub enum DnsType {
            $(#[doc = $meaning] $name,)+
        }}

        impl DnsType {
            /// Every type with its word.
            pub const WORDS: &'static [(&'static str, Self)] = &[$(($word, Self::$name)),+];

            /// Its word.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)+ }
            }
        }
    };
}

table_default! {
    DnsType => |row| row.default_word(Self::WORDS), else Self::A;
}

dns_types! {
    A "A" "An IPv4 address.";
    Ns "NS" "A name server.";
    Cname "CNAME" "Another name.";
    Soa "SOA" "The start of a zone.";
    Mx "MX" "A mail exchanger.";
    Txt "TXT" "Text.";
    Aaaa "AAAA" "An IPv6 address.";
    Rrsig "RRSIG" "A signature.";
    Dnskey "DNSKEY" "A public key.";
}

settings! {
/// An `SMTP_CHECK` block.
pub struct SmtpCheck in "virtual_server/real_server/SMTP_CHECK" {
    /// `helo_name`: the name in the greeting; default `smtpchecker.keepalived.org`.
    helo_name: String as "helo_name",
}}

settings! {
/// A `MISC_CHECK` block.
pub struct MiscCheck {
    /// `misc_path`: the program, and with `user` whom it runs as.
    script: Spanned<Script> as "misc_path" via show_command,
    /// `misc_timeout`: run time after which it is killed and counts as failed, 1 to 4294 s; `delay_loop` where absent.
    timeout: Option<Duration> as "misc_timeout",
    /// `misc_dynamic`: exit codes 2 to 255 set the weight to the code less 2.
    dynamic: bool as "misc_dynamic",
}}

settings! {
/// A `FILE_CHECK` block.
pub struct FileCheck {
    /// `track_file`: the name of the tracked file.
    track_file: Spanned<String> as "track_file",
    /// `weight`; that of the tracked file where not given.
    weight: FileWeight as "weight",
}}

config_type! {
/// What the number in a tracked file does to a weight.
#[derive(Copy)]
pub struct FileWeight {
    /// What the number is multiplied with; -2147483647 to 2147483647, default 1. With 0 a number other than 0 is a failure.
    pub multiplier: i32,
    /// `reverse`: the effect is turned round.
    pub reverse: bool,
}}

impl Default for FileWeight {
    fn default() -> Self {
        let Weight { value, reverse } = default("track_file", "weight");
        Self { multiplier: value.into(), reverse }
    }
}

settings! {
/// A `BFD_CHECK` block.
pub struct BfdCheck {
    /// `name` of the `bfd_instance`.
    name: Spanned<String> as "name",
}}

settings! {
/// An `HTTP_GET` or `SSL_GET` block, for which the table says the same.
pub struct HttpGet in "virtual_server/real_server/HTTP_GET" {
    /// `http_protocol`; default 1.0.
    version: HttpVersion as "http_protocol",
    /// `virtualhost` of the checker; that of the real server where absent.
    virtualhost: Option<String> as "virtualhost",
    /// `enable_sni`: a TLS server name is sent. Of use in `SSL_GET` only.
    enable_sni: bool as "enable_sni",
    /// `sni_name`: that name; else the `virtualhost` of url, checker or virtual server. Only with `enable_sni`.
    sni_name: Option<String> as "sni_name",
    /// `fast_recovery`: all urls are checked without delay at start and after a failure.
    fast_recovery: bool as "fast_recovery",
    /// `tls_compliant`: TLS sessions end with a close notification. In `SSL_GET` only.
    tls_compliant: bool,
    /// The `url` blocks, in order; never empty.
    urls: Vec<Url>,
}}

config_type! {
/// `http_protocol`.
#[derive(Copy)]
pub enum HttpVersion {
    /// `1.0`.
    Http10,
    /// `1.0C`: 1.0 with `Connection: close`.
    Http10Close,
    /// `1.1`.
    Http11,
}}

impl HttpVersion {
    /// Every version with its word.
    pub(crate) const WORDS: &[(&str, Self)] =
        &[("1.0", Self::Http10), ("1.0C", Self::Http10Close), ("1.0c", Self::Http10Close), ("1.1", Self::Http11)];
}

/// That of a checker that names none.
impl Default for HttpVersion {
    fn default() -> Self {
        default("virtual_server/real_server/HTTP_GET", "http_protocol")
    }
}

table_default! {
    HttpVersion => |row| row.default_word(Self::WORDS), else Self::Http10;
}

settings! {
/// A `url` block.
pub struct Url {
    /// `path`.
    path: Spanned<String> as "path",
    /// `status_code`: accepted ranges, both ends included, 100 to 599; default 200 to 299.
    status_codes: Vec<(u16, u16)> as "status_code" via show_status_codes,
    /// `digest`: MD5 of the body.
    digest: Option<[u8; 16]> as "digest" via show_digest,
    /// `virtualhost`; that of the checker where absent.
    virtualhost: Option<String> as "virtualhost",
    /// `regex` and the words that belong to it.
    regex: Option<Box<Regex>>,
    /// `tls_compliant`; default that of the checker. In `SSL_GET` only.
    tls_compliant: bool,
    /// Where the keywords were written.
    places: Places,
}}

settings! {
/// What a page is searched for.
pub struct Regex {
    /// `regex`: the pattern, in the syntax of PCRE2.
    pattern: Spanned<String> as "regex" via show_pattern,
    /// `regex_no_match`: a match means failure.
    no_match: bool as "regex_no_match",
    /// `regex_options`.
    options: RegexOptions as "regex_options",
    /// `regex_min_offset`: where the search starts, in bytes.
    min_offset: u64 as "regex_min_offset",
    /// `regex_max_offset`: the last place where a match may start, in bytes; anywhere where absent.
    max_offset: Option<u64> as "regex_max_offset",
    /// `regex_stack`: first and greatest size of the stack, in bytes; PCRE2's own where absent.
    stack: Option<RegexStack> as "regex_stack",
}}

config_type! {
/// `regex_stack`: sizes in bytes.
#[derive(Copy)]
pub struct RegexStack {
    /// At first; not above `max`.
    pub start: u64,
    /// At most.
    pub max: u64,
}}

macro_rules! regex_options {
    ($($name:ident $word:literal $meaning:literal;)+) => {
        config_type! {
        /// One of the `regex_options`, named as in PCRE2, which says more of each.
        #[derive(Copy, Hash)]
        pub enum RegexOption {
            $(#[doc = $meaning] $name,)+
        }}

        impl RegexOption {
            /// Every option with its word.
            pub const WORDS: &'static [(&'static str, Self)] = &[$(($word, Self::$name)),+];
        }
    };
}

regex_options! {
    AllowEmptyClass "allow_empty_class" "`[]` is an empty class.";
    AltBsux "alt_bsux" "`\\u`, `\\U` and `\\x` as in ECMAScript.";
    AutoCallout "auto_callout" "Call-outs before each item.";
    Caseless "caseless" "Letters of either case match.";
    DollarEndonly "dollar_endonly" "`$` matches at the very end only.";
    Dotall "dotall" "`.` matches a newline.";
    Dupnames "dupnames" "Groups may have the same name.";
    Extended "extended" "White space and comments in the pattern do not count.";
    Firstline "firstline" "A match starts in the first line.";
    MatchUnsetBackref "match_unset_backref" "A reference to an unset group matches nothing.";
    Multiline "multiline" "`^` and `$` match at each newline.";
    NeverUcp "never_ucp" "No Unicode properties.";
    NeverUtf "never_utf" "No UTF.";
    NoAutoCapture "no_auto_capture" "Plain parentheses do not capture.";
    NoAutoPossess "no_auto_possess" "No automatic possessive repeats.";
    NoDotstarAnchor "no_dotstar_anchor" "A leading `.*` does not anchor.";
    NoStartOptimize "no_start_optimize" "No short cuts at the start.";
    Ucp "ucp" "Classes by Unicode properties.";
    Ungreedy "ungreedy" "Repeats are lazy.";
    Utf "utf" "Pattern and page are UTF-8.";
    NeverBackslashC "never_backslash_c" "No `\\C`.";
    AltCircumflex "alt_circumflex" "`^` matches after a newline at the end.";
    AltVerbnames "alt_verbnames" "Escapes in the names of verbs.";
    UseOffsetLimit "use_offset_limit" "An offset limit may be given.";
}

config_type! {
/// A set of [`RegexOption`]s.
#[derive(Copy, Default)]
pub struct RegexOptions(u32);
}

impl RegexOptions {
    /// Adds `option`.
    pub fn insert(&mut self, option: RegexOption) {
        self.0 |= 1 << option as u32;
    }

    /// Whether `option` is there.
    pub fn contains(self, option: RegexOption) -> bool {
        self.0 & (1 << option as u32) != 0
    }

    fn words(self) -> impl Iterator<Item = &'static str> {
        RegexOption::WORDS.iter().filter(move |(_, option)| self.contains(*option)).map(|(word, _)| *word)
    }
}

show_word! {
    DnsType => |record, _row| Scalar::Text(record.as_str().to_owned());
    HttpVersion => |version, _row| Scalar::Text(match version {
        HttpVersion::Http10 => "1.0",
        HttpVersion::Http10Close => "1.0C",
        HttpVersion::Http11 => "1.1",
    }.to_owned());
    Payload => |payload, _row| Scalar::Text(hex(&payload.0));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Show for ReplyPattern {
    fn show(&self, slot: Slot, out: &mut Vec<Setting>) {
        let digit = |value: u8, mask: u8| match mask {
            0 => 'x',
            _ => char::from_digit(value.into(), 16).unwrap_or('x'),
        };
        let digits: String = self
            .0
            .iter()
            .flat_map(|byte| [digit(byte.value >> 4, byte.mask >> 4), digit(byte.value & 15, byte.mask & 15)])
            .collect();
        out.push(slot.line(Some(digits).filter(|digits| !digits.is_empty()).map(Scalar::Text).into_iter().collect()));
    }
}

impl Show for FileWeight {
    fn show(&self, slot: Slot, out: &mut Vec<Setting>) {
        let direction = if self.reverse { "reverse" } else { "noreverse" };
        out.push(slot.line(vec![Scalar::Integer(self.multiplier.into()), Scalar::Text(direction.to_owned())]));
    }
}

impl Show for RegexOptions {
    fn show(&self, slot: Slot, out: &mut Vec<Setting>) {
        let words: Vec<_> = self.words().map(|word| Scalar::Text(word.to_owned())).collect();
        out.push(if words.is_empty() { slot.absent() } else { slot.line(words) });
    }
}

impl Show for RegexStack {
    fn show(&self, slot: Slot, out: &mut Vec<Setting>) {
        out.push(slot.line(vec![self.start.word(slot.row), self.max.word(slot.row)]));
    }
}

/// The command alone: the user is a line of its own.
fn show_command(script: &Spanned<Script>, slot: Slot, out: &mut Vec<Setting>) {
    out.push(slot.line(vec![Scalar::Script(script.command.clone())]));
}

fn show_pattern(pattern: &Spanned<String>, slot: Slot, out: &mut Vec<Setting>) {
    out.push(slot.line(vec![Scalar::Pattern(pattern.value.clone())]));
}

fn show_status_codes(ranges: &[(u16, u16)], slot: Slot, out: &mut Vec<Setting>) {
    let word = |(first, last): &(u16, u16)| match first == last {
        true => Scalar::Integer((*first).into()),
        false => Scalar::Text(format!("{first}-{last}")),
    };
    out.push(slot.line(ranges.iter().map(word).collect()));
}

fn show_digest(digest: &Option<[u8; 16]>, slot: Slot, out: &mut Vec<Setting>) {
    digest.as_ref().map(|digest| hex(digest)).show(slot, out);
}

impl HttpGet {
    /// Adds its lines as they stand in `block`.
    fn show(&self, kind: CheckerType, places: &Places, out: &mut Vec<Setting>) {
        let block = kind.block();
        self.lines(block, places, out);
        if kind == CheckerType::Ssl {
            self.tls_compliant.show(Slot::new(block, "tls_compliant", places), out);
        }
        for url in &self.urls {
            let slot = Slot { written: Some(url.path.span), ..Slot::new(block, "url", places) };
            out.push(slot.block(Vec::new(), url.body(kind)));
        }
    }
}

impl Url {
    fn body(&self, kind: CheckerType) -> Vec<Setting> {
        let block = if kind == CheckerType::Ssl { SSL_URL } else { HTTP_URL };
        let mut out = Vec::new();
        self.lines(block, &self.places, &mut out);
        match &self.regex {
            Some(regex) => regex.lines(block, &self.places, &mut out),
            None => out.push(Slot::new(block, "regex", &self.places).absent()),
        }
        if kind == CheckerType::Ssl {
            self.tls_compliant.show(Slot::new(block, "tls_compliant", &self.places), &mut out);
        }
        out
    }
}

pub(crate) const HTTP_URL: &str = "virtual_server/real_server/HTTP_GET/url";
pub(crate) const SSL_URL: &str = "virtual_server/real_server/SSL_GET/url";

impl Checker {
    /// The program that it runs, if it runs one.
    pub fn script(&self) -> Option<&Spanned<Script>> {
        match &self.kind {
            CheckerKind::Misc(check) => Some(&check.script),
            _ => None,
        }
    }
}

impl Block for Checker {
    fn written(&self) -> Option<Span> {
        Some(self.place.span)
    }

    fn body(&self) -> Vec<Setting> {
        let kind = self.kind.checker_type();
        let (block, places) = (kind.block(), &self.places);
        let mut out = Vec::new();
        if kind.connects() {
            self.target.socket().lines(block, places, &mut out);
            self.target.lines(block, places, &mut out);
        }
        if kind != CheckerType::File {
            self.alpha.show(Slot::new(block, "alpha", places), &mut out);
        }
        if kind.repeats() {
            self.timing.lines(block, places, &mut out);
            self.log_all_failures.show(Slot::new(block, "log_all_failures", places), &mut out);
        }
        match &self.kind {
            CheckerKind::Tcp | CheckerKind::Ping | CheckerKind::Unusable(_) => {}
            CheckerKind::Udp(check) => check.lines(block, places, &mut out),
            CheckerKind::Dns(check) => check.lines(block, places, &mut out),
            CheckerKind::Smtp(check) => check.lines(block, places, &mut out),
            CheckerKind::Http(get) | CheckerKind::Ssl(get) => get.show(kind, places, &mut out),
            CheckerKind::Misc(check) => {
                check.lines(block, places, &mut out);
                check.script.user.show(Slot::new(block, "user", places), &mut out);
            }
            CheckerKind::File(check) => check.lines(block, places, &mut out),
            CheckerKind::Bfd(check) => check.lines(block, places, &mut out),
        }
        out
    }
}

/// The checkers of a real server, each under its own keyword.
pub(super) fn show_checkers(checkers: &[Checker], _: Slot, out: &mut Vec<Setting>) {
    for checker in checkers {
        let keyword = checker.kind.checker_type().as_str();
        let row = Slot::new("virtual_server/real_server", keyword, &checker.places);
        show_block(checker, row, out);
    }
}
