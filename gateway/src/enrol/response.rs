//! Answers of the enrolment service, as HTTP has them.
//!
//! In: what was granted, or why not. Out: a response. Pure.
//! Who is refused hears why and what to do, in the language of the gateway, and a code; what is wrong with a token is for the journal alone.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{
    CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::message::{Granted, Place, Refused};
use super::wireguard;
use crate::pki::bundle;
use crate::words::{Enrolment, Language, Words};

/// An answer.
pub(super) type Answer = Response<Full<Bytes>>;

/// Something in the base64 of EST: in one line, since some clients read no line breaks.
//= RFC 8951 3.1
pub(super) fn est(kind: &'static str, der: &[u8]) -> Answer {
    let text = STANDARD.encode(der).into_bytes();
    let mut answer = answer(StatusCode::OK, kind, text);
    let encoding = HeaderName::from_static("content-transfer-encoding");
    answer
        .headers_mut()
        .insert(encoding, HeaderValue::from_static("base64"));
    answer
}

/// Certificates alone.
pub(super) fn certificates(all: &[Vec<u8>], language: Language) -> Answer {
    match bundle::write(all) {
        Ok(message) => est(CERTIFICATES, &message),
        Err(_) => {
            let why = "the certificates cannot be sent";
            refusal(&Refused::Unavailable(why.to_owned()), language)
        }
    }
}

/// What is revoked, for whoever believes our certificates without us.
//= RFC 5280 5
pub(super) fn lists(pem: &str) -> Answer {
    answer(StatusCode::OK, PEM, pem.as_bytes().to_vec())
}

/// What a device gets.
pub(super) fn granted(granted: &Granted, as_text: bool, language: Language) -> Answer {
    match granted {
        // The device has those above it from `/cacerts`.
        Granted::Certificate { certificate, .. } => {
            certificates(std::slice::from_ref(&certificate.0), language)
        }
        Granted::Wireguard(place) if as_text => {
            let text = wireguard::configuration(place, None);
            answer(StatusCode::OK, TEXT, text.into_bytes())
        }
        Granted::Wireguard(place) => {
            let whole = WithText {
                v: 1,
                place,
                wg_quick: wireguard::configuration(place, None),
            };
            let text = serde_json::to_vec(&whole).unwrap_or_default();
            answer(StatusCode::OK, JSON, text)
        }
    }
}

/// Why a device gets nothing.
pub(super) fn refusal(refused: &Refused, language: Language) -> Answer {
    let status = match refused {
        Refused::Token => StatusCode::UNAUTHORIZED,
        Refused::Request(_) => StatusCode::BAD_REQUEST,
        Refused::Taken(_) => StatusCode::CONFLICT,
        Refused::Forbidden(_) => StatusCode::FORBIDDEN,
        Refused::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    sentence(status, refused.code(), &refused.to_string(), language)
}

/// What happened and what to do, in the language of the gateway; `text` says it to technicians.
pub(super) fn sentence(
    status: StatusCode,
    code: Enrolment,
    text: &str,
    language: Language,
) -> Answer {
    let Words { what, next } = code.words(language);
    let told = match language {
        Language::English => format!("{text}\n{next}\n"),
        Language::French => format!("{what}\n{next}\n({text})\n"),
    };
    let mut answer = answer(status, TEXT, told.into_bytes());
    let headers = answer.headers_mut();
    let machine = HeaderValue::from_static(code.as_str());
    headers.insert(HeaderName::from_static(CODE), machine);
    headers.insert(
        CONTENT_LANGUAGE,
        HeaderValue::from_static(language.as_str()),
    );
    if status == StatusCode::UNAUTHORIZED {
        let basic = HeaderValue::from_static("Basic realm=\"lazaret enrolment\"");
        headers.insert(WWW_AUTHENTICATE, basic);
    }
    if [
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::TOO_MANY_REQUESTS,
    ]
    .contains(&status)
    {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("60"));
    }
    answer
}

fn answer(status: StatusCode, kind: &'static str, body: Vec<u8>) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

#[derive(Serialize)]
struct WithText<'a> {
    v: u32,
    #[serde(flatten)]
    place: &'a Place,
    wg_quick: String,
}

const CERTIFICATES: &str = "application/pkcs7-mime; smime-type=certs-only";
/// Of `/csrattrs`.
pub(super) const ATTRIBUTES: &str = "application/csrattrs";
const TEXT: &str = "text/plain; charset=utf-8";
const PEM: &str = "application/x-pem-file";
/// The header with the code of a refusal, which no language changes.
const CODE: &str = "lazaret-code";
const JSON: &str = "application/json";

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn told(refused: &Refused, language: Language) -> (StatusCode, String, String) {
        let answer = refusal(refused, language);
        let status = answer.status();
        let code = answer.headers()[CODE].to_str().unwrap().to_owned();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, code, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn refusals_have_a_code_and_the_language_of_the_gateway() {
        let why = "there is a device ecg-1 already".to_owned();
        for (refused, status, code) in [
            (Refused::Token, 401, "enrol-token"),
            (Refused::Request(why.clone()), 400, "enrol-request"),
            (Refused::Taken(why.clone()), 409, "enrol-taken"),
            (Refused::Forbidden(why.clone()), 403, "enrol-forbidden"),
            (Refused::Unavailable(why.clone()), 503, "enrol-unavailable"),
        ] {
            let english = told(&refused, Language::English).await;
            let french = told(&refused, Language::French).await;
            for (got_status, got_code, body) in [&english, &french] {
                assert_eq!((got_status.as_u16(), got_code.as_str()), (status, code));
                assert!(body.contains(&refused.to_string()), "{body}");
            }
            assert!(english.2.starts_with(&refused.to_string()));
            let words = refused.code().words(Language::French);
            assert!(french.2.starts_with(words.what) && french.2.contains(words.next));
        }
    }
}
