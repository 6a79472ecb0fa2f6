//! Which scripts can be played over sockets, and why others cannot.

use gatepost_core::{ConnectFault, Leg, LegFault, Refusal, TlsFault};

use super::super::timeline::{Deed, Emission, Reply, Script, What, World};

/// Why a script runs in the core alone, if it does.
pub(in super::super) fn out_of_scope(script: &Script) -> Option<&'static str> {
    let mut asked = None;
    for block in &script.blocks {
        for input in &block.inputs {
            let reason = match &input.what {
                What::Bytes(..) => None,
                What::World(World::Answer(Reply::Found(Some(user)))) if Some(user) != asked => {
                    Some("a route that was not asked for")
                }
                What::World(world) => unable(world),
            };
            if reason.is_some() {
                return reason;
            }
        }
        let deeds = block.expected.iter().rev();
        let lookup = deeds.filter_map(|expected| match &expected.what {
            Emission::Did(Deed::Lookup(identifier)) => Some(identifier.as_ref()),
            Emission::Did(_) | Emission::Sent(..) => None,
        });
        asked = lookup.take(1).next().unwrap_or(asked);
    }
    None
}

fn unable(world: &World) -> Option<&'static str> {
    match world {
        World::Pass(_) => Some("time"),
        World::Late(_) => Some("a late answer"),
        World::Drain | World::Kicked => Some("an operator's order"),
        World::Answer(reply) => unable_to_answer(reply),
        World::Client { refused: Some(Refusal::ShuttingDown), .. } => Some("an operator's order"),
        World::Lost(_, LegFault::Reset) | World::Client { .. } | World::Eof(_) => None,
        World::Lost(_, LegFault::TimedOut | LegFault::Tls | LegFault::Io) => {
            Some("a connection broken otherwise than by reset")
        }
    }
}

fn unable_to_answer(reply: &Reply) -> Option<&'static str> {
    match reply {
        Reply::TlsUp(..) | Reply::Found(_) | Reply::Connected { remembered: None } => None,
        Reply::ConnectFailed(ConnectFault::Refused) => None,
        Reply::ConnectFailed(_) => Some("a failed connection other than refused"),
        Reply::Unavailable => Some("a store that does not answer"),
        Reply::Connected { remembered: Some(_) } => Some("what was remembered"),
        Reply::TlsFailed(_, TlsFault::Protocol | TlsFault::Alert | TlsFault::Closed)
        | Reply::TlsFailed(Leg::Backend, TlsFault::Certificate) => None,
        Reply::TlsFailed(..) => Some("a handshake's failure that this side cannot cause"),
    }
}
