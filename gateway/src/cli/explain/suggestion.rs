//! The smallest rule that would allow what is denied, as TOML.

use std::net::SocketAddr;

use lazaret_config::{Config, Party, RuleName, Service, ServiceName, ServiceProtocol, Target};

/// The smallest rule that would allow it.
pub(super) fn rule(
    config: &Config,
    party: &Party,
    name: &ServiceName,
    service: &Service,
    target: &Target,
) -> String {
    let (from, who) = match party {
        Party::Device(name) => (format!("device:{name}"), name.as_str()),
        Party::Role(name) => (format!("role:{name}"), name.as_str()),
    };
    let message = match target {
        Target::Service { message, .. } => message.as_deref(),
        Target::Device { .. } => None,
    };
    let said = match &service.protocol {
        ServiceProtocol::Hl7 { .. } => {
            format!(
                "hl7 = {{ send = [{}] }}\n",
                quoted(message.unwrap_or("ORU^R01"))
            )
        }
        ServiceProtocol::Dicom { .. } => {
            format!(
                "dicom = {{ allow = [{}] }}\n",
                quoted(message.unwrap_or("C-STORE"))
            )
        }
        ServiceProtocol::Plain { .. } => String::new(),
    };
    let rule = free_name(config, &format!("{who}-{name}"));
    format!(
        "[rule.{rule}]\nfrom = [{}]\nto = [{}]\n{said}",
        quoted(&from),
        quoted(name.as_str())
    )
}

/// A rule name that is not taken, without dots, which TOML would need quotes for.
fn free_name(config: &Config, wish: &str) -> String {
    let wish: String = wish.replace('.', "-").chars().take(59).collect();
    let is_free = |name: &str| {
        name.parse::<RuleName>()
            .is_ok_and(|name| !config.rules.contains_key(&name))
    };
    if is_free(&wish) {
        return wish;
    }
    let numbered = (2..1000).map(|number| format!("{wish}-{number}"));
    numbered
        .into_iter()
        .find(|name| is_free(name))
        .unwrap_or(wish)
}

fn quoted(text: &str) -> String {
    // JSON strings are TOML basic strings.
    serde_json::Value::from(text).to_string()
}

/// A service, where there is none.
pub(super) fn service(address: SocketAddr) -> String {
    format!(
        "[service.NAME]\naddress = \"{}\"\nports = [\"tcp/{}\"]\n",
        address.ip(),
        address.port()
    )
}
