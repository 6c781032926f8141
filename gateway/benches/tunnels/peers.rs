//! The tunnels side by side: both ends of each, as processes of their own.

use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use boringtun::x25519::{PublicKey, StaticSecret};
use lazaret::channel::{self, Channel, Wire};
use lazaret::pki::message::{Listener, ToSigner};
use lazaret::quic::message::{FromQuic, Member, Settings, ToQuic};
use lazaret::tunnel::device::{self, TunDevice};
use lazaret::tunnel::message::{FromTunnel, Peer, ToTunnel};
use lazaret::tunnel::{uapi, udp};
use lazaret_config::PostQuantum;
use tokio::runtime::Runtime;

use super::authority::{Authority, Issued};
use super::lab::{GATEWAY, device_command, eventually, in_device, reaches, sh};
use super::relay::{self, Way};

/// Which tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Our worker at both ends.
    Wireguard,
    /// Debian's wireguard-go at both ends.
    WireguardGo,
    /// Our worker, and `lazaret connect` with an interface.
    Quic,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Wireguard => "WireGuard, ours",
            Self::WireguardGo => "wireguard-go",
            Self::Quic => "QUIC",
        }
    }
}

/// A tunnel that works.
pub(crate) struct Tunnel {
    pub(crate) kind: Kind,
    /// The gateway, inside.
    pub(crate) inside: String,
    /// The gateway, outside.
    pub(crate) outside: SocketAddr,
    gateway: Running,
    device: Running,
}

/// A process and what it must not outlive.
struct Running {
    child: Child,
    _tun: Option<TunDevice>,
    _folder: Option<tempfile::TempDir>,
    _told: Option<Box<dyn std::any::Any>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    fn new(child: Child) -> Self {
        Self {
            child,
            _tun: None,
            _folder: None,
            _told: None,
        }
    }
}

impl Tunnel {
    /// The processes of the gateway and of the device.
    pub(crate) fn processes(&self) -> [u32; 2] {
        [self.gateway.child.id(), self.device.child.id()]
    }
}

/// What all need.
pub(crate) struct Site {
    pub(crate) runtime: Runtime,
    pub(crate) authority: Authority,
    _folder: tempfile::TempDir,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

impl Site {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new(folder.path(), &runtime);
        Self {
            runtime,
            authority,
            _folder: folder,
        }
    }

    /// Both ends of a tunnel over a cable, or over a way that is not ideal.
    pub(crate) fn start(&self, kind: Kind, way: Option<Way>) -> Tunnel {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let tunnel = match kind {
            Kind::Wireguard => self.wireguard(number, way),
            Kind::WireguardGo => wireguard_go(number, way),
            Kind::Quic => self.quic(number, way),
        };
        eventually(kind.name(), || reaches(&tunnel.inside));
        tunnel
    }

    fn wireguard(&self, number: u32, way: Option<Way>) -> Tunnel {
        let secrets = [[3; 32], [5; 32]].map(StaticSecret::from);
        let [gateway_key, device_key] = secrets.each_ref().map(PublicKey::from);
        let peer = |key: &PublicKey, address: &str, endpoint, keepalive| Peer {
            device: "desk".parse().unwrap(),
            public_key: key.to_bytes(),
            preshared_key: None,
            allowed: vec![address.parse().unwrap()],
            endpoint,
            keepalive,
        };
        let subnet = 100 + number;
        let ours = format!("10.{subnet}.255.254");
        let theirs = format!("10.{subnet}.0.1");
        let sockets = udp::bind(format!("{GATEWAY}:0").parse().unwrap()).unwrap();
        let outside = dialled(&sockets[0], way);
        let interface = format!("wg{number}");
        let tun = device::open(&interface, &[(ours.parse().unwrap(), 16)], 1420, false).unwrap();
        let gateway_peer = peer(&device_key, &format!("{theirs}/32"), None, 0);
        let end = (interface, tun, sockets);
        let gateway = self.wireguard_end(end, &secrets[0], gateway_peer);
        let device_peer = peer(&gateway_key, &format!("{ours}/32"), Some(outside), 25);
        let end = in_device(|| {
            let interface = format!("wgd{number}");
            let address = [(theirs.parse().unwrap(), 16)];
            let tun = device::open(&interface, &address, 1420, false).unwrap();
            let sockets = udp::bind("0.0.0.0:0".parse().unwrap()).unwrap();
            (interface, tun, sockets)
        });
        let device = self.wireguard_end(end, &secrets[1], device_peer);
        Tunnel {
            kind: Kind::Wireguard,
            inside: ours,
            outside,
            gateway,
            device,
        }
    }

    fn wireguard_end(
        &self,
        (interface, tun, sockets): (String, TunDevice, Vec<OwnedFd>),
        secret: &StaticSecret,
        peer: Peer,
    ) -> Running {
        let hatch = uapi::listen(Path::new("/run/wireguard"), &interface).unwrap();
        let mut key = tempfile::NamedTempFile::new().unwrap();
        writeln!(key, "{}", STANDARD.encode(secret.to_bytes())).unwrap();
        let start = ToTunnel::Start {
            interface,
            mtu: 1420,
            vnet_hdr: false,
            gso: true,
            peers: vec![peer],
        };
        let mut descriptors = vec![tun.descriptor.as_fd(), key.as_file().as_fd(), hatch.as_fd()];
        descriptors.extend(sockets.iter().map(AsFd::as_fd));
        let (mut running, channel) = self.worker::<ToTunnel, FromTunnel>("tunnel-wireguard");
        self.runtime
            .block_on(channel.send(&start, &descriptors))
            .unwrap();
        let (first, _) = self.runtime.block_on(channel.receive()).unwrap();
        assert!(matches!(first, FromTunnel::Ready));
        running._tun = Some(tun);
        self.listen_on(channel, &mut running);
        running
    }

    fn quic(&self, number: u32, way: Option<Way>) -> Tunnel {
        let subnet = 100 + number;
        let ours = format!("10.{subnet}.255.254");
        let member = Member {
            device: "desk".parse().unwrap(),
            addresses: vec![format!("10.{subnet}.0.1").parse().unwrap()],
            services: Vec::new(),
        };
        let sockets = udp::bind(format!("{GATEWAY}:0").parse().unwrap()).unwrap();
        let outside = dialled(&sockets[0], way);
        let address = [(ours.parse().unwrap(), 16)];
        let interface = format!("lzq{number}");
        let tun = device::open(&interface, &address, 1280, true).unwrap();
        let gateway = self.quic_gateway(&interface, tun, sockets, vec![member], &ours);
        let issued = self.authority.issue(&self.runtime, "desk");
        let mut command = device_command(env!("CARGO_BIN_EXE_lazaret"));
        let folder = self.client_folder(&issued, number, outside);
        command
            .arg("connect")
            .arg(folder.path().join("clinic.toml"));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let mut device = Running::new(command.spawn().unwrap());
        device._folder = Some(folder);
        Tunnel {
            kind: Kind::Quic,
            inside: ours,
            outside,
            gateway,
            device,
        }
    }

    fn client_folder(
        &self,
        issued: &Issued,
        number: u32,
        outside: SocketAddr,
    ) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let more = format!("gateway = \"{outside}\"\ninterface = \"lzd{number}\"");
        let _ = self.authority.file(folder.path(), issued, &more);
        folder
    }

    fn quic_gateway(
        &self,
        interface: &str,
        tun: TunDevice,
        sockets: Vec<OwnedFd>,
        members: Vec<Member>,
        own: &str,
    ) -> Running {
        let settings = Settings {
            interface: interface.to_owned(),
            mtu: 1280,
            vnet_hdr: tun.vnet_hdr,
            initial_mtu: 1200,
            segmentation_offload: true,
            post_quantum: PostQuantum::Preferred,
            own: vec![own.parse().unwrap()],
        };
        let start = ToQuic::Start { settings, members };
        let (mut running, channel) = self.worker::<ToQuic, FromQuic>("tunnel-quic");
        let mut descriptors = vec![tun.descriptor.as_fd()];
        descriptors.extend(sockets.iter().map(AsFd::as_fd));
        self.runtime.block_on(async {
            channel.send(&start, &descriptors).await.unwrap();
            let (first, _) = channel.receive().await.unwrap();
            assert!(matches!(first, FromQuic::Ready));
            let (door, at_signer) = channel::pair().unwrap();
            let listener = Listener::Quic;
            let message = ToSigner::Door { listener };
            let signer = &self.authority.signer;
            signer.send(&message, &[at_signer.as_fd()]).await.unwrap();
            let identity = ToQuic::Identity {
                server: Box::new(self.authority.server.clone()),
                trust: self.authority.trust.clone(),
            };
            channel.send(&identity, &[door.as_fd()]).await.unwrap();
        });
        running._tun = Some(tun);
        self.listen_on(channel, &mut running);
        running
    }

    /// The gateway's end of QUIC alone, with any number of members; where it listens.
    pub(crate) fn quic_alone(&self, members: Vec<Member>) -> (impl Drop, u32, SocketAddr) {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let sockets = udp::bind(format!("{GATEWAY}:0").parse().unwrap()).unwrap();
        let outside = dialled(&sockets[0], None);
        let interface = format!("lzq{number}");
        let own = "10.65.255.254";
        let tun = device::open(&interface, &[(own.parse().unwrap(), 16)], 1280, true).unwrap();
        let running = self.quic_gateway(&interface, tun, sockets, members, own);
        let pid = running.child.id();
        (running, pid, outside)
    }

    /// A worker as the supervisor starts one.
    fn worker<Tx: Wire, Rx: Wire>(&self, name: &str) -> (Running, Channel<Tx, Rx>) {
        let (ours, theirs) = channel::pair().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_lazaret"));
        command.args(["worker", name]).env_clear();
        if let Ok(level) = std::env::var("LAZARET_LOG") {
            command.env("LAZARET_LOG", level);
        }
        command.stdin(Stdio::from(theirs)).stdout(Stdio::null());
        let child = command.spawn().unwrap();
        let _inside = self.runtime.enter();
        (Running::new(child), Channel::new(ours).unwrap())
    }

    /// Nobody must wait because we do not listen.
    fn listen_on<Tx: Wire + 'static, Rx: Wire + Send + 'static>(
        &self,
        channel: Channel<Tx, Rx>,
        running: &mut Running,
    ) {
        let channel = Arc::new(channel);
        let listening = Arc::clone(&channel);
        drop(
            self.runtime
                .spawn(async move { while listening.receive().await.is_ok() {} }),
        );
        running._told = Some(Box::new(channel));
    }
}

fn dialled(socket: &OwnedFd, way: Option<Way>) -> SocketAddr {
    let outside = UdpSocket::from(socket.try_clone().unwrap())
        .local_addr()
        .unwrap();
    way.map_or(outside, |way| relay::start(way, outside))
}

fn wireguard_go(number: u32, way: Option<Way>) -> Tunnel {
    let subnet = 100 + number;
    let (here, there) = (format!("go{number}"), format!("god{number}"));
    let start = |mut command: Command, name: &str| {
        command.args(["-f", name]).env("LOG_LEVEL", "silent");
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let running = Running::new(command.spawn().unwrap());
        let socket = format!("/var/run/wireguard/{name}.sock");
        eventually("wireguard-go is there", || Path::new(&socket).exists());
        running
    };
    let gateway = start(Command::new("wireguard-go"), &here);
    let device = start(device_command("wireguard-go"), &there);
    let keys = [[7; 32], [9; 32]].map(StaticSecret::from);
    let public = keys
        .each_ref()
        .map(|key| STANDARD.encode(PublicKey::from(key).as_bytes()));
    let file = |key: &StaticSecret| {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "{}", STANDARD.encode(key.to_bytes())).unwrap();
        file
    };
    let files = keys.each_ref().map(file);
    let port = UdpSocket::bind((GATEWAY, 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let outside: SocketAddr = format!("{GATEWAY}:{port}").parse().unwrap();
    let outside = way.map_or(outside, |way| relay::start(way, outside));
    let (ours, theirs) = (format!("10.{subnet}.255.254"), format!("10.{subnet}.0.1"));
    for command in [
        format!(
            "wg set {here} listen-port {port} private-key {} peer {} allowed-ips {theirs}/32",
            files[0].path().display(),
            public[1]
        ),
        format!(
            "wg set {there} private-key {} peer {} endpoint {outside} allowed-ips {ours}/32",
            files[1].path().display(),
            public[0]
        ),
        format!("ip addr add {ours}/16 dev {here}"),
        format!("ip link set {here} mtu 1420 up"),
        format!("ip -n dev addr add {theirs}/16 dev {there}"),
        format!("ip -n dev link set {there} mtu 1420 up"),
    ] {
        let _ = sh(&command);
    }
    Tunnel {
        kind: Kind::WireguardGo,
        inside: ours,
        outside,
        gateway,
        device,
    }
}
