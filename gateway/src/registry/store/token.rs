//! Tokens: kept by their hash, used once.
//!
//! The use is one conditional `UPDATE` in the transaction that writes the device down: of many who come at the same
//! moment one wins, and a device that cannot be leaves the token as it was.

use jiff::Timestamp;

use super::change::{COUNT, EVENT};
use super::load::{strange, time};
use super::settle::settle;
use super::{Store, StoreError, insert, on};
use crate::registry::addresses::Addresses;
use crate::registry::token::{ID, NewToken, Redemption, Terms, Token, TokenHash, Used};

type TokenRow = (
    String,
    String,
    Option<String>,
    Option<String>,
    String,
    Option<String>,
    Option<String>,
    i64,
    String,
    i64,
    String,
    i64,
    Option<String>,
    Option<String>,
    Option<i64>,
    Option<i64>,
);

impl Store {
    /// Keeps a token. Those that ended long ago are forgotten.
    ///
    /// # Errors
    /// [`StoreError::TooManyTokens`]; or when the database does not take it.
    pub async fn keep_token(&self, token: &NewToken) -> Result<(), StoreError> {
        let (terms, at) = (&token.terms, token.at.as_millisecond());
        on!(self, pool => {
            let mut tx = pool.begin().await?;
            sqlx::query(FORGET)
                .bind(at.saturating_sub(REMEMBERED))
                .execute(&mut *tx)
                .await?;
            let (open,): (i64,) = sqlx::query_as(OPEN).bind(at).fetch_one(&mut *tx).await?;
            if open >= MAX_OPEN {
                return Err(StoreError::TooManyTokens);
            }
            sqlx::query(KEEP)
                .bind(token.hash.to_string())
                .bind(super::joined(terms.roles.iter().map(|role| role.as_str())))
                .bind(terms.device.as_ref().map(|device| device.as_str()))
                .bind(&terms.serial)
                .bind(super::joined(terms.patients.iter().map(String::as_str)))
                .bind(&terms.hl7_sender)
                .bind(&terms.ae_title)
                .bind(i64::from(terms.approve))
                .bind(&token.why)
                .bind(at)
                .bind(&token.by.name)
                .bind(token.expires.as_millisecond())
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
            Ok(())
        })
    }

    /// What is kept of a token.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn token(&self, hash: &TokenHash) -> Result<Option<Token>, StoreError> {
        let row: Option<TokenRow> = on!(self, pool => {
            sqlx::query_as(ONE).bind(hash.to_string()).fetch_optional(pool).await
        })?;
        row.map(token).transpose()
    }

    /// All tokens that are remembered, the newest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        let rows: Vec<TokenRow> = on!(self, pool => {
            sqlx::query_as(ALL).bind(MAX_LISTED).fetch_all(pool).await
        })?;
        rows.into_iter().map(token).collect()
    }

    /// Takes a token back that nobody used yet.
    ///
    /// # Errors
    /// [`StoreError::NoToken`] when there is none of this id; or when the database does not take it.
    pub async fn revoke_token(&self, id: &str, at: Timestamp) -> Result<(), StoreError> {
        let revoked = on!(self, pool => {
            sqlx::query(REVOKE)
                .bind(at.as_millisecond())
                .bind(format!("{id}%"))
                .execute(pool)
                .await
                .map(|done| done.rows_affected())
        })?;
        if revoked == 0 {
            return Err(StoreError::NoToken);
        }
        Ok(())
    }

    /// Uses a token: the device is known from now on, if the token is still good.
    ///
    /// # Errors
    /// [`StoreError::Spent`] when it is not, [`StoreError::Refused`] when the device cannot be;
    /// then the token is as it was. Or when the database does not take it.
    pub async fn redeem(
        &self,
        redemption: &Redemption,
        addresses: Addresses,
    ) -> Result<(), StoreError> {
        let Redemption {
            hash,
            key,
            newcomer,
            at,
        } = redemption;
        let (name, at) = (newcomer.name.as_str(), at.as_millisecond());
        on!(self, pool => {
            let mut tx = pool.begin().await?;
            let (revision,): (i64,) = sqlx::query_as(COUNT).bind(1_i64).fetch_one(&mut *tx).await?;
            let used = sqlx::query(REDEEM)
                .bind(name)
                .bind(key.text())
                .bind(at)
                .bind(hash.to_string())
                .execute(&mut *tx)
                .await?;
            if used.rows_affected() != 1 {
                return Err(StoreError::Spent);
            }
            let ((newcomer, known), walk) = settle!(self, &mut *tx, newcomer, addresses);
            insert!(&mut *tx, name, &known);
            sqlx::query(EVENT)
                .bind(revision)
                .bind(newcomer.mark)
                .bind(name)
                .bind(at)
                .bind(i64::from(newcomer.by.uid))
                .bind(&newcomer.by.name)
                .bind("enrolled")
                .bind(&known.why)
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
            self.walk.go_on(Some(walk));
            Ok(())
        })
    }
}

fn token(row: TokenRow) -> Result<Token, StoreError> {
    let (
        hash,
        roles,
        device,
        serial,
        patients,
        sender,
        title,
        approve,
        why,
        created,
        by,
        expires,
        used_by,
        used_key,
        used_at,
        revoked,
    ) = row;
    let name = |text: Option<String>| {
        let parsed = text.map(|text| text.parse());
        parsed
            .transpose()
            .map_err(|_| strange("the name of a token"))
    };
    let roles = roles.split_whitespace().map(str::parse);
    let used = match (name(used_by)?, used_key, used_at) {
        (Some(device), Some(key), Some(at)) => Some(Used {
            device,
            key,
            at: time(at)?,
        }),
        (None, None, None) => None,
        _ => return Err(strange("who used a token")),
    };
    Ok(Token {
        id: hash.chars().take(ID).collect(),
        terms: Terms {
            roles: roles
                .collect::<Result<_, _>>()
                .map_err(|_| strange("the role of a token"))?,
            device: name(device)?,
            serial,
            patients: patients.split_whitespace().map(str::to_owned).collect(),
            hl7_sender: sender,
            ae_title: title,
            approve: approve != 0,
        },
        why,
        created: time(created)?,
        created_by: by,
        expires: time(expires)?,
        used,
        revoked: revoked.map(time).transpose()?,
    })
}

/// Tokens that can still be used.
//= C7
const MAX_OPEN: i64 = 10_000;
/// Tokens in one answer.
//= C7
const MAX_LISTED: i64 = 10_000;
/// Milliseconds after its end for which a token is remembered: 90 days.
const REMEMBERED: i64 = 90 * 86_400_000;
const KEEP: &str = "INSERT INTO token (hash, role, device, serial, patients, hl7_sender, ae_title, approve, why, created, created_by, expires, uses_left) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 1)";
const FORGET: &str = "DELETE FROM token WHERE expires < $1";
const OPEN: &str =
    "SELECT COUNT(*) FROM token WHERE expires > $1 AND uses_left > 0 AND revoked IS NULL";
const ONE: &str = "SELECT hash, role, device, serial, patients, hl7_sender, ae_title, approve, why, created, created_by, expires, used_by, used_key, used_at, revoked FROM token WHERE hash = $1";
const ALL: &str = "SELECT hash, role, device, serial, patients, hl7_sender, ae_title, approve, why, created, created_by, expires, used_by, used_key, used_at, revoked FROM token ORDER BY created DESC, hash LIMIT $1";
const REVOKE: &str =
    "UPDATE token SET revoked = $1 WHERE hash LIKE $2 AND uses_left > 0 AND revoked IS NULL";
const REDEEM: &str = "UPDATE token SET uses_left = uses_left - 1, used_by = $1, used_key = $2, used_at = $3 WHERE hash = $4 AND uses_left > 0 AND revoked IS NULL AND expires > $3";
