//! What a peer did wrong, and what is to be closed for it.
//!
//! In: nothing. Out: codes of HTTP/3, QPACK and HTTP datagrams.
//! Knows no connection: who has one closes it with the code.

/// Codes of errors (RFC 9114 8.1, RFC 9204 8.3, RFC 9297 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// `H3_DATAGRAM_ERROR`
    Datagram,
    /// `H3_NO_ERROR`
    None,
    /// `H3_GENERAL_PROTOCOL_ERROR`
    GeneralProtocol,
    /// `H3_INTERNAL_ERROR`
    Internal,
    /// `H3_STREAM_CREATION_ERROR`
    StreamCreation,
    /// `H3_CLOSED_CRITICAL_STREAM`
    ClosedCriticalStream,
    /// `H3_FRAME_UNEXPECTED`
    FrameUnexpected,
    /// `H3_FRAME_ERROR`
    Frame,
    /// `H3_EXCESSIVE_LOAD`
    ExcessiveLoad,
    /// `H3_ID_ERROR`
    Id,
    /// `H3_SETTINGS_ERROR`
    Settings,
    /// `H3_MISSING_SETTINGS`
    MissingSettings,
    /// `H3_REQUEST_REJECTED`
    RequestRejected,
    /// `H3_REQUEST_CANCELLED`
    RequestCancelled,
    /// `H3_REQUEST_INCOMPLETE`
    RequestIncomplete,
    /// `H3_MESSAGE_ERROR`
    Message,
    /// `H3_CONNECT_ERROR`
    Connect,
    /// `QPACK_DECOMPRESSION_FAILED`
    QpackDecompression,
    /// `QPACK_ENCODER_STREAM_ERROR`
    QpackEncoderStream,
    /// `QPACK_DECODER_STREAM_ERROR`
    QpackDecoderStream,
}

impl Code {
    /// As it stands in a frame of QUIC.
    #[must_use]
    pub const fn value(self) -> u64 {
        match self {
            Self::Datagram => 0x33,
            Self::None => 0x100,
            Self::GeneralProtocol => 0x101,
            Self::Internal => 0x102,
            Self::StreamCreation => 0x103,
            Self::ClosedCriticalStream => 0x104,
            Self::FrameUnexpected => 0x105,
            Self::Frame => 0x106,
            Self::ExcessiveLoad => 0x107,
            Self::Id => 0x108,
            Self::Settings => 0x109,
            Self::MissingSettings => 0x10a,
            Self::RequestRejected => 0x10b,
            Self::RequestCancelled => 0x10c,
            Self::RequestIncomplete => 0x10d,
            Self::Message => 0x10e,
            Self::Connect => 0x10f,
            Self::QpackDecompression => 0x200,
            Self::QpackEncoderStream => 0x201,
            Self::QpackDecoderStream => 0x202,
        }
    }

    /// As the RFC calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Datagram => "H3_DATAGRAM_ERROR",
            Self::None => "H3_NO_ERROR",
            Self::GeneralProtocol => "H3_GENERAL_PROTOCOL_ERROR",
            Self::Internal => "H3_INTERNAL_ERROR",
            Self::StreamCreation => "H3_STREAM_CREATION_ERROR",
            Self::ClosedCriticalStream => "H3_CLOSED_CRITICAL_STREAM",
            Self::FrameUnexpected => "H3_FRAME_UNEXPECTED",
            Self::Frame => "H3_FRAME_ERROR",
            Self::ExcessiveLoad => "H3_EXCESSIVE_LOAD",
            Self::Id => "H3_ID_ERROR",
            Self::Settings => "H3_SETTINGS_ERROR",
            Self::MissingSettings => "H3_MISSING_SETTINGS",
            Self::RequestRejected => "H3_REQUEST_REJECTED",
            Self::RequestCancelled => "H3_REQUEST_CANCELLED",
            Self::RequestIncomplete => "H3_REQUEST_INCOMPLETE",
            Self::Message => "H3_MESSAGE_ERROR",
            Self::Connect => "H3_CONNECT_ERROR",
            Self::QpackDecompression => "QPACK_DECOMPRESSION_FAILED",
            Self::QpackEncoderStream => "QPACK_ENCODER_STREAM_ERROR",
            Self::QpackDecoderStream => "QPACK_DECODER_STREAM_ERROR",
        }
    }
}

/// What ends with the error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The connection: close it with the code.
    Connection,
    /// One stream: reset what we send on it and stop what we read from it, with the code.
    Stream(u64),
}

/// What a peer did wrong. The text says what and never repeats what the peer sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {why}", code.name())]
pub struct Error {
    /// To be sent to the peer.
    pub code: Code,
    /// What ends.
    pub scope: Scope,
    /// For the log and the audit journal.
    pub why: &'static str,
}

impl Error {
    pub(super) const fn connection(code: Code, why: &'static str) -> Self {
        Self {
            code,
            scope: Scope::Connection,
            why,
        }
    }

    pub(super) const fn stream(stream: u64, code: Code, why: &'static str) -> Self {
        Self {
            code,
            scope: Scope::Stream(stream),
            why,
        }
    }
}
