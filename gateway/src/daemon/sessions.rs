//! Which session a relay makes for which policy.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::forward::worker::SessionFactory;
use crate::inspect::ProtocolPolicy;
use crate::inspect::dicom::DicomSession;
use crate::inspect::hl7::{Duplicates, Hl7Session};

/// Makes sessions; connections of one subject share its memory of acknowledged messages.
pub(super) fn factory() -> SessionFactory {
    let memories: RefCell<BTreeMap<u64, Arc<Mutex<Duplicates>>>> = RefCell::default();
    Box::new(move |policy, subject, now, wall| match &policy.protocol {
        ProtocolPolicy::Hl7(_) => {
            let memory = Arc::clone(memories.borrow_mut().entry(subject).or_default());
            Box::new(Hl7Session::new(policy, memory, now, wall))
        }
        ProtocolPolicy::Dicom(_) => Box::new(DicomSession::new(policy, now, wall)),
    })
}
