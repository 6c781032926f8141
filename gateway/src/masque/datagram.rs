//! HTTP datagrams: which tunnel, which context, and the packet (RFC 9297 2.1, RFC 9484 6).
//!
//! In: the content of a datagram of QUIC. Out: the stream of its request and an IP packet.

use super::error::{Code, Error};
use super::varint;

/// The context of whole IP packets.
const PACKETS: u64 = 0;

/// What a datagram of QUIC holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'b> {
    /// The stream of the request that it belongs to.
    pub stream: u64,
    /// The rest: a context and its payload.
    pub content: &'b [u8],
}

/// Takes a datagram of QUIC apart.
///
/// # Errors
/// When it names no stream that there can be; of the connection.
pub fn read(bytes: &[u8]) -> Result<Datagram<'_>, Error> {
    let wrong = |why| Error::connection(Code::Datagram, why);
    let mut content = bytes;
    let quarter = varint::take(&mut content)
        .ok_or_else(|| wrong("a datagram is too short for the number of its stream"))?;
    if quarter > varint::MAX >> 2 {
        return Err(wrong("a datagram names a stream that there cannot be"));
    }
    Ok(Datagram {
        stream: quarter << 2,
        content,
    })
}

/// The packet in an HTTP datagram; nothing when it belongs to a context that nobody opened.
///
/// # Errors
/// When the context is cut short; why.
pub fn packet(content: &[u8]) -> Result<Option<&[u8]>, &'static str> {
    let mut rest = content;
    match varint::take(&mut rest) {
        Some(PACKETS) => Ok(Some(rest)),
        Some(_) => Ok(None),
        None => Err("an HTTP datagram is too short for its context"),
    }
}

/// Writes what stands before a packet in a datagram of QUIC: one byte for the number of the first stream, one for the context.
pub fn write_head(stream: u64, out: &mut Vec<u8>) {
    varint::write(stream >> 2, out);
    varint::write(PACKETS, out);
}

/// An HTTP datagram with a packet, for a capsule.
#[must_use]
pub fn content(packet: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(packet.len() + 1);
    varint::write(PACKETS, &mut out);
    out.extend(packet);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_malformed_datagram_beside_its_twin() {
        let good = [0x01, 0x00, 0x45];
        let datagram = read(&good).unwrap();
        assert_eq!(datagram.stream, 4);
        assert_eq!(packet(datagram.content), Ok(Some(&[0x45][..])));
        assert_eq!(packet(&[0]), Ok(Some(&[][..])));
        assert_eq!(packet(&[2, 0x45]), Ok(None), "another context");
        assert!(packet(&[]).is_err());
        assert!(packet(&[0x40]).is_err());
        assert_eq!(read(&[]).map_err(|error| error.code), Err(Code::Datagram));
        assert!(read(&[0x40]).is_err());
        let largest = [0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(read(&largest).unwrap().stream, varint::MAX - 3);
        let beyond = [0xd0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(
            read(&beyond).map_err(|error| error.code),
            Err(Code::Datagram)
        );
    }

    #[test]
    fn what_is_written_is_read() {
        for stream in [0, 4, 0x100, 0x1_0000] {
            let mut bytes = Vec::new();
            write_head(stream, &mut bytes);
            bytes.extend([0x45, 1]);
            let datagram = read(&bytes).unwrap();
            assert_eq!(datagram.stream, stream);
            assert_eq!(packet(datagram.content), Ok(Some(&[0x45, 1][..])));
        }
        assert_eq!(packet(&content(&[7])), Ok(Some(&[7][..])));
    }
}
