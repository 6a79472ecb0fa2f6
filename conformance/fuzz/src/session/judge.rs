//! What nobody may hear: the password, plainly or in base64, and what a backend may hear before
//! TLS.
//!
//! The password of everybody in these inputs is known by its looks. Where a client puts it into
//! what is repeated to it by the protocol's own rules (a command's tag), that is the client's
//! doing, and so is a backend's that says it by itself.

use gatepost_core::Leg;

use super::ops::Op;

/// The password of everybody here.
pub(crate) const PASSWORD: &[u8] = b"cUcUmber";

/// The middle of its base64, by where it begins within a group of three octets.
const ENCODED: [&[u8]; 3] = [b"Y1VjVW1iZX", b"NVY1VtYmVy", b"jVWNVbWJlc"];

/// Whether the password stands there, in some form.
pub(crate) fn reveals(octets: &[u8]) -> bool {
    contains(octets, PASSWORD) || ENCODED.iter().any(|form| contains(octets, form))
}

/// Whether a backend says the password by itself, in whatever quoting.
pub(crate) fn is_gossip(ops: &[Op]) -> bool {
    let said = ops.iter().filter_map(|op| {
        let Op::Bytes(Leg::Backend, octets) = op else { return None };
        Some(octets)
    });
    let plain: Vec<u8> = said.flatten().copied().filter(u8::is_ascii_alphanumeric).collect();
    reveals(&plain)
}

/// Whether these octets to the client repeat a password that is not in a command's tag.
pub(crate) fn echoes(octets: &[u8]) -> bool {
    if contains(octets, b"OK (TAG ") {
        return false;
    }
    octets.split(|octet| *octet == b'\n').any(|line| {
        let tag = line.iter().position(|octet| *octet == b' ').unwrap_or(0);
        reveals(&line[tag..])
    })
}

/// Whether a backend that is to be spoken to inside TLS may hear this before.
pub(crate) fn is_harmless(octets: &[u8]) -> bool {
    const WITHOUT_TLS: [&[u8]; 6] = [
        b"S STARTTLS\r\n",
        b"C CAPABILITY\r\n",
        b"CAPA\r\n",
        b"STLS\r\n",
        b"EHLO mail.example.com\r\n",
        b"STARTTLS\r\n",
    ];
    const PROXY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
    (WITHOUT_TLS.contains(&octets) || octets.starts_with(PROXY)) && !reveals(octets)
}

fn contains(octets: &[u8], wanted: &[u8]) -> bool {
    octets.windows(wanted.len()).any(|window| window == wanted)
}
