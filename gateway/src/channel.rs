//! Typed messages with descriptors over a Unix seqpacket socket pair.
//!
//! Each end sends one closed enum and receives another; [`Wire`] says how one becomes bytes.
//! A message that does not fit a packet travels as a memory file.
//! Knows nothing of what the messages mean.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut, Read, Seek, Write};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// One end: sends `Tx`, receives `Rx`. For use inside a tokio runtime.
pub struct Channel<Tx, Rx> {
    socket: AsyncFd<OwnedFd>,
    types: PhantomData<fn(Tx) -> Rx>,
}

/// Why a channel cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The other end is gone.
    #[error("the other process is gone")]
    Closed,
    /// The kernel says no.
    #[error("cannot use the channel")]
    Io(#[from] io::Error),
    /// Not one of our messages: the two ends are not of the same program.
    #[error("the message cannot be understood")]
    Message(#[from] WireError),
    /// A message beyond [`MAX_MESSAGE`] or with more than [`MAX_DESCRIPTORS`] descriptors.
    #[error("the message is too large")]
    TooLarge,
}

/// How a message becomes bytes and back.
///
/// JSON for everything that is said now and then; what is said of each message of a device has a form of its own.
pub trait Wire: Sized {
    /// Whether one that fits no packet may travel as a memory file.
    ///
    /// Not from a process that judges bytes of others: its sealing makes no such files, and whoever took it over could
    /// send any descriptor in place of one.
    //= C7
    const MAY_BE_LARGE: bool = true;

    /// Adds the message to bytes.
    ///
    /// # Errors
    /// When it has no such form.
    fn encode(&self, bytes: &mut Vec<u8>) -> Result<(), WireError>;

    /// Reads a whole message.
    ///
    /// # Errors
    /// When the bytes are none.
    fn decode(bytes: &[u8]) -> Result<Self, WireError>;
}

/// Why bytes are no message, or a message has no bytes.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// In JSON.
    #[error("not one of the messages in JSON")]
    Json(#[from] serde_json::Error),
    /// In a form of its own.
    #[error("not one of the messages in their own form")]
    Own,
}

impl<T: Serialize + DeserializeOwned> Wire for T {
    fn encode(&self, bytes: &mut Vec<u8>) -> Result<(), WireError> {
        Ok(serde_json::to_writer(bytes, self)?)
    }

    fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        Ok(serde_json::from_slice(bytes)?)
    }
}

/// A connected pair of raw ends; wrap each with [`Channel::new`] inside the runtime of its process.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        flags,
        None,
    )?)
}

impl<Tx: Wire, Rx: Wire> Channel<Tx, Rx> {
    /// Wraps one end.
    ///
    /// # Errors
    /// When the runtime cannot watch the descriptor.
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self {
            socket: watch(socket)?,
            types: PhantomData,
        })
    }

    /// Sends a message and copies of descriptors. Waits while the other end is slow. Cancel-safe: a message is sent whole or not.
    ///
    /// # Errors
    /// [`ChannelError::Closed`] when the other process is gone.
    pub async fn send(
        &self,
        message: &Tx,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), ChannelError> {
        let packet = Packet::encode(message, descriptors.len())?;
        let mut all: Vec<BorrowedFd<'_>> = Vec::with_capacity(descriptors.len() + 1);
        all.extend(packet.memory.as_ref().map(AsFd::as_fd));
        all.extend_from_slice(descriptors);
        let sent = self
            .socket
            .async_io(Interest::WRITABLE, |socket| {
                send(socket, &[IoSlice::new(&packet.inline)], &all)
            })
            .await;
        sent.map_err(ChannelError::from_io)
    }

    /// Sends a message that was encoded before, without descriptors. Cancel-safe like [`Self::send`].
    ///
    /// # Errors
    /// [`ChannelError::TooLarge`] when it does not fit a packet, else as [`Self::send`].
    pub async fn send_encoded(&self, message: &[u8]) -> Result<(), ChannelError> {
        if message.len() >= MAX_PACKET {
            return Err(ChannelError::TooLarge);
        }
        let slices = [IoSlice::new(&[INLINE]), IoSlice::new(message)];
        match send(self.socket.get_ref(), &slices, &[]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            sent => return sent.map_err(ChannelError::from_io),
        }
        let sent = self
            .socket
            .async_io(Interest::WRITABLE, |socket| send(socket, &slices, &[]))
            .await;
        sent.map_err(ChannelError::from_io)
    }

    /// Sends without waiting; `WouldBlock` inside [`ChannelError::Io`] when the other end is slow.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn try_send(
        &self,
        message: &Tx,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), ChannelError> {
        let packet = Packet::encode(message, descriptors.len())?;
        let mut all: Vec<BorrowedFd<'_>> = Vec::with_capacity(descriptors.len() + 1);
        all.extend(packet.memory.as_ref().map(AsFd::as_fd));
        all.extend_from_slice(descriptors);
        let inline = [IoSlice::new(&packet.inline)];
        send(self.socket.get_ref(), &inline, &all).map_err(ChannelError::from_io)
    }

    /// The next message and its descriptors. Cancel-safe.
    ///
    /// # Errors
    /// [`ChannelError::Closed`] when the other process is gone.
    pub async fn receive(&self) -> Result<(Rx, Vec<OwnedFd>), ChannelError> {
        let received = self
            .socket
            .async_io(Interest::READABLE, receive::<Rx>)
            .await;
        let (message, mut descriptors) = received.map_err(ChannelError::from_io)?;
        match message {
            Received::Message(message) => Ok((message?, descriptors)),
            Received::End => Err(ChannelError::Closed),
            Received::InMemory => {
                if descriptors.is_empty() || !Rx::MAY_BE_LARGE {
                    return Err(ChannelError::TooLarge);
                }
                let bytes = read_memory(descriptors.remove(0))?;
                Ok((Rx::decode(&bytes)?, descriptors))
            }
        }
    }
}

/// What waits for the other end, which may be slow: whoever carries packets must not wait for it.
#[derive(Debug)]
pub struct Untold<Tx>(VecDeque<Tx>);

impl<Tx> Default for Untold<Tx> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<Tx: Wire> Untold<Tx> {
    /// Whether there is room for one more.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.0.len() < MAX_UNTOLD
    }

    /// Tells it as soon as the other end listens; without room it is lost.
    pub fn tell(&mut self, message: Tx) {
        if self.has_room() {
            self.0.push_back(message);
        } else {
            tracing::warn!("the supervisor does not listen: an event is lost");
        }
    }

    /// Forgets what is of no use any more.
    pub fn forget(&mut self, mut is_stale: impl FnMut(&Tx) -> bool) {
        self.0.retain(|message| !is_stale(message));
    }

    /// Says what waits, as far as the other end listens. False when it is gone.
    ///
    /// # Errors
    /// When a message cannot be sent.
    pub fn deliver<Rx: Wire>(&mut self, channel: &Channel<Tx, Rx>) -> Result<bool, ChannelError> {
        while let Some(message) = self.0.front() {
            match channel.try_send(message, &[]) {
                Ok(()) => {
                    self.0.pop_front();
                }
                Err(ChannelError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(ChannelError::Closed) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

/// Most messages that wait for the other end.
//= C7
const MAX_UNTOLD: usize = 4096;

/// Asks over a raw end of [`pair`] and waits for the answer, in a thread that may wait: at most `patience`.
///
/// Messages that do not fit a packet and descriptors are refused. Who asked in vain must not ask on this socket again,
/// since the answer may still come.
///
/// # Errors
/// [`ChannelError::Closed`] when the other process is gone; `TimedOut` inside [`ChannelError::Io`] when it is silent.
pub fn ask<Tx: Wire, Rx: Wire>(
    socket: &OwnedFd,
    message: &Tx,
    patience: std::time::Duration,
) -> Result<Rx, ChannelError> {
    let mut inline = vec![INLINE];
    message.encode(&mut inline)?;
    if inline.len() > MAX_PACKET {
        return Err(ChannelError::TooLarge);
    }
    wait(socket, PollFlags::OUT, patience)?;
    send(socket, &[IoSlice::new(&inline)], &[]).map_err(ChannelError::from_io)?;
    wait(socket, PollFlags::IN, patience)?;
    match receive::<Rx>(socket).map_err(ChannelError::from_io)? {
        (Received::Message(message), descriptors) if descriptors.is_empty() => Ok(message?),
        (Received::Message(_) | Received::InMemory, _) => Err(ChannelError::TooLarge),
        (Received::End, _) => Err(ChannelError::Closed),
    }
}

fn wait(
    socket: &OwnedFd,
    ready: PollFlags,
    patience: std::time::Duration,
) -> Result<(), ChannelError> {
    let patience = Timespec::try_from(patience).map_err(|_| ChannelError::TooLarge)?;
    let mut one = [PollFd::new(socket, ready)];
    match rustix::event::poll(&mut one, Some(&patience)) {
        Ok(0) => Err(ChannelError::Io(io::ErrorKind::TimedOut.into())),
        Ok(_) => Ok(()),
        Err(errno) => Err(ChannelError::Io(errno.into())),
    }
}

/// Lets the runtime watch a descriptor that we own.
///
/// # Errors
/// When there is no runtime, or the kernel cannot watch this kind of descriptor.
pub fn watch<T: AsRawFd + Into<OwnedFd>>(descriptor: T) -> io::Result<AsyncFd<T>> {
    #[expect(
        deprecated,
        reason = "deprecated for types that may give up their descriptor; the bound on owned ones rules that out"
    )]
    AsyncFd::new(descriptor)
}

impl ChannelError {
    fn from_io(error: io::Error) -> Self {
        const GONE: [io::ErrorKind; 3] = [
            io::ErrorKind::BrokenPipe,
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::NotConnected,
        ];
        if GONE.contains(&error.kind()) {
            Self::Closed
        } else {
            Self::Io(error)
        }
    }
}

struct Packet {
    inline: Vec<u8>,
    memory: Option<OwnedFd>,
}

impl Packet {
    fn encode<Tx: Wire>(message: &Tx, descriptors: usize) -> Result<Self, ChannelError> {
        let mut inline = vec![INLINE];
        message.encode(&mut inline)?;
        if descriptors > MAX_DESCRIPTORS || inline.len() > MAX_MESSAGE {
            return Err(ChannelError::TooLarge);
        }
        if inline.len() <= MAX_PACKET {
            return Ok(Self {
                inline,
                memory: None,
            });
        }
        if !Tx::MAY_BE_LARGE {
            return Err(ChannelError::TooLarge);
        }
        let memory = rustix::fs::memfd_create("message", rustix::fs::MemfdFlags::CLOEXEC)
            .map_err(io::Error::from)?;
        let mut file = std::fs::File::from(memory);
        file.write_all(inline.get(1..).unwrap_or_default())?;
        file.rewind()?;
        Ok(Self {
            inline: vec![IN_MEMORY],
            memory: Some(file.into()),
        })
    }
}

/// Reads what came beside a packet: never waits, as a socket could make it, and never takes more than a message.
//= C7
fn read_memory(memory: OwnedFd) -> Result<Vec<u8>, ChannelError> {
    let stat = rustix::fs::fstat(&memory).map_err(io::Error::from)?;
    let size = usize::try_from(stat.st_size).map_err(|_| ChannelError::TooLarge)?;
    let is_file = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file();
    if !is_file || size > MAX_MESSAGE {
        return Err(ChannelError::TooLarge);
    }
    let mut bytes = Vec::with_capacity(size);
    // It may grow meanwhile.
    std::fs::File::from(memory)
        .take(stat.st_size.unsigned_abs())
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn send(socket: &OwnedFd, bytes: &[IoSlice<'_>], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS + 1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    rustix::net::sendmsg(socket, bytes, &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// What came in one packet.
enum Received<Rx> {
    Message(Result<Rx, WireError>),
    /// In the memory file beside it.
    InMemory,
    End,
}

thread_local! {
    /// Where packets are received, for all channels of a thread: a message is read before the next one comes.
    //= C7
    static SPACE: RefCell<Box<[u8]>> = RefCell::new(vec![0; MAX_PACKET].into());
}

fn receive<Rx: Wire>(socket: &OwnedFd) -> io::Result<(Received<Rx>, Vec<OwnedFd>)> {
    SPACE.with_borrow_mut(|bytes| receive_in(socket, bytes))
}

fn receive_in<Rx: Wire>(
    socket: &OwnedFd,
    bytes: &mut [u8],
) -> io::Result<(Received<Rx>, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS + 1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(bytes)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    if received
        .flags
        .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC)
    {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    let packet = bytes.get(..received.bytes).unwrap_or_default();
    let message = match packet.split_first() {
        None => Received::End,
        Some((&INLINE, message)) => Received::Message(Rx::decode(message)),
        Some(_) => Received::InMemory,
    };
    Ok((message, descriptors))
}

/// Most descriptors beside one message.
pub const MAX_DESCRIPTORS: usize = 16;
/// Longest message: a policy with some hundred thousand devices.
pub const MAX_MESSAGE: usize = 256 << 20;
/// Longest message that travels in a packet.
pub const MAX_PACKET: usize = 60 << 10;
const INLINE: u8 = 0;
const IN_MEMORY: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn ends() -> (Channel<String, String>, Channel<String, String>) {
        let (a, b) = pair().unwrap();
        (Channel::new(a).unwrap(), Channel::new(b).unwrap())
    }

    #[tokio::test]
    async fn carries_messages_and_descriptors() {
        let (a, b) = ends();
        let file = tempfile::tempfile().unwrap();
        a.send(&"hello".to_owned(), &[file.as_fd()]).await.unwrap();
        let (message, descriptors) = b.receive().await.unwrap();
        assert_eq!((message.as_str(), descriptors.len()), ("hello", 1));
    }

    #[tokio::test]
    async fn carries_messages_larger_than_a_packet() {
        let (a, b) = ends();
        let long = "x".repeat(3 << 20);
        a.send(&long, &[]).await.unwrap();
        assert_eq!(b.receive().await.unwrap().0, long);
    }

    #[tokio::test]
    async fn what_is_told_waits_in_order_for_an_end_that_is_slow_and_no_longer() {
        let (a, b) = ends();
        let mut untold = Untold::default();
        let long = "x".repeat(MAX_PACKET / 2);
        for number in 0..100 {
            untold.tell(format!("{number} {long}"));
        }
        untold.forget(|message| message.starts_with("98 "));
        assert!(untold.deliver(&a).unwrap() && untold.has_room());
        for number in (0..100).filter(|number| *number != 98) {
            let (message, _) = b.receive().await.unwrap();
            assert!(message.starts_with(&format!("{number} ")), "{number}");
            assert!(untold.deliver(&a).unwrap());
        }
        for number in 0..=MAX_UNTOLD {
            untold.tell(number.to_string());
        }
        assert!(!untold.has_room());
        drop(b);
        assert!(!untold.deliver(&a).unwrap(), "nobody is there");
    }

    /// A text of a process that makes no memory files.
    #[derive(Debug)]
    struct Small(String);

    impl Wire for Small {
        const MAY_BE_LARGE: bool = false;

        fn encode(&self, bytes: &mut Vec<u8>) -> Result<(), WireError> {
            self.0.encode(bytes)
        }

        fn decode(bytes: &[u8]) -> Result<Self, WireError> {
            String::decode(bytes).map(Self)
        }
    }

    //= C7
    #[tokio::test]
    async fn a_process_that_judges_bytes_of_others_sends_no_memory_files() {
        let (theirs, ours) = pair().unwrap();
        let honest: Channel<Small, String> = Channel::new(theirs).unwrap();
        let ours: Channel<String, Small> = Channel::new(ours).unwrap();
        honest.send(&Small("short".to_owned()), &[]).await.unwrap();
        assert_eq!(ours.receive().await.unwrap().0.0, "short");
        let long = "x".repeat(MAX_PACKET);
        let refused = honest.send(&Small(long.clone()), &[]).await;
        assert!(matches!(refused, Err(ChannelError::TooLarge)));
        // Who took the process over does not ask.
        let packet = Packet::encode(&long, 0).unwrap();
        let memory = packet.memory.unwrap();
        let inline = [IoSlice::new(&packet.inline)];
        send(honest.socket.get_ref(), &inline, &[memory.as_fd()]).unwrap();
        assert!(matches!(ours.receive().await, Err(ChannelError::TooLarge)));
    }

    //= C7
    #[tokio::test]
    async fn what_is_no_file_or_a_huge_one_is_no_message() {
        let (a, b) = ends();
        let (waiting, _end) = std::os::unix::net::UnixStream::pair().unwrap();
        let file = tempfile::tempfile().unwrap();
        file.set_len(u64::try_from(MAX_MESSAGE).unwrap() + 1)
            .unwrap();
        for descriptor in [waiting.as_fd(), file.as_fd()] {
            let inline = [IoSlice::new(&[IN_MEMORY])];
            send(a.socket.get_ref(), &inline, &[descriptor]).unwrap();
            assert!(matches!(b.receive().await, Err(ChannelError::TooLarge)));
        }
    }

    #[tokio::test]
    async fn says_when_the_other_end_is_gone() {
        let (a, b) = ends();
        drop(b);
        assert!(matches!(a.receive().await, Err(ChannelError::Closed)));
        assert!(matches!(
            a.send(&String::new(), &[]).await,
            Err(ChannelError::Closed)
        ));
    }
}
