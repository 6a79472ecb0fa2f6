//! What a proxy in front tells of its client.
//!
//! A proxy that is trusted by its socket's address introduces its client before it logs it in: on
//! IMAP by fields of ID, elsewhere by attributes of XCLIENT. This reads both into one value. Not
//! here: whom to believe and when, which the frontends decide, and what follows from it, which is
//! the session's; how a backend is told the same is `forward`'s.
//!
//! Invariants: a command counts whole or not at all; nothing that is taken holds a control
//! character or a space; no field lets anybody log in, and none says that credentials may travel.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

/// Octets of a session's name; a longer one is not taken.
const SESSION_MAX: usize = 64;

/// Octets of the name that the client asked for in its handshake, or said in EHLO.
const NAME_MAX: usize = 255;

/// Octets of an attribute's name.
const ATTRIBUTE_MAX: usize = 32;

/// The attributes of XCLIENT that are worth sending to us.
pub(crate) const ANNOUNCED: &str =
    "ADDR PORT DESTADDR DESTPORT SESSION TTL CLIENT-TRANSPORT DESTNAME";

/// Those that only submission knows.
pub(crate) const ANNOUNCED_OF_SUBMISSION: &str = "HELO PROTO";

/// What was told; what was not is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Introduction {
    client_ip: Option<IpAddr>,
    client_port: Option<u16>,
    local_ip: Option<IpAddr>,
    local_port: Option<u16>,
    /// Proxies that the login may still pass through, this one counted.
    pub(crate) ttl: Option<u8>,
    /// The session's name at that proxy.
    pub(crate) session: Option<String>,
    /// Whether the client itself spoke TLS.
    pub(crate) client_tls: Option<bool>,
    /// The name that the client asked for in its TLS handshake.
    pub(crate) server_name: Option<String>,
    /// What the client said in EHLO or HELO.
    pub(crate) hello: Option<Vec<u8>>,
    /// `SMTP` or `ESMTP`.
    pub(crate) hello_protocol: Option<&'static str>,
}

/// A command that introduces nobody: its form, or one of its values, is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

#[derive(Debug, Clone, Copy)]
enum Field {
    ClientIp,
    ClientPort,
    LocalIp,
    LocalPort,
    Ttl,
    Session,
    Transport,
    ServerName,
    Hello,
    HelloProtocol,
}

/// Fields of ID, as Dovecot names them.
const ID_FIELDS: [(&str, Field); 9] = [
    ("x-originating-ip", Field::ClientIp),
    ("x-originating-port", Field::ClientPort),
    ("x-connected-ip", Field::LocalIp),
    ("x-connected-port", Field::LocalPort),
    ("x-proxy-ttl", Field::Ttl),
    ("x-session-id", Field::Session),
    ("x-session-ext-id", Field::Session),
    ("x-client-transport", Field::Transport),
    ("x-connected-name", Field::ServerName),
];

/// Attributes of XCLIENT, as Postfix and Dovecot name them.
const ATTRIBUTES: [(&str, Field); 10] = [
    ("ADDR", Field::ClientIp),
    ("PORT", Field::ClientPort),
    ("DESTADDR", Field::LocalIp),
    ("DESTPORT", Field::LocalPort),
    ("TTL", Field::Ttl),
    ("SESSION", Field::Session),
    ("CLIENT-TRANSPORT", Field::Transport),
    ("DESTNAME", Field::ServerName),
    ("HELO", Field::Hello),
    ("PROTO", Field::HelloProtocol),
];

/// A field's name, and its value if it has one.
type Pair<'a> = (&'a [u8], Option<&'a [u8]>);

impl Introduction {
    /// Reads the fields of an ID command that only a proxy may send. Those that are not known here
    /// say nothing, and so does one without a value.
    pub(crate) fn from_id<'a>(fields: impl Iterator<Item = Pair<'a>>) -> Result<Self, Malformed> {
        let mut told = Self::default();
        let mut seen = 0_u32;
        for (name, value) in fields {
            let Some(field) = find(&ID_FIELDS, name, &mut seen)? else { continue };
            if let Some(value) = value {
                told.set(field, value).ok_or(Malformed)?;
            }
        }
        Ok(told)
    }

    /// Reads what follows XCLIENT and a space: attributes, each with an equals sign and its value
    /// in xtext (RFC 3461 §4), a space between two. Of attributes that are not known here (NAME,
    /// LOGIN, FORWARD and whatever may come) only the form counts: nobody is logged in by one.
    pub(crate) fn from_xclient(arguments: &[u8]) -> Result<Self, Malformed> {
        let mut told = Self::default();
        let mut seen = 0_u32;
        for attribute in arguments.split(|&octet| octet == b' ') {
            let equals = memchr::memchr(b'=', attribute).ok_or(Malformed)?;
            let (name, value) = (&attribute[..equals], &attribute[equals + 1..]);
            if !is_attribute_name(name) || !value.iter().all(u8::is_ascii_graphic) {
                return Err(Malformed);
            }
            let Some(field) = find(&ATTRIBUTES, name, &mut seen)? else { continue };
            if is_unknown(value) {
                continue;
            }
            let decoded = match (field, decode_xtext(value)) {
                (_, Some(decoded)) => decoded,
                // Dovecot's session names may hold a plus sign, and it writes them as they are.
                (Field::Session, None) => value.to_vec(),
                (_, None) => return Err(Malformed),
            };
            told.set(field, &decoded).ok_or(Malformed)?;
        }
        Ok(told)
    }

    /// Adds what a later command told, which goes before what was told already.
    pub(crate) fn absorb(&mut self, later: Self) {
        let earlier = core::mem::take(self);
        *self = Self {
            client_ip: later.client_ip.or(earlier.client_ip),
            client_port: later.client_port.or(earlier.client_port),
            local_ip: later.local_ip.or(earlier.local_ip),
            local_port: later.local_port.or(earlier.local_port),
            ttl: later.ttl.or(earlier.ttl),
            session: later.session.or(earlier.session),
            client_tls: later.client_tls.or(earlier.client_tls),
            server_name: later.server_name.or(earlier.server_name),
            hello: later.hello.or(earlier.hello),
            hello_protocol: later.hello_protocol.or(earlier.hello_protocol),
        };
    }

    /// The client's address, if it was told. A port that was not is 0: that of the proxy's own
    /// connection would be another one's.
    pub(crate) fn client(&self) -> Option<SocketAddr> {
        self.client_ip.map(|ip| SocketAddr::new(ip, self.client_port.unwrap_or(0)))
    }

    /// The address that the client spoke to, if it was told.
    pub(crate) fn local(&self) -> Option<SocketAddr> {
        self.local_ip.map(|ip| SocketAddr::new(ip, self.local_port.unwrap_or(0)))
    }

    /// Takes one value; none if it is not one of its kind.
    fn set(&mut self, field: Field, value: &[u8]) -> Option<()> {
        match field {
            Field::ClientIp => self.client_ip = Some(ip(value)?),
            Field::ClientPort => self.client_port = Some(number(value)?),
            Field::LocalIp => self.local_ip = Some(ip(value)?),
            Field::LocalPort => self.local_port = Some(number(value)?),
            Field::Ttl => self.ttl = Some(number(value)?),
            // One that cannot be taken is replaced by ours, which names the session as well.
            Field::Session => self.session = visible(value, SESSION_MAX),
            // Whatever else it may be called is not known to be encrypted.
            Field::Transport => self.client_tls = Some(value.eq_ignore_ascii_case(b"TLS")),
            Field::ServerName => self.server_name = Some(visible(value, NAME_MAX)?),
            Field::Hello => self.hello = Some(visible(value, NAME_MAX)?.into_bytes()),
            Field::HelloProtocol => self.hello_protocol = Some(hello_protocol(value)?),
        }
        Some(())
    }
}

/// The field of that name; one that stands twice has no meaning.
fn find(table: &[(&str, Field)], name: &[u8], seen: &mut u32) -> Result<Option<Field>, Malformed> {
    let place = table.iter().position(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()));
    let Some(place) = place else { return Ok(None) };
    let bit = 1 << place;
    if *seen & bit != 0 {
        return Err(Malformed);
    }
    *seen |= bit;
    Ok(Some(table[place].1))
}

fn is_attribute_name(name: &[u8]) -> bool {
    (1..=ATTRIBUTE_MAX).contains(&name.len())
        && name.iter().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'))
}

/// How Postfix writes that it does not know a value.
fn is_unknown(value: &[u8]) -> bool {
    value.eq_ignore_ascii_case(b"[UNAVAILABLE]") || value.eq_ignore_ascii_case(b"[TEMPUNAVAIL]")
}

/// RFC 3461 §4: `+` stands before two capital hexadecimal digits, and an equals sign nowhere.
fn decode_xtext(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |octet: u8| match octet {
        b'0'..=b'9' => Some(octet - b'0'),
        b'A'..=b'F' => Some(octet - b'A' + 10),
        _ => None,
    };
    let mut decoded = Vec::with_capacity(text.len());
    let mut octets = text.iter().copied();
    while let Some(octet) = octets.next() {
        decoded.push(match octet {
            b'+' => digit(octets.next()?)? << 4 | digit(octets.next()?)?,
            b'=' => return None,
            _ if octet.is_ascii_graphic() => octet,
            _ => return None,
        });
    }
    Some(decoded)
}

/// An address; version 6 may have Postfix's `IPV6:` before it. One that is v4 in v6 clothes is v4.
fn ip(value: &[u8]) -> Option<IpAddr> {
    const PREFIX: &str = "IPV6:";
    let text = core::str::from_utf8(value).ok()?;
    let prefixed = text.get(..PREFIX.len()).is_some_and(|it| it.eq_ignore_ascii_case(PREFIX));
    let address: IpAddr = if prefixed {
        IpAddr::V6(text[PREFIX.len()..].parse().ok()?)
    } else {
        text.parse().ok()?
    };
    Some(address.to_canonical())
}

/// A number in decimal digits and nothing else.
fn number<T: core::str::FromStr>(value: &[u8]) -> Option<T> {
    let digits = value.iter().all(u8::is_ascii_digit);
    core::str::from_utf8(value).ok().filter(|_| digits)?.parse().ok()
}

fn visible(value: &[u8], max: usize) -> Option<String> {
    let fits = (1..=max).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic);
    core::str::from_utf8(value).ok().filter(|_| fits).map(String::from)
}

fn hello_protocol(value: &[u8]) -> Option<&'static str> {
    ["SMTP", "ESMTP"].into_iter().find(|name| value.eq_ignore_ascii_case(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    fn xclient(arguments: &str) -> Result<Introduction, Malformed> {
        Introduction::from_xclient(arguments.as_bytes())
    }

    fn id(name: &str, value: &str) -> Result<Introduction, Malformed> {
        let pair: Pair<'_> = (name.as_bytes(), Some(value.as_bytes()));
        Introduction::from_id([pair].into_iter())
    }

    fn address(text: &str) -> Option<SocketAddr> {
        Some(text.parse().expect("an address"))
    }

    #[test]
    fn what_is_announced_is_understood() {
        let mut announced: Vec<&str> =
            ANNOUNCED.split(' ').chain(ANNOUNCED_OF_SUBMISSION.split(' ')).collect();
        let mut known: Vec<&str> = ATTRIBUTES.iter().map(|(name, _)| *name).collect();
        announced.sort_unstable();
        known.sort_unstable();
        assert_eq!(announced, known);
    }

    #[test]
    fn both_forms_tell_the_same() {
        let told = xclient(
            "ADDR=192.0.2.7 PORT=50123 DESTADDR=IPV6:2001:db8::1 DESTPORT=993 SESSION=ab+2Bc \
             TTL=7 CLIENT-TRANSPORT=TLS DESTNAME=mail.example.com",
        )
        .expect("well-formed");
        assert_eq!(told.client(), address("192.0.2.7:50123"));
        assert_eq!(told.local(), address("[2001:db8::1]:993"));
        assert_eq!((told.session.as_deref(), told.ttl), (Some("ab+c"), Some(7)));
        assert_eq!(told.client_tls, Some(true));
        let fields: [Pair<'_>; 8] = [
            (b"X-Originating-IP", Some(b"192.0.2.7")),
            (b"x-originating-port", Some(b"50123")),
            (b"x-connected-ip", Some(b"2001:db8::1")),
            (b"x-connected-port", Some(b"993")),
            (b"x-session-ext-id", Some(b"ab+c")),
            (b"x-proxy-ttl", Some(b"7")),
            (b"x-client-transport", Some(b"TLS")),
            (b"x-connected-name", Some(b"mail.example.com")),
        ];
        assert_eq!(Introduction::from_id(fields.into_iter()), Ok(told));
    }

    #[test]
    fn what_is_not_known_says_nothing() {
        let fields: [Pair<'_>; 3] =
            [(b"x-forward-user", Some(b"root")), (b"x-via", None), (b"x-originating-ip", None)];
        assert_eq!(Introduction::from_id(fields.into_iter()), Ok(Introduction::default()));
        let unknown = "LOGIN=root NAME=[UNAVAILABLE] FORWARD=dXNlcj1yb290Cg== ADDR=[UNAVAILABLE]";
        assert_eq!(xclient(unknown), Ok(Introduction::default()));
        assert_eq!(xclient("HELO=[TEMPUNAVAIL] X-NEW_1="), Ok(Introduction::default()));
    }

    #[test]
    fn a_ttl_is_a_number_of_one_octet() {
        for ttl in ["0", "1", "2", "7", "255"] {
            let told = id("x-proxy-ttl", ttl).expect("a number");
            assert_eq!(told.ttl, ttl.parse().ok());
            assert_eq!(xclient(&format!("TTL={ttl}")), Ok(told));
        }
        for ttl in ["", "256", "4294967296", "-1", "+7", " 7", "7 ", "0x7", "7.0", "seven"] {
            assert_eq!(id("x-proxy-ttl", ttl), Err(Malformed), "{ttl:?}");
        }
        for ttl in ["", "256", "4294967296", "-1", "+37+20", "+2B7"] {
            assert_eq!(xclient(&format!("TTL={ttl}")), Err(Malformed), "{ttl:?}");
        }
    }

    #[test]
    fn an_address_is_one_or_the_command_is_malformed() {
        let client = |text: &str| id("x-originating-ip", text).map(|told| told.client());
        assert_eq!(client("192.0.2.7"), Ok(address("192.0.2.7:0")));
        assert_eq!(client("::ffff:192.0.2.7"), Ok(address("192.0.2.7:0")));
        assert_eq!(client("ipv6:2001:db8::7"), Ok(address("[2001:db8::7]:0")));
        for text in ["", "192.0.2", "192.0.2.07", "host", "[::1]", "fe80::1%1", "IPV6:192.0.2.7"] {
            assert_eq!(client(text), Err(Malformed), "{text:?}");
        }
        for text in ["65536", "-1", "+1", "", "a"] {
            assert_eq!(id("x-connected-port", text), Err(Malformed), "{text:?}");
        }
        assert_eq!(id("x-originating-port", "1").map(|told| told.client()), Ok(None));
    }

    #[test]
    fn a_session_that_cannot_be_taken_is_not_and_costs_nothing_else() {
        let long = "s".repeat(SESSION_MAX);
        assert_eq!(id("x-session-id", &long).map(|it| it.session), Ok(Some(long.clone())));
        for session in [&*"s".repeat(SESSION_MAX + 1), "", "a b", "a\u{7f}", "a\r\nb", "ä"] {
            assert_eq!(id("x-session-id", session).map(|it| it.session), Ok(None));
        }
        let told = xclient("SESSION=a+0D+0A ADDR=192.0.2.7").expect("well-formed");
        assert_eq!((told.session.as_deref(), told.client_ip.is_some()), (None, true));
        let raw = xclient("SESSION=+a/b").expect("well-formed");
        assert_eq!(raw.session.as_deref(), Some("+a/b"));
    }

    #[test]
    fn names_are_visible() {
        assert_eq!(xclient("HELO=a+2Bb").map(|it| it.hello), Ok(Some(b"a+b".to_vec())));
        for value in ["a+20b", "a+0D+0A", "a+00", "+2b", "a+", "a+2", "a=b", "+C3+A4", ""] {
            assert_eq!(xclient(&format!("HELO={value}")), Err(Malformed), "{value:?}");
            assert_eq!(xclient(&format!("DESTNAME={value}")), Err(Malformed), "{value:?}");
        }
        let long = "n".repeat(NAME_MAX);
        assert!(xclient(&format!("HELO={long}")).is_ok());
        assert_eq!(xclient(&format!("HELO={long}n")), Err(Malformed));
        assert_eq!(xclient("PROTO=esmtp").map(|it| it.hello_protocol), Ok(Some("ESMTP")));
        assert_eq!(xclient("PROTO=LMTP"), Err(Malformed));
    }

    #[test]
    fn a_form_that_is_not_one_counts_whole() {
        for arguments in ["", " ", "ADDR", "=1", "ADDR=192.0.2.7 ", "ADDR=192.0.2.7  PORT=1"] {
            assert_eq!(xclient(arguments), Err(Malformed), "{arguments:?}");
        }
        for arguments in ["ADDR=192.0.2.7 addr=192.0.2.8", "A.B=1", "LOGIN=\u{1}", "X=\u{e9}"] {
            assert_eq!(xclient(arguments), Err(Malformed), "{arguments:?}");
        }
        let twice: [Pair<'_>; 2] = [(b"x-proxy-ttl", Some(b"7")), (b"X-Proxy-TTL", None)];
        assert_eq!(Introduction::from_id(twice.into_iter()), Err(Malformed));
    }

    #[test]
    fn a_later_command_goes_before_an_earlier_one() {
        let mut told = xclient("ADDR=192.0.2.7 PORT=1 TTL=7").expect("well-formed");
        told.absorb(xclient("ADDR=192.0.2.8 SESSION=s").expect("well-formed"));
        assert_eq!(told.client(), address("192.0.2.8:1"));
        assert_eq!((told.ttl, told.session.as_deref()), (Some(7), Some("s")));
    }
}
