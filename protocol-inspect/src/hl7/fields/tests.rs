//! Minimal messages of every segment of every version, and one fault at a time in each.

use super::super::check;
use super::super::finding::{ErrorCode, Finding, Findings, Weight};
use super::super::grammar::{self, Usage, Version};
use super::super::message::Message;
use super::datatype::{self, Shape, Types};
use super::judge;
use crate::Limits;

#[test]
fn a_full_and_a_minimal_segment_of_every_kind_pass() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for (version, segment) in segments() {
        let full = values(version, segment, |usage| {
            !matches!(usage, Usage::Withdrawn | Usage::NotUsed)
        });
        for values in [full, minimal(version, segment)] {
            count += 1;
            let findings = judged(version, segment, &values);
            if let Some(finding) = findings.first() {
                wrong.push(format!("{version:?} {}", finding.refusal()));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count}: {wrong:#?}", wrong.len());
    assert!(count > 3_000, "{count}");
}

#[test]
fn one_fault_in_any_field_is_found_there() {
    let mut counts = std::collections::BTreeMap::new();
    for (version, segment) in segments() {
        let base = minimal(version, segment);
        for (index, field) in segment.fields().iter().enumerate() {
            for (class, value) in faults(version, segment, index + 1, field) {
                let mut values = base.clone();
                values[index] = value;
                let findings = judged(version, segment, &values);
                let name = segment.id();
                let found = findings.iter().any(|f| {
                    let weight = match class {
                        "primitive" => Weight::Content,
                        _ => Weight::Strict,
                    };
                    let code = match class {
                        "required" | "component" => ErrorCode::RequiredField,
                        "table" => ErrorCode::TableValue,
                        _ => ErrorCode::DataType,
                    };
                    f.place.field == index + 1 && f.weight == weight && f.code == code
                });
                assert!(
                    found,
                    "{version:?} {name}-{} {class}: {findings:?}",
                    index + 1
                );
                *counts.entry(class).or_insert(0) += 1;
            }
        }
        if segment
            .field(segment.fields().len())
            .is_some_and(datatype::goes_on)
        {
            continue;
        }
        let mut values = base;
        values.push("A".to_owned());
        let findings = judged(version, segment, &values);
        let last = findings.last().map(|f| f.place.field);
        assert_eq!(last, Some(segment.fields().len() + 1), "{segment:?}");
    }
    for (class, least) in [
        ("component", 100),
        ("extra", 5_000),
        ("length", 2_000),
        ("primitive", 2_000),
        ("repetition", 5_000),
        ("required", 1_000),
        ("table", 500),
    ] {
        assert!(
            counts.get(class).is_some_and(|n| *n >= least),
            "{class}: {counts:?}"
        );
    }
}

/// What can be wrong with one field, and a value that is wrong in just that.
fn faults(
    version: Version,
    segment: grammar::Segment,
    number: usize,
    field: grammar::Field,
) -> Vec<(&'static str, String)> {
    let mut faults = Vec::new();
    let is_value = segment.id().0 == *b"OBX" && number == 5;
    let types = Types::new(version);
    let good = sample(version, field, 0);
    if field.usage == Usage::Required {
        faults.push(("required", String::new()));
    }
    if field.repeats > 0 && !datatype::goes_on(field) {
        let all = vec![good.clone(); usize::from(field.repeats) + 1];
        faults.push(("repetition", all.join("~")));
    }
    if is_value || matches!(field.usage, Usage::Withdrawn | Usage::NotUsed) {
        return faults;
    }
    let shape = types.shape(field);
    let bound = version.lengths_bind() && (1..60_000).contains(&field.length);
    let long = |unit: &str| unit.repeat(usize::try_from(field.length).unwrap() + 1);
    if let Some(parts) = shape.parts() {
        if !parts.is_array {
            faults.push((
                "extra",
                format!("{good}{}A", "^".repeat(parts.fields.len())),
            ));
        }
        let required = parts.fields.iter().any(|p| p.usage == Usage::Required);
        if let (true, Some(at)) = (
            required,
            parts.fields.iter().position(|p| p.usage != Usage::Required),
        ) {
            let part = parts.fields.nth(at + 1).unwrap();
            let value = format!("{}{}", "^".repeat(at), sample(version, part, 1));
            faults.push(("component", value));
        }
        if bound {
            faults.push(("length", format!("{good}{}", long("^"))));
        }
        if matches!(shape, Shape::TimeStamp(_)) {
            faults.push(("primitive", "noon".to_owned()));
        }
        return faults;
    }
    let Shape::Primitive(primitive) = shape else {
        return faults;
    };
    faults.push(("extra", format!("{good}^A")));
    use grammar::Primitive as P;
    match primitive {
        P::Nm | P::Si | P::Dt | P::Tm | P::Dtm | P::Ts => {
            faults.push(("primitive", "noon".to_owned()));
        }
        P::Id => {
            if Types::new(version)
                .closed_table(field.table)
                .is_some_and(|t| !t.contains(b"?"))
            {
                faults.push(("table", "?".to_owned()));
            }
        }
        P::St | P::Tx | P::Ft | P::Is | P::Gts | P::Snm | P::Tn => {
            if bound {
                faults.push(("length", long("1")));
            }
        }
    }
    faults
}

/// The segments that can stand in a message beside its header.
fn segments() -> impl Iterator<Item = (Version, grammar::Segment)> {
    Version::all().flat_map(|v| {
        v.segments()
            .filter(|s| !s.fields().is_empty())
            .filter(|s| {
                !matches!(
                    &s.id().0,
                    b"MSH" | b"ADD" | b"FHS" | b"BHS" | b"BTS" | b"FTS"
                )
            })
            .map(move |s| (v, s))
    })
}

fn minimal(version: Version, segment: grammar::Segment) -> Vec<String> {
    values(version, segment, |usage| usage == Usage::Required)
}

fn values(
    version: Version,
    segment: grammar::Segment,
    wanted: impl Fn(Usage) -> bool,
) -> Vec<String> {
    let is_observation = segment.id().0 == *b"OBX";
    segment
        .fields()
        .iter()
        .enumerate()
        .map(|(index, field)| match index {
            1 if is_observation => "ST".to_owned(),
            _ if wanted(field.usage) => sample(version, field, 0),
            _ => String::new(),
        })
        .collect()
}

/// The least that a field may hold: all required components, or else the first.
fn sample(version: Version, field: grammar::Field, depth: usize) -> String {
    let types = Types::new(version);
    let shape = types.shape(field);
    if let Some(parts) = shape.parts() {
        let required = parts.fields.iter().any(|p| p.usage == Usage::Required);
        let samples: Vec<String> = parts
            .fields
            .iter()
            .enumerate()
            .map(|(index, part)| {
                if index == 0 && matches!(shape, Shape::TimeStamp(_)) {
                    "20260101".to_owned()
                } else if field.data_type.name() == "SN" && index == 0 {
                    "=".to_owned()
                } else if part.usage == Usage::Required || (index == 0 && !required) {
                    sample(version, part, depth + 1)
                } else {
                    String::new()
                }
            })
            .collect();
        return match depth {
            0 => samples.join("^").trim_end_matches('^').to_owned(),
            1 => samples.join("&").trim_end_matches('&').to_owned(),
            _ => samples.first().cloned().unwrap_or_default(),
        };
    }
    use grammar::Primitive as P;
    let Shape::Primitive(primitive) = shape else {
        return "A".to_owned();
    };
    match primitive {
        P::Nm | P::Si | P::Snm => "1".to_owned(),
        P::Dt | P::Dtm | P::Ts => "20260101".to_owned(),
        P::Tm => "1200".to_owned(),
        P::Id => version
            .table(field.table)
            .and_then(|t| t.codes().next())
            .unwrap_or("A")
            .to_owned(),
        P::St | P::Tx | P::Ft | P::Is | P::Gts | P::Tn => "A".to_owned(),
    }
}

/// The findings in the segment that the strict profile refuses.
fn judged(version: Version, segment: grammar::Segment, values: &[String]) -> Vec<Finding> {
    let (name, version) = (segment.id(), version.name());
    let text = format!(
        "MSH|^~\\&|A|B|C|D|20260101||ADT^A01|1|P|{version}\r{name}|{}\r",
        values.join("|")
    );
    let limits = Limits::default();
    let message = Message::read(text.as_bytes(), &limits).unwrap();
    let mut findings = Findings::default();
    judge(&message, &mut findings);
    let mut all = findings.others;
    all.retain(|f| f.weight >= Weight::Strict && f.place.segment == name.as_str());
    all
}

#[test]
fn each_wrong_composite_is_told_where_it_stands() {
    let judged = |field: &str| {
        let text = format!("MSH|^~\\&|A|B|C|D|20260101||ADT^A01|1|P|2.5\r{field}\r");
        let findings = check::findings_of(&text, &Limits::default());
        let mut all = findings.others;
        all.retain(|f| f.code != ErrorCode::SegmentSequence && f.place.segment != "MSH");
        all.retain(|f| f.weight > Weight::Hint);
        all.first().map(|f| f.refusal().to_string())
    };
    for (good, bad, said) in [
        (
            "PID|||1^^^A&1.2&ISO~2^^^B||N",
            "PID|||1^^^A~2^^^B&1.2||N",
            "PID-3(2).4.3 (byte 59): is required with what it belongs to",
        ),
        (
            "OBX||SN|X||>^5||||||F",
            "OBX||SN|X||+^5||||||F",
            "OBX-5.1 (byte 54): is not a comparator",
        ),
        (
            "OBX||NA|X||1^2^3^4^5^6^-7||||||F",
            "OBX||NA|X||1^2^3^4^5^6^x||||||F",
            "OBX-5.7 (byte 66): is not a number",
        ),
        (
            "OBX||MO|X||20^EUR||||||F",
            "OBX||MO|X||20^EURO||||||F",
            "OBX-5.2 (byte 54): is not a currency code of three letters",
        ),
    ] {
        assert_eq!(judged(good), None, "{good}");
        assert_eq!(judged(bad).as_deref(), Some(said), "{bad}");
    }
}
