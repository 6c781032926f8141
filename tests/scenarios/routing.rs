//! Whom the hospital sees: the gateway or the device itself, for what is relayed and what is forwarded, IPv4 and IPv6;
//! and devices that stand behind a router.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use e2e::hl7::{self, Client};
use e2e::{
    Archive, Archiving, Behaviour, CONSOLE, Device, Gateway, HIS, His, Images, Lab, Place, Sink,
    Site, Watch, text, wait,
};

#[test]
fn routed_services_see_the_device_and_snat_services_the_gateway() {
    for mode in ["routed", "snat"] {
        Lab::run(|lab| {
            let site = Site::standard(lab);
            site.replace("mode = \"snat\"", &format!("mode = \"{mode}\""));
            let gateway = Gateway::start(lab, &site);
            let his = His::start(lab);
            let six: SocketAddr = "[fd20::210]:2575".parse().unwrap();
            let six_his = Sink::listen(lab, Place::Hospital, six, Behaviour::Acknowledge);
            let console6: SocketAddr = "[fd20::5]:3389".parse().unwrap();
            let _consoles = [(CONSOLE, 22).into(), console6]
                .map(|to| Sink::listen(lab, Place::Hospital, to, Behaviour::Echo));
            let archive = Archive::start(lab, Archiving::Storescp);
            let images = Images::make(lab);
            let ecg = Device::connect(lab, &site, "ecg-0042", Place::Home1);
            let us = Device::connect(lab, &site, "us-07", Place::Home2);
            let desk = Device::connect(lab, &site, "desk-1", Place::Clinician);

            let watch = Watch::start(lab, Place::Hospital, "eth0");
            assert_eq!(ecg.mllp(his.address()).exchange(&hl7::oru("R4")).code, "AA");
            assert_eq!(ecg.mllp(six).exchange(&hl7::oru("R6")).code, "AA");
            let _ = us.storescu("US07", "PACS1", &[&images.path("us.dcm")]).ok();
            for to in [(CONSOLE, 22).into(), console6] {
                echoes(&desk.tcp(to).unwrap());
            }
            let seen = watch.stop();
            assert_eq!(archive.wait_for(1).len(), 1);
            assert_eq!(six_his.bytes(), hl7::frame(&hl7::oru("R6")));
            let own = [ecg.addresses(), &us.addresses()[..1], desk.addresses()].concat();
            let gateways: [IpAddr; 2] = ["10.20.0.1".parse().unwrap(), "fd20::1".parse().unwrap()];
            let count = |addresses: &[IpAddr]| -> Vec<bool> {
                addresses
                    .iter()
                    .map(|a| seen.packets_from(*a) > 0)
                    .collect()
            };
            assert_eq!(count(&own), vec![mode == "routed"; own.len()], "{own:?}");
            assert_eq!(count(&gateways), [mode == "snat"; 2]);
            assert_eq!(gateway.status()["table"], "as-planned");
        });
    }
}

/// One tunnel, two devices behind it: each its own rules, neither the other's, and the router none of both.
//= C5
#[test]
fn devices_behind_a_router_have_rules_of_their_own() {
    Lab::run(|lab| {
        let site = Site::standard(lab);
        site.append(ROUTER);
        let gateway = Gateway::start(lab, &site);
        let _his = His::start(lab);
        let console = Sink::listen(lab, Place::Hospital, (CONSOLE, 22).into(), Behaviour::Echo);
        let router = Device::connect(lab, &site, "clinic", Place::Home1);
        let [ward, desk, nobody] = ["10.64.8.1", "10.64.8.2", "10.64.8.9"]
            .map(|address| address.parse::<IpAddr>().unwrap());
        for address in [ward, desk, nobody] {
            router.add_address(address);
        }
        let ward_message = |control| hl7::oru_from("WARD|CLINIC", control);
        let mllp = |from| router.tcp_from(from, (HIS, 2575).into()).map(Client::new);
        let mut client = mllp(ward).unwrap();
        assert_eq!(client.exchange(&ward_message("W1")).code, "AA");
        // The sender is bound to the device behind, not to the router.
        assert_eq!(client.exchange(&hl7::oru("W2")).code, "AR");
        echoes(&router.tcp_from(desk, (CONSOLE, 22).into()).unwrap());
        for (from, to) in [
            (ward, (CONSOLE, 22)),
            (desk, (HIS, 2575)),
            (nobody, (HIS, 2575)),
            (nobody, (CONSOLE, 22)),
            (router.addresses()[0], (HIS, 2575)),
            (router.addresses()[0], (CONSOLE, 22)),
        ] {
            assert!(
                router.tcp_from(from, to.into()).is_err(),
                "{from} reached {to:?}"
            );
        }
        assert_eq!(console.received().len(), 1);
        let decision = gateway.wait_for_decisions("ward-1", 1);
        assert_eq!(text(&decision[0], "rule"), "ecg-results");
        let shown = gateway.lazaret(&["device", "show", "ward-1"]).ok();
        assert!(shown.out.contains("clinic"), "{}", shown.out);
        // Quarantine of the router holds for all behind it.
        let mut client = mllp(ward).unwrap();
        assert_eq!(client.exchange(&ward_message("W3")).code, "AA");
        let _ = gateway.lazaret(&["device", "quarantine", "clinic"]).ok();
        let _ = client.send(&hl7::frame(&ward_message("W4")));
        assert!(
            !matches!(client.reply(Duration::from_secs(2)), hl7::Reply::Answer(_)),
            "the router is in quarantine"
        );
        assert!(mllp(ward).is_err());
        let _ = gateway.lazaret(&["device", "release", "clinic"]).ok();
        wait::for_true("a message after the release", wait::SOON, || {
            mllp(ward).is_ok_and(|mut client| client.exchange(&ward_message("W5")).code == "AA")
        });
    });
}

/// A window of hours ends while connections are open: they end with it, others do not.
//= C9
#[test]
fn hours_end_what_is_under_way() {
    Lab::run(|lab| {
        let site = Site::standard(lab);
        // The first full minute that leaves time to begin.
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        let end = (now.as_secs() + 15).div_ceil(60) * 60;
        let clock = |seconds: u64| format!("{:02}:{:02}", seconds / 3600 % 24, seconds / 60 % 60);
        let hours = format!(
            "hours = \"mon-sun {}-{} UTC\"\n",
            clock(end - 7200),
            clock(end)
        );
        site.replace("[rule.consoles]\n", &format!("[rule.consoles]\n{hours}"));
        site.replace("[rule.queries]\n", &format!("[rule.night]\nfrom = [\"device:ecg-0043\"]\nto = [\"his-night\"]\nhl7 = {{ send = [\"ORU^R01\"] }}\n{hours}\n[service.his-night]\naddress = \"10.20.2.10:2576\"\nprotocol = \"hl7\"\n\n[rule.queries]\n"));
        let gateway = Gateway::start(lab, &site);
        let his = His::start(lab);
        let night = His::start_at(lab, "night", (HIS, 2576).into());
        let _console = Sink::listen(lab, Place::Hospital, (CONSOLE, 22).into(), Behaviour::Echo);
        let ecg = Device::connect(lab, &site, "ecg-0042", Place::Home1);
        let other = Device::connect(lab, &site, "ecg-0043", Place::Home2);
        let desk = Device::connect(lab, &site, "desk-1", Place::Clinician);
        let mut always = ecg.mllp(his.address());
        let mut limited = other.mllp(night.address());
        let shell = desk.tcp((CONSOLE, 22).into()).unwrap();
        echoes(&shell);
        assert_eq!(always.exchange(&hl7::oru("H1")).code, "AA");
        assert_eq!(
            limited.exchange(&hl7::oru_from("ECG|WARD3", "H2")).code,
            "AA"
        );

        let left = std::time::UNIX_EPOCH + Duration::from_secs(end);
        std::thread::sleep(
            left.duration_since(std::time::SystemTime::now())
                .unwrap_or_default(),
        );
        std::thread::sleep(Duration::from_secs(2));
        shell
            .set_read_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        assert!(
            (&shell).write_all(b"x").is_err() || !matches!((&shell).read(&mut [0]), Ok(1)),
            "the console still answers"
        );
        let sent = limited.send(&hl7::frame(&hl7::oru_from("ECG|WARD3", "H3")));
        assert!(
            sent.is_err()
                || !matches!(limited.reply(Duration::from_secs(2)), hl7::Reply::Answer(a) if a.code == "AA")
        );
        assert!(
            desk.tcp_within((CONSOLE, 22).into(), Duration::from_millis(500))
                .is_err()
        );
        assert!(
            other
                .tcp_within(night.address(), Duration::from_millis(500))
                .is_err()
        );
        assert_eq!(night.received().len(), 1);
        let ended = gateway.wait_for_record("console-ended", |_| true);
        assert_eq!(text(&ended, "why"), "hours", "{ended}");
        assert_eq!(always.exchange(&hl7::oru("H4")).code, "AA");
        assert_eq!(gateway.status()["table"], "as-planned");
    });
}

const ROUTER: &str = r#"
[device.clinic]
wireguard = "{clinic}"
addresses = ["10.64.0.8"]
networks = ["10.64.8.0/24"]

[device.ward-1]
via = "clinic"
addresses = ["10.64.8.1"]
roles = ["ecg-home"]
hl7_sender = "WARD^CLINIC"

[device.ward-desk]
via = "clinic"
addresses = ["10.64.8.2"]
roles = ["radiologist"]
ae_title = "WARD2"
"#;

fn echoes(mut stream: &TcpStream) {
    stream.write_all(b"ping").unwrap();
    let mut back = [0; 4];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"ping");
}
