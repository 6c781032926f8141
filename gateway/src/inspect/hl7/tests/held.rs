//! What is held back begins later, and is not late.

use super::*;

impl Script {
    fn hold(&mut self, held: bool) -> &mut Self {
        self.run(|session, now, wall| session.hold(held, now, wall))
    }
}

//= C8
#[test]
fn what_is_under_way_is_finished_and_the_next_message_waits() {
    let mut s = Script::new();
    s.device(&[message("1", ""), message("2", "")].concat())
        .connected()
        .hold(true)
        .hospital(&answer("AA", "1"));
    assert_eq!(s.sent, message("1", ""));
    assert_eq!(s.decisions.len(), 1);
    assert!(!s.session.wants(Side::Device) && s.session.wants(Side::Hospital));
    s.hold(false).hospital(&answer("AA", "2"));
    assert_eq!(s.sent, [message("1", ""), message("2", "")].concat());
    assert!(s.session.wants(Side::Device));
}

#[test]
fn who_is_held_back_is_not_late() {
    let (whole, mut s) = (message("1", ""), Script::new());
    let (begun, rest) = whole.split_at(30);
    s.device(begun).hold(true).later(29_999).later(600_000);
    assert_eq!(s.told(), "");
    // From now on its time runs.
    s.hold(false).later(29_999).device(rest).connected();
    assert_eq!(s.sent, whole);
    let mut s = Script::new();
    s.device(begun).hold(true).later(600_000).hold(false);
    s.later(30_000);
    assert!(s.told().contains("did not end in time"), "{}", s.told());
}

#[test]
fn a_queue_that_is_held_back_asks_for_no_deadline_before_that_of_silence() {
    let mut s = Script::new();
    s.hold(true)
        .device(&[message("1", ""), message("2", "")].concat());
    assert_eq!(s.session.device.queue.len(), 2);
    let silence = s.start + Duration::from_millis(3_600_000);
    assert_eq!(s.session.deadline(), Some(silence));
}

//= C9
#[test]
fn who_is_held_back_is_ended_all_the_same() {
    let mut s = Script::new();
    s.hold(true).device(&message("1", ""));
    s.end(EndReason::NotAllowed);
    assert!(s.told().ends_with("close device\nclose hospital"));
    assert!(s.session.deadline().is_none());
}
