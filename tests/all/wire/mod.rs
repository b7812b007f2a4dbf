//! Bytes on sockets: what no client library would send, against the real listener.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed assumption fails the test")]

mod client_certificates;
mod drain;
mod harness;
mod http2;
mod limits;
mod smuggling;
mod tls;
