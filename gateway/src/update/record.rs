//! What is remembered of updates beyond a restart, and beyond a return to the version before.
//!
//! JSON with a number of its schema. What another version wrote beside it is kept as it is. Pure.

use serde_json::{Map, Value, json};

use super::version::Version;

/// The record of updates; the default knows of none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record(Map<String, Value>);

impl Record {
    /// Reads it. What cannot be understood counts as nothing: all that matters can be seen elsewhere.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Self {
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(fields)) => Self(fields),
            Ok(_) | Err(_) => Self::default(),
        }
    }

    /// As it is written.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut fields = self.0.clone();
        // A later version that wrote a greater one reads it again.
        fields.entry("schema").or_insert(json!(SCHEMA));
        let mut text = Value::Object(fields).to_string().into_bytes();
        text.push(b'\n');
        text
    }

    /// Why a version is not offered again; `None` if it may be.
    #[must_use]
    pub fn bad(&self, version: &Version) -> Option<String> {
        let entry = self.0.get("bad")?.get(version.to_string())?;
        let why = entry.get("why").and_then(Value::as_str);
        Some(why.unwrap_or("it failed").to_owned())
    }

    /// All versions that are not offered again, with the reason.
    #[must_use]
    pub fn all_bad(&self) -> Vec<(String, String)> {
        let bad = self.0.get("bad").and_then(Value::as_object);
        let why = |entry: &Value| entry.get("why").and_then(Value::as_str).map(str::to_owned);
        bad.into_iter()
            .flatten()
            .map(|(version, entry)| (version.clone(), why(entry).unwrap_or_default()))
            .collect()
    }

    /// From now on this version is not offered.
    pub fn mark_bad(&mut self, version: &Version, why: &str, wall: &str) {
        let bad = self.0.entry("bad").or_insert_with(|| json!({}));
        if !bad.is_object() {
            *bad = json!({});
        }
        if let Some(bad) = bad.as_object_mut() {
            bad.insert(version.to_string(), json!({"why": why, "at": wall}));
            while bad.len() > MOST_BAD {
                let versions = bad.keys().filter(|key| **key != version.to_string());
                // What is no version goes first, then the oldest.
                let oldest = versions
                    .min_by_key(|key| key.parse::<Version>().ok())
                    .cloned();
                let Some(oldest) = oldest else { break };
                bad.remove(&oldest);
            }
        }
    }

    /// What was installed and waits for its first healthy start.
    #[must_use]
    pub fn pending(&self) -> Option<Version> {
        let version = self.0.get("pending")?.get("version")?.as_str()?;
        version.parse().ok()
    }

    /// Notes what was installed.
    pub fn set_pending(&mut self, version: &Version, from: &Version, wall: &str) {
        let pending = json!({"version": version, "from": from, "at": wall});
        self.0.insert("pending".to_owned(), pending);
    }

    /// How often a restart was asked for what waits.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        let restarts = self.0.get("pending").and_then(|one| one.get("restarts"));
        restarts.and_then(Value::as_u64).unwrap_or(0)
    }

    /// Another restart is asked for what waits.
    pub fn count_restart(&mut self) {
        let restarts = self.restarts().saturating_add(1);
        if let Some(pending) = self.0.get_mut("pending").and_then(Value::as_object_mut) {
            pending.insert("restarts".to_owned(), json!(restarts));
        }
    }

    /// It started, or is gone.
    pub fn clear_pending(&mut self) {
        self.0.remove("pending");
    }
}

const SCHEMA: u32 = 1;
/// Versions that are remembered as bad.
//= C7
const MOST_BAD: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn what_another_version_wrote_is_kept() {
        let text = br#"{"schema":7,"later":[1,2],"bad":{"3":{"why":"x","at":"y","more":1}}}"#;
        let mut record = Record::read(text);
        assert_eq!(record.bad(&version("3")), Some("x".to_owned()));
        record.mark_bad(&version("4"), "it failed", "now");
        record.set_pending(&version("5"), &version("1"), "now");
        let again = Record::read(&record.to_bytes());
        assert_eq!(again, record);
        let text = String::from_utf8(again.to_bytes()).unwrap();
        for kept in [r#""schema":7"#, r#""later":[1,2]"#, r#""more":1"#] {
            assert!(text.contains(kept), "{text}");
        }
        assert_eq!(again.pending(), Some(version("5")));
    }

    #[test]
    fn restarts_are_counted_for_what_waits() {
        let mut record = Record::default();
        record.count_restart();
        assert_eq!(record.restarts(), 0);
        record.set_pending(&version("2"), &version("1"), "now");
        record.count_restart();
        record.count_restart();
        assert_eq!(Record::read(&record.to_bytes()).restarts(), 2);
        record.set_pending(&version("3"), &version("1"), "now");
        assert_eq!(record.restarts(), 0);
    }

    #[test]
    fn rubbish_is_nothing() {
        for rubbish in ["", "null", "[1]", "{\"schema\":", "\u{0}"] {
            assert_eq!(Record::read(rubbish.as_bytes()), Record::default());
        }
        let mut record = Record::read(br#"{"bad":7,"pending":"x"}"#);
        assert_eq!(record.bad(&version("1")), None);
        assert_eq!(record.pending(), None);
        record.mark_bad(&version("1"), "it failed", "now");
        assert!(record.bad(&version("1")).is_some());
        assert!(
            String::from_utf8(Record::default().to_bytes())
                .unwrap()
                .contains("\"schema\":1")
        );
    }

    #[test]
    fn old_marks_make_room() {
        let mut record = Record::default();
        for number in 1..=100 {
            record.mark_bad(&version(&number.to_string()), "it failed", "now");
        }
        assert_eq!(record.all_bad().len(), MOST_BAD);
        assert!(record.bad(&version("100")).is_some() && record.bad(&version("36")).is_none());
    }
}
