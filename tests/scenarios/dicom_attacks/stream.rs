//! Attacks with PDUs: at the wrong time, of the wrong length, or never complete.

use e2e::modality::{DataSet, Modality, Request, US, command, echo, p_data, pdu, store};
use e2e::tunnel::Middle;
use e2e::{Archive, Archiving, Device, Gateway, Lab, PACS, Place, Site, Watch, memory, wait};

use super::{Ward, broken, broken_inside, instance};

/// PDUs that the state of the association does not expect (PS3.8 table 9-10).
#[test]
fn attack_10_state_confusion() {
    const UNEXPECTED: &[&str] = &["ABORT 2/2", "close"];
    let (answer, rejection) = (pdu(2, &[0; 68]), pdu(3, &[0, 1, 1, 1]));
    let (release, released) = (pdu(5, &[0; 4]), pdu(6, &[0; 4]));
    let data = p_data(1, true, true, &command(&echo(1)));
    let request = Request::usual().bytes();
    Lab::run(|lab| {
        let ward = Ward::open(lab);
        broken(
            &ward,
            &[
                ("data before an association", data.clone(), UNEXPECTED),
                (
                    "a rejection before a request",
                    rejection.clone(),
                    UNEXPECTED,
                ),
                (
                    "a release before an association",
                    release.clone(),
                    UNEXPECTED,
                ),
                (
                    "a release answer before an association",
                    released.clone(),
                    UNEXPECTED,
                ),
                (
                    "an unknown PDU",
                    pdu(0x99, &[0; 4]),
                    &["ABORT 2/1", "close"],
                ),
            ],
        );
        broken_inside(
            &ward,
            &[
                ("a second request", request.clone(), UNEXPECTED),
                ("a rejection", rejection, UNEXPECTED),
                (
                    "a release answer that nobody asked for",
                    released,
                    UNEXPECTED,
                ),
                (
                    "an unknown PDU",
                    pdu(0x99, &[0; 4]),
                    &["ABORT 2/1", "close"],
                ),
                ("an answer to no request", answer, &["ABORT 2/6", "close"]),
                (
                    "a release inside of a message",
                    [
                        p_data(1, true, false, &command(&echo(1))[..20]),
                        release.clone(),
                    ]
                    .concat(),
                    &["ABORT 2/2", "close"],
                ),
            ],
        );
        // The twin: released in order, the archive too.
        let mut modality = ward.associated();
        modality.send(&release).unwrap();
        assert_eq!(modality.hears(), "released");
    });
}

/// Lengths that promise gigabytes: refused by the header, before a byte is waited for.
//= C7
#[test]
fn attack_07_length_bombs() {
    const END: &[&str] = &["ABORT 2/6", "close"];
    Lab::run(|lab| {
        let ward = Ward::open(lab);
        let relay = ward.gateway.workers()["relay-dicom"];
        let (before, _) = memory(relay);
        broken(
            &ward,
            &[
                (
                    "a request of 4 GiB",
                    vec![1, 0, 0xff, 0xff, 0xff, 0xff],
                    END,
                ),
                ("a request of 16 MiB", vec![1, 0, 1, 0, 0, 0], END),
            ],
        );
        broken_inside(
            &ward,
            &[
                ("data of 4 GiB", vec![4, 0, 0xff, 0xff, 0xff, 0xff], END),
                (
                    "a fragment of 4 GiB",
                    pdu(4, &[0xff, 0xff, 0xff, 0xff, 1, 3]),
                    END,
                ),
                (
                    "a fragment beyond its PDU",
                    pdu(4, &[0, 0, 0, 9, 1, 3, 0]),
                    END,
                ),
                ("a fragment of length 1", pdu(4, &[0, 0, 0, 1, 1]), END),
                ("an empty PDU", pdu(4, &[]), END),
                (
                    "a command of a megabyte",
                    p_data(1, true, false, &[0; 4096]).repeat(256),
                    END,
                ),
            ],
        );
        let (_, most) = memory(relay);
        assert!(
            most < before + (32 << 10),
            "grew from {before} to {most} KiB"
        );
        assert_eq!(
            ward.gateway.workers()["relay-dicom"],
            relay,
            "the relay died"
        );
    });
}

/// Half a request and then silence ends; single bytes are slow and legal.
#[test]
fn attack_11_slow_drip() {
    Lab::run(|lab| {
        let ward = Ward::open_with(lab, |site| {
            site.replace("receive_timeout = \"5s\"", "receive_timeout = \"1s\"");
        });
        let half = |bytes: Vec<u8>| bytes[..bytes.len() / 2].to_vec();
        let request = half(Request::usual().bytes());
        broken(
            &ward,
            &[
                ("half a request", request, &["close"]),
                ("nothing", Vec::new(), &["close"]),
            ],
        );
        let set = command(&store(1, US, &instance(1)));
        broken_inside(
            &ward,
            &[(
                "half a command",
                half(p_data(1, true, true, &set)),
                &["ABORT 2/0", "close"],
            )],
        );
        // A fragment a byte: legal, and what arrives is the same.
        let image = DataSet::image(&instance(2)).bytes();
        let set = command(&store(2, US, &instance(2)));
        let mut modality = ward.associated();
        let bytes = |of: &[u8], is_command| -> Vec<u8> {
            let last = of.len() - 1;
            let one = |(at, byte): (usize, &u8)| p_data(1, is_command, at == last, &[*byte]);
            of.iter().enumerate().flat_map(one).collect()
        };
        modality.send(&bytes(&set, true)).unwrap();
        modality.send(&bytes(&image, false)).unwrap();
        assert_eq!(modality.hears(), "status 0000");
        let stored = ward.archive.wait_for(2);
        assert!(std::fs::read(&stored[1]).unwrap() == image, "other bytes");
        wait::for_true("no other session is left", wait::SOON, || {
            ward.gateway.status()["sessions"] == 1
        });
    });
}

/// An image changed on its way, by somebody who sits in the internet; nobody sees it in the pixels.
//= C1
//= C2
#[test]
fn attack_14_tampering_in_transit() {
    Lab::run(|lab| {
        let site = Site::standard(lab);
        let archive = Archive::start(lab, Archiving::Pynetdicom);
        let _gateway = Gateway::start(lab, &site);
        let middle = Middle::start(lab);
        let us = Device::prepare(lab, &site, "us-07", Place::Home1);
        us.dial(middle.address());
        us.wait_for_handshake();
        let stream = us.tcp_within((PACS, 104).into(), wait::SOON);
        let mut modality = Modality::new(stream.expect("a connection"));
        assert_eq!(modality.associate(&Request::usual()), "AC 0 0");

        // The association with the archive stands, and still no byte goes over it.
        let watch = Watch::start(lab, Place::Hospital, "eth0");
        middle.tamper(true);
        let image = DataSet::image(&instance(1)).bytes();
        let message = [
            p_data(1, true, true, &command(&store(1, US, &instance(1)))),
            p_data(1, false, true, &image),
        ];
        modality.send(&message.concat()).unwrap();
        wait::for_true("the image and its repetitions, changed", wait::SOON, || {
            middle.tampered() >= 4
        });
        assert_eq!(watch.stop().payload_to((PACS, 104).into()), 0);
        assert!(archive.stored().is_empty());

        // The twin is the same image as TCP sends it again, untouched.
        middle.tamper(false);
        assert_eq!(modality.hears(), "status 0000");
        let stored = archive.wait_for(1);
        assert!(std::fs::read(&stored[0]).unwrap() == image, "other bytes");
    });
}
