//! The keys of a listener that concern balancers in front of it: PROXY headers and TLS under them.
//!
//! Not here: the header itself, see `proxy_protocol`.
//! Invariant: nobody is trusted but who is named. TLS under the header is never inherited.
//! Read next: `listener`.

use alloc::{string::String, vec::Vec};
use core::net::IpAddr;

use super::{
    address::{Cidr, cidr},
    choice::Choice,
    listener::certificate,
    reader::{Section, Value},
};

/// What a listener expects of balancers in front of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balancers {
    /// Whether nobody is served without a header; otherwise who sends none is served as the client
    /// that it seems to be.
    pub required: bool,
    /// Addresses whose headers are believed; empty: nobody's.
    pub trusted: Vec<Cidr>,
    /// Name of the certificate for TLS under the header; none: the header is the connection's first
    /// octet.
    pub tls: Option<String>,
}

impl Balancers {
    /// Whether a header from a socket's address is believed.
    pub fn trust(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|range| range.contains(address))
    }
}

#[derive(Clone, Copy, PartialEq)]
enum ProxyHeader {
    Off,
    Optional,
    Required,
}

impl Choice for ProxyHeader {
    const NAMES: &'static [(&'static str, Self)] =
        &[("off", Self::Off), ("optional", Self::Optional), ("required", Self::Required)];
}

/// Reads what a listener says of balancers; none: it expects none.
pub(super) fn read(section: &Section<'_>, certificates: &[String]) -> Option<Balancers> {
    let header = section.or("proxy_protocol", ProxyHeader::Off, |value| value.choice());
    let trusted = section.optional("proxy_trusted", |value: &Value<'_>| value.list(cidr));
    let tls = section.optional("proxy_tls", |name| certificate(name, certificates));
    if header == ProxyHeader::Off {
        for key in ["proxy_trusted", "proxy_tls"].into_iter().filter(|key| section.holds(key)) {
            let remedy = "set proxy_protocol to \"required\" or \"optional\", or remove it";
            section.warning(&[key], "has no effect, since proxy_protocol is off", remedy);
        }
        return None;
    }
    if !section.holds("proxy_trusted") {
        let problem = "needs proxy_trusted, or anybody could claim any address";
        let remedy = "list the balancers' addresses, such as proxy_trusted = [\"192.0.2.10\"]";
        section.fault(&["proxy_protocol"], problem, remedy);
    }
    let trusted = trusted.unwrap_or_default();
    if section.holds("proxy_trusted") && trusted.is_empty() {
        let problem = match header {
            ProxyHeader::Required => "trusts nobody, and so nobody is served here",
            ProxyHeader::Off | ProxyHeader::Optional => "trusts nobody, and so no header counts",
        };
        section.warning(&["proxy_trusted"], problem, "list the balancers' addresses");
    }
    Some(Balancers { required: header == ProxyHeader::Required, trusted, tls })
}
