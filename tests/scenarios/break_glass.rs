//! What is left to a device in quarantine, and what is opened for a time in an emergency: on real traffic.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use e2e::hl7::{self, Client, Reply};
use e2e::{Behaviour, CONSOLE, Clinic, Device, Gateway, His, Lab, Place, Sink, Site, text, wait};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(2);
const SHORT: Duration = Duration::from_millis(500);

/// A clinic in which `desk-1` could say who it is to the HIS, and no rule lets it.
fn open<'a>(lab: &'a Lab, more: &str) -> (Clinic<'a>, Device<'a>) {
    let clinic = Clinic::open_with(lab, |site| {
        let title = "ae_title = \"DESK1\"";
        site.replace(title, &format!("{title}\nhl7_sender = \"DESK^RAD\""));
        site.append(more);
    });
    let desk = Device::connect(lab, &clinic.site, "desk-1", Place::Clinician);
    (clinic, desk)
}

fn opened(gateway: &Gateway<'_>, period: &str, more: &[&str]) -> Value {
    let line = ["break-glass", "desk-1", "his-results", "--for", period];
    let line = [&line, ["--reason", "shock room"].as_slice(), more].concat();
    let said = gateway.json(&line);
    assert_eq!(text(&said, "response"), "break-glass", "{said}");
    said["accesses"][0].clone()
}

fn results(desk: &Device<'_>, clinic: &Clinic<'_>) -> Client {
    desk.mllp(clinic.his.address())
}

fn is_shut(device: &Device<'_>, to: SocketAddr) -> bool {
    device.tcp_within(to, SHORT).is_err()
}

/// Waits for the end of all sessions; the device hears nothing more, as in quarantine.
fn wait_until_over(gateway: &Gateway<'_>, mut client: Client, limit: Duration) {
    wait::for_true("the end of the session", limit, || {
        gateway.status()["sessions"] == 0
    });
    let sent = client.send(&hl7::frame(&hl7::oru_from("DESK|RAD", "LATE")));
    let answered = sent.is_ok() && matches!(client.reply(SHORT), Reply::Answer(_));
    assert!(!answered, "a session outlived what allowed it");
}

fn what(gateway: &Gateway<'_>) -> Vec<String> {
    let records = gateway.journal().into_iter();
    records
        .filter(|record| text(record, "event") == "break-glass")
        .map(|record| text(&record, "what").to_owned())
        .collect()
}

//= C9
#[test]
fn break_glass_opens_one_service_with_identity_and_framing_and_its_end_cuts() {
    Lab::run(|lab| {
        let (clinic, desk) = open(lab, "[break_glass]\nlongest = \"1h\"\n");
        assert!(is_shut(&desk, clinic.his.address()));
        let (access, took) = wait::timed(|| opened(&clinic.gateway, "10m", &[]));
        assert!(took < LIMIT, "{took:?}");
        assert_eq!(access["number"], 1);
        let mut client = results(&desk, &clinic);
        let good = hl7::oru_from("DESK|RAD", "B0");
        assert_eq!(client.exchange(&good).code, "AA");
        // Who it says it is counts as everywhere, and nothing else is open.
        assert_ne!(client.exchange(&hl7::oru("B1")).code, "AA");
        assert!(is_shut(&clinic.ecg, (CONSOLE, 22).into()));
        let status = clinic.gateway.lazaret(&["status"]);
        assert_eq!(status.code, 1, "{}", status.all());
        assert!(
            status.out.contains("ALARM: break-glass access 1"),
            "{}",
            status.out
        );
        let told = clinic
            .gateway
            .lazaret(&["explain", "desk-1", "his-results"]);
        assert!(
            told.code == 0 && told.out.contains("BREAK-GLASS-1"),
            "{}",
            told.all()
        );
        let decision = &clinic.gateway.wait_for_decisions("desk-1", 2)[0];
        assert_eq!(text(decision, "rule"), "BREAK-GLASS-1");

        let begun = Instant::now();
        let _ = clinic.gateway.lazaret(&["break-glass", "end", "1"]).ok();
        let took = begun.elapsed();
        assert!(took < LIMIT, "{took:?}");
        wait_until_over(&clinic.gateway, client, LIMIT);
        assert!(is_shut(&desk, clinic.his.address()));
        assert_eq!(clinic.his.received().len(), 1);
        let ended = clinic
            .gateway
            .wait_for_record("break-glass", |record| text(record, "what") == "ended");
        assert_eq!(
            (text(&ended, "service"), &ended["uses"]),
            ("his-results", &1.into())
        );
        assert_eq!(what(&clinic.gateway), ["began", "used", "ended"]);
        assert_eq!(clinic.gateway.lazaret(&["status"]).code, 0);
        assert_eq!(clinic.gateway.lazaret(&["break-glass", "end", "1"]).code, 1);
    });
}

//= C9
#[test]
fn break_glass_outlives_a_crash_and_ends_at_its_time_all_the_same() {
    Lab::run(|lab| {
        let (clinic, desk) = open(lab, "[break_glass]\nlongest = \"1h\"\n");
        let begun = Instant::now();
        let before = opened(&clinic.gateway, "25s", &[]);
        let mut client = results(&desk, &clinic);
        assert_eq!(client.exchange(&hl7::oru_from("DESK|RAD", "B0")).code, "AA");
        let Clinic {
            site,
            mut gateway,
            his,
            ecg,
            ..
        } = clinic;
        gateway.kill9(gateway.pid());
        let _ = gateway.wait_for_end();
        drop((gateway, client));
        let gateway = Gateway::start(lab, &site);
        let clinic = Clinic {
            lab,
            site,
            gateway,
            his,
            ecg,
        };
        let after = clinic.gateway.json(&["break-glass", "list"])["accesses"][0].clone();
        assert_eq!(
            (&after["number"], &after["ends"]),
            (&before["number"], &before["ends"])
        );
        let mut client = wait::until("the tunnel again", wait::SOON, || {
            let stream = desk.tcp_within(clinic.his.address(), SHORT).ok()?;
            Some(Client::new(stream))
        });
        assert_eq!(client.exchange(&hl7::oru_from("DESK|RAD", "B1")).code, "AA");
        assert_eq!(clinic.gateway.status()["sessions"], 1);
        wait::for_true("its end", Duration::from_secs(30), || {
            clinic.gateway.status()["sessions"] == 0
        });
        let took = begun.elapsed();
        wait_until_over(&clinic.gateway, client, LIMIT);
        assert!(took > Duration::from_secs(24), "{took:?}");
        assert!(is_shut(&desk, clinic.his.address()));
        assert_eq!(clinic.his.received().len(), 2);
        let ended = clinic
            .gateway
            .wait_for_record("break-glass", |record| text(record, "what") == "ended");
        assert_eq!(text(&ended, "why"), "its time is over");
    });
}

/// Whether a forwarded connection carries bytes.
fn speaks(stream: &TcpStream) -> bool {
    stream.set_read_timeout(Some(SHORT)).unwrap();
    let (mut stream, mut back) = (stream, [0; 1]);
    stream.write_all(b".").is_ok() && matches!(stream.read(&mut back), Ok(1))
}

//= C9
#[test]
fn a_device_in_quarantine_reaches_its_remediation_and_nothing_else() {
    Lab::run(|lab| {
        let more = "[break_glass]\nlongest = \"1h\"\n[quarantine]\nservices = [\"console\"]\n";
        let (clinic, desk) = open(lab, more);
        let console: SocketAddr = (CONSOLE, 22).into();
        let _console = Sink::listen(lab, Place::Hospital, console, Behaviour::Echo);
        let ask = |line: &[&str]| clinic.gateway.lazaret(line);
        assert!(is_shut(&clinic.ecg, console));
        let mut client = clinic.ecg.mllp(clinic.his.address());
        assert_eq!(client.exchange(&hl7::oru("Q0")).code, "AA");
        let (_, took) = wait::timed(|| ask(&["device", "quarantine", "ecg-0042"]).ok());
        assert!(took < LIMIT, "{took:?}");
        assert!(!matches!(client.reply(LIMIT), Reply::Answer(_)));
        wait::for_true("the end of the session", LIMIT, || {
            clinic.gateway.status()["sessions"] == 0
        });
        assert!(is_shut(&clinic.ecg, clinic.his.address()));
        let shell = clinic.ecg.tcp(console).unwrap();
        // For as long as sessions are looked at two times.
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(2_500) {
            assert!(speaks(&shell), "the remediation is not reached");
            std::thread::sleep(Duration::from_millis(100));
        }
        for (target, code) in [("console", 0), ("his-results", 5)] {
            let said = ask(&["explain", "ecg-0042", target]);
            assert_eq!(said.code, code, "{}", said.all());
        }

        // Release takes the remediation away again, also from what is alive, and gives the rules back.
        let _ = ask(&["device", "release", "ecg-0042"]).ok();
        assert!(!speaks(&shell), "the remediation outlived the quarantine");
        assert!(is_shut(&clinic.ecg, console));
        let mut client = clinic.ecg.mllp(clinic.his.address());
        assert_eq!(client.exchange(&hl7::oru("Q1")).code, "AA");

        in_quarantine_only_if_that_is_said(&clinic, &desk);
    });
}

fn in_quarantine_only_if_that_is_said(clinic: &Clinic<'_>, desk: &Device<'_>) {
    let ask = |line: &[&str]| clinic.gateway.lazaret(line);
    let _ = opened(&clinic.gateway, "10m", &[]);
    let mut client = results(desk, clinic);
    assert_eq!(client.exchange(&hl7::oru_from("DESK|RAD", "Q2")).code, "AA");
    // Quarantine ends what was not opened for it, for good.
    let _ = ask(&["device", "quarantine", "desk-1"]).ok();
    assert!(is_shut(desk, clinic.his.address()));
    wait::until("the end of the access", wait::SOON, || {
        let list = clinic.gateway.json(&["break-glass", "list"]);
        list["accesses"].as_array()?.is_empty().then_some(())
    });
    let line = [
        "break-glass",
        "desk-1",
        "his-results",
        "--for",
        "10m",
        "--reason",
        "x",
    ];
    let refused = ask(&line);
    assert!(
        refused.code == 5 && refused.err.contains("although"),
        "{}",
        refused.all()
    );
    let _ = opened(&clinic.gateway, "10m", &["--although-quarantined"]);
    let mut client = results(desk, clinic);
    assert_eq!(client.exchange(&hl7::oru_from("DESK|RAD", "Q3")).code, "AA");
    let _ = ask(&["device", "revoke", "desk-1"]).ok();
    assert!(is_shut(desk, clinic.his.address()));
    let refused = ask(&[&line, ["--although-quarantined"].as_slice()].concat());
    assert!(
        refused.code == 5 && refused.err.contains("revoked"),
        "{}",
        refused.all()
    );
}

/// What is not inspected is counted by its connections, also by one just before the end.
//= C8
//= C9
#[test]
fn break_glass_to_a_console_counts_its_connections_and_its_end_has_a_name() {
    Lab::run(|lab| {
        let (clinic, desk) = open(lab, "[break_glass]\nlongest = \"1h\"\n");
        clinic.site.replace(
            "to = [\"console\", \"console-six\"]",
            "to = [\"console-six\"]",
        );
        let gateway = &clinic.gateway;
        let _ = gateway.lazaret(&["apply"]).ok();
        let console: SocketAddr = (CONSOLE, 22).into();
        let _console = Sink::listen(lab, Place::Hospital, console, Behaviour::Echo);
        assert!(is_shut(&desk, console));
        let line = ["break-glass", "desk-1", "console", "--for", "10m"];
        let said = gateway.json(&[&line[..], &["--reason", "shock room"]].concat());
        assert_eq!(text(&said, "response"), "break-glass", "{said}");
        let (one, two) = (desk.tcp(console).unwrap(), desk.tcp(console).unwrap());
        assert!(speaks(&one) && speaks(&two));
        wait::for_true("uses", LIMIT, || {
            let list = gateway.json(&["break-glass", "list"]);
            list["accesses"][0]["uses"] == 2
        });
        let three = desk.tcp(console).unwrap();
        assert!(speaks(&three));
        let begun = Instant::now();
        let _ = gateway.lazaret(&["break-glass", "end", "1"]).ok();
        for stream in [one, two, three] {
            let left = LIMIT.saturating_sub(begun.elapsed());
            let left = left.max(Duration::from_millis(1));
            stream.set_read_timeout(Some(left)).unwrap();
            let error = (&stream).read(&mut [0; 1]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        }
        let ended =
            gateway.wait_for_record("break-glass", |record| text(record, "what") == "ended");
        assert_eq!(ended["uses"], 3, "{ended}");
        let ended = gateway.wait_for_record("console-ended", |_| true);
        assert_eq!(
            (text(&ended, "why"), &ended["flows"]),
            ("break-glass", &3.into())
        );
        assert!(is_shut(&desk, console));
    });
}

/// The disk of the state and of the journal is full: access is open and said to be, or it is not.
//= C8
#[test]
fn with_a_full_disk_break_glass_is_given_or_refused_and_never_half() {
    Lab::run(|lab| {
        let site = Site::standard(lab);
        site.replace(
            "ae_title = \"DESK1\"",
            "ae_title = \"DESK1\"\nhl7_sender = \"DESK^RAD\"",
        );
        site.append("[break_glass]\nlongest = \"1h\"\n");
        let state = site.state();
        std::fs::create_dir_all(&state).unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m,mode=0700", "lab"])
            .arg(&state)
            .status();
        assert!(mounted.unwrap().success());
        let his = His::start(lab);
        let gateway = Gateway::start(lab, &site);
        let desk = Device::connect(lab, &site, "desk-1", Place::Clinician);
        let filler = state.join("filler");
        let _full = std::fs::write(&filler, vec![0; 4 << 20]);
        let list = |gateway: &Gateway<'_>| {
            let list = gateway.json(&["break-glass", "list"]);
            list["accesses"].as_array().cloned().unwrap_or_default()
        };
        let line = [
            "break-glass",
            "desk-1",
            "his-results",
            "--for",
            "10m",
            "--reason",
            "x",
        ];
        let mut seen = Vec::new();
        // The last pages of the journal take a few records more.
        while seen.last() != Some(&5) {
            assert!(seen.len() < 100, "{seen:?}");
            let said = gateway.lazaret(&line);
            let open = list(&gateway);
            match said.code {
                0 => {
                    assert!(said.all().contains("ALARM"), "{}", said.all());
                    assert_eq!(open.len(), 1, "{open:?}");
                    let _reached = desk.tcp_within(his.address(), LIMIT * 2).unwrap();
                    let number = open[0]["number"].to_string();
                    let ended = gateway.lazaret(&["break-glass", "end", &number]);
                    assert_eq!(ended.code, 0, "{}", ended.all());
                    assert!(list(&gateway).is_empty() && is_shut(&desk, his.address()));
                }
                5 => {
                    assert!(said.err.contains("journal"), "{}", said.all());
                    assert!(open.is_empty() && is_shut(&desk, his.address()), "{open:?}");
                }
                other => panic!("{other}: {}", said.all()),
            }
            seen.push(said.code);
        }
        std::fs::remove_file(filler).unwrap();
        wait::for_true("room again", wait::SOON, || {
            gateway.lazaret(&line).code == 0
        });
        assert!(!is_shut(&desk, his.address()));
        assert_eq!(list(&gateway).len(), 1);
    });
}

#[test]
fn break_glass_asks_for_much_and_its_end_for_nothing() {
    Lab::run(|lab| {
        let (clinic, _desk) = open(lab, "[break_glass]\nlongest = \"1h\"\n");
        let ask = |device: &str, service: &str, period: &str, reason: &str| {
            let line = [
                "break-glass",
                device,
                service,
                "--for",
                period,
                "--reason",
                reason,
            ];
            let said = clinic.gateway.lazaret(&line);
            (said.code, said.all())
        };
        let long = "x".repeat(513);
        for (device, service, period, reason, code, word) in [
            ("nobody", "his-results", "1m", "x", 1, "no device"),
            ("desk-1", "nothing", "1m", "x", 1, "no service"),
            ("desk-1", "his-results", "1m", "", 2, "say why"),
            ("desk-1", "his-results", "1m", " ", 2, "say why"),
            ("desk-1", "his-results", "1m", "two\nlines", 2, "one line"),
            ("desk-1", "his-results", "1m", long.as_str(), 2, "at most"),
            ("desk-1", "his-results", "61m", "x", 2, "longest"),
            ("desk-1", "his-results", "0s", "x", 2, "1s"),
            ("us-07", "his-results", "1m", "x", 1, "hl7_sender"),
            ("desk-1", "console", "1m", "x", 5, "rule consoles"),
        ] {
            let (found, said) = ask(device, service, period, reason);
            assert!(found == code && said.contains(word), "{found} {said}");
        }
        // What cannot be written is open all the same, says so, and can be ended.
        let stop = clinic.site.state().join("break_glass.json.new");
        std::fs::create_dir(&stop).unwrap();
        let (code, said) = ask("desk-1", "his-results", "1m", "x");
        assert!(code == 0 && said.contains("ALARM"), "{said}");
        let ended = clinic.gateway.lazaret(&["break-glass", "end", "1"]);
        assert_eq!(ended.code, 0, "{}", ended.all());
        std::fs::remove_dir(&stop).unwrap();
        // Without the table nothing is opened at all.
        clinic.site.replace("[break_glass]\nlongest = \"1h\"\n", "");
        let _ = clinic.gateway.lazaret(&["apply"]).ok();
        let (code, said) = ask("desk-1", "his-results", "1m", "x");
        assert!(code == 5 && said.contains("[break_glass]"), "{said}");
    });
}

/// A rule that ends with its hours ends what is alive by it, and takes nothing new.
//= C9
#[test]
#[ignore = "waits for the end of a minute or two"]
fn the_end_of_hours_ends_sessions() {
    Lab::run(|lab| {
        let now = || {
            let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            since.unwrap()
        };
        let minute = (now().as_secs() + 45) / 60 + 1;
        let clock = |minute: u64| format!("{:02}:{:02}", minute / 60 % 24, minute % 60);
        let hours = format!("mon-sun {}-{} UTC", clock(minute - 120), clock(minute));
        let clinic = Clinic::open_with(lab, |site| {
            let rule = "hl7 = { send = [\"ORU^R01\", \"ORU^R40\"] }";
            site.replace(rule, &format!("{rule}\nhours = \"{hours}\""));
        });
        let mut client = clinic.ecg.mllp(clinic.his.address());
        assert_eq!(client.exchange(&hl7::oru("H0")).code, "AA");
        wait::for_true("the end of the hours", Duration::from_secs(150), || {
            clinic.gateway.status()["sessions"] == 0
        });
        let due = Duration::from_secs(minute * 60);
        assert!(now() >= due && now() < due + LIMIT, "{:?} {due:?}", now());
        wait_until_over(&clinic.gateway, client, LIMIT);
        assert!(is_shut(&clinic.ecg, clinic.his.address()));
        assert_eq!(clinic.his.received().len(), 1);
    });
}
