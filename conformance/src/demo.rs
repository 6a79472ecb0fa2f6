//! What the `demo` program needs before and after it starts the server.
//!
//! [`Demo::prepare`] starts two backends with a little mail, chooses ports, and writes a folder
//! with a self-signed certificate, a map file and the configuration; [`Demo::instructions`] says
//! what to type. The server in front is the program's own business, so nothing here knows a driver.
//! Everything is on loopback and goes away when the [`Demo`] is dropped. Read next: `backend`.

mod doors;
mod mail;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use self::doors::Door;
use crate::backend::tls::SelfSigned;
use crate::backend::{Account, Backend, Protocol, Settings};

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
    doors: Vec<Door>,
    configuration: String,
    folder: TempDir,
}

impl Demo {
    /// Starts the backends and writes the files. The ports for the server are free now, and nobody
    /// holds them: start it soon.
    pub fn prepare() -> io::Result<Self> {
        let one = backend(&ALICE)?;
        let two = backend(&BOB)?;
        let doors = Door::all()?;
        let folder = TempDir::with_prefix("gatepost-demo-")?;
        let certificate = SelfSigned::new(&["localhost", "127.0.0.1"])?;
        let files = Files::in_folder(folder.path());
        std::fs::write(&files.certificate, certificate.certificate_pem())?;
        std::fs::write(&files.private_key, certificate.private_key_pem())?;
        std::fs::write(&files.map, map())?;
        let configuration = configuration(&doors, &files, [(&ALICE, &one), (&BOB, &two)])?;
        std::fs::write(&files.configuration, &configuration)?;
        Ok(Self { one, two, doors, configuration, folder })
    }

    /// The server's configuration, as it also stands in [`Self::configuration_path`].
    pub fn configuration(&self) -> &str {
        &self.configuration
    }

    /// The file with the configuration; it and all that it names are removed with the demo.
    pub fn configuration_path(&self) -> PathBuf {
        Files::in_folder(self.folder.path()).configuration
    }

    /// Where the server is to offer a protocol with STARTTLS; None if the demo does not show it.
    pub fn starttls(&self, protocol: Protocol) -> Option<SocketAddr> {
        self.door(protocol).map(|door| door.starttls)
    }

    /// Where the server is to offer a protocol inside TLS; None if the demo does not show it, or if
    /// it has no such port.
    pub fn implicit(&self, protocol: Protocol) -> Option<SocketAddr> {
        self.door(protocol).and_then(|door| door.implicit)
    }

    fn door(&self, protocol: Protocol) -> Option<&Door> {
        self.doors.iter().find(|door| door.protocol == protocol)
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
        let (one, two) = (self.one.address(), self.two.address());
        let configuration = self.configuration_path();
        let configuration = configuration.display();
        let User { name: alice, password: alice_password, .. } = ALICE;
        let User { name: bob, password: bob_password, .. } = BOB;
        let addresses: String = self.doors.iter().map(Door::addresses).collect();
        let commands: String = self.doors.iter().map(Door::commands).collect();
        format!(
            "\
Gatepost stands in front of two small mail backends. The backends are for trying out: they keep
mail in memory only and are no mail servers. The certificate is self-signed, hence -k below.

  user               password      mail is on
  {alice}  {alice_password}  destination one, {one}
  {bob}    {bob_password}    destination two, {two}

{addresses}  {:<25}  {configuration}

{commands}Ctrl-C ends all of it, and the mail is gone.
",
            "configuration"
        )
    }
}

fn backend(user: &User) -> io::Result<Backend> {
    let backend = Backend::start(Settings {
        protocols: Protocol::ALL.to_vec(),
        accounts: vec![Account::new(user.name, user.password)],
        name: format!("Backend {} (for trying out)", user.destination),
        ..Settings::default()
    })?;
    for message in user.messages {
        backend.deliver(user.name, "INBOX", message.replace('\n', "\r\n").as_bytes())?;
    }
    Ok(backend)
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
    doors: &[Door],
    files: &Files,
    backends: [(&User, &Backend); 2],
) -> io::Result<String> {
    let (certificate, private_key) = (quoted(&files.certificate)?, quoted(&files.private_key)?);
    let map = quoted(&files.map)?;
    let listeners: String = doors.iter().map(Door::listeners).collect();
    let destinations = backends.map(|(user, backend)| destination(user, backend, doors)).concat();
    let default = ALICE.destination;
    Ok(format!(
        "\
[server]
hostname = \"localhost\"

[tls.certificate.demo]
cert = {certificate}
key = {private_key}
default = true

{listeners}{destinations}[routing]
default_destination = \"{default}\"

[mapping]
source = \"file\"

[mapping.file]
path = {map}
"
    ))
}

/// A backend on this machine, spoken to in plain text, which must be allowed by name.
fn destination(user: &User, backend: &Backend, doors: &[Door]) -> String {
    let name = user.destination;
    let host = backend.address().ip();
    let protocols = doors.iter().map(|door| door.at_destination(name, backend));
    let protocols: String = protocols.collect();
    format!(
        "\
[destination.{name}]
host = \"{host}\"
forwarding = \"none\"
allow_plaintext_auth = true

{protocols}"
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
        assert!(demo.starttls(Protocol::Imap).is_some());
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
        let (imap, imaps) = (demo.starttls(Protocol::Imap), demo.implicit(Protocol::Imap));
        assert!(text.contains(&format!("imaps://{}/INBOX", imaps.unwrap())));
        assert!(text.contains(&format!("-starttls imap -connect {}", imap.unwrap())));
        assert!(text.contains("for trying out"));
    }
}
