//! One client: a connection, and how far its conversation is.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use rustls::HandshakeKind;

use crate::bench::case::Protocol;
use crate::bench::load::words::{Answer, Exchange, complains};
use crate::bench::stream::{Received, Stream};

/// The longest line that is worth keeping for an error.
const LINE_MAX: usize = 4096;

/// A client's side of one connection.
pub(super) struct Session {
    pub(super) stream: Stream,
    protocol: Protocol,
    /// The first is under way.
    queue: VecDeque<Exchange>,
    line: Vec<u8>,
    octets: usize,
    began: Instant,
    /// How long the conversation took, from its first word to the end of the last answer.
    pub(super) took: Duration,
}

impl Session {
    /// A conversation that begins now, with a connection.
    pub(super) fn new(stream: Stream, protocol: Protocol, exchanges: Vec<Exchange>) -> Self {
        let (line, octets, began) = (Vec::new(), 0, Instant::now());
        let queue = exchanges.into();
        Self { stream, protocol, queue, line, octets, began, took: Duration::ZERO }
    }

    /// Says something more.
    pub(super) fn say(&mut self, exchange: Exchange) -> io::Result<()> {
        self.began = Instant::now();
        self.stream.send(&exchange.said)?;
        self.queue.push_back(exchange);
        Ok(())
    }

    /// Says something and forgets about the answer.
    pub(super) fn shout(&mut self, exchange: &Exchange) -> io::Result<()> {
        self.stream.send(&exchange.said)
    }

    /// Whether its handshake resumed an earlier session; none without TLS.
    pub(super) fn resumed(&self) -> Option<bool> {
        self.stream.handshake().map(|kind| kind == HandshakeKind::Resumed)
    }

    /// Reads what there is. True: the conversation has come to its end with this.
    pub(super) fn advance(&mut self, room: &mut [u8]) -> io::Result<bool> {
        self.stream.flush()?;
        let Self { stream, protocol, queue, line, octets, .. } = self;
        if queue.is_empty() {
            return Ok(false);
        }
        let mut outcome = Ok(());
        let mut finished = 0;
        let received = stream.receive(room, &mut |bytes| {
            if outcome.is_ok() {
                outcome = hear(bytes, *protocol, queue, &mut finished, line, octets);
            }
        })?;
        outcome?;
        for _ in 0..finished {
            queue.pop_front();
            if let Some(next) = queue.front() {
                stream.send(&next.said)?;
            }
        }
        if received == Received::End {
            match queue.pop_front() {
                Some(Exchange { answer: Answer::End, .. }) if queue.is_empty() => {}
                Some(Exchange { said, .. }) => return Err(ended_early(&said)),
                None => return Err(ended_early(b"")),
            }
        }
        let over = self.queue.is_empty();
        if over {
            self.took = self.began.elapsed();
        }
        Ok(over)
    }
}

fn ended_early(said: &[u8]) -> io::Error {
    let said = String::from_utf8_lossy(&said[..said.len().min(80)]).into_owned();
    io::Error::new(io::ErrorKind::UnexpectedEof, format!("no answer to {said:?}"))
}

/// Counts the answers that are complete with these octets: the sink and the proxies never send
/// more than what was asked for, so one at most.
fn hear(
    mut bytes: &[u8],
    protocol: Protocol,
    queue: &VecDeque<Exchange>,
    finished: &mut usize,
    line: &mut Vec<u8>,
    octets: &mut usize,
) -> io::Result<()> {
    while !bytes.is_empty() {
        let Some(exchange) = queue.get(*finished) else {
            return Err(unasked(bytes));
        };
        match exchange.answer {
            Answer::End => return Ok(()),
            Answer::Octets(due) => {
                let part = bytes.len().min(due - *octets);
                *octets += part;
                bytes = &bytes[part..];
                if *octets == due {
                    *octets = 0;
                    *finished += 1;
                }
            }
            Answer::Line(awaited) => {
                let end = bytes.iter().position(|octet| *octet == b'\n').map(|at| at + 1);
                line.extend_from_slice(&bytes[..end.unwrap_or(bytes.len())]);
                bytes = &bytes[end.unwrap_or(bytes.len())..];
                if line.len() > LINE_MAX || (end.is_some() && complains(protocol, line)) {
                    return Err(unasked(line));
                }
                if end.is_some() {
                    *finished += usize::from(line.starts_with(awaited));
                    line.clear();
                }
            }
        }
    }
    Ok(())
}

fn unasked(bytes: &[u8]) -> io::Error {
    let heard = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
    io::Error::new(io::ErrorKind::InvalidData, format!("unexpected {heard:?}"))
}
