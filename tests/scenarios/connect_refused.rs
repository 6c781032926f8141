//! What a clinician reads when there is no tunnel, said by the gateway itself; and the exit codes with it.

use std::net::SocketAddr;

use e2e::{ClinicFile, Clinician, Lab, Output, Place, text};

use super::connect::{clinic_file, gateway, open};
use super::quic;

/// Denied, and unreachable.
const DENIED: i32 = 5;
const UNREACHABLE: i32 = 6;

fn once(lab: &Lab, device: &str, before: &[&str]) -> Output {
    ClinicFile::write(&quic::folder(lab), device, gateway(), "").once(lab, Place::Home2, before)
}

#[track_caller]
fn says(said: &Output, code: i32, word: &str) {
    assert!(said.all().contains(word), "{word:?}: {}", said.all());
    assert_eq!(said.code, code, "{}", said.all());
}

#[test]
fn each_refusal_of_the_gateway_is_in_words() {
    Lab::run(|lab| {
        let clinic = open(lab, "");
        for kind in ["foreign", "imitated", "expired", "server", "unnamed"] {
            quic::forge(&clinic, kind);
        }
        for (kind, word) in [
            ("expired", "this certificate has expired"),
            ("foreign", "does not know the authority of this certificate"),
            (
                "imitated",
                "does not know the authority of this certificate",
            ),
            ("server", "does not accept this kind of certificate"),
            ("unnamed", "does not accept this certificate"),
        ] {
            says(&once(lab, kind, &[]), DENIED, word);
        }
        // The wrong gateway, by its authority and by its name.
        let foreign = quic::folder(lab).join("foreign.pem");
        let wrong = "ca = \"foreign.pem\"";
        let file = clinic_file(lab, "");
        replace(&file, "ca = \"ca.pem\"", wrong);
        assert!(foreign.exists());
        says(
            &file.once(lab, Place::Home2, &[]),
            DENIED,
            "not of the authority in `ca`",
        );
        let file = clinic_file(lab, "");
        replace(&file, "gateway.example.org", "other.example.org");
        says(
            &file.once(lab, Place::Home2, &[]),
            DENIED,
            "for another name",
        );
        // The clock of the machine, in both directions.
        let file = clinic_file(lab, "");
        let early = file.once(lab, Place::Home2, &["faketime", "2020-01-01 12:00:00"]);
        says(
            &early,
            DENIED,
            "not valid yet: the clock of this machine is wrong",
        );
        let late = file.once(lab, Place::Home2, &["faketime", "2090-01-01 12:00:00"]);
        says(&late, DENIED, "or the clock of this machine is wrong");
        // Nobody there.
        let nobody: SocketAddr = (Place::Gateway.outside().0, 444).into();
        let file = ClinicFile::write(&quic::folder(lab), "desk-7", nobody, "");
        let said = file.once(lab, Place::Home2, &[]);
        says(&said, UNREACHABLE, "no answer from the gateway");

        // The twin of them all: it stays until it is stopped.
        let desk = Clinician::start(lab, Place::Home2, &clinic_file(lab, ""), &[]);
        desk.wait("services");
        let gate = &clinic.gateway;
        let _ = gate
            .lazaret(&["device", "revoke", "desk-7", "--why", "lost"])
            .ok();
        let refused = desk.wait("refused");
        assert!(text(&refused, "why").contains("revoked"), "{refused}");
        says(&once(lab, "desk-7", &[]), DENIED, "revoked");
    });
}

/// Outside of its hours a device has a tunnel, but nothing in it; within, what its rules give.
#[test]
fn outside_of_the_hours_nothing_may_be_used() {
    Lab::run(|lab| {
        let clinic = open(lab, "");
        for rule in [
            "rule.ecg-results",
            "rule.queries",
            "rule.consoles",
            "rule.media",
        ] {
            let heading = format!("[{rule}]");
            clinic
                .site
                .replace(&heading, &format!("{heading}\nuntil = 2020-01-01"));
        }
        let said = clinic.gateway.lazaret(&["apply"]);
        assert_eq!(said.code, 0, "{}", said.all());
        let desk = Clinician::start(lab, Place::Home2, &clinic_file(lab, ""), &[]);
        let services = desk.wait("services");
        assert!(
            services["services"].as_array().unwrap().is_empty(),
            "{services}"
        );
        clinic
            .site
            .replace("[rule.consoles]\nuntil = 2020-01-01", "[rule.consoles]");
        let _ = clinic.gateway.lazaret(&["apply"]).ok();
        desk.wait_for("services", |event| {
            let all = event["services"].as_array().unwrap();
            all.iter().any(|one| text(one, "name") == "console")
        });
    });
}

fn replace(file: &ClinicFile, from: &str, to: &str) {
    let text = std::fs::read_to_string(file.path()).unwrap();
    assert!(text.contains(from));
    std::fs::write(file.path(), text.replace(from, to)).unwrap();
}
