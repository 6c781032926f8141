//! What `[appliance]` says, after every check: how the machine of the signed image is called, connected and updated.
//!
//! On a server this table may be missing; whoever runs the server does all of it there.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::model::Hours;

/// `[appliance]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appliance {
    /// Name of the host (RFC 1123), at most 63 bytes. Default: `name` of `[gateway]`, with `-` for `_`.
    pub hostname: String,
    /// Name of the IANA database. Default `UTC`.
    pub timezone: String,
    /// Time servers, in order; empty: those of DHCP.
    pub ntp: Vec<TimeServer>,
    /// Name servers, in order; empty: those of DHCP.
    pub dns: Vec<IpAddr>,
    /// Certificates in PEM that updates over HTTPS trust besides the usual ones; resolved against the configuration directory.
    pub hospital_root: Option<PathBuf>,
    /// How long the self test after a start may take. Default two minutes.
    pub health_timeout: Duration,
    /// `[appliance.interface.NAME]`.
    pub interfaces: BTreeMap<String, ApplianceInterface>,
    /// `[appliance.update]`.
    pub update: Option<Update>,
}

/// A time server: an address, or a name that is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimeServer {
    /// An address.
    Address(IpAddr),
    /// A name (RFC 1123).
    Name(String),
}

/// `[appliance.interface.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplianceInterface {
    /// Which interface gets the name.
    pub matched_by: InterfaceMatch,
    /// How it gets its addresses.
    pub addressing: Addressing,
}

/// Which interface is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InterfaceMatch {
    /// The one of that very name.
    Name,
    /// By its hardware address.
    Mac([u8; 6]),
    /// By where it is plugged in, `pci-0000:00:03.0` (`ID_PATH` of udev).
    Path(String),
}

/// How an interface gets its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addressing {
    /// From a server (DHCP, router advertisements).
    Dhcp,
    /// Written.
    Static {
        /// With the length of the network; at least one.
        addresses: Vec<IpNet>,
        /// Default gateways, at most one of each family, each in a network of `addresses`.
        gateways: Vec<IpAddr>,
    },
}

/// `[appliance.update]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// Where updates are, with `/` at its end; https, or http by `insecure_http`.
    pub url: String,
    /// The weekly window in which updates are put in by themselves; `None`: only by hand.
    pub window: Option<Hours>,
}

impl fmt::Display for TimeServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}
