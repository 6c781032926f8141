//! The supervisor's eye on consoles: looks at connection tracking about once a second, and ends what may not go on.
//!
//! In: time, the policy, the registry. Out: records, cuts. What a session is, is said in `consoles.rs`.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use lazaret_config::{Access, Lapsed, Overdue, Transport, exception_number};
use tracing::{info, warn};

use super::connections::standing;
use super::consoles::{Basis, Consoles, Moment, Session, Who};
use super::crowded::Crowded;
use super::supervisor::Supervisor;
use crate::control::message::{ConsoleSession, ConsolesStatus, Failure, Response, Standing};
use crate::flow::{Clock, DeviceName, ServiceName};
use crate::segment::SegmentError;
use crate::segment::changes::Cut;
use crate::segment::flows::{self, Flow, FlowKey};
use crate::segment::table::Why;

/// What is followed, and when.
#[derive(Default)]
pub(super) struct ConsoleWatch {
    consoles: Consoles,
    crowded: Crowded,
    looked: Option<Instant>,
    /// How long the last look took.
    took: Duration,
    /// Said once.
    blind: bool,
}

impl Supervisor {
    /// Looks when it is time to.
    pub(super) fn follow_consoles(&mut self, now: Instant) {
        let watch = &self.consoles;
        if watch.consoles.rests() && !self.plan.forwards() {
            return;
        }
        // A table with very many connections takes longer, and is looked at less often.
        let pause = LOOK_EVERY
            .max(watch.took.saturating_mul(SHARE))
            .min(LOOK_AT_LEAST);
        let due = |at: Instant| now.saturating_duration_since(at) >= pause;
        if watch.looked.is_none_or(due) {
            self.look_at_consoles();
        }
    }

    /// Looks now, and gives what is forwarded. What must end is cut with the next tick, or by who asked for the look.
    //= C8
    //= C9
    pub(super) fn look_at_consoles(&mut self) -> Vec<Flow> {
        let now = self.clock.now();
        let wall = self.clock.wall();
        let found = flows::forwarded();
        let mut watch = std::mem::take(&mut self.consoles);
        watch.looked = Some(now);
        watch.took = self.clock.now().saturating_duration_since(now);
        let forwarded = match found {
            Ok((flows, whole)) => {
                if std::mem::take(&mut watch.blind) {
                    info!("connection tracking answers again");
                }
                let at = Moment { now, wall };
                let strangers = watch
                    .consoles
                    .look(&flows, whole, at, |key| self.whose(key));
                self.uncut.extend(strangers.iter().map(cut));
                let most = self.config.limits.flows_per_device;
                for key in watch.crowded.look(&flows, most) {
                    self.uncut.insert(Cut::Flow(key));
                    self.note_crowded(&key, now);
                }
                flows
            }
            Err(error) => {
                if !std::mem::replace(&mut watch.blind, true) {
                    let error = super::events::chain(&error);
                    warn!(error, "sessions on consoles cannot be followed");
                }
                Vec::new()
            }
        };
        let over = watch
            .consoles
            .judge(now, |who, session| self.verdict(who, session, now, wall));
        self.uncut.extend(over.iter().map(cut));
        for event in watch.consoles.records(false) {
            self.record(event);
        }
        for ((device, service), times) in watch.consoles.take_fresh() {
            self.follow_use(&device, &service, times);
        }
        self.consoles = watch;
        forwarded
    }

    fn note_crowded(&mut self, key: &FlowKey, now: Instant) {
        let device = self.config.device_at(key.from.ip()).cloned();
        let flow = crate::flow::Flow {
            source: key.from.ip(),
            destination: key.to,
        };
        let transport = match key.transport {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        };
        let why = Why::Crowded.words();
        self.denied.note(flow, transport, device, why, now);
    }

    /// To whom a connection belongs, if the policy in force allows it.
    fn whose(&self, key: &FlowKey) -> Option<Who> {
        let device = self.config.device_at(key.from.ip())?;
        let service = self.plan.forwarded(device, key.transport, key.to)?;
        Some((device.clone(), service.clone()))
    }

    /// Why a session may not go on.
    fn verdict(
        &self,
        who: &Who,
        session: &Session,
        now: Instant,
        wall: Timestamp,
    ) -> Result<Basis, &'static str> {
        let (device, service) = who;
        let access = self.config.access(device, service, wall);
        match standing(&self.config, &self.registry, device) {
            Standing::Active => {}
            // What is left to it.
            Standing::Quarantined if self.config.is_contained(device) && access.is_ok() => {}
            Standing::Quarantined => return Err("quarantined"),
            Standing::Revoked => return Err("revoked"),
            Standing::Pending => return Err("pending"),
            Standing::Expired => return Err("expired"),
        }
        let access = access.map_err(|lapsed| match (session.basis(), lapsed) {
            (Basis::BreakGlass, _) => "break-glass",
            (Basis::Rules, Lapsed::Hours) => "hours",
            (Basis::Rules, Lapsed::Until) => "expired",
            (Basis::Rules, Lapsed::NoRule) => "policy",
        })?;
        let mut flows = session.flows().peekable();
        let none = flows.peek().is_none();
        if !none && !flows.any(|key| self.whose(key).as_ref() == Some(who)) {
            return Err("policy");
        }
        access
            .goes_on(session.age(now), session.silence(now))
            .map_err(|overdue| match overdue {
                Overdue::Idle => "idle",
                Overdue::Longest => "total",
            })?;
        Ok(basis(&access))
    }

    /// For operators, as of now.
    pub(super) fn list_consoles(&mut self) -> Vec<ConsoleSession> {
        self.look_at_consoles();
        let (now, wall) = (self.clock.now(), self.clock.wall());
        self.consoles
            .consoles
            .list(now, |(device, service), session| {
                let by_rules = self.seconds_of_access(device, service, wall);
                let access = self.config.access(device, service, wall).ok();
                let most = access.and_then(|access| access.longest());
                let by_age = most.map(|most| most.saturating_sub(session.age(now)));
                by_rules.into_iter().chain(by_age).min()
            })
    }

    /// How long rules and registry let a device use a service from now on; `None` where no end is known.
    fn seconds_of_access(
        &self,
        device: &DeviceName,
        service: &ServiceName,
        wall: Timestamp,
    ) -> Option<Duration> {
        let ends = access_ends(&self.config, &self.registry, device, service, wall)?;
        Duration::try_from(ends.duration_since(wall)).ok()
    }

    pub(super) fn consoles_status(&self) -> ConsolesStatus {
        ConsolesStatus {
            sessions: self.consoles.consoles.len(),
            counted: flows::counts().unwrap_or(false),
        }
    }

    /// Ends sessions for a reason that the policy does not know; how many, and whether they are cut.
    pub(super) fn end_consoles(
        &mut self,
        of: impl Fn(&Who) -> bool,
        why: &'static str,
    ) -> (usize, Result<(), SegmentError>) {
        self.look_at_consoles();
        let now = self.clock.now();
        let all = self.consoles.consoles.all();
        let over: Vec<Who> = all
            .map(|(who, _)| who)
            .filter(|who| of(who))
            .cloned()
            .collect();
        for who in &over {
            let keys = self.consoles.consoles.end(who, why, now);
            self.uncut.extend(keys.iter().map(cut));
        }
        for event in self.consoles.consoles.records(false) {
            self.record(event);
        }
        (over.len(), self.cut_flows())
    }

    /// The session of a device on a console.
    pub(super) fn kill_console(&mut self, device: &DeviceName, service: &ServiceName) -> Response {
        let meant = |who: &Who| who.0 == *device && who.1 == *service;
        match self.end_consoles(meant, "killed") {
            (0, _) => Response::Failed {
                kind: Failure::Unknown,
                why: format!("{device} has no session on {service}"),
            },
            (_, Ok(())) => Response::Done {
                what: format!("the session of {device} on {service} is ended"),
            },
            (_, Err(error)) => Response::Failed {
                kind: Failure::Internal,
                why: super::events::chain(&error),
            },
        }
    }

    /// The gateway stops. The rules stay, and what is open may go on when it is there again.
    pub(super) fn consoles_stop(&mut self) {
        self.look_at_consoles();
        let why = if self.draining.is_some() {
            "drained"
        } else {
            "stopped"
        };
        let now = self.clock.now();
        let all: Vec<Who> = self
            .consoles
            .consoles
            .all()
            .map(|(who, _)| who.clone())
            .collect();
        for who in &all {
            let _left_open = self.consoles.consoles.end(who, why, now);
        }
        for event in self.consoles.consoles.records(true) {
            self.record(event);
        }
    }
}

/// When rules or the registry end a device's access to a service.
pub(super) fn access_ends(
    config: &lazaret_config::Config,
    registry: &crate::registry::Registry,
    device: &DeviceName,
    service: &ServiceName,
    wall: Timestamp,
) -> Option<Timestamp> {
    let by_rules = config.access(device, service, wall).ok()?.ends;
    let known = registry.entry(device).and_then(|known| known.expires);
    by_rules.into_iter().chain(known).min()
}

fn basis(access: &Access<'_>) -> Basis {
    let mut rules = access.rules.iter();
    if rules.all(|(name, _)| exception_number(name.as_str()).is_some()) {
        Basis::BreakGlass
    } else {
        Basis::Rules
    }
}

fn cut(key: &FlowKey) -> Cut {
    Cut::Service {
        device: key.from.ip(),
        service: key.to,
        transport: key.transport,
    }
}

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(900);
/// Looks take at most one part of so many of the supervisor's time.
const SHARE: u32 = 20;
/// Ends within two seconds need looks, whatever they cost.
const LOOK_AT_LEAST: Duration = Duration::from_millis(1_400);
