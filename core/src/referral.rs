//! The host that a backend refers a login to, out of the words of its protocol.
//!
//! IMAP and ManageSieve write a URL (RFC 2221, RFC 5804 §1.3), POP3 and Submission
//! `user@host:port`, as Dovecot does. Only the host and its port matter here: the login is repeated
//! there as it is, whatever user the referral names. Whether it may go there is the session's to
//! decide.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv6Addr;
use core::str;

use crate::config::is_host;
pub(crate) use crate::verdict::Referral;

/// Out of a URL of that scheme.
pub(crate) fn in_url(url: &[u8], scheme: &str) -> Option<Referral> {
    let (start, rest) = url.split_at_checked(scheme.len())?;
    if !start.eq_ignore_ascii_case(scheme.as_bytes()) {
        return None;
    }
    let rest = rest.strip_prefix(b"://")?;
    let end = rest.iter().position(|octet| b"/?#".contains(octet)).unwrap_or(rest.len());
    at_place(&rest[..end])
}

/// Out of `user@host:port`; user and port may be missing.
pub(crate) fn at_place(place: &[u8]) -> Option<Referral> {
    let (user, place) = match place.iter().rposition(|octet| *octet == b'@') {
        Some(at) => (&place[..at], &place[at + 1..]),
        None => (&[][..], place),
    };
    let place = str::from_utf8(place).ok()?;
    let (host, port) = match place.strip_prefix('[') {
        Some(inside) => {
            let (address, behind) = inside.split_once(']')?;
            address.parse::<Ipv6Addr>().ok()?;
            (address, behind.strip_prefix(':').or(behind.is_empty().then_some("")))
        }
        None => match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, Some("")),
        },
    };
    let port = match port? {
        "" => None,
        digits if digits.bytes().all(|octet| octet.is_ascii_digit()) => {
            Some(digits.parse().ok().filter(|port| *port > 0)?)
        }
        _ => return None,
    };
    is_host(host).then(|| Referral { user: Vec::from(user), host: String::from(host), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(referral: Option<Referral>) -> Option<(String, Option<u16>)> {
        referral.map(|referral| (referral.host, referral.port))
    }

    #[test]
    fn the_host_of_a_url() {
        let of = |url: &str| place(in_url(url.as_bytes(), "imap"));
        let host = |port| Some((String::from("b.test"), port));
        assert_eq!(of("imap://b.test/"), host(None));
        assert_eq!(of("IMAP://alice;AUTH=*@b.test:1993/INBOX?x"), host(Some(1993)));
        assert_eq!(of("imap://a%40c.test;AUTH=*@b.test"), host(None));
        assert_eq!(of("imap://[2001:db8::1]:7/"), Some(("2001:db8::1".into(), Some(7))));
        for bad in [
            "imap:b.test",
            "imaps://b.test",
            "imap:///",
            "imap://a@/",
            "imap://b.test:0/",
            "imap://b.test:65536/",
            "imap://b.test:+1/",
            "imap://b test/",
            "imap://[::1/",
            "imap://[b.test]/",
            "imap://[::1]x/",
            "imap://::1/",
            "imap",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_host_of_a_place() {
        let of = |text: &str| place(at_place(text.as_bytes()));
        assert_eq!(of("alice@example.com@192.0.2.66:110"), Some(("192.0.2.66".into(), Some(110))));
        assert_eq!(of("b.test"), Some(("b.test".into(), None)));
        assert_eq!(of(""), None);
        assert_eq!(of("alice@b.test:smtp"), None);
        assert_eq!(place(at_place(b"alice@\xff")), None);
    }
}
