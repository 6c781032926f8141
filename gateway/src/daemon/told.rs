//! What operators are told of devices: how they stand, fare, and what was seen of them.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::connections::standing;
use super::operator::failed;
use super::supervisor::Supervisor;
use crate::control::message::{
    DeviceStatus, Failure, InventoryStatus, KeyStatus, KnownStatus, Response,
};
use crate::flow::{Clock, DeviceName};
use crate::registry::known::{Known, What};
use crate::tunnel::message::PeerStatus;

impl Supervisor {
    pub(super) fn devices(&self, only: Option<&DeviceName>, peers: &[PeerStatus]) -> Response {
        if let Some(device) = only
            && !self.is_known(device)
        {
            return failed(Failure::Unknown, &format!("there is no device {device}"));
        }
        let peers = by_device(peers);
        let sessions = self.connections.by_device();
        let names = match only {
            Some(device) => [device].into(),
            None => self.everybody(),
        };
        let now = self.clock.wall();
        let devices = names.into_iter().map(|name| {
            let sessions = sessions.get(name).copied().unwrap_or_default();
            self.device(name, peers.get(name), sessions, (now, only.is_some()))
        });
        Response::Devices {
            devices: devices.collect(),
        }
    }

    fn device(
        &self,
        name: &DeviceName,
        peer: Option<&PeerStatus>,
        sessions: usize,
        (now, whole): (Timestamp, bool),
    ) -> DeviceStatus {
        let device = self.config.devices.get(name);
        let known = self.registry.entry(name);
        let via = match device.map(|device| &device.identity) {
            Some(lazaret_config::Identity::Via(router)) => Some(router.clone()),
            Some(
                lazaret_config::Identity::WireGuard { .. } | lazaret_config::Identity::Certificate,
            )
            | None => None,
        };
        let origin = device.map(|device| &device.origin);
        let origin = origin.filter(|origin| origin.line > 0);
        let roles = device.map(|device| &device.roles);
        let addresses = device.map(|device| &device.addresses);
        DeviceStatus {
            device: name.clone(),
            standing: standing(&self.config, &self.registry, name),
            why: known.map(|known| known.why.clone()).unwrap_or_default(),
            addresses: addresses
                .or_else(|| known.map(|known| &known.addresses))
                .cloned()
                .unwrap_or_default(),
            roles: roles
                .or_else(|| known.map(|known| &known.roles))
                .map(|roles| roles.iter().map(ToString::to_string).collect())
                .unwrap_or_default(),
            via,
            endpoint: peer.and_then(|peer| peer.endpoint),
            handshake_seconds: peer
                .and_then(|peer| peer.handshake_seconds)
                .or_else(|| self.seconds_since_handshake(name, now)),
            received: peer.map_or(0, |peer| peer.received),
            sent: peer.map_or(0, |peer| peer.sent),
            sessions,
            origin: match (origin, known) {
                (Some(origin), _) => format!("{}:{}", origin.file.display(), origin.line),
                (None, Some(known)) => known.origin.as_str().to_owned(),
                (None, None) => String::new(),
            },
            known: known.map(|known| Box::new(self.known(name, known, now))),
            inventory: Box::new(self.inventory(name, now, whole)),
        }
    }

    fn known(&self, name: &DeviceName, known: &Known, now: Timestamp) -> KnownStatus {
        let left = |expires: Timestamp| expires.duration_since(now).as_secs().max(0);
        let keys = known.keys.iter().map(|key| KeyStatus {
            wireguard: key.wireguard.to_string(),
            until: key.until,
        });
        KnownStatus {
            origin: known.origin.as_str().to_owned(),
            serial: known.serial.clone(),
            patients: known.patients.len(),
            keys: keys.collect(),
            certificates: known.certificates.clone(),
            created: known.created,
            created_by: known.created_by.clone(),
            since: known.since,
            hl7_sender: known.hl7_sender.clone(),
            ae_title: known.ae_title.clone(),
            expires: known.expires,
            expires_seconds: known
                .expires
                .map(|expires| u64::try_from(left(expires)).unwrap_or(0)),
            contradiction: self
                .records
                .contradiction(name)
                .map(str::to_owned)
                .or_else(|| {
                    let other = self.registry.barred(name)?;
                    Some(format!("its key was taken from device {other}"))
                }),
        }
    }

    fn seconds_since_handshake(&self, name: &DeviceName, now: Timestamp) -> Option<u64> {
        let seconds = now
            .duration_since(self.inventory.handshake(name)?)
            .as_secs();
        Some(u64::try_from(seconds).unwrap_or(0))
    }

    fn inventory(&self, name: &DeviceName, now: Timestamp, whole: bool) -> InventoryStatus {
        let latest = |what| self.inventory.latest(name, what).map(str::to_owned);
        let end = self.signing.certificate_end(name);
        InventoryStatus {
            address: latest(What::Address),
            software: latest(What::Software),
            certificate_ends: end,
            certificate_seconds: end.map(|end| {
                let left = end.duration_since(now).as_secs();
                u64::try_from(left).unwrap_or(0)
            }),
            seen: if whole {
                self.inventory.sheet(name)
            } else {
                Vec::new()
            },
        }
    }
}

/// A device with two keys is one: what went through both, and where it spoke from last.
pub(super) fn by_device(peers: &[PeerStatus]) -> BTreeMap<&DeviceName, PeerStatus> {
    let mut all: BTreeMap<&DeviceName, PeerStatus> = BTreeMap::new();
    for peer in peers {
        let Some(other) = all.get_mut(&peer.device) else {
            all.insert(&peer.device, peer.clone());
            continue;
        };
        let (received, sent) = (
            other.received.saturating_add(peer.received),
            other.sent.saturating_add(peer.sent),
        );
        let age = |peer: &PeerStatus| peer.handshake_seconds.unwrap_or(u64::MAX);
        if age(peer) < age(other) {
            *other = peer.clone();
        }
        (other.received, other.sent) = (received, sent);
    }
    all
}
