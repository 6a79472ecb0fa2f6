//! Which programs of the operating system a test needs, and what happens without them.
//!
//! Without a program a test says on stderr that it was skipped and why, and passes; if the
//! environment has `GATEPOST_REQUIRE_SERVERS=1` it fails instead, so that a complete run cannot
//! quietly be a partial one. Tests with Postfix are for root alone, and skipped for anybody else.

use std::{
    env,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use rustix::process::geteuid;

use crate::rig::{nginx, proxy, stores};

/// Makes a missing program a failure.
const REQUIRE_VARIABLE: &str = "GATEPOST_REQUIRE_SERVERS";
/// Where servers are, which is not on every user's search path.
const SERVER_FOLDERS: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];
/// Where Debian has the programs that only Dovecot's master process starts.
const DOVECOT_PROCESSES: &str = "/usr/lib/dovecot";
/// The configuration that the rig writes is in the language of this version.
const DOVECOT_VERSION: &str = "2.3.";

/// What a test may need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Debian's dovecot-imapd.
    Dovecot,
    /// Debian's dovecot-pop3d.
    DovecotPop3,
    /// Debian's dovecot-managesieved and the Sieve that it brings.
    DovecotSieve,
    /// Debian's dovecot-submissiond.
    DovecotSubmission,
    /// Debian's dovecot-lmtpd.
    DovecotLmtp,
    /// Debian's postfix, and root's privileges, of which it gives away what it can.
    Postfix,
    /// Debian's haproxy.
    Haproxy,
    /// Debian's nginx with libnginx-mod-mail and libnginx-mod-stream.
    Nginx,
    /// Debian's fetchmail.
    Fetchmail,
    /// Debian's sieve-connect.
    SieveConnect,
    /// Debian's isync.
    Mbsync,
    /// Debian's curl, with IMAP.
    Curl,
    /// Debian's swaks.
    Swaks,
    /// Debian's python3; its standard library is enough.
    Python,
    /// Debian's redis-server.
    Redis,
    /// Debian's postgresql.
    PostgreSql,
    /// Debian's mariadb-server.
    MariaDb,
    /// The `gatepost` program itself, built by `cargo build`.
    Gatepost,
}

impl Program {
    /// Why it cannot be used, if it cannot.
    fn obstacle(self) -> Option<String> {
        match self {
            Self::Dovecot => dovecot_obstacle(),
            Self::DovecotPop3 => dovecot_part("pop3-login", "dovecot-pop3d"),
            Self::DovecotSieve => dovecot_part("managesieve-login", "dovecot-managesieved"),
            Self::DovecotSubmission => dovecot_part("submission-login", "dovecot-submissiond"),
            Self::DovecotLmtp => dovecot_part("lmtp", "dovecot-lmtpd"),
            Self::Postfix => missing("postfix", "postfix"),
            Self::Haproxy => missing("haproxy", "haproxy"),
            Self::Nginx => missing("nginx", "nginx")
                .or_else(|| nginx_module("mail"))
                .or_else(|| nginx_module("stream")),
            Self::Fetchmail => missing("fetchmail", "fetchmail"),
            Self::SieveConnect => missing("sieve-connect", "sieve-connect"),
            Self::Mbsync => missing("mbsync", "isync"),
            Self::Curl => missing("curl", "curl"),
            Self::Swaks => missing("swaks", "swaks"),
            Self::Python => missing("python3", "python3"),
            Self::Redis => missing("redis-server", "redis-server"),
            Self::PostgreSql => stores::postgresql_folder()
                .is_err()
                .then(|| "initdb is not installed (Debian package postgresql)".to_owned()),
            Self::MariaDb => missing("mariadbd", "mariadb-server"),
            Self::Gatepost => proxy::program().err().map(|error| error.to_string()),
        }
    }
}

/// Whether every one of `programs` can be used; if not, says so, or panics where the environment
/// forbids a skip.
pub fn require(programs: &[Program]) -> bool {
    // What the user may not do no installation mends, so that this is never a failure.
    if programs.contains(&Program::Postfix) && !geteuid().is_root() {
        let _ = writeln!(io::stderr(), "skipped: postfix is started by root alone");
        return false;
    }
    let Some(obstacle) = programs.iter().find_map(|program| program.obstacle()) else {
        return true;
    };
    assert!(
        env::var_os(REQUIRE_VARIABLE).is_none_or(|value| value != "1"),
        "{obstacle}, and {REQUIRE_VARIABLE}=1 forbids skipping"
    );
    // Not eprintln!, which the test runner keeps to itself while a test passes.
    let _ = writeln!(io::stderr(), "skipped: {obstacle}");
    false
}

/// The file that `name` stands for.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(SERVER_FOLDERS.map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// The number of a user of the operating system.
pub(crate) fn user_id(name: &str) -> io::Result<u32> {
    let output = Command::new("id").args(["-u", name]).output()?;
    String::from_utf8_lossy(&output.stdout).trim().parse().map_err(io::Error::other)
}

fn missing(name: &str, package: &str) -> Option<String> {
    find(name).is_none().then(|| format!("{name} is not installed (Debian package {package})"))
}

fn dovecot_obstacle() -> Option<String> {
    let Some(dovecot) = find("dovecot") else {
        return Some("dovecot is not installed (Debian package dovecot-imapd)".to_owned());
    };
    let version = match Command::new(dovecot).arg("--version").output() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        Err(error) => return Some(format!("dovecot does not run ({error})")),
    };
    if !version.starts_with(DOVECOT_VERSION) {
        return Some(format!("dovecot {version} is not a {DOVECOT_VERSION}x"));
    }
    dovecot_part("imap-login", "dovecot-imapd")
}

fn dovecot_part(process: &str, package: &str) -> Option<String> {
    let is_there = Path::new(DOVECOT_PROCESSES).join(process).exists();
    (!is_there).then(|| format!("dovecot has no {process} (Debian package {package})"))
}

fn nginx_module(name: &str) -> Option<String> {
    let is_there = Path::new(nginx::MODULES).join(format!("ngx_{name}_module.so")).exists();
    (!is_there).then(|| format!("nginx has no {name} module (Debian package libnginx-mod-{name})"))
}
