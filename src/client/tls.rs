//! From the certificate files that the settings name to a TLS configuration for HTTP/2.
//! Errors name the file; private keys are read and never shown.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio_rustls::rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::settings::Settings;

/// The name under which TLS agrees on HTTP/2.
const HTTP2: &[u8] = b"h2";
/// The name under which it agrees on HTTP/1.
pub const HTTP1: &[u8] = b"http/1.1";

/// Why the certificates can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read.
    #[error("can't read {}: {source}; check the path and who may read it", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file doesn't hold what it should.
    #[error("{} holds no {what} in PEM form ({detail})", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
        /// The parser's reason.
        detail: String,
    },
    /// An https endpoint, no `ETCDCTL_CACERT`, and the system has no authorities either.
    #[error(
        "no certificate authorities: set ETCDCTL_CACERT to the PEM file of the one that signs the members"
    )]
    NoAuthorities,
    /// Certificate and key don't fit, or the certificate is unusable.
    #[error("can't use the certificate {}: {detail}", path.display())]
    Certificate {
        /// The certificate's file.
        path: PathBuf,
        /// The library's reason.
        detail: String,
    },
}

/// The configuration for the settings' certificates, to be used for every https endpoint.
pub fn client_config(settings: &Settings) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder().with_root_certificates(authorities(settings.cacert.as_deref())?);
    let mut config = match &settings.certificate {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            builder.with_client_auth_cert(certificates(certificate)?, private_key(key)?).map_err(|error| {
                TlsError::Certificate { path: certificate.clone(), detail: error.to_string() }
            })?
        }
    };
    config.alpn_protocols = vec![HTTP2.to_vec()];
    Ok(Arc::new(config))
}

/// The configuration of a server with this certificate, for clients that need none. They speak HTTP/2, or are told that
/// they must.
pub fn server_config(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let builder = ServerConfig::builder().with_no_client_auth();
    let config = builder.with_single_cert(certificates(certificate)?, private_key(key)?);
    let mut config = config
        .map_err(|error| TlsError::Certificate { path: certificate.to_owned(), detail: error.to_string() })?;
    config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
    Ok(Arc::new(config))
}

fn authorities(cacert: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    match cacert {
        Some(path) => {
            for certificate in certificates(path)? {
                store.add(certificate).map_err(|error| content(path, "usable authority", &error))?;
            }
        }
        None => {
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if store.is_empty() { Err(TlsError::NoAuthorities) } else { Ok(store) }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(&read(path)?)
        .collect::<Result<_, _>>()
        .map_err(|error| content(path, "certificate", &error))?;
    if found.is_empty() { Err(content(path, "certificate", &"none found")) } else { Ok(found) }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| content(path, "private key", &error))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

fn content(path: &Path, what: &'static str, detail: &dyn std::fmt::Display) -> TlsError {
    TlsError::Content { path: path.to_owned(), what, detail: detail.to_string() }
}
