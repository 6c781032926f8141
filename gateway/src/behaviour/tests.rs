//! What is learnt, what is told, and that nobody can make it grow.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests make up their time, and say what they measured"
)]

use super::*;

const LEARN: Duration = Duration::from_hours(14 * 24);

struct World {
    behaviour: Behaviour,
    begin: Instant,
    wall: Timestamp,
    zone: TimeZone,
    learn: Duration,
    reaction: Reaction,
}

impl World {
    /// Monday, 2026-11-23, 09:00 in Paris.
    fn new() -> Self {
        Self {
            behaviour: Behaviour::default(),
            begin: Instant::now(),
            wall: "2026-11-23T08:00:00Z".parse().unwrap(),
            zone: TimeZone::get("Europe/Paris").unwrap(),
            learn: LEARN,
            reaction: Reaction::Alert,
        }
    }

    /// A message so many hours after the beginning, by both clocks.
    fn say(&mut self, hours: f64, device: &str, said: &str) -> Vec<String> {
        self.say_at(hours, hours, device, said)
    }

    /// `said` is the service, the type, and the SOP class if there is one; `!` before it: it is refused.
    fn say_at(&mut self, hours: f64, wall: f64, device: &str, said: &str) -> Vec<String> {
        let (passed, said) = match said.strip_prefix('!') {
            Some(said) => (false, said),
            None => (true, said),
        };
        let mut words = said.split(' ');
        let service = words.next().unwrap().parse().unwrap();
        let sighting = Sighting {
            service: &service,
            message: words.next().unwrap_or_default(),
            sop_class: words.next(),
            rule: Some("pilot"),
            length: 1000,
            passed,
            would_refuse: false,
        };
        let settings = Settings {
            learn: self.learn,
            rate_factor: 10,
            zone: &self.zone,
        };
        let now = self.begin + Duration::from_secs_f64(hours * 3600.0);
        let millis = jiff::SignedDuration::from_secs_f64(wall * 3600.0);
        let times = (now, self.wall + millis);
        let reaction = self.reaction;
        let device = name(device);
        let told = (self.behaviour).note(&device, &sighting, &settings, |_| reaction, times);
        let words = |alert: &Alert| format!("{} {}", alert.number, alert.words());
        told.iter().map(words).collect()
    }

    /// Office hours of two weeks.
    fn learn(&mut self, device: &str) {
        for day in 0..14 {
            for hour in [0, 2, 4, 6] {
                if day % 7 < 5 {
                    let told = self.say(f64::from(day * 24 + hour), device, "his ORU^R01");
                    assert_eq!(told, [""; 0]);
                }
            }
        }
    }
}

fn name(text: &str) -> DeviceName {
    text.parse().unwrap()
}

/// Two weeks later, on a Monday at 9 in Paris.
const AFTER: f64 = 14.0 * 24.0;

#[test]
fn what_is_new_after_the_learning_is_told_once_an_hour() {
    let mut world = World::new();
    world.learn("ecg-1");
    assert_eq!(world.say(AFTER, "ecg-1", "his ORU^R01"), [""; 0]);
    let first = "1 sends ADT^A01 to his for the first time";
    assert_eq!(world.say(AFTER, "ecg-1", "his ADT^A01"), [first]);
    assert_eq!(world.say(AFTER + 0.1, "ecg-1", "his ADT^A01"), [""; 0]);
    assert_eq!(world.say(AFTER + 0.2, "ecg-1", "!his MDM^T02"), [""; 0]);
    let [alert] = &world.behaviour.alerts(None).collect::<Vec<_>>()[..] else {
        panic!("one alert");
    };
    assert_eq!((alert.amount, alert.accepted), (3, false));
    assert_eq!(alert.values, ["ADT^A01 to his", "MDM^T02 to his"]);
    let service = "2 speaks with service pacs for the first time";
    assert_eq!(
        world.say(AFTER + 0.3, "ecg-1", "pacs C-STORE 1.2"),
        [service]
    );
    // It goes on for longer than an hour.
    let again = "3 sends ADT^A01 to his for the first time";
    assert_eq!(world.say(AFTER + 1.2, "ecg-1", "his ADT^A01"), [again]);
    // Another device is another matter, and still learns.
    assert_eq!(world.say(AFTER + 1.3, "ecg-2", "his ADT^A01"), [""; 0]);
}

#[test]
fn a_new_sop_class_is_told_and_what_is_accepted_is_usual() {
    let mut world = World::new();
    for day in 0..14 {
        world.say(f64::from(day) * 24.0, "us-1", "pacs C-STORE 1.2.3");
    }
    assert_eq!(world.say(AFTER, "us-1", "pacs C-STORE 1.2.3"), [""; 0]);
    let words = "1 names SOP class 1.2.4 to pacs for the first time";
    assert_eq!(world.say(AFTER, "us-1", "pacs C-STORE 1.2.4"), [words]);
    assert_eq!(world.behaviour.accept(&name("us-1")), 1);
    assert_eq!(world.behaviour.accept(&name("us-1")), 0);
    assert_eq!(
        world.say(AFTER + 0.1, "us-1", "pacs C-STORE 1.2.4"),
        [""; 0]
    );
    let next = "2 names SOP class 1.2.5 to pacs for the first time";
    assert_eq!(world.say(AFTER + 0.1, "us-1", "pacs C-STORE 1.2.5"), [next]);
}

#[test]
fn ten_times_the_most_is_told_and_less_is_not() {
    let mut world = World::new();
    world.learn("ecg-1");
    for _ in 0..5 {
        world.say(AFTER - 1.0, "ecg-1", "his ORU^R01");
    }
    // Five in a minute were learnt: fifty are let be.
    let mut say = || world.say(AFTER, "ecg-1", "his ORU^R01");
    for _ in 0..50 {
        assert_eq!(say(), [""; 0]);
    }
    let words = "1 sends too much: 51 messages in a minute, 5 before";
    assert_eq!(say(), [words]);
    assert_eq!(say(), [""; 0]);
    // Slowly, too: of the hour.
    let mut world = World::new();
    world.learn("ecg-1");
    let told: Vec<String> = (0..61)
        .flat_map(|minute| world.say(AFTER + f64::from(minute) / 61.0, "ecg-1", "his ORU^R01"))
        .collect();
    assert_eq!(told, ["1 sends too much: 61 messages in an hour, 1 before"]);
}

#[test]
fn an_unusual_hour_is_told() {
    let mut world = World::new();
    world.learn("ecg-1");
    // At 9, 11, 13 and 15 it was there; 8 to 16 is near enough, on each day from Monday to Friday.
    for hour in [-1.0, 0.0, 1.0, 7.0] {
        assert_eq!(world.say(AFTER + hour, "ecg-1", "his ORU^R01"), [""; 0]);
    }
    let night = "1 is there at an unusual hour: mon 19:00";
    assert_eq!(world.say(AFTER + 10.0, "ecg-1", "his ORU^R01"), [night]);
    let saturday = "2 is there at an unusual hour: sat 09:00";
    assert_eq!(world.say(AFTER + 120.0, "ecg-1", "his ORU^R01"), [saturday]);
    world.behaviour.accept(&name("ecg-1"));
    assert_eq!(world.say(AFTER + 144.0, "ecg-1", "his ORU^R01"), [""; 0]);
    // Who is watched for less than a week has no usual hours.
    world.learn = Duration::from_hours(24);
    assert_eq!(world.say(AFTER + 178.0, "ecg-1", "his ORU^R01"), [""; 0]);
}

#[test]
fn hours_are_those_of_the_zone_when_its_clocks_change() {
    let mut world = World::new();
    world.wall = "2026-10-12T06:00:00Z".parse().unwrap();
    world.learn("ecg-1");
    // It was there from 8 to 14 in Paris, which was UTC+2 until the 25th and is UTC+1 now: this is 15, not 16.
    assert_eq!(world.say(AFTER + 8.0, "ecg-1", "his ORU^R01").len(), 0);
    assert_eq!(world.say(AFTER + 10.0, "ecg-1", "his ORU^R01").len(), 1);
}

#[test]
fn a_step_of_the_clock_neither_ends_the_learning_nor_makes_a_rate() {
    let mut world = World::new();
    world.say(0.0, "ecg-1", "his ORU^R01");
    // A month ahead, and back by a day.
    assert_eq!(world.say_at(1.0, 721.0, "ecg-1", "his ADT^A01"), [""; 0]);
    assert_eq!(world.say_at(2.0, -22.0, "ecg-1", "his ADT^A03"), [""; 0]);
    let mut world = World::new();
    world.learn("ecg-1");
    // From Monday to Tuesday and back: another day of the kind.
    for hours in [24.0, 0.0, -72.0] {
        assert_eq!(
            world.say_at(AFTER, AFTER + hours, "ecg-1", "his ORU^R01"),
            [""; 0]
        );
    }
    // To Sunday: told once, and nothing else.
    let told = world.say_at(AFTER, AFTER - 24.0, "ecg-1", "his ORU^R01");
    assert_eq!(told, ["1 is there at an unusual hour: sun 09:00"]);
    assert_eq!(
        world.say_at(AFTER, AFTER - 24.0, "ecg-1", "his ORU^R01"),
        [""; 0]
    );
}

#[test]
fn what_is_refused_is_not_learnt() {
    let mut world = World::new();
    world.learn("ecg-1");
    world.say(AFTER - 1.0, "ecg-1", "!his ADT^A01");
    assert_eq!(world.say(AFTER, "ecg-1", "!his ADT^A01").len(), 1);
}

#[test]
fn what_is_ignored_leaves_no_trace() {
    let mut world = World::new();
    world.learn("ecg-1");
    world.reaction = Reaction::Ignore;
    assert_eq!(world.say(AFTER, "ecg-1", "his ADT^A01"), [""; 0]);
    assert_eq!(world.behaviour.alerts(None).count(), 0);
    world.reaction = Reaction::Quarantine;
    assert_eq!(world.say(AFTER, "ecg-1", "his ADT^A01").len(), 1);
    assert!(world.behaviour.alerts(None).all(|alert| alert.quarantines));
}

/// As when another rule or a new policy says so.
#[test]
fn what_leads_to_quarantine_does_not_hide_in_an_alert_that_did_not() {
    let mut world = World::new();
    world.learn("ecg-1");
    assert_eq!(world.say(AFTER, "ecg-1", "his ADT^A01").len(), 1);
    world.reaction = Reaction::Quarantine;
    let again = "2 sends MDM^T02 to his for the first time";
    assert_eq!(world.say(AFTER + 0.1, "ecg-1", "his MDM^T02"), [again]);
    // Who released it knows of it.
    assert_eq!(world.say(AFTER + 0.2, "ecg-1", "his MDM^T02"), [""; 0]);
    world.reaction = Reaction::Alert;
    assert_eq!(world.say(AFTER + 0.3, "ecg-1", "his ADT^A01"), [""; 0]);
    let alerts = world.behaviour.alerts(None);
    let told: Vec<_> = alerts.map(|one| (one.quarantines, one.amount)).collect();
    assert_eq!(told, [(true, 3), (false, 1)]);
}

#[test]
fn a_device_that_says_a_hundred_thousand_things_is_bounded() {
    let settings = Settings {
        learn: LEARN,
        rate_factor: 10,
        zone: &TimeZone::UTC,
    };
    let mut world = World::new();
    let mut told = Vec::new();
    for number in 0..100_000 {
        told.extend(world.say(0.1, "a", &format!("his Z{number}^Z01 1.2.{number}")));
    }
    assert_eq!(
        told,
        ["1 says too many different things: more than 64 things"]
    );
    for number in 0..100_000 {
        told.extend(world.say(AFTER + 1.0, "a", &format!("his Y{number}^Z01 1.3.{number}")));
    }
    // As many in a minute were learnt, and the hour is the next.
    assert_eq!(told.len(), 2, "{told:?}");
    let habit = world
        .behaviour
        .habit(&name("a"), &settings, world.begin)
        .unwrap();
    assert_eq!(habit.lines.len(), 64);
    assert!(
        world
            .behaviour
            .alerts(None)
            .all(|alert| alert.values.len() <= 8)
    );
    let kept = serde_json::to_vec(&world.behaviour.shards).unwrap().len();
    assert!(kept < 32 << 10, "{kept} bytes");
    world.behaviour.accept(&name("a"));
    let long = "x".repeat(1 << 20);
    world.say(AFTER + 2.0, "a", &format!("his {long} {long}"));
    let kept = serde_json::to_vec(&world.behaviour.shards).unwrap().len();
    assert!(kept < 32 << 10, "{kept} bytes");
}

#[test]
fn ten_thousand_devices_have_room_and_alerts_are_bounded() {
    let mut world = World::new();
    let before = resident();
    for number in 0..10_000 {
        for said in [
            "his ORU^R01",
            "his ACK",
            "pacs C-ECHO 1.2.840.10008.1.1",
            "pacs C-STORE 1.2.840.10008.5.1.4.1.1.6.1",
        ] {
            world.say(0.0, &format!("device-{number}"), said);
        }
    }
    let each = resident().saturating_sub(before) / 10_000;
    eprintln!("{each} bytes a device");
    assert!(each < 4096, "{each} bytes a device");
    let told: usize = (0..10_000)
        .map(|number| {
            world
                .say(AFTER + 10.0, &format!("device-{number}"), "his ADT^A01")
                .len()
        })
        .sum();
    // A new message, at an unusual hour.
    assert_eq!(told, 20_000);
    assert_eq!(world.behaviour.alerts(None).count(), 1024);
}

/// Bytes of this process in memory.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = pages.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[test]
fn what_was_learnt_outlives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let shelf = Shelf::new(directory.path());
    let mut world = World::new();
    world.learn("ecg-1");
    world.say(0.0, "gone", "his ORU^R01");
    world.say(AFTER, "ecg-1", "his ADT^A01");
    let now = world.begin + Duration::from_hours(14 * 24);
    let mut parts = 0;
    while let Some(part) = world.behaviour.next_part(now, |one| one.as_str() != "gone") {
        shelf.write(&part).unwrap();
        parts += 1;
    }
    assert!((2..=3).contains(&parts), "{parts}");
    let (behaviour, wrong) = shelf.read(world.begin);
    assert_eq!(wrong, [""; 0]);
    world.behaviour = behaviour;
    let known: Vec<&str> = world.behaviour.devices().map(DeviceName::as_str).collect();
    assert_eq!(known, ["ecg-1"]);
    assert_eq!(world.behaviour.alerts(None).count(), 1);
    // It was watched for two weeks before, so it learns no more.
    assert_eq!(world.say(0.0, "ecg-1", "his ORU^R01"), [""; 0]);
    let words = "2 sends MDM^T02 to his for the first time";
    assert_eq!(world.say(0.0, "ecg-1", "his MDM^T02"), [words]);
    world.behaviour.accept(&name("ecg-1"));
    assert_eq!(world.say(0.1, "ecg-1", "his ADT^A01"), [""; 0]);
}

#[test]
fn a_damaged_file_is_put_aside_and_said() {
    let directory = tempfile::tempdir().unwrap();
    let shelf = Shelf::new(directory.path());
    let mut world = World::new();
    world.learn("ecg-1");
    let part = world.behaviour.next_part(world.begin, |_| true).unwrap();
    shelf.write(&part).unwrap();
    let folder = directory.path().join("behaviour");
    let file = std::fs::read_dir(&folder).unwrap().next().unwrap().unwrap();
    std::fs::write(file.path(), b"{\"version\":1,\"content\":{\"ecg-1\"").unwrap();
    let (behaviour, wrong) = shelf.read(world.begin);
    assert_eq!((behaviour.devices().count(), wrong.len()), (0, 1));
    assert!(
        wrong[0].contains("it is damaged; it is kept as"),
        "{wrong:?}"
    );
    assert!(file.path().with_extension("damaged").exists());
    assert_eq!(shelf.read(world.begin).1, [""; 0]);
}

#[test]
fn a_device_can_be_learnt_anew() {
    let mut world = World::new();
    world.learn("ecg-1");
    assert_eq!(world.say(AFTER, "ecg-1", "his ADT^A01").len(), 1);
    let now = world.begin + Duration::from_hours(14 * 24);
    assert!(world.behaviour.relearn(&name("ecg-1"), now));
    assert!(!world.behaviour.relearn(&name("ecg-2"), now));
    assert_eq!(world.say(AFTER + 0.1, "ecg-1", "his MDM^T02"), [""; 0]);
}
