//! A small blocking POP3 client over plain TCP, STLS or TLS.
//!
//! For what packaged clients cannot be told to do: connect from a chosen address, try again after a
//! refusal, send commands ahead of the answers.

use std::{io, net::Ipv4Addr};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::rig::{Endpoint, Tls, connection::Connection};

/// One session with a server.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
    /// The greeting line.
    pub greeting: String,
}

impl Client {
    /// Connects, up to the greeting and through the TLS handshake of the endpoint.
    pub fn connect(endpoint: &Endpoint) -> io::Result<Self> {
        Self::connect_from(Ipv4Addr::LOCALHOST, endpoint)
    }

    /// The same from a given address of loopback.
    pub fn connect_from(source: Ipv4Addr, endpoint: &Endpoint) -> io::Result<Self> {
        let mut connection = Connection::open(source, endpoint)?;
        let greeting = connection.read_line()?;
        let mut client = Self { connection, greeting };
        if endpoint.tls == Tls::Starttls {
            let reply = client.command("STLS")?;
            if !reply.starts_with("+OK") {
                return Err(io::Error::other(format!("STLS: {reply}")));
            }
            client.connection = client.connection.encrypt(endpoint)?;
        }
        Ok(client)
    }

    /// The port that it comes from.
    pub fn source_port(&self) -> io::Result<u16> {
        self.connection.source_port()
    }

    /// Sends a command and answers its status line.
    pub fn command(&mut self, command: &str) -> io::Result<String> {
        self.write(format!("{command}\r\n").as_bytes())?;
        self.read_line()
    }

    /// USER and PASS: the answer to the latter, or to USER if that is refused.
    pub fn login(&mut self, user: &str, password: &str) -> io::Result<String> {
        let reply = self.command(&format!("USER {user}"))?;
        if !reply.starts_with("+OK") {
            return Ok(reply);
        }
        self.command(&format!("PASS {password}"))
    }

    /// AUTH PLAIN with an initial response.
    pub fn authenticate_plain(&mut self, user: &str, password: &str) -> io::Result<String> {
        let message = STANDARD.encode(format!("\0{user}\0{password}"));
        self.command(&format!("AUTH PLAIN {message}"))
    }

    /// Reads the lines that follow a status line, up to the final dot, which is not answered. A
    /// dot that stands before another is taken away.
    pub fn lines(&mut self) -> io::Result<Vec<String>> {
        let mut lines = Vec::new();
        loop {
            let line = self.read_line()?;
            if line == "." {
                return Ok(lines);
            }
            lines.push(line.strip_prefix('.').unwrap_or(&line).to_owned());
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
}
