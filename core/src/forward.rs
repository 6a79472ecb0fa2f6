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

/// What a backend may know of the client.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) client: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) ttl: u8,
    pub(crate) session: String,
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
        fields.push(("x-session-id", self.session.clone()));
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
            ("SESSION", self.session.clone()),
            ("TTL", self.ttl.to_string()),
            ("CLIENT-TRANSPORT", self.transport().to_string()),
        ]
        .to_vec()
    }

    const fn transport(&self) -> &'static str {
        if self.client_tls { "TLS" } else { "insecure" }
    }
}

/// The attributes among these that a backend announced: those whose names stand in its list. One
/// that announced the command without a list takes them all.
pub(crate) fn announced(
    mut attributes: Vec<(&'static str, String)>,
    list: &[u8],
) -> Vec<(&'static str, String)> {
    let names = || list.split(|&octet| octet == b' ').filter(|name| !name.is_empty());
    if names().next().is_some() {
        attributes.retain(|(name, _)| names().any(|it| it.eq_ignore_ascii_case(name.as_bytes())));
    }
    attributes
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
    use crate::introduction::Introduction;

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

    /// What is known of a client, and how it is said in ID, to Dovecot's XCLIENT and to Postfix's.
    struct Row {
        identity: Identity,
        id: &'static [(&'static str, &'static str)],
        dovecot: &'static str,
        postfix: &'static str,
    }

    const TABLE: fn() -> [Row; 3] = || {
        let four = Identity {
            client: address("192.0.2.7:50123"),
            local: address("198.51.100.1:993"),
            ttl: 6,
            session: "a+b=c".to_string(),
            client_tls: true,
            server_name: Some("mail.example.com".to_string()),
        };
        let six = Identity {
            client: address("[2001:db8::7]:1"),
            local: address("[2001:db8::1]:65535"),
            ttl: 254,
            client_tls: false,
            server_name: None,
            ..four.clone()
        };
        let mapped = Identity {
            client: address("[::ffff:192.0.2.7]:0"),
            local: address("[::ffff:198.51.100.1]:143"),
            ttl: 1,
            session: "00000000000000a1".to_string(),
            ..six.clone()
        };
        [
            Row {
                identity: four,
                id: &[
                    ("x-originating-ip", "192.0.2.7"),
                    ("x-originating-port", "50123"),
                    ("x-connected-ip", "198.51.100.1"),
                    ("x-connected-port", "993"),
                    ("x-proxy-ttl", "6"),
                    ("x-session-id", "a+b=c"),
                    ("x-client-transport", "TLS"),
                    ("x-connected-name", "mail.example.com"),
                ],
                dovecot: "XCLIENT ADDR=192.0.2.7 PORT=50123 DESTADDR=198.51.100.1 DESTPORT=993 \
                          SESSION=a+2Bb+3Dc TTL=6 CLIENT-TRANSPORT=TLS",
                postfix: "XCLIENT ADDR=192.0.2.7 PORT=50123 DESTADDR=198.51.100.1 DESTPORT=993 \
                          SESSION=a+2Bb+3Dc TTL=6 CLIENT-TRANSPORT=TLS",
            },
            Row {
                identity: six,
                id: &[
                    ("x-originating-ip", "2001:db8::7"),
                    ("x-originating-port", "1"),
                    ("x-connected-ip", "2001:db8::1"),
                    ("x-connected-port", "65535"),
                    ("x-proxy-ttl", "254"),
                    ("x-session-id", "a+b=c"),
                    ("x-client-transport", "insecure"),
                ],
                dovecot: "XCLIENT ADDR=2001:db8::7 PORT=1 DESTADDR=2001:db8::1 DESTPORT=65535 \
                          SESSION=a+2Bb+3Dc TTL=254 CLIENT-TRANSPORT=insecure",
                postfix: "XCLIENT ADDR=IPV6:2001:db8::7 PORT=1 DESTADDR=IPV6:2001:db8::1 \
                          DESTPORT=65535 SESSION=a+2Bb+3Dc TTL=254 CLIENT-TRANSPORT=insecure",
            },
            Row {
                identity: mapped,
                id: &[
                    ("x-originating-ip", "192.0.2.7"),
                    ("x-originating-port", "0"),
                    ("x-connected-ip", "198.51.100.1"),
                    ("x-connected-port", "143"),
                    ("x-proxy-ttl", "1"),
                    ("x-session-id", "00000000000000a1"),
                    ("x-client-transport", "insecure"),
                ],
                dovecot: "XCLIENT ADDR=192.0.2.7 PORT=0 DESTADDR=198.51.100.1 DESTPORT=143 \
                          SESSION=00000000000000a1 TTL=1 CLIENT-TRANSPORT=insecure",
                postfix: "XCLIENT ADDR=192.0.2.7 PORT=0 DESTADDR=198.51.100.1 DESTPORT=143 \
                          SESSION=00000000000000a1 TTL=1 CLIENT-TRANSPORT=insecure",
            },
        ]
    };

    #[test]
    fn every_field_is_said_in_every_form() {
        for Row { identity, id, dovecot, postfix } in TABLE() {
            let fields = identity.id_fields();
            assert!(fields.iter().map(|(name, value)| (*name, value.as_str())).eq(id.to_vec()));
            for (prefix, expected) in [("", dovecot), ("IPV6:", postfix)] {
                let commands = xclient_commands(&identity.xclient_attributes(prefix));
                assert_eq!(commands, [expected.as_bytes()]);
            }
        }
    }

    #[test]
    fn every_form_tells_the_next_proxy_the_same() {
        for Row { identity, .. } in TABLE() {
            let fields = identity.id_fields();
            let pairs =
                fields.iter().map(|(name, value)| (name.as_bytes(), Some(value.as_bytes())));
            let by_id = Introduction::from_id(pairs).expect("well-formed");
            assert_eq!(by_id.client(), Some(canonical(identity.client)));
            assert_eq!(by_id.local(), Some(canonical(identity.local)));
            assert_eq!(
                (by_id.ttl, by_id.client_tls),
                (Some(identity.ttl), Some(identity.client_tls))
            );
            assert_eq!(by_id.session.as_ref(), Some(&identity.session));
            assert_eq!(by_id.server_name, identity.server_name);
            for prefix in ["", "IPV6:"] {
                let command = xclient_commands(&identity.xclient_attributes(prefix)).remove(0);
                let told = Introduction::from_xclient(&command["XCLIENT ".len()..]);
                // XCLIENT has no word for the name that all backends know.
                let mut expected = by_id.clone();
                expected.server_name = None;
                assert_eq!(told, Ok(expected));
            }
        }
    }

    fn canonical(address: SocketAddr) -> SocketAddr {
        SocketAddr::new(address.ip().to_canonical(), address.port())
    }

    #[test]
    fn a_backend_is_told_what_it_lists() {
        let attributes = || [("ADDR", "a".to_string()), ("TTL", "6".to_string())].to_vec();
        assert_eq!(announced(attributes(), b""), attributes());
        assert_eq!(announced(attributes(), b" "), attributes());
        assert_eq!(announced(attributes(), b"PORT ttl TTLS"), [("TTL", "6".to_string())]);
        assert!(announced(attributes(), b"ADDRESS").is_empty());
    }
}
