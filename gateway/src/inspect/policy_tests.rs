//! Policies of a small clinic.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lazaret_config::{
    Audit, Day, DicomRule, Gateway, Hl7Rule, Hospital, HospitalMode, Hours, Identity, Origin,
    Profile, Role, Sync, WireGuard,
};

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
    };
    rule.profile = Some(Profile::Strict);
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
    assert_eq!((rule.profile, rule.shadow), (hl7::Profile::Strict, false));
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
    assert_eq!(dicom.rules[0].profile, dicom::Profile::Strict);
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
    let mut second = config.rules[&name("results")].clone();
    second.limit.messages = Some((100, Duration::from_secs(60)));
    second.limit.message_size = Some(5_000);
    second.limit.connections = Some(3);
    let first = config.rules.get_mut(&name("results")).unwrap();
    first.priority = Priority::Critical;
    first.limit.messages = Some((2, Duration::from_secs(1)));
    config.rules.insert(name("second"), second);
    let policy = compile_at(&config, "ecg", "his", NOON).unwrap();
    assert_eq!(policy.rate.unwrap().messages, 100);
    assert!(!policy.delay_only && !policy.without_journal);
    let ProtocolPolicy::Hl7(hl7) = policy.protocol else {
        panic!("not HL7")
    };
    assert_eq!((hl7.rules.len(), hl7.limits.hl7_message), (2, 5_000));
    assert_eq!(connection_limit(&config, &name("ecg"), &name("his")), 3);
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

#[test]
fn what_cannot_be_enforced_is_named_and_allows_nothing() {
    let mut config = clinic();
    assert_eq!(unsupported(&config), [""; 0]);
    let rule = config.rules.get_mut(&name("results")).unwrap();
    rule.hl7.as_mut().unwrap().bind_patient = true;
    assert_eq!(
        unsupported(&config),
        ["lazaret.toml:7: rule.results: bind_patient is not supported yet"]
    );
    assert!(compile_at(&config, "ecg", "his", NOON).is_none());
}

const NOON: &str = "2026-11-20T11:00:00Z";

fn compile_at(config: &Config, device: &str, service: &str, at: &str) -> Option<ConnectionPolicy> {
    compile(config, &name(device), &name(service), at.parse().unwrap())
}

fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn origin() -> Origin {
    Origin {
        file: "lazaret.toml".into(),
        line: 7,
    }
}

fn texts(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

fn service(address: &str, protocol: ServiceProtocol) -> Service {
    Service {
        origin: origin(),
        address: address.parse().unwrap(),
        protocol,
    }
}

fn device(address: &str, role: &str) -> Device {
    Device {
        origin: origin(),
        identity: Identity::WireGuard {
            public_key: [1; 32],
            preshared_key_file: None,
            keepalive: 0,
            endpoint: None,
        },
        addresses: vec![address.parse().unwrap()],
        networks: Vec::new(),
        roles: [name(role)].into(),
        hl7_senders: vec![("ECG".to_owned(), "CARDIO".to_owned())],
        ae_title: Some("US07".to_owned()),
        dicom_port: None,
        patients: Vec::new(),
        default_charset: "ASCII".to_owned(),
    }
}

fn rule(from: Party, to: &str) -> Rule {
    Rule {
        origin: origin(),
        from: [from].into(),
        to: [name(to)].into(),
        hl7: None,
        dicom: None,
        limit: Limit::default(),
        priority: Priority::Normal,
        profile: None,
        shadow: false,
        hours: None,
        until: None,
    }
}

fn services() -> BTreeMap<ServiceName, Service> {
    [
        (
            name("his"),
            service(
                "10.20.2.10",
                ServiceProtocol::Hl7 {
                    port: 2575,
                    profile: Profile::Standard,
                    shadow: false,
                },
            ),
        ),
        (
            name("pacs"),
            service(
                "10.20.1.10",
                ServiceProtocol::Dicom {
                    port: 104,
                    called_ae: Some("PACS1".to_owned()),
                    profile: Profile::Strict,
                    shadow: true,
                },
            ),
        ),
        (
            name("console"),
            service(
                "10.20.0.5",
                ServiceProtocol::Plain {
                    ports: BTreeSet::new(),
                },
            ),
        ),
    ]
    .into()
}

fn clinic() -> Config {
    let results = Rule {
        hl7: Some(Hl7Rule {
            send: texts(&["ORU^R01"]),
            versions: texts(&["2.5"]),
            bind_sender: true,
            bind_patient: false,
        }),
        ..rule(Party::Role(name("ecg-home")), "his")
    };
    let images = Rule {
        dicom: Some(DicomRule {
            allow: texts(&["C-ECHO", "C-STORE"]),
            sop_classes: BTreeSet::new(),
            move_destinations: BTreeSet::new(),
            bind_sender: true,
        }),
        ..rule(Party::Device(name("us")), "pacs")
    };
    let consoles = rule(Party::Role(name("ecg-home")), "console");
    Config {
        gateway: Gateway {
            name: "clinic".to_owned(),
            state_dir: "/nowhere".into(),
            runtime_dir: "/nowhere".into(),
        },
        wireguard: WireGuard {
            listen: "[::]:51820".parse().unwrap(),
            interface: "lz-wg".to_owned(),
            private_key_file: "/nowhere/key".into(),
            networks: vec!["10.64.0.0/16".parse().unwrap()],
            addresses: vec!["10.64.255.254".parse().unwrap()],
            mtu: 1420,
            offload: false,
        },
        hospital: Hospital {
            interface: "lan0".to_owned(),
            mode: HospitalMode::Snat,
        },
        services: services(),
        devices: [
            (name("ecg"), device("10.64.0.1", "ecg-home")),
            (name("us"), device("10.64.0.2", "ultrasound")),
        ]
        .into(),
        roles: BTreeMap::from([(name("ecg-home"), Role::default())]),
        rules: [
            (name("results"), results),
            (name("images"), images),
            (name("consoles"), consoles),
        ]
        .into(),
        limits: site_limits(),
        audit: Audit {
            directory: "/nowhere".into(),
            rotate_size: 64 << 20,
            sync: Sync::Batch,
            keep: 0,
            required: true,
        },
        tests: Vec::new(),
    }
}

fn site_limits() -> lazaret_config::Limits {
    let seconds = Duration::from_secs;
    lazaret_config::Limits {
        hl7_message: 4 << 20,
        hl7_segments: 10_000,
        dicom_dataset: 4 << 30,
        dicom_depth: 64,
        dicom_elements: 2_000_000,
        dicom_pdu: 128 << 10,
        dicom_memory: 4 << 20,
        spool: 8 << 30,
        connections: 4_096,
        connections_per_device: 32,
        receive_timeout: seconds(30),
        connect_timeout: seconds(10),
        answer_timeout: seconds(30),
        idle_timeout: seconds(3_600),
        send_timeout: seconds(30),
    }
}
