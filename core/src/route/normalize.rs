//! User names in the forms in which they are compared.
//!
//! PRECIS (RFC 8264, 8265) decides which names there are and which are the same; its forms for
//! addresses treat the domain apart, as one of DNS in its Unicode spelling. A name that PRECIS does
//! not allow has no form, and nobody is looked up by it.
//!
//! Invariants: what is brought into a form twice is as it was once; bytes that are not UTF-8 stay
//! as they are in every form, since no rule speaks of them; a name without an `@` is never taken
//! for an address. Names of plain ASCII, which are nearly all, take a short way of the same
//! outcome.

use alloc::borrow::Cow;
use alloc::string::String;

use precis_core::profile::PrecisFastInvocation as _;
use precis_profiles::{UsernameCaseMapped, UsernameCasePreserved};

use super::BadIdentifier;
use super::step::split;
use crate::config::Normalize;

/// Octets of an address (RFC 5321 §4.5.3.1: 64, an `@`, 255).
const ADDRESS_MAX: usize = 320;

/// Octets of a domain (RFC 5321 §4.5.3.1.2).
const DOMAIN_MAX: usize = 255;

/// Octets of a label as the field checks them; DNS itself has one less, in its own spelling.
const LABEL_MAX: usize = 64;

/// What becomes of letters.
#[derive(Clone, Copy)]
enum Case {
    Mapped,
    Preserved,
}

/// A user name in a form.
pub fn normalize(user: &[u8], form: Normalize) -> Result<Cow<'_, [u8]>, BadIdentifier> {
    let Ok(text) = core::str::from_utf8(user) else { return Ok(Cow::Borrowed(user)) };
    let formed = match form {
        Normalize::None => Cow::Borrowed(text),
        Normalize::Lowercase => lowercase(text),
        Normalize::Auto if is_address(text) => address(text, Case::Mapped)?,
        Normalize::Auto | Normalize::PrecisCasefold => username(text, Case::Mapped)?,
        Normalize::PrecisCasefoldEmail => address(text, Case::Mapped)?,
        Normalize::Precis => username(text, Case::Preserved)?,
        Normalize::PrecisEmail => address(text, Case::Preserved)?,
    };
    Ok(match formed {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    })
}

fn lowercase(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|octet| octet.is_ascii() && !octet.is_ascii_uppercase()) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.to_lowercase())
    }
}

/// Username, by RFC 8265 §3.3 and §3.4.
fn username(text: &str, case: Case) -> Result<Cow<'_, str>, BadIdentifier> {
    // All visible characters of ASCII are letters of a name, and small ones map to themselves.
    if !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_graphic()) {
        return Ok(match case {
            Case::Mapped => lowercase(text),
            Case::Preserved => Cow::Borrowed(text),
        });
    }
    let enforced = match case {
        Case::Mapped => UsernameCaseMapped::enforce(text),
        Case::Preserved => UsernameCasePreserved::enforce(text),
    };
    enforced.map_err(|_| BadIdentifier)
}

/// The local part as a username, the domain in its Unicode spelling. Without both, it is a
/// username as a whole.
fn address(text: &str, case: Case) -> Result<Cow<'_, str>, BadIdentifier> {
    let Some((local, domain)) = parts(text) else { return username(text, case) };
    let (local, domain) = (username(local, case)?, domain_name(domain)?);
    if let (Cow::Borrowed(_), Cow::Borrowed(same)) = (&local, &domain)
        && text.len() == local.len() + "@".len() + same.len()
    {
        return Ok(Cow::Borrowed(text));
    }
    Ok(Cow::Owned([&local, "@", &domain].concat()))
}

/// UTS 46's ToUnicode, which maps to small letters and NFC, without the root's dot.
fn domain_name(domain: &str) -> Result<Cow<'_, str>, BadIdentifier> {
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    if domain.is_empty() {
        return Err(BadIdentifier);
    }
    let punycode = domain
        .split('.')
        .any(|label| label.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("xn--")));
    if domain.bytes().all(|octet| octet.is_ascii_graphic()) && !punycode {
        return Ok(lowercase(domain));
    }
    let (unicode, outcome): (String, _) = idna::domain_to_unicode(domain);
    outcome.map_err(|_| BadIdentifier)?;
    Ok(Cow::Owned(unicode))
}

/// Whether a name is an address by its shape.
fn is_address(text: &str) -> bool {
    let Some((_, domain)) = parts(text) else { return false };
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    text.len() <= ADDRESS_MAX
        && domain.len() <= DOMAIN_MAX
        && domain.split('.').all(|label| (1..=LABEL_MAX).contains(&label.len()))
}

/// What stands before and behind the last `@`, both not empty.
fn parts(text: &str) -> Option<(&str, &str)> {
    let (local, _) = split(text.as_bytes())?;
    Some((&text[..local.len()], &text[local.len() + "@".len()..]))
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec::Vec;

    use super::*;

    const FORMS: [Normalize; 7] = [
        Normalize::None,
        Normalize::Lowercase,
        Normalize::Auto,
        Normalize::PrecisCasefoldEmail,
        Normalize::PrecisCasefold,
        Normalize::PrecisEmail,
        Normalize::Precis,
    ];

    fn formed(text: &str, form: Normalize) -> Option<String> {
        let octets = normalize(text.as_bytes(), form).ok()?.into_owned();
        Some(String::from_utf8(octets).expect("text stays text"))
    }

    /// Each case is a name with its forms, in the order of [`FORMS`]; an empty one: none.
    fn each(cases: &[(&str, [&str; 7])]) {
        for (text, expected) in cases {
            for (form, expected) in FORMS.into_iter().zip(expected) {
                let got = formed(text, form).unwrap_or_default();
                assert_eq!(got, *expected, "{text:?} as {form:?}");
            }
        }
    }

    #[test]
    fn forms_of_plain_names_and_addresses() {
        each(&[
            ("Bob", ["Bob", "bob", "bob", "bob", "bob", "Bob", "Bob"]),
            (
                "Bob@X.Org",
                [
                    "Bob@X.Org",
                    "bob@x.org",
                    "bob@x.org",
                    "bob@x.org",
                    "bob@x.org",
                    "Bob@x.org",
                    "Bob@X.Org",
                ],
            ),
            // The root's dot goes from a domain, and only from one.
            (
                "b@x.org.",
                ["b@x.org.", "b@x.org.", "b@x.org", "b@x.org", "b@x.org.", "b@x.org", "b@x.org."],
            ),
            (
                "A@B@x.org",
                [
                    "A@B@x.org",
                    "a@b@x.org",
                    "a@b@x.org",
                    "a@b@x.org",
                    "a@b@x.org",
                    "A@B@x.org",
                    "A@B@x.org",
                ],
            ),
        ]);
    }

    #[test]
    fn forms_beyond_ascii() {
        each(&[
            // Decomposed to composed, wide to narrow, small letters where asked for.
            (
                "A\u{308}\u{ff22}",
                [
                    "A\u{308}\u{ff22}",
                    "a\u{308}\u{ff42}",
                    "\u{e4}b",
                    "\u{e4}b",
                    "\u{e4}b",
                    "\u{c4}B",
                    "\u{c4}B",
                ],
            ),
            // A domain in either spelling is one domain.
            (
                "a@XN--BCHER-KVA.example",
                [
                    "a@XN--BCHER-KVA.example",
                    "a@xn--bcher-kva.example",
                    "a@b\u{fc}cher.example",
                    "a@b\u{fc}cher.example",
                    "a@xn--bcher-kva.example",
                    "a@b\u{fc}cher.example",
                    "a@XN--BCHER-KVA.example",
                ],
            ),
            (
                "a@B\u{dc}CHER.example",
                [
                    "a@B\u{dc}CHER.example",
                    "a@b\u{fc}cher.example",
                    "a@b\u{fc}cher.example",
                    "a@b\u{fc}cher.example",
                    "a@b\u{fc}cher.example",
                    "a@b\u{fc}cher.example",
                    "a@B\u{dc}CHER.example",
                ],
            ),
        ]);
    }

    #[test]
    fn what_precis_does_not_allow_has_no_form() {
        // Spaces, controls, and right-to-left letters beside left-to-right ones.
        for text in ["two words", "tab\tbed", "\u{5d0}a", "a\u{ad}", "\u{1f600}", "a@xn--zz"] {
            for form in [Normalize::Auto, Normalize::PrecisCasefoldEmail, Normalize::PrecisEmail] {
                assert_eq!(formed(text, form), None, "{text:?} as {form:?}");
            }
            assert!(formed(text, Normalize::None).is_some());
            assert!(formed(text, Normalize::Lowercase).is_some(), "two words have only these");
        }
        assert_eq!(formed("\u{5d0}\u{5d1}", Normalize::Precis).as_deref(), Some("\u{5d0}\u{5d1}"));
    }

    #[test]
    fn a_name_without_an_at_sign_is_no_address() {
        for text in ["postmaster", "Postmaster", "@x.org", "postmaster@"] {
            for form in [Normalize::Auto, Normalize::PrecisCasefoldEmail] {
                assert_eq!(formed(text, form), Some(text.to_lowercase()), "{text}");
            }
        }
    }

    #[test]
    fn auto_takes_for_an_address_what_has_the_shape_of_one() {
        let domain = |label: usize| ["Xn--BCHER-KVA", &"l".repeat(label)].join(".");
        let kept = |domain: &str| {
            let name = ["a@", domain].concat();
            formed(&name, Normalize::Auto) == Some(name.to_lowercase())
        };
        assert!(!kept(&domain(LABEL_MAX)) && kept(&domain(LABEL_MAX + 1)));
        assert!(kept("Xn--BCHER-KVA..org"), "a label may not be empty");
        let labels: Vec<String> = (0..5).map(|_| "l".repeat(60)).collect();
        assert!(kept(&["Xn--BCHER-KVA", &labels.join(".")].join(".")), "a domain has a length");
    }

    #[test]
    fn bytes_that_are_no_text_stay_as_they_are() {
        for form in FORMS {
            assert_eq!(normalize(b"A\xff", form).as_deref(), Ok(&b"A\xff"[..]), "{form:?}");
        }
    }

    #[test]
    fn a_form_of_a_form_is_the_same() {
        for text in ["Bob@X.Org.", "A\u{308}\u{ff22}", "a@XN--BCHER-KVA.example", "a@B\u{dc}.x"] {
            for form in FORMS {
                let once = formed(text, form).expect("it has that form");
                assert_eq!(formed(&once, form), Some(once.clone()), "{text:?} as {form:?}");
            }
        }
    }

    #[test]
    fn the_short_way_of_ascii_is_the_way_of_precis() {
        for octet in 0..=127_u8 {
            let text = char::from(octet).to_string();
            let mapped = UsernameCaseMapped::enforce(text.as_str());
            assert_eq!(username(&text, Case::Mapped), mapped.map_err(|_| BadIdentifier));
            let preserved = UsernameCasePreserved::enforce(text.as_str());
            assert_eq!(username(&text, Case::Preserved), preserved.map_err(|_| BadIdentifier));
        }
    }
}
