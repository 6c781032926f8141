//! What the PACS opens towards a device: images that the device asked for, results of storage commitment, and what a rule
//! lets it do. Each beside the nearest neighbour of which the device sees nothing.

use std::path::Path;
use std::time::Duration;

use e2e::{
    Archive, Archiving, Device, Gateway, Images, Lab, Output, Partner, Place, Site, data_set,
    hospital_calls, hospital_speaks_from, text, wait,
};
use serde_json::Value;

const STUDY: &str = "1.2.826.0.1.3680043.10.5200.2.1";
const PACS: &str = "10.20.1.10";
/// Where the PACS dials `us-07` with snat.
const DOOR: (&str, u16) = ("10.20.0.1", 11207);

/// The standard site with a device that can be dialled, and this rule for it.
fn site(lab: &Lab, dicom: &str) -> Site {
    let site = Site::standard(lab);
    site.replace(
        "mode = \"snat\"",
        "mode = \"snat\"\naddress = \"10.20.0.1\"",
    );
    site.replace(
        "ae_title = \"US07\"",
        "ae_title = \"US07\"\ndicom_port = 11112\nhospital_port = 11207",
    );
    let from = "dicom = { allow = [\"C-ECHO\", \"C-STORE\"], sop_classes = [\"Verification SOP Class\", \"Ultrasound Image Storage\", \"CT Image Storage\"] }";
    site.replace(from, dicom);
    site
}

/// A decision about what the hospital said to the device on a connection of its own.
fn decided(record: &Value, kind: &str, outcome: &str) -> bool {
    let is = |field, value| text(record, field) == value;
    is("device", "us-07") && is("from", "hospital") && is("kind", kind) && is("outcome", outcome)
}

/// A refusal of the association before the device hears of it.
fn rejected(output: &Output, codes: &str) {
    assert!(
        output.out.contains(&format!("rejected {codes}")),
        "{}",
        output.all()
    );
}

/// C-MOVE of DCMTK to the device itself; the archive opens the association for the images.
//= C1 C2 C3
//= DICOM PS3.4 C.4.2
#[test]
fn images_come_back_to_the_device_that_asked_for_them() {
    Lab::run(|lab| {
        let site = site(
            lab,
            "dicom = { allow = [\"C-ECHO\", \"C-STORE\", \"C-FIND\", \"C-MOVE\"], move_destinations = [\"US07\"] }",
        );
        let gateway = Gateway::start(lab, &site);
        hospital_speaks_from(lab, "10.20.0.1/32", None, PACS);
        let archive = Archive::start(lab, Archiving::Dcmqrscp);
        let images = Images::make(lab);
        let us = Device::connect(lab, &site, "us-07", Place::Home2);
        let door = "0.0.0.0:11112".parse().unwrap();
        let _ = us.storescu("US07", "PACS1", &[&images.path("us.dcm")]).ok();
        assert_eq!(archive.wait_for(1).len(), 1);

        // Nothing is outstanding: the device is not even dialled.
        let watched = Partner::device(lab, Place::Home2, 11112);
        let file = images.path("us.dcm");
        let bring = |from: &str, calling: &str| {
            hospital_calls(lab, from, (calling, "US07"), DOOR, &["store", &file])
        };
        rejected(&bring(PACS, "PACS1"), "1 1 1");
        let foreign = bring("10.20.0.5", "PACS1");
        assert!(foreign.out.contains("no association") || foreign.out.contains("aborted"));
        let refused = gateway.wait_for_record("decision", |d| {
            decided(d, "A-ASSOCIATE-RQ", "refused") && text(d, "reason") == "forbidden"
        });
        assert_eq!(text(&refused, "answer"), "A-ASSOCIATE-RJ 1/1/1");
        gateway.wait_for_record("flow-denied", |d| {
            d["flow"]["destination"] == "10.20.0.1:11207" && d["flow"]["source"] == "10.20.0.5"
        });
        assert_eq!(watched.asked(), [""; 0]);
        drop(watched);

        let receiver = Archive::start_in(lab, Place::Home2, Archiving::Pynetdicom, door);
        let moved = us.movescu("US07", "PACS1", "US07", STUDY).ok();
        let got = receiver.wait_for(1);
        assert_eq!(got.len(), 1, "{}", moved.all());
        let (sent, got) = (data_set(Path::new(&file)), std::fs::read(&got[0]).unwrap());
        // The archive writes headers in its own way; the pixels are the end of either.
        assert!(got.ends_with(&sent[sent.len() - 4096..]));
        let stored = gateway.wait_for_record("decision", |d| decided(d, "C-STORE", "forwarded"));
        assert_eq!(text(&stored, "rule"), "us-images");
        let opened =
            gateway.wait_for_record("connection-opened", |d| text(d, "opener") == "hospital");
        assert_eq!(
            (text(&opened, "device"), text(&opened, "service")),
            ("us-07", "pacs")
        );
        // It is over with the C-MOVE.
        rejected(&bring(PACS, "PACS1"), "1 1 1");
        assert_eq!(receiver.stored().len(), 1);
    });
}

/// The same with addresses of devices that the hospital knows.
#[test]
fn images_come_back_to_a_device_with_its_own_address() {
    Lab::run(|lab| {
        let site = site(
            lab,
            "dicom = { allow = [\"C-STORE\", \"C-MOVE\"], move_destinations = [\"US07\"] }",
        );
        site.replace(
            "mode = \"snat\"\naddress = \"10.20.0.1\"",
            "mode = \"routed\"",
        );
        site.replace("\nhospital_port = 11207", "");
        let gateway = Gateway::start(lab, &site);
        hospital_speaks_from(lab, "10.64.0.0/16", Some("10.20.0.1"), PACS);
        let archive = Archive::start_moving_to(lab, ("10.64.0.2", 11112));
        let images = Images::make(lab);
        let us = Device::connect(lab, &site, "us-07", Place::Home2);
        let door = "0.0.0.0:11112".parse().unwrap();
        let _ = us.storescu("US07", "PACS1", &[&images.path("us.dcm")]).ok();
        assert_eq!(archive.wait_for(1).len(), 1);
        let receiver = Archive::start_in(lab, Place::Home2, Archiving::Pynetdicom, door);
        let _ = us.movescu("US07", "PACS1", "US07", STUDY).ok();
        assert_eq!(receiver.wait_for(1).len(), 1);
        gateway.wait_for_record("decision", |d| decided(d, "C-STORE", "forwarded"));
    });
}

/// A rule from the service to devices: titles, SOP classes, source address; and its end.
//= C3 C5 C9
#[test]
fn a_service_does_what_its_rule_says() {
    Lab::run(|lab| {
        let site = site(lab, "dicom = { allow = [\"C-ECHO\", \"C-STORE\"] }");
        let rule = "[rule.pushes]\nfrom = [\"pacs\"]\nto = [\"role:ultrasound\"]\ndicom = { allow = [\"C-ECHO\", \"C-STORE\"], sop_classes = [\"Ultrasound Image Storage\"] }\n";
        site.append(rule);
        let gateway = Gateway::start(lab, &site);
        let images = Images::make(lab);
        let _us = Device::connect(lab, &site, "us-07", Place::Home2);
        let device = Partner::device(lab, Place::Home2, 11112);
        let (good, bad) = (images.path("us.dcm"), images.path("ct.dcm"));
        let dial = |from: &str, titles: (&str, &str), what: &[&str]| {
            hospital_calls(lab, from, titles, DOOR, what)
        };
        let done = dial(PACS, ("PACS1", "US07"), &["echo"]);
        assert!(done.out.contains("status 0000"), "{}", done.all());
        let done = dial(PACS, ("PACS1", "US07"), &["store", &good]);
        assert!(done.out.contains("status 0000"), "{}", done.all());
        assert_eq!(
            device.wait_for("store"),
            "store 1.2.826.0.1.3680043.10.5200.1.1"
        );
        let stored = gateway.wait_for_record("decision", |d| decided(d, "C-STORE", "forwarded"));
        assert_eq!(text(&stored, "rule"), "pushes");
        // PS3.8 9.3.4: calling and called title not recognised.
        rejected(&dial(PACS, ("OTHER", "US07"), &["echo"]), "1 1 3");
        rejected(&dial(PACS, ("PACS1", "US08"), &["echo"]), "1 1 7");
        let foreign = dial("10.20.0.5", ("PACS1", "US07"), &["echo"]);
        assert!(!foreign.out.contains("accepted"), "{}", foreign.all());
        let other = dial(PACS, ("PACS1", "US07"), &["store", &bad]);
        assert!(!other.out.contains("status 0000"), "{}", other.all());
        assert!(device.asked().iter().all(|line| !line.starts_with("store")));

        // The rule goes: what was open ends, nothing is dialled any more.
        device.forget();
        hospital_speaks_from(lab, "10.20.0.1/32", None, PACS);
        site.replace(rule, "");
        let sessions = || gateway.status()["sessions"].as_u64();
        wait::for_true("no session", wait::SOON, || sessions() == Some(0));
        let open = lab.inside(Place::Hospital, || std::net::TcpStream::connect(DOOR));
        wait::for_true("a session", wait::SOON, || sessions() == Some(1));
        let _ = gateway.lazaret(&["apply"]).ok();
        let ended = || wait::for_true("its end", wait::SOON, || sessions() == Some(0));
        let ((), took) = wait::timed(ended);
        assert!(open.is_ok() && took < Duration::from_secs(2), "{took:?}");
        wait::for_true("the door is closed", wait::SOON, || {
            !dial(PACS, ("PACS1", "US07"), &["echo"])
                .out
                .contains("accepted")
        });
        device.forget();
        let closed = dial(PACS, ("PACS1", "US07"), &["echo"]);
        assert!(!closed.out.contains("accepted"), "{}", closed.all());
        assert_eq!(device.asked(), [""; 0]);
    });
}

const COMMITS: &str = "dicom = { allow = [\"C-STORE\", \"N-ACTION\"], sop_classes = [\"Ultrasound Image Storage\", \"Storage Commitment Push Model SOP Class\"] }";

/// The result of storage commitment, on a new association and on the same, and all that is no such result.
//= DICOM PS3.4 J.3
#[test]
fn storage_commitment_comes_back_and_nothing_that_resembles_it() {
    Lab::run(|lab| {
        let site = site(lab, COMMITS);
        let gateway = Gateway::start(lab, &site);
        let us = Device::connect(lab, &site, "us-07", Place::Home2);
        let device = Partner::device(lab, Place::Home2, 11112);
        let pacs = Partner::pacs(lab, DOOR);
        // Before anything is asked for.
        let dial = |what: &[&str]| hospital_calls(lab, PACS, ("PACS1", "US07"), DOOR, what);
        rejected(&dial(&["report", "2.25.1", "2.25.11"]), "1 1 1");
        assert_eq!(device.asked(), [""; 0]);
        for (number, (how, brought)) in [
            ("new", "brought 0000"),
            ("twice", "brought 0000"),
            ("failures", "brought 0000"),
            ("unrelated", "brought 0115"),
            ("others", "brought 0115"),
            ("double", "brought 0115"),
            ("contradiction", "brought 0115"),
        ]
        .into_iter()
        .enumerate()
        {
            pacs.behave(how);
            pacs.forget();
            device.forget();
            let transaction = format!("2.25.{}", 100 + number);
            let said = us.asks(
                "US07",
                "PACS1",
                &["commit", &transaction, "2.25.11", "2.25.12"],
            );
            assert!(said.out.contains("status 0000"), "{how}: {}", said.all());
            assert_eq!(pacs.wait_for("brought"), brought, "{how}");
            let reports = || {
                device
                    .asked()
                    .into_iter()
                    .filter(|line| line.starts_with("report"))
            };
            let expected = match how {
                "new" => 1,
                "twice" => 2,
                "failures" => 1,
                _ => 0,
            };
            wait::for_true(how, wait::SOON, || reports().count() >= expected);
            assert_eq!(reports().count(), expected, "{how}");
            assert!(reports().all(|line| line.ends_with(&transaction)), "{how}");
        }
        // On the association of the request.
        pacs.behave("same");
        let said = us.asks("US07", "PACS1", &["commit", "2.25.200", "2.25.11"]);
        assert!(said.out.contains("result 1 2.25.200"), "{}", said.all());
        assert_eq!(pacs.wait_for("brought"), "brought 0000");
        let record =
            gateway.wait_for_record("decision", |d| decided(d, "N-EVENT-REPORT", "refused"));
        assert_eq!(text(&record, "answer"), "0115");
    });
}

/// What was asked outlives the relay and the gateway; no UID is in the file.
#[test]
fn storage_commitment_is_remembered_beyond_a_restart() {
    Lab::run(|lab| {
        let site = site(lab, COMMITS);
        let gateway = Gateway::start(lab, &site);
        let us = Device::connect(lab, &site, "us-07", Place::Home2);
        let _device = Partner::device(lab, Place::Home2, 11112);
        let pacs = Partner::pacs(lab, DOOR);
        let dial = |what: &[&str]| hospital_calls(lab, PACS, ("PACS1", "US07"), DOOR, what);
        pacs.behave("never");
        let said = us.asks("US07", "PACS1", &["commit", "2.25.300", "2.25.11"]);
        assert!(said.out.contains("status 0000"), "{}", said.all());
        let file = site.state().join("transactions.json");
        wait::for_true("it is remembered", wait::SOON, || {
            std::fs::read_to_string(&file).is_ok_and(|text| text.contains("\"id\""))
        });
        assert!(!std::fs::read_to_string(&file).unwrap().contains("2.25."));
        gateway.kill9(gateway.worker("relay-dicom"));
        wait::for_true("the result is accepted", wait::SOON, || {
            dial(&["report", "2.25.300", "2.25.11"])
                .out
                .contains("status 0000")
        });
        let _ = gateway.stop();
        let _gateway = Gateway::start(lab, &site);
        wait::for_true(
            "the tunnel after a restart",
            Duration::from_secs(40),
            || us.tcp((e2e::PACS, 104).into()).is_ok(),
        );
        wait::for_true("and again", wait::SOON, || {
            dial(&["report", "2.25.300", "2.25.11"])
                .out
                .contains("status 0000")
        });
        let said = dial(&["report", "2.25.300", "2.25.12"]);
        assert!(said.out.contains("status 0115"), "{}", said.all());
    });
}

/// A performed procedure step is changed by who began it, until it ends.
//= DICOM PS3.4 F.7.2
#[test]
fn a_performed_procedure_step_ends_once_and_is_its_own() {
    Lab::run(|lab| {
        let site = site(
            lab,
            "dicom = { allow = [\"N-CREATE\", \"N-SET\"], sop_classes = [\"Modality Performed Procedure Step SOP Class\"] }",
        );
        site.replace(
            "dicom = { allow = [\"C-ECHO\", \"C-FIND\"] }",
            "dicom = { allow = [\"N-CREATE\", \"N-SET\"] }",
        );
        let gateway = Gateway::start(lab, &site);
        let us = Device::connect(lab, &site, "us-07", Place::Home2);
        let desk = Device::connect(lab, &site, "desk-1", Place::Clinician);
        let pacs = Partner::pacs(lab, DOOR);
        let step = |words: &[&str]| us.asks("US07", "PACS1", words).out;
        let said = step(&["step", "2.25.7", "IN PROGRESS", "IN PROGRESS"]);
        assert!(said.contains("create 0000\nset IN PROGRESS 0000"), "{said}");
        // Nobody else's, nobody's, and no such state.
        let others = desk
            .asks("DESK1", "PACS1", &["step", "2.25.7", "none", "COMPLETED"])
            .out;
        assert!(others.contains("set COMPLETED 0112"), "{others}");
        assert!(step(&["step", "2.25.8", "none", "COMPLETED"]).contains("0112"));
        assert!(step(&["step", "2.25.9", "COMPLETED"]).contains("create 0106"));
        let said = step(&[
            "step",
            "2.25.7",
            "none",
            "DONE",
            "COMPLETED",
            "DISCONTINUED",
        ]);
        assert!(
            said.contains("set DONE 0106\nset COMPLETED 0000\nset DISCONTINUED 0110"),
            "{said}"
        );
        let asked = pacs.asked();
        let steps: Vec<&str> = (asked.iter().map(String::as_str))
            .filter(|line| !line.starts_with("association"))
            .collect();
        assert_eq!(
            steps,
            ["create IN PROGRESS", "set IN PROGRESS", "set COMPLETED"]
        );
        let refused = gateway.wait_for_record("decision", |d| text(d, "answer") == "0112");
        assert_eq!(text(&refused, "kind"), "N-SET");
    });
}
