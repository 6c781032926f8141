//! Words about the machine: host names, hardware addresses, time servers, zones, where updates are.

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::tz::TimeZone;

use crate::appliance::TimeServer;
use crate::field::hours::zone_of;
use crate::problem::Fault;
use crate::section::Text;

/// The name of a host, RFC 1123.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostName(pub(crate) String);

/// A hardware address, `52:54:00:12:34:56`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mac(pub(crate) [u8; 6]);

/// Where an interface is plugged in, `pci-0000:00:03.0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HardwarePath(pub(crate) String);

/// An address with the length of its network, `192.0.2.10/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HostAddress(pub(crate) IpNet);

/// A name of the IANA database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ZoneName(pub(crate) String);

/// Where updates are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UpdateUrl {
    pub(crate) text: String,
    pub(crate) secure: bool,
}

impl Text for HostName {
    const WHAT: &'static str = "the name of a host like \"lazaret-nord\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        let help = "1 to 63 ASCII letters, digits, `-` and `.`; no part begins or ends with `-` or is empty";
        if is_host_name(text) && text.len() <= 63 {
            Ok(Self(text.to_owned()))
        } else {
            Err(Fault::new("not the name of a host").help(help))
        }
    }
}

impl Text for TimeServer {
    const WHAT: &'static str = "an address or name of a time server like \"10.20.0.1\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        if text.parse::<IpAddr>().is_ok() {
            return IpAddr::parse(text).map(Self::Address);
        }
        // Names of digits and dots alone are addresses with a mistake.
        let letters = text.bytes().any(|b| b.is_ascii_alphabetic());
        if is_host_name(text) && text.len() <= 253 && letters {
            Ok(Self::Name(text.to_owned()))
        } else {
            Err(Fault::new(format!("not {}", Self::WHAT)).help("without a port or anything else"))
        }
    }
}

impl Text for Mac {
    const WHAT: &'static str = "a hardware address like \"52:54:00:12:34:56\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        let not =
            || Fault::new(format!("not {}", Self::WHAT)).help("six pairs of hexadecimal digits");
        let pair = |part: &str| {
            let digits = part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
            digits.then(|| u8::from_str_radix(part, 16).ok())?
        };
        let parts: Option<Vec<u8>> = text.split([':', '-']).map(pair).collect();
        let bytes: [u8; 6] = parts
            .and_then(|parts| parts.try_into().ok())
            .ok_or_else(not)?;
        let [first, ..] = bytes;
        if first & 1 != 0 || bytes == [0; 6] {
            return Err(Fault::new("no interface has this hardware address")
                .help("it is a multicast address, or all zeros"));
        }
        Ok(Self(bytes))
    }
}

impl Text for HardwarePath {
    const WHAT: &'static str = "where an interface is plugged in, like \"pci-0000:00:03.0\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        // No character that has a meaning in patterns of udev.
        let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':');
        if (1..=128).contains(&text.len()) && text.bytes().all(good) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Fault::new(format!("not {}", Self::WHAT)).help(
                "ASCII letters, digits, `-`, `_`, `.` and `:`, as `udevadm info` says `ID_PATH`",
            ))
        }
    }
}

impl Text for HostAddress {
    const WHAT: &'static str = "an address with the length of its network like \"192.0.2.10/24\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        let network: IpNet = text.parse().map_err(|_| {
            let alone = text.parse::<IpAddr>().is_ok();
            Fault::new(format!("not {}", Self::WHAT))
                .maybe(alone.then(|| "add the length, such as `/24`".to_owned()))
        })?;
        let address = network.addr();
        <IpAddr as Text>::parse(&address.to_string())?;
        if address.is_loopback() || address.is_multicast() || address.is_unspecified() {
            return Err(Fault::new("no interface can have this address"));
        }
        if network.prefix_len() == 0 {
            return Err(Fault::new("the length of the network must be at least 1"));
        }
        if crate::check::is_reserved(&network, address) {
            let help = "write the address of the machine and the length of its network";
            return Err(
                Fault::new("the address means the network, or all of its hosts").help(help),
            );
        }
        Ok(Self(network))
    }
}

impl Text for ZoneName {
    const WHAT: &'static str = "a time zone like \"Europe/Paris\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        let zone: TimeZone = zone_of(text)?;
        // The name as the database spells it: it becomes the path of a file.
        let name = zone.iana_name().unwrap_or("UTC");
        Ok(Self(name.to_owned()))
    }
}

impl Text for UpdateUrl {
    const WHAT: &'static str = "where updates are, like \"https://updates.example.org/lazaret/\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        let not = |why: &str| Fault::new(format!("not {}", Self::WHAT)).help(why);
        let (secure, rest) = if let Some(rest) = text.strip_prefix("https://") {
            (true, rest)
        } else if let Some(rest) = text.strip_prefix("http://") {
            (false, rest)
        } else {
            return Err(not("it begins with `https://`"));
        };
        let good = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b'<' | b'>' | b'`');
        if text.len() > 1000 || !text.bytes().all(good) {
            return Err(not(
                "at most 1000 printable ASCII characters without spaces",
            ));
        }
        if text.contains(['?', '#', '@']) {
            return Err(not("without user, query and fragment"));
        }
        let Some((authority, path)) = rest.split_once('/') else {
            return Err(not(&format!("it is a directory: `{text}/`")));
        };
        if !is_authority(authority) {
            return Err(not("after `//` stands a host, with or without a port"));
        }
        if !(path.is_empty() || path.ends_with('/')) {
            return Err(not(&format!("it is a directory: `{text}/`")));
        }
        if path.split('/').any(|part| part == "..") {
            return Err(not("without `..`"));
        }
        if !secure && !is_near(authority) {
            return Err(Fault::new("updates without TLS come from a private address only")
                .help("write `https://`; with `insecure_http = true` also `http://` and an address such as 127.0.0.1 or 10.0.2.2"));
        }
        Ok(Self {
            text: text.to_owned(),
            secure,
        })
    }
}

/// Labels of RFC 1123 between dots.
pub(crate) fn is_host_name(text: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    text.split('.').all(|label| {
        (1..=63).contains(&label.len())
            && label.bytes().all(good)
            && !label.starts_with('-')
            && !label.ends_with('-')
    })
}

/// `host`, `host:port`, `[address]:port`.
fn is_authority(text: &str) -> bool {
    let (host, port) = split_port(text);
    let port = port.is_none_or(|port| {
        port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let host = match bracketed {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => is_host_name(host) && host.len() <= 253,
    };
    host && port
}

/// Whether a host is an address of this machine or of a private network.
fn is_near(authority: &str) -> bool {
    let (host, _) = split_port(authority);
    match host.trim_matches(['[', ']']).parse() {
        Ok(IpAddr::V4(v4)) => v4.is_loopback() || v4.is_private(),
        Ok(IpAddr::V6(v6)) => v6.is_loopback() || v6.is_unique_local(),
        Err(_) => false,
    }
}

fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        Some(_) | None => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_and_addresses_of_machines() {
        let long = "a".repeat(63);
        for good in ["lazaret-nord", "A1", "gw.example.org", long.as_str()] {
            assert!(HostName::parse(good).is_ok(), "{good}");
        }
        let longer = "a".repeat(64);
        for bad in ["", "-a", "a-", "a..b", "a_b", "é", ".", longer.as_str()] {
            assert!(HostName::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(
            Mac::parse("52-54-00-12-34-aF"),
            Ok(Mac([0x52, 0x54, 0, 0x12, 0x34, 0xaf]))
        );
        for bad in [
            "",
            "52:54:00:12:34",
            "52:54:00:12:34:5",
            "+2:54:00:12:34:56",
            "01:00:5e:00:00:01",
            "00:00:00:00:00:00",
        ] {
            assert!(Mac::parse(bad).is_err(), "{bad}");
        }
        for good in [
            "192.0.2.10/24",
            "192.0.2.10/31",
            "192.0.2.0/32",
            "fd20::10/64",
        ] {
            assert!(HostAddress::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "192.0.2.10",
            "192.0.2.0/24",
            "192.0.2.255/24",
            "127.0.0.1/8",
            "::ffff:192.0.2.1/120",
            "1.2.3.4/0",
            "224.0.0.5/24",
        ] {
            assert!(HostAddress::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(
            ZoneName::parse("europe/paris"),
            Ok(ZoneName("Europe/Paris".to_owned()))
        );
        assert_eq!(ZoneName::parse("UTC"), Ok(ZoneName("UTC".to_owned())));
    }

    #[test]
    fn reads_where_updates_are() {
        for (good, secure) in [
            ("https://updates.example.org/lazaret/", true),
            ("https://updates.example.org/", true),
            ("https://[fd20::1]:8443/a/", true),
            ("http://10.0.2.2:8600/", false),
            ("http://[::1]/", false),
        ] {
            let url = UpdateUrl::parse(good);
            assert_eq!(url.map(|url| url.secure), Ok(secure), "{good}");
        }
        for bad in [
            "updates.example.org/",
            "ftp://updates.example.org/",
            "https://updates.example.org",
            "https://updates.example.org/lazaret",
            "https://user@updates.example.org/",
            "https://updates.example.org/?a/",
            "https://updates.example.org/../",
            "https:///",
            "https://a:0/",
            "https://a:b/",
            "https://a b/",
            "http://updates.example.org/",
            "http://192.0.2.1/",
        ] {
            assert!(UpdateUrl::parse(bad).is_err(), "{bad}");
        }
    }
}
