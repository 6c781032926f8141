//! Refusals in the language of the user.

use super::*;

//= HL7 v2.5.1 2.15.5.8
#[test]
fn users_are_told_in_their_language() {
    let mut s = Script::new();
    s.session.language = Language::French;
    let bare = message("1", "").replace(b"PID|1", b"PID|\\1");
    let declared = |set: &str| {
        let text = String::from_utf8(bare.clone()).unwrap();
        let (head, rest) = text.split_once('\r').unwrap();
        let fields = head.split('|').count();
        // MSH-18 is behind 17 delimiters.
        let empty = "|".repeat(18 - fields);
        format!("{head}{empty}{set}\r{rest}").into_bytes()
    };
    s.say("-- the character set has no accents").device(&bare);
    s.say("-- it has").device(&declared("UNICODE UTF-8"));
    s.say("-- before version 2.5")
        .device(&bare.replace(b"|2.5", b"|2.3"));
    insta::assert_snapshot!(s.told());
}
