//! The supervisor's side of the registry: who is let in beside those in the files, and what the database has to know.
//!
//! In: what the registry's thread says, decisions, time. Out: one configuration of files and registry, put into force.
//! The database is never waited for: a decision is in force first, and is sent until the database has it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use lazaret_config::Config;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tracing::{error, info};

use super::break_glass::BreakGlass;
use super::error::DaemonError;
use super::events::chain;
use super::life::OURSELVES;
use super::operator::{answer, failed};
use super::registry_watch::{Fate, Watch};
use super::supervisor::{Input, Supervisor};
use crate::audit::event::Event;
use crate::control::message::{Failure, RegistryStatus, Request};
use crate::flow::{Clock, DeviceName, Standing};
use crate::registry::Registry;
use crate::registry::known::{By, Change, whole};
use crate::registry::store::{Loaded, Place};
use crate::registry::task::{FromTask, Handle, ToTask, Work};

/// What the supervisor remembers of its talk with the registry's thread.
pub(super) struct Records {
    /// What is open beside the rules.
    pub(super) break_glass: BreakGlass,
    handle: Option<Handle>,
    trouble: Option<String>,
    /// Changes that were sent since the database could be used last.
    sent: BTreeSet<i64>,
    /// Enrolled devices that the files contradict, and how.
    contradicted: BTreeMap<DeviceName, String>,
    /// Operators that wait, by ticket.
    pub(super) waiting: BTreeMap<u64, Waiting>,
    last_ticket: u64,
    /// What the registry says is not in force yet, and is tried again then.
    behind: Option<Instant>,
    watch: Watch,
}

/// An operator who waits for the database.
pub(super) struct Waiting {
    pub(super) stream: UnixStream,
    pub(super) request: Request,
    pub(super) by: By,
    /// Nobody waits longer.
    deadline: Option<Instant>,
}

impl Waiting {
    pub(super) fn new(stream: UnixStream, request: Request, by: By) -> Self {
        Self {
            stream,
            request,
            by,
            deadline: None,
        }
    }
}

impl Records {
    pub(super) fn new(break_glass: BreakGlass) -> Self {
        Self {
            break_glass,
            handle: None,
            trouble: None,
            sent: BTreeSet::new(),
            contradicted: BTreeMap::new(),
            waiting: BTreeMap::new(),
            last_ticket: 0,
            behind: None,
            watch: Watch::default(),
        }
    }

    /// The files with those who are enrolled and let in. The files win; who contradicts them stays out, loudly.
    pub(super) fn merge(&mut self, files: &Config, registry: &mut Registry) -> Config {
        let before: BTreeSet<DeviceName> = registry.all_barred().cloned().collect();
        registry.follow_files(files);
        for device in registry.all_barred().filter(|one| !before.contains(one)) {
            error!(%device, "its key was taken from another device: it is not let in");
        }
        let (config, out) = files.with_enrolled(registry.let_in());
        let out: BTreeMap<_, _> = out
            .into_iter()
            .map(|(device, why)| (device, why.to_string()))
            .collect();
        for (device, why) in &out {
            if self.contradicted.get(device) != Some(why) {
                error!(%device, why, "an enrolled device contradicts the files and stays out");
            }
        }
        self.contradicted = out;
        self.break_glass.contained(config, registry)
    }

    /// What the registry says has to be put into force again.
    pub(super) fn is_behind(&mut self, now: Instant) {
        self.behind = now.checked_add(AGAIN);
    }

    pub(super) fn contradiction(&self, device: &DeviceName) -> Option<&str> {
        self.contradicted.get(device).map(String::as_str)
    }

    /// Tells the registry's thread something; false if it has no time.
    pub(super) fn note(&self, what: ToTask) -> bool {
        self.ask(what)
    }

    /// Why the database does not do what it should.
    fn trouble(&self) -> Option<String> {
        let silent = self.watch.silent.then(|| SILENT.to_owned());
        silent.or_else(|| self.trouble.clone())
    }

    fn ask(&self, what: ToTask) -> bool {
        let handle = self.handle.as_ref();
        handle.is_some_and(|handle| handle.ask(what).is_ok())
    }
}

impl Supervisor {
    /// Begins to speak with the database.
    pub(super) fn start_registry(&mut self) -> Result<(), DaemonError> {
        let place = Place::new(&self.files.registry, &self.files.gateway.state_dir);
        let (out, mut said) = mpsc::channel(MESSAGES);
        let handle = Handle::start(place, self.registry.database(), mark(), out);
        let handle = handle.map_err(|cause| DaemonError::System {
            step: "start the registry's thread",
            cause,
        })?;
        self.records.handle = Some(handle);
        self.records.watch.started(self.clock.now());
        let inputs = self.inputs.clone();
        tokio::spawn(async move {
            while let Some(message) = said.recv().await {
                if inputs.send(Input::Registry(message)).await.is_err() {
                    return;
                }
            }
        });
        Ok(())
    }

    pub(super) fn registry_said(&mut self, message: FromTask) {
        if self.records.watch.heard(self.clock.now()) {
            info!("the registry's thread answers again");
        }
        match message {
            FromTask::Alive => {}
            FromTask::Loaded(loaded) => self.registry_loaded(*loaded),
            FromTask::Changed(one) => self.device_changed(*one),
            FromTask::Saved { mark } => {
                self.registry.saved(mark);
                self.records.sent.remove(&mark);
            }
            FromTask::Trouble(trouble) => {
                if let Some(why) = &trouble {
                    self.record(Event::RegistryTrouble { why: why.clone() });
                }
                self.records.trouble = trouble;
                self.records.sent.clear();
                self.save_changes();
            }
            FromTask::Noted(done) => self.inventory.noted(done),
            FromTask::Remembered(seen, strange) => self.inventory.remember(seen, strange),
            FromTask::Done { ticket, result } => self.registry_done(ticket, result),
        }
    }

    /// What the database says holds from now on, but for what it does not have yet.
    fn registry_loaded(&mut self, loaded: Loaded) {
        let known = self.registry.database();
        if known.is_none_or(|known| known.identity != loaded.version.identity) {
            info!(devices = loaded.devices.len(), "registry opened");
        }
        if self.registry.take_over(loaded) {
            self.enforce_registry();
            self.pay_revocations();
        }
    }

    /// The same of one device. Who waits to be approved is in no plane, and makes no work there.
    fn device_changed(&mut self, one: Loaded) {
        let names: Vec<DeviceName> = one.devices.keys().cloned().collect();
        let in_a_plane = |registry: &Registry| {
            let mut names = names.iter();
            names.any(|name| registry.standing(name).is_let_in() && registry.entry(name).is_some())
        };
        let before = in_a_plane(&self.registry);
        if self.registry.take_in(one) {
            if before || in_a_plane(&self.registry) {
                self.enforce_registry();
            } else {
                self.tell_quic_barred();
            }
        }
        self.pay_revocations();
    }

    /// Puts what the registry says now into force.
    fn enforce_registry(&mut self) {
        let config = self.records.merge(&self.files, &mut self.registry);
        self.records.behind = None;
        if let Err(error) = self.enforce(config) {
            self.records.is_behind(self.clock.now());
            error!(
                error = chain(&error),
                "what the registry says is not in force yet"
            );
            // Who is no longer let in must not go on because the kernel does not take the table.
            self.tell_planes();
            self.drift = Some(chain(&error));
        }
    }

    /// Time goes on: some are not let in any more, some changes are sent again.
    pub(super) fn follow_registry(&mut self) {
        let before = self.registry.expired().clone();
        let now = self.clock.now();
        let again = self.records.behind.is_some_and(|at| at <= now);
        if self.registry.follow_time(self.clock.wall(), now) || again {
            for (device, stood) in self.registry.ended_since(&before) {
                info!(%device, "its time is over");
                self.record(Event::DeviceStanding {
                    device,
                    before: stood.as_str().to_owned(),
                    after: Standing::Expired.as_str().to_owned(),
                    by: OURSELVES,
                    why: "its time is over".to_owned(),
                });
            }
            self.enforce_registry();
        }
        self.answer_late_registry(now);
        self.revive_registry(now);
        self.save_changes();
    }

    /// Who waited too long hears that; what was asked may be done all the same.
    fn answer_late_registry(&mut self, now: Instant) {
        let late = |_: &u64, one: &mut Waiting| one.deadline.is_none_or(|at| at <= now);
        let late: Vec<_> = self.records.waiting.extract_if(.., late).collect();
        for (_, waiting) in late {
            let why = "the registry's database does not answer; look with `lazaret device list` before you try again";
            let response = failed(Failure::Internal, why);
            self.record_request(&waiting.request, waiting.by.uid, &response);
            answer(waiting.stream, response);
        }
    }

    /// A thread that ended or hangs is noticed and told; one that ended is started again.
    fn revive_registry(&mut self, now: Instant) {
        let ended = self.records.handle.as_ref().is_none_or(Handle::is_over);
        match self.records.watch.look(now, ended) {
            Fate::Well => {}
            Fate::Silent => {
                error!(SILENT);
                let why = SILENT.to_owned();
                self.record(Event::RegistryTrouble { why });
            }
            Fate::Ended => self.revive(now),
        }
    }

    fn revive(&mut self, now: Instant) {
        let why = "the registry's thread ended; it is started again".to_owned();
        error!(why);
        self.record(Event::RegistryTrouble { why: why.clone() });
        self.records.trouble = Some(why);
        self.records.sent.clear();
        for waiting in self.records.waiting.values_mut() {
            waiting.deadline = None;
        }
        if let Err(error) = self.start_registry() {
            error!(error = chain(&error), "it cannot be started");
            self.records.watch.started(now);
        }
    }

    /// Sends what the database does not have. While it cannot be used, it stays here and in the snapshot.
    pub(super) fn save_changes(&mut self) {
        if self.records.trouble.is_some() {
            return;
        }
        let mut sent = Vec::new();
        let unsaved = self.registry.unsaved().iter();
        for change in unsaved.filter(|change| !self.records.sent.contains(&change.mark)) {
            if !self.records.ask(ToTask::Save(change.clone())) {
                break;
            }
            sent.push(change.mark);
        }
        self.records.sent.extend(sent);
    }

    /// A decision about a device, to be written down.
    pub(super) fn decision(
        &self,
        device: &DeviceName,
        before: Standing,
        after: Standing,
        why: &str,
        by: u32,
    ) -> Change {
        // Never before what it undoes, whose time may be by the clock of another gateway.
        let known = self.registry.entry(device);
        let at = known.map_or(self.now(), |known| self.now().max(known.since));
        Change {
            mark: mark(),
            device: device.clone(),
            before,
            after,
            why: why.to_owned(),
            by: who(by),
            at,
        }
    }

    /// As exact as a database keeps it.
    pub(super) fn now(&self) -> Timestamp {
        whole(self.clock.wall())
    }

    /// Gives work to the registry's thread; the operator waits. The stream comes back if the thread has too much to do.
    pub(super) fn give_work(
        &mut self,
        work: Work,
        mut waiting: Waiting,
    ) -> Result<(), Box<Waiting>> {
        waiting.deadline = self.clock.now().checked_add(PATIENCE);
        let room = self.records.waiting.len() < MAX_WAITING;
        let ticket = room.then(|| self.ticket(work)).flatten();
        let Some(ticket) = ticket else {
            return Err(Box::new(waiting));
        };
        self.records.waiting.insert(ticket, waiting);
        Ok(())
    }

    /// Gives work to the registry's thread. `None` if it has too much to do.
    pub(super) fn ticket(&mut self, work: Work) -> Option<u64> {
        let ticket = self.records.last_ticket.wrapping_add(1);
        self.records.last_ticket = ticket;
        self.records.ask(ToTask::Do(ticket, work)).then_some(ticket)
    }

    pub(super) fn registry_status(&self) -> RegistryStatus {
        RegistryStatus {
            trouble: self.records.trouble().or_else(|| {
                let awaited = self.registry.is_awaited();
                awaited.then(|| AWAITED.to_owned())
            }),
            unsaved: self.registry.unsaved().len(),
            contradicted: self.records.contradicted.len(),
        }
    }
}

/// A number that nobody else draws.
pub(super) fn mark() -> i64 {
    let mut bytes = [0; 8];
    // Without chance there is no tunnel either; then the same mark is refused, not written twice.
    if getrandom::fill(&mut bytes).is_err() {
        error!("the system has no random numbers");
    }
    i64::from_le_bytes(bytes) & i64::MAX
}

/// The name of a user, as this machine knows it.
pub(super) fn who(uid: u32) -> By {
    if uid == OURSELVES {
        let name = "gateway".to_owned();
        return By { uid, name };
    }
    let users = std::fs::read_to_string(USERS).unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    By {
        uid,
        name: name.unwrap_or_else(|| uid.to_string()),
    }
}

const AWAITED: &str = "it was not asked yet who is revoked, and nothing is kept from before: nobody is let in until it answers";
const SILENT: &str = "the registry's thread hangs: nothing was heard of it for two minutes";
/// Until what failed is tried again.
const AGAIN: Duration = Duration::from_secs(2);
/// For the database, with what waits before; a list of 10,000 devices takes a few seconds.
const PATIENCE: Duration = Duration::from_secs(90);
const USERS: &str = "/etc/passwd";
/// Between the registry's thread and the house.
//= C7
const MESSAGES: usize = 64;
/// Operators that wait for the database.
//= C7
const MAX_WAITING: usize = 64;
