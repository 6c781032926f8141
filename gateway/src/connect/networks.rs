//! The networks of this machine, and when they change. For Linux alone; elsewhere a timer looks.
//!
//! In: nothing. Out: networks, and a word whenever something changed.

use std::net::IpAddr;
use std::sync::Arc;

use futures_util::StreamExt;
use ipnet::IpNet;
use nix::net::if_::InterfaceFlags;
use rtnetlink::MulticastGroup;
use tokio::sync::Notify;
use tracing::debug;

/// Tells of every change of links, addresses and routes, for as long as the runtime lasts.
pub(super) fn changes() -> Arc<Notify> {
    let changed = Arc::new(Notify::new());
    let groups = [
        MulticastGroup::Link,
        MulticastGroup::Ipv4Ifaddr,
        MulticastGroup::Ipv6Ifaddr,
        MulticastGroup::Ipv4Route,
        MulticastGroup::Ipv6Route,
    ];
    match rtnetlink::new_multicast_connection(&groups) {
        Ok((connection, handle, mut messages)) => {
            tokio::spawn(connection);
            let tell = Arc::clone(&changed);
            tokio::spawn(async move {
                // The connection ends with its handle.
                let _handle = handle;
                while messages.next().await.is_some() {
                    tell.notify_one();
                }
            });
        }
        Err(error) => debug!(%error, "the system does not tell of changes"),
    }
    changed
}

/// Whether a new interface may have addresses of IPv6.
pub(super) fn has_six() -> bool {
    let turned_off = std::fs::read_to_string("/proc/sys/net/ipv6/conf/default/disable_ipv6");
    turned_off.is_ok_and(|text| text.trim() == "0")
}

/// The networks that this machine is in, but for the loopback and for an interface of ours.
pub(super) fn own(ours: &str) -> Vec<IpNet> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else {
        return Vec::new();
    };
    let others = interfaces.filter(|one| {
        let up = one.flags.contains(InterfaceFlags::IFF_UP);
        up && !one.flags.contains(InterfaceFlags::IFF_LOOPBACK) && one.interface_name != ours
    });
    let network = |one: nix::ifaddrs::InterfaceAddress| {
        let (address, mask) = (one.address?, one.netmask?);
        let address: IpAddr = match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
            (Some(four), _) => four.ip().into(),
            (None, Some(six)) if !six.ip().is_unicast_link_local() => six.ip().into(),
            (None, _) => return None,
        };
        let mask: IpAddr = match (mask.as_sockaddr_in(), mask.as_sockaddr_in6()) {
            (Some(four), _) => four.ip().into(),
            (None, Some(six)) => six.ip().into(),
            (None, None) => return None,
        };
        Some(IpNet::with_netmask(address, mask).ok()?.trunc())
    };
    others.filter_map(network).collect()
}
