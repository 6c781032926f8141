//! Words of profiles: places in a message, segments, value types, patterns, severities, decimal numbers.

use std::sync::LazyLock;

use toml::de::DeValue;

use crate::model::Profile;
use crate::name::ProfileName;
use crate::problem::Fault;
use crate::profile::{Decimal, FieldPath, ProfileChoice, Severity};
use crate::section::{Field, Text, word, wrong_type};
use crate::suggest::{closest, did_you_mean};

/// The name of a segment, `PID` or `ZPD`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentName(pub(crate) String);

/// A place that has a field, `PID-3` or `PID-3.4`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ValuePath(pub(crate) FieldPath);

/// A field as a whole, `PID-3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WholeField(pub(crate) FieldPath);

/// A data type of OBX-5, `NM`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ValueType(pub(crate) String);

/// OBX-3.1 and OBX-3.3, written `"8867-4^LN"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identifier(pub(crate) String, pub(crate) String);

/// A value as it stands in a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Value(pub(crate) String);

/// A regular expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern(pub(crate) String);

/// A severity that cannot be `ignore`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told(pub(crate) Severity);

impl Text for ProfileChoice {
    const WHAT: &'static str = "`standard`, `strict` or the name of a profile";
    fn parse(text: &str) -> Result<Self, Fault> {
        match text {
            "standard" => Ok(Self::Base(Profile::Standard)),
            "strict" => Ok(Self::Base(Profile::Strict)),
            text => super::basic::name::<ProfileName>(text).map(Self::Named),
        }
    }
}

impl Text for Severity {
    const WHAT: &'static str = "`refuse`, `warn` or `ignore`";
    fn parse(text: &str) -> Result<Self, Fault> {
        let words = [
            ("refuse", Self::Refuse),
            ("warn", Self::Warn),
            ("ignore", Self::Ignore),
        ];
        word(text, &words)
    }
}

impl Text for Told {
    const WHAT: &'static str = "`refuse` or `warn`";
    fn parse(text: &str) -> Result<Self, Fault> {
        if text == "ignore" {
            return Err(Fault::new("what is wrong with the encoding is never ignored")
                .help("`refuse` or `warn`: a reader that splits a message otherwise reads another message"));
        }
        let words = [("refuse", Severity::Refuse), ("warn", Severity::Warn)];
        word(text, &words).map(Self)
    }
}

impl Text for SegmentName {
    const WHAT: &'static str = "the name of a segment like \"PID\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        fields_of(text).map(|_| Self(text.to_owned()))
    }
}

impl Text for FieldPath {
    const WHAT: &'static str = "a segment like \"PV1\" or a field like \"PID-3\" or \"PID-3.4\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        let (segment, numbers) = match text.split_once('-') {
            Some((segment, numbers)) => (segment, Some(numbers)),
            None => (text, None),
        };
        let [field, component, subcomponent] = match numbers {
            Some(numbers) => split(numbers).ok_or_else(|| malformed(text))?,
            None if is_segment(text) => [0; 3],
            None => return Err(malformed(text)),
        };
        if !is_segment(segment) {
            return Err(malformed(text));
        }
        let path = Self {
            segment: segment.to_owned(),
            field,
            component,
            subcomponent,
        };
        exists(&path, fields_of(segment)?)?;
        Ok(path)
    }
}

impl Text for ValuePath {
    const WHAT: &'static str = "a field like \"PID-3\" or \"PID-3.4\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        let path = FieldPath::parse(text)?;
        if path.field == 0 {
            let message = "this is a segment, and a field is asked for";
            return Err(Fault::new(message).help(format!("such as `{text}-1`")));
        }
        Ok(Self(path))
    }
}

impl Text for WholeField {
    const WHAT: &'static str = "a field like \"PID-3\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        let ValuePath(path) = ValuePath::parse(text)?;
        if path.component > 0 {
            let FieldPath { segment, field, .. } = &path;
            let fault = Fault::new("only a field as a whole is repeated");
            return Err(fault.help(format!("did you mean `{segment}-{field}`?")));
        }
        Ok(Self(path))
    }
}

impl Text for ValueType {
    const WHAT: &'static str = "a data type like \"NM\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        if VALUE_TYPES.contains(&text) {
            return Ok(Self(text.to_owned()));
        }
        Err(Fault::new("not a data type of OBX-5")
            .help("HL7 table 0125 has them, such as `NM`, `SN`, `ST`, `TX`, `CWE`, `ED`")
            .maybe(did_you_mean(text, VALUE_TYPES.iter().copied())))
    }
}

impl Text for Identifier {
    const WHAT: &'static str = "OBX-3.1 and OBX-3.3 like \"8867-4^LN\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        let (code, system) = text.split_once('^').unwrap_or((text, ""));
        let good = |part: &str| Value::parse(part).is_ok() && !part.contains(['^', '|', '&', '~']);
        let several = text.matches('^').count() > 1;
        if code.is_empty() || !good(code) || (!system.is_empty() && !good(system)) {
            let help = "write OBX-3.1, then `^`, then OBX-3.3, such as \"8867-4^LN\"";
            let text = several.then(|| format!("{help}; the text between them is not compared"));
            return Err(Fault::new("not an identifier").help(help).maybe(text));
        }
        Ok(Self(code.to_owned(), system.to_owned()))
    }
}

impl Text for Value {
    const WHAT: &'static str = "a value as it stands in the message";
    fn parse(text: &str) -> Result<Self, Fault> {
        if text.is_empty() {
            return Err(Fault::new("the value is empty")
                .help("an empty field is not compared; `require` and `forbid` say whether it may be empty"));
        }
        if text.len() > LONGEST_VALUE || text.chars().any(char::is_control) {
            let message = "a value has at most 1000 bytes and no control characters";
            return Err(Fault::new(message));
        }
        Ok(Self(text.to_owned()))
    }
}

impl Text for Pattern {
    const WHAT: &'static str = "a regular expression like \"[0-9]{8}\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        if text.is_empty() || text.len() > LONGEST_PATTERN {
            let message = format!("a pattern has 1 to {LONGEST_PATTERN} bytes");
            return Err(Fault::new(message));
        }
        if !text.is_ascii() || text.bytes().any(|b| b.is_ascii_control()) {
            return Err(Fault::new("a pattern has only printable ASCII characters")
                .help("it is compared with bytes, whatever the character set of the message; `.` is one byte"));
        }
        // Alone first: what is no expression by itself could become one between the anchors.
        for pattern in [text, &format!(r"\A(?:{text})\z")] {
            if let Err(error) = compile(pattern) {
                let message = if let regex::Error::CompiledTooBig(_) = error {
                    "the regular expression is too large".to_owned()
                } else {
                    let error = error.to_string();
                    let last = error.lines().last().unwrap_or_default().trim();
                    let why = last.strip_prefix("error: ").unwrap_or(last);
                    format!("not a regular expression: {why}")
                };
                return Err(Fault::new(message)
                    .help("the whole value must match it: there is no need for `^` and `$`"));
            }
        }
        Ok(Self(text.to_owned()))
    }
}

impl Field for Decimal {
    const WHAT: &'static str = "a number like 20 or 41.5";
    fn read(value: &DeValue<'_>) -> Result<Self, Fault> {
        let text = match (value.as_integer(), value.as_float()) {
            (Some(number), _) if number.radix() == 10 => number.as_str(),
            (_, Some(number)) => number.as_str(),
            (_, None) => return Err(wrong_type::<Self>(value)),
        };
        Self::parse(text).ok_or_else(|| {
            Fault::new("not a plain decimal number")
                .help("a sign, digits and a dot, at most 15 digits on each side of it")
        })
    }
}

/// As the inspector compiles it: on bytes, in linear time and bounded memory.
fn compile(pattern: &str) -> Result<regex::bytes::Regex, regex::Error> {
    regex::bytes::RegexBuilder::new(pattern)
        .unicode(false)
        .size_limit(PATTERN_SIZE)
        .nest_limit(PATTERN_DEPTH)
        .build()
}

/// `3`, `3.4` or `3.4.1`, numbers from 1.
fn split(text: &str) -> Option<[u16; 3]> {
    let mut numbers = [0; 3];
    let mut places = numbers.iter_mut();
    for part in text.split('.') {
        let digits = !part.starts_with('0') && part.bytes().all(|b| b.is_ascii_digit());
        *places.next()? = part.parse().ok().filter(|_| digits)?;
    }
    Some(numbers)
}

fn is_segment(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() == 3
        && bytes.next().is_some_and(|b| b.is_ascii_uppercase())
        && bytes.all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}

/// Said of what is no path, with the one that may have been meant: `PID.3`, `PID3`, `pid-3-1`.
fn malformed(text: &str) -> Fault {
    let upper = text.to_ascii_uppercase();
    let meant = upper
        .split_at_checked(3)
        .filter(|(segment, _)| is_segment(segment))
        .and_then(|(segment, rest)| {
            let apart = |c: char| !c.is_ascii_digit();
            let numbers: Vec<&str> = rest.split(apart).filter(|part| !part.is_empty()).collect();
            let numbers = numbers.join(".");
            split(&numbers).map(|_| format!("did you mean `{segment}-{numbers}`?"))
        });
    Fault::new("not a place in a message")
        .help(
            "a segment, `-`, the number of a field, and perhaps components: \"PID-3\", \"PID-3.4\"",
        )
        .maybe(meant)
}

/// The most components of each field of a segment; `None` if they are not known.
fn fields_of(segment: &str) -> Result<Option<&'static [u16]>, Fault> {
    let known = SEGMENTS.binary_search_by(|(name, _)| (*name).cmp(segment));
    if let Some((_, fields)) = known.ok().and_then(|at| SEGMENTS.get(at)) {
        return Ok(Some(fields));
    }
    if is_segment(segment) && segment.starts_with('Z') {
        return Ok(None);
    }
    let upper = segment.to_ascii_uppercase();
    let common = COMMON.iter().copied();
    let near = closest(&upper, common.chain(SEGMENTS.iter().map(|(name, _)| *name)));
    Err(Fault::new(format!("unknown segment `{segment}`"))
        .help("segments are those of HL7 v2, and your own beginning with Z")
        .maybe(near.map(|near| format!("did you mean `{near}`?"))))
}

/// Whether any version has such a field.
fn exists(path: &FieldPath, fields: Option<&[u16]>) -> Result<(), Fault> {
    let (segment, field) = (&path.segment, path.field);
    if segment == "MSH" && matches!(field, 1 | 2) {
        return Err(Fault::new("MSH-1 and MSH-2 are the delimiters")
            .help("they are judged by the standard alone"));
    }
    let Some(fields) = fields.filter(|_| field > 0) else {
        return Ok(());
    };
    let Some(most) = fields.get(usize::from(field).saturating_sub(1)) else {
        let count = fields.len();
        return Err(Fault::new(format!(
            "segment {segment} has {count} fields, not {field}"
        )));
    };
    if *most > 0 && path.component > *most {
        let s = if *most == 1 { "" } else { "s" };
        let message = format!(
            "{segment}-{field} has {most} component{s}, not {}",
            path.component
        );
        return Err(Fault::new(message));
    }
    Ok(())
}

static SEGMENTS: LazyLock<Vec<(&str, Vec<u16>)>> = LazyLock::new(|| {
    let lines = include_str!("../data/segments.txt").lines();
    let records = lines.filter(|line| !line.starts_with('#'));
    records
        .map(|line| {
            let (name, fields) = line.split_once(' ').unwrap_or((line, ""));
            let fields = fields.split(' ').filter_map(|count| count.parse().ok());
            (name, fields.collect())
        })
        .collect()
});

/// The segments that are meant most often, offered first among equally near ones.
const COMMON: &[&str] = &[
    "PID", "PV1", "OBR", "OBX", "ORC", "NTE", "MSH", "EVN", "NK1", "AL1",
];

/// HL7 table 0125, versions 2.1 to 2.8.2.
#[rustfmt::skip]
const VALUE_TYPES: &[&str] = &[
    "AD", "CE", "CF", "CK", "CN", "CNE", "CP", "CWE", "CX", "DR", "DT", "DTM", "ED", "FT", "ID", "IS", "MA", "MO",
    "NA", "NM", "PN", "RP", "SN", "ST", "TM", "TN", "TS", "TX", "XAD", "XCN", "XON", "XPN", "XTN",
];

/// Longest value of a set, in bytes.
const LONGEST_VALUE: usize = 1000;
/// Longest regular expression, in bytes.
const LONGEST_PATTERN: usize = 256;
/// Most bytes of a compiled one.
const PATTERN_SIZE: usize = 256 << 10;
/// Deepest nesting of one.
const PATTERN_DEPTH: u32 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_places() {
        for good in [
            "PV1",
            "PID-3",
            "PID-3.4",
            "PID-3.4.2",
            "OBX-5.99",
            "ZPD-200.3",
            "MSH-3",
        ] {
            assert_eq!(FieldPath::parse(good).unwrap().to_string(), good);
        }
        let help = |text| FieldPath::parse(text).unwrap_err().help.unwrap_or_default();
        for (bad, meant) in [
            ("PID3", "PID-3"),
            ("PID.3", "PID-3"),
            ("pid-3.1", "PID-3.1"),
            ("PID-3-1", "PID-3.1"),
            ("PIE-3", "PID"),
        ] {
            assert_eq!(help(bad), format!("did you mean `{meant}`?"), "{bad}");
        }
        for bad in [
            "",
            "PID-",
            "PID-0",
            "PID-03",
            "PID-41",
            "PID-1.2",
            "PID-3.1.1.1",
            "MSH-1",
            "MSH-2.1",
            "PID-99999",
            "PID-+3",
            "PID-3.",
            "\u{e9}ID-3",
        ] {
            assert!(FieldPath::parse(bad).is_err(), "{bad}");
        }
        assert!(ValuePath::parse("PID").is_err() && WholeField::parse("PID-3.1").is_err());
        assert!(SEGMENTS.is_sorted() && SEGMENTS.len() > 180);
    }

    #[test]
    fn knows_patterns() {
        for good in ["[0-9]{8}", "V[0-9]+", "a|b", r"\d+", "(?i)abc"] {
            assert!(Pattern::parse(good).is_ok(), "{good}");
        }
        let big = "(?:a{100}){100}".repeat(10);
        for bad in ["", "[0-9", "a)|(b", "(?x)a#", "é", r"\p{L}", &big, r"(a)\1"] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
    }
}
