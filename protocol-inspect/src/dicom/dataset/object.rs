//! Which information object a data set is judged as, and by whom (PS3.3).
//!
//! In: what the data set claims to be, and what the walk meets. Out: what [`iod::Judge`] finds.
//! Data sets of normalized instances are judged by what their service asks for (PS3.4), in the same way.
//! Knows no modules.

use dicom_core::Tag;
use dicom_core::header::VR;

use super::super::iod;
use super::super::normalized;
use super::super::uid::Uid;
use super::brief::{Brief, Content};
use super::judges::{Element, Tell};
use crate::Refusal;
use crate::severity::Weight;

/// The judge of the information object, once it is known which one.
pub(super) enum Object {
    /// The data set does not claim to be one.
    None,
    /// The SOP class is private, or newer than the tables.
    Unknown,
    /// The SOP class is still to come. What comes before it waits; that it never came is for others to tell.
    Unnamed(Vec<Early>),
    /// Of a known SOP class.
    Judged { class: Uid, judge: Box<iod::Judge> },
    /// Of a normalized instance, of which a service asks something.
    Service(Box<normalized::Judge>),
}

/// An element of the data set before (0008,0016).
pub(super) struct Early {
    tag: Tag,
    vr: VR,
    length: u32,
    value: Vec<u8>,
    big_endian: bool,
}

impl Object {
    pub(super) fn new(brief: &Brief) -> Self {
        match &brief.content {
            Content::Instance(Some(class)) => Self::of(class.clone()),
            Content::Instance(None) => Self::Unnamed(Vec::new()),
            Content::Normalized(content) => {
                let judge = normalized::Judge::new(content).map(Box::new);
                judge.map_or(Self::None, Self::Service)
            }
            Content::Query | Content::QueryResult => Self::None,
        }
    }

    fn of(class: Uid) -> Self {
        match iod::Judge::new(class.as_str()).map(Box::new) {
            Some(judge) => Self::Judged { class, judge },
            None => Self::Unknown,
        }
    }

    pub(super) fn element(
        &mut self,
        element: &Element<'_>,
        tell: &mut Tell<'_>,
    ) -> Result<(), Refusal> {
        if let Self::Unnamed(early) = self {
            if element.depth > 0 {
                return Ok(());
            }
            if element.tag < SOP_CLASS {
                if early.len() < MAX_EARLY {
                    early.push(Early::of(element));
                }
                return Ok(());
            }
            self.name(element, tell)?;
        }
        if let Self::Service(judge) = self {
            return judge.element(&value(element), tell);
        }
        let Self::Judged { class, judge } = self else {
            return Ok(());
        };
        if element.tag == SOP_CLASS && element.depth == 0 && is_other(class, element.value) {
            *self = Self::None;
            return Ok(());
        }
        judge.element(&value(element), tell)
    }

    pub(super) fn open_fragments(&mut self, tag: Tag) {
        if let Self::Judged { judge, .. } = self {
            judge.open_fragments(tag);
        }
    }

    pub(super) fn open_sequence(&mut self, tag: Tag, tell: &mut Tell<'_>) -> Result<(), Refusal> {
        match self {
            Self::Judged { judge, .. } => judge.open_sequence(tag, tell)?,
            Self::Service(judge) => judge.open_sequence(tag, tell)?,
            Self::None | Self::Unknown | Self::Unnamed(_) => {}
        }
        Ok(())
    }

    pub(super) fn open_item(&mut self) {
        match self {
            Self::Judged { judge, .. } => judge.open_item(),
            Self::Service(judge) => judge.open_item(),
            Self::None | Self::Unknown | Self::Unnamed(_) => {}
        }
    }

    pub(super) fn close_item(&mut self, tell: &mut Tell<'_>) -> Result<(), Refusal> {
        match self {
            Self::Judged { judge, .. } => judge.close_item(tell),
            Self::Service(judge) => judge.close_item(tell),
            Self::None | Self::Unknown | Self::Unnamed(_) => Ok(()),
        }
    }

    pub(super) fn close_sequence(&mut self) {
        match self {
            Self::Judged { judge, .. } => judge.close_sequence(),
            Self::Service(judge) => judge.close_sequence(),
            Self::None | Self::Unknown | Self::Unnamed(_) => {}
        }
    }

    pub(super) fn finish(&mut self, tell: &mut Tell<'_>) -> Result<(), Refusal> {
        match self {
            Self::None | Self::Unnamed(_) => Ok(()),
            Self::Unknown => iod::Tell::finding(tell, SOP_CLASS, Weight::Notice, UNKNOWN),
            Self::Judged { judge, .. } => judge.finish(tell),
            Self::Service(judge) => judge.finish(tell),
        }
    }

    /// The first element that does not come before (0008,0016): it is the SOP class, or there is none.
    fn name(&mut self, element: &Element<'_>, tell: &mut Tell<'_>) -> Result<(), Refusal> {
        let class = match Uid::read(element.value) {
            Ok((class, _)) if element.tag == SOP_CLASS => class,
            Ok(_) | Err(_) => {
                *self = Self::None;
                return Ok(());
            }
        };
        let Self::Unnamed(early) = std::mem::replace(self, Self::of(class)) else {
            return Ok(());
        };
        let Self::Judged { judge, .. } = self else {
            return Ok(());
        };
        early
            .iter()
            .try_for_each(|early| judge.element(&early.value(), tell))
    }
}

impl Early {
    fn of(element: &Element<'_>) -> Self {
        Self {
            tag: element.tag,
            vr: element.vr,
            length: element.length,
            value: element.value.to_vec(),
            big_endian: element.big_endian,
        }
    }

    fn value(&self) -> iod::Value<'_> {
        iod::Value {
            tag: self.tag,
            vr: self.vr,
            length: self.length,
            bytes: &self.value,
            big_endian: self.big_endian,
        }
    }
}

fn value<'v>(element: &Element<'v>) -> iod::Value<'v> {
    iod::Value {
        tag: element.tag,
        vr: element.vr,
        length: element.length,
        bytes: element.value,
        big_endian: element.big_endian,
    }
}

/// That the data set is of another class than the command says is not for this judge to tell.
fn is_other(class: &Uid, value: &[u8]) -> bool {
    Uid::read(value).is_ok_and(|(other, _)| other != *class)
}

const SOP_CLASS: Tag = Tag(0x0008, 0x0016);
/// The standard has fewer elements before (0008,0016).
//= C7
const MAX_EARLY: usize = 32;
const UNKNOWN: &str = "names a class whose information object is not known here";
