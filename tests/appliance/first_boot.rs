//! First boots without a hypervisor's help: from a stick, from wrong sticks, and by hand.

use e2e::{Appliance, Lab};

use crate::hospital::{Hospital, PASSWORD, image, in_service};

#[test]
fn provisioned_by_a_stick_whose_secrets_are_wiped() {
    Lab::run(|lab| {
        let mut hospital = Hospital::open(lab);
        let file = hospital.provisioning();
        let mut appliance = Appliance::new(lab, &image("1"));

        // Wrong sticks first: each is refused by name, and the appliance stays closed.
        let broken = file.replace("[hospital]", "[hospitel]");
        let _ = appliance.plug("LAZARET", &[("lazaret.toml", broken.as_bytes())]);
        appliance.power_on();
        let said = appliance.wait_for("lazaret.toml:");
        assert!(!said.contains("is in service"));
        appliance.cut_power();

        appliance.unplug();
        let _ = appliance.plug("LAZARET", &[("lazaret.toml", file.as_bytes())]);
        let _ = appliance.plug("LAZARET", &[("lazaret.toml", file.as_bytes())]);
        appliance.power_on();
        let _ = appliance.wait_for("two or more sticks");
        appliance.cut_power();

        appliance.unplug();
        let stick = appliance.plug("LAZARET", &[("lazaret.toml", file.as_bytes())]);
        appliance.power_on();
        in_service(&mut appliance, "1");
        hospital.work();
        appliance.log_in(PASSWORD);
        appliance.type_line("poweroff");
        appliance.wait_for_power_off();
        let bytes = std::fs::read(stick).unwrap();
        let left = bytes
            .windows(PASSWORD.len())
            .any(|window| window == PASSWORD.as_bytes());
        assert!(!left, "the password is still on the stick");
    });
}

/// A machine whose clock lost its battery does not go back in time.
#[test]
fn a_clock_at_1970_is_set_forward() {
    Lab::run(|lab| {
        let mut hospital = Hospital::open(lab);
        let mut appliance = Appliance::new(lab, &image("1"));
        appliance.credential("lazaret.config", &hospital.provisioning());
        appliance.clock(Some("1970-01-02T00:00:00"));
        appliance.power_on();
        in_service(&mut appliance, "1");
        hospital.work();
        appliance.log_in(PASSWORD);
        let said = appliance.lazaret("status");
        assert!(!said.contains("1970"), "{said}");
    });
}
