//! A small blocking IMAP client over plain TCP, STARTTLS or TLS.
//!
//! For what packaged clients cannot be told to do: hold hundreds of sessions, connect from a chosen
//! address, try again after a refusal. It reads lines and does not follow literals, so it is not
//! for fetching messages. Every read ends within [`READ_LIMIT`], so that a server that says nothing
//! fails a test instead of hanging it.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use socket2::{Domain, Socket, Type};

use crate::rig::{Endpoint, Tls};

/// How long one read may wait.
pub const READ_LIMIT: Duration = Duration::from_secs(60);

/// One session with a server.
#[derive(Debug)]
pub struct Client {
    wire: Wire,
    received: Vec<u8>,
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
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((source, 0)).into())?;
        socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, endpoint.port)).into())?;
        socket.set_read_timeout(Some(READ_LIMIT))?;
        socket.set_tcp_nodelay(true)?;
        let stream = TcpStream::from(socket);
        let wire = match endpoint.tls {
            Tls::Plain | Tls::Starttls => Wire::Plain(stream),
            Tls::Implicit => encrypted(stream, endpoint)?,
        };
        let mut client = Self { wire, received: Vec::new(), tags: 0, greeting: String::new() };
        client.greeting = client.read_line()?;
        match endpoint.tls {
            Tls::Plain | Tls::Implicit => Ok(client),
            Tls::Starttls => client.upgrade(endpoint),
        }
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
        self.wire.write_all(octets)?;
        self.wire.flush()
    }

    /// Reads one line, without its end. The end of the stream is an error.
    pub fn read_line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.received.iter().position(|octet| *octet == b'\n') {
                let line: Vec<u8> = self.received.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(line.trim_ascii_end()).into_owned());
            }
            let mut piece = [0; 4096];
            let count = self.wire.read(&mut piece)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.received.extend_from_slice(&piece[..count]);
        }
    }

    fn upgrade(mut self, endpoint: &Endpoint) -> io::Result<Self> {
        let reply = self.command("STARTTLS")?;
        // Octets behind the answer would be read as if they had come through TLS.
        if !reply.is_ok() || !self.received.is_empty() {
            return Err(io::Error::other(format!("STARTTLS: {reply:?} {:?}", self.received)));
        }
        match self.wire {
            Wire::Plain(stream) => self.wire = encrypted(stream, endpoint)?,
            Wire::Encrypted(_) => return Err(io::Error::other("STARTTLS within TLS")),
        }
        Ok(self)
    }
}

#[derive(Debug)]
enum Wire {
    Plain(TcpStream),
    Encrypted(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Encrypted(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(octets),
            Self::Encrypted(stream) => stream.write(octets),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Encrypted(stream) => stream.flush(),
        }
    }
}

fn encrypted(mut stream: TcpStream, endpoint: &Endpoint) -> io::Result<Wire> {
    let mut roots = RootCertStore::empty();
    for certificate in
        CertificateDer::pem_file_iter(&endpoint.authority).map_err(io::Error::other)?
    {
        roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::from(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let mut connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    Ok(Wire::Encrypted(Box::new(StreamOwned::new(connection, stream))))
}
