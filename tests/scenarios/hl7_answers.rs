//! A destination that answers endlessly, hugely or byte by byte: the sender is not told a success, memory stays.

use std::net::SocketAddr;
use std::time::Duration;

use e2e::hl7::{self, Reply};
use e2e::{Behaviour, Clinic, Lab, Place, Sink, memory, wait};

//= C6 C7
#[test]
fn answers_without_measure_are_given_up() {
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let six: SocketAddr = "[fd20::210]:2575".parse().unwrap();
        let relay = clinic.gateway.workers()["relay-hl7"];
        let (before, _) = memory(relay);
        // Each message has a number of its own: a known one would be answered from memory.
        let acknowledgement = |control| hl7::frame(&hl7::acknowledge(&hl7::oru(control)));
        let endless = [&[0x0b], b"MSH|^~\\&|".as_slice(), &vec![b'x'; 64 << 20]].concat();
        let cases = [
            ("without end", endless),
            (
                "junk first",
                [b"hello".as_slice(), &acknowledgement("B1")].concat(),
            ),
            ("NUL bytes", vec![0; 1000]),
            ("two answers", acknowledgement("B3").repeat(2)),
            ("a message instead", hl7::frame(&hl7::oru("B4"))),
            ("an empty frame", hl7::frame(b"")),
        ];
        for (number, (name, answer)) in cases.into_iter().enumerate() {
            let sink = Sink::listen(lab, Place::Hospital, six, Behaviour::Say(answer));
            let mut client = clinic.ecg.mllp(six);
            let message = hl7::oru(&format!("B{number}"));
            client.send(&hl7::frame(&message)).unwrap();
            let (reply, took) = wait::timed(|| client.reply(wait::SOON));
            match reply {
                // The first of two answers is an answer.
                Reply::Answer(answer) if name == "two answers" => assert_eq!(answer.code, "AA"),
                Reply::Closed | Reply::Reset => {}
                other @ (Reply::Answer(_) | Reply::Nothing) => panic!("{name}: {other:?}"),
            }
            assert!(took < Duration::from_secs(8), "{name}: {took:?}");
            sink.close();
        }
        let (_, most) = memory(relay);
        assert!(
            most < before + (32 << 10),
            "grew from {before} to {most} KiB"
        );
        let sink = Sink::listen(lab, Place::Hospital, six, Behaviour::Acknowledge);
        assert_eq!(clinic.ecg.mllp(six).exchange(&hl7::oru("C")).code, "AA");
        assert_eq!(sink.bytes(), hl7::frame(&hl7::oru("C")));
        assert_eq!(
            clinic
                .ecg
                .mllp(clinic.his.address())
                .exchange(&hl7::oru("D"))
                .code,
            "AA"
        );
    });
}
