//! Telling a backend who the client is.
//!
//! One [`Identity`] is collected for each attempt; each protocol writes it in its own form: IMAP
//! as fields of ID, here as [`Identity::id_fields`]. Field names are Dovecot's, which other servers
//! have taken over. What a client says of itself under these names is dropped where it is read
//! (`imap/command.rs`): the backend trusts our address, so nobody may speak through us.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use crate::contract::SessionId;

/// What a backend may know of the client.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) client: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) ttl: u8,
    pub(crate) session: SessionId,
    pub(crate) client_tls: bool,
    /// The name that the client asked for in its TLS handshake.
    pub(crate) server_name: Option<String>,
}

impl Identity {
    /// The fields of an IMAP ID command, names and values.
    pub(crate) fn id_fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = Vec::with_capacity(8);
        fields.push(("x-originating-ip", ip(self.client)));
        fields.push(("x-originating-port", self.client.port().to_string()));
        fields.push(("x-connected-ip", ip(self.local)));
        fields.push(("x-connected-port", self.local.port().to_string()));
        fields.push(("x-proxy-ttl", self.ttl.to_string()));
        fields.push(("x-session-id", self.session.to_string()));
        let transport = if self.client_tls { "TLS" } else { "insecure" };
        fields.push(("x-client-transport", transport.to_string()));
        if let Some(name) = &self.server_name {
            fields.push(("x-connected-name", name.clone()));
        }
        fields
    }
}

/// An address as text; one that is v4 in v6 clothes is written as v4.
fn ip(address: SocketAddr) -> String {
    address.ip().to_canonical().to_string()
}

/// The PROXY protocol's header, version 2 (without TLVs), for a connection between two addresses.
/// Unlike families are written as v6, the v4 one mapped, so that neither is misrepresented.
pub(crate) fn proxy_v2_header(client: SocketAddr, local: SocketAddr) -> Vec<u8> {
    const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
    const VERSION_2_PROXY: u8 = 0x21;
    const TCP_OVER_V4: u8 = 0x11;
    const TCP_OVER_V6: u8 = 0x21;

    let mut header = SIGNATURE.to_vec();
    header.push(VERSION_2_PROXY);
    match (client.ip().to_canonical(), local.ip().to_canonical()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            header.extend_from_slice(&[TCP_OVER_V4, 0, 12]);
            header.extend_from_slice(&from.octets());
            header.extend_from_slice(&to.octets());
        }
        (from, to) => {
            header.extend_from_slice(&[TCP_OVER_V6, 0, 36]);
            header.extend_from_slice(&v6_octets(from));
            header.extend_from_slice(&v6_octets(to));
        }
    }
    header.extend_from_slice(&client.port().to_be_bytes());
    header.extend_from_slice(&local.port().to_be_bytes());
    header
}

fn v6_octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_v4_header_is_28_octets() {
        let header = proxy_v2_header(address("192.0.2.7:50123"), address("198.51.100.1:143"));
        assert_eq!(
            header,
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\xc3\xcb\0\x8f"
        );
    }

    #[test]
    fn unlike_families_travel_as_v6() {
        let header = proxy_v2_header(address("192.0.2.7:1"), address("[2001:db8::1]:2"));
        assert_eq!(header[12..16], [0x21, 0x21, 0, 36]);
        assert_eq!(header[16..32], *b"\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\x02\x07");
        assert_eq!(header.len(), 52);
        let mapped = proxy_v2_header(address("[::ffff:192.0.2.7]:1"), address("192.0.2.8:2"));
        assert_eq!(mapped[13], 0x11);
    }
}
