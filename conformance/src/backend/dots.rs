//! Text with a line that is a dot at its end, as POP3 sends and Submission receives it.
//!
//! Lines end with CRLF on the wire, whatever the stored message has; a line that begins with a dot
//! gets another in front (RFC 1939 §3, RFC 5321 §4.5.2). [`Wire`] tells what a message needs, so
//! that one which needs nothing is written from where it lies. Octets other than line ends and
//! those dots pass as they are.

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

/// The last line.
const DOT: &[u8] = b".\r\n";

/// Takes received octets until the line that is a dot alone. Only CRLF ends a line: taking a bare
/// LF for one would let a message hold a second message that others do not see.
pub(super) struct Unstuffing {
    text: Vec<u8>,
    line: usize,
    limit: usize,
    over: bool,
}

impl Unstuffing {
    /// More than `limit` octets are read to their end, but not kept.
    pub(super) fn new(limit: usize) -> Self {
        Self { text: Vec::new(), line: 0, limit, over: false }
    }

    /// Takes octets, up to and with the dot; the second part of the answer says whether it came.
    pub(super) fn take(&mut self, received: &[u8]) -> (usize, bool) {
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', received) {
            self.text.extend_from_slice(&received[start..=end]);
            start = end + 1;
            if self.text.ends_with(b"\r\n") && self.end_line() {
                return (start, true);
            }
        }
        self.text.extend_from_slice(&received[start..]);
        // The dot and its line end do not count, and so much may be them.
        if self.text.len() > self.limit + DOT.len() {
            self.forget_what_is_too_much();
        }
        (received.len(), false)
    }

    /// The text; None if it was longer than the limit.
    pub(super) fn finish(self) -> Option<Vec<u8>> {
        (!self.over).then_some(self.text)
    }

    /// Whether the line that has just ended was the dot.
    fn end_line(&mut self) -> bool {
        let line = &self.text[self.line..];
        let last = line == DOT;
        if last {
            self.text.truncate(self.line);
        } else if line.starts_with(b".") {
            self.text.remove(self.line);
        }
        self.line = self.text.len();
        self.forget_what_is_too_much();
        last
    }

    /// Past the limit only the line that is arriving is kept; if that alone is too long, only its
    /// last octet, which may be the CR of its end.
    fn forget_what_is_too_much(&mut self) {
        if self.over || self.text.len() > self.limit {
            self.over = true;
            self.text.drain(..std::mem::take(&mut self.line));
            if self.text.len() > self.limit + DOT.len() {
                // What is left must look neither like a dot nor like a line that has just begun.
                let last = self.text.last().copied().unwrap_or_default();
                self.text.clear();
                self.text.extend_from_slice(&[b'x', last]);
            }
        }
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

    #[test]
    fn received_text_is_the_same_however_it_was_cut() {
        let received = b"a\r\n..b\r\n.\n.\r\r\n.c\n\r\n.\r\nQUIT\r\n";
        for cut in 0..received.len() {
            let mut text = Unstuffing::new(100);
            let (mut taken, mut ended) = text.take(&received[..cut]);
            if !ended {
                let (more, end) = text.take(&received[cut..]);
                (taken, ended) = (taken + more, end);
            }
            assert!(ended);
            assert_eq!(&received[taken..], b"QUIT\r\n", "{cut}");
            assert_eq!(text.finish().unwrap(), b"a\r\n.b\r\n\n.\r\r\nc\n\r\n", "{cut}");
        }
    }

    #[test]
    fn too_much_is_read_to_its_end_and_not_kept() {
        for (received, kept) in [
            (&b"12345\r\n.\r\n"[..], Some(&b"12345\r\n"[..])),
            (b"123456\r\n.\r\n", None),
            (b"123\r\n4\r\n\r\n5\r\n.\r\n", None),
            (b"1234567890123456789\r\n.\r\n", None),
        ] {
            let mut whole = Unstuffing::new(7);
            assert_eq!(whole.take(received), (received.len(), true));
            assert_eq!(whole.finish().as_deref(), kept);
            let mut bytewise = Unstuffing::new(7);
            let ended = received.iter().map(|byte| bytewise.take(&[*byte]).1).collect::<Vec<_>>();
            assert!(ended.last().unwrap() & !ended[..ended.len() - 1].contains(&true));
            assert!(bytewise.text.len() <= 7 + DOT.len());
            assert_eq!(bytewise.finish().as_deref(), kept);
        }
    }
}
