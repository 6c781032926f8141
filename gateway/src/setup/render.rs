//! What the system reads of a configuration: interfaces, names, time.
//!
//! In: `[appliance]`. Out: the text of every file, by its path. Touches nothing.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use lazaret_config::{Addressing, Appliance, ApplianceInterface, InterfaceMatch};

/// What is to be written below `/run`, and told to the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Name of the host.
    pub hostname: String,
    /// Name of the IANA database.
    pub timezone: String,
    /// Whether interfaces get other names.
    pub renames: bool,
    /// Text files by their absolute paths.
    pub files: BTreeMap<PathBuf, String>,
}

/// The files of a machine; without configuration it has a name and nothing else.
/// `resolved` says whether systemd-resolved is there to write `resolv.conf`.
#[must_use]
pub fn render(appliance: Option<&Appliance>, resolved: bool) -> Machine {
    let mut files = BTreeMap::new();
    let hostname = appliance.map_or("lazaret", |appliance| appliance.hostname.as_str());
    let timezone = appliance.map_or("UTC", |appliance| appliance.timezone.as_str());
    files.insert(HOSTNAME.into(), format!("{hostname}\n"));
    let mut renames = false;
    if let Some(appliance) = appliance {
        for (name, interface) in &appliance.interfaces {
            let path = |end| PathBuf::from(format!("{NETWORK}/70-lazaret-{name}.{end}"));
            files.insert(path("network"), network(name, interface, appliance));
            if let Some(link) = link(name, interface) {
                renames = true;
                files.insert(path("link"), link);
            }
        }
        files.insert(TIMESYNCD.into(), timesyncd(appliance));
        if resolved {
            files.insert(RESOLVED.into(), resolver(appliance));
        } else {
            files.insert(RESOLV_CONF.into(), resolv_conf(appliance));
        }
    }
    Machine {
        hostname: hostname.to_owned(),
        timezone: timezone.to_owned(),
        renames,
        files,
    }
}

/// systemd.network(5).
fn network(name: &str, interface: &ApplianceInterface, appliance: &Appliance) -> String {
    let mut text = format!("{HEAD}[Match]\nName={name}\n\n[Network]\n");
    let plain = "LLMNR=no\nMulticastDNS=no\nLLDP=no\nEmitLLDP=no\n";
    match &interface.addressing {
        Addressing::Static {
            addresses,
            gateways,
        } => {
            for address in addresses {
                let _ = writeln!(text, "Address={address}");
            }
            for gateway in gateways {
                let _ = writeln!(text, "Gateway={gateway}");
            }
            // Written addresses hold whatever others announce, and while a cable is out.
            text.push_str(
                "DHCP=no\nIPv6AcceptRA=no\nConfigureWithoutCarrier=yes\nIgnoreCarrierLoss=yes\n",
            );
            text.push_str(plain);
        }
        Addressing::Dhcp => {
            text.push_str("DHCP=yes\nIPv6AcceptRA=yes\n");
            text.push_str(plain);
            let own = |list_is_empty: bool| if list_is_empty { "yes" } else { "no" };
            let (dns, ntp) = (own(appliance.dns.is_empty()), own(appliance.ntp.is_empty()));
            for section in ["DHCPv4", "DHCPv6"] {
                let _ = write!(
                    text,
                    "\n[{section}]\nUseDNS={dns}\nUseNTP={ntp}\nUseHostname=no\nUseDomains=no\n"
                );
            }
            let _ = write!(text, "\n[IPv6AcceptRA]\nUseDNS={dns}\nUseDomains=no\n");
        }
    }
    text
}

/// systemd.link(5); `None` for an interface that has its name already.
fn link(name: &str, interface: &ApplianceInterface) -> Option<String> {
    let matched = match &interface.matched_by {
        InterfaceMatch::Name => return None,
        InterfaceMatch::Mac([a, b, c, d, e, f]) => {
            // Bridges and VLANs have the address of what they are made of.
            format!("MACAddress={a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}\nType=ether\n")
        }
        InterfaceMatch::Path(path) => format!("Path={path}\n"),
    };
    Some(format!(
        "{HEAD}[Match]\n{matched}\n[Link]\nNamePolicy=\nName={name}\n"
    ))
}

/// timesyncd.conf(5); the servers that the distribution falls back to are in the Internet.
fn timesyncd(appliance: &Appliance) -> String {
    let servers: Vec<String> = appliance.ntp.iter().map(ToString::to_string).collect();
    format!("{HEAD}[Time]\nNTP={}\nFallbackNTP=\n", servers.join(" "))
}

/// resolved.conf(5).
fn resolver(appliance: &Appliance) -> String {
    let servers: Vec<String> = appliance.dns.iter().map(ToString::to_string).collect();
    format!(
        "{HEAD}[Resolve]\nDNS={}\nFallbackDNS=\nLLMNR=no\nMulticastDNS=no\nDNSStubListener=no\n",
        servers.join(" ")
    )
}

/// resolv.conf(5), which takes three servers.
fn resolv_conf(appliance: &Appliance) -> String {
    let servers = appliance.dns.iter().take(3);
    let lines = servers.map(|server| format!("nameserver {server}\n"));
    HEAD.to_owned() + &lines.collect::<String>()
}

const HEAD: &str =
    "# Made by `lazaret setup boot` at every start; changes belong in lazaret.toml.\n";
/// The name of the host; of root alone, as everything in that folder.
pub const HOSTNAME: &str = "/run/lazaret-appliance/hostname";
const NETWORK: &str = "/run/systemd/network";
const TIMESYNCD: &str = "/run/systemd/timesyncd.conf.d/lazaret.conf";
const RESOLVED: &str = "/run/systemd/resolved.conf.d/lazaret.conf";
const RESOLV_CONF: &str = "/run/systemd/resolve/resolv.conf";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use lazaret_config::Config;

    use super::*;

    fn shown(machine: &Machine) -> String {
        let files = machine.files.iter();
        let files = files.map(|(path, text)| format!("--- {}\n{text}", path.display()));
        format!(
            "{} {} renames={}\n{}",
            machine.hostname,
            machine.timezone,
            machine.renames,
            files.collect::<String>()
        )
    }

    fn appliance(text: &str) -> Appliance {
        let directory = tempfile::tempdir().unwrap();
        let base = crate::setup::import::tests::BASE;
        let file =
            lazaret_config::ImportFile::read(Path::new("x"), &format!("{base}{text}")).unwrap();
        let key = format!("{}E=\n", "A".repeat(42));
        crate::setup::places::write_new(
            &directory.path().join("wireguard.key"),
            key.as_bytes(),
            0o600,
        )
        .unwrap();
        let config = Config::from_sources(directory.path(), &[file.source]);
        config
            .unwrap_or_else(|errors| panic!("{errors}"))
            .appliance
            .unwrap()
    }

    #[test]
    fn written_addresses() {
        let text = r#"
            [appliance]
            hostname = "lazaret-nord"
            timezone = "Europe/Paris"
            ntp = ["10.20.0.1", "ntp.example.org"]
            dns = ["10.20.0.2", "fd20::53"]
            [appliance.interface.wan0]
            mac = "52:54:00:12:34:5F"
            addresses = ["192.0.2.10/24", "2001:db8::10/64"]
            gateway = ["192.0.2.1", "fe80::1"]
            [appliance.interface.lan0]
            path = "pci-0000:00:04.0"
            addresses = ["10.20.0.9/16"]
        "#;
        let appliance = appliance(text);
        insta::assert_snapshot!(shown(&render(Some(&appliance), true)));
        let plain = render(Some(&appliance), false);
        let path = Path::new(RESOLV_CONF);
        insta::assert_snapshot!(plain.files[path]);
        assert!(!plain.files.contains_key(Path::new(RESOLVED)));
    }

    #[test]
    fn addresses_from_a_server() {
        let text = "[appliance.interface.lan0]\ndhcp = true\n";
        insta::assert_snapshot!(shown(&render(Some(&appliance(text)), true)));
        let own = format!("[appliance]\nntp = [\"10.0.0.1\"]\ndns = [\"10.0.0.2\"]\n{text}");
        insta::assert_snapshot!(shown(&render(Some(&appliance(&own)), true)));
    }

    #[test]
    fn without_configuration_there_is_a_name_and_no_network() {
        insta::assert_snapshot!(shown(&render(None, true)));
    }
}
