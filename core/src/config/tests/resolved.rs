//! What a text without faults becomes.

use alloc::{borrow::ToOwned, format, vec, vec::Vec};
use core::time::Duration;

use super::{changed, config, extended, warnings};
use crate::{
    config::{
        Forwarding, LogFormat, LogLevel, MappingSource, Normalize, Protocol, TlsMode, TlsVersion,
    },
    sasl::Mechanism,
};

#[test]
fn defaults() {
    let config = config(super::PLAIN);
    assert_eq!(config.server.threads, 0);
    assert_eq!(config.server.hostname, None);
    assert_eq!(config.server.shutdown_grace, Duration::from_secs(30));
    assert_eq!(config.server.log_level, LogLevel::Info);
    assert_eq!(config.server.log_format, LogFormat::Text);
    assert_eq!(config.tls.min_version, TlsVersion::V1_2);
    assert!(!config.tls.ignore_client_order);
    assert!(config.tls.disable_cipher_suites.is_empty());
    assert_eq!(config.mapping.source, MappingSource::None);
    assert_eq!(config.routing.default_destination, config.destinations[0]);

    let listener = &config.listeners[0];
    assert_eq!(listener.name, "imaps");
    assert_eq!(listener.protocol, Protocol::Imap);
    assert_eq!(listener.bind, ["0.0.0.0:993".parse().unwrap()]);
    assert_eq!(listener.tls, TlsMode::Implicit);
    assert_eq!(listener.hostname, "localhost");
    assert_eq!(listener.max_connections, 8192);
    assert_eq!(listener.max_connections_per_ip, None);
    assert!(listener.allow.is_empty());
    assert_eq!(listener.preauth_timeout, Duration::from_secs(30));
    assert_eq!(listener.max_auth_attempts, 3);
    assert_eq!(listener.alert, None);
    assert_eq!(listener.working_interval, Some(Duration::from_secs(10)));
    assert!(!listener.cleartext_without_tls);
    let mechanisms = [Mechanism::Plain, Mechanism::OAuthBearer, Mechanism::XOAuth2];
    assert_eq!(listener.mechanisms, mechanisms);
    let advertised = "IMAP4rev2 IMAP4rev1 SASL-IR LITERAL+ ENABLE ID UTF8=ACCEPT";
    assert_eq!(listener.advertise.join(" "), advertised);
    assert_eq!(listener.certificates, ["main"]);
    assert_eq!(listener.min_version, TlsVersion::V1_2);
    assert_eq!(listener.normalize, Normalize::None);
    assert_eq!(listener.master_user_separators, ['%']);
    assert_eq!(listener.lookup_timeout, Duration::from_secs(5));
    assert_eq!(listener.backend_timeout, Duration::from_secs(10));
    assert_eq!(listener.connect_retries, 1);
    assert_eq!(listener.bridge_idle, Duration::from_secs(1800));

    let destination = &config.destinations[0];
    assert_eq!(destination.forwarding, Forwarding::Proxy);
    assert_eq!(destination.proxy_ttl, 7);
    let endpoint = destination.endpoint(Protocol::Imap).unwrap();
    assert_eq!((endpoint.port, endpoint.tls), (993, TlsMode::Implicit));
    assert_eq!(endpoint.forwarding, Forwarding::Proxy);
    assert_eq!(destination.endpoint(Protocol::Pop3), None);
    assert_eq!(config.destination("main"), Some(destination));
    assert_eq!(config.destination("other"), None);
}

#[test]
fn shared_limits_reach_listeners_and_destinations() {
    let config = config(&extended(
        "[server]\nhostname = \"mail.test\"\nbridge_idle = \"1h\"\nbackend_timeout = \"250ms\"\n\
         backend_connect_retries = 0\nproxy_ttl = 2\nlog_format = \"json\"\n\
         [mapping]\nlookup_timeout = \"1s\"\nnormalize = \"lowercase\"\n\
         [tls.protocols]\nmin_version = \"1.3\"\n",
    ));
    let listener = &config.listeners[0];
    assert_eq!(listener.hostname, "mail.test");
    assert_eq!(listener.bridge_idle, Duration::from_secs(3600));
    assert_eq!(listener.backend_timeout, Duration::from_millis(250));
    assert_eq!(listener.connect_retries, 0);
    assert_eq!(listener.lookup_timeout, Duration::from_secs(1));
    assert_eq!(listener.normalize, Normalize::Lowercase);
    assert_eq!(listener.min_version, TlsVersion::V1_3);
    assert_eq!(config.destinations[0].proxy_ttl, 2);
    assert_eq!(config.server.log_format, LogFormat::Json);
}

#[test]
fn a_listener_goes_before_the_tables_it_inherits_from() {
    let config = config(&extended(
        r#"[capabilities.imap]
advertise = ["IMAP4rev1", "LITERAL-"]
sasl = ["PLAIN"]
banner = "everywhere"
[tls.certificate.other]
cert = "other.pem"
key = "other.key"
subjects = ["*.Other.test"]
default = true
[listener.inherits]
protocol = "imap"
bind = ["0.0.0.0:1993"]
tls = "implicit"
[listener.overrides]
protocol = "imap"
bind = ["0.0.0.0:143"]
tls = "plain"
allow_plain_auth_without_tls = true
sasl = ["login", "PLAIN"]
banner = "here"
certificates = ["other"]
min_version = "1.3"
normalize = "lowercase"
alert = "Maintenance at noon."
working_interval = "0"
max_connections_per_ip = 2
allow = ["192.0.2.0/24"]
forwarding_trusted = ["198.51.100.0/24", "2001:db8::1"]
proxy_protocol = "off"
"#,
    ));
    assert_eq!(config.certificates[1].subjects, ["*.other.test"]);
    assert!(config.certificates[1].default);
    let [imaps, inherits, overrides] = &config.listeners[..] else { panic!() };
    assert_eq!(imaps.banner, "everywhere");
    assert_eq!(inherits.mechanisms, [Mechanism::Plain]);
    assert_eq!(inherits.certificates, ["main", "other"]);
    assert_eq!(overrides.advertise, ["IMAP4rev1", "LITERAL-"]);
    assert!(overrides.cleartext_without_tls);
    assert_eq!(overrides.mechanisms, [Mechanism::Login, Mechanism::Plain]);
    assert_eq!(overrides.banner, "here");
    assert_eq!(overrides.certificates, ["other"]);
    assert_eq!(overrides.min_version, TlsVersion::V1_3);
    assert_eq!(overrides.normalize, Normalize::Lowercase);
    assert_eq!(overrides.alert.as_deref(), Some("Maintenance at noon."));
    assert_eq!(overrides.working_interval, None);
    assert_eq!(overrides.max_connections_per_ip, Some(2));
    assert!(overrides.allow[0].contains("192.0.2.9".parse().unwrap()));
    let trusted = &overrides.forwarding_trusted;
    assert!(trusted[0].contains("::ffff:198.51.100.9".parse().unwrap()) && trusted.len() == 2);
    assert!(imaps.forwarding_trusted.is_empty(), "an empty list trusts nobody");
}

#[test]
fn a_listener_inherits_from_the_capabilities_of_its_own_protocol() {
    let text = extended(
        r#"[destination.main.protocol.pop3]
port = 995
tls = "implicit"
[capabilities.imap]
sasl = ["PLAIN"]
banner = "imap"
[capabilities.pop3]
advertise = ["UIDL", "EXPIRE 30", "UTF8 USER"]
allow_plain_auth_without_tls = true
banner = "pop3"
[listener.pop3]
protocol = "pop3"
bind = ["0.0.0.0:995"]
tls = "implicit"
"#,
    );
    let config = config(&text);
    let [imap, pop3] = &config.listeners[..] else { panic!() };
    assert_eq!((imap.banner.as_str(), pop3.banner.as_str()), ("imap", "pop3"));
    assert_eq!(pop3.advertise, ["UIDL", "EXPIRE 30", "UTF8 USER"]);
    assert_eq!((imap.mechanisms.len(), pop3.mechanisms.len()), (1, 3));
    assert!(pop3.cleartext_without_tls && !imap.cleartext_without_tls);
    assert_eq!(pop3.protocol, Protocol::Pop3);
}

#[test]
fn a_managesieve_listener_says_what_it_is_and_knows() {
    let text = extended(
        r#"[destination.main.protocol.managesieve]
port = 4190
tls = "starttls"
[capabilities.managesieve]
sieve = ["fileinto", "comparator-i;ascii-numeric"]
implementation = "Mail \"Hub\""
banner = "sieve"
[listener.sieve]
protocol = "managesieve"
bind = ["0.0.0.0:4190"]
tls = "starttls"
"#,
    );
    let config = config(&text);
    let [imap, sieve] = &config.listeners[..] else { panic!() };
    assert_eq!(sieve.protocol, Protocol::ManageSieve);
    assert_eq!(sieve.advertise, ["fileinto", "comparator-i;ascii-numeric"]);
    assert_eq!((sieve.implementation.as_str(), sieve.banner.as_str()), ("Mail \"Hub\"", "sieve"));
    assert_eq!(imap.implementation, "Gatepost");
}

#[test]
fn a_submission_listener_tells_keywords_with_their_parameters() {
    let text = extended(
        r#"[destination.main.protocol.submission]
port = 465
tls = "implicit"
[capabilities.submission]
ehlo = ["SIZE 52428800", "X-A b=c", "8BITMIME"]
sasl = ["PLAIN"]
[listener.submission]
protocol = "submission"
bind = ["0.0.0.0:587"]
tls = "starttls"
banner = "at your service"
"#,
    );
    let config = config(&text);
    let [_, submission] = &config.listeners[..] else { panic!() };
    assert_eq!(submission.protocol, Protocol::Submission);
    assert_eq!(submission.advertise, ["SIZE 52428800", "X-A b=c", "8BITMIME"]);
    assert_eq!(submission.mechanisms.len(), 1);
    assert_eq!(submission.banner, "at your service");
}

#[test]
fn a_destination_with_everything() {
    let pin = "0123456789abcdef".repeat(4);
    let config = config(&extended(&format!(
        r#"[destination.all]
host = "2001:db8::1"
tls_server_name = "imap.test"
proxy_protocol = false
tls_pinned_cert_sha256 = ["{pin}"]
tls_client_cert = "c.pem"
tls_client_key = "c.key"
tls_ca_file = "ca.pem"
source_ips = ["192.0.2.1", "2001:db8::2"]
hide_auth_errors = true
allow_plaintext_auth = true
[destination.all.protocol]
imap = {{ port = 143, tls = "plain", forwarding = "xclient" }}
pop3 = {{ port = 110, tls = "starttls" }}
"#
    )));
    let all = config.destination("all").unwrap();
    assert_eq!(all.hosts[0].name, "2001:db8::1");
    assert_eq!(all.tls_server_name.as_deref(), Some("imap.test"));
    assert_eq!(all.forwarding, Forwarding::None);
    assert_eq!(all.tls_pinned_cert_sha256[0][..3], [0x01, 0x23, 0x45]);
    assert_eq!(all.tls_client_cert.as_deref(), Some("c.pem"));
    assert_eq!(all.tls_client_key.as_deref(), Some("c.key"));
    assert_eq!(all.tls_ca_file.as_deref(), Some("ca.pem"));
    assert_eq!(all.source_ips.len(), 2);
    assert!(all.hide_auth_errors && all.allow_plaintext_auth);
    let protocols: Vec<_> = all.endpoints.iter().map(|(protocol, _)| protocol.name()).collect();
    assert_eq!(protocols, ["imap", "pop3"]);
    assert_eq!(all.endpoint(Protocol::Imap).unwrap().forwarding, Forwarding::Xclient);
    assert_eq!(all.endpoint(Protocol::Pop3).unwrap().forwarding, Forwarding::None);
}

#[test]
fn a_pin_may_stand_alone_and_with_colons() {
    let pin = vec!["AB"; 32].join(":");
    let text = format!("host = \"192.0.2.1\"\ntls_pinned_cert_sha256 = \"{pin}\"");
    let destination = config(&changed(9, &text)).destinations[0].clone();
    assert_eq!(destination.tls_pinned_cert_sha256, [[0xab; 32]]);
}

#[test]
fn a_map_file_is_only_named() {
    let config = config(&extended("[mapping]\nsource = \"file\"\nfile.path = \"users.map\"\n"));
    assert_eq!(config.mapping.source, MappingSource::File { path: "users.map".to_owned() });
}

#[test]
fn log_levels_have_the_names_of_other_servers_too() {
    for (name, level) in [
        ("error", LogLevel::Error),
        ("Crashes", LogLevel::Error),
        ("Failures", LogLevel::Warn),
        ("Major & Failures", LogLevel::Info),
        ("Problems", LogLevel::Debug),
        ("Low Level", LogLevel::Trace),
        ("All Info", LogLevel::Trace),
    ] {
        let config = config(&extended(&format!("[server]\nlog_level = \"{name}\"\n")));
        assert_eq!(config.server.log_level, level, "{name}");
        assert_eq!(level.name().to_ascii_lowercase(), level.name());
    }
}

#[test]
fn listeners_keep_the_order_of_the_file() {
    let names = ["zebra", "mule", "ant"];
    let tables: Vec<_> = (1..)
        .zip(names)
        .map(|(port, name)| {
            format!(
                "[listener.{name}]\nprotocol = \"imap\"\ntls = \"implicit\"\n\
                 bind = [\"127.0.0.1:{port}\"]\n"
            )
        })
        .collect();
    let config = config(&extended(&tables.concat()));
    let found: Vec<_> = config.listeners[1..].iter().map(|listener| &listener.name).collect();
    assert_eq!(found, names);
}

#[test]
fn what_looks_like_a_clash_and_is_none() {
    for text in [
        changed(6, r#"bind = ["0.0.0.0:993", "[::]:993"]"#),
        changed(6, r#"bind = ["127.0.0.1:0"]"#)
            + "\n[listener.b]\nprotocol = \"imap\"\ntls = \"implicit\"\nbind = [\"127.0.0.1:0\"]\n",
        // Another machine's port 993, and another port of this one.
        changed(9, "host = \"192.0.2.1\"\ntls_server_name = \"imap.test\""),
        changed(9, "host = \"localhost\"").replace("port = 993", "port = 1993"),
        // A v6 wildcard takes no v4 connection.
        changed(9, "host = \"127.0.0.1\"\ntls_server_name = \"imap.test\"")
            .replace("0.0.0.0:993", "[::]:993"),
    ] {
        assert_eq!(warnings(&text), [""; 0], "{text}");
    }
}

#[test]
fn a_carried_listener_knows_its_destination() {
    let text = extended(
        "smtp_passthrough_destination = \"mx\"\n\
         [destination.mx]\nhost = \"mx.test\"\n\
         [destination.mx.protocol.lmtp]\nport = 24\ntls = \"plain\"\n\
         [listener.lmtp]\nprotocol = \"lmtp\"\nbind = [\"127.0.0.1:24\"]\ntls = \"plain\"\n",
    );
    let (config, warnings) = super::loaded(&text);
    assert_eq!(warnings, [""; 0]);
    let [imap, lmtp] = &config.listeners[..] else { panic!("two listeners") };
    assert_eq!(imap.bridge, None);
    assert_eq!(lmtp.bridge.as_ref().map(|it| it.name.as_str()), Some("mx"));
    assert_eq!(config.routing.default_destination.name, "main");
    let login = text + "sasl = [\"PLAIN\"]\nbanner = \"hello\"\n";
    let (first, second) = ("sasl", "banner");
    assert_eq!(
        super::warnings(&login),
        [(25, first), (26, second)].map(|(line, key)| format!(
            "line {line}: listener.lmtp.{key}: has no effect, since lmtp is carried from the \
             first byte; remove it"
        ))
    );
}

#[test]
fn what_is_strange_is_told() {
    let cases = [
        (
            changed(7, "tls = \"plain\""),
            "line 7: listener.imaps.tls: nobody can log in here, since every mechanism needs TLS; \
             use \"implicit\" or \"starttls\", or set allow_plain_auth_without_tls = true",
        ),
        (
            changed(5, "protocol = \"pop3\"\nalert = \"noon\"")
                + "\n[destination.main.protocol.pop3]\nport = 995\ntls = \"implicit\"\n",
            "line 6: listener.imaps.alert: has no effect, since only IMAP can carry an alert; \
             remove it",
        ),
        (
            changed(7, "tls = \"implicit\"\nmax_connections = 0"),
            "line 8: listener.imaps.max_connections: closes this listener: nobody can log in \
             here; raise it when the listener is to serve",
        ),
        (
            changed(9, "host = \"imap.test\"\ntls_allow_invalid_certs = true"),
            "line 10: destination.main.tls_allow_invalid_certs: anybody between the proxy and \
             this backend can read credentials; set tls_ca_file or tls_pinned_cert_sha256 in its \
             place",
        ),
        (
            changed(
                9,
                &format!(
                    "host = \"imap.test\"\ntls_allow_invalid_certs = true\n\
                     tls_pinned_cert_sha256 = \"{}\"",
                    "00".repeat(32)
                ),
            ),
            "line 10: destination.main.tls_allow_invalid_certs: has no effect, since a pin \
             decides; remove it",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(warnings(&text), [expected]);
    }
}

#[test]
fn http_is_ignored_with_one_warning() {
    let text = extended(
        "[destination.main.protocol.http]\nport = 443\ntls = \"implicit\"\n\
         [http]\nrelay_idle = \"60s\"\nroute = [{ match = \"/*\" }]\n",
    );
    let text =
        text.replace("tls = \"implicit\"\n[dest", "tls = \"implicit\"\nforwarded = \"off\"\n[dest");
    assert_eq!(
        warnings(&text),
        ["line 8: listener.imaps.forwarded: HTTP is not carried, and its keys have no effect; \
          remove them"]
    );
}

#[test]
fn a_guard_is_asked_for_where_there_is_something_to_guard() {
    assert!(!config(super::PLAIN).destinations[0].guard);
    let text = changed(9, "host = \"imap.test\"\nguard = true");
    assert!(config(&text).destinations[0].guard);
    assert_eq!(warnings(&text), [""; 0]);
    let other = "[destination.other]\nhost = \"pop3.test\"\nguard = true\n\
                 [destination.other.protocol.pop3]\nport = 995\ntls = \"implicit\"\n";
    let text = extended(other);
    let line = 1 + text.lines().position(|line| line == "guard = true").unwrap();
    let expected = format!(
        "line {line}: destination.other.guard: has no effect, since the destination speaks \
         neither imap nor managesieve; remove it"
    );
    assert_eq!(warnings(&text), [expected]);
}
