//! `[appliance]`, `[appliance.interface.NAME]`, `[appliance.update]`: the machine of the signed image.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;

use crate::appliance::{
    Addressing, Appliance, ApplianceInterface, InterfaceMatch, TimeServer, Update,
};
use crate::field::basic::FilePath;
use crate::field::machine::{HardwarePath, HostAddress, HostName, Mac, UpdateUrl, ZoneName};
use crate::field::net::Interface;
use crate::field::quantity::Period;
use crate::model::Hours;
use crate::problem::{At, Fault, Place};
use crate::section::{Keys, Section, Text};

pub(crate) const KEYS: Keys = Keys {
    table: "[appliance]",
    known: &[
        "hostname",
        "timezone",
        "ntp",
        "dns",
        "hospital_root",
        "health_timeout",
        "interface",
        "update",
    ],
    later: &[],
};

pub(crate) const INTERFACE: Keys = Keys {
    table: "[appliance.interface.NAME]",
    known: &["mac", "path", "addresses", "dhcp", "gateway"],
    later: &[],
};

pub(crate) const UPDATE: Keys = Keys {
    table: "[appliance.update]",
    known: &["url", "window", "insecure_http"],
    later: &[],
};

/// The table as it is written.
pub(crate) struct RawAppliance {
    hostname: Option<At<HostName>>,
    timezone: String,
    pub(crate) ntp: Vec<At<TimeServer>>,
    pub(crate) dns: Vec<At<IpAddr>>,
    pub(crate) hospital_root: Option<At<FilePath>>,
    health_timeout: Duration,
    pub(crate) interfaces: BTreeMap<String, RawInterface>,
    update: Option<Update>,
}

/// One interface as it is written.
pub(crate) struct RawInterface {
    pub(crate) header: Place,
    pub(crate) mac: Option<At<Mac>>,
    pub(crate) path: Option<At<HardwarePath>>,
    pub(crate) dhcp: bool,
    pub(crate) addresses: Vec<At<HostAddress>>,
    pub(crate) gateways: Vec<At<IpAddr>>,
}

pub(crate) fn read(section: &Section<'_>) -> RawAppliance {
    let zone = section.optional::<ZoneName>("timezone");
    let timezone = zone.map_or_else(|| "UTC".to_owned(), |at| at.value.0);
    let timeout = section.within("health_timeout", LEAST_TIMEOUT..=MOST_TIMEOUT);
    let appliance = RawAppliance {
        hostname: section.optional("hostname"),
        ntp: section.list("ntp", "leave the key out to have those of DHCP"),
        dns: section.list("dns", "leave the key out to have those of DHCP"),
        hospital_root: section.optional("hospital_root"),
        health_timeout: timeout.unwrap_or(DEFAULT_TIMEOUT).0,
        interfaces: interfaces(section),
        update: section
            .section("update", &UPDATE)
            .and_then(|update| read_update(&update, &timezone)),
        timezone,
    };
    few(section, "ntp", appliance.ntp.len());
    few(section, "dns", appliance.dns.len());
    appliance
}

fn interfaces(section: &Section<'_>) -> BTreeMap<String, RawInterface> {
    let mut interfaces = BTreeMap::new();
    for (name, section) in section.children("interface", "[appliance.interface.{}]", &INTERFACE) {
        let interface = read_interface(&section);
        if interfaces.len() >= MAX_INTERFACES {
            let fault = Fault::new(format!("at most {MAX_INTERFACES} interfaces"));
            section.problems().report(fault.at(section.header));
            break;
        }
        match Interface::parse(name) {
            Ok(Interface(name)) => {
                interfaces.insert(name, interface);
            }
            Err(fault) => section.problems().report(fault.at(section.header)),
        }
    }
    interfaces
}

fn read_interface(section: &Section<'_>) -> RawInterface {
    let interface = RawInterface {
        header: section.header,
        mac: section.optional("mac"),
        path: section.optional("path"),
        dhcp: section.or("dhcp", false),
        addresses: section.list(
            "addresses",
            "write `dhcp = true` to have them from a server",
        ),
        gateways: section.one_or_more("gateway", "leave the key out if there is none"),
    };
    if section.has("mac") && section.has("path") {
        let fault = Fault::new("`mac` and `path` both say which interface is meant");
        section.report("path", fault.help("leave one of them out"));
    }
    match (interface.dhcp, section.has("addresses")) {
        (true, true) => {
            let fault = Fault::new("`dhcp` and `addresses` exclude each other");
            section.report("addresses", fault.help("leave one of them out"));
        }
        (false, false) => {
            let fault = Fault::new(format!("{} has no addresses", section.title));
            let help = "write `addresses = [\"192.0.2.10/24\"]` or `dhcp = true`";
            section
                .problems()
                .report(fault.help(help).at(section.header));
        }
        (true, false) | (false, true) => {}
    }
    if interface.dhcp && section.has("gateway") {
        let fault = Fault::new("`dhcp` and `gateway` exclude each other");
        section.report("gateway", fault.help("the server names the gateway"));
    }
    few(section, "addresses", interface.addresses.len());
    interface
}

fn read_update(section: &Section<'_>, timezone: &str) -> Option<Update> {
    let url = section.required::<UpdateUrl>("url");
    let insecure = section.or("insecure_http", false);
    match &url {
        Some(at) if !at.value.secure && !insecure => {
            let fault = Fault::new("updates without TLS need `insecure_http = true`");
            section.report("url", fault.help("write `https://`"));
        }
        Some(at) if at.value.secure && insecure => {
            let fault = Fault::new("`insecure_http` has no meaning with `https://`");
            section.report("insecure_http", fault.help("leave it out"));
        }
        Some(_) | None => {}
    }
    let window = section.optional::<String>("window").and_then(|at| {
        let read = match at.value.split_whitespace().count() {
            2 => Hours::parse(&format!("{} {timezone}", at.value)),
            3 => Err(Fault::new("the window has a time zone")
                .help("leave it out: `timezone` of [appliance] holds")),
            _ => Err(Fault::new("not a weekly window like \"sun 02:00-04:00\"")),
        };
        read.map_err(|fault| section.report("window", fault)).ok()
    });
    Some(Update {
        url: url?.value.text,
        window,
    })
}

/// Reports a list that is too long.
fn few(section: &Section<'_>, key: &str, length: usize) {
    if length > MAX_LISTED {
        section.report(key, Fault::new(format!("at most {MAX_LISTED} of `{key}`")));
    }
}

impl RawAppliance {
    /// A name of the IANA database.
    pub(crate) fn timezone(&self) -> &str {
        &self.timezone
    }

    pub(crate) fn into_model(self, gateway: &str, dir: &Path) -> Appliance {
        let hostname = self.hostname.map(|at| at.value.0);
        Appliance {
            hostname: hostname.unwrap_or_else(|| host_name_of(gateway)),
            timezone: self.timezone,
            ntp: self.ntp.into_iter().map(|at| at.value).collect(),
            dns: self.dns.into_iter().map(|at| at.value).collect(),
            hospital_root: self.hospital_root.map(|at| dir.join(at.value.0)),
            health_timeout: self.health_timeout,
            interfaces: self
                .interfaces
                .into_iter()
                .map(|(name, raw)| (name, raw.into_model()))
                .collect(),
            update: self.update,
        }
    }
}

impl RawInterface {
    /// The networks that it is in.
    pub(crate) fn networks(&self) -> impl Iterator<Item = (Place, IpNet)> {
        self.addresses
            .iter()
            .map(|at| (at.place, at.value.0.trunc()))
    }

    fn into_model(self) -> ApplianceInterface {
        let matched_by = match (self.mac, self.path) {
            (Some(mac), _) => InterfaceMatch::Mac(mac.value.0),
            (None, Some(path)) => InterfaceMatch::Path(path.value.0),
            (None, None) => InterfaceMatch::Name,
        };
        let addressing = if self.dhcp {
            Addressing::Dhcp
        } else {
            Addressing::Static {
                addresses: self.addresses.into_iter().map(|at| at.value.0).collect(),
                gateways: self.gateways.into_iter().map(|at| at.value).collect(),
            }
        };
        ApplianceInterface {
            matched_by,
            addressing,
        }
    }
}

/// The name of the host where none is written: that of the gateway, as RFC 1123 allows it.
pub(crate) fn host_name_of(gateway: &str) -> String {
    let name: String = gateway
        .split('.')
        .map(|label| label.replace('_', "-").trim_matches('-').to_owned())
        .filter(|label| !label.is_empty())
        .collect::<Vec<_>>()
        .join(".");
    if name.is_empty() {
        "lazaret".to_owned()
    } else {
        name
    }
}

const DEFAULT_TIMEOUT: Period = Period(Duration::from_secs(120));
const LEAST_TIMEOUT: Period = Period(Duration::from_secs(10));
const MOST_TIMEOUT: Period = Period(Duration::from_secs(1800));
/// More interfaces than a machine has.
const MAX_INTERFACES: usize = 32;
/// Addresses of an interface, time servers, name servers.
const MAX_LISTED: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_a_gateway_gives_a_name_of_a_host() {
        for (gateway, host) in [
            ("chu-nord-1", "chu-nord-1"),
            ("chu_nord.1", "chu-nord.1"),
            ("_", "lazaret"),
            ("..a-..", "a"),
        ] {
            assert_eq!(host_name_of(gateway), host);
            assert!(HostName::parse(host).is_ok());
        }
    }
}
