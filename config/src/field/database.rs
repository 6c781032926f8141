//! Where a database is: `postgres://USER@HOST:PORT/DATABASE`.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::model::DatabaseHost;
use crate::problem::Fault;
use crate::section::Text;

/// A database of a PostgreSQL server, and who we are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DatabaseUrl {
    pub(crate) host: DatabaseHost,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) database: String,
}

impl Text for DatabaseUrl {
    const WHAT: &'static str = "a database like \"postgres://lazaret@10.20.0.9:5432/lazaret\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        let fault = || Fault::new(format!("not {}", Self::WHAT));
        let rest = text
            .strip_prefix("postgres://")
            .or_else(|| text.strip_prefix("postgresql://"))
            .ok_or_else(|| fault().help("leave the key out to keep the registry in a file"))?;
        let (user, rest) = rest.split_once('@').ok_or_else(fault)?;
        if user.contains(':') {
            return Err(
                Fault::new("a password does not belong in the configuration")
                    .help("write it into a file of its own and name that by `password_file`")
                    .secret(),
            );
        }
        let (place, database) = rest.rsplit_once('/').ok_or_else(fault)?;
        let (host, port) = place_of(place).ok_or_else(|| {
            fault().help("a Unix socket is written by its directory, `%2Frun%2Fpostgresql`")
        })?;
        if !word(user) || !word(database) {
            return Err(fault().help("user and database have letters, digits, `-` and `_`"));
        }
        Ok(Self {
            host,
            port,
            user: user.to_owned(),
            database: database.to_owned(),
        })
    }
}

fn place_of(text: &str) -> Option<(DatabaseHost, u16)> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
        Some(_) | None => (text, DEFAULT_PORT),
    };
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let host = match bare {
        Some(v6) => DatabaseHost::Address(IpAddr::V6(v6.parse().ok()?)),
        None if host.starts_with("%2F") => {
            let path = host.replace("%2F", "/");
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-_.".contains(&b);
            if !path.bytes().all(plain) {
                return None;
            }
            DatabaseHost::Socket(PathBuf::from(path))
        }
        None => match host.parse() {
            Ok(address) => DatabaseHost::Address(address),
            Err(_) if name(host) => DatabaseHost::Name(host.to_owned()),
            Err(_) => return None,
        },
    };
    (port != 0).then_some((host, port))
}

fn word(text: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    (1..=63).contains(&text.len()) && text.bytes().all(good)
}

fn name(text: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
    (1..=253).contains(&text.len()) && text.bytes().all(good)
}

/// Of PostgreSQL.
const DEFAULT_PORT: u16 = 5432;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_understood_or_refused() {
        let host = |text: &str| DatabaseUrl::parse(text).map(|url| (url.host, url.port));
        let good = [
            (
                "postgres://l@10.20.0.9:5433/r",
                DatabaseHost::Address([10, 20, 0, 9].into()),
                5433,
            ),
            (
                "postgresql://l@[fd20::9]/r",
                DatabaseHost::Address("fd20::9".parse().unwrap()),
                5432,
            ),
            (
                "postgres://l@db.chu.example/r",
                DatabaseHost::Name("db.chu.example".to_owned()),
                5432,
            ),
            (
                "postgres://l@%2Frun%2Fpostgresql/r",
                DatabaseHost::Socket("/run/postgresql".into()),
                5432,
            ),
        ];
        for (text, wanted, port) in good {
            assert_eq!(host(text), Ok((wanted, port)), "{text}");
        }
        for bad in [
            "",
            "mysql://l@h/r",
            "postgres://h/r",
            "postgres://l@h",
            "postgres://l@h:0/r",
            "postgres://l@h:x/r",
            "postgres://l@/r",
            "postgres://l@h/",
            "postgres://l@h/r?sslmode=disable",
            "postgres://l@%2Frun%00/r",
        ] {
            assert!(host(bad).is_err(), "{bad}");
        }
        let told = DatabaseUrl::parse("postgres://l:secret@h/r").unwrap_err();
        assert!(told.secret && !told.message.contains("secret"));
    }
}
