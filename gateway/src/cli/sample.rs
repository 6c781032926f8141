//! A small clinic, for the tests of what is rendered: `tests/clinic/lazaret.toml`, as if it stood in `/etc/lazaret`.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use lazaret_config::{Config, Origin};

/// The clinic.
pub(super) fn config() -> Config {
    load(CLINIC)
}

/// Another one.
pub(super) fn load(text: &str) -> Config {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), text);
    let mut config = Config::load(directory.path()).unwrap();
    for origin in config.rules.values_mut().map(|rule| &mut rule.origin) {
        origin.file = "/etc/lazaret/lazaret.toml".into();
    }
    config.wireguard.private_key_file = "/etc/lazaret/wireguard.key".into();
    config
}

/// As files, with a key, which is not committed.
pub(super) fn write(directory: &Path, text: &str) {
    std::fs::write(directory.join("lazaret.toml"), text).unwrap();
    let key = directory.join("wireguard.key");
    std::fs::write(&key, format!("{}=\n", "A".repeat(42) + "E")).unwrap();
    std::fs::set_permissions(key, Permissions::from_mode(0o600)).unwrap();
}

/// A line of its file.
pub(super) fn origin(line: usize) -> Origin {
    Origin {
        file: "/etc/lazaret/lazaret.toml".into(),
        line,
    }
}

/// Its text.
pub(super) const CLINIC: &str = include_str!("../../tests/clinic/lazaret.toml");
