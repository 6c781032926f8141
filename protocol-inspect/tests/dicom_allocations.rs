//! What a data set costs in allocations does not depend on how many elements it has.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::sync::Arc;

use protocol_inspect::dicom::{Brief, Content, Policy, Profile, Rule, TransferSyntax, Walker};

#[test]
fn elements_allocate_nothing() {
    let policy = Policy {
        rules: vec![Rule {
            profiles: vec![Profile::standard()],
            ..Rule::default()
        }],
        ..Policy::default()
    };
    let brief = Brief {
        content: Content::Instance(None),
        policy: Arc::new(policy),
        rule: Some(0),
    };
    // Chunks that values and headers straddle, and chunks that hold many of them.
    for chunk in [61, 4_096] {
        let count = |items: usize| {
            let bytes = report(items);
            let measured = allocation_counter::measure(|| {
                let mut walker = Walker::new(TransferSyntax::ExplicitLittle, &brief);
                for part in bytes.chunks(chunk) {
                    walker.feed(part).unwrap();
                }
                walker.finish().unwrap();
                assert_eq!(walker.elements(), 2 + 8 * items);
            });
            measured.count_total
        };
        let (few, many) = (count(20), count(2_000));
        assert!(few < 100, "{chunk}: {few} allocations");
        assert!(many <= few + 4, "{chunk}: {few} and {many} allocations");
    }
}

/// Items with a private block, a code in a sequence, and text that is longer than what is kept.
fn report(items: usize) -> Vec<u8> {
    let inner = [
        element(0x0008, 0x0100, b"SH", b"112039"),
        element(0x0008, 0x0104, b"LO", b"Tracking"),
    ];
    let code = item(&inner.concat());
    let content = [
        sequence(0x0008, 0x2218, &code),
        element(0x0029, 0x0010, b"LO", b"CANARY"),
        element(0x0029, 0x1001, b"SH", b"AB"),
    ];
    let content = [content.concat(), text()].concat();
    let all = item(&content).repeat(items);
    [
        element(0x0008, 0x0060, b"CS", b"SR"),
        sequence(0x0040, 0xa730, &all),
    ]
    .concat()
}

fn text() -> Vec<u8> {
    let mut out = [0x40, 0, 0x60, 0xa1].to_vec();
    out.extend(b"UT\0\0");
    out.extend(2_000_u32.to_le_bytes());
    out.extend([b'x'; 2_000]);
    out
}

fn element(group: u16, element: u16, vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap();
    let mut out = [group.to_le_bytes(), element.to_le_bytes()].concat();
    out.extend(vr);
    out.extend(length.to_le_bytes());
    out.extend(value);
    out
}

fn sequence(group: u16, element: u16, items: &[u8]) -> Vec<u8> {
    let length = u32::try_from(items.len()).unwrap();
    let mut out = [group.to_le_bytes(), element.to_le_bytes()].concat();
    out.extend(b"SQ\0\0");
    out.extend(length.to_le_bytes());
    out.extend(items);
    out
}

fn item(content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap();
    let head = [&[0xfe, 0xff, 0, 0xe0][..], &length.to_le_bytes()];
    [&head.concat(), content].concat()
}
