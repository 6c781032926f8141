//! Trees of files as an appliance and a server have them: right, wrong, and odd.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::cli;
use crate::control::message::{
    CaStatus, DeviceCounts, JournalStatus, PolicyStatus, RegistryStatus, Status, TableStatus,
    WorkerStatus,
};
use crate::doctor::facts::{Owned, Process, Role};
use crate::doctor::{Facts, SUPERVISOR, Seen};

/// A tree of a host's files in a temporary folder.
struct Tree {
    folder: TempDir,
}

impl Tree {
    fn new(files: &[(&str, &str)]) -> Self {
        let tree = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        for (path, text) in files {
            tree.write(path, text.as_bytes());
        }
        tree
    }

    /// An appliance as it should be.
    fn appliance() -> Self {
        let tree = Self::new(GOOD);
        for name in ["SecureBoot", "SetupMode"] {
            let value = u8::from(name == "SecureBoot");
            tree.write(&efi(name), &[6, 0, 0, 0, value]);
        }
        tree.write(
            "dev/vda6",
            &luks(r#"{"tokens":{"0":{"type":"systemd-tpm2"}}}"#),
        );
        tree.mode("var/lib/lazaret-config/etc/wireguard.key", 0o600);
        tree.mode("var/lib/lazaret-appliance/admin", 0o600);
        tree.mode("var/lib/lazaret/audit/00000001.jsonl", 0o600);
        for secret in [
            "var/lib/lazaret",
            "var/lib/lazaret/audit",
            "var/lib/lazaret-appliance",
        ] {
            tree.mode(secret, 0o700);
        }
        tree
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        fs::set_permissions(path.parent().unwrap(), Permissions::from_mode(0o755)).unwrap();
    }

    fn mode(&self, path: &str, mode: u32) {
        fs::set_permissions(self.folder.path().join(path), Permissions::from_mode(mode)).unwrap();
    }

    /// What is read of it; the files belong to whoever runs the tests, as those of a host do to root.
    fn facts(&self) -> Facts {
        let mut out = Vec::new();
        let context = Context {
            config_dir: "/var/lib/lazaret-config/etc".into(),
            json: false,
            colour: false,
            out: &mut out,
        };
        let mut facts = read::Host::new(Some(self.folder.path()), &context).read();
        if let Seen::Known(files) = &mut facts.owned {
            for file in &mut *files {
                (file.user, file.group) = (0, 0);
            }
            files.sort_by(|one, other| one.path.cmp(&other.path));
        }
        facts
    }
}

fn show(facts: &Facts) -> String {
    let mut out = Vec::new();
    let context = Context {
        config_dir: "/".into(),
        json: false,
        colour: false,
        out: &mut out,
    };
    let report = doctor::judge(facts);
    format!(
        "{}exit {}",
        render(&report, true, &context),
        exit(&report) as u8
    )
}

fn efi(name: &str) -> String {
    format!("sys/firmware/efi/efivars/{name}-8be4df61-93ca-11d2-aa0d-00e098032b8c")
}

fn luks(json: &str) -> Vec<u8> {
    let mut bytes = b"LUKS\xba\xbe\0\x02".to_vec();
    bytes.extend(16_384_u64.to_be_bytes());
    bytes.resize(4096, 0);
    bytes.extend(json.as_bytes());
    bytes.resize(16_384, 0);
    bytes
}

fn status() -> Status {
    let worker = |name: &str| WorkerStatus {
        name: name.to_owned(),
        pid: Some(7),
        restarts: 0,
    };
    Status {
        gateway: "chu-nord-1".to_owned(),
        version: "0.1.0".to_owned(),
        uptime_seconds: 1,
        config: "4f".repeat(32),
        confirm_seconds: None,
        listen: "[::]:51820".parse().unwrap(),
        interface: "lz-wg".to_owned(),
        workers: vec![worker("tunnel-wireguard"), worker("relay-hl7")],
        table: TableStatus::AsPlanned,
        journal: JournalStatus::Writable,
        break_glass: Vec::new(),
        break_glass_trouble: None,
        registry: RegistryStatus::default(),
        devices: DeviceCounts::default(),
        ca: None,
        sessions: 0,
        consoles: crate::control::message::ConsolesStatus::default(),
        draining: None,
        policy: PolicyStatus::default(),
        forwarded: 0,
        refused: 0,
        behaviour: Default::default(),
    }
}

fn process(name: &str, held: &str, new_privileges: u8, filter: u8, core: &str) -> Process {
    let status = format!(
        "Name:\tlazaret\nPPid:\t1\nCapInh:\t0000000000000000\nCapPrm:\t{held}\nCapEff:\t{held}\n\
         CapBnd:\t0000000000003422\nCapAmb:\t0000000000000000\nNoNewPrivs:\t{new_privileges}\nSeccomp:\t{filter}\n"
    );
    let limits = format!(
        "Limit  Soft Limit  Hard Limit  Units\nMax core file size        {core}        {core}        bytes\n"
    );
    Process {
        name: name.to_owned(),
        status: Seen::Known(status),
        limits: Seen::Known(limits),
    }
}

/// What only a running system says, as it should be.
fn running(mut facts: Facts) -> Facts {
    let none = "0000000000000000";
    facts.gateway = Seen::Known(Box::new(status()));
    facts.processes = vec![
        process(SUPERVISOR, "0000000000003422", 1, 2, "0"),
        process("tunnel-wireguard", none, 1, 2, "0"),
        process("relay-hl7", none, 1, 2, "0"),
    ];
    let unit = |name| format!("Id={name}\nLoadState=loaded\nActiveState=active\n");
    let units: Vec<String> = doctor::units().map(unit).collect();
    facts.units = Seen::Known(units.join("\n"));
    facts.clock = Seen::Known(true);
    facts
}

#[test]
fn a_good_appliance() {
    let facts = running(Tree::appliance().facts());
    let report = doctor::judge(&facts);
    assert_eq!(report.verdict(), Verdict::Ok);
    insta::assert_snapshot!(show(&facts));
}

#[test]
fn json_is_stable() {
    let facts = running(Tree::appliance().facts());
    let mut out = Vec::new();
    let mut context = Context {
        config_dir: "/".into(),
        json: true,
        colour: false,
        out: &mut out,
    };
    context
        .print_json(&Printed::of(&doctor::judge(&facts)))
        .unwrap();
    let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&value).unwrap());
}

#[test]
fn a_bad_appliance() {
    let tree = Tree::appliance();
    for (path, text) in BAD {
        tree.write(path, text.as_bytes());
    }
    tree.write(&efi("SecureBoot"), &[6, 0, 0, 0, 0]);
    tree.write("dev/vda6", &luks(r#"{"tokens":{}}"#));
    tree.mode("var/lib/lazaret-config/etc/wireguard.key", 0o644);
    tree.mode("var/lib/lazaret-config/etc/lazaret.toml", 0o664);
    let mut facts = running(tree.facts());
    facts.gateway = Seen::Known(Box::new(Status {
        table: TableStatus::Drifted("chain input is missing".to_owned()),
        journal: JournalStatus::Failed("no space left on device".to_owned()),
        ..status()
    }));
    facts.processes = vec![
        process(SUPERVISOR, "000001ffffffffff", 1, 0, "0"),
        process("tunnel-wireguard", "0000000000001000", 1, 0, "0"),
        process("relay-hl7", "0000000000000000", 0, 0, "unlimited"),
    ];
    facts.units = Seen::Known(
        "Id=lazaret.service\nLoadState=loaded\nActiveState=failed\n\n\
         Id=lazaret-closed.service\nLoadState=not-found\nActiveState=inactive\n"
            .to_owned(),
    );
    facts.clock = Seen::Known(false);
    facts.files.remove("/run/systemd/timesync/synchronized");
    insta::assert_snapshot!(show(&facts));
}

/// Whose a file is, and who may read and write it, decides; each wrong one stands beside the nearest right one.
#[test]
fn files_belong_to_root_or_to_the_gateway() {
    let tree = Tree::appliance();
    let passwd =
        "root:x:0:0:root:/root:/bin/sh\nlazaret:x:770:771::/var/lib/lazaret:/usr/sbin/nologin\n";
    tree.write("etc/passwd", passwd.as_bytes());
    let facts = running(tree.facts());
    let verdict = |role, mode, user, group| {
        let mut facts = facts.clone();
        let path = "/x".to_owned();
        facts.owned = Seen::Known(vec![Owned {
            path,
            role,
            mode,
            user,
            group,
        }]);
        let id = match role {
            Role::Secret => "files.secrets",
            Role::Deciding => "files.configuration",
        };
        let report = doctor::judge(&facts);
        let item = report.items.into_iter().find(|item| item.id == id).unwrap();
        item.verdict == Verdict::Ok
    };
    for (role, mode, user, group, right) in [
        (Role::Secret, 0o600, 0, 0, true),
        (Role::Secret, 0o600, 0, 5, true),
        (Role::Secret, 0o640, 0, 771, true),
        (Role::Secret, 0o640, 0, 0, false),
        (Role::Secret, 0o640, 0, 5, false),
        (Role::Secret, 0o660, 0, 771, false),
        (Role::Secret, 0o604, 0, 771, false),
        (Role::Secret, 0o600, 770, 771, true),
        (Role::Secret, 0o700, 770, 771, true),
        (Role::Secret, 0o640, 770, 771, false),
        (Role::Secret, 0o600, 771, 771, false),
        (Role::Deciding, 0o640, 0, 771, true),
        (Role::Deciding, 0o750, 0, 771, true),
        (Role::Deciding, 0o644, 0, 0, true),
        (Role::Deciding, 0o660, 0, 771, false),
        (Role::Deciding, 0o602, 0, 0, false),
        (Role::Deciding, 0o600, 770, 771, false),
    ] {
        let is = verdict(role, mode, user, group);
        assert_eq!(is, right, "{role:?} {mode:o} {user} {group}");
    }
}

#[test]
fn a_certification_authority_is_judged_where_one_is_wanted() {
    let tree = Tree::appliance();
    tree.write(
        "var/lib/lazaret/pki/ca-a1.key",
        b"-----BEGIN PRIVATE KEY-----",
    );
    tree.mode("var/lib/lazaret/pki", 0o700);
    tree.mode("var/lib/lazaret/pki/ca-a1.key", 0o600);
    let judged = |ca: Option<CaStatus>| {
        let mut facts = running(tree.facts());
        facts.gateway = Seen::Known(Box::new(Status { ca, ..status() }));
        let items = doctor::judge(&facts).items;
        let verdict = |id: &str| {
            items
                .iter()
                .find(|item| item.id == id)
                .map(|item| item.verdict)
        };
        (
            verdict("gateway.authority"),
            verdict("files.secrets").unwrap(),
        )
    };
    let lasting = |days: u64| {
        Some(CaStatus::Issues {
            seconds: days * 86_400,
        })
    };
    assert_eq!(judged(None), (None, Verdict::Ok));
    assert_eq!(judged(lasting(180)), (Some(Verdict::Ok), Verdict::Ok));
    assert_eq!(judged(lasting(179)).0, Some(Verdict::Warn));
    assert_eq!(judged(lasting(13)).0, Some(Verdict::Bad));
    assert_eq!(judged(Some(CaStatus::Missing)).0, Some(Verdict::Warn));
    let failed = CaStatus::Unavailable("the ledger is damaged".to_owned());
    assert_eq!(judged(Some(failed)).0, Some(Verdict::Bad));
    tree.mode("var/lib/lazaret/pki/ca-a1.key", 0o640);
    assert_eq!(judged(lasting(180)), (Some(Verdict::Ok), Verdict::Bad));
}

#[test]
fn a_server_is_not_judged_as_an_appliance() {
    let tree = Tree::appliance();
    fs::remove_file(tree.folder.path().join("usr/share/lazaret/appliance")).unwrap();
    let facts = running(tree.facts());
    assert_eq!(doctor::judge(&facts).verdict(), Verdict::Ok);
    tree.write("sys/kernel/security/lockdown", b"[none] integrity\n");
    tree.write("proc/sys/kernel/kptr_restrict", b"0\n");
    let report = doctor::judge(&running(tree.facts()));
    assert_eq!((report.verdict(), exit(&report)), (Verdict::Warn, Exit::Ok));
    insta::assert_snapshot!(show(&facts));
}

/// What cannot be read is never right, and breaks nothing.
#[test]
fn nothing_can_be_read_of_an_empty_tree() {
    let empty = Tree::new(&[]).facts();
    let report = doctor::judge(&empty);
    let right = report
        .items
        .iter()
        .filter(|item| item.verdict == Verdict::Ok);
    let ids: Vec<&str> = right.map(|item| item.id.as_str()).collect();
    assert_eq!(ids, ["data.swap"], "a kernel without /proc/swaps has none");
}

#[test]
fn odd_files_break_nothing() {
    let odd: [&[u8]; 4] = [b"", b"\xff\xfe\0\x01", b"\n\n[[[:::===", &[b'['; 70_000]];
    for bytes in odd {
        let tree = Tree::appliance();
        for path in doctor::facts::wanted() {
            tree.write(path.trim_start_matches('/'), bytes);
        }
        for path in ["dev/vda6", "var/lib/lazaret-config/etc/lazaret.toml"] {
            tree.write(path, bytes);
        }
        let report = doctor::judge(&tree.facts());
        assert_ne!(report.verdict(), Verdict::Ok);
        let unread = report
            .items
            .iter()
            .find(|item| item.id == "sysctl.kernel.kptr_restrict");
        assert_ne!(unread.unwrap().verdict, Verdict::Ok);
    }
}

#[test]
fn huge_files_are_unknown() {
    let tree = Tree::appliance();
    for path in ["proc/cmdline", "proc/self/mountinfo", "etc/shadow"] {
        let file = fs::File::create(tree.folder.path().join(path)).unwrap();
        file.set_len(1 << 33).unwrap();
    }
    let report = doctor::judge(&running(tree.facts()));
    for id in [
        "boot.command-line",
        "root.verity",
        "data.encrypted",
        "accounts.locked",
    ] {
        let item = report.items.iter().find(|item| item.id == id).unwrap();
        assert_eq!(
            (item.verdict, item.found.as_str()),
            (Verdict::Unknown, "it is too long")
        );
    }
}

/// Folders and pipes where files should be are told as unreadable, without waiting for them.
#[test]
fn files_of_another_kind_are_unknown() {
    let tree = Tree::appliance();
    let lockdown = tree.folder.path().join("sys/kernel/security/lockdown");
    fs::remove_file(&lockdown).unwrap();
    fs::create_dir(&lockdown).unwrap();
    let cmdline = tree.folder.path().join("proc/cmdline");
    fs::remove_file(&cmdline).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &cmdline,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    let report = doctor::judge(&running(tree.facts()));
    for id in ["kernel.lockdown", "boot.command-line"] {
        let item = report.items.iter().find(|item| item.id == id).unwrap();
        assert_eq!(
            (item.verdict, item.found.as_str()),
            (Verdict::Unknown, "it is not a regular file")
        );
    }
}

#[test]
fn ids_are_unique_and_listed_in_the_guide() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../images/HARDENING.md");
    let guide = fs::read_to_string(guide).unwrap();
    let report = doctor::judge(&running(Tree::appliance().facts()));
    let mut ids: Vec<&str> = report.items.iter().map(|item| item.id.as_str()).collect();
    for id in &ids {
        let general = match id.split_once('.') {
            Some(("process", rest)) => format!("process.NAME.{}", rest.rsplit('.').next().unwrap()),
            _ => (*id).to_owned(),
        };
        assert!(
            guide.contains(&format!("`{general}`")),
            "{general} is not in images/HARDENING.md"
        );
    }
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all);
}

#[test]
fn the_command_judges_a_tree() {
    let tree = Tree::appliance();
    let mut out = Vec::new();
    let arguments = ["lazaret", "doctor", "--json", "--root"]
        .map(Into::into)
        .into_iter();
    let arguments = arguments.chain([tree.folder.path().into()]);
    cli::invoke(arguments, &mut out, false);
    let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(
        (value["v"].as_u64(), value["report"].as_str()),
        (Some(1), Some("doctor"))
    );
    assert_eq!(value["form"], "appliance");
}

/// An appliance as it should be, but for what is binary.
const GOOD: &[(&str, &str)] = &[
    ("usr/share/lazaret/appliance", ""),
    ("usr/share/lazaret/sbom.cdx.json", "{}"),
    (
        "usr/share/lazaret/update.pub",
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEABwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n-----END PUBLIC KEY-----\n",
    ),
    (
        "etc/os-release",
        "NAME=Lazaret\nIMAGE_ID=lazaret\nIMAGE_VERSION=\"7\"\nVARIANT_ID=metal\n",
    ),
    (
        "etc/passwd",
        "root:x:0:0::/root:/usr/sbin/nologin\nnobody:x:65534:65534::/:/usr/sbin/nologin\n",
    ),
    ("etc/shadow", "root:!*:20000::::::\nnobody:*:20000::::::\n"),
    (
        "proc/cmdline",
        "roothash=4f console=ttyS0 lockdown=integrity panic=10\n",
    ),
    ("proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n"),
    (
        "proc/self/mountinfo",
        "29 1 253:0 / / ro,relatime - erofs /dev/mapper/root ro\n\
         30 29 253:1 / /var rw,nosuid,nodev,noexec - ext4 /dev/mapper/data rw\n",
    ),
    ("sys/dev/block/253:0/dm/uuid", "CRYPT-VERITY-4f-root\n"),
    ("sys/dev/block/253:1/dm/uuid", "CRYPT-LUKS2-4f-data\n"),
    ("sys/dev/block/253:1/slaves/vda6", ""),
    ("sys/class/tpm/tpm0/tpm_version_major", "2\n"),
    (
        "sys/kernel/security/lockdown",
        "none [integrity] confidentiality\n",
    ),
    (
        "sys/devices/system/cpu/vulnerabilities/meltdown",
        "Not affected\n",
    ),
    (
        "sys/devices/system/cpu/vulnerabilities/spectre_v2",
        "Mitigation: Enhanced IBRS\n",
    ),
    ("run/systemd/timesync/synchronized", ""),
    (
        "var/lib/lazaret-appliance/admin",
        "$argon2id$v=19$m=65536,t=3,p=1$c2FsdA$aGFzaA\n",
    ),
    ("var/lib/lazaret/audit/00000001.jsonl", "{}\n"),
    ("var/lib/lazaret-config/etc/lazaret.toml", "[gateway]\n"),
    (
        "var/lib/lazaret-config/etc/hospital-root.pem",
        "-----BEGIN CERTIFICATE-----\n",
    ),
    ("var/lib/lazaret-config/etc/wireguard.key", "x\n"),
    ("proc/sys/kernel/core_pattern", "|/bin/false\n"),
    ("proc/sys/kernel/kptr_restrict", "2\n"),
    ("proc/sys/kernel/dmesg_restrict", "1\n"),
    ("proc/sys/kernel/randomize_va_space", "2\n"),
    ("proc/sys/kernel/unprivileged_bpf_disabled", "1\n"),
    ("proc/sys/kernel/yama/ptrace_scope", "2\n"),
    ("proc/sys/net/core/bpf_jit_harden", "2\n"),
    ("proc/sys/fs/suid_dumpable", "0\n"),
    ("proc/sys/fs/protected_symlinks", "1\n"),
    ("proc/sys/fs/protected_hardlinks", "1\n"),
    ("proc/sys/fs/protected_fifos", "2\n"),
    ("proc/sys/fs/protected_regular", "2\n"),
    ("proc/sys/net/ipv4/tcp_syncookies", "1\n"),
    ("proc/sys/net/ipv4/icmp_echo_ignore_broadcasts", "1\n"),
    ("proc/sys/net/ipv4/ip_forward", "1\n"),
    ("proc/sys/net/netfilter/nf_conntrack_tcp_loose", "0\n"),
    ("proc/sys/net/netfilter/nf_conntrack_acct", "1\n"),
    ("proc/sys/net/netfilter/nf_conntrack_timestamp", "1\n"),
    ("proc/sys/net/ipv4/conf/all/accept_redirects", "0\n"),
    ("proc/sys/net/ipv4/conf/all/send_redirects", "0\n"),
    ("proc/sys/net/ipv4/conf/all/accept_source_route", "0\n"),
    ("proc/sys/net/ipv6/conf/all/accept_redirects", "0\n"),
    ("proc/sys/net/ipv6/conf/all/accept_source_route", "0\n"),
    ("proc/sys/vm/mmap_min_addr", "65536\n"),
];
/// The same files with something wrong.
const BAD: &[(&str, &str)] = &[
    (
        "usr/share/lazaret/update.pub",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
    ),
    ("etc/os-release", "ID=debian\n"),
    (
        "etc/passwd",
        "root:x:0:0::/root:/bin/sh\ntoor:x:0:0::/:/bin/sh\n",
    ),
    ("etc/shadow", "root:$6$x:20000::::::\nguest::20000::::::\n"),
    ("proc/cmdline", "quiet init=/bin/sh mitigations=off\n"),
    ("proc/swaps", "Filename\tType\n/dev/vda7 partition 1 0 -2\n"),
    (
        "proc/self/mountinfo",
        "29 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n30 29 253:1 / /var rw,nosuid - ext4 /dev/mapper/data rw\n",
    ),
    ("sys/dev/block/253:1/dm/uuid", "LVM-4f\n"),
    (
        "sys/kernel/security/lockdown",
        "[none] integrity confidentiality\n",
    ),
    (
        "sys/devices/system/cpu/vulnerabilities/mds",
        "Vulnerable: Clear CPU buffers attempted, no microcode\n",
    ),
    ("var/lib/lazaret-appliance/admin", "$1$x\n"),
    ("proc/sys/kernel/core_pattern", "core\n"),
    ("proc/sys/kernel/kptr_restrict", "0\n"),
    ("proc/sys/fs/suid_dumpable", "a lot\n"),
    ("proc/sys/net/netfilter/nf_conntrack_tcp_loose", "1\n"),
];
