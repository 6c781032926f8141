//! How fast data sets are walked, beside the least that any reader must do:
//! `cargo bench -p protocol-inspect --bench dicom`.
//!
//! Sections: `generated` (structured reports, enhanced multi-frame headers, images), `chunks` (one report in chunks of several
//! sizes), `corpus` (the public samples in the folder that `LAZARET_CORPUS` names), `small` (what every data set costs),
//! `strict` (as the strict profile looks), `worst` (what costs most for its bytes, at parts of the limits).
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
use protocol_inspect::{Base, Limits};

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
    if runs("small") {
        small();
    }
    if runs("strict") {
        strict();
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
            walk(&set, &brief(), CHUNK).ok().map(|_| (name, set))
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

/// What is begun and ended for a data set, however small: a key of a query, and an instance of few elements.
fn small() {
    heading("small, standard: what a data set costs that has next to nothing");
    let maker = Maker {
        syntax: TransferSyntax::ExplicitLittle,
        open: false,
    };
    let set = |bytes| Set {
        syntax: maker.syntax,
        bytes,
    };
    line(
        "one element",
        &[set(maker.element(0x0008, 0x0060, "CS", b"CT"))],
        CHUNK,
    );
    for (name, class) in [
        ("ten elements, CT", "1.2.840.10008.5.1.4.1.1.2"),
        ("ten elements, enhanced MR", "1.2.840.10008.5.1.4.1.1.4.1"),
        (
            "ten elements, comprehensive SR",
            "1.2.840.10008.5.1.4.1.1.88.33",
        ),
        ("ten elements, no known class", "1.2.3.4"),
    ] {
        line(name, &[set(maker.patient(class, "CT"))], CHUNK);
    }
}

/// As the strict profile looks at data sets: in shadow, so that it goes on behind what it minds.
fn strict() {
    heading("generated, strict in shadow");
    for syntax in [
        TransferSyntax::ExplicitLittle,
        TransferSyntax::ImplicitLittle,
    ] {
        let maker = Maker {
            syntax,
            open: false,
        };
        for (name, set) in [
            ("SR, 750", maker.report(30)),
            ("SR, 100,000", maker.report(4_000)),
            ("multi-frame header", maker.frames(1_000)),
            ("CT, 512 by 512", maker.image(1)),
        ] {
            let sets = [set];
            line_by(
                &brief_of(Base::Strict),
                &format!("{name}, {syntax:?}"),
                &sets,
                CHUNK,
            );
        }
    }
}

/// What costs most for its bytes, at a quarter, a half and the whole of the bound that holds for it: the cost of a byte
/// must not grow with their number.
fn worst() {
    println!("\nworst, standard: ms for each MB at a quarter, a half and the whole");
    println!(
        "{:44} {:>10} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "", "bytes", "elements", "1/4", "1/2", "1", "MB/s"
    );
    structure();
    judged();
    values();
    bulk();
}

/// Elements, items and sequences.
fn structure() {
    let open = Maker {
        syntax: TransferSyntax::ExplicitLittle,
        open: true,
    };
    let elements = Limits::default().dicom_elements;
    growth("empty items", elements / 2 - 10, |count| {
        explicit(open.sequence(0x0008, 0x1140, &vec![Vec::new(); count]))
    });
    let mut nested = Vec::new();
    for _ in 0..60 {
        nested = open.sequence(0x0008, 0x1140, &[nested]);
    }
    growth("sequences in sequences", elements / 242, |count| {
        explicit(open.sequence(0x0008, 0x1140, &vec![nested.clone(); count]))
    });
    let mut deep = Vec::new();
    let defined = Maker {
        open: false,
        ..open
    };
    for _ in 0..60 {
        deep = defined.sequence(0x0008, 0x1140, &[deep]);
    }
    growth("the same of defined length", elements / 121 - 1, |count| {
        explicit(defined.sequence(0x0008, 0x1140, &vec![deep.clone(); count]))
    });
    let in_items = |item: Vec<u8>, elements: usize| {
        move |count: usize| {
            let items = vec![item.clone(); count / (elements + 2)];
            explicit(open.sequence(0x0008, 0x1140, &items))
        }
    };
    let block: Vec<u8> = (0..1_000_u16)
        .flat_map(|n| open.element(0x0009, 0x1000 + n, "LO", b""))
        .collect();
    let make = in_items(block, 1_000);
    growth("empty private elements, no creator", elements - 10, make);
    let creator = open.element(0x0009, 0x0010, "LO", b"BENCH ");
    let owned = (0..=255).flat_map(|n| open.element(0x0009, 0x1000 + n, "SH", b"A "));
    let make = in_items(creator.into_iter().chain(owned).collect(), 257);
    growth("private elements", elements - 10, make);
    let creators = (0x10..=0xff).flat_map(|n| open.element(0x0009, n, "LO", b"A "));
    let owned = (0x10..=0xff).flat_map(|n| open.element(0x0009, n << 8, "SH", b"A "));
    let make = in_items(creators.chain(owned).collect(), 480);
    growth("private creators", elements - 10, make);
    let unknown = (0..1_000).flat_map(|n| open.element(0x0016, 0x0100 + n, "SH", b"A "));
    let make = in_items(unknown.collect(), 1_000);
    growth("unknown elements", elements - 10, make);
    let similar = open.element(0x0008, 0x0060, "LO", b"CT");
    let make = in_items(similar, 1);
    growth("another value representation", elements - 10, make);
    let groups = (0x0008..0x0808).step_by(2);
    let groups = groups.flat_map(|group| open.element(group, 0, "UL", &[0; 4]));
    let make = in_items(groups.collect(), 1_024);
    growth("groups with a length", elements - 10, make);
}

/// What information objects ask of items, for each that is empty.
fn judged() {
    let maker = Maker {
        syntax: TransferSyntax::ExplicitLittle,
        open: false,
    };
    let elements = Limits::default().dicom_elements;
    for (name, class, group, element) in [
        ("empty items of content", "88.33", 0x0040, 0xa730),
        ("empty items of frames", "4.1", 0x5200, 0x9230),
        ("empty items of beams", "481.5", 0x300a, 0x00b0),
        ("empty items of ion beams", "481.8", 0x300a, 0x03a2),
        ("empty items of segments", "66.4", 0x0062, 0x0002),
    ] {
        growth(name, elements - 20, |count| {
            let class = format!("1.2.840.10008.5.1.4.1.1.{class}");
            let items = maker.sequence(group, element, &vec![Vec::new(); count]);
            explicit([maker.patient(&class, "OT"), items].concat())
        });
    }
}

/// Values with flaws, and values of many.
fn values() {
    let explicit_maker = Maker {
        syntax: TransferSyntax::ExplicitLittle,
        open: true,
    };
    let elements = Limits::default().dicom_elements;
    for (name, group, element, vr, value) in [
        (
            "codes with flaws",
            0x0008,
            0x0060,
            "CS",
            &b"\x01a\\\0\0"[..],
        ),
        ("UIDs with flaws", 0x0008, 0x1155, "UI", b"0..01.a "),
        ("dates with flaws", 0x0008, 0x0020, "DA", b"2x\\ \0"),
        (
            "names with flaws",
            0x0010,
            0x0010,
            "PN",
            b"^^^^^^^====\x01\0",
        ),
        ("short bytes", 0x0028, 0x2000, "OB", b"MZ"),
    ] {
        let element = explicit_maker.element(group, element, vr, value);
        growth_by(&brief_of(Base::Strict), name, elements / 3 - 10, |count| {
            explicit(explicit_maker.sequence(0x0008, 0x1140, &vec![element.clone(); count]))
        });
    }
    let implicit = Maker {
        syntax: TransferSyntax::ImplicitLittle,
        open: true,
    };
    for (name, group, element, value) in [
        ("one element of many codes", 0x0008, 0x0008, &b"A\\"[..]),
        ("one element of many numbers", 0x0020, 0x0032, b"1\\"),
        ("one element of many integers", 0x0028, 0x0008, b"\\"),
        ("one element of many UIDs", 0x0008, 0x1155, b"1.2\\"),
        ("one element of many dates", 0x0008, 0x0020, b"20260101\\"),
        ("one element of many texts", 0x0008, 0x1090, b"a\\"),
        ("one element of many names", 0x0010, 0x1001, b"^=\\"),
        ("one element of NULs", 0x0010, 0x1001, b"\0"),
    ] {
        growth(name, MANY / value.len(), |count| Set {
            syntax: implicit.syntax,
            bytes: implicit.element(group, element, "", &value.repeat(count)),
        });
    }
    for (name, charset, text) in [
        (
            "shifts",
            &b"\\ISO 2022 IR 87\\ISO 2022 IR 13"[..],
            &b"\x1b$B\x1b(B"[..],
        ),
        (
            "shifted characters",
            b"\\ISO 2022 IR 87",
            b"\x1b$B01\x1b(B^",
        ),
        ("UTF-8", b"ISO_IR 192", b"\xe6\x97\xa5="),
        ("GB18030", b"GB18030", b"\x81\x30\x81\x30"),
        ("broken UTF-8", b"ISO_IR 192", b"\xf0\x80 "),
        ("unknown shifts", b"\\ISO 2022 IR 87", b"\x1b\x1b"),
    ] {
        for (kind, tag) in [("name", 0x0010), ("text", 0x4000)] {
            growth(&format!("{name} in a {kind}"), MANY / text.len(), |count| {
                Set {
                    syntax: implicit.syntax,
                    bytes: [
                        implicit.element(0x0008, 0x0005, "", charset),
                        implicit.element(0x0010, tag, "", &text.repeat(count)),
                    ]
                    .concat(),
                }
            });
        }
    }
}

/// Fragments and documents.
fn bulk() {
    let limits = Limits::default();
    for length in [4, 256] {
        let name = format!("fragments of {length} bytes");
        growth(
            &name,
            limits.dicom_elements / (1 + length / 16) - 20,
            |count| encapsulated(length, count),
        );
    }
    let maker = Maker {
        syntax: TransferSyntax::ExplicitLittle,
        open: true,
    };
    let class = "1.2.840.10008.5.1.4.1.1.104.2";
    for (name, text) in [
        ("XML that nests", &b"<a>"[..]),
        ("XML of attributes", b"<a b='c'/>"),
        ("XML of references", b"&lt;"),
    ] {
        growth(
            name,
            limits.dicom_markup.min(100_000 * text.len()) / text.len() - 64,
            |count| {
                let depth = if text == b"<a>" { count.min(100) } else { 0 };
                let inner = if depth > 0 {
                    [&b"<a>".repeat(depth)[..], &b"</a>".repeat(depth)]
                        .concat()
                        .repeat(count / depth / 3)
                } else {
                    text.repeat(count)
                };
                let document = [
                    &b"<ClinicalDocument xmlns='urn:hl7-org:v3'>"[..],
                    &inner,
                    b"</ClinicalDocument>",
                ];
                document_of(maker, class, &document.concat())
            },
        );
    }
    for (name, text) in [
        ("PDF of names", &b"/J#61 "[..]),
        ("PDF of objects", b"1 0 obj<<>>endobj\n"),
        ("PDF of streams", b"stream\nendstream\n"),
        ("PDF of archives", b"PK\x05\x06PK\x03\x04"),
    ] {
        growth(name, MANY / text.len(), |count| {
            let class = "1.2.840.10008.5.1.4.1.1.104.1";
            let document = [&b"%PDF-1.7\n"[..], &text.repeat(count)].concat();
            document_of(maker, class, &document)
        });
    }
}

fn document_of(maker: Maker, class: &str, document: &[u8]) -> Set {
    let document = maker.element(0x0042, 0x0011, "OB", document);
    explicit([maker.patient(class, "DOC"), document].concat())
}

fn explicit(bytes: Vec<u8>) -> Set {
    Set {
        syntax: TransferSyntax::ExplicitLittle,
        bytes,
    }
}

/// So many bytes of one value, where only the size of the data set bounds it.
const MANY: usize = 16 << 20;

/// How the cost of a byte grows with the number of `make`. A refusal is a cost, too; it is said.
fn growth(name: &str, full: usize, make: impl Fn(usize) -> Set) {
    growth_by(&brief(), name, full, make);
}

fn growth_by(brief: &Brief, name: &str, full: usize, make: impl Fn(usize) -> Set) {
    let mut told = String::new();
    let ([mut bytes, mut elements], mut rate) = ([0, 0], 0.0);
    for part in [4, 2, 1] {
        let set = make(full / part);
        let mut best = Duration::MAX;
        let mut refusal = None;
        for _ in 0..5 {
            let start = Instant::now();
            let mut walker = Walker::new(set.syntax, brief);
            let walked = set
                .bytes
                .chunks(CHUNK)
                .try_for_each(|bytes| walker.feed(black_box(bytes)));
            let walked = walked.and_then(|()| walker.finish().map(|_| ()));
            best = best.min(start.elapsed());
            elements = walker.elements();
            refusal = walked.err();
        }
        bytes = set.bytes.len();
        let megabytes = bytes as f64 / 1e6;
        rate = megabytes / best.as_secs_f64();
        told += &format!(" {:8.2}", best.as_secs_f64() * 1e3 / megabytes);
        if let (Some(refusal), 1) = (refusal, part) {
            println!("{name}: {refusal}");
        }
    }
    println!("{name:44} {bytes:10} {elements:8}{told} {rate:8.0}");
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

/// A stream of MPEG-2 in many fragments.
fn encapsulated(length: usize, count: usize) -> Set {
    let maker = Maker {
        syntax: TransferSyntax::ExplicitLittle,
        open: false,
    };
    let size = u32::try_from(length).unwrap();
    let fragment = |bytes: &[u8]| {
        let mut fragment = maker.header(0xfffe, 0xe000, "", size);
        fragment.extend(bytes);
        fragment.resize(length + 8, 1);
        fragment
    };
    let mut bytes = maker.patient("1.2.840.10008.5.1.4.1.1.2", "CT");
    bytes.extend(maker.element(0x0028, 0x0008, "IS", b"1"));
    bytes.extend(maker.header(0x7fe0, 0x0010, "OB", u32::MAX));
    bytes.extend(maker.header(0xfffe, 0xe000, "", 0));
    bytes.extend(fragment(&[0, 0, 1, 0xb3][..length.min(4)]));
    bytes.extend(fragment(b"").repeat(count - 1));
    bytes.extend(maker.header(0xfffe, 0xe0dd, "", 0));
    Set {
        syntax: TransferSyntax::Encapsulated(Compression::Mpeg2),
        bytes,
    }
}

fn brief() -> Brief {
    brief_of(Base::Standard)
}

fn brief_of(base: Base) -> Brief {
    let policy = Policy {
        rules: vec![Rule {
            name: "all".to_owned(),
            profiles: vec![Profile::of(base)],
            shadow: base == Base::Strict,
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
fn walk(set: &Set, brief: &Brief, chunk: usize) -> Result<usize, String> {
    let mut walker = Walker::new(set.syntax, brief);
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
    line_by(&brief(), name, sets, chunk);
}

fn line_by(brief: &Brief, name: &str, sets: &[Set], chunk: usize) {
    let bytes: usize = sets.iter().map(|set| set.bytes.len()).sum();
    let elements: usize = sets
        .iter()
        .map(|set| walk(set, brief, chunk).unwrap_or_else(|fault| panic!("{name}: {fault}")))
        .sum();
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
                let mut walker = Walker::new(set.syntax, brief);
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
