//! What `rustables` cannot say: a set that packets fill, with a count of live connections or a rate for each element.
//!
//! In: a finished batch in which such expressions have a stand-in. Out: the batch with them.
//! Knows nothing of devices; layouts are those of linux/netfilter/nf_tables.h.

use rustables::expr::{Counter, ExpressionVariant, RawExpression};

/// What is counted for each element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    /// `ct count over MOST`
    Connections,
    /// `limit rate MOST/second burst MOST`
    Rate,
}

impl Counted {
    fn word(self) -> &'static str {
        match self {
            Self::Connections => "count",
            Self::Rate => "limit",
        }
    }
}

/// Stands for `add @SET { REGISTER 1 … MOST }`.
pub(super) fn stand_in(what: Counted, set: &str, most: u32) -> RawExpression {
    let counter = Counter::default().with_nb_bytes(0u64).with_nb_packets(0u64);
    RawExpression::default()
        .with_name(format!("{STAND_IN}{}:{most}:{set}", what.word()))
        .with_data(ExpressionVariant::from(counter))
}

/// Puts the expressions in the places of their stand-ins.
pub(super) fn put(batch: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(batch.len());
    let mut rest = batch;
    while let Some(length) = u32_at(rest, 0).and_then(|length| usize::try_from(length).ok()) {
        let padded = length.next_multiple_of(4);
        let Some((message, after)) = rest.split_at_checked(padded) else {
            break;
        };
        if length < HEADERS {
            break;
        }
        let has = |message: &[u8]| {
            message
                .windows(STAND_IN.len())
                .any(|w| w == STAND_IN.as_bytes())
        };
        if u16_at(message, 4) == Some(NEWRULE) && has(message) {
            out.extend(rule(message));
        } else {
            out.extend(message);
        }
        rest = after;
    }
    out.extend(rest);
    out
}

fn rule(message: &[u8]) -> Vec<u8> {
    let (headers, body) = message.split_at_checked(HEADERS).unwrap_or_default();
    let mut out = headers.to_vec();
    for (kind, value) in attributes(body) {
        if kind & KIND == RULE_EXPRESSIONS {
            out.extend(attribute(kind, &expressions(value)));
        } else {
            out.extend(attribute(kind, value));
        }
    }
    let length = u32::try_from(out.len()).unwrap_or(u32::MAX);
    if let Some(field) = out.get_mut(..4) {
        field.copy_from_slice(&length.to_ne_bytes());
    }
    out
}

fn expressions(list: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (kind, element) in attributes(list) {
        let mut names = attributes(element).filter(|(kind, _)| kind & KIND == EXPRESSION_NAME);
        let meant = names.next().and_then(|(_, name)| wanted(name));
        match meant {
            Some((what, most, set)) => out.extend(attribute(kind, &counted(what, &set, most))),
            None => out.extend(attribute(kind, element)),
        }
    }
    out
}

/// What a stand-in stands for.
fn wanted(name: &[u8]) -> Option<(Counted, u32, String)> {
    let name = std::str::from_utf8(name).ok()?.trim_end_matches('\0');
    let (word, rest) = name.strip_prefix(STAND_IN)?.split_once(':')?;
    let mut all = [Counted::Connections, Counted::Rate].into_iter();
    let what = all.find(|one| one.word() == word)?;
    let (most, set) = rest.split_once(':')?;
    Some((what, most.parse().ok()?, set.to_owned()))
}

/// `dynset add reg_key 1 set SET expr [ connlimit count MOST flags 1 ]`, or `limit rate MOST/second burst MOST`.
fn counted(what: Counted, set: &str, most: u32) -> Vec<u8> {
    let (expression, count) = match what {
        Counted::Connections => (
            b"connlimit\0".as_slice(),
            vec![
                attribute(CONNLIMIT_COUNT, &most.to_be_bytes()),
                attribute(CONNLIMIT_FLAGS, &OVER.to_be_bytes()),
            ],
        ),
        Counted::Rate => (
            b"limit\0".as_slice(),
            vec![
                attribute(LIMIT_RATE, &u64::from(most).to_be_bytes()),
                attribute(LIMIT_UNIT, &SECOND.to_be_bytes()),
                attribute(LIMIT_BURST, &most.to_be_bytes()),
                attribute(LIMIT_TYPE, &PACKETS.to_be_bytes()),
            ],
        ),
    };
    let count = [
        attribute(EXPRESSION_NAME, expression),
        attribute(EXPRESSION_DATA | NESTED, &count.concat()),
    ];
    let name = [set.as_bytes(), &[0]].concat();
    let add = [
        attribute(DYNSET_SET_NAME, &name),
        attribute(DYNSET_OPERATION, &ADD.to_be_bytes()),
        attribute(DYNSET_KEY_REGISTER, &REGISTER_1.to_be_bytes()),
        attribute(DYNSET_EXPRESSION | NESTED, &count.concat()),
    ];
    [
        attribute(EXPRESSION_NAME, b"dynset\0"),
        attribute(EXPRESSION_DATA | NESTED, &add.concat()),
    ]
    .concat()
}

/// Attributes one after the other; what is malformed ends them.
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (length, kind) = (usize::from(u16_at(rest, 0)?), u16_at(rest, 2)?);
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// An attribute with its header and padding.
pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len().saturating_add(4)).unwrap_or(u16::MAX);
    let mut out = length.to_ne_bytes().to_vec();
    out.extend(kind.to_ne_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let field = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_ne_bytes(*field))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*field))
}

/// The flag of sets that packets fill (`NFT_SET_EVAL`).
pub(super) const FILLED_BY_PACKETS: u32 = 0x20;
/// Names of stand-ins begin so; no expression of the kernel does.
const STAND_IN: &str = "lazaret-dynset:";
/// `nlmsghdr` and `nfgenmsg`.
const HEADERS: usize = 20;
/// `NFNL_SUBSYS_NFTABLES` and `NFT_MSG_NEWRULE`.
const NEWRULE: u16 = 10 << 8 | 6;
/// `NLA_F_NESTED`.
pub(super) const NESTED: u16 = 0x8000;
/// `NLA_TYPE_MASK`.
pub(super) const KIND: u16 = 0x3fff;
const RULE_EXPRESSIONS: u16 = 4;
const EXPRESSION_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;
const DYNSET_SET_NAME: u16 = 1;
const DYNSET_OPERATION: u16 = 3;
const DYNSET_KEY_REGISTER: u16 = 4;
const DYNSET_EXPRESSION: u16 = 7;
const CONNLIMIT_COUNT: u16 = 1;
const CONNLIMIT_FLAGS: u16 = 2;
const LIMIT_RATE: u16 = 1;
const LIMIT_UNIT: u16 = 2;
const LIMIT_BURST: u16 = 3;
const LIMIT_TYPE: u16 = 4;
/// The unit of a rate, in seconds.
const SECOND: u64 = 1;
/// `NFT_LIMIT_PKTS`
const PACKETS: u32 = 0;
/// `NFT_CONNLIMIT_F_INV`: matches what is over the count.
const OVER: u32 = 1;
/// `NFT_DYNSET_OP_ADD`.
const ADD: u32 = 0;
/// `NFT_REG_1`.
const REGISTER_1: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stand_in_is_replaced_and_all_else_stays() {
        let element = |name: &[u8]| attribute(1 | NESTED, &attribute(EXPRESSION_NAME, name));
        let message = |kind: u16, name: &[u8]| {
            let list = [element(b"counter\0"), element(name), element(b"log\0")].concat();
            let body = [
                attribute(1, b"lazaret\0"),
                attribute(RULE_EXPRESSIONS | NESTED, &list),
            ]
            .concat();
            let length = u32::try_from(HEADERS + body.len()).unwrap();
            let mut bytes = length.to_ne_bytes().to_vec();
            bytes.extend(kind.to_ne_bytes());
            bytes.resize(HEADERS, 7);
            bytes.extend(body);
            bytes
        };
        let plain = message(NEWRULE, b"meta\0");
        let marked = message(NEWRULE, b"lazaret-dynset:count:256:flows/v4\0");
        let other = message(NEWRULE + 1, b"lazaret-dynset:count:256:flows/v4\0");
        assert_eq!(
            put(&[plain.clone(), other.clone()].concat()),
            [&plain[..], &other].concat()
        );
        let all = put(&[&plain[..], &marked, &other].concat());
        assert!(all.starts_with(&plain) && all.ends_with(&other));
        let middle = &all[plain.len()..all.len() - other.len()];
        assert_eq!(u32_at(middle, 0).unwrap() as usize, middle.len());
        let list = attributes(&middle[HEADERS..]).find(|(kind, _)| kind & KIND == RULE_EXPRESSIONS);
        let names: Vec<&[u8]> = attributes(list.unwrap().1)
            .filter_map(|(_, element)| attributes(element).next().map(|(_, name)| name))
            .collect();
        assert_eq!(names, [&b"counter\0"[..], b"dynset\0", b"log\0"]);
        let has = |all: &[u8], bytes: &[u8]| all.windows(bytes.len()).any(|w| w == bytes);
        assert!(has(middle, b"flows/v4\0") && has(middle, &256u32.to_be_bytes()));
        assert!(has(middle, b"connlimit\0"));
        let limited = put(&message(NEWRULE, b"lazaret-dynset:limit:20:refused/v4\0"));
        assert!(has(&limited, b"limit\0") && has(&limited, &20u64.to_be_bytes()));
        assert!(has(&limited, b"refused/v4\0") && !has(&limited, b"connlimit\0"));
    }
}
