//! Netlink messages of nftables (`NFNL_SUBSYS_NFTABLES`).

use std::collections::BTreeSet;

use super::{
    expression,
    plan::Change,
    types::{BaseChain, Chain, DataType, Element, Expression, Hook, Policy, Rule, Set, SetFlags, TableName},
};
use crate::{
    message::{Attributes, Message, ParseError, attributes, fixed, text},
    types::Family,
};

const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
const NFNL_MSG_BATCH_END: u16 = 0x11;

const NEWTABLE: u16 = 0;
const GETTABLE: u16 = 1;
const DELTABLE: u16 = 2;
const NEWCHAIN: u16 = 3;
const GETCHAIN: u16 = 4;
const NEWRULE: u16 = 6;
const GETRULE: u16 = 7;
const NEWSET: u16 = 9;
const GETSET: u16 = 10;
const NEWSETELEM: u16 = 12;
const GETSETELEM: u16 = 13;
const DELSETELEM: u16 = 14;
const NEWGEN: u16 = 15;

const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_CREATE: u16 = 0x400;
const NLM_F_APPEND: u16 = 0x800;

/// The first attribute of every message about something in a table is the table's name.
const NFTA_TABLE: u16 = 1;
const NFTA_TABLE_FLAGS: u16 = 2;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_SET_NAME: u16 = 2;
const NFTA_SET_FLAGS: u16 = 3;
const NFTA_SET_KEY_TYPE: u16 = 4;
const NFTA_SET_KEY_LEN: u16 = 5;
const NFTA_SET_DATA_TYPE: u16 = 6;
const NFTA_SET_DATA_LEN: u16 = 7;
const NFTA_SET_DESC: u16 = 9;
const NFTA_SET_ID: u16 = 10;
const NFTA_SET_USERDATA: u16 = 13;
const NFTA_SET_EXPR: u16 = 17;
const NFTA_SET_DESC_CONCAT: u16 = 2;
const NFTA_SET_FIELD_LEN: u16 = 1;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_DATA: u16 = 2;
const NFTA_SET_ELEM_KEY_END: u16 = 10;

impl Attributes {
    /// Most of nftables' numbers are in network byte order.
    pub(super) fn put_u32(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_be_bytes());
    }

    pub(super) fn put_text(&mut self, kind: u16, value: &str) {
        let octets: Vec<u8> = value.bytes().chain([0]).collect();
        self.put(kind, &octets);
    }

    pub(super) fn nest(&mut self, kind: u16, inner: &Self) {
        self.put(kind | Self::NESTED, inner.as_slice());
    }

    /// A value in its own `NFTA_DATA_VALUE`.
    pub(super) fn put_value(&mut self, kind: u16, value: &[u8]) {
        let mut inner = Self::default();
        inner.put(expression::NFTA_DATA_VALUE, value);
        self.nest(kind, &inner);
    }

    /// Attributes that begin with the name of a table.
    fn of(table: &TableName) -> Self {
        let mut out = Self::default();
        out.put_text(NFTA_TABLE, &table.name);
        out
    }
}

/// A batch of `changes`: the kernel carries all of it out or nothing. The requests are numbered from `first` + 1 in the
/// order of `changes`; `first` is the beginning of the batch itself.
pub fn emit_batch(changes: &[Change], first: u32) -> Vec<u8> {
    let mut out = Vec::new();
    let frame = |kind, sequence, out: &mut Vec<u8>| {
        emit(kind, NLM_F_REQUEST, sequence, [0, NFNL_SUBSYS_NFTABLES], &Attributes::default(), out);
    };
    frame(NFNL_MSG_BATCH_BEGIN, first, &mut out);
    let mut sequence = first;
    for change in changes {
        sequence = sequence.wrapping_add(1);
        emit_change(change, sequence, &mut out);
    }
    frame(NFNL_MSG_BATCH_END, sequence.wrapping_add(1), &mut out);
    out
}

fn emit_change(change: &Change, sequence: u32, out: &mut Vec<u8>) {
    const NEW: u16 = NLM_F_CREATE;
    let (table, kind, flags, attributes) = match change {
        Change::AddTable(table) => (table, NEWTABLE, NEW, Attributes::of(table)),
        Change::RemoveTable(table) => (table, DELTABLE, 0, Attributes::of(table)),
        Change::AddChain { table, chain } => (table, NEWCHAIN, NEW, of_chain(table, chain)),
        Change::AddSet { table, set } => (table, NEWSET, NEW, of_set(table, set, sequence)),
        Change::AddElements { table, set, elements } => (table, NEWSETELEM, NEW, of_elements(table, set, elements)),
        Change::RemoveElements { table, set, elements } => (table, DELSETELEM, 0, of_elements(table, set, elements)),
        Change::AddRule { table, chain, rule } => (table, NEWRULE, NEW | NLM_F_APPEND, of_rule(table, chain, rule)),
    };
    let kind = NFNL_SUBSYS_NFTABLES << 8 | kind;
    emit(kind, NLM_F_REQUEST | NLM_F_ACK | flags, sequence, [family(table.family), 0], &attributes, out);
}

/// `struct nlmsghdr`, `struct nfgenmsg` with a family and a subsystem, attributes.
fn emit(kind: u16, flags: u16, sequence: u32, [family, of]: [u16; 2], attributes: &Attributes, out: &mut Vec<u8>) {
    const HEADERS: usize = 16 + 4;
    const NFNETLINK_V0: u8 = 0;
    let len = u32::try_from(HEADERS + attributes.as_slice().len()).unwrap_or(u32::MAX);
    out.extend(len.to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(flags.to_ne_bytes());
    out.extend(sequence.to_ne_bytes());
    out.extend([0; 4]);
    out.extend([u8::try_from(family).unwrap_or(0), NFNETLINK_V0]);
    out.extend(of.to_be_bytes());
    out.extend(attributes.as_slice());
}

const fn family(family: Family) -> u16 {
    match family {
        Family::Ipv4 => 2,
        Family::Ipv6 => 10,
    }
}

fn of_chain(table: &TableName, chain: &Chain) -> Attributes {
    let mut out = Attributes::of(table);
    out.put_text(NFTA_CHAIN_NAME, &chain.name);
    if let Some(base) = &chain.base {
        let mut hook = Attributes::default();
        hook.put_u32(NFTA_HOOK_HOOKNUM, base.hook.0);
        hook.put_u32(NFTA_HOOK_PRIORITY, base.priority.cast_unsigned());
        out.nest(NFTA_CHAIN_HOOK, &hook);
        out.put_u32(NFTA_CHAIN_POLICY, base.policy.0);
        out.put_text(NFTA_CHAIN_TYPE, &base.kind);
    }
    out
}

/// A set needs a number that no other one in its batch has.
fn of_set(table: &TableName, set: &Set, number: u32) -> Attributes {
    const BYTE_ORDERS: [u8; 2] = [0, 1]; // of key and data
    let mut out = Attributes::of(table);
    out.put_text(NFTA_SET_NAME, &set.name);
    if set.flags != SetFlags::NONE {
        out.put_u32(NFTA_SET_FLAGS, set.flags.0);
    }
    out.put_u32(NFTA_SET_KEY_TYPE, set.key.number);
    out.put_u32(NFTA_SET_KEY_LEN, set.key.len);
    if let Some(data) = set.data {
        out.put_u32(NFTA_SET_DATA_TYPE, data.number);
        out.put_u32(NFTA_SET_DATA_LEN, data.len);
    }
    out.put_u32(NFTA_SET_ID, number);
    if !set.parts.is_empty() {
        let mut parts = Attributes::default();
        for len in &set.parts {
            let mut part = Attributes::default();
            part.put_u32(NFTA_SET_FIELD_LEN, *len);
            parts.nest(NFTA_LIST_ELEM, &part);
        }
        let mut description = Attributes::default();
        description.nest(NFTA_SET_DESC_CONCAT, &parts);
        out.nest(NFTA_SET_DESC, &description);
    }
    if set.counters {
        out.nest(NFTA_SET_EXPR, &expression::emit_one(&Expression::Counter));
    }
    // What `nft` needs to know to show the elements: the kernel keeps it and does not look at it.
    let mut user_data = Vec::new();
    for (number, kind) in BYTE_ORDERS.into_iter().zip(std::iter::once(set.key).chain(set.data)) {
        let order: u32 = if kind.is_big_endian() { 2 } else { 1 };
        user_data.extend([number, 4]);
        user_data.extend(order.to_ne_bytes());
    }
    out.put(NFTA_SET_USERDATA, &user_data);
    out
}

fn of_elements(table: &TableName, set: &str, elements: &[Element]) -> Attributes {
    let mut list = Attributes::default();
    for element in elements {
        let mut one = Attributes::default();
        one.put_value(NFTA_SET_ELEM_KEY, &element.key);
        if !element.end.is_empty() {
            one.put_value(NFTA_SET_ELEM_KEY_END, &element.end);
        }
        if !element.data.is_empty() {
            one.put_value(NFTA_SET_ELEM_DATA, &element.data);
        }
        list.nest(NFTA_LIST_ELEM, &one);
    }
    let mut out = Attributes::of(table);
    out.put_text(NFTA_SET_ELEM_LIST_SET, set);
    out.nest(NFTA_SET_ELEM_LIST_ELEMENTS, &list);
    out
}

fn of_rule(table: &TableName, chain: &str, rule: &[super::Expression]) -> Attributes {
    let mut out = Attributes::of(table);
    out.put_text(NFTA_RULE_CHAIN, chain);
    out.nest(NFTA_RULE_EXPRESSIONS, &expression::emit(rule));
    out
}

/// What can be asked about a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Question<'a> {
    /// Whether it is there, and its flags.
    Table,
    /// Its chains, and those of other tables.
    Chains,
    /// Its rules.
    Rules,
    /// Its sets.
    Sets,
    /// The elements of one of its sets.
    Elements(&'a str),
}

/// Appends a request for what is there.
pub(crate) fn emit_question(table: &TableName, question: Question<'_>, sequence: u32, out: &mut Vec<u8>) {
    let mut attributes = Attributes::of(table);
    let (kind, flags) = match question {
        Question::Table => (GETTABLE, NLM_F_ACK),
        Question::Chains => (GETCHAIN, NLM_F_DUMP),
        Question::Rules => (GETRULE, NLM_F_DUMP),
        Question::Sets => (GETSET, NLM_F_DUMP),
        Question::Elements(set) => {
            attributes.put_text(NFTA_SET_ELEM_LIST_SET, set);
            (GETSETELEM, NLM_F_DUMP)
        }
    };
    let kind = NFNL_SUBSYS_NFTABLES << 8 | kind;
    emit(kind, NLM_F_REQUEST | flags, sequence, [family(table.family), 0], &attributes, out);
}

/// A part of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The table is there and has these flags.
    Table(u32),
    /// A chain, still without its rules.
    Chain(Chain),
    /// A rule of a chain.
    Rule(String, Rule),
    /// A set, still without its elements.
    Set(Set),
    /// Some of the elements.
    Elements(BTreeSet<Element>),
}

/// Reads a part of the answer to a question about `table`; `None` if it is about another table.
///
/// # Errors
/// [`ParseError`] if it is malformed.
pub(crate) fn parse(message: &Message<'_>, table: &TableName) -> Result<Option<Answer>, ParseError> {
    let Some((subject, fields)) = read(message)? else { return Ok(None) };
    if subject != *table {
        return Ok(None);
    }
    Ok(Some(match message.kind & 0xff {
        NEWTABLE => Answer::Table(fields.number(NFTA_TABLE_FLAGS)?.unwrap_or(0)),
        NEWCHAIN => Answer::Chain(parse_chain(&fields)?),
        NEWRULE => {
            let rule = fields.get(NFTA_RULE_EXPRESSIONS).map_or(Ok(Vec::new()), expression::parse)?;
            Answer::Rule(fields.text(NFTA_RULE_CHAIN), rule)
        }
        NEWSET => Answer::Set(parse_set(&fields)?),
        NEWSETELEM => {
            Answer::Elements(fields.get(NFTA_SET_ELEM_LIST_ELEMENTS).map_or(Ok(BTreeSet::new()), parse_elements)?)
        }
        _ => return Ok(None),
    }))
}

/// The table that a message is about; `None` if it is about the ruleset as a whole, or not from nftables.
///
/// # Errors
/// [`ParseError`] if it is malformed.
pub fn table_of(message: &Message<'_>) -> Result<Option<TableName>, ParseError> {
    Ok(read(message)?.map(|(table, _)| table))
}

/// The attributes of a message by number.
struct Fields<'a>([Option<&'a [u8]>; 18]);

impl<'a> Fields<'a> {
    fn read(octets: &'a [u8]) -> Result<Self, ParseError> {
        let mut fields = Self([None; 18]);
        for attribute in attributes(octets) {
            let (kind, value) = attribute?;
            if let Some(field) = fields.0.get_mut(usize::from(kind)) {
                *field = Some(value);
            }
        }
        Ok(fields)
    }

    fn get(&self, kind: u16) -> Option<&'a [u8]> {
        self.0.get(usize::from(kind)).copied().flatten()
    }

    fn number(&self, kind: u16) -> Result<Option<u32>, ParseError> {
        self.get(kind).map(|value| fixed(kind, value).map(u32::from_be_bytes)).transpose()
    }

    /// Empty if it is missing.
    fn text(&self, kind: u16) -> String {
        String::from_utf8_lossy(text(self.get(kind).unwrap_or_default())).into_owned()
    }

    fn data_type(&self, number: u16, len: u16) -> Result<Option<DataType>, ParseError> {
        let len = self.number(len)?;
        Ok(self.number(number)?.zip(len).map(|(number, len)| DataType { number, len }))
    }
}

fn read<'a>(message: &Message<'a>) -> Result<Option<(TableName, Fields<'a>)>, ParseError> {
    const HEADER: usize = 4;
    if message.kind >> 8 != NFNL_SUBSYS_NFTABLES || message.kind & 0xff == NEWGEN {
        return Ok(None);
    }
    let truncated = ParseError::Truncated { needed: HEADER, got: message.payload.len() };
    let (&[number, ..], octets) = message.payload.split_first_chunk::<HEADER>().ok_or(truncated)?;
    let family = match u16::from(number) {
        number if number == family(Family::Ipv4) => Family::Ipv4,
        number if number == family(Family::Ipv6) => Family::Ipv6,
        _ => return Ok(None),
    };
    let fields = Fields::read(octets)?;
    Ok(Some((TableName { family, name: fields.text(NFTA_TABLE) }, fields)))
}

fn parse_chain(fields: &Fields<'_>) -> Result<Chain, ParseError> {
    let base = match fields.get(NFTA_CHAIN_HOOK) {
        None => None,
        Some(nested) => {
            let hook = Fields::read(nested)?;
            Some(BaseChain {
                kind: fields.text(NFTA_CHAIN_TYPE),
                hook: Hook(hook.number(NFTA_HOOK_HOOKNUM)?.ok_or(ParseError::Missing(NFTA_HOOK_HOOKNUM))?),
                priority: hook.number(NFTA_HOOK_PRIORITY)?.unwrap_or(0).cast_signed(),
                policy: Policy(fields.number(NFTA_CHAIN_POLICY)?.unwrap_or(Policy::ACCEPT.0)),
            })
        }
    };
    Ok(Chain { name: fields.text(NFTA_CHAIN_NAME), base, rules: Vec::new() })
}

fn parse_set(fields: &Fields<'_>) -> Result<Set, ParseError> {
    let key = fields.data_type(NFTA_SET_KEY_TYPE, NFTA_SET_KEY_LEN)?;
    Ok(Set {
        name: fields.text(NFTA_SET_NAME),
        flags: SetFlags(fields.number(NFTA_SET_FLAGS)?.unwrap_or(0)),
        key: key.ok_or(ParseError::Missing(NFTA_SET_KEY_TYPE))?,
        data: fields.data_type(NFTA_SET_DATA_TYPE, NFTA_SET_DATA_LEN)?,
        parts: fields.get(NFTA_SET_DESC).map_or(Ok(Vec::new()), parse_parts)?,
        counters: fields.get(NFTA_SET_EXPR).map(expression::parse_one).transpose()? == Some(Expression::Counter),
        elements: BTreeSet::new(),
    })
}

fn parse_parts(description: &[u8]) -> Result<Vec<u32>, ParseError> {
    let mut parts = Vec::new();
    for part in attributes(Fields::read(description)?.get(NFTA_SET_DESC_CONCAT).unwrap_or_default()) {
        parts.extend(Fields::read(part?.1)?.number(NFTA_SET_FIELD_LEN)?);
    }
    Ok(parts)
}

fn parse_elements(list: &[u8]) -> Result<BTreeSet<Element>, ParseError> {
    let mut elements = BTreeSet::new();
    for element in attributes(list) {
        let fields = Fields::read(element?.1)?;
        let value = |kind| fields.get(kind).map_or(Ok(None), expression::value);
        let values = [value(NFTA_SET_ELEM_KEY)?, value(NFTA_SET_ELEM_KEY_END)?, value(NFTA_SET_ELEM_DATA)?];
        let [key, end, data] = values.map(|value| value.unwrap_or_default().to_vec());
        elements.insert(Element { key, end, data });
    }
    Ok(elements)
}
