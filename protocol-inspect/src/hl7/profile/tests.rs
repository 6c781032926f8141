//! Each constraint with a message that breaks it, and the nearest that does not.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::{Base, Frame, Level, Policy, Profile, Rule, Severity, Verdict, judge};
use super::*;

const GOOD: &str = "MSH|^~\\&|ECG|CARDIO|HIS|HOSP|20260101120000||ORU^R01^ORU_R01|1|P|2.5.1||||||8859/1\r\
    PID|1||12345678^^^HOSP^PI~V77^^^HOSP&1.2&ISO^VN||DOE^JO||19800101|F\r\
    PV1|1|O|||||||||||||||||V123\r\
    OBR|1||9|ECG^ECG^L|||20260101\r\
    OBX|1|NM|8867-4^HR^LN||72|/min^^UCUM|||||F|||20260101\r\
    OBX|2|NM|8480-6^BP^LN||16.0~15.9|kPa|||||F|||20260101\r\
    ZEC|1|x\r";

/// What is asked, a change that breaks it, where it is then told (the place, and what stands there), how, and a change that does not break it.
struct Twins {
    ask: Constraints,
    bad: (&'static str, &'static str),
    told: (&'static str, &'static str),
    code: ErrorCode,
    detail: &'static str,
    good: (&'static str, &'static str),
}

type Case = (
    &'static str,
    Constraint,
    (&'static str, &'static str),
    (&'static str, &'static str),
    ErrorCode,
    &'static str,
    (&'static str, &'static str),
);

#[test]
#[rustfmt::skip]
fn fields_are_there_or_not() {
    use Constraint::{Empty, Required};
    use ErrorCode::{DataType, RequiredField};
    let missing = "is required by the profile and missing";
    let empty = "is valued, and the profile says that it is empty";
    let keep = ("|F\r", "|F\r");
    each(&[
        ("PID-8", Required, ("|F\r", "|\r"), ("PID-8", "\rPV1"), RequiredField, missing, keep),
        ("PID-8", Required, ("|F\r", "\r"), ("PID-8", "\rPV1"), RequiredField, missing, keep),
        ("PID-8", Required, ("|F\r", "|\"\"\r"), ("PID-8", "\"\"\rPV1"), RequiredField, missing, keep),
        ("PID-8", Required, ("|F\r", "|^\r"), ("PID-8", "^\rPV1"), RequiredField, missing, keep),
        ("PID-3", Required, ("|12345678^^^HOSP^PI~V77^^^HOSP&1.2&ISO^VN|", "|~|"), ("PID-3", "~||DOE"), RequiredField, missing, ("|12345678^^^HOSP^PI~", "|~")),
        ("PID-3.4", Required, ("V77^^^HOSP&1.2&ISO^", "V77^^^^"), ("PID-3(2).4", "^VN"), RequiredField, missing, ("V77^^^HOSP&1.2&ISO^VN", "")),
        ("PID-3.4", Required, ("V77^^^HOSP&1.2&ISO^VN", "V77"), ("PID-3(2).4", "||DOE"), RequiredField, missing, keep),
        ("PID-3.4", Required, ("|12345678^^^HOSP^PI~V77^^^HOSP&1.2&ISO^VN|", "||"), ("PID-3.4", "||DOE"), RequiredField, missing, keep),
        ("OBX-14", Required, ("|kPa|||||F|||20260101", "|kPa|||||F"), ("OBX[2]-14", "\rZEC"), RequiredField, missing, keep),
        ("PID-19", Empty, ("|F\r", "|F|||||||||||1\r"), ("PID-19", "1\rPV1"), DataType, empty, ("|F\r", "|F|||||||||||^~&\r")),
        ("PID-9", Empty, ("|F\r", "|F|\"\"\r"), ("PID-9", "\"\"\rPV1"), DataType, empty, ("|F\r", "|F|\r")),
        ("PID-3.6", Empty, ("^PI~", "^PI^X~"), ("PID-3(1).6", "X~"), DataType, empty, keep),
    ]);
}

#[test]
#[rustfmt::skip]
fn values_are_of_their_set_or_form() {
    use Constraint::{Matches, OneOf};
    use ErrorCode::{DataType, TableValue};
    let one_of = |values: &[&str]| OneOf(values.iter().map(|v| (*v).to_owned()).collect());
    let pattern = |text| Matches(Pattern::new(text));
    let unlisted = "is not a value that the profile allows";
    let form = "is not of the form that the profile asks for";
    let keep = ("|F\r", "|F\r");
    each(&[
        ("PID-8", one_of(&["F", "M"]), ("|F\r", "|X\r"), ("PID-8", "X\rPV1"), TableValue, unlisted, ("|F\r", "|M\r")),
        ("PID-8", one_of(&["F", "M"]), ("|F\r", "|F^Female\r"), ("PID-8", "F^Female"), TableValue, unlisted, ("|F\r", "|\r")),
        ("PID-8.1", one_of(&["F", "M"]), ("|F\r", "|\"\"^Female\r"), ("PID-8.1", "\"\"^Fem"), TableValue, unlisted, ("|F\r", "|F^Female\r")),
        ("PID-8", one_of(&["F", "\"\""]), ("|F\r", "|f\r"), ("PID-8", "f\rPV1"), TableValue, unlisted, ("|F\r", "|\"\"\r")),
        ("PID-3.5", one_of(&["PI", "VN"]), ("^VN|", "^SS|"), ("PID-3(2).5", "SS|"), TableValue, unlisted, ("^VN|", "^PI|")),
        ("PID-3.4.2", one_of(&["1.2"]), ("&1.2&", "&1.3&"), ("PID-3(2).4.2", "1.3&"), TableValue, unlisted, keep),
        ("PID-5.1", one_of(&["DOE", "A\\T\\B"]), ("DOE^JO", "A&B"), ("PID-5.1", "A&B"), TableValue, unlisted, ("DOE^", "A\\T\\B^")),
        ("PID-3.1", pattern("[0-9]{8}|V[0-9]+"), ("12345678", "1234567"), ("PID-3(1).1", "1234567^"), DataType, form, ("V77", "V7")),
        ("PID-3.1", pattern("[0-9]{8}|V[0-9]+"), ("12345678", "123456789"), ("PID-3(1).1", "123456789"), DataType, form, ("12345678", "")),
        ("PID-3.1", pattern("[0-9]{8}|V[0-9]+"), ("V77", "xV77"), ("PID-3(2).1", "xV77"), DataType, form, keep),
        ("MSH-3", one_of(&["ECG"]), ("|ECG|CARDIO", "|EKG|CARDIO"), ("MSH-3", "EKG|"), TableValue, unlisted, keep),
        ("ZEC-2", one_of(&["x"]), ("|x\r", "|y\r"), ("ZEC-2", "y\r"), TableValue, unlisted, keep),
    ]);
}

#[test]
#[rustfmt::skip]
fn fields_are_as_many_and_as_long() {
    use Constraint::{Length, Repetitions};
    use ErrorCode::DataType;
    let many = "has more repetitions than the profile allows";
    let long = "is longer than the profile allows";
    let keep = ("|F\r", "|F\r");
    each(&[
        ("PID-3", Repetitions(2), ("^VN|", "^VN~3|"), ("PID-3(3)", "3||DOE"), DataType, many, keep),
        ("PID-5", Repetitions(1), ("DOE^JO", "DOE^JO~"), ("PID-5(2)", "||19800101"), DataType, many, ("DOE^JO", "")),
        ("PID-5.1", Length(3), ("DOE", "DOES"), ("PID-5.1", "DOES"), DataType, long, ("DOE", "DO")),
        ("OBX-5", Length(4), ("~15.9", "~15.90"), ("OBX[2]-5(2)", "15.90"), DataType, long, keep),
    ]);
}

#[test]
fn segments_are_what_the_profile_allows() {
    let code = ErrorCode::SegmentSequence;
    let mut allow = MessageConstraints::default();
    for name in ["PID", "PV1", "OBR", "OBX", "ZEC"] {
        allow.allow_segment(name);
    }
    let mut forbid = MessageConstraints::default();
    forbid.forbid_segment("NTE");
    let mut require = MessageConstraints::default();
    require.require_segment("PV1");
    let nte = ("ZEC|1|x\r", "ZEC|1|x\rNTE|1\r");
    let none = ("ZEC|1|x\r", "");
    let told = ("NTE", "NTE");
    let detail = "is no segment that the profile allows";
    check(&Twins {
        ask: of_message(allow),
        bad: nte,
        told,
        code,
        detail,
        good: none,
    });
    let detail = "is a segment that the profile forbids";
    check(&Twins {
        ask: of_message(forbid),
        bad: nte,
        told,
        code,
        detail,
        good: none,
    });
    let bad = ("PV1|1|O|||||||||||||||||V123\r", "");
    let detail = "is required by the profile and missing";
    let good = ("PV1|1|O|||||||||||||||||V123\r", "PV1|1\r");
    check(&Twins {
        ask: of_message(require),
        bad,
        told: ("PV1", ""),
        code,
        detail,
        good,
    });
}

#[test]
#[rustfmt::skip]
fn observations_are_those_that_are_listed() {
    let decimal = |text: &str| Some(Decimal::try_from(text.to_owned()).unwrap());
    let observation = |code: &str, units: &[&str], min, max| Observation {
        code: code.to_owned(),
        system: "LN".to_owned(),
        types: vec!["NM".to_owned()],
        units: units.iter().map(|unit| (*unit).to_owned()).collect(),
        min: decimal(min),
        max: decimal(max),
    };
    let ask = Constraints {
        observations: vec![
            observation("8480-6", &["kPa"], "5.3", "40"),
            observation("8480-6", &["mm[Hg]"], "40", "300"),
            observation("8867-4", &["/min", "{beats}/min"], "20", "300"),
        ]
        .into(),
        ..Constraints::default()
    };
    let foreign = "is not an observation that the profile allows";
    let other_type = "is not the type that the profile gives this observation";
    let unit = "is not a unit that the profile gives this observation";
    let less = "is less than the profile allows";
    let more = "is more than the profile allows";
    let no_number = "is not a number, and the profile gives this observation bounds";
    use ErrorCode::{DataType, TableValue};
    for (bad, told, code, detail, good) in [
        (("8867-4^HR^LN", "8867-5^HR^LN"), ("OBX-3", "8867-5"), TableValue, foreign, ("^HR^LN", "^Heart rate^LN")),
        (("8867-4^HR^LN", "8867-4^HR^L"), ("OBX-3", "8867-4^HR^L|"), TableValue, foreign, ("^HR^LN", "^^LN")),
        (("8867-4^HR^LN", ""), ("OBX-3", "||72"), TableValue, foreign, ("^HR^LN", "^HR^LN^1^2^3")),
        (("|NM|8867", "|ST|8867"), ("OBX-2", "ST|8867"), TableValue, other_type, ("|NM|8867-4^HR^LN||72|/min", "||8867-4^HR^LN|||")),
        (("/min^", "/h^"), ("OBX-6.1", "/h^"), TableValue, unit, ("/min^", "{beats}/min^")),
        (("|/min^^UCUM", "|"), ("OBX-6.1", "|||||F|||20260101\rOBX|2"), TableValue, unit, ("72|/min^^UCUM", "|")),
        (("72|", "19|"), ("OBX-5", "19|"), DataType, less, ("72|", "20|")),
        (("72|", "300.0000000000000000001|"), ("OBX-5", "300.0"), DataType, more, ("72|", "300.000|")),
        (("72|", "\"\"|"), ("OBX-5", "\"\"|"), DataType, no_number, ("72|", "+72|")),
        (("~15.9", "~5.2"), ("OBX[2]-5(2)", "5.2|"), DataType, less, ("~15.9", "~5.3")),
        (("~15.9|kPa", "~15.9|mm[Hg]"), ("OBX[2]-5(1)", "16.0~"), DataType, less, ("16.0~15.9|kPa", "160~159|mm[Hg]")),
        (("16.0~15.9", "160~159"), ("OBX[2]-5(1)", "160~"), DataType, more, ("~15.9", "~")),
    ] {
        check(&Twins {
            ask: ask.clone(),
            bad,
            told,
            code,
            detail,
            good,
        });
    }
}

#[test]
fn versions_and_character_sets_are_pinned() {
    let version = Constraints {
        versions: vec!["2.5.1".to_owned(), "2.5".to_owned()],
        ..Constraints::default()
    };
    let detail = "is not a version that the profile allows";
    let code = ErrorCode::VersionId;
    let (bad, good) = (("|2.5.1|", "|2.4|"), ("|2.5.1|", "|2.5|"));
    check(&Twins {
        ask: version,
        bad,
        told: ("MSH-12", ""),
        code,
        detail,
        good,
    });
    let charset = |name: &str| Constraints {
        charsets: vec!["8859/1".to_owned(), name.to_owned()],
        ..Constraints::default()
    };
    let code = ErrorCode::TableValue;
    let detail = "is not a character set that the profile allows";
    let (bad, good) = (("8859/1", "8859/15"), ("8859/1", ""));
    check(&Twins {
        ask: charset("ASCII"),
        bad,
        told: ("MSH-18", ""),
        code,
        detail,
        good,
    });
    let detail = "is empty, and the profile does not allow the character set that holds then";
    let (bad, good) = (("8859/1", ""), ("8859/1", "8859/1"));
    check(&Twins {
        ask: charset("8859/2"),
        bad,
        told: ("MSH-18", ""),
        code,
        detail,
        good,
    });
}

#[test]
fn only_messages_of_the_type_are_judged() {
    for (types, judged) in [
        (&["ORU^R01"][..], true),
        (&["ORU^*"], true),
        (&["ADT^A01", "ORU^R01"], true),
        (&[], true),
        (&["ORU^R30"], false),
        (&["ADT^*"], false),
    ] {
        let types = types.iter().map(|t| (*t).to_owned()).collect();
        let mut message = MessageConstraints::of_types(types);
        message.require_segment("NTE");
        assert_eq!(refused(&of_message(message), GOOD).is_some(), judged);
    }
}

#[test]
fn the_profile_says_what_its_own_findings_lead_to() {
    let mut message = MessageConstraints::default();
    message.require_segment("NTE");
    let asking = of_message(message);
    for (severity, refuses, warns) in [
        (None, true, false),
        (Some(Severity::Refuse), true, false),
        (Some(Severity::Warn), false, true),
        (Some(Severity::Ignore), false, false),
    ] {
        let mut profile = Profile {
            constraints: asking.clone(),
            ..only_site()
        };
        if let Some(severity) = severity {
            profile.levels.insert(Level::Site, severity);
        }
        // Another profile of the rule, which refuses all, does not make it heavier.
        let other = Profile {
            base: Base::Strict,
            ..only_site()
        };
        for profiles in [
            vec![profile.clone()],
            vec![profile.clone(), other.clone()],
            vec![other, profile],
        ] {
            let verdict = verdict(profiles, GOOD);
            let warnings = match &verdict {
                Verdict::Accept(accepted) => &accepted.warnings,
                Verdict::Refuse(refused) => &refused.warnings,
            };
            let told = warnings.iter().any(|warning| warning.location == "NTE");
            assert_eq!(
                matches!(verdict, Verdict::Refuse(_)),
                refuses,
                "{severity:?}"
            );
            assert_eq!(told, warns, "{severity:?}");
        }
    }
}

#[test]
fn all_profiles_of_a_rule_hold() {
    let asking = |name: &str| {
        let mut message = MessageConstraints::default();
        message.require_segment(name);
        Profile {
            constraints: of_message(message),
            ..only_site()
        }
    };
    let verdict = |names: [&str; 2]| verdict(names.map(asking).to_vec(), GOOD);
    assert!(matches!(verdict(["PV1", "OBX"]), Verdict::Accept(_)));
    assert!(matches!(verdict(["PV1", "NTE"]), Verdict::Refuse(_)));
    assert!(matches!(verdict(["NTE", "PV1"]), Verdict::Refuse(_)));
}

proptest! {
    #[test]
    fn any_message_is_judged_without_panic(text in "[-A-Z0-9|^~&\"\\\\\r.]{0,200}") {
        let mut message = MessageConstraints::default();
        message.allow_segment("OBX");
        for path in ["PID-3", "PID-3.4.2", "OBX-5", "OBX-40", "MSH-3.2"] {
            let (segment, part) = place_of(path);
            for constraint in [
                Constraint::Required,
                Constraint::Empty,
                Constraint::OneOf(BTreeSet::new()),
                Constraint::Matches(Pattern::new("x*")),
                Constraint::Repetitions(1),
                Constraint::Length(1),
            ] {
                message.constrain(segment, part, constraint);
            }
        }
        let observation = Observation { min: Decimal::try_from("1".to_owned()).ok(), ..Observation::default() };
        let ask = Constraints { observations: vec![observation].into(), ..of_message(message) };
        let text = format!("{GOOD}OBX|{text}\rPID|{text}\r");
        let verdict = verdict(vec![Profile { constraints: ask, ..only_site() }], &text);
        prop_assert!(matches!(verdict, Verdict::Refuse(_)));
    }
}

#[track_caller]
fn each(cases: &[Case]) {
    for (path, constraint, bad, told, code, detail, good) in cases {
        let mut message = MessageConstraints::of_types(vec!["ORU^R01".to_owned()]);
        let (segment, part) = place_of(path);
        message.constrain(segment, part, constraint.clone());
        check(&Twins {
            ask: of_message(message),
            bad: *bad,
            told: *told,
            code: *code,
            detail,
            good: *good,
        });
    }
}

#[track_caller]
fn check(twins: &Twins) {
    assert_eq!(refused(&twins.ask, GOOD), None);
    let change = |(old, new): (&str, &str)| {
        assert!(GOOD.contains(old), "{old}");
        GOOD.replacen(old, new, 1)
    };
    assert_eq!(
        refused(&twins.ask, &change(twins.good)),
        None,
        "{:?}",
        twins.good
    );
    let bad = change(twins.bad);
    let (place, what) = twins.told;
    let location = match what {
        "" => place.to_owned(),
        what => format!("{place} (byte {})", bad.find(what).unwrap()),
    };
    let told = (location, twins.code, twins.detail.to_owned());
    assert_eq!(refused(&twins.ask, &bad), Some(told), "{:?}", twins.bad);
}

/// Where, in which code and how it is refused; nothing but the constraints is judged.
fn refused(ask: &Constraints, message: &str) -> Option<(String, ErrorCode, String)> {
    let profile = Profile {
        constraints: ask.clone(),
        ..only_site()
    };
    match verdict(vec![profile], message) {
        Verdict::Accept(_) => None,
        Verdict::Refuse(refused) => {
            let crate::Refusal {
                location, detail, ..
            } = refused.refusal;
            Some((location, refused.code, detail))
        }
    }
}

fn verdict(profiles: Vec<Profile>, message: &str) -> Verdict {
    let policy = Policy {
        rules: vec![Rule {
            send: vec!["*".to_owned()],
            profiles,
            ..Rule::default()
        }],
        ..Policy::default()
    };
    judge(Frame::around(message.as_bytes()), &policy, None).verdict
}

fn only_site() -> Profile {
    let levels = [
        Level::Encoding,
        Level::Structure,
        Level::Fields,
        Level::DataTypes,
        Level::Lengths,
        Level::Tables,
        Level::Embedded,
    ];
    Profile {
        levels: levels.map(|level| (level, Severity::Ignore)).into(),
        ..Profile::standard()
    }
}

fn of_message(message: MessageConstraints) -> Constraints {
    Constraints {
        messages: vec![message],
        ..Constraints::default()
    }
}

fn place_of(path: &str) -> (&str, Part) {
    let (segment, numbers) = path.split_once('-').unwrap();
    let mut numbers = numbers.split('.').map(|number| number.parse().unwrap());
    let mut next = || numbers.next().unwrap_or(0);
    let part = Part {
        field: next(),
        component: next(),
        subcomponent: next(),
    };
    (segment, part)
}
