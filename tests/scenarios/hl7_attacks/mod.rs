//! Twenty-eight attacks on an HL7 interface, one test each: what the device gets for it, and the proof that the
//! hospital got nothing, beside the nearest twin that does arrive.
//!
//! | #  | attack | test | the device gets |
//! |----|--------|------|-----------------|
//! | 1 | result changed in transit | `transport::attack_01_tampering_in_transit` | nothing; TCP sends it again |
//! | 2 | sender spoofing: MSH-3/4, OBX-18 | `identity::attack_02_sender_spoofing` | AR 204 at MSH-3, MSH-4, OBX-18 |
//! | 3 | type, trigger or structure not allowed | `identity::attack_03_type_that_no_rule_allows` | AR 200 or AR 201 at MSH-9 |
//! | 4 | frame smuggling: FS, CR, VT in content | `framing::attack_04_frame_smuggling` | `close`; CR: AE 100; a whole frame: its own verdict |
//! | 5 | messages coalesced and split anywhere | `framing::attack_05_coalesced_and_split_messages` | the same verdicts at every split |
//! | 6 | second MSH in a frame | `framing::attack_06_second_header_in_a_frame` | AE 100 at the second MSH |
//! | 7 | junk before VT: HTTP, TLS, … | `framing::attack_07_junk_before_a_frame` | `close` |
//! | 8 | false acknowledgements, from either side | `answers::attack_08_false_acknowledgements` | nothing; `close` when none is true |
//! | 9 | replay; other bytes under one MSH-10 | `transport::attack_09_replay_and_reused_control_id` | the first AA again; AR 204 from another device; other bytes: forwarded, recorded; with `unique_ids` AE 205 |
//! | 10 | stale or future MSH-7 | `identity::attack_10_stale_and_future_messages` | AR 102 at MSH-7 |
//! | 11 | slow drip, endless frame | `framing::attack_11_slow_drip_and_endless_frame` | `close` |
//! | 12 | amplification: segments, repetitions, components | `size::attack_12_amplification` | AE 207 |
//! | 13 | grammar blow-up | `size::attack_13_grammar_blow_up` | AE 100; others are served meanwhile |
//! | 14 | delimiter confusion | `encoding::attack_14_delimiter_confusion` | `close`; changed midway: AE 100 |
//! | 15 | escape injection | `encoding::attack_15_escape_injection` | AE 102 at the field |
//! | 16 | local (Z) and unknown segments | `content::attack_16_local_segment_smuggling` | AR 100 at the segment |
//! | 17 | programs, archives, pointers in ED and RP | `content::attack_17_documents_and_pointers` | AE 102 at OBX-5 |
//! | 18 | DOCTYPE, entities in CDA and XML | `content::attack_18_markup_with_entities` | AE 102 at OBX-5 |
//! | 19 | character set tricks | `encoding::attack_19_character_set_tricks` | AE 102 at the byte, AE 103 at MSH-18; a mark in front: `close` |
//! | 20 | LF and CR LF for CR | `encoding::attack_20_line_feeds` | AE 102 at the byte |
//! | 21 | injection: SQL, HTML, terminals, logs | `encoding::attack_21_injection_into_what_reads_it_later` | control bytes: AE 102; legal text: AA, and in no log |
//! | 22 | patient mix-up | `identity::attack_22_patient_mix_up` | AR 204 at PID-3 |
//! | 23 | batch wrapping | `framing::attack_23_batch_wrapping` | AR 200; carried: the verdict on its worst message |
//! | 24 | version downgrade | `identity::attack_24_version_downgrade` | AR 203 at MSH-12 |
//! | 25 | fragments (DSC, MSH-14, ADD), labels (MSH-8) | `size::attack_25_fragments_and_labels` | AE 207 at the segment; MSH-8 changes no verdict |
//! | 26 | reflection in our answers | `answers::attack_26_reflection_in_our_answers` | MSH, MSA, ERR, and no value but its own names |
//! | 27 | rate flood by one device | `size::attack_27_rate_flood` | AE 207; others: AA |
//! | 28 | HL7 over HTTP, MLLP R2 confusion | `answers::attack_28_other_protocols_and_releases` | `close`; R2 only with `mllp = 2` |
//!
//! An answer is written as `MSA-1 ERR-3.1 ERR-2`: `AE 102 PID^1^5^1`.
//! `close` is the end of the connection without an answer.

use e2e::hl7::{self, Client, Reply};
use e2e::{Clinic, HIS, Place, Watch, wait};

mod transport;
mod framing;
mod identity;
mod encoding;
mod content;
mod answers;
mod size;

/// An ORU^R01 of the ECG with this MSH-10 and one change.
#[track_caller]
fn changed(control: &str, from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(hl7::oru(control)).unwrap();
    assert!(text.contains(from), "nothing to change: {from}");
    text.replacen(from, to, 1).into_bytes()
}

/// The same with this text as the value of its observation.
fn note(control: &str, value: &str) -> Vec<u8> {
    changed(
        control,
        "OBX|1|NM|8867-4^Heart rate^LN||72|/min^per minute^UCUM|60-100|N|||F",
        &format!("OBX|1|TX|NOTE^Note^L||{value}||||||F"),
    )
}

/// [`note`] with bytes that are no UTF-8.
fn raw_note(control: &str, value: &[u8]) -> Vec<u8> {
    let text = note(control, "@@@");
    let at = text.windows(3).position(|three| three == b"@@@").unwrap();
    [&text[..at], value, &text[at + 3..]].concat()
}

/// What came back: `AE 102 PID^1^5^1`, `AA`, or `close`.
#[track_caller]
fn next(client: &mut Client) -> String {
    match client.reply(wait::SOON) {
        Reply::Answer(answer) => said(&answer),
        Reply::Closed | Reply::Reset => "close".into(),
        Reply::Nothing => panic!("neither answered nor closed"),
    }
}

fn said(answer: &hl7::Answer) -> String {
    let error: String = answer
        .error
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    let text = format!("{} {error} {}", answer.code, answer.location);
    text.trim_end().to_owned()
}

/// Whole frames on one connection, each with the answer that it must get.
/// No packet of them, not even of a connection, leaves for the HIS.
#[track_caller]
fn refused<M: AsRef<[u8]>>(clinic: &Clinic<'_>, attacks: &[(&str, M, &str)]) {
    let watch = Watch::start(clinic.lab, Place::Hospital, "eth0");
    let before = clinic.his.received().len();
    let mut client = clinic.ecg.mllp(clinic.his.address());
    let mut wrong = Vec::new();
    for (what, message, gets) in attacks {
        let answer = client.exchange(message.as_ref());
        if said(&answer) != *gets {
            wrong.push(format!("{what}: {}, not {gets}", said(&answer)));
        }
    }
    assert_eq!(wrong, [""; 0]);
    nothing_arrived(clinic, watch, before);
}

/// Streams, each on a connection of its own, with all that comes back until the connection ends.
#[track_caller]
fn broken(clinic: &Clinic<'_>, attacks: &[(&str, Vec<u8>, &[&str])]) {
    let watch = Watch::start(clinic.lab, Place::Hospital, "eth0");
    let before = clinic.his.received().len();
    let mut wrong = Vec::new();
    for (what, stream, gets) in attacks {
        let mut client = clinic.ecg.mllp(clinic.his.address());
        let _ = client.send(stream);
        let got: Vec<String> = gets.iter().map(|_| next(&mut client)).collect();
        if got != *gets {
            wrong.push(format!("{what}: {got:?}, not {gets:?}"));
        }
    }
    assert_eq!(wrong, [""; 0]);
    nothing_arrived(clinic, watch, before);
}

#[track_caller]
fn nothing_arrived(clinic: &Clinic<'_>, watch: Watch, before: usize) {
    assert_eq!(watch.stop().packets_to(HIS), 0, "packets to the HIS");
    assert_eq!(clinic.his.received().len(), before, "messages at the HIS");
}

/// The twins: taken on one connection, and at the HIS byte for byte and in order.
#[track_caller]
fn arrives<M: AsRef<[u8]>>(clinic: &Clinic<'_>, twins: &[(&str, M)]) {
    let before = clinic.his.received().len();
    let mut client = clinic.ecg.mllp(clinic.his.address());
    for (what, message) in twins {
        assert_eq!(said(&client.exchange(message.as_ref())), "AA", "{what}");
    }
    let received = clinic.his.wait_for(before + twins.len());
    assert_eq!(received.len(), before + twins.len());
    for ((what, message), got) in twins.iter().zip(&received[before..]) {
        let (got, sent) = (got.escape_ascii(), message.as_ref().escape_ascii());
        assert_eq!(got.to_string(), sent.to_string(), "{what}");
    }
}
