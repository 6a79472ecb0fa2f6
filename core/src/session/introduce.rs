//! A trusted proxy introduces its client.
//!
//! What it tells replaces what was known of the client: for the log, the question where an account
//! lives, and what backends are told. It does not replace what the connection is: its place among
//! the listener's connections was given by the address that it came with, and whether passwords
//! may be sent on it is decided by its own TLS, whatever the client's transport is said to be.
//!
//! Invariant: what was told before TLS is forgotten when TLS is up.

use alloc::boxed::Box;
use alloc::string::{String, ToString};

use super::Session;
use crate::config::{Destination, Listener};
use crate::contract::{Note, Outbox, Peer, TlsFacts};
use crate::forward::Identity;
use crate::introduction::Introduction;
use crate::origin::{FrontTls, Origin};
use crate::proxy_protocol::Header;

/// What a trusted proxy told, and who the client was before.
#[derive(Debug)]
pub(super) struct Introduced {
    before: Origin,
    told: Introduction,
}

/// With fewer proxies left to pass through, the next one would have to refuse the login.
const TTL_MIN: u8 = 2;

/// Whether the other side of a connection may say who its client is.
pub(super) fn is_trusted(listener: &Listener, peer: Peer) -> bool {
    let address = peer.client.ip();
    listener.forwarding_trusted.iter().any(|range| range.contains(address))
}

/// TLS on this connection, as it is told.
fn described(facts: &TlsFacts) -> FrontTls {
    FrontTls {
        version: Some(facts.version.to_string()),
        cipher: Some(facts.cipher.to_string()),
        certificate: None,
    }
}

impl Session {
    /// Believes what was told.
    pub(super) fn introduce(&mut self, told: Introduction, out: &mut Outbox) {
        let leg = self.client_tls.as_ref().map(described);
        let introduced = self.introduced.get_or_insert_with(|| {
            Box::new(Introduced { before: self.origin.clone(), told: Introduction::default() })
        });
        introduced.told.absorb(told);
        let Introduced { before, told } = &**introduced;
        let session = told.session.as_ref().map(|name| Box::from(name.as_bytes()));
        self.origin = Origin {
            client: told.client().unwrap_or(before.client),
            local: told.local().unwrap_or(before.local),
            ttl: told.ttl.or(before.ttl),
            tls: match told.client_tls {
                Some(true) => Some(before.tls.clone().unwrap_or_default()),
                Some(false) => None,
                None => before.tls.clone().or(leg),
            },
            server_name: told.server_name.clone(),
            session: session.or_else(|| before.session.clone()),
            ..before.clone()
        };
        out.notes.push(Note::Origin(Box::new(self.origin.clone())));
    }

    /// TLS is up, and nobody knows who spoke before it.
    pub(super) fn forget_introduction(&mut self, out: &mut Outbox) {
        if let Some(introduced) = self.introduced.take() {
            self.origin = introduced.before;
            out.notes.push(Note::Origin(Box::new(self.origin.clone())));
        }
    }

    /// What TLS on this connection says of the client; nothing, where a proxy has the connection.
    pub(super) fn client_tls(&self) -> Option<&TlsFacts> {
        self.client_tls.as_ref().filter(|_| self.introduced.is_none())
    }

    /// How many proxies the next one may count, itself included; none: the login goes in circles.
    /// Each referral that was followed is one more hop on the way.
    pub(super) fn ttl_beyond(&self, destination: &Destination, referrals: u8) -> Option<u8> {
        let ttl = self.origin.ttl.unwrap_or(destination.proxy_ttl).saturating_sub(referrals);
        (ttl >= TTL_MIN).then(|| ttl - 1)
    }

    /// What a backend is told of the client.
    pub(super) fn identity(&self, destination: &Destination, referrals: u8) -> Identity {
        // With a balancer in between, the handshake here was the balancer's.
        let tls = self.client_tls();
        let asked_here = tls.and_then(|facts| facts.server_name.as_ref());
        Identity {
            client: self.origin.client,
            local: self.origin.local,
            ttl: self.ttl_beyond(destination, referrals).unwrap_or(0),
            session: self.session_name(),
            client_tls: tls.is_some() || self.origin.tls.is_some(),
            server_name: self.origin.server_name.as_ref().or(asked_here).cloned(),
        }
    }

    /// The same as a header of the PROXY protocol.
    pub(super) fn proxy_header(&self, destination: &Destination, referrals: u8) -> Header {
        let identity = self.identity(destination, referrals);
        let tls = self.client_tls();
        let agreed_here = tls.and_then(|facts| facts.alpn.as_ref());
        Header {
            addresses: Some((identity.client, identity.local)),
            alpn: self.origin.alpn.as_ref().or(agreed_here).cloned(),
            authority: identity.server_name,
            unique_id: Some(identity.session.into_bytes().into()),
            tls: self.origin.tls.clone().or_else(|| tls.map(described)),
            ttl: Some(identity.ttl),
        }
    }

    /// What the session is called at the proxy that introduced its client, or else our name.
    fn session_name(&self) -> String {
        let told = self.introduced.as_ref().and_then(|introduced| introduced.told.session.clone());
        told.unwrap_or_else(|| self.id.to_string())
    }
}
