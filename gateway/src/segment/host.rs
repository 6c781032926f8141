//! Prepares the kernel around the table: forwarding, connection tracking, and what becomes of tunnel addresses
//! when there is no tunnel.
//!
//! In: the configuration. Out: settings that were read back, routes and routing rules. Idempotent.
//! Decides nothing about who may reach what. Works in a network namespace without real root.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use futures_util::TryStreamExt;
use ipnet::IpNet;
use lazaret_config::{Config, HospitalMode};
use rtnetlink::packet_route::route::{RouteMessage, RouteScope, RouteType};
use rtnetlink::packet_route::rule::RuleAction;
use rtnetlink::{Handle, RouteMessageBuilder};
use tracing::warn;

use crate::route::into_interface;
use crate::segment::chains::REPLY_MARK;
use crate::segment::tunnels::networks;

/// Why the kernel cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A setting that this kernel does not have.
    #[error("there is no {path}: {hint}")]
    Missing {
        /// The file.
        path: PathBuf,
        /// What helps.
        hint: &'static str,
    },
    /// A setting that cannot be read or written.
    #[error("cannot set {path} to {value}")]
    Setting {
        /// The file.
        path: PathBuf,
        /// What it should say.
        value: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A setting that was written and still says something else.
    #[error("{path} stays {found} instead of {value}")]
    Unchanged {
        /// The file.
        path: PathBuf,
        /// What it should say.
        value: &'static str,
        /// What it says.
        found: String,
    },
    /// No netlink socket.
    #[error("cannot open a netlink socket")]
    Socket(#[source] io::Error),
    /// A route or routing rule.
    #[error("cannot set {what}")]
    Route {
        /// Which.
        what: String,
        /// Why.
        #[source]
        source: rtnetlink::Error,
    },
}

/// Before the table and the tunnel: settings of the whole host, routes and routing rules.
///
/// # Errors
/// See [`HostError`].
pub async fn prepare(config: &Config) -> Result<(), HostError> {
    let networks = networks(config);
    let v6 = networks.iter().any(|net| net.addr().is_ipv6());
    let settings = HOST
        .iter()
        .chain(v6.then_some(&HOST_V6).into_iter().flatten());
    for (path, value, hint) in settings {
        set(&Path::new(ROOT).join(path), value, hint)?;
    }
    for (path, value, hint) in WISHED {
        if let Err(error) = set(&Path::new(ROOT).join(path), value, hint) {
            warn!(%error, "{hint}");
        }
    }
    let (connection, handle, _) = rtnetlink::new_connection().map_err(HostError::Socket)?;
    let connection = tokio::spawn(connection);
    let done = routes(
        &handle,
        config.hospital.mode,
        networks.into_iter().collect(),
        v6,
    )
    .await;
    connection.abort();
    done
}

/// Once the tunnels' interfaces are there, and again when the configuration changes: its own settings,
/// and routes into it for the networks behind routers.
///
/// # Errors
/// See [`HostError`].
pub async fn prepare_interface(config: &Config) -> Result<(), HostError> {
    let v6 = networks(config).iter().any(|net| net.addr().is_ipv6());
    let mut families = vec![("net/ipv4/conf", &INTERFACE[..])];
    if v6 {
        families.push(("net/ipv6/conf", &INTERFACE_V6[..]));
    }
    for (family, settings) in families {
        for (name, value) in settings {
            for interface in config.tunnel_interfaces() {
                let path = Path::new(ROOT).join(family).join(interface).join(name);
                set(&path, value, "the tunnel's interface is not there")?;
            }
        }
    }
    let (connection, handle, _) = rtnetlink::new_connection().map_err(HostError::Socket)?;
    let connection = tokio::spawn(connection);
    let done = routes_behind(&handle, config).await;
    connection.abort();
    done
}

/// Writes only what is not so already, because a container may forbid writing what is right.
fn set(path: &Path, value: &'static str, hint: &'static str) -> Result<(), HostError> {
    let failed = |source: io::Error| {
        let path = path.to_owned();
        if source.kind() == io::ErrorKind::NotFound {
            HostError::Missing { path, hint }
        } else {
            HostError::Setting {
                path,
                value,
                source,
            }
        }
    };
    let read = || std::fs::read_to_string(path).map(|text| text.trim().to_owned());
    if read().map_err(failed)? == value {
        return Ok(());
    }
    std::fs::write(path, value).map_err(failed)?;
    let found = read().map_err(failed)?;
    if found == value {
        return Ok(());
    }
    Err(HostError::Unchanged {
        path: path.to_owned(),
        value,
        found,
    })
}

async fn routes(
    handle: &Handle,
    mode: HospitalMode,
    networks: Vec<IpNet>,
    v6: bool,
) -> Result<(), HostError> {
    for net in networks {
        let route = unreachable(net);
        let add = handle.route().add(route).replace().execute().await;
        ignoring(add, libc::EEXIST, || {
            format!("the unreachable route of {net}")
        })?;
    }
    let families = if v6 { &[false, true][..] } else { &[false][..] };
    for family in families {
        match mode {
            HospitalMode::Routed => deliver(handle, *family).await?,
            HospitalMode::Snat => withdraw(handle, *family).await?,
        }
    }
    Ok(())
}

async fn routes_behind(handle: &Handle, config: &Config) -> Result<(), HostError> {
    let networks = config.devices.values().flat_map(|device| &device.networks);
    let mut networks = networks.peekable();
    if networks.peek().is_none() {
        return Ok(());
    }
    let name = &config.wireguard.interface;
    let failed = |source| HostError::Route {
        what: format!("routes into {name}"),
        source,
    };
    let mut links = handle.link().get().match_name(name.clone()).execute();
    let link = links.try_next().await.map_err(failed)?;
    let Some(index) = link.map(|link| link.header.index) else {
        return Err(failed(rtnetlink::Error::RequestFailed));
    };
    for net in networks {
        let route = into_interface(*net, index);
        let add = handle.route().add(route).replace().execute().await;
        ignoring(add, libc::EEXIST, || format!("the route of {net}"))?;
    }
    Ok(())
}

/// Answers when no other route leads into the tunnel, so that tunnel addresses never leave by the default route.
fn unreachable(net: IpNet) -> RouteMessage {
    match net {
        IpNet::V4(net) => RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(net.network(), net.prefix_len())
            .kind(RouteType::Unreachable)
            .priority(LAST_METRIC)
            .build(),
        IpNet::V6(net) => RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(net.network(), net.prefix_len())
            .kind(RouteType::Unreachable)
            .priority(LAST_METRIC)
            .build(),
    }
}

/// Packets with the mark of an answer to a relay are for this host, whatever address they bear.
async fn deliver(handle: &Handle, v6: bool) -> Result<(), HostError> {
    let local = if v6 {
        RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(Ipv6Addr::UNSPECIFIED, 0)
            .table_id(REPLY_TABLE)
            .kind(RouteType::Local)
            .scope(RouteScope::Host)
            .output_interface(LOOPBACK)
            .build()
    } else {
        RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(Ipv4Addr::UNSPECIFIED, 0)
            .table_id(REPLY_TABLE)
            .kind(RouteType::Local)
            .scope(RouteScope::Host)
            .output_interface(LOOPBACK)
            .build()
    };
    let what = || "the local route of answers to relays".to_owned();
    let add = handle.route().add(local).replace().execute().await;
    ignoring(add, libc::EEXIST, what)?;
    let rule = (handle.rule().add())
        .fw_mark(REPLY_MARK)
        .table_id(REPLY_TABLE)
        .priority(REPLY_PRIORITY)
        .action(RuleAction::ToTable);
    let add = if v6 {
        rule.v6().execute().await
    } else {
        rule.v4().execute().await
    };
    ignoring(add, libc::EEXIST, || {
        "the routing rule of answers to relays".to_owned()
    })
}

/// Undoes [`deliver`].
async fn withdraw(handle: &Handle, v6: bool) -> Result<(), HostError> {
    let rule = (handle.rule().add())
        .fw_mark(REPLY_MARK)
        .table_id(REPLY_TABLE)
        .priority(REPLY_PRIORITY)
        .action(RuleAction::ToTable);
    let (mut v4_rule, mut v6_rule);
    let message = if v6 {
        v6_rule = rule.v6();
        v6_rule.message_mut().clone()
    } else {
        v4_rule = rule.v4();
        v4_rule.message_mut().clone()
    };
    let del = handle.rule().del(message).execute().await;
    ignoring(del, libc::ENOENT, || {
        "the routing rule of answers to relays".to_owned()
    })
}

fn ignoring(
    result: Result<(), rtnetlink::Error>,
    errno: i32,
    what: impl FnOnce() -> String,
) -> Result<(), HostError> {
    match result {
        Ok(()) => Ok(()),
        Err(rtnetlink::Error::NetlinkError(e)) if e.raw_code() == -errno => Ok(()),
        Err(source) => Err(HostError::Route {
            what: what(),
            source,
        }),
    }
}

type Setting = (&'static str, &'static str, &'static str);

const ROOT: &str = "/proc/sys";
const HOST: [Setting; 5] = [
    ("net/ipv4/ip_forward", "1", "this kernel does not forward"),
    // A flow that was cut must not come back in the middle.
    (
        "net/netfilter/nf_conntrack_tcp_loose",
        "0",
        "load the kernel module nf_conntrack",
    ),
    (
        "net/ipv4/conf/all/accept_redirects",
        "0",
        "this kernel has no IPv4",
    ),
    (
        "net/ipv4/conf/all/send_redirects",
        "0",
        "this kernel has no IPv4",
    ),
    (
        "net/ipv4/conf/all/accept_source_route",
        "0",
        "this kernel has no IPv4",
    ),
];
/// What the gateway can do without.
const WISHED: [Setting; 2] = [
    (
        "net/netfilter/nf_conntrack_acct",
        "1",
        "bytes of consoles are not counted, so that no idle session can be known",
    ),
    (
        "net/netfilter/nf_conntrack_timestamp",
        "1",
        "the beginning of a console's session is forgotten with the gateway",
    ),
];
const HOST_V6: [Setting; 3] = [
    (
        "net/ipv6/conf/all/forwarding",
        "1",
        "this kernel has no IPv6",
    ),
    (
        "net/ipv6/conf/all/accept_redirects",
        "0",
        "this kernel has no IPv6",
    ),
    (
        "net/ipv6/conf/all/accept_source_route",
        "0",
        "this kernel has no IPv6",
    ),
];
/// Strict reverse paths: what comes out of the tunnel must be routed into it.
const INTERFACE: [(&str, &str); 4] = [
    ("rp_filter", "1"),
    ("accept_redirects", "0"),
    ("send_redirects", "0"),
    ("route_localnet", "0"),
];
const INTERFACE_V6: [(&str, &str); 2] = [("accept_ra", "0"), ("accept_redirects", "0")];
/// After every other route.
const LAST_METRIC: u32 = 0x7fff_ffff;
/// Routing table that delivers everything to this host.
const REPLY_TABLE: u32 = 7676;
/// After the table of local addresses, before all others.
const REPLY_PRIORITY: u32 = 76;
/// Index of `lo` in every network namespace.
const LOOPBACK: u32 = 1;
