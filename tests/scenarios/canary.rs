//! A word that stands for a patient is put wherever a device can put one, right places and wrong ones; afterwards
//! nothing that the gateway wrote, says or shows contains it, and no process carries it or a key around.

use e2e::{Archive, Archiving, Clinic, Device, Images, Lab, Place, hl7, leaks, wait};

const WORD: &str = "CANARYNAME";

//= C8
#[test]
fn nothing_of_a_message_is_written_or_shown() {
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let us = Device::connect(lab, &clinic.site, "us-07", Place::Home2);
        let images = Images::make(lab);
        let archive = Archive::start(lab, Archiving::Pynetdicom);
        let sent = tell_everywhere(&clinic);
        clinic.his.behave("garbage");
        tell(&clinic, &hl7::oru("GARBAGE"));
        clinic.his.behave("AA");
        for script in [
            "store",
            "class-mismatch",
            "odd-length",
            "unordered",
            "truncated",
        ] {
            let _ = us.modality(script, "US07", "PACS1", &images.path("us.dcm"));
        }
        for (calling, called) in [(WORD, "PACS1"), ("US07", WORD)] {
            let _ = us.modality("store", calling, called, &images.path("us.dcm"));
        }
        assert!(!archive.stored().is_empty());
        let decided = clinic
            .gateway
            .wait_for_decisions("ecg-0042", sent - 10)
            .len();
        assert!(decided > 30, "{decided}");

        let words = [WORD, "CANARY^DICOM", "4711^^^NORD", "GREY^ANNA"];
        assert_eq!(leaks(&clinic.gateway, &words), [""; 0]);
        for line in [
            &["audit", "tail"][..],
            &["session", "list"],
            &["status"],
            &["flow", "denied"],
        ] {
            let said = clinic.gateway.lazaret(line).all();
            for word in words {
                assert!(!said.contains(word), "{line:?}: {said}");
            }
        }
        let private =
            std::fs::read_to_string(clinic.site.directory().join("wireguard.key")).unwrap();
        let mut processes: Vec<u32> = clinic.gateway.workers().into_values().collect();
        processes.push(clinic.gateway.pid());
        for pid in processes {
            for file in ["environ", "cmdline", "comm", "status"] {
                let bytes = std::fs::read(format!("/proc/{pid}/{file}")).unwrap();
                let text = String::from_utf8_lossy(&bytes);
                for word in words.iter().copied().chain([private.trim()]) {
                    assert!(!text.contains(word), "{file} of {pid}");
                }
            }
        }
        let spelled: Vec<&str> = vec![private.trim()];
        assert_eq!(
            leaks(&clinic.gateway, &spelled),
            [""; 0],
            "the key of the tunnel"
        );
        assert_eq!(
            clinic
                .ecg
                .mllp(clinic.his.address())
                .exchange(&hl7::oru("END"))
                .code,
            "AA"
        );
    });
}

/// The word in every field of every segment, one at a time, and where a segment's name belongs; how many messages.
fn tell_everywhere(clinic: &Clinic<'_>) -> usize {
    let mut sent = 0;
    // The word in every field of every segment, one at a time, and as the name of a segment.
    for (number, segment) in ["MSH", "PID", "OBR", "OBX"].iter().enumerate() {
        for field in 2..14 {
            let text = String::from_utf8(hl7::oru(&format!("C{number}{field}"))).unwrap();
            let mut segments: Vec<String> =
                text.split_terminator('\r').map(str::to_owned).collect();
            let mut fields: Vec<&str> = segments[number].split('|').collect();
            // MSH-1 is the separator, so that MSH-3 is the third part; none of them has so many fields.
            let at = if *segment == "MSH" { field - 1 } else { field };
            while fields.len() <= at {
                fields.push("");
            }
            let word = format!("{WORD}^ZOE\\{WORD}\\");
            fields[at] = &word;
            segments[number] = fields.join("|");
            let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
            tell(clinic, &hl7::message(&parts));
            sent += 1;
        }
    }
    for text in [
        format!("{WORD}|^~\\&|ECG|CARDIO\r"),
        format!(
            "MSH|^~\\&|ECG|CARDIO|HIS|NORD|20260102101500||ORU^R01^ORU_R01|C1|P|2.5.1\r{WORD}|1\r"
        ),
        WORD.to_owned(),
    ] {
        tell(clinic, text.as_bytes());
        sent += 1;
    }
    sent
}

/// Says something on a connection of its own, whatever comes back.
fn tell(clinic: &Clinic<'_>, content: &[u8]) {
    let mut client = clinic.ecg.mllp(clinic.his.address());
    let _ = client.send(&hl7::frame(content));
    let _ = client.reply(wait::SOON);
}
