//! Application acknowledgements that come on another connection than their message; each beside the one that is dropped.

use super::*;

/// Two connections of one device to one service, the first with a message that was committed.
fn two() -> (Script, Script) {
    let mut one = Script::new();
    one.device(&message("1", "AL|AL")).connected();
    one.hospital(&answer("CA", "1"));
    let mut two = Script::with(one.session.exchange.clone());
    two.device(&message("2", "AL|NE")).connected();
    two.hospital(&answer("CA", "2"));
    (one, two)
}

fn outcomes(s: &Script, what: Subject) -> Vec<(Outcome, Option<&str>)> {
    let of = s.decisions.iter().filter(|d| d.what == what);
    of.map(|d| (d.outcome, d.answer.as_deref())).collect()
}

#[test]
fn an_answer_on_another_connection_goes_to_where_its_message_came_from() {
    let (mut one, mut two) = two();
    two.hospital(&answer_asking("AA", "1", "H9"));
    assert!(two.told().ends_with("wake"), "{}", two.told());
    one.woken();
    assert!(one.told().contains("forward to device"), "{}", one.told());
    assert_eq!(
        outcomes(&one, Subject::Answer),
        [(Outcome::Forwarded, Some("AA"))]
    );
    // The device's own accept acknowledgement goes back to where the answer came from.
    let before = two.sent.len();
    one.device(&acknowledge("CA", "H9"));
    two.woken();
    assert_eq!(two.sent[before..], acknowledge("CA", "H9")[..]);
    assert_eq!(
        outcomes(&two, Subject::Answer),
        [(Outcome::Forwarded, Some("CA"))]
    );
    // Both are said once: the same again is a message under the rules, or an answer to nothing.
    one.device(&acknowledge("CA", "H9"));
    two.woken().hospital(&answer("AA", "1"));
    assert_eq!(two.sent.len(), before + acknowledge("CA", "H9").len());
    assert_eq!(
        outcomes(&two, Subject::Answer).last(),
        Some(&(Outcome::Refused, None))
    );
}

/// The destination counts on each of its connections anew.
#[test]
fn an_acknowledgement_goes_where_the_answer_came_from_that_was_heard_there() {
    for first in [1, 2] {
        let (mut one, mut two) = two();
        two.device(&message("3", "AL|AL"));
        two.hospital(&answer("CA", "3"));
        one.hospital(&answer_asking("AA", "1", "H9"));
        two.hospital(&answer_asking("AA", "3", "H9"));
        let before = [one.sent.len(), two.sent.len()];
        let length = acknowledge("CA", "H9").len();
        let mut three = Script::with(one.session.exchange.clone());
        three.device(&acknowledge("CA", "H9"));
        one.woken();
        two.woken();
        assert_eq!([one.sent.len(), two.sent.len()], before, "to whom?");
        let mut went = before;
        for now in [first, 3 - first] {
            let s = if now == 1 { &mut one } else { &mut two };
            s.device(&acknowledge("CA", "H9"));
            went[now - 1] += length;
            one.woken();
            two.woken();
            assert_eq!([one.sent.len(), two.sent.len()], went);
        }
    }
}

/// Where there is no doubt, the device may acknowledge on any connection.
#[test]
fn an_acknowledgement_on_another_connection_goes_to_the_only_one_that_fits() {
    let (mut one, _two) = two();
    one.hospital(&answer_asking("AA", "1", "H9"));
    let before = one.sent.len();
    let mut three = Script::with(one.session.exchange.clone());
    three.device(&acknowledge("CA", "H9"));
    one.woken();
    assert_eq!(one.sent.len(), before + acknowledge("CA", "H9").len());
}

#[test]
fn where_the_connection_of_the_message_is_gone_another_hears_the_answer() {
    for reset in [false, true] {
        let (mut one, mut two) = two();
        one.device_ends(reset);
        two.hospital(&answer("AA", "1"));
        assert_eq!(
            outcomes(&two, Subject::Answer),
            [(Outcome::Forwarded, Some("AA"))]
        );
    }
}

#[test]
fn an_answer_on_a_lingering_connection_goes_to_a_new_one() {
    let (mut one, _) = two();
    let mut three = Script::with(one.session.exchange.clone());
    one.device_ends(false);
    one.hospital(&answer_asking("AA", "1", "H9"));
    three.woken();
    assert!(
        three.told().contains("forward to device"),
        "{}",
        three.told()
    );
    let before = one.sent.len();
    three.device(&acknowledge("CA", "H9"));
    one.woken();
    assert_eq!(one.sent[before..], acknowledge("CA", "H9")[..]);
    assert!(
        one.told().ends_with("close device\nclose hospital"),
        "nothing more is awaited: {}",
        one.told()
    );
}

#[test]
fn where_nobody_hears_the_answer_is_on_record_as_undelivered() {
    let (mut one, mut two) = two();
    two.device_ends(true);
    one.device_ends(true);
    assert!(one.told().ends_with("close hospital"), "{}", one.told());
    let (mut one, mut two) = self::two();
    two.hospital(&answer("AA", "1"));
    one.device_ends(true);
    assert_eq!(
        outcomes(&one, Subject::Answer),
        [(Outcome::Undelivered, None)],
        "what was left for it is not forgotten"
    );
    drop(two);
}

#[test]
fn another_device_or_service_has_no_part_in_it() {
    let (one, _) = two();
    let mut other = Script::new();
    other.device(&message("7", "")).connected();
    other
        .hospital(&answer("AA", "7"))
        .hospital(&answer("AA", "1"));
    assert_eq!(
        outcomes(&other, Subject::Answer),
        [(Outcome::Refused, None)]
    );
    assert!(one.session.exchange().concerns(one.session.number));
}

#[test]
fn an_answer_that_overtakes_the_commit_is_taken() {
    let mut one = Script::new();
    one.device(&message("1", "AL|AL")).connected();
    let mut two = Script::with(one.session.exchange.clone());
    two.device(&message("2", "NE|NE")).connected();
    two.hospital(&answer("AA", "1"));
    one.woken().hospital(&answer("CA", "1"));
    assert_eq!(
        one.out
            .iter()
            .filter(|line| line.starts_with("forward to device"))
            .count(),
        2
    );
}

//= C6
#[test]
fn a_failure_on_another_connection_lets_the_message_go_up_again() {
    for (code, times) in [("AE", 2), ("AR", 2), ("AA", 1)] {
        let (mut one, mut two) = two();
        two.hospital(&answer(code, "1"));
        one.woken().device(&message("1", "AL|AL"));
        assert_eq!(one.sent, message("1", "AL|AL").repeat(times), "{code}");
    }
}

#[test]
fn an_accept_code_counts_on_its_own_connection_only() {
    let mut one = Script::new();
    one.device(&message("1", "ER|NE")).connected();
    let mut two = Script::with(one.session.exchange.clone());
    two.device(&message("2", "NE|NE"))
        .connected()
        .hospital(&answer("CE", "1"));
    assert_eq!(outcomes(&two, Subject::Answer), [(Outcome::Refused, None)]);
    one.hospital(&answer("CE", "1"));
    assert_eq!(
        outcomes(&one, Subject::Answer),
        [(Outcome::Forwarded, Some("CE"))]
    );
}

#[test]
fn the_hospital_may_answer_after_it_hung_up_and_was_called_again() {
    let (mut one, _) = two();
    one.hospital_ends().device(&message("3", "AL|NE"));
    one.connected()
        .hospital(&answer("CA", "3"))
        .hospital(&answer("AA", "1"));
    assert_eq!(
        outcomes(&one, Subject::Answer),
        [(Outcome::Forwarded, Some("AA"))]
    );
}
