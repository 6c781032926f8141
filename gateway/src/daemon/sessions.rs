//! Which session a relay makes for which policy.

use super::memories::Memories;
use crate::forward::worker::SessionFactory;
use crate::inspect::ProtocolPolicy;
use crate::inspect::dicom::DicomSession;
use crate::inspect::hl7::{Duplicates, Hl7Session};

/// Makes sessions; connections of one subject share its memory of acknowledged messages.
pub(super) fn factory() -> SessionFactory {
    let memories = Memories::<Duplicates>::new(SUBJECTS);
    Box::new(move |policy, subject, now, wall| match &policy.protocol {
        ProtocolPolicy::Hl7(_) => {
            Box::new(Hl7Session::new(policy, memories.of(subject), now, wall))
        }
        ProtocolPolicy::Dicom(_) => Box::new(DicomSession::new(policy, now, wall)),
    })
}

/// Subjects whose acknowledged messages are remembered, each with at most a megabyte.
//= C7
const SUBJECTS: usize = 1024;
