//! The years of an appliance in half an hour: put into service, updated, given a broken update, and back by itself.

use e2e::Lab;

use crate::hospital::{Hospital, PASSWORD, in_service};

//= C4
#[test]
fn from_first_boot_to_an_update_and_back_from_a_broken_one() {
    Lab::run(|lab| {
        let mut hospital = Hospital::open(lab);
        let updates = hospital.serve_updates();
        let mut appliance = hospital.appliance("1");
        println!(
            "first boot to service: {:.0} s of processor time",
            appliance.computed()
        );
        hospital.work();

        appliance.log_in(PASSWORD);
        let screen = appliance.screen();
        let memory = screen.lines().rfind(|line| line.contains("of memory used"));
        println!(
            "{}",
            memory.unwrap_or("the banner says nothing of memory").trim()
        );
        let said = appliance.lazaret("status");
        assert!(said.contains("relay-hl7"), "{said}");
        let said = appliance.lazaret("doctor");
        println!("{said}");

        // A good update, whose download breaks off once and goes on where it was.
        let _ = updates.offer("2");
        updates.break_off(20 << 20);
        let said = appliance.lazaret("update check");
        assert!(said.contains("version 2 of"), "{said}");
        appliance.type_line("update apply");
        in_service(&mut appliance, "2");
        let ranges = updates.ranges();
        assert!(
            ranges.iter().any(|line| !line.ends_with(" 0")),
            "{ranges:?}"
        );
        hospital.work();
        appliance.log_in(PASSWORD);
        let said = appliance.lazaret("update status");
        assert!(said.contains("version 2"), "{said}");

        // Older than what runs.
        let _ = updates.offer("1");
        let said = appliance.lazaret("update apply");
        assert!(said.contains("older"), "{said}");

        // One whose service does not come up: it tries, and version 2 is back without anybody's help.
        let _ = updates.offer("3");
        appliance.type_line("update apply");
        let mut trials = 0;
        while appliance
            .wait_for_any(&["this version is not healthy", "version 2 is in service"])
            .0
            == 0
        {
            trials += 1;
        }
        assert_eq!(trials, 3);
        hospital.work();
        appliance.log_in(PASSWORD);
        let said = appliance.lazaret("update status");
        assert!(said.contains("version 3") && said.contains("bad"), "{said}");
        let said = appliance.lazaret("update apply");
        assert!(said.contains("bad"), "{said}");

        // A mended one takes the place of the broken one; then back by hand.
        let _ = updates.offer("4");
        appliance.type_line("update apply");
        in_service(&mut appliance, "4");
        appliance.log_in(PASSWORD);
        appliance.type_line("update rollback");
        in_service(&mut appliance, "2");
        hospital.work();
    });
}
