//! What a probe says and hears, byte for byte, and the policies under which it may.
//!
//! The words are fixed but for one number, so that an exchange never takes one probe for a repetition of another.
//! Whoever speaks is no device and no service of any configuration: the titles and senders are those of these policies.
//! Pure.

use protocol_inspect::{dicom, hl7};

use crate::flow::Side;
use crate::inspect::{ConnectionPolicy, ProtocolPolicy, Timing};

/// What the relay must let through, or must not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// To the other end and back, byte for byte.
    Passage,
    /// Refused, with nothing said to the hospital's end.
    Refusal,
}

/// May send one kind of message, in the name of the probe alone.
pub(super) fn hl7_policy() -> ConnectionPolicy {
    policy(ProtocolPolicy::Hl7(hl7::Policy {
        default_charset: "ASCII".to_owned(),
        senders: vec![(SENDER.to_owned(), FACILITY.to_owned())],
        rules: vec![hl7::Rule {
            name: RULE.to_owned(),
            send: vec!["ORU^R01".to_owned()],
            bind_sender: true,
            ..hl7::Rule::default()
        }],
        ..hl7::Policy::default()
    }))
}

/// May ask for an echo, in the name of the probe alone.
pub(super) fn dicom_policy() -> ConnectionPolicy {
    policy(ProtocolPolicy::Dicom(dicom::Policy {
        calling_ae: Some(CALLING.to_owned()),
        called_ae: Some(CALLED.to_owned()),
        rules: vec![dicom::Rule {
            name: RULE.to_owned(),
            allow: vec!["C-ECHO".to_owned()],
            bind_sender: true,
            ..dicom::Rule::default()
        }],
        ..dicom::Policy::default()
    }))
}

fn policy(protocol: ProtocolPolicy) -> ConnectionPolicy {
    ConnectionPolicy {
        opener: Side::Device,
        protocol,
        timing: Timing {
            receive_ms: STEP_MS,
            connect_ms: STEP_MS,
            answer_ms: STEP_MS,
            idle_ms: STEP_MS,
            send_ms: STEP_MS,
            transaction_ms: STEP_MS,
        },
        rate: None,
        delay_only: false,
        // The journal is looked at by itself.
        without_journal: true,
        language: crate::words::Language::English,
    }
}

/// An observation result in its MLLP frame, of the probe or of somebody else.
//= HL7 v2.5.1 7.3.1
pub(super) fn oru(number: u64, wanted: Wanted) -> Vec<u8> {
    let sender = match wanted {
        Wanted::Passage => SENDER,
        Wanted::Refusal => STRANGER,
    };
    framed(&format!(
        "MSH|^~\\&|{sender}|{FACILITY}|{FACILITY}|{FACILITY}|20260101000000||ORU^R01^ORU_R01|P{number}|P|2.5.1\r\
         PID|1||0^^^PROBE^MR||PROBE^SELF\r\
         OBR|1||1|8867-4^Heart rate^LN|||20260101000000||||||||||||||||||F\r\
         OBX|1|NM|8867-4^Heart rate^LN||60|/min^per minute^UCUM|||||F\r"
    ))
}

/// The acknowledgement of [`oru`], in its frame.
//= HL7 v2.5.1 2.9.2
pub(super) fn acknowledgement(number: u64) -> Vec<u8> {
    framed(&format!(
        "MSH|^~\\&|{FACILITY}|{FACILITY}|{SENDER}|{FACILITY}|20260101000000||ACK^R01^ACK|A{number}|P|2.5.1\r\
         MSA|AA|P{number}\r"
    ))
}

/// Whether a frame tells the sender of [`oru`] that it was refused.
pub(super) fn is_refusal(frame: &[u8], number: u64) -> bool {
    let refusal = |code: &str| {
        let msa = format!("\rMSA|{code}|P{number}");
        frame
            .windows(msa.len())
            .any(|window| window == msa.as_bytes())
    };
    refusal("AR") || refusal("AE")
}

fn framed(message: &str) -> Vec<u8> {
    [&[START_BLOCK], message.as_bytes(), &END_OF_FRAME].concat()
}

/// A-ASSOCIATE-RQ with one context, for Verification; of the probe or of somebody else.
//= DICOM PS3.8 9.3.2
pub(super) fn associate_rq(wanted: Wanted) -> Vec<u8> {
    let calling = match wanted {
        Wanted::Passage => CALLING,
        Wanted::Refusal => STRANGER,
    };
    let context = [
        &[CONTEXT, 0, 0, 0][..],
        &item(0x30, VERIFICATION),
        &item(0x40, IMPLICIT),
    ]
    .concat();
    associate(0x01, calling, &item(0x20, &context))
}

/// A-ASSOCIATE-AC that accepts the context of this identifier.
//= DICOM PS3.8 9.3.3
pub(super) fn associate_ac(context: u8) -> Vec<u8> {
    let context = [&[context, 0, 0, 0][..], &item(0x40, IMPLICIT)].concat();
    associate(0x02, CALLING, &item(0x21, &context))
}

fn associate(kind: u8, calling: &str, contexts: &[u8]) -> Vec<u8> {
    let user = [
        item(0x51, &MAX_LENGTH.to_be_bytes()),
        item(0x52, IMPLEMENTATION),
    ]
    .concat();
    let title = |name: &str| format!("{name:<16}").into_bytes();
    let body = [
        &[0, 1, 0, 0][..],
        &title(CALLED),
        &title(calling),
        &[0; 32],
        &item(0x10, APPLICATION),
        contexts,
        &item(0x50, &user),
    ]
    .concat();
    pdu(kind, &body)
}

/// The identifier of the first presentation context in the body of an A-ASSOCIATE-RQ.
pub(super) fn first_context(body: &[u8]) -> Option<u8> {
    let mut items = body.get(FIXED_FIELDS..)?;
    loop {
        let (kind, length) = (*items.first()?, items.get(2..4)?);
        let length = usize::from(u16::from_be_bytes(length.try_into().ok()?));
        let value = items.get(4..length.saturating_add(4))?;
        if kind == 0x20 {
            return value.first().copied();
        }
        items = items.get(length.saturating_add(4)..)?;
    }
}

/// The command set of a C-ECHO request.
//= DICOM PS3.7 9.3.5
pub(super) fn echo_rq() -> Vec<u8> {
    command(&[
        (0x0002, padded(VERIFICATION)),
        (0x0100, 0x0030_u16.to_le_bytes().to_vec()),
        (0x0110, 1_u16.to_le_bytes().to_vec()),
        (0x0800, 0x0101_u16.to_le_bytes().to_vec()),
    ])
}

/// The command set of its response, with success.
pub(super) fn echo_rsp() -> Vec<u8> {
    command(&[
        (0x0002, padded(VERIFICATION)),
        (0x0100, 0x8030_u16.to_le_bytes().to_vec()),
        (0x0120, 1_u16.to_le_bytes().to_vec()),
        (0x0800, 0x0101_u16.to_le_bytes().to_vec()),
        (0x0900, 0_u16.to_le_bytes().to_vec()),
    ])
}

/// P-DATA-TF with a whole command set.
//= DICOM PS3.8 9.3.5
pub(super) fn data(context: u8, command: &[u8]) -> Vec<u8> {
    let value = [&[context, WHOLE_COMMAND][..], command].concat();
    pdu(0x04, &[&length(value.len())[..], &value].concat())
}

/// The command set of a P-DATA-TF that holds one whole command, with its context.
pub(super) fn whole_command(body: &[u8]) -> Option<(u8, &[u8])> {
    let (length, value) = body.split_first_chunk::<4>()?;
    let (head, command) = value.split_first_chunk::<2>()?;
    let whole = usize::try_from(u32::from_be_bytes(*length)) == Ok(value.len());
    let [context, control] = *head;
    (whole && control == WHOLE_COMMAND).then_some((context, command))
}

/// A-RELEASE-RQ and its answer.
//= DICOM PS3.8 9.3.6
pub(super) fn release(kind: u8) -> Vec<u8> {
    pdu(kind, &[0; 4])
}

fn pdu(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 0][..], &length(body.len()), body].concat()
}

fn item(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
    [&[kind, 0][..], &length.to_be_bytes(), value].concat()
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes()
}

/// Elements of group 0000 in implicit little endian, with their length before them.
fn command(elements: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let element = |(number, value): &(u16, Vec<u8>)| {
        let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
        let head = [[0, 0], number.to_le_bytes()].concat();
        [&head[..], &length.to_le_bytes(), value].concat()
    };
    let all: Vec<u8> = elements.iter().flat_map(element).collect();
    let length = u32::try_from(all.len()).unwrap_or(u32::MAX);
    [element(&(0, length.to_le_bytes().to_vec())), all].concat()
}

fn padded(uid: &[u8]) -> Vec<u8> {
    let mut value = uid.to_vec();
    if value.len() % 2 == 1 {
        value.push(0);
    }
    value
}

pub(super) const END_OF_FRAME: [u8; 2] = [0x1c, 0x0d];
const START_BLOCK: u8 = 0x0b;
const RULE: &str = "gateway probe";
const SENDER: &str = "LAZARET";
const FACILITY: &str = "PROBE";
const STRANGER: &str = "STRANGER";
const CALLING: &str = "LAZARET PROBE";
const CALLED: &str = "LAZARET SINK";
/// Presentation context of the probe; identifiers are odd.
pub(super) const CONTEXT: u8 = 1;
const WHOLE_COMMAND: u8 = 0x03;
const MAX_LENGTH: u32 = 16_384;
/// Protocol version, reserved, both titles, reserved (PS3.8 9.3.2).
const FIXED_FIELDS: usize = 68;
const VERIFICATION: &[u8] = b"1.2.840.10008.1.1";
const IMPLICIT: &[u8] = b"1.2.840.10008.1.2";
const APPLICATION: &[u8] = b"1.2.840.10008.3.1.1.1";
/// A root made of a UUID, so that nobody else's product is named.
const IMPLEMENTATION: &[u8] = b"2.25.90123456789012345678901234567";
/// What each step of a probe may take, in milliseconds: longer than the whole probe waits.
const STEP_MS: u64 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let rq = associate_rq(Wanted::Passage);
        assert_eq!(first_context(&rq[6..]), Some(CONTEXT));
        assert_eq!(first_context(&rq[6..80]), None);
        let echo = data(CONTEXT, &echo_rq());
        assert_eq!(whole_command(&echo[6..]), Some((CONTEXT, &echo_rq()[..])));
        assert_eq!(whole_command(&echo[6..20]), None);
        assert!(is_refusal(b"\x0bMSH|x\rMSA|AR|P7\r\x1c\r", 7));
        assert!(!is_refusal(&acknowledgement(7), 7));
    }
}
