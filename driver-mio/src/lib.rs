//! The Gatepost server on mio: the driver that serves the sans-IO core over real sockets.
#![forbid(unsafe_code)]

mod leg;
mod pipe;
mod timer;
mod tls;
