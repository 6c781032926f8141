//! What stands inside of segments: local segments and embedded documents, each refusal beside its accepted twin.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use protocol_inspect::Limits;
use protocol_inspect::hl7::{
    Embedded, Frame, Kind, Level, LocalSegment, Policy, Profile, Rule, Severity, Verdict, judge,
};

const HEAD: &str =
    "MSH|^~\\&|ECG|CARDIO|HIS|MAIN|20260101||ORU^R01|M1|P|2.5.1\rPID|1||1||X\rOBR|1|||X\r";

/// `ok`, followed by the warnings; or the refusal.
fn say(body: &str, rule: &Rule) -> String {
    say_within(body, rule, Limits::default())
}

fn say_within(body: &str, rule: &Rule, limits: Limits) -> String {
    let policy = Policy {
        limits,
        default_charset: "ASCII".into(),
        rules: vec![Rule {
            name: "r".into(),
            send: vec!["*".into()],
            ..rule.clone()
        }],
        ..Policy::default()
    };
    let text = format!("{HEAD}{body}\r");
    match judge(Frame::around(text.as_bytes()), &policy, None).verdict {
        Verdict::Accept(accepted) => {
            let told = accepted
                .warnings
                .iter()
                .map(|w| format!("; {}: {}", w.location, w.detail));
            format!("ok{}", told.collect::<String>())
        }
        Verdict::Refuse(refused) => {
            assert!(refused.refusal.detail.len() < 120);
            refused.refusal.to_string()
        }
    }
}

/// What others judge of the same fields is not asked here.
fn under(profile: Profile) -> Rule {
    let elsewhere = [Level::Fields, Level::Lengths, Level::Tables];
    Rule {
        profiles: vec![Profile {
            levels: elsewhere.map(|level| (level, Severity::Ignore)).into(),
            ..profile
        }],
        ..Rule::default()
    }
}

fn standard() -> Rule {
    under(Profile::standard())
}

fn strict() -> Rule {
    under(Profile::strict())
}

#[test]
fn local_segments_are_those_of_the_list() {
    let listed = |list: &[(&str, usize)]| Rule {
        local_segments: Some(
            list.iter()
                .map(|(name, max_bytes)| LocalSegment {
                    name: (*name).into(),
                    max_bytes: *max_bytes,
                })
                .collect(),
        ),
        ..strict()
    };
    let only = listed(&[("ZPD", 10), ("ZBE", 5)]);
    for (body, said) in [
        ("ZPD|a|bcde", "ok"),
        ("ZBE|1\rZPD|1\rZPD|1234.6", "ok"),
        (
            "ZPD|a|bcdef",
            "ZPD (byte 80): is longer than the rule allows for this local segment",
        ),
        (
            "ZBE|1\rZPE|",
            "ZPE (byte 86): is a local segment that the rule does not list",
        ),
    ] {
        assert_eq!(say(body, &only), said, "{body}");
    }
    let none = listed(&[]);
    assert_eq!(
        say("ZPD|1", &none),
        "ZPD (byte 80): is a local segment that the rule does not list"
    );
    assert_eq!(say("NTE|1", &none), "ok");
}

/// What no version of HL7 knows is local, whatever letter it begins with.
#[test]
fn unknown_segments_are_local_by_another_name() {
    let listed = Rule {
        local_segments: Some(vec![LocalSegment {
            name: "ZPD".into(),
            max_bytes: 10,
        }]),
        ..standard()
    };
    assert_eq!(
        say("NTE|1\rYPD|1", &listed),
        "YPD (byte 86): is a local segment that the rule does not list"
    );
    assert_ne!(say("FT1|1", &listed), say("FT2|1", &listed));
    // Without a list they are warned of as before, and bounded together with the others.
    assert!(say("YPD|1", &standard()).starts_with("ok; YPD"));
    let half = "x".repeat((16 << 10) / 2 - 4);
    assert!(say(&format!("ZPD|{half}\rYPD|{half}"), &standard()).starts_with("ok; "));
    assert_eq!(
        say(&format!("ZPD|{half}\rYPD|{half}x"), &standard()),
        "YPD (byte 8273): the local segments up to here are longer than 16384 bytes, and the rule lists none"
    );
}

#[test]
fn local_segments_without_a_list_are_few_and_short() {
    let soft = "ZPD (byte 80): is a local segment, and the rule lists none";
    assert_eq!(say("ZPD|1", &strict()), soft);
    assert_eq!(say("ZPD|1", &standard()), format!("ok; {soft}"));
    // All of them together: cutting a document into pieces does not help.
    let half = "x".repeat((16 << 10) / 2 - 4);
    assert_eq!(
        say(&format!("ZPD|{half}\rZPD|{half}"), &standard()),
        format!("ok; {soft}")
    );
    assert_eq!(
        say(&format!("ZPD|{half}\rZPD|{half}x"), &standard()),
        "ZPD[2] (byte 8273): the local segments up to here are longer than 16384 bytes, and the rule lists none"
    );
}

/// An observation with a value of this type.
fn obx(value_type: &str, value: &str) -> String {
    format!("OBX|1|{value_type}|1234^DOC^L||{value}||||||F")
}

/// A document, encoded.
fn ed(declared: &str, bytes: &[u8]) -> String {
    let data = BASE64_STANDARD.encode(bytes);
    obx("ED", &format!("^{declared}^Base64^{data}"))
}

fn carries(kinds: &[Kind], rule: Rule) -> Rule {
    Rule {
        embedded: Embedded {
            kinds: kinds.to_vec(),
            ..Embedded::default()
        },
        ..rule
    }
}

const PDF: &[u8] = b"%PDF-1.4\n1 0 obj << /Type /Catalog >> endobj\n%%EOF";
const ACTIVE: &[u8] = b"%PDF-1.4\n1 0 obj << /S /JavaScript /JS (x) >> endobj\n%%EOF";
const JPEG: &[u8] = b"\xff\xd8\xff\xe0\0\x10JFIF\0";
const CDA: &str =
    "<?xml version=\"1.0\"?><ClinicalDocument xmlns=\"urn:hl7-org:v3\"><id/></ClinicalDocument>";

/// Attack 17.
#[test]
fn documents_are_what_their_bytes_say() {
    let zip = b"PK\x03\x04\x14\0\0\0\0\0a.txt";
    for (declared, good, bad, said) in [
        (
            "AP^PDF",
            PDF,
            ACTIVE,
            "a PDF with scripts, programs or files",
        ),
        ("IM^JPEG", JPEG, zip.as_slice(), "a ZIP archive"),
        (
            "TEXT^Plain",
            b"all is well",
            b"<html>all is well",
            "a web page",
        ),
        ("AP^Octet-stream", PDF, b"{\\rtf1 x}", "an RTF document"),
        (
            "AP^PDF",
            PDF,
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
            "an OLE document (old Office)",
        ),
        (
            "TEXT^XML",
            CDA.as_bytes(),
            b"<svg xmlns='http://www.w3.org/2000/svg'/>",
            "an SVG image",
        ),
    ] {
        for rule in [standard(), strict()] {
            assert_eq!(say(&ed(declared, good), &rule), "ok", "{declared}");
            let refusal = say(&ed(declared, bad), &rule);
            assert!(refusal.starts_with("OBX-5.5 (byte "), "{refusal}");
            assert!(
                refusal.contains(&format!("holds {said}, and the rule does not list")),
                "{refusal}"
            );
        }
    }
}

/// Attack 17: programs, under every profile, in shadow, and whatever they are called.
#[test]
fn programs_never_pass_unless_listed() {
    let lenient = Profile {
        levels: [(Level::Embedded, Severity::Ignore)].into(),
        ..Profile::standard()
    };
    let rules = [
        standard(),
        strict(),
        Rule {
            shadow: true,
            ..standard()
        },
        Rule {
            profiles: vec![lenient],
            ..standard()
        },
        carries(&[Kind::Pdf, Kind::Zip], standard()),
    ];
    let programs: [(&[u8], Kind); 4] = [
        (b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0", Kind::Exe),
        (b"\x7fELF\x02\x01\x01\0", Kind::Elf),
        (b"#!/bin/sh\nrm -rf /\n", Kind::Script),
        (b"<html><script>x()</script></html>", Kind::Script),
    ];
    for (program, kind) in programs {
        for declared in ["IM^JPEG", "AP^PDF", "TEXT^", "^"] {
            for rule in &rules {
                let said = say(&ed(declared, program), rule);
                assert!(
                    said.starts_with("OBX-5.5 (byte ") && said.contains("holds "),
                    "{said}"
                );
            }
        }
        let said = say(&ed("AP^Octet-stream", program), &carries(&[kind], strict()));
        assert_eq!(said, "ok", "{kind:?}");
    }
}

#[test]
fn a_list_of_kinds_is_the_whole_list() {
    let only = carries(&[Kind::Jpeg], standard());
    assert_eq!(say(&ed("IM^JPEG", JPEG), &only), "ok");
    assert_eq!(
        say(&ed("AP^PDF", PDF), &only),
        "OBX-5.5 (byte 116): holds a PDF without active content, and the rule does not list the kind `pdf`"
    );
    // What nobody recognises: refused by a list, and by the strict profile.
    let unknown = ed("AP^Octet-stream", b"\x01\x02\x03\x04");
    let said = "holds a document of unknown kind, and the rule does not list the kind `unknown`";
    assert!(say(&unknown, &only).contains(said));
    assert!(say(&unknown, &strict()).contains(said));
    assert!(say(&unknown, &standard()).starts_with("ok; OBX-5.5"));
    assert_eq!(say(&unknown, &carries(&[Kind::Unknown], strict())), "ok");
}

#[test]
fn a_document_is_what_it_is_called() {
    let place = "OBX-5.3 (byte 105): names another kind of document than it holds";
    assert_eq!(say(&ed("IM^JPEG", JPEG), &strict()), "ok");
    assert_eq!(say(&ed("IM^TIFF", JPEG), &strict()), place);
    assert_eq!(
        say(&ed("IM^TIFF", JPEG), &standard()),
        format!("ok; {place}")
    );
    assert!(say(&ed("AU^", JPEG), &strict()).starts_with("OBX-5.2 "));
}

#[test]
fn encodings_are_those_of_the_table() {
    let data = |encoding: &str, data: &str| obx("ED", &format!("^TEXT^^{encoding}^{data}"));
    for (good, bad, said) in [
        (
            data("Base64", "TUVPVw=="),
            data("Base64", "TUVP?w=="),
            "has a character that is not Base64",
        ),
        (
            data("Base64", "TUVPVw=="),
            data("Base64", "TUVPV"),
            "is cut within its Base64",
        ),
        (
            data("Hex", "4d454f57"),
            data("Hex", "4d454f5"),
            "has an odd number of hexadecimal digits",
        ),
        (
            data("A", "MEOW"),
            data("UU", "MEOW"),
            "is not an encoding that is carried (A, Hex or Base64)",
        ),
        (
            data("A", ""),
            data("", "MEOW"),
            "is not an encoding that is carried (A, Hex or Base64)",
        ),
        (
            data("A", "MEOW"),
            data("A", "MEOW^PURR"),
            "has more behind its document",
        ),
    ] {
        assert_eq!(say(&good, &standard()), "ok", "{good}");
        assert!(
            say(&bad, &standard()).ends_with(said),
            "{bad}: {}",
            say(&bad, &standard())
        );
    }
    // The other ED fields, and each repetition.
    let wrong = "UAC-2.5 (byte 100): has a character that is not Base64";
    assert_eq!(say("UAC|K|^TEXT^^Base64^?", &standard()), wrong);
    let second = obx("ED", "^TEXT^^A^MEOW~^TEXT^^Base64^?");
    assert!(
        say(&second, &standard()).starts_with("OBX-5(2).5 "),
        "{}",
        say(&second, &standard())
    );
}

#[test]
fn the_size_is_that_of_the_document() {
    let limits = || Limits {
        hl7_embedded: 1_000,
        ..Limits::default()
    };
    let of = |length: usize| say_within(&ed("TEXT^", &vec![b'a'; length]), &standard(), limits());
    assert_eq!(of(1_000), "ok");
    assert_eq!(
        of(1_001),
        "OBX-5.5 (byte 115): is larger than `hl7_embedded`"
    );
}

/// Attack 17: Base64 in a text field is a document too.
#[test]
fn base64_in_text_is_looked_into() {
    let long = |start: &[u8]| [start, &[0; 120]].concat();
    let text = |bytes: &[u8]| obx("TX", &BASE64_STANDARD.encode(bytes));
    let program = [b"MZ\x90\0".as_slice(), &[0; 116]].concat();
    assert_eq!(say(&text(&long(PDF)), &standard()), "ok");
    assert!(say(&text(&long(ACTIVE)), &standard()).contains("a PDF with scripts"));
    assert!(say(&text(&program), &standard()).contains("a DOS or Windows program"));
    // Lines are repetitions in TX.
    let lines = BASE64_STANDARD.encode(long(ACTIVE)).into_bytes();
    let lines: Vec<String> = lines
        .chunks(88)
        .map(|l| String::from_utf8(l.to_vec()).unwrap())
        .collect();
    assert!(say(&obx("TX", &lines.join("~")), &standard()).contains("a PDF with scripts"));
    // Whatever the type of the observation says.
    let data = BASE64_STANDARD.encode(&program);
    for value_type in ["ed", "CE", "", "XX"] {
        for value in [
            format!("^AP^PDF^Base64^{data}"),
            format!("a&{data}"),
            format!("a~b^{data}"),
        ] {
            let said = say(&obx(value_type, &value), &standard());
            // A reader who takes it for ED gets the whole of it; the others are no ED at all.
            let no_ed = value_type == "ed" && !value.starts_with('^');
            assert!(
                no_ed || said.contains("a DOS or Windows program"),
                "{value_type}: {said}"
            );
        }
    }
    // Long words are words.
    assert_eq!(say(&obx("ST", &"Aa1".repeat(60)), &strict()), "ok");
}

/// Attack 18.
#[test]
fn xml_is_well_formed_and_has_no_document_type() {
    let escaped = |text: &str| {
        text.replace('\\', "\\E\\")
            .replace('&', "\\T\\")
            .replace('|', "\\F\\")
    };
    let bomb = "<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY b \"bb\">]><a>&b;</a>";
    let doctype = "has a document type or entity declaration";
    for (good, bad, said) in [
        (CDA.to_owned(), bomb.to_owned(), doctype),
        (CDA.to_owned(), format!("  {bomb}"), doctype),
        (CDA.to_owned(), format!("see below {bomb}"), doctype),
        (
            CDA.to_owned(),
            CDA.replace("<id/>", "<id>"),
            "is XML with an end of another element than is open",
        ),
        (
            CDA.replace("<id/>", "&amp;"),
            CDA.replace("<id/>", "&amp"),
            "is XML with a reference to an entity that nobody declares",
        ),
        (
            "<5 mg & <?".to_owned(),
            "<?xml version='1.0'?>".to_owned(),
            "is XML without a root element",
        ),
    ] {
        for value_type in ["TX", "FT", "ST", "ED"] {
            let field = |text: &str| {
                let text = escaped(text);
                obx(
                    value_type,
                    &if value_type == "ED" {
                        format!("^TEXT^^A^{text}")
                    } else {
                        text
                    },
                )
            };
            for rule in [
                standard(),
                Rule {
                    shadow: true,
                    ..strict()
                },
            ] {
                assert_eq!(say(&field(&good), &rule), "ok", "{good}");
                if said == doctype || !rule.shadow {
                    let refusal = say(&field(&bad), &rule);
                    assert!(
                        refusal.starts_with("OBX-5") && refusal.ends_with(said),
                        "{bad}: {refusal}"
                    );
                }
            }
        }
        let encoded = say(&ed("TEXT^", bad.trim_start().as_bytes()), &standard());
        assert!(
            encoded.ends_with(said) || bad.starts_with("see"),
            "{bad}: {encoded}"
        );
    }
    // Hidden in escape sequences, and in another encoding.
    assert!(say(&obx("TX", "\\X3C\\!DOC\\X54\\YPE a>"), &standard()).ends_with(doctype));
    let wide: Vec<u8> = bomb.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(say(&ed("TEXT^XML", &wide), &standard()).ends_with("is XML with a control byte"));
    // Other fields are text, whatever they look like.
    assert_eq!(say("NTE|1||<!DOCTYPE a>", &standard()), "ok");
}

/// Attack 17: pointers out of the message.
#[test]
fn pointers_lead_to_listed_hosts_alone() {
    let to = |hosts: &[&str]| Rule {
        embedded: Embedded {
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            ..Embedded::default()
        },
        ..standard()
    };
    let pacs = to(&["pacs.example.org"]);
    let pointer = |url: &str| obx("RP", &format!("{url}^^IM^JPEG"));
    let good = pointer("https://pacs.example.org/image?a=1\\T\\b=2");
    assert_eq!(say(&good, &pacs), "ok");
    assert_eq!(
        say(&good, &standard()),
        "OBX-5 (byte 101): points outside of the message, and the rule lists no `hosts`"
    );
    for bad in [
        "https://evil.example.com/",
        "https://pacs.example.org\\X40\\evil.example.com/",
        "file:///etc/passwd",
        "\\E\\\\E\\evil\\E\\share",
        "javascript:alert(1)",
    ] {
        assert!(
            say(&pointer(bad), &pacs).starts_with("OBX-5 (byte 101): "),
            "{bad}"
        );
    }
    let long = pointer(&format!("https://pacs.example.org/{}", "a".repeat(2_048)));
    assert!(say(&long, &pacs).ends_with("is a pointer of more than 2048 bytes"));
    assert_eq!(say(&pointer("\"\""), &standard()), "ok");
}
