//! `[rule.NAME]`: who may reach what, and say what there.

use std::time::Duration;

use crate::field::document::{DocumentKind, LocalSegment, PointerHost};
use crate::field::hl7::{MessageTypes, Version, WideCharset};
use crate::field::party::{Receiver, Source};
use crate::field::quantity::{Bytes, Period, Rate};
use crate::model::{
    DicomRule, Direction, Embedded, Hl7Rule, Hours, Limit, Origin, Party, Priority, Release, Rule,
};
use crate::name::ServiceName;
use crate::problem::{At, Fault, Place};
use crate::profile::ProfileChoice;
use crate::section::{Keys, Section};
use crate::table::dicom;

pub(crate) const KEYS: Keys = Keys {
    table: "[rule.NAME]",
    known: &[
        "from", "to", "hl7", "dicom", "limit", "priority", "profile", "shadow", "hours", "until",
        "release",
    ],
    later: &[(
        "mode",
        "the sender gets the destination's own answer, which is mode `pass`",
    )],
};

pub(crate) const HL7: Keys = Keys {
    table: "`hl7` of [rule.NAME]",
    known: &[
        "send",
        "receive",
        "versions",
        "bind_sender",
        "bind_patient",
        "charsets",
        "clock_window",
        "local_segments",
        "embedded",
        "unique_ids",
        "batches",
    ],
    later: &[],
};

pub(crate) const EMBEDDED: Keys = Keys {
    table: "`embedded` of `hl7` of [rule.NAME]",
    known: &["kinds", "hosts"],
    later: &[],
};

pub(crate) const LIMIT: Keys = Keys {
    table: "`limit` of [rule.NAME]",
    known: &[
        "messages",
        "burst",
        "connections",
        "message_size",
        "idle",
        "longest",
    ],
    later: &[],
};

/// The table as it is written.
pub(crate) struct RawRule {
    pub(crate) header: Place,
    pub(crate) from: Vec<At<Source>>,
    pub(crate) to: Vec<At<Receiver>>,
    /// Whether all that is written in `to` was understood.
    pub(crate) to_is_clear: bool,
    pub(crate) hl7: Option<At<Hl7Rule>>,
    pub(crate) dicom: Option<At<DicomRule>>,
    pub(crate) limit: Limit,
    pub(crate) priority: Priority,
    pub(crate) hours: Option<Hours>,
    /// Where keys stand that are for inspected services only.
    pub(crate) inspected_only: Vec<(&'static str, Place)>,
    /// Where keys stand that are for forwarded services only.
    pub(crate) forwarded_only: Vec<(&'static str, Place)>,
    /// Whether all of it was understood.
    pub(crate) is_clear: bool,
    pub(crate) profile: Option<At<ProfileChoice>>,
    pub(crate) release: Option<At<Release>>,
    shadow: bool,
    until: Option<jiff::civil::Date>,
}

pub(crate) fn read(section: &Section<'_>) -> RawRule {
    let before = section.problems().count();
    let mut inspected_only = places(section, &["profile", "shadow", "release"]);
    let mut forwarded_only = Vec::new();
    let limits = section.section("limit", &LIMIT);
    if let Some(limits) = &limits {
        forwarded_only = places(limits, &OF_FORWARDED);
        inspected_only.extend(places(limits, &OF_INSPECTED));
    }
    let to: Vec<At<Receiver>> = section.required_list("to");
    let rule = RawRule {
        header: section.header,
        is_clear: false,
        from: section.required_list("from"),
        to_is_clear: !to.is_empty() && to.len() == section.length_of("to"),
        to,
        hl7: section.section("hl7", &HL7).map(|inner| hl7(&inner)),
        dicom: section
            .section("dicom", &dicom::RULE)
            .map(|inner| dicom::rule(&inner)),
        limit: limits.map(|inner| limit(&inner)).unwrap_or_default(),
        priority: section.or("priority", Priority::Normal),
        hours: section.optional("hours").map(|at| at.value),
        inspected_only,
        forwarded_only,
        profile: section.optional("profile"),
        release: section.optional("release"),
        shadow: section.or("shadow", false),
        until: section.optional("until").map(|at| at.value),
    };
    RawRule {
        is_clear: section.problems().count() == before,
        ..rule
    }
}

/// Those of the keys that are there, and where.
fn places(section: &Section<'_>, keys: &[&'static str]) -> Vec<(&'static str, Place)> {
    let keys = keys.iter().copied();
    keys.filter_map(|key| section.place_of_key(key).map(|place| (key, place)))
        .collect()
}

fn hl7(section: &Section<'_>) -> At<Hl7Rule> {
    let send = section.required_list::<MessageTypes>("send");
    let receive = section.list::<MessageTypes>(
        "receive",
        "leave the key out to let acknowledgements alone come back",
    );
    for at in &receive {
        if at.value.0.starts_with("ACK^") || at.value.0.starts_with("MCF^") {
            let fault = Fault::new("acknowledgements always come back")
                .help("`receive` is for other answers, such as `RSP^K22`");
            section.problems().report(fault.at(at.place));
        }
    }
    let versions = section.list::<Version>("versions", "leave the key out to allow all versions");
    let charsets = section.list::<WideCharset>("charsets", "leave the key out to allow none");
    At {
        place: section.header,
        value: Hl7Rule {
            send: send.into_iter().map(|at| at.value.0).collect(),
            receive: receive.into_iter().map(|at| at.value.0).collect(),
            versions: versions.into_iter().map(|at| at.value.0).collect(),
            bind_sender: section.or("bind_sender", true),
            bind_patient: section.or("bind_patient", false),
            clock_window: clock_window(section),
            local_segments: section
                .map::<LocalSegment, Bytes>("local_segments")
                .map(|listed| {
                    listed
                        .into_iter()
                        .filter_map(|s| local(section, s))
                        .collect()
                }),
            embedded: section
                .section("embedded", &EMBEDDED)
                .map(|inner| embedded(&inner))
                .unwrap_or_default(),
            unique_ids: section.or("unique_ids", false),
            batches: section.or("batches", false),
            charsets: charsets.into_iter().map(|at| at.value.0).collect(),
        },
    }
}

/// In whole seconds, because MSH-7 is compared in them.
fn clock_window(section: &Section<'_>) -> Option<Duration> {
    let least = Period(Duration::from_secs(1));
    let most = Period(Duration::from_hours(24 * 366));
    let Period(window) = section.within("clock_window", least..=most)?;
    if window.subsec_millis() != 0 {
        section.report("clock_window", Fault::new("must be whole seconds"));
        return None;
    }
    Some(window)
}

/// A local segment and its longest, if that can be.
fn local(
    section: &Section<'_>,
    (name, size): (At<LocalSegment>, At<Bytes>),
) -> Option<(String, u64)> {
    if (4..=MOST_LOCAL).contains(&size.value.0) {
        return Some((name.value.0, size.value.0));
    }
    let fault = Fault::new("a local segment must be 4B to 2MiB")
        .help("it is at least its name and a delimiter, and no segment is longer than 2MiB");
    section.problems().report(fault.at(size.place));
    None
}

fn embedded(section: &Section<'_>) -> Embedded {
    let kinds =
        section.list::<DocumentKind>("kinds", "leave the key out to carry the harmless ones");
    let hosts = section.list::<PointerHost>("hosts", "leave the key out to carry no pointers");
    Embedded {
        kinds: kinds.into_iter().map(|at| at.value.0.to_owned()).collect(),
        hosts: hosts.into_iter().map(|at| at.value.0).collect(),
    }
}

fn limit(section: &Section<'_>) -> Limit {
    if section.has("burst") && !section.has("messages") {
        let fault = Fault::new("`burst` needs `messages`").help("such as `messages = \"2/s\"`");
        section.report("burst", fault);
    }
    let rate = section.optional::<Rate>("messages").map(|at| at.value);
    let period = |key, least, most| {
        let range = Period(Duration::from_secs(least))..=Period(Duration::from_hours(most));
        section.within(key, range).map(|period| period.0)
    };
    let (idle, longest) = (period("idle", 1, 24), period("longest", 1, 31 * 24));
    if idle.zip(longest).is_some_and(|(idle, all)| idle >= all) {
        let fault = Fault::new("`idle` is never reached").help("it must be shorter than `longest`");
        section.report("idle", fault);
    }
    Limit {
        messages: rate.map(|Rate(number, period)| (number, period)),
        burst: section.within("burst", 1..=1_000_000),
        connections: section.within("connections", 1..=65_536),
        message_size: section
            .within("message_size", Bytes(64)..=Bytes(1 << 40))
            .map(|bytes| bytes.0),
        idle,
        longest,
    }
}

impl RawRule {
    /// Who opens connections by it: whatever is written in `from`, it goes to devices if a device or role is in `to`.
    pub(crate) fn direction(&self) -> Direction {
        let party = |at: &At<Receiver>| matches!(at.value, Receiver::Party(_));
        if self.to.iter().any(party) {
            Direction::ToDevices
        } else {
            Direction::FromDevices
        }
    }

    /// The roles and devices at its outer end, where they are written.
    pub(crate) fn parties(&self) -> Vec<At<Party>> {
        let named = |place, party: &Party| At {
            place,
            value: party.clone(),
        };
        match self.direction() {
            Direction::FromDevices => (self.from.iter())
                .filter_map(|at| match &at.value {
                    Source::Party(party) => Some(named(at.place, party)),
                    Source::Bare(_) => None,
                })
                .collect(),
            Direction::ToDevices => (self.to.iter())
                .filter_map(|at| match &at.value {
                    Receiver::Party(party) => Some(named(at.place, party)),
                    Receiver::Service(_) => None,
                })
                .collect(),
        }
    }

    /// The services at its inner end that were understood, where they are written.
    pub(crate) fn services(&self) -> Vec<At<ServiceName>> {
        match self.direction() {
            Direction::FromDevices => (self.to.iter())
                .filter_map(|at| match &at.value {
                    Receiver::Service(name) => Some(At {
                        place: at.place,
                        value: name.clone(),
                    }),
                    Receiver::Party(_) => None,
                })
                .collect(),
            Direction::ToDevices => (self.from.iter())
                .filter_map(|at| match &at.value {
                    Source::Bare(word) => Some(At {
                        place: at.place,
                        value: word.parse().ok()?,
                    }),
                    Source::Party(_) => None,
                })
                .collect(),
        }
    }

    pub(crate) fn into_model(self, origin: Origin) -> Rule {
        Rule {
            origin,
            direction: self.direction(),
            parties: self.parties().into_iter().map(|at| at.value).collect(),
            services: self.services().into_iter().map(|at| at.value).collect(),
            hl7: self.hl7.map(|at| at.value),
            dicom: self.dicom.map(|at| at.value),
            limit: self.limit,
            priority: self.priority,
            profile: self.profile.map(|at| at.value),
            release: self.release.map(|at| at.value),
            shadow: self.shadow,
            hours: self.hours,
            until: self.until,
        }
    }
}

/// Keys of `limit` that are about messages and relayed connections.
const OF_INSPECTED: [&str; 4] = ["messages", "burst", "connections", "message_size"];
/// Keys of `limit` that are about what is forwarded.
const OF_FORWARDED: [&str; 2] = ["idle", "longest"];
/// The longest segment of a message.
const MOST_LOCAL: u64 = 2 << 20;
