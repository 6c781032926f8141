//! Patients, devices and clocks that a rule binds: each refusal beside its accepted twin.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use protocol_inspect::Reason;
use protocol_inspect::hl7::{
    ErrorCode, Fault, Frame, Patients, Policy, Rule, Verdict, judge, patient_hash,
};

const KEY: &[u8] = b"a key that only this test knows.";

/// The identifiers of the device's patients, with their authorities.
const OWN: [(&str, [&str; 3]); 6] = [
    ("4711", ["NORD", "", ""]),
    ("4712", ["NORD", "", ""]),
    ("NAT-1", ["", "1.2.250.1", "ISO"]),
    ("a^b&c", ["NO&RD", "", ""]),
    ("99", ["", "", ""]),
    ("O'NE", ["NORD", "", ""]),
];

fn policy() -> Policy {
    let hashes = OWN.map(|(id, authority)| patient_hash(KEY, authority, id));
    Policy {
        default_charset: "ASCII".into(),
        patients: Patients::new(KEY, hashes),
        rules: vec![Rule {
            name: "r".into(),
            send: vec!["*".into()],
            bind_patient: true,
            ..Rule::default()
        }],
        ..Policy::default()
    }
}

fn message(version: &str, kind: &str, rest: &str) -> String {
    let trigger = if version < "2.3.1" {
        ""
    } else {
        "20260102101500"
    };
    format!("MSH|^~\\&|ECG|CARDIO|HIS|NORD|{trigger}||{kind}|M1|P|{version}\r{rest}")
}

/// A result of a patient with this PID from PID-2 on.
fn oru(pid: &str) -> String {
    let rest = format!("PID|1|{pid}\rOBR|1|||93000^ECG^C4\rOBX|1|NM|1^Rate^L||72||||||F\r");
    message("2.5.1", "ORU^R01^ORU_R01", &rest)
}

/// Nothing, or where and why.
fn refused(text: &str, policy: &Policy) -> Option<String> {
    match judge(Frame::around(text.as_bytes()), policy, Some(NOW)).verdict {
        Verdict::Accept(_) => None,
        Verdict::Refuse(refused) => {
            if refused.refusal.reason == Reason::Identity {
                assert_eq!(refused.code, ErrorCode::UnknownKey, "{text}");
                assert_eq!(refused.fault, Fault::Rule, "{text}");
                assert!(refused.place.is_some(), "{text}");
            }
            Some(refused.refusal.to_string())
        }
    }
}

#[track_caller]
fn twins(policy: &Policy, good: &str, bad: &str, why: &str) {
    assert_eq!(refused(good, policy), None, "{good}");
    let refusal = refused(bad, policy).unwrap_or_default();
    let without_byte = match (refusal.find(" (byte "), refusal.find("): ")) {
        (Some(from), Some(to)) => format!("{}{}", &refusal[..from], &refusal[to + 1..]),
        _ => refusal.clone(),
    };
    assert_eq!(without_byte, why, "{bad}");
}

/// 2026-01-02 10:15:00 UTC.
const NOW: i64 = 1_767_348_900;

//= C5
#[test]
fn every_identifier_of_a_patient_is_one_of_the_devices() {
    let policy = policy();
    let unknown = "is none of the device's patients";
    for (good, bad, place) in [
        ("|4711^^^NORD^MR", "|4713^^^NORD^MR", "PID-3"),
        // The authority belongs to the identifier.
        ("|4711^^^NORD", "|4711^^^SUD", "PID-3"),
        ("|4711^^^NORD&&", "|4711^^^NORD&1.2&ISO", "PID-3"),
        ("|99", "|4711", "PID-3"),
        (
            "|NAT-1^^^&1.2.250.1&ISO",
            "|NAT-1^^^&1.2.250.2&ISO",
            "PID-3",
        ),
        // Nothing is folded, trimmed or guessed.
        (
            "|NAT-1^^^&1.2.250.1&ISO",
            "|nat-1^^^&1.2.250.1&ISO",
            "PID-3",
        ),
        ("|4711^^^NORD", "|4711 ^^^NORD", "PID-3"),
        ("|4711^^^NORD", "|04711^^^NORD", "PID-3"),
        ("|4711^^^NORD", "|4711&x^^^NORD", "PID-3"),
        ("|4711^^^NORD", "|4711^^^NORD&&&x", "PID-3"),
        ("|4711^^^NORD", "|\"\"^^^NORD", "PID-3"),
        // An escape sequence is what it stands for.
        (r"|a\S\b\T\c^^^NO\T\RD", r"|a\S\b\R\c^^^NO\T\RD", "PID-3"),
        (r"|O\X27\NE^^^NORD", r"|O\H\NE^^^NORD", "PID-3"),
        // All repetitions and fields that name the patient.
        (
            "|4711^^^NORD^MR~NAT-1^^^&1.2.250.1&ISO^NI",
            "|4711^^^NORD^MR~NAT-2^^^&1.2.250.1&ISO^NI",
            "PID-3(2)",
        ),
        ("99|4711^^^NORD", "98|4711^^^NORD", "PID-2"),
        ("\"\"|4711^^^NORD|\"\"", "|4711^^^NORD|98", "PID-4"),
        (
            "|4711^^^NORD||X||||||||||||||99",
            "|4711^^^NORD||X||||||||||||||98",
            "PID-19",
        ),
    ] {
        twins(
            &policy,
            &oru(good),
            &oru(bad),
            &format!("{place}: {unknown}"),
        );
    }
}

#[test]
fn a_patient_is_named_once_and_not_twice() {
    let policy = policy();
    let second = "names a second patient";
    // Two identifiers of one authority and kind are two patients, even if the device may send for both.
    twins(
        &policy,
        &oru("|4711^^^NORD^MR~4711^^^NORD^MR"),
        &oru("|4711^^^NORD^MR~4712^^^NORD^MR"),
        &format!("PID-3(2): {second}"),
    );
    // Another PID must be the same patient.
    let group =
        |pid: &str| format!("PID|2||{pid}\rOBR|1|||93000^ECG^C4\rOBX|1|NM|1^Rate^L||7||||||F\r");
    let first = oru("|NAT-1^^^&1.2.250.1&ISO~4711^^^NORD");
    twins(
        &policy,
        &(first.clone() + &group("4711^^^NORD")),
        &(first.clone() + &group("4712^^^NORD")),
        &format!("PID[2]-3: {second}"),
    );
    // With binding the hospital may file both under one; without, it is the standard's own way to send many.
    let mut free = policy;
    free.rules[0].bind_patient = false;
    assert_eq!(refused(&(first + &group("1^^^SUD")), &free), None);
}

#[test]
fn a_message_without_a_patient_is_of_nobody() {
    let policy = policy();
    let missing = "has no identifier, and the rule binds patients";
    for bad in ["|", "||X", "|\"\"", "99|^^^NORD"] {
        twins(
            &policy,
            &oru("|4711^^^NORD"),
            &oru(bad),
            &format!("PID-3: {missing}"),
        );
    }
    let no_pid = message(
        "2.5.1",
        "ORU^R01^ORU_R01",
        "OBR|1|||93000^ECG^C4\rOBX|1|NM|1^Rate^L||72||||||F\r",
    );
    let refusal = refused(&no_pid, &policy).unwrap();
    assert!(
        refusal.ends_with("PID-3: is missing, and the rule binds patients"),
        "{refusal}"
    );
    // Acknowledgements are about a message, not about a patient.
    let ack = message("2.5.1", "ACK^R01^ACK", "MSA|AA|M0\r");
    assert_eq!(refused(&ack, &policy), None);
}

#[test]
fn who_is_merged_is_one_of_the_devices_too() {
    let merge = |mrg: &str| {
        let rest = format!("EVN||20260102101500\rPID|1||4711^^^NORD||X^Y\rMRG|{mrg}\r");
        message("2.5.1", "ADT^A40^ADT_A39", &rest)
    };
    for (good, bad, place) in [
        ("4712^^^NORD", "4713^^^NORD", "MRG-1"),
        ("4712^^^NORD|99", "4712^^^NORD|98", "MRG-2"),
        ("4712^^^NORD||1|99", "4712^^^NORD||1|98", "MRG-4"),
    ] {
        let why = format!("{place}: is none of the device's patients");
        twins(&policy(), &merge(good), &merge(bad), &why);
    }
}

#[test]
fn queries_name_patients_in_ways_that_cannot_be_bound() {
    let query = message(
        "2.5.1",
        "QRY^A19^QRY_A19",
        "QRD|20260102101500|R|I|Q1|||1^RD|4711^^^NORD|DEM|X\r",
    );
    let mut free = policy();
    assert_eq!(
        refused(&query, &free).unwrap().rsplit(": ").next(),
        Some("names patients whom no rule can bind")
    );
    free.rules[0].bind_patient = false;
    assert_eq!(refused(&query, &free), None);
}

#[test]
fn old_versions_name_patients_in_the_same_place() {
    for version in ["2.1", "2.2", "2.3"] {
        let oru = |pid: &str| {
            let rest = format!("PID|1|{pid}\rOBR|1|||93000^ECG^C4\rOBX|1|NM|1^Rate^L||72||||||F\r");
            message(version, "ORU^R01", &rest)
        };
        let unknown = "PID-3: is none of the device's patients";
        twins(&policy(), &oru("|99^5^M10"), &oru("|98^5^M10"), unknown);
    }
}

#[test]
fn a_rule_in_shadow_binds_too() {
    let mut shadow = policy();
    shadow.rules[0].shadow = true;
    let unknown = "PID-3: is none of the device's patients";
    twins(&shadow, &oru("|4711^^^NORD"), &oru("|4713^^^NORD"), unknown);
}

//= C7
#[test]
fn identifiers_are_counted() {
    let policy = policy();
    let many = |number| oru(&format!("|{}", vec!["4711^^^NORD"; number].join("~")));
    twins(
        &policy,
        &many(16),
        &many(17),
        "PID-3(17): is one identifier too many",
    );
}

#[test]
fn the_hash_is_what_the_reference_says() {
    // Made with another implementation: the lengths 4, 0, 0, 4 before their texts.
    let hash = patient_hash(KEY, ["NORD", "", ""], "4711");
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, EXPECTED);
    let moved = patient_hash(KEY, ["NORD4", "", ""], "711");
    assert_ne!(hash, moved, "no two identifiers are one");
    assert!(
        !format!("{:?}", policy()).contains("115, 101"),
        "keys are not shown"
    );
}

const EXPECTED: &str = "9445838e8d03c0ea9d940dd49afa1c4e89fef5d071680fd790b8e9de248f308f";

#[test]
fn observations_are_of_the_device_that_sends_them() {
    let mut policy = policy();
    let obx = |obx18: &str| {
        oru("|4711^^^NORD").replace("||72||||||F", &format!("||72||||||F|||||||{obx18}"))
    };
    assert_eq!(refused(&obx("anything^at^all"), &policy), None);
    policy.device_ids = vec!["0012345678ABCDEF".into()];
    let foreign = "is none of the device's identifiers";
    twins(
        &policy,
        &obx("0012345678ABCDEF^^0012345678ABCDEF^EUI-64"),
        &obx("0012345678ABCDEE^^0012345678ABCDEE^EUI-64"),
        &format!("OBX-18: {foreign}"),
    );
    twins(
        &policy,
        &obx("0012345678ABCDEF"),
        &obx("0012345678ABCDEF~0012345678ABCDEE"),
        &format!("OBX-18(2): {foreign}"),
    );
    assert_eq!(refused(&obx("\"\""), &policy), None);
    let prt = |prt10: &str| {
        let prt = format!("PRT|1|AD||EQUIP^Equipment^HL70912||||||{prt10}\r");
        (oru("|4711^^^NORD") + &prt).replace("|2.5.1\r", "|2.7\r")
    };
    twins(
        &policy,
        &prt("0012345678ABCDEF^ACME"),
        &prt("0012345678ABCDEE^ACME"),
        &format!("PRT-10: {foreign}"),
    );
}

#[test]
fn a_clock_window_refuses_what_is_outside() {
    let mut policy = policy();
    let at = |msh7: &str| oru("|4711^^^NORD").replace("|20260102101500|", &format!("|{msh7}|"));
    let late = at("20260102090000+0000");
    assert_eq!(refused(&late, &policy), None, "without a window it warns");
    policy.rules[0].clock_window = Some(600);
    for (bad, why) in [
        (late, "MSH-7: is longer ago than the rule allows"),
        (
            at("20260102111500+0000"),
            "MSH-7: is further in the future than the rule allows",
        ),
    ] {
        twins(&policy, &at("20260102102000+0000"), &bad, why);
    }
    let without = |msh7: &str| at(msh7).replace("|2.5.1\r", "|2.4\r");
    twins(
        &policy,
        &without("20260102102000+0000"),
        &without(""),
        "MSH-7: is missing, and the rule compares it with the present",
    );
}
