//! A probe: whether tunnel, relays and journal do their work now.
//!
//! In: an operator's [`Request::Probe`](crate::control::message::Request). Out: what each part did, within [`PATIENCE`].
//! The supervisor plays a device and a hospital on socket pairs, under a policy of its own; the relays cannot tell the
//! difference. Such a connection is in no list and no count, and what is decided on it is not on record: it says
//! nothing of anybody. That there was a probe is on record, which is also how the journal is tried.

mod play;
mod words;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as Pair;
use std::time::{Duration, Instant};

use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tracing::warn;

use self::play::Ends;
use self::words::Wanted;
use super::operator::answer;
use super::supervisor::{Input, Supervisor};
use super::worker::Kind;
use crate::audit::event::Event;
use crate::control::message::{Failure, Probed, Response};
use crate::flow::{Clock, ConnectionId};
use crate::forward::message::ToRelay;
use crate::inspect::EndReason;
use crate::tunnel::message::ToTunnel;

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Tunnel,
    Table,
    Journal,
    Hl7,
    Hl7Refusal,
    Dicom,
    DicomRefusal,
}

impl Part {
    const ALL: [Self; 7] = [
        Self::Tunnel,
        Self::Table,
        Self::Journal,
        Self::Hl7,
        Self::Hl7Refusal,
        Self::Dicom,
        Self::DicomRefusal,
    ];

    /// Whether each relay of a protocol is tried.
    fn is_of_relays(self) -> bool {
        match self {
            Self::Hl7 | Self::Hl7Refusal | Self::Dicom | Self::DicomRefusal => true,
            Self::Tunnel | Self::Table | Self::Journal => false,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Tunnel => "tunnel",
            Self::Table => "table",
            Self::Journal => "journal",
            Self::Hl7 => "hl7",
            Self::Hl7Refusal => "hl7-refusal",
            Self::Dicom => "dicom",
            Self::DicomRefusal => "dicom-refusal",
        }
    }
}

/// All probes: at most one round at a time, and everybody who asks meanwhile gets its answer.
#[derive(Default)]
pub(super) struct Probes {
    round: Option<Round>,
    rounds: u64,
    connections: u64,
}

/// A probe under way.
struct Round {
    number: u64,
    begun: Instant,
    askers: Vec<UnixStream>,
    /// Of the parts that are finished.
    results: BTreeMap<Part, (Duration, Result<(), String>)>,
    /// Relays that did well.
    passed: BTreeMap<Part, u8>,
    legs: BTreeMap<ConnectionId, Leg>,
    /// The number under which the tunnel was asked.
    tunnel: Option<u64>,
    /// The flush after which the record of this probe is on the disk.
    flush: u64,
    /// Ends with the round.
    players: JoinSet<()>,
}

/// A connection through a relay.
struct Leg {
    part: Part,
    relay: Kind,
    /// The relay's end of the hospital's side, until it asks for it.
    hospital: Option<OwnedFd>,
}

impl Supervisor {
    /// Begins a probe, or lets the asker wait for the one that is under way.
    pub(super) fn probe(&mut self, asker: UnixStream, by: u32) {
        if let Some(round) = &mut self.probes.round {
            if round.askers.len() < MAX_ASKERS {
                round.askers.push(asker);
            } else {
                let why = format!("{MAX_ASKERS} wait for the answer already");
                let kind = Failure::Internal;
                answer(asker, Response::Failed { kind, why });
            }
            return;
        }
        self.probes.rounds = self.probes.rounds.saturating_add(1);
        self.probes.round = Some(Round {
            number: self.probes.rounds,
            begun: self.clock.now(),
            askers: vec![asker],
            results: BTreeMap::new(),
            passed: BTreeMap::new(),
            legs: BTreeMap::new(),
            tunnel: None,
            flush: self.outbox.next_flush(),
            players: JoinSet::new(),
        });
        self.record(Event::Command {
            by,
            command: "probe".to_owned(),
            about: "tunnel, table, journal and relays".to_owned(),
            result: "begun".to_owned(),
        });
        self.probe_journal();
        self.verify_table();
        let table = self.drift.clone().map_or(Ok(()), Err);
        self.probe_result(Part::Table, table);
        self.probe_tunnel();
        for number in 0..self.relay_workers {
            for part in [Part::Hl7, Part::Hl7Refusal, Part::Dicom, Part::DicomRefusal] {
                if let Err(why) = self.probe_relay(part, number) {
                    self.probe_result(part, Err(why));
                }
            }
        }
    }

    fn probe_tunnel(&mut self) {
        let request = self.questions.number();
        let asked = (self.workers.tunnel.as_ref())
            .is_some_and(|tunnel| tunnel.send(ToTunnel::Status { request }, Vec::new()));
        match &mut self.probes.round {
            Some(round) if asked => round.tunnel = Some(request),
            Some(_) | None => self.probe_result(Part::Tunnel, Err("it does not run".to_owned())),
        }
    }

    /// The tunnel answered. True when that was for a probe.
    pub(super) fn probe_tunnel_answered(&mut self, request: u64) -> bool {
        let round = self.probes.round.as_mut();
        let asked = round.is_some_and(|round| round.tunnel == Some(request));
        if asked {
            self.probe_result(Part::Tunnel, Ok(()));
        }
        asked
    }

    /// Looks whether the record of the probe is on the disk, or cannot get there.
    pub(super) fn probe_journal(&mut self) {
        let Some(round) = &self.probes.round else {
            return;
        };
        if round.results.contains_key(&Part::Journal) {
            return;
        }
        if let Some(why) = self.outbox.failure() {
            let why = why.to_owned();
            self.probe_result(Part::Journal, Err(why));
        } else if self.outbox.has_flushed(round.flush) {
            self.probe_result(Part::Journal, Ok(()));
        } else {
            // The flush that was under way may not cover it.
            self.deliver_events();
        }
    }

    /// Hands a relay a connection of nobody, and plays both of its ends.
    fn probe_relay(&mut self, part: Part, number: u8) -> Result<(), String> {
        let wanted = match part {
            Part::Hl7 | Part::Dicom => Wanted::Passage,
            Part::Hl7Refusal | Part::DicomRefusal => Wanted::Refusal,
            Part::Tunnel | Part::Table | Part::Journal => return Ok(()),
        };
        let (relay, policy) = match part {
            Part::Dicom | Part::DicomRefusal => (Kind::RelayDicom(number), words::dicom_policy()),
            Part::Hl7 | Part::Hl7Refusal | Part::Tunnel | Part::Table | Part::Journal => {
                (Kind::RelayHl7(number), words::hl7_policy())
            }
        };
        let no_pair = |error: io::Error| format!("no socket pair can be made: {error}");
        let (device, for_relay) = pair().map_err(no_pair)?;
        let (hospital, for_later) = pair().map_err(no_pair)?;
        let Some(round) = &mut self.probes.round else {
            return Ok(());
        };
        self.probes.connections = self.probes.connections.saturating_add(1);
        let number = self.probes.connections;
        let id = ConnectionId(u64::MAX.saturating_sub(number));
        let open = ToRelay::Open {
            id,
            subject: NOBODY,
            exchange: NOBODY,
            policy: Box::new(policy),
        };
        let name = relay.name();
        let worker = self.workers.relay(relay);
        let worker = worker.ok_or_else(|| format!("{name} does not run"))?;
        if !worker.send(open, vec![for_relay.into()]) {
            return Err(format!("{name} takes no connection"));
        }
        let leg = Leg {
            part,
            relay,
            hospital: Some(for_later.into()),
        };
        round.legs.insert(id, leg);
        let (round_number, inputs) = (round.number, self.inputs.clone());
        round.players.spawn(async move {
            let ends = Ends { device, hospital };
            let result = match relay {
                Kind::RelayDicom(_) => ends.dicom(wanted).await,
                Kind::RelayHl7(_)
                | Kind::TunnelWireguard
                | Kind::TunnelQuic
                | Kind::Audit
                | Kind::Signer
                | Kind::Enrol
                | Kind::Keystore => ends.hl7(number, wanted).await,
            };
            let probed = Input::Probed {
                round: round_number,
                part,
                result: result.map_err(|why| format!("{name}: {why}")),
            };
            // The supervisor may be gone; then nobody waits for it.
            drop(inputs.send(probed).await);
        });
        Ok(())
    }

    /// A relay wants the hospital's end of a connection. True when it is one of a probe.
    pub(super) fn probe_connect(&mut self, kind: Kind, id: ConnectionId) -> bool {
        let round = self.probes.round.as_mut();
        let leg = round.and_then(|round| round.legs.get_mut(&id));
        let Some(leg) = leg.filter(|leg| leg.relay == kind) else {
            return false;
        };
        let part = leg.part;
        match part {
            Part::Hl7 | Part::Dicom => {
                if let (Some(end), Some(relay)) = (leg.hospital.take(), self.workers.relay(kind)) {
                    relay.send(ToRelay::Upstream { id }, vec![end]);
                }
            }
            //= C1
            Part::Hl7Refusal | Part::DicomRefusal | Part::Tunnel | Part::Table | Part::Journal => {
                let why = "the hospital was to be reached for what must be refused";
                self.probe_result(part, Err(why.to_owned()));
            }
        }
        true
    }

    /// A player is at its end.
    pub(super) fn probed(&mut self, round: u64, part: Part, result: Result<(), String>) {
        if self
            .probes
            .round
            .as_ref()
            .is_some_and(|now| now.number == round)
        {
            self.probe_result(part, result);
        }
    }

    /// The first word about a part counts, unless a bad one follows; a good one is that of the last of all relays.
    fn probe_result(&mut self, part: Part, result: Result<(), String>) {
        let now = self.clock.now();
        let Some(round) = &mut self.probes.round else {
            return;
        };
        if result.is_ok() && part.is_of_relays() {
            let passed = round.passed.entry(part).or_default();
            *passed = passed.saturating_add(1);
            if *passed < self.relay_workers {
                return;
            }
        }
        let took = now.saturating_duration_since(round.begun);
        match round.results.get(&part) {
            Some((_, Err(_))) => {}
            Some((_, Ok(()))) if result.is_ok() => {}
            Some((_, Ok(()))) | None => drop(round.results.insert(part, (took, result))),
        }
        if round.results.len() == Part::ALL.len() {
            self.end_probe();
        }
    }

    /// Ends a probe that waited long enough.
    pub(super) fn end_late_probe(&mut self, now: Instant) {
        self.probe_journal();
        let Some(round) = &mut self.probes.round else {
            return;
        };
        let waited = now.saturating_duration_since(round.begun);
        if waited < PATIENCE {
            return;
        }
        for part in Part::ALL {
            let why = || format!("no answer in {} s", PATIENCE.as_secs());
            (round.results)
                .entry(part)
                .or_insert_with(|| (waited, Err(why())));
        }
        self.end_probe();
    }

    fn end_probe(&mut self) {
        let Some(round) = self.probes.round.take() else {
            return;
        };
        for (id, leg) in &round.legs {
            if let Some(relay) = self.workers.relay(leg.relay) {
                let (id, why) = (*id, EndReason::Killed);
                // One that is over already is not known any more.
                relay.send(ToRelay::Close { id, why }, Vec::new());
            }
        }
        let parts: Vec<Probed> = (round.results.into_iter())
            .map(|(part, (took, result))| Probed {
                part: part.name().to_owned(),
                micros: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
                failed: result.err(),
            })
            .collect();
        let failed: Vec<&str> = (parts.iter())
            .filter(|probed| probed.failed.is_some())
            .map(|probed| probed.part.as_str())
            .collect();
        if !failed.is_empty() {
            let failed = failed.join(", ");
            warn!(failed, "a probe did not come back as it should");
            self.record(Event::Command {
                by: super::life::OURSELVES,
                command: "probe".to_owned(),
                about: failed,
                result: "failed".to_owned(),
            });
        }
        for asker in round.askers {
            let parts = parts.clone();
            answer(asker, Response::Probed { parts });
        }
    }
}

/// Our end and the relay's.
fn pair() -> io::Result<(UnixStream, Pair)> {
    let (ours, theirs) = Pair::pair()?;
    ours.set_nonblocking(true)?;
    Ok((UnixStream::from_std(ours)?, theirs))
}

/// How long a probe may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Operators who may wait for one probe.
//= C7
const MAX_ASKERS: usize = 16;
/// Connections that a relay has room for beyond those of devices.
pub(super) const CONNECTIONS: usize = 8;
/// The number of no device and of no exchange.
const NOBODY: u64 = u64::MAX;

#[cfg(test)]
mod tests;
