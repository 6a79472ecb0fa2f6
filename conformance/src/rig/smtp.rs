//! A small blocking client for Submission, SMTP and LMTP over plain TCP, STARTTLS or TLS.
//!
//! For what packaged clients cannot be told to do: connect from a chosen address, try again after a
//! refusal, speak out of turn.

use std::{io, net::Ipv4Addr};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::rig::{Endpoint, Protocol, Tls, connection::Connection};

/// How it introduces itself.
const NAME: &str = "client.test";

/// One session with a server.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
    /// What the server announced, within TLS if there is any.
    pub extensions: Reply,
}

/// What a server answered to one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The code of three digits.
    pub code: String,
    /// The text of each line.
    pub lines: Vec<String>,
}

impl Reply {
    /// Whether the command did what it was to do.
    pub fn is_ok(&self) -> bool {
        self.code.starts_with('2')
    }
}

impl Client {
    /// Connects, through the TLS handshake of the endpoint and past the answer to EHLO or LHLO.
    pub fn connect(endpoint: &Endpoint) -> io::Result<Self> {
        Self::connect_from(Ipv4Addr::LOCALHOST, endpoint)
    }

    /// The same from a given address of loopback.
    pub fn connect_from(source: Ipv4Addr, endpoint: &Endpoint) -> io::Result<Self> {
        let connection = Connection::open(source, endpoint)?;
        let extensions = Reply { code: String::new(), lines: Vec::new() };
        let mut client = Self { connection, extensions };
        accepted("greeting", client.reply()?)?;
        let verb = if endpoint.protocol == Protocol::Lmtp { "LHLO" } else { "EHLO" };
        let hello = format!("{verb} {NAME}");
        client.extensions = accepted(&hello, client.command(&hello)?)?;
        if endpoint.tls == Tls::Starttls {
            accepted("STARTTLS", client.command("STARTTLS")?)?;
            client.connection = client.connection.encrypt(endpoint)?;
            client.extensions = accepted(&hello, client.command(&hello)?)?;
        }
        Ok(client)
    }

    /// The port that it comes from.
    pub fn source_port(&self) -> io::Result<u16> {
        self.connection.source_port()
    }

    /// Sends a command and reads its answer.
    pub fn command(&mut self, command: &str) -> io::Result<Reply> {
        self.connection.write(format!("{command}\r\n").as_bytes())?;
        self.reply()
    }

    /// AUTH PLAIN with an initial response.
    pub fn authenticate_plain(&mut self, user: &str, password: &str) -> io::Result<Reply> {
        let message = STANDARD.encode(format!("\0{user}\0{password}"));
        self.command(&format!("AUTH PLAIN {message}"))
    }

    /// Sends octets as they are.
    pub fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        self.connection.write(octets)
    }

    /// Reads an answer.
    pub fn reply(&mut self) -> io::Result<Reply> {
        let mut lines = Vec::new();
        loop {
            let line = self.connection.read_line()?;
            let (code, text) = line.split_at_checked(3).ok_or(io::ErrorKind::InvalidData)?;
            lines.push(text.get(1..).unwrap_or_default().to_owned());
            if !text.starts_with('-') {
                return Ok(Reply { code: code.to_owned(), lines });
            }
        }
    }
}

fn accepted(what: &str, reply: Reply) -> io::Result<Reply> {
    if reply.is_ok() { Ok(reply) } else { Err(io::Error::other(format!("{what}: {reply:?}"))) }
}
