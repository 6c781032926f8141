//! The device: are the devices that the message names, to which observations are ascribed, the one that speaks?
//!
//! In: a message, and the identifiers that the configuration gives to the device. Out: the first identifier that is none of them.
//! Without identifiers in the configuration nothing is compared.

use std::borrow::Cow;

use super::super::delimiters::Delimiters;
use super::super::finding::Finding;
use super::super::judge::Case;
use super::super::place::Place;
use super::{components, stranger, unescape, valued};

/// Judges the devices that a message names.
//= HL7 v2.5.1 7.4.2.18
pub(super) fn judge(case: &Case<'_>) -> Option<Finding> {
    let own = &case.policy.device_ids;
    if own.is_empty() {
        return None;
    }
    for segment in case.message.segments() {
        let number = match segment.name() {
            "OBX" => 18,
            "PRT" => 10,
            _ => continue,
        };
        let delimiters = segment.delimiters();
        let foreign = valued(segment, number).find(|(_, ei)| !is_own(ei, delimiters, own));
        if let Some((at, _)) = foreign {
            let place = Place::of(segment, at);
            return Some(stranger(place, "is none of the device's identifiers"));
        }
    }
    None
}

/// Whether an entity identifier is the device's own: as a whole, or by each part that names the device.
//= HL7 v2.5.1 2.A.28
fn is_own(ei: &[u8], delimiters: &Delimiters, own: &[String]) -> bool {
    let parts: [&[u8]; 4] = components(ei, delimiters.component);
    let [entity, _, universal, scheme] = parts;
    let whole = |id: &&String| {
        let wanted: [&[u8]; 4] = components(id.as_bytes(), b'^');
        id.contains('^')
            && (wanted.iter())
                .zip(parts)
                .all(|(wanted, part)| same(wanted, part, delimiters))
    };
    if own.iter().find(whole).is_some() {
        return true;
    }
    let listed = |part| own.iter().any(|id| same(id.as_bytes(), part, delimiters));
    let is_eui = scheme.eq_ignore_ascii_case(b"EUI-64");
    match (entity.is_empty(), universal.is_empty()) {
        (true, true) => false,
        (true, false) => listed(universal),
        // With another scheme it is whoever gave the identifier.
        (false, false) if is_eui => listed(entity) && listed(universal),
        (false, _) => listed(entity),
    }
}

/// Whether two identifiers are the same. EUI-64 may be written with separators and in either case.
fn same(wanted: &[u8], part: &[u8], delimiters: &Delimiters) -> bool {
    let part = text(part, delimiters);
    match (eui64(wanted), eui64(&part)) {
        (Some(wanted), Some(part)) => wanted == part,
        (_, _) => wanted == &*part,
    }
}

fn text<'a>(part: &'a [u8], delimiters: &Delimiters) -> Cow<'a, [u8]> {
    if !part.contains(&delimiters.escape) {
        return Cow::Borrowed(part);
    }
    let mut text = Vec::with_capacity(part.len());
    unescape(part, delimiters, |piece| text.extend_from_slice(piece));
    Cow::Owned(text)
}

/// The sixteen digits of an EUI-64, in capitals.
fn eui64(text: &[u8]) -> Option<[u8; 16]> {
    let mut digits = text.iter().filter(|b| !matches!(b, b'-' | b':'));
    let mut eui = [0; 16];
    for (place, digit) in eui.iter_mut().zip(digits.by_ref()) {
        *place = digit.to_ascii_uppercase();
    }
    let complete = digits.next().is_none() && eui.iter().all(u8::is_ascii_hexdigit);
    complete.then_some(eui)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_foreign_identifier_has_an_own_twin() {
        let delimiters = Delimiters::parse(b"MSH|^~\\&|").unwrap();
        let own = ["00-12-34-56-78-ab-cd-ef", "SN 1", "7^ACME"].map(str::to_owned);
        for (good, bad) in [
            ("0012345678ABCDEF", "0012345678ABCDEE"),
            ("0012345678abcdef", "0012345678abcde"),
            ("00:12:34:56:78:AB:CD:EF", "00:12:34:56:78:AB:CD:EF:00"),
            ("0012345678ABCDEF^EUI-64", "0012345678ABCDEX^EUI-64"),
            (
                "0012345678ABCDEF^^0012345678ABCDEF^EUI-64",
                "0012345678ABCDEF^^0012345678ABCDEE^EUI-64",
            ),
            (
                "SN 1^ACME^0012345678ABCDEF^EUI-64",
                "SN 2^ACME^0012345678ABCDEF^EUI-64",
            ),
            ("SN 1^ACME^1.2.3^ISO", "sn 1^ACME^1.2.3^ISO"),
            ("^^0012345678ABCDEF^EUI-64", "^^0012345678ABCDEE^EUI-64"),
            ("7^ACME", "7^ACME^^L"),
            (r"SN\X20\1", r"SN\X21\1"),
            ("SN 1", "^ACME"),
        ] {
            assert!(is_own(good.as_bytes(), &delimiters, &own), "{good}");
            assert!(!is_own(bad.as_bytes(), &delimiters, &own), "{bad}");
        }
    }
}
