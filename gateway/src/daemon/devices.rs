//! What operators ask about devices, and the answers.

use std::collections::BTreeSet;
use std::time::Duration;

use lazaret_config::Credential;
use tokio::net::UnixStream;

use super::asked::name;
use super::operator::{MAX_WHY, answer, failed};
use super::registry::{Waiting, mark, who};
use super::supervisor::Supervisor;
use crate::audit::event::Event;
use crate::control::message::{Added, Failure, NewDevice, Request, Response, Standing, StoryLine};
use crate::flow::DeviceName;
use crate::registry::known::{By, Chapter, Known, Origin, PublicKey};
use crate::registry::request::{self, Occasion};
use crate::registry::store::{Extension, Removal, Rotation, StoreError};
use crate::registry::task::{Outcome, Work, told};

impl Supervisor {
    /// Everybody there is, in the files or not.
    pub(super) fn everybody(&self) -> BTreeSet<&DeviceName> {
        let enrolled = self.registry.all().iter();
        let enrolled = enrolled.filter(|(_, known)| known.is_here());
        let names = enrolled.map(|(name, _)| name);
        self.config.devices.keys().chain(names).collect()
    }

    pub(super) fn is_known(&self, device: &DeviceName) -> bool {
        let known = self.registry.entry(device);
        self.config.devices.contains_key(device) || known.is_some_and(Known::is_here)
    }

    /// Who took over the serial number of a revoked device.
    fn successor(&self, device: &DeviceName) -> Option<&DeviceName> {
        let serial = self.registry.entry(device)?.serial.as_ref()?;
        let mut others = self.registry.all().iter();
        let same = |known: &Known| {
            known.serial.as_ref() == Some(serial) && known.standing != Standing::Revoked
        };
        others
            .find(|(name, known)| *name != device && same(known))
            .map(|(name, _)| name)
    }

    pub(super) fn set_standing(
        &mut self,
        device: &DeviceName,
        standing: Standing,
        approve: bool,
        why: &str,
        uid: u32,
    ) -> Response {
        if !self.is_known(device) {
            return failed(Failure::Unknown, &format!("there is no device {device}"));
        }
        if let Some(refusal) = bad_reason(why) {
            return refusal;
        }
        let before = self.registry.standing(device);
        let told = before.as_str();
        let known = self.registry.entry(device);
        let approved = known.is_none_or(|known| known.approved);
        let refused = match (before, standing) {
            (_, Standing::Pending | Standing::Expired) => {
                Some("nobody is made to wait or expire by hand".to_owned())
            }
            (_, Standing::Active) if self.registry.is_awaited() => {
                Some("nobody is let in before the registry's database was asked".to_owned())
            }
            (_, Standing::Active) if self.registry.barred(device).is_some() => Some(format!(
                "the key of device {device} was taken from another: give it a new one in the files"
            )),
            // Whatever became of it meanwhile.
            (_, Standing::Active) if !approve && !approved => Some(format!(
                "device {device} was never approved: lazaret device approve {device}"
            )),
            (_, Standing::Active) if approve && approved => Some(format!(
                "device {device} does not wait to be approved, it is {told}"
            )),
            (Standing::Expired, Standing::Active) => Some(format!(
                "the time of device {device} is over: lazaret device extend {device} --expires DATE"
            )),
            (Standing::Revoked, Standing::Active) => self.successor(device).map(|other| {
                format!("device {other} has the serial number of device {device} now")
            }),
            (before, Standing::Quarantined) if before > standing => Some(format!(
                "device {device} is {told}, which is more than quarantine"
            )),
            (_, Standing::Active | Standing::Quarantined | Standing::Revoked) => None,
        };
        if let Some(why) = refused {
            return failed(Failure::Usage, &why);
        }
        if before == standing {
            return Response::Done {
                what: format!("device {device} was {} already", standing.as_str()),
            };
        }
        if self.change_standing(device, standing, why, uid) {
            Response::Done {
                what: format!("device {device} is {}", standing.as_str()),
            }
        } else {
            failed(
                Failure::Internal,
                "the change is not fully in force; see the log of the daemon",
            )
        }
    }

    /// What the database has to answer.
    pub(super) fn ask_registry(&mut self, stream: UnixStream, request: Request, uid: u32) {
        let by = who(uid);
        match self.work(&request, &by) {
            Ok(work) => {
                let waiting = Waiting::new(stream, request, by);
                if let Err(waiting) = self.give_work(work, waiting) {
                    let why = "the registry has too much to do: try again";
                    answer(waiting.stream, failed(Failure::Internal, why));
                }
            }
            Err(refusal) => {
                self.record_request(&request, uid, &refusal);
                answer(stream, refusal);
            }
        }
    }

    fn work(&self, request: &Request, by: &By) -> Result<Work, Response> {
        match request {
            Request::AddDevices {
                devices,
                imported,
                why,
            } => self.adding(devices, *imported, why, by),
            Request::Rotate {
                device,
                wireguard,
                overlap_seconds,
                why,
            } => self.rotation(device, wireguard, *overlap_seconds, why, by),
            Request::Extend {
                device,
                expires,
                why,
            } => self.extension(device, expires.as_deref(), why, by),
            Request::Remove { device, why } => self.removal(device, why, by),
            Request::Story { device } if self.is_known(device) => Ok(Work::Story(device.clone())),
            Request::Story { device } => {
                let why = format!("there is no device {device}");
                Err(failed(Failure::Unknown, &why))
            }
            Request::Backup { path } if path.is_absolute() => Ok(Work::Backup(path.clone())),
            Request::Backup { .. } => {
                Err(failed(Failure::Usage, "the path of a backup is absolute"))
            }
            Request::Adopt { why } => {
                bad_reason(why).map_or(Ok(()), Err)?;
                let devices = self.registry.all().iter();
                Ok(Work::Adopt(
                    devices
                        .map(|(name, known)| (name.clone(), known.clone()))
                        .collect(),
                ))
            }
            Request::Status
            | Request::Apply { .. }
            | Request::Confirm
            | Request::Rollback { .. }
            | Request::Approve { .. }
            | Request::History
            | Request::Version { .. }
            | Request::Devices { .. }
            | Request::Standing { .. }
            | Request::Sessions
            | Request::Kill { .. }
            | Request::Denied
            | Request::Strangers
            | Request::Pki(_)
            | Request::Enrol(_)
            | Request::Behaviour(_)
            | Request::BreakGlass(_)
            | Request::Updated { .. }
            | Request::Probe
            | Request::Drain { .. } => Err(failed(
                Failure::Internal,
                "the registry knows nothing of this",
            )),
        }
    }

    fn adding(
        &self,
        devices: &[NewDevice],
        imported: bool,
        why: &str,
        by: &By,
    ) -> Result<Work, Response> {
        bad_reason(why).map_or(Ok(()), Err)?;
        if devices.iter().any(|one| one.certificate.is_some()) && !self.can_sign() {
            let why = "no certificate can be signed now: look with `lazaret ca status`";
            return Err(failed(Failure::Internal, why));
        }
        let occasion = Occasion {
            origin: if imported {
                Origin::Imported
            } else {
                Origin::Enrolled
            },
            why: why.to_owned(),
            by: by.clone(),
            at: self.now(),
        };
        let newcomers = request::newcomers(devices, &occasion, &self.files, mark);
        let newcomers =
            newcomers.map_err(|wrong| failed(Failure::Usage, &lines(devices, &wrong)))?;
        let addresses = request::addresses(&self.files);
        Ok(Work::Add {
            newcomers,
            addresses,
        })
    }

    fn rotation(
        &self,
        device: &DeviceName,
        wireguard: &str,
        overlap_seconds: u64,
        why: &str,
        by: &By,
    ) -> Result<Work, Response> {
        bad_reason(why).map_or(Ok(()), Err)?;
        let usage = |why: &str| failed(Failure::Usage, why);
        let key: PublicKey = wireguard
            .parse()
            .map_err(|error| usage(&format!("`wireguard`: {error}")))?;
        let known = self.registry.entry(device);
        let Some(known) = known.filter(|known| known.origin != Origin::File) else {
            let why = format!(
                "there is no enrolled device {device}; the key of a device of the files is changed there"
            );
            return Err(failed(Failure::Unknown, &why));
        };
        if known.standing == Standing::Revoked {
            return Err(usage(&format!("device {device} is revoked")));
        }
        let mut files = lazaret_config::Admission::new(&self.files);
        if known.newest_key().is_none() {
            let why = format!(
                "device {device} has no WireGuard key, it is known by its certificate, which it renews itself"
            );
            return Err(usage(&why));
        }
        let taken = known.enrolled(self.now()).map(|mut enrolled| {
            enrolled.credential = Credential::wireguard(key.0);
            files.admit(device, &enrolled)
        });
        if let Some(Err(why)) = taken {
            return Err(usage(&why.to_string()));
        }
        let overlap = Duration::from_secs(overlap_seconds);
        if overlap > LONGEST_OVERLAP {
            return Err(usage("two keys are taken together for at most 90 days"));
        }
        let at = self.now();
        Ok(Work::Rotate(Rotation {
            device: device.clone(),
            key,
            overlap_until: at.checked_add(overlap).ok().filter(|_| !overlap.is_zero()),
            why: why.to_owned(),
            mark: mark(),
            by: by.clone(),
            at,
        }))
    }

    fn extension(
        &self,
        device: &DeviceName,
        expires: Option<&str>,
        why: &str,
        by: &By,
    ) -> Result<Work, Response> {
        bad_reason(why).map_or(Ok(()), Err)?;
        let known = self.registry.entry(device);
        match known.filter(|known| known.origin != Origin::File) {
            None => {
                let why = format!(
                    "there is no enrolled device {device}; a device of the files ends with its entry there"
                );
                return Err(failed(Failure::Unknown, &why));
            }
            Some(known) if known.standing == Standing::Revoked => {
                let why = format!("device {device} is revoked: lazaret device release {device}");
                return Err(failed(Failure::Usage, &why));
            }
            Some(_) => {}
        }
        let at = self.now();
        let expires = expires.map(|text| request::moment(text, at)).transpose();
        Ok(Work::Extend(Extension {
            device: device.clone(),
            expires: expires.map_err(|why| failed(Failure::Usage, &why))?,
            why: why.to_owned(),
            mark: mark(),
            by: by.clone(),
            at,
        }))
    }

    fn removal(&self, device: &DeviceName, why: &str, by: &By) -> Result<Work, Response> {
        bad_reason(why).map_or(Ok(()), Err)?;
        let known = self.registry.entry(device);
        let Some(known) = known.filter(|known| known.is_here()) else {
            let why = format!(
                "there is no enrolled device {device}; a device of the files ends with its entry there"
            );
            return Err(failed(Failure::Unknown, &why));
        };
        if known.standing != Standing::Revoked {
            let why = format!(
                "device {device} is not revoked: lazaret device revoke {device} comes first"
            );
            return Err(failed(Failure::Usage, &why));
        }
        Ok(Work::Remove(Removal {
            device: device.clone(),
            why: why.to_owned(),
            mark: mark(),
            by: by.clone(),
            at: self.now(),
        }))
    }

    /// The database answered. What it says was loaded before.
    pub(super) fn registry_done(&mut self, ticket: u64, result: Result<Outcome, StoreError>) {
        let Some(Waiting {
            stream,
            request,
            by,
            ..
        }) = self.records.waiting.remove(&ticket)
        else {
            return self.enrolment_done(ticket, result);
        };
        let response = match result {
            Ok(Outcome::Story(story)) => Response::Story {
                story: story.into_iter().map(line).collect(),
            },
            Ok(Outcome::Done | Outcome::Kept | Outcome::Token(_) | Outcome::Tokens(_)) => {
                self.did(&request, &by)
            }
            Err(error) => refusal(&request, &error),
        };
        self.record_request(&request, by.uid, &response);
        answer(stream, response);
    }

    fn did(&mut self, request: &Request, by: &By) -> Response {
        match request {
            Request::AddDevices {
                devices,
                imported,
                why,
            } => {
                let what = if *imported { "imported" } else { "added" };
                let mut all = Vec::with_capacity(devices.len());
                for device in devices.iter().filter_map(|one| one.name.parse().ok()) {
                    self.record_device(&device, what, by, why);
                    let known = self.registry.entry(&device);
                    let addresses = known.map(|known| known.addresses.clone());
                    all.push(Added {
                        addresses: addresses.unwrap_or_default(),
                        standing: self.registry.standing(&device),
                        device,
                    });
                }
                Response::Added { devices: all }
            }
            Request::Rotate { device, why, .. } => {
                self.record_device(device, "rotated", by, why);
                Response::Done {
                    what: format!("device {device} has another key"),
                }
            }
            Request::Extend { device, why, .. } => {
                self.record_device(device, "extended", by, why);
                Response::Done {
                    what: format!("device {device} has another end"),
                }
            }
            Request::Remove { device, why } => {
                self.record_device(device, "removed", by, why);
                Response::Done {
                    what: format!("device {device} is removed; its key and its name stay taken"),
                }
            }
            Request::Backup { path } => Response::Done {
                what: format!("the registry is copied to {}", path.display()),
            },
            Request::Adopt { .. } => Response::Done {
                what: "the database is the registry's from now on".to_owned(),
            },
            Request::Status
            | Request::Apply { .. }
            | Request::Confirm
            | Request::Rollback { .. }
            | Request::Approve { .. }
            | Request::History
            | Request::Version { .. }
            | Request::Devices { .. }
            | Request::Standing { .. }
            | Request::Story { .. }
            | Request::Sessions
            | Request::Kill { .. }
            | Request::Denied
            | Request::Strangers
            | Request::Pki(_)
            | Request::Enrol(_)
            | Request::Behaviour(_)
            | Request::BreakGlass(_)
            | Request::Updated { .. }
            | Request::Probe
            | Request::Drain { .. } => Response::Done {
                what: "done".to_owned(),
            },
        }
    }

    fn record_device(&mut self, device: &DeviceName, what: &str, by: &By, why: &str) {
        self.record(Event::Device {
            device: device.clone(),
            what: what.to_owned(),
            by: by.uid,
            who: by.name.clone(),
            why: why.to_owned(),
        });
    }

    pub(super) fn record_request(&mut self, request: &Request, by: u32, response: &Response) {
        if matches!(request, Request::Story { .. }) {
            return;
        }
        let (command, about) = name(request);
        // Lines of a list would be too much.
        let why = response
            .refused()
            .map(|why| why.lines().next().unwrap_or_default());
        let result = why.unwrap_or("done").to_owned();
        self.record(Event::Command {
            by,
            command,
            about,
            result,
        });
    }
}

fn line(chapter: Chapter) -> StoryLine {
    StoryLine {
        at: chapter.at,
        uid: chapter.by.uid,
        who: chapter.by.name,
        what: chapter.what,
        why: chapter.why,
    }
}

/// Why the database does not do it, in the words of the request.
fn refusal(request: &Request, error: &StoreError) -> Response {
    let kind = match error {
        StoreError::Refused(_)
        | StoreError::NotAFile
        | StoreError::Race(_)
        | StoreError::TooManyTokens => Failure::Usage,
        StoreError::Unknown(_) | StoreError::NoToken | StoreError::Spent => Failure::Unknown,
        StoreError::Gone(_)
        | StoreError::Empty
        | StoreError::Away(_)
        | StoreError::ReadOnly(_)
        | StoreError::Full(_)
        | StoreError::Damaged(_)
        | StoreError::Structure(_)
        | StoreError::Other
        | StoreError::Older { .. }
        | StoreError::Password(_)
        | StoreError::Backup { .. }
        | StoreError::Unusable(_)
        | StoreError::Sql(_) => Failure::Internal,
    };
    match (request, error) {
        (Request::AddDevices { devices, .. }, StoreError::Refused(wrong)) => {
            let wrong: Vec<(usize, String)> = wrong
                .iter()
                .map(|(number, taken)| (*number, taken.to_string()))
                .collect();
            failed(kind, &lines(devices, &wrong))
        }
        (_, StoreError::Refused(wrong)) => {
            let all: Vec<String> = wrong.iter().map(|(_, taken)| taken.to_string()).collect();
            failed(kind, &all.join("; "))
        }
        (_, error) => failed(kind, &told(error)),
    }
}

/// What is wrong with devices of a list, by line, or with a device alone.
fn lines(devices: &[NewDevice], wrong: &[(usize, String)]) -> String {
    let mut text: Vec<String> = wrong
        .iter()
        .take(MAX_LINES)
        .map(
            |(number, why)| match devices.get(*number).and_then(|d| d.line) {
                Some(line) => format!("line {line}: {why}"),
                None => why.clone(),
            },
        )
        .collect();
    if let Some(more) = wrong.len().checked_sub(MAX_LINES).filter(|more| *more > 0) {
        text.push(format!("and {more} more"));
    }
    if devices.iter().any(|device| device.line.is_some()) {
        text.push("nothing was imported".to_owned());
    }
    text.join("\n")
}

pub(super) fn bad_reason(why: &str) -> Option<Response> {
    let bad = why.len() > MAX_WHY || why.chars().any(char::is_control);
    bad.then(|| {
        failed(
            Failure::Usage,
            &format!("a reason is one line of at most {MAX_WHY} bytes"),
        )
    })
}

/// Most lines of a list that are told.
//= C7
const MAX_LINES: usize = 50;
const LONGEST_OVERLAP: Duration = Duration::from_hours(90 * 24);
