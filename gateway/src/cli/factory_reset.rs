//! `lazaret factory-reset`: leaves a flag where the next start finds it before it opens the data, and restarts.

use std::io::BufRead;

use clap::Args;

use super::context::Context;
use super::setup::Root;
use super::{CliError, Exit, console};
use crate::setup::{Places, places};
use crate::systemd::REBOOT;

/// Arguments of `factory-reset`.
#[derive(Debug, Args)]
pub(super) struct FactoryReset {
    #[command(flatten)]
    root: Root,
}

impl FactoryReset {
    pub(super) fn run(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let places = self.root.places(context);
        context.print(WARNING)?;
        context.out.flush()?;
        let mut answer = String::new();
        // A line is bounded by the terminal; a pipe that never ends is not read to its end.
        std::io::Read::take(std::io::stdin().lock(), 64).read_line(&mut answer)?;
        reset(&places, answer.trim())?;
        context.print("the data is erased by the next start\n")?;
        context.out.flush()?;
        console::end(&places, REBOOT)
    }
}

/// Leaves the flag, if the answer is the word.
pub(super) fn reset(places: &Places, answer: &str) -> Result<(), CliError> {
    if answer != WORD {
        return Err(CliError::new(Exit::Denied, "nothing was changed"));
    }
    let esp = places.at(ESP);
    if !esp.is_dir() {
        let why = "there is no boot partition at /efi: this is no signed image";
        return Err(CliError::new(Exit::Failure, why));
    }
    Ok(places::replace(&places.at(FLAG), b"erase\n", 0o600)?)
}

/// What is said before.
pub(super) const WARNING: &str = "This erases the configuration, all keys, the registry of devices and the journal, and restarts the machine.\n\
    To go on, write ERASE: ";
const WORD: &str = "ERASE";
const ESP: &str = "/efi";
const FLAG: &str = "/efi/lazaret/factory-reset";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn only_the_word_leaves_the_flag() {
        let root = tempfile::tempdir().unwrap();
        let places = Places::new(root.path(), Path::new("/etc/lazaret"));
        assert_eq!(reset(&places, WORD).unwrap_err().exit, Exit::Failure);
        std::fs::create_dir(root.path().join("efi")).unwrap();
        for word in ["", "yes", "erase"] {
            assert_eq!(reset(&places, word).unwrap_err().exit, Exit::Denied);
            assert!(!root.path().join("efi/lazaret").exists());
        }
        reset(&places, WORD).unwrap();
        assert!(root.path().join("efi/lazaret/factory-reset").exists());
    }
}
