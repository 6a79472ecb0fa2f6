//! Two record layers against each other, one of them made to say what no good peer says; and one
//! against rustls' own, on the other side of a handshake that both have finished.
#![allow(clippy::unwrap_used)]

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use proptest::prelude::*;
use rustls::{ClientConfig, Connection as Peer, ServerConfig, ServerConnection};

use super::*;
use crate::leg::negotiation::Negotiation;
use crate::leg::tls_layer::TlsLayer;
use crate::tls::samples::{Samples, client_with, server_with};
use crate::tls::{Trust, server_name};

const NAME: &str = "mail.example.com";

fn configs() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let samples = Samples::new();
    let source = samples.certificate(&[NAME]);
    (server_with(&[&source]), client_with(Trust::CaFile(source.cert)))
}

/// Both ends of a connection behind the handshake, the server's first.
fn pair() -> (RecordLayer, RecordLayer) {
    let (server, mut client, ticket) = pair_and_ticket();
    assert_eq!(heard(&mut client, &ticket), (Vec::new(), Vec::new(), Ok(false)));
    (server, client)
}

/// The same, with the server's ticket still on its way.
fn pair_and_ticket() -> (RecordLayer, RecordLayer, Vec<u8>) {
    let (server, client) = configs();
    let mut server = Negotiation::server(server).unwrap();
    let mut client = Negotiation::client(client, server_name(NAME).unwrap()).unwrap();
    let (mut to_server, mut to_client) = (Buffer::new(), Buffer::new());
    let mut none = Buffer::new();
    while !server.hands_over() {
        to_client.clear();
        let mut input = to_server.filled().to_vec();
        server.process(&mut input, &mut to_client, &mut none).1.unwrap();
        if server.hands_over() {
            break;
        }
        to_server.clear();
        let mut input = to_client.filled().to_vec();
        client.process(&mut input, &mut to_server, &mut none).1.unwrap();
    }
    let ticket = to_client.filled().to_vec();
    (server.into_record_layer().unwrap(), client.into_record_layer().unwrap(), ticket)
}

/// Takes records whole: what came out, what was said in return, and the outcome.
fn heard(by: &mut RecordLayer, records: &[u8]) -> (Vec<u8>, Vec<u8>, Result<bool, TlsFault>) {
    let (mut data, mut output) = (Buffer::new(), Buffer::new());
    let (done, outcome) = by.process(records, &mut output, &mut data);
    (data.filled().to_vec(), output.filled().to_vec(), outcome.map(|()| done.peer_closed))
}

/// One record with this inside.
fn record(from: &mut RecordLayer, kind: u8, content: &[u8]) -> Vec<u8> {
    let mut output = Buffer::new();
    from.tx.as_mut().unwrap().seal(kind, content, &mut output).unwrap();
    output.filled().to_vec()
}

/// What the peer says of an offence, as the other end hears it.
fn alert_heard(by: &mut RecordLayer, said: &[u8]) -> Option<TlsFault> {
    heard(by, said).2.err()
}

#[test]
fn both_directions_carry_and_a_ticket_is_taken() {
    let (mut server, mut client) = pair();
    for round in 0..3_u8 {
        let said = record(&mut client, APPLICATION_DATA, &[round; 100]);
        assert_eq!(heard(&mut server, &said).0, [round; 100]);
        let said = record(&mut server, APPLICATION_DATA, &[round; 16_384]);
        assert_eq!(heard(&mut client, &said).0, [round; 16_384]);
    }
}

#[test]
fn a_record_that_was_changed_is_refused_at_every_octet_and_says_nothing() {
    let whole = record(&mut pair().1, APPLICATION_DATA, b"a1 NOOP\r\n").len();
    for place in 0..whole {
        let (mut server, mut client) = pair();
        let mut said = record(&mut client, APPLICATION_DATA, b"a1 NOOP\r\n");
        said[place] ^= 0x10;
        // Its length says that more is to come, which then is not the record either.
        said.extend([0; 0x1010]);
        let (data, output, outcome) = heard(&mut server, &said);
        assert!(data.is_empty() && outcome.is_err(), "octet {place}: {outcome:?}");
        let TlsFault::Alert(alert) = alert_heard(&mut client, &output).unwrap() else { panic!() };
        let expected = if place == 0 { "UnexpectedMessage" } else { "BadRecordMac" };
        assert_eq!(alert, expected, "octet {place}");
    }
}

#[test]
fn a_record_heard_twice_or_out_of_order_is_refused() {
    let (mut server, mut client) = pair();
    let first = record(&mut client, APPLICATION_DATA, b"one");
    let second = record(&mut client, APPLICATION_DATA, b"two");
    assert!(heard(&mut server, &second).2.is_err());

    let (mut server, mut client) = pair();
    let once = record(&mut client, APPLICATION_DATA, b"one");
    let (data, _, outcome) = heard(&mut server, &[&once[..], &once[..]].concat());
    assert_eq!((&data[..], outcome.is_err()), (&b"one"[..], true), "the first counts");
    assert_ne!(first, once, "another connection has other keys");
}

/// What a client says, and how the server takes it: the alert, or what it has to say for itself.
#[test]
fn what_no_good_peer_says_is_refused_with_its_alert() {
    let ticket = [NEW_SESSION_TICKET, 0, 0, 1, 0];
    let update = [KEY_UPDATE, 0, 0, 1, UPDATE_NOT_REQUESTED];
    type Said<'a> = &'a [(u8, &'a [u8])];
    let cases: &[(&str, Said<'_>, &str)] = &[
        ("no content type", &[(0, b"")], "UnexpectedMessage"),
        ("unknown content", &[(99, b"x")], "UnexpectedMessage"),
        ("a change of cipher spec inside", &[(20, &[1])], "UnexpectedMessage"),
        ("an alert too short", &[(ALERT, &[FATAL])], "DecodeError"),
        ("two alerts in one", &[(ALERT, &[1, 0, 1, 0])], "DecodeError"),
        ("an empty handshake record", &[(HANDSHAKE, b"")], "UnexpectedMessage"),
        ("a client's ticket", &[(HANDSHAKE, &ticket)], "UnexpectedMessage"),
        ("a second ClientHello", &[(HANDSHAKE, &[1, 0, 0, 1, 0])], "UnexpectedMessage"),
        ("an update that asks for 2", &[(HANDSHAKE, &[24, 0, 0, 1, 2])], "IllegalParameter"),
        ("an update too long", &[(HANDSHAKE, &[24, 0, 0, 2, 0, 0])], "DecodeError"),
        ("an update of nothing", &[(HANDSHAKE, &[24, 0, 0, 0])], "DecodeError"),
        ("two updates in one", &[(HANDSHAKE, &[update, update].concat())], "UnexpectedMessage"),
        (
            "data within a message",
            &[(HANDSHAKE, &update[..3]), (APPLICATION_DATA, b"x")],
            "UnexpectedMessage",
        ),
        (
            "an alert within a message",
            &[(HANDSHAKE, &update[..4]), (ALERT, &[1, 0])],
            "UnexpectedMessage",
        ),
    ];
    for (what, records, expected) in cases {
        let (mut server, mut client) = pair();
        let said: Vec<u8> = records
            .iter()
            .flat_map(|(kind, content)| record(&mut client, *kind, content))
            .collect();
        let (data, output, outcome) = heard(&mut server, &said);
        assert!(data.is_empty() && outcome.is_err(), "{what}: {outcome:?}");
        let alert = alert_heard(&mut client, &output);
        assert_eq!(alert, Some(TlsFault::Alert((*expected).to_owned())), "{what}");
        assert!(server.tx.is_none(), "{what}: nothing follows");
    }
}

#[test]
fn a_record_longer_than_any_may_be_is_refused_by_its_header() {
    let (mut server, _) = pair();
    let most = (RECORD_PLAIN_MAX + RECORD_EXPANSION_MAX) as u16;
    let header = |octets: u16| [&[23, 3, 3][..], &octets.to_be_bytes()].concat();
    assert_eq!(heard(&mut server, &header(most)).2, Ok(false), "it waits for the rest");
    assert!(heard(&mut server, &header(most + 1)).2.is_err());
}

#[test]
fn padding_may_fill_a_record_and_no_more() {
    let (mut server, mut client) = pair();
    let padded = |client: &mut RecordLayer, data: usize, padding: usize| {
        // The seal puts its content type last: a zero there is padding to the one who opens it.
        let mut inner = vec![b'x'; data];
        inner.push(APPLICATION_DATA);
        inner.resize(data + padding, 0);
        record(client, 0, &inner)
    };
    for (data, padding) in [(5, 1), (5, 200), (16_000, 384), (0, 16_000)] {
        let said = padded(&mut client, data, padding);
        let (heard, _, outcome) = heard(&mut server, &said);
        assert_eq!((heard.len(), outcome), (data, Ok(false)));
    }
}

#[test]
fn an_inner_text_beyond_a_full_record_is_refused() {
    let (mut server, mut client) = pair();
    let tx = client.tx.as_mut().unwrap();
    let mut inner = vec![b'x'; RECORD_PLAIN_MAX + 1];
    inner.push(APPLICATION_DATA);
    let header = header_of(inner.len() + TAG);
    let nonce = tx.nonce().unwrap();
    tx.key.seal_in_place_append_tag(nonce, aead::Aad::from(header), &mut inner).unwrap();
    let (data, output, outcome) = heard(&mut server, &[&header[..], &inner].concat());
    assert!(data.is_empty() && outcome.is_err());
    let alert = alert_heard(&mut client, &output);
    assert_eq!(alert, Some(TlsFault::Alert("RecordOverflow".to_owned())));
}

#[test]
fn work_without_data_is_bounded_and_data_makes_it_good() {
    for (kind, content) in [(APPLICATION_DATA, &b""[..]), (ALERT, &[WARNING, 90])] {
        let (mut server, mut client) = pair();
        for _ in 0..2 {
            for _ in 0..DATALESS_MAX {
                let said = record(&mut client, kind, content);
                assert_eq!(heard(&mut server, &said).2, Ok(false));
            }
            let said = record(&mut client, APPLICATION_DATA, b"data");
            assert_eq!(heard(&mut server, &said).0, b"data");
        }
        let said: Vec<u8> =
            (0..=DATALESS_MAX).flat_map(|_| record(&mut client, kind, content)).collect();
        assert!(heard(&mut server, &said).2.is_err(), "content type {kind}");
    }
}

#[test]
fn an_alert_ends_the_connection_and_is_not_answered() {
    let (mut server, mut client) = pair();
    let said = record(&mut client, ALERT, &[FATAL, AlertDescription::BadCertificate.into()]);
    let (_, output, outcome) = heard(&mut server, &said);
    assert_eq!(outcome, Err(TlsFault::Alert("BadCertificate".to_owned())));
    assert!(output.is_empty());
}

#[test]
fn nothing_is_opened_behind_a_close_notify_and_nothing_sealed_behind_ours() {
    let (mut server, mut client) = pair();
    let mut said = Buffer::new();
    client.encrypt(b"bye", &mut said).unwrap();
    client.close_notify(&mut said).unwrap();
    let behind = [said.filled(), b"anything at all"].concat();
    assert_eq!(heard(&mut server, &behind), (b"bye".to_vec(), Vec::new(), Ok(true)));
    // An order to change keys finds nobody who could announce his own.
    let mut update = Buffer::new();
    server.encrypt(b"late", &mut update).unwrap();
    let order = [KEY_UPDATE, 0, 0, 1, UPDATE_REQUESTED];
    server.tx.as_mut().unwrap().seal(HANDSHAKE, &order, &mut update).unwrap();
    assert_eq!(heard(&mut client, update.filled()), (b"late".to_vec(), Vec::new(), Ok(false)));
}

#[test]
fn a_ticket_in_pieces_is_taken_and_one_too_long_is_not() {
    let (mut server, mut client, ticket) = pair_and_ticket();
    // The server's own ticket, opened, so that it can be sent in other records.
    let mut opened = Buffer::new();
    let header = *ticket.first_chunk().unwrap();
    let (kind, octets) = client.rx.open(header, &ticket[RECORD_HEADER..], &mut opened).unwrap();
    assert_eq!(kind, HANDSHAKE);
    let message = opened.room(octets)[..octets].to_vec();
    for octet in &message {
        let said = record(&mut server, HANDSHAKE, &[*octet]);
        client.dataless = 0;
        assert_eq!(heard(&mut client, &said).2, Ok(false));
    }
    assert!(client.message.is_empty(), "the last octet completed it");
    let said = record(&mut server, HANDSHAKE, &[NEW_SESSION_TICKET, 0, 0x80, 1]);
    assert!(heard(&mut client, &said).2.is_err());
}

#[test]
fn who_asks_for_new_keys_gets_them_announced_under_the_old() {
    let (mut server, mut client) = pair();
    let order = record(&mut server, HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, UPDATE_REQUESTED]);
    server.tx = Some(server.keys.next_tx().unwrap());
    assert_eq!(heard(&mut client, &order), (Vec::new(), Vec::new(), Ok(false)));
    let mut said = Buffer::new();
    client.encrypt(b"on it goes", &mut said).unwrap();
    assert_eq!(heard(&mut server, said.filled()).0, b"on it goes");
    let new = [server.rx.number, client.tx.as_ref().unwrap().number];
    assert_eq!(new, [1, 1], "the first record under the new key");
    // Nobody asked for an answer to the answer.
    let order = record(&mut server, HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, UPDATE_NOT_REQUESTED]);
    assert_eq!(heard(&mut client, &order).1, b"");
}

#[test]
fn who_asks_for_new_keys_again_and_again_gets_one_answer() {
    let (mut server, mut client) = pair();
    for _ in 0..100 {
        let order = record(&mut server, HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, UPDATE_REQUESTED]);
        server.tx = Some(server.keys.next_tx().unwrap());
        let data = record(&mut server, APPLICATION_DATA, b"x");
        let (data, answer, outcome) = heard(&mut client, &[order, data].concat());
        assert_eq!((&data[..], &answer[..], outcome), (&b"x"[..], &b""[..], Ok(false)));
    }
    let mut said = Buffer::new();
    client.encrypt(b"one", &mut said).unwrap();
    assert_eq!(said.filled().len(), 2 * (RECORD_HEADER + 1 + TAG) + 5 + 3);
    assert_eq!(heard(&mut server, said.filled()).0, b"one");
}

#[test]
fn a_key_serves_no_longer_than_its_suite_allows() {
    let (mut server, mut client) = pair();
    for (from, to) in [(&mut server, &mut client)] {
        from.records_max = 4;
        let mut said = Buffer::new();
        for octet in 0..40 {
            from.encrypt(&[octet], &mut said).unwrap();
            assert!(from.tx.as_ref().unwrap().number < 4);
        }
        assert_eq!(heard(to, said.filled()).0, (0..40).collect::<Vec<u8>>());
    }
}

/// A layer of ours that has finished its handshake with rustls' buffered client, as a server.
struct WithRustls {
    layer: TlsLayer,
    peer: Peer,
}

impl WithRustls {
    /// `early`: what the client says with the end of its handshake, and how the server hears it.
    fn new(role: Role, early: impl FnOnce(&mut Peer), piece: usize) -> (Self, Vec<u8>) {
        let (server, client) = configs();
        let name = server_name(NAME).unwrap();
        let (layer, peer): (_, Peer) = match role {
            Role::Server => {
                let peer = rustls::ClientConnection::new(client, name).unwrap();
                (TlsLayer::server(server, Vec::new()).unwrap(), peer.into())
            }
            Role::Client => {
                let peer = ServerConnection::new(server).unwrap();
                (TlsLayer::client(client, name, Vec::new()).unwrap(), peer.into())
            }
        };
        let mut it = Self { layer, peer };
        if role == Role::Client {
            it.hear(&[]);
        }
        while it.peer.is_handshaking() {
            it.pass(usize::MAX);
        }
        early(&mut it.peer);
        let data = it.pass(piece);
        assert!(it.layer.take_up().is_some(), "both have finished");
        (it, data)
    }

    /// Gives the layer all that the peer has to say, in pieces.
    fn pass(&mut self, piece: usize) -> Vec<u8> {
        let mut wire = Vec::new();
        while self.peer.wants_write() {
            self.peer.write_tls(&mut wire).unwrap();
        }
        wire.chunks(piece.min(wire.len().max(1))).flat_map(|piece| self.hear(piece)).collect()
    }

    /// The layer hears octets; what it answers reaches the peer.
    fn hear(&mut self, octets: &[u8]) -> Vec<u8> {
        let (mut data, mut output) = (Buffer::new(), Buffer::new());
        let mut input = [&self.layer.held, octets].concat();
        self.layer.process(&mut input, &mut output, &mut data).unwrap();
        assert!(self.tell(output.filled()).is_empty(), "answers are no data");
        data.filled().to_vec()
    }

    /// What the peer gets from records.
    fn tell(&mut self, mut records: &[u8]) -> Vec<u8> {
        let mut heard = Vec::new();
        while !records.is_empty() {
            self.peer.read_tls(&mut records).unwrap();
            let state = self.peer.process_new_packets().unwrap();
            let before = heard.len();
            heard.resize(before + state.plaintext_bytes_to_read(), 0);
            self.peer.reader().read_exact(&mut heard[before..]).unwrap();
        }
        heard
    }

    /// The layer says something, and the peer hears it.
    fn say(&mut self, data: &[u8]) {
        let mut output = Buffer::new();
        self.layer.encrypt(data, &mut output).unwrap();
        assert!(self.tell(output.filled()) == data);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Server,
    Client,
}

fn update_and_say(peer: &mut Peer, data: &[u8]) {
    match peer {
        Peer::Client(client) => client.refresh_traffic_keys().unwrap(),
        Peer::Server(server) => server.refresh_traffic_keys().unwrap(),
    }
    peer.writer().write_all(data).unwrap();
}

#[test]
fn keys_change_in_both_directions_with_rustls_and_behind_the_handshake_at_once() {
    for role in [Role::Server, Role::Client] {
        for piece in [usize::MAX, 1, 7, 64] {
            let early = |peer: &mut Peer| {
                peer.writer().write_all(b"before ").unwrap();
                update_and_say(peer, b"behind");
            };
            let (mut it, data) = WithRustls::new(role, early, piece);
            assert_eq!(data, b"before behind", "{role:?} in pieces of {piece}");
            it.say(b"with a new key");
            for round in 0..5 {
                update_and_say(&mut it.peer, &[round; 20_000]);
                assert_eq!(it.pass(piece), [round; 20_000]);
                it.say(&[round; 40_000]);
            }
        }
    }
}

fn sixty_four() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) }
}

proptest! {
    #![proptest_config(sixty_four())]

    /// However records are cut on their way, and whatever their sizes, the same octets arrive.
    #[test]
    fn cuts_and_sizes_change_nothing(
        sizes in prop::collection::vec(0_usize..40_000, 1..6),
        piece in 1_usize..30_000,
        updates in prop::collection::vec(any::<bool>(), 6),
    ) {
        let (mut it, _) = WithRustls::new(Role::Server, |_| (), usize::MAX);
        it.peer.set_buffer_limit(None);
        let mut all = Vec::new();
        for (turn, (size, update)) in sizes.iter().zip(updates).enumerate() {
            let data = vec![turn as u8; *size];
            if update {
                update_and_say(&mut it.peer, &data);
            } else {
                it.peer.writer().write_all(&data).unwrap();
            }
            all.extend(data);
        }
        prop_assert!(it.pass(piece) == all);
        it.say(&all[..all.len().min(16_000)]);
    }
}
