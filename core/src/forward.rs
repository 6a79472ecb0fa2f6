//! Telling a backend who the client is.
//!
//! One [`Identity`] is collected for each attempt; each protocol writes it in its own form: IMAP
//! as fields of ID ([`Identity::id_fields`]), the others as attributes of XCLIENT
//! ([`Identity::xclient_attributes`], [`xclient_commands`]). Names are Dovecot's, which other
//! servers have taken over. What a client says of itself under these names is dropped where it is
//! read (`imap/command.rs`): the backend trusts our address, so nobody may speak through us.

use alloc::format;
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
        fields.push(("x-client-transport", self.transport().to_string()));
        if let Some(name) = &self.server_name {
            fields.push(("x-connected-name", name.clone()));
        }
        fields
    }

    /// The attributes of an XCLIENT command, names and values. `v6_prefix` stands before addresses
    /// of version 6, where a protocol's backends expect one.
    pub(crate) fn xclient_attributes(&self, v6_prefix: &str) -> Vec<(&'static str, String)> {
        let address = |address: SocketAddr| match address.ip().to_canonical() {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("{v6_prefix}{v6}"),
        };
        [
            ("ADDR", address(self.client)),
            ("PORT", self.client.port().to_string()),
            ("DESTADDR", address(self.local)),
            ("DESTPORT", self.local.port().to_string()),
            ("SESSION", self.session.to_string()),
            ("TTL", self.ttl.to_string()),
            ("CLIENT-TRANSPORT", self.transport().to_string()),
        ]
        .to_vec()
    }

    const fn transport(&self) -> &'static str {
        if self.client_tls { "TLS" } else { "insecure" }
    }
}

/// Octets of an XCLIENT command, its line end included, stay below this.
const XCLIENT_LINE_MAX: usize = 512;

/// XCLIENT with these attributes, as commands without their line ends. Where one command cannot
/// hold them, the first attributes go last: with ADDR a backend may stop to trust the sender.
pub(crate) fn xclient_commands(attributes: &[(&str, String)]) -> Vec<Vec<u8>> {
    let empty = b"XCLIENT".len();
    let mut commands = Vec::new();
    let mut command = b"XCLIENT".to_vec();
    for (name, value) in attributes {
        let mut attribute = [b" ", name.as_bytes(), b"="].concat();
        write_xtext(value.as_bytes(), &mut attribute);
        let end = attribute.len() + b"\r\n".len();
        if command.len() > empty && command.len() + end >= XCLIENT_LINE_MAX {
            commands.push(core::mem::replace(&mut command, b"XCLIENT".to_vec()));
        }
        if command.len() + end < XCLIENT_LINE_MAX {
            command.extend_from_slice(&attribute);
        }
    }
    if command.len() > empty {
        commands.push(command);
    }
    commands.reverse();
    commands
}

/// RFC 3461 §4: what is no visible character, and the plus and equals signs, in hexadecimal.
fn write_xtext(value: &[u8], out: &mut Vec<u8>) {
    const DIGITS: [u8; 16] = *b"0123456789ABCDEF";
    for &octet in value {
        if octet.is_ascii_graphic() && !matches!(octet, b'+' | b'=') {
            out.push(octet);
        } else {
            let (high, low) = (usize::from(octet >> 4), usize::from(octet & 15));
            out.extend_from_slice(&[b'+', DIGITS[high], DIGITS[low]]);
        }
    }
}

/// An address as text; one that is v4 in v6 clothes is written as v4.
fn ip(address: SocketAddr) -> String {
    address.ip().to_canonical().to_string()
}

/// The PROXY protocol's header, version 2, for a connection that the proxy makes for itself.
pub(crate) fn proxy_v2_local() -> Vec<u8> {
    const VERSION_2_LOCAL: u8 = 0x20;
    const UNSPEC: u8 = 0;
    let mut header = SIGNATURE.to_vec();
    header.extend_from_slice(&[VERSION_2_LOCAL, UNSPEC, 0, 0]);
    header
}

/// How a header of version 2 begins.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The PROXY protocol's header, version 2 (without TLVs), for a connection between two addresses.
/// Unlike families are written as v6, the v4 one mapped, so that neither is misrepresented.
pub(crate) fn proxy_v2_header(client: SocketAddr, local: SocketAddr) -> Vec<u8> {
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

    #[test]
    fn xclient_is_one_command_as_long_as_it_fits() {
        let attributes = [("ADDR", "2001:db8::1".to_string()), ("HELO", "a+b=c é".to_string())];
        assert_eq!(
            xclient_commands(&attributes),
            [b"XCLIENT ADDR=2001:db8::1 HELO=a+2Bb+3Dc+20+C3+A9"]
        );
        assert!(xclient_commands(&[]).is_empty());
        for length in 486..=496 {
            let command = ("ADDR", "a".to_string());
            let commands = xclient_commands(&[command, ("HELO", "x".repeat(length))]);
            assert_eq!(commands.len(), if length <= 489 { 1 } else { 2 }, "{length}");
            assert!(commands.iter().all(|command| command.len() + 2 < XCLIENT_LINE_MAX));
            assert!(commands.last().expect("one").starts_with(b"XCLIENT ADDR=a"), "{length}");
        }
        assert_eq!(xclient_commands(&[("HELO", "x".repeat(497))]), [[0_u8; 0]; 0]);
    }

    #[test]
    fn addresses_in_xclient_are_canonical() {
        let identity = Identity {
            client: address("[::ffff:192.0.2.7]:1"),
            local: address("[2001:db8::1]:110"),
            ttl: 6,
            session: SessionId(0xa1),
            client_tls: true,
            server_name: None,
        };
        let attributes = identity.xclient_attributes("IPV6:");
        assert_eq!(attributes[0], ("ADDR", "192.0.2.7".to_string()));
        assert_eq!(attributes[2], ("DESTADDR", "IPV6:2001:db8::1".to_string()));
        assert_eq!(identity.xclient_attributes("")[2].1, "2001:db8::1");
    }
}
