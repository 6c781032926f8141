//! `lazaret status`.

use super::break_glass;
use super::context::{Context, strange};
use super::table::Table;
use super::units::{count, counted, period};
use super::{CliError, Exit};
use crate::control::message::{
    BehaviourStatus, CaStatus, ConsolesStatus, Draining, JournalStatus, PolicyStatus,
    RegistryStatus, Request, Response, Status, TableStatus,
};
use crate::words::{Alarm, Language};

pub(super) fn run(context: &mut Context<'_>) -> Result<Exit, CliError> {
    let response = context.ask(&Request::Status)?;
    let Response::Status(status) = &response else {
        return Err(strange());
    };
    if context.json {
        context.print_json(&response)?;
    } else {
        let language = lazaret_config::language(&context.config_dir);
        context.print(&format!("{}{}", render(status), to_do(status, language)))?;
    }
    Ok(exit(status))
}

/// What is wrong, as codes.
fn alarms(status: &Status) -> Vec<Alarm> {
    let full = |why: &str| why.to_lowercase().contains("no space left");
    let mut all = Vec::new();
    match &status.table {
        TableStatus::AsPlanned => {}
        TableStatus::Drifted(_) => all.push(Alarm::TableDrift),
    }
    match &status.journal {
        JournalStatus::Writable => {}
        JournalStatus::Failed(why) if full(why) => {
            all.extend([Alarm::JournalFailed, Alarm::DiskFull]);
        }
        JournalStatus::Failed(_) => all.push(Alarm::JournalFailed),
    }
    let RegistryStatus {
        trouble,
        unsaved,
        contradicted,
    } = &status.registry;
    let policy = &status.policy;
    let (ca_missing, ca_away, ca_ends) = match &status.ca {
        Some(CaStatus::Issues { seconds }) => (false, false, *seconds < CA_ENDS_SOON),
        Some(CaStatus::Missing) => (true, false, false),
        Some(CaStatus::Unavailable(_)) => (false, true, false),
        None => (false, false, false),
    };
    for (is, alarm) in [
        (trouble.is_some(), Alarm::RegistryAway),
        (*unsaved > 0, Alarm::RegistryUnsaved),
        (*contradicted > 0, Alarm::RegistryContradicted),
        (policy.alarm.is_some(), Alarm::PolicyHeld),
        (policy.trouble.is_some(), Alarm::PolicyHistory),
        (status.confirm_seconds.is_some(), Alarm::PolicyUnconfirmed),
        (!status.break_glass.is_empty(), Alarm::BreakGlassOpen),
        (ca_missing, Alarm::AuthorityMissing),
        (ca_away, Alarm::AuthorityUnavailable),
        (ca_ends, Alarm::AuthorityExpiring),
    ] {
        if is {
            all.push(alarm);
        }
    }
    all
}

/// Below the tables: each alarm with what to do, in the language of the gateway.
fn to_do(status: &Status, language: Language) -> String {
    let alarms = alarms(status).into_iter();
    alarms
        .map(|alarm| format!("\n{}: {}\n", alarm.as_str(), alarm.words(language)))
        .collect()
}

/// A certification authority that ends within so many seconds is to be followed by another: 60 days.
const CA_ENDS_SOON: u64 = 60 * 86_400;

/// A gateway that is not as it should be is not a success.
fn exit(status: &Status) -> Exit {
    let registry = &status.registry;
    let registry_good = registry.trouble.is_none() && registry.contradicted == 0;
    match (&status.table, &status.journal) {
        (TableStatus::Drifted(_), _) => Exit::Drift,
        (TableStatus::AsPlanned, JournalStatus::Failed(_)) => Exit::Failure,
        (TableStatus::AsPlanned, JournalStatus::Writable) if !registry_good => Exit::Failure,
        (TableStatus::AsPlanned, JournalStatus::Writable) if status.policy.alarm.is_some() => {
            Exit::Drift
        }
        (TableStatus::AsPlanned, JournalStatus::Writable) if !status.policy.is_good() => {
            Exit::Failure
        }
        (TableStatus::AsPlanned, JournalStatus::Writable)
            if !status.break_glass.is_empty() || status.break_glass_trouble.is_some() =>
        {
            Exit::Failure
        }
        (TableStatus::AsPlanned, JournalStatus::Writable) => Exit::Ok,
    }
}

fn render(status: &Status) -> String {
    let mut text = Table::default();
    let Status {
        gateway,
        version,
        interface,
        listen,
        ..
    } = status;
    text.row([
        "gateway",
        &format!(
            "{gateway}, version {version}, up {}",
            period(status.uptime_seconds)
        ),
    ]);
    let config = status.config.get(..12).unwrap_or(&status.config);
    let version = status
        .policy
        .version
        .map(|number| format!(", version {number}"));
    let version = version.unwrap_or_default();
    text.row(["config", &format!("{config}{version}")]);
    for line in policy(&status.policy) {
        text.row(["", &line]);
    }
    if let Some(left) = status.confirm_seconds {
        text.row([
            "",
            &format!("undone in {} unless you run: lazaret confirm", period(left)),
        ]);
    }
    if let Some(draining) = status.draining {
        text.row(["", &drained(draining)]);
    }
    text.row(["tunnel", &format!("{listen} on {interface}")]);
    text.row([
        "table",
        &match &status.table {
            TableStatus::AsPlanned => "as planned".to_owned(),
            TableStatus::Drifted(how) => format!("DRIFTED: {how}"),
        },
    ]);
    text.row([
        "journal",
        &match &status.journal {
            JournalStatus::Writable => "writable".to_owned(),
            JournalStatus::Failed(why) => format!("FAILED: {why}"),
        },
    ]);
    text.row(["registry", &registry(&status.registry)]);
    if let Some(ca) = &status.ca {
        text.row(["authority", &authority(ca)]);
    }
    text.row(["devices", &devices(status)]);
    for (label, line) in behaviour(&status.behaviour) {
        text.row([label, &line]);
    }
    let trouble = status.break_glass_trouble.iter();
    let trouble = trouble.map(|why| format!("ALARM: break-glass access: {why}"));
    for line in break_glass::alarms(&status.break_glass).chain(trouble) {
        text.row(["", &line]);
    }
    let (forwarded, refused) = (count(status.forwarded), count(status.refused));
    text.row([
        "sessions",
        &format!(
            "{} now; {forwarded} messages forwarded, {refused} refused",
            count(status.sessions)
        ),
    ]);
    text.row(["consoles", &consoles(status.consoles)]);

    let mut workers = Table::new(&["WORKER", "PROCESS", "RESTARTS"]).right(&[1, 2]);
    for worker in &status.workers {
        let pid = worker.pid.map_or("down".to_owned(), |pid| pid.to_string());
        workers.row([worker.name.clone(), pid, worker.restarts.to_string()]);
    }
    if status.workers.is_empty() {
        return text.render();
    }
    format!("{}\n{}", text.render(), workers.render())
}

fn consoles(status: ConsolesStatus) -> String {
    let now = format!("{} now", count(status.sessions));
    if status.counted {
        return now;
    }
    format!("{now}; the kernel does NOT COUNT what passes, so none is ended for being idle")
}

fn devices(status: &Status) -> String {
    let devices = status.devices;
    let mut words = vec![
        format!("{} configured", count(devices.configured)),
        format!("{} connected", count(devices.connected)),
    ];
    for (number, word) in [
        (devices.quarantined, "quarantined"),
        (devices.revoked, "revoked"),
        (devices.pending, "pending"),
        (devices.expired, "expired"),
    ] {
        if number > 0 {
            words.push(format!("{} {word}", count(number)));
        }
    }
    words.join(", ")
}

/// Nothing where there is nothing to say.
fn behaviour(behaviour: &BehaviourStatus) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    let mut words = Vec::new();
    if behaviour.learning > 0 {
        words.push(format!(
            "{} still being learnt",
            counted(behaviour.learning, "device")
        ));
    }
    if behaviour.alerts > 0 {
        words.push(format!(
            "{}: lazaret alerts",
            counted(behaviour.alerts, "ALERT")
        ));
    }
    words.extend(
        behaviour
            .trouble
            .as_ref()
            .map(|why| format!("FAILED: {why}")),
    );
    if !words.is_empty() {
        lines.push(("behaviour", words.join("; ")));
    }
    for one in &behaviour.shadow {
        let mut line = format!(
            "rule {}: {} of {} messages would have been refused",
            one.rule,
            count(one.would_refuse),
            count(one.messages)
        );
        let findings = one.findings.iter().take(3);
        let findings: Vec<String> = findings
            .map(|(why, times)| format!("{why} ({})", count(*times)))
            .collect();
        if !findings.is_empty() {
            line.push_str(&format!(": {}", findings.join("; ")));
        }
        lines.push(("shadow", line));
    }
    lines
}

fn policy(policy: &PolicyStatus) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(policy.alarm.as_ref().map(|alarm| format!("ALARM: {alarm}")));
    let trouble = policy.trouble.as_ref();
    lines.extend(trouble.map(|why| format!("the history FAILED: {why}")));
    if let Some(proposal) = &policy.proposal {
        let what = match proposal.rollback {
            Some(number) => format!("the rollback to version {number}"),
            None => "what is in the files".to_owned(),
        };
        let digest = proposal.digest.get(..12).unwrap_or(&proposal.digest);
        lines.push(format!(
            "{} proposes {what}, for {}: lazaret approve {digest}",
            proposal.by.name,
            period(proposal.seconds)
        ));
    }
    lines
}

fn drained(draining: Draining) -> String {
    let (left, over) = (period(draining.seconds), period(draining.over_seconds));
    format!("draining: nothing new is taken, what is left ends in {left}; over in {over}")
}

fn authority(ca: &CaStatus) -> String {
    match ca {
        CaStatus::Issues { seconds } => format!("issues, for {}", period(*seconds)),
        CaStatus::Missing => "MISSING: lazaret ca status".to_owned(),
        CaStatus::Unavailable(why) => format!("FAILED: {why}"),
    }
}

fn registry(status: &RegistryStatus) -> String {
    let mut words = Vec::new();
    match &status.trouble {
        Some(why) => words.push(format!("FAILED: {why}; what is in force stays in force")),
        None => words.push("in its database".to_owned()),
    }
    if status.unsaved > 0 {
        words.push(format!(
            "{} to be written",
            counted(status.unsaved, "change")
        ));
    }
    if status.contradicted > 0 {
        let devices = counted(status.contradicted, "device");
        words.push(format!("{devices} CONTRADICTED by the files"));
    }
    words.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::message::{
        DeviceCounts, Draining, Person, ProposalStatus, ShadowStatus, WorkerStatus,
    };

    fn status() -> Status {
        let worker = |name: &str, pid, restarts| WorkerStatus {
            name: name.to_owned(),
            pid,
            restarts,
        };
        Status {
            gateway: "chu-nord-1".to_owned(),
            version: "0.1.0".to_owned(),
            uptime_seconds: 11_520,
            config: "4f3c9a0b1d2e".repeat(6),
            confirm_seconds: Some(95),
            draining: None,
            policy: PolicyStatus {
                version: Some(12),
                ..PolicyStatus::default()
            },
            listen: "[::]:51820".parse().unwrap(),
            interface: "lz-wg".to_owned(),
            workers: vec![
                worker("tunnel-wireguard", Some(812), 0),
                worker("relay-hl7", None, 2),
            ],
            table: TableStatus::AsPlanned,
            journal: JournalStatus::Writable,
            registry: RegistryStatus::default(),
            break_glass: Vec::new(),
            break_glass_trouble: None,
            devices: DeviceCounts {
                configured: 10_000,
                connected: 9120,
                quarantined: 2,
                revoked: 0,
                pending: 3,
                expired: 0,
            },
            ca: None,
            sessions: 31,
            consoles: ConsolesStatus {
                sessions: 4,
                counted: true,
            },
            forwarded: 10_200,
            refused: 17,
            behaviour: BehaviourStatus::default(),
        }
    }

    #[test]
    fn status_is_shown() {
        let good = status();
        assert_eq!(exit(&good), Exit::Ok);
        let bad = Status {
            confirm_seconds: None,
            draining: Some(Draining {
                seconds: 42,
                over_seconds: 102,
            }),
            table: TableStatus::Drifted("chain input is missing".to_owned()),
            journal: JournalStatus::Failed("no space left on device".to_owned()),
            registry: RegistryStatus {
                trouble: Some("the registry's database is gone".to_owned()),
                unsaved: 1,
                contradicted: 2,
            },
            workers: Vec::new(),
            behaviour: BehaviourStatus {
                learning: 1,
                alerts: 2,
                trouble: Some("what is learnt cannot be kept".to_owned()),
                shadow: vec![ShadowStatus {
                    rule: "pilot".to_owned(),
                    messages: 1204,
                    would_refuse: 17,
                    findings: vec![("field PID-7: is not a date".to_owned(), 17)],
                }],
            },
            consoles: ConsolesStatus {
                sessions: 0,
                counted: false,
            },
            policy: PolicyStatus {
                version: None,
                alarm: Some("the files are not what is in force: version 11 is".to_owned()),
                trouble: Some("no space left on device".to_owned()),
                proposal: Some(ProposalStatus {
                    digest: "4f3c9a0b1d2e".repeat(6),
                    by: Person {
                        uid: 1001,
                        name: "alice".to_owned(),
                    },
                    rollback: Some(9),
                    seconds: 7200,
                    why: String::new(),
                }),
            },
            ..status()
        };
        let held = Status {
            policy: PolicyStatus {
                trouble: None,
                ..bad.policy.clone()
            },
            ..status()
        };
        assert_eq!(exit(&held), Exit::Drift);
        let away = Status {
            registry: bad.registry.clone(),
            ..status()
        };
        assert_eq!(exit(&away), Exit::Failure);
        assert_eq!(exit(&bad), Exit::Drift);
        insta::assert_snapshot!(format!("{}\n----\n{}", render(&good), render(&bad)));
        assert_eq!(alarms(&good), [Alarm::PolicyUnconfirmed]);
        let ends = Status {
            ca: Some(CaStatus::Issues { seconds: 86_400 }),
            ..bad
        };
        insta::assert_snapshot!(
            "what_to_do",
            [Language::English, Language::French]
                .map(|language| to_do(&ends, language))
                .join("----\n")
        );
    }

    #[test]
    fn json_is_stable() {
        let mut out = Vec::new();
        let mut context = Context {
            config_dir: "/".into(),
            json: true,
            colour: false,
            out: &mut out,
        };
        context
            .print_json(&Response::Status(Box::new(status())))
            .unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap());
    }
}
