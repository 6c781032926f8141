//! Builds PDUs, command sets and data sets, right or wrong, byte by byte. All of it is synthetic.

use protocol_inspect::dicom::{
    AssociateAc, AssociateRq, Established, Pdu, PduReader, Pdv, Policy, Profile, Rule, answer,
    filter,
};
use protocol_inspect::{Base, Limits};

pub(crate) const VERIFICATION: &str = "1.2.840.10008.1.1";
pub(crate) const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
pub(crate) const US: &str = "1.2.840.10008.5.1.4.1.1.6.1";
pub(crate) const FIND: &str = "1.2.840.10008.5.1.4.1.2.2.1";
pub(crate) const MOVE: &str = "1.2.840.10008.5.1.4.1.2.2.2";
pub(crate) const COMMITMENT: &str = "1.2.840.10008.1.20.1";
pub(crate) const IMPLICIT: &str = "1.2.840.10008.1.2";
pub(crate) const EXPLICIT: &str = "1.2.840.10008.1.2.1";
pub(crate) const DEFLATED: &str = "1.2.840.10008.1.2.1.99";
pub(crate) const JPIP: &str = "1.2.840.10008.1.2.4.94";
pub(crate) const JPEG: &str = "1.2.840.10008.1.2.4.50";
pub(crate) const INSTANCE: &str = "2.25.1234567890";

/// A PDU with a correct length.
pub(crate) fn pdu(kind: u8, content: &[u8]) -> Vec<u8> {
    let len = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&[kind, 0][..], &len, content].concat()
}

/// An item with a correct length.
pub(crate) fn item(kind: u8, content: &[u8]) -> Vec<u8> {
    let len = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[kind, 0][..], &len, content].concat()
}

/// A two-byte length and so many bytes.
pub(crate) fn counted(content: &[u8]) -> Vec<u8> {
    let len = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&len[..], content].concat()
}

/// An A-ASSOCIATE-RQ in parts.
#[derive(Clone)]
pub(crate) struct Rq {
    pub(crate) version: u16,
    pub(crate) called: [u8; 16],
    pub(crate) calling: [u8; 16],
    pub(crate) items: Vec<Vec<u8>>,
}

impl Rq {
    pub(crate) fn new(contexts: &[(u8, &str, &[&str])]) -> Self {
        let mut items = vec![item(0x10, b"1.2.840.10008.3.1.1.1")];
        for (id, class, syntaxes) in contexts {
            items.push(context(*id, &[class], syntaxes));
        }
        items.push(item(0x50, &user(&[])));
        Self {
            version: 1,
            called: *b"PACS1           ",
            calling: *b"US07            ",
            items,
        }
    }

    pub(crate) fn usual() -> Self {
        Self::new(&[
            (1, VERIFICATION, &[IMPLICIT]),
            (3, CT, &[EXPLICIT, IMPLICIT]),
        ])
    }

    /// With another user information.
    pub(crate) fn user(mut self, content: &[u8]) -> Self {
        self.items.pop();
        self.items.push(item(0x50, content));
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut content = self.version.to_be_bytes().to_vec();
        content.extend([0, 0]);
        content.extend(self.called);
        content.extend(self.calling);
        content.extend([0; 32]);
        content.extend(self.items.concat());
        pdu(1, &content)
    }

    pub(crate) fn parsed(&self) -> AssociateRq {
        match read(&self.bytes(), Base::Standard).remove(0).unwrap() {
            Pdu::AssociateRq(rq) => *rq,
            other => panic!("{:?}", other.kind()),
        }
    }
}

pub(crate) fn context(id: u8, classes: &[&str], syntaxes: &[&str]) -> Vec<u8> {
    let mut content = vec![id, 0, 0, 0];
    for class in classes {
        content.extend(item(0x30, class.as_bytes()));
    }
    for syntax in syntaxes {
        content.extend(item(0x40, syntax.as_bytes()));
    }
    item(0x20, &content)
}

/// Maximum length, implementation class, and more.
pub(crate) fn user(more: &[Vec<u8>]) -> Vec<u8> {
    let mut content = item(0x51, &16384_u32.to_be_bytes());
    content.extend(item(0x52, b"1.2.3.4"));
    content.extend(more.concat());
    content
}

pub(crate) fn role(class: &str, scu: u8, scp: u8) -> Vec<u8> {
    item(0x54, &[counted(class.as_bytes()), vec![scu, scp]].concat())
}

/// An A-ASSOCIATE-AC that says this of contexts.
pub(crate) fn ac(results: &[(u8, u8, &str)], more: &[Vec<u8>]) -> Vec<u8> {
    let mut content = vec![0, 1, 0, 0];
    content.extend([b' '; 32]);
    content.extend([0; 32]);
    content.extend(item(0x10, b"1.2.840.10008.3.1.1.1"));
    for (id, result, syntax) in results {
        let inner = [&[*id, 0, *result, 0][..], &item(0x40, syntax.as_bytes())].concat();
        content.extend(item(0x21, &inner));
    }
    content.extend(item(0x50, &user(more)));
    pdu(2, &content)
}

pub(crate) fn parsed_ac(bytes: &[u8]) -> AssociateAc {
    match read(bytes, Base::Standard).remove(0).unwrap() {
        Pdu::AssociateAc(ac) => *ac,
        other => panic!("{:?}", other.kind()),
    }
}

/// All that a reader says of these bytes; a violation in words.
pub(crate) fn read(bytes: &[u8], base: Base) -> Vec<Result<Pdu, String>> {
    let mut reader = PduReader::new(&Limits::default(), base);
    reader.receive(bytes);
    let said = |violation: protocol_inspect::dicom::Violation| {
        let refusal = violation.refusal;
        let (reason, abort) = (refusal.reason.code(), violation.reason.code());
        format!("{reason} | {refusal} | A-ABORT 2/{abort}")
    };
    std::iter::from_fn(|| reader.poll())
        .map(|pdu| pdu.map_err(said))
        .collect()
}

pub(crate) fn policy(allow: &[&str], classes: &[&str]) -> Policy {
    let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
    Policy {
        limits: Limits::default(),
        calling_ae: Some("US07".into()),
        called_ae: Some("PACS1".into()),
        rules: vec![Rule {
            name: "images".into(),
            allow: owned(allow),
            sop_classes: owned(classes),
            move_destinations: vec!["VIEWER".into()],
            bind_sender: true,
            documents: vec![],
            profiles: vec![Profile::standard()],
            ..Rule::default()
        }],
        ..Policy::default()
    }
}

/// An association of which every context is accepted with its first transfer syntax.
pub(crate) fn established(policy: &Policy, contexts: &[(u8, &str, &str)]) -> Established {
    let proposed: Vec<(u8, &str, [&str; 1])> = contexts
        .iter()
        .map(|(id, class, syntax)| (*id, *class, [*syntax]))
        .collect();
    let proposed: Vec<(u8, &str, &[&str])> = proposed
        .iter()
        .map(|(id, class, syntaxes)| (*id, *class, &syntaxes[..]))
        .collect();
    let filtered = filter(&Rq::new(&proposed).parsed(), policy).unwrap();
    let results: Vec<_> = contexts
        .iter()
        .map(|(id, _, syntax)| (*id, 0, *syntax))
        .collect();
    answer(&filtered, &parsed_ac(&ac(&results, &[]))).unwrap().1
}

/// A command set with its group length.
pub(crate) fn command(elements: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (element, value) in elements {
        body.extend([0, 0]);
        body.extend(element.to_le_bytes());
        body.extend(u32::try_from(value.len()).unwrap().to_le_bytes());
        body.extend(value);
    }
    let len = u32::try_from(body.len()).unwrap();
    let mut set = vec![0, 0, 0, 0, 4, 0, 0, 0];
    set.extend(len.to_le_bytes());
    set.extend(body);
    set
}

pub(crate) fn us(value: u16) -> Vec<u8> {
    value.to_le_bytes().to_vec()
}

/// Padded with NUL to even length.
pub(crate) fn ui(uid: &str) -> Vec<u8> {
    let mut value = uid.as_bytes().to_vec();
    value.resize(value.len().next_multiple_of(2), 0);
    value
}

/// Padded with a space to even length.
pub(crate) fn text(value: &str) -> Vec<u8> {
    let mut value = value.as_bytes().to_vec();
    value.resize(value.len().next_multiple_of(2), b' ');
    value
}

pub(crate) fn echo_rq(id: u16) -> Vec<(u16, Vec<u8>)> {
    vec![
        (0x0002, ui(VERIFICATION)),
        (0x0100, us(0x0030)),
        (0x0110, us(id)),
        (0x0800, us(0x0101)),
    ]
}

pub(crate) fn store_rq(class: &str, instance: &str) -> Vec<(u16, Vec<u8>)> {
    vec![
        (0x0002, ui(class)),
        (0x0100, us(0x0001)),
        (0x0110, us(7)),
        (0x0700, us(0)),
        (0x0800, us(0)),
        (0x1000, ui(instance)),
    ]
}

pub(crate) fn response(field: u16, id: u16, status: u16) -> Vec<(u16, Vec<u8>)> {
    vec![
        (0x0100, us(field)),
        (0x0120, us(id)),
        (0x0800, us(0x0101)),
        (0x0900, us(status)),
    ]
}

pub(crate) fn pdv(context_id: u8, command: bool, last: bool, data: &[u8]) -> Pdv {
    Pdv {
        context_id,
        command,
        last,
        data: data.to_vec().into(),
    }
}

/// A P-DATA-TF with one PDV.
pub(crate) fn p_data(context_id: u8, command: bool, last: bool, data: &[u8]) -> Vec<u8> {
    let control = u8::from(command) | if last { 2 } else { 0 };
    let len = u32::try_from(data.len() + 2).unwrap().to_be_bytes();
    pdu(4, &[&len[..], &[context_id, control], data].concat())
}

/// An element, explicit VR little endian.
pub(crate) fn element(group: u16, element: u16, vr: &str, value: &[u8]) -> Vec<u8> {
    let mut out = [group.to_le_bytes(), element.to_le_bytes()].concat();
    out.extend(vr.as_bytes());
    if matches!(vr, "OB" | "OW" | "SQ" | "UN" | "UT" | "UC" | "UR") {
        out.extend([0, 0]);
        out.extend(u32::try_from(value.len()).unwrap().to_le_bytes());
    } else {
        out.extend(u16::try_from(value.len()).unwrap().to_le_bytes());
    }
    out.extend(value);
    out
}

/// A header of any length, explicit VR with 32 bits of length.
pub(crate) fn header(group: u16, element: u16, vr: &str, length: u32) -> Vec<u8> {
    let mut out = [group.to_le_bytes(), element.to_le_bytes()].concat();
    out.extend(vr.as_bytes());
    out.extend([0, 0]);
    out.extend(length.to_le_bytes());
    out
}

/// Raw deflate, as the transfer syntax wants it.
pub(crate) fn deflated(bytes: &[u8]) -> Vec<u8> {
    miniz_oxide::deflate::compress_to_vec(bytes, 6)
}

/// An item with these bytes.
pub(crate) fn fragment(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap();
    [delimiter(0xe000, length), bytes.to_vec()].concat()
}

/// FFFE,E000 and the like.
pub(crate) fn delimiter(element: u16, length: u32) -> Vec<u8> {
    let mut out = [0xfffe_u16.to_le_bytes(), element.to_le_bytes()].concat();
    out.extend(length.to_le_bytes());
    out
}

/// A small CT instance that lacks nothing: identity, a sequence, an image of 2 by 2 pixels.
/// What nobody changes stands together, so that an index means the same for all.
pub(crate) fn ct() -> Vec<Vec<u8>> {
    let inner = [
        element(0x0008, 0x1150, "UI", &ui(CT)),
        element(0x0008, 0x1155, "UI", &ui("1.2.3")),
    ]
    .concat();
    let reference = [
        delimiter(0xe000, u32::try_from(inner.len()).unwrap()),
        inner,
    ]
    .concat();
    let cs = |group, number, value| element(group, number, "CS", &text(value));
    let empty = |group, number, vr| element(group, number, vr, b"");
    let joined = |elements: &[Vec<u8>]| elements.concat();
    vec![
        joined(&[
            element(0x0008, 0x0005, "CS", b"ISO_IR 100"),
            cs(0x0008, 0x0008, "ORIGINAL\\PRIMARY\\AXIAL"),
        ]),
        element(0x0008, 0x0016, "UI", &ui(CT)),
        joined(&[
            element(0x0008, 0x0018, "UI", &ui(INSTANCE)),
            empty(0x0008, 0x0020, "DA"),
            empty(0x0008, 0x0030, "TM"),
            empty(0x0008, 0x0050, "SH"),
            cs(0x0008, 0x0060, "CT"),
            empty(0x0008, 0x0070, "LO"),
            empty(0x0008, 0x0090, "PN"),
        ]),
        element(0x0008, 0x1140, "SQ", &reference),
        element(0x0010, 0x0010, "PN", &text("Canary^Synthetic")),
        joined(&[
            element(0x0010, 0x0020, "LO", &text("CANARY-1")),
            empty(0x0010, 0x0030, "DA"),
            empty(0x0010, 0x0040, "CS"),
            empty(0x0018, 0x0050, "DS"),
            empty(0x0018, 0x0060, "DS"),
            element(0x0020, 0x000d, "UI", &ui("1.2.826.0.1.1")),
            element(0x0020, 0x000e, "UI", &ui("1.2.826.0.1.2")),
            empty(0x0020, 0x0010, "SH"),
            empty(0x0020, 0x0011, "IS"),
            empty(0x0020, 0x0012, "IS"),
            empty(0x0020, 0x0013, "IS"),
            element(0x0020, 0x0032, "DS", &text("0\\0\\0")),
            element(0x0020, 0x0037, "DS", &text("1\\0\\0\\0\\1\\0")),
            element(0x0020, 0x0052, "UI", &ui("1.2.826.0.1.3")),
            empty(0x0020, 0x1040, "LO"),
        ]),
        joined(&[
            element(0x0028, 0x0002, "US", &us(1)),
            cs(0x0028, 0x0004, "MONOCHROME2"),
        ]),
        element(0x0028, 0x0010, "US", &us(2)),
        joined(&[
            element(0x0028, 0x0011, "US", &us(2)),
            element(0x0028, 0x0030, "DS", &text("1\\1")),
        ]),
        joined(&[
            element(0x0028, 0x0100, "US", &us(16)),
            element(0x0028, 0x0101, "US", &us(16)),
            element(0x0028, 0x0102, "US", &us(15)),
            element(0x0028, 0x0103, "US", &us(0)),
            element(0x0028, 0x1052, "DS", &text("0")),
            element(0x0028, 0x1053, "DS", &text("1")),
        ]),
        element(0x7fe0, 0x0010, "OW", &[1; 8]),
    ]
}
