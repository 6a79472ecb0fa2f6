//! Telling a backend who the client is.
//!
//! One [`Identity`] is collected for each attempt; each protocol writes it in its own form: IMAP
//! as fields of ID ([`Identity::id_fields`]), the others as attributes of XCLIENT
//! ([`Identity::xclient_attributes`], [`xclient_commands`]); a header of the PROXY protocol is
//! `proxy_protocol`'s. Names are Dovecot's, which other
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

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
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
