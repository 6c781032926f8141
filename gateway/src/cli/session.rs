//! `lazaret session list|kill`.

use clap::Subcommand;

use super::apply::done;
use super::context::{Context, strange};
use super::table::Table;
use super::units::{bytes, count, period};
use super::{CliError, Exit};
use crate::control::message::{
    ConsoleSession, KillTarget, Request, Response, SessionStatus, TunnelSession,
};
use crate::flow::{ConnectionId, DeviceName, Inspected, ServiceName};

/// Subcommands of `session`.
#[derive(Debug, Subcommand)]
pub(super) enum Session {
    /// The inspected connections, the devices that are in by a certificate, and who is on which console
    List,
    /// End a connection, a session on a console, or everything of a device
    Kill {
        /// The number of a connection, DEVICE/SERVICE for a session on a console, or device:NAME for all flows of a device
        #[arg(value_name = "NUMBER|DEVICE/SERVICE|device:NAME", value_parser = target)]
        target: KillTarget,
    },
}

impl Session {
    pub(super) fn run(self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        match self {
            Self::List => {
                let response = context.ask(&Request::Sessions)?;
                let Response::Sessions {
                    sessions,
                    tunnels,
                    consoles,
                } = &response
                else {
                    return Err(strange());
                };
                if context.json {
                    context.print_json(&response)?;
                } else {
                    context.print(&render(sessions))?;
                    if !tunnels.is_empty() {
                        context.print(&format!("\n{}", render_tunnels(tunnels)))?;
                    }
                    if !consoles.is_empty() {
                        context.print(&format!("\n{}", render_consoles(consoles)))?;
                    }
                }
                Ok(Exit::Ok)
            }
            Self::Kill { target } => {
                let response = context.ask(&Request::Kill { target })?;
                done(context, &response)
            }
        }
    }
}

/// A device may be called `17`, so it needs its prefix.
fn target(text: &str) -> Result<KillTarget, String> {
    if let Some(name) = text.strip_prefix("device:") {
        let device = name
            .parse::<DeviceName>()
            .map_err(|error| error.to_string())?;
        return Ok(KillTarget::Device(device));
    }
    if let Some((device, service)) = text.split_once('/') {
        let device = device.parse::<DeviceName>();
        let service = service.parse::<ServiceName>();
        return Ok(KillTarget::Console {
            device: device.map_err(|error| error.to_string())?,
            service: service.map_err(|error| error.to_string())?,
        });
    }
    match text.parse() {
        Ok(number) => Ok(KillTarget::Connection(ConnectionId(number))),
        Err(_) => Err("give a connection's number, DEVICE/SERVICE, or device:NAME".to_owned()),
    }
}

fn render(sessions: &[SessionStatus]) -> String {
    let mut table = Table::new(&[
        "NUMBER",
        "DEVICE",
        "SERVICE",
        "PROTOCOL",
        "OPEN FOR",
        "FORWARDED",
        "REFUSED",
    ])
    .right(&[0, 5, 6]);
    for session in sessions {
        let protocol = match session.protocol {
            Inspected::Hl7 => "hl7",
            Inspected::Dicom => "dicom",
        };
        table.row([
            session.connection.to_string(),
            session.device.to_string(),
            session.service.to_string(),
            protocol.to_owned(),
            period(session.seconds),
            count(session.forwarded),
            count(session.refused),
        ]);
    }
    table.render()
}

fn render_tunnels(tunnels: &[TunnelSession]) -> String {
    let mut table = Table::new(&[
        "DEVICE",
        "FROM",
        "KEY EXCHANGE",
        "IN FOR",
        "ROUND TRIP",
        "RECEIVED",
        "SENT",
        "SPOOFED",
        "CROWDED",
    ])
    .right(&[4, 5, 6, 7, 8]);
    for tunnel in tunnels {
        let micros = tunnel.rtt_micros;
        table.row([
            tunnel.device.to_string(),
            tunnel.peer.to_string(),
            tunnel.key_exchange.clone(),
            period(tunnel.seconds),
            format!("{}.{} ms", micros / 1000, micros % 1000 / 100),
            bytes(tunnel.received),
            bytes(tunnel.sent),
            count(tunnel.spoofed),
            count(tunnel.crowded),
        ]);
    }
    table.render()
}

fn render_consoles(consoles: &[ConsoleSession]) -> String {
    let mut table = Table::new(&[
        "DEVICE",
        "CONSOLE",
        "SINCE",
        "OPEN FOR",
        "CONNECTIONS",
        "RECEIVED",
        "SENT",
        "IDLE FOR",
        "LEFT",
    ])
    .right(&[4, 5, 6]);
    let counted = |number: Option<u64>| number.map_or("not counted".to_owned(), bytes);
    for console in consoles {
        table.row([
            console.device.to_string(),
            console.service.to_string(),
            console.since.to_string(),
            period(console.seconds),
            count(console.connections),
            counted(console.received),
            counted(console.sent),
            period(console.idle_seconds),
            console.seconds_left.map_or("-".to_owned(), period),
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_shown() {
        let session = SessionStatus {
            connection: ConnectionId(7),
            device: "ecg-0042".parse().unwrap(),
            service: "his-results".parse().unwrap(),
            protocol: Inspected::Hl7,
            seconds: 95,
            forwarded: 1041,
            refused: 1,
        };
        let other = SessionStatus {
            connection: ConnectionId(12),
            protocol: Inspected::Dicom,
            ..session.clone()
        };
        let sessions = vec![session, other];
        let tunnels = vec![TunnelSession {
            device: "dr-moreau".parse().unwrap(),
            peer: "192.0.2.7:51002".parse().unwrap(),
            seconds: 3725,
            key_exchange: "X25519MLKEM768".to_owned(),
            received: 12_345,
            sent: 67_890_123,
            spoofed: 2,
            crowded: 0,
            malformed: 0,
            rtt_micros: 23_456,
        }];
        let console = ConsoleSession {
            device: "dr-moreau".parse().unwrap(),
            service: "console".parse().unwrap(),
            since: "2026-11-24T08:03:11Z".parse().unwrap(),
            seconds: 5400,
            connections: 2,
            connections_so_far: 17,
            received: Some(1_234_567),
            sent: Some(67_890_123),
            idle_seconds: 4,
            seconds_left: Some(36_000),
        };
        let uncounted = ConsoleSession {
            device: "ws-12".parse().unwrap(),
            received: None,
            sent: None,
            seconds_left: None,
            ..console.clone()
        };
        let consoles = vec![console, uncounted];
        let json = serde_json::to_string(&Response::Sessions {
            sessions: sessions.clone(),
            tunnels: tunnels.clone(),
            consoles: consoles.clone(),
        });
        insta::assert_snapshot!(format!(
            "{}\n{}\n{}\n{}",
            render(&sessions),
            render_tunnels(&tunnels),
            render_consoles(&consoles),
            json.unwrap()
        ));
    }

    #[test]
    fn what_to_kill() {
        assert_eq!(target("17"), Ok(KillTarget::Connection(ConnectionId(17))));
        assert_eq!(
            target("device:17"),
            Ok(KillTarget::Device("17".parse().unwrap()))
        );
        assert_eq!(
            target("dr-moreau/console"),
            Ok(KillTarget::Console {
                device: "dr-moreau".parse().unwrap(),
                service: "console".parse().unwrap(),
            })
        );
        assert!(target("dr-moreau/").is_err() && target("/console").is_err());
        assert!(target("ecg-0042").is_err() && target("device:É").is_err());
    }
}
