//! The steps of a mapping: how they are written, and every fault that they can have.

use alloc::{format, string::String};

use super::{config, extended, faults};
use crate::config::OnError;
use crate::route::step::{Decision, Pattern, Rewriting, Subject, Template};

/// The plain text with steps, the first of which begins in line 15.
fn steps(text: &str) -> String {
    extended(text)
}

/// The one fault of a step with these lines, which begin in line 16.
fn fault(lines: &str) -> String {
    let found = faults(&steps(&format!("[[mapping.step]]\n{lines}\n")));
    assert_eq!(found.len(), 1, "{lines}: {found:?}");
    found[0].clone()
}

#[test]
fn a_step_says_whom_it_means_and_what_becomes_of_them() {
    let config = config(&steps(
        "[[mapping.step]]\nmatch = \"alice@x\"\ndestination = \"main\"\n\
         login = \"email_localpart\"\n\
         [[mapping.step]]\nmatch = \"@x\"\nreferral = \"two.test:1143\"\n\
         referral_user = \"{local}\"\n\
         [[mapping.step]]\nregexp = \"(.)\"\nlogin = \"{1}@y\"\nalert = \"read\"\n\
         [[mapping.step]]\nmatch = \"b\"\nlogin = \"email_with_domain\"\n\
         login_domain = \"y.test\"\n\
         [[mapping.step]]\nmatch = \"*\"\nrefuse = \"closed\"\n\
         [mapping]\non_error = \"default\"\n",
    ));
    assert_eq!(config.mapping.on_error, OnError::Default);
    let [one, two, three, four, five] = &config.mapping.steps[..] else { panic!("{config:?}") };
    assert_eq!(one.line, 15);
    assert_eq!(one.subject, Subject::User("alice@x".into()));
    assert!(matches!(&one.decision, Some(Decision::Destination(it)) if it.name == "main"));
    assert_eq!(one.login, Some(Rewriting::Localpart));
    assert_eq!(two.subject, Subject::Domain("x".into()));
    let user = Template::parse("{local}");
    let host = "two.test".into();
    assert_eq!(two.decision, Some(Decision::Referral { host, port: Some(1143), user }));
    assert_eq!(three.subject, Subject::Pattern(Pattern::new("(.)").unwrap()));
    assert_eq!(three.login, Template::parse("{1}@y").map(Rewriting::Template));
    assert_eq!((three.alert.as_deref(), &three.decision), (Some("read"), &None));
    assert_eq!(four.login, Some(Rewriting::WithDomain("y.test".into())));
    assert_eq!(five.subject, Subject::Everybody);
    assert_eq!(five.decision, Some(Decision::Refusal("closed".into())));
}

#[test]
fn referrals_are_advertised_where_a_step_refers() {
    let listed = |text: &str| {
        let config = config(&steps(text));
        config.listeners[0].advertise.iter().any(|token| token == "LOGIN-REFERRALS")
    };
    assert!(listed("[[mapping.step]]\nmatch = \"*\"\nreferral = \"2001:db8::1\"\n"));
    assert!(!listed("[[mapping.step]]\nmatch = \"*\"\nrefuse = \"no\"\n"));
}

#[test]
fn a_step_means_somebody() {
    for (lines, expected) in [
        ("refuse = \"no\"", "line 15: mapping.step: does not say whom it means; "),
        (
            "match = \"*\"\nregexp = \".\"\nrefuse = \"no\"",
            "line 17: mapping.step.regexp: stands beside match, and a step means one of the two; ",
        ),
        ("match = \"\"\nrefuse = \"no\"", "line 16: mapping.step.match: \"\" means nobody; "),
        ("match = \"a b\"\nrefuse = \"no\"", "line 16: mapping.step.match: \"a b\" means nobody; "),
        ("match = \"@\"\nrefuse = \"no\"", "line 16: mapping.step.match: \"@\" means nobody; "),
        (
            "match = \"@a@b\"\nrefuse = \"no\"",
            "line 16: mapping.step.match: \"@a@b\" is no domain; ",
        ),
        (
            "regexp = \"(\"\nrefuse = \"no\"",
            "line 16: mapping.step.regexp: is no regular expression: unclosed group; ",
        ),
        (
            "regexp = \"((a{100}){100}){100}\"\nrefuse = \"no\"",
            "line 16: mapping.step.regexp: is no regular expression: ",
        ),
        (
            "mtach = \"*\"\nmatch = \"*\"\nrefuse = \"no\"",
            "line 16: mapping.step.mtach: unknown key; ",
        ),
    ] {
        assert!(fault(lines).starts_with(expected), "{lines}: {}", fault(lines));
    }
}

#[test]
fn a_step_does_one_thing() {
    for (lines, expected) in [
        ("", "line 15: mapping.step: does nothing; "),
        (
            "destination = \"main\"\nrefuse = \"no\"",
            "line 18: mapping.step.refuse: stands beside destination, and a step decides one of ",
        ),
        ("destination = \"man\"", "line 17: mapping.step.destination: there is no destination"),
        ("referral = \"a/b\"", "line 17: mapping.step.referral: \"a/b\" is no host; "),
        ("referral = \"a:0\"", "line 17: mapping.step.referral: \"a:0\" is no host; "),
        (
            "alert = \"a\"\nreferral_user = \"{user}\"",
            "line 18: mapping.step.referral_user: has no",
        ),
        ("refuse = \" \"", "line 17: mapping.step.refuse: is no text for a client; "),
        ("alert = \"a\\nb\"", "line 17: mapping.step.alert: holds a control character"),
        ("login = \"fixed\"", "line 17: mapping.step.login: \"fixed\" makes no name; "),
        ("login = \"{user} x\"", "line 17: mapping.step.login: \"{user} x\" makes no name; "),
        ("login = \"{1}\"", "line 17: mapping.step.login: names group 1, and the step has no such"),
        ("login = \"email_with_domain\"", "line 17: mapping.step.login: lacks the domain; "),
        ("login = \"{user}\"\nlogin_domain = \"x\"", "line 18: mapping.step.login_domain: has no "),
        (
            "refuse = \"no\"\nlogin = \"{user}\"",
            "line 18: mapping.step.login: has no effect, since",
        ),
    ] {
        let found = fault(&format!("match = \"*\"\n{lines}"));
        assert!(found.starts_with(expected), "{lines}: {found}");
    }
}

#[test]
fn a_step_can_be_met_in_every_listeners_form() {
    let text = steps(
        "[mapping]\nnormalize = \"precis\"\n\
         [[mapping.step]]\nmatch = \"a\\u00AD\"\nrefuse = \"no\"\n",
    );
    let expected = "line 18: mapping.step.match: can be nobody's name where names are compared as \
                    precis; write a name that clients can have";
    assert_eq!(faults(&text), [expected]);
}

#[test]
fn steps_are_a_list() {
    for text in ["[mapping.step]\nmatch = \"*\"\n", "[mapping]\nstep = [1]\n"] {
        let found = faults(&extended(text));
        let expected = "mapping.step: must be a list of tables; write each as [[mapping.step]]";
        assert!(found.len() == 1 && found[0].ends_with(expected), "{found:?}");
    }
    let many = "[[mapping.step]]\nmatch = \"*\"\nalert = \"a\"\n".repeat(1001);
    let found = faults(&extended(&many));
    assert!(found.len() == 1 && found[0].contains("has 1001 steps"), "{found:?}");
}

#[test]
fn the_claim_of_a_token_has_a_name() {
    let text = extended("[oauth]\njwt_username_claim = \"mail\"\n");
    assert_eq!(config(&text).listeners[0].username_claim, "mail");
    let found = faults(&extended("[oauth]\njwt_username_claim = \"\"\n"));
    assert!(found[0].starts_with("line 16: oauth.jwt_username_claim: \"\" is no claim; "));
}
