//! Words of `[pki]`: algorithms, what servers are called, where lists are published.

use std::net::IpAddr;

use crate::field::machine::is_host_name;
use crate::pki::{KeyAlgorithm, ServerName, SocketFamily};
use crate::problem::Fault;
use crate::section::{Text, word};

/// Where the list of revoked certificates is published, `http://…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CrlUrl(pub(crate) String);

/// What a token is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenLabel(pub(crate) String);

/// The name of a variable that a maker's library reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variable(pub(crate) String);

/// What such a variable says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VariableValue(pub(crate) String);

impl Text for SocketFamily {
    const WHAT: &'static str = "`unix` or `inet`";
    fn parse(text: &str) -> Result<Self, Fault> {
        word(text, &[("unix", Self::Unix), ("inet", Self::Inet)])
    }
}

//= PKCS#11 v3.0 3.2: CK_TOKEN_INFO.label
impl Text for TokenLabel {
    const WHAT: &'static str = "the label of a token, 1 to 32 bytes";
    fn parse(text: &str) -> Result<Self, Fault> {
        let padded = text.trim() != text;
        if (1..=32).contains(&text.len()) && !padded && !text.chars().any(char::is_control) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Fault::new(format!("not {}", Self::WHAT))
                .help("without control characters, and without spaces around it"))
        }
    }
}

impl Text for Variable {
    const WHAT: &'static str = "the name of a variable like \"SOFTHSM2_CONF\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        let letters = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let begins = text.starts_with(|c: char| c.is_ascii_alphabetic());
        if !begins || text.len() > 64 || !text.bytes().all(letters) {
            return Err(Fault::new(format!("not {}", Self::WHAT)));
        }
        let upper = text.to_ascii_uppercase();
        if TAKEN.iter().any(|prefix| upper.starts_with(prefix)) {
            let fault = Fault::new(format!("`{text}` cannot be set for a maker's library"));
            return Err(fault.help("it would change how the process is loaded or run"));
        }
        if upper.ends_with("PIN") || upper.contains("PASSW") || upper.contains("SECRET") {
            let fault = Fault::new("a secret does not belong in the environment");
            return Err(
                fault.help("write the PIN into a file of its own and name that by `pin_file`")
            );
        }
        Ok(Self(text.to_owned()))
    }
}

impl Text for VariableValue {
    const WHAT: &'static str = "a text of 1 to 1024 bytes without control characters";
    fn parse(text: &str) -> Result<Self, Fault> {
        if (1..=1024).contains(&text.len()) && !text.chars().any(char::is_control) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Fault::new(format!("not {}", Self::WHAT)))
        }
    }
}

/// How variables begin that the loader, the C library and this program read.
const TAKEN: [&str; 7] = [
    "LD_", "GLIBC_", "GCONV_", "MALLOC_", "RUST_", "LAZARET_", "TOKIO_",
];

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
