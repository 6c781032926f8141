//! Specific Character Set, declared and used.

use super::*;

/// A declaration and texts under it.
fn under(declared: &[u8], vr: VR, texts: &[&[u8]]) -> String {
    let (repertoire, flaws) = Repertoire::declared(declared);
    let head = line(declared, Judged { count: 0, flaws });
    format!("{head}\n{}", table(false, repertoire, &[(vr, texts)]))
}

#[test]
fn single_bytes() {
    let all: Vec<String> = [
        (&b""[..], &[&b"Abc"[..], b"M\xfcller", b"A\x1b(B"][..]),
        (b"ISO_IR 6", &[b"Abc", b"\xfc"]),
        (b"ISO_IR 100", &[b"\xfc\xa0", b"\x80", b"A\x1b-B"]),
        (b"ISO_IR 101", &[b"\xa1", b"\x9f"]),
        (b"ISO_IR 109", &[b"\xa1", b"\xa5"]),
        (b"ISO_IR 110", &[b"\xa2", b"\x85"]),
        (b"ISO_IR 144", &[b"\xb6", b"\x85"]),
        (b"ISO_IR 127", &[b"\xc1", b"\xc0"]),
        (b"ISO_IR 126", &[b"\xd1", b"\xd2"]),
        (b"ISO_IR 138", &[b"\xe0", b"\xff"]),
        (b"ISO_IR 148", &[b"\xf0", b"\x85"]),
        (b"ISO_IR 203", &[b"\xa4", b"\x85"]),
        (b"ISO_IR 13", &[b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3", b"\xe0"]),
        (b"ISO_IR 166", &[b"\xa1\xfb", b"\xfc"]),
    ]
    .iter()
    .map(|(declared, texts)| under(declared, VR::PN, texts))
    .collect();
    insta::assert_snapshot!(all.join("\n"));
}

/// Bytes that look like delimiters inside of characters, and those that are.
#[test]
fn several_bytes() {
    let all: Vec<String> = [
        (
            &b"ISO_IR 192"[..],
            &[
                "Müller^日本=x".as_bytes(),
                b"\xc0\xaf",
                b"\xed\xa0\x80",
                b"a\xe6\x97",
                b"\xff",
                "a\u{85}".as_bytes(),
                "a\u{202e}b".as_bytes(),
                "\u{feff}a".as_bytes(),
                "a\u{301}".as_bytes(),
                b"A\x1b$B",
            ][..],
        ),
        (
            b"GB18030",
            &[
                b"\xcd\xf5^\xd0\xa1\xb6\xab",
                b"\x81\x5c\x81\x5e\\A",
                b"\x81\x30\x84\x36^A",
                b"\x81\x30",
                b"\x81\x7f",
                b"A\x80",
                b"\x81\\\\A",
                b"\x81",
            ],
        ),
        (
            b"GBK",
            &[
                b"\xcd\xf5^\xd0\xa1\xb6\xab",
                b"\x81\x5c\x81\x5e\\A",
                b"\x81\x30\x84\x36",
                b"\xff",
                b"A\x81",
            ],
        ),
    ]
    .iter()
    .map(|(declared, texts)| under(declared, VR::PN, texts))
    .collect();
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn code_extensions() {
    let all: Vec<String> = [
        (
            &b"\\ISO 2022 IR 87"[..],
            &[
                &b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B"[..],
                // Characters of which a byte is a backslash, a caret or an equals sign.
                b"\x1b$B0\\1^2=\x1b(B\\B",
                b"\x1b$B;3ED",
                b"\x1b$B;3ED^\x1b(BA",
                b"\x1b$B;3E\x1b(B",
                b"\x1b$B;3\nED\x1b(B",
                b"\x1b$B\x7f!\x1b(B",
                b"\x1b$B/!\x1b(B",
                b"\x1b$(DB\"\x1b(B",
                b"\x1b$@;3\x1b(B",
                b"\x1b(JA\x1b(B",
                b"\x1b$)C\xb1\xe8",
                b"A\x1b",
                b"A\x1b$",
                b"\xb1",
            ][..],
        ),
        (
            b"\\ISO 2022 IR 87\\ISO 2022 IR 159",
            &[b"\x1b$(DB\"\x1b(B\\A", b"\x1b$(D!!\x1b(B"],
        ),
        (
            b"ISO 2022 IR 13\\ISO 2022 IR 87",
            &[
                b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J",
                b"\xd4\x1b$B;3\x1b(B\xd4",
                b"\xe0",
                b"\x1b)I\xd4",
            ],
        ),
        (
            b"\\ISO 2022 IR 149",
            &[
                b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
                // The set is left at the caret.
                b"\x1b$)C\xfb\xf3^\xd1\xce",
                b"\x1b$)C\xfb",
                b"\x1b$)C\xfb\\A",
                b"\x1b$)C\xc9\xa1",
            ],
        ),
        (
            b"\\ISO 2022 IR 58",
            &[b"\x1b$)A\xd0\xa1\xb6\xab", b"\x1b$)A\x81\x40", b"\xd0\xa1"],
        ),
        (
            b"ISO 2022 IR 100\\ISO 2022 IR 126\\ISO 2022 IR 144",
            &[
                b"\xe4\x1b-F\xe1\x1b-L\xc4^\xe4\\\x1b-L\xc4",
                b"\x1b-F\xd2",
                b"\x1b-B\xe4",
                b"\x1b-A\xe4\x1b(BA",
            ],
        ),
        (b"ISO 2022 IR 6\\ISO 2022 IR 101", &[b"\x1b-B\xb1", b"\xb1"]),
        (b"ISO 2022 IR 6\\ISO 2022 IR 109", &[b"\x1b-C\xa1", b"\x1b-C\xa5"]),
        (b"ISO 2022 IR 6\\ISO 2022 IR 110", &[b"\x1b-D\xa1", b"\x1b-C\xa1"]),
        (b"ISO 2022 IR 6\\ISO 2022 IR 127", &[b"\x1b-G\xc1", b"\x1b-G\xc0"]),
        (b"ISO 2022 IR 6\\ISO 2022 IR 138", &[b"\x1b-H\xe0", b"\x1b-H\xff"]),
        (b"ISO 2022 IR 6\\ISO 2022 IR 148", &[b"\x1b-M\xe0", b"\x1b-M\x85"]),
        (b"ISO 2022 IR 6\\ISO 2022 IR 166", &[b"\x1b-T\xa1", b"\x1b-T\xff"]),
        (b"ISO 2022 IR 6\\ISO 2022 IR 203", &[b"\x1b-b\xa4", b"\x1b-b\x85"]),
    ]
    .iter()
    .map(|(declared, texts)| under(declared, VR::PN, texts))
    .collect();
    insta::assert_snapshot!(all.join("\n"));
}

/// Lines end shifts as delimiters do, and an escape sequence is no character.
#[test]
fn code_extensions_in_lines() {
    let all: Vec<String> = [
        (
            &b"\\ISO 2022 IR 87"[..],
            &[
                &b"\x1b$B;3ED\x1b(B\\^\r\n\x1b$BB@O:\x1b(B"[..],
                b"\x1b$B;3ED\r\nA\x1b(B",
                b"\x1b$B0\\\x1b(B",
            ][..],
        ),
        (
            b"\\ISO 2022 IR 149",
            &[
                b"\x1b$)C\xb1\xe8\xc8\xf1\r\n\x1b$)C\xb1\xe8",
                b"\x1b$)C\xb1\xe8\xc8\xf1\r\n\xb1\xe8",
            ],
        ),
    ]
    .iter()
    .map(|(declared, texts)| under(declared, VR::LT, texts))
    .collect();
    let sixteen = b"\x1b$B;3\x1b(B".repeat(16);
    let seventeen = b"\x1b$B;3\x1b(B".repeat(17);
    let short = under(b"\\ISO 2022 IR 87", VR::SH, &[&sixteen, &seventeen]);
    insta::assert_snapshot!([all.join("\n"), short].join("\n"));
}

#[test]
fn declarations() {
    let mut text = String::new();
    for declared in [
        &b""[..],
        b"  ",
        b"ISO_IR 100",
        b"ISO_IR 100 ",
        b"ISO_IR 192",
        b"ISO_IR 192\0",
        b"GB18030 ",
        b"ISO 2022 IR 100 ",
        b"ISO 2022 IR 6\\ISO 2022 IR 87",
        b"\\ISO 2022 IR 87",
        b"ISO 2022 IR 13\\ISO 2022 IR 87\\ISO 2022 IR 159",
        // What devices write, and what it can only mean.
        b"ISO-IR 100",
        b"ISO IR 100",
        b"ISO_IR_192",
        b"ISO 2022 IR 192",
        b"ISO_IR 87 ",
        b"ISO 2022 IR 87",
        b"ISO 2022 IR 149\\ISO 2022 IR 100",
        b"ISO_IR 100\\ISO_IR 144",
        b"ISO 2022 IR 100\\ISO 2022 IR 100",
        b"ISO_IR 192\\ISO 2022 IR 87",
        // What nobody can read for sure.
        b"ISO 2022 IR 6\\ISO_IR 192",
        b"iso_ir 100",
        b"LATIN1",
        b"ISO_IR 999",
        b"ISO 2022 IR 6\\KOREAN",
        b"\\",
    ] {
        let (repertoire, flaws) = Repertoire::declared(declared);
        let head = line(declared, Judged { count: 0, flaws });
        writeln!(text, "{head} -> {repertoire:?}").unwrap();
    }
    insta::assert_snapshot!(text);
}

#[test]
fn unknown_sets_hide_nothing_but_ascii() {
    let text = under(
        b"LATIN1",
        VR::LO,
        &[b"plain\\text", b"\xe4", b"\x1b$B;3\x1b(B"],
    );
    insta::assert_snapshot!(text);
}
