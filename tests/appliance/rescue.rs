//! What is left when the appliance cannot start, and the shell of whoever stands at the machine.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};

use e2e::{Appliance, Lab};

use crate::hospital::{Hospital, PASSWORD, first_log_in, image, in_service, partition};

/// The shell has neither the network nor the key of the data; the next ordinary start has both.
//= C4
#[test]
fn the_rescue_shell_reaches_nothing_and_opens_nothing() {
    Lab::run(|lab| {
        let mut hospital = Hospital::open(lab);
        let mut appliance = Appliance::new(lab, &image("1"));
        appliance.add_tpm();
        appliance.credential("lazaret.config", &hospital.provisioning());
        appliance.power_on();
        in_service(&mut appliance, "1");
        first_log_in(&mut appliance);
        let _ = appliance.lazaret("status");
        appliance.type_line("poweroff");
        appliance.wait_for_power_off();

        appliance.power_on();
        // The processor of a busy host may be so late that the kernel starts once more.
        let menu = "the gateway stays off";
        while appliance.wait_for_any(&[menu, "LAZARET RESCUE"]).0 == 0 {
            appliance.press("j\r");
        }
        let _ = appliance.wait_for("# ");
        for unit in ["lazaret", "systemd-networkd"] {
            assert_eq!(
                shell(
                    &mut appliance,
                    &format!("systemctl is-active --quiet {unit}")
                ),
                "3"
            );
        }
        // Not a byte of the data, by the TPM; nothing leaves, by the table.
        let attach = "/usr/lib/systemd/systemd-cryptsetup attach mine /dev/lazaret/data - tpm2-device=auto,headless=1,tries=1";
        assert_ne!(shell(&mut appliance, attach), "0");
        assert_eq!(shell(&mut appliance, "test -e /dev/mapper/mine"), "1");
        assert_eq!(shell(&mut appliance, "nft list table inet lazaret"), "0");
        assert_eq!(shell(&mut appliance, "ls /sys/class/tpm/tpm0"), "0");

        appliance.type_line("systemctl reboot");
        in_service(&mut appliance, "1");
        hospital.work();
    });
}

/// A data partition that is gone: the version on trial gives up, the one before says so and stays closed; nothing is
/// made anew.
#[test]
fn without_its_data_it_goes_back_and_stays_closed() {
    Lab::run(|lab| {
        let hospital = Hospital::open(lab);
        let updates = hospital.serve_updates();
        let mut appliance = hospital.appliance("1");
        appliance.log_in(PASSWORD);
        let _ = updates.offer("2");
        appliance.type_line("update apply");
        let _ = appliance.wait_for("the gateway stays off");
        appliance.cut_power();
        let (start, _) = partition(appliance.disk(), "lazaret-data");
        let mut disk = File::options().write(true).open(appliance.disk()).unwrap();
        disk.seek(SeekFrom::Start(start)).unwrap();
        disk.write_all(&vec![0; 16 << 20]).unwrap();
        drop(disk);

        appliance.power_on();
        let ends = [
            "this version was on trial",
            "choose the rescue entry",
            "is in service",
        ];
        let mut trials = 0;
        let last = loop {
            match appliance.wait_for_any(&ends).0 {
                0 => trials += 1,
                last => break last,
            }
        };
        assert_eq!(last, 1);
        // The power failed in the boot menu, after or before the start was counted.
        assert!(trials == 2 || trials == 3, "{trials}");
        let screen = appliance.screen();
        assert!(screen.contains("its header is gone"), "{screen}");
    });
}

/// Runs a line in the rescue shell; its exit code.
fn shell(appliance: &mut Appliance<'_>, line: &str) -> String {
    // The line itself is on the screen too, with the quotes.
    appliance.type_line(&format!("{line}; echo 'co''de' $? 'en''d'"));
    let _ = appliance.wait_for("code ");
    let said = appliance.wait_for(" end");
    said.trim_end_matches(" end").trim().to_owned()
}
