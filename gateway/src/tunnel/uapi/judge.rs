//! May this `set` be done?
//!
//! In: its lines and what is. Out: the changes, or the first line that contradicts the policy or makes no sense.
//! A refused request changes nothing. Repeating what is so contradicts nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use ipnet::IpNet;

use super::request::Line;
use crate::tunnel::peer::Change;

/// What is, as far as a request may repeat it.
pub struct Known<'a> {
    /// Our static private key.
    pub private_key: &'a [u8; 32],
    /// The port of the sockets.
    pub listen_port: u16,
    /// Inner prefixes by public key.
    pub peers: BTreeMap<[u8; 32], &'a [IpNet]>,
}

/// Why a request is refused. The text is the key of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The policy says otherwise.
    #[error("{0} contradicts the policy")]
    Contradicts(&'static str),
    /// Not a value of this key.
    #[error("{0} cannot be understood")]
    Invalid(&'static str),
}

/// One peer's section of the request.
struct Section<'a> {
    key: [u8; 32],
    /// The policy's prefixes; none for an unknown peer.
    policy: Option<&'a [IpNet]>,
    is_update_only: bool,
    /// When the list is replaced: what it is now to be.
    replaced: Option<BTreeSet<IpNet>>,
    change: Change,
}

/// Judges the whole request.
///
/// # Errors
/// The first line that cannot be done.
pub fn judge(lines: &[Line], known: &Known<'_>) -> Result<Vec<([u8; 32], Change)>, Refusal> {
    let mut changes = Vec::new();
    let mut section: Option<Section<'_>> = None;
    for line in lines {
        if line.key == "public_key" {
            changes.extend(close(section.take())?);
            let key = hex(&line.value).ok_or(Refusal::Invalid("public_key"))?;
            section = Some(Section {
                policy: known.peers.get(&key).copied(),
                key,
                is_update_only: false,
                replaced: None,
                change: Change::default(),
            });
        } else if let Some(section) = &mut section {
            peer_line(section, line)?;
        } else {
            own_line(line, known)?;
        }
    }
    changes.extend(close(section)?);
    Ok(changes)
}

fn own_line(line: &Line, known: &Known<'_>) -> Result<(), Refusal> {
    match line.key.as_str() {
        "private_key" => {
            let key = hex(&line.value).ok_or(Refusal::Invalid("private_key"))?;
            holds(key == *known.private_key, "private_key")
        }
        "listen_port" => {
            let port: u16 = number(&line.value, "listen_port")?;
            holds(port == known.listen_port, "listen_port")
        }
        // A mark on packets needs a privilege that this process does not have.
        "fwmark" => {
            let mark: u32 = number(&line.value, "fwmark")?;
            holds(mark == 0, "fwmark")
        }
        "replace_peers" => {
            is_true(&line.value, "replace_peers")?;
            holds(false, "replace_peers")
        }
        _ => Err(Refusal::Invalid("key")),
    }
}

fn peer_line(section: &mut Section<'_>, line: &Line) -> Result<(), Refusal> {
    let value = line.value.as_str();
    match line.key.as_str() {
        "update_only" => {
            is_true(value, "update_only")?;
            section.is_update_only = true;
        }
        "remove" => {
            is_true(value, "remove")?;
            holds(false, "remove")?;
        }
        "preshared_key" => {
            let key = hex(value).ok_or(Refusal::Invalid("preshared_key"))?;
            section.change.preshared_key = Some((key != [0; 32]).then_some(key));
        }
        "endpoint" => {
            let endpoint: SocketAddr = value.parse().map_err(|_| Refusal::Invalid("endpoint"))?;
            let is_place = endpoint.port() != 0 && !endpoint.ip().is_unspecified();
            if !is_place || endpoint.ip().is_multicast() {
                return Err(Refusal::Invalid("endpoint"));
            }
            section.change.endpoint = Some(endpoint);
        }
        "persistent_keepalive_interval" => {
            section.change.keepalive = Some(number(value, "persistent_keepalive_interval")?);
        }
        "replace_allowed_ips" => {
            is_true(value, "replace_allowed_ips")?;
            section.replaced = Some(BTreeSet::new());
        }
        "allowed_ip" => allowed_ip(section, value)?,
        "protocol_version" => {
            let version: u32 = number(value, "protocol_version")?;
            if version != 1 {
                return Err(Refusal::Invalid("protocol_version"));
            }
        }
        _ => return Err(Refusal::Invalid("key")),
    }
    Ok(())
}

fn allowed_ip(section: &mut Section<'_>, value: &str) -> Result<(), Refusal> {
    let is_removal = value.starts_with('-');
    let text = value.strip_prefix('-').unwrap_or(value);
    let prefix: IpNet = text.parse().map_err(|_| Refusal::Invalid("allowed_ip"))?;
    let prefix = prefix.trunc();
    let is_ours = section
        .policy
        .is_none_or(|policy| policy.iter().any(|p| p.trunc() == prefix));
    if let Some(replaced) = &mut section.replaced {
        replaced.insert(prefix);
    }
    holds(is_ours && !is_removal, "allowed_ip")
}

fn close(section: Option<Section<'_>>) -> Result<Option<([u8; 32], Change)>, Refusal> {
    let Some(section) = section else {
        return Ok(None);
    };
    let Some(policy) = section.policy else {
        holds(section.is_update_only, "public_key")?;
        return Ok(None);
    };
    if let Some(replaced) = section.replaced {
        let policy = policy.iter().map(IpNet::trunc).collect::<BTreeSet<_>>();
        holds(replaced == policy, "replace_allowed_ips")?;
    }
    Ok(Some((section.key, section.change)))
}

fn holds(is_so: bool, key: &'static str) -> Result<(), Refusal> {
    if is_so {
        Ok(())
    } else {
        Err(Refusal::Contradicts(key))
    }
}

fn is_true(value: &str, key: &'static str) -> Result<(), Refusal> {
    if value == "true" {
        Ok(())
    } else {
        Err(Refusal::Invalid(key))
    }
}

fn number<T: std::str::FromStr>(value: &str, key: &'static str) -> Result<T, Refusal> {
    // `parse` would take a sign.
    let is_decimal = value.bytes().all(|b| b.is_ascii_digit());
    let number = value.parse().ok().filter(|_| is_decimal);
    number.ok_or(Refusal::Invalid(key))
}

fn hex(text: &str) -> Option<[u8; 32]> {
    let text: &[u8; 64] = text.as_bytes().try_into().ok()?;
    let mut key = [0; 32];
    for (byte, pair) in key.iter_mut().zip(text.as_chunks::<2>().0) {
        let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
        *byte = u8::try_from(high? * 16 + low?).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::uapi::request::{Framer, Request};

    const OURS: [u8; 32] = [0x11; 32];
    const KNOWN: [u8; 32] = [0xaa; 32];

    /// `P` stands for our private key, `K` for the known peer, `U` for an unknown one, `S` for another secret.
    fn judged(text: &str) -> Result<Vec<([u8; 32], Change)>, Refusal> {
        let prefixes: Vec<IpNet> = ["10.64.0.1/32", "fd64::1/128", "10.70.0.0/16"]
            .map(|p| p.parse().unwrap())
            .to_vec();
        let known = Known {
            private_key: &OURS,
            listen_port: 51820,
            peers: BTreeMap::from([(KNOWN, &prefixes[..])]),
        };
        let mut text = text.replace(' ', "\n");
        for (letter, byte) in [
            ('P', "11"),
            ('K', "aa"),
            ('U', "bb"),
            ('S', "cc"),
            ('Z', "00"),
        ] {
            text = text.replace(letter, &byte.repeat(32));
        }
        let mut framer = Framer::default();
        framer.receive(format!("set=1\n{text}\n\n").as_bytes());
        let Some(Ok(Request::Set(lines))) = framer.poll() else {
            panic!("{text}")
        };
        judge(&lines, &known)
    }

    #[test]
    fn does_what_is_not_policy() {
        let change = |text: &str| {
            let changes = judged(text).unwrap();
            assert!(changes.iter().all(|(key, _)| *key == KNOWN), "{text}");
            changes
                .into_iter()
                .map(|(_, change)| change)
                .collect::<Vec<_>>()
        };
        let nothing = Change::default();
        let keepalive = Change {
            keepalive: Some(25),
            ..nothing
        };
        let endpoint = |text: &str| Change {
            endpoint: Some(text.parse().unwrap()),
            ..nothing
        };
        let key = |key| Change {
            preshared_key: Some(key),
            ..nothing
        };
        let cases = [
            ("private_key=P", vec![]),
            ("private_key=P listen_port=51820 fwmark=0", vec![]),
            ("public_key=K", vec![nothing]),
            (
                "public_key=K update_only=true persistent_keepalive_interval=25",
                vec![keepalive],
            ),
            (
                "public_key=K endpoint=192.0.2.1:9",
                vec![endpoint("192.0.2.1:9")],
            ),
            (
                "public_key=K endpoint=[2001:db8::1]:9",
                vec![endpoint("[2001:db8::1]:9")],
            ),
            ("public_key=K preshared_key=S", vec![key(Some([0xcc; 32]))]),
            ("public_key=K preshared_key=Z", vec![key(None)]),
            (
                "public_key=K allowed_ip=10.64.0.1/32 allowed_ip=10.70.3.4/16",
                vec![nothing],
            ),
            (
                "public_key=K replace_allowed_ips=true allowed_ip=fd64::1/128 allowed_ip=10.70.0.0/16 allowed_ip=10.64.0.1/32 persistent_keepalive_interval=25",
                vec![keepalive],
            ),
            (
                "public_key=U update_only=true allowed_ip=0.0.0.0/0 endpoint=192.0.2.1:9",
                vec![],
            ),
            (
                "public_key=K protocol_version=1 public_key=K persistent_keepalive_interval=25",
                vec![nothing, keepalive],
            ),
        ];
        for (text, changes) in cases {
            assert_eq!(change(text), changes, "{text}");
        }
    }

    #[test]
    fn refuses_what_contradicts_the_policy() {
        let cases = [
            ("private_key=S", "private_key"),
            ("private_key=Z", "private_key"),
            ("listen_port=51821", "listen_port"),
            ("fwmark=51820", "fwmark"),
            ("replace_peers=true", "replace_peers"),
            ("public_key=U", "public_key"),
            (
                "public_key=K persistent_keepalive_interval=25 public_key=U endpoint=192.0.2.1:9",
                "public_key",
            ),
            ("public_key=K remove=true", "remove"),
            ("public_key=U remove=true", "remove"),
            ("public_key=K allowed_ip=10.64.0.2/32", "allowed_ip"),
            ("public_key=K allowed_ip=10.64.0.0/16", "allowed_ip"),
            ("public_key=K allowed_ip=-10.64.0.1/32", "allowed_ip"),
            (
                "public_key=K replace_allowed_ips=true",
                "replace_allowed_ips",
            ),
            (
                "public_key=K replace_allowed_ips=true allowed_ip=10.64.0.1/32",
                "replace_allowed_ips",
            ),
            (
                "public_key=K replace_allowed_ips=true allowed_ip=0.0.0.0/0",
                "allowed_ip",
            ),
        ];
        for (text, key) in cases {
            assert_eq!(judged(text), Err(Refusal::Contradicts(key)), "{text}");
        }
    }

    #[test]
    fn refuses_what_makes_no_sense() {
        let cases = [
            ("private_key=11", "private_key"),
            ("listen_port=65536", "listen_port"),
            ("listen_port=+51820", "listen_port"),
            ("fwmark=", "fwmark"),
            ("replace_peers=false", "replace_peers"),
            ("endpoint=192.0.2.1:9", "key"),
            ("update_only=true", "key"),
            ("public_key=zz", "public_key"),
            ("public_key=K endpoint=example.org:9", "endpoint"),
            ("public_key=K endpoint=192.0.2.1:0", "endpoint"),
            ("public_key=K endpoint=224.0.0.1:9", "endpoint"),
            ("public_key=K endpoint=[::]:9", "endpoint"),
            (
                "public_key=K persistent_keepalive_interval=off",
                "persistent_keepalive_interval",
            ),
            (
                "public_key=K persistent_keepalive_interval=65536",
                "persistent_keepalive_interval",
            ),
            ("public_key=K allowed_ip=10.64.0.1/33", "allowed_ip"),
            ("public_key=K allowed_ip=10.64.0.1", "allowed_ip"),
            ("public_key=K protocol_version=2", "protocol_version"),
            ("public_key=K listen_port=51820", "key"),
            ("public_key=K colour=red", "key"),
        ];
        for (text, key) in cases {
            assert_eq!(judged(text), Err(Refusal::Invalid(key)), "{text}");
        }
    }
}
