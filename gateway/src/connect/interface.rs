//! An interface of our own for the packets of a tunnel, and routes to what the gateway advertises and `reach` takes.
//!
//! In: what was granted, packets of the gateway. Out: packets for the gateway. Needs CAP_NET_ADMIN; for Linux alone.
//! The interface ends with this process, however it ends, and its addresses and routes with it.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use rtnetlink::{Handle, LinkUnspec};
use tokio::sync::{mpsc, watch};
use tokio::time::{self, Instant};
use tracing::debug;

use super::event::Event;
use super::link::Granted;
use super::networks;
use super::reach::{self, Reach};
use crate::masque::MIN_MTU;
use crate::route::into_interface;
use crate::tunnel::batch::Batch;
use crate::tunnel::device::{self, Tun, TunDevice};

/// What the file says about the interface.
pub(super) struct Wanted {
    /// Its name.
    pub(super) name: String,
    /// Where routes may lead to, if the file says so.
    pub(super) networks: Option<Vec<IpNet>>,
}

/// Begins: the interface comes with the first addresses and stays until the client ends.
///
/// # Errors
/// When there may be no interface of this name.
pub(super) fn start(
    wanted: Wanted,
    granted: watch::Receiver<Granted>,
    arriving: mpsc::Receiver<Vec<u8>>,
    leaves: mpsc::Sender<Vec<u8>>,
    events: mpsc::Sender<Event>,
) -> Result<(), String> {
    // Better now than when the gateway said yes.
    drop(open(&wanted.name, &BTreeSet::new(), MIN_MTU).map_err(|error| explain(&error))?);
    let (connection, handle, _) =
        rtnetlink::new_connection().map_err(|error| format!("cannot set routes: {error}"))?;
    tokio::spawn(connection);
    let carrier = Carrier {
        wanted,
        granted,
        arriving,
        leaves,
        events,
        handle,
        told: BTreeSet::new(),
    };
    tokio::spawn(carrier.run());
    Ok(())
}

fn open(
    name: &str,
    addresses: &BTreeSet<IpAddr>,
    mtu: usize,
) -> Result<TunDevice, device::TunError> {
    // Without a network of their own: routes come from the gateway, one by one.
    let alone = |address: &IpAddr| (*address, if address.is_ipv4() { 32 } else { 128 });
    let addresses: Vec<(IpAddr, u8)> = addresses.iter().map(alone).collect();
    device::open(name, &addresses, u16::try_from(mtu).unwrap_or(1280), true)
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
    wanted: Wanted,
    granted: watch::Receiver<Granted>,
    arriving: mpsc::Receiver<Vec<u8>>,
    leaves: mpsc::Sender<Vec<u8>>,
    events: mpsc::Sender<Event>,
    handle: Handle,
    /// What was told to be left out.
    told: BTreeSet<(IpNet, &'static str)>,
}

/// An interface with these addresses and routes.
struct Up {
    addresses: BTreeSet<IpAddr>,
    routes: BTreeSet<IpNet>,
    mtu: usize,
    index: u32,
    since: Instant,
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
                    up = self.follow(up).await;
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

    /// Makes the interface what was granted.
    async fn follow(&mut self, up: Option<Up>) -> Option<Up> {
        let granted = self.granted.borrow_and_update().clone();
        // While there is no tunnel the interface stays, so that nothing takes another way.
        if !granted.is_open || granted.addresses.is_empty() {
            return up;
        }
        let own = networks::own(&self.wanted.name);
        let reach = reach::judge(
            &granted,
            self.wanted.networks.as_deref(),
            &own,
            networks::has_six(),
        );
        self.tell_left(&reach).await;
        let mut up = match up {
            Some(up) if up.addresses == reach.addresses => up,
            before => {
                if let Some(before) = before {
                    // A gateway that changes its mind all the time must not keep this machine busy.
                    time::sleep_until(before.since + SETTLES).await;
                    // The old one goes first: they have one name.
                    drop(before);
                }
                if reach.addresses.is_empty() {
                    return None;
                }
                self.set_up(&reach, granted.mtu).await?
            }
        };
        if let Err(why) = self.adjust(&mut up, &reach, granted.mtu).await {
            self.tell(Event::Lost { why, retry: None }).await;
        }
        Some(up)
    }

    async fn set_up(&mut self, reach: &Reach, mtu: usize) -> Option<Up> {
        let name = self.wanted.name.clone();
        let make = || {
            let device = open(&name, &reach.addresses, mtu).map_err(|error| explain(&error))?;
            let failed = |error: &dyn std::fmt::Display| format!("cannot use {name}: {error}");
            let index =
                nix::net::if_::if_nametoindex(name.as_str()).map_err(|error| failed(&error))?;
            let descriptor = device.descriptor.try_clone();
            let tun = descriptor
                .and_then(|descriptor| Tun::over(descriptor, device.vnet_hdr))
                .map_err(|error| failed(&error))?;
            Ok(Up {
                addresses: reach.addresses.clone(),
                routes: BTreeSet::new(),
                mtu,
                index,
                since: Instant::now(),
                tun,
                _device: device,
            })
        };
        match make() {
            Ok(up) => {
                self.tell(Event::Interface { name: name.clone() }).await;
                Some(up)
            }
            Err(why) => {
                self.tell(Event::Lost { why, retry: None }).await;
                None
            }
        }
    }

    /// Routes and MTU, as far as they are not so already.
    async fn adjust(&mut self, up: &mut Up, reach: &Reach, mtu: usize) -> Result<(), String> {
        if up.mtu != mtu
            && let Ok(mtu) = u32::try_from(mtu)
        {
            let link = LinkUnspec::new_with_index(up.index).mtu(mtu).build();
            let set = self.handle.link().change(link).execute().await;
            set.map_err(|error| format!("cannot set the MTU: {error}"))?;
        }
        up.mtu = mtu;
        let gone: Vec<IpNet> = up.routes.difference(&reach.routes).copied().collect();
        for net in gone {
            let route = into_interface(net, up.index);
            // One that is gone already is as good.
            let _ = self.handle.route().del(route).execute().await;
            up.routes.remove(&net);
        }
        let new: Vec<IpNet> = reach.routes.difference(&up.routes).copied().collect();
        for net in new {
            let route = into_interface(net, up.index);
            match self.handle.route().add(route).execute().await {
                Ok(()) => drop(up.routes.insert(net)),
                // Somebody else's route is not ours to replace.
                Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == -libc::EEXIST => {
                    let why = "this machine has another way there already";
                    if self.told.insert((net, why)) {
                        self.tell(Event::RouteLeftOut { route: net, why }).await;
                    }
                }
                Err(error) => return Err(format!("cannot set the route to {net}: {error}")),
            }
        }
        Ok(())
    }

    /// What is left out is told once.
    async fn tell_left(&mut self, reach: &Reach) {
        for (route, why) in &reach.left {
            if self.told.len() < MAX_TOLD && self.told.insert((*route, *why)) {
                self.tell(Event::RouteLeftOut { route: *route, why }).await;
            }
        }
    }

    async fn tell(&self, event: Event) {
        // Nobody listens when the client is about to end.
        let _ = self.events.send(event).await;
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

/// Other addresses are taken no more often.
const SETTLES: Duration = Duration::from_secs(1);
/// Most things that are told to be left out.
//= C7
const MAX_TOLD: usize = 256;
