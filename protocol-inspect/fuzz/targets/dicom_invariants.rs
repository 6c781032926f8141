//! What holds for any bytes as a stream of PDUs, as a dialogue, as a data set and as a file.
//! Shared by the fuzz targets and by the test that replays their corpora.
//!
//! The first byte of an input says how the rest is judged: bit 0 by the strict profile, bit 1 with tight limits,
//! bits 2 to 4 the transfer syntax, and all of it where the rest is cut.

use std::sync::Arc;

use protocol_inspect::dicom::{
    Brief, Content, Dialogue, Event, Facts, Pdu, PduReader, Peer, Policy, Profile, Rule,
    TransferSyntax, Walker, answer, filter, inspect_offline,
};
use protocol_inspect::{Base, Limits, Refusal};

/// A stream of PDUs of one side.
pub(crate) fn stream(input: &[u8]) {
    let Some((&how, bytes)) = input.split_first() else {
        return;
    };
    let policy = policy(how);
    let whole = pdus(&policy, std::iter::once(bytes));
    assert_eq!(pdus(&policy, bytes.chunks(1)), whole, "byte by byte");
    assert_eq!(pdus(&policy, cut(bytes, how)), whole, "in pieces");
    for pdu in whole.iter().flatten() {
        let Pdu::AssociateRq(request) = pdu else {
            continue;
        };
        // What goes on is a request that the strict reader takes, and asks for no more than the original.
        let Ok(filtered) = filter(request, &policy) else {
            continue;
        };
        // Where nothing is left, nothing is sent.
        if filtered.is_empty() {
            continue;
        }
        let bytes = filtered.request().into_bytes();
        let again = pdus(&self::policy(1), std::iter::once(&bytes[..]));
        let [Ok(Pdu::AssociateRq(sent))] = &again[..] else {
            panic!("what is sent on is no request: {again:?}");
        };
        assert!(sent.contexts().len() <= request.contexts().len());
        assert_eq!(sent.calling_ae(), request.calling_ae());
        assert!(sent.warnings().is_empty());
    }
}

fn pdus<'a>(policy: &Policy, pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Result<Pdu, Said>> {
    let mut reader = PduReader::new(&policy.limits, policy.base());
    let mut all = Vec::new();
    for piece in pieces {
        reader.receive(piece);
        while let Some(pdu) = reader.poll() {
            join(&mut all, pdu.map_err(|violation| said(&violation.refusal)));
        }
        let most = policy
            .limits
            .dicom_pdu
            .max(policy.limits.dicom_association_pdu);
        assert!(
            reader.buffered() <= most + 6 + piece.len(),
            "{}",
            reader.buffered()
        );
    }
    all
}

/// Values are handed over in pieces; what they are pieces of does not depend on the chunks.
fn join(all: &mut Vec<Result<Pdu, Said>>, pdu: Result<Pdu, Said>) {
    let (Some(Ok(Pdu::PData(before))), Ok(Pdu::PData(values))) = (all.last_mut(), &pdu) else {
        all.push(pdu);
        return;
    };
    for value in values {
        match before.last_mut() {
            Some(open)
                if !open.last
                    && (open.context_id, open.command) == (value.context_id, value.command) =>
            {
                open.data = [&open.data[..], &value.data].concat().into();
                open.last = value.last;
            }
            Some(_) | None => before.push(value.clone()),
        }
    }
}

/// Fragments of both sides of an association: a byte for side, context and control header, two of length, the fragment.
pub(crate) fn dialogue(input: &[u8]) {
    let Some((&how, mut rest)) = input.split_first() else {
        return;
    };
    let policy = Arc::new(policy(how));
    let Some(established) = established(&policy, how) else {
        return;
    };
    let mut dialogue = Dialogue::new(established, &policy);
    let mut held: [Vec<u8>; 2] = [Vec::new(), Vec::new()];
    while let [which, high, low, behind @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(behind.len());
        let (fragment, next) = behind.split_at(length);
        rest = next;
        let from = if which & 1 == 0 {
            Peer::Requestor
        } else {
            Peer::Acceptor
        };
        let content = [&[1 + (which >> 1 & 2), which >> 3 & 3], fragment].concat();
        let value = [
            &u32::try_from(content.len()).unwrap_or(0).to_be_bytes()[..],
            &content,
        ]
        .concat();
        let head = [
            &[4, 0][..],
            &u32::try_from(value.len()).unwrap_or(0).to_be_bytes(),
        ]
        .concat();
        let Some(Ok(Pdu::PData(values))) = pdus(&policy, [&head[..], &value].into_iter()).pop()
        else {
            continue;
        };
        for value in values {
            if let Err(violation) = dialogue.receive(from, value) {
                let _ = said(&violation.refusal);
                return;
            }
            while let Some((of, event)) = dialogue.poll() {
                let held = &mut held[usize::from(of == Peer::Acceptor)];
                told(event, held);
            }
        }
    }
}

/// What is approved releases what was held, and not a byte more.
fn told(event: Event, held: &mut Vec<u8>) {
    match event {
        Event::Held(bytes) => held.extend_from_slice(&bytes),
        Event::Command(_) => assert!(held.is_empty(), "two messages at once"),
        Event::Released(..) => panic!("no rule streams here"),
        Event::Condemned(_) => held.clear(),
        // Answers that the rule has no room for are swallowed, and the last one is our own.
        Event::Surplus(_) | Event::Cut(_) => held.clear(),
        Event::Refused(refused) => {
            let _ = said(refused.refusal());
            held.clear();
        }
        Event::Complete(mut approved) => {
            assert_eq!(approved.data_length(), held.len() as u64);
            assert!(approved.warnings().len() <= MOST_WARNINGS);
            if !held.is_empty() {
                let bytes = std::mem::take(held).into();
                assert!(approved.data_permit(bytes).is_ok());
            }
            assert!(approved.last_permit().is_some());
            assert!(approved.is_released() && approved.last_permit().is_none());
            assert!(approved.data_permit(b"more".to_vec().into()).is_err());
            held.clear();
        }
    }
}

/// The elements of a data set, in one transfer syntax.
pub(crate) fn data_set(input: &[u8]) {
    let Some((&how, bytes)) = input.split_first() else {
        return;
    };
    let syntax = SYNTAXES[usize::from(how >> 2) % SYNTAXES.len()];
    let Some(syntax) = TransferSyntax::from_uid(syntax) else {
        return;
    };
    let policy = Arc::new(policy(how));
    let whole = walk(syntax, &policy, std::iter::once(bytes));
    assert_eq!(
        walk(syntax, &policy, bytes.chunks(1)),
        whole,
        "byte by byte"
    );
    assert_eq!(walk(syntax, &policy, cut(bytes, how)), whole, "in pieces");
    // What passes the strict profile passes the standard one.
    if how & 1 == 1 && whole.is_ok() {
        let standard = Arc::new(self::policy(how & !1));
        let lenient = walk(syntax, &standard, std::iter::once(bytes));
        assert!(lenient.is_ok(), "{lenient:?}");
    }
}

fn walk<'a>(
    syntax: TransferSyntax,
    policy: &Arc<Policy>,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Result<(Facts, Vec<String>), Said> {
    let brief = Brief {
        content: Content::Instance(None),
        policy: policy.clone(),
        rule: Some(0),
    };
    let mut walker = Walker::new(syntax, &brief);
    for piece in pieces {
        walker.feed(piece).map_err(|refusal| said(&refusal))?;
    }
    let facts = walker.finish().map_err(|refusal| said(&refusal))?;
    let warnings: Vec<String> = walker.warnings().iter().map(|w| w.detail.clone()).collect();
    assert!(warnings.len() <= MOST_WARNINGS);
    Ok((facts, warnings))
}

/// A Part 10 file, or a raw stream of a client.
pub(crate) fn file(input: &[u8]) {
    let Some((&how, bytes)) = input.split_first() else {
        return;
    };
    let raw = how & 4 == 4;
    let strict = inspect_offline(bytes, raw, Base::Strict);
    let standard = inspect_offline(bytes, raw, Base::Standard);
    for report in strict.iter().chain(&standard) {
        if let Some(refusal) = &report.refusal {
            let _ = said(refusal);
        }
        assert!(report.warnings.len() <= MOST_WARNINGS);
    }
    let clean = |reports: &[protocol_inspect::Report]| reports.iter().all(|r| r.refusal.is_none());
    assert!(
        !clean(&strict) || clean(&standard),
        "strict is more lenient"
    );
}

/// What a refusal says, which is short and ours.
type Said = String;

fn said(refusal: &Refusal) -> Said {
    let text = refusal.to_string();
    assert!(text.len() <= LONGEST_TEXT, "{text}");
    text
}

fn policy(how: u8) -> Policy {
    let limits = if how & 2 == 2 {
        Limits {
            dicom_pdu: 300,
            dicom_association_pdu: 600,
            dicom_contexts: 3,
            dicom_command: 200,
            dicom_dataset: 1_000,
            dicom_depth: 3,
            dicom_elements: 30,
            ..Limits::default()
        }
    } else {
        Limits::default()
    };
    let base = if how & 1 == 1 {
        Base::Strict
    } else {
        Base::Standard
    };
    Policy {
        limits,
        rules: vec![Rule {
            name: "any".to_owned(),
            allow: ["C-ECHO", "C-STORE", "C-FIND", "C-GET", "C-MOVE", "N-ACTION"]
                .map(str::to_owned)
                .to_vec(),
            move_destinations: vec!["*".to_owned()],
            profiles: vec![Profile::of(base)],
            ..Rule::default()
        }],
        ..Policy::default()
    }
}

/// An association for CT images and for queries, in this transfer syntax; `None` if the profile does not carry it.
fn established(policy: &Policy, how: u8) -> Option<protocol_inspect::dicom::Established> {
    let syntax = SYNTAXES[usize::from(how >> 2) % SYNTAXES.len()];
    let context = |id: u8, class: &str| {
        let parts = [item(0x30, class.as_bytes()), item(0x40, syntax.as_bytes())].concat();
        item(0x20, &[&[id, 0, 0, 0], &parts[..]].concat())
    };
    let user = item(
        0x50,
        &[item(0x51, &[0, 0, 64, 0]), item(0x52, b"1.2.3")].concat(),
    );
    let application = item(0x10, b"1.2.840.10008.3.1.1.1");
    let request = [
        &[0, 1, 0, 0][..],
        b"PACS1           US07            ",
        &[0; 32],
        &application,
        &context(1, "1.2.840.10008.5.1.4.1.1.2"),
        &context(3, "1.2.840.10008.5.1.4.1.2.2.1"),
        &user,
    ];
    let accepted = |id: u8| {
        let syntax = item(0x40, syntax.as_bytes());
        item(0x21, &[&[id, 0, 0, 0], &syntax[..]].concat())
    };
    let answered = [
        &[0, 1, 0, 0][..],
        &[0; 64],
        &application,
        &accepted(1),
        &accepted(3),
        &user,
    ];
    let read = |kind: u8, content: &[u8]| {
        let length = u32::try_from(content.len()).unwrap_or(0).to_be_bytes();
        let bytes = [&[kind, 0], &length[..], content].concat();
        let lenient = Policy {
            rules: policy.rules.clone(),
            ..Policy::default()
        };
        pdus(&lenient, std::iter::once(&bytes[..])).pop()
    };
    let Some(Ok(Pdu::AssociateRq(request))) = read(1, &request.concat()) else {
        panic!("the request is right");
    };
    let Some(Ok(Pdu::AssociateAc(accept))) = read(2, &answered.concat()) else {
        panic!("the answer is right");
    };
    let filtered = filter(&request, policy).expect("the request is allowed");
    if filtered.is_empty() {
        return None;
    }
    Some(answer(&filtered, &accept).expect("the answer fits").1)
}

fn item(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap_or(0).to_be_bytes();
    [&[kind, 0], &length[..], content].concat()
}

/// Pieces of lengths that follow from a seed.
fn cut(stream: &[u8], seed: u8) -> impl Iterator<Item = &[u8]> {
    let mut state = u32::from(seed) | 0x100;
    let mut rest = stream;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let length = usize::try_from(state >> 27).unwrap_or(1) + 1;
        let (piece, after) = rest.split_at(length.min(rest.len()));
        rest = after;
        Some(piece)
    })
}

/// As the first byte of an input chooses them.
const SYNTAXES: [&str; 8] = [
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.100",
];

/// Findings of one data set or association are few, whatever it holds.
const MOST_WARNINGS: usize = 80;

/// Reasons are ours: places and words, no values.
const LONGEST_TEXT: usize = 400;
