//! One end of a connection, as a client or a backend holds it: a socket, perhaps with TLS on it.
//!
//! Everything that a peer may do to its end can be done here: read a part, end its direction with
//! or without a close_notify, reset the connection. Every wait ends within [`LIMIT`], so that a
//! server that says nothing fails a test instead of hanging it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};
use socket2::{Domain, SockRef, Socket, Type};

/// How long anything may take, on the busiest machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
/// The pause between two looks at what is to become true.
const LOOK: Duration = Duration::from_millis(5);
/// The password of every account: a word that must not appear in any log.
pub(crate) const PASSWORD: &str = "sesame9d1f";

/// One end of a connection.
pub(crate) struct Wire {
    pub(crate) socket: TcpStream,
    pub(crate) tls: Option<Connection>,
    /// Read from the wire and not asked for yet.
    ahead: Vec<u8>,
}

impl Wire {
    /// Connects to a server, without TLS.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::connect_from(IpAddr::V4(Ipv4Addr::LOCALHOST), address, None)
    }

    /// The same from this address; `receive` makes the socket's receive buffer so small.
    pub(crate) fn connect_from(from: IpAddr, address: SocketAddr, receive: Option<usize>) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        if address.ip().is_ipv4() {
            socket.bind(&SocketAddr::new(from, 0).into()).unwrap();
        }
        if let Some(octets) = receive {
            socket.set_recv_buffer_size(octets).unwrap();
        }
        socket.connect(&address.into()).unwrap();
        Self::new(socket.into())
    }

    /// Whoever was accepted.
    pub(crate) fn new(socket: TcpStream) -> Self {
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        socket.set_write_timeout(Some(LIMIT)).unwrap();
        Self { socket, tls: None, ahead: Vec::new() }
    }

    /// A handshake as a client.
    pub(crate) fn secure(&mut self, config: Arc<ClientConfig>, name: &str) -> io::Result<()> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
        self.handshake(connection.into())
    }

    /// A handshake as a server.
    pub(crate) fn serve(&mut self, config: Arc<ServerConfig>) -> io::Result<()> {
        let connection = ServerConnection::new(config).map_err(io::Error::other)?;
        self.handshake(connection.into())
    }

    fn handshake(&mut self, mut connection: Connection) -> io::Result<()> {
        while connection.is_handshaking() {
            connection.complete_io(&mut self.socket)?;
        }
        self.tls = Some(connection);
        Ok(())
    }

    /// Reads a line, without its end; the end of the stream is an error.
    pub(crate) fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.ahead.iter().position(|octet| *octet == b'\n') {
                let line: Vec<u8> = self.ahead.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(line.trim_ascii_end()).into_owned());
            }
            let mut piece = [0; 4096];
            let count = self.receive(&mut piece)?;
            if count == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            self.ahead.extend_from_slice(&piece[..count]);
        }
    }

    /// Reads a line that must be there.
    pub(crate) fn expect(&mut self, start: &str) -> String {
        let line = self.line().unwrap_or_else(|error| panic!("{error} in place of {start}"));
        assert!(line.starts_with(start), "{line} in place of {start}");
        line
    }

    /// Sends all of it.
    pub(crate) fn say(&mut self, octets: impl AsRef<[u8]>) {
        self.write_all(octets.as_ref()).unwrap();
    }

    /// Sends something and waits until it has come out at the other end, and back.
    pub(crate) fn echo(&mut self, far: &mut Self, word: &str) {
        self.say(format!("{word}\r\n"));
        assert_eq!(far.line().unwrap(), word);
        far.say(format!("back {word}\r\n"));
        assert_eq!(self.line().unwrap(), format!("back {word}"));
    }

    /// Takes the greeting and logs in.
    pub(crate) fn log_in(&mut self, user: &str) {
        self.expect("* OK ");
        self.say(format!("in LOGIN {user} {PASSWORD}\r\n"));
        assert!(self.answer("in").starts_with("OK "));
    }

    /// Reads up to a tagged line, and gives what stands behind the tag.
    pub(crate) fn answer(&mut self, tag: &str) -> String {
        loop {
            let line = self.line().unwrap();
            if let Some(answer) = line.strip_prefix(tag).and_then(|rest| rest.strip_prefix(' ')) {
                return answer.to_owned();
            }
        }
    }

    /// Everything up to the end of the stream, and how it ended.
    pub(crate) fn rest(&mut self) -> (Vec<u8>, io::Result<()>) {
        let mut all = std::mem::take(&mut self.ahead);
        let end = self.read_to_end(&mut all).map(drop);
        (all, end)
    }

    /// Ends this direction: with close_notify and FIN.
    pub(crate) fn finish(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            while tls.wants_write() {
                tls.write_tls(&mut self.socket).unwrap();
            }
        }
        self.cut();
    }

    /// Ends this direction: with FIN alone.
    pub(crate) fn cut(&mut self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    /// Resets the connection.
    pub(crate) fn reset(self) {
        SockRef::from(&self.socket).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Octets, from this side, that the other side's kernel has not acknowledged.
    pub(crate) fn unacknowledged(&self) -> usize {
        let (local, remote) =
            (self.socket.local_addr().unwrap().port(), self.socket.peer_addr().unwrap().port());
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let port = |field: &str| u16::from_str_radix(field.rsplit(':').next().unwrap(), 16);
        let line = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
        let mut ours =
            line.filter(|line| port(line[1]).unwrap() == local && port(line[2]).unwrap() == remote);
        let queues = ours.next().map_or("0:0", |line| line[4]);
        usize::from_str_radix(queues.split(':').next().unwrap(), 16).unwrap()
    }

    fn receive(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.socket.read(room) };
        loop {
            match tls.reader().read(room) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                outcome => return outcome,
            }
            while tls.wants_write() {
                tls.write_tls(&mut self.socket)?;
            }
            tls.read_tls(&mut self.socket)?;
            tls.process_new_packets().map_err(io::Error::other)?;
        }
    }
}

impl Read for Wire {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if self.ahead.is_empty() {
            return self.receive(room);
        }
        let count = room.len().min(self.ahead.len());
        room[..count].copy_from_slice(&self.ahead[..count]);
        self.ahead.drain(..count);
        Ok(count)
    }
}

impl Write for Wire {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.socket.write(octets) };
        let taken = tls.writer().write(octets)?;
        while tls.wants_write() {
            tls.write_tls(&mut self.socket)?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits until `look` finds something; what it finds.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let limit = Instant::now() + LIMIT;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < limit, "it never came to this: {what}");
        thread::sleep(LOOK);
    }
}

/// The most octets that [`pattern`] gives at once.
pub(crate) const PIECE: usize = 64 * 1024;

/// So many octets of a stream that has no end, from this position on. It repeats itself only after
/// a span that nothing else here is a multiple of, so that what is lost or misplaced shows.
pub(crate) fn pattern(from: usize, octets: usize) -> &'static [u8] {
    const PERIOD: usize = 1_048_573;
    static STREAM: OnceLock<Vec<u8>> = OnceLock::new();
    let stream = STREAM.get_or_init(|| {
        let mut state = 1_u32;
        let mut octets: Vec<u8> = (0..PERIOD)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        octets.extend_from_within(..PIECE);
        octets
    });
    &stream[from % PERIOD..][..octets]
}

/// Sends the stream's octets from `from` to `to`.
pub(crate) fn send(wire: &mut Wire, from: usize, to: usize) {
    for at in (from..to).step_by(PIECE) {
        wire.say(pattern(at, PIECE.min(to - at)));
    }
}

/// Reads the stream's octets from `from` to `to`, and nothing else.
pub(crate) fn receive(wire: &mut Wire, from: usize, to: usize) {
    let mut room = vec![0; PIECE];
    for at in (from..to).step_by(PIECE) {
        let count = PIECE.min(to - at);
        wire.read_exact(&mut room[..count]).unwrap();
        assert!(&room[..count] == pattern(at, count), "other octets at {at}");
    }
}

/// Moves so many octets from one end to the other.
pub(crate) fn transfer(from: &mut Wire, to: &mut Wire, octets: usize) {
    thread::scope(|scope| {
        scope.spawn(|| send(from, 0, octets));
        receive(to, 0, octets);
    });
}
