//! TLS, and mutual TLS if clients must show a certificate.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use super::incoming::Protocols;

/// HTTP/2, in ALPN.
const ALPN_H2: &[u8] = b"h2";
/// HTTP/1.1, in ALPN.
const ALPN_HTTP1: &[u8] = b"http/1.1";

/// The PEM files' contents.
#[derive(Clone)]
pub struct Tls {
    /// The server's certificate chain.
    pub certificate: Vec<u8>,
    /// Its private key.
    pub key: Vec<u8>,
    /// The CA of clients' certificates, if clients must show one.
    pub client_ca: Option<Vec<u8>>,
}

/// TLS_CERT_FILE, TLS_KEY_FILE or TLS_CLIENT_CA_FILE cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is not PEM, or has the wrong contents.
    #[error("a TLS file is not a PEM file")]
    Pem(#[from] pem::Error),
    /// The certificate and the key do not match.
    #[error("the certificate and the key cannot be used")]
    Identity(#[from] rustls::Error),
    /// The file contains no CA certificate.
    #[error("the clients' CA cannot be used")]
    ClientCa(#[from] VerifierBuilderError),
}

impl Tls {
    /// Checks that the files can be used.
    ///
    /// # Errors
    /// [`TlsError`]
    pub fn check(&self) -> Result<(), TlsError> {
        self.acceptor(Protocols::Any).map(|_| ())
    }

    /// Performs the TLS handshake of accepted connections.
    pub(super) fn acceptor(&self, protocols: Protocols) -> Result<TlsAcceptor, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(ca) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(ca)? {
                    roots.add(certificate)?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                        .build()?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let key = PrivateKeyDer::from_pem_slice(&self.key)?;
        let mut config = builder.with_single_cert(certificates(&self.certificate)?, key)?;
        config.alpn_protocols.push(ALPN_H2.into());
        if protocols == Protocols::Any {
            config.alpn_protocols.push(ALPN_HTTP1.into());
        }
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

fn certificates(file: &[u8]) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
    CertificateDer::pem_slice_iter(file).collect()
}
