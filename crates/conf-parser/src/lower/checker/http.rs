//! `HTTP_GET` and `SSL_GET`.

use super::connection::parameter;
use super::regex::RegexWords;
use super::{Draft, Server, nothing_follows, unusable};
use crate::config::{Checker, CheckerKind, CheckerType, HttpGet, HttpVersion, SSL_URL, Url};
use crate::diagnostic::{Class, Code, Diagnostic};
use crate::lower::value::{NotNumber, integer};
use crate::lower::{Context, Handler};
use crate::schema::default::table_default;
use crate::setting::Places;
use crate::source::Spanned;
use crate::tree::Statement;

/// `HTTP_GET` or `SSL_GET`.
pub(super) fn read(
    context: &mut Context<'_>,
    statement: &Statement,
    checker: Checker,
    server: Server,
    kind: CheckerType,
) -> Checker {
    let tables = [Draft::CONNECTION, Draft::TIMING, HTTP];
    let mut draft = Draft::<HttpGet>::read(context, statement, checker, server, &tables);
    draft.check_link_local(context);
    draft.kind.urls.shrink_to_fit();
    if draft.kind.urls.is_empty() {
        // A url that was written is reported itself.
        if !statement.body.iter().any(|line| line.keyword.text == "url") {
            let message = "HTTP/SSL_GET checker has no urls specified - ignoring";
            unusable(context, statement.keyword.span, message, "write 'url { path / }' in it");
        }
        return draft.checker;
    }
    if kind == CheckerType::Ssl {
        inherit_tls_compliant(&mut draft, context.carried.defaults.ssl_get.tls_compliant);
        return draft.make(|get| CheckerKind::Ssl(Box::new(get)));
    }
    draft.make(|get| CheckerKind::Http(Box::new(get)))
}

/// A url ends its TLS sessions as the checker does, unless it says otherwise; the checker as `default` unless it does.
fn inherit_tls_compliant(draft: &mut Draft<HttpGet>, default: bool) {
    let place = draft.checker.places.of(CheckerType::Ssl.block(), "tls_compliant");
    if place.is_none() {
        draft.kind.tls_compliant = default;
    }
    for url in &mut draft.kind.urls {
        if url.places.of(SSL_URL, "tls_compliant").is_none() {
            url.tls_compliant = draft.kind.tls_compliant;
            url.places.inherit(SSL_URL, "tls_compliant", place);
        }
    }
}

/// Notes on `enable_sni` where it cannot do anything.
pub(super) fn check_sni(get: &HttpGet, context: &mut Context<'_>, kind: CheckerType, places: &Places, outer: bool) {
    let span = places.of(kind.block(), "enable_sni").or_else(|| places.of(kind.block(), "sni_name"));
    let Some(span) = span.filter(|_| get.enable_sni) else { return };
    if kind == CheckerType::Http {
        let message = "HTTP_GET makes no TLS connection: no server name is sent";
        context.push(Diagnostic::note(Code::BadChecker, span, message).help("write SSL_GET"));
        return;
    }
    let nameless = get.urls.iter().find(|url| url.virtualhost.is_none());
    if let Some(url) = nameless.filter(|_| get.sni_name.is_none() && get.virtualhost.is_none() && !outer) {
        let message = "enable_sni has no name to send";
        let finding = Diagnostic::note(Code::BadChecker, span, message).related(url.path.span, "for this url");
        context.push(finding.help(
            "add a virtualhost to the url, the checker or the virtual server: that of the real server is passed over",
        ));
    }
}

pub(in crate::lower) const HTTP: &[Handler<Draft<HttpGet>>] = &[
    Handler("nb_get_retry", |draft, context, statement| {
        let finding = Diagnostic::warning(
            Code::Deprecated,
            Class::Deprecated,
            statement.keyword.span,
            "nb_get_retry is deprecated - please use 'retry'",
        );
        context.push(finding.replacement("retry"));
        let value = context.number_with(statement, |text| format!("Invalid nb_get_retry value '{text}'"));
        draft.checker.timing.retry = value.unwrap_or(draft.checker.timing.retry);
    }),
    Handler("http_protocol", |draft, context, statement| {
        let Some(word) = statement.arguments.first() else {
            nothing_follows(context, statement, "Missing http_protocol version");
            return;
        };
        match HttpVersion::WORDS.iter().find(|(name, _)| *name == word.text) {
            Some((name, version)) => {
                let block = format!("{}/http_protocol", draft.checker.kind.checker_type().block());
                context.known_option(&block, name, word.span);
                draft.kind.version = *version;
            }
            None => {
                let message = format!("Invalid http_protocol version {}", word.text);
                let finding = Diagnostic::error(Code::BadWord, Class::General, word.span, message);
                context.push(finding.help("one of 1.0, 1.0C, 1.1"));
            }
        }
    }),
    Handler("virtualhost", |draft, context, statement| match context.text(statement) {
        Some(host) => draft.kind.virtualhost = Some(host),
        None => nothing_follows(context, statement, "HTTP_GET virtualhost name missing"),
    }),
    Handler("enable_sni", |draft, context, statement| {
        draft.kind.enable_sni = parameter(context, statement).unwrap_or(draft.kind.enable_sni);
        if !draft.kind.enable_sni {
            draft.kind.sni_name = None;
        }
    }),
    Handler("sni_name", |draft, context, statement| {
        draft.kind.enable_sni = true;
        draft.kind.sni_name = context.text(statement).or(draft.kind.sni_name.take());
    }),
    Handler("fast_recovery", |draft, context, statement| {
        draft.kind.fast_recovery = parameter(context, statement).unwrap_or(draft.kind.fast_recovery);
    }),
    Handler("tls_compliant", |draft, context, statement| {
        draft.kind.tls_compliant = parameter(context, statement).unwrap_or(draft.kind.tls_compliant);
    }),
    Handler("url", |draft, context, statement| {
        let mut words = UrlWords::default();
        context.visit(&mut words, &statement.body, &[UrlWords::HANDLERS, UrlWords::REGEX]);
        draft.kind.urls.extend(words.finish(context, statement));
    }),
];

/// A `url` block as written.
#[derive(Debug, Default)]
pub(in crate::lower) struct UrlWords {
    path: Option<Spanned<String>>,
    status_codes: Vec<(u16, u16)>,
    digest: Option<[u8; 16]>,
    virtualhost: Option<String>,
    tls_compliant: bool,
    pub(super) regex: RegexWords,
    pub(super) places: Places,
}

impl crate::lower::Placed for UrlWords {
    fn places(&mut self) -> &mut Places {
        &mut self.places
    }
}

impl UrlWords {
    pub(in crate::lower) const HANDLERS: &'static [Handler<Self>] = &[
        Handler("path", |url, context, statement| context.set(&mut url.path, statement)),
        Handler("virtualhost", |url, context, statement| match context.text(statement) {
            Some(host) => url.virtualhost = Some(host),
            None => nothing_follows(context, statement, "Missing HTTP_GET virtualhost name"),
        }),
        Handler("status_code", |url, context, statement| {
            if statement.arguments.is_empty() {
                let message = "status_code has no value - ignoring";
                let finding = Diagnostic::note(Code::MissingParameter, statement.keyword.span, message);
                context.push(finding.help("status_code 200-299 301"));
            }
            for word in &statement.arguments {
                match status_codes(&word.text) {
                    Ok(range) => url.status_codes.push(range),
                    Err(wrong) => {
                        context.bad_number(word, wrong, format!("Invalid HTTP_GET status code '{}'", word.text));
                    }
                }
            }
        }),
        Handler("digest", |url, context, statement| {
            let Some(word) = statement.arguments.first() else { return };
            match digest(&word.text) {
                Ok(_) if url.digest.is_some() => {
                    let message = format!("Digest '{}' is a duplicate", word.text);
                    context.error(Code::ExtraParameter, word.span, message);
                }
                Ok(digest) => url.digest = Some(digest),
                Err(message) => {
                    let finding = Diagnostic::error(Code::BadChecker, Class::General, word.span, message);
                    context.push(finding.help("write 32 hexadecimal digits, as genhash prints them"));
                }
            }
        }),
        Handler("tls_compliant", |url, context, statement| {
            url.tls_compliant = parameter(context, statement).unwrap_or(url.tls_compliant);
        }),
    ];

    fn finish(mut self, context: &mut Context<'_>, statement: &Statement) -> Option<Url> {
        let regex = std::mem::take(&mut self.regex).finish(context);
        let Some(path) = self.path else {
            let message = "HTTP/SSL_GET checker url has no path - ignoring";
            let finding = Diagnostic::error(Code::BadChecker, Class::General, statement.keyword.span, message);
            context.push(finding.help("write 'path /' in it"));
            return None;
        };
        if self.status_codes.is_empty() {
            let StatusCodes(first, last) = context.carried.defaults.url.status_code;
            self.status_codes.push((first, last));
        }
        self.places.shrink();
        Some(Url {
            path,
            status_codes: self.status_codes,
            digest: self.digest,
            virtualhost: self.virtualhost,
            regex,
            tls_compliant: self.tls_compliant,
            places: self.places,
        })
    }
}

/// The status codes that a `url` without any accepts, from the first to the last.
#[derive(Debug, Clone, Copy)]
pub(in crate::lower) struct StatusCodes(u16, u16);

table_default! {
    StatusCodes => |row| status_codes(row.default_text()).ok().map(|(first, last)| Self(first, last)), else Self(0, 0);
}

/// `A` or `A-B`.
fn status_codes(text: &str) -> Result<(u16, u16), NotNumber> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (integer(first, &(100..=599u16))?, integer(last, &(100..=599u16))?);
    if first <= last { Ok((first, last)) } else { Err(format!("range {first}-{last} is empty").into()) }
}

fn digest(text: &str) -> Result<[u8; 16], String> {
    let mut digest = [0; 16];
    if text.len() != 2 * digest.len() {
        return Err(format!("digest '{text}' character length should be 32 rather than {}", text.len()));
    }
    let half = |digit: &u8| char::from(*digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    for (at, (byte, digits)) in digest.iter_mut().zip(text.as_bytes().as_chunks::<2>().0).enumerate() {
        let [high, low] = digits;
        let (Some(high), Some(low)) = (half(high), half(low)) else {
            let digits = String::from_utf8_lossy(digits);
            let offsets = format!("{}/{}", 2 * at, 2 * at + 1);
            return Err(format!("Unable to interpret hex digit in '{digits}' at offset {offsets}"));
        };
        *byte = high << 4 | low;
    }
    Ok(digest)
}
