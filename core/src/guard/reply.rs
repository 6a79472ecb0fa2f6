//! The replies of a Submission backend after the hand-off, as far as the guard needs them.
//!
//! RFC 5321 §4.2: a line with a code; the last one of a reply has a space behind it. Of each line
//! as much is kept as its code and one keyword need. The session's own automaton, which is gone by
//! then, has a stricter parser for replies that it must understand.

/// Octets of a line that are kept: code, separator, a keyword and what ends it.
const FRONT_MAX: usize = 4 + KEYWORD.len() + 1;

/// The one keyword of EHLO that matters (RFC 3030 §2).
const KEYWORD: &[u8] = b"CHUNKING";

/// The lines of replies, however they are cut.
#[derive(Debug, Default)]
pub(super) struct Replies {
    front: [u8; FRONT_MAX],
    front_len: usize,
    /// The code of a reply whose last line is still to come.
    begun: Option<[u8; 3]>,
    chunking: bool,
}

/// A whole reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) code: [u8; 3],
    /// One of its lines is the keyword CHUNKING.
    pub(super) chunking: bool,
}

impl Replies {
    pub(super) const fn new() -> Self {
        Self { front: [0; FRONT_MAX], front_len: 0, begun: None, chunking: false }
    }

    /// Takes part of a line. The end of a line gives a reply if it is the last of one, and an
    /// error if it belongs to none.
    pub(super) fn take(&mut self, part: &[u8], is_end: bool) -> Result<Option<Reply>, ()> {
        let free = &mut self.front[self.front_len..];
        let kept = free.len().min(part.len());
        free[..kept].copy_from_slice(&part[..kept]);
        self.front_len += kept;
        if !is_end {
            return Ok(None);
        }
        let front_len = core::mem::take(&mut self.front_len);
        let line = self.front[..front_len].trim_ascii_end();
        let (code, rest) = line.split_first_chunk::<3>().ok_or(())?;
        if !code.iter().all(u8::is_ascii_digit) || self.begun.is_some_and(|begun| begun != *code) {
            return Err(());
        }
        let keyword = rest.get(1..).unwrap_or_default();
        let keyword = keyword.split(|&octet| octet == b' ').next().unwrap_or_default();
        self.chunking |= keyword.eq_ignore_ascii_case(KEYWORD);
        match rest.first() {
            Some(b'-') => {
                self.begun = Some(*code);
                Ok(None)
            }
            Some(b' ') | None => {
                self.begun = None;
                let chunking = core::mem::take(&mut self.chunking);
                Ok(Some(Reply { code: *code, chunking }))
            }
            Some(_) => Err(()),
        }
    }
}
