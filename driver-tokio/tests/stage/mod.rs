//! What the tests share: an in-memory backend, a service in front of it, and a login.

#![allow(dead_code, missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use gatepost_tokio::config::{Destination, Host, Listener, Protocol, TlsMode};
use gatepost_tokio::{
    Builder, ConnectFault, Connected, Connector, Ended, Gatepost, Observer, Peer, Request, Serving,
    SessionFacts, Target, destination, listener, to,
};
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader,
    DuplexStream, duplex,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Octets that an in-memory stream holds.
pub(crate) const PIPE: usize = 4096;

/// Gives the far end of every connection away.
pub(crate) struct InMemory(pub(crate) mpsc::Sender<DuplexStream>);

impl Connector for InMemory {
    type Stream = DuplexStream;

    async fn connect(
        &self,
        _: Target,
        _: Arc<Host>,
    ) -> Result<Connected<DuplexStream>, ConnectFault> {
        let (near, far) = duplex(PIPE);
        self.0.send(far).await.map_err(|_| ConnectFault::Refused)?;
        Ok(Connected::new(near, ([192, 0, 2, 143], 143).into(), ([192, 0, 2, 1], 49152).into()))
    }
}

pub(crate) fn peer() -> Peer {
    Peer { client: "192.0.2.7:50123".parse().unwrap(), local: "198.51.100.1:143".parse().unwrap() }
}

pub(crate) fn home(tls: TlsMode) -> Arc<Destination> {
    Arc::new(destination("backend.test", 143, Protocol::Imap, tls).unwrap())
}

/// IMAP without TLS, where passwords are taken all the same.
pub(crate) fn open_listener() -> Listener {
    let mut listener = listener(Protocol::Imap, TlsMode::Plain).unwrap();
    listener.cleartext_without_tls = true;
    listener
}

/// A service whose backends are in memory, and where they arrive.
pub(crate) fn builder(listener: Listener) -> (Builder, mpsc::Receiver<DuplexStream>) {
    let (sender, backends) = mpsc::channel(8);
    let home = home(TlsMode::Plain);
    let route = move |_: Request| {
        let answer = to(&home);
        async move { answer }
    };
    (Gatepost::builder(listener, route).connector(InMemory(sender)), backends)
}

/// Reads one line, with its end.
pub(crate) async fn line(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        let octet = stream.read_u8().await;
        line.push(octet.unwrap_or_else(|error| panic!("{error} after {:?}", line.escape_ascii())));
    }
    String::from_utf8(line).unwrap()
}

/// A session in relay.
pub(crate) struct Relayed {
    pub(crate) client: DuplexStream,
    pub(crate) backend: DuplexStream,
    pub(crate) session: JoinHandle<Ended>,
}

/// Plays a backend that takes the login that comes next.
pub(crate) async fn take_login(backend: &mut DuplexStream) {
    backend.write_all(b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] hi\r\n").await.unwrap();
    assert_eq!(line(backend).await, "L AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==\r\n");
    backend.write_all(b"L OK [CAPABILITY IMAP4rev1] in\r\n").await.unwrap();
}

/// Logs alice in.
pub(crate) async fn log_in(
    gatepost: &Gatepost,
    backends: &mut mpsc::Receiver<DuplexStream>,
) -> Relayed {
    let (mut client, served) = duplex(PIPE);
    let session = tokio::spawn(gatepost.serve(served, peer()));
    assert!(line(&mut client).await.starts_with("* OK "));
    client.write_all(b"a LOGIN alice secret\r\n").await.unwrap();
    let mut backend = backends.recv().await.unwrap();
    take_login(&mut backend).await;
    assert_eq!(line(&mut client).await, "a OK [CAPABILITY IMAP4rev1] in\r\n");
    Relayed { client, backend, session }
}

/// Counts what it is told.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) accepted: AtomicU32,
    pub(crate) refused: AtomicU32,
    pub(crate) failed: AtomicU32,
    pub(crate) ended: std::sync::Mutex<Vec<String>>,
}

pub(crate) struct Counting(pub(crate) Arc<Counts>);

impl Observer for Counting {
    fn login_accepted(&self, session: &SessionFacts) {
        assert!(session.logged_in_after.is_some() && session.destination.is_some());
        self.0.accepted.fetch_add(1, Ordering::Relaxed);
    }

    fn login_refused(&self, _: &SessionFacts, _: gatepost_tokio::Refusal) {
        self.0.refused.fetch_add(1, Ordering::Relaxed);
    }

    fn attempt_failed(
        &self,
        _: &SessionFacts,
        _: &Arc<Destination>,
        _: gatepost_tokio::AttemptFault,
        _: gatepost_tokio::State,
    ) {
        self.0.failed.fetch_add(1, Ordering::Relaxed);
    }

    fn ended(&self, ended: &Ended) {
        self.0.ended.lock().unwrap().push(ended.close.to_string());
    }
}

/// Lines of a stream that is read to its end.
pub(crate) async fn rest(stream: impl AsyncRead + Unpin) -> Vec<String> {
    let mut lines = BufReader::new(stream).lines();
    let mut all = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        all.push(line);
    }
    all
}

/// The session's future and the client's end of it.
pub(crate) fn begin(gatepost: &Gatepost) -> (DuplexStream, Serving) {
    let (client, served) = duplex(PIPE);
    (client, gatepost.serve(served, peer()))
}
