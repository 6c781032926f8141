//! Release 2 of MLLP: who commits what, and when.

use super::*;

const ACK: &[u8] = b"\x0b\x06\x1c\r";
const NAK: &[u8] = b"\x0b\x15\x1c\r";

fn release_2() -> Script {
    let mut s = Script::new();
    let mut policy = policy();
    if let ProtocolPolicy::Hl7(hl7) = &mut policy.protocol {
        hl7.release_2 = true;
    }
    s.session = Hl7Session::new(&policy, Arc::default(), s.start, wall(0));
    s
}

/// What was said since the last time: `d+`, `h-` for commits, `d`, `h` for anything else.
fn said(s: &mut Script) -> String {
    let lines = std::mem::take(&mut s.out);
    let short = lines.iter().filter_map(|line| {
        let to = if line.contains("ospital") { "h" } else { "d" };
        match line.split_whitespace().next() {
            Some("speak") if line.ends_with('\x06') => Some(format!("{to}+")),
            Some("speak") if line.ends_with('\x15') => Some(format!("{to}-")),
            Some("speak" | "forward") => Some(to.to_owned()),
            Some("close") => Some("close".to_owned()),
            _ => None,
        }
    });
    short.collect::<Vec<_>>().join(" ")
}

//= C6
#[test]
fn a_commit_is_given_when_it_was_given() {
    let mut s = release_2();
    s.device(&message("1", ""));
    assert_eq!(said(&mut s), "", "nothing before the destination has it");
    s.connected();
    assert_eq!(said(&mut s), "h");
    s.hospital(ACK);
    assert_eq!(said(&mut s), "d+");
    s.hospital(&answer("AA", "1"));
    assert_eq!(said(&mut s), "d", "the device has not committed the answer");
    s.device(ACK);
    assert_eq!(said(&mut s), "h+");
    assert_eq!(s.decisions.len(), 1);
    s.device(&message("2", "")).hospital(ACK);
    s.hospital(&answer("AE", "2")).device(NAK);
    assert_eq!(said(&mut s), "h d+ d h-");
    assert!(s.session.idle());
}

#[test]
fn what_the_destination_does_not_commit_is_not_taken() {
    let mut s = release_2();
    s.device(&message("1", "")).connected().hospital(NAK);
    assert_eq!(said(&mut s), "h d-");
    assert_eq!(s.decisions[0].outcome, Outcome::Undelivered);
    s.device(&message("1", "")).hospital(ACK);
    s.hospital(&answer("AA", "1")).device(ACK);
    assert_eq!(said(&mut s), "h d+ d h+", "it goes up again");
    s.device(&message("1", "")).device(ACK);
    assert_eq!(said(&mut s), "d+ d", "and is known now");
}

#[test]
fn what_we_refuse_is_not_committed_and_says_why() {
    let mut s = release_2();
    let bad = message("1", "").replace(b"PID|1", b"PID|\\1");
    s.device(&bad);
    assert_eq!(said(&mut s), "d- d");
    // The next words wait until the first are committed.
    s.device(&bad);
    assert_eq!(said(&mut s), "d-");
    s.device(ACK);
    assert_eq!(said(&mut s), "d");
    s.device(ACK).device(&message("2", "")).connect_failed();
    assert_eq!(said(&mut s), "d- d");
    s.device(NAK).device(&message("3", "")).connected();
    assert_eq!(said(&mut s), "h");
}

#[test]
fn a_message_that_waits_for_nothing_waits_for_its_commit() {
    for (commit, outcome) in [(ACK, Outcome::Forwarded), (NAK, Outcome::Undelivered)] {
        let mut s = release_2();
        s.device(&message("1", "NE|NE")).device(&message("2", ""));
        s.connected();
        assert_eq!(s.sent, message("1", "NE|NE"));
        s.hospital(commit);
        assert_eq!(
            s.sent.len(),
            message("1", "NE|NE").len() + message("2", "").len()
        );
        assert_eq!(s.decisions[0].outcome, outcome);
    }
}

#[test]
fn an_answer_before_the_commit_is_none() {
    for early in [false, true] {
        let mut s = release_2();
        s.device(&message("1", "")).connected();
        if !early {
            s.hospital(ACK);
        }
        s.hospital(&answer("AA", "1"));
        assert_eq!(said(&mut s), if early { "h h-" } else { "h d+ d" });
    }
}

#[test]
fn answers_that_belong_to_nothing_are_not_committed() {
    let mut s = release_2();
    s.device(&message("1", "")).connected().hospital(ACK);
    s.hospital(&answer("AA", "2"));
    assert_eq!(said(&mut s), "h d+ h-");
}

#[test]
fn the_devices_own_acknowledgement_is_committed_by_the_destination() {
    let mut s = release_2();
    s.device(&message("1", "AL|AL")).connected().hospital(ACK);
    s.hospital(&answer("CA", "1")).device(ACK);
    s.hospital(&answer_asking("AA", "1", "H9")).device(ACK);
    assert_eq!(said(&mut s), "h d+ d h+ d h+");
    s.device(&acknowledge("CA", "H9"));
    assert_eq!(said(&mut s), "h");
    s.device(&message("2", ""));
    assert_eq!(said(&mut s), "", "one block at a time");
    s.hospital(ACK);
    assert_eq!(said(&mut s), "d+ h");
    s.hospital(ACK).hospital(&answer("AA", "2")).device(ACK);
    assert_eq!(said(&mut s), "d+ d h+");
}

#[test]
fn no_commit_in_time_ends_both_legs() {
    for of_device in [false, true] {
        let mut s = release_2();
        s.device(&message("1", "")).connected();
        if of_device {
            s.hospital(ACK).hospital(&answer("AA", "1"));
        }
        s.later(29_999);
        assert!(s.session.deadline().is_some());
        s.later(1);
        assert!(s.session.deadline().is_none(), "{}", s.told());
        assert!(s.told().ends_with("close hospital reset"));
    }
}

#[test]
fn a_commit_that_nobody_waits_for_ends_both_legs() {
    let mut s = release_2();
    s.device(ACK);
    assert!(s.told().ends_with("close hospital reset"), "{}", s.told());
    let mut s = release_2();
    s.device(&message("1", "")).connected();
    s.hospital(ACK).hospital(ACK);
    assert!(s.told().ends_with("close hospital reset"), "{}", s.told());
    assert_eq!(s.decisions.last().unwrap().outcome, Outcome::Unanswered);
}

#[test]
fn a_device_that_hangs_up_commits_nothing() {
    for reset in [false, true] {
        let mut s = release_2();
        s.device(&message("1", "")).connected().hospital(ACK);
        s.hospital(&answer("AA", "1")).device_ends(reset);
        assert_eq!(said(&mut s), "h d+ d h- close close");
        let mut s = release_2();
        s.device(&message("1", "")).connected().device_ends(reset);
        s.hospital(ACK).hospital(&answer("AA", "1"));
        assert!(said(&mut s).contains("h-"), "{reset}");
        assert!(s.session.deadline().is_none());
    }
}

/// The destination hung up before the device committed its answer, and was called again.
#[test]
fn a_late_commit_is_not_for_the_next_connection() {
    for commit in [ACK, NAK] {
        let mut s = release_2();
        s.device(&message("1", "")).connected().hospital(ACK);
        s.hospital(&answer("AA", "1")).hospital_ends();
        s.device(&message("2", "")).connected();
        assert_eq!(said(&mut s), "h d+ d close h");
        s.device(commit);
        assert_eq!(said(&mut s), "", "nobody is there who waits for it");
        s.hospital(ACK).hospital(&answer("AA", "2")).device(ACK);
        assert_eq!(said(&mut s), "d+ d h+", "the next is");
        assert_eq!(s.decisions.len(), 2);
    }
}

/// As before, of an answer that waited until the device had committed another.
#[test]
fn nor_is_that_of_an_answer_which_waited() {
    for hangs_up in [false, true] {
        let mut s = release_2();
        s.device(&message("1", "AL|AL")).connected().hospital(ACK);
        s.hospital(&answer("CA", "1"));
        s.hospital(&answer_asking("AA", "1", "H9"));
        assert_eq!(said(&mut s), "h d+ d", "one block at a time");
        if hangs_up {
            s.hospital_ends().device(&message("2", ""));
        }
        s.device(ACK);
        assert_eq!(said(&mut s), if hangs_up { "d close" } else { "h+ d" });
        if hangs_up {
            s.connected();
            assert_eq!(said(&mut s), "h");
        }
        s.device(ACK);
        assert_eq!(said(&mut s), if hangs_up { "" } else { "h+" });
    }
}

#[test]
fn release_1_refuses_commits_as_content() {
    for bytes in [ACK, NAK] {
        let mut s = Script::new();
        s.device(bytes);
        assert!(s.told().ends_with("close device\nclose hospital"));
        assert_eq!(s.decisions[0].outcome, Outcome::Refused);
        let mut s = Script::new();
        s.device(&message("1", "")).connected().hospital(bytes);
        s.hospital(&answer("AA", "1"));
        assert_eq!(said(&mut s), "h d", "the commit is dropped");
    }
}
