//! The gateway looks at itself: healthy when it does its work, and within bounds when it does not.
//! And it lets go of its sessions before a restart.

use std::time::{Duration, Instant};

use e2e::hl7::{self, Reply};
use e2e::{Clinic, Gateway, Lab, text, wait};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Items that are not as they should be.
fn failing(health: &Value) -> Vec<String> {
    let items = health["items"].as_array().unwrap();
    let failing = items.iter().filter(|item| item["ok"] == false);
    failing.map(|item| text(item, "item").to_owned()).collect()
}

fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// Health until nothing is wrong any more.
fn healthy_again(gateway: &Gateway<'_>) {
    wait::for_true("health", wait::SOON, || {
        failing(&gateway.json(&["health"])).is_empty()
    });
}

#[test]
fn a_gateway_at_work_is_healthy_and_nobody_notices_the_probe() {
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let mut client = clinic.ecg.mllp(clinic.his.address());
        assert_eq!(client.exchange(&hl7::oru("H1")).code, "AA");
        let forwarded = clinic.gateway.status()["forwarded"].clone();
        for _ in 0..3 {
            let said = clinic.gateway.lazaret(&["health", "--boot"]).ok();
            for item in [
                "configuration",
                "control",
                "policy",
                "device",
                "workers",
                "tunnel",
                "table",
                "journal",
                "hl7",
                "hl7-refusal",
                "dicom",
                "dicom-refusal",
            ] {
                let line = said.out.lines().find(|line| {
                    let mut words = line.split_whitespace();
                    words.next() == Some(item) && words.next() == Some("ok")
                });
                assert!(line.is_some(), "{item}: {}", said.out);
            }
        }
        let status = clinic.gateway.status();
        assert_eq!(status["forwarded"], forwarded);
        assert_eq!(status["sessions"], 1);
        assert_eq!(clinic.his.received().len(), 1);
        assert_eq!(client.exchange(&hl7::oru("H2")).code, "AA");
        clinic
            .gateway
            .wait_for_record("command", |record| text(record, "command") == "probe");
        let decisions = clinic.gateway.wait_for_decisions("ecg-0042", 2);
        assert_eq!(decisions.len(), 2);
        let devices = clinic.gateway.journal();
        let strange = devices.iter().find(|record| {
            let device = text(record, "device");
            !device.is_empty() && device != "ecg-0042"
        });
        assert_eq!(strange, None);
    });
}

/// A process that hangs is found in bounded time, named, and forgotten once it goes on.
#[test]
fn a_worker_that_hangs_is_not_healthy() {
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        for (worker, parts) in [
            ("relay-hl7", &["hl7", "hl7-refusal"][..]),
            ("relay-dicom", &["dicom", "dicom-refusal"]),
            ("tunnel-wireguard", &["tunnel"]),
            ("audit", &["journal"]),
        ] {
            let pid = clinic.gateway.worker(worker);
            signal(pid, Signal::STOP);
            let begun = Instant::now();
            let said = clinic.gateway.lazaret(&["--json", "health"]);
            assert_ne!(said.code, 0, "{worker}: {}", said.all());
            assert!(begun.elapsed() < Duration::from_secs(20), "{worker}");
            let health: Value = serde_json::from_str(&said.out).unwrap();
            assert_eq!(failing(&health), parts, "{worker}");
            signal(pid, Signal::CONT);
            healthy_again(&clinic.gateway);
        }
    });
}

#[test]
fn a_worker_that_died_is_healthy_again_when_it_is_back() {
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        for worker in ["relay-hl7", "relay-dicom", "audit"] {
            clinic.gateway.kill9(clinic.gateway.worker(worker));
            let _ = clinic.gateway.lazaret(&["health", "--boot"]).ok();
        }
    });
}

/// A supervisor that does not answer, and a journal without room.
#[test]
fn a_gateway_that_cannot_record_or_answer_is_not_healthy() {
    Lab::run(|lab| {
        let clinic = Clinic::open_with_little_room(lab);
        healthy_again(&clinic.gateway);
        let filler = clinic.site.state().join("audit/filler");
        let _ = std::fs::write(&filler, vec![0; 1 << 20]);
        // Some records still fit into the page that is there.
        wait::for_true("a journal without room", wait::SOON, || {
            failing(&clinic.gateway.json(&["health"])) == ["journal"]
        });
        std::fs::remove_file(filler).unwrap();
        healthy_again(&clinic.gateway);
    });
}

/// A message that is under way gets its answer first, however slow; one that gets none ends at the deadline.
//= C6
#[test]
fn a_draining_gateway_waits_for_answers_until_the_deadline() {
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        clinic.his.behave("slow");
        let mut client = clinic.ecg.mllp(clinic.his.address());
        client.send(&hl7::frame(&hl7::oru("W1"))).unwrap();
        clinic.his.wait_for(1);
        let _ = clinic.gateway.lazaret(&["drain", "--timeout", "50s"]).ok();
        let reply = client.reply(Duration::from_secs(5));
        assert!(matches!(&reply, Reply::Answer(answer) if answer.code == "AA"));
        let end = client.reply(Duration::from_secs(5));
        assert!(!matches!(end, Reply::Answer(_) | Reply::Nothing));
        let _ = clinic.gateway.lazaret(&["drain", "--cancel"]).ok();

        clinic.his.behave("hang");
        let mut client = clinic.ecg.mllp(clinic.his.address());
        client.send(&hl7::frame(&hl7::oru("W2"))).unwrap();
        clinic.his.wait_for(2);
        let begun = Instant::now();
        let _ = clinic.gateway.lazaret(&["drain", "--timeout", "1s"]).ok();
        assert!(begun.elapsed() >= Duration::from_secs(1));
        let reply = client.reply(Duration::from_secs(5));
        assert!(!matches!(reply, Reply::Answer(_) | Reply::Nothing));
    });
}

/// What is under way is finished, nothing new begins, and an operator can take it back.
#[test]
fn a_draining_gateway_lets_go_between_two_messages() {
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let mut client = clinic.ecg.mllp(clinic.his.address());
        assert_eq!(client.exchange(&hl7::oru("D1")).code, "AA");
        let said = clinic.gateway.lazaret(&["drain", "--timeout", "30s"]).ok();
        assert!(said.out.contains("no session"), "{}", said.out);
        assert!(!matches!(
            client.reply(Duration::from_secs(5)),
            Reply::Answer(_)
        ));
        assert!(clinic.gateway.status()["draining"].is_object());
        let taken = |control: &str| {
            let Ok(stream) = clinic.ecg.tcp(clinic.his.address()) else {
                return false;
            };
            let mut client = hl7::Client::new(stream);
            let _ = client.send(&hl7::frame(&hl7::oru(control)));
            matches!(client.reply(Duration::from_secs(5)), Reply::Answer(a) if a.code == "AA")
        };
        assert!(!taken("D2"));
        assert_eq!(clinic.his.received().len(), 1);
        clinic
            .gateway
            .wait_for_record("connection-refused", |record| {
                text(record, "why").contains("before it restarts")
            });
        // A gateway that drains is as healthy as before.
        healthy_again(&clinic.gateway);
        let _ = clinic.gateway.lazaret(&["drain", "--cancel"]).ok();
        assert!(clinic.gateway.status()["draining"].is_null());
        assert!(taken("D3"));
    });
}
