//! The least message of every structure is accepted.

use protocol_inspect::hl7::grammar::{Structure, StructureName, Version};

use super::synthetic::{Synthetic, structures};
use super::{strict, verdict};

#[test]
fn the_least_of_every_structure_is_accepted() {
    let policy = strict();
    let (mut judged, mut refused) = (0, Vec::new());
    for message in structures().filter_map(|(v, s)| Synthetic::least(v, s)) {
        judged += 1;
        if let Err(why) = verdict(&message.bytes(), &policy) {
            let text = String::from_utf8(message.bytes()).unwrap();
            let text = text.replace('\r', "\n    ");
            refused.push(format!("{}: {}\n    {text}", message.title(), why.refusal));
        }
    }
    assert!(
        refused.is_empty(),
        "{} of {judged}\n{}",
        refused.len(),
        refused.join("\n")
    );
    assert!(judged > 2_100, "{judged}");
}

/// A structure to which no message leads is another name of one to which its event leads.
#[test]
fn no_structure_is_judged_by_nobody() {
    let twin = |version: Version, structure: Structure| {
        let name = structure.name();
        let (code, trigger) = name.as_str().split_once('_')?;
        let other: StructureName = version.structure_for(code.as_bytes(), trigger.as_bytes())?;
        (version.structure(other)?.nodes() == structure.nodes()).then_some(other)
    };
    let alone: Vec<String> = structures()
        .filter(|(v, s)| Synthetic::least(*v, *s).is_none() && twin(*v, *s).is_none())
        .map(|(v, s)| format!("{} {}", v.name(), s.name()))
        .collect();
    // An acknowledgement has one structure whatever it answers, and QRY has none without a trigger.
    assert_eq!(alone, ["2.4 ACK_N02", "2.5 QRY", "2.5.1 QRY"]);
}
