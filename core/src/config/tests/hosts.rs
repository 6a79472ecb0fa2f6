//! Hosts of a destination, their probes and referrals, and when they are out of service.

use alloc::{format, string::String, vec::Vec};
use core::time::Duration;

use super::{changed, config, extended, faults, warnings};
use crate::config::{Destination, Host, Policy, ReferralHost, Standing};
use crate::health::Rules;

/// The one fault of a text with this in place of the line of `host`, which is line 9.
fn fault(lines: &str) -> String {
    let mut found = faults(&changed(9, lines));
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

fn destination(lines: &str) -> Destination {
    (*config(&changed(9, lines)).destinations[0]).clone()
}

#[test]
fn hosts_have_weights_ports_and_standings() {
    let found = destination(
        "hosts = [\"A.test\", \"b.test=2\", \"c.test:1993=3 draining\", \"d.test standby\", \
         \"e.test Down\"]",
    );
    let told: Vec<_> = found
        .hosts
        .iter()
        .map(|host| (&*host.label, host.name.as_str(), host.port, host.weight, host.standing))
        .collect();
    assert_eq!(
        told,
        [
            ("a.test", "A.test", None, 1, Standing::Up),
            ("b.test", "b.test", None, 2, Standing::Up),
            ("c.test:1993", "c.test", Some(1993), 3, Standing::Draining),
            ("d.test", "d.test", None, 1, Standing::Standby),
            ("e.test", "e.test", None, 1, Standing::Down),
        ]
    );
    assert_eq!(found.policy, Policy::Rendezvous);
    assert_eq!(found.tls_name(&found.hosts[2]), "c.test");
    assert_eq!(found.endpoints[0].1.port_on(&found.hosts[2]), 1993);
    assert_eq!(destination("hosts = [\"a\"]\npolicy = \"round-robin\"").policy, Policy::RoundRobin);
}

#[test]
fn addresses_stand_in_brackets_where_a_port_follows() {
    let parsed = |text: &str| Host::parse(text).map(|host| (host.name, host.port));
    assert_eq!(parsed("2001:db8::1"), Ok((String::from("2001:db8::1"), None)));
    assert_eq!(parsed("[2001:db8::1]:993"), Ok((String::from("2001:db8::1"), Some(993))));
    assert_eq!(parsed("192.0.2.1:993=7"), Ok((String::from("192.0.2.1"), Some(993))));
    for bad in ["", "a b c", "a:0", "a:65536", "a:", "[a]:1", "[::1]", "a=0", "a=101", "a=+1", "a="]
    {
        assert!(Host::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn what_is_wrong_with_hosts_is_said() {
    assert_eq!(
        fault("hosts = [\"a.test\", \"imap test\"]"),
        "line 9: destination.main.hosts: \"test\" is no standing of a host; it may be up, \
         draining, standby or down"
    );
    assert_eq!(
        fault("hosts = [\"a.test=x\"]"),
        "line 9: destination.main.hosts: \"x\" is no weight; write a whole number from 1 to 100, \
         such as \"imap2.example.com=2\""
    );
    assert_eq!(
        fault("hosts = [\"a.test\", \"a.test=2\"]"),
        "line 9: destination.main.hosts: \"a.test\" is listed twice; give it its weight once"
    );
    assert_eq!(
        fault("hosts = []"),
        "line 9: destination.main.hosts: names no host; list at least one"
    );
    assert_eq!(
        fault("hosts = [\"a.test down\"]"),
        "line 9: destination.main.hosts: leaves no host that may serve; let one of them be up"
    );
    assert_eq!(
        fault("host = \"a.test\"\nhosts = [\"b.test\"]"),
        "line 10: destination.main.hosts: stands beside host; remove one of them"
    );
    assert_eq!(
        fault("hosts = [\"a.test\", \"192.0.2.1\"]"),
        "line 9: destination.main.hosts: is an address, which gives TLS no name to verify; set \
         tls_server_name or tls_pinned_cert_sha256"
    );
    let many: Vec<String> = (0..257).map(|n| format!("\"h{n}.test\"")).collect();
    assert_eq!(
        fault(&format!("hosts = [{}]", many.join(", "))),
        "line 9: destination.main.hosts: names too many hosts; 256 is the most"
    );
}

#[test]
fn a_port_of_its_own_is_for_one_protocol() {
    let both = "hosts = [\"a.test:1993\"]\nprotocol.pop3 = { port = 995, tls = \"implicit\" }";
    assert_eq!(
        fault(both),
        "line 9: destination.main.hosts: has a port of its own, and the destination more than one \
         protocol; make a destination for each protocol, or go without the port"
    );
}

#[test]
fn a_listener_is_no_host() {
    let text = changed(9, "hosts = [\"a.test\", \"localhost\"]");
    let found = faults(&text);
    assert!(found[0].contains("localhost port 993 is the proxy's own listener"), "{found:?}");
}

#[test]
fn a_policy_of_one_host_is_warned_of() {
    assert_eq!(
        warnings(&changed(9, "host = \"a.test\"\npolicy = \"first\"")),
        ["line 10: destination.main.policy: has no effect with one host; write hosts = [..], or \
          go without"]
    );
}

#[test]
fn probes_have_an_interval_and_perhaps_an_account() {
    assert_eq!(destination("host = \"a.test\"").probing, None);
    let found = destination(
        "host = \"a.test\"\nprobe_interval = \"5s\"\nprobe_user = \"p\"\n\
         probe_password_file = \"f\"",
    );
    let probing = found.probing.unwrap();
    assert_eq!(probing.interval, Duration::from_secs(5));
    assert_eq!(probing.account.unwrap().password_file, "f");
    assert_eq!(
        fault("host = \"a.test\"\nprobe_interval = \"5s\"\nprobe_user = \"p\""),
        "line 11: destination.main.probe_user: needs probe_password_file; set both or neither"
    );
    assert_eq!(
        fault(
            "host = \"a.test\"\nprobe_interval = \"5s\"\nprobe_password_file = \"f\"\n\
             probe_user = \"a\\nb\""
        ),
        "line 12: destination.main.probe_user: is no user name; write one that the backends know"
    );
    assert_eq!(
        warnings(&changed(9, "host = \"a\"\nprobe_user = \"p\"\nprobe_password_file = \"f\"")),
        ["line 10: destination.main.probe_user: has no effect without probe_interval; set \
          probe_interval = \"30s\", or remove it"]
    );
}

#[test]
fn referrals_lead_to_names_addresses_and_what_is_below_a_domain() {
    let found = destination(
        "host = \"a.test\"\nreferral_hosts = [\"B.test\", \"192.0.2.1\", \"*.example.com\"]",
    );
    let covered = |host: &str| found.referral_hosts.iter().any(|it| it.covers(host));
    for host in ["b.test", "B.TEST", "192.0.2.1", "x.example.com", "x.y.EXAMPLE.com"] {
        assert!(covered(host), "{host}");
    }
    for host in ["x.b.test", "b.test.", "example.com", "xexample.com", ".example.com", "192.0.2.2"]
    {
        assert!(!covered(host), "{host}");
    }
    assert_eq!(found.referral_hosts[2], ReferralHost::Below(".example.com".into()));
    for bad in ["*", "*.", "*example.com", "a.*", "a b", "a:1"] {
        let text = format!("host = \"a.test\"\nreferral_hosts = [\"{bad}\"]");
        assert!(fault(&text).contains("names no host"), "{bad}");
    }
}

#[test]
fn referrals_need_verified_tls() {
    assert_eq!(
        fault("host = \"a.test\"\nreferral_hosts = [\"b.test\"]\ntls_allow_invalid_certs = true"),
        "line 10: destination.main.referral_hosts: would send credentials to whoever answers, with \
         tls_allow_invalid_certs; remove one of them"
    );
    assert_eq!(
        fault(
            "host = \"a.test\"\nreferral_hosts = [\"b.test\"]\nallow_plaintext_auth = true\n\
             protocol.pop3 = { port = 110, tls = \"plain\" }"
        ),
        "line 10: destination.main.referral_hosts: are followed over TLS only, and pop3 has none; \
         give every protocol TLS, or remove it"
    );
}

#[test]
fn capabilities_may_be_what_all_backends_can_do() {
    let probed = changed(9, "host = \"a.test\"\nprobe_interval = \"5s\"");
    let auto = config(&format!("{probed}\n[capabilities.imap]\nadvertise = \"auto\"\n"));
    assert!(auto.listeners[0].advertise_auto);
    assert_eq!(auto.listeners[0].advertise, ["IMAP4rev1", "SASL-IR", "ID"]);
    assert!(!config(&probed).listeners[0].advertise_auto);
    // Where nobody listens, nothing needs to be learned.
    let sieve = config(&extended("[capabilities.managesieve]\nsieve = \"auto\"\n"));
    assert!(!sieve.listeners[0].advertise_auto);
}

#[test]
fn hosts_are_out_of_service_by_the_servers_rules() {
    let rules = |more: &str| config(&extended(more)).server.host_down;
    assert_eq!(rules(""), Rules::default());
    assert_eq!(
        rules(
            "[server]\nhost_down_threshold = 0\nhost_down_min_clients = 3\n\
             host_down_cooldown = \"5s\"\n"
        ),
        Rules { threshold: 0, min_clients: 3, cooldown: Duration::from_secs(5) }
    );
    let found = faults(&extended("[server]\nhost_down_min_clients = 0\n"));
    assert!(found[0].contains("may be 1 to 1000"), "{found:?}");
}
