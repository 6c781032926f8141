//! Tells the service manager how the gateway fares (sd_notify), and never waits for it.
//!
//! In: words of that protocol. Out: one datagram, or nothing when nobody listens or its queue is full.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The gateway works.
pub(super) const READY: &str = "READY=1";
/// The gateway ends in order.
pub(super) const STOPPING: &str = "STOPPING=1";
/// The supervisor's loop lives.
pub(super) const WATCHDOG: &str = "WATCHDOG=1";

/// Says it, if somebody started us who wants to know.
///
/// # Errors
/// When it could not be said. [`io::ErrorKind::WouldBlock`]: the service manager does not listen now.
pub(super) fn notify(state: &str) -> io::Result<()> {
    std::env::var_os("NOTIFY_SOCKET").map_or(Ok(()), |socket| tell(&socket, state))
}

fn tell(socket: &OsStr, state: &str) -> io::Result<()> {
    let address = match socket.as_bytes().split_first() {
        Some((b'@', name)) => SocketAddr::from_abstract_name(name)?,
        Some((b'/', _)) => SocketAddr::from_pathname(socket)?,
        Some(_) | None => return Err(io::ErrorKind::Unsupported.into()),
    };
    let datagram = UnixDatagram::unbound()?;
    datagram.set_nonblocking(true)?;
    datagram.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_it_by_path_and_by_abstract_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        tell(path.as_os_str(), READY).unwrap();
        let mut block = [0; 64];
        let length = manager.recv(&mut block).unwrap();
        assert_eq!(&block[..length], READY.as_bytes());

        let name = format!("lazaret-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        tell(OsStr::new(&format!("@{name}")), STOPPING).unwrap();
        let length = manager.recv(&mut block).unwrap();
        assert_eq!(&block[..length], STOPPING.as_bytes());

        assert!(tell(OsStr::new("vsock:2:1"), READY).is_err());
    }

    #[test]
    fn does_not_wait_for_a_manager_that_does_not_listen() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let _deaf = UnixDatagram::bind(&path).unwrap();
        let refused = (0..100_000).find_map(|_| tell(path.as_os_str(), WATCHDOG).err());
        assert_eq!(refused.unwrap().kind(), io::ErrorKind::WouldBlock);
    }
}
