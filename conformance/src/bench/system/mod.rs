//! The systems that are measured: how each is started.
//!
//! Every one gets one worker, room for the sessions of the largest row, no line of log for a
//! login, and listens on nine ports: three protocols, each with the TLS of three columns. What a
//! system does beyond that is its own: the file for each says what its configuration decides.
//! Invariant: nothing listens beyond 127.0.0.1, and everything ends with [`Running`].

mod bare;
mod dovecot;
mod gatepost;
mod haproxy;
mod nginx;
mod tokio;

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::case::{Column, Protocol, Suite, System};
use super::process::Tree;
use super::sink::Ports;
use crate::rig::programs::find;
use crate::rig::{Authority, Daemon, free_port};

pub(super) use self::bare::serve as serve_bare;
pub(super) use self::tokio::serve as serve_tokio;

/// Sessions that every system has room for.
const SESSIONS_MAX: usize = 9_000;

/// What every system is told.
pub(super) struct Ground<'a> {
    /// Where certificates are.
    pub(super) folder: &'a Path,
    pub(super) authority: &'a Authority,
    pub(super) sink: Ports,
    /// The `gatepost` program.
    pub(super) gatepost: &'a Path,
    /// What the tokio library is to speak; the others take what they are offered.
    pub(super) suite: Suite,
}

/// The ports of one system.
#[derive(Debug, Clone, Copy)]
struct Fronts([[u16; 3]; 3]);

/// One port, what is spoken there, and what stands behind it.
#[derive(Debug, Clone, Copy)]
struct Front {
    protocol: Protocol,
    column: Column,
    port: u16,
}

/// A system that runs.
pub(super) struct Running {
    daemon: Option<Daemon>,
    fronts: Fronts,
    // Behind the daemon: what runs in it ends first.
    _folder: Option<tempfile::TempDir>,
}

impl Fronts {
    fn choose() -> io::Result<Self> {
        let mut fronts = [[0; 3]; 3];
        for port in fronts.iter_mut().flatten() {
            *port = free_port()?;
        }
        Ok(Self(fronts))
    }

    const fn of(&self, protocol: Protocol, column: Column) -> u16 {
        self.0[protocol as usize][column as usize]
    }

    fn iter(self) -> impl Iterator<Item = Front> {
        Protocol::ALL.into_iter().flat_map(move |protocol| {
            Column::ALL.map(|column| Front { protocol, column, port: self.of(protocol, column) })
        })
    }
}

impl Running {
    pub(super) const fn port(&self, protocol: Protocol, column: Column) -> u16 {
        self.fronts.of(protocol, column)
    }

    /// Its processes; none where there is no system in between.
    pub(super) fn tree(&self) -> Option<Tree> {
        self.daemon.as_ref().map(|daemon| Tree::of(daemon.id()))
    }
}

/// Why a system is not here to be measured.
pub(super) fn obstacle(system: System) -> Option<String> {
    let (program, package) = match system {
        System::Direct | System::Bare => return None,
        System::Gatepost | System::GatepostTwo | System::Tokio => return None,
        System::Haproxy | System::HaproxySplice => ("haproxy", "haproxy"),
        System::Nginx => ("nginx", "libnginx-mod-mail"),
        System::Dovecot => ("dovecot", "dovecot-imapd"),
    };
    find(program).is_none().then(|| format!("{program} is not installed (Debian's {package})"))
}

/// What a system does that a reader of its figures should know.
pub(super) const fn remark(system: System) -> &'static str {
    match system {
        System::Direct => "no proxy: the generator talks to the sink",
        System::Bare => "a relay of mio and splice(2) that knows nothing: the floor on plaintext",
        System::Gatepost => {
            "mio, threads = 1; resumes on both legs; splice(2) where both are plain"
        }
        System::GatepostTwo => "mio, threads = 2",
        System::Tokio => "the tokio library on one thread; resumes on both legs; copies",
        System::Haproxy => "TCP mode, nbthread 1: parses nothing; resumes on both legs; copies",
        System::HaproxySplice => "the same with option splice-auto",
        System::Nginx => "mail proxy, one worker, asks auth_http for each login; no TLS behind it",
        System::Dovecot => "login proxy, one long-lived login process a protocol, passwd-file",
    }
}

/// Starts a system and waits until it listens everywhere.
pub(super) fn start(system: System, ground: &Ground<'_>) -> io::Result<Running> {
    if system == System::Direct {
        let port = |protocol, column: Column| ground.sink.of(protocol, column.client_tls());
        let fronts = Protocol::ALL.map(|protocol| Column::ALL.map(|column| port(protocol, column)));
        return Ok(Running { daemon: None, fronts: Fronts(fronts), _folder: None });
    }
    let folder = tempfile::Builder::new().prefix("gatepost-bench-").tempdir()?;
    let fronts = Fronts::choose()?;
    let place = Place { folder: folder.path(), fronts, ground };
    let (name, mut command) = match system {
        System::Direct => unreachable!("answered above"),
        System::Bare => ("bare", bare::command(&place)?),
        System::Gatepost => ("gatepost", gatepost::command(&place, 1)?),
        System::GatepostTwo => ("gatepost", gatepost::command(&place, 2)?),
        System::Tokio => ("tokio", tokio::command(&place)?),
        System::Haproxy => ("haproxy", haproxy::command(&place, false)?),
        System::HaproxySplice => ("haproxy", haproxy::command(&place, true)?),
        System::Nginx => ("nginx", nginx::command(&place)?),
        System::Dovecot => ("dovecot", dovecot::command(&place)?),
    };
    let log = folder.path().join("log");
    if !log.exists() {
        File::create(&log)?;
    }
    let mut daemon = Daemon::spawn(name, &mut command, &log)?;
    let listens = |front: &Front| system.knows(front.column);
    daemon.wait_until(|| fronts.iter().filter(listens).all(|front| accepts(front.port)))?;
    Ok(Running { daemon: Some(daemon), fronts, _folder: Some(folder) })
}

/// What a system needs to write its configuration.
struct Place<'a> {
    /// Its own, and empty.
    folder: &'a Path,
    fronts: Fronts,
    ground: &'a Ground<'a>,
}

impl Place<'_> {
    fn write(&self, name: &str, text: &str) -> io::Result<PathBuf> {
        let path = self.folder.join(name);
        fs::write(&path, text)?;
        Ok(path)
    }

    /// Where the mail of a protocol is, behind this column.
    const fn backend(&self, protocol: Protocol, column: Column) -> u16 {
        self.ground.sink.of(protocol, column.backend_tls())
    }
}

fn program(name: &str) -> io::Result<Command> {
    let missing = || io::Error::new(io::ErrorKind::NotFound, format!("{name} is not installed"));
    find(name).map(Command::new).ok_or_else(missing)
}

fn accepts(port: u16) -> bool {
    TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).is_ok()
}
