//! The power fails at any point of an update: there is always one version that comes up.

use e2e::Lab;

use crate::hospital::{Hospital, PASSWORD};

/// Slow: eleven power cuts. `images/test-long` runs it.
#[test]
#[ignore = "takes an hour: images/test-long"]
fn power_cuts_at_any_point_of_an_update() {
    Lab::run(|lab| {
        let mut hospital = Hospital::open(lab);
        let updates = hospital.serve_updates();
        let mut appliance = hospital.appliance("1");
        let mut at = 1.0;
        let mut version = "1";
        for cut in 0..11 {
            appliance.log_in(PASSWORD);
            let _ = updates.offer(if version == "1" { "2" } else { "4" });
            appliance.type_line("update apply");
            let begun = appliance.computed();
            e2e::wait::for_true(
                "the moment of the power cut",
                std::time::Duration::from_secs(900),
                || appliance.computed() - begun > at,
            );
            println!("cut {cut} after {at:.0} s of processor time");
            appliance.cut_power();
            at *= 1.6;
            appliance.power_on();
            let (which, _) = appliance.wait_for_any(&[
                "version 1 is in service",
                "version 2 is in service",
                "version 4 is in service",
            ]);
            version = ["1", "2", "4"][which];
            hospital.work();
            if version == "4" {
                break;
            }
        }
    });
}
