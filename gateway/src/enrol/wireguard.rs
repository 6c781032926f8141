//! The configuration of a WireGuard app: the text that `wg-quick` and the apps read.
//!
//! In: the place of a device, and its private key if it was made here. Out: a text. Pure.

use std::fmt::Write;
use std::net::IpAddr;

use super::message::Place;

/// The text. Without a private key there is a remark where it belongs.
#[must_use]
pub fn configuration(place: &Place, private_key: Option<&str>) -> String {
    let key = private_key.map_or_else(
        || {
            "# PrivateKey = the private key of this device, which the gateway does not know"
                .to_owned()
        },
        |key| format!("PrivateKey = {}", key.trim_end()),
    );
    let addresses: Vec<String> = place.addresses.iter().map(host).collect();
    let gateway = &place.gateway;
    let mut text = String::new();
    // Nothing fails that writes into a string.
    let _ = write!(
        text,
        "# {}, {}\n[Interface]\n{key}\nAddress = {}\nMTU = {}\n\n[Peer]\nPublicKey = {}\nEndpoint = {}\nAllowedIPs = {}\nPersistentKeepalive = {KEEPALIVE}\n",
        place.device,
        place.standing.as_str(),
        addresses.join(", "),
        gateway.mtu,
        gateway.public_key,
        gateway.endpoint,
        gateway.networks.join(", "),
    );
    text
}

fn host(address: &IpAddr) -> String {
    let length = if address.is_ipv4() { 32 } else { 128 };
    format!("{address}/{length}")
}

/// Seconds: most routers at home forget a device that is silent for longer.
const KEEPALIVE: u16 = 25;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enrol::message::Gateway;
    use crate::flow::Standing;

    #[test]
    fn what_the_apps_read() {
        let place = Place {
            device: "ecg-1".parse().unwrap(),
            standing: Standing::Pending,
            addresses: vec!["100.96.64.1".parse().unwrap(), "fd64::2".parse().unwrap()],
            gateway: Gateway {
                public_key: format!("{}E=", "A".repeat(42)),
                endpoint: "gateway.example.org:51820".to_owned(),
                networks: vec!["10.20.2.10/32".to_owned(), "fd20::/64".to_owned()],
                mtu: 1420,
            },
        };
        let key = format!("{}I=\n", "A".repeat(42));
        let texts = [
            configuration(&place, None),
            configuration(&place, Some(&key)),
        ];
        insta::assert_snapshot!(texts.join("\n"));
    }
}
