//! What the supervisor gets from the kernel before anything else: the ground on which the gateway stands.
//!
//! In: the configuration. Out: the tunnel's interface, the table in force, the sockets.
//! The order is the promise: the rules stand before the first tunnel packet can come.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::Path;

use ipnet::IpNet;
use jiff::Timestamp;
use lazaret_config::{Config, Quic};
use tokio::net::TcpListener;

use super::enforce;
use super::error::DaemonError;
use crate::registry::Registry;
use crate::segment::host;
use crate::segment::plan::{Listeners, Plan};
use crate::tunnel::device::{self, TunDevice};
use crate::tunnel::{uapi, udp};

/// Held for the life of the supervisor; workers get copies of the descriptors.
pub(super) struct Ground {
    pub(super) tun: TunDevice,
    pub(super) udp: Vec<OwnedFd>,
    pub(super) uapi: OwnedFd,
    pub(super) quic: Option<QuicGround>,
    /// Where intercepted connections arrive.
    pub(super) listeners: Listeners,
}

/// Of the tunnel for certificates.
pub(super) struct QuicGround {
    pub(super) tun: TunDevice,
    pub(super) udp: Vec<OwnedFd>,
}

impl Ground {
    /// Makes everything, with the table for today's policy.
    //= C4
    pub(super) async fn prepare(
        config: &Config,
        registry: &Registry,
        now: Timestamp,
    ) -> Result<(Self, Plan, Vec<TcpListener>), DaemonError> {
        let tunnel = &config.wireguard;
        std::fs::create_dir_all(config.gateway.state_dir.join(SPOOLS)).map_err(|cause| {
            DaemonError::System {
                step: "make the folder of spools",
                cause,
            }
        })?;
        host::prepare(config).await?;
        let own = inside(&tunnel.addresses, &tunnel.networks);
        let tun = device::open(&tunnel.interface, &own, tunnel.mtu, false)?;
        let open = |quic: &Quic| {
            let own = inside(&quic.addresses, &quic.networks);
            // Packets of TCP go as one through the interface where the kernel can.
            let offload = quic.segmentation_offload;
            device::open(&quic.interface, &own, quic.mtu, offload)
        };
        let quic_tun = config.quic.as_ref().map(open).transpose()?;
        host::prepare_interface(config).await?;
        let (accepting, listeners) = listen(config)?;
        let facts = enforce::facts(config, registry, listeners, now);
        let plan = Plan::new(config, &facts);
        enforce::load(&plan)?;
        let failed = |what: String| move |cause| DaemonError::Listen { what, cause };
        let udp = udp::bind(tunnel.listen).map_err(failed(format!("udp {}", tunnel.listen)))?;
        let uapi = uapi::listen(Path::new(UAPI_DIRECTORY), &tunnel.interface).map_err(failed(
            format!("{UAPI_DIRECTORY}/{}.sock", tunnel.interface),
        ))?;
        let quic = match (quic_tun, &config.quic) {
            (Some(tun), Some(quic)) => {
                let bound = udp::bind(quic.listen);
                let udp = bound.map_err(failed(format!("udp {}", quic.listen)))?;
                Some(QuicGround { tun, udp })
            }
            (Some(_), None) | (None, _) => None,
        };
        Ok((
            Self {
                quic,
                tun,
                udp,
                uapi,
                listeners,
            },
            plan,
            accepting,
        ))
    }
}

/// The gateway's own addresses, each with the length of its network.
fn inside(addresses: &[IpAddr], networks: &[IpNet]) -> Vec<(IpAddr, u8)> {
    let both = addresses.iter().zip(networks);
    both.map(|(address, network)| (*address, network.prefix_len()))
        .collect()
}

fn listen(config: &Config) -> Result<(Vec<TcpListener>, Listeners), DaemonError> {
    let mut accepting = Vec::new();
    let mut listeners = Listeners::default();
    for address in config.tunnel_addresses() {
        let wanted = SocketAddr::new(address, 0);
        let failed = |cause| DaemonError::Listen {
            what: format!("tcp {wanted}"),
            cause,
        };
        let listener = bind(wanted).map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let place = if bound.is_ipv4() {
            &mut listeners.v4
        } else {
            &mut listeners.v6
        };
        if place.is_none() {
            *place = Some(bound);
            accepting.push(listener);
        }
    }
    Ok((accepting, listeners))
}

/// The address may still be tentative (IPv6): it is ours all the same.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::STREAM,
        None,
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv4() {
        socket.set_freebind_v4(true)?;
    } else {
        socket.set_freebind_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// Below the state directory: messages that are too large for memory, without names and encrypted.
pub(super) const SPOOLS: &str = "spool";
/// Where `wg` looks for user-space tunnels.
const UAPI_DIRECTORY: &str = "/var/run/wireguard";
const BACKLOG: i32 = 1024;
