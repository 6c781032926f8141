use std::fmt::Write as _;

use dicom_core::header::VR;
use proptest::prelude::*;

use super::super::uid::UidScan;
use super::*;
use crate::severity::Weight;

/// One line for each value: how many values it is, and its flaws; those that every profile refuses in capitals.
fn table(query: bool, repertoire: Repertoire, cases: &[(VR, &[&[u8]])]) -> String {
    let mut text = String::new();
    let case = Case { repertoire, query };
    for (vr, values) in cases {
        for value in *values {
            let judged = judge(*vr, value, &case);
            writeln!(text, "{vr:?} {}", line(value, judged)).unwrap();
        }
    }
    text
}

fn line(value: &[u8], Judged { count, flaws }: Judged) -> String {
    let mut shown = format!("“{}” {count}", value.escape_ascii());
    if value.len() > 90 {
        shown = format!("({} bytes) {count}", value.len());
    }
    for flaw in flaws.iter() {
        let detail = flaw.detail();
        if flaw.weight().1 == Weight::Content {
            shown.push_str(&format!(" | REFUSED: {detail}"));
        } else {
            shown.push_str(&format!(" | strict: {detail}"));
        }
    }
    shown
}

fn width(vr: VR) -> u32 {
    if vr == VR::US {
        2
    } else if vr == VR::FD {
        8
    } else {
        1
    }
}

/// At once, and byte by byte: the same.
fn judge(vr: VR, value: &[u8], case: &Case) -> Judged {
    let judged = whole(vr, width(vr), value, case);
    if let Some(streamed) = in_chunks(vr, value, case, 1) {
        assert_eq!(streamed, judged, "{vr:?} {}", value.escape_ascii());
    }
    judged
}

fn in_chunks(vr: VR, value: &[u8], case: &Case, size: usize) -> Option<Judged> {
    if value.is_empty() {
        return None;
    }
    let mut long = Long::new(vr, case)?;
    value.chunks(size).for_each(|chunk| long.push(chunk));
    Some(long.end())
}

#[test]
fn codes_and_identifiers() {
    let (max, more) = ("1.".repeat(31) + "22", "1.".repeat(32) + "2");
    insta::assert_snapshot!(table(
        false,
        Repertoire::Default,
        &[
            (
                VR::AE,
                &[
                    b"",
                    b"PACS1 ",
                    b" STORE\\echo",
                    b"1234567890123456",
                    b"12345678901234567",
                    b"    ",
                    b"A\nB ",
                    b"A\xc4",
                    b"AB\0\0",
                    b"A\0B ",
                ],
            ),
            (
                VR::CS,
                &[
                    b"ORIGINAL\\PRIMARY\\AXIAL ",
                    b"MONOCHROME2 ",
                    b"\\A",
                    b"A_1 2 ",
                    b"Head",
                    b"A-B ",
                    b"*AB ",
                    b"12345678901234567 ",
                    b"A\0",
                    b"\0\0",
                    b"A\x1b[2J",
                    b"\xe9A",
                    &[b'A'; 128],
                    &[b'A'; 130],
                ],
            ),
            (
                VR::UI,
                &[
                    b"1.2.840.10008.1.1\0",
                    b"1.2\\1.3",
                    b"1.2\\\\1.3",
                    b"0.0\0",
                    max.as_bytes(),
                    more.as_bytes(),
                    b"1.02",
                    b"1.2 ",
                    b"1.2\0\0",
                    b"\0\0",
                    b"1..2",
                    b"1.2.",
                    b".1",
                    b"1.x\0",
                    b"1.2\0\\1.3",
                    b"../../x",
                    b"*\0",
                    b"\xd9\xa1",
                ],
            ),
            (
                VR::UR,
                &[
                    b"https://example.org/a?b=%20&c=[1]#d ",
                    b"urn:oid:1.2",
                    b" http://example.org",
                    b"http://example.org/a b",
                    b"http://a\\b",
                    b"http://\xe4.org",
                    b"a\n",
                    b"a\0",
                    b"a\0b ",
                ],
            ),
        ],
    ));
}

#[test]
fn numbers() {
    insta::assert_snapshot!(table(
        false,
        Repertoire::Default,
        &[
            (
                VR::AS,
                &[
                    b"045Y",
                    b"001D\\010W",
                    b"12M ",
                    b"45Y ",
                    b"045y",
                    b"-12Y",
                    b"4\x00\x005"
                ]
            ),
            (
                VR::DS,
                &[
                    b"0",
                    b"-1.5E-10",
                    b"+.5 ",
                    b" 1. ",
                    b"1\\\\2\\ 3",
                    b"1234567890.12345",
                    b"1234567890.123456",
                    b"1,5 ",
                    b"1E",
                    b".",
                    b"NaN ",
                    b"inf ",
                    b"0x1F",
                    b"1 2 ",
                    b"1\0",
                    b"1\n",
                    b"1\\ \\2",
                    b"  ",
                    b"\xef\xbc\x91 ",
                ],
            ),
            (
                VR::IS,
                &[
                    b"0",
                    b"-2147483648",
                    b"2147483647",
                    b"+12 ",
                    b" 7",
                    b"000000000012",
                    b"0000000000012",
                    b"-2147483649",
                    b"2147483648",
                    b"99999999999999999999",
                    b"1.0 ",
                    b"1A",
                    b"- ",
                ],
            ),
            (VR::US, &[b"", b"\0\x01", b"\0\x01\0\x02", b"\0\x01\0"]),
            (VR::FD, &[b"12345678", b"1234567"]),
            (VR::OB, &[b"1234", b""]),
            (VR::UN, &[b"\0\xff\x1b"]),
        ],
    ));
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn dates_and_times() {
    insta::assert_snapshot!(table(
        false,
        Repertoire::Default,
        &[
            (
                VR::DA,
                &[
                    b"20240229",
                    b"20000229",
                    b"20240101\\20240102",
                    b"20230229",
                    b"19000229",
                    b"20240431",
                    b"20241301",
                    b"20240100",
                    b"00000000",
                    b"2024.01.31",
                    b"2024.02.31",
                    b"2024-01-31",
                    b"20240000",
                    b"20241300",
                    b"2024",
                    b"202401",
                    b"202413",
                    b"-",
                    b"--",
                    b" 20240101",
                    b"20240101-",
                    b"20240101-20240201",
                    b"2024010A",
                    b"        ",
                    b"\"\"",
                    b"*",
                ],
            ),
            (
                VR::TM,
                &[
                    b"23",
                    b"2359",
                    b"235960",
                    b"000000.1",
                    b"235959.123456 ",
                    b"235959.1234567",
                    b"23:59:59.1234567",
                    b"235961",
                    b"240000",
                    b"240000.0",
                    b"240001",
                    b"2360",
                    b"12:30",
                    b"12:30:15.5",
                    b"12:61",
                    b"1",
                    b"123",
                    b"120000.",
                    b"12-13",
                    b"12:3A ",
                ],
            ),
            (
                VR::DT,
                &[
                    b"2024",
                    b"202402",
                    b"20240229",
                    b"2024022912",
                    b"20240229123060.123456+1400",
                    b"2024-0500",
                    b"20240229123059-1200",
                    b"20240230",
                    b"202413",
                    b"2024022925",
                    b"20240229123059+1401",
                    b"20240229123059-1201",
                    b"20240229123059+0160",
                    b"2024+05",
                    b"2024.02.29",
                    b"20",
                    b"20240101-20240201",
                ],
            ),
        ],
    ));
}

#[test]
fn keys_of_queries() {
    insta::assert_snapshot!(table(
        true,
        Repertoire::Utf8,
        &[
            (VR::CS, &[b"CT\\MR ", b"C* ", b"?T", b"c*"]),
            (VR::AE, &[b"PACS*"]),
            (VR::LO, &[b"*", b"A?C*", b"\"\"", "Ä*".as_bytes()]),
            (VR::PN, &[b"DOE*", b"*^JANE"]),
            (VR::UI, &[b"1.2\\1.3\\1.4", b"*", b"1.2*", b"\"\""]),
            (
                VR::DA,
                &[
                    b"20240101",
                    b"20240101-",
                    b"-20240101",
                    b"20240101-20240201",
                    b"20240101 - 20240201",
                    b"20240101-20240230",
                    b"-",
                    b"*",
                    b"2024*",
                    b"\"\"",
                    b"20240101-20240201-20240301",
                    b"2024.01.01-2024.02.01",
                ],
            ),
            (
                VR::TM,
                &[b"10-12", b"1000-", b"-235959.5", b"-25", b"1000-1"]
            ),
            (
                VR::DT,
                &[
                    b"2024-2025",
                    b"2024-0500",
                    b"2024-0500-2025-0500",
                    b"-2024+0100",
                    b"2024-0500-",
                    b"2024-0560-",
                ],
            ),
            (VR::IS, &[b"1", b"*", b"1*"]),
        ],
    ));
}

#[test]
fn text() {
    let long = |unit: &str, count: usize| unit.repeat(count).into_bytes();
    let (a16, a17) = (long("é", 16), long("é", 17));
    let (a64, a65) = (long("日", 64), long("日", 65));
    let padded = [&a64[..], b"    "].concat();
    let two = [&a64[..], b"\\", &a65].concat();
    let (st, st_more) = (long("x", 1024), long("x", 1025));
    let (lt, lt_more) = (long("ж", 10_240), long("ж", 10_241));
    let groups = [&a64[..], b"=", &a64, b"=", &a64].concat();
    let group = [&a64[..], b"=", &a65].concat();
    let carets = [&a64[..60], b"^A^B^C^D"].concat();
    insta::assert_snapshot!(table(
        false,
        Repertoire::Utf8,
        &[
            (
                VR::SH,
                &[
                    &a16, &a17, b" A ", b"A\\B", b"A\tB ", b"A\r\n ", b"A\r\nB", b"A\n\\B"
                ]
            ),
            (
                VR::LO,
                &[
                    &a64, &a65, &padded, &two, b"A\0", b"A\0B ", b"A\0\\B", b"A\r\nB", b"A\x7f"
                ]
            ),
            (VR::UC, &[&lt_more, b"A\\\\", b"A\x07"]),
            (
                VR::PN,
                &[
                    b"Doe^Jane",
                    b"A^B^C^D^E=F^G=H\\I",
                    b"A^B^C^D^E^F",
                    b"A=B=C=D",
                    &groups,
                    &group,
                    &carets,
                    b"A\nB ",
                    b"==",
                ],
            ),
            (
                VR::ST,
                &[
                    &st,
                    &st_more,
                    b"a\\b\r\n\x0c\tc ",
                    b"a\x0b",
                    b"a\x1b[0m",
                    b"a\0"
                ]
            ),
            (VR::LT, &[&lt, &lt_more, b"a\\b^c=d"]),
            (VR::UT, &[&lt_more, b" a\\b", b"a\x01", b"a\0b "]),
        ],
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn chunks_change_nothing(
        vr in prop::sample::select(TEXTUAL.to_vec()),
        repertoire in prop::sample::select(DECLARED.to_vec()),
        query: bool,
        value in prop::collection::vec(byte(), 0..300),
        size in 1_usize..40,
    ) {
        let case = Case { repertoire: Repertoire::declared(repertoire).0, query };
        let judged = whole(vr, 1, &value, &case);
        if let Some(streamed) = in_chunks(vr, &value, &case, size) {
            prop_assert_eq!(streamed, judged);
        }
    }

    /// What is judged eight bytes at a time is what the scan of commands says byte by byte.
    #[test]
    fn uids_are_judged_as_elsewhere(value in "[0-2.]{0,70}|[0-9./:a]{1,20}|1(\\.[0-9]{1,9}){1,9}") {
        let flaws = code::uid(value.as_bytes());
        let mut scan = UidScan::default();
        let fed = value.bytes().try_for_each(|byte| scan.push(byte));
        let right = fed.and_then(|()| scan.end()).is_ok();
        let zero = Flaws::of(Flaw::UidZero);
        prop_assert_eq!(right, flaws.is_empty() || flaws == zero);
        if right {
            prop_assert_eq!(scan.leading_zero, flaws == zero);
        }
    }

    #[test]
    fn any_declaration_is_read(value in prop::collection::vec(byte(), 0..60)) {
        let _ = Repertoire::declared(&value);
    }

    #[test]
    fn printable_ascii_is_text_in_every_set(
        repertoire in prop::sample::select(DECLARED.to_vec()),
        value in "[ -\\[\\]-~]{1,16}",
    ) {
        let case = Case { repertoire: Repertoire::declared(repertoire).0, query: false };
        let judged = whole(VR::SH, 1, value.as_bytes(), &case);
        prop_assert_eq!(judged, Judged { count: 1, flaws: Flaws::default() });
    }
}

/// Bytes that mean something more often than others.
fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![
        3 => prop::sample::select(b"\\^=\x1b$()-BJDCAI \0\r\n.0123456789".to_vec()),
        1 => any::<u8>(),
        1 => 0x81_u8..=0xfe,
    ]
}

const TEXTUAL: [VR; 17] = [
    VR::AE,
    VR::AS,
    VR::CS,
    VR::DA,
    VR::DS,
    VR::DT,
    VR::IS,
    VR::LO,
    VR::LT,
    VR::PN,
    VR::SH,
    VR::ST,
    VR::TM,
    VR::UC,
    VR::UI,
    VR::UR,
    VR::UT,
];

const DECLARED: [&[u8]; 9] = [
    b"",
    b"ISO_IR 100",
    b"ISO_IR 192",
    b"GB18030",
    b"GBK",
    b"\\ISO 2022 IR 87\\ISO 2022 IR 159",
    b"ISO 2022 IR 13\\ISO 2022 IR 87",
    b"\\ISO 2022 IR 149\\ISO 2022 IR 58\\ISO 2022 IR 100",
    b"LATIN1",
];

mod charsets;
