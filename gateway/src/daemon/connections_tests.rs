//! Connections against a registry, a configuration and their bounds.

use lazaret_config::Source;

use super::*;
use crate::registry::{By, Change};

const TEXT: &str = r#"
schema = 1
[gateway]
name = "test"
[tunnel.wireguard]
listen = "[::]:51820"
interface = "lz0"
private_key_file = "wireguard.key"
networks = ["10.64.0.0/16"]
[hospital]
interface = "lan0"
mode = "snat"
[limits]
connections = 4
connections_per_device = 3
[service.his]
address = "10.20.2.10:2575"
protocol = "hl7"
[service.console]
address = "10.20.0.5"
ports = ["tcp/3389"]
[device.ecg-1]
wireguard = "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
addresses = ["10.64.0.1"]
roles = ["ecg"]
hl7_sender = "ECG^CARDIO"
[device.ecg-2]
wireguard = "AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
addresses = ["10.64.0.2"]
roles = ["ecg"]
hl7_sender = "ECG^CARDIO"
[device.ws-1]
wireguard = "AwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
addresses = ["10.64.0.3"]
roles = ["desk"]
[rule.results]
from = ["role:ecg"]
to = ["his"]
hl7 = { send = ["ORU^R01"] }
limit = { connections = 2 }
[rule.consoles]
from = ["role:desk"]
to = ["console"]
"#;

pub(in crate::daemon) fn config() -> Config {
    config_of(TEXT)
}

fn config_of(text: &str) -> Config {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("wireguard.key");
    std::fs::write(&key, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAEA=\n").unwrap();
    let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&key, owner_only).unwrap();
    let source = Source {
        path: "lazaret.toml".into(),
        text: text.to_owned(),
    };
    Config::from_sources(directory.path(), &[source]).unwrap()
}

pub(in crate::daemon) struct World {
    config: Config,
    registry: Registry,
    pub(in crate::daemon) connections: Connections,
}

impl World {
    pub(in crate::daemon) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            config: config(),
            registry: Registry::open(directory.path(), Timestamp::UNIX_EPOCH, false).unwrap(),
            connections: Connections::default(),
        }
    }

    pub(in crate::daemon) fn admit(
        &mut self,
        from: &str,
        to: &str,
    ) -> Result<ConnectionId, Unwelcome> {
        let flow = Flow {
            source: from.parse().unwrap(),
            destination: to.parse().unwrap(),
        };
        let wall = Timestamp::UNIX_EPOCH;
        let now = Instant::now();
        let live = [Kind::RelayHl7(0), Kind::RelayDicom(0)];
        self.connections
            .admit(flow, &self.config, &self.registry, &live, (now, wall))
    }

    fn stand(&mut self, device: &str, standing: Standing) {
        let device = device.parse().unwrap();
        self.registry.hold(Change {
            mark: 1,
            device,
            before: Standing::Active,
            after: standing,
            why: String::new(),
            by: By {
                uid: 0,
                name: "root".to_owned(),
            },
            at: Timestamp::UNIX_EPOCH,
        });
    }
}

pub(in crate::daemon) const HIS: &str = "10.20.2.10:2575";

//= C3
//= C5
#[test]
fn only_a_device_with_a_rule_for_an_inspected_service_is_let_in() {
    let mut world = World::new();
    let id = world.admit("10.64.0.1", HIS).unwrap();
    let connection = world.connections.get(id).unwrap();
    assert_eq!(connection.device.to_string(), "ecg-1");
    assert_eq!(connection.relay, Kind::RelayHl7(0));
    for (from, to, why) in [
        ("10.64.0.9", HIS, Unwelcome::UnknownSource),
        ("10.64.0.1", "10.20.2.10:2576", Unwelcome::UnknownService),
        ("10.64.0.3", "10.20.0.5:3389", Unwelcome::UnknownService),
        ("10.64.0.3", HIS, Unwelcome::NoRule),
    ] {
        assert_eq!(world.admit(from, to), Err(why));
    }
    assert_eq!(world.connections.len(), 1);
}

#[test]
fn who_was_shut_out_is_let_in_again_when_released() {
    let mut world = World::new();
    for standing in [Standing::Quarantined, Standing::Revoked] {
        world.stand("ecg-1", standing);
        let refused = Unwelcome::Standing(standing.as_str());
        assert_eq!(world.admit("10.64.0.1", HIS), Err(refused));
        assert!(world.admit("10.64.0.2", HIS).is_ok(), "others may");
        world.stand("ecg-1", Standing::Active);
        let id = world.admit("10.64.0.1", HIS).unwrap();
        world.connections.remove(id);
        world.connections.take_of(Kind::RelayHl7(0));
    }
}

//= C7
#[test]
fn bounds_refuse_one_more_and_take_the_next_when_one_is_gone() {
    let mut world = World::new();
    let first = world.admit("10.64.0.1", HIS).unwrap();
    world.admit("10.64.0.1", HIS).unwrap();
    // The rule's own bound is stricter than that of a device.
    let full = Err(Unwelcome::TooManyOfDevice(2));
    assert_eq!(world.admit("10.64.0.1", HIS), full);
    world.admit("10.64.0.2", HIS).unwrap();
    world.admit("10.64.0.2", HIS).unwrap();
    world.connections.remove(first);
    let again = world.admit("10.64.0.1", HIS).unwrap();
    assert!(again > first, "numbers are not used again");
    world.config.limits.connections = 2;
    world.connections.remove(again);
    assert_eq!(
        world.admit("10.64.0.1", HIS),
        Err(Unwelcome::TooMany(3)),
        "the whole gateway's bound comes first"
    );
}

/// Two devices and a PACS that dial each other.
fn imaging() -> World {
    let device = |number: u8, letter: char| {
        format!(
            "[device.us-{number}]\n\
             wireguard = \"{letter}QAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"\n\
             addresses = [\"10.64.1.{number}\"]\n\
             roles = [\"us\"]\n\
             ae_title = \"US{number}\"\n\
             dicom_port = 11112\n"
        )
    };
    let text = TEXT
        .replace("mode = \"snat\"", "mode = \"routed\"")
        .replace(
            "[limits]\nconnections = 4\nconnections_per_device = 3\n",
            "[limits]\nconnections = 8\nconnections_per_device = 2\nconnections_to_device = 3\n",
        )
        + "[service.pacs]\naddress = \"10.20.1.10:104\"\nprotocol = \"dicom\"\ncalled_ae = \"PACS1\"\n"
        + &device(1, 'B')
        + &device(2, 'C')
        + "[rule.images]\nfrom = [\"role:us\"]\nto = [\"pacs\"]\ndicom = { allow = [\"C-ECHO\"] }\n"
        + "[rule.orders]\nfrom = [\"pacs\"]\nto = [\"role:us\"]\ndicom = { allow = [\"C-ECHO\"] }\n";
    World {
        config: config_of(&text),
        ..World::new()
    }
}

//= C7
#[test]
fn what_services_open_uses_up_nothing_of_a_device_and_the_reverse() {
    const PACS: (&str, &str) = ("10.20.1.10", "10.20.1.10:104");
    let (us_1, us_2) = (
        ("10.64.1.1", "10.64.1.1:11112"),
        ("10.64.1.2", "10.64.1.2:11112"),
    );
    let mut world = imaging();
    for _ in 0..3 {
        let id = world.admit(PACS.0, us_1.1).unwrap();
        assert_eq!(world.connections.get(id).unwrap().device.as_str(), "us-1");
    }
    let full = Err(Unwelcome::TooManyToDevice(3));
    assert_eq!(world.admit(PACS.0, us_1.1), full);
    // The device has all of its own, and no more.
    for _ in 0..2 {
        world.admit(us_1.0, PACS.1).unwrap();
    }
    let full = Err(Unwelcome::TooManyOfDevice(2));
    assert_eq!(world.admit(us_1.0, PACS.1), full);
    // Services leave half of the gateway to devices.
    world.admit(PACS.0, us_2.1).unwrap();
    let full = Err(Unwelcome::TooManyToDevices(4));
    assert_eq!(world.admit(PACS.0, us_2.1), full);
    world.admit(us_2.0, PACS.1).unwrap();
    let id = world.admit(us_2.0, PACS.1).unwrap();
    assert_eq!(world.connections.len(), 8);
    assert_eq!(world.admit(us_2.0, PACS.1), Err(Unwelcome::TooMany(8)));
    // And a device that has all of its own leaves those of services to them.
    world.connections = Connections::default();
    assert!(world.connections.get(id).is_none());
    for _ in 0..2 {
        world.admit(us_1.0, PACS.1).unwrap();
    }
    assert!(world.admit(PACS.0, us_1.1).is_ok());
}

//= C9
#[test]
fn a_relay_that_does_not_end_a_connection_is_found() {
    let mut world = World::new();
    let id = world.admit("10.64.0.1", HIS).unwrap();
    world.admit("10.64.0.2", HIS).unwrap();
    let now = Instant::now();
    assert!(world.connections.deaf(now + DEAF).is_empty());
    world.connections.get_mut(id).unwrap().ended = Some(now);
    assert!(world.connections.deaf(now + DEAF / 2).is_empty());
    let deaf = world.connections.deaf(now + DEAF);
    assert_eq!(deaf.into_iter().collect::<Vec<_>>(), [Kind::RelayHl7(0)]);
    world.connections.remove(id);
    assert!(world.connections.deaf(now + DEAF).is_empty());
}

#[test]
fn subjects_are_never_confused() {
    let mut world = World::new();
    let name = |text: &str| -> DeviceName { text.parse().unwrap() };
    let one = world.connections.subject(&name("ecg-1"));
    let two = world.connections.subject(&name("ecg-2"));
    assert_ne!(one, two);
    assert_eq!(world.connections.subject(&name("ecg-1")), one);
    let service = |text: &str| -> ServiceName { text.parse().unwrap() };
    let at: SocketAddr = "10.20.1.10:104".parse().unwrap();
    let moved: SocketAddr = "10.20.1.11:104".parse().unwrap();
    let there = world
        .connections
        .exchange(&name("ecg-2"), &service("pacs"), at);
    for other in [(name("ecg-1"), "pacs"), (name("ecg-2"), "his")] {
        let elsewhere = world.connections.exchange(&other.0, &service(other.1), at);
        assert_ne!(elsewhere, there);
    }
    let elsewhere = world
        .connections
        .exchange(&name("ecg-2"), &service("pacs"), moved);
    assert_ne!(elsewhere, there, "another destination of the same name");
    assert_eq!(
        world
            .connections
            .exchange(&name("ecg-2"), &service("pacs"), at),
        there
    );
    world.config.devices.remove(&name("ecg-1"));
    world.connections.keep_subjects(&world.config);
    assert_eq!(world.connections.subject(&name("ecg-2")), two);
    let again = world.connections.subject(&name("ecg-1"));
    assert!(again != one && again != two);
}

#[test]
fn whoever_is_unwelcome_is_told_why() {
    use crate::audit::told;
    for (why, code) in [
        (Unwelcome::Draining, "gateway-draining"),
        (Unwelcome::NotSteered, "not-steered"),
        (Unwelcome::UnknownSource, "device-unknown"),
        (Unwelcome::Standing("quarantined"), "device-quarantined"),
        (Unwelcome::UnknownService, "service-unknown"),
        (Unwelcome::NoRule, "no-rule"),
        (Unwelcome::TooManyOfDevice(2), "too-many-connections"),
        (Unwelcome::TooManyToDevice(2), "too-many-connections"),
        (Unwelcome::TooManyToDevices(2), "gateway-full"),
        (Unwelcome::TooMany(2), "gateway-full"),
    ] {
        let told = told::of_connection(&why.to_string());
        assert_eq!(told.unwrap().as_str(), code, "{why}");
    }
}

#[test]
fn every_wrong_token_has_its_own_words() {
    use crate::registry::token::Refused::{Late, Name, Revoked, Serial, Unknown, Used};
    for (why, code) in [
        (Unknown, "token-unknown"),
        (Late, "token-late"),
        (Used, "token-used"),
        (Revoked, "token-revoked"),
        (Serial, "token-serial"),
        (Name, "token-name"),
    ] {
        let told = crate::audit::told::of_enrolment(&why.to_string());
        assert_eq!(told.unwrap().as_str(), code, "{why}");
    }
}
