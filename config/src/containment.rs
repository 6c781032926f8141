//! What holds beside the rules of the files: devices in quarantine, and access that was opened for a time.
//!
//! In: a configuration, who is in quarantine, what was opened. Out: one configuration in which that is so:
//! a device in quarantine has no rules but those of its remediation, and an exception is a rule of its own.
//! Pure. Knows nothing of who opened what, or for how long.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use crate::decide::Index;
use crate::dicom::{DicomQuery, OWN_TITLE, UserIdentity};
use crate::model::{
    Config, Device, DicomRule, Direction, Embedded, Hl7Rule, Limit, Origin, Party, Priority, Role,
    Rule, ServiceProtocol,
};
use crate::name::{DeviceName, RoleName, RuleName, ServiceName};

/// `[quarantine]`: what devices in quarantine still reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quarantine {
    /// Services by which they are put in order; all of them plain. Empty: they reach nothing.
    pub services: BTreeSet<ServiceName>,
}

/// `[break_glass]`: access for a time, beside the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakGlass {
    /// Nobody opens anything for longer.
    pub longest: Duration,
    /// User ids that may, beside root and the gateway's own user.
    pub operators: Vec<u32>,
}

/// Access of one device to one service that no rule of the files gives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exception {
    /// Its rule is called `BREAK-GLASS-` and this number.
    pub number: u64,
    /// Who.
    pub device: DeviceName,
    /// What it reaches.
    pub service: ServiceName,
    /// Whether it holds for a device in quarantine too.
    pub in_quarantine: bool,
}

/// Why an exception cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoException {
    /// There is no such device.
    #[error("there is no device {0}")]
    Device(DeviceName),
    /// There is no such service.
    #[error("there is no service {0}")]
    Service(ServiceName),
    /// What it says about itself could not be compared with anything.
    #[error("the device has no `{0}`, so that what it says about itself could not be checked")]
    Nameless(&'static str),
}

/// What holds beside the rules, by device.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Overlay {
    quarantined: BTreeSet<DeviceName>,
    exceptions: BTreeMap<DeviceName, BTreeSet<Party>>,
}

impl Overlay {
    /// The parties by which a device has rules.
    pub(crate) fn parties(&self, name: &DeviceName, device: &Device) -> BTreeSet<Party> {
        let own = if self.quarantined.contains(name) {
            BTreeSet::from([Party::Role(RoleName::reserved(QUARANTINE))])
        } else {
            let roles = device.roles.iter().cloned().map(Party::Role);
            roles.chain([Party::Device(name.clone())]).collect()
        };
        let exceptions = self.exceptions.get(name).into_iter().flatten();
        own.into_iter().chain(exceptions.cloned()).collect()
    }
}

impl Config {
    /// This configuration with these devices in quarantine, and with these exceptions.
    /// An exception that cannot be, or is not for a device in quarantine, is left out.
    //= C3
    #[must_use]
    pub fn contained(mut self, quarantined: BTreeSet<DeviceName>, all: &[Exception]) -> Self {
        let mut overlay = Overlay {
            quarantined,
            exceptions: BTreeMap::new(),
        };
        if !self.quarantine.services.is_empty() {
            let party = Party::Role(RoleName::reserved(QUARANTINE));
            let rule = plain(party, self.quarantine.services.clone(), "quarantine");
            self.add_rule(QUARANTINE, rule);
        }
        for one in all {
            if overlay.quarantined.contains(&one.device) && !one.in_quarantine {
                continue;
            }
            let Ok(rule) = self.exception(one) else {
                continue;
            };
            let parties = overlay.exceptions.entry(one.device.clone()).or_default();
            parties.extend(rule.parties.iter().cloned());
            self.add_rule(&exception_name(one.number), rule);
        }
        self.index = Index::new(&self.devices, &self.rules);
        self.index.overlay = overlay;
        self
    }

    /// The rule of an exception: identity and framing as everywhere, content as the profile of the service says,
    /// or `standard`.
    ///
    /// # Errors
    /// Why it cannot be.
    //= C5
    pub fn exception(&self, one: &Exception) -> Result<Rule, NoException> {
        let device = (self.devices.get(&one.device))
            .ok_or_else(|| NoException::Device(one.device.clone()))?;
        let service = (self.services.get(&one.service))
            .ok_or_else(|| NoException::Service(one.service.clone()))?;
        let party = Party::Role(RoleName::reserved(&exception_name(one.number)));
        let mut rule = plain(party, BTreeSet::from([one.service.clone()]), "break-glass");
        // Rules of the files may begin to hold meanwhile, and what is critical by all of them stays so.
        let others = self.rules_for(&one.device, &one.service);
        let least = others.iter().map(|(_, rule)| rule.priority).min();
        rule.priority = least.unwrap_or_default();
        let bind_patient = !device.patients.is_empty();
        match &service.protocol {
            ServiceProtocol::Hl7 { .. } if device.hl7_senders.is_empty() => {
                return Err(NoException::Nameless("hl7_sender"));
            }
            ServiceProtocol::Dicom { .. } if device.ae_title.is_none() => {
                return Err(NoException::Nameless("ae_title"));
            }
            ServiceProtocol::Hl7 { .. } => rule.hl7 = Some(any_hl7(bind_patient)),
            ServiceProtocol::Dicom { .. } => rule.dicom = Some(any_dicom(bind_patient)),
            ServiceProtocol::Plain { .. } => {}
        }
        Ok(rule)
    }

    /// The parties by which a device has rules: its roles and itself, unless it is in quarantine.
    #[must_use]
    pub fn parties(&self, name: &DeviceName, device: &Device) -> BTreeSet<Party> {
        self.index.overlay.parties(name, device)
    }

    /// Whether a device has no rules here but what is left to it in quarantine.
    #[must_use]
    pub fn is_contained(&self, name: &DeviceName) -> bool {
        self.index.overlay.quarantined.contains(name)
    }

    fn add_rule(&mut self, name: &str, rule: Rule) {
        for party in &rule.parties {
            if let Party::Role(role) = party {
                self.roles.insert(role.clone(), Role::default());
            }
        }
        self.rules.insert(RuleName::reserved(name), rule);
    }
}

/// How the rule of an exception is called. No rule of the files has upper-case letters.
#[must_use]
pub fn exception_name(number: u64) -> String {
    format!("{BREAK_GLASS}{number}")
}

/// The number of an exception, by the name of its rule.
#[must_use]
pub fn exception_number(rule: &str) -> Option<u64> {
    rule.strip_prefix(BREAK_GLASS)?.parse().ok()
}

/// How a party of [`Config::contained`] is called among people; `None` of all others.
#[must_use]
pub fn contained_party(party: &Party) -> Option<String> {
    let Party::Role(role) = party else {
        return None;
    };
    if role.as_str() == QUARANTINE {
        return Some("devices in quarantine".to_owned());
    }
    let number = exception_number(role.as_str())?;
    Some(format!("break-glass access {number}"))
}

fn plain(party: Party, services: BTreeSet<ServiceName>, origin: &str) -> Rule {
    Rule {
        origin: Origin {
            file: PathBuf::from(origin),
            line: 0,
        },
        direction: Direction::FromDevices,
        parties: BTreeSet::from([party]),
        services,
        hl7: None,
        dicom: None,
        limit: Limit::default(),
        priority: Priority::Normal,
        profile: None,
        release: None,
        shadow: false,
        hours: None,
        until: None,
    }
}

fn any_hl7(bind_patient: bool) -> Hl7Rule {
    Hl7Rule {
        send: BTreeSet::from(["*".to_owned()]),
        receive: ANSWERS.map(str::to_owned).into(),
        versions: BTreeSet::new(),
        bind_sender: true,
        bind_patient,
        clock_window: None,
        local_segments: None,
        charsets: BTreeSet::new(),
        unique_ids: false,
        batches: false,
        embedded: Embedded::default(),
    }
}

/// What is sent, found and fetched; nothing that lets others act.
fn any_dicom(bind_patient: bool) -> DicomRule {
    let allow = ["C-ECHO", "C-STORE", "C-FIND", "C-GET", "C-MOVE"];
    DicomRule {
        allow: allow.map(str::to_owned).into(),
        sop_classes: BTreeSet::new(),
        transfer_syntaxes: BTreeSet::new(),
        modalities: BTreeSet::new(),
        move_destinations: BTreeSet::from([OWN_TITLE.to_owned()]),
        bind_sender: true,
        bind_patient,
        query: DicomQuery::default(),
        reverse_roles: false,
        user_identity: UserIdentity::default(),
        max_object: None,
        private_creators: None,
        documents: BTreeSet::new(),
    }
}

const QUARANTINE: &str = "QUARANTINE";
const BREAK_GLASS: &str = "BREAK-GLASS-";
/// Answers to queries and orders; acknowledgements need no mention.
const ANSWERS: [&str; 8] = [
    "RSP^*", "RTB^*", "RDY^*", "ADR^*", "ORF^*", "ORR^*", "ORL^*", "SRR^*",
];
