//! `[registry]`: where it is kept which devices are known beside those in the files.

use std::path::{Path, PathBuf};

use crate::field::basic::FilePath;
use crate::field::database::DatabaseUrl;
use crate::model::{Database, DatabaseHost, Server};
use crate::problem::{At, Fault};
use crate::section::{Keys, Section};

pub(crate) const KEYS: Keys = Keys {
    table: "[registry]",
    known: &["url", "password_file", "ca_file"],
    later: &[],
};

/// The table as it is written.
#[derive(Default)]
pub(crate) struct RawRegistry {
    url: Option<DatabaseUrl>,
    pub(crate) password_file: Option<At<FilePath>>,
    pub(crate) ca_file: Option<At<FilePath>>,
}

pub(crate) fn read(section: &Section<'_>) -> RawRegistry {
    let url = section.optional::<DatabaseUrl>("url");
    for key in ["password_file", "ca_file"] {
        if !section.has("url")
            && let Some(place) = section.place_of_key(key)
        {
            let fault = Fault::new(format!("`{key}` needs `url`"));
            let help = "without `url` the registry is a file of the gateway, `registry.db` in its state directory";
            section.problems().report(fault.help(help).at(place));
        }
    }
    if let Some(url) = &url
        && !url.value.is_here()
        && !section.has("ca_file")
    {
        let fault = Fault::new("a database on another machine needs `ca_file`")
            .help("it names the certificate that the server's is checked with; without it anybody between could be the database");
        section.problems().report(fault.at(url.place));
    }
    RawRegistry {
        url: url.map(|at| at.value),
        password_file: section.optional("password_file"),
        ca_file: section.optional("ca_file"),
    }
}

impl RawRegistry {
    pub(crate) fn into_model(self, dir: &Path) -> Database {
        let resolved =
            |at: Option<At<FilePath>>| -> Option<PathBuf> { at.map(|at| dir.join(at.value.0)) };
        match self.url {
            None => Database::File,
            Some(url) => Database::Server(Server {
                host: url.host,
                port: url.port,
                user: url.user,
                database: url.database,
                password_file: resolved(self.password_file),
                ca_file: resolved(self.ca_file),
            }),
        }
    }
}

impl DatabaseUrl {
    /// Whether nobody can be between.
    fn is_here(&self) -> bool {
        match &self.host {
            DatabaseHost::Socket(_) => true,
            DatabaseHost::Name(name) => name == "localhost",
            DatabaseHost::Address(address) => address.is_loopback(),
        }
    }
}
