//! Headers of version 2, as they are sent.
//!
//! Invariant: what is written is read by `v2.rs` as what was meant. For that, what is
//! empty or longer than its field may be is left out.

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use super::{Header, fields, v2};
use crate::origin::{FrontCertificate, FrontTls};

/// Writes a header of version 2 for a connection that the proxy makes for itself.
pub(crate) fn write_local(out: &mut Vec<u8>) {
    out.extend_from_slice(v2::SIGNATURE);
    out.extend_from_slice(&[v2::VERSION_2_LOCAL, v2::UNSPECIFIED, 0, 0]);
}

impl Header {
    /// Writes it as a header of version 2. Addresses of unlike families are written as v6, the v4
    /// one mapped, so that neither is misrepresented.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(v2::SIGNATURE);
        out.push(v2::VERSION_2_PROXY);
        let content = match self.addresses {
            None => {
                out.push(v2::UNSPECIFIED);
                Vec::new()
            }
            Some((client, local)) => write_addresses(client, local, out),
        };
        let content = self.write_fields(content);
        out.extend_from_slice(&length(&content));
        out.extend_from_slice(&content);
    }

    fn write_fields(&self, mut out: Vec<u8>) -> Vec<u8> {
        if let Some(name) = &self.alpn {
            field(fields::ALPN, name, fields::ALPN_MAX, &mut out);
        }
        if let Some(name) = &self.authority {
            field(fields::AUTHORITY, name.as_bytes(), fields::AUTHORITY_MAX, &mut out);
        }
        if let Some(name) = &self.unique_id {
            field(fields::UNIQUE_ID, name, fields::UNIQUE_ID_MAX, &mut out);
        }
        if let Some(tls) = &self.tls {
            let content = tls_content(tls);
            field(fields::SSL, &content, content.len(), &mut out);
        }
        if let Some(ttl) = self.ttl {
            field(fields::TTL, &[ttl], 1, &mut out);
        }
        out
    }
}

/// Writes the family, and gives the addresses in its form.
fn write_addresses(client: SocketAddr, local: SocketAddr, out: &mut Vec<u8>) -> Vec<u8> {
    let mut content = Vec::with_capacity(v2::V6_OCTETS);
    match (client.ip().to_canonical(), local.ip().to_canonical()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            out.push(v2::TCP_OVER_V4);
            content.extend_from_slice(&from.octets());
            content.extend_from_slice(&to.octets());
        }
        (from, to) => {
            out.push(v2::TCP_OVER_V6);
            content.extend_from_slice(&v6_octets(from));
            content.extend_from_slice(&v6_octets(to));
        }
    }
    content.extend_from_slice(&client.port().to_be_bytes());
    content.extend_from_slice(&local.port().to_be_bytes());
    content
}

fn v6_octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// The bits, the verdict on the certificate (0 is a good one), and what is known beyond that.
fn tls_content(tls: &FrontTls) -> Vec<u8> {
    let certificate = tls.certificate.as_ref();
    let bits = match certificate {
        None => fields::CLIENT_SSL,
        Some(FrontCertificate { presented_here: true, .. }) => {
            fields::CLIENT_SSL | fields::CLIENT_CERT_CONN | fields::CLIENT_CERT_SESS
        }
        Some(_) => fields::CLIENT_SSL | fields::CLIENT_CERT_SESS,
    };
    let invalid = certificate.is_some_and(|certificate| !certificate.verified);
    let mut out = [&[bits][..], &u32::from(invalid).to_be_bytes()].concat();
    let of = |text: fn(&FrontCertificate) -> &Option<alloc::string::String>| {
        certificate.and_then(|certificate| text(certificate).as_ref())
    };
    for (kind, text) in [
        (fields::SSL_VERSION, tls.version.as_ref()),
        (fields::SSL_COMMON_NAME, of(|it| &it.common_name)),
        (fields::SSL_CIPHER, tls.cipher.as_ref()),
        (fields::SSL_SIGNATURE, of(|it| &it.signature)),
        (fields::SSL_KEY, of(|it| &it.key)),
    ] {
        if let Some(text) = text {
            field(kind, text.as_bytes(), fields::TEXT_MAX, &mut out);
        }
    }
    out
}

/// Writes a field, if its value is one that such a field may have.
fn field(kind: u8, value: &[u8], octets_max: usize, out: &mut Vec<u8>) {
    if (1..=octets_max).contains(&value.len()) {
        out.push(kind);
        out.extend_from_slice(&length(value));
        out.extend_from_slice(value);
    }
}

/// A length in network order. What is written is bounded by [`super::HEADER_MAX`], so it fits.
fn length(content: &[u8]) -> [u8; 2] {
    debug_assert!(content.len() <= super::V2_CONTENT_MAX, "every field has its limit");
    u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes()
}
