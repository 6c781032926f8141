//! What one device may say to one inspected service: configuration in, [`ConnectionPolicy`] out.
//!
//! Rules only allow and are not combined for one message: one must accept all of it.
//! Where a value must be one for the whole connection and the rules differ, the strictest holds.
//! Knows nothing of connections, addresses or messages.

use std::collections::{BTreeMap, BTreeSet};

use lazaret_config::{
    Config, Device, DeviceName, DicomQuery, DicomRule, Inward, Limit, OWN_TITLE, Priority,
    ProfileChoice, Release, Rule, RuleName, Service, ServiceName, ServiceProtocol, UserIdentity,
    Why,
};
use protocol_inspect::{Limits, Patients, dicom, hl7};

pub use super::profile::{dicom_profile, hl7_profile};
use crate::flow::Side;

use super::{ConnectionPolicy, ProtocolPolicy, Rate, Timing, profile};

/// The policy of a new connection; `None` when no rule allows it now.
//= C3
#[must_use]
pub fn compile(
    config: &Config,
    device: &DeviceName,
    service: &ServiceName,
    now: jiff::Timestamp,
) -> Option<ConnectionPolicy> {
    let owner = config.devices.get(device)?;
    let target = config.services.get(service)?;
    let mut rules = config.rules_for(device, service);
    rules.retain(|(_, rule)| rule.holds_at(now));
    let (protocol, used) = match &target.protocol {
        ServiceProtocol::Hl7 { .. } => hl7_policy(config, owner, target, &rules)?,
        ServiceProtocol::Dicom { .. } => dicom_policy(config, owner, target, &rules)?,
        ServiceProtocol::Plain { .. } => return None,
    };
    let critical = used.iter().all(|rule| rule.priority == Priority::Critical);
    Some(ConnectionPolicy {
        opener: Side::Device,
        protocol,
        timing: timing(config),
        rate: used
            .iter()
            .filter_map(|rule| rate(&rule.limit))
            .min_by(slower),
        delay_only: critical,
        without_journal: critical || !config.audit.required,
        language: config.gateway.language,
    })
}

/// The policy of a new connection that a service opens to a device; `None` when no rule allows it now.
///
/// What follows from a rule of the device has no limits of its own: those are about what the device sends.
//= C3
#[must_use]
pub fn compile_inward(
    config: &Config,
    device: &DeviceName,
    service: &ServiceName,
    now: jiff::Timestamp,
) -> Option<ConnectionPolicy> {
    let owner = config.devices.get(device)?;
    let caller = config.services.get(service)?;
    let ServiceProtocol::Dicom {
        called_ae,
        profile,
        shadow,
        ..
    } = &caller.protocol
    else {
        return None;
    };
    let mut rules = config.inward(device, service);
    rules.retain(|one| one.rule.holds_at(now));
    if rules.is_empty() {
        return None;
    }
    let compiled: Vec<dicom::Rule> = (rules.iter())
        .filter_map(|one| inward_rule(config, one, owner, profile.as_ref()))
        .map(|rule| dicom::Rule {
            shadow: rule.shadow || *shadow,
            ..rule
        })
        .collect();
    let own: Vec<&Rule> = (rules.iter())
        .filter(|one| one.why == Why::Rule)
        .map(|one| one.rule)
        .collect();
    let critical = (rules.iter()).all(|one| one.rule.priority == Priority::Critical);
    Some(ConnectionPolicy {
        opener: Side::Hospital,
        protocol: ProtocolPolicy::Dicom(dicom::Policy {
            limits: limits(config, &own),
            calling_ae: called_ae.clone(),
            // Without a title of the device nothing is called.
            called_ae: Some(owner.ae_title.clone()?),
            patients: patients(config, owner, compiled.iter().any(|rule| rule.bind_patient)),
            rules: compiled,
        }),
        timing: timing(config),
        rate: (own.iter())
            .filter_map(|rule| rate(&rule.limit))
            .min_by(slower),
        delay_only: critical,
        without_journal: critical || !config.audit.required,
        language: config.gateway.language,
    })
}

/// What a rule lets a service do at a device. What follows from a request of the device's is bound as the request was.
fn inward_rule(
    config: &Config,
    one: &Inward<'_>,
    device: &Device,
    service: Option<&ProfileChoice>,
) -> Option<dicom::Rule> {
    let dicom = one.rule.dicom.as_ref()?;
    let own = dicom::Rule {
        profiles: profile::both_of_dicom(config, service, one.rule.profile.as_ref()),
        shadow: one.rule.shadow,
        ..dicom_rule(one.name, dicom, device)
    };
    let following = |own: dicom::Rule| dicom::Rule {
        move_destinations: Vec::new(),
        query: dicom::Query::default(),
        bind_sender: true,
        user_identity: dicom::IdentityUse::default(),
        ..own
    };
    Some(match one.why {
        Why::Rule => own,
        Why::Retrieval => {
            let mut rule = following(own);
            rule.allow = vec!["C-STORE".to_owned()];
            // Without classes a rule is for any: one that lists them, none to be stored, brings nothing back.
            //= C3
            let listed = !rule.sop_classes.is_empty();
            rule.sop_classes.retain(|class| may_be_stored(class));
            if listed && rule.sop_classes.is_empty() {
                return None;
            }
            rule.follows = Some(dicom::Follows::Retrieval(Vec::new()));
            rule
        }
        Why::Commitment => dicom::Rule {
            allow: vec!["N-EVENT-REPORT".to_owned()],
            sop_classes: vec![dicom::STORAGE_COMMITMENT.to_owned()],
            // The archive reports as the provider that it was when it was asked (PS3.4 J.3.3).
            reverse_roles: true,
            follows: Some(dicom::Follows::Commitment),
            ..following(own)
        },
    })
}

/// Whether objects of a class may come by C-STORE: storage classes, and private ones, of which nobody else can tell.
fn may_be_stored(class: &str) -> bool {
    dicom::is_storage(class) || !class.starts_with(STANDARD_CLASSES)
}

/// Most connections that the service may have to the device at once.
//= C7
#[must_use]
pub fn inward_limit(config: &Config, device: &DeviceName, service: &ServiceName) -> usize {
    let rules = config.rules_towards(device, service);
    let each = rules.iter().filter_map(|(_, rule)| rule.limit.connections);
    let strictest = each.min().map_or(u64::MAX, u64::from);
    size(strictest.min(config.limits.connections_to_device))
}

/// Most connections that the device may have to the service at once.
//= C7
#[must_use]
pub fn connection_limit(config: &Config, device: &DeviceName, service: &ServiceName) -> usize {
    let rules = config.rules_for(device, service);
    if rules.is_empty() {
        return 0;
    }
    let each = rules.iter().filter_map(|(_, rule)| rule.limit.connections);
    let strictest = each.min().map_or(u64::MAX, u64::from);
    size(strictest.min(config.limits.connections_per_device))
}

type Named<'a> = (&'a RuleName, &'a Rule);

fn hl7_policy<'a>(
    config: &Config,
    device: &Device,
    service: &Service,
    rules: &[Named<'a>],
) -> Option<(ProtocolPolicy, Vec<&'a Rule>)> {
    let ServiceProtocol::Hl7 {
        profile,
        shadow,
        mllp_release_2,
        ..
    } = &service.protocol
    else {
        return None;
    };
    let (mut used, mut compiled) = (Vec::new(), Vec::new());
    for (name, rule) in rules {
        let Some(hl7) = &rule.hl7 else { continue };
        used.push(*rule);
        compiled.push(hl7::Rule {
            name: name.to_string(),
            send: hl7.send.iter().cloned().collect(),
            receive: hl7.receive.iter().cloned().collect(),
            versions: hl7.versions.iter().cloned().collect(),
            bind_sender: hl7.bind_sender,
            bind_patient: hl7.bind_patient,
            clock_window: (hl7.clock_window)
                .map(|window| u32::try_from(window.as_secs()).unwrap_or(u32::MAX)),
            profiles: profile::both(config, profile.as_ref(), rule.profile.as_ref()),
            shadow: rule.shadow || *shadow,
            local_segments: hl7.local_segments.as_ref().map(local_segments),
            embedded: embedded(&hl7.embedded),
            batches: hl7.batches,
            unique_ids: hl7.unique_ids,
            charsets: hl7.charsets.iter().cloned().collect(),
        });
    }
    let policy = hl7::Policy {
        limits: limits(config, &used),
        release_2: *mllp_release_2,
        default_charset: device.default_charset.clone(),
        senders: device.hl7_senders.clone(),
        device_ids: device.device_ids.clone(),
        patients: patients(
            config,
            device,
            compiled.iter().any(|rule| rule.bind_patient),
        ),
        rules: compiled,
    };
    (!used.is_empty()).then_some((ProtocolPolicy::Hl7(policy), used))
}

/// The key goes only where a rule needs it, and without it nobody is known.
//= C10
fn patients(config: &Config, device: &Device, some_rule_binds: bool) -> Patients {
    match &config.patient_key {
        Some(patient) if some_rule_binds => {
            let hashes = device.patients.iter().filter_map(|hash| digest(hash));
            Patients::new(patient.key.as_bytes(), hashes)
        }
        Some(_) | None => Patients::default(),
    }
}

/// The bytes of `hmac:` and 64 digits.
fn digest(hash: &str) -> Option<[u8; 32]> {
    let digits = hash.strip_prefix("hmac:")?.as_bytes();
    let mut bytes = [0; 32];
    let (pairs, rest) = digits.as_chunks::<2>();
    if pairs.len() != bytes.len() || !rest.is_empty() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

fn local_segments(listed: &BTreeMap<String, u64>) -> Vec<hl7::LocalSegment> {
    let segment = |(name, longest): (&String, &u64)| hl7::LocalSegment {
        name: name.clone(),
        max_bytes: size(*longest),
    };
    listed.iter().map(segment).collect()
}

fn embedded(embedded: &lazaret_config::Embedded) -> hl7::Embedded {
    hl7::Embedded {
        // A test holds that both sides know the same names.
        kinds: embedded
            .kinds
            .iter()
            .filter_map(|name| hl7::Kind::named(name))
            .collect(),
        hosts: embedded.hosts.iter().cloned().collect(),
    }
}

fn dicom_policy<'a>(
    config: &Config,
    device: &Device,
    service: &Service,
    rules: &[Named<'a>],
) -> Option<(ProtocolPolicy, Vec<&'a Rule>)> {
    let ServiceProtocol::Dicom {
        called_ae,
        profile,
        release,
        shadow,
        ..
    } = &service.protocol
    else {
        return None;
    };
    let (mut used, mut compiled) = (Vec::new(), Vec::new());
    for (name, rule) in rules {
        let Some(dicom) = &rule.dicom else { continue };
        used.push(*rule);
        compiled.push(dicom::Rule {
            profiles: profile::both_of_dicom(config, profile.as_ref(), rule.profile.as_ref()),
            shadow: rule.shadow || *shadow,
            streaming: rule.release.unwrap_or(*release).min(*release) == Release::Streaming,
            ..dicom_rule(name, dicom, device)
        });
    }
    let policy = dicom::Policy {
        limits: limits(config, &used),
        calling_ae: device.ae_title.clone(),
        called_ae: called_ae.clone(),
        patients: patients(
            config,
            device,
            compiled.iter().any(|rule| rule.bind_patient),
        ),
        rules: compiled,
    };
    (!used.is_empty()).then_some((ProtocolPolicy::Dicom(policy), used))
}

/// What the rule itself says.
fn dicom_rule(name: &RuleName, rule: &DicomRule, device: &Device) -> dicom::Rule {
    let list = |set: &BTreeSet<String>| set.iter().cloned().collect();
    let destination = |title: &String| match title.as_str() {
        OWN_TITLE => device.ae_title.clone(),
        _ => Some(title.clone()),
    };
    dicom::Rule {
        name: name.to_string(),
        allow: list(&rule.allow),
        sop_classes: list(&rule.sop_classes),
        transfer_syntaxes: list(&rule.transfer_syntaxes),
        modalities: list(&rule.modalities),
        move_destinations: rule
            .move_destinations
            .iter()
            .filter_map(destination)
            .collect(),
        bind_sender: rule.bind_sender,
        bind_patient: rule.bind_patient,
        query: query(&rule.query),
        reverse_roles: rule.reverse_roles,
        user_identity: match rule.user_identity {
            UserIdentity::Allow => dicom::IdentityUse::Allow,
            UserIdentity::Strip => dicom::IdentityUse::Strip,
            UserIdentity::Require => dicom::IdentityUse::Require,
        },
        max_object: rule.max_object,
        private_creators: rule.private_creators.as_ref().map(list),
        documents: kinds(&rule.documents),
        ..dicom::Rule::default()
    }
}

fn kinds(names: &BTreeSet<String>) -> Vec<dicom::DocumentKind> {
    let known = |name: &String| dicom::DocumentKind::named(name);
    names.iter().filter_map(known).collect()
}

fn query(query: &DicomQuery) -> dicom::Query {
    let number = |(group, element): &(u16, u16)| (u32::from(*group) << 16) | u32::from(*element);
    let groups = query.require.iter();
    dicom::Query {
        require: groups
            .map(|group| group.iter().map(number).collect())
            .collect(),
        levels: query.levels.iter().cloned().collect(),
        selective: !query.wildcards,
        max_results: query.max_results,
    }
}

fn limits(config: &Config, rules: &[&Rule]) -> Limits {
    let limits = &config.limits;
    let sizes = rules.iter().filter_map(|rule| rule.limit.message_size);
    let longest = sizes.min().unwrap_or(u64::MAX);
    let hl7_message = size(limits.hl7_message.min(longest));
    let others = Limits::default();
    Limits {
        hl7_message,
        hl7_segments: size(limits.hl7_segments),
        hl7_embedded: size(limits.hl7_embedded),
        hl7_batch_messages: size(limits.hl7_batch_messages),
        hl7_segment: others.hl7_segment.min(hl7_message),
        dicom_pdu: size(limits.dicom_pdu),
        dicom_dataset: limits.dicom_dataset.min(longest),
        dicom_depth: size(limits.dicom_depth),
        dicom_elements: size(limits.dicom_elements),
        dicom_inflate_ratio: limits.dicom_inflate_ratio,
        dicom_offsets: size(limits.dicom_offsets),
        dicom_markup: size(limits.dicom_markup),
        dicom_memory: size(limits.dicom_memory),
        ..others
    }
}

fn timing(config: &Config) -> Timing {
    let ms = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let limits = &config.limits;
    Timing {
        receive_ms: ms(limits.receive_timeout),
        connect_ms: ms(limits.connect_timeout),
        answer_ms: ms(limits.answer_timeout),
        idle_ms: ms(limits.idle_timeout),
        send_ms: ms(limits.send_timeout),
        transaction_ms: ms(limits.transaction_timeout),
    }
}

fn rate(limit: &Limit) -> Option<Rate> {
    let (messages, per) = limit.messages?;
    Some(Rate {
        messages,
        per_ms: u64::try_from(per.as_millis()).unwrap_or(u64::MAX).max(1),
        burst: limit.burst.unwrap_or(messages),
    })
}

/// Orders by messages in the long run, then by burst.
fn slower(a: &Rate, b: &Rate) -> std::cmp::Ordering {
    let cross = |x: &Rate, y: &Rate| u128::from(x.messages) * u128::from(y.per_ms);
    let long_run = cross(a, b).cmp(&cross(b, a));
    long_run.then(a.burst.cmp(&b.burst))
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Root of the UIDs that the standard itself gives (PS3.5 section 9).
const STANDARD_CLASSES: &str = "1.2.840.10008.";

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
