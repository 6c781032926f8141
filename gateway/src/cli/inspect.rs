//! `lazaret inspect hl7|dicom FILE…`: judges files offline exactly as the relay would.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use protocol_inspect::{Report, dicom, hl7};
use serde::Serialize;

use super::context::Context;
use super::{CliError, Exit};

/// Subcommands of `inspect`.
#[derive(Debug, Subcommand)]
pub(super) enum Inspect {
    /// HL7 v2 messages, or with --raw MLLP frames
    Hl7(Files),
    /// DICOM files (Part 10), or with --raw what a client sent on a connection
    Dicom(Files),
}

/// What to judge, and how.
#[derive(Debug, Args)]
pub(super) struct Files {
    /// Files to judge; - is the standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How strict
    #[arg(long, value_enum, default_value = "standard")]
    profile: Profile,
    /// The files hold the byte stream of a connection
    #[arg(long)]
    raw: bool,
}

/// How strict.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Profile {
    /// Refuse what is wrong beyond doubt
    Standard,
    /// Refuse all that the standard refuses
    Strict,
}

impl Inspect {
    pub(super) fn run(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let (Self::Hl7(files) | Self::Dicom(files)) = self;
        let mut exit = Exit::Ok;
        for path in &files.files {
            let bytes = match read(path) {
                Ok(bytes) => bytes,
                Err(error) => {
                    // The others are judged nevertheless.
                    context.out.flush()?;
                    writeln!(
                        io::stderr(),
                        "lazaret: cannot read {}: {error}",
                        path.display()
                    )?;
                    exit = Exit::Failure;
                    continue;
                }
            };
            let judged = Judged::new(path, &self.judge(&bytes));
            if judged.verdict == Verdict::Refuse && exit == Exit::Ok {
                exit = Exit::Denied;
            }
            if context.json {
                let line = serde_json::to_string(&judged)?;
                writeln!(context.out, "{line}")?;
            } else {
                let word =
                    context.verdict(judged.verdict.word(), judged.verdict == Verdict::Accept);
                context.print(&format!("{word}  {}", render(&judged)))?;
            }
        }
        Ok(exit)
    }

    fn judge(&self, bytes: &[u8]) -> Vec<Report> {
        match self {
            Self::Hl7(files) => {
                let profile = match files.profile {
                    Profile::Standard => hl7::Profile::standard(),
                    Profile::Strict => hl7::Profile::strict(),
                };
                hl7::inspect_offline(bytes, files.raw, &profile)
            }
            Self::Dicom(files) => {
                let profile = match files.profile {
                    Profile::Standard => dicom::Profile::Standard,
                    Profile::Strict => dicom::Profile::Strict,
                };
                dicom::inspect_offline(bytes, files.raw, profile)
            }
        }
    }
}

/// What is said of one file; also the JSON form, one object a file and line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Judged {
    file: String,
    verdict: Verdict,
    /// The type of the message, of the first refused one if there are many.
    kind: String,
    /// How many messages were judged.
    messages: usize,
    reason: Option<&'static str>,
    location: Option<String>,
    detail: Option<String>,
    warnings: Vec<Warning>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    Accept,
    Refuse,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Refuse => "refuse",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Warning {
    reason: &'static str,
    location: String,
    detail: String,
}

impl Judged {
    /// A file is refused with its first refused message, or if it holds none.
    fn new(path: &Path, reports: &[Report]) -> Self {
        let refused = reports.iter().find(|report| report.refusal.is_some());
        let told = refused.or(reports.first());
        let refusal = refused.and_then(|report| report.refusal.as_ref());
        let warning = |warning: &protocol_inspect::Warning| Warning {
            reason: warning.reason.code(),
            location: warning.location.clone(),
            detail: warning.detail.clone(),
        };
        let judged = Self {
            file: path.display().to_string(),
            verdict: if refused.is_some() {
                Verdict::Refuse
            } else {
                Verdict::Accept
            },
            kind: told.map(|report| report.kind.clone()).unwrap_or_default(),
            messages: reports.len(),
            reason: refusal.map(|refusal| refusal.reason.code()),
            location: refusal.map(|refusal| refusal.location.clone()),
            detail: refusal.map(|refusal| refusal.detail.clone()),
            warnings: reports
                .iter()
                .flat_map(|report| &report.warnings)
                .map(warning)
                .collect(),
        };
        if !reports.is_empty() {
            return judged;
        }
        Self {
            verdict: Verdict::Refuse,
            reason: Some(protocol_inspect::Reason::Framing.code()),
            location: Some("byte 0".to_owned()),
            detail: Some("there is no message".to_owned()),
            ..judged
        }
    }
}

/// Everything behind the verdict's word.
fn render(judged: &Judged) -> String {
    let mut text = judged.file.clone();
    if !judged.kind.is_empty() {
        text.push_str(&format!("  {}", judged.kind));
    }
    if judged.messages > 1 {
        text.push_str(&format!("  ({} messages)", judged.messages));
    }
    let told =
        |reason: &str, location: &str, detail: &str| format!("{reason}: {location}: {detail}");
    if let (Some(reason), Some(location), Some(detail)) =
        (judged.reason, &judged.location, &judged.detail)
    {
        text.push_str(&format!("  {}", told(reason, location, detail)));
    }
    text.push('\n');
    for warning in &judged.warnings {
        let told = told(warning.reason, &warning.location, &warning.detail);
        text.push_str(&format!("        warning  {told}\n"));
    }
    text
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut bounded: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin().lock().take(MAX_FILE + 1))
    } else {
        Box::new(File::open(path)?.take(MAX_FILE + 1))
    };
    bounded.read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_FILE {
        return Err(io::Error::other("the file is larger than 5 GiB"));
    }
    Ok(bytes)
}

/// Largest file that is judged: the largest data set and what comes with it.
const MAX_FILE: u64 = 5 << 30;

#[cfg(test)]
mod tests {
    use protocol_inspect::{Reason, Refusal};

    use super::*;

    fn reports() -> Vec<Report> {
        let warning = protocol_inspect::Warning {
            reason: Reason::Field,
            location: "MSH-7".to_owned(),
            detail: "is not a time".to_owned(),
        };
        let good = Report {
            kind: "ORU^R01".to_owned(),
            refusal: None,
            warnings: vec![warning],
        };
        let refusal = Refusal {
            reason: Reason::Structure,
            location: "PID".to_owned(),
            detail: "is missing".to_owned(),
        };
        let bad = Report {
            kind: "ADT^A01".to_owned(),
            refusal: Some(refusal),
            warnings: Vec::new(),
        };
        vec![good, bad]
    }

    #[test]
    fn verdicts_are_shown() {
        let path = Path::new("a.hl7");
        let all = reports();
        let mut shown = String::new();
        for judged in [
            Judged::new(path, &all[..1]),
            Judged::new(path, &all[1..]),
            Judged::new(path, &all),
            Judged::new(path, &[]),
        ] {
            shown.push_str(&format!("{}  {}", judged.verdict.word(), render(&judged)));
            shown.push_str(&format!("{}\n", serde_json::to_string(&judged).unwrap()));
        }
        insta::assert_snapshot!(shown);
    }
}
