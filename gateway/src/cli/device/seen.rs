//! What was seen of a device and of strangers, as tables.

use crate::cli::table::Table;
use crate::cli::units::bytes;
use crate::control::message::{InventoryStatus, StrangerStatus};

/// What was seen of a device, below what it is; nothing if nothing was.
pub(super) fn of_device(inventory: &InventoryStatus) -> String {
    if inventory.seen.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&["SEEN", "WHICH", "HOW OFTEN", "FIRST", "LAST"]).right(&[2]);
    for one in &inventory.seen {
        let amount = match one.what.as_str() {
            "bytes" => bytes(one.amount),
            _ => one.amount.to_string(),
        };
        table.row([
            one.what.clone(),
            one.value.clone(),
            amount,
            one.first.to_string(),
            one.last.to_string(),
        ]);
    }
    format!("\n{}", table.render())
}

/// Who came that nobody knows.
pub(super) fn strangers(strangers: &[StrangerStatus]) -> String {
    let header = ["WHAT", "SOURCE", "WHICH", "HOW OFTEN", "FIRST", "LAST"];
    let mut table = Table::new(&header).right(&[3]);
    for one in strangers {
        table.row([
            one.what.clone(),
            one.source.clone(),
            one.value.clone(),
            one.amount.to_string(),
            one.first.to_string(),
            one.last.to_string(),
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::message::SeenStatus;

    #[test]
    fn what_was_seen_is_a_table() {
        let seen = |what: &str, value: &str, amount| SeenStatus {
            what: what.to_owned(),
            value: value.to_owned(),
            amount,
            first: "2026-11-01T08:00:00Z".parse().unwrap(),
            last: "2026-11-22T08:00:00Z".parse().unwrap(),
        };
        let inventory = InventoryStatus {
            seen: vec![
                seen("handshake", "", 17),
                seen("bytes", "received", 1_234_567),
                seen("message", "ORU^R01", 4),
                seen("software", "ECG Maker 4.2 Heart", 4),
            ],
            ..InventoryStatus::default()
        };
        insta::assert_snapshot!(of_device(&inventory));
        assert_eq!(of_device(&InventoryStatus::default()), "");
        let stranger = StrangerStatus {
            what: "key".to_owned(),
            source: "192.0.2.1".to_owned(),
            value: format!("{}E=", "A".repeat(42)),
            amount: 3,
            first: "2026-11-01T08:00:00Z".parse().unwrap(),
            last: "2026-11-22T08:00:00Z".parse().unwrap(),
        };
        insta::assert_snapshot!(strangers(&[stranger]));
    }
}
