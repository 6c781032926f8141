//! For any bytes in any chunks: the same verdict, no panic, and no more kept than the bounds say.

use super::data_set::brief;
use proptest::prelude::*;
use protocol_inspect::dicom::{PduReader, TransferSyntax, Walker, inspect_offline};
use protocol_inspect::{Base, Limits};

use super::build::{CT, EXPLICIT, INSTANCE, JPEG, Rq, command, ct, echo_rq, p_data, pdu, store_rq};

const SYNTAXES: [TransferSyntax; 4] = [
    TransferSyntax::ImplicitLittle,
    TransferSyntax::ExplicitLittle,
    TransferSyntax::ExplicitBig,
    TransferSyntax::Encapsulated,
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
                    all.push(pdu);
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
