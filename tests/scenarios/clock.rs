//! The clock on the wall comes to the end of hours, or is set: what is under way, and what was opened for a time.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use e2e::hl7::{self, Client};
use e2e::{
    Archive, Archiving, CONSOLE, Device, Gateway, His, Images, Lab, Place, Site, WallClock, text,
    wait,
};
use serde_json::Value;

/// Within which whatever may not go on has ended.
const LIMIT: Duration = Duration::from_secs(2);
const SHORT: Duration = Duration::from_millis(500);

/// The beginning of a command, in a P-DATA-TF of 256 bytes.
const HALF: &str = "inside:040000000100000000fc0103";

fn shell() -> SocketAddr {
    (CONSOLE, 22).into()
}

/// Hours around now: from two hours ago for three hours.
fn hours() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let minute = since.as_secs() / 60;
    let clock = |minute: u64| format!("{:02}:{:02}", minute / 60 % 24, minute % 60);
    format!("mon-sun {}-{} UTC", clock(minute - 120), clock(minute + 60))
}

/// Every rule holds for an hour more, and nothing else ends what is under way.
fn hold_for_hours(site: &Site) {
    let line = format!("hours = \"{}\"\n\n[rule.", hours());
    for rule in ["us-images", "queries", "consoles"] {
        site.replace(&format!("\n[rule.{rule}]"), &format!("{line}{rule}]"));
    }
    site.replace(
        "\n[limits]",
        &format!("hours = \"{}\"\n\n[limits]", hours()),
    );
    site.replace("answer_timeout = \"3s\"", "answer_timeout = \"60s\"");
    site.replace("receive_timeout = \"5s\"", "receive_timeout = \"60s\"");
}

/// Reads until there is an end; nothing is written.
fn is_reset(mut stream: &TcpStream, since: Instant, whose: &str) {
    let left = LIMIT.saturating_sub(since.elapsed());
    let left = left.max(Duration::from_millis(1));
    stream.set_read_timeout(Some(left)).unwrap();
    let error = stream.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{whose}: {error}");
}

/// A session on a console, an HL7 connection on which nothing is said, an association in the middle of a message, and
/// one whose image waits for the archive.
//= C6
//= C9
#[test]
fn the_end_of_hours_ends_whatever_is_under_way() {
    Lab::run(|lab| {
        let site = Site::standard(lab);
        hold_for_hours(&site);
        let clock = WallClock::new(lab);
        let gateway = Gateway::start_by(lab, &site, &clock);
        let his = His::start(lab);
        let archive = Archive::start(lab, Archiving::Pynetdicom);
        let console = lab.inside(Place::Hospital, || TcpListener::bind(shell()).unwrap());
        let images = Images::make(lab);
        let desk = Device::connect(lab, &site, "desk-1", Place::Clinician);
        let ecg = Device::connect(lab, &site, "ecg-0042", Place::Home1);
        let us = Device::connect(lab, &site, "us-07", Place::Home2);

        let screen = desk.tcp(shell()).unwrap();
        let (served, _) = console.accept().unwrap();
        (&screen).write_all(b"x").unwrap();
        (&served).read_exact(&mut [0; 1]).unwrap();
        let mut idle = ecg.mllp(his.address());
        assert_eq!(idle.exchange(&hl7::oru("H0")).code, "AA");
        let image = images.path("us.dcm");
        archive.behave("hang");
        std::thread::scope(|scope| {
            let half = scope.spawn(|| us.modality(HALF, "US07", "PACS1", &image));
            let whole = scope.spawn(|| us.modality("store", "US07", "PACS1", &image));
            wait::for_true("both associations", wait::SOON, || {
                let asked = archive.asked();
                let is = |word: &str| asked.iter().filter(|line| line.starts_with(word)).count();
                is("association") == 2 && is("store") == 1
            });
            wait::for_true("four sessions", wait::SOON, || {
                gateway.status()["sessions"] == 3 && gateway.status()["consoles"]["sessions"] == 1
            });
            clock.is_off_by("+2h");
            let begun = Instant::now();
            is_reset(&screen, begun, "the desk");
            is_reset(&served, begun, "the console");
            is_reset(idle.stream(), begun, "the ECG");
            let (half, whole) = (half.join().unwrap(), whole.join().unwrap());
            // Long before anything of theirs runs out, also where a program takes its time to end.
            let took = begun.elapsed();
            assert!(took < LIMIT * 4, "{took:?}");
            assert!(half.out.contains("then reset"), "{}", half.all());
            assert!(!whole.out.contains("status"), "{}", whole.all());
        });
        // The archive is told at once where it listens; where it is busy, it hears of it later.
        wait::for_true("A-ABORT at the archive", LIMIT, || {
            !archive.aborted().is_empty()
        });
        assert!(archive.stored().is_empty());
        wait::for_true("the end of all sessions", LIMIT, || {
            gateway.status()["sessions"] == 0
        });
        assert_eq!(his.received().len(), 1);
        let record = gateway.wait_for_record("console-ended", |_| true);
        assert_eq!(text(&record, "why"), "hours");
        for device in ["us-07", "ecg-0042"] {
            gateway.wait_for_record("connection-closed", |record| {
                text(record, "device") == device
            });
        }
        // What the archive has and did not answer is on record as that; nobody is told of a success.
        gateway.wait_for_record("decision", |record| {
            text(record, "device") == "us-07" && text(record, "outcome") == "unanswered"
        });

        // Nothing begins, and with the hours everything does again.
        for (device, to) in [(&desk, shell()), (&ecg, his.address())] {
            let refused = device.tcp_within(to, SHORT).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        }
        clock.is_off_by("+0");
        archive.behave("ok");
        wait::for_true("the hours again", LIMIT, || {
            desk.tcp_within(shell(), SHORT).is_ok()
        });
        assert_eq!(ecg.mllp(his.address()).exchange(&hl7::oru("H1")).code, "AA");
        let stored = us.modality("store", "US07", "PACS1", &image);
        assert!(stored.out.contains("status 0000"), "{}", stored.all());
    });
}

fn accesses(gateway: &Gateway<'_>) -> Vec<Value> {
    let list = gateway.json(&["break-glass", "list"]);
    list["accesses"].as_array().cloned().unwrap_or_default()
}

/// A clock that is put back a day lengthens nothing, and one that is put ahead a day ends it.
//= C9
#[test]
fn steps_of_a_day_never_lengthen_break_glass_access() {
    Lab::run(|lab| {
        let site = Site::standard(lab);
        site.replace(
            "to = [\"console\", \"console-six\"]",
            "to = [\"console-six\"]",
        );
        site.replace(
            "ae_title = \"DESK1\"",
            "ae_title = \"DESK1\"\nhl7_sender = \"DESK^RAD\"",
        );
        site.append("[break_glass]\nlongest = \"1h\"\n");
        let clock = WallClock::new(lab);
        let gateway = Gateway::start_by(lab, &site, &clock);
        let his = His::start(lab);
        let desk = Device::connect(lab, &site, "desk-1", Place::Clinician);
        let open = |period: &str| {
            let line = ["break-glass", "desk-1", "his-results", "--for", period];
            gateway.json(&[&line[..], &["--reason", "shock room"]].concat());
            desk.mllp(his.address())
        };
        let code =
            |client: &mut Client, id: &str| client.exchange(&hl7::oru_from("DESK|RAD", id)).code;

        let begun = Instant::now();
        let mut client = open("12s");
        clock.is_off_by("-1d");
        assert_eq!(code(&mut client, "S0"), "AA");
        let left = accesses(&gateway)[0]["seconds"].as_u64().unwrap();
        assert!(left <= 12, "{left}");
        wait::for_true("its end", Duration::from_secs(20), || {
            accesses(&gateway).is_empty()
        });
        let took = begun.elapsed();
        let right = Duration::from_secs(11)..Duration::from_secs(12) + LIMIT;
        assert!(right.contains(&took), "{took:?}");
        is_reset(client.stream(), Instant::now(), "the desk");
        assert!(desk.tcp_within(his.address(), SHORT).is_err());

        clock.is_off_by("+0");
        let mut client = open("1h");
        assert_eq!(code(&mut client, "S1"), "AA");
        clock.is_off_by("+1d");
        is_reset(client.stream(), Instant::now(), "the desk");
        assert!(accesses(&gateway).is_empty());
        assert!(desk.tcp_within(his.address(), SHORT).is_err());
        // Back where it was, what ended stays ended.
        clock.is_off_by("+0");
        gateway.wait_for_record("break-glass", |record| {
            text(record, "what") == "ended" && text(record, "rule") == "BREAK-GLASS-2"
        });
        assert!(desk.tcp_within(his.address(), SHORT).is_err());
        assert_eq!(his.received().len(), 2);
    });
}
