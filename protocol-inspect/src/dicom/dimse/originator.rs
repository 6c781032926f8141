//! Whose C-MOVE a C-STORE belongs to (PS3.7 9.1.1.1: Move Originator AE title and message ID).
//!
//! In: a checked command and a rule. Out: whether the rule's retrievals include it.

use super::super::policy::{Follows, Retrieval, Rule};
use super::super::reader::Reader;
use super::super::uid::AeTitle;
use super::{Command, Service};
use crate::Base;

/// What a command says of the C-MOVE that it belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Originator {
    title: Option<AeTitle>,
    message_id: Option<u16>,
}

/// Why a rule that returns something does not allow this request.
pub(super) fn strays(command: &Command, rule: &Rule) -> Option<&'static str> {
    match &rule.follows {
        Some(Follows::Retrieval(outstanding)) if command.service == Service::CStore => {
            let named = originator(command);
            let belongs = outstanding.iter().any(|one| named.fits(one, rule.base()));
            (!belongs).then_some("is of no outstanding C-MOVE")
        }
        Some(Follows::Retrieval(_) | Follows::Commitment) | None => None,
    }
}

impl Originator {
    /// Either may be left out, which only a strict rule minds.
    fn fits(&self, outstanding: &Retrieval, base: Base) -> bool {
        let title = (self.title.as_ref()).map(|title| title.as_str() == outstanding.originator);
        let id = self.message_id.map(|id| id == outstanding.message_id);
        let absent = base == Base::Standard;
        title.unwrap_or(absent) && id.unwrap_or(absent)
    }
}

impl Command {
    /// Whether it names the C-MOVE that it belongs to, if it is of one.
    #[must_use]
    pub fn names_originator(&self) -> bool {
        let named = originator(self);
        named.title.is_some() && named.message_id.is_some()
    }
}

/// The command set was read before: what is not there was not there.
fn originator(command: &Command) -> Originator {
    let mut found = Originator::default();
    let mut reader = Reader::new(&command.bytes);
    while let Ok((element, value)) = next(&mut reader) {
        match element {
            TITLE => found.title = AeTitle::parse(value, "(0000,1030)").ok(),
            MESSAGE_ID => {
                let id = <[u8; 2]>::try_from(value).map(u16::from_le_bytes);
                found.message_id = id.ok();
            }
            _ => {}
        }
    }
    found
}

fn next<'a>(reader: &mut Reader<'a>) -> Result<(u16, &'a [u8]), crate::Refusal> {
    reader.u16_le("command element")?;
    let element = reader.u16_le("command element")?;
    let length = reader.u32_le("command element length")?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    Ok((element, reader.take(length, "command element value")?))
}

/// Move Originator AE title.
const TITLE: u16 = 0x1030;
/// Move Originator message ID.
const MESSAGE_ID: u16 = 0x1031;
