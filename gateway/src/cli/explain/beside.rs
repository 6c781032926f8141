//! What holds beside the files: quarantine, and access that was opened for a time.
//!
//! In: what the daemon says. Out: the configuration as it holds for one device. Without the daemon, the files alone.

use std::collections::BTreeSet;

use lazaret_config::{Config, DeviceName, Exception};

use crate::cli::context::Context;
use crate::control::message::{AccessRequest, AccessStatus, Request, Response, Standing};

/// The configuration as it holds for this device at the moment.
pub(super) fn contained(
    context: &Context<'_>,
    config: Config,
    device: &DeviceName,
    standing: Standing,
) -> Config {
    let accesses = match context.ask(&Request::BreakGlass(AccessRequest::List)) {
        Ok(Response::BreakGlass { accesses, .. }) => accesses,
        Ok(_) | Err(_) => Vec::new(),
    };
    merge(config, device, standing, accesses)
}

fn merge(
    config: Config,
    device: &DeviceName,
    standing: Standing,
    accesses: Vec<AccessStatus>,
) -> Config {
    let quarantined = (standing == Standing::Quarantined).then(|| device.clone());
    let exceptions: Vec<Exception> = accesses
        .into_iter()
        .filter(|access| access.device == *device)
        .map(|access| Exception {
            number: access.number,
            device: access.device,
            service: access.service,
            in_quarantine: access.in_quarantine,
        })
        .collect();
    let quarantined: BTreeSet<DeviceName> = quarantined.into_iter().collect();
    config.contained(quarantined, &exceptions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::sample::config;
    use crate::control::message::Person;

    #[test]
    fn an_access_and_a_quarantine_are_explained_as_rules() {
        let access = |service: &str, in_quarantine| AccessStatus {
            number: 3,
            rule: "BREAK-GLASS-3".to_owned(),
            device: "ct-1".parse().unwrap(),
            service: service.parse().unwrap(),
            in_quarantine,
            why: "x".to_owned(),
            by: Person {
                uid: 0,
                name: "root".to_owned(),
            },
            began: "2026-11-22T18:00:00Z".parse().unwrap(),
            ends: "2026-11-22T18:30:00Z".parse().unwrap(),
            seconds: 1,
            uses: 0,
        };
        let device: DeviceName = "ct-1".parse().unwrap();
        let may = |standing, accesses, target: &str| {
            let config = merge(config(), &device, standing, accesses);
            let from = "device:ct-1".parse().unwrap();
            let found = config.explain(&from, &target.parse().unwrap());
            let names = found.because.iter().map(|(rule, _)| rule.to_string());
            names.collect::<Vec<_>>()
        };
        let none = Vec::new;
        let plain = may(Standing::Active, none(), "pacs");
        assert!(!plain.is_empty());
        assert!(may(Standing::Active, none(), "console").is_empty());
        let open = || vec![access("console", false)];
        assert_eq!(may(Standing::Active, open(), "console"), ["BREAK-GLASS-3"]);
        assert_eq!(may(Standing::Active, open(), "pacs"), plain);
        assert!(may(Standing::Quarantined, open(), "console").is_empty());
        assert!(may(Standing::Quarantined, none(), "pacs").is_empty());
        let open = vec![access("console", true)];
        assert_eq!(
            may(Standing::Quarantined, open, "console"),
            ["BREAK-GLASS-3"]
        );
    }
}
