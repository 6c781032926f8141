//! How the system was started: what the firmware checked, what the kernel was told, and the root file system.

use super::facts::{Facts, Form, OS_RELEASE, Seen, setting};
use super::report::{Item, Verdict};

pub(super) fn judge(facts: &Facts, items: &mut Vec<Item>) {
    items.push(secure_boot(facts));
    items.push(command_line(facts));
    items.push(lockdown(facts));
    items.push(read_only(facts));
    items.push(verity(facts));
}

fn secure_boot(facts: &Facts) -> Item {
    let (id, right) = ("boot.secure-boot", "on, with keys enrolled");
    if facts.form == Form::Server {
        return not_applicable(id, right);
    }
    // Whoever owns the hypervisor can replace the disk as well; a machine that can be touched is another matter.
    let missing = match facts.text(OS_RELEASE) {
        Seen::Known(text) if setting(text, "VARIANT_ID") == Some("vm") => Verdict::Warn,
        Seen::Known(_) | Seen::Absent | Seen::Unreadable(_) => Verdict::Bad,
    };
    let (verdict, found) = match (variable(facts, SECURE_BOOT), variable(facts, SETUP_MODE)) {
        (Seen::Known(1), Seen::Known(1)) => (
            Verdict::Bad,
            "on, in setup mode: anybody may enrol keys".to_owned(),
        ),
        (Seen::Known(1), Seen::Known(_) | Seen::Absent) => (Verdict::Ok, "on".to_owned()),
        (Seen::Known(1), Seen::Unreadable(why)) | (Seen::Unreadable(why), _) => {
            (Verdict::Unknown, why)
        }
        (Seen::Known(_), _) => (missing, "off".to_owned()),
        (Seen::Absent, _) => (missing, "the firmware has no Secure Boot".to_owned()),
    };
    Item::new(id, verdict, &found, right)
}

/// The value of a boolean variable of the firmware, after four bytes of attributes (UEFI 8.2).
fn variable(facts: &Facts, path: &str) -> Seen<u8> {
    match facts.bytes(path) {
        Seen::Known([_, _, _, _, value]) => Seen::Known(*value),
        Seen::Known(_) => Seen::Unreadable("the firmware's variable is not one byte".to_owned()),
        Seen::Absent => Seen::Absent,
        Seen::Unreadable(why) => Seen::Unreadable(why),
    }
}

fn command_line(facts: &Facts) -> Item {
    let right = "nothing that weakens the kernel or leads to a shell";
    let (verdict, found) = match facts.text("/proc/cmdline") {
        Seen::Known(line) => {
            let weak: Vec<&str> = line
                .split_whitespace()
                .filter(|word| weakens(word))
                .collect();
            match weak.as_slice() {
                [] => (Verdict::Ok, "nothing that weakens".to_owned()),
                _ => (Verdict::Bad, weak.join(" ")),
            }
        }
        Seen::Absent => (Verdict::Unknown, "there is no /proc/cmdline".to_owned()),
        Seen::Unreadable(why) => (Verdict::Unknown, why),
    };
    Item::new("boot.command-line", verdict, &found, right)
}

fn weakens(word: &str) -> bool {
    WEAK.contains(&word) || WEAK_BEGINNINGS.iter().any(|start| word.starts_with(start))
}

fn lockdown(facts: &Facts) -> Item {
    let missing = worse(facts.form);
    let (verdict, found) = match facts.text("/sys/kernel/security/lockdown") {
        Seen::Known(text) => match text.split(['[', ']']).nth(1) {
            Some(mode @ ("integrity" | "confidentiality")) => (Verdict::Ok, mode.to_owned()),
            Some(mode) => (missing, mode.to_owned()),
            None => (Verdict::Unknown, text.to_owned()),
        },
        Seen::Absent => (
            Verdict::Unknown,
            "the kernel does not say (no lockdown, or securityfs is not mounted)".to_owned(),
        ),
        Seen::Unreadable(why) => (Verdict::Unknown, why),
    };
    Item::new(
        "kernel.lockdown",
        verdict,
        &found,
        "integrity or confidentiality",
    )
}

fn read_only(facts: &Facts) -> Item {
    let (id, right) = ("root.read-only", "mounted read-only");
    if facts.form == Form::Server {
        return not_applicable(id, right);
    }
    let (verdict, found) = match facts.mount("/") {
        Seen::Known(mount) if mount.has("ro") && !mount.has("rw") => {
            (Verdict::Ok, format!("{}, read-only", mount.kind))
        }
        Seen::Known(mount) => (Verdict::Bad, format!("{}, writable", mount.kind)),
        Seen::Absent => (Verdict::Unknown, "nothing is mounted on /".to_owned()),
        Seen::Unreadable(why) => (Verdict::Unknown, why),
    };
    Item::new(id, verdict, &found, right)
}

fn verity(facts: &Facts) -> Item {
    let (id, right) = (
        "root.verity",
        "each block is checked against a signed hash (dm-verity)",
    );
    if facts.form == Form::Server {
        return not_applicable(id, right);
    }
    let uuid = match facts.mount("/") {
        Seen::Known(mount) => facts.text(&mount.uuid_path()).map(str::to_owned),
        Seen::Absent => Seen::Unreadable("nothing is mounted on /".to_owned()),
        Seen::Unreadable(why) => Seen::Unreadable(why),
    };
    let (verdict, found) = match uuid {
        Seen::Known(uuid) if uuid.starts_with("CRYPT-VERITY-") => {
            (Verdict::Ok, "dm-verity".to_owned())
        }
        Seen::Known(_) => (Verdict::Bad, "a mapped device without dm-verity".to_owned()),
        Seen::Absent => (Verdict::Bad, "a plain device".to_owned()),
        Seen::Unreadable(why) => (Verdict::Unknown, why),
    };
    Item::new(id, verdict, &found, right)
}

/// For what has no meaning on a server.
pub(super) fn not_applicable(id: &str, right: &str) -> Item {
    Item::new(id, Verdict::NotApplicable, "of the appliance only", right)
}

/// What is promised on the appliance is advice on a server, which has another master.
pub(super) fn worse(form: Form) -> Verdict {
    match form {
        Form::Appliance => Verdict::Bad,
        Form::Server => Verdict::Warn,
    }
}

const SECURE_BOOT: &str =
    "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
const SETUP_MODE: &str = "/sys/firmware/efi/efivars/SetupMode-8be4df61-93ca-11d2-aa0d-00e098032b8c";
pub(super) const WANTED: [&str; 4] = [
    SECURE_BOOT,
    SETUP_MODE,
    "/proc/cmdline",
    "/sys/kernel/security/lockdown",
];
const WEAK: [&str; 14] = [
    "single",
    "rescue",
    "emergency",
    "1",
    "s",
    "S",
    "nokaslr",
    "nosmap",
    "nosmep",
    "nopti",
    "mitigations=off",
    "lockdown=none",
    "selinux=0",
    "systemd.debug_shell",
];
const WEAK_BEGINNINGS: [&str; 9] = [
    "init=",
    "rd.break",
    "rdinit=",
    "lsm=",
    "module.sig_enforce=0",
    "systemd.debug_shell=",
    "systemd.debug-shell=",
    "systemd.unit=rescue",
    "systemd.unit=emergency",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_weaken() {
        for word in [
            "mitigations=off",
            "init=/bin/sh",
            "single",
            "systemd.unit=rescue.target",
        ] {
            assert!(weakens(word), "{word}");
        }
        for word in [
            "mitigations=auto",
            "initrd=x",
            "quiet",
            "lockdown=integrity",
            "panic=10",
            "roothash=1",
        ] {
            assert!(!weakens(word), "{word}");
        }
    }
}
