//! How a destination's hosts are probed, and which hosts its referrals may name.
//!
//! Not here: what a probe does (`crate::probe`), and how a referral is followed (the session).
//! Invariants: a probe's account has both its name and the file with its password; credentials
//! follow a referral over verified TLS only, so a destination without it names no such host.
//! Read next: `destination`.

use alloc::{borrow::ToOwned, format, string::String, vec::Vec};
use core::{net::IpAddr, time::Duration};

use super::{
    address::{is_host, is_host_name},
    choice::TlsMode,
    destination::Destination,
    reader::{Section, Value},
};

/// How a destination's hosts are probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probing {
    /// From the beginning of one probe of a host to that of the next.
    pub interval: Duration,
    /// Whom it logs in; none: it ends when the host has greeted and said what it can do.
    pub account: Option<ProbeAccount>,
}

/// The account that a probe logs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeAccount {
    /// Its user name.
    pub user: String,
    /// Path of a file whose first line is its password.
    pub password_file: String,
}

/// Which hosts a referral may name: a name, an address, or every name below a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReferralHost {
    /// That very name or address, in small letters.
    Exact(String),
    /// `*.example.com`: what ends in this (`.example.com`, in small letters), and not the domain
    /// itself.
    Below(String),
}

impl ReferralHost {
    /// Whether it stands for that host; letters of either size are the same.
    pub fn covers(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => name.eq_ignore_ascii_case(host),
            Self::Below(domain) => {
                let start = host.len().checked_sub(domain.len()).filter(|start| *start > 0);
                start.and_then(|start| host.get(start..)).is_some_and(|end| {
                    end.eq_ignore_ascii_case(domain) && host.parse::<IpAddr>().is_err()
                })
            }
        }
    }
}

const USER_OCTETS_MAX: usize = 512;

pub(super) fn read(section: &Section<'_>) -> Option<Probing> {
    let interval = section.optional("probe_interval", Value::duration);
    let user = section.optional("probe_user", user);
    let password_file = section.optional("probe_password_file", Value::file);
    for (one, other) in
        [("probe_user", "probe_password_file"), ("probe_password_file", "probe_user")]
    {
        if section.holds(one) && !section.holds(other) {
            section.fault(&[one], format!("needs {other}"), "set both or neither");
        }
    }
    if section.holds("probe_user") && !section.holds("probe_interval") {
        let remedy = "set probe_interval = \"30s\", or remove it";
        section.warning(&["probe_user"], "has no effect without probe_interval", remedy);
    }
    let account = user.zip(password_file);
    let account = account.map(|(user, password_file)| ProbeAccount { user, password_file });
    interval.map(|interval| Probing { interval, account })
}

fn user(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    if text.is_empty() || text.len() > USER_OCTETS_MAX || text.chars().any(char::is_control) {
        value.fault("is no user name", "write one that the backends know");
        return None;
    }
    Some(text.to_owned())
}

pub(super) fn read_referral_hosts(section: &Section<'_>) -> Vec<ReferralHost> {
    section.or("referral_hosts", Vec::new(), |value| value.list(referral_host))
}

fn referral_host(value: &Value<'_>) -> Option<ReferralHost> {
    let text = value.text()?;
    match text.strip_prefix('*') {
        Some(domain) if domain.strip_prefix('.').is_some_and(is_host_name) => {
            Some(ReferralHost::Below(domain.to_ascii_lowercase()))
        }
        None if is_host(text) => Some(ReferralHost::Exact(text.to_ascii_lowercase())),
        Some(_) | None => {
            let problem = format!("\"{}\" names no host", text.escape_debug());
            let remedy = "write a name such as \"imap2.example.com\", or \"*.example.com\" for all \
                          below a domain";
            value.fault(problem, remedy);
            None
        }
    }
}

/// A host that a backend names is trusted by its certificate alone.
pub(super) fn check_referrals(section: &Section<'_>, destination: &Destination) {
    if destination.referral_hosts.is_empty() {
        return;
    }
    if destination.tls_allow_invalid_certs {
        let problem = "would send credentials to whoever answers, with tls_allow_invalid_certs";
        section.fault(&["referral_hosts"], problem, "remove one of them");
    }
    let spoken = destination.endpoints.iter();
    let plain =
        spoken.filter(|(protocol, _)| protocol.bears_credentials()).find(|(_, endpoint)| {
            match endpoint.tls {
                TlsMode::Plain => true,
                TlsMode::Implicit | TlsMode::StartTls => false,
            }
        });
    if let Some((protocol, _)) = plain {
        let problem = format!("are followed over TLS only, and {} has none", protocol.name());
        section.fault(&["referral_hosts"], problem, "give every protocol TLS, or remove it");
    }
}
