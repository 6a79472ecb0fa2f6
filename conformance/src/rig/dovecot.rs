//! Debian's Dovecot 2.3 as an IMAP server in a temporary folder.
//!
//! It runs without privileges: as the current user, or as `nobody` when the tests are run by root
//! (Dovecot gives no mail to root). Two ports: one in the clear with STARTTLS, one with implicit
//! TLS. Loopback is trusted, so an `ID` with the client's address takes effect and shows as `rip=`
//! in [`Dovecot::log`]. Delays after a wrong password are off. Mail is in maildirs that appear at
//! an account's first login.

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
    Authority, Daemon, Endpoint, Tls, free_port, imap::Client, process::create_log, programs,
};

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

/// A running Dovecot.
#[derive(Debug)]
pub struct Dovecot {
    // Before the folder: what runs in it ends first.
    daemon: Daemon,
    /// The certificate it shows, and the authority behind it.
    pub authority: Authority,
    port: u16,
    tls_port: u16,
    _folder: TempDir,
}

impl Dovecot {
    /// Starts a server with these accounts and waits until it serves IMAP.
    pub fn start(accounts: &[Account<'_>]) -> io::Result<Self> {
        let dovecot = programs::find("dovecot").ok_or(io::ErrorKind::NotFound)?;
        let owner = Owner::choose()?;
        let folder = tempfile::Builder::new().prefix("gatepost-dovecot-").tempdir()?;
        let authority = Authority::create(folder.path())?;
        let (port, tls_port) = (free_port()?, free_port()?);
        let configuration = configuration(folder.path(), &owner, port, tls_port);
        fs::write(folder.path().join("dovecot.conf"), configuration)?;
        fs::write(folder.path().join("passwd"), password_file(accounts))?;
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
        let daemon = Daemon::spawn("dovecot", &mut command, &log)?;
        let mut server = Self { daemon, authority, port, tls_port, _folder: folder };
        server.wait()?;
        Ok(server)
    }

    /// Where and how to connect to it.
    pub fn endpoint(&self, tls: Tls) -> Endpoint {
        let port = match tls {
            Tls::Plain | Tls::Starttls => self.port,
            Tls::Implicit => self.tls_port,
        };
        Endpoint { port, tls, authority: self.authority.authority.clone() }
    }

    /// Its log so far: a line `Login: user=<…>, …, rip=…` for every session.
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// The lines of its log that report a login, once there are `count` of them: the log may be a
    /// moment late. After a while it answers what there is.
    pub fn logins(&self, count: usize) -> Vec<String> {
        let mut logins = Vec::new();
        for _ in 0..LOOKS {
            logins = self
                .log()
                .lines()
                .filter(|line| line.contains("Login: "))
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
            if [self.port, self.tls_port].into_iter().all(refuses) {
                return Ok(());
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
        Err(io::Error::other("dovecot was stopped and still accepts connections"))
    }

    fn wait(&mut self) -> io::Result<()> {
        for tls in [Tls::Plain, Tls::Implicit] {
            let endpoint = self.endpoint(tls);
            self.daemon.wait_until(|| {
                // Until its authentication process is up it greets without its capabilities.
                Client::connect(&endpoint)
                    .is_ok_and(|client| client.greeting.contains("[CAPABILITY"))
            })?;
        }
        Ok(())
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

fn configuration(folder: &Path, owner: &Owner, port: u16, tls_port: u16) -> String {
    let folder = folder.display();
    let Owner { user, group, .. } = owner;
    let inner_limit = 2 * SESSION_LIMIT;
    format!(
        r#"
protocols = imap
listen = 127.0.0.1
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
default_vsz_limit = 0
first_valid_uid = 1
first_valid_gid = 1
login_trusted_networks = 127.0.0.0/8
disable_plaintext_auth = no
auth_failure_delay = 0
ssl = yes
ssl_cert = <{folder}/certificate.pem
ssl_key = <{folder}/key.pem
mail_location = maildir:{folder}/mail/%u/Maildir
mail_max_userip_connections = 0
passdb {{
  driver = passwd-file
  args = username_format=%u {folder}/passwd
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={folder}/mail/%u
}}
service auth {{
  client_limit = {inner_limit}
}}
service anvil {{
  chroot =
  client_limit = {inner_limit}
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service imap-urlauth-login {{
  chroot =
  process_limit = 1
}}
service imap-login {{
  chroot =
  service_count = 0
  client_limit = {SESSION_LIMIT}
  process_limit = 1
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls_port}
    ssl = yes
  }}
}}
service imap {{
  process_limit = {SESSION_LIMIT}
}}
"#
    )
}
