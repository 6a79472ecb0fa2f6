//! One connection of a client: lines and literals in, replies out, TLS underneath or not yet.
//!
//! Replies are collected in [`Output`] and leave in one write before the next wait for input. A
//! large body is never copied into it: it keeps a reference to the stored message and is written
//! from there. Input is bounded by what the caller allows; an announced size reserves nothing
//! before its octets arrive. Which command means what is the protocols' own business (see `imap`).

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio_rustls::TlsAcceptor;

use super::dots::{self, Unstuffing};
use super::store::Content;

/// Below this, in octets, a body is copied beside the text around it and saves a write.
const COPY_BELOW: usize = 8 * 1024;

/// The space for a literal begins with this many octets, and doubles as they arrive.
const READ_AHEAD: usize = 256 * 1024;

/// The most octets, and the longest time, that are spent on a client after its goodbye.
const GOODBYE_OCTETS: u64 = 1024 * 1024;
const GOODBYE_WAIT: Duration = Duration::from_secs(1);

/// Anything that bytes go in and out of: TCP, or TLS over TCP.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// What [`Connection::line`] found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line without its CRLF or LF.
    Text(Vec<u8>),
    /// No line end within the limit. The rest of the line was not read.
    TooLong,
    /// The client has closed its side.
    Ended,
}

pub(super) struct Connection {
    stream: BufReader<Box<dyn Duplex>>,
    /// Replies not yet written.
    pub(super) out: Output,
}

impl Connection {
    pub(super) fn new(stream: Box<dyn Duplex>) -> Self {
        Self { stream: BufReader::new(stream), out: Output::default() }
    }

    /// The TLS handshake of a server. Plaintext that was already received behind the command that
    /// asked for TLS ends the connection: it must never be run as if TLS had protected it.
    pub(super) async fn start_tls(mut self, acceptor: &TlsAcceptor) -> io::Result<Self> {
        self.flush().await?;
        if !self.stream.buffer().is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "plaintext behind STARTTLS"));
        }
        let stream = acceptor.accept(self.stream.into_inner()).await?;
        Ok(Self::new(Box::new(stream)))
    }

    /// The next line of at most `limit` octets, after writing what is due.
    pub(super) async fn line(&mut self, limit: usize) -> io::Result<Line> {
        let mut line = Vec::new();
        loop {
            self.wait_for_input().await?;
            let arrived = self.stream.buffer();
            if arrived.is_empty() {
                return Ok(Line::Ended);
            }
            let end = memchr::memchr(b'\n', arrived);
            let taken = end.map_or(arrived.len(), |end| end + 1);
            line.extend_from_slice(&arrived[..taken]);
            self.stream.consume(taken);
            if line.len() > limit {
                return Ok(Line::TooLong);
            }
            if end.is_some() {
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(Line::Text(line));
            }
        }
    }

    /// Exactly `length` octets, or None if the client closes before they are complete.
    pub(super) async fn octets(&mut self, length: usize) -> io::Result<Option<Vec<u8>>> {
        self.flush().await?;
        let mut octets = Vec::new();
        while octets.len() < length {
            let missing = length - octets.len();
            if octets.len() == octets.capacity() {
                // Doubling, but never past what was announced.
                octets.reserve_exact(missing.min(READ_AHEAD.max(octets.len())));
            }
            let room = missing.min(octets.capacity() - octets.len()) as u64;
            if (&mut self.stream).take(room).read_buf(&mut octets).await? == 0 {
                return Ok(None);
            }
        }
        Ok(Some(octets))
    }

    /// A text up to the line that is a dot alone (see `dots`); None inside if it was longer than
    /// `limit` and was not kept, None outside if the client closes before its end.
    pub(super) async fn dotted(&mut self, limit: usize) -> io::Result<Option<Option<Vec<u8>>>> {
        let mut text = Unstuffing::new(limit);
        loop {
            self.wait_for_input().await?;
            let arrived = self.stream.buffer();
            if arrived.is_empty() {
                return Ok(None);
            }
            let (taken, ended) = text.take(arrived);
            self.stream.consume(taken);
            if ended {
                return Ok(Some(text.finish()));
            }
        }
    }

    /// Reads `length` octets and forgets them; whether they all came.
    pub(super) async fn skip(&mut self, length: u64) -> io::Result<bool> {
        self.flush().await?;
        let mut octets = (&mut self.stream).take(length);
        Ok(tokio::io::copy_buf(&mut octets, &mut tokio::io::sink()).await? == length)
    }

    /// Writes what is due, then waits until something was received or the client closed. Safe to
    /// cancel while it waits.
    pub(super) async fn wait_for_input(&mut self) -> io::Result<()> {
        if self.stream.buffer().is_empty() {
            self.flush().await?;
            self.stream.fill_buf().await?;
        }
        Ok(())
    }

    /// Writes what is due.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        let Output { bodies, text } = std::mem::take(&mut self.out);
        for (before, content, range) in bodies {
            self.stream.write_all(&before).await?;
            self.stream.write_all(&content.bytes()[range]).await?;
        }
        self.stream.write_all(&text).await?;
        self.stream.flush().await
    }

    /// Says goodbye: what is due, then the end of the stream (with TLS, its close_notify). What the
    /// client still sends is discarded for a while, since a socket closed over unread input may
    /// take the goodbye back with a reset.
    pub(super) async fn finish(mut self) -> io::Result<()> {
        self.flush().await?;
        self.stream.shutdown().await?;
        let mut rest = self.stream.take(GOODBYE_OCTETS);
        let mut nowhere = tokio::io::sink();
        let discarded = tokio::io::copy_buf(&mut rest, &mut nowhere);
        // That the client did not close in time, or closed rudely, is no fault.
        let _ = tokio::time::timeout(GOODBYE_WAIT, discarded).await;
        Ok(())
    }
}

/// A literal that the end of a line announces: `{17}` or `{17+}`.
pub(super) struct Announced {
    pub(super) octets: u64,
    pub(super) synchronising: bool,
}

impl Announced {
    pub(super) fn at_end_of(line: &[u8]) -> Option<Self> {
        let inside = line.strip_suffix(b"}")?;
        let open = inside.iter().rposition(|byte| *byte == b'{')?;
        let size = &inside[open + 1..];
        let (digits, synchronising) = match size.strip_suffix(b"+") {
            Some(digits) => (digits, false),
            None => (size, true),
        };
        let plain = (1..=19).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
        let octets = std::str::from_utf8(digits).ok().filter(|_| plain)?.parse().ok()?;
        Some(Self { octets, synchronising })
    }
}

/// Replies to be written, in order.
#[derive(Default)]
pub(super) struct Output {
    bodies: Vec<(Vec<u8>, Arc<Content>, Range<usize>)>,
    text: Vec<u8>,
}

impl Output {
    pub(super) fn is_empty(&self) -> bool {
        self.bodies.is_empty() && self.text.is_empty()
    }

    pub(super) fn text(&mut self, text: &str) {
        self.text.extend_from_slice(text.as_bytes());
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.text.extend_from_slice(bytes);
    }

    /// `text` and CRLF.
    pub(super) fn line(&mut self, text: &str) {
        self.text(text);
        self.text("\r\n");
    }

    /// A part of a stored message; `range` must lie within it.
    pub(super) fn body(&mut self, content: &Arc<Content>, range: Range<usize>) {
        if range.len() < COPY_BELOW {
            self.bytes(&content.bytes()[range]);
        } else {
            self.bodies.push((std::mem::take(&mut self.text), Arc::clone(content), range));
        }
    }

    /// A part of a stored message that begins with a line, and the dot behind it.
    pub(super) fn dotted(&mut self, content: &Arc<Content>, range: Range<usize>) {
        let part = &content.bytes()[range.clone()];
        if content.wire().verbatim && (part.is_empty() || part.ends_with(b"\n")) {
            self.body(content, range);
        } else {
            dots::stuff(part, &mut self.text);
        }
        self.line(".");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn a_line_at_the_limit_passes_and_one_past_it_does_not() {
        let mut connection =
            Connection::new(Box::new(std::io::Cursor::new(b"12\r\n123\r\n".to_vec())));
        assert_eq!(connection.line(4).await.unwrap(), Line::Text(b"12".to_vec()));
        assert_eq!(connection.line(4).await.unwrap(), Line::TooLong);
        assert_eq!(connection.line(4).await.unwrap(), Line::Ended);
    }

    #[tokio::test]
    async fn an_announced_size_reserves_little_and_a_short_stream_is_noticed() {
        let mut connection = Connection::new(Box::new(std::io::Cursor::new(b"abcdef".to_vec())));
        assert_eq!(connection.octets(4).await.unwrap(), Some(b"abcd".to_vec()));
        assert_eq!(connection.octets(usize::MAX).await.unwrap(), None);
    }
}
