//! The other end: what a clinician's machine does to be enrolled and to renew its certificate.
//!
//! In: where the gateway is, by what it is known, a token or the certificate so far. Out: certificates.
//! Nothing is sent to a gateway that was not recognised: by certificates that were brought, or by the token,
//! which knows the authority that was there when it was made.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ureq::http::Response;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig, TlsProvider};
use zeroize::Zeroizing;

use super::token::Token;
use crate::pki::bundle::{self, NotABundle};
use crate::pki::own::Kept;
use crate::pki::pem;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No answer.
    #[error("cannot reach the gateway: {0}")]
    Connection(Box<ureq::Error>),
    /// It said no.
    #[error("the gateway refuses ({status}): {why}")]
    Refused {
        /// The number of HTTP.
        status: u16,
        /// In its words.
        why: String,
    },
    /// It is another gateway, or somebody between.
    #[error("this is not the gateway of the token: its authority is another")]
    Stranger,
    /// Nothing says who the gateway is.
    #[error("the token does not say how to know the gateway: bring its authority with --ca FILE")]
    Unknown,
    /// Not certificates.
    #[error("the gateway answered something else")]
    Answer(#[from] NotABundle),
    /// Not base64, or too long.
    #[error("the gateway answered something else")]
    Text,
}

/// The gateway, recognised by certificates.
pub struct Gateway {
    agent: ureq::Agent,
    base: String,
}

/// Certificates of the gateway's authorities, from a gateway that the token recognises.
///
/// # Errors
/// When it is another, or does not answer.
pub fn recognise(url: &str, token: &Token) -> Result<Vec<Vec<u8>>, ClientError> {
    // What an unknown gateway says is believed only if it is what the token says.
    let stranger = Gateway {
        agent: agent(RootCerts::Specific(Arc::new(Vec::new())), None, true),
        base: base(url),
    };
    let said = stranger.authorities()?;
    let mut known = Vec::new();
    for certificate in said {
        match token.knows(&certificate) {
            None => return Err(ClientError::Unknown),
            Some(true) => known.push(certificate),
            Some(false) => {}
        }
    }
    if known.is_empty() {
        return Err(ClientError::Stranger);
    }
    Ok(known)
}

impl Gateway {
    /// At this URL, known by these certificates; with the certificate so far, if there is one.
    #[must_use]
    pub fn new(url: &str, authorities: &[Vec<u8>], own: Option<&Kept>) -> Self {
        let certificates = |all: &[Vec<u8>]| -> Vec<Certificate<'static>> {
            let all = all.iter();
            all.map(|der| Certificate::from_der(der).to_owned())
                .collect()
        };
        let own = own.and_then(|own| {
            let key = Zeroizing::new(pem::encode(pem::PRIVATE_KEY, &own.key));
            let key = PrivateKey::from_pem(key.as_bytes()).ok()?;
            Some(ClientCert::new_with_certs(&certificates(&own.chain), key))
        });
        let roots = RootCerts::Specific(Arc::new(certificates(authorities)));
        Self {
            agent: agent(roots, own, false),
            base: base(url),
        }
    }

    /// Its authorities and those above them.
    ///
    /// # Errors
    /// When it does not say them.
    pub fn authorities(&self) -> Result<Vec<Vec<u8>>, ClientError> {
        let url = format!("{}/.well-known/est/cacerts", self.base);
        let response = self.agent.get(url).call().map_err(connection)?;
        certificates(response)
    }

    /// A first certificate.
    ///
    /// # Errors
    /// When it is refused.
    pub fn enroll(&self, token: &Token, request: &[u8]) -> Result<Vec<u8>, ClientError> {
        let basic = STANDARD.encode(format!("enroll:{token}"));
        self.post("simpleenroll", request, Some(format!("Basic {basic}")))
    }

    /// The next certificate.
    ///
    /// # Errors
    /// When it is refused.
    pub fn renew(&self, request: &[u8]) -> Result<Vec<u8>, ClientError> {
        self.post("simplereenroll", request, None)
    }

    fn post(
        &self,
        what: &str,
        request: &[u8],
        right: Option<String>,
    ) -> Result<Vec<u8>, ClientError> {
        let url = format!("{}/.well-known/est/{what}", self.base);
        let mut call = self
            .agent
            .post(url)
            .header("Content-Type", "application/pkcs10")
            .header("Content-Transfer-Encoding", "base64");
        if let Some(right) = right {
            call = call.header("Authorization", right);
        }
        let response = call.send(STANDARD.encode(request)).map_err(connection)?;
        let mut all = certificates(response)?.into_iter();
        all.next().ok_or(ClientError::Text)
    }
}

fn certificates(response: Response<ureq::Body>) -> Result<Vec<Vec<u8>>, ClientError> {
    let status = response.status();
    let mut text = String::new();
    response
        .into_body()
        .into_reader()
        .take(LONGEST)
        .read_to_string(&mut text)
        .map_err(|_| ClientError::Text)?;
    if !status.is_success() {
        // What a gateway says goes to a terminal.
        let text = text.trim_end().chars();
        let why = text.filter(|c| *c == '\n' || !c.is_control()).take(600);
        return Err(ClientError::Refused {
            status: status.as_u16(),
            why: why.collect(),
        });
    }
    let letters: String = text.split_ascii_whitespace().collect();
    let message = STANDARD.decode(letters).map_err(|_| ClientError::Text)?;
    Ok(bundle::read(&message)?)
}

fn agent(roots: RootCerts, own: Option<ClientCert>, unverified: bool) -> ureq::Agent {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .root_certs(roots)
        .client_cert(own)
        .disable_verification(unverified)
        .unversioned_rustls_crypto_provider(provider)
        .build();
    ureq::Agent::config_builder()
        .https_only(true)
        .tls_config(tls)
        .proxy(None)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .max_response_header_size(16 << 10)
        .user_agent(concat!("lazaret/", env!("CARGO_PKG_VERSION")))
        .timeout_global(Some(PATIENCE))
        .build()
        .new_agent()
}

fn connection(error: ureq::Error) -> ClientError {
    ClientError::Connection(Box::new(error))
}

fn base(url: &str) -> String {
    url.trim_end_matches('/').to_owned()
}

/// For one answer.
const PATIENCE: Duration = Duration::from_mins(1);
/// Bytes of an answer.
//= C7
const LONGEST: u64 = 256 << 10;
