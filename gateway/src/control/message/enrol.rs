//! Tokens with which devices enrol themselves, and the way to the tunnel.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::flow::DeviceName;

/// What an operator wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "enrol", rename_all = "kebab-case")]
pub enum EnrolRequest {
    /// Make a token.
    CreateToken(NewToken),
    /// All tokens that are remembered.
    Tokens,
    /// Take a token back.
    RevokeToken {
        /// Its id.
        id: String,
        /// In the operator's words; may be empty.
        why: String,
    },
    /// How a device finds the tunnel.
    Gateway {
        /// The device, for what it may reach.
        device: DeviceName,
    },
}

/// A token to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewToken {
    /// The roles that its bearer gets.
    pub roles: Vec<String>,
    /// How long it is good.
    pub seconds: u64,
    /// The name that its bearer gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceName>,
    /// The serial number that its bearer has to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// The patients; `hmac:` values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patients: Vec<String>,
    /// MSH-3 and MSH-4, `ECG^CARDIO`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hl7_sender: Option<String>,
    /// The AE title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ae_title: Option<String>,
    /// Whether its bearer is let in at once.
    #[serde(default)]
    pub approve: bool,
    /// In the operator's words; may be empty.
    pub why: String,
}

/// What the daemon answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "enrol", rename_all = "kebab-case")]
pub enum EnrolResponse {
    /// To [`EnrolRequest::CreateToken`].
    Token {
        /// How it is called.
        id: String,
        /// The token, which nobody can be told again.
        token: String,
        /// When it ends.
        expires: Timestamp,
        /// Where it is used, if somewhere.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        url: Option<String>,
    },
    /// To [`EnrolRequest::Tokens`].
    Tokens {
        /// When this was so.
        now: Timestamp,
        /// The newest first.
        tokens: Vec<TokenStatus>,
    },
    /// To [`EnrolRequest::Gateway`].
    Gateway {
        /// Its public key, in base64.
        public_key: String,
        /// A name or an address, with a port.
        endpoint: String,
        /// What the device reaches through it.
        networks: Vec<String>,
        /// Of the tunnel.
        mtu: u16,
    },
}

/// A token, without the token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenStatus {
    /// How it is called.
    pub id: String,
    /// `open`, `used`, `revoked`, `ended`.
    pub state: String,
    /// The roles that its bearer gets.
    pub roles: Vec<String>,
    /// The name that its bearer gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceName>,
    /// The serial number that its bearer has to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// How many patients its bearer gets.
    pub patients: usize,
    /// Whether its bearer is let in at once.
    pub approve: bool,
    /// In the words of who made it.
    pub why: String,
    /// When it was made.
    pub created: Timestamp,
    /// By whom.
    pub created_by: String,
    /// When it ends.
    pub expires: Timestamp,
    /// Who came to be by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_by: Option<DeviceName>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_at: Option<Timestamp>,
}
