//! What the command and the daemon say about the certification authority. Version 1 of the JSON.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::flow::DeviceName;
use crate::pki::message::{
    AuthorityStatus, CertificateStatus, Listener, Reason, Serial, Validity, Way, Which,
};

/// What an operator wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "pki", rename_all = "kebab-case")]
pub enum PkiRequest {
    /// Make the first authority or the next one.
    NewAuthority {
        /// The next one.
        rotate: bool,
        /// How.
        way: Way,
        /// The old one is not trusted any more from now on.
        now: bool,
        /// In the operator's words; may be empty.
        why: String,
    },
    /// Which authorities there are.
    Status,
    /// The lists of revoked certificates.
    Lists,
    /// All certificates that are remembered.
    Certificates,
    /// A certificate for a device, whose request the operator brings.
    Issue {
        /// Whose.
        device: DeviceName,
        /// In PEM.
        csr: String,
        /// In the operator's words; may be empty.
        why: String,
    },
    /// A new certificate for a listener of the gateway.
    Server {
        /// Which.
        listener: Listener,
        /// In the operator's words; may be empty.
        why: String,
    },
    /// Revoke certificates.
    Revoke {
        /// Which.
        which: Which,
        /// For the list of revoked certificates.
        reason: Reason,
        /// In the operator's words; may be empty.
        why: String,
    },
}

/// What the daemon answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "pki", rename_all = "kebab-case")]
pub enum PkiResponse {
    /// To [`PkiRequest::Status`], and when there is a new authority.
    Authorities {
        /// When this was so.
        now: Timestamp,
        /// The authorities.
        #[serde(flatten)]
        status: AuthorityStatus,
    },
    /// The request for the hospital's root.
    Request {
        /// In PEM.
        csr: String,
    },
    /// To [`PkiRequest::Lists`].
    Lists {
        /// In PEM, one of each trusted authority.
        lists: Vec<String>,
    },
    /// To [`PkiRequest::Certificates`].
    Certificates {
        /// When this was so.
        now: Timestamp,
        /// In the order of their numbers.
        certificates: Vec<CertificateStatus>,
    },
    /// To [`PkiRequest::Issue`] and [`PkiRequest::Server`].
    Certificate {
        /// Its number.
        serial: Serial,
        /// From when to when.
        #[serde(flatten)]
        validity: Validity,
        /// When it is to be renewed.
        renew_at: Timestamp,
        /// With those above it, in PEM.
        certificate: String,
    },
    /// To [`PkiRequest::Revoke`].
    Revoked {
        /// What was not revoked before.
        serials: Vec<Serial>,
    },
}

impl PkiRequest {
    /// In the operator's words.
    #[must_use]
    pub fn why(&self) -> &str {
        match self {
            Self::NewAuthority { why, .. }
            | Self::Issue { why, .. }
            | Self::Server { why, .. }
            | Self::Revoke { why, .. } => why,
            Self::Status | Self::Lists | Self::Certificates => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::message::{Request, Response};

    #[test]
    fn requests_and_answers_arrive_as_they_were_sent() {
        let why = String::new();
        let requests = [
            PkiRequest::NewAuthority {
                rotate: true,
                way: Way::Certificate("x".to_owned()),
                now: false,
                why: why.clone(),
            },
            PkiRequest::Status,
            PkiRequest::Lists,
            PkiRequest::Certificates,
            PkiRequest::Issue {
                device: "ecg".parse().unwrap(),
                csr: "x".to_owned(),
                why: why.clone(),
            },
            PkiRequest::Server {
                listener: Listener::Quic,
                why: why.clone(),
            },
            PkiRequest::Revoke {
                which: Which::Serial(Serial::new([1; 16])),
                reason: Reason::Superseded,
                why,
            },
        ];
        for request in requests.map(Request::Pki) {
            let json = serde_json::to_string(&request).unwrap();
            let read: Request = serde_json::from_str(&json).unwrap();
            assert_eq!(read, request);
        }
        let validity = Validity {
            not_before: Timestamp::UNIX_EPOCH,
            not_after: Timestamp::UNIX_EPOCH,
        };
        let responses = [
            PkiResponse::Authorities {
                now: Timestamp::UNIX_EPOCH,
                status: AuthorityStatus::default(),
            },
            PkiResponse::Request {
                csr: "x".to_owned(),
            },
            PkiResponse::Certificate {
                serial: Serial::new([1; 16]),
                validity,
                renew_at: Timestamp::UNIX_EPOCH,
                certificate: "x".to_owned(),
            },
        ];
        for response in responses.map(Response::Pki) {
            let json = serde_json::to_string(&response).unwrap();
            let read: Response = serde_json::from_str(&json).unwrap();
            assert_eq!(read, response);
        }
    }
}
