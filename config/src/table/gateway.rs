//! `[gateway]`: the name of the gateway, the language of its users, its directories, and the key of the patients' hashes.

use std::path::PathBuf;

use crate::field::basic::{AbsolutePath, GatewayName};
use crate::language::Language;
use crate::model::Gateway;
use crate::problem::Fault;
use crate::section::{Keys, Section};

pub(crate) const KEYS: Keys = Keys {
    table: "[gateway]",
    known: &[
        "name",
        "language",
        "state_dir",
        "runtime_dir",
        "patient_key_file",
    ],
    later: &[],
};

/// Reads the table but for `patient_key_file`; `None` if the name is missing or wrong.
pub(crate) fn read(section: &Section<'_>) -> Option<Gateway> {
    let name = section.required::<GatewayName>("name");
    let language = section.or("language", Language::default());
    let directory = |key, default: &str| section.or(key, AbsolutePath(PathBuf::from(default))).0;
    let state_dir = directory("state_dir", STATE_DIR);
    let runtime_dir = directory("runtime_dir", RUNTIME_DIR);
    if runtime_dir.as_os_str().len() > LONGEST_RUNTIME_DIR {
        let most =
            format!("at most {LONGEST_RUNTIME_DIR} bytes: it holds sockets, whose paths are short");
        section.report("runtime_dir", Fault::new("the path is too long").help(most));
    }
    Some(Gateway {
        name: name?.value.0,
        language,
        state_dir,
        runtime_dir,
    })
}

/// Where the state is unless the configuration says otherwise.
pub(crate) const STATE_DIR: &str = "/var/lib/lazaret";
/// Where the control socket is unless the configuration says otherwise.
pub(crate) const RUNTIME_DIR: &str = "/run/lazaret";
/// A Unix socket has 108 bytes for its path.
const LONGEST_RUNTIME_DIR: usize = 80;
