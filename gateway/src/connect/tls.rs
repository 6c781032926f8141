//! TLS of a client: TLS 1.3 with a certificate of its own, hybrid key exchange first, nothing to resume and nothing early.
//!
//! In: the files that the client's file names. Out: a configuration, or which file is at fault.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use lazaret_config::{CertificateError, Client, read_certificates, read_own_certificates};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use zeroize::Zeroizing;

use crate::key_exchange;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file with certificates cannot be used.
    #[error("{}: {cause}", path.display())]
    Certificate {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: CertificateError,
    },
    /// The file with the key cannot be read.
    #[error("{}: cannot read the key: {cause}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// Others may read the key.
    #[error("{}: others may read the key (mode {mode:04o}): chmod 600", path.display())]
    Exposed {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file with the key holds something else.
    #[error("{}: there is no private key in PEM", path.display())]
    NotAKey {
        /// Which.
        path: PathBuf,
    },
    /// The certificate and the key do not belong together, or are of a kind that cannot be used.
    #[error("the certificate and the key cannot be used together: {0}")]
    Identity(rustls::Error),
    /// An authority cannot be used.
    #[error("{}: the certificate of the authority cannot be used", path.display())]
    Authority {
        /// Which.
        path: PathBuf,
    },
    /// The library cannot do what we want.
    #[error("TLS cannot be set up: {0}")]
    Setup(rustls::Error),
}

/// The longest file with a key.
const LONGEST_KEY: u64 = 64 * 1024;

/// The configuration for a client's file.
///
/// # Errors
/// Which file is at fault.
pub fn configuration(client: &Client) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    for authority in in_file(&client.ca, read_certificates)? {
        roots.add(authority).map_err(|_| TlsError::Authority {
            path: client.ca.clone(),
        })?;
    }
    // A key does not belong beside a certificate, unless the file is the one of the key.
    let own = if client.certificate == client.key {
        read_own_certificates
    } else {
        read_certificates
    };
    let chain = in_file(&client.certificate, own)?;
    let key = key(&client.key)?;
    let provider = Arc::new(key_exchange::provider(client.post_quantum_required));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Setup)?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(TlsError::Identity)?;
    config.alpn_protocols = vec![crate::masque::ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Ok(config)
}

fn in_file(
    path: &Path,
    read: fn(&Path) -> Result<Vec<Vec<u8>>, CertificateError>,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = read(path).map_err(|cause| TlsError::Certificate {
        path: path.to_owned(),
        cause,
    })?;
    Ok(found.into_iter().map(CertificateDer::from).collect())
}

/// What is in the files of our key and certificate, as far as the system can tell without reading them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp([Option<(u64, SystemTime)>; 2]);

/// Says whether the files are still those that were read.
pub(super) fn stamp(client: &Client) -> Stamp {
    let stamp = |path: &Path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.len(), metadata.modified().ok()?))
    };
    Stamp([stamp(&client.certificate), stamp(&client.key)])
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let failed = |cause| TlsError::Read {
        path: path.to_owned(),
        cause,
    };
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(failed(io::Error::other("it is not a regular file")));
    }
    let file = File::open(path).map_err(failed)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            let path = path.to_owned();
            return Err(TlsError::Exposed { path, mode });
        }
    }
    let mut text = Zeroizing::new(Vec::new());
    file.take(LONGEST_KEY)
        .read_to_end(&mut text)
        .map_err(failed)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| TlsError::NotAKey {
        path: path.to_owned(),
    })
}
