//! How fast HL7 messages are judged, beside the least that any reader must do: `cargo bench -p protocol-inspect`.
//!
//! Sections: `generated` (clean messages under `strict`, accepted without a warning), `corpus` (the public samples in the
//! folder that `LAZARET_CORPUS` names), `worst` (what costs most for its bytes at the default limits).
//! A word on the command line runs one section: `cargo bench -p protocol-inspect -- worst`.
//!
//! What is measured is the whole judgement: framing apart, from the bytes of a frame to its verdict. Nothing ends early
//! for a message that is refused by its content: all passes have run before a rule is asked. Only what cannot be read
//! at all ends early; the samples for which that is so are left out, and counted.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a measurement for people"
)]

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use protocol_inspect::Limits;
use protocol_inspect::hl7::{Frame, Judge, Message, Policy, Profile, Rule, Verdict};

fn main() {
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let runs = |name: &str| wanted.is_empty() || wanted.iter().any(|word| word == name);
    if runs("generated") {
        generated();
    }
    if runs("corpus") {
        corpus();
    }
    if runs("worst") {
        worst();
    }
}

/// Clean messages, as devices send them.
fn generated() {
    heading("generated, strict: accepted without a warning");
    for (name, text) in [
        ("ADT 0.5 KB", admission()),
        ("ORU 1 KB", observations(9, "72")),
        (
            "ORU 1 KB, UTF-8",
            observations(9, "72").replace("steady", "rythme régulier"),
        ),
        ("ORU 200 KB, lines", observations(2_200, "72")),
        ("ORU 200 KB, one line", document(&"JVBERi0x".repeat(25_000))),
        (
            "ORU 200 KB, escapes",
            document(&"a\\T\\b\\S\\".repeat(25_000)),
        ),
        ("ORU 200 KB, groups", orders(1_100)),
    ] {
        let policy = policy(Profile::strict());
        let verdict = Judge::new()
            .judge(Frame::around(text.as_bytes()), &policy, None)
            .verdict;
        let Verdict::Accept(accepted) = verdict else {
            panic!("{name}: {verdict:?}");
        };
        assert!(
            accepted.warnings.is_empty(),
            "{name}: {:?}",
            accepted.warnings
        );
        line(name, &[text.into_bytes()], &policy);
    }
}

/// The public samples.
fn corpus() {
    let root = std::env::var_os("LAZARET_CORPUS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus"),
        PathBuf::from,
    );
    let Ok(entries) = std::fs::read_dir(root.join("hl7")) else {
        println!("\nno corpus at {}: set LAZARET_CORPUS\n", root.display());
        return;
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "hl7"));
    paths.sort();
    let mut messages: Vec<Vec<u8>> = paths
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect();
    let all = messages.len();
    messages.retain(|bytes| Message::parse(bytes, &Limits::default()).is_ok());
    heading(&format!(
        "corpus: {} of {all} samples, {} left out because they cannot be read to their end",
        messages.len(),
        all - messages.len()
    ));
    for (name, profile) in [
        ("strict", Profile::strict()),
        ("standard", Profile::standard()),
    ] {
        let policy = policy(profile);
        let mut judge = Judge::new();
        let accepted: Vec<Vec<u8>> = messages
            .iter()
            .filter(|bytes| {
                let verdict = judge.judge(Frame::around(bytes), &policy, None).verdict;
                matches!(verdict, Verdict::Accept(_))
            })
            .cloned()
            .collect();
        line(&format!("{name}, all"), &messages, &policy);
        line(
            &format!("{name}, {} accepted", accepted.len()),
            &accepted,
            &policy,
        );
    }
}

/// What costs most for its bytes, as long as the default limits let it be, and half and a quarter of it.
fn worst() {
    let limits = Limits::default();
    println!(
        "\nworst, strict: milliseconds for one message at the default limits, for half and for a quarter"
    );
    println!(
        "{:32} {:>9} {:>8} {:>8} {:>8}",
        "", "bytes", "1/4", "1/2", "1"
    );
    let policy = policy(Profile::strict());
    for (name, make) in HOSTILE {
        let mut times = Vec::new();
        let mut length = 0;
        for part in [4, 2, 1] {
            let text = make(limits.hl7_message / part - 8);
            length = text.len();
            assert!(length <= limits.hl7_message, "{name}");
            let mut judge = Judge::new();
            let best = (0..5)
                .map(|_| {
                    let frame = Frame::around(text.as_bytes());
                    let start = Instant::now();
                    black_box(judge.judge(frame, &policy, None).header.is_some());
                    start.elapsed()
                })
                .min()
                .unwrap_or_default();
            times.push(best.as_secs_f64() * 1e3);
        }
        println!(
            "{name:32} {length:9} {:8.2} {:8.2} {:8.2}",
            times[0], times[1], times[2]
        );
    }
}

/// Makes a message of at most so many bytes.
type Make = fn(usize) -> String;

const HOSTILE: &[(&str, Make)] = &[
    ("field separators", |n| tail(n, "|")),
    ("fields, 500 a segment", |n| {
        lines(n, &format!("PID{}\r", "|1".repeat(500)))
    }),
    ("repetitions", |n| tail(n, "~")),
    ("repetitions with values", |n| {
        lines(n, &format!("PID|||{}\r", "1~".repeat(9_999)))
    }),
    ("components", |n| {
        lines(
            n,
            &format!("PID{}\r", format!("|{}", "1^".repeat(400)).repeat(300)),
        )
    }),
    ("subcomponents", |n| {
        lines(
            n,
            &format!("PID{}\r", format!("|{}", "1&".repeat(400)).repeat(300)),
        )
    }),
    ("components of components", |n| {
        lines(
            n,
            &format!("PID|||{}\r", format!("{}~", "^&".repeat(1_000)).repeat(200)),
        )
    }),
    ("wrong parts in every repetition", |n| {
        lines(n, &format!("PID|||{}\r", "^^^a&b&c&d^^x~".repeat(9_999)))
    }),
    ("escapes", |n| {
        lines(n, &format!("NTE|1||{}\r", "\\T\\".repeat(100_000)))
    }),
    ("escapes without end", |n| {
        lines(n, &format!("NTE|1||{}\r", "\\".repeat(99_999)))
    }),
    ("wrong escapes", |n| {
        lines(n, &format!("NTE|1||{}\r", "\\Q\\".repeat(100_000)))
    }),
    ("hexadecimal data", |n| {
        lines(n, &format!("NTE|1||\\X{}\\\r", "41".repeat(100_000)))
    }),
    ("long hexadecimal data, wrong end", |n| {
        lines(n, &format!("NTE|1||\\X{}\\\r", "4".repeat(1_999_999)))
    }),
    ("a long number", |n| {
        lines(
            n,
            &format!("OBX|1|NM|a||{}||||||F\r", "1".repeat(2_000_000)),
        )
    }),
    ("long numbers", |n| {
        lines(n, &format!("OBX|1|NM|a||{}||||||F\r", "1".repeat(600)))
    }),
    ("wrong numbers", |n| {
        lines(n, &format!("OBX|1|NM|a||{}x||||||F\r", " 1".repeat(200)))
    }),
    ("numbers of one digit", |n| {
        lines(n, &format!("OBX|1|NM|a||{}||||||F\r", "1~".repeat(9_999)))
    }),
    ("times", |n| {
        lines(
            n,
            &format!(
                "OBX|1|TS|a||{}||||||F\r",
                "20240229235959.1234+0130~".repeat(9_999)
            ),
        )
    }),
    ("codes", |n| {
        lines(
            n,
            &format!("PID|1||1^^^^MR||A|||||{}\r", "^^^^^^H~".repeat(9_999)),
        )
    }),
    ("unlisted codes", |n| {
        lines(
            n,
            &format!(
                "PID|1||1^^^^MR||A|||||{}\r",
                "^^^^^^?????????~".repeat(9_999)
            ),
        )
    }),
    ("shortest segments", |n| segments(n, &["NTE"])),
    ("segments of one kind", |n| {
        segments(n, &[&format!("NTE|1||{}", "a".repeat(400))])
    }),
    ("alternating segments", |n| {
        segments(n, &["ORC|RE", "OBR|1", "NTE|1", "OBX|1|ST|a||b"])
    }),
    ("foreign segments", |n| {
        segments(n, &["ZAA", "QPD", "RXA", "ZBB|1", "AL1"])
    }),
    ("a name for each segment", |n| names(n)),
    ("letters beyond ASCII", |n| {
        format!(
            "{}NTE|1||{}\r",
            start("UNICODE UTF-8"),
            "é".repeat((n.min(1 << 21) - 200) / 2)
        )
    }),
    ("nearly hidden characters", |n| {
        format!(
            "{}NTE|1||{}\r",
            start("UNICODE UTF-8"),
            "\u{a0}".repeat((n.min(1 << 21) - 200) / 2)
        )
    }),
    ("long names in the header", |n| {
        format!(
            "MSH|^~\\&|{}|B|C|D|20260101||ORU^R01^ORU_R01|1|P|2.5.1\rPID|1\r",
            "a^&".repeat((n.min(1 << 21) - 100) / 3 / 2)
        )
    }),
    ("a document", |n| {
        document(&"JVBERi0x".repeat((n.min(1 << 21) - 600) / 8))
    }),
    ("a line of 2 MB, null in front", |n| tail(n, "\"\"^")),
];

/// A header, and one segment that is `unit` again and again, as long as a segment may be.
fn tail(most: usize, unit: &str) -> String {
    let start = start("ASCII");
    let room = most.min(Limits::default().hl7_segment) - start.len() - 16;
    format!("{start}PID|||{}\r", unit.repeat(room / unit.len()))
}

/// As many whole lines as there is room for; at least what is there of one.
fn lines(most: usize, line: &str) -> String {
    let start = start("ASCII");
    let room = most - start.len();
    if line.len() > room {
        let mut cut = line.to_owned();
        cut.truncate(room - 1);
        return format!("{start}{cut}\r");
    }
    let count = (room / line.len()).min(Limits::default().hl7_segments - 2);
    format!("{start}{}", line.repeat(count))
}

/// A share of the most segments that there may be: the share that `most` is of the longest message.
fn segments(most: usize, turns: &[&str]) -> String {
    let limits = Limits::default();
    let count = (limits.hl7_segments * ((most + 8) / 1_024) / (limits.hl7_message / 1_024)) - 2;
    let mut text = start("ASCII");
    for turn in turns.iter().cycle().take(count) {
        writeln!(text, "{turn}").unwrap();
    }
    text.replace('\n', "\r")
}

fn names(most: usize) -> String {
    let letters: Vec<char> = ('A'..='Z').collect();
    let mut all = Vec::new();
    for a in &letters {
        for b in &letters {
            all.extend(
                letters
                    .iter()
                    .map(|c| format!("{a}{b}{c}|{}", "1|".repeat(100))),
            );
        }
    }
    all.retain(|name| !["ADD", "MSH", "FHS", "BHS", "BTS", "FTS"].contains(&&name[..3]));
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    segments(most, &all)
}

fn start(charset: &str) -> String {
    format!(
        "MSH|^~\\&|ECG|CARDIO|HIS|MAIN|20260101120000||ORU^R01^ORU_R01|1|P|2.5.1||||||{charset}\r"
    )
}

fn oru() -> String {
    format!(
        "{}PID|1||4711^^^HOSP^PI||Muster^Eva^^^^^L||19700101|F|||Weg 1^^Ort^^12345^CHE\r\
         ORC|RE||F1\rOBR|1||F1|8867-4^Heart rate^LN|||20260101115900||||||||||||||||||F\r",
        start("UNICODE UTF-8")
    )
}

fn observation(number: usize, value: &str) -> String {
    format!(
        "OBX|{number}|NM|8867-4^Heart rate^LN|{number}|{value}|/min^per minute^UCUM|60-100|N|||F|||20260101120000\r"
    )
}

fn observations(count: usize, value: &str) -> String {
    let lines: String = (1..=count).map(|n| observation(n % 9_999, value)).collect();
    format!("{}{lines}NTE|1||steady\r", oru())
}

fn document(value: &str) -> String {
    format!("{}OBX|1|TX|18842-5^Summary^LN||{value}||||||F\r", oru())
}

fn orders(count: usize) -> String {
    let order = "ORC|RE||F1\rOBR|1||F1|8867-4^Heart rate^LN|||20260101115900||||||||||||||||||F\r\
                 OBX|1|NM|8867-4^Heart rate^LN||72|/min|||||F\rNTE|1||steady\r";
    format!("{}{}", oru(), order.repeat(count))
}

fn admission() -> String {
    "MSH|^~\\&|WARD|CARDIO|HIS|MAIN|20260101120000||ADT^A01^ADT_A01|1|P|2.5.1||||||UNICODE UTF-8\r\
     EVN||20260101120000\r\
     PID|1||4711^^^HOSP^PI~0815^^^CITY^NI||Muster^Eva^^^^^L||19700101|F|||Weg 1^^Ort^^12345^CHE||+41^PRN^PH\r\
     NK1|1|Muster^Max^^^^^L|SPO\r\
     PV1|1|I|3^12^A||||007^Arzt^Anna^^^Dr.|||CAR||||||||I|V1^^^HOSP^VN|||||||||||||||||||||||||20260101115500\r\
     AL1|1|DA|70618^Penicillin^RXNORM|SV|Hives\r"
        .to_owned()
}

fn policy(profile: Profile) -> Policy {
    Policy {
        default_charset: "ASCII".to_owned(),
        rules: vec![Rule {
            name: "all".to_owned(),
            send: vec!["*".to_owned()],
            profiles: vec![profile],
            ..Rule::default()
        }],
        ..Policy::default()
    }
}

fn heading(title: &str) {
    println!("\n{title}");
    println!(
        "{:28} {:>8} {:>10} {:>8} {:>8} {:>6}",
        "", "bytes", "msg/s", "MB/s", "split", "ratio"
    );
}

/// Judges the messages in turn, and splits them in the same turns, so that a busy machine is busy for both.
fn line(name: &str, messages: &[Vec<u8>], policy: &Policy) {
    let bytes: usize = messages.iter().map(Vec::len).sum();
    let mut judge = Judge::new();
    let (mut judged, mut split) = (Duration::MAX, Duration::MAX);
    let rounds = (1_000_000 / bytes).max(1);
    // Frames are made before the clock runs, a few at a time, so that they are still at hand.
    let few = (16_384 / bytes).max(1);
    for _ in 0..60 {
        let mut total = Duration::ZERO;
        for _ in 0..rounds.div_ceil(few) {
            let turns = std::iter::repeat_n(messages, few).flatten();
            let frames: Vec<Frame> = turns.map(|m| Frame::around(m)).collect();
            let start = Instant::now();
            for frame in frames {
                black_box(judge.judge(frame, policy, None).header.is_some());
            }
            total += start.elapsed();
        }
        judged = judged.min(total / u32::try_from(rounds.div_ceil(few) * few).unwrap());
        let start = Instant::now();
        for _ in 0..rounds {
            for message in messages {
                let lines = message.split(|b| *b == b'\r');
                let fields = lines.flat_map(|line| line.split(|b| *b == b'|'));
                black_box(fields.map(<[u8]>::len).fold(0, usize::max));
            }
        }
        split = split.min(start.elapsed() / u32::try_from(rounds).unwrap());
    }
    let rate = |time: Duration| bytes as f64 / time.as_secs_f64() / 1e6;
    println!(
        "{name:28} {:8} {:10.0} {:8.0} {:8.0} {:6.2}",
        bytes / messages.len().max(1),
        messages.len() as f64 / judged.as_secs_f64(),
        rate(judged),
        rate(split),
        split.as_secs_f64() / judged.as_secs_f64()
    );
}
