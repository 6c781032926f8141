//! Which session a relay makes for which policy.

use super::memories::Memories;
use crate::forward::worker::SessionFactory;
use crate::inspect::ProtocolPolicy;
use crate::inspect::dicom::DicomSession;
use crate::inspect::hl7::{Exchange, Hl7Session};

/// Makes sessions; connections of one device to one service share what was said.
pub(super) fn factory() -> SessionFactory {
    let memories = Memories::<Exchange>::new(EXCHANGES);
    Box::new(move |policy, exchange, now, wall| match &policy.protocol {
        ProtocolPolicy::Hl7(_) => {
            Box::new(Hl7Session::new(policy, memories.of(exchange), now, wall))
        }
        ProtocolPolicy::Dicom(_) => Box::new(DicomSession::new(policy, now, wall)),
    })
}

/// Devices and services whose messages are remembered, each pair with at most a megabyte.
//= C7
const EXCHANGES: usize = 1024;
