//! A relay over real sockets, with the tests as supervisor, device and hospital.
#![allow(clippy::disallowed_methods, reason = "tests measure time")]

use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::message::{Decided, FromRelay, ToRelay};
use super::script::{Supervisor, policy, with_relay};
use super::worker::RelayError;
use crate::channel::ChannelError;
use crate::flow::ConnectionId;
use crate::inspect::{ConnectionPolicy, EndReason, Outcome, Rate};

#[tokio::test]
async fn lines_go_up_and_answers_come_back() {
    relay(async |supervisor| {
        let (id, mut device) = supervisor.open(policy()).await;
        device.write_all(b"one\nbad\ntw").await.unwrap();
        let mut hospital = supervisor.connect(id).await;
        expect(&mut hospital, b"one\n").await;
        expect(&mut device, b"NAK\n").await;
        device.write_all(b"o\n").await.unwrap();
        expect(&mut hospital, b"two\n").await;
        hospital.write_all(b"ack\n").await.unwrap();
        expect(&mut device, b"ack\n").await;
        device.write_all(b"quit\n").await.unwrap();
        expect_end(&mut device, b"BYE\n").await;
        expect_end(&mut hospital, b"").await;
        drop((device, hospital));
        assert_eq!(supervisor.closed(id).await, (2, 1, 17, 8));
    })
    .await;
}

#[tokio::test]
async fn connections_of_one_exchange_wake_each_other_and_nobody_else() {
    relay(async |supervisor| {
        let (one, mut waker) = supervisor.open_in(1, policy()).await;
        let (two, mut sleeper) = supervisor.open_in(1, policy()).await;
        let (three, mut stranger) = supervisor.open_in(2, policy()).await;
        waker.write_all(b"wake\ntag\n").await.unwrap();
        expect(&mut sleeper, b"WOKEN\n").await;
        let idle = format!("{}\n", policy().timing.idle_ms);
        expect(&mut waker, idle.as_bytes()).await;
        stranger.write_all(b"tag\n").await.unwrap();
        expect(&mut stranger, idle.as_bytes()).await;
        for id in [one, two, three] {
            end(supervisor, id).await;
        }
    })
    .await;
}

#[tokio::test]
async fn decisions_come_in_order_and_always_fit_a_packet() {
    relay(async |supervisor| {
        let (id, mut device) = supervisor.open(policy()).await;
        device.write_all(b"bad\none\n").await.unwrap();
        let outcome = async || {
            let FromRelay::Decided(decisions) = supervisor.hear().await else {
                panic!("not a decision");
            };
            let [Decided { decision, .. }] = &*decisions else {
                panic!("not one decision");
            };
            decision.outcome
        };
        assert_eq!(outcome().await, Outcome::Refused);
        let mut hospital = supervisor.connect(id).await;
        assert_eq!(outcome().await, Outcome::Forwarded);
        expect(&mut hospital, b"one\n").await;
        end(supervisor, id).await;
    })
    .await;
}

#[tokio::test]
async fn an_unreachable_destination_is_said() {
    relay(async |supervisor| {
        let (id, mut device) = supervisor.open(policy()).await;
        device.write_all(b"one\n").await.unwrap();
        let asked = supervisor.hear().await;
        assert!(matches!(asked, FromRelay::Connect { .. }));
        supervisor.tell(ToRelay::UpstreamFailed { id }, &[]).await;
        expect_end(&mut device, b"UNREACHABLE\n").await;
        drop(device);
        assert_eq!(supervisor.closed(id).await, (0, 0, 4, 0));
    })
    .await;
}

#[tokio::test]
async fn a_slow_hospital_slows_the_device_and_nothing_is_lost() {
    relay(async |supervisor| {
        let mut patient = policy();
        patient.timing.send_ms = 60_000;
        let (id, device) = supervisor.open(patient).await;
        device.writable().await.unwrap();
        let line = vec![b'x'; 999];
        let mut sent = 0_u64;
        let (reader, mut writer) = device.into_split();
        writer.write_all(b"first\n").await.unwrap();
        let mut hospital = supervisor.connect(id).await;
        let drain_decisions = async || loop {
            supervisor.hear_beside_decisions().await;
        };
        let flood = async {
            for number in 0..100_000_u32 {
                let text = format!("{number:08}{}\n", String::from_utf8_lossy(&line[9..]));
                let write = writer.write_all(text.as_bytes());
                if tokio::time::timeout(Duration::from_millis(500), write)
                    .await
                    .is_err()
                {
                    return number;
                }
                sent += text.len() as u64;
            }
            panic!("100 MB went into the relay")
        };
        let stopped = tokio::select! {
            number = flood => number,
            () = drain_decisions() => unreachable!(),
        };
        assert!(sent < 32 << 20, "{sent}");
        expect(&mut hospital, b"first\n").await;
        let whole = async {
            for number in 0..stopped {
                let mut text = vec![0; 999];
                hospital.read_exact(&mut text).await.unwrap();
                assert_eq!(text[..8], *format!("{number:08}").as_bytes());
            }
        };
        tokio::select! {
            () = whole => {}
            () = drain_decisions() => unreachable!(),
        }
        drop((reader, writer, hospital));
        supervisor.closed(id).await;
    })
    .await;
}

#[tokio::test]
async fn a_hospital_that_takes_nothing_is_given_up() {
    relay(async |supervisor| {
        let mut hasty = policy();
        hasty.timing.send_ms = 200;
        let (id, mut device) = supervisor.open(hasty).await;
        device.write_all(b"one\n").await.unwrap();
        let hospital = supervisor.connect(id).await;
        let flood = [b"x".repeat(9_999), b"\n".to_vec()].concat();
        let flood = async { while device.write_all(&flood).await.is_ok() {} };
        tokio::join!(flood, supervisor.closed(id));
        drop(hospital);
    })
    .await;
}

#[tokio::test]
async fn a_connection_can_be_ended_at_any_time() {
    relay(async |supervisor| {
        let (id, mut device) = supervisor.open(policy()).await;
        device.write_all(b"one\nhalf").await.unwrap();
        let mut hospital = supervisor.connect(id).await;
        expect(&mut hospital, b"one\n").await;
        let why = EndReason::NotAllowed;
        supervisor.tell(ToRelay::Close { id, why }, &[]).await;
        expect_end(&mut device, b"NotAllowed\n").await;
        expect_end(&mut hospital, b"").await;
        // Both peers stay; the relay does not wait for them.
        let start = Instant::now();
        supervisor.closed(id).await;
        assert!(start.elapsed() < Duration::from_secs(2));
    })
    .await;
}

#[tokio::test]
async fn an_end_while_the_destination_is_sought_leaves_nothing_behind() {
    relay(async |supervisor| {
        let (id, mut device) = supervisor.open(policy()).await;
        device.write_all(b"one\n").await.unwrap();
        assert!(matches!(supervisor.hear().await, FromRelay::Connect { .. }));
        end(supervisor, id).await;
        let (other, _) = supervisor.open(policy()).await;
        let (mut hospital, socket) = std::os::unix::net::UnixStream::pair().unwrap();
        supervisor
            .tell(ToRelay::Upstream { id }, &[socket.as_fd()])
            .await;
        drop(socket);
        end(supervisor, other).await;
        let read = std::io::Read::read(&mut hospital, &mut [0]);
        assert_eq!(read.unwrap(), 0, "the late socket was kept");
    })
    .await;
}

#[tokio::test]
async fn a_reset_is_passed_on_as_a_reset_and_an_end_as_an_end() {
    relay(async |supervisor| {
        for reset in [true, false] {
            let (id, mut device) = supervisor.open(policy()).await;
            device.write_all(b"one\n").await.unwrap();
            let mut hospital = supervisor.connect(id).await;
            expect(&mut hospital, b"one\n").await;
            if reset {
                let socket = device.into_std().unwrap();
                rustix::net::sockopt::set_socket_linger(&socket, Some(Duration::ZERO)).unwrap();
                drop(socket);
                let error = hospital.read(&mut [0; 9]).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            } else {
                // The device said all it had to say; the answer still reaches it.
                device.shutdown().await.unwrap();
                hospital.write_all(b"ack\n").await.unwrap();
                expect_end(&mut device, b"ack\n").await;
                expect_end(&mut hospital, b"").await;
                drop((device, hospital));
            }
            supervisor.closed(id).await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_abort_resets_both_sides() {
    relay(async |supervisor| {
        let (id, mut device) = supervisor.open(policy()).await;
        device.write_all(b"one\n").await.unwrap();
        let mut hospital = supervisor.connect(id).await;
        expect(&mut hospital, b"one\n").await;
        device.write_all(b"abort\n").await.unwrap();
        for side in [&mut device, &mut hospital] {
            let error = side.read(&mut [0; 9]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        }
        supervisor.closed(id).await;
    })
    .await;
}

#[tokio::test]
async fn the_rate_refuses_or_delays() {
    for delay_only in [false, true] {
        relay(async |supervisor| {
            let limited = ConnectionPolicy {
                rate: Some(Rate {
                    messages: 1,
                    per_ms: 400,
                    burst: 1,
                }),
                delay_only,
                ..policy()
            };
            let start = Instant::now();
            let (id, mut device) = supervisor.open(limited).await;
            device.write_all(b"one\ntwo\n").await.unwrap();
            let mut hospital = supervisor.connect(id).await;
            expect(&mut hospital, b"one\n").await;
            if delay_only {
                expect(&mut hospital, b"two\n").await;
                assert!(start.elapsed() >= Duration::from_millis(399));
            } else {
                expect(&mut device, b"SLOW DOWN\n").await;
            }
            end(supervisor, id).await;
        })
        .await;
    }
}

#[tokio::test]
async fn without_a_journal_only_critical_flows_go_on() {
    relay(async |supervisor| {
        let critical = ConnectionPolicy {
            without_journal: true,
            ..policy()
        };
        let (vital, mut monitor) = supervisor.open(critical.clone()).await;
        let (id, mut device) = supervisor.open(policy()).await;
        supervisor
            .tell(ToRelay::Journal { writable: false }, &[])
            .await;
        expect_end(&mut device, b"NoJournal\n").await;
        drop(device);
        supervisor.closed(id).await;
        monitor.write_all(b"one\n").await.unwrap();
        let mut hospital = supervisor.connect(vital).await;
        expect(&mut hospital, b"one\n").await;

        let (id, mut device) = supervisor.open(policy()).await;
        assert!(device.read(&mut [0]).await.is_err());
        assert_eq!(supervisor.closed(id).await, (0, 0, 0, 0));
        let policy = Box::new(policy());
        supervisor
            .tell(ToRelay::Journal { writable: true }, &[])
            .await;
        supervisor
            .tell(ToRelay::Update { id: vital, policy }, &[])
            .await;
        monitor.write_all(b"two\n").await.unwrap();
        expect(&mut hospital, b"two\n").await;
        supervisor
            .tell(ToRelay::Journal { writable: false }, &[])
            .await;
        expect_end(&mut monitor, b"NoJournal\n").await;
        drop((monitor, hospital));
        supervisor.closed(vital).await;
    })
    .await;
}

#[tokio::test]
async fn a_new_policy_reaches_the_live_session() {
    relay(async |supervisor| {
        let (id, mut device) = supervisor.open(policy()).await;
        device.write_all(b"tag\n").await.unwrap();
        expect(&mut device, b"60000\n").await;
        let mut policy = Box::new(policy());
        policy.timing.idle_ms = 77;
        supervisor.tell(ToRelay::Update { id, policy }, &[]).await;
        device.write_all(b"tag\n").await.unwrap();
        expect(&mut device, b"77\n").await;
        end(supervisor, id).await;
    })
    .await;
}

#[tokio::test]
async fn a_large_message_passes_through_the_spool() {
    relay(async |supervisor| {
        let (id, device) = supervisor.open(policy()).await;
        let (_reader, mut writer) = device.into_split();
        let mut message: Vec<u8> = (0..3_000_000_u32).map(|i| 32 + (i % 89) as u8).collect();
        message[0] = b'S';
        message.push(b'\n');
        let write = writer.write_all(&message);
        let supervise = async {
            assert!(matches!(supervisor.hear().await, FromRelay::Spool { .. }));
            let file = tempfile::tempfile().unwrap();
            supervisor
                .tell(ToRelay::Spool { id }, &[file.as_fd()])
                .await;
            (supervisor.connect(id).await, file)
        };
        let (written, (mut hospital, file)) = tokio::join!(write, supervise);
        written.unwrap();
        expect(&mut hospital, &message).await;
        // Without another message its place on the disk is given back.
        while file.metadata().unwrap().len() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        end(supervisor, id).await;
    })
    .await;
}

#[tokio::test]
async fn no_spool_and_a_changed_spool_end_the_connection() {
    relay(async |supervisor| {
        for given in [false, true] {
            let (id, device) = supervisor.open(policy()).await;
            let (mut reader, mut writer) = device.into_split();
            let half = b"S".repeat(300_000);
            let write = writer.write_all(&half);
            let file = tempfile::tempfile().unwrap();
            let supervise = async {
                assert!(matches!(supervisor.hear().await, FromRelay::Spool { .. }));
                let descriptor = [file.as_fd()];
                let descriptors = if given { &descriptor[..] } else { &[] };
                supervisor.tell(ToRelay::Spool { id }, descriptors).await;
            };
            let (_, ()) = tokio::join!(write, supervise);
            if given {
                while file.metadata().unwrap().len() < 2 * 131_072 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                file.write_all_at(b"x", 140_000).unwrap();
                writer.write_all(b"\n").await.unwrap();
                let mut hospital = supervisor.connect(id).await;
                let mut got = Vec::new();
                let _reset = hospital.read_to_end(&mut got).await;
                assert_eq!(got.len(), 131_056, "more than the good block");
            }
            let mut got = Vec::new();
            let _end = reader.read_to_end(&mut got).await;
            assert_eq!(got, b"Resources\n");
            drop((reader, writer));
            supervisor.closed(id).await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_number_of_connections_is_bounded() {
    let result = with_relay(2, 1 << 20, async |supervisor| {
        let (first, _one) = supervisor.open(policy()).await;
        let (_, _two) = supervisor.open(policy()).await;
        let (third, mut device) = supervisor.open(policy()).await;
        assert!(device.read(&mut [0]).await.is_err());
        assert_eq!(supervisor.closed(third).await, (0, 0, 0, 0));
        end(supervisor, first).await;
        let (_, mut device) = supervisor.open(policy()).await;
        device.write_all(b"tag\n").await.unwrap();
        expect(&mut device, b"60000\n").await;
        supervisor.tell(ToRelay::Drain, &[]).await;
        supervisor.closed_all(2).await;
    });
    result.await.unwrap();
}

#[tokio::test]
async fn whoever_holds_too_much_memory_goes_and_bystanders_stay() {
    let result = with_relay(10, 1 << 20, async |supervisor| {
        let (id, mut small) = supervisor.open(policy()).await;
        let (hog, device) = supervisor.open(policy()).await;
        let (mut reader, mut writer) = device.into_split();
        let endless = b"x".repeat(2 << 20);
        let (_, end) = tokio::join!(writer.write_all(&endless), async {
            let mut text = [0; 10];
            reader.read_exact(&mut text).await.map(|_| text)
        });
        assert_eq!(end.unwrap(), *b"Resources\n");
        drop((reader, writer));
        supervisor.closed(hog).await;
        small.write_all(b"one\n").await.unwrap();
        let mut hospital = supervisor.connect(id).await;
        expect(&mut hospital, b"one\n").await;
        supervisor.tell(ToRelay::Drain, &[]).await;
        drop((small, hospital));
        supervisor.closed(id).await;
    });
    result.await.unwrap();
}

#[tokio::test]
async fn a_thousand_connections_leave_nothing_behind() {
    let open_files = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open_files();
    relay(async |supervisor| {
        for _ in 0..20 {
            let mut devices = Vec::new();
            for _ in 0..50 {
                let (id, mut device) = supervisor.open(policy()).await;
                device.write_all(b"one\n").await.unwrap();
                let mut hospital = supervisor.connect(id).await;
                expect(&mut hospital, b"one\n").await;
                devices.push((device, hospital));
            }
            drop(devices);
            supervisor.closed_all(50).await;
        }
        // Other tests of this process have files open too, but not hundreds.
        assert!(open_files() < before + 200);
    })
    .await;
}

#[tokio::test]
async fn draining_ends_the_idle_waits_for_the_busy_and_takes_nothing_new() {
    let start = Instant::now();
    let result = with_relay(10, 1 << 20, async |supervisor| {
        let (idle, mut device) = supervisor.open(policy()).await;
        let (busy, mut sender) = supervisor.open(policy()).await;
        sender.write_all(b"half").await.unwrap();
        device.write_all(b"tag\n").await.unwrap();
        expect(&mut device, b"60000\n").await;
        supervisor.tell(ToRelay::Drain, &[]).await;
        expect_end(&mut device, b"Shutdown\n").await;
        drop(device);
        supervisor.closed(idle).await;
        let (late, mut refused) = supervisor.open(policy()).await;
        assert!(refused.read(&mut [0]).await.is_err());
        supervisor.closed(late).await;
        sender.write_all(b"-done\n").await.unwrap();
        let mut hospital = supervisor.connect(busy).await;
        expect(&mut hospital, b"half-done\n").await;
        expect_end(&mut sender, b"Shutdown\n").await;
        drop((sender, hospital));
        supervisor.closed(busy).await;
    });
    result.await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn without_a_supervisor_everything_is_reset() {
    let mut left = None;
    let result = with_relay(10, 1 << 20, async |supervisor| {
        let (id, mut device) = supervisor.open(policy()).await;
        device.write_all(b"one\nhalf").await.unwrap();
        let mut hospital = supervisor.connect(id).await;
        expect(&mut hospital, b"one\n").await;
        left = Some((device, hospital));
    });
    let lost = result.await;
    assert!(matches!(
        lost,
        Err(RelayError::Channel(ChannelError::Closed))
    ));
    let (mut device, mut hospital) = left.unwrap();
    for side in [&mut device, &mut hospital] {
        let error = side.read(&mut [0; 9]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
}

/// The fault of one session ends the process; what it and the others decided before that is heard all the same.
//= C8
#[tokio::test]
async fn what_was_decided_before_a_fault_is_heard() {
    let result = with_relay(10, 1 << 20, async |supervisor| {
        let (one, mut first) = supervisor.open(policy()).await;
        let (two, mut second) = supervisor.open(policy()).await;
        first.write_all(b"bad\nbad\n").await.unwrap();
        let mut heard = Vec::new();
        while heard.len() < 2 {
            heard.extend(decided(supervisor.hear().await));
        }
        second.write_all(b"bad\nbad\nbad\n").await.unwrap();
        expect(&mut second, b"NAK\nNAK\nNAK\n").await;
        second.write_all(b"fault\n").await.unwrap();
        while let Ok((message, _)) = supervisor.channel.receive().await {
            heard.extend(decided(message));
        }
        assert_eq!(heard, [one, one, two, two, two]);
    });
    assert!(matches!(result.await, Err(RelayError::Session(_))));
}

fn decided(message: FromRelay) -> Vec<ConnectionId> {
    let FromRelay::Decided(decisions) = message else {
        panic!("not decisions");
    };
    decisions.into_iter().map(|decided| decided.id).collect()
}

/// A relay with room, drained at the end.
async fn relay(test: impl AsyncFnOnce(&mut Supervisor)) {
    let whole = with_relay(2_000, 1 << 30, async |supervisor| {
        test(supervisor).await;
        supervisor.tell(ToRelay::Drain, &[]).await;
        // The relay leaves: its end of the channel closes.
        while supervisor.channel.receive().await.is_ok() {}
    });
    let whole = tokio::time::timeout(Duration::from_secs(60), whole);
    whole.await.expect("the test hangs").unwrap();
}

async fn end(supervisor: &Supervisor, id: ConnectionId) {
    let why = EndReason::Killed;
    supervisor.tell(ToRelay::Close { id, why }, &[]).await;
    supervisor.closed(id).await;
}

impl Supervisor {
    async fn closed_all(&self, mut connections: usize) {
        while connections > 0 {
            if let FromRelay::Closed { .. } = self.hear().await {
                connections -= 1;
            }
        }
    }
}

async fn expect(stream: &mut TcpStream, bytes: &[u8]) {
    let mut got = vec![0; bytes.len()];
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_exact(&mut got));
    read.await.expect("nothing comes").unwrap();
    assert_eq!(got, bytes);
}

/// These bytes, then an orderly end.
async fn expect_end(stream: &mut TcpStream, bytes: &[u8]) {
    let mut got = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut got));
    read.await.expect("no end comes").unwrap();
    assert_eq!(
        String::from_utf8_lossy(&got),
        String::from_utf8_lossy(bytes)
    );
}
