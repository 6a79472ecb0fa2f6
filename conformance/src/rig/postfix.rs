//! Debian's Postfix as an instance of its own in a temporary folder.
//!
//! It has its own configuration, queue and data folders, listens on loopback alone and asks no
//! name server. Ports for mail from anybody and for submission, each with STARTTLS and with
//! implicit TLS, and each with STARTTLS behind a PROXY header, which postscreen reads for mail
//! before it hands the connection on. Passwords are judged by a Dovecot. Nobody is trusted for
//! where they come from: mail for [`DOMAIN`] is accepted from all and goes to an LMTP server, mail
//! for elsewhere is accepted from who has logged in, and thrown away. Loopback may say `XCLIENT`,
//! so that the log shows `client=` as a proxy tells it. It needs root, drops privileges itself, and
//! ends with its master process.

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt as _, chown},
    path::Path,
    process::Command,
};

use tempfile::TempDir;

use crate::rig::{
    Authority, Daemon, Dovecot, Endpoint, Protocol, Tls, free_port, process::create_log, programs,
    smtp,
};

/// The domain whose mail is delivered.
pub const DOMAIN: &str = "example.test";
/// Where Debian has the programs that only the master process starts.
const DAEMONS: &str = "/usr/lib/postfix/sbin";
/// The user as whom they run.
const OWNER: &str = "postfix";

/// The ports of one instance, which others may have to know before it runs.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// Mail from anybody, in the clear or with STARTTLS.
    pub mail: u16,
    /// The same with implicit TLS.
    pub mail_tls: u16,
    /// Submission in the clear or with STARTTLS.
    pub submission: u16,
    /// Submission with implicit TLS.
    pub submission_tls: u16,
    /// Mail from anybody behind a PROXY header, which postscreen reads.
    pub screened: u16,
    /// Submission behind a PROXY header.
    pub submission_header: u16,
}

impl Ports {
    /// Ports that are free.
    pub fn choose() -> io::Result<Self> {
        Ok(Self {
            mail: free_port()?,
            mail_tls: free_port()?,
            submission: free_port()?,
            submission_tls: free_port()?,
            screened: free_port()?,
            submission_header: free_port()?,
        })
    }
}

/// A running Postfix.
#[derive(Debug)]
pub struct Postfix {
    // Before the folder: what runs in it ends first.
    daemon: Daemon,
    /// The certificate it shows, and the authority behind it.
    pub authority: Authority,
    ports: Ports,
    _folder: TempDir,
}

impl Postfix {
    /// Starts an instance that asks `judge` about passwords and delivers to the LMTP server on
    /// `delivery`, a port of 127.0.0.1, and waits until it serves.
    pub fn start(ports: Ports, judge: &Dovecot, delivery: u16) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("gatepost-postfix-").tempdir()?;
        // Its processes have their own user, who must be able to get to the folders inside.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let authority = Authority::create(folder.path())?;
        let configuration = folder.path().join("configuration");
        for name in ["configuration", "queue", "data"] {
            fs::create_dir(folder.path().join(name))?;
        }
        let owner = programs::user_id(OWNER)?;
        chown(folder.path().join("data"), Some(owner), None)?;
        let main = main_configuration(folder.path(), judge.authentication_port, delivery);
        fs::write(configuration.join("main.cf"), main)?;
        fs::write(configuration.join("master.cf"), master_configuration(&ports))?;
        let log = folder.path().join("log");
        create_log(&log)?;
        create_queue(&configuration)?;
        // `postfix start-fg` would put a shell between, and end alone when it is told to.
        let mut command = Command::new(Path::new(DAEMONS).join("master"));
        command.arg("-c").arg(&configuration).arg("-s");
        let daemon = Daemon::spawn("postfix", &mut command, &log)?;
        let mut server = Self { daemon, authority, ports, _folder: folder };
        for protocol in [Protocol::Smtp, Protocol::Submission] {
            for tls in [Tls::Plain, Tls::Implicit] {
                let endpoint = server.endpoint(protocol, tls);
                server.daemon.wait_until(|| smtp::Client::connect(&endpoint).is_ok())?;
            }
        }
        Ok(server)
    }

    /// Where and how to connect to it for submission or, with any other protocol, for mail.
    pub fn endpoint(&self, protocol: Protocol, tls: Tls) -> Endpoint {
        let Ports { mail, mail_tls, submission, submission_tls, .. } = self.ports;
        let (clear, encrypted) = if protocol == Protocol::Submission {
            (submission, submission_tls)
        } else {
            (mail, mail_tls)
        };
        let port = if tls == Tls::Implicit { encrypted } else { clear };
        Endpoint { protocol, port, tls, authority: self.authority.authority.clone() }
    }

    /// Where and how to connect to it with a PROXY header, never by implicit TLS.
    pub fn endpoint_with_header(&self, protocol: Protocol, tls: Tls) -> Endpoint {
        let Ports { screened, submission_header, .. } = self.ports;
        let port = if protocol == Protocol::Submission { submission_header } else { screened };
        Endpoint { protocol, port, tls, authority: self.authority.authority.clone() }
    }

    /// Its log so far: `client=…, sasl_username=…` for every message that came in, `status=…` for
    /// every recipient, `CONNECT from …` where postscreen was first.
    pub fn log(&self) -> String {
        self.daemon.log()
    }
}

/// Creates the queue's folders with the owners that Postfix wants.
fn create_queue(configuration: &Path) -> io::Result<()> {
    let postfix = programs::find("postfix").ok_or(io::ErrorKind::NotFound)?;
    let output = Command::new(postfix).arg("-c").arg(configuration).arg("check").output()?;
    if output.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("postfix check: {}\n{errors}", output.status)))
}

fn main_configuration(folder: &Path, authentication_port: u16, delivery: u16) -> String {
    let folder = folder.display();
    format!(
        r"
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = {DAEMONS}
mail_owner = {OWNER}
setgid_group = postdrop
maillog_file = /dev/stdout
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
disable_dns_lookups = yes
smtpd_peername_lookup = no
myhostname = localhost
mydestination =
mynetworks =
alias_maps =
alias_database =
local_recipient_maps =
virtual_mailbox_domains = {DOMAIN}
virtual_mailbox_maps = static:known
virtual_transport = lmtp:inet:127.0.0.1:{delivery}
default_transport = discard
smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination
smtpd_relay_before_recipient_restrictions = yes
smtpd_authorized_xclient_hosts = 127.0.0.0/8
smtpd_client_port_logging = yes
smtpd_client_connection_count_limit = 0
smtpd_error_sleep_time = 0
smtpd_tls_security_level = may
smtpd_tls_cert_file = {folder}/certificate.pem
smtpd_tls_key_file = {folder}/key.pem
smtpd_sasl_type = dovecot
smtpd_sasl_path = inet:127.0.0.1:{authentication_port}
"
    )
}

fn master_configuration(ports: &Ports) -> String {
    let Ports { mail, mail_tls, submission, submission_tls, screened, submission_header } = ports;
    let with_tls = "-o smtpd_tls_wrappermode=yes";
    let with_login = "-o smtpd_sasl_auth_enable=yes";
    let with_header = "-o smtpd_upstream_proxy_protocol=haproxy";
    let screen = "-o postscreen_upstream_proxy_protocol=haproxy \
                  -o postscreen_access_list=static:permit";
    format!(
        "127.0.0.1:{mail} inet n - n - - smtpd\n\
         127.0.0.1:{mail_tls} inet n - n - - smtpd {with_tls}\n\
         127.0.0.1:{submission} inet n - n - - smtpd {with_login}\n\
         127.0.0.1:{submission_tls} inet n - n - - smtpd {with_tls} {with_login}\n\
         127.0.0.1:{submission_header} inet n - n - - smtpd {with_header} {with_login}\n\
         127.0.0.1:{screened} inet n - n - 1 postscreen {screen}\n\
         smtpd pass - - n - - smtpd\n\
         cleanup unix n - n - 0 cleanup\n\
         qmgr unix n - n 300 1 qmgr\n\
         tlsmgr unix - - n 1000? 1 tlsmgr\n\
         rewrite unix - - n - - trivial-rewrite\n\
         bounce unix - - n - 0 bounce\n\
         defer unix - - n - 0 bounce\n\
         trace unix - - n - 0 bounce\n\
         proxymap unix - - n - - proxymap\n\
         error unix - - n - - error\n\
         retry unix - - n - - error\n\
         discard unix - - n - - discard\n\
         lmtp unix - - n - - lmtp\n\
         anvil unix - - n - 1 anvil\n\
         postlog unix-dgram n - n - 1 postlogd\n"
    )
}
