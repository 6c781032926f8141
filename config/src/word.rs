//! Single values of a configuration, checked while somebody types them.
//!
//! In: a word and what it is to be. Out: nothing, or what is wrong with it, in the words of the configuration's errors.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::appliance::TimeServer;
use crate::field::basic::GatewayName;
use crate::field::machine::{HostAddress, ZoneName};
use crate::field::net::Interface;
use crate::problem::Fault;
use crate::section::Text;

/// What a word is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// `name` of `[gateway]`.
    GatewayName,
    /// The name of an interface.
    Interface,
    /// An address with the length of its network.
    HostAddress,
    /// An address.
    Address,
    /// A network.
    Network,
    /// An address or name of a time server.
    TimeServer,
    /// A time zone.
    TimeZone,
}

impl Word {
    /// Checks a word.
    ///
    /// # Errors
    /// What is wrong with it, and what would be right.
    pub fn check(self, text: &str) -> Result<(), String> {
        let checked: Result<(), Fault> = match self {
            Self::GatewayName => GatewayName::parse(text).map(|_| ()),
            Self::Interface => Interface::parse(text).map(|_| ()),
            Self::HostAddress => HostAddress::parse(text).map(|_| ()),
            Self::Address => <IpAddr as Text>::parse(text).map(|_| ()),
            Self::Network => <IpNet as Text>::parse(text).map(|_| ()),
            Self::TimeServer => TimeServer::parse(text).map(|_| ()),
            Self::TimeZone => ZoneName::parse(text).map(|_| ()),
        };
        checked.map_err(|Fault { message, help, .. }| match help {
            Some(help) => format!("{message}: {help}"),
            None => message,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_the_configuration_would() {
        for (word, good, bad) in [
            (Word::GatewayName, "nord_1", "nord 1"),
            (Word::Interface, "ens3", "lo"),
            (Word::HostAddress, "192.0.2.10/24", "192.0.2.10"),
            (Word::Address, "192.0.2.1", "192.0.2.1/24"),
            (Word::Network, "10.64.0.0/16", "10.64.0.1/16"),
            (Word::TimeServer, "ntp.example.org", "192.0.2"),
            (Word::TimeZone, "Europe/Paris", "Paris"),
        ] {
            assert_eq!(word.check(good), Ok(()));
            assert!(word.check(bad).is_err(), "{bad}");
        }
        let told = Word::HostAddress.check("192.0.2.10").unwrap_err();
        assert!(told.ends_with(": add the length, such as `/24`"), "{told}");
    }
}
