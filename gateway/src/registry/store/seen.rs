//! What was seen of devices, and who came that nobody knows.
//!
//! In: how often and when, since the last time. Out: all of it, once, when a database is opened.
//! Of each kind and device the latest are kept, of strangers the latest of all.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{Store, StoreError, on};
use crate::registry::known::{Seen, Sighting, Strange, What};

impl Store {
    /// Adds what was seen. An older sighting than the last is counted, but is not the last.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn note(&self, seen: &[Sighting], strange: &[Strange]) -> Result<(), StoreError> {
        let kinds: BTreeSet<_> = seen.iter().map(|one| (&one.device, one.what)).collect();
        on!(self, pool => {
            let mut tx = pool.begin().await?;
            for one in seen {
                sqlx::query(NOTE)
                    .bind(one.device.as_str())
                    .bind(one.what.as_str())
                    .bind(&one.value)
                    .bind(amount(&one.seen))
                    .bind(one.seen.first.as_millisecond())
                    .bind(one.seen.last.as_millisecond())
                    .execute(&mut *tx)
                    .await?;
            }
            for (device, what) in kinds {
                sqlx::query(FORGET)
                    .bind(device.as_str())
                    .bind(what.as_str())
                    .bind(MOST_OF_A_KIND)
                    .execute(&mut *tx)
                    .await?;
            }
            for one in strange {
                sqlx::query(NOTE_STRANGE)
                    .bind(&one.what)
                    .bind(&one.source)
                    .bind(&one.value)
                    .bind(amount(&one.seen))
                    .bind(one.seen.first.as_millisecond())
                    .bind(one.seen.last.as_millisecond())
                    .execute(&mut *tx)
                    .await?;
            }
            if !strange.is_empty() {
                let kept: Option<(i64,)> = sqlx::query_as(LAST_STRANGE)
                    .bind(MOST_STRANGE)
                    .fetch_optional(&mut *tx)
                    .await?;
                if let Some((last,)) = kept {
                    sqlx::query(FORGET_STRANGE).bind(last).execute(&mut *tx).await?;
                }
            }
            tx.commit().await?;
            Ok(())
        })
    }

    /// All that was seen. What cannot be understood is left out: nothing depends on it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn seen(&self) -> Result<(Vec<Sighting>, Vec<Strange>), StoreError> {
        type Row = (String, String, String, i64, i64, i64);
        let (seen, strange): (Vec<Row>, Vec<Row>) = on!(self, pool => {
            let seen = sqlx::query_as(SEEN).bind(MOST_READ).fetch_all(pool).await?;
            (seen, sqlx::query_as(STRANGE).bind(MOST_STRANGE).fetch_all(pool).await?)
        });
        let seen = seen.into_iter().filter_map(|row| {
            let (device, what, value, amount, first, last) = row;
            Some(Sighting {
                device: device.parse().ok()?,
                what: What::from_word(&what)?,
                value,
                seen: times(amount, first, last)?,
            })
        });
        let strange = strange.into_iter().filter_map(|row| {
            let (what, source, value, amount, first, last) = row;
            Some(Strange {
                what,
                source,
                value,
                seen: times(amount, first, last)?,
            })
        });
        Ok((seen.collect(), strange.collect()))
    }
}

fn amount(seen: &Seen) -> i64 {
    i64::try_from(seen.amount).unwrap_or(i64::MAX)
}

fn times(amount: i64, first: i64, last: i64) -> Option<Seen> {
    Some(Seen {
        amount: u64::try_from(amount).ok()?,
        first: Timestamp::from_millisecond(first).ok()?,
        last: Timestamp::from_millisecond(last).ok()?,
    })
}

//= C7
const MOST_OF_A_KIND: i64 = 32;
//= C7
const MOST_STRANGE: i64 = 4096;
//= C7
const MOST_READ: i64 = 1_000_000;
const NOTE: &str = "INSERT INTO seen (device, what, value, amount, first, last) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (device, what, value) DO UPDATE SET amount = seen.amount + excluded.amount, last = CASE WHEN excluded.last > seen.last THEN excluded.last ELSE seen.last END";
const FORGET: &str = "DELETE FROM seen WHERE device = $1 AND what = $2 AND value NOT IN (SELECT value FROM seen WHERE device = $1 AND what = $2 ORDER BY last DESC, value LIMIT $3)";
const NOTE_STRANGE: &str = "INSERT INTO unknown (what, source, value, amount, first, last) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (what, source, value) DO UPDATE SET amount = unknown.amount + excluded.amount, last = CASE WHEN excluded.last > unknown.last THEN excluded.last ELSE unknown.last END";
const LAST_STRANGE: &str = "SELECT last FROM unknown ORDER BY last DESC LIMIT 1 OFFSET $1";
const FORGET_STRANGE: &str = "DELETE FROM unknown WHERE last <= $1";
const SEEN: &str = "SELECT device, what, value, amount, first, last FROM seen LIMIT $1";
const STRANGE: &str =
    "SELECT what, source, value, amount, first, last FROM unknown ORDER BY last DESC LIMIT $1";
