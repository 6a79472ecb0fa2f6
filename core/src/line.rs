//! Lines, and the limits that all protocols share.
//!
//! Framing comes first and never fails on content: it says where a line ends, or that it cannot
//! end within its limit. Limits are judged by position in the stream, so it does not matter how
//! the bytes were cut. Parsing what is inside a line is the protocols' own work.

use alloc::vec::Vec;

use memchr::{memchr, memmem};

/// Octets of one client line, its end included (IMAP has its own, for ID).
pub const LINE_MAX: usize = 8192;

/// Octets of base64 in one SASL message.
pub const SASL_MESSAGE_MAX: usize = 16384;

/// Octets of a password.
pub const PASSWORD_MAX: usize = 1024;

/// Octets of a user name.
pub const USER_MAX: usize = 1024;

/// Octets a client may send before it is logged in, in all.
pub const PREAUTH_MAX: usize = 65536;

/// Octets of a client that is carried from its first byte, taken before its backend is there.
pub const EARLY_MAX: usize = 4096;

/// Commands that cannot be served before the connection ends.
pub const BAD_COMMANDS_MAX: u32 = 10;

/// Commands with which a trusted proxy may introduce its client; an introduction that is too long
/// for one command comes in several.
pub const INTRODUCTIONS_MAX: u32 = 8;

/// Octets of one line or reply of a backend before its verdict, literals included.
pub const BACKEND_LINE_MAX: usize = 8192;

/// Octets of a backend before its verdict, in all.
pub const BACKEND_OCTETS_MAX: usize = 65536;

/// Octets of one command line toward a backend; what is longer follows a prompt.
pub const BACKEND_COMMAND_MAX: usize = 8192;

/// Lines of a backend before its verdict.
pub const BACKEND_LINES_MAX: u32 = 128;

/// Octets in the outbox toward the client at which eating pauses until they are flushed.
pub const OUTBOX_FULL: usize = 4096;

/// Where a line lies at the start of some input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// Octets before the line end.
    pub content: usize,
    /// Octets including the line end.
    pub whole: usize,
}

/// Whether input begins with a whole line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Yes.
    Whole(Line),
    /// Not yet.
    Incomplete,
    /// It has no end within the limit.
    TooLong,
    /// It has no end within what the sender may still send in all.
    Spent,
}

/// As [`lenient`], for a sender who may send only `allowance` octets more: whichever limit lies
/// first in the stream decides.
pub fn within(input: &[u8], scanned: usize, limit: usize, allowance: usize) -> Framing {
    spent_if(limit > allowance, lenient(input, scanned, limit.min(allowance)))
}

/// As [`strict`], for a sender who may send only `allowance` octets more.
pub fn strict_within(input: &[u8], scanned: usize, limit: usize, allowance: usize) -> Framing {
    spent_if(limit > allowance, strict(input, scanned, limit.min(allowance)))
}

/// Names the limit that decided.
const fn spent_if(by_allowance: bool, framing: Framing) -> Framing {
    match framing {
        Framing::TooLong if by_allowance => Framing::Spent,
        framing @ (Framing::Whole(_) | Framing::Incomplete | Framing::TooLong | Framing::Spent) => {
            framing
        }
    }
}

/// Finds the line at the start of `input`, ended by CRLF or a bare LF. `scanned` octets are known
/// to hold no LF; it spares work and does not decide. `limit` counts the line end.
pub fn lenient(input: &[u8], scanned: usize, limit: usize) -> Framing {
    debug_assert!(scanned <= input.len());
    let window = &input[..input.len().min(limit)];
    let from = scanned.min(window.len());
    match memchr(b'\n', &window[from..]) {
        Some(found) => {
            let end = from + found;
            let content = end - usize::from(end > 0 && input[end - 1] == b'\r');
            Framing::Whole(Line { content, whole: end + 1 })
        }
        None if input.len() >= limit => Framing::TooLong,
        None => Framing::Incomplete,
    }
}

/// Finds the line at the start of `input`, ended by CRLF and nothing else; a CR or LF alone is part
/// of it. `scanned` octets are known to hold no CRLF; `limit` counts the line end.
pub fn strict(input: &[u8], scanned: usize, limit: usize) -> Framing {
    debug_assert!(scanned <= input.len());
    let window = &input[..input.len().min(limit)];
    // The last of them may be its CR.
    let from = scanned.saturating_sub(1).min(window.len());
    match memmem::find(&window[from..], b"\r\n") {
        Some(found) => {
            let content = from + found;
            Framing::Whole(Line { content, whole: content + 2 })
        }
        None if input.len() >= limit => Framing::TooLong,
        None => Framing::Incomplete,
    }
}

/// A line's first word, and what stands behind the space after it.
pub fn first_word(line: &[u8]) -> (&[u8], &[u8]) {
    match memchr(b' ', line) {
        Some(space) => (&line[..space], &line[space + 1..]),
        None => (line, b""),
    }
}

/// A text without control characters, so that it stays within one line and shows what it holds.
pub fn without_controls(text: &[u8]) -> Vec<u8> {
    text.iter().copied().filter(|octet| !octet.is_ascii_control()).collect()
}

/// Whether a line is the first of an HTTP request: a method at its start, a version at its end.
/// Such a client is a browser that was lured here, and hears nothing that it could render.
pub fn is_http_request(line: &[u8]) -> bool {
    const METHODS: [&[u8]; 9] = [
        b"GET ",
        b"HEAD ",
        b"POST ",
        b"PUT ",
        b"DELETE ",
        b"CONNECT ",
        b"OPTIONS ",
        b"TRACE ",
        b"PATCH ",
    ];
    let Some(mark) = memmem::rfind(line, b" HTTP/") else { return false };
    let version = &line[mark + b" HTTP/".len()..];
    let is_version = match version {
        [major, b'.', minor] => major.is_ascii_digit() && minor.is_ascii_digit(),
        _ => false,
    };
    is_version && METHODS.iter().any(|method| line.starts_with(method))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_at_its_first_lf() {
        assert_eq!(lenient(b"a NOOP\r\nb", 0, 100), Framing::Whole(Line { content: 6, whole: 8 }));
        assert_eq!(lenient(b"\n", 0, 100), Framing::Whole(Line { content: 0, whole: 1 }));
        assert_eq!(lenient(b"a NOOP\r", 0, 100), Framing::Incomplete);
    }

    #[test]
    fn the_limit_is_a_position_whatever_has_arrived() {
        assert_eq!(lenient(b"abc\r\n", 0, 5), Framing::Whole(Line { content: 3, whole: 5 }));
        assert_eq!(lenient(b"abc\r\n", 0, 4), Framing::TooLong);
        assert_eq!(lenient(b"abc\r", 4, 4), Framing::TooLong);
        assert_eq!(lenient(b"abc", 3, 4), Framing::Incomplete);
    }

    #[test]
    fn a_strict_line_ends_at_its_first_crlf() {
        let line = |content| Framing::Whole(Line { content, whole: content + 2 });
        assert_eq!(strict(b"a\nb\rc\r\nd", 0, 100), line(5));
        assert_eq!(strict(b"a\nb\rc\r\nd", 6, 100), line(5));
        assert_eq!(strict(b"\r\r\n", 2, 100), line(1));
        assert_eq!(strict(b"a\n", 0, 100), Framing::Incomplete);
        assert_eq!(strict(b"abc\r\n", 0, 5), line(3));
        assert_eq!(strict(b"abc\r\n", 0, 4), Framing::TooLong);
        assert_eq!(strict_within(b"abc\r\n", 0, 5, 4), Framing::Spent);
        assert_eq!(strict_within(b"abc\r\n", 0, 4, 4), Framing::TooLong);
    }

    #[test]
    fn http_is_recognised_by_both_ends_of_its_line() {
        assert!(is_http_request(b"GET / HTTP/1.1"));
        assert!(is_http_request(b"POST /a b HTTP/1.0"));
        assert!(!is_http_request(b"GET LOGIN u p"));
        assert!(!is_http_request(b"a1 NOOP HTTP/1.1"));
        assert!(!is_http_request(b"GET / HTTP/11"));
    }
}
