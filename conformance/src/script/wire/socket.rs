//! One connection of a scripted client or backend, plain or with TLS, read and written whole.
//!
//! Everything blocks, with a deadline that only a failure meets. A [`Wire`] compares what arrives
//! with what is expected while it reads, so that it never waits for octets that cannot be right.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};

/// How long something expected may take before it counts as missing.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// A connection.
pub(super) struct Wire {
    socket: TcpStream,
    stream: Stream,
}

/// A socket, or TLS on top of something.
enum Stream {
    Plain(TcpStream),
    Tls(Box<Connection>, Box<Self>),
}

/// What arrived in place of what was expected.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unlike {
    /// Everything that arrived, as far as it was read.
    pub(super) got: Vec<u8>,
    /// Why no more was read.
    pub(super) stop: &'static str,
}

impl Wire {
    pub(super) fn new(socket: TcpStream) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let stream = Stream::Plain(socket.try_clone()?);
        Ok(Self { socket, stream })
    }

    pub(super) fn start_tls_client(
        &mut self,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> io::Result<()> {
        let connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
        self.shake_hands(connection.into())
    }

    pub(super) fn start_tls_server(&mut self, config: Arc<ServerConfig>) -> io::Result<()> {
        let connection = ServerConnection::new(config).map_err(io::Error::other)?;
        self.shake_hands(connection.into())
    }

    fn shake_hands(&mut self, connection: Connection) -> io::Result<()> {
        let below = std::mem::replace(&mut self.stream, Stream::Plain(self.socket.try_clone()?));
        let (mut connection, mut below) = (Box::new(connection), Box::new(below));
        let mut shaken = Ok(());
        while connection.is_handshaking() && shaken.is_ok() {
            shaken = connection.complete_io(&mut *below).map(|_| ());
        }
        self.stream = Stream::Tls(connection, below);
        shaken
    }

    /// Sends pieces one by one, each as a record of its own under TLS.
    pub(super) fn send(&mut self, octets: &[u8], pieces: &[usize]) -> io::Result<()> {
        let mut rest = octets;
        for piece in pieces {
            let (now, later) = rest.split_at(*piece);
            rest = later;
            self.stream.write_all(now)?;
        }
        Ok(())
    }

    /// Sends the last byte.
    pub(super) fn end(&mut self) -> io::Result<()> {
        self.stream.end()?;
        self.socket.shutdown(Shutdown::Write)
    }

    /// Ends with a reset.
    pub(super) fn reset(self) -> io::Result<()> {
        socket2::SockRef::from(&self.socket).set_linger(Some(Duration::ZERO))
    }

    /// Reads exactly this.
    pub(super) fn expect(&mut self, expected: &[u8]) -> Result<(), Unlike> {
        let mut got = Vec::with_capacity(expected.len());
        while got.len() < expected.len() {
            let mut buffer = [0; 4096];
            let wanted = buffer.len().min(expected.len() - got.len());
            match self.read(&mut buffer[..wanted]) {
                Ok(0) => return Err(Unlike { got, stop: "the connection ended" }),
                Ok(count) => got.extend_from_slice(&buffer[..count]),
                Err(error) => return Err(Unlike { got, stop: why(&error) }),
            }
            if !expected.starts_with(&got) {
                return Err(Unlike { got, stop: "it differs" });
            }
        }
        Ok(())
    }

    /// Reads the end of the stream and nothing before it.
    pub(super) fn expect_end(&mut self) -> Result<(), Unlike> {
        let mut buffer = [0; 4096];
        match self.read(&mut buffer) {
            Ok(0) => Ok(()),
            Ok(count) => {
                Err(Unlike { got: buffer[..count].to_vec(), stop: "it should have ended" })
            }
            Err(error) => Err(Unlike { got: Vec::new(), stop: why(&error) }),
        }
    }

    /// Reads to whatever end there is; what was there, unless it is TLS' own.
    pub(super) fn drain(&mut self) -> Result<Vec<u8>, Unlike> {
        let mut got = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match self.read(&mut buffer) {
                Ok(0) => return Ok(got),
                Ok(count) => got.extend_from_slice(&buffer[..count]),
                Err(error) if is_patience_over(&error) => {
                    return Err(Unlike { got, stop: why(&error) });
                }
                Err(_) => return Ok(got),
            }
        }
    }

    /// Reads raw octets to the end, and forgets them.
    pub(super) fn drain_raw(&mut self) -> Result<(), Unlike> {
        let Ok(socket) = self.socket.try_clone() else { return Ok(()) };
        self.stream = Stream::Plain(socket);
        self.drain().map(|_| ())
    }

    /// What has arrived beyond everything expected.
    pub(super) fn surplus(&mut self) -> Vec<u8> {
        let mut buffer = [0; 4096];
        if self.socket.set_nonblocking(true).is_err() {
            return Vec::new();
        }
        let count = self.read(&mut buffer).unwrap_or(0);
        buffer[..count].to_vec()
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl Stream {
    /// Says on each layer that no more comes.
    fn end(&mut self) -> io::Result<()> {
        let Self::Tls(tls, below) = self else { return Ok(()) };
        tls.send_close_notify();
        while tls.wants_write() {
            tls.write_tls(below)?;
        }
        below.end()
    }
}

impl io::Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (tls, below) = match self {
            Self::Plain(socket) => return socket.read(buffer),
            Self::Tls(tls, below) => (tls, below),
        };
        loop {
            match tls.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return result,
            }
            if tls.read_tls(below)? == 0 {
                // The reader now knows whether a close_notify came first.
                return tls.reader().read(buffer);
            }
            tls.process_new_packets().map_err(io::Error::other)?;
        }
    }
}

impl io::Write for Stream {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(octets),
            Self::Tls(tls, below) => {
                let taken = tls.writer().write(octets)?;
                while tls.wants_write() {
                    tls.write_tls(below)?;
                }
                Ok(taken)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn is_patience_over(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn why(error: &io::Error) -> &'static str {
    let kind = error.kind();
    if is_patience_over(error) {
        "nothing more came"
    } else if kind == ErrorKind::UnexpectedEof {
        "it ended without close_notify"
    } else if matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) {
        "the connection was reset"
    } else {
        "TLS or the connection broke"
    }
}
