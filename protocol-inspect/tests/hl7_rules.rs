//! Rules, acknowledgements and answers: each refusal beside its accepted twin.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use protocol_inspect::hl7::ack::{self, Stamp, UserMessage};
use protocol_inspect::hl7::{
    Answer, Fault, Frame, Header, Policy, Profile, Refused, Rule, Verdict, judge,
};

const GOOD: &str = "MSH|^~\\&|ECG|CARDIO|HIS|MAIN|20260101||ORU^R01|M1|P|2.5\rPID|1||1||X\rOBR|1||F|X|||2026||||||||||||||||||F\r";
const BAD: &str = "MSH|^~\\&|ECG|CARDIO|HIS|MAIN|20260101||ORU^R01|M1|P|2.5\rPID|1||\\1||X\rOBR|1||F|X|||2026||||||||||||||||||F\r";
const SOFT: &str = "MSH|^~\\&|ECG|CARDIO|HIS|MAIN|20260101||ORU^R01|M1|P|2.5\rPID|1||1||X\rOBR|1||F|X|||2026||||||||||||||||||F";

fn rule(name: &str, send: &[&str]) -> Rule {
    Rule {
        name: name.into(),
        send: send.iter().map(|s| (*s).to_owned()).collect(),
        bind_sender: true,
        ..Rule::default()
    }
}

fn policy(rules: Vec<Rule>) -> Policy {
    Policy {
        default_charset: "ASCII".into(),
        senders: vec![("ECG".into(), "CARDIO".into())],
        rules,
        ..Policy::default()
    }
}

fn stamp() -> Stamp {
    Stamp {
        time: "20260101000000+0000".into(),
        control_id: "LZ1".into(),
    }
}

/// `rule`, or `rule: why`.
fn say(text: &str, policy: &Policy) -> String {
    match judge(Frame::around(text.as_bytes()), policy, None).verdict {
        Verdict::Accept(accepted) => {
            assert_eq!(
                accepted.permit.into_bytes(),
                Frame::around(text.as_bytes()).bytes()
            );
            format!(
                "{} ({} warnings)",
                policy.rules[accepted.rule].name,
                accepted.warnings.len()
            )
        }
        Verdict::Refuse(refused) => format!(
            "{}: {} {} {:?}",
            refused.rule.unwrap_or_default(),
            refused.refusal,
            refused.refusal.reason.code(),
            refused.fault
        ),
    }
}

#[test]
fn types_triggers_and_versions_are_those_of_the_rule() {
    for (send, accepted) in [
        ("ORU^R01", true),
        ("ORU^*", true),
        ("*", true),
        ("ORU^R02", false),
        ("ADT^R01", false),
        ("ORU", false),
    ] {
        let said = say(GOOD, &policy(vec![rule("r", &[send])]));
        assert_eq!(said == "r (0 warnings)", accepted, "{send}: {said}");
    }
    let ack = GOOD.replace("ORU^R01", "ACK").replace(
        "PID|1||1||X\rOBR|1||F|X|||2026||||||||||||||||||F",
        "MSA|AA|M0",
    );
    assert_eq!(
        say(&ack, &policy(vec![rule("r", &["ACK"])])),
        "r (0 warnings)"
    );
    for (version, accepted) in [("2.5", true), ("2.5.1", false)] {
        let mut only = rule("r", &["ORU^R01"]);
        only.versions = vec![version.into()];
        assert_eq!(say(GOOD, &policy(vec![only])) == "r (0 warnings)", accepted);
    }
}

#[test]
fn the_sender_is_the_devices_own() {
    let bound = policy(vec![rule("r", &["ORU^R01"])]);
    for (from, to, refusal) in [
        (
            "|ECG|",
            "|ECG^1.2^ISO|",
            "r: MSH-3: is not the device's own application identity Rule",
        ),
        (
            "|CARDIO|",
            "||",
            "r: MSH-4: is not the device's own facility identity Rule",
        ),
    ] {
        assert_eq!(say(&GOOD.replace(from, to), &bound), refusal);
    }
    let nobody = Policy {
        senders: vec![],
        ..bound.clone()
    };
    assert_eq!(
        say(GOOD, &nobody),
        "r: MSH-3: the device has no sending application of its own identity Rule"
    );
    let mut free = bound;
    free.rules[0].bind_sender = false;
    assert_eq!(say(&GOOD.replace("|ECG|", "|X|"), &free), "r (0 warnings)");
}

#[test]
fn the_rule_that_came_nearest_says_why() {
    let mut old = rule("old", &["ORU^R01"]);
    old.versions = vec!["2.3".into()];
    let both = policy(vec![
        rule("adt", &["ADT^*"]),
        old,
        rule("other", &["ORU^R03"]),
    ]);
    assert_eq!(
        say(GOOD, &both),
        "old: MSH-12: the rule does not allow this version forbidden Header"
    );
    let one = policy(vec![rule("adt", &["ADT^*"]), rule("oru", &["ORU^R01"])]);
    assert_eq!(say(GOOD, &one), "oru (0 warnings)");
    assert_eq!(
        say(GOOD, &policy(vec![])),
        ": message: no rule allows any forbidden Rule"
    );
}

#[test]
fn profile_and_shadow_weigh_the_content() {
    let standard = policy(vec![rule("r", &["ORU^R01"])]);
    let (mut strict, mut shadow) = (standard.clone(), standard.clone());
    strict.rules[0].profiles = vec![Profile::strict()];
    shadow.rules[0].shadow = true;
    let broken = "r: PID-3 (byte 63): has an escape character without its end encoding Content";
    assert_eq!(say(BAD, &standard), broken);
    assert_eq!(say(BAD, &shadow), "r (1 warnings)");
    assert_eq!(say(SOFT, &standard), "r (1 warnings)");
    assert_eq!(
        say(SOFT, &strict),
        "r: message: the last segment has no carriage return structure Content"
    );
    let whole = GOOD.replace("^R01", "^R01^ORU_R01");
    assert_eq!(say(&whole, &strict), "r (0 warnings)");
    // Identity and what it stands on are enforced in shadow too.
    assert!(say(&GOOD.replace("|ECG|", "|X|"), &shadow).contains("identity"));
    let hidden = GOOD.replace("PID|1", "PID|\nMSH|^~\\&|X");
    assert!(say(&hidden, &shadow).contains("line feed"));
    let block = GOOD.replace("PID|1", "PID|\\X1C0D\\");
    assert!(say(&block, &shadow).contains("block byte"));
}

/// What a pilot is for: what passes says what would have become of it.
#[test]
fn shadow_says_what_it_would_have_refused() {
    let marked = |text: &str, change: &dyn Fn(&mut Rule)| {
        let mut policy = policy(vec![rule("r", &["ORU^R01"])]);
        change(&mut policy.rules[0]);
        match judge(Frame::around(text.as_bytes()), &policy, None).verdict {
            Verdict::Accept(accepted) => {
                let warnings = accepted.warnings.iter();
                warnings.map(|w| (w.location.clone(), w.shadow)).collect()
            }
            Verdict::Refuse(_) => Vec::new(),
        }
    };
    let in_shadow = |rule: &mut Rule| rule.shadow = true;
    let strict = |rule: &mut Rule| {
        rule.shadow = true;
        rule.profiles = vec![Profile::strict()];
    };
    assert_eq!(marked(BAD, &|_| {}), []);
    let [(place, true)] = &marked(BAD, &in_shadow)[..] else {
        panic!("one thing is wrong, and would have been refused");
    };
    assert!(place.starts_with("PID-3"), "{place}");
    // What the profile only warns of is not what shadow tolerates.
    assert!(marked(SOFT, &in_shadow).iter().all(|(_, shadow)| !shadow));
    assert!(marked(SOFT, &strict).iter().any(|(_, shadow)| *shadow));
}

fn speak(text: &str) -> String {
    let header = Header::of(text.as_bytes()).unwrap();
    let refused = match judge(Frame::around(text.as_bytes()), &policy(vec![]), None).verdict {
        Verdict::Refuse(refused) => refused,
        Verdict::Accept(_) => unreachable!("no rule accepts"),
    };
    let stamp = stamp();
    ack::refuse(&header, &refused, &stamp).map_or_else(String::new, |(_, spoken)| {
        let text = String::from_utf8(spoken.into_bytes().to_vec()).unwrap();
        text.trim_matches(['\x0b', '\r', '\x1c'])
            .replace('\r', "\n")
    })
}

#[test]
fn acknowledgements_speak_the_senders_dialect() {
    let said = [
        speak(&GOOD.replace("2.5\r", "2.1\r")),
        speak(&GOOD.replace("2.5\r", "2.3.1\r")),
        speak(&GOOD.replace("2.5\r", "2.8.2\r")),
        speak(&GOOD.replace('|', "!").replace('^', "$").replace('&', "(")),
        speak(&GOOD.replace("|P|", "|T|").replace("PID|1", "PID|1\rMSH|2")),
        speak(&GOOD.replace("PID|1", "PID|1^2&3\nX")),
        speak(&GOOD.replace("|M1|", "||")),
    ];
    insta::assert_snapshot!(said.join("\n--\n"));
}

#[test]
fn acknowledgements_echo_nothing_that_could_be_structure() {
    let long = "N".repeat(300);
    let said = [
        speak(
            &GOOD
                .replace("|ECG|", "|A~B\\|")
                .replace("CARDIO", "\u{e9}\x1b[2J"),
        ),
        speak(
            &GOOD
                .replace("|ECG|", "|A\\S\\B&C|")
                .replace("M1", "M\x07\\1"),
        ),
        speak(&GOOD.replace("|ECG|", &format!("|{long}|"))),
    ];
    insta::assert_snapshot!(said.join("\n--\n"));
}

#[test]
fn every_acknowledgement_of_ours_passes_our_own_judgement() {
    let open = policy(vec![Rule {
        bind_sender: false,
        profiles: vec![Profile::strict()],
        ..rule("r", &["*"])
    }]);
    for version in [
        "2.1", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.8.2",
    ] {
        let said =
            speak(&GOOD.replace("2.5\r", &format!("{version}\r"))).replace('\n', "\r") + "\r";
        assert_eq!(say(&said, &open), "r (0 warnings)", "{said}");
    }
}

#[test]
fn an_acknowledgement_is_never_acknowledged() {
    assert_eq!(speak(&GOOD.replace("ORU^R01", "ACK^R01")), "");
}

#[test]
fn modes_choose_the_code() {
    let code = |asked: &str, fault| {
        let text = GOOD.replace("|2.5\r", &format!("|2.5|||{asked}\r"));
        let header = Header::of(text.as_bytes()).unwrap();
        ack::code_for(&header, fault).map_or("", ack::AckCode::code)
    };
    for (asked, expected) in [
        ("", ["AR", "AR", "AE"]),
        ("|", ["AR", "AR", "AE"]),
        ("AL|AL", ["CR", "CE", "CE"]),
        ("ER|NE", ["CR", "CE", "CE"]),
        ("NE|AL", ["AR", "AR", "AE"]),
        ("SU|ER", ["AR", "AR", "AE"]),
        ("|ER", ["AR", "AR", "AE"]),
        ("AL|", ["CR", "CE", "CE"]),
        ("NE|SU", ["", "", ""]),
        ("NE|NE", ["", "", ""]),
    ] {
        let got = [Fault::Header, Fault::Rule, Fault::Content].map(|fault| code(asked, fault));
        assert_eq!(got, expected, "{asked}");
    }
}

#[test]
fn answers_are_whole_messages_with_one_msa() {
    let read = |text: &str| {
        let answer = Answer::read(Frame::around(text.as_bytes()), &policy(vec![]));
        answer.map_or_else(
            |refusal| refusal.to_string(),
            |a| {
                format!(
                    "{} {} {}",
                    a.code.code(),
                    String::from_utf8_lossy(a.acknowledged()),
                    a.warnings.len()
                )
            },
        )
    };
    let good = "MSH|^~\\&|HIS|MAIN|ECG|CARDIO|20260101||ACK|H1|P|2.5\rMSA|AA|M1\r";
    assert_eq!(read(good), "AA M1 0");
    // What is wrong beside the point is a warning.
    assert_eq!(
        read(&good.replace("20260101", "").replace("|P|", "||")),
        "AA M1 2"
    );
    assert_eq!(
        read(&good.replace("MSA|AA", "MSA|OK")),
        "MSA-1: is not an acknowledgement code of table 0008"
    );
    assert_eq!(read(GOOD), "MSA: is not there once");
    assert_eq!(
        read(&format!("{good}MSA|AA|M2\r")),
        "MSA: is not there once"
    );
    assert_eq!(
        read(&good.replace('\r', "\n")),
        "MSH-12 (byte 51): has a line feed, where only a carriage return ends a segment"
    );
    let fits = |code: &str, asked: &str| {
        let message = GOOD.replace("|2.5\r", &format!("|2.5|||{asked}\r"));
        let frame = Frame::around(good.replace("AA", code).as_bytes());
        let answer = Answer::read(frame, &policy(vec![])).unwrap();
        answer.fits(&Header::of(message.as_bytes()).unwrap())
    };
    assert!(fits("AA", "") && !fits("CA", "") && !fits("CE", ""));
    assert!(fits("CA", "AL|NE") && fits("AE", "AL|AL") && !fits("CA", "NE|AL"));
}

#[test]
fn refusals_without_a_place_are_the_gateways_own() {
    let refused = Refused::without_place(
        protocol_inspect::Reason::Rate,
        "message",
        "too many",
        Fault::Content,
    );
    assert_eq!(refused.code.code(), "207");
    assert!(refused.place.is_none());
}

#[test]
fn a_time_far_from_the_present_warns_under_every_profile() {
    let mut strict = rule("r", &["ORU^R01"]);
    strict.profiles = vec![Profile::strict()];
    let whole = GOOD.replace("^R01", "^R01^ORU_R01");
    for rule in [rule("r", &["ORU^R01"]), strict] {
        for (now, warnings) in [(1_767_225_600, 0), (1_767_225_600 + 30 * 86_400, 1)] {
            let frame = Frame::around(whole.as_bytes());
            match judge(frame, &policy(vec![rule.clone()]), Some(now)).verdict {
                Verdict::Accept(accepted) => assert_eq!(accepted.warnings.len(), warnings),
                Verdict::Refuse(refused) => panic!("{}", refused.refusal),
            }
        }
    }
}

#[test]
fn msh_9_names_one_type_and_its_own_structure() {
    let policy = policy(vec![rule("r", &["ORU^R01"])]);
    for (type_, accepted) in [
        ("ORU^R01^ORU_R01", true),
        ("ORU^R01^ADT_A01", false),
        ("ORU^R01~ADT^A40", false),
    ] {
        let said = say(&GOOD.replace("ORU^R01", type_), &policy);
        assert_eq!(said == "r (0 warnings)", accepted, "{type_}: {said}");
    }
}

#[test]
fn what_a_device_says_to_an_answer_is_a_plain_acknowledgement_of_its_own() {
    let bound = policy(vec![rule("r", &["ORU^R01"])]);
    let ack = "MSH|^~\\&|ECG|CARDIO|HIS|MAIN|20260101||ACK|M2|P|2.5\rMSA|CA|H1\r";
    let read = |text: &str, policy: &Policy| {
        let answer = Answer::of_sender(Frame::around(text.as_bytes()), policy);
        answer.map_err(|refusal| refusal.reason.code())
    };
    let foreign = ack.replace("|ECG|", "|PUMP|");
    assert!(read(ack, &bound).is_ok());
    assert_eq!(read(&foreign, &bound).unwrap_err(), "identity");
    assert_eq!(
        read(&format!("{ack}PID|1||other\r"), &bound).unwrap_err(),
        "structure"
    );
    assert_eq!(
        read(&format!("{ack}NTE|1||\\Q\r"), &bound).unwrap_err(),
        "encoding"
    );
    assert!(read(&format!("{ack}NTE|1||done\r"), &bound).is_ok());
    let mut free = bound;
    free.rules[0].bind_sender = false;
    assert!(read(&foreign, &free).is_ok());
}

#[test]
fn nothing_of_a_message_shows_in_debug_output() {
    let policy = policy(vec![rule("r", &["ORU^R01"])]);
    let text = GOOD
        .replace("PID|1", "PID|1||SECRET")
        .replace("|M1|", "|SECRET|");
    let ack = "MSH|^~\\&|SECRET|B|C|D|20260101||ACK|SECRET|P|2.5\rMSA|AA|SECRET\r";
    let shown = format!(
        "{:?} {:?} {:?}",
        judge(Frame::around(text.as_bytes()), &policy, None),
        Answer::read(Frame::around(ack.as_bytes()), &policy).unwrap(),
        ack::repeat(
            &Header::of(text.as_bytes()).unwrap(),
            ack::AckCode::Aa,
            &stamp()
        ),
    );
    assert!(
        shown.contains("bytes") && !shown.contains("SECRET"),
        "{shown}"
    );
    assert!(!shown.contains("83, 69, 67"), "{shown}");
}

/// What a rule allows is no matter of content, so a rule in shadow holds it too.
#[test]
fn one_message_has_one_type_in_shadow_too() {
    let mut shadowed = rule("r", &["ORU^R01"]);
    shadowed.shadow = true;
    let policy = policy(vec![shadowed]);
    let typed = |text: &str| say(&GOOD.replace("|ORU^R01|", &format!("|{text}|")), &policy);
    assert!(typed("ORU^R01^ORU_R01").starts_with("r ("));
    for bad in ["ORU^R01~ADT^A23", "ORU^R01^ADT_A01"] {
        assert!(
            typed(bad).contains("MSH-9: has more than one message type"),
            "{bad}"
        );
    }
}

/// A type of value that should not be divided is still seen by whoever takes its parts.
#[test]
fn a_divided_value_type_hides_no_pointer() {
    let policy = policy(vec![rule("r", &["ORU^R01"])]);
    let pointer = "http://example.org/x^^^";
    let with = |value_type: &str, value: &str| {
        say(
            &format!("{GOOD}OBX|1|{value_type}|1^x||{value}||||||F\r"),
            &policy,
        )
    };
    assert!(with("ST", "x").starts_with("r ("));
    for value_type in ["RP", "RP^", "RP&", "rp", "ST~RP"] {
        assert!(
            with(value_type, pointer).contains("`hosts`"),
            "{value_type}"
        );
    }
}

/// A refused message of a version that declares a character set in MSH-18, and its answer with words for the user.
fn told(version: &str, charset: &str, text: &str) -> Vec<u8> {
    let message = GOOD.replace("|2.5\r", &format!("|{version}||||||{charset}\r"));
    let message = message.replace("ORU^R01", "ADT^A01");
    let header = Header::of(message.as_bytes()).unwrap();
    let Verdict::Refuse(refused) = judge(
        Frame::around(message.as_bytes()),
        &policy(vec![rule("r", &["ORU^R01"])]),
        None,
    )
    .verdict
    else {
        panic!("accepted");
    };
    let plain = text.replace('é', "e").replace('ô', "o");
    let plain = plain.replace('\u{2019}', "'").replace('\u{a0}', " ");
    let told = UserMessage {
        text,
        plain: &plain,
        brief: &plain,
    };
    let (_, spoken) = ack::refuse_with(&header, &refused, &stamp(), Some(told)).unwrap();
    spoken.into_bytes().to_vec()
}

/// A field of a segment of an answer.
fn field(answer: &[u8], segment: &str, number: usize) -> Vec<u8> {
    let mut lines = answer.split(|b| *b == b'\r');
    let line = lines
        .find(|l| l.windows(3).any(|w| w == segment.as_bytes()))
        .unwrap();
    line.split(|b| *b == b'|')
        .nth(number)
        .unwrap_or_default()
        .to_vec()
}

#[test]
fn users_are_told_in_the_character_set_of_their_message() {
    let text = "Message refusé\u{a0}: l\u{2019}hôte";
    for (version, charset, declared, err_8) in [
        (
            "2.5",
            "UNICODE UTF-8",
            "UNICODE UTF-8",
            text.as_bytes().to_vec(),
        ),
        (
            "2.5.1",
            "8859/1",
            "8859/1",
            b"Message refus\xe9\xa0: l'h\xf4te".to_vec(),
        ),
        (
            "2.6",
            "8859/15",
            "8859/15",
            b"Message refus\xe9\xa0: l'h\xf4te".to_vec(),
        ),
        ("2.5", "ASCII", "", b"Message refuse : l'hote".to_vec()),
        ("2.5", "", "", b"Message refuse : l'hote".to_vec()),
        ("2.5", "8859/5", "", b"Message refuse : l'hote".to_vec()),
    ] {
        let answer = told(version, charset, text);
        let name = format!("{version} {charset}: {}", String::from_utf8_lossy(&answer));
        assert_eq!(field(&answer, "ERR", 8), err_8, "{name}");
        assert_eq!(field(&answer, "MSH", 17), declared.as_bytes(), "{name}");
        // Codes and place are those of the standard, and the technician's words stand behind the place.
        assert_eq!(
            field(&answer, "ERR", 3),
            b"200^Unsupported message type^HL70357",
            "{name}"
        );
        assert_eq!(field(&answer, "ERR", 4), b"E", "{name}");
        let place = String::from_utf8(field(&answer, "ERR", 7)).unwrap();
        assert!(
            place.starts_with("MSH-9") && place.contains(": "),
            "{place}"
        );
    }
    // Before 2.5 there is no ERR-8: MSA-3 is short and ASCII.
    let answer = told("2.4", "8859/1", text);
    assert_eq!(field(&answer, "MSA", 3), b"Message refuse : l'hote");
    assert!(answer.is_ascii());
}

#[test]
fn words_for_users_are_no_structure_and_have_an_end() {
    let answer = told("2.5", "8859/1", "a|b^c\\d\u{85}\u{2028}é");
    assert_eq!(field(&answer, "ERR", 8), b"a\\F\\b\\S\\c\\E\\d??\xe9");
    let answer = told("2.5", "UNICODE UTF-8", &"é".repeat(300));
    assert_eq!(field(&answer, "ERR", 8), "é".repeat(250).as_bytes());
}
