//! Debian's Dovecot 2.3 in a temporary folder: IMAP, and what else is asked for.
//!
//! It runs without privileges: as the current user, or as `nobody` when the tests are run by root
//! (Dovecot gives no mail to root). Two ports for each protocol: one in the clear with STARTTLS,
//! one with implicit TLS (ManageSieve has the former alone). Loopback is trusted, so an `ID` or
//! `XCLIENT` with the client's address takes effect and shows as `rip=` in [`Dovecot::log`]. Delays
//! after a wrong password are off. Mail is in maildirs that appear at an account's first login or
//! delivery; what LMTP delivers goes through the account's active Sieve script where ManageSieve is
//! served too. Its file is written by `configuration`.

mod configuration;

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::unix::{fs::chown, process::CommandExt as _},
    path::Path,
    process::Command,
    time::Duration,
};

use rustix::process::geteuid;
use tempfile::TempDir;

use crate::rig::{
    Authority, Daemon, Endpoint, Protocol, Tls, free_port, imap, managesieve, pop3,
    process::create_log, programs, smtp,
};
use configuration::Ground;

/// Whom the servers run as when root runs the tests.
const UNPRIVILEGED_USER: &str = "nobody";
/// Sessions that one Dovecot carries at once: above what any test opens.
const SESSION_LIMIT: u32 = 1100;
/// How long a connection attempt may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How often to look for what must show shortly, in the log or on the ports, and the pause between.
const LOOKS: u32 = 500;
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Who may log in.
#[derive(Clone, Copy, Debug)]
pub struct Account<'a> {
    /// The whole login name, in lower case.
    pub user: &'a str,
    /// The password, without a colon or a line end.
    pub password: &'a str,
}

/// What a server is to do.
#[derive(Clone, Copy, Debug)]
pub struct Services<'a> {
    /// Who may log in, and gets mail.
    pub accounts: &'a [Account<'a>],
    /// What it speaks; not SMTP, and Submission only with a relay.
    pub protocols: &'a [Protocol],
    /// The port of 127.0.0.1 where Submission gives its messages.
    pub relay: Option<u16>,
}

/// The ports of one protocol.
#[derive(Clone, Copy, Debug)]
struct Door {
    protocol: Protocol,
    port: u16,
    tls_port: u16,
}

impl Door {
    /// How connections to its ports begin. Dovecot documents no ManageSieve with implicit TLS.
    fn modes(&self) -> &'static [Tls] {
        if self.protocol == Protocol::ManageSieve {
            &[Tls::Plain]
        } else {
            &[Tls::Plain, Tls::Implicit]
        }
    }
}

/// A running Dovecot.
#[derive(Debug)]
pub struct Dovecot {
    // Before the folder: what runs in it ends first.
    daemon: Daemon,
    /// The certificate it shows, and the authority behind it.
    pub authority: Authority,
    /// Where it answers who may log in, in Dovecot's own protocol, which Postfix speaks too.
    pub authentication_port: u16,
    doors: Vec<Door>,
    _folder: TempDir,
}

impl Dovecot {
    /// Starts a server and waits until it serves everything.
    pub fn start(services: &Services<'_>) -> io::Result<Self> {
        let dovecot = programs::find("dovecot").ok_or(io::ErrorKind::NotFound)?;
        let owner = Owner::choose()?;
        let folder = tempfile::Builder::new().prefix("gatepost-dovecot-").tempdir()?;
        let authority = Authority::create(folder.path())?;
        let doors: Vec<Door> = services
            .protocols
            .iter()
            .map(|protocol| {
                Ok(Door { protocol: *protocol, port: free_port()?, tls_port: free_port()? })
            })
            .collect::<io::Result<_>>()?;
        let ground = Ground {
            folder: folder.path(),
            owner: &owner,
            doors: &doors,
            authentication_port: free_port()?,
            relay: services.relay,
        };
        fs::write(folder.path().join("dovecot.conf"), ground.configuration())?;
        fs::write(folder.path().join("passwd"), password_file(services.accounts))?;
        for name in ["run", "state", "mail"] {
            fs::create_dir(folder.path().join(name))?;
        }
        let log = folder.path().join("log");
        create_log(&log)?;
        let mut command = Command::new(dovecot);
        command.arg("-F").arg("-c").arg(folder.path().join("dovecot.conf"));
        if geteuid().is_root() {
            owner.take(folder.path())?;
            // This also drops the supplementary groups.
            command.uid(owner.user_id).gid(owner.group_id);
        }
        let authentication_port = ground.authentication_port;
        let daemon = Daemon::spawn("dovecot", &mut command, &log)?;
        let mut server = Self { daemon, authority, authentication_port, doors, _folder: folder };
        server.wait()?;
        Ok(server)
    }

    /// Where and how to connect to it.
    ///
    /// # Panics
    ///
    /// If it was not told to speak this protocol.
    pub fn endpoint(&self, protocol: Protocol, tls: Tls) -> Endpoint {
        let door = self.doors.iter().find(|door| door.protocol == protocol);
        // A test that asks for what it did not start is wrong in itself.
        let door = door.unwrap_or_else(|| panic!("this dovecot does not speak {protocol}"));
        let port = match tls {
            Tls::Plain | Tls::Starttls => door.port,
            Tls::Implicit => door.tls_port,
        };
        Endpoint { protocol, port, tls, authority: self.authority.authority.clone() }
    }

    /// Its log so far: a line `Login: user=<…>, …, rip=…` for every session.
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// The lines of its log that report a login over a protocol, once there are `count` of them:
    /// the log may be a moment late. After a while it answers what there is.
    pub fn logins(&self, protocol: Protocol, count: usize) -> Vec<String> {
        // Every protocol's login process has the protocol's name.
        let process = format!("{protocol}-login: ");
        let mut logins = Vec::new();
        for _ in 0..LOOKS {
            logins = self
                .log()
                .lines()
                .filter(|line| line.contains(&process) && line.contains("Login: "))
                .map(str::to_owned)
                .collect();
            if logins.len() >= count {
                break;
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
        logins
    }

    /// Ends it with all its sessions. Afterwards its ports refuse connections.
    pub fn stop(&mut self) -> io::Result<()> {
        self.daemon.stop();
        // The processes that share the listening sockets end a moment after the one that was told
        // to.
        for _ in 0..LOOKS {
            if self.doors.iter().all(|door| refuses(door.port) && refuses(door.tls_port)) {
                return Ok(());
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
        Err(io::Error::other("dovecot was stopped and still accepts connections"))
    }

    fn wait(&mut self) -> io::Result<()> {
        for door in self.doors.clone() {
            for tls in door.modes() {
                let endpoint = self.endpoint(door.protocol, *tls);
                self.daemon.wait_until(|| serves(&endpoint))?;
            }
        }
        Ok(())
    }
}

/// Whether a server is ready: until its authentication process is up, Dovecot greets without its
/// capabilities, or not at all.
fn serves(endpoint: &Endpoint) -> bool {
    match endpoint.protocol {
        Protocol::Imap => imap::Client::connect(endpoint)
            .is_ok_and(|client| client.greeting.contains("[CAPABILITY")),
        Protocol::Pop3 => {
            pop3::Client::connect(endpoint).is_ok_and(|client| client.greeting.starts_with("+OK"))
        }
        Protocol::ManageSieve => {
            managesieve::Client::connect(endpoint).is_ok_and(|client| client.capabilities.is_ok())
        }
        Protocol::Submission | Protocol::Smtp | Protocol::Lmtp => {
            smtp::Client::connect(endpoint).is_ok()
        }
    }
}

fn refuses(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpStream::connect_timeout(&address, CONNECT_LIMIT)
        .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// The user and group that the server runs as.
struct Owner {
    user: String,
    group: String,
    user_id: u32,
    group_id: u32,
}

impl Owner {
    fn choose() -> io::Result<Self> {
        let name: &[&str] = if geteuid().is_root() { &[UNPRIVILEGED_USER] } else { &[] };
        let id = |option: &str| -> io::Result<String> {
            let output = Command::new("id").arg(option).args(name).output()?;
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        Ok(Self {
            user: id("-un")?,
            group: id("-gn")?,
            user_id: id("-u")?.parse().map_err(io::Error::other)?,
            group_id: id("-g")?.parse().map_err(io::Error::other)?,
        })
    }

    /// Gives a folder and what is in it to the owner.
    fn take(&self, path: &Path) -> io::Result<()> {
        chown(path, Some(self.user_id), Some(self.group_id))?;
        if path.is_dir() {
            for entry in fs::read_dir(path)? {
                self.take(&entry?.path())?;
            }
        }
        Ok(())
    }
}

fn password_file(accounts: &[Account<'_>]) -> String {
    accounts
        .iter()
        .map(|account| format!("{}:{{PLAIN}}{}::::::\n", account.user, account.password))
        .collect()
}
