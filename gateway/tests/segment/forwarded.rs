//! What is forwarded without inspection: counted, bounded for each device, and seen from connection tracking.

use std::time::{Duration, Instant};

use lazaret::segment::denied::DeniedWatch;
use lazaret::segment::flows::{self, FlowState};
use lazaret::segment::plan::Plan;
use lazaret::segment::table::Why;
use lazaret_config::HospitalMode;

use crate::fixture::{at, ip};
use crate::world::{Flow, apply, denied, facts, runtime, small, world};

const CONSOLE: &str = "10.20.1.10:3389";
const CONSOLE6: &str = "[fd20::10]:3389";
const LONG: Duration = Duration::from_secs(3);

fn dial(from: &str, to: &str) -> Flow {
    Flow::dial("device", from, to).unwrap()
}

/// Whatever else passes is not among them; the figures are those of the packets that passed.
#[test]
fn what_is_forwarded_is_seen_with_its_bytes() {
    world(
        "forwarded::what_is_forwarded_is_seen_with_its_bytes",
        || {
            seen_in(HospitalMode::Snat);
        },
    );
}

#[test]
fn what_is_forwarded_is_seen_where_devices_keep_their_addresses() {
    let name = "forwarded::what_is_forwarded_is_seen_where_devices_keep_their_addresses";
    world(name, || seen_in(HospitalMode::Routed));
}

fn seen_in(mode: HospitalMode) {
    small(mode);
    assert_eq!(flows::counts(), Some(true));
    assert_eq!(flows::forwarded().unwrap(), (Vec::new(), true));
    let mut console = dial("10.64.0.3", CONSOLE);
    let other = dial("fd64::3", CONSOLE6);
    // Inspected: not forwarded.
    let _his = dial("10.64.0.1", "10.20.1.10:2575");
    let (seen, whole) = flows::forwarded().unwrap();
    assert!(whole && seen.len() == 2, "{seen:?}");
    let of = |to: &str| {
        let (seen, _) = flows::forwarded().unwrap();
        *seen.iter().find(|flow| flow.key.to == at(to)).unwrap()
    };
    let before = of(CONSOLE);
    assert_eq!(
        (before.key.from.ip(), before.state),
        (ip("10.64.0.3"), FlowState::Open)
    );
    assert!(before.began.is_some());
    for _ in 0..100 {
        assert!(console.lives(LONG));
    }
    let (was, is) = (before.passed.unwrap(), of(CONSOLE).passed.unwrap());
    // A word of 12 bytes each way, with two headers of at most 60 bytes for it and its acknowledgement.
    for grown in [is.received - was.received, is.sent - was.sent] {
        assert!((1_200..=100 * (12 + 2 * 60)).contains(&grown), "{grown}");
    }
    drop(other);
    let begin = Instant::now();
    while of(CONSOLE6).state != FlowState::Closed {
        assert!(begin.elapsed() < LONG, "it is not closed");
    }
}

/// One device has too many connections; another is not harmed, and places become free again.
//= C7
#[test]
fn a_device_has_so_many_connections_and_no_more() {
    world(
        "forwarded::a_device_has_so_many_connections_and_no_more",
        || {
            let (mut config, _) = small(HospitalMode::Snat);
            config.limits.flows_per_device = 5;
            crate::fixture::device(
                &mut config,
                "ws-2",
                &["10.64.0.77", "fd64::77"],
                &["radiologist"],
            );
            apply(&Plan::new(&config, &facts()));
            runtime().block_on(async {
                let mut watch = DeniedWatch::open().unwrap();
                for (crowd, other, to) in [
                    ("10.64.0.3", "10.64.0.77", CONSOLE),
                    ("fd64::3", "fd64::77", CONSOLE6),
                ] {
                    let mut open: Vec<Flow> = (0..5).map(|_| dial(crowd, to)).collect();
                    denied("device", crowd, to);
                    let begin = Instant::now();
                    let told = 'told: loop {
                        assert!(begin.elapsed() < LONG, "nothing about {crowd}");
                        for packet in watch.next().await.unwrap() {
                            if packet.flow.source == ip(crowd) {
                                break 'told packet;
                            }
                        }
                    };
                    assert_eq!((told.why, told.flow.destination), (Why::Crowded, at(to)));
                    let _other = dial(other, to);
                    assert!(open.iter_mut().all(|flow| flow.lives(LONG)));
                    open.truncate(4);
                    let begin = Instant::now();
                    while Flow::dial("device", crowd, to).is_err() {
                        assert!(begin.elapsed() < LONG, "no place becomes free");
                    }
                }
            });
        },
    );
}
