//! `SSL`.

use super::{Context, Handler};
use crate::config::{Passphrase, TlsClient};
use crate::diagnostic::{Class, Code, Diagnostic};
use crate::setting::Places;
use crate::source::Spanned;
use crate::tree::Statement;

super::placed!(TlsClient);

/// Reads one block, which replaces an earlier one.
pub(super) fn read(context: &mut Context<'_>, statement: &Statement, slot: &mut Option<TlsClient>) {
    let span = statement.keyword.span;
    if let Some(first) = slot.take() {
        let message = "SSL context already specified - replacing";
        let finding = Diagnostic::warning(Code::DuplicateSsl, Class::General, span, message);
        context.push(finding.related(first.place.span, "this block no longer counts"));
    }
    let mut client = TlsClient {
        password: None,
        ca: None,
        certificate: None,
        key: None,
        place: Spanned::new((), span),
        places: Places::default(),
    };
    context.visit(&mut client, &statement.body, &[SSL]);
    *slot = Some(client);
}

/// The text after a keyword, which keepalived wants but does not stop without.
fn text(context: &mut Context<'_>, statement: &Statement) -> Option<Spanned<String>> {
    let word = statement.arguments.first().map(|word| Spanned::new(word.text.clone(), word.span));
    if word.is_none() {
        let keyword = &statement.keyword;
        context.error(Code::MissingParameter, keyword.span, format!("SSL {} missing", keyword.text));
    }
    word
}

pub(super) const SSL: &[Handler<TlsClient>] = &[
    Handler("password", |client, context, statement| {
        client.password = text(context, statement).map(|text| Passphrase(text.value)).or(client.password.take());
    }),
    Handler("ca", |client, context, statement| client.ca = text(context, statement).or(client.ca.take())),
    Handler("certificate", |client, context, statement| {
        client.certificate = text(context, statement).or(client.certificate.take());
    }),
    Handler("key", |client, context, statement| client.key = text(context, statement).or(client.key.take())),
];
