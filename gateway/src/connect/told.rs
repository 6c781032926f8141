//! What a client tells its user in their language, with what to do when there is no tunnel.
//!
//! In: an event. Out: text. The English sentence of an event is [`Event`]'s own; JSON has no language.

use super::event::{Event, Service};
use crate::words::{Access, Certificate, Code, Language, Tunnel, Words};

/// What is said of an event, with what to do behind it.
#[must_use]
pub fn told(event: &Event, language: Language) -> String {
    let words = code(event).map(|code| code.words(language));
    match (language, words) {
        (Language::English, None) => event.to_string(),
        (Language::English, Some(Words { next, .. })) => format!("{event}\n  {next}"),
        (Language::French, words) => french(event, words),
    }
}

/// The code of an event that somebody has to do something about.
#[must_use]
pub fn code(event: &Event) -> Option<Code> {
    match event {
        Event::Refused { why, .. } => Some(cause(why).unwrap_or(Tunnel::Refused.into())),
        Event::Lost { why, .. } => Some(cause(why).unwrap_or(Tunnel::Closed.into())),
        Event::NotAllowed { .. } => Some(Tunnel::Service.into()),
        Event::GoingAway => Some(Access::GatewayDraining.into()),
        Event::Connecting { .. }
        | Event::Connected { .. }
        | Event::Addresses { .. }
        | Event::Services { .. }
        | Event::Forwarding { .. }
        | Event::Interface { .. }
        | Event::RouteLeftOut { .. }
        | Event::Latency { .. }
        | Event::Moved { .. }
        | Event::Stopped => None,
    }
}

/// By the sentence of a refusal, which may be one of the gateway's.
fn cause(why: &str) -> Option<Code> {
    let found = CAUSES.iter().find(|(part, _)| why.contains(part));
    found.map(|(_, code)| *code)
}

fn french(event: &Event, words: Option<Words>) -> String {
    let told = words.map_or_else(String::new, |words| words.to_string());
    match event {
        Event::Connecting { gateway, address } => format!("connexion à {gateway} ({address})"),
        Event::Connected { post_quantum, .. } => match post_quantum {
            Some(true) => "connecté, échange de clés post-quantique",
            Some(false) | None => "connecté",
        }
        .to_owned(),
        Event::Addresses { addresses } => {
            let all: Vec<String> = addresses.iter().map(|a| a.addr().to_string()).collect();
            format!("adresse {}", all.join(" "))
        }
        Event::Services { services } => french_services(services),
        Event::Forwarding { listen, service } => format!("{listen} mène à {service}"),
        Event::NotAllowed { service, why } => {
            format!("{service}\u{a0}: {told} ({why})")
        }
        Event::Interface { name } => format!("interface {name}"),
        Event::RouteLeftOut { route, .. } => {
            format!("{route} n’est pas routé par le tunnel")
        }
        Event::Latency { milliseconds } => {
            format!(
                "latence {} ms",
                format!("{milliseconds:.1}").replace('.', ",")
            )
        }
        Event::Moved { address } => format!("passage à l’adresse {address}"),
        Event::GoingAway => told,
        Event::Refused { why, retry } => french_end("refus", &told, why, *retry),
        Event::Lost { why, retry } => french_end("pas de connexion", &told, why, *retry),
        Event::Stopped => "arrêté".to_owned(),
    }
}

fn french_services(services: &[Service]) -> String {
    if services.is_empty() {
        return "aucun service n’est utilisable maintenant".to_owned();
    }
    let mut text = "services\u{a0}:".to_owned();
    for service in services {
        let Service {
            name,
            address,
            ports,
            seconds_left,
        } = service;
        let ports = if ports == "all" {
            "tous les ports"
        } else {
            ports
        };
        text.push_str(&format!("\n  {name}  {address} {ports}"));
        if let Some(left) = seconds_left {
            text.push_str(&format!("  pendant {} min", left.div_ceil(60)));
        }
    }
    text
}

/// The technician's sentence stands last, in English as in the log.
fn french_end(what: &str, told: &str, why: &str, retry: Option<u64>) -> String {
    let again = retry.map(|seconds| format!(" Nouvelle tentative dans {seconds} s."));
    format!("{what}\u{a0}: {told}{} ({why})", again.unwrap_or_default())
}

/// Parts of sentences, of `refusal.rs`, of this client and of the gateway, and what they are about. The first counts.
const CAUSES: &[(&str, Code)] = &[
    ("no key exchange in common", Code::Tunnel(Tunnel::Keys)),
    ("server broke the rules", Code::Tunnel(Tunnel::Protocol)),
    ("gateway broke the rules", Code::Tunnel(Tunnel::Protocol)),
    ("version of QUIC", Code::Tunnel(Tunnel::Protocol)),
    (
        "gateway's certificate is for another name",
        Code::Tunnel(Tunnel::ServerName),
    ),
    (
        "gateway's certificate has expired",
        Code::Tunnel(Tunnel::ServerExpired),
    ),
    (
        "gateway's certificate is not valid yet",
        Code::Tunnel(Tunnel::ServerExpired),
    ),
    ("gateway's certificate", Code::Tunnel(Tunnel::ServerUnknown)),
    (
        "may not be the gateway",
        Code::Tunnel(Tunnel::ServerUnknown),
    ),
    ("kind of certificate", Code::Certificate(Certificate::Use)),
    ("is revoked: ask", Code::Certificate(Certificate::Revoked)),
    (
        "not believed any more",
        Code::Certificate(Certificate::Revoked),
    ),
    (
        "does not accept this certificate",
        Code::Certificate(Certificate::Refused),
    ),
    (
        "certificate has expired",
        Code::Certificate(Certificate::Expired),
    ),
    (
        "certificate is expired",
        Code::Certificate(Certificate::Expired),
    ),
    (
        "does not know the authority",
        Code::Certificate(Certificate::Authority),
    ),
    (
        "wants a certificate",
        Code::Certificate(Certificate::Missing),
    ),
    ("offers no HTTP/3", Code::Tunnel(Tunnel::None)),
    ("no tunnel of this kind", Code::Tunnel(Tunnel::None)),
    ("no answer from the gateway", Code::Tunnel(Tunnel::NoAnswer)),
    ("cannot be looked up", Code::Tunnel(Tunnel::Name)),
    ("name has no address", Code::Tunnel(Tunnel::Name)),
    ("no socket", Code::Tunnel(Tunnel::Local)),
    ("cannot connect", Code::Tunnel(Tunnel::Local)),
    ("too many connections", Code::Tunnel(Tunnel::Local)),
    ("takes no connections now", Code::Tunnel(Tunnel::Busy)),
    ("the device came again", Code::Tunnel(Tunnel::Taken)),
    ("no address is free", Code::Access(Access::GatewayFull)),
    ("may not come in", Code::Tunnel(Tunnel::Refused)),
    ("does not allow this device", Code::Tunnel(Tunnel::Refused)),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(why: &str) -> Event {
        Event::Refused {
            why: why.to_owned(),
            retry: Some(300),
        }
    }

    #[test]
    fn refusals_say_what_to_do() {
        for (why, code) in [
            (
                "this certificate has expired: ask the hospital to renew it",
                "certificate-expired",
            ),
            (
                "the gateway closed the connection: the certificate is expired: renew it",
                "certificate-expired",
            ),
            (
                "the gateway's certificate has expired, or the clock of this machine is wrong",
                "tunnel-server-expired",
            ),
            (
                "this certificate is revoked: ask the hospital for another",
                "certificate-revoked",
            ),
            (
                "the gateway's certificate is revoked",
                "tunnel-server-unknown",
            ),
            (
                "the gateway does not know the authority of this certificate",
                "certificate-authority",
            ),
            (
                "the gateway and this client have no key exchange in common: see `post_quantum`",
                "tunnel-keys",
            ),
            ("the server at this address offers no HTTP/3", "tunnel-none"),
            (
                "the gateway closed the connection: the device may not come in any more",
                "tunnel-refused",
            ),
            (
                "the gateway closed the connection: the device came again",
                "tunnel-taken",
            ),
            ("a sentence of tomorrow", "tunnel-refused"),
        ] {
            assert_eq!(super::code(&refused(why)).unwrap().as_str(), code, "{why}");
        }
        let lost = |why: &str| Event::Lost {
            why: why.to_owned(),
            retry: None,
        };
        for (why, code) in [
            (
                "no answer from the gateway: it is down, or UDP to its port is blocked on the way",
                "tunnel-no-answer",
            ),
            (
                "the name gw.example.org cannot be looked up now",
                "tunnel-name",
            ),
            ("the gateway was restarted", "tunnel-closed"),
        ] {
            assert_eq!(super::code(&lost(why)).unwrap().as_str(), code, "{why}");
        }
    }

    #[test]
    fn events_are_told_in_both_languages() {
        let event = refused("this certificate has expired: ask the hospital to renew it");
        let english = told(&event, Language::English);
        assert!(english.starts_with(&event.to_string()) && english.contains("\n  Check date"));
        let french = told(&event, Language::French);
        assert!(
            french.starts_with("refus\u{a0}: Le certificat de cet appareil a expiré"),
            "{french}"
        );
        assert!(
            french.contains("Nouvelle tentative dans 300 s."),
            "{french}"
        );
        assert_eq!(told(&Event::Stopped, Language::English), "stopped");
        assert_eq!(told(&Event::Stopped, Language::French), "arrêté");
        let latency = Event::Latency {
            milliseconds: 12.34,
        };
        assert_eq!(told(&latency, Language::French), "latence 12,3 ms");
        let services = Event::Services {
            services: vec![Service {
                name: "pacs".to_owned(),
                address: "10.20.1.10".parse().unwrap(),
                ports: "all".to_owned(),
                seconds_left: Some(61),
            }],
        };
        assert_eq!(
            told(&services, Language::French),
            "services\u{a0}:\n  pacs  10.20.1.10 tous les ports  pendant 2 min"
        );
    }
}
