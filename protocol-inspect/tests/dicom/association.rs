//! Negotiation: what goes on to the destination and what the device is told.

use protocol_inspect::Base;
use protocol_inspect::dicom::{Compression, Pdu, Peer, TransferSyntax, answer, filter};

use super::build::{
    COMMITMENT, CT, DEFLATED, EXPLICIT, FIND, IMPLICIT, JPEG, JPIP, MOVE, US, VERIFICATION,
};
use super::build::{Rq, ac, item, parsed_ac, policy, read, role, user};

#[test]
fn rejections_have_the_codes_of_the_standard() {
    let rules = policy(&["C-ECHO", "C-STORE"], &[]);
    let rejected = |rq: &Rq| {
        let rejection = filter(&rq.parsed(), &rules).unwrap_err();
        (rejection.reason.codes(), rejection.refusal.to_string())
    };
    let usual = Rq::usual();
    assert!(filter(&usual.parsed(), &rules).is_ok());
    let mut calling = usual.clone();
    calling.calling = *b"OTHER           ";
    assert_eq!(rejected(&calling).0, (1, 1, 3));
    let mut called = usual.clone();
    called.called = *b"OTHER           ";
    assert_eq!(rejected(&called).0, (1, 1, 7));
    let mut version = usual.clone();
    version.version = 2;
    assert_eq!(rejected(&version).0, (1, 2, 2));
    let mut application = usual.clone();
    application.items[0] = item(0x10, b"1.2.840.10008.3.1.1.2");
    assert_eq!(rejected(&application).0, (1, 1, 2));
    let mut few = rules.clone();
    few.limits.dicom_contexts = 1;
    let rejection = filter(&usual.parsed(), &few).unwrap_err();
    assert_eq!(rejection.reason.codes(), (2, 3, 2));
    let tiny = usual.user(&[item(0x51, &[0, 0, 0, 20]), item(0x52, b"1.2")].concat());
    assert_eq!(rejected(&tiny).0, (1, 1, 1));
}

#[test]
fn an_unbound_rule_lets_any_caller_in_but_only_with_that_rule() {
    let mut rules = policy(&["C-ECHO"], &[]);
    let mut open = rules.rules[0].clone();
    open.bind_sender = false;
    open.allow = vec!["C-STORE".into()];
    rules.rules.push(open);
    let mut rq = Rq::usual();
    assert_eq!(filter(&rq.parsed(), &rules).unwrap().counts(), (2, 2));
    rq.calling = *b"OTHER           ";
    assert_eq!(filter(&rq.parsed(), &rules).unwrap().counts(), (2, 1));
}

#[test]
fn contexts_are_kept_by_rule_and_by_transfer_syntax() {
    let rq = Rq::new(&[
        (1, VERIFICATION, &[IMPLICIT]),
        (3, CT, &[JPIP, DEFLATED, EXPLICIT, JPEG]),
        (5, US, &[EXPLICIT]),
        (7, CT, &[JPIP]),
        (9, FIND, &[IMPLICIT]),
        (11, MOVE, &[IMPLICIT]),
        (13, COMMITMENT, &[IMPLICIT]),
    ]);
    let rules = policy(&["C-ECHO", "C-STORE", "C-FIND"], &[CT, FIND]);
    let filtered = filter(&rq.parsed(), &rules).unwrap();
    assert!(filtered.is_changed());
    let mut sent = read(&filtered.request().bytes(), Base::Strict);
    let Pdu::AssociateRq(sent) = sent.remove(0).unwrap() else {
        panic!("not a request");
    };
    let kept: Vec<_> = sent
        .contexts()
        .iter()
        .map(|c| (c.id, c.transfer_syntaxes.len()))
        .collect();
    assert_eq!(kept, [(1, 1), (3, 3), (9, 1)]);
    assert_eq!(sent.user().max_length(), 128 << 10);

    let upstream = parsed_ac(&ac(
        &[(1, 0, IMPLICIT), (3, 0, JPEG), (9, 3, IMPLICIT)],
        &[],
    ));
    let (permit, established) = answer(&filtered, &upstream).unwrap();
    let told = parsed_ac(&permit.bytes());
    let results: Vec<_> = told.contexts().iter().map(|c| (c.id, c.result)).collect();
    assert_eq!(
        results,
        [(1, 0), (3, 0), (5, 1), (7, 4), (9, 3), (11, 1), (13, 1)]
    );
    let open: Vec<_> = established
        .contexts()
        .iter()
        .map(|(id, c)| (*id, c.transfer_syntax))
        .collect();
    assert_eq!(
        open,
        [
            (1, TransferSyntax::ImplicitLittle),
            (3, TransferSyntax::Encapsulated(Compression::Jpeg))
        ]
    );
    assert_eq!(established.max_length(Peer::Requestor), 16384);
}

#[test]
fn nothing_left_is_answered_without_the_destination() {
    let rules = policy(&["C-ECHO"], &[]);
    let rq = Rq::new(&[(3, CT, &[EXPLICIT])]);
    let filtered = filter(&rq.parsed(), &rules).unwrap();
    assert!(filtered.is_empty());
    let told = parsed_ac(&filtered.refuse_all().into_bytes());
    assert_eq!(told.contexts()[0].result, 1);
    assert!(!filter(&Rq::usual().parsed(), &rules).unwrap().is_empty());
}

#[test]
fn the_window_is_one_and_identity_and_roles_go_on() {
    let rules = policy(&["C-ECHO", "C-GET", "C-STORE"], &[]);
    let identity = item(0x58, &[1, 1, 0, 1, b'j', 0, 0]);
    let more = [
        item(0x53, &[0, 9, 0, 9]),
        role(CT, 1, 1),
        role(US, 0, 1),
        identity,
    ];
    let filtered = filter(&Rq::usual().user(&user(&more)).parsed(), &rules).unwrap();
    let Pdu::AssociateRq(sent) = read(&filtered.request().bytes(), Base::Strict)
        .remove(0)
        .unwrap()
    else {
        panic!("not a request");
    };
    assert_eq!(sent.user().asynchronous(), None);
    assert!(sent.user().has_identity());
    assert_eq!(
        sent.user().roles().len(),
        1,
        "the role of a class that was not proposed stays"
    );

    let results = [(1, 0, IMPLICIT), (3, 0, EXPLICIT)];
    let narrowed = parsed_ac(&ac(&results, &[role(CT, 0, 1), item(0x53, &[0, 9, 0, 9])]));
    let (permit, established) = answer(&filtered, &narrowed).unwrap();
    let context = &established.contexts()[&3];
    assert!(!context.requestor_scu && context.requestor_scp);
    assert_eq!(parsed_ac(&permit.bytes()).user().asynchronous(), None);
}

#[test]
fn the_destination_may_only_accept_what_was_proposed() {
    let rules = policy(&["C-ECHO", "C-STORE"], &[]);
    let filtered = filter(&Rq::usual().parsed(), &rules).unwrap();
    let said = |results: &[(u8, u8, &str)], more: &[Vec<u8>]| {
        answer(&filtered, &parsed_ac(&ac(results, more)))
            .err()
            .map(|v| v.to_string())
    };
    assert_eq!(said(&[(1, 0, IMPLICIT), (3, 0, EXPLICIT)], &[]), None);
    assert_eq!(
        said(&[(1, 0, IMPLICIT)], &[]),
        None,
        "an unanswered context is not accepted"
    );
    for (results, more) in [
        (&[(5, 0, IMPLICIT)][..], vec![]),
        (&[(3, 0, JPEG)], vec![]),
        (&[(3, 0, EXPLICIT)], vec![role(CT, 1, 1)]),
    ] {
        insta::assert_snapshot!(said(results, &more).unwrap());
    }
}
