//! The checks of real_servers.rs by subject, and the stage they share. Each check is a function of
//! the path that is to be tested, so that it can be tried without the proxy.

pub(crate) mod clients;
pub(crate) mod delivery;
pub(crate) mod front;
pub(crate) mod hosts;
pub(crate) mod identity;
pub(crate) mod peers;
pub(crate) mod pop3;
pub(crate) mod routing;
pub(crate) mod sessions;
pub(crate) mod sieve;
pub(crate) mod stage;
pub(crate) mod submission;
