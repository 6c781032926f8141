//! Whose message it is: a device sends of its own patients, from itself, and about now.
//! What is of somebody else is refused with 204, and the hospital receives nothing of it.

use e2e::hl7;
use e2e::{Clinic, HIS, Lab, Place, Site, Watch, leaks, patient_hashes, text};

/// Binds `ecg-0042` to the patient of [`hl7::oru`], and `ecg-0043` to another.
fn bind(lab: &Lab, site: &Site) {
    let etc = site.directory();
    std::fs::copy(etc.join("wireguard.key"), etc.join("patient.key")).unwrap();
    site.replace(
        "name = \"lab-1\"\n",
        "name = \"lab-1\"\npatient_key_file = \"patient.key\"\n",
    );
    let hashes = patient_hashes(lab, site, "NORD", &["4711", "0815"]);
    for (sender, hash) in [("ECG^CARDIO", &hashes[0]), ("ECG^WARD3", &hashes[1])] {
        let line = format!("hl7_sender = \"{sender}\"\n");
        site.replace(&line, &format!("{line}patients = [\"{hash}\"]\n"));
    }
    site.replace(
        "hl7 = { send = [\"ORU^R01\"",
        "hl7 = { bind_patient = true, send = [\"ORU^R01\"",
    );
}

fn of_patient(control: &str, pid3: &str) -> Vec<u8> {
    let text = String::from_utf8(hl7::oru(control)).unwrap();
    text.replace("4711^^^NORD^MR", pid3).into_bytes()
}

//= C1
//= C5
//= C8
#[test]
fn only_the_devices_own_patients_reach_the_hospital() {
    Lab::run(|lab| {
        let clinic = Clinic::open_with(lab, |site| bind(lab, site));
        let mut client = clinic.ecg.mllp(clinic.his.address());
        let watch = Watch::start(lab, Place::Hospital, "eth0");
        let mut two = hl7::oru("P3");
        two.extend_from_slice(b"PID|2||0815^^^NORD^MR\rOBR|1|||93000^ECG^C4\r");
        let refused = [
            ("PID^1^3^1", of_patient("P0", "0815^^^NORD^MR")),
            ("PID^1^3^1", of_patient("P1", "4711^^^SUD^MR")),
            (
                "PID^1^3^2",
                of_patient("P2", "4711^^^NORD^MR~0815^^^NORD^MR"),
            ),
            ("PID^2^3^1", two),
        ];
        for (place, message) in &refused {
            let answer = client.exchange(message);
            assert_eq!(
                (&*answer.code, &*answer.error, &*answer.location),
                ("AR", "204", *place),
                "{}",
                answer.text
            );
        }
        assert_eq!(watch.stop().packets_to(HIS), 0);
        assert_eq!(clinic.his.received().len(), 0);
        // The same connection delivers what is of its patient, and another device what is of its own.
        assert_eq!(client.exchange(&hl7::oru("P4")).code, "AA");
        let bystander = clinic.bystander();
        let mut other = bystander.mllp(clinic.his.address());
        let foreign = hl7::oru_from("ECG|WARD3", "B0");
        assert_eq!(other.exchange(&foreign).error, "204");
        let own = String::from_utf8(hl7::oru_from("ECG|WARD3", "B1")).unwrap();
        let own = own.replace("4711^^^NORD", "0815^^^NORD");
        assert_eq!(other.exchange(own.as_bytes()).code, "AA");
        assert_eq!(clinic.his.wait_for(2), [hl7::oru("P4"), own.into_bytes()]);

        let decisions = (clinic.gateway).wait_for_decisions("ecg-0042", refused.len() + 1);
        for decision in &decisions[..refused.len()] {
            assert_eq!(text(decision, "outcome"), "refused");
            assert_eq!(text(decision, "reason"), "identity");
        }
        let mut canaries = hl7::CANARIES.to_vec();
        canaries.push("0815^^^NORD");
        assert_eq!(leaks(&clinic.gateway, &canaries), [""; 0]);
    });
}

#[test]
fn a_binding_holds_from_the_next_message_on() {
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let mut client = clinic.ecg.mllp(clinic.his.address());
        let foreign = |control| of_patient(control, "0815^^^NORD^MR");
        assert_eq!(client.exchange(&foreign("F0")).code, "AA");
        bind(lab, &clinic.site);
        assert_eq!(clinic.gateway.lazaret(&["apply"]).code, 0);
        let answer = client.exchange(&foreign("F1"));
        assert_eq!(answer.error, "204", "{}", answer.text);
        assert_eq!(client.exchange(&hl7::oru("F2")).code, "AA");
        // With another key nobody is known, until the hashes are made anew.
        let etc = clinic.site.directory();
        let other = clinic.site.key_file("another");
        std::fs::copy(other, etc.join("patient.key")).unwrap();
        assert_eq!(clinic.gateway.lazaret(&["apply"]).code, 0);
        assert_eq!(client.exchange(&hl7::oru("F3")).error, "204");
    });
}

#[test]
fn observations_of_another_device_and_old_messages_are_refused() {
    Lab::run(|lab| {
        let clinic = Clinic::open_with(lab, |site| {
            let sender = "hl7_sender = \"ECG^CARDIO\"\n";
            site.replace(
                sender,
                &format!("{sender}device_ids = [\"0012345678ABCDEF\"]\n"),
            );
            site.replace(
                "hl7 = { send = [\"ORU^R01\"",
                "hl7 = { clock_window = \"10min\", send = [\"ORU^R01\"",
            );
        });
        let mut client = clinic.ecg.mllp(clinic.his.address());
        let message = |control: &str, at: &str, device: &str| {
            let text = String::from_utf8(hl7::oru(control)).unwrap();
            text.replace("|20260102101500|", &format!("|{at}|"))
                .replace("|N|||F\r", &format!("|N|||F|||||||{device}\r"))
                .into_bytes()
        };
        let mut date = std::process::Command::new("date");
        date.args(["-u", "+%Y%m%d%H%M%S+0000"]);
        let now = String::from_utf8(date.output().unwrap().stdout).unwrap();
        let now = now.trim();
        let own = "0012345678ABCDEF^^0012345678ABCDEF^EUI-64";
        let other = "0012345678ABCDEE^^0012345678ABCDEE^EUI-64";
        for (message, code, error) in [
            (message("D0", now, own), "AA", ""),
            (message("D1", now, other), "AR", "204"),
            (message("D2", "20200101", own), "AR", "102"),
        ] {
            let answer = client.exchange(&message);
            assert_eq!(
                (&*answer.code, &*answer.error),
                (code, error),
                "{}",
                answer.text
            );
        }
        assert_eq!(clinic.his.wait_for(1).len(), 1);
    });
}

/// The user of a device reads why a message was refused in the hospital's language, and operators too.
//= C1
//= HL7 v2.5.1 2.15.5.8
#[test]
fn refusals_are_told_in_the_language_of_the_hospital() {
    Lab::run(|lab| {
        let clinic = Clinic::open_with(lab, |site| {
            site.replace(
                "name = \"lab-1\"\n",
                "name = \"lab-1\"\nlanguage = \"fr\"\n",
            );
        });
        let mut client = clinic.ecg.mllp(clinic.his.address());
        let of_another = |control: &str, set: &str| {
            let text = String::from_utf8(hl7::oru_from("ECG|WARD3", control)).unwrap();
            text.replacen("|2.5.1\r", &format!("|2.5.1||||||{set}\r"), 1)
        };
        for (control, set, declared, told) in [
            (
                "F0",
                "",
                "",
                "L'emetteur ou le patient indique n'est pas attribue a cet appareil.",
            ),
            (
                "F1",
                "UNICODE UTF-8",
                "UNICODE UTF-8",
                "L’émetteur ou le patient indiqué n’est pas attribué à cet appareil.",
            ),
        ] {
            let answer = client.exchange(of_another(control, set).as_bytes());
            assert_eq!(answer.code, "AR", "{}", answer.text);
            let field = |segment: &str, number: usize| {
                let mut lines = answer.text.split('\r');
                let line = lines.find(|line| line.starts_with(segment)).unwrap();
                line.split('|').nth(number).unwrap_or_default().to_owned()
            };
            assert!(field("ERR", 8).starts_with(told), "{}", answer.text);
            assert_eq!(field("MSH", 17), declared, "{}", answer.text);
            assert!(
                field("ERR", 7).contains("the device's own"),
                "{}",
                answer.text
            );
        }
        assert_eq!(client.exchange(&hl7::oru("F2")).code, "AA");
        clinic.gateway.wait_for_decisions("ecg-0042", 3);
        let shown = clinic
            .gateway
            .lazaret(&["audit", "tail", "--words", "-n", "40"]);
        assert!(
            shown.out.contains("identity: L’émetteur ou le patient"),
            "{}",
            shown.out
        );
        clinic
            .gateway
            .lazaret(&["device", "quarantine", "ecg-0042", "--why", "test"]);
        let shown = clinic.gateway.lazaret(&["device", "show", "ecg-0042"]);
        assert!(
            shown
                .out
                .contains("device-quarantined: Cet appareil est isolé"),
            "{}",
            shown.out
        );
    });
}
