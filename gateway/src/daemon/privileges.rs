//! Which powers a process keeps.
//!
//! The supervisor keeps CAP_NET_ADMIN and what it needs to serve the workers, and locks `NO_ROOT`,
//! so that a worker starts without capabilities even as root of a user namespace.
//! A worker drops what is left, sets `no_new_privs`, and a relay adds a system call filter.
//! Knows nothing of what the processes do.

use std::collections::BTreeMap;
use std::io;

use rustix::process::{Resource, Rlimit};
use rustix::thread::{CapabilitiesSecureBits, CapabilitySet, CapabilitySets};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// Why a process could not give up its powers. It must not go on.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The kernel refused a step.
    #[error("cannot {step}")]
    Step {
        /// What was to be done.
        step: &'static str,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// The process inherited a descriptor that nobody gave it.
    #[error("descriptor {0} was inherited by accident")]
    StrayDescriptor(i32),
    /// The system call filter cannot be built or installed.
    #[error("cannot install the system call filter")]
    Filter(#[from] seccompiler::Error),
    /// The system call filter cannot be built.
    #[error("cannot build the system call filter")]
    Backend(#[from] seccompiler::BackendError),
}

/// For the supervisor, before any thread and any worker exists.
///
/// # Errors
/// When a power that must go cannot be given up, or one that is needed is missing.
pub(super) fn limit_supervisor() -> Result<(), SealError> {
    // What the invoking shell left open would reach every worker.
    for number in descriptors()? {
        nix::unistd::close(number).map_err(|errno| SealError::Step {
            step: "close an inherited descriptor",
            cause: errno.into(),
        })?;
    }
    // Whatever is written from here on is for its owner alone.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let held = rustix::thread::capabilities(None).map_err(step("read the capabilities"))?;
    if !held.permitted.contains(CapabilitySet::NET_ADMIN) {
        let cause = io::Error::new(
            io::ErrorKind::PermissionDenied,
            "CAP_NET_ADMIN is missing: run as root, or in a namespace of your own with `unshare -Urn`",
        );
        return Err(SealError::Step {
            step: "administer the network",
            cause,
        });
    }
    limit_bounding_set(held.permitted)?;
    lock_no_root()?;
    let kept = SUPERVISOR & held.permitted;
    let sets = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, sets).map_err(step("limit the capabilities"))?;
    rustix::thread::set_no_new_privs(true).map_err(step("set no_new_privs"))?;
    no_core_dumps()
}

/// A service manager may have done it already, and have kept the power to do it.
fn lock_no_root() -> Result<(), SealError> {
    let wanted = CapabilitiesSecureBits::NO_ROOT | CapabilitiesSecureBits::NO_ROOT_LOCKED;
    let held = rustix::thread::capabilities_secure_bits().map_err(step("read the secure bits"))?;
    if held.contains(wanted) {
        return Ok(());
    }
    rustix::thread::set_capabilities_secure_bits(wanted).map_err(step("lock NO_ROOT"))
}

/// What is not in the bounding set cannot come back by any execution, of a worker or of `nft`.
fn limit_bounding_set(permitted: CapabilitySet) -> Result<(), SealError> {
    // Without it (under a strict service manager) the manager has limited the set.
    if !permitted.contains(CapabilitySet::SETPCAP) {
        return Ok(());
    }
    for number in 0..u64::BITS {
        let one = CapabilitySet::from_bits_retain(1 << number);
        if SUPERVISOR.contains(one) {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(one) {
            Ok(()) => {}
            // The first number that this kernel does not know.
            Err(rustix::io::Errno::INVAL) => return Ok(()),
            Err(errno) => return Err(step("limit the bounding set")(errno)),
        }
    }
    Ok(())
}

/// For every worker, before it reads anything from anybody.
///
/// # Errors
/// When something could not be given up; the worker must exit then.
pub(super) fn seal_worker() -> Result<(), SealError> {
    refuse_stray_descriptors()?;
    no_core_dumps()?;
    rustix::thread::clear_ambient_capability_set().map_err(step("clear the ambient set"))?;
    let none = CapabilitySet::empty();
    rustix::thread::set_capabilities(
        None,
        CapabilitySets {
            effective: none,
            permitted: none,
            inheritable: none,
        },
    )
    .map_err(step("drop all capabilities"))?;
    rustix::thread::set_no_new_privs(true).map_err(step("set no_new_privs"))?;
    Ok(())
}

/// For a relay, after its runtime is built: only what pumping bytes over given descriptors needs.
/// Any other system call kills the process.
///
/// # Errors
/// When the filter is not in force.
//= C10
pub(super) fn filter_relay() -> Result<(), SealError> {
    filter(&[])
}

/// For the signer, after its runtime is built: as a relay, and files. No call that makes a socket or a process.
/// Any other system call kills the process.
///
/// # Errors
/// When the filter is not in force.
pub(super) fn filter_signer() -> Result<(), SealError> {
    // It waits for the answers of the key store.
    filter(&[FILES, &[libc::SYS_ppoll]].concat())
}

/// For the enrolment service, after its runtime is built: as a relay, and taking connections from the socket that
/// it was given. No call that makes a socket, a file or a process. Any other system call kills the process.
///
/// # Errors
/// When the filter is not in force.
pub(super) fn filter_enrol() -> Result<(), SealError> {
    // A handshake waits for the signature that the signer makes.
    filter(&[libc::SYS_accept4, libc::SYS_ppoll])
}

fn filter(more: &[i64]) -> Result<(), SealError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for call in ALLOWED.iter().chain(more) {
        rules.insert(*call, Vec::new());
    }
    let fcntl = [
        libc::F_GETFL,
        libc::F_SETFL,
        libc::F_GETFD,
        libc::F_DUPFD_CLOEXEC,
    ];
    rules.insert(
        libc::SYS_fcntl,
        fcntl
            .iter()
            .map(|c| equal(1, u64::from(c.unsigned_abs())))
            .collect::<Result<_, _>>()?,
    );
    rules.insert(libc::SYS_ioctl, vec![equal(1, libc::FIONBIO)?]);
    rules.insert(libc::SYS_mmap, vec![without_exec()?]);
    rules.insert(libc::SYS_mprotect, vec![without_exec()?]);
    let architecture = std::env::consts::ARCH.try_into()?;
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::KillProcess,
        SeccompAction::Allow,
        architecture,
    )?;
    let program: BpfProgram = filter.try_into()?;
    seccompiler::apply_filter_all_threads(&program)?;
    Ok(())
}

fn equal(argument: u8, value: u64) -> Result<SeccompRule, SealError> {
    let condition =
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)?;
    Ok(SeccompRule::new(vec![condition])?)
}

fn without_exec() -> Result<SeccompRule, SealError> {
    let exec = u64::from(libc::PROT_EXEC.unsigned_abs());
    let condition =
        SeccompCondition::new(2, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(exec), 0)?;
    Ok(SeccompRule::new(vec![condition])?)
}

fn refuse_stray_descriptors() -> Result<(), SealError> {
    descriptors()?
        .first()
        .map_or(Ok(()), |number| Err(SealError::StrayDescriptor(*number)))
}

/// Open descriptors beyond the standard three.
fn descriptors() -> Result<Vec<i32>, SealError> {
    let listing = std::fs::read_dir("/proc/self/fd").map_err(|cause| SealError::Step {
        step: "list descriptors",
        cause,
    })?;
    let numbers: Vec<i32> = listing
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|number| *number > 2)
        .collect();
    // The listing itself held one, which is closed by now.
    Ok(numbers
        .into_iter()
        .filter(|number| std::fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_ok())
        .collect())
}

/// Payload must not reach a disk through a crash.
fn no_core_dumps() -> Result<(), SealError> {
    rustix::process::setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    )
    .map_err(step("forbid core dumps"))?;
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .map_err(step("forbid core dumps"))
}

fn step(step: &'static str) -> impl Fn(rustix::io::Errno) -> SealError {
    move |errno| SealError::Step {
        step,
        cause: errno.into(),
    }
}

/// Routes, nftables, TUN; ports below 1024; files of other users' 0600 keys; workers' limits.
const SUPERVISOR: CapabilitySet = CapabilitySet::NET_ADMIN
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::KILL);

/// What the signer needs for its folder, and for answers that do not fit a packet.
const FILES: &[i64] = &[
    libc::SYS_openat,
    libc::SYS_mkdirat,
    libc::SYS_unlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_newfstatat,
    libc::SYS_faccessat,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_geteuid,
    libc::SYS_memfd_create,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mkdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
];

const ALLOWED: &[i64] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_shutdown,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_ftruncate,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_statx,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_futex,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_sched_yield,
    libc::SYS_getrandom,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigprocmask,
    libc::SYS_sigaltstack,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_restart_syscall,
];
