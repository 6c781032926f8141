//! One record as a line for people.
//!
//! In: a record. Out: text without control characters. Says everything that matters for the kind of event;
//! an event that it does not know is shown field by field.

use serde_json::Value;

use super::record::{JOURNAL_OPENED, Record};

/// Time, kind, and the story.
#[must_use]
pub fn line(record: &Record) -> String {
    let time = record.time.replace('T', " ");
    // Microseconds are for machines.
    let time = time.get(..23).map_or(record.time.as_str(), |time| time);
    let text = format!("{time}Z  {:<19}  {}", record.event, story(record));
    text.trim_end()
        .chars()
        .map(|c| match c {
            // Configuration errors have many lines.
            '\n' => ' ',
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect()
}

fn story(record: &Record) -> String {
    let text = |field| record.text(field);
    let number = |field| record.number(field).unwrap_or(0);
    match record.event.as_str() {
        "decision" => decision(record),
        "gateway-started" => format!(
            "version {}, configuration {}",
            text("version"),
            short(text("config"))
        ),
        "worker-started" => format!("{} as process {}", text("worker"), number("pid")),
        "worker-died" => format!("{}: {}", text("worker"), text("status")),
        event if event.starts_with("policy-") => policy(record),
        "device-standing" => {
            let why = after(": ", text("why"));
            let (device, before, after) = (text("device"), text("before"), text("after"));
            format!("{device}  {before} → {after} by {}{why}", user(record))
        }
        "device" => {
            let why = after(": ", text("why"));
            let (device, what, who) = (text("device"), text("what"), text("who"));
            format!("{device}  {what} by {who} ({}){why}", user(record))
        }
        "deviation" => format!(
            "{}  alert {}, {}: {} → {}",
            text("device"),
            number("alert"),
            text("what"),
            text("value"),
            text("reaction")
        ),
        "registry-trouble" => text("why").to_owned(),
        "source-spoofed" => format!("{}  {} packets", text("device"), number("packets")),
        "connection-opened" => format!("{} #{}", parties(record), number("connection")),
        "connection-refused" => format!("{}: {}", flow(record), text("why")),
        "connection-closed" => format!(
            "{} #{}  {} forwarded, {} refused, {} B received, {} B sent",
            parties(record),
            number("connection"),
            number("forwarded"),
            number("refused"),
            number("received"),
            number("sent")
        ),
        "flow-denied" => format!(
            "{}, {}, {} packets",
            flow(record),
            text("transport"),
            number("packets")
        ),
        "command" => format!(
            "{}{} by {}: {}",
            text("command"),
            after(" ", text("about")),
            user(record),
            text("result")
        ),
        "authority" => format!(
            "{}{} by {}{}: {}",
            text("what"),
            after(" ", text("about")),
            user(record),
            after(" because ", text("why")),
            text("result")
        ),
        "listening" => text("address").to_owned(),
        JOURNAL_OPENED => opened(record),
        _ => fields(record),
    }
}

/// What became of a policy, and by whose word.
fn policy(record: &Record) -> String {
    let text = |field| record.text(field);
    let number = |field| record.number(field).unwrap_or(0);
    match record.event.as_str() {
        "policy-applied" => {
            format!("by {}{}: {}", user(record), agreed(record), changes(record))
        }
        "policy-rolled-back" => format!(
            "to version {} by {} ({}){}: {}",
            number("version"),
            text("who"),
            user(record),
            agreed(record),
            changes(record)
        ),
        "policy-undone" => format!("back to version {}: {}", number("version"), changes(record)),
        "policy-confirmed" | "policy-proposed" | "policy-admitted" => format!(
            "{} by {} ({}){}",
            short(text("config")),
            text("who"),
            user(record),
            agreed(record)
        ),
        "policy-held" => text("why").to_owned(),
        "policy-refused" => format!("by {}: {}", user(record), text("why")),
        _ => fields(record),
    }
}

/// Who asked; nobody is named where the gateway did it by itself.
fn user(record: &Record) -> String {
    let user = record.number("by").map(|user| format!("user {user}"));
    user.unwrap_or_else(|| "the gateway itself".to_owned())
}

/// By whose word beside that of who asked, and why.
fn agreed(record: &Record) -> String {
    let mut story = String::new();
    if let Some(user) = record.number("proposed_by") {
        story.push_str(&format!(", proposed by user {user}"));
    }
    story.push_str(&after(", signed by ", record.text("signer")));
    story.push_str(&after(" because ", record.text("why")));
    story
}

fn decision(record: &Record) -> String {
    let text = |field| record.text(field);
    let mut story = format!(
        "{} #{}",
        parties(record),
        record.number("connection").unwrap_or(0)
    );
    if text("from") == "hospital" {
        story.push_str(" (from the hospital)");
    }
    for word in [text("what"), text("kind"), &text("outcome").to_uppercase()] {
        story.push_str(&after(
            if story.ends_with('\u{20}') { "" } else { " " },
            word,
        ));
    }
    if !text("reason").is_empty() {
        story.push_str(&format!(
            ": {}{}{}",
            text("reason"),
            after(", ", text("location")),
            after(" ", text("detail"))
        ));
    }
    story.push_str(&after(", answered ", text("answer")));
    let micros = record.number("micros").unwrap_or(0);
    story.push_str(&format!(
        ", {} B, {}.{} ms",
        record.number("length").unwrap_or(0),
        micros / 1000,
        micros % 1000 / 100
    ));
    story.push_str(&after(", rule ", text("rule")));
    story.push_str(&after(", WOULD HAVE BEEN REFUSED: ", text("would_refuse")));
    let warnings = list(record, "warnings");
    story.push_str(&after(", warnings: ", &warnings.join("; ")));
    story
}

fn opened(record: &Record) -> String {
    let mut story = record.text("file").to_owned();
    story.push_str(&after(", after ", record.text("previous")));
    if let Some(cut) = record.number("cut") {
        story.push_str(&format!(", {cut} B of an unfinished record were cut off"));
    }
    story.push_str(&after(", THE CHAIN IS BROKEN: ", record.text("broken")));
    story
}

fn parties(record: &Record) -> String {
    format!("{} → {}", record.text("device"), record.text("service"))
}

fn flow(record: &Record) -> String {
    let end = |name: &str| {
        let flow = record.fields.get("flow").and_then(|flow| flow.get(name));
        flow.and_then(Value::as_str).unwrap_or("?").to_owned()
    };
    let device = match record.text("device") {
        "" => String::new(),
        device => format!("{device}  "),
    };
    format!("{device}{} → {}", end("source"), end("destination"))
}

fn changes(record: &Record) -> String {
    match list(record, "changes") {
        changes if changes.is_empty() => "nothing changed".to_owned(),
        changes => changes.join("; "),
    }
}

fn fields(record: &Record) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut sorted: Vec<_> = record.fields.iter().collect();
    sorted.sort_unstable_by_key(|(name, _)| *name);
    for (name, value) in sorted {
        words.push(match value.as_str() {
            Some(text) if name == "device" || name == "what" => text.to_owned(),
            Some(text) => format!("{name} {text}"),
            None if value.is_number() => format!("{value} {name}"),
            None => format!("{name} {value}"),
        });
    }
    words.join(", ")
}

fn list<'a>(record: &'a Record, field: &str) -> Vec<&'a str> {
    let items = record.fields.get(field).and_then(Value::as_array);
    items
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

/// The text with something before it, unless it is empty.
fn after(before: &str, text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!("{before}{text}")
    }
}

/// The beginning of a long hash.
fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::record::tests::lines;

    #[test]
    fn every_kind_of_record_has_its_story() {
        let shown: Vec<String> = lines()
            .iter()
            .map(|l| line(&Record::read(l.as_bytes()).unwrap()))
            .collect();
        insta::assert_snapshot!(shown.join("\n"));
        assert!(!shown.join("").contains('\u{1b}'));
    }
}
