//! The `gatepost` program as a child process.
//!
//! The one place that knows where the program is and how it is started. It is found beside the test
//! program, where `cargo build` leaves it; `cargo test` alone does not always build it anew. The
//! configuration is the test's own text: the rig adds nothing to it and reads nothing from it.

use std::{
    env, fs, io,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::PathBuf,
    process::Command,
    time::Duration,
};

use tempfile::TempDir;

use crate::rig::{Daemon, process::create_log};

/// How long a connection attempt may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// A running proxy.
#[derive(Debug)]
pub struct Proxy {
    // Before the folder: what runs in it ends first.
    daemon: Daemon,
    _folder: TempDir,
}

impl Proxy {
    /// Runs `gatepost run` with this configuration and waits until every one of `ports` accepts
    /// connections.
    pub fn start(configuration: &str, ports: &[u16]) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("gatepost-proxy-").tempdir()?;
        let file = folder.path().join("gatepost.toml");
        fs::write(&file, configuration)?;
        let log = folder.path().join("log");
        create_log(&log)?;
        let mut command = Command::new(program()?);
        command.arg("run").arg(&file).current_dir(folder.path());
        // The caller's own variables would override what the test wrote.
        command.env_remove("GATEPOST_CONFIG").env_remove("RUST_LOG");
        let mut daemon = Daemon::spawn("gatepost", &mut command, &log)?;
        daemon.wait_until(|| ports.iter().all(|port| accepts(*port)))?;
        Ok(Self { daemon, _folder: folder })
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// How many files it has open, its sockets among them.
    pub fn open_files(&self) -> io::Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.daemon.id()))?.count())
    }
}

/// The program, beside this one: `target/PROFILE/gatepost` for `target/PROFILE/deps/TEST`.
pub(super) fn program() -> io::Result<PathBuf> {
    let this = env::current_exe()?;
    let program = this
        .parent()
        .and_then(|folder| folder.parent())
        .map(|folder| folder.join("gatepost"))
        .filter(|program| program.is_file());
    program.ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, "gatepost is not built (run `cargo build` first)")
    })
}

/// Whether somebody listens on a port of 127.0.0.1.
pub(super) fn accepts(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpStream::connect_timeout(&address, CONNECT_LIMIT).is_ok()
}
