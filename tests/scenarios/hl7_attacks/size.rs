//! Attacks by size and number: messages that cost much, parts of messages, and too many of them.

use std::sync::atomic::{AtomicBool, Ordering};

use e2e::{Clinic, Lab, hl7, memory};

use super::{arrives, changed, next, note, refused};

//= C7
#[test]
fn attack_12_amplification() {
    let many = |unit: &str, count: usize| note("A1", &unit.repeat(count));
    let tail =
        |unit: &str, count: usize| [&hl7::oru("A2")[..], unit.repeat(count).as_bytes()].concat();
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let relay = clinic.gateway.workers()["relay-hl7"];
        let (before, _) = memory(relay);
        refused(
            &clinic,
            &[
                ("a million segments", tail("NTE\r", 1_000_000), "AE 207"),
                (
                    "a hundred thousand repetitions",
                    many("a~", 100_000),
                    "AE 207",
                ),
                ("a million subcomponents", many("&", 1_000_000), "AE 207"),
                ("a million components", many("^", 1_000_000), "AE 207"),
                ("a million fields", many("|", 1_000_000), "AE 207"),
                ("a field of three megabytes", many("x", 3 << 20), "AE 207"),
                (
                    "a flood of numbers",
                    tail("OBX|1|NM|8867-4||1||||||F\r", 10_000),
                    "AE 207",
                ),
                (
                    "a million wrong escapes",
                    many("\\Q\\", 300_000),
                    "AE 102 OBX^1^5^1",
                ),
            ],
        );
        // The twins are as large as an honest device may be.
        let numbered: String = (2..4_000)
            .map(|n| format!("OBX|{n}|NM|8867-4||1||||||F\r"))
            .collect();
        let repeated = (0..900).map(|_| "72").collect::<Vec<_>>().join("~");
        arrives(
            &clinic,
            &[
                (
                    "thousands of observations",
                    [&hl7::oru("A3")[..], numbered.as_bytes()].concat(),
                ),
                (
                    "hundreds of values",
                    changed("A4", "||72|", &format!("||{repeated}|")),
                ),
                ("a long text", note("A5", &"x".repeat(60_000))),
            ],
        );
        let (_, most) = memory(relay);
        assert!(
            most < before + (64 << 10),
            "grew from {before} to {most} KiB"
        );
        assert_eq!(clinic.gateway.status()["workers"][0]["restarts"], 0);
    });
}

/// An order with all groups that its grammar nests, so often.
fn order(control: &str, groups: usize) -> Vec<u8> {
    let mut text = format!(
        "MSH|^~\\&|ECG|CARDIO|HIS|NORD|20260102101500||OML^O21^OML_O21|{control}|P|2.5.1\r\
         PID|1||4711^^^NORD^MR||CANARYNAME^ZOE\rPV1|1|O\r"
    );
    for number in 1..=groups {
        text += &format!(
            "ORC|NW|{number}\rOBR|{number}|{number}||93000^ECG^C4\rNTE|1||a\rDG1|1||I10^x^I10|||A\r\
             OBX|1|NM|8867-4||72||||||F\rNTE|1||b\rSPM|1|||BLD^x^HL70487\rOBX|1|NM|8867-4||72||||||F\r"
        );
    }
    text.into_bytes()
}

/// Groups in groups, all optional: a reader that tries them one after the other needs for ever.
//= C7
#[test]
fn attack_13_grammar_blow_up() {
    let shuffled = |units: &[&str], count: usize| {
        [order("G1", 1), units.concat().repeat(count).into_bytes()].concat()
    };
    Lab::run(|lab| {
        let clinic = Clinic::open_with(lab, |site| {
            site.replace("send = [\"ORU^R01\"", "send = [\"OML^O21\", \"ORU^R01\"");
            site.replace(TO, &format!("{TO}profile = \"strict\"\n"));
        });
        let bystander = clinic.bystander();
        let stop = AtomicBool::new(false);
        let served = std::thread::scope(|scope| {
            let others = scope.spawn(|| {
                let mut other = bystander.mllp(clinic.his.address());
                let mut served = Vec::new();
                while served.is_empty() || !stop.load(Ordering::Relaxed) {
                    let message = hl7::oru_from("ECG|WARD3", &format!("B{}", served.len()));
                    assert_eq!(other.exchange(&message).code, "AA");
                    served.push(message);
                }
                served
            });
            let end = SetOnDrop(&stop);
            let mut client = clinic.ecg.mllp(clinic.his.address());
            let odd: [(&str, &[&str], usize); 4] = [
                ("notes of nothing", &["NTE|1||a\r", "TCD|1\r"], 4_000),
                (
                    "groups backwards",
                    &["SPM|1\r", "OBX|1\r", "DG1|1\r", "OBR|1\r", "ORC|NW\r"],
                    1_500,
                ),
                (
                    "the start again and again",
                    &["PID|1\r", "PV1|1|O\r", "ORC|NW|1\r"],
                    3_000,
                ),
                (
                    "one that never ends",
                    &["OBR|1|||x^y^z\r", "FT1|1\r", "CTI|x\r", "BLG|D\r"],
                    2_000,
                ),
            ];
            for (what, units, count) in odd {
                let answer = client.exchange(&shuffled(units, count));
                assert_eq!(
                    (&*answer.code, &*answer.error),
                    ("AE", "100"),
                    "{what}: {}",
                    answer.text
                );
            }
            let right = order("G2", 1_200);
            assert_eq!(client.exchange(&right).code, "AA");
            drop(end);
            let mut served = others.join().unwrap();
            served.push(right);
            served
        });
        let mut received = clinic.his.wait_for(served.len());
        let mut served = served;
        received.sort();
        served.sort();
        assert!(received == served, "{} of {}", received.len(), served.len());
    });
}

/// A line of the rule.
const TO: &str = "to = [\"his-results\", \"his-six\"]\n";

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Half a message, whose other half would be judged without it; and labels that promise less scrutiny.
#[test]
fn attack_25_fragments_and_labels() {
    let fields =
        |control: &str, tail: &str| changed(control, "|P|2.5.1", &format!("|P|2.5.1{tail}"));
    let with = |control: &str, segment: &str| [&hl7::oru(control)[..], segment.as_bytes()].concat();
    Lab::run(|lab| {
        let clinic = Clinic::open_with(lab, |site| {
            site.replace(TO, &format!("{TO}profile = \"strict\"\n"));
        });
        refused(
            &clinic,
            &[
                ("the first half", with("F1", "DSC|more|F\r"), "AE 207 DSC^1"),
                (
                    "the second half",
                    fields("F2", "||more"),
                    "AE 207 MSH^1^14^1",
                ),
                ("an addendum", with("F3", "ADD|and more\r"), "AE 207 ADD^1"),
            ],
        );
        // MSH-8 is a label, whatever it says: what is wrong stays wrong, and what is right goes up with it.
        let labelled = |control: &str, value: &str| {
            let text =
                String::from_utf8(changed(control, "||ORU^R01", "|NOCHECK|ORU^R01")).unwrap();
            text.replace("||72|", &format!("||{value}|")).into_bytes()
        };
        refused(
            &clinic,
            &[("a label", labelled("F4", "seventy"), "AE 102 OBX^1^5^1")],
        );
        arrives(
            &clinic,
            &[
                ("the same, right", labelled("F5", "72")),
                ("whole", hl7::oru("F6")),
            ],
        );
    });
}

//= C7
#[test]
fn attack_27_rate_flood() {
    Lab::run(|lab| {
        let clinic = Clinic::open_with(lab, |site| {
            let rule = "[rule.ecg-results]\n";
            site.replace(
                rule,
                &format!("{rule}limit = {{ messages = \"20/s\", burst = 20 }}\n"),
            );
        });
        let bystander = clinic.bystander();
        let mut other = bystander.mllp(clinic.his.address());
        // More than the rule allows, on several connections: they share one bucket.
        let begun = std::time::Instant::now();
        let mut clients: Vec<_> = (0..3)
            .map(|_| clinic.ecg.mllp(clinic.his.address()))
            .collect();
        for (number, client) in clients.iter_mut().enumerate() {
            let flood: Vec<u8> = (0..60)
                .flat_map(|count| hl7::frame(&hl7::oru(&format!("F{number}-{count}"))))
                .collect();
            client.send(&flood).unwrap();
        }
        for count in 0..20 {
            let message = hl7::oru_from("ECG|WARD3", &format!("B{count}"));
            assert_eq!(other.exchange(&message).code, "AA");
        }
        let answers = clients
            .iter_mut()
            .flat_map(|client| (0..60).map(|_| next(client)));
        let (taken, others): (Vec<String>, Vec<String>) = answers.partition(|said| said == "AA");
        assert!(others.iter().all(|said| said == "AE 207"), "{others:?}");
        let rate = 20 * (usize::try_from(begun.elapsed().as_secs()).unwrap() + 1);
        assert!(
            (20..=20 + rate).contains(&taken.len()),
            "{} taken",
            taken.len()
        );
        assert_eq!(
            clinic.his.wait_for(taken.len() + 20).len(),
            taken.len() + 20
        );
    });
}
