//! What was denied recently, for `lazaret flow denied` and, condensed, for the journal.
//!
//! Pure: time is an argument. Bounded: a port scan fills the table, not the memory.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::control::message::DeniedFlow;
use crate::flow::{DeviceName, Flow};

/// Denied flows by what they wanted.
#[derive(Default)]
pub(super) struct Denied {
    flows: BTreeMap<(Flow, String), Entry>,
}

struct Entry {
    device: Option<DeviceName>,
    why: String,
    packets: u64,
    unreported: u64,
    last: Instant,
    reported: Option<Instant>,
}

/// A line for the journal.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) device: Option<DeviceName>,
    pub(super) flow: Flow,
    pub(super) transport: String,
    pub(super) why: String,
    pub(super) packets: u64,
}

impl Denied {
    /// Counts a denied packet or connection.
    pub(super) fn note(
        &mut self,
        flow: Flow,
        transport: &str,
        device: Option<DeviceName>,
        why: &str,
        now: Instant,
    ) {
        let key = (flow, transport.to_owned());
        if !self.flows.contains_key(&key) && self.flows.len() >= MAX_FLOWS {
            let oldest = self
                .flows
                .iter()
                .min_by_key(|(_, entry)| entry.last)
                .map(|(key, _)| key.clone());
            if let Some(oldest) = oldest {
                self.flows.remove(&oldest);
            }
        }
        let fresh = Entry {
            device: None,
            why: why.to_owned(),
            packets: 0,
            unreported: 0,
            last: now,
            reported: None,
        };
        let entry = self.flows.entry(key).or_insert(fresh);
        entry.device = device;
        why.clone_into(&mut entry.why);
        entry.packets = entry.packets.saturating_add(1);
        entry.unreported = entry.unreported.saturating_add(1);
        entry.last = now;
    }

    /// What the journal does not know yet: each flow at once, then at most once a minute.
    pub(super) fn reports(&mut self, now: Instant) -> Vec<Report> {
        let mut reports = Vec::new();
        for ((flow, transport), entry) in &mut self.flows {
            let due = entry
                .reported
                .is_none_or(|last| now.saturating_duration_since(last) >= REPORT_EVERY);
            if entry.unreported > 0 && due && reports.len() < MAX_REPORTS {
                let packets = std::mem::take(&mut entry.unreported);
                entry.reported = Some(now);
                reports.push(Report {
                    device: entry.device.clone(),
                    flow: *flow,
                    transport: transport.clone(),
                    why: entry.why.clone(),
                    packets,
                });
            }
        }
        reports
    }

    /// For the operator, newest first.
    pub(super) fn list(&self, now: Instant) -> Vec<DeniedFlow> {
        let mut list: Vec<_> = self
            .flows
            .iter()
            .map(|((flow, transport), entry)| DeniedFlow {
                device: entry.device.clone(),
                flow: *flow,
                transport: transport.clone(),
                packets: entry.packets,
                seconds: now.saturating_duration_since(entry.last).as_secs(),
                why: entry.why.clone(),
            })
            .collect();
        list.sort_by_key(|flow| flow.seconds);
        list
    }
}

/// At most so many records a second of refused connections; the table above counts them all.
#[derive(Default)]
pub(super) struct Allowance {
    second: Option<Instant>,
    used: u32,
}

impl Allowance {
    /// Whether one more may be recorded now.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        if self
            .second
            .is_none_or(|begun| now.saturating_duration_since(begun) >= Duration::from_secs(1))
        {
            *self = Self {
                second: Some(now),
                used: 0,
            };
        }
        self.used = self.used.saturating_add(1);
        self.used <= RECORDS_PER_SECOND
    }
}

const RECORDS_PER_SECOND: u32 = 20;
const MAX_FLOWS: usize = 1024;
const MAX_REPORTS: usize = 64;
const REPORT_EVERY: Duration = Duration::from_mins(1);

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests make up their time")]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_one_flow_and_one_report_a_minute() {
        let mut denied = Denied::default();
        let start = Instant::now();
        for _ in 0..1000 {
            denied.note(flow(22), "tcp", None, "no rule", start);
        }
        assert_eq!(
            denied
                .reports(start)
                .iter()
                .map(|r| r.packets)
                .collect::<Vec<_>>(),
            [1000]
        );
        denied.note(flow(22), "tcp", None, "no rule", start);
        assert!(denied.reports(start + Duration::from_secs(59)).is_empty());
        assert_eq!(denied.reports(start + Duration::from_secs(60)).len(), 1);
        assert_eq!(denied.list(start)[0].packets, 1001);
    }

    #[test]
    fn a_scan_does_not_fill_the_memory() {
        let mut denied = Denied::default();
        let start = Instant::now();
        for port in 0..=u16::MAX {
            denied.note(
                flow(port),
                "tcp",
                None,
                "no rule",
                start + Duration::from_micros(port.into()),
            );
        }
        assert_eq!(denied.list(start).len(), MAX_FLOWS);
        assert!(
            denied.list(start).iter().any(|d| d.flow == flow(u16::MAX)),
            "the newest stays"
        );
    }

    fn flow(port: u16) -> Flow {
        Flow {
            source: [10, 64, 0, 1].into(),
            destination: ([10, 20, 0, 5], port).into(),
        }
    }
}
