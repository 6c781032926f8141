//! Updates of the signed image: what is offered, whether it is taken, and what became of it.
//!
//! In: a source of files, keys that came with the image, what can be seen of the machine.
//! Out: a new version in the free slot that the loader tries next, or a refusal by name.
//! Pure: [`version`], [`keys`], [`manifest`], [`identity`], [`slots`], [`record`], [`refusal`].
//! Impure: [`source`], [`https`], [`store`], [`stick`], [`disk`], [`machine`]. Knows nothing of restarts, of the daemon and of the clock.

pub mod version;
pub mod refusal;
pub mod keys;
pub mod manifest;
pub mod identity;
pub mod record;
pub mod slots;
pub mod source;
pub mod https;
pub mod store;
pub mod stick;
pub mod disk;
pub mod machine;
#[cfg(test)]
mod tests;

use serde::Serialize;

use self::machine::{MachineError, Places};
use self::manifest::{MOST_BYTES, Manifest};
use self::refusal::Refusal;
use self::slots::{Admitted, Slot, Slots};
use self::source::{FetchError, Source};
use self::store::{Store, StoreError};
use self::version::Version;

/// Why there is no update.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// It is refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It cannot be had.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// It cannot be kept.
    #[error(transparent)]
    Store(StoreError),
    /// It cannot be installed.
    #[error(transparent)]
    Machine(#[from] MachineError),
}

impl From<StoreError> for UpdateError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Refused(refusal) => Self::Refused(refusal),
            StoreError::Fetch(error) => Self::Fetch(error),
            error @ StoreError::Io(_) => Self::Store(error),
        }
    }
}

/// What a source has for this machine.
#[derive(Clone, Debug, Serialize)]
pub struct Offer {
    /// What runs.
    pub running: Version,
    /// What is offered.
    pub manifest: Manifest,
    /// Whether it waits for a restart already.
    pub installed: bool,
}

/// What is installed, and what is known of it.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// What runs.
    pub running: Version,
    /// `vm` or `metal`.
    pub flavour: String,
    /// All that is installed, oldest first.
    pub slots: Vec<Slot>,
    /// What is installed and will be tried at the next start.
    pub pending: Option<Version>,
    /// What was tried in vain, so that an older version runs.
    pub came_back_from: Option<Version>,
    /// How often a restart was asked for what waits.
    pub restarts: u64,
    /// Versions that are not offered again, and why.
    pub bad: Vec<(String, String)>,
}

/// The bytes of a manifest and its signature, as they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// `manifest.json`.
    pub bytes: Vec<u8>,
    /// `manifest.json.sig`.
    pub signature: Vec<u8>,
}

/// Updates on this machine. `wall` is the time, for the record.
#[derive(Clone, Debug)]
pub struct Updater {
    /// Where everything is.
    pub places: Places,
    /// The time, as it is to be remembered.
    pub wall: String,
}

impl Updater {
    /// Looks what a source has. Nothing is written.
    ///
    /// # Errors
    /// A refusal, or why it cannot be told.
    pub fn check(&self, source: &mut dyn Source) -> Result<Offer, UpdateError> {
        Ok(self.offer(source)?.0)
    }

    /// What a source has, and the very bytes that were signed.
    fn offer(&self, source: &mut dyn Source) -> Result<(Offer, Signed), UpdateError> {
        let identity = self.places.identity()?;
        let (manifest, signed) = self.manifest(source, &identity.flavour)?;
        let slots = Slots::of(&self.places.seen(&identity)?);
        let mut record = self.places.record()?;
        slots.settle(&mut record, &self.wall);
        let admitted = slots.admit(&manifest, &record)?;
        let offer = Offer {
            running: identity.version,
            manifest,
            installed: admitted == Admitted::Installed,
        };
        Ok((offer, signed))
    }

    /// What was installed and waits for its start, verified by what was signed then: no source is asked.
    ///
    /// # Errors
    /// When what is there is not what was signed, or it cannot be told.
    pub fn waiting(&self) -> Result<Option<Offer>, UpdateError> {
        let _lock = self.places.lock()??;
        let identity = self.places.identity()?;
        let Some(Signed { bytes, signature }) = self.places.signed()? else {
            return Ok(None);
        };
        let keys = self.places.keys()??;
        let manifest = Manifest::read(&bytes, Some(&signature), &keys, &identity.flavour)?;
        let record = self.settle()?;
        let slots = Slots::of(&self.places.seen(&identity)?);
        let Ok(Admitted::Installed) = slots.admit(&manifest, &record) else {
            return Ok(None);
        };
        self.verify(&manifest)?;
        Ok(Some(Offer {
            running: identity.version,
            manifest,
            installed: true,
        }))
    }

    /// Fetches, verifies and installs what a source has. After it the loader tries the new version at the next start.
    /// What was installed before is verified again: power may have gone in between. `may_install` is asked before
    /// anything is written to a slot, after what may have been a long download.
    ///
    /// # Errors
    /// A refusal, or why it could not be done. Whatever happens, what runs now can be started again.
    pub fn apply(
        &self,
        source: &mut dyn Source,
        mut progress: impl FnMut(&str, u64, u64),
        may_install: impl Fn() -> bool,
    ) -> Result<Offer, UpdateError> {
        let _lock = self.places.lock()??;
        let identity = self.places.identity()?;
        self.settle()?;
        let (mut offer, signed) = self.offer(source)?;
        if offer.installed {
            match self.verify(&offer.manifest) {
                Ok(()) => {
                    self.remember(&offer, &signed)?;
                    return Ok(offer);
                }
                // Its entry is gone: it is installed once more.
                Err(UpdateError::Machine(MachineError::Written(_))) => offer.installed = false,
                Err(error) => return Err(error),
            }
        }
        let manifest = &offer.manifest;
        let io = |cause| StoreError::Io(cause);
        let store = Store::open(&self.places.downloads()).map_err(io)?;
        store.keep(Some(manifest)).map_err(io)?;
        let slots = Slots::of(&self.places.seen(&identity)?);
        let removable = |slot: &Slot| slot.entry.clone().filter(|_| !slot.running);
        let removable: Vec<String> = slots.all().iter().filter_map(removable).collect();
        let missing = store.missing(manifest);
        self.places.space(missing, manifest, &removable)??;
        for payload in &manifest.files {
            let (name, size) = (payload.role.name(), payload.size);
            store.obtain(source, payload, |at| progress(name, at, size))?;
        }
        if !may_install() {
            return Err(Refusal::Window(manifest.version.clone()).into());
        }
        // Whenever the power goes while its slot is half written, the loader does not start it.
        self.places.leave_others(&self.places.seen(&identity)?)?;
        self.places.install(&manifest.version)?;
        self.places.wait_for_labels(&manifest.version)?;
        self.verify(manifest)?;
        self.remember(&offer, &signed)?;
        // The slots have them now.
        store.keep(None).map_err(io)?;
        Ok(offer)
    }

    /// Whether a machine that is left to itself may restart once more for what waits. One that never starts it must
    /// not restart for ever.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn may_restart(&self) -> Result<bool, UpdateError> {
        Ok(self.places.record()?.restarts() < MOST_RESTARTS)
    }

    /// Notes that the machine restarts now for what waits.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub fn restarting(&self) -> Result<(), UpdateError> {
        let mut record = self.places.record()?;
        record.count_restart();
        Ok(self.places.write_record(&record)?)
    }

    /// Remembers what waits for a start.
    fn remember(&self, offer: &Offer, signed: &Signed) -> Result<(), UpdateError> {
        self.places.write_signed(signed)?;
        let mut record = self.places.record()?;
        let version = &offer.manifest.version;
        if !offer.installed || record.pending().as_ref() != Some(version) {
            record.set_pending(version, &offer.running, &self.wall);
            self.places.write_record(&record)?;
        }
        Ok(())
    }

    /// What was installed must be what was signed; otherwise its entry goes away.
    fn verify(&self, manifest: &Manifest) -> Result<(), UpdateError> {
        let identity = self.places.identity()?;
        let slots = Slots::of(&self.places.seen(&identity)?);
        let entry = slots.find(&manifest.version);
        let Some(entry) = entry.and_then(|slot| slot.entry.as_deref()) else {
            return Err(MachineError::Written(manifest::Role::Uki).into());
        };
        self.places
            .verify_installed(manifest, entry)
            .or_else(|error| {
                self.places.remove_entry(entry)?;
                Err(error.into())
            })
    }

    /// What is installed. What became of the last update is remembered, where that can be written.
    ///
    /// # Errors
    /// When it cannot be told.
    pub fn status(&self) -> Result<Status, UpdateError> {
        let identity = self.places.identity()?;
        let slots = Slots::of(&self.places.seen(&identity)?);
        let mut record = self.places.record()?;
        slots.settle(&mut record, &self.wall);
        let waits = |slot: &&Slot| {
            !slot.running
                && slot.is_bootable()
                && slot.version > identity.version
                && record.bad(&slot.version).is_none()
        };
        let left = |slot: &Slot| {
            record
                .bad(&slot.version)
                .is_some_and(|why| why == WENT_BACK)
        };
        let returned = |slot: &&Slot| slot.is_exhausted() && !left(slot);
        let version = |slot: &Slot| slot.version.clone();
        Ok(Status {
            pending: slots.all().iter().find(waits).map(version),
            came_back_from: slots.all().iter().find(returned).map(version),
            slots: slots.all().to_vec(),
            restarts: record.restarts(),
            bad: record.all_bad(),
            running: identity.version,
            flavour: identity.flavour,
        })
    }

    /// Has the loader start the other version from now on; that which runs is not offered again.
    ///
    /// # Errors
    /// [`Refusal::NoOther`] when there is none.
    pub fn rollback(&self) -> Result<Version, UpdateError> {
        let _lock = self.places.lock()??;
        let identity = self.places.identity()?;
        let slots = Slots::of(&self.places.seen(&identity)?);
        let mut record = self.settle()?;
        let before = slots.before(&record).ok_or(Refusal::NoOther)?;
        let running = slots.running().ok_or(Refusal::NoOther)?;
        let entry = running.entry.as_deref().ok_or(Refusal::NoOther)?;
        let done = running.trial.map_or(1, |trial| trial.done);
        // First what the loader sees: what is known to be bad must not start again, whenever the power goes.
        self.places.exhaust(&running.version, entry, done)?;
        record.mark_bad(&running.version, WENT_BACK, &self.wall);
        self.places.write_record(&record)?;
        Ok(before.version.clone())
    }

    /// Brings the record in line with what can be seen.
    fn settle(&self) -> Result<record::Record, UpdateError> {
        let identity = self.places.identity()?;
        let slots = Slots::of(&self.places.seen(&identity)?);
        let mut record = self.places.record()?;
        if slots.settle(&mut record, &self.wall) {
            self.places.write_record(&record)?;
        }
        let bad = |slot: &&Slot| {
            !slot.running && slot.is_bootable() && record.bad(&slot.version).is_some()
        };
        for slot in slots.all().iter().filter(bad) {
            if let Some(entry) = &slot.entry {
                let done = slot.trial.map_or(1, |trial| trial.done);
                self.places.exhaust(&slot.version, entry, done)?;
            }
        }
        Ok(record)
    }

    /// Signature first: nothing of a manifest counts before.
    fn manifest(
        &self,
        source: &mut dyn Source,
        flavour: &str,
    ) -> Result<(Manifest, Signed), UpdateError> {
        let keys = self.places.keys()??;
        let bytes = source::small(source, MANIFEST, MOST_BYTES)?;
        let signature = match source::small(source, SIGNATURE, SIGNATURE_BYTES) {
            Ok(signature) => Some(signature),
            Err(FetchError::Missing(_)) => None,
            Err(error) => return Err(error.into()),
        };
        let manifest = Manifest::read(&bytes, signature.as_deref(), &keys, flavour)?;
        let signature = signature.unwrap_or_default();
        Ok((manifest, Signed { bytes, signature }))
    }
}

/// Why a version is bad that did nothing wrong.
pub const WENT_BACK: &str = "an operator went back from it";
/// Restarts for one version, without anybody who asks for them.
//= C7
const MOST_RESTARTS: u64 = 3;
const MANIFEST: &str = "manifest.json";
const SIGNATURE: &str = "manifest.json.sig";
//= RFC 8032 5.1.6
const SIGNATURE_BYTES: usize = 64;
