//! Which session a relay makes for which policy.

use std::rc::Rc;
use std::sync::PoisonError;

use super::memories::Memories;
use crate::forward::worker::{SessionFactory, Sessions};
use crate::inspect::ProtocolPolicy;
use crate::inspect::dicom::DicomSession;
use crate::inspect::dicom::outstanding::Outstanding;
use crate::inspect::hl7::{Exchange, Hl7Session};

/// Makes sessions; connections of one device and one service share what was said, in both directions.
pub(super) fn sessions() -> Sessions {
    let memories = Memories::<Exchange>::new(EXCHANGES);
    let outstanding = Rc::new(Memories::<Outstanding>::new(EXCHANGES));
    let recalled = Rc::clone(&outstanding);
    let all = Rc::clone(&outstanding);
    let factory: SessionFactory =
        Box::new(move |policy, exchange, now, wall| match &policy.protocol {
            ProtocolPolicy::Hl7(_) => {
                Box::new(Hl7Session::new(policy, memories.of(exchange), now, wall))
            }
            ProtocolPolicy::Dicom(_) => Box::new(DicomSession::new(
                policy,
                outstanding.of(exchange),
                now,
                wall,
            )),
        });
    Sessions {
        factory,
        recall: Box::new(move |exchange, recall| {
            let memory = recalled.of(exchange);
            let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
            memory.recall(&recall);
        }),
        tighten: Box::new(move |tight| all.each(|memory| memory.tighten(tight))),
    }
}

/// Devices and services whose messages are remembered, each pair with at most a megabyte.
//= C7
pub(super) const EXCHANGES: usize = 1024;
