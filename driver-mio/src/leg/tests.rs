//! Legs over loopback sockets, against rustls' buffered connections on blocking sockets, which
//! are another implementation of the same, and against each other.
#![allow(clippy::unwrap_used)]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream as StdStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};
use rustls::{ClientConnection, Connection as Peer, ServerConnection};

use super::scratch::RECORD_PLAIN_MAX;
use super::*;
use crate::pipe::PipePool;
use crate::tls::samples::{Samples, client_with, server_policy, server_with};
use crate::tls::{
    Certificate, CertificateSource, MinVersion, ServerPolicy, ServerTls, Trust, pin_of, server_name,
};

/// Long enough for a busy machine; a test that waits for it has failed.
const HANG: Duration = Duration::from_secs(20);
const NAME: &str = "mail.example.com";

/// Around each length at which something changes.
const SIZES: [usize; 11] =
    [1, 2, 1_023, 16_383, 16_384, 16_385, 32_768, 49_152, 65_536, 65_537, 300_001];

/// A leg with a poll and buffers of its own.
struct End {
    leg: Leg,
    poll: Poll,
    scratch: Scratch,
}

impl End {
    fn new(mut leg: Leg) -> Self {
        let poll = Poll::new().unwrap();
        let both = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(leg.socket(), Token(0), both).unwrap();
        Self { leg, poll, scratch: Scratch::new() }
    }

    fn wait(&mut self) {
        let mut events = Events::with_capacity(8);
        self.poll.poll(&mut events, Some(HANG)).unwrap();
        assert!(!events.is_empty(), "the leg waits for something that never comes");
        events.iter().for_each(|event| self.leg.on_event(event));
    }

    fn start_server(&mut self, config: &Arc<ServerConfig>) {
        self.leg.start_tls_server(Arc::clone(config), Vec::new()).unwrap();
    }

    fn start_client(&mut self, config: &Arc<ClientConfig>, name: &str) {
        let name = server_name(name).unwrap();
        self.leg.start_tls_client(Arc::clone(config), name, Vec::new()).unwrap();
    }

    fn handshake(&mut self) -> Result<TlsUp, TlsFault> {
        loop {
            match self.leg.handshake(&mut self.scratch) {
                Handshake::InProgress => self.wait(),
                Handshake::Up(up) => {
                    self.flush();
                    return Ok(*up);
                }
                Handshake::Failed(fault) => {
                    self.flush();
                    return Err(fault);
                }
            }
        }
    }

    /// Gives the peer a moment, without which this test would only be quicker.
    fn wait_briefly(&mut self) {
        let mut events = Events::with_capacity(8);
        self.poll.poll(&mut events, Some(Duration::from_millis(1))).unwrap();
        events.iter().for_each(|event| self.leg.on_event(event));
    }

    /// Reads until there is this much, or an end.
    fn read(&mut self, octets: usize, limit: usize) -> (Vec<u8>, Option<Read>) {
        let mut all = Vec::new();
        while all.len() < octets {
            match self.leg.read(&mut self.scratch, limit) {
                Read::Some { plain, .. } => {
                    assert_eq!(plain, self.scratch.received().len());
                    all.extend_from_slice(self.scratch.received());
                    let most = limit + self.leg.layers.len() * RECORD_WIRE_MAX;
                    assert!(plain <= most, "{plain} octets for {limit}");
                }
                Read::WouldBlock => {
                    assert!(!self.leg.readable());
                    self.wait();
                }
                end @ (Read::Eof { .. } | Read::Lost(_)) => return (all, Some(end)),
            }
        }
        (all, None)
    }

    fn write(&mut self, bytes: &[u8]) {
        self.leg.write(bytes, &mut self.scratch).unwrap();
        self.flush();
    }

    fn flush(&mut self) {
        self.leg.flush().unwrap();
        while self.leg.unsent_len() > 0 {
            self.wait();
            self.leg.flush().unwrap();
        }
    }

    fn shutdown(&mut self) {
        self.leg.shutdown_write(&mut self.scratch).unwrap();
        self.flush();
        assert!(self.leg.fin_sent());
    }
}

fn sockets() -> (StdStream, StdStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let theirs = StdStream::connect(listener.local_addr().unwrap()).unwrap();
    let (ours, _) = listener.accept().unwrap();
    theirs.set_read_timeout(Some(HANG)).unwrap();
    theirs.set_write_timeout(Some(HANG)).unwrap();
    (ours, theirs)
}

/// Our end, and theirs as a blocking socket.
fn pair() -> (End, StdStream) {
    let (ours, theirs) = sockets();
    (end_of(ours), theirs)
}

fn two_ends() -> (End, End) {
    let (one, other) = sockets();
    (end_of(one), end_of(other))
}

fn end_of(socket: StdStream) -> End {
    socket.set_nonblocking(true).unwrap();
    End::new(Leg::accepted(TcpStream::from_std(socket)))
}

fn pattern(octets: usize) -> Vec<u8> {
    (0..octets).map(|index| (index * 7 + index / 251) as u8).collect()
}

struct TlsPair {
    _samples: Samples,
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

/// Configurations that trust each other.
fn tls_pair() -> TlsPair {
    let samples = Samples::new();
    let source = samples.certificate(&[NAME]);
    let client = client_with(Trust::CaFile(source.cert.clone()));
    TlsPair { server: server_with(&[&source]), client, _samples: samples }
}

/// The same with one version of TLS only, and with small records if asked for.
fn tls_pair_of(version: TlsVersion, fragment: Option<usize>) -> TlsPair {
    let samples = Samples::new();
    let source = samples.certificate(&[NAME]);
    let policy = match version {
        TlsVersion::Tls12 => ServerPolicy {
            disable_cipher_suites: SUITES_OF_TLS13.map(str::to_owned).to_vec(),
            ..server_policy()
        },
        TlsVersion::Tls13 => ServerPolicy { min_version: MinVersion::Tls13, ..server_policy() },
    };
    let certificate = Certificate::load(&source).unwrap();
    let server = ServerTls::new().unwrap().config(&[certificate], &policy).unwrap();
    let mut server = (*server).clone();
    server.max_fragment_size = fragment;
    let client = client_with(Trust::CaFile(source.cert.clone()));
    let mut client = (*client).clone();
    client.max_fragment_size = fragment;
    TlsPair { server: Arc::new(server), client: Arc::new(client), _samples: samples }
}

const SUITES_OF_TLS13: [&str; 3] =
    ["TLS13_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS13_CHACHA20_POLY1305_SHA256"];

const VERSIONS: [TlsVersion; 2] = [TlsVersion::Tls12, TlsVersion::Tls13];

/// Which side a leg under test is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Server,
    Client,
}

impl TlsPair {
    fn start(&self, end: &mut End, role: Role) {
        match role {
            Role::Server => end.start_server(&self.server),
            Role::Client => end.start_client(&self.client, NAME),
        }
    }

    /// The opposite of a leg in this role, by rustls' buffered connection.
    fn peer_of(&self, role: Role) -> Peer {
        match role {
            Role::Server => {
                let client = Arc::clone(&self.client);
                ClientConnection::new(client, server_name(NAME).unwrap()).unwrap().into()
            }
            Role::Client => ServerConnection::new(Arc::clone(&self.server)).unwrap().into(),
        }
    }
}

/// Runs `talk` as the peer of a leg in this role, on a thread.
fn peer<T: Send + 'static>(
    pair: &TlsPair,
    role: Role,
    mut socket: StdStream,
    talk: impl FnOnce(&mut Peer, &mut StdStream) -> T + Send + 'static,
) -> thread::JoinHandle<T> {
    let mut connection = pair.peer_of(role);
    thread::spawn(move || talk(&mut connection, &mut socket))
}

fn say(peer: &mut Peer, socket: &mut StdStream, mut bytes: &[u8]) {
    while peer.is_handshaking() {
        peer.complete_io(socket).unwrap();
    }
    while !bytes.is_empty() {
        let taken = peer.writer().write(bytes).unwrap();
        bytes = &bytes[taken..];
        write_out(peer, socket);
    }
}

fn write_out(peer: &mut Peer, socket: &mut StdStream) {
    while peer.wants_write() {
        peer.write_tls(socket).unwrap();
    }
}

fn hear(peer: &mut Peer, socket: &mut StdStream, octets: usize) -> Vec<u8> {
    let mut heard = Vec::new();
    while heard.len() < octets {
        let missing = octets - heard.len();
        assert!(hear_some(peer, socket, missing, &mut heard) > 0, "it ended early");
    }
    heard
}

/// Until the end of stream, a clean one.
fn hear_all(peer: &mut Peer, socket: &mut StdStream) -> Vec<u8> {
    let mut heard = Vec::new();
    while hear_some(peer, socket, usize::MAX, &mut heard) > 0 {}
    heard
}

fn hear_some(peer: &mut Peer, socket: &mut StdStream, most: usize, heard: &mut Vec<u8>) -> usize {
    let mut piece = vec![0; most.min(RECORD_PLAIN_MAX)];
    loop {
        match peer.reader().read(&mut piece) {
            Ok(octets) => {
                heard.extend_from_slice(&piece[..octets]);
                return octets;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                write_out(peer, socket);
                peer.read_tls(socket).unwrap();
                peer.process_new_packets().unwrap();
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn say_goodbye(peer: &mut Peer, socket: &mut StdStream) {
    peer.send_close_notify();
    write_out(peer, socket);
}

#[test]
fn plain_octets_pass_whatever_the_cut() {
    for cap in [None, Some(1), Some(3)] {
        let (mut end, mut theirs) = pair();
        end.leg.set_read_cap(cap);
        let sent = pattern(5_000);
        let expected = sent.clone();
        let peer = thread::spawn(move || {
            theirs.write_all(&sent).unwrap();
            let mut heard = vec![0; sent.len()];
            theirs.read_exact(&mut heard).unwrap();
            heard
        });
        let (heard, end_seen) = end.read(expected.len(), 777);
        assert_eq!((heard == expected, end_seen), (true, None));
        end.write(&heard);
        assert_eq!(peer.join().unwrap(), expected);
        assert_eq!(end.leg.held(), 0);
        assert_eq!(end.read(1, 1), (Vec::new(), Some(Read::Eof { clean: true })));
        assert!(!end.leg.readable(), "an end that was told is nothing to read");
    }
}

#[test]
fn an_end_behind_a_short_read_is_told_and_what_comes_later_is_heard() {
    let (mut end, mut theirs) = pair();
    let mut heard = Vec::new();
    let mut read = |end: &mut End| {
        let read = end.leg.read(&mut end.scratch, 100);
        heard.extend_from_slice(end.scratch.received());
        read
    };
    theirs.write_all(b"one").unwrap();
    while !end.leg.readable() {
        end.wait();
    }
    assert_eq!(read(&mut end), Read::Some { plain: 3, wire: 3 });
    assert!(!end.leg.readable() && !end.leg.at_end(), "nothing is there until an event says so");
    assert_eq!(read(&mut end), Read::WouldBlock);
    theirs.write_all(b"two").unwrap();
    drop(theirs);
    // Until the end has come as well: one edge may tell of both. Sooner, two do.
    thread::sleep(Duration::from_millis(50));
    while !end.leg.readable() {
        end.wait();
    }
    assert_eq!(read(&mut end), Read::Some { plain: 3, wire: 3 });
    while !end.leg.readable() {
        end.wait();
    }
    assert_eq!(read(&mut end), Read::Eof { clean: true });
    assert!(end.leg.at_end() && !end.leg.readable());
    assert_eq!(heard, b"onetwo");
}

#[test]
fn octets_of_every_size_pass_through_tls_in_both_roles() {
    for version in VERSIONS {
        for role in [Role::Server, Role::Client] {
            let pair_of_configs = tls_pair_of(version, None);
            let (mut end, theirs) = pair();
            pair_of_configs.start(&mut end, role);
            let peer = peer(&pair_of_configs, role, theirs, |peer, socket| {
                for size in SIZES {
                    let heard = hear(peer, socket, size);
                    say(peer, socket, &heard);
                }
                say_goodbye(peer, socket);
            });
            let up = end.handshake().unwrap();
            assert_eq!(up.version, version);
            assert_eq!(up.alpn.as_deref(), Some(&b"imap"[..]));
            assert!(up.suite.starts_with("TLS_") && !up.resumed, "{up:?}");
            assert_eq!(up.sni.as_deref(), (role == Role::Server).then_some(NAME));
            for size in SIZES {
                end.write(&pattern(size));
                let (heard, ending) = end.read(size, 64 * 1024);
                assert!(heard == pattern(size) && ending.is_none(), "{size} octets, {role:?}");
                assert_eq!(end.leg.held(), 0, "after {size} octets");
            }
            assert_eq!(end.read(1, 1), (Vec::new(), Some(Read::Eof { clean: true })));
            peer.join().unwrap();
        }
    }
}

#[test]
fn single_octet_reads_and_small_records_change_nothing() {
    for version in VERSIONS {
        for role in [Role::Server, Role::Client] {
            let configs = tls_pair_of(version, Some(64));
            let (mut end, theirs) = pair();
            end.leg.set_read_cap(Some(1));
            configs.start(&mut end, role);
            let peer = peer(&configs, role, theirs, |peer, socket| {
                say(peer, socket, &pattern(1_000));
                hear(peer, socket, 3_000)
            });
            end.handshake().unwrap();
            let mut heard = Vec::new();
            // Writing while part of a record, or of a message in many records (a client gets its
            // tickets now), is held.
            for octet in pattern(3_000) {
                if heard_nothing_yet(end.leg.read(&mut end.scratch, 1)) {
                    end.wait_briefly();
                }
                heard.extend_from_slice(end.scratch.received());
                end.write(&[octet]);
            }
            let missing = 1_000 - heard.len();
            heard.extend(end.read(missing, 1).0);
            assert!(heard == pattern(1_000), "{version:?} {role:?}");
            assert!(peer.join().unwrap() == pattern(3_000), "{version:?} {role:?}");
        }
    }
}

fn heard_nothing_yet(read: Read) -> bool {
    match read {
        Read::Some { .. } => false,
        Read::WouldBlock => true,
        Read::Eof { .. } | Read::Lost(_) => panic!("{read:?}"),
    }
}

#[test]
fn what_a_slow_reader_does_not_take_waits_and_arrives() {
    for tls in [false, true] {
        let configs = tls_pair();
        let (mut end, mut theirs) = pair();
        let bulk = pattern(16 * 1024 * 1024);
        let (go, wait) = mpsc::channel::<()>();
        let reader = if tls {
            configs.start(&mut end, Role::Server);
            peer(&configs, Role::Server, theirs, move |peer, socket| {
                peer.complete_io(socket).unwrap();
                wait.recv().unwrap();
                hear_all(peer, socket)
            })
        } else {
            thread::spawn(move || {
                wait.recv().unwrap();
                let mut heard = Vec::new();
                theirs.read_to_end(&mut heard).unwrap();
                heard
            })
        };
        if tls {
            end.handshake().unwrap();
        }
        end.leg.write(&bulk[..bulk.len() - 3], &mut end.scratch).unwrap();
        let unsent = end.leg.unsent_len();
        assert!(unsent > 0 && end.leg.held() >= unsent && !end.leg.writable());
        end.leg.write(&bulk[bulk.len() - 3..], &mut end.scratch).unwrap();
        assert!(end.leg.unsent_len() >= unsent + 3, "it waits behind the rest");
        end.leg.shutdown_write(&mut end.scratch).unwrap();
        assert!(!end.leg.fin_sent(), "the end comes behind what is unsent");
        go.send(()).unwrap();
        end.flush();
        assert!(end.leg.fin_sent());
        assert!(reader.join().unwrap() == bulk, "tls: {tls}");
        assert_eq!(end.leg.held(), 0);
    }
}

#[test]
fn a_limit_is_kept_to_a_record_and_nothing_is_lost() {
    let configs = tls_pair();
    let (mut end, theirs) = pair();
    configs.start(&mut end, Role::Server);
    let peer = peer(&configs, Role::Server, theirs, |peer, socket| {
        say(peer, socket, &pattern(200_000));
        hear(peer, socket, 1)
    });
    end.handshake().unwrap();
    // `read` of `End` asserts the limit.
    let (heard, _) = end.read(200_000, 10);
    assert!(heard == pattern(200_000));
    end.write(b".");
    peer.join().unwrap();
}

#[test]
fn octets_that_came_with_the_end_of_a_handshake_are_read_first() {
    let configs = tls_pair();
    let (mut end, theirs) = pair();
    configs.start(&mut end, Role::Server);
    let (go, may_go) = mpsc::channel::<()>();
    let (said, was_said) = mpsc::channel::<()>();
    let peer = peer(&configs, Role::Server, theirs, move |peer, socket| {
        peer.write_tls(socket).unwrap();
        while peer.is_handshaking() {
            peer.read_tls(socket).unwrap();
            peer.process_new_packets().unwrap();
        }
        may_go.recv().unwrap();
        // The last flight of the handshake and the first command leave together.
        peer.writer().write_all(b"a LOGIN alice secret\r\n").unwrap();
        say_goodbye(peer, socket);
        said.send(()).unwrap();
        hear(peer, socket, 2)
    });
    while !end.leg.readable() {
        end.wait();
    }
    assert_eq!(end.leg.handshake(&mut end.scratch), Handshake::InProgress);
    go.send(()).unwrap();
    was_said.recv().unwrap();
    end.handshake().unwrap();
    assert!(end.leg.held() > 0 && end.leg.readable());
    assert_eq!(end.read(10, 10), (b"a LOGIN al".to_vec(), None));
    let (rest, ending) = end.read(1_000, 100);
    assert_eq!(rest, b"ice secret\r\n");
    assert_eq!(ending, Some(Read::Eof { clean: true }));
    assert_eq!(end.leg.held(), 0);
    end.write(b"ok");
    assert_eq!(peer.join().unwrap(), b"ok", "a peer that has ended may still be written to");
}

#[test]
fn an_end_without_close_notify_is_told_and_what_came_before_counts() {
    let configs = tls_pair();
    let (mut end, theirs) = pair();
    configs.start(&mut end, Role::Client);
    let peer = peer(&configs, Role::Client, theirs, |peer, socket| {
        say(peer, socket, b"* BYE\r\n");
    });
    end.handshake().unwrap();
    let told = end.read(100, 100);
    assert_eq!(told, (b"* BYE\r\n".to_vec(), Some(Read::Eof { clean: false })));
    peer.join().unwrap();
}

#[test]
fn our_end_leaves_the_other_direction_open() {
    for tls in [false, true] {
        let configs = tls_pair();
        let (mut end, mut theirs) = pair();
        let answer = |heard: &[u8]| [b"heard ", heard].concat();
        let peer = if tls {
            configs.start(&mut end, Role::Client);
            peer(&configs, Role::Client, theirs, move |peer, socket| {
                let heard = hear_all(peer, socket);
                say(peer, socket, &answer(&heard));
            })
        } else {
            thread::spawn(move || {
                let mut heard = Vec::new();
                theirs.read_to_end(&mut heard).unwrap();
                theirs.write_all(&answer(&heard)).unwrap();
            })
        };
        if tls {
            end.handshake().unwrap();
        }
        end.write(b"all");
        end.shutdown();
        assert_eq!(end.read(9, 100).0, b"heard all");
        peer.join().unwrap();
    }
}

#[test]
fn plaintext_behind_starttls_fails_in_the_handshake_at_every_cut() {
    let injected = b"a1 LOGIN mallory secret\r\n";
    let configs = tls_pair();
    for cut in 1..=injected.len() {
        let (mut end, mut theirs) = pair();
        let (leftover, late) = injected.split_at(cut);
        let config = Arc::clone(&configs.server);
        end.leg.start_tls_server(config, leftover.to_vec()).unwrap();
        theirs.write_all(late).unwrap();
        let fault = end.handshake().unwrap_err();
        assert!(matches!(fault, TlsFault::Protocol(_)), "{fault:?}");
        end.shutdown();
        let mut alert = Vec::new();
        theirs.read_to_end(&mut alert).unwrap();
        assert_eq!(alert.first(), Some(&21), "an alert record is what it hears");
        let read = end.leg.read(&mut end.scratch, 100);
        assert_eq!(end.scratch.received(), b"", "nothing of it is data");
        assert_eq!(read, Read::Lost(Lost::Tls(fault)));
    }
}

#[test]
fn a_handshake_message_without_end_is_refused_in_bounded_memory() {
    let configs = tls_pair();
    let (mut end, mut theirs) = pair();
    configs.start(&mut end, Role::Server);
    // A ClientHello that announces 60000 octets, one octet in a record.
    let mut hello = vec![22, 3, 1, 0, 4, 1, 0, 0xEA, 0x60];
    (0..60_000).for_each(|_| hello.extend([22, 3, 1, 0, 1, 0]));
    let peer = thread::spawn(move || {
        let _ = theirs.write_all(&hello);
    });
    let mut most_held = 0;
    let fault = loop {
        match end.leg.handshake(&mut end.scratch) {
            Handshake::InProgress => end.wait(),
            Handshake::Failed(fault) => break fault,
            Handshake::Up(up) => panic!("{up:?}"),
        }
        most_held = most_held.max(end.leg.held());
    };
    assert!(matches!(fault, TlsFault::Protocol(_)), "{fault:?}");
    assert!(most_held <= 4 * RECORD_WIRE_MAX, "{most_held} octets");
    assert_eq!(end.leg.held(), 0);
    drop(end);
    peer.join().unwrap();
}

#[test]
fn alpn_ids_that_differ_end_both_handshakes() {
    let mut configs = tls_pair();
    Arc::make_mut(&mut configs.client).alpn_protocols = vec![b"h2".to_vec()];
    let (mut ours, mut theirs) = two_ends();
    configs.start(&mut ours, Role::Server);
    let config = Arc::clone(&configs.client);
    let client = thread::spawn(move || {
        theirs.start_client(&config, NAME);
        theirs.handshake()
    });
    assert_eq!(ours.handshake(), Err(TlsFault::Alpn));
    assert_eq!(client.join().unwrap(), Err(TlsFault::Alpn), "it was told by an alert");
}

#[test]
fn a_client_without_alpn_is_served() {
    let mut configs = tls_pair();
    Arc::make_mut(&mut configs.client).alpn_protocols.clear();
    let (mut end, theirs) = pair();
    configs.start(&mut end, Role::Server);
    let peer = peer(&configs, Role::Server, theirs, |peer, socket| say(peer, socket, b"."));
    assert_eq!(end.handshake().unwrap().alpn, None);
    peer.join().unwrap();
}

#[test]
fn a_backend_is_judged_by_its_certificate() {
    use CertificateFault as Fault;
    let samples = Samples::new();
    let good = samples.certificate(&[NAME]);
    let other = samples.certificate(&["other.example.net"]);
    let old = samples.expired(&["old.example.com"]);
    let pin = pin_of(&crate::tls::samples::leaf(&good));
    let file = |source: &CertificateSource| Trust::CaFile(source.cert.clone());
    let cases = [
        (&good, NAME, file(&good), None),
        (&good, NAME, file(&other), Some(Fault::UnknownIssuer)),
        (&good, NAME, Trust::PlatformRoots, Some(Fault::UnknownIssuer)),
        (&good, "imap.example.com", file(&good), Some(Fault::NameMismatch)),
        (&old, "old.example.com", file(&old), Some(Fault::Expired)),
        (&good, "192.0.2.1", Trust::Pins(vec![[0; 32], pin]), None),
        (&other, NAME, Trust::Pins(vec![pin]), Some(Fault::PinMismatch)),
        (&old, "192.0.2.1", Trust::Anything, None),
    ];
    for (served, name, trust, expected) in cases {
        if matches!(trust, Trust::PlatformRoots) && !crate::tls::samples::has_platform_roots() {
            eprintln!("skipped: this system has no certificate authorities");
            continue;
        }
        let server = server_with(&[served]);
        let (mut end, mut theirs) = two_ends();
        let client_config = client_with(trust.clone());
        end.start_client(&client_config, name);
        let server = thread::spawn(move || {
            theirs.start_server(&server);
            theirs.handshake()
        });
        match expected {
            None => {
                end.handshake().unwrap();
                server.join().unwrap().unwrap();
            }
            Some(fault) => {
                assert_eq!(end.handshake(), Err(TlsFault::Certificate(fault)), "{trust:?}");
                drop(server);
            }
        }
    }
}

#[test]
fn the_certificate_follows_the_name_asked_for() {
    let samples = Samples::new();
    let apex = samples.certificate(&["example.com"]);
    let wild = samples.certificate(&["*.example.com"]);
    let other = CertificateSource { default: true, ..samples.certificate(&["example.net"]) };
    let server = server_with(&[&apex, &wild, &other]);
    for (name, expected) in [
        ("example.com", &apex),
        ("imap.example.com", &wild),
        ("a.b.example.com", &apex),
        ("Imap.Example.Com", &wild),
        ("example.org", &other),
        ("192.0.2.1", &other),
    ] {
        let (mut ours, mut theirs) = two_ends();
        ours.start_server(&server);
        let pin = pin_of(&crate::tls::samples::leaf(expected));
        let client_config = client_with(Trust::Pins(vec![pin]));
        let client = thread::spawn(move || {
            theirs.start_client(&client_config, name);
            theirs.handshake()
        });
        let up = ours.handshake().unwrap();
        let is_address = name.starts_with("192");
        assert_eq!(up.sni, (!is_address).then(|| name.to_ascii_lowercase()));
        client.join().unwrap().unwrap();
    }
}

#[test]
fn a_second_connection_resumes_in_both_roles() {
    for version in VERSIONS {
        let configs = tls_pair_of(version, None);
        for expected in [false, true] {
            let (mut ours, mut theirs) = two_ends();
            ours.start_server(&configs.server);
            let config = Arc::clone(&configs.client);
            let client = thread::spawn(move || {
                theirs.start_client(&config, NAME);
                let up = theirs.handshake().unwrap();
                // The tickets come with the first octets.
                theirs.write(b"?");
                assert_eq!(theirs.read(1, 10).0, b"!");
                up.resumed
            });
            let up = ours.handshake().unwrap();
            assert_eq!(ours.read(1, 10).0, b"?");
            ours.write(b"!");
            assert_eq!((up.resumed, client.join().unwrap()), (expected, expected), "{version:?}");
            assert_eq!(up.sni.as_deref(), Some(NAME), "also when the session is resumed");
        }
    }
}

#[test]
fn logins_side_by_side_all_resume() {
    const SIDE_BY_SIDE: usize = 12;
    let configs = tls_pair();
    for expected in [false, true] {
        // Every one has begun, with its ticket or without, before the first is over.
        let mut pairs: Vec<(End, End)> = (0..SIDE_BY_SIDE).map(|_| two_ends()).collect();
        for (ours, theirs) in &mut pairs {
            ours.start_server(&configs.server);
            theirs.start_client(&configs.client, NAME);
        }
        for (mut ours, mut theirs) in pairs {
            let client = thread::spawn(move || {
                let up = theirs.handshake().unwrap();
                assert_eq!(theirs.read(1, 10).0, b"!");
                up.resumed
            });
            let up = ours.handshake().unwrap();
            ours.write(b"!");
            assert_eq!((up.resumed, client.join().unwrap()), (expected, expected));
        }
    }
}

#[test]
fn layers_stack() {
    let outer = tls_pair();
    let inner = tls_pair();
    let (mut ours, mut theirs) = two_ends();
    theirs.leg.set_read_cap(Some(100));
    let (outer_client, inner_client) = (Arc::clone(&outer.client), Arc::clone(&inner.client));
    let client = thread::spawn(move || {
        theirs.start_client(&outer_client, NAME);
        theirs.handshake().unwrap();
        // A header between the layers, and the inner ClientHello right behind it.
        theirs.write(b"PROXY\r\n");
        theirs.start_client(&inner_client, NAME);
        theirs.handshake().unwrap();
        theirs.write(&pattern(100_000));
        theirs.shutdown();
        theirs.read(100_001, 1_000)
    });
    ours.start_server(&outer.server);
    ours.handshake().unwrap();
    let (mut header, _) = ours.read(7, 1_000);
    let leftover = header.split_off(7);
    assert_eq!(header, b"PROXY\r\n");
    ours.leg.start_tls_server(Arc::clone(&inner.server), leftover).unwrap();
    ours.handshake().unwrap();
    let (heard, _) = ours.read(100_000, 10_000);
    assert!(heard == pattern(100_000));
    assert_eq!(ours.read(1, 1), (Vec::new(), Some(Read::Eof { clean: true })));
    ours.write(&heard);
    ours.shutdown();
    let (echo, ending) = client.join().unwrap();
    assert!(echo == heard);
    assert_eq!(ending, Some(Read::Eof { clean: true }));
    assert_eq!(ours.leg.held(), 0);
}

#[test]
fn a_peer_that_goes_during_the_handshake_is_told_apart() {
    let configs = tls_pair();
    for role in [Role::Server, Role::Client] {
        let (mut end, theirs) = pair();
        configs.start(&mut end, role);
        drop(theirs);
        let fault = end.handshake().unwrap_err();
        assert!(matches!(fault, TlsFault::PeerClosed | TlsFault::Io(_)), "{fault:?}");
    }
}

#[test]
fn discarding_ends_with_the_peer_or_at_the_limit() {
    let (mut end, theirs) = pair();
    end.shutdown();
    assert_eq!(end.leg.discard(&mut end.scratch), Discard::WouldBlock);
    drop(theirs);
    assert_eq!(discarded(&mut end), 0);

    let (mut end, mut theirs) = pair();
    end.shutdown();
    let peer = thread::spawn(move || while theirs.write_all(&[0; 4_096]).is_ok() {});
    assert!(discarded(&mut end) >= DISCARD_MAX);
    drop(end);
    peer.join().unwrap();
}

fn discarded(end: &mut End) -> usize {
    loop {
        match end.leg.discard(&mut end.scratch) {
            Discard::Again => {}
            Discard::WouldBlock => end.wait(),
            Discard::Done => return end.leg.discarded,
        }
    }
}

#[test]
fn octets_spliced_between_plain_legs_arrive_behind_what_is_unsent() {
    for cap in [None, Some(1_000)] {
        let (mut from, mut speaker) = pair();
        let (mut to, mut hearer) = pair();
        from.leg.set_read_cap(cap);
        let bulk = pattern(3_000_000);
        let said = bulk.clone();
        let speaker = thread::spawn(move || speaker.write_all(&said).unwrap());
        let ahead = pattern(8 * 1024 * 1024);
        to.leg.write(&ahead, &mut to.scratch).unwrap();
        assert!(to.leg.unsent_len() > 0);
        let hearer = thread::spawn(move || {
            let mut heard = Vec::new();
            hearer.read_to_end(&mut heard).unwrap();
            heard
        });
        let mut pool = PipePool::new(1);
        let mut pipe = pool.take().unwrap();
        loop {
            if pipe.is_empty() {
                match from.leg.splice_in(&mut pipe, 64 * 1024) {
                    Splice::Moved(octets) => assert!(octets <= cap.unwrap_or(64 * 1024)),
                    Splice::WouldBlock => from.wait(),
                    Splice::Eof => break,
                    Splice::Lost(kind) => panic!("{kind}"),
                }
            } else {
                match to.leg.splice_out(&mut pipe, Follows::Nothing) {
                    Splice::Moved(_) => {}
                    Splice::WouldBlock => to.wait(),
                    Splice::Eof | Splice::Lost(_) => panic!("no way out"),
                }
            }
        }
        pool.give_back(pipe);
        to.shutdown();
        speaker.join().unwrap();
        assert!(hearer.join().unwrap() == [ahead, bulk].concat());
        assert_eq!((from.leg.held(), to.leg.held()), (0, 0));
    }
}

#[test]
fn a_connect_is_told_when_it_is_over() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connect = || End::new(Leg::connecting(TcpStream::connect(address).unwrap()));
    let outcome = |mut end: End| loop {
        end.wait();
        if let Some(outcome) = end.leg.finish_connect() {
            return outcome;
        }
    };
    outcome(connect()).unwrap();
    drop(listener);
    assert_eq!(outcome(connect()).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}
