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
    sync::Arc,
};

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_RSA_SHA256,
    RsaKeySize, SanType,
};

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
    issuer: Arc<Issuer<'static, KeyPair>>,
}

impl Authority {
    /// Makes both and writes them into `folder`.
    pub fn create(folder: &Path) -> io::Result<Self> {
        let (authority_pem, issuer) = authority().map_err(io::Error::other)?;
        let authority = folder.join("authority.pem");
        fs::write(&authority, authority_pem)?;
        let key = KeyPair::generate().map_err(io::Error::other)?;
        Self::issue(folder, "", &key, authority, Arc::new(issuer))
    }

    /// The same authority with another certificate for the server, whose key is of RSA and so long
    /// that a full handshake costs the server many times what it costs its client.
    pub fn with_slow_key(&self, folder: &Path) -> io::Result<Self> {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_4096)
            .map_err(io::Error::other)?;
        Self::issue(folder, "slow-", &key, self.authority.clone(), Arc::clone(&self.issuer))
    }

    fn issue(
        folder: &Path,
        name: &str,
        key: &KeyPair,
        authority: PathBuf,
        issuer: Arc<Issuer<'static, KeyPair>>,
    ) -> io::Result<Self> {
        let certificate =
            server().and_then(|server| server.signed_by(key, &issuer)).map_err(io::Error::other)?;
        let files = Self {
            authority,
            certificate: folder.join(format!("{name}certificate.pem")),
            key: folder.join(format!("{name}key.pem")),
            fingerprint: hexadecimal(digest(&SHA256, certificate.der()).as_ref()),
            issuer,
        };
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
