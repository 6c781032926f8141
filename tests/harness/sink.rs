//! A TCP server that records every byte it gets, written for what real servers do not do: be silent, reset, die.
//!
//! In: an address at a [`Place`] and a [`Behaviour`]. Out: the bytes of each connection.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::lab::{Lab, Place};
use crate::{hl7, wait};

/// A recording server. Its listener and connections end with the process, or by [`Sink::close`].
pub struct Sink {
    connections: Arc<Mutex<Vec<Connection>>>,
    behaviour: Arc<Mutex<Behaviour>>,
    listener: TcpListener,
}

struct Connection {
    received: Vec<u8>,
    stream: TcpStream,
    ended: bool,
}

/// What a [`Sink`] does with what it gets. May change while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Takes everything and never answers.
    Silent,
    /// Sends everything back.
    Echo,
    /// Answers each HL7 message with AA.
    Acknowledge,
    /// Answers each HL7 message with AA, one byte at a time.
    AcknowledgeSlowly,
    /// Answers each HL7 message with these bytes.
    Say(Vec<u8>),
    /// Ends the connection with a reset as soon as it got so many bytes.
    ResetAfter(usize),
    /// Ends the connection orderly as soon as it got so many bytes.
    CloseAfter(usize),
}

impl Sink {
    /// Listens at a place.
    ///
    /// # Panics
    /// When the address is not there or taken.
    pub fn listen(lab: &Lab, place: Place, address: SocketAddr, behaviour: Behaviour) -> Self {
        let listener = lab.inside(place, || TcpListener::bind(address));
        let listener =
            listener.unwrap_or_else(|error| panic!("cannot listen on {address}: {error}"));
        let sink = Self {
            connections: Arc::default(),
            behaviour: Arc::new(Mutex::new(behaviour)),
            listener: listener.try_clone().unwrap(),
        };
        let (connections, behaviour) = (sink.connections.clone(), sink.behaviour.clone());
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let (connections, behaviour) = (connections.clone(), behaviour.clone());
                std::thread::spawn(move || serve(&stream, &connections, &behaviour));
            }
        });
        sink
    }

    /// Changes what it does, from the next bytes on.
    ///
    /// # Panics
    /// When a connection panicked.
    pub fn behave(&self, behaviour: Behaviour) {
        *self.behaviour.lock().unwrap() = behaviour;
    }

    /// The bytes of each connection so far, in the order in which they were opened.
    ///
    /// # Panics
    /// When a connection panicked.
    pub fn received(&self) -> Vec<Vec<u8>> {
        let connections = self.connections.lock().unwrap();
        connections.iter().map(|c| c.received.clone()).collect()
    }

    /// All bytes of all connections.
    pub fn bytes(&self) -> Vec<u8> {
        self.received().concat()
    }

    /// Waits for so many bytes in all; all of them.
    ///
    /// # Panics
    /// When they do not come.
    pub fn wait_for_bytes(&self, count: usize) -> Vec<u8> {
        wait::until(&format!("{count} bytes at a sink"), wait::SOON, || {
            Some(self.bytes()).filter(|bytes| bytes.len() >= count)
        })
    }

    /// How many connections are open now.
    ///
    /// # Panics
    /// When a connection panicked.
    pub fn open(&self) -> usize {
        let connections = self.connections.lock().unwrap();
        connections.iter().filter(|c| !c.ended).count()
    }

    /// Sends bytes of its own on the newest connection.
    ///
    /// # Panics
    /// When there is none.
    pub fn say(&self, bytes: &[u8]) {
        self.try_to_say(bytes).unwrap();
    }

    /// As [`Self::say`], on a connection that may be reset by now.
    ///
    /// # Errors
    /// When it is.
    ///
    /// # Panics
    /// When there is none.
    pub fn try_to_say(&self, bytes: &[u8]) -> std::io::Result<()> {
        let connections = self.connections.lock().unwrap();
        let newest = connections.last().expect("a connection");
        (&newest.stream).write_all(bytes)
    }

    /// Dies: resets all connections and listens no more.
    ///
    /// # Panics
    /// When a connection panicked.
    pub fn close(self) {
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        for connection in self.connections.lock().unwrap().iter() {
            reset(&connection.stream);
        }
    }
}

fn serve(stream: &TcpStream, connections: &Mutex<Vec<Connection>>, behaviour: &Mutex<Behaviour>) {
    let _ = stream.set_nodelay(true);
    let number = {
        let mut all = connections.lock().unwrap();
        all.push(Connection {
            received: Vec::new(),
            stream: stream.try_clone().unwrap(),
            ended: false,
        });
        all.len() - 1
    };
    let mut buffer = vec![0; 64 << 10];
    let mut frames = hl7::Frames::default();
    loop {
        let acts = behaviour.lock().unwrap().clone();
        if acts == Behaviour::ResetAfter(0) {
            reset(stream);
            break;
        }
        let Ok(length @ 1..) = { stream }.read(&mut buffer) else {
            break;
        };
        let bytes = buffer.get(..length).unwrap_or_default();
        let total = {
            let mut all = connections.lock().unwrap();
            let connection = all.get_mut(number).expect("this connection");
            connection.received.extend_from_slice(bytes);
            connection.received.len()
        };
        // Asked again: it may have changed while we waited for bytes.
        let acts = behaviour.lock().unwrap().clone();
        let messages = frames.push(bytes);
        if !act(stream, &acts, bytes, &messages, total) {
            break;
        }
    }
    if let Some(connection) = connections.lock().unwrap().get_mut(number) {
        connection.ended = true;
    }
}

/// False ends the connection.
fn act(
    mut stream: &TcpStream,
    behaviour: &Behaviour,
    bytes: &[u8],
    messages: &[Vec<u8>],
    total: usize,
) -> bool {
    match behaviour {
        Behaviour::Silent => true,
        Behaviour::Echo => stream.write_all(bytes).is_ok(),
        Behaviour::Acknowledge => messages.iter().all(|message| {
            stream
                .write_all(&hl7::frame(&hl7::acknowledge(message)))
                .is_ok()
        }),
        Behaviour::AcknowledgeSlowly => messages.iter().all(|message| {
            hl7::frame(&hl7::acknowledge(message)).iter().all(|byte| {
                std::thread::sleep(Duration::from_millis(1));
                stream.write_all(&[*byte]).is_ok()
            })
        }),
        Behaviour::Say(answer) => messages.iter().all(|_| stream.write_all(answer).is_ok()),
        Behaviour::ResetAfter(count) if total >= *count => {
            reset(stream);
            false
        }
        Behaviour::CloseAfter(count) if total >= *count => {
            let _ = stream.shutdown(Shutdown::Both);
            false
        }
        Behaviour::ResetAfter(_) | Behaviour::CloseAfter(_) => true,
    }
}

/// RST instead of FIN: the kernel sends it when an established socket is disconnected from its peer.
pub fn reset(stream: &TcpStream) {
    let _ = rustix::net::connect_unspec(stream);
}
