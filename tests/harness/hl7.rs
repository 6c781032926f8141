//! HL7 and MLLP for test peers: naive on purpose, and not the gateway's own code.
//!
//! Builds and takes apart what both ends say; nothing here judges whether it is right.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A valid ORU^R01 of the device `ECG^CARDIO` with this MSH-10.
pub fn oru(control: &str) -> Vec<u8> {
    oru_from("ECG|CARDIO", control)
}

/// A valid ORU^R01 with this `MSH-3|MSH-4` and MSH-10.
pub fn oru_from(sender: &str, control: &str) -> Vec<u8> {
    message(&[
        &format!("MSH|^~\\&|{sender}|HIS|NORD|20260102101500||ORU^R01^ORU_R01|{control}|P|2.5.1"),
        "PID|1||4711^^^NORD^MR||CANARYNAME^ZOE||19700101|F",
        "OBR|1||ECG-1|93000^ECG^C4|||20260102101400||||||||||||||||||F",
        "OBX|1|NM|8867-4^Heart rate^LN||72|/min^per minute^UCUM|60-100|N|||F",
    ])
}

/// A valid ORU^R01 of about this many bytes.
pub fn large_oru(control: &str, size: usize) -> Vec<u8> {
    let mut text = oru(control);
    let note = "x".repeat(1000);
    let mut number = 2;
    while text.len() < size {
        let segment = format!("OBX|{number}|TX|NOTE^Note^L|{number}|{note}||||||F\r");
        text.extend_from_slice(segment.as_bytes());
        number += 1;
    }
    text
}

/// Words that stand in [`oru`] and in the DICOM images and must never be in anything that the gateway writes.
pub const CANARIES: [&str; 3] = ["CANARYNAME", "4711^^^NORD", "CANARY^DICOM"];

/// Joins segments with the terminator of the standard.
pub fn message(segments: &[&str]) -> Vec<u8> {
    let mut text = segments.join("\r");
    text.push('\r');
    text.into_bytes()
}

/// Start block, content, end block, carriage return.
pub fn frame(content: &[u8]) -> Vec<u8> {
    [&[0x0b], content, &[0x1c, 0x0d]].concat()
}

/// An acknowledgement with AA, as a simple receiver builds it.
pub fn acknowledge(message: &[u8]) -> Vec<u8> {
    acknowledge_with(message, "AA")
}

/// An acknowledgement with another code.
pub fn acknowledge_with(received: &[u8], code: &str) -> Vec<u8> {
    let text = String::from_utf8_lossy(received);
    let msh = |number| field(&text, "MSH", number);
    message(&[
        &format!(
            "MSH|^~\\&|{}|{}|{}|{}|20260102101501||ACK^R01^ACK|A{}|P|{}",
            msh(5),
            msh(6),
            msh(3),
            msh(4),
            msh(10),
            msh(12)
        ),
        &format!("MSA|{code}|{}", msh(10)),
    ])
}

/// A field of the first segment of that name, numbered as the standard does; empty if there is none.
pub fn field<'m>(message: &'m str, segment: &str, number: usize) -> &'m str {
    let mut segments = message.split('\r');
    let Some(found) = segments.find(|line| line.get(..3) == Some(segment)) else {
        return "";
    };
    // MSH-1 is the separator itself.
    let separator = message.chars().nth(3).unwrap_or('|');
    let index = if segment == "MSH" { number - 1 } else { number };
    found.split(separator).nth(index).unwrap_or("")
}

/// Cuts a stream into the contents of its frames.
#[derive(Default)]
pub struct Frames {
    pending: Vec<u8>,
}

impl Frames {
    /// The contents of the frames that these bytes complete.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.pending.extend_from_slice(bytes);
        let mut complete = Vec::new();
        while let Some(end) = self.pending.windows(2).position(|two| two == [0x1c, 0x0d]) {
            let rest = self.pending.split_off(end + 2);
            let whole = std::mem::replace(&mut self.pending, rest);
            let content = whole.get(..end).unwrap_or_default();
            let start = content
                .iter()
                .position(|b| *b == 0x0b)
                .map_or(0, |at| at + 1);
            complete.push(content.get(start..).unwrap_or_default().to_vec());
        }
        complete
    }
}

/// A client that says exactly what it is told to.
pub struct Client {
    stream: TcpStream,
    frames: Frames,
    waiting: std::collections::VecDeque<Vec<u8>>,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A frame.
    Answer(Answer),
    /// Orderly end.
    Closed,
    /// Reset.
    Reset,
    /// Nothing within the time.
    Nothing,
}

/// An acknowledgement, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// MSA-1.
    pub code: String,
    /// MSA-2.
    pub control: String,
    /// ERR-2 (location), or ERR-1 before 2.5.
    pub location: String,
    /// First component of ERR-3.
    pub error: String,
    /// The whole message.
    pub text: String,
}

impl Answer {
    fn of(content: &[u8]) -> Self {
        let text = String::from_utf8_lossy(content).into_owned();
        let error = field(&text, "ERR", 3);
        Self {
            code: field(&text, "MSA", 1).to_owned(),
            control: field(&text, "MSA", 2).to_owned(),
            location: field(&text, "ERR", 2).to_owned(),
            error: error.split('^').next().unwrap_or_default().to_owned(),
            text,
        }
    }
}

impl Client {
    /// Over a connected stream.
    pub fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            frames: Frames::default(),
            waiting: std::collections::VecDeque::new(),
        }
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next frame, or the end.
    ///
    /// # Panics
    /// When the socket cannot be configured.
    pub fn reply(&mut self, limit: Duration) -> Reply {
        let until = Instant::now() + limit;
        let mut buffer = vec![0; 64 << 10];
        loop {
            if let Some(content) = self.waiting.pop_front() {
                return Reply::Answer(Answer::of(&content));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Reply::Nothing;
            }
            self.stream.set_read_timeout(Some(left)).unwrap();
            match self.stream.read(&mut buffer) {
                Ok(0) => return Reply::Closed,
                Ok(length) => {
                    let bytes = buffer.get(..length).unwrap_or_default();
                    self.waiting.extend(self.frames.push(bytes));
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    return Reply::Nothing;
                }
                Err(_) => return Reply::Reset,
            }
        }
    }

    /// Sends one message in a frame and waits for its answer.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn exchange(&mut self, content: &[u8]) -> Answer {
        let sent = self.send(&frame(content));
        match self.reply(crate::wait::SOON) {
            Reply::Answer(answer) => answer,
            other @ (Reply::Closed | Reply::Reset | Reply::Nothing) => {
                panic!("no answer but {other:?} (sent: {sent:?})")
            }
        }
    }

    /// The stream below.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

/// A message in a file with the answer that it must get.
///
/// The first line says `# CODE`, or `# CODE error-code location`; then one segment a line.
/// `<0x1A>` stands for a byte.
#[derive(Debug)]
pub struct Fixture {
    /// The file's name.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Expected MSA-1.
    pub code: String,
    /// Expected ERR-3.1; empty for any.
    pub error: String,
    /// The message, without framing.
    pub content: Vec<u8>,
}

/// The fixtures of a folder below `tests/scenarios/hl7`, in the order of their names.
///
/// # Panics
/// When one cannot be read.
pub fn fixtures(folder: &str) -> Vec<Fixture> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(fixture_path(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths.into_iter().map(|path| read(&path)).collect()
}

/// A path below `tests/scenarios/hl7`.
pub fn fixture_path(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("scenarios/hl7")
        .join(name);
    path.display().to_string()
}

fn read(path: &Path) -> Fixture {
    let text = std::fs::read_to_string(path).unwrap();
    let (head, body) = text.split_once('\n').expect("a first line with the answer");
    let mut words = head.trim_start_matches('#').split_whitespace();
    let mut word = || words.next().unwrap_or_default().to_owned();
    Fixture {
        name: path.file_stem().unwrap().to_string_lossy().into_owned(),
        path: path.to_owned(),
        code: word(),
        error: word(),
        content: bytes(&body.replace('\n', "\r")),
    }
}

fn bytes(text: &str) -> Vec<u8> {
    let mut parts = text.split("<0x");
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (hex, rest) = part.split_once('>').expect("<0x..>");
        bytes.push(u8::from_str_radix(hex, 16).unwrap());
        bytes.extend_from_slice(rest.as_bytes());
    }
    bytes
}
