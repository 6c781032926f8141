//! Patients: is each one that the message names one of the device's, and are they all the same one?
//!
//! In: a message before a rule that binds patients. Out: the first identifier that is none of the device's, or is of a
//! second patient, or the place where one is missing.
//! Identifiers are compared by keyed hashes, as they are: no case is folded and no blank trimmed, so that what
//! differs for some receiver differs for us.

use super::super::delimiters::Delimiters;
use super::super::finding::{ErrorCode, Fault, Finding, Weight};
use super::super::judge::Case;
use super::super::place::Place;
use super::super::segment::Segment;
use super::{after, components, stranger, unescape, valued};
use crate::Reason;
use crate::patients::Patients;

/// Judges the patients of a message.
pub(super) fn judge(case: &Case<'_>) -> Option<Finding> {
    if !case.rule.bind_patient {
        return several(case);
    }
    bound(case).err().map(|finding| *finding)
}

/// Without a binding a second patient is legal; in results it is worth a hint.
fn several(case: &Case<'_>) -> Option<Finding> {
    if case.header.code != b"ORU" {
        return None;
    }
    let mut patients = case.message.segments().filter(|s| s.name() == "PID");
    let first = patients.next()?.field(3).bytes();
    let other = patients.find(|segment| segment.field(3).bytes() != first)?;
    Some(Finding::new(
        Weight::Hint,
        Reason::Identity,
        field(other, 3),
        SECOND,
        ErrorCode::UnknownKey,
        Fault::Rule,
    ))
}

fn bound(case: &Case<'_>) -> Result<(), Box<Finding>> {
    let patients = &case.policy.patients;
    let mut first: Option<Person<'_>> = None;
    for segment in case.message.segments() {
        match segment.name() {
            "PID" => {
                let person = Person::read(segment, patients)?;
                match &first {
                    Some(first) if !first.is(&person) => {
                        return Err(stranger(field(segment, 3), SECOND).into());
                    }
                    Some(_) => {}
                    None => first = Some(person),
                }
            }
            // Who is merged into whom is one of the device's too, but not the same.
            "MRG" => {
                for number in MRG {
                    known(segment, number, patients)?;
                }
            }
            name if ASKS.contains(&name) => {
                let place = Place::of(segment, segment.offset());
                return Err(stranger(place, "names patients whom no rule can bind").into());
            }
            _ => {}
        }
    }
    if first.is_none() && !case.header.is_acknowledgement() {
        let place = Place::field("PID", 3);
        return Err(stranger(place, "is missing, and the rule binds patients").into());
    }
    Ok(())
}

/// Who a PID segment is about, if all its identifiers are of the device's patients.
struct Person<'a> {
    names: [Option<Name<'a>>; MOST],
}

/// An identifier and its hash.
struct Name<'a> {
    identifier: Identifier<'a>,
    hash: [u8; 32],
}

impl<'a> Person<'a> {
    fn read(segment: &Segment<'a>, patients: &Patients) -> Result<Self, Box<Finding>> {
        let mut person = Self {
            names: [const { None }; MOST],
        };
        let mut free = person.names.iter_mut();
        for (at, identifier) in identifiers(segment, 3) {
            let place = || Place::of(segment, at);
            let hash = identifier
                .known_to(patients)
                .ok_or_else(|| strange(place()))?;
            let Some(slot) = free.next() else {
                return Err(stranger(place(), "is one identifier too many").into());
            };
            *slot = Some(Name { identifier, hash });
        }
        let mut names = person.names.iter().flatten();
        if person.names.iter().all(Option::is_none) {
            let detail = "has no identifier, and the rule binds patients";
            return Err(stranger(field(segment, 3), detail).into());
        }
        // One authority gives a patient one identifier of a kind.
        while let Some(name) = names.next() {
            let rival = |other: &&Name<'_>| {
                other.hash != name.hash && other.identifier.is_of_a_kind_with(&name.identifier)
            };
            if let Some(other) = names.clone().find(rival) {
                return Err(stranger(Place::of(segment, other.identifier.at), SECOND).into());
            }
        }
        for number in OTHERS {
            known(segment, number, patients)?;
        }
        Ok(person)
    }

    /// Whether they have an identifier in common.
    fn is(&self, other: &Self) -> bool {
        let mut names = self.names.iter().flatten();
        names.any(|name| other.names.iter().flatten().any(|o| o.hash == name.hash))
    }
}

/// Whether every identifier of a field is one of the patients'.
fn known(segment: &Segment<'_>, number: usize, patients: &Patients) -> Result<(), Box<Finding>> {
    let mut all = identifiers(segment, number);
    let unknown = all.find(|(_, identifier)| identifier.known_to(patients).is_none());
    unknown.map_or(
        Ok(()),
        |(at, _)| Err(strange(Place::of(segment, at)).into()),
    )
}

/// CX: what a patient is called, and by whom. In versions before 2.3.1 the types are others, their parts the same.
//= HL7 v2.5.1 2.A.14
struct Identifier<'a> {
    /// Where it begins in the message.
    at: usize,
    number: &'a [u8],
    authority: [&'a [u8]; 3],
    kind: &'a [u8],
    /// Whether there is no part of which receivers could make different things.
    plain: bool,
    delimiters: Delimiters,
}

/// The identifiers of a field, each with its place. One without a number names nobody.
fn identifiers<'a>(
    segment: &Segment<'a>,
    number: usize,
) -> impl Iterator<Item = (usize, Identifier<'a>)> + use<'a> {
    let delimiters = *segment.delimiters();
    valued(segment, number).filter_map(move |(at, bytes)| {
        let [number, _, _, authority, kind] = components(bytes, delimiters.component);
        let [namespace, universal, scheme, beyond] = components(authority, delimiters.subcomponent);
        let identifier = Identifier {
            at,
            number,
            authority: [namespace, universal, scheme],
            kind,
            plain: beyond.is_empty() && !number.contains(&delimiters.subcomponent),
            delimiters,
        };
        (!number.is_empty()).then_some((at, identifier))
    })
}

impl Identifier<'_> {
    /// Its hash, if it is one of the patients'.
    fn known_to(&self, patients: &Patients) -> Option<[u8; 32]> {
        if !self.plain {
            return None;
        }
        let mut hash = patients.hash();
        for part in self.authority.into_iter().chain([self.number]) {
            let mut length = 0_usize;
            unescape(part, &self.delimiters, |piece| {
                length = length.saturating_add(piece.len());
            });
            hash.length(length);
            unescape(part, &self.delimiters, |piece| hash.update(piece));
        }
        let hash = hash.finish();
        patients.contains(&hash).then_some(hash)
    }

    fn is_of_a_kind_with(&self, other: &Identifier<'_>) -> bool {
        self.authority == other.authority && self.kind == other.kind
    }
}

fn strange(place: Place) -> Finding {
    stranger(place, "is none of the device's patients")
}

/// A field as a whole.
fn field(segment: &Segment<'_>, number: usize) -> Place {
    let mut at = segment.offset();
    let delimiter = segment.delimiters().field;
    let before = segment.bytes().split(|b| *b == delimiter).take(number);
    for part in before {
        at = after(at, part);
    }
    let end = segment.offset().saturating_add(segment.bytes().len());
    Place {
        field: number,
        ..Place::of(segment, at.min(end))
    }
}

const SECOND: &str = "names a second patient";
/// Fields of PID beside PID-3 that name its patient: external and alternate identifier, social security number.
const OTHERS: [usize; 3] = [2, 4, 19];
/// Fields of MRG that name a patient.
const MRG: [usize; 3] = [1, 2, 4];
/// Segments that name patients in ways of their own: queries, and displays of their results.
const ASKS: [&str; 7] = ["QRD", "QPD", "SPR", "VTQ", "EQL", "ERQ", "URD"];
/// Most identifiers of one patient in PID-3.
//= C7
const MOST: usize = 16;
