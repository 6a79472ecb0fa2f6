//! The Gatepost server on mio: the driver that serves the sans-IO core over real sockets.
#![forbid(unsafe_code)]
// The worker, which uses these modules, is not here yet.
#![allow(dead_code, unused_imports)]

mod leg;
mod pipe;
mod timer;
mod tls;
