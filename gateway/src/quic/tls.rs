//! TLS of the tunnel: 1.3 only, both ends with certificates, no early data, no tickets; and which key exchange it was.
//!
//! In: the gateway's certificate, whom it believes, the door to the signer. Out: what quinn needs to shake hands.
//! Every session is a full handshake, so that who is revoked has nothing left to come back with.
//! rustls does not tell quinn's users the group; its groups note it themselves while a handshake is read.

use std::any::Any;
use std::cell::Cell;
use std::sync::{Arc, OnceLock};

use lazaret_config::PostQuantum;
use quinn::ConnectionId;
use quinn::crypto::{
    self, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, Session,
    UnsupportedVersion,
};
use quinn_proto::transport_parameters::TransportParameters;
use quinn_proto::{Side, TransportError};
use rustls::crypto::{
    ActiveKeyExchange, CompletedKeyExchange, CryptoProvider, SupportedKxGroup, aws_lc_rs,
};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::SingleCertAndKey;
use rustls::{NamedGroup, ProtocolVersion};

use crate::masque;
use crate::pki::door::Door;
use crate::pki::foreign;
use crate::pki::message::{Fingerprint, ServerIdentity, Trust};
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
    let provider = Arc::new(provider(post_quantum));
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
        config: Arc::new(Noting(Arc::new(inner))),
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

/// The key exchange of a connection's handshake.
pub(super) fn key_exchange(connection: &quinn::Connection) -> Option<&'static str> {
    let data = connection.handshake_data()?;
    let negotiated: &Negotiated = data.downcast_ref()?;
    negotiated.used.map(name)
}

/// The end of a handshake, and beside a failure the key of a certificate that is nobody's here.
pub(super) async fn shake(
    mut connecting: quinn::Connecting,
) -> Result<quinn::Connection, (quinn::ConnectionError, Option<Fingerprint>)> {
    // There from its first message on.
    let data = connecting.handshake_data().await.ok();
    let negotiated = data.and_then(|data| data.downcast::<Negotiated>().ok());
    let refused = || negotiated.and_then(|one| one.foreign.get().copied());
    connecting.await.map_err(|error| (error, refused()))
}

/// The hybrid group first, or alone; AES-GCM first where the processor has it.
fn provider(post_quantum: PostQuantum) -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = match post_quantum {
        PostQuantum::Required => vec![&HYBRID],
        PostQuantum::Preferred => vec![&HYBRID, &X25519, &SECP256, &SECP384],
    };
    provider
}

/// As the registry of TLS calls those that are offered.
fn name(group: NamedGroup) -> &'static str {
    let names = [
        (NamedGroup::X25519MLKEM768, "X25519MLKEM768"),
        (NamedGroup::X25519, "X25519"),
        (NamedGroup::secp256r1, "secp256r1"),
        (NamedGroup::secp384r1, "secp384r1"),
    ];
    let mut names = names.into_iter();
    names
        .find(|(one, _)| *one == group)
        .map_or("another", |(_, name)| name)
}

/// A group of the library that notes when it was used.
#[derive(Debug)]
struct Noted(fn() -> &'static dyn SupportedKxGroup);

static HYBRID: Noted = Noted(|| aws_lc_rs::kx_group::X25519MLKEM768);
static X25519: Noted = Noted(|| aws_lc_rs::kx_group::X25519);
static SECP256: Noted = Noted(|| aws_lc_rs::kx_group::SECP256R1);
static SECP384: Noted = Noted(|| aws_lc_rs::kx_group::SECP384R1);

thread_local! {
    /// The group that the handshake used which this thread reads at the moment.
    static USED: Cell<Option<NamedGroup>> = const { Cell::new(None) };
}

impl SupportedKxGroup for Noted {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, rustls::Error> {
        (self.0)().start()
    }

    fn start_and_complete(&self, theirs: &[u8]) -> Result<CompletedKeyExchange, rustls::Error> {
        let completed = (self.0)().start_and_complete(theirs)?;
        USED.set(Some(completed.group));
        Ok(completed)
    }

    fn name(&self) -> NamedGroup {
        (self.0)().name()
    }

    fn fips(&self) -> bool {
        (self.0)().fips()
    }

    fn usable_for_version(&self, version: ProtocolVersion) -> bool {
        (self.0)().usable_for_version(version)
    }
}

/// What a handshake came to.
struct Negotiated {
    used: Option<NamedGroup>,
    foreign: Arc<OnceLock<Fingerprint>>,
}

/// Quinn's own, whose sessions note the key exchange.
struct Noting(Arc<crypto::rustls::QuicServerConfig>);

impl crypto::ServerConfig for Noting {
    fn initial_keys(
        &self,
        version: u32,
        destination: &ConnectionId,
    ) -> Result<Keys, UnsupportedVersion> {
        self.0.initial_keys(version, destination)
    }

    fn retry_tag(&self, version: u32, original: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.0.retry_tag(version, original, packet)
    }

    fn start_session(
        self: Arc<Self>,
        version: u32,
        parameters: &TransportParameters,
    ) -> Box<dyn Session> {
        Box::new(NotingSession {
            inner: Arc::clone(&self.0).start_session(version, parameters),
            used: None,
            foreign: Arc::default(),
        })
    }
}

struct NotingSession {
    inner: Box<dyn Session>,
    used: Option<NamedGroup>,
    /// The key of a certificate that is nobody's here.
    foreign: Arc<OnceLock<Fingerprint>>,
}

impl Session for NotingSession {
    fn initial_keys(&self, destination: &ConnectionId, side: Side) -> Keys {
        self.inner.initial_keys(destination, side)
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        self.inner.handshake_data()?;
        Some(Box::new(Negotiated {
            used: self.used,
            foreign: Arc::clone(&self.foreign),
        }))
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        self.inner.peer_identity()
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        self.inner.early_crypto()
    }

    fn early_data_accepted(&self) -> Option<bool> {
        self.inner.early_data_accepted()
    }

    fn is_handshaking(&self) -> bool {
        self.inner.is_handshaking()
    }

    fn read_handshake(&mut self, bytes: &[u8]) -> Result<bool, TransportError> {
        USED.set(None);
        let (read, foreign) = foreign::while_reading(|| self.inner.read_handshake(bytes));
        if let Some(key) = foreign {
            self.foreign.get_or_init(|| key);
        }
        self.used = USED.take().or(self.used);
        read
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        self.inner.transport_parameters()
    }

    fn write_handshake(&mut self, bytes: &mut Vec<u8>) -> Option<Keys> {
        self.inner.write_handshake(bytes)
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        self.inner.next_1rtt_keys()
    }

    fn is_valid_retry(&self, original: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        self.inner.is_valid_retry(original, header, payload)
    }

    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        self.inner.export_keying_material(output, label, context)
    }
}
