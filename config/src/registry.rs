//! Where the registry of devices is kept, and which addresses it gives.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

/// `[registry]`: where it is kept which devices are known beside those in the files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Database {
    /// `registry.db` in the state directory.
    #[default]
    File,
    /// A PostgreSQL server, which several gateways share.
    Server(Server),
}

/// A PostgreSQL server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Where.
    pub host: DatabaseHost,
    /// TCP port, or the number in the name of the Unix socket.
    pub port: u16,
    /// Who we are there.
    pub user: String,
    /// Which database.
    pub database: String,
    /// File with our password in one line; resolved, 0600.
    pub password_file: Option<PathBuf>,
    /// File with the certificates that the server's must be signed with. Without it there is no TLS.
    pub ca_file: Option<PathBuf>,
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseHost {
    /// The directory of a Unix socket.
    Socket(PathBuf),
    /// An address.
    Address(IpAddr),
    /// A name, looked up at each connect.
    Name(String),
}

/// `[enrol]`: what devices get that stand in no file, and where they come to be enrolled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Enrol {
    /// Parts of the tunnel networks from which addresses are given. Empty: every device must bring its own.
    pub addresses: Vec<IpNet>,
    /// Where the enrolment service listens, TCP, outside of the tunnel; `None` without one.
    pub listen: Option<SocketAddr>,
    /// Where devices find the tunnel, a name or an address with a port.
    pub endpoint: Option<String>,
    /// Connections to the enrolment service at a time.
    pub connections: u16,
}
