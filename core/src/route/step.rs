//! A step of the configuration: whom it means, and what it decides of them.
//!
//! Steps are tried in their order, on the account's name in its normal form. Each may give a
//! destination, a referral or a refusal, which ends the search, and may have an alert or another
//! login beside it or alone. A pattern is matched in time linear in the name, whatever it says.
//!
//! Invariants: matching looks at the identifier, never at what an earlier step made of the login,
//! so that nothing is mapped twice; a rewriting that lacks a part leaves the login as it is.
//! Read next: `plan.rs`, which tries them; `../config/step.rs`, which reads them.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use memchr::memrchr;
use regex::{Captures, Regex, RegexBuilder};

use super::BadIdentifier;
use super::table::key;
use crate::config::{Destination, Normalize};

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its line in the configuration, counted from 1.
    pub line: usize,
    /// Whom it means.
    pub subject: Subject,
    /// What it decides; nothing: the search goes on.
    pub decision: Option<Decision>,
    /// What to log in as, in place of what the client gave.
    pub login: Option<Rewriting>,
    /// What the account's owner is to read.
    pub alert: Option<String>,
}

/// Whom a step means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// Everybody, also those whose credentials name nobody.
    Everybody,
    /// Whoever has this behind the last `@`.
    Domain(String),
    /// One account.
    User(String),
    /// Whoever's whole name matches.
    Pattern(Pattern),
}

/// What a step decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The account lives there.
    Destination(Arc<Destination>),
    /// The client is to go there by itself.
    Referral {
        /// The host's name or address.
        host: String,
        /// Its port; none: the protocol's own.
        port: Option<u16>,
        /// Whom to be there; none: what the client called itself.
        user: Option<Template>,
    },
    /// The login is refused, with these words.
    Refusal(String),
}

/// What becomes of the name that the backend gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rewriting {
    /// What stands before the last `@`.
    Localpart,
    /// The name with this domain, if it has none.
    WithDomain(String),
    /// Anything made of its parts.
    Template(Template),
}

/// A regular expression for whole names, without regard to case.
#[derive(Clone)]
pub struct Pattern {
    text: String,
    compiled: Regex,
}

/// A text with places for the parts of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    User,
    Local,
    Domain,
    Group(usize),
}

/// Octets of a compiled pattern.
pub const PATTERN_OCTETS_MAX: usize = 1 << 20;

/// Groups of a pattern that a template may name.
pub const GROUPS_MAX: usize = 9;

/// A name, and what a pattern made of it.
#[derive(Debug)]
pub(crate) struct Matched<'a> {
    name: &'a [u8],
    groups: Option<Captures<'a>>,
}

impl Subject {
    /// The same subject for names of a form.
    pub fn in_form(&self, form: Normalize) -> Result<Self, BadIdentifier> {
        let formed = |name: &str| {
            let formed = key(name.as_bytes(), form)?.into_owned();
            String::from_utf8(formed).map_err(|_| BadIdentifier)
        };
        Ok(match self {
            Self::Everybody | Self::Pattern(_) => self.clone(),
            Self::User(user) => Self::User(formed(user)?),
            // With somebody before it, so that it is taken for the domain that it is.
            Self::Domain(domain) => {
                let whole = formed(&["x@", domain].concat())?;
                Self::Domain(whole["x@".len()..].into())
            }
        })
    }

    /// Whether it means a name. Texts of its own are compared as they are, in the name's form.
    pub(crate) fn matches<'a>(&self, name: Option<&'a [u8]>) -> Option<Matched<'a>> {
        let matched = |name| Matched { name, groups: None };
        match (self, name) {
            (Self::Everybody, name) => Some(matched(name.unwrap_or_default())),
            (Self::Domain(_) | Self::User(_) | Self::Pattern(_), None) => None,
            (Self::Domain(domain), Some(name)) => {
                let (_, own) = split(name)?;
                (own == domain.as_bytes()).then(|| matched(name))
            }
            (Self::User(user), Some(name)) => (name == user.as_bytes()).then(|| matched(name)),
            (Self::Pattern(pattern), Some(name)) => {
                let groups = pattern.compiled.captures(core::str::from_utf8(name).ok()?)?;
                Some(Matched { name, groups: Some(groups) })
            }
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everybody => f.write_str("*"),
            Self::Domain(domain) => write!(f, "@{}", domain.escape_debug()),
            Self::User(user) => write!(f, "{}", user.escape_debug()),
            Self::Pattern(pattern) => write!(f, "/{}/", pattern.text.escape_debug()),
        }
    }
}

impl Rewriting {
    /// Another name for an account, or nothing where the parts for it are missing.
    pub(crate) fn apply(&self, matched: &Matched<'_>) -> Option<Vec<u8>> {
        let name = matched.name;
        match self {
            Self::Localpart => split(name).map(|(local, _)| local.to_vec()),
            Self::WithDomain(_) if name.is_empty() || split(name).is_some() => None,
            Self::WithDomain(domain) => {
                let mut whole = quoted_if_needed(name);
                whole.push(b'@');
                whole.extend_from_slice(domain.as_bytes());
                Some(whole)
            }
            Self::Template(template) => template.apply(matched),
        }
    }
}

impl Pattern {
    /// Compiles a pattern; the fault is the grammar's own words.
    pub fn new(text: &str) -> Result<Self, String> {
        // By itself first, so that the fault speaks of what its author wrote.
        let compile = |text: &str| {
            let mut builder = RegexBuilder::new(text);
            builder.case_insensitive(true).size_limit(PATTERN_OCTETS_MAX);
            builder.build().map_err(|fault| alloc::format!("{fault}"))
        };
        compile(text)?;
        let compiled = compile(&[r"\A(?:", text, r")\z"].concat())?;
        Ok(Self { text: text.into(), compiled })
    }

    /// Groups that it has, those counted that are named.
    pub fn groups(&self) -> usize {
        self.compiled.captures_len() - 1
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pattern").field(&self.text).finish()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl Template {
    /// Reads `{user}`, `{local}`, `{domain}` and `{1}` to `{9}` within a text. Nothing, if it names
    /// anything else in braces, or no part at all: a fixed name is most likely a typing error.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, tail)) = rest.split_once('{') {
            let (name, tail) = tail.split_once('}')?;
            if before.contains('}') {
                return None;
            }
            if !before.is_empty() {
                parts.push(Part::Text(before.into()));
            }
            parts.push(Part::named(name)?);
            rest = tail;
        }
        if parts.is_empty() || rest.contains('}') {
            return None;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        Some(Self(parts))
    }

    /// The highest group that it names; 0: none.
    pub fn highest_group(&self) -> usize {
        let groups = self.0.iter().map(|part| match part {
            Part::Group(number) => *number,
            Part::Text(_) | Part::User | Part::Local | Part::Domain => 0,
        });
        groups.max().unwrap_or(0)
    }

    pub(crate) fn apply(&self, matched: &Matched<'_>) -> Option<Vec<u8>> {
        let mut whole = Vec::new();
        for part in &self.0 {
            whole.extend_from_slice(match part {
                Part::Text(text) => text.as_bytes(),
                Part::User => matched.name,
                Part::Local => split(matched.name).map_or(matched.name, |(local, _)| local),
                Part::Domain => split(matched.name)?.1,
                Part::Group(number) => {
                    let groups = matched.groups.as_ref()?;
                    groups.get(*number).map_or(b"", |group| group.as_str().as_bytes())
                }
            });
        }
        (!whole.is_empty()).then_some(whole)
    }
}

impl Part {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "user" => Self::User,
            "local" => Self::Local,
            "domain" => Self::Domain,
            _ => {
                let number: usize = name.parse().ok().filter(|_| name.len() == 1)?;
                return (1..=GROUPS_MAX).contains(&number).then_some(Self::Group(number));
            }
        })
    }
}

/// What stands before and behind the last `@`, both not empty.
pub(crate) fn split(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memrchr(b'@', name)?;
    let (local, domain) = (&name[..at], &name[at + 1..]);
    (!local.is_empty() && !domain.is_empty()).then_some((local, domain))
}

/// A local part as RFC 5321 §4.1.2 wants it: what is no dot-string stands in quotes.
fn quoted_if_needed(local: &[u8]) -> Vec<u8> {
    let fits = |octet: &u8| {
        octet.is_ascii_alphanumeric() || !octet.is_ascii() || b"!#$%&'*+-/=?^_`{|}~".contains(octet)
    };
    if local.split(|octet| *octet == b'.').all(|atom| !atom.is_empty() && atom.iter().all(fits)) {
        return local.to_vec();
    }
    let mut quoted = alloc::vec![b'"'];
    for &octet in local {
        if matches!(octet, b'"' | b'\\') {
            quoted.push(b'\\');
        }
        quoted.push(octet);
    }
    quoted.push(b'"');
    quoted
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    fn pattern(text: &str) -> Subject {
        Subject::Pattern(Pattern::new(text).expect("a pattern"))
    }

    fn means(subject: &Subject, name: &str) -> bool {
        subject.matches(Some(name.as_bytes())).is_some()
    }

    fn rewritten(login: &Rewriting, subject: &Subject, name: &str) -> Option<String> {
        let matched = subject.matches(Some(name.as_bytes())).expect("it means that name");
        login.apply(&matched).map(|name| String::from_utf8_lossy(&name).to_string())
    }

    #[test]
    fn a_step_means_one_a_domain_or_everybody() {
        let domain = Subject::Domain("x.example".into());
        assert!(means(&domain, "a@x.example") && means(&domain, "a@b@x.example"));
        for other in ["x.example", "@x.example", "a@sub.x.example", "a@x.example.org", "a"] {
            assert!(!means(&domain, other), "{other}");
        }
        let user = Subject::User("a@x".into());
        assert!(means(&user, "a@x") && !means(&user, "A@x"));
        assert!(means(&Subject::Everybody, "a") && Subject::Everybody.matches(None).is_some());
        assert!(domain.matches(None).is_none() && pattern(".*").matches(None).is_none());
    }

    #[test]
    fn a_pattern_is_for_whole_names_in_any_case() {
        assert!(means(&pattern("a|ab"), "ab") && means(&pattern("[a-m].*@X"), "Bob@x"));
        assert!(!means(&pattern("b"), "abc") && !means(&pattern("a$"), "a\n"));
        assert!(pattern(".*").matches(Some(b"\xff")).is_none(), "it is a pattern of text");
        assert!(Pattern::new("a(").is_err() && Pattern::new("a)|(b").is_err());
        assert!(Pattern::new("(?x) a # comment").is_err(), "it would swallow our own end");
        assert!(Pattern::new("((a{100}){100}){100}").is_err(), "it has a size");
    }

    #[test]
    fn a_pattern_without_a_rewriting_leaves_the_name() {
        let step =
            Step { line: 1, subject: pattern("(.*)@x"), decision: None, login: None, alert: None };
        assert!(step.subject.matches(Some(b"a@x")).is_some() && step.login.is_none());
    }

    #[test]
    fn names_are_rewritten_from_their_parts() {
        let all = Subject::Everybody;
        let local = Rewriting::Localpart;
        assert_eq!(rewritten(&local, &all, "a@b@x").as_deref(), Some("a@b"));
        assert_eq!(rewritten(&local, &all, "a"), None);
        let domain = Rewriting::WithDomain("y.example".into());
        assert_eq!(rewritten(&domain, &all, "a.b").as_deref(), Some("a.b@y.example"));
        assert_eq!(rewritten(&domain, &all, "a,b").as_deref(), Some("\"a,b\"@y.example"));
        assert_eq!(rewritten(&domain, &all, "a..b").as_deref(), Some("\"a..b\"@y.example"));
        assert_eq!(rewritten(&domain, &all, "a@x"), None);
        let template = |text| Rewriting::Template(Template::parse(text).expect("a template"));
        assert_eq!(rewritten(&template("{local}+{domain}"), &all, "a@x").as_deref(), Some("a+x"));
        assert_eq!(rewritten(&template("{local}@new"), &all, "a").as_deref(), Some("a@new"));
        assert_eq!(rewritten(&template("{user}@{domain}"), &all, "a"), None);
        let groups = pattern("(.)(b)?(.*)");
        assert_eq!(rewritten(&template("{3}{2}{1}"), &groups, "acd").as_deref(), Some("cda"));
        assert_eq!(rewritten(&template("{1}"), &all, "acd"), None);
    }

    #[test]
    fn a_template_names_a_part() {
        for bad in ["", "fixed", "{user", "user}", "{}", "{usr}", "{0}", "{10}", "a}{user}"] {
            assert_eq!(Template::parse(bad), None, "{bad}");
        }
        assert_eq!(Template::parse("{2}{1}").map(|it| it.highest_group()), Some(2));
    }
}
