//! The process with a client of our own `masque` layer and rustls: what aioquic cannot offer, the hybrid key exchange.

#![allow(clippy::disallowed_methods, reason = "tests read the clock")]

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lazaret_config::{PostQuantum, Transport};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, RecvStream, SendStream};
use rustls::crypto::{SupportedKxGroup, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::mpsc;

use super::message::{FromQuic, Member, Offer, QuicEvent, Settings, ToQuic};
use super::streams::number;
use super::worker;
use crate::channel::{self, Channel};
use crate::flow::{Clock, Standing};
use crate::masque::Transmit;
use crate::masque::client::{Event, Session};
use crate::pki;
use crate::pki::message::{
    Answer, Der, FromSigner, Listener, Question, ServerIdentity, ToSigner, Trust, Way,
};
use crate::pki::pem;
use crate::tunnel::udp;

struct Real;
impl Clock for Real {
    fn now(&self) -> std::time::Instant {
        std::time::Instant::now()
    }
    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }
}

const NAME: &str = "gateway.example.org";

/// An authority, a certificate of `desk-7`, and the signer that made them.
struct Authority {
    signer: Channel<ToSigner, FromSigner>,
    ca: Vec<u8>,
    server: ServerIdentity,
    trust: Trust,
    certificate: Vec<u8>,
    key: Vec<u8>,
    /// How often the certificate is shown.
    chain: usize,
}

impl Authority {
    async fn new(folder: &Path) -> Self {
        let (ours, theirs) = channel::pair().unwrap();
        // A process of its own in life: handshakes wait for it.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let signer = Channel::new(theirs).unwrap();
                pki::worker::run(signer, Arc::new(Real)).await
            })
        });
        let signer: Channel<ToSigner, FromSigner> = Channel::new(ours).unwrap();
        let server_names = vec![lazaret_config::ServerName::Dns(NAME.to_owned())];
        let settings = pki::message::Settings {
            gateway: "test".to_owned(),
            directory: folder.join("pki"),
            pki: lazaret_config::Pki {
                server_names,
                ..lazaret_config::Pki::default()
            },
        };
        signer.send(&ToSigner::Start(settings), &[]).await.unwrap();
        assert!(matches!(
            signer.receive().await.unwrap().0,
            FromSigner::Ready
        ));
        let ask = async |question| {
            let message = ToSigner::Ask {
                request: 1,
                question,
            };
            signer.send(&message, &[]).await.unwrap();
            let FromSigner::Answer { answer, .. } = signer.receive().await.unwrap().0 else {
                panic!("no answer");
            };
            answer.unwrap()
        };
        let made = ask(Question::NewAuthority {
            rotate: false,
            way: Way::Root,
            overlap: None,
        });
        let Answer::Status(status) = made.await else {
            panic!("no authority");
        };
        let listener = Listener::Quic;
        let server = ask(Question::Server {
            listener,
            renew: false,
        });
        let Answer::Server(server) = server.await else {
            panic!("no server");
        };
        let pair = rcgen::KeyPair::generate().unwrap();
        let mut asked = rcgen::CertificateParams::default();
        asked.distinguished_name = rcgen::DistinguishedName::new();
        let request = asked.serialize_request(&pair).unwrap().der().to_vec();
        let issued = ask(Question::Issue {
            request: Der(request),
            device: "desk-7".parse().unwrap(),
            lifetime: None,
        });
        let Answer::Issued(issued) = issued.await else {
            panic!("no certificate");
        };
        let Answer::Trust(trust) = ask(Question::Trust).await else {
            panic!("no trust");
        };
        let ca = pem::all(&status.authorities[0].certificate, pem::CERTIFICATE).unwrap();
        Self {
            ca: ca[0].clone(),
            server,
            trust,
            certificate: issued.certificate.0,
            key: pair.serialize_der(),
            chain: 1,
            signer,
        }
    }

    /// What a device of this authority shakes hands with.
    fn client(&self, groups: Vec<&'static dyn SupportedKxGroup>) -> ClientConfig {
        let mut provider = aws_lc_rs::default_provider();
        provider.kx_groups = groups;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from(self.ca.clone())).unwrap();
        let certificate = vec![CertificateDer::from(self.certificate.clone()); self.chain];
        let key = PrivateKeyDer::Pkcs8(self.key.clone().into());
        let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(certificate, key)
            .unwrap();
        config.alpn_protocols = vec![crate::masque::ALPN.to_vec()];
        ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).unwrap()))
    }
}

/// The process under test, with one socket and something like a TUN.
struct Gateway {
    supervisor: Channel<ToQuic, FromQuic>,
    address: SocketAddr,
    kernel: tokio::net::UnixDatagram,
}

fn member() -> Member {
    Member {
        device: "desk-7".parse().unwrap(),
        addresses: vec!["10.65.0.7".parse().unwrap()],
        services: vec![Offer {
            name: "his".parse().unwrap(),
            address: "10.20.2.10".parse().unwrap(),
            transport: Transport::Tcp,
            port: 2575,
            ends: None,
            priority: crate::flow::Priority::Normal,
        }],
    }
}

impl Gateway {
    async fn start(authority: &Authority, post_quantum: PostQuantum) -> Self {
        let (ours, theirs) = channel::pair().unwrap();
        tokio::spawn(worker::run(Channel::new(theirs).unwrap(), Arc::new(Real)));
        let supervisor: Channel<ToQuic, FromQuic> = Channel::new(ours).unwrap();
        let (tun, kernel) = UnixDatagram::pair().unwrap();
        kernel.set_nonblocking(true).unwrap();
        let socket = udp::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = std::net::UdpSocket::from(socket[0].try_clone().unwrap());
        let address = address.local_addr().unwrap();
        let settings = Settings {
            interface: "t".to_owned(),
            mtu: 1280,
            vnet_hdr: false,
            initial_mtu: 1200,
            segmentation_offload: false,
            post_quantum,
            own: vec!["10.65.255.254".parse().unwrap()],
        };
        let start = ToQuic::Start {
            settings,
            members: vec![member()],
        };
        let descriptors = [tun.as_fd(), socket[0].as_fd()];
        supervisor.send(&start, &descriptors).await.unwrap();
        assert!(matches!(
            supervisor.receive().await.unwrap().0,
            FromQuic::Ready
        ));
        let (door, at_signer) = channel::pair().unwrap();
        let listener = Listener::Quic;
        let message = ToSigner::Door { listener };
        (authority.signer.send(&message, &[at_signer.as_fd()]).await).unwrap();
        let identity = ToQuic::Identity {
            server: Box::new(authority.server.clone()),
            trust: authority.trust.clone(),
        };
        supervisor.send(&identity, &[door.as_fd()]).await.unwrap();
        Self {
            supervisor,
            address,
            kernel: tokio::net::UnixDatagram::from_std(kernel).unwrap(),
        }
    }

    async fn dial(&self, config: ClientConfig) -> Result<Connection, ConnectionError> {
        let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let dialled = endpoint.connect_with(config, self.address, NAME);
        tokio::time::timeout(LIMIT, dialled.unwrap()).await.unwrap()
    }

    async fn event(&self) -> QuicEvent {
        let event = async {
            loop {
                if let FromQuic::Event(event) = self.supervisor.receive().await.unwrap().0 {
                    return event;
                }
            }
        };
        tokio::time::timeout(LIMIT, event).await.unwrap()
    }
}

/// The other end of the tunnel, until it has its addresses and routes.
async fn open(connection: &Connection) -> Session {
    open_and_hear(connection, 3).await
}

/// As [`open`], until so many things were told; that the gateway leaves is one too.
async fn open_and_hear(connection: &Connection, wanted: u8) -> Session {
    let mut session = Session::new(NAME, true);
    let mut control = connection.open_uni().await.unwrap();
    let (heard, mut reading) = mpsc::channel(8);
    let (accepting, theirs) = (connection.clone(), heard.clone());
    tokio::spawn(async move {
        while let Ok(stream) = accepting.accept_uni().await {
            tokio::spawn(read(stream, theirs.clone()));
        }
    });
    let (mut request, mut told): (Option<SendStream>, u8) = (None, 0);
    while told < wanted {
        while let Some(transmit) = session.poll_transmit() {
            match transmit {
                Transmit::Control(bytes) => control.write_all(&bytes).await.unwrap(),
                Transmit::Request { bytes, .. } => {
                    if request.is_none() {
                        let (sending, receiving) = connection.open_bi().await.unwrap();
                        tokio::spawn(read(receiving, heard.clone()));
                        request = Some(sending);
                    }
                    let sending = request.as_mut().unwrap();
                    sending.write_all(&bytes).await.unwrap();
                }
                Transmit::Stop { .. } => panic!("nothing is to be stopped"),
            }
        }
        let next = tokio::time::timeout(LIMIT, reading.recv());
        let (stream, bytes) = next.await.unwrap().unwrap();
        session.receive(stream, &bytes, false).unwrap();
        while let Some(event) = session.poll_event() {
            told += u8::from(matches!(
                event,
                Event::Open | Event::Addresses(_) | Event::Routes(_) | Event::GoingAway
            ));
        }
    }
    // They close with the connection.
    std::mem::forget((control, request));
    session
}

async fn read(mut stream: RecvStream, heard: mpsc::Sender<(u64, Vec<u8>)>) {
    let number = number(stream.id());
    while let Ok(Some(chunk)) = stream.read_chunk(4096, true).await {
        if heard.send((number, chunk.bytes.to_vec())).await.is_err() {
            return;
        }
    }
}

/// A packet of IPv4 without options.
fn packet(source: [u8; 4], destination: [u8; 4], hops: u8) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 24, 0, 0, 0x40, 0, hops, 253, 0, 0];
    packet.extend(source.into_iter().chain(destination));
    let words = packet
        .chunks(2)
        .map(|two| u32::from(u16::from_be_bytes([two[0], two[1]])));
    let sum: u32 = words.sum();
    let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend([1, 2, 3, 4]);
    packet
}

const LIMIT: Duration = Duration::from_secs(10);
const DESK: [u8; 4] = [10, 65, 0, 7];
const HIS: [u8; 4] = [10, 20, 2, 10];

#[tokio::test]
async fn a_device_comes_in_by_the_hybrid_key_exchange_and_goes_when_it_may_not_stay() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path()).await;
    for post_quantum in [PostQuantum::Preferred, PostQuantum::Required] {
        let gateway = Gateway::start(&authority, post_quantum).await;
        let groups = || {
            vec![
                aws_lc_rs::kx_group::X25519MLKEM768,
                aws_lc_rs::kx_group::X25519,
            ]
        };
        let connection = gateway.dial(authority.client(groups())).await.unwrap();
        let session = open(&connection).await;
        let QuicEvent::Began { key_exchange, .. } = gateway.event().await else {
            panic!("it did not begin");
        };
        assert_eq!(key_exchange, "X25519MLKEM768");

        let send = |packet: &[u8]| {
            let datagram = [session.head().unwrap(), packet].concat();
            connection.send_datagram(datagram.into()).unwrap();
        };
        //= C5
        send(&packet([10, 65, 0, 8], HIS, 64));
        send(&packet(DESK, HIS, 64));
        let mut space = [0; 2048];
        let heard = tokio::time::timeout(LIMIT, gateway.kernel.recv(&mut space));
        let length = heard.await.unwrap().unwrap();
        assert_eq!(space[..length], packet(DESK, HIS, 64));
        let spoofed = gateway.event().await;
        assert!(
            matches!(spoofed, QuicEvent::Spoofed { packets: 1, .. }),
            "{spoofed:?}"
        );

        // Back, one hop less; one without hops left is answered instead.
        let back = gateway.kernel.send(&packet(HIS, DESK, 64)).await;
        assert_eq!(back.unwrap(), 24);
        let datagram = tokio::time::timeout(LIMIT, connection.read_datagram());
        let datagram = datagram.await.unwrap().unwrap();
        let inner = session.datagram(&datagram).unwrap().unwrap();
        assert_eq!(inner, packet(HIS, DESK, 63));
        let _ = gateway.kernel.send(&packet(HIS, DESK, 1)).await.unwrap();
        let heard = tokio::time::timeout(LIMIT, gateway.kernel.recv(&mut space));
        let length = heard.await.unwrap().unwrap();
        let answer = &space[..length];
        assert_eq!((answer[9], &answer[16..20], answer[20]), (1, &HIS[..], 11));

        //= C9
        let pending = vec![(member().device, Standing::Pending)];
        let barred = ToQuic::Barred(pending);
        gateway.supervisor.send(&barred, &[]).await.unwrap();
        let nobody = ToQuic::Members(Vec::new());
        gateway.supervisor.send(&nobody, &[]).await.unwrap();
        let closed = tokio::time::timeout(LIMIT, connection.closed());
        let closed = closed.await.unwrap();
        let ConnectionError::ApplicationClosed(why) = closed else {
            panic!("{closed}");
        };
        assert_eq!(why.reason, "the device is not approved yet");
        assert!(matches!(gateway.event().await, QuicEvent::Ended { .. }));
        let everybody = ToQuic::Members(vec![member()]);
        gateway.supervisor.send(&everybody, &[]).await.unwrap();

        // Only the classical one.
        let groups = vec![aws_lc_rs::kx_group::X25519];
        let dialled = gateway.dial(authority.client(groups)).await;
        assert_eq!(dialled.is_ok(), post_quantum == PostQuantum::Preferred);
        if let Err(error) = dialled {
            let QuicEvent::Refused { why, device, .. } = gateway.event().await else {
                panic!("{error}");
            };
            assert_eq!(why, "no key exchange that both ends offer");
            assert_eq!(device, None);
        }
    }
}

#[tokio::test]
async fn a_newer_connection_of_a_device_takes_the_place_of_the_older() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path()).await;
    let gateway = Gateway::start(&authority, PostQuantum::Preferred).await;
    let groups = || vec![aws_lc_rs::kx_group::X25519];
    let older = gateway.dial(authority.client(groups())).await.unwrap();
    open(&older).await;
    let newer = gateway.dial(authority.client(groups())).await.unwrap();
    let closed = tokio::time::timeout(LIMIT, older.closed()).await.unwrap();
    assert!(matches!(closed, ConnectionError::ApplicationClosed(_)));
    let session = open(&newer).await;
    let datagram = [session.head().unwrap(), &packet(DESK, HIS, 64)].concat();
    newer.send_datagram(datagram.into()).unwrap();
    let mut space = [0; 2048];
    let heard = tokio::time::timeout(LIMIT, gateway.kernel.recv(&mut space));
    assert_eq!(heard.await.unwrap().unwrap(), 24);
}

/// Who came before the operator said so, and who comes after.
#[tokio::test]
async fn devices_hear_that_the_gateway_is_about_to_restart() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path()).await;
    let gateway = Gateway::start(&authority, PostQuantum::Preferred).await;
    let dial = || gateway.dial(authority.client(vec![aws_lc_rs::kx_group::X25519]));
    let before = dial().await.unwrap();
    let (_, told) = tokio::join!(
        async {
            assert!(matches!(gateway.event().await, QuicEvent::Began { .. }));
            let leaving = ToQuic::Leaving(true);
            gateway.supervisor.send(&leaving, &[]).await.unwrap();
        },
        open_and_hear(&before, 4),
    );
    assert!(told.head().is_some(), "the tunnel goes on");
    let after = dial().await.unwrap();
    assert!(open_and_hear(&after, 4).await.head().is_some());
}

/// A chain that no handshake is long enough for costs nobody else anything, and is told.
//= C7
#[tokio::test]
async fn a_chain_of_ten_thousand_certificates_is_no_handshake() {
    let folder = tempfile::tempdir().unwrap();
    let mut authority = Authority::new(folder.path()).await;
    let gateway = Gateway::start(&authority, PostQuantum::Preferred).await;
    let groups = || vec![aws_lc_rs::kx_group::X25519];
    for (length, comes_in) in [(10_000, false), (1, true)] {
        authority.chain = length;
        let dialled = gateway.dial(authority.client(groups())).await;
        let closed = match dialled {
            // A client of TLS 1.3 is done before the gateway judged what it showed.
            Ok(connection) if comes_in => {
                open(&connection).await;
                None
            }
            Ok(connection) => {
                let closed = tokio::time::timeout(LIMIT, connection.closed());
                Some(closed.await.unwrap())
            }
            Err(error) => Some(error),
        };
        assert_eq!(closed.is_none(), comes_in, "{length}: {closed:?}");
        let event = gateway.event().await;
        let refused = matches!(&event, QuicEvent::Refused { device: None, .. });
        assert_eq!(refused, !comes_in, "{event:?}");
    }
}
