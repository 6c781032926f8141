//! Whom a rule is about, and what a test asks for: `role:x`, `device:x`, `his-results#ORU^R01`, `console:tcp/22`.

use std::fmt;
use std::str::FromStr;

use crate::model::{Party, Sender, Target};
use crate::name::ServiceName;
use crate::problem::Fault;
use crate::section::Text;

/// A `from` of a rule: a party, or a bare word that may have been meant as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Party(Party),
    Bare(String),
}

/// A `to` of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Receiver {
    Party(Party),
    Service(ServiceName),
}

/// Text that is no party.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write role:NAME or device:NAME")]
pub struct InvalidParty;

/// Text that is no target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write SERVICE, SERVICE#MESSAGE, SERVICE:tcp/PORT, device:NAME or device:NAME#MESSAGE")]
pub struct InvalidTarget;

impl FromStr for Party {
    type Err = InvalidParty;
    fn from_str(text: &str) -> Result<Self, InvalidParty> {
        match text.split_once(':').ok_or(InvalidParty)? {
            ("role", name) => name.parse().map(Self::Role).map_err(|_| InvalidParty),
            ("device", name) => name.parse().map(Self::Device).map_err(|_| InvalidParty),
            _ => Err(InvalidParty),
        }
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role(name) => write!(f, "role:{name}"),
            Self::Device(name) => write!(f, "device:{name}"),
        }
    }
}

impl FromStr for Target {
    type Err = InvalidTarget;
    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        let service = |name: &str| name.parse::<ServiceName>().map_err(|_| InvalidTarget);
        let said = |message: &str| {
            let plain = !message.is_empty() && message.bytes().all(|b| b.is_ascii_graphic());
            plain.then(|| message.to_owned()).ok_or(InvalidTarget)
        };
        if let Some(name) = text.strip_prefix("device:") {
            let (name, message) = match name.split_once('#') {
                Some((name, message)) => (name, Some(said(message)?)),
                None => (name, None),
            };
            let device = name.parse().map_err(|_| InvalidTarget)?;
            return Ok(Self::Device { device, message });
        }
        if let Some((name, message)) = text.split_once('#') {
            let message = said(message)?;
            return Ok(Self::Service {
                service: service(name)?,
                message: Some(message),
                port: None,
            });
        }
        let (name, port) = match text.split_once(':') {
            Some((name, port)) => (name, Some(port.parse().map_err(|_| InvalidTarget)?)),
            None => (text, None),
        };
        Ok(Self::Service {
            service: service(name)?,
            message: None,
            port,
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device { device, message } => {
                write!(f, "device:{device}")?;
                match message {
                    Some(message) => write!(f, "#{message}"),
                    None => Ok(()),
                }
            }
            Self::Service {
                service,
                message,
                port,
            } => {
                write!(f, "{service}")?;
                if let Some(message) = message {
                    write!(f, "#{message}")?;
                }
                match port {
                    Some(port) => write!(f, ":{port}"),
                    None => Ok(()),
                }
            }
        }
    }
}

impl FromStr for Sender {
    type Err = InvalidParty;
    fn from_str(text: &str) -> Result<Self, InvalidParty> {
        if text.contains(':') {
            return text.parse().map(Self::Party);
        }
        text.parse().map(Self::Service).map_err(|_| InvalidParty)
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Party(party) => party.fmt(f),
            Self::Service(name) => name.fmt(f),
        }
    }
}

impl Text for Sender {
    const WHAT: &'static str = "`role:NAME`, `device:NAME` or the name of a service";
    fn parse(text: &str) -> Result<Self, Fault> {
        text.parse()
            .map_err(|invalid: InvalidParty| Fault::new("not a party").help(invalid.to_string()))
    }
}

impl Text for Party {
    const WHAT: &'static str = "`role:NAME` or `device:NAME`";
    fn parse(text: &str) -> Result<Self, Fault> {
        text.parse()
            .map_err(|invalid: InvalidParty| Fault::new("not a party").help(invalid.to_string()))
    }
}

impl Text for Source {
    const WHAT: &'static str = "`role:NAME`, `device:NAME` or the name of a service";
    fn parse(text: &str) -> Result<Self, Fault> {
        if let Some(name) = text.strip_prefix("service:") {
            return Err(Fault::new("not a party").help(format!("write `{name}` alone")));
        }
        if text.contains(':') {
            return Party::parse(text).map(Self::Party);
        }
        Ok(Self::Bare(text.to_owned()))
    }
}

impl Text for Receiver {
    const WHAT: &'static str = "the name of a service";
    fn parse(text: &str) -> Result<Self, Fault> {
        if text.starts_with("role:") || text.starts_with("device:") {
            return Party::parse(text).map(Self::Party);
        }
        ServiceName::parse(text).map(Self::Service)
    }
}

impl Text for Target {
    const WHAT: &'static str = "what is asked for, like \"his-results#ORU^R01\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        text.parse()
            .map_err(|invalid: InvalidTarget| Fault::new("not a target").help(invalid.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_the_same() {
        for text in ["role:ecg-home", "device:ecg-0042"] {
            assert_eq!(text.parse::<Party>().unwrap().to_string(), text);
        }
        for text in [
            "his-results",
            "his-results#ORU^R01",
            "pacs#C-STORE",
            "console:tcp/22",
            "device:us-07",
            "device:us-07#C-STORE",
        ] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        for bad in ["", "role", "role:", "role:A", "service:x", "ecg"] {
            assert!(bad.parse::<Party>().is_err(), "{bad}");
        }
        for bad in [
            "",
            "#",
            "x#",
            "x#a b",
            "x:22",
            "x:tcp/0",
            "x#A:tcp/1 ",
            "device:",
            "device:us-07#",
        ] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
    }
}
