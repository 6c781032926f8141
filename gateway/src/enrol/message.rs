//! What the supervisor and the process `enrol` say to each other.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::channel::{Wire, WireError};
use crate::flow::{DeviceName, Standing};
use crate::pki::message::{Der, Fingerprint, ServerIdentity, Trust};
use crate::words::{Enrolment, Language};

/// Supervisor to enrol.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ToEnrol {
    /// First message. The descriptor beside it is the listening socket.
    Start {
        /// At a time.
        connections: u16,
        /// In which those who are sent away are told why.
        language: Language,
    },
    /// With which certificate, and whom it believes. A descriptor beside it is a new way to the signer.
    Identity(Box<Identity>),
    /// The answer to a question.
    Answer {
        /// Of the question.
        request: u64,
        /// Boxed, since a refusal is small.
        answer: Box<Result<Granted, Refused>>,
    },
}

/// What the listener shows and believes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its certificate.
    pub server: ServerIdentity,
    /// Whom it believes.
    pub trust: Trust,
    /// Certificates of all trusted authorities and of those above them.
    pub authorities: Vec<Der>,
}

/// Enrol to supervisor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FromEnrol(pub Said);

/// What the process says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Said {
    /// It takes connections.
    Ready,
    /// A question; it is answered with the same number.
    Ask {
        /// Comes back with the answer.
        request: u64,
        /// Where the device is.
        source: IpAddr,
        /// What it wants.
        wanted: Wanted,
    },
    /// Somebody showed a certificate that is nobody's here; the handshake failed.
    Foreign {
        /// Where the sender is.
        source: IpAddr,
        /// Of the key of the certificate.
        key: Fingerprint,
    },
    /// It sent somebody away without asking.
    SentAway {
        /// Where the sender is.
        source: IpAddr,
        /// Why, in our words.
        why: Away,
    },
}

/// Why somebody was sent away without asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Away {
    /// What was said to be a token is none.
    NoToken,
    /// It guessed too often.
    TooOften,
}

impl Away {
    /// For the journal.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoToken => "what it brought is not a token",
            Self::TooOften => "it brought too many wrong tokens and has to wait",
        }
    }
}

/// What a device wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wanted {
    /// To speak through the tunnel.
    Wireguard {
        /// Hash of its token.
        token: [u8; 32],
        /// Its public key.
        key: [u8; 32],
        /// How it wants to be called.
        name: Option<DeviceName>,
        /// The serial number on its label.
        serial: Option<String>,
    },
    /// A first certificate.
    Certificate {
        /// Hash of its token.
        token: [u8; 32],
        /// The request, of which signature and form were checked.
        csr: Der,
        /// Of the key in it.
        key: Fingerprint,
        /// How it wants to be called.
        name: Option<DeviceName>,
        /// The serial number on its label.
        serial: Option<String>,
    },
    /// The next certificate.
    Renewal {
        /// Who, by the certificate of the handshake.
        device: DeviceName,
        /// That certificate.
        certificate: Der,
        /// The request.
        csr: Der,
    },
}

/// What a device gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Granted {
    /// Its place in the tunnel.
    Wireguard(Place),
    /// Its certificate.
    Certificate {
        /// Whose.
        device: DeviceName,
        /// How it stands.
        standing: Standing,
        /// In DER.
        certificate: Der,
        /// Of the authority and those above it, in DER.
        chain: Vec<Der>,
        /// When it is to be renewed.
        renew_at: Timestamp,
    },
}

/// The place of a device in the tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// How it is called.
    pub device: DeviceName,
    /// How it stands: one that is pending shakes hands in vain until it is approved.
    pub standing: Standing,
    /// Its addresses in the tunnel.
    pub addresses: Vec<IpAddr>,
    /// The gateway.
    #[serde(flatten)]
    pub gateway: Gateway,
}

/// How the tunnel of the gateway is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gateway {
    /// Its public key, in base64.
    pub public_key: String,
    /// A name or an address, with a port.
    pub endpoint: String,
    /// What is reached through it.
    pub networks: Vec<String>,
    /// Of the tunnel.
    pub mtu: u16,
}

/// Why a device gets nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Refused {
    /// Its token is not good. Which way it is not, is for the journal.
    #[error("the token is not good, or not any more")]
    Token,
    /// What it asks for is not what it should be.
    #[error("{0}")]
    Request(String),
    /// Somebody else has it.
    #[error("{0}")]
    Taken(String),
    /// As it stands, it may not.
    #[error("{0}")]
    Forbidden(String),
    /// It may come again.
    #[error("{0}")]
    Unavailable(String),
}

impl Refused {
    /// What its bearer is told.
    #[must_use]
    pub fn code(&self) -> Enrolment {
        match self {
            Self::Token => Enrolment::Token,
            Self::Request(_) => Enrolment::Request,
            Self::Taken(_) => Enrolment::Taken,
            Self::Forbidden(_) => Enrolment::Forbidden,
            Self::Unavailable(_) => Enrolment::Unavailable,
        }
    }
}

impl Wire for FromEnrol {
    /// The process makes no files.
    const MAY_BE_LARGE: bool = false;

    fn encode(&self, bytes: &mut Vec<u8>) -> Result<(), WireError> {
        Ok(serde_json::to_writer(bytes, &self.0)?)
    }

    fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        Ok(Self(serde_json::from_slice(bytes)?))
    }
}
