//! Whom a device may reach: only what a rule names, in every direction, over IPv4 and IPv6.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use e2e::{
    Behaviour, Device, Gateway, HIS, His, Lab, PACS, Place, Sink, Site, Watch, hl7, text, wait,
    wan4,
};

const CONSOLE6: &str = "fd20::5";
const GATEWAY4: &str = "10.64.255.254";

/// Who may open which TCP connection. Everything that may not must not even send a packet into the hospital.
//= C3
#[test]
fn the_matrix_holds() {
    let allowed = [
        ("desk-1", "10.20.0.5:3389"),
        ("desk-1", "10.20.0.5:22"),
        ("desk-1", "[fd20::5]:3389"),
    ];
    let denied = [
        ("desk-1", "10.20.0.5:80"),
        ("desk-1", "[fd20::5]:22"),
        ("desk-1", "10.20.2.10:2575"),
        ("desk-1", "[fd20::210]:2575"),
        ("ecg-0042", "10.20.0.5:3389"),
        ("ecg-0042", "[fd20::5]:3389"),
        ("ecg-0042", "10.20.1.10:104"),
        ("ecg-0042", "10.20.2.10:22"),
        ("us-07", "10.20.2.10:2575"),
        ("us-07", "10.20.0.5:22"),
        ("us-07", "10.20.1.10:2575"),
    ];
    Lab::run(|lab| {
        let site = Site::standard(lab);
        let _gateway = Gateway::start(lab, &site);
        let mut sinks = Vec::new();
        for (_, address) in allowed.iter().chain(&denied) {
            sinks.push((*address, address.parse::<SocketAddr>().unwrap()));
        }
        sinks.sort();
        sinks.dedup();
        let _sinks: Vec<Sink> = sinks
            .iter()
            .map(|(_, address)| Sink::listen(lab, Place::Hospital, *address, Behaviour::Echo))
            .collect();
        let devices = [
            (
                "ecg-0042",
                Device::connect(lab, &site, "ecg-0042", Place::Home1),
            ),
            ("us-07", Device::connect(lab, &site, "us-07", Place::Home2)),
            (
                "desk-1",
                Device::connect(lab, &site, "desk-1", Place::Clinician),
            ),
        ];
        let device = |name: &str| &devices.iter().find(|(known, _)| *known == name).unwrap().1;

        let watch = Watch::start(lab, Place::Hospital, "eth0");
        for (name, address) in denied {
            let to = address.parse().unwrap();
            let result = device(name).tcp_within(to, Duration::from_millis(700));
            assert!(result.is_err(), "{name} reached {address}");
        }
        let seen = watch.stop();
        for (_, address) in denied {
            let to: SocketAddr = address.parse().unwrap();
            assert_eq!(seen.packets_to(to.ip()), 0, "a packet reached {address}");
        }
        for (name, address) in allowed {
            let stream = device(name).tcp(address.parse().unwrap());
            echoes(&stream.unwrap_or_else(|error| panic!("{name} to {address}: {error}")));
        }
    });
}

#[test]
fn devices_do_not_reach_each_other_or_the_gateway() {
    Lab::run(|lab| {
        let clinic = e2e::Clinic::open(lab);
        let other = clinic.bystander();
        for address in clinic.site.addresses("ecg-0043") {
            let _listener =
                Sink::listen(lab, Place::Home2, (address, 2575).into(), Behaviour::Echo);
            let result = clinic
                .ecg
                .tcp_within((address, 2575).into(), Duration::from_millis(700));
            assert!(result.is_err(), "reached {address}");
        }
        // The relay's own listeners, and anything else on the gateway.
        let listening = listeners(lab);
        assert!(!listening.is_empty(), "the relay listens somewhere");
        for address in [GATEWAY4, "fd64::ffff", "10.20.0.1", "fd20::1"] {
            let address: IpAddr = address.parse().unwrap();
            for port in listening.iter().copied().chain([22, 51820]) {
                let result = clinic
                    .ecg
                    .tcp_within((address, port).into(), Duration::from_millis(200));
                assert!(result.is_err(), "reached {address}:{port}");
            }
        }
        // Neither from the internet: only the tunnel's UDP port is there.
        for port in listening {
            let to: SocketAddr = (wan4().ip(), port).into();
            let result = lab.inside(Place::Home1, || {
                TcpStream::connect_timeout(&to, Duration::from_millis(200))
            });
            assert!(result.is_err(), "the internet reached {to}");
        }
        assert_eq!(
            other
                .mllp((HIS, 2575).into())
                .exchange(&hl7::oru_from("ECG|WARD3", "B"))
                .code,
            "AA"
        );
    });
}

#[test]
fn the_hospital_does_not_reach_devices() {
    Lab::run(|lab| {
        let clinic = e2e::Clinic::open(lab);
        let watch = Watch::start(lab, Place::Home1, "wg0");
        for address in clinic.site.addresses("ecg-0042") {
            let _listener = Sink::listen(lab, Place::Home1, (address, 22).into(), Behaviour::Echo);
            let to: SocketAddr = (address, 22).into();
            let result = lab.inside(Place::Hospital, || {
                TcpStream::connect_timeout(&to, Duration::from_millis(700))
            });
            assert!(result.is_err(), "the hospital reached {to}");
        }
        // The twin: an answer to what the device asked does come back.
        assert_eq!(
            clinic
                .ecg
                .mllp(clinic.his.address())
                .exchange(&hl7::oru("A"))
                .code,
            "AA"
        );
        let seen = watch.stop();
        assert_eq!(seen.payload_to((clinic.ecg.addresses()[0], 22).into()), 0);
        assert_eq!(seen.packets_from(PACS), 0);
    });
}

//= C5
#[test]
fn a_foreign_inner_source_is_dropped_and_reported() {
    Lab::run(|lab| {
        let site = Site::standard(lab);
        let gateway = Gateway::start(lab, &site);
        let sink = Sink::listen(
            lab,
            Place::Hospital,
            ("10.20.0.5".parse::<IpAddr>().unwrap(), 22).into(),
            Behaviour::Echo,
        );
        let desk = Device::connect(lab, &site, "desk-1", Place::Clinician);
        let ecg = Device::connect(lab, &site, "ecg-0042", Place::Home1);
        // The address of the desk, which may reach the console, and one of nobody.
        for foreign in ["10.64.0.3", "10.64.7.7"] {
            let foreign: IpAddr = foreign.parse().unwrap();
            ecg.add_address(foreign);
            let socket = lab.inside(Place::Home1, || UdpSocket::bind((foreign, 0)).unwrap());
            for _ in 0..5 {
                socket.send_to(b"spoofed", "10.20.0.5:22").unwrap();
            }
        }
        let record = gateway.wait_for_record("source-spoofed", |record| {
            text(record, "device") == "ecg-0042"
        });
        assert!(record["packets"].as_u64().unwrap() >= 1, "{record}");
        assert!(sink.received().is_empty());
        echoes(&desk.tcp("10.20.0.5:22".parse().unwrap()).unwrap());
    });
}

#[test]
fn denied_flows_are_shown() {
    Lab::run(|lab| {
        let site = Site::standard(lab);
        let gateway = Gateway::start(lab, &site);
        let ecg = Device::connect(lab, &site, "ecg-0042", Place::Home1);
        let _ = ecg.tcp_within(
            "10.20.0.5:3389".parse().unwrap(),
            Duration::from_millis(300),
        );
        let flows = wait::until("a denied flow", wait::SOON, || {
            let answer = gateway.json(&["flow", "denied"]);
            let flows = answer["flows"].as_array().cloned().unwrap_or_default();
            (!flows.is_empty()).then_some(flows)
        });
        let flow = &flows[0];
        assert_eq!(text(flow, "device"), "ecg-0042");
        assert_eq!(text(&flow["flow"], "destination"), "10.20.0.5:3389");
        assert_eq!(text(flow, "transport"), "tcp");
        let human = gateway.lazaret(&["flow", "denied"]).ok();
        assert!(
            human.out.contains("ecg-0042") && human.out.contains("10.20.0.5:3389"),
            "{}",
            human.out
        );
        gateway.wait_for_record("flow-denied", |record| text(record, "device") == "ecg-0042");
    });
}

//= C4
#[test]
fn nothing_passes_before_the_rules_are_there() {
    Lab::run(|lab| {
        let site = Site::standard(lab);
        let his = His::start(lab);
        // The device dials before the gateway is there, and goes on while it starts.
        let ecg = Device::prepare(lab, &site, "ecg-0042", Place::Home1);
        ecg.dial(wan4());
        let watch = Watch::start(lab, Place::Hospital, "eth0");
        let flood = lab.inside(Place::Home1, || UdpSocket::bind("0.0.0.0:0").unwrap());
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let flooding = std::thread::spawn(move || {
            while stopped.try_recv().is_err() {
                let _ = flood.send_to(b"early", "10.20.0.5:3389");
                std::thread::sleep(Duration::from_micros(200));
            }
        });
        let gateway = Gateway::start(lab, &site);
        ecg.wait_for_handshake();
        assert_eq!(ecg.mllp(his.address()).exchange(&hl7::oru("S")).code, "AA");
        stop.send(()).unwrap();
        flooding.join().unwrap();
        drop(gateway);
        assert_eq!(watch.stop().packets_to("10.20.0.5".parse().unwrap()), 0);
    });
}

#[test]
fn a_routed_hospital_sees_the_devices_own_addresses() {
    Lab::run(|lab| {
        let site = Site::standard(lab);
        site.replace("mode = \"snat\"", "mode = \"routed\"");
        let _gateway = Gateway::start(lab, &site);
        let _console = Sink::listen(
            lab,
            Place::Hospital,
            (CONSOLE6.parse::<IpAddr>().unwrap(), 3389).into(),
            Behaviour::Echo,
        );
        let desk = Device::connect(lab, &site, "desk-1", Place::Clinician);
        let watch = Watch::start(lab, Place::Hospital, "eth0");
        echoes(
            &desk
                .tcp((CONSOLE6.parse::<IpAddr>().unwrap(), 3389).into())
                .unwrap(),
        );
        let seen = watch.stop();
        assert!(seen.packets_from(desk.addresses()[1]) > 0);
        assert_eq!(seen.packets_from("fd20::1".parse().unwrap()), 0);
    });
}

fn echoes(mut stream: &TcpStream) {
    stream.write_all(b"ping").unwrap();
    let mut back = [0; 4];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"ping");
}

/// TCP ports on which something listens in the gateway's namespace.
fn listeners(lab: &Lab) -> Vec<u16> {
    let said = lab.output(
        Place::Gateway,
        &["cat", "/proc/self/net/tcp", "/proc/self/net/tcp6"],
    );
    let lines = said.out.lines().filter(|line| line.contains(" 0A "));
    let ports = lines.filter_map(|line| line.split_whitespace().nth(1)?.rsplit(':').next());
    ports
        .filter_map(|port| u16::from_str_radix(port, 16).ok())
        .collect()
}
