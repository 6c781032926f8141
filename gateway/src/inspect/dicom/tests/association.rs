//! How associations begin and end.

use super::script::{Script, policy};
use super::words::*;
use super::*;

#[test]
fn an_echo_from_request_to_release() {
    let mut s = Script::new();
    assert!(s.session.idle() && !s.session.wants(Side::Hospital));
    s.device(&rq());
    assert!(!s.session.wants(Side::Device) && !s.session.wants(Side::Hospital));
    s.connected().hospital(&ac(&[1, 3, 5, 7]));
    s.device(&echo(1));
    assert!(!s.session.idle());
    s.hospital(&echo_rsp(1));
    assert!(s.session.idle());
    s.device(&release_rq()).hospital(&release_rp());
    s.say("the device closes").device_ends();
    insta::assert_snapshot!(s.told());
    assert!(s.is_over());
}

#[test]
fn forbidden_contexts_stay_behind() {
    let mut s = Script::new();
    let request = Rq {
        contexts: vec![(1, VERIFICATION), (3, CT), (5, ULTRASOUND)],
        ..Rq::default()
    };
    s.device(&request.bytes()).connected().hospital(&ac(&[1]));
    s.device(&echo(1)).hospital(&echo_rsp(1));
    s.say("a message in a context that was not accepted");
    s.device(&data(3, 3, &store_command(2, CT, "1.2.3")));
    insta::assert_snapshot!(s.told());
    assert!(s.is_over());
}

#[test]
fn without_any_context_the_destination_is_not_asked() {
    let request = Rq {
        contexts: vec![(1, CT)],
        ..Rq::default()
    };
    let mut s = Script::new();
    s.device(&request.bytes())
        .device(&release_rq())
        .device_ends();
    s.say("a message instead");
    let told = s.told();
    let mut s = Script::new();
    s.device(&request.bytes()).device(&echo(1));
    insta::assert_snapshot!(format!("{told}\n{}", s.told()));
}

#[test]
fn rejections() {
    let cases = [
        (
            "calling",
            Rq {
                calling: "US08",
                ..Rq::default()
            },
        ),
        (
            "called",
            Rq {
                called: "PACS2",
                ..Rq::default()
            },
        ),
        (
            "application",
            Rq {
                application: "1.2.3",
                ..Rq::default()
            },
        ),
        (
            "version",
            Rq {
                version: 2,
                ..Rq::default()
            },
        ),
    ];
    let mut told = String::new();
    for (name, request) in cases {
        let mut s = Script::new();
        s.say(name).device(&request.bytes());
        assert!(s.session.wants(Side::Device), "the device closes first");
        s.device(&rq()).later(30_000);
        told += &s.told();
        told.push('\n');
        assert!(s.is_over());
    }
    insta::assert_snapshot!(told);
}

#[test]
fn what_is_not_dicom_is_aborted() {
    let mut s = Script::new();
    s.device(&[0x16, 3, 1, 2, 0, 1])
        .say("a message without an association");
    let mut other = Script::new();
    other.device(&echo(1));
    insta::assert_snapshot!(format!("{}\n{}", s.told(), other.told()));
}

#[test]
fn the_destination_rejects_or_is_not_there() {
    let mut told = String::new();
    type Fate = fn(&mut Script) -> &mut Script;
    let fates: [(&str, Fate); 8] = [
        ("rejects", |s| s.connected().hospital(&rj(1, 1, 7))),
        ("cannot be reached", |s| s.connect_failed()),
        ("is not reached in time", |s| s.later(12_000)),
        ("does not answer", |s| s.connected().later(60_000)),
        ("hangs up", |s| s.connected().hospital_ends()),
        ("aborts", |s| s.connected().hospital(&abort_pdu(2, 1))),
        ("accepts too much", |s| s.connected().hospital(&ac(&[1, 9]))),
        ("speaks out of turn", |s| {
            s.connected().hospital(&release_rq())
        }),
    ];
    for (name, fate) in fates {
        let mut s = Script::new();
        s.device(&rq()).say(name);
        fate(&mut s);
        s.device_ends();
        told += &s.told();
        told.push('\n');
        assert!(s.is_over(), "{name}");
        assert_eq!(
            s.decisions
                .iter()
                .filter(|d| d.kind == "A-ASSOCIATE-RQ")
                .count(),
            1
        );
    }
    insta::assert_snapshot!(told);
}

#[test]
fn releases_from_either_end_and_from_both() {
    let mut told = String::new();
    type Course = fn(&mut Script) -> &mut Script;
    let courses: [(&str, Course); 6] = [
        ("device", |s| {
            s.device(&release_rq())
                .hospital(&release_rp())
                .device_ends()
        }),
        ("hospital", |s| {
            s.hospital(&release_rq())
                .device(&release_rp())
                .hospital_ends()
        }),
        ("collision, device first", |s| {
            s.device(&release_rq()).hospital(&release_rq());
            s.hospital(&release_rp()).device_ends()
        }),
        ("collision, hospital first", |s| {
            s.hospital(&release_rq()).device(&release_rq());
            s.device(&release_rp()).device_ends().hospital_ends()
        }),
        ("never answered", |s| s.device(&release_rq()).later(60_000)),
        ("the last response comes after the request", |s| {
            s.device(&echo(1)).device(&release_rq());
            s.hospital(&echo_rsp(1))
                .hospital(&release_rp())
                .device_ends()
        }),
    ];
    for (name, course) in courses {
        let mut s = Script::established();
        s.say(name);
        course(&mut s);
        told += &s.told();
        told.push('\n');
        assert!(s.is_over(), "{name}");
    }
    insta::assert_snapshot!(told);
}

#[test]
fn aborts_and_losses_reach_the_other_end() {
    let mut told = String::new();
    type Course = fn(&mut Script) -> &mut Script;
    let courses: [(&str, Course); 6] = [
        ("device aborts", |s| s.device(&abort_pdu(0, 0))),
        ("hospital aborts", |s| s.hospital(&abort_pdu(2, 6))),
        ("device is lost", |s| s.device_ends()),
        ("hospital is lost", |s| s.hospital_ends()),
        ("release in a message", |s| {
            let command = store_command(2, ULTRASOUND, "1.2.3");
            s.device(&[data(3, 3, &command), release_rq()].concat())
        }),
        ("second request for an association", |s| s.device(&rq())),
    ];
    for (name, course) in courses {
        for busy in [false, true] {
            let mut s = Script::established();
            if busy {
                s.device(&echo(1));
                s.say(&format!("{name} before the response"));
            } else {
                s.say(name);
            }
            course(&mut s);
            told += &s.told();
            told.push('\n');
            assert!(s.is_over(), "{name}");
        }
    }
    insta::assert_snapshot!(told);
}

#[test]
fn silences() {
    let mut told = String::new();
    type Course = fn(&mut Script) -> &mut Script;
    let courses: [(&str, Course); 8] = [
        ("nothing", |s| s.later(29_999).say("not yet").later(1)),
        ("half a request", |s| s.device(&rq()[..100]).later(30_000)),
        ("idle", |s| associate(s).later(600_000)),
        ("half a PDU", |s| {
            associate(s).device(&echo(1)[..20]).later(30_000)
        }),
        ("half a message", |s| {
            let message = store(1, "1.2.3", &instance("1.2.3", 0), 50);
            associate(s).device(&message[..200]).later(30_000)
        }),
        ("no response", |s| {
            associate(s).device(&echo(1));
            s.later(59_999).say("not yet").later(1)
        }),
        ("pending responses start the time anew", |s| {
            associate(s).device(&find(1)).later(59_000);
            let found = explicit(0x0010, 0x0010, b"PN", b"DOE^JANE");
            s.hospital(&find_rsp(1, Some(&found))).later(59_000);
            s.hospital(&find_rsp(1, None))
        }),
        ("the hospital is slow to finish", |s| {
            associate(s).device(&echo(1)).later(50_000);
            s.hospital(&echo_rsp(1)[..20]).later(10_000)
        }),
    ];
    for (name, course) in courses {
        let mut s = Script::new();
        s.say(name);
        course(&mut s);
        told += &s.told();
        told.push('\n');
    }
    insta::assert_snapshot!(told);
}

#[test]
fn the_end_is_said_to_both() {
    let mut told = String::new();
    type Course = fn(&mut Script) -> &mut Script;
    let courses: [(&str, Course); 5] = [
        ("at once", |s| s),
        ("while connecting", |s| s.device(&rq())),
        ("while associating", |s| s.device(&rq()).connected()),
        ("between messages", |s| associate(s)),
        ("before the response", |s| associate(s).device(&echo(1))),
    ];
    for (name, course) in courses {
        let mut s = Script::new();
        course(s.say(name)).ends(EndReason::NotAllowed);
        told += &s.told();
        told.push('\n');
        assert!(s.is_over() && !s.session.wants(Side::Device));
    }
    insta::assert_snapshot!(told);
}

#[test]
fn a_new_policy_holds_from_the_next_message() {
    let mut s = Script::established();
    let set = instance("1.2.3", 10);
    let message = store(1, "1.2.3", &set, 100);
    s.device(&message[..150]);
    let mut narrower = policy();
    if let ProtocolPolicy::Dicom(dicom) = &mut narrower.protocol {
        dicom.rules[0].allow = vec!["C-ECHO".into()];
    }
    s.session.update(&narrower);
    s.device(&message[150..]).hospital(&store_rsp(1, 0));
    s.device(&store(2, "1.2.3", &set, 100)).device(&echo(3));
    s.hospital(&echo_rsp(3));
    insta::assert_snapshot!(s.told());
}

fn associate(s: &mut Script) -> &mut Script {
    s.device(&rq()).connected().hospital(&ac(&[1, 3, 5, 7]))
}
