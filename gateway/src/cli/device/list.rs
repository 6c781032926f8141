//! What is known of devices, and how it is shown.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{Context, Request, Response, Standing, seen, strange};
use crate::cli::table::Table;
use crate::cli::units::{ago, bytes, count, parse_long_period, period};
use crate::cli::words::of_standing;
use crate::cli::{CliError, Exit};
use crate::control::message::{DeviceStatus, KnownStatus, StoryLine};
use crate::flow::DeviceName;
use crate::registry::csv;
use crate::words::{self, Language};

/// Which devices to show.
#[derive(Debug, Default, Args)]
pub(in crate::cli) struct List {
    /// Who came that nobody knows: handshakes of unknown keys, unknown sources
    #[arg(long, conflicts_with_all = ["pending", "unused", "expiring", "role", "origin", "state"])]
    unknown: bool,
    /// Only those that wait to be approved
    #[arg(long, conflicts_with = "state")]
    pending: bool,
    /// Only those without a handshake for so long (90d, 12h)
    #[arg(long, value_name = "TIME", value_parser = parse_long_period)]
    unused: Option<Duration>,
    /// Only those whose time, or whose certificate's, is over within so long (30d)
    #[arg(long, value_name = "TIME", value_parser = parse_long_period)]
    expiring: Option<Duration>,
    /// Only those with a role
    #[arg(long, value_name = "NAME")]
    role: Option<String>,
    /// Only those that are known from there
    #[arg(long, value_name = "ORIGIN")]
    origin: Option<FromWhere>,
    /// Only those that stand so
    #[arg(long, value_name = "STATE", value_parser = state)]
    state: Option<Standing>,
    /// In which order
    #[arg(long, value_name = "COLUMN", default_value = "name")]
    sort: Sort,
}

/// How a device came to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FromWhere {
    /// By the files
    File,
    /// One by one
    Enrolled,
    /// By a list
    Imported,
}

/// A column to sort by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Sort {
    #[default]
    Name,
    /// The strictest first
    State,
    /// The latest first
    Handshake,
    /// The most first
    Received,
    /// The soonest first
    Expires,
    /// The soonest end of a certificate first
    Certificate,
    /// By what made the last messages
    Software,
    /// By the first role
    Role,
}

/// Which devices to print.
#[derive(Debug, Args)]
pub(in crate::cli) struct Export {
    /// How to print; JSON also with --json
    #[arg(long, default_value = "csv")]
    format: Format,
    #[command(flatten)]
    which: List,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Csv,
    Json,
}

fn state(word: &str) -> Result<Standing, String> {
    Standing::from_word(word).ok_or_else(|| {
        let all: Vec<&str> = Standing::ALL.iter().map(|one| one.as_str()).collect();
        format!("one of {}", all.join(", "))
    })
}

impl List {
    pub(super) fn run(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        if self.unknown {
            return unknown(context);
        }
        let devices = self.chosen(all(context)?);
        if context.json {
            context.print_json(&Response::Devices { devices })?;
        } else {
            context.print(&render_all(&devices))?;
        }
        Ok(Exit::Ok)
    }

    fn chosen(&self, mut devices: Vec<DeviceStatus>) -> Vec<DeviceStatus> {
        devices.retain(|device| self.wants(device));
        let expires = |device: &DeviceStatus| {
            let known = device.known.as_ref();
            known
                .and_then(|known| known.expires_seconds)
                .unwrap_or(u64::MAX)
        };
        match self.sort {
            Sort::Name => {}
            Sort::State => devices.sort_by_key(|device| std::cmp::Reverse(device.standing)),
            Sort::Handshake => {
                devices.sort_by_key(|device| device.handshake_seconds.unwrap_or(u64::MAX));
            }
            Sort::Received => devices.sort_by_key(|device| std::cmp::Reverse(device.received)),
            Sort::Expires => devices.sort_by_key(expires),
            Sort::Certificate => devices
                .sort_by_key(|device| device.inventory.certificate_seconds.unwrap_or(u64::MAX)),
            Sort::Software => devices.sort_by(|a, b| {
                (a.inventory.software.is_none(), &a.inventory.software)
                    .cmp(&(b.inventory.software.is_none(), &b.inventory.software))
            }),
            Sort::Role => devices.sort_by(|a, b| a.roles.cmp(&b.roles)),
        }
        devices
    }

    fn wants(&self, device: &DeviceStatus) -> bool {
        let known = device.known.as_deref();
        let state = self.state.or(self.pending.then_some(Standing::Pending));
        let unused = |limit: Duration| {
            let seen = device.handshake_seconds;
            device.via.is_none() && seen.is_none_or(|seconds| seconds >= limit.as_secs())
        };
        let expiring = |limit: Duration| {
            let own = known.and_then(|known| known.expires_seconds);
            let left = [own, device.inventory.certificate_seconds];
            let mut left = left.into_iter().flatten();
            left.any(|seconds| seconds <= limit.as_secs())
        };
        state.is_none_or(|state| device.standing == state)
            && self.unused.is_none_or(unused)
            && self.expiring.is_none_or(expiring)
            && (self.role.as_ref()).is_none_or(|role| device.roles.contains(role))
            && (self.origin).is_none_or(|origin| origin_of(known) == origin)
    }
}

impl Export {
    pub(super) fn run(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        if self.which.unknown {
            let why = "those who are unknown are listed only: lazaret device list --unknown";
            return Err(CliError::new(Exit::Usage, why));
        }
        let devices = self.which.chosen(all(context)?);
        if context.json || self.format == Format::Json {
            context.print_json(&Response::Devices { devices })?;
        } else {
            context.print(&render_csv(&devices))?;
        }
        Ok(Exit::Ok)
    }
}

fn unknown(context: &mut Context<'_>) -> Result<Exit, CliError> {
    let response = context.ask(&Request::Strangers)?;
    let Response::Strangers { strangers } = &response else {
        return Err(strange());
    };
    if context.json {
        context.print_json(&response)?;
    } else {
        context.print(&seen::strangers(strangers))?;
    }
    Ok(Exit::Ok)
}

/// Shows one device, and its story if the database can tell it.
pub(super) fn show(context: &mut Context<'_>, device: DeviceName) -> Result<Exit, CliError> {
    let devices = ask(context, Some(device.clone()))?;
    let habit = super::habit::ask(context, &device)?;
    let story = match context.ask(&Request::Story { device }) {
        Ok(Response::Story { story }) => Ok(story),
        Ok(_) => return Err(strange()),
        Err(error) => Err(error.to_string()),
    };
    if context.json {
        let story = story.unwrap_or_default();
        context.print_json(&Shown { devices, story })?;
        return Ok(Exit::Ok);
    }
    let language = lazaret_config::language(&context.config_dir);
    let mut text: String = devices.iter().map(render_one).collect();
    text.extend(devices.iter().map(|device| to_do(device, language)));
    for device in &devices {
        text.push_str(&seen::of_device(&device.inventory));
    }
    text.push_str(&habit);
    match story {
        Ok(story) if story.is_empty() => {}
        Ok(story) => text.push_str(&format!("\n{}", render_story(&story))),
        Err(why) => text.push_str(&format!("\nits story cannot be told: {why}\n")),
    }
    context.print(&text)?;
    Ok(Exit::Ok)
}

/// What a device that is not let in needs, in the language of the gateway.
fn to_do(device: &DeviceStatus, language: Language) -> String {
    let standing = of_standing(device.standing);
    let known = device.known.as_deref();
    let contradiction = known.and_then(|known| known.contradiction.as_ref());
    let contradiction = contradiction.map(|_| words::Device::Contradicted);
    let all = standing.into_iter().chain(contradiction);
    all.map(|code| format!("\n{}: {}\n", code.as_str(), code.words(language)))
        .collect()
}

/// `device show` as JSON: [`Response::Devices`] and the story beside it.
#[derive(serde::Serialize)]
#[serde(tag = "response", rename = "devices")]
struct Shown {
    devices: Vec<DeviceStatus>,
    story: Vec<StoryLine>,
}

fn all(context: &Context<'_>) -> Result<Vec<DeviceStatus>, CliError> {
    ask(context, None)
}

fn ask(context: &Context<'_>, device: Option<DeviceName>) -> Result<Vec<DeviceStatus>, CliError> {
    let Response::Devices { devices } = context.ask(&Request::Devices { device })? else {
        return Err(strange());
    };
    Ok(devices)
}

fn origin_of(known: Option<&KnownStatus>) -> FromWhere {
    match known.map(|known| known.origin.as_str()) {
        Some("enrolled") => FromWhere::Enrolled,
        Some("imported") => FromWhere::Imported,
        Some(_) | None => FromWhere::File,
    }
}

fn render_all(devices: &[DeviceStatus]) -> String {
    let mut table = Table::new(&[
        "DEVICE",
        "STANDING",
        "ORIGIN",
        "ADDRESSES",
        "ROLES",
        "HANDSHAKE",
        "RECEIVED",
        "SENT",
        "SESSIONS",
    ])
    .right(&[6, 7, 8]);
    for device in devices {
        let origin = match origin_of(device.known.as_deref()) {
            FromWhere::File => "file",
            FromWhere::Enrolled => "enrolled",
            FromWhere::Imported => "imported",
        };
        table.row([
            device.device.to_string(),
            device.standing.as_str().to_owned(),
            origin.to_owned(),
            joined(&device.addresses),
            device.roles.join(","),
            handshake(device),
            bytes(device.received),
            bytes(device.sent),
            count(device.sessions),
        ]);
    }
    table.render()
}

fn render_one(device: &DeviceStatus) -> String {
    let mut table = Table::default();
    let word = device.standing.as_str();
    let standing = match device.why.as_str() {
        "" => word.to_owned(),
        why => format!("{word}: {why}"),
    };
    let identity = match &device.via {
        Some(router) => format!("by address only, behind {router}"),
        None => "by its key".to_owned(),
    };
    table.row(["device", device.device.as_str()]);
    table.row(["standing", &standing]);
    table.row(["identified", &identity]);
    table.row(["addresses", &joined(&device.addresses)]);
    table.row(["roles", &device.roles.join(", ")]);
    if device.via.is_none() {
        let endpoint = device
            .endpoint
            .map_or("unknown".to_owned(), |e| e.to_string());
        table.row(["endpoint", &endpoint]);
        table.row(["handshake", &ago(device.handshake_seconds)]);
        table.row(["received", &bytes(device.received)]);
        table.row(["sent", &bytes(device.sent)]);
    }
    table.row(["sessions", &count(device.sessions)]);
    if let Some(address) = &device.inventory.address {
        table.row(["last address", address]);
    }
    if let Some(software) = &device.inventory.software {
        table.row(["software", software]);
    }
    if let Some(seconds) = device.inventory.certificate_seconds {
        let left = match seconds {
            0 => "over".to_owned(),
            seconds => format!("ends in {}", period(seconds)),
        };
        table.row(["certificate", &left]);
    }
    table.row(["defined in", &device.origin]);
    if let Some(known) = &device.known {
        rows_of_known(&mut table, known);
    }
    table.render()
}

fn rows_of_known(table: &mut Table, known: &KnownStatus) {
    if let Some(why) = &known.contradiction {
        table.row(["stays out", why]);
    }
    if let Some(serial) = &known.serial {
        table.row(["serial", serial]);
    }
    if known.patients > 0 {
        table.row(["patients", &count(known.patients)]);
    }
    for key in &known.keys {
        let until = key.until.map(|until| match until.as_millisecond() {
            0 => ", not taken any more".to_owned(),
            _ => format!(" until {until}"),
        });
        table.row([
            "key",
            &format!("{}{}", key.wireguard, until.unwrap_or_default()),
        ]);
    }
    for fingerprint in &known.certificates {
        table.row([
            "enrolled with",
            &format!("a certificate, key {fingerprint}"),
        ]);
    }
    if origin_of(Some(known)) != FromWhere::File {
        table.row([
            "added",
            &format!("{} by {}", known.created, known.created_by),
        ]);
    }
    if let (Some(expires), Some(seconds)) = (known.expires, known.expires_seconds) {
        let left = match seconds {
            0 => "over".to_owned(),
            seconds => format!("in {}", period(seconds)),
        };
        table.row(["expires", &format!("{expires}, {left}")]);
    }
}

fn render_story(story: &[StoryLine]) -> String {
    let mut table = Table::new(&["WHEN", "WHAT", "WHO", "WHY"]);
    for line in story {
        table.row([
            line.at.to_string(),
            line.what.clone(),
            line.who.clone(),
            line.why.clone(),
        ]);
    }
    table.render()
}

/// A list that a spreadsheet reads. The first columns are those of `device import`.
fn render_csv(devices: &[DeviceStatus]) -> String {
    let mut text = format!("{},{}\n", csv::COLUMNS.join(","), csv::TOLD.join(","));
    for device in devices {
        let known = device.known.as_deref();
        let key = known.and_then(|known| known.keys.first());
        let of_known: BTreeMap<&str, String> = known.map_or_else(BTreeMap::new, |known| {
            let expires = known.expires.map(|at| at.to_string());
            [
                ("serial", known.serial.clone().unwrap_or_default()),
                ("expires", expires.unwrap_or_default()),
                ("origin", known.origin.clone()),
                ("hl7_sender", known.hl7_sender.clone().unwrap_or_default()),
                ("ae_title", known.ae_title.clone().unwrap_or_default()),
            ]
            .into()
        });
        let of = |column: &str| of_known.get(column).cloned().unwrap_or_default();
        let cells = [
            device.device.to_string(),
            device.roles.join(" "),
            key.map(|key| key.wireguard.clone()).unwrap_or_default(),
            joined(&device.addresses).replace(',', " "),
            of("serial"),
            // Whose device it is, is for nobody's spreadsheet.
            String::new(),
            of("hl7_sender"),
            of("ae_title"),
            of("expires"),
            device.standing.as_str().to_owned(),
            of("origin"),
            device.why.clone(),
            device
                .handshake_seconds
                .map(|s| s.to_string())
                .unwrap_or_default(),
            device.received.to_string(),
            device.sent.to_string(),
        ];
        let cells: Vec<String> = cells.iter().map(|cell| csv::cell(cell)).collect();
        text.push_str(&cells.join(","));
        text.push('\n');
    }
    text
}

/// Behind a router there is no handshake of one's own.
fn handshake(device: &DeviceStatus) -> String {
    match &device.via {
        Some(router) => format!("via {router}"),
        None => ago(device.handshake_seconds),
    }
}

fn joined(addresses: &[std::net::IpAddr]) -> String {
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    texts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::message::KeyStatus;

    fn devices() -> Vec<DeviceStatus> {
        let ecg = DeviceStatus {
            device: "ecg-0042".parse().unwrap(),
            standing: Standing::Active,
            why: String::new(),
            addresses: vec!["10.64.0.1".parse().unwrap(), "fd64::1".parse().unwrap()],
            roles: vec!["ecg-home".to_owned()],
            via: None,
            endpoint: Some("198.51.100.7:41234".parse().unwrap()),
            handshake_seconds: Some(185),
            received: 1_234_567,
            sent: 90_112,
            sessions: 1,
            origin: "/etc/lazaret/lazaret.toml:31".to_owned(),
            known: None,
            inventory: Box::default(),
        };
        let enrolled = DeviceStatus {
            device: "ecg-0043".parse().unwrap(),
            standing: Standing::Pending,
            origin: "enrolled".to_owned(),
            known: Some(Box::new(KnownStatus {
                origin: "enrolled".to_owned(),
                serial: Some("=SN,7".to_owned()),
                patients: 1,
                hl7_sender: Some("ECG^HOME".to_owned()),
                ae_title: None,
                certificates: Vec::new(),
                keys: vec![
                    KeyStatus {
                        wireguard: format!("{}E=", "A".repeat(42)),
                        until: None,
                    },
                    KeyStatus {
                        wireguard: format!("{}I=", "A".repeat(42)),
                        until: Some("2026-11-23T12:00:00Z".parse().unwrap()),
                    },
                ],
                created: "2026-11-22T12:00:00Z".parse().unwrap(),
                created_by: "root".to_owned(),
                since: "2026-11-22T12:00:00Z".parse().unwrap(),
                expires: Some("2027-04-01T00:00:00Z".parse().unwrap()),
                expires_seconds: Some(86_400),
                contradiction: Some("device ecg-1 has the same key".to_owned()),
            })),
            ..ecg.clone()
        };
        let quarantined = DeviceStatus {
            device: "us-07".parse().unwrap(),
            standing: Standing::Quarantined,
            why: "lost".to_owned(),
            endpoint: None,
            handshake_seconds: None,
            ..ecg.clone()
        };
        let behind = DeviceStatus {
            device: "ct-1".parse().unwrap(),
            via: Some("clinic-router".parse().unwrap()),
            ..ecg.clone()
        };
        vec![ecg, enrolled, quarantined, behind]
    }

    #[test]
    fn devices_are_shown() {
        let each: Vec<String> = devices().iter().map(render_one).collect();
        insta::assert_snapshot!(format!("{}\n{}", render_all(&devices()), each.join("\n")));
    }

    #[test]
    fn the_story_is_told() {
        let line = |what: &str, why: &str| StoryLine {
            at: "2026-11-22T12:00:00Z".parse().unwrap(),
            uid: 0,
            who: "root".to_owned(),
            what: what.to_owned(),
            why: why.to_owned(),
        };
        let story = [line("added", "trial"), line("quarantined", "lost")];
        insta::assert_snapshot!(render_story(&story));
    }

    #[test]
    fn a_list_for_a_spreadsheet() {
        insta::assert_snapshot!(render_csv(&devices()));
    }

    fn names(arguments: &str) -> String {
        use clap::Parser;
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            list: List,
        }
        let words = ["list"].into_iter().chain(arguments.split_whitespace());
        let list = Line::try_parse_from(words).unwrap().list;
        let chosen = list.chosen(devices());
        let names = chosen.iter().map(|device| device.device.as_str());
        names.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn devices_are_chosen_and_sorted() {
        for (arguments, wanted) in [
            ("", "ecg-0042 ecg-0043 us-07 ct-1"),
            ("--pending", "ecg-0043"),
            ("--state quarantined", "us-07"),
            ("--origin enrolled", "ecg-0043"),
            ("--origin file --role ecg-home", "ecg-0042 us-07 ct-1"),
            ("--role nobody", ""),
            ("--unused 3m", "ecg-0042 ecg-0043 us-07"),
            ("--unused 4m", "us-07"),
            ("--expiring 1d", "ecg-0043"),
            ("--expiring 1h", ""),
            ("--sort state", "ecg-0043 us-07 ecg-0042 ct-1"),
            ("--sort expires", "ecg-0043 ecg-0042 us-07 ct-1"),
        ] {
            assert_eq!(names(arguments), wanted, "{arguments}");
        }
    }

    #[test]
    fn json_is_stable() {
        let response = Response::Devices { devices: devices() };
        insta::assert_snapshot!(serde_json::to_string_pretty(&response).unwrap());
    }
}
