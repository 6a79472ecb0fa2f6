//! The PROXY protocol, versions 1 and 2: who the client of a balancer is.
//!
//! A [`Header`] is what either version can say; [`look`] finds one at the front of some input, and
//! [`Header::write`] puts one, of version 2, in front of some output.
//!
//! Not here: whom to believe, and how long to wait (`session/balancer.rs`).
//! Invariants: a header is eaten exactly; nothing behind its end is looked at. What is found
//! depends on the octets alone and not on how they were cut: more input never makes another
//! outcome of one that is not [`Look::Incomplete`].
//! Read next: `v1.rs`, `v2.rs`, `fields.rs`.

mod fields;
mod v1;
mod v2;
mod write;

pub(crate) use self::write::write_local;

use alloc::boxed::Box;
use alloc::string::String;
use core::net::SocketAddr;

use crate::close::HeaderFault;
use crate::origin::FrontTls;

/// Octets of a header of version 1, its line end included.
pub const V1_MAX: usize = 107;

/// Octets of a header of version 2 behind the first 16: addresses and fields.
pub const V2_CONTENT_MAX: usize = 4096;

/// Octets of a header of either version.
pub const HEADER_MAX: usize = v2::FIXED + V2_CONTENT_MAX;

/// What a header says. One of version 1 has addresses only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    /// The client, and the address that it connected to; none: the socket's own addresses count,
    /// as for a balancer that speaks for itself.
    pub addresses: Option<(SocketAddr, SocketAddr)>,
    /// The application protocol that was agreed with the client.
    pub alpn: Option<Box<[u8]>>,
    /// The host that the client asked for, in small letters.
    pub authority: Option<String>,
    /// What the connection is called, at most [`fields::UNIQUE_ID_MAX`] octets.
    pub unique_id: Option<Box<[u8]>>,
    /// TLS with the client; none: there was none, or nothing is said of it.
    pub tls: Option<FrontTls>,
    /// How many proxies the connection may still pass through: a field of our own.
    pub ttl: Option<u8>,
}

/// What stands at the front of some input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// It may become a header.
    Incomplete,
    /// A header.
    Found {
        /// Its length.
        octets: usize,
        /// What it says.
        header: Box<Header>,
    },
    /// No header of either version: its first octets say so.
    Absent,
    /// It begins as a header does, and is none.
    Broken(HeaderFault),
}

/// Looks for a header at the front of the input.
pub fn look(input: &[u8]) -> Look {
    let begins = |signature: &[u8]| {
        let shared = signature.len().min(input.len());
        (input[..shared] == signature[..shared]).then_some(shared == signature.len())
    };
    match (begins(v1::SIGNATURE), begins(v2::SIGNATURE)) {
        (Some(true), _) => v1::look(input),
        (_, Some(true)) => v2::look(input),
        (Some(false), _) | (_, Some(false)) => Look::Incomplete,
        (None, None) => Look::Absent,
    }
}

#[cfg(test)]
mod tests;
