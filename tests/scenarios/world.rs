//! The laboratory itself, without a gateway of ours: an ordinary WireGuard router stands in.
//! Shows that the peers work and that a capture sees what passes, so that "nothing arrived" means something.

use e2e::{
    Archive, Archiving, Behaviour, CONSOLE, Device, HIS, His, Images, Lab, PACS, Place, Process,
    Sink, Site, Watch, data_set, hl7, tunnel::Middle, wait,
};

/// A router that lets everything pass.
fn stand_in(lab: &Lab, site: &Site, devices: &[&str]) -> Process {
    let process = lab.start(Place::Gateway, "stand-in", &["wireguard-go", "-f", "lz-wg"]);
    wait::for_true("the stand-in", wait::SOON, || {
        std::path::Path::new("/run/wireguard/lz-wg.sock").exists()
    });
    let mut script = format!(
        "echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding\n\
         wg set lz-wg listen-port 51820 private-key {}/wireguard.key\n\
         ip addr add 10.64.255.254/16 dev lz-wg; ip addr add fd64::ffff/64 dev lz-wg nodad; ip link set lz-wg up\n",
        site.directory().display()
    );
    for device in devices {
        let addresses = site.addresses(device);
        let all: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        script += &format!(
            "wg set lz-wg peer {} allowed-ips {}\n",
            site.public_key(device),
            all.join(",")
        );
    }
    let _ = lab.output(Place::Gateway, &["sh", "-euc", &script]).ok();
    process
}

#[test]
fn peers_reach_each_other_and_the_capture_sees_it() {
    Lab::run(|lab| {
        let site = Site::standard(lab);
        let _router = stand_in(lab, &site, &["ecg-0042", "us-07"]);
        let his = His::start(lab);
        let console = Sink::listen(
            lab,
            Place::Hospital,
            (CONSOLE, 3389).into(),
            Behaviour::Echo,
        );
        let watch = Watch::start(lab, Place::Hospital, "eth0");
        let device = Device::connect(lab, &site, "ecg-0042", Place::Home1);

        let file = lab.directory().join("message");
        std::fs::write(&file, hl7::frame(&hl7::oru("W1"))).unwrap();
        let said = device.mllp_send(his.address(), &file).ok();
        assert_eq!(hl7::field(&said.out, "MSA", 1), "AA", "{}", said.out);
        // mllp_send leaves the last segment terminator out.
        assert_eq!(his.wait_for(1)[0], hl7::oru("W1").trim_ascii_end());

        let answer = device.mllp(his.address()).exchange(&hl7::oru("W2"));
        assert_eq!(
            (answer.code.as_str(), answer.control.as_str()),
            ("AA", "W2")
        );
        his.behave("AE");
        assert_eq!(
            device.mllp(his.address()).exchange(&hl7::oru("W3")).code,
            "AE"
        );

        let mut stream = device.tcp((CONSOLE, 3389).into()).unwrap();
        std::io::Write::write_all(&mut stream, b"hello").unwrap();
        assert_eq!(console.wait_for_bytes(5), b"hello");

        let seen = watch.stop();
        assert!(seen.payload_to((HIS, 2575).into()) > 3 * hl7::oru("W1").len());
        assert_eq!(seen.payload_to((CONSOLE, 3389).into()), 5);
        assert_eq!(seen.packets_to(PACS), 0);
        assert!(seen.packets_from(site.addresses("ecg-0042")[0]) > 0);
    });
}

#[test]
fn archives_store_and_answer() {
    Lab::run(|lab| {
        let site = Site::standard(lab);
        let _router = stand_in(lab, &site, &["ecg-0042", "us-07"]);
        let images = Images::make(lab);
        let device = Device::connect(lab, &site, "us-07", Place::Home2);
        {
            let archive = Archive::start(lab, Archiving::Storescp);
            let _ = device.echoscu("US07", "PACS1").ok();
            let _ = device
                .storescu("US07", "PACS1", &[&images.path("us.dcm")])
                .ok();
            let stored = archive.wait_for(1);
            assert!(!data_set(&stored[0]).is_empty());
        }
        {
            let archive = Archive::start(lab, Archiving::Pynetdicom);
            let _ = device
                .storescu("US07", "PACS1", &[&images.path("ct.dcm")])
                .ok();
            let _ = archive.wait_for(1);
            let said =
                device.modality("instance-mismatch", "US07", "PACS1", &images.path("us.dcm"));
            assert!(said.out.contains("status 0000"), "{}", said.all());
        }
        let archive = Archive::start(lab, Archiving::Dcmqrscp);
        let _ = device
            .storescu("US07", "PACS1", &[&images.path("us.dcm")])
            .ok();
        let _ = archive.wait_for(1);
        let said = device
            .findscu("US07", "PACS1", &["StudyInstanceUID", "PatientID"])
            .ok();
        assert!(said.all().contains("(0020,000d)"), "{}", said.all());
    });
}

#[test]
fn the_internet_passes_and_keeps_datagrams_and_devices_roam() {
    Lab::run(|lab| {
        let site = Site::standard(lab);
        let _router = stand_in(lab, &site, &["ecg-0042", "us-07"]);
        let middle = Middle::start(lab);
        let device = Device::prepare(lab, &site, "ecg-0042", Place::Home1);
        device.dial(middle.address());
        device.wait_for_handshake();
        assert_eq!(middle.recorded(1).len(), 1);
        assert!(middle.answers() > 0);
        // Another address outside, and the same connection inside.
        let his = His::start(lab);
        let direct = Device::connect(lab, &site, "us-07", Place::Home2);
        let mut client = direct.mllp(his.address());
        assert_eq!(client.exchange(&hl7::oru("W1")).code, "AA");
        direct.roam();
        assert_eq!(client.exchange(&hl7::oru("W2")).code, "AA");
        direct.dial(e2e::wan6());
        assert_eq!(client.exchange(&hl7::oru("W3")).code, "AA");
    });
}
