//! A relay on a thread that dies of any system call but those that a sealed relay needs.

use std::os::fd::AsFd;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::message::{FromRelay, ToRelay};
use super::script::{Supervisor, lines, policy};
use crate::channel::pair;

//= C10
#[test]
fn a_relay_lives_without_opening_anything() {
    let (ours, theirs) = pair().unwrap();
    let relay = std::thread::spawn(move || {
        let runtime = runtime();
        seccompiler::apply_filter(&no_open()).unwrap();
        seccompiler::apply_filter(&needed()).unwrap();
        runtime.block_on(lines(theirs))
    });
    runtime().block_on(supervise(ours));
    relay.join().unwrap().unwrap();
}

/// An exchange, a refusal, a spooled message, an end and a drain.
async fn supervise(socket: std::os::fd::OwnedFd) {
    let mut supervisor = Supervisor::start(socket, 10, 1 << 24).await;
    let (id, device) = supervisor.open(policy()).await;
    let (mut reader, mut writer) = device.into_split();
    writer.write_all(b"one\nbad\n").await.unwrap();
    let mut hospital = supervisor.connect(id).await;
    let mut text = [0; 4];
    hospital.read_exact(&mut text).await.unwrap();
    reader.read_exact(&mut text).await.unwrap();
    assert_eq!(text, *b"NAK\n");
    writer.write_all(b"quit\n").await.unwrap();
    drop((reader, writer, hospital));
    supervisor.closed(id).await;

    let (id, device) = supervisor.open(policy()).await;
    let (reader, mut writer) = device.into_split();
    let mut message = b"S".repeat(400_000);
    message.push(b'\n');
    let supervise = async {
        let asked = supervisor.hear_beside_decisions().await;
        assert!(matches!(asked, FromRelay::Spool { .. }));
        let file = tempfile::tempfile().unwrap();
        supervisor
            .tell(ToRelay::Spool { id }, &[file.as_fd()])
            .await;
        let mut hospital = supervisor.connect(id).await;
        let mut got = vec![0; 400_001];
        hospital.read_exact(&mut got).await.unwrap();
        assert!(got.iter().filter(|&&byte| byte == b'S').count() == 400_000);
        hospital
    };
    let (written, hospital) = tokio::join!(writer.write_all(&message), supervise);
    written.unwrap();
    supervisor.tell(ToRelay::Drain, &[]).await;
    drop((reader, writer, hospital));
    supervisor.closed(id).await;
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

/// glibc looks at `/proc/sys/vm/overcommit_memory` before it shrinks the heap of a thread other than the main one.
/// A relay runs on its main thread; here it gets an error, and everything else that opens fails by it.
fn no_open() -> BpfProgram {
    let eperm = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    filter(&[libc::SYS_openat], SeccompAction::Allow, eperm)
}

fn needed() -> BpfProgram {
    let allowed = [
        // Only to meet `no_open`.
        libc::SYS_openat,
        libc::SYS_read,
        libc::SYS_readv,
        libc::SYS_write,
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
        libc::SYS_epoll_ctl,
        libc::SYS_epoll_pwait,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_epoll_wait,
        libc::SYS_futex,
        libc::SYS_mmap,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_brk,
        // glibc's heaps of threads other than the main one; a relay process does not need it.
        libc::SYS_mprotect,
        libc::SYS_madvise,
        libc::SYS_clock_gettime,
        libc::SYS_getrandom,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigaction,
        libc::SYS_sigaltstack,
        libc::SYS_exit,
        libc::SYS_sched_yield,
        libc::SYS_lseek,
        libc::SYS_pread64,
        libc::SYS_pwrite64,
        libc::SYS_ftruncate,
        libc::SYS_fstat,
        libc::SYS_fcntl,
        libc::SYS_ioctl,
    ];
    filter(&allowed, SeccompAction::KillProcess, SeccompAction::Allow)
}

fn filter(calls: &[i64], others: SeccompAction, these: SeccompAction) -> BpfProgram {
    let arch = TargetArch::try_from(std::env::consts::ARCH).unwrap();
    let rules = calls.iter().map(|&call| (call, Vec::new())).collect();
    let filter = SeccompFilter::new(rules, others, these, arch).unwrap();
    filter.try_into().unwrap()
}
