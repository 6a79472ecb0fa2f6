//! A script's lines, read.
//!
//! One pass from top to bottom: the header, then the timeline, in which an input after a line of
//! the proxy's begins a new [`Block`]. A fault names its line; the first one ends the reading.
//!
//! Not here: whether a timeline makes sense (an answer that nobody asked for); that shows in a run.

use std::path::Path;
use std::sync::Arc;

use gatepost_core::config::{Listener, Protocol};
use gatepost_core::health::Rules;
use gatepost_core::{ConnectFault, Leg, LegFault, Peer, Refusal, TlsFacts, TlsFault};

use super::answer;
use super::header::{Keys, listener, parsed, route, rules, span, text_of};
use super::text::{expand, words};
use super::timeline::{
    Block, Deed, Emission, Expected, Fault, Input, Party, Place, Reply, Routes, Script, Skip, What,
    World,
};

/// The script that a file's text holds.
pub(super) fn parse(path: &Path, text: &str) -> Result<Script, Fault> {
    let mut reader = Reader::default();
    for (position, line) in text.lines().enumerate() {
        reader.line(position + 1, line).map_err(|problem| Fault::new(position + 1, problem))?;
    }
    reader.finish(path, text).map_err(|problem| Fault::new(1, problem))
}

#[derive(Default)]
struct Reader {
    listener: Option<Listener>,
    routes: Vec<super::header::Route>,
    rules: Option<Rules>,
    skips: Vec<Skip>,
    blocks: Vec<Block>,
}

impl Reader {
    fn line(&mut self, number: usize, line: &str) -> Result<(), String> {
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        if line.ends_with(|last: char| last.is_whitespace()) {
            return Err("the line ends in white space; write \\x20 if it is meant".into());
        }
        let (key, text) = line.split_once(':').ok_or("the line has no KEY: in front")?;
        let text = text.strip_prefix(' ').unwrap_or(text);
        match key {
            "listen" | "route" | "fleet" | "skip" if !self.blocks.is_empty() => {
                Err("the header stands before the timeline".into())
            }
            "listen" if self.listener.is_some() => Err("listen: stands twice".into()),
            "listen" => {
                self.listener = Some(listener(text)?);
                Ok(())
            }
            "route" => {
                self.routes.push(route(text, self.protocol()?)?);
                Ok(())
            }
            "fleet" if self.rules.is_some() => Err("fleet: stands twice".into()),
            "fleet" => {
                self.rules = Some(rules(text)?);
                Ok(())
            }
            "skip" => {
                self.skips.push(skip(text)?);
                Ok(())
            }
            "W" => self.input(number, What::World(world(text)?)),
            "C" => self.input(number, What::Bytes(Leg::Client, expand(text)?.with_line_end())),
            "B" => self.input(number, What::Bytes(Leg::Backend, expand(text)?.with_line_end())),
            "P>C" => self.sent(number, Leg::Client, text),
            "P>B" => self.sent(number, Leg::Backend, text),
            "P" => self.expect(number, Emission::Did(deed(text)?)),
            _ => Err(format!("{key:?} begins no line")),
        }
    }

    fn protocol(&self) -> Result<Protocol, String> {
        let listener = self.listener.as_ref().ok_or("listen: stands before route:")?;
        Ok(listener.protocol)
    }

    fn input(&mut self, number: usize, what: What) -> Result<(), String> {
        let is_client = matches!(what, What::World(World::Client { .. }));
        if is_client != self.blocks.is_empty() {
            return Err("a timeline begins with one `W: client ADDR -> ADDR`".into());
        }
        self.protocol()?;
        if matches!(&what, What::Bytes(_, octets) if octets.is_empty()) {
            return Err("nothing is sent".into());
        }
        if self.blocks.last().is_none_or(|block| !block.expected.is_empty()) {
            self.blocks.push(Block::default());
        }
        let block = self.blocks.last_mut().ok_or("no block")?;
        block.inputs_end = number;
        match (what, block.inputs.last_mut()) {
            (What::Bytes(leg, more), Some(Input { what: What::Bytes(last, octets), .. }))
                if *last == leg =>
            {
                octets.extend(more);
            }
            (what, _) => block.inputs.push(Input { line: number, what }),
        }
        Ok(())
    }

    fn sent(&mut self, number: usize, leg: Leg, text: &str) -> Result<(), String> {
        self.expect(number, Emission::Sent(leg, expand(text)?.with_line_end()))
    }

    fn expect(&mut self, number: usize, what: Emission) -> Result<(), String> {
        let block = self.blocks.last_mut();
        let block = block.ok_or("a timeline begins with `W: client ADDR -> ADDR`")?;
        block.expected.push(Expected { line: number, what });
        Ok(())
    }

    fn finish(self, path: &Path, text: &str) -> Result<Script, String> {
        let mut listener = self.listener.ok_or("listen: is missing")?;
        if self.blocks.is_empty() {
            return Err("the timeline is missing".into());
        }
        let mut named = Vec::new();
        let mut default = None;
        for found in self.routes {
            match found.user {
                Some(user) => named.push((user, found.destination)),
                None => default = Some(found.destination),
            }
        }
        let default = match default {
            Some(default) => default,
            None => route("* -> default.test:143 plain", listener.protocol)?.destination,
        };
        if !listener.protocol.bears_credentials() {
            listener.bridge = Some(Arc::clone(&default));
        }
        Ok(Script {
            path: path.to_owned(),
            lines: text.lines().map(String::from).collect(),
            listener: Arc::new(listener),
            routes: Routes { named, default },
            rules: self.rules.unwrap_or_default(),
            skips: self.skips,
            blocks: self.blocks,
        })
    }
}

fn skip(text: &str) -> Result<Skip, String> {
    let (place, reason) =
        text.split_once(" because ").ok_or("a skip is `skip: core because REASON`")?;
    let place = match place {
        "core" => Place::Core,
        "mio" => Place::Mio,
        "tokio" => Place::Tokio,
        "threads" => Place::Threads,
        _ => {
            let places = "core, mio, tokio, threads";
            return Err(format!("{place:?} is no place where scripts run: {places}"));
        }
    };
    Ok(Skip { place, reason: reason.into() })
}

fn world(text: &str) -> Result<World, String> {
    let words = words(text)?;
    let all: Vec<&str> = words.iter().map(String::as_str).collect();
    Ok(match all.as_slice() {
        ["client", client, "->", local, ..] => {
            let mut keys = Keys::read(&words[4..])?;
            let refused = keys.take("refused", refusal)?;
            keys.finish()?;
            World::Client { peer: Peer { client: parsed(client)?, local: parsed(local)? }, refused }
        }
        ["late", ..] => {
            let (_, answer) = text.split_once("late ").ok_or("late wants an answer")?;
            World::Late(reply(answer)?)
        }
        [time, "pass"] => World::Pass(span(time)?),
        [side, "eof"] => World::Eof(leg(side)?),
        [side, "lost", fault] => World::Lost(leg(side)?, leg_fault(fault)?),
        ["drain"] => World::Drain,
        ["kicked"] => World::Kicked,
        _ => World::Answer(reply(text)?),
    })
}

fn reply(text: &str) -> Result<Reply, String> {
    let words = words(text)?;
    let all: Vec<&str> = words.iter().map(String::as_str).collect();
    Ok(match all.as_slice() {
        ["tls", side, "up", ..] => Reply::TlsUp(party(side)?, tls_facts(&words[3..])?),
        ["tls", side, "failed", fault] => Reply::TlsFailed(party(side)?, tls_fault(fault)?),
        ["found", ..] => Reply::Found(answer::found(&words[1..])?),
        ["referred", ..] => Reply::Referred(answer::referral(&words[1..])?),
        ["denied", ..] => Reply::Denied(answer::denial(&words[1..])?),
        ["later", time] => Reply::Later(span(time)?),
        ["lookup", "unavailable"] => Reply::Unavailable,
        ["connected", ..] => {
            let mut keys = Keys::read(&words[1..])?;
            let remembered = keys.take("remembered", |text| Ok(expand(text)?.octets))?;
            keys.finish()?;
            Reply::Connected { remembered }
        }
        ["connect", "failed", fault] => Reply::ConnectFailed(connect_fault(fault)?),
        _ => return Err(format!("{text:?} is nothing that can happen")),
    })
}

fn tls_facts(words: &[String]) -> Result<TlsFacts, String> {
    let mut keys = Keys::read(words)?;
    let server_name = keys.take("sni", text_of)?;
    let (version, cipher) = match keys.take("version", text_of)?.as_deref() {
        None | Some("TLSv1.3") => ("TLSv1.3", "TLS_AES_256_GCM_SHA384"),
        Some("TLSv1.2") => ("TLSv1.2", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
        Some(other) => return Err(format!("{other:?} is not TLSv1.2 or TLSv1.3")),
    };
    let alpn = keys.take("alpn", |text| Ok(text.as_bytes().into()))?;
    keys.finish()?;
    Ok(TlsFacts { version, cipher, server_name, alpn, resumed: false })
}

fn deed(text: &str) -> Result<Deed, String> {
    let all: Vec<&str> = text.split(' ').collect();
    Ok(match all.as_slice() {
        ["starttls", side] => Deed::StartTls(party(side)?),
        ["lookup", "-"] => Deed::Lookup(None),
        ["lookup", ..] => {
            let identifier = text.strip_prefix("lookup ").ok_or("lookup wants whom")?;
            Deed::Lookup(Some(expand(identifier)?.octets))
        }
        ["connect", place] => Deed::Connect((*place).into()),
        ["hang", "up"] => Deed::HangUp,
        ["splice"] => Deed::Splice,
        ["eof", side] => Deed::Eof(leg(side)?),
        ["close", by, reason, state]
            if by.starts_with("by=")
                && reason.starts_with("reason=")
                && state.starts_with("state=") =>
        {
            Deed::Close(format!("{by} {reason} {state}"))
        }
        _ => return Err(format!("{text:?} is nothing that the proxy does")),
    })
}

fn leg(text: &str) -> Result<Leg, String> {
    match text {
        "client" => Ok(Leg::Client),
        "backend" => Ok(Leg::Backend),
        _ => Err(format!("{text:?} is neither client nor backend")),
    }
}

fn party(text: &str) -> Result<Party, String> {
    match text {
        "balancer" => Ok(Party::Balancer),
        _ => Ok(match leg(text)? {
            Leg::Client => Party::Client,
            Leg::Backend => Party::Backend,
        }),
    }
}

fn refusal(text: &str) -> Result<Refusal, String> {
    match text {
        "limit" => Ok(Refusal::TooManyConnections),
        "drain" => Ok(Refusal::ShuttingDown),
        _ => Err(format!("{text:?} is not limit or drain")),
    }
}

fn leg_fault(text: &str) -> Result<LegFault, String> {
    let all = [LegFault::Reset, LegFault::TimedOut, LegFault::Tls, LegFault::Io];
    one_of(text, &all)
}

fn tls_fault(text: &str) -> Result<TlsFault, String> {
    let all = [
        TlsFault::Protocol,
        TlsFault::NoCommonGround,
        TlsFault::Certificate,
        TlsFault::Alert,
        TlsFault::Closed,
        TlsFault::Setup,
    ];
    one_of(text, &all)
}

fn connect_fault(text: &str) -> Result<ConnectFault, String> {
    let all = [
        ConnectFault::Refused,
        ConnectFault::Unreachable,
        ConnectFault::TimedOut,
        ConnectFault::NoAddress,
        ConnectFault::Exhausted,
        ConnectFault::OwnListener,
        ConnectFault::NoSourceAddress,
        ConnectFault::Io,
    ];
    one_of(text, &all)
}

fn one_of<T: Copy + ToString>(text: &str, all: &[T]) -> Result<T, String> {
    all.iter().copied().find(|value| value.to_string() == text).ok_or_else(|| {
        let names: Vec<String> = all.iter().map(T::to_string).collect();
        format!("{text:?} is not one of {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const OPENING: &str = "listen: imap\n\nW: client 192.0.2.7:50123 -> 198.51.100.1:143\n";

    fn read(rest: &str) -> Result<Script, Fault> {
        parse(Path::new("test.script"), &format!("{OPENING}{rest}"))
    }

    #[test]
    fn inputs_behind_output_begin_a_block_and_lines_of_one_side_are_one_chunk() {
        let script = read("P>C: hello\nC: a\n# between\nC: b\\\nB: c\nP: splice\nC: d\n").unwrap();
        assert_eq!(script.blocks.len(), 3);
        let inputs = &script.blocks[1].inputs;
        assert!(matches!(&inputs[0].what, What::Bytes(Leg::Client, octets) if octets == b"a\r\nb"));
        assert!(matches!(&inputs[1].what, What::Bytes(Leg::Backend, octets) if octets == b"c\r\n"));
        assert_eq!(script.blocks[1].inputs_end, 8);
        assert!(script.blocks[2].expected.is_empty());
    }

    #[test]
    fn everybody_has_a_route() {
        let script = parse(
            Path::new("test.script"),
            "listen: imap\nroute: a -> one.test:993 implicit\n\
             W: client 192.0.2.7:1 -> 198.51.100.1:2\n",
        )
        .unwrap();
        assert_eq!(script.routes.find(Some(b"a")).hosts[0].name, "one.test");
        assert_eq!(script.routes.find(Some(b"b")).hosts[0].name, "default.test");
        assert_eq!(script.routes.find(None).hosts[0].name, "default.test");
    }

    #[test]
    fn a_fault_names_its_line() {
        let fault = |rest| read(rest).unwrap_err().line;
        assert_eq!(fault("C: a\nQ: b\n"), 5);
        assert_eq!(fault("C: a \n"), 4);
        assert_eq!(fault("W: sunrise\n"), 4);
        assert_eq!(fault("P: dance\n"), 4);
        assert_eq!(fault("P>C: \\q\n"), 4);
        assert_eq!(fault("C: \\\n"), 4);
        assert_eq!(fault("listen: imap\n"), 4);
        assert_eq!(fault("W: client 192.0.2.7:1 -> 198.51.100.1:2\n"), 4);
        assert!(parse(Path::new("x"), "C: a\n").is_err());
        assert!(parse(Path::new("x"), "listen: imap\n").is_err());
        assert!(parse(Path::new("x"), "listen: imap\nC: a\n").is_err());
    }

    #[test]
    fn every_line_of_the_world_can_be_read() {
        for text in [
            "tls client up sni=mail.example.com version=TLSv1.2",
            "tls backend failed no-common-ground",
            "tls balancer up alpn=imap",
            "found",
            "found alice",
            "found alice login=a:b alert=\"read this\" at=192.0.2.1:143",
            "referred user=bob host=two.test port=1143",
            "denied text=\"no more\" code=\"535 5.7.8\" judged=yes hold=5s last=yes",
            "lookup unavailable",
            "connected remembered=\"IMAP4rev1 SASL-IR\"",
            "connect failed timed-out",
            "late found bob",
            "late connect failed refused",
            "9s pass",
            "client eof",
            "backend lost reset",
            "drain",
            "kicked",
        ] {
            world(text).unwrap();
        }
        for text in [
            "tls client",
            "found a b",
            "referred",
            "denied code=200",
            "found login=a",
            "client lost",
            "9 pass",
            "late",
            "tls up",
        ] {
            assert!(world(text).is_err(), "{text}");
        }
    }
}
