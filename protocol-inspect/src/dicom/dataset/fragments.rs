//! Headers of the items of encapsulated pixel data (PS3.5 A.4): what they may be. What is in them is for the judges.

use dicom_core::header::VR;

use super::super::fault::refusal;
use super::header::{Header, UNDEFINED};
use super::{PIXEL_DATA, Walker};
use crate::{Reason, Refusal};

impl Walker {
    pub(super) fn on_fragment(&mut self, header: Header) -> Result<(), Refusal> {
        let length = header.length;
        if length == UNDEFINED {
            let detail = "is a fragment of undefined length";
            return Err(self.fault(header.tag, Reason::Structure, detail));
        }
        self.even_end(header)?;
        let Some(fragments) = self.levels.last_mut() else {
            return Ok(());
        };
        let number = fragments.items;
        fragments.items = number.saturating_add(1);
        if number == 0 && !length.is_multiple_of(4) {
            let detail = "is a basic offset table that is not a whole number of offsets";
            return Err(self.fault(header.tag, Reason::Structure, detail));
        }
        let (judges, mut tell) = self.judging();
        judges.fragment(number, length, &mut tell)?;
        self.begin_value(header.tag, VR::OB, None, length)
    }

    pub(super) fn end_fragments(&mut self, header: Header) -> Result<(), Refusal> {
        if header.length != 0 {
            let detail = "is a delimiter with a length";
            return Err(self.fault(header.tag, Reason::Structure, detail));
        }
        let items = self.levels.last().map_or(0, |level| level.items);
        if items < 2 {
            let detail = "has no offset table or no fragment";
            let location = super::nesting::name(PIXEL_DATA);
            return Err(refusal(Reason::Structure, location, detail));
        }
        self.pop_level(self.header_at)
    }
}
