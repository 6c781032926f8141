//! The hatch for operators: requests and responses of the control socket, `RUNTIME_DIR/control.sock`.
//!
//! One JSON object a line each way, one request a connection.
//! Who asks is taken from the socket (SO_PEERCRED), never from the request.

pub mod client;
pub mod message;
pub mod pki;
pub mod server;
