//! Five hundred associations at once through one relay, as both kinds of release: none is lost, none mixed up.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, and begin now"
)]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use jiff::Timestamp;
use lazaret::channel::{self, Channel};
use lazaret::flow::{Clock, ConnectionId, Side};
use lazaret::forward::message::{FromRelay, ToRelay};
use lazaret::forward::worker;
use lazaret::inspect::dicom::DicomSession;
use lazaret::inspect::{ConnectionPolicy, Outcome, ProtocolPolicy, Subject, Timing};
use protocol_inspect::Limits;
use protocol_inspect::dicom::{Policy, Profile, Rule};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Barrier;

//= C2
//= C7
#[test]
fn five_hundred_associations_at_once() {
    let hard = getrlimit(Resource::Nofile).maximum;
    let most = Rlimit {
        current: hard,
        maximum: hard,
    };
    setrlimit(Resource::Nofile, most).unwrap();
    for streaming in [true, false] {
        let (ours, theirs) = channel::pair().unwrap();
        let relay = std::thread::spawn(move || relay(theirs));
        let stored = runtime().block_on(crowd(ours, streaming));
        relay.join().unwrap();
        assert_eq!(stored.len(), DEVICES * SLICES);
        for device in 0..DEVICES {
            for slice in 0..SLICES {
                let (calling, bytes) = &stored[&instance(device, slice)];
                assert_eq!(*calling, title(device));
                assert!(*bytes == data_set(device, slice), "{device} {slice}");
            }
        }
    }
}

/// By SOP instance: the calling AE title, and the data set.
type Stored = BTreeMap<String, (String, Vec<u8>)>;

fn relay(socket: OwnedFd) {
    let channel = runtime().block_on(async move {
        let channel = Channel::<FromRelay, ToRelay>::new(socket).unwrap();
        let sessions: worker::SessionFactory = Box::new(|policy, _, now, wall| {
            Box::new(DicomSession::new(policy, Arc::default(), now, wall))
        });
        worker::run(channel, Arc::new(Real), sessions).await
    });
    channel.unwrap();
}

async fn crowd(channel: OwnedFd, streaming: bool) -> Stored {
    let stored = Arc::new(Mutex::new(Stored::new()));
    let archive = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let to = archive.local_addr().unwrap();
    let store = Arc::clone(&stored);
    tokio::spawn(async move {
        while let Ok((stream, _)) = archive.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&store)));
        }
    });
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let supervised = tokio::spawn(supervise(channel, listener, to, streaming));
    let together = Arc::new(Barrier::new(DEVICES));
    let devices: Vec<_> = (0..DEVICES)
        .map(|device| tokio::spawn(send(device, address, Arc::clone(&together))))
        .collect();
    for device in devices {
        device.await.unwrap();
    }
    supervised.await.unwrap();
    let mut stored = stored.lock().unwrap();
    std::mem::take(&mut *stored)
}

/// In the place of the supervisor, until every association is over.
async fn supervise(channel: OwnedFd, listener: TcpListener, to: SocketAddr, streaming: bool) {
    let channel = Channel::<ToRelay, FromRelay>::new(channel).unwrap();
    let start = ToRelay::Start {
        connections: DEVICES,
        memory: 256 << 20,
        relays: 1,
    };
    channel.send(&start, &[]).await.unwrap();
    let (mut number, mut forwarded, mut closed, mut decided) = (0, 0, 0, 0);
    while closed < DEVICES {
        tokio::select! {
            accepted = listener.accept() => {
                number += 1;
                let id = ConnectionId(number);
                let policy = Box::new(policy(streaming));
                let socket = accepted.unwrap().0.into_std().unwrap();
                let open = ToRelay::Open { id, subject: number, exchange: number, policy };
                channel.send(&open, &[socket.as_fd()]).await.unwrap();
            }
            said = channel.receive() => match said.unwrap().0 {
                FromRelay::Connect { id } => {
                    let socket = TcpStream::connect(to).await.unwrap().into_std().unwrap();
                    channel.send(&ToRelay::Upstream { id }, &[socket.as_fd()]).await.unwrap();
                }
                FromRelay::Decided(some) => {
                    let stores = some.iter().filter(|one| one.decision.what == Subject::Message);
                    for store in stores {
                        assert_eq!(store.decision.outcome, Outcome::Forwarded, "{store:?}");
                        let mut warnings = store.decision.warnings.iter();
                        assert_eq!(warnings.any(|one| one.starts_with("streaming")), streaming);
                        forwarded += 1;
                    }
                    decided += some.len() as u64;
                    let recorded = ToRelay::Recorded { decisions: decided };
                    channel.send(&recorded, &[]).await.unwrap();
                }
                FromRelay::Spool { .. } => panic!("small slices need no spool"),
                FromRelay::Keep { .. } => panic!("a store is no transaction"),
                FromRelay::Closed { .. } => closed += 1,
                FromRelay::Ready => {}
            },
        }
    }
    assert_eq!(forwarded, DEVICES * SLICES);
    channel.send(&ToRelay::Drain, &[]).await.unwrap();
    while channel.receive().await.is_ok() {}
}

async fn send(device: usize, address: SocketAddr, together: Arc<Barrier>) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&request(device)).await.unwrap();
    assert_eq!(pdu(&mut stream).await.unwrap().0, 2, "accepted");
    // All associations are there before the first slice.
    together.wait().await;
    for slice in 0..SLICES {
        let id = u16::try_from(slice).unwrap() + 1;
        let mut message = p_data(3, &command(0x0001, id, &instance(device, slice), None));
        let set = data_set(device, slice);
        let mut pieces = set.chunks(15_000).peekable();
        while let Some(piece) = pieces.next() {
            let last = if pieces.peek().is_none() { 2 } else { 0 };
            message.extend(p_data(last, piece));
        }
        stream.write_all(&message).await.unwrap();
        let (kind, response) = pdu(&mut stream).await.unwrap();
        let expected = command(0x8001, id, &instance(device, slice), Some(0));
        assert_eq!((kind, &response[6..]), (4, expected.as_slice()));
    }
    stream
        .write_all(&[5, 0, 0, 0, 0, 4, 0, 0, 0, 0])
        .await
        .unwrap();
    assert_eq!(pdu(&mut stream).await.unwrap().0, 6, "released");
}

async fn serve(mut stream: TcpStream, stored: Arc<Mutex<Stored>>) {
    let (_, rq) = pdu(&mut stream).await.unwrap();
    let calling = String::from_utf8_lossy(&rq[20..36]).trim().to_owned();
    stream.write_all(&acceptance(&rq)).await.unwrap();
    let (mut set, mut data) = (Vec::new(), Vec::new());
    while let Ok((kind, content)) = pdu(&mut stream).await {
        if kind == 5 {
            stream
                .write_all(&[6, 0, 0, 0, 0, 4, 0, 0, 0, 0])
                .await
                .unwrap();
            continue;
        }
        assert_eq!(kind, 4, "a PDU of type {kind}");
        let control = content[5];
        if control & 1 == 1 {
            set = content[6..].to_vec();
            continue;
        }
        data.extend_from_slice(&content[6..]);
        if control & 2 == 2 {
            let (id, uid) = (message_id(&set), sop_instance(&set));
            let response = command(0x8001, id, &uid, Some(0));
            let before = (calling.clone(), std::mem::take(&mut data));
            assert!(stored.lock().unwrap().insert(uid, before).is_none());
            stream.write_all(&p_data(3, &response)).await.unwrap();
        }
    }
}

async fn pdu(stream: &mut TcpStream) -> std::io::Result<(u8, Vec<u8>)> {
    let mut header = [0; 6];
    stream.read_exact(&mut header).await?;
    let length = u32::from_be_bytes([header[2], header[3], header[4], header[5]]);
    let mut content = vec![0; length as usize];
    stream.read_exact(&mut content).await?;
    Ok((header[0], content))
}

fn request(device: usize) -> Vec<u8> {
    let mut content = vec![0, 1, 0, 0];
    content.extend(format!("{:16}{:16}", "ARCHIVE", title(device)).into_bytes());
    content.extend([0; 32]);
    content.extend(item(0x10, b"1.2.840.10008.3.1.1.1"));
    let mut context = vec![1, 0, 0, 0];
    context.extend(item(0x30, CT.as_bytes()));
    context.extend(item(0x40, EXPLICIT.as_bytes()));
    content.extend(item(0x20, &context));
    content.extend(user());
    whole(1, &content)
}

fn acceptance(rq: &[u8]) -> Vec<u8> {
    let mut content = rq[..68].to_vec();
    content.extend(item(0x10, b"1.2.840.10008.3.1.1.1"));
    let mut context = vec![1, 0, 0, 0];
    context.extend(item(0x40, EXPLICIT.as_bytes()));
    content.extend(item(0x21, &context));
    content.extend(user());
    whole(2, &content)
}

fn user() -> Vec<u8> {
    let mut content = item(0x51, &16_384_u32.to_be_bytes());
    content.extend(item(0x52, b"1.2.3.4"));
    item(0x50, &content)
}

fn item(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[kind, 0], &length[..], content].concat()
}

fn whole(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&[kind, 0], &length[..], content].concat()
}

fn p_data(control: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len() + 2).unwrap().to_be_bytes();
    whole(4, &[&length[..], &[1, control], bytes].concat())
}

/// A C-STORE request, or with a status the response.
fn command(field: u16, id: u16, instance: &str, status: Option<u16>) -> Vec<u8> {
    let element = |tag: u16, value: &[u8]| {
        let length = u32::try_from(value.len()).unwrap().to_le_bytes();
        [&[0, 0], &tag.to_le_bytes()[..], &length, value].concat()
    };
    let number = |tag, value: u16| element(tag, &value.to_le_bytes());
    let mut body = element(0x0002, &padded(CT));
    body.extend(number(0x0100, field));
    match status {
        None => {
            body.extend(number(0x0110, id));
            body.extend(number(0x0700, 0));
            body.extend(number(0x0800, 1));
        }
        Some(status) => {
            body.extend(number(0x0120, id));
            body.extend(number(0x0800, 0x0101));
            body.extend(number(0x0900, status));
        }
    }
    body.extend(element(0x1000, &padded(instance)));
    let length = u32::try_from(body.len()).unwrap().to_le_bytes();
    [element(0, &length), body].concat()
}

fn message_id(set: &[u8]) -> u16 {
    let value = value_of(set, 0x0110);
    u16::from_le_bytes([value[0], value[1]])
}

fn sop_instance(set: &[u8]) -> String {
    let value = String::from_utf8_lossy(value_of(set, 0x1000));
    value.trim_end_matches('\0').to_owned()
}

fn value_of(mut set: &[u8], wanted: u16) -> &[u8] {
    loop {
        let tag = u16::from_le_bytes([set[2], set[3]]);
        let length = u32::from_le_bytes([set[4], set[5], set[6], set[7]]) as usize;
        let (value, rest) = set[8..].split_at(length);
        if tag == wanted {
            return value;
        }
        set = rest;
    }
}

/// Of a size of its own, and with bytes that no other has.
fn data_set(device: usize, slice: usize) -> Vec<u8> {
    let mut set = Vec::new();
    let mut element = |group: u16, tag: u16, vr: &[u8; 2], value: &[u8]| {
        set.extend(group.to_le_bytes());
        set.extend(tag.to_le_bytes());
        set.extend(vr);
        if vr == b"OB" {
            set.extend([0, 0]);
            set.extend(u32::try_from(value.len()).unwrap().to_le_bytes());
        } else {
            set.extend(u16::try_from(value.len()).unwrap().to_le_bytes());
        }
        set.extend(value);
    };
    element(0x0008, 0x0016, b"UI", &padded(CT));
    element(0x0008, 0x0018, b"UI", &padded(&instance(device, slice)));
    element(0x0011, 0x0010, b"LO", b"LAZARET TEST");
    let seed = device * SLICES + slice;
    let length = 40_000 + 2 * (seed % 5_000);
    let filling: Vec<u8> = (0..length)
        .map(|n| ((n * 31 + seed * 7) % 253) as u8)
        .collect();
    element(0x0011, 0x1001, b"OB", &filling);
    set
}

fn padded(uid: &str) -> Vec<u8> {
    let mut value = uid.as_bytes().to_vec();
    if !value.len().is_multiple_of(2) {
        value.push(0);
    }
    value
}

fn instance(device: usize, slice: usize) -> String {
    format!("2.25.9{device:04}{slice}")
}

fn title(device: usize) -> String {
    format!("DEVICE{device}")
}

fn policy(streaming: bool) -> ConnectionPolicy {
    let rule = Rule {
        name: "images".to_owned(),
        allow: vec!["C-STORE".to_owned()],
        profiles: vec![Profile::standard()],
        shadow: true,
        streaming,
        ..Rule::default()
    };
    ConnectionPolicy {
        opener: Side::Device,
        protocol: ProtocolPolicy::Dicom(Policy {
            limits: Limits::default(),
            calling_ae: None,
            called_ae: Some("ARCHIVE".to_owned()),
            rules: vec![rule],
            ..Policy::default()
        }),
        timing: Timing {
            receive_ms: 300_000,
            connect_ms: 300_000,
            answer_ms: 300_000,
            idle_ms: 600_000,
            send_ms: 300_000,
            transaction_ms: 600_000,
        },
        rate: None,
        delay_only: false,
        without_journal: false,
        language: lazaret::words::Language::English,
    }
}

struct Real;

impl Clock for Real {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

const DEVICES: usize = 500;
const SLICES: usize = 5;
const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const EXPLICIT: &str = "1.2.840.10008.1.2.1";
