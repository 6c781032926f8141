//! Profiles from the file to the verdict.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use lazaret_config::{Config, Source};
use protocol_inspect::hl7::grammar::{DataKind, Version};
use protocol_inspect::hl7::{self, Frame, Verdict, judge};

use crate::inspect::policy::compile;
use crate::inspect::{ConnectionPolicy, ProtocolPolicy};

/// The example profile, from the file through the relay's channel to the verdict.
#[test]
fn a_profile_refuses_and_accepts() {
    let policy = policy("", "profile = \"ecg-home\"");
    let told = |policy: &hl7::Policy, (old, new): (&str, &str)| {
        assert!(MESSAGE.contains(old), "{old}");
        let message = MESSAGE.replacen(old, new, 1);
        match judge(Frame::around(message.as_bytes()), policy, None).verdict {
            Verdict::Accept(accepted) => format!("accepted {:?}", accepted.warnings),
            Verdict::Refuse(refused) => {
                let place = refused.refusal.location;
                place.split(' ').next().unwrap_or_default().to_owned()
            }
        }
    };
    let standard = self::policy("profile = \"standard\"", "");
    for (bad, place, good) in [
        (("|2.5.1|", "|2.4|"), "MSH-12", ("|2.5.1|", "|2.5|")),
        (("8859/1", "8859/2"), "MSH-18", ("8859/1", "UNICODE UTF-8")),
        (
            ("PV1|1|O|||||||||||||||||V123\r", ""),
            "PV1",
            ("V123", "V9"),
        ),
        (("NTE|1||fine\r", "ZEC|1\r"), "ZEC", ("NTE|1||fine\r", "")),
        (
            ("^HOSP^PI", "^HOSP^PI~1^^^X^PI"),
            "PID-3(2).1",
            ("^HOSP^PI", "^HOSP^PI~12345679^^^X^PI"),
        ),
        (("12345678", "1234567"), "PID-3.1", ("12345678", "00000000")),
        (("|F\r", "|A\r"), "PID-8.1", ("|F\r", "|M\r")),
        (
            ("|F\r", "|F|||||||||||1\r"),
            "PID-19",
            ("|F\r", "|F||||||||||\r"),
        ),
        (("V123", "W123"), "PV1-19.1", ("V123", "V0")),
        (
            ("|||F|||20260101115900", "|||P|||20260101115900"),
            "OBX-11",
            ("|||F|||20260101115900", "|||C|||20260101115900"),
        ),
        (("8867-4", "8867-5"), "OBX-3", ("^Heart rate^", "^HR^")),
        (("|72|", "|301|"), "OBX-5", ("|72|", "|300|")),
        (("|/min^", "|bpm^"), "OBX-6.1", ("|/min^", "|{beats}/min^")),
        (("|121|", "|5.2|"), "OBX[2]-5", ("|121|mm[Hg]", "|5.3|kPa")),
    ] {
        assert_eq!(told(&policy, bad), place, "{bad:?}");
        assert_eq!(told(&policy, good), "accepted []", "{good:?}");
        assert_ne!(told(&standard, bad), place, "{bad:?}");
    }
}

#[test]
fn the_profiles_of_service_and_rule_hold_together() {
    let named = "profile = \"ecg-home\"";
    let (strict, standard) = ("profile = \"strict\"", "profile = \"standard\"");
    for (service, rule, expected) in [
        ("", "", &["standard"][..]),
        (strict, "", &["strict"]),
        (standard, strict, &["strict"]),
        (strict, standard, &["strict"]),
        (named, "", &["ecg-home"]),
        ("", named, &["ecg-home"]),
        (named, named, &["ecg-home"]),
        (strict, named, &["strict", "ecg-home"]),
        (named, standard, &["standard", "ecg-home"]),
    ] {
        let policy = policy(service, rule);
        let names = policy.rules[0].profiles.iter().map(|p| p.name.as_str());
        assert_eq!(names.collect::<Vec<_>>(), expected, "{service} {rule}");
    }
}

/// The smallest example with the example profile, as the relay gets it.
fn policy(of_service: &str, of_rule: &str) -> hl7::Policy {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/examples");
    let read = |name: &str| std::fs::read_to_string(examples.join(name)).unwrap();
    let main = read("minimal/lazaret.toml")
        .replace(
            "protocol = \"hl7\"",
            &format!("protocol = \"hl7\"\n{of_service}"),
        )
        .replace(
            "to = [\"his-results\"]",
            &format!("to = [\"his-results\"]\n{of_rule}"),
        );
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("wireguard.key");
    std::fs::write(&key, format!("{}E=\n", "A".repeat(42))).unwrap();
    std::fs::set_permissions(key, PermissionsExt::from_mode(0o600)).unwrap();
    let source = |path: &str, text| Source {
        path: path.into(),
        text,
    };
    let sources = [
        source("lazaret.toml", main),
        source("conf.d/ecg-home.toml", read("profiles/ecg-home.toml")),
    ];
    let config = Config::from_sources(directory.path(), &sources).unwrap();
    let (device, service) = ("ecg-1".parse().unwrap(), "his-results".parse().unwrap());
    let now = "2026-01-01T12:00:00Z".parse().unwrap();
    let compiled = compile(&config, &device, &service, now).unwrap();
    let json = serde_json::to_vec(&compiled).unwrap();
    let received: ConnectionPolicy = serde_json::from_slice(&json).unwrap();
    assert_eq!(received, compiled);
    let ProtocolPolicy::Hl7(policy) = received.protocol else {
        panic!("not HL7")
    };
    policy
}

const MESSAGE: &str = "MSH|^~\\&|ECG|HOME|HIS|HOSP|20260101120000||ORU^R01^ORU_R01|1|P|2.5.1||||||8859/1\r\
    PID|1||12345678^^^HOSP^PI||DOE^JO||19800101|F\r\
    PV1|1|O|||||||||||||||||V123\r\
    OBR|1||9|11524-6^ECG^LN|||20260101115900||||||||||||||||||F\r\
    OBX|1|NM|8867-4^Heart rate^LN||72|/min^^UCUM|||||F|||20260101115900\r\
    NTE|1||fine\r\
    OBX|2|NM|8480-6^Systolic^LN||121|mm[Hg]^^UCUM|||||F|||20260101115900\r";

/// What the configuration knows of segments is what the grammar knows; `UPDATE=1` writes it anew.
#[test]
fn the_configuration_knows_the_segments_of_the_grammar() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/src/data/segments.txt");
    let written = std::fs::read_to_string(&path).unwrap();
    let head: String = (written.lines().filter(|line| line.starts_with('#')))
        .map(|line| format!("{line}\n"))
        .collect();
    let mut segments: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for version in Version::all() {
        for segment in version.segments() {
            let fields = segments.entry(segment.id().to_string()).or_default();
            for (index, field) in segment.fields().iter().enumerate() {
                let data_type = version.data_type(field.data_type).unwrap();
                let count = match data_type.kind() {
                    DataKind::Primitive(_) => 1,
                    DataKind::Composite => data_type.components().len(),
                    DataKind::Opaque => 0,
                };
                match fields.get_mut(index) {
                    None => fields.push(count),
                    Some(most) if *most == 0 || count == 0 => *most = 0,
                    Some(most) => *most = count.max(*most),
                }
            }
        }
    }
    segments.retain(|name, _| !name.starts_with('Z'));
    let mut known = head;
    for (name, fields) in &segments {
        let fields: Vec<String> = fields.iter().map(ToString::to_string).collect();
        known.push_str(&format!("{name} {}\n", fields.join(" ")));
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &known).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), known);
}
