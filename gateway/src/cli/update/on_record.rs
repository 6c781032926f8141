//! What became of an update goes on record: in the gateway's journal, or, while the gateway is down, in the system's log.
//!
//! In: what was asked for, versions and a verdict. Out: words for who asked, if the journal does not have it.
//! Who it was is not said here: the gateway asks the kernel.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use super::super::context::Context;
use super::super::drain::ask;
use crate::control::message::{Request, Response, UpdateAction};
use crate::update::version::Version;
use crate::update::{UpdateError, Updater};

/// What is put on record.
pub(super) struct Note {
    pub(super) action: UpdateAction,
    pub(super) from: Version,
    pub(super) to: Option<Version>,
    pub(super) verdict: String,
}

impl Note {
    /// Of something that did not happen; `None` where no image runs.
    pub(super) fn of_failure(
        action: UpdateAction,
        updater: &Updater,
        error: &UpdateError,
    ) -> Option<Self> {
        let (to, verdict) = match error {
            UpdateError::Refused(refusal) => (
                refusal.offered().cloned(),
                format!("{}: {refusal}", refusal.code()),
            ),
            UpdateError::Fetch(_) | UpdateError::Store(_) | UpdateError::Machine(_) => {
                (None, format!("failed: {error}"))
            }
        };
        let from = updater.places.identity().ok()?.version;
        Some(Self {
            action,
            from,
            to,
            verdict,
        })
    }

    /// Puts it on record. Words for who asked where the journal does not have it; none where it does.
    pub(super) fn write(self, context: &Context<'_>) -> String {
        self.write_to(context, Path::new(SYSTEM_LOG))
    }

    fn write_to(self, context: &Context<'_>, system: &Path) -> String {
        let verdict = line(&self.verdict);
        let request = Request::Updated {
            action: self.action,
            from: self.from.to_string(),
            to: self.to.as_ref().map(Version::to_string),
            verdict: verdict.clone(),
        };
        let why = match ask(context, &request) {
            Ok(Response::Done { .. }) => return String::new(),
            Ok(_) => "the gateway is of another version".to_owned(),
            Err(error) if error.is_down() => "the gateway is down".to_owned(),
            Err(error) => line(&error.to_string()),
        };
        let action = match self.action {
            UpdateAction::Apply => "apply",
            UpdateAction::Rollback => "rollback",
        };
        let to = self.to.map_or(String::new(), |to| format!(" to {to}"));
        let user = rustix::process::getuid().as_raw();
        let text = format!(
            "update {action} by user {user} from version {}{to}: {verdict}",
            self.from
        );
        match log(system, &text) {
            Ok(()) => format!(" ({why}: on record in the log of the system alone)"),
            Err(_) => format!(" ({why}, nor does the log of the system take it: NOT ON RECORD)"),
        }
    }
}

/// One line within the bounds of the journal.
fn line(text: &str) -> String {
    let text: String = text
        .chars()
        .map(|one| if one.is_control() { ' ' } else { one })
        .collect();
    let end = text.floor_char_boundary(LONGEST);
    text.get(..end).unwrap_or_default().trim().to_owned()
}

//= RFC 3164 4.1
fn log(system: &Path, text: &str) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.connect(system)?;
    let line = format!("<{AUTHPRIV_NOTICE}>lazaret: {text}");
    socket.send(line.as_bytes())?;
    Ok(())
}

const SYSTEM_LOG: &str = "/dev/log";
/// Facility 10, severity 5.
const AUTHPRIV_NOTICE: u8 = 10 * 8 + 5;
const PATIENCE: Duration = Duration::from_secs(5);
/// In bytes, as the gateway takes it.
//= C7
const LONGEST: usize = 512;

#[cfg(test)]
mod tests {
    use super::super::super::drain::tests::{DONE, gateway};
    use super::*;

    fn write(folder: &Path, system: &Path) -> String {
        let mut out = Vec::new();
        let context = Context {
            config_dir: folder.to_owned(),
            json: false,
            colour: false,
            out: &mut out,
        };
        let note = Note {
            action: UpdateAction::Apply,
            from: "1".parse().unwrap(),
            to: Some("2".parse().unwrap()),
            verdict: "installed\n".to_owned(),
        };
        note.write_to(&context, system)
    }

    #[test]
    fn the_journal_has_it_or_the_log_of_the_system() {
        let (folder, asked) = gateway(&["", DONE]);
        let system = folder.path().join("log");
        let log = UnixDatagram::bind(&system).unwrap();
        assert_eq!(write(folder.path(), &system), "");
        let asked = asked.join().unwrap();
        let expected =
            r#"{"request":"updated","action":"apply","from":"1","to":"2","verdict":"installed"}"#;
        assert_eq!(asked.last().unwrap().trim(), expected);
        // The gateway is gone now.
        let said = write(folder.path(), &system);
        assert!(
            said.contains("down") && said.contains("log of the system"),
            "{said}"
        );
        let mut text = [0; 200];
        let length = log.recv(&mut text).unwrap();
        let text = String::from_utf8_lossy(&text[..length]).into_owned();
        let user = rustix::process::getuid().as_raw();
        assert_eq!(
            text,
            format!("<85>lazaret: update apply by user {user} from version 1 to 2: installed")
        );
        drop(log);
        let said = write(folder.path(), &system);
        assert!(said.contains("NOT ON RECORD"), "{said}");
    }

    #[test]
    fn a_verdict_is_one_line_within_bounds() {
        assert_eq!(line(" a\nb\u{7}"), "a b");
        assert_eq!(line(&"é".repeat(400)).len(), 512);
    }
}
