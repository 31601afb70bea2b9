//! Certificate and key, which can be changed while the registry serves.

use std::{
    fmt,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};

use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::aws_lc_rs},
};

use crate::{Error, Result, config::Tls};

/// What new connections are secured with.
pub(super) struct Secrets(RwLock<Option<Arc<ServerConfig>>>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

impl Secrets {
    pub(super) fn read(tls: Option<&Tls>) -> Result<Self> {
        Ok(Self(RwLock::new(tls.map(read).transpose()?)))
    }

    /// Reads the files again. Whether there is TLS at all does not change while listening.
    pub(super) fn reread(&self, tls: Option<&Tls>) -> Result<()> {
        let Some(tls) = tls else { return Ok(()) };
        let read = read(tls)?;
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if current.is_some() {
            *current = Some(read);
        }
        Ok(())
    }

    /// For a new connection; `None` where there is no TLS.
    pub(super) fn current(&self) -> Option<TlsAcceptor> {
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        current.clone().map(TlsAcceptor::from)
    }
}

fn read(tls: &Tls) -> Result<Arc<ServerConfig>> {
    let wrong = |path: &Path, what: String| Error::Tls { path: path.to_owned(), what };
    let certificates = CertificateDer::pem_file_iter(&tls.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(&tls.certificate, error.to_string()))?;
    if certificates.is_empty() {
        return Err(wrong(&tls.certificate, "there is no certificate in it".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(&tls.key)
        .map_err(|error| wrong(&tls.key, error.to_string()))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, key))
        .map_err(|error| wrong(&tls.certificate, error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
