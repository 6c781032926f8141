//! HL7 version 2 over MLLP.
//!
//! [`Framer`] cuts the stream into [`Frame`]s, [`judge`](fn@judge) says of each frame whether it may pass,
//! [`answer`] judges what the destination says to it, and [`ack`] speaks for the gateway itself.
//! [`grammar`] holds what the standard says of messages, segments and data types.

pub mod ack;
pub mod answer;
mod batch;
mod charset;
mod check;
mod condition;
mod counts;
mod delimiters;
mod embedded;
mod escape;
mod fields;
mod finding;
pub mod grammar;
mod header;
mod identity;
mod judge;
mod kept;
mod local;
mod whole;
mod message;
mod mllp;
mod occurrences;
mod offline;
mod place;
mod policy;
pub mod profile;
mod segment;
mod stops;
mod structure;
mod timestamp;
pub mod tree;

pub use crate::patients::patient_hash;
pub use answer::Answer;
pub use batch::{Batch, header_of};
pub use delimiters::Delimiters;
pub use embedded::Kind;
pub use finding::{ErrorCode, Fault};
pub use header::{Condition, Header, Version};
pub use judge::{Accepted, Judge, Judgement, Refused, Verdict, judge};
pub use message::Message;
pub use mllp::{Frame, Framer, commit};
pub use offline::{Judged, Layout, Offline, inspect_offline};
pub use place::{Label, Place};
pub use policy::{Base, Embedded, Level, LocalSegment, Patients, Policy, Profile, Rule, Severity};
pub use segment::Segment;
