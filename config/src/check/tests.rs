//! `[[test]]` entries name what exists and ask for what can be asked.

use super::Members;
use crate::document::Document;
use crate::field::{dicom::Dimse, hl7};
use crate::model::{Party, Sender, Target};
use crate::name::ServiceName;
use crate::problem::{Fault, Problems};
use crate::section::Text;
use crate::table::service::Protocol;

pub(super) fn check(document: &Document, members: &Members<'_>, problems: &Problems) {
    for test in &document.tests {
        if let Some(from) = &test.from
            && let Some(fault) = stranger(&from.value, document, members, problems)
        {
            problems.report(fault.at(from.place));
        }
        for at in test.allow.iter().chain(&test.deny) {
            if let Some(fault) = wrong(&at.value, document, members, problems) {
                problems.report(fault.at(at.place));
            }
        }
    }
}

/// Who asks and is not there.
fn stranger(
    from: &Sender,
    document: &Document,
    members: &Members<'_>,
    problems: &Problems,
) -> Option<Fault> {
    match from {
        Sender::Party(party) => members.unknown(party, problems),
        Sender::Service(name) if document.services.contains_key(name) => None,
        Sender::Service(name) => Some(no_service(name, document, problems)),
    }
}

fn no_service(name: &ServiceName, document: &Document, problems: &Problems) -> Fault {
    let names = document.services.keys().map(ServiceName::as_str);
    let near = problems.did_you_mean(name.as_str(), names);
    Fault::new(format!("unknown service `{name}`")).maybe(near)
}

fn wrong(
    target: &Target,
    document: &Document,
    members: &Members<'_>,
    problems: &Problems,
) -> Option<Fault> {
    let (name, message, port) = match target {
        Target::Device { device, message } => {
            let said = message.as_ref().and_then(|word| Dimse::parse(word).err());
            let unknown = members.unknown(&Party::Device(device.clone()), problems);
            return unknown.or(said);
        }
        Target::Service {
            service,
            message,
            port,
        } => (service, message, port),
    };
    let Some(service) = document.services.get(name) else {
        return Some(no_service(name, document, problems));
    };
    if service.unclear {
        return None;
    }
    match (service.inspected(), message, port) {
        (Some(Protocol::Hl7), Some(message), _) => hl7::message_type(message, false).err(),
        (Some(Protocol::Dicom), Some(message), _) => Dimse::parse(message).err(),
        (None, Some(_), _) => Some(
            Fault::new(format!("service `{name}` is forwarded without inspection"))
                .help(format!("ask for a port: `{name}:tcp/22`")),
        ),
        (_, None, Some(_) | None) => None,
    }
}
