//! Headers of every form, and everything near them that is none.

#![allow(clippy::unwrap_used)]

use alloc::string::ToString;
use alloc::vec::Vec;
use alloc::{format, vec};

use proptest::prelude::*;

use super::*;
use crate::origin::FrontCertificate;

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn found(input: &[u8]) -> Header {
    match look(input) {
        Look::Found { octets, header } if octets == input.len() => *header,
        other @ (Look::Incomplete | Look::Found { .. } | Look::Absent | Look::Broken(_)) => {
            panic!("{other:?} of {}", input.escape_ascii())
        }
    }
}

fn broken(input: &[u8]) -> HeaderFault {
    match look(input) {
        Look::Broken(fault) => fault,
        other @ (Look::Incomplete | Look::Found { .. } | Look::Absent) => {
            panic!("{other:?} of {}", input.escape_ascii())
        }
    }
}

/// A header of version 2.
fn v2(command: u8, family: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [v2::SIGNATURE, &[command, family], &length, content].concat()
}

/// The same for TCP over v4, with these fields.
fn with_fields(fields: &[(u8, &[u8])]) -> Vec<u8> {
    let mut content = b"\xc0\0\x02\x07\xc6\x33\x64\x01\xc3\xcb\0\x8f".to_vec();
    for (kind, value) in fields {
        content.push(*kind);
        content.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
        content.extend_from_slice(value);
    }
    v2(0x21, 0x11, &content)
}

/// The header with its CRC field, whose four octets stand at its end, made right.
fn summed(mut header: Vec<u8>) -> Vec<u8> {
    let at = header.len() - 4;
    header[at..].fill(0);
    let sum = fields::crc32c(&header).to_be_bytes();
    header[at..].copy_from_slice(&sum);
    header
}

const SSL_VALUE: &[u8] =
    b"\x07\0\0\0\0\x21\0\x07TLSv1.3\x22\0\x05alice\x23\0\x16TLS_AES_256_GCM_SHA384\
    \x24\0\x0aRSA-SHA256\x25\0\x07RSA2048\x77\0\x01?";

/// One of every form.
fn valid() -> Vec<Vec<u8>> {
    let mut mapped = b"\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\x02\x07".to_vec();
    mapped.extend(b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\0\x01\0\x02");
    vec![
        b"PROXY TCP4 192.0.2.7 198.51.100.1 50123 143\r\n".to_vec(),
        b"PROXY TCP6 2001:db8::7 ::ffff:198.51.100.1 0 65535\r\n".to_vec(),
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN of a kind that nobody knows\r\n".to_vec(),
        v2(0x20, 0x00, b""),
        v2(0x20, 0x11, &[0xaa; 500]),
        v2(0x21, 0x00, b"\x02\0\x09mail.test"),
        v2(0x21, 0x21, &mapped),
        v2(0x21, 0x12, b"\xc0\0\x02\x07\xc6\x33\x64\x01\xc3\xcb\0\x8f"),
        v2(0x21, 0x31, &[0x2f; 216]),
        with_fields(&[(0x04, b"\0\0"), (0x01, b"imap"), (0x02, b"Mail.Example.com"), (0x04, b"")]),
        with_fields(&[(0x05, b"\0id\xff"), (0x20, SSL_VALUE), (0xe0, &[5]), (0x30, b"netns")]),
        summed(with_fields(&[(0x20, b"\x01\0\0\0\0"), (0xe0, b"12345678"), (0x03, &[0; 4])])),
    ]
}

#[test]
fn version_1_says_addresses() {
    let header = found(b"PROXY TCP4 192.0.2.1 192.0.2.2 123 5678\r\n");
    let pair = Some((address("192.0.2.1:123"), address("192.0.2.2:5678")));
    assert_eq!(header, Header { addresses: pair, ..Header::default() });
    let pair = found(b"PROXY TCP6 2001:db8::7 ::ffff:192.0.2.2 0 65535\r\n").addresses;
    assert_eq!(pair, Some((address("[2001:db8::7]:0"), address("192.0.2.2:65535"))));
    assert_eq!(found(b"PROXY UNKNOWN\r\n"), Header::default());
    let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(91));
    assert_eq!(longest.len(), V1_MAX);
    assert_eq!(found(longest.as_bytes()), Header::default());
}

#[test]
fn version_1_has_one_way_to_write_each_header() {
    for line in [
        "PROXY  TCP4 192.0.2.1 192.0.2.2 1 2",
        "PROXY TCP4  192.0.2.1 192.0.2.2 1 2",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 ",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3",
        "PROXY TCP4\t192.0.2.1 192.0.2.2 1 2",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 65536",
        "PROXY TCP4 192.0.2.1 192.0.2.2 00123 2",
        "PROXY TCP4 192.0.2.1 192.0.2.2 -1 2",
        "PROXY TCP4 192.0.2.1 192.0.2.2 +1 2",
        "PROXY TCP4 192.0.2.1 192.0.2.2  2",
        "PROXY TCP4 192.0.2.01 192.0.2.2 1 2",
        "PROXY TCP4 1.2.3 192.0.2.2 1 2",
        "PROXY TCP4 ::1 ::2 1 2",
        "PROXY TCP6 192.0.2.1 192.0.2.2 1 2",
        "PROXY TCP6 ::1%eth0 ::2 1 2",
        "PROXY TCP5 192.0.2.1 192.0.2.2 1 2",
        "PROXY tcp4 192.0.2.1 192.0.2.2 1 2",
        "PROXY UNKNOWNS",
        "PROXY \u{e9}",
        "PROXY ",
    ] {
        assert_eq!(broken(format!("{line}\r\n").as_bytes()), HeaderFault::Grammar, "{line}");
    }
    assert_eq!(broken(b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n"), HeaderFault::Grammar);
    assert_eq!(broken(b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\rx"), HeaderFault::Grammar);
    assert_eq!(broken(&[b"PROXY ", &[b'x'; 101][..]].concat()), HeaderFault::TooLong);
    assert_eq!(broken(&[b"PROXY ", &[b'x'; 100][..], b"\r\n"].concat()), HeaderFault::TooLong);
    assert_eq!(look(b"proxy TCP4"), Look::Absent);
    assert_eq!(look(b"PROXYTCP4"), Look::Absent);
}

#[test]
fn version_2_says_addresses_by_family() {
    let every: Vec<_> = valid().iter().map(|header| found(header).addresses).collect();
    let v4 = Some((address("192.0.2.7:50123"), address("198.51.100.1:143")));
    assert_eq!(every[4..7], [None, None, None]);
    assert_eq!(every[7], Some((address("192.0.2.7:1"), address("[2001:db8::1]:2"))));
    assert_eq!(every[8..], [v4, None, v4, v4, v4]);
}

#[test]
fn version_2_says_more_in_fields() {
    let header = found(&valid()[10]);
    assert_eq!(header.alpn.as_deref(), Some(&b"imap"[..]));
    assert_eq!(header.authority.as_deref(), Some("mail.example.com"));
    let header = found(&valid()[11]);
    assert_eq!(header.unique_id.as_deref(), Some(&b"\0id\xff"[..]));
    assert_eq!(header.ttl, Some(5));
    let tls = header.tls.unwrap();
    assert_eq!(tls.version.as_deref(), Some("TLSv1.3"));
    assert_eq!(tls.cipher.as_deref(), Some("TLS_AES_256_GCM_SHA384"));
    let certificate = tls.certificate.unwrap();
    assert!(certificate.presented_here && certificate.verified);
    assert_eq!(certificate.common_name.as_deref(), Some("alice"));
    assert_eq!(certificate.signature.as_deref(), Some("RSA-SHA256"));
    assert_eq!(certificate.key.as_deref(), Some("RSA2048"));
    let header = found(&valid()[12]);
    assert_eq!((header.tls, header.ttl), (Some(FrontTls::default()), None));
    assert_eq!(found(&with_fields(&[(0x20, b"\0\0\0\0\x01\x21\0\x01x")])).tls, None);
    let tls = found(&with_fields(&[(0x20, b"\x05\0\0\0\x01")])).tls.unwrap();
    assert_eq!(tls.certificate, Some(FrontCertificate::default()));
}

#[test]
fn what_cannot_be_in_version_2_is_refused() {
    for (command, fault) in [
        (0x11, HeaderFault::Version),
        (0x31, HeaderFault::Version),
        (0x22, HeaderFault::Command),
        (0x2f, HeaderFault::Command),
    ] {
        assert_eq!(broken(&v2(command, 0x11, &[0; 12])), fault, "{command:x}");
    }
    for family in [0x01, 0x10, 0x13, 0x23, 0x33, 0x41, 0xff] {
        assert_eq!(broken(&v2(0x21, family, &[0; 216])), HeaderFault::Family, "{family:x}");
    }
    for (family, octets) in [(0x11, 11), (0x21, 35), (0x31, 215)] {
        assert_eq!(broken(&v2(0x21, family, &vec![0; octets])), HeaderFault::TooShort);
    }
    assert!(matches!(look(&v2(0x20, 0, &[0; V2_CONTENT_MAX])), Look::Found { .. }));
    assert_eq!(broken(&v2(0x20, 0, &[0; V2_CONTENT_MAX + 1])), HeaderFault::TooLong);
    assert_eq!(broken(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff"), HeaderFault::TooLong);
}

#[test]
fn a_damaged_field_is_refused_and_an_unknown_one_is_not() {
    let right = summed(with_fields(&[(0x03, &[0; 4])]));
    let wrong = [&right[..right.len() - 1], &[right[right.len() - 1] ^ 1]].concat();
    assert_eq!(broken(&wrong), HeaderFault::Checksum);
    assert_eq!(broken(&with_fields(&[(0x03, &[0; 4])])), HeaderFault::Checksum);
    assert_eq!(broken(&with_fields(&[(0x03, &[0; 3])])), HeaderFault::Checksum);
    // A second one would have to be right with both as zeros, or with one; neither is tried.
    let twice = summed(with_fields(&[(0x03, &right[right.len() - 4..]), (0x03, &[0; 4])]));
    assert_eq!(broken(&twice), HeaderFault::Checksum);
    let long = [b'a'; 256];
    for fields in [
        &[(0x01, &b""[..])][..],
        &[(0x01, &long)],
        &[(0x01, b"imap"), (0x01, b"imap")],
        &[(0x02, b"")],
        &[(0x02, &long)],
        &[(0x02, b"\xff.example.com")],
        &[(0x02, b"a\0b")],
        &[(0x02, b"a.test"), (0x02, b"b.test")],
        &[(0x05, b"")],
        &[(0x05, &long[..129])],
        &[(0x20, b"\x01\0\0\0")],
        &[(0x20, b"\x01\0\0\0\0\x21\0")],
        &[(0x20, b"\x01\0\0\0\0\x21\0\x02x")],
        &[(0x20, b"\x01\0\0\0\0\x21\0\x01\n")],
        &[(0x20, b"\x01\0\0\0\0\x23\0\x01x\x23\0\x01x")],
        &[(0x20, b"\x01\0\0\0\0"), (0x20, b"\x01\0\0\0\0")],
        &[(0xe0, &[1]), (0xe0, &[1])],
    ] {
        assert_eq!(broken(&with_fields(fields)), HeaderFault::Field, "{fields:?}");
    }
    // Its length reaches into what stands behind the header.
    let mut header = with_fields(&[(0x77, b"ab")]);
    *header.iter_mut().nth_back(2).unwrap() = 3;
    assert_eq!(broken(&[&header[..], b"a1 NOOP\r\n"].concat()), HeaderFault::Field);
    assert_eq!(found(&with_fields(&[(0x77, b""), (0xff, &long), (0x77, b"")])).alpn, None);
    assert_eq!(found(&with_fields(&[(0x02, "m\u{fc}.test".as_bytes())])).authority, None);
    assert_eq!(found(&with_fields(&[(0x05, &long[..128])])).unique_id.unwrap().len(), 128);
}

#[test]
fn what_follows_a_header_is_not_looked_at() {
    for header in valid() {
        let alone = look(&header);
        for behind in [&b"x"[..], b"\x01\0\x04imap", b"PROXY UNKNOWN\r\n", b"\r\n\r\n\0\r\nQUIT\n"]
        {
            assert_eq!(look(&[&header[..], behind].concat()), alone);
        }
    }
}

/// Every beginning of every input: incomplete up to some octet, and from there on one and the same
/// outcome, whatever follows.
fn settles(input: &[u8]) -> Option<usize> {
    let outcome = look(input);
    let settled = (0..=input.len()).find(|end| look(&input[..*end]) != Look::Incomplete);
    let behind = settled.unwrap_or(input.len() + 1)..=input.len();
    for end in behind {
        assert_eq!(look(&input[..end]), outcome, "{end} of {}", input.escape_ascii());
    }
    if let Look::Found { octets, .. } = outcome {
        assert_eq!(settled, Some(octets), "{}", input.escape_ascii());
    }
    settled
}

#[test]
fn every_beginning_of_a_header_is_incomplete() {
    for header in valid() {
        assert_eq!(settles(&header), Some(header.len()), "{}", header.escape_ascii());
    }
    assert_eq!(look(b""), Look::Incomplete);
}

#[test]
fn every_mutation_of_an_octet_has_one_outcome() {
    for header in valid() {
        for at in 0..header.len() {
            for octet in [0, 1, b' ', b'\r', b'\n', 0x7f, 0xff, header[at] ^ 1, header[at] ^ 0x80] {
                let mut mutated = header.clone();
                mutated[at] = octet;
                mutated.extend_from_slice(b"a1 NOOP\r\n");
                let outcome = look(&mutated);
                if let Look::Found { octets, .. } = outcome {
                    assert!(octets <= HEADER_MAX && octets <= mutated.len());
                }
                // Each beginning of each of them would take minutes; the edges decide.
                for end in [at, at + 1, header.len() - 1, header.len(), mutated.len() - 1] {
                    let earlier = look(&mutated[..end]);
                    assert!(earlier == Look::Incomplete || earlier == outcome, "{earlier:?}");
                }
            }
        }
    }
}

fn text(octets_max: usize) -> impl Strategy<Value = Option<String>> {
    proptest::option::of(proptest::string::string_regex("[ -~]{1,255}").unwrap())
        .prop_map(move |text| text.map(|text| text[..text.len().min(octets_max)].to_string()))
}

fn ip() -> impl Strategy<Value = core::net::IpAddr> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(Into::into),
        any::<[u8; 16]>().prop_map(|it| core::net::Ipv6Addr::from(it).to_canonical()),
    ]
}

prop_compose! {
    fn certificates()(
        presented_here: bool, verified: bool,
        common_name in text(255), signature in text(255), key in text(20),
    ) -> FrontCertificate {
        FrontCertificate { presented_here, verified, common_name, signature, key }
    }
}

prop_compose! {
    fn headers()(
        addresses in proptest::option::of((ip(), any::<u16>(), ip(), any::<u16>())),
        alpn in proptest::option::of(proptest::collection::vec(any::<u8>(), 1..=255)),
        authority in proptest::option::of("[a-z]{1,63}(\\.[a-z0-9]{1,20}){0,4}\\.test"),
        unique_id in proptest::option::of(proptest::collection::vec(any::<u8>(), 1..=128)),
        tls in proptest::option::of(
            (text(255), text(255), proptest::option::of(certificates()))
        ),
        ttl: Option<u8>,
    ) -> Header {
        let pair = |(client, from, local, to)| (
            SocketAddr::new(client, from), SocketAddr::new(local, to),
        );
        Header {
            addresses: addresses.map(pair),
            alpn: alpn.map(Into::into),
            authority,
            unique_id: unique_id.map(Into::into),
            tls: tls.map(|(version, cipher, certificate)| {
                FrontTls { version, cipher, certificate }
            }),
            ttl,
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        header in headers(), behind in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut octets = Vec::new();
        header.write(&mut octets);
        let length = octets.len();
        prop_assert!(length <= HEADER_MAX);
        prop_assert_eq!(look(&octets[..length - 1]), Look::Incomplete);
        octets.extend(behind);
        prop_assert_eq!(look(&octets), Look::Found { octets: length, header: header.into() });
    }

    #[test]
    fn any_content_has_one_outcome(
        command in 0x1f_u8..0x23,
        family in prop_oneof![Just(0x11_u8), Just(0x21), Just(0), any::<u8>()],
        content in proptest::collection::vec(prop_oneof![0_u8..6, any::<u8>()], 0..300),
        declared in 0_u8..=255,
    ) {
        let mut input = v2(command, family, &content);
        let outcome = look(&input);
        prop_assert!(outcome != Look::Incomplete);
        settles(&input);
        input[15] = declared;
        settles(&input);
    }

    #[test]
    fn any_line_has_one_outcome(line in "PROXY (TCP4|TCP6|UNKNOWN)?[ 0-9a-f:.\r\n]{0,120}") {
        settles(line.as_bytes());
    }
}

#[test]
fn unlike_families_travel_as_v6_and_mapped_ones_as_v4() {
    let written = |client: &str, local: &str| {
        let mut out = Vec::new();
        let addresses = Some((address(client), address(local)));
        Header { addresses, ..Header::default() }.write(&mut out);
        out
    };
    assert_eq!(
        written("192.0.2.7:50123", "198.51.100.1:143"),
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\xc3\xcb\0\x8f"
    );
    let header = written("192.0.2.7:1", "[2001:db8::1]:2");
    assert_eq!(header[12..16], [0x21, 0x21, 0, 36]);
    assert_eq!(header[16..32], *b"\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\x02\x07");
    assert_eq!(header.len(), 52);
    assert_eq!(written("[::ffff:192.0.2.7]:1", "192.0.2.8:2")[13], 0x11);
}
