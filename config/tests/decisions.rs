//! What configurations decide: by name, by address, in words; and that ten thousand devices are no burden.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what goes wrong in a test must fail it, in its helpers too"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "the time that loading takes is measured here"
)]

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lazaret_config::{Config, Identity, Lapsed, Overdue, Source};

#[test]
fn explains_what_is_allowed_and_what_is_missing() {
    let (dir, config) = example("hospital", &[]);
    for (from, target, answer) in EXPLANATIONS {
        let found = config.explain(&from.parse().unwrap(), &target.parse().unwrap());
        let because: Vec<String> = found
            .because
            .iter()
            .map(|(rule, origin)| {
                let file = origin.file.strip_prefix(dir.path()).unwrap();
                format!("{rule} {}:{}", file.display(), origin.line)
            })
            .collect();
        let text = if found.allowed {
            because.join(", ")
        } else {
            format!("missing: {}", found.missing)
        };
        assert_eq!(text, *answer, "{from} {target}");
    }
}

/// Sessions end with the last rule that lets them, and each says why.
#[test]
fn access_ends_with_the_last_rule_and_limits_are_those_of_the_most_lenient() {
    let hours = |from, to| format!("hours = \"mon-fri {from}-{to} UTC\"\n");
    let rule = |name: &str, more: &str| {
        format!("[rule.{name}]\nfrom = [\"role:ecg\"]\nto = [\"desk\"]\n{more}\n")
    };
    let part = "[service.desk]\naddress = \"10.20.9.9\"\nports = [\"tcp/22\"]\n".to_owned()
        + &rule("early", &hours("08:00", "12:00"))
        + &rule(
            "late",
            &(hours("11:00", "18:00") + "limit = { idle = \"15min\", longest = \"4h\" }\n"),
        )
        + &rule("once", "until = 2026-11-20\nlimit = { longest = \"1h\" }\n");
    let (_dir, config) = example("minimal", &[("conf.d/x.toml", &part)]);
    let device = config.members(&"role:ecg".parse().unwrap())[0];
    let desk = "desk".parse().unwrap();
    let access = |at: &str| config.access(device, &desk, at.parse().unwrap());
    let ends = |at: &str| access(at).unwrap().ends.map(|end| end.to_string());
    // A Tuesday.
    assert_eq!(
        ends("2026-11-24T08:00:00Z").as_deref(),
        Some("2026-11-24T18:00:00Z")
    );
    assert_eq!(
        ends("2026-11-24T13:00:00Z").as_deref(),
        Some("2026-11-24T18:00:00Z")
    );
    assert_eq!(access("2026-11-24T18:00:00Z"), Err(Lapsed::Hours));
    // A Friday on which the third rule holds to the end of the day.
    assert_eq!(
        ends("2026-11-20T09:00:00Z").as_deref(),
        Some("2026-11-21T00:00:00Z")
    );
    let pacs = "pacs".parse().unwrap();
    let now = "2026-11-24T08:00:00Z".parse().unwrap();
    assert_eq!(config.access(device, &pacs, now), Err(Lapsed::NoRule));
    let (hour, minute) = (Duration::from_hours(1), Duration::from_mins(1));
    let late = access("2026-11-24T13:00:00Z").unwrap();
    assert_eq!(late.longest(), Some(4 * hour));
    assert_eq!(late.goes_on(3 * hour, 14 * minute), Ok(()));
    assert_eq!(late.goes_on(3 * hour, 15 * minute), Err(Overdue::Idle));
    assert_eq!(late.goes_on(4 * hour, minute), Err(Overdue::Longest));
    let both = access("2026-11-24T11:30:00Z").unwrap();
    assert_eq!((both.longest(), both.rules.len()), (None, 2));
    assert_eq!(both.goes_on(9 * hour, 9 * hour), Ok(()));
    let ended = part.replace(&rule("early", &hours("08:00", "12:00")), "");
    let ended = ended.split("[rule.late]").next().unwrap().to_owned()
        + &rule("once", "until = 2026-11-20\n");
    let (_dir, config) = example("minimal", &[("conf.d/x.toml", &ended)]);
    let found = config.access(config.members(&"role:ecg".parse().unwrap())[0], &desk, now);
    assert_eq!(found, Err(Lapsed::Until));
}

#[test]
fn a_service_that_nobody_may_reach_is_said_to_be_so() {
    let part = "[service.lonely]\naddress = \"10.20.9.9\"\nports = [\"tcp/1\"]\n";
    let (_dir, config) = example("minimal", &[("conf.d/x.toml", part)]);
    let found = config.explain(&"role:ecg".parse().unwrap(), &"lonely".parse().unwrap());
    assert_eq!(found.missing, "no rule lets anyone reach lonely");
}

#[test]
fn finds_rules_services_members_and_devices() {
    let (_dir, config) = example("clinic", &[]);
    let device = |name: &str| name.parse().unwrap();
    let names = |rules: Vec<(&lazaret_config::RuleName, &lazaret_config::Rule)>| -> Vec<String> {
        rules.iter().map(|(name, _)| name.to_string()).collect()
    };
    let pacs = "pacs".parse().unwrap();
    assert_eq!(names(config.rules_for(&device("ct-1"), &pacs)), ["images"]);
    assert!(config.rules_for(&device("clinic-router"), &pacs).is_empty());
    assert!(config.rules_for(&device("nobody"), &pacs).is_empty());
    let martin = device("dr-martin");
    let services: Vec<String> = config
        .services_of(&martin)
        .iter()
        .map(|(service, rules)| format!("{service}: {rules:?}"))
        .collect();
    assert_eq!(
        services,
        ["console: [\"remote-support\"]", "pacs: [\"reading\"]"]
    );
    let members = |party: &str| -> Vec<String> {
        let members = config.members(&party.parse().unwrap());
        members.iter().map(ToString::to_string).collect()
    };
    assert_eq!(members("role:modality"), ["ct-1", "mr-1", "us-1"]);
    assert_eq!(members("device:ct-1"), ["ct-1"]);
    assert_eq!(members("role:nobody"), [""; 0]);
    let at = |address: &str| {
        let found = config.device_at(address.parse().unwrap());
        found.map(ToString::to_string)
    };
    assert_eq!(at("192.168.40.11").as_deref(), Some("ct-1"));
    assert_eq!(at("fd64::201").as_deref(), Some("dr-martin"));
    assert_eq!(at("10.64.255.254"), None);
}

#[test]
fn roles_exist_when_devices_have_them() {
    let (_dir, config) = example("clinic", &[]);
    let roles: Vec<String> = config.roles.keys().map(ToString::to_string).collect();
    assert_eq!(roles, ["modality", "radiologist", "ultrasound"]);
}

/// Ten thousand devices in a hundred files, some behind routers, each with two rules that have to be compared.
#[test]
fn ten_thousand_devices_load_in_a_second() {
    let files: Vec<(String, String)> = (0..100)
        .map(|file| (format!("conf.d/{file:03}.toml"), hundred_devices(file)))
        .collect();
    let everyone = "[rule.all]\nfrom = [\"role:all\"]\nto = [\"his-results\"]\nhl7 = { send = [\"ORU^R30\"] }\n";
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .chain([("conf.d/all.toml", everyone)])
        .collect();
    let base = "\n[service.extra]\naddress = \"10.20.9.9:104\"\nprotocol = \"dicom\"\n";
    let dir = directory("minimal", &files);
    let main = dir.path().join("lazaret.toml");
    let text = fs::read_to_string(&main).unwrap();
    fs::write(&main, text.replace("10.64.0.0/24", "10.64.0.0/10") + base).unwrap();

    let begin = Instant::now();
    let config = Config::load(dir.path()).unwrap_or_else(|errors| panic!("{errors}"));
    let loaded = begin.elapsed();
    assert_eq!(config.devices.len(), 10_001);
    assert_eq!(config.rules.len(), 102);

    let begin = Instant::now();
    let reachable: usize = config
        .devices
        .keys()
        .map(|device| config.services_of(device).len())
        .sum();
    assert_eq!(reachable, 10_001);
    let decided = begin.elapsed();

    let via = config
        .devices
        .values()
        .filter(|device| matches!(device.identity, Identity::Via(_)));
    assert_eq!(via.count(), 1000);
    println!("10,000 devices: loaded in {loaded:?}, all services in {decided:?}");
    let most = if cfg!(debug_assertions) { 20 } else { 1 };
    assert!(loaded < Duration::from_secs(most), "{loaded:?}");
}

/// As many mistakes as devices: reporting them is not quadratic either.
#[test]
fn ten_thousand_mistakes_are_reported_quickly() {
    let mut text = String::new();
    for number in 0..10_000 {
        writeln!(
            text,
            "[rule.r{number}]\nfrom = [\"role:r{number}\"]\nto = [\"his-result\"]"
        )
        .unwrap();
        writeln!(
            text,
            "[device.d{number}]\nvia = \"d{}\"\naddresses = [\"x\"]",
            number + 1
        )
        .unwrap();
    }
    let begin = Instant::now();
    let dir = directory("minimal", &[("conf.d/x.toml", &text)]);
    let errors = Config::load(dir.path()).unwrap_err();
    let taken = begin.elapsed();
    assert!(errors.total() >= 30_000, "{}", errors.total());
    println!("{} mistakes: {taken:?}", errors.total());
    assert!(taken < Duration::from_secs(20), "{taken:?}");
}

fn hundred_devices(file: usize) -> String {
    let mut text = format!(
        "[rule.r{file}]\nfrom = [\"role:r{file}\"]\nto = [\"his-results\"]\nhl7 = {{ send = [\"ORU^R01\"] }}\nlimit = {{ messages = \"{}/s\" }}\n",
        file + 1
    );
    for number in 0..100 {
        let mut key = [7; 32];
        key[..8].copy_from_slice(&(file * 100 + number + 1).to_le_bytes());
        let identity = match number {
            0 => format!(
                "wireguard = \"{}\"\nnetworks = [\"192.168.{file}.0/24\"]\naddresses = [\"10.65.{file}.{number}\"]",
                STANDARD.encode(key)
            ),
            1..=10 => format!("via = \"d{file}-0\"\naddresses = [\"192.168.{file}.{number}\"]"),
            _ => format!(
                "wireguard = \"{}\"\naddresses = [\"10.65.{file}.{number}\"]",
                STANDARD.encode(key)
            ),
        };
        writeln!(
            text,
            "\n[device.d{file}-{number}]\n{identity}\nroles = [\"r{file}\", \"all\"]\nhl7_sender = \"S{number}^F{file}\"\npatients = [\"hmac:{:064x}\"]",
            file * 100 + number
        )
        .unwrap();
    }
    text
}

fn example(name: &str, more: &[(&str, &str)]) -> (tempfile::TempDir, Config) {
    let dir = directory(name, more);
    let config = Config::load(dir.path()).unwrap_or_else(|errors| panic!("{errors}"));
    (dir, config)
}

/// A copy of an example with its key files and more files.
fn directory(name: &str, more: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let example = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples")
        .join(name);
    fs::create_dir(dir.path().join("conf.d")).unwrap();
    for part in ["", "conf.d"] {
        let Ok(entries) = fs::read_dir(example.join(part)) else {
            continue;
        };
        for path in entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file())
        {
            let target = dir.path().join(part).join(path.file_name().unwrap());
            fs::copy(&path, target).unwrap();
        }
    }
    for key in [
        "wireguard.key",
        "patient.key",
        "clinic-router.psk",
        "dr-martin.psk",
    ] {
        let path = dir.path().join(key);
        fs::write(&path, STANDARD.encode([7; 32])).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    for (path, text) in more {
        fs::write(dir.path().join(path), text).unwrap();
    }
    dir
}

/// Sources need no files.
#[test]
fn reads_texts_as_well_as_files() {
    let dir = directory("minimal", &[]);
    let sources = lazaret_config::sources(dir.path()).unwrap();
    let renamed: Vec<Source> = sources
        .into_iter()
        .map(|source| Source {
            path: "elsewhere.toml".into(),
            ..source
        })
        .collect();
    let config = Config::from_sources(dir.path(), &renamed).unwrap();
    let origin = &config.rules.values().next().unwrap().origin;
    assert_eq!(
        (origin.file.as_path(), origin.line),
        (Path::new("elsewhere.toml"), 26)
    );
}

const EXPLANATIONS: &[(&str, &str, &str)] = &[
    (
        "device:ecg-0042",
        "his-results#ORU^R01",
        "ecg-results conf.d/10-cardiology.toml:19",
    ),
    (
        "role:ecg-home",
        "his-results",
        "ecg-results conf.d/10-cardiology.toml:19",
    ),
    (
        "device:dr-martin",
        "his-admissions#ADT^A04",
        "admissions conf.d/90-clinicians.toml:20",
    ),
    (
        "device:dr-martin",
        "consoles:udp/3389",
        "consoles conf.d/90-clinicians.toml:10, night-duty conf.d/90-clinicians.toml:15",
    ),
    (
        "device:us-07",
        "pacs:tcp/104",
        "us-images conf.d/20-ultrasound.toml:26",
    ),
    (
        "device:ecg-0042",
        "his-results#ADT^A01",
        "missing: rule ecg-results allows ORU^R01 only",
    ),
    (
        "device:us-07",
        "pacs#C-FIND",
        "missing: rule us-images allows C-ECHO, C-STORE only",
    ),
    (
        "device:dr-martin",
        "consoles:tcp/23",
        "missing: service consoles has tcp/22, tcp/3389, udp/3389 only",
    ),
    (
        "device:us-08",
        "his-results",
        "missing: no rule lets device us-08 (roles study-dopplers, ultrasound) reach his-results; rule ecg-results does for role ecg-home",
    ),
    (
        "role:pump-home",
        "pacs",
        "missing: no rule lets role pump-home reach pacs; rule us-images does for role ultrasound",
    ),
    (
        "device:us-07",
        "device:us-08",
        "missing: devices never reach each other",
    ),
    (
        "device:nobody",
        "pacs",
        "missing: device nobody does not exist",
    ),
    (
        "device:us-07",
        "nowhere",
        "missing: there is no service nowhere",
    ),
];

const DIALLED: &str = r#"
schema = 1
[gateway]
name = "test"
[tunnel.wireguard]
listen = "[::]:51820"
interface = "lz-wg"
private_key_file = "wireguard.key"
networks = ["10.64.0.0/16"]
[hospital]
interface = "lan0"
address = "10.20.0.1"
[service.pacs]
address = "10.20.1.10:104"
protocol = "dicom"
called_ae = "PACS1"
[service.worklist]
address = "10.20.1.11:104"
protocol = "dicom"
called_ae = "WORK1"
[device.us-1]
wireguard = "SGjgSHpdRRSbKiNPNjUNmNB+YDOYXJVCmxGIGiqjuXA="
addresses = ["10.64.0.2"]
roles = ["ultrasound"]
ae_title = "US1"
dicom_port = 11112
hospital_port = 11207
[device.us-2]
wireguard = "xHY3is2WM0rdKQOq2Oxla0g5UG6MmI6MGA6mhCrJruE="
addresses = ["10.64.0.3"]
roles = ["ultrasound"]
ae_title = "US2"
[rule.retrieves]
from = ["role:ultrasound"]
to = ["pacs"]
dicom = { allow = ["C-MOVE", "N-ACTION"], move_destinations = ["US1", "US2"] }
[rule.checks]
from = ["worklist"]
to = ["device:us-1"]
dicom = { allow = ["C-ECHO"] }
[[test]]
from = "pacs"
allow = ["device:us-1#C-STORE", "device:us-1#N-EVENT-REPORT"]
deny = ["device:us-1#C-ECHO", "device:us-2", "worklist"]
[[test]]
from = "worklist"
allow = ["device:us-1#C-ECHO"]
deny = ["device:us-1#C-STORE", "device:us-2"]
[[test]]
from = "device:us-1"
deny = ["device:us-2"]
"#;

/// A device that may have images moved to "device" is dialled as if its title were said.
#[test]
fn says_who_dials_a_device_that_moves_to_itself() {
    let dir = directory("minimal", &[]);
    let dialled = |destination: &str| {
        let source = Source {
            path: "lazaret.toml".into(),
            text: DIALLED.replace(r#"["US1", "US2"]"#, &format!("[{destination:?}]")),
        };
        let config = Config::from_sources(dir.path(), &[source]).unwrap();
        let device = "us-1".parse().unwrap();
        let inward = config.inward(&device, &"pacs".parse().unwrap());
        inward
            .iter()
            .any(|one| one.why == lazaret_config::Why::Retrieval)
    };
    assert_eq!(
        ["device", "US1", "*", "US2"].map(dialled),
        [true, true, true, false]
    );
}

#[test]
fn says_who_dials_whom() {
    let source = Source {
        path: "lazaret.toml".into(),
        text: DIALLED.to_owned(),
    };
    let dir = directory("minimal", &[]);
    let config = Config::from_sources(dir.path(), &[source]).unwrap();
    assert_eq!(config.run_tests(), []);
    let dialled = |from: &str, to: &str| {
        let found = config.dialled(from.parse().unwrap(), to.parse().unwrap());
        found.map(|(service, device, at)| format!("{service} {device} {}", at.device))
    };
    let pacs = dialled("10.20.1.10", "10.20.0.1:11207");
    assert_eq!(pacs.as_deref(), Some("pacs us-1 10.64.0.2:11112"));
    let worklist = dialled("10.20.1.11", "10.20.0.1:11207");
    assert_eq!(worklist.as_deref(), Some("worklist us-1 10.64.0.2:11112"));
    for (from, to) in [
        ("10.20.1.12", "10.20.0.1:11207"),
        ("10.20.1.10", "10.20.0.1:11112"),
        ("10.20.1.10", "10.20.0.2:11207"),
        ("10.20.1.10", "10.64.0.2:11112"),
    ] {
        assert_eq!(dialled(from, to), None, "{from} {to}");
    }
}

#[test]
fn a_device_in_quarantine_has_what_is_left_to_it_and_an_exception_is_one_rule_of_one_device() {
    let part = "[service.updates]\naddress = \"10.20.9.9\"\nports = [\"tcp/443\"]\n";
    let (_dir, mut config) = example("hospital", &[("conf.d/x.toml", part)]);
    let (device, service) = config
        .devices
        .keys()
        .find_map(|device| {
            let services = config.services_of(device);
            Some((device.clone(), (*services.keys().next()?).clone()))
        })
        .unwrap();
    let reach = |config: &Config, service: &lazaret_config::ServiceName| {
        let rules = config.rules_for(&device, service);
        let names = rules.iter().map(|(name, _)| name.to_string());
        names.collect::<Vec<_>>()
    };
    let updates: lazaret_config::ServiceName = "updates".parse().unwrap();
    let exception = |in_quarantine| lazaret_config::Exception {
        number: 7,
        device: device.clone(),
        service: updates.clone(),
        in_quarantine,
    };
    let with = |config: &Config, quarantined: bool, all: &[lazaret_config::Exception]| {
        let quarantined = quarantined.then(|| device.clone()).into_iter().collect();
        config.clone().contained(quarantined, all)
    };
    let own = reach(&config, &service);
    assert!(!own.is_empty() && reach(&config, &updates).is_empty());
    // An exception is beside the rules, and for nobody else.
    let open = with(&config, false, &[exception(false)]);
    assert_eq!(reach(&open, &updates), ["BREAK-GLASS-7"]);
    assert_eq!(reach(&open, &service), own);
    let others = open.devices.keys().filter(|other| **other != device);
    for other in others {
        assert!(open.rules_for(other, &updates).is_empty(), "{other}");
    }
    // Quarantine takes all of it, but for what was opened although it is so.
    let shut = with(&config, true, &[exception(false)]);
    assert!(reach(&shut, &updates).is_empty() && reach(&shut, &service).is_empty());
    assert!(shut.services_of(&device).is_empty() && shut.callers(&device).is_empty());
    let open = with(&config, true, &[exception(true)]);
    assert_eq!(reach(&open, &updates), ["BREAK-GLASS-7"]);
    assert!(reach(&open, &service).is_empty());
    // What is left is for those in quarantine alone.
    config.quarantine.services.insert(updates.clone());
    assert!(reach(&with(&config, false, &[]), &updates).is_empty());
    let left = with(&config, true, &[]);
    assert_eq!(reach(&left, &updates), ["QUARANTINE"]);
    assert!(reach(&left, &service).is_empty());
}

#[test]
fn an_exception_keeps_identity_and_needs_one() {
    let (_dir, config) = example("hospital", &[]);
    let mut exceptions = config.devices.keys().flat_map(|device| {
        let services = config.services.keys();
        services.map(|service| lazaret_config::Exception {
            number: 1,
            device: device.clone(),
            service: service.clone(),
            in_quarantine: false,
        })
    });
    let (mut inspected, mut nameless) = (0, 0);
    for one in &mut exceptions {
        match config.exception(&one) {
            Ok(rule) => {
                let owner = config.devices.get(&one.device).unwrap();
                let own = !owner.patients.is_empty();
                if let Some(hl7) = &rule.hl7 {
                    assert!(hl7.bind_sender && hl7.bind_patient == own && !rule.shadow);
                    inspected += 1;
                }
                if let Some(dicom) = &rule.dicom {
                    assert!(dicom.bind_sender && dicom.bind_patient == own);
                    assert!(!dicom.allow.iter().any(|word| word.starts_with("N-")));
                    inspected += 1;
                }
            }
            Err(lazaret_config::NoException::Nameless(_)) => nameless += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(inspected > 0 && nameless > 0, "{inspected} {nameless}");
    let mut none = lazaret_config::Exception {
        number: 1,
        device: "nobody".parse().unwrap(),
        service: "nothing".parse().unwrap(),
        in_quarantine: false,
    };
    let unknown = config.exception(&none).unwrap_err().to_string();
    assert_eq!(unknown, "there is no device nobody");
    none.device = config.devices.keys().next().unwrap().clone();
    let unknown = config.exception(&none).unwrap_err().to_string();
    assert_eq!(unknown, "there is no service nothing");
}
