//! The table against real packets, rootless: every refusal beside the nearest accepted neighbour.

#![allow(clippy::disallowed_methods, reason = "tests measure time")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail with them"
)]

#[path = "../../src/segment/fixture.rs"]
mod fixture;
mod inward;
mod forwarded;
mod world;

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use fixture::{at, device, ip, plain, rule};
use lazaret::flow::Standing;
use lazaret::segment::changes::{Cut, cuts};
use lazaret::segment::denied::DeniedWatch;
use lazaret::segment::plan::Plan;
use lazaret::segment::readback::{Drift, verify};
use lazaret::segment::table::Why;
use lazaret::segment::{SegmentError, conntrack, host, nft, upstream};
use lazaret_config::{HospitalMode, Transport};
use world::{
    Flow, allowed, apply, denied, facts, inside, meanwhile, prepare, runtime, shell, small, world,
};

const SHORT: Duration = Duration::from_millis(500);
const LONG: Duration = Duration::from_secs(3);

//= C3
#[test]
fn a_device_reaches_what_its_role_names_and_nothing_else() {
    world(
        "a_device_reaches_what_its_role_names_and_nothing_else",
        || {
            small(HospitalMode::Snat);
            let console = allowed("device", "10.64.0.3", "10.20.1.10:3389");
            assert_eq!(console, "10.20.0.1 called 10.20.1.10:3389");
            let console = allowed("device", "fd64::3", "[fd20::10]:3389");
            assert_eq!(console, "fd20::1 called [fd20::10]:3389");
            for (from, to) in [
                ("10.64.0.3", "10.20.1.10:22"),
                ("fd64::3", "[fd20::10]:22"),
                ("10.64.0.1", "10.20.1.10:3389"),
                ("fd64::1", "[fd20::10]:3389"),
                ("10.64.0.77", "10.20.1.10:3389"),
                ("fd64::77", "[fd20::10]:3389"),
            ] {
                denied("device", from, to);
            }
            let his = allowed("device", "10.64.0.1", "10.20.1.10:2575");
            assert_eq!(his, "10.64.0.1 called 10.20.1.10:2575");
            let his = allowed("device", "fd64::1", "[fd20::10]:2575");
            assert_eq!(his, "fd64::1 called [fd20::10]:2575");
            denied("device", "10.64.0.3", "10.20.1.10:2575");
            denied("device", "fd64::3", "[fd20::10]:2575");
        },
    );
}

//= C3
#[test]
fn the_gateway_and_the_devices_cannot_be_dialled() {
    world("the_gateway_and_the_devices_cannot_be_dialled", || {
        small(HospitalMode::Snat);
        world::serve("", at("[::]:8080"));
        for from in ["10.64.0.1", "10.64.0.3"] {
            denied("device", from, "10.64.255.254:7000");
            denied("device", from, "10.64.255.254:8080");
            denied("device", from, "10.20.0.1:8080");
        }
        denied("device", "fd64::1", "[fd64::ffff]:7000");
        denied("hospital", "10.20.1.10", "10.20.0.1:8080");
        denied("hospital", "10.20.1.10", "10.64.255.254:7000");
        denied("hospital", "fd20::10", "[fd64::ffff]:7000");
        world::serve("device", at("[::]:8080"));
        denied("hospital", "10.20.1.10", "10.64.0.3:8080");
        denied("hospital", "fd20::10", "[fd64::3]:8080");
        // The gateway itself reaches inspected services only.
        assert_eq!(
            allowed("", "10.20.0.1", "10.20.1.10:2575"),
            "10.20.0.1 called 10.20.1.10:2575"
        );
        denied("", "10.20.0.1", "10.20.1.10:3389");
        denied("", "10.64.255.254", "10.64.0.3:8080");
    });
}

#[test]
fn drops_are_told_with_their_reason() {
    world("drops_are_told_with_their_reason", || {
        small(HospitalMode::Snat);
        nft::set_quarantine(&[ip("10.64.0.2")], &[]).unwrap();
        let expected = [
            ("device", "10.64.0.1", "10.64.0.3:22", Why::Denied),
            ("device", "fd64::1", "[fd20::10]:3389", Why::Denied),
            ("device", "10.64.0.77", "10.20.1.10:3389", Why::Unknown),
            ("device", "10.64.0.2", "10.20.1.10:2575", Why::Quarantine),
            ("device", "10.64.0.1", "10.64.255.254:7000", Why::Gateway),
            ("hospital", "10.64.0.50", "10.20.0.1:2575", Why::Spoofed),
        ];
        // Devices are not behind one another's namespace: what leaves the gateway again would be seen.
        shell(
            "ip -n device addr del 10.64.0.3/32 dev eth0; ip -n hospital addr add 10.64.0.50/32 dev eth0",
        );
        runtime().block_on(async {
            let mut watch = DeniedWatch::open().unwrap();
            assert!(DeniedWatch::open().is_err(), "one at a time");
            for (namespace, from, to, why) in expected {
                denied(namespace, from, to);
                let begin = Instant::now();
                let found = 'found: loop {
                    assert!(begin.elapsed() < LONG, "nothing about {from} to {to}");
                    for packet in watch.next().await.unwrap() {
                        if packet.flow.source == ip(from) && packet.flow.destination == at(to) {
                            break 'found packet;
                        }
                    }
                };
                assert_eq!((found.why, found.transport.as_str()), (why, "tcp"));
                assert_ne!(found.interface, 0);
            }
        });
    });
}

//= C9
#[test]
fn quarantine_cuts_a_live_flow_and_release_does_not_resume_it() {
    world(
        "quarantine_cuts_a_live_flow_and_release_does_not_resume_it",
        || {
            small(HospitalMode::Snat);
            for (device, service) in [
                ("10.64.0.3", "10.20.1.10:3389"),
                ("fd64::3", "[fd20::10]:3389"),
                ("10.64.0.1", "10.20.1.10:2575"),
                ("fd64::1", "[fd20::10]:2575"),
            ] {
                let neighbour = if device.contains(':') {
                    "fd64::2"
                } else {
                    "10.64.0.2"
                };
                let steered = service.replace("3389", "2575");
                let mut other = Flow::dial("device", neighbour, &steered).unwrap();
                let mut flow = Flow::dial("device", device, service).unwrap();
                assert!(flow.lives(LONG));
                nft::set_quarantine(&[ip(device)], &[ip(neighbour)]).unwrap();
                assert!(!flow.lives(SHORT), "{device} speaks in quarantine");
                denied("device", device, service);
                conntrack::cut(&[Cut::Device {
                    address: ip(device),
                }])
                .unwrap();
                nft::set_quarantine(&[], &[ip(device)]).unwrap();
                assert!(!flow.lives(SHORT), "{device} resumed its flow");
                allowed("device", device, service);
                assert!(other.lives(LONG), "the flow of another device was cut too");
            }
        },
    );
}

//= C9
#[test]
fn losing_a_role_cuts_its_flows() {
    world("losing_a_role_cuts_its_flows", || {
        let (mut config, plan) = small(HospitalMode::Snat);
        let mut steered = Flow::dial("device", "10.64.0.1", "10.20.1.10:2575").unwrap();
        let mut forwarded = Flow::dial("device", "fd64::3", "[fd20::10]:3389").unwrap();
        let mut kept = Flow::dial("device", "10.64.0.2", "10.20.1.10:2575").unwrap();
        for name in ["ecg-1", "ws-1"] {
            let device = config.devices.get_mut(&name.parse().unwrap()).unwrap();
            device.roles.clear();
        }
        let new = Plan::new(&config, &facts());
        apply(&new);
        assert!(!steered.lives(SHORT) && !forwarded.lives(SHORT));
        let cuts = cuts(&plan, &new);
        assert_eq!(cuts.len(), 4);
        conntrack::cut(&cuts).unwrap();
        apply(&plan);
        assert!(!steered.lives(SHORT) && !forwarded.lives(SHORT));
        assert!(kept.lives(LONG));
        allowed("device", "10.64.0.1", "10.20.1.10:2575");
        allowed("device", "fd64::3", "[fd20::10]:3389");
    });
}

#[test]
fn many_cuts_are_made_by_one_dump_and_spare_the_others() {
    world(
        "many_cuts_are_made_by_one_dump_and_spare_the_others",
        || {
            small(HospitalMode::Snat);
            let mut cut = Flow::dial("device", "fd64::3", "[fd20::10]:3389").unwrap();
            let mut cut_by_service = Flow::dial("device", "10.64.0.1", "10.20.1.10:2575").unwrap();
            let mut kept = Flow::dial("device", "10.64.0.2", "10.20.1.10:2575").unwrap();
            let mut cuts: Vec<Cut> = (1..100)
                .map(|i| Cut::Device {
                    address: ip(&format!("10.64.7.{i}")),
                })
                .collect();
            cuts.push(Cut::Device {
                address: ip("fd64::3"),
            });
            let service = |device, port| Cut::Service {
                device: ip(device),
                service: at(&format!("10.20.1.10:{port}")),
                transport: Transport::Tcp,
            };
            cuts.extend([service("10.64.0.1", 2575), service("10.64.0.2", 2576)]);
            conntrack::cut(&cuts).unwrap();
            assert!(!cut.lives(SHORT) && !cut_by_service.lives(SHORT));
            assert!(kept.lives(LONG));
        },
    );
}

//= C4
#[test]
fn replacement_under_traffic_leaks_nothing_and_harms_no_live_flow() {
    world(
        "replacement_under_traffic_leaks_nothing_and_harms_no_live_flow",
        || {
            let (mut config, plan) = small(HospitalMode::Snat);
            // Roles that sort before the others, so that everything is written in another order.
            device(&mut config, "a", &["10.64.0.99", "fd64::99"], &["aaa"]);
            plain(&mut config, "other", "10.20.1.10", &[(Transport::Tcp, 443)]);
            rule(
                &mut config,
                "aaa",
                &["role:aaa"],
                &["his", "his-v6", "other"],
            );
            let other = Plan::new(&config, &facts());
            let flows = [
                ("10.64.0.3", "10.20.1.10:3389"),
                ("fd64::3", "[fd20::10]:3389"),
                ("10.64.0.1", "10.20.1.10:2575"),
                ("fd64::1", "[fd20::10]:2575"),
            ];
            let live = flows.map(|(from, to)| {
                let mut flow = Flow::dial("device", from, to).unwrap();
                meanwhile(move || assert!(flow.lives(LONG), "{from} to {to} was harmed"))
            });
            let probes = [
                meanwhile(|| denied("device", "10.64.0.3", "10.20.1.10:22")),
                meanwhile(|| denied("device", "10.64.0.1", "10.64.255.254:7000")),
                meanwhile(|| denied("device", "fd64::1", "[fd20::10]:3389")),
            ];
            for i in 0..40 {
                nft::apply(if i % 2 == 0 { &other } else { &plan }).unwrap();
            }
            let begin = Instant::now();
            while begin.elapsed() < SHORT {
                nft::apply(&other).unwrap();
            }
            verify(&other).unwrap();
            assert!(live.into_iter().all(|flow| flow.finish() > 20));
            assert!(probes.into_iter().all(|probe| probe.finish() > 0));
        },
    );
}

#[test]
fn any_change_by_hand_is_drift() {
    world("any_change_by_hand_is_drift", || {
        let (_, plan) = small(HospitalMode::Snat);
        let drift = |script: &str| {
            shell(script);
            let Err(Drift::Differs(words)) = verify(&plan) else {
                panic!("{script} was not seen");
            };
            apply(&plan);
            words.join("; ")
        };
        let t = "inet lazaret";
        let said = drift(&format!("nft add rule {t} forward accept"));
        assert_eq!(said, "chain forward also has `accept`");
        let said = drift(&format!("nft insert rule {t} input tcp dport 22 accept"));
        assert!(
            said.starts_with("rule 1 of chain input is `tcp dport 22 accept`"),
            "{said}"
        );
        let said = drift(&format!(
            "nft delete element {t} role/ecg/v4 '{{ 10.64.0.1 }}'"
        ));
        assert_eq!(said, "set role/ecg/v4 lacks 10.64.0.1");
        let said = drift(&format!("nft add element {t} active/v6 '{{ fd64::77 }}'"));
        assert_eq!(said, "set active/v6 also has fd64::77");
        let said = drift(&format!("nft chain {t} forward '{{ policy accept; }}'"));
        assert!(
            said.starts_with("chain forward is type filter hook forward priority 0; policy accept")
        );
        let said = drift(&format!("nft add chain {t} mine"));
        assert_eq!(said, "chain mine is not planned");
        drift(&format!("nft add counter {t} mine"));
        drift(&format!("nft flush chain {t} guard"));
        shell("nft delete table inet lazaret");
        assert!(matches!(verify(&plan), Err(Drift::Tool(_))));
        apply(&plan);
        shell("nft add table inet other");
        verify(&plan).expect("other tables are not ours");
    });
}

#[test]
fn reading_back_works_without_the_power_of_root() {
    world("reading_back_works_without_the_power_of_root", || {
        use rustix::thread::{CapabilitiesSecureBits, set_capabilities_secure_bits};
        let (_, plan) = small(HospitalMode::Snat);
        let bits = CapabilitiesSecureBits::NO_ROOT | CapabilitiesSecureBits::NO_ROOT_LOCKED;
        set_capabilities_secure_bits(bits).unwrap();
        let nft = Command::new("/usr/sbin/nft")
            .args(["list", "tables"])
            .output()
            .unwrap();
        assert!(!nft.status.success(), "a child has no power of its own");
        verify(&plan).unwrap();
        let nft = Command::new("/usr/sbin/nft")
            .args(["list", "tables"])
            .output()
            .unwrap();
        assert!(!nft.status.success(), "what was lent stayed in its thread");
    });
}

//= C4
#[test]
fn rules_outlive_the_process_that_wrote_them() {
    let name = "rules_outlive_the_process_that_wrote_them";
    if std::env::var_os("LAZARET_ONLY_APPLY").is_some() {
        return apply(&Plan::new(&fixture::small(HospitalMode::Snat), &facts()));
    }
    world(name, || {
        prepare(&fixture::small(HospitalMode::Snat));
        let mut writer = Command::new(std::env::current_exe().unwrap());
        writer
            .args(["--exact", name])
            .env("LAZARET_ONLY_APPLY", "1");
        assert!(writer.status().unwrap().success());
        world::serve("hospital", at("[::]:3389"));
        world::serve("hospital", at("[::]:2575"));
        verify(&Plan::new(&fixture::small(HospitalMode::Snat), &facts())).unwrap();
        allowed("device", "10.64.0.3", "10.20.1.10:3389");
        denied("device", "10.64.0.1", "10.20.1.10:3389");
        denied("device", "10.64.0.1", "10.20.1.10:2575");
    });
}

#[test]
fn ten_thousand_devices_fit_one_transaction_of_a_stock_kernel() {
    world(
        "ten_thousand_devices_fit_one_transaction_of_a_stock_kernel",
        || {
            let mut config = fixture::empty(HospitalMode::Snat);
            for i in 0..10_000 {
                let address = format!("10.64.{}.{}", i / 250, i % 250 + 1);
                device(
                    &mut config,
                    &format!("d{i}"),
                    &[&address],
                    &[&format!("role-{}", i % 20)],
                );
            }
            for i in 0..20 {
                fixture::hl7(
                    &mut config,
                    &format!("his-{i}"),
                    &format!("10.20.2.{}", i + 1),
                    2575,
                );
                plain(
                    &mut config,
                    &format!("web-{i}"),
                    &format!("10.20.3.{}", i + 1),
                    &[(Transport::Tcp, 443)],
                );
                let to = [format!("his-{i}"), format!("web-{i}")];
                let from = format!("role:role-{i}");
                rule(&mut config, &format!("r{i}"), &[&from], &[&to[0], &to[1]]);
            }
            let mut facts = facts();
            facts
                .standing
                .insert("d9999".parse().unwrap(), Standing::Quarantined);
            let plan = Plan::new(&config, &facts);
            let size = nft::batch_size(&plan).unwrap();
            assert!(size <= 2 * 212_992 - 32, "{size} bytes");
            let begin = Instant::now();
            nft::apply(&plan).unwrap();
            let applied = begin.elapsed();
            verify(&plan).unwrap();
            let both = begin.elapsed();
            eprintln!("{size} bytes applied in {applied:?}, with reading back {both:?}");
            assert!(begin.elapsed() < Duration::from_secs(10));
            shell("nft delete element inet lazaret role/role-7/v4 '{ 10.64.0.8 }'");
            let Err(Drift::Differs(words)) = verify(&plan) else {
                panic!()
            };
            assert_eq!(words, ["set role/role-7/v4 lacks 10.64.0.8"]);
            let all: Vec<_> = config
                .devices
                .values()
                .map(|device| device.addresses[0])
                .collect();
            nft::set_quarantine(&all, &[]).unwrap();
            nft::set_quarantine(&[], &all).unwrap();
        },
    );
}

#[test]
fn a_table_that_does_not_fit_is_refused_by_name_and_the_old_one_stays() {
    let name = "a_table_that_does_not_fit_is_refused_by_name_and_the_old_one_stays";
    world(name, || {
        let (mut config, plan) = small(HospitalMode::Snat);
        let wmem = std::fs::read_to_string("/proc/sys/net/core/wmem_max").unwrap();
        let room = 2 * wmem.trim().parse::<usize>().unwrap();
        // A device takes 16 bytes in each of its roles.
        let roles: Vec<String> = (0..room / 16 / 5_000 + 2)
            .map(|i| format!("r{i}"))
            .collect();
        let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
        for i in 0..5_000 {
            let address = format!("10.64.{}.{}", i / 250 + 1, i % 250 + 1);
            device(&mut config, &format!("d{i}"), &[&address], &roles);
        }
        let parties: Vec<String> = roles.iter().map(|role| format!("role:{role}")).collect();
        let parties: Vec<&str> = parties.iter().map(String::as_str).collect();
        rule(&mut config, "all", &parties, &["his"]);
        let large = Plan::new(&config, &facts());
        let size = nft::batch_size(&large).unwrap();
        match nft::apply(&large) {
            Err(SegmentError::TooLarge { batch, buffer }) => {
                assert!(
                    batch == size && buffer < size,
                    "{batch} and {buffer} of {size}"
                );
            }
            other => panic!("{other:?}"),
        }
        verify(&plan).unwrap();
    });
}

#[test]
fn where_the_hospital_routes_devices_keep_their_addresses() {
    world(
        "where_the_hospital_routes_devices_keep_their_addresses",
        || {
            small(HospitalMode::Routed);
            let console = allowed("device", "10.64.0.3", "10.20.1.10:3389");
            assert_eq!(console, "10.64.0.3 called 10.20.1.10:3389");
            for (device, service) in [
                ("10.64.0.3", "10.20.1.10:3389"),
                ("fd64::3", "[fd20::10]:3389"),
            ] {
                let mut flow = Flow::dial("device", device, service).unwrap();
                let received = world::received();
                assert!(flow.lives(LONG) && world::received() > received);
                conntrack::cut(&[Cut::Device {
                    address: ip(device),
                }])
                .unwrap();
                let received = world::received();
                assert!(!flow.lives(SHORT));
                assert_eq!(world::received(), received, "one way is open");
            }
            let dial = |to: &str, device: &str| {
                let source = upstream::source(HospitalMode::Routed, ip(device));
                let connect = upstream::connect(at(to), source, SHORT);
                runtime().block_on(connect).and_then(Flow::greeted)
            };
            for (service, device) in [
                ("10.20.1.10:2575", "10.64.0.1"),
                ("[fd20::10]:2575", "fd64::1"),
            ] {
                let mut steered = Flow::dial("device", device, service).unwrap();
                let mut leg = dial(service, device).unwrap();
                assert_eq!(leg.greeting, format!("{device} called {service}"));
                assert!(leg.lives(LONG) && steered.lives(LONG));
                assert!(dial(&service.replace("2575", "3389"), device).is_err());
                conntrack::cut(&[Cut::Device {
                    address: ip(device),
                }])
                .unwrap();
                assert!(!leg.lives(SHORT) && !steered.lives(SHORT));
            }
            assert!(
                dial("10.20.1.10:2575", "fd64::1").is_err(),
                "other families"
            );
        },
    );
}

#[test]
fn without_a_tunnel_its_addresses_lead_nowhere() {
    world("without_a_tunnel_its_addresses_lead_nowhere", || {
        let (mut config, _) = small(HospitalMode::Routed);
        let router = config.devices.get_mut(&"ecg-1".parse().unwrap()).unwrap();
        let behind = ["192.168.7.0/24", "fd77::/64"].map(|net| net.parse().unwrap());
        router.networks = behind.to_vec();
        prepare(&config);
        prepare(&config);
        for behind in ["192.168.7.9", "fd77::9"] {
            assert!(shell(&format!("ip route get {behind}")).contains("dev lz0"));
        }
        assert!(shell("ip route get 10.64.0.1").contains("dev lz0"));
        assert!(shell("ip rule").contains("fwmark 0x55000003"));
        for routes in ["ip route", "ip -6 route"] {
            assert_eq!(shell(routes).matches("unreachable").count(), 2);
        }
        let leave = "ip route add default via 10.20.1.10; ip -6 route add default via fd20::10";
        shell(&format!("{leave}; ip link del lz0"));
        for address in ["10.64.0.1", "fd64::1", "192.168.7.9", "fd77::9"] {
            let get = format!("ip route get {address} 2>&1 || true");
            assert!(!shell(&get).contains("dev lan0"), "{}", shell(&get));
        }
        config.hospital.mode = HospitalMode::Snat;
        runtime().block_on(host::prepare(&config)).unwrap();
        assert!(!shell("ip rule; ip -6 rule").contains("fwmark"));
        assert_eq!(
            shell("cat /proc/sys/net/netfilter/nf_conntrack_tcp_loose").trim(),
            "0"
        );
        let missing = runtime()
            .block_on(host::prepare_interface(&config))
            .unwrap_err();
        assert!(
            missing
                .to_string()
                .ends_with("the tunnel's interface is not there")
        );
    });
}

#[test]
fn an_active_device_may_ping_the_gateway_and_nothing_else() {
    world(
        "an_active_device_may_ping_the_gateway_and_nothing_else",
        || {
            small(HospitalMode::Snat);
            let ping = |namespace: &str, from: &str, to: &str| {
                let from: std::net::IpAddr = ip(from);
                let to = ip(to);
                inside(namespace, || world::echo(from, to))
            };
            assert!(ping("device", "10.64.0.1", "10.64.255.254"));
            assert!(ping("device", "fd64::1", "fd64::ffff"));
            assert!(!ping("device", "10.64.0.77", "10.64.255.254"));
            assert!(!ping("device", "10.64.0.1", "10.20.0.1"));
            assert!(!ping("device", "10.64.0.1", "10.20.1.10"));
            assert!(!ping("device", "fd64::1", "fd20::10"));
            assert!(!ping("hospital", "10.20.1.10", "10.20.0.1"));
        },
    );
}

#[test]
fn names_of_sets_and_chains_are_unique() {
    let mut config = fixture::small(HospitalMode::Snat);
    for (i, role) in ["1", "16", "1_v6", "1.v4", "v4"].iter().enumerate() {
        device(
            &mut config,
            role,
            &[&format!("10.64.3.{i}"), &format!("fd64::3:{i}")],
            &[role],
        );
        rule(
            &mut config,
            &format!("x{i}"),
            &[&format!("role:{role}"), &format!("device:{role}")],
            &["his", "his-v6", "console"],
        );
    }
    let plan = Plan::new(&config, &facts());
    let sets: BTreeSet<_> = plan.table().sets.iter().map(|set| &set.name).collect();
    let chains: BTreeSet<_> = plan
        .table()
        .chains
        .iter()
        .map(|chain| &chain.name)
        .collect();
    assert_eq!(sets.len(), plan.table().sets.len());
    assert_eq!(chains.len(), plan.table().chains.len());
    world("names_of_sets_and_chains_are_unique", || apply(&plan));
}
