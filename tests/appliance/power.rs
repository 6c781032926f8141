//! The power fails at any point of an update: there is always one version that comes up.

use std::time::Duration;

use e2e::{Appliance, Lab, wait};

use crate::hospital::{Hospital, PASSWORD, in_service};

/// Slow: twelve power cuts, two boots each. `images/test-long` runs it.
#[test]
#[ignore = "takes an hour: images/test-long"]
fn power_cuts_at_any_point_of_an_update() {
    Lab::run(|lab| {
        let mut hospital = Hospital::open(lab);
        let updates = hospital.serve_updates();
        let _ = updates.offer("2");
        let mut appliance = hospital.appliance("1");
        switch_off(&mut appliance);
        appliance.keep();

        // The whole update once, to know how long it takes.
        let begun = begin_update(&mut appliance);
        in_service(&mut appliance, "2");
        let whole = appliance.computed() - begun;
        println!("an update takes {whole:.0} s of processor time");
        hospital.work();
        appliance.cut_power();

        let mut came_up = Vec::new();
        for cut in 1..=CUTS {
            appliance.put_back();
            let begun = begin_update(&mut appliance);
            let at = whole * f64::from(cut) / f64::from(CUTS + 1);
            wait::for_true(
                "the moment of the power cut",
                Duration::from_secs(900),
                || appliance.computed() - begun > at,
            );
            appliance.cut_power();
            appliance.power_on();
            let versions = ["version 1 is in service", "version 2 is in service"];
            let (which, _) = appliance.wait_for_any(&versions);
            println!("cut {cut} after {at:.0} s: {}", versions[which]);
            came_up.push(which);
            hospital.work();
            // Whatever was left half done does not stand in the way of the next attempt.
            if which == 0 {
                appliance.log_in(PASSWORD);
                appliance.type_line("update apply");
                in_service(&mut appliance, "2");
            }
            appliance.cut_power();
        }
        assert!(came_up.contains(&0) && came_up.contains(&1), "{came_up:?}");
    });
}

/// Boots version 1 and has it update itself; the processor time at which it began.
fn begin_update(appliance: &mut Appliance<'_>) -> f64 {
    appliance.power_on();
    in_service(appliance, "1");
    appliance.log_in(PASSWORD);
    appliance.type_line("update apply");
    appliance.computed()
}

fn switch_off(appliance: &mut Appliance<'_>) {
    appliance.log_in(PASSWORD);
    appliance.type_line("poweroff");
    appliance.wait_for_power_off();
}

const CUTS: u32 = 12;
