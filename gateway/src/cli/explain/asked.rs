//! Who and what is asked about: names and addresses on the command line, looked up in the configuration.

use std::net::{IpAddr, SocketAddr};

use lazaret_config::{
    Config, DeviceName, Party, Port, Sender, Service, ServiceName, ServiceProtocol, Target,
    Transport,
};

use crate::cli::{CliError, Exit};

/// Who asks: a device by name or tunnel address, a role, or a service.
pub(super) fn sender(config: &Config, text: &str) -> Result<Sender, CliError> {
    if let Ok(service) = text.parse::<ServiceName>()
        && config.services.contains_key(&service)
        && !text
            .parse()
            .is_ok_and(|name| config.devices.contains_key::<DeviceName>(&name))
    {
        return Ok(Sender::Service(service));
    }
    party(config, text).map(Sender::Party)
}

/// Who: a device by name or address, or a role.
pub(super) fn party(config: &Config, text: &str) -> Result<Party, CliError> {
    let unknown = || CliError::new(Exit::Usage, format!("there is no device or role {text}"));
    if let Ok(address) = text.parse::<IpAddr>() {
        let mut devices = config.devices.iter();
        let found = devices.find(|(_, device)| device.addresses.contains(&address));
        return found
            .map(|(name, _)| Party::Device(name.clone()))
            .ok_or_else(unknown);
    }
    let party = match text.parse::<DeviceName>() {
        Ok(name) => Party::Device(name),
        Err(_) => text.parse::<Party>().map_err(|_| unknown())?,
    };
    let known = match &party {
        Party::Device(name) => config.devices.contains_key(name),
        Party::Role(name) => config.roles.contains_key(name),
    };
    if known { Ok(party) } else { Err(unknown()) }
}

/// What is asked for: a target, or an address at which no service is.
pub(super) fn target_of(
    config: &Config,
    text: &str,
    said: Option<&str>,
) -> Result<Result<Target, SocketAddr>, CliError> {
    let target = match text.parse::<SocketAddr>() {
        Ok(address) => match at(config, address) {
            Some(target) => target,
            None => return Ok(Err(address)),
        },
        Err(_) => parse(text)?,
    };
    match &target {
        Target::Service { service, .. } => drop(known(config, service)?),
        Target::Device { device, .. } if !config.devices.contains_key(device) => {
            let text = format!("there is no device {device}");
            return Err(CliError::new(Exit::Usage, text));
        }
        Target::Device { .. } => {}
    }
    with(target, said).map(Ok)
}

fn parse(text: &str) -> Result<Target, CliError> {
    text.parse::<Target>()
        .map_err(|error| CliError::new(Exit::Usage, format!("{text}: {error}")))
}

pub(super) fn known<'a>(
    config: &'a Config,
    service: &ServiceName,
) -> Result<&'a Service, CliError> {
    config
        .services
        .get(service)
        .ok_or_else(|| CliError::new(Exit::Usage, format!("there is no service {service}")))
}

/// Adds `--message` or `--dimse`.
fn with(target: Target, said: Option<&str>) -> Result<Target, CliError> {
    let Some(said) = said else {
        return Ok(target);
    };
    match target {
        Target::Service {
            service,
            message: None,
            port,
        } => Ok(Target::Service {
            service,
            message: Some(said.to_owned()),
            port,
        }),
        Target::Device {
            device,
            message: None,
        } => Ok(Target::Device {
            device,
            message: Some(said.to_owned()),
        }),
        Target::Service { .. } | Target::Device { .. } => Err(CliError::new(
            Exit::Usage,
            "a message can be asked for once",
        )),
    }
}

/// The service that listens at a TCP address.
fn at(config: &Config, address: SocketAddr) -> Option<Target> {
    config.services.iter().find_map(|(name, service)| {
        let tcp = Port {
            transport: Transport::Tcp,
            number: address.port(),
        };
        let port = match &service.protocol {
            ServiceProtocol::Hl7 { port, .. } | ServiceProtocol::Dicom { port, .. } => {
                (*port == address.port()).then_some(None)
            }
            ServiceProtocol::Plain { ports } => ports.contains(&tcp).then_some(Some(tcp)),
        };
        let port = port.filter(|_| service.address == address.ip())?;
        Some(Target::Service {
            service: name.clone(),
            message: None,
            port,
        })
    })
}

/// As it is written in tests and on the command line.
pub(super) fn show(target: &Target) -> String {
    match target {
        Target::Device { .. } => target.to_string(),
        Target::Service {
            service,
            message,
            port,
        } => {
            let message = message.as_ref().map(|message| format!("#{message}"));
            let port = port.as_ref().map(|port| format!(":{}", port_text(port)));
            format!(
                "{service}{}{}",
                message.unwrap_or_default(),
                port.unwrap_or_default()
            )
        }
    }
}

pub(super) fn port_text(port: &Port) -> String {
    let transport = match port.transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
    };
    format!("{transport}/{}", port.number)
}
