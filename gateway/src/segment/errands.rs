//! What the gateway asks of others for itself: its database, and what the machine of the signed image needs
//! (names, time, addresses, updates).
//!
//! In: `[registry]` and `[appliance]`. Out: rules of the table for exactly that, never towards the tunnel.
//! Pure. On a server there is no `[appliance]`: what that machine needs beside the gateway is not allowed here.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv6Net};
use lazaret_config::{Addressing, Appliance, Database, DatabaseHost, TimeServer, Transport};

use crate::segment::table::{Rule, State, Term};

/// One kind of question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Errand {
    /// To one server, or to any where its address is not known beforehand; only answers come in.
    Server {
        /// Its address.
        to: Option<IpAddr>,
        transport: Transport,
        /// Where it listens.
        port: u16,
    },
    /// For the addresses of an interface. An offer comes from a server that was asked by broadcast or multicast:
    /// it answers no known connection, so that interface and both ports are all there is to know it by.
    Lease { interface: String, version: Version },
}

/// Of the protocol by which addresses are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// DHCP, RFC 2131 section 4.1.
    V4,
    /// DHCPv6, RFC 8415 section 7: between link-local addresses.
    V6,
}

/// Everything that `[registry]` and `[appliance]` make necessary.
pub(super) fn of(registry: &Database, appliance: Option<&Appliance>) -> Vec<Errand> {
    let mut errands: Vec<Errand> = database(registry).into_iter().collect();
    let Some(appliance) = appliance else {
        return errands;
    };
    let mut ask = |to, transport, port| {
        let errand = Errand::Server {
            to,
            transport,
            port,
        };
        if !errands.contains(&errand) {
            errands.push(errand);
        }
    };
    let leased: Vec<&String> = (appliance.interfaces.iter())
        .filter(|(_, interface)| matches!(interface.addressing, Addressing::Dhcp))
        .map(|(name, _)| name)
        .collect();
    let told = |written: bool| (!leased.is_empty() && !written).then_some(None);
    let names = appliance.dns.iter().copied().map(Some);
    for server in names.chain(told(!appliance.dns.is_empty())) {
        ask(server, Transport::Udp, DNS);
        ask(server, Transport::Tcp, DNS);
    }
    let clocks = appliance.ntp.iter().map(|server| match server {
        TimeServer::Address(address) => Some(*address),
        TimeServer::Name(_) => None,
    });
    for server in clocks.chain(told(!appliance.ntp.is_empty())) {
        ask(server, Transport::Udp, NTP);
    }
    if let Some((host, port)) = appliance.update.as_ref().and_then(|update| at(&update.url)) {
        ask(host, Transport::Tcp, port);
    }
    for interface in leased {
        for version in [Version::V4, Version::V6] {
            let interface = interface.clone();
            errands.push(Errand::Lease { interface, version });
        }
    }
    errands
}

/// A database on another machine.
fn database(registry: &Database) -> Option<Errand> {
    let Database::Server(server) = registry else {
        return None;
    };
    let to = match &server.host {
        DatabaseHost::Socket(_) => return None,
        DatabaseHost::Address(address) if address.is_loopback() => return None,
        DatabaseHost::Address(address) => Some(*address),
        DatabaseHost::Name(_) => None,
    };
    Some(Errand::Server {
        to,
        transport: Transport::Tcp,
        port: server.port,
    })
}

impl Errand {
    /// Lets the question out.
    pub(super) fn asks(&self, not_towards_a_tunnel: Vec<Term>) -> Rule {
        let mut terms = not_towards_a_tunnel;
        match self {
            Self::Server {
                to,
                transport,
                port,
            } => {
                terms.extend(to.map(Term::Destination));
                terms.push(Term::Port(*transport, *port));
            }
            Self::Lease { interface, version } => {
                terms.push(Term::Towards(interface.clone()));
                terms.extend(version.relays_and_servers());
                terms.push(Term::SourcePort(Transport::Udp, version.client()));
                terms.push(Term::Port(Transport::Udp, version.server()));
            }
        }
        terms.push(Term::Accept);
        Rule(terms)
    }

    /// Lets the answer in.
    pub(super) fn hears(&self, not_from_a_tunnel: Vec<Term>) -> Rule {
        let mut terms = not_from_a_tunnel;
        match self {
            Self::Server {
                to,
                transport,
                port,
            } => {
                terms.extend(to.map(Term::Source));
                terms.push(Term::SourcePort(*transport, *port));
                terms.push(Term::State(State::EstablishedRelated));
            }
            Self::Lease { interface, version } => {
                terms.push(Term::From(interface.clone()));
                terms.extend(version.neighbour());
                terms.push(Term::SourcePort(Transport::Udp, version.server()));
                terms.push(Term::Port(Transport::Udp, version.client()));
            }
        }
        terms.push(Term::Accept);
        Rule(terms)
    }
}

impl Version {
    /// Where the client listens.
    fn client(self) -> u16 {
        match self {
            Self::V4 => 68,
            Self::V6 => 546,
        }
    }

    /// Where the server listens.
    fn server(self) -> u16 {
        match self {
            Self::V4 => 67,
            Self::V6 => 547,
        }
    }

    /// Whom the client asks, where that is one group.
    fn relays_and_servers(self) -> Option<Term> {
        match self {
            Self::V4 => None,
            Self::V6 => Some(Term::Destination(RELAYS_AND_SERVERS.into())),
        }
    }

    /// Who answers, where that is known.
    fn neighbour(self) -> Option<Term> {
        match self {
            Self::V4 => None,
            Self::V6 => Some(Term::SourceNet(IpNet::V6(LINK_LOCAL))),
        }
    }
}

/// The host, if it is an address, and the port of a URL that the configuration has checked.
fn at(url: &str) -> Option<(Option<IpAddr>, u16)> {
    let (scheme, rest) = url.split_once("://")?;
    let usual = if scheme == "https" { HTTPS } else { HTTP };
    let authority = rest.split('/').next()?;
    if let Ok(address) = authority.parse::<SocketAddr>() {
        return Some((Some(address.ip()), address.port()));
    }
    let bare = authority.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Some((Some(address), usual));
    }
    let port = authority.split_once(':').map(|(_, port)| port.parse());
    Some((None, port.transpose().ok()?.unwrap_or(usual)))
}

const DNS: u16 = 53;
const HTTP: u16 = 80;
const NTP: u16 = 123;
const HTTPS: u16 = 443;
/// All_DHCP_Relay_Agents_and_Servers, RFC 8415 section 7.1.
const RELAYS_AND_SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
/// Link-local addresses, RFC 4291 section 2.4.
const LINK_LOCAL: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_on_another_machine_is_asked_and_no_other() {
        let server = |host| {
            Database::Server(lazaret_config::Server {
                host,
                port: 5433,
                user: "lazaret".to_owned(),
                database: "lazaret".to_owned(),
                password_file: None,
                ca_file: None,
            })
        };
        let address = |text: &str| DatabaseHost::Address(text.parse().unwrap());
        let there = of(&server(address("10.20.0.9")), None);
        let to = Some("10.20.0.9".parse().unwrap());
        let transport = Transport::Tcp;
        let errand = |to| Errand::Server {
            to,
            transport,
            port: 5433,
        };
        assert_eq!(there, [errand(to)]);
        let named = server(DatabaseHost::Name("db.chu.example".to_owned()));
        assert_eq!(of(&named, None), [errand(None)]);
        for here in [
            Database::File,
            server(address("127.0.0.1")),
            server(address("::1")),
            server(DatabaseHost::Socket("/run/postgresql".into())),
        ] {
            assert_eq!(of(&here, None), []);
        }
    }

    #[test]
    fn urls_name_an_address_or_any_and_a_port() {
        let v4 = Some([10, 20, 2, 10].into());
        let v6 = Some("fd20::1".parse().unwrap());
        for (url, expected) in [
            ("https://10.20.2.10:8443/", (v4, 8443)),
            ("https://10.20.2.10/a/", (v4, 443)),
            ("http://10.20.2.10/", (v4, 80)),
            ("https://[fd20::1]:8443/", (v6, 8443)),
            ("https://[fd20::1]/", (v6, 443)),
            ("https://updates.example/lazaret/", (None, 443)),
            ("https://updates.example:8443/lazaret/", (None, 8443)),
        ] {
            assert_eq!(at(url), Some(expected), "{url}");
        }
        assert_eq!(at("updates.example"), None);
    }

    #[test]
    fn a_question_goes_out_and_only_its_answer_comes_in() {
        let update = Errand::Server {
            to: Some([10, 20, 2, 10].into()),
            transport: Transport::Tcp,
            port: 8443,
        };
        let Rule(asks) = update.asks(vec![Term::NotTowards("lz-wg".to_owned())]);
        assert_eq!(
            asks,
            [
                Term::NotTowards("lz-wg".to_owned()),
                Term::Destination([10, 20, 2, 10].into()),
                Term::Port(Transport::Tcp, 8443),
                Term::Accept,
            ]
        );
        let Rule(hears) = update.hears(vec![Term::NotFrom("lz-wg".to_owned())]);
        assert!(hears.contains(&Term::Source([10, 20, 2, 10].into())));
        assert!(hears.contains(&Term::State(State::EstablishedRelated)));
    }

    /// The rules of a configuration, one a line.
    fn rules(interfaces: &str) -> String {
        let appliance = crate::segment::fixture::appliance(interfaces);
        let errands = of(&Database::File, appliance.as_ref());
        let out = errands.iter().map(|errand| {
            format!(
                "out {}\n",
                errand.asks(vec![Term::NotTowards("lz0".to_owned())])
            )
        });
        let into = errands.iter().map(|errand| {
            format!(
                "in {}\n",
                errand.hears(vec![Term::NotFrom("lz0".to_owned())])
            )
        });
        out.chain(into).collect()
    }

    #[test]
    fn addresses_are_asked_for_where_they_are_leased() {
        let leased = rules(
            "dns = [\"10.20.0.2\"]\nntp = [\"10.20.0.1\"]\n[appliance.interface.wan0]\ndhcp = true\n[appliance.interface.lan0]\naddresses = [\"10.20.0.9/24\"]\n",
        );
        insta::assert_snapshot!(leased);
        let written = rules(
            "dns = [\"10.20.0.2\"]\nntp = [\"10.20.0.1\"]\n[appliance.interface.wan0]\naddresses = [\"192.0.2.9/24\"]\n[appliance.interface.lan0]\naddresses = [\"10.20.0.9/24\"]\n",
        );
        insta::assert_snapshot!(written);
    }

    #[test]
    fn without_the_table_nothing_is_asked() {
        assert_eq!(of(&Database::File, None), []);
    }
}
