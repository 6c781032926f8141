//! The process that holds the tunnel keys and no privilege.
//!
//! In: descriptors and peers from the supervisor, datagrams, packets, requests of `wg`.
//! Out: packets, datagrams, events. Decides nothing: `wireguard` and `uapi::judge` do.
//!
//! One task moves packets in both directions, so that none are reordered; connections of `wg` have their own.
//! The TAI64N stamps of handshakes that we begin come from the wall clock: whoever starts this process
//! sees to it that the clock is not behind the last run, or devices refuse us as a replay.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use zeroize::Zeroizing;

use super::batch::Batch;
use super::device::Tun;
use super::message::{FromTunnel, ToTunnel, TunnelEvent};
use super::noise::{Boring, Noise};
use super::peer::Change;
use super::uapi::judge::{Known, Refusal};
use super::uapi::request::Request;
use super::uapi::{self, answer, judge};
use super::udp::Sockets;
use super::wireguard::{Endpoint, Output};
use crate::channel::{Channel, ChannelError, Untold};
use crate::flow::Clock;

/// Why the worker ends.
#[derive(Debug, thiserror::Error)]
pub enum TunnelWorkerError {
    /// The supervisor cannot be understood.
    #[error("cannot hear the supervisor")]
    Channel(#[source] ChannelError),
    /// Something else came first, or descriptors are missing.
    #[error("the first message is not a start with all its descriptors")]
    NotStarted,
    /// Offloads on the TUN are not carried yet.
    #[error("a tunnel interface with virtio-net headers is not supported")]
    VnetHdr,
    /// The private key cannot be read.
    #[error("the private key is not one line of base64 with 32 bytes")]
    PrivateKey(#[source] Option<io::Error>),
    /// No entropy.
    #[error("the system gives no random bytes")]
    Entropy,
    /// The TUN is gone.
    #[error("cannot use the tunnel interface")]
    Tun(#[source] io::Error),
    /// A socket is broken.
    #[error("cannot use the tunnel's sockets")]
    Udp(#[source] io::Error),
    /// The UAPI socket cannot be used.
    #[error("cannot use the UAPI socket")]
    Uapi(#[source] io::Error),
}

/// Runs until the supervisor says stop or is gone. Rules and device stay: they are the supervisor's.
///
/// # Errors
/// When the start is not as agreed, or TUN or sockets break.
pub async fn run(
    channel: Channel<FromTunnel, ToTunnel>,
    clock: Arc<dyn Clock>,
) -> Result<(), TunnelWorkerError> {
    let (start, descriptors) = match channel.receive().await {
        Ok(first) => first,
        Err(ChannelError::Closed) => return Ok(()),
        Err(error) => return Err(TunnelWorkerError::Channel(error)),
    };
    let (questions, mut asked) = mpsc::channel(1);
    let (mut worker, uapi) = Worker::start(start, descriptors, clock)?;
    let mut uapi = tokio::spawn(uapi::serve(uapi, questions));
    worker.untold.tell(FromTunnel::Ready);
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        if !worker.deliver(&channel)? {
            break;
        }
        // The runtime looks for news only when it is left to: one busy end must not starve the others.
        tokio::task::yield_now().await;
        tokio::select! {
            message = channel.receive() => match message {
                Ok((message, _)) => if !worker.obey(message) { break },
                Err(ChannelError::Closed) => break,
                Err(error) => return Err(TunnelWorkerError::Channel(error)),
            },
            readable = worker.sockets.readable() => {
                readable.map_err(TunnelWorkerError::Udp)?;
                worker.pump_in().await?;
            }
            readable = worker.tun.readable() => {
                readable.map_err(TunnelWorkerError::Tun)?;
                worker.pump_out().await?;
            }
            _ = ticks.tick() => worker.tick().await,
            Some((request, reply)) = asked.recv() => {
                // The client may have gone.
                let _ = reply.send(worker.answer(&request));
            }
            served = &mut uapi => {
                let error = served.map_err(io::Error::other).and_then(|result| result).err();
                let error = error.unwrap_or_else(|| io::ErrorKind::BrokenPipe.into());
                return Err(TunnelWorkerError::Uapi(error));
            }
        }
    }
    uapi.abort();
    Ok(())
}

struct Worker {
    endpoint: Endpoint<Boring>,
    sockets: Sockets,
    tun: Tun,
    clock: Arc<dyn Clock>,
    outgoing: Batch<()>,
    output: Output,
    untold: Untold<FromTunnel>,
}

impl Worker {
    fn start(
        start: ToTunnel,
        descriptors: Vec<OwnedFd>,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, OwnedFd), TunnelWorkerError> {
        let ToTunnel::Start {
            interface,
            mtu,
            vnet_hdr,
            gso,
            peers,
        } = start
        else {
            return Err(TunnelWorkerError::NotStarted);
        };
        if vnet_hdr {
            return Err(TunnelWorkerError::VnetHdr);
        }
        let mut descriptors = descriptors.into_iter();
        let mut next = || descriptors.next().ok_or(TunnelWorkerError::NotStarted);
        let (tun, key, uapi, first) = (next()?, next()?, next()?, next()?);
        let sockets = std::iter::once(first).chain(descriptors).collect();
        let noise = Boring::new(private_key(&key)?);
        drop(key);
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|_| TunnelWorkerError::Entropy)?;
        tracing::info!(interface, peers = peers.len(), "tunnel starts");
        let worker = Self {
            endpoint: Endpoint::new(noise, peers, mtu, seed, clock.now()),
            sockets: Sockets::new(sockets, gso).map_err(TunnelWorkerError::Udp)?,
            tun: Tun::new(tun).map_err(TunnelWorkerError::Tun)?,
            clock,
            outgoing: Batch::new(),
            output: Output::default(),
            untold: Untold::default(),
        };
        Ok((worker, uapi))
    }

    /// False when it is time to go.
    fn obey(&mut self, message: ToTunnel) -> bool {
        let now = self.clock.now();
        match message {
            ToTunnel::Peers(peers) => self.endpoint.replace_peers(peers, now),
            ToTunnel::Status { request } => {
                let strangers = self.endpoint.strangers.take();
                self.untold.tell(FromTunnel::Status {
                    request,
                    peers: self.endpoint.status(now),
                    dropped: self.endpoint.drops().before_a_peer(),
                    strangers,
                });
            }
            ToTunnel::Start { .. } => tracing::warn!("started twice: ignored"),
            ToTunnel::Stop => return false,
        }
        true
    }

    async fn pump_in(&mut self) -> Result<(), TunnelWorkerError> {
        let now = self.clock.now();
        let (endpoint, output) = (&mut self.endpoint, &mut self.output);
        self.sockets
            .receive(|datagram, path| endpoint.receive(datagram, path, now, output))
            .map_err(TunnelWorkerError::Udp)?;
        let written = self.tun.write(&self.output.packets);
        self.output.packets.clear();
        self.flush().await;
        written.map_err(TunnelWorkerError::Tun)
    }

    async fn pump_out(&mut self) -> Result<(), TunnelWorkerError> {
        self.outgoing.clear();
        self.tun
            .read(&mut self.outgoing)
            .map_err(TunnelWorkerError::Tun)?;
        let now = self.clock.now();
        for (packet, ()) in self.outgoing.iter() {
            self.endpoint.send(packet, now, &mut self.output);
        }
        self.flush().await;
        Ok(())
    }

    async fn tick(&mut self) {
        self.endpoint.tick(self.clock.now(), &mut self.output);
        self.flush().await;
    }

    async fn flush(&mut self) {
        let gone = self.sockets.send(&self.output.datagrams).await;
        self.output.datagrams.clear();
        for address in gone {
            tracing::debug!("a local address is gone");
            self.endpoint.forget_local(address);
        }
    }

    fn answer(&mut self, request: &Request) -> String {
        let now = self.clock.now();
        let private_key = self.endpoint.noise().private_key();
        let port = self.sockets.port();
        match request {
            Request::Get => answer::get(
                &private_key,
                port,
                self.endpoint.views(),
                now,
                self.clock.wall(),
            ),
            Request::Set(lines) => {
                let peers = self.endpoint.views();
                let peers = peers.map(|peer| (peer.policy.public_key, &*peer.policy.allowed));
                let known = Known {
                    private_key: &private_key,
                    listen_port: port,
                    peers: peers.collect::<BTreeMap<_, _>>(),
                };
                match judge::judge(lines, &known) {
                    Ok(changes) => {
                        for (key, change) in changes {
                            self.change(&key, change);
                        }
                        answer::errno(0)
                    }
                    Err(Refusal::Contradicts(what)) => {
                        let what = what.to_owned();
                        self.untold
                            .tell(FromTunnel::Event(TunnelEvent::Contradicted { what }));
                        answer::errno(libc::EPERM)
                    }
                    Err(Refusal::Invalid(_)) => answer::errno(libc::EINVAL),
                }
            }
        }
    }

    fn change(&mut self, key: &[u8; 32], change: Change) {
        let views = self.endpoint.views();
        let device = views
            .filter(|peer| peer.policy.public_key == *key)
            .map(|peer| peer.policy.device.clone())
            .next();
        for what in self.endpoint.change(key, change, self.clock.now()) {
            if let Some(device) = device.clone() {
                let what = what.to_owned();
                self.untold
                    .tell(FromTunnel::Event(TunnelEvent::Changed { device, what }));
            }
        }
    }

    /// Says what waits, as far as the supervisor listens: a slow one must not stop the packets. False when it is gone.
    fn deliver(
        &mut self,
        channel: &Channel<FromTunnel, ToTunnel>,
    ) -> Result<bool, TunnelWorkerError> {
        while self.untold.has_room()
            && let Some(event) = self.endpoint.poll_event()
        {
            self.untold.tell(FromTunnel::Event(event));
        }
        let delivered = self.untold.deliver(channel);
        delivered.map_err(TunnelWorkerError::Channel)
    }
}

/// One line of base64, from its beginning whoever read it before.
fn private_key(file: &OwnedFd) -> Result<Zeroizing<[u8; 32]>, TunnelWorkerError> {
    let mut text = Zeroizing::new([0; 64]);
    let read = match rustix::io::pread(file, text.as_mut_slice(), 0) {
        Err(rustix::io::Errno::SPIPE) => rustix::io::read(file, text.as_mut_slice()),
        read => read,
    };
    let read = read.map_err(|error| TunnelWorkerError::PrivateKey(Some(error.into())))?;
    let line = text.get(..read).unwrap_or_default().trim_ascii();
    let mut key = Zeroizing::new([0; 33]);
    match base64::engine::general_purpose::STANDARD.decode_slice(line, key.as_mut_slice()) {
        Ok(32) => Ok(Zeroizing::new(
            key.first_chunk().copied().unwrap_or_default(),
        )),
        Ok(_) | Err(_) => Err(TunnelWorkerError::PrivateKey(None)),
    }
}

/// A quarter of the peers have their turn each time.
const TICK: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test reads the clock")]
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::{UnixDatagram, UnixStream};

    struct Real;
    impl Clock for Real {
        fn now(&self) -> std::time::Instant {
            std::time::Instant::now()
        }
        fn wall(&self) -> jiff::Timestamp {
            jiff::Timestamp::now()
        }
    }

    type Supervisor = Channel<ToTunnel, FromTunnel>;

    fn hired() -> (
        Supervisor,
        tokio::task::JoinHandle<Result<(), TunnelWorkerError>>,
    ) {
        let (ours, theirs) = crate::channel::pair().unwrap();
        let worker = tokio::spawn(run(Channel::new(theirs).unwrap(), Arc::new(Real)));
        (Channel::new(ours).unwrap(), worker)
    }

    fn start(vnet_hdr: bool) -> ToTunnel {
        let interface = "t".to_owned();
        ToTunnel::Start {
            interface,
            mtu: 1420,
            vnet_hdr,
            gso: true,
            peers: Vec::new(),
        }
    }

    #[tokio::test]
    async fn works_until_stopped_or_left_alone() {
        let root = tempfile::tempdir().unwrap();
        for is_stopped in [true, false] {
            let (supervisor, worker) = hired();
            let (tun, _kernel) = UnixDatagram::pair().unwrap();
            let mut key = tempfile::tempfile().unwrap();
            key.write_all(KEY.as_bytes()).unwrap();
            let hatch = uapi::listen(root.path(), "t").unwrap();
            let socket = super::super::udp::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let descriptors = [tun.as_fd(), key.as_fd(), hatch.as_fd(), socket[0].as_fd()];
            supervisor.send(&start(false), &descriptors).await.unwrap();
            assert!(matches!(
                supervisor.receive().await.unwrap().0,
                FromTunnel::Ready
            ));
            drop(hatch);
            let path = root.path().join("t.sock");
            let shown = tokio::task::spawn_blocking(move || {
                let mut client = UnixStream::connect(path).unwrap();
                client.write_all(b"get=1\n\n").unwrap();
                client.shutdown(std::net::Shutdown::Write).unwrap();
                io::read_to_string(client).unwrap()
            });
            assert!(shown.await.unwrap().ends_with("fwmark=0\nerrno=0\n\n"));
            supervisor
                .send(&ToTunnel::Status { request: 7 }, &[])
                .await
                .unwrap();
            let status = supervisor.receive().await.unwrap().0;
            assert!(matches!(
                status,
                FromTunnel::Status {
                    request: 7,
                    dropped: 0,
                    ..
                }
            ));
            if is_stopped {
                supervisor.send(&ToTunnel::Stop, &[]).await.unwrap();
            } else {
                drop(supervisor);
            }
            worker.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn starts_only_as_agreed() {
        let (supervisor, worker) = hired();
        supervisor.send(&start(true), &[]).await.unwrap();
        assert!(matches!(
            worker.await.unwrap(),
            Err(TunnelWorkerError::VnetHdr)
        ));
        for message in [start(false), ToTunnel::Stop] {
            let (supervisor, worker) = hired();
            supervisor.send(&message, &[]).await.unwrap();
            assert!(matches!(
                worker.await.unwrap(),
                Err(TunnelWorkerError::NotStarted)
            ));
        }
        let (supervisor, worker) = hired();
        drop(supervisor);
        worker.await.unwrap().unwrap();
    }

    const KEY: &str = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=";

    fn read(text: &str) -> Option<[u8; 32]> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let file = OwnedFd::from(file);
        let keys = [private_key(&file), private_key(&file)].map(|key| key.ok().map(|k| *k));
        assert_eq!(
            keys[0], keys[1],
            "a restart reads the same descriptor again"
        );
        keys[0]
    }

    #[test]
    fn a_private_key_is_one_line_of_base64() {
        let key = KEY;
        assert!(read(key).is_some());
        assert_eq!(read(&format!("{key}\n")), read(key));
        for text in [
            "",
            "\n",
            "x",
            &key[1..],
            &format!("{key}{key}"),
            &key.replace('=', "A="),
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
