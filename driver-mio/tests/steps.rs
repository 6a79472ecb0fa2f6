//! The steps of a configuration, as a client of the server meets them.
#![allow(clippy::unwrap_used)]

mod world;

use world::{Kind, PATIENCE, World};

const STEPS: Kind = Kind {
    client_tls: false,
    backend_tls: false,
    server: "",
    listener: "normalize = \"auto\"
        [[mapping.step]]
        match = \"@Closed.example\"
        refuse = \"Closed.\"
        [[mapping.step]]
        match = \"@away.example\"
        referral = \"two.test\"
        [[mapping.step]]
        regexp = \"(.*)@b\\u00FCcher\\\\.example\"
        destination = \"main\"
        login = \"{1}\"
        alert = \"Soon\"",
};

#[test]
fn a_step_gives_another_login_and_an_alert() {
    let world = World::new(STEPS);
    let mut client = world.greeted();
    client.say("a1 LOGIN Alice@XN--BCHER-KVA.example secret\r\n");
    client.hear("* OK [ALERT] Soon\r\na1 OK [CAPABILITY IMAP4rev1 IDLE] in\r\n");
    // It has checked the name and the password, which are those of alice.
    drop(world.backends.recv_timeout(PATIENCE).unwrap());
}

#[test]
fn a_step_refuses_and_refers() {
    let world = World::new(STEPS);
    let mut client = world.greeted();
    client.say("a1 LOGIN eve@CLOSED.example secret\r\n");
    client.hear("a1 NO [CONTACTADMIN] Closed.\r\n");
    client.say("a2 LOGIN eve@away.example secret\r\n");
    client.hear("a2 NO [PRIVACYREQUIRED] TLS is required\r\n");

    let world = World::new(Kind { client_tls: true, ..STEPS });
    let mut client = world.connect();
    assert!(client.line().contains(" LOGIN-REFERRALS "));
    client.say("a1 LOGIN Eve@away.example secret\r\n");
    let url = "imap://Eve%40away.example;AUTH=*@two.test/";
    client.hear(&format!("a1 NO [REFERRAL {url}] Account is on another server\r\n"));
}
