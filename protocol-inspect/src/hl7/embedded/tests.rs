//! Recognition, decoding and search, without messages.

use std::ops::ControlFlow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as STANDARD;
use proptest::prelude::*;

use super::decode::{Wrong, document};
use super::*;
use crate::Limits;
use crate::hl7::header::Header;
use crate::hl7::{Delimiters, Message, Policy, Rule};

fn delimiters() -> Delimiters {
    Delimiters::parse(b"MSH|^~\\&|").unwrap()
}

fn decoded(text: &str, encoding: Encoding) -> Result<Vec<u8>, Wrong> {
    let mut out = Vec::new();
    let value = Part {
        bytes: text.as_bytes(),
        offset: 0,
    };
    document(value, encoding, &delimiters(), |piece| {
        out.extend_from_slice(piece);
        ControlFlow::Continue(())
    })?;
    Ok(out)
}

fn seen(pieces: &[&[u8]]) -> Seen {
    let mut scanner = Scanner::new();
    for piece in pieces {
        scanner.push(piece);
    }
    scanner.finish()
}

fn kind(bytes: &[u8]) -> &'static str {
    seen(&[bytes]).kind.name()
}

/// Bytes with a sign somewhere in them.
fn at(offset: usize, sign: &[u8]) -> Vec<u8> {
    [vec![0; offset], sign.to_vec(), vec![0; 8]].concat()
}

#[test]
fn kinds_are_recognised_by_their_bytes() {
    for (bytes, expected) in [
        (&b"%PDF-1.4\n1 0 obj"[..], "pdf"),
        (b"junk before\n%PDF-1.4\n", "pdf"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "jpeg"),
        (b"\x89PNG\r\n\x1a\n\0", "png"),
        (b"GIF89a\x01\0", "gif"),
        (b"II*\0\x08\0\0\0", "tiff"),
        (b"BM\x46\0\0\0\0\0\0\0", "bmp"),
        (b"BM is a bone marrow", "text"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "webp"),
        (b"RIFF\0\0\0\0WAVEfmt ", "wav"),
        (b"RIFF\0\0\0\0AVI LIST", "avi"),
        (b"RIFF\0\0\0\0ACON", "unknown"),
        (b"\0\0\0\x18ftypmp42", "mp4"),
        (b"\xff\xfb\x90\x64", "mp3"),
        (b"\xff\xfe\x90\0", "unknown"),
        (b"MZ\x90\0\x03\0\0\0", "exe"),
        (b"MZ twins, both well", "text"),
        (b"\x7fELF\x02\x01", "elf"),
        (b"\xcf\xfa\xed\xfe\x07\0", "mach-o"),
        (b"\xca\xfe\xba\xbe\0\0\0\x02", "mach-o"),
        (b"\xca\xfe\xba\xbe\0\0\0\x34", "java"),
        (b"\0asm\x01\0\0\0", "wasm"),
        (b"\x4c\0\0\0\x01\x14\x02\0\0", "lnk"),
        (b"#!/bin/sh\n", "script"),
        (b"  <?PHP echo", "script"),
        (b"@ECHO OFF\r\n", "script"),
        (b"PK\x03\x04\x14\0 a.txt", "zip"),
        (b"PK\x03\x04\x14\0 META-INF/MANIFEST.MF", "java"),
        (b"PK\x03\x04\x14\0 [Content_Types].xml", "office"),
        (b"Rar!\x1a\x07\0", "rar"),
        (b"7z\xbc\xaf\x27\x1c\0", "7z"),
        (b"\x1f\x8b\x08\0", "gzip"),
        (b"BZh91AY&SY", "bzip2"),
        (b"BZhuman", "text"),
        (b"\xfd7zXZ\0\0", "xz"),
        (b"\x28\xb5\x2f\xfd\0", "zstd"),
        (b"MSCF\0\0\0\0", "cab"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "ole"),
        (b"{\\rtf1\\ansi", "rtf"),
        (b"%!PS-Adobe-3.0", "postscript"),
        (b"<html><body>", "html"),
        (b"\xef\xbb\xbf <!DOCTYPE html>", "html"),
        (b"<a><b/></a>", "xml"),
        (b"\xff\xfe<\0?\0x\0", "xml"),
        (b"<5 mg/l", "text"),
        (b"MIME-Version: 1.0\r\n", "mime"),
        (b"MSH|^~\\&|A", "hl7"),
        (b"just text, \xe4\xf6\xfc\r\n", "text"),
        (b"text\x1b[31m", "unknown"),
        (b"\x01\x02\x03", "unknown"),
    ] {
        assert_eq!(
            kind(bytes),
            expected,
            "{:?}",
            String::from_utf8_lossy(bytes)
        );
    }
    assert_eq!(kind(&at(128, b"DICM")), "dicom");
    assert_eq!(kind(&at(127, b"DICM")), "unknown");
    assert_eq!(kind(&at(257, b"ustar\0")), "tar");
    assert_eq!(kind(&at(0x8001, b"CD001")), "iso");
    assert_eq!(kind(&at(0x8000, b"CD001")), "unknown");
    // A control byte behind the head still makes it no text.
    assert_eq!(kind(&[vec![b'a'; 5_000], vec![7]].concat()), "unknown");
    assert_eq!(kind(&vec![b'a'; 5_000]), "text");
}

#[test]
fn every_name_is_its_own() {
    for kind in Kind::ALL {
        assert_eq!(Kind::named(kind.name()), Some(*kind));
    }
    assert_eq!(Kind::named("PDF"), None);
}

#[test]
fn a_pdf_is_searched_to_its_end() {
    let pdf = |body: &str| {
        let text = format!("%PDF-1.7\n{}{body}\n%%EOF", " ".repeat(4_000));
        let seen = seen(&[text.as_bytes()]);
        (seen.kind.name(), seen.opaque, seen.opens)
    };
    for (good, bad) in [
        ("/S /GoTo", "/S /JavaScript"),
        ("/JavaScripts", "/JavaScript"),
        ("/J#62vaScript ", "/J#61vaScript "),
        ("/J#61vaScript1 ", "/#4a#61#76#61#53cript<<"),
        ("(JavaScript)", "[/Launch]"),
        ("/JSX (a)", "/JS (a)"),
        ("/JS /X", "/JS\n12 0 R"),
        ("/Embedded", "/EmbeddedFiles<<"),
        ("/Rich /Media", "/S/RichMedia/X"),
        ("/GoToR", "/GoToE"),
    ] {
        assert_eq!(pdf(good), ("pdf", false, false), "{good}");
        assert_eq!(pdf(bad), ("pdf-active", false, false), "{bad}");
    }
    assert_eq!(pdf("/Type /ObjStm"), ("pdf", true, false));
    assert_eq!(pdf("/Encrypt 1 0 R"), ("pdf", true, false));
    assert_eq!(pdf("/OpenAction [1 0 R /Fit]"), ("pdf", false, true));
}

#[test]
fn an_archive_behind_an_image_is_seen() {
    let directory = |comment: &[u8]| {
        let length = u8::try_from(comment.len()).unwrap();
        [b"PK\x05\x06", &[0; 16][..], &[length, 0], comment].concat()
    };
    let image = [b"\xff\xd8\xff\xe0".as_slice(), &[1; 3_000]].concat();
    let behind = |tail: &[u8]| seen(&[&image, tail]).trailing_archive;
    assert!(!behind(b""));
    assert!(behind(&directory(b"")));
    assert!(behind(&directory(b"a comment")));
    assert!(behind(&directory(&directory(b""))));
    // Chance makes the sign, but not at the right distance from the end.
    assert!(!behind(&[directory(b""), vec![0]].concat()));
    assert!(!seen(&[&[b"PK\x03\x04".as_slice(), &directory(b"")].concat()]).trailing_archive);
}

#[test]
fn encodings_are_checked_to_the_last_byte() {
    let base64 = |text| match decoded(text, Encoding::Base64) {
        Ok(bytes) => String::from_utf8(bytes).unwrap(),
        Err(Wrong {
            offset,
            detail,
            harmless,
        }) => {
            format!("{offset} {}{detail}", if harmless { "~ " } else { "" })
        }
    };
    for (text, said) in [
        ("", ""),
        ("TUVPVw==", "MEOW"),
        ("TUVP\\.br\\Vw==", "MEOW"),
        ("TUVP\\X0A\\Vw==", "MEOW"),
        ("TUVPVzE=", "MEOW1"),
        ("TUVP Vw==", "4 ~ has blanks in its encoding"),
        ("TUVPVw", "0 ~ has Base64 without its padding"),
        ("TUVPVx==", "0 ~ has Base64 with bits behind its end"),
        ("TUVPV", "0 is cut within its Base64"),
        ("TUVP=", "4 has padding of Base64 where none belongs"),
        ("TUVPVw===", "8 has padding of Base64 where none belongs"),
        ("TUVPVw==TUVP", "8 goes on behind the end of its Base64"),
        ("TUVP-w==", "4 has a character that is not Base64"),
        ("TU&VP", "2 has a character that is not Base64"),
        ("TUVP\\T\\w==", "4 has a character that is not Base64"),
    ] {
        assert_eq!(base64(text), said, "{text}");
    }
    let hex = |text| decoded(text, Encoding::Hex).map_err(|wrong| wrong.detail);
    assert_eq!(hex("4d454F57"), Ok(b"MEOW".to_vec()));
    assert_eq!(hex("4d454"), Err("has an odd number of hexadecimal digits"));
    assert_eq!(
        hex("4g"),
        Err("has a character that is no hexadecimal digit")
    );
    let plain = |text| decoded(text, Encoding::Plain).unwrap();
    assert_eq!(plain("a\\T\\b\\X4142\\\\.br\\c\\H\\d\\E\\"), b"a&bAB\ncd\\");
}

/// Documents of the bytes that matter.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"%PDF-".to_vec()),
        Just(b"/JavaScript ".to_vec()),
        Just(b"/J#61vaScript(".to_vec()),
        Just(b"/JS (".to_vec()),
        Just(b"PK\x05\x06".to_vec()),
        Just(vec![0; 16]),
        Just(vec![0; 0x7fff]),
        Just(b"CD001".to_vec()),
        Just(b"text ".repeat(40)),
        proptest::collection::vec(any::<u8>(), 0..30),
    ];
    proptest::collection::vec(piece, 0..10).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_cut_is_seen_the_same(
        bytes in bytes(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|c| c.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        let whole = seen(&[&bytes]);
        prop_assert_eq!(seen(&pieces), whole);
        prop_assert_eq!(seen(&single), whole);
        prop_assert_eq!(whole.length, bytes.len());
    }

    #[test]
    fn what_was_encoded_is_decoded(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        prop_assert_eq!(decoded(&STANDARD.encode(&bytes), Encoding::Base64), Ok(bytes));
    }

    #[test]
    fn arbitrary_values_do_not_panic(
        head in prop_oneof![
            Just("OBX|1|ED|a||^AP^PDF^Base64^"), Just("OBX|1|ED|a||^^^A^"), Just("OBX|1|ED|a||^^^Hex^"),
            Just("OBX|1|RP|a||"), Just("OBX|1|TX|a||<?xml"), Just("OBX|1|TX|a||\\"), Just("UAC||"),
        ],
        value in "[ -~äA-Za-z0-9+/=<>&^~\\\\|]{0,300}",
    ) {
        let _ = steps(&format!("{head}{value}"));
    }
}

/// How many bytes were looked at.
fn steps(segment: &str) -> usize {
    let text = format!("MSH|^~\\&|A|B|C|D|20260101||ORU^R01|1|P|2.5\r{segment}\r");
    let limits = Limits {
        hl7_segment: usize::MAX,
        ..Limits::default()
    };
    let message = Message::parse(text.as_bytes(), &limits).unwrap();
    let policy = Policy {
        limits,
        ..Policy::default()
    };
    let mut findings = Findings::default();
    let case = Case {
        message: &message,
        header: &Header::read(text.as_bytes(), usize::MAX).unwrap(),
        policy: &policy,
        rule: &Rule::default(),
        now: None,
        is_answer: false,
    };
    judge(&case, &mut findings);
    findings.steps
}

/// Ten times the bytes may cost ten times the steps, not a hundred times.
/// Counted, because clocks lie on busy machines.
#[test]
fn cost_grows_with_length_only() {
    for (head, unit) in [
        ("ED|a||^^^Base64^", "AAAA"),
        ("ED|a||", "^^^Base64^A~"),
        ("ED|a||^^^A^", "\\T\\"),
        ("ED|a||^^^A^", "\\"),
        ("ED|a||^^^A^<a>", "<a>"),
        ("ED|a||^^^A^<a ", "b='' "),
        ("ED|a||^^^A^%PDF-", "/J#61vaScript"),
        ("RP|a||", "https://~"),
        ("TX|a||", "<!DOCTYP"),
        ("TX|a||<?xml ?>", "<![CDATA["),
        ("TX|a||", "AAAA"),
    ] {
        let of = |count: usize| steps(&format!("OBX|1|{head}{}", unit.repeat(count)));
        let length = unit.len() * 20_000;
        // Each value is read twice at most, and the places of the few findings that are kept are looked for.
        assert!(of(20_000) <= 20 * length, "{head}{unit}: {}", of(20_000));
        assert!(of(20_000) <= 11 * of(2_000) + 1_000, "{head}{unit}");
    }
}
