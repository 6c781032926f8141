//! What is usual for devices: fed by decisions, told to operators, kept for the next start.
//!
//! In: decisions, time, questions. Out: alerts on record, quarantine where the configuration says so, files.
//! Nothing here is waited for: files are written by another thread, one small part at a time.

use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};

use lazaret_config::{Config, Deviation, Reaction, RoleName, RuleName};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use super::devices::bad_reason;
use super::life::OURSELVES;
use super::operator::{answer, failed};
use super::shadow::Shadow;
use super::supervisor::Supervisor;
use crate::audit::event::Event;
use crate::behaviour::alert::Alert;
use crate::behaviour::{Behaviour, Settings, Shelf, Sighting};
use crate::control::message::{
    BehaviourRequest, BehaviourResponse, BehaviourStatus, Failure, Response,
};
use crate::flow::{Clock, DeviceName, ServiceName, Side, Standing};
use crate::inspect::{Decision, Observed, Outcome, Subject};
use crate::registry::known::Known;

/// What is known of the behaviour of devices.
pub(super) struct Watch {
    behaviour: Behaviour,
    shadow: Shadow,
    shelf: Shelf,
    writing: Option<JoinHandle<io::Result<()>>>,
    written: Instant,
    /// What could not be read at the start.
    unread: Option<String>,
    /// Why nothing can be written now.
    unwritten: Option<String>,
    /// Devices to be put into quarantine, with the reason.
    due: Vec<(DeviceName, String)>,
}

impl Watch {
    /// With what was kept.
    pub(super) fn open(config: &Config, now: Instant) -> Self {
        let shelf = Shelf::new(&config.gateway.state_dir);
        let (behaviour, wrong) = shelf.read(now);
        for wrong in &wrong {
            error!(wrong, "what was learnt of devices cannot be read");
        }
        Self {
            behaviour,
            shadow: Shadow::default(),
            shelf,
            writing: None,
            written: now,
            unread: wrong.into_iter().next(),
            unwritten: None,
            due: Vec::new(),
        }
    }
}

fn settings(config: &Config) -> Settings<'_> {
    Settings {
        learn: config.behaviour.learn,
        rate_factor: config.behaviour.rate_factor,
        zone: &config.behaviour.zone,
    }
}

fn roles(config: &Config, device: &DeviceName) -> BTreeSet<RoleName> {
    let known = config.devices.get(device);
    known.map(|known| known.roles.clone()).unwrap_or_default()
}

impl Supervisor {
    /// Says what is in shadow, at the start.
    pub(super) fn tell_shadow(&self) {
        for rule in super::shadow::in_shadow(&self.files) {
            warn!(
                rule,
                "in shadow: wrong content is not refused, only counted"
            );
        }
    }

    /// What a decision says of what is usual.
    pub(super) fn watch(&mut self, device: &DeviceName, service: &ServiceName, one: &Decision) {
        self.watch.shadow.note(&self.config, service, one);
        let passed = match one.outcome {
            Outcome::Forwarded | Outcome::Unanswered | Outcome::Repeated => true,
            Outcome::Refused => false,
            Outcome::Undelivered | Outcome::Abandoned => return,
        };
        if one.from != Side::Device || one.what != Subject::Message {
            return;
        }
        let sop_class = one.observed.iter().find_map(|observed| match observed {
            Observed::SopClass(uid) => Some(uid.as_str()),
            Observed::Software(_) => None,
        });
        let sighting = Sighting {
            service,
            message: &one.kind,
            sop_class,
            rule: one.rule.as_deref(),
            length: one.length,
            passed,
            would_refuse: one.would_refuse.is_some(),
        };
        let config = &self.config;
        let react = |deviation| reaction(config, deviation, device, one.rule.as_deref());
        let times = (self.clock.now(), self.clock.wall());
        let watch = &mut self.watch.behaviour;
        let told = watch.note(device, &sighting, &settings(config), react, times);
        for alert in &told {
            self.deviates(alert);
        }
    }

    fn deviates(&mut self, alert: &Alert) {
        let words = alert.words();
        warn!(device = %alert.device, alert = alert.number, what = alert.deviation.as_str(), "an unusual device: lazaret alerts");
        if alert.quarantines && self.watch.due.len() < MOST_DUE {
            let why = format!("behaviour, alert {}: it {words}", alert.number);
            self.watch.due.push((alert.device.clone(), why));
        }
        self.record(Event::Deviation {
            alert: alert.number,
            device: alert.device.clone(),
            what: alert.deviation.as_str().to_owned(),
            value: alert.values.first().cloned().unwrap_or_default(),
            reaction: if alert.quarantines {
                "quarantine"
            } else {
                "alert"
            }
            .to_owned(),
        });
    }

    /// Time goes on: quarantines what is due, and keeps a part of what was learnt.
    pub(super) fn follow_behaviour(&mut self, now: Instant) {
        let count = self.watch.due.len().min(AT_ONCE);
        let due: Vec<_> = self.watch.due.drain(..count).collect();
        for (device, why) in due {
            if self.is_known(&device) && self.registry.standing(&device) == Standing::Active {
                info!(%device, why, "into quarantine");
                self.change_standing(&device, Standing::Quarantined, &why, OURSELVES);
            }
        }
        self.finish_writing();
        let waited = now.saturating_duration_since(self.watch.written) >= EVERY;
        if !waited || self.watch.writing.is_some() {
            return;
        }
        self.watch.written = now;
        let (config, registry) = (&self.config, &self.registry);
        let is_known = |device: &DeviceName| {
            let enrolled = registry.entry(device).is_some_and(Known::is_here);
            enrolled || config.devices.contains_key(device)
        };
        let part = self.watch.behaviour.next_part(now, is_known);
        if let Some(part) = part {
            let shelf = self.watch.shelf.clone();
            let write = move || shelf.write(&part);
            self.watch.writing = Some(tokio::task::spawn_blocking(write));
        }
    }

    fn finish_writing(&mut self) {
        use futures_util::FutureExt;
        let Some(writing) = &mut self.watch.writing else {
            return;
        };
        let Some(done) = writing.now_or_never() else {
            return;
        };
        self.watch.writing = None;
        match done.map_err(io::Error::other).flatten() {
            Ok(()) => self.watch.unwritten = None,
            Err(cause) => {
                let why = format!("what is learnt cannot be kept for a restart: {cause}");
                if self.watch.unwritten.as_ref() != Some(&why) {
                    error!(why, "behaviour");
                }
                self.watch.unwritten = Some(why);
                self.watch.behaviour.not_written();
            }
        }
    }

    /// Keeps everything, at the end.
    pub(super) async fn keep_behaviour(&mut self) {
        if let Some(writing) = self.watch.writing.take() {
            let _it_is_written_again = writing.await;
        }
        let now = self.clock.now();
        let mut parts = Vec::new();
        while let Some(part) = self.watch.behaviour.next_part(now, |_| true) {
            parts.push(part);
        }
        let shelf = self.watch.shelf.clone();
        let write = move || parts.iter().try_for_each(|part| shelf.write(part));
        match tokio::task::spawn_blocking(write).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => error!(%error, "what was learnt of devices is not kept"),
            Err(error) => error!(%error, "what was learnt of devices is not kept"),
        }
    }

    pub(super) fn behaviour_status(&self) -> BehaviourStatus {
        let settings = settings(&self.config);
        let (learning, alerts) = self.watch.behaviour.counts(&settings, self.clock.now());
        BehaviourStatus {
            learning,
            alerts,
            trouble: (self.watch.unwritten.clone()).or_else(|| self.watch.unread.clone()),
            shadow: self.watch.shadow.status(&self.config),
        }
    }

    /// An operator asks what devices do, or says what is usual.
    pub(super) fn asked_behaviour(
        &mut self,
        stream: UnixStream,
        request: BehaviourRequest,
        uid: u32,
    ) {
        let (command, device, why) = match &request {
            BehaviourRequest::Alerts { device } => {
                let alerts = self.watch.behaviour.alerts(device.as_ref());
                let alerts = alerts.map(Alert::status).collect();
                let response = BehaviourResponse::Alerts { alerts };
                return answer(stream, Response::Behaviour(response));
            }
            BehaviourRequest::Habits { device, role } => {
                let response = self.habits(device.as_ref(), role.as_deref());
                return answer(stream, Response::Behaviour(response));
            }
            BehaviourRequest::Accept { device, why } => ("alerts accept", device, why),
            BehaviourRequest::Relearn { device, why } => ("alerts relearn", device, why),
        };
        let response = bad_reason(why).unwrap_or_else(|| self.learn_again(&request));
        let result = response.refused().unwrap_or("done").to_owned();
        let about = if why.is_empty() || response.refused().is_some() {
            device.to_string()
        } else {
            format!("{device}: {why}")
        };
        self.record(Event::Command {
            by: uid,
            command: command.to_owned(),
            about,
            result,
        });
        answer(stream, response);
    }

    fn learn_again(&mut self, request: &BehaviourRequest) -> Response {
        let now = self.clock.now();
        let behaviour = &mut self.watch.behaviour;
        match request {
            BehaviourRequest::Accept { device, .. } => match behaviour.accept(device) {
                0 => failed(
                    Failure::Unknown,
                    &format!("nothing of device {device} waits to be accepted"),
                ),
                alerts => Response::Done {
                    what: format!(
                        "what {alerts} alerts tell of device {device} is usual from now on"
                    ),
                },
            },
            BehaviourRequest::Relearn { device, .. } if behaviour.relearn(device, now) => {
                Response::Done {
                    what: format!("device {device} is learnt anew"),
                }
            }
            BehaviourRequest::Relearn { device, .. } => failed(
                Failure::Unknown,
                &format!("nothing was learnt of device {device}"),
            ),
            BehaviourRequest::Alerts { .. } | BehaviourRequest::Habits { .. } => {
                failed(Failure::Internal, "this request changes nothing")
            }
        }
    }

    fn habits(&self, device: Option<&DeviceName>, role: Option<&str>) -> BehaviourResponse {
        let settings = settings(&self.config);
        let now = self.clock.now();
        let behaviour = &self.watch.behaviour;
        let asked = |one: &&DeviceName| device.is_none_or(|device| *one == device);
        let habits = behaviour.devices().filter(asked).filter_map(|device| {
            let roles = roles(&self.config, device);
            let roles: Vec<String> = roles.iter().map(ToString::to_string).collect();
            if role.is_some_and(|role| !roles.iter().any(|own| own == role)) {
                return None;
            }
            let mut habit = behaviour.habit(device, &settings, now)?;
            habit.roles = roles;
            Some(habit)
        });
        BehaviourResponse::Habits {
            habits: habits.collect(),
        }
    }
}

fn reaction(
    config: &Config,
    deviation: Deviation,
    device: &DeviceName,
    rule: Option<&str>,
) -> Reaction {
    let name: Option<RuleName> = rule.and_then(|rule| rule.parse().ok());
    let rule = name
        .as_ref()
        .and_then(|name| config.rules.get_key_value(name));
    let rule = rule.map(|(name, rule)| (name, rule.priority));
    let behaviour = &config.behaviour;
    behaviour.reaction(deviation, device, &roles(config, device), rule)
}

/// Between two parts: all of them in five minutes.
const EVERY: Duration = Duration::from_secs(5);
/// Devices that are put into quarantine at once: each makes the policy anew.
const AT_ONCE: usize = 8;
/// Devices that wait for it.
//= C7
const MOST_DUE: usize = 65_536;
