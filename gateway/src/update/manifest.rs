//! What an update says of itself.
//!
//! In: signed bytes. Out: a [`Manifest`] of which every name, size and hash is possible, or why not.
//! Nothing is read before its signature is verified. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::keys::Keys;
use super::refusal::Refusal;
use super::version::Version;

/// An update: which version of what, and its three files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Manifest {
    /// Of the image.
    pub version: Version,
    /// `vm` or `metal`.
    pub flavour: String,
    /// When it was made, in its own words.
    pub created: String,
    /// In the order of [`Role::ALL`].
    pub files: Vec<Payload>,
}

/// One file of an update.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Payload {
    /// What it is.
    pub role: Role,
    /// `lazaret_VERSION.….raw` or `lazaret_VERSION.efi`.
    pub name: String,
    /// In bytes.
    pub size: u64,
    /// SHA-256.
    #[serde(serialize_with = "as_hex")]
    pub sha256: [u8; 32],
}

/// The parts of an image that an update replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The hash tree of the root file system.
    RootVerity,
    /// The root file system.
    Root,
    /// Kernel, initrd and command line, which names the root's hash.
    Uki,
}

impl Role {
    /// In the order in which they are written: what starts the others comes last.
    pub const ALL: [Self; 3] = [Self::RootVerity, Self::Root, Self::Uki];

    /// As in the manifest.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RootVerity => "root-verity",
            Self::Root => "root",
            Self::Uki => "uki",
        }
    }

    //= C7
    fn most(self) -> u64 {
        match self {
            Self::RootVerity => 64 << 20,
            Self::Root => 2 << 30,
            Self::Uki => 256 << 20,
        }
    }

    /// Whether a file may have this name: no other can become a path, or a file of another version.
    fn takes(self, name: &str, version: &Version) -> bool {
        let Some(rest) = name.strip_prefix(&format!("{PRODUCT}_{version}")) else {
            return false;
        };
        match self {
            Self::Uki => rest == ".efi",
            Self::Root | Self::RootVerity => {
                let uuid = rest.strip_prefix(&format!(".{}.", self.name()));
                uuid.and_then(|rest| rest.strip_suffix(".raw"))
                    .is_some_and(is_uuid)
            }
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Manifest {
    /// Reads a manifest, if it is signed by one of the keys and meant for this kind of machine.
    ///
    /// # Errors
    /// As [`Refusal`] names them.
    pub fn read(
        bytes: &[u8],
        signature: Option<&[u8]>,
        keys: &Keys,
        flavour: &str,
    ) -> Result<Self, Refusal> {
        if bytes.len() > MOST_BYTES {
            return Err(Refusal::ManifestTooLong { max: MOST_BYTES });
        }
        keys.verify(bytes, signature)?;
        let raw: Raw =
            serde_json::from_slice(bytes).map_err(|e| Refusal::Manifest(e.to_string()))?;
        if raw.product != PRODUCT {
            return Err(Refusal::Product);
        }
        if raw.flavour != flavour {
            return Err(Refusal::Flavour {
                offered: raw.flavour,
                here: flavour.to_owned(),
            });
        }
        let (version, mut files) = (raw.version, Vec::new());
        for role in Role::ALL {
            let mut own = raw.files.iter().filter(|file| file.role == role);
            let file = own.next().ok_or(Refusal::Missing(role))?;
            if own.next().is_some() {
                return Err(Refusal::Twice(role));
            }
            if !role.takes(&file.name, &version) {
                return Err(Refusal::Name(role));
            }
            let (size, max) = (file.size, role.most());
            if size == 0 || size > max {
                return Err(Refusal::Size { role, size, max });
            }
            files.push(Payload {
                role,
                name: file.name.clone(),
                size,
                sha256: hex(&file.sha256)
                    .ok_or_else(|| Refusal::Manifest(format!("the hash for {role} is none")))?,
            });
        }
        Ok(Self {
            version,
            flavour: raw.flavour,
            created: raw.created,
            files,
        })
    }

    /// Bytes of all files.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// The file for a part.
    #[must_use]
    pub fn file(&self, role: Role) -> Option<&Payload> {
        self.files.iter().find(|file| file.role == role)
    }
}

/// As it is written. What a later version adds is not an error.
#[derive(Deserialize)]
struct Raw {
    product: String,
    flavour: String,
    version: Version,
    #[serde(default)]
    created: String,
    files: Vec<RawFile>,
}

#[derive(Deserialize)]
struct RawFile {
    name: String,
    size: u64,
    sha256: String,
    role: Role,
}

/// As systemd-repart writes the UUID of a partition into a file's name: 32 digits, no hyphens.
fn is_uuid(text: &str) -> bool {
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == 32 && text.bytes().all(digit)
}

/// 64 digits.
fn hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != bytes.len() || !rest.is_empty() || text.contains('+') {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

fn as_hex<S: serde::Serializer>(hash: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    let text: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    serializer.serialize_str(&text)
}

/// The image's own name, `IMAGE_ID` of os-release.
pub const PRODUCT: &str = "lazaret";
/// Longest manifest.
//= C7
pub const MOST_BYTES: usize = 64 << 10;

#[cfg(test)]
pub(super) mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::update::keys::tests::{pair, pem};

    pub(in crate::update) const UUID: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";

    fn good() -> Value {
        let file = |role: &str, name: &str| json!({"role": role, "name": name, "size": 4096, "sha256": "ab".repeat(32)});
        json!({"product": "lazaret", "flavour": "vm", "version": "2", "created": "2026-11-22", "files": [
            file("uki", "lazaret_2.efi"),
            file("root", &format!("lazaret_2.root.{UUID}.raw")),
            file("root-verity", &format!("lazaret_2.root-verity.{UUID}.raw")),
        ]})
    }

    fn read(manifest: &[u8]) -> Result<Manifest, Refusal> {
        let (ours, keys) = (pair(1), Keys::from_pem(&pem(&pair(1))).unwrap());
        let signature = ours.sign(manifest);
        Manifest::read(manifest, Some(signature.as_ref()), &keys, "vm")
    }

    fn changed(pointer: &str, value: impl Into<Value>) -> Result<Manifest, Refusal> {
        let mut manifest = good();
        *manifest.pointer_mut(pointer).unwrap() = value.into();
        read(manifest.to_string().as_bytes())
    }

    #[test]
    fn a_good_manifest_is_read() {
        let mut manifest = good();
        manifest["later"] = json!({"unknown": 1});
        let manifest = read(manifest.to_string().as_bytes()).unwrap();
        assert_eq!(manifest.version.to_string(), "2");
        assert_eq!(manifest.size(), 3 * 4096);
        let roles: Vec<Role> = manifest.files.iter().map(|file| file.role).collect();
        assert_eq!(roles, Role::ALL);
    }

    #[test]
    fn refusals_have_their_names() {
        for (pointer, value, code) in [
            ("/product", json!("gateway"), "wrong-product"),
            ("/flavour", json!("metal"), "wrong-flavour"),
            ("/version", json!("2-1"), "bad-manifest"),
            ("/version", json!("3"), "bad-file-name"),
            ("/files/0/name", json!("../lazaret_2.efi"), "bad-file-name"),
            ("/files/0/name", json!("lazaret_2+3-0.efi"), "bad-file-name"),
            (
                "/files/1/name",
                json!("lazaret_2.root.x.raw"),
                "bad-file-name",
            ),
            (
                "/files/1/name",
                json!("lazaret_2.root.0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0.raw"),
                "bad-file-name",
            ),
            ("/files/0/role", json!("root"), "duplicate-role"),
            ("/files/0/role", json!("firmware"), "bad-manifest"),
            ("/files/0/size", json!(0), "bad-size"),
            ("/files/0/size", json!((256_u64 << 20) + 1), "bad-size"),
            ("/files/1/size", json!(u64::MAX), "bad-size"),
            ("/files/0/size", json!(-1), "bad-manifest"),
            ("/files/0/sha256", json!("ab"), "bad-manifest"),
            ("/files/0/sha256", json!("+b".repeat(32)), "bad-manifest"),
            ("/files", json!([]), "missing-role"),
        ] {
            let refused = changed(pointer, value).map_err(|refusal| refusal.code());
            // Root is looked for before the UKI: two of it show first.
            assert_eq!(refused.map(|_| ()), Err(code), "{pointer}");
        }
        assert!(changed("/files/0/size", 256_u64 << 20).is_ok());
    }

    #[test]
    fn nothing_is_read_that_is_not_signed() {
        let keys = Keys::from_pem(&pem(&pair(1))).unwrap();
        let text = good().to_string();
        let read = |bytes: &[u8], signature: Option<&[u8]>| {
            Manifest::read(bytes, signature, &keys, "vm")
                .map(|_| ())
                .map_err(|refusal| refusal.code())
        };
        let (ours, theirs) = (pair(1).sign(text.as_bytes()), pair(2).sign(text.as_bytes()));
        assert_eq!(read(text.as_bytes(), Some(ours.as_ref())), Ok(()));
        assert_eq!(read(text.as_bytes(), None), Err("unsigned"));
        assert_eq!(
            read(text.as_bytes(), Some(theirs.as_ref())),
            Err("wrong-signature")
        );
        assert_eq!(read(b"not even JSON", None), Err("unsigned"));
        let long = vec![b' '; MOST_BYTES + 1];
        let signature = pair(1).sign(&long);
        assert_eq!(
            read(&long, Some(signature.as_ref())),
            Err("manifest-too-long")
        );
    }
}
