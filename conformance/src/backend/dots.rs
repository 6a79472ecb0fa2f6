//! Text with a line that is a dot at its end, as POP3 sends and Submission receives it.
//!
//! Lines end with CRLF on the wire, whatever the stored message has; a line that begins with a dot
//! gets another in front (RFC 1939 §3, RFC 5321 §4.5.2). [`Wire`] tells what a message needs, so
//! that one which needs nothing is written from where it lies. Octets other than line ends and those
//! dots pass as they are.

/// What sending a text takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wire {
    /// Its size with CRLF at every line's end, and without added dots (RFC 1939 §11).
    pub(super) octets: usize,
    /// Whether it can be sent as it lies.
    pub(super) verbatim: bool,
}

impl Wire {
    pub(super) fn of(text: &[u8]) -> Self {
        let mut wire = Self { octets: text.len(), verbatim: text.first() != Some(&b'.') };
        for end in memchr::memchr_iter(b'\n', text) {
            if end == 0 || text[end - 1] != b'\r' {
                wire.octets += 1;
                wire.verbatim = false;
            }
            wire.verbatim &= text.get(end + 1) != Some(&b'.');
        }
        if !text.is_empty() && !text.ends_with(b"\n") {
            wire.octets += 2;
            wire.verbatim = false;
        }
        wire
    }
}

/// Writes a text that is not verbatim, without the dot behind it.
pub(super) fn stuff(text: &[u8], out: &mut Vec<u8>) {
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        let ended = line.strip_suffix(b"\r\n").or_else(|| line.strip_suffix(b"\n"));
        out.extend_from_slice(ended.unwrap_or(line));
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_sent_is_what_is_counted_but_for_the_dots() {
        for (text, sent, octets) in [
            (&b"a\r\nb\r\n"[..], &b"a\r\nb\r\n"[..], 6),
            (b"", b"", 0),
            (b"a\nb", b"a\r\nb\r\n", 6),
            (b".\r\n..a\r\n", b"..\r\n...a\r\n", 8),
            (b"\n.", b"\r\n..\r\n", 5),
            (b"a\r", b"a\r\r\n", 4),
        ] {
            let wire = Wire::of(text);
            let mut out = Vec::new();
            stuff(text, &mut out);
            assert_eq!(out, sent);
            assert_eq!(wire.verbatim, text == sent, "{text:?}");
            assert_eq!(wire.octets, octets, "{text:?}");
        }
    }
}
