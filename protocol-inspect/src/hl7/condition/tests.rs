//! Each breach beside its nearest accepted twin.

use std::fmt::Write as _;

use super::*;
use crate::Limits;

/// What is said of a message by conditions alone.
/// `ORC 1=CH 8=1, OBR 1=1` is an ORC with two fields, and an OBR.
fn said(version: &str, kind: &str, segments: &str) -> Vec<String> {
    let mut text = format!("MSH|^~\\&|A|B|C|D|20260101||{kind}|1|P|{version}\r");
    for segment in segments.split(", ") {
        let mut parts = segment.split(' ');
        let mut fields = vec![parts.next().unwrap()];
        for part in parts {
            let (number, value) = part.split_once('=').unwrap();
            let number: usize = number.parse().unwrap();
            fields.resize(fields.len().max(number + 1), "");
            fields[number] = value;
        }
        writeln!(text, "{}", fields.join("|")).unwrap();
    }
    let text = text.replace('\n', "\r");
    let message = Message::read(text.as_bytes(), &Limits::default()).unwrap();
    let mut findings = Findings::default();
    judge(&message, &mut findings);
    let place = |f: &Finding| f.place.to_string().split(' ').next().map(ToOwned::to_owned);
    let all = findings.others.iter();
    all.map(|f| format!("{} {:?}", place(f).unwrap(), f.weight))
        .collect()
}

/// What is right, what is wrong, and what is said of it.
type Twin = (&'static str, &'static str, &'static str);

#[rustfmt::skip]
const CASES: &[(&str, &str, &[Twin])] = &[
    ("2.5", "SIU^S12^SIU_S12", &[
        ("AIG 8=20260101", "AIG 3=X", "AIG-8 Strict"),
        ("AIG 9=0 10=min", "AIG 9=0", "AIG-10 Strict"),
        ("AIL 6=20260101", "AIL 6=\"\"", "AIL-6 Strict"),
        ("AIL 7=0 8=min", "AIL 7=0", "AIL-8 Strict"),
        ("AIP 6=20260101", "AIP 3=X", "AIP-6 Strict"),
        ("AIP 7=0 8=min", "AIP 7=0", "AIP-8 Strict"),
        ("AIS 4=20260101", "AIS 3=X", "AIS-4 Strict"),
        ("AIS 5=0 6=min", "AIS 5=0", "AIS-6 Strict"),
    ]),
    ("2.5", "BPS^O29^BPS_O29", &[
        ("BPX 5=1 6=C", "BPX 1=1", "BPX-5 Strict"),
        ("BPX 5=1 6=C", "BPX 5=1", "BPX-6 Strict"),
        ("BPX 8=P 9=M 10=L", "BPX 8=P 10=L", "BPX-9 Strict"),
        ("BPX 8=P 9=M 10=L", "BPX 8=P 9=M", "BPX-10 Strict"),
        ("BTX 2=1 3=C", "BTX 1=1", "BTX-2 Strict"),
        ("BTX 2=1 3=C", "BTX 2=1", "BTX-3 Strict"),
        ("BTX 5=P 6=M 7=L", "BTX 5=P 7=L", "BTX-6 Strict"),
        ("BTX 5=P 6=M 7=L", "BTX 5=P 6=M", "BTX-7 Strict"),
    ]),
    ("2.5", "BAR^P12^BAR_P12", &[
        ("DG1 20=1 21=A", "DG1 21=A", "DG1-20 Strict"),
        ("DG1 20=1 21=A", "DG1 20=1", "DG1-21 Strict"),
        ("PR1 19=1 20=A", "PR1 20=A", "PR1-19 Strict"),
        ("PR1 19=1 20=A", "PR1 19=1", "PR1-20 Strict"),
    ]),
    ("2.5", "BAR^P01^BAR_P01", &[("DG1 1=1", "EVN 1=P12", "EVN-1 Strict")]),
    ("2.5", "ADT^A26^ADT_A21", &[
        ("EVN 1=A26", "EVN 1=A25", "EVN-1 Strict"),
        ("PV2 1=W", "PV2 2=1", "PV2-1 Strict"),
    ]),
    ("2.5", "ADT^A21^ADT_A21", &[("PV2 47=2026", "PV2 1=W", "PV2-47 Strict")]),
    ("2.5", "ADT^A01^ADT_A01", &[
        ("PV2 2=1", "EVN 1=A02", "EVN-1 Strict"),
        ("PID 35=S 38=P", "PID 38=P", "PID-35 Strict"),
        ("PID 35=S 36=B 37=T", "PID 35=S 37=T", "PID-36 Strict"),
        ("PID 29=2026 30=Y", "PID 29=2026 30=N", "PID-29 Notice"),
    ]),
    ("2.8", "ADT^A01^ADT_A01", &[("PID 38=P, EVN 1=A02", "PRT 4=X", "PRT-5 Strict")]),
    ("2.5", "MFN^M02^MFN_M02", &[
        ("MFI 6=AL, MFE 1=MAD 2=1", "MFI 6=AL, MFE 1=MAD", "MFE-2 Strict"),
        ("MFI 6=NE, MFE 1=MAD", "MFI 6=ER, MFE 1=MAD", "MFE-2 Strict"),
    ]),
    ("2.5", "ORU^R01^ORU_R01", &[
        ("OBR 3=1 7=2026 25=F", "OBR 3=1 25=F", "OBR-7 Strict"),
        ("OBR 3=1 7=2026 25=F", "OBR 3=1 7=2026", "OBR-25 Hint"),
        ("OBR 2=1 7=2026 25=F", "OBR 4=1 7=2026 25=F", "OBR-3 Strict"),
        ("ORC 3=1, OBR 7=2026 25=F", "ORC 1=RE, OBR 7=2026 25=F", "OBR-3 Strict"),
    ]),
    ("2.2", "ORU^R01", &[("OBR 4=X", "EVN 1=R02", "EVN-1 Strict")]),
    ("2.7.1", "OML^O21^OML_O21", &[("OBR 22=2026 25=F", "OBR 25=F", "OBR-22 Strict")]),
    ("2.7", "PRR^PC5^PRR_PC5", &[
        ("OBR 25=F", "PRT 4=X", "PRT-5 Strict"),
        ("PRT 10=D", "PRT 4=X 11=2026", "PRT-5 Strict"),
        ("OBX 3=X 11=D", "PRT 5=\"\"", "PRT-5 Strict"),
    ]),
    ("2.5", "OML^O21^OML_O21", &[
        ("ORC 2=1, OBR 2=1^A", "ORC 2=1, OBR 2=2", "OBR-2 Strict"),
        ("ORC 3=1^B, OBR 3=1", "ORC 3=1, OBR 3=11", "OBR-3 Strict"),
        ("ORC 2=1, OBR 2=1, OBR 2=2", "ORC 2=1, ORC 2=2, OBR 2=1", "OBR-2 Strict"),
        ("ORC 1=CH 8=1, OBR 1=1", "ORC 1=CH, OBR 1=1", "OBR-29 Strict"),
        ("ORC 1=CH, OBR 29=1", "ORC 1=CH 8=\"\", OBR 1=1", "OBR-29 Strict"),
        ("ORC 20=1", "ORC 20=3", "ORC-26 Strict"),
        ("ORC 20=4 26=A", "ORC 20=4", "ORC-26 Strict"),
        ("OBX 3=X 11=X", "OBX 3=X 11=D", "OBX-2 Strict"),
        ("OBX 2=ST 8=N 11=F", "OBX 2=ST 11=F", "OBX-5 Notice"),
        ("OBX 2=NM 5=5 6=mm", "OBX 2=NM 5=5", "OBX-6 Hint"),
        ("OBX 2=ST 3=X 4=1 5=a, OBX 2=ST 3=X 4=2 5=b",
         "OBX 2=ST 3=X 4=1 5=a, OBX 2=ST 3=X 4=1 5=b", "OBX[2]-4 Hint"),
        ("OBX 2=ST 3=X 5=a, OBR 1=2, OBX 2=ST 3=X 5=a",
         "OBX 2=ST 3=X 5=a, OBX 2=ST 3=X 5=a", "OBX[2]-4 Hint"),
        ("RQD 3=A", "RQD 1=1", "RQD-2 Strict"),
        ("TQ1 12=S, TQ1 1=2", "TQ1 1=1, TQ1 1=2", "TQ1-12 Strict"),
        ("TQ1 1=1, ORC 1=NW, TQ1 1=1", "TQ1 1=1, TQ2 3=1 6=EE, TQ1 1=2", "TQ1-12 Strict"),
        ("TQ2 5=1 6=EE", "TQ2 6=EE", "TQ2-3 Strict"),
        ("TQ2 3=1 10=N", "TQ2 3=1", "TQ2-6 Strict"),
    ]),
    ("2.5", "QBP^Q11^QBP_Q11", &[("RCP 1=D 4=2026", "RCP 1=I 4=2026", "RCP-4 Strict")]),
    ("2.5", "MDM^T02^MDM_T02", &[
        ("TXA 3=TX, OBX 2=ST 5=A", "TXA 1=1, OBX 2=ST 5=A", "TXA-3 Strict"),
        ("TXA 1=1", "TXA 4=2026", "TXA-5 Strict"),
    ]),
    ("2.5", "MDM^T01^MDM_T01", &[
        ("TXA 4=2026 5=1", "TXA 4=2026", "TXA-5 Strict"),
        ("TXA 17=DI", "TXA 17=AU", "TXA-7 Strict"),
        ("TXA 7=2026 17=AU", "TXA 17=AU", "TXA-7 Strict"),
    ]),
    ("2.5", "MDM^T05^MDM_T01", &[("TXA 13=1", "TXA 1=1", "TXA-13 Strict")]),
    ("2.5", "ACK", &[("MSA 1=AA", "EVN 1=A01, TQ2 3=1", "TQ2-6 Strict")]),
    ("2.4", "ADT^A01", &[("PV1 1=1", "EVN 1=A02", "EVN-1 Strict")]),
    ("2.5", "ADT^A01^ADT_A01", &[("PV1 1=1", "EVN 1=A02", "EVN-1 Strict")]),
];

#[test]
fn each_breach_has_a_twin() {
    for (version, kind, twins) in CASES {
        for (right, wrong, expected) in *twins {
            assert!(said(version, kind, right).is_empty(), "{version} {right}");
            assert_eq!(said(version, kind, wrong), [*expected], "{version} {wrong}");
        }
    }
}

#[test]
fn the_structure_is_missed_from_2_5_on() {
    assert_eq!(said("2.5", "ADT^A01", "PV1 1=1"), ["MSH-9.3 Hint"]);
    assert!(said("2.4", "ADT^A01", "PV1 1=1").is_empty());
}

#[test]
fn every_fact_has_a_twin_and_a_field() {
    let tested: Vec<&str> = CASES
        .iter()
        .flat_map(|(_, _, twins)| twins.iter().map(|(_, _, expected)| *expected))
        .collect();
    let version = super::super::grammar::Version::of("2.8.2").unwrap();
    let mut count = 0;
    for segment in
        super::super::grammar::Version::all().flat_map(|v| v.segments().collect::<Vec<_>>())
    {
        let id = segment.id();
        for fact in facts::of(id.as_str()) {
            let place = format!("{}-{} {:?}", id.as_str(), fact.field, fact.weight);
            assert!(tested.contains(&place.as_str()), "{place}");
            assert!(fact.field < MOST, "{place}");
        }
    }
    for segment in version.segments() {
        for fact in facts::of(segment.id().as_str()) {
            assert!(fact.since <= fact.until);
            assert!(
                segment.field(fact.field).is_some(),
                "{}",
                segment.id().as_str()
            );
            count += 1;
        }
    }
    assert!(count > 30, "{count}");
}
