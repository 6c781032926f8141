//! The machine of the signed image is set up here: where its first configuration comes from, and what of it the system reads.
//!
//! `render`, `clock`, `label` and `secret` decide and touch nothing; `places`, `import`, `origin`, `stick`, `network` and `boot` work with files, and with the kernel
//! only below `/`, so that everything else can be tried in any directory.

pub mod render;
pub mod clock;
pub mod label;
pub mod secret;
pub mod places;
pub mod import;
pub mod origin;
pub mod stick;
pub mod network;
pub mod boot;

pub use boot::{BootError, Report, boot, report};
pub use import::{ImportError, Imported, import};
pub use places::Places;
