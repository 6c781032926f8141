//! WireGuard public keys in base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::problem::Fault;
use crate::section::Text;

/// A static public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PublicKey(pub(crate) [u8; 32]);

impl Text for PublicKey {
    const WHAT: &'static str = "a WireGuard public key: 44 characters of base64";
    fn parse(text: &str) -> Result<Self, Fault> {
        let bytes = STANDARD
            .decode(text)
            .map_err(|_| Fault::new("not base64").help(Self::WHAT))?;
        let length = bytes.len();
        let key: [u8; 32] = bytes.try_into().map_err(|_| {
            Fault::new(format!("a key has 32 bytes, this has {length}")).help(Self::WHAT)
        })?;
        if key == [0; 32] {
            return Err(Fault::new("the key of all zeros is nobody's"));
        }
        Ok(Self(key))
    }
}
