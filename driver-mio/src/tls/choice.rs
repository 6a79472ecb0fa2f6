//! Which certificate answers which server name.
//!
//! Pure: generic over what is chosen, so that its table can be tested without a handshake. First
//! comes the exact name; then a wildcard, for one label; the nearest parent (a certificate for
//! example.com serves sub.example.com if nothing suits better); the default. `*.example.com` and
//! `example.com` are different names. Looking up never allocates for a name in lower case and
//! keeps nothing, as strangers choose the names. Next: `server.rs`.

use std::borrow::Cow;
use std::collections::HashMap;

/// Candidates by name. Several may have one name, such as an RSA and an ECDSA certificate.
#[derive(Debug)]
pub(super) struct Choice<T> {
    exact: HashMap<String, Vec<T>>,
    /// By what follows the `*.`.
    wildcard: HashMap<String, Vec<T>>,
    default: Vec<T>,
}

impl<T: Clone> Choice<T> {
    pub(super) fn new(default: T) -> Self {
        Self { exact: HashMap::new(), wildcard: HashMap::new(), default: vec![default] }
    }

    /// Adds a candidate for a subject, `name` or `*.name`. The first one of a name is preferred.
    pub(super) fn add(&mut self, subject: &str, candidate: T) {
        let subject = normal(subject);
        let (table, name) = match subject.strip_prefix("*.") {
            Some(parent) => (&mut self.wildcard, parent),
            None => (&mut self.exact, subject.as_ref()),
        };
        table.entry(name.to_owned()).or_default().push(candidate);
    }

    /// The candidates for a server name, the best ones first, down to the default.
    pub(super) fn candidates<'a>(&'a self, name: Option<&str>) -> impl Iterator<Item = &'a T> {
        self.named(name).unwrap_or_default().iter().chain(&self.default)
    }

    fn named(&self, name: Option<&str>) -> Option<&[T]> {
        let name = normal(name?);
        if let Some(found) = self.exact.get(name.as_ref()) {
            return Some(found);
        }
        let (_, parent) = name.split_once('.')?;
        if let Some(found) = self.wildcard.get(parent) {
            return Some(found);
        }
        let parents = std::iter::successors(Some(parent), |name| Some(name.split_once('.')?.1));
        parents.into_iter().find_map(|parent| self.exact.get(parent)).map(Vec::as_slice)
    }
}

/// Lower case, without the root's dot.
fn normal(name: &str) -> Cow<'_, str> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|octet| octet.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn chosen(table: &Choice<&'static str>, name: &str) -> &'static str {
        let name = (!name.is_empty()).then_some(name);
        table.candidates(name).next().unwrap()
    }

    #[test]
    fn the_choice_is_exact_then_wildcard_then_parent_then_default() {
        let mut table = Choice::new("default");
        for subject in ["example.com", "*.example.com", "mail.example.com", "Example.ORG"] {
            table.add(subject, subject);
        }
        for (name, expected) in [
            ("example.com", "example.com"),
            ("EXAMPLE.com.", "example.com"),
            ("mail.example.com", "mail.example.com"),
            ("imap.example.com", "*.example.com"),
            ("a.imap.example.com", "example.com"),
            ("a.mail.example.com", "mail.example.com"),
            ("sub.example.org", "Example.ORG"),
            ("com", "default"),
            ("example.net", "default"),
            ("notexample.com", "default"),
            (".example.com", "*.example.com"),
            ("", "default"),
            (".", "default"),
        ] {
            assert_eq!(chosen(&table, name), expected, "for {name:?}");
        }
    }

    #[test]
    fn a_wildcard_is_not_its_parent() {
        let mut table = Choice::new("default");
        table.add("*.example.com", "wildcard");
        assert_eq!(chosen(&table, "example.com"), "default");
        assert_eq!(chosen(&table, "a.example.com"), "wildcard");
        assert_eq!(chosen(&table, "a.b.example.com"), "default");
    }

    #[test]
    fn certificates_of_one_name_are_tried_in_order() {
        let mut table = Choice::new("default");
        table.add("example.com", "ecdsa");
        table.add("example.com", "rsa");
        let all: Vec<_> = table.candidates(Some("example.com")).copied().collect();
        assert_eq!(all, ["ecdsa", "rsa", "default"]);
    }

    /// The table against the rule of its head, said differently: among all subjects that may
    /// serve a name, the one with the best rank.
    #[test]
    fn the_table_agrees_with_ranking_all_subjects() {
        let labels = ["a", "b", "com"];
        let mut names = vec![String::new()];
        for _ in 0..4 {
            let longer: Vec<_> = names
                .iter()
                .flat_map(|name| labels.map(|label| format!("{label}.{name}")))
                .collect();
            names.extend(longer);
        }
        names.retain(|name| !name.is_empty());
        names.sort();
        names.dedup();
        let names: Vec<&str> = names.iter().map(|name| name.trim_end_matches('.')).collect();
        // A linear congruential generator: which subjects a table has, the same in every run.
        let mut state = 7_u32;
        for _ in 0..300 {
            let mut subjects = Vec::new();
            for _ in 0..6 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let name = names[(state >> 8) as usize % names.len()];
                let wild = state >> 31 == 1;
                subjects.push(if wild { format!("*.{name}") } else { name.to_owned() });
            }
            subjects.sort();
            subjects.dedup();
            let mut table = Choice::new("default".to_owned());
            subjects.iter().for_each(|subject| table.add(subject, subject.clone()));
            for name in &names {
                let best = subjects
                    .iter()
                    .filter_map(|subject| Some((rank(subject, name)?, subject)))
                    .min()
                    .map_or("default", |(_, subject)| subject);
                assert_eq!(table.candidates(Some(name)).next().unwrap(), best, "{subjects:?}");
            }
        }
    }

    fn rank(subject: &str, name: &str) -> Option<usize> {
        if subject == name {
            return Some(0);
        }
        if let Some(parent) = subject.strip_prefix("*.") {
            let label = name.strip_suffix(parent)?.strip_suffix('.')?;
            return (!label.contains('.')).then_some(1);
        }
        let above = name.strip_suffix(subject)?.strip_suffix('.')?;
        Some(2 + above.split('.').count())
    }
}
