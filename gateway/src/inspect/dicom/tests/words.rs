//! What the two peers of the tests say, byte by byte.

pub(super) const VERIFICATION: &str = "1.2.840.10008.1.1";
pub(super) const ULTRASOUND: &str = "1.2.840.10008.5.1.4.1.1.6.1";
pub(super) const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
pub(super) const FIND: &str = "1.2.840.10008.5.1.4.1.2.2.1";
/// Of treatment machines: events whose content nobody compares with anything.
pub(super) const MACHINE_CHECK: &str = "1.2.840.10008.5.1.4.34.8";
pub(super) const EXPLICIT: &str = "1.2.840.10008.1.2.1";
const APPLICATION: &str = "1.2.840.10008.3.1.1.1";

pub(super) struct Rq {
    pub(super) version: u16,
    pub(super) called: &'static str,
    pub(super) calling: &'static str,
    pub(super) application: &'static str,
    pub(super) contexts: Vec<(u8, &'static str)>,
}

impl Default for Rq {
    fn default() -> Self {
        Self {
            version: 1,
            called: "PACS1",
            calling: "US07",
            application: APPLICATION,
            contexts: vec![
                (1, VERIFICATION),
                (3, ULTRASOUND),
                (5, FIND),
                (7, MACHINE_CHECK),
            ],
        }
    }
}

impl Rq {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut content = opening(self.version, self.called, self.calling, self.application);
        for (id, class) in &self.contexts {
            let mut inner = vec![*id, 0, 0, 0];
            inner.extend(item(0x30, class.as_bytes()));
            inner.extend(item(0x40, EXPLICIT.as_bytes()));
            content.extend(item(0x20, &inner));
        }
        content.extend(user());
        pdu(1, &content)
    }
}

pub(super) fn rq() -> Vec<u8> {
    Rq::default().bytes()
}

/// Accepts these contexts.
pub(super) fn ac(ids: &[u8]) -> Vec<u8> {
    ac_of("PACS1", "US07", ids)
}

pub(super) fn ac_of(called: &str, calling: &str, ids: &[u8]) -> Vec<u8> {
    ac_with((called, calling), ids, 16_384)
}

/// And PDUs of this length.
pub(super) fn ac_with((called, calling): (&str, &str), ids: &[u8], max_length: u32) -> Vec<u8> {
    let mut content = opening(1, called, calling, APPLICATION);
    for id in ids {
        let mut inner = vec![*id, 0, 0, 0];
        inner.extend(item(0x40, EXPLICIT.as_bytes()));
        content.extend(item(0x21, &inner));
    }
    content.extend(user_of(max_length));
    pdu(2, &content)
}

pub(super) fn rj(result: u8, source: u8, reason: u8) -> Vec<u8> {
    pdu(3, &[0, result, source, reason])
}

pub(super) fn release_rq() -> Vec<u8> {
    pdu(5, &[0; 4])
}

pub(super) fn release_rp() -> Vec<u8> {
    pdu(6, &[0; 4])
}

pub(super) fn abort_pdu(source: u8, reason: u8) -> Vec<u8> {
    pdu(7, &[0, 0, source, reason])
}

/// One presentation data value in a PDU of its own.
pub(super) fn data(context: u8, control: u8, bytes: &[u8]) -> Vec<u8> {
    let mut content = u32::try_from(bytes.len() + 2)
        .unwrap()
        .to_be_bytes()
        .to_vec();
    content.extend([context, control]);
    content.extend(bytes);
    pdu(4, &content)
}

pub(super) fn echo(id: u16) -> Vec<u8> {
    data(
        1,
        3,
        &command(0x30, &[uid(2, VERIFICATION), us(0x110, id)], false),
    )
}

pub(super) fn echo_rsp(id: u16) -> Vec<u8> {
    data(
        1,
        3,
        &command(0x8030, &[us(0x120, id), us(0x900, 0)], false),
    )
}

pub(super) fn store_command(id: u16, class: &str, instance: &str) -> Vec<u8> {
    let elements = [
        uid(2, class),
        us(0x110, id),
        us(0x700, 0),
        uid(0x1000, instance),
    ];
    command(1, &elements, true)
}

pub(super) fn n_delete(id: u16, class: &str, instance: &str) -> Vec<u8> {
    command(
        0x150,
        &[uid(3, class), us(0x110, id), uid(0x1001, instance)],
        false,
    )
}

/// A C-STORE in fragments of this size.
pub(super) fn store(id: u16, instance: &str, set: &[u8], fragment: usize) -> Vec<u8> {
    let mut stream = data(3, 3, &store_command(id, ULTRASOUND, instance));
    stream.extend(fragments(3, set, fragment));
    stream
}

/// A C-STORE that belongs to a C-MOVE.
pub(super) fn moved(id: u16, instance: &str, originator: (&str, u16), set: &[u8]) -> Vec<u8> {
    let elements = [
        uid(2, ULTRASOUND),
        us(0x110, id),
        us(0x700, 0),
        uid(0x1000, instance),
        (0x1030, format!("{:16}", originator.0).into_bytes()),
        us(0x1031, originator.1),
    ];
    let mut stream = data(3, 3, &command(1, &elements, true));
    stream.extend(fragments(3, set, 700));
    stream
}

/// A data set in P-DATA-TF.
pub(super) fn fragments(context: u8, set: &[u8], size: usize) -> Vec<u8> {
    let mut stream = Vec::new();
    let mut chunks = set.chunks(size).peekable();
    while let Some(chunk) = chunks.next() {
        let last = chunks.peek().is_none();
        stream.extend(data(context, if last { 2 } else { 0 }, chunk));
    }
    stream
}

pub(super) fn store_rsp(id: u16, status: u16) -> Vec<u8> {
    data(
        3,
        3,
        &command(0x8001, &[us(0x120, id), us(0x900, status)], false),
    )
}

pub(super) fn find(id: u16) -> Vec<u8> {
    let elements = [uid(2, FIND), us(0x110, id), us(0x700, 0)];
    let mut stream = data(5, 3, &command(0x20, &elements, true));
    stream.extend(data(5, 2, &explicit(0x0008, 0x0052, b"CS", b"STUDY ")));
    stream
}

pub(super) fn cancel(id: u16) -> Vec<u8> {
    data(5, 3, &command(0x0fff, &[us(0x120, id)], false))
}

/// A pending response when it has a data set, else the last.
pub(super) fn find_rsp(id: u16, set: Option<&[u8]>) -> Vec<u8> {
    let status = if set.is_some() { 0xff00 } else { 0 };
    let elements = [us(0x120, id), us(0x900, status)];
    let mut stream = data(5, 3, &command(0x8020, &elements, set.is_some()));
    if let Some(set) = set {
        stream.extend(data(5, 2, set));
    }
    stream
}

pub(super) fn event_report(id: u16, set: &[u8], fragment: usize) -> Vec<u8> {
    let elements = [
        uid(2, MACHINE_CHECK),
        us(0x110, id),
        uid(0x1000, "1.2.840.10008.1.20.1.1"),
        us(0x1002, 1),
    ];
    let mut stream = data(7, 3, &command(0x100, &elements, true));
    stream.extend(fragments(7, set, fragment));
    stream
}

pub(super) fn event_report_rsp(id: u16) -> Vec<u8> {
    data(
        7,
        3,
        &command(0x8100, &[us(0x120, id), us(0x900, 0)], false),
    )
}

/// A small instance with a filling of this many bytes.
pub(super) fn instance(instance: &str, filling: usize) -> Vec<u8> {
    let mut set = explicit(0x0008, 0x0016, b"UI", &padded(ULTRASOUND));
    set.extend(explicit(0x0008, 0x0018, b"UI", &padded(instance)));
    set.extend(explicit(0x0010, 0x0010, b"PN", b"DOE^JANE"));
    set.extend(filled(filling));
    for (element, uid) in [(0x000d, "1.2.826.0.1.1"), (0x000e, "1.2.826.0.1.2")] {
        set.extend(explicit(0x0020, element, b"UI", &padded(uid)));
    }
    set
}

/// A data set of a private element.
pub(super) fn filled(filling: usize) -> Vec<u8> {
    let mut set = explicit(0x0011, 0x0010, b"LO", b"LAZARET TEST");
    let bytes: Vec<u8> = (0..filling).map(|i| (i % 251) as u8).collect();
    set.extend([0x11, 0, 1, 0x10]);
    set.extend(b"OB\0\0");
    set.extend(u32::try_from(filling).unwrap().to_le_bytes());
    set.extend(bytes);
    set
}

pub(super) fn explicit(group: u16, element: u16, vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
    let mut out = group.to_le_bytes().to_vec();
    out.extend(element.to_le_bytes());
    out.extend(vr);
    out.extend(u16::try_from(value.len()).unwrap().to_le_bytes());
    out.extend(value);
    out
}

pub(super) fn command(field: u16, elements: &[(u16, Vec<u8>)], has_data: bool) -> Vec<u8> {
    let mut all = elements.to_vec();
    all.push(us(0x100, field));
    all.push(us(0x800, if has_data { 1 } else { 0x101 }));
    all.sort();
    let mut body = Vec::new();
    for (element, value) in all {
        body.extend(implicit(element, &value));
    }
    let length = u32::try_from(body.len()).unwrap().to_le_bytes();
    [implicit(0, &length), body].concat()
}

fn implicit(element: u16, value: &[u8]) -> Vec<u8> {
    let mut out = vec![0, 0];
    out.extend(element.to_le_bytes());
    out.extend(u32::try_from(value.len()).unwrap().to_le_bytes());
    out.extend(value);
    out
}

pub(super) fn uid(element: u16, value: &str) -> (u16, Vec<u8>) {
    (element, padded(value))
}

pub(super) fn us(element: u16, value: u16) -> (u16, Vec<u8>) {
    (element, value.to_le_bytes().to_vec())
}

pub(super) fn padded(uid: &str) -> Vec<u8> {
    let mut value = uid.as_bytes().to_vec();
    value.resize(value.len().next_multiple_of(2), 0);
    value
}

fn opening(version: u16, called: &str, calling: &str, application: &str) -> Vec<u8> {
    let mut content = version.to_be_bytes().to_vec();
    content.extend([0; 2]);
    content.extend(format!("{called:16}{calling:16}").into_bytes());
    content.extend([0; 32]);
    content.extend(item(0x10, application.as_bytes()));
    content
}

fn user() -> Vec<u8> {
    user_of(16_384)
}

fn user_of(max_length: u32) -> Vec<u8> {
    let mut content = item(0x51, &max_length.to_be_bytes());
    content.extend(item(0x52, b"1.2.3.4"));
    item(0x50, &content)
}

fn item(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![kind, 0];
    out.extend(u16::try_from(content.len()).unwrap().to_be_bytes());
    out.extend(content);
    out
}

fn pdu(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![kind, 0];
    out.extend(u32::try_from(content.len()).unwrap().to_be_bytes());
    out.extend(content);
    out
}
