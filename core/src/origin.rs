//! Who the client is, as far as is known and believed.
//!
//! An [`Origin`] begins with what the socket knows ([`crate::Peer`]), and is replaced by what
//! somebody in front of us says who is trusted: a balancer's PROXY header, or a proxy's ID or
//! XCLIENT. Limits, the question where an account lives, the log and what backends are told are
//! all made from it.
//!
//! Not here: who is trusted. Invariant: that is judged by [`Origin::peer`], which is never
//! replaced, so that nobody can earn trust by what he says.
//! Read next: `session/mod.rs`, which holds one; `forward.rs`, which passes it on.

use alloc::boxed::Box;
use alloc::string::String;
use core::net::SocketAddr;

use crate::contract::Peer;

/// Who the client is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// What the socket knows, whatever else is said.
    pub peer: Peer,
    /// The client's address.
    pub client: SocketAddr,
    /// The address that the client connected to.
    pub local: SocketAddr,
    /// The two ends as a balancer's PROXY header names them, where one did.
    pub header: Option<Peer>,
    /// How many proxies a login may still pass through, where one in front of us said so.
    pub ttl: Option<u8>,
    /// The client's TLS, where it ended in front of us.
    pub tls: Option<FrontTls>,
    /// The name that the client asked for there.
    pub server_name: Option<String>,
    /// The application protocol that was agreed there.
    pub alpn: Option<Box<[u8]>>,
    /// What the session is called there; opaque, to be escaped by whoever prints it.
    pub session: Option<Box<[u8]>>,
}

/// TLS that ended in front of us, as far as it was described.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FrontTls {
    /// For example `TLSv1.3`.
    pub version: Option<String>,
    /// The cipher suite's name.
    pub cipher: Option<String>,
    /// The certificate that the client presented.
    pub certificate: Option<FrontCertificate>,
}

/// A client's certificate, as somebody in front of us describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FrontCertificate {
    /// Whether it was presented on this connection, and not in an earlier one of its session.
    pub presented_here: bool,
    /// Whether it was found to be valid.
    pub verified: bool,
    /// The common name in it; worth nothing unless it was verified.
    pub common_name: Option<String>,
    /// How it is signed, for example `RSA-SHA256`.
    pub signature: Option<String>,
    /// Its key, for example `RSA2048`.
    pub key: Option<String>,
}

impl From<Peer> for Origin {
    fn from(peer: Peer) -> Self {
        let Peer { client, local } = peer;
        Self {
            peer,
            client,
            local,
            header: None,
            ttl: None,
            tls: None,
            server_name: None,
            alpn: None,
            session: None,
        }
    }
}
