//! What the demo offers in each protocol: ports, listeners, commands to paste.
//!
//! Ports are the well-known ones with a 1 in front, where they are free. The configuration around
//! the listeners stands in `demo`.

use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{ALICE, BOB, User};
use crate::backend::{Backend, Protocol};

/// Where the server is to offer one protocol.
pub(super) struct Door {
    pub(super) protocol: Protocol,
    /// In plain text, and then with STARTTLS.
    pub(super) starttls: SocketAddr,
    /// Inside TLS; ManageSieve has no port for that.
    pub(super) implicit: Option<SocketAddr>,
}

impl Door {
    /// One for each protocol.
    pub(super) fn all() -> io::Result<Vec<Self>> {
        Protocol::ALL.into_iter().map(Self::new).collect()
    }

    pub(super) fn new(protocol: Protocol) -> io::Result<Self> {
        let (starttls, implicit) = match protocol {
            Protocol::Imap => (1143, Some(1993)),
            Protocol::Pop3 => (1110, Some(1995)),
            Protocol::ManageSieve => (14190, None),
            Protocol::Submission => (1587, Some(1465)),
        };
        let starttls = free_port(starttls)?;
        Ok(Self { protocol, starttls, implicit: implicit.map(free_port).transpose()? })
    }

    /// The tables of its listeners and of what they advertise.
    pub(super) fn listeners(&self) -> String {
        let (name, starttls) = (key(self.protocol), self.starttls);
        let mut text = listener(name, name, starttls, "starttls");
        if let Some(implicit) = self.implicit {
            text += &listener(&format!("{name}s"), name, implicit, "implicit");
        }
        // What the backends have in common with what can be honoured before login.
        let advertised = match self.protocol {
            Protocol::Imap => {
                "advertise = [\"IMAP4rev1\", \"SASL-IR\", \"LITERAL+\", \"ENABLE\", \"ID\"]"
            }
            Protocol::Pop3 => {
                "advertise = [\"TOP\", \"UIDL\", \"RESP-CODES\", \"AUTH-RESP-CODE\", \
                 \"PIPELINING\"]"
            }
            Protocol::ManageSieve => "sieve = [\"fileinto\", \"envelope\"]",
            Protocol::Submission => {
                "ehlo = [\"PIPELINING\", \"8BITMIME\", \"SIZE 67108864\", \
                 \"ENHANCEDSTATUSCODES\", \"CHUNKING\"]"
            }
        };
        text + &format!("[capabilities.{name}]\n{advertised}\n\n")
    }

    /// The table that says where a backend speaks it, in plain text; nothing if it does not.
    pub(super) fn at_destination(&self, destination: &str, backend: &Backend) -> String {
        let Some(address) = backend.address_of(self.protocol) else {
            return String::new();
        };
        let (name, port) = (key(self.protocol), address.port());
        format!("[destination.{destination}.protocol.{name}]\nport = {port}\ntls = \"plain\"\n\n")
    }

    /// Its lines in the list of addresses.
    pub(super) fn addresses(&self) -> String {
        let name = title(self.protocol);
        let mut text = format!("  {:<25}  {}\n", format!("{name} with STARTTLS"), self.starttls);
        if let Some(implicit) = self.implicit {
            let label = format!("{name} inside TLS");
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  {label:<25}  {implicit}");
        }
        text
    }

    /// Commands to paste.
    pub(super) fn commands(&self) -> String {
        let starttls = self.starttls;
        // Only ManageSieve has none, and does not ask.
        let tls = self.implicit.unwrap_or(starttls);
        let User { name: alice, password: alice_password, .. } = ALICE;
        let User { name: bob, password: bob_password, .. } = BOB;
        match self.protocol {
            Protocol::Imap => format!(
                "\
Read mail, one user after the other, through the same address:

  curl -k 'imaps://{tls}/INBOX;MAILINDEX=1' -u {alice}:{alice_password}
  curl -k 'imaps://{tls}/INBOX;MAILINDEX=1' -u {bob}:{bob_password}

With STARTTLS; with a token; with a wrong password, which the backend refuses:

  curl -k --ssl-reqd 'imap://{starttls}/INBOX?ALL' -u {alice}:{alice_password}
  curl -k 'imaps://{tls}/' --login-options AUTH=XOAUTH2 -u {bob} --oauth2-bearer token-{bob}
  curl -k 'imaps://{tls}/' -u {alice}:wrong

By hand (then type `a LOGIN {alice} {alice_password}`, `b SELECT INBOX`,
`c FETCH 1:* ENVELOPE`, `d LOGOUT`):

  openssl s_client -quiet -crlf -connect {tls}
  openssl s_client -quiet -crlf -starttls imap -connect {starttls}

"
            ),
            Protocol::Pop3 => format!(
                "\
The same mail by POP3, and by hand (then type `USER {bob}`, `PASS {bob_password}`, `LIST`,
`QUIT`):

  curl -k 'pop3s://{tls}/1' -u {alice}:{alice_password}
  curl -k --ssl-reqd 'pop3://{starttls}/' -u {bob}:{bob_password}
  openssl s_client -quiet -crlf -starttls pop3 -connect {starttls}

"
            ),
            Protocol::ManageSieve => {
                let message = BASE64.encode(format!("\0{alice}\0{alice_password}"));
                format!(
                    "\
Scripts by ManageSieve (then type `AUTHENTICATE \"PLAIN\" \"{message}\"`,
`PUTSCRIPT \"mine\" \"keep;\"`, `LISTSCRIPTS`, `LOGOUT`):

  openssl s_client -quiet -crlf -starttls sieve -connect {starttls}

"
                )
            }
            Protocol::Submission => format!(
                "\
Submit mail, to oneself, since a backend delivers to its own users only; then read it as above:

  swaks --server {starttls} --tls --auth PLAIN -au {alice} -ap {alice_password} \\
    --from {alice} --to {alice}
  swaks --server {tls} --tls-on-connect --auth PLAIN -au {bob} -ap {bob_password} \\
    --from {bob} --to {bob}

"
            ),
        }
    }
}

/// The name in the configuration.
fn key(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Imap => "imap",
        Protocol::Pop3 => "pop3",
        Protocol::ManageSieve => "managesieve",
        Protocol::Submission => "submission",
    }
}

/// The name for people.
fn title(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Imap => "IMAP",
        Protocol::Pop3 => "POP3",
        Protocol::ManageSieve => "ManageSieve",
        Protocol::Submission => "Submission",
    }
}

fn listener(name: &str, protocol: &str, address: SocketAddr, tls: &str) -> String {
    format!(
        "[listener.{name}]\nprotocol = \"{protocol}\"\nbind = [\"{address}\"]\ntls = \"{tls}\"\n\n"
    )
}

/// `preferred` on loopback, or another port where that one is taken.
fn free_port(preferred: u16) -> io::Result<SocketAddr> {
    let on_loopback = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    on_loopback(preferred).or_else(|_| on_loopback(0))?.local_addr()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::backend::Settings;

    #[test]
    fn a_taken_port_is_avoided() {
        let taken = free_port(0).unwrap();
        let _holder = TcpListener::bind(taken).unwrap();
        assert_ne!(free_port(taken.port()).unwrap(), taken);
    }

    #[test]
    fn every_protocol_can_be_configured_and_shown() {
        let protocols = Protocol::ALL.to_vec();
        let backend = Backend::start(Settings { protocols, ..Settings::default() }).unwrap();
        for protocol in Protocol::ALL {
            let door = Door::new(protocol).unwrap();
            let text = door.listeners() + &door.at_destination("one", &backend);
            let table: toml::Table = text.parse().unwrap();
            let name = key(protocol);
            let listener = &table["listener"][name];
            assert_eq!(listener["protocol"].as_str(), Some(name));
            assert_eq!(listener["bind"][0].as_str(), Some(&*door.starttls.to_string()));
            assert!(table["capabilities"][name].is_table());
            let port = &table["destination"]["one"]["protocol"][name]["port"];
            let own = backend.address_of(protocol).unwrap().port();
            assert_eq!(port.as_integer(), Some(i64::from(own)));
            assert!(door.commands().contains(&door.starttls.to_string()));
            assert!(door.addresses().contains(&door.starttls.to_string()));
            if let Some(implicit) = door.implicit {
                assert_ne!(implicit, door.starttls);
                assert!(door.commands().contains(&implicit.to_string()));
            }
        }
    }
}
