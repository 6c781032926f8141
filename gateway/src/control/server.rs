//! The daemon's end of the control socket.
