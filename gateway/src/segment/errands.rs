//! What the machine of the signed image asks of others for itself: names, time, addresses, updates.
//!
//! In: `[appliance]`. Out: rules of the table for exactly that, never towards the tunnel.
//! Pure. On a server there is no such table: what that machine needs beside the gateway is not allowed here.

use std::net::{IpAddr, SocketAddr};

use lazaret_config::{Addressing, Appliance, TimeServer, Transport};

use crate::segment::table::{Rule, State, Term};

/// One kind of question to one server, or to any where its address is not known beforehand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Errand {
    to: Option<IpAddr>,
    transport: Transport,
    /// Where the server listens.
    port: u16,
    /// Where the answer goes, and the only port that asks; `None`: any, and only answers come in.
    from: Option<u16>,
}

/// Everything that `[appliance]` makes necessary.
pub(super) fn of(appliance: Option<&Appliance>) -> Vec<Errand> {
    let Some(appliance) = appliance else {
        return Vec::new();
    };
    let mut errands = Vec::new();
    let mut ask = |to, transport, port| {
        let errand = Errand {
            to,
            transport,
            port,
            from: None,
        };
        if !errands.contains(&errand) {
            errands.push(errand);
        }
    };
    let dhcp = (appliance.interfaces.values())
        .any(|interface| matches!(interface.addressing, Addressing::Dhcp));
    let told = |written: bool| (dhcp && !written).then_some(None);
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
    if dhcp {
        errands.push(Errand {
            to: None,
            transport: Transport::Udp,
            port: DHCP_SERVER,
            from: Some(DHCP_CLIENT),
        });
    }
    errands
}

impl Errand {
    /// Lets the question out.
    pub(super) fn asks(&self, tunnel: &str) -> Rule {
        let mut terms = vec![Term::NotTowards(tunnel.to_owned())];
        terms.extend(self.to.map(Term::Destination));
        terms.extend(self.from.map(|port| Term::SourcePort(self.transport, port)));
        terms.push(Term::Port(self.transport, self.port));
        terms.push(Term::Accept);
        Rule(terms)
    }

    /// Lets the answer in.
    pub(super) fn hears(&self, tunnel: &str) -> Rule {
        let mut terms = vec![Term::NotFrom(tunnel.to_owned())];
        terms.extend(self.to.map(Term::Source));
        terms.push(Term::SourcePort(self.transport, self.port));
        // An offer of DHCP comes from a server that was asked by broadcast: it answers no known connection.
        terms.push(match self.from {
            Some(port) => Term::Port(self.transport, port),
            None => Term::State(State::EstablishedRelated),
        });
        terms.push(Term::Accept);
        Rule(terms)
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
const DHCP_SERVER: u16 = 67;
const DHCP_CLIENT: u16 = 68;
const HTTP: u16 = 80;
const NTP: u16 = 123;
const HTTPS: u16 = 443;

#[cfg(test)]
mod tests {
    use super::*;

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
        let update = Errand {
            to: Some([10, 20, 2, 10].into()),
            transport: Transport::Tcp,
            port: 8443,
            from: None,
        };
        let Rule(asks) = update.asks("lz-wg");
        assert_eq!(
            asks,
            [
                Term::NotTowards("lz-wg".to_owned()),
                Term::Destination([10, 20, 2, 10].into()),
                Term::Port(Transport::Tcp, 8443),
                Term::Accept,
            ]
        );
        let Rule(hears) = update.hears("lz-wg");
        assert!(hears.contains(&Term::Source([10, 20, 2, 10].into())));
        assert!(hears.contains(&Term::State(State::EstablishedRelated)));
    }

    #[test]
    fn without_the_table_nothing_is_asked() {
        assert_eq!(of(None), []);
    }
}
