//! What a newcomer may have: a name, keys, a serial number that nobody has, and addresses.
//!
//! In: newcomers, and whose is what in the database, in the same transaction. Out: the newcomers with addresses, or all
//! that cannot be.
//! Of one newcomer only what it wants is looked for, each by its index, so that an enrolment costs the same however many
//! are known; free addresses are found where the search ended last ([`Walk`]), and looked for like all else.
//! The unique keys of the tables hold in any case.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use super::StoreError;
use super::error::Taken;
use crate::flow::Standing;
use crate::registry::addresses::{Addresses, Way};
use crate::registry::known::{Known, Newcomer};

/// Whose is what already.
#[derive(Clone, Debug, Default)]
pub(super) struct There {
    /// Name, serial number and standing.
    pub(super) names: Vec<(String, Option<String>, String)>,
    /// Those of tunnels in base64, those of certificates by their fingerprints in hex.
    pub(super) keys: Vec<(String, String)>,
    pub(super) addresses: Vec<(String, String)>,
}

/// Where the search for free addresses ended, so that the next one need not begin anew.
///
/// It is only where to look: whether an address is free is asked in the transaction that takes it.
/// An address that became free since is found when the search begins anew: after a removal, and after everything was
/// read, as when another gateway changed something.
#[derive(Debug, Default)]
pub(super) struct Walk(Mutex<Option<Pace>>);

/// One search.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    /// As it began.
    from: Addresses,
    /// As it is now.
    pub(super) rest: Addresses,
}

impl Pace {
    /// Begins a search beside these addresses, which are somebody's.
    pub(super) fn begin(from: Addresses, taken: Vec<(String, String)>) -> Self {
        let mut rest = from.clone();
        for address in taken.iter().filter_map(|(address, _)| address.parse().ok()) {
            rest.take(address);
        }
        Self { from, rest }
    }
}

impl Walk {
    /// The search, if it began in the same place. Who does not give it back lets it begin anew.
    pub(super) fn resume(&self, from: &Addresses) -> Option<Pace> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.take().filter(|pace| pace.from == *from)
    }

    /// The next search goes on there; without, it begins anew.
    pub(super) fn go_on(&self, pace: Option<Pace>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = pace;
    }
}

/// One newcomer with its addresses, and where the search for them ended. In a transaction that began with the counter.
macro_rules! settle {
    ($store:expr, $connection:expr, $newcomer:expr, $addresses:expr) => {{
        use $crate::registry::store::settle;
        let newcomer: &$crate::registry::known::Newcomer = $newcomer;
        let mut pace = match $store.walk.resume(&$addresses) {
            Some(pace) => pace,
            None => {
                let all: Vec<(String, String)> = sqlx::query_as(settle::ALL_ADDRESSES)
                    .fetch_all($connection)
                    .await?;
                settle::Pace::begin($addresses, all)
            }
        };
        let mut there = settle::There {
            names: sqlx::query_as(settle::NAME)
                .bind(newcomer.name.as_str())
                .bind(&newcomer.known.serial)
                .fetch_all($connection)
                .await?,
            ..settle::There::default()
        };
        for (kind, key) in settle::keys_of(&newcomer.known) {
            let owner: Option<(String, String)> = sqlx::query_as(settle::KEY)
                .bind(kind)
                .bind(key)
                .fetch_optional($connection)
                .await?;
            there.keys.extend(owner);
        }
        for address in &newcomer.known.addresses {
            let owner: Option<(String, String)> = sqlx::query_as(settle::ADDRESS)
                .bind(address.to_string())
                .fetch_optional($connection)
                .await?;
            there.addresses.extend(owner);
        }
        // What is found to be somebody's is not given again, so that this ends.
        let settled = loop {
            let complete = settle::complete(
                std::slice::from_ref(newcomer),
                there.clone(),
                &mut pace.rest,
            );
            let (newcomer, known) = match complete.map(|all| all.into_iter().next()) {
                Ok(Some(settled)) => settled,
                Ok(None) => return Err($crate::registry::store::StoreError::Refused(Vec::new())),
                Err(error) => {
                    // Nothing of it was given; what it brought stays free.
                    $store
                        .walk
                        .go_on(newcomer.known.addresses.is_empty().then_some(pace));
                    return Err(error);
                }
            };
            let before = there.addresses.len();
            for address in &known.addresses {
                let owner: Option<(String, String)> = sqlx::query_as(settle::ADDRESS)
                    .bind(address.to_string())
                    .fetch_optional($connection)
                    .await?;
                there.addresses.extend(owner);
            }
            if there.addresses.len() == before {
                break (newcomer, known);
            }
        };
        (settled, pace)
    }};
}
pub(super) use settle;

/// All keys of a device, as the database has them.
pub(super) fn keys_of(known: &Known) -> impl Iterator<Item = (&'static str, String)> {
    let keys = known.keys.iter();
    let keys = keys.map(|key| ("wireguard", key.wireguard.to_string()));
    let certificates = known.certificates.iter();
    keys.chain(certificates.map(|fingerprint| ("certificate", fingerprint.clone())))
}

/// Gives addresses, and says all that cannot be. Who cannot be gets none.
pub(super) fn complete<'n>(
    newcomers: &'n [Newcomer],
    there: There,
    addresses: &mut Addresses,
) -> Result<Vec<(&'n Newcomer, Known)>, StoreError> {
    let mut owners: HashMap<String, String> = there.addresses.into_iter().collect();
    for address in owners.keys().filter_map(|address| address.parse().ok()) {
        addresses.take(address);
    }
    // Whoever brings an address has it before anybody gets one.
    for address in newcomers.iter().flat_map(|one| &one.known.addresses) {
        addresses.take(*address);
    }
    let mut keys: HashMap<String, String> = there.keys.into_iter().collect();
    let mut serials = HashMap::new();
    let mut names = HashSet::new();
    for (name, serial, standing) in there.names {
        if let Some(serial) = serial
            && standing != Standing::Revoked.as_str()
        {
            serials.insert(serial, name.clone());
        }
        names.insert(name);
    }
    let (mut complete, mut refused) = (Vec::with_capacity(newcomers.len()), Vec::new());
    for (number, newcomer) in newcomers.iter().enumerate() {
        let name = newcomer.name.as_str();
        let mut known = newcomer.known.clone();
        let before = refused.len();
        let mut refuse = |taken| refused.push((number, taken));
        if !names.insert(name.to_owned()) {
            refuse(Taken::Name(newcomer.name.clone()));
        }
        for (_, key) in keys_of(&known) {
            if let Some(owner) = owner_of(&mut keys, key, name) {
                refuse(Taken::Key(owner));
            }
        }
        for address in &known.addresses {
            if let Some(owner) = owner_of(&mut owners, address.to_string(), name) {
                refuse(Taken::Address(owner));
            }
        }
        if let Some(serial) = &known.serial
            && let Some(owner) = owner_of(&mut serials, serial.clone(), name)
        {
            refuse(Taken::Serial(owner));
        }
        if known.addresses.is_empty() && refused.len() == before {
            let way = if known.keys.is_empty() {
                Way::Certificate
            } else {
                Way::Key
            };
            match addresses.give(way) {
                Ok(given) => known.addresses = given,
                Err(exhausted) => refused.push((number, exhausted.into())),
            }
        }
        complete.push((newcomer, known));
    }
    if refused.is_empty() {
        Ok(complete)
    } else {
        Err(StoreError::Refused(refused))
    }
}

/// Whose it is already; if nobody's, it is this device's from now on.
fn owner_of(owners: &mut HashMap<String, String>, what: String, name: &str) -> Option<String> {
    match owners.entry(what) {
        Entry::Occupied(owner) => Some(owner.get().clone()),
        Entry::Vacant(free) => {
            free.insert(name.to_owned());
            None
        }
    }
}

pub(super) const NAMES: &str = "SELECT name, serial, standing FROM device";
pub(super) const ALL_KEYS: &str = "SELECT value, device FROM device_key";
pub(super) const ALL_ADDRESSES: &str = "SELECT address, device FROM device_address";
/// Each half has an index; a standing as in that of the other.
pub(super) const NAME: &str = "SELECT name, serial, standing FROM device WHERE name = $1 UNION SELECT name, serial, standing FROM device WHERE serial = $2 AND standing <> 'revoked'";
pub(super) const KEY: &str = "SELECT value, device FROM device_key WHERE kind = $1 AND value = $2";
pub(super) const ADDRESS: &str = "SELECT address, device FROM device_address WHERE address = $1";
