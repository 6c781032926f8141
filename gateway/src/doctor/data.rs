//! The data partition: what it may carry, whether it is encrypted, and what opens it.

use serde_json::Value;

use super::boot::{not_applicable, worse};
use super::facts::{Facts, Form, Mount, Seen, TPM};
use super::report::{Item, Verdict};

pub(super) fn judge(facts: &Facts, items: &mut Vec<Item>) {
    items.push(mount(facts));
    items.push(encrypted(facts));
    items.push(key(facts));
    items.push(swap(facts));
}

fn mount(facts: &Facts) -> Item {
    let (id, right) = ("data.mount", "/var is mounted nosuid, nodev, noexec");
    if facts.form == Form::Server {
        return not_applicable(id, right);
    }
    let (verdict, found) = match facts.mount(DATA) {
        Seen::Known(mount) => missing_options(&mount),
        Seen::Absent => (Verdict::Bad, "nothing is mounted on /var".to_owned()),
        Seen::Unreadable(why) => (Verdict::Unknown, why),
    };
    Item::new(id, verdict, &found, right)
}

fn missing_options(mount: &Mount) -> (Verdict, String) {
    let wanted = ["nosuid", "nodev", "noexec"];
    let missing: Vec<&str> = wanted
        .into_iter()
        .filter(|option| !mount.has(option))
        .collect();
    if missing.is_empty() {
        (Verdict::Ok, wanted.join(", "))
    } else {
        (Verdict::Bad, format!("without {}", missing.join(", ")))
    }
}

fn encrypted(facts: &Facts) -> Item {
    let (id, right) = ("data.encrypted", "/var lies on LUKS2");
    if facts.form == Form::Server {
        return not_applicable(id, right);
    }
    let uuid = match facts.mount(DATA) {
        Seen::Known(mount) => facts.text(&mount.uuid_path()).map(str::to_owned),
        Seen::Absent => Seen::Absent,
        Seen::Unreadable(why) => Seen::Unreadable(why),
    };
    let (verdict, found) = match uuid {
        Seen::Known(uuid) if uuid.starts_with("CRYPT-LUKS2-") => (Verdict::Ok, "LUKS2".to_owned()),
        Seen::Known(uuid) if uuid.starts_with("CRYPT-LUKS1-") => {
            (Verdict::Warn, "LUKS1".to_owned())
        }
        Seen::Known(_) => (Verdict::Bad, "a mapped device without LUKS".to_owned()),
        Seen::Absent => (Verdict::Bad, "not encrypted".to_owned()),
        Seen::Unreadable(why) => (Verdict::Unknown, why),
    };
    Item::new(id, verdict, &found, right)
}

/// Which of the header's tokens and key slots open the partition, against what the machine has.
fn key(facts: &Facts) -> Item {
    let (id, right) = ("data.key", "sealed to the TPM");
    if facts.form == Form::Server {
        return not_applicable(id, right);
    }
    let tpm = match facts.text(TPM) {
        Seen::Known("2") => Seen::Known(true),
        Seen::Known(_) | Seen::Absent => Seen::Known(false),
        Seen::Unreadable(why) => Seen::Unreadable(why),
    };
    let (verdict, found) = match (sealed(facts), tpm) {
        (Seen::Known(true), _) => (
            Verdict::Ok,
            "sealed to the TPM: it opens in this machine, with the recovery key elsewhere",
        ),
        (Seen::Known(false), Seen::Known(true)) => (
            Verdict::Bad,
            "there is a TPM 2.0, and the key is not sealed to it: it lies on the boot partition",
        ),
        (Seen::Known(false), Seen::Known(false)) => (
            Verdict::Warn,
            "this machine has no TPM 2.0: the key lies on its boot partition, and whoever has the disk can read the data",
        ),
        (Seen::Absent, _) => (
            Verdict::Bad,
            "there is no key: the partition is not encrypted",
        ),
        (Seen::Known(false), Seen::Absent | Seen::Unreadable(_)) => {
            (Verdict::Unknown, "whether there is a TPM cannot be read")
        }
        (Seen::Unreadable(why), _) => return Item::new(id, Verdict::Unknown, &why, right),
    };
    Item::new(id, verdict, found, right)
}

fn sealed(facts: &Facts) -> Seen<bool> {
    let json = match facts.bytes(LUKS) {
        Seen::Known(json) => json,
        Seen::Absent => return Seen::Absent,
        Seen::Unreadable(why) => return Seen::Unreadable(why),
    };
    let text = json.split(|byte| *byte == 0).next().unwrap_or_default();
    let Ok(header) = serde_json::from_slice::<Value>(text) else {
        return Seen::Unreadable("the header of the partition cannot be understood".to_owned());
    };
    let tokens = header.get("tokens").and_then(Value::as_object);
    let of_tpm = |token: &Value| token.get("type").and_then(Value::as_str) == Some("systemd-tpm2");
    Seen::Known(tokens.is_some_and(|tokens| tokens.values().any(of_tpm)))
}

/// Memory holds what is being inspected; it must not reach a disk in the clear.
fn swap(facts: &Facts) -> Item {
    let right = "none, or encrypted";
    let (verdict, found) = match facts.text("/proc/swaps") {
        Seen::Known(text) => {
            let devices = text
                .lines()
                .skip(1)
                .filter_map(|line| line.split_whitespace().next());
            let clear: Vec<&str> = devices
                .filter(|device| !device.starts_with("/dev/zram"))
                .collect();
            match clear.as_slice() {
                [] => (Verdict::Ok, "none on a disk".to_owned()),
                _ if clear.iter().all(|device| device.starts_with("/dev/dm-")) => (
                    Verdict::Unknown,
                    format!("on {}, which may be encrypted", clear.join(", ")),
                ),
                _ => (worse(facts.form), format!("on {}", clear.join(", "))),
            }
        }
        Seen::Absent => (Verdict::Ok, "this kernel has no swap".to_owned()),
        Seen::Unreadable(why) => (Verdict::Unknown, why),
    };
    Item::new("data.swap", verdict, &found, right)
}

/// Where the data partition is mounted.
pub const DATA: &str = "/var";
/// Under this name stands the JSON area of the header of the partition under [`DATA`].
pub const LUKS: &str = "LUKS2 header of /var";
pub(super) const WANTED: [&str; 1] = ["/proc/swaps"];
