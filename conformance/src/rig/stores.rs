//! The servers that keep routes: Redis, PostgreSQL and MariaDB, each in a temporary folder, on a
//! free port of 127.0.0.1, empty, and with a password.
//!
//! All run without privileges, as `nobody` when the tests are run by root (PostgreSQL refuses
//! root). A server can be stopped and started again with what it holds. What is in them is the
//! test's: the rig only says where they are.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::Command,
};

use rustix::process::geteuid;
use tempfile::TempDir;

use crate::rig::{Daemon, free_port, process::create_log, programs};

/// Whom the servers run as when root runs the tests.
const UNPRIVILEGED_USER: &str = "nobody";
/// The password of every server.
const PASSWORD: &str = "bees-4-wax";
/// The user of the databases.
const USER: &str = "gatepost";
/// Where Debian has the programs of each version of PostgreSQL.
const POSTGRESQL_VERSIONS: &str = "/usr/lib/postgresql";

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Debian's redis-server.
    Redis,
    /// Debian's postgresql.
    PostgreSql,
    /// Debian's mariadb-server.
    MariaDb,
}

/// One of them.
#[derive(Debug)]
pub struct StoreServer {
    // Before the folder: what runs in it ends first.
    daemon: Option<Daemon>,
    kind: Kind,
    port: u16,
    owner: Option<(u32, u32)>,
    folder: TempDir,
}

impl StoreServer {
    /// Sets one up and starts it.
    pub fn start(kind: Kind) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("gatepost-store-").tempdir()?;
        let owner = owner()?;
        if let Some((user, group)) = owner {
            chown(folder.path(), Some(user), Some(group))?;
        }
        let log = folder.path().join("log");
        create_log(&log)?;
        let mut server = Self { daemon: None, kind, port: free_port()?, owner, folder };
        match kind {
            Kind::Redis => {}
            Kind::PostgreSql => server.initialize_postgresql()?,
            Kind::MariaDb => server.initialize_mariadb()?,
        }
        server.resume()?;
        Ok(server)
    }

    /// What a configuration calls it.
    pub fn url(&self) -> String {
        let port = self.port;
        match self.kind {
            Kind::Redis => format!("redis://:{PASSWORD}@127.0.0.1:{port}/0"),
            Kind::PostgreSql => format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{port}/postgres"),
            Kind::MariaDb => format!("mysql://{USER}:{PASSWORD}@127.0.0.1:{port}/mail"),
        }
    }

    /// Ends it; what it holds stays.
    pub fn stop(&mut self) {
        self.daemon = None;
    }

    /// Starts it again.
    pub fn resume(&mut self) -> io::Result<()> {
        let mut command = match self.kind {
            Kind::Redis => self.redis()?,
            Kind::PostgreSql => self.postgresql()?,
            Kind::MariaDb => self.mariadb()?,
        };
        let name = match self.kind {
            Kind::Redis => "redis-server",
            Kind::PostgreSql => "postgres",
            Kind::MariaDb => "mariadbd",
        };
        let log = self.folder.path().join("log");
        let welcomes = || self.welcomes(&fs::read_to_string(&log).unwrap_or_default());
        let before = welcomes();
        let mut daemon = Daemon::spawn(name, &mut command, &log)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        daemon.wait_until(|| welcomes() > before && TcpStream::connect(address).is_ok())?;
        self.daemon = Some(daemon);
        Ok(())
    }

    /// How often it has said in its log that it serves: a port may answer earlier.
    fn welcomes(&self, log: &str) -> usize {
        log.matches(match self.kind {
            Kind::Redis => "Ready to accept connections",
            Kind::PostgreSql => "database system is ready to accept connections",
            Kind::MariaDb => "ready for connections",
        })
        .count()
    }

    fn redis(&self) -> io::Result<Command> {
        let mut command = self.command(&found("redis-server")?);
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"]);
        command.args(["--requirepass", PASSWORD, "--dbfilename", "routes.rdb"]);
        // What it holds is written when it is told to end.
        command.args(["--save", "3600 1", "--dir"]).arg(self.folder.path());
        Ok(command)
    }

    fn initialize_postgresql(&self) -> io::Result<()> {
        let secret = self.folder.path().join("password");
        fs::write(&secret, PASSWORD)?;
        let mut command = self.command(&postgresql_folder()?.join("initdb"));
        command.args(["--auth=scram-sha-256", "--no-sync", "--encoding=UTF8", "--locale=C"]);
        command.args(["--username", USER, "--pwfile"]).arg(secret);
        command.arg("--pgdata").arg(self.data());
        run(&mut command)
    }

    fn postgresql(&self) -> io::Result<Command> {
        let mut command = self.command(&postgresql_folder()?.join("postgres"));
        let folder = self.folder.path().display();
        let settings = [
            "listen_addresses=127.0.0.1".to_owned(),
            format!("unix_socket_directories={folder}"),
            "fsync=off".to_owned(),
            "lc_messages=C".to_owned(),
        ];
        command.arg("-D").arg(self.data()).args(["-p", &self.port.to_string()]);
        for setting in settings {
            command.args(["-c", &setting]);
        }
        Ok(command)
    }

    fn initialize_mariadb(&self) -> io::Result<()> {
        let mut command = self.command(&found("mariadb-install-db")?);
        command.args([
            "--no-defaults",
            "--skip-test-db",
            "--auth-root-authentication-method=normal",
        ]);
        command.arg(format!("--datadir={}", self.data().display()));
        if let Some(base) = found("mariadbd")?.ancestors().nth(2) {
            command.arg(format!("--basedir={}", base.display()));
        }
        run(&mut command)?;
        let statements = format!(
            "CREATE DATABASE mail CHARACTER SET utf8mb4;\n\
             CREATE USER '{USER}'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\n\
             GRANT ALL ON mail.* TO '{USER}'@'127.0.0.1';\n"
        );
        fs::write(self.folder.path().join("users.sql"), statements)
    }

    fn mariadb(&self) -> io::Result<Command> {
        let mut command = self.command(&found("mariadbd")?);
        let folder = self.folder.path();
        command.args(["--no-defaults", "--bind-address=127.0.0.1", "--skip-name-resolve"]);
        command.arg(format!("--port={}", self.port));
        command.arg(format!("--datadir={}", self.data().display()));
        command.arg(format!("--socket={}", folder.join("socket").display()));
        command.arg(format!("--pid-file={}", folder.join("pid").display()));
        let users = folder.join("users.sql");
        if self.data().join("mail").exists() {
            return Ok(command);
        }
        command.arg(format!("--init-file={}", users.display()));
        Ok(command)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A command in the server's folder, without privileges.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.folder.path())
            .env_remove("PGDATA")
            .env("HOME", self.folder.path());
        if let Some((user, group)) = self.owner {
            // This also drops the supplementary groups.
            command.uid(user).gid(group);
        }
        command
    }
}

/// Whom to be, where one's own privileges are too many.
fn owner() -> io::Result<Option<(u32, u32)>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let output = Command::new("id").args(["-g", UNPRIVILEGED_USER]).output()?;
    let group = String::from_utf8_lossy(&output.stdout).trim().parse().map_err(io::Error::other)?;
    Ok(Some((programs::user_id(UNPRIVILEGED_USER)?, group)))
}

fn found(program: &str) -> io::Result<PathBuf> {
    programs::find(program).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, program))
}

/// The programs of the newest version that is there.
pub(super) fn postgresql_folder() -> io::Result<PathBuf> {
    let versions = fs::read_dir(POSTGRESQL_VERSIONS)?;
    let folders = versions.filter_map(|entry| {
        let path = entry.ok()?.path();
        let version: u32 = path.file_name()?.to_str()?.parse().ok()?;
        let folder = path.join("bin");
        folder.join("initdb").is_file().then_some((version, folder))
    });
    let newest = folders.max().map(|(_, folder)| folder);
    newest.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "initdb"))
}

fn run(command: &mut Command) -> io::Result<()> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(io::Error::other(format!("{command:?}: {}", String::from_utf8_lossy(&said))))
}
