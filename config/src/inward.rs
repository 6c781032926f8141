//! What services may open to devices: by a rule of their own, or because it returns what a device asked for.
//!
//! In: a device and a service. Out: the rules by which the service may dial, and where.
//! Pure; hours and `until` are asked of the rule itself. Knows nothing of what is outstanding at the moment.

use std::net::{IpAddr, SocketAddr};

use crate::dicom::OWN_TITLE;
use crate::model::{Config, DicomRule, HospitalMode, Rule, ServiceProtocol};
use crate::name::{DeviceName, RuleName, ServiceName};

/// A rule by which a service may open associations to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inward<'c> {
    /// Its name.
    pub name: &'c RuleName,
    /// What it says.
    pub rule: &'c Rule,
    /// Why it lets the service in.
    pub why: Why,
}

/// Why a service may open an association to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// A rule goes from the service to the device.
    Rule,
    /// The device may have images moved to itself: they come by C-STORE while a C-MOVE of its own is outstanding.
    //= DICOM PS3.4 C.4.2
    Retrieval,
    /// The device may ask for storage commitment: the result comes by N-EVENT-REPORT while a request is outstanding.
    //= DICOM PS3.4 J.3.3
    Commitment,
}

/// Where a service dials a device, and where the device accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entrance {
    /// What the service dials.
    pub dialled: SocketAddr,
    /// The device's own address and `dicom_port`.
    pub device: SocketAddr,
}

impl<'c> Inward<'c> {
    /// What the service may do by it.
    pub fn allows(&self) -> impl Iterator<Item = &'c str> + use<'c> {
        let fixed: &[&'static str] = match self.why {
            Why::Rule => &[],
            Why::Retrieval => &["C-STORE"],
            Why::Commitment => &["N-EVENT-REPORT"],
        };
        let own = (self.why == Why::Rule).then_some(&self.rule.dicom);
        let listed = own.into_iter().flatten().flat_map(|dicom| &dicom.allow);
        listed.map(String::as_str).chain(fixed.iter().copied())
    }
}

impl Config {
    /// The rules by which a service may dial a device, at whatever time they hold.
    /// What returns by itself needs both AE titles, and a place to be dialled at.
    #[must_use]
    pub fn inward(&self, device: &DeviceName, service: &ServiceName) -> Vec<Inward<'_>> {
        let explicit = self.rules_towards(device, service).into_iter();
        let mut all: Vec<Inward<'_>> = explicit
            .filter(|(_, rule)| rule.dicom.is_some())
            .map(|(name, rule)| Inward {
                name,
                rule,
                why: Why::Rule,
            })
            .collect();
        let titles = (
            self.devices.get(device).and_then(|d| d.ae_title.as_deref()),
            self.services.get(service).map(|s| &s.protocol),
        );
        let (
            Some(own),
            Some(ServiceProtocol::Dicom {
                called_ae: Some(_), ..
            }),
        ) = titles
        else {
            return all;
        };
        for (name, rule) in self.rules_for(device, service) {
            let Some(dicom) = &rule.dicom else { continue };
            for (why, does) in [
                (Why::Retrieval, moves_to(dicom, own)),
                (Why::Commitment, commits(dicom)),
            ] {
                if does {
                    all.push(Inward { name, rule, why });
                }
            }
        }
        all
    }

    /// Where a service dials a device; empty if it cannot. Whether it may is another matter.
    #[must_use]
    pub fn entrances(&self, device: &DeviceName, service: &ServiceName) -> Vec<Entrance> {
        let Some(target) = self.devices.get(device) else {
            return Vec::new();
        };
        let Some(caller) = self.services.get(service).map(|service| service.address) else {
            return Vec::new();
        };
        let Some(port) = target.dicom_port else {
            return Vec::new();
        };
        let same = |address: &&IpAddr| address.is_ipv4() == caller.is_ipv4();
        match self.hospital.mode {
            HospitalMode::Routed => (target.addresses.iter().filter(same))
                .map(|address| SocketAddr::new(*address, port))
                .map(|own| Entrance {
                    dialled: own,
                    device: own,
                })
                .collect(),
            HospitalMode::Snat => {
                let Some(dialled) = target.hospital_port else {
                    return Vec::new();
                };
                let device = target.addresses.iter().find(same);
                let Some(device) = device.or(target.addresses.first()) else {
                    return Vec::new();
                };
                (self.hospital.addresses.iter().filter(same))
                    .map(|address| Entrance {
                        dialled: SocketAddr::new(*address, dialled),
                        device: SocketAddr::new(*device, port),
                    })
                    .collect()
            }
        }
    }

    /// Who dials whom: by the address of the one and by what it dialled, and nothing else.
    #[must_use]
    pub fn dialled(
        &self,
        source: IpAddr,
        dialled: SocketAddr,
    ) -> Option<(&ServiceName, &DeviceName, Entrance)> {
        let device = match self.hospital.mode {
            HospitalMode::Routed => self.device_at(dialled.ip()),
            HospitalMode::Snat => self.device_at_port(dialled.port()),
        }?;
        let mut services = self.services.iter().filter(|(_, s)| s.address == source);
        services.find_map(|(name, _)| {
            let entrances = self.entrances(device, name);
            let entrance = entrances.into_iter().find(|one| one.dialled == dialled)?;
            (!self.inward(device, name).is_empty()).then_some((name, device, entrance))
        })
    }

    /// All services that may dial a device, in the order of their names.
    #[must_use]
    pub fn callers(&self, device: &DeviceName) -> Vec<&ServiceName> {
        let dicom = |protocol| matches!(protocol, &ServiceProtocol::Dicom { .. });
        (self.services.iter())
            .filter(|(_, service)| dicom(&service.protocol))
            .filter(|(name, _)| !self.inward(device, name).is_empty())
            .map(|(name, _)| name)
            .collect()
    }
}

/// Whether images may be moved to this title, which is the device's own.
pub(crate) fn moves_to(rule: &DicomRule, own: &str) -> bool {
    let named = |title: &String| title == own || title == OWN_TITLE || title == "*";
    rule.allow.contains("C-MOVE") && rule.move_destinations.iter().any(named)
}

/// Whether storage commitment may be asked for.
pub(crate) fn commits(rule: &DicomRule) -> bool {
    let class = rule.sop_classes.is_empty() || rule.sop_classes.contains(STORAGE_COMMITMENT);
    rule.allow.contains("N-ACTION") && class
}

/// Storage Commitment Push Model (PS3.6 annex A).
const STORAGE_COMMITMENT: &str = "1.2.840.10008.1.20.1";
