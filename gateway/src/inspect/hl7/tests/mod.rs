//! Scripts of whole connections: what comes in, and the steps that follow, as snapshots.
#![allow(
    clippy::disallowed_methods,
    reason = "tests begin at the real time once"
)]

mod held;
mod batch;
mod codes;
mod commit;
mod deferred;
mod hostile;
mod inbound;
mod language;

use protocol_inspect::hl7::Rule;

use super::*;
use crate::inspect::{Decision, ProtocolPolicy, Rate};

/// A session, its clock, and the steps so far in words.
struct Script {
    session: Hl7Session,
    start: Instant,
    ms: u64,
    out: Vec<String>,
    decisions: Vec<Decision>,
    sent: Vec<u8>,
}

#[test]
fn original_mode_relays_the_destinations_answer() {
    let mut s = Script::new();
    s.device(&message("1", "")).connected();
    s.hospital(&answer("AA", "1"));
    s.device(&message("2", "")).hospital(&answer("AE", "2"));
    s.device_ends(false);
    insta::assert_snapshot!(s.told());
    assert_eq!(s.sent, [message("1", ""), message("2", "")].concat());
}

#[test]
fn refused_messages_are_answered_in_their_turn() {
    let mut s = Script::new();
    let wrong_time = message("2", "").replace(b"20260101", b"2026-1-1");
    let wrong_type = message("3", "").replace(b"ORU^R01", b"ADT^A01");
    let wrong_sender = message("4", "").replace(b"|ECG|", b"|XXX|");
    let wrong_version = message("5", "").replace(b"|2.5", b"|2.9");
    let stream = [
        message("1", ""),
        wrong_time,
        wrong_type,
        wrong_sender,
        wrong_version,
        message("6", ""),
    ];
    s.device(&stream.concat()).connected();
    s.say("-- nothing is said before the first is answered");
    s.hospital(&answer("AA", "1")).hospital(&answer("AA", "6"));
    insta::assert_snapshot!(s.told());
    assert_eq!(s.sent, [message("1", ""), message("6", "")].concat());
}

#[test]
fn old_versions_get_the_old_error_segment() {
    let mut s = Script::new();
    s.device(
        &message("1", "")
            .replace(b"|2.5", b"|2.3")
            .replace(b"20260101", b"2026-1-1"),
    );
    insta::assert_snapshot!(s.told());
}

#[test]
fn enhanced_mode_answers_as_asked() {
    let mut s = Script::new();
    for (id, asked) in [
        ("1", "AL|AL"),
        ("2", "NE|AL"),
        ("3", "NE|NE"),
        ("4", "SU|NE"),
        ("5", "ER|NE"),
    ] {
        let bad = message(id, asked).replace(b"PID|1", b"PID|\\1");
        s.device(&bad);
        s.device(&bad.replace(b"ORU^R01", b"ADT^A01"));
    }
    insta::assert_snapshot!(s.told());
}

#[test]
fn enhanced_mode_relays_both_acknowledgements_and_the_devices_own() {
    let mut s = Script::new();
    s.device(&message("1", "AL|AL")).connected();
    s.hospital(&answer("CA", "1"));
    s.device(&message("2", "NE|NE"))
        .device(&message("3", "AL|NE"));
    s.hospital(&answer_asking("AA", "1", "H9"))
        .hospital(&answer("CA", "3"));
    s.device(&acknowledge("CA", "H9"));
    s.say("-- the same again answers nothing");
    s.device(&acknowledge("CA", "H9"))
        .hospital(&answer("AA", "1"));
    insta::assert_snapshot!(s.told());
}

#[test]
fn an_application_answer_is_taken_where_an_accept_was_asked() {
    let mut s = Script::new();
    s.device(&message("1", "AL|NE"))
        .connected()
        .hospital(&answer("AA", "1"));
    insta::assert_snapshot!(s.told());
}

#[test]
fn answers_that_belong_to_nothing_are_dropped() {
    let mut s = Script::new();
    s.device(&message("1", "")).connected();
    s.hospital(&answer("AA", "2"))
        .hospital(&answer("CA", "1"))
        .hospital(&answer("XX", "1"));
    s.hospital(&message("1", ""))
        .hospital(&answer("AA", "1"))
        .hospital(&answer("AA", "1"));
    insta::assert_snapshot!(s.told());
    for _ in 0..20 {
        s.hospital(&answer("AA", "1"));
    }
    assert!(
        s.told()
            .ends_with("close device reset\nclose hospital reset")
    );
}

#[test]
fn silence_is_passed_on_as_silence() {
    let mut s = Script::new();
    s.device(&[message("1", ""), message("2", "")].concat())
        .connected();
    s.later(29_999).say("-- not yet").later(1);
    insta::assert_snapshot!(s.told());
    assert!(s.session.deadline().is_none() && !s.session.wants(Side::Device));
}

#[test]
fn a_destination_that_dies_before_it_answers_is_a_silence() {
    let mut s = Script::new();
    s.device(&message("1", "")).connected().hospital_ends();
    insta::assert_snapshot!(s.told());
}

#[test]
fn a_destination_that_hangs_up_between_messages_is_asked_again() {
    let mut s = Script::new();
    s.device(&message("1", ""))
        .connected()
        .hospital(&answer("AA", "1"));
    s.hospital_ends()
        .device(&message("2", ""))
        .connected()
        .hospital(&answer("AA", "2"));
    insta::assert_snapshot!(s.told());
}

#[test]
fn an_unreachable_destination_is_said_so() {
    let mut s = Script::new();
    s.device(&message("1", "")).connect_failed();
    s.device(&message("2", "AL|NE"))
        .later(11_999)
        .say("-- not yet")
        .later(1);
    s.say("-- the late connection serves the next message");
    s.device(&message("3", ""))
        .connected()
        .hospital(&answer("AA", "3"));
    insta::assert_snapshot!(s.told());
}

#[test]
fn destination_that_breaks_the_framing_ends_both_legs() {
    let mut s = Script::new();
    s.device(&message("1", "")).connected().hospital(b"junk");
    insta::assert_snapshot!(s.told());
}

#[test]
fn a_broken_stream_ends_after_what_came_before_it() {
    let mut s = Script::new();
    s.device(&[message("1", ""), b"GET / HTTP/1.1\r\n".to_vec()].concat());
    s.connected().hospital(&answer("AA", "1"));
    insta::assert_snapshot!(s.told());
}

#[test]
fn a_message_without_readable_delimiters_ends_the_connection() {
    let mut s = Script::new();
    s.device(b"\x0bMSH|AAAA|\r\x1c\r");
    insta::assert_snapshot!(s.told());
}

#[test]
fn slow_frames_and_silent_devices_are_ended() {
    let mut s = Script::new();
    let text = message("1", "");
    s.later(3_599_999)
        .say("-- the first byte may take as long as an idle connection");
    for byte in text.iter().take(30) {
        s.device(&[*byte]).later(999);
    }
    s.say("-- not yet").later(30);
    insta::assert_snapshot!(s.told());
    let mut s = Script::new();
    s.device(&message("1", ""))
        .connected()
        .hospital(&answer("AA", "1"))
        .later(3_600_000);
    assert!(s.told().ends_with("close device\nclose hospital"));
}

#[test]
fn the_same_bytes_are_answered_from_memory() {
    let mut s = Script::new();
    s.device(&message("1", ""))
        .connected()
        .hospital(&answer("AA", "1"));
    s.device(&message("1", ""));
    s.say("-- other bytes under the same id go up, with a warning");
    s.device(&message("1", "").replace(b"PID|1", b"PID|2"))
        .hospital(&answer("AE", "1"));
    s.say("-- after an error they go up again");
    s.device(&message("1", "").replace(b"PID|1", b"PID|2"))
        .hospital(&answer("AA", "1"));
    insta::assert_snapshot!(s.told());
    let mut other = Script::with(s.session.exchange.clone());
    other.device(&message("1", "").replace(b"PID|1", b"PID|2"));
    assert!(other.told().contains("Repeated"), "{}", other.told());
}

#[test]
fn the_rate_is_asked_once_a_message() {
    let mut s = Script::new();
    s.session.has_rate = true;
    s.device(&[message("1", ""), message("2", "")].concat());
    assert!(s.session.wants_token());
    s.token(true).connected();
    assert!(!s.session.wants_token());
    s.hospital(&answer("AA", "1")).token(false);
    insta::assert_snapshot!(s.told());
}

#[test]
fn the_end_is_said_to_what_did_not_go_up() {
    let mut s = Script::new();
    s.device(&[message("1", ""), message("2", "")].concat());
    s.end(EndReason::Shutdown);
    insta::assert_snapshot!(s.told());
    let mut s = Script::new();
    s.device(&[message("1", ""), message("2", "")].concat())
        .connected();
    s.end(EndReason::NotAllowed);
    insta::assert_snapshot!(s.told());
}

#[test]
fn a_device_that_hangs_up_may_still_read_and_one_that_resets_may_not() {
    let mut s = Script::new();
    s.device(&[message("1", ""), message("2", ""), b"\x0bMSH".to_vec()].concat());
    s.device_ends(false)
        .connected()
        .hospital(&answer("AA", "1"))
        .hospital(&answer("AA", "2"));
    insta::assert_snapshot!(s.told());
    let mut s = Script::new();
    s.device(&[message("1", ""), message("2", "")].concat())
        .connected();
    s.device_ends(true).hospital(&answer("AA", "1"));
    insta::assert_snapshot!(s.told());
}

#[test]
fn a_flood_is_held_back_and_not_called_slow() {
    let mut s = Script::new();
    let flood: Vec<Vec<u8>> = (0..100).map(|n| message(&n.to_string(), "")).collect();
    s.device(&flood.concat()).connected();
    assert!(!s.session.wants(Side::Device));
    assert_eq!(s.session.device.queue.len(), 64);
    for n in 0..100 {
        s.later(20_000).hospital(&answer("AA", &n.to_string()));
    }
    assert!(s.session.wants(Side::Device));
    assert_eq!(s.sent, flood.concat());
    assert!(s.decisions.iter().all(|d| d.outcome == Outcome::Forwarded));
    assert_eq!(s.decisions.len(), 100);
}

#[test]
fn a_new_policy_holds_from_the_next_message() {
    let mut s = Script::new();
    s.device(&message("1", "")).connected();
    let mut policy = policy();
    if let ProtocolPolicy::Hl7(hl7) = &mut policy.protocol {
        hl7.rules[0].send = vec!["ADT^*".into()];
    }
    s.session.update(&policy);
    s.hospital(&answer("AA", "1")).device(&message("2", ""));
    insta::assert_snapshot!(s.told());
}

#[test]
fn any_cut_of_both_streams_gives_the_same_story() {
    let device = [
        message("1", ""),
        message("2", "").replace(b"PID|1", b"PID|\\"),
        message("3", ""),
    ]
    .concat();
    let whole = |chunk: usize| {
        let mut s = Script::new();
        s.session.upstream = Upstream::Open;
        for part in device.chunks(chunk) {
            s.device(part);
        }
        for part in [answer("AA", "1"), answer("AA", "3")]
            .concat()
            .chunks(chunk)
        {
            s.hospital(part);
        }
        s.told()
    };
    let reference = whole(usize::MAX);
    for chunk in 1..50 {
        assert_eq!(whole(chunk), reference, "chunks of {chunk}");
    }
}

#[test]
fn nothing_of_the_message_is_in_what_we_say() {
    let mut s = Script::new();
    for bad in [
        &b"PID|1|SECRET\\"[..],
        b"PID|1|SECRET\x80",
        b"PID|1|SECRET\n",
        b"pid|SECRET",
    ] {
        s.device(&message("1", "").replace(b"PID|1", bad));
    }
    s.device(&message("1", "").replace(b"ORU^R01", b"SECRET"));
    assert!(!s.told().contains("SECRET") && !format!("{:?}", s.decisions).contains("SECRET"));
    assert_eq!(s.decisions.len(), 5);
}

proptest::proptest! {
    /// Whatever happens in whatever order: one decision a message, nothing forwarded twice, an end without a rest.
    #[test]
    fn every_message_is_decided_once(acts in proptest::collection::vec(0..12_u8, 0..60)) {
        let mut s = Script::new();
        s.session.has_rate = acts.len() % 2 == 0;
        let mut count = 0;
        for act in acts {
            let id = count.to_string();
            match act {
                0..=3 if s.session.wants(Side::Device) => {
                    count += 1;
                    let asked = if act == 3 { "AL|AL" } else { "" };
                    s.device(&message(&count.to_string(), asked));
                }
                4 | 5 => { s.hospital(&answer("AA", &id)); }
                6 => { s.hospital(&answer("CA", &id)); }
                7 if s.session.upstream == Upstream::Asked => { s.connected(); }
                8 if s.session.upstream == Upstream::Asked => { s.connect_failed(); }
                9 if s.session.wants_token() => { s.token(id.len() == 1); }
                10 => { s.later(9_000); }
                11 if count > 5 => { s.hospital_ends().device_ends(count % 2 == 0); }
                _ => {}
            }
        }
        s.end(EndReason::Shutdown);
        let of = |o: Outcome| move |d: &&Decision| d.what == Subject::Message && d.outcome == o;
        let decided = s.decisions.iter().filter(|d| d.what == Subject::Message).count();
        proptest::prop_assert_eq!(decided, count);
        let up = s.decisions.iter().filter(of(Outcome::Forwarded)).count()
            + s.decisions.iter().filter(of(Outcome::Unanswered)).count();
        proptest::prop_assert_eq!(s.sent.iter().filter(|b| **b == 0x1c).count(), up);
        proptest::prop_assert!(s.session.deadline().is_none());
        proptest::prop_assert_eq!(s.out.iter().filter(|l| l.starts_with("close device")).count(), 1);
    }
}

impl Script {
    fn new() -> Self {
        Self::with(Arc::default())
    }

    fn with(exchange: Arc<Mutex<Exchange>>) -> Self {
        let start = Instant::now();
        Self {
            session: Hl7Session::new(&policy(), exchange, start, wall(0)),
            start,
            ms: 0,
            out: Vec::new(),
            decisions: Vec::new(),
            sent: Vec::new(),
        }
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_millis(self.ms)
    }

    fn run(&mut self, act: impl FnOnce(&mut Hl7Session, Instant, Timestamp)) -> &mut Self {
        act(
            &mut self.session,
            self.start + Duration::from_millis(self.ms),
            wall(self.ms),
        );
        while let Some(step) = self.session.poll() {
            let text = match step {
                Step::Keep(_) => panic!("HL7 keeps nothing"),
                Step::Connect => "connect".to_owned(),
                Step::Forward { to, permit } => {
                    let bytes = permit.into_bytes();
                    if to == Side::Hospital {
                        self.sent.extend_from_slice(&bytes);
                    }
                    format!("forward to {to:?}: {} bytes", bytes.len()).to_lowercase()
                }
                Step::Speak { to, spoken } => {
                    let text = String::from_utf8(spoken.into_bytes().to_vec()).unwrap();
                    let text = text.replace('\r', "\n    ").replace(['\x0b', '\x1c'], "");
                    format!("speak to {to:?}:\n    {}", text.trim_end())
                }
                Step::Record(decision) => {
                    let d = decision.clone();
                    self.decisions.push(*decision);
                    let why = [d.reason, d.location, d.detail].into_iter().flatten();
                    format!(
                        "record {:?} {:?} [{}] {:?} {} answer {} id {} {} bytes {:?}",
                        d.from,
                        d.what,
                        d.kind,
                        d.outcome,
                        why.collect::<Vec<_>>().join(" | "),
                        d.answer.unwrap_or_default(),
                        String::from_utf8_lossy(&d.identifier.unwrap_or_default()),
                        d.length,
                        d.warnings,
                    )
                }
                Step::Close { side, reset } => {
                    let how = if reset { " reset" } else { "" };
                    format!("close {side:?}{how}").to_lowercase()
                }
                Step::Wake => "wake".to_owned(),
                Step::Spool(_) | Step::Unspool | Step::DropSpool => panic!("no spool here"),
            };
            self.out.push(text);
        }
        self
    }

    fn device(&mut self, bytes: &[u8]) -> &mut Self {
        self.run(|s, now, wall| s.receive(Side::Device, bytes, now, wall))
    }

    fn hospital(&mut self, bytes: &[u8]) -> &mut Self {
        self.run(|s, now, wall| s.receive(Side::Hospital, bytes, now, wall))
    }

    fn woken(&mut self) -> &mut Self {
        self.run(|s, now, wall| s.woken(now, wall))
    }

    fn connected(&mut self) -> &mut Self {
        self.run(|s, now, wall| s.connected(now, wall))
    }

    fn connect_failed(&mut self) -> &mut Self {
        self.run(|s, now, wall| s.connect_failed(now, wall))
    }

    fn device_ends(&mut self, reset: bool) -> &mut Self {
        self.run(|s, now, wall| s.ended(Side::Device, reset, now, wall))
    }

    fn hospital_ends(&mut self) -> &mut Self {
        self.run(|s, now, wall| s.ended(Side::Hospital, false, now, wall))
    }

    fn token(&mut self, granted: bool) -> &mut Self {
        self.run(|s, now, wall| s.token(granted, now, wall))
    }

    fn end(&mut self, why: EndReason) -> &mut Self {
        self.run(|s, now, wall| s.end(why, now, wall))
    }

    fn later(&mut self, ms: u64) -> &mut Self {
        self.ms += ms;
        if self.session.deadline().is_some_and(|at| at <= self.now()) {
            self.run(|s, now, wall| s.handle_deadline(now, wall));
        }
        self
    }

    fn say(&mut self, text: &str) -> &mut Self {
        self.out.push(text.to_owned());
        self
    }

    fn told(&self) -> String {
        self.out.join("\n")
    }
}

fn policy() -> ConnectionPolicy {
    ConnectionPolicy {
        opener: Side::Device,
        protocol: ProtocolPolicy::Hl7(Policy {
            default_charset: "ASCII".into(),
            senders: vec![("ECG".into(), "CARDIO".into())],
            rules: vec![Rule {
                name: "ecg".into(),
                send: vec!["ORU^R01".into()],
                bind_sender: true,
                ..Rule::default()
            }],
            ..Policy::default()
        }),
        timing: Timing {
            receive_ms: 30_000,
            connect_ms: 10_000,
            answer_ms: 30_000,
            idle_ms: 3_600_000,
            send_ms: 30_000,
            transaction_ms: 3_600_000,
        },
        rate: None::<Rate>,
        delay_only: false,
        without_journal: false,
        language: Language::English,
    }
}

fn wall(ms: u64) -> Timestamp {
    Timestamp::from_millisecond(1_767_225_600_000 + i64::try_from(ms).unwrap()).unwrap()
}

fn frame(text: &str) -> Vec<u8> {
    format!("\x0b{text}\x1c\r").into_bytes()
}

fn message(id: &str, asked: &str) -> Vec<u8> {
    frame(&format!(
        "MSH|^~\\&|ECG|CARDIO|HIS|MAIN|20260101||ORU^R01|{id}|P|2.5|||{asked}\rPID|1||1||X\rOBR|1||F|X|||2026\r"
    ))
}

fn answer(code: &str, id: &str) -> Vec<u8> {
    frame(&format!(
        "MSH|^~\\&|HIS|MAIN|ECG|CARDIO|20260101||ACK^R01|H1|P|2.5\rMSA|{code}|{id}\r"
    ))
}

fn answer_asking(code: &str, id: &str, own: &str) -> Vec<u8> {
    frame(&format!(
        "MSH|^~\\&|HIS|MAIN|ECG|CARDIO|20260101||ACK^R01|{own}|P|2.5|||AL|NE\rMSA|{code}|{id}\r"
    ))
}

fn acknowledge(code: &str, id: &str) -> Vec<u8> {
    frame(&format!(
        "MSH|^~\\&|ECG|CARDIO|HIS|MAIN|20260101||ACK^R01|D1|P|2.5\rMSA|{code}|{id}\r"
    ))
}

trait Replace {
    fn replace(&self, from: &[u8], to: &[u8]) -> Vec<u8>;
}

impl Replace for Vec<u8> {
    fn replace(&self, from: &[u8], to: &[u8]) -> Vec<u8> {
        let at = self.windows(from.len()).position(|w| w == from).unwrap();
        [&self[..at], to, &self[at + from.len()..]].concat()
    }
}
