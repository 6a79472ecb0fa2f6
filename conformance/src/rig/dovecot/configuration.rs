//! The configuration file of the rig's Dovecot, in the language of version 2.3.

use std::path::Path;

use crate::rig::{
    Protocol, Services, Tls,
    dovecot::{Door, SESSION_LIMIT},
    owner::Owner,
};

/// What a line of the log tells of a login: what Dovecot tells by itself, then the ports, and the
/// address of the socket whoever the client is said to be.
const LOG_ELEMENTS: &str = "user=<%u> method=%m rip=%r lip=%l mpid=%e %c session=<%{session}> \
                            rport=%b lport=%a real=%{real_rip}";
/// Settings of a port.
const ENCRYPTED: &str = "    ssl = yes\n";
const WITH_HEADER: &str = "    haproxy = yes\n";

/// A port that refuses connections: that of the discard service, which nobody runs.
const NO_RELAY: u16 = 9;

/// What differs from one server to the next.
pub(super) struct Ground<'a> {
    pub(super) folder: &'a Path,
    pub(super) owner: &'a Owner,
    pub(super) doors: &'a [Door],
    pub(super) authentication_port: u16,
    pub(super) services: &'a Services<'a>,
}

impl Ground<'_> {
    /// The whole file.
    pub(super) fn configuration(&self) -> String {
        let names: Vec<&str> = self.doors.iter().map(|door| process(door.protocol)).collect();
        let mut text = format!("protocols = {}\n", names.join(" "));
        text.push_str(&self.foundation());
        text.push_str(&self.inner_services());
        for door in self.doors {
            text.push_str(&self.service(door));
        }
        text
    }

    fn foundation(&self) -> String {
        let folder = self.folder.display();
        let Owner { user, group, .. } = self.owner;
        let Services { trusted, trusted_headers, onward, .. } = self.services;
        // Whom it asks the file for: the user, or the protocol that leads somewhere else.
        let key = if onward.is_some() { "%s" } else { "%u" };
        format!(
            r"
listen = 127.0.0.1
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
hostname = localhost
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
default_vsz_limit = 0
first_valid_uid = 1
first_valid_gid = 1
login_trusted_networks = {trusted}
haproxy_trusted_networks = {trusted_headers}
login_log_format_elements = {LOG_ELEMENTS}
disable_plaintext_auth = no
auth_failure_delay = 0
ssl = yes
ssl_cert = <{folder}/certificate.pem
ssl_key = <{folder}/key.pem
mail_location = maildir:{folder}/mail/%u/Maildir
mail_max_userip_connections = 0
passdb {{
  driver = passwd-file
  args = username_format={key} {folder}/passwd
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={folder}/mail/%u
}}
"
        )
    }

    fn inner_services(&self) -> String {
        let inner_limit = 2 * SESSION_LIMIT;
        let port = self.authentication_port;
        format!(
            r"
service auth {{
  client_limit = {inner_limit}
  inet_listener {{
    port = {port}
  }}
}}
service anvil {{
  chroot =
  client_limit = {inner_limit}
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service ipc {{
  chroot =
}}
service imap-urlauth-login {{
  chroot =
  process_limit = 1
}}
"
        )
    }

    fn service(&self, door: &Door) -> String {
        let Door { protocol, port, tls_port, header_port, header_tls_port, elsewhere } = door;
        let name = process(*protocol);
        let mut listeners = listener(name, *port, "");
        if door.modes().contains(&Tls::Implicit) {
            listeners.push_str(&listener(&format!("{name}s"), *tls_port, ENCRYPTED));
        }
        if let Some(elsewhere) = elsewhere {
            let setting = format!("    address = {}\n", elsewhere.ip());
            listeners.push_str(&listener(&format!("{name}_elsewhere"), elsewhere.port(), &setting));
        }
        if *protocol == Protocol::Lmtp {
            return format!("service lmtp {{\n{listeners}}}\n{}", self.delivery());
        }
        listeners.push_str(&listener(&format!("{name}_header"), *header_port, WITH_HEADER));
        if door.modes().contains(&Tls::Implicit) {
            let settings = format!("{WITH_HEADER}{ENCRYPTED}");
            listeners.push_str(&listener(&format!("{name}s_header"), *header_tls_port, &settings));
        }
        let process = process_of_sessions(*protocol);
        let mut text = format!(
            "service {process}-login {{\n  chroot =\n  service_count = 0\n  \
             client_limit = {SESSION_LIMIT}\n  process_limit = 1\n{listeners}}}\n\
             service {process} {{\n  process_limit = {SESSION_LIMIT}\n}}\n"
        );
        if *protocol == Protocol::Submission {
            text.push_str(&self.relay());
        }
        text
    }

    /// Where messages go. Without a relay a login works all the same: told of the capabilities,
    /// Dovecot connects for the first message alone.
    fn relay(&self) -> String {
        let told = if self.services.relay.is_none() {
            "submission_backend_capabilities = 8BITMIME\n"
        } else {
            ""
        };
        let port = self.services.relay.unwrap_or(NO_RELAY);
        format!(
            "submission_relay_host = 127.0.0.1\nsubmission_relay_port = {port}\n\
             submission_relay_trusted = yes\n{told}"
        )
    }

    fn delivery(&self) -> String {
        let mut text = "postmaster_address = postmaster@example.test\n\
                        lda_mailbox_autocreate = yes\n"
            .to_owned();
        if self.doors.iter().any(|door| door.protocol == Protocol::ManageSieve) {
            text.push_str("protocol lmtp {\n  mail_plugins = sieve\n}\n");
            text.push_str("plugin {\n  sieve = file:~/sieve;active=~/.dovecot.sieve\n}\n");
        }
        text
    }
}

/// A port of a service.
fn listener(name: &str, port: u16, settings: &str) -> String {
    format!("  inet_listener {name} {{\n    port = {port}\n{settings}  }}\n")
}

/// What Dovecot calls a protocol.
pub(super) fn process(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Imap => "imap",
        Protocol::Pop3 => "pop3",
        Protocol::ManageSieve => "sieve",
        Protocol::Submission | Protocol::Smtp => "submission",
        Protocol::Lmtp => "lmtp",
    }
}

/// What Dovecot calls the processes that serve it.
fn process_of_sessions(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::ManageSieve => "managesieve",
        Protocol::Imap
        | Protocol::Pop3
        | Protocol::Submission
        | Protocol::Smtp
        | Protocol::Lmtp => process(protocol),
    }
}
