//! What the processes of the gateway may do, read from the kernel and not from the source.

use std::collections::{BTreeMap, BTreeSet};

use e2e::hl7;
use e2e::{Clinic, Lab};

//= C10
#[test]
fn workers_have_no_capabilities_and_no_way_to_get_any() {
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let workers = clinic.gateway.workers();
        assert_eq!(workers.len(), 4, "{workers:?}");
        for (name, pid) in workers {
            let status = status(pid);
            for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
                assert_eq!(status[set], "0000000000000000", "{name}: {set}");
            }
            assert_eq!(status["NoNewPrivs"], "1", "{name}");
            if name.starts_with("relay-") {
                assert_eq!(status["Seccomp"], "2", "{name}");
            }
        }
    });
}

/// `lazaret doctor` says the same, and its other words on a running gateway are right.
#[test]
fn the_doctor_sees_what_the_kernel_says() {
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let report = clinic.gateway.json(&["doctor"]);
        assert_eq!(
            (&report["v"], &report["form"]),
            (&1.into(), &"server".into())
        );
        let items = report["items"].as_array().unwrap();
        let verdict = |id: &str| {
            let item = items.iter().find(|item| item["id"] == id);
            let item = item.unwrap_or_else(|| panic!("{id} is not in {report}"));
            item["verdict"].as_str().unwrap().to_owned()
        };
        for id in [
            "gateway.running",
            "gateway.table",
            "gateway.journal",
            "gateway.policy",
            "sysctl.net.ipv4.ip_forward",
            "sysctl.net.ipv4.conf.all.accept_redirects",
            "process.relay-hl7.sandbox",
            "process.relay-dicom.sandbox",
        ] {
            assert_eq!(verdict(id), "ok", "{id}: {report}");
        }
        for name in ["supervisor", "tunnel-wireguard", "audit"] {
            // Without a service manager nobody filters their calls.
            assert_eq!(
                verdict(&format!("process.{name}.sandbox")),
                "warn",
                "{report}"
            );
            assert_eq!(
                verdict(&format!("process.{name}.core-dumps")),
                "ok",
                "{report}"
            );
        }
        assert_eq!(verdict("root.verity"), "not-applicable");
    });
}

//= C10
#[test]
fn workers_hold_only_the_descriptors_that_they_were_given() {
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let mut client = clinic.ecg.mllp(clinic.his.address());
        assert_eq!(client.exchange(&hl7::oru("D1")).code, "AA");
        for (name, pid) in clinic.gateway.workers() {
            let open = descriptors(pid);
            for (number, target) in &open {
                let harmless = ["/dev/null", "pipe:", "anon_inode:", "socket:"];
                let own = match name.as_str() {
                    "tunnel-wireguard" | "tunnel-quic" => target.starts_with("/dev/net/tun"),
                    "audit" => target.contains("/audit"),
                    _ => false,
                };
                let log = *number <= 2 || target.ends_with("gateway.log");
                let known = harmless.iter().any(|known| target.starts_with(known));
                assert!(log || own || known, "{name} holds {number}: {target}");
            }
            if name.starts_with("relay-") {
                // The channel, the runtime's own pair for signals, and for one connection a socket on each side.
                let sockets: BTreeSet<&String> = open
                    .values()
                    .filter(|target| target.starts_with("socket:"))
                    .collect();
                let most = if name == "relay-hl7" { 5 } else { 3 };
                assert!(sockets.len() <= most, "{name}: {open:?}");
            }
        }
    });
}

/// The relay names no device, address or key: none of them is in its memory map, environment or arguments.
#[test]
fn workers_know_nothing_of_the_configuration() {
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        for (name, pid) in clinic.gateway.workers() {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
            for bytes in [environment, arguments] {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                assert!(!text.contains("wireguard.key"), "{name}: {text}");
                assert!(!text.contains("NOTIFY_SOCKET"), "{name}: {text}");
            }
        }
    });
}

fn status(pid: u32) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}

fn descriptors(pid: u32) -> BTreeMap<u32, String> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .flatten();
    entries
        .filter_map(|entry| {
            let target = std::fs::read_link(entry.path()).ok()?;
            let number = entry.file_name().to_string_lossy().parse().ok()?;
            Some((number, target.to_string_lossy().into_owned()))
        })
        .collect()
}
