//! A thousand devices enrol themselves, each with its own token and its own process.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use e2e::{Clinic, Lab, Output, Place, text, wait};

use crate::crowd::key;

const MANY: usize = 1_000;
const AT_ONCE: usize = 8;
const URL: &str = "https://198.51.100.202:8443";
const SITE: &str = r#"
[pki]
server_names = ["198.51.100.202"]

[enrol]
addresses = ["10.64.200.0/21"]
listen = "198.51.100.202:8443"
"#;

/// WireGuard keys by POST, from several at once; every one gets its own address.
#[test]
fn a_thousand_devices_enrol_themselves() {
    Lab::run(|lab| {
        let clinic = Clinic::open_with(lab, |site| site.append(SITE));
        let authority = authority(&clinic);
        let tokens: Vec<String> = (0..MANY)
            .map(|_| {
                let words = [
                    "enroll",
                    "token",
                    "create",
                    "--role",
                    "ecg-home",
                    "--approve",
                    "--hl7-sender",
                    "ECG^HOME",
                ];
                text(&clinic.gateway.json(&words), "token").to_owned()
            })
            .collect();
        let next = AtomicUsize::new(0);
        let begun = Instant::now();
        let work = || {
            let mut taken = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(token) = tokens.get(number) else {
                    return taken;
                };
                taken.push(enrolled(
                    lab,
                    &authority,
                    token,
                    u32::try_from(number).unwrap(),
                ));
            }
        };
        let all: Vec<String> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
            workers
                .into_iter()
                .flat_map(|worker| worker.join().unwrap())
                .collect()
        });
        let took = begun.elapsed();
        let each = took.as_secs_f64() / 1000.0;
        println!(
            "1,000 enrolments in {took:.1?}: {:.0} a minute",
            60.0 / each
        );
        let different: BTreeSet<&String> = all.iter().collect();
        assert_eq!((all.len(), different.len()), (MANY, MANY));
        wait::for_true("all of them", wait::SOON, || {
            let list = clinic.gateway.json(&["device", "list"]);
            list["devices"].as_array().unwrap().len() >= MANY
        });
    });
}

/// The gateway's authority, where devices have its certificate.
fn authority(clinic: &Clinic<'_>) -> String {
    let path = clinic.lab.directory().join("authority.pem");
    std::fs::write(&path, clinic.gateway.authority()).unwrap();
    path.display().to_string()
}

/// The address that a device was given.
fn enrolled(lab: &Lab, authority: &str, token: &str, number: u32) -> String {
    let form = format!(r#"{{"public_key":"{}"}}"#, STANDARD.encode(key(number)));
    let mut command = lab.command(Place::Home1, "curl");
    command.args(["--silent", "--show-error", "--fail", "--cacert", authority]);
    command.args(["-u", &format!("x:{token}"), "--data", &form]);
    command.args(["-H", "Content-Type: application/json"]);
    command.arg(format!("{URL}/v1/wireguard"));
    let said = Output::of(command, Duration::from_secs(60)).ok();
    let place: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    place["addresses"][0].as_str().unwrap().to_owned()
}
