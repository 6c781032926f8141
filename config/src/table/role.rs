//! `[role.NAME]`: a name for what devices have in common.

use crate::model::Role;
use crate::section::{Keys, Section};

pub(crate) const KEYS: Keys = Keys {
    table: "[role.NAME]",
    known: &["description"],
    later: &[],
};

pub(crate) fn read(section: &Section<'_>) -> Role {
    Role {
        description: section.or("description", String::new()),
    }
}
