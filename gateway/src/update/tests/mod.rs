//! Whole updates on a machine in a folder: what is taken, what is refused, and what a power cut leaves.

mod certificate;
mod download;
mod server;
pub(super) mod world;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use serde_json::json;

use self::world::{Installer, World, code, names};
use super::WENT_BACK;
use super::machine::Places;
use crate::own;

#[test]
fn a_good_update_is_installed_and_waits_for_its_trial() {
    let world = World::new();
    let release = world.release("2");
    let offer = world.updater.check(&mut release.source()).unwrap();
    assert!(!offer.installed);
    assert!(!world.places().state.exists(), "a look writes nothing");
    let mut last = Vec::new();
    let progress = |name: &str, at, size| {
        last.retain(|(before, _, _)| before != name);
        last.push((name.to_owned(), at, size));
    };
    world
        .updater
        .apply(&mut release.source(), progress, || true)
        .unwrap();
    assert_eq!(last.len(), 3);
    assert!(last.iter().all(|(_, at, size)| at == size));
    assert_eq!(world.entries(), ["lazaret_1.efi", "lazaret_2+3-0.efi"]);
    let status = world.updater.status().unwrap();
    assert_eq!(status.pending.unwrap().to_string(), "2");
    assert_eq!(status.running.to_string(), "1");
    assert!(names(&world.places().downloads()).is_empty());
    // Asked again before the restart, there is nothing left to do.
    assert!(world.apply(&mut release.source()).unwrap().installed);
}

#[test]
fn refusals_come_before_anything_is_fetched() {
    for (expected, spoil) in [
        ("unsigned", "rm"),
        ("unsigned", "empty"),
        ("wrong-signature", "stranger"),
        ("wrong-signature", "cut"),
        ("wrong-signature", "long"),
        ("wrong-signature", "changed"),
        ("wrong-product", "product"),
        ("wrong-flavour", "flavour"),
        ("not-newer", "older"),
        ("manifest-too-long", "huge"),
        ("no-keys", "keys"),
        ("no-space", "space"),
    ] {
        let world = World::new();
        let mut release = world.release(if spoil == "older" { "1" } else { "2" });
        let signature = release.folder.join("manifest.json.sig");
        match spoil {
            "rm" => fs::remove_file(signature).unwrap(),
            "empty" => fs::write(signature, "").unwrap(),
            "stranger" => release.sign(2),
            "cut" => fs::write(&signature, &fs::read(&signature).unwrap()[..63]).unwrap(),
            "long" => fs::write(&signature, [0; 65]).unwrap(),
            "changed" => {
                let manifest = release.folder.join("manifest.json");
                let text = fs::read_to_string(&manifest).unwrap();
                fs::write(manifest, text.replace("\"vm\"", "\"vM\"")).unwrap();
            }
            "product" | "flavour" => {
                release.manifest[spoil] = json!("other");
                release.sign(1);
            }
            "huge" => {
                release.manifest["more"] = json!("x".repeat(70_000));
                release.sign(1);
            }
            "keys" => fs::remove_file(&world.places().keys).unwrap(),
            "space" => {
                for file in release.manifest["files"].as_array_mut().unwrap() {
                    file["size"] = json!(1_u64 << 26);
                }
                release.manifest["files"][1]["size"] = json!(2_u64 << 30);
                release.sign(1);
                // No disk has this much less than what is asked for; the folder is on one that may.
                let free = rustix::fs::statvfs(world.machine.path()).unwrap();
                if free.f_bavail * free.f_frsize > 2 << 30 {
                    continue;
                }
            }
            _ => {}
        }
        assert_eq!(
            code(world.apply(&mut release.source())),
            expected,
            "{spoil}"
        );
        assert_eq!(world.entries(), ["lazaret_1.efi"], "{spoil}");
        let downloads = world.places().downloads();
        assert!(
            !downloads.exists() || names(&downloads).is_empty(),
            "{spoil}"
        );
    }
}

#[test]
fn payloads_that_are_not_what_was_signed_are_refused() {
    for (expected, role, spoil) in [
        ("tampered", "uki", "byte"),
        ("tampered", "root", "byte"),
        ("tampered", "root-verity", "byte"),
        ("wrong-length", "root", "cut"),
        ("wrong-length", "uki", "long"),
        ("fetch", "root", "rm"),
        ("fetch", "uki", "link"),
        ("fetch", "uki", "folder"),
    ] {
        let world = World::new();
        let release = world.release("2");
        let path = release.path(role);
        let mut bytes = fs::read(&path).unwrap();
        match spoil {
            "byte" => bytes[40_000] ^= 1,
            "cut" => bytes.truncate(40_000),
            "long" => bytes.push(0),
            _ => {}
        }
        fs::remove_file(&path).unwrap();
        match spoil {
            "rm" => {}
            "link" => symlink(&world.places().keys, &path).unwrap(),
            "folder" => fs::create_dir(&path).unwrap(),
            _ => fs::write(&path, bytes).unwrap(),
        }
        assert_eq!(
            code(world.apply(&mut release.source())),
            expected,
            "{role} {spoil}"
        );
        assert_eq!(world.entries(), ["lazaret_1.efi"]);
        let here = names(&world.places().downloads());
        assert!(!here.contains(&release.name(role)), "{here:?}");
        // The same one, whole, is taken.
        if matches!(spoil, "byte" | "cut" | "long" | "rm") {
            assert_eq!(code(world.apply(&mut world.release("2").source())), "taken");
        }
    }
}

#[test]
fn one_update_at_a_time() {
    let world = World::new();
    let release = world.release("2");
    let held = world.places().lock().unwrap().unwrap();
    assert_eq!(code(world.apply(&mut release.source())), "under-way");
    assert_eq!(code(world.updater.rollback()), "under-way");
    drop(held);
    assert_eq!(code(world.apply(&mut release.source())), "taken");
}

/// After each write, and in the middle of the download: what runs stays startable, and the next try completes it.
#[test]
fn a_power_cut_leaves_what_runs_and_a_later_try_completes_it() {
    for writes in 0..4 {
        let world = World::new();
        let release = world.release("2");
        world.installer(&Installer::DiesAfter(writes));
        assert_eq!(code(world.apply(&mut release.source())), "machine");
        let status = world.updater.status().unwrap();
        assert_eq!(status.pending.is_some(), writes == 3, "{writes}");
        assert!(world.entries().contains(&"lazaret_1.efi".to_owned()));
        world.installer(&Installer::Good);
        assert_eq!(code(world.apply(&mut release.source())), "taken");
        assert_eq!(world.entries(), ["lazaret_1.efi", "lazaret_2+3-0.efi"]);
    }
}

#[test]
fn what_was_installed_wrongly_is_not_started() {
    let world = World::new();
    let release = world.release("2");
    world.installer(&Installer::Garbles);
    let error = world.apply(&mut release.source()).unwrap_err();
    assert!(error.to_string().contains("installed for uki"), "{error}");
    assert_eq!(world.entries(), ["lazaret_1.efi"]);
    let failed = World::new();
    let release = failed.release("2");
    failed.installer(&Installer::DiesAfter(0));
    let error = failed.apply(&mut release.source()).unwrap_err();
    assert!(error.to_string().contains("power is gone"), "{error}");
}

#[test]
fn a_version_that_failed_is_not_offered_again_and_a_newer_one_is() {
    let world = World::new();
    let release = world.release("3");
    world.apply(&mut release.source()).unwrap();
    world.rename_entry("lazaret_3+3-0.efi", "lazaret_3+0-3.efi");
    assert_eq!(code(world.apply(&mut release.source())), "marked-bad");
    let status = world.updater.status().unwrap();
    assert_eq!(status.came_back_from.unwrap().to_string(), "3");
    assert_eq!(status.bad.len(), 1);
    // Remembered also when nothing of it is left to be seen.
    fs::remove_file(world.places().entries.join("lazaret_3+0-3.efi")).unwrap();
    assert_eq!(code(world.apply(&mut release.source())), "marked-bad");
    assert_eq!(
        code(world.apply(&mut world.release("1").source())),
        "not-newer"
    );
    assert_eq!(code(world.apply(&mut world.release("4").source())), "taken");
}

/// Version 3 is bad and its mended successor was given a lower number.
#[test]
fn a_bad_version_does_not_keep_a_lower_one_out() {
    for entry in ["lazaret_3+0-3.efi", "lazaret_3.efi", ""] {
        let world = World::new();
        world.apply(&mut world.release("3").source()).unwrap();
        world.rename_entry("lazaret_3+3-0.efi", "lazaret_3+0-3.efi");
        world.updater.status().unwrap();
        let again = world.apply(&mut world.release("3").source());
        assert_eq!(code(again), "marked-bad", "{entry}");
        let path = world.places().entries.join("lazaret_3+0-3.efi");
        match entry {
            "" => fs::remove_file(&path).unwrap(),
            entry => fs::rename(&path, path.with_file_name(entry)).unwrap(),
        }
        let fixed = world.apply(&mut world.release("2").source()).unwrap();
        assert_eq!(fixed.manifest.version.to_string(), "2");
        assert!(world.entries().contains(&"lazaret_2+3-0.efi".to_owned()));
        // Whatever it is called, the bad one is not started any more.
        assert!(!world.entries().contains(&"lazaret_3.efi".to_owned()));
        let pending = world.updater.status().unwrap().pending;
        assert_eq!(pending.unwrap().to_string(), "2", "{entry}");
        assert_eq!(
            code(world.apply(&mut world.release("3").source())),
            "marked-bad"
        );
    }
}

/// Power went after the installation: what is there is read again before anybody restarts into it.
#[test]
fn what_waits_is_verified_again_before_it_is_started() {
    for spoil in ["nothing", "entry", "root", "verity"] {
        let world = World::new();
        let release = world.release("2");
        world.apply(&mut release.source()).unwrap();
        let path = match spoil {
            "entry" => world.places().entries.join("lazaret_2+3-0.efi"),
            "root" => world.machine.dev("vda5"),
            _ => world.machine.dev("vda4"),
        };
        if spoil != "nothing" {
            let mut bytes = fs::read(&path).unwrap();
            bytes[20_000] ^= 1;
            fs::write(&path, bytes).unwrap();
        }
        // It is only looked at: nobody can install here.
        world.installer(&Installer::DiesAfter(0));
        let again = world.apply(&mut release.source());
        let expected = if spoil == "nothing" {
            "taken"
        } else {
            "machine"
        };
        assert_eq!(code(again), expected, "{spoil}");
        let startable = world.entries().contains(&"lazaret_2+3-0.efi".to_owned());
        assert_eq!(startable, spoil == "nothing", "{spoil}");
        world.installer(&Installer::Good);
        let offer = world.apply(&mut release.source()).unwrap();
        assert_eq!(offer.installed, spoil == "nothing", "{spoil}");
        assert_eq!(world.entries(), ["lazaret_1.efi", "lazaret_2+3-0.efi"]);
    }
}

/// The slot of what could be started besides is written: whenever the power goes meanwhile, the loader passes over it.
#[test]
fn what_is_replaced_is_not_started_while_its_slot_is_written() {
    for (other, replaced) in [
        ("lazaret_1.efi", "lazaret_1+0-0.efi"),
        ("lazaret_1+2-1.efi", "lazaret_1+0-0.efi"),
        ("lazaret_1+0-3.efi", "lazaret_1+0-3.efi"),
    ] {
        let world = World::new();
        world.apply(&mut world.release("2").source()).unwrap();
        world.runs("2");
        world.rename_entry("lazaret_2+3-0.efi", "lazaret_2.efi");
        world.rename_entry("lazaret_1.efi", other);
        // Before that nothing is changed.
        let late = |world: &World| {
            let release = world.release("3");
            (world.updater).apply(&mut release.source(), |_, _, _| {}, || false)
        };
        assert_eq!(code(late(&world)), "outside-window");
        assert_eq!(world.entries(), [other, "lazaret_2.efi"]);
        world.installer(&Installer::DiesAfter(0));
        assert_eq!(
            code(world.apply(&mut world.release("3").source())),
            "machine"
        );
        assert_eq!(world.entries(), [replaced, "lazaret_2.efi"]);
        let status = world.updater.status().unwrap();
        let failed = other.ends_with("+0-3.efi");
        assert_eq!(status.bad.len(), usize::from(failed), "{other}");
        assert_eq!(status.came_back_from.is_some(), failed, "{other}");
        world.installer(&Installer::Good);
        assert_eq!(code(world.apply(&mut world.release("3").source())), "taken");
    }
}

/// The server is gone when the next window opens: what was installed can still be verified and started.
#[test]
fn what_waits_is_verified_without_its_source() {
    for spoil in ["nothing", "root", "signature", "cut", "other", "none"] {
        let world = World::new();
        assert!(world.updater.waiting().unwrap().is_none());
        let release = world.release("2");
        world.apply(&mut release.source()).unwrap();
        fs::remove_dir_all(&release.folder).unwrap();
        let kept = world.places().state.join("installed.signed");
        match spoil {
            "root" => fs::write(world.machine.dev("vda5"), "something else").unwrap(),
            "signature" => {
                let mut both = fs::read(&kept).unwrap();
                both[0] ^= 1;
                own::replace(&kept, &both).unwrap();
            }
            "cut" => own::replace(&kept, &[7; 63]).unwrap(),
            "other" => {
                // Signed, and of a version that is not there.
                let other = world.release("3").folder;
                let read = |name| fs::read(other.join(name)).unwrap();
                let both = [read("manifest.json.sig"), read("manifest.json")].concat();
                own::replace(&kept, &both).unwrap();
            }
            "none" => fs::remove_file(&kept).unwrap(),
            _ => {}
        }
        let said = match world.updater.waiting() {
            Ok(Some(offer)) => offer.manifest.version.to_string(),
            Ok(None) => "none".to_owned(),
            error => code(error).to_owned(),
        };
        let expected = match spoil {
            "nothing" => "2",
            "root" => "machine",
            "signature" => "wrong-signature",
            _ => "none",
        };
        assert_eq!(said, expected, "{spoil}");
        let startable = world.entries().contains(&"lazaret_2+3-0.efi".to_owned());
        assert_eq!(startable, spoil != "root", "{spoil}");
        world.runs("2");
        if spoil == "nothing" {
            assert!(world.updater.waiting().unwrap().is_none(), "it runs");
        }
    }
}

/// The download took until the window was over: it is kept, and the next window installs it.
#[test]
fn a_window_that_closed_stops_the_installation() {
    let world = World::new();
    let release = world.release("2");
    let closed = world
        .updater
        .apply(&mut release.source(), |_, _, _| {}, || false);
    assert_eq!(code(closed), "outside-window");
    assert_eq!(world.entries(), ["lazaret_1.efi"]);
    assert_eq!(names(&world.places().downloads()).len(), 3);
    let mut fetched = 0;
    let progress = |_: &str, _, _| fetched += 1;
    let open = world
        .updater
        .apply(&mut release.source(), progress, || true);
    assert_eq!(code(open), "taken");
    assert_eq!(fetched, 0, "nothing is fetched twice");
}

#[test]
fn a_machine_left_to_itself_does_not_restart_for_ever() {
    let world = World::new();
    let release = world.release("2");
    world.apply(&mut release.source()).unwrap();
    for _ in 0..3 {
        assert!(world.updater.may_restart().unwrap());
        world.updater.restarting().unwrap();
        assert!(world.apply(&mut release.source()).unwrap().installed);
    }
    assert!(!world.updater.may_restart().unwrap());
    assert_eq!(world.updater.status().unwrap().restarts, 3);
    // Another version has its own number of them.
    world.apply(&mut world.release("3").source()).unwrap();
    assert!(world.updater.may_restart().unwrap());
}

#[test]
fn an_operator_goes_back_to_what_ran_before() {
    let world = World::new();
    assert_eq!(code(world.updater.rollback()), "no-other-version");
    let release = world.release("2");
    world.apply(&mut release.source()).unwrap();
    world.runs("2");
    world.rename_entry("lazaret_2+3-0.efi", "lazaret_2.efi");
    assert_eq!(world.updater.rollback().unwrap().to_string(), "1");
    assert_eq!(world.entries(), ["lazaret_1.efi", "lazaret_2+0-1.efi"]);
    world.runs("1");
    // It is bad because of an operator, and not of its health.
    let status = world.updater.status().unwrap();
    assert_eq!((status.came_back_from, status.pending), (None, None));
    assert_eq!(status.bad, [("2".to_owned(), WENT_BACK.to_owned())]);
    assert_eq!(code(world.apply(&mut release.source())), "marked-bad");
    assert_eq!(code(world.updater.rollback()), "no-other-version");
}

/// A record that is older, newer, cut or missing changes nothing that can be seen.
#[test]
fn the_record_is_never_believed_against_what_is_there() {
    for text in [
        "",
        "{\"schema\":9,\"pending\":{\"version\":\"7\"},\"extra\":true}",
        "{\"pend",
        "[]",
    ] {
        let world = World::new();
        let state = &world.places().state;
        own::replace(&state.join("state.json"), text.as_bytes()).unwrap();
        assert_eq!(world.updater.status().unwrap().pending, None);
        assert_eq!(code(world.apply(&mut world.release("2").source())), "taken");
        let after = fs::read_to_string(state.join("state.json")).unwrap();
        assert_eq!(after.contains("\"extra\":true"), text.contains("extra"));
    }
}

/// A stick has an ESP and slots of the same names: nothing of it is read or written.
#[test]
fn a_disk_with_the_same_names_changes_nothing() {
    let world = World::new();
    let names = ["esp", "lazaret_2_verity", "lazaret_2", "_empty", "_empty"];
    world.machine.disk("sda", 8, &names);
    let shown = world.updater.status().unwrap();
    assert_eq!(shown.slots.len(), 1, "{:?}", shown.slots);
    let release = world.release("2");
    let manifest = world.updater.check(&mut release.source()).unwrap().manifest;
    for (name, role) in [("sda2", "root-verity"), ("sda3", "root")] {
        fs::copy(release.path(role), world.machine.dev(name)).unwrap();
    }
    let verified = world.places().verify_installed(&manifest, "lazaret_1.efi");
    assert!(verified.is_err(), "what is on the stick is not installed");
    assert_eq!(code(world.apply(&mut release.source())), "taken");
    // With the ESP of the stick in the place of ours nothing is decided.
    world.machine.mount("8:1", "/efi");
    assert_eq!(code(world.updater.rollback()), "machine");
    assert_eq!(
        code(world.apply(&mut world.release("3").source())),
        "machine"
    );
    assert_eq!(world.entries(), ["lazaret_1.efi", "lazaret_2+3-0.efi"]);
}

/// What the gateway's own user, or anybody else, could have put there is not acted upon.
#[test]
fn state_that_others_could_write_is_not_believed() {
    for spoil in ["nothing", "mode", "link", "folder", "parent", "download"] {
        let world = World::new();
        let state = world.places().state.clone();
        own::replace(&state.join("state.json"), b"{}").unwrap();
        let open = |path: &Path| {
            fs::set_permissions(path, fs::Permissions::from_mode(0o770)).unwrap();
        };
        match spoil {
            "mode" => open(&state.join("state.json")),
            "link" => {
                fs::rename(state.join("state.json"), state.join("elsewhere")).unwrap();
                symlink(state.join("elsewhere"), state.join("state.json")).unwrap();
            }
            "folder" => open(&state),
            "parent" => open(state.parent().unwrap()),
            "download" => {
                symlink(world.machine.path(), world.places().downloads()).unwrap();
            }
            _ => {}
        }
        let expected = match spoil {
            "nothing" => "taken",
            "download" => "store",
            _ => "machine",
        };
        let applied = code(world.apply(&mut world.release("2").source()));
        assert_eq!(applied, expected, "{spoil}");
        let taken = world.entries().len() == 2;
        assert_eq!(taken, spoil == "nothing", "{spoil}");
    }
}

#[test]
fn a_server_without_the_image_is_told_so() {
    let world = World::new();
    fs::write(&world.places().os_release, "ID=debian\n").unwrap();
    assert_eq!(
        code(world.apply(&mut world.release("2").source())),
        "machine"
    );
    assert_eq!(
        Places::of_image().downloads().to_str(),
        Some("/var/lib/lazaret-appliance/update/download")
    );
}
