//! Many who say nothing, and many who are nobody.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lazaret::masque::Transmit;
use lazaret::masque::client::{Event, Session};
use lazaret::quic::message::Member;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint, RecvStream, SendStream, TransportConfig, VarInt};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::mpsc;

use super::authority::{Issued, NAME};
use super::lab::{in_device, median, memory, quantile, sh};
use super::latency::echo;
use super::peers::{Kind, Site};
use lazaret::pki::pem;

/// 2,000 devices with a tunnel each that say nothing: what one costs.
pub(crate) fn idle(site: &Site) {
    println!("## {CROWD} devices that say nothing");
    let members = (0..CROWD).map(|number| Member {
        device: format!("desk-{number}").parse().unwrap(),
        addresses: vec![Ipv4Addr::from_bits(0x0a41_0001 + number).into()],
        services: Vec::new(),
    });
    let (_gateway, pid, address) = site.quic_alone(members.collect());
    let before = memory(pid).0;
    let begin = Instant::now();
    let mut all = Vec::new();
    for group in 0..CROWD / GROUP {
        // The entrance counts by address.
        let source = Ipv4Addr::from_bits(0x7f01_0001 + group);
        let _inside = site.runtime.enter();
        let endpoint = Endpoint::client((source, 0).into()).unwrap();
        for number in 0..GROUP {
            let issued = site
                .authority
                .issue(&site.runtime, &format!("desk-{}", group * GROUP + number));
            let config = client(&site.authority.ca, &issued);
            let opened = site.runtime.block_on(async {
                let connection = endpoint.connect_with(config, address, NAME).unwrap();
                let connection = connection.await.unwrap();
                let kept = open(&connection).await;
                (connection, kept)
            });
            all.push((endpoint.clone(), opened));
        }
    }
    let took = begin.elapsed();
    std::thread::sleep(Duration::from_secs(5));
    let after = memory(pid).0;
    let alive = all
        .iter()
        .filter(|(_, (connection, _))| connection.close_reason().is_none());
    println!(
        "{} are in after {:.0} s; {before} KiB before, {after} KiB with them: {:.1} KiB each (at most 64)",
        alive.count(),
        took.as_secs_f64(),
        after.saturating_sub(before) as f64 / f64::from(CROWD)
    );
}

fn client(ca: &str, issued: &Issued) -> ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    for der in pem::all(ca, pem::CERTIFICATE).unwrap() {
        roots.add(CertificateDer::from(der)).unwrap();
    }
    let key = PrivateKeyDer::Pkcs8(issued.key.clone().into());
    let chain = vec![CertificateDer::from(issued.certificate.clone())];
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![lazaret::masque::ALPN.to_vec()];
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).unwrap()));
    let mut transport = TransportConfig::default();
    transport.max_idle_timeout(Some(VarInt::from_u32(600_000).into()));
    transport.keep_alive_interval(Some(Duration::from_secs(20)));
    config.transport_config(Arc::new(transport));
    config
}

/// Until the tunnel is open.
async fn open(connection: &Connection) -> (Session, SendStream, Option<SendStream>) {
    let mut session = Session::new(NAME, true);
    let mut control = connection.open_uni().await.unwrap();
    let (heard, mut reading) = mpsc::channel(8);
    let (accepting, theirs) = (connection.clone(), heard.clone());
    drop(tokio::spawn(async move {
        while let Ok(stream) = accepting.accept_uni().await {
            drop(tokio::spawn(read(stream, theirs.clone())));
        }
    }));
    let (mut request, mut is_open) = (None::<SendStream>, false);
    while !is_open {
        while let Some(transmit) = session.poll_transmit() {
            match transmit {
                Transmit::Control(bytes) => control.write_all(&bytes).await.unwrap(),
                Transmit::Request { bytes, .. } => {
                    if request.is_none() {
                        let (sending, receiving) = connection.open_bi().await.unwrap();
                        drop(tokio::spawn(read(receiving, heard.clone())));
                        request = Some(sending);
                    }
                    let sending = request.as_mut().unwrap();
                    sending.write_all(&bytes).await.unwrap();
                }
                Transmit::Stop { .. } => panic!("nothing is to be stopped"),
            }
        }
        let (stream, bytes) = reading.recv().await.unwrap();
        session.receive(stream, &bytes, false).unwrap();
        while let Some(event) = session.poll_event() {
            is_open |= matches!(event, Event::Open);
        }
    }
    (session, control, request)
}

async fn read(mut stream: RecvStream, heard: mpsc::Sender<(u64, Vec<u8>)>) {
    let number = VarInt::from(stream.id()).into_inner();
    while let Ok(Some(chunk)) = stream.read_chunk(4096, true).await {
        if heard.send((number, chunk.bytes.to_vec())).await.is_err() {
            return;
        }
    }
}

/// 50,000 first packets a second from everywhere, while a device works.
pub(crate) fn flood(site: &Site, seconds: usize) {
    println!("## {RATE} first packets a second from spoofed addresses, for {seconds} s");
    let _ = sh("ip route add 198.18.0.0/15 via 192.0.2.10");
    let tunnel = site.start(Kind::Quic, None);
    let [pid, client] = tunnel.processes();
    let long = Duration::from_secs(seconds as u64);
    let alone = echo(&tunnel.inside, long);
    let target = tunnel.outside;
    let packets = first_packets(site);
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let (before, answered) = (memory(pid), datagrams());
    let beside = std::thread::scope(|scope| {
        let _flooding = scope.spawn(|| in_device(|| pour(&packets, target, &stop, &sent)));
        let beside = echo(&tunnel.inside, long);
        stop.store(true, Ordering::Relaxed);
        beside
    });
    let answered = datagrams().saturating_sub(answered);
    let after = memory(pid);
    println!(
        "{} sent, {answered} datagrams of the gateway; memory {} -> {} KiB, most {} -> {} KiB",
        sent.load(Ordering::Relaxed),
        before.0,
        after.0,
        before.1,
        after.1
    );
    println!(
        "messages of a device, ms p50 p99: alone {:.2} {:.2}, beside the flood {:.2} {:.2}; its client {}",
        median(&alone),
        quantile(&alone, 0.99),
        median(&beside),
        quantile(&beside, 0.99),
        if std::path::Path::new(&format!("/proc/{client}/stat")).exists() {
            "is there"
        } else {
            "is gone"
        }
    );
}

/// Datagrams of UDP that left this network.
fn datagrams() -> u64 {
    let shown = std::fs::read_to_string("/proc/net/snmp").unwrap();
    let line = shown.lines().filter(|line| line.starts_with("Udp:")).nth(1);
    let number = line.and_then(|line| line.split_whitespace().nth(4)?.parse().ok());
    number.unwrap_or(0)
}

/// What clients of quinn say first.
fn first_packets(site: &Site) -> Vec<Vec<u8>> {
    let issued = site.authority.issue(&site.runtime, "nobody");
    let config = client(&site.authority.ca, &issued);
    let deaf = UdpSocket::bind("127.0.0.1:0").unwrap();
    let towards = deaf.local_addr().unwrap();
    let _inside = site.runtime.enter();
    let mut packets = Vec::new();
    for _ in 0..64 {
        let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let connecting = endpoint
            .connect_with(config.clone(), towards, NAME)
            .unwrap();
        let mut space = [0; 2048];
        let length = deaf.recv(&mut space).unwrap();
        packets.push(space[..length].to_vec());
        drop(connecting);
        endpoint.close(VarInt::from_u32(0), b"");
    }
    packets
}

fn pour(packets: &[Vec<u8>], target: SocketAddr, stop: &AtomicBool, sent: &AtomicU64) {
    let raw = socket2::Socket::new(
        socket2::Domain::IPV4,
        socket2::Type::RAW,
        Some(socket2::Protocol::from(255)),
    );
    let raw = raw.expect("raw sockets of the namespace");
    let SocketAddr::V4(target) = target else {
        panic!("an address of IPv4");
    };
    let begin = Instant::now();
    let (mut count, mut packet) = (0_u64, Vec::new());
    while !stop.load(Ordering::Relaxed) {
        let due = begin.elapsed().as_micros() as u64 * RATE / 1_000_000;
        if count >= due {
            std::thread::sleep(Duration::from_micros(500));
            continue;
        }
        let payload = &packets[count as usize % packets.len()];
        let source =
            Ipv4Addr::from_bits(0xc612_0000 | (count as u32).wrapping_mul(40_503) & 0x1_ffff);
        packet.clear();
        let length = 28 + payload.len() as u16;
        packet.extend([0x45, 0]);
        packet.extend(length.to_be_bytes());
        packet.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
        packet.extend(source.octets());
        packet.extend(target.ip().octets());
        packet.extend((1024 + (count % 60_000) as u16).to_be_bytes());
        packet.extend(target.port().to_be_bytes());
        packet.extend((length - 20).to_be_bytes());
        // IPv4 does without a sum.
        packet.extend([0, 0]);
        packet.extend_from_slice(payload);
        let to = SocketAddr::from((*target.ip(), 0));
        if raw.send_to(&packet, &to.into()).is_ok() {
            sent.fetch_add(1, Ordering::Relaxed);
        }
        count += 1;
    }
}

const CROWD: u32 = 2000;
const GROUP: u32 = 5;
const RATE: u64 = 50_000;
