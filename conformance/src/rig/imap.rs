//! A small blocking IMAP client over plain TCP, STARTTLS or TLS.
//!
//! For what packaged clients cannot be told to do: hold hundreds of sessions, connect from a chosen
//! address, try again after a refusal. It reads lines and does not follow literals, so it is not
//! for fetching messages.

use std::{io, net::Ipv4Addr};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::rig::{Endpoint, Tls, connection::Connection};

/// One session with a server.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
    tags: u32,
    /// The greeting line.
    pub greeting: String,
}

/// What a server answered to one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The untagged lines, in order.
    pub untagged: Vec<String>,
    /// The tagged line without its tag: `OK …`, `NO …` or `BAD …`.
    pub tagged: String,
}

impl Reply {
    /// Whether it is OK.
    pub fn is_ok(&self) -> bool {
        self.tagged.starts_with("OK ")
    }
}

impl Client {
    /// Connects, up to the greeting and through the TLS handshake of the endpoint.
    pub fn connect(endpoint: &Endpoint) -> io::Result<Self> {
        Self::connect_from(Ipv4Addr::LOCALHOST, endpoint)
    }

    /// The same from a given address of loopback.
    pub fn connect_from(source: Ipv4Addr, endpoint: &Endpoint) -> io::Result<Self> {
        let connection = Connection::open(source, endpoint)?;
        let mut client = Self { connection, tags: 0, greeting: String::new() };
        client.greeting = client.read_line()?;
        match endpoint.tls {
            Tls::Plain | Tls::Implicit => Ok(client),
            Tls::Starttls => client.upgrade(endpoint),
        }
    }

    /// The port that it comes from.
    pub fn source_port(&self) -> io::Result<u16> {
        self.connection.source_port()
    }

    /// Sends a command and reads up to its tagged answer.
    pub fn command(&mut self, command: &str) -> io::Result<Reply> {
        let tag = self.send(command)?;
        self.reply(&tag)
    }

    /// LOGIN with quoted strings.
    pub fn login(&mut self, user: &str, password: &str) -> io::Result<Reply> {
        let quoted =
            |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        self.command(&format!("LOGIN {} {}", quoted(user), quoted(password)))
    }

    /// AUTHENTICATE PLAIN with an initial response.
    pub fn authenticate_plain(&mut self, user: &str, password: &str) -> io::Result<Reply> {
        let message = STANDARD.encode(format!("\0{user}\0{password}"));
        self.command(&format!("AUTHENTICATE PLAIN {message}"))
    }

    /// Sends a command and answers its tag, with which [`Self::reply`] collects the answer.
    pub fn send(&mut self, command: &str) -> io::Result<String> {
        self.tags += 1;
        let tag = format!("t{}", self.tags);
        self.write(format!("{tag} {command}\r\n").as_bytes())?;
        Ok(tag)
    }

    /// Reads up to the answer with this tag.
    pub fn reply(&mut self, tag: &str) -> io::Result<Reply> {
        let mut untagged = Vec::new();
        loop {
            let line = self.read_line()?;
            match line.strip_prefix(tag).and_then(|rest| rest.strip_prefix(' ')) {
                Some(tagged) => return Ok(Reply { untagged, tagged: tagged.to_owned() }),
                None => untagged.push(line),
            }
        }
    }

    /// Sends octets as they are.
    pub fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        self.connection.write(octets)
    }

    /// Reads one line, without its end. The end of the stream is an error.
    pub fn read_line(&mut self) -> io::Result<String> {
        self.connection.read_line()
    }

    fn upgrade(mut self, endpoint: &Endpoint) -> io::Result<Self> {
        let reply = self.command("STARTTLS")?;
        if !reply.is_ok() {
            return Err(io::Error::other(format!("STARTTLS: {reply:?}")));
        }
        self.connection = self.connection.encrypt(endpoint)?;
        Ok(self)
    }
}
