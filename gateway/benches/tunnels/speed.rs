//! How fast TCP is inside of a tunnel, what is sent again, and what a gigabyte costs.

use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::Asked;
use super::lab::{device_command, eventually, median, processor};
use super::peers::{Site, Tunnel};
use super::relay::Way;

#[derive(Clone, Copy)]
struct Figures {
    megabits: f64,
    /// Milliseconds of the round trip that TCP saw.
    trip: f64,
    /// Of the segments.
    again: f64,
    seconds_a_gigabyte: [f64; 2],
}

/// Measures all kinds in turns, in both directions.
pub(crate) fn run(site: &Site, asked: &Asked, way: Option<Way>) {
    let kinds = asked.kinds.iter();
    let tunnels: Vec<Tunnel> = kinds.map(|kind| site.start(*kind, way)).collect();
    for (title, reverse) in [("from the device", false), ("to the device", true)] {
        println!("### {title}");
        let mut figures: Vec<Vec<Figures>> = vec![Vec::new(); tunnels.len()];
        for _ in 0..asked.rounds {
            for (tunnel, figures) in tunnels.iter().zip(&mut figures) {
                figures.push(measure(tunnel, asked, reverse));
            }
        }
        println!(
            "tunnel            Mbit/s (each round)   round trip   sent again   CPU s/GB gateway + device"
        );
        let first = speed_of(figures.first());
        for (tunnel, figures) in tunnels.iter().zip(&figures) {
            let of =
                |pick: fn(&Figures) -> f64| median(&figures.iter().map(pick).collect::<Vec<_>>());
            // A lossy path gives so little that whole numbers say nothing.
            let decimals = if of(|f| f.megabits) < 100.0 { 2 } else { 0 };
            let rounds: Vec<String> = (figures.iter())
                .map(|one| format!("{:.*}", decimals, one.megabits))
                .collect();
            println!(
                "{:16} {:8.2} ({}) x{:.2}   {:.1} ms   {:.3} %   {:.2} + {:.2}",
                tunnel.kind.name(),
                of(|f| f.megabits),
                rounds.join(" "),
                of(|f| f.megabits) / first,
                of(|f| f.trip),
                of(|f| f.again) * 100.0,
                of(|f| f.seconds_a_gigabyte[0]),
                of(|f| f.seconds_a_gigabyte[1]),
            );
        }
    }
}

fn speed_of(figures: Option<&Vec<Figures>>) -> f64 {
    let all: Vec<f64> = figures.into_iter().flatten().map(|f| f.megabits).collect();
    median(&all)
}

/// A server of iperf3 at the gateway's address inside, for one run.
pub(crate) fn iperf_server(inside: &str) -> Child {
    let mut server = Command::new("iperf3");
    server.args(["-s", "-1", "-B", inside]);
    server.stdout(Stdio::null()).stderr(Stdio::null());
    let server = server.spawn().expect("this bench needs iperf3");
    let wanted = format!("{inside}:5201");
    eventually("iperf3 listens", || {
        super::lab::sh("ss -Hltn").contains(&wanted)
    });
    server
}

fn measure(tunnel: &Tunnel, asked: &Asked, reverse: bool) -> Figures {
    let mut server = iperf_server(&tunnel.inside);
    let before = tunnel.processes().map(processor);
    let mut client = device_command("iperf3");
    client.args(["-c", &tunnel.inside, "-J", "-C", &asked.inner]);
    client.args(["-t", &asked.seconds.to_string()]);
    client.args(["-P", &asked.flows.to_string()]);
    if reverse {
        client.arg("-R");
    }
    let output = client.output().unwrap();
    let spent = tunnel.processes().map(processor);
    let _ = server.wait();
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let sum = |which: &str, what: &str| shown["end"][which][what].as_f64().unwrap_or(0.0);
    let bytes = sum("sum_received", "bytes");
    let spent = [spent[0] - before[0], spent[1] - before[1]];
    Figures {
        megabits: sum("sum_received", "bits_per_second") / 1e6,
        trip: trip(&shown),
        again: sum("sum_sent", "retransmits") * SEGMENT / sum("sum_sent", "bytes").max(1.0),
        seconds_a_gigabyte: spent.map(|seconds| seconds * 1e9 / bytes.max(1.0)),
    }
}

/// Milliseconds: the mean of all flows.
fn trip(shown: &Value) -> f64 {
    let flows = shown["end"]["streams"].as_array();
    let trips = flows.into_iter().flatten();
    let trips: Vec<f64> = trips
        .filter_map(|flow| flow["sender"]["mean_rtt"].as_f64())
        .collect();
    trips.iter().sum::<f64>() / (trips.len() as f64).max(1.0) / 1000.0
}

/// About as many bytes are in a segment.
const SEGMENT: f64 = 1300.0;
