//! What is usual for a device is learnt, what is not is told or ends in quarantine, and what was seen becomes rules.

use std::time::{Duration, Instant};

use e2e::hl7;
use e2e::{Clinic, Gateway, Lab, leaks, text, wait};
use serde_json::Value;

/// From the message to the command that shows it.
const SOON: Duration = Duration::from_secs(5);

fn open<'a>(lab: &'a Lab, behaviour: &str, rule: &str) -> Clinic<'a> {
    Clinic::open_with(lab, |site| {
        site.replace(
            "hl7 = { send = [\"ORU^R01\", \"ORU^R40\"] }",
            &format!("hl7 = {{ send = [\"ORU^*\", \"ADT^A08\"] }}\n{rule}"),
        );
        site.append(&format!("[behaviour]\n{behaviour}\n"));
    })
}

/// A message of another type than [`hl7::oru`].
fn adt(control: &str) -> Vec<u8> {
    hl7::message(&[
        &format!("MSH|^~\\&|ECG|CARDIO|HIS|NORD|20260102101500||ADT^A08^ADT_A01|{control}|P|2.5.1"),
        "EVN||20260102101500",
        "PID|1||4711^^^NORD^MR||CANARYNAME^ZOE||19700101|F",
        "PV1|1|O",
    ])
}

fn alerts(gateway: &Gateway<'_>) -> Vec<Value> {
    let said = gateway.json(&["alerts"]);
    said["alerts"].as_array().cloned().unwrap_or_default()
}

fn alert_of(gateway: &Gateway<'_>, what: &str) -> Option<Value> {
    let mut all = alerts(gateway).into_iter();
    all.find(|one| text(one, "what") == what)
}

/// What was learnt of a device, once it is over.
fn wait_until_learnt(gateway: &Gateway<'_>, device: &str) {
    wait::until("the end of the learning", wait::SOON, || {
        let said = gateway.json(&["learn", "--device", device]);
        let habits = said["habits"].as_array()?.clone();
        let over = |one: &Value| one.get("learning_seconds").is_none();
        (!habits.is_empty() && habits.iter().all(over)).then_some(())
    });
}

#[test]
fn what_a_device_never_did_is_told_within_seconds() {
    Lab::run(|lab| {
        let clinic = open(lab, "learn = \"2s\"", "");
        let gateway = &clinic.gateway;
        let mut client = clinic.ecg.mllp(clinic.his.address());
        assert_eq!(client.exchange(&hl7::oru("L0")).code, "AA");
        wait_until_learnt(gateway, "ecg-0042");
        assert_eq!(client.exchange(&hl7::oru("L1")).code, "AA");
        assert_eq!(alerts(gateway), Vec::<Value>::new());

        let begun = Instant::now();
        assert_eq!(client.exchange(&adt("N0")).code, "AA");
        let alert = wait::until("an alert", SOON, || alert_of(gateway, "message"));
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
        assert_eq!(
            text(&alert, "words"),
            "sends ADT^A08 to his-results for the first time"
        );
        let record = gateway.wait_for_record("deviation", |one| text(one, "what") == "message");
        assert_eq!(
            (text(&record, "device"), text(&record, "reaction")),
            ("ecg-0042", "alert")
        );
        assert_eq!(gateway.status()["behaviour"]["alerts"], 1);

        // Ten times as many, and one alert whatever comes.
        let begun = Instant::now();
        for number in 0..40 {
            assert_eq!(client.exchange(&hl7::oru(&format!("F{number}"))).code, "AA");
            assert_eq!(client.exchange(&adt(&format!("G{number}"))).code, "AA");
        }
        let alert = wait::until("an alert", SOON, || alert_of(gateway, "rate"));
        eprintln!(
            "the rate was told {:?} after its beginning",
            begun.elapsed()
        );
        assert!(
            text(&alert, "words").contains("messages in a minute"),
            "{alert}"
        );
        assert_eq!(alerts(gateway).len(), 2);
        let told = gateway.journal().into_iter();
        assert_eq!(
            told.filter(|one| text(one, "event") == "deviation").count(),
            2
        );

        // What is accepted is usual, also after a restart.
        let accept = ["alerts", "accept", "ecg-0042", "--why", "new software"];
        let _ = gateway.lazaret(&accept).ok();
        assert_eq!(alerts(gateway), Vec::<Value>::new());
        let Clinic {
            site,
            gateway,
            his,
            ecg,
            ..
        } = clinic;
        drop(client);
        assert!(gateway.stop().success());
        let gateway = Gateway::start(lab, &site);
        ecg.dial(e2e::wan4());
        ecg.wait_for_handshake();
        let mut client = ecg.mllp(his.address());
        assert_eq!(client.exchange(&adt("N1")).code, "AA");
        assert_eq!(client.exchange(&hl7::oru("L2")).code, "AA");
        let seen = gateway.lazaret(&["device", "show", "ecg-0042"]).ok();
        assert!(seen.out.contains("what it does was learnt"), "{}", seen.out);
        assert_eq!(alerts(&gateway), Vec::<Value>::new());
        assert_eq!(leaks(&gateway, &hl7::CANARIES), [""; 0]);
    });
}

//= C9
#[test]
fn an_unusual_device_ends_in_quarantine_where_the_configuration_says_so() {
    Lab::run(|lab| {
        let clinic = open(lab, "learn = \"2s\"\nquarantine = [\"role:ecg-home\"]", "");
        let gateway = &clinic.gateway;
        let bystander = clinic.bystander();
        let mut other = bystander.mllp(clinic.his.address());
        assert_eq!(other.exchange(&hl7::oru_from("ECG|WARD3", "B0")).code, "AA");
        let mut client = clinic.ecg.mllp(clinic.his.address());
        assert_eq!(client.exchange(&hl7::oru("L0")).code, "AA");
        wait_until_learnt(gateway, "ecg-0042");

        let begun = Instant::now();
        client.send(&hl7::frame(&adt("N0"))).unwrap();
        let standing = |device: &str| {
            let shown = gateway.json(&["device", "show", device]);
            text(&shown["devices"][0], "standing").to_owned()
        };
        wait::until("quarantine", SOON, || {
            (standing("ecg-0042") == "quarantined").then_some(())
        });
        eprintln!("in quarantine after {:?}", begun.elapsed());
        let record =
            gateway.wait_for_record("device-standing", |one| text(one, "device") == "ecg-0042");
        let why = text(&record, "why");
        assert!(
            why.starts_with("behaviour, alert 1: it sends ADT^A08"),
            "{why}"
        );
        assert!(record["by"].is_null(), "nobody asked for it: {record}");
        wait::for_true("the end of its session", SOON, || {
            let sessions = gateway.json(&["session", "list"]);
            let sessions = sessions["sessions"].as_array().cloned().unwrap_or_default();
            !sessions.iter().any(|one| text(one, "device") == "ecg-0042")
        });
        // The other one goes on; this one does after its release.
        assert_eq!(other.exchange(&hl7::oru_from("ECG|WARD3", "B1")).code, "AA");
        let _ = gateway.lazaret(&["alerts", "accept", "ecg-0042"]).ok();
        let _ = gateway.lazaret(&["device", "release", "ecg-0042"]).ok();
        let mut client = clinic.ecg.mllp(clinic.his.address());
        assert_eq!(client.exchange(&adt("N1")).code, "AA");
        assert_eq!(standing("ecg-0042"), "active");
    });
}

//= C5
#[test]
fn a_rule_in_shadow_counts_what_it_would_refuse_and_no_stranger_passes() {
    Lab::run(|lab| {
        let clinic = open(lab, "", "shadow = true");
        let gateway = &clinic.gateway;
        let checked = gateway.lazaret(&["check"]).ok();
        assert!(
            checked
                .out
                .contains("warning: rule ecg-results is in shadow"),
            "{}",
            checked.out
        );
        let mut client = clinic.ecg.mllp(clinic.his.address());
        assert_eq!(client.exchange(&hl7::oru("S0")).code, "AA");
        let wrong = String::from_utf8(hl7::oru("S1"))
            .unwrap()
            .replace("19700101", "letters");
        assert_eq!(client.exchange(wrong.as_bytes()).code, "AA");
        assert_eq!(clinic.his.wait_for(2)[1], wrong.as_bytes());
        let stranger = client.exchange(&hl7::oru_from("PUMP|CARDIO", "S2"));
        assert_eq!((&*stranger.code, &*stranger.error), ("AR", "204"));

        let decisions = gateway.wait_for_decisions("ecg-0042", 3);
        let would: Vec<&str> = decisions
            .iter()
            .map(|one| text(one, "would_refuse"))
            .collect();
        assert!(would[1].starts_with("field PID"), "{would:?}");
        assert_eq!((would[0], would[2]), ("", ""));
        let outcomes: Vec<&str> = decisions.iter().map(|one| text(one, "outcome")).collect();
        assert_eq!(outcomes, ["forwarded", "forwarded", "refused"]);
        let shadow = gateway.status()["behaviour"]["shadow"][0].clone();
        assert_eq!(
            (&shadow["messages"], &shadow["would_refuse"]),
            (&2.into(), &1.into()),
            "{shadow}"
        );
        assert_eq!(clinic.his.received().len(), 2);
        assert_eq!(leaks(gateway, &hl7::CANARIES), [""; 0]);
    });
}

#[test]
fn what_was_seen_becomes_rules_and_passes_under_them() {
    Lab::run(|lab| {
        let clinic = open(lab, "", "shadow = true");
        let gateway = &clinic.gateway;
        let mut client = clinic.ecg.mllp(clinic.his.address());
        for number in 0..3 {
            assert_eq!(client.exchange(&hl7::oru(&format!("T{number}"))).code, "AA");
        }
        let folder = clinic.site.directory().join("conf.d");
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("50-learnt.toml").display().to_string();
        wait::until("a proposal of what was seen", wait::SOON, || {
            let said = gateway.json(&["learn"]);
            (said["rules"] == 1 && text(&said, "toml").contains("# 3 times, 1 device"))
                .then_some(())
        });
        // What is there is not written over.
        let taken = folder.join("taken").display().to_string();
        std::fs::write(&taken, "").unwrap();
        assert_eq!(gateway.lazaret(&["learn", "--write", &taken]).code, 1);
        let learnt = gateway.lazaret(&["learn", "--write", &file]).ok();
        assert!(learnt.out.contains("1 rule written to"), "{}", learnt.out);
        let template = clinic.site.template();
        let (before, rest) = template.split_once("[rule.ecg-results]").unwrap();
        let (_, after) = rest.split_once("\n[rule.us-images]").unwrap();
        clinic
            .site
            .write(&format!("{before}[rule.us-images]{after}"));
        // Nothing is left to propose.
        let again = gateway.lazaret(&["learn", "--write", &file]).ok();
        assert!(!again.out.contains("written"), "{}", again.out);
        let checked = gateway.lazaret(&["check"]).ok();
        assert!(!checked.out.contains("shadow"), "{}", checked.out);
        let _ = gateway.lazaret(&["apply"]).ok();

        let mut client = clinic.ecg.mllp(clinic.his.address());
        assert_eq!(client.exchange(&hl7::oru("T9")).code, "AA");
        let refused = client.exchange(&adt("T10"));
        assert_eq!(refused.code, "AR", "{}", refused.text);
    });
}
