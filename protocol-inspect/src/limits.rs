//! Every bound that a peer can reach, by name.

use serde::{Deserialize, Serialize};

/// The bounds of one connection. Sizes are in bytes.
//= C7
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Longest HL7 message, framing excluded.
    pub hl7_message: usize,
    /// Most segments in an HL7 message.
    pub hl7_segments: usize,
    /// Longest HL7 segment.
    pub hl7_segment: usize,
    /// Most fields in an HL7 segment.
    pub hl7_fields: usize,
    /// Most repetitions of an HL7 field.
    pub hl7_repetitions: usize,
    /// Most components and subcomponents in one repetition of an HL7 field.
    pub hl7_components: usize,
    /// Largest document inside of an HL7 field, once it is decoded.
    pub hl7_embedded: usize,
    /// Most messages in an HL7 batch.
    pub hl7_batch_messages: usize,
    /// Most HL7 messages of one connection that wait for their turn.
    pub hl7_pipelined: usize,
    /// Largest PDU other than P-DATA-TF (A-ASSOCIATE-RQ and -AC).
    pub dicom_association_pdu: usize,
    /// Largest P-DATA-TF that we accept and announce (PS3.8 D.1).
    pub dicom_pdu: usize,
    /// Most presentation contexts in an association (PS3.8 allows 128).
    pub dicom_contexts: usize,
    /// Largest command set.
    pub dicom_command: usize,
    /// Largest data set.
    pub dicom_dataset: u64,
    /// Deepest nesting of sequences.
    pub dicom_depth: usize,
    /// Most elements in a data set, items and delimiters included.
    pub dicom_elements: usize,
    /// How many times larger than what was received a deflated data set may become, once it is larger than 1 MiB.
    pub dicom_inflate_ratio: u64,
    /// Most frames in an offset table of encapsulated pixel data.
    pub dicom_offsets: usize,
    /// Largest XML document inside of a data set.
    pub dicom_markup: usize,
    /// Most bytes of a message that are held in memory before they go to the spool.
    pub dicom_memory: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            hl7_message: 4 << 20,
            hl7_segments: 10_000,
            hl7_segment: 2 << 20,
            hl7_fields: 512,
            hl7_repetitions: 10_000,
            hl7_components: 4_096,
            hl7_embedded: 4 << 20,
            hl7_batch_messages: 1_000,
            hl7_pipelined: 64,
            dicom_association_pdu: 128 << 10,
            dicom_pdu: 128 << 10,
            dicom_contexts: 128,
            dicom_command: 64 << 10,
            dicom_dataset: 4 << 30,
            dicom_depth: 64,
            dicom_elements: 2_000_000,
            dicom_inflate_ratio: 200,
            dicom_offsets: 262_144,
            dicom_markup: 4 << 20,
            dicom_memory: 4 << 20,
        }
    }
}

/// A bound was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{limit}: {got} is more than {max}")]
pub struct LimitReached {
    /// The name of the bound, as in the configuration.
    pub limit: &'static str,
    /// What the peer sent or announced.
    pub got: u64,
    /// What is allowed.
    pub max: u64,
}

impl LimitReached {
    /// Checks `got` against a bound.
    pub(crate) fn check(limit: &'static str, got: usize, max: usize) -> Result<(), Self> {
        if got <= max {
            return Ok(());
        }
        Err(Self {
            limit,
            got: u64::try_from(got).unwrap_or(u64::MAX),
            max: u64::try_from(max).unwrap_or(u64::MAX),
        })
    }
}
