//! Who may sign: lines of an `allowed_signers` file of OpenSSH (ssh-keygen(1), ALLOWED SIGNERS).
//!
//! In: a line. Out: a principal, a key, and when it counts. What cannot be honoured is refused, not passed over.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use lazaret_config::Policy;

use super::signature::{Key, NAMESPACE, SignatureError};
use crate::daemon::reload::ReloadError;

/// Somebody who may sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Signer {
    pub(super) principal: String,
    pub(super) key: Key,
    after: Option<Timestamp>,
    before: Option<Timestamp>,
}

/// Whether all signers of a policy can be used.
///
/// # Errors
/// The first that cannot.
pub(in crate::daemon) fn check(policy: &Policy) -> Result<(), ReloadError> {
    for (place, line) in policy.signers.iter().enumerate() {
        parse(line).map_err(|why| ReloadError::Signers {
            number: place.saturating_add(1),
            why,
        })?;
    }
    Ok(())
}

impl Signer {
    /// Whether its signatures count at a time.
    pub(super) fn counts(&self, now: Timestamp) -> bool {
        self.after.is_none_or(|after| after <= now) && self.before.is_none_or(|before| now < before)
    }
}

/// One line: `PRINCIPAL [OPTIONS] TYPE KEY [COMMENT]`.
pub(super) fn parse(line: &str) -> Result<Signer, SignatureError> {
    let wrong = SignatureError::Signer;
    let mut words = words(line).into_iter();
    let principal = words.next().unwrap_or_default();
    if principal.is_empty() || principal.contains(['*', '?', '!', ',', '"', '#']) {
        return Err(wrong("it must begin with one principal, without patterns"));
    }
    let mut next = words.next().unwrap_or_default();
    let mut signer = Signer {
        principal,
        key: Key::Ed25519([0; 32]),
        after: None,
        before: None,
    };
    if !Key::TYPES.contains(&next.as_str()) && !next.starts_with("ssh-") {
        signer.options(&next)?;
        next = words.next().unwrap_or_default();
    }
    let blob = words.next().unwrap_or_default();
    let blob = STANDARD
        .decode(blob)
        .map_err(|_| wrong("its key is not in base64"))?;
    signer.key = Key::read(&next, &blob)?;
    Ok(signer)
}

impl Signer {
    fn options(&mut self, options: &str) -> Result<(), SignatureError> {
        let wrong = SignatureError::Signer;
        let mut seen = BTreeSet::new();
        for option in split(options, ',') {
            let (name, value) = option.split_once('=').unwrap_or((&option, ""));
            let value = value.trim_matches('"');
            if !seen.insert(name.to_owned()) {
                return Err(wrong("it has an option twice"));
            }
            match name {
                "namespaces" if value.contains(['*', '?', '!']) => {
                    return Err(wrong("its namespaces must be named, without patterns"));
                }
                "namespaces" if !value.split(',').any(|one| one == NAMESPACE) => {
                    return Err(wrong("its namespaces must have lazaret-policy among them"));
                }
                "namespaces" => {}
                "valid-after" => self.after = Some(time(value)?),
                "valid-before" => self.before = Some(time(value)?),
                "cert-authority" => {
                    return Err(wrong(
                        "certificates of SSH are not carried: name the key itself",
                    ));
                }
                _ => {
                    return Err(wrong(
                        "it has neither a known option nor a known type of key",
                    ));
                }
            }
        }
        Ok(())
    }
}

/// `YYYYMMDD[HHMM[SS]]Z`.
fn time(text: &str) -> Result<Timestamp, SignatureError> {
    let wrong = || SignatureError::Signer("a time must be YYYYMMDD[HHMM[SS]]Z, with Z for UTC");
    let digits = text.strip_suffix('Z').ok_or_else(wrong)?;
    let whole = match digits.len() {
        8 => format!("{digits}000000"),
        12 => format!("{digits}00"),
        14 => digits.to_owned(),
        _ => return Err(wrong()),
    };
    let civil = DateTime::strptime("%Y%m%d%H%M%S", &whole).map_err(|_| wrong())?;
    let zoned = civil.to_zoned(TimeZone::UTC).map_err(|_| wrong())?;
    Ok(zoned.timestamp())
}

/// Words with spaces between them, which quotes hold together.
fn words(line: &str) -> Vec<String> {
    let words = split(line, ' ').into_iter();
    words.filter(|word| !word.is_empty()).collect()
}

fn split(text: &str, at: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        quoted ^= c == '"';
        match parts.last_mut() {
            Some(part) if quoted || c != at => part.push(c),
            _ => parts.push(String::new()),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGdKXoeA4GxiPf0sLtPbVVs1zq5Bzz5v0sBNlSAoPgOz";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn options_are_honoured_or_refused() {
        for good in [
            "a@b KEY",
            "a@b KEY a comment",
            "a@b  namespaces=\"lazaret-policy\" KEY",
            "a@b namespaces=\"git,lazaret-policy\",valid-before=\"20270101Z\" KEY",
        ] {
            let signer = parse(&good.replace("KEY", KEY)).unwrap();
            assert_eq!(signer.principal, "a@b");
        }
        for (bad, why) in [
            ("", "one principal"),
            ("* KEY", "one principal"),
            ("a@b,c@d KEY", "one principal"),
            ("a@b", "neither a known option"),
            ("a@b cert-authority KEY", "certificates"),
            ("a@b namespaces=\"git\" KEY", "lazaret-policy"),
            ("a@b namespaces=\"*\" KEY", "without patterns"),
            ("a@b valid-before=\"20270101\" KEY", "UTC"),
            ("a@b valid-before=\"20271301Z\" KEY", "UTC"),
            ("a@b verify-required KEY", "neither a known option"),
            (
                "a@b valid-after=20270101Z,valid-after=20260101Z KEY",
                "twice",
            ),
            ("a@b ssh-rsa AAAA", "Ed25519"),
            ("a@b ssh-ed25519 AAAA*", "base64"),
            ("a@b ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGdK", "not a key"),
        ] {
            let shown = parse(&bad.replace("KEY", KEY)).unwrap_err().to_string();
            assert!(shown.contains(why), "{bad}: {shown}");
        }
    }

    #[test]
    fn a_signer_counts_from_one_moment_to_another() {
        let line = format!("a@b valid-after=\"20260101Z\",valid-before=\"202607011230Z\" {KEY}");
        let signer = parse(&line).unwrap();
        for (time, counts) in [
            ("2025-12-31T23:59:59Z", false),
            ("2026-01-01T00:00:00Z", true),
            ("2026-07-01T12:29:59Z", true),
            ("2026-07-01T12:30:00Z", false),
        ] {
            assert_eq!(signer.counts(at(time)), counts, "{time}");
        }
    }
}
