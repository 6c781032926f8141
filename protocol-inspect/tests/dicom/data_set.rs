//! Data sets: what is let in and what is not.

use std::sync::Arc;

use protocol_inspect::dicom::{
    Brief, Compression, Content, Level, Policy, Profile, Rule, TransferSyntax, Walker,
    inspect_offline,
};
use protocol_inspect::{Base, Limits, Severity};

use super::build::{
    CT, DEFLATED, EXPLICIT, INSTANCE, ct, deflated, delimiter, element, header, text, ui, us,
};

const UNDEFINED: u32 = u32::MAX;

#[test]
fn explicit_little_endian() {
    let sequence = |content: Vec<u8>| element(0x0008, 0x1140, "SQ", &content);
    let open = |content: Vec<u8>| [header(0x0008, 0x1140, "SQ", UNDEFINED), content].concat();
    let uid = || element(0x0008, 0x1155, "UI", b"1.2.3\0");
    let reserved = [&[0x08, 0, 0x40, 0x11][..], b"SQ", &[1, 0, 0, 0, 0, 0]].concat();
    let private = |element_number| element(0x0029, element_number, "LO", b"ABCD");
    let image = |rows: u16, len: usize| {
        let mut set = ct();
        set[7] = element(0x0028, 0x0010, "US", &us(rows));
        set[10] = element(0x7fe0, 0x0010, "OW", &vec![0; len]);
        set.concat()
    };
    let rows_as_ul = {
        let mut set = ct();
        set[7] = element(0x0028, 0x0010, "UL", &[2, 0, 0, 0]);
        set.concat()
    };
    let huge = [
        element(0x0008, 0x0016, "UI", &ui(CT)),
        header(0x7fe1, 0x1001, "OB", 2 << 30),
        vec![0; 240],
    ];
    let part_10 = [
        vec![0; 128],
        b"DICM".to_vec(),
        element(0x0002, 0x0000, "UL", &[0; 4]),
    ];
    table(
        "explicit",
        TransferSyntax::ExplicitLittle,
        vec![
            ("an image", ct().concat()),
            ("nothing", vec![]),
            ("image shorter than its geometry", image(2, 6)),
            ("image longer than its geometry", image(2, 10)),
            ("image of 3 rows", image(3, 12)),
            ("rows as UL", rows_as_ul),
            (
                "out of order",
                [
                    element(0x0010, 0x0020, "LO", b"AB"),
                    element(0x0008, 0x0060, "CS", b"CT"),
                ]
                .concat(),
            ),
            ("twice", [uid(), uid()].concat()),
            ("odd length", element(0x0008, 0x0060, "CS", b"CTX")),
            ("unknown VR", element(0x0008, 0x0060, "??", b"CT")),
            ("lower case VR", element(0x0008, 0x0060, "cs", b"CT")),
            ("similar VR", element(0x0008, 0x0060, "LO", b"CT")),
            ("wrong VR", element(0x0008, 0x0060, "US", b"CT")),
            (
                "UN for a known element",
                element(0x0008, 0x0060, "UN", b"CT"),
            ),
            ("reserved bytes", reserved),
            ("UL of 2 bytes", element(0x0028, 0x9001, "UL", &[0; 2])),
            ("group 0000", element(0x0000, 0x0002, "UI", b"1\0")),
            ("group 0002", element(0x0002, 0x0010, "UI", b"1\0")),
            ("group 0003", element(0x0003, 0x0010, "LO", b"AB")),
            ("group FFFF", element(0xffff, 0x0010, "LO", b"AB")),
            ("a Part 10 file", part_10.concat()),
            (
                "group length",
                [element(0x0008, 0x0000, "UL", &[0; 4]), uid()].concat(),
            ),
            (
                "private with creator",
                [private(0x0010), private(0x1001)].concat(),
            ),
            ("private without creator", private(0x1001)),
            (
                "private with another's creator",
                [private(0x0011), private(0x1001)].concat(),
            ),
            ("private where none can be", private(0x0101)),
            ("UID list", element(0x0008, 0x0058, "UI", b"1.2.3\\1.2.4\0")),
            (
                "UID with a letter",
                element(0x0008, 0x1155, "UI", b"1.2.x\0"),
            ),
            (
                "UID with leading zero",
                element(0x0008, 0x1155, "UI", b"1.02\0\0"),
            ),
            (
                "path as UID",
                element(0x0008, 0x0018, "UI", b"../../etc/pa"),
            ),
            ("UID of 66", element(0x0008, 0x1155, "UI", &[b'1'; 66])),
            (
                "patient id as path",
                element(0x0010, 0x0020, "LO", b"../../x."),
            ),
            ("patient id above", element(0x0010, 0x0020, "LO", b" a/.. ")),
            (
                "patient id behind a space",
                element(0x0010, 0x0020, "LO", b" /etc/a "),
            ),
            (
                "patient id on a drive",
                element(0x0010, 0x0020, "LO", b"C:/x"),
            ),
            (
                "patient id with a slash",
                element(0x0010, 0x0020, "LO", b"17/2024 "),
            ),
            (
                "patient id with two dots",
                element(0x0010, 0x0020, "LO", b"17..2024"),
            ),
            (
                "control character",
                element(0x0010, 0x0020, "LO", b"A\r\nB"),
            ),
            ("line end", element(0x0010, 0x0020, "LO", b"AB\r\n")),
            (
                "UID with several NULs",
                element(0x0008, 0x0018, "UI", b"1.2\0\0\0"),
            ),
            (
                "UID with an inner NUL",
                element(0x0008, 0x0018, "UI", b"1\0.2\0\0"),
            ),
            ("UID of NULs", element(0x0008, 0x0018, "UI", &[0; 4])),
            (
                "escape of ISO 2022, not declared",
                element(0x0010, 0x0010, "PN", b"\x1b$B;3\x1b(B"),
            ),
            (
                "escape of ISO 2022, declared",
                [
                    element(0x0008, 0x0005, "CS", b"\\ISO 2022 IR 87 "),
                    element(0x0010, 0x0010, "PN", b"\x1b$B;3\x1b(B"),
                ]
                .concat(),
            ),
            (
                "sequence",
                sequence([delimiter(0xe000, 14), uid()].concat()),
            ),
            (
                "sequence with an open item",
                sequence([delimiter(0xe000, UNDEFINED), uid(), delimiter(0xe00d, 0)].concat()),
            ),
            (
                "open sequence",
                open([delimiter(0xe000, 14), uid(), delimiter(0xe0dd, 0)].concat()),
            ),
            ("open sequence, empty", open(delimiter(0xe0dd, 0))),
            (
                "open sequence without end",
                open([delimiter(0xe000, 14), uid()].concat()),
            ),
            (
                "open item without end",
                open([delimiter(0xe000, UNDEFINED), uid(), delimiter(0xe0dd, 0)].concat()),
            ),
            (
                "item longer than its sequence",
                sequence([delimiter(0xe000, 16), uid()].concat()),
            ),
            (
                "element longer than its item",
                open([delimiter(0xe000, 12), uid(), delimiter(0xe0dd, 0)].concat()),
            ),
            (
                "item shorter than its elements",
                sequence([delimiter(0xe000, 4), uid()].concat()),
            ),
            ("element instead of an item", sequence(uid())),
            ("stray item end", delimiter(0xe00d, 0)),
            ("stray sequence end", delimiter(0xe0dd, 0)),
            ("stray item", delimiter(0xe000, 0)),
            (
                "item end in an item of defined length",
                sequence([delimiter(0xe000, 8), delimiter(0xe00d, 0)].concat()),
            ),
            ("delimiter with a length", open(delimiter(0xe0dd, 2))),
            (
                "text of undefined length",
                header(0x0008, 0x0119, "UC", UNDEFINED),
            ),
            (
                "pixels of undefined length",
                header(0x7fe0, 0x0010, "OB", UNDEFINED),
            ),
            ("cut in a header", vec![8, 0, 0x16]),
            ("cut in a value", uid()[..10].to_vec()),
            ("two GiB claimed", huge.concat()),
            (
                "five GiB claimed with what came",
                [
                    element(0x0008, 0x0016, "UI", &ui(CT)),
                    header(0x7fe0, 0x0010, "OW", UNDEFINED - 1),
                ]
                .concat(),
            ),
        ],
    );
}

#[test]
fn encapsulated() {
    let pixels = |vr: &str, content: &[Vec<u8>]| {
        let size = [0x0010, 0x0011].map(|number| element(0x0028, number, "US", &[2, 0]));
        let opening = header(0x7fe0, 0x0010, vr, UNDEFINED);
        [size.concat(), opening, content.concat()].concat()
    };
    let table_of = |len: u32| [delimiter(0xe000, len), vec![0; len as usize]].concat();
    let fragment = || [delimiter(0xe000, 4), vec![0xff, 0xd8, 0xff, 0xd9]].concat();
    let end = || delimiter(0xe0dd, 0);
    table(
        "encapsulated",
        TransferSyntax::Encapsulated(Compression::Jpeg),
        vec![
            (
                "one fragment",
                pixels("OB", &[table_of(0), fragment(), end()]),
            ),
            ("two fragments and a table", {
                let frames = element(0x0028, 0x0008, "IS", b"2 ");
                let table = [delimiter(0xe000, 8), vec![0, 0, 0, 0, 12, 0, 0, 0]].concat();
                [
                    frames,
                    pixels("OB", &[table, fragment(), fragment(), end()]),
                ]
                .concat()
            }),
            ("as OW", pixels("OW", &[table_of(0), fragment(), end()])),
            ("as UN", pixels("UN", &[end()])),
            ("no table and no fragment", pixels("OB", &[end()])),
            ("no fragment", pixels("OB", &[table_of(0), end()])),
            (
                "table of 6",
                pixels("OB", &[table_of(6), fragment(), end()]),
            ),
            (
                "odd fragment",
                pixels(
                    "OB",
                    &[table_of(0), delimiter(0xe000, 3), vec![0; 3], end()],
                ),
            ),
            (
                "open fragment",
                pixels("OB", &[table_of(0), delimiter(0xe000, UNDEFINED), end()]),
            ),
            (
                "element instead of a fragment",
                pixels("OB", &[table_of(0), element(0x0008, 0x0060, "CS", b"CT")]),
            ),
            ("no end", pixels("OB", &[table_of(0), fragment()])),
            (
                "end with a length",
                pixels("OB", &[table_of(0), fragment(), delimiter(0xe0dd, 4)]),
            ),
            ("native pixels", ct().concat()),
            (
                "native pixels of an icon",
                element(
                    0x0088,
                    0x0200,
                    "SQ",
                    &[
                        delimiter(0xe000, 46),
                        element(0x0028, 0x0010, "US", &[2, 0]),
                        element(0x0028, 0x0011, "US", &[2, 0]),
                        element(0x0028, 0x0100, "US", &[8, 0]),
                        element(0x7fe0, 0x0010, "OB", &[0; 4]),
                    ]
                    .concat(),
                ),
            ),
        ],
    );
}

#[test]
fn implicit_and_big_endian() {
    let short = |element: u16, len: u32, value: &[u8]| {
        [
            &[8, 0][..],
            &element.to_le_bytes(),
            &len.to_le_bytes(),
            value,
        ]
        .concat()
    };
    let unknown = [0x29, 0, 1, 0x10, 255, 255, 255, 255];
    table(
        "implicit",
        TransferSyntax::ImplicitLittle,
        vec![
            ("UID", short(0x18, 4, b"1.2\0")),
            ("UID with a letter", short(0x18, 4, b"1.x\0")),
            (
                "sequence",
                [
                    short(0x1140, 20, &delimiter(0xe000, 12)),
                    short(0x1155, 4, b"1.2\0"),
                ]
                .concat(),
            ),
            (
                "unknown sequence",
                [&unknown[..], &delimiter(0xe000, 0), &delimiter(0xe0dd, 0)].concat(),
            ),
            ("value longer than the rest", short(0x60, 6, b"CT")),
            ("explicit bytes", element(0x0008, 0x0060, "CS", b"CT")),
        ],
    );
    let big = |vr: &str, len: u16, value: &[u8]| {
        [
            &[0, 8, 0, 0x60][..],
            vr.as_bytes(),
            &len.to_be_bytes(),
            value,
        ]
        .concat()
    };
    table(
        "big-endian",
        TransferSyntax::ExplicitBig,
        vec![
            ("modality", big("CS", 2, b"CT")),
            ("little endian bytes", element(0x0008, 0x0060, "CS", b"CT")),
            ("value longer than the rest", big("CS", 4, b"CT")),
        ],
    );
}

#[test]
fn nesting_and_counts_are_bounded() {
    let level = [
        header(0x0008, 0x1140, "SQ", UNDEFINED),
        delimiter(0xe000, UNDEFINED),
    ]
    .concat();
    let end = [delimiter(0xe00d, 0), delimiter(0xe0dd, 0)].concat();
    let nested = |depth| [level.repeat(depth), end.repeat(depth)].concat();
    let said = |bytes: &[u8], limits: &Limits| {
        walk(
            TransferSyntax::ExplicitLittle,
            bytes,
            Base::Standard,
            limits,
        )
        .err()
        .map(|refusal| refusal.to_string())
    };
    let limits = Limits::default();
    assert_eq!(said(&nested(64), &limits), None);
    assert_eq!(
        said(&nested(65), &limits).unwrap(),
        "dicom_depth: 65 is more than 64"
    );
    assert_eq!(
        said(&nested(20_000), &limits).unwrap(),
        "dicom_depth: 65 is more than 64"
    );
    let few = Limits {
        dicom_elements: 10,
        dicom_dataset: 400,
        ..limits
    };
    let elements = |count: u16| {
        (0..count)
            .flat_map(|n| element(0x0009, 0x0010 + n, "LO", b"AB"))
            .collect::<Vec<u8>>()
    };
    assert_eq!(said(&elements(10), &few), None);
    assert_eq!(
        said(&elements(11), &few).unwrap(),
        "dicom_elements: 11 is more than 10"
    );
    let value = |len: usize| element(0x0008, 0x0119, "UC", &vec![b'x'; len]);
    assert_eq!(said(&value(388), &few), None);
    assert_eq!(
        said(&value(390), &few).unwrap(),
        "dicom_dataset: 402 is more than 400"
    );
}

#[test]
fn strict_refuses_doubts() {
    for doubtful in [
        element(0x0029, 0x1001, "LO", b"AB"),
        element(0x0008, 0x0060, "LO", b"CT"),
        element(0x0008, 0x1155, "UI", b"1.02"),
        element(0x0008, 0x0060, "CS", b"ct"),
    ] {
        let says = |profile| {
            walk(
                TransferSyntax::ExplicitLittle,
                &doubtful,
                profile,
                &Limits::default(),
            )
        };
        assert!(says(Base::Standard).is_ok());
        assert!(says(Base::Strict).is_err());
    }
}

#[test]
fn files() {
    let counted = |elements: &[Vec<u8>]| {
        let rest = elements.concat();
        let len = u32::try_from(rest.len()).unwrap().to_le_bytes();
        [element(0x0002, 0x0000, "UL", &len), rest].concat()
    };
    let elements = |instance: &str, syntax: &str| {
        vec![
            element(0x0002, 0x0001, "OB", &[0, 1]),
            element(0x0002, 0x0002, "UI", &ui(CT)),
            element(0x0002, 0x0003, "UI", &ui(instance)),
            element(0x0002, 0x0010, "UI", &ui(syntax)),
            element(0x0002, 0x0012, "UI", &ui("1.2.3.4")),
        ]
    };
    let meta = |instance: &str, syntax: &str| counted(&elements(instance, syntax));
    let with = |index: usize, bytes: Vec<u8>| {
        let mut all = elements(INSTANCE, EXPLICIT);
        all[index] = bytes;
        counted(&all)
    };
    let padding = |end: &[u8]| {
        let mut archive = b"PK\x05\x06".to_vec();
        archive.resize(22, 0);
        let set = ct().concat();
        let padding = [&[0; 8], &archive[..], end].concat();
        [set, element(0xfffc, 0xfffc, "OB", &padding)].concat()
    };
    let file = |preamble: &[u8], meta: Vec<u8>, set: Vec<u8>| {
        let mut start = preamble.to_vec();
        start.resize(128, 0);
        [start, b"DICM".to_vec(), meta, set].concat()
    };
    let good = || meta(INSTANCE, EXPLICIT);
    let set = || ct().concat();
    let mut said = String::new();
    for (name, bytes) in [
        ("file", file(b"", good(), set())),
        ("TIFF preamble", file(b"II*\0", good(), set())),
        ("PE preamble", file(b"MZ\x90\0", good(), set())),
        ("ELF preamble", file(b"\x7fELF", good(), set())),
        ("script preamble", file(b"#!/bin/sh\n", good(), set())),
        ("ZIP preamble", file(b"PK\x03\x04", good(), set())),
        ("PDF preamble", file(b"\n%PDF-1.7", good(), set())),
        ("page in the preamble", file(b"<html>", good(), set())),
        (
            "text in the preamble",
            file(b"made by nobody", good(), set()),
        ),
        ("archive at the end", file(b"", good(), padding(b""))),
        (
            "archive not at the end",
            file(b"", good(), padding(&[0; 8])),
        ),
        (
            "version 2",
            file(b"", with(0, element(0x0002, 0x0001, "OB", &[0, 2])), set()),
        ),
        ("no version", file(b"", with(0, vec![]), set())),
        ("no implementation", file(b"", with(4, vec![]), set())),
        (
            "implementation as LO",
            file(
                b"",
                with(4, element(0x0002, 0x0012, "LO", b"1.2.3.4 ")),
                set(),
            ),
        ),
        (
            "unknown element of meta",
            file(b"", with(4, element(0x0002, 0x0099, "LO", b"AB")), set()),
        ),
        (
            "another instance",
            file(b"", meta("1.2.3", EXPLICIT), set()),
        ),
        (
            "deflated",
            file(b"", meta(INSTANCE, DEFLATED), deflated(&set())),
        ),
        (
            "deflated, it says",
            file(b"", meta(INSTANCE, DEFLATED), set()),
        ),
        ("no meta", file(b"", vec![], set())),
        (
            "wrong length of meta",
            file(
                b"",
                [
                    element(0x0002, 0x0000, "UL", &[4, 0, 0, 0]),
                    good()[12..].to_vec(),
                ]
                .concat(),
                set(),
            ),
        ),
        ("bare data set", set()),
        ("text", text("this is not DICOM")),
        ("empty", vec![]),
        ("cut", file(b"", good(), set()[..100].to_vec())),
    ] {
        for profile in [Base::Standard, Base::Strict] {
            let report = inspect_offline(&bytes, false, profile).remove(0);
            let verdict = report
                .refusal
                .map_or("accepts".to_owned(), |refusal| format!("refuses {refusal}"));
            let warned: String = report
                .warnings
                .iter()
                .map(|w| format!(" (warns: {} {})", w.location, w.detail))
                .collect();
            said.push_str(&format!(
                "{name}, {profile:?}: {verdict}{warned} [{}]\n",
                report.kind
            ));
        }
    }
    insta::assert_snapshot!(said);
}

fn table(name: &str, syntax: TransferSyntax, cases: Vec<(&str, Vec<u8>)>) {
    let mut said = String::new();
    for (case, bytes) in cases {
        let verdict = walk(syntax, &bytes, Base::Standard, &Limits::default());
        let verdict = match verdict {
            Ok(warnings) => format!("accepts{warnings}"),
            Err(refusal) => format!("refuses {} | {refusal}", refusal.reason.code()),
        };
        said.push_str(&format!("{case}: {verdict}\n"));
    }
    insta::assert_snapshot!(name, said);
}

/// Judges how a data set is written, not which modules it has.
pub(super) fn encoding_alone(base: Base) -> Profile {
    Profile {
        levels: [(Level::Object, Severity::Ignore)].into(),
        ..Profile::of(base)
    }
}

/// An instance before one rule.
pub(super) fn brief(base: Base, limits: &Limits) -> Brief {
    let rule = Rule {
        profiles: vec![encoding_alone(base)],
        ..Rule::default()
    };
    let policy = Policy {
        limits: limits.clone(),
        rules: vec![rule],
        ..Policy::default()
    };
    Brief {
        content: Content::Instance(None),
        policy: Arc::new(policy),
        rule: Some(0),
    }
}

/// The warnings in words, or the refusal.
pub(super) fn walk(
    syntax: TransferSyntax,
    bytes: &[u8],
    base: Base,
    limits: &Limits,
) -> Result<String, protocol_inspect::Refusal> {
    let mut walker = Walker::new(syntax, &brief(base, limits));
    walker.feed(bytes)?;
    walker.finish()?;
    let said = |w: &protocol_inspect::Warning| format!(" (warns: {} {})", w.location, w.detail);
    Ok(walker.warnings().iter().map(said).collect())
}
