//! Scripts of whole associations: what comes in, and the steps that follow, as snapshots.
#![allow(
    clippy::disallowed_methods,
    reason = "tests begin at the real time once"
)]

mod association;
mod inward;
mod message;
mod pledge;
mod script;
mod streaming;
mod words;

use protocol_inspect::dicom::PduReader;

use super::*;
