//! PDUs: what is let in and what is not.

use protocol_inspect::Base;
use protocol_inspect::dicom::Pdu;

use super::build::{CT, EXPLICIT, IMPLICIT, VERIFICATION};
use super::build::{Rq, ac, context, counted, item, p_data, pdu, read, role, user};

/// Name and bytes of each case.
type Cases = Vec<(&'static str, Vec<u8>)>;

#[test]
fn headers_and_control_pdus() {
    let header = |kind: u8, len: u32| [&[kind, 0][..], &len.to_be_bytes()].concat();
    insta::assert_snapshot!(table(vec![
        ("A-RELEASE-RQ", pdu(5, &[0; 4])),
        ("A-RELEASE-RQ of 5", header(5, 5)),
        ("A-RELEASE-RP", pdu(6, &[0; 4])),
        ("A-ABORT", pdu(7, &[0, 0, 2, 6])),
        ("A-ABORT of 0", header(7, 0)),
        ("A-ASSOCIATE-RJ", pdu(3, &[0, 1, 1, 7])),
        ("A-ASSOCIATE-RJ with result 3", pdu(3, &[0, 3, 1, 7])),
        ("type 0", vec![0]),
        ("type 8", vec![8]),
        ("TLS", b"\x16\x03\x01\x00\xa5".to_vec()),
        ("HTTP", b"GET / HTTP/1.1\r\n".to_vec()),
        ("A-ASSOCIATE-RQ of 0", header(1, 0)),
        ("A-ASSOCIATE-RQ of 1", header(1, 1)),
        ("A-ASSOCIATE-RQ of 0xFFFFFFFF", header(1, u32::MAX)),
        ("P-DATA-TF of 0", header(4, 0)),
        ("P-DATA-TF of 1", header(4, 1)),
        ("P-DATA-TF of 0xFFFFFFFF", header(4, u32::MAX)),
        (
            "P-DATA-TF, the longest",
            [header(4, 128 << 10), vec![]].concat()
        ),
        ("P-DATA-TF, one longer", header(4, (128 << 10) + 1)),
        ("P-DATA-TF", p_data(1, true, true, &[1, 2])),
        ("P-DATA-TF, one byte", p_data(1, false, false, &[1])),
        ("P-DATA-TF, no byte", p_data(1, false, true, &[])),
        ("P-DATA-TF, even context", p_data(2, true, true, &[1, 2])),
        ("P-DATA-TF, bit 2", pdu(4, &[0, 0, 0, 3, 1, 4, 9])),
        ("P-DATA-TF, PDV of 1", pdu(4, &[0, 0, 0, 1, 1, 0, 0])),
        (
            "P-DATA-TF, PDV longer than PDU",
            pdu(4, &[0, 0, 0, 4, 1, 2, 9])
        ),
        ("P-DATA-TF, leftover", pdu(4, &[0, 0, 0, 3, 1, 2, 9, 0])),
    ]));
}

#[test]
fn association_requests() {
    let usual = Rq::usual();
    let with = |change: &dyn Fn(&mut Rq)| {
        let mut rq = usual.clone();
        change(&mut rq);
        rq.bytes()
    };
    let contexts = |contexts: Vec<Vec<u8>>| {
        with(&|rq| {
            let user = rq.items.pop().unwrap();
            rq.items.truncate(1);
            rq.items.extend(contexts.clone());
            rq.items.push(user);
        })
    };
    let many: Vec<_> = (0..128)
        .map(|n| context(2 * n + 1, &[CT], &[IMPLICIT]))
        .collect();
    insta::assert_snapshot!(table(vec![
        ("usual", usual.bytes()),
        ("called AE blank", with(&|rq| rq.called = [b' '; 16])),
        (
            "calling AE with backslash",
            with(&|rq| rq.calling[1] = b'\\')
        ),
        ("calling AE with NUL", with(&|rq| rq.calling[15] = 0)),
        ("calling AE with escape", with(&|rq| rq.calling[1] = 0x1b)),
        (
            "no application context",
            with(&|rq| drop(rq.items.remove(0)))
        ),
        (
            "two application contexts",
            with(&|rq| rq.items.insert(0, rq.items[0].clone()))
        ),
        ("no user information", with(&|rq| drop(rq.items.pop()))),
        (
            "two user informations",
            with(&|rq| rq.items.push(item(0x50, &user(&[]))))
        ),
        (
            "an item that nobody knows",
            with(&|rq| rq.items.push(item(0x77, &[1])))
        ),
        (
            "an item of the answer",
            with(&|rq| rq.items.push(item(0x21, &[1, 0, 0, 0])))
        ),
        (
            "item longer than the PDU",
            with(&|rq| rq.items.push(vec![0x77, 0, 0, 9, 1]))
        ),
        ("a byte left over", with(&|rq| rq.items.push(vec![0]))),
        ("no context", contexts(vec![])),
        ("128 contexts", contexts(many)),
        (
            "even context id",
            contexts(vec![context(2, &[CT], &[IMPLICIT])])
        ),
        (
            "context id 0",
            contexts(vec![context(0, &[CT], &[IMPLICIT])])
        ),
        (
            "context id 255",
            contexts(vec![context(255, &[CT], &[IMPLICIT])])
        ),
        (
            "context id twice",
            contexts(vec![context(1, &[CT], &[IMPLICIT]); 2])
        ),
        (
            "no abstract syntax",
            contexts(vec![context(1, &[], &[IMPLICIT])])
        ),
        (
            "two abstract syntaxes",
            contexts(vec![context(1, &[CT, CT], &[IMPLICIT])])
        ),
        ("no transfer syntax", contexts(vec![context(1, &[CT], &[])])),
        (
            "transfer syntax twice",
            contexts(vec![context(1, &[CT], &[IMPLICIT, IMPLICIT])])
        ),
        (
            "UID with a letter",
            contexts(vec![context(1, &["1.2.x"], &[IMPLICIT])])
        ),
        (
            "UID with leading zero",
            contexts(vec![context(1, &["1.02"], &[IMPLICIT])])
        ),
        (
            "UID with NUL",
            contexts(vec![context(1, &["1.2\0"], &[IMPLICIT])])
        ),
        (
            "UID of 65",
            contexts(vec![context(1, &[&"1".repeat(65)], &[IMPLICIT])])
        ),
        (
            "UID of 64",
            contexts(vec![context(1, &[&"1".repeat(64)], &[IMPLICIT])])
        ),
        ("UID empty", contexts(vec![context(1, &[""], &[IMPLICIT])])),
    ]));
}

#[test]
fn user_information() {
    let with = |more: &[Vec<u8>]| Rq::usual().user(&user(more)).bytes();
    let bare = |content: Vec<u8>| Rq::usual().user(&content).bytes();
    let length = || item(0x51, &[0, 0, 64, 0]);
    let class = || item(0x52, b"1.2.3");
    let identity = |kind: u8, response: u8, primary: &[u8], secondary: &[u8]| {
        let head = vec![kind, response];
        item(0x58, &[head, counted(primary), counted(secondary)].concat())
    };
    let common = [
        counted(CT.as_bytes()),
        counted(b"1.2.840.10008.4.2"),
        counted(&counted(b"1.2")),
    ];
    insta::assert_snapshot!(table(vec![
        ("usual", with(&[])),
        ("no maximum length", bare(class())),
        (
            "two maximum lengths",
            bare([length(), length(), class()].concat())
        ),
        (
            "maximum length of 3 bytes",
            bare([item(0x51, &[0, 0, 1]), class()].concat())
        ),
        (
            "maximum length of 5 bytes",
            bare([item(0x51, &[0; 5]), class()].concat())
        ),
        ("no implementation class", bare(length())),
        ("two implementation classes", with(&[class()])),
        ("version name", with(&[item(0x55, b"V1")])),
        ("version name of 17", with(&[item(0x55, &[b'V'; 17])])),
        ("version name with escape", with(&[item(0x55, b"V\x1b[2J")])),
        ("window", with(&[item(0x53, &[0, 5, 0, 5])])),
        ("window of 3 bytes", with(&[item(0x53, &[0, 5, 0])])),
        ("role", with(&[role(CT, 1, 1)])),
        ("role twice", with(&[role(CT, 1, 1), role(CT, 1, 0)])),
        ("role 2", with(&[role(CT, 2, 0)])),
        (
            "role with a byte left over",
            with(&[item(0x54, &[&counted(b"1.2")[..], &[1, 0, 0]].concat())])
        ),
        (
            "extended",
            with(&[item(0x56, &[counted(CT.as_bytes()), vec![1; 6]].concat())])
        ),
        (
            "extended with a UID too long",
            with(&[item(0x56, &[0, 9, b'1'])])
        ),
        ("common extended", with(&[item(0x57, &common.concat())])),
        (
            "common extended, cut",
            with(&[item(0x57, &common[..2].concat())])
        ),
        ("user name", with(&[identity(1, 0, b"jane", b"")])),
        (
            "user name and passcode",
            with(&[identity(2, 1, b"jane", b"secret")])
        ),
        (
            "user name with a secondary field",
            with(&[identity(1, 0, b"jane", b"secret")])
        ),
        ("identity of type 0", with(&[identity(0, 0, b"jane", b"")])),
        ("identity of type 6", with(&[identity(6, 0, b"jane", b"")])),
        (
            "identity twice",
            with(&[identity(1, 0, b"a", b""), identity(1, 0, b"b", b"")])
        ),
        ("identity of an answer", with(&[item(0x59, &counted(b"x"))])),
        ("an item that nobody knows", with(&[item(0x5f, &[1, 2, 3])])),
    ]));
}

#[test]
fn association_answers() {
    let one = |result, syntax| ac(&[(1, result, syntax)], &[]);
    insta::assert_snapshot!(table(vec![
        ("accepted", one(0, IMPLICIT)),
        ("refused", one(3, IMPLICIT)),
        ("refused without a transfer syntax", one(3, "")),
        ("accepted without a transfer syntax", one(0, "")),
        ("result 5", one(5, IMPLICIT)),
        ("twice", ac(&[(1, 0, IMPLICIT), (1, 0, EXPLICIT)], &[])),
        ("even", ac(&[(2, 0, IMPLICIT)], &[])),
        (
            "roles",
            ac(&[(1, 0, IMPLICIT)], &[role(VERIFICATION, 1, 0)])
        ),
        (
            "identity of a request",
            ac(&[], &[item(0x58, &[1, 0, 0, 1, b'x', 0, 0])])
        ),
        ("identity", ac(&[], &[item(0x59, &counted(b"x"))])),
    ]));
}

#[test]
fn strict_refuses_what_standard_only_warns_about() {
    let nul = Rq::new(&[(1, "1.2\0", &[IMPLICIT])]).bytes();
    let twice = Rq::new(&[(1, CT, &[IMPLICIT, IMPLICIT])]).bytes();
    for bytes in [nul, twice] {
        let Ok(Pdu::AssociateRq(rq)) = read(&bytes, Base::Standard).remove(0) else {
            panic!("refused");
        };
        assert_eq!(rq.warnings().len(), 1);
        assert!(read(&bytes, Base::Strict).remove(0).is_err());
    }
}

#[test]
fn nothing_is_read_after_a_violation() {
    let bytes = [pdu(9, &[]), Rq::usual().bytes()].concat();
    assert_eq!(read(&bytes, Base::Standard).len(), 1);
}

#[test]
fn passwords_are_not_shown() {
    let identity = item(
        0x58,
        &[&[2, 0][..], &counted(b"jane"), &counted(b"CANARY")].concat(),
    );
    let rq = Rq::usual().user(&user(&[identity])).parsed();
    let shown = format!("{rq:?}");
    let bytes = format!("{:?}", b"CANARY");
    assert!(!shown.contains("CANARY") && !shown.contains(&bytes[1..bytes.len() - 1]));
}

/// What the standard profile says of each case.
fn table(cases: Cases) -> String {
    let mut table = String::new();
    for (name, bytes) in cases {
        let verdict = match read(&bytes, Base::Standard).pop() {
            None => "waits".to_owned(),
            Some(Ok(pdu)) => format!("accepts {}{}", pdu.kind().name(), warned(&pdu)),
            Some(Err(violation)) => format!("refuses {violation}"),
        };
        table.push_str(&format!("{name}: {verdict}\n"));
    }
    table
}

fn warned(pdu: &Pdu) -> String {
    let warnings = match pdu {
        Pdu::AssociateRq(rq) => rq.warnings(),
        Pdu::AssociateAc(ac) => ac.warnings(),
        Pdu::AssociateRj(_) | Pdu::PData(_) | Pdu::ReleaseRq | Pdu::ReleaseRp | Pdu::Abort(_) => {
            &[]
        }
    };
    warnings
        .iter()
        .map(|w| format!(" (warns: {} {})", w.location, w.detail))
        .collect()
}
