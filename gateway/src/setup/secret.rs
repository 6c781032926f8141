//! The console's password and the tunnel's key: how they are made and compared. Randomness is an argument.

use std::time::Duration;

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::tunnel::noise::Boring;

/// The hash of a password as a PHC string of Argon2id; `None` if the library refuses, which it has no reason to.
#[must_use]
pub fn hash(password: &[u8], salt: &[u8; 16]) -> Option<String> {
    let salt = SaltString::encode_b64(salt).ok()?;
    let hash = hasher()?.hash_password(password, &salt).ok()?;
    Some(hash.to_string())
}

/// Whether a password is the one of a hash. A hash that asks for more than ours would is nobody's.
#[must_use]
pub fn verify(password: &[u8], hash: &str) -> bool {
    let Ok(hash) = PasswordHash::new(hash.trim()) else {
        return false;
    };
    let modest = Params::try_from(&hash).is_ok_and(|params| {
        params.m_cost() <= MEMORY_KIB && params.t_cost() <= PASSES && params.p_cost() == 1
    });
    let Some(argon) = hasher() else {
        return false;
    };
    modest && argon.verify_password(password, &hash).is_ok()
}

/// How long the next try must wait after so many wrong ones in a row: nothing, then a second, and twice as long each time.
#[must_use]
pub fn delay(failures: u32) -> Duration {
    let seconds = match failures {
        0 => 0,
        some => 1u64 << some.saturating_sub(1).min(63),
    };
    Duration::from_secs(seconds).min(LONGEST_DELAY)
}

/// A private key of WireGuard from 32 random bytes, as `wg genkey` makes it.
#[must_use]
pub fn private_key(mut random: Zeroizing<[u8; 32]>) -> Zeroizing<[u8; 32]> {
    let [first, .., last] = &mut *random;
    *first &= 0xf8;
    *last = (*last & 0x7f) | 0x40;
    random
}

/// A line of base64.
#[must_use]
pub fn key_line(key: &[u8; 32]) -> Zeroizing<String> {
    let mut line = STANDARD.encode(key);
    line.push('\n');
    Zeroizing::new(line)
}

/// The public key of a private one, in base64.
#[must_use]
pub fn public_key(private: &[u8; 32]) -> String {
    STANDARD.encode(Boring::new(Zeroizing::new(*private)).public_key())
}

fn hasher() -> Option<Argon2<'static>> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).ok()?;
    Some(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// Memory of a hash, as the OWASP recommends for Argon2id: 19 MiB. //= C7
const MEMORY_KIB: u32 = 19 * 1024;
/// Passes over it.
const PASSES: u32 = 2;
/// A wrong password never locks out for longer: whoever stands at the machine can also switch it off.
const LONGEST_DELAY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_a_password_by_its_hash() {
        let hashed = hash(b"correct horse", &[7; 16]).unwrap();
        assert!(
            hashed.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hashed}"
        );
        assert!(verify(b"correct horse", &format!("{hashed}\n")));
        assert_ne!(hashed, hash(b"correct horse", &[8; 16]).unwrap());
        for wrong in ["correct hors", "correct horse ", ""] {
            assert!(!verify(wrong.as_bytes(), &hashed), "{wrong}");
        }
        for bomb in [
            "",
            "x",
            "$argon2id$v=19$m=4194304,t=2,p=1$c2FsdHNhbHRzYWx0$AAAA",
            "$argon2id$v=19$m=8,t=4000000000,p=1$c2FsdHNhbHRzYWx0$AAAA",
        ] {
            assert!(!verify(b"correct horse", bomb), "{bomb}");
        }
    }

    #[test]
    fn waits_longer_after_each_failure() {
        let seconds = [0, 1, 2, 3, 4, 7, 8, 100].map(|failures| delay(failures).as_secs());
        assert_eq!(seconds, [0, 1, 2, 4, 8, 60, 60, 60]);
    }

    #[test]
    fn makes_keys_like_wireguard() {
        let key = private_key(Zeroizing::new([0xff; 32]));
        assert_eq!((key[0], key[31]), (0xf8, 0x7f));
        let key = private_key(Zeroizing::new([0; 32]));
        assert_eq!((key[0], key[31]), (0, 0x40));
        assert_eq!(key_line(&key).len(), 45);
        // RFC 7748 6.1: Alice's keys.
        let alice = STANDARD
            .decode("dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=")
            .unwrap();
        let public = public_key(&alice.try_into().unwrap());
        assert_eq!(public, "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=");
    }
}
