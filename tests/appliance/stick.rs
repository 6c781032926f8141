//! An update for a machine that reaches no server.

use e2e::Lab;

use crate::hospital::{Hospital, PASSWORD, in_service, update};

#[test]
fn updated_from_a_stick() {
    Lab::run(|lab| {
        let mut hospital = Hospital::open(lab);
        let mut appliance = hospital.appliance("1");
        appliance.log_in(PASSWORD);
        let said = appliance.lazaret("update check --from stick");
        assert!(
            said.contains("there is no stick labelled LAZARET-UPD"),
            "{said}"
        );
        appliance.type_line("poweroff");
        appliance.wait_for_power_off();

        let files = update("2");
        let files: Vec<(&str, &[u8])> = files
            .iter()
            .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
            .collect();
        let _ = appliance.plug("LAZARET-UPD", &files);
        appliance.power_on();
        in_service(&mut appliance, "1");
        appliance.log_in(PASSWORD);
        let said = appliance.lazaret("update check --from stick");
        assert!(said.contains("version 2 of"), "{said}");
        appliance.type_line("update apply --from stick");
        in_service(&mut appliance, "2");
        hospital.work();
    });
}
