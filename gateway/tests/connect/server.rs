//! A server of CONNECT-IP with one service behind it, which gives back what it hears.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use lazaret::masque::capsule::Route;
use lazaret::masque::fields::Status;
use lazaret::masque::packet::Gate;
use lazaret::masque::server::{Event, Grant, Session};
use lazaret::masque::service::Service;
use lazaret::masque::{self, Transmit};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{
    Connection, Endpoint, EndpointConfig, RecvStream, SendStream, ServerConfig, TokioRuntime,
    VarInt,
};
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{self, Device, DeviceCapabilities, Medium};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpCidr};
use tokio::sync::{Notify, mpsc};

use crate::pki::Authority;

/// How the server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Grant,
    /// A tunnel without services.
    GrantNothing,
    Refuse(&'static str),
    /// Without the hybrid key exchange; the tunnel is ended at once.
    Classical,
    /// A control stream that begins with something else.
    Nonsense,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    cut: Arc<Notify>,
    capsules: Arc<AtomicUsize>,
}

impl Server {
    /// Starts it; `hybrid_only`: it offers nothing but X25519MLKEM768.
    pub(crate) fn start(authority: &Authority, answer: Answer, hybrid_only: bool) -> Self {
        let config = configuration(authority, answer, hybrid_only);
        // As on a narrow path: packets of 1280 bytes fit no datagram.
        let mut limits = EndpointConfig::default();
        limits.max_udp_payload_size(1200).unwrap();
        let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let runtime = Arc::new(TokioRuntime);
        let endpoint = Endpoint::new(limits, Some(config), socket, runtime).unwrap();
        let server = Self {
            address: endpoint.local_addr().unwrap(),
            cut: Arc::new(Notify::new()),
            capsules: Arc::default(),
        };
        let (cut, capsules) = (Arc::clone(&server.cut), Arc::clone(&server.capsules));
        tokio::task::spawn_local(async move {
            // The service outlives the tunnels to it.
            let mut hospital = Hospital::new();
            while let Some(incoming) = endpoint.accept().await {
                let Ok(connection) = incoming.await else {
                    continue;
                };
                let mut tunnel = Tunnel::begin(connection, answer, Arc::clone(&capsules)).await;
                tokio::select! {
                    () = tunnel.carry(&mut hospital) => {}
                    () = cut.notified() => tunnel.connection.close(VarInt::from_u32(0x100), b"cut"),
                }
            }
        });
        server
    }

    /// Closes the connection that there is.
    pub(crate) fn cut(&self) {
        self.cut.notify_one();
    }

    /// How many packets came in the stream.
    pub(crate) fn capsules(&self) -> usize {
        self.capsules.load(Ordering::Relaxed)
    }
}

fn configuration(authority: &Authority, answer: Answer, hybrid_only: bool) -> ServerConfig {
    let mut provider = aws_lc_rs::default_provider();
    if answer == Answer::Classical {
        provider.kx_groups = vec![aws_lc_rs::kx_group::X25519];
    }
    if hybrid_only {
        provider.kx_groups = vec![aws_lc_rs::kx_group::X25519MLKEM768];
    }
    let provider = Arc::new(provider);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.root()).unwrap();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let (certificate, key) = authority.gateway();
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![certificate], key)
        .unwrap();
    tls.alpn_protocols = vec![masque::ALPN.to_vec()];
    ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()))
}

type Chunk = (u64, Bytes, bool);

/// One connection.
struct Tunnel {
    connection: Connection,
    session: Session,
    control: SendStream,
    request: Option<SendStream>,
    chunks: (mpsc::Sender<Chunk>, mpsc::Receiver<Chunk>),
    answer: Answer,
    gate: Gate,
    capsules: Arc<AtomicUsize>,
}

fn read(mut stream: RecvStream, chunks: mpsc::Sender<Chunk>) {
    tokio::spawn(async move {
        let id = VarInt::from(stream.id()).into_inner();
        while let Ok(chunk) = stream.read_chunk(usize::MAX, true).await {
            let fin = chunk.is_none();
            let bytes = chunk.map(|chunk| chunk.bytes).unwrap_or_default();
            if chunks.send((id, bytes, fin)).await.is_err() || fin {
                return;
            }
        }
    });
}

impl Tunnel {
    async fn begin(connection: Connection, answer: Answer, capsules: Arc<AtomicUsize>) -> Self {
        let mut control = connection.open_uni().await.unwrap();
        if answer == Answer::Nonsense {
            // GOAWAY without SETTINGS.
            let _ = control.write_all(&[0, 7, 1, 0]).await;
        }
        Self {
            session: Session::new(connection.max_datagram_size().is_some()),
            connection,
            control,
            request: None,
            chunks: mpsc::channel(16),
            answer,
            gate: Gate::default(),
            capsules,
        }
    }

    fn decide(&mut self) {
        let address = "10.65.0.7/32".parse().unwrap();
        let route = Route::all("10.20.1.0/24".parse().unwrap());
        self.gate = Gate {
            peer: vec![address],
            routes: vec![route],
        };
        let pacs = Service {
            name: "pacs".to_owned(),
            address: SERVICE.into(),
            protocol: 6,
            first_port: PORT,
            last_port: PORT,
            seconds_left: 0,
        };
        let services = if self.answer == Answer::Grant {
            vec![pacs]
        } else {
            vec![]
        };
        match self.answer {
            Answer::Refuse(why) => self.session.refuse(Status(403), why),
            Answer::Grant | Answer::GrantNothing | Answer::Classical | Answer::Nonsense => {
                self.session.accept(Grant {
                    addresses: vec![address],
                    routes: vec![route],
                    services,
                });
            }
        }
        if self.answer == Answer::Classical {
            self.session.close();
        }
    }

    async fn carry(&mut self, hospital: &mut Hospital) {
        let mut ticks = tokio::time::interval(Duration::from_millis(1));
        loop {
            while let Some(event) = self.session.poll_event() {
                match event {
                    Event::Request { authority } => {
                        assert!(authority.starts_with("127.0.0.1"), "{authority}");
                        self.decide();
                    }
                    Event::Packet(packet) => {
                        self.capsules.fetch_add(1, Ordering::Relaxed);
                        self.enter(&packet, hospital);
                    }
                    Event::Routes(_) | Event::GoingAway | Event::Ended => {}
                }
            }
            while let Some(transmit) = self.session.poll_transmit() {
                self.transmit(transmit).await;
            }
            let connection = self.connection.clone();
            tokio::select! {
                datagram = connection.read_datagram() => {
                    let Ok(datagram) = datagram else { return };
                    if let Ok(Some(packet)) = self.session.datagram(&datagram) {
                        self.enter(packet, hospital);
                    }
                }
                Some((stream, bytes, fin)) = self.chunks.1.recv() => {
                    self.session.receive(stream, &bytes, fin).unwrap();
                }
                stream = connection.accept_uni() => {
                    let Ok(stream) = stream else { return };
                    read(stream, self.chunks.0.clone());
                }
                stream = connection.accept_bi() => {
                    let Ok((sender, stream)) = stream else { return };
                    self.request = Some(sender);
                    read(stream, self.chunks.0.clone());
                }
                _ = ticks.tick() => self.leave(hospital),
            }
        }
    }

    async fn transmit(&mut self, transmit: Transmit) {
        // Whether the client still listens shows elsewhere.
        match transmit {
            Transmit::Control(_) if self.answer == Answer::Nonsense => {}
            Transmit::Control(bytes) => drop(self.control.write_all(&bytes).await),
            Transmit::Request { bytes, fin, .. } => {
                if let Some(stream) = &mut self.request {
                    let _ = stream.write_all(&bytes).await;
                    if fin {
                        let _ = stream.finish();
                    }
                }
            }
            Transmit::Stop { .. } => {}
        }
    }

    fn enter(&self, packet: &[u8], hospital: &mut Hospital) {
        let head = self.gate.from_peer(packet).unwrap();
        hospital
            .wire
            .arrived
            .push_back(packet[..head.length].to_vec());
    }

    fn leave(&mut self, hospital: &mut Hospital) {
        hospital.turn();
        while let Some(mut packet) = hospital.wire.leaving.pop_front() {
            self.gate.to_peer(&mut packet, 1280).unwrap();
            let head = self.session.head().unwrap_or_default();
            let fits = self.connection.max_datagram_size().unwrap_or(0);
            if head.len() + packet.len() <= fits {
                let datagram = Bytes::from([head, &packet].concat());
                let _ = self.connection.send_datagram(datagram);
            } else {
                self.session.send_packet(&packet);
            }
        }
    }
}

const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 20, 1, 10);
const PORT: u16 = 104;

/// The service.
struct Hospital {
    wire: Wire,
    interface: Interface,
    sockets: SocketSet<'static>,
    handles: Vec<SocketHandle>,
    began: tokio::time::Instant,
}

#[derive(Default)]
struct Wire {
    arrived: VecDeque<Vec<u8>>,
    leaving: VecDeque<Vec<u8>>,
}

impl Hospital {
    fn new() -> Self {
        let mut wire = Wire::default();
        let config = Config::new(HardwareAddress::Ip);
        let mut interface = Interface::new(config, &mut wire, Instant::ZERO);
        interface.update_ip_addrs(|own| own.push(IpCidr::new(SERVICE.into(), 8)).unwrap());
        interface
            .routes_mut()
            .add_default_ipv4_route(SERVICE)
            .unwrap();
        let mut sockets = SocketSet::new(Vec::new());
        let handles = (0..4).map(|_| {
            let buffer = || tcp::SocketBuffer::new(vec![0; 128 * 1024]);
            let mut socket = tcp::Socket::new(buffer(), buffer());
            socket.listen(PORT).unwrap();
            sockets.add(socket)
        });
        let handles = handles.collect();
        Self {
            wire,
            interface,
            sockets,
            handles,
            began: tokio::time::Instant::now(),
        }
    }

    fn turn(&mut self) {
        let micros = i64::try_from(self.began.elapsed().as_micros()).unwrap();
        let now = Instant::from_micros(micros);
        self.interface.poll(now, &mut self.wire, &mut self.sockets);
        for handle in &self.handles {
            let socket = self.sockets.get_mut::<tcp::Socket<'_>>(*handle);
            while socket.can_recv() && socket.can_send() {
                let space = socket.send_capacity() - socket.send_queue();
                let take = |bytes: &mut [u8]| {
                    let length = bytes.len().min(space);
                    (length, bytes[..length].to_vec())
                };
                let heard = socket.recv(take).unwrap();
                assert_eq!(socket.send_slice(&heard).unwrap(), heard.len());
            }
            if socket.state() == tcp::State::CloseWait && !socket.can_recv() {
                socket.close();
            }
        }
        self.interface.poll(now, &mut self.wire, &mut self.sockets);
    }
}

struct Arrived(Vec<u8>);
struct Leaving<'w>(&'w mut VecDeque<Vec<u8>>);

impl phy::RxToken for Arrived {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl phy::TxToken for Leaving<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let mut packet = vec![0; length];
        let made = f(&mut packet);
        self.0.push_back(packet);
        made
    }
}

impl Device for Wire {
    type RxToken<'w> = Arrived;
    type TxToken<'w> = Leaving<'w>;

    fn receive(&mut self, _: Instant) -> Option<(Arrived, Leaving<'_>)> {
        let packet = self.arrived.pop_front()?;
        Some((Arrived(packet), Leaving(&mut self.leaving)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Leaving<'_>> {
        Some(Leaving(&mut self.leaving))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = 1280;
        capabilities
    }
}
