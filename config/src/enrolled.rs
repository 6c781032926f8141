//! Devices that stand in no file, beside those that do.
//!
//! In: a configuration and what the registry knows. Out: one configuration, and who could not be in it.
//! The files win: whoever contradicts them stays out.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use crate::check::is_reserved;
use crate::decide::Index;
use crate::field::dicom::AeTitle;
use crate::field::hl7::{Patient, Sender};
use crate::field::key::PublicKey;
use crate::model::{Config, Device, Identity, Origin, Party, Role};
use crate::name::{DeviceName, RoleName, RuleName};
use crate::section::Text;

/// A device that stands in no file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolled {
    /// What is said instead of file and line.
    pub origin: &'static str,
    /// By what it is known, and so through which tunnel it comes.
    pub credential: Credential,
    /// Its tunnel addresses.
    pub addresses: Vec<IpAddr>,
    /// Its roles.
    pub roles: BTreeSet<RoleName>,
    /// MSH-3 and MSH-4 that are its own.
    pub hl7_sender: Option<(String, String)>,
    /// The AE title that is its own.
    pub ae_title: Option<String>,
    /// Its patients; `hmac:` values.
    pub patients: Vec<String>,
}

/// By what a device is known that stands in no file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// Its WireGuard key.
    WireGuard {
        /// Its key.
        public_key: [u8; 32],
        /// Its keys before, which are taken too while the key is changed.
        older_keys: Vec<[u8; 32]>,
    },
    /// The certificate that the gateway's own authority issued to its name.
    Certificate,
}

impl Credential {
    /// A WireGuard key, and none before it.
    #[must_use]
    pub fn wireguard(public_key: [u8; 32]) -> Self {
        Self::WireGuard {
            public_key,
            older_keys: Vec::new(),
        }
    }

    fn keys(&self) -> impl Iterator<Item = &[u8; 32]> {
        let (newest, older) = match self {
            Self::WireGuard {
                public_key,
                older_keys,
            } => (Some(public_key), older_keys.as_slice()),
            Self::Certificate => (None, [].as_slice()),
        };
        newest.into_iter().chain(older)
    }

    fn into_identity(self) -> Identity {
        match self {
            Self::WireGuard {
                public_key,
                older_keys,
            } => Identity::WireGuard {
                public_key,
                older_keys,
                preshared_key_file: None,
                keepalive: 0,
                endpoint: None,
            },
            Self::Certificate => Identity::Certificate,
        }
    }
}

/// A text that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidValue(String);

/// What may be said of a device outside of the files, as texts.
impl Enrolled {
    /// A WireGuard public key in base64.
    ///
    /// # Errors
    /// When it is none.
    pub fn public_key_of(text: &str) -> Result<[u8; 32], InvalidValue> {
        value::<PublicKey>(text).map(|key| key.0)
    }

    /// MSH-3 and MSH-4, `ECG^CARDIO`.
    ///
    /// # Errors
    /// When they are none.
    pub fn hl7_sender_of(text: &str) -> Result<(String, String), InvalidValue> {
        value::<Sender>(text).map(|sender| (sender.0, sender.1))
    }

    /// An AE title.
    ///
    /// # Errors
    /// When it is none.
    pub fn ae_title_of(text: &str) -> Result<String, InvalidValue> {
        value::<AeTitle>(text).map(|title| title.0)
    }

    /// A serial number as it stands on a label: 1 to 64 bytes in one line.
    ///
    /// # Errors
    /// When it is none.
    pub fn serial_of(text: &str) -> Result<String, InvalidValue> {
        let good =
            (1..=LONGEST_SERIAL).contains(&text.len()) && !text.chars().any(char::is_control);
        good.then(|| text.to_owned()).ok_or_else(|| {
            InvalidValue(format!(
                "a serial number is 1 to {LONGEST_SERIAL} bytes in one line"
            ))
        })
    }

    /// The hash of a patient, as `lazaret patient hash` makes it.
    ///
    /// # Errors
    /// When it is none.
    pub fn patient_of(text: &str) -> Result<String, InvalidValue> {
        value::<Patient>(text).map(|patient| patient.0)
    }
}

/// Bytes of a serial number.
//= C7
const LONGEST_SERIAL: usize = 64;

fn value<T: Text>(text: &str) -> Result<T, InvalidValue> {
    T::parse(text).map_err(|fault| InvalidValue(fault.message))
}

/// Why a device cannot be beside those in the files.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// A `[device.NAME]` has the name.
    #[error("the files have a device of this name")]
    Name,
    /// A device has the key.
    #[error("device {0} has the same key")]
    Key(DeviceName),
    /// A device has the address.
    #[error("device {0} has the address {1}")]
    Address(DeviceName, IpAddr),
    /// The gateway has the address.
    #[error("{0} is the gateway's own address")]
    Own(IpAddr),
    /// Outside of the networks of its tunnel.
    #[error("the address {0} is in none of the networks of its tunnel")]
    Outside(IpAddr),
    /// Its tunnel is not configured.
    #[error("there is no [tunnel.quic], through which a device with a certificate comes")]
    NoTunnel,
    /// Of a whole network.
    #[error("the address {0} means the network, or all of its hosts")]
    Reserved(IpAddr),
    /// Behind a router.
    #[error("the address {1} is in a network behind {0}")]
    Behind(DeviceName, IpAddr),
    /// Two of a family.
    #[error("a device has at most one address of each family")]
    Families,
    /// A rule binds what the device does not have.
    #[error("rule {rule} binds `{what}`, which the device does not have")]
    Unbound {
        /// Which rule.
        rule: RuleName,
        /// `hl7_sender`, `ae_title` or `patients`.
        what: &'static str,
    },
}

impl Config {
    /// This configuration with devices that stand in no file, as if they did; and those that cannot be there.
    #[must_use]
    pub fn with_enrolled<'e>(
        &self,
        devices: impl IntoIterator<Item = (&'e DeviceName, Enrolled)>,
    ) -> (Self, Vec<(DeviceName, Contradiction)>) {
        let mut config = self.clone();
        let mut out = Vec::new();
        let mut admission = Admission::new(self);
        for (name, device) in devices {
            if let Err(why) = admission.admit(name, &device) {
                out.push((name.clone(), why));
                continue;
            }
            for role in &device.roles {
                if !config.roles.contains_key(role) {
                    config.roles.insert(role.clone(), Role::default());
                }
            }
            config.devices.insert(name.clone(), device.into_model());
        }
        config.index = Index::new(&config.devices, &config.rules);
        (config, out)
    }

    /// The networks of the tunnel through which a device comes; none if there is no such tunnel.
    #[must_use]
    pub fn networks_for(&self, credential: &Credential) -> &[IpNet] {
        match credential {
            Credential::WireGuard { .. } => &self.wireguard.networks,
            Credential::Certificate => self.quic.as_ref().map_or(&[], |quic| &quic.networks),
        }
    }

    /// Whether an address may be that of a device with this credential, but for who else has it.
    ///
    /// # Errors
    /// Why not.
    fn admits_address(
        &self,
        credential: &Credential,
        address: IpAddr,
    ) -> Result<(), Contradiction> {
        if self.tunnel_addresses().any(|own| own == address) {
            return Err(Contradiction::Own(address));
        }
        let networks = self.networks_for(credential);
        let Some(network) = networks.iter().find(|network| network.contains(&address)) else {
            return Err(Contradiction::Outside(address));
        };
        if is_reserved(network, address) {
            return Err(Contradiction::Reserved(address));
        }
        let behind = |device: &Device| device.networks.iter().any(|net| net.contains(&address));
        match self.devices.iter().find(|(_, device)| behind(device)) {
            Some((router, _)) => Err(Contradiction::Behind(router.clone(), address)),
            None => Ok(()),
        }
    }

    /// Whether a device has what the rules bind it to.
    ///
    /// # Errors
    /// Which rule binds what it does not have.
    pub fn binds(&self, name: &DeviceName, device: &Enrolled) -> Result<(), Contradiction> {
        for (rule_name, rule) in &self.rules {
            let about = |party: &Party| match party {
                Party::Role(role) => device.roles.contains(role),
                Party::Device(device) => device == name,
            };
            if !rule.parties.iter().any(about) {
                continue;
            }
            let (hl7, dicom) = (rule.hl7.as_ref(), rule.dicom.as_ref());
            let patients = hl7.is_some_and(|rule| rule.bind_patient)
                || dicom.is_some_and(|rule| rule.bind_patient);
            let needs = [
                (
                    hl7.is_some_and(|rule| rule.bind_sender) && device.hl7_sender.is_none(),
                    "hl7_sender",
                ),
                (
                    dicom.is_some_and(|rule| rule.bind_sender) && device.ae_title.is_none(),
                    "ae_title",
                ),
                (patients && device.patients.is_empty(), "patients"),
            ];
            if let Some((_, what)) = needs.into_iter().find(|(lacks, _)| *lacks) {
                let rule = rule_name.clone();
                return Err(Contradiction::Unbound { rule, what });
            }
        }
        Ok(())
    }
}

impl Enrolled {
    fn into_model(self) -> Device {
        Device {
            origin: Origin {
                file: PathBuf::from(self.origin),
                line: 0,
            },
            identity: self.credential.into_identity(),
            addresses: self.addresses,
            networks: Vec::new(),
            roles: self.roles,
            hl7_senders: self.hl7_sender.into_iter().collect(),
            ae_title: self.ae_title,
            dicom_port: None,
            hospital_port: None,
            patients: self.patients,
            device_ids: Vec::new(),
            default_charset: "ASCII".to_owned(),
        }
    }
}

/// Who is in already, while more are let in.
pub struct Admission<'c> {
    config: &'c Config,
    names: HashSet<DeviceName>,
    keys: HashMap<[u8; 32], DeviceName>,
    addresses: HashMap<IpAddr, DeviceName>,
}

impl<'c> Admission<'c> {
    /// The devices of this configuration are in.
    #[must_use]
    pub fn new(config: &'c Config) -> Self {
        let mut taken = Self {
            config,
            names: config.devices.keys().cloned().collect(),
            keys: HashMap::new(),
            addresses: HashMap::new(),
        };
        for (name, device) in &config.devices {
            if let Identity::WireGuard { public_key, .. } = &device.identity {
                taken.keys.insert(*public_key, name.clone());
            }
            for address in &device.addresses {
                taken.addresses.insert(*address, name.clone());
            }
        }
        taken
    }

    /// Lets a device in, if it may stand beside those that are. It may have no address yet.
    ///
    /// # Errors
    /// Why it may not; then it is not in.
    //= C5
    pub fn admit(&mut self, name: &DeviceName, device: &Enrolled) -> Result<(), Contradiction> {
        if self.names.contains(name) {
            return Err(Contradiction::Name);
        }
        if device.credential == Credential::Certificate && self.config.quic.is_none() {
            return Err(Contradiction::NoTunnel);
        }
        for key in device.credential.keys() {
            if let Some(other) = self.keys.get(key) {
                return Err(Contradiction::Key(other.clone()));
            }
        }
        let of_one = |v4: bool| {
            device
                .addresses
                .iter()
                .filter(|a| a.is_ipv4() == v4)
                .count()
        };
        if of_one(true) > 1 || of_one(false) > 1 {
            return Err(Contradiction::Families);
        }
        for address in &device.addresses {
            if let Some(other) = self.addresses.get(address) {
                return Err(Contradiction::Address(other.clone(), *address));
            }
            self.config.admits_address(&device.credential, *address)?;
        }
        self.names.insert(name.clone());
        for key in device.credential.keys() {
            self.keys.insert(*key, name.clone());
        }
        for address in &device.addresses {
            self.addresses.insert(*address, name.clone());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;
    use crate::Source;

    fn config() -> Config {
        let dir = tempfile::tempdir().unwrap();
        for file in ["wireguard.key", "patient.key"] {
            let path = dir.path().join(file);
            fs::write(&path, "GKVwpUlBqwtTJyFyCdHPzQbYdT0Lhf7Yl9SmI3aV+Xw=").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        let rule = "[rule.results]\nfrom = [\"role:ecg\"]\nto = [\"his\"]\nhl7 = { send = [\"ORU^R01\"] }\n";
        let text = format!("{}\n{rule}", include_str!("../tests/base.toml"));
        let path = Path::new("lazaret.toml").to_owned();
        Config::from_sources(dir.path(), &[Source { path, text }]).unwrap()
    }

    fn name(text: &str) -> DeviceName {
        text.parse().unwrap()
    }

    fn device(key: u8, address: &str) -> Enrolled {
        Enrolled {
            origin: "enrolled",
            credential: Credential::wireguard([key; 32]),
            addresses: vec![address.parse().unwrap()],
            roles: ["ecg".parse().unwrap(), "new".parse().unwrap()].into(),
            hl7_sender: Some(("ECG".to_owned(), "HOME".to_owned())),
            ae_title: Some("NEW".to_owned()),
            patients: vec![format!("hmac:{}", "5f".repeat(32))],
        }
    }

    /// With a key before this one.
    fn older(key: u8, before: [u8; 32], address: &str) -> Enrolled {
        Enrolled {
            credential: Credential::WireGuard {
                public_key: [key; 32],
                older_keys: vec![before],
            },
            ..device(key, address)
        }
    }

    #[test]
    fn they_stand_beside_those_in_the_files() {
        let config = config();
        let wanted = (name("new-1"), device(7, "10.64.1.1"));
        let (merged, out) = config.with_enrolled([(&wanted.0, wanted.1.clone())]);
        assert_eq!(out, []);
        assert_eq!(merged.devices.len(), config.devices.len() + 1);
        assert!(merged.roles.contains_key(&"new".parse().unwrap()));
        let address = "10.64.1.1".parse().unwrap();
        assert_eq!(merged.device_at(address), Some(&wanted.0));
        let party = Party::Role("ecg".parse().unwrap());
        assert!(merged.members(&party).contains(&&wanted.0));
        let (same, _) = config.with_enrolled([]);
        assert_eq!(same, config);
    }

    //= C5
    #[test]
    fn the_files_win() {
        let config = config();
        let first = config.devices.get(&name("ecg-1")).unwrap();
        let Identity::WireGuard { public_key, .. } = first.identity else {
            panic!("ecg-1 has a key");
        };
        let mut same_key = device(1, "10.64.1.1");
        same_key.credential = Credential::wireguard(public_key);
        let mut two = device(2, "10.64.1.2");
        two.addresses.push("10.64.1.3".parse().unwrap());
        let all = [
            (name("ecg-1"), device(3, "10.64.1.1")),
            (name("b"), same_key),
            (name("c"), device(4, "10.64.0.1")),
            (name("d"), device(5, "10.65.0.1")),
            (name("e"), device(6, "10.64.255.254")),
            (name("f"), device(7, "10.64.255.255")),
            (name("g"), two),
            (name("h"), device(8, "10.64.1.9")),
            (name("i"), device(8, "10.64.1.10")),
            (name("j"), device(9, "10.64.1.9")),
            (name("k"), older(10, public_key, "10.64.1.11")),
            (name("l"), older(11, [8; 32], "10.64.1.12")),
            (name("m"), older(12, [13; 32], "10.64.1.13")),
            (name("n"), device(13, "10.64.1.14")),
        ];
        let (merged, out) = config.with_enrolled(all.iter().map(|(n, d)| (n, d.clone())));
        assert_eq!(merged.devices.len(), config.devices.len() + 2);
        let told: Vec<String> = out.iter().map(|(n, why)| format!("{n}: {why}")).collect();
        assert_eq!(
            told,
            [
                "ecg-1: the files have a device of this name",
                "b: device ecg-1 has the same key",
                "c: device ecg-1 has the address 10.64.0.1",
                "d: the address 10.65.0.1 is in none of the networks of its tunnel",
                "e: 10.64.255.254 is the gateway's own address",
                "f: the address 10.64.255.255 means the network, or all of its hosts",
                "g: a device has at most one address of each family",
                "i: device h has the same key",
                "j: device h has the address 10.64.1.9",
                "k: device ecg-1 has the same key",
                "l: device h has the same key",
                "n: device m has the same key",
            ]
        );
    }

    //= C5
    #[test]
    fn a_device_with_a_certificate_lives_in_the_other_tunnel() {
        let mut config = config();
        let certified = |address| Enrolled {
            credential: Credential::Certificate,
            ..device(7, address)
        };
        let wanted = (name("desk-1"), certified("10.65.0.1"));
        let (_, out) = config.with_enrolled([(&wanted.0, wanted.1.clone())]);
        assert_eq!(out, [(name("desk-1"), Contradiction::NoTunnel)]);
        config.quic = Some(crate::Quic {
            listen: "[::]:443".parse().unwrap(),
            interface: "lz-quic".to_owned(),
            networks: vec!["10.65.0.0/24".parse().unwrap()],
            addresses: vec!["10.65.0.254".parse().unwrap()],
            mtu: 1280,
            post_quantum: crate::PostQuantum::Preferred,
            segmentation_offload: true,
            initial_mtu: 1200,
        });
        let all = [
            wanted,
            (name("a"), certified("10.64.1.1")),
            (name("b"), certified("10.65.0.254")),
            (name("c"), certified("10.65.0.1")),
            (name("d"), certified("10.65.0.2")),
            (name("e"), device(7, "10.65.0.3")),
            (name("ecg-1"), certified("10.65.0.4")),
        ];
        let (merged, out) = config.with_enrolled(all.iter().map(|(n, d)| (n, d.clone())));
        let told: Vec<String> = out.iter().map(|(n, why)| format!("{n}: {why}")).collect();
        assert_eq!(
            told,
            [
                "a: the address 10.64.1.1 is in none of the networks of its tunnel",
                "b: 10.65.0.254 is the gateway's own address",
                "c: device desk-1 has the address 10.65.0.1",
                "e: the address 10.65.0.3 is in none of the networks of its tunnel",
                "ecg-1: the files have a device of this name",
            ]
        );
        let desk = merged.devices.get(&name("desk-1")).unwrap();
        assert_eq!(desk.identity, Identity::Certificate);
    }

    #[test]
    fn what_a_rule_binds_must_be_known() {
        let mut config = config();
        let device = device(7, "10.64.1.1");
        assert_eq!(config.binds(&name("new"), &device), Ok(()));
        let lacking = Enrolled {
            hl7_sender: None,
            ..device
        };
        let refused = config.binds(&name("new"), &lacking).unwrap_err();
        let told = "rule results binds `hl7_sender`, which the device does not have";
        assert_eq!(refused.to_string(), told);
        config.rules.clear();
        assert_eq!(config.binds(&name("new"), &lacking), Ok(()));
    }
}
