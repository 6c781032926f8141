//! Attacks on the encoding of data sets: order, lengths, nesting, value representations.

use e2e::modality::{DataSet, element, header, mark, text, ui, us};
use e2e::{Lab, memory};

use super::{Ward, image, images_refused};

fn behind(more: Vec<u8>) -> Vec<u8> {
    [image().bytes(), more].concat()
}

/// What both reference archives take for a data set.
#[test]
fn elements_out_of_place() {
    let part_10 = {
        let mut file = vec![0; 128];
        file.extend(b"DICM");
        file.extend(element(0x0002_0010, "UI", &ui("1.2.840.10008.1.2.1")));
        [file, image().bytes()].concat()
    };
    Lab::run(|lab| {
        let ward = Ward::open(lab);
        images_refused(
            &ward,
            vec![
                (
                    "an element of group 0000",
                    [element(0x0000_0002, "UI", &ui("1.2")), image().bytes()].concat(),
                    "status C000",
                ),
                (
                    "an element of group 0002",
                    [element(0x0002_0010, "UI", &ui("1.2")), image().bytes()].concat(),
                    "status C000",
                ),
                ("a whole Part 10 file", part_10, "status C000"),
                (
                    "out of order",
                    behind(element(0x0010_0010, "PN", &text("AGAIN^ME"))),
                    "status C000",
                ),
                (
                    "twice",
                    behind(element(0x7fe0_0010, "OB", &[0; 64])),
                    "status C000",
                ),
                (
                    "of odd length",
                    behind(element(0x7fe1_0010, "LO", b"ODD")),
                    "status C000",
                ),
                (
                    "an unknown value representation",
                    image().with(0x0010_0010, "ZZ", text("A")).bytes(),
                    "status C000",
                ),
                (
                    "a delimiter that ends nothing",
                    behind(mark(0xe00d, 0)),
                    "status C000",
                ),
                (
                    "an item outside of a sequence",
                    behind(mark(0xe000, 0)),
                    "status C000",
                ),
                (
                    "bytes behind the last element",
                    behind(vec![0; 3]),
                    "status C000",
                ),
                ("nothing but zeros", vec![0; 400], "status C000"),
            ],
        );
    });
}

/// A number where a string must be: readers that trust the tag read beyond (rows as UL, a name as SQ).
#[test]
fn attack_06_wrong_value_representations_and_geometry() {
    Lab::run(|lab| {
        let ward = Ward::open(lab);
        let image = image();
        images_refused(
            &ward,
            vec![
                (
                    "rows as UL",
                    image
                        .clone()
                        .with(0x0028_0010, "UL", vec![8, 0, 0, 0])
                        .bytes(),
                    "status C000",
                ),
                (
                    "columns as text",
                    image.clone().with(0x0028_0011, "LO", text("8")).bytes(),
                    "status C000",
                ),
                (
                    "a name as a sequence",
                    image.clone().with(0x0010_0010, "SQ", Vec::new()).bytes(),
                    "status C000",
                ),
                (
                    "rows of 65535",
                    image.clone().with(0x0028_0010, "US", us(0xffff)).bytes(),
                    "status C000",
                ),
                (
                    "one pixel too few",
                    image.clone().with(0x7fe0_0010, "OB", vec![0; 62]).bytes(),
                    "status C000",
                ),
                (
                    "two pixels too many",
                    image.clone().with(0x7fe0_0010, "OB", vec![0; 66]).bytes(),
                    "status C000",
                ),
                (
                    "frames that overflow",
                    image
                        .clone()
                        .with(0x0028_0008, "IS", text("4294967297"))
                        .bytes(),
                    "status C000",
                ),
                (
                    "a palette longer than it says",
                    image
                        .with(0x0028_0004, "CS", text("PALETTE COLOR"))
                        .with(0x0028_1101, "US", [us(4), us(0), us(16)].concat())
                        .with(0x0028_1102, "US", [us(4), us(0), us(16)].concat())
                        .with(0x0028_1103, "US", [us(4), us(0), us(16)].concat())
                        .with(0x0028_1201, "OW", vec![0; 800])
                        .with(0x0028_1202, "OW", vec![0; 8])
                        .with(0x0028_1203, "OW", vec![0; 8])
                        .bytes(),
                    "status C000",
                ),
            ],
        );
    });
}

/// Values that promise more than comes: nothing is allocated for them.
//= C7
#[test]
fn attack_07_value_length_bombs() {
    Lab::run(|lab| {
        let ward = Ward::open(lab);
        let relay = ward.gateway.workers()["relay-dicom"];
        let (before, _) = memory(relay);
        let claims = |length: u32| {
            let head = image().without(0x7fe0_0010).bytes();
            [head, header(0x7fe0_0010, "OB", length), vec![0; 64]].concat()
        };
        let item = |length: u32| {
            let head = header(0x0040_a730, "SQ", 0xffff_ffff);
            [
                image().without(0x7fe0_0010).bytes(),
                head,
                mark(0xe000, length),
            ]
            .concat()
        };
        images_refused(
            &ward,
            vec![
                ("pixels of 2 GiB", claims(0x7fff_fffe), "status C000"),
                ("pixels of 4 GiB", claims(0xffff_fffe), "status A700"),
                (
                    "encapsulated in a native syntax",
                    claims(0xffff_ffff),
                    "status C000",
                ),
                ("an item of 2 GiB", item(0x7fff_fffe), "status C000"),
                (
                    "an item that is never ended",
                    item(0xffff_ffff),
                    "status C000",
                ),
                (
                    "cut in a value",
                    {
                        let mut bytes = image().bytes();
                        bytes.truncate(bytes.len() - 6);
                        bytes
                    },
                    "status C000",
                ),
                (
                    "cut in a header",
                    {
                        let mut bytes = image().bytes();
                        bytes.truncate(3);
                        bytes
                    },
                    "status C000",
                ),
            ],
        );
        let (_, most) = memory(relay);
        assert!(
            most < before + (32 << 10),
            "grew from {before} to {most} KiB"
        );
    });
}

/// Sequences inside of sequences: they overflow the stack of whoever reads them by recursion.
//= C7
#[test]
fn attack_09_nesting_bombs() {
    let nested = |depth: usize, closed: bool| {
        let open = [
            header(0x0040_a730, "SQ", 0xffff_ffff),
            mark(0xe000, 0xffff_ffff),
        ]
        .concat();
        let close = [mark(0xe00d, 0), mark(0xe0dd, 0)].concat();
        let close = if closed {
            close.repeat(depth)
        } else {
            Vec::new()
        };
        let middle = [open.repeat(depth), close].concat();
        let pixels = element(0x7fe0_0010, "OB", &(0..64).collect::<Vec<u8>>());
        [image().without(0x7fe0_0010).bytes(), middle, pixels].concat()
    };
    Lab::run(|lab| {
        let ward = Ward::open(lab);
        let relay = ward.gateway.workers()["relay-dicom"];
        images_refused(
            &ward,
            vec![
                (
                    "a hundred thousand deep",
                    nested(100_000, true),
                    "status A700",
                ),
                (
                    "two hundred thousand, never closed",
                    nested(200_000, false),
                    "status A700",
                ),
                ("one deeper than the limit", nested(65, true), "status A700"),
            ],
        );
        // As deep as the limit is legal.
        let mut modality = ward.associated();
        let instance = super::instance(2);
        let deep = nested(64, true);
        let first = DataSet::image(&super::instance(1)).bytes();
        let own = DataSet::image(&instance).bytes();
        assert_eq!(first.len(), own.len());
        let mut bytes = deep;
        bytes[..own.len() - 76].copy_from_slice(&own[..own.len() - 76]);
        let set = e2e::modality::command(&e2e::modality::store(2, e2e::modality::US, &instance));
        assert_eq!(modality.ask(&set, Some(&bytes)), "status 0000");
        assert_eq!(
            ward.gateway.workers()["relay-dicom"],
            relay,
            "the relay died"
        );
    });
}
