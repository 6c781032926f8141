//! A DICOM modality that says exactly what it is told to: naive on purpose, and not the gateway's own code.
//!
//! Builds associations, commands and data sets byte by byte, and puts what comes back into a few words;
//! nothing here judges whether it is right.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::wait;

/// Ultrasound Image Storage.
pub const US: &str = "1.2.840.10008.5.1.4.1.1.6.1";
/// CT Image Storage.
pub const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
/// Verification.
pub const VERIFICATION: &str = "1.2.840.10008.1.1";
/// Implicit VR Little Endian.
pub const IMPLICIT: &str = "1.2.840.10008.1.2";
/// Explicit VR Little Endian.
pub const EXPLICIT: &str = "1.2.840.10008.1.2.1";
/// JPEG Baseline.
pub const JPEG: &str = "1.2.840.10008.1.2.4.50";
/// Of everything that is made here; no other organization's.
pub const ROOT: &str = "1.2.826.0.1.3680043.10.5200";

/// PDU type, length, content.
pub fn pdu(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&[kind, 0], &length[..], content].concat()
}

/// Item type, length, content.
pub fn item(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[kind, 0], &length[..], content].concat()
}

/// An A-ASSOCIATE-RQ in its parts.
#[derive(Clone)]
pub struct Request {
    /// Who asks, padded to 16.
    pub calling: Vec<u8>,
    /// Who is asked, padded to 16.
    pub called: Vec<u8>,
    /// Application context, presentation contexts, user information, in this order.
    pub items: Vec<Vec<u8>>,
}

impl Request {
    /// `US07` asks `PACS1` for these contexts: id, abstract syntax, transfer syntaxes.
    pub fn new(contexts: &[(u8, &str, &[&str])]) -> Self {
        let mut items = vec![item(0x10, b"1.2.840.10008.3.1.1.1")];
        items.extend(
            contexts
                .iter()
                .map(|(id, class, syntaxes)| context(*id, class, syntaxes)),
        );
        items.push(user(&[]));
        Self {
            calling: title("US07"),
            called: title("PACS1"),
            items,
        }
    }

    /// Ultrasound images and C-ECHO.
    pub fn usual() -> Self {
        Self::new(&[(1, US, &[EXPLICIT]), (3, VERIFICATION, &[IMPLICIT])])
    }

    /// As it travels.
    pub fn bytes(&self) -> Vec<u8> {
        let head = [&[0, 1, 0, 0], &self.called[..], &self.calling, &[0; 32]].concat();
        pdu(1, &[head, self.items.concat()].concat())
    }
}

/// Padded to 16 with spaces.
pub fn title(name: &str) -> Vec<u8> {
    format!("{name:16}").into_bytes()
}

/// A presentation context item.
pub fn context(id: u8, class: &str, syntaxes: &[&str]) -> Vec<u8> {
    let mut content = vec![id, 0, 0, 0];
    content.extend(item(0x30, class.as_bytes()));
    for syntax in syntaxes {
        content.extend(item(0x40, syntax.as_bytes()));
    }
    item(0x20, &content)
}

/// A user information item with these sub-items behind the mandatory ones.
pub fn user(more: &[Vec<u8>]) -> Vec<u8> {
    let class = format!("{ROOT}.9");
    let own = [
        item(0x51, &16_384_u32.to_be_bytes()),
        item(0x52, class.as_bytes()),
    ];
    item(0x50, &[own.concat(), more.concat()].concat())
}

/// A command set: element of group 0000 and value, with the group length in front.
pub fn command(elements: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let body = without_length(elements);
    let length = u32::try_from(body.len()).unwrap().to_le_bytes();
    [&[0, 0, 0, 0, 4, 0, 0, 0], &length[..], &body].concat()
}

/// The same without the group length that the standard demands.
pub fn without_length(elements: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (element, value) in elements {
        body.extend([0, 0]);
        body.extend(element.to_le_bytes());
        body.extend(u32::try_from(value.len()).unwrap().to_le_bytes());
        body.extend(value);
    }
    body
}

/// A number of two bytes.
pub fn us(value: u16) -> Vec<u8> {
    value.to_le_bytes().to_vec()
}

/// A UID, padded with NUL.
pub fn ui(uid: &str) -> Vec<u8> {
    padded(uid.as_bytes(), 0)
}

/// Text, padded with a space.
pub fn text(value: &str) -> Vec<u8> {
    padded(value.as_bytes(), b' ')
}

fn padded(value: &[u8], padding: u8) -> Vec<u8> {
    let mut value = value.to_vec();
    value.resize(value.len().next_multiple_of(2), padding);
    value
}

/// The elements of a C-STORE-RQ.
pub fn store(id: u16, class: &str, instance: &str) -> Vec<(u16, Vec<u8>)> {
    vec![
        (0x0002, ui(class)),
        (0x0100, us(0x0001)),
        (0x0110, us(id)),
        (0x0700, us(0)),
        (0x0800, us(0)),
        (0x1000, ui(instance)),
    ]
}

/// The elements of a C-ECHO-RQ.
pub fn echo(id: u16) -> Vec<(u16, Vec<u8>)> {
    vec![
        (0x0002, ui(VERIFICATION)),
        (0x0100, us(0x0030)),
        (0x0110, us(id)),
        (0x0800, us(0x0101)),
    ]
}

/// The same elements with one replaced or added.
pub fn with(
    mut elements: Vec<(u16, Vec<u8>)>,
    element: u16,
    value: Vec<u8>,
) -> Vec<(u16, Vec<u8>)> {
    elements.retain(|(other, _)| *other != element);
    elements.push((element, value));
    elements.sort_by_key(|(element, _)| *element);
    elements
}

/// A P-DATA-TF with one fragment.
pub fn p_data(context: u8, is_command: bool, last: bool, bytes: &[u8]) -> Vec<u8> {
    let control = u8::from(is_command) | (u8::from(last) << 1);
    let length = u32::try_from(bytes.len() + 2).unwrap().to_be_bytes();
    pdu(4, &[&length[..], &[context, control], bytes].concat())
}

/// A data set in explicit VR little endian that can be changed element by element.
#[derive(Clone)]
pub struct DataSet(Vec<(u32, &'static str, Vec<u8>)>);

impl DataSet {
    /// A synthetic ultrasound image of 8 by 8 pixels.
    pub fn image(instance: &str) -> Self {
        let root = |number: u8| ui(&format!("{ROOT}.{number}.1"));
        Self(vec![
            (0x0008_0005, "CS", text("ISO_IR 100")),
            (0x0008_0008, "CS", text("ORIGINAL\\PRIMARY")),
            (0x0008_0016, "UI", ui(US)),
            (0x0008_0018, "UI", ui(instance)),
            (0x0008_0020, "DA", text("20260102")),
            (0x0008_0030, "TM", text("101500")),
            (0x0008_0050, "SH", text("A1")),
            (0x0008_0060, "CS", text("US")),
            (0x0008_0070, "LO", text("LABORATORY")),
            (0x0008_0090, "PN", text("GREY^ANNA")),
            (0x0010_0010, "PN", text("CANARY^DICOM")),
            (0x0010_0020, "LO", text("4711")),
            (0x0010_0030, "DA", text("19700101")),
            (0x0010_0040, "CS", text("F")),
            (0x0020_000d, "UI", root(2)),
            (0x0020_000e, "UI", root(3)),
            (0x0020_0010, "SH", text("1")),
            (0x0020_0011, "IS", text("1")),
            (0x0020_0013, "IS", text("1")),
            (0x0028_0002, "US", us(1)),
            (0x0028_0004, "CS", text("MONOCHROME2")),
            (0x0028_0010, "US", us(8)),
            (0x0028_0011, "US", us(8)),
            (0x0028_0100, "US", us(8)),
            (0x0028_0101, "US", us(8)),
            (0x0028_0102, "US", us(7)),
            (0x0028_0103, "US", us(0)),
            (0x7fe0_0010, "OB", (0..64).collect()),
        ])
    }

    /// With this element replaced or added, at its place.
    #[must_use]
    pub fn with(mut self, tag: u32, vr: &'static str, value: Vec<u8>) -> Self {
        self.0.retain(|(other, ..)| *other != tag);
        self.0.push((tag, vr, value));
        self.0.sort_by_key(|(tag, ..)| *tag);
        self
    }

    /// Without this element.
    #[must_use]
    pub fn without(mut self, tag: u32) -> Self {
        self.0.retain(|(other, ..)| *other != tag);
        self
    }

    /// As it travels.
    pub fn bytes(&self) -> Vec<u8> {
        let encode = |(tag, vr, value): &(u32, &str, Vec<u8>)| element(*tag, vr, value);
        self.0.iter().flat_map(encode).collect()
    }
}

/// An element in explicit VR little endian.
pub fn element(tag: u32, vr: &str, value: &[u8]) -> Vec<u8> {
    let length = u32::try_from(value.len()).unwrap();
    [header(tag, vr, length), value.to_vec()].concat()
}

/// The header of an element that claims this length.
pub fn header(tag: u32, vr: &str, length: u32) -> Vec<u8> {
    let [a, b, c, d] = tag.to_be_bytes();
    let mut bytes = vec![b, a, d, c];
    bytes.extend(vr.as_bytes());
    if ["OB", "OW", "SQ", "UN", "UT", "UC", "UR"].contains(&vr) {
        bytes.extend([0, 0]);
        bytes.extend(length.to_le_bytes());
    } else {
        bytes.extend(u16::try_from(length).unwrap().to_le_bytes());
    }
    bytes
}

/// An item or a delimiter: (FFFE,xxxx) with a length.
pub fn mark(number: u16, length: u32) -> Vec<u8> {
    let mut bytes = vec![0xfe, 0xff];
    bytes.extend(number.to_le_bytes());
    bytes.extend(length.to_le_bytes());
    bytes
}

/// One connection of the modality.
pub struct Modality {
    stream: TcpStream,
    pending: Vec<u8>,
}

impl Modality {
    /// Over a connected stream.
    pub fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            pending: Vec::new(),
        }
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Asks for an association; what came back.
    pub fn associate(&mut self, request: &Request) -> String {
        let _ = self.send(&request.bytes());
        self.hears()
    }

    /// Sends a command, with a data set behind it if there is one, in context 1; what came back.
    pub fn ask(&mut self, set: &[u8], data: Option<&[u8]>) -> String {
        self.ask_in(1, set, data)
    }

    /// The same in another context.
    pub fn ask_in(&mut self, context: u8, set: &[u8], data: Option<&[u8]>) -> String {
        let mut stream = p_data(context, true, true, set);
        if let Some(data) = data {
            let mut pieces: Vec<&[u8]> = data.chunks(16_000).collect();
            if pieces.is_empty() {
                pieces.push(data);
            }
            for (number, piece) in pieces.iter().enumerate() {
                stream.extend(p_data(context, false, number + 1 == pieces.len(), piece));
            }
        }
        let _ = self.send(&stream);
        self.hears()
    }

    /// What comes next: `AC 0 0` (a result for each context), `RJ 1/1/3`, `status A900`, `released`, `release?`,
    /// `ABORT 2/6`, `close` or `nothing`.
    pub fn hears(&mut self) -> String {
        self.hears_within(wait::SOON)
    }

    /// The same within this time.
    pub fn hears_within(&mut self, limit: Duration) -> String {
        let until = Instant::now() + limit;
        loop {
            let Some(pdu) = self.read_pdu(until) else {
                return "nothing".into();
            };
            match pdu.as_slice() {
                [] => return "close".into(),
                [2, _, _, _, _, _, content @ ..] => return format!("AC{}", results(content)),
                [3, _, _, _, _, _, _, result, source, reason] => {
                    return format!("RJ {result}/{source}/{reason}");
                }
                [4, _, _, _, _, _, content @ ..] => {
                    if let Some(status) = status(content) {
                        return format!("status {status:04X}");
                    }
                }
                [5, ..] => return "release?".into(),
                [6, ..] => return "released".into(),
                [7, _, _, _, _, _, _, _, source, reason] => {
                    return format!("ABORT {source}/{reason}");
                }
                other => panic!("no PDU: {other:02x?}"),
            }
        }
    }

    /// A whole PDU; empty at the end of the connection; `None` if nothing came in time.
    fn read_pdu(&mut self, until: Instant) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 64 << 10];
        loop {
            if let [_, _, a, b, c, d, ..] = *self.pending {
                let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap() + 6;
                if self.pending.len() >= length {
                    return Some(self.pending.drain(..length).collect());
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.stream.set_read_timeout(Some(left)).unwrap();
            match self.stream.read(&mut buffer) {
                Ok(0) => return Some(Vec::new()),
                Ok(length) => self.pending.extend(buffer.iter().take(length)),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return None,
                Err(_) => return Some(Vec::new()),
            }
        }
    }
}

/// The result of each presentation context of an A-ASSOCIATE-AC.
fn results(content: &[u8]) -> String {
    let mut said = String::new();
    let mut rest = content.get(68..).unwrap_or_default();
    while let [kind, _, high, low, behind @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (item, next) = behind.split_at_checked(length).unwrap_or((behind, &[]));
        if *kind == 0x21 {
            said.push_str(&format!(" {}", item.get(2).unwrap_or(&9)));
        }
        rest = next;
    }
    said
}

/// (0000,0900) of the command in these fragments, if there is one.
fn status(content: &[u8]) -> Option<u16> {
    let mut rest = content.get(6..)?;
    while let [_, _, e0, e1, a, b, c, d, behind @ ..] = rest {
        let length = usize::try_from(u32::from_le_bytes([*a, *b, *c, *d])).ok()?;
        let value = behind.get(..length)?;
        if [*e0, *e1] == [0x00, 0x09] {
            return Some(u16::from_le_bytes(value.try_into().ok()?));
        }
        rest = behind.get(length..)?;
    }
    None
}
