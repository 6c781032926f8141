//! A session, its clock and its spool, and the steps so far in words.

use std::fmt::Write;

use protocol_inspect::dicom::{Profile, Rule};
use protocol_inspect::{Base, Limits};

use super::words::*;
use super::*;
use crate::inspect::Decision;

pub(super) struct Script {
    pub(super) session: DicomSession,
    start: Instant,
    ms: u64,
    out: Vec<String>,
    pub(super) decisions: Vec<Decision>,
    /// Command and data set bytes that each side was sent, without their framing.
    pub(super) to_device: Vec<u8>,
    pub(super) to_hospital: Vec<u8>,
    /// Whether the hospital was sent the last fragment of a data set.
    last: bool,
    spool: Vec<u8>,
    /// The spool takes no more than this.
    pub(super) room: usize,
    /// What is given to it until it is emptied is lost.
    lost: bool,
    reading: bool,
    /// Most that was held in memory after any word.
    pub(super) most: usize,
}

impl Script {
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(super) fn with(change: impl FnOnce(&mut ConnectionPolicy)) -> Self {
        let mut policy = policy();
        change(&mut policy);
        let start = Instant::now();
        Self {
            session: DicomSession::new(&policy, Arc::default(), start, wall()),
            start,
            ms: 0,
            out: Vec::new(),
            decisions: Vec::new(),
            to_device: Vec::new(),
            to_hospital: Vec::new(),
            last: false,
            spool: Vec::new(),
            room: usize::MAX,
            lost: false,
            reading: false,
            most: 0,
        }
    }

    /// With an association whose words are of no interest.
    pub(super) fn established() -> Self {
        Self::established_with(|_| {})
    }

    pub(super) fn established_with(change: impl FnOnce(&mut ConnectionPolicy)) -> Self {
        let mut script = Self::with(change);
        script
            .device(&rq())
            .connected()
            .hospital(&ac(&[1, 3, 5, 7]));
        script.out.clear();
        script.decisions.clear();
        script
    }

    pub(super) fn now(&self) -> Instant {
        self.start + Duration::from_millis(self.ms)
    }

    fn run(&mut self, word: impl FnOnce(&mut DicomSession, Instant, Timestamp)) -> &mut Self {
        let now = self.now();
        word(&mut self.session, now, wall());
        self.steps();
        while self.reading && !self.spool.is_empty() {
            let rest = self.spool.split_off(self.spool.len().min(1_000));
            let chunk = std::mem::replace(&mut self.spool, rest);
            self.session.unspooled(chunk.into(), now, wall());
            self.steps();
        }
        self.most = self.most.max(self.session.held());
        self
    }

    fn steps(&mut self) {
        while let Some(step) = self.session.poll() {
            let text = match step {
                Step::Keep(entry) => format!("keep {:?}", entry.state),
                Step::Wake => panic!("no other connection here"),
                Step::Connect => "connect".to_owned(),
                Step::Forward { to, permit } => {
                    let words = self.sent(to, &permit.into_bytes());
                    format!("forward to {to:?}: {words}")
                }
                Step::Speak { to, spoken } => {
                    let words = self.sent(to, &spoken.into_bytes());
                    format!("speak to {to:?}: {words}")
                }
                Step::Record(decision) => {
                    let text = recorded(&decision);
                    self.decisions.push(*decision);
                    text
                }
                Step::Close { side, reset } => {
                    let how = if reset { " reset" } else { "" };
                    format!("close {side:?}{how}")
                }
                Step::Spool(_) if self.lost => continue,
                Step::Spool(bytes) => {
                    assert!(!self.reading);
                    self.spool.extend_from_slice(&bytes);
                    if self.spool.len() > self.room {
                        self.lost = true;
                        let now = self.now();
                        assert!(self.session.spool_failed(now, wall()));
                    }
                    format!("spool {} bytes", bytes.len())
                }
                Step::Unspool => {
                    self.reading = true;
                    "unspool".to_owned()
                }
                Step::DropSpool => {
                    self.reading = false;
                    self.lost = false;
                    self.spool.clear();
                    "drop spool".to_owned()
                }
            };
            self.out.push(text);
        }
    }

    /// Reads what we write as strictly as a peer could.
    fn sent(&mut self, to: Side, bytes: &[u8]) -> String {
        let mut reader = PduReader::new(&Limits::default(), Base::Strict);
        reader.receive(bytes);
        let mut words = Vec::new();
        while let Some(pdu) = reader.poll() {
            let pdu = pdu.unwrap();
            let name = pdu.kind().name();
            words.push(match &pdu {
                Pdu::AssociateRq(rq) => {
                    let ids: Vec<u8> = rq.contexts().iter().map(|context| context.id).collect();
                    format!("{name} {ids:?}")
                }
                Pdu::AssociateAc(ac) => {
                    let contexts = ac.contexts().iter();
                    let results: Vec<_> = contexts.map(|c| (c.id, c.result)).collect();
                    format!("{name} {results:?}")
                }
                Pdu::AssociateRj(rj) => format!("{name} {:?}", rj.codes()),
                Pdu::Abort(words) => format!("{name} {:?}", words.codes()),
                Pdu::ReleaseRq | Pdu::ReleaseRp => name.to_owned(),
                Pdu::PData(values) => {
                    let mut text = name.to_owned();
                    for value in values {
                        let payload = match to {
                            Side::Device => &mut self.to_device,
                            Side::Hospital => &mut self.to_hospital,
                        };
                        payload.extend_from_slice(&value.data);
                        let what = if value.command {
                            said(&value.data)
                        } else {
                            "data".into()
                        };
                        self.last |= to == Side::Hospital && value.last && !value.command;
                        let last = if value.last { " last" } else { "" };
                        let (id, length) = (value.context_id, value.data.len());
                        write!(text, " [{id} {what} {length}{last}]").unwrap();
                    }
                    text
                }
            });
        }
        assert!(!reader.is_partial());
        words.join(", ")
    }

    pub(super) fn device(&mut self, bytes: &[u8]) -> &mut Self {
        assert!(self.session.wants(Side::Device), "the device is not read");
        self.run(|s, now, wall| s.receive(Side::Device, bytes, now, wall))
    }

    pub(super) fn device_may_say(&mut self, bytes: &[u8]) -> &mut Self {
        if bytes.is_empty() {
            self
        } else {
            self.device(bytes)
        }
    }

    pub(super) fn hospital(&mut self, bytes: &[u8]) -> &mut Self {
        assert!(
            self.session.wants(Side::Hospital),
            "the hospital is not read"
        );
        self.run(|s, now, wall| s.receive(Side::Hospital, bytes, now, wall))
    }

    pub(super) fn connected(&mut self) -> &mut Self {
        self.run(|s, now, wall| s.connected(now, wall))
    }

    pub(super) fn connect_failed(&mut self) -> &mut Self {
        self.run(|s, now, wall| s.connect_failed(now, wall))
    }

    pub(super) fn device_ends(&mut self) -> &mut Self {
        self.run(|s, now, wall| s.ended(Side::Device, false, now, wall))
    }

    pub(super) fn hospital_ends(&mut self) -> &mut Self {
        self.run(|s, now, wall| s.ended(Side::Hospital, true, now, wall))
    }

    pub(super) fn token(&mut self, granted: bool) -> &mut Self {
        assert!(self.session.wants_token());
        self.run(|s, now, wall| s.token(granted, now, wall))
    }

    pub(super) fn ends(&mut self, reason: EndReason) -> &mut Self {
        self.run(|s, now, wall| Session::end(s, reason, now, wall))
    }

    pub(super) fn hold(&mut self, held: bool) -> &mut Self {
        self.run(|session, now, wall| session.hold(held, now, wall))
    }

    pub(super) fn later(&mut self, ms: u64) -> &mut Self {
        self.ms += ms;
        for _ in 0..4 {
            if self.session.deadline().is_some_and(|at| at <= self.now()) {
                self.run(|s, now, wall| s.handle_deadline(now, wall));
            }
        }
        self
    }

    pub(super) fn say(&mut self, text: &str) -> &mut Self {
        self.out.push(format!("-- {text}"));
        self
    }

    pub(super) fn told(&self) -> String {
        assert!(!matches!(self.session.phase, Phase::Over) || self.session.dialogue.is_none());
        self.out.join("\n")
    }

    pub(super) fn last_was_sent(&self) -> bool {
        self.last
    }

    pub(super) fn is_over(&self) -> bool {
        self.session.deadline().is_none()
    }
}

fn recorded(decision: &Decision) -> String {
    let d = decision.clone();
    let why = [d.rule, d.reason, d.location, d.detail]
        .into_iter()
        .flatten();
    let id = String::from_utf8(d.identifier.unwrap_or_default()).unwrap();
    format!(
        "record {:?} {:?} [{}] {:?} {} answer {:?} id {id} {} bytes {:?}",
        d.from,
        d.what,
        d.kind,
        d.outcome,
        why.collect::<Vec<_>>().join(" | "),
        d.answer.unwrap_or_default(),
        d.length,
        d.warnings,
    )
}

/// Command field and status of a command set.
fn said(set: &[u8]) -> String {
    let mut rest = set;
    let mut text = String::from("command");
    while rest.len() >= 8 {
        let element = u16::from_le_bytes([rest[2], rest[3]]);
        let length = u32::from_le_bytes([rest[4], rest[5], rest[6], rest[7]]) as usize;
        let value = &rest[8..8 + length];
        match element {
            0x100 => write!(text, " {:02x}{:02x}", value[1], value[0]).unwrap(),
            0x900 => write!(text, " status {:02x}{:02x}", value[1], value[0]).unwrap(),
            0x902 => write!(text, " {:?}", String::from_utf8_lossy(value).trim()).unwrap(),
            _ => {}
        }
        rest = &rest[8 + length..];
    }
    text
}

pub(super) fn policy() -> ConnectionPolicy {
    let allow = ["C-ECHO", "C-STORE", "C-FIND", "N-ACTION"];
    let classes = [ULTRASOUND, FIND, MACHINE_CHECK];
    ConnectionPolicy {
        opener: Side::Device,
        protocol: ProtocolPolicy::Dicom(Policy {
            limits: Limits::default(),
            calling_ae: Some("US07".into()),
            called_ae: Some("PACS1".into()),
            rules: vec![Rule {
                name: "us".into(),
                allow: allow.map(str::to_owned).to_vec(),
                sop_classes: classes.map(str::to_owned).to_vec(),
                bind_sender: true,
                profiles: vec![Profile::standard()],
                ..Rule::default()
            }],
            ..Policy::default()
        }),
        timing: Timing {
            receive_ms: 30_000,
            connect_ms: 10_000,
            answer_ms: 60_000,
            idle_ms: 600_000,
            send_ms: 30_000,
            transaction_ms: 3_600_000,
        },
        rate: None,
        delay_only: false,
        without_journal: false,
        language: crate::words::Language::English,
    }
}

pub(super) fn rules(policy: &mut ConnectionPolicy) -> &mut Vec<Rule> {
    match &mut policy.protocol {
        ProtocolPolicy::Dicom(dicom) => &mut dicom.rules,
        ProtocolPolicy::Hl7(_) => panic!("not DICOM"),
    }
}

/// The service streams.
pub(super) fn streaming(policy: &mut ConnectionPolicy) {
    match &mut policy.protocol {
        ProtocolPolicy::Dicom(dicom) => dicom
            .rules
            .iter_mut()
            .for_each(|rule| rule.streaming = true),
        ProtocolPolicy::Hl7(_) => panic!("not DICOM"),
    }
}

pub(super) fn limits(policy: &mut ConnectionPolicy) -> &mut Limits {
    match &mut policy.protocol {
        ProtocolPolicy::Dicom(dicom) => &mut dicom.limits,
        ProtocolPolicy::Hl7(_) => panic!("not DICOM"),
    }
}

fn wall() -> Timestamp {
    Timestamp::from_second(1_767_225_600).unwrap()
}
