//! Policies of a small clinic.

use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use lazaret_config::{Day, Hours, Profile, ProfileChoice};

use super::*;

#[test]
fn the_rules_of_the_device_become_its_policy() {
    let mut config = clinic();
    let rule = config.rules.get_mut(&name("results")).unwrap();
    rule.limit = Limit {
        messages: Some((2, Duration::from_secs(1))),
        burst: Some(10),
        connections: Some(2),
        message_size: Some(1 << 20),
        ..Limit::default()
    };
    rule.profile = Some(ProfileChoice::Base(Profile::Strict));
    rule.priority = Priority::Critical;
    let policy = compile_at(&config, "ecg", "his", NOON).unwrap();
    assert_eq!(
        policy.rate,
        Some(Rate {
            messages: 2,
            per_ms: 1_000,
            burst: 10
        })
    );
    assert!(policy.delay_only && policy.without_journal);
    assert_eq!(policy.timing.answer_ms, 30_000);
    let ProtocolPolicy::Hl7(hl7) = policy.protocol else {
        panic!("not HL7")
    };
    assert_eq!(hl7.limits.hl7_message, 1 << 20);
    assert_eq!(hl7.limits.hl7_segment, 1 << 20);
    assert_eq!(hl7.senders, [("ECG".to_owned(), "CARDIO".to_owned())]);
    assert_eq!(hl7.default_charset, "ASCII");
    assert_eq!(hl7.rules.len(), 1);
    let rule = &hl7.rules[0];
    assert_eq!(
        (rule.name.as_str(), &rule.send[..]),
        ("results", &["ORU^R01".to_owned()][..])
    );
    assert_eq!(
        (&rule.profiles[0], rule.shadow),
        (&hl7::Profile::strict(), false)
    );
}

#[test]
fn what_may_be_embedded_is_that_of_the_rule() {
    let mut config = clinic();
    let rule = config.rules.get_mut(&name("results")).unwrap();
    let hl7 = rule.hl7.as_mut().unwrap();
    hl7.local_segments = Some([("ZPD".to_owned(), 100)].into());
    hl7.embedded.kinds = ["pdf".to_owned(), "cda".to_owned()].into();
    hl7.embedded.hosts = ["pacs.example.org".to_owned()].into();
    let policy = compile_at(&config, "ecg", "his", NOON).unwrap();
    let ProtocolPolicy::Hl7(policy) = policy.protocol else {
        panic!("not HL7")
    };
    let rule = &policy.rules[0];
    let segment = hl7::LocalSegment {
        name: "ZPD".to_owned(),
        max_bytes: 100,
    };
    assert_eq!(rule.local_segments, Some(vec![segment]));
    assert_eq!(rule.embedded.kinds, [hl7::Kind::Cda, hl7::Kind::Pdf]);
    assert_eq!(rule.embedded.hosts, ["pacs.example.org"]);
    assert_eq!(policy.limits.hl7_embedded, 4 << 20);
    let names: Vec<&str> = hl7::Kind::ALL.iter().map(|kind| kind.name()).collect();
    assert_eq!(names, lazaret_config::DOCUMENT_KINDS);
}

#[test]
fn the_dicom_service_names_its_ae_and_the_device_its_own() {
    let policy = compile_at(&clinic(), "us", "pacs", NOON).unwrap();
    assert!(!policy.delay_only && !policy.without_journal && policy.rate.is_none());
    let ProtocolPolicy::Dicom(dicom) = policy.protocol else {
        panic!("not DICOM")
    };
    assert_eq!(dicom.calling_ae.as_deref(), Some("US07"));
    assert_eq!(dicom.called_ae.as_deref(), Some("PACS1"));
    assert_eq!(dicom.rules[0].allow, ["C-ECHO", "C-STORE"]);
    // The service is stricter than the rule, and in shadow.
    assert_eq!(dicom.rules[0].profiles, [dicom::Profile::strict()]);
    assert!(dicom.rules[0].shadow);
}

#[test]
fn nothing_is_allowed_without_a_rule() {
    let config = clinic();
    assert!(compile_at(&config, "ecg", "his", NOON).is_some());
    for (device, service) in [
        ("us", "his"),
        ("ecg", "pacs"),
        ("ecg", "console"),
        ("ghost", "his"),
        ("ecg", "ghost"),
    ] {
        assert!(compile_at(&config, device, service, NOON).is_none());
        let limit = connection_limit(&config, &name(device), &name(service));
        let plain = (device, service) == ("ecg", "console");
        assert_eq!(limit > 0, plain, "{device} {service}");
    }
}

#[test]
fn hours_and_last_day_hold_in_their_zone() {
    // 2026-11-20 is a Friday; Paris is one hour ahead of UTC.
    let day = |at: &str, expected| (at.to_owned(), expected);
    let weekdays = [Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri];
    let windows = [
        (
            (7, 20),
            vec![
                day("2026-11-20T05:59:59Z", false),
                day("2026-11-20T06:00:00Z", true),
                day("2026-11-20T18:59:59Z", true),
                day("2026-11-20T19:00:00Z", false),
                day("2026-11-21T12:00:00Z", false),
            ],
        ),
        (
            (20, 7),
            vec![
                day("2026-11-20T18:59:59Z", false),
                day("2026-11-20T19:00:00Z", true),
                day("2026-11-21T05:59:59Z", true),
                day("2026-11-21T06:00:00Z", false),
                day("2026-11-21T19:00:00Z", false),
                day("2026-11-16T04:00:00Z", false),
            ],
        ),
    ];
    for ((from, to), moments) in windows {
        let mut config = clinic();
        let rule = config.rules.get_mut(&name("results")).unwrap();
        rule.hours = Some(Hours {
            text: String::new(),
            days: weekdays.into(),
            from: jiff::civil::time(from, 0, 0, 0),
            to: jiff::civil::time(to, 0, 0, 0),
            zone: jiff::tz::TimeZone::fixed(jiff::tz::offset(1)),
        });
        for (at, expected) in moments {
            let policy = compile_at(&config, "ecg", "his", &at);
            assert_eq!(policy.is_some(), expected, "{from}-{to} at {at}");
        }
    }
    let mut config = clinic();
    let rule = config.rules.get_mut(&name("results")).unwrap();
    rule.until = Some(jiff::civil::date(2026, 11, 20));
    assert!(compile_at(&config, "ecg", "his", "2026-11-20T23:59:59Z").is_some());
    assert!(compile_at(&config, "ecg", "his", "2026-11-21T00:00:00Z").is_none());
}

#[test]
fn the_strictest_of_several_rules_holds_for_the_connection() {
    let mut config = clinic();
    let first = config.rules.get_mut(&name("one")).unwrap();
    first.priority = Priority::Critical;
    first.limit.messages = Some((2, Duration::from_secs(1)));
    let second = config.rules.get_mut(&name("other")).unwrap();
    second.limit.messages = Some((100, Duration::from_secs(60)));
    second.limit.message_size = Some(5_000);
    second.limit.connections = Some(3);
    let policy = compile_at(&config, "two", "his", NOON).unwrap();
    assert_eq!(policy.rate.unwrap().messages, 100);
    assert!(!policy.delay_only && !policy.without_journal);
    let ProtocolPolicy::Hl7(hl7) = policy.protocol else {
        panic!("not HL7")
    };
    assert_eq!((hl7.rules.len(), hl7.limits.hl7_message), (2, 5_000));
    assert_eq!(connection_limit(&config, &name("two"), &name("his")), 3);
    assert_eq!(connection_limit(&config, &name("us"), &name("pacs")), 32);
}

#[test]
fn the_journal_is_needed_unless_the_site_says_no() {
    let mut config = clinic();
    assert!(
        !compile_at(&config, "ecg", "his", NOON)
            .unwrap()
            .without_journal
    );
    config.audit.required = false;
    assert!(
        compile_at(&config, "ecg", "his", NOON)
            .unwrap()
            .without_journal
    );
}

//= C10
#[test]
fn patients_and_their_key_go_where_a_rule_binds_them() {
    let mut config = clinic();
    let hl7 = |config: &Config| match compile_at(config, "ecg", "his", NOON).unwrap().protocol {
        ProtocolPolicy::Hl7(hl7) => hl7,
        ProtocolPolicy::Dicom(_) => panic!("not HL7"),
    };
    let free = hl7(&config);
    assert_eq!(free.patients, Patients::default());
    assert_eq!(free.device_ids, ["0012345678ABCDEF"]);
    assert_eq!(free.rules[0].clock_window, None);

    let rule = config.rules.get_mut(&name("results")).unwrap();
    let said = rule.hl7.as_mut().unwrap();
    said.bind_patient = true;
    said.clock_window = Some(Duration::from_mins(10));
    let bound = hl7(&config);
    let key = config.patient_key.as_ref().unwrap().key.clone();
    let mut hash = [0xab; 32];
    hash[0] = 1;
    assert_eq!(bound.patients, Patients::new(key.as_bytes(), [hash]));
    assert!(bound.rules[0].bind_patient);
    assert_eq!(bound.rules[0].clock_window, Some(600));

    // A configuration like this does not load; if it did, nobody would be known.
    config.patient_key = None;
    assert_eq!(hl7(&config).patients, Patients::default());
}

#[test]
fn what_a_dicom_rule_asks_becomes_its_policy() {
    let mut config = clinic();
    let rule = config.rules.get_mut(&name("images")).unwrap();
    let said = rule.dicom.as_mut().unwrap();
    said.allow = ["C-MOVE", "C-FIND"].map(str::to_owned).into();
    said.move_destinations = ["device", "WS1"].map(str::to_owned).into();
    said.query.require = vec![[(0x0010, 0x0020), (0x0008, 0x0050)].into()];
    said.query.max_results = Some(200);
    said.private_creators = Some(BTreeSet::new());
    said.bind_patient = true;
    said.user_identity = UserIdentity::Strip;
    let device = config.devices.get_mut(&name("us")).unwrap();
    device.patients = vec![format!("hmac:{}", "ab".repeat(32))];
    let compiled = |config: &Config| match compile_at(config, "us", "pacs", NOON).unwrap().protocol
    {
        ProtocolPolicy::Dicom(dicom) => dicom,
        ProtocolPolicy::Hl7(_) => panic!("not DICOM"),
    };
    let dicom = compiled(&config);
    let rule = &dicom.rules[0];
    assert_eq!(rule.move_destinations, ["WS1", "US07"]);
    assert_eq!(rule.query.require, [[0x0008_0050, 0x0010_0020]]);
    assert!(rule.query.selective && rule.query.max_results == Some(200));
    assert_eq!(rule.private_creators, Some(Vec::new()));
    assert_eq!(rule.user_identity, dicom::IdentityUse::Strip);
    let key = config.patient_key.as_ref().unwrap().key.clone();
    assert_eq!(dicom.patients, Patients::new(key.as_bytes(), [[0xab; 32]]));
    let said = config.rules.get_mut(&name("images")).unwrap();
    said.dicom.as_mut().unwrap().bind_patient = false;
    assert_eq!(compiled(&config).patients, Patients::default());
}

//= C3
#[test]
fn what_a_device_retrieves_comes_back_in_the_classes_of_its_rule() {
    let mut config = clinic();
    config.devices.get_mut(&name("us")).unwrap().dicom_port = Some(11112);
    let mut returning = |classes: &[&str]| {
        let rule = config.rules.get_mut(&name("images")).unwrap();
        let said = rule.dicom.as_mut().unwrap();
        said.allow = ["C-MOVE".to_owned()].into();
        said.move_destinations = ["device".to_owned()].into();
        said.sop_classes = classes.iter().map(|class| (*class).to_owned()).collect();
        let wall = NOON.parse().unwrap();
        let policy = compile_inward(&config, &name("us"), &name("pacs"), wall).unwrap();
        match policy.protocol {
            ProtocolPolicy::Dicom(dicom) => dicom.rules,
            ProtocolPolicy::Hl7(_) => panic!("not DICOM"),
        }
    };
    let moves = "1.2.840.10008.5.1.4.1.2.2.2";
    let (ultrasound, private) = ("1.2.840.10008.5.1.4.1.1.6.1", "1.3.12.2.1107.5.9.1");
    let [rule] = &returning(&[moves, ultrasound, private])[..] else {
        panic!("one rule")
    };
    assert_eq!(rule.sop_classes, [ultrasound, private]);
    assert_eq!(returning(&[])[0].sop_classes, [""; 0], "any");
    // None to be stored is not any.
    assert!(returning(&[moves]).is_empty());
}

#[test]
fn profiles_of_a_dicom_service_and_rule_hold_together() {
    let table =
        "[profile.images]\nbase = \"strict\"\n[profile.images.dicom]\nobject = \"ignore\"\n";
    let config = clinic_with(table);
    let both = |service: &str, rule: Option<&str>| {
        let choice = |text: &str| match text {
            "standard" => ProfileChoice::Base(Profile::Standard),
            "strict" => ProfileChoice::Base(Profile::Strict),
            text => ProfileChoice::Named(name(text)),
        };
        let rule = rule.map(choice);
        profile::both_of_dicom(&config, Some(&choice(service)), rule.as_ref())
    };
    let names = |profiles: Vec<dicom::Profile>| -> Vec<String> {
        profiles.into_iter().map(|profile| profile.name).collect()
    };
    assert_eq!(names(both("standard", Some("strict"))), ["strict"]);
    assert_eq!(names(both("strict", Some("standard"))), ["strict"]);
    assert_eq!(names(both("strict", Some("images"))), ["strict", "images"]);
    let [images] = &both("images", None)[..] else {
        panic!("one profile")
    };
    assert_eq!(images.base, protocol_inspect::Base::Strict);
    let ignored = [(dicom::Level::Object, protocol_inspect::Severity::Ignore)];
    assert_eq!(images.levels, ignored.into());
}

#[test]
fn both_sides_know_the_same_transfer_syntaxes() {
    let syntaxes = include_str!("../../../config/src/data/transfer_syntaxes.txt");
    for line in syntaxes.lines() {
        let (uid, keyword) = line.split_once(' ').unwrap();
        let carried = dicom::TransferSyntax::from_uid(uid).is_some();
        // A rule may name it before data sets in it are carried.
        assert!(
            carried || keyword == "DeflatedExplicitVRLittleEndian",
            "{keyword}"
        );
    }
}

const NOON: &str = "2026-11-20T11:00:00Z";

fn compile_at(config: &Config, device: &str, service: &str, at: &str) -> Option<ConnectionPolicy> {
    compile(config, &name(device), &name(service), at.parse().unwrap())
}

fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

/// The clinic, changed by the caller where the checks of a file would be in the way.
fn clinic() -> Config {
    clinic_with("")
}

fn clinic_with(more: &str) -> Config {
    let directory = tempfile::tempdir().unwrap();
    for file in ["wireguard.key", "patient.key"] {
        let options = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(directory.path().join(file));
        let text = "YCDDCMPKWTnsADpeZFtUZ4vtqKz9Ey/i6mFVdVWGWkY=\n";
        std::io::Write::write_all(&mut options.unwrap(), text.as_bytes()).unwrap();
    }
    let source = lazaret_config::Source {
        path: "lazaret.toml".into(),
        text: format!("{CLINIC}{more}"),
    };
    Config::from_sources(directory.path(), &[source]).unwrap()
}

const CLINIC: &str = r#"schema = 1
[gateway]
name = "clinic"
patient_key_file = "patient.key"
[tunnel.wireguard]
listen = "[::]:51820"
interface = "lz-wg"
private_key_file = "wireguard.key"
networks = ["10.64.0.0/16"]
[hospital]
interface = "lan0"
mode = "snat"

[service.his]
address = "10.20.2.10:2575"
protocol = "hl7"
[service.pacs]
address = "10.20.1.10:104"
protocol = "dicom"
called_ae = "PACS1"
profile = "strict"
shadow = true
[service.console]
address = "10.20.0.5"
ports = ["tcp/22"]

[device.ecg]
wireguard = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="
addresses = ["10.64.0.1"]
roles = ["ecg-home"]
hl7_sender = "ECG^CARDIO"
patients = ["hmac:01ababababababababababababababababababababababababababababababab"]
device_ids = ["0012345678ABCDEF"]
[device.us]
wireguard = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI="
addresses = ["10.64.0.2"]
ae_title = "US07"
[device.two]
wireguard = "AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM="
addresses = ["10.64.0.3"]
roles = ["twice"]
hl7_sender = "TWO^CARDIO"

[rule.results]
from = ["role:ecg-home"]
to = ["his"]
hl7 = { send = ["ORU^R01"], versions = ["2.5"] }
[rule.images]
from = ["device:us"]
to = ["pacs"]
dicom = { allow = ["C-ECHO", "C-STORE"] }
[rule.consoles]
from = ["role:ecg-home"]
to = ["console"]
[rule.one]
from = ["role:twice"]
to = ["his"]
hl7 = { send = ["ORU^R01"] }
[rule.other]
from = ["device:two"]
to = ["his"]
hl7 = { send = ["ADT^A01"] }
"#;
