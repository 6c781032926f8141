//! How fast messages are judged, beside the least that any reader must do: `cargo run --release --example hl7_speed`.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement for people"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use protocol_inspect::hl7::{Frame, Policy, Rule, judge};

fn main() {
    let policy = Policy {
        default_charset: "UNICODE UTF-8".to_owned(),
        senders: vec![("ECG".to_owned(), "CARDIO".to_owned())],
        rules: vec![Rule {
            name: "results".to_owned(),
            send: vec!["ORU^R01".to_owned()],
            bind_sender: true,
            ..Rule::default()
        }],
        ..Policy::default()
    };
    let observation = |n: usize, value: &str| {
        format!("OBX|{n}|NM|8867-4^Heart rate^LN||{value}|/min|60-100|N|||F|||20260101120000\r")
    };
    let small: String = (1..12).map(|n| observation(n, "72")).collect();
    let many: String = (1..2_600).map(|n| observation(n, "72")).collect();
    let long = observation(1, &"72.5~".repeat(40_000).replacen('~', "^", 4_000));
    let escaped = observation(1, &"a\\T\\".repeat(50_000));
    println!("message              bytes  judge MB/s  split MB/s  ratio");
    let orders =
        "OBR|1|||8867-4^Heart rate^LN\rOBX|1|NM|8867-4^Heart rate^LN||72|/min\rNTE|1||steady\r"
            .repeat(2_000);
    for (name, body) in [
        ("ORU 1 KB", small),
        ("ORU 200 KB, groups", orders),
        ("ORU 200 KB, lines", many),
        ("ORU 200 KB, one line", long),
        ("ORU 250 KB, escapes", escaped),
    ] {
        let text = format!(
            "MSH|^~\\&|ECG|CARDIO|HIS|MAIN|20260101120000||ORU^R01|1|P|2.5\rPID|1\rOBR|1\r{body}"
        );
        let judged = rate(text.len(), || {
            let judgement = judge(Frame::around(text.as_bytes()), &policy, None);
            black_box(judgement.header.is_some());
        });
        let floor = rate(text.len(), || {
            let fields = text
                .as_bytes()
                .split(|b| *b == b'\r')
                .flat_map(|s| s.split(|b| *b == b'|'));
            black_box(fields.map(<[u8]>::len).fold(0, usize::max));
        });
        println!(
            "{name:20} {:6}  {judged:10.0}  {floor:10.0}  {:5.2}",
            text.len(),
            judged / floor
        );
    }
}

/// Megabytes in a second.
fn rate(bytes: usize, mut work: impl FnMut()) -> f64 {
    let (start, mut rounds) = (Instant::now(), 0_u32);
    while start.elapsed() < Duration::from_secs(1) {
        work();
        rounds += 1;
    }
    bytes as f64 * f64::from(rounds) / start.elapsed().as_secs_f64() / 1e6
}
