//! Which scripts can be played over sockets, and why others cannot.

use gatepost_core::{Denial, LegFault, Refusal, TlsFault};

use super::super::timeline::{Deed, Emission, Party, Reply, Script, What, World};

/// Why a script runs in the core alone, if it does.
pub(in super::super) fn out_of_scope(script: &Script) -> Option<&'static str> {
    let mut known = None;
    let mut in_relay = false;
    let mut settled = false;
    for block in &script.blocks {
        for (position, input) in block.inputs.iter().enumerate() {
            let reason = match &input.what {
                What::Bytes(..) => None,
                What::World(World::Answer(Reply::Connected { remembered }))
                    if *known.get_or_insert(remembered) != remembered =>
                {
                    Some("what is remembered changes")
                }
                What::World(World::Drain | World::Kicked) if !settled || position > 0 => {
                    Some("an order at a moment that nobody can see")
                }
                What::World(World::Drain) if in_relay => Some("the end of the grace"),
                What::World(world) => unable(world),
            };
            if reason.is_some() {
                return reason;
            }
        }
        in_relay |= block
            .expected
            .iter()
            .any(|expected| matches!(expected.what, Emission::Did(Deed::Splice)));
        settled = block.expected.iter().any(|expected| matches!(expected.what, Emission::Sent(..)));
    }
    None
}

fn unable(world: &World) -> Option<&'static str> {
    match world {
        World::Pass(_) => Some("time"),
        World::Late(_) => Some("a late answer"),
        World::Drain | World::Kicked => None,
        World::Answer(reply) => unable_to_answer(reply),
        World::Client { refused: Some(Refusal::ShuttingDown), .. } => {
            Some("no admission because of a shutdown")
        }
        World::Lost(_, LegFault::Reset) | World::Client { .. } | World::Eof(_) => None,
        World::Lost(_, LegFault::TimedOut | LegFault::Tls | LegFault::Io) => {
            Some("a connection broken otherwise than by reset")
        }
    }
}

fn unable_to_answer(reply: &Reply) -> Option<&'static str> {
    match reply {
        Reply::TlsUp(..)
        | Reply::Found(_)
        | Reply::Referred(_)
        | Reply::Denied(Denial { hold: None, .. })
        | Reply::Unavailable
        | Reply::Connected { .. }
        | Reply::ConnectFailed(_) => None,
        Reply::Denied(_) | Reply::Later(_) => Some("time"),
        Reply::TlsFailed(_, TlsFault::Protocol | TlsFault::Alert | TlsFault::Closed)
        | Reply::TlsFailed(Party::Backend, TlsFault::Certificate) => None,
        Reply::TlsFailed(..) => Some("a handshake's failure that this side cannot cause"),
    }
}
