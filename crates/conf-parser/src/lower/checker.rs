//! Checkers of a real server.

use std::net::IpAddr;
use std::time::Duration;

use super::global::Globals;
use super::value::integer;
use super::virtual_server::Shared;
use super::{Context, Handler};
use crate::config::{CheckDefaults, CheckTarget, CheckTiming, Checker, CheckerKind, HttpGet, HttpVersion, Url};
use crate::diagnostic::{Class, Code, Diagnostic};
use crate::setting::Places;
use crate::source::{Span, Spanned};
use crate::tree::Statement;

/// Times and tries as written; the innermost of checker, real server and virtual server wins.
#[derive(Debug, Clone, Default)]
pub(super) struct TimingWords {
    delay_loop: Option<Duration>,
    warmup: Option<Duration>,
    retry: Option<u32>,
    delay_before_retry: Option<Duration>,
    connect_timeout: Option<Duration>,
}

impl TimingWords {
    /// Fills what was not written from `outer`.
    pub(super) fn or(&self, outer: &Self) -> Self {
        Self {
            delay_loop: self.delay_loop.or(outer.delay_loop),
            warmup: self.warmup.or(outer.warmup),
            retry: self.retry.or(outer.retry),
            delay_before_retry: self.delay_before_retry.or(outer.delay_before_retry),
            connect_timeout: self.connect_timeout.or(outer.connect_timeout),
        }
    }
}

impl From<CheckDefaults> for TimingWords {
    fn from(defaults: CheckDefaults) -> Self {
        let CheckDefaults { delay_loop, warmup, retry, delay_before_retry, connect_timeout } = defaults;
        Self { delay_loop, warmup, retry, delay_before_retry, connect_timeout }
    }
}

/// A block that takes the words of [`TimingWords`].
pub(super) trait Timed: Sized + 'static {
    /// How findings call its `delay_loop`.
    const DELAY_LOOP: &'static str;

    /// Where the words go.
    fn timing(&mut self) -> &mut TimingWords;

    const DELAY_LOOP_HANDLER: Handler<Self> = Handler("delay_loop", |block, context, statement| {
        let message = |text: &str| format!("{} '{text}' invalid - ignoring", Self::DELAY_LOOP);
        let value = context.time_with(statement, message);
        block.timing().delay_loop = value.or(block.timing().delay_loop);
    });
    const WARMUP_HANDLER: Handler<Self> = Handler("warmup", |block, context, statement| {
        block.timing().warmup = context.time(statement, "warmup").or(block.timing().warmup);
    });
    const RETRY_HANDLER: Handler<Self> = Handler("retry", |block, context, statement| {
        block.timing().retry = context.number(statement, "retry").or(block.timing().retry);
    });
    const DELAY_BEFORE_RETRY_HANDLER: Handler<Self> = Handler("delay_before_retry", |block, context, statement| {
        let value = context.time(statement, "delay_before_retry");
        block.timing().delay_before_retry = value.or(block.timing().delay_before_retry);
    });
    const CONNECT_TIMEOUT_HANDLER: Handler<Self> = Handler("connect_timeout", |block, context, statement| {
        let value = context.time(statement, "connect_timeout");
        block.timing().connect_timeout = value.or(block.timing().connect_timeout);
    });
}

/// A checker as written.
#[derive(Debug)]
pub(super) struct Draft {
    keyword: String,
    span: Span,
    target: CheckTarget,
    timing: TimingWords,
    alpha: Option<bool>,
    log_all_failures: Option<bool>,
    http_version: HttpVersion,
    virtualhost: Option<String>,
    urls: Vec<Url>,
    places: Places,
}

super::placed!(Draft);

impl Timed for Draft {
    const DELAY_LOOP: &'static str = "checker delay loop";

    fn timing(&mut self) -> &mut TimingWords {
        &mut self.timing
    }
}

/// Reads one checker.
pub(super) fn read(context: &mut Context<'_>, statement: &Statement) -> Draft {
    let mut draft = Draft {
        keyword: statement.keyword.text.clone(),
        span: statement.keyword.span,
        target: CheckTarget::default(),
        timing: TimingWords::default(),
        alpha: None,
        log_all_failures: None,
        http_version: HttpVersion::Http10,
        virtualhost: None,
        urls: Vec::new(),
        places: Places::default(),
    };
    match draft.keyword.as_str() {
        "TCP_CHECK" => context.visit(&mut draft, &statement.body, &[CONNECTION]),
        "HTTP_GET" => {
            context.visit(&mut draft, &statement.body, &[CONNECTION, HTTP]);
            if draft.urls.is_empty() {
                let message = "HTTP_GET has no usable url - its server counts as down";
                let finding = Diagnostic::error(Code::BadChecker, Class::General, draft.span, message);
                context.push(finding.help("write 'url { path / }' in it"));
            }
        }
        _ => {}
    }
    draft
}

impl Draft {
    /// Applies defaults.
    pub(super) fn finish(
        mut self,
        context: &mut Context<'_>,
        address: IpAddr,
        server: &Shared,
        alpha: bool,
        globals: &Globals,
    ) -> Checker {
        let destination = self.target.address.unwrap_or(address);
        if let Some(source) = self.target.bind_address.filter(|source| source.is_ipv4() != destination.is_ipv4()) {
            let message = format!("bindto address {source} does not match address family of connect_ip - skipping");
            context.push(
                Diagnostic::error(Code::BadAddress, Class::General, self.span, message)
                    .label(format!("this check connects to {destination}")),
            );
            self.target.bind_address = None;
        }
        let timing = self.timing.or(&server.timing);
        let delay_loop = timing.delay_loop.unwrap_or(Duration::from_secs(60));
        let between_tries = if self.keyword == "HTTP_GET" { 3 } else { 1 };
        Checker {
            kind: match self.keyword.as_str() {
                "TCP_CHECK" => CheckerKind::Tcp,
                "HTTP_GET" if !self.urls.is_empty() => CheckerKind::Http(HttpGet {
                    version: self.http_version,
                    virtualhost: self.virtualhost,
                    urls: self.urls,
                }),
                _ => CheckerKind::Unsupported { keyword: self.keyword },
            },
            target: CheckTarget {
                connect_timeout: timing.connect_timeout.unwrap_or(Duration::from_secs(5)),
                ..self.target
            },
            timing: CheckTiming {
                delay_loop,
                warmup: timing.warmup.unwrap_or(delay_loop),
                retry: timing.retry.unwrap_or(1),
                delay_before_retry: timing.delay_before_retry.unwrap_or(Duration::from_secs(between_tries)),
            },
            alpha: self.alpha.unwrap_or(alpha),
            log_all_failures: self.log_all_failures.unwrap_or(globals.log_all_failures),
            place: Spanned::new((), self.span),
        }
    }
}

fn port(context: &mut Context<'_>, statement: &Statement) -> Option<u16> {
    context.number(statement, &statement.keyword.text)
}

pub(super) const CONNECTION: &[Handler<Draft>] = &[
    Handler("connect_ip", |draft, context, statement| {
        draft.target.address = context.address(statement).map(|address| address.value).or(draft.target.address);
    }),
    Handler("connect_port", |draft, context, statement| {
        draft.target.port = port(context, statement).or(draft.target.port)
    }),
    Handler("bindto", |draft, context, statement| {
        draft.target.bind_address =
            context.address(statement).map(|address| address.value).or(draft.target.bind_address);
    }),
    Handler("bind_port", |draft, context, statement| {
        draft.target.bind_port = port(context, statement).or(draft.target.bind_port)
    }),
    Handler("bind_if", |draft, context, statement| {
        draft.target.bind_interface = statement.arguments.first().and_then(|word| context.interface(word));
    }),
    Handler("fwmark", |draft, context, statement| {
        draft.target.fwmark = context.number(statement, "fwmark").unwrap_or(draft.target.fwmark);
    }),
    Handler("alpha", |draft, context, statement| draft.alpha = context.switch(statement).or(draft.alpha)),
    Handler("log_all_failures", |draft, context, statement| {
        draft.log_all_failures = context.switch(statement).or(draft.log_all_failures);
    }),
    <Draft as Timed>::DELAY_LOOP_HANDLER,
    <Draft as Timed>::WARMUP_HANDLER,
    <Draft as Timed>::RETRY_HANDLER,
    <Draft as Timed>::DELAY_BEFORE_RETRY_HANDLER,
    <Draft as Timed>::CONNECT_TIMEOUT_HANDLER,
];

pub(super) const HTTP_VERSIONS: &[(&str, HttpVersion)] = &[
    ("1.0", HttpVersion::Http10),
    ("1.0C", HttpVersion::Http10Close),
    ("1.0c", HttpVersion::Http10Close),
    ("1.1", HttpVersion::Http11),
];

pub(super) const HTTP: &[Handler<Draft>] = &[
    Handler("nb_get_retry", |draft, context, statement| {
        let finding = Diagnostic::warning(
            Code::Deprecated,
            Class::Deprecated,
            statement.keyword.span,
            "nb_get_retry is deprecated - please use 'retry'",
        );
        context.push(finding.replacement("retry"));
        draft.timing.retry = context.number(statement, "nb_get_retry").or(draft.timing.retry);
    }),
    Handler("http_protocol", |draft, context, statement| {
        let Some(word) = statement.arguments.first() else { return };
        match HTTP_VERSIONS.iter().find(|(name, _)| *name == word.text) {
            Some((_, version)) => draft.http_version = *version,
            None => {
                let finding = Diagnostic::error(
                    Code::BadWord,
                    Class::General,
                    word.span,
                    format!("Invalid http_protocol version '{}' - ignoring", word.text),
                );
                context.push(finding.help("one of 1.0, 1.0C, 1.1"));
            }
        }
    }),
    Handler("virtualhost", |draft, context, statement| draft.virtualhost = context.text(statement)),
    Handler("url", |draft, context, statement| {
        let mut words = UrlWords::default();
        context.visit(&mut words, &statement.body, &[URL]);
        let Some(path) = words.path else {
            context.error(Code::BadChecker, statement.keyword.span, "url has no path - ignoring it");
            return;
        };
        let default = Url::default();
        let status_codes = if words.status_codes.is_empty() { default.status_codes } else { words.status_codes };
        draft.urls.push(Url { path, status_codes, digest: words.digest, virtualhost: words.virtualhost });
    }),
];

/// A `url` block as written.
#[derive(Debug, Default)]
pub(super) struct UrlWords {
    path: Option<String>,
    status_codes: Vec<(u16, u16)>,
    digest: Option<[u8; 16]>,
    virtualhost: Option<String>,
    places: Places,
}

super::placed!(UrlWords);

pub(super) const URL: &[Handler<UrlWords>] = &[
    Handler("path", |url, context, statement| url.path = context.text(statement)),
    Handler("virtualhost", |url, context, statement| url.virtualhost = context.text(statement)),
    Handler("status_code", |url, context, statement| {
        for word in &statement.arguments {
            match status_codes(&word.text) {
                Ok(range) => url.status_codes.push(range),
                Err(wrong) => {
                    context.bad_number(word, wrong, format!("Invalid HTTP status code '{}' - ignoring", word.text))
                }
            }
        }
    }),
    Handler("digest", |url, context, statement| {
        let Some(word) = statement.arguments.first() else { return };
        url.digest = digest(&word.text);
        if url.digest.is_none() {
            let finding = Diagnostic::error(
                Code::BadChecker,
                Class::General,
                word.span,
                format!("digest '{}' is not an MD5 sum - ignoring", word.text),
            );
            context.push(finding.help("write 32 hexadecimal digits, as genhash prints them"));
        }
    }),
];

/// `A` or `A-B`.
fn status_codes(text: &str) -> Result<(u16, u16), String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (integer(first, &(100..=599u16))?, integer(last, &(100..=599u16))?);
    if first <= last { Ok((first, last)) } else { Err(format!("range {first}-{last} is empty")) }
}

fn digest(text: &str) -> Option<[u8; 16]> {
    let mut digest = [0; 16];
    if text.len() != 2 * digest.len() {
        return None;
    }
    for (byte, digits) in digest.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digits =
            std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(digest)
}
