//! Lines of each kind, and what is no line.

use super::*;
use crate::flow::{ConnectionId, Flow, Side};

pub(crate) fn key(byte: u8) -> Zeroizing<[u8; 32]> {
    Zeroizing::new([byte; 32])
}

pub(crate) fn decision(number: u64) -> Event {
    Event::Decision {
        connection: ConnectionId(number),
        device: "ecg-0042".parse().unwrap(),
        service: "his-results".parse().unwrap(),
        from: Side::Device,
        what: "message".to_owned(),
        kind: "ORU^R01".to_owned(),
        rule: Some("ecg-results".to_owned()),
        outcome: "refused".to_owned(),
        reason: Some("field".to_owned()),
        location: Some("PID-7".to_owned()),
        detail: Some("is not a date".to_owned()),
        answer: Some("AE".to_owned()),
        length: 1234,
        digest: Some(Keyed::Raw(b"the bytes".to_vec())),
        identifier: Some(Keyed::Raw(b"MSG00001".to_vec())),
        micros: 3100,
        warnings: vec!["field MSH-7".to_owned()],
        would_refuse: None,
    }
}

/// What passed only because its rule is in shadow.
fn in_shadow() -> Event {
    let mut event = decision(3);
    if let Event::Decision {
        outcome,
        reason,
        location,
        detail,
        answer,
        would_refuse,
        ..
    } = &mut event
    {
        *outcome = "forwarded".to_owned();
        (*reason, *location, *detail) = (None, None, None);
        *answer = Some("AA".to_owned());
        *would_refuse = Some("field PID-7: is not a date".to_owned());
    }
    event
}

/// One of each.
#[expect(clippy::too_many_lines, reason = "one of each")]
pub(crate) fn samples() -> Vec<Event> {
    let device: crate::flow::DeviceName = "ecg-0042".parse().unwrap();
    let service: crate::flow::ServiceName = "his-results".parse().unwrap();
    let flow = Flow {
        source: "10.64.0.1".parse().unwrap(),
        destination: "10.20.2.10:2575".parse().unwrap(),
    };
    let word = |text: &str| text.to_owned();
    vec![
        Event::GatewayStarted {
            version: word("0.1.0"),
            config: "ab".repeat(32),
        },
        Event::GatewayStopped,
        Event::WorkerStarted {
            worker: word("relay-hl7"),
            pid: 71,
        },
        Event::WorkerDied {
            worker: word("relay-hl7"),
            status: word("signal 9"),
        },
        Event::PolicyApplied {
            by: 0,
            config: "cd".repeat(32),
            changes: vec![word("device us-07 added"), word("rule consoles removed")],
            why: String::new(),
            proposed_by: None,
            signer: None,
        },
        Event::PolicyRolledBack {
            by: 1002,
            who: word("bob"),
            version: 7,
            config: "cd".repeat(32),
            changes: vec![word("rule consoles removed")],
            why: word("the ward lost its monitors"),
            proposed_by: Some(1001),
            signer: Some(word("chief@example.org")),
        },
        Event::PolicyUndone {
            version: 7,
            config: "cd".repeat(32),
            changes: vec![word("rule consoles added")],
        },
        Event::PolicyConfirmed {
            by: 1002,
            who: word("bob"),
            config: "cd".repeat(32),
        },
        Event::PolicyRefused {
            by: 1000,
            why: word("lazaret.toml:3:1: unknown key"),
        },
        Event::Drift {
            what: word("chain input is missing"),
        },
        Event::DeviceStanding {
            device: device.clone(),
            before: word("active"),
            after: word("quarantined"),
            by: 0,
            why: word("lost \"tablet\"\u{1b}[31m"),
        },
        Event::Device {
            device: device.clone(),
            what: word("added"),
            by: 1000,
            who: word("marie"),
            why: word("trial"),
        },
        Event::BreakGlass {
            what: word("began"),
            rule: word("BREAK-GLASS-3"),
            device: "us-07".parse().unwrap(),
            service: "pacs".parse().unwrap(),
            by: 1001,
            who: word("ana"),
            why: word("shock room"),
            ends: word("2026-11-22T18:30:00Z"),
            uses: 0,
        },
        Event::RegistryTrouble {
            why: word("the registry's database is gone"),
        },
        Event::TunnelUp {
            device: device.clone(),
        },
        Event::TunnelDown {
            device: device.clone(),
        },
        Event::SourceSpoofed {
            device: device.clone(),
            packets: 12,
        },
        Event::HandshakesRefused { handshakes: 3000 },
        Event::PeerChanged {
            device: device.clone(),
            what: word("endpoint"),
        },
        Event::PeerChangeRefused {
            what: word("allowed_ip"),
        },
        Event::ConnectionOpened {
            opener: Side::Device,
            connection: ConnectionId(7),
            device: device.clone(),
            service: service.clone(),
        },
        Event::ConnectionRefused {
            flow,
            device: None,
            why: word("no rule"),
        },
        decision(7),
        in_shadow(),
        Event::Deviation {
            alert: 3,
            device: device.clone(),
            what: word("message"),
            value: word("ADT^A01 to his-results"),
            reaction: word("quarantine"),
        },
        Event::ConsoleBegan {
            device: device.clone(),
            service: service.clone(),
            since: word("2026-11-24T08:03:11Z"),
            continued: true,
        },
        Event::ConsoleEnded {
            device: device.clone(),
            service: service.clone(),
            sessions: 1,
            seconds: 3725,
            flows: 2,
            received: Some(12_345),
            sent: None,
            why: word("idle"),
        },
        Event::ConnectionClosed {
            connection: ConnectionId(7),
            device: device.clone(),
            service,
            forwarded: 41,
            refused: 1,
            received: 90_112,
            sent: 88_000,
        },
        Event::FlowDenied {
            device: Some(device),
            flow,
            transport: word("tcp"),
            packets: 3,
            why: None,
        },
        Event::Command {
            by: 0,
            command: word("kill"),
            about: word("7"),
            result: word("done"),
        },
        Event::RecordsLost { records: 17 },
        Event::Listening {
            address: "[::]:51820".parse().unwrap(),
        },
    ]
}

pub(crate) fn lines() -> Vec<String> {
    let encoder = Encoder::new("chu-nord-1", key(1));
    let time: Timestamp = "2026-11-21T22:56:17.0000015Z".parse().unwrap();
    let mut out = Vec::new();
    let opened = Opened {
        file: "journal-000002.jsonl".to_owned(),
        oldest: "journal-000001.jsonl".to_owned(),
        previous: Some("journal-000001.jsonl".to_owned()),
        cut: Some(17),
        broken: None,
    };
    let mut prev = encoder.encode(1, time, &Content::Opened(&opened), &BEGINNING, &mut out);
    for (event, seq) in samples().iter().zip(2..) {
        prev = encoder.encode(seq, time, &Content::Event(event), &prev, &mut out);
    }
    String::from_utf8(out)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn lines_are_stable() {
    insta::assert_snapshot!(lines().join("\n"));
}

#[test]
fn lines_read_back_and_chain() {
    let mut prev = BEGINNING;
    for (line, seq) in lines().iter().zip(1..) {
        let link = Link::read(line.as_bytes()).unwrap();
        assert!(link.genuine);
        assert_eq!((link.seq, link.prev), (seq, prev));
        prev = link.hash;
        let record = Record::read(line.as_bytes()).unwrap();
        assert_eq!((record.seq, &record.time), (seq, &link.time));
        let strict: Value = serde_json::from_str(line).unwrap();
        assert_eq!(strict["hash"], hex(&link.hash));
    }
}

#[test]
fn raw_values_are_keyed_and_never_written() {
    let all = lines().join("\n");
    assert!(!all.contains("MSG00001") && !all.contains("Raw"));
    assert!(all.contains(&mac(&[1; 32], b"MSG00001")));
    let encoder = Encoder::new("g", key(1));
    assert_eq!(
        encoder.keyed(Keyed::Mac(mac(&[2; 32], b"x"))),
        mac(&[2; 32], b"x")
    );
    assert_eq!(
        encoder.keyed(Keyed::Mac("plain".into())),
        mac(&[1; 32], b"plain")
    );
}

/// Root is a person; what nobody asked for says no user.
#[test]
fn the_gateway_is_no_user() {
    let encoder = Encoder::new("g", key(1));
    for (by, told) in [
        (0, Some(0)),
        (1000, Some(1000)),
        (crate::flow::GATEWAY, None),
    ] {
        let event = Event::DeviceStanding {
            device: "ecg-0042".parse().unwrap(),
            before: "active".to_owned(),
            after: "quarantined".to_owned(),
            by,
            why: "behaviour, alert 1".to_owned(),
        };
        let mut out = Vec::new();
        let content = Content::Event(&event);
        encoder.encode(1, Timestamp::UNIX_EPOCH, &content, &BEGINNING, &mut out);
        let record = Record::read(out.trim_ascii_end()).unwrap();
        assert_eq!(record.number("by"), told);
        let shown = crate::audit::show::line(&record);
        let user = told.map_or("the gateway itself".to_owned(), |by| format!("user {by}"));
        assert!(shown.contains(&format!("by {user}: ")), "{shown}");
        let text = serde_json::to_string(&event).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
    }
}

#[test]
fn long_texts_and_lists_are_bounded() {
    let encoder = Encoder::new("g", key(1));
    let mut out = Vec::new();
    let event = Event::PolicyApplied {
        by: 0,
        config: String::new(),
        changes: vec!["\u{1}é".repeat(5000); 10_000],
        why: String::new(),
        proposed_by: None,
        signer: None,
    };
    encoder.encode(
        1,
        Timestamp::UNIX_EPOCH,
        &Content::Event(&event),
        &BEGINNING,
        &mut out,
    );
    assert!(out.len() < MAX_LINE);
    assert!(Record::read(out.trim_ascii_end()).is_some());
}

#[test]
fn what_is_no_record_is_not_read() {
    for line in [
        "",
        "{}",
        "}",
        "{\"v\":1,\"seq\":1}",
        "\"}",
        "{\"v\":2,\"seq\":1,\"time\":\"",
    ] {
        assert_eq!(Link::read(line.as_bytes()), None, "{line}");
    }
    let good = lines().remove(3);
    assert!(
        !Link::read(good.replace("relay-hl7", "relay-hl8").as_bytes())
            .unwrap()
            .genuine
    );
    assert_eq!(
        Link::read(good.replace("\"v\":1", "\"v\":2").as_bytes()),
        None
    );
}
