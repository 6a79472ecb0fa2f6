//! The `routing` and `mapping` tables: which account goes to which destination.
//!
//! Not here: the tables' contents and the lookup.
//! Read next: `listener`, into which the rules for user names are merged.

use alloc::{string::String, sync::Arc};

use super::destination::Destination;

/// Where accounts go that no table knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routing {
    /// Speaks the protocol of every listener.
    pub default_destination: Arc<Destination>,
}

/// Where accounts go that a table knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The table.
    pub source: MappingSource,
}

/// A table of accounts and destinations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MappingSource {
    /// There is none: everybody goes to the default destination.
    None,
    /// A text file with a line for each account.
    File {
        /// Its path.
        path: String,
    },
}
