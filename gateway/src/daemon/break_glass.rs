//! Break-glass access: a service that no rule gives to a device, opened by hand for a time.
//!
//! In: what operators ask, connections, time. Out: exceptions of the policy, put into force, and records.
//! Opening asks for much; ending asks for nothing, and holds whatever the disk and the database do.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use lazaret_config::{Config, Exception, exception_name};
use tracing::{error, warn};

use super::clock::SystemClock;
use super::connections::standing;
use super::devices::bad_reason;
use super::events::chain;
use super::life::OURSELVES;
use super::operator::failed;
use super::registry::who;
use super::supervisor::Supervisor;
use crate::audit::event::Event;
use crate::control::message::{AccessRequest, AccessStatus, Failure, Person, Request, Response};
use crate::control::server;
use crate::flow::{Clock, DeviceName, ServiceName, Standing};
use crate::registry::Registry;
use crate::registry::access::{Access, Accesses, Moment, Wanted};

/// What is open, and what was seen of it.
pub(super) struct BreakGlass {
    accesses: Accesses,
    /// Connections that were opened by it, and when it was put on record last.
    seen: BTreeMap<u64, (u64, Instant)>,
    /// When somebody looked last.
    looked: Moment,
}

impl BreakGlass {
    /// What was open before.
    pub(super) fn read(directory: &std::path::Path, now: &Moment) -> Self {
        let accesses = Accesses::read(directory, now);
        if let Some(why) = accesses.trouble() {
            error!(why, "break-glass access");
        }
        Self {
            accesses,
            seen: BTreeMap::new(),
            looked: now.clone(),
        }
    }

    /// The configuration with what is open, and with those in quarantine as the registry knows them.
    //= C9
    pub(super) fn contained(&self, config: Config, registry: &Registry) -> Config {
        let quarantined = config.devices.keys();
        let quarantined = quarantined
            .filter(|device| standing(&config, registry, device) == Standing::Quarantined)
            .cloned()
            .collect();
        config.contained(quarantined, &self.accesses.exceptions(&self.looked))
    }
}

/// The time, as far as the end of an access depends on it.
pub(super) fn moment(clock: SystemClock, registry: &Registry, wall: Timestamp) -> Moment {
    let (up, boot) = clock.boot();
    Moment {
        up,
        boot,
        time: registry.time().max(wall),
    }
}

impl Supervisor {
    fn moment(&self) -> Moment {
        moment(self.clock, &self.registry, self.clock.wall())
    }

    /// Why a user may not ask this, if so: root and the gateway's own user may ask everything, others what they are
    /// named for.
    pub(super) fn may_not(&self, request: &Request, uid: u32) -> Option<String> {
        if server::is_own(uid) {
            return None;
        }
        let policies = self.files.policy.operators.contains(&uid);
        let named = self.files.break_glass.as_ref();
        let opens = named.is_some_and(|table| table.operators.contains(&uid));
        let of_access = matches!(request, Request::BreakGlass(_) | Request::Status);
        let may = (opens && of_access) || (policies && request.is_about_policies());
        let words = match (policies, opens) {
            (true, true) => "policies and break-glass access",
            (false, true) => "break-glass access",
            (true | false, false) => "policies",
        };
        (!may).then(|| format!("user {uid} may ask for {words} only"))
    }

    /// Who may use the control socket beside root and the gateway's own user.
    pub(super) fn operators_of_files(&self) -> Vec<u32> {
        let mut users = self.files.policy.operators.clone();
        users.extend(
            self.files
                .break_glass
                .iter()
                .flat_map(|table| &table.operators),
        );
        users
    }

    pub(super) fn asked_access(&mut self, request: AccessRequest, uid: u32) -> Response {
        let about = match &request {
            AccessRequest::Open {
                device, service, ..
            } => (
                "break-glass open",
                format!("device {device}, service {service}"),
            ),
            AccessRequest::End { number, .. } => ("break-glass end", number.to_string()),
            AccessRequest::List => return self.opened(),
        };
        let response = match request {
            AccessRequest::Open {
                device,
                service,
                seconds,
                why,
                in_quarantine,
            } => self.open_access(Wanted {
                device,
                service,
                in_quarantine,
                period: Duration::from_secs(seconds),
                why,
                by: who(uid),
            }),
            AccessRequest::End { number, why } => self.end_access(number, &why, uid),
            AccessRequest::List => self.opened(),
        };
        let result = response.refused().unwrap_or("done").to_owned();
        self.record(Event::Command {
            by: uid,
            command: about.0.to_owned(),
            about: about.1,
            result,
        });
        response
    }

    fn opened(&self) -> Response {
        Response::BreakGlass {
            accesses: self.access_status(),
            trouble: self.access_trouble(),
        }
    }

    pub(super) fn access_trouble(&self) -> Option<String> {
        let trouble = self.records.break_glass.accesses.trouble();
        trouble.map(str::to_owned)
    }

    pub(super) fn access_status(&self) -> Vec<AccessStatus> {
        let now = self.moment();
        let open = self.records.break_glass.accesses.all();
        open.map(|one| self.status_of(one, &now)).collect()
    }

    fn status_of(&self, access: &Access, now: &Moment) -> AccessStatus {
        AccessStatus {
            number: access.number,
            rule: exception_name(access.number),
            device: access.device.clone(),
            service: access.service.clone(),
            in_quarantine: access.in_quarantine,
            why: access.why.clone(),
            by: Person {
                uid: access.by.uid,
                name: access.by.name.clone(),
            },
            began: access.began,
            ends: access.ends,
            seconds: access.left(now).as_secs(),
            uses: self.uses(access.number),
        }
    }

    fn uses(&self, number: u64) -> u64 {
        let seen = self.records.break_glass.seen.get(&number);
        seen.map_or(0, |(uses, _)| *uses)
    }

    fn open_access(&mut self, wanted: Wanted) -> Response {
        if let Err(response) = self.may_be_opened(&wanted) {
            return response;
        }
        let now = self.moment();
        let access = match self.records.break_glass.accesses.open(wanted, &now) {
            Ok(access) => access,
            Err(error) => return failed(Failure::Denied, &error.to_string()),
        };
        self.records.break_glass.looked = now.clone();
        let config = self.records.merge(&self.files, &mut self.registry);
        if let Err(error) = self.enforce(config) {
            let why = chain(&error);
            self.records.break_glass.accesses.end(access.number, &now);
            self.records.is_behind(self.clock.now());
            self.tell_planes();
            return failed(Failure::Internal, &format!("nothing was opened: {why}"));
        }
        warn!(
            device = %access.device, service = %access.service, number = access.number,
            "break-glass access is open"
        );
        let seen = (0, self.clock.now());
        self.records.break_glass.seen.insert(access.number, seen);
        self.record_access("began", &access, access.by.uid, &access.why);
        Response::BreakGlass {
            accesses: vec![self.status_of(&access, &now)],
            trouble: self.access_trouble(),
        }
    }

    /// Everything that opening asks for.
    fn may_be_opened(&self, wanted: &Wanted) -> Result<(), Response> {
        let denied = |why: &str| Err(failed(Failure::Denied, why));
        let usage = |why: &str| Err(failed(Failure::Usage, why));
        let (device, service) = (&wanted.device, &wanted.service);
        let Some(table) = &self.files.break_glass else {
            return denied(
                "[break_glass] is not in lazaret.toml: nothing is opened beside the rules",
            );
        };
        if let Some(response) = bad_reason(&wanted.why) {
            return Err(response);
        }
        if wanted.why.trim().is_empty() {
            return usage("say why: it is put on record");
        }
        if wanted.period.is_zero() || wanted.period > table.longest {
            let most = table.longest.as_secs();
            return usage(&format!(
                "from 1 s to {most} s (`longest` of [break_glass])"
            ));
        }
        if !self.is_known(device) {
            let why = format!("there is no device {device}");
            return Err(failed(Failure::Unknown, &why));
        }
        match standing(&self.config, &self.registry, device) {
            Standing::Active => {}
            Standing::Quarantined if wanted.in_quarantine => {}
            Standing::Quarantined => {
                return denied(
                    "the device is quarantined: say --although-quarantined if that is meant",
                );
            }
            other @ (Standing::Pending | Standing::Expired | Standing::Revoked) => {
                return denied(&format!("the device is {}", other.as_str()));
            }
        }
        if self.outbox.failure().is_some() && self.files.audit.required {
            return denied("the journal cannot be written, and this must be on record");
        }
        let exception = Exception {
            number: 0,
            device: device.clone(),
            service: service.clone(),
            in_quarantine: wanted.in_quarantine,
        };
        if let Err(error) = self.config.exception(&exception) {
            return Err(failed(Failure::Unknown, &error.to_string()));
        }
        let wall = self.clock.wall();
        let rules = self.config.rules_for(device, service);
        if let Some((rule, _)) = rules.into_iter().find(|(_, rule)| rule.holds_at(wall)) {
            return denied(&format!("rule {rule} lets it already"));
        }
        Ok(())
    }

    fn end_access(&mut self, number: u64, why: &str, uid: u32) -> Response {
        // A reason that cannot be taken must not keep it open.
        let why = if bad_reason(why).is_some() { "" } else { why };
        let (complete, mut ended) = self.close_accesses(&[(number, why)], uid);
        let Some(access) = ended.pop() else {
            let why = format!("no break-glass access {number} is open");
            return failed(Failure::Unknown, &why);
        };
        if complete {
            let (device, service) = (access.device, access.service);
            Response::Done {
                what: format!("device {device} no longer reaches service {service} by it"),
            }
        } else {
            let why = "it is ended, but the table cannot be changed: the device reaches nothing until it can";
            failed(Failure::Internal, why)
        }
    }

    /// Ends them on every plane, in one change of the table; whether that is complete, and what was open.
    //= C9
    fn close_accesses(&mut self, ending: &[(u64, &str)], by: u32) -> (bool, Vec<Access>) {
        if ending.is_empty() {
            return (true, Vec::new());
        }
        // What was opened by them until now is a use of them.
        let _forwarded = self.look_at_consoles();
        let now = self.moment();
        let numbers: Vec<u64> = ending.iter().map(|(number, _)| *number).collect();
        let ended = self.records.break_glass.accesses.end_all(&numbers, &now);
        if ended.is_empty() {
            return (true, ended);
        }
        let config = self.records.merge(&self.files, &mut self.registry);
        let complete = match self.enforce(config.clone()) {
            Ok(_) => self.uncut.is_empty(),
            Err(error) => {
                let error = chain(&error);
                error!(error, "the end of break-glass access is not fully in force");
                // The table is the old one: better nothing than what is over.
                for access in &ended {
                    self.shut_out(&access.device);
                }
                self.config = config;
                self.records.is_behind(self.clock.now());
                self.tell_planes();
                false
            }
        };
        for access in &ended {
            let why = ending.iter().find(|(number, _)| *number == access.number);
            self.record_access("ended", access, by, why.map_or("", |(_, why)| *why));
            self.records.break_glass.seen.remove(&access.number);
        }
        (complete, ended)
    }

    /// Time goes on, and devices change: what is over ends, what is open is told again.
    pub(super) fn follow_break_glass(&mut self, now: Instant) {
        let moment = self.moment();
        self.records.break_glass.looked = moment.clone();
        let over = self.records.break_glass.accesses.over(&moment);
        let over = over.into_iter().map(|number| (number, "its time is over"));
        let all = self.records.break_glass.accesses.all();
        let pointless = all.filter_map(|one| Some((one.number, self.is_pointless(one)?)));
        let ending: Vec<(u64, &str)> = over.chain(pointless).collect();
        self.close_accesses(&ending, OURSELVES);
        self.records.break_glass.accesses.follow(&moment);
        let open: Vec<Access> = self.records.break_glass.accesses.all().cloned().collect();
        for access in open {
            let seen = self.records.break_glass.seen.entry(access.number);
            let (_, last) = seen.or_insert((0, now));
            if now.saturating_duration_since(*last) < REMIND {
                continue;
            }
            *last = now;
            warn!(device = %access.device, service = %access.service, number = access.number, "break-glass access is still open");
            self.record_access("open", &access, OURSELVES, &access.why);
        }
    }

    /// Why it opens nothing any more, and is not to do so again by itself.
    fn is_pointless(&self, access: &Access) -> Option<&'static str> {
        match standing(&self.config, &self.registry, &access.device) {
            Standing::Revoked => return Some("the device is revoked"),
            Standing::Quarantined if !access.in_quarantine => {
                return Some("the device is quarantined");
            }
            Standing::Active | Standing::Quarantined | Standing::Pending | Standing::Expired => {}
        }
        if self.files.break_glass.is_none() {
            return Some("[break_glass] is not in the files any more");
        }
        if !self.is_known(&access.device) {
            return Some("there is no such device any more");
        }
        let service = self.files.services.contains_key(&access.service);
        (!service).then_some("there is no such service any more")
    }

    /// So many connections between a device and a service were opened: by an exception?
    pub(super) fn follow_use(&mut self, device: &DeviceName, service: &ServiceName, times: u64) {
        let now = self.clock.now();
        let is_of = |one: &&Access| one.device == *device && one.service == *service;
        let found = self.records.break_glass.accesses.all().find(is_of).cloned();
        let Some(access) = found else {
            return;
        };
        let seen = self.records.break_glass.seen.entry(access.number);
        let (uses, _) = seen.or_insert((0, now));
        let first = *uses == 0;
        *uses = uses.saturating_add(times);
        // Each connection is on record as such; the number of all of them comes with the end.
        if first {
            self.record_access("used", &access, OURSELVES, "");
        }
    }

    //= C8
    fn record_access(&mut self, what: &str, access: &Access, by: u32, why: &str) {
        self.record(Event::BreakGlass {
            what: what.to_owned(),
            rule: exception_name(access.number),
            device: access.device.clone(),
            service: access.service.clone(),
            by,
            who: who(by).name,
            why: why.to_owned(),
            ends: access.ends.to_string(),
            uses: self.uses(access.number),
        });
    }
}

/// What is open is put on record again after so long.
const REMIND: Duration = Duration::from_mins(5);
