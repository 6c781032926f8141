//! A proposed rule, line by line.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use super::group::{Amount, Group};
use crate::model::Config;

/// The rule. `own` is what stands in the files of the rule before it; `bounded`: limits and hours are more than remarks.
pub(super) fn rule(
    group: &Group,
    (name, own): (&str, &Table),
    bounded: bool,
    zone: &str,
) -> String {
    let mut lines = Lines::default();
    lines.remark(&format!(
        "{} to service {} by rule {}",
        of(&group.total),
        group.service,
        group.rule
    ));
    lines.header(&["rule", name]);
    let parties = group.parties.iter().map(|(party, devices)| {
        let remark = match devices.len() {
            1 => "1 device".to_owned(),
            many => format!("{many} devices"),
        };
        (party.to_string(), remark)
    });
    lines.list("from", parties);
    lines
        .text
        .push_str(&format!("to = [{}]\n", quoted(group.service.as_str())));
    for (key, value) in own {
        let is_new = matches!(key.as_str(), "from" | "to" | "hl7" | "dicom" | "limit");
        match key.as_str() {
            "shadow" if group.would_refuse == 0 => {
                lines.remark("`shadow` is left out: nothing would have been refused");
            }
            "shadow" => lines.copied(
                key,
                value,
                &format!(
                    "{} messages would have been refused without it",
                    group.would_refuse
                ),
            ),
            _ if is_new => {}
            _ => lines.copied(key, value, "as before"),
        }
    }
    hours(group, own, bounded, zone, &mut lines);
    let limit = table(own, "limit");
    let protocol = if group.is_dicom { "dicom" } else { "hl7" };
    said(
        group,
        table(own, protocol),
        (name, protocol),
        bounded,
        &mut lines,
    );
    limits(group, limit, name, bounded, &mut lines);
    lines.text
}

fn table<'t>(own: &'t Table, key: &str) -> Option<&'t Table> {
    own.get(key).and_then(Value::as_table)
}

/// What may be said.
fn said(
    group: &Group,
    own: Option<&Table>,
    (name, protocol): (&str, &str),
    bounded: bool,
    lines: &mut Lines,
) {
    lines.header(&["rule", name, protocol]);
    let messages = if group.is_dicom { "allow" } else { "send" };
    let amounts = |all: &BTreeMap<String, Amount>| {
        let all = all
            .iter()
            .map(|(value, amount)| (value.clone(), of(amount)));
        all.collect::<Vec<_>>()
    };
    let before = own.and_then(|own| own.get(messages));
    match before.filter(|_| group.is_mixed) {
        Some(before) => lines.copied(
            messages,
            before,
            "as before: batches have no type of their own",
        ),
        None => lines.list(messages, amounts(&group.messages)),
    }
    if group.is_dicom && !group.classes.is_empty() {
        lines.list("sop_classes", amounts(&group.classes));
    }
    for (key, value) in own.into_iter().flatten() {
        let is_new = key == messages || (group.is_dicom && key == "sop_classes");
        if !is_new && fits(group, key) {
            lines.copied(key, value, "as before");
        }
    }
    let has_bound = own.is_some_and(|own| own.contains_key("max_object"));
    if group.is_dicom && !has_bound && fits(group, "max_object") {
        let (size, seen) = (room(group.largest, LEAST_OBJECT), group.largest);
        let line = format!("max_object = \"{size}\"  # the largest had {seen} bytes");
        lines.bound(&line, bounded);
    }
}

/// Whether a key says something of what was seen.
fn fits(group: &Group, key: &str) -> bool {
    let services: &[&str] = match key {
        "move_destinations" => &["C-MOVE"],
        "query" => &["C-FIND", "C-GET", "C-MOVE"],
        "modalities" | "max_object" | "documents" => &["C-STORE", "C-GET"],
        _ => return true,
    };
    !group.is_dicom
        || group.is_mixed
        || services.iter().any(|one| group.messages.contains_key(*one))
}

fn limits(group: &Group, own: Option<&Table>, name: &str, bounded: bool, lines: &mut Lines) {
    let mut proposed = Vec::new();
    let has = |key: &str| own.is_some_and(|own| own.contains_key(key));
    if !has("messages") {
        let (rate, seen) = (rate(group.busiest_minute), group.busiest_minute);
        let line =
            format!("messages = \"{rate}/min\"  # the busiest minute of a device had {seen}");
        proposed.push(line);
    }
    if !has("message_size") && !group.is_dicom {
        let (size, seen) = (room(group.largest, LEAST_MESSAGE), group.largest);
        proposed.push(format!(
            "message_size = \"{size}\"  # the longest had {seen} bytes"
        ));
    }
    if own.is_none() && !bounded {
        lines.remark(&format!("[rule.{}.limit]", key(name)));
    } else {
        lines.header(&["rule", name, "limit"]);
    }
    for (key, value) in own.into_iter().flatten() {
        lines.copied(key, value, "as before");
    }
    for line in proposed {
        lines.bound(&line, bounded);
    }
}

/// The days and hours around everything that was seen, if that is less than always.
fn hours(group: &Group, own: &Table, bounded: bool, zone: &str, lines: &mut Lines) {
    if own.contains_key("hours") || group.hours.is_empty() {
        return;
    }
    let days: BTreeSet<u8> = group.hours.iter().map(|hour| hour / 24).collect();
    let times = || group.hours.iter().map(|hour| hour % 24);
    let from = times().min().unwrap_or(0).saturating_sub(1);
    let to = times().max().unwrap_or(23).saturating_add(2).min(24);
    if days.len() == 7 && from == 0 && to == 24 {
        return;
    }
    let names: Vec<&str> = (days.iter())
        .filter_map(|day| DAYS.get(usize::from(*day)).copied())
        .collect();
    let line = format!(
        "hours = \"{} {from:02}:00-{to:02}:00 {zone}\"  # seen in {} hours of the week",
        names.join(","),
        group.hours.len()
    );
    lines.bound(&line, bounded && group.weeks);
}

/// What was seen stays allowed: one device of the files for all.
pub(super) fn tests(group: &Group, config: &Config) -> String {
    let devices = group.total.devices.iter();
    let mut known = devices.filter(|device| config.devices.contains_key(*device));
    let Some(device) = known.next() else {
        return String::new();
    };
    let said = group.messages.iter();
    let said = said.filter(|(_, amount)| amount.devices.contains(device));
    let targets: Vec<String> = said
        .map(|(message, _)| quoted(&format!("{}#{message}", group.service)))
        .collect();
    if targets.is_empty() {
        return String::new();
    }
    let from = quoted(&format!("device:{device}"));
    format!(
        "\n[[test]]\nfrom = {from}\nallow = [{}]\n",
        targets.join(", ")
    )
}

/// Lines of a file.
#[derive(Default)]
struct Lines {
    text: String,
}

impl Lines {
    fn remark(&mut self, text: &str) {
        self.text.push_str(&format!("# {text}\n"));
    }

    fn header(&mut self, parts: &[&str]) {
        let parts: Vec<String> = parts.iter().map(|part| key(part)).collect();
        self.text.push_str(&format!("[{}]\n", parts.join(".")));
    }

    fn list(&mut self, name: &str, values: impl IntoIterator<Item = (String, String)>) {
        self.text.push_str(&format!("{name} = [\n"));
        for (value, remark) in values {
            self.text
                .push_str(&format!("    {},  # {remark}\n", quoted(&value)));
        }
        self.text.push_str("]\n");
    }

    fn copied(&mut self, name: &str, value: &Value, remark: &str) {
        self.text
            .push_str(&format!("{} = {value}  # {remark}\n", key(name)));
    }

    /// A line that is more than a remark only if bounds are wanted.
    fn bound(&mut self, line: &str, wanted: bool) {
        if wanted {
            self.text.push_str(&format!("{line}\n"));
        } else {
            self.remark(line);
        }
    }
}

/// A string as TOML writes it.
fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

fn key(text: &str) -> String {
    let bare = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if !text.is_empty() && text.bytes().all(bare) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// `1,204 times, 3 devices`.
fn of(amount: &Amount) -> String {
    let plural = |count: u64, word: &str| match count {
        1 => format!("1 {word}"),
        many => format!("{many} {word}s"),
    };
    let devices = u64::try_from(amount.devices.len()).unwrap_or(u64::MAX);
    format!(
        "{}, {}",
        plural(amount.times, "time"),
        plural(devices, "device")
    )
}

/// Twice as much as was seen, as a power of two.
fn room(largest: u64, least: u64) -> String {
    let bytes = largest.saturating_mul(2).max(least);
    let bytes = bytes.checked_next_power_of_two().unwrap_or(bytes);
    match bytes {
        b if b >= MEBI => format!("{}MiB", b / MEBI),
        b => format!("{}KiB", b / 1024),
    }
}

/// Ten times as much as was seen.
fn rate(busiest: u32) -> u32 {
    busiest.max(1).saturating_mul(10)
}

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const MEBI: u64 = 1 << 20;
const LEAST_MESSAGE: u64 = 16 << 10;
const LEAST_OBJECT: u64 = MEBI;
