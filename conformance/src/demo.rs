//! What the `demo` program needs before and after it starts the server.
//!
//! [`Demo::prepare`] starts two backends with a little mail, chooses ports, and writes a folder
//! with a self-signed certificate, a map file and the configuration; [`Demo::instructions`] says
//! what to type. The server in front is the program's own business, so nothing here knows a driver.
//! Everything is on loopback and goes away when the [`Demo`] is dropped. Read next: `backend`.

mod mail;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::backend::tls::SelfSigned;
use crate::backend::{Account, Backend, Settings};

/// Preferred ports: the well-known ones of IMAP with a 1 in front.
const IMAP_PORT: u16 = 1143;
const IMAPS_PORT: u16 = 1993;

/// A user of the demo, and on which backend the mail is.
struct User {
    name: &'static str,
    password: &'static str,
    destination: &'static str,
    messages: [&'static str; 3],
}

const ALICE: User = User {
    name: "alice@example.com",
    password: "alice-secret",
    destination: "one",
    messages: mail::ALICE,
};

const BOB: User = User {
    name: "bob@example.com",
    password: "bob-secret",
    destination: "two",
    messages: mail::BOB,
};

/// Two running backends, and all that a server in front of them must be told.
pub struct Demo {
    one: Backend,
    two: Backend,
    imap: SocketAddr,
    imaps: SocketAddr,
    configuration: String,
    folder: TempDir,
}

impl Demo {
    /// Starts the backends and writes the files. The ports for the server are free now, and nobody
    /// holds them: start it soon.
    pub fn prepare() -> io::Result<Self> {
        let one = backend(&ALICE)?;
        let two = backend(&BOB)?;
        let (imap, imaps) = (free_port(IMAP_PORT)?, free_port(IMAPS_PORT)?);
        let folder = TempDir::with_prefix("gatepost-demo-")?;
        let certificate = SelfSigned::new(&["localhost", "127.0.0.1"])?;
        let files = Files::in_folder(folder.path());
        std::fs::write(&files.certificate, certificate.certificate_pem())?;
        std::fs::write(&files.private_key, certificate.private_key_pem())?;
        std::fs::write(&files.map, map())?;
        let backends = [(&ALICE, one.address()), (&BOB, two.address())];
        let configuration = configuration(imap, imaps, &files, backends)?;
        std::fs::write(&files.configuration, &configuration)?;
        Ok(Self { one, two, imap, imaps, configuration, folder })
    }

    /// The server's configuration, as it also stands in [`Self::configuration_path`].
    pub fn configuration(&self) -> &str {
        &self.configuration
    }

    /// The file with the configuration; it and all that it names are removed with the demo.
    pub fn configuration_path(&self) -> PathBuf {
        Files::in_folder(self.folder.path()).configuration
    }

    /// Where the server is to offer IMAP with STARTTLS.
    pub fn imap(&self) -> SocketAddr {
        self.imap
    }

    /// Where the server is to offer IMAP inside TLS.
    pub fn imaps(&self) -> SocketAddr {
        self.imaps
    }

    /// The backend of destination `one`, where Alice's mail is.
    pub fn one(&self) -> &Backend {
        &self.one
    }

    /// The backend of destination `two`, where Bob's mail is.
    pub fn two(&self) -> &Backend {
        &self.two
    }

    /// What to print once the server listens: who is where, and commands to paste.
    pub fn instructions(&self) -> String {
        let (imap, imaps) = (self.imap, self.imaps);
        let (one, two) = (self.one.address(), self.two.address());
        let configuration = self.configuration_path();
        let configuration = configuration.display();
        let User { name: alice, password: alice_password, .. } = ALICE;
        let User { name: bob, password: bob_password, .. } = BOB;
        format!(
            "\
Gatepost stands in front of two small mail backends. The backends are for trying out: they keep
mail in memory only and are no mail servers. The certificate is self-signed, hence -k below.

  user               password      mail is on
  {alice}  {alice_password}  destination one, {one}
  {bob}    {bob_password}    destination two, {two}

  IMAP with STARTTLS  {imap}
  IMAP inside TLS     {imaps}
  configuration       {configuration}

Read mail, one user after the other, through the same address:

  curl -k 'imaps://{imaps}/INBOX;MAILINDEX=1' -u {alice}:{alice_password}
  curl -k 'imaps://{imaps}/INBOX;MAILINDEX=1' -u {bob}:{bob_password}

With STARTTLS; with a token; with a wrong password, which the backend refuses:

  curl -k --ssl-reqd 'imap://{imap}/INBOX?ALL' -u {alice}:{alice_password}
  curl -k 'imaps://{imaps}/' --login-options AUTH=XOAUTH2 -u {bob} --oauth2-bearer token-{bob}
  curl -k 'imaps://{imaps}/' -u {alice}:wrong

By hand (then type `a LOGIN {alice} {alice_password}`, `b SELECT INBOX`,
`c FETCH 1:* ENVELOPE`, `d LOGOUT`):

  openssl s_client -quiet -crlf -connect {imaps}
  openssl s_client -quiet -crlf -starttls imap -connect {imap}

Ctrl-C ends all of it, and the mail is gone.
"
        )
    }
}

fn backend(user: &User) -> io::Result<Backend> {
    let backend = Backend::start(Settings {
        accounts: vec![Account::new(user.name, user.password)],
        name: format!("Backend {} (for trying out)", user.destination),
        ..Settings::default()
    })?;
    for message in user.messages {
        backend.deliver(user.name, "INBOX", message.replace('\n', "\r\n").as_bytes())?;
    }
    Ok(backend)
}

/// `preferred` on loopback, or another port where that one is taken.
fn free_port(preferred: u16) -> io::Result<SocketAddr> {
    let on_loopback = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    on_loopback(preferred).or_else(|_| on_loopback(0))?.local_addr()
}

struct Files {
    certificate: PathBuf,
    private_key: PathBuf,
    map: PathBuf,
    configuration: PathBuf,
}

impl Files {
    fn in_folder(folder: &Path) -> Self {
        Self {
            certificate: folder.join("certificate.pem"),
            private_key: folder.join("key.pem"),
            map: folder.join("users.map"),
            configuration: folder.join("gatepost.toml"),
        }
    }
}

fn map() -> String {
    [ALICE, BOB].map(|user| format!("{}    {}\n", user.name, user.destination)).concat()
}

fn configuration(
    imap: SocketAddr,
    imaps: SocketAddr,
    files: &Files,
    backends: [(&User, SocketAddr); 2],
) -> io::Result<String> {
    let (certificate, private_key) = (quoted(&files.certificate)?, quoted(&files.private_key)?);
    let map = quoted(&files.map)?;
    let destinations = backends.map(|(user, address)| destination(user, address)).concat();
    let default = ALICE.destination;
    Ok(format!(
        "\
[server]
hostname = \"localhost\"

[tls.certificate.demo]
cert = {certificate}
key = {private_key}
default = true

[listener.imap]
protocol = \"imap\"
bind = [\"{imap}\"]
tls = \"starttls\"

[listener.imaps]
protocol = \"imap\"
bind = [\"{imaps}\"]
tls = \"implicit\"

[capabilities.imap]
advertise = [\"IMAP4rev1\", \"SASL-IR\", \"LITERAL+\", \"ENABLE\", \"ID\"]

{destinations}[routing]
default_destination = \"{default}\"

[mapping]
source = \"file\"

[mapping.file]
path = {map}
"
    ))
}

/// A backend on this machine, spoken to in plain text, which must be allowed by name.
fn destination(user: &User, address: SocketAddr) -> String {
    let name = user.destination;
    let (host, port) = (address.ip(), address.port());
    format!(
        "\
[destination.{name}]
host = \"{host}\"
forwarding = \"none\"
allow_plaintext_auth = true

[destination.{name}.protocol.imap]
port = {port}
tls = \"plain\"

"
    )
}

/// A path as a string of TOML.
fn quoted(path: &Path) -> io::Result<String> {
    let text = path.to_str().filter(|text| !text.chars().any(char::is_control));
    let text = text.ok_or(io::Error::other("the folder for temporary files has an odd name"))?;
    Ok(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_configuration_names_what_exists() {
        let demo = Demo::prepare().unwrap();
        let table: toml::Table = demo.configuration().parse().unwrap();
        let certificate = &table["tls"]["certificate"]["demo"];
        for file in [&certificate["cert"], &certificate["key"], &table["mapping"]["file"]["path"]] {
            assert!(Path::new(file.as_str().unwrap()).is_file());
        }
        for (name, backend) in [("one", demo.one()), ("two", demo.two())] {
            let port = &table["destination"][name]["protocol"]["imap"]["port"];
            assert_eq!(port.as_integer(), Some(i64::from(backend.address().port())));
        }
        assert_eq!(
            std::fs::read_to_string(demo.configuration_path()).unwrap(),
            demo.configuration()
        );
        assert_ne!(demo.imap(), demo.imaps());
        let folder = demo.configuration_path();
        drop(demo);
        assert!(!folder.exists());
    }

    #[test]
    fn each_user_has_three_messages_on_one_backend_alone() {
        let demo = Demo::prepare().unwrap();
        assert_eq!(demo.one().messages(ALICE.name, "INBOX").len(), 3);
        assert_eq!(demo.two().messages(BOB.name, "INBOX").len(), 3);
        assert!(demo.one().messages(BOB.name, "INBOX").is_empty());
        for message in demo.one().messages(ALICE.name, "INBOX") {
            let text = String::from_utf8(message).unwrap();
            assert!(text.contains("\r\n\r\n") && !text.replace("\r\n", "").contains('\n'));
            assert!(text.lines().all(|line| line.len() <= 78));
        }
    }

    #[test]
    fn the_instructions_name_both_addresses() {
        let demo = Demo::prepare().unwrap();
        let text = demo.instructions();
        assert!(text.contains(&format!("imaps://{}/INBOX", demo.imaps())));
        assert!(text.contains(&format!("-starttls imap -connect {}", demo.imap())));
        assert!(text.contains("for trying out"));
    }

    #[test]
    fn a_taken_port_is_avoided() {
        let taken = free_port(0).unwrap();
        let _holder = TcpListener::bind(taken).unwrap();
        assert_ne!(free_port(taken.port()).unwrap(), taken);
    }
}
