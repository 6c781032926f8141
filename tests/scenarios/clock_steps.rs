//! A wall clock that steps by a day, ahead and back, under a gateway at work: what ends, ends for as long as it is late;
//! nobody who is let in for longer notices, and nothing is taken for good. Certificates: `gateway/src/pki/tests`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use e2e::hl7;
use e2e::{Clinic, Device, Gateway, Lab, Output, Place, WallClock, text, wait};

const SITE: &str = r#"
[pki]
server_names = ["198.51.100.202"]

[enrol]
addresses = ["10.64.200.0/24"]
listen = "198.51.100.202:8443"
"#;
fn standing(gateway: &Gateway<'_>, device: &str) -> String {
    let shown = gateway.json(&["device", "show", device]);
    text(&shown["devices"][0], "standing").to_owned()
}

fn stands(gateway: &Gateway<'_>, device: &str, wanted: &str) {
    wait::for_true(wanted, wait::SOON, || standing(gateway, device) == wanted);
}

fn token(gateway: &Gateway<'_>) -> String {
    let words = [
        "enroll", "token", "create", "--role", "ecg-home", "--ttl", "1h",
    ];
    let made = gateway.json(&[&words[..], &["--approve", "--hl7-sender", "ECG^HOME"]].concat());
    text(&made, "token").to_owned()
}

/// Whether a device is enrolled with a token.
fn enrols(clinic: &Clinic<'_>, authority: &Path, token: &str, name: &str) -> bool {
    let key = clinic.site.public_key(name);
    let form = format!(r#"{{"public_key":"{}"}}"#, key.trim());
    let mut command = clinic.lab.command(Place::Home1, "curl");
    command.args(["--silent", "--show-error", "--fail", "--cacert"]);
    command.arg(authority);
    command.args(["-u", &format!("x:{token}"), "--data", &form]);
    command.args(["-H", "Content-Type: application/json"]);
    command.arg("https://198.51.100.202:8443/v1/wireguard");
    Output::of(command, Duration::from_secs(60)).code == 0
}

fn authority(clinic: &Clinic<'_>) -> PathBuf {
    let path = clinic.lab.directory().join("authority.pem");
    std::fs::write(&path, clinic.gateway.authority()).unwrap();
    path
}

/// Known until twelve hours from now.
fn until_tonight<'a>(clinic: &Clinic<'a>) -> Device<'a> {
    let mut date = clinic.lab.command(Place::Gateway, "date");
    date.args(["--utc", "--date", "12 hours", "+%FT%TZ"]);
    let end = Output::of(date, Duration::from_secs(60)).ok().out;
    let key = clinic.site.public_key("home-7");
    let words = [
        "device",
        "add",
        "home-7",
        "--role",
        "ecg-home",
        "--wireguard",
    ];
    let more = ["--hl7-sender", "ECG^CARDIO", "--expires", end.trim()];
    let added = clinic
        .gateway
        .json(&[&words[..], &[key.trim()], &more].concat());
    let home = Device::prepare(clinic.lab, &clinic.site, "home-7", Place::Home2);
    for address in added["devices"][0]["addresses"].as_array().unwrap() {
        home.add_address(address.as_str().unwrap().parse().unwrap());
    }
    home.dial(e2e::wan4());
    home
}

fn reaches(home: &Device<'_>, clinic: &Clinic<'_>) -> bool {
    let his = clinic.his.address();
    home.tcp_within(his, Duration::from_secs(2)).is_ok()
}

//= C5
//= C9
#[test]
fn a_clock_that_steps_by_a_day_takes_nothing_for_good() {
    Lab::run(|lab| {
        let mut clinic = Clinic::open_with(lab, |site| site.append(SITE));
        let clock = WallClock::new(lab);
        clinic.gateway.kill9(clinic.gateway.pid());
        let _ = clinic.gateway.wait_for_end();
        clinic.gateway = Gateway::start_by(lab, &clinic.site, &clock);
        let (gateway, ca) = (&clinic.gateway, authority(&clinic));
        let home = until_tonight(&clinic);
        let (first, second) = (token(gateway), token(gateway));
        wait::for_true("its service", wait::SOON, || reaches(&home, &clinic));
        clinic.ecg.wait_for_handshake();
        let mut client = clinic.ecg.mllp(clinic.his.address());
        assert_eq!(client.exchange(&hl7::oru("K0")).code, "AA");

        clock.is_off_by("+1d");
        stands(gateway, "home-7", "expired");
        let ended = |record: &serde_json::Value| text(record, "after") == "expired";
        let record = gateway.wait_for_record("device-standing", ended);
        assert!(record["by"].is_null(), "nobody asked for it: {record}");
        assert!(!reaches(&home, &clinic));
        assert!(
            !enrols(&clinic, &ca, &first, "late-1"),
            "a token of yesterday"
        );
        assert_eq!(client.exchange(&hl7::oru("K1")).code, "AA");

        clock.is_off_by("+0");
        stands(gateway, "home-7", "active");
        wait::for_true("its service again", wait::SOON, || reaches(&home, &clinic));
        assert!(
            enrols(&clinic, &ca, &first, "late-1"),
            "the token is still good"
        );
        assert_eq!(client.exchange(&hl7::oru("K2")).code, "AA");

        clock.is_off_by("-1d");
        // A record tells that the gateway has the day before.
        let _ = gateway.lazaret(&["device", "quarantine", "ecg-0043"]).ok();
        let about = |record: &serde_json::Value| text(record, "device") == "ecg-0043";
        gateway.wait_for_record("device-standing", about);
        assert_eq!(standing(gateway, "home-7"), "active");
        assert!(reaches(&home, &clinic));
        assert!(
            !enrols(&clinic, &ca, &second, "late-2"),
            "a token of tomorrow"
        );
        assert_eq!(client.exchange(&hl7::oru("K3")).code, "AA");

        clock.is_off_by("+0");
        assert!(enrols(&clinic, &ca, &second, "late-2"));
        assert_eq!(client.exchange(&hl7::oru("K4")).code, "AA");
        let said = gateway.lazaret(&["audit", "verify"]);
        assert_eq!(said.code, 0, "{}", said.all());
    });
}
