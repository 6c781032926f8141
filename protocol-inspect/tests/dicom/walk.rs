//! The rules of PS3.5 7, each refusal beside the nearest data set that passes.

use protocol_inspect::dicom::{TransferSyntax, Walker};
use protocol_inspect::{Base, Limits};

use super::build::{delimiter, element, header, text, ui};
use super::data_set::{brief, walk};

pub(super) const UNDEFINED: u32 = u32::MAX;

/// What a profile says.
#[derive(Clone, Copy, Debug)]
pub(super) enum Says {
    /// It passes, and nobody is told of this.
    Passes,
    Warns(&'static str),
    Refuses(&'static str),
}
use Says::{Passes, Refuses, Warns};

/// Cases with what the standard and the strict profile say.
pub(super) fn table(syntax: TransferSyntax, cases: Vec<(&str, Vec<u8>, Says, Says)>) {
    for (case, bytes, standard, strict) in cases {
        for (base, expected) in [(Base::Standard, standard), (Base::Strict, strict)] {
            let said = walk(syntax, &bytes, base, &Limits::default());
            let right = match (&said, expected) {
                (Ok(_), Passes) => true,
                (Ok(warnings), Warns(detail)) => warnings.contains(detail),
                (Err(refusal), Refuses(detail)) => refusal.to_string().contains(detail),
                _ => false,
            };
            assert!(right, "{case}, {base:?}: {said:?}, not {expected:?}");
        }
    }
}

pub(super) fn explicit(cases: Vec<(&str, Vec<u8>, Says, Says)>) {
    table(TransferSyntax::ExplicitLittle, cases);
}

pub(super) fn uid() -> Vec<u8> {
    element(0x0008, 0x1155, "UI", &ui("1.2.3"))
}

pub(super) fn length_of(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap()
}

/// An item, of defined or of undefined length.
pub(super) fn item(open: bool, content: &[u8]) -> Vec<u8> {
    if open {
        let start = delimiter(0xe000, UNDEFINED);
        return [&start, content, &delimiter(0xe00d, 0)].concat();
    }
    [&delimiter(0xe000, length_of(content)), content].concat()
}

pub(super) fn sequence(open: bool, content: &[u8]) -> Vec<u8> {
    if open {
        let start = header(0x0008, 0x1140, "SQ", UNDEFINED);
        return [&start, content, &delimiter(0xe0dd, 0)].concat();
    }
    element(0x0008, 0x1140, "SQ", content)
}

#[test]
fn lengths_of_sequences_and_items() {
    for (outer, inner) in [(false, false), (false, true), (true, false), (true, true)] {
        let whole = sequence(outer, &item(inner, &uid()));
        let name = format!("{outer} {inner}");
        let cut = whole[..whole.len() - 8].to_vec();
        let cut_says = match (outer, inner) {
            (true, _) => Refuses("(0008,1140): is not ended"),
            (false, true) => Refuses("(0008,1140): is not ended"),
            (false, false) => Refuses("ends in an element header"),
        };
        explicit(vec![
            (&name, whole.clone(), Passes, Passes),
            (&name, cut, cut_says, cut_says),
            (&name, sequence(outer, &[]), Passes, Passes),
            (&name, sequence(outer, &item(inner, &[])), Passes, Passes),
        ]);
        // The path says which item of which sequence.
        let twice = sequence(
            outer,
            &[item(inner, &uid()), item(inner, &[uid(), uid()].concat())].concat(),
        );
        let says = Refuses("(0008,1140)[2].(0008,1155): occurs twice");
        explicit(vec![(&name, twice, says, says)]);
    }
    let longer = "is longer than what contains it";
    let crosses = "crosses the end of its item or sequence";
    // A sequence of undefined length does not lead out of the item that it is in.
    let within = |length: u32| {
        let inside = sequence(true, &item(true, &uid()));
        let start = delimiter(0xe000, length);
        sequence(true, &[start, inside].concat())
    };
    let whole = length_of(&sequence(true, &item(true, &uid())));
    explicit(vec![
        (
            "item as long as the open sequence",
            within(whole),
            Passes,
            Passes,
        ),
        (
            "item ends at the end of the sequence",
            within(whole - 8),
            Refuses(crosses),
            Refuses(crosses),
        ),
        (
            "item ends in the inner value",
            within(30),
            Refuses(longer),
            Refuses(longer),
        ),
        (
            "item ends before the inner header",
            within(20),
            Refuses(crosses),
            Refuses(crosses),
        ),
        (
            "item ends in the inner header",
            within(24),
            Refuses(crosses),
            Refuses(crosses),
        ),
        (
            "item of odd length",
            sequence(true, &[delimiter(0xe000, 3), vec![0; 3]].concat()),
            Refuses("is of odd length"),
            Refuses("is of odd length"),
        ),
        (
            "sequence of odd length",
            header(0x0008, 0x1140, "SQ", 9),
            Refuses("is of odd length"),
            Refuses("is of odd length"),
        ),
        (
            "header behind the end of its item",
            sequence(true, &[delimiter(0xe000, 4), uid()].concat()),
            Refuses(crosses),
            Refuses(crosses),
        ),
    ]);
}

#[test]
fn group_lengths() {
    let told = |length: u32| element(0x0008, 0x0000, "UL", &length.to_le_bytes());
    let content = [element(0x0008, 0x0060, "CS", b"CT"), uid()].concat();
    let behind = element(0x0010, 0x0020, "LO", b"AB");
    let right = length_of(&content);
    let (retired, wrong) = (
        "is a group length, which is retired",
        "does not say how long its group is",
    );
    let set = |length, more: &[u8]| [&told(length), &content[..], more].concat();
    explicit(vec![
        (
            "before another group",
            set(right, &behind),
            Warns(retired),
            Warns(retired),
        ),
        (
            "too short",
            set(right - 2, &behind),
            Warns(wrong),
            Refuses(wrong),
        ),
        (
            "too long",
            set(right + 2, &behind),
            Warns(wrong),
            Refuses(wrong),
        ),
        (
            "at the end",
            set(right, &[]),
            Warns(retired),
            Warns(retired),
        ),
        (
            "wrong at the end",
            set(right + 2, &[]),
            Warns(wrong),
            Refuses(wrong),
        ),
        (
            "in an item",
            sequence(false, &item(false, &set(right, &behind))),
            Warns(retired),
            Warns(retired),
        ),
        (
            "at the end of an item",
            sequence(false, &item(false, &set(right, &[]))),
            Warns(retired),
            Warns(retired),
        ),
        (
            "at the end of an open item",
            sequence(true, &item(true, &set(right, &[]))),
            Warns(retired),
            Warns(retired),
        ),
        (
            "wrong at the end of an open item",
            sequence(true, &item(true, &set(right + 8, &[]))),
            Warns(wrong),
            Refuses(wrong),
        ),
        (
            "wrong at the end of an item",
            sequence(true, &item(false, &set(4, &[]))),
            Warns(wrong),
            Refuses(wrong),
        ),
        (
            "of nothing",
            [told(0), behind.clone()].concat(),
            Warns(retired),
            Warns(retired),
        ),
        (
            "as US",
            [element(0x0008, 0x0000, "US", &[2, 0]), uid()].concat(),
            Refuses("that its element cannot have"),
            Refuses("that its element cannot have"),
        ),
        (
            "behind its group",
            [uid(), told(0)].concat(),
            Refuses("is out of order"),
            Refuses("is out of order"),
        ),
    ]);
}

#[test]
fn padding() {
    let padding = || element(0xfffc, 0xfffc, "OB", &[0; 6]);
    let misplaced = Refuses("is padding, but not at the end of the data set");
    explicit(vec![
        ("at the end", [uid(), padding()].concat(), Passes, Passes),
        ("alone", padding(), Passes, Passes),
        (
            "twice",
            [padding(), padding()].concat(),
            Refuses("occurs twice"),
            Refuses("occurs twice"),
        ),
        (
            "not at the end",
            [padding(), uid()].concat(),
            Refuses("is out of order"),
            Refuses("is out of order"),
        ),
        (
            "in an item",
            sequence(false, &item(false, &padding())),
            misplaced,
            misplaced,
        ),
        (
            "another element of its group",
            element(0xfffc, 0xfffa, "OB", &[0; 6]),
            Warns("is not in the data dictionary"),
            Warns("is not in the data dictionary"),
        ),
    ]);
}

#[test]
fn a_file_is_no_data_set() {
    let start = element(0x0008, 0x0119, "UC", &[b'x'; 112]);
    let file = |magic: &[u8]| [&start[..], b"\x08\0\x20\x01", magic, b"xxxx"].concat();
    for size in [1, 50, 127, 128, 131, 132, 133, 500] {
        let said = |bytes: &[u8]| {
            let brief = brief(Base::Standard, &Limits::default());
            let mut walker = Walker::new(TransferSyntax::ExplicitLittle, &brief);
            bytes
                .chunks(size)
                .try_for_each(|chunk| walker.feed(chunk))
                .and_then(|()| walker.finish())
                .map_err(|refusal| refusal.detail)
        };
        let refused = said(&file(b"DICM")).unwrap_err();
        assert_eq!(refused, "is a Part 10 file, not a data set", "{size}");
        assert!(said(&file(b"UR\0\0\x04\0\0\0")[..]).is_ok(), "{size}");
    }
}

#[test]
fn bounds() {
    let limits = Limits {
        dicom_dataset: 100,
        ..Limits::default()
    };
    let said = |bytes: &[u8]| {
        let walked = walk(
            TransferSyntax::ExplicitLittle,
            bytes,
            Base::Standard,
            &limits,
        );
        walked.err().map(|refusal| refusal.to_string())
    };
    // Empty open items make no value whose length could be compared.
    let items = |count: usize| sequence(true, &item(false, &[]).repeat(count));
    assert_eq!(said(&items(10)), None);
    assert_eq!(
        said(&items(11)).unwrap(),
        "dicom_dataset: 108 is more than 100"
    );
    let claims = |length| header(0x0008, 0x0119, "UC", length);
    assert_eq!(
        said(&claims(90)).unwrap(),
        "dicom_dataset: 102 is more than 100"
    );
    assert_eq!(
        said(&claims(UNDEFINED - 1)).unwrap(),
        "dicom_dataset: 4294967306 is more than 100"
    );
    // What contains it is the nearer fault.
    let inside = sequence(false, &item(false, &claims(90)));
    assert!(
        said(&inside)
            .unwrap()
            .contains("is longer than what contains it")
    );
    let text = element(0x0008, 0x0119, "UC", &text(&"x".repeat(88)));
    assert_eq!(said(&text), None);
}
