//! The tables against themselves, and against the dictionary that names the elements.

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry, VirtualVr};
use dicom_dictionary_std::StandardDataDictionary;

use super::*;

fn tags() -> impl Iterator<Item = Tag> {
    let numbers = TAGS.iter().zip(NUMBERS);
    let used = numbers.filter(|(_, number)| usize::from(**number) < ENTRIES.len());
    used.map(|(tag, _)| u32::from_le_bytes(*tag))
        .map(|tag| Tag((tag >> 16) as u16, tag as u16))
}

#[test]
fn every_tag_is_found_where_it_is() {
    assert_eq!((MOVES.len(), TAGS.len(), NUMBERS.len()), (2048, 8192, 8192));
    let mut count = 0;
    for (tag, number) in TAGS.iter().zip(NUMBERS) {
        if *number != 255 {
            let found = find(u32::from_le_bytes(*tag)).unwrap();
            assert!(std::ptr::eq(found, &ENTRIES[usize::from(*number)]));
            count += 1;
        }
    }
    assert!(count > 5_600, "{count}");
    let unknown = [
        Tag(0x0008, 0x0003),
        Tag(0x0001, 0x0001),
        Tag(0x0029, 0x1010),
    ];
    let delimiters = [Tag(0xfffe, 0xe000), Tag(0xffff, 0xffff)];
    for tag in unknown.into_iter().chain(delimiters) {
        assert_eq!(Entry::of(tag), None, "{tag}");
    }
}

/// Of another origin than the lead, so that a fault of the generator shows.
#[test]
fn agrees_with_the_dictionary_of_names() {
    let mut compared = 0;
    for tag in tags() {
        let entry = Entry::of(tag).unwrap();
        let Some(named) = StandardDataDictionary.by_tag(tag) else {
            continue;
        };
        let same = match named.vr() {
            VirtualVr::Exact(vr) => entry.vrs == [vr],
            VirtualVr::Xs => entry.vrs == [VR::US, VR::SS],
            VirtualVr::Ox | VirtualVr::Px => entry.vrs == [VR::OB, VR::OW],
            // `US or OW` and `US or SS or OW`.
            VirtualVr::Lt => entry.vrs.contains(&VR::US) && entry.vrs.contains(&VR::OW),
            _ => true,
        };
        assert!(
            same || tag.element() == 0,
            "{tag} {entry:?} {:?}",
            named.vr()
        );
        compared += 1;
    }
    assert!(compared > 5_200, "{compared}");
}

#[test]
fn facts_of_some() {
    let said = |group, element| Entry::of(Tag(group, element)).copied().unwrap();
    assert_eq!(said(0x0028, 0x0010), entry(&[VR::US], 1, Some(1), 1, false));
    assert_eq!(said(0x0020, 0x0037), entry(&[VR::DS], 6, Some(6), 1, false));
    assert_eq!(said(0x3006, 0x0050), entry(&[VR::DS], 3, None, 3, false));
    assert_eq!(said(0x0008, 0x0010), entry(&[VR::SH], 1, Some(1), 1, true));
    assert_eq!(said(0x7fe0, 0x0010).vrs, [VR::OB, VR::OW]);
    assert_eq!(said(0x7fe0, 0x0010).implied(), VR::OW);
    assert_eq!(said(0x0028, 0x0106).implied(), VR::US);
    assert_eq!(said(0x0028, 0x3006).implied(), VR::OW);
    assert_eq!(said(0x0029, 0x0010), PRIVATE_CREATOR);
    assert_eq!(said(0x0029, 0x0000), GROUP_LENGTH);
}

#[test]
fn repeating_groups() {
    for group in [0x6000, 0x6002, 0x601e] {
        let overlay = Entry::of(Tag(group, 0x3000)).unwrap();
        assert_eq!(overlay.vrs, [VR::OB, VR::OW]);
        let rows = Entry::of(Tag(group, 0x0010)).unwrap();
        assert_eq!(rows.vrs, [VR::US]);
    }
    for group in [0x6001, 0x6020, 0x60fe] {
        assert_eq!(Entry::of(Tag(group, 0x3000)), None);
    }
    assert_eq!(Entry::of(Tag(0x5004, 0x3000)).unwrap().vrs.len(), 2);
    assert!(Entry::of(Tag(0x7f02, 0x0010)).unwrap().retired);
    assert!(!Entry::of(Tag(0x7fe0, 0x0010)).unwrap().retired);
    assert_eq!(Entry::of(Tag(0x0020, 0x3142)).unwrap().vrs, [VR::CS]);
    assert_eq!(Entry::of(Tag(0x0028, 0x0412)).unwrap().vrs, [VR::LO]);
}

#[test]
fn how_many_values() {
    let vm = |min, max, step| entry(&[VR::DS], min, max, step, false);
    for (entry, right, wrong) in [
        (vm(1, Some(1), 1), &[1][..], &[0, 2][..]),
        (vm(1, None, 1), &[1, 2, 9_999], &[0]),
        (vm(2, None, 2), &[2, 4, 6], &[0, 1, 3, 5]),
        (vm(3, None, 3), &[3, 6], &[1, 2, 4]),
        (vm(1, Some(3), 1), &[1, 2, 3], &[4]),
    ] {
        assert!(right.iter().all(|n| entry.allows(*n)), "{entry:?}");
        assert!(!wrong.iter().any(|n| entry.allows(*n)), "{entry:?}");
    }
}
