//! The same suite on both databases, and what can befall a file.

pub(in crate::registry) mod cluster;
mod file;
mod settle;
mod suite;
mod token;

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::*;
use crate::flow::{DeviceName, Standing};
use crate::registry::addresses::{Addresses, Way};
use crate::registry::known::{
    By, Change, DeviceKey, Known, Newcomer, Origin, PublicKey, Seen, Sighting, Strange, What,
};

fn name(text: &str) -> DeviceName {
    text.parse().unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

fn by() -> By {
    By {
        uid: 1000,
        name: "marie".to_owned(),
    }
}

fn key(number: u16) -> PublicKey {
    let mut key = [7; 32];
    key[..2].copy_from_slice(&number.to_be_bytes());
    PublicKey(key)
}

/// Gives from 10.64.1.0/24, and from 10.65.1.0/24 for certificates.
fn pool() -> Addresses {
    let networks = [
        (Way::Key, "10.64.1.0/24".parse().unwrap()),
        (Way::Certificate, "10.65.1.0/24".parse().unwrap()),
    ];
    Addresses::new(&networks, ["10.64.1.1".parse().unwrap()].into(), Vec::new())
}

fn newcomer(text: &str, number: u16) -> Newcomer {
    Newcomer {
        name: name(text),
        known: Known {
            origin: Origin::Enrolled,
            standing: Standing::Active,
            approved: true,
            removed: false,
            why: "trial".to_owned(),
            since: at(0),
            roles: BTreeSet::from(["ecg".parse().unwrap(), "home".parse().unwrap()]),
            keys: vec![DeviceKey {
                wireguard: key(number),
                until: None,
            }],
            certificates: Vec::new(),
            addresses: Vec::new(),
            serial: Some(format!("SN-{number}")),
            patients: vec![format!("hmac:{}", "5f".repeat(32))],
            hl7_sender: Some("ECG^HOME".to_owned()),
            ae_title: None,
            created: at(0),
            created_by: "marie".to_owned(),
            expires: Some(at(1_000_000)),
        },
        mark: i64::from(number),
        by: by(),
    }
}

fn change(device: &str, before: Standing, after: Standing, seconds: i64) -> Change {
    Change {
        mark: 1_000_000 + seconds,
        device: name(device),
        before,
        after,
        why: format!("because {seconds}"),
        by: by(),
        at: at(seconds),
    }
}
