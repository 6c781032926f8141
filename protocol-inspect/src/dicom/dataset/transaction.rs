//! What data sets of transactions say: which instances storage commitment is about (PS3.4 J.3),
//! and how far a performed procedure step is (PS3.4 F.7).
//!
//! In: the elements of a data set of these SOP classes. Out: a [`Transaction`].
//! Whether that fits what was asked before is for whoever remembers that.

use dicom_core::Tag;
use sha2::{Digest, Sha256};

use super::super::sop::{PERFORMED_PROCEDURE_STEP, STORAGE_COMMITMENT};
use super::super::uid::Uid;
use super::brief::{Brief, Content};
use super::judges::{Element, Tell};
use super::nesting::Kind;
use crate::{LimitReached, Reason, Refusal};

/// What the data set says of a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Transaction {
    /// Nothing: it is of another SOP class.
    #[default]
    None,
    /// Storage commitment: the request or its result.
    Commitment(Box<Commitment>),
    /// A modality performed procedure step.
    Step(Option<StepStatus>),
}

/// Instances for which storage commitment is asked or given.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Commitment {
    transaction: Option<Uid>,
    instances: Vec<[u8; 16]>,
    failed: usize,
    /// The SOP class of an item whose instance is still to come.
    class: Option<Uid>,
}

/// (0040,0252) Performed Procedure Step Status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepStatus {
    /// `IN PROGRESS`.
    InProgress,
    /// `DISCONTINUED`.
    Discontinued,
    /// `COMPLETED`.
    Completed,
    /// Anything else.
    Unknown,
}

// Instances are known by their hashes alone, and those say enough to be kept quiet.
impl std::fmt::Debug for Commitment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Commitment({} instances)", self.instances.len())
    }
}

impl Transaction {
    /// Nothing is known before the first element.
    pub(super) fn of(brief: &Brief) -> Self {
        let Content::Normalized(content) = &brief.content else {
            return Self::None;
        };
        match content.sop_class.as_ref().map_or("", Uid::as_str) {
            STORAGE_COMMITMENT => Self::Commitment(Box::default()),
            PERFORMED_PROCEDURE_STEP => Self::Step(None),
            _ => Self::None,
        }
    }

    pub(super) fn element(
        &mut self,
        element: &Element<'_>,
        tell: &Tell<'_>,
    ) -> Result<(), Refusal> {
        match self {
            Self::None => Ok(()),
            Self::Commitment(commitment) => commitment.element(element, tell),
            Self::Step(status) => {
                if element.depth == 0 && element.tag == STEP_STATUS {
                    *status = Some(StepStatus::of(element.value));
                }
                Ok(())
            }
        }
    }
}

impl StepStatus {
    pub(in super::super) fn of(value: &[u8]) -> Self {
        match value.trim_ascii() {
            b"IN PROGRESS" => Self::InProgress,
            b"DISCONTINUED" => Self::Discontinued,
            b"COMPLETED" => Self::Completed,
            _ => Self::Unknown,
        }
    }
}

impl Commitment {
    /// (0008,1195).
    #[must_use]
    pub fn transaction(&self) -> Option<&Uid> {
        self.transaction.as_ref()
    }

    /// How many instances are in the Failed SOP Sequence (0008,1198).
    #[must_use]
    pub fn failed(&self) -> usize {
        self.failed
    }

    /// A hash of all instances of both sequences, whatever their order.
    ///
    /// # Errors
    /// What is wrong with the lists, in words: an item without its class or instance, no item, an instance twice.
    pub fn instances(&self) -> Result<[u8; 32], &'static str> {
        if self.class.is_some() {
            return Err("has an item without instance");
        }
        if self.instances.is_empty() {
            return Err("names no instance");
        }
        let mut sorted = self.instances.clone();
        sorted.sort_unstable();
        let twice = sorted
            .iter()
            .zip(sorted.iter().skip(1))
            .any(|(a, b)| a == b);
        if twice {
            return Err("names an instance twice");
        }
        let mut hash = Sha256::new();
        for instance in &sorted {
            hash.update(instance);
        }
        Ok(hash.finalize().into())
    }

    fn element(&mut self, element: &Element<'_>, tell: &Tell<'_>) -> Result<(), Refusal> {
        let wrong = |detail| tell.refuse(element.tag, Reason::Field, detail);
        let uid = || {
            let (uid, _) = Uid::read(element.value).map_err(wrong)?;
            Ok::<Uid, Refusal>(uid)
        };
        let sequence = tell.nesting.iter().rev();
        let sequence = sequence
            .into_iter()
            .find(|level| level.kind == Kind::Sequence)
            .map(|level| level.tag);
        match (element.depth, element.tag) {
            (0, TRANSACTION) => self.transaction = Some(uid()?),
            (1, CLASS) if sequence.is_some_and(is_list) => {
                let before = self.class.replace(uid()?);
                if before.is_some() {
                    return Err(wrong("follows an item without instance"));
                }
            }
            (1, INSTANCE) if sequence.is_some_and(is_list) => {
                let instance = uid()?;
                let class = self.class.take().ok_or_else(|| wrong("has no SOP class"))?;
                self.add(&class, &instance)?;
                self.failed = (self.failed).saturating_add(usize::from(sequence == Some(FAILED)));
            }
            _ => {}
        }
        Ok(())
    }

    //= C7
    fn add(&mut self, class: &Uid, instance: &Uid) -> Result<(), Refusal> {
        if self.instances.len() >= MOST_INSTANCES {
            let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
            return Err(LimitReached {
                limit: "instances of storage commitment",
                got: count(MOST_INSTANCES).saturating_add(1),
                max: count(MOST_INSTANCES),
            }
            .into());
        }
        let mut hash = Sha256::new();
        hash.update(class.as_str());
        // No UID has this character.
        hash.update(b"/");
        hash.update(instance.as_str());
        let hash: [u8; 32] = hash.finalize().into();
        if let Some(half) = hash.first_chunk::<16>() {
            self.instances.push(*half);
        }
        Ok(())
    }
}

/// The two lists of instances; other sequences, such as that of retrieve locations, are of no interest here.
fn is_list(sequence: Tag) -> bool {
    sequence == REFERENCED || sequence == FAILED
}

const CLASS: Tag = Tag(0x0008, 0x1150);
const INSTANCE: Tag = Tag(0x0008, 0x1155);
const TRANSACTION: Tag = Tag(0x0008, 0x1195);
const FAILED: Tag = Tag(0x0008, 0x1198);
const REFERENCED: Tag = Tag(0x0008, 0x1199);
const STEP_STATUS: Tag = Tag(0x0040, 0x0252);
/// Instances of one transaction: a megabyte of hashes.
const MOST_INSTANCES: usize = 65_536;
