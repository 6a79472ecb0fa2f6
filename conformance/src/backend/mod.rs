//! A small mail backend in this process, for the demo, the tests and the bench.
//!
//! It is for trying out and nothing else: mail is kept in memory and gone with the process,
//! passwords are compared as they stand, and MIME is not taken apart. What ordinary clients need to
//! show a mailbox works, with limits on everything that a client can send. It shares no code with
//! the proxy, so that both cannot be wrong in the same way.
//!
//! A backend runs on a thread of its own with a single-threaded runtime; its sessions share one
//! [`store`], and dropping it ends them all. Read next: `imap`, then `store`.

mod connection;
mod date;
mod imap;
mod message;
mod sasl;
mod store;
pub mod tls;

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use connection::{Connection, Duplex};
use date::Date;
use store::{Flags, Store};

pub use store::{MAILBOXES, MESSAGES, STORE_OCTETS};

/// The most session records that are kept; older ones go first.
pub const RECORDS: usize = 4096;

/// Where and how a backend listens, and for whom.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Port 0 takes a free one; [`Backend::address`] says which.
    pub listen: SocketAddr,
    /// Whether and when sessions are encrypted.
    pub tls: BackendTls,
    /// Who can log in. Everybody begins with an empty INBOX.
    pub accounts: Vec<Account>,
    /// What the greeting and ID call this backend.
    pub name: String,
    /// Read appended messages and forget them, for measurements that must not fill the memory.
    pub discard_appended: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tls: BackendTls::Plain,
            accounts: Vec::new(),
            name: "Gatepost trial backend".to_owned(),
            discard_appended: false,
        }
    }
}

/// Whether and when sessions are encrypted, and with which certificate (see [`tls::SelfSigned`]).
#[derive(Clone, Debug)]
pub enum BackendTls {
    /// Never; logins are taken in plain text.
    Plain,
    /// After STARTTLS, and logins only then.
    StartTls(Arc<ServerConfig>),
    /// From the first byte.
    Implicit(Arc<ServerConfig>),
}

/// Somebody who can log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The name to log in with.
    pub user: String,
    /// For LOGIN and PLAIN.
    pub password: String,
    /// For OAUTHBEARER and XOAUTH2.
    pub token: String,
}

impl Account {
    /// An account whose token is `token-` and the user's name.
    pub fn new(user: &str, password: &str) -> Self {
        Self {
            user: user.to_owned(),
            password: password.to_owned(),
            token: format!("token-{user}"),
        }
    }
}

/// What a backend knows of one session, running or over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// The other end of the TCP connection.
    pub peer: SocketAddr,
    /// Whether the session is inside TLS by now.
    pub encrypted: bool,
    /// Who logged in, and by which mechanism (`LOGIN` for the command).
    pub login: Option<(String, String)>,
    /// The fields of every ID command, in order.
    pub identity: Vec<(String, Option<String>)>,
    /// Logins that were refused.
    pub refused: u32,
    /// Whether the session is over.
    pub ended: bool,
}

/// A running backend. Dropping it closes its socket and all its sessions.
pub struct Backend {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Backend {
    /// Binds, and serves IMAP on a thread of its own.
    pub fn start(settings: Settings) -> io::Result<Self> {
        let listener = TcpListener::bind(settings.listen)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let store = Store::new(settings.accounts.iter().map(|account| account.user.as_str()));
        let shared = Arc::new(Shared { settings, store, records: Mutex::default() });
        let (stop, stopped) = oneshot::channel();
        let serving = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("backend".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    fault = accept(listener, serving) => log::error!("cannot listen: {fault}"),
                }
            });
        })?;
        Ok(Self { address, shared, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Puts a message into a mailbox, which is made if it is missing; its UID is the answer.
    /// Sessions in IDLE hear of it.
    pub fn deliver(&self, user: &str, mailbox: &str, message: &[u8]) -> io::Result<u32> {
        let fault = |what: &str| io::Error::other(format!("cannot deliver to {user}: {what}"));
        let account = self.shared.store.account(user).ok_or_else(|| fault("no such account"))?;
        let content = account.content(message.to_vec()).map_err(|_| fault("store full"))?;
        if account.mailbox(mailbox).is_none() {
            account.create(mailbox).map_err(|_| fault("no such mailbox"))?;
        }
        let mailbox = account.mailbox(mailbox).ok_or_else(|| fault("no such mailbox"))?;
        mailbox.room_for(1).map_err(|_| fault("mailbox full"))?;
        Ok(mailbox.add(content, Flags::default(), Date::now()))
    }

    /// The messages of a mailbox as they were stored; empty where there is no such mailbox.
    pub fn messages(&self, user: &str, mailbox: &str) -> Vec<Vec<u8>> {
        let mailbox = self.shared.store.account(user).and_then(|account| account.mailbox(mailbox));
        let Some(mailbox) = mailbox else {
            return Vec::new();
        };
        mailbox.messages().list().iter().map(|message| message.content.bytes().to_vec()).collect()
    }

    /// Octets of all messages it keeps, never more than [`STORE_OCTETS`].
    pub fn octets(&self) -> usize {
        self.shared.store.used()
    }

    /// The latest sessions, at most [`RECORDS`], in the order in which they were accepted.
    pub fn sessions(&self) -> Vec<SessionRecord> {
        let records = self.shared.records();
        records.iter().map(|record| record.locked().clone()).collect()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of that thread has already been printed there.
            let _ = thread.join();
        }
    }
}

/// What all sessions of a backend share.
struct Shared {
    settings: Settings,
    store: Store,
    records: Mutex<VecDeque<Record>>,
}

impl Shared {
    fn records(&self) -> MutexGuard<'_, VecDeque<Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, peer: SocketAddr) -> Record {
        let record = SessionRecord {
            peer,
            encrypted: false,
            login: None,
            identity: Vec::new(),
            refused: 0,
            ended: false,
        };
        let record = Record(Arc::new(Mutex::new(record)));
        let mut records = self.records();
        if records.len() >= RECORDS {
            records.pop_front();
        }
        records.push_back(record.clone());
        record
    }
}

/// A session's own hand on its record.
#[derive(Clone)]
struct Record(Arc<Mutex<SessionRecord>>);

impl Record {
    fn locked(&self) -> MutexGuard<'_, SessionRecord> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Accepts until it is dropped; returns only if the socket is unusable.
async fn accept(listener: TcpListener, shared: Arc<Shared>) -> io::Error {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(fault) => return fault,
    };
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    let record = shared.record(peer);
                    let served = serve(shared, stream, record.clone()).await;
                    record.locked().ended = true;
                    if let Err(fault) = served {
                        log::debug!("session of {peer} ended: {fault}");
                    }
                });
            }
            Err(fault) => {
                // Out of file descriptors, most likely: waiting is better than spinning.
                log::warn!("cannot accept: {fault}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve(shared: Arc<Shared>, stream: TcpStream, record: Record) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let stream: Box<dyn Duplex> = match &shared.settings.tls {
        BackendTls::Plain | BackendTls::StartTls(_) => Box::new(stream),
        BackendTls::Implicit(config) => {
            let stream = TlsAcceptor::from(Arc::clone(config)).accept(stream).await?;
            record.locked().encrypted = true;
            Box::new(stream)
        }
    };
    imap::serve(shared, Connection::new(stream), record).await
}
