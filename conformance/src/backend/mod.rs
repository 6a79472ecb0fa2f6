//! A small mail backend in this process, for the demo, the tests and the bench.
//!
//! It is for trying out and nothing else: mail is kept in memory and gone with the process,
//! passwords are compared as they stand, and MIME is not taken apart. What ordinary clients need to
//! show a mailbox works, with limits on everything that a client can send. It shares no code with
//! the proxy, so that both cannot be wrong in the same way.
//!
//! A backend runs on a thread of its own with a single-threaded runtime; its sessions share one
//! [`store`], whatever protocol they speak, and dropping it ends them all. Read next: `imap`, the
//! largest of the protocols, then `store`.

mod connection;
mod date;
mod dots;
mod imap;
mod login;
mod managesieve;
mod message;
mod pop3;
mod sasl;
mod scripts;
mod store;
mod submission;
#[cfg(test)]
mod test_client;
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

pub use scripts::{SCRIPT_OCTETS, SCRIPTS};
pub use store::{MAILBOXES, MESSAGES, STORE_OCTETS};

/// The most session records that are kept; older ones go first.
pub const RECORDS: usize = 4096;

/// Where and how a backend listens, and for whom.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is spoken, each on a port of its own.
    pub protocols: Vec<Protocol>,
    /// The port of the first protocol; the others have those that follow. Port 0 takes a free one
    /// for each; [`Backend::address_of`] says which.
    pub listen: SocketAddr,
    /// Whether and when sessions are encrypted.
    pub tls: BackendTls,
    /// Who can log in. Everybody begins with an empty INBOX.
    pub accounts: Vec<Account>,
    /// What greetings and ID call this backend.
    pub name: String,
    /// Read appended and submitted messages and forget them, for measurements that must not fill
    /// the memory.
    pub discard_appended: bool,
    /// Offer XCLIENT, as if every peer were a proxy to be trusted. It has no effect but to be
    /// recorded. (ID of IMAP is recorded always.)
    pub offer_xclient: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            protocols: vec![Protocol::Imap],
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tls: BackendTls::Plain,
            accounts: Vec::new(),
            name: "Gatepost trial backend".to_owned(),
            discard_appended: false,
            offer_xclient: false,
        }
    }
}

/// What a backend can speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// IMAP4rev1 (RFC 3501).
    Imap,
    /// POP3 (RFC 1939), of the INBOX.
    Pop3,
    /// ManageSieve (RFC 5804); scripts are kept, and not run.
    ManageSieve,
    /// Message submission (RFC 6409), to the INBOX of users of the same backend.
    Submission,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Imap, Self::Pop3, Self::ManageSieve, Self::Submission];
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
    /// What was spoken.
    pub protocol: Protocol,
    /// The other end of the TCP connection.
    pub peer: SocketAddr,
    /// Whether the session is inside TLS by now.
    pub encrypted: bool,
    /// Who logged in last, and by which mechanism (`LOGIN` for the command, `USER` for USER and
    /// PASS).
    pub login: Option<(String, String)>,
    /// The fields of every ID or XCLIENT command as they were sent, in order; of many the first.
    pub identity: Vec<(String, Option<String>)>,
    /// Logins that were refused.
    pub refused: u32,
    /// Whether the session is over.
    pub ended: bool,
}

/// A running backend. Dropping it closes its socket and all its sessions.
pub struct Backend {
    addresses: Vec<(Protocol, SocketAddr)>,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Backend {
    /// Binds, and serves on a thread of its own.
    pub fn start(settings: Settings) -> io::Result<Self> {
        let listeners = bind(&settings)?;
        let mut addresses = Vec::new();
        for (protocol, listener) in &listeners {
            addresses.push((*protocol, listener.local_addr()?));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let store = Store::new(settings.accounts.iter().map(|account| account.user.as_str()));
        let shared = Arc::new(Shared { settings, store, records: Mutex::default() });
        let (stop, stopped) = oneshot::channel();
        let serving = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("backend".to_owned()).spawn(move || {
            runtime.block_on(async {
                for (protocol, listener) in listeners {
                    tokio::spawn(accept(protocol, listener, Arc::clone(&serving)));
                }
                // It is never sent: the sender is dropped with the backend.
                let _ = stopped.await;
            });
        })?;
        Ok(Self { addresses, shared, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens for its first protocol.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0].1
    }

    /// Where it listens for a protocol; None if it does not.
    pub fn address_of(&self, protocol: Protocol) -> Option<SocketAddr> {
        self.addresses.iter().find(|(own, _)| *own == protocol).map(|(_, address)| *address)
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

    fn record(&self, protocol: Protocol, peer: SocketAddr) -> Record {
        let record = SessionRecord {
            protocol,
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

/// A socket for each protocol, in their order.
fn bind(settings: &Settings) -> io::Result<Vec<(Protocol, TcpListener)>> {
    if settings.protocols.is_empty() {
        return Err(io::Error::other("a backend needs a protocol"));
    }
    let mut listeners = Vec::new();
    let mut address = settings.listen;
    for protocol in &settings.protocols {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        listeners.push((*protocol, listener));
        if address.port() != 0 {
            // Past the last port comes 0: any that is free.
            address.set_port(address.port().wrapping_add(1));
        }
    }
    Ok(listeners)
}

/// Accepts until it is dropped, or finds the socket unusable.
async fn accept(protocol: Protocol, listener: TcpListener, shared: Arc<Shared>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(fault) => return log::error!("cannot listen: {fault}"),
    };
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    let record = shared.record(protocol, peer);
                    let served = serve(protocol, shared, stream, record.clone()).await;
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

async fn serve(
    protocol: Protocol,
    shared: Arc<Shared>,
    stream: TcpStream,
    record: Record,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let stream: Box<dyn Duplex> = match &shared.settings.tls {
        BackendTls::Plain | BackendTls::StartTls(_) => Box::new(stream),
        BackendTls::Implicit(config) => {
            let stream = TlsAcceptor::from(Arc::clone(config)).accept(stream).await?;
            record.locked().encrypted = true;
            Box::new(stream)
        }
    };
    let connection = Connection::new(stream);
    match protocol {
        Protocol::Imap => imap::serve(shared, connection, record).await,
        Protocol::Pop3 => pop3::serve(shared, connection, record).await,
        Protocol::ManageSieve => managesieve::serve(shared, connection, record).await,
        Protocol::Submission => submission::serve(shared, connection, record).await,
    }
}
