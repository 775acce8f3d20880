//! The expressions of rules as attributes.

use super::types::{Expression, Meta, PayloadBase, Register, Verdict};
use crate::message::{Attributes, ParseError, attributes, fixed, text};

const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
pub(super) const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFTA_VERDICT_CHAIN: u16 = 2;

const NF_DROP: i32 = 0;
const NF_ACCEPT: i32 = 1;
const NFT_GOTO: i32 = -4;
const NFT_RETURN: i32 = -5;

/// A rule's expressions, one list element each.
pub(super) fn emit(rule: &[Expression]) -> Attributes {
    let mut list = Attributes::default();
    for expression in rule {
        list.nest(NFTA_LIST_ELEM, &emit_one(expression));
    }
    list
}

pub(super) fn emit_one(expression: &Expression) -> Attributes {
    let (name, data) = parts(expression);
    let mut one = Attributes::default();
    one.put_text(NFTA_EXPR_NAME, name);
    one.nest(NFTA_EXPR_DATA, &data);
    one
}

fn parts(expression: &Expression) -> (&str, Attributes) {
    let mut data = Attributes::default();
    let name = match expression {
        Expression::Payload { base, offset, len, to } => {
            for (kind, value) in [(1, to.0), (2, base.0), (3, *offset), (4, *len)] {
                data.put_u32(kind, value);
            }
            "payload"
        }
        Expression::Meta { key, to } => {
            data.put_u32(2, key.0);
            data.put_u32(1, to.0);
            "meta"
        }
        Expression::SetMeta { key, from } => {
            data.put_u32(2, key.0);
            data.put_u32(3, from.0);
            "meta"
        }
        Expression::Equals { register, value } => {
            data.put_u32(1, register.0);
            data.put_u32(2, 0); // NFT_CMP_EQ
            data.put_value(3, value);
            "cmp"
        }
        Expression::Mask { register, mask } => {
            data.put_u32(1, register.0);
            data.put_u32(2, register.0);
            data.put_u32(3, u32::try_from(mask.len()).unwrap_or(u32::MAX));
            data.put_value(4, mask);
            data.put_value(5, &vec![0; mask.len()]);
            "bitwise"
        }
        Expression::Lookup { set, register, to } => {
            data.put_u32(2, register.0);
            if let Some(to) = to {
                data.put_u32(3, to.0);
            }
            data.put_text(1, set);
            "lookup"
        }
        Expression::Counter => "counter",
        Expression::Duplicate { address, link } => {
            data.put_u32(1, address.0);
            data.put_u32(2, link.0);
            "dup"
        }
        Expression::Verdict(verdict) => {
            data.put_u32(1, Register::VERDICT.0);
            let mut inner = Attributes::default();
            inner.nest(NFTA_DATA_VERDICT, &emit_verdict(verdict));
            data.nest(2, &inner);
            "immediate"
        }
        Expression::Unknown(name) => name,
    };
    (name, data)
}

fn emit_verdict(verdict: &Verdict) -> Attributes {
    let mut out = Attributes::default();
    let (code, chain) = match verdict {
        Verdict::Accept => (NF_ACCEPT, None),
        Verdict::Drop => (NF_DROP, None),
        Verdict::Goto(chain) => (NFT_GOTO, Some(chain)),
        Verdict::Return => (NFT_RETURN, None),
    };
    out.put_u32(NFTA_VERDICT_CODE, code.cast_unsigned());
    if let Some(chain) = chain {
        out.put_text(NFTA_VERDICT_CHAIN, chain);
    }
    out
}

/// Reads a rule's expressions.
///
/// # Errors
/// [`ParseError`] if attributes are malformed. What is merely unknown is [`Expression::Unknown`].
pub(super) fn parse(list: &[u8]) -> Result<Vec<Expression>, ParseError> {
    let mut rule = Vec::new();
    for element in attributes(list) {
        rule.push(parse_one(element?.1)?);
    }
    Ok(rule)
}

/// Reads one expression.
///
/// # Errors
/// [`ParseError`] if attributes are malformed.
pub(super) fn parse_one(element: &[u8]) -> Result<Expression, ParseError> {
    let (mut name, mut data) = ("", &[][..]);
    for attribute in attributes(element) {
        match attribute? {
            (NFTA_EXPR_NAME, value) => name = std::str::from_utf8(text(value)).unwrap_or_default(),
            (NFTA_EXPR_DATA, value) => data = value,
            _ => {}
        }
    }
    let fields = Fields::read(data)?;
    Ok(fields.expression(name)?.unwrap_or_else(|| Expression::Unknown(name.to_owned())))
}

/// The first attributes of an expression by number; those of all expressions here have numbers up to 7.
#[derive(Default)]
struct Fields<'a>([Option<&'a [u8]>; 8]);

impl<'a> Fields<'a> {
    fn read(data: &'a [u8]) -> Result<Self, ParseError> {
        let mut fields = Self::default();
        for attribute in attributes(data) {
            let (kind, value) = attribute?;
            if let Some(field) = fields.0.get_mut(usize::from(kind)) {
                *field = Some(value);
            }
        }
        Ok(fields)
    }

    fn octets(&self, kind: u16) -> Option<&'a [u8]> {
        self.0.get(usize::from(kind)).copied().flatten()
    }

    fn number(&self, kind: u16) -> Result<Option<u32>, ParseError> {
        self.octets(kind).map(|value| fixed(kind, value).map(u32::from_be_bytes)).transpose()
    }

    fn register(&self, kind: u16) -> Result<Option<Register>, ParseError> {
        Ok(self.number(kind)?.map(Register))
    }

    /// The value in a nested `NFTA_DATA_VALUE`.
    fn value(&self, kind: u16) -> Result<Option<Vec<u8>>, ParseError> {
        self.octets(kind).map_or(Ok(None), |nested| value(nested).map(|value| value.map(<[u8]>::to_vec)))
    }

    /// `None` for an expression that this library does not know, or not in this form.
    fn expression(&self, name: &str) -> Result<Option<Expression>, ParseError> {
        match name {
            "payload" => self.payload(),
            "meta" => self.meta(),
            "cmp" if self.number(2)? == Some(0) => Ok(self
                .register(1)?
                .zip(self.value(3)?)
                .map(|(register, value)| Expression::Equals { register, value })),
            "bitwise" => self.mask(),
            "lookup" if self.number(5)?.unwrap_or(0) == 0 => {
                let to = self.register(3)?;
                let set = self.octets(1).map(|name| String::from_utf8_lossy(text(name)).into_owned());
                Ok(self.register(2)?.zip(set).map(|(register, set)| Expression::Lookup { set, register, to }))
            }
            "counter" => Ok(Some(Expression::Counter)),
            "dup" => {
                let both = self.register(1)?.zip(self.register(2)?);
                Ok(both.map(|(address, link)| Expression::Duplicate { address, link }))
            }
            "immediate" if self.register(1)? == Some(Register::VERDICT) => {
                self.octets(2).map_or(Ok(None), |data| Ok(parse_verdict(data)?.map(Expression::Verdict)))
            }
            _ => Ok(None),
        }
    }

    fn meta(&self) -> Result<Option<Expression>, ParseError> {
        let Some(key) = self.number(2)?.map(Meta) else { return Ok(None) };
        Ok(match (self.register(1)?, self.register(3)?) {
            (Some(to), _) => Some(Expression::Meta { key, to }),
            (None, Some(from)) => Some(Expression::SetMeta { key, from }),
            (None, None) => None,
        })
    }

    fn payload(&self) -> Result<Option<Expression>, ParseError> {
        let (Some(to), Some(base), Some(offset), Some(len)) =
            (self.register(1)?, self.number(2)?, self.number(3)?, self.number(4)?)
        else {
            return Ok(None);
        };
        Ok(Some(Expression::Payload { base: PayloadBase(base), offset, len, to }))
    }

    fn mask(&self) -> Result<Option<Expression>, ParseError> {
        let (from, to) = (self.register(1)?, self.register(2)?);
        let flips = self.value(5)?.is_none_or(|xor| xor.iter().any(|octet| *octet != 0));
        let Some(register) = from.filter(|_| from == to && !flips && matches!(self.number(6), Ok(None | Some(0))))
        else {
            return Ok(None);
        };
        Ok(self.value(4)?.map(|mask| Expression::Mask { register, mask }))
    }
}

/// The value in `NFTA_DATA_VALUE`.
pub(super) fn value(nested: &[u8]) -> Result<Option<&[u8]>, ParseError> {
    for attribute in attributes(nested) {
        if let (NFTA_DATA_VALUE, value) = attribute? {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

fn parse_verdict(data: &[u8]) -> Result<Option<Verdict>, ParseError> {
    for attribute in attributes(data) {
        if let (NFTA_DATA_VERDICT, verdict) = attribute? {
            let fields = Fields::read(verdict)?;
            let chain = fields.octets(NFTA_VERDICT_CHAIN);
            let chain = chain.map(|chain| String::from_utf8_lossy(text(chain)).into_owned());
            return Ok(match (fields.number(NFTA_VERDICT_CODE)?.map(u32::cast_signed), chain) {
                (Some(NF_ACCEPT), _) => Some(Verdict::Accept),
                (Some(NF_DROP), _) => Some(Verdict::Drop),
                (Some(NFT_GOTO), Some(chain)) => Some(Verdict::Goto(chain)),
                (Some(NFT_RETURN), _) => Some(Verdict::Return),
                _ => None,
            });
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn register() -> impl Strategy<Value = Register> {
        (0..5_u32).prop_map(Register)
    }

    fn expression() -> impl Strategy<Value = Expression> {
        let octets = || prop::collection::vec(any::<u8>(), 0..20);
        prop_oneof![
            (any::<u32>(), any::<u32>(), any::<u32>(), register()).prop_map(|(base, offset, len, to)| {
                Expression::Payload { base: PayloadBase(base), offset, len, to }
            }),
            (any::<u32>(), register()).prop_map(|(key, to)| Expression::Meta { key: Meta(key), to }),
            (any::<u32>(), register()).prop_map(|(key, from)| Expression::SetMeta { key: Meta(key), from }),
            (register(), octets()).prop_map(|(register, value)| Expression::Equals { register, value }),
            ("[a-z_-]{1,20}", register(), prop::option::of(register()))
                .prop_map(|(set, register, to)| Expression::Lookup { set, register, to }),
            (register(), octets()).prop_map(|(register, mask)| Expression::Mask { register, mask }),
            Just(Expression::Counter),
            (register(), register()).prop_map(|(address, link)| Expression::Duplicate { address, link }),
            Just(Expression::Verdict(Verdict::Accept)),
            Just(Expression::Verdict(Verdict::Drop)),
            Just(Expression::Verdict(Verdict::Return)),
            "[a-z_]{1,20}".prop_map(|chain| Expression::Verdict(Verdict::Goto(chain))),
        ]
    }

    proptest! {
        #[test]
        fn what_is_emitted_is_read_back(rule in prop::collection::vec(expression(), 0..6)) {
            prop_assert_eq!(parse(emit(&rule).as_slice()), Ok(rule));
        }

        #[test]
        fn no_octets_make_it_panic(octets in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = parse(&octets);
        }
    }

    #[test]
    fn a_comparison_of_another_kind_is_not_taken_for_equality() {
        let mut data = Attributes::default();
        data.put_u32(1, 1);
        data.put_u32(2, 1); // NFT_CMP_NEQ
        data.put_value(3, &[1]);
        let mut one = Attributes::default();
        one.put_text(NFTA_EXPR_NAME, "cmp");
        one.nest(NFTA_EXPR_DATA, &data);
        let mut list = Attributes::default();
        list.nest(NFTA_LIST_ELEM, &one);
        assert_eq!(parse(list.as_slice()), Ok(vec![Expression::Unknown("cmp".into())]));
    }
}
