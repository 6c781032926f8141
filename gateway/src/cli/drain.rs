//! `lazaret drain`: nothing new is taken, and what is under way may be finished, before a restart.

use std::time::Duration;

use clap::Args;

use super::apply::done;
use super::context::{Context, strange};
use super::units::{counted, parse_period};
use super::{CliError, Exit};
use crate::control::message::{Request, Response};

/// Arguments of `drain`.
#[derive(Debug, Args)]
pub(super) struct Drain {
    /// End what is left after this time (30s, 5m)
    #[arg(long, value_name = "TIME", value_parser = parse_period, default_value = "60s")]
    timeout: Duration,
    /// Take connections again
    #[arg(long, conflicts_with = "timeout")]
    cancel: bool,
}

impl Drain {
    pub(super) fn run(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        if self.cancel {
            let response = context.ask(&Request::Drain {
                timeout_seconds: None,
            })?;
            return done(context, &response);
        }
        let left = drain(context, self.timeout)?;
        let what = match left {
            0 => "no session is left; nothing new is taken until a minute after the timeout"
                .to_owned(),
            left => format!("{} still there", counted(left, "session")),
        };
        done(context, &Response::Done { what })?;
        Ok(if left == 0 { Exit::Ok } else { Exit::Failure })
    }
}

/// Drains, and waits until it is done; how many sessions are left.
pub(super) fn drain(context: &Context<'_>, timeout: Duration) -> Result<usize, CliError> {
    let request = Request::Drain {
        timeout_seconds: Some(timeout.as_secs()),
    };
    ask(context, &request)?;
    // What is left at the deadline is ended, which takes a moment.
    let turns = timeout.saturating_add(GRACE).as_millis() / TURN.as_millis();
    for _ in 0..turns {
        let (left, draining) = sessions(context)?;
        if left == 0 && draining {
            return Ok(0);
        }
        if !draining {
            // It was started again, and knows nothing of it.
            ask(context, &request)?;
        }
        std::thread::sleep(TURN);
    }
    Ok(sessions(context)?.0)
}

/// Asks again, a few times, when the gateway is there and slow.
pub(super) fn ask(context: &Context<'_>, request: &Request) -> Result<Response, CliError> {
    for _ in 1..ASKS {
        match context.ask(request) {
            Err(error) if error.is_passing() => std::thread::sleep(TURN),
            answered => return answered,
        }
    }
    context.ask(request)
}

/// How many are left, and whether the gateway drains.
fn sessions(context: &Context<'_>) -> Result<(usize, bool), CliError> {
    let Response::Status(status) = ask(context, &Request::Status)? else {
        return Err(strange());
    };
    Ok((status.sessions, status.draining.is_some()))
}

const TURN: Duration = Duration::from_millis(200);
const GRACE: Duration = Duration::from_secs(5);
/// How often a gateway that does not answer is asked; each time waits for a minute at most.
//= C7
const ASKS: u32 = 3;

#[cfg(test)]
pub(super) mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::UnixListener;
    use std::path::Path;

    use tempfile::TempDir;

    use super::*;

    /// A gateway that gives these answers and is gone then; an empty one is a connection that it drops.
    pub(in crate::cli) fn gateway(answers: &'static [&'static str]) -> (TempDir, Asked) {
        let folder = tempfile::tempdir().unwrap();
        let text = format!("[gateway]\nruntime_dir = \"{}\"\n", folder.path().display());
        std::fs::write(folder.path().join("lazaret.toml"), text).unwrap();
        let socket = folder.path().join("control.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let asked = std::thread::spawn(move || {
            let mut asked = Vec::new();
            for (number, answer) in answers.iter().enumerate() {
                let (stream, _) = listener.accept().unwrap();
                let mut line = String::new();
                let _gone = BufReader::new(&stream).read_line(&mut line);
                asked.push(line);
                if number + 1 == answers.len() {
                    std::fs::remove_file(&socket).unwrap();
                }
                // Whoever asks may be gone.
                let _gone = (&stream).write_all(answer.as_bytes());
            }
            asked
        });
        (folder, asked)
    }

    pub(in crate::cli) type Asked = std::thread::JoinHandle<Vec<String>>;

    pub(in crate::cli) const DONE: &str = "{\"response\":\"done\",\"what\":\"x\"}\n";
    const NONE_LEFT: &str = concat!(
        r#"{"response":"status","gateway":"g","version":"1","uptime_seconds":1,"config":"","confirm_seconds":null,"#,
        r#""draining":{"seconds":9},"listen":"[::]:51820","interface":"lz0","workers":[],"table":"as-planned","#,
        r#""journal":"writable","devices":{"configured":0,"connected":0,"quarantined":0,"revoked":0},"#,
        r#""sessions":0,"forwarded":0,"refused":0}"#,
        "\n"
    );
    /// The same, and it was started again.
    const FRESH: &str = concat!(
        r#"{"response":"status","gateway":"g","version":"1","uptime_seconds":1,"config":"","confirm_seconds":null,"#,
        r#""listen":"[::]:51820","interface":"lz0","workers":[],"table":"as-planned","#,
        r#""journal":"writable","devices":{"configured":0,"connected":0,"quarantined":0,"revoked":0},"#,
        r#""sessions":0,"forwarded":0,"refused":0}"#,
        "\n"
    );

    fn drained(folder: &Path) -> Result<usize, CliError> {
        let mut out = Vec::new();
        let context = Context {
            config_dir: folder.to_owned(),
            json: false,
            colour: false,
            out: &mut out,
        };
        drain(&context, Duration::from_secs(9))
    }

    #[test]
    fn a_slow_gateway_is_asked_again_and_a_dead_one_is_dead() {
        for (answers, expected, questions) in [
            (&[DONE, NONE_LEFT][..], "drained", 2),
            (&["", DONE, "", "", NONE_LEFT], "drained", 5),
            (&[DONE, FRESH, DONE, NONE_LEFT], "drained", 4),
            // It goes away while it is asked: nothing is left to finish.
            (&[DONE, ""], "down", 2),
            (&["{}\n"], "other", 1),
        ] {
            let (folder, asked) = gateway(answers);
            let said = match drained(folder.path()) {
                Ok(0) => "drained",
                Ok(_) => "left",
                Err(error) if error.is_down() => "down",
                Err(_) => "other",
            };
            assert_eq!(said, expected, "{answers:?}");
            assert_eq!(asked.join().unwrap().len(), questions, "{answers:?}");
        }
        // Somebody listens and never answers.
        let (folder, asked) = gateway(&["", "", "", DONE]);
        let error = drained(folder.path()).unwrap_err();
        assert!(!error.is_down() && error.is_passing(), "{error}");
        assert_eq!(error.exit, Exit::Unreachable);
        drop(std::os::unix::net::UnixStream::connect(
            folder.path().join("control.sock"),
        ));
        assert_eq!(asked.join().unwrap().len(), 4);
    }
}
