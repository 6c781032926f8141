//! Why there is no tunnel, in the words of somebody who can do something about it.
//!
//! In: how a connection ended. Out: a sentence, and whether somebody said no or nobody said anything.

use quinn::ConnectionError;

use crate::masque::Code;
use crate::masque::fields::Response;

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Refusal {
    /// For the user.
    pub why: String,
    /// Somebody said no: another attempt soon would hear the same.
    pub is_final: bool,
    /// Nothing is wrong: the next attempt begins at once.
    pub at_once: bool,
}

impl Refusal {
    /// Somebody said no.
    pub(super) fn no(why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            is_final: true,
            at_once: false,
        }
    }

    /// It may be otherwise soon.
    pub(super) fn passing(why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            is_final: false,
            at_once: false,
        }
    }

    /// We ended it ourselves, to begin anew.
    pub(super) fn anew(why: impl Into<String>) -> Self {
        Self {
            at_once: true,
            ..Self::passing(why)
        }
    }
}

/// What the gateway answered instead of opening a tunnel.
#[must_use]
pub fn of_response(response: &Response) -> Refusal {
    let status = response.status.0;
    let why = match (&response.details, status) {
        (Some(details), _) => details.clone(),
        (None, 401 | 403 | 407) => "the gateway does not allow this device a tunnel".to_owned(),
        (None, 404 | 405 | 501) => "the server offers no tunnel of this kind".to_owned(),
        (None, _) => format!("the gateway answered with status {status}"),
    };
    match status {
        500..=599 if status != 501 => Refusal::passing(why),
        _ => Refusal::no(why),
    }
}

/// How a connection of QUIC ended.
#[must_use]
pub fn of_connection(error: &ConnectionError) -> Refusal {
    match error {
        ConnectionError::VersionMismatch => {
            Refusal::no("the server does not speak this version of QUIC")
        }
        ConnectionError::TransportError(error) => of_local(u64::from(error.code), &error.reason),
        ConnectionError::ConnectionClosed(close) => of_alert(u64::from(close.error_code)),
        ConnectionError::ApplicationClosed(close) => {
            let text = plain(&close.reason);
            let why = if text.is_empty() {
                "the gateway closed the connection".to_owned()
            } else {
                format!("the gateway closed the connection: {text}")
            };
            // Who came instead would be displaced in turn, and come again, for ever.
            let displaced = text == DISPLACED;
            if displaced || close.error_code.into_inner() == Code::RequestRejected.value() {
                Refusal::no(why)
            } else {
                Refusal::passing(why)
            }
        }
        ConnectionError::Reset => Refusal::passing("the gateway was restarted"),
        ConnectionError::TimedOut => Refusal::passing(
            "no answer from the gateway: it is down, or UDP to its port is blocked on the way",
        ),
        ConnectionError::LocallyClosed => Refusal::passing("the connection was closed"),
        ConnectionError::CidsExhausted => Refusal::passing("this machine has too many connections"),
    }
}

/// What a gateway says whose device has a newer session: another client with the same certificate.
const DISPLACED: &str = "the device came again";

/// The first code of alerts of TLS among the errors of QUIC (RFC 9001 4.8).
const ALERTS: u64 = 0x100;

/// An alert of TLS that the gateway sent (RFC 8446 6.2).
fn of_alert(code: u64) -> Refusal {
    let why = match code.checked_sub(ALERTS) {
        Some(40 | 71) => {
            "the gateway and this client have no key exchange in common: see `post_quantum`"
        }
        Some(42 | 43) => "the gateway does not accept this kind of certificate",
        Some(44) => "this certificate is revoked: ask the hospital for another",
        Some(45) => "this certificate has expired: ask the hospital to renew it",
        Some(46 | 49 | 50) => {
            "the gateway does not accept this certificate: it is not approved yet, revoked, or not for clients"
        }
        Some(48 | 51) => "the gateway does not know the authority of this certificate",
        Some(116) => "the gateway wants a certificate, and none was sent",
        Some(120) => "the server at this address offers no HTTP/3",
        Some(..=0xff) => "the gateway ended the handshake",
        Some(_) | None => {
            return Refusal::passing(if code == 2 {
                "the gateway takes no connections now"
            } else {
                "the gateway ended the connection"
            });
        }
    };
    Refusal::no(why)
}

/// What we do not like about the gateway.
fn of_local(code: u64, reason: &str) -> Refusal {
    if !(ALERTS..ALERTS + 0x100).contains(&code) {
        return Refusal::passing("the server broke the rules of QUIC");
    }
    let why = match code - ALERTS {
        45 if reason.contains("NotValidYet") || reason.contains("not valid yet") => {
            "the gateway's certificate is not valid yet: the clock of this machine is wrong"
        }
        45 => "the gateway's certificate has expired, or the clock of this machine is wrong",
        44 => "the gateway's certificate is revoked",
        48 => {
            "the gateway's certificate is not of the authority in `ca`: this may not be the gateway"
        }
        _ if reason.contains("NotValidForName") || reason.contains("not valid for name") => {
            "the gateway's certificate is for another name: see `name`"
        }
        42 | 46 => "the gateway's certificate cannot be accepted: this may not be the gateway",
        40 | 47 | 71 => {
            "the gateway and this client have no key exchange in common: see `post_quantum`"
        }
        120 => "the server at this address offers no HTTP/3",
        _ => "the handshake with the gateway failed",
    };
    Refusal::no(why)
}

/// Printable ASCII of a peer, not longer than a line.
fn plain(bytes: &[u8]) -> String {
    let printable = bytes.iter().filter(|byte| matches!(byte, b' '..=b'~'));
    printable.take(120).map(|byte| char::from(*byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::masque::fields::Status;

    #[test]
    fn answers_say_why() {
        let response = |status, details: Option<&str>| {
            of_response(&Response {
                status: Status(status),
                details: details.map(str::to_owned),
            })
        };
        assert_eq!(
            response(403, Some("outside hours")),
            Refusal::no("outside hours")
        );
        assert!(response(403, None).is_final && response(501, None).is_final);
        assert!(!response(503, Some("no address is free")).is_final);
    }

    #[test]
    fn alerts_say_what_to_do() {
        for (code, word) in [
            (0x12d, "expired"),
            (0x12c, "revoked"),
            (0x130, "authority"),
            (0x12e, "approved"),
        ] {
            let refusal = of_alert(code);
            assert!(refusal.is_final && refusal.why.contains(word), "{refusal}");
        }
        assert!(!of_alert(2).is_final);
        assert!(
            of_local(0x12a, "invalid peer certificate: NotValidForName")
                .why
                .contains("name")
        );
        assert!(!of_connection(&ConnectionError::TimedOut).is_final);
        for (text, is_final) in [(DISPLACED, true), ("the gateway stops", false)] {
            let close = quinn::ApplicationClose {
                error_code: quinn::VarInt::from_u32(0x100),
                reason: text.into(),
            };
            let refusal = of_connection(&ConnectionError::ApplicationClosed(close));
            assert_eq!(refusal.is_final, is_final, "{refusal}");
        }
        assert_eq!(plain(b"a\x1b[31m\nb"), "a[31mb");
    }
}
