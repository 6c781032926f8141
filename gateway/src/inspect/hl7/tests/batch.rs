//! Batches on their way: one frame up, one answer back, remembered under the id of the batch.

use super::*;

fn batch(ids: &[&str], asked: &str) -> Vec<u8> {
    let messages: Vec<u8> = ids
        .iter()
        .flat_map(|id| {
            let framed = message(id, asked);
            framed[1..framed.len() - 2].to_vec()
        })
        .collect();
    let messages = String::from_utf8(messages).unwrap();
    frame(&format!(
        "BHS|^~\\&|ECG|CARDIO|HIS|MAIN|20260101||||B-1\r{messages}BTS|{}\r",
        ids.len()
    ))
}

fn response(acks: &[(&str, &str)]) -> Vec<u8> {
    let acks: Vec<u8> = acks
        .iter()
        .flat_map(|(code, id)| {
            let framed = answer(code, id);
            framed[1..framed.len() - 2].to_vec()
        })
        .collect();
    let acks = String::from_utf8(acks).unwrap();
    frame(&format!(
        "BHS|^~\\&|HIS|MAIN|ECG|CARDIO|20260101||||R-1|B-1\r{acks}BTS\r"
    ))
}

fn carrying() -> Script {
    let mut s = Script::new();
    let mut policy = policy();
    if let ProtocolPolicy::Hl7(hl7) = &mut policy.protocol {
        hl7.rules[0].batches = true;
    }
    s.session.update(&policy);
    s
}

#[test]
fn a_batch_goes_up_as_it_came_and_its_answer_comes_back() {
    for (answer, relayed, remembered) in [
        (answer("AA", "B-1"), true, true),
        (answer("AE", "B-1"), true, false),
        (answer("AA", "1"), false, false),
        (response(&[("AA", "1"), ("AA", "2")]), true, true),
        (response(&[("AA", "1"), ("AE", "2")]), true, false),
        (response(&[("AE", "2")]), true, false),
        (response(&[("AA", "1")]), true, false),
        (response(&[("AA", "1"), ("AA", "3")]), false, false),
    ] {
        let mut s = carrying();
        let sent = batch(&["1", "2"], "");
        s.device(&sent).connected().hospital(&answer);
        assert_eq!(s.sent, sent);
        assert_eq!(
            s.told().contains("forward to device"),
            relayed,
            "{}",
            s.told()
        );
        if relayed {
            s.device(&sent);
            assert_eq!(s.sent.len() == sent.len(), remembered, "{}", s.told());
        } else {
            s.later(30_000);
            assert!(s.session.deadline().is_none());
        }
    }
}

#[test]
fn a_refused_batch_is_refused_whole_and_a_carried_one_is_the_rules_choice() {
    let mut s = carrying();
    let bad = batch(&["1", "2"], "").replace(b"|2|P", b"|2|X");
    s.device(&bad).device(&message("3", "")).connected();
    assert_eq!(s.sent, message("3", ""), "the connection goes on");
    let mut s = Script::new();
    s.device(&batch(&["1"], "")).device(&message("3", ""));
    s.connected();
    assert_eq!(s.sent, message("3", ""));
    insta::assert_snapshot!(s.told());
}

#[test]
fn a_batch_in_enhanced_mode_is_answered_when_its_messages_ask_for_it() {
    let mut s = carrying();
    s.device(&batch(&["1", "2"], "NE|NE")).connected();
    assert!(s.session.idle(), "nothing is waited for");
    s.device(&batch(&["3", "4"], "AL|AL"));
    s.hospital(&answer("CA", "B-1"));
    s.hospital(&response(&[("AA", "3"), ("AA", "4")]));
    let told = s.told();
    assert_eq!(told.matches("forward to device").count(), 2, "{told}");
}
