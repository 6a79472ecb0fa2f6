//! Version 1: one line of text.
//!
//! `PROXY TCP4 192.0.2.7 198.51.100.1 50123 143`, or `TCP6`, or `PROXY UNKNOWN` with anything
//! behind it. The grammar has one way to write each header, so nothing else is taken: no second
//! space, no leading zero, no bare line feed.

use alloc::boxed::Box;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Header, Look, V1_MAX};
use crate::close::HeaderFault;

pub(super) const SIGNATURE: &[u8] = b"PROXY ";

/// Looks at input that begins with the signature.
pub(super) fn look(input: &[u8]) -> Look {
    let window = &input[..input.len().min(V1_MAX)];
    let Some(end) = window.iter().position(|octet| matches!(octet, b'\r' | b'\n')) else {
        return unfinished(input);
    };
    match window[end..] {
        [b'\r', b'\n', ..] => match line(&window[SIGNATURE.len()..end]) {
            Some(header) => Look::Found { octets: end + 2, header: Box::new(header) },
            None => Look::Broken(HeaderFault::Grammar),
        },
        [b'\r'] => unfinished(input),
        _ => Look::Broken(HeaderFault::Grammar),
    }
}

/// The line end is not among the octets that may hold it.
const fn unfinished(input: &[u8]) -> Look {
    if input.len() < V1_MAX { Look::Incomplete } else { Look::Broken(HeaderFault::TooLong) }
}

/// What stands between the signature and the line end.
fn line(text: &[u8]) -> Option<Header> {
    if text == b"UNKNOWN" || text.starts_with(b"UNKNOWN ") {
        return Some(Header::default());
    }
    let mut words = str::from_utf8(text).ok()?.split(' ');
    let mut word = || words.next();
    let (family, client, local) = (word()?, word()?, word()?);
    let (client_port, local_port) = (port(word()?)?, port(word()?)?);
    let read: fn(&str) -> Option<IpAddr> = match family {
        "TCP4" => |text| text.parse().ok().map(|address: Ipv4Addr| address.into()),
        "TCP6" => |text| text.parse().ok().map(|address: Ipv6Addr| address.to_canonical()),
        _ => return None,
    };
    let client = SocketAddr::new(read(client)?, client_port);
    let local = SocketAddr::new(read(local)?, local_port);
    let addresses = Some((client, local));
    words.next().is_none().then_some(Header { addresses, ..Header::default() })
}

/// A decimal number without leading zeros or a sign.
fn port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|octet| octet.is_ascii_digit());
    (digits && (text == "0" || !text.starts_with('0'))).then(|| text.parse().ok())?
}
