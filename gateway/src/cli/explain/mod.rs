//! `lazaret explain DEVICE SERVICE|IP:PORT`: whether, by which rule, and how; or what rule is missing.
//!
//! The files answer; the live standing of the device is added if the daemon can be asked.

mod asked;
mod beside;
mod inward;
mod suggestion;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use clap::Args;
use lazaret_config::{
    Config, DeviceName, Explanation, Identity, Origin, Party, Profile, ProfileChoice, Release,
    RuleName, Sender, Service, ServiceProtocol, Target,
};
use serde::Serialize;

use asked::{known, port_text, sender, show, target_of};

use super::context::Context;
use super::enrolled::Beside;
use super::table::Table;
use super::words::of_standing;
use super::{CliError, Exit};
use crate::control::message::{Request, Response, Standing};
use crate::words::Language;

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub(super) struct Explain {
    /// A device by name or tunnel address, role:NAME, or a service that dials a device
    device: String,
    /// A service by name or IP:PORT; also SERVICE:tcp/22, SERVICE#ORU^R01, device:NAME
    #[arg(value_name = "SERVICE|IP:PORT")]
    target: String,
    /// An HL7 message type
    #[arg(long, value_name = "TYPE^TRIGGER", conflicts_with = "dimse")]
    message: Option<String>,
    /// A DIMSE service
    #[arg(long, value_name = "SERVICE")]
    dimse: Option<String>,
}

impl Explain {
    pub(super) fn run(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let config = context.config()?;
        let said = self.message.as_ref().or(self.dimse.as_ref());
        let said = said.map(String::as_str);
        let known = sender(&config, &self.device).is_ok();
        let config = if known && target_of(&config, &self.target, said).is_ok() {
            config
        } else {
            Beside::of(context, &config).merge(&config).0
        };
        let sender = sender(&config, &self.device)?;
        let about = inward::device(&sender, &self.target);
        let standing = about.as_ref().and_then(|device| standing(context, device));
        let config = match (&about, standing) {
            (Some(device), Some(standing)) => beside::contained(context, config, device, standing),
            (Some(_) | None, Some(_) | None) => config,
        };
        let mut answer = match target_of(&config, &self.target, said)? {
            Ok(target) => {
                let explanation = config.explain_sender(&sender, &target);
                match &sender {
                    Sender::Party(party) => answer(&config, party, &target, explanation)?,
                    Sender::Service(service) => {
                        inward::answer(&config, service, &target, explanation)
                    }
                }
            }
            Err(address) => {
                let asked = match &sender {
                    Sender::Party(party) => from(party),
                    Sender::Service(service) => service.to_string(),
                };
                nobody_at(asked, address)
            }
        };
        answer.stands(standing, matches!(sender, Sender::Party(_)));
        if context.json {
            context.print_json(&answer)?;
        } else {
            let word = context.verdict(answer.verdict.word(), answer.verdict == Verdict::Allowed);
            let language = lazaret_config::language(&context.config_dir);
            let to_do = to_do(&answer, language);
            let text = format!("{word}  {}{to_do}", render(&answer));
            context.print(&text)?;
        }
        Ok(match answer.verdict {
            Verdict::Allowed => Exit::Ok,
            Verdict::Denied => Exit::Denied,
        })
    }
}

/// How a device stands, if the daemon can be asked.
fn standing(context: &Context<'_>, device: &DeviceName) -> Option<Standing> {
    let device = Some(device.clone());
    match context.ask(&Request::Devices { device }) {
        Ok(Response::Devices { devices }) => devices.first().map(|device| device.standing),
        Ok(_) | Err(_) => None,
    }
}

/// What is answered; also the JSON form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Answer {
    verdict: Verdict,
    from: String,
    to: String,
    /// The rules that allow it.
    rules: Vec<Because>,
    /// How it travels.
    carried: Option<String>,
    /// How the device is identified, if not by its key.
    identified: Option<String>,
    /// As the daemon says.
    standing: Option<Standing>,
    /// What is missing.
    missing: Option<String>,
    /// TOML that would allow it.
    suggestion: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    Allowed,
    Denied,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Allowed => "ALLOWED",
            Self::Denied => "DENIED",
        }
    }
}

/// A rule that allows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Because {
    rule: String,
    file: String,
    line: usize,
    hours: Option<String>,
    until: Option<String>,
    /// Whether messages must be of the device's own patients.
    binds_patient: bool,
}

impl Answer {
    /// Quarantine and revocation override every rule, but for what is left in quarantine to a device that dials.
    fn stands(&mut self, standing: Option<Standing>, dials: bool) {
        self.standing = standing;
        if standing == Some(Standing::Quarantined) && dials && self.verdict == Verdict::Allowed {
            return;
        }
        if let Some(standing) = standing.filter(|standing| *standing != Standing::Active) {
            self.verdict = Verdict::Denied;
            self.missing = Some(format!("the device is {}", standing.as_str()));
            self.suggestion = None;
        }
    }
}

impl Because {
    fn new(config: &Config, name: &RuleName, origin: &Origin, service: Option<&Service>) -> Self {
        let rule = config.rules.get(name);
        let binds = |rule: &lazaret_config::Rule| match &service?.protocol {
            ServiceProtocol::Hl7 { .. } => rule.hl7.as_ref().map(|hl7| hl7.bind_patient),
            ServiceProtocol::Dicom { .. } => rule.dicom.as_ref().map(|dicom| dicom.bind_patient),
            ServiceProtocol::Plain { .. } => None,
        };
        Self {
            rule: name.to_string(),
            file: origin.file.display().to_string(),
            line: origin.line,
            hours: rule.and_then(|rule| Some(rule.hours.as_ref()?.text.clone())),
            until: rule.and_then(|rule| Some(rule.until?.to_string())),
            binds_patient: rule.and_then(binds).unwrap_or(false),
        }
    }
}

/// What the files say, in words.
fn answer(
    config: &Config,
    party: &Party,
    target: &Target,
    explanation: Explanation,
) -> Result<Answer, CliError> {
    let service = match target {
        Target::Device { .. } => None,
        Target::Service { service, .. } => Some((service, known(config, service)?)),
    };
    let Explanation {
        allowed,
        because,
        missing,
    } = explanation;
    let names: Vec<&RuleName> = because.iter().map(|(rule, _)| rule).collect();
    Ok(Answer {
        verdict: if allowed {
            Verdict::Allowed
        } else {
            Verdict::Denied
        },
        from: from(party),
        to: show(target),
        carried: service
            .filter(|_| allowed)
            .map(|(_, service)| carried(config, service, &names)),
        identified: identified(config, party),
        standing: None,
        missing: (!allowed).then_some(missing),
        suggestion: service
            .filter(|_| !allowed)
            .map(|(name, service)| suggestion::rule(config, party, name, service, target)),
        rules: because
            .iter()
            .filter(|_| allowed)
            .map(|(rule, origin)| Because::new(config, rule, origin, service.map(|(_, s)| s)))
            .collect(),
    })
}

fn from(party: &Party) -> String {
    match party {
        Party::Device(name) => name.to_string(),
        Party::Role(name) => format!("role:{name}"),
    }
}

fn nobody_at(from: String, address: SocketAddr) -> Answer {
    Answer {
        verdict: Verdict::Denied,
        from,
        to: address.to_string(),
        rules: Vec::new(),
        carried: None,
        identified: None,
        standing: None,
        missing: Some(format!("no service is at {address}")),
        suggestion: Some(suggestion::service(address)),
    }
}

fn carried(config: &Config, service: &Service, rules: &[&RuleName]) -> String {
    let shadowed = |own: bool| {
        let rules_do = rules
            .iter()
            .any(|rule| config.rules.get(*rule).is_some_and(|r| r.shadow));
        if own || rules_do {
            ", shadow: content only warns"
        } else {
            ""
        }
    };
    let of_rules = || {
        let rules = rules.iter();
        rules.filter_map(|rule| config.rules.get(*rule)?.profile.clone())
    };
    match &service.protocol {
        ServiceProtocol::Hl7 {
            port,
            profile,
            shadow,
            ..
        } => format!(
            "by the HL7 relay to {}, inspected ({}{})",
            SocketAddr::new(service.address, *port),
            profiles(profile.iter().cloned().chain(of_rules())),
            shadowed(*shadow)
        ),
        ServiceProtocol::Dicom {
            port,
            profile,
            release,
            shadow,
            ..
        } => format!(
            "by the DICOM relay to {}, inspected ({}{}{})",
            SocketAddr::new(service.address, *port),
            profiles(profile.iter().cloned().chain(of_rules())),
            match release {
                Release::Verified => "",
                Release::Streaming => ", streaming: C-STORE goes on as it is verified",
            },
            shadowed(*shadow)
        ),
        ServiceProtocol::Plain { ports } => {
            let ports: Vec<String> = ports.iter().map(port_text).collect();
            format!(
                "forwarded to {} ({}), not inspected",
                service.address,
                ports.join(", ")
            )
        }
    }
}

/// The profiles that hold together; `strict` says more than `standard`.
fn profiles(chosen: impl Iterator<Item = ProfileChoice>) -> String {
    let mut chosen: BTreeSet<ProfileChoice> = chosen.collect();
    if chosen.contains(&ProfileChoice::Base(Profile::Strict)) {
        chosen.remove(&ProfileChoice::Base(Profile::Standard));
    }
    if chosen.is_empty() {
        chosen.insert(ProfileChoice::default());
    }
    let names: Vec<String> = chosen.iter().map(ToString::to_string).collect();
    names.join(" and ")
}

fn identified(config: &Config, party: &Party) -> Option<String> {
    let Party::Device(name) = party else {
        return None;
    };
    match &config.devices.get(name)?.identity {
        Identity::WireGuard { .. } | Identity::Certificate => None,
        Identity::Via(router) => Some(format!("by address only, behind {router}")),
    }
}

/// What to do about a device that may not do what the rules say, in the language of the gateway.
/// Where a rule is missing, the suggestion is what to do, and the last that is said.
fn to_do(answer: &Answer, language: Language) -> String {
    let standing = answer.standing.and_then(of_standing);
    standing.map_or_else(String::new, |standing| {
        format!("{}: {}\n", standing.as_str(), standing.words(language))
    })
}

/// Everything behind the verdict's word.
fn render(answer: &Answer) -> String {
    let mut table = Table::default();
    for because in &answer.rules {
        let mut text = match because.line {
            0 => because.rule.clone(),
            line => format!("{} ({}:{line})", because.rule, because.file),
        };
        if let Some(hours) = &because.hours {
            text.push_str(&format!(", {hours}"));
        }
        if let Some(until) = &because.until {
            text.push_str(&format!(", until {until}"));
        }
        if because.binds_patient {
            text.push_str(", of the device's patients only");
        }
        table.row(["rule", &text]);
    }
    let lines = [
        ("missing", answer.missing.clone()),
        ("carried", answer.carried.clone()),
        ("identified", answer.identified.clone()),
        (
            "standing",
            answer.standing.map(|standing| standing.as_str().to_owned()),
        ),
    ];
    for (name, text) in lines {
        if let Some(text) = text {
            table.row([name, &text]);
        }
    }
    let mut text = format!("{} → {}\n{}", answer.from, answer.to, table.render());
    if let Some(suggestion) = &answer.suggestion {
        text.push_str(&format!("\nThis would allow it:\n\n{suggestion}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::sample::{config, origin};

    fn ask(config: &Config, who: &str, target: &str, because: Option<(&str, usize)>) -> Answer {
        let who = asked::party(config, who).unwrap();
        let target = target_of(config, target, None).unwrap().unwrap();
        let because: Vec<_> = because
            .iter()
            .map(|(rule, line)| (rule.parse().unwrap(), origin(*line)))
            .collect();
        let explanation = Explanation {
            allowed: !because.is_empty(),
            because,
            missing: "no rule names it".to_owned(),
        };
        answer(config, &who, &target, explanation).unwrap()
    }

    #[test]
    fn explanations() {
        let config = config();
        let mut shown = String::new();
        for (who, target, because) in [
            ("ecg-0042", "his-results#ORU^R01", Some(("ecg-results", 45))),
            ("10.64.0.1", "10.20.2.10:2575", None),
            ("ct-1", "pacs#C-STORE", Some(("ct-images", 50))),
            ("ct-1", "pacs#C-MOVE", None),
            ("role:radiologist", "10.20.0.5:22", Some(("consoles", 55))),
            ("ecg-0042", "console:tcp/22", None),
            ("ecg-0042", "device:ct-1", None),
        ] {
            let answer = ask(&config, who, target, because);
            shown.push_str(&format!(
                "{}  {}----\n",
                answer.verdict.word(),
                render(&answer)
            ));
        }
        let nobody = target_of(&config, "10.20.9.9:80", None)
            .unwrap()
            .unwrap_err();
        shown.push_str(&render(&nobody_at("ecg-0042".to_owned(), nobody)));
        insta::assert_snapshot!(shown);
    }

    #[test]
    fn the_profiles_that_hold_are_named() {
        let (strict, standard) = (Profile::Strict, Profile::Standard);
        let base = |profile| ProfileChoice::Base(profile);
        let named = |name: &str| ProfileChoice::Named(name.parse().unwrap());
        for (chosen, shown) in [
            (vec![], "standard"),
            (vec![base(standard), base(strict)], "strict"),
            (vec![named("ecg-home")], "ecg-home"),
            (
                vec![named("ecg-home"), base(standard)],
                "standard and ecg-home",
            ),
            (
                vec![named("ecg"), base(strict), named("bp")],
                "strict and bp and ecg",
            ),
        ] {
            assert_eq!(profiles(chosen.into_iter()), shown);
        }
    }

    #[test]
    fn standing_overrides_rules() {
        let mut answer = ask(
            &config(),
            "ecg-0042",
            "his-results",
            Some(("ecg-results", 45)),
        );
        answer.stands(Some(Standing::Active), true);
        assert_eq!(answer.verdict, Verdict::Allowed);
        answer.stands(Some(Standing::Quarantined), false);
        assert_eq!(answer.verdict, Verdict::Denied);
        insta::assert_snapshot!(serde_json::to_string_pretty(&answer).unwrap());
    }

    #[test]
    fn a_suggestion_has_a_free_name() {
        let mut config = config();
        let rule = config.rules["consoles".parse().as_ref().unwrap()].clone();
        config.rules.insert("ecg-0042-pacs".parse().unwrap(), rule);
        let answer = ask(&config, "ecg-0042", "pacs", None);
        assert!(
            answer
                .suggestion
                .unwrap()
                .starts_with("[rule.ecg-0042-pacs-2]\n")
        );
    }

    #[test]
    fn what_is_not_there_is_misuse() {
        let config = config();
        for error in [
            sender(&config, "ecg-9").unwrap_err(),
            sender(&config, "10.64.0.99").unwrap_err(),
            sender(&config, "role:nobody").unwrap_err(),
            target_of(&config, "his", None).unwrap_err(),
            target_of(&config, "his-results#ORU^R01", Some("ORU^R01")).unwrap_err(),
            target_of(&config, "device:ct-1#C-ECHO", Some("C-STORE")).unwrap_err(),
            target_of(&config, "device:ct-9", None).unwrap_err(),
        ] {
            assert_eq!(error.exit, Exit::Usage);
        }
    }
}
