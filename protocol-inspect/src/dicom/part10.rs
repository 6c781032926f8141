//! Part 10 files (PS3.10 7): preamble, prefix, file meta information, data set.
//!
//! In: a whole file. Out: a report.
//! A file can be of two kinds at once, because readers skip the preamble and others begin with it or at the end:
//! TIFF is what the preamble is for, programs, archives and disk images are refused.

use std::sync::Arc;

use dicom_core::header::VR;

use super::dataset::{Brief, Content, Facts, Walker};
use super::fault::{Warnings, refusal};
use super::offline::{looks_like, open_policy, sop_class_name};
use super::policy::Profile;
use super::reader::Reader;
use super::transfer::TransferSyntax;
use super::uid::Uid;
use crate::embedded::{self, Group, Kind, Scanner};
use crate::{Base, Reason, Refusal, Report};

/// The verdict on a file.
pub(super) fn inspect(bytes: &[u8], profile: Profile) -> Report {
    let mut file = File {
        base: profile.base,
        profile,
        warnings: Warnings::default(),
        sop_class: None,
    };
    let verdict = file.judge(bytes);
    let kind = file.sop_class.map(|class| sop_class_name(class.as_str()));
    Report {
        kind: kind.unwrap_or_default(),
        refusal: verdict.err(),
        warnings: file.warnings.into_vec(),
    }
}

struct File {
    base: Base,
    profile: Profile,
    warnings: Warnings,
    sop_class: Option<Uid>,
}

#[derive(Default)]
struct Meta {
    sop_class: Option<Uid>,
    sop_instance: Option<Uid>,
    transfer_syntax: Option<Uid>,
    /// One bit for each of the first elements that came.
    seen: u32,
}

impl Meta {
    fn note(&mut self, element: u16) {
        if let Some(bit) = 1_u32.checked_shl(u32::from(element)) {
            self.seen |= bit;
        }
    }

    /// The elements of type 1 that did not come; what the gateway cannot do without is asked for by itself.
    fn missing(&self) -> impl Iterator<Item = u16> {
        let came = |element: u16| {
            let bit = 1_u32.checked_shl(u32::from(element));
            bit.is_some_and(|bit| self.seen & bit != 0)
        };
        META.iter()
            .filter(move |(element, _, required)| *required && !came(*element))
            .map(|(element, _, _)| *element)
    }
}

impl File {
    fn judge(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.check_kind(bytes)?;
        if bytes.is_empty() {
            return Err(refusal(Reason::Structure, "file", "is empty"));
        }
        let mut reader = Reader::new(bytes);
        let prefixed = bytes.get(PREAMBLE..PREFIXED) == Some(MAGIC);
        if prefixed {
            reader.take(PREFIXED, "preamble")?;
        } else {
            let detail = "is missing: this is not a Part 10 file";
            let fault = refusal(Reason::Structure, "DICM prefix", detail);
            self.warnings.doubt(self.base, fault)?;
        }
        let meta = self.meta(&mut reader)?;
        self.sop_class.clone_from(&meta.sop_class);
        let data_set = reader.rest();
        let syntax = match &meta.transfer_syntax {
            Some(uid) => TransferSyntax::from_uid(uid.as_str()).ok_or_else(|| {
                refusal(
                    Reason::Unsupported,
                    "(0002,0010)",
                    "is a transfer syntax that is not carried",
                )
            })?,
            None if prefixed => {
                return Err(refusal(Reason::Structure, "(0002,0010)", "is missing"));
            }
            None => guess(data_set),
        };
        let mut walker = Walker::new(
            syntax,
            &Brief {
                content: Content::Instance(meta.sop_class.clone()),
                policy: Arc::new(open_policy(self.profile.clone())),
                rule: Some(0),
            },
        );
        let facts = walker.feed(data_set).and_then(|()| walker.finish());
        self.warnings.append(walker.take_warnings());
        let facts = facts?;
        if facts.sop_class.is_some() {
            self.sop_class.clone_from(&facts.sop_class);
        }
        self.compare(&meta, &facts)
    }

    /// Programs hide in the preamble, which DICOM readers skip (CVE-2019-11687); archives are read from their end.
    //= DICOM PS3.10 7.1
    fn check_kind(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let prefixed = bytes.get(PREAMBLE..PREFIXED) == Some(MAGIC);
        let start = if prefixed { PREAMBLE } else { HEAD };
        let start = bytes.get(..start).unwrap_or(bytes);
        let kind = embedded::recognise(start);
        let wrong = |detail: &str| Err(refusal(Reason::Structure, "preamble", detail));
        match kind.group() {
            Group::Executable => return wrong("begins like a program"),
            Group::Archive => return wrong("begins like an archive"),
            // However a program goes on.
            _ if start.starts_with(b"MZ") => return wrong("begins like a program"),
            Group::Active if prefixed => return wrong("begins like another document"),
            Group::Harmless if prefixed && !matches!(kind, Kind::Tiff | Kind::Text) => {
                let fault = refusal(
                    Reason::Structure,
                    "preamble",
                    "begins like another document",
                );
                self.warnings.doubt(self.base, fault)?;
            }
            Group::Harmless | Group::Active | Group::Unknown => {}
        }
        let mut scanner = Scanner::new();
        scanner.push(bytes);
        let seen = scanner.finish();
        if seen.trailing_archive || seen.kind == Kind::Iso {
            let detail = "is an archive or disk image besides";
            return Err(refusal(Reason::Structure, "file", detail));
        }
        Ok(())
    }

    /// The elements of group 0002, always explicit VR little endian (PS3.10 7.1).
    fn meta(&mut self, reader: &mut Reader<'_>) -> Result<Meta, Refusal> {
        let mut meta = Meta::default();
        let mut last = None;
        let mut end = None;
        loop {
            let mut ahead = *reader;
            let Ok(0x0002) = ahead.u16_le("group") else {
                break;
            };
            let element = ahead.u16_le("file meta element")?;
            let (vr, value) = meta_value(&mut ahead, element)?;
            *reader = ahead;
            if last >= Some(element) {
                let detail = "is out of order or occurs twice";
                return Err(refusal(Reason::Structure, at(element), detail));
            }
            last = Some(element);
            meta.note(element);
            self.check_meta(element, vr, value)?;
            let uid = |warnings: &mut Warnings| {
                Uid::in_element(value, || at(element), self.base, warnings).map(Some)
            };
            match element {
                0x0000 => {
                    let length = Reader::new(value).u32_le("(0002,0000)")?;
                    let length = usize::try_from(length).unwrap_or(usize::MAX);
                    end = Some(reader.len().checked_sub(length));
                }
                0x0002 | 0x0003 if value.is_empty() => {
                    let fault = refusal(Reason::Field, at(element), "is empty");
                    self.warnings.doubt(self.base, fault)?;
                }
                0x0002 => meta.sop_class = uid(&mut self.warnings)?,
                0x0003 => meta.sop_instance = uid(&mut self.warnings)?,
                0x0010 => meta.transfer_syntax = uid(&mut self.warnings)?,
                _ => {}
            }
        }
        if last.is_none() {
            return Ok(meta);
        }
        if end.is_some_and(|end| end != Some(reader.len())) {
            let detail = "does not match the length of the file meta information";
            let fault = refusal(Reason::Structure, at(0), detail);
            self.warnings.doubt(self.base, fault)?;
        }
        for element in meta.missing() {
            let fault = refusal(Reason::Structure, at(element), "is missing");
            self.warnings.doubt(self.base, fault)?;
        }
        Ok(meta)
    }

    /// What any reader may rely on in an element of the file meta information.
    //= DICOM PS3.10 7.1
    fn check_meta(&mut self, element: u16, vr: VR, value: &[u8]) -> Result<(), Refusal> {
        let expected = META.iter().find(|(known, _, _)| *known == element);
        let detail = match (expected, value) {
            (None, _) => "is not an element of the file meta information",
            (Some((_, expected, _)), _) if *expected != vr => {
                "has another value representation than in the dictionary"
            }
            // Bit 0 stands for the only version there is.
            (Some((0x0001, _, _)), [_, version]) if version & 1 == 1 => return Ok(()),
            (Some((0x0001, _, _)), _) => "is not a version that is known",
            (Some((_, _, true)), []) if !matches!(element, 0x0002 | 0x0003) => "is empty",
            (Some(_), _) => return Ok(()),
        };
        let fault = refusal(Reason::Structure, at(element), detail);
        self.warnings.doubt(self.base, fault)
    }

    fn compare(&mut self, meta: &Meta, facts: &Facts) -> Result<(), Refusal> {
        let pairs = [
            (at(0x0002), &meta.sop_class, &facts.sop_class),
            (at(0x0003), &meta.sop_instance, &facts.sop_instance),
        ];
        for (location, in_meta, in_data_set) in pairs {
            // Anonymisers forget it, and a peer on the network never sees it.
            if in_meta.is_some() && in_data_set.is_some() && in_meta != in_data_set {
                let fault = refusal(Reason::Field, location, "is not that of the data set");
                self.warnings.doubt(self.base, fault)?;
            }
        }
        Ok(())
    }
}

/// A bare data set does not say how it is encoded, but its first element shows it.
fn guess(data_set: &[u8]) -> TransferSyntax {
    [
        TransferSyntax::ImplicitLittle,
        TransferSyntax::ExplicitLittle,
        TransferSyntax::ExplicitBig,
    ]
    .into_iter()
    .find(|syntax| looks_like(*syntax, data_set))
    .unwrap_or(TransferSyntax::ImplicitLittle)
}

fn meta_value<'a>(reader: &mut Reader<'a>, element: u16) -> Result<(VR, &'a [u8]), Refusal> {
    let letters: [u8; 2] = reader.array("file meta element")?;
    let vr = VR::from_binary(letters).ok_or_else(|| {
        refusal(
            Reason::Encoding,
            at(element),
            "has an unknown value representation",
        )
    })?;
    let len = if matches!(vr, VR::OB | VR::UN | VR::UR | VR::UT) {
        reader.u16_le("reserved")?;
        reader.u32_le("file meta element length")?
    } else {
        u32::from(reader.u16_le("file meta element length")?)
    };
    if !len.is_multiple_of(2) {
        return Err(refusal(Reason::Encoding, at(element), "is of odd length"));
    }
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    Ok((vr, reader.take(len, "file meta element value")?))
}

fn at(element: u16) -> String {
    format!("(0002,{element:04x})")
}

const PREAMBLE: usize = 128;
const PREFIXED: usize = 132;
const MAGIC: &[u8] = b"DICM";
/// Bytes in which a file that is no Part 10 file shows what it is.
const HEAD: usize = 1024;
/// Elements of the file meta information, and whether they are of type 1.
const META: [(u16, VR, bool); 15] = [
    (0x0000, VR::UL, true),
    (0x0001, VR::OB, true),
    (0x0002, VR::UI, true),
    (0x0003, VR::UI, true),
    (0x0010, VR::UI, true),
    (0x0012, VR::UI, true),
    (0x0013, VR::SH, false),
    (0x0016, VR::AE, false),
    (0x0017, VR::AE, false),
    (0x0018, VR::AE, false),
    (0x0026, VR::UR, false),
    (0x0027, VR::UR, false),
    (0x0028, VR::UR, false),
    (0x0100, VR::UI, false),
    (0x0102, VR::OB, false),
];
