//! Attacks on who may say what: of which device, of which type and version, about whom, and when.

use e2e::{Clinic, Lab, Site, hl7, patient_hashes};

use super::{arrives, changed, refused};

//= C5
#[test]
fn attack_02_sender_spoofing() {
    let own = "0012345678ABCDEF^^0012345678ABCDEF^EUI-64";
    let observed = |control: &str, device: &str| {
        changed(control, "|N|||F\r", &format!("|N|||F|||||||{device}\r"))
    };
    Lab::run(|lab| {
        let clinic = Clinic::open_with(lab, |site| {
            let sender = "hl7_sender = \"ECG^CARDIO\"\n";
            let ids = "device_ids = [\"0012345678ABCDEF\"]\n";
            site.replace(sender, &format!("{sender}{ids}"));
        });
        let theirs = hl7::oru_from("ECG|WARD3", "S1");
        refused(
            &clinic,
            &[
                ("another device", theirs.clone(), "AR 204 MSH^1^4^1"),
                (
                    "nobody's application",
                    hl7::oru_from("PUMP|CARDIO", "S2"),
                    "AR 204 MSH^1^3^1",
                ),
                (
                    "no application",
                    hl7::oru_from("|CARDIO", "S3"),
                    "AR 204 MSH^1^3^1",
                ),
                (
                    "other case",
                    hl7::oru_from("ecg|CARDIO", "S4"),
                    "AR 204 MSH^1^3^1",
                ),
                (
                    "a second application",
                    hl7::oru_from("ECG~PUMP|CARDIO", "S5"),
                    "AR 204 MSH^1^3^1",
                ),
                (
                    "a subcomponent more",
                    hl7::oru_from("ECG|CARDIO^1.2^ISO", "S6"),
                    "AR 204 MSH^1^4^1",
                ),
                (
                    "an observation of another device",
                    observed("S7", &own.replace("CDEF", "CDEE")),
                    "AR 204 OBX^1^18^1",
                ),
                (
                    "its own identifier first",
                    observed("S8", &format!("{own}~{}", own.replace("CDEF", "CDEE"))),
                    "AR 204 OBX^1^18^2",
                ),
            ],
        );
        // The very bytes of the first are right when the other device sends them.
        let bystander = clinic.bystander();
        let mut other = bystander.mllp(clinic.his.address());
        assert_eq!(other.exchange(&theirs).code, "AA");
        arrives(&clinic, &[("its own", observed("S9", own))]);
    });
}

#[test]
fn attack_03_type_that_no_rule_allows() {
    let typed = |msh9: &str| changed("T1", "ORU^R01^ORU_R01", msh9);
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        refused(
            &clinic,
            &[
                ("a merge", typed("ADT^A40^ADT_A39"), "AR 200 MSH^1^9^1"),
                ("an order", typed("ORM^O01^ORM_O01"), "AR 200 MSH^1^9^1"),
                ("a query", typed("QRY^A19^QRY_A19"), "AR 200 MSH^1^9^1"),
                (
                    "another trigger",
                    typed("ORU^R30^ORU_R30"),
                    "AR 201 MSH^1^9^1",
                ),
                (
                    "a structure of another type",
                    typed("ORU^R01^ADT_A39"),
                    "AR 200 MSH^1^9^1^3",
                ),
                (
                    "a second type",
                    typed("ORU^R01^ORU_R01~ADT^A40^ADT_A39"),
                    "AR 200 MSH^1^9^1",
                ),
                (
                    "a type in small letters",
                    typed("oru^R01"),
                    "AR 200 MSH^1^9^1^1",
                ),
                ("a subcomponent", typed("ORU&ADT^R01"), "AR 200 MSH^1^9^1^1"),
                ("a type of its own", typed("ZRU^Z01"), "AR 200 MSH^1^9^1"),
            ],
        );
        let alarm = typed("ORU^R40^ORU_R40");
        arrives(
            &clinic,
            &[("a result", hl7::oru("T2")), ("an alarm", alarm)],
        );
    });
}

#[test]
fn attack_10_stale_and_future_messages() {
    Lab::run(|lab| {
        let clinic = Clinic::open_with(lab, |site| {
            site.replace(
                "hl7 = { send = [\"ORU^R01\"",
                "hl7 = { clock_window = \"10min\", send = [\"ORU^R01\"",
            );
        });
        let at =
            |control: &str, time: &str| changed(control, "|20260102101500|", &format!("|{time}|"));
        let shifted = |minutes: &str| {
            let mut date = std::process::Command::new("date");
            date.args([
                "-u",
                "-d",
                &format!("{minutes} minutes"),
                "+%Y%m%d%H%M%S+0000",
            ]);
            let text = String::from_utf8(date.output().unwrap().stdout).unwrap();
            text.trim().to_owned()
        };
        refused(
            &clinic,
            &[
                (
                    "of last year",
                    at("W1", "20250102101500+0000"),
                    "AR 102 MSH^1^7^1",
                ),
                (
                    "of a century to come",
                    at("W2", "21260102101500+0000"),
                    "AR 102 MSH^1^7^1",
                ),
                ("too old", at("W3", &shifted("-11")), "AR 102 MSH^1^7^1"),
                ("too new", at("W4", &shifted("+11")), "AR 102 MSH^1^7^1"),
                (
                    "now, in the zone of somewhere else",
                    at("W5", &shifted("0").replace("+0000", "+0200")),
                    "AR 102 MSH^1^7^1",
                ),
                ("no time", at("W6", ""), "AR 102 MSH^1^7^1"),
            ],
        );
        arrives(
            &clinic,
            &[
                ("now", at("W7", &shifted("0"))),
                ("late", at("W8", &shifted("-9"))),
            ],
        );
    });
}

/// Binds the devices to the patient of [`hl7::oru`].
fn bind(lab: &Lab, site: &Site) {
    let etc = site.directory();
    std::fs::copy(etc.join("wireguard.key"), etc.join("patient.key")).unwrap();
    let name = "name = \"lab-1\"\n";
    site.replace(name, &format!("{name}patient_key_file = \"patient.key\"\n"));
    let hash = &patient_hashes(lab, site, "NORD", &["4711"])[0];
    for sender in ["ECG^CARDIO", "ECG^WARD3"] {
        let line = format!("hl7_sender = \"{sender}\"\n");
        site.replace(&line, &format!("{line}patients = [\"{hash}\"]\n"));
    }
    site.replace(
        "hl7 = { send = [\"ORU^R01\"",
        "hl7 = { bind_patient = true, send = [\"ORU^R01\"",
    );
}

//= C5
#[test]
fn attack_22_patient_mix_up() {
    let of = |control: &str, pid3: &str| changed(control, "4711^^^NORD^MR", pid3);
    Lab::run(|lab| {
        let clinic = Clinic::open_with(lab, |site| bind(lab, site));
        let mut second = hl7::oru("P5");
        second.extend_from_slice(b"PID|2||0815^^^NORD^MR\rOBR|1|||93000^ECG^C4\r");
        refused(
            &clinic,
            &[
                (
                    "another patient",
                    of("P1", "0815^^^NORD^MR"),
                    "AR 204 PID^1^3^1",
                ),
                (
                    "another authority",
                    of("P2", "4711^^^SUD^MR"),
                    "AR 204 PID^1^3^1",
                ),
                (
                    "two patients in one",
                    of("P3", "4711^^^NORD^MR~0815^^^NORD^MR"),
                    "AR 204 PID^1^3^2",
                ),
                (
                    "in an older field",
                    changed("P4", "PID|1||", "PID|1|0815^^^NORD^MR|"),
                    "AR 204 PID^1^2^1",
                ),
                (
                    "a second patient after the first",
                    second,
                    "AR 204 PID^2^3^1",
                ),
                ("nobody", of("P6", ""), "AR 204 PID^1^3^1"),
                (
                    "no patient at all",
                    changed(
                        "P7",
                        "PID|1||4711^^^NORD^MR||CANARYNAME^ZOE||19700101|F\r",
                        "",
                    ),
                    "AR 204 PID^1^3^1",
                ),
            ],
        );
        arrives(&clinic, &[("its own patient", hl7::oru("P8"))]);
    });
}

#[test]
fn attack_24_version_downgrade() {
    let version =
        |control: &str, version: &str| changed(control, "|P|2.5.1", &format!("|P|{version}"));
    Lab::run(|lab| {
        let clinic = Clinic::open_with(lab, |site| {
            site.replace(
                "hl7 = { send = [\"ORU^R01\"",
                "hl7 = { versions = [\"2.5.1\"], send = [\"ORU^R01\"",
            );
        });
        // Before 2.5 an ERR segment says the place and the code in ERR-1.
        let watched: [(&str, Vec<u8>, &str); 6] = [
            ("the oldest", version("V1", "2.1"), "AR"),
            ("an older", version("V2", "2.3"), "AR"),
            ("a newer", version("V3", "2.8.2"), "AR 203 MSH^1^12^1"),
            ("none", version("V4", ""), "AR 101 MSH^1^12^1"),
            ("two", version("V5", "2.5.1~2.1"), "AR 203 MSH^1^12^1"),
            (
                "one that is none",
                version("V6", "2.5.1.0"),
                "AR 203 MSH^1^12^1",
            ),
        ];
        refused(&clinic, &watched);
        arrives(&clinic, &[("the one of the rule", version("V7", "2.5.1"))]);
    });
}
