//! Command sets: what is let in and what is not, and the gateway's own answers.

use bytes::Bytes;
use protocol_inspect::Base;
use protocol_inspect::dicom::{Command, refusal_response, status};

use super::build::{CT, INSTANCE, MOVE, command, echo_rq, response, store_rq, text, ui, us};

type Elements = Vec<(u16, Vec<u8>)>;

#[test]
fn command_sets() {
    let mut cases: Vec<(&str, Vec<u8>)> = Vec::new();
    let mut with = |name, elements: Elements| cases.push((name, command(&elements)));
    let store = || store_rq(CT, INSTANCE);
    let set = |mut elements: Elements, tag: u16, value: Vec<u8>| {
        elements.retain(|(element, _)| *element != tag);
        elements.push((tag, value));
        elements.sort_by_key(|(element, _)| *element);
        elements
    };
    let without = |mut elements: Elements, tag: u16| {
        elements.retain(|(element, _)| *element != tag);
        elements
    };
    with("C-ECHO-RQ", echo_rq(1));
    with("C-ECHO-RSP", response(0x8030, 1, 0));
    with("C-STORE-RQ", store());
    with("C-STORE-RSP", response(0x8001, 7, 0));
    with(
        "C-CANCEL-RQ",
        vec![(0x0100, us(0x0fff)), (0x0120, us(3)), (0x0800, us(0x0101))],
    );
    with("C-FIND-RQ", set(without(store(), 0x1000), 0x0100, us(0x20)));
    let find = set(
        set(without(store(), 0x1000), 0x0100, us(0x21)),
        0x0002,
        ui(MOVE),
    );
    with("C-MOVE-RQ", set(find.clone(), 0x0600, text("VIEWER")));
    with("C-MOVE-RQ without destination", find.clone());
    with(
        "C-MOVE-RQ to a blank destination",
        set(find, 0x0600, text("  ")),
    );
    with("no message id", without(store(), 0x0110));
    with("no SOP class", without(store(), 0x0002));
    with("no SOP instance", without(store(), 0x1000));
    with("empty SOP instance", set(store(), 0x1000, vec![]));
    with(
        "path as SOP instance",
        set(store(), 0x1000, text("../../etc/x")),
    );
    with(
        "SOP instance with leading zero",
        set(store(), 0x1000, ui("1.02.3")),
    );
    with("unknown command field", set(store(), 0x0100, us(0x0999)));
    with(
        "C-CANCEL-RSP",
        set(response(0x8fff, 1, 0), 0x0100, us(0x8fff)),
    );
    with("priority 3", set(store(), 0x0700, us(3)));
    with(
        "message id of 4 bytes",
        set(store(), 0x0110, vec![1, 0, 0, 0]),
    );
    with(
        "data set announced by C-ECHO",
        set(echo_rq(1), 0x0800, us(1)),
    );
    with(
        "no data set announced by C-STORE",
        set(store(), 0x0800, us(0x0101)),
    );
    with("unknown element", set(store(), 0x0999, us(1)));
    with("element of another message", set(store(), 0x0900, us(0)));
    with("retired element", set(store(), 0x0001, vec![0; 4]));
    with(
        "originator",
        set(set(store(), 0x1030, text("PACS1")), 0x1031, us(4)),
    );
    with(
        "originator without values",
        set(set(store(), 0x1030, vec![]), 0x1031, vec![]),
    );
    with(
        "originator with escape",
        set(store(), 0x1030, text("\x1b[2J")),
    );
    with(
        "originator without message id",
        set(store(), 0x1030, text("PACS1")),
    );
    let answer = |field, status, more: &[(u16, u16)]| {
        let numbers = more.iter().copied();
        numbers.fold(response(field, 7, status), |elements, (tag, value)| {
            set(elements, tag, us(value))
        })
    };
    let counts = [(0x1020, 2), (0x1021, 1), (0x1022, 0), (0x1023, 0)];
    with("C-STORE-RSP warning", answer(0x8001, 0xb007, &[]));
    with("C-STORE-RSP pending", answer(0x8001, 0xff00, &[]));
    with("C-STORE-RSP cancelled", answer(0x8001, 0xfe00, &[]));
    with("status of no class", answer(0x8001, 0x5000, &[]));
    with(
        "C-FIND-RSP with a match",
        answer(0x8020, 0xff00, &[(0x0800, 1)]),
    );
    with("C-FIND-RSP without its match", answer(0x8020, 0xff00, &[]));
    with(
        "C-FIND-RSP, last, with a match",
        answer(0x8020, 0, &[(0x0800, 1)]),
    );
    with("C-MOVE-RSP pending", answer(0x8021, 0xff00, &counts));
    with(
        "C-MOVE-RSP pending without counts",
        answer(0x8021, 0xff00, &counts[..3]),
    );
    with("C-MOVE-RSP done", answer(0x8021, 0, &counts[1..]));
    with("C-MOVE-RSP done, two remain", answer(0x8021, 0, &counts));
    with(
        "C-MOVE-RSP cancelled, two remain",
        answer(0x8021, 0xfe00, &counts),
    );
    with(
        "C-MOVE-RSP failed instances of a success",
        answer(0x8021, 0, &[(0x0800, 1)]),
    );
    with(
        "C-MOVE-RSP failed instances of a warning",
        answer(0x8021, 0xb000, &[(0x0800, 1)]),
    );
    with(
        "N-ACTION-RSP with a reply of no type",
        answer(0x8130, 0, &[(0x0800, 1)]),
    );
    with(
        "N-ACTION-RSP with a reply",
        answer(0x8130, 0, &[(0x0800, 1), (0x1008, 1)]),
    );
    with("odd value", set(store(), 0x1000, b"1.2".to_vec()));
    let mut twice = store();
    twice.insert(1, twice[0].clone());
    with("twice", twice);
    let mut order = store();
    order.swap(0, 1);
    with("out of order", order);
    let mut length = command(&store());
    length[8] ^= 2;
    cases.push(("wrong group length", length));
    cases.push(("no group length", command(&store())[12..].to_vec()));
    cases.push((
        "group 0008",
        [command(&echo_rq(1)), vec![8, 0, 0x16, 0, 0, 0, 0, 0]].concat(),
    ));
    let mut leftover = command(&echo_rq(1));
    leftover.push(0);
    cases.push(("a byte left over", leftover));
    cases.push(("empty", vec![]));
    let table: String = cases
        .into_iter()
        .map(|(name, bytes)| verdict(name, bytes))
        .collect();
    insta::assert_snapshot!(table);
}

fn verdict(name: &str, bytes: Vec<u8>) -> String {
    match Command::parse(&Bytes::from(bytes), Base::Standard) {
        Ok(command) => {
            let warned: String = command
                .warnings()
                .iter()
                .map(|w| format!(" (warns: {} {})", w.location, w.detail))
                .collect();
            format!("{name}: accepts {command:?}{warned}\n")
        }
        Err(refusal) => format!("{name}: refuses {} | {refusal}\n", refusal.reason.code()),
    }
}

#[test]
fn our_answers_are_well_formed() {
    let parse = |bytes: Vec<u8>| Command::parse(&Bytes::from(bytes), Base::Strict);
    for (request, wanted, given) in [
        (store_rq(CT, INSTANCE), status::DATA_SET_MISMATCH, 0xa900),
        (echo_rq(5), status::NOT_AUTHORIZED, 0x0122),
    ] {
        let request = parse(command(&request)).unwrap();
        let comment = "x".repeat(80);
        let spoken = refusal_response(&request, 3, wanted, &comment, 16384)
            .unwrap()
            .into_bytes();
        let answer = parse(spoken[12..].to_vec()).unwrap();
        assert_eq!(answer.status(), Some(given));
        assert_eq!(answer.message_id(), request.message_id());
        assert_eq!(answer.sop_class(), request.sop_class());
        assert_eq!(answer.service(), request.service());
        assert_eq!((spoken[10], spoken[11]), (3, 3));
    }
    let answer = parse(command(&response(0x8001, 7, 0))).unwrap();
    assert!(refusal_response(&answer, 3, 0xa700, "", 16384).is_none());
}
