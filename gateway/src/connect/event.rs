//! What a client tells its user, as text or as JSON.
//!
//! In: what happened. Out: a sentence, or an object with a stable form.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::Serialize;

use crate::masque::service;

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A connection is tried.
    Connecting {
        /// As the file says it.
        gateway: String,
        /// Where that is.
        address: SocketAddr,
    },
    /// The tunnel is open.
    Connected {
        /// Whether a quantum computer could not undo the key exchange.
        post_quantum: Option<bool>,
        /// The key exchange, as the registry of TLS calls it.
        key_exchange: Option<String>,
    },
    /// Our addresses.
    Addresses {
        /// All of them.
        addresses: Vec<IpNet>,
    },
    /// What may be used.
    Services {
        /// All of them.
        services: Vec<Service>,
    },
    /// A local port leads to a service.
    Forwarding {
        /// The local port.
        listen: SocketAddr,
        /// The service.
        service: String,
    },
    /// A program used a local port whose service cannot be used now.
    NotAllowed {
        /// The service.
        service: String,
        /// For the user.
        why: String,
    },
    /// An interface carries the packets.
    Interface {
        /// Its name.
        name: String,
    },
    /// A route or address of the gateway's that this machine does not take.
    RouteLeftOut {
        /// Which.
        route: IpNet,
        /// For the user.
        why: &'static str,
    },
    /// How long a packet takes to the gateway and back.
    Latency {
        /// In milliseconds.
        milliseconds: f64,
    },
    /// The way to the gateway changed; the tunnel goes with it.
    Moved {
        /// Our address on the new way.
        address: IpAddr,
    },
    /// The gateway wants to be left soon.
    GoingAway,
    /// The gateway, or we, refuse.
    Refused {
        /// For the user.
        why: String,
        /// When it is tried again, in seconds; nothing when it is not.
        retry: Option<u64>,
    },
    /// There is no tunnel now.
    Lost {
        /// For the user.
        why: String,
        /// When it is tried again, in seconds; nothing when it is not.
        retry: Option<u64>,
    },
    /// The user ended it.
    Stopped,
}

/// What may be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Service {
    /// As the gateway calls it.
    pub name: String,
    /// Where it is.
    pub address: IpAddr,
    /// `tcp/104`, `tcp/8000-8010`, or `all`.
    pub ports: String,
    /// Seconds until it may no more be used; nothing when no end is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<u64>,
}

impl From<&service::Service> for Service {
    fn from(service: &service::Service) -> Self {
        let (first, last) = (service.first_port, service.last_port);
        let protocol = match service.protocol {
            6 => "tcp/".to_owned(),
            17 => "udp/".to_owned(),
            other => format!("{other}/"),
        };
        let ports = match service.protocol {
            0 => "all".to_owned(),
            _ if first == last => format!("{protocol}{first}"),
            _ => format!("{protocol}{first}-{last}"),
        };
        Self {
            name: service.name.clone(),
            address: service.address,
            ports,
            seconds_left: Some(service.seconds_left).filter(|left| *left > 0),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connecting { gateway, address } => {
                write!(f, "connecting to {gateway} ({address})")
            }
            Self::Connected {
                post_quantum,
                key_exchange,
            } => {
                f.write_str(match post_quantum {
                    Some(true) => "connected, post-quantum key exchange",
                    Some(false) => "connected, classical key exchange",
                    None => "connected",
                })?;
                let mut name = key_exchange.iter();
                name.try_for_each(|name| write!(f, " ({name})"))
            }
            Self::Addresses { addresses } => {
                f.write_str("address")?;
                addresses
                    .iter()
                    .try_for_each(|address| write!(f, " {}", address.addr()))
            }
            Self::Services { services } => write_services(services, f),
            Self::Forwarding { listen, service } => write!(f, "{listen} leads to {service}"),
            Self::NotAllowed { service, why } => write!(f, "{service}: {why}"),
            Self::Interface { name } => write!(f, "interface {name}"),
            Self::RouteLeftOut { route, why } => write!(f, "{route} is left out: {why}"),
            Self::Latency { milliseconds } => write!(f, "latency {milliseconds:.1} ms"),
            Self::Moved { address } => write!(f, "moved to {address}"),
            Self::GoingAway => f.write_str("the gateway is about to restart"),
            Self::Refused { why, retry } => write_end(f, "refused", why, *retry),
            Self::Lost { why, retry } => write_end(f, "no connection", why, *retry),
            Self::Stopped => f.write_str("stopped"),
        }
    }
}

fn write_services(services: &[Service], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if services.is_empty() {
        return f.write_str("no service may be used now");
    }
    f.write_str("services:")?;
    for service in services {
        write!(
            f,
            "\n  {}  {} {}",
            service.name, service.address, service.ports
        )?;
        if let Some(left) = service.seconds_left {
            write!(f, "  for {} min", left.div_ceil(60))?;
        }
    }
    Ok(())
}

fn write_end(f: &mut fmt::Formatter<'_>, what: &str, why: &str, retry: Option<u64>) -> fmt::Result {
    write!(f, "{what}: {why}")?;
    match retry {
        Some(seconds) => write!(f, "; next attempt in {seconds} s"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_a_sentence_and_a_stable_form() {
        let service = service::Service {
            name: "console".to_owned(),
            address: "10.20.0.5".parse().unwrap(),
            protocol: 6,
            first_port: 22,
            last_port: 3389,
            seconds_left: 61,
        };
        let all = [
            Event::Connecting {
                gateway: "gateway.example.org".to_owned(),
                address: "192.0.2.1:443".parse().unwrap(),
            },
            Event::Connected {
                post_quantum: Some(true),
                key_exchange: Some("X25519MLKEM768".to_owned()),
            },
            Event::Services {
                services: vec![(&service).into()],
            },
            Event::Services { services: vec![] },
            Event::Latency {
                milliseconds: 12.34,
            },
            Event::Refused {
                why: "the certificate has expired".to_owned(),
                retry: Some(300),
            },
            Event::Lost {
                why: "no answer".to_owned(),
                retry: None,
            },
        ];
        let expected = [
            (
                "connecting to gateway.example.org (192.0.2.1:443)",
                r#"{"event":"connecting","gateway":"gateway.example.org","address":"192.0.2.1:443"}"#,
            ),
            (
                "connected, post-quantum key exchange (X25519MLKEM768)",
                r#"{"event":"connected","post_quantum":true,"key_exchange":"X25519MLKEM768"}"#,
            ),
            (
                "services:\n  console  10.20.0.5 tcp/22-3389  for 2 min",
                r#"{"event":"services","services":[{"name":"console","address":"10.20.0.5","ports":"tcp/22-3389","seconds_left":61}]}"#,
            ),
            (
                "no service may be used now",
                r#"{"event":"services","services":[]}"#,
            ),
            (
                "latency 12.3 ms",
                r#"{"event":"latency","milliseconds":12.34}"#,
            ),
            (
                "refused: the certificate has expired; next attempt in 300 s",
                r#"{"event":"refused","why":"the certificate has expired","retry":300}"#,
            ),
            (
                "no connection: no answer",
                r#"{"event":"lost","why":"no answer","retry":null}"#,
            ),
        ];
        for (event, (text, json)) in all.iter().zip(expected) {
            assert_eq!(event.to_string(), text);
            assert_eq!(serde_json::to_string(event).unwrap(), json);
        }
    }
}
