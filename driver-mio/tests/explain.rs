//! `gatepost explain` on a configuration that has a turn of every kind.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::process::Command;

const CONFIG: &str = r#"[listener.imap]
protocol = "imap"
bind = ["127.0.0.1:0"]
tls = "plain"
allow_plain_auth_without_tls = true
allow = ["192.0.2.0/24"]

[destination.old]
host = "old.test"
forwarding = "none"
allow_plaintext_auth = true
protocol.imap = { port = 143, tls = "plain" }

[destination.new]
host = "new.test"
forwarding = "xclient"
tls_allow_invalid_certs = true
protocol.imap = { port = 993, tls = "implicit" }

[routing]
default_destination = "old"

[mapping]
source = "file"
normalize = "lowercase"
file.path = "MAP"

[[mapping.step]]
match = "@closed.example"
refuse = "Closed."

[[mapping.step]]
regexp = "(.*)@away.example"
referral = "away.test:1143"
referral_user = "{1}"

[[mapping.step]]
match = "*"
login = "email_localpart"
alert = "Soon"
"#;

fn explain(arguments: &[&str]) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let (config, map) = (folder.path().join("gatepost.toml"), folder.path().join("users.map"));
    fs::write(&map, "# moved\nAlice@Example.com new\n").unwrap();
    fs::write(&config, CONFIG.replace("MAP", map.to_str().unwrap())).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatepost"));
    let output = command.arg("explain").arg(&config).args(arguments).output().unwrap();
    let folder = folder.path().to_str().unwrap();
    let said = if output.status.success() { output.stdout } else { output.stderr };
    let said = String::from_utf8(said).unwrap();
    (output.status.success(), said.replace(folder, "FOLDER"))
}

#[test]
fn an_account_in_the_map_is_explained_turn_by_turn() {
    let (success, said) = explain(&["ALICE@example.com%admin", "--client", "192.0.2.7"]);
    let expected = "listener imap: imap
client 192.0.2.7: allowed
user \"ALICE@example.com%admin\"
master user \"%admin\" cut: \"ALICE@example.com\"
normalised as lowercase: \"alice@example.com\"
step of line 28, @closed.example: does not match
step of line 32, /(.*)@away.example/: does not match
step of line 37, *: matches; goes on
  the backend gets the user name \"alice\"
map FOLDER/users.map: line 2
alert \"Soon\"
destination new: new.test port 993, tls implicit, forwarding xclient
";
    assert_eq!(said, expected);
    assert!(success);
}

/// In the order in which the account would go to them, were those above out of service.
#[test]
fn several_hosts_are_told_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gatepost.toml");
    let hosts = "hosts = [\"a.test\", \"b.test=2\", \"c.test standby\", \"d.test down\"]";
    let (head, _) = CONFIG.split_once("[mapping]").unwrap();
    fs::write(&file, head.replace("host = \"old.test\"", hosts)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatepost"));
    let output = command.arg("explain").arg(&file).arg("dave").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let expected = "destination old: 4 hosts, policy rendezvous, tls plain, forwarding none
  host a.test port 143, weight 1, up: the account's own
  host b.test port 143, weight 2, up: where those above are out of service
  host c.test port 143, weight 1, standby: where those above are out of service
  host d.test: down by the configuration
";
    assert!(said.ends_with(expected), "{said}");
}

#[test]
fn whoever_is_nowhere_goes_to_the_default() {
    let (_, said) = explain(&["bob", "--protocol", "imap"]);
    let expected = "map FOLDER/users.map: not there\nthe default destination\nalert \"Soon\"\n\
                    destination old: old.test port 143, tls plain, forwarding none\n";
    assert!(said.ends_with(expected), "{said}");
    assert!(said.contains("normalised as lowercase: \"bob\" (unchanged)\n"), "{said}");
}

#[test]
fn refusals_and_referrals_end_the_way() {
    let (_, said) = explain(&["eve@closed.example"]);
    let expected = "step of line 28, @closed.example: matches; a refusal\nrefused: \"Closed.\"\n";
    assert!(said.ends_with(expected), "{said}");
    let (_, said) = explain(&["eve@away.example"]);
    assert!(said.ends_with("referred to away.test:1143 as \"eve\", inside TLS\n"), "{said}");
    let (success, said) = explain(&["a b"]);
    assert!(success && said.ends_with("user \"a b\": can be nobody's name here; refused\n"));
}

#[test]
fn a_client_that_may_not_connect_has_no_way() {
    let (_, said) = explain(&["bob", "--client", "198.51.100.1"]);
    let expected = "client 198.51.100.1: not among the addresses that are allowed; end\n";
    assert!(said.ends_with(expected), "{said}");
}

#[test]
fn a_protocol_without_a_listener_is_a_fault() {
    let (success, said) = explain(&["bob", "--protocol", "pop3"]);
    assert!(!success && said.contains("no listener serves pop3"), "{said}");
    let (success, said) = explain(&["bob", "--protocol", "pop"]);
    assert!(!success && said.contains("pop"), "{said}");
}
