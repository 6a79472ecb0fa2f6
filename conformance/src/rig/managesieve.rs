//! A small blocking ManageSieve client over plain TCP, STARTTLS or TLS.
//!
//! For what packaged clients cannot be told to do: connect from a chosen address, begin with TLS,
//! try again after a refusal. It follows literals, so it can carry scripts.

use std::{io, net::Ipv4Addr};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::rig::{Endpoint, Tls, connection::Connection};

/// One session with a server.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
    /// The capabilities of the greeting, or of the block within TLS if there is any.
    pub capabilities: Reply,
}

/// What a server answered to one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The lines before the last, in order. A literal is a line of its own, as it is.
    pub lines: Vec<String>,
    /// The last line: `OK …`, `NO …` or `BYE …`.
    pub last: String,
}

impl Reply {
    /// Whether it is OK.
    pub fn is_ok(&self) -> bool {
        self.last.starts_with("OK")
    }
}

impl Client {
    /// Connects, up to the capabilities and through the TLS handshake of the endpoint.
    pub fn connect(endpoint: &Endpoint) -> io::Result<Self> {
        Self::connect_from(Ipv4Addr::LOCALHOST, endpoint)
    }

    /// The same from a given address of loopback.
    pub fn connect_from(source: Ipv4Addr, endpoint: &Endpoint) -> io::Result<Self> {
        let connection = Connection::open(source, endpoint)?;
        let capabilities = Reply { lines: Vec::new(), last: String::new() };
        let mut client = Self { connection, capabilities };
        client.capabilities = client.reply()?;
        if endpoint.tls == Tls::Starttls {
            let reply = client.command("STARTTLS")?;
            if !reply.is_ok() {
                return Err(io::Error::other(format!("STARTTLS: {reply:?}")));
            }
            client.connection = client.connection.encrypt(endpoint)?;
            client.capabilities = client.reply()?;
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

    /// AUTHENTICATE PLAIN with an initial response.
    pub fn authenticate_plain(&mut self, user: &str, password: &str) -> io::Result<Reply> {
        let message = STANDARD.encode(format!("\0{user}\0{password}"));
        self.command(&format!("AUTHENTICATE \"PLAIN\" \"{message}\""))
    }

    /// Stores a script, as a literal.
    pub fn put_script(&mut self, name: &str, script: &str) -> io::Result<Reply> {
        self.command(&format!("PUTSCRIPT \"{name}\" {{{}+}}\r\n{script}", script.len()))
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
            if let Some(count) = literal(&line) {
                let octets = self.connection.read_octets(count)?;
                lines.push(String::from_utf8_lossy(&octets).into_owned());
                // The line goes on behind the literal, with nothing.
                self.connection.read_line()?;
                continue;
            }
            if ["OK", "NO", "BYE"].iter().any(|word| line.starts_with(word)) {
                return Ok(Reply { lines, last: line });
            }
            lines.push(line);
        }
    }
}

/// The size of the literal that a line announces.
fn literal(line: &str) -> Option<usize> {
    line.strip_prefix('{')?.strip_suffix('}')?.parse().ok()
}
