//! The tunnels side by side: `cargo bench -p lazaret --bench tunnels`. Needs wireguard-go, wg and iperf3.
//!
//! Two networks in namespaces and a cable; both ends of each tunnel are processes of their own, ours as the supervisor
//! starts them. Rounds alternate between the tunnels, and only ratios within one run mean anything.
//! Processor seconds are those of both ends for a gigabyte that arrived.
//!
//! Words behind `--bench` choose: `--only clean|lossy|narrow|crowd|flood`, `--rounds N`, `--seconds N`,
//! `--inner cubic|bbr|reno` (what the TCP inside does), `--flows N` (connections inside at once), `--without-go`.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::missing_panics_doc,
    clippy::too_many_lines,
    reason = "a measurement for people"
)]

mod authority;
mod crowd;
mod lab;
mod latency;
mod peers;
mod relay;
mod speed;

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use peers::{Kind, Site};
use relay::Way;

/// What was asked for.
pub(crate) struct Asked {
    only: Option<String>,
    rounds: usize,
    seconds: usize,
    flows: usize,
    inner: String,
    kinds: Vec<Kind>,
}

fn main() {
    // As a test this is only built, and run with `--bench` alone.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    if std::env::var_os(INSIDE).is_none() {
        let error = Command::new("unshare")
            .args(["-Urnmp", "--mount-proc", "--kill-child", "--fork"])
            .arg(std::env::current_exe().unwrap())
            .args(std::env::args().skip(1))
            .env(INSIDE, "1")
            .exec();
        panic!("this bench needs unshare: {error}");
    }
    let asked = Asked::read();
    lab::lay_cables();
    let site = Site::new();
    let has = |name: &str| asked.only.as_deref().is_none_or(|only| only == name);
    if has("clean") {
        println!("## a cable, TCP inside: {}", asked.inner);
        speed::run(&site, &asked, None);
    }
    if has("lossy") {
        println!("## 100 ms round trip, 5 % of datagrams lost in each direction");
        speed::run(&site, &asked, Some(LOSSY));
    }
    if has("narrow") {
        println!(
            "## 10 Mbit/s, 20 ms round trip, 250 ms of buffer: small messages beside an upload"
        );
        latency::run(&site, &asked, NARROW);
    }
    if has("crowd") {
        crowd::idle(&site);
    }
    if has("flood") {
        crowd::flood(&site, asked.seconds);
    }
}

impl Asked {
    fn read() -> Self {
        let words: Vec<String> = std::env::args().collect();
        let after = |name: &str| {
            let at = words.iter().position(|word| word == name)?;
            words.get(at + 1).cloned()
        };
        let number = |name: &str, default| {
            after(name).map_or(default, |word| word.parse().expect("a number"))
        };
        let all = [Kind::Wireguard, Kind::WireguardGo, Kind::Quic];
        let without_go = words.iter().any(|word| word == "--without-go");
        let kinds = all.into_iter();
        let kinds = kinds.filter(|kind| !(without_go && *kind == Kind::WireguardGo));
        Self {
            only: after("--only"),
            rounds: number("--rounds", 5),
            seconds: number("--seconds", 5),
            flows: number("--flows", 1),
            inner: after("--inner").unwrap_or_else(|| "cubic".to_owned()),
            kinds: kinds.collect(),
        }
    }
}

const INSIDE: &str = "LAZARET_BENCH_INSIDE_NAMESPACE";
const LOSSY: Way = Way {
    delay: Duration::from_millis(50),
    lost: 50,
    rate: 0,
    buffer: 0,
};
const NARROW: Way = Way {
    delay: Duration::from_millis(10),
    lost: 0,
    rate: 10_000_000,
    buffer: 312_500,
};
