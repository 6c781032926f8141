//! How long small messages take beside an upload that fills a narrow way.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::Asked;
use super::lab::{device_command, in_device, median, quantile};
use super::peers::{Site, Tunnel};
use super::relay::Way;
use super::speed::iperf_server;

pub(crate) fn run(site: &Site, asked: &Asked, way: Way) {
    let kinds = asked.kinds.iter();
    let tunnels: Vec<Tunnel> = kinds.map(|kind| site.start(*kind, Some(way))).collect();
    println!(
        "tunnel           alone ms p50 p99    up: Mbit/s ms p50 p99    down: Mbit/s ms p50 p99"
    );
    for tunnel in &tunnels {
        let alone = echo(&tunnel.inside, Duration::from_secs(2));
        let mut line = format!(
            "{:16} {:6.1} {:6.1}",
            tunnel.kind.name(),
            median(&alone),
            quantile(&alone, 0.99)
        );
        for reverse in [false, true] {
            let mut server = iperf_server(&tunnel.inside);
            let mut client = device_command("iperf3");
            client.args(["-c", &tunnel.inside, "-J", "-C", &asked.inner]);
            client.args(["-t", &(asked.seconds + 6).to_string()]);
            if reverse {
                client.arg("-R");
            }
            let client = client.stdout(Stdio::piped()).spawn().unwrap();
            std::thread::sleep(Duration::from_secs(3));
            let beside = echo(&tunnel.inside, Duration::from_secs(asked.seconds as u64));
            let output = client.wait_with_output().unwrap();
            let _ = server.wait();
            let shown: serde_json::Value =
                serde_json::from_slice(&output.stdout).unwrap_or_default();
            let bits = shown["end"]["sum_received"]["bits_per_second"].as_f64();
            line.push_str(&format!(
                "     {:6.2} {:6.1} {:6.1}",
                bits.unwrap_or(0.0) / 1e6,
                median(&beside),
                quantile(&beside, 0.99)
            ));
        }
        println!("{line}");
    }
}

/// 200 bytes there and back every 20 ms; how long each took, in milliseconds.
pub(crate) fn echo(inside: &str, long: Duration) -> Vec<f64> {
    let listener = TcpListener::bind((inside, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        let mut message = [0; 200];
        while stream.read_exact(&mut message).is_ok() && stream.write_all(&message).is_ok() {}
    });
    let took = in_device(|| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        let (end, mut took) = (Instant::now() + long, Vec::new());
        let mut message = [7; 200];
        while Instant::now() < end {
            let begin = Instant::now();
            stream.write_all(&message).unwrap();
            stream.read_exact(&mut message).unwrap();
            took.push(begin.elapsed().as_secs_f64() * 1000.0);
            std::thread::sleep(Duration::from_millis(20));
        }
        took
    });
    serving.join().unwrap();
    took
}
