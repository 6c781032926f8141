//! What the supervisor gets from the kernel before anything else: the ground on which the gateway stands.
//!
//! In: the configuration. Out: the tunnel's interface, the table in force, the sockets.
//! The order is the promise: the rules stand before the first tunnel packet can come.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

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
        let udp = when_free(|| udp::bind(tunnel.listen)).await;
        let udp = udp.map_err(failed(format!("udp {}", tunnel.listen)))?;
        let directory = Path::new(UAPI_DIRECTORY);
        let uapi = when_free(|| uapi::listen(directory, &tunnel.interface)).await;
        let uapi = uapi.map_err(failed(format!(
            "{UAPI_DIRECTORY}/{}.sock",
            tunnel.interface
        )))?;
        let quic = match (quic_tun, &config.quic) {
            (Some(tun), Some(quic)) => {
                let bound = when_free(|| udp::bind(quic.listen)).await;
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

/// Binds; what is taken may be held by a worker of a supervisor that was killed, and that worker is ending.
//= C8
async fn when_free<T>(bind: impl Fn() -> io::Result<T>) -> io::Result<T> {
    for _ in 0..ATTEMPTS {
        match bind() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                tokio::time::sleep(PAUSE).await;
            }
            result => return result,
        }
    }
    bind()
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
/// Five seconds in all.
const ATTEMPTS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(50);
/// Where `wg` looks for user-space tunnels.
const UAPI_DIRECTORY: &str = "/var/run/wireguard";
const BACKLOG: i32 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    //= C8
    #[tokio::test]
    async fn what_is_taken_is_waited_for_and_nothing_else() {
        let attempts = std::cell::Cell::new(0);
        let freed = when_free(|| {
            attempts.set(attempts.get() + 1);
            if attempts.get() < 3 {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            Ok(())
        });
        assert!(freed.await.is_ok());
        let other = when_free(|| io::Result::<()>::Err(io::ErrorKind::NotFound.into()));
        assert_eq!(other.await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
