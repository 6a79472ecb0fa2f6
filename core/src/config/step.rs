//! The `mapping.step` tables: what is decided of accounts before their table is asked.
//!
//! Not here: how a step is matched and carried out, see `../route/step.rs`.
//! Invariant: a step that is read means somebody and does something about it, and its destination
//! is one that there is.

use alloc::{borrow::ToOwned, format, string::String, sync::Arc, vec::Vec};

use super::{
    capabilities::line,
    destination::Destination,
    listener::Listener,
    reader::{Section, Value},
    routing::named,
};
use crate::{
    route::step::{Decision, Pattern, Rewriting, Step, Subject, Template},
    verdict::TEXT_MAX,
};

/// Steps of a configuration: each is tried for every login that none before it decided.
pub(super) const STEPS_MAX: usize = 1000;

pub(super) fn read(
    mapping: &Section<'_>,
    destinations: &[Arc<Destination>],
    listeners: &[Arc<Listener>],
) -> Vec<Arc<Step>> {
    let Some(value) = mapping.value("step") else { return Vec::new() };
    let Some(sections) = value.sections() else { return Vec::new() };
    if sections.len() > STEPS_MAX {
        let remedy = format!("there may be {STEPS_MAX}; a table holds more accounts than steps do");
        value.fault(format!("has {} steps", sections.len()), &remedy);
    }
    let mut steps = Vec::new();
    for section in &sections {
        let Some(step) = read_step(section, destinations) else { continue };
        let unfit = listeners.iter().find(|it| step.subject.in_form(it.normalize).is_err());
        if let Some(listener) = unfit {
            let form = listener.normalize.name();
            let problem = format!("can be nobody's name where names are compared as {form}");
            section.fault(&["match"], problem, "write a name that clients can have");
        }
        steps.push(Arc::new(step));
    }
    steps
}

/// Whether any step sends clients elsewhere.
pub(super) fn refers(mapping: &Section<'_>) -> bool {
    let sections = mapping.value("step").and_then(|value| value.sections()).unwrap_or_default();
    sections.iter().any(|section| section.holds("referral"))
}

fn read_step(section: &Section<'_>, destinations: &[Arc<Destination>]) -> Option<Step> {
    let subject = read_subject(section);
    let groups = match &subject {
        Some(Subject::Pattern(pattern)) => Some(pattern.groups()),
        Some(Subject::Everybody | Subject::Domain(_) | Subject::User(_)) => Some(0),
        None => None,
    };
    let template = |value: &Value<'_>| template(value, groups);
    let login = read_login(section, template);
    let alert = section.optional("alert", words);
    let decision = read_decision(section, destinations, template);
    let acts = ["destination", "referral", "refuse", "login", "alert"];
    if !acts.iter().any(|key| section.holds(key)) {
        let remedy = "give it a destination, a referral, refuse, login or alert, or remove it";
        section.fault(&[], "does nothing", remedy);
    }
    Some(Step { line: section.line(), subject: subject?, decision, login, alert })
}

fn read_subject(section: &Section<'_>) -> Option<Subject> {
    let matched = section.optional("match", subject);
    let pattern = section.optional("regexp", pattern);
    match (section.holds("match"), section.holds("regexp")) {
        (false, false) => {
            let remedy = "add match = \"user@example.com\", \"@example.com\" or \"*\", or regexp";
            section.fault(&[], "does not say whom it means", remedy);
        }
        (true, true) => {
            let problem = "stands beside match, and a step means one of the two";
            section.fault(&["regexp"], problem, "make two steps of it");
        }
        (true, false) | (false, true) => {}
    }
    matched.or(pattern)
}

fn subject(value: &Value<'_>) -> Option<Subject> {
    let text = value.text()?;
    if text == "*" {
        return Some(Subject::Everybody);
    }
    let unfit = |letter: char| letter.is_control() || letter.is_whitespace() || letter == '"';
    if text.is_empty() || text == "@" || text.contains(unfit) {
        let problem = format!("\"{}\" means nobody", text.escape_debug());
        value.fault(problem, "write a user name, \"@\" and a domain, or \"*\"");
        return None;
    }
    // A user name that begins with an at sign has none before it, and so no domain.
    Some(match text.strip_prefix('@') {
        Some(domain) if domain.contains('@') => {
            let problem = format!("\"{}\" is no domain", text.escape_debug());
            value.fault(problem, "write one at sign and the domain");
            return None;
        }
        Some(domain) => Subject::Domain(domain.to_owned()),
        None => Subject::User(text.to_owned()),
    })
}

fn pattern(value: &Value<'_>) -> Option<Subject> {
    match Pattern::new(value.text()?) {
        Ok(pattern) => Some(Subject::Pattern(pattern)),
        Err(problem) => {
            // The grammar's own words show the place over several lines; the last says what it is.
            let problem = problem.lines().last().unwrap_or_default().trim().to_owned();
            let problem = problem.strip_prefix("error: ").unwrap_or(&problem);
            value.fault(format!("is no regular expression: {problem}"), "mend it");
            None
        }
    }
}

fn read_login(
    section: &Section<'_>,
    template: impl Fn(&Value<'_>) -> Option<Template>,
) -> Option<Rewriting> {
    let domain = section.optional("login_domain", host);
    let login = section.value("login");
    let wants_domain = login.as_ref().is_some_and(|value| value.is("email_with_domain"));
    if section.holds("login_domain") != wants_domain {
        let (key, problem, remedy) = match wants_domain {
            true => ("login", "lacks the domain", "add login_domain = \"example.com\""),
            false => ("login_domain", "has no effect", "write login = \"email_with_domain\" to it"),
        };
        section.fault(&[key], problem, remedy);
    }
    let value = login?;
    match value.text()? {
        "email_localpart" => Some(Rewriting::Localpart),
        "email_with_domain" => domain.map(Rewriting::WithDomain),
        _ => template(&value).map(Rewriting::Template),
    }
}

fn read_decision(
    section: &Section<'_>,
    destinations: &[Arc<Destination>],
    template: impl Fn(&Value<'_>) -> Option<Template>,
) -> Option<Decision> {
    let destination = section.optional("destination", |value| named(value, destinations));
    let referral = section.optional("referral", place);
    let user = section.optional("referral_user", template);
    let refusal = section.optional("refuse", words);
    let keys = ["destination", "referral", "refuse"];
    let mut given = keys.iter().filter(|key| section.holds(key));
    if let (Some(first), Some(second)) = (given.next(), given.next()) {
        let problem = format!("stands beside {first}, and a step decides one of the two");
        section.fault(&[second], problem, "make two steps of it, or remove one");
    }
    if section.holds("referral_user") && !section.holds("referral") {
        section.fault(&["referral_user"], "has no effect", "add referral = \"host\", or remove it");
    }
    if section.holds("login") && (section.holds("referral") || section.holds("refuse")) {
        let problem = "has no effect, since this step leads to no backend";
        section.fault(&["login"], problem, "remove it");
    }
    destination
        .map(Decision::Destination)
        .or(referral.map(|(host, port)| Decision::Referral { host, port, user }))
        .or(refusal.map(Decision::Refusal))
}

/// A template whose groups the step's pattern has.
fn template(value: &Value<'_>, groups: Option<usize>) -> Option<Template> {
    let text = value.text()?;
    let fit = |letter: char| !letter.is_control() && !letter.is_whitespace() && letter != '"';
    let found = Template::parse(text).filter(|_| text.chars().all(fit));
    let Some(found) = found else {
        let problem = format!("\"{}\" makes no name", text.escape_debug());
        let remedy = "write a text with {user}, {local}, {domain} or {1} to {9}";
        value.fault(problem, remedy);
        return None;
    };
    let highest = found.highest_group();
    if groups.is_some_and(|groups| highest > groups) {
        let problem = format!("names group {highest}, and the step has no such group");
        value.fault(problem, "add the group to regexp");
        return None;
    }
    Some(found)
}

/// Words for a client.
fn words(value: &Value<'_>) -> Option<String> {
    let text = line(value)?;
    if text.trim().is_empty() || text.len() > TEXT_MAX {
        value.fault("is no text for a client", &format!("write 1 to {TEXT_MAX} octets"));
        return None;
    }
    Some(text)
}

fn host(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    let fits = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-');
    if text.is_empty() || !text.bytes().all(fits) {
        let problem = format!("\"{}\" is no name of a host", text.escape_debug());
        value.fault(problem, "write letters, digits, hyphens and dots");
        return None;
    }
    Some(text.to_owned())
}

/// A host's name or address, perhaps with a port.
fn place(value: &Value<'_>) -> Option<(String, Option<u16>)> {
    let text = value.text()?;
    if let Ok(address) = text.parse::<core::net::SocketAddr>() {
        return Some((format!("{}", address.ip()), Some(address.port())));
    }
    if let Ok(address) = text.parse::<core::net::IpAddr>() {
        return Some((format!("{address}"), None));
    }
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (text, None),
    };
    let number = port.and_then(|port| port.parse::<u16>().ok()).filter(|port| *port != 0);
    let fits = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-');
    if name.is_empty() || !name.bytes().all(fits) || port.is_some() != number.is_some() {
        let problem = format!("\"{}\" is no host", text.escape_debug());
        value.fault(problem, "write a name or an address, and a port if it is not the usual one");
        return None;
    }
    Some((name.to_owned(), number))
}
