//! The prompt: history, completion, and an end for who is silent.

use std::io;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

use clap::CommandFactory;
use lazaret_config::Config;
use rustyline::completion::Completer;
use rustyline::config::Behavior;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Editor, Helper};

use super::complete::{Names, complete};
use super::screen::{Screen, Terminal};
use crate::cli::completion::devices;
use crate::cli::{Cli, CliError, Exit};

/// The prompt of a session.
pub(super) struct Prompt {
    editor: Option<Editor<Assistant, MemHistory>>,
    watch: Sender<Sign>,
}

/// What the watch is told.
enum Sign {
    /// Somebody is asked, or has typed.
    Asked,
    /// Somebody has answered.
    Answered,
}

/// Completes, and tells the watch that somebody types.
struct Assistant {
    root: clap::Command,
    names: Names,
    watch: Sender<Sign>,
}

impl Prompt {
    /// Begins; names for completion come from the configuration, if it is right.
    pub(super) fn new(config: &Path, idle: Duration) -> Result<Self, CliError> {
        let watch = watch(idle)?;
        let names = Config::load(config).map_or_else(
            |_| Names::default(),
            |config| Names {
                devices: devices(&config).into_iter().collect(),
                services: config.services.keys().map(ToString::to_string).collect(),
            },
        );
        let mut root = Cli::command();
        root.build();
        let assistant = Assistant {
            root,
            names,
            watch: watch.clone(),
        };
        let settings = rustyline::Config::builder()
            .behavior(Behavior::Stdio)
            .completion_type(CompletionType::List)
            .auto_add_history(true)
            .max_history_size(HISTORY)
            .map_err(failed)?
            .bracketed_paste(false)
            .build();
        // A pipe, and a terminal that cannot move its cursor, have lines only.
        let simple = !io::IsTerminal::is_terminal(&io::stdin()) || is_dumb();
        let editor = if simple {
            None
        } else {
            let history = MemHistory::with_config(&settings);
            let mut editor = Editor::with_history(settings, history).map_err(failed)?;
            editor.set_helper(Some(assistant));
            Some(editor)
        };
        Ok(Self { editor, watch })
    }

    /// The next line; `None` at the end.
    pub(super) fn line(&mut self, screen: &mut Terminal) -> Result<Option<String>, CliError> {
        let Some(editor) = &mut self.editor else {
            return Ok(screen.line(PROMPT)?);
        };
        loop {
            let _ = self.watch.send(Sign::Asked);
            let line = editor.readline(PROMPT);
            let _ = self.watch.send(Sign::Answered);
            match line {
                Ok(line) => return Ok(Some(line)),
                Err(ReadlineError::Interrupted) => {}
                Err(ReadlineError::Eof) => return Ok(None),
                Err(ReadlineError::Io(error)) => return Err(error.into()),
                Err(error) => return Err(failed(error)),
            }
        }
    }
}

/// Ends this process when somebody is asked and nothing is typed for too long: an editor waits for ever.
fn watch(idle: Duration) -> io::Result<Sender<Sign>> {
    let (sender, signs) = mpsc::channel();
    let modes = rustix::termios::tcgetattr(io::stdin()).ok();
    let wait = move || {
        let mut asked = false;
        loop {
            let sign = match asked {
                true => signs.recv_timeout(idle),
                false => signs.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match sign {
                Ok(Sign::Asked) => asked = true,
                Ok(Sign::Answered) => asked = false,
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => break,
            }
        }
        if let Some(modes) = &modes {
            let now = rustix::termios::OptionalActions::Now;
            let _ = rustix::termios::tcsetattr(io::stdin(), now, modes);
        }
        let _ = rustix::io::write(
            rustix::stdio::stdout(),
            b"\r\nnobody was there: logged out\r\n",
        );
        std::process::exit(0);
    };
    std::thread::Builder::new()
        .name("idle".to_owned())
        .spawn(wait)?;
    Ok(sender)
}

fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb")
}

fn failed(error: ReadlineError) -> CliError {
    CliError::new(
        Exit::Failure,
        format!("cannot ask at this terminal: {error}"),
    )
}

impl Completer for Assistant {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &rustyline::Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let before = line.get(..position).unwrap_or_default();
        let start = before
            .rfind(char::is_whitespace)
            .map_or(0, |at| at.saturating_add(1));
        let (done, partial) = before.split_at_checked(start).unwrap_or_default();
        let done: Vec<&str> = done.split_whitespace().collect();
        Ok((start, complete(&self.root, &self.names, &done, partial)))
    }
}

impl Hinter for Assistant {
    type Hint = String;

    /// Called at every key: somebody is there.
    fn hint(&self, _: &str, _: usize, _: &rustyline::Context<'_>) -> Option<String> {
        let _ = self.watch.send(Sign::Asked);
        None
    }
}

impl Highlighter for Assistant {}
impl Validator for Assistant {}
impl Helper for Assistant {}

const PROMPT: &str = "lazaret> ";
/// Lines that are remembered; they are gone with the session. //= C7
const HISTORY: usize = 200;
