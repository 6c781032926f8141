//! What systemd does for us, because it may and we may not: mounting sticks, by units that say how.
//!
//! In: a verb and a unit. Out: whether it was done. Knows nothing of what the unit is.

use std::io;
use std::process::{Command, Stdio};

/// How `systemctl` is told to end this start of the machine, before the target.
///
/// Not `systemctl reboot`: that asks the bus of the system first, which the image does not have, and says so.
pub const END: [&str; 4] = [
    "start",
    "--quiet",
    "--no-block",
    "--job-mode=replace-irreversibly",
];
/// The target of a restart.
pub const REBOOT: &str = "reboot.target";

/// Asks systemd, which says in its log why not.
///
/// # Errors
/// When it cannot be asked, or refuses: its first line.
pub fn ask(verb: &str, unit: &str) -> io::Result<()> {
    let output = Command::new("/usr/bin/systemctl")
        .args([verb, "--quiet", unit])
        .env_clear()
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let line = said.lines().next().unwrap_or("systemd refuses").to_owned();
    Err(io::Error::other(line))
}
