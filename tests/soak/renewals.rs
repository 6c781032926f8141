//! Certificates that are good for 90 seconds, renewed under traffic: nobody notices, and no message is lost.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use e2e::desk::Desk;
use e2e::hl7::{self, Client};
use e2e::{Clinic, Lab, Place, Process, text};
use rustix::process::Signal;

use crate::length;

/// A machine under traffic.
struct Running<'a> {
    desk: Desk<'a>,
    tunnel: Process,
    sender: &'static str,
    client: Option<Client>,
    certificate: Vec<u8>,
    looked: Instant,
    renewals: usize,
    sent: usize,
    answered: BTreeSet<String>,
    again: usize,
}

impl<'a> Running<'a> {
    fn begin(clinic: &Clinic<'a>, place: Place, name: &str, sender: &'static str) -> Self {
        let desk = Desk::new(clinic.lab, place, name);
        let field = sender.replace('|', "^");
        let _ = desk.enrol(&clinic.gateway, &field, &["--approve"]).ok();
        let tunnel = desk.connect();
        Self {
            certificate: std::fs::read(desk.own()).unwrap(),
            desk,
            tunnel,
            sender,
            client: None,
            looked: Instant::now(),
            renewals: 0,
            sent: 0,
            answered: BTreeSet::new(),
            again: 0,
        }
    }

    /// As its timer would, only more often; then its client connects anew beside the connection so far.
    fn look(&mut self) {
        if self.looked.elapsed() < LOOK {
            return;
        }
        self.looked = Instant::now();
        let said = self.desk.renew(&[]);
        let now = std::fs::read(self.desk.own()).unwrap();
        if now != self.certificate {
            self.certificate = now;
            self.renewals += 1;
            self.tunnel.signal(Signal::USR2);
        } else if said.code != 0 {
            println!("not renewed: {}", said.all());
        }
    }

    /// One more message; the same one again until it is answered.
    fn send(&mut self) {
        self.sent += 1;
        let control = format!("S{}", self.sent);
        let message = hl7::oru_from(self.sender, &control);
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                self.again += 1;
                self.client = None;
                self.look();
            }
            if self.client.is_none() {
                self.client = self.desk.mllp().ok();
            }
            let Some(client) = &mut self.client else {
                continue;
            };
            if client.send(&hl7::frame(&message)).is_ok()
                && let hl7::Reply::Answer(answer) = client.reply(ANSWER)
            {
                assert_eq!(answer.code, "AA", "{control}");
                self.answered.insert(control);
                return;
            }
        }
    }
}

/// Certificates for 90 seconds under traffic.
#[test]
fn certificates_that_end_soon_lose_no_message() {
    Lab::run(|lab| {
        let clinic = Clinic::open_for_desks(lab, "lifetime = \"90s\"");
        let mut all = [
            Running::begin(&clinic, Place::Home2, "soak-1", "DESK|ONE"),
            Running::begin(&clinic, Place::Clinician, "soak-2", "DESK|TWO"),
        ];
        let begun = Instant::now();
        while begun.elapsed() < length() {
            for one in &mut all {
                one.look();
                one.send();
            }
            std::thread::sleep(PACE);
        }
        let received = clinic.his.received().len();
        let (mut answered, mut sent) = (0, 0);
        for one in &all {
            let (asked, heard, again) = (one.sent, one.answered.len(), one.again);
            println!(
                "{}: {} renewals, {asked} messages, {heard} accepted, {again} sent again",
                one.sender, one.renewals
            );
            answered += heard;
            sent += asked;
        }
        let records = clinic.gateway.journal();
        let count = |event: &str| records.iter().filter(|r| text(r, "event") == event).count();
        println!(
            "{} sessions, {} ended; {received} messages at the HIS",
            count("session-began"),
            count("session-ended")
        );
        assert_eq!(answered, sent, "every message was accepted");
        assert!(received >= answered, "and is at the HIS");
        let wanted = usize::try_from(length().as_secs() / 95).unwrap();
        for one in &all {
            assert!(one.renewals >= wanted, "{} renewals", one.renewals);
        }
    });
}

/// Between two looks at the certificate.
const LOOK: Duration = Duration::from_secs(4);
/// Between two messages of a device.
const PACE: Duration = Duration::from_millis(200);
const ANSWER: Duration = Duration::from_secs(10);
const ATTEMPTS: usize = 6;
