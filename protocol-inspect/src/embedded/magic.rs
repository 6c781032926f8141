//! What a document is, by its first bytes. A name that the sender gives it is not believed.
//!
//! In: the head of a document. Out: its kind.
//! Programs and archives come first: what is both is the worse of the two.

use super::kind::Kind;

/// Bytes of a document that are enough to recognise it, but for disk images.
pub(crate) const HEAD: usize = 1024;

/// Where the header of a Windows program begins at most; Windows itself knows no bound.
const MOST_AHEAD: u32 = 0x1000_0000;

/// Where a disk image (ISO 9660) has its sign.
pub(crate) const ISO_AT: usize = 0x8001;

/// The sign of a disk image.
pub(crate) const ISO: &[u8; 5] = b"CD001";

/// Recognises a document. What begins as text is [`Kind::Text`], although its rest may be none.
pub(crate) fn recognise(head: &[u8]) -> Kind {
    let may_start = head.first().is_none_or(|first| is_among(&FIRST, *first));
    let sign = |(sign, _): &&(&[u8], Kind)| head.starts_with(sign);
    if may_start && let Some((_, kind)) = STARTS.iter().find(sign) {
        return *kind;
    }
    let four = |at: usize| head.get(at..at.saturating_add(4)).unwrap_or_default();
    match head {
        [0xca, 0xfe, 0xba, 0xbe, rest @ ..] => return fat_or_class(rest),
        [b'P', b'K', 3 | 5 | 7, 4 | 6 | 8, ..] => return archive_of(head),
        [b'R', b'I', b'F', b'F', ..] => match four(8) {
            b"WAVE" => return Kind::Wav,
            b"AVI " => return Kind::Avi,
            b"WEBP" => return Kind::Webp,
            _ => {}
        },
        [b'M', b'Z', ..] if is_program(head) => return Kind::Exe,
        [b'B', b'M', ..] if head.get(6..10) == Some(&[0; 4]) => return Kind::Bmp,
        // MPEG audio: eleven bits of synchronisation, a layer, a bit rate and a sampling rate that exist.
        [0xff, second, third, ..]
            if second & 0xe6 == 0xe2 && third & 0xf0 != 0xf0 && third & 0x0c != 0x0c =>
        {
            return Kind::Mp3;
        }
        [b'B', b'Z', b'h', b'1'..=b'9', b'1' | 0x17, b'A' | 0x72, ..] => return Kind::Bzip2,
        [b'I', b'D', b'3', 2..=4, ..] => return Kind::Mp3,
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => return Kind::Mp4,
        _ => {}
    }
    if head.get(257..262) == Some(b"ustar") {
        return Kind::Tar;
    }
    if four(128) == b"DICM" {
        return Kind::Dicom;
    }
    // Readers of PDF look for its sign in the first kilobyte.
    let from = memchr::memchr(b'%', head).and_then(|at| head.get(at..));
    if from.is_some_and(|from| memchr::memmem::find(from, b"%PDF-").is_some()) {
        return Kind::Pdf;
    }
    text(head)
}

/// Whether `MZ` is the sign of a program, and not of monozygotic twins: the header behind it is not made of letters.
fn is_program(head: &[u8]) -> bool {
    !head.iter().take(64).all(|b| is_text(*b))
}

/// Whether a kind was recognised by more than two bytes, which chance can make.
pub(crate) fn is_certain(head: &[u8], kind: Kind) -> bool {
    match (kind, head) {
        (Kind::Exe, _) => head
            .get(60..)
            .and_then(|rest| rest.first_chunk())
            .is_some_and(|at| u32::from_le_bytes(*at) < MOST_AHEAD),
        (Kind::Gzip, _) => matches!(head, [_, _, 8, 0..32, ..]),
        (Kind::Postscript | Kind::Script, _) => head.iter().all(|b| is_text(*b)),
        (kind, _) => kind != Kind::Mp3,
    }
}

/// A Mach-O file for several processors counts these, a Java class has its version there: 45 and above.
fn fat_or_class(rest: &[u8]) -> Kind {
    match rest.first_chunk() {
        Some(number) if u32::from_be_bytes(*number) < 45 => Kind::MachO,
        Some(_) | None => Kind::Java,
    }
}

/// What is inside of a ZIP archive, by its first entries.
fn archive_of(head: &[u8]) -> Kind {
    let has = |name: &[u8]| memchr::memmem::find(head, name).is_some();
    if has(b"META-INF/") || has(b"AndroidManifest.xml") || has(b"classes.dex") {
        Kind::Java
    } else if has(b"[Content_Types].xml") || has(b"mimetypeapplication/vnd.oasis.opendocument") {
        Kind::Office
    } else {
        Kind::Zip
    }
}

/// Documents made of letters.
fn text(head: &[u8]) -> Kind {
    if UTF_16
        .iter()
        .any(|sign| head.starts_with(sign) || head.get(2..).is_some_and(|h| h.starts_with(sign)))
    {
        // Refused as markup, because it is not in the encoding in which it could be checked.
        return Kind::Xml;
    }
    let letters = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let letters = letters.trim_ascii_start();
    let begins = |(word, _): &&(&[u8], Kind)| {
        letters
            .get(..word.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(word))
    };
    let may_begin = letters
        .first()
        .is_some_and(|first| is_among(&INITIALS, first.to_ascii_lowercase()));
    if may_begin && let Some((_, kind)) = WORDS.iter().find(begins) {
        return *kind;
    }
    match letters {
        [
            b'<',
            b'?' | b'!' | b'_' | b':' | b'a'..=b'z' | b'A'..=b'Z' | 0x80..,
            ..,
        ] => markup(letters),
        _ if head.iter().all(|b| is_text(*b)) => Kind::Text,
        _ => Kind::Unknown,
    }
}

/// Markup is XML, but for web pages, which need not be well-formed.
fn markup(letters: &[u8]) -> Kind {
    let has = |word: &[u8]| {
        letters
            .windows(word.len())
            .any(|window| window.eq_ignore_ascii_case(word))
    };
    if has(b"<html") || has(b"<!doctype html") || has(b"<body") {
        Kind::Html
    } else {
        Kind::Xml
    }
}

/// Whether a byte belongs into plain text.
pub(crate) fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\n' | 0x0c | b'\r' | 0x20..=0x7e | 0x80..)
}

/// Signs at the very start.
const STARTS: &[(&[u8], Kind)] = &[
    (b"\x7fELF", Kind::Elf),
    (b"\xfe\xed\xfa\xce", Kind::MachO),
    (b"\xfe\xed\xfa\xcf", Kind::MachO),
    (b"\xce\xfa\xed\xfe", Kind::MachO),
    (b"\xcf\xfa\xed\xfe", Kind::MachO),
    (b"\xca\xfe\xba\xbf", Kind::MachO),
    (b"dex\n", Kind::Java),
    (b"\0asm", Kind::Wasm),
    (b"\x4c\0\0\0\x01\x14\x02\0", Kind::Lnk),
    (b"#!", Kind::Script),
    (b"Rar!\x1a\x07", Kind::Rar),
    (b"7z\xbc\xaf\x27\x1c", Kind::SevenZip),
    (b"\x1f\x8b", Kind::Gzip),
    (b"\xfd7zXZ\0", Kind::Xz),
    (b"\x28\xb5\x2f\xfd", Kind::Zstd),
    (b"MSCF", Kind::Cab),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Kind::Ole),
    (b"{\\rtf", Kind::Rtf),
    (b"%!", Kind::Postscript),
    (b"%PDF-", Kind::Pdf),
    (b"\xff\xd8\xff", Kind::Jpeg),
    (b"\x89PNG\r\n\x1a\n", Kind::Png),
    (b"GIF87a", Kind::Gif),
    (b"GIF89a", Kind::Gif),
    (b"II*\0", Kind::Tiff),
    (b"MM\0*", Kind::Tiff),
    (b"II+\0", Kind::Tiff),
    (b"MM\0+", Kind::Tiff),
    (b"\0\0\0\x0cjP  \r\n\x87\n", Kind::Jpeg2000),
    (b"\xff\x4f\xff\x51", Kind::Jpeg2000),
    (b"OggS", Kind::Ogg),
    (b"fLaC", Kind::Flac),
    (b"MSH|", Kind::Hl7),
    (b"\x0bMSH", Kind::Hl7),
];

/// Words with which scripts and packages begin, in any case. A guess: a script can also begin with other words.
const WORDS: &[(&[u8], Kind)] = &[
    (b"<?php", Kind::Script),
    (b"<%", Kind::Script),
    (b"<script", Kind::Script),
    (b"<job", Kind::Script),
    (b"@echo off", Kind::Script),
    (b"javascript:", Kind::Script),
    (b"wscript.", Kind::Script),
    (b"option explicit", Kind::Script),
    (b"on error resume next", Kind::Script),
    (b"powershell", Kind::Script),
    (b"set-executionpolicy", Kind::Script),
    (b"function(", Kind::Script),
    (b"(function", Kind::Script),
    (b"eval(", Kind::Script),
    (b"#requires -", Kind::Script),
    (b"[internetshortcut]", Kind::Lnk),
    (b"[autorun]", Kind::Lnk),
    (b"mime-version:", Kind::Mime),
    (b"content-type:", Kind::Mime),
    (b"begin 644 ", Kind::Mime),
];

/// Markup in UTF-16, with and without its mark.
const UTF_16: &[&[u8]] = &[b"<\0?\0", b"\0<\0?", b"<\0!\0", b"\0<\0!"];

/// With which bytes the signs begin, and the words in lower case: most values begin with none of them.
static FIRST: [bool; 256] = first_bytes(STARTS);
static INITIALS: [bool; 256] = first_bytes(WORDS);

const fn first_bytes(mut list: &[(&[u8], Kind)]) -> [bool; 256] {
    let mut table = [false; 256];
    while let [([first, ..], _), rest @ ..] = list {
        #[expect(
            clippy::as_conversions,
            clippy::indexing_slicing,
            reason = "at compile time, and a byte is less than 256"
        )]
        {
            table[*first as usize] = true;
        }
        list = rest;
    }
    table
}

fn is_among(table: &[bool; 256], byte: u8) -> bool {
    table.get(usize::from(byte)).copied().unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sign_and_word_is_found_by_its_first_byte() {
        for (sign, kind) in STARTS {
            assert_eq!(recognise(sign), *kind, "{sign:02x?}");
        }
        for (word, kind) in WORDS {
            for word in [word.to_ascii_lowercase(), word.to_ascii_uppercase()] {
                assert_eq!(recognise(&word), *kind, "{word:02x?}");
            }
        }
        assert_eq!(recognise(b"as before"), Kind::Text);
        assert_eq!(recognise(b"100 %, and %PDF-1.7"), Kind::Pdf);
        assert_eq!(recognise(b"100 %, and %PDX-1.7"), Kind::Text);
    }
}
