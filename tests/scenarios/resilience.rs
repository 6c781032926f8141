//! Processes die under traffic: what was closed stays closed, what was allowed comes back, the journal is whole.

use std::time::Duration;

use e2e::hl7::{self, Reply};
use e2e::{Behaviour, CONSOLE, Clinic, Device, Gateway, Lab, Place, Sink, text, wait};

const WORKERS: [&str; 4] = ["tunnel-wireguard", "relay-hl7", "relay-dicom", "audit"];

//= C4
#[test]
fn a_killed_worker_is_replaced_and_nothing_opens() {
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let console = Sink::listen(
            lab,
            Place::Hospital,
            (CONSOLE, 3389).into(),
            Behaviour::Echo,
        );
        for (number, name) in WORKERS.iter().enumerate() {
            let mut client = clinic.ecg.mllp(clinic.his.address());
            assert_eq!(client.exchange(&hl7::oru(&format!("K{number}"))).code, "AA");
            let before = clinic.gateway.workers();
            clinic.gateway.kill9(before[*name]);
            // Closed at every moment: what no rule names does not open while the worker is away.
            for _ in 0..3 {
                let denied = clinic
                    .ecg
                    .tcp_within((CONSOLE, 3389).into(), Duration::from_millis(100));
                assert!(denied.is_err(), "open without {name}");
            }
            wait::for_true(&format!("a new {name}"), wait::SOON, || {
                clinic
                    .gateway
                    .workers()
                    .get(*name)
                    .is_some_and(|pid| *pid != before[*name])
            });
            clinic
                .gateway
                .wait_for_record("worker-died", |record| text(record, "worker") == *name);
            // The service is back; live WireGuard sessions may need a new handshake.
            wait::for_true(
                &format!("traffic after {name}"),
                Duration::from_secs(30),
                || {
                    let Ok(stream) = clinic.ecg.tcp(clinic.his.address()) else {
                        return false;
                    };
                    let mut client = hl7::Client::new(stream);
                    let _ = client.send(&hl7::frame(&hl7::oru(&format!("A{number}"))));
                    matches!(client.reply(Duration::from_secs(5)), Reply::Answer(a) if a.code == "AA")
                },
            );
            let others = clinic.gateway.workers();
            for other in WORKERS.iter().filter(|other| *other != name) {
                assert_eq!(
                    others[*other], before[*other],
                    "{other} was restarted with {name}"
                );
            }
        }
        assert!(console.received().is_empty());
        let _ = clinic.gateway.lazaret(&["audit", "verify"]).ok();
    });
}

//= C4
#[test]
fn without_a_supervisor_the_rules_stay_and_a_new_one_takes_over() {
    Lab::run(|lab| {
        let Clinic {
            site,
            mut gateway,
            his,
            ecg,
            ..
        } = Clinic::open(lab);
        let console = Sink::listen(lab, Place::Hospital, (CONSOLE, 22).into(), Behaviour::Echo);
        let desk = Device::connect(lab, &site, "desk-1", Place::Clinician);
        assert_eq!(ecg.mllp(his.address()).exchange(&hl7::oru("S1")).code, "AA");
        assert!(desk.tcp((CONSOLE, 22).into()).is_ok());
        let workers = gateway.workers();

        gateway.kill9(gateway.pid());
        gateway.wait_for_end();
        for (name, pid) in workers {
            wait::for_true(&format!("the end of {name}"), wait::SOON, || {
                // Without a parent it is ours to reap, and we do not.
                let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
                stat.is_err() || stat.is_ok_and(|stat| stat.contains(") Z "))
            });
        }
        let table = lab
            .output(Place::Gateway, &["nft", "list", "table", "inet", "lazaret"])
            .ok();
        assert!(table.out.contains("policy drop"), "{}", table.out);
        // What passed nothing before passes nothing now, on either side.
        assert!(
            ecg.tcp_within((CONSOLE, 22).into(), Duration::from_millis(300))
                .is_err()
        );
        let reached = console.received().len();

        let gateway = Gateway::start(lab, &site);
        wait::for_true("traffic after a restart", Duration::from_secs(30), || {
            let Ok(stream) = ecg.tcp(his.address()) else {
                return false;
            };
            let mut client = hl7::Client::new(stream);
            let _ = client.send(&hl7::frame(&hl7::oru("S2")));
            matches!(client.reply(Duration::from_secs(5)), Reply::Answer(answer) if answer.code == "AA")
        });
        wait::for_true(
            "the console after a restart",
            Duration::from_secs(30),
            || desk.tcp((CONSOLE, 22).into()).is_ok(),
        );
        wait::for_true("the console has heard of it", wait::SOON, || {
            console.received().len() > reached
        });
        let _ = gateway.lazaret(&["audit", "verify"]).ok();
    });
}

#[test]
fn a_stop_is_orderly() {
    Lab::run(|lab| {
        let Clinic {
            site,
            gateway,
            his,
            ecg,
            ..
        } = Clinic::open(lab);
        let mut client = ecg.mllp(his.address());
        assert_eq!(client.exchange(&hl7::oru("O1")).code, "AA");
        let (status, took) = wait::timed(|| gateway.stop());
        assert!(status.success(), "{status}");
        assert!(took < Duration::from_secs(10), "{took:?}");
        assert!(matches!(
            client.reply(wait::SOON),
            Reply::Closed | Reply::Reset | Reply::Nothing
        ));
        let said = e2e::lazaret(lab, &site, &["audit", "verify"]).ok();
        assert!(!said.out.is_empty());
        assert_eq!(e2e::lazaret(lab, &site, &["status"]).code, 6, "no daemon");
        assert!(
            ecg.tcp_within(his.address(), Duration::from_millis(300))
                .is_err()
        );
    });
}

/// Messages are sent without pause while a relay dies (once: a device under whose bytes it dies repeatedly is contained): none that got AA is missing at the HIS.
//= C6
#[test]
fn no_acknowledged_message_is_lost_when_a_relay_dies() {
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let mut acknowledged = Vec::new();
        let mut client = clinic.ecg.mllp(clinic.his.address());
        for number in 0..60 {
            let message = hl7::oru(&format!("F{number:02}"));
            if number == 30 {
                clinic.gateway.kill9(clinic.gateway.worker("relay-hl7"));
            }
            let sent = client.send(&hl7::frame(&message)).is_ok();
            match sent.then(|| client.reply(Duration::from_secs(5))) {
                Some(Reply::Answer(answer)) if answer.code == "AA" => acknowledged.push(message),
                // The relay is away: go on when it is back, and count what it takes then, too.
                _ => client = reconnect(&clinic, number, &mut acknowledged),
            }
        }
        assert!(acknowledged.len() >= 40, "{}", acknowledged.len());
        let received = clinic.his.received();
        for message in acknowledged {
            assert!(
                received.contains(&message),
                "lost: {}",
                message.escape_ascii()
            );
        }
    });
}

/// Sends probes on new connections until one is acknowledged; its connection.
fn reconnect(clinic: &Clinic<'_>, number: usize, acknowledged: &mut Vec<Vec<u8>>) -> hl7::Client {
    let mut attempt = 0;
    wait::until("an acknowledgement", wait::SOON, || {
        attempt += 1;
        let stream = clinic.ecg.tcp(clinic.his.address()).ok()?;
        let mut client = hl7::Client::new(stream);
        let probe = hl7::oru(&format!("P{number}-{attempt}"));
        client.send(&hl7::frame(&probe)).ok()?;
        match client.reply(Duration::from_secs(5)) {
            Reply::Answer(answer) if answer.code == "AA" => {
                acknowledged.push(probe);
                Some(client)
            }
            Reply::Answer(_) | Reply::Closed | Reply::Reset | Reply::Nothing => None,
        }
    })
}
