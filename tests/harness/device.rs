//! A device outside: an independent WireGuard implementation (`wireguard-go`), configured with `wg`.
//!
//! In: the name of a device of the [`Site`] and a [`Place`]. Out: a tunnel, and sockets that go through it.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::dicom::{peer_program, peer_script};
use crate::lab::{Lab, Place};
use crate::process::{Output, Process};
use crate::site::Site;
use crate::{hl7, wait};

/// A device with its tunnel; gone when dropped.
pub struct Device<'a> {
    lab: &'a Lab,
    place: Place,
    interface: String,
    addresses: Vec<IpAddr>,
    gateway_key: String,
    process: Process,
}

impl<'a> Device<'a> {
    /// Opens the tunnel of a device over IPv4 and waits for the handshake.
    pub fn connect(lab: &'a Lab, site: &Site, name: &str, place: Place) -> Self {
        let device = Self::prepare(lab, site, name, place);
        device.dial(wan4());
        device.wait_for_handshake();
        device
    }

    /// Sets the tunnel up without an endpoint.
    ///
    /// # Panics
    /// When `wireguard-go` cannot be started.
    pub fn prepare(lab: &'a Lab, site: &Site, name: &str, place: Place) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let interface = format!("wg{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut command = lab.command(place, "wireguard-go");
        command.args(["-f", &interface]).env("LOG_LEVEL", "error");
        let mut process = Process::start(&format!("{interface}-{name}"), lab.directory(), command);
        let socket = format!("/run/wireguard/{interface}.sock");
        wait::for_true("the socket of wireguard-go", wait::SOON, || {
            assert!(process.ended().is_none(), "{}", process.output());
            Path::new(&socket).exists()
        });
        let device = Self {
            lab,
            place,
            interface,
            addresses: site.addresses(name),
            gateway_key: site.gateway_key(),
            process,
        };
        device.configure(&site.key_file(name));
        device
    }

    fn configure(&self, key: &Path) {
        let key = key.display().to_string();
        let networks = "10.64.0.0/16,10.20.0.0/16,fd64::/64,fd20::/64";
        let _ = self.wg(&[
            "private-key",
            &key,
            "peer",
            &self.gateway_key,
            "allowed-ips",
            networks,
        ]);
        for address in self.addresses.clone() {
            self.add_address(address);
        }
        let _ = self.ip(&["link", "set", &self.interface, "up"]);
        for network in networks.split(',') {
            let _ = self.ip(&["route", "replace", network, "dev", &self.interface]);
        }
    }

    /// Names the endpoint and begins a handshake.
    pub fn dial(&self, gateway: SocketAddr) {
        let endpoint = gateway.to_string();
        let _ = self.peer(&["endpoint", &endpoint, "persistent-keepalive", "1"]);
    }

    /// Waits until a handshake was completed.
    ///
    /// # Panics
    /// When there is none in time.
    pub fn wait_for_handshake(&self) {
        wait::for_true("a handshake", wait::SOON, || self.handshake() > 0);
    }

    /// When the last handshake was completed, in seconds since 1970; 0 for never.
    pub fn handshake(&self) -> u64 {
        let said = Output::of(
            {
                let mut command = self.lab.command(self.place, "wg");
                command.args(["show", &self.interface, "latest-handshakes"]);
                command
            },
            wait::SOON,
        );
        let seconds = said.out.split_whitespace().nth(1);
        seconds
            .and_then(|seconds| seconds.parse().ok())
            .unwrap_or(0)
    }

    /// Changes how the device sees the gateway: `wg set … peer … ARGUMENTS`.
    pub fn peer(&self, arguments: &[&str]) -> Output {
        let mut all = vec!["peer", &self.gateway_key];
        all.extend(arguments);
        self.wg(&all)
    }

    /// Gives the tunnel one more inner address, allowed or not.
    pub fn add_address(&self, address: IpAddr) {
        let with_length = match address {
            IpAddr::V4(v4) => format!("{v4}/32"),
            IpAddr::V6(v6) => format!("{v6}/128"),
        };
        let mut line = vec!["addr", "add", &with_length, "dev", &self.interface];
        if address.is_ipv6() {
            line.push("nodad");
        }
        let _ = self.ip(&line);
    }

    /// Puts packets into the tunnel as they are, past the kernel's own idea of a packet.
    ///
    /// # Panics
    /// When the packets cannot be handed over.
    pub fn inject(&self, packets: &[Vec<u8>]) {
        let lines: Vec<String> = packets.iter().map(|packet| hex(packet)).collect();
        let file = self
            .lab
            .directory()
            .join(format!("{}-packets", self.interface));
        std::fs::write(&file, lines.join("\n")).unwrap();
        let (python, script) = (peer_program("python"), peer_script("inner.py"));
        let file = file.display().to_string();
        let _ = self.run(&[&python, &script, &self.interface, &file]).ok();
    }

    /// Moves the device to another outer address, as a mobile network does.
    pub fn roam(&self) {
        let (v4, _) = self.place.outside();
        let other = format!("{}/26", std::net::Ipv4Addr::from(u32::from(v4) + 10));
        let old = format!("{v4}/26");
        let router = std::net::Ipv4Addr::from(u32::from(v4) - 9).to_string();
        let _ = self.ip(&["addr", "del", &old, "dev", "eth0"]);
        let _ = self.ip(&["addr", "add", &other, "dev", "eth0"]);
        let _ = self.ip(&["route", "replace", "default", "via", &router]);
        // wireguard-go goes on with the source address that it remembers, unless it hears of its endpoint anew.
        self.dial(wan4());
    }

    /// A TCP connection through the tunnel, or why there is none.
    ///
    /// # Errors
    /// Refused, reset or timed out after two seconds.
    pub fn tcp(&self, to: SocketAddr) -> std::io::Result<TcpStream> {
        self.tcp_within(to, Duration::from_secs(2))
    }

    /// A TCP connection through the tunnel, or why there is none.
    ///
    /// # Errors
    /// Refused, reset or timed out.
    pub fn tcp_within(&self, to: SocketAddr, limit: Duration) -> std::io::Result<TcpStream> {
        self.lab.inside(self.place, || {
            let stream = TcpStream::connect_timeout(&to, limit)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(wait::SOON))?;
            stream.set_write_timeout(Some(wait::SOON))?;
            Ok(stream)
        })
    }

    /// A TCP connection through the tunnel from an address of a machine behind the device.
    ///
    /// # Errors
    /// Refused, reset or timed out after two seconds.
    pub fn tcp_from(&self, from: IpAddr, to: SocketAddr) -> std::io::Result<TcpStream> {
        self.lab.inside(self.place, || {
            use rustix::net::{AddressFamily as Family, SocketType, bind, connect, socket};
            let family = if from.is_ipv4() {
                Family::INET
            } else {
                Family::INET6
            };
            let socket = socket(family, SocketType::STREAM, None)?;
            bind(&socket, &SocketAddr::new(from, 0))?;
            rustix::net::sockopt::set_socket_timeout(
                &socket,
                rustix::net::sockopt::Timeout::Send,
                Some(Duration::from_secs(2)),
            )?;
            connect(&socket, &to)?;
            let stream = TcpStream::from(socket);
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(wait::SOON))?;
            stream.set_write_timeout(Some(wait::SOON))?;
            Ok(stream)
        })
    }

    /// An MLLP connection through the tunnel.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn mllp(&self, to: SocketAddr) -> hl7::Client {
        let stream = self.tcp_within(to, wait::SOON);
        hl7::Client::new(stream.unwrap_or_else(|error| panic!("no connection to {to}: {error}")))
    }

    /// Runs a program beside the device.
    pub fn run(&self, line: &[&str]) -> Output {
        self.lab.output(self.place, line)
    }

    /// `tests/peers/partner.py ask` to the PACS: storage commitment, performed procedure steps.
    pub fn asks(&self, calling: &str, called: &str, what: &[&str]) -> Output {
        let (python, script) = (peer_program("python"), peer_script("partner.py"));
        let mut line = vec![
            python.as_str(),
            &script,
            "ask",
            "10.20.1.10",
            "104",
            calling,
            called,
        ];
        line.extend(what);
        self.run(&line)
    }

    /// Sends a file with the client of python-hl7; what it printed, the answer, without framing.
    pub fn mllp_send(&self, to: SocketAddr, file: &Path) -> Output {
        let program = peer_program("mllp_send");
        let (port, file) = (to.port().to_string(), file.display().to_string());
        let mut said = self.run(&[
            &program,
            "--port",
            &port,
            "--file",
            &file,
            &to.ip().to_string(),
        ]);
        said.out = said.out.replace(['\u{b}', '\u{1c}'], "");
        said
    }

    /// Where it stands.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Its tunnel addresses.
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// The process of its tunnel.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    fn wg(&self, arguments: &[&str]) -> Output {
        let mut all = vec!["wg", "set", &self.interface];
        all.extend(arguments);
        self.run(&all).ok()
    }

    fn ip(&self, arguments: &[&str]) -> Output {
        let mut all = vec!["-n", self.place.name()];
        all.extend(arguments);
        let mut command = std::process::Command::new("ip");
        command.args(all);
        Output::of(command, wait::SOON).ok()
    }
}

/// The gateway as seen from outside, over IPv4.
pub fn wan4() -> SocketAddr {
    (Place::Gateway.outside().0, 51820).into()
}

/// The gateway as seen from outside, over IPv6.
pub fn wan6() -> SocketAddr {
    (Place::Gateway.outside().1, 51820).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
