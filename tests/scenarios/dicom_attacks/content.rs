//! Attacks in values: text that readers choke on, programs that wait for a reader, bombs for those who unpack.

use e2e::modality::{
    DataSet, EXPLICIT, JPEG, Request, US, command, element, header, mark, store, text, ui,
};
use e2e::{Lab, memory};

use super::{Ward, image, images_refused, instance, refused_in};

const PROGRAMS: [(&str, &[u8]); 4] = [
    (
        "a Windows program",
        b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0",
    ),
    ("a Linux program", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0"),
    (
        "a macOS program",
        b"\xcf\xfa\xed\xfe\x07\0\0\x01\x03\0\0\0\x02\0\0\0",
    ),
    ("a script", b"#!/bin/sh\nrm -rf /\n\n"),
];

/// Programs in the preamble of a file that is sent as a data set, in a document, in a fragment of an image.
#[test]
#[expect(clippy::too_many_lines, reason = "a table of attacks")]
fn attack_01_programs() {
    const PDF: &str = "1.2.840.10008.5.1.4.1.1.104.1";
    let file = |program: &[u8]| {
        let mut file = program.to_vec();
        file.resize(128, 0);
        file.extend(b"DICM");
        [
            file,
            element(0x0002_0010, "UI", &ui(EXPLICIT)),
            image().bytes(),
        ]
        .concat()
    };
    let document = |content: &[u8]| {
        let mut content = content.to_vec();
        content.resize(content.len().next_multiple_of(2), 0);
        let mut set = image()
            .with(0x0008_0016, "UI", ui(PDF))
            .without(0x7fe0_0010);
        for tag in [
            0x0028_0002,
            0x0028_0004,
            0x0028_0010,
            0x0028_0011,
            0x0028_0100,
            0x0028_0101,
            0x0028_0102,
            0x0028_0103,
        ] {
            set = set.without(tag);
        }
        set.with(0x0008_0060, "CS", text("DOC"))
            .with(0x0042_0010, "ST", text("REPORT"))
            .with(0x0042_0011, "OB", content)
            .with(0x0042_0012, "LO", text("application/pdf"))
    };
    let fragments = |first: &[u8]| {
        let mut fragment = first.to_vec();
        fragment.resize(64, 0);
        let pixels = [
            header(0x7fe0_0010, "OB", 0xffff_ffff),
            mark(0xe000, 0),
            mark(0xe000, 64),
            fragment,
            mark(0xe0dd, 0),
        ]
        .concat();
        [image().without(0x7fe0_0010).bytes(), pixels].concat()
    };
    Lab::run(|lab| {
        let ward = Ward::open_with(lab, |site| {
            site.replace(
                "\"CT Image Storage\"]",
                "\"CT Image Storage\", \"Encapsulated PDF Storage\"]",
            );
        });
        let files = PROGRAMS.map(|(what, program)| (what, file(program), "status C000"));
        images_refused(&ward, files.to_vec());
        let request = Request::new(&[(1, US, &[EXPLICIT]), (3, PDF, &[EXPLICIT])]);
        let mut modality = ward.associated_by(&request, "AC 0 0");
        let set = |number| command(&store(number, PDF, &instance(1)));
        for (what, program) in PROGRAMS {
            let said = modality.ask_in(3, &set(1), Some(&document(program).bytes()));
            assert_eq!(said, "status C000", "{what} as a document");
        }
        let before = ward.archive.stored().len();
        let report = document(b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\ntrailer<<>>\n%%EOF\n");
        assert_eq!(
            modality.ask_in(3, &set(2), Some(&report.bytes())),
            "status 0000"
        );
        assert_eq!(ward.archive.wait_for(before + 1).len(), before + 1);

        // A program where a code stream must be; the twin is a code stream that no decoder would like: it is not decoded.
        let compressed = Request::new(&[(1, US, &[JPEG])]);
        let mut modality = ward.associated_by(&compressed, "AC 0");
        let own = || command(&store(1, US, &instance(1)));
        for (what, program) in PROGRAMS {
            let said = modality.ask(&own(), Some(&fragments(program)));
            assert_eq!(said, "status C000", "{what} as a fragment");
        }
        assert_eq!(ward.archive.stored().len(), before + 1);
        let stream = fragments(b"\xff\xd8\xff\xdb\0\x43\0garbage that crashes codecs");
        assert_eq!(modality.ask(&own(), Some(&stream)), "status 0000");
        let stored = ward.archive.wait_for(before + 2);
        assert!(std::fs::read(stored.last().unwrap()).unwrap() == stream);
    });
}

/// Text that is not of its character set, and control characters that reach logs and terminals.
#[test]
fn attack_15_text_and_log_injection() {
    Lab::run(|lab| {
        let ward = Ward::open(lab);
        let utf8 = || image().with(0x0008_0005, "CS", text("ISO_IR 192"));
        images_refused(
            &ward,
            vec![
                (
                    "not the UTF-8 that it declares",
                    utf8()
                        .with(0x0010_0010, "PN", b"M\xfcller".to_vec())
                        .bytes(),
                    "status C000",
                ),
                (
                    "an overlong slash",
                    utf8()
                        .with(0x0010_0010, "PN", b"A\xc0\xaf ".to_vec())
                        .bytes(),
                    "status C000",
                ),
                (
                    "a character set that does not exist",
                    image()
                        .with(0x0008_0005, "CS", text("ISO_IR 999"))
                        .with(0x0010_0010, "PN", b"M\xfcller".to_vec())
                        .bytes(),
                    "status C000",
                ),
                (
                    "a line feed in a name",
                    image()
                        .with(0x0010_0010, "PN", text("A\nroot:x:0:0"))
                        .bytes(),
                    "status C000",
                ),
                (
                    "an escape for a terminal",
                    image()
                        .with(0x0008_0070, "LO", text("\x1b[2J\x1b]0;x\x07"))
                        .bytes(),
                    "status C000",
                ),
                (
                    "a NUL in the middle",
                    image().with(0x0010_0020, "LO", text("47\0 11")).bytes(),
                    "status C000",
                ),
                (
                    "a date that does not exist",
                    image().with(0x0010_0030, "DA", text("20260231")).bytes(),
                    "status C000",
                ),
                (
                    "a number that is none",
                    image().with(0x0020_0013, "IS", text("1; DROP")).bytes(),
                    "status C000",
                ),
            ],
        );
        let mut modality = ward.associated();
        let right = DataSet::image(&instance(2))
            .with(0x0008_0005, "CS", text("ISO_IR 192"))
            .with(0x0010_0010, "PN", "Müller^Zoë".as_bytes().to_vec());
        let said = modality.ask(&command(&store(2, US, &instance(2))), Some(&right.bytes()));
        assert_eq!(said, "status 0000");
        ward.archive.wait_for(2);
        let log = ward.gateway.log();
        assert!(!log.contains('\x1b') && !log.contains("root:x"), "{log}");
    });
}

/// A kilobyte that unpacks to a gigabyte.
//= C7
#[test]
fn attack_08_deflate_bomb() {
    const DEFLATED: &str = "1.2.840.10008.1.2.1.99";
    Lab::run(|lab| {
        let ward = Ward::open(lab);
        let relay = ward.gateway.workers()["relay-dicom"];
        let (before, _) = memory(relay);
        let head = image().without(0x7fe0_0010).bytes();
        let private = [image().bytes(), element(0x7fe1_0010, "LO", b"BOMB")].concat();
        // As the pixels of an image that is small, and as what nobody knows.
        let bombs = [
            (deflated(lab, &head, 0x7fe0_0010, 1 << 30), "status C000"),
            (deflated(lab, &private, 0x7fe1_1001, 1 << 30), "status A700"),
        ];
        let request = Request::new(&[(1, US, &[DEFLATED]), (3, US, &[EXPLICIT])]);
        let own = || command(&store(1, US, &instance(1)));
        let mut modality = ward.associated_by(&request, "AC 0 0");
        for (bomb, gets) in bombs {
            assert!(bomb.len() < 2 << 20, "{} bytes", bomb.len());
            assert_eq!(modality.ask(&own(), Some(&bomb)), gets);
        }
        let (_, most) = memory(relay);
        assert!(
            most < before + (32 << 10),
            "grew from {before} to {most} KiB"
        );
        assert!(ward.archive.stored().is_empty());
        // The twin unpacks to what it says, and arrives as it was.
        let honest = deflated(lab, &image().bytes(), 0, 0);
        assert_eq!(modality.ask(&own(), Some(&honest)), "status 0000");
        let stored = ward.archive.wait_for(1);
        assert!(std::fs::read(&stored[0]).unwrap() == honest);
        refused_in(
            &ward,
            &Request::usual(),
            "AC 0 0",
            &[(
                "deflated, but not said to be",
                own(),
                deflated(lab, &image().bytes(), 0, 0),
                "status C000",
            )],
        );
    });
}

/// A raw deflate stream of a data set, with an element of so many zeros behind it.
fn deflated(lab: &Lab, head: &[u8], tag: u32, zeros: u32) -> Vec<u8> {
    let folder = lab.folder("deflate");
    let (from, to) = (folder.join("from"), folder.join("to"));
    let mut plain = head.to_vec();
    if zeros > 0 {
        plain.extend(header(tag, "OB", zeros));
    }
    std::fs::write(&from, plain).unwrap();
    let program = "import sys, zlib\n\
        z = zlib.compressobj(9, zlib.DEFLATED, -15)\n\
        out = z.compress(open(sys.argv[1], 'rb').read())\n\
        for _ in range(int(sys.argv[3]) >> 20): out += z.compress(bytes(1 << 20))\n\
        out += z.flush()\n\
        open(sys.argv[2], 'wb').write(out + bytes(len(out) % 2))\n";
    let (from, to_text) = (from.display().to_string(), to.display().to_string());
    let python = e2e::peer_program("python");
    let line = [&python, "-c", program, &from, &to_text, &zeros.to_string()];
    let _ = lab.output(e2e::Place::Home2, &line).ok();
    std::fs::read(&to).unwrap()
}
