//! A machine with a TPM: its data opens on this machine only.

use e2e::{Appliance, Lab};

use crate::hospital::{Hospital, PASSWORD, first_log_in, image, in_service};

#[test]
#[ignore = "slow: images/test-long"]
fn data_are_sealed_to_the_machine_and_gone_after_a_factory_reset() {
    Lab::run(|lab| {
        let mut hospital = Hospital::open(lab);
        let mut appliance = Appliance::new(lab, &image("1"));
        appliance.add_tpm();
        appliance.credential("lazaret.config", &hospital.provisioning());
        appliance.power_on();
        let said = appliance.wait_for("recovery key");
        println!("{said}");
        in_service(&mut appliance, "1");
        hospital.work();
        first_log_in(&mut appliance);
        let said = appliance.lazaret("doctor --all");
        assert!(said.contains("TPM"), "{said}");
        appliance.cut_power();

        // The second boot needs no credential and no hand.
        appliance.forget_credentials();
        appliance.power_on();
        in_service(&mut appliance, "1");
        hospital.work();

        appliance.log_in(PASSWORD);
        appliance.type_line("factory-reset");
        let _ = appliance.wait_for("write ERASE");
        appliance.type_line("ERASE");
        let _ = appliance.wait_for("recovery key");
        let said = appliance.wait_for("not set up yet");
        assert!(!said.contains("is in service"));
    });
}
