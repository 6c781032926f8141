//! From the words of an operator to a device that could be.
//!
//! In: texts, and the configuration in the files. Out: a newcomer, or what is wrong. Pure.

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use lazaret_config::{Admission, Config, Enrolled, RoleName};

use super::addresses::{Addresses, Way};
use super::known::{By, DeviceKey, Known, Newcomer, Origin, whole};
use crate::control::message::NewDevice;
use crate::flow::{DeviceName, Standing};

/// What all newcomers of a request have in common.
#[derive(Clone, Debug)]
pub struct Occasion {
    /// One by one, or a list.
    pub origin: Origin,
    /// In the operator's words.
    pub why: String,
    /// Who.
    pub by: By,
    /// When.
    pub at: Timestamp,
}

/// All devices of a request, or everything that is wrong: number of the device, from 0, and what.
///
/// `mark` draws a number by chance.
///
/// # Errors
/// Everything that is wrong with any of them.
pub fn newcomers(
    devices: &[NewDevice],
    occasion: &Occasion,
    files: &Config,
    mut mark: impl FnMut() -> i64,
) -> Result<Vec<Newcomer>, Vec<(usize, String)>> {
    let mut admission = Admission::new(files);
    let (mut all, mut wrong) = (Vec::with_capacity(devices.len()), Vec::new());
    let mut names = HashSet::new();
    for (number, device) in devices.iter().enumerate() {
        // Otherwise the files would seem to have it.
        if !names.insert(&device.name) {
            let why = format!("the list has a device {} before", device.name);
            wrong.push((number, why));
            continue;
        }
        match newcomer(device, occasion, files, &mut admission) {
            Ok((name, known)) => all.push(Newcomer {
                name,
                known,
                mark: mark(),
                by: occasion.by.clone(),
            }),
            Err(why) => wrong.push((number, why)),
        }
    }
    if wrong.is_empty() {
        Ok(all)
    } else {
        Err(wrong)
    }
}

/// From where newcomers get addresses beside the devices of the files.
#[must_use]
pub fn addresses(files: &Config) -> Addresses {
    let mut taken: HashSet<IpAddr> = files.tunnel_addresses().collect();
    let mut closed = Vec::new();
    for device in files.devices.values() {
        taken.extend(&device.addresses);
        closed.extend(&device.networks);
    }
    for network in files.tunnel_networks() {
        taken.extend([network.network(), network.broadcast()]);
    }
    let quic = files.quic.as_ref().map_or(&[][..], |quic| &quic.networks);
    let of_quic = |part: &IpNet| quic.iter().any(|network| network.contains(part));
    let (certified, keyed): (Vec<IpNet>, Vec<IpNet>) =
        files.enrol.addresses.iter().copied().partition(of_quic);
    let certified = if certified.is_empty() {
        quic
    } else {
        &certified
    };
    let certified = certified.iter().map(|network| (Way::Certificate, *network));
    let keyed = keyed.into_iter().map(|network| (Way::Key, network));
    Addresses::new(&certified.chain(keyed).collect::<Vec<_>>(), taken, closed)
}

fn newcomer(
    device: &NewDevice,
    occasion: &Occasion,
    files: &Config,
    admission: &mut Admission<'_>,
) -> Result<(DeviceName, Known), String> {
    let name: DeviceName = device.name.parse().map_err(|e| format!("`name`: {e}"))?;
    let (keys, certificates) = credential(device)?;
    let mut addresses = Vec::new();
    for text in &device.addresses {
        addresses.push(text.parse().map_err(|_| "`addresses`: not an IP address")?);
    }
    let patients = device
        .patients
        .iter()
        .map(|text| Enrolled::patient_of(text));
    let known = Known {
        origin: occasion.origin,
        standing: if device.pending {
            Standing::Pending
        } else {
            Standing::Active
        },
        approved: !device.pending,
        removed: false,
        why: occasion.why.clone(),
        since: whole(occasion.at),
        roles: roles(&device.roles, files)?,
        keys,
        certificates,
        addresses,
        serial: serial(device.serial.as_deref())?,
        patients: patients
            .collect::<Result<_, _>>()
            .map_err(|e| format!("`patients`: {e}"))?,
        hl7_sender: device.hl7_sender.clone(),
        ae_title: device.ae_title.clone(),
        created: whole(occasion.at),
        created_by: occasion.by.name.clone(),
        expires: device
            .expires
            .as_deref()
            .map(|text| moment(text, occasion.at))
            .transpose()?,
    };
    if let Some(sender) = &known.hl7_sender {
        Enrolled::hl7_sender_of(sender).map_err(|e| format!("`hl7_sender`: {e}"))?;
    }
    if let Some(title) = &known.ae_title {
        Enrolled::ae_title_of(title).map_err(|e| format!("`ae_title`: {e}"))?;
    }
    let enrolled = known
        .enrolled(occasion.at)
        .ok_or("`wireguard` is missing")?;
    admission
        .admit(&name, &enrolled)
        .map_err(|e| e.to_string())?;
    files.binds(&name, &enrolled).map_err(|e| e.to_string())?;
    Ok((name, known))
}

/// Its key, or that of its certificate.
fn credential(device: &NewDevice) -> Result<(Vec<DeviceKey>, Vec<String>), String> {
    let Some(fingerprint) = &device.certificate else {
        let key = device.wireguard.parse();
        let wireguard = key.map_err(|e| format!("`wireguard`: {e}"))?;
        let until = None;
        return Ok((vec![DeviceKey { wireguard, until }], Vec::new()));
    };
    if !device.wireguard.is_empty() {
        return Err("a device has a WireGuard key or a certificate, not both".to_owned());
    }
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if fingerprint.len() != FINGERPRINT || !fingerprint.bytes().all(is_hex) {
        return Err("`certificate` is not the fingerprint of a key".to_owned());
    }
    Ok((Vec::new(), vec![fingerprint.clone()]))
}

/// A role that nobody names is a slip of the pen.
fn roles(texts: &[String], files: &Config) -> Result<BTreeSet<RoleName>, String> {
    if texts.is_empty() {
        return Err("`roles` is empty: without a role a device reaches nothing".to_owned());
    }
    let mut roles = BTreeSet::new();
    for text in texts {
        let role: RoleName = text.parse().map_err(|e| format!("`roles`: {e}"))?;
        if !files.roles.contains_key(&role) {
            return Err(format!("there is no role `{role}` in the files"));
        }
        roles.insert(role);
    }
    Ok(roles)
}

/// The serial number on a label, if there is one.
///
/// # Errors
/// When it is none.
pub fn serial(text: Option<&str>) -> Result<Option<String>, String> {
    let serial = text.map(Enrolled::serial_of).transpose();
    serial.map_err(|e| format!("`serial`: {e}"))
}

/// The end of a day, or a moment; not in the past.
///
/// # Errors
/// When it is neither, or over.
pub fn moment(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let day = |date: Date| {
        let next = date.tomorrow().ok()?;
        Some(next.to_zoned(TimeZone::UTC).ok()?.timestamp())
    };
    let parsed = match text.parse::<Date>() {
        Ok(date) if text.len() == DATE => day(date),
        Ok(_) | Err(_) => text.parse().ok(),
    };
    let moment =
        parsed.ok_or("`expires` is a day like 2027-03-31 or a moment like 2027-03-31T12:00:00Z")?;
    if moment <= now {
        return Err("`expires` is over already".to_owned());
    }
    Ok(whole(moment))
}

/// Length of SHA-256 in hex.
const FINGERPRINT: usize = 64;
/// Length of a date.
const DATE: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::memory::tests::files;

    #[test]
    fn who_is_twice_in_a_list_is_not_said_to_stand_in_the_files() {
        let files = files();
        let role = files.roles.keys().next().unwrap().to_string();
        let device = |name: &str, key: u8| NewDevice {
            name: name.to_owned(),
            roles: vec![role.clone()],
            wireguard: String::from(super::super::PublicKey([key; 32])),
            hl7_sender: Some("NEW^WARD".to_owned()),
            ae_title: Some("NEW".to_owned()),
            ..NewDevice::default()
        };
        let occasion = Occasion {
            origin: Origin::Imported,
            why: String::new(),
            by: By {
                uid: 0,
                name: "root".to_owned(),
            },
            at: Timestamp::UNIX_EPOCH,
        };
        let known = files.devices.keys().next().unwrap().to_string();
        let list = [
            device("new-1", 101),
            device("new-2", 102),
            device("new-1", 103),
            device(&known, 104),
        ];
        assert!(newcomers(&list[..2], &occasion, &files, || 0).is_ok());
        let wrong = newcomers(&list, &occasion, &files, || 0).unwrap_err();
        let told = |number, why: &str| (number, why.to_owned());
        assert_eq!(
            wrong,
            [
                told(2, "the list has a device new-1 before"),
                told(3, "the files have a device of this name"),
            ]
        );
    }
}
