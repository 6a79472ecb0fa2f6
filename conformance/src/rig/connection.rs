//! A blocking connection that reads lines, over plain TCP or TLS: what the rig's clients share.
//!
//! It knows no protocol: which command asks for TLS is the client's business. Certificates are
//! checked against the endpoint's authority alone. Every read ends within [`READ_LIMIT`], so that a
//! server that says nothing fails a test instead of hanging it.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use socket2::{Domain, Socket, Type};

use crate::rig::{Endpoint, Tls};

/// How long one read may wait.
pub const READ_LIMIT: Duration = Duration::from_secs(60);

/// A connection to an endpoint.
#[derive(Debug)]
pub struct Connection {
    wire: Wire,
    received: Vec<u8>,
}

impl Connection {
    /// Connects from an address of loopback, through the TLS handshake if the endpoint begins with
    /// one.
    pub fn open(source: Ipv4Addr, endpoint: &Endpoint) -> io::Result<Self> {
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
        Ok(Self { wire, received: Vec::new() })
    }

    /// The port that it comes from.
    pub fn source_port(&self) -> io::Result<u16> {
        let stream = match &self.wire {
            Wire::Plain(stream) => stream,
            Wire::Encrypted(stream) => stream.get_ref(),
        };
        Ok(stream.local_addr()?.port())
    }

    /// The TLS handshake of an upgrade, once the server has agreed to it.
    pub fn encrypt(self, endpoint: &Endpoint) -> io::Result<Self> {
        // Octets behind the answer would be read as if they had come through TLS.
        if !self.received.is_empty() {
            return Err(io::Error::other(format!("before TLS: {:?}", self.received)));
        }
        match self.wire {
            Wire::Plain(stream) => {
                Ok(Self { wire: encrypted(stream, endpoint)?, received: Vec::new() })
            }
            Wire::Encrypted(_) => Err(io::Error::other("STARTTLS within TLS")),
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
            self.receive()?;
        }
    }

    /// Reads so many octets.
    pub fn read_octets(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.received.len() < count {
            self.receive()?;
        }
        Ok(self.received.drain(..count).collect())
    }

    fn receive(&mut self) -> io::Result<()> {
        let mut piece = [0; 4096];
        let count = loop {
            match self.wire.read(&mut piece) {
                // A read with a limit ends early if the process is stopped and goes on.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => break outcome?,
            }
        };
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.received.extend_from_slice(&piece[..count]);
        Ok(())
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
