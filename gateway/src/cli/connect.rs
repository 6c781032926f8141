//! `lazaret connect`: the client of a tunnel of QUIC, for a clinician's machine. It needs no gateway on this one.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use lazaret_config::{Client, Forward};

use super::context::Context;
use super::{CliError, Exit};
use crate::connect::told::told;
use crate::connect::{self, Ending, Event, LifeError};
use crate::words::Language;

/// Arguments of `connect`.
#[derive(Debug, Args)]
pub(super) struct Connect {
    /// The file that says where the gateway is and who you are
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Lead a local port to a service, such as 127.0.0.1:11112=pacs or 127.0.0.1:13389=console:3389
    #[arg(long, value_name = "ADDRESS:PORT=SERVICE")]
    forward: Vec<Forward>,
    /// End when there is no tunnel, instead of trying again
    #[arg(long)]
    once: bool,
}

impl Connect {
    pub(super) fn run(self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let mut client = Client::load(&self.file)?;
        if client.interface.is_some() && !self.forward.is_empty() {
            let why =
                "the file asks for an interface, which leads to all services: leave out --forward";
            return Err(CliError::new(Exit::Usage, why));
        }
        client.forwards.extend(self.forward);
        if let Some(listen) = twice(&client.forwards) {
            let why = format!("{listen} is to lead to two services: leave out one --forward");
            return Err(CliError::new(Exit::Usage, why));
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let language = client.language.unwrap_or_else(of_system);
        let mut failed = None;
        let mut tell = |event: &Event| {
            let told = if context.json {
                context.print_json(event)
            } else {
                context.print(&format!("{}\n", told(event, language)))
            };
            let flushed = told.and_then(|()| Ok(context.out.flush()?));
            if let Err(error) = flushed {
                failed.get_or_insert(error);
            }
        };
        let ending = runtime.block_on(async {
            let mut stop = std::pin::pin!(stopped());
            connect::run(&client, self.once, &mut tell, stop.as_mut()).await
        });
        // A name that is being looked up, which nobody answers, would keep the process for as long as the system asks.
        runtime.shutdown_background();
        let ending = ending.map_err(|error| {
            let is_file = matches!(error, LifeError::Tls(_));
            let error = CliError::from(error);
            if is_file {
                error.with(Exit::Configuration)
            } else {
                error
            }
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        Ok(match ending {
            Ending::Stopped => Exit::Ok,
            Ending::Refused(_) => Exit::Denied,
            Ending::Lost(_) => Exit::Unreachable,
        })
    }
}

/// A local port that stands twice, other than one that the system is to choose.
fn twice(forwards: &[Forward]) -> Option<SocketAddr> {
    let chosen = forwards.iter().map(|forward| forward.listen);
    let mut seen = BTreeSet::new();
    let mut chosen = chosen.filter(|listen| listen.port() != 0);
    chosen.find(|listen| !seen.insert(*listen))
}

/// The language of the system, by the first of its variables that says one.
fn of_system() -> Language {
    let said = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter();
    let mut said = said.filter_map(|name| std::env::var(name).ok());
    let locale = said.find(|locale| !locale.is_empty());
    Language::of_locale(&locale.unwrap_or_default())
}

/// Until the user, or the system, wants it to end.
async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
