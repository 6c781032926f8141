//! What rules ask of a data set beyond the standard: modality, patients, keys of queries, private creators.
//!
//! In: every element with its place. Out: candidates that go, or the refusal when the last would go.
//! These are bounds of the rule and not of the content, so they hold in shadow too; private creators alone are content.
//! Knows nothing of headers, and of commands only the [`Subject`].

mod patient;
mod query;

use dicom_core::Tag;

use super::super::policy::{Level, Rule};
use super::brief::Content;
use super::candidates::Candidates;
use super::judges::{Element, Tell};
use crate::severity::Weight;
use crate::{Reason, Refusal};
use patient::People;
use query::Keys;

/// What the command says that rules ask of its data set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Subject {
    /// It is about a patient, and must name one where rules bind patients.
    pub(in super::super) patient: bool,
    /// It is a query with a Query/Retrieve Level.
    pub(in super::super) level: bool,
    /// It answers: only its patients are judged.
    pub(in super::super) answer: bool,
}

/// Judges what rules ask for. Without `Debug`, since it holds values. Costs nothing where no rule asks; the default is about nothing.
#[derive(Default)]
pub(super) struct RuleJudge {
    subject: Subject,
    modality: Option<Modality>,
    people: Option<Box<People>>,
    keys: Option<Box<Keys>>,
    creators: bool,
}

/// Of an instance, so far.
#[derive(Default)]
struct Modality(Option<Vec<u8>>);

impl RuleJudge {
    pub(super) fn new(content: &Content, subject: Subject, candidates: &Candidates) -> Self {
        let any = |asks: fn(&Rule) -> bool| candidates.rules().any(asks);
        let own = !subject.answer;
        let (instance, query) = match content {
            Content::Instance(_) => (own, false),
            Content::Query => (false, own),
            Content::QueryResult | Content::Normalized(_) => (false, false),
        };
        let is_query = *content == Content::Query;
        Self {
            subject,
            modality: (instance && any(|rule| !rule.modalities.is_empty())).then(Modality::default),
            people: any(|rule| rule.bind_patient).then(|| Box::new(People::new(is_query))),
            keys: query.then(|| Box::new(Keys::new(subject.level))),
            creators: own && any(|rule| rule.private_creators.is_some()),
        }
    }

    pub(super) fn element(
        &mut self,
        element: &Element<'_>,
        tell: &mut Tell<'_>,
    ) -> Result<(), Refusal> {
        if let Some(people) = &mut self.people {
            people.element(element, tell)?;
        }
        if let Some(keys) = &mut self.keys {
            keys.element(element, tell);
        }
        if self.creators && is_creator(element.tag) {
            creator(element, tell)?;
        }
        if let Some(modality) = &mut self.modality
            && element.tag == MODALITY
            && element.depth == 0
        {
            modality.0 = Some(trimmed(element.value).to_vec());
        }
        Ok(())
    }

    /// The data set is over.
    pub(super) fn finish(&mut self, tell: &mut Tell<'_>) -> Result<(), Refusal> {
        if let Some(people) = &mut self.people {
            people.finish(self.subject.patient, tell)?;
        }
        if let Some(modality) = &self.modality {
            let value = modality.0.as_deref().filter(|value| !value.is_empty());
            let detail = match value {
                Some(_) => "is not one that the rule carries",
                None => "is missing, and the rule carries some modalities only",
            };
            let keep = |rule: &Rule| rule.has_modality(value);
            tell.narrow(MODALITY, keep, Reason::Forbidden, detail)?;
        }
        if let Some(keys) = &self.keys {
            keys.finish(tell)?;
        }
        Ok(())
    }
}

/// A private element of which no creator says whose it is.
//= DICOM PS3.5 7.8.1
pub(super) fn without_creator(tag: Tag, tell: &mut Tell<'_>) -> Result<(), Refusal> {
    let detail = "is private, but has no private creator";
    let minds = |rule: &Rule| rule.private_creators.is_some();
    tell.finding_of(
        tag,
        (Level::Private, Weight::Content),
        minds,
        Reason::Structure,
        detail,
    )?;
    tell.finding(
        tag,
        (Level::Private, Weight::Strict),
        Reason::Structure,
        detail,
    )
}

fn creator(element: &Element<'_>, tell: &mut Tell<'_>) -> Result<(), Refusal> {
    let name = trimmed(element.value);
    let minds = |rule: &Rule| !rule.has_creator(name);
    let detail = "is a private creator that the rule does not list";
    let content = (Level::Private, Weight::Content);
    tell.finding_of(element.tag, content, minds, Reason::Forbidden, detail)
}

fn is_creator(tag: Tag) -> bool {
    !tag.group().is_multiple_of(2) && matches!(tag.element(), 0x0010..=0x00ff)
}

/// Spaces around most texts mean nothing (PS3.5 6.2), and NUL is padding that some use.
fn trimmed(value: &[u8]) -> &[u8] {
    let padding = |byte: &u8| matches!(byte, b' ' | 0);
    let end = value.iter().rposition(|byte| !padding(byte));
    let value = value.get(..end.map_or(0, |at| at.saturating_add(1)));
    let value = value.unwrap_or_default();
    let begin = value.iter().position(|byte| *byte != b' ');
    value.get(begin.unwrap_or(0)..).unwrap_or_default()
}

const MODALITY: Tag = Tag(0x0008, 0x0060);
