//! Headers of the PROXY protocol for scripts, made here from the protocol's specification and
//! not by the code that is tested.
//!
//! The argument of both functions is `CLIENT LOCAL KEY=VALUE …`, the addresses with their ports; in
//! version 2 `local` or `unspecified` may stand in place of both. The keys and their order are
//! those of `conformance/scripts/README.md`; fields stand in the order in which they are written.

use std::net::{IpAddr, SocketAddr};

use super::text::words;

/// A line of version 1, without its line end.
pub(super) fn version_1(argument: &[u8]) -> Result<Vec<u8>, String> {
    let words = split(argument)?;
    let (client, local, keys) = addresses(&words)?;
    if !keys.is_empty() {
        return Err("version 1 has addresses and nothing else".into());
    }
    let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (client.port(), local.port());
    Ok(format!("PROXY {family} {} {} {from} {to}", client.ip(), local.ip()).into_bytes())
}

/// A header of version 2.
pub(super) fn version_2(argument: &[u8]) -> Result<Vec<u8>, String> {
    let words = split(argument)?;
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    let mut content = Vec::new();
    let keys = match words.first().map(String::as_str) {
        Some("local") => {
            header.extend([0x20, 0x00]);
            &words[1..]
        }
        Some("unspecified") => {
            header.extend([0x21, 0x00]);
            &words[1..]
        }
        Some(_) | None => {
            let (client, local, keys) = addresses(&words)?;
            header.extend([0x21, family(client, local)]);
            content.extend(pair(client, local));
            keys
        }
    };
    for key in keys {
        let (key, value) = key.split_once('=').ok_or_else(|| format!("{key:?} is no KEY=VALUE"))?;
        content.extend(field(key, value)?);
    }
    let length = u16::try_from(content.len()).map_err(|_| "the header is too long")?;
    header.extend(length.to_be_bytes());
    header.extend(content);
    Ok(header)
}

fn split(argument: &[u8]) -> Result<Vec<String>, String> {
    let text = str::from_utf8(argument).map_err(|_| "the argument is text")?;
    words(text)
}

fn addresses(words: &[String]) -> Result<(SocketAddr, SocketAddr, &[String]), String> {
    let address = |word: &String| word.parse().map_err(|_| format!("{word:?} is no ADDR:PORT"));
    match words {
        [client, local, keys @ ..] => Ok((address(client)?, address(local)?, keys)),
        [_] | [] => Err("two addresses stand first".into()),
    }
}

const fn family(client: SocketAddr, local: SocketAddr) -> u8 {
    if client.is_ipv4() && local.is_ipv4() { 0x11 } else { 0x21 }
}

fn pair(client: SocketAddr, local: SocketAddr) -> Vec<u8> {
    let as_v6 = family(client, local) == 0x21;
    let octets = |address: SocketAddr| match address.ip() {
        IpAddr::V4(v4) if as_v6 => v4.to_ipv6_mapped().octets().to_vec(),
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let ports = [client.port().to_be_bytes(), local.port().to_be_bytes()].concat();
    [octets(client), octets(local), ports].concat()
}

/// One field: `alpn=`, `authority=`, `id=`, `tls=VERSION/CIPHER`, `tls=` for none, `ttl=`.
fn field(key: &str, value: &str) -> Result<Vec<u8>, String> {
    match key {
        "alpn" => typed(0x01, value.as_bytes()),
        "authority" => typed(0x02, value.as_bytes()),
        "id" => typed(0x05, value.as_bytes()),
        "tls" if value.is_empty() => typed(0x20, &[0, 0, 0, 0, 0]),
        "tls" => {
            let (version, cipher) = value.split_once('/').ok_or("tls=VERSION/CIPHER")?;
            let (version, cipher) = (version.as_bytes(), cipher.as_bytes());
            let parts = [vec![1, 0, 0, 0, 0], typed(0x21, version)?, typed(0x23, cipher)?];
            typed(0x20, &parts.concat())
        }
        "ttl" => typed(0xe0, &[value.parse().map_err(|_| format!("{value:?} is no octet"))?]),
        _ => Err(format!("{key}= is no field")),
    }
}

fn typed(kind: u8, value: &[u8]) -> Result<Vec<u8>, String> {
    let length = u16::try_from(value.len()).map_err(|_| "the field is too long")?;
    Ok([&[kind][..], &length.to_be_bytes(), value].concat())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn headers_are_as_the_specification_has_them() {
        let line = version_1(b"192.0.2.7:50123 198.51.100.1:143").unwrap();
        assert_eq!(line, b"PROXY TCP4 192.0.2.7 198.51.100.1 50123 143");
        let header = version_2(b"192.0.2.7:50123 198.51.100.1:143 ttl=6 alpn=imap").unwrap();
        assert_eq!(
            header,
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x17\xc0\0\x02\x07\xc6\x33\x64\x01\xc3\xcb\0\x8f\
              \xe0\0\x01\x06\x01\0\x04imap"
        );
        let header = version_2(b"192.0.2.7:1 [2001:db8::1]:2").unwrap();
        assert_eq!(header[12..28], *b"\x21\x21\0\x24\0\0\0\0\0\0\0\0\0\0\xff\xff");
        assert_eq!(version_2(b"local").unwrap(), b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
        let header = version_2(b"unspecified tls=TLSv1.3/X").unwrap();
        assert_eq!(
            header[12..],
            *b"\x21\0\0\x16\x20\0\x13\x01\0\0\0\0\x21\0\x07TLSv1.3\x23\0\x01X"
        );
        for argument in
            [&b""[..], b"1.2.3.4:5", b"local ttl=x", b"local x=y", b"local ttl", b"\xff"]
        {
            assert!(version_2(argument).is_err());
        }
        assert!(version_1(b"192.0.2.7:1 192.0.2.8:2 ttl=1").is_err());
    }
}
