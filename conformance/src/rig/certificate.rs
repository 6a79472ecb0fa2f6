//! Certificates for tests: a fresh authority, and one certificate by it for `localhost` and
//! 127.0.0.1.
//!
//! Each server gets an authority of its own, so that a client that trusts one of them proves by its
//! handshake which server it is talking to. Nothing here is fit for anything but tests: the files
//! are readable by every local user who can reach the folder, because servers read them without
//! privileges.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};

/// The files of an authority and of the certificate it issued.
#[derive(Clone, Debug)]
pub struct Authority {
    /// The authority's own certificate (PEM): what a client should trust.
    pub authority: PathBuf,
    /// The server's certificate (PEM).
    pub certificate: PathBuf,
    /// The server's private key (PEM).
    pub key: PathBuf,
    /// SHA-256 of the server's certificate in hexadecimal, for pinning.
    pub fingerprint: String,
}

impl Authority {
    /// Makes both and writes them into `folder`.
    pub fn create(folder: &Path) -> io::Result<Self> {
        let (authority_pem, issuer) = authority().map_err(io::Error::other)?;
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = server()
            .and_then(|server| server.signed_by(&key, &issuer))
            .map_err(io::Error::other)?;
        let files = Self {
            authority: folder.join("authority.pem"),
            certificate: folder.join("certificate.pem"),
            key: folder.join("key.pem"),
            fingerprint: hexadecimal(digest(&SHA256, certificate.der()).as_ref()),
        };
        fs::write(&files.authority, authority_pem)?;
        fs::write(&files.certificate, certificate.pem())?;
        fs::write(&files.key, key.serialize_pem())?;
        Ok(files)
    }
}

fn authority() -> Result<(String, Issuer<'static, KeyPair>), rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Test authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    let pem = params.self_signed(&key)?.pem();
    Ok((pem, Issuer::new(params, key)))
}

fn server() -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
    params.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    params.distinguished_name.push(DnType::CommonName, "localhost");
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn hexadecimal(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
