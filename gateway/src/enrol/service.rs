//! One request of a device: what it asks for, with which right, in which form.
//!
//! In: a request whose size is bounded, and who sent it. Out: an answer. Asks the supervisor for everything that is
//! not the same for all; forms are judged here, so that nobody else reads what a stranger wrote.
//= RFC 7030

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName};
use hyper::{Method, Request, StatusCode};
use lazaret_config::Enrolled;
use serde::Deserialize;

use super::message::{Away, Refused, Wanted};
use super::response::{self, Answer};
use super::token::Token;
use super::worker::{Asking, Peer};
use crate::flow::DeviceName;
use crate::pki::message::Der;
use crate::pki::validity::Verdict;
use crate::pki::{request, trust};
use crate::words::Enrolment;

/// Answers one request.
pub(super) async fn answer<B>(asking: &Asking, peer: &Peer, request: Request<B>) -> Answer
where
    B: Body + Send,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (head, body) = request.into_parts();
    let language = asking.language();
    let misuse =
        |status, text: &str| response::sentence(status, Enrolment::Request, text, language);
    let path = head.uri.path();
    let Some((_, method, kind)) = PATHS.iter().find(|(known, ..)| *known == path) else {
        let text = "there is nothing here";
        return response::sentence(StatusCode::NOT_FOUND, Enrolment::Address, text, language);
    };
    if head.method != *method {
        let text = format!("this is asked for by {method}");
        return misuse(StatusCode::METHOD_NOT_ALLOWED, &text);
    }
    match kind {
        Kind::Authorities => return response::certificates(&asking.authorities(), language),
        Kind::Lists => return response::lists(asking.lists()),
        Kind::Attributes => return response::est(response::ATTRIBUTES, CSR_ATTRIBUTES),
        Kind::Enroll | Kind::Renew | Kind::Wireguard => {}
    }
    if !is_of_type(&head.headers, kind.content()) {
        let text = format!("the content type must be {}", kind.content());
        return misuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, &text);
    }
    let right = match right(asking, peer, &head.headers, *kind) {
        Ok(right) => right,
        Err(refused) => return *refused,
    };
    let body = match Limited::new(body, LONGEST_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            let text = format!("the request is longer than {LONGEST_BODY} bytes");
            return misuse(StatusCode::PAYLOAD_TOO_LARGE, &text);
        }
        Err(_) => return misuse(StatusCode::BAD_REQUEST, "the request is unfinished"),
    };
    let wanted = match wanted(right, &body, &head.headers) {
        Ok(wanted) => wanted,
        Err(why) => return response::refusal(&Refused::Request(why), language),
    };
    match asking.ask(peer, wanted).await {
        Ok(granted) => response::granted(&granted, wants_text(&head.headers), language),
        Err(refused) => response::refusal(&refused, language),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Authorities,
    Attributes,
    Lists,
    Enroll,
    Renew,
    Wireguard,
}

impl Kind {
    fn content(self) -> &'static str {
        match self {
            Self::Wireguard => "application/json",
            Self::Authorities | Self::Attributes | Self::Lists | Self::Enroll | Self::Renew => {
                "application/pkcs10"
            }
        }
    }
}

/// By what somebody may ask.
enum Right {
    /// A token, for a tunnel or a certificate.
    Token([u8; 32], Kind),
    /// The certificate of the handshake.
    Certificate(DeviceName, Vec<u8>),
}

fn right(
    asking: &Asking,
    peer: &Peer,
    headers: &HeaderMap,
    kind: Kind,
) -> Result<Right, Box<Answer>> {
    if kind == Kind::Renew {
        return renewal(asking, peer);
    }
    let language = asking.language();
    if !asking.may_try(peer) {
        let text = "too many wrong tokens came from there: wait ten minutes";
        let too_many = StatusCode::TOO_MANY_REQUESTS;
        let code = Enrolment::TooOften;
        return Err(Box::new(response::sentence(too_many, code, text, language)));
    }
    let Some(text) = password(headers) else {
        let text = "a token is needed, as password of HTTP Basic";
        let (status, code) = (StatusCode::UNAUTHORIZED, Enrolment::TokenMissing);
        let answer = response::sentence(status, code, text, language);
        return Err(Box::new(answer));
    };
    match text.parse::<Token>() {
        Ok(token) => Ok(Right::Token(token.hash(), kind)),
        Err(_) => {
            asking.failed(peer, Some(Away::NoToken));
            Err(Box::new(response::refusal(&Refused::Token, language)))
        }
    }
}

fn renewal(asking: &Asking, peer: &Peer) -> Result<Right, Box<Answer>> {
    let refused = |text: &str| {
        let refused = Refused::Forbidden(text.to_owned());
        Err(Box::new(response::refusal(&refused, asking.language())))
    };
    let Some(certificate) = &peer.certificate else {
        return refused("the certificate that is renewed is shown in the handshake of TLS");
    };
    let Ok(shown) = trust::judge(certificate, asking.wall(), asking.grace()) else {
        return refused("the certificate is not one of a device");
    };
    match shown.verdict {
        Verdict::Valid { .. } | Verdict::RenewOnly { .. } => {
            Ok(Right::Certificate(shown.device, certificate.clone()))
        }
        Verdict::TooEarly { .. } | Verdict::TooLate { .. } => {
            refused("the certificate cannot be renewed now: the device must be enrolled anew")
        }
    }
}

/// The password of HTTP Basic, whoever the user is, or a bearer token.
//= RFC 7617 2
fn password(headers: &HeaderMap) -> Option<String> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (all.next(), all.next()) else {
        return None;
    };
    let (scheme, rest) = value.to_str().ok()?.split_once(' ')?;
    let rest = rest.trim_matches(' ');
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
    text.split_once(':')
        .map(|(_, password)| password.to_owned())
}

fn is_of_type(headers: &HeaderMap, wanted: &str) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let kind = value.and_then(|value| value.split(';').next());
    kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case(wanted))
}

fn wants_text(headers: &HeaderMap) -> bool {
    let value = headers.get(ACCEPT).and_then(|v| v.to_str().ok());
    value.is_some_and(|value| value.trim_start().starts_with("text/plain"))
}

fn wanted(right: Right, body: &[u8], headers: &HeaderMap) -> Result<Wanted, String> {
    match right {
        Right::Token(token, Kind::Wireguard) => tunnel(token, body),
        Right::Token(token, _) => {
            let (csr, request) = request_of(body)?;
            let said = said_serial(headers)?;
            let serial = serial(said.as_deref().or_else(|| request.serial()))?;
            Ok(Wanted::Certificate {
                token,
                key: request.fingerprint(),
                name: request.device().map_err(|error| error.to_string())?,
                serial,
                csr,
            })
        }
        Right::Certificate(device, certificate) => {
            let (csr, request) = request_of(body)?;
            request.of(&device).map_err(|error| error.to_string())?;
            Ok(Wanted::Renewal {
                device,
                certificate: Der(certificate),
                csr,
            })
        }
    }
}

/// The serial number of a device whose request does not say it.
fn said_serial(headers: &HeaderMap) -> Result<Option<String>, String> {
    let value = headers.get(HeaderName::from_static("x-device-serial"));
    let text = value.map(|value| value.to_str().map(str::to_owned));
    text.transpose()
        .map_err(|_| "the serial number is not plain text".to_owned())
}

/// It is kept and shown to operators, whatever else becomes of the request.
//= C7
fn serial(text: Option<&str>) -> Result<Option<String>, String> {
    let serial = text.map(Enrolled::serial_of).transpose();
    serial.map_err(|error| format!("`serial`: {error}"))
}

/// The request in the base64 of EST, judged.
fn request_of(body: &[u8]) -> Result<(Der, request::Request), String> {
    let letters: Vec<u8> = body
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    let der = STANDARD
        .decode(letters)
        .map_err(|_| "the request is not PKCS#10 in base64, without any other line")?;
    if der.first() != Some(&SEQUENCE) {
        return Err("the request is not PKCS#10 in DER".to_owned());
    }
    let request = request::Request::read(&der).map_err(|error| error.to_string())?;
    Ok((Der(der), request))
}

/// `POST /v1/wireguard`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tunnel {
    public_key: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    serial: Option<String>,
}

fn tunnel(token: [u8; 32], body: &[u8]) -> Result<Wanted, String> {
    let tunnel: Tunnel = serde_json::from_slice(body)
        .map_err(|error| format!("the request is not right: {error}"))?;
    let key = Enrolled::public_key_of(&tunnel.public_key)
        .map_err(|error| format!("`public_key`: {error}"))?;
    let name = tunnel.name.map(|name| name.parse::<DeviceName>());
    let name = name
        .transpose()
        .map_err(|error| format!("`name`: {error}"))?;
    Ok(Wanted::Wireguard {
        token,
        key,
        name,
        serial: serial(tunnel.serial.as_deref())?,
    })
}

const PATHS: [(&str, Method, Kind); 6] = [
    ("/.well-known/est/cacerts", Method::GET, Kind::Authorities),
    ("/.well-known/est/csrattrs", Method::GET, Kind::Attributes),
    ("/.well-known/est/simpleenroll", Method::POST, Kind::Enroll),
    ("/.well-known/est/simplereenroll", Method::POST, Kind::Renew),
    ("/v1/crl", Method::GET, Kind::Lists),
    ("/v1/wireguard", Method::POST, Kind::Wireguard),
];
/// Of the longest request in base64 with ends of lines.
//= C7
const LONGEST_BODY: usize = 24 << 10;
/// The first byte of a request in DER.
const SEQUENCE: u8 = 0x30;
/// A key on P-256, and a signature with SHA-256.
//= RFC 7030 4.5.2
const CSR_ATTRIBUTES: &[u8] = &[
    0x30, 0x21, // CsrAttrs
    0x30, 0x15, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, // id-ecPublicKey …
    0x31, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, // … secp256r1
    0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02, // ecdsa-with-SHA256
];

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn headers(name: HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(&name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_token_is_the_password_of_basic_or_a_bearer_and_nothing_else() {
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        let of = |values: &[&str]| password(&headers(AUTHORIZATION, values));
        for (value, wanted) in [
            (basic("x:lzt_1"), Some("lzt_1")),
            (basic(":lzt_1"), Some("lzt_1")),
            (basic("x:a:b"), Some("a:b")),
            ("bearer  lzt_1".to_owned(), Some("lzt_1")),
            (basic("lzt_1"), None),
            ("Basic !!!".to_owned(), None),
            ("Basic".to_owned(), None),
            ("Digest lzt_1".to_owned(), None),
            (format!("Basic {}", STANDARD.encode([0xff, b':'])), None),
        ] {
            assert_eq!(of(&[&value]).as_deref(), wanted, "{value}");
        }
        assert_eq!(of(&[&basic("x:1"), &basic("x:2")]), None, "two of them");
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn a_type_may_have_parameters() {
        let is = |value: &str| is_of_type(&headers(CONTENT_TYPE, &[value]), "application/pkcs10");
        assert!(is("application/pkcs10") && is("Application/PKCS10 ; a=b"));
        assert!(!is("application/pkcs10x") && !is("") && !is("text/plain"));
    }

    #[test]
    fn the_attributes_are_one_whole_sequence() {
        let length = usize::from(CSR_ATTRIBUTES[1]);
        assert_eq!(CSR_ATTRIBUTES.len(), length + 2);
    }

    #[test]
    fn hostile_requests_are_only_errors() {
        for body in [
            &b""[..],
            b"\0",
            b"MA==",
            b"MIAA",
            b"-----BEGIN",
            &[b'M'; 20_000],
        ] {
            assert!(request_of(body).is_err());
            assert!(tunnel([0; 32], body).is_err());
        }
    }
}
