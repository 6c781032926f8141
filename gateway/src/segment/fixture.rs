//! Small configurations for tests, made by hand so that they show every field that segmentation reads.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use lazaret_config::{
    Config, Device, HospitalMode, Identity, Limit, Origin, Party, Port, Priority, Rule, Service,
    ServiceProtocol, Source, Transport,
};

/// A gateway with networks and no devices. `lz0` is the tunnel, `lan0` the hospital.
pub(crate) fn empty(mode: HospitalMode) -> Config {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("wireguard.key");
    std::fs::write(&key, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAEA=\n").unwrap();
    let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&key, owner_only).unwrap();
    let source = Source {
        path: "lazaret.toml".into(),
        text: EMPTY.to_owned(),
    };
    let mut config = Config::from_sources(directory.path(), &[source]).unwrap();
    config.hospital.mode = mode;
    config
}

/// What a table `[appliance]` with this in it says.
pub(crate) fn appliance(text: &str) -> Option<lazaret_config::Appliance> {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("wireguard.key");
    std::fs::write(&key, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAEA=\n").unwrap();
    let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&key, owner_only).unwrap();
    let source = Source {
        path: "lazaret.toml".into(),
        text: format!("{EMPTY}[appliance]\n{text}"),
    };
    let config = Config::from_sources(directory.path(), &[source]).unwrap();
    config.appliance
}

const EMPTY: &str = r#"
schema = 1
[gateway]
name = "test"
[tunnel.wireguard]
listen = "[::]:51820"
interface = "lz0"
private_key_file = "wireguard.key"
networks = ["10.64.0.0/16", "fd64::/64"]
[hospital]
interface = "lan0"
mode = "snat"
"#;

/// An ultrasound that has images moved to itself and another that is only dialled; an archive that dials both.
pub(crate) fn archive(mode: HospitalMode) -> Config {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("wireguard.key");
    std::fs::write(&key, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAEA=\n").unwrap();
    let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&key, owner_only).unwrap();
    let mut text = format!("{EMPTY}{ARCHIVE}");
    if mode == HospitalMode::Snat {
        text = text.replace("mode =", "address = [\"10.20.0.1\", \"fd20::1\"]\nmode =");
        text = text.replace("= 11112", "= 11112\nhospital_port = 11207");
        text = text.replace("= 104 #", "= 104\nhospital_port = 11208");
    } else {
        text = text.replace("snat", "routed");
    }
    let source = Source {
        path: "lazaret.toml".into(),
        text,
    };
    Config::from_sources(directory.path(), &[source]).unwrap()
}

const ARCHIVE: &str = r#"
[service.pacs]
address = "10.20.1.10:104"
protocol = "dicom"
called_ae = "PACS1"
[service.pacs-v6]
address = "[fd20::10]:104"
protocol = "dicom"
called_ae = "PACS6"
[device.us-1]
wireguard = "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
addresses = ["10.64.0.1", "fd64::1"]
roles = ["ultrasound"]
ae_title = "US1"
dicom_port = 11112
[device.us-2]
wireguard = "AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
addresses = ["10.64.0.2", "fd64::2"]
ae_title = "US2"
dicom_port = 104 #
[device.us-3]
wireguard = "AwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
addresses = ["10.64.0.3", "fd64::3"]
roles = ["ultrasound"]
ae_title = "US3"
[rule.retrieves]
from = ["role:ultrasound"]
to = ["pacs", "pacs-v6"]
dicom = { allow = ["C-MOVE"], move_destinations = ["US1", "US3"] }
[rule.pushes]
from = ["pacs"]
to = ["device:us-2"]
dicom = { allow = ["C-ECHO", "C-STORE"] }
"#;

/// Two ECGs that send results, a workstation that uses a console; `his` and `console` in both families.
pub(crate) fn small(mode: HospitalMode) -> Config {
    let mut config = empty(mode);
    for (name, v4, v6, role) in [
        ("ecg-1", "10.64.0.1", "fd64::1", "ecg"),
        ("ecg-2", "10.64.0.2", "fd64::2", "ecg"),
        ("ws-1", "10.64.0.3", "fd64::3", "radiologist"),
    ] {
        device(&mut config, name, &[v4, v6], &[role]);
    }
    for (suffix, address) in [("", "10.20.1.10"), ("-v6", "fd20::10")] {
        hl7(&mut config, &format!("his{suffix}"), address, 2575);
        plain(
            &mut config,
            &format!("console{suffix}"),
            address,
            &[(Transport::Tcp, 3389)],
        );
    }
    rule(&mut config, "results", &["role:ecg"], &["his", "his-v6"]);
    rule(
        &mut config,
        "consoles",
        &["role:radiologist"],
        &["console", "console-v6"],
    );
    config
}

/// Adds a device with a key.
pub(crate) fn device(config: &mut Config, name: &str, addresses: &[&str], roles: &[&str]) {
    let device = Device {
        origin: origin(),
        identity: Identity::WireGuard {
            public_key: [0; 32],
            older_keys: Vec::new(),
            preshared_key_file: None,
            keepalive: 0,
            endpoint: None,
        },
        addresses: addresses.iter().map(|a| ip(a)).collect(),
        networks: Vec::new(),
        roles: roles.iter().map(|role| role.parse().unwrap()).collect(),
        hl7_senders: Vec::new(),
        ae_title: None,
        dicom_port: None,
        hospital_port: None,
        patients: Vec::new(),
        device_ids: Vec::new(),
        default_charset: "ASCII".to_owned(),
    };
    config.devices.insert(name.parse().unwrap(), device);
}

/// Adds an inspected service.
pub(crate) fn hl7(config: &mut Config, name: &str, address: &str, port: u16) {
    let protocol = ServiceProtocol::Hl7 {
        mllp_release_2: false,
        port,
        profile: None,
        shadow: false,
    };
    service(config, name, address, protocol);
}

/// Adds a forwarded service.
pub(crate) fn plain(config: &mut Config, name: &str, address: &str, ports: &[(Transport, u16)]) {
    let ports = (ports.iter())
        .map(|(transport, number)| Port {
            transport: *transport,
            number: *number,
        })
        .collect();
    service(config, name, address, ServiceProtocol::Plain { ports });
}

fn service(config: &mut Config, name: &str, address: &str, protocol: ServiceProtocol) {
    let service = Service {
        origin: origin(),
        address: ip(address),
        protocol,
    };
    config.services.insert(name.parse().unwrap(), service);
}

/// Adds a rule; parties as in the file.
pub(crate) fn rule(config: &mut Config, name: &str, from: &[&str], to: &[&str]) {
    let rule = Rule {
        origin: origin(),
        direction: lazaret_config::Direction::FromDevices,
        parties: from.iter().map(|text| party(text)).collect(),
        services: to.iter().map(|name| name.parse().unwrap()).collect(),
        hl7: None,
        dicom: None,
        limit: Limit::default(),
        priority: Priority::Normal,
        profile: None,
        release: None,
        shadow: false,
        hours: None,
        until: None,
    };
    config.rules.insert(name.parse().unwrap(), rule);
}

/// `role:NAME` or `device:NAME`.
pub(crate) fn party(text: &str) -> Party {
    match text.split_once(':').unwrap() {
        ("role", name) => Party::Role(name.parse().unwrap()),
        (_, name) => Party::Device(name.parse().unwrap()),
    }
}

/// An address and port.
pub(crate) fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// An address.
pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn origin() -> Origin {
    Origin {
        file: PathBuf::new(),
        line: 1,
    }
}
