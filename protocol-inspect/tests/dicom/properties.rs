//! For any bytes in any chunks: the same verdict, no panic, and no more kept than the bounds say.

use super::data_set::brief;
use proptest::prelude::*;
use protocol_inspect::dicom::{
    Compression, Pdu, PduReader, TransferSyntax, Violation, Walker, inspect_offline,
};
use protocol_inspect::{Base, Limits};

use super::build::{
    CT, EXPLICIT, INSTANCE, JPEG, Rq, command, ct, deflated, echo_rq, element, p_data, pdu,
    store_rq,
};
use super::pixels::{Image, jpeg};

const SYNTAXES: [TransferSyntax; 6] = [
    TransferSyntax::ImplicitLittle,
    TransferSyntax::ExplicitLittle,
    TransferSyntax::ExplicitBig,
    TransferSyntax::Encapsulated(Compression::Jpeg),
    TransferSyntax::Encapsulated(Compression::Rle),
    TransferSyntax::Deflated,
];

/// A stream of a client, sometimes damaged in one place.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let whole = [
        Rq::new(&[
            (1, "1.2.840.10008.1.1", &[EXPLICIT]),
            (3, CT, &[EXPLICIT, JPEG]),
        ])
        .bytes(),
        p_data(1, true, true, &command(&echo_rq(1))),
        p_data(3, true, true, &command(&store_rq(CT, INSTANCE))),
        p_data(3, false, true, &ct().concat()),
        pdu(5, &[0; 4]),
    ]
    .concat();
    damaged(whole)
}

fn data_set() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        damaged(ct().concat()),
        damaged(deflated(&ct().concat())),
        damaged(encapsulated()),
        damaged(document()),
        proptest::collection::vec(any::<u8>(), 0..300)
    ]
}

fn damaged(whole: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let len = whole.len();
    (any::<bool>(), 0..len, any::<u8>(), 0..=len).prop_map(move |(damage, place, byte, cut)| {
        let mut bytes = whole.clone();
        if damage {
            bytes[place] = byte;
        }
        if byte % 4 == 0 {
            bytes.truncate(cut);
        }
        bytes
    })
}

/// Frames and an extended offset table, with more bytes than judges keep.
fn encapsulated() -> Vec<u8> {
    let frame = [jpeg(0xc0, 4, 3), vec![1; 1500]].concat();
    let wide = |numbers: [u64; 2]| numbers.map(u64::to_le_bytes).concat();
    let length = u64::try_from(frame.len()).unwrap();
    Image::new()
        .with(0x0028, 0x0008, "IS", b"2 ")
        .with(0x7fe0, 0x0001, "OV", &wide([0, length + 8]))
        .with(0x7fe0, 0x0002, "OV", &wide([length, length]))
        .encapsulated(&[], &[&frame, &frame])
}

/// A PDF longer than what judges keep.
fn document() -> Vec<u8> {
    let pdf = [
        b"%PDF-1.7".to_vec(),
        vec![b' '; 1500],
        b" /AA <<>>".to_vec(),
        vec![0],
    ]
    .concat();
    [
        element(0x0042, 0x0011, "OB", &pdf),
        element(0x0042, 0x0012, "LO", b"application/pdf "),
    ]
    .concat()
}

/// Cuts bytes at the given places.
fn chunks<'b>(bytes: &'b [u8], sizes: &[usize]) -> Vec<&'b [u8]> {
    let mut rest = bytes;
    let mut all = Vec::new();
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (chunk, behind) = rest.split_at((*size).min(rest.len()));
        all.push(chunk);
        rest = behind;
    }
    all
}

/// Values are handed over in pieces; what they are pieces of does not depend on the chunks.
fn join(all: &mut Vec<Result<Pdu, Violation>>, pdu: Result<Pdu, Violation>) {
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
                open.data = [&open.data[..], &value.data[..]].concat().into();
                open.last = value.last;
            }
            Some(_) | None => before.push(value.clone()),
        }
    }
}

proptest! {
    #[test]
    fn pdus_do_not_depend_on_chunks(
        bytes in stream(),
        sizes in proptest::collection::vec(1_usize..40, 1..8),
    ) {
        let read = |chunks: Vec<&[u8]>| {
            let mut reader = PduReader::new(&Limits::default(), Base::Standard);
            let mut all = Vec::new();
            for chunk in chunks {
                reader.receive(chunk);
                while let Some(pdu) = reader.poll() {
                    join(&mut all, pdu);
                }
            }
            all
        };
        prop_assert_eq!(read(vec![&bytes]), read(chunks(&bytes, &sizes)));
    }

    #[test]
    fn data_sets_do_not_depend_on_chunks(
        bytes in data_set(),
        sizes in proptest::collection::vec(1_usize..40, 1..8),
    ) {
        for syntax in SYNTAXES {
            let walk = |chunks: Vec<&[u8]>| {
                let mut walker = Walker::new(syntax, &brief(Base::Standard, &Limits::default()));
                for chunk in chunks {
                    walker.feed(chunk)?;
                }
                let facts = walker.finish()?;
                Ok::<_, protocol_inspect::Refusal>((facts, walker.warnings().to_vec()))
            };
            prop_assert_eq!(walk(vec![&bytes]), walk(chunks(&bytes, &sizes)));
        }
    }

    #[test]
    fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400), damaged in stream()) {
        for bytes in [bytes, damaged] {
            let _ = inspect_offline(&bytes, false, Base::Standard);
            let _ = inspect_offline(&bytes, true, Base::Strict);
        }
    }

    #[test]
    fn a_reader_keeps_one_pdu_at_most(
        bytes in proptest::collection::vec(any::<u8>(), 1..4000),
        len in 0_u32..5000,
    ) {
        let limits = Limits { dicom_pdu: 1000, ..Limits::default() };
        let mut reader = PduReader::new(&limits, Base::Standard);
        let header = [&[4, 0][..], &len.to_be_bytes()].concat();
        for chunk in [&header[..], &bytes].concat().chunks(64) {
            reader.receive(chunk);
            while reader.poll().is_some() {}
            prop_assert!(reader.buffered() <= 1000 + 6);
        }
    }
}
