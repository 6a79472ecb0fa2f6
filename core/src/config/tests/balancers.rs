//! Balancers in front of a listener: whose headers count, and TLS under them.

use alloc::format;
use alloc::string::String;
use core::net::IpAddr;

use super::{changed, config, faults, warnings};
use crate::config::Balancers;

/// The plain text with more keys for its listener.
fn with(keys: &str) -> String {
    changed(5, &format!("protocol = \"imap\"\n{keys}"))
}

fn balancers(keys: &str) -> Option<Balancers> {
    config(&with(keys)).listeners[0].balancers.clone()
}

#[test]
fn a_listener_expects_no_balancer_unless_it_says_so() {
    assert_eq!(balancers("proxy_protocol = \"off\""), None);
    assert_eq!(config(&changed(5, "protocol = \"imap\"")).listeners[0].balancers, None);
    let required = balancers(
        "proxy_protocol = \"required\"\nproxy_trusted = [\"192.0.2.10\"]\nproxy_tls = \"main\"",
    )
    .unwrap();
    assert!(required.required);
    assert_eq!(required.tls.as_deref(), Some("main"));
    let optional = balancers("proxy_protocol = \"optional\"\nproxy_trusted = [\"::/0\"]").unwrap();
    assert_eq!((optional.required, optional.tls), (false, None));
}

#[test]
fn who_is_trusted_is_named() {
    let trusts = |keys: &str, address: &str| {
        let list = format!("proxy_protocol = \"required\"\nproxy_trusted = [{keys}]");
        balancers(&list).unwrap().trust(address.parse::<IpAddr>().unwrap())
    };
    assert!(trusts("\"192.0.2.10\"", "192.0.2.10"));
    assert!(trusts("\"192.0.2.10\"", "::ffff:192.0.2.10"));
    assert!(!trusts("\"192.0.2.10\"", "192.0.2.11"));
    assert!(trusts("\"2001:db8::1\"", "2001:db8::1"));
    assert!(!trusts("\"2001:db8::1\"", "2001:db8::2"));
    assert!(trusts("\"10.0.0.0/8\", \"0.0.0.0/0\"", "255.255.255.255"));
    assert!(!trusts("\"0.0.0.0/0\"", "::1"));
    assert!(trusts("\"::/0\"", "ff::1"));
}

#[test]
fn headers_from_anybody_are_refused() {
    for header in ["required", "optional"] {
        assert_eq!(
            faults(&with(&format!("proxy_protocol = \"{header}\""))),
            ["line 6: listener.imaps.proxy_protocol: needs proxy_trusted, or anybody could claim \
              any address; list the balancers' addresses, such as proxy_trusted = [\"192.0.2.10\"]"]
        );
    }
    assert_eq!(
        faults(&with("proxy_protocol = \"optional\"\nproxy_trusted = [\"192.0.2\"]")),
        ["line 7: listener.imaps.proxy_trusted: \"192.0.2\" is no range of addresses; write one \
          such as \"192.0.2.0/24\" or \"2001:db8::/32\""]
    );
    assert_eq!(
        faults(&with("proxy_protocol = \"on\"\nproxy_trusted = []")),
        ["line 6: listener.imaps.proxy_protocol: \"on\" is not known here; it may be \
          off, optional, required"]
    );
}

#[test]
fn tls_under_the_header_names_a_certificate_that_there_is() {
    let keys = "proxy_protocol = \"required\"\nproxy_trusted = []\nproxy_tls = \"mian\"";
    assert_eq!(
        faults(&with(keys)),
        ["line 8: listener.imaps.proxy_tls: there is no certificate \"mian\"; did you mean \
          \"main\"?"]
    );
}

#[test]
fn what_has_no_effect_or_too_much_is_named() {
    let nobody = |header: &str| {
        warnings(&with(&format!("proxy_protocol = \"{header}\"\nproxy_trusted = []")))
    };
    assert_eq!(
        nobody("required"),
        ["line 7: listener.imaps.proxy_trusted: trusts nobody, and so nobody is served here; \
          list the balancers' addresses"]
    );
    assert_eq!(
        nobody("optional"),
        ["line 7: listener.imaps.proxy_trusted: trusts nobody, and so no header counts; list the \
          balancers' addresses"]
    );
    assert_eq!(
        warnings(&with("proxy_trusted = [\"192.0.2.10\"]\nproxy_tls = \"main\"")),
        [
            "line 6: listener.imaps.proxy_trusted: has no effect, since proxy_protocol is off; set \
             proxy_protocol to \"required\" or \"optional\", or remove it",
            "line 7: listener.imaps.proxy_tls: has no effect, since proxy_protocol is off; set \
             proxy_protocol to \"required\" or \"optional\", or remove it",
        ]
    );
}

#[test]
fn a_plain_listener_behind_a_balancer_may_take_passwords() {
    let plain =
        |keys: &str| warnings(&with(keys).replacen("tls = \"implicit\"", "tls = \"plain\"", 1));
    assert_eq!(plain("max_auth_attempts = 3").len(), 1);
    let keys = "proxy_protocol = \"required\"\nproxy_trusted = [\"192.0.2.10\"]";
    assert_eq!(plain(keys), [""; 0]);
}
