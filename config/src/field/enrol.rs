//! Words of `[enrol]`: where devices find the tunnel.

use std::net::SocketAddr;

use crate::field::machine::is_host_name;
use crate::problem::Fault;
use crate::section::Text;

/// A name or an address, with a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostPort(pub(crate) String);

impl Text for HostPort {
    const WHAT: &'static str =
        "a name or an address with a port like \"gateway.example.org:51820\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        let named = || {
            let (host, port) = text.rsplit_once(':')?;
            let port: u16 = port.parse().ok().filter(|port| *port > 0)?;
            let letters = host.bytes().any(|b| b.is_ascii_alphabetic());
            (letters && host.len() <= 253 && is_host_name(host)).then(|| format!("{host}:{port}"))
        };
        let address = || {
            let address: SocketAddr = text.parse().ok()?;
            (address.port() > 0 && !address.ip().is_unspecified()).then(|| address.to_string())
        };
        address()
            .or_else(named)
            .map(Self)
            .ok_or_else(|| Fault::new(format!("not {}", Self::WHAT)))
    }
}
