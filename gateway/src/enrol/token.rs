//! The text of a token: `lzt_`, 160 bits of chance with a check of typing errors, and how to know the authority.
//!
//! In: chance, or what somebody typed. Out: a text, or its parts. Pure.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};
use zeroize::Zeroize;

/// A token, as it is handed to whoever enrols a device.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    chance: [u8; CHANCE],
    /// The first bytes of SHA-256 of the authority's certificate.
    authority: Option<[u8; AUTHORITY]>,
}

/// Not the text of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    /// It is something else.
    #[error("not a token: one begins with `{PREFIX}`")]
    Form,
    /// A letter is wrong, missing, or one too many.
    #[error("the token is not typed as it was made")]
    Check,
}

impl Token {
    /// Of random bytes, and the certificate of the authority that its bearer shall know.
    #[must_use]
    pub fn new(chance: [u8; CHANCE], authority: Option<&[u8]>) -> Self {
        let first = |der: &[u8]| {
            let digest: [u8; 32] = Sha256::digest(der).into();
            digest.first_chunk().copied()
        };
        Self {
            chance,
            authority: authority.and_then(first),
        }
    }

    /// By what the registry knows it. Nobody finds the token by it, and nobody can choose it.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"lazaret enrolment token\0");
        hash.update(self.chance);
        hash.finalize().into()
    }

    /// Whether this is the authority that the token was made with; `None` if it was made with none.
    #[must_use]
    pub fn knows(&self, certificate: &[u8]) -> Option<bool> {
        let authority = self.authority?;
        let digest: [u8; 32] = Sha256::digest(certificate).into();
        Some(digest.starts_with(&authority))
    }

    /// What stands behind the prefix.
    fn read(letters: &str) -> Option<Self> {
        if letters.len() > LONGEST {
            return None;
        }
        let bytes = bytes(letters)?;
        let length = bytes.len().checked_sub(CHECK)?;
        let (said, check) = bytes.split_at_checked(length)?;
        let (chance, authority) = said.split_first_chunk()?;
        let authority = match authority.len() {
            0 => None,
            _ => Some(authority.try_into().ok()?),
        };
        (Self::check(said) == check).then_some(Self {
            chance: *chance,
            authority,
        })
    }

    fn check(bytes: &[u8]) -> [u8; CHECK] {
        let mut hash = Sha256::new();
        hash.update(b"lazaret token check\0");
        hash.update(bytes);
        let digest: [u8; 32] = hash.finalize().into();
        digest.first_chunk().copied().unwrap_or_default()
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.chance.zeroize();
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(a token)")
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.chance.to_vec();
        bytes.extend(self.authority.iter().flatten());
        bytes.extend(Self::check(&bytes));
        write!(f, "{PREFIX}{}", letters(&bytes))
    }
}

impl FromStr for Token {
    type Err = InvalidToken;
    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let rest = text.strip_prefix(PREFIX).ok_or(InvalidToken::Form)?;
        Self::read(rest).ok_or(InvalidToken::Check)
    }
}

/// Five bits a letter. All parts have whole bytes, so that nothing is left over but zeros.
fn letters(bytes: &[u8]) -> String {
    let (mut text, mut held, mut bits) = (String::new(), 0_u32, 0_u32);
    for byte in bytes {
        held = held << 8 | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            push(&mut text, held >> bits & 31);
        }
        held &= 31;
    }
    if bits > 0 {
        push(&mut text, held << (5 - bits) & 31);
    }
    text
}

fn push(text: &mut String, number: u32) {
    let letter = usize::try_from(number).ok();
    text.extend(letter.and_then(|at| LETTERS.chars().nth(at)));
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut held, mut bits) = (Vec::new(), 0_u32, 0_u32);
    for letter in text.chars() {
        let number = LETTERS.chars().position(|one| one == letter)?;
        held = held << 5 | u32::try_from(number).ok()?;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits & 255).ok()?);
            held &= (1 << bits) - 1;
        }
    }
    // Each token has one text.
    (held == 0 && bits < 5).then_some(bytes)
}

/// How every token begins, so that one that lies about is found.
pub const PREFIX: &str = "lzt_";
/// Random bytes.
pub const CHANCE: usize = 20;
const AUTHORITY: usize = 16;
const CHECK: usize = 4;
/// Letters after the prefix.
const LONGEST: usize = 64;
/// Without those that are taken for others: i, l, o, u.
const LETTERS: &str = "0123456789abcdefghjkmnpqrstvwxyz";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_written_and_no_other_way() {
        for authority in [None, Some(&b"certificate"[..])] {
            for number in 0..=255 {
                let token = Token::new([number; CHANCE], authority);
                let text = token.to_string();
                assert!(text.len() <= PREFIX.len() + LONGEST);
                assert_eq!(text.parse(), Ok(token.clone()));
                assert_eq!(token.knows(b"certificate"), authority.map(|_| true));
                assert_eq!(token.knows(b"other"), authority.map(|_| false));
                for at in PREFIX.len()..text.len() {
                    let mut wrong = text.clone().into_bytes();
                    wrong[at] = if wrong[at] == b'7' { b'8' } else { b'7' };
                    let wrong = String::from_utf8(wrong).unwrap();
                    assert_eq!(wrong.parse::<Token>(), Err(InvalidToken::Check), "{wrong}");
                }
                let longer = format!("{text}{}", "0".repeat(LONGEST)).parse::<Token>();
                assert_eq!(longer, Err(InvalidToken::Check));
                let shorter = &text[..text.len() - 1];
                for wrong in [
                    shorter,
                    &text[1..],
                    &format!("{text}0"),
                    &text.to_uppercase(),
                ] {
                    assert!(wrong.parse::<Token>().is_err(), "{wrong}");
                }
            }
        }
        for wrong in [
            "",
            "lzt_",
            "lzt_\u{e9}",
            &format!("lzt_{}", "0".repeat(10_000)),
        ] {
            assert!(wrong.parse::<Token>().is_err());
        }
    }

    #[test]
    fn nothing_of_it_is_printed_or_kept() {
        let token = Token::new([7; CHANCE], None);
        assert_eq!(format!("{token:?}"), "(a token)");
        assert_ne!(token.hash(), Token::new([8; CHANCE], None).hash());
        let known = Token::new([7; CHANCE], Some(b"certificate"));
        assert_eq!(token.hash(), known.hash(), "it is the chance that counts");
    }
}
