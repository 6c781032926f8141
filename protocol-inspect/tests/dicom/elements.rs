//! Elements against the dictionary and private blocks (PS3.5 6.2, 7.8; PS3.6), each refusal beside what passes.

use protocol_inspect::dicom::TransferSyntax;

use super::build::{delimiter, element, header, ui};
use super::walk::Says::{Passes, Refuses, Warns};
use super::walk::{UNDEFINED, explicit, item, length_of, sequence, table, uid};

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
            Warns(nobody),
            Refuses(nobody),
        ),
        (
            "between creators and blocks",
            private(0x0100),
            Warns(nobody),
            Refuses(nobody),
        ),
    ]);
}
