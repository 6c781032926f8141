//! `[audit]`: where the journal is and how it is kept.

use std::path::{Path, PathBuf};

use crate::field::basic::AbsolutePath;
use crate::field::quantity::Bytes;
use crate::model::{Audit, Sync};
use crate::section::{Keys, Section};

pub(crate) const KEYS: Keys = Keys {
    table: "[audit]",
    known: &["directory", "rotate_size", "sync", "keep", "required"],
    later: &[],
};

/// The table as it is written; the directory has a default that another table gives.
#[derive(Default)]
pub(crate) struct RawAudit {
    directory: Option<PathBuf>,
    rotate_size: Option<Bytes>,
    sync: Sync,
    keep: u32,
    optional: bool,
}

pub(crate) fn read(section: &Section<'_>) -> RawAudit {
    RawAudit {
        directory: section
            .optional::<AbsolutePath>("directory")
            .map(|at| at.value.0),
        rotate_size: section.within("rotate_size", Bytes(4 << 10)..=Bytes(16 << 30)),
        sync: section.or("sync", Sync::Batch),
        keep: section.or("keep", 0),
        optional: !section.or("required", true),
    }
}

impl RawAudit {
    pub(crate) fn into_model(self, state_dir: &Path) -> Audit {
        Audit {
            directory: self.directory.unwrap_or_else(|| state_dir.join("audit")),
            rotate_size: self.rotate_size.map_or(64 << 20, |bytes| bytes.0),
            sync: self.sync,
            keep: self.keep,
            required: !self.optional,
        }
    }
}
