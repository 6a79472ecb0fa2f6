//! TLS 1.3 behind its handshake: records sealed and opened with the keys that rustls agreed on.
//!
//! Not the handshake, nor how the next secrets follow from the last or what a ticket is good for:
//! that is rustls', which hands over here (`rustls::kernel`). What is left is RFC 8446 §5, and §4.6
//! as far as a message can still come: tickets from a server, and changes of keys.
//!
//! Why at all: of what a connection of rustls keeps, all but the keys served the handshake, and it
//! copies each octet twice on its way into a record. An idle layer costs 2.2 KiB so, where rustls'
//! own was 3.6: two keys with their tables (1.2), what rustls needs for the next secrets (0.8, and
//! toward a backend its chain of certificates), 0.2 of ours. With TLS on both legs a GiB costs
//! a quarter less CPU, and what is left of it is the cipher (45%) and the kernel (50%).
//!
//! Invariants: a record is opened and sealed from where it is straight to where it goes, and what
//! is opened counts only once its tag was right. A nonce is used once, as the number of a record
//! only grows, and a key protects no more records than its suite's limit. Nothing is sealed behind
//! our close_notify, and nothing is opened behind the peer's. After an `Offence` only its alert
//! goes out. Next: `tls_layer.rs`.

#[cfg(test)]
mod tests;

use std::mem;

use aws_lc_rs::aead;
use rustls::client::ClientConnectionData;
use rustls::crypto::cipher::{AeadKey, Iv, Nonce};
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use rustls::{
    AlertDescription, ConnectionTrafficSecrets, Error, ExtractedSecrets, SupportedCipherSuite,
};

use super::fault::TlsFault;
use super::scratch::{Buffer, RECORD_HEADER, RECORD_PLAIN_MAX};

/// Octets that protection adds to a record at most (RFC 8446 §5.2).
const RECORD_EXPANSION_MAX: usize = 256;
/// Octets of an authentication tag, of all suites that there are.
const TAG: usize = 16;
/// Records without data that may follow each other: each is work without use.
const DATALESS_MAX: u8 = 32;
/// Octets of a ticket's message that we take.
const TICKET_MAX: usize = 32 * 1024;

// Content types (RFC 8446 §5.1).
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

// Handshake messages (RFC 8446 §4).
const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;
/// Octets in front of a handshake message: its type and its length.
const MESSAGE_HEADER: usize = 4;

// What a change of keys asks of the one who hears of it (RFC 8446 §4.6.3).
const UPDATE_NOT_REQUESTED: u8 = 0;
const UPDATE_REQUESTED: u8 = 1;

// Levels of an alert (RFC 8446 §6).
const WARNING: u8 = 1;
const FATAL: u8 = 2;

/// Both directions of a connection.
pub(super) struct RecordLayer {
    /// None behind our close_notify.
    tx: Option<Protection>,
    rx: Protection,
    /// The peer asked for new keys of ours. It gets them with our next data and not at once:
    /// answers to a peer that only asks, and reads nothing, would pile up.
    answer_due: bool,
    keys: Keys,
    /// Records that one key may seal.
    records_max: u64,
    /// A handshake message whose end is still to come.
    message: Vec<u8>,
    /// Records without data since the last with some.
    dataless: u8,
}

/// How far one pass over the input came.
#[derive(Default)]
pub(super) struct Processed {
    /// Octets at the front of the input that nobody needs any more.
    pub(super) consumed: usize,
    /// The peer's close_notify is among them.
    pub(super) peer_closed: bool,
}

/// The part of rustls that knows the next secrets, and a client's tickets.
pub(super) enum Keys {
    Server(Box<KernelConnection<ServerConnectionData>>),
    Client(Box<KernelConnection<ClientConnectionData>>),
}

/// The key of one direction, and the number of its next record.
struct Protection {
    key: aead::LessSafeKey,
    iv: Iv,
    number: u64,
}

/// Why a connection cannot go on.
#[derive(Debug)]
enum Offence {
    /// The peer said so; nothing is said in return.
    Alerted(AlertDescription),
    /// A record that is not the peer's, or was changed on its way.
    BadMac,
    TooLong,
    /// Something that has no place here.
    Unexpected(&'static str),
    /// Something that breaks its own form.
    Malformed(&'static str),
    /// A value that is none of those there are.
    Illegal(&'static str),
    /// What rustls or its provider refused.
    Internal(Error),
}

/// What a record was.
enum Content {
    Data,
    CloseNotify,
    Other,
}

impl RecordLayer {
    pub(super) fn new(secrets: ExtractedSecrets, keys: Keys) -> Result<Self, Error> {
        let ExtractedSecrets { tx, rx } = secrets;
        Ok(Self {
            tx: Some(Protection::new(tx)?),
            rx: Protection::new(rx)?,
            answer_due: false,
            records_max: keys.records_max(),
            keys,
            message: Vec::new(),
            dataless: 0,
        })
    }

    /// Opens all whole records at the front of `input`; data goes to `data`, an alert that is due
    /// to `output`.
    pub(super) fn process(
        &mut self,
        input: &[u8],
        output: &mut Buffer,
        data: &mut Buffer,
    ) -> (Processed, Result<(), TlsFault>) {
        let mut done = Processed::default();
        while !done.peer_closed {
            match self.take_record(&input[done.consumed..], data) {
                Ok(None) => break,
                Ok(Some((octets, content))) => {
                    done.consumed += octets;
                    done.peer_closed = matches!(content, Content::CloseNotify);
                }
                Err(offence) => {
                    self.say_why(&offence, output);
                    return (done, Err(offence.into()));
                }
            }
        }
        (done, Ok(()))
    }

    /// Octets of buffers that it owns.
    pub(super) const fn held(&self) -> usize {
        self.message.capacity()
    }

    /// Seals `plain` into records as large as they may be.
    pub(super) fn encrypt(&mut self, plain: &[u8], output: &mut Buffer) -> Result<(), TlsFault> {
        for piece in plain.chunks(RECORD_PLAIN_MAX) {
            self.seal(APPLICATION_DATA, piece, output)?;
        }
        Ok(())
    }

    /// Says that nothing follows, once.
    pub(super) fn close_notify(&mut self, output: &mut Buffer) -> Result<(), TlsFault> {
        let alert = [WARNING, AlertDescription::CloseNotify.into()];
        self.seal(ALERT, &alert, output)?;
        self.tx = None;
        Ok(())
    }

    /// Opens the record at the front of `input`, if all of it is there; its octets, and what it
    /// was.
    fn take_record(
        &mut self,
        input: &[u8],
        data: &mut Buffer,
    ) -> Result<Option<(usize, Content)>, Offence> {
        let Some((header, rest)) = input.split_first_chunk() else { return Ok(None) };
        let sealed = sealed_len(*header)?;
        let Some(body) = rest.get(..sealed) else { return Ok(None) };
        // What is no data is looked at behind what is filled, and left there.
        let (kind, length) = self.rx.open(*header, body, data)?;
        if kind == APPLICATION_DATA && length > 0 {
            self.dataless = 0;
        } else if self.dataless == DATALESS_MAX {
            return Err(Offence::Unexpected("too many records without data"));
        } else {
            self.dataless += 1;
        }
        if kind != HANDSHAKE && !self.message.is_empty() {
            // RFC 8446 §5.1: nothing comes between the records of a handshake message.
            return Err(Offence::Unexpected("a record within a handshake message"));
        }
        let content = match kind {
            APPLICATION_DATA => {
                data.fill(length);
                Content::Data
            }
            ALERT => hear_alert(&data.room(length)[..length])?,
            HANDSHAKE => {
                self.hear_handshake(&data.room(length)[..length])?;
                Content::Other
            }
            _ => return Err(Offence::Unexpected("a record of unknown content")),
        };
        Ok(Some((RECORD_HEADER + sealed, content)))
    }

    /// Takes a piece of handshake messages.
    fn hear_handshake(&mut self, piece: &[u8]) -> Result<(), Offence> {
        if piece.is_empty() {
            // RFC 8446 §5.1: only data may be of no octets.
            return Err(Offence::Unexpected("an empty handshake record"));
        }
        let mut messages = mem::take(&mut self.message);
        messages.extend_from_slice(piece);
        let mut rest = &messages[..];
        while let Some((kind, length)) = self.message_header(rest)? {
            let Some(message) = rest.get(MESSAGE_HEADER..MESSAGE_HEADER + length) else { break };
            rest = &rest[MESSAGE_HEADER + length..];
            match kind {
                MessageKind::Ticket => {
                    self.keys.take_ticket(message)?;
                    // It is of use, and there may be many of them.
                    self.dataless = 0;
                }
                // RFC 8446 §5.1: nothing follows in the record that changes the keys.
                MessageKind::KeyUpdate if rest.is_empty() => self.change_keys(message)?,
                MessageKind::KeyUpdate => {
                    return Err(Offence::Unexpected("a message behind a change of keys"));
                }
            }
        }
        self.message = rest.to_vec();
        Ok(())
    }

    /// What message begins here and how long it is, as soon as that can be said.
    fn message_header(&self, octets: &[u8]) -> Result<Option<(MessageKind, usize)>, Offence> {
        let Some(&[kind, high, middle, low]) = octets.first_chunk() else { return Ok(None) };
        let length = u32::from_be_bytes([0, high, middle, low]) as usize;
        match (kind, &self.keys) {
            (KEY_UPDATE, _) if length == 1 => Ok(Some((MessageKind::KeyUpdate, length))),
            (KEY_UPDATE, _) => Err(Offence::Malformed("a change of keys of a wrong length")),
            (NEW_SESSION_TICKET, Keys::Client(_)) if length <= TICKET_MAX => {
                Ok(Some((MessageKind::Ticket, length)))
            }
            (NEW_SESSION_TICKET, Keys::Client(_)) => Err(Offence::Malformed("a ticket too long")),
            _ => Err(Offence::Unexpected("a handshake message")),
        }
    }

    fn change_keys(&mut self, message: &[u8]) -> Result<(), Offence> {
        let requested = match message {
            [UPDATE_NOT_REQUESTED] => false,
            [UPDATE_REQUESTED] => true,
            _ => return Err(Offence::Illegal("a change of keys that asks for something else")),
        };
        self.rx = self.keys.next_rx()?;
        self.answer_due |= requested;
        Ok(())
    }

    /// Goes over to the next key of ours (RFC 8446 §4.6.3).
    fn announce_keys(&mut self, output: &mut Buffer) -> Result<(), Offence> {
        let Some(tx) = &mut self.tx else { return Ok(()) };
        tx.seal(HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, UPDATE_NOT_REQUESTED], output)?;
        *tx = self.keys.next_tx()?;
        self.answer_due = false;
        Ok(())
    }

    /// Seals one record. A key that has served its time announces the next with its last record.
    fn seal(&mut self, kind: u8, plain: &[u8], output: &mut Buffer) -> Result<(), Offence> {
        let is_old = self.tx.as_ref().is_some_and(|tx| tx.number + 1 >= self.records_max);
        if is_old || (self.answer_due && kind == APPLICATION_DATA) {
            self.announce_keys(output)?;
        }
        let Some(tx) = &mut self.tx else {
            debug_assert!(false, "nothing follows a close_notify");
            return Err(Offence::Unexpected("octets behind our close_notify"));
        };
        tx.seal(kind, plain, output)
    }

    /// Tells the peer of its offence. What cannot be said is left unsaid.
    fn say_why(&mut self, offence: &Offence, output: &mut Buffer) {
        if let (Some(alert), Some(tx)) = (offence.alert(), &mut self.tx) {
            let _ = tx.seal(ALERT, &[FATAL, alert.into()], output);
        }
        self.tx = None;
    }
}

/// What a peer may still say of the handshake's.
enum MessageKind {
    Ticket,
    KeyUpdate,
}

impl Protection {
    fn new((number, secrets): (u64, ConnectionTrafficSecrets)) -> Result<Self, Error> {
        match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => {
                Self::of(&aead::AES_128_GCM, &key, iv, number)
            }
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => {
                Self::of(&aead::AES_256_GCM, &key, iv, number)
            }
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => {
                Self::of(&aead::CHACHA20_POLY1305, &key, iv, number)
            }
            _ => Err(Error::General("a suite of TLS 1.3 that is not known here".to_owned())),
        }
    }

    fn of(
        algorithm: &'static aead::Algorithm,
        key: &AeadKey,
        iv: Iv,
        number: u64,
    ) -> Result<Self, Error> {
        debug_assert_eq!(algorithm.tag_len(), TAG);
        match aead::UnboundKey::new(algorithm, key.as_ref()) {
            Ok(key) => Ok(Self { key: aead::LessSafeKey::new(key), iv, number }),
            Err(_) => Err(Error::General("a key of a wrong length".to_owned())),
        }
    }

    /// The nonce of the next record (RFC 8446 §5.3), which it is spent for whatever comes of it.
    fn nonce(&mut self) -> Result<aead::Nonce, Offence> {
        let nonce = Nonce::new(&self.iv, self.number);
        self.number = self.number.checked_add(1).ok_or(Offence::Internal(Error::EncryptError))?;
        Ok(aead::Nonce::assume_unique_for_key(nonce.0))
    }

    /// Opens the record of this header and body into the room behind what is filled: its content
    /// type, and the octets of content there.
    fn open(
        &mut self,
        header: [u8; RECORD_HEADER],
        body: &[u8],
        into: &mut Buffer,
    ) -> Result<(u8, usize), Offence> {
        let nonce = self.nonce()?;
        let Some((content, tag)) = body.split_last_chunk::<TAG>() else {
            return Err(Offence::BadMac);
        };
        let inner = &mut into.room(content.len())[..content.len()];
        self.key
            .open_separate_gather(nonce, aead::Aad::from(header), content, tag, inner)
            .map_err(|_| Offence::BadMac)?;
        // RFC 8446 §5.4: zeros behind the content type are padding.
        let Some(last) = inner.iter().rposition(|octet| *octet != 0) else {
            return Err(Offence::Unexpected("a record without a content type"));
        };
        if inner.len() > RECORD_PLAIN_MAX + 1 {
            return Err(Offence::TooLong);
        }
        Ok((inner[last], last))
    }

    /// Seals one record of at most `RECORD_PLAIN_MAX` octets.
    fn seal(&mut self, kind: u8, plain: &[u8], output: &mut Buffer) -> Result<(), Offence> {
        debug_assert!(plain.len() <= RECORD_PLAIN_MAX);
        let nonce = self.nonce()?;
        let header = header_of(plain.len() + 1 + TAG);
        let octets = RECORD_HEADER + plain.len() + 1 + TAG;
        let room = &mut output.room(octets)[..octets];
        let (front, body) = room.split_at_mut(RECORD_HEADER);
        front.copy_from_slice(&header);
        let (content, end) = body.split_at_mut(plain.len());
        self.key
            .seal_out_of_place_scatter(nonce, aead::Aad::from(header), plain, content, &[kind], end)
            .map_err(|_| Offence::Internal(Error::EncryptError))?;
        output.fill(octets);
        Ok(())
    }
}

impl Keys {
    fn records_max(&self) -> u64 {
        let suite = match self {
            Self::Server(server) => server.negotiated_cipher_suite(),
            Self::Client(client) => client.negotiated_cipher_suite(),
        };
        match suite {
            SupportedCipherSuite::Tls13(suite) => suite.common.confidentiality_limit,
            SupportedCipherSuite::Tls12(suite) => suite.common.confidentiality_limit,
        }
    }

    fn next_rx(&mut self) -> Result<Protection, Offence> {
        let secrets = match self {
            Self::Server(server) => server.update_rx_secret(),
            Self::Client(client) => client.update_rx_secret(),
        };
        secrets.and_then(Protection::new).map_err(Offence::Internal)
    }

    fn next_tx(&mut self) -> Result<Protection, Offence> {
        let secrets = match self {
            Self::Server(server) => server.update_tx_secret(),
            Self::Client(client) => client.update_tx_secret(),
        };
        secrets.and_then(Protection::new).map_err(Offence::Internal)
    }

    fn take_ticket(&mut self, message: &[u8]) -> Result<(), Offence> {
        match self {
            Self::Client(client) => client
                .handle_new_session_ticket(message)
                .map_err(|_| Offence::Malformed("a ticket that cannot be read")),
            Self::Server(_) => Err(Offence::Unexpected("a ticket from a client")),
        }
    }
}

impl Offence {
    /// What the peer is told of it (RFC 8446 §6.2).
    const fn alert(&self) -> Option<AlertDescription> {
        match self {
            Self::Alerted(_) => None,
            Self::BadMac => Some(AlertDescription::BadRecordMac),
            Self::TooLong => Some(AlertDescription::RecordOverflow),
            Self::Unexpected(_) => Some(AlertDescription::UnexpectedMessage),
            Self::Malformed(_) => Some(AlertDescription::DecodeError),
            Self::Illegal(_) => Some(AlertDescription::IllegalParameter),
            Self::Internal(_) => Some(AlertDescription::InternalError),
        }
    }
}

impl From<Offence> for TlsFault {
    fn from(offence: Offence) -> Self {
        match offence {
            Offence::Alerted(alert) => Self::from(&Error::AlertReceived(alert)),
            Offence::BadMac => Self::from(&Error::DecryptError),
            Offence::TooLong => Self::Protocol("a record too long".to_owned()),
            Offence::Unexpected(what) | Offence::Malformed(what) | Offence::Illegal(what) => {
                Self::Protocol(what.to_owned())
            }
            Offence::Internal(error) => Self::from(&error),
        }
    }
}

/// Octets behind the header of a sealed record.
fn sealed_len([kind, _, _, high, low]: [u8; RECORD_HEADER]) -> Result<usize, Offence> {
    let octets = usize::from(u16::from_be_bytes([high, low]));
    if kind != APPLICATION_DATA {
        return Err(Offence::Unexpected("a record that is not sealed"));
    }
    if octets > RECORD_PLAIN_MAX + RECORD_EXPANSION_MAX {
        return Err(Offence::TooLong);
    }
    Ok(octets)
}

/// The header in front of so many sealed octets.
fn header_of(sealed: usize) -> [u8; RECORD_HEADER] {
    debug_assert!(sealed <= RECORD_PLAIN_MAX + RECORD_EXPANSION_MAX);
    let [high, low] = (sealed as u16).to_be_bytes();
    [APPLICATION_DATA, 3, 3, high, low]
}

fn hear_alert(alert: &[u8]) -> Result<Content, Offence> {
    let &[_, description] = alert else {
        return Err(Offence::Malformed("an alert of a wrong length"));
    };
    // RFC 8446 §6: the level says nothing, and all but these two end the connection.
    let alert = AlertDescription::from(description);
    if alert == AlertDescription::CloseNotify {
        Ok(Content::CloseNotify)
    } else if alert == AlertDescription::UserCanceled {
        Ok(Content::Other)
    } else {
        Err(Offence::Alerted(alert))
    }
}
