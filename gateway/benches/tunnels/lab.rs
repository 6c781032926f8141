//! The place of the measurement: two networks and a cable, and what the system says of processes.

use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The gateway's end of the cable.
pub(crate) const GATEWAY: &str = "192.0.2.1";

/// Two networks and a cable between them. The gateway is here, the device in the namespace `dev`.
pub(crate) fn lay_cables() {
    for command in [
        "mount -t tmpfs tmpfs /run",
        "ip link set lo up",
        "ip netns add dev",
        "ip link add eth0 type veth peer name eth0 netns dev",
        "ip addr add 192.0.2.1/24 dev eth0",
        "ip link set eth0 up",
        "ip -n dev link set lo up",
        "ip -n dev addr add 192.0.2.10/24 dev eth0",
        "ip -n dev link set eth0 up",
    ] {
        let _ = sh(command);
    }
}

/// Runs in the device's network, on a thread of its own.
pub(crate) fn in_device<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let namespace = std::fs::File::open("/run/netns/dev").unwrap();
            let kind = Some(rustix::thread::LinkNameSpaceType::Network);
            rustix::thread::move_into_link_name_space(namespace.as_fd(), kind).unwrap();
            work()
        });
        thread.join().unwrap()
    })
}

/// A command of the device.
pub(crate) fn device_command(program: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", "dev", program]);
    command
}

pub(crate) fn sh(command: &str) -> String {
    let mut words = command.split(' ');
    let output = Command::new(words.next().unwrap()).args(words).output();
    let output = output.unwrap_or_else(|error| panic!("this bench needs `{command}`: {error}"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "not within 20 s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether an address answers the device.
pub(crate) fn reaches(address: &str) -> bool {
    let mut ping = device_command("ping");
    ping.args(["-c", "1", "-W", "1", address]);
    let ended = ping.stdout(Stdio::null()).stderr(Stdio::null()).status();
    ended.is_ok_and(|status| status.success())
}

/// Processor seconds of a process so far, with all its threads.
pub(crate) fn processor(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let ticks: Vec<f64> = after
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|word| word.parse().ok())
        .collect();
    ticks.iter().sum::<f64>() / 100.0
}

/// Memory of a process that it alone pays for, and the highest so far, in KiB.
pub(crate) fn memory(pid: u32) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let of = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        number.unwrap_or(0)
    };
    (of("RssAnon:"), of("VmHWM:"))
}

/// The middle of some figures.
pub(crate) fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => sorted[length / 2],
        length => f64::midpoint(sorted[length / 2 - 1], sorted[length / 2]),
    }
}

/// A share of some figures is not above this.
pub(crate) fn quantile(figures: &[f64], share: f64) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    let at = (last as f64 * share).round() as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}
