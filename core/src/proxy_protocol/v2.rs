//! Version 2: 16 fixed octets, addresses, fields.
//!
//! Signature (12), version and command (1), family and transport (1), length of what follows (2,
//! in network order); then the two addresses in a form that the family decides, then fields up to
//! the length. Each octet that cannot be is refused as soon as it is there.

use alloc::boxed::Box;
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Header, Look, V2_CONTENT_MAX, fields};
use crate::close::HeaderFault;

pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Octets before the addresses.
pub(super) const FIXED: usize = SIGNATURE.len() + 4;

pub(super) const VERSION_2_LOCAL: u8 = 0x20;
pub(super) const VERSION_2_PROXY: u8 = 0x21;

pub(super) const UNSPECIFIED: u8 = 0x00;
pub(super) const TCP_OVER_V4: u8 = 0x11;
pub(super) const TCP_OVER_V6: u8 = 0x21;
const UDP_OVER_V4: u8 = 0x12;
const UDP_OVER_V6: u8 = 0x22;
const UNIX_STREAM: u8 = 0x31;
const UNIX_DATAGRAM: u8 = 0x32;

/// Octets of two addresses with their ports, by family.
pub(super) const V4_OCTETS: usize = 12;
pub(super) const V6_OCTETS: usize = 36;
const UNIX_OCTETS: usize = 216;

/// Looks at input that begins with the signature.
pub(super) fn look(input: &[u8]) -> Look {
    match examine(input) {
        Ok(None) => Look::Incomplete,
        Ok(Some((octets, header))) => Look::Found { octets, header: Box::new(header) },
        Err(fault) => Look::Broken(fault),
    }
}

fn examine(input: &[u8]) -> Result<Option<(usize, Header)>, HeaderFault> {
    let Some(&command) = input.get(SIGNATURE.len()) else { return Ok(None) };
    let is_local = match command {
        VERSION_2_LOCAL => true,
        VERSION_2_PROXY => false,
        _ if command & 0xf0 == VERSION_2_LOCAL => return Err(HeaderFault::Command),
        _ => return Err(HeaderFault::Version),
    };
    let Some(&family) = input.get(SIGNATURE.len() + 1) else { return Ok(None) };
    // The receiver of LOCAL ignores the family (§2.2), and everything behind it.
    let addresses = if is_local { 0 } else { address_octets(family)? };
    let Some(length) = input.get(SIGNATURE.len() + 2..FIXED) else { return Ok(None) };
    let length = fields::number(length);
    if length > V2_CONTENT_MAX {
        return Err(HeaderFault::TooLong);
    }
    if length < addresses {
        return Err(HeaderFault::TooShort);
    }
    let octets = FIXED + length;
    let Some(whole) = input.get(..octets) else { return Ok(None) };
    let mut header = Header::default();
    if !is_local {
        let (pair, _) = whole[FIXED..].split_at(addresses);
        header.addresses = read_addresses(family, pair);
        fields::read(whole, FIXED + addresses, &mut header)?;
    }
    Ok(Some((octets, header)))
}

/// Octets that the addresses of a family take.
const fn address_octets(family: u8) -> Result<usize, HeaderFault> {
    Ok(match family {
        UNSPECIFIED => 0,
        TCP_OVER_V4 | UDP_OVER_V4 => V4_OCTETS,
        TCP_OVER_V6 | UDP_OVER_V6 => V6_OCTETS,
        UNIX_STREAM | UNIX_DATAGRAM => UNIX_OCTETS,
        _ => return Err(HeaderFault::Family),
    })
}

/// The two addresses, where they are addresses of a network; v4 in v6 clothes is v4.
fn read_addresses(family: u8, pair: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    match family {
        TCP_OVER_V4 | UDP_OVER_V4 => {
            let (client, rest) = pair.split_first_chunk::<4>()?;
            let (local, ports) = rest.split_first_chunk::<4>()?;
            let ports = read_ports(ports)?;
            let address = |octets: [u8; 4], port| (Ipv4Addr::from(octets), port).into();
            Some((address(*client, ports.0), address(*local, ports.1)))
        }
        TCP_OVER_V6 | UDP_OVER_V6 => {
            let (client, rest) = pair.split_first_chunk::<16>()?;
            let (local, ports) = rest.split_first_chunk::<16>()?;
            let ports = read_ports(ports)?;
            let address =
                |octets: [u8; 16], port| (Ipv6Addr::from(octets).to_canonical(), port).into();
            Some((address(*client, ports.0), address(*local, ports.1)))
        }
        _ => None,
    }
}

fn read_ports(octets: &[u8]) -> Option<(u16, u16)> {
    let [a, b, c, d] = octets else { return None };
    Some((u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])))
}
