//! Addresses, networks, ports and interfaces.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::model::{Port, Transport};
use crate::problem::Fault;
use crate::section::Text;

/// The address of a service: with a port if it is inspected, without if it has a list of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServiceAddress {
    WithPort(SocketAddr),
    Alone(IpAddr),
}

/// The name of a network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interface(pub(crate) String);

impl Text for IpAddr {
    const WHAT: &'static str = "an IP address like \"10.64.0.1\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        let help = || {
            if text.contains('/') {
                Some("leave out the length of the network".to_owned())
            } else {
                text.parse::<SocketAddr>()
                    .ok()
                    .map(|socket| format!("without a port: `{}`", socket.ip()))
            }
        };
        let address = text
            .parse()
            .map_err(|_| Fault::new(format!("not {}", Self::WHAT)).maybe(help()))?;
        usable(address)
    }
}

impl Text for SocketAddr {
    const WHAT: &'static str = "an address and port like \"[::]:51820\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        let help = || {
            let address = text.parse::<IpAddr>().ok()?;
            Some(format!("add a port: `{}`", Self::new(address, 51820)))
        };
        let socket: Self = text
            .parse()
            .map_err(|_| Fault::new(format!("not {}", Self::WHAT)).maybe(help()))?;
        if socket.port() == 0 {
            return Err(Fault::new("the port must be 1 to 65535"));
        }
        Ok(socket)
    }
}

impl Text for ServiceAddress {
    const WHAT: &'static str = "an address like \"10.20.2.10:2575\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        if text.parse::<IpAddr>().is_ok() {
            return IpAddr::parse(text).map(Self::Alone);
        }
        let socket: SocketAddr = text.parse().map_err(|_| {
            Fault::new("not an IP address with or without a port")
                .help("names are not looked up: write \"10.20.2.10:2575\" or \"[fd20::10]:2575\"")
        })?;
        if socket.port() == 0 {
            return Err(Fault::new("the port must be 1 to 65535"));
        }
        usable(socket.ip())?;
        Ok(Self::WithPort(socket))
    }
}

impl Text for IpNet {
    const WHAT: &'static str = "a network like \"10.64.0.0/16\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        let network: Self = text.parse().map_err(|_| {
            let alone = text.parse::<IpAddr>().is_ok();
            Fault::new(format!("not {}", Self::WHAT))
                .maybe(alone.then(|| "add the length, such as `/24`".to_owned()))
        })?;
        let clean = network.trunc();
        if clean != network {
            return Err(
                Fault::new("the address has bits beyond the length of the network")
                    .help(format!("did you mean `{clean}`?")),
            );
        }
        let shortest = if network.addr().is_ipv4() { 8 } else { 16 };
        if network.prefix_len() < shortest {
            return Err(
                Fault::new("the network is too large").help(format!("at least /{shortest}"))
            );
        }
        if network.addr().is_loopback() || network.addr().is_multicast() {
            return Err(Fault::new("a loopback or multicast network cannot be used"));
        }
        usable(network.addr())?;
        Ok(network)
    }
}

impl Text for Port {
    const WHAT: &'static str = "a port like \"tcp/22\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        let fault = || {
            let number = text.parse::<u16>().is_ok();
            Fault::new(format!("not {}", Self::WHAT))
                .maybe(number.then(|| format!("did you mean `tcp/{text}`?")))
        };
        let (transport, number) = text.split_once('/').ok_or_else(fault)?;
        let transport = match transport {
            "tcp" => Transport::Tcp,
            "udp" => Transport::Udp,
            _ => return Err(fault().help("tcp and udp are carried")),
        };
        let digits = number.bytes().all(|b| b.is_ascii_digit());
        match number.parse() {
            Ok(number) if digits && number > 0 => Ok(Self { transport, number }),
            Ok(_) | Err(_) => Err(fault().help("the port must be 1 to 65535")),
        }
    }
}

impl Text for Interface {
    const WHAT: &'static str = "the name of an interface like \"lan0\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'+');
        let dots = text.bytes().all(|b| b == b'.');
        if text.is_empty() || text.len() > 15 || dots || !text.bytes().all(good) {
            return Err(Fault::new("not the name of an interface")
                .help("1 to 15 ASCII letters, digits, `-`, `_`, `.` and `+`"));
        }
        if text == "lo" {
            return Err(Fault::new("the loopback interface cannot be used"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = match self.transport {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        };
        write!(f, "{transport}/{}", self.number)
    }
}

impl std::str::FromStr for Port {
    type Err = InvalidPort;
    fn from_str(text: &str) -> Result<Self, InvalidPort> {
        Text::parse(text).map_err(|_| InvalidPort)
    }
}

/// A port that cannot be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a port is written tcp/NUMBER or udp/NUMBER, from 1 to 65535")]
pub struct InvalidPort;

/// One address has one way to be written: IPv4 inside of IPv6 would be another.
fn usable(address: IpAddr) -> Result<IpAddr, Fault> {
    let plain = address.to_canonical();
    if plain == address {
        Ok(address)
    } else {
        Err(Fault::new("an IPv4 address inside of IPv6").help(format!("write `{plain}`")))
    }
}
