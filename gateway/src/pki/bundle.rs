//! Certificates without signatures in a message of CMS, as EST hands them out ("certs-only").
//!
//! In: certificates in DER. Out: the message in DER, and the way back.
//! Reads no more of a message than the certificates in it; who believes them decides elsewhere.
//= RFC 5652 5.1
//= RFC 7030 4.1.3

use x509_cert::der::asn1::{Any, ContextSpecific, ObjectIdentifier};
use x509_cert::der::{Decode, Encode, Header, Length, Reader, SliceReader, Tag, TagNumber};

/// Not a message with certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not certificates in a message of CMS")]
pub struct NotABundle;

/// The message with these certificates.
///
/// # Errors
/// When one of them is too long for the form.
pub fn write(certificates: &[Vec<u8>]) -> Result<Vec<u8>, NotABundle> {
    let data = SIGNED_ID.to_der().map_err(|_| NotABundle)?;
    let inner = DATA.to_der().map_err(|_| NotABundle)?;
    let signed = [
        vec![2, 1, 1],
        wrap(EMPTY_SET, &[])?,
        wrap(SEQUENCE, &inner)?,
        wrap(FIRST, &certificates.concat())?,
        wrap(EMPTY_SET, &[])?,
    ];
    let signed = wrap(FIRST, &wrap(SEQUENCE, &signed.concat())?)?;
    wrap(SEQUENCE, &[data, signed].concat())
}

/// The certificates of a message, in its order.
///
/// # Errors
/// When it is none, or has none.
pub fn read(message: &[u8]) -> Result<Vec<Vec<u8>>, NotABundle> {
    if message.len() > LONGEST {
        return Err(NotABundle);
    }
    parse(message).map_err(|_| NotABundle)
}

fn parse(message: &[u8]) -> Result<Vec<Vec<u8>>, x509_cert::der::Error> {
    let content = inside(&Any::from_der(message)?, Tag::Sequence)?;
    let mut content = SliceReader::new(&content)?;
    let kind = ObjectIdentifier::decode(&mut content)?;
    let signed = ContextSpecific::<Any>::decode(&mut content)?;
    if kind != SIGNED_ID || signed.tag_number != TagNumber(0) {
        return Err(x509_cert::der::ErrorKind::Failed.into());
    }
    let signed = inside(&signed.value, Tag::Sequence)?;
    let mut reader = SliceReader::new(&signed)?;
    let mut found = Vec::new();
    while !reader.is_finished() {
        let part = Any::decode(&mut reader)?;
        let certificates = Tag::ContextSpecific {
            constructed: true,
            number: TagNumber(0),
        };
        if x509_cert::der::Tagged::tag(&part) != certificates {
            continue;
        }
        let mut list = SliceReader::new(part.value())?;
        while !list.is_finished() {
            found.push(Any::decode(&mut list)?.to_der()?);
        }
    }
    if found.is_empty() || found.len() > MOST {
        return Err(x509_cert::der::ErrorKind::Failed.into());
    }
    Ok(found)
}

fn inside(any: &Any, tag: Tag) -> Result<Vec<u8>, x509_cert::der::Error> {
    if x509_cert::der::Tagged::tag(any) != tag {
        return Err(x509_cert::der::ErrorKind::Failed.into());
    }
    Ok(any.value().to_vec())
}

fn wrap(tag: Tag, content: &[u8]) -> Result<Vec<u8>, NotABundle> {
    let length = Length::try_from(content.len()).map_err(|_| NotABundle)?;
    let mut bytes = Header::new(tag, length).to_der().map_err(|_| NotABundle)?;
    bytes.extend_from_slice(content);
    Ok(bytes)
}

const SIGNED_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
const SEQUENCE: Tag = Tag::Sequence;
const EMPTY_SET: Tag = Tag::Set;
const FIRST: Tag = Tag::ContextSpecific {
    constructed: true,
    number: TagNumber(0),
};
/// Bytes of a message.
//= C7
pub const LONGEST: usize = 128 << 10;
/// Certificates in a message.
//= C7
const MOST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(length: usize) -> Vec<u8> {
        wrap(SEQUENCE, &wrap(Tag::OctetString, &vec![7; length]).unwrap()).unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        for lengths in [&[1][..], &[100, 200, 70_000], &[0, 127, 128, 255, 256]] {
            let all: Vec<Vec<u8>> = lengths.iter().map(|length| sequence(*length)).collect();
            let message = write(&all).unwrap();
            assert_eq!(read(&message), Ok(all));
            for end in [0, 1, 10, message.len() - 1] {
                assert!(read(&message[..end]).is_err());
            }
            let longer = [&message[..], b"\0"].concat();
            assert!(read(&longer).is_err());
        }
        assert!(read(&write(&[]).unwrap()).is_err());
        assert!(read(&sequence(5)).is_err());
        assert!(read(&vec![0x30; LONGEST + 1]).is_err());
    }
}
