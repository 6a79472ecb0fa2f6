//! What TLS on a leg agreed on, and what may go wrong with it, as data.
//!
//! Not the texts a client hears, nor whether to try again: the core judges that from the class.
//! rustls' own error is mapped here, once, and does not leave the leg. Next: `tls_layer.rs`.

use std::fmt;
use std::io;

use rustls::{
    AlertDescription, CertificateError, CommonState, Error, HandshakeKind, ProtocolVersion,
};

use crate::tls::PinMismatch;

/// The version of TLS a handshake ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TlsVersion {
    Tls12,
    Tls13,
}

/// What a finished handshake agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsUp {
    pub(crate) version: TlsVersion,
    /// IANA's name, such as `TLS_AES_128_GCM_SHA256`.
    pub(crate) suite: &'static str,
    /// In the server's role: the name the client asked for, in lower case.
    pub(crate) sni: Option<String>,
    pub(crate) alpn: Option<Vec<u8>>,
    /// Whether an earlier session was resumed, so that no certificate was shown.
    pub(crate) resumed: bool,
}

impl TlsUp {
    pub(super) fn of(state: &CommonState, sni: Option<String>) -> Self {
        let version = match state.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => TlsVersion::Tls12,
            Some(_) | None => TlsVersion::Tls13,
        };
        let suite = state.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
        Self {
            version,
            suite: iana_name(suite.unwrap_or("unknown")),
            sni,
            alpn: state.alpn_protocol().map(<[u8]>::to_vec),
            resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }
}

/// rustls calls the suites of TLS 1.3 `TLS13_…`, IANA and everybody else `TLS_…`.
fn iana_name(name: &'static str) -> &'static str {
    match name {
        "TLS13_AES_128_GCM_SHA256" => "TLS_AES_128_GCM_SHA256",
        "TLS13_AES_256_GCM_SHA384" => "TLS_AES_256_GCM_SHA384",
        "TLS13_CHACHA20_POLY1305_SHA256" => "TLS_CHACHA20_POLY1305_SHA256",
        other => other,
    }
}

/// Why TLS on a leg did not come up, or broke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TlsFault {
    /// The peer's certificate is not one we accept.
    Certificate(CertificateFault),
    /// The two sides have no ALPN protocol in common.
    Alpn,
    /// The two sides have no version, suite or extension in common.
    Incompatible(String),
    /// What arrived is not TLS, or breaks its rules.
    Protocol(String),
    /// The peer refused, with the alert of this name.
    Alert(String),
    /// The peer closed the connection before TLS was up.
    PeerClosed,
    /// The connection broke before TLS was up.
    Io(io::ErrorKind),
}

/// Why a peer's certificate is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CertificateFault {
    UnknownIssuer,
    Expired,
    NotYetValid,
    NameMismatch,
    /// None of the destination's pins is the certificate's.
    PinMismatch,
    Revoked,
    Other(String),
}

impl fmt::Display for CertificateFault {
    /// One word for each fault that has a name, for the log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownIssuer => "unknown-issuer",
            Self::Expired => "expired",
            Self::NotYetValid => "not-yet-valid",
            Self::NameMismatch => "name-mismatch",
            Self::PinMismatch => "pin-mismatch",
            Self::Revoked => "revoked",
            Self::Other(what) => what,
        })
    }
}

impl From<&Error> for TlsFault {
    fn from(error: &Error) -> Self {
        if let Error::InvalidCertificate(fault) = error {
            return Self::Certificate(fault.into());
        }
        if let Error::AlertReceived(alert) = error {
            return if *alert == AlertDescription::NoApplicationProtocol {
                Self::Alpn
            } else {
                Self::Alert(format!("{alert:?}"))
            };
        }
        if *error == Error::NoApplicationProtocol {
            return Self::Alpn;
        }
        if let Error::PeerIncompatible(why) = error {
            return Self::Incompatible(format!("{why:?}"));
        }
        Self::Protocol(error.to_string())
    }
}

impl From<&CertificateError> for CertificateFault {
    fn from(error: &CertificateError) -> Self {
        use CertificateError as E;
        if let E::Other(other) = error
            && other.0.downcast_ref::<PinMismatch>().is_some()
        {
            return Self::PinMismatch;
        }
        if matches!(error, E::UnknownIssuer) {
            return Self::UnknownIssuer;
        }
        if matches!(error, E::Expired | E::ExpiredContext { .. }) {
            return Self::Expired;
        }
        if matches!(error, E::NotValidYet | E::NotValidYetContext { .. }) {
            return Self::NotYetValid;
        }
        if matches!(error, E::NotValidForName | E::NotValidForNameContext { .. }) {
            return Self::NameMismatch;
        }
        if matches!(error, E::Revoked) {
            return Self::Revoked;
        }
        Self::Other(error.to_string())
    }
}
