//! Takes a device out of all lists.

use jiff::Timestamp;

use super::{Store, StoreError, on};
use crate::flow::DeviceName;
use crate::registry::known::By;

/// A device that nobody wants to see any more.
#[derive(Clone, Debug)]
pub struct Removal {
    /// Which device.
    pub device: DeviceName,
    /// In the operator's words.
    pub why: String,
    /// Drawn for the record of it.
    pub mark: i64,
    /// Who decided.
    pub by: By,
    /// When.
    pub at: Timestamp,
}

impl Store {
    /// Removes a revoked device: its addresses may be another's; its name and keys stay taken, its story is kept.
    ///
    /// # Errors
    /// When it is unknown or not revoked, or the database does not take it.
    //= C5
    pub async fn remove(&self, removal: &Removal) -> Result<(), StoreError> {
        let name = removal.device.as_str();
        on!(self, pool => {
            let mut tx = pool.begin().await?;
            let (revision,): (i64,) = sqlx::query_as(COUNT).fetch_one(&mut *tx).await?;
            let changed = sqlx::query(REMOVE).bind(name).execute(&mut *tx).await?;
            if changed.rows_affected() == 0 {
                return Err(StoreError::Unknown(removal.device.clone()));
            }
            sqlx::query(FREE).bind(name).execute(&mut *tx).await?;
            sqlx::query(EVENT)
                .bind(revision)
                .bind(removal.mark)
                .bind(name)
                .bind(removal.at.as_millisecond())
                .bind(i64::from(removal.by.uid))
                .bind(&removal.by.name)
                .bind(&removal.why)
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
            self.walk.go_on(None);
            Ok(())
        })
    }
}

const COUNT: &str = "UPDATE meta SET value = value + 1 WHERE name = 'revision' RETURNING value";
const REMOVE: &str = "UPDATE device SET removed = 1 WHERE name = $1 AND origin <> 'file' AND standing = 'revoked' AND removed = 0";
const FREE: &str = "DELETE FROM device_address WHERE device = $1";
const EVENT: &str = "INSERT INTO device_event (revision, mark, device, at, uid, who, what, why) VALUES ($1, $2, $3, $4, $5, $6, 'removed', $7)";
