//! `lazaret inspect hl7|dicom PATH…`: judges files offline exactly as the relay would.
//!
//! In: files, directories, the standard input. Out: a verdict for each file, in order, and a summary of many.
//! What a message is worth is for `protocol-inspect`; here is only what is read and how it is told.

mod dicom_tree;
mod explain;
mod files;
mod hint;
mod in_order;
mod judged;
mod progress;
mod summary;
mod text;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use protocol_inspect::hl7::{Layout, LocalSegment, Offline};
use protocol_inspect::{Limits, Report, dicom, hl7};

use self::files::Found;
use self::judged::{Judged, Verdict};
use self::progress::Progress;
use self::summary::Summary;
use super::context::Context;
use super::{CliError, Exit, units};
use crate::daemon::SystemClock;
use crate::flow::Clock;
use crate::inspect::policy::{dicom_profile, hl7_profile};
use crate::words::Language;

/// Subcommands of `inspect`.
#[derive(Debug, Subcommand)]
pub(super) enum Inspect {
    /// HL7 v2 messages, or with --raw MLLP frames
    ///
    /// A file is one message with carriage returns, as it would be on the wire, unless --split, --line-feeds
    /// or --raw say otherwise. The exit code is 5 if any message is refused, and 1 if any file cannot be read.
    Hl7(Hl7),
    /// DICOM files (Part 10), or with --raw what a client sent on a connection
    ///
    /// The exit code is 5 if any file is refused, and 1 if any cannot be read.
    Dicom(Dicom),
}

/// What to judge.
#[derive(Debug, Args)]
struct Inputs {
    /// Files to judge, and directories with all files below; - is the standard input
    ///
    /// In directories, names that begin with a dot and what is no file are skipped and counted; links to directories are not followed.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The files hold the byte stream of a connection
    #[arg(long)]
    raw: bool,
    /// Print the summary alone
    #[arg(long)]
    summary: bool,
    /// Say below refusals what happened and what to do, in the language of the gateway's configuration
    #[arg(long, conflicts_with = "summary")]
    words: bool,
    /// In this language
    #[arg(long, value_name = "en|fr", requires = "words")]
    language: Option<Language>,
}

impl Inputs {
    /// In which language words are said, if they are.
    fn language(&self, context: &Context<'_>) -> Option<Language> {
        let configured = || lazaret_config::language(&context.config_dir);
        self.words.then(|| self.language.unwrap_or_else(configured))
    }
}

/// How to judge HL7.
#[derive(Debug, Args)]
pub(super) struct Hl7 {
    #[command(flatten)]
    inputs: Inputs,
    /// How strict: standard, strict, or FILE#NAME for a table [profile.NAME] of a file
    #[arg(long, default_value = "standard")]
    profile: Chosen,
    /// The files hold messages one after the other, each from its MSH to the next
    #[arg(long, conflicts_with = "raw")]
    split: bool,
    /// Take line feeds for the carriage returns that end segments on the wire
    #[arg(long, conflicts_with = "raw")]
    line_feeds: bool,
    /// Judge batches, as for a rule with `batches = true`: every message, and the counts of BTS and FTS
    #[arg(long)]
    batches: bool,
    /// Character set of messages that declare none, as in HL7 table 0211
    #[arg(long, value_name = "NAME", default_value = "ASCII", value_parser = charset)]
    charset: String,
    /// Local (Z) segments that are carried; all others are refused
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', value_parser = local_segment)]
    local: Option<Vec<LocalSegment>>,
    /// Show each message as a tree, with what is wrong at its place and values masked
    #[arg(long, conflicts_with = "summary")]
    explain: bool,
    /// With --explain, show the values
    #[arg(long, requires = "explain")]
    show_values: bool,
    /// With --explain, show all segments of all messages, and not only the first messages with findings and what is around them
    #[arg(long, requires = "explain")]
    all: bool,
}

/// How to judge DICOM.
#[derive(Debug, Args)]
pub(super) struct Dicom {
    #[command(flatten)]
    inputs: Inputs,
    /// How strict: standard, strict, or FILE#NAME for a table [profile.NAME] of a file with a [profile.NAME.dicom]
    #[arg(long, default_value = "standard")]
    profile: Chosen,
    /// Show each file as a tree, with what is wrong at its place and values masked
    #[arg(long, conflicts_with = "summary")]
    explain: bool,
    /// With --explain, show the values
    #[arg(long, requires = "explain")]
    show_values: bool,
    /// With --explain, show all elements, and not only the first and those with findings
    #[arg(long, requires = "explain")]
    all: bool,
}

/// How strict.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Profile {
    /// Refuse what is wrong beyond doubt
    Standard,
    /// Refuse all that the standard refuses
    Strict,
}

/// How strict, or as strict as a profile of a site.
#[derive(Clone, Debug)]
enum Chosen {
    Own(Profile),
    Site { file: PathBuf, name: Option<String> },
}

/// What is said of one file.
struct Outcome {
    judged: Judged,
    summary: Summary,
    /// The trees of its messages, if they are wanted.
    trees: Option<String>,
}

impl Inspect {
    pub(super) fn run(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let (inspector, inputs) = match self {
            Self::Hl7(hl7) => (hl7.inspector(context)?, &hl7.inputs),
            Self::Dicom(dicom) => (dicom.inspector(context)?, &dicom.inputs),
        };
        let language = inputs.language(context);
        let began = SystemClock.now();
        let found = files::find(&inputs.paths);
        let mut exit = complain(&found, context)?;
        let mut total = Summary::default();
        total.unreadable = count(found.unreadable.len());
        total.skipped = count(found.hidden + found.special);
        let progress = Progress::new(found.files.len(), context.json);
        let threads = in_order::cores();
        let judge = |path: &PathBuf| {
            files::read(path, inspector.enough()).map(|bytes| inspector.judge(path, &bytes))
        };
        in_order::in_order(&found.files, threads, judge, |path, outcome| {
            progress.step();
            let outcome = match outcome {
                Ok(outcome) => outcome,
                Err(error) => {
                    // The others are judged nevertheless.
                    total.unreadable += 1;
                    exit = Exit::Failure;
                    return progress.aside(|_| cannot_read(path, &error, context));
                }
            };
            let Outcome {
                judged,
                summary,
                trees,
            } = outcome;
            if judged.verdict == Verdict::Refuse && exit == Exit::Ok {
                exit = Exit::Denied;
            }
            total.merge(summary);
            if inputs.summary {
                return Ok(());
            }
            progress.aside(|flush| {
                tell((&judged, trees.as_deref()), language, context)?;
                if flush {
                    context.out.flush()?;
                }
                Ok(())
            })
        })?;
        drop(progress);
        let many = inputs.paths.len() > 1 || found.files.len() > 1;
        let took = SystemClock.now().duration_since(began);
        if context.json && inputs.summary {
            context.print_json(&total.json(took))?;
        } else if inputs.summary || (many && !context.json) {
            let before = if inputs.summary { "" } else { "\n" };
            context.print(&format!("{before}{}", total.render(took)))?;
        }
        Ok(exit)
    }
}

/// Says what was found that is not judged. The counts of what was skipped are part of the summary, if there is one.
fn complain(found: &Found, context: &mut Context<'_>) -> Result<Exit, CliError> {
    for (path, error) in &found.unreadable {
        cannot_read(path, error, context)?;
    }
    for path in &found.empty {
        let path = text::visible(&path.display().to_string());
        writeln!(io::stderr(), "lazaret: no files in {path}")?;
    }
    if context.json {
        for (skipped, noun) in [
            (found.hidden, "hidden name"),
            (found.special, "link, pipe or socket"),
        ] {
            if skipped > 0 {
                let skipped = units::counted(skipped, noun);
                writeln!(io::stderr(), "lazaret: skipped {skipped}")?;
            }
        }
    }
    if found.unreadable.is_empty() && found.empty.is_empty() {
        Ok(Exit::Ok)
    } else {
        Ok(Exit::Failure)
    }
}

fn cannot_read(path: &Path, error: &io::Error, context: &mut Context<'_>) -> Result<(), CliError> {
    context.out.flush()?;
    let path = text::visible(&path.display().to_string());
    Ok(writeln!(
        io::stderr(),
        "lazaret: cannot read {path}: {error}"
    )?)
}

/// The codes are for machines, the words for people.
fn tell(
    (judged, trees): (&Judged, Option<&str>),
    language: Option<Language>,
    context: &mut Context<'_>,
) -> Result<(), CliError> {
    if context.json {
        let line = serde_json::to_string(judged)?;
        return Ok(writeln!(context.out, "{line}")?);
    }
    let word = context.verdict(judged.verdict.word(), judged.verdict == Verdict::Accept);
    let headline = judged.headline();
    let below = match trees {
        // The tree has the warnings.
        Some(trees) => format!("{}{trees}", judged.help_line()),
        None => judged.notes(),
    };
    let words = language.and_then(|language| judged.words(language));
    let words = words.map(|words| format!("        {words}\n"));
    let words = words.unwrap_or_default();
    context.print(&format!("{word}  {headline}{words}{below}"))
}

/// Who judges the files.
enum Inspector {
    Hl7 {
        offline: Box<Offline>,
        explain: Option<explain::Options>,
    },
    Dicom {
        profile: Box<dicom::Profile>,
        raw: bool,
        explain: Option<explain::Options>,
    },
}

impl Hl7 {
    fn inspector(&self, context: &Context<'_>) -> Result<Inspector, CliError> {
        let options = (self.show_values, self.all);
        let explain = explained(self.explain, options, context)?;
        let layout = match (self.inputs.raw, self.split) {
            (true, _) => Layout::Stream,
            (false, true) => Layout::Sequence,
            (false, false) => Layout::Single,
        };
        let offline = Box::new(Offline {
            layout,
            line_feeds: self.line_feeds,
            charset: self.charset.clone(),
            local_segments: self.local.clone(),
            batches: self.batches,
            profile: self.profile.hl7()?,
        });
        Ok(Inspector::Hl7 { offline, explain })
    }
}

/// How much is explained, if it is.
fn explained(
    explain: bool,
    (values, all): (bool, bool),
    context: &Context<'_>,
) -> Result<Option<explain::Options>, CliError> {
    if explain && context.json {
        return Err(CliError::new(
            Exit::Usage,
            "--explain is for people; with --json the places are in `location`",
        ));
    }
    Ok(explain.then_some(explain::Options {
        values,
        all,
        colour: context.colour,
    }))
}

impl Dicom {
    fn inspector(&self, context: &Context<'_>) -> Result<Inspector, CliError> {
        let options = (self.show_values, self.all);
        Ok(Inspector::Dicom {
            explain: explained(self.explain, options, context)?,
            profile: Box::new(self.profile.dicom()?),
            raw: self.inputs.raw,
        })
    }
}

impl From<OsString> for Chosen {
    /// A file that is called `strict` is `./strict`, and one with a `#` in its name has another behind it.
    fn from(text: OsString) -> Self {
        let Some(words) = text.to_str() else {
            let file = text.into();
            return Self::Site { file, name: None };
        };
        match (words, words.rsplit_once('#')) {
            ("standard", _) => Self::Own(Profile::Standard),
            ("strict", _) => Self::Own(Profile::Strict),
            (_, None) => Self::Site {
                file: words.into(),
                name: None,
            },
            (_, Some((file, name))) => Self::Site {
                file: file.into(),
                name: (!name.is_empty()).then(|| name.to_owned()),
            },
        }
    }
}

impl Chosen {
    fn hl7(&self) -> Result<hl7::Profile, CliError> {
        Ok(match self {
            Self::Own(Profile::Standard) => hl7::Profile::standard(),
            Self::Own(Profile::Strict) => hl7::Profile::strict(),
            Self::Site { file, name } => {
                hl7_profile(&lazaret_config::profile_from_file(file, name.as_deref())?)
            }
        })
    }
}

impl Chosen {
    fn dicom(&self) -> Result<dicom::Profile, CliError> {
        Ok(match self {
            Self::Own(Profile::Standard) => dicom::Profile::standard(),
            Self::Own(Profile::Strict) => dicom::Profile::strict(),
            Self::Site { file, name } => {
                let site = lazaret_config::profile_from_file(file, name.as_deref())?;
                let Some(own) = &site.dicom else {
                    let message = format!(
                        "[profile.{0}] is for HL7 alone: it has no [profile.{0}.dicom]",
                        site.name
                    );
                    return Err(CliError::new(Exit::Configuration, &message));
                };
                dicom_profile(&site.name, own)
            }
        })
    }
}

impl Inspector {
    /// How much of a file tells that it is too long for one message.
    fn enough(&self) -> Option<u64> {
        match self {
            Self::Hl7 { offline, .. } => {
                let is_message = offline.layout == Layout::Single && !offline.line_feeds;
                is_message.then(|| count(Limits::default().hl7_message).saturating_add(1))
            }
            Self::Dicom { .. } => None,
        }
    }

    fn judge(&self, path: &Path, bytes: &[u8]) -> Outcome {
        let mut judged = Judged::new(path);
        let mut summary = Summary::of_file(bytes.len());
        let trees;
        let file = judged.file.clone();
        let mut add = |judged: &mut Judged, report: &Report| {
            judged.add(report);
            summary.add(report, &file);
        };
        match self {
            Self::Hl7 { offline, explain } => {
                let mut drawn = explain.map(|options| explain::Trees::new(offline.layout, options));
                for message in offline.judge(bytes) {
                    add(&mut judged, &message.report);
                    if let Some(drawn) = &mut drawn {
                        drawn.add(&message);
                    }
                }
                trees = drawn.map(explain::Trees::finish);
                if judged.verdict == Verdict::Refuse {
                    judged.help = hint::hl7(bytes, offline);
                }
            }
            Self::Dicom {
                profile,
                raw,
                explain,
            } => {
                let reports = dicom::inspect_offline(bytes, *raw, (**profile).clone());
                for report in &reports {
                    add(&mut judged, report);
                }
                trees = explain.map(|options| dicom_tree::render(bytes, *raw, &reports, options));
                if judged.verdict == Verdict::Refuse {
                    judged.help = hint::dicom(bytes, *raw);
                }
            }
        }
        summary.end_file(&judged);
        Outcome {
            judged,
            summary,
            trees,
        }
    }
}

fn charset(name: &str) -> Result<String, &'static str> {
    if Offline::knows_charset(name) {
        Ok(name.to_owned())
    } else {
        Err("not a character set that is carried, as ASCII, 8859/1 or UNICODE UTF-8")
    }
}

fn local_segment(name: &str) -> Result<LocalSegment, &'static str> {
    let is_letter = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit();
    if name.len() == 3 && name.starts_with('Z') && name.bytes().all(is_letter) {
        Ok(LocalSegment {
            name: name.to_owned(),
            max_bytes: Limits::default().hl7_segment,
        })
    } else {
        Err("not a local segment, as ZPD")
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
