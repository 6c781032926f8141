//! What the interfaces look like now: links, addresses, routes. For people at the console.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use super::places::{Places, read_bounded};

/// One interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// `up`, `down`, `lowerlayerdown`, `unknown`.
    pub state: String,
    /// Hardware address.
    pub mac: String,
    /// With the length of their networks.
    pub addresses: Vec<String>,
}

/// A default route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Default {
    /// The next router.
    pub gateway: IpAddr,
    /// Through which interface.
    pub interface: String,
}

/// The interfaces by their names, without loopback.
#[must_use]
pub fn links(places: &Places) -> BTreeMap<String, Link> {
    let mut links = BTreeMap::new();
    let class = places.at("/sys/class/net");
    for entry in fs::read_dir(&class).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == "lo" {
            continue;
        }
        let word = |file: &str| {
            let bytes = read_bounded(&entry.path().join(file), 256).unwrap_or_default();
            String::from_utf8_lossy(&bytes).trim().to_owned()
        };
        let link = Link {
            state: word("operstate"),
            mac: word("address"),
            addresses: Vec::new(),
        };
        links.insert(name, link);
    }
    if places.is_running() {
        addresses(&mut links);
    }
    links
}

/// The default routes of the kernel's tables.
#[must_use]
pub fn defaults(places: &Places) -> Vec<Default> {
    let read = |path: &str| fs::read_to_string(places.at(Path::new(path))).unwrap_or_default();
    let mut all = defaults_v4(&read("/proc/net/route"));
    all.extend(defaults_v6(&read("/proc/net/ipv6_route")));
    all
}

/// All of it as text.
#[must_use]
pub fn render(links: &BTreeMap<String, Link>, defaults: &[Default], names: &[String]) -> String {
    let mut text = String::new();
    if links.is_empty() {
        text.push_str("no interface\n");
    }
    for (name, link) in links {
        let addresses = match link.addresses.as_slice() {
            [] => "no address".to_owned(),
            some => some.join(" "),
        };
        let _ = writeln!(
            text,
            "{name:<15} {:<8} {:<17}  {addresses}",
            link.state, link.mac
        );
    }
    for route in defaults {
        let _ = writeln!(
            text,
            "default gateway {} ({})",
            route.gateway, route.interface
        );
    }
    if defaults.is_empty() {
        text.push_str("no default gateway\n");
    }
    if !names.is_empty() {
        let _ = writeln!(text, "name servers    {}", names.join(" "));
    }
    text
}

/// The name servers of `resolv.conf`.
#[must_use]
pub fn name_servers(places: &Places) -> Vec<String> {
    let text = fs::read_to_string(places.at("/etc/resolv.conf")).unwrap_or_default();
    let servers = text
        .lines()
        .filter_map(|line| line.strip_prefix("nameserver "));
    servers.map(|server| server.trim().to_owned()).collect()
}

fn addresses(links: &mut BTreeMap<String, Link>) {
    for one in nix::ifaddrs::getifaddrs().into_iter().flatten() {
        let (Some(link), Some(address)) = (links.get_mut(&one.interface_name), one.address) else {
            continue;
        };
        let mask = one.netmask.as_ref();
        if let Some(v4) = address.as_sockaddr_in() {
            let bits = mask
                .and_then(|mask| mask.as_sockaddr_in())
                .map_or(32, |mask| u32::from(mask.ip()).count_ones());
            link.addresses.push(format!("{}/{bits}", v4.ip()));
        } else if let Some(v6) = address.as_sockaddr_in6() {
            let bits = mask
                .and_then(|mask| mask.as_sockaddr_in6())
                .map_or(128, |mask| u128::from(mask.ip()).count_ones());
            link.addresses.push(format!("{}/{bits}", v6.ip()));
        }
    }
}

/// Lines of `/proc/net/route`: interface, destination, gateway, flags, …, mask; hexadecimal in the order of the machine.
fn defaults_v4(text: &str) -> Vec<Default> {
    let line = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (interface, destination) = (fields.first()?, fields.get(1)?);
        let (gateway, mask) = (fields.get(2)?, fields.get(7)?);
        if *destination != "00000000" || *mask != "00000000" || *gateway == "00000000" {
            return None;
        }
        let gateway = u32::from_str_radix(gateway, 16).ok()?;
        Some(Default {
            gateway: Ipv4Addr::from(gateway.to_ne_bytes()).into(),
            interface: (*interface).to_owned(),
        })
    };
    text.lines().skip(1).filter_map(line).collect()
}

/// Lines of `/proc/net/ipv6_route`: destination, length, source, length, gateway, …, interface; hexadecimal.
fn defaults_v6(text: &str) -> Vec<Default> {
    let line = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let gateway = u128::from_str_radix(fields.get(4)?, 16).ok()?;
        let interface = *fields.get(9)?;
        if *fields.get(1)? != "00" || gateway == 0 || interface == "lo" {
            return None;
        }
        Some(Default {
            gateway: Ipv6Addr::from(gateway).into(),
            interface: interface.to_owned(),
        })
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_links_addresses_and_routes() {
        let v4 = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\nwan0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\nwan0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\n";
        let v6 = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     wan0\n00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo\n";
        let root = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("proc/net/route", v4),
            ("proc/net/ipv6_route", v6),
            ("sys/class/net/wan0/operstate", "up\n"),
            ("sys/class/net/wan0/address", "52:54:00:12:34:56\n"),
            ("sys/class/net/lo/operstate", "unknown\n"),
            ("etc/resolv.conf", "# x\nnameserver 10.20.0.2\n"),
        ] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let places = Places::new(root.path(), Path::new("/etc/lazaret"));
        let mut links = links(&places);
        links
            .get_mut("wan0")
            .unwrap()
            .addresses
            .push("192.0.2.10/24".to_owned());
        let text = render(&links, &defaults(&places), &name_servers(&places));
        insta::assert_snapshot!(text);
        insta::assert_snapshot!(render(&BTreeMap::new(), &[], &[]));
    }

    #[test]
    fn every_machine_can_be_asked() {
        let places = Places::new(Path::new("/"), Path::new("/etc/lazaret"));
        let links = links(&places);
        assert!(!links.contains_key("lo"));
        assert!(!render(&links, &defaults(&places), &[]).is_empty());
    }
}
