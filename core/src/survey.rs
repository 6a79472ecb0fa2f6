//! What may be advertised before a login, by what the backends have said that they can do.
//!
//! Clients are told capabilities before anybody knows which backend they will get, so `"auto"`
//! tells what all of them have in common, less what the proxy tells by itself and what it cannot
//! honour before a login. Until something is known, and where nothing is common that clients cannot
//! do without, there is a short list that every backend honours ([`minimal`]).
//!
//! Not here: probes, which bring the lists, and the lists of a configuration, whose rules
//! (`config/capabilities.rs`) hold here as well. Invariant: what comes from a backend and may not
//! stand in a configured list is never told.

use alloc::borrow::ToOwned as _;
use alloc::string::String;
use alloc::vec::Vec;

use crate::config::{Protocol, is_advertisable, minimal};

/// Capabilities that are told before login: those that stand in every list, in the order of the
/// first one. The lists are [`crate::probe::Finding::capabilities`] of the backends that are known.
pub fn shared_by_all(protocol: Protocol, lists: &[Vec<String>]) -> Vec<String> {
    let Some((first, others)) = lists.split_first() else { return minimal(protocol) };
    let stands_in =
        |list: &Vec<String>, item: &str| list.iter().any(|other| other.eq_ignore_ascii_case(item));
    let mut told: Vec<String> = Vec::new();
    for item in first {
        let in_all = others.iter().all(|list| stands_in(list, item));
        if in_all && is_advertisable(protocol, item) && !stands_in(&told, item) {
            told.push(item.to_owned());
        }
    }
    for needed in minimal(protocol) {
        if !stands_in(&told, &needed) {
            told.push(needed);
        }
    }
    // RFC 7888 §5: one of them, and what one takes without asking the other does too.
    if stands_in(&told, "LITERAL+") {
        told.retain(|item| !item.eq_ignore_ascii_case("LITERAL-"));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists(lists: &[&[&str]]) -> Vec<Vec<String>> {
        lists.iter().map(|list| list.iter().map(|item| String::from(*item)).collect()).collect()
    }

    #[test]
    fn what_all_have_is_told_and_nothing_of_the_proxys_own() {
        let known = lists(&[
            &["IMAP4rev1", "IDLE", "NAMESPACE", "AUTH=PLAIN", "STARTTLS", "COMPRESS=DEFLATE"],
            &["namespace", "IMAP4rev1", "MOVE", "IDLE", "LOGINDISABLED", "UNAUTHENTICATE"],
        ]);
        assert_eq!(
            shared_by_all(Protocol::Imap, &known),
            ["IMAP4rev1", "IDLE", "NAMESPACE", "SASL-IR", "ID"]
        );
    }

    #[test]
    fn until_something_is_known_little_is_told() {
        assert_eq!(shared_by_all(Protocol::Imap, &[]), ["IMAP4rev1", "SASL-IR", "ID"]);
        assert_eq!(shared_by_all(Protocol::Pop3, &[]), ["RESP-CODES", "AUTH-RESP-CODE"]);
        assert_eq!(shared_by_all(Protocol::ManageSieve, &[]), [""; 0]);
        assert_eq!(shared_by_all(Protocol::Submission, &[]), ["ENHANCEDSTATUSCODES"]);
    }

    #[test]
    fn each_protocol_has_its_form() {
        let told = shared_by_all(
            Protocol::Pop3,
            &lists(&[&[
                "TOP",
                "UIDL",
                "EXPIRE 30",
                "SASL PLAIN",
                "USER",
                "STLS",
                "XCLIENT",
                "UTF8",
            ]]),
        );
        assert_eq!(told, ["TOP", "UIDL", "EXPIRE 30", "RESP-CODES", "AUTH-RESP-CODE"]);
        let told = shared_by_all(
            Protocol::Submission,
            &lists(&[
                &["PIPELINING", "SIZE 1000", "AUTH PLAIN", "STARTTLS", "XCLIENT ADDR", "8BITMIME"],
                &["8bitmime", "SIZE 2000", "PIPELINING"],
            ]),
        );
        assert_eq!(told, ["PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES"]);
        let told =
            shared_by_all(Protocol::ManageSieve, &lists(&[&["fileinto", "vac\"ation", "body"]]));
        assert_eq!(told, ["fileinto", "body"]);
    }

    #[test]
    fn a_backend_cannot_break_a_line_of_ours() {
        let known = lists(&[&["IMAP4rev1", "X\r\n* BYE", "A B", "]x", "", "LITERAL+", "LITERAL-"]]);
        assert_eq!(
            shared_by_all(Protocol::Imap, &known),
            ["IMAP4rev1", "LITERAL+", "SASL-IR", "ID"]
        );
    }
}
