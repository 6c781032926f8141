//! Documents inside of messages and data sets: what they are by their bytes, and what they carry.
//!
//! In: the bytes of a document, in pieces. Out: its kind, and what else is worth a word.
//! Knows nothing of HL7 and DICOM: who asks decides what may be where.

mod active;
mod kind;
mod magic;
mod scan;
mod xml;

pub(crate) use self::active::runs;
pub(crate) use self::kind::Group;
pub use self::kind::Kind;
pub(crate) use self::magic::{is_certain, recognise};
pub(crate) use self::scan::{Scanner, Seen};
pub(crate) use self::xml::{DOCTYPE, judge as judge_xml};
