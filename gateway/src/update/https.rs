//! Updates from a server, over TLS.
//!
//! Trusts the hospital's own root and those of the platform. Follows nobody elsewhere, uses no proxy, and waits for
//! nothing without an end. What arrives is checked by others: TLS only keeps strangers from knowing what is fetched.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ureq::http::{HeaderMap, StatusCode};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};

use super::source::{Body, FetchError, Source};

/// A server.
pub struct Https {
    agent: ureq::Agent,
    base: String,
}

/// How long the steps of a download may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// To find and reach the server.
    pub connect: Duration,
    /// For the next bytes.
    pub silence: Duration,
    /// For one whole answer; a download that takes longer is resumed.
    pub answer: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            silence: Duration::from_secs(30),
            answer: Duration::from_hours(1),
        }
    }
}

impl Https {
    /// A server under this URL, which ends with a slash or not. `http://` only where the configuration allowed it.
    ///
    /// # Errors
    /// When a root certificate cannot be read, or there is none.
    pub fn new(
        url: &str,
        hospital_root: Option<&Path>,
        platform: &Path,
        patience: Patience,
    ) -> Result<Self, FetchError> {
        let secure = !url.starts_with("http://");
        let roots = if secure {
            roots(hospital_root, platform)?
        } else {
            Vec::new()
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(RootCerts::Specific(Arc::new(roots)))
            .unversioned_rustls_crypto_provider(provider)
            .build();
        let agent = ureq::Agent::config_builder()
            .https_only(secure)
            .tls_config(tls)
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .max_response_header_size(MOST_HEADER)
            .user_agent(concat!("lazaret/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(patience.connect))
            .timeout_connect(Some(patience.connect))
            .timeout_send_request(Some(patience.silence))
            .timeout_recv_response(Some(patience.silence))
            .timeout_per_read(Some(patience.silence))
            .timeout_per_write(Some(patience.silence))
            .timeout_recv_body(Some(patience.answer))
            .build()
            .new_agent();
        Ok(Self {
            agent,
            base: url.trim_end_matches('/').to_owned(),
        })
    }
}

impl Source for Https {
    fn open(&mut self, name: &str, from: u64, tag: Option<&str>) -> Result<Body, FetchError> {
        let lost = |error: ureq::Error| FetchError::Connection {
            name: name.to_owned(),
            why: error.to_string(),
        };
        let mut request = self.agent.get(format!("{}/{name}", self.base));
        let resumed = tag.filter(|_| from > 0);
        if let Some(tag) = resumed {
            request = request
                .header("Range", format!("bytes={from}-"))
                .header("If-Range", tag);
        }
        let response = request.call().map_err(lost)?;
        let (status, headers) = (response.status(), response.headers());
        let tag = strong_tag(headers);
        let (start, length) = match status {
            StatusCode::OK => (0, content_length(headers)),
            StatusCode::PARTIAL_CONTENT if resumed.is_some() => {
                let (start, length) = content_range(headers).unwrap_or((u64::MAX, None));
                if start != from {
                    // It sends what was not asked for.
                    return self.open(name, 0, None);
                }
                (start, length)
            }
            // What is here is longer than what is there.
            StatusCode::RANGE_NOT_SATISFIABLE if resumed.is_some() => {
                return self.open(name, 0, None);
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                return Err(FetchError::Missing(name.to_owned()));
            }
            status if status.is_redirection() => {
                return Err(FetchError::Redirect(name.to_owned()));
            }
            status => {
                return Err(FetchError::Status {
                    name: name.to_owned(),
                    status: status.as_u16(),
                });
            }
        };
        Ok(Body {
            start,
            length,
            tag,
            reader: Box::new(response.into_body().into_reader()),
        })
    }
}

/// A tag by which a later request can go on, as If-Range wants it: strong.
//= RFC 9110 13.1.5
fn strong_tag(headers: &HeaderMap) -> Option<String> {
    let tag = headers.get("etag")?.to_str().ok()?;
    let strong = tag.starts_with('"') && tag.ends_with('"') && tag.len() > 2;
    (strong && tag.len() <= MOST_TAG).then(|| tag.to_owned())
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get("content-length")?.to_str().ok()?.parse().ok()
}

/// Start and whole length.
//= RFC 9110 14.4
fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let text = headers.get("content-range")?.to_str().ok()?;
    let (range, length) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.parse().ok()?, length.parse().ok()))
}

/// The hospital's root, which must be readable if it is named, and those of the platform, if there are any.
fn roots(
    hospital: Option<&Path>,
    platform: &Path,
) -> Result<Vec<Certificate<'static>>, FetchError> {
    let mut roots = Vec::new();
    for (path, needed) in [(hospital, true), (Some(platform), false)] {
        let Some(path) = path else { continue };
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(_) if !needed => continue,
            Err(error) => return Err(FetchError::Roots(format!("{}: {error}", path.display()))),
        };
        let before = roots.len();
        for item in parse_pem(&bytes) {
            match item {
                Ok(PemItem::Certificate(certificate)) => roots.push(certificate),
                Ok(_) => {}
                Err(error) => return Err(FetchError::Roots(error.to_string())),
            }
        }
        if needed && roots.len() == before {
            let why = format!("{} holds no certificate", path.display());
            return Err(FetchError::Roots(why));
        }
    }
    if roots.is_empty() {
        return Err(FetchError::NoRoots);
    }
    Ok(roots)
}

/// Bytes of the head of an answer.
//= C7
const MOST_HEADER: usize = 16 << 10;
/// Bytes of a tag that is remembered.
//= C7
const MOST_TAG: usize = 256;
