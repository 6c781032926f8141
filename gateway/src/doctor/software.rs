//! What is installed: its version, the key of its updates, its units, its clock.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::boot::{not_applicable, worse};
use super::facts::{Facts, Form, OS_RELEASE, Seen, TIMESYNC, setting};
use super::report::{Item, Verdict};

pub(super) fn judge(facts: &Facts, items: &mut Vec<Item>) {
    items.push(version(facts));
    items.push(sbom(facts));
    items.push(update_key(facts));
    for unit in &UNITS {
        items.push(state(facts, unit));
    }
    items.push(clock(facts));
}

fn version(facts: &Facts) -> Item {
    let (id, right) = ("software.version", "an image of lazaret with a version");
    if facts.form == Form::Server {
        return not_applicable(id, right);
    }
    let (verdict, found) = match facts.text(OS_RELEASE) {
        Seen::Known(text) => match (setting(text, "IMAGE_ID"), setting(text, "IMAGE_VERSION")) {
            (Some("lazaret"), Some(version)) => {
                let variant = setting(text, "VARIANT_ID").unwrap_or("of unknown flavour");
                (Verdict::Ok, format!("lazaret {version} {variant}"))
            }
            _ => (Verdict::Bad, "an image of something else".to_owned()),
        },
        Seen::Absent => (Verdict::Unknown, "there is no /etc/os-release".to_owned()),
        Seen::Unreadable(why) => (Verdict::Unknown, why),
    };
    Item::new(id, verdict, &found, right)
}

fn sbom(facts: &Facts) -> Item {
    let (id, right) = (
        "software.sbom",
        "the list of what is shipped lies beside it",
    );
    if facts.form == Form::Server {
        return not_applicable(id, right);
    }
    let (verdict, found) = match facts.bytes(SBOM) {
        Seen::Known([]) => (Verdict::Warn, "empty".to_owned()),
        Seen::Known(_) => (Verdict::Ok, SBOM.to_owned()),
        Seen::Absent => (Verdict::Warn, "missing".to_owned()),
        Seen::Unreadable(why) => (Verdict::Unknown, why),
    };
    Item::new(id, verdict, &found, right)
}

/// To be compared with what the maintainers publish; nothing here can tell a right key from a wrong one.
fn update_key(facts: &Facts) -> Item {
    let (id, right) = ("update.key", "the fingerprint that the maintainers publish");
    if facts.form == Form::Server {
        return not_applicable(id, right);
    }
    let (verdict, found) = match facts.text(UPDATE_KEY) {
        Seen::Known(text) => match fingerprints(text) {
            Some(prints) => (Verdict::Ok, prints.join(", ")),
            None => (
                Verdict::Bad,
                "not only Ed25519 public keys in PEM".to_owned(),
            ),
        },
        Seen::Absent => (
            Verdict::Bad,
            "there is no key: no update can be verified".to_owned(),
        ),
        Seen::Unreadable(why) => (Verdict::Unknown, why),
    };
    Item::new(id, verdict, &found, right)
}

/// SHA-256 of each key in DER, as `openssl pkey -pubin -outform DER | sha256sum` prints it.
fn fingerprints(text: &str) -> Option<Vec<String>> {
    let mut prints = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("-----BEGIN PUBLIC KEY-----") {
        let (body, after) = after.split_once("-----END PUBLIC KEY-----")?;
        rest = after;
        let body: String = body.split_whitespace().collect();
        let der = STANDARD.decode(body).ok()?;
        if der.len() != ED25519_LENGTH || !der.starts_with(&ED25519) {
            return None;
        }
        let mut print = "ed25519 sha256:".to_owned();
        for byte in Sha256::digest(&der) {
            // Writing to a string does not fail.
            let _ = write!(print, "{byte:02x}");
        }
        prints.push(print);
    }
    (!prints.is_empty() && !rest.contains("-----")).then_some(prints)
}

/// A unit of ours and how it should be.
struct Unit {
    name: &'static str,
    /// Must run, or must have run; otherwise it must only not have failed.
    active: bool,
    /// Of use on a server too.
    server: bool,
}

fn state(facts: &Facts, unit: &Unit) -> Item {
    let id = format!("unit.{}", unit.name);
    let right = if unit.active { "active" } else { "not failed" };
    if facts.form == Form::Server && !unit.server {
        return not_applicable(&id, right);
    }
    let text = match facts.units.as_ref() {
        Seen::Known(text) => text,
        Seen::Absent => return Item::new(id, Verdict::Unknown, "there is no systemd", right),
        Seen::Unreadable(why) => return Item::new(id, Verdict::Unknown, &why, right),
    };
    // `systemctl show` prints the properties of each unit, and an empty line between two.
    let block = text
        .split("\n\n")
        .find(|block| setting(block, "Id") == Some(unit.name));
    let property = |name| block.and_then(|block| setting(block, name));
    let (Some(load), Some(active)) = (property("LoadState"), property("ActiveState")) else {
        return Item::new(id, Verdict::Unknown, "systemd does not say", right);
    };
    let verdict = match (load, active) {
        ("loaded", "failed") => Verdict::Bad,
        ("loaded", "active" | "reloading" | "activating") => Verdict::Ok,
        ("loaded", _) if !unit.active => Verdict::Ok,
        _ => worse(facts.form),
    };
    Item::new(id, verdict, &format!("{load}, {active}"), right)
}

fn clock(facts: &Facts) -> Item {
    let right = "the clock follows a server: hours of rules, records and handshakes depend on it";
    let (verdict, found) = match (facts.bytes(TIMESYNC), facts.clock.as_ref()) {
        (Seen::Known(_), _) | (_, Seen::Known(true)) => (Verdict::Ok, "synchronised".to_owned()),
        (_, Seen::Known(false)) => (Verdict::Warn, "not synchronised".to_owned()),
        (_, Seen::Absent) => (Verdict::Unknown, "the system does not say".to_owned()),
        (_, Seen::Unreadable(why)) => (Verdict::Unknown, why),
    };
    Item::new("time.synchronised", verdict, &found, right)
}

const SBOM: &str = "/usr/share/lazaret/sbom.cdx.json";
const UPDATE_KEY: &str = "/usr/share/lazaret/update.pub";
pub(super) const WANTED: [&str; 2] = [SBOM, UPDATE_KEY];
/// SubjectPublicKeyInfo of an Ed25519 key, RFC 8410 section 4, before its 32 bytes.
const ED25519: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
const ED25519_LENGTH: usize = 44;
const UNITS: [Unit; 7] = [
    Unit {
        name: "lazaret-closed.service",
        active: true,
        server: true,
    },
    Unit {
        name: "lazaret.service",
        active: true,
        server: true,
    },
    Unit {
        name: "lazaret-data.service",
        active: false,
        server: false,
    },
    Unit {
        name: "lazaret-clock.service",
        active: false,
        server: false,
    },
    Unit {
        name: "lazaret-setup.service",
        active: false,
        server: false,
    },
    Unit {
        name: "lazaret-health.service",
        active: false,
        server: false,
    },
    Unit {
        name: "lazaret-update.service",
        active: false,
        server: false,
    },
];

/// The units that are asked for.
pub fn units() -> impl Iterator<Item = &'static str> {
    UNITS.iter().map(|unit| unit.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(der: &[u8]) -> String {
        let body = STANDARD.encode(der);
        format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n")
    }

    #[test]
    fn keys_of_updates_have_fingerprints() {
        let key = [ED25519.as_slice(), &[7; 32]].concat();
        let prints = fingerprints(&pem(&key).repeat(2)).unwrap();
        assert_eq!(prints.len(), 2);
        assert_eq!(prints[0].len(), "ed25519 sha256:".len() + 64);
        let short = &key[..43];
        let other = [&[0x30; 12], [7; 32].as_slice()].concat();
        for wrong in [
            String::new(),
            "x".to_owned(),
            pem(short),
            pem(&other),
            format!("{}-----BEGIN PUBLIC KEY-----", pem(&key)),
        ] {
            assert_eq!(fingerprints(&wrong), None, "{wrong}");
        }
    }
}
