//! Bulk data against its description: each refusal beside its accepted twin.

use protocol_inspect::dicom::{Compression, TransferSyntax};
use protocol_inspect::{Base, Limits};

use super::build::{delimiter, element, fragment, header, text, us};
use super::data_set::walk;

const NATIVE: TransferSyntax = TransferSyntax::ExplicitLittle;

/// The elements of an image by tag; later ones replace earlier ones.
#[derive(Clone)]
pub(crate) struct Image(std::collections::BTreeMap<(u16, u16), Vec<u8>>);

impl Image {
    /// Monochrome, 4 by 3 pixels of 16 bits, without pixel data.
    pub(crate) fn new() -> Self {
        Self([].into())
            .us(0x0002, 1)
            .cs(0x0004, "MONOCHROME2")
            .us(0x0010, 4)
            .us(0x0011, 3)
            .us(0x0100, 16)
            .us(0x0101, 12)
            .us(0x0102, 11)
            .us(0x0103, 0)
    }

    fn colour() -> Self {
        Self::new()
            .us(0x0002, 3)
            .cs(0x0004, "RGB")
            .us(0x0006, 0)
            .us(0x0100, 8)
            .us(0x0101, 8)
            .us(0x0102, 7)
    }

    fn us(self, number: u16, value: u16) -> Self {
        self.with(0x0028, number, "US", &us(value))
    }

    fn cs(self, number: u16, value: &str) -> Self {
        self.with(0x0028, number, "CS", &text(value))
    }

    fn frames(self, frames: &str) -> Self {
        self.with(0x0028, 0x0008, "IS", &text(frames))
    }

    pub(crate) fn with(mut self, group: u16, number: u16, vr: &str, value: &[u8]) -> Self {
        let bytes = if matches!(vr, "OV" | "OF" | "OD") {
            let length = u32::try_from(value.len()).unwrap();
            [header(group, number, vr, length), value.to_vec()].concat()
        } else {
            element(group, number, vr, value)
        };
        self.0.insert((group, number), bytes);
        self
    }

    fn without(mut self, number: u16) -> Self {
        self.0.remove(&(0x0028, number));
        self
    }

    fn native(self, length: usize) -> Vec<u8> {
        self.with(0x7fe0, 0x0010, "OW", &vec![0; length]).bytes()
    }

    /// With a basic offset table and these fragments.
    pub(crate) fn encapsulated(mut self, table: &[u32], fragments: &[&[u8]]) -> Vec<u8> {
        let table: Vec<u8> = table.iter().flat_map(|n| n.to_le_bytes()).collect();
        let mut pixels = header(0x7fe0, 0x0010, "OB", u32::MAX);
        pixels.extend(fragment(&table));
        for bytes in fragments {
            pixels.extend(fragment(bytes));
        }
        pixels.extend(delimiter(0xe0dd, 0));
        self.0.insert((0x7fe0, 0x0010), pixels);
        self.bytes()
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.values().flatten().copied().collect()
    }
}

fn said(syntax: TransferSyntax, bytes: &[u8], base: Base) -> String {
    match walk(syntax, bytes, base, &Limits::default()) {
        Ok(warnings) => format!("accepts{warnings}"),
        Err(refusal) => format!("refuses {} | {refusal}", refusal.reason.code()),
    }
}

/// What both profiles say, in one line if it is the same.
pub(crate) fn table(name: &str, syntax: TransferSyntax, cases: &[(&str, Vec<u8>)]) {
    let mut all = String::new();
    for (case, bytes) in cases {
        let standard = said(syntax, bytes, Base::Standard);
        let strict = said(syntax, bytes, Base::Strict);
        if standard == strict {
            all.push_str(&format!("{case}: {standard}\n"));
        } else {
            all.push_str(&format!("{case}: {standard}\n    strict: {strict}\n"));
        }
    }
    insta::assert_snapshot!(name, all);
}

#[test]
fn native_images() {
    let image = Image::new;
    table(
        "native",
        NATIVE,
        &[
            ("4 by 3 of 16 bits", image().native(24)),
            ("two bytes less", image().native(22)),
            ("two bytes more", image().native(26)),
            (
                "half a row more than kept",
                image().us(0x0010, 400).native(2402),
            ),
            ("longer than kept", image().us(0x0010, 400).native(2400)),
            ("2 frames", image().frames("2").native(48)),
            ("2 frames, one came", image().frames("2").native(24)),
            (
                "rows twice",
                image().with(0x0028, 0x0010, "US", &[4, 0, 4, 0]).native(24),
            ),
            (
                "rows of four unknown bytes",
                image().with(0x0028, 0x0010, "UN", &[4, 0, 0, 0]).native(24),
            ),
            (
                "rows of two unknown bytes",
                image().with(0x0028, 0x0010, "UN", &[4, 0]).native(24),
            ),
            (
                "halved colours with all samples",
                Image::colour().cs(0x0004, "YBR_FULL_422").native(36),
            ),
            (
                "halved colours, longer still",
                Image::colour().cs(0x0004, "YBR_FULL_422").native(38),
            ),
            ("no frames", image().frames("0").native(0)),
            ("frames in words", image().frames("two").native(24)),
            (
                "1 bit",
                image().us(0x0100, 1).us(0x0101, 1).us(0x0102, 0).native(2),
            ),
            ("colour", Image::colour().native(36)),
            (
                "colour as 2 of 3",
                Image::colour().cs(0x0004, "YBR_FULL_422").native(24),
            ),
            ("no rows", image().us(0x0010, 0).native(0)),
            ("12 bits allocated", image().us(0x0100, 12).native(18)),
            (
                "16 of 8 bits stored",
                image().us(0x0100, 8).us(0x0101, 16).native(12),
            ),
            ("no bits stored", image().us(0x0101, 0).native(24)),
            ("high bit 16", image().us(0x0102, 16).native(24)),
            ("high bit 15", image().us(0x0102, 15).native(24)),
            ("representation 2", image().us(0x0103, 2).native(24)),
            (
                "planar configuration 2",
                Image::colour().us(0x0006, 2).native(36),
            ),
            ("no samples", image().us(0x0002, 0).native(0)),
            ("grey with 3 samples", image().us(0x0002, 3).native(72)),
            ("unknown colours", image().cs(0x0004, "GREYISH").native(24)),
            (
                "retired colours",
                Image::colour().cs(0x0004, "HSV").native(36),
            ),
            (
                "colours of JPEG 2000",
                Image::colour().cs(0x0004, "YBR_RCT").native(36),
            ),
            ("without rows", image().without(0x0010).native(24)),
            (
                "65535 of everything",
                image()
                    .us(0x0010, 65535)
                    .us(0x0011, 65535)
                    .frames("2147483647")
                    .native(24),
            ),
            (
                "floats",
                image()
                    .us(0x0100, 32)
                    .with(0x7fe0, 0x0008, "OF", &[0; 48])
                    .bytes(),
            ),
            (
                "floats, one too few",
                image()
                    .us(0x0100, 32)
                    .with(0x7fe0, 0x0008, "OF", &[0; 44])
                    .bytes(),
            ),
            (
                "doubles",
                image()
                    .us(0x0100, 64)
                    .with(0x7fe0, 0x0009, "OD", &[0; 96])
                    .bytes(),
            ),
            (
                "floats and integers",
                image().with(0x7fe0, 0x0008, "OF", &[0; 48]).native(24),
            ),
        ],
    );
}

#[test]
fn palettes_overlays_and_tables() {
    let descriptor = |entries: u16, bits: u16| [us(entries), us(0), us(bits)].concat();
    let palette = |entries: u16, bits: u16, length: usize| {
        let mut image = Image::new()
            .cs(0x0004, "PALETTE COLOR")
            .us(0x0100, 8)
            .us(0x0101, 8)
            .us(0x0102, 7);
        for colour in 0..3 {
            image = image
                .with(0x0028, 0x1101 + colour, "US", &descriptor(entries, bits))
                .with(0x0028, 0x1201 + colour, "OW", &vec![0; length]);
        }
        image
    };
    let numbers = |entries: usize| {
        palette(256, 16, 512)
            .with(0x0028, 0x1201, "US", &vec![0; entries * 2])
            .native(12)
    };
    let overlay = |rows: u16, frames: &str, length: usize| {
        let mut image = Image::new().with(0x6002, 0x0010, "US", &us(rows));
        if !frames.is_empty() {
            image = image.with(0x6002, 0x0015, "IS", &text(frames));
        }
        image
            .with(0x6002, 0x0011, "US", &us(10))
            .with(0x6002, 0x3000, "OW", &vec![0; length])
            .native(24)
    };
    let item = |content: &[Vec<u8>]| fragment(&content.concat());
    let voi = |length: usize| {
        let item = item(&[
            element(0x0028, 0x3002, "US", &descriptor(16, 12)),
            element(0x0028, 0x3006, "OW", &vec![0; length]),
        ]);
        Image::new().with(0x0028, 0x3010, "SQ", &item).native(24)
    };
    let waveform = |channels: u16, length: usize| {
        let channel = item(&[element(0x003a, 0x0203, "SH", b"I ")]);
        let group = item(&[
            element(0x003a, 0x0005, "US", &us(channels)),
            element(0x003a, 0x0010, "UL", &1000_u32.to_le_bytes()),
            element(0x003a, 0x0200, "SQ", &channel),
            element(0x5400, 0x1004, "US", &us(16)),
            element(0x5400, 0x1010, "OW", &vec![0; length]),
        ]);
        element(0x5400, 0x0100, "SQ", &[group.clone(), group].concat())
    };
    let icon = |length: usize| {
        let pixels = Image::new().us(0x0010, 2).native(length);
        let sequence = element(0x0088, 0x0200, "SQ", &fragment(&pixels));
        // The image around it is another.
        [
            Image::new().bytes(),
            sequence,
            element(0x7fe0, 0x0010, "OW", &[0; 24]),
        ]
        .concat()
    };
    table(
        "described",
        NATIVE,
        &[
            ("palette of 256", palette(256, 16, 512).native(12)),
            ("palette of 65536", palette(0, 8, 65536).native(12)),
            ("palette of bytes", palette(256, 8, 256).native(12)),
            (
                "palette of bytes said to be words",
                palette(256, 16, 256).native(12),
            ),
            ("palette of numbers", numbers(256)),
            ("palette of numbers, too short", numbers(255)),
            ("palette too short", palette(256, 16, 510).native(12)),
            ("palette of 4 bits", palette(256, 4, 256).native(12)),
            (
                "descriptor of two numbers",
                palette(256, 16, 512)
                    .with(0x0028, 0x1102, "US", &[0; 4])
                    .native(12),
            ),
            (
                "palettes that differ",
                palette(256, 16, 512)
                    .with(0x0028, 0x1102, "US", &descriptor(128, 16))
                    .with(0x0028, 0x1202, "OW", &[0; 256])
                    .native(12),
            ),
            (
                "no blue palette",
                palette(256, 16, 512).without(0x1203).native(12),
            ),
            ("overlay", overlay(10, "", 14)),
            ("overlay too short", overlay(10, "", 12)),
            ("overlay of 3 frames", overlay(10, "3", 38)),
            ("overlay of 3 frames, two came", overlay(10, "3", 26)),
            ("lookup table in an item", voi(32)),
            ("lookup table in an item, too long", voi(34)),
            ("waveform", waveform(2, 4000)),
            ("waveform, too short", waveform(2, 3998)),
            (
                "overlay of two numbers of rows",
                Image::new()
                    .with(0x6002, 0x0010, "US", &[10, 0, 10, 0])
                    .native(24),
            ),
            ("icon", icon(12)),
            ("icon, too long", icon(14)),
        ],
    );
}

/// A frame that begins as JPEG of this process and size.
pub(crate) fn jpeg(process: u8, rows: u16, columns: u16) -> Vec<u8> {
    let mut bytes = vec![0xff, 0xd8, 0xff, 0xe0, 0, 4, 0, 0, 0xff, process, 0, 11, 8];
    bytes.extend(rows.to_be_bytes());
    bytes.extend(columns.to_be_bytes());
    bytes.extend([1, 1, 0x11, 0, 0xff, 0xd9, 0]);
    bytes
}

/// With a comment of this length before all other segments.
fn commented(length: u16, frame: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xff, 0xd8, 0xff, 0xfe];
    bytes.extend((length + 2).to_be_bytes());
    bytes.resize(bytes.len() + usize::from(length), b'x');
    bytes.extend(frame.iter().skip(2));
    bytes
}

const JP2: &[u8] = b"\0\0\0\x0cjP  \r\n\x87\n";

fn jpeg_2000(rows: u32, columns: u32) -> Vec<u8> {
    let mut bytes = vec![0xff, 0x4f, 0xff, 0x51, 0, 41, 0, 0];
    // An image that begins at 5, 7 of its grid.
    for number in [columns + 5, rows + 7, 5, 7, 64, 64, 0, 0] {
        bytes.extend(number.to_be_bytes());
    }
    bytes.extend([0, 1, 11, 1, 1, 0xff, 0xd9, 0]);
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    bytes
}

fn run_lengths(offsets: &[u32], length: usize) -> Vec<u8> {
    let mut bytes = u32::try_from(offsets.len()).unwrap().to_le_bytes().to_vec();
    bytes.extend(offsets.iter().flat_map(|offset| offset.to_le_bytes()));
    bytes.resize(64, 0);
    bytes.resize(length, 1);
    bytes
}

#[test]
fn offset_tables() {
    let image = |frames: &str| Image::new().frames(frames);
    let frame = jpeg(0xc0, 4, 3);
    let one = u32::try_from(frame.len()).unwrap() + 8;
    let rest: &[u8] = &[1; 10];
    let both = [&frame[..], &frame];
    let wide =
        |numbers: &[u64]| -> Vec<u8> { numbers.iter().flat_map(|n| n.to_le_bytes()).collect() };
    let extended = |offsets: &[u64], lengths: &[u64], basic: &[u32]| {
        image("2")
            .with(0x7fe0, 0x0001, "OV", &wide(offsets))
            .with(0x7fe0, 0x0002, "OV", &wide(lengths))
            .encapsulated(basic, &both)
    };
    let length = u64::from(one - 8);
    let many = {
        let frames: Vec<&[u8]> = vec![&frame; 400];
        let table: Vec<u32> = (0..400).map(|n| n * one).collect();
        (frames, table)
    };
    table(
        "offset_tables",
        TransferSyntax::Encapsulated(Compression::Jpeg),
        &[
            (
                "one frame, no table",
                image("1").encapsulated(&[], &[&frame]),
            ),
            (
                "one frame in two, no table",
                image("1").encapsulated(&[], &[&frame, rest]),
            ),
            ("two frames, no table", image("2").encapsulated(&[], &both)),
            (
                "two frames in three, no table",
                image("2").encapsulated(&[], &[&frame, rest, &frame]),
            ),
            ("three frames in two", image("3").encapsulated(&[], &both)),
            (
                "second of two is none",
                image("2").encapsulated(&[], &[&frame, rest]),
            ),
            ("two frames", image("2").encapsulated(&[0, one], &both)),
            (
                "two frames in three",
                image("2").encapsulated(&[0, one + 18], &[&frame, rest, &frame]),
            ),
            ("400 frames", image("400").encapsulated(&many.1, &many.0)),
            ("begins at 8", image("2").encapsulated(&[8, one], &both)),
            ("does not ascend", image("2").encapsulated(&[0, 0], &both)),
            (
                "points into a fragment",
                image("2").encapsulated(&[0, one - 2], &both),
            ),
            (
                "points behind the end",
                image("2").encapsulated(&[0, one + one], &both),
            ),
            (
                "one offset for two frames",
                image("2").encapsulated(&[0], &both),
            ),
            (
                "first frame only, three fragments",
                image("2").encapsulated(&[0], &[&frame, &frame, &frame]),
            ),
            (
                "three offsets for two frames",
                image("2").encapsulated(&[0, one, one + 18], &[&frame, &frame, rest]),
            ),
            (
                "a frame where none begins",
                image("2").encapsulated(&[0, one], &[&frame, rest]),
            ),
            (
                "empty fragment",
                image("1").encapsulated(&[], &[&frame, &[]]),
            ),
            (
                "extended",
                extended(&[0, u64::from(one)], &[length, length], &[]),
            ),
            (
                "extended, odd frame",
                extended(&[0, u64::from(one)], &[length, length - 1], &[]),
            ),
            (
                "extended, wrong length",
                extended(&[0, u64::from(one)], &[length, length - 2], &[]),
            ),
            (
                "extended, wrong offset",
                extended(&[0, u64::from(one) + 2], &[length, length], &[]),
            ),
            (
                "extended, one length",
                extended(&[0, u64::from(one)], &[length], &[]),
            ),
            ("extended, one of two", extended(&[0], &[length], &[])),
            (
                "extended and basic",
                extended(&[0, u64::from(one)], &[length, length], &[0, one]),
            ),
        ],
    );
}

#[test]
fn code_streams() {
    use Compression::{
        Deflated, Jpeg, Jpeg2000, JpegLossless, JpegLs, JpegXl, Mpeg2, Mpeg4, Rle, Uncompressed,
    };
    let grey = || Image::new().us(0x0100, 8).us(0x0101, 8).us(0x0102, 7);
    let with = |bytes: &[u8]| grey().encapsulated(&[], &[bytes]);
    let program = || {
        let mut bytes = b"MZ\x90\0\x03\0\0\0".to_vec();
        bytes.resize(128, 0);
        bytes
    };
    let no_table =
        |frames: &str, fragments: &[&[u8]]| grey().frames(frames).encapsulated(&[], fragments);
    let long_rle = run_lengths(&[64], 80);
    let cases: Vec<(&str, Compression, Vec<u8>)> = vec![
        ("JPEG", Jpeg, with(&jpeg(0xc0, 4, 3))),
        ("JPEG of another size", Jpeg, with(&jpeg(0xc0, 4, 300))),
        (
            "JPEG with rows behind the scan",
            Jpeg,
            with(&jpeg(0xc0, 0, 3)),
        ),
        ("JPEG, lossless", Jpeg, with(&jpeg(0xc3, 4, 3))),
        ("JPEG-LS as JPEG", Jpeg, with(&jpeg(0xf7, 4, 3))),
        ("JPEG 2000 as JPEG", Jpeg, with(&jpeg_2000(4, 3))),
        ("lossless JPEG", JpegLossless, with(&jpeg(0xc3, 4, 3))),
        ("JPEG-LS", JpegLs, with(&jpeg(0xf7, 4, 3))),
        ("JPEG as JPEG-LS", JpegLs, with(&jpeg(0xc0, 4, 3))),
        ("JPEG 2000", Jpeg2000, with(&jpeg_2000(4, 3))),
        (
            "JPEG 2000 of another size",
            Jpeg2000,
            with(&jpeg_2000(3, 3)),
        ),
        (
            "JPEG with a long comment",
            Jpeg,
            with(&commented(60_000, &jpeg(0xc0, 4, 3))),
        ),
        (
            "JPEG of another size with a long comment",
            Jpeg,
            with(&commented(60_000, &jpeg(0xc0, 4, 300))),
        ),
        (
            "JPEG with too long a comment",
            Jpeg,
            with(&commented(65_532, &jpeg(0xc0, 4, 3))),
        ),
        (
            "JPEG 2000 of this size in a file",
            Jpeg2000,
            with(&[JP2, b"\0\0\0\x08ftyp\0\0\0\0jp2c", &jpeg_2000(4, 3)].concat()),
        ),
        (
            "JPEG 2000 of another size in a file",
            Jpeg2000,
            with(&[JP2, b"\0\0\0\x08ftyp\0\0\0\0jp2c", &jpeg_2000(3, 3)].concat()),
        ),
        (
            "JPEG 2000 in a file",
            Jpeg2000,
            with(b"\0\0\0\x0cjP  \r\n\x87\n"),
        ),
        (
            "colours of JPEG 2000",
            Jpeg2000,
            grey()
                .us(0x0002, 3)
                .cs(0x0004, "YBR_RCT")
                .encapsulated(&[], &[&jpeg_2000(4, 3)]),
        ),
        ("run lengths", Rle, with(&long_rle)),
        ("run lengths, no segments", Rle, with(&run_lengths(&[], 80))),
        (
            "run lengths, header only",
            Rle,
            with(&run_lengths(&[64], 64)),
        ),
        (
            "run lengths, second before first",
            Rle,
            Image::new().encapsulated(&[], &[&run_lengths(&[64, 64], 80)]),
        ),
        (
            "run lengths, 16 bits",
            Rle,
            Image::new().encapsulated(&[], &[&run_lengths(&[64, 70], 80)]),
        ),
        (
            "run lengths, 16 bits in one",
            Rle,
            Image::new().encapsulated(&[], &[&long_rle]),
        ),
        (
            "run lengths, behind the end",
            Rle,
            Image::new().encapsulated(&[], &[&run_lengths(&[64, 80], 80)]),
        ),
        (
            "run lengths, two frames",
            Rle,
            no_table("2", &[&long_rle, &long_rle]),
        ),
        (
            "run lengths, one frame in two",
            Rle,
            no_table("1", &[&long_rle, &long_rle]),
        ),
        (
            "run lengths of 2 of 3",
            Rle,
            Image::colour()
                .cs(0x0004, "YBR_FULL_422")
                .encapsulated(&[], &[&run_lengths(&[64, 70, 76], 80)]),
        ),
        (
            "MPEG-2",
            Mpeg2,
            no_table("500", &[&[0, 0, 1, 0xb3, 0, 0], &[0; 10]]),
        ),
        (
            "MPEG-2 without a start",
            Mpeg2,
            no_table("500", &[&[0, 0, 2, 0xb3, 0, 0]]),
        ),
        ("MPEG-4", Mpeg4, no_table("500", &[b"\0\0\0\x18ftypmp42"])),
        ("HEVC", Mpeg4, no_table("500", &[&[0, 0, 0, 1, 0x40, 1]])),
        ("not MPEG-4", Mpeg4, no_table("500", &[b"RIFF\0\0\0\0"])),
        ("JPEG XL", JpegXl, with(&[0xff, 0x0a, 0, 0])),
        ("not JPEG XL", JpegXl, with(&[0xff, 0x0b, 0, 0])),
        ("uncompressed", Uncompressed, with(&[0; 12])),
        ("uncompressed, too long", Uncompressed, with(&[0; 14])),
        ("deflated frame", Deflated, with(&[0x63, 0x60, 0x18, 0x05])),
        ("no deflated frame", Deflated, with(&[0x07, 0x60])),
        (
            "program in a later fragment",
            Jpeg,
            no_table("1", &[&jpeg(0xc0, 4, 3), &program()]),
        ),
        (
            "archive in a later fragment",
            Jpeg,
            no_table("1", &[&jpeg(0xc0, 4, 3), b"PK\x03\x04\x14\0\0\0"]),
        ),
        (
            "two letters in a later fragment",
            Jpeg,
            no_table("1", &[&jpeg(0xc0, 4, 3), b"MZ\x90\x01"]),
        ),
    ];
    let mut all = String::new();
    for (case, compression, bytes) in cases {
        let syntax = TransferSyntax::Encapsulated(compression);
        let verdict = said(syntax, &bytes, Base::Standard);
        all.push_str(&format!("{case}: {verdict}\n"));
    }
    insta::assert_snapshot!(all);
}

#[test]
fn offsets_are_bounded() {
    let limits = Limits {
        dicom_offsets: 2,
        ..Limits::default()
    };
    let frame = jpeg(0xc0, 4, 3);
    let one = u32::try_from(frame.len()).unwrap() + 8;
    let image = |frames: u32| {
        let table: Vec<u32> = (0..frames).map(|n| n * one).collect();
        let fragments: Vec<&[u8]> = table.iter().map(|_| &frame[..]).collect();
        Image::new()
            .frames(&frames.to_string())
            .encapsulated(&table, &fragments)
    };
    let says = |frames| {
        let syntax = TransferSyntax::Encapsulated(Compression::Jpeg);
        walk(syntax, &image(frames), Base::Standard, &limits)
    };
    assert_eq!(says(2).unwrap(), "");
    assert_eq!(
        says(3).unwrap_err().to_string(),
        "dicom_offsets: 3 is more than 2"
    );
}

#[test]
fn compressed_images_have_a_geometry() {
    let frame = jpeg(0xc0, 4, 3);
    let image = || Image::new().us(0x0100, 8).us(0x0101, 8).us(0x0102, 7);
    let says = |image: Image| {
        let syntax = TransferSyntax::Encapsulated(Compression::Jpeg);
        let bytes = image.encapsulated(&[], &[&frame]);
        let said = walk(syntax, &bytes, Base::Standard, &Limits::default());
        said.unwrap_or_else(|refusal| refusal.to_string())
    };
    assert_eq!(says(image()), "");
    for number in [0x0010, 0x0011] {
        let said = says(image().without(number));
        assert_eq!(said, "(7fe0,0010): comes without the image geometry");
    }
}
