//! Address ranges, and what a host name may look like.
//!
//! Not here: resolution. A name is only looked at, never looked up.
//! Invariant: a `Cidr` holds a network address in its own family (a v4-mapped range of 96 bits or
//! more is a v4 range), so that comparing is masking.
//! Read next: `listener` (ranges that may connect), `destination` (hosts).

use alloc::{borrow::ToOwned, format, string::String};
use core::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use super::reader::Value;

/// Octets of a host name, RFC 1035 §2.3.4 less the trailing dot.
const HOST_NAME_OCTETS_MAX: usize = 253;
/// Octets of one label of a host name, RFC 1035 §2.3.4.
const LABEL_OCTETS_MAX: usize = 63;

/// A range of addresses: `192.0.2.0/24`, `2001:db8::/32`, or one address without a slash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    network: IpAddr,
    prefix: u8,
}

/// The text is not a range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotCidr;

impl Cidr {
    /// The range of the addresses that share the first `prefix` bits with `address`; none if the
    /// family has fewer bits.
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        let mapped = match address {
            IpAddr::V6(v6) => v6.to_ipv4_mapped(),
            IpAddr::V4(_) => None,
        };
        match (address, mapped) {
            (IpAddr::V6(_), Some(v4)) if (96..=128).contains(&prefix) => {
                Some(Self { network: mask(v4.into(), prefix - 96), prefix: prefix - 96 })
            }
            (IpAddr::V4(_), _) if prefix <= 32 => {
                Some(Self { network: mask(address, prefix), prefix })
            }
            (IpAddr::V6(_), _) if prefix <= 128 => {
                Some(Self { network: mask(address, prefix), prefix })
            }
            (IpAddr::V4(_) | IpAddr::V6(_), _) => None,
        }
    }

    /// Whether the address is in the range; a v4-mapped v6 address counts as the v4 one.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.network.is_ipv4() && mask(address, self.prefix) == self.network
    }
}

impl FromStr for Cidr {
    type Err = NotCidr;

    fn from_str(text: &str) -> Result<Self, NotCidr> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NotCidr)?;
        let prefix = match prefix {
            None if address.is_ipv4() => 32,
            None => 128,
            Some(digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => {
                digits.parse().map_err(|_| NotCidr)?
            }
            Some(_) => return Err(NotCidr),
        };
        Self::new(address, prefix).ok_or(NotCidr)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.network, self.prefix)
    }
}

/// Reads a host name.
pub(super) fn host_name(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    if !is_host_name(text) {
        let problem = format!("\"{}\" is no host name", text.escape_debug());
        value.fault(problem, "write a name such as \"mail.example.com\"");
        return None;
    }
    Some(text.to_owned())
}

/// Reads a host name or an address.
pub(super) fn host(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    if is_host(text) {
        return Some(text.to_owned());
    }
    let remedy = if text.starts_with('[') {
        "write the address without brackets"
    } else if text.contains(':') {
        "write the name alone; the port belongs in the table of its protocol"
    } else {
        "write a name such as \"imap1.example.com\", or an address"
    };
    value.fault(
        format!("\"{}\" is neither a host name nor an address", text.escape_debug()),
        remedy,
    );
    None
}

/// Reads an address.
pub(super) fn address(value: &Value<'_>) -> Option<IpAddr> {
    parsed(value, "address", "write one such as \"192.0.2.1\" or \"2001:db8::1\"")
}

/// Reads an address with its port.
pub(super) fn socket_address(value: &Value<'_>) -> Option<SocketAddr> {
    let remedy = "write an address and a port, such as \"0.0.0.0:993\" or \"[::]:993\"";
    parsed(value, "address with a port", remedy)
}

/// Reads a range of addresses.
pub(super) fn cidr(value: &Value<'_>) -> Option<Cidr> {
    parsed(value, "range of addresses", "write one such as \"192.0.2.0/24\" or \"2001:db8::/32\"")
}

fn parsed<T: FromStr>(value: &Value<'_>, kind: &str, remedy: &str) -> Option<T> {
    let text = value.text()?;
    let parsed = text.parse().ok();
    if parsed.is_none() {
        value.fault(format!("\"{}\" is no {kind}", text.escape_debug()), remedy);
    }
    parsed
}

/// Whether the text can be a host name, or is an address without brackets.
pub(crate) fn is_host(text: &str) -> bool {
    is_host_name(text) || text.parse::<IpAddr>().is_ok()
}

/// Whether the text can be a host name: labels of letters, digits, hyphens and underscores, the
/// last one not of digits alone, since that would be a mistyped address.
pub(crate) fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=LABEL_OCTETS_MAX).contains(&label.len())
            && label.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_".contains(&octet))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last_is_number =
        text.rsplit('.').next().is_some_and(|last| last.bytes().all(|o| o.is_ascii_digit()));
    text.len() <= HOST_NAME_OCTETS_MAX && text.split('.').all(label) && !last_is_number
}

fn mask(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let ones = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & ones).into()
        }
        IpAddr::V6(v6) => {
            let ones = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & ones).into()
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use alloc::string::ToString;

    use super::*;

    fn holds(range: &str, address: &str) -> bool {
        range.parse::<Cidr>().unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn ranges_hold_what_shares_their_prefix() {
        assert!(holds("192.0.2.0/24", "192.0.2.255"));
        assert!(!holds("192.0.2.0/24", "192.0.3.0"));
        assert!(holds("192.0.2.7/24", "192.0.2.1"), "host bits do not narrow a range");
        assert!(holds("2001:db8::/33", "2001:db8:7fff::1"));
        assert!(!holds("2001:db8::/33", "2001:db8:8000::1"));
        assert!(holds("0.0.0.0/0", "255.255.255.255"));
        assert!(holds("::/0", "ff::"));
    }

    #[test]
    fn a_bare_address_is_a_range_of_one() {
        assert_eq!("192.0.2.7".parse::<Cidr>().unwrap().to_string(), "192.0.2.7/32");
        assert_eq!("2001:db8::1".parse::<Cidr>().unwrap().to_string(), "2001:db8::1/128");
        assert!(!holds("2001:db8::1", "2001:db8::2"));
    }

    #[test]
    fn mapped_addresses_count_as_v4() {
        assert!(holds("192.0.2.0/24", "::ffff:192.0.2.7"));
        assert!(holds("::ffff:192.0.2.0/120", "192.0.2.7"));
        assert!(!holds("::/0", "::ffff:192.0.2.7"));
        assert!(!holds("0.0.0.0/0", "::1"));
    }

    #[test]
    fn what_is_not_a_range_is_refused() {
        for text in ["", "192.0.2.0/33", "2001:db8::/129", "192.0.2/24", "1.2.3.4/", "1.2.3.4/+8"] {
            assert_eq!(text.parse::<Cidr>(), Err(NotCidr), "{text}");
        }
    }

    #[test]
    fn host_names() {
        for text in ["localhost", "imap1.example.com", "_imap.x-y.test", "a1"] {
            assert!(is_host_name(text), "{text}");
        }
        let long_label = "a".repeat(64);
        for text in ["", ".", "a..b", "-a.b", "a b", "imap:143", "192.0.2", "[::1]", &long_label] {
            assert!(!is_host_name(text), "{text}");
        }
    }
}
