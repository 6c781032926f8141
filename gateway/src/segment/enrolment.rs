//! The rules that let strangers reach the enrolment service, and nothing else.

use std::net::SocketAddr;

use super::frame::Frame;
use super::table::{Rule, State, Term};
use lazaret_config::Transport;

/// Whoever wants to be enrolled, from anywhere but the tunnel.
//= C3
pub(super) fn comes_to(frame: &Frame, listen: SocketAddr) -> Rule {
    let mut terms = frame.not_from();
    terms.extend((!listen.ip().is_unspecified()).then(|| Term::Destination(listen.ip())));
    terms.push(Term::Port(Transport::Tcp, listen.port()));
    terms.push(Term::Accept);
    Rule(terms)
}

/// Answers of the enrolment service; it dials nobody.
pub(super) fn goes_from(frame: &Frame, listen: SocketAddr) -> Rule {
    let mut terms = frame.not_towards();
    terms.extend((!listen.ip().is_unspecified()).then(|| Term::Source(listen.ip())));
    terms.push(Term::SourcePort(Transport::Tcp, listen.port()));
    terms.push(Term::State(State::EstablishedRelated));
    terms.push(Term::Accept);
    Rule(terms)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use lazaret_config::HospitalMode;

    use crate::segment::fixture::small;
    use crate::segment::plan::{Facts, Listeners, Plan};

    //= C3
    #[test]
    fn the_port_of_enrolment_is_open_where_it_is_wanted_and_nothing_else() {
        let mut config = small(HospitalMode::Snat);
        let facts = Facts {
            now: "2026-11-24T11:00:00Z".parse().unwrap(),
            standing: BTreeMap::new(),
            listeners: Listeners::default(),
            udp_port: 51820,
            held: BTreeSet::new(),
        };
        let table = |config: &lazaret_config::Config| Plan::new(config, &facts).table().to_string();
        let without = table(&config);
        let added = |with: &str| -> Vec<String> {
            let lines = with.lines().filter(|line| line.contains("8443"));
            assert_eq!(
                with.lines().count(),
                without.lines().count() + lines.clone().count()
            );
            lines.map(|line| line.trim().to_owned()).collect()
        };
        let mut texts = Vec::new();
        for listen in ["[::]:8443", "192.0.2.1:8443"] {
            config.enrol.listen = Some(listen.parse().unwrap());
            texts.extend(added(&table(&config)));
        }
        insta::assert_snapshot!(texts.join("\n"));
    }
}
