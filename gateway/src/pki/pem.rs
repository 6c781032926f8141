//! The textual encoding of certificates and requests.
//!
//! In: a text. Out: the one thing in it, in DER, or why not. And the way back.
//= RFC 7468

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// Why a text is not one thing in PEM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// No `-----BEGIN LABEL-----` of this kind.
    #[error("there is no `-----BEGIN {0}-----`")]
    Missing(&'static str),
    /// Something else stands there too.
    #[error("there is something else before, after or instead of it")]
    Else,
    /// Not base64 between the lines.
    #[error("it is not base64 between its first and last line")]
    Base64,
}

/// The one thing with this label in a text, with nothing but white space around it.
///
/// # Errors
/// When there is anything else.
pub fn one(text: &str, label: &'static str) -> Result<Vec<u8>, PemError> {
    let mut all = all(text, label)?;
    match (all.pop(), all.is_empty()) {
        (Some(one), true) => Ok(one),
        (None, _) => Err(PemError::Missing(label)),
        (Some(_), false) => Err(PemError::Else),
    }
}

/// Everything in a text, if all of it has this label.
///
/// # Errors
/// When there is anything else.
pub fn all(text: &str, label: &'static str) -> Result<Vec<Vec<u8>>, PemError> {
    let (begin, end) = (
        format!("-----BEGIN {label}-----"),
        format!("-----END {label}-----"),
    );
    let mut rest = text.trim_ascii();
    if !rest.contains(&begin) {
        return Err(PemError::Missing(label));
    }
    let mut found = Vec::new();
    while !rest.is_empty() {
        let inside = rest.strip_prefix(&begin).ok_or(PemError::Else)?;
        let (inside, after) = inside.split_once(&end).ok_or(PemError::Else)?;
        // It may be a key: a text that grows would leave parts of it behind.
        let mut letters = Zeroizing::new(String::with_capacity(inside.len()));
        letters.extend(inside.split_ascii_whitespace());
        let decoded = STANDARD.decode(letters.as_bytes());
        found.push(decoded.map_err(|_| PemError::Base64)?);
        rest = after.trim_ascii_start();
    }
    Ok(found)
}

/// In PEM, with lines of 64 letters.
#[must_use]
pub fn encode(label: &str, der: &[u8]) -> String {
    let (begin, end) = (
        format!("-----BEGIN {label}-----\n"),
        format!("\n-----END {label}-----\n"),
    );
    let letters = Zeroizing::new(STANDARD.encode(der));
    // It may be a key: a text that grows would leave parts of it behind.
    let lines = letters.len().saturating_add(letters.len() / 64);
    let mut text =
        String::with_capacity(begin.len().saturating_add(lines).saturating_add(end.len()));
    text.push_str(&begin);
    for (position, letter) in letters.chars().enumerate() {
        if position > 0 && position % 64 == 0 {
            text.push('\n');
        }
        text.push(letter);
    }
    text.push_str(&end);
    text
}

/// The label of certificates.
pub const CERTIFICATE: &str = "CERTIFICATE";
/// The label of requests, RFC 2986.
pub const REQUEST: &str = "CERTIFICATE REQUEST";
/// The label of lists of revoked certificates.
pub const CRL: &str = "X509 CRL";
/// The label of private keys in PKCS#8.
pub const PRIVATE_KEY: &str = "PRIVATE KEY";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_beside_it() {
        for length in [0, 1, 47, 48, 49, 96, 97, 1000] {
            let der = vec![0x30; length];
            let text = encode(REQUEST, &der);
            assert!(text.lines().all(|line| line.len() <= 64));
            assert_eq!(one(&text, REQUEST), Ok(der.clone()));
            assert_eq!(
                one(&format!("\r\n {text}\t"), REQUEST),
                Ok(der.clone()),
                "white space"
            );
            assert_eq!(one(&text, CERTIFICATE), Err(PemError::Missing(CERTIFICATE)));
            assert_eq!(one(&format!("x{text}"), REQUEST), Err(PemError::Else));
            assert_eq!(one(&format!("{text}x"), REQUEST), Err(PemError::Else));
            assert_eq!(one(&text.repeat(2), REQUEST), Err(PemError::Else));
            assert_eq!(all(&text.repeat(2), REQUEST), Ok(vec![der.clone(), der]));
            assert_eq!(one(&text[..text.len() - 4], REQUEST), Err(PemError::Else));
        }
        let garbage =
            "-----BEGIN CERTIFICATE REQUEST-----\n!!!!\n-----END CERTIFICATE REQUEST-----";
        assert_eq!(one(garbage, REQUEST), Err(PemError::Base64));
    }
}
