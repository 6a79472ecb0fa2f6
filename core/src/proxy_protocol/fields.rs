//! The fields behind the addresses of version 2: type, length, value.
//!
//! What nobody here knows is skipped. What is known must be right and stand there once: a header is
//! taken whole or not at all, so that no part of a damaged one is believed.

use alloc::borrow::ToOwned;
use core::mem;

use super::Header;
use crate::close::HeaderFault;
use crate::config::is_host_name;
use crate::origin::{FrontCertificate, FrontTls};

/// Types of fields (§2.2).
pub(super) const ALPN: u8 = 0x01;
pub(super) const AUTHORITY: u8 = 0x02;
const CRC32C: u8 = 0x03;
pub(super) const UNIQUE_ID: u8 = 0x05;
pub(super) const SSL: u8 = 0x20;
/// Of those that are free for such use: one octet. Others use the number for fields of other
/// lengths, which are skipped.
pub(super) const TTL: u8 = 0xe0;

/// Types of fields within SSL (§2.2.6).
pub(super) const SSL_VERSION: u8 = 0x21;
pub(super) const SSL_COMMON_NAME: u8 = 0x22;
pub(super) const SSL_CIPHER: u8 = 0x23;
pub(super) const SSL_SIGNATURE: u8 = 0x24;
pub(super) const SSL_KEY: u8 = 0x25;

/// Bits of SSL's first octet: TLS was used; a certificate came on this connection; one came in
/// this session.
pub(super) const CLIENT_SSL: u8 = 0x01;
pub(super) const CLIENT_CERT_CONN: u8 = 0x02;
pub(super) const CLIENT_CERT_SESS: u8 = 0x04;

/// Octets of SSL before its own fields: the bits, and whether the certificate was found valid (0).
const SSL_FIXED: usize = 5;

/// Octets of an application protocol's name (RFC 7301 §3.1).
pub(super) const ALPN_MAX: usize = 255;
/// Octets of a host's name.
pub(super) const AUTHORITY_MAX: usize = 255;
/// Octets of a connection's name (§2.2.5).
pub(super) const UNIQUE_ID_MAX: usize = 128;
/// Octets of one text about TLS.
pub(super) const TEXT_MAX: usize = 255;

/// Octets of a field before its value.
const FIELD_FIXED: usize = 3;

/// Reads the fields from `at` to the end of a whole header.
pub(super) fn read(whole: &[u8], at: usize, header: &mut Header) -> Result<(), HeaderFault> {
    let mut seen = [false; 256];
    for field in Fields(&whole[at..]) {
        let Field { kind, value, behind } = field?;
        match kind {
            ALPN if (1..=ALPN_MAX).contains(&value.len()) => header.alpn = Some(value.into()),
            AUTHORITY => {
                let name = text(value, AUTHORITY_MAX)?.to_ascii_lowercase();
                header.authority = Some(name).filter(|name| is_host_name(name));
            }
            CRC32C if !seen[usize::from(CRC32C)] && sum_is_right(whole, value, behind) => {}
            CRC32C => return Err(HeaderFault::Checksum),
            UNIQUE_ID if (1..=UNIQUE_ID_MAX).contains(&value.len()) => {
                header.unique_id = Some(value.into());
            }
            SSL => header.tls = read_tls(value)?,
            TTL if value.len() == 1 => header.ttl = value.first().copied(),
            ALPN | UNIQUE_ID => return Err(HeaderFault::Field),
            // NOOP among them, which may stand there any number of times.
            _ => continue,
        }
        if mem::replace(&mut seen[usize::from(kind)], true) {
            return Err(HeaderFault::Field);
        }
    }
    Ok(())
}

/// TLS with the client, if there was any.
fn read_tls(value: &[u8]) -> Result<Option<FrontTls>, HeaderFault> {
    let (&[bits, ref invalid @ ..], fields) =
        value.split_first_chunk::<SSL_FIXED>().ok_or(HeaderFault::Field)?;
    let (mut tls, mut certificate) = (FrontTls::default(), FrontCertificate::default());
    for field in Fields(fields) {
        let Field { kind, value, .. } = field?;
        let place = match kind {
            SSL_VERSION => &mut tls.version,
            SSL_CIPHER => &mut tls.cipher,
            SSL_COMMON_NAME => &mut certificate.common_name,
            SSL_SIGNATURE => &mut certificate.signature,
            SSL_KEY => &mut certificate.key,
            _ => continue,
        };
        if place.replace(text(value, TEXT_MAX)?.to_owned()).is_some() {
            return Err(HeaderFault::Field);
        }
    }
    if bits & (CLIENT_CERT_CONN | CLIENT_CERT_SESS) != 0 {
        certificate.presented_here = bits & CLIENT_CERT_CONN != 0;
        certificate.verified = *invalid == [0; SSL_FIXED - 1];
        tls.certificate = Some(certificate);
    }
    Ok((bits & CLIENT_SSL != 0).then_some(tls))
}

/// A text without control characters.
fn text(value: &[u8], octets_max: usize) -> Result<&str, HeaderFault> {
    let text = str::from_utf8(value).map_err(|_| HeaderFault::Field)?;
    let fits = (1..=octets_max).contains(&text.len()) && !text.contains(char::is_control);
    fits.then_some(text).ok_or(HeaderFault::Field)
}

struct Field<'a> {
    kind: u8,
    value: &'a [u8],
    /// Octets that follow.
    behind: usize,
}

/// Fields to the end of some octets, each with its length in network order; a fault where one
/// would reach beyond the end.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, HeaderFault>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = mem::take(&mut self.0);
        if rest.is_empty() {
            return None;
        }
        let field = rest.split_at_checked(FIELD_FIXED).and_then(|(fixed, behind)| {
            let (value, rest) = behind.split_at_checked(number(&fixed[1..]))?;
            self.0 = rest;
            Some(Field { kind: fixed[0], value, behind: rest.len() })
        });
        Some(field.ok_or(HeaderFault::Field))
    }
}

/// A number in network order.
pub(super) fn number(octets: &[u8]) -> usize {
    octets.iter().fold(0, |number, octet| number << 8 | usize::from(*octet))
}

/// Whether the CRC-32C (RFC 3720 §12.1) of the whole header is `value`, a part of it that counts as
/// zeros and has so many octets behind it.
fn sum_is_right(whole: &[u8], value: &[u8], behind: usize) -> bool {
    let Ok(sum) = <[u8; 4]>::try_from(value) else { return false };
    let mut copy = whole.to_vec();
    let end = copy.len() - behind;
    copy[end - value.len()..end].fill(0);
    u32::from_be_bytes(sum) == crc32c(&copy)
}

pub(super) fn crc32c(octets: &[u8]) -> u32 {
    const REVERSED_POLYNOMIAL: u32 = 0x82f6_3b78;
    let sum = octets.iter().fold(u32::MAX, |sum, octet| {
        (0..8).fold(sum ^ u32::from(*octet), |sum, _| {
            if sum & 1 == 1 { sum >> 1 ^ REVERSED_POLYNOMIAL } else { sum >> 1 }
        })
    });
    !sum
}

#[cfg(test)]
mod tests {
    use super::crc32c;

    #[test]
    fn the_checksum_is_crc_32c() {
        // RFC 3720 appendix B.4, and the check value of the polynomial.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }
}
