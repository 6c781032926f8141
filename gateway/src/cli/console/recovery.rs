//! The recovery key of the data partition: shown at each login until an operator says that it was written down, and gone after that.
//!
//! In: the file that the making of the partition left in it, of root alone. Out: the key on the screen.
//! Whoever can read the file can read the data as well.

use std::fs;
use std::io;

use super::screen::Screen;
use crate::cli::CliError;
use crate::own;
use crate::setup::{Places, places};

/// Shows the key, if it was not written down yet, and asks for that.
pub(super) fn show(places: &Places, screen: &mut dyn Screen) -> Result<(), CliError> {
    let path = places.at(own::FOLDER).join(KEY);
    let read = match own::read(&path, LONGEST) {
        Ok(read) => zeroize::Zeroizing::new(read),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            let text = format!("PROBLEM the recovery key cannot be shown: {error}\n");
            return Ok(screen.print(&text)?);
        }
    };
    let key: String = (read.iter().map(|byte| char::from(*byte)))
        .filter(|letter| letter.is_ascii_alphanumeric() || *letter == '-')
        .collect();
    screen.print(&format!(
        "\nThis is the recovery key of the data partition. It opens the data when the TPM of this machine does not:\n\n    {key}\n\n"
    ))?;
    let answer = screen.line(QUESTION)?.unwrap_or_default();
    if answer.trim() != WORD {
        return Ok(screen.print("It is shown again at the next login.\n")?);
    }
    match fs::remove_file(&path) {
        // Somebody at the other console was first.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        removed => removed?,
    }
    places::sync_directory(&places.at(own::FOLDER))?;
    Ok(screen.print("It is not shown any more.\n")?)
}

const QUESTION: &str = "When it is written down, type `written`; it is not shown any more then: ";
const WORD: &str = "written";
const KEY: &str = "recovery-key";
/// Longest key in bytes; systemd's have 71 characters. //= C7
const LONGEST: u64 = 256;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use zeroize::Zeroizing;

    use super::*;

    struct Operator {
        answers: Vec<&'static str>,
        shown: String,
    }

    impl Screen for Operator {
        fn print(&mut self, text: &str) -> io::Result<()> {
            self.shown.push_str(text);
            Ok(())
        }
        fn line(&mut self, prompt: &str) -> io::Result<Option<String>> {
            self.shown.push_str(prompt);
            Ok(self.answers.pop().map(str::to_owned))
        }
        fn secret(&mut self, _prompt: &str) -> io::Result<Option<Zeroizing<String>>> {
            Ok(None)
        }
    }

    fn shown(places: &Places, answers: &[&'static str]) -> String {
        let mut operator = Operator {
            answers: answers.to_vec(),
            shown: String::new(),
        };
        show(places, &mut operator).unwrap();
        operator.shown
    }

    const EXAMPLE: &str = "fbfhftdh-hjubkgbh-vfgdlkcv-jcbrtrgl";

    #[test]
    fn it_is_shown_until_it_was_written_down() {
        let root = tempfile::tempdir().unwrap();
        let places = Places::new(root.path(), Path::new("/etc/lazaret"));
        assert_eq!(shown(&places, &[]), "", "without a TPM there is none");
        let path = places.at(own::FOLDER).join(KEY);
        own::replace(&path, format!("{EXAMPLE}\n").as_bytes()).unwrap();
        for answers in [&[][..], &[""], &["no"], &["write"]] {
            let said = shown(&places, answers);
            assert!(
                said.contains(&format!("    {EXAMPLE}\n")) && said.contains("shown again"),
                "{said}"
            );
        }
        assert!(shown(&places, &["written"]).contains("not shown any more"));
        assert!(!path.exists());
        assert_eq!(shown(&places, &[]), "");
    }

    #[test]
    fn what_others_could_have_put_there_is_no_key() {
        let root = tempfile::tempdir().unwrap();
        let places = Places::new(root.path(), Path::new("/etc/lazaret"));
        let path = places.at(own::FOLDER).join(KEY);
        own::replace(&path, b"\x1b[2Jfb-hf\x07\n").unwrap();
        assert!(shown(&places, &["no"]).contains("    2Jfb-hf\n"));
        let other = path.with_file_name("other");
        fs::rename(&path, &other).unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        let said = shown(&places, &["written"]);
        assert!(
            said.starts_with("PROBLEM") && !said.contains("2Jfb"),
            "{said}"
        );
        assert!(path.symlink_metadata().is_ok());
    }
}
