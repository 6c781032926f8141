//! Both ends against each other, and each against what it must refuse.

mod capsule;
mod client;
mod corpus;
mod packet;
mod pair;
mod random;
mod server;

use ipnet::IpNet;

use super::capsule::Route;
use super::server::Grant;
use super::service::Service;
use super::{frame, varint};

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn route(start: &str, end: &str, protocol: u8) -> Route {
    Route {
        start: start.parse().unwrap(),
        end: end.parse().unwrap(),
        protocol,
    }
}

fn grant() -> Grant {
    Grant {
        addresses: vec![net("10.65.0.7/32"), net("fd65::7/128")],
        routes: vec![
            Route::all(net("fd20::/64")),
            Route::all(net("10.20.1.10/32")),
        ],
        services: vec![Service {
            name: "pacs".to_owned(),
            address: "10.20.1.10".parse().unwrap(),
            protocol: 6,
            first_port: 104,
            last_port: 104,
            seconds_left: 0,
        }],
    }
}

/// A frame.
fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::write(kind, payload, &mut out);
    out
}

fn number(value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    varint::write(value, &mut out);
    out
}
