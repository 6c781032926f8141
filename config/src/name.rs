//! Names of things: lower-case letters, digits, `-`, `_` and `.`, beginning with a letter or digit, at most 63 bytes.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Arc<str>);

        impl $type {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// A name that stands in no file, because no name there has such letters.
            #[allow(dead_code, reason = "not every kind of name has such")]
            pub(crate) fn reserved(name: &str) -> Self {
                Self(name.into())
            }
        }
        impl TryFrom<String> for $type {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                check(&text)?;
                Ok(Self(text.into()))
            }
        }
        impl std::str::FromStr for $type {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::try_from(text.to_owned())
            }
        }
        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0.as_ref().to_owned()
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

name!(
    /// The name of a `[device.NAME]`.
    DeviceName
);
name!(
    /// The name of a role: named by devices, used by rules; `[role.NAME]` may describe it.
    RoleName
);
name!(
    /// The name of a `[service.NAME]`.
    ServiceName
);
name!(
    /// The name of a `[rule.NAME]`.
    RuleName
);
name!(
    /// The name of a `[profile.NAME]`.
    ProfileName
);

/// A name that cannot be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name has 1 to 63 of a-z, 0-9, '-', '_' and '.', and begins with a letter or digit")]
pub struct InvalidName;

fn check(text: &str) -> Result<(), InvalidName> {
    let first = text.bytes().next().ok_or(InvalidName)?;
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    if text.len() <= 63
        && good(first)
        && text
            .bytes()
            .all(|b| good(b) || matches!(b, b'-' | b'_' | b'.'))
    {
        Ok(())
    } else {
        Err(InvalidName)
    }
}
