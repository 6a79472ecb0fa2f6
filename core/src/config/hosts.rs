//! The hosts of a destination: `host`, or `hosts` with weights and standings.
//!
//! Not here: which of them an account lands on ([`crate::route::place`]), and which of them work
//! (`crate::fleet`).
//! Invariants: a destination has at least one host, and no two of the same label; every weight is
//! within 1 to [`WEIGHT_MAX`].
//! Read next: `destination`.

use alloc::{format, string::String, sync::Arc, vec, vec::Vec};
use core::net::SocketAddr;

use super::{
    address::is_host,
    choice::{Choice, Policy, Standing},
    reader::{Section, Value},
};

/// The highest weight of a host: each unit is one draw at every login.
const WEIGHT_MAX: u32 = 100;
/// Hosts of one destination.
const HOSTS_MAX: usize = 256;

/// One host of a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// How the configuration writes it, without weight and standing and in small letters; what
    /// placement goes by and logs show.
    pub label: Arc<str>,
    /// A host name or an address without brackets.
    pub name: String,
    /// Its own port, in place of the endpoint's.
    pub port: Option<u16>,
    /// Its share of the accounts, beside the others'.
    pub weight: u32,
    /// What the operator wants of it.
    pub standing: Standing,
}

/// A text that describes no host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotHost {
    problem: String,
    remedy: &'static str,
}

impl Host {
    /// A host of that name or address, which has all the accounts.
    pub fn named(name: &str) -> Self {
        Self {
            label: name.to_ascii_lowercase().into(),
            name: name.into(),
            port: None,
            weight: 1,
            standing: Standing::Up,
        }
    }

    /// The host at an address, whatever its name.
    pub fn at(address: SocketAddr) -> Self {
        Self::on(&format!("{}", address.ip()), address.port())
    }

    /// A host of that name or address and that port.
    pub fn on(name: &str, port: u16) -> Self {
        let label = match name.contains(':') {
            true => format!("[{name}]:{port}"),
            false => format!("{name}:{port}"),
        };
        Self { label: label.to_ascii_lowercase().into(), port: Some(port), ..Self::named(name) }
    }

    /// A host as `hosts` writes it: `NAME`, `NAME:PORT`, `NAME=WEIGHT`, and a standing behind a
    /// space.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, NotHost> {
        let (place, standing) = match text.split_once(' ') {
            Some((place, word)) => (place, standing(word.trim())?),
            None => (text, Standing::Up),
        };
        let (label, weight) = match place.split_once('=') {
            Some((label, digits)) => (label, weight(digits)?),
            None => (place, 1),
        };
        let (name, port) = name_and_port(label)?;
        let name = name.into();
        Ok(Self { label: label.to_ascii_lowercase().into(), name, port, weight, standing })
    }
}

fn standing(word: &str) -> Result<Standing, NotHost> {
    let mut names = Standing::NAMES.iter();
    names.find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, value)| *value).ok_or_else(
        || NotHost {
            problem: format!("\"{}\" is no standing of a host", word.escape_debug()),
            remedy: "it may be up, draining, standby or down",
        },
    )
}

fn weight(digits: &str) -> Result<u32, NotHost> {
    let number = digits.parse().ok().filter(|weight| (1..=WEIGHT_MAX).contains(weight));
    number.filter(|_| digits.bytes().all(|octet| octet.is_ascii_digit())).ok_or_else(|| NotHost {
        problem: format!("\"{}\" is no weight", digits.escape_debug()),
        remedy: "write a whole number from 1 to 100, such as \"imap2.example.com=2\"",
    })
}

/// An IPv6 address with a port is in brackets; without one it may be.
fn name_and_port(label: &str) -> Result<(&str, Option<u16>), NotHost> {
    if is_host(label) {
        return Ok((label, None));
    }
    let (name, port) = match label.rsplit_once(':') {
        Some((name, port)) => (name, port.parse::<u16>().ok().filter(|port| *port > 0)),
        None => (label, None),
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    if port.is_some() && is_host(bare) && (bare == name || bare.contains(':')) {
        return Ok((bare, port));
    }
    Err(NotHost {
        problem: format!("\"{}\" is neither a host name nor an address", label.escape_debug()),
        remedy: "write a name such as \"imap1.example.com\", \"imap1.example.com:1993\" or \
                 \"[2001:db8::1]:1993\"",
    })
}

/// Reads the hosts of a destination, by whichever of its two keys names them.
pub(super) fn read(section: &Section<'_>, host: impl Fn(&Value<'_>) -> Option<String>) -> Hosts {
    let policy = section.or("policy", Policy::Rendezvous, |value| value.choice());
    if section.holds("hosts") {
        if section.holds("host") {
            section.fault(&["hosts"], "stands beside host", "remove one of them");
            section.optional("host", host);
        }
        return Hosts { hosts: several(section), policy };
    }
    if section.holds("policy") {
        let remedy = "write hosts = [..], or go without";
        section.warning(&["policy"], "has no effect with one host", remedy);
    }
    let hint = "name the backend's host";
    let host = section.required("host", hint, host).unwrap_or_default();
    Hosts { hosts: vec![Arc::new(Host::named(&host))], policy }
}

/// What [`read`] found.
pub(super) struct Hosts {
    pub(super) hosts: Vec<Arc<Host>>,
    pub(super) policy: Policy,
}

fn several(section: &Section<'_>) -> Vec<Arc<Host>> {
    let hosts = section.or("hosts", Vec::new(), |value| value.list(listed));
    for (place, host) in hosts.iter().enumerate() {
        // What is written twice in the same words is a fault of the list already.
        let again = |other: &&Arc<Host>| other.label == host.label && *other != host;
        if hosts[..place].iter().any(|other| again(&other)) {
            let problem = format!("\"{}\" is listed twice", host.label);
            section.fault(&["hosts"], problem, "give it its weight once");
        }
    }
    if section.value("hosts").is_some_and(|value| value.is_empty_list()) {
        section.fault(&["hosts"], "names no host", "list at least one");
    } else if !hosts.is_empty() && hosts.iter().all(|host| host.standing == Standing::Down) {
        section.fault(&["hosts"], "leaves no host that may serve", "let one of them be up");
    }
    if hosts.len() > HOSTS_MAX {
        section.fault(&["hosts"], "names too many hosts", "256 is the most");
    }
    hosts
}

/// A port of its own means one thing only where one protocol is spoken.
pub(super) fn check_ports(section: &Section<'_>, hosts: &[Arc<Host>], protocols: usize) {
    let Some(place) = hosts.iter().position(|host| host.port.is_some()) else { return };
    if protocols > 1 {
        let problem = "has a port of its own, and the destination more than one protocol";
        let remedy = "make a destination for each protocol, or go without the port";
        section.fault(&["hosts", &format!("{place}")], problem, remedy);
    }
}

fn listed(value: &Value<'_>) -> Option<Arc<Host>> {
    match Host::parse(value.text()?) {
        Ok(host) => Some(Arc::new(host)),
        Err(NotHost { problem, remedy }) => {
            value.fault(problem, remedy);
            None
        }
    }
}
