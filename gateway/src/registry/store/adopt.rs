//! Makes a database the registry's that is not the one before: made new, put back from a copy, or moved.
//!
//! Only an operator asks for it. What the gateway knows is written over what is there, but never lets anybody do more.

use std::path::{Path, PathBuf};

use super::{Place, Store, StoreError, insert, on};
use crate::flow::{DeviceName, Standing};
use crate::registry::known::Known;

impl Store {
    /// Opens whatever is there, or makes it; a damaged file is put aside. Then writes down everybody who is known.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn adopt(
        place: &Place,
        seed: i64,
        devices: &[(DeviceName, Known)],
    ) -> Result<Self, StoreError> {
        let store = match Self::open(place, None, seed).await {
            Err(StoreError::Damaged(_)) if put_aside(place)? => {
                Self::open(place, None, seed).await?
            }
            opened => opened?,
        };
        match store.merge(devices).await {
            Ok(()) => Ok(store),
            Err(error) => {
                store.close().await;
                Err(error)
            }
        }
    }

    async fn merge(&self, devices: &[(DeviceName, Known)]) -> Result<(), StoreError> {
        on!(self, pool => {
            let mut tx = pool.begin().await?;
            sqlx::query(COUNT).execute(&mut *tx).await?;
            for (name, known) in devices {
                let name = name.as_str();
                let there: Option<(String,)> =
                    sqlx::query_as(STANDING).bind(name).fetch_optional(&mut *tx).await?;
                let Some((standing,)) = there else {
                    insert!(&mut *tx, name, known);
                    continue;
                };
                if Standing::from_word(&standing).is_some_and(|theirs| theirs < known.standing) {
                    sqlx::query(SET_STANDING)
                        .bind(known.standing.as_str())
                        .bind(&known.why)
                        .bind(known.since.as_millisecond())
                        .bind(name)
                        .execute(&mut *tx)
                        .await?;
                }
            }
            tx.commit().await?;
            Ok(())
        })
    }
}

/// Renames the damaged file, so that nothing of it is lost. False if there is no file.
fn put_aside(place: &Place) -> Result<bool, StoreError> {
    let Place::File(path) = place else {
        return Ok(false);
    };
    for suffix in ["", "-wal", "-shm"] {
        let from = with_suffix(path, suffix);
        let to = with_suffix(path, &format!("{suffix}.damaged"));
        match std::fs::rename(&from, to) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::Away(sqlx::Error::Io(error)));
            }
            _ => {}
        }
    }
    Ok(true)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

const COUNT: &str = "UPDATE meta SET value = value + 1 WHERE name = 'revision'";
const STANDING: &str = "SELECT standing FROM device WHERE name = $1";
const SET_STANDING: &str = "UPDATE device SET standing = $1, why = $2, since = $3 WHERE name = $4";
