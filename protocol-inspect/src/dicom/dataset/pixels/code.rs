//! How frames begin, by transfer syntax (PS3.5 8.2, A.4, G). Nothing is decoded.
//!
//! In: the first bytes of a frame. Out: what is wrong with them.
//! A code stream that is of another size than the image is how decoders are made to write where they must not.

use super::super::super::transfer::Compression;
use super::Doubt;
use super::geometry::Image;
use crate::severity::Weight;

/// Bytes of a fragment that are enough to see how it begins.
pub(super) const HEAD: usize = 1024;

/// Bytes of a fragment in which the size must be, if it is not in the first [`HEAD`].
//= C7
pub(super) const WIDE_HEAD: usize = 65_536;

/// How a frame begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// Enough was seen.
    Seen(Option<Doubt>),
    /// The size is not in these bytes; the doubt if there are no more of them.
    Unclear(Doubt),
}

/// Judges the first [`HEAD`] or [`WIDE_HEAD`] bytes of a frame whose first fragment has this length.
pub(super) fn start(compression: Compression, head: &[u8], length: u32, image: &Image) -> Start {
    match compression {
        Compression::Jpeg | Compression::JpegLossless | Compression::JpegLs => {
            jpeg(compression, head, image)
        }
        Compression::Jpeg2000 | Compression::Jpeg2000Part2 => jpeg_2000(head, image),
        Compression::Uncompressed
        | Compression::Rle
        | Compression::Mpeg2
        | Compression::Mpeg4
        | Compression::JpegXl
        | Compression::Deflated => Start::Seen(sign(compression, head, length, image)),
    }
}

/// The same of code streams whose size is not looked at.
fn sign(compression: Compression, head: &[u8], length: u32, image: &Image) -> Option<Doubt> {
    match compression {
        Compression::Uncompressed => {
            let expected = image.frame_length()?;
            (expected != u128::from(length))
                .then(|| content("is a frame that is not as long as the image needs"))
        }
        Compression::Jpeg
        | Compression::JpegLossless
        | Compression::JpegLs
        | Compression::Jpeg2000
        | Compression::Jpeg2000Part2 => None,
        Compression::Rle => run_lengths(head, length, image),
        Compression::Mpeg2 => {
            let starts = head.starts_with(&[0, 0, 1, 0xb3]) || head.starts_with(&[0, 0, 1, 0xba]);
            (!starts && !is_transport(head)).then(|| content("does not begin as MPEG-2"))
        }
        Compression::Mpeg4 => {
            let box_or_code = head.get(4..8) == Some(b"ftyp")
                || head.starts_with(&[0, 0, 1])
                || head.starts_with(&[0, 0, 0, 1]);
            (!box_or_code && !is_transport(head))
                .then(|| content("does not begin as MPEG-4 or HEVC"))
        }
        Compression::JpegXl => {
            let starts =
                head.starts_with(&[0xff, 0x0a]) || head.starts_with(b"\0\0\0\x0cJXL \r\n\x87\n");
            (!starts).then(|| content("does not begin as JPEG XL"))
        }
        // The block type 3 does not exist (RFC 1951 3.2.3).
        Compression::Deflated => head
            .first()
            .is_some_and(|byte| byte & 6 == 6)
            .then(|| content("does not begin as a deflated stream")),
    }
}

/// A transport stream: packets of 188 bytes, or of 192 with a time stamp before each.
fn is_transport(head: &[u8]) -> bool {
    let synced = |first: usize, step: usize| {
        let places = head.iter().skip(first).step_by(step);
        places.clone().count() > 0 && places.clone().all(|byte| *byte == 0x47)
    };
    synced(0, 188) || synced(4, 192)
}

fn content(detail: &'static str) -> Doubt {
    Doubt {
        weight: Weight::Content,
        detail,
    }
}

fn strict(detail: &'static str) -> Doubt {
    Doubt {
        weight: Weight::Strict,
        detail,
    }
}

//= DICOM PS3.5 A.4.1
fn jpeg(compression: Compression, head: &[u8], image: &Image) -> Start {
    let wrong = Start::Seen(Some(content("does not begin as JPEG")));
    let [0xff, 0xd8, rest @ ..] = head else {
        return wrong;
    };
    let unclear = Start::Unclear(strict("is JPEG without a frame header at its beginning"));
    let mut rest = rest;
    // Segments up to the frame header.
    loop {
        let (marker, length, behind) = match rest {
            // Fill bytes.
            [0xff, behind @ ..] if behind.first() == Some(&0xff) => {
                rest = behind;
                continue;
            }
            [0xff, marker, high, low, behind @ ..] => {
                (*marker, u16::from_be_bytes([*high, *low]), behind)
            }
            [0xff, _] | [0xff, _, _] | [0xff] | [] => return unclear,
            _ => return wrong,
        };
        if is_frame_header(marker) {
            return frame_header(compression, marker, behind, image).map_or(unclear, Start::Seen);
        }
        let Some(length) = usize::from(length).checked_sub(2) else {
            return wrong;
        };
        match behind.get(length..) {
            Some(behind) => rest = behind,
            None => return unclear,
        }
    }
}

fn is_frame_header(marker: u8) -> bool {
    matches!(marker, 0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf | 0xf7)
}

/// `None` if the header is not complete.
fn frame_header(
    compression: Compression,
    marker: u8,
    header: &[u8],
    image: &Image,
) -> Option<Option<Doubt>> {
    let is_ls = marker == 0xf7;
    if is_ls != (compression == Compression::JpegLs) {
        return Some(Some(content(
            "is JPEG of another process than the transfer syntax",
        )));
    }
    let is_lossless = matches!(marker, 0xc3 | 0xc7 | 0xcb | 0xcf);
    if !is_ls && is_lossless != (compression == Compression::JpegLossless) {
        return Some(Some(strict(
            "is JPEG of another process than the transfer syntax",
        )));
    }
    let [_, y0, y1, x0, x1, components, ..] = *header else {
        return None;
    };
    let rows = u16::from_be_bytes([y0, y1]);
    let columns = u16::from_be_bytes([x0, x1]);
    // A frame header without rows has them behind the first scan.
    let rows = (rows != 0).then_some(u32::from(rows));
    let columns = Some(u32::from(columns));
    Some(size(rows, columns, u16::from(components), image))
}

//= DICOM PS3.5 A.4.4
fn jpeg_2000(head: &[u8], image: &Image) -> Start {
    if head.starts_with(JP2) {
        let file = strict("is a JPEG 2000 file where a code stream must be");
        let unclear = Start::Unclear(content("is a JPEG 2000 file without a code stream"));
        return match code_stream(head).map(|stream| siz(stream, image)) {
            Some(Start::Seen(doubt)) => Start::Seen(doubt.or(Some(file))),
            Some(Start::Unclear(_)) | None => unclear,
        };
    }
    siz(head, image)
}

/// The code stream in a JP2 file, which is made of boxes (ISO/IEC 15444-1 annex I).
fn code_stream(file: &[u8]) -> Option<&[u8]> {
    let mut rest = file;
    loop {
        let (length, behind) = rest.split_first_chunk::<4>()?;
        let (kind, behind) = behind.split_first_chunk::<4>()?;
        if kind == b"jp2c" {
            // A length of 1 is followed by one of 64 bits.
            let skipped = if *length == [0, 0, 0, 1] { 8 } else { 0 };
            return behind.get(skipped..);
        }
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        // No box but the last has a length of 0, and none that comes before it one of 64 bits.
        rest = rest
            .get(length.max(BOX_HEADER)..)
            .filter(|_| length >= BOX_HEADER)?;
    }
}

/// SIZ is the first segment.
fn siz(head: &[u8], image: &Image) -> Start {
    let Some(rest) = head.strip_prefix(&[0xff, 0x4f, 0xff, 0x51]) else {
        return Start::Seen(Some(content("does not begin as JPEG 2000")));
    };
    let number = |at: usize| {
        let bytes = rest.get(at..)?.first_chunk()?;
        Some(u32::from_be_bytes(*bytes))
    };
    let side = |end: usize, start: usize| number(end)?.checked_sub(number(start)?);
    let components = rest.get(36..).and_then(|rest| rest.first_chunk());
    let Some(components) = components.map(|bytes| u16::from_be_bytes(*bytes)) else {
        return Start::Unclear(strict("is JPEG 2000 without a size at its beginning"));
    };
    Start::Seen(size(side(8, 16), side(4, 12), components, image))
}

const JP2: &[u8] = b"\0\0\0\x0cjP  \r\n\x87\n";
const BOX_HEADER: usize = 8;

/// Compares a code stream with the image.
fn size(rows: Option<u32>, columns: Option<u32>, components: u16, image: &Image) -> Option<Doubt> {
    let differs = |own: Option<u32>, said: Option<u16>| {
        own.is_some_and(|own| said.is_some_and(|said| own != u32::from(said)))
    };
    if differs(rows, image.rows) || differs(columns, image.columns) {
        return Some(content("is a code stream of another size than the image"));
    }
    if image.samples.is_some_and(|samples| samples != components) {
        return Some(strict("is a code stream with other samples than the image"));
    }
    None
}

/// The number of segments and 15 offsets, of 4 bytes each.
//= DICOM PS3.5 G.5
fn run_lengths(head: &[u8], length: u32, image: &Image) -> Option<Doubt> {
    let (header, _) = head.as_chunks::<4>();
    let mut numbers = header
        .iter()
        .take(16)
        .map(|bytes| u32::from_le_bytes(*bytes));
    let wrong = Some(content("does not begin with a run length header"));
    let Some(count @ 1..=15) = numbers.next() else {
        return wrong;
    };
    let mut last = None;
    let mut seen = 0_u32;
    for offset in numbers {
        seen = seen.saturating_add(1);
        let good = match last {
            _ if seen > count => offset == 0,
            None => offset == 64,
            Some(last) => offset > last && offset < length,
        };
        if !good {
            return wrong;
        }
        if seen <= count {
            last = Some(offset);
        }
    }
    if seen != 15 || length <= 64 {
        return wrong;
    }
    let expected =
        u32::from(image.samples?).checked_mul(u32::from(image.allocated?.div_ceil(8)))?;
    (expected != count).then(|| content("has other run length segments than its pixels have bytes"))
}
