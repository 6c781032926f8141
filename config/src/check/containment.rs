//! What is left to devices in quarantine: services that exist, and that nobody inspects.

use std::collections::BTreeSet;

use crate::document::Document;
use crate::name::ServiceName;
use crate::problem::{Fault, Problems};

pub(super) fn check(document: &Document, problems: &Problems) {
    let mut seen = BTreeSet::new();
    for at in &document.quarantine.services {
        let name = &at.value;
        if !seen.insert(name) {
            problems.report(Fault::new(format!("service `{name}` is listed twice")).at(at.place));
            continue;
        }
        let Some(service) = document.services.get(name) else {
            let known = document.services.keys().map(ServiceName::as_str);
            let fault = Fault::new(format!("unknown service `{name}`"));
            let near = problems.did_you_mean(name.as_str(), known);
            problems.report(fault.maybe(near).at(at.place));
            continue;
        };
        if service.inspected().is_some() {
            let fault = Fault::new(format!(
                "service `{name}` is inspected, and no rule says what a device in quarantine may say there"
            ));
            let help = "name a service with `ports`, such as a server of updates";
            problems.report(fault.help(help).at(at.place));
        }
    }
}
