//! Declarations, masks and what a rule allows.

use proptest::prelude::*;

use super::super::mllp::Frame;
use super::super::policy::Profile;
use super::super::{Verdict, judge as judge_frame};
use super::*;

fn policy(rules: &[&[&str]]) -> Policy {
    let rule = |(number, charsets): (usize, &&[&str])| Rule {
        name: format!("r{number}"),
        send: vec!["*".to_owned()],
        charsets: charsets.iter().map(|name| (*name).to_owned()).collect(),
        profiles: vec![Profile::strict()],
        ..Rule::default()
    };
    Policy {
        default_charset: "ASCII".to_owned(),
        rules: rules.iter().enumerate().map(rule).collect(),
        ..Policy::default()
    }
}

/// An observation of text in a declared set.
fn message(declared: &str, scheme: &str, text: &[u8]) -> Vec<u8> {
    let mut all = format!(
        "MSH|^~\\&|A|B|C|D|20260101||ORU^R01^ORU_R01|1|P|2.5|||||JPN|{declared}||{scheme}\r\
         PID|||1||N\rOBR|1||F1|X|||20260101||||||||||||||||||F\rOBX|1|ST|X||"
    )
    .into_bytes();
    all.extend_from_slice(text);
    all.extend_from_slice(b"||||||F\r");
    all
}

fn say(content: &[u8], policy: &Policy) -> String {
    match judge_frame(Frame::around(content), policy, None).verdict {
        Verdict::Accept(accepted) => {
            assert_eq!(accepted.permit.into_bytes(), Frame::around(content).bytes());
            let warned = accepted.warnings.iter().map(|w| format!(", {w:?}"));
            format!(
                "{}{}",
                policy.rules[accepted.rule].name,
                warned.collect::<String>()
            )
        }
        Verdict::Refuse(refused) => refused.refusal.to_string(),
    }
}

const KANJI: &[u8] = b"\x1b$B4A;z0|\x1b(B";
const ISO_2022: &str = "ISO 2022-1994";

#[test]
fn a_set_is_carried_where_a_rule_allows_it() {
    for (declared, text) in [
        ("BIG-5", &b"\xb3\x5c\xa5\x7c"[..]),
        ("GB 18030-2000", b"\x81\x7c\x81\x30\x84\x36"),
        ("KS X 1001", b"\xb0\xa1"),
        ("CNS 11643-1992", b"\xc4\xe3\x8e\xa2\xa1\xa1"),
        ("ISO IR87", KANJI),
        ("ISO IR159", b"\x1b$(D0!\x1b(B"),
        ("ISO IR14", b"\x1b(J~0\x1b(B"),
    ] {
        let with = message(declared, ISO_2022, text);
        // Without permission, a shift is a control byte.
        let refused = if text.contains(&0x1b) {
            ": has a control byte"
        } else {
            "MSH-18: this character set is not carried"
        };
        for rules in [&[][..], &["ISO IR0"]] {
            assert!(
                say(&with, &policy(&[rules])).ends_with(refused),
                "{declared}"
            );
        }
        assert_eq!(say(&with, &policy(&[&[], &[declared]])), "r1", "{declared}");
    }
    let none = message("UNICODE UTF-16", "", b"x");
    let refused = "MSH-18: this character set is not carried";
    assert_eq!(say(&none, &policy(&[&["UNICODE UTF-16"]])), refused);
}

#[test]
fn a_rule_that_does_not_allow_it_refuses_what_another_would_carry() {
    let with = message("BIG-5", "", b"\xb3\x5c");
    let mut both = policy(&[&["BIG-5"], &[]]);
    assert_eq!(say(&with, &both), "r0");
    both.rules[0].send = vec!["ADT^A01".to_owned()];
    assert_eq!(
        say(&with, &both),
        "MSH-18: this character set is not carried"
    );
}

#[test]
fn sets_that_are_switched_between_are_allowed_one_by_one() {
    let all: &[&str] = &["ISO IR87", "ISO IR159"];
    for (declared, rule, expected) in [
        ("~ISO IR87", all, "r0"),
        ("ISO IR6~ISO IR87~ISO IR159", all, "r0"),
        ("8859/1~ISO IR87", all, "r0"),
        (
            "~ISO IR87~ISO IR159",
            &["ISO IR87"][..],
            "x): has a control byte",
        ),
        ("UNICODE UTF-8~ISO IR87", all, "x): has a control byte"),
        ("~ISO IR87~8859/1", all, "x): has a control byte"),
        (
            "~ISO IR87~BIG-5",
            &["ISO IR87", "BIG-5"],
            "x): has a control byte",
        ),
        ("~ISO IR159", all, "x): has a control byte"),
        ("ASCII", all, "x): has a control byte"),
    ] {
        let said = say(&message(declared, ISO_2022, KANJI), &policy(&[rule]));
        let place = said
            .rsplit_once("): ")
            .map_or(said.as_str(), |(_, detail)| detail);
        let wanted = expected
            .rsplit_once("): ")
            .map_or(expected, |(_, detail)| detail);
        assert_eq!(place.trim_start_matches("MSH-18: "), wanted, "{declared}");
    }
}

#[test]
fn what_adds_nothing_to_the_first_set_may_follow_it() {
    for (declared, good) in [
        ("UNICODE UTF-8~ASCII", true),
        ("8859/1~ISO IR6~8859/1", true),
        ("8859/1~", true),
        ("ASCII~8859/1", false),
        ("8859/1~8859/2", false),
    ] {
        let said = say(&message(declared, "", b"x"), &policy(&[&[]]));
        assert_eq!(said == "r0", good, "{declared}: {said}");
        assert!(good || said.ends_with(SEVERAL), "{said}");
    }
}

#[test]
fn the_scheme_of_the_shifts_is_announced() {
    let japanese = policy(&[&["ISO IR87"]]);
    let say = |scheme, text: &[u8]| say(&message("~ISO IR87", scheme, text), &japanese);
    assert_eq!(say(ISO_2022, KANJI), "r0");
    assert_eq!(say("", b"x"), "r0");
    assert_eq!(
        say("", KANJI),
        "MSH-20: is required where the message switches character sets"
    );
    assert_eq!(
        say("2.3", KANJI),
        "MSH-20: is not the scheme by which the message switches character sets"
    );
}

#[test]
fn the_header_of_a_masked_message_is_ascii() {
    let chinese = policy(&[&["BIG-5"]]);
    let plain = message("BIG-5", "", b"\xb3\x5c");
    let at = plain.windows(3).position(|w| w == b"|A|").unwrap();
    let mut other = plain.clone();
    other.splice(at + 1..at + 2, *b"\xb3\x5c");
    assert_eq!(say(&plain, &chinese), "r0");
    assert_eq!(
        say(&other, &chinese),
        "MSH-3 (byte 9): is not ASCII, as the header must be in this character set"
    );
}

#[test]
fn a_broken_character_is_told_where_it_stands() {
    let chinese = policy(&[&["BIG-5"]]);
    let text = b"\xb3\x5c\xa5\x7c||||||F\rOBX|2|ST|X||\xa5 x";
    let content = message("BIG-5", "", text);
    let at = content.windows(3).position(|w| w == b"\xa5 x").unwrap();
    assert_eq!(
        say(&content, &chinese),
        format!("OBX[2]-5 (byte {at}): is not a character of the declared set")
    );
}

/// A delimiter that is part of a character is no delimiter, and one that only looks so is one.
#[test]
fn hidden_delimiters_are_no_structure() {
    let read = |content: &[u8], rule: &[&str]| {
        let allowing = policy(&[rule]);
        let masked = mask(content, &allowing).unwrap().into_owned();
        let message = Message::read(&masked, &allowing.limits).unwrap();
        let obx = message.segments().last().unwrap();
        (
            obx.field(5).components().count(),
            obx.field(11).bytes().to_vec(),
        )
    };
    // `許功^`: both trail bytes are `\`, then a component.
    let hidden = message("BIG-5", "", b"\xb3\x5c\xa5\x5c^\xa5\x7c");
    assert_eq!(read(&hidden, &["BIG-5"]), (2, b"F".to_vec()));
    assert_eq!(
        read(&message("8859/1", "", b"\xb3^\xa5"), &[]),
        (2, b"F".to_vec())
    );
    let shifted = message("~ISO IR87", ISO_2022, b"\x1b$B0|!^\x1b(B^");
    assert_eq!(read(&shifted, &["ISO IR87"]), (2, b"F".to_vec()));
}

#[test]
fn an_unmasked_message_is_not_taken_for_a_masked_one() {
    let chinese = policy(&[&["BIG-5"]]);
    let content = message("BIG-5", "", b"\xb3\x5c");
    let said = |content: &[u8]| {
        let message = Message::read(content, &chinese.limits).unwrap();
        let findings = super::super::check::examine(&message, &chinese, None);
        let mut all = findings.firm.iter().chain(&findings.others);
        all.any(|f| f.refusal().to_string() == "MSH-18: this character set is not carried")
    };
    assert!(said(&content));
    assert!(!said(&mask(&content, &chinese).unwrap()));
}

#[test]
fn names_are_those_of_the_table() {
    assert_eq!(Named::of(b"BIG-5"), Named::Wide(Form::Big5));
    assert_eq!(Named::of(b"8859/10"), Named::Unknown);
    assert_eq!(Named::of(b"ascii"), Named::Unknown);
    assert_eq!(Named::of(b"UNICODE UTF-32"), Named::Unsupported);
}

/// Sets, and characters that are right in them.
fn sets() -> impl Strategy<Value = (&'static str, Vec<Vec<u8>>)> {
    let characters: [(&'static str, &[&[u8]]); 4] = [
        (
            "BIG-5",
            &[b"\xb3\x5c", b"\xa5\x7c", b"\xa4\x5e", b"\xa4\xa4"],
        ),
        (
            "GB 18030-2000",
            &[b"\x81\x7c", b"\x81\x30\x84\x36", b"\xd6\xd0", b"\x81\x5e"],
        ),
        ("KS X 1001", &[b"\xb0\xa1", b"\xc7\xd1"]),
        ("~ISO IR87", &[KANJI, b"\x1b$B!^!_\x1b(B"]),
    ];
    prop::sample::select(characters.to_vec()).prop_flat_map(|(name, characters)| {
        let one = prop_oneof![
            2 => prop::sample::select(characters.to_vec()).prop_map(<[u8]>::to_vec),
            1 => prop::sample::select(b"aZ 0^&".to_vec()).prop_map(|b| vec![b]),
        ];
        (Just(name), prop::collection::vec(one, 0..20))
    })
}

/// What a decoder would put together must not be divided for us.
#[test]
fn shifts_do_not_divide_text() {
    let allowing = policy(&[&["ISO IR14", "ISO IR87"]]);
    for (declared, good, bad) in [
        (
            "~ISO IR87",
            &b"a\x1b$B!^\x1b(Bb"[..],
            &b"a\x1b$B\x1b(Bb"[..],
        ),
        ("~ISO IR87", b"ab", b"a\x1b(Bb"),
        ("~ISO IR14", b"\x1b(Jab\x1b(B", b"a\x1b(Jb\x1b(B"),
        ("~ISO IR14", b"a \x1b(Jb\x1b(B", b"a\x1b(J\x1b(Bb"),
    ] {
        let masked = |text| mask(&message(declared, ISO_2022, text), &allowing).is_ok();
        assert!(masked(good), "{good:?}");
        assert!(!masked(bad), "{bad:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_mask_keeps_the_length_and_all_else((name, pieces) in sets()) {
        let allowing = policy(&[&["BIG-5", "GB 18030-2000", "KS X 1001", "ISO IR87"]]);
        let content = message(name, ISO_2022, &pieces.concat());
        let masked = mask(&content, &allowing).unwrap();
        prop_assert_eq!(masked.len(), content.len());
        let mut rest = masked.as_ref();
        let (head, _) = content.split_at(content.len() - pieces.concat().len() - 8);
        prop_assert!(rest.starts_with(head));
        rest = &rest[head.len()..];
        for piece in &pieces {
            let (here, after) = rest.split_at(piece.len());
            if piece.len() == 1 {
                prop_assert_eq!(here, piece.as_slice());
            } else {
                prop_assert!(here.iter().all(|b| matches!(*b, FIRST | FURTHER)));
            }
            rest = after;
        }
        prop_assert_eq!(rest, b"||||||F\r");
    }

    #[test]
    fn any_bytes_are_masked_or_refused(
        name in prop::sample::select(vec!["BIG-5", "GB 18030-2000", "KS X 1001", "CNS 11643-1992", "~ISO IR87~ISO IR159", "8859/1~ISO IR14"]),
        text in prop::collection::vec(prop_oneof![
            Just(0x1b), Just(b'$'), Just(b'('), Just(b'B'), Just(b'J'), Just(b'|'), Just(b'\\'), Just(b'\r'), Just(0x81), any::<u8>()], 0..60),
    ) {
        let allowing = policy(&[&["BIG-5", "GB 18030-2000", "KS X 1001", "CNS 11643-1992", "ISO IR14", "ISO IR87", "ISO IR159"]]);
        let content = message(name, ISO_2022, &text);
        if let Ok(masked) = mask(&content, &allowing) {
            prop_assert_eq!(masked.len(), content.len());
            let kept = |(new, old): (&u8, &u8)| new == old || matches!(*new, FIRST | FURTHER);
            prop_assert!(masked.iter().zip(&content).all(kept));
        }
        let _ = say(&content, &allowing);
    }
}
