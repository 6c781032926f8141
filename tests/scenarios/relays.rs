//! Several relays of each protocol: a device has one of them, and what befalls one does not befall the others.

use std::time::{Duration, Instant};

use e2e::hl7::{self, Client, Reply};
use e2e::{Clinic, Device, Lab, text, wait};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The first device has `relay-hl7`, the second `relay-hl7-2`, and nobody the third.
struct Ward<'a> {
    clinic: Clinic<'a>,
    bystander: Device<'a>,
    first: [Client; 2],
    second: Client,
}

impl<'a> Ward<'a> {
    fn open(lab: &'a Lab) -> Self {
        let clinic = Clinic::open_with(lab, |site| {
            site.replace("relay_workers = 1", "relay_workers = 3");
        });
        let bystander = clinic.bystander();
        let his = clinic.his.address();
        let first = [0, 1].map(|_| clinic.ecg.mllp(his));
        let mut ward = Self {
            second: bystander.mllp(his),
            clinic,
            bystander,
            first,
        };
        for (number, client) in ward.first.iter_mut().enumerate() {
            let answer = client.exchange(&hl7::oru(&format!("W{number}")));
            assert_eq!(answer.code, "AA");
        }
        ward.second_works("W2");
        ward
    }

    fn second_works(&mut self, control: &str) {
        let message = hl7::oru_from("ECG|WARD3", control);
        assert_eq!(self.second.exchange(&message).code, "AA");
    }
}

fn is_over(client: &mut Client) -> bool {
    matches!(
        client.reply(wait::SOON),
        Reply::Closed | Reply::Reset | Reply::Nothing
    )
}

//= C4
#[test]
fn a_relay_that_dies_takes_the_connections_of_its_own_devices_alone() {
    Lab::run(|lab| {
        let mut ward = Ward::open(lab);
        let before = ward.clinic.gateway.workers();
        for name in ["relay-hl7", "relay-hl7-2", "relay-hl7-3", "relay-dicom-3"] {
            assert!(before.contains_key(name), "{name}: {before:?}");
        }
        assert_eq!(before.len(), 2 + 2 * 3);
        ward.clinic.gateway.kill9(before["relay-hl7"]);
        assert!(ward.first.iter_mut().all(is_over));
        ward.second_works("D1");
        // Its device need not wait until it is back.
        let his = ward.clinic.his.address();
        wait::for_true("another relay", wait::SOON, || {
            let Ok(stream) = ward.clinic.ecg.tcp(his) else {
                return false;
            };
            let mut client = Client::new(stream);
            let _ = client.send(&hl7::frame(&hl7::oru("D2")));
            matches!(client.reply(Duration::from_secs(5)), Reply::Answer(a) if a.code == "AA")
        });
        let died = ward
            .clinic
            .gateway
            .wait_for_record("worker-died", |record| {
                text(record, "worker") == "relay-hl7"
            });
        assert_eq!(text(&died, "worker"), "relay-hl7");
        ward.second_works("D3");
        wait::for_true("all relays", wait::SOON, || {
            ward.clinic.gateway.workers().len() == before.len()
        });
        let _ = ward.clinic.gateway.lazaret(&["audit", "verify"]).ok();
    });
}

//= C9
#[test]
fn rights_end_and_drains_reach_every_relay() {
    Lab::run(|lab| {
        let mut ward = Ward::open(lab);
        let gateway = &ward.clinic.gateway;
        let _ = gateway.lazaret(&["device", "quarantine", "ecg-0043"]).ok();
        let begun = Instant::now();
        wait::for_true("the end of its session", Duration::from_secs(2), || {
            gateway.status()["sessions"] == 2
        });
        assert!(begun.elapsed() < Duration::from_secs(2));
        let client = &mut ward.first[1];
        assert_eq!(client.exchange(&hl7::oru("Q1")).code, "AA");
        let _ = gateway.lazaret(&["device", "release", "ecg-0043"]).ok();
        let mut again = ward.bystander.mllp(ward.clinic.his.address());
        let message = hl7::oru_from("ECG|WARD3", "Q2");
        assert_eq!(again.exchange(&message).code, "AA");
        let _ = gateway.lazaret(&["drain", "--timeout", "30s"]).ok();
        assert!(is_over(&mut again));
        assert!(ward.first.iter_mut().all(is_over));
        let _ = gateway.lazaret(&["drain", "--cancel"]).ok();
        let journal = gateway.journal();
        let opened = journal.iter().filter(|r| r["event"] == "connection-opened");
        assert_eq!(opened.count(), 4);
    });
}

/// One that hangs is found by the probe though the others answer, and its number is not changed while the gateway runs.
#[test]
fn every_relay_is_probed_and_their_number_is_fixed() {
    Lab::run(|lab| {
        let mut ward = Ward::open(lab);
        let gateway = &ward.clinic.gateway;
        let failing = |said: &Value| -> Vec<String> {
            let items = said["items"].as_array().unwrap();
            let failing = items.iter().filter(|item| item["ok"] == false);
            failing.map(|item| text(item, "item").to_owned()).collect()
        };
        let relay = gateway.worker("relay-hl7-3");
        let relay = Pid::from_raw(i32::try_from(relay).unwrap()).unwrap();
        kill_process(relay, Signal::STOP).unwrap();
        let said = gateway.lazaret(&["--json", "health"]);
        let health: Value = serde_json::from_str(&said.out).unwrap();
        assert_eq!(failing(&health), ["hl7", "hl7-refusal"]);
        kill_process(relay, Signal::CONT).unwrap();
        wait::for_true("health", wait::SOON, || {
            failing(&gateway.json(&["health"])).is_empty()
        });
        ward.clinic
            .site
            .replace("relay_workers = 3", "relay_workers = 2");
        let said = gateway.lazaret(&["apply"]);
        assert_ne!(said.code, 0);
        assert!(
            said.all().contains("limits.relay_workers"),
            "{}",
            said.all()
        );
        ward.second_works("P1");
    });
}
