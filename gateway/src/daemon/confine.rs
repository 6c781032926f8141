//! What a maker's library may do inside of the key store: read the system's libraries and what the settings name, and
//! use threads; no more.
//!
//! A filter that lists what is allowed would have to know every library, so this one lists what no key store needs.
//! Files are shut off by the kernel's Landlock; where it has none, no library is loaded.
//! Knows nothing of tokens.

use std::collections::BTreeMap;

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, Ruleset, RulesetAttr,
    RulesetCreatedAttr, Scope, path_beneath_rules,
};
use lazaret_config::{Pkcs11, SocketFamily};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use super::privileges::SealError;

/// Why a maker's library is not loaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConfineError {
    /// The kernel has no Landlock, or refuses.
    #[error("the kernel does not shut files off (Landlock)")]
    Landlock(#[from] landlock::RulesetError),
    /// The filter.
    #[error(transparent)]
    Filter(#[from] SealError),
}

/// For the key store, before it loads a library; while it has one thread. What is forbidden fails, and kills nobody: a
/// library may try things that it can do without.
///
/// # Errors
/// When any of it is not in force.
pub(super) fn confine_keystore(settings: &Pkcs11) -> Result<(), ConfineError> {
    shut_files(settings)?;
    let denied = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    install(forbidden(&settings.sockets)?, denied)?;
    // Whoever hears that there is no clone3 uses clone, whose flags a filter can read.
    let absent = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    install(BTreeMap::from([(libc::SYS_clone3, Vec::new())]), absent)?;
    Ok(())
}

fn shut_files(settings: &Pkcs11) -> Result<(), ConfineError> {
    let read: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
    let inet = settings.sockets.contains(&SocketFamily::Inet);
    let resolver: &[&str] = if inet { RESOLVER } else { &[] };
    let change = AccessFs::from_all(NEWEST) & !(AccessFs::Execute | AccessFs::MakeChar);
    let change = change & !(AccessFs::MakeBlock | AccessFs::MakeSock);
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .add_rules(path_beneath_rules(READ, read))?
        .add_rules(path_beneath_rules(resolver, read))?
        .add_rules(path_beneath_rules([&settings.module], read))?
        .add_rules(path_beneath_rules(
            ["/dev/null"],
            AccessFs::ReadFile | AccessFs::WriteFile,
        ))?
        .add_rules(path_beneath_rules(&settings.paths, change))?
        .restrict_self()?;
    Ok(())
}

fn forbidden(
    sockets: &std::collections::BTreeSet<SocketFamily>,
) -> Result<BTreeMap<i64, Vec<SeccompRule>>, SealError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        FORBIDDEN.iter().map(|call| (*call, Vec::new())).collect();
    // A thread is made, a process is not.
    let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
    let process = condition(0, SeccompCmpOp::MaskedEq(thread), 0)?;
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![process])?]);
    // `abort` and the like mean this process.
    let other = condition(0, SeccompCmpOp::Ne, u64::from(std::process::id()))?;
    rules.insert(libc::SYS_tgkill, vec![SeccompRule::new(vec![other])?]);
    let mut others = Vec::new();
    for family in sockets {
        let families: &[i32] = match family {
            SocketFamily::Unix => &[libc::AF_UNIX],
            SocketFamily::Inet => &[libc::AF_INET, libc::AF_INET6],
        };
        for family in families {
            others.push(condition(
                0,
                SeccompCmpOp::Ne,
                u64::from(family.unsigned_abs()),
            )?);
        }
    }
    let socket = if others.is_empty() {
        Vec::new()
    } else {
        vec![SeccompRule::new(others)?]
    };
    rules.insert(libc::SYS_socket, socket);
    Ok(rules)
}

fn condition(argument: u8, is: SeccompCmpOp, value: u64) -> Result<SeccompCondition, SealError> {
    Ok(SeccompCondition::new(
        argument,
        SeccompCmpArgLen::Dword,
        is,
        value,
    )?)
}

fn install(rules: BTreeMap<i64, Vec<SeccompRule>>, action: SeccompAction) -> Result<(), SealError> {
    let architecture = std::env::consts::ARCH.try_into()?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, action, architecture)?;
    let program: BpfProgram = filter.try_into()?;
    seccompiler::apply_filter_all_threads(&program)?;
    Ok(())
}

/// What this program knows of Landlock; what an older kernel has less of is done without.
const NEWEST: ABI = ABI::V6;

/// What the loader, the C library and libraries of cryptography read.
const READ: &[&str] = &[
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/lib",
    "/lib64",
    "/etc/ld.so.cache",
    "/etc/ssl/openssl.cnf",
    "/etc/localtime",
    "/usr/share/zoneinfo",
    "/dev/urandom",
    "/dev/random",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/sys/devices/system/cpu",
];

/// What names of the network are found by.
const RESOLVER: &[&str] = &[
    "/etc/resolv.conf",
    "/etc/nsswitch.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/ssl/certs",
    "/run/systemd/resolve",
];

/// Programs and processes, others' memory, mounts and namespaces, the kernel, clocks, users, and ways around filters.
const FORBIDDEN: &[i64] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_kcmp,
    libc::SYS_perf_event_open,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_mknodat,
    libc::SYS_fanotify_init,
    libc::SYS_bpf,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_syslog,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_personality,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_capset,
    libc::SYS_vhangup,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mknod,
];
