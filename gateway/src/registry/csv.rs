//! Lists of devices as spreadsheets write them: RFC 4180, with a header that names the columns in any order.
//!
//! In: text. Out: devices in their own words, or everything that is wrong with its line. Pure.

use std::collections::BTreeSet;

use crate::control::message::NewDevice;

/// What is wrong with a list, and in which line (from 1).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct BadLine {
    /// Which line.
    pub line: usize,
    /// What is wrong.
    pub why: String,
}

/// The columns that a list may have, and those that it must have.
pub const COLUMNS: [&str; 9] = [
    "name",
    "roles",
    "wireguard",
    "addresses",
    "serial",
    "patients",
    "hl7_sender",
    "ae_title",
    "expires",
];
/// What an exported list tells beside; a list to be imported may have it, and only `standing` is looked at.
pub const TOLD: [&str; 6] = [
    "standing",
    "origin",
    "why",
    "handshake_seconds",
    "received",
    "sent",
];
const REQUIRED: [&str; 3] = ["name", "roles", "wireguard"];

/// Reads a list of devices. Several values in one cell have blanks or `;` between them.
///
/// # Errors
/// Every line that is wrong.
pub fn devices(text: &str) -> Result<Vec<NewDevice>, Vec<BadLine>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut rows = rows(text).map_err(|bad| vec![bad])?.into_iter();
    let (_, header) = rows.next().ok_or_else(|| bad(1, "the list is empty"))?;
    let columns = columns(&header)?;
    let (mut devices, mut wrong) = (Vec::new(), Vec::new());
    for (line, cells) in rows {
        if devices.len() >= MAX_DEVICES {
            wrong.push(BadLine {
                line,
                why: format!("a list has at most {MAX_DEVICES} devices"),
            });
            break;
        }
        if cells.len() != columns.len() {
            wrong.push(BadLine {
                line,
                why: format!("{} cells, the header has {}", cells.len(), columns.len()),
            });
            continue;
        }
        match device(line, &columns, cells) {
            Ok(device) => devices.push(device),
            Err(why) => wrong.push(BadLine { line, why }),
        }
    }
    if wrong.is_empty() {
        Ok(devices)
    } else {
        Err(wrong)
    }
}

fn columns(header: &[String]) -> Result<Vec<&'static str>, Vec<BadLine>> {
    let mut columns = Vec::new();
    for name in header {
        let name = name.trim();
        let mut all = COLUMNS.iter().chain(&TOLD);
        let known = all.find(|column| **column == name);
        let known = known.ok_or_else(|| {
            bad(
                1,
                &format!("no such column; there are {}", COLUMNS.join(", ")),
            )
        })?;
        columns.push(*known);
    }
    let unique: BTreeSet<&str> = columns.iter().copied().collect();
    if unique.len() != columns.len() {
        return Err(bad(1, "a column is there twice"));
    }
    match REQUIRED.iter().find(|column| !unique.contains(*column)) {
        Some(column) => Err(bad(1, &format!("the column `{column}` is missing"))),
        None => Ok(columns),
    }
}

fn device(line: usize, columns: &[&str], cells: Vec<String>) -> Result<NewDevice, String> {
    let mut device = NewDevice {
        line: Some(line),
        ..NewDevice::default()
    };
    for (column, cell) in columns.iter().zip(cells) {
        let cell = cell.trim();
        // As an exported list keeps formulas from being one.
        let guarded = cell.strip_prefix('\'');
        let cell = guarded
            .filter(|rest| rest.starts_with(FORMULA))
            .unwrap_or(cell);
        let cell = cell.to_owned();
        let words = || -> Vec<String> {
            let words = cell.split([';', ' ']).filter(|word| !word.is_empty());
            words.map(str::to_owned).collect()
        };
        let some = || (!cell.is_empty()).then(|| cell.clone());
        match *column {
            "name" => device.name = cell,
            "roles" => device.roles = words(),
            "wireguard" => device.wireguard = cell,
            "addresses" => device.addresses = words(),
            "serial" => device.serial = some(),
            "patients" => device.patients = words(),
            "hl7_sender" => device.hl7_sender = some(),
            "ae_title" => device.ae_title = some(),
            "expires" => device.expires = some(),
            // Nobody comes back from revocation by a list.
            "standing" => match cell.as_str() {
                "" | "active" => {}
                "pending" => device.pending = true,
                other => return Err(format!("the device is {other} there")),
            },
            _ => {}
        }
    }
    Ok(device)
}

/// Rows with the lines on which they begin; empty lines are left out.
fn rows(text: &str) -> Result<Vec<(usize, Vec<String>)>, BadLine> {
    let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut line, mut begun, mut quoted, mut after_quote) = (1, 1, false, false);
    let mut chars = text.chars().peekable();
    let wrong = |line, why: &str| BadLine {
        line,
        why: why.to_owned(),
    };
    while let Some(c) = chars.next() {
        if c == '\n' {
            line += 1;
        }
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            '"' if quoted => (quoted, after_quote) = (false, true),
            _ if quoted => cell.push(c),
            '"' if cell.is_empty() && !after_quote => quoted = true,
            '"' => {
                return Err(wrong(
                    line,
                    "a quote inside of a cell that does not begin with one",
                ));
            }
            ',' => {
                row.push(std::mem::take(&mut cell));
                after_quote = false;
            }
            '\r' if chars.peek() == Some(&'\n') => {}
            '\n' => {
                row.push(std::mem::take(&mut cell));
                end(&mut rows, begun, &mut row);
                (begun, after_quote) = (line, false);
            }
            _ if after_quote => return Err(wrong(line, "something follows a quoted cell")),
            _ => cell.push(c),
        }
    }
    if quoted {
        return Err(wrong(begun, "a quote is not closed"));
    }
    row.push(cell);
    end(&mut rows, begun, &mut row);
    Ok(rows)
}

fn end(rows: &mut Vec<(usize, Vec<String>)>, line: usize, row: &mut Vec<String>) {
    let row = std::mem::take(row);
    if row.iter().any(|cell| !cell.trim().is_empty()) {
        rows.push((line, row));
    }
}

fn bad(line: usize, why: &str) -> Vec<BadLine> {
    let why = why.to_owned();
    vec![BadLine { line, why }]
}

/// A cell as it can be read again.
#[must_use]
pub fn cell(text: &str) -> String {
    // What begins so is a formula for spreadsheets.
    let formula = text.starts_with(FORMULA);
    if formula || text.contains([',', '"', '\n', '\r']) {
        let guard = if formula { "'" } else { "" };
        format!("\"{guard}{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

const FORMULA: [char; 5] = ['=', '+', '-', '@', '\t'];
/// Most devices of one list.
//= C7
pub const MAX_DEVICES: usize = 20_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<String> {
        let wrong = devices(text).unwrap_err();
        wrong.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn lists_of_spreadsheets_are_read() {
        let text = "\u{feff}wireguard,name,roles,serial,addresses\r\n\
            KEY1,ecg-1,ecg;home,\"SN \"\"7\"\", blue\",10.64.1.1 fd64::1\r\n\
            \r\n,,,,\r\n\
            KEY2,ecg-2,ecg,,\n";
        let read = devices(text).unwrap();
        let first = &read[0];
        assert_eq!(
            (first.name.as_str(), first.wireguard.as_str()),
            ("ecg-1", "KEY1")
        );
        assert_eq!(first.roles, ["ecg", "home"]);
        assert_eq!(first.serial.as_deref(), Some("SN \"7\", blue"));
        assert_eq!(first.addresses, ["10.64.1.1", "fd64::1"]);
        assert_eq!((first.line, read[1].line), (Some(2), Some(5)));
        assert_eq!((read.len(), &read[1].serial), (2, &None));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, wanted) in [
            ("", "line 1: the list is empty"),
            ("name,roles\n", "line 1: the column `wireguard` is missing"),
            (
                "name,name,roles,wireguard\n",
                "line 1: a column is there twice",
            ),
            (
                "name,roles,wireguard\na,b\n",
                "line 2: 2 cells, the header has 3",
            ),
            (
                "name,roles,wireguard\na,b,\"c\n",
                "line 2: a quote is not closed",
            ),
            (
                "name,roles,wireguard\na,\"b\"x,c\n",
                "line 2: something follows a quoted cell",
            ),
        ] {
            assert_eq!(told(text), [wanted], "{text}");
        }
        assert!(told("nam,roles,wireguard\n")[0].starts_with("line 1: no such column"));
        let both = told("name,roles,wireguard\na\nb,c,d\ne,f,g,h\n");
        assert_eq!(both.len(), 2);
    }

    #[test]
    fn an_exported_list_is_imported_but_brings_nobody_back() {
        let header = format!("{},{}\n", COLUMNS.join(","), TOLD.join(","));
        let row = |name: &str, standing: &str| {
            format!("{name},ecg,KEY,,\"'=SN,7\",,,,,{standing},enrolled,,,0,0\n")
        };
        let list = format!("{header}{}{}", row("a", "active"), row("b", "pending"));
        let read = devices(&list).unwrap();
        assert_eq!(read[0].serial.as_deref(), Some("=SN,7"));
        assert_eq!([read[0].pending, read[1].pending], [false, true]);
        let list = format!("{header}{}{}", row("a", "active"), row("b", "revoked"));
        assert_eq!(told(&list), ["line 3: the device is revoked there"]);
    }

    #[test]
    fn cells_are_read_again_and_are_no_formulas() {
        for text in ["plain", "a,b", "\"", "two\nlines"] {
            let list = format!("name,roles,wireguard\n{},r,k\n", cell(text));
            assert_eq!(devices(&list).unwrap()[0].name, text);
        }
        assert_eq!(cell("=cmd()"), "\"'=cmd()\"");
    }
}
