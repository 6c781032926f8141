//! How fast data sets are walked, beside the least that any reader must do:
//! `cargo bench -p protocol-inspect --bench dicom`.
//!
//! Sections: `generated` (structured reports, enhanced multi-frame headers, images), `chunks` (one report in chunks of several
//! sizes), `corpus` (the public samples in the folder that `LAZARET_CORPUS` names), `worst` (what costs most for its bytes).
//! A word on the command line runs one section: `cargo bench -p protocol-inspect --bench dicom -- worst`.
//!
//! What is measured is the whole judgement of a data set by all judges, from its first byte to its facts, in chunks as the
//! relay gets them. Beside it, in the same turns: copying the same bytes, and looking at each of them.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a measurement for people"
)]

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol_inspect::dicom::{
    Brief, Compression, Content, Policy, Profile, Rule, TransferSyntax, Walker,
};

/// The longest PDV that the relay announces, nearly.
const CHUNK: usize = 128 << 10;

fn main() {
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let runs = |name: &str| wanted.is_empty() || wanted.iter().any(|word| word == name);
    if runs("generated") {
        generated();
    }
    if runs("chunks") {
        chunks();
    }
    if runs("corpus") {
        corpus();
    }
    if runs("worst") {
        worst();
    }
}

/// A data set and how it is encoded.
#[derive(Clone)]
struct Set {
    syntax: TransferSyntax,
    bytes: Vec<u8>,
}

fn generated() {
    heading("generated, standard");
    for syntax in [
        TransferSyntax::ExplicitLittle,
        TransferSyntax::ImplicitLittle,
        TransferSyntax::ExplicitBig,
    ] {
        for (size, items) in [("750", 30), ("5,000", 200), ("100,000", 4_000)] {
            for open in [false, true] {
                let lengths = if open { "undefined" } else { "defined" };
                let name = format!("SR, {size}, {syntax:?}, {lengths}");
                line(&name, &[Maker { syntax, open }.report(items)], CHUNK);
            }
        }
        let maker = Maker {
            syntax,
            open: false,
        };
        let name = format!("multi-frame header, {syntax:?}");
        line(&name, &[maker.frames(1_000)], CHUNK);
    }
    let maker = Maker {
        syntax: TransferSyntax::ExplicitLittle,
        open: false,
    };
    line("CT, 512 by 512", &[maker.image(1)], CHUNK);
    line("CT, 200 frames", &[maker.image(200)], CHUNK);
    line(
        "fragments of 64 KiB",
        &[encapsulated(64 << 10, 1_600)],
        CHUNK,
    );
    line(
        "fragments of 256 bytes",
        &[encapsulated(256, 40_000)],
        CHUNK,
    );
}

fn chunks() {
    heading("one report of 5,000 elements, explicit, by size of chunk");
    let maker = Maker {
        syntax: TransferSyntax::ExplicitLittle,
        open: false,
    };
    for size in [1, 7, 64, 1 << 10, 16 << 10, 128 << 10] {
        line(&format!("{size} bytes"), &[maker.report(200)], size);
    }
}

/// The public samples.
fn corpus() {
    let root = std::env::var_os("LAZARET_CORPUS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus"),
        PathBuf::from,
    );
    let Ok(entries) = std::fs::read_dir(root.join("dicom")) else {
        println!("\nno corpus at {}: set LAZARET_CORPUS\n", root.display());
        return;
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "dcm"));
    paths.sort();
    let sets: Vec<(String, Set)> = paths
        .iter()
        .filter_map(|path| {
            let set = of_file(&std::fs::read(path).unwrap())?;
            let name = path.file_name()?.to_string_lossy().into_owned();
            walk(&set, CHUNK).ok().map(|_| (name, set))
        })
        .collect();
    heading(&format!(
        "corpus: {} of {} samples, the others cannot be walked to their end",
        sets.len(),
        paths.len()
    ));
    for (name, set) in &sets {
        line(name, std::slice::from_ref(set), CHUNK);
    }
    let all: Vec<Set> = sets.into_iter().map(|(_, set)| set).collect();
    line("all", &all, CHUNK);
}

/// The data set of a Part 10 file of explicit meta information, if its transfer syntax is carried.
fn of_file(bytes: &[u8]) -> Option<Set> {
    let meta = bytes.get(132..)?;
    let len = u32::from_le_bytes(*meta.get(8..)?.first_chunk()?);
    let (meta, set) = meta
        .get(12..)?
        .split_at_checked(usize::try_from(len).ok()?)?;
    let at = meta.windows(6).position(|part| part == b"\x02\0\x10\0UI")?;
    let len = u16::from_le_bytes(*meta.get(at + 6..)?.first_chunk()?);
    let uid = meta.get(at + 8..)?.get(..usize::from(len))?;
    let uid = std::str::from_utf8(uid).ok()?.trim_end_matches(['\0', ' ']);
    Some(Set {
        syntax: TransferSyntax::from_uid(uid)?,
        bytes: set.to_vec(),
    })
}

/// What costs most for its bytes.
fn worst() {
    heading("worst, standard");
    let explicit = |bytes| Set {
        syntax: TransferSyntax::ExplicitLittle,
        bytes,
    };
    let maker = Maker {
        syntax: TransferSyntax::ExplicitLittle,
        open: true,
    };
    let items = maker.sequence(0x0008, 0x1140, &vec![Vec::new(); 200_000]);
    line("empty items", &[explicit(items)], CHUNK);
    let mut nested = Vec::new();
    for _ in 0..60 {
        nested = maker.sequence(0x0008, 0x1140, &[nested]);
    }
    let deep = maker.sequence(0x0008, 0x1140, &vec![nested; 800]);
    line("sequences in sequences", &[explicit(deep)], CHUNK);
    let block: Vec<u8> = (0..50_000_u16)
        .flat_map(|n| maker.element(0x0009, 0x0100 + n, "LO", b""))
        .collect();
    line(
        "empty private elements, no creator",
        &[explicit(block)],
        CHUNK,
    );
    let creator = maker.element(0x0009, 0x0010, "LO", b"BENCH ");
    let owned = (0..=255).flat_map(|n| maker.element(0x0009, 0x1000 + n, "SH", b"A "));
    let item: Vec<u8> = creator.into_iter().chain(owned).collect();
    let private = maker.sequence(0x0008, 0x1140, &vec![item; 200]);
    line("private elements", &[explicit(private)], CHUNK);
    let unknown: Vec<u8> = (0..50_000_u16)
        .flat_map(|n| maker.element(0x0016, 0x0100 + n, "SH", b"A "))
        .collect();
    line("unknown elements", &[explicit(unknown)], CHUNK);
    let similar = maker.element(0x0008, 0x0060, "LO", b"CT");
    let similar = maker.sequence(0x0008, 0x1140, &vec![similar; 50_000]);
    line("another value representation", &[explicit(similar)], CHUNK);
}

/// Writes elements.
#[derive(Clone, Copy)]
struct Maker {
    syntax: TransferSyntax,
    /// Sequences and items of undefined length.
    open: bool,
}

impl Maker {
    fn word(self, value: u16) -> [u8; 2] {
        match self.syntax {
            TransferSyntax::ExplicitBig => value.to_be_bytes(),
            _ => value.to_le_bytes(),
        }
    }

    fn double(self, value: u32) -> [u8; 4] {
        match self.syntax {
            TransferSyntax::ExplicitBig => value.to_be_bytes(),
            _ => value.to_le_bytes(),
        }
    }

    fn header(self, group: u16, element: u16, vr: &str, length: u32) -> Vec<u8> {
        let mut out = [self.word(group), self.word(element)].concat();
        if self.syntax == TransferSyntax::ImplicitLittle || group == 0xfffe {
            out.extend(self.double(length));
            return out;
        }
        out.extend(vr.as_bytes());
        if matches!(vr, "OB" | "OW" | "SQ" | "UN" | "UT" | "UC" | "UR") {
            out.extend([0, 0]);
            out.extend(self.double(length));
        } else {
            out.extend(self.word(u16::try_from(length).unwrap()));
        }
        out
    }

    fn element(self, group: u16, element: u16, vr: &str, value: &[u8]) -> Vec<u8> {
        let mut value = value.to_vec();
        let padding = if vr == "UI" { 0 } else { b' ' };
        value.resize(value.len().next_multiple_of(2), padding);
        let length = u32::try_from(value.len()).unwrap();
        [self.header(group, element, vr, length), value].concat()
    }

    fn us(self, group: u16, element: u16, value: u16) -> Vec<u8> {
        self.element(group, element, "US", &self.word(value))
    }

    fn sequence(self, group: u16, element: u16, items: &[Vec<u8>]) -> Vec<u8> {
        let mut content = Vec::new();
        for item in items {
            let length = u32::try_from(item.len()).unwrap();
            let length = if self.open { u32::MAX } else { length };
            content.extend(self.header(0xfffe, 0xe000, "", length));
            content.extend(item);
            if self.open {
                content.extend(self.header(0xfffe, 0xe00d, "", 0));
            }
        }
        let length = u32::try_from(content.len()).unwrap();
        let length = if self.open { u32::MAX } else { length };
        let mut out = self.header(group, element, "SQ", length);
        out.extend(content);
        if self.open {
            out.extend(self.header(0xfffe, 0xe0dd, "", 0));
        }
        out
    }

    fn code(self, group: u16, element: u16, value: &str, meaning: &str) -> Vec<u8> {
        let item = [
            self.element(0x0008, 0x0100, "SH", value.as_bytes()),
            self.element(0x0008, 0x0102, "SH", b"DCM"),
            self.element(0x0008, 0x0104, "LO", meaning.as_bytes()),
        ];
        self.sequence(group, element, &[item.concat()])
    }

    fn patient(self, class: &str, modality: &str) -> Vec<u8> {
        [
            self.element(0x0008, 0x0005, "CS", b"ISO_IR 100"),
            self.element(0x0008, 0x0016, "UI", class.as_bytes()),
            self.element(0x0008, 0x0018, "UI", b"1.2.826.0.1.3680043.8.498.1"),
            self.element(0x0008, 0x0020, "DA", b"20260101"),
            self.element(0x0008, 0x0060, "CS", modality.as_bytes()),
            self.element(0x0010, 0x0010, "PN", b"Canary^Synthetic"),
            self.element(0x0010, 0x0020, "LO", b"CANARY-1"),
            self.element(0x0020, 0x000d, "UI", b"1.2.826.0.1.3680043.8.498.2"),
            self.element(0x0020, 0x000e, "UI", b"1.2.826.0.1.3680043.8.498.3"),
        ]
        .concat()
    }

    /// Measurements in groups: about 25 elements each, items and delimiters included.
    fn report(self, groups: usize) -> Set {
        let number = [
            self.element(0x0040, 0xa010, "CS", b"CONTAINS"),
            self.element(0x0040, 0xa040, "CS", b"NUM"),
            self.code(0x0040, 0xa043, "112039", "Tracking Identifier"),
            self.sequence(
                0x0040,
                0xa300,
                &[[
                    self.code(0x0040, 0x08ea, "mm", "millimeter"),
                    self.element(0x0040, 0xa30a, "DS", b"12.345"),
                ]
                .concat()],
            ),
        ];
        let text = [
            self.element(0x0040, 0xa010, "CS", b"HAS PROPERTIES"),
            self.element(0x0040, 0xa040, "CS", b"TEXT"),
            self.code(0x0040, 0xa043, "121071", "Finding"),
            self.element(
                0x0040,
                0xa160,
                "UT",
                b"steady, without change since the last one",
            ),
        ];
        let items = vec![number.concat(), text.concat()];
        let group = [
            self.element(0x0040, 0xa010, "CS", b"CONTAINS"),
            self.element(0x0040, 0xa040, "CS", b"CONTAINER"),
            self.element(0x0040, 0xa050, "CS", b"SEPARATE"),
            self.sequence(0x0040, 0xa730, &items),
        ];
        let bytes = [
            self.patient("1.2.840.10008.5.1.4.1.1.88.33", "SR"),
            self.element(0x0040, 0xa040, "CS", b"CONTAINER"),
            self.element(0x0040, 0xa050, "CS", b"SEPARATE"),
            self.sequence(0x0040, 0xa730, &vec![group.concat(); groups]),
        ];
        Set {
            syntax: self.syntax,
            bytes: bytes.concat(),
        }
    }

    /// The functional groups of an enhanced image, without its pixels.
    fn frames(self, count: usize) -> Set {
        let one = |group, element, content: &[Vec<u8>]| {
            self.sequence(group, element, &[content.concat()])
        };
        let frame = [
            one(
                0x0018,
                0x9114,
                &[self.element(0x0018, 0x9082, "FD", &[0; 8])],
            ),
            one(
                0x0020,
                0x9111,
                &[
                    self.element(0x0018, 0x9074, "DT", b"20260101120000.000000"),
                    self.element(0x0018, 0x9151, "DT", b"20260101120000.000000"),
                    self.element(0x0018, 0x9220, "FD", &[0; 8]),
                    self.element(0x0020, 0x9056, "SH", b"1"),
                    self.element(0x0020, 0x9057, "UL", &self.double(1)),
                ],
            ),
            one(
                0x0020,
                0x9113,
                &[self.element(0x0020, 0x0032, "DS", b"-125.5\\-130.25\\12.5")],
            ),
            one(
                0x0020,
                0x9116,
                &[self.element(0x0020, 0x0037, "DS", b"1\\0\\0\\0\\1\\0")],
            ),
            one(
                0x0028,
                0x9110,
                &[
                    self.element(0x0018, 0x0050, "DS", b"2.5"),
                    self.element(0x0028, 0x0030, "DS", b"0.5\\0.5"),
                ],
            ),
            one(
                0x0028,
                0x9132,
                &[
                    self.element(0x0028, 0x1050, "DS", b"40"),
                    self.element(0x0028, 0x1051, "DS", b"400"),
                ],
            ),
        ];
        let bytes = [
            self.patient("1.2.840.10008.5.1.4.1.1.4.1", "MR"),
            self.sequence(0x5200, 0x9230, &vec![frame.concat(); count]),
        ];
        Set {
            syntax: self.syntax,
            bytes: bytes.concat(),
        }
    }

    fn image(self, frames: usize) -> Set {
        let bytes = [
            self.patient("1.2.840.10008.5.1.4.1.1.2", "CT"),
            self.us(0x0028, 0x0002, 1),
            self.element(0x0028, 0x0004, "CS", b"MONOCHROME2"),
            self.element(0x0028, 0x0008, "IS", frames.to_string().as_bytes()),
            self.us(0x0028, 0x0010, 512),
            self.us(0x0028, 0x0011, 512),
            self.us(0x0028, 0x0100, 16),
            self.us(0x0028, 0x0101, 16),
            self.us(0x0028, 0x0102, 15),
            self.us(0x0028, 0x0103, 0),
            self.element(0x7fe0, 0x0010, "OW", &vec![1; 512 * 512 * 2 * frames]),
        ];
        Set {
            syntax: self.syntax,
            bytes: bytes.concat(),
        }
    }
}

fn encapsulated(length: usize, count: usize) -> Set {
    let maker = Maker {
        syntax: TransferSyntax::ExplicitLittle,
        open: false,
    };
    let size = u32::try_from(length).unwrap();
    let mut fragment = maker.header(0xfffe, 0xe000, "", size);
    fragment.extend(vec![1; length]);
    let mut bytes = maker.patient("1.2.840.10008.5.1.4.1.1.2", "CT");
    bytes.extend(maker.header(0x7fe0, 0x0010, "OB", u32::MAX));
    bytes.extend(maker.header(0xfffe, 0xe000, "", 0));
    bytes.extend(fragment.repeat(count));
    bytes.extend(maker.header(0xfffe, 0xe0dd, "", 0));
    Set {
        syntax: TransferSyntax::Encapsulated(Compression::Jpeg),
        bytes,
    }
}

fn brief() -> Brief {
    let policy = Policy {
        rules: vec![Rule {
            name: "all".to_owned(),
            profiles: vec![Profile::standard()],
            ..Rule::default()
        }],
        ..Policy::default()
    };
    Brief {
        content: Content::Instance(None),
        policy: Arc::new(policy),
        rule: Some(0),
    }
}

/// How many elements came.
fn walk(set: &Set, chunk: usize) -> Result<usize, String> {
    let brief = brief();
    let mut walker = Walker::new(set.syntax, &brief);
    for bytes in set.bytes.chunks(chunk) {
        walker.feed(bytes).map_err(|refusal| refusal.to_string())?;
    }
    walker.finish().map_err(|refusal| refusal.to_string())?;
    Ok(walker.elements())
}

fn heading(title: &str) {
    println!("\n{title}");
    println!(
        "{:44} {:>10} {:>8} {:>8} {:>9} {:>8} {:>8}",
        "", "bytes", "elements", "MB/s", "ns/elem.", "memchr", "memcpy"
    );
}

/// Walks the sets in turn, and copies and scans them in the same turns, so that a busy machine is busy for all.
fn line(name: &str, sets: &[Set], chunk: usize) {
    let bytes: usize = sets.iter().map(|set| set.bytes.len()).sum();
    let elements: usize = sets
        .iter()
        .map(|set| walk(set, chunk).unwrap_or_else(|fault| panic!("{name}: {fault}")))
        .sum();
    let brief = brief();
    let rounds = (1_000_000 / bytes).max(1);
    let turns = if bytes > 20_000_000 { 8 } else { 40 };
    let [mut walked, mut scanned, mut copied] = [Duration::MAX; 3];
    let mut copy = vec![0; bytes];
    let best = |best: &mut Duration, start: Instant| {
        let time = start.elapsed() / u32::try_from(rounds).unwrap();
        *best = time.min(*best);
    };
    for _ in 0..turns {
        let start = Instant::now();
        for _ in 0..rounds {
            for set in sets {
                let mut walker = Walker::new(set.syntax, &brief);
                for bytes in set.bytes.chunks(chunk) {
                    walker.feed(black_box(bytes)).unwrap();
                }
                black_box(walker.finish().unwrap());
            }
        }
        best(&mut walked, start);
        let start = Instant::now();
        for _ in 0..rounds {
            for set in sets {
                black_box(memchr::memchr_iter(0x07, black_box(&set.bytes)).count());
            }
        }
        best(&mut scanned, start);
        let start = Instant::now();
        for _ in 0..rounds {
            for set in sets {
                let bytes = black_box(&set.bytes);
                copy[..bytes.len()].copy_from_slice(bytes);
                black_box(&copy);
            }
        }
        best(&mut copied, start);
    }
    let rate = |time: Duration| bytes as f64 / time.as_secs_f64() / 1e6;
    println!(
        "{name:44} {bytes:10} {elements:8} {:8.0} {:9.1} {:8.0} {:8.0}",
        rate(walked),
        walked.as_secs_f64() * 1e9 / elements as f64,
        rate(scanned),
        rate(copied),
    );
}
