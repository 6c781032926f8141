//! What rules ask of associations, data sets and queries: each refusal beside its nearest accepted twin.

use std::sync::Arc;

use protocol_inspect::dicom::{
    Dialogue, Event, IdentityUse, Level, Peer, Policy, Profile, Query, Rule, answer, filter,
};
use protocol_inspect::{Base, Patients, Severity, patient_hash};

use super::build::{
    CT, DEFLATED, EXPLICIT, FIND, IMPLICIT, INSTANCE, JPEG, MOVE, Rq, VERIFICATION,
};
use super::build::{
    ac, command, deflated, delimiter, element, established, item, parsed_ac, pdv, policy,
};
use super::build::{response, role, store_rq, text, us, user};

pub(super) const GET: &str = "1.2.840.10008.5.1.4.1.2.2.3";
pub(super) const MPPS: &str = "1.2.840.10008.3.1.2.3.3";
const BIG: &str = "1.2.840.10008.1.2.2";
pub(super) const CONTEXTS: [(u8, &str, &str); 7] = [
    (1, VERIFICATION, IMPLICIT),
    (3, CT, EXPLICIT),
    (5, GET, EXPLICIT),
    (7, FIND, EXPLICIT),
    (9, MOVE, EXPLICIT),
    (11, MPPS, EXPLICIT),
    (13, CT, DEFLATED),
];
pub(super) const ALL: [&str; 6] = ["C-ECHO", "C-STORE", "C-FIND", "C-GET", "C-MOVE", "N-CREATE"];
const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";

pub(super) type Elements = Vec<Vec<u8>>;

#[test]
fn modalities() {
    let us = rules([with(|rule| {
        rule.modalities = vec!["US".into(), "CT".into()]
    })]);
    let modality = |value: &str| put(ct(), 0x0008, 0x0060, "CS", &text(value));
    accepts(&us, &modality("CT"));
    accepts(&us, &modality(" US "));
    refuses(
        &us,
        &modality("MR"),
        0x0124,
        "(0008,0060): is not one that the rule carries",
    );
    refuses(
        &us,
        &modality("ct"),
        0x0124,
        "is not one that the rule carries",
    );
    refuses(&us, &modality(""), 0x0124, "(0008,0060): is missing");
    refuses(&us, &ct(), 0x0124, "(0008,0060): is missing");
    accepts(&rules([with(|_| {})]), &ct());
    // Inside of a sequence it says nothing of the instance.
    let inner = element(0x0008, 0x0060, "CS", b"CT");
    let nested = put(ct(), 0x0008, 0x1140, "SQ", &items(&[inner]));
    refuses(&us, &nested, 0x0124, "(0008,0060): is missing");
}

#[test]
fn a_rule_in_shadow_keeps_its_own_bounds() {
    let shadow = |rule: &mut Rule| {
        rule.shadow = true;
        rule.modalities = vec!["CT".into()];
    };
    let rules = rules([with(shadow)]);
    let sound = put(ct(), 0x0008, 0x0060, "CS", b"CT");
    accepts(&rules, &sound);
    refuses(&rules, &ct(), 0x0124, "is missing");
    // What the content is like only warns, as long as the walk sees all of it.
    let private = put(sound.clone(), 0x0009, 0x1001, "LO", b"X ");
    accepts(&rules, &private);
    let mut cut = sound;
    cut.push(b"\x01\x02".to_vec());
    refuses(&rules, &cut, 0xc000, "ends in an element header");
    let free = self::rules([with(|rule| rule.shadow = true)]);
    accepts(&free, &cut);
}

#[test]
fn shadow_says_what_it_would_have_refused() {
    let shadowed = |elements: &Elements, in_shadow: bool| {
        let rules = rules([with(|rule| {
            rule.shadow = in_shadow;
            rule.private_creators = Some(Vec::new());
        })]);
        let mut dialogue = dialogue(&rules);
        let set = command(&store_rq(CT, INSTANCE));
        for (is_command, body) in [(true, set), (false, elements.concat())] {
            let value = pdv(3, is_command, true, &body);
            dialogue.receive(Peer::Requestor, value).unwrap();
        }
        let events = std::iter::from_fn(|| dialogue.poll());
        let approved = events.filter_map(|(_, event)| match event {
            Event::Complete(approved) => Some(approved),
            _ => None,
        });
        let told = approved.flat_map(|approved| approved.warnings().to_vec());
        let told: Vec<String> = told.filter(|w| w.shadow).map(|w| w.detail).collect();
        told
    };
    let created = put(ct(), 0x0009, 0x0010, "LO", b"ACME 1");
    let listed = "is a private creator that the rule does not list";
    assert_eq!(shadowed(&created, true), [listed]);
    assert_eq!(shadowed(&created, false), [""; 0]);
    assert_eq!(shadowed(&ct(), true), [""; 0]);
    let mut cut = created;
    cut.push(b"\x01\x02".to_vec());
    assert_eq!(shadowed(&cut, true).len(), 2);
}

#[test]
fn programs_do_not_pass_in_shadow() {
    let shadow = rules([with(|rule| {
        rule.shadow = true;
        rule.profiles = vec![Profile {
            levels: [(Level::Documents, Severity::Ignore)].into(),
            ..Profile::standard()
        }];
    })]);
    let holding = |bytes: &[u8]| put(ct(), 0x0400, 0x0115, "OB", bytes);
    let program = holding(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    refuses(&shadow, &program, 0xc000, "(0400,0115)");
    accepts(&shadow, &holding(b"certificate "));
    // An archive is content, and only warned of.
    accepts(&shadow, &holding(b"PK\x03\x04\x14\0\0\0\0\0\0\0"));
}

#[test]
fn patients() {
    let bound = rules([with(|rule| rule.bind_patient = true)]);
    let of = |id: &str| put(ct(), 0x0010, 0x0020, "LO", &text(id));
    accepts(&bound, &of("4711"));
    accepts(&bound, &of(" 4711 "));
    refuses(
        &bound,
        &of("4712"),
        0x0124,
        "(0010,0020): is none of the device's patients",
    );
    refuses(
        &bound,
        &of("4711\\4711"),
        0x0124,
        "is none of the device's patients",
    );
    refuses(&bound, &of(""), 0x0124, "(0010,0020): has no value");
    let without: Elements = ct()
        .into_iter()
        .filter(|e| e[..4] != [0x10, 0, 0x20, 0])
        .collect();
    refuses(&bound, &without, 0x0124, "(0010,0020): has no value");
    accepts(&rules([with(|_| {})]), &of("4712"));

    // The authority counts.
    let issued = |id: &str, issuer: &str| put(of(id), 0x0010, 0x0021, "LO", &text(issuer));
    accepts(&bound, &issued("0815", "NORD"));
    refuses(&bound, &issued("0815", "SUED"), 0x0124, "is none of");
    refuses(&bound, &of("0815"), 0x0124, "is none of");
    refuses(&bound, &issued("4711", "NORD"), 0x0124, "is none of");
    let universal = |oid: &str, kind: &str| {
        let inner = [
            element(0x0040, 0x0032, "UT", &text(oid)),
            element(0x0040, 0x0033, "CS", &text(kind)),
        ]
        .concat();
        put(issued("77", "NORD"), 0x0010, 0x0024, "SQ", &items(&[inner]))
    };
    accepts(&bound, &universal("1.2.250.1", "ISO"));
    refuses(&bound, &universal("1.2.250.2", "ISO"), 0x0124, "is none of");
}

#[test]
fn every_patient_of_a_data_set_is_bound() {
    let bound = rules([with(|rule| rule.bind_patient = true)]);
    let own = put(ct(), 0x0010, 0x0020, "LO", b"4711");
    let id = |id: &str| element(0x0010, 0x0020, "LO", &text(id));
    let issuer = |name: &str| element(0x0010, 0x0021, "LO", &text(name));
    let others = |entries: &[Vec<u8>]| put(own.clone(), 0x0010, 0x1002, "SQ", &items(entries));
    let nord = || [id("0815"), issuer("NORD")].concat();
    accepts(&bound, &others(&[id("4711"), nord()]));
    let place = "(0010,1002)[2].(0010,0020): is none of";
    refuses(&bound, &others(&[id("4711"), id("4712")]), 0x0124, place);
    // An issuer of the next item is none of this one's.
    let first = "(0010,1002)[1].(0010,0020): is none of";
    refuses(
        &bound,
        &others(&[id("0815"), issuer("NORD")]),
        0x0124,
        first,
    );
    let referenced = |entry: Vec<u8>| put(own.clone(), 0x0008, 0x1120, "SQ", &items(&[entry]));
    accepts(&bound, &referenced(nord()));
    refuses(
        &bound,
        &referenced(id("4712")),
        0x0124,
        "(0008,1120)[1].(0010,0020)",
    );
    // Two sequences deep, where no element of the outer item follows.
    let deep = |entry: Vec<u8>| element(0x0008, 0x1140, "SQ", &items(&[entry]));
    accepts(&bound, &referenced(deep(nord())));
    refuses(
        &bound,
        &referenced(deep(id("4712"))),
        0x0124,
        "(0008,1140)[1].(0010,0020)",
    );
    // The retired list has no authority, or that of the identifier beside it.
    let list = |ids: &str| put(own.clone(), 0x0010, 0x1000, "LO", &text(ids));
    accepts(&bound, &list("4711\\4711"));
    refuses(
        &bound,
        &list("4711\\4712"),
        0x0124,
        "(0010,1000): is none of",
    );
    // A sequence that is called bytes of unknown kind is implicit inside (PS3.5 6.2.2), and hides nobody.
    let unknown = |id: &[u8; 4]| {
        let inner = [&[0x10, 0, 0x20, 0, 4, 0, 0, 0], &id[..]].concat();
        put(own.clone(), 0x0010, 0x1002, "UN", &items(&[inner]))
    };
    accepts(&bound, &unknown(b"4711"));
    let place = "(0010,1002)[1].(0010,0020): is none of";
    refuses(&bound, &unknown(b"4712"), 0x0124, place);
}

#[test]
fn patients_in_other_text() {
    let bound = rules([with(|rule| rule.bind_patient = true)]);
    let named = put(ct(), 0x0010, 0x0020, "LO", "Zoë1".as_bytes());
    let charset = |name: &str| put(named.clone(), 0x0008, 0x0005, "CS", &text(name));
    let named_twice = |set: Elements| put(set, 0x0010, 0x0020, "LO", &text("Zoë1"));
    accepts(&bound, &named_twice(charset("ISO_IR 192")));
    refuses(
        &bound,
        &named_twice(charset("ISO_IR 100")),
        0x0124,
        "other text than ASCII",
    );
}

//= C5
#[test]
fn a_foreign_patient_is_refused_in_shadow_and_whatever_the_profile() {
    let lenient = with(|rule| {
        rule.bind_patient = true;
        rule.shadow = true;
        rule.profiles[0].levels = Level::ALL.map(|level| (level, Severity::Ignore)).into();
    });
    let rules = rules([lenient]);
    accepts(&rules, &put(ct(), 0x0010, 0x0020, "LO", b"4711"));
    refuses(
        &rules,
        &put(ct(), 0x0010, 0x0020, "LO", b"4712"),
        0x0124,
        "is none of",
    );
    // Nobody knows whom the rest names once the walk cannot go on.
    let mut broken = put(ct(), 0x0010, 0x0020, "LO", b"4711");
    broken.push(b"\0".to_vec());
    refuses(&rules, &broken, 0xc000, "ends in an element header");
}

#[test]
fn private_creators() {
    let listed = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        rules([with(|rule| rule.private_creators = Some(names.clone()))])
    };
    let created = put(ct(), 0x0009, 0x0010, "LO", b"ACME 1");
    let set = put(created, 0x0009, 0x1001, "LO", b"X ");
    accepts(&rules([with(|_| {})]), &set);
    accepts(&listed(&["ACME 1"]), &set);
    let place = "(0009,0010): is a private creator that the rule does not list";
    refuses(&listed(&["ACME 2"]), &set, 0x0124, place);
    refuses(&listed(&[]), &set, 0x0124, place);
    accepts(&listed(&[]), &ct());
    // Without a creator nobody says whose it is.
    let orphan = put(ct(), 0x0009, 0x1001, "LO", b"X ");
    accepts(&rules([with(|_| {})]), &orphan);
    refuses(
        &listed(&["ACME 1"]),
        &orphan,
        0xc000,
        "(0009,1001): is private, but has no private creator",
    );
    // Nobody can reserve these.
    for number in [0x0001, 0x0101] {
        let odd = put(ct(), 0x0009, number, "LO", b"X ");
        accepts(&rules([with(|_| {})]), &odd);
        refuses(&listed(&[]), &odd, 0xc000, "has no private creator");
    }
    // It is content: a profile may say otherwise, and shadow only warns.
    let mut warns = listed(&[]);
    warns.rules[0].profiles[0].levels = [(Level::Private, Severity::Warn)].into();
    accepts(&warns, &set);
    let mut shadow = listed(&[]);
    shadow.rules[0].shadow = true;
    accepts(&shadow, &set);
}

#[test]
fn the_largest_object() {
    let length = u64::try_from(ct().concat().len()).unwrap();
    let bounded = |bytes: u64| {
        rules([with(|rule| {
            rule.max_object = Some(bytes);
            rule.shadow = true;
        })])
    };
    accepts(&bounded(length), &ct());
    refuses(&bounded(length - 1), &ct(), 0xa700, "max_object");
    // What it inflates to counts.
    let store = |most: u64, bytes: &[u8]| {
        let set = command(&store_rq(CT, INSTANCE));
        said(&mut dialogue(&bounded(most)), 13, &set, bytes)
    };
    let set = put(ct(), 0x0040, 0xa160, "UT", &[b' '; 4096]).concat();
    let length = u64::try_from(set.len()).unwrap();
    let small = deflated(&set);
    assert!(small.len() < 1024);
    assert_eq!(store(length, &small), Ok("images".to_owned()));
    let refused = store(length - 1, &small).unwrap_err();
    assert!(
        refused.starts_with("A700") && refused.contains("max_object"),
        "{refused}"
    );
    // In shadow a fault ends the walk, and nobody inflates the rest.
    let cut = &small[..small.len() - 8];
    assert!(store(length, cut).unwrap_err().starts_with("C000"));
}

#[test]
fn one_rule_must_accept_all_of_a_message() {
    let strict = |name: &str, modality: &str| {
        let (name, modality) = (name.to_owned(), modality.to_owned());
        with(move |rule| {
            rule.name.clone_from(&name);
            rule.modalities = vec![modality.clone()];
            rule.profiles = vec![Profile::strict()];
        })
    };
    let lenient = with(|rule| {
        rule.name = "us".into();
        rule.modalities = vec!["US".into()];
    });
    let both = rules([strict("ct", "CT"), lenient]);
    let modality = |value: &str| put(ct(), 0x0008, 0x0060, "CS", &text(value));
    // An element in a private group without creator: strict refuses it, standard does not.
    let doubtful = |set: Elements| put(set, 0x0009, 0x1001, "LO", b"X ");
    assert_eq!(store(&both, &modality("CT")), Ok("ct".into()));
    assert_eq!(store(&both, &modality("US")), Ok("us".into()));
    assert_eq!(store(&both, &doubtful(modality("US"))), Ok("us".into()));
    // The lenient rule is not for this modality, and the one that is does not tolerate the fault.
    refuses(
        &both,
        &doubtful(modality("CT")),
        0x0124,
        "is not one that the rule carries",
    );
    refuses(
        &both,
        &modality("MR"),
        0x0124,
        "is not one that the rule carries",
    );
}

#[test]
fn what_each_of_two_rules_minds_is_not_added_up() {
    let ignores = |name: &'static str, level: Level| {
        with(move |rule| {
            rule.name = name.into();
            rule.profiles = vec![Profile {
                levels: [(level, Severity::Ignore)].into(),
                ..Profile::strict()
            }];
        })
    };
    let whole = || put(ct(), 0x0008, 0x0060, "CS", b"CT");
    let both = rules([ignores("a", Level::Private), ignores("b", Level::Values)]);
    let private = |set: Elements| put(set, 0x0009, 0x1001, "LO", b"X ");
    let value = |set: Elements| put(set, 0x0010, 0x0010, "PN", b"A\x01");
    assert_eq!(store(&both, &private(whole())), Ok("a".into()));
    assert_eq!(store(&both, &value(whole())), Ok("b".into()));
    refuses(
        &both,
        &value(private(whole())),
        0xc000,
        "has a control character",
    );
}

#[test]
fn required_keys_levels_and_wildcards() {
    let level = |value: &str| element(0x0008, 0x0052, "CS", &text(value));
    let accession = |value: &str| element(0x0008, 0x0050, "SH", &text(value));
    let name = |value: &str| element(0x0010, 0x0010, "PN", &text(value));
    let id = |value: &str| element(0x0010, 0x0020, "LO", &text(value));
    let query = |query: Query| rules([with(move |rule| rule.query = query.clone())]);
    let selective = query(Query {
        selective: true,
        ..Query::default()
    });
    let study = || level("STUDY");
    asks(&selective, &[study(), name("DOE*")], "images");
    for everything in ["", "*", "*^*", "??", " * "] {
        let detail = "A900 identifier: has no key with a value to match";
        asks(&selective, &[study(), name(everything), id("")], detail);
        asks(
            &query(Query::default()),
            &[study(), name(everything), id("")],
            "images",
        );
    }
    let required = query(Query {
        require: vec![vec![0x0010_0020, 0x0008_0050], vec![0x0010_0010]],
        levels: vec!["STUDY".into(), "SERIES".into()],
        ..Query::default()
    });
    asks(&required, &[study(), name("DOE"), id("4711")], "images");
    asks(
        &required,
        &[accession("A7"), study(), name("DOE")],
        "images",
    );
    let missing = "A900 (0010,0020): has no value to match";
    asks(&required, &[study(), name("DOE")], missing);
    asks(
        &required,
        &[accession("*"), study(), name("DOE"), id("*")],
        missing,
    );
    asks(
        &required,
        &[study(), id("4711")],
        "A900 (0010,0010): has no value to match",
    );
    let detail = "A900 (0008,0052): is not one at which the rule lets ask";
    asks(
        &required,
        &[level("PATIENT"), name("DOE"), id("4711")],
        detail,
    );
    asks(&required, &[name("DOE"), id("4711")], detail);
    // A key of a worklist stands in an item.
    let station = query(Query {
        require: vec![vec![0x0040_0001]],
        ..Query::default()
    });
    let step = |title: &str| {
        let inner = element(0x0040, 0x0001, "AE", &text(title));
        element(0x0040, 0x0100, "SQ", &items(&[inner]))
    };
    let worklist = |title: &str| {
        let class = "1.2.840.10008.5.1.4.31";
        let established = established(&policy(&ALL, &[]), &[(7, class, EXPLICIT)]);
        let mut find = store_rq(class, INSTANCE);
        find.remove(5);
        find[1] = (0x0100, us(0x20));
        let mut dialogue = Dialogue::new(established, &Arc::new(station.clone()));
        said(&mut dialogue, 7, &command(&find), &step(title))
    };
    let missing = "A900 (0040,0001): has no value to match";
    assert_eq!(worklist("US07"), Ok("images".into()));
    assert!(worklist("*").unwrap_err().starts_with(missing));
    // Query/retrieve does not match by it.
    asks(&station, &[step("US07")], missing);
}

#[test]
fn queries_name_a_patient_of_the_device() {
    let bound = rules([with(|rule| rule.bind_patient = true)]);
    let level = element(0x0008, 0x0052, "CS", b"STUDY ");
    let id = |value: &str| element(0x0010, 0x0020, "LO", &text(value));
    asks(&bound, &[level.clone(), id("4711")], "images");
    asks(
        &bound,
        &[level.clone(), id("4712")],
        "A900 (0010,0020): is none of",
    );
    for many in ["*", "47*", "471?", "4711\\4712"] {
        asks(
            &bound,
            &[level.clone(), id(many)],
            "A900 (0010,0020): names more than one",
        );
    }
    asks(
        &bound,
        &[level.clone(), id("")],
        "A900 (0010,0020): has no value",
    );
    asks(&bound, &[level], "A900 (0010,0020): has no value");
}

#[test]
fn procedure_steps_name_a_patient_of_the_device() {
    // The steps here have no more than a patient.
    let bound = rules([with(|rule| {
        rule.bind_patient = true;
        rule.profiles = vec![Profile {
            levels: [(Level::Object, Severity::Ignore)].into(),
            ..Profile::standard()
        }];
    })]);
    let create = |elements: &[Vec<u8>]| {
        let mut set = store_rq(MPPS, INSTANCE);
        set[1] = (0x0100, us(0x0140));
        set.remove(3);
        said(
            &mut dialogue(&bound),
            11,
            &command(&set),
            &elements.concat(),
        )
    };
    assert_eq!(
        create(&[element(0x0010, 0x0020, "LO", b"4711")]),
        Ok("images".into())
    );
    let refused = Err("0124 (0010,0020): is none of the device's patients".to_owned());
    assert_eq!(create(&[element(0x0010, 0x0020, "LO", b"4712")]), refused);
    assert!(create(&[element(0x0010, 0x0010, "PN", b"X ")]).is_err());
}

#[test]
fn answers_are_about_the_same_patients() {
    let mut bound = rules([with(|rule| rule.bind_patient = true)]);
    for (patient, passes) in [("4711", true), ("4712", false)] {
        let answer = found(&bound, &[element(0x0010, 0x0020, "LO", &text(patient))]);
        assert_eq!(matches!(answer, Event::Complete(_)), passes, "{answer:?}");
    }
    let nameless = found(&bound, &[element(0x0008, 0x0052, "CS", b"STUDY ")]);
    assert!(!matches!(nameless, Event::Complete(_)), "{nameless:?}");
    bound.rules[0].bind_patient = false;
    let foreign = found(&bound, &[element(0x0010, 0x0020, "LO", b"4712")]);
    assert!(matches!(foreign, Event::Complete(_)));
}

//= C5
#[test]
fn images_move_by_a_root_that_heeds_the_patient() {
    const PATIENT_ROOT: &str = "1.2.840.10008.5.1.4.1.2.1.2";
    let moves = |bind_patient, class: &str| {
        let rules = rules([with(|rule| rule.bind_patient = bind_patient)]);
        let established = established(&policy(&ALL, &[]), &[(9, class, EXPLICIT)]);
        let mut set = store_rq(class, INSTANCE);
        set.remove(5);
        set[1] = (0x0100, us(0x21));
        set.push((0x0600, text("VIEWER")));
        let keys = [
            element(0x0008, 0x0052, "CS", b"STUDY "),
            element(0x0010, 0x0020, "LO", b"4711"),
        ];
        let mut dialogue = Dialogue::new(established, &Arc::new(rules));
        set.sort_by_key(|(tag, _)| *tag);
        said(&mut dialogue, 9, &command(&set), &keys.concat())
    };
    assert_eq!(moves(true, PATIENT_ROOT), Ok("images".into()));
    let refused = moves(true, MOVE).unwrap_err();
    assert!(
        refused.starts_with("0124") && refused.contains("need not heed"),
        "{refused}"
    );
    assert_eq!(moves(false, MOVE), Ok("images".into()));
}

//= C7
#[test]
fn results_beyond_the_bound_are_cut_off() {
    let bound = rules([with(|rule| rule.query.max_results = Some(2))]);
    let mut dialogue = dialogue(&bound);
    said(&mut dialogue, 7, &find_rq(), &identifier()).unwrap();
    let mut events = Vec::new();
    for status in [0xff00, 0xff00, 0xff01, 0xff00, 0xfe00] {
        events.push(respond(&mut dialogue, status, &identifier()));
    }
    assert!(matches!(events[0], Event::Complete(_)) && matches!(events[1], Event::Complete(_)));
    let Event::Surplus(Some(cancel)) = events.remove(2) else {
        panic!("{events:?}")
    };
    let cancelled = command(&[(0x0100, us(0x0fff)), (0x0120, us(7)), (0x0800, us(0x0101))]);
    assert!(cancel.into_bytes().ends_with(&cancelled));
    assert!(matches!(events[2], Event::Surplus(None)));
    let Event::Cut(refused) = &events[3] else {
        panic!("{events:?}")
    };
    assert_eq!(refused.status(), 0xa700);
    assert_eq!(refused.head().rule.as_deref(), Some("images"));
    assert!(refused.answer().is_some());
    assert!(dialogue.outstanding(Peer::Requestor).is_none());
    // The next question is counted anew.
    said(&mut dialogue, 7, &find_rq(), &identifier()).unwrap();
    assert!(matches!(
        respond(&mut dialogue, 0xff00, &identifier()),
        Event::Complete(_)
    ));
    assert!(matches!(respond(&mut dialogue, 0, &[]), Event::Complete(_)));
}

//= C7
#[test]
fn instances_beyond_the_bound_are_refused() {
    let bound = rules([with(|rule| rule.query.max_results = Some(1))]);
    let rq = Rq::new(&[(3, CT, &[EXPLICIT]), (5, GET, &[EXPLICIT])]);
    let filtered = filter(&rq.user(&user(&[role(CT, 0, 1)])).parsed(), &bound).unwrap();
    let accepted = ac(&[(3, 0, EXPLICIT), (5, 0, EXPLICIT)], &[role(CT, 0, 1)]);
    let (_, established) = answer(&filtered, &parsed_ac(&accepted)).unwrap();
    let mut dialogue = Dialogue::new(established, &Arc::new(bound));
    let mut get = store_rq(GET, INSTANCE);
    get.remove(5);
    get[1] = (0x0100, us(0x10));
    said(&mut dialogue, 5, &command(&get), &identifier()).unwrap();
    let mut bring = || {
        let set = command(&store_rq(CT, INSTANCE));
        let body = ct().concat();
        for value in [pdv(3, true, true, &set), pdv(3, false, true, &body)] {
            dialogue.receive(Peer::Acceptor, value).unwrap();
        }
        let stored = command(&response(0x8001, 7, 0));
        let verdict = std::iter::from_fn(|| dialogue.poll()).find_map(|(_, event)| match event {
            Event::Complete(approved) => Some(Ok(approved.head().rule.clone())),
            Event::Refused(refused) => Some(Err(refused.status())),
            _ => None,
        });
        if let Some(Ok(_)) = verdict {
            dialogue
                .receive(Peer::Requestor, pdv(3, true, true, &stored))
                .unwrap();
            while dialogue.poll().is_some() {}
        }
        verdict.unwrap()
    };
    assert_eq!(bring(), Ok(Some("images".into())));
    assert_eq!(bring(), Err(0xa700));
    assert_eq!(bring(), Err(0xa700));
}

#[test]
fn transfer_syntaxes_roles_and_users() {
    let filtered = |change: fn(&mut Rule), more: &[Vec<u8>]| {
        let rq = Rq::new(&[(1, CT, &[BIG, EXPLICIT]), (3, CT, &[JPEG]), (5, CT, &[BIG])]);
        filter(&rq.user(&user(more)).parsed(), &rules([with(change)]))
    };
    let kept = |change: fn(&mut Rule)| filtered(change, &[]).unwrap().counts().1;
    assert_eq!(kept(|_| {}), 3);
    assert_eq!(
        kept(|rule| rule.profiles = vec![Profile::of(Base::Strict)]),
        2
    );
    assert_eq!(
        kept(|rule| rule.transfer_syntaxes = vec![EXPLICIT.into()]),
        1
    );
    let strict_but_listed = |rule: &mut Rule| {
        rule.profiles = vec![Profile::strict()];
        rule.transfer_syntaxes = vec![BIG.into()];
    };
    assert_eq!(kept(strict_but_listed), 2);

    let roles = |change: fn(&mut Rule)| {
        let filtered = filtered(change, &[role(CT, 1, 1)]).unwrap();
        let accepted = ac(&[(1, 0, EXPLICIT)], &[role(CT, 1, 1)]);
        answer(&filtered, &parsed_ac(&accepted)).is_ok()
    };
    let without_get = |rule: &mut Rule| rule.allow = vec!["C-STORE".into()];
    let reversed = |rule: &mut Rule| {
        rule.allow = vec!["C-STORE".into()];
        rule.reverse_roles = true;
    };
    assert!(roles(|_| {}), "C-GET needs it");
    assert!(
        !roles(without_get),
        "the destination accepts what did not go on"
    );
    assert!(roles(reversed));

    let identity = || item(0x58, &[&[1, 0][..], &[0, 1], b"u", &[0, 0]].concat());
    let users = |change: fn(&mut Rule), more: &[Vec<u8>]| {
        let request = filtered(change, more).map(|filtered| filtered.request());
        request.map(|permit| permit.bytes().windows(2).any(|part| part == [0x58, 0]))
    };
    let require = |rule: &mut Rule| rule.user_identity = IdentityUse::Require;
    assert_eq!(users(|_| {}, &[identity()]), Ok(true));
    assert_eq!(users(|_| {}, &[]), Ok(false));
    assert_eq!(
        users(
            |rule| rule.user_identity = IdentityUse::Strip,
            &[identity()]
        ),
        Ok(false)
    );
    assert_eq!(users(require, &[identity()]), Ok(true));
    let rejected = users(require, &[]).unwrap_err();
    assert_eq!(rejected.reason.codes(), (1, 1, 1));
}

pub(super) fn with(change: impl Fn(&mut Rule)) -> Rule {
    let mut rule = policy(&ALL, &[]).rules.remove(0);
    change(&mut rule);
    rule
}

pub(super) fn rules<const N: usize>(rules: [Rule; N]) -> Policy {
    let own = [
        (["", "", ""], "4711"),
        (["NORD", "", ""], "0815"),
        (["NORD", "1.2.250.1", "ISO"], "77"),
        (["", "", ""], "Zoë1"),
    ];
    Policy {
        patients: Patients::new(KEY, own.map(|(issuer, id)| patient_hash(KEY, issuer, id))),
        rules: rules.to_vec(),
        ..policy(&ALL, &[])
    }
}

/// The elements with one more, or another in the place of its namesake.
pub(super) fn put(
    mut elements: Elements,
    group: u16,
    number: u16,
    vr: &str,
    value: &[u8],
) -> Elements {
    let tag = |e: &[u8]| {
        (
            u16::from_le_bytes([e[0], e[1]]),
            u16::from_le_bytes([e[2], e[3]]),
        )
    };
    elements.retain(|e| tag(e) != (group, number));
    elements.push(element(group, number, vr, value));
    elements.sort_by_key(|e| tag(e));
    elements
}

/// A CT instance element by element, without its modality.
pub(super) fn ct() -> Elements {
    let whole = super::build::ct().concat();
    let mut rest = whole.as_slice();
    let mut elements = Elements::new();
    while !rest.is_empty() {
        let is_long = matches!(&rest[4..6], b"OB" | b"OW" | b"SQ" | b"UT" | b"UN");
        let length = if is_long {
            12 + u32::from_le_bytes(rest[8..12].try_into().unwrap()) as usize
        } else {
            8 + usize::from(u16::from_le_bytes([rest[6], rest[7]]))
        };
        let (one, behind) = rest.split_at(length);
        elements.push(one.to_vec());
        rest = behind;
    }
    elements.retain(|element| element[..4] != [0x08, 0, 0x60, 0]);
    elements
}

pub(super) fn items(entries: &[Vec<u8>]) -> Vec<u8> {
    let item = |inner: &Vec<u8>| {
        let length = u32::try_from(inner.len()).unwrap();
        [delimiter(0xe000, length), inner.clone()].concat()
    };
    entries.iter().flat_map(item).collect()
}

pub(super) fn dialogue(rules: &Policy) -> Dialogue {
    let open = policy(&ALL, &[]);
    Dialogue::new(established(&open, &CONTEXTS), &Arc::new(rules.clone()))
}

/// The rule that accepts the message, or the status and why.
pub(super) fn said(
    dialogue: &mut Dialogue,
    id: u8,
    set: &[u8],
    body: &[u8],
) -> Result<String, String> {
    dialogue
        .receive(Peer::Requestor, pdv(id, true, true, set))
        .unwrap();
    if !dialogue.is_partial(Peer::Requestor) {
        panic!("no data set is waited for");
    }
    dialogue
        .receive(Peer::Requestor, pdv(id, false, true, body))
        .unwrap();
    loop {
        match dialogue.poll().expect("a verdict").1 {
            Event::Complete(approved) => return Ok(approved.head().rule.clone().unwrap()),
            Event::Refused(refused) => {
                return Err(format!("{:04X} {}", refused.status(), refused.refusal()));
            }
            _ => {}
        }
    }
}

pub(super) fn store(rules: &Policy, elements: &Elements) -> Result<String, String> {
    let set = command(&store_rq(CT, INSTANCE));
    said(&mut dialogue(rules), 3, &set, &elements.concat())
}

pub(super) fn accepts(rules: &Policy, elements: &Elements) {
    assert_eq!(store(rules, elements), Ok("images".to_owned()));
}

pub(super) fn refuses(rules: &Policy, elements: &Elements, status: u16, detail: &str) {
    let refused = store(rules, elements).unwrap_err();
    let wanted = refused.starts_with(&format!("{status:04X} ")) && refused.contains(detail);
    assert!(wanted, "{refused}");
    assert!(!refused.contains("471"), "{refused}");
}

pub(super) fn find_rq() -> Vec<u8> {
    let mut find = store_rq(FIND, INSTANCE);
    find.remove(5);
    find[1] = (0x0100, us(0x20));
    command(&find)
}

pub(super) fn asks(rules: &Policy, keys: &[Vec<u8>], wanted: &str) {
    let answer = said(&mut dialogue(rules), 7, &find_rq(), &keys.concat());
    let answer = answer.unwrap_or_else(|refused| refused);
    assert!(answer.starts_with(wanted), "{answer}");
}

pub(super) fn identifier() -> Vec<u8> {
    [
        element(0x0008, 0x0052, "CS", b"STUDY "),
        element(0x0010, 0x0020, "LO", b"4711"),
    ]
    .concat()
}

/// What becomes of a result of an accepted query.
pub(super) fn found(rules: &Policy, result: &[Vec<u8>]) -> Event {
    let mut dialogue = dialogue(rules);
    said(&mut dialogue, 7, &find_rq(), &identifier()).unwrap();
    respond(&mut dialogue, 0xff00, &result.concat())
}

pub(super) fn respond(dialogue: &mut Dialogue, status: u16, body: &[u8]) -> Event {
    let pending = matches!(status, 0xff00 | 0xff01);
    let mut elements = response(0x8020, 7, status);
    if pending {
        elements[2] = (0x0800, us(1));
    }
    let set = command(&elements);
    dialogue
        .receive(Peer::Acceptor, pdv(7, true, true, &set))
        .unwrap();
    if pending {
        dialogue
            .receive(Peer::Acceptor, pdv(7, false, true, body))
            .unwrap();
    }
    std::iter::from_fn(|| dialogue.poll())
        .map(|(_, event)| event)
        .find(|event| {
            !matches!(
                event,
                Event::Command(_) | Event::Held(_) | Event::Condemned(_)
            )
        })
        .unwrap()
}
