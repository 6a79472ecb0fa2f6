//! Reading certificates and keys from PEM files, with errors that name the file and the remedy.
//!
//! Not their meaning: `server.rs` and `client.rs` use what is read here.

use std::fs;
use std::path::Path;

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsConfigError;

/// All certificates of a file, at least one; the peer's own comes first in a chain.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsConfigError> {
    let text = read(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|error| TlsConfigError::in_file(path, what_is_wrong(&error)))?;
    if chain.is_empty() {
        let remedy = "no certificate in this file; it needs PEM (-----BEGIN CERTIFICATE-----), the \
                      certificate itself first and the chain behind it";
        return Err(TlsConfigError::in_file(path, remedy));
    }
    Ok(chain)
}

/// The first private key of a file.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsConfigError> {
    let text = read(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
        if matches!(error, pem::Error::NoItemsFound) {
            let remedy = "no private key in this file; it needs PEM (-----BEGIN PRIVATE KEY-----), \
                          without a passphrase";
            TlsConfigError::in_file(path, remedy)
        } else {
            TlsConfigError::in_file(path, what_is_wrong(&error))
        }
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsConfigError> {
    fs::read(path).map_err(|error| {
        TlsConfigError::in_file(path, format_args!("cannot be read as the server's user: {error}"))
    })
}

fn what_is_wrong(error: &pem::Error) -> String {
    format!("broken PEM ({error}); convert the file with openssl or copy it again")
}
