//! What a handshake of QUIC came to, for both ends: which key exchange, and whose certificate was nobody's.
//!
//! In: whether only the hybrid one will do. Out: the cryptography, and the name of the group of a connection.
//! rustls does not tell quinn's users the group; its groups note it themselves while a handshake is read.

use std::any::Any;
use std::cell::Cell;
use std::sync::{Arc, OnceLock};

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::crypto::{
    self, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, Session,
    UnsupportedVersion,
};
use quinn::{ConnectError, ConnectionId};
use quinn_proto::transport_parameters::TransportParameters;
use quinn_proto::{Side, TransportError};
use rustls::crypto::{
    ActiveKeyExchange, CompletedKeyExchange, CryptoProvider, SharedSecret, SupportedKxGroup,
    aws_lc_rs,
};
use rustls::{NamedGroup, ProtocolVersion};

use crate::pki::foreign;
use crate::pki::message::Fingerprint;

/// The key exchange of a connection's handshake.
#[must_use]
pub fn of(connection: &quinn::Connection) -> Option<&'static str> {
    let data = connection.handshake_data()?;
    let negotiated: &Negotiated = data.downcast_ref()?;
    negotiated.used.map(name)
}

/// The end of a handshake, and beside a failure the key of a certificate that is nobody's here.
///
/// # Errors
/// When it failed.
pub async fn shake(
    mut connecting: quinn::Connecting,
) -> Result<quinn::Connection, (quinn::ConnectionError, Option<Fingerprint>)> {
    // There from its first message on.
    let data = connecting.handshake_data().await.ok();
    let negotiated = data.and_then(|data| data.downcast::<Negotiated>().ok());
    let refused = || negotiated.and_then(|one| one.foreign.get().copied());
    connecting.await.map_err(|error| (error, refused()))
}

/// The hybrid group first, or alone; AES-GCM first where the processor has it.
#[must_use]
pub fn provider(post_quantum_required: bool) -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![&HYBRID];
    if !post_quantum_required {
        provider
            .kx_groups
            .extend([&X25519 as &dyn SupportedKxGroup, &SECP256, &SECP384]);
    }
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
        Ok(Box::new(Begun((self.0)().start()?)))
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

/// What a client began, and notes when the server went along.
struct Begun(Box<dyn ActiveKeyExchange>);

impl ActiveKeyExchange for Begun {
    fn complete(self: Box<Self>, theirs: &[u8]) -> Result<SharedSecret, rustls::Error> {
        let group = self.0.group();
        let secret = self.0.complete(theirs)?;
        USED.set(Some(group));
        Ok(secret)
    }

    fn hybrid_component(&self) -> Option<(NamedGroup, &[u8])> {
        self.0.hybrid_component()
    }

    fn complete_hybrid_component(
        self: Box<Self>,
        theirs: &[u8],
    ) -> Result<SharedSecret, rustls::Error> {
        let group = self.0.hybrid_component().map(|(group, _)| group);
        let secret = self.0.complete_hybrid_component(theirs)?;
        USED.set(group);
        Ok(secret)
    }

    fn pub_key(&self) -> &[u8] {
        self.0.pub_key()
    }

    fn group(&self) -> NamedGroup {
        self.0.group()
    }
}

/// What a handshake came to.
struct Negotiated {
    used: Option<NamedGroup>,
    foreign: Arc<OnceLock<Fingerprint>>,
}

/// Quinn's own, whose sessions note the key exchange.
struct Noting<C>(Arc<C>);

/// For a listener.
#[must_use]
pub fn noting_server(config: QuicServerConfig) -> Arc<dyn crypto::ServerConfig> {
    Arc::new(Noting(Arc::new(config)))
}

/// For whoever connects.
#[must_use]
pub fn noting_client(config: QuicClientConfig) -> Arc<dyn crypto::ClientConfig> {
    Arc::new(Noting(Arc::new(config)))
}

impl crypto::ClientConfig for Noting<QuicClientConfig> {
    fn start_session(
        self: Arc<Self>,
        version: u32,
        server_name: &str,
        parameters: &TransportParameters,
    ) -> Result<Box<dyn Session>, ConnectError> {
        Ok(Box::new(NotingSession {
            inner: Arc::clone(&self.0).start_session(version, server_name, parameters)?,
            used: None,
            foreign: Arc::default(),
        }))
    }
}

impl crypto::ServerConfig for Noting<QuicServerConfig> {
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

/// Whether a quantum computer could not undo the exchange of this name.
#[must_use]
pub fn is_post_quantum(name: &str) -> bool {
    name.contains("MLKEM")
}
