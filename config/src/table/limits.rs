//! `[limits]`: the bounds of everything that a peer can make grow.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::field::quantity::{Bytes, Period};
use crate::model::Limits;
use crate::problem::Fault;
use crate::section::{Keys, Section};

pub(crate) const KEYS: Keys = Keys {
    table: "[limits]",
    known: &[
        "hl7_message",
        "hl7_segments",
        "hl7_embedded",
        "hl7_batch_messages",
        "dicom_dataset",
        "dicom_depth",
        "dicom_elements",
        "dicom_inflate_ratio",
        "dicom_offsets",
        "dicom_markup",
        "dicom_pdu",
        "dicom_memory",
        "spool",
        "connections",
        "connections_per_device",
        "connections_to_device",
        "connections_to_devices",
        "flows_per_device",
        "relay_workers",
        "receive_timeout",
        "connect_timeout",
        "answer_timeout",
        "idle_timeout",
        "send_timeout",
        "transaction_timeout",
    ],
    later: &[],
};

pub(crate) fn read(section: &Section<'_>) -> Limits {
    let default = Limits::default();
    let size = |key, range: RangeInclusive<u64>, default| {
        let range = Bytes(*range.start())..=Bytes(*range.end());
        section.within(key, range).map_or(default, |bytes| bytes.0)
    };
    let count = |key, range, default| section.within::<u64>(key, range).unwrap_or(default);
    let period = |key, longest, default| {
        let range = Period(SHORTEST)..=Period(longest);
        section
            .within(key, range)
            .map_or(default, |period| period.0)
    };
    let connections = count("connections", 1..=65_536, default.connections);
    let limits = Limits {
        hl7_message: size("hl7_message", KIB..=256 * MIB, default.hl7_message),
        hl7_segments: count("hl7_segments", 1..=1_000_000, default.hl7_segments),
        hl7_embedded: size("hl7_embedded", KIB..=256 * MIB, default.hl7_embedded),
        hl7_batch_messages: count(
            "hl7_batch_messages",
            1..=100_000,
            default.hl7_batch_messages,
        ),
        dicom_dataset: size("dicom_dataset", KIB..=64 * GIB, default.dicom_dataset),
        dicom_depth: count("dicom_depth", 1..=256, default.dicom_depth),
        dicom_elements: count("dicom_elements", 1..=100_000_000, default.dicom_elements),
        dicom_inflate_ratio: count(
            "dicom_inflate_ratio",
            1..=1_032,
            default.dicom_inflate_ratio,
        ),
        dicom_offsets: count("dicom_offsets", 1..=16_777_216, default.dicom_offsets),
        dicom_markup: size("dicom_markup", KIB..=256 * MIB, default.dicom_markup),
        dicom_pdu: size("dicom_pdu", 4 * KIB..=MIB, default.dicom_pdu),
        dicom_memory: size("dicom_memory", 64 * KIB..=GIB, default.dicom_memory),
        spool: size("spool", MIB..=16 * 1024 * GIB, default.spool),
        connections,
        connections_per_device: count(
            "connections_per_device",
            1..=65_536,
            default.connections_per_device,
        ),
        connections_to_device: count(
            "connections_to_device",
            1..=65_536,
            default.connections_to_device,
        ),
        connections_to_devices: count(
            "connections_to_devices",
            1..=65_536,
            (connections / 2).max(1),
        ),
        flows_per_device: count("flows_per_device", 1..=65_536, default.flows_per_device),
        relay_workers: section.within::<u64>("relay_workers", 1..=8),
        receive_timeout: period("receive_timeout", HOUR, default.receive_timeout),
        connect_timeout: period("connect_timeout", HOUR, default.connect_timeout),
        answer_timeout: period("answer_timeout", HOUR, default.answer_timeout),
        idle_timeout: period("idle_timeout", 168 * HOUR, default.idle_timeout),
        send_timeout: period("send_timeout", HOUR, default.send_timeout),
        transaction_timeout: period(
            "transaction_timeout",
            90 * 24 * HOUR,
            default.transaction_timeout,
        ),
    };
    bounded_by_all(section, &limits);
    limits
}

/// A bound of a part that is above the bound of the whole would never be reached.
fn bounded_by_all(section: &Section<'_>, limits: &Limits) {
    let all = limits.connections;
    let towards = limits.connections_to_devices;
    let one = "more connections for one device than for all of them";
    for (key, is, most, of, says) in [
        (
            "connections_per_device",
            limits.connections_per_device,
            all,
            "connections",
            one,
        ),
        (
            "connections_to_device",
            limits.connections_to_device,
            towards,
            "connections_to_devices",
            one,
        ),
        (
            "connections_to_devices",
            towards,
            all,
            "connections",
            "more connections towards devices than there are",
        ),
    ] {
        if section.has(key) && is > most {
            section.report(key, Fault::new(says).help(format!("`{of}` is {most}")));
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            hl7_message: 4 * MIB,
            hl7_segments: 10_000,
            hl7_embedded: 4 * MIB,
            hl7_batch_messages: 1_000,
            dicom_dataset: 4 * GIB,
            dicom_depth: 64,
            dicom_elements: 2_000_000,
            dicom_inflate_ratio: 200,
            dicom_offsets: 262_144,
            dicom_markup: 4 * MIB,
            dicom_pdu: 128 * KIB,
            dicom_memory: 4 * MIB,
            spool: 8 * GIB,
            connections: 4096,
            connections_per_device: 32,
            connections_to_device: 32,
            connections_to_devices: 2048,
            flows_per_device: 256,
            relay_workers: None,
            receive_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(30),
            idle_timeout: HOUR,
            send_timeout: Duration::from_secs(30),
            transaction_timeout: 7 * 24 * HOUR,
        }
    }
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const SHORTEST: Duration = Duration::from_millis(100);
const HOUR: Duration = Duration::from_secs(3600);
