//! Words of `[pki]`: algorithms, what servers are called, where lists are published.

use std::net::IpAddr;

use crate::field::machine::is_host_name;
use crate::pki::{KeyAlgorithm, ServerName};
use crate::problem::Fault;
use crate::section::{Text, word};

/// Where the list of revoked certificates is published, `http://…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CrlUrl(pub(crate) String);

impl Text for KeyAlgorithm {
    const WHAT: &'static str = "`ecdsa-p256`, `ecdsa-p384` or `ed25519`";
    fn parse(text: &str) -> Result<Self, Fault> {
        let all = [Self::EcdsaP256, Self::EcdsaP384, Self::Ed25519];
        word(text, &all.map(|one| (one.as_str(), one)))
    }
}

impl Text for ServerName {
    const WHAT: &'static str = "a name of DNS or an address like \"gateway.example.org\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        if text.parse::<IpAddr>().is_ok() {
            return IpAddr::parse(text).map(Self::Address);
        }
        let letters = text.bytes().any(|b| b.is_ascii_alphabetic());
        if is_host_name(text) && text.len() <= 253 && letters {
            Ok(Self::Dns(text.to_ascii_lowercase()))
        } else {
            Err(Fault::new(format!("not {}", Self::WHAT))
                .help("without a port, a wildcard or anything else"))
        }
    }
}

//= RFC 5280 4.2.1.13
impl Text for CrlUrl {
    const WHAT: &'static str = "an address like \"http://gateway.example.org/lazaret.crl\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        let not = |why: &str| Fault::new(format!("not {}", Self::WHAT)).help(why);
        let rest = text.strip_prefix("http://").ok_or_else(|| {
            not("it begins with `http://`: the list is signed, and TLS to its server would need the list")
        })?;
        let good = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b'<' | b'>' | b'`');
        let host = rest.split(['/', ':']).next().unwrap_or_default();
        if text.len() > 256 || !text.bytes().all(good) || !is_host_name(host) {
            return Err(not(
                "a host and a path, at most 256 printable ASCII characters without spaces",
            ));
        }
        Ok(Self(text.to_owned()))
    }
}
