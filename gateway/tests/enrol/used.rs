//! What a token that was used is still good for, and what its bearer may say.

use super::*;

//= C9
#[test]
fn a_used_token_gives_nothing_to_who_is_contained() {
    if std::env::var_os(INSIDE).is_none() {
        return again("used::a_used_token_gives_nothing_to_who_is_contained");
    }
    let _gateway = begin();
    let certified = token(&["--role", "ecg-home", "--device", "ecg-1", "--approve"]);
    let csr = made("one", "ec -pkeyopt ec_paramgen_curve:P-256", "/CN=ecg-1");
    let basic = format!("x:{certified}");
    let path = ".well-known/est/simpleenroll";
    let enroll = || post(&["-u", &basic], path, PKCS10, &csr);
    let keyed = token(&["--role", "ecg-home", "--device", "ecg-2", "--approve"]);
    let place = format!(r#"{{"public_key":"{}"}}"#, key(1));
    let place = || tunnel(&keyed, &place);
    let both = || [enroll().0, place().0];
    assert_eq!(both(), [200, 200]);
    assert_eq!(both(), [200, 200], "who did not hear the answer");
    for (change, wanted, told) in [
        ("quarantine", [403, 403], "is quarantined"),
        ("release", [200, 200], ""),
        ("revoke", [403, 403], "is revoked"),
    ] {
        for device in ["ecg-1", "ecg-2"] {
            let changed = lazaret(&["device", change, device]);
            assert!(changed.status.success(), "{}", said_by(&changed));
        }
        assert_eq!(both(), wanted, "{change}");
        assert!(place().1.contains(told), "{}", place().1);
    }
    until_in_journal("device ecg-2 is revoked");
}

/// What the bearer says of the device goes into the registry and to the terminals of operators.
//= C7
#[test]
fn a_serial_number_is_one_short_line_whoever_says_it() {
    if std::env::var_os(INSIDE).is_none() {
        return again("used::a_serial_number_is_one_short_line_whoever_says_it");
    }
    let _gateway = begin();
    let keyed = token(&["--role", "ecg-home", "--device", "ecg-1"]);
    let (most, more) = ("x".repeat(64), "x".repeat(65));
    for (serial, wanted) in [
        (more.as_str(), 400),
        ("", 400),
        ("SN\\n1", 400),
        ("SN\\u00001", 400),
        (&most, 200),
    ] {
        let body = format!(r#"{{"public_key":"{}","serial":"{serial}"}}"#, key(1));
        let (status, said) = tunnel(&keyed, &body);
        assert_eq!(status, wanted, "{serial}: {said}");
    }
    let certified = token(&["--role", "ecg-home", "--device", "ecg-2"]);
    let basic = format!("x:{certified}");
    let path = ".well-known/est/simpleenroll";
    let csr = made("one", "ec -pkeyopt ec_paramgen_curve:P-256", "/CN=ecg-2");
    let named = |serial: &str| {
        let header = format!("X-Device-Serial: {serial}");
        post(&["-u", &basic, "-H", &header], path, PKCS10, &csr).0
    };
    assert_eq!((named(&more), named("SN-2")), (400, 200));
}

/// The answer was lost, or could not be kept.
#[test]
fn a_machine_that_did_not_keep_its_certificate_asks_again() {
    if std::env::var_os(INSIDE).is_none() {
        return again("used::a_machine_that_did_not_keep_its_certificate_asks_again");
    }
    let _gateway = begin();
    let token = token(&["--role", "ecg-home", "--device", "station-1"]);
    let ask = || {
        let request = [
            LAZARET, "enroll", "request", URL, &token, "--out", "/run/own",
        ];
        home(&request)
    };
    std::fs::create_dir_all("/run/own/enrolment.json/full").unwrap();
    assert!(!ask().status.success());
    let known = json(&["device", "list", "--pending"]);
    assert_eq!(known["devices"][0]["device"], "station-1");
    std::fs::remove_dir_all("/run/own/enrolment.json").unwrap();
    let asked = ask();
    assert!(asked.status.success(), "{}", said_by(&asked));
    // Nobody else hears it again.
    std::fs::rename("/run/own", "/run/other").unwrap();
    std::fs::remove_file("/run/other/device.pem").unwrap();
    let other = [
        LAZARET,
        "enroll",
        "request",
        URL,
        &token,
        "--out",
        "/run/other",
    ];
    assert!(said_by(&home(&other)).contains("401"));
}
