//! Consoles, which are forwarded without inspection: who is on which, with how many bytes, for how long, and why no longer.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use e2e::{Behaviour, CONSOLE, Device, Gateway, Lab, Place, Sink, Site, text, wait};
use serde_json::Value;

/// Within which whatever may not go on has ended.
const LIMIT: Duration = Duration::from_secs(2);

fn shell() -> SocketAddr {
    (CONSOLE, 22).into()
}

fn desktop() -> SocketAddr {
    ("fd20::5".parse::<IpAddr>().unwrap(), 3389).into()
}

/// A console that echoes, and closes when its user does.
fn console(lab: &Lab, to: SocketAddr) {
    let listener = lab.inside(Place::Hospital, || TcpListener::bind(to).unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
        }
    });
}

/// The sessions that the gateway lists.
fn listed(gateway: &Gateway<'_>) -> Vec<Value> {
    let shown = gateway.json(&["session", "list"]);
    shown["consoles"].as_array().cloned().unwrap_or_default()
}

fn of<'v>(all: &'v [Value], service: &str) -> &'v Value {
    let mut all = all.iter();
    let found = all.find(|one| text(one, "service") == service);
    found.unwrap_or_else(|| panic!("nobody is on {service}"))
}

fn ended(gateway: &Gateway<'_>, why: &str) -> Value {
    gateway.wait_for_record("console-ended", |record| text(record, "why") == why)
}

/// Sends so many bytes and gets them back.
fn exchange(mut stream: &TcpStream, count: usize) {
    let (chunk, mut back) = ([7; 16_384], [0; 16_384]);
    let mut left = count;
    while left > 0 {
        let some = left.min(chunk.len());
        stream.write_all(&chunk[..some]).unwrap();
        stream.read_exact(&mut back[..some]).unwrap();
        assert_eq!(back[..some], chunk[..some]);
        left -= some;
    }
}

/// Whether a word comes back soon.
fn lives(mut stream: &TcpStream) -> bool {
    stream
        .set_read_timeout(Some(Duration::from_millis(700)))
        .unwrap();
    let mut back = [0; 4];
    let said = stream.write_all(b"ping");
    said.and_then(|()| stream.read_exact(&mut back)).is_ok() && &back == b"ping"
}

fn hears_nothing(mut stream: &TcpStream) -> bool {
    stream
        .set_read_timeout(Some(Duration::from_millis(700)))
        .unwrap();
    !matches!(stream.read(&mut [0; 4]), Ok(1..))
}

fn dies_within(stream: &TcpStream, since: Instant) {
    while lives(stream) {
        let took = since.elapsed();
        assert!(took < LIMIT, "it lives after {took:?}");
    }
}

//= C8
#[test]
fn sessions_are_listed_and_recorded_with_their_bytes() {
    for mode in ["snat", "routed"] {
        Lab::run(|lab| {
            let site = Site::standard(lab);
            site.replace("mode = \"snat\"", &format!("mode = \"{mode}\""));
            let gateway = Gateway::start(lab, &site);
            console(lab, shell());
            console(lab, desktop());
            let desk = Device::connect(lab, &site, "desk-1", Place::Clinician);
            assert!(listed(&gateway).is_empty());
            let (one, two) = (desk.tcp(shell()).unwrap(), desk.tcp(shell()).unwrap());
            let six = desk.tcp(desktop()).unwrap();
            let payload = 4 << 20;
            exchange(&one, payload);
            exchange(&six, 1_000);
            let all = listed(&gateway);
            assert_eq!(all.len(), 2, "{all:?}");
            let session = of(&all, "console");
            assert_eq!(text(session, "device"), "desk-1");
            assert_eq!(session["connections"], 2);
            assert_eq!(session["seconds_left"], Value::Null);
            let least = u64::try_from(payload).unwrap();
            let right = least..least + least / 5;
            for way in ["received", "sent"] {
                let bytes = session[way].as_u64().unwrap();
                assert!(right.contains(&bytes), "{bytes} {way}");
            }
            let few = of(&all, "console-six")["sent"].as_u64().unwrap();
            assert!((1_000..3_000).contains(&few), "{few}");
            assert_eq!(gateway.status()["consoles"]["sessions"], 2);
            assert_eq!(gateway.status()["consoles"]["counted"], true);
            let human = gateway.lazaret(&["session", "list"]).ok();
            assert!(
                human.out.contains("desk-1") && human.out.contains("console-six"),
                "{}",
                human.out
            );
            gateway.wait_for_record("console-began", |record| {
                text(record, "service") == "console"
            });

            // One of two is closed: the session goes on.
            drop(two);
            exchange(&one, 10);
            drop(one);
            let record = ended(&gateway, "closed");
            assert_eq!(
                (text(&record, "device"), text(&record, "service")),
                ("desk-1", "console")
            );
            assert_eq!(record["flows"], 2, "{record}");
            for way in ["received", "sent"] {
                let bytes = record[way].as_u64().unwrap();
                assert!(right.contains(&bytes), "{bytes} {way}");
            }
            assert_eq!(listed(&gateway).len(), 1);

            let begun = Instant::now();
            let _ = gateway
                .lazaret(&["session", "kill", "desk-1/console-six"])
                .ok();
            dies_within(&six, begun);
            let record = ended(&gateway, "killed");
            assert_eq!(text(&record, "service"), "console-six");
            assert!(listed(&gateway).is_empty());
            let none = gateway.lazaret(&["session", "kill", "desk-1/console-six"]);
            assert_ne!(none.code, 0, "{}", none.all());
            exchange(&desk.tcp(desktop()).unwrap(), 10);
            assert_eq!(gateway.status()["table"], "as-planned");
        });
    }
}

//= C9
#[test]
fn idle_and_old_sessions_end_and_others_do_not() {
    Lab::run(|lab| {
        let site = Site::standard(lab);
        site.replace(
            "to = [\"console\", \"console-six\"]",
            "to = [\"console\", \"console-six\"]\nlimit = { idle = \"3s\", longest = \"9s\" }",
        );
        site.append("[service.other]\naddress = \"10.20.0.5\"\nports = [\"tcp/23\"]\n\n[rule.other]\nfrom = [\"role:radiologist\"]\nto = [\"other\"]\n");
        let gateway = Gateway::start(lab, &site);
        console(lab, shell());
        console(lab, desktop());
        console(lab, (CONSOLE, 23).into());
        let desk = Device::connect(lab, &site, "desk-1", Place::Clinician);
        let [idle, busy, free] =
            [shell(), desktop(), (CONSOLE, 23).into()].map(|to| desk.tcp(to).unwrap());
        let begun = Instant::now();
        for stream in [&idle, &busy, &free] {
            exchange(stream, 10);
        }
        let left = of(&listed(&gateway), "console-six")["seconds_left"]
            .as_u64()
            .unwrap();
        assert!((7..=9).contains(&left), "{left}");
        let (mut silent, mut old) = (None, None);
        while old.is_none() {
            let took = begun.elapsed();
            assert!(took < Duration::from_secs(13), "{took:?}");
            if lives(&busy) {
                std::thread::sleep(Duration::from_millis(300));
            } else {
                old = Some(took);
            }
            let is_over = |record: &Value| text(record, "why") == "idle";
            if silent.is_none() && gateway.journal().iter().any(is_over) {
                silent = Some(begun.elapsed());
            }
        }
        let within = |took: Option<Duration>, from: u64| {
            let from = Duration::from_secs(from);
            let took = took.expect("it ended");
            // A moment more for what the test itself needs.
            assert!(
                took + Duration::from_millis(900) >= from && took < from + LIMIT + LIMIT / 2,
                "{took:?}"
            );
        };
        within(silent, 3);
        within(old, 9);
        assert!(!lives(&idle) && lives(&free));
        assert_eq!(text(&ended(&gateway, "idle"), "service"), "console");
        assert_eq!(text(&ended(&gateway, "total"), "service"), "console-six");
        // Whoever comes again has a session of its own.
        exchange(&desk.tcp(shell()).unwrap(), 10);
    });
}

//= C9
#[test]
fn whoever_may_no_longer_is_off_the_console() {
    Lab::run(|lab| {
        let site = Site::standard(lab);
        let gateway = Gateway::start(lab, &site);
        let sink = Sink::listen(lab, Place::Hospital, shell(), Behaviour::Echo);
        let desk = Device::connect(lab, &site, "desk-1", Place::Clinician);
        let dial = || {
            let stream = wait::until("the console", Duration::from_secs(30), || {
                desk.tcp(shell()).ok()
            });
            exchange(&stream, 1_000);
            assert_eq!(listed(&gateway).len(), 1);
            stream
        };
        let stream = dial();
        let begun = Instant::now();
        let _ = gateway.lazaret(&["device", "quarantine", "desk-1"]).ok();
        dies_within(&stream, begun);
        let record = ended(&gateway, "quarantined");
        assert!(record["received"].as_u64().unwrap() >= 1_000, "{record}");
        let _ = gateway.lazaret(&["device", "release", "desk-1"]).ok();

        let stream = dial();
        site.replace(
            "to = [\"console\", \"console-six\"]",
            "to = [\"console-six\"]",
        );
        site.replace(
            "deny = [\"his-results#ADT^A01\", \"pacs\", \"console:tcp/22\", \"device:us-07\"]",
            "deny = [\"pacs\"]",
        );
        let begun = Instant::now();
        let _ = gateway.lazaret(&["apply"]).ok();
        dies_within(&stream, begun);
        // Nothing comes from the other side either.
        let _reset_already = sink.try_to_say(b"leak");
        assert!(hears_nothing(&stream));
        ended(&gateway, "policy");
        site.replace(
            "to = [\"console-six\"]",
            "to = [\"console\", \"console-six\"]",
        );
        let _ = gateway.lazaret(&["apply"]).ok();

        let stream = dial();
        let begun = Instant::now();
        let _ = gateway
            .lazaret(&["device", "revoke", "desk-1", "--why", "lost"])
            .ok();
        dies_within(&stream, begun);
        ended(&gateway, "revoked");
        assert!(listed(&gateway).is_empty());
    });
}

/// A console whose ends of connections the test holds, in their order.
fn held(lab: &Lab, to: SocketAddr) -> mpsc::Receiver<TcpStream> {
    let listener = lab.inside(Place::Hospital, || TcpListener::bind(to).unwrap());
    let (ends, held) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            if ends.send(stream).is_err() {
                return;
            }
        }
    });
    held
}

/// A connection that lives, and the console's end of it.
fn both(desk: &Device<'_>, to: SocketAddr, held: &mpsc::Receiver<TcpStream>) -> [TcpStream; 2] {
    let dial = || desk.tcp_within(to, Duration::from_millis(400)).ok();
    let mine = wait::until("the console", Duration::from_secs(30), dial);
    let its = held.recv_timeout(Duration::from_secs(5)).unwrap();
    let mut word = [0; 4];
    (&mine).write_all(b"ping").unwrap();
    (&its).read_exact(&mut word).unwrap();
    (&its).write_all(b"pong").unwrap();
    (&mine).read_exact(&mut word).unwrap();
    [mine, its]
}

/// Nothing is written: whoever waits for the other end hears of it.
fn hears_of_it(mut stream: &TcpStream, since: Instant, end: &str) {
    let left = LIMIT.saturating_sub(since.elapsed());
    let left = left.max(Duration::from_millis(1));
    stream.set_read_timeout(Some(left)).unwrap();
    let error = stream.read(&mut [0; 4]).unwrap_err();
    let took = since.elapsed();
    assert_eq!(
        error.kind(),
        ErrorKind::ConnectionReset,
        "{end} after {took:?}"
    );
}

/// A connection that is cut is reset at both ends, and one that may not be is refused at once.
//= C9
#[test]
fn both_ends_hear_of_the_end_and_a_call_that_is_not_allowed_is_refused() {
    for mode in ["snat", "routed"] {
        Lab::run(|lab| {
            let site = Site::standard(lab);
            site.replace("mode = \"snat\"", &format!("mode = \"{mode}\""));
            let gateway = Gateway::start(lab, &site);
            let (shells, desktops) = (held(lab, shell()), held(lab, desktop()));
            let desk = Device::connect(lab, &site, "desk-1", Place::Clinician);
            for (to, held, name) in [
                (shell(), &shells, "desk-1/console"),
                (desktop(), &desktops, "desk-1/console-six"),
            ] {
                let ends = both(&desk, to, held);
                assert!(!listed(&gateway).is_empty());
                let begun = Instant::now();
                let _ = gateway.lazaret(&["session", "kill", name]).ok();
                hears_of_it(&ends[1], begun, "the console");
                hears_of_it(&ends[0], begun, "the device");
            }
            // The tunnel of one in quarantine lives, and it may be told that much.
            let ends = both(&desk, shell(), &shells);
            let begun = Instant::now();
            let _ = gateway.lazaret(&["device", "quarantine", "desk-1"]).ok();
            hears_of_it(&ends[1], begun, "the console");
            hears_of_it(&ends[0], begun, "the device");
            let silent = desk.tcp_within(shell(), Duration::from_millis(500));
            assert_eq!(silent.unwrap_err().kind(), ErrorKind::TimedOut);
            let _ = gateway.lazaret(&["device", "release", "desk-1"]).ok();

            // Nobody can tell one that has no tunnel any more.
            let ends = both(&desk, shell(), &shells);
            let refused = || desk.tcp_within((CONSOLE, 23).into(), Duration::from_secs(5));
            let (error, took) = wait::timed(refused);
            assert_eq!(error.unwrap_err().kind(), ErrorKind::ConnectionRefused);
            assert!(took < Duration::from_secs(1), "{took:?}");
            gateway.wait_for_record("flow-denied", |record| text(record, "device") == "desk-1");
            let begun = Instant::now();
            let _ = gateway.lazaret(&["device", "revoke", "desk-1"]).ok();
            hears_of_it(&ends[1], begun, "the console");
            assert_eq!(gateway.status()["table"], "as-planned");
        });
    }
}

/// A thousand connections at once from one device.
//= C7
#[test]
fn a_crowd_of_connections_harms_nobody_else() {
    Lab::run(|lab| {
        let site = Site::standard(lab);
        site.replace("[limits]\n", "[limits]\nflows_per_device = 50\n");
        site.append("[device.desk-2]\nwireguard = \"{desk-2}\"\naddresses = [\"10.64.0.9\"]\nroles = [\"radiologist\"]\nae_title = \"DESK2\"\n");
        let gateway = Gateway::start(lab, &site);
        console(lab, shell());
        console(lab, desktop());
        let desk = Device::connect(lab, &site, "desk-1", Place::Clinician);
        let other = Device::connect(lab, &site, "desk-2", Place::Home2);
        let quiet = other.tcp(shell()).unwrap();
        exchange(&quiet, 100);
        let mut open: Vec<TcpStream> = std::thread::scope(|scope| {
            let dial = || {
                let some = (0..20)
                    .filter_map(|_| desk.tcp_within(shell(), Duration::from_millis(400)).ok());
                some.collect::<Vec<_>>()
            };
            let threads: Vec<_> = (0..50).map(|_| scope.spawn(dial)).collect();
            for _ in 0..10 {
                exchange(&quiet, 100);
                exchange(&other.tcp(shell()).unwrap(), 100);
            }
            threads
                .into_iter()
                .flat_map(|one| one.join().unwrap())
                .collect()
        });
        assert!((48..=52).contains(&open.len()), "{}", open.len());
        let all = listed(&gateway);
        let mine = all
            .iter()
            .find(|one| text(one, "device") == "desk-1")
            .unwrap();
        assert_eq!(mine["connections"], open.len(), "{mine}");
        let denied = gateway.wait_for_record("flow-denied", |record| {
            text(record, "device") == "desk-1" && text(record, "why").contains("too many")
        });
        assert!(denied["packets"].as_u64().unwrap() >= 1, "{denied}");
        let said = |event: &str| {
            let records = gateway.journal().into_iter();
            records
                .filter(|record| {
                    text(record, "event") == event && text(record, "device") == "desk-1"
                })
                .count()
        };
        assert_eq!((said("flow-denied"), said("console-began")), (1, 1));
        for stream in &open {
            assert!(lives(stream));
        }
        open.truncate(40);
        wait::for_true("a place that became free", wait::SOON, || {
            desk.tcp_within(shell(), Duration::from_millis(400)).is_ok()
        });
        // With a new table the kernel counts anew, and what is open was never counted there.
        site.replace("flows_per_device = 50", "flows_per_device = 30");
        let _ = gateway.lazaret(&["apply"]).ok();
        wait::for_true("the newest end", LIMIT * 2, || {
            let all = listed(&gateway);
            let mut all = all.iter();
            let mine = all.find(|one| text(one, "device") == "desk-1");
            mine.is_some_and(|mine| mine["connections"] == 30)
        });
        assert_eq!(open.iter().filter(|stream| lives(stream)).count(), 30);
        assert!(lives(&quiet));
        assert_eq!(gateway.status()["table"], "as-planned");
    });
}

/// The gateway dies and comes back with a policy that allows less.
//= C4
//= C9
#[test]
fn after_a_restart_sessions_go_on_or_end_as_the_rules_say() {
    Lab::run(|lab| {
        let site = Site::standard(lab);
        let mut gateway = Gateway::start(lab, &site);
        console(lab, shell());
        let six = Sink::listen(lab, Place::Hospital, desktop(), Behaviour::Echo);
        let desk = Device::connect(lab, &site, "desk-1", Place::Clinician);
        let (kept, lost) = (desk.tcp(shell()).unwrap(), desk.tcp(desktop()).unwrap());
        exchange(&kept, 50_000);
        exchange(&lost, 10);
        let since = of(&listed(&gateway), "console")["since"].clone();
        gateway.kill9(gateway.pid());
        gateway.wait_for_end();
        site.replace("to = [\"console\", \"console-six\"]", "to = [\"console\"]");
        let gateway = Gateway::start(lab, &site);
        wait::for_true("the shell after a restart", Duration::from_secs(30), || {
            lives(&kept)
        });
        let all = listed(&gateway);
        assert_eq!(all.len(), 1, "{all:?}");
        let session = of(&all, "console");
        assert_eq!(session["since"], since);
        assert!(session["received"].as_u64().unwrap() > 50_000, "{session}");
        gateway.wait_for_record("console-began", |record| record["continued"] == true);
        // The table alone would let this through.
        let _reset_already = six.try_to_say(b"leak");
        assert!(hears_nothing(&lost));
        let (status, _) = wait::timed(|| gateway.stop());
        assert!(status.success(), "{status}");
        let gateway = Gateway::start(lab, &site);
        ended(&gateway, "stopped");
    });
}
