//! What operators ask through the control socket, and the answers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tracing::{debug, warn};

use super::asked::name;
use super::connections::standing;
use super::enforce::with_those_behind;
use super::events::chain;
use super::policy::{Wanted, Wish};
use super::supervisor::{Input, Supervisor};
use crate::audit::event::Event;
use crate::control::message::{
    DeviceCounts, Failure, JournalStatus, KillTarget, Request, Response, Standing, Status,
    TableStatus,
};
use crate::control::server;
use crate::flow::{Clock, ConnectionId, DeviceName};
use crate::inspect::EndReason;
use crate::quic::message::ToQuic;
use crate::segment::changes::Cut;
use crate::tunnel::message::{PeerStatus, ToTunnel};

/// Questions that wait for the tunnel's figures.
#[derive(Default)]
pub(super) struct Questions {
    waiting: BTreeMap<u64, Question>,
    last: u64,
}

struct Question {
    stream: UnixStream,
    request: Request,
    deadline: Option<Instant>,
}

impl Questions {
    /// A number under which the tunnel can be asked.
    pub(super) fn number(&mut self) -> u64 {
        self.last = self.last.saturating_add(1);
        self.last
    }
}

impl Supervisor {
    /// An operator asks. Whoever reaches the socket is root, the gateway's own user, or one of `[policy] operators`.
    pub(super) fn asked(&mut self, stream: UnixStream, request: Request, uid: u32) {
        if let Some(why) = self.may_not(&request, uid) {
            return answer(stream, failed(Failure::Denied, &why));
        }
        match request {
            Request::Status | Request::Devices { .. } | Request::Strangers => {
                self.ask_tunnel(stream, request);
            }
            Request::Sessions => {
                let sessions = self.connections.list(self.clock.now());
                let tunnels = self.quic.tunnels(self.clock.now());
                let consoles = self.list_consoles();
                let all = Response::Sessions {
                    sessions,
                    tunnels,
                    consoles,
                };
                answer(stream, all);
            }
            Request::Denied => answer(
                stream,
                Response::Denied {
                    flows: self.denied.list(self.clock.now()),
                },
            ),
            Request::Probe => self.probe(stream, uid),
            Request::Updated { .. } => {
                let response = match updated(&request, uid) {
                    Ok(event) => {
                        self.record(event);
                        let what = "it is on record".to_owned();
                        Response::Done { what }
                    }
                    Err(response) => response,
                };
                answer(stream, response);
            }
            Request::Pki(request) => self.asked_pki(stream, request, uid),
            Request::Enrol(request) => self.asked_enrol(stream, request, uid),
            Request::Behaviour(request) => self.asked_behaviour(stream, request, uid),
            Request::BreakGlass(request) => {
                let response = self.asked_access(request, uid);
                answer(stream, response);
            }
            Request::AddDevices { .. }
            | Request::Rotate { .. }
            | Request::Extend { .. }
            | Request::Remove { .. }
            | Request::Story { .. }
            | Request::Backup { .. }
            | Request::Adopt { .. } => self.ask_registry(stream, request, uid),
            Request::History => {
                let listed = self.policies.history().list();
                let (versions, damaged) = (listed.records, listed.damaged);
                answer(stream, Response::History { versions, damaged });
            }
            Request::Version { number } => answer(stream, self.version(number)),
            Request::Apply { .. }
            | Request::Rollback { .. }
            | Request::Approve { .. }
            | Request::Confirm
            | Request::Standing { .. }
            | Request::Kill { .. }
            | Request::Drain { .. } => {
                let (command, about) = name(&request);
                let response = self.change(request, uid);
                let result = response.refused().unwrap_or("done").to_owned();
                self.record(Event::Command {
                    by: uid,
                    command,
                    about,
                    result,
                });
                answer(stream, response);
            }
        }
    }

    fn change(&mut self, request: Request, uid: u32) -> Response {
        match request {
            Request::Apply {
                confirm_seconds,
                why,
                signature,
            } => self.wished(Wanted::Files, (confirm_seconds, why, signature), uid),
            Request::Rollback {
                number,
                confirm_seconds,
                why,
            } => self.wished(Wanted::Version(number), (confirm_seconds, why, None), uid),
            Request::Approve { digest } => self.approve(&digest, uid),
            Request::Confirm => match self.confirm(uid) {
                Ok(()) => Response::Done {
                    what: "the last change stays".to_owned(),
                },
                Err(error) => failed(error.failure(), &chain(&error)),
            },
            Request::Standing {
                device,
                standing,
                why,
                approve,
            } => self.set_standing(&device, standing, approve, &why, uid),
            Request::Kill {
                target: KillTarget::Connection(id),
            } => self.kill_connection(id),
            Request::Kill {
                target: KillTarget::Device(device),
            } => self.kill_device(&device),
            Request::Kill {
                target: KillTarget::Console { device, service },
            } => self.kill_console(&device, &service),
            Request::Drain { timeout_seconds } => {
                self.drain_for(timeout_seconds.map(Duration::from_secs), uid)
            }
            Request::Status
            | Request::Devices { .. }
            | Request::Sessions
            | Request::Denied
            | Request::Updated { .. }
            | Request::Pki(_)
            | Request::Enrol(_)
            | Request::Behaviour(_)
            | Request::BreakGlass(_)
            | Request::AddDevices { .. }
            | Request::Rotate { .. }
            | Request::Extend { .. }
            | Request::Remove { .. }
            | Request::Strangers
            | Request::Story { .. }
            | Request::Backup { .. }
            | Request::Adopt { .. }
            | Request::History
            | Request::Version { .. }
            | Request::Probe => failed(Failure::Internal, "this request changes nothing"),
        }
    }

    fn wished(
        &mut self,
        wanted: Wanted,
        (seconds, why, signature): (Option<u64>, String, Option<String>),
        uid: u32,
    ) -> Response {
        if why.len() > MAX_WHY || why.chars().any(char::is_control) {
            let why = format!("a reason is one line of at most {MAX_WHY} bytes");
            return failed(Failure::Usage, &why);
        }
        let wish = Wish {
            wanted,
            trial: seconds.map(Duration::from_secs),
            why,
            signature,
        };
        self.wish(wish, uid)
    }

    fn kill_connection(&mut self, id: ConnectionId) -> Response {
        if self.close(id, EndReason::Killed) {
            Response::Done {
                what: format!("session {id} is ended"),
            }
        } else {
            failed(Failure::Unknown, &format!("there is no session {id}"))
        }
    }

    fn kill_device(&mut self, device: &DeviceName) -> Response {
        let with = with_those_behind(&self.config, device);
        if with.is_empty() {
            return failed(Failure::Unknown, &format!("there is no device {device}"));
        }
        if let Some(quic) = &self.workers.quic {
            let device = device.clone();
            quic.send(ToQuic::End { device }, Vec::new());
        }
        let names: BTreeSet<DeviceName> = with.keys().map(|name| (*name).clone()).collect();
        let addresses = with.values().flat_map(|entry| entry.addresses.iter());
        let cuts: Vec<Cut> = addresses
            .map(|address| Cut::Device { address: *address })
            .collect();
        let ids: Vec<ConnectionId> = self
            .connections
            .iter_mut()
            .filter(|(_, connection)| names.contains(&connection.device))
            .map(|(id, _)| id)
            .collect();
        let ended = ids
            .into_iter()
            .filter(|id| self.close(*id, EndReason::Killed))
            .count();
        self.uncut.extend(cuts);
        match self
            .end_consoles(|(device, _)| names.contains(device), "killed")
            .1
        {
            Ok(()) => Response::Done {
                what: format!("all flows of {device} are cut, {ended} of them sessions"),
            },
            Err(error) => failed(Failure::Internal, &chain(&error)),
        }
    }

    /// Some answers need the tunnel's figures.
    fn ask_tunnel(&mut self, stream: UnixStream, request: Request) {
        let number = self.questions.number();
        let deadline = self.clock.now().checked_add(PATIENCE);
        let question = Question {
            stream,
            request,
            deadline,
        };
        let asked =
            self.workers.tunnel.as_ref().is_some_and(|tunnel| {
                tunnel.send(ToTunnel::Status { request: number }, Vec::new())
            });
        if asked && self.questions.waiting.len() < MAX_QUESTIONS {
            self.questions.waiting.insert(number, question);
        } else {
            self.answer_question(question, &[]);
        }
    }

    pub(super) fn tunnel_status(&mut self, request: u64, mut peers: Vec<PeerStatus>) {
        peers.extend(self.quic.peers(self.clock.now()));
        if self.probe_tunnel_answered(request) || self.presence_answered(request, &peers) {
            return;
        }
        if let Some(question) = self.questions.waiting.remove(&request) {
            self.answer_question(question, &peers);
        }
    }

    /// The tunnel does not answer: say what is known without it.
    pub(super) fn answer_late_questions(&mut self, now: Instant) {
        let late = |_: &u64, question: &mut Question| {
            question.deadline.is_none_or(|deadline| deadline <= now)
        };
        let late: Vec<_> = self.questions.waiting.extract_if(.., late).collect();
        for (_, question) in late {
            self.answer_question(question, &[]);
        }
    }

    fn answer_question(&self, question: Question, peers: &[PeerStatus]) {
        let response = match &question.request {
            Request::Devices { device } => self.devices(device.as_ref(), peers),
            Request::Strangers => Response::Strangers {
                strangers: self.inventory.strangers(),
            },
            Request::Status
            | Request::Apply { .. }
            | Request::Confirm
            | Request::Standing { .. }
            | Request::Sessions
            | Request::Kill { .. }
            | Request::Probe
            | Request::Pki(_)
            | Request::Enrol(_)
            | Request::Behaviour(_)
            | Request::BreakGlass(_)
            | Request::Drain { .. }
            | Request::Updated { .. }
            | Request::AddDevices { .. }
            | Request::Rotate { .. }
            | Request::Extend { .. }
            | Request::Remove { .. }
            | Request::Story { .. }
            | Request::Backup { .. }
            | Request::Adopt { .. }
            | Request::Rollback { .. }
            | Request::Approve { .. }
            | Request::History
            | Request::Version { .. }
            | Request::Denied => Response::Status(Box::new(self.status(peers))),
        };
        answer(question.stream, response);
    }

    fn status(&self, peers: &[PeerStatus]) -> Status {
        let now = self.clock.now();
        let names = self.everybody();
        let mut devices = DeviceCounts {
            configured: names.len(),
            ..DeviceCounts::default()
        };
        for device in names {
            match standing(&self.config, &self.registry, device) {
                Standing::Active => {}
                Standing::Quarantined => devices.quarantined += 1,
                Standing::Revoked => devices.revoked += 1,
                Standing::Pending => devices.pending += 1,
                Standing::Expired => devices.expired += 1,
            }
        }
        devices.connected = peers
            .iter()
            .filter(|peer| peer.handshake_seconds.is_some_and(|s| s < CONNECTED))
            .count();
        Status {
            gateway: self.config.gateway.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: now.saturating_duration_since(self.started).as_secs(),
            config: self.digest.clone(),
            confirm_seconds: self
                .unconfirmed
                .as_ref()
                .map(|trial| trial.deadline.saturating_duration_since(now).as_secs()),
            policy: self.policies.status(now),
            draining: self.draining(),
            listen: self.config.wireguard.listen,
            interface: self.config.wireguard.interface.clone(),
            workers: self.workers.list(),
            table: self
                .drift
                .clone()
                .map_or(TableStatus::AsPlanned, TableStatus::Drifted),
            journal: self
                .outbox
                .failure()
                .map_or(JournalStatus::Writable, |why| {
                    JournalStatus::Failed(why.to_owned())
                }),
            registry: self.registry_status(),
            break_glass: self.access_status(),
            break_glass_trouble: self.access_trouble(),
            devices,
            ca: self.ca_status(),
            sessions: self.connections.len(),
            consoles: self.consoles_status(),
            forwarded: self.forwarded,
            refused: self.refused,
            behaviour: self.behaviour_status(),
        }
    }
}

/// What is put on record of an update: versions are versions, and a verdict is one line.
fn updated(request: &Request, by: u32) -> Result<Event, Response> {
    let (command, about) = name(request);
    let Request::Updated {
        from, to, verdict, ..
    } = request
    else {
        return Err(failed(Failure::Internal, "this is no update"));
    };
    let is_version = |text: &String| {
        (1..=LONGEST_VERSION).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b'.')
    };
    if !is_version(from) || !to.iter().all(is_version) {
        return Err(failed(Failure::Usage, "a version is numbers with dots"));
    }
    if verdict.is_empty() || verdict.len() > MAX_WHY || verdict.chars().any(char::is_control) {
        let why = format!("a verdict is one line of at most {MAX_WHY} bytes");
        return Err(failed(Failure::Usage, &why));
    }
    Ok(Event::Command {
        by,
        command,
        about,
        result: verdict.clone(),
    })
}

pub(super) fn failed(kind: Failure, why: &str) -> Response {
    Response::Failed {
        kind,
        why: why.to_owned(),
    }
}

/// Takes requests, a few at a time.
pub(super) async fn listen_to_operators(
    listener: UnixListener,
    inputs: mpsc::Sender<Input>,
    operators: watch::Receiver<Vec<u32>>,
) {
    let room = std::sync::Arc::new(tokio::sync::Semaphore::new(OPERATORS));
    loop {
        let Ok(permit) = std::sync::Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "cannot accept an operator");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let inputs = inputs.clone();
        let operators = operators.borrow().clone();
        tokio::spawn(async move {
            let mut stream = stream;
            match server::read_request(&mut stream, &operators).await {
                // The supervisor may be stopping; then the operator sees the connection closed.
                Ok((request, uid)) => drop(
                    inputs
                        .send(Input::Asked {
                            stream,
                            request,
                            uid,
                        })
                        .await,
                ),
                Err(error) => drop(server::respond(&mut stream, &error.response()).await),
            }
            drop(permit);
        });
    }
}

/// Answers in a task of its own: an operator who does not read must not hold up the house.
pub(super) fn answer(mut stream: UnixStream, response: Response) {
    tokio::spawn(async move {
        if let Err(error) = server::respond(&mut stream, &response).await {
            debug!(%error, "an operator did not wait for the answer");
        }
    });
}

/// Operators at a time.
//= C7
const OPERATORS: usize = 16;
/// After an operator that could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(2);
const MAX_QUESTIONS: usize = 64;
pub(super) const MAX_WHY: usize = 512;
/// Four numbers of nine digits with dots between them.
const LONGEST_VERSION: usize = 39;
/// A handshake is renewed every two minutes while packets flow.
const CONNECTED: u64 = 180;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::message::UpdateAction;

    fn asked(from: &str, to: Option<&str>, verdict: &str) -> Result<Event, Response> {
        let request = Request::Updated {
            action: UpdateAction::Apply,
            from: from.to_owned(),
            to: to.map(str::to_owned),
            verdict: verdict.to_owned(),
        };
        updated(&request, 770)
    }

    #[test]
    fn an_update_is_on_record_with_who_and_what() {
        let event = asked("1", Some("2.0.1"), "installed").unwrap();
        let expected = Event::Command {
            by: 770,
            command: "update apply".to_owned(),
            about: "from version 1 to 2.0.1".to_owned(),
            result: "installed".to_owned(),
        };
        assert_eq!(event, expected);
        assert!(asked("1", None, "wrong-signature: no").is_ok());
        let long = "9".repeat(LONGEST_VERSION + 1);
        for (from, to, verdict) in [
            ("", None, "installed"),
            ("1; rm", None, "installed"),
            ("1", Some("two"), "installed"),
            ("1", Some(long.as_str()), "installed"),
            ("1", None, ""),
            ("1", None, "two\nlines"),
            ("1", None, &"x".repeat(MAX_WHY + 1)),
        ] {
            assert!(asked(from, to, verdict).is_err(), "{from} {to:?} {verdict}");
        }
    }
}
