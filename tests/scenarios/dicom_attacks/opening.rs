//! Attacks in the request for an association.

use e2e::modality::{
    EXPLICIT, IMPLICIT, Request, US, VERIFICATION, context, item, pdu, title, user,
};
use e2e::{Lab, PACS, Place, Watch, wait};

use super::{Ward, broken};

/// The usual request with another item in the place of this one.
fn other(place: usize, item: Vec<u8>) -> Vec<u8> {
    let mut request = Request::usual();
    request.items[place] = item;
    request.bytes()
}

/// The usual request with another item more.
fn more(item: Vec<u8>) -> Vec<u8> {
    let mut request = Request::usual();
    request.items.push(item);
    request.bytes()
}

fn without(place: usize) -> Vec<u8> {
    let mut request = Request::usual();
    request.items.remove(place);
    request.bytes()
}

/// What a library that is called strict lets in: contexts, syntaxes and user information of every wrong kind.
#[test]
#[expect(clippy::too_many_lines, reason = "a table of attacks")]
fn malformed_openings() {
    const END: &[&str] = &["ABORT 2/6", "close"];
    let bare = |sub_items: &[Vec<u8>]| item(0x50, &sub_items.concat());
    let length = || item(0x51, &16_384_u32.to_be_bytes());
    let class = || item(0x52, b"1.2.826.0.1.3680043.10.5200.9");
    let role = |scu, scp| {
        let uid = US.as_bytes();
        let long = u16::try_from(uid.len()).unwrap().to_be_bytes();
        user(&[item(0x54, &[&long[..], uid, &[scu, scp]].concat())])
    };
    let two_classes = {
        let both = [
            item(0x30, US.as_bytes()),
            item(0x30, VERIFICATION.as_bytes()),
        ]
        .concat();
        let syntax = item(0x40, EXPLICIT.as_bytes());
        item(0x20, &[&[1, 0, 0, 0], &both[..], &syntax].concat())
    };
    let no_class = item(
        0x20,
        &[&[1, 0, 0, 0], &item(0x40, EXPLICIT.as_bytes())[..]].concat(),
    );
    let mut cut = Request::usual().bytes();
    cut.truncate(cut.len() - 3);
    let length_of_cut = u32::try_from(cut.len() - 6).unwrap().to_be_bytes();
    cut[2..6].copy_from_slice(&length_of_cut);
    let attacks: Vec<(&str, Vec<u8>, &[&str])> = vec![
        (
            "an even context id",
            other(1, context(2, US, &[EXPLICIT])),
            END,
        ),
        ("context id 0", other(1, context(0, US, &[EXPLICIT])), END),
        (
            "a context id twice",
            other(1, context(3, US, &[EXPLICIT])),
            END,
        ),
        ("no abstract syntax", other(1, no_class), END),
        ("two abstract syntaxes", other(1, two_classes), END),
        ("no transfer syntax", other(1, context(1, US, &[])), END),
        (
            "a UID with a letter",
            other(1, context(1, "1.2.84O.1", &[EXPLICIT])),
            END,
        ),
        (
            "a UID with an empty component",
            other(1, context(1, "1..2", &[EXPLICIT])),
            END,
        ),
        (
            "a UID of 65",
            other(1, context(1, &"1.2345678".repeat(8)[..65], &[EXPLICIT])),
            END,
        ),
        ("no application context", without(0), END),
        (
            "two application contexts",
            more(item(0x10, b"1.2.840.10008.3.1.1.1")),
            END,
        ),
        ("no presentation context", Request::new(&[]).bytes(), END),
        ("no user information", without(3), END),
        ("two user informations", more(user(&[])), END),
        ("no maximum length", other(3, bare(&[class()])), END),
        (
            "two maximum lengths",
            other(3, bare(&[length(), length(), class()])),
            END,
        ),
        (
            "a maximum length of 3 bytes",
            other(3, bare(&[item(0x51, &[0, 64, 0]), class()])),
            END,
        ),
        ("no implementation class", other(3, bare(&[length()])), END),
        ("a role that is 7", other(3, role(7, 0)), END),
        (
            "a role item that is cut",
            other(3, user(&[item(0x54, &[0, 30, b'1'])])),
            END,
        ),
        (
            "an asynchronous window of 3 bytes",
            other(3, user(&[item(0x53, &[0, 1, 0])])),
            END,
        ),
        (
            "a user identity of no type",
            other(3, user(&[item(0x58, &[9, 0, 0, 1, b'x', 0, 0])])),
            END,
        ),
        (
            "an answer's item in a request",
            more(item(0x21, &[5, 0, 0, 0])),
            END,
        ),
        ("an item longer than the request", cut, END),
    ];
    let other_context = other(0, item(0x10, b"1.2.840.10008.3.1.1.2"));
    let version = {
        let mut bytes = Request::usual().bytes();
        bytes[6..8].copy_from_slice(&[0, 2]);
        bytes
    };
    Lab::run(|lab| {
        let ward = Ward::open(lab);
        broken(&ward, &attacks);
        broken(
            &ward,
            &[
                ("another application context", other_context, &["RJ 1/1/2"]),
                ("another protocol version", version, &["RJ 1/2/2"]),
                ("a PDU of length 0", pdu(1, &[]), END),
            ],
        );
        // What the standard has receivers ignore is no attack: reserved fields, unknown items.
        let mut reserved = Request::usual().bytes();
        reserved[1] = 0xff;
        reserved[8..10].copy_from_slice(&[0xff, 0xff]);
        for (what, bytes) in [
            ("reserved fields", reserved),
            ("an unknown item", more(item(0x77, b"?"))),
            (
                "both implicit and explicit",
                other(1, context(1, US, &[IMPLICIT, EXPLICIT])),
            ),
        ] {
            let mut modality = ward.dial();
            modality.send(&bytes).unwrap();
            assert_eq!(modality.hears(), "AC 0 0", "{what}");
        }
        ward.stores(&mut ward.associated(), 0);
    });
}

/// AE titles that are not the device's, not the archive's, or no titles at all: worklist servers use them as paths.
#[test]
fn attack_12_ae_title_spoofing() {
    let by = |calling: &[u8], called: &[u8]| {
        let mut request = Request::usual();
        request.calling = calling.to_vec();
        request.called = called.to_vec();
        request.bytes()
    };
    let (own, archive) = (title("US07"), title("PACS1"));
    Lab::run(|lab| {
        let ward = Ward::open(lab);
        broken(
            &ward,
            &[
                (
                    "another device's title",
                    by(&title("CT01"), &archive),
                    &["RJ 1/1/3"],
                ),
                (
                    "the archive's own title",
                    by(&title("PACS1"), &archive),
                    &["RJ 1/1/3"],
                ),
                (
                    "in small letters",
                    by(&title("us07"), &archive),
                    &["RJ 1/1/3"],
                ),
                ("another archive", by(&own, &title("PACS2")), &["RJ 1/1/7"]),
                ("blank", by(&[b' '; 16], &archive), &["ABORT 2/6", "close"]),
                (
                    "a path",
                    by(&own, &title("..\\..\\WL")),
                    &["ABORT 2/6", "close"],
                ),
                (
                    "a line feed",
                    by(&title("US07\nFAKE"), &archive),
                    &["ABORT 2/6", "close"],
                ),
                (
                    "bytes",
                    by(b"US07\xff\xfe          ", &archive),
                    &["ABORT 2/6", "close"],
                ),
            ],
        );
        // Spaces around a title mean nothing.
        let mut modality = ward.dial();
        modality.send(&by(b"  US07          ", &archive)).unwrap();
        assert_eq!(modality.hears(), "AC 0 0");
        ward.stores(&mut modality, 0);
    });
}

/// More associations than the rule allows, and more contexts than the standard: the others are served.
//= C7
#[test]
fn attack_04_association_flood() {
    Lab::run(|lab| {
        let ward = Ward::open_with(lab, |site| {
            let rule = "[rule.us-images]\n";
            site.replace(rule, &format!("{rule}limit = {{ connections = 4 }}\n"));
        });
        let mut held: Vec<_> = (0..4).map(|_| ward.associated()).collect();
        let watch = Watch::start(lab, Place::Hospital, "eth0");
        for _ in 0..40 {
            let said = ward.try_to_associate().1;
            assert!(["close", "RJ 2/3/2"].contains(&said.as_str()), "{said}");
        }
        assert_eq!(watch.stop().packets_to(PACS), 0);
        // Those that were there go on, and an association that ends makes room.
        ward.stores(&mut held[0], 0);
        drop(held.pop());
        let mut again = wait::until("room for another", wait::SOON, || {
            let (modality, said) = ward.try_to_associate();
            modality.filter(|_| said == "AC 0 0")
        });
        ward.stores(&mut again, 1);
    });
}
