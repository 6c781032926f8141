//! Capsules: those of the standard, each malformed one beside its twin, and every way to cut them.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::masque::Code;
use crate::masque::capsule::{
    Address, Capsule, MAX_ADDRESSES, MAX_ROUTES, Piece, Reader, in_order,
};

fn read(bytes: &[u8]) -> Result<Vec<Piece>, (Code, &'static str)> {
    let (mut reader, mut rest, mut found) = (Reader::default(), bytes, Vec::new());
    while let Some(piece) = reader.next(&mut rest)? {
        found.push(piece);
    }
    assert!(rest.is_empty());
    Ok(found)
}

fn write(capsule: &Capsule) -> Vec<u8> {
    let mut out = Vec::new();
    capsule.write(&mut out);
    out
}

#[test]
fn each_malformed_capsule_beside_its_twin() {
    let route = |start: u8, end: u8, protocol: u8| [4, 10, 0, 0, start, 10, 0, 0, end, protocol];
    let six = [&[6][..], &[0; 32], &[0]].concat();
    let two = |first: &[u8], second: &[u8]| frame(3, &[first, second].concat());
    let cases: Vec<(&str, Vec<u8>, Vec<u8>)> = vec![
        (
            "no version of IP",
            frame(1, &[0, 4, 10, 0, 0, 1, 32]),
            frame(1, &[0, 5, 10, 0, 0, 1, 32]),
        ),
        (
            "cut short",
            frame(1, &[0, 4, 10, 0, 0, 1, 32]),
            frame(1, &[0, 4, 10, 0, 0, 1]),
        ),
        (
            "a long prefix",
            frame(1, &[0, 4, 10, 0, 0, 1, 32]),
            frame(1, &[0, 4, 10, 0, 0, 1, 33]),
        ),
        (
            "bits beyond",
            frame(1, &[0, 4, 10, 0, 0, 0, 24]),
            frame(1, &[0, 4, 10, 0, 0, 1, 24]),
        ),
        (
            "no request",
            frame(2, &[1, 4, 0, 0, 0, 0, 32]),
            frame(2, &[]),
        ),
        (
            "request 0",
            frame(2, &[1, 4, 0, 0, 0, 0, 32]),
            frame(2, &[0, 4, 0, 0, 0, 0, 32]),
        ),
        (
            "a request twice",
            frame(2, &[1, 4, 0, 0, 0, 0, 32, 2, 4, 0, 0, 0, 0, 32]),
            frame(2, &[1, 4, 0, 0, 0, 0, 32, 1, 4, 0, 0, 0, 0, 32]),
        ),
        (
            "the wrong way round",
            frame(3, &route(1, 2, 0)),
            frame(3, &route(2, 1, 0)),
        ),
        (
            "a route cut short",
            frame(3, &route(1, 2, 0)),
            frame(3, &route(1, 2, 0)[..9]),
        ),
        (
            "overlap",
            two(&route(1, 2, 0), &route(3, 4, 0)),
            two(&route(1, 2, 0), &route(2, 4, 0)),
        ),
        (
            "protocols",
            two(&route(3, 4, 6), &route(1, 2, 17)),
            two(&route(3, 4, 17), &route(1, 2, 6)),
        ),
        (
            "families",
            two(&route(1, 2, 9), &six),
            two(&six, &route(1, 2, 9)),
        ),
    ];
    for (what, good, bad) in cases {
        assert!(read(&good).is_ok(), "{what}: the twin");
        assert_eq!(
            read(&bad).map_err(|(code, _)| code),
            Err(Code::Message),
            "{what}"
        );
    }
}

#[test]
fn entries_are_counted() {
    let address = Address {
        request: 0,
        prefix: net("10.0.0.1/32"),
    };
    let addresses = |count| read(&write(&Capsule::AddressAssign(vec![address; count])));
    assert!(addresses(MAX_ADDRESSES).is_ok() && addresses(MAX_ADDRESSES + 1).is_err());
    let routes = |count: usize| {
        let one = |n: usize| {
            let ip = std::net::Ipv4Addr::from(u32::try_from(n * 2).unwrap());
            Route {
                start: ip.into(),
                end: ip.into(),
                protocol: 0,
            }
        };
        read(&write(&Capsule::RouteAdvertisement(
            (0..count).map(one).collect(),
        )))
    };
    assert!(routes(MAX_ROUTES).is_ok() && routes(MAX_ROUTES + 1).is_err());
}

#[test]
fn unknown_and_endless_ones_are_passed_over() {
    // Of the range for greasing, and a packet that nobody could send.
    for kind in [0x17, 0x40_0017, 0x04] {
        let bytes = [
            frame(kind, &[7; 300]),
            write(&Capsule::AddressAssign(vec![])),
        ]
        .concat();
        let found = read(&bytes).unwrap();
        assert_eq!(
            found.last(),
            Some(&Piece::Capsule(Capsule::AddressAssign(vec![])))
        );
        assert!(matches!(found[0], Piece::Skipped(_)));
    }
    let long = frame(0, &vec![0; 9_225]);
    assert!(
        read(&long)
            .unwrap()
            .iter()
            .all(|piece| matches!(piece, Piece::Skipped(_)))
    );
    let whole = frame(0, &vec![0; 9_217]);
    assert_eq!(
        read(&whole).unwrap(),
        [Piece::Capsule(Capsule::Datagram(vec![0; 9_217]))]
    );
    let endless = [&[1][..], &number(16_385)].concat();
    assert_eq!(
        read(&endless).map_err(|(code, _)| code),
        Err(Code::ExcessiveLoad)
    );
    assert_eq!(read(&[&[1][..], &number(16_384)].concat()), Ok(vec![]));
}

#[test]
fn routes_hold_what_they_say() {
    let tcp = route("10.0.0.5", "10.0.0.9", 6);
    for (destination, protocol, held) in [
        ("10.0.0.5", 6, true),
        ("10.0.0.9", 6, true),
        ("10.0.0.10", 6, false),
        ("10.0.0.4", 6, false),
        ("10.0.0.7", 17, false),
        ("10.0.0.7", 1, true),
        ("10.0.0.7", 58, false),
        ("::ffff:10.0.0.7", 6, false),
    ] {
        assert_eq!(
            tcp.holds(destination.parse().unwrap(), protocol),
            held,
            "{destination}"
        );
    }
}

#[test]
fn routes_are_put_in_order() {
    let jumble = vec![
        route("fd00::", "fd00::ff", 0),
        route("10.0.0.5", "10.0.0.9", 6),
        route("10.0.0.0", "10.0.0.4", 0),
        route("10.0.0.2", "10.0.0.3", 0),
        route("10.0.0.4", "10.0.0.8", 0),
    ];
    let ordered = [
        route("10.0.0.0", "10.0.0.8", 0),
        route("10.0.0.5", "10.0.0.9", 6),
        route("fd00::", "fd00::ff", 0),
    ];
    assert_eq!(in_order(jumble), ordered);
}

fn prefix() -> impl Strategy<Value = IpNet> {
    let four = (any::<u32>(), 0_u8..=32)
        .prop_map(|(bits, length)| (std::net::IpAddr::V4(bits.into()), length));
    let six = (any::<u128>(), 0_u8..=128)
        .prop_map(|(bits, length)| (std::net::IpAddr::V6(bits.into()), length));
    prop_oneof![four, six].prop_map(|(ip, length)| IpNet::new(ip, length).unwrap().trunc())
}

fn capsule() -> impl Strategy<Value = Capsule> {
    let address =
        (1_u64..1 << 40, prefix()).prop_map(|(request, prefix)| Address { request, prefix });
    let routes = vec((prefix(), any::<u8>()), 0..9).prop_map(|list| {
        let route = |(prefix, protocol)| Route {
            protocol,
            ..Route::all(prefix)
        };
        Capsule::RouteAdvertisement(in_order(list.into_iter().map(route).collect()))
    });
    prop_oneof![
        vec(any::<u8>(), 0..300).prop_map(Capsule::Datagram),
        vec(address, 0..9).prop_map(Capsule::AddressAssign),
        prefix().prop_map(|prefix| Capsule::AddressRequest(vec![Address { request: 7, prefix }])),
        routes,
        Just(Capsule::Services(grant().services)),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_in_any_pieces(capsules in vec(capsule(), 0..8), piece in 1_usize..50) {
        let bytes: Vec<u8> = capsules.iter().flat_map(write).collect();
        let expected: Vec<_> = capsules.into_iter().map(Piece::Capsule).collect();
        prop_assert_eq!(&read(&bytes).unwrap(), &expected);
        let (mut reader, mut found) = (Reader::default(), Vec::new());
        for chunk in bytes.chunks(piece) {
            let mut rest = chunk;
            while let Some(piece) = reader.next(&mut rest).unwrap() {
                found.push(piece);
            }
        }
        prop_assert!(reader.is_between_capsules());
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..300)) {
        let (mut reader, mut rest) = (Reader::default(), bytes.as_slice());
        while let Ok(Some(_)) = reader.next(&mut rest) {}
    }
}
