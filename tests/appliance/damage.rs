//! Updates that were tampered with, and a disk that was: nothing of them runs.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use e2e::Lab;

use crate::hospital::{Hospital, PASSWORD, partition};

/// Does something to a served update.
type Damage = fn(&Path);

#[test]
fn tampered_updates_are_refused_before_anything_is_written() {
    Lab::run(|lab| {
        let mut hospital = Hospital::open(lab);
        let updates = hospital.serve_updates();
        let mut appliance = hospital.appliance("1");
        appliance.log_in(PASSWORD);
        let before = appliance.lazaret("update status");

        let refused: [(&str, Damage); 5] = [
            ("signature", |served| {
                turn_a_bit(&served.join("manifest.json.sig"), 10)
            }),
            ("signature", |served| {
                turn_a_bit(&served.join("manifest.json"), 40)
            }),
            ("signature", |served| {
                std::fs::remove_file(served.join("manifest.json.sig")).unwrap()
            }),
            ("does not", |served| turn_a_bit(&payload(served), 5 << 20)),
            ("does not", |served| truncate(&payload(served), 6 << 20)),
        ];
        for (word, damage) in refused {
            damage(&updates.offer("2"));
            let said = appliance.lazaret("update apply");
            assert!(said.contains(word), "{said}");
            assert_eq!(appliance.lazaret("update status"), before);
        }
        hospital.work();
    });
}

/// A changed block of the root file system is noticed when it is read: the machine stops instead of running it.
#[test]
fn a_changed_root_does_not_boot() {
    Lab::run(|lab| {
        let hospital = Hospital::open(lab);
        let mut appliance = hospital.appliance("1");
        appliance.cut_power();
        let (start, length) = partition(appliance.disk(), "lazaret_1");
        let mut disk = File::options().write(true).open(appliance.disk()).unwrap();
        // The first quarter of the file system but its first MiB: programs, not its superblock.
        for at in (start + (1 << 20)..start + length / 4).step_by(1 << 16) {
            disk.seek(SeekFrom::Start(at)).unwrap();
            disk.write_all(&[0x5a; 4096]).unwrap();
        }
        drop(disk);
        appliance.power_on();
        let (which, said) = appliance.wait_for_any(&["verity", "panic", "is in service"]);
        assert_ne!(which, 2, "{said}");
    });
}

fn payload(served: &Path) -> std::path::PathBuf {
    let entries = std::fs::read_dir(served)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .max_by_key(|path| std::fs::metadata(path).unwrap().len())
        .unwrap()
}

fn turn_a_bit(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

fn truncate(path: &Path, length: u64) {
    File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(length)
        .unwrap();
}
