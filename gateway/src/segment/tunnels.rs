//! The ways in: which interface each has, and which sources are its own.
//!
//! In: a configuration. Out: what the table needs to know of each tunnel. Pure.

use std::collections::BTreeSet;

use ipnet::IpNet;
use lazaret_config::Config;

use super::plan::Facts;

/// One way in.
pub(super) struct Tunnel {
    pub interface: String,
    /// In which it alone may have sources.
    pub networks: BTreeSet<IpNet>,
    /// Where its datagrams arrive outside.
    pub udp_port: u16,
}

/// The networks in which only tunnels may have sources: their own and those behind routers.
#[must_use]
pub fn networks(config: &Config) -> BTreeSet<IpNet> {
    let behind = config.devices.values().flat_map(|device| &device.networks);
    (config.tunnel_networks())
        .chain(behind)
        .map(IpNet::trunc)
        .collect()
}

/// Routers, and what is behind them, come through WireGuard.
pub(super) fn of(config: &Config, facts: &Facts) -> Vec<Tunnel> {
    let quic = config.quic.iter().map(|quic| Tunnel {
        interface: quic.interface.clone(),
        networks: quic.networks.iter().map(IpNet::trunc).collect(),
        udp_port: quic.listen.port(),
    });
    let of_quic: BTreeSet<IpNet> = quic.clone().flat_map(|tunnel| tunnel.networks).collect();
    let wireguard = Tunnel {
        interface: config.wireguard.interface.clone(),
        networks: networks(config).difference(&of_quic).copied().collect(),
        udp_port: facts.udp_port,
    };
    std::iter::once(wireguard).chain(quic).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::fixture::{at, device, small};
    use crate::segment::plan::{Listeners, Plan};
    use lazaret_config::{HospitalMode, Identity, PostQuantum, Quic};
    use std::collections::BTreeMap;

    //= C5
    #[test]
    fn each_tunnel_has_sources_of_its_own_and_the_same_rules() {
        let mut config = small(HospitalMode::Snat);
        let facts = Facts {
            now: "2026-11-24T11:00:00Z".parse().unwrap(),
            standing: BTreeMap::new(),
            listeners: Listeners {
                v4: Some(at("10.64.255.254:7000")),
                v6: None,
            },
            udp_port: 51820,
            held: BTreeSet::new(),
        };
        config.quic = Some(Quic {
            listen: at("[::]:443"),
            interface: "lz1".to_owned(),
            networks: vec!["10.65.0.0/16".parse().unwrap()],
            addresses: vec!["10.65.255.254".parse().unwrap()],
            mtu: 1280,
            post_quantum: PostQuantum::Preferred,
            segmentation_offload: true,
            initial_mtu: 1200,
        });
        device(&mut config, "clinician", &["10.65.0.1"], &["ecg"]);
        let clinician = config.devices.get_mut(&"clinician".parse().unwrap());
        clinician.unwrap().identity = Identity::Certificate;
        let table = Plan::new(&config, &facts).table().to_string();
        for rule in [
            "iifname != lz0 iifname != lo ip saddr 10.64.0.0/16 counter",
            "iifname != lz1 iifname != lo ip saddr 10.65.0.0/16 counter",
            "iifname != lz0 iifname != lz1 udp dport 443 accept",
            "iifname != lz0 iifname != lz1 udp dport 51820 accept",
            "oifname != lz0 oifname != lz1 udp sport 443 accept",
        ] {
            assert!(table.contains(rule), "{rule}\n{table}");
        }
        let of = |name: &str| {
            let lines = table
                .lines()
                .filter(|line| line.contains(&format!("iifname {name} ")));
            lines
                .map(|line| line.replace(name, "TUN"))
                .collect::<Vec<_>>()
        };
        assert_eq!(of("lz0"), of("lz1"));
        assert!(of("lz1").len() > 8, "{table}");
        config.quic = None;
        config.devices.remove(&"clinician".parse().unwrap());
        let table = Plan::new(&config, &facts).table().to_string();
        assert!(!table.contains("lz1") && !table.contains("443"), "{table}");
    }
}
