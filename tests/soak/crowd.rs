//! Ten thousand devices: what an operator does often stays quick, and takes effect at once.

use std::fmt::Write;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use e2e::{Clinic, Device, Lab, Place, Site, hl7, lazaret, wait};

const MANY: u32 = 10_000;

/// Devices of the registry: listed, and let in and cut off under traffic.
#[test]
fn ten_thousand_devices_of_the_registry() {
    Lab::run(|lab| {
        let clinic = Clinic::open_with(lab, |site| {
            site.append("[enrol]\naddresses = [\"10.64.128.0/17\"]\n");
        });
        let list = lab.directory().join("list.csv");
        let mut text = "name,roles,wireguard,hl7_sender\n".to_owned();
        for number in 1..MANY {
            let key = STANDARD.encode(key(number));
            writeln!(text, "home-{number},ecg-home,{key},ECG^HOME").unwrap();
        }
        let live = clinic.site.public_key("home-0");
        writeln!(text, "home-0,ecg-home,{},ECG^HOME", live.trim()).unwrap();
        std::fs::write(&list, text).unwrap();
        let said = timed("import of 10,000 devices", || {
            clinic
                .gateway
                .lazaret(&["device", "import", &list.display().to_string()])
                .ok()
        });
        println!("  {}", said.out.lines().last().unwrap_or_default());
        for line in [
            &["device", "list"][..],
            &["device", "list", "--unused", "90d"],
            &["device", "list", "--sort", "handshake"],
            &["--json", "device", "list"],
            &["device", "show", "home-5000"],
            &["status"],
            &["check"],
            &["diff"],
        ] {
            let took = median(|| drop(clinic.gateway.lazaret(line)));
            println!("lazaret {:<32} {took:>10.1?}", line.join(" "));
        }
        comes_and_goes(&clinic);
    });
}

/// The time from the command to the first packet, and to the last.
fn comes_and_goes(clinic: &Clinic<'_>) {
    let shown = clinic.gateway.json(&["device", "show", "home-0"]);
    let home = Device::prepare(clinic.lab, &clinic.site, "home-0", Place::Home2);
    for address in shown["devices"][0]["addresses"].as_array().unwrap() {
        home.add_address(address.as_str().unwrap().parse().unwrap());
    }
    home.dial(e2e::wan4());
    home.wait_for_handshake();
    let mut client = home.mllp(clinic.his.address());
    assert_eq!(client.exchange(&hl7::oru_from("ECG|HOME", "C0")).code, "AA");
    for round in 0..5 {
        let begun = Instant::now();
        let _ = clinic
            .gateway
            .lazaret(&["device", "quarantine", "home-0"])
            .ok();
        let told = begun.elapsed();
        wait::for_true("no session", wait::SOON, || {
            clinic.gateway.status()["sessions"] == 0
        });
        println!(
            "quarantine: said after {told:.1?}, cut after {:.1?}",
            begun.elapsed()
        );
        let begun = Instant::now();
        let _ = clinic
            .gateway
            .lazaret(&["device", "release", "home-0"])
            .ok();
        let told = begun.elapsed();
        let mut client = home.mllp(clinic.his.address());
        let message = hl7::oru_from("ECG|HOME", &format!("C{round}"));
        assert_eq!(client.exchange(&message).code, "AA");
        println!(
            "release: said after {told:.1?}, a message accepted after {:.1?}",
            begun.elapsed()
        );
    }
    let mut client = home.mllp(clinic.his.address());
    let begun = Instant::now();
    let _ = clinic
        .gateway
        .lazaret(&["device", "revoke", "home-0", "--why", "lost"])
        .ok();
    let told = begun.elapsed();
    wait::for_true("the end of its connection", wait::SOON, || {
        client.send(b"x").is_err() || clinic.gateway.status()["sessions"] == 0
    });
    println!(
        "revoke: said after {told:.1?}, cut after {:.1?}",
        begun.elapsed()
    );
    assert!(begun.elapsed() < LIMIT * 4, "{:?}", begun.elapsed());
}

/// Devices of the files: checked.
#[test]
fn ten_thousand_devices_of_the_files() {
    Lab::run(|lab| {
        let site = Site::standard(lab);
        let mut text = String::new();
        for number in 0..MANY {
            let (key, high, low) = (STANDARD.encode(key(number)), number / 250, number % 250);
            write!(
                text,
                "[device.home-{number}]\nwireguard = \"{key}\"\naddresses = [\"10.64.{}.{}\"]\nroles = [\"ecg-home\"]\nhl7_sender = \"ECG^HOME\"\n\n",
                high + 1,
                low + 1
            )
            .unwrap();
        }
        site.append(&text);
        let took = median(|| drop(lazaret(lab, &site, &["check"]).ok()));
        println!("lazaret check with 10,000 devices in its files {took:.1?}");
    });
}

/// A public key that no other number has; its private key is nobody's.
pub(crate) fn key(number: u32) -> [u8; 32] {
    let mut key = [7; 32];
    key[..4].copy_from_slice(&number.to_le_bytes());
    key
}

fn timed<T>(what: &str, action: impl FnOnce() -> T) -> T {
    let (result, took) = wait::timed(action);
    println!("{what} {took:.1?}");
    result
}

fn median(mut action: impl FnMut()) -> Duration {
    let mut all: Vec<Duration> = (0..5).map(|_| wait::timed(&mut action).1).collect();
    all.sort();
    all[2]
}

/// What a change may need to take effect.
const LIMIT: Duration = Duration::from_secs(2);
