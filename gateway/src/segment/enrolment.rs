//! The rules that let strangers reach the enrolment service, and nothing else.

use std::net::SocketAddr;

use super::chains::Frame;
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
