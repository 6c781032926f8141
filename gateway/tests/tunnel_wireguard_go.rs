//! The worker against wireguard-go and `wg`, with real interfaces, in namespaces of its own. Needs no root.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test may fail loudly and reads the clock"
)]

#[path = "tunnel_memory/ping.rs"]
mod ping;

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use boringtun::x25519::{PublicKey, StaticSecret};
use lazaret::channel::{self, Channel};
use lazaret::flow::Clock;
use lazaret::tunnel::device::TunDevice;
use lazaret::tunnel::message::{FromTunnel, Peer, PeerStatus, ToTunnel, TunnelEvent};
use lazaret::tunnel::{device, uapi, udp, worker};
use ping::ping;

#[test]
fn wireguard_go_and_wg_work_with_the_worker() {
    if std::env::var_os(INSIDE).is_none() {
        let name = "wireguard_go_and_wg_work_with_the_worker";
        let error = Command::new("unshare")
            .args(["-Urnmp", "--mount-proc", "--kill-child", "--fork"])
            .args(["timeout", "60"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(INSIDE, "1")
            .exec();
        panic!("this test needs unshare: {error}");
    }
    let mut site = Site::new();
    site.packets_pass_both_ways();
    site.bulk_flows_both_ways();
    site.wg_shows_the_truth();
    site.wg_moves_known_peers_only();
    site.devices_roam();
    site.spoofed_packets_end_here();
    site.a_removed_peer_is_cut();
    site.interface_goes_down_and_away();
}

impl Site {
    fn packets_pass_both_ways(&mut self) {
        for target in [GATEWAY_4, GATEWAY_6] {
            self.device_reaches(target);
        }
        self.hears(&TunnelEvent::Up { device: device() });
        for (target, length) in [
            (DEVICE_4, 0),
            (DEVICE_4, 1392),
            (DEVICE_4, 4000),
            (DEVICE_6, 1300),
        ] {
            eventually(&format!("gateway reaches {target} with {length}"), || {
                ping(None, target, length)
            });
        }
        // The device spoke to the second address; an answer from the first would have made it roam.
        let endpoint = sh("wg show wg0 endpoints");
        assert!(
            endpoint.contains(&format!("192.0.2.2:{}", self.port)),
            "{endpoint}"
        );
        let status = self.status().remove(0);
        assert!(status.received > 0 && status.sent > 0 && status.handshake_seconds < Some(60));
    }

    /// Trains, full sockets and a full TUN must not lose order or bytes.
    fn bulk_flows_both_ways(&self) {
        for target in [GATEWAY_4, GATEWAY_6] {
            let listener = std::net::TcpListener::bind((target, 0)).unwrap();
            let port = listener.local_addr().unwrap().port();
            let echo = std::thread::spawn(move || {
                let (mut from, _) = listener.accept().unwrap();
                let mut to = from.try_clone().unwrap();
                std::io::copy(&mut from, &mut to).unwrap();
            });
            let sent: Vec<u8> = (0..BULK).map(|i| (i * i / 7) as u8).collect();
            let expected = sent.clone();
            let got = in_device(move || {
                let mut stream = std::net::TcpStream::connect((target, port)).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                let mut writer = stream.try_clone().unwrap();
                let writer = std::thread::spawn(move || {
                    writer.write_all(&sent).unwrap();
                    writer.shutdown(std::net::Shutdown::Write).unwrap();
                });
                let mut got = Vec::new();
                stream.read_to_end(&mut got).unwrap();
                writer.join().unwrap();
                got
            });
            echo.join().unwrap();
            assert!(
                got == expected,
                "{} of {} bytes by {target}",
                got.len(),
                expected.len()
            );
        }
    }

    fn wg_shows_the_truth(&mut self) {
        assert!(sh("wg show interfaces").contains("lz-wg"));
        let dump = sh("wg show lz-wg dump");
        let rows: Vec<Vec<&str>> = dump.lines().map(|row| row.split('\t').collect()).collect();
        let (own, peer) = (&rows[0], &rows[1]);
        assert_eq!(rows.len(), 2);
        assert_eq!(own[1], self.gateway_key);
        assert_eq!((own[2], own[3]), (self.port.to_string().as_str(), "off"));
        assert_eq!((peer[0], peer[1]), (self.device_key.as_str(), "(none)"));
        assert!(peer[2].starts_with("192.0.2.10:"), "{}", peer[2]);
        assert_eq!(peer[3], "10.64.0.1/32,fd64::1/128");
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        let handshake: u64 = peer[4].parse().unwrap();
        assert!(now.as_secs().abs_diff(handshake) < 60, "{handshake}");
        assert!(peer[5].parse::<u64>().unwrap() > 4000 && peer[6].parse::<u64>().unwrap() > 4000);
        assert_eq!(peer[7], "off");
    }

    fn wg_moves_known_peers_only(&mut self) {
        let known = self.device_key.clone();
        let changed = |what: &str| TunnelEvent::Changed {
            device: device(),
            what: what.to_owned(),
        };
        sh(&format!(
            "wg set lz-wg peer {known} persistent-keepalive 25"
        ));
        self.hears(&changed("persistent_keepalive_interval"));
        assert!(
            sh("wg show lz-wg persistent-keepalive")
                .trim()
                .ends_with("25")
        );
        sh(&format!(
            "wg set lz-wg peer {known} persistent-keepalive 0 allowed-ips fd64::1/128,10.64.0.1/32"
        ));
        self.hears(&changed("persistent_keepalive_interval"));

        let secret = key_file(&[7; 32]);
        let secret = secret.path().display();
        sh(&format!("wg set lz-wg peer {known} preshared-key {secret}"));
        self.hears(&changed("preshared_key"));
        assert!(
            !ping(None, DEVICE_4, 0),
            "only one end has the preshared key"
        );
        sh(&format!(
            "wg set wg0 peer {} preshared-key {secret}",
            self.gateway_key
        ));
        eventually("both ends have the preshared key", || {
            ping(None, DEVICE_4, 0)
        });

        let foreign = STANDARD.encode([9; 32]);
        let before = sh("wg show lz-wg dump");
        for (request, what) in [
            (
                format!("peer {foreign} allowed-ips 10.64.0.9/32"),
                "public_key",
            ),
            (
                format!("peer {known} endpoint 192.0.2.77:7 peer {foreign}"),
                "public_key",
            ),
            (format!("peer {known} remove"), "remove"),
            (
                format!("peer {known} allowed-ips 10.64.0.2/32"),
                "allowed_ip",
            ),
            (
                format!("peer {known} allowed-ips 10.64.0.1/32"),
                "replace_allowed_ips",
            ),
            (format!("private-key {secret}"), "private_key"),
            ("listen-port 1".to_owned(), "listen_port"),
            ("fwmark 7".to_owned(), "fwmark"),
        ] {
            let refused = Command::new("wg")
                .args(["set", "lz-wg"])
                .args(request.split(' '))
                .output();
            let refused = refused.unwrap();
            let text = String::from_utf8_lossy(&refused.stderr);
            assert!(
                !refused.status.success() && text.contains("not permitted"),
                "{request}: {text}"
            );
            self.hears(&TunnelEvent::Contradicted {
                what: what.to_owned(),
            });
        }
        let volatile = |dump: &str| {
            dump.split('\t')
                .take(8)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(volatile(&before), volatile(&sh("wg show lz-wg dump")));
    }

    fn devices_roam(&mut self) {
        let at = |site: &mut Self, endpoint: &str| {
            site.device_reaches(GATEWAY_4);
            let status = site.status().remove(0);
            assert_eq!(status.endpoint, Some(endpoint.parse().unwrap()));
            assert!(ping(None, DEVICE_6, 0), "the gateway answers at {endpoint}");
        };
        sh("wg set wg0 listen-port 7001");
        at(self, "192.0.2.10:7001");
        sh("ip -n dev addr del 192.0.2.10/24 dev eth0");
        // wireguard-go itself would hold on to the lost address for 15 s.
        sh(&format!(
            "wg set wg0 peer {} endpoint 192.0.2.2:{}",
            self.gateway_key, self.port
        ));
        at(self, "192.0.2.11:7001");
        sh(&format!(
            "wg set lz-wg peer {} endpoint 192.0.2.99:9",
            self.device_key
        ));
        assert!(sh("wg show lz-wg endpoints").contains("192.0.2.99:9"));
        at(self, "192.0.2.11:7001");
        sh(&format!(
            "wg set wg0 peer {} endpoint [2001:db8::1]:{}",
            self.gateway_key, self.port
        ));
        at(self, "[2001:db8::a]:7001");
        // The address to which the device speaks goes away; the gateway finds another way to answer.
        sh("ip -n dev route add fd64:9::1 via 2001:db8::1 dev eth0");
        sh("ip addr add fd64:9::1/128 dev eth0 nodad");
        sh(&format!(
            "wg set wg0 peer {} endpoint [fd64:9::1]:{}",
            self.gateway_key, self.port
        ));
        at(self, "[2001:db8::a]:7001");
        sh("ip addr del fd64:9::1/128 dev eth0");
        assert!(
            ping(None, DEVICE_4, 0),
            "answered from the address that is left"
        );
    }

    fn spoofed_packets_end_here(&mut self) {
        sh("ip -n dev addr add 10.64.0.66/32 dev wg0");
        let spoofing = in_device(|| ping(Some("10.64.0.66".parse().unwrap()), GATEWAY_4, 0));
        assert!(!spoofing);
        self.hears_one(|event| matches!(event, TunnelEvent::Spoofed { packets: 1.., .. }));
        self.device_reaches(GATEWAY_4);
        assert!(self.status().remove(0).spoofed >= 1);
    }

    fn a_removed_peer_is_cut(&mut self) {
        self.say(&ToTunnel::Peers(self.peers.clone()));
        self.device_reaches(GATEWAY_4);
        self.say(&ToTunnel::Peers(Vec::new()));
        // An earlier end may still be unheard; the answer says that this one has happened.
        assert!(self.status().is_empty());
        self.hears(&TunnelEvent::Down { device: device() });
        assert!(!in_device(|| ping(None, GATEWAY_4, 0)));
        let mut peers = self.peers.clone();
        peers[0].preshared_key = Some([7; 32]);
        peers[0].endpoint = Some("192.0.2.11:7001".parse().unwrap());
        self.say(&ToTunnel::Peers(peers));
        eventually("the peer is back", || ping(None, DEVICE_4, 0));
        self.device_reaches(GATEWAY_4);
    }
}

/// A gateway and a device, each in its own network.
struct Site {
    runtime: tokio::runtime::Runtime,
    channel: Channel<ToTunnel, FromTunnel>,
    worker: Option<std::thread::JoinHandle<Result<(), worker::TunnelWorkerError>>>,
    heard: Vec<TunnelEvent>,
    peers: Vec<Peer>,
    gateway_key: String,
    device_key: String,
    port: u16,
    _tun: TunDevice,
    wireguard_go: Child,
}

impl Site {
    fn new() -> Self {
        lay_cables();
        let secrets = [[3; 32], [5; 32]].map(StaticSecret::from);
        let [gateway_key, device_key] = secrets.each_ref().map(PublicKey::from);
        let peers = vec![Peer {
            device: device(),
            public_key: device_key.to_bytes(),
            preshared_key: None,
            allowed: vec![
                "10.64.0.1/32".parse().unwrap(),
                "fd64::1/128".parse().unwrap(),
            ],
            endpoint: None,
            keepalive: 0,
        }];
        let addresses = [
            (GATEWAY_4.parse().unwrap(), 16),
            (GATEWAY_6.parse().unwrap(), 64),
        ];
        let tun = device::open("lz-wg", &addresses, 1420, false).unwrap();
        let directory = std::path::Path::new("/var/run/wireguard");
        let hatch = uapi::listen(directory, "lz-wg").unwrap();
        let sockets = udp::bind("[::]:0".parse().unwrap()).unwrap();
        let address = socket2::SockRef::from(&sockets[0]).local_addr().unwrap();
        let port = address.as_socket().unwrap().port();
        let gateway_secret = key_file(&secrets[0].to_bytes());
        let (ours, theirs) = channel::pair().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let channel = {
            let _inside = runtime.enter();
            Channel::<ToTunnel, FromTunnel>::new(ours).unwrap()
        };
        let worker = Some(std::thread::spawn(|| work(theirs)));
        let start = ToTunnel::Start {
            interface: "lz-wg".to_owned(),
            mtu: 1420,
            vnet_hdr: false,
            gso: true,
            peers: peers.clone(),
        };
        let mut descriptors = vec![
            tun.descriptor.as_fd(),
            gateway_secret.as_fd(),
            hatch.as_fd(),
        ];
        descriptors.extend(sockets.iter().map(AsFd::as_fd));
        runtime
            .block_on(channel.send(&start, &descriptors))
            .unwrap();
        let encode = |key: PublicKey| STANDARD.encode(key.as_bytes());
        let site = Self {
            runtime,
            channel,
            worker,
            heard: Vec::new(),
            peers,
            gateway_key: encode(gateway_key),
            device_key: encode(device_key),
            port,
            _tun: tun,
            wireguard_go: Command::new("ip")
                .args("netns exec dev wireguard-go -f wg0".split(' '))
                .env("LOG_LEVEL", "silent")
                .stderr(std::process::Stdio::null())
                .spawn()
                .unwrap(),
        };
        assert!(matches!(site.next(), FromTunnel::Ready));
        site.set_up_device(&secrets[1]);
        site
    }

    fn set_up_device(&self, secret: &StaticSecret) {
        eventually("wireguard-go is there", || {
            std::path::Path::new("/var/run/wireguard/wg0.sock").exists()
        });
        let secret = key_file(&secret.to_bytes());
        let (gateway, port) = (&self.gateway_key, self.port);
        sh(&format!(
            "wg set wg0 private-key {} peer {gateway} endpoint 192.0.2.2:{port} allowed-ips 10.64.0.0/16,fd64::/64",
            secret.path().display()
        ));
        for command in [
            "ip -n dev addr add 10.64.0.1/16 dev wg0",
            "ip -n dev addr add fd64::1/64 dev wg0 nodad",
            "ip -n dev link set wg0 mtu 1420 up",
        ] {
            sh(command);
        }
    }

    fn device_reaches(&self, target: &'static str) {
        eventually(&format!("device reaches {target}"), || {
            in_device(|| ping(None, target, 100))
        });
    }

    fn say(&self, message: &ToTunnel) {
        self.runtime
            .block_on(self.channel.send(message, &[]))
            .unwrap();
    }

    fn next(&self) -> FromTunnel {
        let receive = async { tokio::time::timeout(PATIENCE, self.channel.receive()).await };
        self.runtime
            .block_on(receive)
            .expect("the worker says nothing")
            .unwrap()
            .0
    }

    fn status(&mut self) -> Vec<PeerStatus> {
        self.say(&ToTunnel::Status { request: 42 });
        loop {
            match self.next() {
                FromTunnel::Status { request, peers, .. } => {
                    assert_eq!(request, 42);
                    return peers;
                }
                FromTunnel::Event(event) => self.heard.push(event),
                FromTunnel::Ready => panic!("ready twice"),
            }
        }
    }

    fn hears(&mut self, expected: &TunnelEvent) {
        self.hears_one(|event| event == expected);
    }

    fn hears_one(&mut self, is_it: impl Fn(&TunnelEvent) -> bool) {
        while !self.heard.iter().any(&is_it) {
            match self.next() {
                FromTunnel::Event(event) => self.heard.push(event),
                FromTunnel::Ready | FromTunnel::Status { .. } => panic!("unasked"),
            }
        }
        self.heard.retain(|event| !is_it(event));
    }

    fn interface_goes_down_and_away(mut self) {
        sh("ip link set lz-wg down");
        assert!(!in_device(|| ping(None, GATEWAY_4, 0)));
        sh("ip link set lz-wg up");
        self.device_reaches(GATEWAY_4);
        assert!(ping(None, DEVICE_4, 0));
        sh("ip link del lz-wg");
        let end = self.worker.take().unwrap().join().unwrap();
        assert!(
            matches!(end, Err(worker::TunnelWorkerError::Tun(_))),
            "{end:?}"
        );
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.wireguard_go.kill();
        let _ = self.wireguard_go.wait();
    }
}

/// Two networks and a cable between them.
fn lay_cables() {
    for tool in ["wg --version", "wireguard-go --version", "ip -V"] {
        sh(tool);
    }
    for command in [
        "mount -t tmpfs tmpfs /run",
        "ip link set lo up",
        "ip netns add dev",
        "ip link add eth0 type veth peer name eth0 netns dev",
        "ip addr add 192.0.2.1/24 dev eth0",
        "ip addr add 192.0.2.2/24 dev eth0",
        "ip addr add 2001:db8::1/64 dev eth0 nodad",
        "ip link set eth0 up",
        "ip -n dev link set lo up",
        "ip -n dev addr add 192.0.2.10/24 dev eth0",
        "ip -n dev addr add 192.0.2.11/24 dev eth0",
        "ip netns exec dev sysctl -qw net.ipv4.conf.all.promote_secondaries=1 net.ipv4.conf.eth0.promote_secondaries=1",
        "ip -n dev addr add 2001:db8::a/64 dev eth0 nodad",
        "ip -n dev link set eth0 up",
    ] {
        sh(command);
    }
}

/// The worker as it will run: without any privilege.
fn work(end: OwnedFd) -> Result<(), worker::TunnelWorkerError> {
    let none = rustix::thread::CapabilitySet::empty();
    let sets = rustix::thread::CapabilitySets {
        effective: none,
        permitted: none,
        inheritable: none,
    };
    rustix::thread::set_capabilities(None, sets).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async { worker::run(Channel::new(end).unwrap(), Arc::new(Real)).await })
}

struct Real;

impl Clock for Real {
    fn now(&self) -> Instant {
        Instant::now()
    }
    fn wall(&self) -> jiff::Timestamp {
        jiff::Timestamp::now()
    }
}

/// Runs in the device's network, on a thread that is then thrown away.
fn in_device<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::spawn(|| {
        let namespace = std::fs::File::open("/run/netns/dev").unwrap();
        let kind = Some(rustix::thread::LinkNameSpaceType::Network);
        rustix::thread::move_into_link_name_space(namespace.as_fd(), kind).unwrap();
        work()
    });
    thread.join().unwrap()
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn sh(command: &str) -> String {
    let mut words = command.split(' ');
    let output = Command::new(words.next().unwrap()).args(words).output();
    let output = output.unwrap_or_else(|error| panic!("this test needs `{command}`: {error}"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

fn key_file(key: &[u8; 32]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "{}", STANDARD.encode(key)).unwrap();
    file
}

fn device() -> lazaret::flow::DeviceName {
    "ecg-1".parse().unwrap()
}

const INSIDE: &str = "LAZARET_TEST_INSIDE_NAMESPACE";
const BULK: usize = 8 << 20;
const PATIENCE: Duration = Duration::from_secs(20);
const GATEWAY_4: &str = "10.64.255.254";
const GATEWAY_6: &str = "fd64::fffe";
const DEVICE_4: &str = "10.64.0.1";
const DEVICE_6: &str = "fd64::1";
