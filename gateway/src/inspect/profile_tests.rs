//! Profiles from the file to the verdict.

use std::collections::BTreeMap;
use std::path::Path;

use protocol_inspect::hl7::grammar::{DataKind, Version};

/// What the configuration knows of segments is what the grammar knows; `UPDATE=1` writes it anew.
#[test]
fn the_configuration_knows_the_segments_of_the_grammar() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/src/data/segments.txt");
    let written = std::fs::read_to_string(&path).unwrap();
    let head: String = (written.lines().filter(|line| line.starts_with('#')))
        .map(|line| format!("{line}\n"))
        .collect();
    let mut segments: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for version in Version::all() {
        for segment in version.segments() {
            let fields = segments.entry(segment.id().to_string()).or_default();
            for (index, field) in segment.fields().iter().enumerate() {
                let data_type = version.data_type(field.data_type).unwrap();
                let count = match data_type.kind() {
                    DataKind::Primitive(_) => 1,
                    DataKind::Composite => data_type.components().len(),
                    DataKind::Opaque => 0,
                };
                match fields.get_mut(index) {
                    None => fields.push(count),
                    Some(most) if *most == 0 || count == 0 => *most = 0,
                    Some(most) => *most = count.max(*most),
                }
            }
        }
    }
    segments.retain(|name, _| !name.starts_with('Z'));
    let mut known = head;
    for (name, fields) in &segments {
        let fields: Vec<String> = fields.iter().map(ToString::to_string).collect();
        known.push_str(&format!("{name} {}\n", fields.join(" ")));
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &known).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), known);
}
