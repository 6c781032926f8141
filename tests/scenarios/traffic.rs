//! `kill -9` of each process while HL7 and DICOM flow: what was acknowledged is there, nothing opens, the rules are
//! the same before and after, and both kinds of traffic come back by themselves.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use e2e::hl7::{self, Client, Reply};
use e2e::{
    Archive, Archiving, Behaviour, CONSOLE, Clinic, Device, Gateway, Images, Lab, Place, Sink,
    data_set, wait,
};

/// Both kinds of traffic without pause, and what the senders believe.
struct Traffic {
    stop: AtomicBool,
    messages: Mutex<Vec<(Instant, Vec<u8>)>>,
    images: Mutex<Vec<Instant>>,
}

impl Traffic {
    /// Runs `story` while an ECG and an ultrasound send as fast as they are answered.
    fn during(clinic: &Clinic<'_>, us: &Device<'_>, file: &str, story: impl FnOnce(&Self)) -> Self {
        let traffic = Self {
            stop: AtomicBool::new(false),
            messages: Mutex::default(),
            images: Mutex::default(),
        };
        std::thread::scope(|scope| {
            scope.spawn(|| traffic.send_messages(clinic));
            scope.spawn(|| traffic.send_images(us, file));
            let end = StopOnDrop(&traffic.stop);
            story(&traffic);
            drop(end);
        });
        traffic
    }

    fn send_messages(&self, clinic: &Clinic<'_>) {
        let mut number = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let Ok(stream) = clinic
                .ecg
                .tcp_within(clinic.his.address(), Duration::from_millis(300))
            else {
                continue;
            };
            let mut client = Client::new(stream);
            while !self.stop.load(Ordering::Relaxed) {
                number += 1;
                let message = hl7::oru(&format!("T{number}"));
                if client.send(&hl7::frame(&message)).is_err() {
                    break;
                }
                match client.reply(Duration::from_secs(2)) {
                    Reply::Answer(answer) if answer.code == "AA" => {
                        self.messages
                            .lock()
                            .unwrap()
                            .push((Instant::now(), message));
                    }
                    // Refused because the gateway could not (no journal, no destination): not acknowledged.
                    Reply::Answer(_) => {}
                    Reply::Closed | Reply::Reset | Reply::Nothing => break,
                }
            }
        }
    }

    fn send_images(&self, us: &Device<'_>, file: &str) {
        while !self.stop.load(Ordering::Relaxed) {
            let said = us.modality("store", "US07", "PACS1", file);
            let stored =
                said.out.matches("status 0000").count() + said.out.matches("again 0000").count();
            let now = Instant::now();
            self.images
                .lock()
                .unwrap()
                .extend(std::iter::repeat_n(now, stored));
        }
    }

    /// Waits until both kinds of traffic are acknowledged well after a moment; the longest silence of each since then.
    fn wait_after(&self, what: &str, moment: Instant) -> [Duration; 2] {
        let silence = |moments: Vec<Instant>| {
            let after: Vec<Instant> = moments.into_iter().filter(|at| *at > moment).collect();
            let before = std::iter::once(&moment).chain(&after);
            let longest = before.zip(&after).map(|(from, to)| *to - *from).max();
            // Something acknowledged before the blow was felt does not count.
            longest.filter(|_| {
                after
                    .last()
                    .is_some_and(|at| *at - moment > Duration::from_secs(1))
            })
        };
        let limit = Duration::from_secs(60);
        wait::until(
            &format!("both kinds of traffic after {what}"),
            limit,
            || {
                let messages = self
                    .messages
                    .lock()
                    .unwrap()
                    .iter()
                    .map(|(at, _)| *at)
                    .collect();
                let images = self.images.lock().unwrap().clone();
                Some([silence(messages)?, silence(images)?])
            },
        )
    }
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

//= C4 C6
#[test]
fn both_kinds_of_traffic_survive_the_death_of_each_worker() {
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let us = Device::connect(lab, &clinic.site, "us-07", Place::Home2);
        let images = Images::make(lab);
        let archive = Archive::start(lab, Archiving::Pynetdicom);
        let console = Sink::listen(lab, Place::Hospital, (CONSOLE, 22).into(), Behaviour::Echo);
        let file = images.path("us.dcm");
        let rules = rules(lab);
        let traffic = Traffic::during(&clinic, &us, &file, |traffic| {
            let _ = traffic.wait_after("the beginning", Instant::now());
            for name in ["relay-hl7", "relay-dicom", "audit", "tunnel-wireguard"] {
                let pid = clinic.gateway.worker(name);
                let killed = Instant::now();
                clinic.gateway.kill9(pid);
                // The rules never move, and closed stays closed.
                assert_eq!(self::rules(lab), rules, "{name}");
                assert!(
                    clinic
                        .ecg
                        .tcp_within((CONSOLE, 22).into(), Duration::from_millis(100))
                        .is_err()
                );
                let back = wait::timed(|| {
                    wait::for_true(name, wait::SOON, || clinic.gateway.worker(name) != pid)
                })
                .1;
                let [message, image] = traffic.wait_after(name, killed);
                eprintln!(
                    "kill -9 {name}: new process after {back:.1?}, HL7 silent for {message:.1?}, DICOM for {image:.1?}"
                );
            }
        });
        assert_eq!(self::rules(lab), rules);
        assert!(console.received().is_empty());
        nothing_is_missing(&clinic, &archive, &traffic, &file);
        let _ = clinic.gateway.lazaret(&["audit", "verify"]).ok();
    });
}

//= C4 C6
#[test]
fn both_kinds_of_traffic_survive_the_death_of_the_supervisor() {
    Lab::run(|lab| {
        let mut clinic = Clinic::open(lab);
        let us = Device::connect(lab, &clinic.site, "us-07", Place::Home2);
        let images = Images::make(lab);
        let archive = Archive::start(lab, Archiving::Pynetdicom);
        let file = images.path("us.dcm");
        let rules = rules(lab);
        let pid = clinic.gateway.pid();
        let mut next = None;
        let traffic = Traffic::during(&clinic, &us, &file, |traffic| {
            let _ = traffic.wait_after("the beginning", Instant::now());
            let killed = Instant::now();
            clinic.gateway.kill9(pid);
            wait::for_true("the end of the relays", wait::SOON, || {
                sessions_ended(traffic, killed)
            });
            assert_eq!(self::rules(lab), rules, "without a supervisor");
            let started = Instant::now();
            next = Some(Gateway::start(lab, &clinic.site));
            let ready = started.elapsed();
            let [message, image] = traffic.wait_after("a new supervisor", started);
            eprintln!(
                "kill -9 supervisor: rules unchanged; restarted: ready after {ready:.1?}, HL7 silent for {message:.1?}, DICOM for {image:.1?}"
            );
        });
        if let Some(next) = next {
            clinic.gateway = next;
        }
        nothing_is_missing(&clinic, &archive, &traffic, &file);
        let _ = clinic.gateway.lazaret(&["audit", "verify"]).ok();
    });
}

/// Nothing was acknowledged for a second.
fn sessions_ended(traffic: &Traffic, killed: Instant) -> bool {
    let messages = traffic.messages.lock().unwrap();
    let last = messages.last().map_or(killed, |(at, _)| *at).max(killed);
    last.elapsed() > Duration::from_secs(1)
}

fn nothing_is_missing(clinic: &Clinic<'_>, archive: &Archive, traffic: &Traffic, file: &str) {
    let received: std::collections::BTreeSet<Vec<u8>> = clinic.his.received().into_iter().collect();
    let messages = traffic.messages.lock().unwrap();
    let missing = messages
        .iter()
        .filter(|(_, message)| !received.contains(message))
        .count();
    assert_eq!(missing, 0, "of {} acknowledged messages", messages.len());
    let sent = data_set(std::path::Path::new(file));
    let stored = archive.stored();
    assert!(
        stored
            .iter()
            .all(|path| std::fs::read(path).unwrap() == sent),
        "an image was changed or cut"
    );
    let acknowledged = traffic.images.lock().unwrap().len();
    assert!(
        stored.len() >= acknowledged,
        "{} stored, {acknowledged} acknowledged",
        stored.len()
    );
    eprintln!(
        "acknowledged and found: {} messages of {}, {acknowledged} images of {}",
        messages.len(),
        received.len(),
        stored.len()
    );
}

/// The table without its counters, and without those whose calls it answered lately.
fn rules(lab: &Lab) -> String {
    let said = lab.output(
        Place::Gateway,
        &["nft", "-s", "list", "table", "inet", "lazaret"],
    );
    let text = said.ok().out;
    let is_answered = |line: &&str| line.contains("elements = ") && line.contains(" limit rate ");
    let lines: Vec<&str> = text.lines().filter(|line| !is_answered(line)).collect();
    lines.join("\n")
}
