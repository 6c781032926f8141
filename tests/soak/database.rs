//! The database is away for minutes while devices work: nobody notices, and no change is lost.

use std::time::{Duration, Instant};

use e2e::{Clinic, Gateway, Lab, Postgres, hl7, text, wait};

use crate::length;

/// PostgreSQL stops under traffic and stays away; halfway the gateway is killed and starts again without it.
#[test]
fn postgresql_is_away_under_traffic() {
    Lab::run(|lab| {
        let mut server = Postgres::start();
        server.create("fleet");
        let socket = server.socket().display().to_string().replace('/', "%2F");
        let mut clinic = Clinic::open_with(lab, |site| {
            site.append(&format!(
                "[registry]\nurl = \"postgres://lazaret@{socket}:5432/fleet\"\n\n\
                 [enrol]\naddresses = [\"10.64.200.0/24\"]\n"
            ));
        });
        wait::for_true("the registry in its database", wait::SOON, || {
            !in_trouble(&clinic.gateway)
        });
        let other = clinic.bystander();
        let mut sent = 0;
        sent += traffic(&clinic, Duration::from_secs(5));
        server.stop();
        let away = Instant::now();
        let half = length() / 2;
        sent += traffic(&clinic, half);
        // A device is contained while nothing can be written down.
        let begun = Instant::now();
        let _ = (clinic.gateway)
            .lazaret(&["device", "revoke", "ecg-0043", "--why", "lost"])
            .ok();
        println!("revoked without the database in {:?}", begun.elapsed());
        clinic.gateway.kill9(clinic.gateway.pid());
        let _ = clinic.gateway.wait_for_end();
        clinic.gateway = Gateway::start(lab, &clinic.site);
        clinic.ecg.wait_for_handshake();
        sent += traffic(&clinic, length().saturating_sub(half));
        println!(
            "{sent} messages while the database was away for {:?}, all accepted",
            away.elapsed()
        );
        assert!(in_trouble(&clinic.gateway), "nobody was told");
        server.run();
        wait::for_true("the registry in its database", wait::SOON * 3, || {
            !in_trouble(&clinic.gateway)
        });
        let shown = clinic.gateway.json(&["device", "show", "ecg-0043"]);
        assert_eq!(text(&shown["devices"][0], "standing"), "revoked");
        assert_eq!(clinic.his.received().len(), sent);
        drop(other);
    });
}

/// Messages of one device, one after the other; every one is accepted.
fn traffic(clinic: &Clinic<'_>, time: Duration) -> usize {
    let begun = Instant::now();
    let mut client = clinic.ecg.mllp(clinic.his.address());
    let mut sent = 0;
    while begun.elapsed() < time {
        let control = format!("S{}", begun.elapsed().as_micros());
        let answer = client.exchange(&hl7::oru(&control));
        assert_eq!(
            (answer.code.as_str(), answer.control.as_str()),
            ("AA", control.as_str())
        );
        sent += 1;
        std::thread::sleep(PACE);
    }
    sent
}

fn in_trouble(gateway: &Gateway<'_>) -> bool {
    !gateway.status()["registry"]["trouble"].is_null()
}

/// Of a device that sends often; ten minutes are 30,000 messages.
const PACE: Duration = Duration::from_millis(20);
