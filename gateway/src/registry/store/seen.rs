//! When devices were there last.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Store, StoreError, on};
use crate::flow::DeviceName;

impl Store {
    /// Notes handshakes; an older one than the last is counted, but is not the last.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn note_handshakes(
        &self,
        handshakes: &BTreeMap<DeviceName, Timestamp>,
    ) -> Result<(), StoreError> {
        on!(self, pool => {
            let mut tx = pool.begin().await?;
            for (device, at) in handshakes {
                sqlx::query(NOTE)
                    .bind(device.as_str())
                    .bind(at.as_millisecond())
                    .execute(&mut *tx)
                    .await?;
            }
            tx.commit().await?;
            Ok(())
        })
    }
}

const NOTE: &str = "INSERT INTO seen (device, what, value, amount, first, last) VALUES ($1, 'handshake', '', 1, $2, $2) ON CONFLICT (device, what, value) DO UPDATE SET amount = seen.amount + 1, last = CASE WHEN excluded.last > seen.last THEN excluded.last ELSE seen.last END";
