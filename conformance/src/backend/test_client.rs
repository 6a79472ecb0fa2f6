//! A client of tests, over a loopback socket: in plain text or inside TLS.
//!
//! It reads whole lines. A backend that stays silent fails the test instead of hanging it. What the
//! lines mean is each protocol's tests' own business.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use super::tls::SelfSigned;
use super::{Account, Backend, BackendTls, Protocol, Settings};

pub(super) trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

pub(super) struct Client(pub(super) BufReader<Box<dyn Stream>>);

pub(super) fn connected(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

pub(super) fn inside_tls(stream: TcpStream, certificate: &SelfSigned) -> Client {
    let name = ServerName::try_from("localhost").unwrap();
    let tls = ClientConnection::new(certificate.client_config().unwrap(), name).unwrap();
    Client(BufReader::new(Box::new(StreamOwned::new(tls, stream))))
}

/// A backend that speaks one protocol beside IMAP, with the accounts `alice@example.com` (password
/// `secret`) and `bob@example.com` (`x y`), and that offers XCLIENT.
pub(super) fn started(protocol: Protocol, tls: BackendTls) -> Backend {
    let accounts =
        vec![Account::new("alice@example.com", "secret"), Account::new("bob@example.com", "x y")];
    let protocols = vec![protocol, Protocol::Imap];
    let settings =
        Settings { protocols, tls, accounts, offer_xclient: true, ..Settings::default() };
    Backend::start(settings).unwrap()
}

impl Client {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self(BufReader::new(Box::new(stream)))
    }

    pub(super) fn of(backend: &Backend) -> Self {
        Self::new(connected(backend.address()))
    }

    /// The next line without its CRLF; empty at the end of the stream.
    pub(super) fn line(&mut self) -> String {
        let mut line = Vec::new();
        self.0.read_until(b'\n', &mut line).unwrap();
        String::from_utf8_lossy(&line).trim_end().to_owned()
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).unwrap();
        self.0.get_mut().flush().unwrap();
    }

    /// Sends a line; the next line is the answer.
    pub(super) fn say(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n").as_bytes());
        self.line()
    }

    /// Fails unless the one line of answer begins like this.
    pub(super) fn expect(&mut self, line: &str, begins: &str) -> String {
        let answer = self.say(line);
        assert!(answer.starts_with(begins), "{line}: {answer}");
        answer
    }

    /// Lines up to and with the first that is the `last`, each with a line feed behind it.
    pub(super) fn until(&mut self, last: impl Fn(&str) -> bool) -> String {
        let mut all = String::new();
        loop {
            let line = self.line();
            all.push_str(&line);
            all.push('\n');
            if last(&line) {
                return all;
            }
            assert!(all.len() < 1 << 20 && !(line.is_empty() && self.ended()), "{all}");
        }
    }

    pub(super) fn ended(&mut self) -> bool {
        self.0.fill_buf().map_or(true, <[u8]>::is_empty)
    }
}

/// Sends a dialogue many times with single octets changed: every session must end in an orderly
/// way, the first thing said beginning with `greeting`.
pub(super) fn torment(backend: &Backend, script: &[u8], greeting: &[u8]) {
    let mut seed = 0x2545_F491_4F6C_DD1D_u64;
    let mut random = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    for round in 0..300 {
        let mut input = script.to_vec();
        for _ in 0..=random(6) {
            let at = random(input.len());
            input[at] = b"\0\r\n {}()[]<>*%\"\\09aZ+-,:\xff"[random(25)];
        }
        let stream = connected(backend.address());
        let mut writer = stream.try_clone().unwrap();
        writer.write_all(&input).unwrap();
        writer.shutdown(std::net::Shutdown::Write).unwrap();
        let mut said = Vec::new();
        Client::new(stream).0.read_to_end(&mut said).unwrap();
        assert!(said.starts_with(greeting), "round {round}");
    }
    // The backend hears of the last one's end a moment after the client.
    while !backend.sessions().iter().all(|record| record.ended) {
        std::thread::yield_now();
    }
}
