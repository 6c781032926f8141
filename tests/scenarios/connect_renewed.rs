//! A clinician's machine from its token on: it enrols itself, waits, comes in, and renews its certificate while it works.

use e2e::desk::Desk;
use e2e::hl7::{self, Client};
use e2e::{Clinic, ClinicFile, Clinician, HIS, Lab, Place, text, wait};

use super::connect::gateway;

/// The same connection to the HIS goes on over a renewal, and nobody restarts anything.
//= C3
#[test]
fn a_machine_works_on_while_its_certificate_is_renewed() {
    Lab::run(|lab| {
        let clinic = Clinic::open_for_desks(lab, "");
        let machine = Desk::new(lab, Place::Home2, "desk-9");
        let _ = machine.enrol(&clinic.gateway, "DESK^NINE", &[]).ok();
        let more = "interface = \"lazaret0\"\nlanguage = \"en\"";
        let file = ClinicFile::of_machine(&machine.folder(), gateway(), more);
        let early = file.once(lab, Place::Home2, &[]);
        assert!(early.all().contains("not approved"), "{}", early.all());
        let _ = (clinic.gateway)
            .lazaret(&["device", "approve", "desk-9"])
            .ok();

        let desk = Clinician::start(lab, Place::Home2, &file, &[]);
        desk.wait("services");
        let mut his = Client::new(desk.tcp((HIS, 2575).into()).unwrap());
        let message = |control| hl7::oru_from("DESK|NINE", control);
        assert_eq!(his.exchange(&message("R1")).code, "AA");
        let _ = machine.renew(&["--now"]).ok();
        wait::for_true("a second session", wait::SOON, || {
            desk.count("connected") == 2
        });
        assert_eq!(his.exchange(&message("R2")).code, "AA");
        let certificates: Vec<String> = (clinic.gateway.journal().iter())
            .filter(|record| text(record, "event") == "session-began")
            .map(|record| text(record, "certificate").to_owned())
            .collect();
        assert_eq!(certificates.len(), 2);
        assert_ne!(certificates[0], certificates[1]);
        assert_eq!(clinic.his.wait_for(2).len(), 2);
    });
}
