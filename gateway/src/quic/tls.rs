//! TLS of the tunnel: 1.3 only, both ends with certificates, no early data, no tickets.
//!
//! In: the gateway's certificate, whom it believes, the door to the signer. Out: what quinn needs to shake hands.
//! Every session is a full handshake, so that who is revoked has nothing left to come back with.

use std::sync::Arc;

use lazaret_config::PostQuantum;
use quinn::crypto;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::SingleCertAndKey;

use crate::key_exchange;
use crate::masque;
use crate::pki::door::Door;
use crate::pki::foreign;
use crate::pki::message::{ServerIdentity, Trust};
use crate::pki::trust::TrustError;

/// What a listener needs to shake hands.
pub(super) struct Shaking {
    pub(super) config: Arc<dyn crypto::ServerConfig>,
    pub(super) verifier: Verifier,
}

/// The certificates that somebody showed, their own first.
pub(super) type Chain = Vec<CertificateDer<'static>>;

/// Asks again whether a certificate is believed.
#[derive(Clone)]
pub(super) struct Verifier(Arc<dyn ClientCertVerifier>);

/// Why nobody can be let in.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    /// There is nobody to believe.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The parts do not fit.
    #[error("the tunnel cannot shake hands")]
    Rustls(#[from] rustls::Error),
    /// No cipher for the first packets.
    #[error("the cryptography has no cipher for the first packets of QUIC")]
    Cipher,
}

/// The configuration of the listener.
///
/// # Errors
/// When there is nobody to believe.
pub(super) fn shaking(
    identity: &ServerIdentity,
    trust: &Trust,
    door: &Door,
    post_quantum: PostQuantum,
) -> Result<Shaking, TlsError> {
    let verifier = trust.verifier()?;
    let required = post_quantum == PostQuantum::Required;
    let provider = Arc::new(key_exchange::provider(required));
    let certified = SingleCertAndKey::from(door.certified(identity));
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(foreign::noting(Arc::clone(&verifier)))
        .with_cert_resolver(Arc::new(certified));
    config.alpn_protocols = vec![masque::ALPN.to_vec()];
    // A ticket would let in who was revoked meanwhile, and early data can be sent twice.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    let inner = crypto::rustls::QuicServerConfig::try_from(config).map_err(|_| TlsError::Cipher)?;
    Ok(Shaking {
        config: key_exchange::noting_server(inner),
        verifier: Verifier(verifier),
    })
}

impl Verifier {
    /// Whether a certificate is still believed, which it was when its session began.
    pub(super) fn believes(&self, chain: &Chain, now: jiff::Timestamp) -> bool {
        let seconds = u64::try_from(now.as_second()).unwrap_or_default();
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        let Some((leaf, above)) = chain.split_first() else {
            return false;
        };
        self.0.verify_client_cert(leaf, above, now).is_ok()
    }
}

/// The certificates that the other end of a connection showed.
pub(super) fn shown(connection: &quinn::Connection) -> Option<Chain> {
    let identity = connection.peer_identity()?;
    identity.downcast().ok().map(|chain| *chain)
}
