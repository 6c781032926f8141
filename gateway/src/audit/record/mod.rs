//! One record as a line of the journal, and its place in the chain.
//!
//! In: an event, its number, its time and the hash of the record before it. Out: a line, and back.
//! Knows nothing of files.
//!
//! # The line
//!
//! A record is one JSON object in one line that ends with a line feed, without white space between its tokens:
//!
//! ```text
//! {"v":1,"seq":N,"time":"YYYY-MM-DDTHH:MM:SS.ffffffZ","gateway":"…","event":"…",…,"prev":"HEX","hash":"HEX"}
//! ```
//!
//! The five members at its head and the two at its end are always there and in this order;
//! the fields of the event stand between them in the order of their names, absent ones are left out.
//! `seq` grows by one with each record and does not begin anew with a new file.
//!
//! # The chain
//!
//! `hash` is SHA-256 over the 32 bytes of the previous record's hash
//! followed by the line as it is written, up to and without the member `,"hash":"…"` and what comes after it.
//! `prev` repeats the previous record's hash; the first record of all has 32 zero bytes.
//!
//! # Keyed values
//!
//! Digests of messages (BLAKE3-256 of their bytes) and identifiers from messages are written as `hmac:` and
//! HMAC-SHA-256 of them in hex under the digest key, so that the journal confirms no guesses.
//= C8

use hmac::{Hmac, Mac};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::event::{Event, Keyed};

/// The hash of a record.
pub type Hash = [u8; 32];

/// What stands before the first record of all.
pub const BEGINNING: Hash = [0; 32];

/// The name of the journal's own records.
pub const JOURNAL_OPENED: &str = "journal-opened";

/// What a record tells: an event of the gateway, or the journal's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// Of the gateway.
    Event(&'a Event),
    /// Of the journal itself.
    Opened(&'a Opened),
}

/// The first record of each file, and of each run of the audit process: `journal-opened`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Opened {
    /// The file in which this record stands.
    pub file: String,
    /// The oldest file that is kept; from it on none may be missing.
    pub oldest: String,
    /// The file before, in the first record of a file.
    pub previous: Option<String>,
    /// Bytes of an unfinished record that were cut off after a crash.
    pub cut: Option<u64>,
    /// Why the chain does not go on where it ended.
    pub broken: Option<String>,
}

/// Writes records.
pub struct Encoder {
    gateway: String,
    digest_key: Zeroizing<[u8; 32]>,
}

impl Encoder {
    /// For the gateway of this name, with the key for [`Keyed`] values.
    #[must_use]
    pub fn new(gateway: &str, digest_key: Zeroizing<[u8; 32]>) -> Self {
        Self {
            gateway: gateway.to_owned(),
            digest_key,
        }
    }

    /// Appends one line to `out` and returns its hash.
    pub fn encode(
        &self,
        seq: u64,
        time: Timestamp,
        content: &Content<'_>,
        prev: &Hash,
        out: &mut Vec<u8>,
    ) -> Hash {
        let (event, fields) = match content {
            Content::Event(event) => self.fields(event),
            Content::Opened(opened) => (JOURNAL_OPENED.to_owned(), object(opened)),
        };
        let mut line =
            format!("{{\"v\":{VERSION},\"seq\":{seq},\"time\":\"{time:.6}\",\"gateway\":");
        text(&self.gateway, &mut line);
        line.push_str(",\"event\":");
        text(&event, &mut line);
        members(&fields, &mut line, true);
        line.push_str(",\"prev\":\"");
        line.push_str(&hex(prev));
        line.push('"');
        let hash = hash(prev, line.as_bytes());
        out.extend_from_slice(line.as_bytes());
        out.extend_from_slice(HASH_MEMBER);
        out.extend_from_slice(hex(&hash).as_bytes());
        out.extend_from_slice(b"\"}\n");
        hash
    }

    /// The name of an event and its fields, with keyed values instead of raw ones.
    fn fields(&self, event: &Event) -> (String, Map<String, Value>) {
        let mut event = event.clone();
        let mut keyed = Vec::new();
        if let Event::Decision {
            digest, identifier, ..
        } = &mut event
        {
            keyed.push(("digest", digest.take()));
            keyed.push(("identifier", identifier.take()));
        }
        let mut fields = object(&event);
        for (name, value) in keyed {
            if let Some(value) = value {
                fields.insert(name.to_owned(), Value::String(self.keyed(value)));
            }
        }
        let name = match fields.remove("event") {
            Some(Value::String(name)) => name,
            _ => String::new(),
        };
        (name, fields)
    }

    fn keyed(&self, value: Keyed) -> String {
        match value {
            Keyed::Raw(raw) => mac(&self.digest_key, &raw),
            // Only what has the form of a keyed value is taken for one.
            Keyed::Mac(mac) if is_mac(&mac) => mac,
            Keyed::Mac(raw) => mac(&self.digest_key, raw.as_bytes()),
        }
    }
}

/// `hmac:` and HMAC-SHA-256 in hex.
#[must_use]
pub fn mac(key: &[u8; 32], value: &[u8]) -> String {
    format!("hmac:{}", hex(&seal(key, value)))
}

/// HMAC-SHA-256.
#[must_use]
pub fn seal(key: &[u8; 32], value: &[u8]) -> Hash {
    let mut mac = keyed_hash(key);
    mac.update(value);
    mac.finalize().into_bytes().into()
}

/// Whether a value carries this HMAC-SHA-256; takes the same time wherever it differs.
#[must_use]
pub fn is_sealed(key: &[u8; 32], value: &[u8], seal: &Hash) -> bool {
    let mut mac = keyed_hash(key);
    mac.update(value);
    mac.verify_slice(seal).is_ok()
}

/// What the chain needs to know of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub seq: u64,
    /// Its time, as written.
    pub time: String,
    /// The hash of the record before it.
    pub prev: Hash,
    /// Its own hash, as written.
    pub hash: Hash,
    /// Whether the hash is that of the line.
    pub genuine: bool,
}

impl Link {
    /// Reads a line (without its line feed); `None` if it has not the form of a record.
    #[must_use]
    pub fn read(line: &[u8]) -> Option<Self> {
        let (covered, hash) = split_member(line.strip_suffix(b"}")?, HASH_MEMBER)?;
        let (_, prev) = split_member(covered, PREV_MEMBER)?;
        let rest = covered.strip_prefix(format!("{{\"v\":{VERSION},\"seq\":").as_bytes())?;
        let digits = rest.iter().position(|b| !b.is_ascii_digit())?;
        let (seq, rest) = rest.split_at_checked(digits)?;
        let rest = rest.strip_prefix(b",\"time\":\"")?;
        let end = rest.iter().position(|b| *b == b'"')?;
        Some(Self {
            seq: std::str::from_utf8(seq).ok()?.parse().ok()?,
            time: std::str::from_utf8(rest.get(..end)?).ok()?.to_owned(),
            genuine: self::hash(&prev, covered) == hash,
            prev,
            hash,
        })
    }
}

/// A record as it is read, for people and for checks of the journal's own records.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its number.
    pub seq: u64,
    /// Its time, as written.
    pub time: String,
    /// What kind of event.
    pub event: String,
    /// The event's fields.
    pub fields: Map<String, Value>,
}

impl Record {
    /// Reads a line; `None` if it has not the form of a record. Does not check the hash.
    #[must_use]
    pub fn read(line: &[u8]) -> Option<Self> {
        let mut fields = match serde_json::from_slice(line).ok()? {
            Value::Object(fields) => fields,
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => {
                return None;
            }
        };
        for own in ["v", "gateway", "prev", "hash"] {
            fields.remove(own)?;
        }
        Some(Self {
            seq: fields.remove("seq")?.as_u64()?,
            time: fields.remove("time")?.as_str()?.to_owned(),
            event: fields.remove("event")?.as_str()?.to_owned(),
            fields,
        })
    }

    /// A field that is text; empty if there is none.
    #[must_use]
    pub fn text(&self, field: &str) -> &str {
        self.fields.get(field).and_then(Value::as_str).unwrap_or("")
    }

    /// A field that is a number.
    #[must_use]
    pub fn number(&self, field: &str) -> Option<u64> {
        self.fields.get(field).and_then(Value::as_u64)
    }
}

/// The hash of a record from the previous hash and the covered part of its line.
fn hash(prev: &Hash, covered: &[u8]) -> Hash {
    Sha256::new()
        .chain_update(prev)
        .chain_update(covered)
        .finalize()
        .into()
}

fn keyed_hash(key: &[u8; 32]) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    Hmac::new_from_slice(key).expect("any length")
}

fn is_mac(text: &str) -> bool {
    text.strip_prefix("hmac:")
        .is_some_and(|hex| unhex(hex.as_bytes()).is_some())
}

/// The fields of a struct or tagged enum; ours serialise to objects.
fn object(value: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(value) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

/// Members in the order of their names; the map's own order depends on a feature of its crate.
fn members(fields: &Map<String, Value>, line: &mut String, mut comma: bool) {
    let mut sorted: Vec<_> = fields
        .iter()
        .filter(|(_, value)| !value.is_null())
        .collect();
    sorted.sort_unstable_by_key(|(name, _)| *name);
    for (name, value) in sorted {
        if comma {
            line.push(',');
        }
        comma = true;
        text(name, line);
        line.push(':');
        canonical(value, line);
    }
}

fn canonical(value: &Value, line: &mut String) {
    match value {
        Value::Object(fields) => {
            line.push('{');
            members(fields, line, false);
            line.push('}');
        }
        Value::Array(items) => {
            line.push('[');
            for (index, item) in items.iter().take(MAX_ITEMS).enumerate() {
                if index > 0 {
                    line.push(',');
                }
                canonical(item, line);
            }
            if items.len() > MAX_ITEMS {
                line.push(',');
                text(&format!("and {} more", items.len() - MAX_ITEMS), line);
            }
            line.push(']');
        }
        Value::String(value) => text(value, line),
        Value::Null | Value::Bool(_) | Value::Number(_) => line.push_str(&value.to_string()),
    }
}

fn text(value: &str, line: &mut String) {
    let mut end = value.len().min(MAX_TEXT);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    let (shown, rest) = value.split_at(end);
    if rest.is_empty() {
        line.push_str(&Value::from(shown).to_string());
    } else {
        line.push_str(&Value::from(format!("{shown}…")).to_string());
    }
}

/// Splits `…,"name":"HEX"` at its last member.
fn split_member<'a>(line: &'a [u8], member: &[u8]) -> Option<(&'a [u8], Hash)> {
    let line = line.strip_suffix(b"\"")?;
    let (line, value) = line.split_at_checked(line.len().checked_sub(64)?)?;
    Some((line.strip_suffix(member)?, unhex(value)?))
}

/// Lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or('?');
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// 32 bytes from lower-case hex.
#[must_use]
pub fn unhex(text: &[u8]) -> Option<Hash> {
    let nibble = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_chunks::<2>();
    if !rest.is_empty() || pairs.len() != 32 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(bytes)
}

const VERSION: u8 = 1;
const PREV_MEMBER: &[u8] = b",\"prev\":\"";
const HASH_MEMBER: &[u8] = b",\"hash\":\"";
/// Longest text in a record, in bytes; longer ones are cut.
const MAX_TEXT: usize = 2 << 10;
/// Longest list in a record; the rest is counted.
const MAX_ITEMS: usize = 128;
/// Longest line: the longest list of the longest texts, each byte escaped, and some to spare.
pub const MAX_LINE: usize = 2 << 20;

#[cfg(test)]
pub(super) mod tests;
