//! The running gateway: what it says of itself, and what the kernel lets each of its processes do.

use super::boot::worse;
use super::facts::{Facts, Process, Seen, field};
use super::report::{Item, Verdict};
use crate::control::message::{CaStatus, JournalStatus, Status, TableStatus};

pub(super) fn judge(facts: &Facts, items: &mut Vec<Item>) {
    match facts.gateway.as_ref() {
        Seen::Known(status) => said(status, items),
        Seen::Absent => {
            let found = "nobody answers on the control socket";
            items.push(Item::new("gateway.running", Verdict::Bad, found, RUNNING));
        }
        Seen::Unreadable(why) => items.push(Item::new(
            "gateway.running",
            Verdict::Unknown,
            &why,
            RUNNING,
        )),
    }
    for process in &facts.processes {
        items.push(sandbox(facts, process));
        items.push(core_dumps(process));
    }
}

fn said(status: &Status, items: &mut Vec<Item>) {
    let down: Vec<&str> = status
        .workers
        .iter()
        .filter(|worker| worker.pid.is_none())
        .map(|worker| worker.name.as_str())
        .collect();
    let (verdict, found) = if status.workers.is_empty() {
        (Verdict::Bad, "it has no workers".to_owned())
    } else if down.is_empty() {
        (
            Verdict::Ok,
            format!(
                "version {} with {} workers",
                status.version,
                status.workers.len()
            ),
        )
    } else {
        (
            Verdict::Warn,
            format!("being started again: {}", down.join(", ")),
        )
    };
    items.push(Item::new("gateway.running", verdict, &found, RUNNING));
    let (verdict, found) = match &status.table {
        TableStatus::AsPlanned => (Verdict::Ok, "as planned"),
        TableStatus::Drifted(how) => (Verdict::Bad, how.as_str()),
    };
    let right = "the live nftables table is the planned one";
    items.push(Item::new("gateway.table", verdict, found, right));
    let (verdict, found) = match &status.journal {
        JournalStatus::Writable => (Verdict::Ok, "writable"),
        JournalStatus::Failed(why) => (Verdict::Bad, why.as_str()),
    };
    let right = "every decision can be recorded";
    items.push(Item::new("gateway.journal", verdict, found, right));
    let policy = &status.policy;
    let (verdict, found) = match (&policy.alarm, &policy.trouble) {
        (Some(alarm), _) => (Verdict::Bad, alarm.as_str()),
        (None, Some(trouble)) => (Verdict::Bad, trouble.as_str()),
        (None, None) => (Verdict::Ok, "from the files"),
    };
    let right = "what is in force is what was applied, and in the history";
    items.push(Item::new("gateway.policy", verdict, found, right));
    if let Some(ca) = &status.ca {
        items.push(authority(ca));
    }
}

/// A rotation takes an overlap; whoever is told late locks devices out.
fn authority(ca: &CaStatus) -> Item {
    let (verdict, found) = match ca {
        CaStatus::Issues { seconds } => {
            let days = seconds / 86_400;
            let verdict = match days {
                0..14 => Verdict::Bad,
                14..180 => Verdict::Warn,
                _ => Verdict::Ok,
            };
            (verdict, format!("{days} days left"))
        }
        CaStatus::Missing => (Verdict::Warn, "there is none: lazaret ca init".to_owned()),
        CaStatus::Unavailable(why) => (Verdict::Bad, why.clone()),
    };
    let right = "the certification authority holds for 180 days and more";
    Item::new("gateway.authority", verdict, &found, right)
}

/// A worker has no capability and no way to get one; the supervisor has those that it needs.
/// The bounding set is told and not judged: with no_new_privs no execution can use it.
//= C10
fn sandbox(facts: &Facts, process: &Process) -> Item {
    let id = format!("process.{}.sandbox", process.name);
    let supervisor = process.name == SUPERVISOR;
    let right = if supervisor {
        "no capabilities but those of the network, NoNewPrivs 1"
    } else {
        "CapInh, CapPrm, CapEff and CapAmb 0, NoNewPrivs 1, Seccomp 2"
    };
    let text = match process.status.as_ref() {
        Seen::Known(text) => text,
        Seen::Absent => return Item::new(id, Verdict::Unknown, "the process has ended", right),
        Seen::Unreadable(why) => return Item::new(id, Verdict::Unknown, &why, right),
    };
    let mut found = Vec::new();
    let mut verdict = Verdict::Ok;
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb", "CapBnd"] {
        let Some(bits) = field(text, set).and_then(|hex| u64::from_str_radix(hex, 16).ok()) else {
            return Item::new(
                id,
                Verdict::Unknown,
                &format!("{set} cannot be read"),
                right,
            );
        };
        found.push(format!("{set} {bits:x}"));
        let allowed = match (supervisor, set) {
            (_, "CapBnd") => u64::MAX,
            (true, "CapPrm" | "CapEff") => OF_SUPERVISOR,
            _ => 0,
        };
        if bits & !allowed != 0 {
            verdict = Verdict::Bad;
        }
    }
    let relay = process.name.starts_with("relay-");
    for (key, wanted) in [("NoNewPrivs", "1"), ("Seccomp", "2")] {
        let Some(value) = field(text, key) else {
            return Item::new(
                id,
                Verdict::Unknown,
                &format!("{key} cannot be read"),
                right,
            );
        };
        found.push(format!("{key} {value}"));
        if value != wanted {
            // A relay filters its own calls everywhere; for the others the filter is the unit's.
            let filter = key == "Seccomp" && !relay;
            verdict = verdict.max(if filter {
                worse(facts.form)
            } else {
                Verdict::Bad
            });
        }
    }
    Item::new(id, verdict, &found.join(", "), right)
}

/// What was in memory does not reach a disk by a crash.
fn core_dumps(process: &Process) -> Item {
    let id = format!("process.{}.core-dumps", process.name);
    let right = "limit 0";
    let line = |text: &str| {
        let rest = text
            .lines()
            .find_map(|line| line.strip_prefix("Max core file size"))?;
        Some(
            rest.split_whitespace()
                .take(2)
                .map(str::to_owned)
                .collect::<Vec<_>>(),
        )
    };
    let (verdict, found) = match process.limits.as_ref() {
        Seen::Known(text) => match line(text).as_deref() {
            Some([soft, hard]) if soft == "0" && hard == "0" => (Verdict::Ok, "0".to_owned()),
            Some([soft, hard]) => (Verdict::Bad, format!("{soft}, may be raised to {hard}")),
            _ => (Verdict::Unknown, "the limit cannot be read".to_owned()),
        },
        Seen::Absent => (Verdict::Unknown, "the process has ended".to_owned()),
        Seen::Unreadable(why) => (Verdict::Unknown, why),
    };
    Item::new(id, verdict, &found, right)
}

/// The name of the supervisor among the processes.
pub const SUPERVISOR: &str = "supervisor";
const RUNNING: &str = "it answers, and all of its workers run";
/// CAP_DAC_OVERRIDE, CAP_KILL, CAP_NET_BIND_SERVICE, CAP_NET_ADMIN, CAP_NET_RAW (linux/capability.h).
const OF_SUPERVISOR: u64 = (1 << 1) | (1 << 5) | (1 << 10) | (1 << 12) | (1 << 13);
