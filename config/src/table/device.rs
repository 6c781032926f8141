//! `[device.NAME]`: something or someone outside, known by its key or, behind a router, by its address.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use ipnet::IpNet;

use crate::field::basic::FilePath;
use crate::field::dicom::AeTitle;
use crate::field::hl7::{Charset, DeviceId, Patient, Sender};
use crate::field::key::PublicKey;
use crate::field::quantity::Keepalive;
use crate::model::{Device, Identity, Origin};
use crate::name::{DeviceName, RoleName};
use crate::problem::{At, Fault, Place};
use crate::section::{Keys, Section};

pub(crate) const KEYS: Keys = Keys {
    table: "[device.NAME]",
    known: &[
        "wireguard",
        "certificate",
        "via",
        "addresses",
        "networks",
        "roles",
        "preshared_key_file",
        "keepalive",
        "endpoint",
        "hl7_sender",
        "ae_title",
        "dicom_port",
        "hospital_port",
        "patients",
        "device_ids",
        "default_charset",
    ],
    later: &[(
        "quic",
        "devices with `certificate = true` come through QUIC",
    )],
};

/// The table as it is written.
pub(crate) struct RawDevice {
    pub(crate) header: Place,
    pub(crate) wireguard: Option<At<PublicKey>>,
    pub(crate) certificate: Option<Place>,
    pub(crate) via: Option<At<DeviceName>>,
    pub(crate) preshared_key_file: Option<At<FilePath>>,
    pub(crate) addresses: Vec<At<IpAddr>>,
    pub(crate) networks: Vec<At<IpNet>>,
    pub(crate) roles: Vec<At<RoleName>>,
    /// Whether the key is there, right or wrong.
    pub(crate) has_sender: bool,
    /// Whether the key is there, right or wrong.
    pub(crate) has_title: bool,
    /// Whether the key is there, right or wrong.
    pub(crate) has_patients: bool,
    keepalive: u16,
    endpoint: Option<SocketAddr>,
    senders: Vec<(String, String)>,
    pub(crate) ae_title: Option<String>,
    pub(crate) dicom_port: Option<u16>,
    pub(crate) hospital_port: Option<At<u16>>,
    patients: Vec<String>,
    device_ids: Vec<String>,
    default_charset: String,
}

pub(crate) fn read(section: &Section<'_>) -> RawDevice {
    let senders = section.one_or_more::<Sender>("hl7_sender", "leave the key out if it sends none");
    let patients = section.list::<Patient>("patients", "leave the key out if no rule binds them");
    let ids = section.list::<DeviceId>("device_ids", "leave the key out to allow any");
    let charset = section.or("default_charset", Charset("ASCII".to_owned()));
    identified_once(section);
    RawDevice {
        header: section.header,
        wireguard: section.optional("wireguard"),
        certificate: certificate(section),
        via: section.optional("via"),
        preshared_key_file: section.optional("preshared_key_file"),
        addresses: one_of_each_family(section, section.required_list("addresses")),
        networks: section.list_or_empty("networks"),
        roles: section.list_or_empty("roles"),
        has_sender: section.has("hl7_sender"),
        has_title: section.has("ae_title"),
        has_patients: section.has("patients"),
        keepalive: section.or("keepalive", Keepalive(0)).0,
        endpoint: section.optional("endpoint").map(|at| at.value),
        senders: senders
            .into_iter()
            .map(|at| (at.value.0, at.value.1))
            .collect(),
        ae_title: section.optional::<AeTitle>("ae_title").map(|at| at.value.0),
        dicom_port: section.within("dicom_port", 1..=u16::MAX),
        hospital_port: hospital_port(section),
        patients: patients.into_iter().map(|at| at.value.0).collect(),
        device_ids: ids.into_iter().map(|at| at.value.0).collect(),
        default_charset: charset.0,
    }
}

/// What is dialled there must be somewhere, and known by a name.
fn hospital_port(section: &Section<'_>) -> Option<At<u16>> {
    let place = section.place_of("hospital_port")?;
    for needed in ["dicom_port", "ae_title"] {
        if !section.has(needed) {
            let fault = Fault::new(format!("`hospital_port` needs `{needed}`"));
            let help = "associations to this port go on to the device's own port and AE title";
            section.report("hospital_port", fault.help(help));
        }
    }
    let value = section.within("hospital_port", 1..=u16::MAX)?;
    Some(At { place, value })
}

/// Where `certificate = true` stands. `false` would say nothing.
fn certificate(section: &Section<'_>) -> Option<Place> {
    let said = section.optional::<bool>("certificate")?;
    if !said.value {
        let fault = Fault::new("`certificate` is true, or left out");
        section.report("certificate", fault);
    }
    said.value.then_some(said.place)
}

/// A device is its key or its certificate, or it is behind a router.
//= C5
fn identified_once(section: &Section<'_>) {
    let (key, certificate, via) = (
        section.has("wireguard"),
        section.has("certificate"),
        section.has("via"),
    );
    let needs_key = |keys: &[&str], help: &str| {
        for key in keys {
            if let Some(place) = section.place_of_key(key) {
                let fault = Fault::new(format!("`{key}` needs `wireguard`"));
                section.problems().report(fault.help(help).at(place));
            }
        }
    };
    if (key || certificate) && via {
        let one = if key { "wireguard" } else { "certificate" };
        let place = section.place_of_key("via").unwrap_or(section.header);
        let fault = Fault::new(format!("a device has either `{one}` or `via`"))
            .help("a device with its own key is not identified by its router");
        section.problems().report(fault.at(place));
    } else if key && certificate {
        let place = section
            .place_of_key("certificate")
            .unwrap_or(section.header);
        let fault = Fault::new("a device has either `wireguard` or `certificate`")
            .help("its address is in one of the tunnels: who comes through both is two devices with the same roles");
        section.problems().report(fault.at(place));
    } else if via {
        needs_key(
            &["preshared_key_file", "keepalive", "endpoint", "networks"],
            "a device behind a router has no tunnel of its own",
        );
    } else if certificate {
        needs_key(
            &["preshared_key_file", "keepalive", "endpoint", "networks"],
            "a device with a certificate comes through QUIC, alone",
        );
    } else if !key && !section.has("quic") {
        let fault = Fault::new(format!(
            "neither `wireguard` nor `certificate` nor `via` in {}",
            section.title
        ))
        .help("a device is known by its key or its certificate, or by its address behind a router");
        section.problems().report(fault.at(section.header));
    }
}

fn one_of_each_family(section: &Section<'_>, addresses: Vec<At<IpAddr>>) -> Vec<At<IpAddr>> {
    for (number, at) in addresses.iter().enumerate() {
        let mut before = addresses.iter().take(number);
        if before.any(|other| other.value.is_ipv4() == at.value.is_ipv4()) {
            let fault = Fault::new("a device has at most one address of each family");
            section.problems().report(fault.at(at.place));
        }
    }
    addresses
}

impl RawDevice {
    /// `None` only if a problem was reported.
    pub(crate) fn into_model(self, origin: Origin, dir: &Path) -> Option<Device> {
        let identity = match (self.wireguard, self.certificate, self.via) {
            (Some(key), None, None) => Identity::WireGuard {
                public_key: key.value.0,
                older_keys: Vec::new(),
                preshared_key_file: self.preshared_key_file.map(|at| dir.join(at.value.0)),
                keepalive: self.keepalive,
                endpoint: self.endpoint,
            },
            (None, Some(_), None) => Identity::Certificate,
            (None, None, Some(router)) => Identity::Via(router.value),
            _ => return None,
        };
        Some(Device {
            origin,
            identity,
            addresses: self.addresses.into_iter().map(|at| at.value).collect(),
            networks: self.networks.into_iter().map(|at| at.value).collect(),
            roles: self.roles.into_iter().map(|at| at.value).collect(),
            hl7_senders: self.senders,
            ae_title: self.ae_title,
            dicom_port: self.dicom_port,
            hospital_port: self.hospital_port.map(|at| at.value),
            patients: self.patients,
            device_ids: self.device_ids,
            default_charset: self.default_charset,
        })
    }
}
