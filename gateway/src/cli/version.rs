//! `lazaret version`.

use serde::Serialize;

use super::context::Context;
use super::{CliError, Exit};

pub(super) fn run(context: &mut Context<'_>) -> Result<Exit, CliError> {
    let version = env!("CARGO_PKG_VERSION");
    if context.json {
        context.print_json(&Version { version })?;
    } else {
        context.print(&format!("lazaret {version}\n"))?;
    }
    Ok(Exit::Ok)
}

#[derive(Serialize)]
struct Version {
    version: &'static str,
}
