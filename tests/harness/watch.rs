//! Proof of what did not happen: a capture of what reaches a place, and a search for words that must not be written.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use rustix::process::Signal;

use crate::dicom::{peer_program, peer_script};
use crate::gateway::Gateway;
use crate::lab::{Lab, Place};
use crate::process::Process;

/// A running capture.
pub struct Watch {
    process: Process,
    file: PathBuf,
}

/// What a capture saw, by destination.
#[derive(Debug, Default)]
pub struct Seen {
    packets: BTreeMap<SocketAddr, usize>,
    payload: BTreeMap<SocketAddr, usize>,
    sources: BTreeMap<IpAddr, usize>,
}

impl Watch {
    /// Captures everything that comes to or leaves a place on an interface.
    pub fn start(lab: &Lab, place: Place, interface: &str) -> Self {
        let name = format!("watch-{}-{interface}", place.name());
        let file = lab.directory().join(format!("{name}.pcap"));
        let path = file.display().to_string();
        let (python, script) = (peer_program("python"), peer_script("capture.py"));
        let line = [python.as_str(), &script, interface, &path];
        let mut process = lab.start(place, &name, &line);
        process.wait_for_output("listening");
        Self { process, file }
    }

    /// Ends the capture; what it saw.
    ///
    /// # Panics
    /// When the capture cannot be read.
    pub fn stop(mut self) -> Seen {
        self.process.signal(Signal::INT);
        self.process.wait_for_end();
        Seen::of(&std::fs::read(&self.file).unwrap())
    }
}

impl Seen {
    /// Bytes inside of TCP segments and UDP datagrams to this address and port.
    pub fn payload_to(&self, to: SocketAddr) -> usize {
        self.payload.get(&to).copied().unwrap_or(0)
    }

    /// TCP, UDP and ICMP packets to this address, on any port.
    pub fn packets_to(&self, to: IpAddr) -> usize {
        let matching = self
            .packets
            .iter()
            .filter(|(address, _)| address.ip() == to);
        matching.map(|(_, count)| count).sum()
    }

    /// Packets from this address.
    pub fn packets_from(&self, from: IpAddr) -> usize {
        self.sources.get(&from).copied().unwrap_or(0)
    }

    /// Reads a capture of Ethernet frames in the classic format, in the byte order of this machine.
    fn of(capture: &[u8]) -> Self {
        let mut seen = Self::default();
        let mut rest = capture.get(24..).unwrap_or_default();
        while let Some((head, after)) = rest.split_at_checked(16) {
            let word = |at: usize| {
                head.get(at..at + 4)?
                    .try_into()
                    .ok()
                    .map(u32::from_ne_bytes)
            };
            let captured = word(8).and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
            let Some((packet, after)) = after.split_at_checked(captured) else {
                break;
            };
            seen.count(packet);
            rest = after;
        }
        seen
    }

    fn count(&mut self, frame: &[u8]) -> Option<()> {
        let two = |bytes: &[u8], at: usize| {
            bytes
                .get(at..at + 2)?
                .try_into()
                .ok()
                .map(u16::from_be_bytes)
        };
        let ip = frame.get(14..)?;
        let (source, destination, protocol, header, total) = match two(frame, 12)? {
            0x0800 => {
                let four = |at: usize| -> Option<[u8; 4]> { ip.get(at..at + 4)?.try_into().ok() };
                let header = usize::from(ip.first()? & 0x0f) * 4;
                (
                    IpAddr::from(four(12)?),
                    IpAddr::from(four(16)?),
                    *ip.get(9)?,
                    header,
                    usize::from(two(ip, 2)?),
                )
            }
            0x86dd => {
                let all = |at: usize| -> Option<[u8; 16]> { ip.get(at..at + 16)?.try_into().ok() };
                let total = usize::from(two(ip, 4)?) + 40;
                (
                    Ipv6Addr::from(all(8)?).into(),
                    Ipv6Addr::from(all(24)?).into(),
                    *ip.get(6)?,
                    40,
                    total,
                )
            }
            _ => return None,
        };
        let transport = ip.get(header..)?;
        let (port, inner) = match protocol {
            6 => (two(transport, 2)?, usize::from(transport.get(12)? >> 4) * 4),
            17 => (two(transport, 2)?, 8),
            1 => (0, 8),
            _ => return None,
        };
        let to = SocketAddr::new(destination, port);
        *self.packets.entry(to).or_default() += 1;
        *self.payload.entry(to).or_default() += total.saturating_sub(header + inner);
        *self.sources.entry(source).or_default() += 1;
        Some(())
    }
}

/// Files that the gateway wrote and that contain one of the words, as `FILE: WORD`.
pub fn leaks(gateway: &Gateway<'_>, words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (path, bytes) in gateway.written() {
        for word in words {
            if bytes
                .windows(word.len())
                .any(|window| window == word.as_bytes())
            {
                found.push(format!("{}: {word}", path.display()));
            }
        }
    }
    found
}
