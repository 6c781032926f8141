//! Settings of the running kernel.

use super::boot::worse;
use super::facts::{Facts, Seen};
use super::report::{Item, Verdict};

pub(super) fn judge(facts: &Facts, items: &mut Vec<Item>) {
    for setting in &SETTINGS {
        items.push(one(facts, setting));
    }
    items.push(core_pattern(facts));
    items.push(processor(facts));
}

/// A number under `/proc/sys` and its bounds.
struct Setting {
    name: &'static str,
    least: i64,
    most: i64,
    /// Set by the gateway itself, so that a wrong value is wrong on a server too.
    ours: bool,
}

const fn of_host(name: &'static str, least: i64, most: i64) -> Setting {
    let ours = false;
    Setting {
        name,
        least,
        most,
        ours,
    }
}

const fn of_gateway(name: &'static str, value: i64) -> Setting {
    let (least, most, ours) = (value, value, true);
    Setting {
        name,
        least,
        most,
        ours,
    }
}

fn one(facts: &Facts, setting: &Setting) -> Item {
    let Setting {
        name,
        least,
        most,
        ours,
    } = *setting;
    let right = match (least, most) {
        (least, i64::MAX) => format!("at least {least}"),
        (i64::MIN, most) => format!("at most {most}"),
        (least, most) if least == most => least.to_string(),
        (least, most) => format!("{least} to {most}"),
    };
    let wrong = if ours {
        Verdict::Bad
    } else {
        worse(facts.form)
    };
    let (verdict, found) = match facts.text(&path(name)) {
        Seen::Known(text) => match text.parse::<i64>() {
            Ok(value) if (least..=most).contains(&value) => (Verdict::Ok, value.to_string()),
            Ok(value) => (wrong, value.to_string()),
            Err(_) => (Verdict::Unknown, "not a number".to_owned()),
        },
        Seen::Absent => (Verdict::Unknown, "this kernel does not have it".to_owned()),
        Seen::Unreadable(why) => (Verdict::Unknown, why),
    };
    Item::new(format!("sysctl.{name}"), verdict, &found, &right)
}

fn core_pattern(facts: &Facts) -> Item {
    let right = "crashes leave nothing on a disk: |/bin/false";
    let (verdict, found) = match facts.text(CORE_PATTERN) {
        Seen::Known(
            pattern @ ("" | "|/bin/false" | "|/usr/bin/false" | "|/bin/true" | "|/usr/bin/true"),
        ) => (
            Verdict::Ok,
            if pattern.is_empty() { "empty" } else { pattern }.to_owned(),
        ),
        Seen::Known(pattern) => (worse(facts.form), pattern.to_owned()),
        Seen::Absent => (Verdict::Unknown, "this kernel does not have it".to_owned()),
        Seen::Unreadable(why) => (Verdict::Unknown, why),
    };
    Item::new("kernel.core-pattern", verdict, &found, right)
}

fn processor(facts: &Facts) -> Item {
    let (mut open, mut unread, mut seen) = (Vec::new(), Vec::new(), 0_usize);
    for name in WEAKNESSES {
        match facts.text(&format!("{VULNERABILITIES}/{name}")) {
            Seen::Known(text) if text.starts_with("Vulnerable") => open.push(name),
            Seen::Known(_) => seen = seen.saturating_add(1),
            // An older kernel does not know this one.
            Seen::Absent => {}
            Seen::Unreadable(_) => unread.push(name),
        }
    }
    let (verdict, found) = if !open.is_empty() {
        (Verdict::Warn, format!("open: {}", open.join(", ")))
    } else if seen == 0 || !unread.is_empty() {
        (Verdict::Unknown, "the kernel does not say".to_owned())
    } else {
        (
            Verdict::Ok,
            format!("none open of {seen} that the kernel knows"),
        )
    };
    let right = "each known weakness of the processor is mitigated (microcode, kernel)";
    Item::new("kernel.processor", verdict, &found, right)
}

fn path(name: &str) -> String {
    format!("/proc/sys/{}", name.replace('.', "/"))
}

pub(super) fn wanted() -> Vec<String> {
    let settings = SETTINGS.iter().map(|setting| path(setting.name));
    let weaknesses = WEAKNESSES
        .iter()
        .map(|name| format!("{VULNERABILITIES}/{name}"));
    let mut all: Vec<String> = settings.chain(weaknesses).collect();
    all.push(CORE_PATTERN.to_owned());
    all
}

const CORE_PATTERN: &str = "/proc/sys/kernel/core_pattern";
const VULNERABILITIES: &str = "/sys/devices/system/cpu/vulnerabilities";
/// The names of `/sys/devices/system/cpu/vulnerabilities`.
const WEAKNESSES: [&str; 18] = [
    "gather_data_sampling",
    "ghostwrite",
    "indirect_target_selection",
    "itlb_multihit",
    "l1tf",
    "mds",
    "meltdown",
    "mmio_stale_data",
    "reg_file_data_sampling",
    "retbleed",
    "spec_rstack_overflow",
    "spec_store_bypass",
    "spectre_v1",
    "spectre_v2",
    "srbds",
    "tsa",
    "tsx_async_abort",
    "vmscape",
];
const SETTINGS: [Setting; 23] = [
    of_host("kernel.kptr_restrict", 1, 2),
    of_host("kernel.dmesg_restrict", 1, 1),
    of_host("kernel.randomize_va_space", 2, 2),
    of_host("kernel.unprivileged_bpf_disabled", 1, 2),
    of_host("kernel.yama.ptrace_scope", 1, 3),
    of_host("net.core.bpf_jit_harden", 2, 2),
    of_host("fs.suid_dumpable", 0, 0),
    of_host("fs.protected_symlinks", 1, 1),
    of_host("fs.protected_hardlinks", 1, 1),
    of_host("fs.protected_fifos", 1, 2),
    of_host("fs.protected_regular", 1, 2),
    of_host("net.ipv4.tcp_syncookies", 1, 2),
    of_host("net.ipv4.icmp_echo_ignore_broadcasts", 1, 1),
    of_gateway("net.ipv4.ip_forward", 1),
    of_gateway("net.netfilter.nf_conntrack_tcp_loose", 0),
    of_host("net.netfilter.nf_conntrack_acct", 1, 1),
    of_host("net.netfilter.nf_conntrack_timestamp", 1, 1),
    of_gateway("net.ipv4.conf.all.accept_redirects", 0),
    of_gateway("net.ipv4.conf.all.send_redirects", 0),
    of_gateway("net.ipv4.conf.all.accept_source_route", 0),
    of_host("net.ipv6.conf.all.accept_redirects", 0, 0),
    of_host("net.ipv6.conf.all.accept_source_route", i64::MIN, 0),
    of_host("vm.mmap_min_addr", 32_768, i64::MAX),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_paths() {
        assert_eq!(path("net.ipv4.ip_forward"), "/proc/sys/net/ipv4/ip_forward");
        assert!(
            wanted()
                .iter()
                .all(|path| path.starts_with("/proc/sys/") || path.starts_with("/sys/"))
        );
    }
}
