//! Where the octets behind DATA end: a line that is a dot.
//!
//! RFC 5321 §4.1.1.4 knows one end, CRLF.CRLF, and every server takes that. Some also take a dot
//! that has a bare CR or a bare LF before or behind it, or is followed by white space. A message
//! that was written by the rules holds no such thing (a dot at the start of a line is doubled), so
//! wherever one stands, servers may differ from there on.
//!
//! A server never takes a part of a line for a line here, however long that is: no line end, no
//! end. Not here: what follows an end.

use memchr::memchr_iter;

/// What the octets so far end with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dots {
    /// Nothing that matters.
    Within,
    /// A CR.
    Cr,
    /// An LF without a CR.
    Lf,
    /// CRLF.
    CrLf,
    /// A dot at the start of a line; `strict`: behind CRLF.
    Dot { strict: bool },
    /// That, and a CR.
    DotCr { strict: bool },
}

/// What came of a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// All of it is data.
    Nothing,
    /// For every server the data end behind so many octets.
    End(usize),
    /// For some servers they end there.
    Doubt(usize),
}

impl Dots {
    /// Looks for the first end that any server may take.
    pub(super) fn look(&mut self, input: &[u8]) -> Found {
        let mut at = 0;
        while at < input.len() {
            if *self == Self::Within {
                at += ordinary(&input[at..]);
            }
            let Some(&octet) = input.get(at) else { break };
            *self = match (*self, octet) {
                (Self::DotCr { strict: true }, b'\n') => return Found::End(at + 1),
                (Self::DotCr { strict: false }, b'\n') => return Found::Doubt(at + 1),
                // A CR alone has ended the line; this octet begins the next.
                (Self::DotCr { .. }, _) => return Found::Doubt(at),
                (Self::Dot { strict }, b'\r') => Self::DotCr { strict },
                (Self::Dot { .. }, 0..=b' ') => return Found::Doubt(at + 1),
                (Self::CrLf, b'.') => Self::Dot { strict: true },
                (Self::Cr | Self::Lf, b'.') => Self::Dot { strict: false },
                (Self::Cr, b'\n') => Self::CrLf,
                (_, b'\n') => Self::Lf,
                (_, b'\r') => Self::Cr,
                (_, _) => Self::Within,
            };
            at += 1;
        }
        Found::Nothing
    }
}

/// Octets at the front, which stands within a line, that need no look one by one: no line in them
/// begins with a dot, and the last octets before such a line or the end are left to be looked at.
fn ordinary(input: &[u8]) -> usize {
    let mut dots = memchr_iter(b'.', input);
    let begins_line = |dot: &usize| *dot > 0 && matches!(input[dot - 1], b'\r' | b'\n');
    dots.find(begins_line).unwrap_or(input.len()).saturating_sub(3)
}
