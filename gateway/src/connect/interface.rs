//! An interface of our own for the packets of a tunnel, and routes to what the gateway advertises and nothing else.
//!
//! In: what was granted, packets of the gateway. Out: packets for the gateway. Needs CAP_NET_ADMIN; for Linux alone.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_route::route::RouteScope;
use tokio::sync::{mpsc, watch};
use tracing::debug;

use super::event::Event;
use super::link::{Granted, MTU};
use crate::masque::capsule::Route;
use crate::tunnel::batch::Batch;
use crate::tunnel::device::{self, Tun, TunDevice};

/// Most routes that are set.
//= C7
const MAX_PREFIXES: usize = 1024;

/// Begins: the interface comes with the first addresses and stays until the client ends.
///
/// # Errors
/// When there may be no interface of this name.
pub(super) fn start(
    name: &str,
    granted: watch::Receiver<Granted>,
    arriving: mpsc::Receiver<Vec<u8>>,
    leaves: mpsc::Sender<Vec<u8>>,
    events: mpsc::Sender<Event>,
) -> Result<(), String> {
    // Better now than when the gateway said yes.
    drop(open(name, &[]).map_err(|error| explain(&error))?);
    let carrier = Carrier {
        name: name.to_owned(),
        granted,
        arriving,
        leaves,
        events,
    };
    tokio::spawn(carrier.run());
    Ok(())
}

fn open(name: &str, addresses: &[IpNet]) -> Result<TunDevice, device::TunError> {
    let addresses: Vec<(IpAddr, u8)> = addresses
        .iter()
        .map(|net| (net.addr(), net.prefix_len()))
        .collect();
    device::open(name, &addresses, u16::try_from(MTU).unwrap_or(1280), false)
}

fn explain(error: &device::TunError) -> String {
    let cause =
        std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>());
    match cause.map(io::Error::kind) {
        Some(io::ErrorKind::PermissionDenied) => format!(
            "{error}: it needs CAP_NET_ADMIN; without it use `forward` instead of `interface`"
        ),
        _ => cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}")),
    }
}

struct Carrier {
    name: String,
    granted: watch::Receiver<Granted>,
    arriving: mpsc::Receiver<Vec<u8>>,
    leaves: mpsc::Sender<Vec<u8>>,
    events: mpsc::Sender<Event>,
}

/// An interface with these addresses and routes.
struct Up {
    addresses: Vec<IpNet>,
    routes: Vec<Route>,
    tun: Tun,
    /// Lasts as long as this value.
    _device: TunDevice,
}

impl Carrier {
    async fn run(mut self) {
        let mut up: Option<Up> = None;
        loop {
            tokio::select! {
                changed = self.granted.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let granted = self.granted.borrow_and_update().clone();
                    let same = |up: &Up| up.addresses == granted.addresses && up.routes == granted.routes;
                    if !granted.addresses.is_empty() && !up.as_ref().is_some_and(same) {
                        // The old one goes first: they have one name.
                        drop(up.take());
                        up = self.set_up(&granted).await;
                    }
                }
                packet = self.arriving.recv() => {
                    let Some(packet) = packet else { return };
                    let mut batch = Batch::new();
                    batch.push(&packet, ());
                    while let Ok(packet) = self.arriving.try_recv() {
                        batch.push(&packet, ());
                    }
                    if up.as_ref().is_some_and(|up| up.tun.write(&batch).is_err()) {
                        up = None;
                    }
                }
                read = read(up.as_ref()) => match read {
                    Ok(batch) => {
                        for (packet, ()) in batch.iter() {
                            // What finds no place is lost, as on any network.
                            let _ = self.leaves.try_send(packet.to_vec());
                        }
                    }
                    Err(error) => {
                        debug!(%error, "the interface is gone");
                        up = None;
                    }
                },
            }
        }
    }

    async fn set_up(&self, granted: &Granted) -> Option<Up> {
        let made = match open(&self.name, &granted.addresses) {
            Ok(device) => add_routes(&self.name, granted, &self.events)
                .await
                .map(|()| device),
            Err(error) => Err(explain(&error)),
        };
        let tun = made.and_then(|device| {
            let descriptor = device.descriptor.try_clone();
            let tun = descriptor
                .and_then(Tun::new)
                .map_err(|error| error.to_string())?;
            Ok((device, tun))
        });
        match tun {
            Ok((device, tun)) => {
                let name = self.name.clone();
                let _ = self.events.send(Event::Interface { name }).await;
                Some(Up {
                    addresses: granted.addresses.clone(),
                    routes: granted.routes.clone(),
                    tun,
                    _device: device,
                })
            }
            Err(why) => {
                let _ = self.events.send(Event::Lost { why, retry: None }).await;
                None
            }
        }
    }
}

/// Packets of the system; never while there is no interface.
async fn read(up: Option<&Up>) -> io::Result<Batch<()>> {
    let Some(up) = up else {
        return std::future::pending().await;
    };
    up.tun.readable().await?;
    let mut batch = Batch::new();
    up.tun.read(&mut batch)?;
    Ok(batch)
}

/// Routes as prefixes, without those that hold the gateway itself: its own packets must not go through the tunnel.
fn prefixes(granted: &Granted) -> (Vec<IpNet>, Vec<IpNet>) {
    let all = granted
        .routes
        .iter()
        .flat_map(|route| -> Box<dyn Iterator<Item = IpNet>> {
            match (route.start, route.end) {
                (IpAddr::V4(start), IpAddr::V4(end)) => {
                    Box::new(Ipv4Subnets::new(start, end, 0).map(IpNet::V4))
                }
                (IpAddr::V6(start), IpAddr::V6(end)) => {
                    Box::new(Ipv6Subnets::new(start, end, 0).map(IpNet::V6))
                }
                _ => Box::new(std::iter::empty()),
            }
        });
    let mut all: Vec<IpNet> = all.take(MAX_PREFIXES).collect();
    all.sort_unstable();
    all.dedup();
    let holds = |net: &IpNet| {
        granted
            .gateway
            .is_some_and(|gateway| net.contains(&gateway))
    };
    all.into_iter().partition(|net| !holds(net))
}

async fn add_routes(
    name: &str,
    granted: &Granted,
    events: &mpsc::Sender<Event>,
) -> Result<(), String> {
    let failed = |what: &str, error: &dyn std::fmt::Display| format!("cannot set {what}: {error}");
    let index = nix::net::if_::if_nametoindex(name).map_err(|error| failed(name, &error))?;
    let (connection, handle, _) =
        rtnetlink::new_connection().map_err(|error| failed("routes", &error))?;
    let work = tokio::spawn(connection);
    let (take, leave) = prefixes(granted);
    for route in leave {
        let _ = events.send(Event::RouteLeftOut { route }).await;
    }
    let mut done = Ok(());
    for net in take {
        let route = match net {
            IpNet::V4(net) => RouteMessageBuilder::<Ipv4Addr>::new()
                .destination_prefix(net.network(), net.prefix_len())
                .output_interface(index)
                .scope(RouteScope::Link)
                .build(),
            IpNet::V6(net) => RouteMessageBuilder::<Ipv6Addr>::new()
                .destination_prefix(net.network(), net.prefix_len())
                .output_interface(index)
                .build(),
        };
        if let Err(error) = handle.route().add(route).replace().execute().await {
            done = Err(failed(&format!("the route to {net}"), &error));
            break;
        }
    }
    work.abort();
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_prefixes_and_the_gateway_stays_outside() {
        let route = |start: &str, end: &str, protocol| Route {
            start: start.parse().unwrap(),
            end: end.parse().unwrap(),
            protocol,
        };
        let granted = Granted {
            gateway: Some("203.0.113.1".parse().unwrap()),
            routes: vec![
                route("10.20.0.4", "10.20.0.6", 0),
                route("10.20.0.4", "10.20.0.5", 6),
                route("203.0.113.0", "203.0.113.255", 0),
                route("fd20::", "fd20::ffff:ffff:ffff:ffff", 0),
            ],
            ..Granted::default()
        };
        let nets = |list: &[&str]| {
            list.iter()
                .map(|net| net.parse().unwrap())
                .collect::<Vec<IpNet>>()
        };
        let taken = nets(&["10.20.0.4/31", "10.20.0.6/32", "fd20::/64"]);
        assert_eq!(prefixes(&granted), (taken, nets(&["203.0.113.0/24"])));
    }
}
