//! What is proposed is read, is shown as it is, and lets pass what was seen and nothing else.

use super::*;
use crate::model::{Party, Target};

const MAIN: &str = r#"
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
[service.his]
address = "10.20.2.10:2575"
protocol = "hl7"
[service."pacs.1"]
address = "10.20.1.10:104"
protocol = "dicom"
[device.ecg-1]
wireguard = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE="
addresses = ["10.64.0.1"]
roles = ["ecg", "trial"]
hl7_sender = "ECG^CARDIO"
ae_title = "ECG1"
[device.ecg-2]
wireguard = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAI="
addresses = ["10.64.0.2"]
roles = ["ecg"]
hl7_sender = "ECG^CARDIO"
ae_title = "ECG2"
[rule.pilot]
from = ["role:ecg", "role:trial"]
to = ["his", "pacs.1"]
hl7 = { send = ["ORU^*", "ADT^*", "MDM^T02"], versions = ["2.5.1"] }
dicom = { allow = ["C-ECHO", "C-STORE", "C-MOVE"], move_destinations = ["PACS2"] }
priority = "critical"
shadow = true
[[test]]
from = "device:ecg-1"
allow = ["his#ORU^R01"]
"#;

fn main() -> (tempfile::TempDir, Vec<Source>, Config) {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("wireguard.key");
    std::fs::write(&key, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAM=\n").unwrap();
    let own = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&key, own).unwrap();
    let path = "lazaret.toml".into();
    let text = MAIN.to_owned();
    let sources = vec![Source { path, text }];
    let config = Config::from_sources(dir.path(), &sources).unwrap();
    (dir, sources, config)
}

fn seen(service: &str, message: &str, class: Option<&str>, would_refuse: u64) -> Seen {
    Seen {
        service: service.parse().unwrap(),
        rule: "pilot".to_owned(),
        message: message.to_owned(),
        sop_class: class.map(str::to_owned),
        amount: 1204,
        largest: 70_000,
        would_refuse,
    }
}

fn habit(device: &str, roles: &[&str], seen: Vec<Seen>) -> Habit {
    Habit {
        device: device.parse().unwrap(),
        roles: roles.iter().map(|role| role.parse().unwrap()).collect(),
        weeks: true,
        busiest_minute: 3,
        hours: BTreeSet::from([8, 9, 17, 32]),
        seen,
    }
}

fn habits() -> Vec<Habit> {
    let ecg = seen("his", "ORU^R01", None, 0);
    let us = Some("1.2.840.10008.5.1.4.1.1.6.1");
    vec![
        habit(
            "ecg-1",
            &["ecg", "trial"],
            vec![
                ecg.clone(),
                seen("pacs.1", "C-STORE", us, 2),
                seen("his", "ORU^R40", None, 0),
            ],
        ),
        habit("ecg-2", &["ecg"], vec![ecg]),
    ]
}

#[test]
fn a_proposal_is_read_with_the_other_files() {
    let (dir, sources, config) = main();
    let proposal = propose((dir.path(), &sources), &config, &habits(), true);
    assert_eq!(proposal.trouble, None, "{}", proposal.text);
    assert_eq!(proposal.rules, 2);
    insta::assert_snapshot!(proposal.text);
}

#[test]
fn beside_the_rules_before_it_bounds_are_remarks() {
    let (dir, mut sources, config) = main();
    let proposal = propose((dir.path(), &sources), &config, &habits(), false);
    assert_eq!(proposal.trouble, None);
    sources.push(Source {
        path: "conf.d/50-learnt.toml".into(),
        text: proposal.text.clone(),
    });
    let both = Config::from_sources(dir.path(), &sources);
    let both = both.unwrap_or_else(|errors| panic!("{errors}\n{}", proposal.text));
    assert_eq!(both.rules.len(), 3);
}

#[test]
fn what_was_seen_passes_and_nothing_else() {
    let (dir, sources, config) = main();
    let proposal = propose((dir.path(), &sources), &config, &habits(), true);
    let main = sources[0]
        .text
        .split("[rule.pilot]")
        .next()
        .unwrap()
        .to_owned();
    let sources = [
        Source {
            path: "lazaret.toml".into(),
            text: main,
        },
        Source {
            path: "conf.d/learnt.toml".into(),
            text: proposal.text,
        },
    ];
    let learnt = Config::from_sources(dir.path(), &sources).unwrap();
    assert_eq!(learnt.run_tests(), []);
    let allowed = |device: &str, target: &str| {
        let party = Party::Device(device.parse().unwrap());
        let target: Target = target.parse().unwrap();
        learnt.explain(&party, &target).allowed
    };
    for (device, target, may) in [
        ("ecg-1", "his#ORU^R01", true),
        ("ecg-2", "his#ORU^R01", true),
        ("ecg-1", "his#ADT^A01", false),
        ("ecg-1", "pacs.1#C-STORE", true),
        ("ecg-1", "pacs.1#C-ECHO", false),
        ("ecg-1", "pacs.1#C-MOVE", false),
    ] {
        assert_eq!(allowed(device, target), may, "{device} {target}");
    }
    let rule = &learnt.rules[&"learnt-pilot-his".parse::<RuleName>().unwrap()];
    assert!(!rule.shadow);
    assert_eq!(rule.limit.messages.map(|(number, _)| number), Some(30));
    assert_eq!(rule.limit.message_size, Some(256 << 10));
}

#[test]
fn what_no_rule_let_pass_is_not_proposed() {
    let (dir, sources, config) = main();
    let mut gone = seen("his", "ORU^R01", None, 0);
    gone.rule = "gone".to_owned();
    let odd = seen("pacs.1", "", None, 0);
    let foreign = habit("us-1", &["us"], vec![seen("his", "ORU^R01", None, 0)]);
    let none = [habit("ecg-1", &["ecg"], vec![gone]), foreign];
    let proposal = propose((dir.path(), &sources), &config, &none, true);
    assert_eq!((proposal.rules, proposal.trouble), (0, None));
    // What has no name keeps what the rule said.
    let usual = seen("his", "ORU^R01", None, 0);
    let mixed = [habit("ecg-1", &["ecg"], vec![odd, usual])];
    let proposal = propose((dir.path(), &sources), &config, &mixed, true);
    assert!(proposal.text.contains("as before"), "{}", proposal.text);
    assert_eq!(proposal.trouble, None);
}
