//! Values of data sets: which character set holds where, long values, multiplicity, queries, private elements.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use protocol_inspect::dicom::{
    Brief, Content, Level, Policy, Profile, Rule, TransferSyntax, Walker,
};
use protocol_inspect::{Base, Severity};

use super::build::{delimiter, element, header};

const UNDEFINED: u32 = u32::MAX;

/// What is said of a data set, fed in chunks of this size.
fn said(brief: &Brief, bytes: &[u8], size: usize) -> String {
    let mut walker = Walker::new(TransferSyntax::ExplicitLittle, brief);
    let fed: Result<(), _> = bytes.chunks(size).try_for_each(|chunk| walker.feed(chunk));
    match fed.and_then(|()| walker.finish()) {
        Ok(_) => {
            let warned = walker.warnings().iter();
            let warned = warned.map(|w| format!(" (warns: {} {})", w.location, w.detail));
            format!("accepts{}", warned.collect::<String>())
        }
        Err(refusal) => format!("refuses {} | {refusal}", refusal.reason.code()),
    }
}

fn brief(content: Content, base: Base, levels: &[(Level, Severity)]) -> Brief {
    let profile = Profile {
        name: "local".to_owned(),
        base,
        levels: levels.iter().copied().collect::<BTreeMap<_, _>>(),
    };
    let rule = Rule {
        profiles: vec![profile],
        ..Rule::default()
    };
    let policy = Policy {
        rules: vec![rule],
        ..Policy::default()
    };
    Brief {
        content,
        policy: Arc::new(policy),
        rule: Some(0),
    }
}

fn standard() -> Brief {
    brief(Content::Instance(None), Base::Standard, &[])
}

fn table(brief: &Brief, cases: &[(&str, Vec<u8>)]) -> String {
    let line = |(name, bytes): &(&str, Vec<u8>)| {
        let whole = said(brief, bytes, bytes.len().max(1));
        assert_eq!(said(brief, bytes, 1), whole, "{name}");
        format!("{name}: {whole}\n")
    };
    cases.iter().map(line).collect()
}

fn declare(terms: &[u8]) -> Vec<u8> {
    let mut value = terms.to_vec();
    if value.len() % 2 == 1 {
        value.push(b' ');
    }
    element(0x0008, 0x0005, "CS", &value)
}

fn name(value: &[u8]) -> Vec<u8> {
    element(0x0010, 0x0010, "PN", value)
}

/// A sequence of items, all of undefined or of defined length.
fn sequence(items: &[Vec<u8>], defined: bool) -> Vec<u8> {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap();
    let item = |content: &Vec<u8>| {
        if defined {
            [delimiter(0xe000, length(content)), content.clone()].concat()
        } else {
            let end = delimiter(0xe00d, 0);
            [delimiter(0xe000, UNDEFINED), content.clone(), end].concat()
        }
    };
    let content: Vec<u8> = items.iter().flat_map(item).collect();
    if defined {
        element(0x0010, 0x1002, "SQ", &content)
    } else {
        let head = header(0x0010, 0x1002, "SQ", UNDEFINED);
        [head, content, delimiter(0xe0dd, 0)].concat()
    }
}

#[test]
fn a_character_set_holds_in_its_item_and_below() {
    let utf8 = || declare(b"ISO_IR 192");
    let latin = || declare(b"ISO_IR 100");
    let (umlaut, byte) = (|| name("Ä".as_bytes()), || name(b"\xc4A"));
    let within = |items: &[Vec<u8>]| [latin(), sequence(items, true)].concat();
    let mut cases = vec![
        ("declared", [utf8(), umlaut()].concat()),
        ("declared otherwise", [utf8(), byte()].concat()),
        ("not declared", umlaut()),
        (
            "an empty declaration is none",
            [declare(b""), umlaut()].concat(),
        ),
        ("an item inherits", within(&[byte()])),
        ("an item declares", within(&[[utf8(), umlaut()].concat()])),
        (
            "an item declares, and is judged by it",
            within(&[[utf8(), byte()].concat()]),
        ),
        (
            "the next item does not inherit it",
            within(&[[utf8(), umlaut()].concat(), byte()]),
        ),
        (
            "an empty declaration in an item changes nothing",
            within(&[[declare(b""), byte()].concat()]),
        ),
    ];
    for defined in [true, false] {
        let inner = |content: &[u8]| {
            let items = [
                [utf8(), sequence(&[content.to_vec()], defined)].concat(),
                byte(),
            ];
            [latin(), sequence(&items, defined)].concat()
        };
        cases.push(("nested items inherit", inner(&umlaut())));
        cases.push(("nested items inherit nothing else", inner(&byte())));
        let behind = [
            latin(),
            element(0x0008, 0x1140, "SQ", b""),
            sequence(&[[utf8(), umlaut()].concat()], defined),
            element(0x0010, 0x4000, "LT", b"\xc4A"),
        ];
        cases.push(("behind the sequence the outer set holds", behind.concat()));
    }
    insta::assert_snapshot!(table(&standard(), &cases));
}

#[test]
fn long_values_are_judged_as_they_stream_by() {
    let document = |bytes: &[u8]| {
        let text = [&b"text\r\n".repeat(1_000)[..], bytes].concat();
        [
            declare(b"ISO_IR 192"),
            element(0x0008, 0x0119, "UC", b"ab"),
            element(0x0040, 0xa160, "UT", &text),
        ]
        .concat()
    };
    let contour = |last: &[u8]| {
        let numbers = [&b"-12.5\\0.25\\1e3\\".repeat(500)[..], last].concat();
        element(0x3006, 0x0050, "DS", &numbers)
    };
    let uids = |last: &[u8]| {
        let list = [&b"1.2.3\\".repeat(500)[..], last].concat();
        element(0x0008, 0x0062, "UI", &list)
    };
    insta::assert_snapshot!(table(
        &standard(),
        &[
            ("text", document("日本".as_bytes())),
            ("text cut in a character", document(b"\xe6\x97")),
            ("text with an escape", document(b"\x1b[2J")),
            ("numbers", contour(b"1\\2\\3 ")),
            ("letters", contour(b"1\\2\\x ")),
            ("too few numbers", contour(b"1 ")),
            ("a number of 130 digits", contour(&b"1".repeat(130))),
            ("UIDs", uids(b"1.2\0")),
            ("a path", uids(b"../a")),
            ("bytes", element(0x0042, 0x0011, "OB", &[0x1b; 2_000])),
        ],
    ));
}

#[test]
fn how_many_values() {
    insta::assert_snapshot!(table(
        &standard(),
        &[
            ("rows", element(0x0028, 0x0010, "US", &[1, 0])),
            ("rows twice", element(0x0028, 0x0010, "US", &[1, 0, 2, 0])),
            ("no rows", element(0x0028, 0x0010, "US", b"")),
            ("position", element(0x0020, 0x0032, "DS", b"1\\2\\3 ")),
            (
                "position of two numbers",
                element(0x0020, 0x0032, "DS", b"1\\2 ")
            ),
            ("one number", element(0x0028, 0x0030, "DS", b"1 ")),
            ("names", element(0x0008, 0x1070, "PN", b"A\\B ")),
            ("two patients", name(b"A\\B ")),
            (
                "one comment with a backslash",
                element(0x0010, 0x4000, "LT", b"A\\B ")
            ),
            (
                "kanji with a backslash inside",
                [declare(b"\\ISO 2022 IR 87"), name(b"\x1b$B0\\\x1b(B"),].concat()
            ),
        ],
    ));
}

#[test]
fn unknown_and_private_values() {
    insta::assert_snapshot!(table(
        &standard(),
        &[
            (
                "UN of a known element",
                element(0x0020, 0x000d, "UN", b"1.2\0")
            ),
            (
                "UN that is not what it must be",
                element(0x0020, 0x000d, "UN", b"../a")
            ),
            (
                "UN of an unknown element",
                element(0x0020, 0x0fff, "UN", b"\x1b../a\0")
            ),
            (
                "a private number",
                [
                    element(0x0029, 0x0010, "LO", b"US"),
                    element(0x0029, 0x1001, "DS", b"12"),
                ]
                .concat()
            ),
            (
                "a private number that is none",
                [
                    element(0x0029, 0x0010, "LO", b"US"),
                    element(0x0029, 0x1001, "DS", b"AB"),
                ]
                .concat()
            ),
            (
                "a number that is none",
                element(0x0018, 0x0050, "DS", b"AB")
            ),
        ],
    ));
}

#[test]
fn queries_ask_for_more_than_values_can_be() {
    let cases = [
        (
            "a range",
            element(0x0008, 0x0020, "DA", b"20240101-20240131 "),
        ),
        (
            "a range to a date that cannot be",
            element(0x0008, 0x0020, "DA", b"20240101-20240132 "),
        ),
        (
            "a range from a year to what is no date",
            element(0x0008, 0x0020, "DA", b"2026-x"),
        ),
        (
            "an open range",
            element(0x0008, 0x0020, "DA", b"20240101- "),
        ),
        ("a wildcard", element(0x0008, 0x0050, "SH", b"A*")),
        ("modalities", element(0x0008, 0x0060, "CS", b"CT\\MR ")),
        (
            "modalities of a study",
            element(0x0008, 0x0061, "CS", b"CT\\MR "),
        ),
        ("a title", element(0x0008, 0x0054, "AE", b"US07")),
        ("a path", element(0x0010, 0x0020, "LO", b"..\\..\\A ")),
        ("a pattern", element(0x0008, 0x0060, "CS", b"C*")),
        (
            "a pattern of UIDs",
            element(0x0020, 0x000d, "UI", b"1.2.*\0"),
        ),
        ("a path of a UID", element(0x0020, 0x000d, "UI", b"1/../2")),
        ("UIDs", element(0x0020, 0x000d, "UI", b"1.2\\1.3\0")),
    ];
    let query = table(&brief(Content::Query, Base::Standard, &[]), &cases);
    let strict = table(&brief(Content::Query, Base::Strict, &[]), &cases);
    let result = table(&brief(Content::QueryResult, Base::Standard, &[]), &cases);
    insta::assert_snapshot!(format!(
        "query\n{query}\nstrict\n{strict}\nresult\n{result}"
    ));
}

#[test]
fn profiles_say_what_a_level_leads_to() {
    let cases = [
        ("letters", element(0x0018, 0x0050, "DS", b"AB")),
        ("no set", name(b"\xc4A")),
        (
            "wrong set",
            [declare(b"ISO_IR 192"), name(b"\xc4A")].concat(),
        ),
    ];
    let of = |base, levels: &[_]| table(&brief(Content::Instance(None), base, levels), &cases);
    insta::assert_snapshot!(format!(
        "strict\n{}\nvalues are ignored\n{}\ncharacter sets are ignored\n{}",
        of(Base::Strict, &[]),
        of(Base::Strict, &[(Level::Values, Severity::Ignore)]),
        of(Base::Strict, &[(Level::CharacterSets, Severity::Ignore)]),
    ));
}

proptest! {
    #[test]
    fn long_text_is_judged_alike_in_any_chunks(
        terms in prop::sample::select(vec![
            &b"ISO_IR 192"[..], b"GB18030 ", b"\\ISO 2022 IR 87", b"ISO_IR 100",
        ]),
        tail in prop::collection::vec(any::<u8>(), 0..60),
        size in 1_usize..2_000,
    ) {
        let mut text = "日本 text\\^=\r\n".repeat(80).into_bytes();
        if terms != b"ISO_IR 192" {
            text = b"plain text\\^=\r\n".repeat(80);
        }
        text.extend(tail);
        if text.len() % 2 == 1 {
            text.push(b' ');
        }
        let bytes = [declare(terms), element(0x0040, 0xa160, "UT", &text)].concat();
        let whole = said(&standard(), &bytes, bytes.len());
        prop_assert_eq!(said(&standard(), &bytes, size), whole);
    }
}
