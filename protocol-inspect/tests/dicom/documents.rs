//! Documents inside of data sets, and deflated data sets: each refusal beside its accepted twin.

use std::sync::Arc;

use protocol_inspect::dicom::{Brief, DocumentKind, Policy, Rule, TransferSyntax, Walker};
use protocol_inspect::{Base, Limits, Refusal};

use super::build::{ct, deflated, element, header, text, ui};
use super::data_set::{brief, encoding_alone, walk};
use super::pixels::table;

const PDF: &[u8] = b"%PDF-1.7\n1 0 obj <</Type /Catalog>> endobj\n%%EOF";
const CDA: &[u8] =
    b"<?xml version=\"1.0\"?><ClinicalDocument xmlns=\"urn:hl7-org:v3\"><id/></ClinicalDocument>";

/// A document of the SOP class with this last number.
fn document(class: &str, bytes: &[u8], mime: &str, length: Option<usize>) -> Vec<u8> {
    let class = format!("1.2.840.10008.5.1.4.1.1.104.{class}");
    let mut padded = bytes.to_vec();
    padded.resize(bytes.len().next_multiple_of(2), 0);
    let mut set = vec![
        element(0x0008, 0x0016, "UI", &ui(&class)),
        element(0x0042, 0x0011, "OB", &padded),
        element(0x0042, 0x0012, "LO", &text(mime)),
    ];
    if let Some(length) = length {
        let length = u32::try_from(length).unwrap().to_le_bytes();
        set.push(element(0x0042, 0x0015, "UL", &length));
    }
    set.concat()
}

fn stl(triangles: u32, bytes: usize) -> Vec<u8> {
    let mut stl = vec![0; 80];
    stl.extend(triangles.to_le_bytes());
    stl.resize(bytes, 0);
    stl
}

#[test]
fn encapsulated_documents() {
    let pdf = |bytes: &[u8]| document("1", bytes, "application/pdf", None);
    let cda = |bytes: &[u8]| document("2", bytes, "text/XML", None);
    let long = |middle: &[u8]| [PDF, &[b' '; 5000], middle, b" %%EOF"].concat();
    let archive = |comment: u8| {
        let mut end = b"PK\x05\x06".to_vec();
        end.resize(22, 0);
        end[20] = comment;
        end
    };
    let entity = b"<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY b \"c\">]><ClinicalDocument/>";
    table(
        "documents",
        TransferSyntax::ExplicitLittle,
        &[
            ("PDF", pdf(PDF)),
            (
                "PDF and its length",
                document("1", PDF, "application/pdf", Some(PDF.len())),
            ),
            (
                "PDF and another length",
                document("1", PDF, "application/pdf", Some(PDF.len() - 2)),
            ),
            ("long PDF", pdf(&long(b""))),
            ("long PDF with a script", pdf(&long(b"/J#61vaScript"))),
            (
                "long PDF with an archive behind",
                pdf(&[long(b""), archive(0)].concat()),
            ),
            (
                "long PDF that is longer than an archive",
                pdf(&[long(b""), archive(9)].concat()),
            ),
            (
                "PDF that says it is XML",
                document("1", PDF, "text/XML", None),
            ),
            (
                "PDF that says it is a film",
                document("1", PDF, "video/mp4", None),
            ),
            ("PDF as CDA", document("2", PDF, "application/pdf", None)),
            (
                "PDF of another class",
                element(0x0042, 0x0011, "OB", &PDF[..46]),
            ),
            ("CDA", cda(CDA)),
            ("CDA that does not end", cda(&CDA[..60])),
            ("CDA with entities", cda(entity)),
            ("other XML as CDA", cda(b"<Document/>")),
            ("text as PDF", pdf(b"just some words")),
            ("nothing as PDF", pdf(b"")),
            (
                "web page as PDF",
                pdf(b"<!DOCTYPE html><html><body/></html>"),
            ),
            ("STL", document("3", &stl(2, 184), "model/stl", None)),
            (
                "STL with fewer triangles",
                document("3", &stl(2, 134), "model/stl", None),
            ),
            (
                "program as STL",
                document("3", b"\x7fELF\x02\x01\x01\0", "model/stl", None),
            ),
            (
                "OBJ",
                document("4", b"v 0 0 1\nf 1 1 1\n", "model/obj", None),
            ),
            (
                "bytes as OBJ",
                document("4", &[1, 2, 3, 4], "model/obj", None),
            ),
            (
                "MTL",
                document("5", b"newmtl a\nKd 1 0 0\n", "model/mtl", None),
            ),
        ],
    );
}

#[test]
fn programs_and_archives_anywhere() {
    let private = |vr: &str, bytes: &[u8]| {
        let creator = element(0x0029, 0x0010, "LO", b"ACME");
        [creator, element(0x0029, 0x1001, vr, bytes)].concat()
    };
    let program = |length: usize| {
        let mut bytes = b"MZ\x90\0\x03\0\0\0".to_vec();
        bytes.resize(length, 0);
        bytes
    };
    let numbers = |bytes: &[u8]| {
        let creator = element(0x0029, 0x0010, "LO", b"ACME");
        let length = u32::try_from(bytes.len()).unwrap();
        [&creator, &header(0x0029, 0x1001, "OL", length), bytes].concat()
    };
    // Its own header is behind a megabyte of anything.
    let far_program = || {
        let mut bytes = program(128);
        bytes[60..64].copy_from_slice(&0x0010_0000_u32.to_le_bytes());
        bytes
    };
    let pixels = |start: &[u8]| {
        let mut set = ct();
        let mut bytes = start.to_vec();
        bytes.resize(8, 0);
        set[10] = element(0x7fe0, 0x0010, "OW", &bytes);
        set.concat()
    };
    table(
        "smuggled",
        TransferSyntax::ExplicitLittle,
        &[
            ("program", private("OB", &program(128))),
            ("long program", private("UN", &program(100_000))),
            ("program in numbers", numbers(&program(128))),
            ("program far behind", private("OB", &far_program())),
            ("two letters as pixels", pixels(b"MZ\x90\0")),
            ("twins of letters", private("OB", b"MZ twins")),
            ("archive", private("OB", b"PK\x03\x04\x14\0\0\0")),
            (
                "not quite an archive",
                private("OB", b"PK\x03\x05\x14\0\0\0"),
            ),
            ("gzip", private("UN", b"\x1f\x8b\x08\0\0\0\0\0")),
            ("script as text", private("UT", b"#!/bin/sh\n")),
            ("image", private("OB", b"\x89PNG\r\n\x1a\n")),
            ("PDF", private("OB", &PDF[..46])),
            ("program as pixels", pixels(b"\x7fELF\x02\x01\x01\0")),
            ("script as pixels", pixels(b"#!/bin/s")),
            ("pixels that begin with two letters", pixels(b"#!\xff\xfe")),
        ],
    );
}

#[test]
fn a_rule_lists_what_it_carries() {
    let says = |kinds: &[DocumentKind], bytes: &[u8]| {
        let policy = Policy {
            rules: vec![Rule {
                documents: kinds.to_vec(),
                profiles: vec![encoding_alone(Base::Standard)],
                ..Rule::default()
            }],
            ..Policy::default()
        };
        let brief = Brief {
            policy: Arc::new(policy),
            ..brief(Base::Standard, &Limits::default())
        };
        let mut walker = Walker::new(TransferSyntax::ExplicitLittle, &brief);
        walker.feed(bytes)?;
        walker.finish().map(|_| ())
    };
    let pdf = document("1", PDF, "application/pdf", None);
    let script = [PDF, b" /JavaScript "].concat();
    let script = document("1", &script, "application/pdf", None);
    let archive = element(0x0400, 0x0115, "OB", b"PK\x03\x04\x14\0\0\0");
    assert!(says(&[], &pdf).is_ok());
    assert!(says(&[DocumentKind::Cda], &pdf).is_err());
    assert!(says(&[], &script).is_err());
    assert!(says(&[DocumentKind::PdfActive], &script).is_ok());
    assert!(says(&[], &archive).is_err());
    assert!(says(&[DocumentKind::Zip], &archive).is_ok());
}

#[test]
fn xml_is_bounded() {
    let limits = Limits {
        dicom_markup: 5000,
        ..Limits::default()
    };
    let cda = |length: usize| {
        let open = b"<ClinicalDocument>".to_vec();
        let end = b"</ClinicalDocument>";
        let text = vec![b' '; length - open.len() - end.len()];
        document("2", &[open, text, end.to_vec()].concat(), "text/XML", None)
    };
    let says = |bytes: &[u8]| {
        walk(
            TransferSyntax::ExplicitLittle,
            bytes,
            Base::Standard,
            &limits,
        )
    };
    assert_eq!(says(&cda(5000)).unwrap(), "");
    assert_eq!(
        says(&cda(5002)).unwrap_err().to_string(),
        "dicom_markup: 5002 is more than 5000"
    );
}

#[test]
fn deflated_data_sets() {
    let set = ct().concat();
    let stream = deflated(&set);
    let behind = |more: &[u8]| [&stream[..], more].concat();
    let mut far = set.clone();
    far.truncate(10);
    table(
        "deflated",
        TransferSyntax::Deflated,
        &[
            ("deflated", stream.clone()),
            ("with its pad byte", behind(&[0])),
            ("with another byte behind", behind(&[1])),
            ("with two bytes behind", behind(&[0, 0])),
            ("cut", stream[..stream.len() - 1].to_vec()),
            ("nothing", vec![]),
            ("nothing, deflated", deflated(&[])),
            ("not deflated", set.clone()),
            (
                "as zlib",
                miniz_oxide::deflate::compress_to_vec_zlib(&set, 6),
            ),
            (
                "a set with a fault",
                deflated(&element(0x0008, 0x0060, "CS", b"CTX")),
            ),
            ("a cut set", deflated(&set[..set.len() - 1])),
            // A fixed block: a copy from before the start.
            ("a reference to before the start", vec![0x03, 0x02, 0x00]),
        ],
    );
}

#[test]
fn bombs_are_refused_early() {
    let pixels = 64 << 20;
    let mut set = ct();
    set.truncate(10);
    set.push(header(0x7fe0, 0x0010, "OW", pixels));
    let mut bytes = set.concat();
    // So that the length is right and only the bomb is wrong.
    bytes.resize(bytes.len() + usize::try_from(pixels).unwrap(), 0);
    let bomb = deflated(&bytes);
    assert!(bomb.len() * 500 < bytes.len());
    let fed = |limits: &Limits| -> (usize, Result<(), Refusal>) {
        let mut walker = Walker::new(TransferSyntax::Deflated, &brief(Base::Standard, limits));
        for (count, chunk) in bomb.chunks(512).enumerate() {
            if let Err(refusal) = walker.feed(chunk) {
                return (count * 512, Err(refusal));
            }
        }
        (bomb.len(), walker.finish().map(|_| ()))
    };
    let image = |limits: Limits| {
        let (at, verdict) = fed(&limits);
        (at, verdict.map_err(|refusal| refusal.to_string()))
    };
    let lenient = Limits {
        dicom_inflate_ratio: 100_000,
        ..Limits::default()
    };
    // The image is not as long as its geometry says: that is found before it is inflated.
    let (at, verdict) = image(lenient.clone());
    assert!(at < 1024);
    assert_eq!(
        verdict.unwrap_err(),
        "(7fe0,0010): is not as long as the image needs"
    );
    // Where nothing says how long a value must be, only the bounds are left.
    let bytes = [
        header(0x7fe1, 0x1001, "OB", pixels),
        vec![0; usize::try_from(pixels).unwrap()],
    ]
    .concat();
    let bomb = deflated(&bytes);
    let fed = |limits: &Limits| {
        let mut walker = Walker::new(TransferSyntax::Deflated, &brief(Base::Standard, limits));
        let mut peak = 0;
        for (count, chunk) in bomb.chunks(512).enumerate() {
            let mut verdict = Ok(());
            let used = allocation_counter::measure(|| verdict = walker.feed(chunk));
            peak = peak.max(used.bytes_max);
            if let Err(refusal) = verdict {
                return (count * 512, peak, Err(refusal.to_string()));
            }
        }
        let verdict = walker
            .finish()
            .map(|_| ())
            .map_err(|refusal| refusal.to_string());
        (bomb.len(), peak, verdict)
    };
    let (at, peak, verdict) = fed(&Limits::default());
    assert_eq!(
        verdict.unwrap_err(),
        "dicom_inflate_ratio: 201 is more than 200"
    );
    // At 1 MiB, which is not much at a thousand to one.
    assert!(at < 4096, "{at}");
    assert!(peak < 64 << 10, "{peak}");
    let (at, peak, verdict) = fed(&lenient);
    assert_eq!((at, verdict), (bomb.len(), Ok(())));
    assert!(peak < 64 << 10, "{peak}");
    let (_, _, verdict) = fed(&Limits {
        dicom_dataset: 1 << 20,
        ..lenient
    });
    assert!(verdict.unwrap_err().starts_with("dicom_dataset: "));
}
