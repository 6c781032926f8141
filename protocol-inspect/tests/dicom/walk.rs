//! The rules of PS3.5 7, each refusal beside the nearest data set that passes.

use protocol_inspect::dicom::{TransferSyntax, Walker};
use protocol_inspect::{Base, Limits};

use super::build::{delimiter, element, header, text, ui};
use super::data_set::{brief, walk};

const UNDEFINED: u32 = u32::MAX;

/// What a profile says.
#[derive(Clone, Copy, Debug)]
enum Says {
    /// It passes, and nobody is told of this.
    Passes,
    Warns(&'static str),
    Refuses(&'static str),
}
use Says::{Passes, Refuses, Warns};

/// Cases with what the standard and the strict profile say.
fn table(syntax: TransferSyntax, cases: Vec<(&str, Vec<u8>, Says, Says)>) {
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

fn explicit(cases: Vec<(&str, Vec<u8>, Says, Says)>) {
    table(TransferSyntax::ExplicitLittle, cases);
}

fn uid() -> Vec<u8> {
    element(0x0008, 0x1155, "UI", &ui("1.2.3"))
}

fn length_of(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap()
}

/// An item, of defined or of undefined length.
fn item(open: bool, content: &[u8]) -> Vec<u8> {
    if open {
        let start = delimiter(0xe000, UNDEFINED);
        return [&start, content, &delimiter(0xe00d, 0)].concat();
    }
    [&delimiter(0xe000, length_of(content)), content].concat()
}

fn sequence(open: bool, content: &[u8]) -> Vec<u8> {
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
fn elements_against_the_dictionary() {
    let (other, wrong) = (
        "another value representation",
        "that its element cannot have",
    );
    let is_un = "is UN, though its value representation is known";
    let implicit = |content: &[u8]| {
        [
            &[8, 0, 0x55, 0x11][..],
            &length_of(content).to_le_bytes(),
            content,
        ]
        .concat()
    };
    let inner = item(false, &implicit(&ui("1.2.3")));
    explicit(vec![
        (
            "in force",
            element(0x0008, 0x0060, "CS", b"CT"),
            Passes,
            Passes,
        ),
        (
            "retired",
            element(0x0008, 0x0010, "SH", b"AB"),
            Passes,
            Warns("is retired"),
        ),
        (
            "unknown",
            element(0x0008, 0x0003, "SH", b"AB"),
            Warns("is not in the data dictionary"),
            Warns("is not in the data dictionary"),
        ),
        (
            "overlay of the last group",
            element(0x601e, 0x0010, "US", &[1, 0]),
            Passes,
            Passes,
        ),
        (
            "overlay beyond",
            element(0x6020, 0x0010, "US", &[1, 0]),
            Warns("is not in"),
            Warns("is not in"),
        ),
        (
            "overlay rows as UL",
            element(0x6000, 0x0010, "UL", &[1, 0, 0, 0]),
            Refuses(wrong),
            Refuses(wrong),
        ),
        (
            "US or SS as SS",
            element(0x0028, 0x0106, "SS", &[1, 0]),
            Passes,
            Passes,
        ),
        (
            "US or SS as SL",
            element(0x0028, 0x0106, "SL", &[1, 0, 0, 0]),
            Refuses(wrong),
            Refuses(wrong),
        ),
        (
            "CS as SH",
            element(0x0008, 0x0060, "SH", b"CT"),
            Warns(other),
            Refuses(other),
        ),
        (
            "CS as US",
            element(0x0008, 0x0060, "US", b"CT"),
            Refuses(wrong),
            Refuses(wrong),
        ),
        (
            "CS as UN",
            element(0x0008, 0x0060, "UN", b"CT"),
            Warns(is_un),
            Warns(is_un),
        ),
        (
            "SQ as UN",
            element(0x0008, 0x1140, "UN", &inner),
            Warns(is_un),
            Warns(is_un),
        ),
        (
            "SQ as UN, something else in it",
            element(0x0008, 0x1140, "UN", b"anything"),
            Refuses("stands where an item must"),
            Refuses("stands where an item must"),
        ),
        (
            "SQ as UN, explicit inside",
            element(0x0008, 0x1140, "UN", &item(false, &uid())),
            Refuses("is of odd length"),
            Refuses("is of odd length"),
        ),
        (
            "SQ as UN of undefined length",
            [
                header(0x0008, 0x1140, "UN", UNDEFINED),
                inner.clone(),
                delimiter(0xe0dd, 0),
            ]
            .concat(),
            Warns(is_un),
            Warns(is_un),
        ),
        (
            "text as UN of undefined length",
            [
                header(0x0008, 0x0060, "UN", UNDEFINED),
                inner.clone(),
                delimiter(0xe0dd, 0),
            ]
            .concat(),
            Refuses("has undefined length"),
            Refuses("has undefined length"),
        ),
        (
            "unknown as UN of undefined length",
            [
                header(0x0008, 0x0003, "UN", UNDEFINED),
                inner.clone(),
                delimiter(0xe0dd, 0),
            ]
            .concat(),
            Warns("is not in the data dictionary"),
            Warns("is not in the data dictionary"),
        ),
    ]);
    // Inside of UN it is little endian wherever it stands (PS3.5 6.2.2).
    let big = |content: &[u8]| {
        let start = [&[0, 8, 0x11, 0x40][..], b"UN\0\0\xff\xff\xff\xff"].concat();
        [start, content.to_vec()].concat()
    };
    let end = delimiter(0xe0dd, 0);
    let turned = vec![0xff, 0xfe, 0xe0, 0xdd, 0, 0, 0, 0];
    table(
        TransferSyntax::ExplicitBig,
        vec![
            (
                "little",
                big(&[&inner[..], &end].concat()),
                Warns(is_un),
                Warns(is_un),
            ),
            (
                "big",
                big(&[&inner[..], &turned].concat()),
                Refuses("where an item must"),
                Refuses("where an item must"),
            ),
        ],
    );
}

#[test]
fn private_blocks() {
    let creator = |block: u16| element(0x0009, block, "LO", b"CANARY");
    let private = |number: u16| element(0x0009, number, "SH", b"AB");
    let later = || element(0x0029, 0x1001, "SH", b"AB");
    let nobody = "is private, but has no private creator";
    let nameless = "is a private creator without a name";
    let set = |parts: &[Vec<u8>]| parts.concat();
    let in_item = |open: bool, parts: &[Vec<u8>]| sequence(open, &item(open, &parts.concat()));
    let all: Vec<u8> = (0x10..=0xff)
        .flat_map(creator)
        .chain(private(0xff00))
        .collect();
    explicit(vec![
        (
            "reserved",
            set(&[creator(0x10), private(0x1001)]),
            Passes,
            Passes,
        ),
        (
            "not reserved",
            set(&[creator(0x10), private(0x1101)]),
            Warns(nobody),
            Refuses(nobody),
        ),
        (
            "two blocks",
            set(&[
                creator(0x10),
                creator(0x11),
                private(0x1001),
                private(0x1101),
            ]),
            Passes,
            Passes,
        ),
        ("all blocks", all, Passes, Passes),
        (
            "another group's creator",
            set(&[creator(0x10), later()]),
            Warns(nobody),
            Refuses(nobody),
        ),
        (
            "in an item",
            in_item(false, &[creator(0x10), private(0x1001)]),
            Passes,
            Passes,
        ),
        (
            "the creator outside",
            [in_item(true, &[private(0x1001)]), creator(0x10)].concat(),
            Warns(nobody),
            Refuses(nobody),
        ),
        (
            "the creator in an item",
            [in_item(true, &[creator(0x10)]), private(0x1001)].concat(),
            Warns(nobody),
            Refuses(nobody),
        ),
        (
            "around a private sequence",
            set(&[
                creator(0x10),
                element(
                    0x0009,
                    0x1001,
                    "SQ",
                    &item(true, &set(&[creator(0x20), private(0x2001)])),
                ),
                private(0x1002),
            ]),
            Passes,
            Passes,
        ),
        (
            "behind a private sequence, with its creator",
            set(&[
                creator(0x10),
                element(
                    0x0009,
                    0x1001,
                    "SQ",
                    &item(true, &set(&[creator(0x20), private(0x2001)])),
                ),
                private(0x2002),
            ]),
            Warns(nobody),
            Refuses(nobody),
        ),
        (
            "a creator of spaces",
            set(&[element(0x0009, 0x0010, "LO", b"  "), private(0x1001)]),
            Warns(nameless),
            Refuses(nameless),
        ),
        (
            "an empty creator",
            element(0x0009, 0x0010, "LO", b""),
            Warns(nameless),
            Refuses(nameless),
        ),
        (
            "a creator that is a number",
            element(0x0009, 0x0010, "US", &[1, 0]),
            Refuses("cannot have"),
            Refuses("cannot have"),
        ),
        (
            "below the creators",
            private(0x0001),
            Warns("that can be"),
            Refuses("that can be"),
        ),
        (
            "between creators and blocks",
            private(0x0100),
            Warns("that can be"),
            Refuses("that can be"),
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
