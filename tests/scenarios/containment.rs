//! Taking a right away ends what is under way, on both planes, within two seconds; giving one harms nobody.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use e2e::hl7::{self, Client, Reply};
use e2e::{Behaviour, CONSOLE, Clinic, Device, Lab, Place, Sink, text, wait};

const LIMIT: Duration = Duration::from_secs(2);

/// A desk with a live forwarded connection to a console, beside the ECG with a live inspected one.
struct Live<'a> {
    clinic: Clinic<'a>,
    desk: Device<'a>,
    _console: Sink,
    hl7: Client,
    shell: TcpStream,
}

impl<'a> Live<'a> {
    fn open(lab: &'a Lab) -> Self {
        let clinic = Clinic::open(lab);
        let console = Sink::listen(lab, Place::Hospital, shell(), Behaviour::Echo);
        let desk = Device::connect(lab, &clinic.site, "desk-1", Place::Clinician);
        let mut hl7 = clinic.ecg.mllp(clinic.his.address());
        assert_eq!(hl7.exchange(&hl7::oru("L0")).code, "AA");
        let shell = desk.tcp(shell()).unwrap();
        shell
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        let live = Self {
            clinic,
            desk,
            _console: console,
            hl7,
            shell,
        };
        assert!(live.shell_works());
        live
    }

    /// Whether the forwarded connection still carries bytes.
    fn shell_works(&self) -> bool {
        let mut back = [0; 1];
        (&self.shell).write_all(b".").is_ok() && matches!((&self.shell).read(&mut back), Ok(1))
    }

    fn wait_until_shell_is_dead(&self, since: Instant) {
        // Dead is three unanswered bytes in a row, so that a late answer does not count as death.
        wait::for_true("the forwarded connection is dead", LIMIT * 2, || {
            let dead = (0..3).all(|_| !self.shell_works());
            assert!(
                dead || since.elapsed() < LIMIT,
                "alive after {:?}",
                since.elapsed()
            );
            dead
        });
    }

    fn hl7_works(&mut self, control: &str) -> bool {
        let sent = self.hl7.send(&hl7::frame(&hl7::oru(control)));
        sent.is_ok()
            && matches!(self.hl7.reply(LIMIT), Reply::Answer(answer) if answer.code == "AA")
    }
}

//= C9
#[test]
fn quarantine_ends_both_planes_and_release_opens_them() {
    Lab::run(|lab| {
        let mut live = Live::open(lab);
        let begun = Instant::now();
        let _ = live
            .clinic
            .gateway
            .lazaret(&["device", "quarantine", "desk-1"])
            .ok();
        let _ = live
            .clinic
            .gateway
            .lazaret(&["device", "quarantine", "ecg-0042"])
            .ok();
        live.wait_until_shell_is_dead(begun);
        // Silence: a device in quarantine does not even get a reset. But the session is over.
        assert!(!live.hl7_works("L-QUARANTINED"));
        wait::for_true("the end of the session", LIMIT, || {
            live.clinic.gateway.status()["sessions"] == 0
        });
        assert_eq!(live.clinic.his.received().len(), 1);
        assert!(
            live.desk
                .tcp_within(shell(), Duration::from_millis(500))
                .is_err()
        );
        let refused = live
            .clinic
            .ecg
            .tcp_within(live.clinic.his.address(), Duration::from_millis(500));
        assert!(refused.is_err(), "a quarantined device was let in");
        let shown = live.clinic.gateway.json(&["device", "show", "desk-1"]);
        assert_eq!(text(&shown["devices"][0], "standing"), "quarantined");
        let record = live
            .clinic
            .gateway
            .wait_for_record("device-standing", |r| text(r, "device") == "desk-1");
        assert_eq!(
            (text(&record, "before"), text(&record, "after")),
            ("active", "quarantined")
        );

        let _ = live
            .clinic
            .gateway
            .lazaret(&["device", "release", "desk-1"])
            .ok();
        let _ = live
            .clinic
            .gateway
            .lazaret(&["device", "release", "ecg-0042"])
            .ok();
        // The old connection must not come back to life; a new one may.
        assert!(!live.shell_works(), "the old connection resumed");
        live.shell = live.desk.tcp(shell()).unwrap();
        assert!(live.shell_works());
        live.hl7 = live.clinic.ecg.mllp(live.clinic.his.address());
        assert!(live.hl7_works("L1"));
    });
}

//= C9
#[test]
fn a_revoked_device_loses_its_tunnel_and_stays_revoked() {
    Lab::run(|lab| {
        let mut live = Live::open(lab);
        let begun = Instant::now();
        let _ = live
            .clinic
            .gateway
            .lazaret(&["device", "revoke", "desk-1"])
            .ok();
        live.wait_until_shell_is_dead(begun);
        // The bystander does not notice.
        assert!(live.hl7_works("L1"));
        // A new handshake is refused, also after a restart of the gateway.
        let site = live.clinic.site.clone();
        let Live { clinic, desk, .. } = live;
        let Clinic { gateway, .. } = clinic;
        assert!(gateway.stop().success());
        let gateway = e2e::Gateway::start(lab, &site);
        assert_eq!(
            text(
                &gateway.json(&["device", "show", "desk-1"])["devices"][0],
                "standing"
            ),
            "revoked"
        );
        drop(desk);
        let desk = Device::prepare(lab, &site, "desk-1", Place::Clinician);
        desk.dial(e2e::wan4());
        std::thread::sleep(Duration::from_secs(2));
        assert_eq!(desk.handshake(), 0, "a revoked device shook hands");
    });
}

//= C9
#[test]
fn a_rule_taken_away_ends_its_flows_and_no_others() {
    Lab::run(|lab| {
        let mut live = Live::open(lab);
        live.clinic.site.replace(
            "to = [\"console\", \"console-six\"]",
            "to = [\"console-six\"]",
        );
        let begun = Instant::now();
        let said = live.clinic.gateway.json(&["apply"]);
        assert_eq!(text(&said, "response"), "applied", "{said}");
        live.wait_until_shell_is_dead(begun);
        assert!(live.hl7_works("L1"));

        live.clinic.site.replace("\"ORU^R01\", ", "");
        live.clinic.site.replace("#ORU^R01", "#ORU^R40");
        let _ = live.clinic.gateway.lazaret(&["apply"]).ok();
        // The rule still reaches the service, so that the connection may live, but the message is refused.
        let mut client = live.clinic.ecg.mllp(live.clinic.his.address());
        assert_eq!(client.exchange(&hl7::oru("L2")).code, "AR");
        live.clinic
            .site
            .replace("\"ORU^R40\"", "\"ORU^R40\", \"ORU^R01\"");
        let _ = live.clinic.gateway.lazaret(&["apply"]).ok();
        assert_eq!(client.exchange(&hl7::oru("L3")).code, "AA");
    });
}

//= C4
#[test]
fn a_reload_harms_no_allowed_flow() {
    Lab::run(|lab| {
        let mut live = Live::open(lab);
        for number in 0..5 {
            live.clinic.site.append(&format!(
                "[device.extra-{number}]\nwireguard = \"{{extra-{number}}}\"\naddresses = [\"10.64.1.{number}\"]\nroles = [\"ecg-home\"]\nhl7_sender = \"X^{number}\"\n"
            ));
            let _ = live.clinic.gateway.lazaret(&["apply"]).ok();
            assert!(live.shell_works(), "forwarded, after reload {number}");
            assert!(
                live.hl7_works(&format!("R{number}")),
                "inspected, after reload {number}"
            );
        }
        let status = live.clinic.gateway.status();
        assert_eq!(status["devices"]["configured"], 9);
        assert_eq!(status["table"], "as-planned");
    });
}

#[test]
fn a_wrong_configuration_changes_nothing() {
    Lab::run(|lab| {
        let mut live = Live::open(lab);
        let right = live.clinic.site.template();
        for wrong in [
            "[service.x]\naddress = \"nowhere\"\n",
            "[[test]]\nfrom = \"device:ecg-0042\"\nallow = [\"pacs\"]\n",
        ] {
            live.clinic.site.append(wrong);
            let said = live.clinic.gateway.lazaret(&["apply"]);
            assert_eq!(
                said.code,
                if wrong.contains("test") { 4 } else { 3 },
                "{}",
                said.all()
            );
            live.clinic.site.write(&right);
        }
        live.clinic
            .gateway
            .wait_for_record("policy-refused", |_| true);
        assert!(live.shell_works());
        assert!(live.hl7_works("W1"));
    });
}

#[test]
fn a_change_that_nobody_confirms_is_undone() {
    Lab::run(|lab| {
        let mut live = Live::open(lab);
        let without = |live: &Live<'_>| {
            live.clinic.site.replace(
                "to = [\"console\", \"console-six\"]",
                "to = [\"console-six\"]",
            );
        };
        without(&live);
        let _ = live
            .clinic
            .gateway
            .lazaret(&["apply", "--confirm", "2s"])
            .ok();
        assert!(
            live.desk
                .tcp_within(shell(), Duration::from_millis(300))
                .is_err()
        );
        wait::for_true("the change is undone", wait::SOON, || {
            live.desk
                .tcp_within(shell(), Duration::from_millis(300))
                .is_ok()
        });
        assert!(live.hl7_works("U1"));
        // The twin: confirmed, it stays.
        let _ = live
            .clinic
            .gateway
            .lazaret(&["apply", "--confirm", "2s"])
            .ok();
        let _ = live.clinic.gateway.lazaret(&["confirm"]).ok();
        std::thread::sleep(Duration::from_secs(3));
        assert!(
            live.desk
                .tcp_within(shell(), Duration::from_millis(300))
                .is_err()
        );
        assert_eq!(
            live.clinic.gateway.lazaret(&["confirm"]).code,
            7,
            "nothing to confirm"
        );
    });
}

#[test]
fn sessions_are_listed_and_killed() {
    Lab::run(|lab| {
        let mut live = Live::open(lab);
        let sessions = live.clinic.gateway.json(&["session", "list"]);
        let session = &sessions["sessions"][0];
        assert_eq!(
            (text(session, "device"), text(session, "service")),
            ("ecg-0042", "his-results")
        );
        assert_eq!(session["forwarded"], 1);
        let number = session["connection"].as_u64().unwrap().to_string();
        let _ = live
            .clinic
            .gateway
            .lazaret(&["session", "kill", &number])
            .ok();
        let end = live.hl7.reply(LIMIT);
        assert!(matches!(end, Reply::Closed | Reply::Reset), "{end:?}");
        assert!(live.shell_works(), "another device's flow was harmed");
        assert_ne!(
            live.clinic
                .gateway
                .lazaret(&["session", "kill", "999999"])
                .code,
            0
        );
    });
}

fn shell() -> SocketAddr {
    (CONSOLE, 22).into()
}
