//! What the standard requires or forbids of a field under a condition that stands in the same segment or in the header.
//!
//! Facts only, in our own words. A fact is here if the condition is computable and beyond doubt;
//! conditions that speak of agreements, of laboratories or of what the sender knows are not.
//! Sections are those of 2.5.1 where it has the segment.

use super::super::finding::Weight;
use super::super::header::Version;

/// A fact about one field of one segment.
pub(super) struct Fact {
    /// The field of which it is told.
    pub(super) field: usize,
    pub(super) rule: Rule,
    /// The versions in which it holds, both included.
    pub(super) since: Version,
    pub(super) until: Version,
    pub(super) weight: Weight,
}

/// What must be.
pub(super) enum Rule {
    /// The field must be valued when all of this holds.
    Needed(&'static [When]),
    /// The field must not be valued when all of this holds.
    Forbidden(&'static [When]),
    /// One of these must be valued.
    OneOf(&'static [usize]),
}

/// What a message says.
pub(super) enum When {
    /// One of these fields is valued.
    Valued(&'static [usize]),
    /// None of these fields is valued.
    Empty(&'static [usize]),
    /// The first component of a field is one of these.
    Is(usize, &'static [&'static [u8]]),
    /// The first component of a field is none of these.
    IsNot(usize, &'static [&'static [u8]]),
    /// MSH-9.1 is this.
    Type(&'static [u8]),
    /// MSH-9.2 is one of these.
    Event(&'static [&'static [u8]]),
    /// It is a document message, and the document is in it.
    Content,
}

use Rule::{Forbidden, Needed, OneOf};
use Version::{V2_3, V2_3_1, V2_4, V2_5, V2_6, V2_7, V2_7_1, V2_8_2};
use When::{Content, Empty, Event, Is, IsNot, Type, Valued};

/// The facts of a segment, if there are any.
pub(super) fn of(segment: &str) -> &'static [Fact] {
    match segment {
        "AIG" => AIG,
        "AIL" | "AIP" => AIL,
        "AIS" => AIS,
        "BPX" => BPX,
        "BTX" => BTX,
        "DG1" => DG1,
        "OBR" => OBR,
        "OBX" => OBX,
        "ORC" => ORC,
        "PID" => PID,
        "PR1" => PR1,
        "PRT" => PRT,
        "PV2" => PV2,
        "RCP" => RCP,
        "RQD" => RQD,
        "TQ2" => TQ2,
        "TXA" => TXA,
        _ => &[],
    }
}

const fn strict(field: usize, rule: Rule, since: Version) -> Fact {
    Fact {
        field,
        rule,
        since,
        until: V2_8_2,
        weight: Weight::Strict,
    }
}

const fn weak(weight: Weight, fact: Fact) -> Fact {
    Fact { weight, ..fact }
}

const fn until(until: Version, fact: Fact) -> Fact {
    Fact { until, ..fact }
}

// A resource needs a time of its own or an offset from the appointment's, and an offset needs its units.
//= HL7 v2.5.1 10.6.5.8
const AIG: &[Fact] = &[
    strict(8, OneOf(&[8, 9]), V2_3_1),
    strict(10, Needed(&[Valued(&[9])]), V2_3_1),
];
//= HL7 v2.5.1 10.6.6.6
//= HL7 v2.5.1 10.6.7.6
const AIL: &[Fact] = &[
    strict(6, OneOf(&[6, 7]), V2_3_1),
    strict(8, Needed(&[Valued(&[7])]), V2_3_1),
];
//= HL7 v2.5.1 10.6.4.4
const AIS: &[Fact] = &[
    strict(4, OneOf(&[4, 5]), V2_3_1),
    strict(6, Needed(&[Valued(&[5])]), V2_3_1),
];

// A blood product is a donated component or a commercial product, and each has its own names.
//= HL7 v2.5.1 4.21.2.5
const BPX: &[Fact] = &[
    strict(5, OneOf(&[5, 8]), V2_5),
    strict(6, Needed(&[Valued(&[5])]), V2_5),
    strict(9, Needed(&[Valued(&[8])]), V2_5),
    strict(10, Needed(&[Valued(&[8])]), V2_5),
];
//= HL7 v2.5.1 4.21.3.2
const BTX: &[Fact] = &[
    strict(2, OneOf(&[2, 5]), V2_5),
    strict(3, Needed(&[Valued(&[2])]), V2_5),
    strict(6, Needed(&[Valued(&[5])]), V2_5),
    strict(7, Needed(&[Valued(&[5])]), V2_5),
];

// An update of diagnoses and procedures says which, and what to do with it.
const UPDATED: &[When] = &[Type(b"BAR"), Event(&[b"P12"])];
//= HL7 v2.5.1 6.5.2.20
//= HL7 v2.5.1 6.5.2.21
const DG1: &[Fact] = &[
    strict(20, Needed(UPDATED), V2_5),
    strict(21, Needed(UPDATED), V2_5),
];
//= HL7 v2.5.1 6.5.4.19
//= HL7 v2.5.1 6.5.4.20
const PR1: &[Fact] = &[
    strict(19, Needed(UPDATED), V2_5),
    strict(20, Needed(UPDATED), V2_5),
];

// A report says when was observed and how final its results are;
// but the reports of devices by IHE leave the latter to each observation.
//= HL7 v2.5.1 4.5.3.7
//= HL7 v2.5.1 4.5.3.25
//= HL7 v2.7.1 4.5.3.22
const OBR: &[Fact] = &[
    strict(7, Needed(&[Type(b"ORU")]), V2_3),
    strict(22, Needed(&[Valued(&[25])]), V2_7_1),
    weak(Weight::Hint, strict(25, Needed(&[Type(b"ORU")]), V2_3)),
];

// That OBX-5 needs OBX-2 is for `fields`; before 2.7 it is needed without a value, too.
// A result without value and flag, and a number without units, are allowed but rarely meant.
//= HL7 v2.5.1 7.4.2.2
//= HL7 v2.5.1 7.4.2.5
//= HL7 v2.5.1 7.4.2.6
const OBX: &[Fact] = &[
    until(
        V2_6,
        strict(2, Needed(&[Empty(&[5]), IsNot(11, &[b"X"])]), V2_3_1),
    ),
    weak(
        Weight::Notice,
        strict(
            5,
            Needed(&[Empty(&[8]), Is(11, &[b"C", b"F", b"P", b"R"])]),
            V2_3,
        ),
    ),
    weak(
        Weight::Hint,
        strict(6, Needed(&[Is(2, &[b"NM"]), Valued(&[5])]), V2_3),
    ),
];

// A notice that was not signed needs its reason.
//= HL7 v2.5.1 4.5.1.26
const ORC: &[Fact] = &[strict(26, Needed(&[Is(20, &[b"3", b"4"])]), V2_5)];

// Animals: a strain needs its breed, a breed or production class its species. And nobody dies who lives.
//= HL7 v2.5.1 3.4.2.35
//= HL7 v2.5.1 3.4.2.36
//= HL7 v2.5.1 3.4.2.30
const PID: &[Fact] = &[
    until(V2_7_1, strict(35, Needed(&[Valued(&[36, 38])]), V2_4)),
    until(V2_7_1, strict(36, Needed(&[Valued(&[37])]), V2_4)),
    weak(
        Weight::Notice,
        strict(29, Forbidden(&[Is(30, &[b"N"])]), V2_3),
    ),
];

// Somebody or something takes part: a person, an organization, a location or a device.
//= HL7 v2.7 7.3.4
const PRT: &[Fact] = &[strict(5, OneOf(&[5, 8, 9, 10, 22]), V2_7)];

// A cancelled transfer tells from where, and a leave of absence until when.
//= HL7 v2.5.1 3.4.4.1
//= HL7 v2.5.1 3.4.4.47
const PV2: &[Fact] = &[
    strict(1, Needed(&[Type(b"ADT"), Event(&[b"A26"])]), V2_3_1),
    strict(47, Needed(&[Type(b"ADT"), Event(&[b"A21"])]), V2_4),
];

// Only what is deferred has a time of delivery.
//= HL7 v2.5.1 5.5.6.4
const RCP: &[Fact] = &[strict(4, Forbidden(&[IsNot(1, &[b"D"])]), V2_4)];

// An item has at least one code.
//= HL7 v2.5.1 4.11.1
const RQD: &[Fact] = &[strict(2, OneOf(&[2, 3, 4]), V2_3_1)];

// A relation needs what it relates to, and how.
//= HL7 v2.5.1 4.5.5.3
//= HL7 v2.5.1 4.5.5.6
const TQ2: &[Fact] = &[
    strict(3, OneOf(&[3, 4, 5]), V2_5),
    strict(6, OneOf(&[6, 10]), V2_5),
];

// A document with content says of what kind it is, an activity who did it, a text when it was written,
// and an addendum or replacement of what.
//= HL7 v2.5.1 9.6.1.3
//= HL7 v2.5.1 9.6.1.5
//= HL7 v2.5.1 9.6.1.7
//= HL7 v2.5.1 9.6.1.13
const TXA: &[Fact] = &[
    strict(3, Needed(&[Content]), V2_3),
    strict(5, Needed(&[Valued(&[4])]), V2_3),
    strict(7, Needed(&[Valued(&[17]), IsNot(17, &[b"DI"])]), V2_3),
    strict(
        13,
        Needed(&[Event(&[b"T05", b"T06", b"T09", b"T10"])]),
        V2_3,
    ),
];
