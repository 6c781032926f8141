//! Which code answers which fault, in which mode and version.

use super::*;

/// Of the first words to the device: MSA-1, and the text of the whole.
fn spoken(s: &Script) -> Option<(String, String)> {
    let words = s.out.iter().find(|line| line.starts_with("speak"))?;
    let code = words.split("MSA|").nth(1)?.get(..2)?;
    Some((code.to_owned(), words.clone()))
}

//= HL7 v2.5.1 2.9.2
//= HL7 v2.5.1 2.9.3
#[test]
fn mode_and_conditions_choose_the_code() {
    let header = [(&b"ORU^R01"[..], &b"ADT^A01"[..])];
    let rule = [(&b"|ECG|"[..], &b"|PUMP|"[..])];
    let content = [(&b"PID|1"[..], &b"PID|\\1"[..])];
    for (asked, of_header, of_rule, of_content) in [
        ("", Some("AR"), Some("AR"), Some("AE")),
        ("AL|AL", Some("CR"), Some("CE"), Some("CE")),
        ("AL|NE", Some("CR"), Some("CE"), Some("CE")),
        ("ER|NE", Some("CR"), Some("CE"), Some("CE")),
        ("SU|NE", None, None, None),
        ("SU|AL", Some("AR"), Some("AR"), Some("AE")),
        ("NE|AL", Some("AR"), Some("AR"), Some("AE")),
        ("NE|ER", Some("AR"), Some("AR"), Some("AE")),
        ("NE|SU", None, None, None),
        ("NE|NE", None, None, None),
        ("|AL", Some("AR"), Some("AR"), Some("AE")),
        ("|NE", None, None, None),
    ] {
        for (faults, expected) in [(header, of_header), (rule, of_rule), (content, of_content)] {
            let mut s = Script::new();
            let [(from, to)] = faults;
            s.device(&message("1", asked).replace(from, to));
            let code = spoken(&s).map(|(code, _)| code);
            assert_eq!(code.as_deref(), expected, "{asked}: {}", s.told());
            assert!(s.sent.is_empty() && s.session.deadline().is_some());
        }
    }
}

#[test]
fn a_destination_that_cannot_be_reached_is_no_fault_of_the_message() {
    for (asked, code) in [
        ("", Some("AR")),
        ("AL|NE", Some("CE")),
        ("NE|AL", Some("AR")),
        ("NE|NE", None),
    ] {
        let mut s = Script::new();
        s.device(&message("1", asked)).connect_failed();
        let said = spoken(&s);
        assert_eq!(said.as_ref().map(|(code, _)| code.as_str()), code);
        assert!(said.is_none_or(|(_, text)| text.contains("207^")));
    }
}

//= HL7 v2.5.1 2.15.5
#[test]
fn the_error_segment_is_that_of_the_version() {
    for (version, is_new) in [
        ("2.1", false),
        ("2.2", false),
        ("2.3", false),
        ("2.3.1", false),
        ("2.4", false),
        ("2.5", true),
        ("2.5.1", true),
        ("2.6", true),
        ("2.7.1", true),
        ("2.8.2", true),
    ] {
        let mut s = Script::new();
        let bad = message("1", "").replace(b"PID|1", b"PID|\\1");
        s.device(&bad.replace(b"|2.5", format!("|{version}").as_bytes()));
        let (code, text) = spoken(&s).unwrap();
        let old = text.contains("\n    ERR|PID^1^1^") && text.contains("MSA|AE|1|");
        let new = text.contains("\n    ERR||PID^1^1") && text.contains("MSA|AE|1\n");
        assert_eq!((code.as_str(), old, new), ("AE", !is_new, is_new), "{text}");
        // Whom it was for now says it.
        assert!(text.contains("|HIS|MAIN|ECG|CARDIO|"), "{text}");
        assert!(text.contains(&format!("|P|{version}\n")), "{text}");
    }
}

#[test]
fn what_is_echoed_is_cut() {
    let long = "X".repeat(900);
    let mut s = Script::new();
    let bad = message(&long, "").replace(b"|HIS|", format!("|{long}|").as_bytes());
    s.device(&bad.replace(b"PID|1", b"PID|\\1"));
    let (_, text) = spoken(&s).unwrap();
    let longest = text.split(['|', '\n']).map(str::len).max();
    assert_eq!(longest, Some(227), "{text}");
    assert!(text.contains(&format!("MSA|AE|{}\n", "X".repeat(199))));
}
