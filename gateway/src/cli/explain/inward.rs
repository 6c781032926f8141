//! What is answered about a service that dials a device.

use lazaret_config::{Config, DeviceName, Explanation, Party, Sender, ServiceName, Target, Why};

use super::asked::show;
use super::{Answer, Because, Verdict, identified};

/// What the files say, in words.
pub(super) fn answer(
    config: &Config,
    service: &ServiceName,
    target: &Target,
    explanation: Explanation,
) -> Answer {
    let device = match target {
        Target::Device { device, .. } => Some(device),
        Target::Service { .. } => None,
    };
    let Explanation {
        allowed,
        because,
        missing,
    } = explanation;
    Answer {
        verdict: if allowed {
            Verdict::Allowed
        } else {
            Verdict::Denied
        },
        from: service.to_string(),
        to: show(target),
        rules: (because.iter())
            .map(|(rule, origin)| Because::new(config, rule, origin, config.services.get(service)))
            .collect(),
        carried: device
            .filter(|_| allowed)
            .map(|device| carried(config, device, service)),
        identified: device.and_then(|device| identified(config, &Party::Device(device.clone()))),
        standing: None,
        missing: (!allowed).then_some(missing),
        suggestion: None,
    }
}

/// Where it is dialled, where it goes on, and what must be outstanding.
fn carried(config: &Config, device: &DeviceName, service: &ServiceName) -> String {
    let entrances = config.entrances(device, service);
    let ways: Vec<String> = (entrances.iter())
        .map(|one| format!("dialled at {}, on to {}", one.dialled, one.device))
        .collect();
    let all = config.inward(device, service);
    let mut whys: Vec<&str> = (all.iter())
        .map(|one| match one.why {
            Why::Rule => "",
            Why::Retrieval => ", images while a C-MOVE of the device is outstanding",
            Why::Commitment => ", results while storage commitment is outstanding",
        })
        .collect();
    whys.sort_unstable();
    whys.dedup();
    format!("by the DICOM relay, {}{}", ways.join("; "), whys.concat())
}

/// The device whose standing matters.
pub(super) fn device(sender: &Sender, target: &str) -> Option<DeviceName> {
    match sender {
        Sender::Party(Party::Device(device)) => Some(device.clone()),
        Sender::Party(Party::Role(_)) => None,
        Sender::Service(_) => match target.parse().ok()? {
            Target::Device { device, .. } => Some(device),
            Target::Service { .. } => None,
        },
    }
}
