//! What is kept, what is told to the database, and what is not believed.

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

fn name(text: &str) -> DeviceName {
    text.parse().unwrap()
}

fn decision(outcome: Outcome) -> Decision {
    Decision {
        from: Side::Device,
        what: Subject::Message,
        kind: "C-STORE".to_owned(),
        rule: None,
        outcome,
        reason: Some("forbidden".to_owned()),
        location: None,
        detail: None,
        answer: None,
        length: 1,
        digest: None,
        identifier: None,
        micros: 0,
        warnings: Vec::new(),
        would_refuse: None,
        observed: vec![
            Observed::SopClass("1.2.3".to_owned()),
            Observed::Software("PROBE 4".to_owned()),
        ],
    }
}

fn values(inventory: &Inventory, device: &str) -> Vec<String> {
    let all = inventory.sheet(&name(device)).into_iter();
    all.map(|one| format!("{} {} {}", one.what, one.value, one.amount))
        .collect()
}

#[test]
fn what_was_forwarded_is_known_and_of_refusals_only_the_reason() {
    let mut inventory = Inventory::default();
    let (us, pacs) = (name("us-1"), "pacs".parse().unwrap());
    for seconds in [10, 20] {
        inventory.decided(&us, &pacs, &decision(Outcome::Forwarded), at(seconds));
    }
    let mut invented = decision(Outcome::Refused);
    invented.kind = "C-INVENTED".to_owned();
    inventory.decided(&us, &pacs, &invented, at(30));
    let mut answer = decision(Outcome::Forwarded);
    answer.from = Side::Hospital;
    inventory.decided(&us, &pacs, &answer, at(40));
    let wanted = [
        "service pacs 2",
        "message C-STORE 2",
        "sop-class 1.2.3 2",
        "software PROBE 4 2",
        "refused forbidden 1",
    ];
    assert_eq!(values(&inventory, "us-1"), wanted);
    assert_eq!(inventory.latest(&us, What::Software), Some("PROBE 4"));
    let service = &inventory.sheet(&us)[0];
    assert_eq!((service.first, service.last), (at(10), at(20)));
}

//= C7
#[test]
fn whatever_is_said_there_is_a_bound() {
    let mut inventory = Inventory::default();
    let us = name("us-1");
    for number in 0..1000 {
        let value = format!("192.0.2.{number}");
        inventory.note(&us, What::Address, &value, Seen::at(at(number), 1));
        inventory.note_stranger("key", &value, "K", Seen::at(at(number), 1));
        inventory.note_stranger("key", &value, "L", Seen::at(at(number), 1));
    }
    let addresses = inventory.sheet(&us);
    assert_eq!(addresses.len(), MOST_OF_A_KIND);
    assert_eq!(inventory.latest(&us, What::Address), Some("192.0.2.999"));
    assert_eq!(inventory.strangers().len(), MOST_STRANGERS);
    assert_eq!(inventory.strangers()[0].source, "192.0.2.999");
    let long = "x".repeat(LONGEST_VALUE + 1);
    for bad in [long.as_str(), "a\u{1b}[2J"] {
        inventory.note(&us, What::Software, bad, Seen::at(at(0), 1));
    }
    assert_eq!(inventory.latest(&us, What::Software), None);
    // The twin.
    inventory.note(&us, What::Software, &long[1..], Seen::at(at(0), 1));
    assert_eq!(inventory.latest(&us, What::Software), Some(&long[1..]));
}

#[test]
fn the_database_is_told_everything_once() {
    let begin = Instant::now();
    let minutes = |count| begin + Duration::from_mins(count);
    let mut inventory = Inventory::default();
    let us = name("us-1");
    let see = |inventory: &mut Inventory, amount| {
        inventory.note(&us, What::Bytes, "sent", Seen::at(at(0), amount));
    };
    see(&mut inventory, 5);
    inventory.note_stranger("source", "192.0.2.1", "", Seen::at(at(0), 1));
    // What it knows already is not told again.
    let known = Sighting {
        device: name("us-1"),
        what: What::Bytes,
        value: "sent".to_owned(),
        seen: Seen::at(at(-100), 1000),
    };
    inventory.remember(vec![known.clone()], Vec::new());
    inventory.remember(vec![known], Vec::new());
    assert_eq!(values(&inventory, "us-1"), ["bytes sent 1005"]);
    let (seen, strange) = inventory.tell(minutes(0)).unwrap();
    assert_eq!((seen[0].seen.amount, strange.len()), (5, 1));
    see(&mut inventory, 2);
    assert!(
        inventory.tell(minutes(1)).is_none(),
        "it did not answer yet"
    );
    // It could not write that.
    inventory.noted(false);
    let (seen, strange) = inventory.tell(minutes(2)).unwrap();
    assert_eq!((seen[0].seen.amount, strange.len()), (7, 1));
    inventory.noted(true);
    assert!(inventory.tell(minutes(3)).is_none());
    see(&mut inventory, 1);
    let (seen, strange) = inventory.tell(minutes(4)).unwrap();
    assert_eq!((seen[0].seen.amount, strange.len()), (1, 0));
    // It never answers: that is told again, if late.
    assert!(inventory.tell(minutes(5)).is_none());
    let (seen, _) = inventory.tell(minutes(9)).unwrap();
    assert_eq!(seen[0].seen.amount, 1);
}
