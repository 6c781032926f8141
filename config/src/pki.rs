//! `[pki]`: what the certification authority of the gateway issues, and for how long.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// `[pki]`; without it the gateway has no certification authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pki {
    /// Of the keys that the gateway makes: authorities and servers. Default ECDSA P-256.
    pub algorithm: KeyAlgorithm,
    /// How long certificates of devices and servers are valid. Default 30 d.
    pub lifetime: Duration,
    /// How long after its end a certificate may still be renewed, and nothing else. Default 14 d.
    pub grace: Duration,
    /// How long an authority is valid. Default 3650 d.
    pub ca_lifetime: Duration,
    /// How long the old authority is trusted after a rotation. Default twice `lifetime` and `grace` together.
    pub overlap: Duration,
    /// What the gateway is called by those who connect to it; authorities may certify no other servers.
    pub server_names: Vec<ServerName>,
    /// Where the list of revoked certificates is published, for certificates of devices and servers.
    pub crl_url: Option<String>,
    /// Where keys of authorities are made from now on; `None` is a file of the gateway.
    pub pkcs11: Option<Pkcs11>,
}

/// `[pki.pkcs11]`: a token, as its maker's library serves it (PKCS#11, OASIS).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pkcs11 {
    /// The maker's library.
    pub module: PathBuf,
    /// The label of the token, at most 32 bytes.
    pub token: String,
    /// Where the PIN of the user stands.
    pub pin_file: PathBuf,
    /// What else the library may read and write.
    pub paths: Vec<PathBuf>,
    /// Sockets that the library may make. Default none.
    pub sockets: BTreeSet<SocketFamily>,
    /// Variables that the library reads.
    pub environment: BTreeMap<String, String>,
}

/// How a maker's library reaches what it serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SocketFamily {
    /// Another process of this machine, such as `pcscd`.
    Unix,
    /// The network.
    Inet,
}

/// As an empty table says.
impl Default for Pki {
    fn default() -> Self {
        let days = |days: u64| Duration::from_hours(days.saturating_mul(24));
        Self {
            algorithm: KeyAlgorithm::default(),
            lifetime: days(30),
            grace: days(14),
            ca_lifetime: days(3650),
            overlap: days(88),
            server_names: Vec::new(),
            crl_url: None,
            pkcs11: None,
        }
    }
}

/// The algorithm of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyAlgorithm {
    /// ECDSA on P-256 with SHA-256.
    #[default]
    EcdsaP256,
    /// ECDSA on P-384 with SHA-384.
    EcdsaP384,
    /// Ed25519, RFC 8032.
    Ed25519,
}

impl KeyAlgorithm {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "ecdsa-p256",
            Self::EcdsaP384 => "ecdsa-p384",
            Self::Ed25519 => "ed25519",
        }
    }
}

/// What a server is called: a name of DNS in small letters, or an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServerName {
    /// A name.
    Dns(String),
    /// An address.
    Address(IpAddr),
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}
