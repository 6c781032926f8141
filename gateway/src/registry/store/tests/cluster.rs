//! A PostgreSQL server of one's own, as the places of registries.

use e2e::Postgres;
use lazaret_config::{DatabaseHost, Server};

use super::Place;

/// A running server; stopped and removed when dropped.
pub(in crate::registry) struct Cluster(Postgres);

impl Cluster {
    /// Makes a server and waits until it answers.
    pub(in crate::registry) fn start() -> Self {
        Self(Postgres::start())
    }

    /// Starts the server again.
    pub(in crate::registry) fn run(&mut self) {
        self.0.run();
    }

    /// Stops the server; what was written stays.
    pub(in crate::registry) fn stop(&mut self) {
        self.0.stop();
    }

    /// An empty database.
    pub(in crate::registry) fn database(&self, name: &str) -> Place {
        self.0.create(name);
        Place::Server(Server {
            host: DatabaseHost::Socket(self.0.socket().to_owned()),
            port: 5432,
            user: "lazaret".to_owned(),
            database: name.to_owned(),
            password_file: None,
            ca_file: None,
        })
    }
}
