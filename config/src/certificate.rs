//! Reads certificates in PEM.
//!
//! In: a path or text. Out: the certificates in DER, as far as their envelope can be told, or why there are none.
//! Does not judge signatures, names or dates.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Why a file gives no certificates.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// It is not there, or we may not read it.
    #[error("cannot read the certificate file: {0}")]
    Read(#[source] io::Error),
    /// A directory, socket, pipe or device.
    #[error("the certificate file is not a regular file")]
    NotRegular,
    /// A root certificate has a few kilobytes.
    #[error("the certificates are longer than 64 KiB")]
    TooLong,
    /// Somebody gave away the key with the certificate.
    #[error("there is a private key beside the certificate")]
    PrivateKey,
    /// No certificate inside.
    #[error("there is no certificate in PEM")]
    None,
    /// Something between the lines is not what they announce.
    #[error("certificate {number} is damaged")]
    Damaged {
        /// From 1.
        number: usize,
    },
}

/// Reads a file with one or more certificates.
///
/// # Errors
/// When it is anything else.
pub fn read_certificates(path: &Path) -> Result<Vec<Vec<u8>>, CertificateError> {
    certificates(&read(path)?)
}

/// Reads a file with a key of our own and its certificates, as a machine keeps them.
///
/// # Errors
/// When it has no certificates, or damaged ones.
pub fn read_own_certificates(path: &Path) -> Result<Vec<Vec<u8>>, CertificateError> {
    in_text(&read(path)?)
}

fn read(path: &Path) -> Result<String, CertificateError> {
    // Opening a pipe would wait for its other end.
    let metadata = std::fs::metadata(path).map_err(CertificateError::Read)?;
    if !metadata.is_file() {
        return Err(CertificateError::NotRegular);
    }
    let file = File::open(path).map_err(CertificateError::Read)?;
    let mut text = Vec::new();
    let limit = u64::try_from(LONGEST).unwrap_or(u64::MAX);
    file.take(limit.saturating_add(1))
        .read_to_end(&mut text)
        .map_err(CertificateError::Read)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The certificates of a text, in DER.
///
/// # Errors
/// When there is none, one is damaged, or there is a private key.
pub fn certificates(text: &str) -> Result<Vec<Vec<u8>>, CertificateError> {
    if text.contains("PRIVATE KEY-----") {
        return Err(CertificateError::PrivateKey);
    }
    in_text(text)
}

fn in_text(text: &str) -> Result<Vec<Vec<u8>>, CertificateError> {
    if text.len() > LONGEST {
        return Err(CertificateError::TooLong);
    }
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(BEGIN) {
        let number = found.len().saturating_add(1);
        let damaged = CertificateError::Damaged { number };
        let Some((body, after)) = after.split_once(END) else {
            return Err(damaged);
        };
        rest = after;
        let packed: String = body.split_ascii_whitespace().collect();
        match STANDARD.decode(packed) {
            Ok(der) if is_sequence(&der) => found.push(der),
            Ok(_) | Err(_) => return Err(damaged),
        }
    }
    if found.is_empty() {
        return Err(CertificateError::None);
    }
    Ok(found)
}

/// Whether the bytes are one SEQUENCE of X.690, whole.
fn is_sequence(der: &[u8]) -> bool {
    let Some((&0x30, rest)) = der.split_first() else {
        return false;
    };
    let Some((&first, rest)) = rest.split_first() else {
        return false;
    };
    let (length, body) = match first {
        0x81 | 0x82 => {
            let Some((length, body)) = rest.split_at_checked(usize::from(first & 0x7f)) else {
                return false;
            };
            let number = |sum: usize, byte: &u8| (sum << 8) | usize::from(*byte);
            (length.iter().fold(0, number), body)
        }
        short => (usize::from(short), rest),
    };
    first <= 0x82 && first != 0x80 && length == body.len() && length > 0
}

/// Longest text in bytes. //= C7
const LONGEST: usize = 64 << 10;
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(der: &[u8]) -> String {
        format!("{BEGIN}\n{}\n{END}\n", STANDARD.encode(der))
    }

    #[test]
    fn finds_certificates_and_nothing_else() {
        let one = [&[0x30, 0x82, 0x01, 0x00][..], &[7; 256]].concat();
        let two = [&[0x30, 0x03][..], &[1; 3]].concat();
        let both = format!("# the root\n{}and\r\n{}", pem(&one), pem(&two));
        assert_eq!(certificates(&both).unwrap(), [one.clone(), two]);
        let cut = pem(&one).replace(END, "");
        let longer = pem(&[&one[..], &[0]].concat());
        for bad in [
            "",
            "certificate",
            &cut,
            &longer,
            &pem(&[0x31, 1, 1]),
            &pem(&[]),
        ] {
            assert!(certificates(bad).is_err(), "{bad}");
        }
        let key = format!("{}-----BEGIN PRIVATE KEY-----\n", pem(&one));
        assert!(matches!(
            certificates(&key),
            Err(CertificateError::PrivateKey)
        ));
        assert!(matches!(
            certificates(&"x".repeat(LONGEST + 1)),
            Err(CertificateError::TooLong)
        ));
    }
}
