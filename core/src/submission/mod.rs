//! Submission before login: what both automata share.
//!
//! [`frontend`] conducts the dialogue with the client, [`backend`] the handshake with the backend;
//! they do not know each other. What both need stands here: the words of refusals, the names that
//! are said in EHLO, and the state's name as operators know it. `reply` takes a backend's replies
//! apart. A client's line ends with CRLF and nothing else.
//!
//! RFC 6409 (submission), 5321 (SMTP), 4954 (AUTH), 3207 (STARTTLS), 2034 (enhanced codes), 2920
//! (pipelining), 3030 (BDAT).

pub(crate) mod backend;
pub(crate) mod frontend;
mod reply;

use alloc::vec::Vec;
use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

use crate::close::Refusal;

/// What a backend has not answered yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The connection: its greeting is awaited.
    Banner,
    /// The first EHLO.
    Ehlo,
    /// STARTTLS, and the handshake after it.
    StartTls,
    /// EHLO after STARTTLS.
    TlsEhlo,
    /// XCLIENT.
    Xclient,
    /// EHLO after XCLIENT.
    XclientEhlo,
    /// AUTH.
    Authenticate,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Banner => "banner",
            Self::Ehlo => "ehlo",
            Self::StartTls => "starttls",
            Self::TlsEhlo => "tls-ehlo",
            Self::Xclient => "xclient",
            Self::XclientEhlo => "xclient-ehlo",
            Self::Authenticate => "authenticate",
        })
    }
}

/// The names for EHLO.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) proxy: Vec<u8>,
    /// What the client said, if it is a name of RFC 5321 §4.1.2.
    pub(crate) client: Option<Vec<u8>>,
}

/// What a backend said when it accepted a login.
#[derive(Debug)]
pub(crate) struct Welcome {
    /// An enhanced status code and a text.
    pub(crate) text: Vec<u8>,
}

/// What a client reads when it is refused: the whole line.
pub(crate) const fn refusal_line(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Unavailable | Refusal::Configuration => {
            "454 4.7.0 Account is temporarily unavailable."
        }
        Refusal::Credentials => "535 5.7.8 Authentication failed.",
        Refusal::Denied => "525 5.7.13 Login is not allowed",
        Refusal::Referred => "550 5.7.0 Account is on another server",
        Refusal::TlsNeeded => "538 5.7.11 TLS is required",
        Refusal::Mechanism => {
            "504 5.5.4 Authentication mechanism is not available for this account"
        }
        Refusal::TooManyConnections => "421 4.7.0 Too many connections",
        Refusal::TooManyAttempts => "421 4.7.0 Too many authentication failures",
        Refusal::BadCharacters => "535 5.7.8 Invalid credentials",
        Refusal::Kicked => "421 4.3.2 Disconnected by an administrator",
        Refusal::ShuttingDown => "421 4.3.2 Shutting down",
        Refusal::TimedOut => "421 4.4.2 Timed out",
    }
}

/// Octets of a domain (RFC 5321 §4.5.3.1.2).
const DOMAIN_MAX: usize = 255;

/// Octets of a domain's label (RFC 1035 §2.3.4).
const LABEL_MAX: usize = 63;

/// Whether a name is a domain or an address literal of RFC 5321 §4.1.2 and §4.1.3, so that a
/// backend can be told.
fn is_domain_or_literal(name: &[u8]) -> bool {
    let label = |label: &[u8]| {
        let edges = [label.first(), label.last()];
        label.len() <= LABEL_MAX
            && edges.iter().all(|edge| edge.is_some_and(u8::is_ascii_alphanumeric))
            && label.iter().all(|octet| octet.is_ascii_alphanumeric() || *octet == b'-')
    };
    let Some(inside) = name.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")) else {
        return name.len() <= DOMAIN_MAX && name.split(|&octet| octet == b'.').all(label);
    };
    let Ok(inside) = core::str::from_utf8(inside) else { return false };
    match inside.get(.."IPv6:".len()) {
        Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => {
            inside["IPv6:".len()..].parse::<Ipv6Addr>().is_ok()
        }
        Some(_) | None => inside.parse::<Ipv4Addr>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_backend_may_be_told() {
        let long = [&b"a".repeat(63)[..], b".example"].concat();
        for name in [&b"a"[..], b"mail.example.com", b"x-1.example", b"192.0.2.7", &long] {
            assert!(is_domain_or_literal(name), "{name:?}");
        }
        for name in [&b"[192.0.2.7]"[..], b"[IPv6:2001:db8::1]", b"[ipv6:::1]"] {
            assert!(is_domain_or_literal(name), "{name:?}");
        }
        let too_long = b"a".repeat(64);
        let far_too_long = b"a.".repeat(127).into_iter().chain(*b"ab").collect::<Vec<u8>>();
        for name in [&b""[..], b".", b"a.", b"a..b", b"-a", b"a-", b"a_b", b"a b", b"\xc3\xa4"] {
            assert!(!is_domain_or_literal(name), "{name:?}");
        }
        for name in [&b"[]"[..], b"[192.0.2]", b"[2001:db8::1]", b"[IPv6:x]", b"[IPv6", b"\xff]"] {
            assert!(!is_domain_or_literal(name), "{name:?}");
        }
        assert!(!is_domain_or_literal(&too_long) && !is_domain_or_literal(&far_too_long));
    }
}
